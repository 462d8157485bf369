// The playground: join a room by its link, see and hear who is there, talk, and see what arrives in figures.
import { type Participant, Room, RoomEvent, Track } from "livekit-client";
import { Tile } from "./tile";
import "./style.css";

const TOPIC = "chat";
const room = new Room({ adaptiveStream: false, dynacast: true });
const tiles = new Map<string, Tile>();

function element<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const state = element<HTMLParagraphElement>("state");
const url = element<HTMLInputElement>("url");
const token = element<HTMLInputElement>("token");
const words = element<HTMLInputElement>("words");

function tile(participant: Participant): Tile {
  let found = tiles.get(participant.identity);
  if (!found) {
    found = new Tile(participant);
    tiles.set(participant.identity, found);
    element("tiles").append(found.root);
  }
  return found;
}

function leave(participant: Participant) {
  tiles.get(participant.identity)?.root.remove();
  tiles.delete(participant.identity);
}

function line(who: string, text: string) {
  const item = document.createElement("li");
  const name = document.createElement("strong");
  name.textContent = `${who} `;
  item.append(name, text);
  element("talk").append(item);
  item.scrollIntoView();
}

room
  .on(RoomEvent.ConnectionStateChanged, (now) => {
    state.textContent = now === "connected" ? `${room.name}, as ${room.localParticipant.identity}` : now;
    element("own").hidden = now === "disconnected";
    element("join").hidden = now !== "disconnected";
  })
  .on(RoomEvent.Connected, () => {
    for (const participant of [room.localParticipant, ...room.remoteParticipants.values()]) tile(participant);
  })
  .on(RoomEvent.ParticipantConnected, (participant) => {
    tile(participant);
    line(participant.identity, "has joined");
  })
  .on(RoomEvent.ParticipantDisconnected, (participant) => {
    leave(participant);
    line(participant.identity, "has left");
  })
  .on(RoomEvent.TrackSubscribed, (track, _, participant) => tile(participant).attach(track))
  .on(RoomEvent.TrackUnsubscribed, (track, _, participant) => tile(participant).detach(track))
  .on(RoomEvent.LocalTrackPublished, ({ track }, participant) => {
    if (track?.kind === Track.Kind.Video) tile(participant).attach(track);
  })
  .on(RoomEvent.LocalTrackUnpublished, ({ track }, participant) => {
    if (track) tile(participant).detach(track);
  })
  .on(RoomEvent.ActiveSpeakersChanged, (speakers) => {
    const speaking = new Set(speakers.map((each) => each.identity));
    for (const [identity, each] of tiles) each.root.classList.toggle("speaking", speaking.has(identity));
  })
  .on(RoomEvent.DataReceived, (payload, participant) => {
    line(participant?.identity ?? "server", new TextDecoder().decode(payload));
  })
  .on(RoomEvent.Disconnected, () => {
    for (const each of tiles.values()) each.root.remove();
    tiles.clear();
  });

async function join() {
  try {
    await room.connect(url.value.trim(), token.value.trim());
    await room.startAudio();
  } catch (error) {
    state.textContent = error instanceof Error ? error.message : String(error);
  }
}

function toggle(id: string, on: () => boolean, set: (wanted: boolean) => Promise<unknown>) {
  const button = element<HTMLButtonElement>(id);
  button.onclick = async () => {
    try {
      await set(!on());
    } catch (error) {
      state.textContent = `${id}: ${error instanceof Error ? error.message : error}`;
    }
    button.ariaPressed = String(on());
  };
}

const own = room.localParticipant;
toggle("microphone", () => own.isMicrophoneEnabled, (wanted) => own.setMicrophoneEnabled(wanted));
toggle("camera", () => own.isCameraEnabled, (wanted) => own.setCameraEnabled(wanted));
toggle("screen", () => own.isScreenShareEnabled, (wanted) => own.setScreenShareEnabled(wanted));
element("leave").onclick = () => room.disconnect();
element<HTMLFormElement>("join").onsubmit = (event) => {
  event.preventDefault();
  void join();
};
element<HTMLFormElement>("say").onsubmit = async (event) => {
  event.preventDefault();
  const text = words.value.trim();
  if (!text || room.state !== "connected") return;
  words.value = "";
  await own.publishData(new TextEncoder().encode(text), { reliable: true, topic: TOPIC });
  line(own.identity, text);
};
setInterval(() => tiles.forEach((each) => void each.measure()), 1000);

// The link carries server and token behind "#", so that they are in no server's log.
const link = new URLSearchParams(location.hash.slice(1));
url.value = link.get("url") ?? "ws://127.0.0.1:7880";
token.value = link.get("token") ?? "";
if (token.value) void join();
