//! Lookup of what comes next at a position. Nothing here changes anything but the position: readers, and whoever
//! keeps positions of its own, are brought on by the same code.

use core::convert::Infallible;

use super::Store;
use super::past::End;
use crate::cache::event::Next;
use crate::cache::group::{Group, Kind, Piece, State, Unfinished, walk};
use crate::cache::position::Position;
use crate::cache::track::Life;
use crate::cache::{Misuse, ReadUnit};
use crate::storage::slab::{Key, NONE};

impl Position {
    /// The group that it is in.
    #[inline]
    pub(in crate::cache) const fn group_key(&self) -> Key<Group> {
        Key::new(self.group, self.generation)
    }

    /// The piece in which its frame is, where it is known: one of its group.
    #[inline]
    pub(super) const fn piece_key(&self) -> Key<Piece> {
        Key::new(self.piece, self.generation)
    }

    /// Returns true if it stands before a small frame of this piece, which is one of its group.
    #[inline]
    pub(super) const fn stands_in(&self, piece: &Piece) -> bool {
        piece.has(self.frame)
            && self.base == piece.base()
            && matches!(piece.kind, Kind::Frames)
            && self.within == 0
    }
}

/// The place of what comes next, once a position stands there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// In its piece.
    Piece,
    /// In the tail of its group, complete.
    Tail,
    /// There too, and incomplete.
    Unfinished,
    /// Within a frame, where only chunks can be read.
    Within,
    /// Nowhere yet: the track has no group for it.
    NoGroup,
    /// Nowhere yet: its group has no more.
    NoMore,
    /// Nowhere.
    Report(Next<Infallible>),
}

impl Lookup {
    /// The read's result, or the report where there is nothing to read.
    #[inline]
    pub(crate) fn read<T>(self, read: impl FnOnce() -> Option<T>) -> Result<Next<T>, Misuse> {
        match self {
            Self::Piece | Self::Tail | Self::Unfinished => Ok(held(read())),
            Self::Within => Err(Misuse::WithinFrame),
            Self::Report(next) => Ok(next.map(|never| match never {})),
            Self::NoGroup | Self::NoMore => Ok(Next::Pending),
        }
    }
}

/// The value, held; a cache whose tables agree has it.
#[inline]
pub(crate) fn held<T>(held: Option<T>) -> Next<T> {
    held.map_or(Next::Pending, Next::Held)
}

impl Store {
    /// Brings a position to what comes next, or behind what is said of it.
    pub(crate) fn find(&self, at: &mut Position, by: ReadUnit) -> Lookup {
        if at.group == NONE
            && let Some(lookup) = self.enter(at)
        {
            return lookup;
        }
        match self.groups.find(at.group_key()) {
            // Of an aborted group the code says why nothing is left.
            Some(group)
                if group.floor <= at.frame || matches!(group.state, State::Aborted { .. }) =>
            {
                self.find_within(at, group, by)
            }
            _ => Lookup::Report(self.report_gone(at)),
        }
    }

    /// Enters the first group that there is with the position's number or a higher one; what comes next when
    /// it cannot.
    fn enter(&self, at: &mut Position) -> Option<Lookup> {
        let track = self.tracks.get(at.track)?;
        match self.group_from(at.track, at.wanted) {
            Some((key, group)) if group.sequence == at.wanted || at.wanted >= track.evicted_end => {
                if group.sequence > at.wanted {
                    at.go(group.sequence, 0);
                }
                (at.group, at.generation) = (key.slot, key.generation);
                None
            }
            None if at.wanted >= track.evicted_end => Some(match track.life {
                Life::Aborted { code } => Lookup::Report(Next::TrackAborted { code }),
                Life::Live => Lookup::NoGroup,
                Life::Finished { end: Some(end), closed: false } if at.wanted <= end => {
                    Lookup::NoGroup
                }
                Life::Finished { .. } => Lookup::Report(Next::TrackEnd),
            }),
            _ => Some(Lookup::Report(self.report_gone(at))),
        }
    }

    /// The first group of a track from a number on.
    fn group_from(&self, track: u32, wanted: u64) -> Option<(Key<Group>, &Group)> {
        let order = |at| self.groups.get(at).map(|group| group.sequence).cmp(&Some(wanted));
        let slot = self.tracks.get(track)?.groups.at_or_after(&self.groups, order)?;
        Some((self.groups.key(slot)?, self.groups.get(slot)?))
    }

    /// Says what became of the group that a position is in or would enter, which is not there or no longer
    /// has the frame.
    fn report_gone(&self, at: &mut Position) -> Next<Infallible> {
        let (group, frame) = (at.wanted, at.frame);
        let is_there = self.groups.find(at.group_key()).is_some();
        let track = self.tracks.get(at.track).filter(|_| !is_there);
        let next = match track.and_then(|track| self.past.find(track.past, group)) {
            Some(End::Frames(frames)) if frame >= frames => {
                Next::GroupEnd { group, frames: frames.into() }
            }
            Some(End::Skipped) => Next::Skipped { group },
            _ => return self.report_evicted(at),
        };
        at.go(group + 1, 0);
        next
    }

    /// Says that the cache passed a position, and brings it to what is still there.
    fn report_evicted(&self, at: &mut Position) -> Next<Infallible> {
        let (group, frame) = (at.wanted, at.frame);
        let next = self.group_from(at.track, group).map(|(_, next)| {
            let least = if next.sequence == group { frame } else { 0 };
            (next.sequence, next.floor.max(least))
        });
        let newest = self.tracks.get(at.track).and_then(|track| track.newest);
        let (to, first) = next.unwrap_or((newest.map_or(0, |last| last + 1), 0));
        at.go(to, first);
        let next = next.map(|(group, frame)| (group, frame.into()));
        Next::Evicted { group, frame: frame.into(), next }
    }

    /// Finds what comes next in the group of a position, whose front it is not behind.
    // Every read that is not next in its piece comes here.
    #[inline(always)]
    pub(super) fn find_within(&self, at: &mut Position, group: &Group, by: ReadUnit) -> Lookup {
        match group.state {
            State::Aborted { code, finished } if !finished || at.frame < group.count => {
                return Lookup::Report(Next::Aborted { group: at.leave_group(), code });
            }
            State::Skipped => return Lookup::Report(Next::Skipped { group: at.leave_group() }),
            _ => {}
        }
        let is_next = at.frame == group.count;
        let is_parted = is_next && group.unfinished.is_some_and(Unfinished::is_parted);
        let is_begun = group.unfinished.is_some_and(|frame| frame.written > 0);
        if at.within > 0
            && (by == ReadUnit::Frame
                || by == ReadUnit::Run && at.frame >= group.sealed && !is_parted)
        {
            return Lookup::Within;
        }
        if at.frame < group.sealed || is_parted && is_begun && by != ReadUnit::Frame {
            return self.find_in_pieces(at, group, by);
        }
        if at.frame < group.count {
            // Of a run nothing is read there.
            if at.base != group.sealed && by != ReadUnit::Run {
                at.offset = walk(&group.tail, at.frame - group.sealed) as u32;
                at.base = group.sealed;
            }
            at.piece = NONE;
            return Lookup::Tail;
        }
        if by == ReadUnit::Chunk
            && is_next
            && group.unfinished.is_some_and(|frame| frame.written > at.within)
        {
            return Lookup::Unfinished;
        }
        if group.state == State::Open {
            return Lookup::NoMore;
        }
        Lookup::Report(Next::GroupEnd { frames: group.count.into(), group: at.leave_group() })
    }

    /// Brings a position to the piece that has its frame.
    fn find_in_pieces(&self, at: &mut Position, group: &Group, by: ReadUnit) -> Lookup {
        // Whoever goes on knows the piece.
        let known = self.pieces.find(at.piece_key());
        let found = match known.filter(|piece| piece.covers(at.frame, at.within)) {
            Some(_) => Some(at.piece),
            None => group.pieces.find(&self.pieces, at.frame, at.within),
        };
        let Some((number, piece)) = found.and_then(|at| Some((at, self.pieces.get(at)?))) else {
            return Lookup::NoMore;
        };
        match piece.kind {
            Kind::Missing(why) => {
                let (group, first) = (at.wanted, u64::from(at.frame));
                let count = u64::from(piece.end()) - first;
                (at.frame, at.within) = (piece.end(), 0);
                at.leave(piece.next());
                return Lookup::Report(Next::Missing { group, first, count, why });
            }
            Kind::Part { offset, size } => {
                if by == ReadUnit::Frame && piece.bytes.len() != size as usize {
                    let (group, index) = (at.wanted, at.frame.into());
                    return Lookup::Report(Next::Parts { group, index, size: size.into() });
                }
                let end = offset + piece.bytes.len() as u32;
                if at.within >= end {
                    return if end < size { Lookup::NoMore } else { Lookup::Within };
                }
            }
            Kind::Frames if by == ReadUnit::Run && at.within > 0 => return Lookup::Within,
            Kind::Frames => {
                if at.base != piece.base() {
                    at.offset = piece.trimmed + walk(&piece.bytes, at.frame - piece.first) as u32;
                    at.base = piece.base();
                }
            }
        }
        at.piece = number;
        Lookup::Piece
    }
}
