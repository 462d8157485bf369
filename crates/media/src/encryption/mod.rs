//! End-to-end encryption of media frames and data: keys, their ratchet, and the layout of an encrypted frame.
//!
//! A frame is `clear header | AES-128-GCM ciphertext with its tag | nonce | length of the nonce | key index`. The clear
//! header is what packetizers and servers read; it is authenticated, not hidden.

mod cryptor;
mod keys;
mod layout;

pub use cryptor::{Decryptor, Encryptor, Opened, State};
pub use keys::{Derivation, Key, KeyOptions, Keyring};
pub use layout::FrameKind;

/// Why something could not be set up or encrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncryptionError {
    /// A number is out of range; the text says which and what would do.
    #[error("{0}")]
    Invalid(String),
    /// There is no key under this index.
    #[error("there is no key with index {0}: set one first")]
    MissingKey(u8),
}

#[cfg(test)]
mod tests;
