//! Which socket and which address belongs to which peer.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use greenroom_peer::{Candidate, Proto, TcpType, Transmit, stun_ufrag};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use crate::events::Handle;
use crate::handles::HandleMap;
use crate::sockets::{ReceiveBuffers, TcpConnection, UdpPort};
use crate::world::{PeerEntry, Side, World};

/// Addresses kept per peer; a client has a handful.
const ADDRESSES_PER_PEER: usize = 32;
/// Accepted TCP connections that have not shown whose they are; one more closes the oldest.
const UNKNOWN_CONNECTIONS: usize = 256;
/// How long an accepted TCP connection may take to show whose it is.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(10);
/// How the answer to a connectivity check begins (RFC 8489).
const BINDING_RESPONSE: [u8; 2] = [0x01, 0x01];
/// Batches read from one socket before the others get their turn.
const BATCHES_PER_TURN: usize = 4;

/// What to bind for server peers.
#[derive(Debug)]
pub struct ListenOptions {
    /// The bound UDP socket.
    pub udp: std::net::UdpSocket,
    /// The bound ICE-TCP listener.
    pub tcp: std::net::TcpListener,
    /// The addresses that candidates name.
    pub advertise: Vec<IpAddr>,
}

impl ListenOptions {
    /// Bind both ports; the TCP port is the UDP port's number unless it is chosen. Without addresses to advertise, the bound
    /// one is, or, for a wildcard, the one that this host's packets leave from, and loopback.
    ///
    /// # Errors
    /// A port is taken or the address is not of this host.
    pub fn bind(ip: IpAddr, udp_port: u16, tcp_port: u16, mut advertise: Vec<IpAddr>) -> io::Result<Self> {
        let udp = std::net::UdpSocket::bind((ip, udp_port))?;
        let tcp = std::net::TcpListener::bind((ip, tcp_port))?;
        if advertise.is_empty() {
            advertise.push(if ip.is_unspecified() { outward_address(ip)? } else { ip });
            if ip.is_unspecified() {
                advertise.push(if ip.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
                advertise.dedup();
            }
        }
        Ok(Self { udp, tcp, advertise })
    }
}

/// The address that packets to the outside leave from. Nothing is sent to find out.
fn outward_address(wildcard: IpAddr) -> io::Result<IpAddr> {
    let (probe, loopback): (&str, IpAddr) = match wildcard {
        IpAddr::V4(_) => ("192.0.2.1:9", Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => ("[2001:db8::1]:9", Ipv6Addr::LOCALHOST.into()),
    };
    let socket = std::net::UdpSocket::bind((wildcard, 0))?;
    match socket.connect(probe) {
        Ok(()) => Ok(socket.local_addr()?.ip()),
        Err(_) => Ok(loopback),
    }
}

/// All sockets of an engine and the routes to its peers.
pub(crate) struct Sockets {
    registry: Registry,
    next_token: usize,
    ports: HandleMap<(UdpPort, Option<Handle>), Token>,
    listener: Option<(Token, TcpListener)>,
    connections: HashMap<Token, TcpConnection>,
    connection_of: HashMap<(SocketAddr, SocketAddr), Token>,
    /// Connections that a client's peer made, each for itself alone: the other side knows a peer by its connection.
    dialled: HashMap<(Handle, SocketAddr, SocketAddr), Token>,
    /// Accepted connections, oldest first, and until when they have to show whose they are.
    strangers: VecDeque<(Instant, Token)>,
    server_port: Option<Token>,
    /// The number of that port, 0 for none.
    server_udp: u16,
    server_candidates: Vec<Candidate>,
    /// Advertised addresses that this host does not have: a router or container host translates them.
    translated: Vec<IpAddr>,
    client_port: HashMap<(Handle, SocketAddr), Token>,
    routes: HashMap<(Proto, SocketAddr), Handle>,
    ufrags: HashMap<String, Handle>,
    unread: VecDeque<Token>,
    unsent: Vec<Token>,
    buffers: Option<ReceiveBuffers>,
    arena: Vec<u8>,
}

impl Sockets {
    pub(crate) fn new(registry: Registry) -> Self {
        Self {
            registry,
            // 0 is the waker's.
            next_token: 1,
            ports: HandleMap::default(),
            listener: None,
            connections: HashMap::new(),
            connection_of: HashMap::new(),
            dialled: HashMap::new(),
            strangers: VecDeque::new(),
            server_port: None,
            server_udp: 0,
            server_candidates: Vec::new(),
            translated: Vec::new(),
            client_port: HashMap::new(),
            routes: HashMap::new(),
            ufrags: HashMap::new(),
            unread: VecDeque::new(),
            unsent: Vec::new(),
            buffers: None,
            arena: Vec::new(),
        }
    }

    pub(crate) fn server_candidates(&self) -> &[Candidate] {
        &self.server_candidates
    }

    pub(crate) fn is_listening(&self) -> bool {
        self.server_port.is_some()
    }

    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    pub(crate) fn ready(&mut self, token: Token) {
        if !self.unread.contains(&token) {
            self.unread.push_back(token);
        }
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    fn listen(&mut self, options: ListenOptions) -> io::Result<()> {
        let mut port = UdpPort::new(options.udp)?;
        let udp = port.local().port();
        options.tcp.set_nonblocking(true)?;
        let tcp = options.tcp.local_addr()?.port();
        let mut listener = TcpListener::from_std(options.tcp);
        let (udp_token, tcp_token) = (self.token(), self.token());
        self.registry.register(&mut port.socket, udp_token, Interest::READABLE)?;
        self.registry.register(&mut listener, tcp_token, Interest::READABLE)?;
        self.ports.insert(udp_token, (port, None));
        self.server_port = Some(udp_token);
        self.server_udp = udp;
        self.listener = Some((tcp_token, listener));
        for ip in options.advertise {
            if std::net::UdpSocket::bind((ip, 0)).is_err() {
                self.translated.push(ip);
            }
            self.server_candidates.push(Candidate::Udp(SocketAddr::new(ip, udp)));
            self.server_candidates.push(Candidate::Tcp(SocketAddr::new(ip, tcp), TcpType::Passive));
        }
        Ok(())
    }

    /// A socket of its own for a client peer.
    pub(crate) fn open_client_port(&mut self, peer: Handle, socket: std::net::UdpSocket) -> io::Result<SocketAddr> {
        let mut port = UdpPort::new(socket)?;
        let local = port.local();
        let token = self.token();
        self.registry.register(&mut port.socket, token, Interest::READABLE)?;
        self.ports.insert(token, (port, Some(peer)));
        self.client_port.insert((peer, local), token);
        Ok(local)
    }

    pub(crate) fn register_ufrag(&mut self, ufrag: &str, peer: Handle) {
        self.ufrags.insert(ufrag.to_owned(), peer);
    }

    /// Drop the routes and sockets of a peer that has ended.
    pub(crate) fn forget(&mut self, peer: Handle, addresses: &VecDeque<(Proto, SocketAddr)>) {
        self.ufrags.retain(|_, owner| *owner != peer);
        for address in addresses {
            if self.routes.get(address) == Some(&peer) {
                self.routes.remove(address);
            }
        }
        self.dialled.retain(|(owner, _, _), _| *owner != peer);
        self.connections.retain(|_, connection| {
            let keep = connection.peer != Some(peer);
            if !keep {
                self.connection_of.remove(&(connection.local, connection.remote));
            }
            keep
        });
        let tokens: Vec<Token> =
            self.client_port.extract_if(|(owner, _), _| *owner == peer).map(|(_, token)| token).collect();
        for token in tokens {
            if let Some((mut port, _)) = self.ports.remove(&token) {
                port.flush();
            }
        }
    }

    pub(crate) fn send(&mut self, peer: Handle, transmit: &Transmit) {
        if transmit.proto == Proto::Tcp {
            return self.send_tcp(peer, transmit);
        }
        let of_server = transmit.source.port() == self.server_udp;
        let client = if of_server { None } else { self.client_port.get(&(peer, transmit.source)).copied() };
        let Some(token) = client.or(self.server_port) else {
            return;
        };
        let Some((port, _)) = self.ports.get_mut(&token) else {
            return;
        };
        let source = Some(transmit.source.ip()).filter(|ip| !self.translated.contains(ip));
        port.send(source, transmit.destination, &transmit.data);
        if self.unsent.last() != Some(&token) {
            self.unsent.push(token);
        }
    }

    pub(crate) fn client_addresses(&self, peer: Handle) -> Vec<SocketAddr> {
        self.client_port.keys().filter(|(owner, _)| *owner == peer).map(|(_, local)| *local).collect()
    }

    fn send_tcp(&mut self, peer: Handle, transmit: &Transmit) {
        let (source, destination) = (transmit.source, transmit.destination);
        let dialled = self.dialled.get(&(peer, source, destination));
        let known = dialled.or_else(|| self.connection_of.get(&(source, destination))).copied();
        let Some(token) = known.or_else(|| self.connect(peer, transmit)) else {
            return;
        };
        if let Some(connection) = self.connections.get_mut(&token)
            && connection.send(&transmit.data).is_err()
        {
            self.close_connection(token);
        }
    }

    /// A client's connection to a passive candidate. It is known by the candidate's address, whatever port it leaves from.
    fn connect(&mut self, peer: Handle, transmit: &Transmit) -> Option<Token> {
        self.client_port.keys().find(|(owner, _)| *owner == peer)?;
        let mut stream = TcpStream::connect(transmit.destination).ok()?;
        let token = self.token();
        self.registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE).ok()?;
        let mut connection = TcpConnection::new(stream, transmit.destination, transmit.source);
        connection.peer = Some(peer);
        self.connections.insert(token, connection);
        self.dialled.insert((peer, transmit.source, transmit.destination), token);
        Some(token)
    }

    fn close_connection(&mut self, token: Token) {
        if let Some(connection) = self.connections.remove(&token) {
            self.connection_of.remove(&(connection.local, connection.remote));
            self.dialled.retain(|_, dialled| *dialled != token);
            self.routes.remove(&(Proto::Tcp, connection.remote));
            if connection.peer.is_none() {
                self.strangers.retain(|(_, stranger)| *stranger != token);
            }
        }
    }

    pub(crate) fn flush(&mut self) {
        for token in self.unsent.drain(..) {
            if let Some((port, _)) = self.ports.get_mut(&token) {
                port.flush();
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        loop {
            let Some((_, listener)) = &self.listener else {
                return;
            };
            let (stream, remote) = match listener.accept() {
                Ok(accepted) => accepted,
                // Reset before we came to it: others may wait behind it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                // Nobody waits, or a passing lack of descriptors.
                Err(_) => return,
            };
            while self.strangers.len() >= UNKNOWN_CONNECTIONS {
                self.close_oldest_stranger();
            }
            match self.add_connection(stream, remote) {
                Ok(token) => self.strangers.push_back((now + UNKNOWN_PATIENCE, token)),
                Err(error) => tracing::debug!(%error, "TCP connection not taken"),
            }
        }
    }

    /// Close connections that had long enough to show whose they are.
    pub(crate) fn close_strangers(&mut self, now: Instant) {
        while self.strangers.front().is_some_and(|(until, _)| *until <= now) {
            self.close_oldest_stranger();
        }
    }

    /// When [`Sockets::close_strangers`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.strangers.front().map(|(until, _)| *until)
    }

    fn close_oldest_stranger(&mut self) {
        if let Some((_, token)) = self.strangers.pop_front()
            && self.connections.get(&token).is_some_and(|connection| connection.peer.is_none())
        {
            self.close_connection(token);
        }
    }

    fn add_connection(&mut self, mut stream: TcpStream, remote: SocketAddr) -> io::Result<Token> {
        let _ = stream.set_nodelay(true);
        let local = self.advertised(Proto::Tcp, stream.local_addr()?);
        let token = self.token();
        self.registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.connections.insert(token, TcpConnection::new(stream, remote, local));
        self.connection_of.insert((local, remote), token);
        self.ready(token);
        Ok(token)
    }

    /// The candidate that stands for a local address of the server: where an address is translated on the way, the client
    /// sent to the advertised one, and that is what its checks are about.
    fn advertised(&self, proto: Proto, local: SocketAddr) -> SocketAddr {
        let of_proto = |candidate: &Candidate| match candidate {
            Candidate::Udp(address) if proto == Proto::Udp => Some(*address),
            Candidate::Tcp(address, _) if proto == Proto::Tcp => Some(*address),
            _ => None,
        };
        let mut candidates = self.server_candidates.iter().filter_map(of_proto);
        if candidates.clone().any(|address| address == local) {
            return local;
        }
        candidates.find(|address| address.is_ipv4() == local.is_ipv4()).unwrap_or(local)
    }

    fn learn(&mut self, peer: Handle, transmit: &Transmit) {
        self.routes.insert((transmit.proto, transmit.destination), peer);
        if transmit.proto == Proto::Tcp
            && let Some(token) = self.connection_of.get(&(transmit.source, transmit.destination)).copied()
            && let Some(connection) = self.connections.get_mut(&token)
        {
            connection.peer = Some(peer);
            self.strangers.retain(|(_, stranger)| *stranger != token);
        }
    }

    fn owner(&self, proto: Proto, source: SocketAddr, datagram: &[u8]) -> Option<Handle> {
        // Only a binding request names its peer; it may move an address from a peer that is gone to a new one.
        let named = stun_ufrag(datagram).and_then(|ufrag| self.ufrags.get(ufrag)).copied();
        named.or_else(|| self.routes.get(&(proto, source)).copied())
    }
}

impl World {
    /// Take the bound sockets for server peers.
    ///
    /// # Errors
    /// The system refuses to poll them.
    pub fn listen(&mut self, options: ListenOptions) -> io::Result<()> {
        self.sockets.listen(options)
    }

    pub(crate) fn read_sockets(&mut self) {
        let mut buffers = self.sockets.buffers.take().unwrap_or_else(ReceiveBuffers::new);
        let mut arrived = Vec::new();
        for _ in 0..self.sockets.unread.len() {
            let Some(token) = self.sockets.unread.pop_front() else {
                break;
            };
            if self.sockets.listener.as_ref().is_some_and(|(listener, _)| *listener == token) {
                let now = self.now;
                self.sockets.accept(now);
            } else if self.sockets.ports.contains_key(&token) {
                self.read_port(token, &mut buffers, &mut arrived);
            } else {
                self.read_connection(token, &mut arrived);
            }
        }
        self.sockets.buffers = Some(buffers);
    }

    fn read_port(&mut self, token: Token, buffers: &mut ReceiveBuffers, arrived: &mut Vec<Arrived>) {
        for _ in 0..BATCHES_PER_TURN {
            let Some((port, owner)) = self.sockets.ports.get_mut(&token) else {
                return;
            };
            let owner = *owner;
            let mut arena = std::mem::take(&mut self.sockets.arena);
            arena.clear();
            let more = port.receive(buffers, |source, destination, datagram| {
                let start = arena.len();
                arena.extend_from_slice(datagram);
                arrived.push(Arrived { source, destination, range: start..arena.len() });
            });
            for item in arrived.drain(..) {
                let datagram = arena.get(item.range.clone()).unwrap_or_default();
                let destination = match owner {
                    Some(_) => item.destination,
                    None => self.sockets.advertised(Proto::Udp, item.destination),
                };
                self.datagram_arrived(owner, Proto::Udp, item.source, destination, datagram);
            }
            self.sockets.arena = arena;
            if !more {
                return;
            }
        }
        self.sockets.ready(token);
    }

    fn read_connection(&mut self, token: Token, arrived: &mut Vec<Arrived>) {
        let Some(connection) = self.sockets.connections.get_mut(&token) else {
            return;
        };
        let (source, destination) = (connection.remote, connection.local);
        let owner = connection.peer;
        let mut arena = Vec::new();
        let alive = connection.flush().is_ok()
            && connection
                .receive(|datagram| {
                    let start = arena.len();
                    arena.extend_from_slice(datagram);
                    arrived.push(Arrived { source, destination, range: start..arena.len() });
                })
                .is_ok();
        for item in arrived.drain(..) {
            let datagram = arena.get(item.range).unwrap_or_default();
            self.datagram_arrived(owner, Proto::Tcp, source, destination, datagram);
        }
        if !alive {
            self.sockets.close_connection(token);
        }
    }

    /// The peer has answered a check, so that whoever sent it has the peer's key: what comes from there is the peer's. Before
    /// that, anybody who knows the peer's name could have it forget its client's address.
    pub(crate) fn learn_address(&mut self, handle: Handle, transmit: &Transmit) {
        let address = (transmit.proto, transmit.destination);
        if !transmit.data.starts_with(&BINDING_RESPONSE) || self.sockets.routes.get(&address) == Some(&handle) {
            return;
        }
        let Some(PeerEntry { side: Side::Server(_), addresses, .. }) = self.peers.get_mut(&handle) else {
            return;
        };
        addresses.push_back(address);
        let forgotten = if addresses.len() > ADDRESSES_PER_PEER { addresses.pop_front() } else { None };
        self.sockets.learn(handle, transmit);
        if let Some(oldest) = forgotten
            && self.sockets.routes.get(&oldest) == Some(&handle)
        {
            self.sockets.routes.remove(&oldest);
        }
    }

    fn datagram_arrived(
        &mut self,
        owner: Option<Handle>,
        proto: Proto,
        source: SocketAddr,
        destination: SocketAddr,
        datagram: &[u8],
    ) {
        let counters = self.counters();
        counters.packets_in.fetch_add(1, Ordering::Relaxed);
        counters.bytes_in.fetch_add(datagram.len() as u64, Ordering::Relaxed);
        let Some(handle) = owner.or_else(|| self.sockets.owner(proto, source, datagram)) else {
            counters.datagrams_dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let Some(scope) = self.peers.get(&handle).map(|entry| entry.scope(handle)) else {
            return;
        };
        self.guarded(scope, |world| {
            let now = world.now;
            let Some(entry) = world.peers.get_mut(&handle) else {
                return;
            };
            if let Err(error) = entry.peer.handle_datagram(now, proto, source, destination, datagram) {
                tracing::debug!(%error, "datagram refused");
            }
            entry.mark(handle, &mut world.dirty);
            if is_dtls(datagram) {
                // The library keeps some thirty records and drops what comes on top of them.
                world.drain(handle);
            }
        });
    }
}

/// By its first byte (RFC 7983).
fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram, [20..=63, ..])
}

/// A datagram in the arena of the turn.
struct Arrived {
    source: SocketAddr,
    destination: SocketAddr,
    range: std::ops::Range<usize>,
}
