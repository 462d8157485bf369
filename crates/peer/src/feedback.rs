//! What the other side says about the streams that we send.

use std::collections::BTreeMap;

use crate::Event;
use crate::peer::{Peer, Track};
use crate::sending::Stream;
use crate::sending::rtcp::Feedback;

impl Peer {
    /// Takes what an RTCP packet says about our streams. Returns whether the library has to see it too.
    pub(crate) fn take_feedback(&mut self, datagram: &[u8]) -> bool {
        let Some((feedback, more)) = self.sender.read_rtcp(datagram) else {
            return true;
        };
        for each in feedback {
            self.heed(each);
        }
        more
    }

    fn heed(&mut self, feedback: Feedback) {
        let now = self.now;
        match feedback {
            Feedback::Reception(reception) => {
                let rtt = self.sender.round_trip(now, reception.report, reception.since_report);
                if let Some((_, stream)) = find(&mut self.tracks, reception.ssrc) {
                    stream.received(reception, rtt);
                }
            }
            Feedback::Missing { ssrc, packets } => {
                if let Some((key, stream)) = find(&mut self.tracks, ssrc) {
                    self.sender.missing(now, key, stream, &packets);
                }
            }
            Feedback::KeyframeWanted { ssrc } => {
                if let Some((key, stream)) = find(&mut self.tracks, ssrc) {
                    stream.figures.keyframe_requests += 1;
                    self.events.push_back(Event::KeyframeRequest { key, rid: stream.rid });
                }
            }
            Feedback::Bandwidth { bitrate } => {
                let limit = self.congestion.estimated(now, bitrate);
                self.events.extend(limit.map(|bitrate| Event::Bandwidth { bitrate }));
            }
        }
    }
}

/// The stream of an SSRC, or that whose packets are sent again with it, and the key of its track.
fn find(tracks: &mut BTreeMap<u64, Track>, ssrc: u32) -> Option<(u64, &mut Stream)> {
    let streams = tracks.iter_mut().flat_map(|(key, track)| track.streams.iter_mut().map(|stream| (*key, stream)));
    let mut own = streams.filter(|(_, stream)| stream.ssrc == ssrc || stream.repair == Some(ssrc));
    own.next()
}
