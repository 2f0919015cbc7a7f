//! The record of a track, number by number: what its readers must find.

use std::collections::BTreeSet;

use gapless_core::Session;
use gapless_core::cache::Missing;
use gapless_core::receiver::Command;

use crate::sim::program::message;

/// The book of a track.
#[derive(Clone, Debug)]
pub(super) struct Book {
    pub(super) session: Session,
    group_size: u64,
    /// Published in order.
    published: BTreeSet<u64>,
    /// Filled in later. Who has passed them does not see them.
    late: BTreeSet<u64>,
    lost: BTreeSet<u64>,
    /// How it ended: one past the session's last message.
    pub(super) end: Option<u64>,
    /// Whether it was given up before its end.
    pub(super) left: bool,
}

impl Book {
    pub(super) const fn new(session: Session, group_size: u32) -> Self {
        Self {
            session,
            group_size: group_size as u64,
            published: BTreeSet::new(),
            late: BTreeSet::new(),
            lost: BTreeSet::new(),
            end: None,
            left: false,
        }
    }

    /// A message came in order, and a frame was made of it.
    pub(super) fn publish(&mut self, sequence: u64) {
        assert!(self.published.insert(sequence), "message {sequence} is published twice");
    }

    /// A message came again, or at last, and is held now.
    pub(super) fn fill(&mut self, sequence: u64) {
        if !self.published.contains(&sequence) {
            self.late.insert(sequence);
        }
    }

    /// A group that was not there is there again, for a message that came late: whatever else it had
    /// was evicted, and is absent until it comes again.
    pub(super) fn create_again(&mut self, group: u64, evicted: bool) {
        let (first, end) = (self.sequence(group, 0), self.sequence(group + 1, 0));
        let had = self.published.range(first..end).copied().collect::<Vec<_>>();
        self.published.retain(|sequence| !(first..end).contains(sequence));
        assert!(evicted || had.is_empty(), "group {group} went, and was not evicted");
        self.late.extend(had);
    }

    /// The numbers that the receiver gave up.
    pub(super) fn take(&mut self, command: &Command) {
        if let Command::Lost { first, last, .. } = *command {
            self.lost.extend(first..=last);
        }
    }

    /// The message of a frame.
    pub(super) fn sequence(&self, group: u64, index: u64) -> u64 {
        group * self.group_size + index + 1
    }

    /// Whether a frame that is held says what its message says, and was given.
    pub(super) fn check_held(&self, group: u64, index: u64, bytes: &[u8]) {
        self.check_part(group, index, 0, bytes);
        let len = message(self.session, self.sequence(group, index)).len();
        assert_eq!(bytes.len(), len, "frame {index} of group {group} is of another length");
    }

    /// As [`Book::check_held`], of a part.
    pub(super) fn check_part(&self, group: u64, index: u64, offset: usize, bytes: &[u8]) {
        assert!(index < self.group_size, "frame {index} in a group of {}", self.group_size);
        let sequence = self.sequence(group, index);
        let given = self.published.contains(&sequence) || self.late.contains(&sequence);
        assert!(given, "message {sequence} was never given");
        let said = message(self.session, sequence);
        let part = said.get(offset..offset + bytes.len());
        assert_eq!(part, Some(bytes), "frame {index} of group {group} is another message");
    }

    /// Whether frames that are told to be missing are.
    pub(super) fn check_missing(&self, group: u64, first: u64, count: u64, why: Missing) {
        assert!(first + count <= self.group_size, "frames past the end of group {group}");
        for sequence in self.sequence(group, first)..self.sequence(group, first + count) {
            let given = self.published.contains(&sequence);
            assert!(!given, "message {sequence} was given, and is reported as {why:?}");
            let lost = self.lost.contains(&sequence);
            assert!(lost || why == Missing::Absent, "message {sequence} is reported as lost");
        }
    }

    /// Whether a group of so many frames may end.
    pub(super) fn check_end(&self, group: u64, frames: u64) {
        let last = self.end.is_some_and(|end| self.sequence(group, frames) == end);
        let full = frames == self.group_size;
        assert!(full || last, "group {group} ends with {frames} frames, the track {:?}", self.end);
    }

    /// Whether nothing that was published lies between two places, the second not included: what is
    /// passed over in silence.
    pub(super) fn check_silence(&self, from: (u64, u64), to: (u64, u64)) {
        let (first, last) = (self.sequence(from.0, from.1), self.sequence(to.0, to.1));
        let passed = self.published.range(first..last.max(first)).next();
        assert_eq!(passed, None, "published, and passed over in silence from {from:?} to {to:?}");
    }

    /// Whether nothing that was published lies behind a place.
    pub(super) fn check_rest(&self, from: (u64, u64)) {
        let left = self.published.range(self.sequence(from.0, from.1)..).next();
        assert_eq!(left, None, "published, and the track is over at {from:?}");
    }
}
