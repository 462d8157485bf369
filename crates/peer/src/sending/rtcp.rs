//! RTCP (RFC 3550, RFC 4585, RFC 5104): what the other side says about our streams, and our own sender reports.

const HEADER: usize = 4;
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
const NACK: u8 = 1;
const PICTURE_LOSS: u8 = 1;
const FULL_INTRA: u8 = 4;
const APPLICATION: u8 = 15;
const BANDWIDTH: &[u8] = b"REMB";
const CNAME: u8 = 1;
/// What a sender report says about its sender, behind the header: SSRC, NTP time, RTP time, packets, octets.
const SENDER_INFO: usize = 24;
const REPORT_BLOCK: usize = 24;
const MOST_CHUNKS: usize = 31;

/// Something that the other side says about a stream of ours, or about the way to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Feedback {
    Reception(Reception),
    /// Packets are missing: for each pair, that of the first number, and that of `first + 1 + n` for each bit n of the second.
    Missing {
        ssrc: u32,
        packets: Vec<(u16, u16)>,
    },
    KeyframeWanted {
        ssrc: u32,
    },
    Bandwidth {
        bitrate: u64,
    },
}

/// A reception report (RFC 3550, section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reception {
    pub(crate) ssrc: u32,
    /// The share of packets lost since the report before, 0 to 1.
    pub(crate) lost_share: f32,
    pub(crate) lost: u64,
    /// The lowest 32 bits of the highest sequence number received.
    pub(crate) highest: u32,
    pub(crate) jitter: u32,
    /// The middle of the NTP time of our last report, and how long ago the other side had it, in 2^-16 s.
    pub(crate) report: u32,
    pub(crate) since_report: u32,
}

/// Hands out what a compound packet says about what we send. Returns whether it also says something else.
pub(crate) fn read(compound: &[u8], mut each: impl FnMut(Feedback)) -> bool {
    let mut more = false;
    for packet in packets(compound) {
        match (packet.kind, packet.count) {
            (RECEIVER_REPORT, _) => packet.receptions(HEADER + 4, &mut each),
            (SENDER_REPORT, _) => {
                packet.receptions(HEADER + SENDER_INFO, &mut each);
                more = true;
            }
            // It only names the sender of the reports.
            (DESCRIPTION, _) => {}
            (TRANSPORT_FEEDBACK, NACK) => packet.missing(&mut each),
            (PAYLOAD_FEEDBACK, PICTURE_LOSS) => {
                word(packet.bytes, 8).into_iter().for_each(|ssrc| each(Feedback::KeyframeWanted { ssrc }));
            }
            (PAYLOAD_FEEDBACK, FULL_INTRA) => {
                let entries = packet.bytes.get(12..).unwrap_or_default().as_chunks::<8>().0;
                entries
                    .iter()
                    .filter_map(|entry| word(entry, 0))
                    .for_each(|ssrc| each(Feedback::KeyframeWanted { ssrc }));
            }
            (PAYLOAD_FEEDBACK, APPLICATION) => packet.bandwidth().into_iter().for_each(&mut each),
            _ => more = true,
        }
    }
    more
}

/// What a sender report says of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    pub(crate) timestamp: u32,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
    pub(crate) cname: String,
}

/// Puts our figures into the sender reports that the library has made for streams of which it sends nothing. `sent` is asked
/// with the SSRC and the middle of the report's NTP time; streams that it does not know are left out. Nothing remains of a
/// packet that says nothing else.
pub(crate) fn complete(compound: &[u8], mut sent: impl FnMut(u32, u32) -> Option<Sent>) -> Vec<u8> {
    let mut out = Vec::with_capacity(compound.len() + 64);
    let mut names = Vec::new();
    for packet in packets(compound) {
        match packet.kind {
            SENDER_REPORT => {
                let (Some(ssrc), Some(middle)) = (word(packet.bytes, 4), word(packet.bytes, 10)) else {
                    continue;
                };
                match sent(ssrc, middle) {
                    Some(figures) => {
                        let (head, reports) = packet.bytes.split_at(packet.bytes.len().min(16));
                        out.extend_from_slice(head);
                        for value in [figures.timestamp, figures.packets, figures.octets] {
                            out.extend_from_slice(&value.to_be_bytes());
                        }
                        out.extend_from_slice(reports.get(12..).unwrap_or_default());
                        names.push((ssrc, figures.cname));
                    }
                    None => out.extend(packet.without_sender_info()),
                }
            }
            DESCRIPTION => {}
            _ => out.extend_from_slice(packet.bytes),
        }
    }
    names.chunks(MOST_CHUNKS).for_each(|names| describe(names, &mut out));
    out
}

/// A source description with the CNAME of each (RFC 3550, section 6.5).
fn describe(names: &[(u32, String)], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[2 << 6 | names.len() as u8, DESCRIPTION, 0, 0]);
    for (ssrc, cname) in names {
        let cname = cname.as_bytes().get(..cname.len().min(255)).unwrap_or_default();
        out.extend_from_slice(&ssrc.to_be_bytes());
        out.extend_from_slice(&[CNAME, cname.len() as u8]);
        out.extend_from_slice(cname);
        // At least one zero ends the chunk.
        out.resize(start + (out.len() - start + 1).next_multiple_of(4), 0);
    }
    let words = ((out.len() - start) / 4 - 1) as u16;
    if let Some(length) = out.get_mut(start + 2..start + 4) {
        length.copy_from_slice(&words.to_be_bytes());
    }
}

/// One packet of a compound.
#[derive(Debug, Clone, Copy)]
struct Packet<'a> {
    kind: u8,
    count: u8,
    bytes: &'a [u8],
}

fn packets(compound: &[u8]) -> impl Iterator<Item = Packet<'_>> {
    let mut rest = compound;
    std::iter::from_fn(move || {
        let [first, kind, high, low] = *rest.first_chunk::<HEADER>()?;
        let size = HEADER * (usize::from(u16::from_be_bytes([high, low])) + 1);
        let (bytes, behind) = rest.split_at_checked(size)?;
        rest = behind;
        Some(Packet { kind, count: first & 0x1f, bytes })
    })
}

impl Packet<'_> {
    fn receptions(&self, start: usize, each: &mut impl FnMut(Feedback)) {
        let blocks = self.bytes.get(start..).unwrap_or_default().as_chunks::<REPORT_BLOCK>().0;
        for block in blocks.iter().take(usize::from(self.count)) {
            let at = |index: usize| word(block, index).unwrap_or_default();
            each(Feedback::Reception(Reception {
                ssrc: at(0),
                lost_share: (at(4) >> 24) as f32 / 255.0,
                lost: u64::from(at(4) & 0x7f_ffff),
                highest: at(8),
                jitter: at(12),
                report: at(16),
                since_report: at(20),
            }));
        }
    }

    fn missing(&self, each: &mut impl FnMut(Feedback)) {
        let Some(ssrc) = word(self.bytes, 8) else { return };
        let entries = self.bytes.get(12..).unwrap_or_default().as_chunks::<4>().0;
        let pair = |&[a, b, c, d]: &[u8; 4]| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        each(Feedback::Missing { ssrc, packets: entries.iter().map(pair).collect() });
    }

    /// The receiver's estimate of the bandwidth: six bits of exponent, 18 bits of mantissa.
    fn bandwidth(&self) -> Option<Feedback> {
        if self.bytes.get(12..16)? != BANDWIDTH {
            return None;
        }
        let value = word(self.bytes, 16)?;
        let (exponent, mantissa) = ((value >> 18) & 0x3f, u64::from(value & 0x3_ffff));
        Some(Feedback::Bandwidth { bitrate: mantissa.checked_shl(exponent).unwrap_or(u64::MAX) })
    }

    /// A sender report without what it says of the sender is a receiver report, if it says anything then.
    fn without_sender_info(&self) -> Vec<u8> {
        let reports = self.bytes.get(HEADER + SENDER_INFO..).unwrap_or_default();
        let (Some(ssrc), true) = (self.bytes.get(4..8), self.count > 0) else {
            return Vec::new();
        };
        let words = ((HEADER + reports.len()) / 4) as u16;
        let mut report = vec![2 << 6 | self.count, RECEIVER_REPORT];
        report.extend_from_slice(&words.to_be_bytes());
        report.extend_from_slice(ssrc);
        report.extend_from_slice(reports);
        report
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// A sender report of the library's: it knows the time, but no packets.
    fn sender_report(ssrc: u32, blocks: u32) -> Vec<u8> {
        let mut report = vec![0x80c8_0006 + (blocks << 24) + 6 * blocks, ssrc, 0x1122_3344, 0x5566_7788, 0, 0, 0];
        report.extend((0..6 * blocks).map(|word| 0xb10c_0000 + word));
        words(&report)
    }

    #[test]
    fn sender_reports_get_our_figures_and_a_cname() {
        let description = words(&[0x81ca_0003, 5, 0x0104_6c69, 0x6272_0000]);
        let feedback = words(&[0x81cd_0003, 5, 6, 0x1234_0001]);
        let compound = [sender_report(5, 1), sender_report(6, 0), sender_report(7, 1), description, feedback.clone()];
        let mut asked = Vec::new();
        let complete = complete(&compound.concat(), |ssrc, middle| {
            asked.push((ssrc, middle));
            (ssrc == 5).then(|| Sent { timestamp: 90, packets: 3, octets: 300, cname: "PA_x".into() })
        });
        assert_eq!(asked, [(5, 0x3344_5566), (6, 0x3344_5566), (7, 0x3344_5566)]);
        let mut wanted = words(&[0x81c8_000c, 5, 0x1122_3344, 0x5566_7788, 90, 3, 300]);
        wanted.extend(words(&(0..6).map(|word| 0xb10c_0000 + word).collect::<Vec<_>>()));
        wanted.extend(words(&[0x81c9_0007, 7]));
        wanted.extend(words(&(0..6).map(|word| 0xb10c_0000 + word).collect::<Vec<_>>()));
        wanted.extend(feedback);
        wanted.extend(words(&[0x81ca_0003, 5]));
        wanted.extend(b"\x01\x04PA_x\0\0");
        assert_eq!(complete, wanted);
        assert!(super::complete(&sender_report(6, 0), |_, _| None).is_empty(), "nothing is left");
    }

    #[test]
    fn a_chunk_of_a_description_ends_with_a_zero() {
        for length in 0..9 {
            let mut out = Vec::new();
            describe(&[(1, "c".repeat(length)), (2, "d".into())], &mut out);
            assert_eq!(out.len() % 4, 0);
            assert_eq!(out.len() / 4 - 1, usize::from(u16::from_be_bytes([out[2], out[3]])));
            let second = 8 + (2 + length + 1).next_multiple_of(4);
            assert_eq!(out[second - 1], 0, "{length}");
            assert_eq!(word(&out, second), Some(2), "{length}");
        }
    }

    #[test]
    fn feedback_is_read() {
        let reception = [9, 0x8000_0005, 70_000, 12, 0xaaaa_bbbb, 65_536];
        let compound = [
            words(&[0x81c9_0007, 1]),
            words(&reception),
            words(&[0x81ca_0001, 1]),
            words(&[0x81cd_0004, 1, 9, 0xffff_0005, 0x0010_0000]),
            words(&[0x81ce_0002, 1, 9]),
            words(&[0x84ce_0004, 1, 0, 10, 0x0100_0000]),
            words(&[0x8fce_0005, 1, 0, u32::from_be_bytes(*b"REMB"), 0x0104_0003, 9]),
        ];
        let mut seen = Vec::new();
        assert!(!read(&compound.concat(), |each| seen.push(each)), "all of it is about what we send");
        let wanted = [
            Feedback::Reception(Reception {
                ssrc: 9,
                lost_share: 128.0 / 255.0,
                lost: 5,
                highest: 70_000,
                jitter: 12,
                report: 0xaaaa_bbbb,
                since_report: 65_536,
            }),
            Feedback::Missing { ssrc: 9, packets: vec![(0xffff, 5), (0x0010, 0)] },
            Feedback::KeyframeWanted { ssrc: 9 },
            Feedback::KeyframeWanted { ssrc: 10 },
            Feedback::Bandwidth { bitrate: 6 },
        ];
        assert_eq!(seen, wanted);
        for other in [sender_report(1, 0), words(&[0x81cb_0001, 1]), words(&[0x80cf_0001, 1])] {
            assert!(read(&other, |_| panic!("nothing about us")), "{other:x?}");
        }
    }

    #[test]
    fn nonsense_is_read_to_its_end() {
        let whole = [sender_report(5, 3), words(&[0x81cd_0004, 1, 9, 0xffff_0005, 0x0010_0000])].concat();
        for cut in 0..whole.len() {
            read(&whole[..cut], |_| {});
            complete(&whole[..cut], |_, _| None);
        }
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            let noise: Vec<u8> = (0..48)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (seed >> 33) as u8
                })
                .collect();
            let mut noise = noise;
            (noise[0], noise[1], noise[2], noise[3]) = (noise[0] | 0x80, 200 + noise[1] % 8, 0, noise[3] % 12);
            read(&noise, |_| {});
            complete(&noise, |_, _| Some(Sent { timestamp: 0, packets: 0, octets: 0, cname: "x".repeat(300) }));
        }
    }
}
