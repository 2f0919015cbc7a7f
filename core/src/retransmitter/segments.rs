//! The index of a history: messages that lie together, by number in one tree for each session, and
//! by block in the order in which they were begun.
//!
//! All places are allocated at construction. Adding, finding and removing one
//! cost O(log n), forgetting a session O(n).

use core::cmp::Ordering;

use crate::storage::list::Link;
use crate::storage::slab::NONE;
use crate::storage::table::{InRow, Row, Table};
use crate::storage::tree::{Links, Sorted, Tree};

/// The most messages of a segment, which is how far a search walks.
pub(super) const MOST_MESSAGES: u16 = 256;
/// Bytes that one segment is charged.
pub(super) const SEGMENT_BYTES: usize = 32;
const _: () = assert!(size_of::<Segment>() <= SEGMENT_BYTES);

/// A known session's place in the table of sessions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) struct Slot(pub(super) u8);

impl Slot {
    /// The slot of a session which is not known any more: there are at most 255.
    const FORGOTTEN: Self = Self(u8::MAX);
}

/// Sorts the segments of one session by their first number.
#[derive(Clone, Copy, Debug)]
pub(super) enum ByNumber {}

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
    pub(super) fn count(&self) -> u16 {
        u16::from(self.more) + 1
    }

    pub(super) const fn last(&self) -> u64 {
        self.first + self.more as u64
    }
}

impl InRow for Segment {
    fn link(&self) -> Link {
        Link { previous: NONE, next: self.next }
    }

    fn set_link(&mut self, link: Link) {
        self.next = link.next;
    }
}

/// The segments of one block, the one begun first in front.
pub(super) type OfBlock = Row;

/// The places of all segments.
pub(super) type Segments = Table<Segment>;

impl Sorted<ByNumber> for Segments {
    fn links(&self, at: u32) -> Links {
        self.get(at).map(|segment| segment.links).unwrap_or_default()
    }

    fn set_links(&mut self, at: u32, links: Links) {
        if let Some(segment) = self.get_mut(at) {
            segment.links = links;
        }
    }

    fn order(&self, one: u32, other: u32) -> Ordering {
        let first = |at: u32| self.get(at).map(|segment| segment.first);
        first(one).cmp(&first(other))
    }
}

impl Segments {
    /// The last segment of a session that begins at or before a number.
    pub(super) fn at_or_before(&self, session: &Session, number: u64) -> Option<u32> {
        session.at_or_before(self, |at| self.compare(at, number))
    }

    /// The first segment of a session that begins at or after a number.
    pub(super) fn at_or_after(&self, session: &Session, number: u64) -> Option<&Segment> {
        let at = session.at_or_after(self, |at| self.compare(at, number))?;
        self.get(at)
    }

    fn compare(&self, at: u32, number: u64) -> Ordering {
        self.get(at).map_or(Ordering::Less, |segment| segment.first.cmp(&number))
    }

    /// Adds a segment of `count` messages, from 1, behind those of its block. `None` when all places
    /// are taken.
    pub(super) fn add(
        &mut self,
        (slot, session): (Slot, &mut Session),
        (place, of_block): (u32, &mut OfBlock),
        (first, count, offset): (u64, u16, u16),
    ) -> Option<u32> {
        let segment = Segment {
            first,
            links: Links::default(),
            next: NONE,
            block: place,
            offset,
            more: (count - 1) as u8,
            slot,
        };
        let at = self.insert(segment)?;
        of_block.push(self, at);
        session.insert(self, at);
        Some(at)
    }

    /// Lengthens a segment.
    pub(super) fn lengthen(&mut self, at: u32, count: u16) {
        if let Some(segment) = self.get_mut(at) {
            segment.more += count as u8;
        }
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
