//! Tags that commands carry: short ones lie in place, so that no command of a usual tag allocates.

use core::fmt;
use core::ops::Deref;

use smallvec::SmallVec;

use crate::wire::tag::{self, Length, Malformed, length};

/// Bytes of tags that lie in place; a longer one is in a block of its own.
const INLINE: usize = 32;

/// A tag: 1 to 255 bytes. A shorter one is less than a longer one.
///
/// Up to 32 bytes lie in place; a longer tag takes a block of memory.
// What it holds is its preamble.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(SmallVec<[u8; 1 + INLINE]>);

impl Tag {
    /// A tag of these bytes.
    ///
    /// # Errors
    /// They are none, or more than 255.
    pub fn new(tag: &[u8]) -> Result<Self, Length> {
        let length = length(tag)?;
        let mut preamble = SmallVec::with_capacity(1 + tag.len());
        preamble.push(length);
        preamble.extend_from_slice(tag);
        Ok(Self(preamble))
    }

    /// The preamble of a stream with it: its length, and the tag.
    #[must_use]
    pub fn preamble(&self) -> &[u8] {
        &self.0
    }

    /// The tag of the preamble that these bytes begin with.
    pub(super) fn of_head(bytes: &[u8]) -> Result<Self, Malformed> {
        tag::read(bytes).map(|(tag, _)| Self(SmallVec::from_slice(&bytes[..=tag.len()])))
    }

    /// Bytes allocated for it.
    pub(super) fn heap(&self) -> usize {
        if self.0.spilled() { self.0.capacity() } else { 0 }
    }
}

impl Deref for Tag {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0[1..]
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Text(self).fmt(f)
    }
}

/// Bytes of a tag, to be shown: what is not plain ASCII is escaped.
pub(super) struct Text<'a>(pub(super) &'a [u8]);

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn a_tag_and_its_preamble_have_one_to_255_bytes_of_tag() {
        for len in [1, 32, 33, 255] {
            let bytes = alloc::vec![b't'; len];
            let tag = Tag::new(&bytes).unwrap();
            assert_eq!((&tag[..], &tag.preamble()[1..]), (&bytes[..], &bytes[..]));
            assert_eq!((usize::from(tag.preamble()[0]), tag.preamble().len()), (len, 1 + len));
        }
        for len in [0, 256] {
            let bytes = alloc::vec![b't'; len];
            assert_eq!(Tag::new(&bytes), Err(Length(len)));
        }
    }

    #[test]
    fn up_to_32_bytes_lie_in_place() {
        for (len, allocated) in [(32, false), (33, true)] {
            let bytes = alloc::vec![b't'; len];
            assert_eq!(Tag::new(&bytes).unwrap().heap() > 0, allocated);
        }
    }

    #[test]
    fn tags_are_shown_as_text_with_escapes() {
        assert_eq!(format!("{:?}", Tag::new(b"my:tag\xFF").unwrap()), "\"my:tag\\xff\"");
    }
}
