//! The index of a history: messages that lie together, by number in one tree for each session, and
//! by block in the order in which they were begun.
//!
//! All places are allocated at construction. Adding, finding and removing one
//! cost O(log n), forgetting a session O(n).

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::storage::slab::NONE;
use crate::storage::tree::{Links, Sorted, Tree};

/// The most messages of a segment, which is how far a search walks.
pub(super) const MOST_MESSAGES: u16 = 256;
/// Bytes that one segment is charged.
pub(super) const SEGMENT_BYTES: usize = 32;
const _: () = assert!(size_of::<Segment>() <= SEGMENT_BYTES);

/// A known session's place in the table of sessions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Slot(pub(super) u8);

impl Slot {
    /// That of a session which is not known any more: there are at most 255.
    pub(super) const FORGOTTEN: Self = Self(u8::MAX);

    pub(super) const fn is_known(self) -> bool {
        self.0 != Self::FORGOTTEN.0
    }
}

/// Sorts the segments of one session by their first number.
#[derive(Clone, Copy, Debug)]
pub(super) enum ByNumber {}

/// The segments of one session.
pub(super) type Session = Tree<ByNumber>;

/// Consecutive messages that lie together in one block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    first: u64,
    links: Links,
    /// The segment of the same block that was begun after this one; of a free place, the next free one.
    next: u32,
    /// The block's place.
    pub(super) block: u32,
    pub(super) offset: u16,
    /// Messages after the first.
    more: u8,
    slot: Slot,
}

impl Segment {
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn count(&self) -> u16 {
        u16::from(self.more) + 1
    }

    pub(super) const fn last(&self) -> u64 {
        self.first + self.more as u64
    }

    /// The session; `None` when it was forgotten.
    pub(super) const fn slot(&self) -> Option<Slot> {
        if self.slot.is_known() { Some(self.slot) } else { None }
    }
}

/// The segments of one block, the one begun first in front.
#[derive(Clone, Copy, Debug)]
pub(super) struct OfBlock {
    first: u32,
    last: u32,
}

impl OfBlock {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE };

    /// The segment begun first; no place of a segment when there is none.
    pub(super) const fn first(&self) -> u32 {
        self.first
    }
}

/// The places of all segments.
#[derive(Debug)]
pub(super) struct Segments {
    places: Vec<Segment>,
    most: usize,
    /// The first free place among those in use before.
    free: u32,
}

impl Sorted<ByNumber> for Segments {
    fn links(&self, at: u32) -> Links {
        self.places.get(at as usize).map_or(Links::UNTIED, |segment| segment.links)
    }

    fn set_links(&mut self, at: u32, links: Links) {
        if let Some(segment) = self.places.get_mut(at as usize) {
            segment.links = links;
        }
    }

    fn order(&self, one: u32, other: u32) -> Ordering {
        let first = |at: u32| self.get(at).map(Segment::first);
        first(one).cmp(&first(other))
    }
}

impl Segments {
    /// Places for at most `most` segments.
    pub(super) fn new(most: usize) -> Self {
        Self { places: Vec::with_capacity(most), most, free: NONE }
    }

    pub(super) const fn memory_used(&self) -> usize {
        self.places.capacity() * size_of::<Segment>()
    }

    /// Places in use.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        let next = |&at: &u32| self.get(at).map(|free| free.next);
        let free = core::iter::successors(Some(self.free), next);
        self.places.len() + 1 - free.count()
    }

    pub(super) const fn is_full(&self) -> bool {
        self.free == NONE && self.places.len() >= self.most
    }

    pub(super) fn get(&self, at: u32) -> Option<&Segment> {
        self.places.get(at as usize)
    }

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
            links: Links::UNTIED,
            next: NONE,
            block: place,
            offset,
            more: (count - 1) as u8,
            slot,
        };
        if self.is_full() {
            return None;
        }
        let mut at = self.free;
        if let Some(free) = self.places.get_mut(at as usize) {
            self.free = free.next;
            *free = segment;
        } else {
            at = self.places.len() as u32;
            self.places.push(segment);
        }
        match self.places.get_mut(of_block.last as usize) {
            Some(before) => before.next = at,
            None => of_block.first = at,
        }
        of_block.last = at;
        session.insert(self, at);
        Some(at)
    }

    /// Lengthens a segment.
    pub(super) fn lengthen(&mut self, at: u32, count: u16) {
        if let Some(segment) = self.places.get_mut(at as usize) {
            segment.more += count as u8;
        }
    }

    /// Frees the first segment of a block, which is in no tree any more.
    pub(super) fn free_first(&mut self, of_block: &mut OfBlock) {
        let at = of_block.first;
        let Some(segment) = self.places.get_mut(at as usize) else { return };
        of_block.first = core::mem::replace(&mut segment.next, self.free);
        self.free = at;
        if of_block.first == NONE {
            of_block.last = NONE;
        }
    }

    /// Takes all segments of a session out of its tree; their places become free with their blocks.
    /// Returns how many messages they held.
    pub(super) fn forget(&mut self, session: &mut Session) -> u64 {
        let mut messages = 0;
        session.clear(self, |segments, at| {
            if let Some(segment) = segments.places.get_mut(at as usize) {
                messages += u64::from(segment.count());
                segment.slot = Slot::FORGOTTEN;
            }
        });
        messages
    }
}
