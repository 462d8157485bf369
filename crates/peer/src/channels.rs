//! Data channels with a queue each, so that a busy lossy channel does not keep a reliable one waiting.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use str0m::Rtc;
use str0m::channel::{ChannelConfig, ChannelId, Reliability};

use crate::{Event, PeerConfig, PeerError};

/// The channels of the protocol: label, and whether messages on it may be lost.
const LABELS: [(&str, bool); 3] = [("_reliable", false), ("_lossy", true), ("_data_track", true)];

/// How many bytes of one channel wait inside the SCTP association. Everything beyond waits here, where it can still be
/// dropped and does not stand before the messages of other channels.
const RELIABLE_WINDOW: usize = 64 << 10;
const LOSSY_WINDOW: usize = 16 << 10;

#[derive(Debug)]
struct Channel {
    id: ChannelId,
    label: Arc<str>,
    lossy: bool,
    open: bool,
    queue: VecDeque<(bool, Bytes)>,
    queued: usize,
    refused: bool,
}

/// All data channels of one connection.
#[derive(Debug)]
pub(crate) struct Channels {
    channels: Vec<Channel>,
    reliable_backlog: usize,
    lossy_backlog: usize,
    message_limit: usize,
}

impl Channels {
    pub(crate) fn new(config: &PeerConfig) -> Self {
        Channels {
            channels: Vec::new(),
            reliable_backlog: config.reliable_backlog,
            lossy_backlog: config.lossy_backlog,
            message_limit: 64 << 10,
        }
    }

    /// Sets the longest message that the other side takes; 0 for any.
    pub(crate) fn set_message_limit(&mut self, limit: usize) {
        self.message_limit = if limit == 0 { usize::MAX } else { limit };
    }

    /// The configurations of the protocol's channels, in the order in which they are opened.
    pub(crate) fn configurations() -> impl Iterator<Item = ChannelConfig> {
        LABELS.into_iter().map(|(label, lossy)| ChannelConfig {
            label: label.to_owned(),
            ordered: !lossy,
            reliability: if lossy { Reliability::MaxRetransmits { retransmits: 0 } } else { Reliability::Reliable },
            ..ChannelConfig::default()
        })
    }

    /// Notes a channel of ours that is not open yet.
    pub(crate) fn announce(&mut self, id: ChannelId, config: &ChannelConfig) {
        self.add(id, &config.label, !config.ordered);
    }

    /// Forgets the channels that were never opened.
    pub(crate) fn forget_unopened(&mut self) {
        self.channels.retain(|channel| channel.open);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    fn add(&mut self, id: ChannelId, label: &str, lossy: bool) {
        let label = label.into();
        self.channels.push(Channel {
            id,
            label,
            lossy,
            open: false,
            queue: VecDeque::new(),
            queued: 0,
            refused: false,
        });
    }

    pub(crate) fn opened(&mut self, rtc: &mut Rtc, id: ChannelId, label: &str) -> Event {
        let mut lossy = false;
        if let Some(mut handle) = rtc.channel(id) {
            let reliable = |config: &ChannelConfig| matches!(config.reliability, Reliability::Reliable);
            lossy = handle.config().is_some_and(|config| !reliable(config));
            handle.set_buffered_amount_low_threshold(window(lossy) / 2);
        }
        if !self.channels.iter().any(|channel| channel.id == id) {
            self.add(id, label, lossy);
        }
        let mut name: Arc<str> = label.into();
        for channel in self.channels.iter_mut().filter(|channel| channel.id == id) {
            channel.open = true;
            channel.lossy = lossy;
            name = channel.label.clone();
        }
        Event::DataOpen { label: name }
    }

    pub(crate) fn closed(&mut self, id: ChannelId) -> Option<Event> {
        let index = self.channels.iter().position(|channel| channel.id == id)?;
        let channel = self.channels.remove(index);
        channel.open.then_some(Event::DataClosed { label: channel.label })
    }

    pub(crate) fn label(&self, id: ChannelId) -> Option<Arc<str>> {
        let channel = self.channels.iter().find(|channel| channel.id == id)?;
        Some(channel.label.clone())
    }

    fn by_label(&self, label: &str) -> Option<usize> {
        self.channels.iter().rposition(|channel| &*channel.label == label)
    }

    /// Queues a message; `Ok(false)` if a reliable channel has no room for it.
    pub(crate) fn push(&mut self, label: &str, binary: bool, payload: Bytes) -> Result<bool, PeerError> {
        let size = payload.len();
        if size == 0 {
            return Err(PeerError::EmptyMessage);
        }
        if size > self.message_limit {
            return Err(PeerError::MessageTooLarge { size, limit: self.message_limit });
        }
        let (reliable_backlog, lossy_backlog) = (self.reliable_backlog, self.lossy_backlog);
        let channel = self.by_label(label).and_then(|index| self.channels.get_mut(index));
        let channel = channel.ok_or_else(|| PeerError::UnknownChannel(label.to_owned()))?;
        if !channel.lossy && channel.queued > 0 && channel.queued + size > reliable_backlog {
            channel.refused = true;
            return Ok(false);
        }
        channel.queued += size;
        channel.queue.push_back((binary, payload));
        while channel.lossy && channel.queued > lossy_backlog && channel.queue.len() > 1 {
            channel.pop();
        }
        Ok(true)
    }

    /// How many bytes wait on a channel, here and in the association.
    pub(crate) fn buffered(&self, rtc: &mut Rtc, label: &str) -> usize {
        let Some(channel) = self.by_label(label).and_then(|index| self.channels.get(index)) else {
            return 0;
        };
        channel.queued + rtc.channel(channel.id).map_or(0, |mut handle| handle.buffered_amount())
    }

    /// Whether anything waits on an open channel.
    pub(crate) fn has_queued(&self) -> bool {
        self.channels.iter().any(|channel| channel.open && !channel.queue.is_empty())
    }

    /// Moves messages into the association, as far as each channel's window allows, and tells which channels that had
    /// refused a message take messages again.
    pub(crate) fn pump(&mut self, rtc: &mut Rtc) -> Vec<Event> {
        let mut events = Vec::new();
        for channel in self.channels.iter_mut().filter(|channel| channel.open) {
            channel.pump(rtc);
            if channel.refused && channel.queued <= self.reliable_backlog / 2 {
                channel.refused = false;
                events.push(Event::DataLow { label: channel.label.clone() });
            }
        }
        events
    }
}

impl Channel {
    fn pump(&mut self, rtc: &mut Rtc) {
        if self.queue.is_empty() {
            return;
        }
        let Some(mut handle) = rtc.channel(self.id) else {
            return;
        };
        while let Some((binary, payload)) = self.queue.front() {
            let buffered = handle.buffered_amount();
            if buffered > 0 && buffered + payload.len() > window(self.lossy) {
                return;
            }
            match handle.write(*binary, payload) {
                Ok(false) => return,
                Ok(true) => {}
                Err(error) => {
                    tracing::debug!(label = %self.label, %error, "a message could not be written")
                }
            }
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((_, payload)) = self.queue.pop_front() {
            self.queued -= payload.len();
        }
    }
}

fn window(lossy: bool) -> usize {
    if lossy { LOSSY_WINDOW } else { RELIABLE_WINDOW }
}
