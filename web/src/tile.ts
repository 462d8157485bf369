// One participant on the page: pictures, sound, and what the transport says of them.
import { type Participant, Track } from "livekit-client";

type Report = Record<string, number | string>;

export class Tile {
  readonly root = document.createElement("figure");
  private readonly pictures = document.createElement("div");
  private readonly figures = document.createElement("small");
  private readonly tracks = new Set<Track>();
  private readonly bytes = new Map<string, number>();

  constructor(participant: Participant) {
    const caption = document.createElement("figcaption");
    this.pictures.className = "pictures";
    caption.append(participant.name || participant.identity, this.figures);
    this.root.append(this.pictures, caption);
  }

  attach(track: Track) {
    this.tracks.add(track);
    const element = track.attach();
    if (track.kind === Track.Kind.Video) this.pictures.append(element);
    else this.root.append(element);
  }

  detach(track: Track) {
    this.tracks.delete(track);
    for (const element of track.detach()) element.remove();
  }

  /** Show codec, size, pictures and kbit per second and loss of each track; called once a second. */
  async measure() {
    const texts = await Promise.all([...this.tracks].map((track) => this.figure(track)));
    this.figures.textContent = texts.filter(Boolean).join("  ·  ");
  }

  private async figure(track: Track): Promise<string> {
    const reports = await (track as { getRTCStatsReport?(): Promise<RTCStatsReport | undefined> }).getRTCStatsReport?.();
    const all = [...(reports?.values() ?? [])] as Report[];
    const flow = all.find((each) => each.type === "inbound-rtp");
    if (!flow) return "";
    const id = String(flow.id);
    const bytes = Number(flow.bytesReceived);
    const rate = ((bytes - (this.bytes.get(id) ?? bytes)) * 8) / 1000;
    this.bytes.set(id, bytes);
    const codec = String(all.find((each) => each.id === flow.codecId)?.mimeType ?? "").replace(/^\w+\//, "");
    const lost = Number(flow.packetsLost ?? 0);
    const loss = lost > 0 ? (100 * lost) / (lost + Number(flow.packetsReceived)) : 0;
    const size = flow.frameWidth ? ` ${flow.frameWidth}x${flow.frameHeight} ${flow.framesPerSecond ?? 0} fps` : "";
    return `${codec}${size} ${rate.toFixed(0)} kbit/s ${loss.toFixed(1)} % lost`;
  }
}
