//! Answering offers: attached tracks are matched to the receive-only sections that the other side offers.

use std::collections::{HashMap, HashSet};

use str0m::change::{SdpAnswer, SdpOffer};
use str0m::media::Rid as LibraryRid;

use crate::negotiation::{Direction, Media, Sdp, sections};
use crate::peer::{Origin, Peer, Slot, Track, guard};
use crate::section::{Codec, Description, MediaKind, Mid, Missing, Preference, Section};
use crate::sending::header::ExtensionIds;
use crate::{PeerError, Role, payload};

impl Peer {
    /// Sets how to receive a track of the other side: heeded in every answer from now on, in the section whose msid has this
    /// track id.
    pub fn prefer(&mut self, track_id: &str, preference: Preference) {
        self.preferences.insert(track_id.to_owned(), preference);
    }

    /// Forgets what was preferred for a track.
    pub fn forget_preference(&mut self, track_id: &str) {
        self.preferences.remove(track_id);
    }

    /// Takes an offer and answers it. Attached tracks get the receive-only sections that are offered; sections for which there
    /// is no track are answered `inactive`.
    ///
    /// # Errors
    /// [`PeerError::InvalidSdp`] if the offer cannot be used; nothing has changed then. [`PeerError::Closed`] if the connection
    /// has ended.
    pub fn accept_offer(&mut self, now: std::time::Instant, sdp: &str) -> Result<Description, PeerError> {
        self.check_open()?;
        self.advance(now);
        let mut offer = Sdp::parse(sdp)?;
        offer.import(self.role == Role::Client);
        let plan = self.assign(&offer);
        let inviting: HashSet<Mid> = inviting(&offer).map(|media| media.mid).collect();
        for media in offer.streams_mut() {
            match media.direction() {
                Direction::RecvOnly if !plan.contains_key(&media.mid) => media.set_direction(Direction::Inactive),
                Direction::SendRecv => media.set_direction(Direction::SendOnly),
                _ => {}
            }
        }
        let set_aside = self.set_aside(&mut offer, &inviting);
        let parsed = guard(|| SdpOffer::from_sdp_string(&offer.to_text()))?;
        let parsed = parsed.map_err(|error| PeerError::InvalidSdp(error.to_string()))?;
        // An offer of ours that is still out is void as soon as the other side's is taken.
        let interrupted = self.pending.is_some();
        self.discard_offer();
        self.vacate(&offer, &plan);
        let answer = match guard(|| self.rtc.sdp_api().accept_offer(parsed)) {
            Ok(answer) => answer.map_err(|error| PeerError::InvalidSdp(error.to_string()))?,
            Err(panic) => {
                self.fail(panic.to_string());
                return Err(panic);
            }
        };
        self.occupy(&offer, &plan, &inviting);
        self.changed = interrupted;
        self.follow_sources(&offer);
        self.channels.set_message_limit(offer.message_limit());
        Ok(self.describe(&offer, answer, set_aside))
    }

    /// Keeps sequence numbers for the whole transport out of what we send: without them a browser estimates the bandwidth, and
    /// tells us. They stay in the answer all the same, because a browser offers for its next section only what was accepted
    /// before.
    fn set_aside(&self, offer: &mut Sdp, inviting: &HashSet<Mid>) -> HashMap<Mid, String> {
        let sections = offer.streams_mut().filter(|media| inviting.contains(&media.mid));
        sections.filter_map(|media| Some((media.mid, media.take_transport_sequence()?))).collect()
    }

    /// How many sections of each kind the other side has to add so that all attached tracks can be sent. Tracks that will get
    /// a free section with the next offer do not count.
    #[must_use]
    pub fn missing(&self) -> Missing {
        let mut free: Vec<&Section> = self.sections.iter().filter(|section| self.is_free(section)).collect();
        let mut missing = Missing::default();
        let mut waiting: Vec<&Track> = self.tracks.values().filter(|track| track.mid.is_none()).collect();
        waiting.sort_unstable_by_key(|track| track.order);
        for track in waiting {
            let suits =
                |section: &&Section| section.kind == track.outgoing.kind && section.takes(&track.outgoing.codecs);
            match free.iter().position(suits) {
                Some(index) => drop(free.remove(index)),
                None if track.outgoing.kind == MediaKind::Audio => missing.audio += 1,
                None => missing.video += 1,
            }
        }
        missing
    }

    fn is_free(&self, section: &Section) -> bool {
        self.slots.get(&section.mid).is_some_and(|slot| slot.inviting && slot.key.is_none()) && !section.stopped
    }

    /// Which track goes to which section: those that have one keep it, the others take free ones in the order in which they
    /// were attached, preferably such that were not in use just now.
    fn assign(&self, offer: &Sdp) -> HashMap<Mid, u64> {
        let offered: Vec<&Media> = inviting(offer).collect();
        let mut plan = HashMap::new();
        let mut waiting = Vec::new();
        for (key, track) in &self.tracks {
            match track.mid.filter(|mid| offered.iter().any(|media| media.mid == *mid)) {
                Some(mid) => drop(plan.insert(mid, *key)),
                None => waiting.push((track.order, *key, track)),
            }
        }
        waiting.sort_unstable_by_key(|(order, ..)| *order);
        let just_used: HashSet<Mid> = self.sections.iter().filter(|s| s.sending.is_some()).map(|s| s.mid).collect();
        for (_, key, track) in waiting {
            let mut free = offered.iter().filter(|media| !plan.contains_key(&media.mid) && suits(track, media));
            let best = free.clone().find(|media| !just_used.contains(&media.mid)).or_else(|| free.next());
            if let Some(media) = best {
                plan.insert(media.mid, key);
            }
        }
        plan
    }

    /// Takes away the streams of sections that change hands, so that the new owner gets streams of its own.
    fn vacate(&mut self, offer: &Sdp, plan: &HashMap<Mid, u64>) {
        self.slots.retain(|mid, _| offer.find(*mid).is_some());
        for track in self.tracks.values_mut() {
            track.mid = track.mid.filter(|mid| plan.contains_key(mid));
            if track.mid.is_none() {
                track.streams.clear();
            }
        }
        let changed: Vec<Mid> = self
            .slots
            .iter()
            .filter(|(mid, slot)| slot.key.is_none() || slot.key != plan.get(mid).copied())
            .map(|(mid, _)| *mid)
            .collect();
        for mid in changed {
            self.remove_streams(mid, &[]);
        }
    }

    pub(crate) fn remove_streams(&mut self, mid: Mid, rids: &[crate::Rid]) {
        let mut api = self.rtc.direct_api();
        let rids: Vec<Option<LibraryRid>> = rids.iter().map(|rid| Some(rid.0)).chain([None]).collect();
        for rid in rids {
            if let Some(ssrc) = api.stream_tx_by_mid(mid.0, rid).map(|stream| stream.ssrc()) {
                api.remove_stream_tx(ssrc);
            }
        }
    }

    fn occupy(&mut self, offer: &Sdp, plan: &HashMap<Mid, u64>, inviting: &HashSet<Mid>) {
        for media in offer.streams() {
            let Some(kind) = media.kind else { continue };
            let slot = self.slots.entry(media.mid).or_insert_with(|| Slot::new(kind, Origin::Remote));
            slot.key = plan.get(&media.mid).copied();
            slot.inviting = inviting.contains(&media.mid);
        }
        for (mid, key) in plan {
            self.equip(*key, *mid);
        }
    }

    /// Notes where a track's packets go, now that its section is agreed on.
    pub(crate) fn equip(&mut self, key: u64, mid: Mid) {
        let Some(track) = self.tracks.get_mut(&key) else {
            return;
        };
        track.mid = Some(mid);
        track.formats = payload::negotiated(&self.rtc, mid.0, track.outgoing.kind);
        track.extensions =
            self.rtc.media(mid.0).map(|media| ExtensionIds::new(media.remote_extmap())).unwrap_or_default();
        let rids: Vec<Option<crate::Rid>> = match track.outgoing.rids.as_slice() {
            [] => vec![None],
            rids => rids.iter().copied().map(Some).collect(),
        };
        let mut api = self.rtc.direct_api();
        let sender = &mut self.sender;
        let mut known = std::mem::take(&mut track.streams);
        let stream = |rid: Option<crate::Rid>| {
            let stream = api.stream_tx_by_mid(mid.0, rid.map(|rid| rid.0))?;
            let (ssrc, repair) = (*stream.ssrc(), stream.rtx().map(|ssrc| *ssrc));
            match known.iter().position(|known| known.ssrc == ssrc) {
                Some(index) => Some(known.swap_remove(index)),
                None => sender.open(rid, ssrc, repair),
            }
        };
        track.streams = rids.into_iter().filter_map(stream).collect();
    }

    /// Forgets the sources that the other side does not use any more, lest they pile up.
    pub(crate) fn follow_sources(&mut self, remote: &Sdp) {
        let mut gone: Vec<u32> = Vec::new();
        for media in remote.streams() {
            let recovers_opus = self.recovers_opus(media);
            let Some(slot) = self.slots.get_mut(&media.mid) else { continue };
            let silent = !media.direction().sends() || media.stopped();
            let announced = if silent { Vec::new() } else { media.ssrcs() };
            gone.extend(slot.announced.iter().filter(|ssrc| !announced.contains(ssrc)));
            if silent {
                gone.extend(self.sources.iter().filter(|(_, (mid, _))| *mid == media.mid).map(|(ssrc, _)| *ssrc));
            }
            slot.announced = announced;
            slot.recovers_opus = recovers_opus;
        }
        self.sources.retain(|ssrc, (mid, _)| !gone.contains(ssrc) && remote.find(*mid).is_some());
        let mut api = self.rtc.direct_api();
        for ssrc in gone {
            api.remove_stream_rx(ssrc.into());
        }
    }

    fn describe(&mut self, offer: &Sdp, answer: SdpAnswer, mut set_aside: HashMap<Mid, String>) -> Description {
        let text = answer.to_sdp_string();
        self.version += 1;
        let (sdp, sections) = match Sdp::parse(&text) {
            Ok(mut answer) => {
                self.complete(offer, &mut answer);
                for media in answer.streams_mut() {
                    set_aside.remove(&media.mid).into_iter().for_each(|line| media.put_transport_sequence(line));
                }
                (answer.to_text(), sections(offer, &answer, |mid| self.key_of(mid)))
            }
            Err(_) => (text, Vec::new()),
        };
        self.refresh(sections.clone());
        Description { sdp, sections, missing: self.missing() }
    }

    /// Whether lost Opus packets can be had again from the sender of a section. Browsers do not offer it, but do it.
    fn recovers_opus(&self, remote: &Media) -> bool {
        self.role == Role::Server || remote.has_opus_nack()
    }

    fn complete(&self, offer: &Sdp, answer: &mut Sdp) {
        answer.export(self.version);
        let usual = Preference::default();
        for media in answer.streams_mut() {
            let Some(offered) = offer.find(media.mid) else {
                continue;
            };
            if let Some(track) = self.key_of(media.mid).and_then(|key| self.tracks.get(&key)) {
                media.name_sender(&track.outgoing);
            }
            let named = offered.msid().and_then(|(_, track)| self.preferences.get(track));
            let preference = named.unwrap_or(&usual);
            media.retain_offered(offered);
            media.restrict_codecs(&codec_order(offered, &preference.codecs));
            if offered.direction().sends() && media.kind == Some(MediaKind::Audio) {
                if self.recovers_opus(offered) {
                    media.add_opus_nack();
                }
                if preference.dtx {
                    media.add_opus_format("usedtx=1");
                }
                if preference.stereo {
                    media.add_opus_format("stereo=1;maxaveragebitrate=510000");
                }
            }
        }
    }
}

impl Slot {
    pub(crate) fn new(kind: MediaKind, origin: Origin) -> Self {
        Slot {
            kind,
            origin,
            key: None,
            rids: Vec::new(),
            former: Vec::new(),
            inviting: false,
            announced: Vec::new(),
            recovers_opus: false,
        }
    }
}

/// The sections on which the other side offers to receive.
fn inviting<'s, 't>(offer: &'s Sdp<'t>) -> impl Iterator<Item = &'s Media<'t>> {
    offer.streams().filter(|media| media.direction() == Direction::RecvOnly && !media.stopped())
}

fn suits(track: &Track, media: &Media) -> bool {
    let wanted = &track.outgoing.codecs;
    media.kind == Some(track.outgoing.kind)
        && (wanted.is_empty() || media.codecs().iter().any(|codec| wanted.contains(codec)))
}

fn codec_order(offered: &Media, preferred: &[Codec]) -> Vec<Codec> {
    let mut rest = offered.codecs();
    let mut order: Vec<Codec> = preferred.iter().copied().filter(|codec| rest.contains(codec)).collect();
    rest.sort_by_key(|codec| (*codec == Codec::Red) != preferred.is_empty());
    // Who prefers bare Opus has asked for no redundancy; what is encrypted could not be taken apart again.
    rest.retain(|codec| *codec != Codec::Red || preferred != [Codec::Opus]);
    order.extend(rest);
    order
}
