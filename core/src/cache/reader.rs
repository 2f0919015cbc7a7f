//! Readers, and queues of them.

use super::event::By;
use crate::storage::slab::{NONE, Slab, Vacant};
use crate::storage::tree::{Links, sorted};

/// What a reader waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waits {
    /// Nothing: it was not found that there is nothing for it.
    Not,
    /// More of its group behind the last complete frame, or the group's end.
    ForMore(By),
    /// A frame of its group further on, or the group's end.
    ForFrame(By),
    /// The next group of the track, or the track's end.
    ForNewest,
    /// A group of the track with its number or a higher one, beyond the next; or the track's end.
    ForLater,
}

/// A place in a track.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) stamp: u64,
    pub(super) track: u32,
    /// The group that it is in; `NONE` when it is to enter the first with `wanted` or a higher number.
    pub(super) group: u32,
    pub(super) group_stamp: u64,
    pub(super) wanted: u64,
    /// The frame that it reads next.
    pub(super) frame: u32,
    /// Bytes of that frame that it read already.
    pub(super) within: u32,
    /// The piece in which the frame is, where it is known.
    pub(super) piece: u32,
    /// Where the frame begins, in bytes from the beginning of a piece (or tail) that began with frame
    /// `base`.
    pub(super) offset: u32,
    pub(super) base: u32,
    pub(super) waits: Waits,
    previous: u32,
    next: u32,
    by_wanted: Links,
}

impl Vacant for Reader {
    fn vacant() -> Self {
        Self::new(0, NONE)
    }
}

impl Reader {
    pub(super) const fn new(stamp: u64, track: u32) -> Self {
        Self {
            stamp,
            track,
            group: NONE,
            group_stamp: 0,
            wanted: 0,
            frame: 0,
            within: 0,
            piece: NONE,
            offset: 0,
            base: 0,
            waits: Waits::Not,
            previous: NONE,
            next: NONE,
            by_wanted: Links::UNTIED,
        }
    }

    /// The same place, for another reader.
    pub(super) const fn at_the_same_place(&self, stamp: u64) -> Self {
        let Self { track, group, group_stamp, wanted, frame, within, piece, offset, base, .. } =
            *self;
        let fresh = Self::new(stamp, track);
        Self { group, group_stamp, wanted, frame, within, piece, offset, base, ..fresh }
    }

    /// Goes to a frame of a group, or of the first one behind that number.
    pub(super) const fn go(&mut self, group: u64, frame: u32) {
        (self.group, self.wanted) = (NONE, group);
        self.stand_at(frame);
    }

    /// Goes to a frame of the group that it is in.
    pub(super) const fn stand_at(&mut self, frame: u32) {
        (self.frame, self.within, self.piece) = (frame, 0, NONE);
        (self.offset, self.base) = (0, frame);
    }
}

/// Readers one behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    head: u32,
    tail: u32,
}

impl Queue {
    pub(super) const EMPTY: Self = Self { head: NONE, tail: NONE };

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.head == NONE
    }

    pub(super) fn push(&mut self, readers: &mut Slab<Reader>, at: u32) {
        if let Some(reader) = readers.get_mut(at) {
            (reader.previous, reader.next) = (self.tail, NONE);
        }
        match readers.get_mut(self.tail) {
            Some(last) => last.next = at,
            None => self.head = at,
        }
        self.tail = at;
    }

    pub(super) fn pop(&mut self, readers: &mut Slab<Reader>) -> Option<u32> {
        let at = self.head;
        let next = readers.get(at)?.next;
        self.head = next;
        match readers.get_mut(next) {
            Some(reader) => reader.previous = NONE,
            None => self.tail = NONE,
        }
        Some(at)
    }

    pub(super) fn remove(&mut self, readers: &mut Slab<Reader>, at: u32) {
        let Some(&Reader { previous, next, .. }) = readers.get(at) else { return };
        match readers.get_mut(previous) {
            Some(reader) => reader.next = next,
            None => self.head = next,
        }
        match readers.get_mut(next) {
            Some(reader) => reader.previous = previous,
            None => self.tail = previous,
        }
    }

    /// Hangs all of `other` behind this, in O(1).
    pub(super) fn append(&mut self, readers: &mut Slab<Reader>, other: Self) {
        if other.is_empty() {
            return;
        }
        match readers.get_mut(self.tail) {
            Some(last) => last.next = other.head,
            None => self.head = other.head,
        }
        if let Some(first) = readers.get_mut(other.head) {
            first.previous = self.tail;
        }
        self.tail = other.tail;
    }
}

sorted!(ByWanted, Reader, by_wanted, |reader| reader.wanted);
// Who waits for a frame waits for no group: the links serve both.
sorted!(ByFrame, Reader, by_wanted, |reader| reader.frame);
