//! Finding out for whom a first datagram is meant.

const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const HEADER: usize = 20;
const USERNAME: u16 = 0x0006;

/// Reads the local user name fragment out of a STUN binding request: the part of USERNAME before the colon, which names the
/// peer that the datagram is meant for. Returns `None` for everything else, and never panics.
///
/// Nothing is authenticated here; the peer itself checks the message.
#[must_use]
pub fn stun_ufrag(datagram: &[u8]) -> Option<&str> {
    let (header, mut rest) = datagram.split_at_checked(HEADER)?;
    if !header.starts_with(&BINDING_REQUEST) || header.get(4..8)? != MAGIC_COOKIE {
        return None;
    }
    while let Some((attribute, tail)) = rest.split_at_checked(4) {
        let [a, b, c, d] = attribute.try_into().ok()?;
        let length = usize::from(u16::from_be_bytes([c, d]));
        if u16::from_be_bytes([a, b]) == USERNAME {
            let name = std::str::from_utf8(tail.get(..length)?).ok()?;
            return name.split_once(':').map(|(local, _)| local);
        }
        rest = tail.get(length.next_multiple_of(4)..)?;
    }
    None
}
