//! SRTP and SRTCP (RFC 3711, RFC 7714): the ciphers of one direction of a connection.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::{constant_time, hmac};
use str0m::crypto::dtls::SrtpProfile;
use str0m::crypto::from_feature_flags;

use crate::PeerError;
use crate::sending::keys::ExportedKeys;

/// Both transforms append a tag; the longest has 16 bytes.
pub(crate) const LONGEST_TAG: usize = 16;
const GCM_TAG: usize = 16;
const GCM_SALT: usize = 12;
const COUNTER_TAG: usize = 10;
const COUNTER_SALT: usize = 14;
/// What of an RTCP packet stays readable: its header and the first SSRC.
const RTCP_HEADER: usize = 8;
/// Says that an SRTCP packet is encrypted, in the word that ends with its index.
const ENCRYPTED: u32 = 1 << 31;

/// The session keys of one direction.
pub(crate) struct Srtp {
    rtp: Transform,
    rtcp: Transform,
    /// The index of the next SRTCP packet: one for all SSRCs, so that no pair of them ever comes twice.
    next_index: u32,
}

enum Transform {
    Gcm { key: Box<LessSafeKey>, salt: [u8; GCM_SALT] },
    Counter { key: Box<EncryptingKey>, salt: [u8; COUNTER_SALT], authentication: Box<hmac::Key> },
}

/// The session keys for what we send and for what the other side sends.
pub(crate) fn both_directions(keys: &ExportedKeys) -> Result<(Srtp, Srtp), PeerError> {
    let client = Srtp::derive(keys, true)?;
    let server = Srtp::derive(keys, false)?;
    Ok(if keys.client { (client, server) } else { (server, client) })
}

impl Srtp {
    fn derive(keys: &ExportedKeys, of_client: bool) -> Result<Self, PeerError> {
        let (key_size, salt_size) = match keys.profile {
            SrtpProfile::AEAD_AES_128_GCM => (16, GCM_SALT),
            SrtpProfile::AEAD_AES_256_GCM => (32, GCM_SALT),
            _ => (16, COUNTER_SALT),
        };
        let (client_key, rest) = split(&keys.material, key_size)?;
        let (server_key, rest) = split(rest, key_size)?;
        let (client_salt, rest) = split(rest, salt_size)?;
        let (server_salt, _) = split(rest, salt_size)?;
        let (key, salt) = if of_client { (client_key, client_salt) } else { (server_key, server_salt) };
        // The labels of RFC 3711, section 4.3: the key, what authenticates, and the salt.
        let [rtp, rtcp] = [[0, 1, 2], [3, 4, 5]].map(|labels| Transform::derive(keys.profile, key, salt, labels));
        Ok(Srtp { rtp: rtp?, rtcp: rtcp?, next_index: 0 })
    }

    /// Encrypts the RTP packet that begins at `start` and ends the buffer; a tag is appended. `index` is its sequence number,
    /// extended over wrap-arounds, and must never have been used with this SSRC.
    pub(crate) fn protect_rtp(
        &self,
        buffer: &mut Vec<u8>,
        header: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), PeerError> {
        let (head, payload) = buffer.split_at_mut_checked(header).ok_or_else(broken)?;
        match &self.rtp {
            Transform::Gcm { key, salt } => {
                let nonce = Nonce::assume_unique_for_key(gcm_nonce(salt, ssrc, index));
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(head), payload).map_err(|_| broken())?;
                buffer.extend_from_slice(tag.as_ref());
            }
            Transform::Counter { key, salt, authentication } => {
                apply_counter(key, counter(salt, ssrc, index), payload)?;
                let mut tag = hmac::Context::with_key(authentication);
                tag.update(buffer);
                tag.update(&((index >> 16) as u32).to_be_bytes());
                buffer.extend(tag.sign().as_ref().iter().take(COUNTER_TAG));
            }
        }
        Ok(())
    }

    /// Encrypts a compound RTCP packet.
    pub(crate) fn protect_rtcp(&mut self, packet: &[u8]) -> Result<Vec<u8>, PeerError> {
        let index = self.next_index;
        if index >= ENCRYPTED {
            return Err(PeerError::Internal("the keys of the connection are used up".into()));
        }
        self.next_index += 1;
        let ssrc = ssrc_of(packet).ok_or_else(broken)?;
        let word = (ENCRYPTED | index).to_be_bytes();
        let mut out = Vec::with_capacity(packet.len() + word.len() + LONGEST_TAG);
        out.extend_from_slice(packet);
        let (head, body) = out.split_at_mut_checked(RTCP_HEADER).ok_or_else(broken)?;
        match &self.rtcp {
            Transform::Gcm { key, salt } => {
                let nonce = Nonce::assume_unique_for_key(gcm_nonce(salt, ssrc, index.into()));
                let known = Aad::from([&*head, &word].concat());
                let tag = key.seal_in_place_separate_tag(nonce, known, body).map_err(|_| broken())?;
                out.extend_from_slice(tag.as_ref());
                out.extend_from_slice(&word);
            }
            Transform::Counter { key, salt, authentication } => {
                apply_counter(key, counter(salt, ssrc, index.into()), body)?;
                out.extend_from_slice(&word);
                let tag = hmac::sign(authentication, &out);
                out.extend(tag.as_ref().iter().take(COUNTER_TAG));
            }
        }
        Ok(out)
    }

    /// Decrypts an SRTCP packet; `None` if it is none, or not from whoever has the keys.
    pub(crate) fn open_rtcp(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let ssrc = ssrc_of(packet)?;
        match &self.rtcp {
            Transform::Gcm { key, salt } => {
                let (sealed, word) = packet.split_last_chunk::<4>()?;
                let (head, body) = sealed.split_at_checked(RTCP_HEADER)?;
                let nonce = Nonce::assume_unique_for_key(gcm_nonce(salt, ssrc, index_of(*word)?));
                let mut out = sealed.to_vec();
                let known = Aad::from([head, word].concat());
                key.open_in_place(nonce, known, out.get_mut(RTCP_HEADER..)?).ok()?;
                out.truncate(RTCP_HEADER + body.len().checked_sub(GCM_TAG)?);
                Some(out)
            }
            Transform::Counter { key, salt, authentication } => {
                let (sealed, tag) = packet.split_last_chunk::<COUNTER_TAG>()?;
                let wanted = hmac::sign(authentication, sealed);
                constant_time::verify_slices_are_equal(wanted.as_ref().get(..COUNTER_TAG)?, tag).ok()?;
                let (sealed, word) = sealed.split_last_chunk::<4>()?;
                let mut out = sealed.to_vec();
                let counter = counter(salt, ssrc, index_of(*word)?);
                apply_counter(key, counter, out.get_mut(RTCP_HEADER..)?).ok()?;
                Some(out)
            }
        }
    }
}

impl Transform {
    fn derive(profile: SrtpProfile, master: &[u8], master_salt: &[u8], labels: [u8; 3]) -> Result<Self, PeerError> {
        let [for_key, for_tag, for_salt] = labels;
        let key = derive(master, master_salt, for_key, master.len());
        let salt = derive(master, master_salt, for_salt, master_salt.len());
        match profile {
            SrtpProfile::AEAD_AES_128_GCM => Self::gcm(&AES_128_GCM, &key, &salt),
            SrtpProfile::AEAD_AES_256_GCM => Self::gcm(&AES_256_GCM, &key, &salt),
            SrtpProfile::AES128_CM_SHA1_80 => Self::counter(&key, &salt, &derive(master, master_salt, for_tag, 20)),
            other => Err(PeerError::Internal(format!("the SRTP profile {other} is unknown here"))),
        }
    }

    fn gcm(algorithm: &'static Algorithm, key: &[u8], salt: &[u8]) -> Result<Self, PeerError> {
        let key = UnboundKey::new(algorithm, key).map_err(|_| broken())?;
        Ok(Transform::Gcm { key: Box::new(LessSafeKey::new(key)), salt: salt.try_into().map_err(|_| broken())? })
    }

    fn counter(key: &[u8], salt: &[u8], authentication: &[u8]) -> Result<Self, PeerError> {
        let key = UnboundCipherKey::new(&AES_128, key).and_then(EncryptingKey::ctr).map_err(|_| broken())?;
        let authentication = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, authentication);
        let salt = salt.try_into().map_err(|_| broken())?;
        Ok(Transform::Counter { key: Box::new(key), salt, authentication: Box::new(authentication) })
    }
}

/// The key derivation of RFC 3711, section 4.3.1, with a rate of zero: AES in counter mode over the salt and the label.
fn derive(master: &[u8], master_salt: &[u8], label: u8, size: usize) -> Vec<u8> {
    let aes = from_feature_flags().srtp_provider;
    let mut input = [0; 16];
    for (to, from) in input.iter_mut().zip(master_salt) {
        *to = *from;
    }
    input[7] ^= label;
    let mut derived = Vec::with_capacity(size + 16);
    for block in 0_u16.. {
        if derived.len() >= size {
            break;
        }
        [input[14], input[15]] = block.to_be_bytes();
        let mut output = [0; 32];
        match master.len() {
            32 => aes.srtp_aes_256_ecb_round(master, &input, &mut output),
            _ => aes.srtp_aes_128_ecb_round(master, &input, &mut output),
        }
        derived.extend_from_slice(&output[..16]);
    }
    derived.truncate(size);
    derived
}

/// RFC 7714, sections 8.1 and 9.1: the salt combined with the SSRC and the index of 48 bits.
fn gcm_nonce(salt: &[u8; GCM_SALT], ssrc: u32, index: u64) -> [u8; GCM_SALT] {
    let mut value = [0; 16];
    value[4..].copy_from_slice(salt);
    let mixed = u128::from_be_bytes(value) ^ u128::from(ssrc) << 48 ^ u128::from(index);
    let mut nonce = [0; GCM_SALT];
    nonce.copy_from_slice(&mixed.to_be_bytes()[4..]);
    nonce
}

/// RFC 3711, section 4.1.1.
fn counter(salt: &[u8; COUNTER_SALT], ssrc: u32, index: u64) -> [u8; 16] {
    let mut value = [0; 16];
    value[..COUNTER_SALT].copy_from_slice(salt);
    (u128::from_be_bytes(value) ^ u128::from(ssrc) << 64 ^ u128::from(index) << 16).to_be_bytes()
}

fn apply_counter(key: &EncryptingKey, counter: [u8; 16], data: &mut [u8]) -> Result<(), PeerError> {
    key.less_safe_encrypt(data, EncryptionContext::Iv128(counter.into())).map(drop).map_err(|_| broken())
}

fn index_of(word: [u8; 4]) -> Option<u64> {
    let word = u32::from_be_bytes(word);
    (word & ENCRYPTED != 0).then_some(u64::from(word & !ENCRYPTED))
}

fn ssrc_of(packet: &[u8]) -> Option<u32> {
    packet.get(4..RTCP_HEADER)?.try_into().ok().map(u32::from_be_bytes)
}

fn split(material: &[u8], size: usize) -> Result<(&[u8], &[u8]), PeerError> {
    material.split_at_checked(size).ok_or_else(broken)
}

fn broken() -> PeerError {
    PeerError::Internal("the cryptographic library refused to encrypt".into())
}
