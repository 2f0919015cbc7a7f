//! The opening of a session: digests of its first messages, and of nothing else.
//!
//! A sender that starts over within a session sends those numbers again. Other content under them proves
//! it, while a late copy, or a sender that sends the same again, has the same content.

use crate::wire::mold::Messages;

/// Messages of which a digest is kept.
const KEPT: usize = 64;

/// How messages compare with those of their numbers that came before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Agreement {
    /// The first that has other content.
    Contradicts(u64),
    /// Those that are known are the same.
    Agrees,
    /// None is known.
    Unknown,
}

/// Digests of a session's first messages.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    /// The first number that is wanted.
    first: u64,
    /// By number from `first`; 0 for those that did not come.
    digests: [u32; KEPT],
}

impl Opening {
    /// Of a session that begins at message `first`.
    pub(super) const fn new(first: u64) -> Self {
        Self { first, digests: [0; KEPT] }
    }

    /// The last number of which a digest is kept.
    pub(super) const fn last(&self) -> u64 {
        self.first.saturating_add(KEPT as u64 - 1)
    }

    /// With the digests of messages from `first` that did not come before.
    pub(super) fn with(&self, first: u64, messages: Messages<'_>) -> Self {
        let mut opening = self.clone();
        let skipped = first.saturating_sub(self.first).min(KEPT as u64) as usize;
        for (index, digest) in self.digests_of(messages).filter(|(index, _)| *index >= skipped) {
            if let Some(kept) = opening.digests.get_mut(index).filter(|kept| **kept == 0) {
                *kept = digest;
            }
        }
        opening
    }

    /// Forgets the digests from message `first` on: those messages were dropped, and come again.
    pub(super) fn forget(&mut self, first: u64) {
        let kept = first.saturating_sub(self.first).min(KEPT as u64) as usize;
        self.digests[kept..].fill(0);
    }

    /// Compares messages with what came before.
    pub(super) fn compare(&self, messages: Messages<'_>) -> Agreement {
        let mut agreement = Agreement::Unknown;
        for (index, digest) in self.digests_of(messages) {
            match self.digests.get(index) {
                None | Some(0) => {}
                Some(kept) if *kept != digest => {
                    return Agreement::Contradicts(self.first + index as u64);
                }
                Some(_) => agreement = Agreement::Agrees,
            }
        }
        agreement
    }

    /// Digests of those messages that lie within it, by their places.
    fn digests_of<'a>(
        &self,
        messages: Messages<'a>,
    ) -> impl Iterator<Item = (usize, u32)> + use<'a> {
        let (first, last) = (self.first, self.last());
        messages
            .take_while(move |(number, _)| *number <= last)
            .filter(move |(number, _)| *number >= first)
            .map(move |(number, message)| ((number - first) as usize, digest(message)))
    }
}

/// FNV-1a, but never 0.
fn digest(message: &[u8]) -> u32 {
    let fold = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    message.iter().fold(0x811c_9dc5, fold).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// The blocks of messages that all have this payload.
    fn blocks(payload: &[u8], count: u16) -> Vec<u8> {
        let block = [&(payload.len() as u16).to_be_bytes()[..], payload].concat();
        block.repeat(count.into())
    }

    fn opening() -> Opening {
        Opening::new(10).with(10, Messages::new(10, 3, &blocks(b"old", 3)))
    }

    #[test]
    fn other_content_under_a_number_that_came_is_seen() {
        assert_eq!(
            opening().compare(Messages::new(12, 1, &blocks(b"new", 1))),
            Agreement::Contradicts(12)
        );
        assert_eq!(
            opening().compare(Messages::new(1, 20, &blocks(b"new", 20))),
            Agreement::Contradicts(10)
        );
    }

    #[test]
    fn the_same_content_and_numbers_that_did_not_come_contradict_nothing() {
        assert_eq!(opening().compare(Messages::new(10, 3, &blocks(b"old", 3))), Agreement::Agrees);
        assert_eq!(opening().compare(Messages::new(13, 5, &blocks(b"new", 5))), Agreement::Unknown);
        assert_eq!(opening().compare(Messages::new(1, 9, &blocks(b"new", 9))), Agreement::Unknown);
        let far = Opening::new(u64::MAX);
        assert_eq!(far.compare(Messages::new(u64::MAX, 1, &blocks(b"new", 1))), Agreement::Unknown);
    }

    #[test]
    fn the_first_content_stays() {
        let opening = opening().with(10, Messages::new(10, 1, &blocks(b"new", 1)));
        assert_eq!(opening.compare(Messages::new(10, 1, &blocks(b"old", 1))), Agreement::Agrees);
    }

    #[test]
    fn messages_that_were_not_taken_leave_no_digest() {
        let opening = Opening::new(1).with(3, Messages::new(1, 4, &blocks(b"old", 4)));
        assert_eq!(opening.compare(Messages::new(1, 2, &blocks(b"new", 2))), Agreement::Unknown);
        assert_eq!(opening.compare(Messages::new(3, 1, &blocks(b"old", 1))), Agreement::Agrees);
    }

    #[test]
    fn an_empty_message_has_a_digest_too() {
        let opening = Opening::new(1).with(1, Messages::new(1, 1, &blocks(b"", 1)));
        assert_eq!(
            opening.compare(Messages::new(1, 1, &blocks(b"x", 1))),
            Agreement::Contradicts(1)
        );
    }
}
