//! What a cache holds: its tracks, their groups, and the pieces of those. It is read without being changed.

use super::event::Start;
use super::group::{Group, Piece};
use super::past::Past;
use super::position::Position;
use super::track::Track;
use super::{GroupId, Refusal, TrackId};
use crate::storage::slab::Keyed;

/// Tracks, groups and pieces, and what is remembered of groups that went.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) tracks: Keyed<Track>,
    pub(super) groups: Keyed<Group>,
    pub(super) pieces: Keyed<Piece>,
    pub(super) past: Past,
}

impl Store {
    /// What there is before anything is created, of a cache that takes at most so many bytes.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            tracks: Keyed::new(),
            groups: Keyed::new(),
            pieces: Keyed::new(),
            past: Past::new(max_bytes),
        }
    }

    #[inline]
    pub(super) fn track(&self, track: TrackId) -> Result<&Track, Refusal> {
        self.tracks.find(track.0).ok_or(Refusal::UnknownTrack)
    }

    /// A group, whatever its state.
    #[inline]
    pub(super) fn group(&self, group: GroupId) -> Result<&Group, Refusal> {
        self.groups.find(group.0).ok_or(Refusal::UnknownGroup)
    }

    /// The position that a start means now in the track at a place.
    pub(super) fn position(&self, at: u32, start: Start) -> Position {
        let track = self.tracks.get(at);
        let edge = track.and_then(|track| track.newest).map_or(0, |newest| newest + 1);
        let top = track.and_then(|track| self.groups.get(track.top));
        let (group, frame) = match start {
            Start::At { group, frame } => (group, u32::try_from(frame).unwrap_or(u32::MAX)),
            Start::Oldest => {
                let first = track.and_then(|track| track.groups.first(&self.groups));
                let first = first.and_then(|at| self.groups.get(at));
                first.map_or((edge, 0), |group| (group.sequence, group.floor))
            }
            Start::Newest => top.map_or((edge, 0), |group| (group.sequence, group.floor)),
            Start::Live => top.map_or((edge, 0), |group| (group.sequence, group.count)),
        };
        Position::in_track(at, group, frame)
    }
}
