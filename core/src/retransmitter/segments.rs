//! The index of a history: messages that lie together, by number in one tree for each session, and
//! by block in the order in which they were begun.
//!
//! All places are allocated at construction. Adding, finding and removing one
//! cost O(log n), forgetting a session O(n).

use core::cmp::Ordering;

use crate::storage::charge::charged;
use crate::storage::slab::NONE;
use crate::storage::table::{Row, Table, in_row};
use crate::storage::tree::{Links, Tree, sorted};

/// The most messages of a segment, which is how far a search walks.
pub(super) const MOST_MESSAGES: u16 = 256;

/// A known session's place in the table of sessions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) struct Slot(pub(super) u8);

impl Slot {
    /// The slot of a session which is not known any more: there are at most 255.
    const FORGOTTEN: Self = Self(u8::MAX);
}

/// The segments of one session.
pub(super) type Session = Tree<ByNumber>;

/// Consecutive messages that lie together in one block.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Segment {
    pub(super) first: u64,
    links: Links,
    /// The segment of the same block that was begun after this one.
    next: u32,
    /// The block's place.
    pub(super) block: u32,
    pub(super) offset: u16,
    /// Messages after the first.
    more: u8,
    /// The session.
    pub(super) slot: Slot,
}

impl Segment {
    /// A segment of `count` messages, from 1, that lie in a block from an offset on.
    pub(super) fn new(slot: Slot, block: u32, offset: u16, first: u64, count: u16) -> Self {
        let (more, links) = ((count - 1) as u8, Links::default());
        Self { first, links, next: NONE, block, offset, more, slot }
    }

    pub(super) fn count(&self) -> u16 {
        u16::from(self.more) + 1
    }

    pub(super) const fn last(&self) -> u64 {
        self.first + self.more as u64
    }

    pub(super) const fn lengthen(&mut self, count: u16) {
        self.more += count as u8;
    }
}

in_row!(Segment { next });
charged!(Segment = 32);
// Those of one session, by their first number.
sorted!([] ByNumber, Segments, links, |segment| segment.first);

/// The segments of one block, the one begun first in front.
pub(super) type OfBlock = Row;

/// The places of all segments.
pub(super) type Segments = Table<Segment>;

impl Segments {
    /// The last segment of a session that begins at or before a number.
    pub(super) fn at_or_before(&self, session: &Session, number: u64) -> Option<&Segment> {
        self.get(session.at_or_before(self, |at| self.compare(at, number))?)
    }

    /// The first segment of a session that begins at or after a number.
    pub(super) fn at_or_after(&self, session: &Session, number: u64) -> Option<&Segment> {
        self.get(session.at_or_after(self, |at| self.compare(at, number))?)
    }

    fn compare(&self, at: u32, number: u64) -> Ordering {
        self.get(at).map_or(Ordering::Less, |segment| segment.first.cmp(&number))
    }

    /// Takes all segments of a session out of its tree; their places become free with their blocks.
    /// Returns how many messages they held.
    pub(super) fn forget(&mut self, session: &mut Session) -> u64 {
        let mut messages = 0;
        session.clear(self, |segments, at| {
            if let Some(segment) = segments.get_mut(at) {
                messages += u64::from(segment.count());
                segment.slot = Slot::FORGOTTEN;
            }
        });
        messages
    }
}
