//! Events of the engine as the tuples that `_native.pyi` describes.

use greenroom_engine::{Event, Section as CoreSection};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

/// One m-line of a description.
#[pyclass(frozen, get_all, module = "greenroom._native")]
pub(crate) struct Section {
    mid: String,
    kind: &'static str,
    receiving: bool,
    stream_id: String,
    track_id: String,
    rids: Vec<String>,
    sending: u64,
    codecs: Vec<String>,
}

impl From<CoreSection> for Section {
    fn from(section: CoreSection) -> Self {
        let CoreSection { mid, kind, receiving, stream_id, track_id, rids, sending, codecs } = section;
        Self { mid, kind, receiving, stream_id, track_id, rids, sending, codecs }
    }
}

fn sections(sections: Vec<CoreSection>) -> Vec<Section> {
    sections.into_iter().map(Section::from).collect()
}

pub(crate) fn to_python(py: Python<'_>, event: Event) -> PyResult<Bound<'_, PyTuple>> {
    match event {
        Event::PeerState { peer, state, detail } => ("peer_state", peer, state, detail).into_pyobject(py),
        Event::Offer { peer, offer_id, sdp, sections: list } => {
            ("offer", peer, offer_id, sdp, sections(list)).into_pyobject(py)
        }
        Event::Answer { peer, offer_id, sdp, sections: list } => {
            ("answer", peer, offer_id, sdp, sections(list)).into_pyobject(py)
        }
        Event::Negotiated { peer, offer_id, sections: list } => {
            ("negotiated", peer, offer_id, sections(list)).into_pyobject(py)
        }
        Event::NegotiationFailed { peer, offer_id, message } => {
            ("negotiation_failed", peer, offer_id, message).into_pyobject(py)
        }
        Event::SectionsNeeded { peer, audio, video } => ("sections_needed", peer, audio, video).into_pyobject(py),
        Event::DataOpen { peer, label } => ("data_open", peer, label).into_pyobject(py),
        Event::Data { peer, label, payload } => ("data", peer, label, PyBytes::new(py, &payload)).into_pyobject(py),
        Event::DataSent { peer, request, error } => ("data_sent", peer, request, error).into_pyobject(py),
        Event::SubscriptionBound { peer, track, mid } => ("subscription_bound", peer, track, mid).into_pyobject(py),
        Event::StreamState { peer, track, paused } => ("stream_state", peer, track, paused).into_pyobject(py),
        Event::Speakers { room, speakers } => ("speakers", room, speakers).into_pyobject(py),
        Event::Quality { room, peers } => {
            let row = |quality: greenroom_engine::PeerQuality| {
                (quality.peer, quality.rtt, quality.sent_loss, quality.received_loss, quality.jitter)
            };
            ("quality", room, peers.into_iter().map(row).collect::<Vec<_>>()).into_pyobject(py)
        }
        Event::TrackMedia { track, mime } => ("track_media", track, mime).into_pyobject(py),
        Event::Encryption { peer, sender, mid, state } => ("encryption", peer, sender, mid, state).into_pyobject(py),
        Event::Captured { source, request } => ("captured", source, request).into_pyobject(py),
        Event::Drained { source, request } => ("drained", source, request).into_pyobject(py),
        Event::Readable { sink } => ("readable", sink).into_pyobject(py),
        Event::Ended { sink } => ("ended", sink).into_pyobject(py),
        Event::Log { line } => ("log", 0_u64, line).into_pyobject(py),
        Event::EngineFailed { room, message } => ("engine_failed", room, message).into_pyobject(py),
    }
}
