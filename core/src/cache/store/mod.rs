//! The store of a cache: its tracks, their groups, the pieces of those and the blocks that they lie in. It knows no
//! budget and no reader; who waits for something of a track or a group is kept there for
//! [`Readers`](super::reader::readers::Readers).
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | what comes into the store, and what goes |
//! | `find.rs`, `take.rs` | what comes next at a position; reading it |
//! | `compact.rs` | pieces that are laid together once more |
//! | `past.rs` | what is remembered of groups that went |

mod compact;
pub(super) mod find;
mod past;
pub(super) mod take;

use bytes::{Buf, Bytes};

use super::event::Start;
use super::group::{Group, Kind, Piece, State, frame_at};
use super::pool::Pool;
use super::position::Position;
use super::track::Track;
use super::{GroupId, Misuse, TrackId};
use crate::journal::Digest;
use crate::storage::charge::Measure;
use crate::storage::slab::{Keyed, NONE};
use past::Past;

/// Tracks, groups, pieces and blocks, and what is remembered of groups that went.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) tracks: Keyed<Track>,
    pub(super) groups: Keyed<Group>,
    pieces: Keyed<Piece>,
    past: Past,
    pub(super) pool: Pool,
    /// Bytes of the names of tracks.
    names: usize,
    /// Bytes of buffers from outside that are held by reference.
    external_bytes: usize,
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
            names: 0,
            external_bytes: 0,
            keeps_checksums: false,
        }
    }

    /// Bytes of what is never evicted: tracks and their names, and tables that are there from the beginning.
    #[inline(always)]
    pub(super) fn lasting_bytes(&self, measure: Measure) -> usize {
        self.tracks.bytes(measure)
            + self.names
            + self.past.bytes(measure)
            + self.pool.tables(measure)
    }

    /// The most bytes of tables for the first groups, pieces and blocks.
    pub(super) const fn first_pages() -> usize {
        Keyed::<Group>::most(1) + Keyed::<Piece>::most(1) + Pool::first_page()
    }

    /// Bytes of what can be evicted.
    #[inline(always)]
    pub(super) fn evictable_bytes(&self, measure: Measure) -> usize {
        self.groups.bytes(measure)
            + self.pieces.bytes(measure)
            + self.pool.used(measure)
            + self.external_bytes
    }

    /// Bytes that so many further pieces are charged, but for what is in them.
    pub(super) fn piece_growth(&self, pieces: usize) -> usize {
        self.pieces.growth_by(pieces)
    }

    /// The group of a track with the lowest number.
    pub(super) fn first_group(&self, track: &Track) -> Option<&Group> {
        self.groups.get(track.groups.first(&self.groups)?)
    }

    /// The first piece of a group.
    pub(super) fn first_piece(&self, group: u32) -> Option<&Piece> {
        self.pieces.get(self.groups.get(group)?.pieces.first())
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
    fn sum(&self, piece: &mut Piece) {
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

    /// Keeps a track.
    pub(super) fn add_track(&mut self, generation: u64, track: Track) -> Option<TrackId> {
        self.names += track.name.len();
        self.tracks.insert_as(generation, track).map(TrackId)
    }

    /// Forgets a track that has no groups, and what went of it.
    pub(super) fn remove_track(&mut self, at: u32) -> Option<Track> {
        self.past.forget(&mut self.tracks, at);
        let track = self.tracks.remove(at)?;
        self.names -= track.name.len();
        Some(track)
    }

    /// Makes a group part of its track.
    pub(super) fn add_group(&mut self, generation: u64, group: Group) -> Option<GroupId> {
        let (at, sequence) = (group.track, group.sequence);
        let key = self.groups.insert_as(generation, group)?;
        let track = self.tracks.get_mut(at)?;
        track.groups.insert(&mut self.groups, key.slot);
        track.group_count += 1;
        track.row.push(&mut self.groups, key.slot);
        if self.groups.get(track.top).is_none_or(|top| top.sequence < sequence) {
            track.top = key.slot;
        }
        track.newest = track.newest.max(Some(sequence));
        Some(GroupId(key))
    }

    /// Forgets a group that holds nothing any more, but for what its track remembers of it.
    pub(super) fn remove_group(&mut self, at: u32) {
        let Some(group) = self.groups.get(at) else { return };
        self.past.add(&mut self.tracks, group.track, group);
        let Some(track) = self.tracks.get_mut(group.track) else { return };
        track.evicted_end = track.evicted_end.max(group.sequence.saturating_add(1));
        track.groups.remove(&mut self.groups, at);
        track.group_count -= 1;
        track.row.remove(&mut self.groups, at);
        if track.top == at {
            track.top = track.groups.end(&self.groups, true).unwrap_or(NONE);
        }
        self.groups.remove(at);
    }

    /// Hangs a piece behind another one of its group, or before all for `NONE`; its place.
    fn insert_piece(&mut self, group: u32, before: u32, mut piece: Piece) -> Option<u32> {
        let generation = self.groups.key(group)?.generation;
        self.sum(&mut piece);
        let pinned = piece.pinned;
        let at = self.pieces.insert_as(generation, piece)?.slot;
        self.external_bytes += pinned;
        self.groups.get_mut(group)?.pieces.insert_after(&mut self.pieces, before, at);
        Some(at)
    }

    /// Hangs a piece behind the others of its group.
    pub(super) fn push_piece(&mut self, group: u32, piece: Piece) -> Option<u32> {
        self.insert_piece(group, self.groups.get(group)?.pieces.last(), piece)
    }

    /// Appends missing frames to the last piece of a group, if that is of such too.
    pub(super) fn extend_missing(&mut self, group: u32, kind: Kind, count: u32) -> bool {
        let last = self.groups.get(group).map_or(NONE, |group| group.pieces.last());
        let last = self.pieces.get_mut(last).filter(|last| last.kind == kind);
        let is_extended = last.is_some();
        last.into_iter().for_each(|last| last.frames += count);
        is_extended
    }

    /// Takes a piece out of its group.
    fn take_piece(&mut self, group: u32, at: u32) -> Option<Piece> {
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
    fn mark_sealed(&mut self, at: u32) {
        let Some(group) = self.groups.get_mut(at) else { return };
        let was_unsealed = group.sealed < group.count;
        (group.sealed, group.fast_appends) = (group.count, 0);
        if let Some(track) = self.tracks.get_mut(group.track).filter(|_| was_unsealed) {
            track.unsealed.remove(&mut self.groups, at);
        }
    }

    /// Lets go of all that lies in the tail of a group, of which nothing was shared, or it would be a piece.
    pub(super) fn clear_tail(&mut self, at: u32) {
        let Some(group) = self.groups.get_mut(at) else { return };
        group.floor = group.count;
        group.tail.clear();
        self.mark_sealed(at);
    }

    /// Keeps a place for the piece that the tail of a group will be.
    pub(super) fn keep_place(&mut self, at: u32) -> Option<()> {
        let generation = self.groups.key(at)?.generation;
        let place = self.pieces.insert_as(generation, Piece::default())?.slot;
        self.groups.get_mut(at)?.tail_piece = place;
        Some(())
    }

    /// Gives up the place that was kept for the tail of a group.
    pub(super) fn drop_place(&mut self, at: u32) {
        let Some(group) = self.groups.get_mut(at) else { return };
        let place = core::mem::replace(&mut group.tail_piece, NONE);
        if place != NONE {
            self.pieces.remove(place);
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
            Start::Oldest => track.and_then(|track| self.first_group(track)),
            Start::Newest | Start::Live => track.and_then(|track| self.groups.get(track.top)),
        };
        let frame = |group: &Group| if start == Start::Live { group.count } else { group.floor };
        let (group, frame) = group.map_or((edge, 0), |group| (group.sequence, frame(group)));
        Position::in_track(at, group, frame)
    }
}
