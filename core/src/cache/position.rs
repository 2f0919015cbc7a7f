//! Positions: places in a track.

use crate::storage::slab::NONE;

/// A place in a track, to be read from without any state in the cache
/// ([`run_at`](super::Cache::run_at)): a group, a frame, and an offset within a large frame.
///
/// It carries a hint of where these lie, so that going on costs O(1). The hint makes no difference to what is
/// read, nor to whether two positions are equal; but in another cache than that which made it, what is read is
/// undefined, and [`Position::new`] makes one without.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// The group's number, and the frame that comes next; bytes of that frame that were read.
    pub(super) wanted: u64,
    pub(super) frame: u32,
    pub(super) within: u32,
    /// The track's place, and the group's, once it is entered; `NONE` when the first with `wanted` or a higher
    /// number is to be.
    pub(super) track: u32,
    pub(super) group: u32,
    pub(super) generation: u64,
    /// The piece in which the frame is, where it is known.
    pub(super) piece: u32,
    /// The offset of the frame, in bytes from the beginning of a piece (or tail) that began with frame
    /// `base`.
    pub(super) offset: u32,
    pub(super) base: u32,
}

impl Position {
    /// Before a frame of a group, which need not exist yet.
    #[must_use]
    pub fn new(group: u64, frame: u64) -> Self {
        Self::in_track(NONE, group, u32::try_from(frame).unwrap_or(u32::MAX))
    }

    /// The same, with so many bytes of the frame read: one of more than 4096 bytes.
    #[must_use]
    pub fn with_offset(self, offset: u64) -> Self {
        Self { within: u32::try_from(offset).unwrap_or(u32::MAX), ..self }
    }

    /// The number of the group that it is in, or of the first that it would enter.
    #[must_use]
    pub const fn group(&self) -> u64 {
        self.wanted
    }

    /// The index of the frame that comes next.
    #[must_use]
    pub const fn frame(&self) -> u64 {
        self.frame as u64
    }

    /// How many bytes of that frame were read.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.within as u64
    }

    pub(super) const fn in_track(track: u32, group: u64, frame: u32) -> Self {
        Self {
            wanted: group,
            frame,
            within: 0,
            track,
            group: NONE,
            generation: 0,
            piece: NONE,
            offset: 0,
            base: frame,
        }
    }

    /// Goes to a frame of a group, or of the first one behind that number.
    pub(super) const fn go(&mut self, group: u64, frame: u32) {
        *self = Self::in_track(self.track, group, frame);
    }

    /// Goes behind its group, whose number it gives.
    pub(super) const fn leave_group(&mut self) -> u64 {
        let group = self.wanted;
        self.go(group + 1, 0);
        group
    }

    /// Goes behind the last frame of a piece, to the next piece.
    #[inline]
    pub(super) const fn leave(&mut self, next: u32) {
        (self.piece, self.offset, self.base) = (next, 0, self.frame);
    }

    /// Goes behind a frame in a part of its own, or its last part.
    pub(super) const fn pass(&mut self, next: u32) {
        self.frame += 1;
        self.within = 0;
        self.leave(next);
    }
}

impl PartialEq for Position {
    fn eq(&self, other: &Self) -> bool {
        (self.wanted, self.frame, self.within) == (other.wanted, other.frame, other.within)
    }
}

impl Eq for Position {}
