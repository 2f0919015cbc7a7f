//! The groups that were evicted last, of all tracks: number and length of each that had ended, so that a
//! reader that has read all of one gets its end, not an eviction.
//!
//! The records lie in places that are allocated at construction: an eviction allocates nothing. Where all are
//! taken, the track that has most gives its oldest: no track can push out those of one that has fewer.

use crate::cache::group::{Group, State};
use crate::cache::track::{ByPast, Track};
use crate::storage::charge::{Measure, charged};
use crate::storage::list::Link;
use crate::storage::slab::{Keyed, NONE};
use crate::storage::table::{InRow, Row, Table};
use crate::storage::tree::Tree;

/// How many evicted groups a track remembers.
const MOST_OF_TRACK: u8 = 64;
/// Bytes of the budget for which there is one record, so that they take 1/64 of it.
const BYTES_PER_GROUP: usize = 1024;
/// Stands for the length of a group that was skipped; no group has so many frames.
const SKIPPED: u32 = u32::MAX;

/// How a group ended that was evicted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// Behind so many frames.
    Frames(u32),
    /// There was nothing under its number.
    Skipped,
}

/// One evicted group.
#[derive(Default, Debug)]
struct PastGroup {
    sequence: u64,
    frames: u32,
    /// The record of the same track that was made after this one; of a free place, the next free one.
    next: u32,
}

charged!(PastGroup = 16);

impl InRow for PastGroup {
    fn link(&self) -> Link {
        Link { previous: NONE, next: self.next }
    }

    fn set_link(&mut self, link: Link) {
        self.next = link.next;
    }
}

/// The groups that were evicted last.
#[derive(Debug)]
pub(super) struct Past {
    groups: Table<PastGroup>,
    /// The tracks that have records, by how many.
    by_count: Tree<ByPast>,
}

impl Past {
    /// Records for a cache that takes at most so many bytes.
    pub(super) fn new(max_bytes: usize) -> Self {
        let most = (max_bytes / BYTES_PER_GROUP).min(NONE as usize);
        Self { groups: Table::new(most), by_count: Tree::EMPTY }
    }

    /// Bytes of the table.
    pub(super) const fn bytes(&self, measure: Measure) -> usize {
        self.groups.memory(measure)
    }

    /// Records that a group of the track in this place is evicted, if it has ended.
    pub(super) fn add(&mut self, tracks: &mut Keyed<Track>, at: u32, group: &Group) {
        let frames = match group.state {
            State::Finished | State::Aborted { finished: true, .. } => group.count,
            State::Skipped => SKIPPED,
            State::Open | State::Aborted { finished: false, .. } => return,
        };
        let record = PastGroup { sequence: group.sequence, frames, next: NONE };
        let giver = self.giver(tracks, at);
        if giver == Some(at) {
            // It has as many afterwards.
            self.take_oldest(tracks, at);
            return self.push(tracks, at, record);
        }
        self.untie(tracks, at);
        if let Some(giver) = giver {
            self.untie(tracks, giver);
            self.take_oldest(tracks, giver);
            self.tie(tracks, giver);
        }
        self.push(tracks, at, record);
        self.tie(tracks, at);
    }

    /// The track whose oldest record makes room for one more of a track; `None` when there is room.
    fn giver(&self, tracks: &Keyed<Track>, at: u32) -> Option<u32> {
        let count = |at| tracks.get(at).map_or(0, |track| track.past_count);
        let own = count(at);
        if own >= MOST_OF_TRACK {
            return Some(at);
        }
        if !self.groups.is_full() {
            return None;
        }
        let most = self.by_count.end(tracks, true)?;
        Some(if count(most) > own { most } else { at })
    }

    /// Frees the place of a track's oldest record.
    fn take_oldest(&mut self, tracks: &mut Keyed<Track>, at: u32) {
        let Some(track) = tracks.get_mut(at) else { return };
        if let Some(place) = track.past.pop(&mut self.groups) {
            self.groups.remove(place);
            track.past_count -= 1;
        }
    }

    /// Makes a record of a track, for which there is room.
    fn push(&mut self, tracks: &mut Keyed<Track>, at: u32, record: PastGroup) {
        let Some(track) = tracks.get_mut(at) else { return };
        if let Some(place) = self.groups.insert(record) {
            track.past.push(&mut self.groups, place);
            track.past_count += 1;
        }
    }

    /// Frees the places of all records of a track.
    pub(super) fn forget(&mut self, tracks: &mut Keyed<Track>, at: u32) {
        self.untie(tracks, at);
        while tracks.get(at).is_some_and(|track| track.past_count > 0) {
            self.take_oldest(tracks, at);
        }
    }

    fn untie(&mut self, tracks: &mut Keyed<Track>, at: u32) {
        if tracks.get(at).is_some_and(|track| track.past_count > 0) {
            self.by_count.remove(tracks, at);
        }
    }

    fn tie(&mut self, tracks: &mut Keyed<Track>, at: u32) {
        if tracks.get(at).is_some_and(|track| track.past_count > 0) {
            self.by_count.insert(tracks, at);
        }
    }

    /// How the group of a number ended that was evicted last under it, of the track with these records.
    pub(super) fn find(&self, of_track: Row, sequence: u64) -> Option<End> {
        let place = |place| self.groups.get(place);
        let groups = core::iter::successors(place(of_track.first()), |group| place(group.next));
        let group = groups.filter(|group| group.sequence == sequence).last()?;
        Some(match group.frames {
            SKIPPED => End::Skipped,
            frames => End::Frames(frames),
        })
    }
}
