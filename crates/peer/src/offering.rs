//! Making offers: every attached track gets a section of its own, and spare sections are kept for what the other side sends.

use std::time::Instant;

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction as LibraryDirection, MediaKind as LibraryKind, Simulcast, SimulcastLayer};

use crate::channels::Channels;
use crate::negotiation::{Media, Sdp, sections};
use crate::peer::{Origin, Peer, PendingOffer, Slot, guard};
use crate::section::{Codec, Description, MediaKind, Mid, Missing, OfferOptions, Section};
use crate::{PeerError, Role};

/// What an offer is to change.
#[derive(Default)]
struct Plan {
    /// Sections of ours that have lost their track.
    vacated: Vec<Mid>,
    /// Tracks that take over a vacated section, and tracks whose section the other side had switched off.
    reused: Vec<(Mid, u64)>,
    /// Tracks that need a new section.
    added: Vec<u64>,
    /// Receive-only sections that the other side does not use, to be offered again.
    spare: Vec<Mid>,
}

impl Plan {
    fn is_empty(&self) -> bool {
        self.vacated.is_empty() && self.reused.is_empty() && self.added.is_empty()
    }
}

impl Peer {
    /// Makes an offer that brings the sections in line with the attached tracks. Returns `None` if there is nothing to say, or
    /// if an offer is still outstanding; the options are then kept, and [`Peer::wants_offer`] is true once the answer is there.
    ///
    /// # Errors
    /// [`PeerError::Closed`] if the connection has ended.
    pub fn create_offer(&mut self, now: Instant, options: OfferOptions) -> Result<Option<Description>, PeerError> {
        self.check_open()?;
        self.advance(now);
        let options = self.postponed.take().map_or(options, |postponed| merge(postponed, options));
        if self.pending.is_some() {
            self.postponed = Some(options);
            return Ok(None);
        }
        let plan = self.plan();
        let opens_channels = self.opens_channels && self.channels.is_empty();
        let asked = options.audio + options.video > 0 || options.ice_restart || options.force;
        if plan.is_empty() && !asked && !opens_channels {
            self.changed = false;
            return Ok(None);
        }
        self.prepare_streams(&plan);
        match guard(|| self.build_offer(&plan, options, opens_channels)) {
            Ok(description) => Ok(description),
            Err(panic) => {
                self.fail(panic.to_string());
                Err(panic)
            }
        }
    }

    /// Whether there is something to offer: tracks were attached or detached since the last offer, or an offer was refused
    /// because another was outstanding. Always false while an offer is outstanding.
    #[must_use]
    pub fn wants_offer(&self) -> bool {
        self.pending.is_none() && (self.changed || self.postponed.is_some())
    }

    /// Forgets the outstanding offer, whose answer will not come. What it contained is offered again next time.
    pub fn discard_offer(&mut self) {
        if self.pending.take().is_some() {
            self.channels.forget_unopened();
            self.changed = true;
        }
    }

    /// Takes the answer to the outstanding offer and returns the sections as they stand now.
    ///
    /// # Errors
    /// [`PeerError::NoOffer`] if no offer is outstanding, [`PeerError::InvalidSdp`] if the answer cannot be used, in which case
    /// the offer is given up, [`PeerError::Closed`] if the connection has ended.
    pub fn accept_answer(&mut self, now: Instant, sdp: &str) -> Result<Vec<Section>, PeerError> {
        self.check_open()?;
        self.advance(now);
        if self.pending.is_none() {
            return Err(PeerError::NoOffer);
        }
        let mut answer = Sdp::parse(sdp)?;
        answer.import(self.role == Role::Client);
        let text = answer.to_text();
        let parsed = guard(|| SdpAnswer::from_sdp_string(&text))?;
        let parsed = parsed.map_err(|error| PeerError::InvalidSdp(error.to_string()))?;
        let pending = self.pending.take().ok_or(PeerError::NoOffer)?;
        let outcome = guard(|| self.rtc.sdp_api().accept_answer(pending.token, parsed));
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                self.changed = true;
                return Err(PeerError::InvalidSdp(error.to_string()));
            }
            Err(panic) => {
                self.fail(panic.to_string());
                return Err(panic);
            }
        }
        self.settle(&answer, &pending.placed, &pending.receiving);
        self.follow_sources(&answer);
        self.channels.set_message_limit(answer.message_limit());
        let sections = sections(&answer, &answer, |mid| self.key_of(mid));
        self.refresh(sections.clone());
        Ok(sections)
    }

    fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        let inactive =
            |mid: &Mid| self.rtc.media(mid.0).is_some_and(|media| media.direction() == LibraryDirection::Inactive);
        let stopped = |mid: &Mid| self.section(*mid).is_some_and(|section| section.stopped);
        let mut free: Vec<Mid> = Vec::new();
        for section in self.sections.iter().filter(|section| !section.stopped) {
            let Some(slot) = self.slots.get(&section.mid) else {
                continue;
            };
            match (slot.origin, slot.key) {
                (Origin::OwnSending, None) => {
                    free.push(section.mid);
                    if !inactive(&section.mid) {
                        plan.vacated.push(section.mid);
                    }
                }
                (Origin::OwnSending, Some(key)) if inactive(&section.mid) => plan.reused.push((section.mid, key)),
                (Origin::OwnReceiving, _) if inactive(&section.mid) => plan.spare.push(section.mid),
                _ => {}
            }
        }
        let mut waiting: Vec<_> =
            self.tracks.iter().filter(|(_, track)| track.mid.is_none_or(|mid| stopped(&mid))).collect();
        waiting.sort_unstable_by_key(|(_, track)| track.order);
        for (key, track) in waiting {
            let takes = |mid: &&Mid| {
                // Clients that offer nothing remember which track was on which section, and ignore one that comes back to it.
                self.slots.get(mid).is_some_and(|slot| {
                    slot.kind == track.outgoing.kind
                        && slot.rids == track.outgoing.rids
                        && !slot.former.contains(&track.outgoing.track_id)
                }) && self.section(**mid).is_some_and(|section| section.takes(&track.outgoing.codecs))
            };
            match free.iter().find(takes).copied() {
                Some(mid) => {
                    free.retain(|other| *other != mid);
                    plan.vacated.retain(|other| *other != mid);
                    plan.reused.push((mid, *key));
                }
                None => plan.added.push(*key),
            }
        }
        plan
    }

    /// Gives every section that changes hands fresh streams: whoever listens must not take the new track for the old one.
    fn prepare_streams(&mut self, plan: &Plan) {
        for mid in &plan.vacated {
            let rids = self.slots.get(mid).map(|slot| slot.rids.clone()).unwrap_or_default();
            self.remove_streams(*mid, &rids);
        }
        for (mid, key) in &plan.reused {
            let Some(track) = self.tracks.get(key) else {
                continue;
            };
            let (kind, rids) = (track.outgoing.kind, track.outgoing.rids.clone());
            self.remove_streams(*mid, &rids);
            let layers: Vec<_> =
                if rids.is_empty() { vec![None] } else { rids.iter().map(|rid| Some(rid.0)).collect() };
            let mut api = self.rtc.direct_api();
            for layer in layers {
                let main = api.new_ssrc();
                let repair = (kind == MediaKind::Video).then(|| api.new_ssrc());
                api.declare_stream_tx(main, repair, mid.0, layer);
            }
        }
    }

    fn build_offer(&mut self, plan: &Plan, options: OfferOptions, opens_channels: bool) -> Option<Description> {
        let anchor = self.anchor();
        let mut api = self.rtc.sdp_api();
        let mut receiving = Vec::new();
        for (kind, count) in [(MediaKind::Audio, options.audio), (MediaKind::Video, options.video)] {
            for _ in 0..count {
                let mid = api.add_media(to_library(kind), LibraryDirection::RecvOnly, None, None, None);
                receiving.push((Mid(mid), kind));
            }
        }
        let mut announced = Vec::new();
        if opens_channels {
            for config in Channels::configurations() {
                announced.push((api.add_channel_with_config(config.clone()), config));
            }
        }
        plan.vacated.iter().for_each(|mid| api.set_direction(mid.0, LibraryDirection::Inactive));
        plan.spare.iter().for_each(|mid| api.set_direction(mid.0, LibraryDirection::RecvOnly));
        plan.reused.iter().for_each(|(mid, _)| api.set_direction(mid.0, LibraryDirection::SendOnly));
        let mut placed = plan.reused.clone();
        for key in &plan.added {
            let Some(track) = self.tracks.get(key) else {
                continue;
            };
            let simulcast = simulcast(&track.outgoing.rids);
            let kind = to_library(track.outgoing.kind);
            let mid = api.add_media(kind, LibraryDirection::SendOnly, None, None, simulcast);
            placed.push((Mid(mid), *key));
        }
        let ufrag = options.ice_restart.then(|| api.ice_restart(true).ufrag);
        if !api.has_changes()
            && let Some((mid, direction)) = anchor
        {
            // The library offers only what has changed. Adding a direction and taking it back counts, and disturbs nothing.
            api.set_direction(mid.0, LibraryDirection::SendRecv);
            api.set_direction(mid.0, direction);
        }
        let (offer, token) = api.apply()?;
        announced.iter().for_each(|(id, config)| self.channels.announce(*id, config));
        self.dirty = true;
        self.changed = false;
        Some(self.publish(offer.to_sdp_string(), token, placed, receiving, ufrag))
    }

    /// A section that is in use in exactly one direction.
    fn anchor(&self) -> Option<(Mid, LibraryDirection)> {
        self.sections.iter().find_map(|section| {
            let direction = self.rtc.media(section.mid.0)?.direction();
            let one_way = matches!(direction, LibraryDirection::SendOnly | LibraryDirection::RecvOnly);
            one_way.then_some((section.mid, direction))
        })
    }

    fn publish(
        &mut self,
        text: String,
        token: SdpPendingOffer,
        placed: Vec<(Mid, u64)>,
        receiving: Vec<(Mid, MediaKind)>,
        ufrag: Option<String>,
    ) -> Description {
        self.version += 1;
        let key_of = |mid: Mid| {
            let new = placed.iter().find(|(place, _)| *place == mid).map(|(_, key)| *key);
            new.or_else(|| self.key_of(mid))
        };
        let (sdp, sections) = match Sdp::parse(&text) {
            Ok(mut offer) => {
                offer.export(self.version);
                for media in offer.streams_mut() {
                    if let Some(track) = key_of(media.mid).and_then(|key| self.tracks.get(&key)) {
                        complete(media, &track.outgoing);
                        if self.role == Role::Server {
                            // Without it a browser estimates the bandwidth itself and tells us.
                            media.take_transport_sequence();
                        }
                    }
                }
                let sections = offer.streams().filter_map(|media| self.expect(media, key_of(media.mid))).collect();
                (offer.to_text(), sections)
            }
            Err(_) => (text, Vec::new()),
        };
        self.pending = Some(PendingOffer { token, placed, receiving, ufrag });
        Description { sdp, sections, missing: Missing::default() }
    }

    /// A section as it stands if the other side accepts it.
    fn expect(&self, media: &Media, sending: Option<u64>) -> Option<Section> {
        let known = self.section(media.mid);
        Some(Section {
            mid: media.mid,
            kind: media.kind?,
            receiving: known.is_some_and(|section| section.receiving),
            stream_id: known.and_then(|section| section.stream_id.clone()),
            track_id: known.and_then(|section| section.track_id.clone()),
            rids: known.map(|section| section.rids.clone()).unwrap_or_default(),
            sending,
            codecs: media.codecs(),
            stopped: media.stopped(),
        })
    }

    fn settle(&mut self, answer: &Sdp, placed: &[(Mid, u64)], receiving: &[(Mid, MediaKind)]) {
        for (mid, kind) in receiving {
            self.slots.insert(*mid, Slot::new(*kind, Origin::OwnReceiving));
        }
        for (mid, key) in placed {
            let Some(track) = self.tracks.get(key) else {
                // Detached while the offer was out: the next one frees the section again.
                self.changed = true;
                let Some(kind) = answer.find(*mid).and_then(|media| media.kind) else {
                    continue;
                };
                self.slots.entry(*mid).or_insert_with(|| Slot::new(kind, Origin::OwnSending));
                continue;
            };
            let slot = self.slots.entry(*mid).or_insert_with(|| Slot::new(track.outgoing.kind, Origin::OwnSending));
            slot.rids = track.outgoing.rids.clone();
            slot.key = Some(*key);
            if !slot.former.contains(&track.outgoing.track_id) {
                slot.former.push(track.outgoing.track_id.clone());
            }
        }
        let owners: Vec<(Mid, u64)> = self.slots.iter().filter_map(|(mid, slot)| Some((*mid, slot.key?))).collect();
        for (mid, key) in owners {
            if answer.find(mid).is_some_and(Media::stopped) {
                self.slots.remove(&mid);
                self.tracks.get_mut(&key).into_iter().for_each(|track| track.mid = None);
            } else {
                self.equip(key, mid);
            }
        }
    }
}

impl Section {
    pub(crate) fn takes(&self, codecs: &[Codec]) -> bool {
        codecs.is_empty() || codecs.iter().any(|codec| self.codecs.contains(codec))
    }
}

/// Completes the section of a track in an offer.
fn complete(media: &mut Media, track: &crate::Outgoing) {
    media.name_sender(track);
    if !track.codecs.is_empty() {
        media.restrict_codecs(&track.codecs);
    }
    if track.stereo {
        media.add_opus_format("stereo=1;sprop-stereo=1");
    }
    if !track.rids.is_empty() {
        media.hide_sources();
    }
}

fn merge(first: OfferOptions, second: OfferOptions) -> OfferOptions {
    OfferOptions {
        audio: first.audio + second.audio,
        video: first.video + second.video,
        ice_restart: first.ice_restart || second.ice_restart,
        force: first.force || second.force,
    }
}

fn simulcast(rids: &[crate::Rid]) -> Option<Simulcast> {
    if rids.is_empty() {
        return None;
    }
    let mut simulcast = Simulcast::new();
    rids.iter().for_each(|rid| simulcast.add_send_layer(SimulcastLayer::new(rid.as_str())));
    Some(simulcast)
}

fn to_library(kind: MediaKind) -> LibraryKind {
    match kind {
        MediaKind::Audio => LibraryKind::Audio,
        MediaKind::Video => LibraryKind::Video,
    }
}
