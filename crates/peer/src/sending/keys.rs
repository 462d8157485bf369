//! The keys of a connection, as its DTLS handshake exports them (RFC 5764).
//!
//! The WebRTC library keeps them to itself, but takes the DTLS implementation from us: ours is the library's own, with an eye
//! on what it says.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use str0m::config::CryptoProvider;
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion, SrtpProfile,
};
use str0m::crypto::{CryptoError, from_feature_flags};

/// What a handshake has exported.
pub(crate) struct ExportedKeys {
    pub(crate) profile: SrtpProfile,
    /// The client's key, the server's key, the client's salt, the server's salt.
    pub(crate) material: Vec<u8>,
    /// Whether we are the DTLS client.
    pub(crate) client: bool,
}

impl std::fmt::Debug for ExportedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExportedKeys(..)")
    }
}

/// Where the keys of one connection can be had once its handshake is over.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeySlot(Arc<Mutex<Option<ExportedKeys>>>);

impl KeySlot {
    /// Takes the keys out; `None` if there are none, or none any more.
    pub(crate) fn take(&self) -> Option<ExportedKeys> {
        self.0.lock().ok()?.take()
    }

    fn put(&self, keys: ExportedKeys) {
        if let Ok(mut slot) = self.0.lock() {
            *slot = Some(keys);
        }
    }
}

thread_local! {
    /// The slot of the connection that this thread has made last: the library makes its DTLS instance by itself.
    static NEWEST: RefCell<KeySlot> = RefCell::default();
}

/// Makes something that makes one DTLS instance of [`provider`], and returns the slot of its keys with it.
pub(crate) fn with_slot<T>(make: impl FnOnce() -> T) -> (T, KeySlot) {
    let made = make();
    (made, NEWEST.take())
}

/// The library's cryptography, whose handshakes leave their keys in a slot.
pub(crate) fn provider() -> CryptoProvider {
    CryptoProvider { dtls_provider: &Watching, ..from_feature_flags() }
}

#[derive(Debug)]
struct Watching;

impl DtlsProvider for Watching {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let instance = from_feature_flags().dtls_provider.new_dtls(certificate, now, version, mtu)?;
        let slot = KeySlot::default();
        NEWEST.set(slot.clone());
        Ok(Box::new(Watched { instance, slot }))
    }
}

#[derive(Debug)]
struct Watched {
    instance: Box<dyn DtlsInstance>,
    slot: KeySlot,
}

impl DtlsInstance for Watched {
    fn set_active(&mut self, active: bool) {
        self.instance.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.instance.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let output = self.instance.poll_output(buffer);
        if let DtlsOutput::KeyingMaterial(material, profile) = &output {
            let client = self.instance.is_active();
            self.slot.put(ExportedKeys { profile: *profile, material: material.to_vec(), client });
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.instance.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.instance.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.instance.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.instance.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.instance.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.instance.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.instance.close()
    }
}
