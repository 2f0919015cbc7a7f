//! Tagged streams: the preamble at the head of a stream that says whom it is for. [`read`] takes it apart, and
//! [`Tag::preamble`](crate::demux::Tag::preamble) is what is written.
//!
//! ```text
//! length: u8, 1 to 255 | tag: length bytes | payload: the rest of the stream
//! ```
//!
//! The opener of a stream writes it once, before anything else; the other direction has none. A tag is
//! bytes, of any kind, and compared as such.

/// The longest tag, in bytes.
pub const MAX_TAG: usize = u8::MAX as usize;
/// The longest preamble, in bytes: the length and the longest tag.
pub const MAX_PREAMBLE: usize = 1 + MAX_TAG;
/// The beginning of tags that belong to protocols of this family, and to no application.
pub const RESERVED_PREFIX: &[u8] = b"gapless:";

/// Why bytes do not begin with a whole preamble.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// They end within it: more bytes can make it whole.
    #[error("the preamble lacks {lacks} bytes or more")]
    Incomplete {
        /// How many more are needed; before the length has come, one.
        lacks: usize,
    },
    /// The length says zero: no bytes behind it can make it a tag.
    #[error("an empty tag")]
    Empty,
}

/// A tag that cannot be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a tag of {0} bytes; tags have 1 to {MAX_TAG}")]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Length(
    /// Its bytes.
    pub usize,
);

/// The tag that the first bytes of a stream, all that there are so far, say: 1 to 255 bytes. And the payload
/// behind the preamble; perhaps none yet.
///
/// # Errors
/// There is no whole preamble, or none can be.
#[inline]
pub fn read(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (&length, rest) = bytes.split_first().ok_or(Malformed::Incomplete { lacks: 1 })?;
    let length = usize::from(length);
    match rest.split_at_checked(length) {
        _ if length == 0 => Err(Malformed::Empty),
        Some(tag_and_payload) => Ok(tag_and_payload),
        None => Err(Malformed::Incomplete { lacks: length - rest.len() }),
    }
}

/// The length byte of a tag, unless it is empty or too long.
#[inline]
pub(crate) fn length(tag: &[u8]) -> Result<u8, Length> {
    match u8::try_from(tag.len()) {
        Ok(length @ 1..) => Ok(length),
        _ => Err(Length(tag.len())),
    }
}

/// Returns true if a tag is one of [`RESERVED_PREFIX`].
#[inline]
#[must_use]
pub fn is_reserved(tag: &[u8]) -> bool {
    tag.starts_with(RESERVED_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preamble_is_its_length_and_its_tag_and_the_rest_is_payload() {
        assert_eq!(read(b"\x03foopay"), Ok((&b"foo"[..], &b"pay"[..])));
        assert_eq!(read(b"\x03foo"), Ok((&b"foo"[..], &b""[..])));
    }

    #[test]
    fn what_is_not_whole_says_how_much_it_lacks() {
        assert_eq!(read(b""), Err(Malformed::Incomplete { lacks: 1 }));
        assert_eq!(read(b"\x03"), Err(Malformed::Incomplete { lacks: 3 }));
        assert_eq!(read(b"\x03fo"), Err(Malformed::Incomplete { lacks: 1 }));
    }

    #[test]
    fn a_length_of_zero_is_no_tag_whatever_follows() {
        assert_eq!(read(b"\x00"), Err(Malformed::Empty));
        assert_eq!(read(b"\x00hello"), Err(Malformed::Empty));
    }

    #[test]
    fn every_length_of_tag_comes_back_and_no_part_of_its_preamble_is_whole() {
        let tag: [u8; MAX_TAG] = core::array::from_fn(|at| at as u8);
        for len in 1..=MAX_TAG {
            let mut written = alloc::vec![length(&tag[..len]).unwrap()];
            written.extend_from_slice(&tag[..len]);
            assert!(written.len() <= MAX_PREAMBLE);
            assert_eq!(read(&written), Ok((&tag[..len], &b""[..])));
            for cut in 0..written.len() {
                let lacks = if cut == 0 { 1 } else { written.len() - cut };
                assert_eq!(read(&written[..cut]), Err(Malformed::Incomplete { lacks }));
            }
        }
    }

    #[test]
    fn an_empty_tag_and_one_of_256_bytes_cannot_be_written() {
        assert_eq!(length(b""), Err(Length(0)));
        assert_eq!(length(&[b't'; 256]), Err(Length(256)));
    }

    #[test]
    fn reserved_is_what_begins_with_the_whole_prefix() {
        assert!(is_reserved(b"gapless:") && is_reserved(b"gapless:feed"));
        assert!(!is_reserved(b"gapless") && !is_reserved(b"Gapless:feed") && !is_reserved(b"gap"));
    }
}
