//! The orders over the tracks of a store: by name, and by what of each is to be evicted next, for the budget and for
//! age. It evicts nothing itself.

use super::store::Store;
use super::track::{ByEviction, ByExpiry, ByName, EvictionKey};
use crate::Instant;
use crate::storage::slab::NONE;
use crate::storage::tree::Tree;

/// Tracks in their orders; all that changes a track's groups makes its place right.
#[derive(Default, Debug)]
pub(super) struct Index {
    names: Tree<ByName>,
    eviction_order: Tree<ByEviction>,
    expiries: Tree<ByExpiry>,
    /// A group that is not evicted for now: it is being written to.
    protected: Option<u32>,
}

impl Index {
    /// The track that a name means.
    pub(super) fn named(&self, store: &Store, name: &[u8]) -> Option<u32> {
        let order = |at| store.tracks.get(at).map(|track| &*track.name).cmp(&Some(name));
        self.names.find(&store.tracks, order)
    }

    /// Lets the name of a track mean this one, not the one before.
    pub(super) fn name(&mut self, store: &mut Store, at: u32) {
        let Some(track) = store.tracks.get(at) else { return };
        if let Some(before) = self.named(store, &track.name) {
            self.names.remove(&mut store.tracks, before);
        }
        self.names.insert(&mut store.tracks, at);
    }

    /// Lets the name of a track mean nothing, unless it means a newer one.
    pub(super) fn unname(&mut self, store: &mut Store, at: u32) {
        if store.tracks.get(at).and_then(|track| self.named(store, &track.name)) == Some(at) {
            self.names.remove(&mut store.tracks, at);
        }
    }

    /// The group to evict next for the budget, and whether it is the newest of a live track.
    pub(super) fn next_victim(&self, store: &Store) -> Option<(u32, bool)> {
        self.victim(store, self.eviction_order.first(&store.tracks)?)
    }

    /// The group of a track to evict next, and whether it is the newest of a live track.
    pub(super) fn victim(&self, store: &Store, track: u32) -> Option<(u32, bool)> {
        let track = store.tracks.get(track)?;
        let skip_protected = |at| match store.groups.get(at) {
            Some(group) if self.protected == Some(at) => group.link.next,
            _ => at,
        };
        let first = skip_protected(track.row.first());
        let group = store.groups.get(first)?;
        if !track.is_live() || first != track.top {
            return Some((first, false));
        }
        match skip_protected(group.link.next) {
            NONE => Some((first, true)),
            second => Some((second, false)),
        }
    }

    /// When the next group reaches the age that its track keeps.
    pub(super) fn next_expiry(&self, store: &Store) -> Option<Instant> {
        let first = self.expiries.first(&store.tracks)?;
        store.tracks.get(first).map(|track| track.expiry)
    }

    /// The group that reaches it then, and whether it is the newest of a live track.
    pub(super) fn next_expired(&self, store: &Store) -> Option<(u32, bool)> {
        self.victim(store, self.expiries.first(&store.tracks)?)
    }

    /// Passes a group over from now on; `None` for none any more.
    pub(super) fn protect(&mut self, store: &mut Store, group: Option<u32>) {
        let before = core::mem::replace(&mut self.protected, group);
        for group in before.into_iter().chain(group) {
            if let Some(track) = store.groups.get(group).map(|group| group.track) {
                self.reorder(store, track);
            }
        }
    }

    /// Makes the place of a track right that has this group no longer.
    pub(super) fn forget_group(&mut self, store: &mut Store, track: u32, group: u32) {
        self.protected = self.protected.filter(|&protected| protected != group);
        self.reorder(store, track);
    }

    /// Makes a track's place right in the orders of eviction: for the budget, and for age.
    pub(super) fn reorder(&mut self, store: &mut Store, at: u32) {
        let victim = self.victim(store, at).and_then(|(group, is_newest)| {
            let generation = store.groups.key(group)?.generation;
            let created = store.groups.get(group)?.created;
            Some((EvictionKey { is_newest, generation }, created))
        });
        let tracks = &mut store.tracks;
        let Some(track) = tracks.get(at) else { return };
        let (old_key, old_expiry, max_age) =
            (track.eviction_key, track.expiry, track.limits.max_age);
        let key = victim.map(|(key, _)| key);
        let expiry = match victim {
            Some((key, created)) if !key.is_newest && !max_age.is_zero() => created + max_age,
            _ => Instant::MAX,
        };
        if (key, expiry) == (old_key, old_expiry) {
            return;
        }
        if old_key.is_some() {
            self.eviction_order.remove(tracks, at);
        }
        if old_expiry != Instant::MAX {
            self.expiries.remove(tracks, at);
        }
        if let Some(track) = tracks.get_mut(at) {
            (track.eviction_key, track.expiry) = (key, expiry);
        }
        if key.is_some() {
            self.eviction_order.insert(tracks, at);
        }
        if expiry != Instant::MAX {
            self.expiries.insert(tracks, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Duration;
    use crate::cache::group::Group;
    use crate::cache::track::Track;
    use crate::cache::{GroupId, Limits, TrackId};

    /// A track whose groups are kept for a second.
    fn track(store: &mut Store, generation: u64) -> TrackId {
        let limits = Limits { max_age: Duration::from_secs(1), ..Limits::default() };
        let name = (*b"track").into();
        let track = Track { name, limits, top: NONE, expiry: Instant::MAX, ..Track::default() };
        store.add_track(generation, track).unwrap()
    }

    fn group(store: &mut Store, track: TrackId, generation: u64) -> GroupId {
        let group = Group {
            sequence: generation,
            created: Instant::ZERO,
            track: track.0.slot,
            tail_block: NONE,
            tail_piece: NONE,
            ..Group::default()
        };
        store.add_group(generation, group).unwrap()
    }

    #[test]
    fn superseded_groups_come_before_the_newest_and_by_creation() {
        let (mut store, mut index) = (Store::new(1 << 20), Index::default());
        let [one, other] = [1, 2].map(|generation| track(&mut store, generation));
        let [first, second, newest] = [(one, 3), (other, 4), (other, 5)]
            .map(|(track, generation)| group(&mut store, track, generation).0.slot);
        for track in [one, other] {
            index.reorder(&mut store, track.0.slot);
        }
        assert_eq!(index.next_victim(&store), Some((second, false)));
        index.protect(&mut store, Some(second));
        assert_eq!(index.next_victim(&store), Some((first, true)));
        index.protect(&mut store, None);
        store.remove_group(second);
        index.forget_group(&mut store, other.0.slot, second);
        assert_eq!(index.next_victim(&store), Some((first, true)));
        store.remove_group(first);
        index.forget_group(&mut store, one.0.slot, first);
        assert_eq!(index.next_victim(&store), Some((newest, true)));
    }

    #[test]
    fn what_is_superseded_expires_once_it_is_as_old_as_its_track_keeps_it() {
        let (mut store, mut index) = (Store::new(1 << 20), Index::default());
        let track = track(&mut store, 1);
        let old = group(&mut store, track, 2).0.slot;
        index.reorder(&mut store, track.0.slot);
        assert_eq!(index.next_expiry(&store), None);
        group(&mut store, track, 3);
        index.reorder(&mut store, track.0.slot);
        let at = index.next_expiry(&store).unwrap();
        assert_eq!(at, Instant::ZERO + Duration::from_secs(1));
        assert_eq!(index.next_expired(&store), Some((old, false)));
    }

    #[test]
    fn a_name_means_the_newest_track_that_has_it() {
        let (mut store, mut index) = (Store::new(1 << 20), Index::default());
        let [old, new] = [1, 2].map(|generation| track(&mut store, generation).0.slot);
        index.name(&mut store, old);
        assert_eq!(index.named(&store, b"track"), Some(old));
        index.name(&mut store, new);
        index.unname(&mut store, old);
        assert_eq!(index.named(&store, b"track"), Some(new));
        index.unname(&mut store, new);
        assert_eq!(index.named(&store, b"track"), None);
    }
}
