//! The store of a cache: its tracks, their groups, and the pieces of those. It is read without being changed.

use super::event::Start;
use super::group::{Group, Piece, State};
use super::past::Past;
use super::position::Position;
use super::track::Track;
use super::{GroupId, Misuse, TrackId};
use crate::journal::Digest;
use crate::storage::slab::Keyed;

/// Tracks, groups and pieces, and what is remembered of groups that went.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) tracks: Keyed<Track>,
    pub(super) groups: Keyed<Group>,
    pub(super) pieces: Keyed<Piece>,
    pub(super) past: Past,
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
            keeps_checksums: false,
        }
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

    /// Makes the jumps of the pieces of a group right from one on that was put in between.
    pub(super) fn relink(&mut self, group: u32, from: u32) {
        if let Some(group) = self.groups.get(group) {
            group.pieces.relink(&mut self.pieces, from);
        }
    }

    /// Takes a piece out of its group.
    pub(super) fn take_piece(&mut self, group: u32, at: u32) -> Option<Piece> {
        self.groups.get_mut(group)?.pieces.take(&mut self.pieces, at)
    }

    /// A piece, and those of its group behind it.
    pub(super) fn pieces_from(&self, first: u32) -> impl Iterator<Item = &Piece> {
        let piece = |at| self.pieces.get(at);
        core::iter::successors(piece(first), move |before| piece(before.next()))
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
