//! Tracks: how they come, end, and are found.

use alloc::boxed::Box;

use super::config::{Limits, MAX_NAME};
use super::group::State;
use super::track::{Life, Track};
use super::{Cache, CallError, DROPPED, Evictions, MAX_SEQUENCE, Misuse, Refusal, TrackId};
use crate::Instant;
use crate::storage::slab::NONE;

impl Cache {
    /// Creates a track under a name that no live track has; the name of one that has ended means the
    /// new one from now on. `publisher` says whose unfinished bytes are counted together.
    ///
    /// # Errors
    /// [`Misuse::Name`], [`Refusal::NameTaken`], [`Refusal::Full`].
    pub fn create_track(
        &mut self,
        now: Instant,
        name: &[u8],
        publisher: u64,
        limits: Limits,
    ) -> Result<TrackId, CallError> {
        self.begin();
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(Misuse::Name(name.len()).into());
        }
        let known = self.index.named(&self.store, name);
        if known.and_then(|at| self.store.tracks.get(at)).is_some_and(Track::is_live) {
            self.context.advance(now);
            return Err(self.refuse(Refusal::NameTaken));
        }
        self.context.advance(now);
        let growth =
            |cache: &Self| cache.store.tracks.growth() + name.len() + cache.publishers.growth_by(1);
        self.keep_reserves(name.len(), Some((publisher, name.len())))?;
        self.admit(growth)?;
        let joined = self.publishers.join(publisher, name.len()).ok_or_else(|| self.full())?;
        let generation = self.next_generation();
        let name: Box<[u8]> = name.into();
        let track = Track {
            name,
            publisher: joined.at,
            is_reserved: joined.is_reserved,
            limits,
            top: NONE,
            expiry: Instant::MAX,
            ..Track::default()
        };
        let track = self.store.add_track(generation, track).ok_or_else(|| self.full())?;
        self.index.name(&mut self.store, track.0.slot);
        self.stats.tracks += 1;
        Ok(track)
    }

    /// The track of this name, live or ended.
    #[must_use]
    pub fn track(&self, name: &[u8]) -> Option<TrackId> {
        let slot = self.index.named(&self.store, name)?;
        self.store.tracks.key(slot).map(TrackId)
    }

    /// The highest number of a group that the track ever had.
    #[must_use]
    pub fn newest(&self, track: TrackId) -> Option<u64> {
        self.store.track(track).ok()?.newest
    }

    /// The group with the lowest number that is in the cache, and its first frame.
    #[must_use]
    pub fn floor(&self, track: TrackId) -> Option<(u64, u64)> {
        let first = self.store.first_group(self.store.track(track).ok()?)?;
        Some((first.sequence, first.floor.into()))
    }

    /// The evictions of the track.
    #[must_use]
    pub fn evictions(&self, track: TrackId) -> Option<Evictions> {
        self.store.track(track).ok().map(|track| track.evicted)
    }

    /// How many groups of the track are in the cache, skipped and aborted ones included.
    #[must_use]
    pub fn group_count(&self, track: TrackId) -> Option<u32> {
        self.store.track(track).ok().map(|track| track.group_count)
    }

    /// Says which group is the last: `None` for the newest. Groups up to it may still come, later ones are
    /// refused. Groups that are open stay open. A track that has neither groups nor readers goes by itself
    /// once the last group was there, or when it is aborted or dropped.
    ///
    /// # Errors
    /// [`Misuse::UnknownTrack`], [`Misuse::TrackEnded`], [`Refusal::EndsBefore`].
    pub fn finish_track(&mut self, track: TrackId, end: Option<u64>) -> Result<(), CallError> {
        self.begin();
        let known = self.store.track(track)?;
        if !known.is_live() {
            return Err(Misuse::TrackEnded.into());
        }
        let end = match (end, known.newest) {
            (Some(end), Some(newest)) if end < newest => {
                return Err(self.refuse(Refusal::EndsBefore { newest }));
            }
            // There is no group behind the highest number.
            (end, newest) => end.map(|end| end.min(MAX_SEQUENCE)).or(newest),
        };
        self.end_track(track.0.slot, Life::Finished { end, closed: false });
        Ok(())
    }

    /// Ends a track with a code. Its open groups are aborted with it; its finished ones stay to be
    /// drained.
    ///
    /// # Errors
    /// [`Misuse::UnknownTrack`], [`Misuse::TrackEnded`].
    pub fn abort_track(&mut self, track: TrackId, code: u64) -> Result<(), Misuse> {
        self.begin();
        match self.store.track(track)?.life {
            Life::Live | Life::Finished { closed: false, .. } => {}
            _ => return Err(Misuse::TrackEnded),
        }
        self.abort_open_groups(track.0.slot, code);
        self.end_track(track.0.slot, Life::Aborted { code });
        Ok(())
    }

    /// Says that a track's producer went away: its open groups are aborted as [`DROPPED`], and so is the
    /// track, unless it was finished. Nothing happens to one that was aborted.
    ///
    /// # Errors
    /// [`Misuse::UnknownTrack`].
    pub fn drop_track(&mut self, track: TrackId) -> Result<(), Misuse> {
        self.begin();
        let life = match self.store.track(track)?.life {
            Life::Live => Life::Aborted { code: DROPPED },
            Life::Finished { end, closed: false } => Life::Finished { end, closed: true },
            _ => return Ok(()),
        };
        self.abort_open_groups(track.0.slot, DROPPED);
        self.end_track(track.0.slot, life);
        Ok(())
    }

    fn abort_open_groups(&mut self, track: u32, code: u64) {
        let mut at = self.store.tracks.get(track).map_or(NONE, |track| track.row.first());
        while let Some(group) = self.store.groups.get(at) {
            let next = group.link.next;
            if group.state == State::Open {
                self.abort(at, code);
            }
            at = next;
        }
    }

    /// Ends a track, and wakes everybody who waits for its groups.
    fn end_track(&mut self, at: u32, life: Life) {
        let Some(track) = self.store.tracks.get_mut(at) else { return };
        track.life = life;
        let last = match life {
            Life::Finished { end: Some(end), closed: false } => Some(end),
            _ => None,
        };
        // A reader that waits for the next group has nothing to read as long as that may come.
        if last.is_none_or(|last| track.newest == Some(last)) {
            self.readers.wake_next(&mut self.store, at);
        }
        let is_beyond = |wanted| last.is_none_or(|last| wanted > last);
        self.readers.wake_later(&mut self.store, at, true, is_beyond);
        self.pend_ready();
        self.index.reorder(&mut self.store, at);
        self.forget_if_over(at);
    }

    /// Forgets a track that has ended with its last group, and has neither groups nor readers.
    pub(super) fn forget_if_over(&mut self, at: u32) {
        let Some(track) = self.store.tracks.get(at) else { return };
        if track.is_expecting() || track.group_count > 0 || track.readers > 0 || track.has_evictions
        {
            return;
        }
        self.index.unname(&mut self.store, at);
        if let Some(track) = self.store.remove_track(at) {
            self.publishers.leave(&track);
        }
    }

    /// Says that bytes of an incomplete frame are complete, or gone.
    pub(super) fn forget_unfinished(&mut self, track: u32, bytes: u32) {
        if let Some(unfinished) = self.unfinished(track) {
            *unfinished -= bytes;
        }
    }

    /// The bytes of incomplete frames that the publisher of a track has, to be changed.
    pub(super) fn unfinished(&mut self, track: u32) -> Option<&mut u32> {
        self.publishers.unfinished(self.store.tracks.get(track)?.publisher)
    }
}
