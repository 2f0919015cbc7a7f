//! What a session began with: digests of its first messages, and of nothing else.
//!
//! A sender that starts over within a session sends those numbers again. Other content under them proves
//! it, while a late copy, or a sender that sends the same again, has the same content.

use crate::wire::mold::Messages;

/// Messages of which a digest is kept.
const KEPT: usize = 64;

/// Digests of a session's first messages.
#[derive(Debug)]
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

    /// Keeps the digests of messages that did not come before.
    pub(super) fn keep(&mut self, messages: Messages<'_>) {
        for (index, digest) in self.digests_of(messages) {
            if let Some(kept) = self.digests.get_mut(index).filter(|kept| **kept == 0) {
                *kept = digest;
            }
        }
    }

    /// Whether one of these messages came before with other content.
    pub(super) fn contradicts(&self, messages: Messages<'_>) -> bool {
        self.digests_of(messages).any(|(index, digest)| {
            self.digests.get(index).is_some_and(|kept| *kept != 0 && *kept != digest)
        })
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
        let mut opening = Opening::new(10);
        opening.keep(Messages::new(10, 3, &blocks(b"old", 3)));
        opening
    }

    #[test]
    fn other_content_under_a_number_that_came_is_seen() {
        assert!(opening().contradicts(Messages::new(12, 1, &blocks(b"new", 1))));
        assert!(opening().contradicts(Messages::new(1, 20, &blocks(b"new", 20))));
    }

    #[test]
    fn the_same_content_and_numbers_that_did_not_come_contradict_nothing() {
        assert!(!opening().contradicts(Messages::new(10, 3, &blocks(b"old", 3))));
        assert!(!opening().contradicts(Messages::new(13, 5, &blocks(b"new", 5))));
        assert!(!opening().contradicts(Messages::new(1, 9, &blocks(b"new", 9))));
        let far = Opening::new(u64::MAX);
        assert!(!far.contradicts(Messages::new(u64::MAX, 1, &blocks(b"new", 1))));
    }

    #[test]
    fn the_first_content_stays() {
        let mut opening = opening();
        opening.keep(Messages::new(10, 1, &blocks(b"new", 1)));
        assert!(!opening.contradicts(Messages::new(10, 1, &blocks(b"old", 1))));
    }

    #[test]
    fn an_empty_message_has_a_digest_too() {
        let mut opening = Opening::new(1);
        opening.keep(Messages::new(1, 1, &blocks(b"", 1)));
        assert!(opening.contradicts(Messages::new(1, 1, &blocks(b"x", 1))));
    }
}
