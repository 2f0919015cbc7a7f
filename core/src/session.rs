//! A MoldUDP64 session id: ten raw bytes, compared as such.

use core::fmt;

/// The id of a session (MoldUDP64 § downstream packet, offset 0): ten raw bytes.
///
/// Names are ASCII, left-justified and padded with spaces, but nothing here depends on that: ids are
/// compared byte for byte, and printing escapes what is not printable ASCII.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Session([u8; 10]);

impl Session {
    /// How many bytes a session id has.
    pub const LEN: usize = 10;

    /// A session from its ten bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 10]) -> Self {
        Self(bytes)
    }

    /// A session from a name of at most ten bytes, padded with spaces; `None` when it is longer.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let mut bytes = [b' '; Self::LEN];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        Some(Self(bytes))
    }

    /// The ten bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 10] {
        &self.0
    }

    /// The bytes without the spaces at their end.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.0.trim_ascii_end()
    }

    /// Returns true if every byte is printable ASCII (0x20 to 0x7E), as names are. An id that is padded with
    /// zeros is not, and is another id than the one padded with spaces.
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.0.iter().all(|byte| matches!(byte, b' '..=b'~'))
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name().escape_ascii())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate alloc;
    use alloc::format;

    #[test]
    fn a_name_is_padded_with_spaces_and_printed_without_them() {
        let session = Session::from_name(b"ITCH").unwrap();
        assert_eq!(session.as_bytes(), b"ITCH      ");
        assert_eq!(format!("{session}"), "ITCH");
    }

    #[test]
    fn a_name_of_more_than_ten_bytes_is_refused() {
        assert!(Session::from_name(b"0123456789").is_some());
        assert!(Session::from_name(b"0123456789A").is_none());
    }

    #[test]
    fn bytes_that_are_not_printable_are_escaped() {
        let session = Session::new(*b"A\xff\x00BCDEFGH");
        assert_eq!(format!("{session}"), "A\\xff\\x00BCDEFGH");
    }

    #[test]
    fn only_printable_bytes_are_taken_for_a_name() {
        assert!(Session::new(*b"   SESS42 ").is_ascii());
        assert!(!Session::new(*b"SESSION\xe9  ").is_ascii());
        assert!(!Session::new(*b"SESS\0\0\0\0\0\0").is_ascii());
    }
}
