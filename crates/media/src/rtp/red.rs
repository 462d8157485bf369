//! Redundant audio (RFC 2198): read the blocks, build a payload.

/// Longest redundant block that a header can describe, in bytes.
pub const MAX_BLOCK_LEN: usize = 0x3ff;
/// Largest timestamp offset that a header can describe, in RTP ticks.
pub const MAX_TIMESTAMP_OFFSET: u32 = 0x3fff;

/// One block of a RED payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// RTP payload type of the block.
    pub payload_type: u8,
    /// How much earlier than the packet's timestamp it is; 0 for the primary block.
    pub timestamp_offset: u32,
    /// Its bytes, possibly none.
    pub data: &'a [u8],
}

/// A parsed RED payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Red<'a> {
    headers: &'a [u8],
    redundant: &'a [u8],
    primary: Block<'a>,
}

impl<'a> Red<'a> {
    /// Reads the headers; `None` when they are cut short or promise more bytes than there are.
    pub fn parse(payload: &'a [u8]) -> Option<Red<'a>> {
        let mut at = 0;
        let mut redundant_len = 0;
        while payload.get(at)? & 0x80 != 0 {
            let [_, _, high, low] = *payload.get(at..)?.first_chunk()?;
            redundant_len += usize::from(high & 0x03) << 8 | usize::from(low);
            at += 4;
        }
        let (headers, rest) = payload.split_at_checked(at)?;
        let (&last, rest) = rest.split_first()?;
        let (redundant, data) = rest.split_at_checked(redundant_len)?;
        Some(Red { headers, redundant, primary: Block { payload_type: last & 0x7f, timestamp_offset: 0, data } })
    }

    /// The block that the packet's own timestamp is for.
    pub fn primary(&self) -> Block<'a> {
        self.primary
    }

    /// Number of redundant blocks.
    pub fn redundant_count(&self) -> usize {
        self.headers.len() / 4
    }

    /// The copies of earlier blocks, oldest first, as they are on the wire.
    pub fn redundant(&self) -> impl Iterator<Item = Block<'a>> + use<'a> {
        let mut data = self.redundant;
        self.headers.chunks_exact(4).map_while(move |header| {
            let [first, high, middle, low] = *header.first_chunk()?;
            let len = usize::from(middle & 0x03) << 8 | usize::from(low);
            let (block, rest) = data.split_at_checked(len)?;
            data = rest;
            Some(Block {
                payload_type: first & 0x7f,
                timestamp_offset: u32::from(high) << 6 | u32::from(middle) >> 2,
                data: block,
            })
        })
    }
}

/// Builds a RED payload in `out`, which is cleared first. Redundant blocks, oldest first, that do not fit a header
/// (longer than [`MAX_BLOCK_LEN`], empty, or more than [`MAX_TIMESTAMP_OFFSET`] ago) are left out.
pub fn build(out: &mut Vec<u8>, payload_type: u8, primary: &[u8], redundant: &[Block<'_>]) {
    out.clear();
    let fits = |block: &&Block<'_>| {
        (1..=MAX_BLOCK_LEN).contains(&block.data.len()) && (1..=MAX_TIMESTAMP_OFFSET).contains(&block.timestamp_offset)
    };
    for block in redundant.iter().filter(fits) {
        let word = u32::from(block.payload_type & 0x7f) << 24
            | block.timestamp_offset << 10
            | u32::try_from(block.data.len()).unwrap_or(0)
            | 1 << 31;
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.push(payload_type & 0x7f);
    for block in redundant.iter().filter(fits) {
        out.extend_from_slice(block.data);
    }
    out.extend_from_slice(primary);
}

/// Adds the last `DEPTH` blocks to each new one, for a sender.
#[derive(Debug, Clone)]
pub struct Encoder<const DEPTH: usize> {
    history: [History; DEPTH],
}

#[derive(Debug, Clone, Default)]
struct History {
    timestamp: u32,
    data: Vec<u8>,
}

impl<const DEPTH: usize> Default for Encoder<DEPTH> {
    fn default() -> Self {
        Encoder { history: std::array::from_fn(|_| History::default()) }
    }
}

impl<const DEPTH: usize> Encoder<DEPTH> {
    /// Writes the RED payload for `primary` to `out` (cleared first) and remembers `primary` for the next ones.
    pub fn encode(&mut self, out: &mut Vec<u8>, payload_type: u8, timestamp: u32, primary: &[u8]) {
        let blocks: [Block<'_>; DEPTH] = std::array::from_fn(|index| {
            let (offset, data) = self
                .history
                .get(index)
                .map_or((0, &[][..]), |block| (timestamp.wrapping_sub(block.timestamp), block.data.as_slice()));
            Block { payload_type, timestamp_offset: offset, data }
        });
        build(out, payload_type, primary, &blocks);
        self.history.rotate_left(1.min(DEPTH));
        if let Some(last) = self.history.last_mut() {
            last.timestamp = timestamp;
            last.data.clear();
            last.data.extend_from_slice(primary);
        }
    }
}
