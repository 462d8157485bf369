//! One track's encryption or decryption, and how it is going.

use std::sync::Arc;

use super::EncryptionError;
use super::keys::{Key, Keyring};
use super::layout::{self, FrameKind, NONCE};

/// How it is going, with the client API's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// No frame yet.
    New = 0,
    /// Frames are encrypted or decrypted.
    Ok = 1,
    /// A frame could not be encrypted, and was not sent.
    EncryptionFailed = 2,
    /// A frame is not of our key, damaged or not encrypted; it was dropped.
    DecryptionFailed = 3,
    /// There is no key with the index that is needed.
    MissingKey = 4,
    /// The sender went on to a successor of our key, and so did we.
    KeyRatcheted = 5,
}

/// Encrypts what one sender sends.
#[derive(Debug)]
pub struct Encryptor {
    keys: Arc<Keyring>,
    identity: String,
    index: u8,
    nonce: u128,
    state: Watched,
}

/// Decrypts one received track.
#[derive(Debug)]
pub struct Decryptor {
    keys: Option<Arc<Keyring>>,
    identity: String,
    trailer: Vec<u8>,
    enabled: bool,
    failures: u32,
    given_up: Option<Arc<Key>>,
    search: Option<Arc<Key>>,
    state: Watched,
}

/// What became of a received frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// It can be decoded.
    Frame(Vec<u8>),
    /// The server made it in place of the sender: whatever it holds stands for silence or no picture.
    Injected,
    /// It must not be decoded.
    Dropped,
}

#[derive(Debug)]
struct Watched {
    current: State,
    told: State,
}

impl Watched {
    fn new() -> Self {
        Self { current: State::New, told: State::New }
    }

    fn take_change(&mut self) -> Option<State> {
        let changed = self.current != self.told;
        self.told = self.current;
        changed.then_some(self.current)
    }
}

impl Encryptor {
    /// Encrypt with the key `index` of `identity`. `nonce` is random: with any number of encryptors none is used twice.
    pub fn new(keys: Arc<Keyring>, identity: String, index: u8, nonce: [u8; NONCE]) -> Self {
        let mut wide = [0; 16];
        wide[4..].copy_from_slice(&nonce);
        Self { keys, identity, index, nonce: u128::from_be_bytes(wide), state: Watched::new() }
    }

    /// The encrypted frame; None if it must not be sent.
    pub fn seal(&mut self, kind: FrameKind, frame: &[u8]) -> Option<Vec<u8>> {
        let Some(key) = self.keys.find(Some(&self.identity), self.index) else {
            self.state.current = State::MissingKey;
            return None;
        };
        let sealed = self.seal_with(&key, kind, frame);
        self.state.current = if sealed.is_some() { State::Ok } else { State::EncryptionFailed };
        sealed
    }

    fn seal_with(&mut self, key: &Key, kind: FrameKind, frame: &[u8]) -> Option<Vec<u8>> {
        let frame = kind.normal(frame);
        let (header, plain) = frame.split_at_checked(kind.clear(&frame)?)?;
        let nonce = self.next_nonce();
        let mut body = Vec::with_capacity(plain.len() + 64);
        if !key.seal(nonce, header, plain, &mut body) {
            return None;
        }
        layout::finish(&mut body, nonce, self.index);
        let mut sealed = header.to_vec();
        sealed.extend_from_slice(&kind.escape(body));
        Some(sealed)
    }

    /// Encrypt data that is no frame: the nonce, and the ciphertext with its tag.
    ///
    /// # Errors
    /// There is no key.
    pub fn seal_data(&mut self, plain: &[u8]) -> Result<([u8; NONCE], Vec<u8>), EncryptionError> {
        let key = self.keys.find(Some(&self.identity), self.index).ok_or(EncryptionError::MissingKey(self.index))?;
        let nonce = self.next_nonce();
        let mut sealed = Vec::with_capacity(plain.len() + 16);
        if key.seal(nonce, &[], plain, &mut sealed) {
            return Ok((nonce, sealed));
        }
        Err(EncryptionError::Invalid("the data is too long to be encrypted".into()))
    }

    /// The state, if it is another than at the last call.
    pub fn take_change(&mut self) -> Option<State> {
        self.state.take_change()
    }

    fn next_nonce(&mut self) -> [u8; NONCE] {
        self.nonce = self.nonce.wrapping_add(1);
        let bytes = self.nonce.to_be_bytes();
        std::array::from_fn(|index| bytes[index + 4])
    }
}

impl Keyring {
    /// What data that is no frame says, None if it is not of the key `index` of `identity` nor of a known successor.
    pub fn open_data(&self, identity: &str, index: u8, nonce: [u8; NONCE], sealed: &[u8]) -> Option<Vec<u8>> {
        let key = self.find(Some(identity), index)?;
        let known = || key.known().iter().find_map(|next| next.open(nonce, &[], sealed));
        key.open(nonce, &[], sealed).or_else(known)
    }
}

impl Decryptor {
    /// Decrypt what `identity` sends. Without `keys` every frame is refused: there is nothing to read it with.
    /// `trailer` marks frames that the server made; while not `enabled`, clear frames pass and encrypted ones do not.
    pub fn new(keys: Option<Arc<Keyring>>, identity: String, trailer: Vec<u8>, enabled: bool) -> Self {
        let state = Watched::new();
        Self { keys, identity, trailer, enabled, failures: 0, given_up: None, search: None, state }
    }

    /// What became of a frame.
    pub fn open(&mut self, kind: FrameKind, frame: &[u8]) -> Opened {
        if !self.trailer.is_empty() && frame.ends_with(&self.trailer) {
            return Opened::Injected;
        }
        let Some(keys) = self.keys.clone() else {
            self.state.current = State::MissingKey;
            return Opened::Dropped;
        };
        if !self.enabled {
            let opaque = layout::looks_sealed(frame);
            return if opaque { Opened::Dropped } else { Opened::Frame(frame.to_vec()) };
        }
        match self.open_with(&keys, kind, frame) {
            Ok((opened, state)) => {
                (self.failures, self.state.current) = (0, state);
                Opened::Frame(opened)
            }
            Err(state) => {
                self.state.current = state;
                Opened::Dropped
            }
        }
    }

    fn open_with(&mut self, keys: &Keyring, kind: FrameKind, frame: &[u8]) -> Result<(Vec<u8>, State), State> {
        let failed = State::DecryptionFailed;
        let (header, rest) = kind.clear(frame).and_then(|clear| frame.split_at_checked(clear)).ok_or(failed)?;
        let rest = kind.unescape(rest);
        let sealed = layout::split(header, &rest).ok_or(failed)?;
        let key = keys.find(Some(&self.identity), sealed.index).ok_or(State::MissingKey)?;
        if self.given_up.as_ref().is_some_and(|given_up| Arc::ptr_eq(given_up, &key)) {
            return Err(failed);
        }
        let whole = |plain: Vec<u8>| [sealed.header, &plain].concat();
        if let Some(plain) = key.open(sealed.nonce, header, sealed.body) {
            return Ok((whole(plain), State::Ok));
        }
        if keys.options().ratchet_window > 0 {
            let (ahead, begin) = key.ahead();
            for next in ahead {
                if let Some(plain) = next.open(sealed.nonce, header, sealed.body) {
                    keys.adopt(&self.identity, sealed.index, &key, next);
                    return Ok((whole(plain), State::KeyRatcheted));
                }
            }
            if begin {
                self.search = Some(Arc::clone(&key));
            }
        }
        self.failures = self.failures.saturating_add(1);
        if keys.options().failure_tolerance.is_some_and(|tolerance| self.failures > tolerance) {
            // Another key has its own tries.
            (self.given_up, self.failures) = (Some(key), 0);
        }
        Err(failed)
    }

    /// A key whose successors somebody should make with [`Keyring::look_ahead`], on another thread.
    pub fn take_search(&mut self) -> Option<(Arc<Keyring>, Arc<Key>)> {
        Some((self.keys.clone()?, self.search.take()?))
    }

    /// The state, if it is another than at the last call.
    pub fn take_change(&mut self) -> Option<State> {
        self.state.take_change()
    }
}
