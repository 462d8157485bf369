//! From one packet that arrived to the packets that go out.

use std::sync::Arc;

use greenroom_media::rtp::Codec;
use greenroom_media::rtp::red::Red;

use crate::clock::scale;
use crate::layer::{Arrival, Layer};
use crate::recent::Recent;
use crate::subscription::Subscription;
use crate::track::{Context, Envelope, Track};
use crate::types::{Event, Forward, MAX_LAYERS, Origin};
use crate::window::Order;

/// Ticks between replayed frames: they are shown as fast as they decode, so that the subscriber is not behind after.
const REPLAY_TICKS: u64 = 90;
/// Most packets recovered from one RED payload.
const MAX_RECOVERED: usize = 8;

/// Which subscribers of an audio track a payload is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// Those that take RED.
    Red,
    /// Those that do not.
    Plain,
    /// All.
    Everybody,
}

impl Audience {
    fn includes(self, subscription: &Subscription) -> bool {
        match self {
            Audience::Everybody => true,
            Audience::Red => subscription.codecs.accepts(Codec::Red),
            Audience::Plain => !subscription.codecs.accepts(Codec::Red),
        }
    }
}

impl Track {
    /// Forwards a video packet.
    pub(crate) fn deliver_video(
        &mut self,
        ctx: &mut Context<'_>,
        arrival: &Arrival<'_>,
        out: &mut impl FnMut(Forward<'_>),
    ) {
        let ranks = self.ranks();
        let rank = ranks.get(arrival.layer).copied().unwrap_or(0);
        let Some(layer) = self.layers.get_mut(arrival.layer) else {
            return;
        };
        layer.keep(ctx.now, arrival);
        let starts = arrival.starts && !arrival.late;
        let envelope = Envelope::new(ctx, self.id, &self.empty, arrival);
        let mut needs_key = false;
        for subscription in &mut self.subscriptions {
            if !subscription.flowing || !subscription.codecs.accepts(arrival.codec) {
                continue;
            }
            let subscriber = subscription.subscriber;
            if subscription.follows(arrival) {
                if let Some(stamp) = subscription.accept(ctx.now, arrival) {
                    envelope.send(ctx, subscriber, &stamp, out);
                }
                continue;
            }
            if !wants(subscription, arrival.layer, rank, &ranks) {
                continue;
            }
            if starts {
                subscription.begin(ctx.now, arrival);
                ctx.events.push_back(Event::LayerChanged { subscriber, track: self.id, layer: Some(arrival.layer) });
                if let Some(stamp) = subscription.accept(ctx.now, arrival) {
                    envelope.send(ctx, subscriber, &stamp, out);
                }
            } else if subscription.target == Some(arrival.layer) {
                let empty = &self.empty;
                let replayed =
                    replay(ctx, layer, arrival.layer, subscription, Some(arrival.seq), |ctx, subscription, arrival| {
                        if let Some(stamp) = subscription.accept(ctx.now, arrival) {
                            Envelope::new(ctx, self.id, empty, arrival).send(ctx, subscriber, &stamp, out);
                        }
                    });
                if replayed {
                    ctx.events.push_back(Event::LayerChanged {
                        subscriber,
                        track: self.id,
                        layer: Some(arrival.layer),
                    });
                }
                needs_key |= !replayed;
            }
        }
        if needs_key && layer.keyframes.due().is_none() {
            self.request_keyframe(ctx, arrival.layer);
        }
    }

    /// Starts those that wait for a key frame which is in a history already.
    pub(crate) fn replay_histories(&mut self, ctx: &mut Context<'_>, out: &mut impl FnMut(Forward<'_>)) {
        let mut needs_key = [false; MAX_LAYERS];
        for subscription in &mut self.subscriptions {
            let Some(index) = subscription.target.filter(|_| subscription.flowing) else {
                continue;
            };
            let Some(layer) = self.layers.get_mut(index) else {
                continue;
            };
            let accepted = layer.codec.is_some_and(|codec| subscription.codecs.accepts(codec));
            if subscription.is_on(index, layer.source) || !accepted {
                continue;
            }
            let subscriber = subscription.subscriber;
            let empty = &self.empty;
            let replayed = replay(ctx, layer, index, subscription, None, |ctx, subscription, arrival| {
                if let Some(stamp) = subscription.accept(ctx.now, arrival) {
                    Envelope::new(ctx, self.id, empty, arrival).send(ctx, subscriber, &stamp, out);
                }
            });
            if replayed {
                ctx.events.push_back(Event::LayerChanged { subscriber, track: self.id, layer: Some(index) });
            } else if let Some(needs_key) = needs_key.get_mut(index) {
                *needs_key = true;
            }
        }
        for (index, _) in needs_key.into_iter().enumerate().filter(|&(_, needs_key)| needs_key) {
            self.request_keyframe(ctx, index);
        }
    }

    /// Forwards an audio packet; RED is taken off for those who do not take it.
    pub(crate) fn deliver_audio(
        &mut self,
        ctx: &mut Context<'_>,
        arrival: &Arrival<'_>,
        out: &mut impl FnMut(Forward<'_>),
    ) {
        match arrival.codec {
            Codec::Red => {
                self.deliver_to(ctx, Audience::Red, arrival, out);
                self.unwrap_red(ctx, arrival, out);
            }
            Codec::Opus => {
                self.deliver_to(ctx, Audience::Red, arrival, out);
                self.deliver_plain(ctx, arrival.clone(), out);
            }
            _ => self.deliver_to(ctx, Audience::Everybody, arrival, out),
        }
    }

    fn deliver_to(
        &mut self,
        ctx: &mut Context<'_>,
        audience: Audience,
        arrival: &Arrival<'_>,
        out: &mut impl FnMut(Forward<'_>),
    ) {
        let envelope = Envelope::new(ctx, self.id, &self.empty, arrival);
        for subscription in &mut self.subscriptions {
            if !subscription.flowing || !audience.includes(subscription) || !subscription.codecs.accepts(arrival.codec)
            {
                continue;
            }
            let subscriber = subscription.subscriber;
            if !subscription.follows(arrival) {
                if !arrival.starts {
                    continue;
                }
                let layer = Some(arrival.layer);
                if subscription.layer != layer {
                    ctx.events.push_back(Event::LayerChanged { subscriber, track: self.id, layer });
                }
                subscription.begin(ctx.now, arrival);
            }
            if let Some(stamp) = subscription.accept(ctx.now, arrival) {
                envelope.send(ctx, subscriber, &stamp, out);
            }
        }
    }

    /// Delivers the Opus in a RED payload, and before it what was lost and is in it again.
    fn unwrap_red(&mut self, ctx: &mut Context<'_>, arrival: &Arrival<'_>, out: &mut impl FnMut(Forward<'_>)) {
        let Some(layer) = self.layers.get_mut(arrival.layer) else {
            return;
        };
        let subscribed = self.subscriptions.iter().any(|subscription| Audience::Plain.includes(subscription));
        let Some(red) = Red::parse(arrival.payload).filter(|_| subscribed) else {
            layer.unwrapped.insert(arrival.seq);
            return;
        };
        let count = red.redundant_count();
        if let Some(highest) = layer.unwrapped.highest() {
            let skipped = count.saturating_sub(MAX_RECOVERED);
            for (index, block) in red.redundant().enumerate().skip(skipped) {
                let seq = arrival.seq.saturating_sub((count - index) as u64);
                if seq <= highest || block.data.is_empty() || block.payload_type != red.primary().payload_type {
                    continue;
                }
                let offset = u64::from(block.timestamp_offset);
                let payload = Arc::from(block.data);
                let recovered = Arrival {
                    seq,
                    ticks: arrival.ticks.wrapping_sub(offset),
                    capture: arrival.capture - scale(offset.cast_signed(), 1_000_000, 48_000),
                    marker: false,
                    codec: Codec::Opus,
                    starts: true,
                    payload: &payload,
                    audio_level: None,
                    origin: Origin::Recovered,
                    ..arrival.clone()
                };
                self.deliver_plain(ctx, recovered, out);
            }
        }
        let payload = Arc::from(red.primary().data);
        let starts = !red.primary().data.is_empty();
        self.deliver_plain(ctx, Arrival { codec: Codec::Opus, payload: &payload, starts, ..arrival.clone() }, out);
    }

    /// Delivers Opus to those who do not take RED, unless it was recovered before.
    fn deliver_plain(&mut self, ctx: &mut Context<'_>, mut arrival: Arrival<'_>, out: &mut impl FnMut(Forward<'_>)) {
        let Some(layer) = self.layers.get_mut(arrival.layer) else {
            return;
        };
        arrival.late = match layer.unwrapped.insert(arrival.seq) {
            Order::Next => false,
            Order::Late => true,
            Order::Duplicate | Order::TooOld => return,
        };
        arrival.starts &= !arrival.late;
        self.deliver_to(ctx, Audience::Plain, &arrival, out);
    }

    fn ranks(&self) -> [usize; MAX_LAYERS] {
        let mut ranks = [0; MAX_LAYERS];
        for (rank, layer) in ranks.iter_mut().zip(&self.layers) {
            *rank = layer.rank;
        }
        ranks
    }
}

impl Layer {
    /// Whether earlier packets can be sent without their header extensions.
    pub(crate) fn can_replay(&self) -> bool {
        matches!(self.codec, Some(Codec::Vp8 | Codec::H264 | Codec::H265))
    }
}

/// Whether a key frame of the layer would serve the subscription better than what it has.
fn wants(subscription: &Subscription, layer: usize, rank: usize, ranks: &[usize; MAX_LAYERS]) -> bool {
    let Some(target) = subscription.target else {
        return false;
    };
    if target == layer {
        return true;
    }
    let target = ranks.get(target).copied().unwrap_or(0);
    match subscription.layer.filter(|&current| current != layer).and_then(|current| ranks.get(current).copied()) {
        None => rank < target,
        Some(current) => (current < rank && rank < target) || (target < rank && rank < current),
    }
}

/// Begins `subscription` at the layer's latest key frame and hands every packet since to `forward`.
fn replay<'c>(
    ctx: &mut Context<'c>,
    layer: &Layer,
    index: usize,
    subscription: &mut Subscription,
    live: Option<u64>,
    mut forward: impl FnMut(&mut Context<'c>, &mut Subscription, &Arrival<'_>),
) -> bool {
    if !layer.can_replay() {
        return false;
    }
    let Some(packets) = layer.history.since_key(ctx.now, subscription.replay_age()) else {
        return false;
    };
    let Some(newest) = packets.clone().last() else {
        return false;
    };
    let mut frames = count_frames(packets.clone());
    let mut frame = None;
    let mut begun = false;
    for packet in packets {
        if frame.replace(packet.ticks) != Some(packet.ticks) {
            frames = frames.saturating_sub(1);
        }
        let behind = frames * REPLAY_TICKS;
        let arrival = Arrival {
            layer: index,
            source: layer.source,
            late: false,
            seq: packet.seq,
            ticks: newest.ticks.wrapping_sub(behind),
            capture: newest.capture - scale(behind.cast_signed(), 1_000_000, 90_000),
            marker: packet.marker,
            codec: packet.codec,
            info: packet.info,
            starts: true,
            payload: &packet.payload,
            audio_level: None,
            origin: if live == Some(packet.seq) { Origin::Live } else { Origin::Replayed },
        };
        if !begun {
            subscription.begin(ctx.now, &arrival);
            begun = true;
        }
        forward(ctx, subscription, &arrival);
    }
    true
}

fn count_frames<'a>(packets: impl Iterator<Item = &'a Recent>) -> u64 {
    let mut frame = None;
    packets.filter(|packet| frame.replace(packet.ticks) != Some(packet.ticks)).count() as u64
}
