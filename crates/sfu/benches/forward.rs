//! What forwarding costs: nanoseconds and allocations per forwarded packet, for one publisher and many subscribers.
//!
//! `cargo bench -p greenroom-sfu`. Exits with an error if anything is allocated after warm-up.
#![allow(
    unsafe_code,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench counts, prints and reads the clock"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use greenroom_sfu::{
    Codec, Forward, Layer, Packet, PeerId, Room, SubscriberCodecs, SubscriptionSettings, TrackConfig, TrackId,
};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system allocator unchanged; counting does not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TRACK: TrackId = TrackId(1);
const WARM_UP: u32 = 300;
const FRAMES: u32 = 3_000;

/// One kind of load: the packets of a frame, and how often frames come.
struct Load {
    name: &'static str,
    config: TrackConfig,
    codecs: SubscriberCodecs,
    settings: SubscriptionSettings,
    interval: Duration,
    frame: fn(u32) -> Vec<(usize, Packet)>,
    /// Allocations that are allowed per frame handed in, however many subscribers there are.
    per_frame: u64,
}

fn main() -> ExitCode {
    let layers = |count: usize| {
        let all = [("q", 0), ("h", 1), ("f", 2)];
        let layers = all.into_iter().take(count);
        layers.map(|(rid, quality)| Layer { rid: rid.into(), quality, width: 0, height: 0 }).collect::<Vec<_>>()
    };
    let publisher = PeerId(0);
    let settings = SubscriptionSettings::default();
    let loads = [
        Load {
            name: "opus",
            config: TrackConfig::audio(publisher, true),
            codecs: SubscriberCodecs::ALL,
            settings,
            interval: Duration::from_millis(20),
            frame: |number| vec![(0, audio(number, Codec::Opus))],
            per_frame: 0,
        },
        Load {
            name: "red to opus",
            config: TrackConfig::audio(publisher, true),
            codecs: SubscriberCodecs::new([Codec::Opus]),
            settings,
            interval: Duration::from_millis(20),
            frame: |number| vec![(0, audio(number, Codec::Red))],
            // The payload without its redundancy, shared by all.
            per_frame: 1,
        },
        Load {
            name: "vp8 simulcast",
            config: TrackConfig::video(publisher, layers(3)),
            codecs: SubscriberCodecs::ALL,
            settings,
            interval: Duration::from_micros(33_333),
            frame: |number| {
                let packets = [(0, 1), (1, 2), (2, 6)].into_iter();
                packets.flat_map(|(layer, count)| video(number, layer, count)).collect()
            },
            per_frame: 0,
        },
        Load {
            name: "vp8 at 8 fps",
            config: TrackConfig::video(publisher, layers(1)),
            codecs: SubscriberCodecs::ALL,
            settings: SubscriptionSettings { fps: 8, ..settings },
            interval: Duration::from_micros(33_333),
            frame: |number| video(number, 0, 4),
            per_frame: 0,
        },
    ];
    println!("{:<16}{:>12}{:>12}{:>16}{:>16}", "load", "subscribers", "forwarded", "ns/forwarded", "allocations");
    let mut clean = true;
    for load in &loads {
        for subscribers in [1, 60, 300] {
            clean &= run(load, subscribers);
        }
    }
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures one load and prints a row; false when something was allocated that is not allowed.
fn run(load: &Load, subscribers: u64) -> bool {
    let start = Instant::now();
    let mut room = Room::new(start, 1);
    room.add_track(TRACK, load.config.clone()).expect("a new track");
    for peer in 1..=subscribers {
        room.subscribe(start, TRACK, PeerId(peer), load.codecs).expect("a new subscription");
        room.set_subscription(start, TRACK, PeerId(peer), load.settings);
    }
    let frames: Vec<Vec<(usize, Packet)>> = (0..WARM_UP + FRAMES).map(load.frame).collect();
    let mut forwarded = 0_u64;
    let mut sum = 0_u64;
    let mut out = |forward: Forward<'_>| {
        // What a sender at least does: takes a share of the payload and reads the numbers.
        let payload = Arc::clone(forward.payload);
        sum = sum.wrapping_add(forward.seq ^ u64::from(forward.timestamp) ^ payload.len() as u64);
        forwarded += 1;
    };
    let (mut spent, mut allocations) = (Duration::ZERO, 0);
    for (number, frame) in (0_u32..).zip(&frames) {
        let now = start + load.interval * number;
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let began = Instant::now();
        for (layer, packet) in frame {
            room.handle_packet(now, TRACK, *layer, packet, &mut out);
        }
        if room.poll_timeout().is_some_and(|at| at <= now) {
            room.handle_timeout(now, &mut out);
        }
        while room.poll_event().is_some() {}
        if number >= WARM_UP {
            spent += began.elapsed();
            allocations += ALLOCATIONS.load(Ordering::Relaxed) - before;
        }
    }
    black_box(sum);
    let measured = forwarded * u64::from(FRAMES) / u64::from(WARM_UP + FRAMES);
    let cost = spent.as_nanos() as f64 / measured.max(1) as f64;
    println!("{:<16}{:>12}{:>12}{:>16.1}{:>16}", load.name, subscribers, measured, cost, allocations);
    allocations <= load.per_frame * u64::from(FRAMES)
}

fn audio(number: u32, codec: Codec) -> Packet {
    let payload: Vec<u8> = match codec {
        Codec::Red => [&[0x80 | 111, 0x0f, 0x00, 80, 111][..], &[1; 80], &[2; 80]].concat(),
        _ => vec![1; 80],
    };
    Packet {
        ssrc: 1,
        seq: u64::from(number) + 1,
        timestamp: number.wrapping_mul(960),
        marker: false,
        codec,
        payload: payload.into(),
        // The speaker stays the same, so that reports of changes do not count.
        audio_level: Some(20),
        sender_report: None,
    }
}

fn video(number: u32, layer: usize, count: u32) -> Vec<(usize, Packet)> {
    let temporal = [0_u8, 2, 1, 2][number as usize % 4];
    let packets = (0..count).map(|index| {
        let id = (number as u16 & 0x7fff | 0x8000).to_be_bytes();
        let start = if index == 0 { 0x90 } else { 0x80 };
        let sync = u8::from(number % 4 != 3) << 5;
        let tl0 = (number / 4) as u8;
        let mut payload = vec![start, 0xf0, id[0], id[1], tl0, temporal << 6 | sync, u8::from(number != 0)];
        payload.resize(1100, 0);
        Packet {
            ssrc: layer as u32 + 1,
            seq: u64::from(number * count + index) + 1,
            timestamp: number.wrapping_mul(3000),
            marker: index + 1 == count,
            codec: Codec::Vp8,
            payload: payload.into(),
            audio_level: None,
            sender_report: None,
        }
    });
    packets.map(|packet| (layer, packet)).collect()
}
