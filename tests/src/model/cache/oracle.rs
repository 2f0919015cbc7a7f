//! A naive cache: maps of vectors, without any economy. It knows nothing of blocks and tables, so what
//! goes for the budget is told to it, and it judges whether that was what had to go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use gapless_core::Instant;
use gapless_core::cache::{
    Answer, Config, DROPPED, Event, Evictions, GroupId, Limits, MAX_SEQUENCE, Missing, Misuse, Put,
    ReaderId, Start, Stats, TOO_LARGE, TrackId,
};

use super::readers::{Reader, SMALL};

/// The state of one index, or of several.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    /// A payload; `in_parts`, when it came in several chunks and does not lie together.
    Held {
        bytes: Bytes,
        in_parts: bool,
    },
    Missing {
        count: u64,
        why: Missing,
    },
}

/// A frame that is not complete.
#[derive(Clone, Debug, Default)]
pub(super) struct Open {
    pub(super) size: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) chunks: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Open,
    Finished,
    Aborted { code: u64, finished: bool },
    Skipped,
}

#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) id: Option<GroupId>,
    pub(super) created: Instant,
    /// The order in which groups were created.
    pub(super) order: u64,
    pub(super) state: State,
    /// The first frame that was not evicted.
    pub(super) floor: u64,
    /// Behind the last complete frame.
    pub(super) next: u64,
    /// Behind the last frame that was sealed for sure.
    pub(super) sealed: u64,
    pub(super) slots: BTreeMap<u64, Slot>,
    pub(super) open: Option<Open>,
}

impl Open {
    /// Whether it lies in parts, once it is complete.
    const fn is_in_parts(&self) -> bool {
        self.size > SMALL && self.chunks > 1
    }
}

impl Group {
    /// The state of an index: where the stretch begins, and what it is.
    pub(super) fn slot(&self, index: u64) -> Option<(u64, &Slot)> {
        let (&first, slot) = self.slots.range(..=index).next_back()?;
        let count = if let Slot::Missing { count, .. } = slot { *count } else { 1 };
        (index < first + count).then_some((first, slot))
    }

    /// Bytes of payload.
    fn bytes(&self) -> u64 {
        let len = |slot: &Slot| match slot {
            Slot::Held { bytes, .. } => bytes.len() as u64,
            Slot::Missing { .. } => 0,
        };
        self.slots.values().map(len).sum()
    }

    /// Lets everything below an index go.
    fn raise(&mut self, floor: u64) {
        if let Some((first, Slot::Missing { count, why })) = self.slot(floor)
            && first < floor
        {
            let (count, why) = (count - (floor - first), *why);
            self.slots.insert(floor, Slot::Missing { count, why });
        }
        self.slots = self.slots.split_off(&floor);
        self.floor = floor;
    }

    fn clear(&mut self) -> u64 {
        self.slots.clear();
        self.floor = self.next;
        self.open.take().map_or(0, |open| open.bytes.len() as u64)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    Live,
    Finished { end: Option<u64>, closed: bool },
    Aborted { code: u64 },
}

#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) publisher: u64,
    pub(super) limits: Limits,
    pub(super) life: Life,
    pub(super) groups: BTreeMap<u64, Group>,
    pub(super) newest: Option<u64>,
    /// Behind the highest number that was evicted.
    pub(super) evicted_end: u64,
    pub(super) evicted: Evictions,
    /// Whether something of it went since the last drain.
    pub(super) went: bool,
}

impl Track {
    /// The number of what goes next, and whether it is the newest of a live track.
    fn victim(&self, spared: Option<u64>) -> Option<(u64, bool)> {
        let newest = self.groups.last_key_value().map(|(&number, _)| number);
        let newest = newest.filter(|_| self.life == Life::Live);
        let others = self.groups.iter().filter(|(number, _)| Some(**number) != spared);
        let by_order =
            |(number, group): (&u64, &Group)| (Some(*number) == newest, group.order, *number);
        others.map(by_order).min().map(|(is_newest, _, number)| (number, is_newest))
    }

    /// Whether its last group is still to come.
    fn expects_groups(&self) -> bool {
        match self.life {
            Life::Live => true,
            Life::Finished { end, closed } => !closed && self.newest < end,
            Life::Aborted { .. } => false,
        }
    }

    /// The number of the next group that is appended.
    pub(super) fn next(&self) -> u64 {
        self.newest.map_or(self.limits.first_group, |newest| newest.saturating_add(1))
    }

    pub(super) fn last_allowed(&self, window: u64) -> u64 {
        let from = self.newest.unwrap_or(0).max(self.limits.first_group);
        from.saturating_add(window).min(MAX_SEQUENCE)
    }
}

/// All that a cache must know.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) config: Config,
    pub(super) now: Instant,
    pub(super) stats: Stats,
    pub(super) tracks: BTreeMap<TrackId, Track>,
    pub(super) names: BTreeMap<Vec<u8>, TrackId>,
    pub(super) groups: BTreeMap<GroupId, (TrackId, u64)>,
    pub(super) readers: BTreeMap<ReaderId, Reader>,
    /// Bytes of incomplete frames, by publisher.
    pub(super) unfinished: BTreeMap<u64, u64>,
    /// The groups that were evicted last of each track, newest first: number and length; `None` of a
    /// skipped one.
    past: BTreeMap<TrackId, VecDeque<(u64, Option<u64>)>>,
    order: u64,
}

impl Model {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            now: Instant::ZERO,
            stats: Stats::default(),
            tracks: BTreeMap::new(),
            names: BTreeMap::new(),
            groups: BTreeMap::new(),
            readers: BTreeMap::new(),
            unfinished: BTreeMap::new(),
            past: BTreeMap::new(),
            order: 0,
        }
    }

    pub(super) fn track(&self, track: TrackId) -> Result<&Track, Misuse> {
        self.tracks.get(&track).ok_or(Misuse::UnknownTrack)
    }

    pub(super) fn group(&self, group: GroupId) -> Result<&Group, Misuse> {
        let (track, number) = self.groups.get(&group).ok_or(Misuse::UnknownGroup)?;
        Ok(&self.tracks[track].groups[number])
    }

    pub(super) fn group_mut(&mut self, group: GroupId) -> Option<(&mut Group, &mut u64, Limits)> {
        let (track, number) = self.groups.get(&group)?;
        let track = self.tracks.get_mut(track)?;
        let unfinished = self.unfinished.entry(track.publisher).or_default();
        Some((track.groups.get_mut(number)?, unfinished, track.limits))
    }

    /// The result of putting a frame at an index.
    pub(super) fn put(&self, group: GroupId, index: u64) -> Put {
        match self.group(group).expect("it is known").slot(index) {
            Some((_, Slot::Held { .. })) => Put::Duplicate,
            Some((_, Slot::Missing { .. })) => Put::Filled,
            None => Put::Appended,
        }
    }

    /// Does what an event says that was allowed, and not refused for want of memory.
    pub(super) fn apply(&mut self, now: Instant, event: &Event<'_>, answer: &Answer) {
        match *event {
            Event::CreateTrack { name, publisher, limits } => {
                let &Answer::Track(id) = answer else { panic!("{answer:?}") };
                self.names.insert(name.to_vec(), id);
                let track = Track {
                    publisher,
                    limits,
                    life: Life::Live,
                    groups: BTreeMap::new(),
                    newest: None,
                    evicted_end: 0,
                    evicted: Evictions::default(),
                    went: false,
                };
                assert!(self.tracks.insert(id, track).is_none(), "{id:?} is used again");
                self.stats.tracks += 1;
                return;
            }
            Event::CreateGroup { track, sequence } => {
                let &Answer::Group(id) = answer else { panic!("{answer:?}") };
                return self.create(now, track, sequence, Some(id));
            }
            Event::AppendGroup { track } => {
                let &Answer::Group(id) = answer else { panic!("{answer:?}") };
                let sequence = self.tracks[&track].next();
                return self.create(now, track, sequence, Some(id));
            }
            Event::Put { group, index, frame } => {
                assert_eq!(*answer, Answer::Put(self.put(group, index)));
                return self.apply_put(group, index, frame);
            }
            Event::OpenReader { track, start } => {
                let &Answer::Reader(id) = answer else { panic!("{answer:?}") };
                let (group, frame) = self.start(track, start);
                assert!(self.readers.insert(id, Reader::new(track, group, frame)).is_none());
                return;
            }
            Event::CloneReader { reader } => {
                let &Answer::Reader(id) = answer else { panic!("{answer:?}") };
                let clone = self.readers[&reader].at_the_same_place();
                assert!(self.readers.insert(id, clone).is_none());
                return;
            }
            _ => assert_eq!(*answer, Answer::Done),
        }
        match *event {
            Event::FinishTrack { track, end } => {
                let track = self.tracks.get_mut(&track).unwrap();
                let end = end.map(|end| end.min(MAX_SEQUENCE)).or(track.newest);
                track.life = Life::Finished { end, closed: false };
            }
            Event::AbortTrack { track, code } => {
                self.tracks.get_mut(&track).unwrap().life = Life::Aborted { code };
                self.abort_open(track, code);
            }
            Event::DropTrack { track } => {
                let life = &mut self.tracks.get_mut(&track).unwrap().life;
                match *life {
                    Life::Live => *life = Life::Aborted { code: DROPPED },
                    Life::Finished { end, .. } => *life = Life::Finished { end, closed: true },
                    Life::Aborted { .. } => return,
                }
                self.abort_open(track, DROPPED);
            }
            Event::SkipGroup { track, sequence } => self.create(now, track, sequence, None),
            Event::Seal { track } => {
                let groups = &mut self.tracks.get_mut(&track).unwrap().groups;
                groups.values_mut().for_each(|group| group.sealed = group.next);
            }
            Event::Append { group, frame } => {
                self.append(group, Bytes::copy_from_slice(frame), false)
            }
            Event::OpenFrame { group: id, size } => {
                let (group, ..) = self.group_mut(id).unwrap();
                group.open = Some(Open { size, ..Open::default() });
                if size == 0 {
                    self.close_frame(id);
                }
            }
            Event::Write { group: id, chunk } => {
                let (group, unfinished, _) = self.group_mut(id).unwrap();
                let open = group.open.as_mut().unwrap();
                open.bytes.extend_from_slice(chunk);
                open.chunks += u32::from(!chunk.is_empty());
                *unfinished += chunk.len() as u64;
                if open.bytes.len() as u64 == open.size {
                    self.close_frame(id);
                }
            }
            Event::AppendMissing { group: id, count, why } => {
                let (group, ..) = self.group_mut(id).unwrap();
                match group
                    .slots
                    .last_entry()
                    .map(std::collections::btree_map::OccupiedEntry::into_mut)
                {
                    _ if count == 0 => {}
                    Some(Slot::Missing { count: last, why: same }) if *same == why => {
                        *last += count
                    }
                    _ => {
                        group.slots.insert(group.next, Slot::Missing { count, why });
                    }
                }
                group.next += count;
                self.stats.missing += count;
                self.limit(id);
            }
            Event::FinishGroup { group } => {
                let (group, ..) = self.group_mut(group).unwrap();
                (group.state, group.sealed) = (State::Finished, group.next);
            }
            Event::AbortGroup { group, code } => self.abort(group, code),
            Event::DropGroup { group } => {
                if self.group(group).unwrap().state == State::Open {
                    self.abort(group, DROPPED);
                }
            }
            Event::CloseReader { reader } => {
                self.readers.remove(&reader);
            }
            Event::Seek { reader, start } => {
                let track = self.readers[&reader].track;
                let (group, frame) = self.start(track, start);
                self.readers.insert(reader, Reader::new(track, group, frame));
            }
            _ => unreachable!("done above"),
        }
    }

    fn start(&self, track: TrackId, start: Start) -> (u64, u64) {
        let track = &self.tracks[&track];
        let last = track.groups.last_key_value();
        let ahead = track.newest.map_or(0, |newest| newest + 1);
        match start {
            Start::At { group, frame } => (group, frame),
            Start::Oldest => track
                .groups
                .first_key_value()
                .map_or((ahead, 0), |(&number, group)| (number, group.floor)),
            Start::Newest => last.map_or((ahead, 0), |(&number, group)| (number, group.floor)),
            Start::Live => last.map_or((ahead, 0), |(&number, group)| (number, group.next)),
        }
    }

    fn create(&mut self, now: Instant, id: TrackId, sequence: u64, group: Option<GroupId>) {
        let track = self.tracks.get_mut(&id).unwrap();
        let state = if group.is_some() { State::Open } else { State::Skipped };
        if let Some(skipped) = track.groups.get_mut(&sequence) {
            skipped.state = state;
            assert!(skipped.id.is_none() || skipped.id == group);
            skipped.id = group;
        } else {
            self.now = self.now.max(now);
            self.order += 1;
            let group = Group {
                id: group,
                created: self.now,
                order: self.order,
                state,
                floor: 0,
                next: 0,
                sealed: 0,
                slots: BTreeMap::new(),
                open: None,
            };
            track.groups.insert(sequence, group);
            track.newest = track.newest.max(Some(sequence));
            self.stats.groups += 1;
        }
        if let Some(group) = group {
            let known = self.groups.insert(group, (id, sequence));
            assert!(known.is_none_or(|known| known == (id, sequence)), "{group:?} is used again");
        }
        while let track = &self.tracks[&id]
            && let Limits { max_groups: most @ 1.., .. } = track.limits
            && track.groups.len() > most as usize
            && let Some((victim, false)) = track.victim(None)
        {
            self.evict(id, victim, |evicted| &mut evicted.by_count);
        }
    }

    fn append(&mut self, id: GroupId, bytes: Bytes, in_parts: bool) {
        self.stats.frames += 1;
        self.stats.bytes += bytes.len() as u64;
        let (group, ..) = self.group_mut(id).unwrap();
        group.slots.insert(group.next, Slot::Held { bytes, in_parts });
        group.next += 1;
        self.limit(id);
    }

    /// The open frame is complete.
    fn close_frame(&mut self, id: GroupId) {
        let (group, unfinished, _) = self.group_mut(id).unwrap();
        let open = group.open.take().unwrap();
        *unfinished -= open.size;
        let in_parts = open.is_in_parts();
        self.append(id, open.bytes.into(), in_parts);
    }

    fn apply_put(&mut self, id: GroupId, index: u64, frame: &[u8]) {
        match self.put(id, index) {
            Put::Appended => self.append(id, Bytes::copy_from_slice(frame), false),
            Put::Duplicate => self.stats.same += 1,
            Put::Filled => {
                let (group, ..) = self.group_mut(id).unwrap();
                let (first, slot) = group.slot(index).unwrap();
                let &Slot::Missing { count, why } = slot else { unreachable!("it is missing") };
                let stretches = [(first, index), (index + 1, first + count)];
                group.slots.remove(&first);
                for (from, to) in stretches {
                    if to > from {
                        group.slots.insert(from, Slot::Missing { count: to - from, why });
                    }
                }
                let held = Slot::Held { bytes: Bytes::copy_from_slice(frame), in_parts: false };
                group.slots.insert(index, held);
                self.stats.frames += 1;
                self.stats.bytes += frame.len() as u64;
                self.stats.filled += 1;
                self.limit(id);
            }
        }
    }

    /// Keeps a group within the limits of its track.
    fn limit(&mut self, id: GroupId) {
        let (group, _, limits) = self.group_mut(id).unwrap();
        let floor = group.floor;
        if limits.max_group_frames > 0 && group.next - floor > limits.max_group_frames.into() {
            group.raise(group.next - u64::from(limits.max_group_frames));
        }
        while limits.max_group_bytes > 0
            && group.bytes() > limits.max_group_bytes
            && group.next - group.floor > 1
        {
            // Missing ones bring nothing: all of them go.
            let end = match group.slot(group.floor) {
                Some((first, Slot::Missing { count, .. })) => first + count,
                _ => group.floor + 1,
            };
            group.raise(end.min(group.next - 1));
        }
        let gone = group.floor - floor;
        self.count_frames(id, gone);
    }

    fn count_frames(&mut self, group: GroupId, gone: u64) {
        if gone > 0 {
            let track = self.tracks.get_mut(&self.groups[&group].0).unwrap();
            track.evicted.frames += gone;
            track.went = true;
            self.stats.evicted.frames += gone;
        }
    }

    fn abort_open(&mut self, track: TrackId, code: u64) {
        let groups = self.tracks[&track].groups.values();
        let open: Vec<_> =
            groups.filter(|group| group.state == State::Open).map(|g| g.id).collect();
        for group in open {
            self.abort(group.expect("only skipped ones have none"), code);
        }
    }

    fn abort(&mut self, id: GroupId, code: u64) {
        let (group, unfinished, _) = self.group_mut(id).unwrap();
        let finished = group.state == State::Finished;
        *unfinished -= group.clear();
        group.state = State::Aborted { code, finished };
        self.stats.aborted += 1;
    }

    /// The cache aborted a group that is being written to.
    pub(super) fn abort_as_too_large(&mut self, id: GroupId) {
        self.abort(id, TOO_LARGE);
        self.stats.aborted -= 1;
        self.stats.too_large += 1;
    }

    /// A whole group goes.
    fn evict(&mut self, id: TrackId, number: u64, cause: impl Fn(&mut Evictions) -> &mut u64) {
        let track = self.tracks.get_mut(&id).unwrap();
        let mut group = track.groups.remove(&number).unwrap();
        let unfinished = self.unfinished.entry(track.publisher).or_default();
        *unfinished -= group.clear();
        track.evicted_end = track.evicted_end.max(number + 1);
        track.went = true;
        *cause(&mut track.evicted) += 1;
        *cause(&mut self.stats.evicted) += 1;
        if let Some(group) = group.id {
            self.groups.remove(&group);
        }
        let frames = match group.state {
            State::Finished | State::Aborted { finished: true, .. } => Some(group.next),
            State::Skipped => None,
            State::Open | State::Aborted { .. } => return,
        };
        let own = self.past.get(&id).map_or(0, VecDeque::len);
        let is_full =
            self.past.values().map(VecDeque::len).sum::<usize>() == self.config.max_bytes / 1024;
        let most = self.past.iter().map(|(&of, past)| (past.len(), of)).max();
        if let Some((_, of)) = most.filter(|&(most, _)| is_full && own < 64 && most > own) {
            self.past.get_mut(&of).unwrap().pop_back();
        } else if own == 64 || is_full {
            self.past.get_mut(&id).unwrap().pop_back();
        }
        self.past.entry(id).or_default().push_front((number, frames));
    }

    /// The length of a group that is remembered, of the last one under this number: `Some(None)` of a
    /// skipped one.
    pub(super) fn past(&self, track: TrackId, number: u64) -> Option<Option<u64>> {
        let found = self.past.get(&track)?.iter().find(|(evicted, _)| *evicted == number);
        found.map(|(_, frames)| *frames)
    }

    /// The group to evict next for the budget, of all tracks, and whether it is the newest of a live one.
    pub(super) fn victim(&self, spared: Option<(TrackId, u64)>) -> Option<(TrackId, u64, bool)> {
        let of = |(id, track): (&TrackId, &Track)| {
            let spared = spared.filter(|spared| spared.0 == *id).map(|spared| spared.1);
            let (number, is_newest) = track.victim(spared)?;
            Some((is_newest, track.groups[&number].order, *id, number))
        };
        let next = self.tracks.iter().filter_map(of).min();
        next.map(|(is_newest, _, track, number)| (track, number, is_newest))
    }

    /// The budget took so many groups, while `current` was being written to; whether that was passed.
    pub(super) fn evict_for_budget(
        &mut self,
        groups: u64,
        current: Option<(TrackId, u64)>,
    ) -> bool {
        let mut passed = false;
        for _ in 0..groups {
            let first = self.victim(None).map(|(track, number, _)| (track, number));
            passed |= current.is_some() && first == current;
            let (track, number, _) = self.victim(current).expect("nothing is left to be evicted");
            self.evict(track, number, |evicted| &mut evicted.by_bytes);
        }
        passed
    }

    /// The budget took the front of a group.
    pub(super) fn evict_front(&mut self, id: GroupId, floor: u64) {
        let (group, ..) = self.group_mut(id).unwrap();
        let gone = floor - group.floor;
        group.raise(floor);
        self.count_frames(id, gone);
    }

    /// Time passes: what reached its age goes.
    pub(super) fn time_passes(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while let Some((at, track)) = self.expiry()
            && at <= self.now
        {
            let (number, _) = self.tracks[&track].victim(None).unwrap();
            self.evict(track, number, |evicted| &mut evicted.by_age);
        }
    }

    /// When something reaches its age, and of which track.
    pub(super) fn expiry(&self) -> Option<(Instant, TrackId)> {
        let of = |(id, track): (&TrackId, &Track)| {
            let (number, is_newest) = track.victim(None)?;
            let lasts = !is_newest && !track.limits.max_age.is_zero();
            lasts.then(|| (track.groups[&number].created + track.limits.max_age, *id))
        };
        self.tracks.iter().filter_map(of).min()
    }

    /// The tracks of which something went since the last time; those that are over are forgotten.
    pub(super) fn drain(&mut self) -> BTreeSet<TrackId> {
        let went = self.tracks.iter_mut().filter(|(_, track)| track.went);
        let went = went.map(|(id, track)| {
            track.went = false;
            *id
        });
        let went = went.collect();
        let read: BTreeSet<_> = self.readers.values().map(|reader| reader.track).collect();
        self.tracks.retain(|id, track| {
            track.expects_groups() || !track.groups.is_empty() || read.contains(id)
        });
        self.names.retain(|_, track| self.tracks.contains_key(track));
        self.past.retain(|track, _| self.tracks.contains_key(track));
        went
    }
}
