//! Groups: how they come and end.

use super::group::{Group, State};
use super::track::Life;
use super::{Cache, CallError, DROPPED, GroupId, Limits, MAX_SEQUENCE, Misuse, Refusal, TrackId};
use crate::Instant;
use crate::storage::slab::NONE;

impl Cache {
    /// Creates the group with this number; lower ones than the newest too. A skipped one comes to life. One
    /// that was evicted can be created again.
    ///
    /// # Errors
    /// [`Misuse::UnknownTrack`], [`Misuse::TrackEnded`], [`Refusal::BeyondEnd`],
    /// [`Refusal::BeyondWindow`], [`Refusal::Duplicate`], [`Refusal::Full`].
    pub fn create_group(
        &mut self,
        now: Instant,
        track: TrackId,
        sequence: u64,
    ) -> Result<GroupId, CallError> {
        self.create(now, track, sequence, State::Open)
    }

    /// Creates the group behind the newest there ever was: 0 (or [`Limits::first_group`]) at first.
    ///
    /// [`Limits::first_group`]: super::Limits::first_group
    ///
    /// # Errors
    /// As [`create_group`](Self::create_group).
    pub fn append_group(&mut self, now: Instant, track: TrackId) -> Result<GroupId, CallError> {
        let known = self.store.track(track)?;
        let next = known.newest.map_or(known.limits.first_group, |newest| newest.saturating_add(1));
        self.create(now, track, next, State::Open)
    }

    /// Says that there is nothing under this number: readers pass it, and get [`Next::Skipped`](super::Next::Skipped).
    ///
    /// # Errors
    /// As [`create_group`](Self::create_group).
    pub fn skip_group(
        &mut self,
        now: Instant,
        track: TrackId,
        sequence: u64,
    ) -> Result<(), CallError> {
        self.create(now, track, sequence, State::Skipped).map(|_| ())
    }

    /// The group with this number.
    #[must_use]
    pub fn group(&self, track: TrackId, sequence: u64) -> Option<GroupId> {
        let order = |at| self.store.groups.get(at).map(|group| group.sequence).cmp(&Some(sequence));
        let slot = self.store.track(track).ok()?.groups.find(&self.store.groups, order)?;
        self.store.groups.key(slot).map(GroupId)
    }

    /// The first frame of a group that was not evicted, and the index of the next: they are what is
    /// there, missing ones included. `None` when there is no such group, or no longer.
    #[must_use]
    pub fn frames(&self, group: GroupId) -> Option<core::ops::Range<u64>> {
        let group = self.store.group(group).ok()?;
        Some(group.floor.into()..group.count.into())
    }

    /// Says that a group has all its frames. It stays for readers to drain.
    ///
    /// # Errors
    /// [`Misuse::UnknownGroup`], [`Misuse::GroupEnded`], [`Misuse::Aborted`], [`Misuse::Skipped`],
    /// [`Refusal::Short`].
    pub fn finish_group(&mut self, group: GroupId) -> Result<(), CallError> {
        self.begin();
        let at = self.open_group(group)?;
        self.check_complete(at)?;
        self.store.seal_group(at);
        self.retire_tail(at);
        if let Some(group) = self.store.groups.get_mut(at) {
            group.state = State::Finished;
        }
        self.readers.wake_group(&mut self.store, at);
        self.pend_ready();
        Ok(())
    }

    /// Ends a group with a code: its frames go at once, and readers that have not drained it learn the
    /// code. One that was finished can be aborted too.
    ///
    /// # Errors
    /// [`Misuse::UnknownGroup`], [`Misuse::Aborted`], [`Misuse::Skipped`].
    pub fn abort_group(&mut self, group: GroupId, code: u64) -> Result<(), Misuse> {
        self.begin();
        self.store.present(group)?;
        self.abort(group.0.slot, code);
        Ok(())
    }

    /// Says that a group's producer went away: an open one is aborted as [`DROPPED`]. Nothing happens to
    /// others.
    ///
    /// # Errors
    /// [`Misuse::UnknownGroup`].
    pub fn drop_group(&mut self, group: GroupId) -> Result<(), Misuse> {
        self.begin();
        if self.store.group(group)?.state == State::Open {
            self.abort(group.0.slot, DROPPED);
        }
        Ok(())
    }

    pub(super) fn abort(&mut self, at: u32, code: u64) {
        self.clear(at);
        if let Some(group) = self.store.groups.get_mut(at) {
            let finished = group.state == State::Finished;
            group.state = State::Aborted { code, finished };
            self.stats.aborted += 1;
        }
        self.readers.wake_group(&mut self.store, at);
        self.pend_ready();
    }

    fn create(
        &mut self,
        now: Instant,
        id: TrackId,
        sequence: u64,
        state: State,
    ) -> Result<GroupId, CallError> {
        self.begin();
        let track = self.store.track(id)?;
        let end = match track.life {
            Life::Live => u64::MAX,
            Life::Finished { end: Some(end), closed: false } => end,
            _ => return Err(Misuse::TrackEnded.into()),
        };
        self.context.advance(now);
        let Limits { first_group, max_group_bytes, max_group_frames, .. } = track.limits;
        let is_newest = track.newest.is_none_or(|newest| sequence > newest);
        let from = track.newest.unwrap_or(0).max(first_group);
        let last = from.saturating_add(self.config.window).min(MAX_SEQUENCE);
        let is_limited = max_group_bytes != 0 || max_group_frames != 0;
        if sequence > end {
            return Err(self.refuse(Refusal::BeyondEnd { sequence, end }));
        }
        if sequence > last {
            return Err(self.refuse(Refusal::BeyondWindow { sequence, last }));
        }
        if let Some(known) = self.group(id, sequence) {
            return match self.store.groups.find_mut(known.0) {
                // It comes to life, in its place.
                Some(group) if group.state == State::Skipped && state != State::Skipped => {
                    group.state = state;
                    Ok(known)
                }
                _ => Err(self.refuse(Refusal::Duplicate(sequence))),
            };
        }
        self.admit(|cache| cache.store.groups.growth())?;
        let generation = self.next_generation();
        let group = Group {
            sequence,
            created: self.context.now(),
            track: id.0.slot,
            state,
            is_limited,
            tail_block: NONE,
            tail_piece: NONE,
            ..Group::default()
        };
        let group = self.store.add_group(generation, group).ok_or_else(|| self.full())?;
        self.stats.groups += 1;
        if is_newest {
            let has = |wanted| wanted <= sequence;
            self.readers.wake_next(&mut self.store, id.0.slot);
            self.readers.wake_later(&mut self.store, id.0.slot, false, has);
            self.pend_ready();
        }
        self.limit_groups(id.0.slot);
        self.index.reorder(&mut self.store, id.0.slot);
        Ok(group)
    }

    /// The place of a group that can be written to.
    pub(super) fn open_group(&self, group: GroupId) -> Result<u32, Misuse> {
        match self.store.present(group)?.state {
            State::Open => Ok(group.0.slot),
            _ => Err(Misuse::GroupEnded),
        }
    }

    /// Checks that no frame of a group is incomplete.
    pub(super) fn check_complete(&mut self, at: u32) -> Result<(), CallError> {
        match self.store.groups.get(at).and_then(|group| group.unfinished) {
            Some(frame) => {
                let left = u64::from(frame.size.get() - frame.written);
                Err(self.refuse(Refusal::Short { left }))
            }
            None => Ok(()),
        }
    }
}
