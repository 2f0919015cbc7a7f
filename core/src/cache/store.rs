//! The store of a cache: its tracks, their groups, the pieces of those and the blocks that they lie in. It knows no
//! budget and no reader; `find` and `take` read it.

use bytes::{Buf, Bytes};

use super::event::Start;
use super::group::{Group, Kind, Piece, State, frame_at};
use super::past::Past;
use super::pool::Pool;
use super::position::Position;
use super::track::Track;
use super::{GroupId, Misuse, TrackId};
use crate::journal::Digest;
use crate::storage::slab::{Keyed, NONE};

/// Tracks, groups, pieces and blocks, and what is remembered of groups that went.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) tracks: Keyed<Track>,
    pub(super) groups: Keyed<Group>,
    pub(super) pieces: Keyed<Piece>,
    pub(super) past: Past,
    pub(super) pool: Pool,
    /// Bytes of names, and of buffers from outside that are held by reference.
    pub(super) external_bytes: usize,
    /// Pieces get checksums.
    pub(super) keeps_checksums: bool,
}

impl Store {
    /// The store before anything is created, of a cache that takes at most so many bytes.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            tracks: Keyed::new(),
            groups: Keyed::new(),
            pieces: Keyed::new(),
            past: Past::new(max_bytes),
            pool: Pool::new(max_bytes),
            external_bytes: 0,
            keeps_checksums: false,
        }
    }

    /// Bytes of what is never evicted: tables of tracks, and those that are there from the beginning.
    pub(super) fn lasting_bytes(&self) -> usize {
        self.tracks.bytes() + self.past.bytes() + self.pool.tables()
    }

    /// Bytes of what can be evicted, and of names.
    pub(super) fn evictable_bytes(&self) -> usize {
        self.groups.bytes() + self.pieces.bytes() + self.pool.used() + self.external_bytes
    }

    #[inline]
    pub(super) fn track(&self, track: TrackId) -> Result<&Track, Misuse> {
        self.tracks.find(track.0).ok_or(Misuse::UnknownTrack)
    }

    /// A group, whatever its state.
    #[inline]
    pub(super) fn group(&self, group: GroupId) -> Result<&Group, Misuse> {
        self.groups.find(group.0).ok_or(Misuse::UnknownGroup)
    }

    /// Makes the checksum of a piece that is sealed, where such are kept.
    pub(super) fn sum(&self, piece: &mut Piece) {
        if self.keeps_checksums {
            piece.checksum = Digest::of(&piece.bytes).value();
        }
    }

    /// A group that is open or finished.
    pub(super) fn present(&self, group: GroupId) -> Result<&Group, Misuse> {
        let group = self.group(group)?;
        match group.state {
            State::Open | State::Finished => Ok(group),
            State::Aborted { code, .. } => Err(Misuse::Aborted(code)),
            State::Skipped => Err(Misuse::Skipped),
        }
    }

    /// Hangs a piece behind another one of its group, or before all for `NONE`; its place.
    pub(super) fn insert_piece(
        &mut self,
        group: u32,
        before: u32,
        mut piece: Piece,
    ) -> Option<u32> {
        let generation = self.groups.key(group)?.generation;
        self.sum(&mut piece);
        let at = self.pieces.insert_as(generation, piece)?.slot;
        self.groups.get_mut(group)?.pieces.insert_after(&mut self.pieces, before, at);
        Some(at)
    }

    /// Hangs a piece behind the others of its group.
    pub(super) fn push_piece(&mut self, group: u32, piece: Piece) -> Option<u32> {
        self.insert_piece(group, self.groups.get(group)?.pieces.last(), piece)
    }

    /// Takes a piece out of its group.
    pub(super) fn take_piece(&mut self, group: u32, at: u32) -> Option<Piece> {
        self.groups.get_mut(group)?.pieces.take(&mut self.pieces, at)
    }

    /// Lets go of a piece, and of what it lies in.
    pub(super) fn free(&mut self, piece: Piece) {
        let Piece { bytes, block, pinned, .. } = piece;
        drop(bytes);
        if block == NONE {
            self.external_bytes -= pinned;
        } else {
            self.pool.release(block);
        }
    }

    /// Frees the first piece of a group; of a frame in parts all of them.
    pub(super) fn drop_front_piece(&mut self, at: u32) {
        let Some(group) = self.groups.get_mut(at) else { return };
        let Some(head) = self.pieces.get(group.pieces.first()) else { return };
        let (first, end) = (head.first, head.end());
        if group.is_limited {
            group.bytes -= head.payload();
        }
        group.floor = end;
        self.free_pieces(at, |piece| piece.first == first);
    }

    /// Frees pieces from the front of a group on, as long as `which` says so.
    pub(super) fn free_pieces(&mut self, at: u32, which: impl Fn(&Piece) -> bool) {
        while let Some(group) = self.groups.get(at)
            && let first = group.pieces.first()
            && self.pieces.get(first).is_some_and(&which)
            && let Some(piece) = self.take_piece(at, first)
        {
            self.free(piece);
        }
    }

    /// Frees the first frame of a group; of missing ones up to `most`.
    pub(super) fn trim(&mut self, at: u32, most: u32) {
        let Some(group) = self.groups.get_mut(at) else { return };
        let Some(head) = self.pieces.get_mut(group.pieces.first()) else {
            if let Some((payload, end)) = frame_at(&group.tail, 0) {
                group.bytes -= payload.len() as u64;
                group.tail.advance(end);
                group.sealed += 1;
                group.floor = group.sealed;
            }
            return;
        };
        let frames = if let Kind::Missing(_) = head.kind { most } else { 1 };
        if head.frames <= frames {
            return self.drop_front_piece(at);
        }
        if head.kind == Kind::Frames
            && let Some((payload, end)) = frame_at(&head.bytes, 0)
        {
            group.bytes -= payload.len() as u64;
            head.bytes.advance(end);
            head.trimmed += end as u32;
        }
        head.first += frames;
        head.frames -= frames;
        group.floor = head.first;
    }

    /// Puts a piece of one frame where it is missing; `false` when that had to go while room was made.
    pub(super) fn place(&mut self, at: u32, piece: Piece) -> bool {
        let index = piece.first;
        let group = self.groups.get(at).filter(|group| index >= group.floor);
        let missing = group.and_then(|group| group.pieces.find(&self.pieces, index, 0));
        let Some((number, Some(gap))) = missing.map(|at| (at, self.pieces.get_mut(at))) else {
            self.free(piece);
            return false;
        };
        let (first, end, kind) = (gap.first, gap.end(), gap.kind);
        let mut before = gap.link.previous;
        if first < index {
            gap.frames = index - first;
            before = number;
        } else {
            self.take_piece(at, number);
        }
        let placed = self.insert_piece(at, before, piece).unwrap_or(NONE);
        if index + 1 < end {
            let rest = Piece::new(index + 1, end - index - 1, kind, Bytes::new());
            self.insert_piece(at, placed, rest);
        }
        if let Some(group) = self.groups.get(at) {
            group.pieces.relink(&mut self.pieces, placed);
        }
        true
    }

    /// Makes a piece of the complete frames of a group's tail, which can be shared then.
    pub(super) fn seal_group(&mut self, at: u32) {
        let Some(group) = self.groups.get_mut(at) else { return };
        let frames = group.count - group.sealed;
        if frames == 0 {
            return;
        }
        let bytes = group.tail.split().freeze();
        let piece = Piece::new(group.sealed, frames, Kind::Frames, bytes);
        self.mark_sealed(at);
        self.push_tail(at, piece);
    }

    /// Nothing complete is in the tail of a group any more.
    pub(super) fn mark_sealed(&mut self, at: u32) {
        let Some(group) = self.groups.get_mut(at) else { return };
        let was_unsealed = group.sealed < group.count;
        (group.sealed, group.fast_appends) = (group.count, 0);
        if let Some(track) = self.tracks.get_mut(group.track).filter(|_| was_unsealed) {
            track.unsealed.remove(&mut self.groups, at);
        }
    }

    /// Hangs a piece out of the tail's block behind a group's pieces, in the place that was kept for it.
    pub(super) fn push_tail(&mut self, at: u32, mut piece: Piece) {
        self.sum(&mut piece);
        let Some(group) = self.groups.get_mut(at) else { return };
        piece.block = group.tail_block;
        self.pool.share(group.tail_block);
        let number = core::mem::replace(&mut group.tail_piece, NONE);
        if let Some(place) = self.pieces.get_mut(number) {
            *place = piece;
            group.pieces.push(&mut self.pieces, number);
        }
    }

    /// The position that a start means now in the track at a place.
    pub(super) fn position(&self, at: u32, start: Start) -> Position {
        let track = self.tracks.get(at);
        let edge = track.and_then(|track| track.newest).map_or(0, |newest| newest + 1);
        let group = match start {
            Start::At { group, frame } => {
                let frame = u32::try_from(frame).unwrap_or(u32::MAX);
                return Position::in_track(at, group, frame);
            }
            Start::Oldest => track.and_then(|track| track.groups.first(&self.groups)),
            Start::Newest | Start::Live => track.map(|track| track.top),
        };
        let group = group.and_then(|at| self.groups.get(at));
        let frame = |group: &Group| if start == Start::Live { group.count } else { group.floor };
        let (group, frame) = group.map_or((edge, 0), |group| (group.sequence, frame(group)));
        Position::in_track(at, group, frame)
    }
}
