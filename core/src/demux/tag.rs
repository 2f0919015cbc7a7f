//! Tags and preambles that commands carry: short ones lie in place, so that no command of a usual tag
//! allocates.

use core::fmt;
use core::ops::Deref;

use smallvec::SmallVec;

use crate::wire::tag::{Head, Length, Malformed, length};

/// Bytes of tags that lie in place; a longer one is in a block of its own.
const INLINE: usize = 32;

/// A tag: 1 to 255 bytes.
///
/// Up to 32 bytes lie in place; a longer tag takes a block of memory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(SmallVec<[u8; INLINE]>);

impl Tag {
    /// A tag of these bytes.
    ///
    /// # Errors
    /// They are none, or more than 255.
    pub fn new(tag: &[u8]) -> Result<Self, Length> {
        length(tag)?;
        Ok(Self(SmallVec::from_slice(tag)))
    }

    /// The tag of the preamble that these bytes begin with.
    pub(super) fn of_head(bytes: &[u8]) -> Result<Self, Malformed> {
        Head::new(bytes).map(|head| Self(SmallVec::from_slice(head.tag())))
    }

    /// Bytes allocated for it.
    pub(super) fn heap(&self) -> usize {
        if self.0.spilled() { self.0.capacity() } else { 0 }
    }
}

impl Deref for Tag {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Text(self).fmt(f)
    }
}

/// The head of an own stream: the length of its tag, and the tag.
///
/// The preamble of a tag of up to 32 bytes lies in place.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Preamble(SmallVec<[u8; 1 + INLINE]>);

impl Preamble {
    /// The preamble of a tag.
    ///
    /// # Errors
    /// The tag has no byte, or more than 255.
    pub fn new(tag: &[u8]) -> Result<Self, Length> {
        let length = length(tag)?;
        let mut preamble = SmallVec::with_capacity(1 + tag.len());
        preamble.push(length);
        preamble.extend_from_slice(tag);
        Ok(Self(preamble))
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> &[u8] {
        &self.0[1..]
    }

    pub(super) fn heap(&self) -> usize {
        if self.0.spilled() { self.0.capacity() } else { 0 }
    }
}

impl Deref for Preamble {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Preamble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "preamble of {:?}", Text(self.tag()))
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
            let preamble = Preamble::new(&bytes).unwrap();
            assert_eq!((&Tag::new(&bytes).unwrap()[..], preamble.tag()), (&bytes[..], &bytes[..]));
            assert_eq!((usize::from(preamble[0]), preamble.len()), (len, 1 + len));
        }
        for len in [0, 256] {
            let bytes = alloc::vec![b't'; len];
            assert_eq!(
                (Tag::new(&bytes), Preamble::new(&bytes)),
                (Err(Length(len)), Err(Length(len)))
            );
        }
    }

    #[test]
    fn up_to_32_bytes_lie_in_place() {
        for (len, allocated) in [(32, false), (33, true)] {
            let bytes = alloc::vec![b't'; len];
            assert_eq!(Tag::new(&bytes).unwrap().heap() > 0, allocated);
            assert_eq!(Preamble::new(&bytes).unwrap().heap() > 0, allocated);
        }
    }

    #[test]
    fn tags_are_shown_as_text_with_escapes() {
        assert_eq!(format!("{:?}", Tag::new(b"my:tag\xFF").unwrap()), "\"my:tag\\xff\"");
        assert_eq!(format!("{:?}", Preamble::new(b"t").unwrap()), "preamble of \"t\"");
    }
}
