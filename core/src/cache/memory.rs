//! The budget: what memory is taken, and what is evicted when it is needed for something else.

use super::event::Command;
use super::group::{Kind, Piece, State, frame_at};
use super::pool::RECLAIMED;
use super::track::EvictionKey;
use super::{Cache, CallError, Evictions, Refusal, TOO_LARGE, TrackId};
use crate::Instant;
use crate::storage::slab::NONE;
use bytes::{Buf, BytesMut};

/// Which of the counts of evictions one adds to.
type Counter = fn(&mut Evictions) -> &mut u64;

const BY_BYTES: Counter = |evicted| &mut evicted.by_bytes;
const FRAMES: Counter = |evicted| &mut evicted.frames;

impl Cache {
    /// Bytes that the budget is about: all but blocks that are idle or lent.
    pub(super) fn live(&self) -> usize {
        self.tables()
            + self.store.groups.bytes()
            + self.store.pieces.bytes()
            + self.pool.used()
            + self.external_bytes
    }

    /// Bytes of tables of what is not evicted.
    fn tables(&self) -> usize {
        let tables = self.store.tracks.bytes() + self.readers.bytes() + self.publishers.bytes();
        tables + self.store.past.bytes()
    }

    /// Returns true if so many bytes would fit if everything were evicted that can be: if not, nothing is evicted for
    /// them.
    pub(super) fn can_hold(&self, bytes: usize) -> bool {
        let stays = self.tables() + self.pool.tables();
        stays.saturating_add(bytes) <= self.config.max_bytes
    }

    /// Evicts until there is room for what `need` says; `false` when there cannot be. The group
    /// `current` is being written to: it stays, but for its front.
    pub(super) fn make_room(&mut self, current: u32, need: impl Fn(&Self) -> usize) -> bool {
        let mut fits = true;
        while fits && self.live().saturating_add(need(self)) > self.config.max_bytes {
            fits = self.evict(current);
        }
        let protected = core::mem::replace(&mut self.protected, NONE);
        if let Some(track) = self.store.groups.get(protected).map(|group| group.track) {
            self.reorder(track);
        }
        fits
    }

    /// As [`make_room`](Self::make_room), but evicts only other groups, and no newest ones: for what is not
    /// worth more.
    pub(super) fn make_room_of_superseded(
        &mut self,
        current: u32,
        need: impl Fn(&Self) -> usize,
    ) -> bool {
        while self.live().saturating_add(need(self)) > self.config.max_bytes {
            match self.eviction_order.first(&self.store.tracks).and_then(|track| self.victim(track))
            {
                Some((at, false)) if at != current => self.evict_group(at, BY_BYTES),
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

    /// Makes room for something new.
    pub(super) fn admit(&mut self, need: impl Fn(&Self) -> usize) -> Result<(), CallError> {
        if self.room_for(NONE, need) { Ok(()) } else { Err(self.full()) }
    }

    /// A block of `size` bytes: where it lies, and its memory.
    pub(super) fn block(&mut self, current: u32, size: usize) -> Option<(u32, BytesMut)> {
        self.pool.reclaim(RECLAIMED);
        let growth = move |cache: &Self| cache.pool.growth(size);
        if !self.make_room(current, growth) {
            self.settle();
            return None;
        }
        // The eviction just now has perhaps freed a block of this size.
        if !self.pool.has_idle(size) {
            self.shrink_for(growth(self));
        }
        let block = self.pool.take(size);
        self.stats.blocks_allocated = self.pool.allocated();
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
        self.pool.shrink(self.config.max_bytes.saturating_sub(live));
    }

    /// How full the cache is of what cannot be evicted.
    pub(super) fn full(&mut self) -> CallError {
        let full = Refusal::Full { used: self.live(), max: self.config.max_bytes };
        self.refuse(full)
    }

    /// Evicts something for the budget; `false` when nothing is left that can be.
    fn evict(&mut self, current: u32) -> bool {
        while let Some(track) = self.eviction_order.first(&self.store.tracks) {
            let Some((at, is_newest)) = self.victim(track) else { return false };
            let is_open = self.store.groups.get(at).is_some_and(|group| group.state == State::Open);
            if (at == current || is_newest && is_open) && self.evict_front(at) {
                return true;
            }
            if at != current {
                self.evict_group(at, BY_BYTES);
                return true;
            }
            self.protected = at;
            self.reorder(track);
        }
        false
    }

    /// The group of a track to evict next, and whether it is the newest of a live track.
    fn victim(&self, track: u32) -> Option<(u32, bool)> {
        let track = self.store.tracks.get(track)?;
        let skip_protected = |at: u32| {
            if at == self.protected {
                self.store.groups.get(at).map_or(NONE, |group| group.link.next)
            } else {
                at
            }
        };
        let first = skip_protected(track.row.first());
        let group = self.store.groups.get(first)?;
        if !track.is_live() || first != track.top {
            return Some((first, false));
        }
        match skip_protected(group.link.next) {
            NONE => Some((first, true)),
            second => Some((second, false)),
        }
    }

    /// Makes a track's place right in the orders of eviction: for the budget, and for age.
    pub(super) fn reorder(&mut self, at: u32) {
        let victim = self.victim(at).and_then(|(group, is_newest)| {
            let generation = self.store.groups.key(group)?.generation;
            let created = self.store.groups.get(group)?.created;
            Some((EvictionKey { is_newest, generation }, created))
        });
        let tracks = &mut self.store.tracks;
        let Some(track) = tracks.get(at) else { return };
        let (old_key, old_expiry, max_age) =
            (track.eviction_key, track.expiry, track.limits.max_age);
        let key = victim.map(|(key, _)| key);
        let expiry = match victim {
            Some((key, created)) if !key.is_newest && !max_age.is_zero() => created + max_age,
            _ => Instant::FAR,
        };
        if (key, expiry) == (old_key, old_expiry) {
            return;
        }
        if old_key.is_some() {
            self.eviction_order.remove(tracks, at);
        }
        if old_expiry != Instant::FAR {
            self.expiries.remove(tracks, at);
        }
        if let Some(track) = tracks.get_mut(at) {
            (track.eviction_key, track.expiry) = (key, expiry);
        }
        if key.is_some() {
            self.eviction_order.insert(tracks, at);
        }
        if expiry != Instant::FAR {
            self.expiries.insert(tracks, at);
        }
    }

    /// Evicts the groups that have reached the age that their track keeps.
    pub(super) fn expire_groups(&mut self) {
        while let Some(track) = self.expiries.first(&self.store.tracks)
            && self.is_expiring()
            && let Some((at, false)) = self.victim(track)
        {
            self.evict_group(at, |evicted| &mut evicted.by_age);
        }
    }

    /// Evicts the groups of a track that are more than it keeps.
    pub(super) fn limit_groups(&mut self, at: u32) {
        while let Some(track) = self.store.tracks.get(at)
            && track.limits.max_groups != 0
            && track.group_count > track.limits.max_groups
            && let Some((group, false)) = self.victim(at)
        {
            self.evict_group(group, |evicted| &mut evicted.by_count);
        }
    }

    /// Evicts the first piece of a group; `false` when there is none.
    fn evict_front(&mut self, at: u32) -> bool {
        let Some(group) = self.store.groups.get_mut(at) else { return false };
        let (floor, track) = (group.floor, group.track);
        if let Some(head) = self.store.pieces.get(group.pieces.first()) {
            if head.first == group.count {
                return false;
            }
            self.drop_front_piece(at);
        } else if group.tail_block == NONE
            || group.unfinished.is_some_and(|frame| !frame.is_parted())
        {
            return false;
        } else {
            // Nothing of the tail was shared, or it would be a piece.
            group.floor = group.count;
            group.tail.clear();
            self.mark_sealed(at);
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

    /// Frees the first piece of a group; of a frame in parts all of them.
    fn drop_front_piece(&mut self, at: u32) {
        let Some(group) = self.store.groups.get_mut(at) else { return };
        let Some(head) = self.store.pieces.get(group.pieces.first()) else { return };
        let (first, end) = (head.first, head.end());
        if group.is_limited {
            group.bytes -= head.payload();
        }
        group.floor = end;
        self.free_pieces(at, |piece| piece.first == first);
    }

    /// Frees pieces from the front of a group on, as long as `which` says so.
    fn free_pieces(&mut self, at: u32, which: impl Fn(&Piece) -> bool) {
        while let Some(group) = self.store.groups.get(at)
            && let first = group.pieces.first()
            && self.store.pieces.get(first).is_some_and(&which)
            && let Some(piece) = self.store.take_piece(at, first)
        {
            piece.free(&mut self.pool, &mut self.external_bytes);
        }
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
            self.trim(at, excess);
        }
        let gone = self.store.groups.get(at).map_or(0, |group| group.floor - floor);
        self.count_evicted(track, FRAMES, gone);
    }

    /// Frees the first frame of a group; of missing ones up to `most`.
    fn trim(&mut self, at: u32, most: u32) {
        let Some(group) = self.store.groups.get_mut(at) else { return };
        let Some(head) = self.store.pieces.get_mut(group.pieces.first()) else {
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

    /// Evicts a whole group.
    fn evict_group(&mut self, at: u32, counter: Counter) {
        let Some(group) = self.store.groups.get(at) else { return };
        let (number, is_unreported) = (group.track, group.is_unreported);
        if let Some(track) = self.store.tracks.get_mut(number) {
            track.evicted_end = track.evicted_end.max(group.sequence.saturating_add(1));
        }
        self.store.past.add(&mut self.store.tracks, number, group);
        self.count_evicted(number, counter, 1);
        self.wake_group(at);
        self.clear(at);
        let Some(track) = self.store.tracks.get_mut(number) else { return };
        track.groups.remove(&mut self.store.groups, at);
        track.group_count -= 1;
        track.row.remove(&mut self.store.groups, at);
        if track.top == at {
            track.top = track.groups.end(&self.store.groups, true).unwrap_or(NONE);
        }
        if is_unreported {
            self.aborted.remove(&mut self.store.groups, at);
        }
        self.store.groups.remove(at);
        if self.protected == at {
            self.protected = NONE;
        }
        self.reorder(number);
    }

    /// Frees everything that a group holds.
    pub(super) fn clear(&mut self, at: u32) {
        self.free_pieces(at, |_| true);
        if let Some(group) = self.store.groups.get_mut(at) {
            group.tail.clear();
            (group.floor, group.bytes) = (group.count, 0);
            if let Some(frame) = group.unfinished.take() {
                let track = group.track;
                self.forget_unfinished(track, frame.written);
            }
        }
        self.mark_sealed(at);
        self.retire_tail(at);
        self.reclaim(RECLAIMED);
    }

    /// Reclaims lent blocks that came back, of so many at most: what nobody holds is not kept.
    pub(super) fn reclaim(&mut self, most: usize) {
        self.pool.reclaim(most);
        self.settle();
    }

    /// Aborts a group of which the budget cannot hold a frame.
    pub(super) fn abort_as_too_large(&mut self, at: u32) {
        self.clear(at);
        self.wake_group(at);
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
        let id = TrackId(self.store.tracks.key(at)?);
        let floor = self.floor(id);
        self.forget_if_over(at);
        Some(Command::Evicted { track: id, floor })
    }
}
