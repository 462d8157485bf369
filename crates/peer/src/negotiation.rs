//! Session descriptions as text: everything that is read from one or changed in one, beyond what the WebRTC library does.
//!
//! The library answers and offers correctly, but on its own terms: it picks the msid and cname, takes every receive-only
//! section offered as an invitation to send, orders codecs by its own taste. So each description passes through here on its
//! way in and on its way out. A [`Sdp`] borrows the lines of the original text and owns only those that were changed.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::PeerError;
use crate::section::{Codec, MediaKind, Mid, Outgoing, Rid, Section};

/// The longest description taken, in bytes: some 2000 sections of a browser.
const LONGEST: usize = 6 << 20;
const MOST_SECTIONS: usize = 2048;
/// What RFC 8841 says where the description says nothing.
const DEFAULT_MESSAGE_LIMIT: usize = 64 << 10;

/// The library knows this extension by name but drops its values, so it is negotiated under a name of our own.
const COLOR_SPACE: &str = "http://www.webrtc.org/experiments/rtp-hdrext/color-space";
const TRANSPORT_SEQUENCE: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
pub(crate) const COLOR_SPACE_ALIAS: &str = "urn:x-greenroom:color-space";

/// A direction as its author sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    const ALL: [Direction; 4] = [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];

    fn line(self) -> &'static str {
        match self {
            Direction::SendRecv => "a=sendrecv",
            Direction::SendOnly => "a=sendonly",
            Direction::RecvOnly => "a=recvonly",
            Direction::Inactive => "a=inactive",
        }
    }

    pub(crate) fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }
}

/// A session description, split into its session part and its sections.
#[derive(Debug)]
pub(crate) struct Sdp<'a> {
    session: Vec<Cow<'a, str>>,
    pub(crate) media: Vec<Media<'a>>,
}

/// One `m=` section. Only audio and video sections have a kind.
#[derive(Debug)]
pub(crate) struct Media<'a> {
    pub(crate) kind: Option<MediaKind>,
    pub(crate) mid: Mid,
    lines: Vec<Cow<'a, str>>,
}

impl<'a> Sdp<'a> {
    /// Splits a description that comes from outside, and refuses what could not be answered in its own words.
    pub(crate) fn parse(text: &'a str) -> Result<Self, PeerError> {
        if text.len() > LONGEST {
            return Err(invalid("it is too long"));
        }
        let mut sdp = Sdp { session: Vec::new(), media: Vec::new() };
        let mut section: Vec<Cow<'a, str>> = Vec::new();
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            if line.starts_with("m=") {
                sdp.close_section(std::mem::take(&mut section))?;
            }
            section.push(Cow::Borrowed(line));
        }
        sdp.close_section(section)?;
        if sdp.media.is_empty() {
            return Err(invalid("it has no media section"));
        }
        let mut seen = HashSet::new();
        match sdp.media.iter().find(|media| !seen.insert(media.mid)) {
            Some(twice) => Err(invalid(&format!("mid {} occurs twice", twice.mid))),
            None => Ok(sdp),
        }
    }

    fn close_section(&mut self, lines: Vec<Cow<'a, str>>) -> Result<(), PeerError> {
        if !lines.first().is_some_and(|first| first.starts_with("m=")) {
            self.session = lines;
            return Ok(());
        }
        if self.media.len() == MOST_SECTIONS {
            return Err(invalid("it has too many media sections"));
        }
        self.media.push(Media::new(lines)?);
        Ok(())
    }

    /// The text, with CRLF line ends.
    pub(crate) fn to_text(&self) -> String {
        let lines = || self.session.iter().chain(self.media.iter().flat_map(|media| &media.lines));
        let mut text = String::with_capacity(lines().map(|line| line.len() + 2).sum());
        for line in lines() {
            text.push_str(line);
            text.push_str("\r\n");
        }
        text
    }

    pub(crate) fn find(&self, mid: Mid) -> Option<&Media<'a>> {
        self.media.iter().find(|media| media.mid == mid)
    }

    /// The audio and video sections.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &Media<'a>> {
        self.media.iter().filter(|media| media.kind.is_some())
    }

    pub(crate) fn streams_mut(&mut self) -> impl Iterator<Item = &mut Media<'a>> {
        self.media.iter_mut().filter(|media| media.kind.is_some())
    }

    /// The longest message that its author takes on a data channel, in bytes; 0 for any.
    pub(crate) fn message_limit(&self) -> usize {
        let mut limits = self.media.iter().flat_map(|media| media.attributes("a=max-message-size:"));
        limits.find_map(|limit| limit.parse().ok()).unwrap_or(DEFAULT_MESSAGE_LIMIT)
    }

    /// Prepares a description of the other side for the library.
    pub(crate) fn import(&mut self, keep_candidates: bool) {
        let unwanted = |line: &str| {
            // The other side may offer to shorten the SCTP handshake; once taken it would have to be repeated for ever.
            line.starts_with("a=sctp-init:")
                || (line.starts_with("a=candidate:") && !(keep_candidates && is_literal_candidate(line)))
        };
        self.session.retain(|line| !unwanted(line));
        for media in &mut self.media {
            media.lines.retain(|line| !unwanted(line));
            media.rename_extension(COLOR_SPACE, COLOR_SPACE_ALIAS);
        }
    }

    /// Completes a description of the library for the other side. Every description of a session has a higher version than
    /// the one before.
    pub(crate) fn export(&mut self, version: u64) {
        for line in &mut self.session {
            if line.starts_with("a=msid-semantic:") {
                *line = Cow::Borrowed("a=msid-semantic: WMS *");
            } else if line.starts_with("o=") {
                let session = line.split(' ').nth(1).unwrap_or("0");
                *line = Cow::Owned(format!("o=- {session} {version} IN IP4 0.0.0.0"));
            }
        }
        for media in &mut self.media {
            media.rename_extension(COLOR_SPACE_ALIAS, COLOR_SPACE);
            if media.kind.is_some() && !media.direction().sends() {
                media.hide_sender();
            }
        }
    }
}

impl<'a> Media<'a> {
    fn new(lines: Vec<Cow<'a, str>>) -> Result<Self, PeerError> {
        let first = lines.first().map_or("", |line| line.as_ref());
        let kind = match first.split(['=', ' ']).nth(1) {
            Some("audio") => Some(MediaKind::Audio),
            Some("video") => Some(MediaKind::Video),
            Some("application") => None,
            _ => {
                return Err(invalid("it has a section that is neither audio, video nor application"));
            }
        };
        let mid = lines.iter().find_map(|line| line.strip_prefix("a=mid:"));
        let mid = mid.ok_or_else(|| invalid("it has a section without a=mid"))?;
        if mid.is_empty() || mid.len() > 16 || !mid.bytes().all(is_identifier) {
            return Err(invalid("it has a mid that is not made of 1 to 16 letters, digits or underscores"));
        }
        let media = Media { kind, mid: Mid::from(mid), lines };
        if media.attributes("a=rid:").any(|rid| !rid.split(' ').next().is_some_and(is_rid)) {
            return Err(invalid("it has a rid that is not made of 1 to 8 letters, digits or underscores"));
        }
        Ok(media)
    }

    /// What follows the prefix in each line that has it.
    fn attributes<'s>(&'s self, prefix: &'s str) -> impl Iterator<Item = &'s str> {
        self.lines.iter().filter_map(move |line| line.strip_prefix(prefix))
    }

    pub(crate) fn direction(&self) -> Direction {
        let has = |direction: &Direction| self.lines.iter().any(|line| line == direction.line());
        Direction::ALL.into_iter().find(has).unwrap_or(Direction::Inactive)
    }

    pub(crate) fn set_direction(&mut self, direction: Direction) {
        for line in &mut self.lines {
            if Direction::ALL.iter().any(|any| any.line() == line) {
                *line = Cow::Borrowed(direction.line());
            }
        }
    }

    /// Whether the section was given up: port 0 without being part of the bundle.
    pub(crate) fn stopped(&self) -> bool {
        let port = self.lines.first().and_then(|line| line.split(' ').nth(1));
        port == Some("0") && !self.lines.iter().any(|line| line == "a=bundle-only")
    }

    /// The stream and track id of its sender.
    pub(crate) fn msid(&self) -> Option<(&str, &str)> {
        let own = self.attributes("a=msid:").next();
        let value = own.or_else(|| {
            let mut sources = self.attributes("a=ssrc:").filter_map(|line| line.split_once(" msid:"));
            sources.next().map(|(_, msid)| msid)
        })?;
        let mut parts = value.split_ascii_whitespace();
        Some((parts.next()?, parts.next().unwrap_or_default()))
    }

    /// The SSRCs that its sender announces, those for retransmission included.
    pub(crate) fn ssrcs(&self) -> Vec<u32> {
        let mut ssrcs: Vec<u32> =
            self.attributes("a=ssrc:").filter_map(|line| line.split(' ').next()?.parse().ok()).collect();
        ssrcs.dedup();
        ssrcs
    }

    /// The simulcast layers that it sends, paused ones included.
    pub(crate) fn rids(&self) -> Vec<Rid> {
        let listed = self.attributes("a=simulcast:").flat_map(|line| {
            let mut words = line.split(' ').skip_while(|word| *word != "send");
            let layers = words.nth(1).unwrap_or_default();
            layers.split([';', ',']).map(|rid| rid.trim_start_matches('~')).filter(|rid| is_rid(rid))
        });
        listed.map(Rid::from).collect()
    }

    /// The payload types of its `m=` line, in order.
    fn payload_types(&self) -> impl Iterator<Item = &str> {
        self.lines.first().into_iter().flat_map(|line| line.split(' ').skip(3))
    }

    fn codec_of(&self, payload_type: &str) -> Option<Codec> {
        let mut maps = self.attributes("a=rtpmap:");
        let name = maps.find_map(|map| map.strip_prefix(payload_type)?.strip_prefix(' '))?;
        let (name, rate) = name.split_once('/')?;
        let named = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        match () {
            () if named("opus") => Some(Codec::Opus),
            () if named("red") && rate.starts_with("48000/2") => Some(Codec::Red),
            () if named("VP8") => Some(Codec::Vp8),
            () if named("H264") => Some(Codec::H264),
            () if named("VP9") => Some(Codec::Vp9),
            () if named("AV1") => Some(Codec::Av1),
            () => None,
        }
    }

    /// Its codecs, the preferred one first.
    pub(crate) fn codecs(&self) -> Vec<Codec> {
        let mut codecs = Vec::new();
        for codec in self.payload_types().filter_map(|pt| self.codec_of(pt)) {
            if !codecs.contains(&codec) {
                codecs.push(codec);
            }
        }
        codecs
    }

    fn order_codecs(&mut self, order: &[Codec]) {
        let rank = |pt: &str| {
            let codec = self.codec_of(pt).or_else(|| self.codec_of(self.repaired_by(pt)?));
            codec.and_then(|codec| order.iter().position(|wanted| *wanted == codec)).unwrap_or(order.len())
        };
        let mut types: Vec<String> = self.payload_types().map(str::to_owned).collect();
        types.sort_by_cached_key(|pt| rank(pt));
        self.set_payload_types(&types);
    }

    /// Drops the codecs that are not in the list, and orders the rest by it.
    pub(crate) fn restrict_codecs(&mut self, wanted: &[Codec]) {
        let keep = |pt: &str| {
            let codec = self.codec_of(pt).or_else(|| self.codec_of(self.repaired_by(pt)?));
            codec.is_some_and(|codec| wanted.contains(&codec))
        };
        let types: Vec<String> = self.payload_types().filter(|pt| keep(pt)).map(str::to_owned).collect();
        if types.is_empty() {
            return;
        }
        self.keep_payload_types(&types);
        self.order_codecs(wanted);
    }

    /// Drops the payload types that the other side did not offer in this section. The library keeps one table for all
    /// sections, so it may have learned of them from another one.
    pub(crate) fn retain_offered(&mut self, offered: &Media) {
        let known: HashSet<&str> = offered.payload_types().collect();
        let types: Vec<String> = self.payload_types().filter(|pt| known.contains(pt)).map(str::to_owned).collect();
        if !types.is_empty() {
            self.keep_payload_types(&types);
        }
    }

    fn keep_payload_types(&mut self, types: &[String]) {
        self.set_payload_types(types);
        self.lines.retain(|line| {
            let rest = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"].iter().find_map(|prefix| line.strip_prefix(prefix));
            rest.and_then(|rest| rest.split(' ').next()).is_none_or(|pt| types.iter().any(|kept| kept == pt))
        });
    }

    /// The payload type whose packets this one retransmits.
    fn repaired_by(&self, payload_type: &str) -> Option<&str> {
        let mut formats = self.attributes("a=fmtp:");
        formats.find_map(|format| format.strip_prefix(payload_type)?.strip_prefix(" apt="))
    }

    fn set_payload_types(&mut self, types: &[String]) {
        if let Some(first) = self.lines.first_mut() {
            let head: Vec<&str> = first.split(' ').take(3).collect();
            *first = Cow::Owned(format!("{} {}", head.join(" "), types.join(" ")));
        }
    }

    /// Appends parameters to the format line of Opus.
    pub(crate) fn add_opus_format(&mut self, parameters: &str) {
        self.after_opus("a=fmtp:", |line| {
            *line = Cow::Owned(format!("{line};{parameters}"));
            None
        });
    }

    /// Asks for retransmission of lost Opus packets.
    pub(crate) fn add_opus_nack(&mut self) {
        self.after_opus("a=rtpmap:", |line| {
            let payload_type = line.strip_prefix("a=rtpmap:")?.split(' ').next()?;
            Some(format!("a=rtcp-fb:{payload_type} nack"))
        });
    }

    /// Whether its author sends lost Opus packets again, or asks for that.
    pub(crate) fn has_opus_nack(&self) -> bool {
        let opus = self.payload_types().find(|pt| self.codec_of(pt) == Some(Codec::Opus));
        opus.is_some_and(|opus| self.attributes("a=rtcp-fb:").any(|feedback| feedback == format!("{opus} nack")))
    }

    fn after_opus(&mut self, prefix: &str, edit: impl FnOnce(&mut Cow<'a, str>) -> Option<String>) {
        let opus = self.payload_types().find(|pt| self.codec_of(pt) == Some(Codec::Opus)).map(str::to_owned);
        let Some(opus) = opus else { return };
        let start = format!("{prefix}{opus} ");
        if let Some(index) = self.lines.iter().position(|line| line.starts_with(&start))
            && let Some(line) = self.lines.get_mut(index)
            && let Some(added) = edit(line)
        {
            self.lines.insert(index + 1, Cow::Owned(added));
        }
    }

    /// Names the sender of the section: its msid, and the cname of its sources.
    pub(crate) fn name_sender(&mut self, track: &Outgoing) {
        let msid = format!("{} {}", track.stream_id, track.track_id);
        for line in &mut self.lines {
            let renamed = match line.strip_prefix("a=ssrc:").and_then(|source| source.split_once(' ')) {
                Some((ssrc, value)) if value.starts_with("msid:") => {
                    format!("a=ssrc:{ssrc} msid:{msid}")
                }
                Some((ssrc, value)) if value.starts_with("cname:") => {
                    format!("a=ssrc:{ssrc} cname:{}", track.cname)
                }
                _ if line.starts_with("a=msid:") => format!("a=msid:{msid}"),
                _ => continue,
            };
            *line = Cow::Owned(renamed);
        }
    }

    /// Drops the lines that announce SSRCs, which layers told apart by their rid must not have.
    pub(crate) fn hide_sources(&mut self) {
        self.lines.retain(|line| !line.starts_with("a=ssrc:") && !line.starts_with("a=ssrc-group:"));
    }

    fn hide_sender(&mut self) {
        self.hide_sources();
        self.lines.retain(|line| !line.starts_with("a=msid:"));
    }

    /// Takes out the line that negotiates sequence numbers for the whole transport.
    pub(crate) fn take_transport_sequence(&mut self) -> Option<String> {
        let matches = |line: &Cow<str>| line.starts_with("a=extmap:") && line.ends_with(TRANSPORT_SEQUENCE);
        let index = self.lines.iter().position(matches)?;
        Some(self.lines.remove(index).into_owned())
    }

    /// Puts such a line back.
    pub(crate) fn put_transport_sequence(&mut self, line: String) {
        let after_mid =
            self.lines.iter().position(|line| line.starts_with("a=mid:")).map_or(self.lines.len(), |at| at + 1);
        self.lines.insert(after_mid, Cow::Owned(line));
    }

    fn rename_extension(&mut self, from: &str, to: &str) {
        for line in &mut self.lines {
            if line.starts_with("a=extmap:")
                && let Some(head) = line.strip_suffix(from)
            {
                *line = Cow::Owned(format!("{head}{to}"));
            }
        }
    }
}

/// The audio and video sections as they stand after an exchange: `remote` is what the other side said, `answer` the answer,
/// whoever made it.
pub(crate) fn sections(remote: &Sdp, answer: &Sdp, sending: impl Fn(Mid) -> Option<u64>) -> Vec<Section> {
    let section = |media: &Media| {
        let kind = media.kind?;
        let answered = answer.find(media.mid);
        let receiving = media.direction().sends() && !media.stopped();
        let msid = media.msid().filter(|_| receiving);
        Some(Section {
            mid: media.mid,
            kind,
            receiving,
            stream_id: msid.map(|(stream, _)| stream.to_owned()),
            track_id: msid.map(|(_, track)| track.to_owned()),
            rids: if receiving { media.rids() } else { Vec::new() },
            sending: sending(media.mid),
            codecs: answered.map(Media::codecs).unwrap_or_default(),
            stopped: media.stopped(),
        })
    };
    remote.media.iter().filter_map(section).collect()
}

/// Whether the text is a candidate with an address in digits, of a transport and type that can be used.
pub(crate) fn is_literal_candidate(text: &str) -> bool {
    let mut words = text.trim_start_matches("a=").split_ascii_whitespace();
    let transport =
        words.nth(2).is_some_and(|word| word.eq_ignore_ascii_case("udp") || word.eq_ignore_ascii_case("tcp"));
    transport && words.nth(1).is_some_and(|address| address.parse::<std::net::IpAddr>().is_ok())
}

fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_rid(text: &str) -> bool {
    (1..=8).contains(&text.len()) && text.bytes().all(is_identifier)
}

fn invalid(reason: &str) -> PeerError {
    PeerError::InvalidSdp(reason.to_owned())
}
