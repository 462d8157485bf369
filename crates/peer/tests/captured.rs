//! Our answers to offers that real clients made.

mod common;

use std::time::Instant;

use common::*;
use greenroom_peer::{Codec, Description, MediaKind, Peer, Preference, Proto, Role};

const WHEEL: [&str; 2] = [include_str!("fixtures/wheel_join.sdp"), include_str!("fixtures/wheel_publish.sdp")];
const CHROMIUM: [&str; 2] = [include_str!("fixtures/chromium_join.sdp"), include_str!("fixtures/chromium_publish.sdp")];
const WHEEL_DUAL: &str = include_str!("fixtures/wheel_dual_publish.sdp");

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
const TWCC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
const LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const DEPENDENCIES: &str = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
const COLOR_SPACE: &str = "http://www.webrtc.org/experiments/rtp-hdrext/color-space";

fn server() -> Peer {
    Peer::new(config(Role::Server, Proto::Udp), Instant::now()).expect("the configuration is valid")
}

/// Both offers of a client, with a track of each kind attached between them.
fn answers(offers: [&str; 2]) -> [Description; 2] {
    let mut server = server();
    let first = server.accept_offer(Instant::now(), offers[0]).expect("the first offer is good");
    server.attach(1, track(MediaKind::Audio, "PA_bot", "TR_mic"));
    server.attach(2, track(MediaKind::Video, "PA_bot", "TR_cam"));
    let second = server.accept_offer(Instant::now(), offers[1]).expect("the second offer is good");
    [first, second]
}

fn mids(sdp: &str) -> Vec<&str> {
    sdp.lines().filter_map(|line| line.strip_prefix("a=mid:")).collect()
}

fn has_extension(section: &[&str], uri: &str) -> bool {
    section.iter().any(|line| line.starts_with("a=extmap:") && line.split(' ').nth(1) == Some(uri))
}

/// The number and meaning of each payload type of a section.
fn payload_types<'a>(section: &[&'a str]) -> Vec<&'a str> {
    section.iter().filter_map(|line| line.strip_prefix("a=rtpmap:")).collect()
}

#[test]
fn every_section_is_answered_in_order_with_what_was_offered() {
    for offers in [WHEEL, CHROMIUM] {
        for (offer, answer) in offers.iter().zip(answers(offers)) {
            assert_eq!(mids(&answer.sdp), mids(offer));
            let bundle = answer.sdp.lines().find_map(|line| line.strip_prefix("a=group:BUNDLE ")).expect("a bundle");
            assert_eq!(bundle.split(' ').collect::<Vec<_>>(), mids(offer));
            assert!(answer.sdp.contains("a=ice-lite"));
            assert!(!answer.sdp.contains("a=sctp-init"));
            assert!(!answer.sdp.contains("goog-sped"));
            for mid in mids(offer) {
                let (ours, theirs) = (lines(&answer.sdp, mid), lines(offer, mid));
                assert!(ours.contains(&"a=setup:passive"));
                assert!(ours.contains(&"a=ice-ufrag:serverufrag"));
                let offered = payload_types(&theirs);
                assert!(payload_types(&ours).iter().all(|map| offered.contains(map)), "{ours:?}");
                for line in ours.iter().filter(|line| line.starts_with("a=extmap:")) {
                    assert!(theirs.contains(line), "{line} was not offered as such");
                }
            }
        }
    }
}

#[test]
fn extensions_are_accepted_on_placeholders_too() {
    for offers in [WHEEL, CHROMIUM] {
        for (offer, answer) in offers.iter().zip(answers(offers)) {
            for section in &answer.sections {
                let (ours, theirs) = (lines(&answer.sdp, section.mid.as_str()), lines(offer, section.mid.as_str()));
                let (needed, wanted): (&[&str], &[&str]) = match section.kind {
                    MediaKind::Audio => (&[MID, TWCC], &[LEVEL, SEND_TIME]),
                    MediaKind::Video => (&[MID, RID, REPAIRED_RID, TWCC], &[SEND_TIME, DEPENDENCIES, COLOR_SPACE]),
                };
                assert!(needed.iter().all(|uri| has_extension(&theirs, uri)), "the fixture has them");
                for uri in needed.iter().chain(wanted).filter(|uri| has_extension(&theirs, uri)) {
                    assert!(has_extension(&ours, uri), "{uri} in section {} {ours:?}", section.mid);
                }
            }
        }
    }
}

#[test]
fn placeholders_are_inactive_until_a_track_is_there() {
    for offers in [WHEEL, CHROMIUM] {
        let [first, second] = answers(offers);
        assert_eq!(first.sections.len(), 6);
        assert_eq!(first.sdp.matches("a=inactive").count(), 6);
        assert!(!first.sdp.contains("a=ssrc:") && !first.sdp.contains("a=msid:"));
        assert!(second.missing.is_none());
        assert_eq!(second.sdp.matches("a=inactive").count(), 4);
        for (key, kind, sid) in [(1, MediaKind::Audio, "TR_mic"), (2, MediaKind::Video, "TR_cam")] {
            let section = section_of(&second.sections, key);
            assert_eq!(section.kind, kind);
            let ours = lines(&second.sdp, section.mid.as_str());
            assert!(ours.contains(&"a=sendonly"));
            assert!(ours.contains(&format!("a=msid:PA_bot|{sid} {sid}").as_str()), "{ours:?}");
            let named = |end: &str| ours.iter().any(|line| line.starts_with("a=ssrc:") && line.ends_with(end));
            assert!(named(&format!(" msid:PA_bot|{sid} {sid}")) && named(" cname:PA_bot"));
            assert_eq!(ours.iter().any(|line| line.starts_with("a=ssrc-group:FID")), kind == MediaKind::Video);
        }
    }
}

#[test]
fn published_tracks_are_recognized_and_all_layers_invited() {
    for (offers, layers) in [(WHEEL, "f;h;q"), (CHROMIUM, "q;h;f")] {
        let [_, answer] = answers(offers);
        let published: Vec<_> = answer.sections.iter().filter(|section| section.receiving).collect();
        let [audio, video] = published.as_slice() else { panic!("one of each kind: {published:?}") };
        assert_eq!((audio.kind, video.kind), (MediaKind::Audio, MediaKind::Video));
        for section in &published {
            let offered = lines(offers[1], section.mid.as_str());
            let cid = section.track_id.as_deref().expect("named by its cid");
            assert!(offered.iter().any(|line| line.starts_with("a=msid:") && line.ends_with(cid)));
        }
        let rids: Vec<&str> = video.rids.iter().map(|rid| rid.as_str()).collect();
        assert_eq!(rids.join(";"), layers);
        let ours = lines(&answer.sdp, video.mid.as_str());
        assert!(ours.contains(&"a=recvonly"));
        assert!(ours.contains(&format!("a=simulcast:recv {layers}").as_str()), "{ours:?}");
        for rid in rids {
            assert!(ours.contains(&format!("a=rid:{rid} recv").as_str()));
        }
        assert!(ours.contains(&"a=rtcp-fb:96 nack") && ours.contains(&"a=rtcp-fb:96 transport-cc"));
        assert_eq!(video.codecs.first(), Some(&Codec::Vp8));
        let ours = lines(&answer.sdp, audio.mid.as_str());
        assert!(ours.contains(&"a=rtcp-fb:111 nack"), "{ours:?}");
        let format = ours.iter().find(|line| line.starts_with("a=fmtp:111 ")).expect("the format of Opus");
        assert!(format.contains("usedtx=1") && !format.contains("stereo"), "{format}");
        assert_eq!(audio.codecs, [Codec::Red, Codec::Opus]);
    }
}

#[test]
fn preferences_shape_the_answer() {
    let mut server = server();
    let cid = |kind: &str| {
        let section =
            CHROMIUM[1].split("m=").find(|section| section.starts_with(kind) && section.contains("a=sendonly"));
        let line = section.and_then(|section| section.lines().find(|line| line.starts_with("a=msid:")));
        line.and_then(|line| line.split(' ').nth(1)).expect("a published track").to_owned()
    };
    let (audio, video) = (cid("audio"), cid("video"));
    server.prefer(&audio, Preference { codecs: vec![Codec::Opus], stereo: true, dtx: false });
    server.prefer(&video, Preference { codecs: vec![Codec::H264], ..Preference::default() });
    server.accept_offer(Instant::now(), CHROMIUM[0]).expect("the first offer is good");
    let answer = server.accept_offer(Instant::now(), CHROMIUM[1]).expect("the second offer is good");
    let section = |cid: &str| {
        let found = answer.sections.iter().find(|section| section.track_id.as_deref() == Some(cid));
        found.expect("the track has a section").clone()
    };
    // Bare Opus rules redundancy out; any other preference keeps it, at the end.
    assert_eq!(section(&audio).codecs, [Codec::Opus]);
    assert!(!lines(&answer.sdp, section(&audio).mid.as_str()).iter().any(|line| line.contains("red/48000")));
    assert_eq!(section(&video).codecs.first(), Some(&Codec::H264));
    let ours = lines(&answer.sdp, section(&audio).mid.as_str());
    let format = ours.iter().find(|line| line.starts_with("a=fmtp:111 ")).expect("the format of Opus");
    assert!(format.ends_with("stereo=1;maxaveragebitrate=510000") && !format.contains("usedtx"), "{format}");
}

#[test]
fn the_dual_modes_publisher_connection_is_answered() {
    let answer = server().accept_offer(Instant::now(), WHEEL_DUAL).expect("the offer is good");
    assert_eq!(answer.sections.len(), 2);
    assert!(answer.sections.iter().all(|section| section.receiving));
    assert!(answer.sdp.contains("a=simulcast:recv f;h;q"));
}
