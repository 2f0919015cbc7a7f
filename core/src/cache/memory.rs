//! The budget: what memory is taken, and what is evicted when it is needed for something else.

use super::event::Command;
use super::group::State;
use super::pool::RECLAIMED;
use super::store::Store;
use super::{Cache, CallError, Config, Evictions, Refusal, TOO_LARGE, TrackId};
use crate::storage::charge::Measure;
use crate::storage::slab::NONE;
use bytes::BytesMut;

/// Which of the counts of evictions one adds to.
type Counter = fn(&mut Evictions) -> &mut u64;

/// Tables of what is evicted keep the rows of as many pages as there ever were: at most one part in so many of the budget,
/// by what groups, pieces and the smallest blocks are charged.
const ROWS_PART: usize = 20;

const BY_BYTES: Counter = |evicted| &mut evicted.by_bytes;
const FRAMES: Counter = |evicted| &mut evicted.frames;

impl Cache {
    /// Bytes that the budget is about: all but blocks that are idle or lent.
    fn live(&self) -> usize {
        self.live_bytes(Measure::Charged)
    }

    /// The same, by either measure.
    #[inline(always)]
    pub(super) fn live_bytes(&self, measure: Measure) -> usize {
        self.lasting_bytes(measure) + self.store.evictable_bytes(measure)
    }

    /// Bytes of what is never evicted.
    #[inline(always)]
    fn lasting_bytes(&self, measure: Measure) -> usize {
        self.store.lasting_bytes(measure)
            + self.readers.bytes(measure)
            + self.publishers.bytes(measure)
    }

    /// Returns true if so many bytes would fit if everything were evicted that can be: if not, nothing is evicted for
    /// them.
    pub(super) fn can_hold(&self, bytes: usize) -> bool {
        self.lasting_bytes(Measure::Charged).saturating_add(bytes) <= self.config.max_bytes
    }

    /// Evicts until there is room for what `need` says; `false` when there cannot be. The group
    /// `current` is being written to: it stays, but for its front.
    pub(super) fn make_room(&mut self, current: u32, need: impl Fn(&Self) -> usize) -> bool {
        let mut fits = true;
        while fits && self.live().saturating_add(need(self)) > self.config.max_bytes {
            fits = self.evict(current);
        }
        self.index.protect(&mut self.store, None);
        fits
    }

    /// As [`make_room`](Self::make_room), but evicts only other groups, and no newest ones: for what is not
    /// worth more.
    pub(super) fn room_of_superseded(&mut self, at: u32, need: impl Fn(&Self) -> usize) -> bool {
        while self.live().saturating_add(need(self)) > self.config.max_bytes {
            match self.index.next_victim(&self.store) {
                Some((other, false)) if other != at => self.evict_group(other, BY_BYTES),
                _ => return false,
            }
        }
        true
    }

    /// As [`make_room`](Self::make_room), and gives up idle blocks for it.
    pub(super) fn room_for(&mut self, current: u32, need: impl Fn(&Self) -> usize) -> bool {
        let fits = self.make_room(current, &need);
        self.shrink_for(if fits { need(self) } else { 0 });
        fits
    }

    /// Checks that there is room for so many bytes that are never evicted, for the place of a track of this publisher
    /// and with a name of so many bytes if one is to come, and beside them for what is reserved for publishers: their
    /// tracks, and frames with the tables for them.
    pub(super) fn keep_reserves(
        &mut self,
        growth: usize,
        track: Option<(u64, usize)>,
    ) -> Result<(), CallError> {
        let Some(reserved) = self.publishers.reserved_beside(track) else { return Ok(()) };
        let Config { max_bytes, max_publishers, reserve, .. } = self.config;
        let needed = [
            self.lasting_bytes(Measure::Charged),
            growth,
            self.store.tracks.growth_by(reserved.tracks + usize::from(track.is_some())),
            self.publishers.growth_by(reserved.publishers),
            reserved.names,
            max_publishers as usize * (reserve / 2),
            Store::first_pages(),
            max_bytes / ROWS_PART,
        ];
        let needed = needed.into_iter().fold(0, usize::saturating_add);
        if needed <= max_bytes { Ok(()) } else { Err(self.full()) }
    }

    /// Makes room for something new.
    pub(super) fn admit(&mut self, need: impl Fn(&Self) -> usize) -> Result<(), CallError> {
        if self.room_for(NONE, need) { Ok(()) } else { Err(self.full()) }
    }

    /// A block of `size` bytes: where it lies, and its memory.
    pub(super) fn block(&mut self, current: u32, size: usize) -> Option<(u32, BytesMut)> {
        self.store.pool.reclaim(RECLAIMED);
        let growth = move |cache: &Self| cache.store.pool.growth(size);
        let fits = self.make_room(current, growth);
        // The eviction just now has perhaps freed a block of this size.
        if fits && !self.store.pool.has_idle(size) {
            self.shrink_for(growth(self));
        }
        let block = fits.then(|| self.store.pool.take(size)).flatten();
        self.stats.blocks_allocated = self.store.pool.allocated();
        self.settle();
        block
    }

    /// Gives up idle blocks that there is no room for.
    pub(super) fn settle(&mut self) {
        self.shrink_for(0);
    }

    /// Gives up idle blocks that there is no room for beside so many bytes more.
    fn shrink_for(&mut self, bytes: usize) {
        let live = self.live().saturating_add(bytes);
        self.store.pool.shrink(self.config.max_bytes.saturating_sub(live));
    }

    /// How full the cache is of what cannot be evicted.
    pub(super) fn full(&mut self) -> CallError {
        let full = Refusal::Full { used: self.live(), max: self.config.max_bytes };
        self.refuse(full)
    }

    /// Evicts something for the budget; `false` when nothing is left that can be.
    fn evict(&mut self, current: u32) -> bool {
        while let Some((at, is_newest)) = self.index.next_victim(&self.store) {
            let is_open = self.store.groups.get(at).is_some_and(|group| group.state == State::Open);
            if (at == current || is_newest && is_open) && self.evict_front(at) {
                return true;
            }
            if at != current {
                self.evict_group(at, BY_BYTES);
                return true;
            }
            self.index.protect(&mut self.store, Some(at));
        }
        false
    }

    /// Evicts the groups that have reached the age that their track keeps.
    pub(super) fn expire_groups(&mut self) {
        while self.is_expiring()
            && let Some((at, false)) = self.index.next_expired(&self.store)
        {
            self.evict_group(at, |evicted| &mut evicted.by_age);
        }
    }

    /// Evicts the groups of a track that are more than it keeps.
    pub(super) fn limit_groups(&mut self, at: u32) {
        while let Some(track) = self.store.tracks.get(at)
            && track.limits.max_groups != 0
            && track.group_count > track.limits.max_groups
            && let Some((group, false)) = self.index.victim(&self.store, at)
        {
            self.evict_group(group, |evicted| &mut evicted.by_count);
        }
    }

    /// Evicts the first piece of a group; `false` when there is none.
    fn evict_front(&mut self, at: u32) -> bool {
        let Some(group) = self.store.groups.get(at) else { return false };
        let (floor, track) = (group.floor, group.track);
        if let Some(head) = self.store.first_piece(at) {
            if head.first == group.count {
                return false;
            }
            self.store.drop_front_piece(at);
        } else if group.tail_block == NONE
            || group.unfinished.is_some_and(|frame| !frame.is_parted())
        {
            return false;
        } else {
            self.store.clear_tail(at);
            self.retire_tail(at);
        }
        if let Some(group) = self.store.groups.get_mut(at) {
            if group.floor == group.count && group.unfinished.is_none() {
                group.bytes = 0;
            }
            let gone = group.floor - floor;
            self.count_evicted(track, FRAMES, gone);
        }
        true
    }

    /// Counts what goes of a track, which is queued to be reported.
    fn count_evicted(&mut self, at: u32, counter: Counter, gone: u32) {
        let Some(track) = self.store.tracks.get_mut(at).filter(|_| gone > 0) else { return };
        *counter(&mut track.evicted) += u64::from(gone);
        *counter(&mut self.stats.evicted) += u64::from(gone);
        self.context.pend();
        if !core::mem::replace(&mut track.has_evictions, true) {
            self.evicted_from.push(&mut self.store.tracks, at);
        }
    }

    /// Keeps a group within the limits of its track, frame by frame from the front.
    pub(super) fn limit_frames(&mut self, at: u32) {
        let Some(group) = self.store.groups.get(at) else { return };
        let Some(track) = self.store.tracks.get(group.track) else { return };
        let (limits, floor, track) = (track.limits, group.floor, group.track);
        while let Some(group) = self.store.groups.get(at) {
            let frames = group.count - group.floor;
            let is_heavy = limits.max_group_bytes != 0 && group.bytes > limits.max_group_bytes;
            let excess = match limits.max_group_frames {
                _ if is_heavy => frames.saturating_sub(1),
                0 => 0,
                most => frames.saturating_sub(most),
            };
            if excess == 0 {
                break;
            }
            self.store.trim(at, excess);
        }
        let gone = self.store.groups.get(at).map_or(0, |group| group.floor - floor);
        self.count_evicted(track, FRAMES, gone);
    }

    /// Evicts a whole group.
    fn evict_group(&mut self, at: u32, counter: Counter) {
        let Some(group) = self.store.groups.get(at) else { return };
        let track = group.track;
        if group.is_unreported {
            self.aborted.remove(&mut self.store.groups, at);
        }
        self.count_evicted(track, counter, 1);
        self.readers.wake_group(&mut self.store, at);
        self.clear(at);
        self.store.remove_group(at);
        self.index.forget_group(&mut self.store, track, at);
    }

    /// Frees everything that a group holds.
    pub(super) fn clear(&mut self, at: u32) {
        self.store.free_pieces(at, |_| true);
        self.store.clear_tail(at);
        if let Some(group) = self.store.groups.get_mut(at) {
            group.bytes = 0;
            if let Some(frame) = group.unfinished.take() {
                let track = group.track;
                self.forget_unfinished(track, frame.written);
            }
        }
        self.retire_tail(at);
        self.reclaim(RECLAIMED);
    }

    /// Reclaims lent blocks that came back, of so many at most: what nobody holds is not kept.
    pub(super) fn reclaim(&mut self, most: usize) {
        self.store.pool.reclaim(most);
        self.settle();
    }

    /// Aborts a group of which the budget cannot hold a frame.
    pub(super) fn abort_as_too_large(&mut self, at: u32) {
        self.clear(at);
        self.readers.wake_group(&mut self.store, at);
        let Some(group) = self.store.groups.get_mut(at) else { return };
        group.state = State::Aborted { code: TOO_LARGE, finished: false };
        if !core::mem::replace(&mut group.is_unreported, true) {
            self.aborted.push(&mut self.store.groups, at);
        }
        self.context.pend();
        self.stats.too_large += 1;
    }

    /// The report of the next group that was aborted, and is still there.
    pub(super) fn next_aborted(&mut self) -> Option<Command> {
        let at = self.aborted.pop(&mut self.store.groups)?;
        let group = self.store.groups.get_mut(at)?;
        group.is_unreported = false;
        let track = TrackId(self.store.tracks.key(group.track)?);
        Some(Command::Aborted { track, group: group.sequence, code: TOO_LARGE })
    }

    /// The report of the next track that holds less.
    pub(super) fn next_evicted(&mut self) -> Option<Command> {
        let at = self.evicted_from.pop(&mut self.store.tracks)?;
        self.store.tracks.get_mut(at)?.has_evictions = false;
        let track = TrackId(self.store.tracks.key(at)?);
        let floor = self.floor(track);
        self.forget_if_over(at);
        Some(Command::Evicted { track, floor })
    }
}
