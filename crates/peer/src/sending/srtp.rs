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

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    }

    const PACKET: &str = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976
                          69736120 696e2070 61727465 73207472 6573";
    const REPORT: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
                          deadbeef deadbeef deadbeef deadbeef deadbeef";

    /// The session keys of RFC 7714, sections 16 and 17, for RTP and RTCP alike.
    fn gcm(size: u8, algorithm: &'static Algorithm) -> Srtp {
        let key: Vec<u8> = (0..size).collect();
        let transform = || Transform::gcm(algorithm, &key, b"Quid pro quo").unwrap();
        Srtp { rtp: transform(), rtcp: transform(), next_index: 0x5d4 }
    }

    #[test]
    fn the_vectors_of_rfc_7714_come_out() {
        let cases = [
            (
                gcm(16, &AES_128_GCM),
                "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b
                 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
                "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46
                 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
            ),
            (
                gcm(32, &AES_256_GCM),
                "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f
                 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
                "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be 8415f658
                 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4",
            ),
        ];
        for (mut srtp, packet, report) in cases {
            let mut buffer = hex(PACKET);
            srtp.protect_rtp(&mut buffer, 12, 0x5501_a0b2, 0xf17b).unwrap();
            assert_eq!(buffer, hex(packet));
            let protected = srtp.protect_rtcp(&hex(REPORT)).unwrap();
            assert_eq!(protected, hex(report));
            assert_eq!(srtp.open_rtcp(&protected), Some(hex(REPORT)));
        }
    }

    /// The master key and salt of RFC 3711, appendix B.3, which libsrtp's own tests use too.
    fn counter_keys() -> ExportedKeys {
        let (key, salt) = ("e1f97a0d3e018be0d64fa32c06de4139", "0ec675ad498afeebb6960b3aabe6");
        let material = [hex(key), vec![7; 16], hex(salt), vec![7; 14]].concat();
        ExportedKeys { profile: SrtpProfile::AES128_CM_SHA1_80, material, client: true }
    }

    #[test]
    fn session_keys_are_derived_as_in_rfc_3711() {
        let keys = counter_keys();
        let (master, salt) = (&keys.material[..16], &keys.material[32..46]);
        assert_eq!(derive(master, salt, 0, 16), hex("c61e7a93744f39ee10734afe3ff7a087"));
        assert_eq!(derive(master, salt, 2, 14), hex("30cbbc08863d8c85d49db34a9ae1"));
        let authentication = derive(master, salt, 1, 94);
        assert_eq!(authentication[..20], hex("cebe321f6ff7716b6fd4ab49af256a156d38baa4"));
    }

    #[test]
    fn the_packets_of_libsrtp_come_out_in_counter_mode() {
        let (mut own, theirs) = both_directions(&counter_keys()).unwrap();
        let mut buffer = hex("800f1234 decafbad cafebabe abababab abababab abababab abababab");
        own.protect_rtp(&mut buffer, 12, 0xcafe_babe, 0x1234).unwrap();
        assert_eq!(
            buffer,
            hex("800f1234 decafbad cafebabe 4e55dc4c e79978d8 8ca4d215 949d2402 b78d6acc 99ea179b 8dbb")
        );
        own.next_index = 1;
        let report = hex("81c8000b cafebabe abababab abababab abababab abababab");
        let protected = own.protect_rtcp(&report).unwrap();
        assert_eq!(
            protected,
            hex("81c8000b cafebabe 7128035b e487b9bd bef89041 f977a5a8 80000001 993e08cd 54d6c123 0798")
        );
        assert_eq!(own.open_rtcp(&protected), Some(report));
        assert_eq!(theirs.open_rtcp(&protected), None, "the other direction has other keys");
    }

    #[test]
    fn what_was_changed_or_cut_is_not_opened() {
        for mut srtp in [gcm(16, &AES_128_GCM), both_directions(&counter_keys()).unwrap().0] {
            let protected = srtp.protect_rtcp(&hex(REPORT)).unwrap();
            assert!(srtp.open_rtcp(&protected).is_some());
            for index in 0..protected.len() {
                let mut changed = protected.clone();
                changed[index] ^= 1;
                assert_eq!(srtp.open_rtcp(&changed), None, "byte {index}");
                assert_eq!(srtp.open_rtcp(&protected[..index]), None, "cut at {index}");
            }
        }
    }

    #[test]
    fn reports_end_with_their_indices() {
        let mut srtp = gcm(16, &AES_128_GCM);
        srtp.next_index = ENCRYPTED - 1;
        assert!(srtp.protect_rtcp(&hex(REPORT)).is_ok());
        assert!(srtp.protect_rtcp(&hex(REPORT)).is_err(), "no index comes twice");
    }
}
