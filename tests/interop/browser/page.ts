// The page under test: livekit-client with its media made and judged in the page, driven from Python by `page.call(...)`.
import {
  LocalAudioTrack,
  LocalVideoTrack,
  type Participant,
  type RemoteTrack,
  type RemoteTrackPublication,
  Room,
  RoomEvent,
  Track,
  type TrackPublishOptions,
  VideoPreset,
  VideoQuality,
} from "livekit-client";

type Colour = [number, number, number];
type Recorded = { name: string; detail: Record<string, unknown> };

const recorded: Recorded[] = [];
let room = new Room();
let audio: AudioContext | undefined;
const listening = new Map<string, AnalyserNode>();
const watching = new Map<string, HTMLVideoElement>();

function record(name: string, detail: Record<string, unknown> = {}) {
  recorded.push({ name, detail });
}

function audioContext(): AudioContext {
  audio ??= new AudioContext({ sampleRate: 48000 });
  return audio;
}

/** Follow everything the tests ask about; received media starts to be judged when it is subscribed. */
function follow(target: Room) {
  target
    .on(RoomEvent.ParticipantConnected, (p) => record("participant_connected", { identity: p.identity }))
    .on(RoomEvent.ParticipantActive, (p) => record("participant_active", { identity: p.identity }))
    .on(RoomEvent.ParticipantDisconnected, (p) => record("participant_disconnected", { identity: p.identity }))
    .on(RoomEvent.TrackPublished, (pub, p) => record("track_published", about(pub, p)))
    .on(RoomEvent.TrackUnpublished, (pub, p) => record("track_unpublished", about(pub, p)))
    .on(RoomEvent.TrackMuted, (pub, p) => record("track_muted", about(pub as RemoteTrackPublication, p)))
    .on(RoomEvent.TrackUnmuted, (pub, p) => record("track_unmuted", about(pub as RemoteTrackPublication, p)))
    .on(RoomEvent.DataReceived, (payload, p, _kind, topic) =>
      record("data_received", { text: new TextDecoder().decode(payload), identity: p?.identity, topic }),
    )
    .on(RoomEvent.ActiveSpeakersChanged, (speakers) =>
      record("active_speakers_changed", { identities: speakers.map((p) => p.identity) }),
    )
    .on(RoomEvent.ConnectionQualityChanged, (quality, p) =>
      record("connection_quality_changed", { quality, identity: p.identity }),
    )
    .on(RoomEvent.ParticipantAttributesChanged, (changed, p) =>
      record("participant_attributes_changed", { changed, identity: p.identity }),
    )
    .on(RoomEvent.ParticipantMetadataChanged, (_before, p) =>
      record("participant_metadata_changed", { metadata: p.metadata, identity: p.identity }),
    )
    .on(RoomEvent.RoomMetadataChanged, (metadata) => record("room_metadata_changed", { metadata }))
    .on(RoomEvent.Reconnecting, () => record("reconnecting"))
    .on(RoomEvent.SignalReconnecting, () => record("signal_reconnecting"))
    .on(RoomEvent.Reconnected, () => record("reconnected"))
    .on(RoomEvent.Disconnected, (reason) => record("disconnected", { reason }))
    .on(RoomEvent.TrackUnsubscribed, (track, pub, p) => {
      forget(track);
      record("track_unsubscribed", about(pub, p));
    })
    .on(RoomEvent.TrackSubscribed, (track, pub, p) => {
      attend(track, pub.trackSid);
      record("track_subscribed", about(pub, p));
    });
}

function about(pub: RemoteTrackPublication, p: Participant) {
  return { sid: pub.trackSid, name: pub.trackName, kind: pub.kind, source: pub.source, identity: p.identity };
}

function attend(track: RemoteTrack, sid: string) {
  const element = track.attach();
  element.muted = true;
  document.body.append(element);
  if (track.kind === Track.Kind.Video) {
    watching.set(sid, element as HTMLVideoElement);
    return;
  }
  const analyser = audioContext().createAnalyser();
  analyser.fftSize = 8192;
  analyser.smoothingTimeConstant = 0;
  audioContext().createMediaStreamSource(new MediaStream([track.mediaStreamTrack])).connect(analyser);
  listening.set(sid, analyser);
}

function forget(track: RemoteTrack) {
  for (const element of track.detach()) element.remove();
  if (track.sid) {
    watching.delete(track.sid);
    listening.delete(track.sid);
  }
}

/** A canvas of one colour that moves enough for the encoder to send frames: a bright bar along its upper edge. */
function paintedTrack(colour: Colour, width: number, height: number, fps: number): MediaStreamTrack {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d")!;
  let tick = 0;
  const paint = () => {
    context.fillStyle = `rgb(${colour.join(",")})`;
    context.fillRect(0, 0, width, height);
    context.fillStyle = "white";
    context.fillRect((tick++ * 8) % width, 0, 8, Math.max(2, height / 32));
  };
  paint();
  setInterval(paint, 1000 / fps);
  return canvas.captureStream(fps).getVideoTracks()[0];
}

function toneTrack(frequency: number, level: number): MediaStreamTrack {
  const context = audioContext();
  const oscillator = new OscillatorNode(context, { frequency });
  const destination = context.createMediaStreamDestination();
  oscillator.connect(new GainNode(context, { gain: level })).connect(destination);
  oscillator.start();
  return destination.stream.getAudioTracks()[0];
}

function published(pub: { trackSid: string; mimeType?: string; simulcasted?: boolean }) {
  return { sid: pub.trackSid, mime: pub.mimeType, simulcast: pub.simulcasted };
}

function subscribed(sid: string): RemoteTrackPublication {
  for (const participant of room.remoteParticipants.values()) {
    const pub = participant.trackPublications.get(sid);
    if (pub) return pub as RemoteTrackPublication;
  }
  throw new Error(`no publication ${sid}`);
}

const api = {
  async connect(
    url: string,
    token: string,
    { singlePeerConnection = true, autoSubscribe = true, dynacast = false, relay = false } = {},
  ) {
    room = new Room({ singlePeerConnection, dynacast, adaptiveStream: false });
    follow(room);
    const rtcConfig: RTCConfiguration = relay ? { iceTransportPolicy: "relay" } : {};
    await room.connect(url, token, { autoSubscribe, maxRetries: 0, rtcConfig });
    return { identity: room.localParticipant.identity, sid: await room.getSid(), name: room.name };
  },

  async disconnect() {
    await room.disconnect();
  },

  /** Chromium's own fake camera (a green picture with a moving disc) and microphone (a beep every second). */
  async publishDevices() {
    await room.localParticipant.enableCameraAndMicrophone();
    return room.localParticipant.getTrackPublications().map((pub) => ({ ...published(pub), kind: pub.kind }));
  },

  async publishColour(colour: Colour, { width = 1280, height = 720, fps = 20, simulcast = true, codec = "vp8" } = {}) {
    const track = new LocalVideoTrack(paintedTrack(colour, width, height, fps), undefined, true);
    const options: TrackPublishOptions = {
      source: Track.Source.Camera,
      simulcast,
      videoCodec: codec as TrackPublishOptions["videoCodec"],
      backupCodec: false,
      videoEncoding: new VideoPreset(width, height, 1_500_000, fps).encoding,
    };
    return published(await room.localParticipant.publishTrack(track, options));
  },

  async publishTone(frequency: number, { level = 0.25, dtx = false, red = true } = {}) {
    await audioContext().resume();
    const track = new LocalAudioTrack(toneTrack(frequency, level), undefined, true);
    const options = { source: Track.Source.Microphone, dtx, red };
    return published(await room.localParticipant.publishTrack(track, options));
  },

  async unpublishAll() {
    for (const pub of room.localParticipant.getTrackPublications()) {
      if (pub.track) await room.localParticipant.unpublishTrack(pub.track as LocalAudioTrack | LocalVideoTrack);
    }
  },

  async setMuted(kind: Track.Kind, muted: boolean) {
    for (const pub of room.localParticipant.getTrackPublications()) {
      const track = pub.track as LocalAudioTrack | LocalVideoTrack | undefined;
      if (track?.kind === kind) await (muted ? track.mute() : track.unmute());
    }
  },

  setSubscribed(sid: string, wanted: boolean) {
    subscribed(sid).setSubscribed(wanted);
  },

  setQuality(sid: string, quality: keyof typeof VideoQuality) {
    subscribed(sid).setVideoQuality(VideoQuality[quality]);
  },

  async sendText(text: string, options: { reliable?: boolean; topic?: string; destinationIdentities?: string[] } = {}) {
    await room.localParticipant.publishData(new TextEncoder().encode(text), { reliable: true, ...options });
  },

  async setAttributes(attributes: Record<string, string>) {
    await room.localParticipant.setAttributes(attributes);
  },

  /** The received picture: its size, and the mean colour of its middle (null before the first frame). */
  picture(sid: string) {
    const video = watching.get(sid);
    if (!video || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return null;
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: 32, height: 32 });
    const context = canvas.getContext("2d")!;
    const { videoWidth: width, videoHeight: height } = video;
    context.drawImage(video, width / 4, height / 4, width / 2, height / 2, 0, 0, 32, 32);
    const pixels = context.getImageData(0, 0, 32, 32).data;
    const sum = [0, 0, 0];
    for (let i = 0; i < pixels.length; i += 4) for (let c = 0; c < 3; c++) sum[c] += pixels[i + c];
    return { width, height, colour: sum.map((s) => Math.round(s / 1024)) };
  },

  /** The received sound: the strongest frequency in Hz and its level in dBFS (null before the track is heard). */
  async sound(sid: string) {
    const analyser = listening.get(sid);
    if (!analyser) return null;
    await audioContext().resume();
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    const peak = bins.indexOf(Math.max(...bins));
    if (!Number.isFinite(bins[peak])) return null;
    return { frequency: (peak * audioContext().sampleRate) / analyser.fftSize, level: bins[peak] };
  },

  /** What the page's transport says about what it sends or receives: inbound-rtp and outbound-rtp reports. */
  async statistics(sid: string) {
    const own = room.localParticipant.getTrackPublications().find((pub) => pub.trackSid === sid);
    const report = await (own ?? subscribed(sid)).track?.getRTCStatsReport();
    return [...(report?.values() ?? [])].filter((entry) => /^(in|out)bound-rtp$/.test(entry.type));
  },

  participants() {
    return [...room.remoteParticipants.values()].map((p) => ({
      identity: p.identity,
      name: p.name,
      metadata: p.metadata,
      attributes: p.attributes,
      tracks: [...p.trackPublications.values()].map((pub) => about(pub as RemoteTrackPublication, p)),
    }));
  },

  events() {
    return recorded;
  },
};

declare global {
  interface Window {
    greenroom: typeof api;
  }
}
window.greenroom = api;
