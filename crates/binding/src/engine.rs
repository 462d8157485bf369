//! `Engine`: commands in, events out.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use greenroom_engine::{
    self as core, ClientPeerOptions, EngineError, Handle, Layer, LayerOptions, OfferOptions, ReceiverEncryption,
    SenderOptions, SenderSource, SubscriptionSettings, TrackOptions, TrackPreference, World,
};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::encryption::Keyring;
use crate::events::to_python;
use crate::media::{AudioSource, VideoSource};

pyo3::import_exception!(greenroom.errors, EngineClosedError);

/// Events handed over by one `drain`.
const DRAIN_LIMIT: usize = 4096;
/// Sections that one offer adds of each kind at most: the number may come from the other side.
const MOST_SECTIONS: usize = 1000;

/// One media thread with its sockets, rooms and peers.
#[pyclass(frozen, module = "greenroom._native")]
pub(crate) struct Engine(pub(crate) core::Engine);

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (name = "media"))]
    fn new(py: Python<'_>, name: &str) -> PyResult<Self> {
        py.detach(|| core::Engine::new(name)).map(Self).map_err(to_python_error)
    }

    fn fileno(&self) -> i32 {
        self.0.events().raw_fd()
    }

    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        self.0.events().drain(DRAIN_LIMIT).into_iter().map(|event| to_python(py, event)).collect()
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counters = self.0.counters();
        let named: [(&str, &AtomicU64); 13] = [
            ("rooms", &counters.rooms),
            ("peers", &counters.peers),
            ("tracks", &counters.tracks),
            ("subscriptions", &counters.subscriptions),
            ("sources", &counters.sources),
            ("sinks", &counters.sinks),
            ("packets_in", &counters.packets_in),
            ("packets_out", &counters.packets_out),
            ("bytes_in", &counters.bytes_in),
            ("bytes_out", &counters.bytes_out),
            ("datagrams_dropped", &counters.datagrams_dropped),
            ("wakeups", &counters.wakeups),
            ("events", &counters.events),
        ];
        let dict = PyDict::new(py);
        for (name, counter) in named {
            dict.set_item(name, counter.load(Ordering::Relaxed))?;
        }
        Ok(dict)
    }

    /// Provoke a fault in a room, a peer or (0) the engine, for tests of what it takes down. Not in release builds.
    #[cfg(debug_assertions)]
    fn _fault(&self, scope: Handle) -> PyResult<()> {
        self.run(scope, |_| panic!("provoked"))
    }

    // -- server side

    fn listen(
        &self,
        py: Python<'_>,
        host: &str,
        udp_port: u16,
        tcp_port: u16,
        advertise: Vec<String>,
    ) -> PyResult<(u16, u16)> {
        let ip = parse_ip(host)?;
        let advertise = advertise.iter().map(|address| parse_ip(address)).collect::<PyResult<Vec<_>>>()?;
        py.detach(|| self.0.listen(ip, udp_port, tcp_port, advertise)).map_err(to_python_error)
    }

    fn open_room(&self, room: Handle) -> PyResult<()> {
        self.run(room, move |world| world.open_room(room))
    }

    fn close_room(&self, room: Handle) -> PyResult<()> {
        self.run(room, move |world| world.close_room(room))
    }

    #[pyo3(signature = (room, peer, *, offers))]
    fn open_server_peer(&self, room: Handle, peer: Handle, offers: bool) -> PyResult<()> {
        self.run(room, move |world| world.open_server_peer(room, peer, offers))
    }

    #[pyo3(signature = (room, track, peer, mid, *, kind, layers, detect_speaker, priority = 1, encrypted = false))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python method")]
    fn add_track(
        &self,
        room: Handle,
        track: Handle,
        peer: Handle,
        mid: String,
        kind: &str,
        layers: Vec<(String, u8, u32, u32)>,
        detect_speaker: bool,
        priority: u8,
        encrypted: bool,
    ) -> PyResult<()> {
        let audio = is_audio(kind)?;
        let layer = |(rid, quality, width, height)| Layer { rid, quality, width, height };
        let layers = layers.into_iter().map(layer).collect();
        let options = TrackOptions { audio, layers, detect_speaker, priority, encrypted };
        self.run(room, move |world| world.add_track(room, track, peer, &mid, options))
    }

    #[pyo3(signature = (peer, track_id, *, codecs, stereo, dtx))]
    fn prefer(&self, peer: Handle, track_id: String, codecs: Vec<String>, stereo: bool, dtx: bool) -> PyResult<()> {
        let preference = TrackPreference { codecs, stereo, dtx };
        self.run(peer, move |world| world.prefer(peer, &track_id, preference))
    }

    fn forget_preference(&self, peer: Handle, track_id: String) -> PyResult<()> {
        self.run(peer, move |world| world.forget_preference(peer, &track_id))
    }

    fn remove_track(&self, track: Handle) -> PyResult<()> {
        self.run(track, move |world| world.remove_track(track))
    }

    fn mute_track(&self, track: Handle, muted: bool) -> PyResult<()> {
        self.run(track, move |world| world.mute_track(track, muted))
    }

    #[pyo3(signature = (track, peer, *, stream_id, track_id, cname))]
    fn subscribe(
        &self,
        track: Handle,
        peer: Handle,
        stream_id: String,
        track_id: String,
        cname: String,
    ) -> PyResult<()> {
        self.run(peer, move |world| world.subscribe(track, peer, &stream_id, &track_id, &cname))
    }

    fn unsubscribe(&self, track: Handle, peer: Handle) -> PyResult<()> {
        self.run(peer, move |world| world.unsubscribe(track, peer))
    }

    #[pyo3(signature = (track, peer, *, paused, quality, fps))]
    fn set_subscription(&self, track: Handle, peer: Handle, paused: bool, quality: u8, fps: u32) -> PyResult<()> {
        let settings = SubscriptionSettings { paused, quality, fps };
        self.run(peer, move |world| world.set_subscription(track, peer, settings))
    }

    // -- both ends

    fn close_peer(&self, peer: Handle) -> PyResult<()> {
        self.run(peer, move |world| world.close_peer(peer))
    }

    fn accept_offer(&self, peer: Handle, offer_id: u32, sdp: String) -> PyResult<()> {
        self.run(peer, move |world| world.accept_offer(peer, offer_id, &sdp))
    }

    #[pyo3(signature = (peer, *, audio = 0, video = 0, ice_restart = false))]
    fn create_offer(&self, peer: Handle, audio: usize, video: usize, ice_restart: bool) -> PyResult<()> {
        if audio.max(video) > MOST_SECTIONS {
            let message =
                format!("{audio} audio and {video} video sections: at most {MOST_SECTIONS} of each at a time");
            return Err(PyValueError::new_err(message));
        }
        let options = OfferOptions { audio, video, ice_restart, force: true };
        self.run(peer, move |world| world.create_offer(peer, options))
    }

    fn accept_answer(&self, peer: Handle, offer_id: u32, sdp: String) -> PyResult<()> {
        self.run(peer, move |world| world.accept_answer(peer, offer_id, &sdp))
    }

    fn add_candidate(&self, peer: Handle, candidate: String) -> PyResult<()> {
        self.run(peer, move |world| world.add_candidate(peer, &candidate))
    }

    #[pyo3(signature = (peers, label, payload, *, request = 0))]
    fn send_data(&self, peers: Vec<Handle>, label: String, payload: &[u8], request: u64) -> PyResult<()> {
        let payload = Bytes::copy_from_slice(payload);
        self.run(0, move |world| {
            for peer in peers {
                world.send_data(peer, &label, payload.clone(), request);
            }
        })
    }

    // -- client side

    #[pyo3(signature = (peer, *, local_addresses, data_channels))]
    fn open_client_peer(&self, peer: Handle, local_addresses: Vec<String>, data_channels: bool) -> PyResult<()> {
        let bind = |address: &String| Ok(UdpSocket::bind(SocketAddr::new(parse_ip(address)?, 0))?);
        let sockets = local_addresses.iter().map(bind).collect::<PyResult<Vec<_>>>()?;
        self.run(peer, move |world| world.open_client_peer(peer, ClientPeerOptions { sockets, data_channels }))
    }

    #[pyo3(signature = (peer, sender, source, *, cid, stream_id, codec, bitrate, fps, layers, dtx, red))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python method")]
    fn add_sender(
        &self,
        peer: Handle,
        sender: Handle,
        source: SourceArgument<'_>,
        cid: String,
        stream_id: String,
        codec: &str,
        bitrate: u32,
        fps: u32,
        layers: Vec<(String, u32, u32, u32, u32)>,
        dtx: bool,
        red: bool,
    ) -> PyResult<()> {
        let layer = |(rid, width, height, bitrate, fps)| LayerOptions { rid, width, height, bitrate, fps };
        let layers = layers.into_iter().map(layer).collect();
        let codec = core::codec_from_name(codec).map_err(to_python_error)?;
        let options = SenderOptions { cid, stream_id, codec, bitrate, fps, layers, dtx, red };
        let source = source.shared();
        self.run(peer, move |world| world.add_sender(peer, sender, &source, options))
    }

    fn remove_sender(&self, sender: Handle) -> PyResult<()> {
        self.run(sender, move |world| world.remove_sender(sender))
    }

    fn mute_sender(&self, sender: Handle, muted: bool) -> PyResult<()> {
        self.run(sender, move |world| world.mute_sender(sender, muted))
    }

    fn set_sender_layers(&self, sender: Handle, enabled: Vec<bool>) -> PyResult<()> {
        self.run(sender, move |world| world.set_sender_layers(sender, &enabled))
    }

    fn encrypt_sender(
        &self,
        sender: Handle,
        keys: Option<PyRef<'_, Keyring>>,
        identity: String,
        index: u8,
    ) -> PyResult<()> {
        let keys = keys.map(|keys| keys.0.clone());
        self.run(sender, move |world| world.encrypt_sender(sender, keys, identity, index))
    }

    #[pyo3(signature = (peer, mid, keys, identity, *, trailer, enabled))]
    fn decrypt_receiver(
        &self,
        peer: Handle,
        mid: String,
        keys: Option<PyRef<'_, Keyring>>,
        identity: String,
        trailer: Vec<u8>,
        enabled: bool,
    ) -> PyResult<()> {
        let keys = keys.map(|keys| keys.0.clone());
        let encryption = ReceiverEncryption { keys, identity, trailer, enabled };
        self.run(peer, move |world| world.decrypt_receiver(peer, &mid, Some(encryption)))
    }

    fn leave_receiver_clear(&self, peer: Handle, mid: String) -> PyResult<()> {
        self.run(peer, move |world| world.decrypt_receiver(peer, &mid, None))
    }

    fn sender_statistics<'py>(&self, py: Python<'py>, sender: Handle) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let statistics = self.ask(py, move |world| world.sender_statistics(sender))?;
        let Some(statistics) = statistics else {
            return Ok(dict);
        };
        dict.set_item("packets", statistics.packets)?;
        dict.set_item("bytes", statistics.bytes)?;
        dict.set_item("frames", statistics.frames)?;
        dict.set_item("repeats", statistics.repeats)?;
        dict.set_item("keyframes", statistics.keyframes)?;
        dict.set_item("width", statistics.width)?;
        dict.set_item("height", statistics.height)?;
        Ok(dict)
    }

    fn receiver_statistics<'py>(&self, py: Python<'py>, peer: Handle, mid: String) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let statistics = self.ask(py, move |world| world.receiver_statistics(peer, &mid))?;
        let Some(statistics) = statistics else {
            return Ok(dict);
        };
        dict.set_item("packets", statistics.packets)?;
        dict.set_item("bytes", statistics.bytes)?;
        dict.set_item("lost", statistics.lost)?;
        dict.set_item("codec", statistics.codec)?;
        dict.set_item("width", statistics.width)?;
        dict.set_item("height", statistics.height)?;
        dict.set_item("frames", statistics.frames)?;
        dict.set_item("keyframe_requests", statistics.keyframe_requests)?;
        dict.set_item("concealed_samples", statistics.concealed_samples)?;
        Ok(dict)
    }

    fn peer_statistics<'py>(&self, py: Python<'py>, peer: Handle) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let statistics = self.ask(py, move |world| world.peer_statistics(peer))?;
        let Some(statistics) = statistics else {
            return Ok(dict);
        };
        dict.set_item("rtt", statistics.rtt)?;
        dict.set_item("sent_loss", statistics.sent_loss)?;
        dict.set_item("received_loss", statistics.received_loss)?;
        dict.set_item("jitter", statistics.jitter)?;
        Ok(dict)
    }
}

impl Engine {
    pub(crate) fn run(&self, scope: Handle, command: impl FnOnce(&mut World) + Send + 'static) -> PyResult<()> {
        self.0.run(scope, command).map_err(to_python_error)
    }

    fn ask<T: Send + 'static>(
        &self,
        py: Python<'_>,
        question: impl FnOnce(&mut World) -> T + Send + 'static,
    ) -> PyResult<T> {
        py.detach(|| self.0.ask(question)).map_err(to_python_error)
    }
}

/// An audio or video source object.
#[derive(FromPyObject)]
enum SourceArgument<'py> {
    Audio(PyRef<'py, AudioSource>),
    Video(PyRef<'py, VideoSource>),
}

impl SourceArgument<'_> {
    fn shared(&self) -> SenderSource {
        match self {
            Self::Audio(source) => SenderSource::Audio(source.0.handle, source.0.shared.clone()),
            Self::Video(source) => SenderSource::Video(source.0.handle, source.0.shared.clone()),
        }
    }
}

pub(crate) fn to_python_error(error: EngineError) -> PyErr {
    match error {
        EngineError::Closed => EngineClosedError::new_err(error.to_string()),
        EngineError::Io(error) => match error.raw_os_error() {
            // With its number, so that Python can tell "in use" from "not ours".
            Some(number) => PyOSError::new_err((number, error.to_string())),
            None => error.into(),
        },
        EngineError::Invalid(message) => PyValueError::new_err(message),
    }
}

fn is_audio(kind: &str) -> PyResult<bool> {
    match kind {
        "audio" => Ok(true),
        "video" => Ok(false),
        other => Err(PyValueError::new_err(format!("kind is {other:?}: it must be \"audio\" or \"video\""))),
    }
}

fn parse_ip(address: &str) -> PyResult<IpAddr> {
    address.parse().map_err(|_| PyValueError::new_err(format!("{address:?} is not an IP address")))
}
