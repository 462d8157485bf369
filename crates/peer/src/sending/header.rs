//! The header of an RTP packet (RFC 3550) with its extensions (RFC 8285).

use std::time::{Duration, SystemTime};

use str0m::rtp::{Extension, ExtensionMap};

use crate::extension::{COLOR_SPACE_ALIAS, DEPENDENCY_DESCRIPTOR, LAYERS_ALLOCATION};
use crate::{CaptureTime, Extensions, Mid, PlayoutDelay, Rid};

const VERSION: u8 = 2 << 6;
const EXTENDED: u8 = 1 << 4;
const MARKER: u8 = 1 << 7;
const ONE_BYTE_FORM: [u8; 2] = [0xbe, 0xde];
const TWO_BYTE_FORM: [u8; 2] = [0x10, 0x00];
/// The highest number and the longest value that the one-byte form takes.
const HIGHEST_SHORT_ID: u8 = 14;
const LONGEST_SHORT: usize = 16;
const LONGEST_LONG: usize = 255;
/// The unit of absolute send times: 2^-18 s.
const SEND_TIME_BITS: u32 = 18;

/// The numbers under which a section's header extensions were negotiated; 0 for those that were not.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExtensionIds {
    audio_level: u8,
    send_time: u8,
    capture_time: u8,
    mid: u8,
    rid: u8,
    repaired_rid: u8,
    orientation: u8,
    playout_delay: u8,
    content_type: u8,
    color_space: u8,
    dependency_descriptor: u8,
    layers_allocation: u8,
}

impl ExtensionIds {
    pub(crate) fn new(map: &ExtensionMap) -> Self {
        let mut ids = ExtensionIds::default();
        for (id, extension) in map.iter() {
            let slot = match extension {
                Extension::AudioLevel => &mut ids.audio_level,
                Extension::AbsoluteSendTime => &mut ids.send_time,
                Extension::AbsoluteCaptureTime => &mut ids.capture_time,
                Extension::RtpMid => &mut ids.mid,
                Extension::RtpStreamId => &mut ids.rid,
                Extension::RepairedRtpStreamId => &mut ids.repaired_rid,
                Extension::VideoOrientation => &mut ids.orientation,
                Extension::PlayoutDelay => &mut ids.playout_delay,
                Extension::VideoContentType => &mut ids.content_type,
                other => match other.as_uri() {
                    COLOR_SPACE_ALIAS => &mut ids.color_space,
                    DEPENDENCY_DESCRIPTOR => &mut ids.dependency_descriptor,
                    LAYERS_ALLOCATION => &mut ids.layers_allocation,
                    _ => continue,
                },
            };
            *slot = id;
        }
        ids
    }
}

/// The fields of a header that every packet has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) payload_type: u8,
    pub(crate) marker: bool,
    pub(crate) seq: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
}

/// What tells the other side which stream this is, as long as it needs to be told.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    pub(crate) mid: Option<Mid>,
    pub(crate) rid: Option<Rid>,
    /// The layer of which this repairs a packet.
    pub(crate) repaired_rid: Option<Rid>,
}

impl Header {
    /// Writes the header to an empty buffer. `since` is the time since some instant that never changes.
    pub(crate) fn write(
        &self,
        buffer: &mut Vec<u8>,
        ids: &ExtensionIds,
        values: &Extensions,
        place: &Place,
        since: Duration,
    ) {
        let marker = if self.marker { MARKER } else { 0 };
        buffer.extend_from_slice(&[VERSION | EXTENDED, self.payload_type | marker]);
        buffer.extend_from_slice(&self.seq.to_be_bytes());
        buffer.extend_from_slice(&self.timestamp.to_be_bytes());
        buffer.extend_from_slice(&self.ssrc.to_be_bytes());
        let long = needs_long_form(ids, values);
        buffer.extend_from_slice(if long { &TWO_BYTE_FORM } else { &ONE_BYTE_FORM });
        let length_at = buffer.len();
        buffer.extend_from_slice(&[0, 0]);
        let start = buffer.len();
        write_extensions(&mut Writer { buffer, long }, ids, values, place, since);
        buffer.resize(start + (buffer.len() - start).next_multiple_of(4), 0);
        let words = ((buffer.len() - start) / 4) as u16;
        if let Some(length) = buffer.get_mut(length_at..start) {
            length.copy_from_slice(&words.to_be_bytes());
        }
    }
}

fn needs_long_form(ids: &ExtensionIds, values: &Extensions) -> bool {
    let all = [ids.audio_level, ids.send_time, ids.capture_time, ids.mid, ids.rid, ids.repaired_rid, ids.orientation];
    let rest = [ids.playout_delay, ids.content_type, ids.color_space, ids.dependency_descriptor, ids.layers_allocation];
    let raw = [
        (ids.color_space, &values.color_space),
        (ids.dependency_descriptor, &values.dependency_descriptor),
        (ids.layers_allocation, &values.layers_allocation),
    ];
    all.iter().chain(&rest).any(|id| *id > HIGHEST_SHORT_ID)
        || raw.iter().any(|(id, value)| *id != 0 && value.as_ref().is_some_and(|value| value.len() > LONGEST_SHORT))
}

fn write_extensions(writer: &mut Writer<'_>, ids: &ExtensionIds, values: &Extensions, place: &Place, since: Duration) {
    let ticks = ((since.as_nanos() << SEND_TIME_BITS) / 1_000_000_000) as u32;
    writer.put(ids.send_time, &ticks.to_be_bytes()[1..]);
    if let Some(mid) = place.mid {
        writer.put(ids.mid, mid.as_str().as_bytes());
    }
    if let Some(rid) = place.rid {
        writer.put(ids.rid, rid.as_str().as_bytes());
    }
    if let Some(rid) = place.repaired_rid {
        writer.put(ids.repaired_rid, rid.as_str().as_bytes());
    }
    if let Some(level) = values.audio_level {
        let speech = if values.voice_activity.unwrap_or(false) { 0x80 } else { 0 };
        writer.put(ids.audio_level, &[speech | level.min(127)]);
    }
    if let Some(CaptureTime { time, offset }) = values.capture_time {
        let mut value = ntp(time).to_be_bytes().to_vec();
        offset.into_iter().for_each(|offset| value.extend_from_slice(&offset.to_be_bytes()));
        writer.put(ids.capture_time, &value);
    }
    if let Some(orientation) = values.orientation {
        writer.put(ids.orientation, &[orientation & 3]);
    }
    if let Some(PlayoutDelay { min, max }) = values.playout_delay {
        let both = u32::from(min & 0xfff) << 12 | u32::from(max & 0xfff);
        writer.put(ids.playout_delay, &both.to_be_bytes()[1..]);
    }
    if let Some(content_type) = values.content_type {
        writer.put(ids.content_type, &[content_type]);
    }
    for (id, value) in [
        (ids.color_space, &values.color_space),
        (ids.dependency_descriptor, &values.dependency_descriptor),
        (ids.layers_allocation, &values.layers_allocation),
    ] {
        value.iter().for_each(|value| writer.put(id, value));
    }
}

struct Writer<'b> {
    buffer: &'b mut Vec<u8>,
    long: bool,
}

impl Writer<'_> {
    fn put(&mut self, id: u8, value: &[u8]) {
        let longest = if self.long { LONGEST_LONG } else { LONGEST_SHORT };
        if id == 0 || value.is_empty() || value.len() > longest {
            return;
        }
        match self.long {
            true => self.buffer.extend_from_slice(&[id, value.len() as u8]),
            false => self.buffer.push(id << 4 | (value.len() - 1) as u8),
        }
        self.buffer.extend_from_slice(value);
    }
}

/// Seconds since 1900 in 2^-32 s.
fn ntp(time: SystemTime) -> u64 {
    const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    (since.as_secs().wrapping_add(UNIX_EPOCH_IN_NTP) << 32) | fraction
}
