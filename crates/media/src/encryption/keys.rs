//! Keys by participant and index, derived from what people share.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, pbkdf2};

use super::EncryptionError;

const ROUNDS: NonZeroU32 = NonZeroU32::new(100_000).unwrap();
const KEY_LENGTH: usize = 16;
/// Of what the ratchet makes.
const MATERIAL_LENGTH: usize = 32;
/// What HKDF binds keys to: nothing, in this many bytes.
const HKDF_INFO: [u8; 128] = [0; 128];
const MAX_RING: usize = 256;
const MAX_WINDOW: usize = 100;

/// How a key is made from its material.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derivation {
    /// For pass phrases: slow on purpose, 100 000 rounds.
    Pbkdf2,
    /// For keys that are random already.
    Hkdf,
}

/// How keys are made, and how long to look for one that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOptions {
    /// Mixed into every derivation.
    pub salt: Vec<u8>,
    /// Steps of the ratchet that a receiver goes ahead to find a sender's key.
    pub ratchet_window: usize,
    /// Frames in a row that may fail before a key is given up; None = never.
    pub failure_tolerance: Option<u32>,
    /// Indexes that there are.
    pub ring_size: usize,
    /// How keys are made.
    pub derivation: Derivation,
}

/// One key and the material it comes from.
pub struct Key {
    material: Vec<u8>,
    cipher: LessSafeKey,
    /// Its successors as far as they were made.
    ahead: Mutex<Ahead>,
}

#[derive(Default)]
struct Ahead {
    keys: Vec<Arc<Key>>,
    begun: bool,
}

/// Everyone's keys. Any thread may use it; keys are derived without holding others up.
pub struct Keyring {
    options: KeyOptions,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    shared: HashMap<u8, Arc<Key>>,
    /// By participant: keys of their own, and where the ratchet of the shared one has got with them.
    own: HashMap<String, HashMap<u8, Slot>>,
}

struct Slot {
    key: Arc<Key>,
    from_shared: bool,
}

impl Key {
    fn new(options: &KeyOptions, material: &[u8]) -> Result<Self, EncryptionError> {
        let mut bytes = [0; KEY_LENGTH];
        options.derive(material, &mut bytes);
        let unusable = |_| EncryptionError::Invalid("the key cannot be used".into());
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &bytes).map_err(unusable)?);
        Ok(Self { material: material.to_vec(), cipher, ahead: Mutex::default() })
    }

    fn next(&self, options: &KeyOptions) -> Result<Self, EncryptionError> {
        let mut material = [0; MATERIAL_LENGTH];
        options.derive(&self.material, &mut material);
        Self::new(options, &material)
    }

    /// Append the ciphertext and tag of `plain` to `out`. False if the cipher refuses.
    pub(super) fn seal(&self, nonce: [u8; NONCE_LEN], header: &[u8], plain: &[u8], out: &mut Vec<u8>) -> bool {
        let mut body = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = self.cipher.seal_in_place_append_tag(nonce, Aad::from(header), &mut body).is_ok();
        if sealed {
            out.extend_from_slice(&body);
        }
        sealed
    }

    /// What `sealed` (ciphertext and tag) says, None if it is not of this key.
    pub(super) fn open(&self, nonce: [u8; NONCE_LEN], header: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let mut body = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length = self.cipher.open_in_place(nonce, Aad::from(header), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }

    /// The successors that were made so far.
    pub(super) fn known(&self) -> Vec<Arc<Key>> {
        lock(&self.ahead).keys.clone()
    }

    /// The successors that were made so far, and whether somebody should begin to make them.
    pub(super) fn ahead(&self) -> (Vec<Arc<Key>>, bool) {
        let mut ahead = lock(&self.ahead);
        let begin = !ahead.begun;
        ahead.begun = true;
        (ahead.keys.clone(), begin)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Key")
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Keyring")
    }
}

impl KeyOptions {
    fn derive(&self, material: &[u8], out: &mut [u8]) {
        match self.derivation {
            Derivation::Pbkdf2 => {
                pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &self.salt, material, out);
            }
            // RFC 5869 for outputs of at most one block.
            Derivation::Hkdf => {
                let extracted = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.salt), material);
                let mut expand = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, extracted.as_ref()));
                expand.update(&HKDF_INFO);
                expand.update(&[1]);
                let block = expand.sign();
                out.iter_mut().zip(block.as_ref()).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

impl Keyring {
    /// Without keys.
    ///
    /// # Errors
    /// The ring or the window has an impossible size.
    pub fn new(options: KeyOptions) -> Result<Self, EncryptionError> {
        if !(1..=MAX_RING).contains(&options.ring_size) {
            let message = format!("key_ring_size is {}: it must be 1 to {MAX_RING}", options.ring_size);
            return Err(EncryptionError::Invalid(message));
        }
        if options.ratchet_window > MAX_WINDOW {
            let message = format!("ratchet_window_size is {}: it must be 0 to {MAX_WINDOW}", options.ratchet_window);
            return Err(EncryptionError::Invalid(message));
        }
        Ok(Self { options, slots: Mutex::default() })
    }

    /// The options.
    pub fn options(&self) -> &KeyOptions {
        &self.options
    }

    /// Take a key for one participant, or for everyone with `None`.
    ///
    /// # Errors
    /// The index is not of the ring.
    pub fn set(&self, identity: Option<&str>, index: u8, material: &[u8]) -> Result<(), EncryptionError> {
        self.check(index)?;
        let key = Arc::new(Key::new(&self.options, material)?);
        self.put(identity, index, key);
        Ok(())
    }

    /// The material of a key, None when there is none.
    pub fn export(&self, identity: Option<&str>, index: u8) -> Option<Vec<u8>> {
        self.find(identity, index).map(|key| key.material.clone())
    }

    /// Go one step on: the key is replaced by its successor, whose material is returned.
    ///
    /// # Errors
    /// The index is not of the ring, or there is no such key.
    pub fn ratchet(&self, identity: Option<&str>, index: u8) -> Result<Vec<u8>, EncryptionError> {
        self.check(index)?;
        let key = self.find(identity, index).ok_or(EncryptionError::MissingKey(index))?;
        let next = key.next(&self.options)?;
        let material = next.material.clone();
        self.put(identity, index, Arc::new(next));
        Ok(material)
    }

    /// Make one more successor of a key that a receiver may need. Takes its time: not for a media thread.
    pub fn look_ahead(&self, key: &Key) {
        let last = lock(&key.ahead).keys.last().cloned();
        if let Ok(next) = last.as_deref().unwrap_or(key).next(&self.options) {
            lock(&key.ahead).keys.push(Arc::new(next));
        }
    }

    /// A participant's own key, or else the shared one.
    pub(super) fn find(&self, identity: Option<&str>, index: u8) -> Option<Arc<Key>> {
        let slots = lock(&self.slots);
        let own = identity.and_then(|identity| slots.own.get(identity)?.get(&index)).map(|slot| &slot.key);
        own.or_else(|| slots.shared.get(&index)).cloned()
    }

    /// A participant has gone on from key `old` to `new`.
    pub(super) fn adopt(&self, identity: &str, index: u8, old: &Arc<Key>, new: Arc<Key>) {
        let mut slots = lock(&self.slots);
        let keys = slots.own.entry(identity.to_owned()).or_default();
        match keys.get_mut(&index) {
            Some(slot) if Arc::ptr_eq(&slot.key, old) => slot.key = new,
            // Somebody has set another key meanwhile.
            Some(_) => {}
            None => {
                keys.insert(index, Slot { key: new, from_shared: true });
            }
        }
    }

    fn put(&self, identity: Option<&str>, index: u8, key: Arc<Key>) {
        let mut slots = lock(&self.slots);
        match identity {
            Some(identity) => {
                let keys = slots.own.entry(identity.to_owned()).or_default();
                keys.insert(index, Slot { key, from_shared: false });
            }
            None => {
                slots.shared.insert(index, key);
                for keys in slots.own.values_mut() {
                    keys.retain(|other, slot| *other != index || !slot.from_shared);
                }
            }
        }
    }

    fn check(&self, index: u8) -> Result<(), EncryptionError> {
        if usize::from(index) < self.options.ring_size {
            return Ok(());
        }
        let last = self.options.ring_size - 1;
        Err(EncryptionError::Invalid(format!("key_index is {index}: it must be 0 to {last}, within key_ring_size")))
    }
}

/// Lock, also after a panic elsewhere: what is guarded is valid at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
