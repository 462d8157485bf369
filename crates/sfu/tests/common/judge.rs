//! A receiver of VP8 that complains about everything a decoder or jitter buffer would stumble over.

use std::collections::{BTreeMap, BTreeSet};

use greenroom_sfu::Origin;

use super::Sent;
use super::source::Label;

/// One frame as received.
#[derive(Debug, Clone)]
pub struct Frame {
    pub label: Label,
    pub timestamp: u32,
    pub picture_id: u16,
    pub tl0: u8,
    pub key_index: u8,
    pub temporal: u8,
    pub complete: bool,
    pub replayed: bool,
}

/// What was received, by frame, in order of sequence numbers.
pub struct Verdict {
    pub frames: Vec<Frame>,
    /// Sequence numbers that never came.
    pub missing: u64,
    pub fillers: usize,
}

/// Reads what one subscriber got of one track and checks all that holds whatever is lost upstream: unique sequence
/// numbers, whole frames in one piece with one timestamp and one picture id, timestamps that rise with the frames.
pub fn judge(received: &[&Sent]) -> Verdict {
    let mut packets = BTreeMap::new();
    for sent in received {
        assert!(packets.insert(sent.seq, *sent).is_none(), "sequence number {} was used twice", sent.seq);
    }
    let (first, last) = match (packets.keys().next(), packets.keys().last()) {
        (Some(&first), Some(&last)) => (first, last),
        _ => {
            return Verdict { frames: Vec::new(), missing: 0, fillers: 0 };
        }
    };
    let fillers = packets.values().filter(|sent| sent.payload.is_empty()).count();
    let mut frames: Vec<(Frame, BTreeSet<u8>)> = Vec::new();
    for sent in packets.values().filter(|sent| !sent.payload.is_empty()) {
        let descriptor = sent.vp8();
        let label = Label::read(&sent.payload[descriptor.len + 1..]);
        let ids = descriptor.ids();
        let temporal = descriptor.temporal.expect("a temporal layer").id;
        assert_eq!(sent.marker, label.index + 1 == label.count, "marker of {label:?}");
        let same = |frame: &Frame| {
            (frame.label.layer, frame.label.epoch, frame.label.frame) == (label.layer, label.epoch, label.frame)
        };
        match frames
            .last_mut()
            .filter(|(frame, indices)| same(frame) && indices.last().is_none_or(|&index| index < label.index))
        {
            Some((frame, indices)) => {
                assert_eq!(frame.timestamp, sent.timestamp, "two timestamps in {label:?}");
                assert_eq!(frame.picture_id, ids.picture_id, "two picture ids in {label:?}");
                indices.insert(label.index);
            }
            None => {
                if let Some((before, _)) = frames.last() {
                    let step = sent.timestamp.wrapping_sub(before.timestamp).cast_signed();
                    assert!(step > 0, "timestamp steps by {step} from {:?} to {label:?}", before.label);
                }
                let frame = Frame {
                    label,
                    timestamp: sent.timestamp,
                    picture_id: ids.picture_id,
                    tl0: ids.tl0_picture_index,
                    key_index: ids.key_index,
                    temporal,
                    complete: false,
                    replayed: sent.origin == Origin::Replayed,
                };
                frames.push((frame, BTreeSet::from([label.index])));
            }
        }
    }
    let frames = frames
        .into_iter()
        .map(|(frame, indices)| Frame { complete: indices.len() == usize::from(frame.label.count), ..frame })
        .collect();
    Verdict { frames, missing: last - first + 1 - packets.len() as u64, fillers }
}

impl Verdict {
    /// Checks what a decoder needs when nothing was lost upstream: no gap, whole frames, a key frame first and at each
    /// change of source, every reference decoded, ids that count on.
    pub fn expect_flawless(&self) {
        assert_eq!(self.missing, 0, "sequence numbers are missing");
        let mut decoded: BTreeSet<u32> = BTreeSet::new();
        let mut before: Option<&Frame> = None;
        for frame in &self.frames {
            let label = frame.label;
            if let Some(before) = before {
                let switched = (before.label.layer, before.label.epoch) != (label.layer, label.epoch);
                // A frame may be left half sent only where another source takes over.
                assert!(before.complete || label.is_key(), "{:?} is cut short before {label:?}", before.label);
                assert!(!switched || label.is_key(), "{label:?} follows {:?} without a key frame", before.label);
                assert_eq!(frame.picture_id, (before.picture_id + 1) & 0x7fff, "picture id of {label:?}");
                let tl0 = before.tl0.wrapping_add(u8::from(frame.temporal == 0));
                assert_eq!(frame.tl0, tl0, "TL0PICIDX of {label:?}");
                let key_index = (before.key_index + u8::from(label.is_key())) & 0x1f;
                assert_eq!(frame.key_index, key_index, "KEYIDX of {label:?}");
            }
            if label.is_key() {
                decoded.clear();
            } else {
                assert!(decoded.contains(&label.reference), "{label:?} lacks its reference");
            }
            decoded.insert(label.frame);
            before = Some(frame);
        }
    }

    /// Checks that the timestamps of frames that were not replayed follow their capture times to within `tolerance`
    /// ticks over the whole stream.
    pub fn expect_timeline(&self, tolerance: i64) {
        let frames: Vec<&Frame> = self.frames.iter().filter(|frame| !frame.replayed).collect();
        let Some(first) = frames.first() else { return };
        for frame in &frames {
            let captured = (frame.label.captured as i64 - first.label.captured as i64) * 9 / 100;
            let stamped = i64::from(frame.timestamp.wrapping_sub(first.timestamp));
            let error = stamped - captured;
            assert!(error.abs() <= tolerance, "timestamp of {:?} is off by {error} ticks", frame.label);
        }
    }

    /// The layers in the order they were shown, without repetitions.
    pub fn layers(&self) -> Vec<u8> {
        let mut layers: Vec<u8> = self.frames.iter().map(|frame| frame.label.layer).collect();
        layers.dedup();
        layers
    }
}
