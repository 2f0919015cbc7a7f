//! All readers of a cache: who waits for what, and who is ready because that came.

use super::{InQueue, Reader, ReaderId, Waits};
use crate::cache::event::Next;
use crate::cache::position::Position;
use crate::cache::store::Store;
use crate::cache::store::find::Lookup;
use crate::cache::{Misuse, ReadUnit};
use crate::storage::list::List;
use crate::storage::slab::Keyed;

/// All readers, and those that have something to read.
#[derive(Default, Debug)]
pub(crate) struct Readers {
    places: Keyed<Reader>,
    ready: List<InQueue>,
}

impl Readers {
    /// Bytes allocated.
    pub(crate) const fn bytes(&self) -> usize {
        self.places.bytes()
    }

    /// Bytes that one more would allocate.
    pub(crate) fn growth(&self) -> usize {
        self.places.growth()
    }

    /// Adds a reader, which waits for nothing.
    pub(crate) fn add(&mut self, generation: u64, position: Position) -> Option<ReaderId> {
        let reader = Reader { position, ..Reader::default() };
        self.places.insert_as(generation, reader).map(ReaderId)
    }

    /// Forgets a reader.
    pub(crate) fn remove(&mut self, store: &mut Store, reader: ReaderId) {
        self.stop_waiting(store, reader.0.slot);
        self.places.remove(reader.0.slot);
    }

    #[inline]
    pub(crate) fn find_mut(&mut self, reader: ReaderId) -> Result<&mut Reader, Misuse> {
        self.places.find_mut(reader.0).ok_or(Misuse::UnknownReader)
    }

    /// Returns true if a reader is ready.
    pub(crate) const fn is_any_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Brings a reader to what comes next, and lets it wait where there is nothing yet.
    pub(crate) fn find(&mut self, store: &mut Store, reader: ReaderId, by: ReadUnit) -> Lookup {
        let at = reader.0.slot;
        let Some(reader) = self.places.get_mut(at) else { return Lookup::Report(Next::Pending) };
        let waits = reader.waits;
        let lookup = if waits == Waits::Not {
            store.find(&mut reader.position, by)
        } else {
            let mut position = reader.position;
            let lookup = store.find(&mut position, by);
            let goes_on = match lookup {
                Lookup::NoGroup => matches!(waits, Waits::ForNewest | Waits::ForLater),
                Lookup::NoMore => waits == Waits::ForMore(by) || waits == Waits::ForFrame(by),
                Lookup::Within => true,
                _ => false,
            };
            // A reader that waited for one thing and reads another does not wait any more. It lies in an order by
            // its old position.
            if !goes_on {
                self.stop_waiting(store, at);
            }
            self.places.get_mut(at).into_iter().for_each(|reader| reader.position = position);
            if goes_on {
                return lookup;
            }
            lookup
        };
        match lookup {
            Lookup::NoGroup => self.wait_for_group(store, at),
            Lookup::NoMore => self.wait_for_more(store, at, by),
            _ => {}
        }
        lookup
    }

    /// Lets a reader that waits for nothing wait for a group.
    fn wait_for_group(&mut self, store: &mut Store, at: u32) {
        let Some(reader) = self.places.get_mut(at) else { return };
        let wanted = reader.position.wanted;
        let Some(track) = store.tracks.get_mut(reader.position.track) else { return };
        if wanted <= track.newest.map_or(0, |newest| newest + 1) {
            reader.waits = Waits::ForNewest;
            track.waiters.next.push(&mut self.places, at);
        } else {
            reader.waits = Waits::ForLater;
            track.waiters.later.insert(&mut self.places, at);
        }
    }

    /// Lets a reader that waits for nothing wait for more of its group.
    fn wait_for_more(&mut self, store: &mut Store, at: u32, by: ReadUnit) {
        let Some(reader) = self.places.get_mut(at) else { return };
        let Some(group) = store.groups.find_mut(reader.position.group_key()) else { return };
        group.fast_appends = 0;
        if reader.position.frame <= group.count {
            reader.waits = Waits::ForMore(by);
            group.waiters.more[by as usize].push(&mut self.places, at);
        } else {
            reader.waits = Waits::ForFrame(by);
            group.waiters.ahead.insert(&mut self.places, at);
        }
    }

    /// Takes out the next reader that has something to read.
    pub(crate) fn next_ready(&mut self, store: &mut Store) -> Option<ReaderId> {
        loop {
            let at = self.ready.pop(&mut self.places)?;
            let reader = self.places.get_mut(at)?;
            // More of the group came, but not as far as this reader's place.
            if let Waits::ForMore(by) = core::mem::take(&mut reader.waits)
                && !store.has_frame(&reader.position)
                && matches!(store.find(&mut { reader.position }, by), Lookup::NoMore)
            {
                self.wait_for_more(store, at, by);
                continue;
            }
            return self.places.key(at).map(ReaderId);
        }
    }

    /// Wakes everybody who waits for something of a group: nothing more comes of it.
    pub(crate) fn wake_group(&mut self, store: &mut Store, at: u32) {
        self.wake_waiting(store, at);
        while let Some(group) = store.groups.get_mut(at)
            && let Some(first) = group.waiters.ahead.first(&self.places)
        {
            group.waiters.ahead.remove(&mut self.places, first);
            self.wake_one(first);
        }
    }

    /// Wakes those whose frame has come, and lets those whose frame is the next wait for more. Appending up to the
    /// next of them wakes nobody.
    pub(crate) fn wake_reached(&mut self, store: &mut Store, at: u32) {
        self.wake_waiting(store, at);
        let Some(group) = store.groups.get_mut(at) else { return };
        let waiters = &mut group.waiters;
        let mut fast_appends = u32::MAX;
        while let Some(first) = waiters.ahead.first(&self.places)
            && let Some(reader) = self.places.get_mut(first)
            && let Waits::ForFrame(by) = reader.waits
        {
            if reader.position.frame > group.count {
                // The one before theirs is looked at.
                fast_appends = reader.position.frame - group.count - 1;
                break;
            }
            let is_here = reader.position.frame < group.count;
            reader.leave_order();
            waiters.ahead.remove(&mut self.places, first);
            if is_here {
                self.wake_one(first);
            } else {
                waiters.more[by as usize].push(&mut self.places, first);
            }
        }
        group.fast_appends = group.count_fast_appends().min(fast_appends);
    }

    /// Wakes everybody who waits for more of a group.
    fn wake_waiting(&mut self, store: &mut Store, at: u32) {
        for by in [ReadUnit::Frame, ReadUnit::Chunk, ReadUnit::Run] {
            self.wake_by(store, at, by);
        }
    }

    /// Wakes those who wait for more of a group to take it by this unit.
    pub(crate) fn wake_by(&mut self, store: &mut Store, at: u32, by: ReadUnit) {
        let Some(group) = store.groups.get_mut(at) else { return };
        self.ready.append(&mut self.places, core::mem::take(&mut group.waiters.more[by as usize]));
    }

    /// Wakes those who wait for the next group of a track.
    pub(crate) fn wake_next(&mut self, store: &mut Store, at: u32) {
        let Some(track) = store.tracks.get_mut(at) else { return };
        self.ready.append(&mut self.places, core::mem::take(&mut track.waiters.next));
    }

    /// Wakes the readers that wait for groups beyond the next, from those with the lowest or highest number
    /// on, as long as `has` says so.
    pub(crate) fn wake_later(
        &mut self,
        store: &mut Store,
        at: u32,
        highest: bool,
        has: impl Fn(u64) -> bool,
    ) {
        while let Some(track) = store.tracks.get_mut(at)
            && let Some(first) = track.waiters.later.end(&self.places, highest)
            && self.places.get(first).is_some_and(|reader| has(reader.position.wanted))
        {
            track.waiters.later.remove(&mut self.places, first);
            self.wake_one(first);
        }
    }

    /// Wakes a reader that is in no order any more.
    fn wake_one(&mut self, at: u32) {
        self.places.get_mut(at).into_iter().for_each(Reader::leave_order);
        self.ready.push(&mut self.places, at);
    }

    /// Takes a reader out of what it waits in, or of those that are ready.
    pub(crate) fn stop_waiting(&mut self, store: &mut Store, at: u32) {
        let Some(reader) = self.places.get_mut(at) else { return };
        let waits = core::mem::take(&mut reader.waits);
        let group = store.groups.find_mut(reader.position.group_key());
        let track = store.tracks.get_mut(reader.position.track);
        let (group, track) = (group.map(|of| &mut of.waiters), track.map(|of| &mut of.waiters));
        match (waits, group, track) {
            (Waits::Not, ..) => {}
            (Waits::ForFrame(_), Some(group), _) => group.ahead.remove(&mut self.places, at),
            (Waits::ForLater, _, Some(track)) => track.later.remove(&mut self.places, at),
            (Waits::ForMore(by), Some(group), _)
                if group.more[by as usize].may_have(&self.places, at) =>
            {
                group.more[by as usize].remove(&mut self.places, at);
            }
            (Waits::ForNewest, _, Some(track)) if track.next.may_have(&self.places, at) => {
                track.next.remove(&mut self.places, at);
            }
            _ => self.ready.remove(&mut self.places, at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::group::{Group, State};
    use crate::cache::track::Track;
    use crate::storage::slab::NONE;
    use alloc::vec::Vec;

    /// A store with one track, whose group 7 is open and has `count` frames.
    fn store(count: u32) -> Store {
        let mut store = Store::new(1 << 20);
        store.add_track(1, Track { top: NONE, ..Track::default() }).unwrap();
        let (state, tail_piece) = (State::Open, NONE);
        let group = Group { sequence: 7, state, count, tail_piece, ..Group::default() };
        store.add_group(2, group).unwrap();
        store
    }

    /// Readers of the track before these frames of a group, which look for what comes.
    fn wait(
        readers: &mut Readers,
        store: &mut Store,
        group: u64,
        frames: &[(u32, ReadUnit)],
    ) -> Vec<ReaderId> {
        let waiting = frames.iter().zip(10..).map(|(&(frame, by), generation)| {
            let reader = readers.add(generation, Position::in_track(0, group, frame)).unwrap();
            let lookup = readers.find(store, reader, by);
            assert!(matches!(lookup, Lookup::NoMore | Lookup::NoGroup));
            reader
        });
        waiting.collect()
    }

    fn ready(readers: &mut Readers, store: &mut Store) -> Vec<ReaderId> {
        core::iter::from_fn(|| readers.next_ready(store)).collect()
    }

    const RUN: ReadUnit = ReadUnit::Run;

    #[test]
    fn readers_are_ready_when_their_frame_has_come() {
        let (mut readers, mut store) = (Readers::default(), store(3));
        let waiting = wait(&mut readers, &mut store, 7, &[(3, RUN), (4, RUN), (9, RUN)]);
        store.groups.get_mut(0).unwrap().count = 4;
        readers.wake_reached(&mut store, 0);
        assert!(readers.is_any_ready());
        assert_eq!(ready(&mut readers, &mut store), waiting[..1]);
        readers.wake_group(&mut store, 0);
        assert_eq!(ready(&mut readers, &mut store), [], "there is nothing yet");
        store.groups.get_mut(0).unwrap().state = State::Finished;
        readers.wake_group(&mut store, 0);
        assert_eq!(ready(&mut readers, &mut store), waiting[1..]);
    }

    #[test]
    fn who_reads_by_another_unit_is_not_woken() {
        let (mut readers, mut store) = (Readers::default(), store(3));
        let waiting =
            wait(&mut readers, &mut store, 7, &[(3, ReadUnit::Frame), (3, ReadUnit::Chunk)]);
        readers.wake_by(&mut store, 0, ReadUnit::Frame);
        store.groups.get_mut(0).unwrap().state = State::Finished;
        assert_eq!(ready(&mut readers, &mut store), waiting[..1]);
    }

    #[test]
    fn who_waits_for_a_group_is_woken_by_its_number() {
        let (mut readers, mut store) = (Readers::default(), store(3));
        let next = wait(&mut readers, &mut store, 8, &[(0, RUN)]);
        let later = wait(&mut readers, &mut store, 9, &[(0, RUN)]);
        readers.wake_next(&mut store, 0);
        assert_eq!(ready(&mut readers, &mut store), next);
        readers.wake_later(&mut store, 0, false, |wanted| wanted <= 8);
        assert!(!readers.is_any_ready());
        readers.wake_later(&mut store, 0, false, |wanted| wanted <= 9);
        assert_eq!(ready(&mut readers, &mut store), later);
    }

    #[test]
    fn who_goes_is_not_woken_wherever_it_waited() {
        let (mut readers, mut store) = (Readers::default(), store(3));
        let mut waiting = wait(&mut readers, &mut store, 7, &[(3, RUN)]);
        readers.wake_by(&mut store, 0, RUN);
        waiting.extend(wait(&mut readers, &mut store, 7, &[(3, RUN), (9, RUN)]));
        for group in [8, 9] {
            waiting.extend(wait(&mut readers, &mut store, group, &[(0, RUN)]));
        }
        for reader in waiting {
            readers.remove(&mut store, reader);
        }
        readers.wake_group(&mut store, 0);
        readers.wake_next(&mut store, 0);
        readers.wake_later(&mut store, 0, false, |_| true);
        assert!(!readers.is_any_ready());
    }
}
