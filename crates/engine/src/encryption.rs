//! Encryption of senders and receivers: what is told of it, and the search for keys on the codec threads.

use std::sync::Arc;

use greenroom_codec::VideoCodec;
use greenroom_media::encryption::{Decryptor, Encryptor, FrameKind, Keyring};
use greenroom_peer::Mid;

use crate::events::{Event, Handle};
use crate::pool::Lane;
use crate::receiver::Key;
use crate::server::random;
use crate::world::World;

/// How to read what is received on a section.
#[derive(Debug)]
pub struct ReceiverEncryption {
    /// None = there are no keys: every frame is refused.
    pub keys: Option<Arc<Keyring>>,
    /// Whose track it is.
    pub identity: String,
    /// The end of frames that the server made; empty = it makes none.
    pub trailer: Vec<u8>,
    /// False = only clear frames are accepted.
    pub enabled: bool,
}

/// Where an encryptor begins to count.
pub fn random_nonce() -> [u8; 12] {
    let (high, low) = (random().to_be_bytes(), random().to_be_bytes());
    std::array::from_fn(|index| high.iter().chain(&low).nth(index).copied().unwrap_or(0))
}

pub(crate) fn frame_kind(codec: VideoCodec) -> FrameKind {
    match codec {
        VideoCodec::Vp8 => FrameKind::Vp8,
        VideoCodec::H264 => FrameKind::H264,
    }
}

impl World {
    /// Encrypt what a sender sends with a key of `identity`; without `keys` it is sent clear.
    pub fn encrypt_sender(&mut self, handle: Handle, keys: Option<Arc<Keyring>>, identity: String, index: u8) {
        let Some(sender) = self.media.senders.get_mut(&handle) else {
            return;
        };
        sender.encryptor = keys.map(|keys| Encryptor::new(keys, identity, index, random_nonce()));
        // Receivers that dropped the frames before cannot go on with any other.
        self.sender_keyframe_requested(handle, None);
    }

    /// Decrypt what arrives on a section; with `None` it is not encrypted.
    pub fn decrypt_receiver(&mut self, peer: Handle, mid: &str, encryption: Option<ReceiverEncryption>) {
        if !self.peers.contains_key(&peer) {
            return;
        }
        let decryptor = encryption.map(|with| Decryptor::new(with.keys, with.identity, with.trailer, with.enabled));
        self.receivers.receivers.entry((peer, Mid::from(mid))).or_default().decryptor = decryptor;
    }

    pub(crate) fn report_sender(&mut self, handle: Handle) {
        let Some(sender) = self.media.senders.get_mut(&handle) else {
            return;
        };
        if let Some(state) = sender.encryptor.as_mut().and_then(Encryptor::take_change) {
            let (peer, mid, state) = (sender.peer, String::new(), state as u8);
            self.emit(Event::Encryption { peer, sender: handle, mid, state });
        }
    }

    pub(crate) fn report_receiver(&mut self, key: Key) {
        let Some(decryptor) = self.receivers.receivers.get_mut(&key).and_then(|receiver| receiver.decryptor.as_mut())
        else {
            return;
        };
        let (change, search) = (decryptor.take_change(), decryptor.take_search());
        if let Some(state) = change {
            let (peer, mid, state) = (key.0, key.1.to_string(), state as u8);
            self.emit(Event::Encryption { peer, sender: 0, mid, state });
        }
        if let Some((keys, from)) = search {
            let lane = self
                .receivers
                .key_search
                .get_or_insert_with(|| Lane::new(|message| tracing::error!(message, "the search for a key failed")));
            // One job per step: video must not wait for all of them.
            for _ in 0..keys.options().ratchet_window {
                let (keys, from) = (Arc::clone(&keys), Arc::clone(&from));
                lane.submit(move || keys.look_ahead(&from));
            }
        }
    }
}
