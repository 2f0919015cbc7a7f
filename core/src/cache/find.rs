//! Where a reader goes next: into the groups of its track, behind what is gone, to the piece that has its
//! frame. What is not there yet it waits for.

use core::convert::Infallible;

use super::Cache;
use super::event::{By, Next};
use super::group::{Kind, State, Unfinished};
use super::past::End;
use super::reader::Waits;
use crate::storage::slab::NONE;

/// Where what a reader reads next lies, once it stands there.
#[derive(Clone, Copy)]
pub(super) enum Spot {
    /// In its piece.
    Piece,
    /// In the tail of its group, complete.
    Tail,
    /// There too, and incomplete.
    Unfinished,
    /// Within a frame, where only chunks can be read.
    Within,
    /// Nowhere.
    Say(Next<Infallible>),
}

impl Cache {
    /// Brings a reader to what comes next, or says what that is.
    pub(super) fn find(&mut self, at: u32, by: By) -> Spot {
        let Some(reader) = self.readers.get(at) else { return Spot::Say(Next::Pending) };
        let (waits, group) = (reader.waits, reader.group);
        let spot = self.look_for(at, by);
        // Who waited for one thing and reads another does not wait any more.
        if let Waits::ForMore(of) | Waits::ForFrame(of) = waits
            && of != by
            && !matches!(spot, Spot::Within)
            && let Some(reader) = self.readers.get_mut(at).filter(|reader| reader.waits == waits)
            && let Some(group) = self.groups.get_mut(group)
        {
            reader.waits = Waits::Not;
            match waits {
                Waits::ForMore(_) => group.waiting[of as usize].remove(&mut self.readers, at),
                _ => group.ahead.remove(&mut self.readers, at),
            }
        }
        spot
    }

    fn look_for(&mut self, at: u32, by: By) -> Spot {
        loop {
            let Some(reader) = self.readers.get(at) else { return Spot::Say(Next::Pending) };
            let found = if reader.group == NONE {
                self.enter(at)
            } else if self.groups.find(reader.group()).is_some_and(|group| {
                // Of an aborted group the code says why nothing is left.
                group.floor <= reader.frame || matches!(group.state, State::Aborted { .. })
            }) {
                Some(self.find_within(at, by))
            } else {
                Some(Spot::Say(self.say_gone(at)))
            };
            if let Some(spot) = found {
                return spot;
            }
        }
    }

    /// Brings a reader into the first group that there is with its number or a higher one.
    fn enter(&mut self, at: u32) -> Option<Spot> {
        let reader = self.readers.get(at)?;
        let track = self.tracks.get(reader.track)?;
        let wanted = reader.wanted;
        match self.group_from(reader.track, wanted) {
            Some((slot, sequence)) if sequence == wanted || wanted >= track.evicted_end => {
                let generation = self.groups.key(slot)?.generation;
                let reader = self.readers.get_mut(at)?;
                if sequence > wanted {
                    reader.go(sequence, 0);
                }
                (reader.group, reader.generation) = (slot, generation);
                None
            }
            Some(_) => Some(Spot::Say(self.say_gone(at))),
            None if wanted < track.evicted_end => Some(Spot::Say(self.say_gone(at))),
            None => Some(Spot::Say(self.wait_for_group(at))),
        }
    }

    /// The first group of a track from a number on: its place and its number.
    fn group_from(&self, track: u32, wanted: u64) -> Option<(u32, u64)> {
        let order = |at| self.groups.get(at).map(|group| group.sequence).cmp(&Some(wanted));
        let slot = self.tracks.get(track)?.groups.at_or_after(&self.groups, order)?;
        self.groups.get(slot).map(|group| (slot, group.sequence))
    }

    /// Says what became of the group that a reader is in or would enter, which is not there or no longer
    /// has the reader's frame.
    fn say_gone(&mut self, at: u32) -> Next<Infallible> {
        let Some(reader) = self.readers.get_mut(at) else { return Next::Pending };
        let (group, frame) = (reader.wanted, reader.frame);
        let is_there = self.groups.find(reader.group()).is_some();
        let past = self.tracks.get(reader.track).filter(|_| !is_there).map(|track| track.past);
        let next = match past.and_then(|past| self.past.find(past, group)) {
            Some(End::Frames(frames)) if frame >= frames => {
                Next::GroupEnd { group, frames: frames.into() }
            }
            Some(End::Skipped) => Next::Skipped { group },
            _ => return self.say_evicted(at),
        };
        reader.go(group + 1, 0);
        next
    }

    /// Says that the cache passed a reader, and brings it to what is still there.
    fn say_evicted(&mut self, at: u32) -> Next<Infallible> {
        let Some(reader) = self.readers.get(at) else { return Next::Pending };
        let (track, group, frame) = (reader.track, reader.wanted, reader.frame);
        let next = self.group_from(track, group).and_then(|(slot, sequence)| {
            let floor = self.groups.get(slot)?.floor;
            Some((sequence, if sequence == group { floor.max(frame) } else { floor }))
        });
        let edge = self.tracks.get(track).and_then(|track| track.newest).map_or(0, |last| last + 1);
        if let Some(reader) = self.readers.get_mut(at) {
            let (group, frame) = next.unwrap_or((edge, 0));
            reader.go(group, frame);
        }
        let next = next.map(|(group, frame)| (group, frame.into()));
        Next::Evicted { group, frame: frame.into(), next }
    }

    /// What a reader finds in its group, whose front it is not behind.
    fn find_within(&mut self, at: u32, by: By) -> Spot {
        let Some(reader) = self.readers.get_mut(at) else { return Spot::Say(Next::Pending) };
        let Some(group) = self.groups.get(reader.group) else { return Spot::Say(Next::Pending) };
        match group.state {
            State::Aborted { finished, .. } if !finished || reader.frame < group.count => {
                return self.leave_aborted(at);
            }
            State::Skipped => {
                let group = reader.wanted;
                reader.go(group + 1, 0);
                return Spot::Say(Next::Skipped { group });
            }
            _ => {}
        }
        let is_next = reader.frame == group.count;
        let is_parted = is_next && group.unfinished.is_some_and(Unfinished::is_parted);
        let is_begun = group.unfinished.is_some_and(|frame| frame.written > 0);
        if reader.within > 0
            && (by == By::Frame || by == By::Run && reader.frame >= group.sealed && !is_parted)
        {
            return Spot::Within;
        }
        if reader.frame < group.sealed || is_parted && is_begun && by != By::Frame {
            return self.find_in_pieces(at, by);
        }
        if reader.frame < group.count {
            if reader.base != group.sealed {
                reader.offset = group.tail_offset(reader.frame);
                reader.base = group.sealed;
            }
            reader.piece = NONE;
            return Spot::Tail;
        }
        if by == By::Chunk
            && is_next
            && group.unfinished.is_some_and(|frame| frame.written > reader.within)
        {
            return Spot::Unfinished;
        }
        if group.state == State::Open {
            return Spot::Say(self.wait_for_more(at, by));
        }
        let (frames, group) = (group.count.into(), reader.wanted);
        reader.go(group + 1, 0);
        Spot::Say(Next::GroupEnd { group, frames })
    }

    /// Brings a reader to the piece that has its frame.
    fn find_in_pieces(&mut self, at: u32, by: By) -> Spot {
        let Some(reader) = self.readers.get_mut(at) else { return Spot::Say(Next::Pending) };
        let Some(group) = self.groups.get(reader.group) else { return Spot::Say(Next::Pending) };
        // A reader that goes on knows its piece.
        let known = self.pieces.find(reader.piece());
        let known = known.filter(|piece| piece.covers(reader.frame, reader.within));
        let found = match known {
            Some(_) => Some(reader.piece),
            None => group.pieces.find(&self.pieces, reader.frame, reader.within),
        };
        let Some((number, piece)) = found.and_then(|at| Some((at, self.pieces.get(at)?))) else {
            return Spot::Say(Next::Pending);
        };
        match piece.kind {
            Kind::Missing(why) => {
                let (group, first) = (reader.wanted, u64::from(reader.frame));
                let count = u64::from(piece.end()) - first;
                reader.frame = piece.end();
                reader.leave(piece.next());
                return Spot::Say(Next::Missing { group, first, count, why });
            }
            Kind::Part { offset, size } => {
                if by == By::Frame && piece.bytes.len() != size as usize {
                    let (group, index) = (reader.wanted, reader.frame.into());
                    return Spot::Say(Next::Parts { group, index, size: size.into() });
                }
                if reader.within >= offset + piece.bytes.len() as u32 {
                    return Spot::Say(self.wait_for_more(at, by));
                }
            }
            Kind::Frames if by == By::Run && reader.within > 0 => return Spot::Within,
            Kind::Frames => {
                if reader.base != piece.base() {
                    reader.offset = piece.offset_of(reader.frame);
                    reader.base = piece.base();
                }
            }
        }
        reader.piece = number;
        Spot::Piece
    }

    /// Says that a reader's group was aborted, and brings it behind that.
    fn leave_aborted(&mut self, at: u32) -> Spot {
        let Some(reader) = self.readers.get_mut(at) else { return Spot::Say(Next::Pending) };
        let state = self.groups.get(reader.group).map(|group| group.state);
        let Some(State::Aborted { code, .. }) = state else { return Spot::Say(Next::Pending) };
        let group = reader.wanted;
        reader.go(group + 1, 0);
        Spot::Say(Next::Aborted { group, code })
    }
}
