//! Readers: places in tracks, and what they wait for.

use super::event::By;
use super::group::{Group, Piece};
use crate::storage::list::{Link, linked};
use crate::storage::slab::{Key, NONE};
use crate::storage::tree::{Links, sorted};

/// What a reader waits for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Waits {
    /// Nothing: it was not found that there is nothing for it.
    #[default]
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
#[derive(Default, Debug)]
pub(super) struct Reader {
    pub(super) track: u32,
    /// The group that it is in; `NONE` when it is to enter the first with `wanted` or a higher number.
    pub(super) group: u32,
    pub(super) generation: u64,
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
    link: Link,
    by_wanted: Links,
}

impl Reader {
    pub(super) fn new(track: u32) -> Self {
        Self { track, group: NONE, piece: NONE, ..Self::default() }
    }

    /// The same place, for another reader.
    pub(super) fn at_the_same_place(&self) -> Self {
        let Self { track, group, generation, wanted, frame, within, piece, offset, base, .. } =
            *self;
        let fresh = Self::new(track);
        Self { group, generation, wanted, frame, within, piece, offset, base, ..fresh }
    }

    /// The group that it is in.
    #[inline]
    pub(super) const fn group(&self) -> Key<Group> {
        Key::new(self.group, self.generation)
    }

    /// The piece in which its frame is, where it is known: one of its group.
    #[inline]
    pub(super) const fn piece(&self) -> Key<Piece> {
        Key::new(self.piece, self.generation)
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

linked!(InQueue, Reader, link);
sorted!(ByWanted, Reader, by_wanted, |reader| reader.wanted);
// Who waits for a frame waits for no group: the links serve both.
sorted!(ByFrame, Reader, by_wanted, |reader| reader.frame);
