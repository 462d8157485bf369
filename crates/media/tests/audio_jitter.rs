//! The audio jitter buffer as a machine: whatever arrives, its decisions must make sense.

use std::time::{Duration, Instant};

use bytes::Bytes;
use greenroom_media::jitter::audio::{AudioJitter, Config, Next, packet_duration};

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }
}

/// A 20 ms speech packet that carries its own number.
fn packet(index: u64) -> Bytes {
    let mut payload = vec![9 << 3];
    payload.extend_from_slice(&index.to_be_bytes());
    payload.into()
}

fn number(payload: &[u8]) -> u64 {
    u64::from_be_bytes(payload[1..9].try_into().unwrap())
}

/// What a decoder would be given, tick by tick of 10 ms.
struct Player {
    jitter: AudioJitter,
    /// Microseconds of audio decoded and not played.
    pending: u64,
    played: Vec<u64>,
    restored: Vec<u64>,
    concealed: u64,
    silent: u64,
}

impl Player {
    fn new() -> Self {
        let jitter = AudioJitter::new(Config::default());
        Self { jitter, pending: 0, played: Vec::new(), restored: Vec::new(), concealed: 0, silent: 0 }
    }

    fn tick(&mut self, now: Instant) {
        while self.pending < 10_000 {
            let samples = match self.jitter.next(now, Duration::from_micros(self.pending)) {
                Next::Decode { payload, .. } => {
                    self.played.push(number(&payload));
                    packet_duration(&payload).unwrap()
                }
                Next::DecodeFec { payload, samples } => {
                    self.restored.push(number(&payload) - 1);
                    samples
                }
                Next::Conceal { samples } => {
                    self.concealed += u64::from(samples);
                    samples
                }
                Next::Silence { samples } => {
                    self.silent += u64::from(samples);
                    samples
                }
            };
            assert!(samples > 0 && samples % 120 == 0, "{samples} samples");
            self.pending += u64::from(samples) * 1_000 / 48;
        }
        self.pending -= 10_000;
    }
}

#[test]
fn packets_are_played_once_in_order_and_a_loss_is_filled_by_its_own_length() {
    for seed in 1..80 {
        let mut random = Random(seed * 0x9e37_79b9);
        let (loss, jitter, twins) = (random.below(20), random.below(80_000) + 1, random.below(20));
        let base = if seed % 2 == 0 { u32::MAX - 50_000 } else { 7 };
        let mut arrivals = Vec::new();
        let mut lost = 0u64;
        for index in 0..1_000u64 {
            let at = index * 20_000 + random.below(jitter);
            if index > 0 && random.below(100) < loss {
                lost += 1;
                continue;
            }
            arrivals.push((at, index));
            if random.below(100) < twins {
                arrivals.push((at + random.below(100_000), index));
            }
        }
        arrivals.sort_unstable();
        let start = Instant::now();
        let mut player = Player::new();
        let mut next = arrivals.into_iter().peekable();
        for tick in 0..2_050u64 {
            let now = tick * 10_000 + 1_234;
            while let Some((at, index)) = next.next_if(|arrival| arrival.0 <= now) {
                let timestamp = base.wrapping_add(index as u32 * 960);
                player.jitter.insert(65_000 + index, timestamp, packet(index), start + Duration::from_micros(at));
            }
            player.tick(start + Duration::from_micros(now));
        }
        let context = format!("seed {seed}, {loss} % loss, {jitter} us of jitter");
        assert!(player.played.windows(2).all(|pair| pair[0] < pair[1]), "{context}");
        assert!(player.restored.iter().all(|index| !player.played.contains(index)), "{context}");
        let statistics = player.jitter.statistics();
        let missing = 1_000 - player.played.len() as u64;
        // A burst before the first packet that is just in time may be skipped, a late packet replaced.
        assert!(missing <= lost + statistics.late + statistics.skipped, "{context}: {missing} missing, {statistics:?}");
        assert!(statistics.late <= 60, "{context}: {statistics:?}");
        assert!(player.concealed <= (lost + statistics.late + 20) * 960 + 100 * 480, "{context}: {}", player.concealed);
    }
}

#[test]
fn a_perfect_stream_is_never_concealed_at_any_phase() {
    for phase in (0..20_000).step_by(700) {
        let start = Instant::now();
        let mut player = Player::new();
        for tick in 0..500u64 {
            let now = tick * 10_000 + phase;
            for index in 0..250 {
                let at = index * 20_000;
                if at <= now && (tick == 0 || at > now - 10_000) {
                    let timestamp = (index * 960) as u32;
                    player.jitter.insert(index, timestamp, packet(index), start + Duration::from_micros(at));
                }
            }
            player.tick(start + Duration::from_micros(now));
        }
        assert_eq!(player.concealed, 0, "phase {phase}");
        assert!(player.silent <= 3 * 480, "phase {phase}: {} samples before the start", player.silent);
    }
}

#[test]
fn durations_are_those_of_the_packet_format() {
    let cases: [(&[u8], Option<u32>); 12] = [
        (&[0 << 3], Some(480)),
        (&[1 << 3, 1], Some(960)),
        (&[3 << 3, 1], Some(2_880)),
        (&[12 << 3, 1], Some(480)),
        (&[15 << 3, 1], Some(960)),
        (&[16 << 3, 1], Some(120)),
        (&[31 << 3, 1], Some(960)),
        (&[31 << 3 | 1, 1], Some(1_920)),
        (&[31 << 3 | 3, 6], Some(5_760)),
        (&[31 << 3 | 3, 7], None),
        (&[3 << 3 | 3], None),
        (&[], None),
    ];
    for (payload, expected) in cases {
        assert_eq!(packet_duration(payload), expected, "{payload:x?}");
    }
}
