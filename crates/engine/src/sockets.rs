//! UDP ports and framed TCP connections (RFC 4571), non-blocking, read and written in batches.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use mio::net::{TcpStream, UdpSocket};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};

/// Kernel buffers asked for: a key frame to many subscribers is one burst.
const SOCKET_BUFFER: usize = 4 << 20;
/// Largest datagram with its coalesced successors (GRO) that the kernel hands over.
const RECEIVE_BUFFER: usize = 65_536;
/// Bytes of datagrams that are gathered before they are written.
const SEND_BUFFER: usize = 1 << 20;
/// The longest run of datagrams that the kernel takes in one call.
const LONGEST_RUN: usize = 60_000;
/// Bytes that may wait for a slow TCP peer before media to it is dropped.
const TCP_BACKLOG: usize = 1 << 20;
/// Framed datagrams are prefixed with their length in 16 bits.
const LENGTH_PREFIX: usize = 2;

/// Where received datagrams are put: one for all ports of an engine.
///
/// One allocation of zeros, of which the system backs only what datagrams have reached: little, in a client.
pub(crate) struct ReceiveBuffers {
    memory: Vec<u8>,
    meta: Vec<RecvMeta>,
}

impl ReceiveBuffers {
    pub(crate) fn new() -> Self {
        Self { memory: vec![0; RECEIVE_BUFFER * BATCH_SIZE], meta: vec![RecvMeta::default(); BATCH_SIZE] }
    }
}

/// A bound UDP socket.
pub(crate) struct UdpPort {
    pub(crate) socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    /// The datagrams that wait to be written, and their bytes.
    queue: Vec<Queued>,
    bytes: Vec<u8>,
    /// The bytes of those that leave in one call.
    run: Vec<u8>,
    pub(crate) dropped: u64,
}

impl UdpPort {
    pub(crate) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let socket = UdpSocket::from_std(socket);
        let state = UdpSocketState::new((&socket).into())?;
        // The kernel caps these silently or not at all; media works with less, only bursts suffer.
        let _ = state.set_send_buffer_size((&socket).into(), SOCKET_BUFFER);
        let _ = state.set_recv_buffer_size((&socket).into(), SOCKET_BUFFER);
        Ok(Self { socket, state, local, queue: Vec::new(), bytes: Vec::new(), run: Vec::new(), dropped: 0 })
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// One batch of datagrams as `(source, destination, bytes)`. False when nothing was there.
    pub(crate) fn receive(
        &mut self,
        buffers: &mut ReceiveBuffers,
        mut each: impl FnMut(SocketAddr, SocketAddr, &[u8]),
    ) -> bool {
        let mut slices: Vec<IoSliceMut<'_>> =
            buffers.memory.chunks_exact_mut(RECEIVE_BUFFER).map(IoSliceMut::new).collect();
        let count = match self.state.recv((&self.socket).into(), &mut slices, &mut buffers.meta) {
            Ok(count) => count,
            // An unreachable destination reported back (ICMP) is that peer's affair: its ICE times out.
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        };
        for (meta, memory) in buffers.meta.iter().zip(buffers.memory.chunks_exact(RECEIVE_BUFFER)).take(count) {
            let ip = if self.local.ip().is_unspecified() { meta.dst_ip } else { None };
            let destination = SocketAddr::new(ip.unwrap_or(self.local.ip()), self.local.port());
            let received = memory.get(..meta.len).unwrap_or_default();
            for datagram in received.chunks(meta.stride.max(1)) {
                each(meta.addr, destination, datagram);
            }
        }
        count > 0
    }

    /// Queue one datagram. Without a source address the system chooses one.
    pub(crate) fn send(&mut self, source: Option<IpAddr>, destination: SocketAddr, datagram: &[u8]) {
        if self.bytes.len() + datagram.len() > SEND_BUFFER {
            self.flush();
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(datagram);
        self.queue.push(Queued { destination, source, start, size: datagram.len() });
    }

    /// Write what is queued: each destination's datagrams in their order, those of one size in one call (GSO).
    pub(crate) fn flush(&mut self) {
        self.queue.sort_by_key(|queued| queued.destination);
        let mut rest = self.queue.as_slice();
        while let Some(first) = rest.first() {
            let count = together(rest, self.state.max_gso_segments());
            let (run, behind) = rest.split_at(count);
            rest = behind;
            let contents = match run {
                [only] => self.bytes.get(only.range()).unwrap_or_default(),
                run => {
                    self.run.clear();
                    let datagrams = run.iter().filter_map(|queued| self.bytes.get(queued.range()));
                    datagrams.for_each(|datagram| self.run.extend_from_slice(datagram));
                    &self.run
                }
            };
            let transmit = Transmit {
                destination: first.destination,
                ecn: None,
                contents,
                segment_size: (count > 1).then_some(first.size),
                src_ip: first.source.filter(|_| self.local.ip().is_unspecified()),
            };
            if self.state.try_send((&self.socket).into(), &transmit).is_err() {
                // Full buffers and unreachable destinations are losses like any other: retransmission and ICE see to them.
                self.dropped += 1;
            }
        }
        self.queue.clear();
        self.bytes.clear();
    }
}

/// A datagram that waits to be written.
struct Queued {
    destination: SocketAddr,
    source: Option<IpAddr>,
    start: usize,
    size: usize,
}

impl Queued {
    fn range(&self) -> Range<usize> {
        self.start..self.start + self.size
    }
}

/// How many of the first datagrams can be written in one call: those for one destination that are as long as the first, and
/// one that is shorter at the end.
fn together(queue: &[Queued], most: usize) -> usize {
    let Some(first) = queue.first() else { return 0 };
    let most = most.min(LONGEST_RUN / first.size.max(1)).max(1);
    let same = |queued: &&Queued| queued.destination == first.destination && queued.source == first.source;
    let mut run = queue.iter().take(most).take_while(same);
    let whole = run.clone().take_while(|queued| queued.size == first.size).count();
    let shorter = run.nth(whole).is_some_and(|queued| queued.size < first.size);
    whole + usize::from(shorter)
}

/// One accepted or opened TCP connection that carries framed datagrams.
pub(crate) struct TcpConnection {
    pub(crate) stream: TcpStream,
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    /// Whose it is, once its first binding request has named it.
    pub(crate) peer: Option<u64>,
    input: Vec<u8>,
    output: VecDeque<u8>,
}

impl TcpConnection {
    pub(crate) fn new(stream: TcpStream, remote: SocketAddr, local: SocketAddr) -> Self {
        Self { stream, remote, local, peer: None, input: Vec::new(), output: VecDeque::new() }
    }

    /// Every whole datagram that has arrived.
    ///
    /// # Errors
    /// The connection has ended.
    pub(crate) fn receive(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut chunk = [0; 16_384];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.input.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let mut rest = self.input.as_slice();
            while let Some((prefix, behind)) = rest.split_first_chunk::<LENGTH_PREFIX>() {
                let Some((datagram, behind)) = behind.split_at_checked(usize::from(u16::from_be_bytes(*prefix))) else {
                    break;
                };
                each(datagram);
                rest = behind;
            }
            let used = self.input.len() - rest.len();
            self.input.drain(..used);
        }
    }

    /// Queue one datagram and write what goes. Dropped whole when the other side reads too slowly.
    ///
    /// # Errors
    /// The connection has ended.
    pub(crate) fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let Ok(length) = u16::try_from(datagram.len()) else {
            return Ok(());
        };
        if self.output.len() + datagram.len() <= TCP_BACKLOG {
            self.output.extend(length.to_be_bytes());
            self.output.extend(datagram);
        }
        self.flush()
    }

    /// Write what is queued.
    ///
    /// # Errors
    /// The connection has ended.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(self.output.as_slices().0) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
