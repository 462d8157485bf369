//! How a peer is set up.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use str0m::config::DtlsCert;
use str0m::crypto::from_feature_flags;
use str0m::net::{self, Protocol};
use str0m::{IceCreds, RtcConfig};

use crate::sending::keys;
use crate::{PeerError, extension, payload};

const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const STATISTICS_INTERVAL: Duration = Duration::from_secs(1);
/// Our own queues bound what waits; the association must never refuse what their windows let through.
const ASSOCIATION_BUFFER: usize = 16 << 20;

/// Which end of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// ICE-lite; the DTLS server whenever the other side leaves the choice.
    Server,
    /// Full ICE.
    Client,
}

/// The transport of a datagram. Over TCP a "datagram" is the payload of one RFC 4571 frame, without its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proto {
    /// UDP.
    Udp,
    /// TCP, framed by RFC 4571.
    Tcp,
}

/// The part a TCP candidate plays in opening the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TcpType {
    /// Opens connections.
    Active,
    /// Accepts connections.
    Passive,
}

/// A local address at which this peer can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Candidate {
    /// An address of this host, reached over UDP.
    Udp(SocketAddr),
    /// An address of this host, reached over TCP.
    Tcp(SocketAddr, TcpType),
    /// The address under which `base` (a UDP socket of this host) is seen from outside.
    Reflexive {
        /// The address seen from outside.
        address: SocketAddr,
        /// The local address of the socket.
        base: SocketAddr,
    },
}

/// A DTLS certificate with its key, which many peers may share.
#[derive(Clone)]
pub struct Certificate(pub(crate) DtlsCert);

impl Certificate {
    /// Makes a new self-signed certificate.
    ///
    /// # Errors
    /// [`PeerError::Internal`] when the cryptographic library cannot make one.
    pub fn generate() -> Result<Self, PeerError> {
        from_feature_flags()
            .dtls_provider
            .generate_certificate()
            .map(Certificate)
            .ok_or_else(|| PeerError::Internal("no certificate could be made".into()))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate(..)")
    }
}

/// Everything a [`Peer`](crate::Peer) is told when it is made.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// Which end this is.
    pub role: Role,
    /// The local ICE user name fragment: 4 to 256 characters of `A-Za-z0-9+/`, random, chosen by the caller.
    pub ufrag: String,
    /// The local ICE password: 22 to 256 characters of `A-Za-z0-9+/`, random, chosen by the caller.
    pub password: String,
    /// The local candidates known from the start; more may be added later.
    pub candidates: Vec<Candidate>,
    /// The certificate to use; a new one is made if there is none, which costs about a millisecond.
    pub certificate: Option<Certificate>,
    /// Whether this peer opens `_reliable`, `_lossy` and `_data_track` with its first *offer*. An answering peer takes
    /// whatever channels the other side opens, no matter what stands here.
    pub data_channels: bool,
    /// How many bytes may wait in the queue of a reliable channel before [`Peer::send_data`](crate::Peer::send_data) refuses.
    pub reliable_backlog: usize,
    /// How many bytes may wait in the queue of a lossy channel before its oldest messages are dropped.
    pub lossy_backlog: usize,
}

impl PeerConfig {
    /// A configuration with the defaults: no candidates, no data channels.
    #[must_use]
    pub fn new(role: Role, ufrag: impl Into<String>, password: impl Into<String>) -> Self {
        PeerConfig {
            role,
            ufrag: ufrag.into(),
            password: password.into(),
            candidates: Vec::new(),
            certificate: None,
            data_channels: false,
            reliable_backlog: 1 << 20,
            lossy_backlog: 128 << 10,
        }
    }
}

impl Proto {
    pub(crate) fn from_library(proto: Protocol) -> Self {
        match proto {
            Protocol::Udp => Proto::Udp,
            Protocol::Tcp | Protocol::SslTcp | Protocol::Tls => Proto::Tcp,
        }
    }

    pub(crate) fn to_library(self) -> Protocol {
        match self {
            Proto::Udp => Protocol::Udp,
            Proto::Tcp => Protocol::Tcp,
        }
    }
}

impl Candidate {
    pub(crate) fn to_library(self) -> Result<str0m::Candidate, PeerError> {
        let builder = str0m::Candidate::builder();
        let built = match self {
            Candidate::Udp(address) => builder.udp().host(address).build(),
            Candidate::Tcp(address, TcpType::Active) => {
                builder.tcp().host(address).tcptype(net::TcpType::Active).build()
            }
            Candidate::Tcp(address, TcpType::Passive) => {
                builder.tcp().host(address).tcptype(net::TcpType::Passive).build()
            }
            Candidate::Reflexive { address, base } => builder.udp().server_reflexive(address, base).build(),
        };
        built.map_err(|error| PeerError::InvalidCandidate(error.to_string()))
    }
}

impl PeerConfig {
    /// Checks what the library would not.
    pub(crate) fn check(&self) -> Result<(), PeerError> {
        let valid = |text: &str, least: usize| {
            let character = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
            (least..=256).contains(&text.len()) && text.bytes().all(character)
        };
        if !valid(&self.ufrag, 4) {
            return Err(PeerError::InvalidConfig("ufrag must be 4 to 256 characters of A-Za-z0-9+/".into()));
        }
        if !valid(&self.password, 22) {
            return Err(PeerError::InvalidConfig("password must be 22 to 256 characters of A-Za-z0-9+/".into()));
        }
        Ok(())
    }

    /// The same for the library.
    pub(crate) fn library(&self) -> RtcConfig {
        let credentials = IceCreds { ufrag: self.ufrag.clone(), pass: self.password.clone() };
        let mut library = RtcConfig::new()
            .set_rtp_mode(true)
            .set_ice_lite(self.role == Role::Server)
            .set_local_ice_credentials(credentials)
            .set_extension_map(extension::map())
            .set_rtcp_report_interval_audio(REPORT_INTERVAL)
            .set_rtcp_report_interval_video(REPORT_INTERVAL)
            .set_stats_interval(Some(STATISTICS_INTERVAL))
            .set_crypto_provider(Arc::new(keys::provider()))
            .set_sctp_max_buffered_amount(ASSOCIATION_BUFFER);
        payload::configure(library.codec_config());
        if let Some(certificate) = &self.certificate {
            library = library.set_dtls_cert(certificate.0.clone());
        }
        library
    }
}
