//! Holds what a cache said and shows against the naive one, and judges what it let go for the budget.

use std::collections::{BTreeMap, BTreeSet};

use gapless_core::cache::{
    Answer, Cache, CallError, Command, Config, Event, FrameState, GroupId, Put, Refusal, TOO_LARGE,
    TrackId,
};
use gapless_core::{Instant, Machine};

use super::oracle::{Group, Model, Slot, State, Track};
use super::play::Said;

/// The bytes that tables may grow by at once.
const TABLE_BYTES: usize = 64 << 10;

impl Model {
    /// Judges what was said to an event, and does what it says. `used` bytes of the budget were taken
    /// before.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        event: &Event<'_>,
        used: usize,
        said: &Said,
        cache: &Cache,
    ) {
        let groups = cache.stats().evicted.by_bytes - self.stats.evicted.by_bytes;
        let frames = self.stats.evicted.frames;
        if let Err(error) = self.allows(event) {
            assert_eq!(said.answer, Err(error), "to {event:?}");
            assert_eq!((&said.commands[..], groups), (&[][..], 0), "{event:?} was refused");
            match error {
                CallError::Refused(refusal) => self.count(refusal),
                CallError::Misuse(_) => {}
            }
            return;
        }
        let current = written_to(event).and_then(|group| Some((group, *self.groups.get(&group)?)));
        let before = current.map(|(group, _)| self.group(group).unwrap());
        let before = before.map(|group| (group.next, group.open.is_some()));
        let passed = self.evict_for_budget(groups, current.map(|(_, place)| place));
        // The only one beside `current` of which a part may go.
        let next =
            self.victim(current.map(|(_, place)| place)).filter(|&(track, number, is_newest)| {
                is_newest && self.tracks[&track].groups[&number].state == State::Open
            });
        let next = next.and_then(|(track, number, _)| self.tracks[&track].groups[&number].id);
        // Nothing more is let go for what can never be held. It may be a buffer of twice its length.
        let announced = match *event {
            Event::OpenFrame { size, .. } => size as usize,
            _ => bytes(event),
        };
        let in_vain = 2 * announced + TABLE_BYTES >= self.config.max_bytes;
        let all_went =
            |model: &Self| in_vain || model.victim(current.map(|(_, place)| place)).is_none();
        let aborted = said.commands.iter().any(|said| matches!(said, Command::Aborted { .. }));
        match &said.answer {
            &Err(CallError::Refused(Refusal::Full { used, max })) => {
                assert!(max == self.config.max_bytes && used <= max, "{used} of {max} bytes");
                assert!(may_be_full(event), "{event:?} is refused for want of memory");
                assert!(all_went(self) || self.is_reserved_from(event), "more could go");
                self.count(Refusal::Full { used, max });
            }
            Err(refusal) => panic!("{event:?} is refused: {refusal}"),
            Ok(answer) if aborted => {
                assert!(matches!(answer, Answer::Done | Answer::Put(Put::Appended)), "{answer:?}");
                assert!(all_went(self), "more could go");
                let (group, (track, number)) = current.expect("something is written to");
                let command = Command::Aborted { track, group: number, code: TOO_LARGE };
                assert_eq!(said.commands[0], command);
                self.abort_as_too_large(group);
            }
            Ok(answer) => self.apply(now, event, answer),
        }
        let may_go = groups > 0 || aborted;
        self.settle_fronts(current.map(|(group, _)| group), next, may_go, cache);
        if let Some(((group, _), (next, is_open))) = current.zip(before)
            && passed
        {
            let floor = self.group(group).unwrap().floor;
            assert!(floor >= next || is_open, "others went before the front of {group:?}");
        }
        if groups > 0 || self.stats.evicted.frames > frames && !self.is_limited(current) {
            let needed = used + 2 * bytes(event) + TABLE_BYTES;
            let half = self.config.max_bytes / 2;
            assert!(needed >= half, "{groups} groups went for {needed} bytes");
        }
        self.judge_commands(&said.commands);
    }

    /// Whether what is reserved for publishers may be kept from this. There are two publishers.
    fn is_reserved_from(&self, event: &Event<'_>) -> bool {
        let Config { max_publishers, reserve, .. } = self.config;
        match *event {
            Event::CreateTrack { publisher, .. } => {
                let tracks = self.tracks.values().filter(|track| track.publisher == publisher);
                max_publishers > 0 && tracks.count() >= reserve / 2624
            }
            Event::OpenReader { .. } | Event::CloneReader { .. } => max_publishers > 0,
            _ => false,
        }
    }

    /// Whether limits of the track of a group let frames go.
    fn is_limited(&self, group: Option<(GroupId, (TrackId, u64))>) -> bool {
        group.is_some_and(|(_, (track, _))| {
            let limits = self.tracks[&track].limits;
            limits.max_group_bytes > 0 || limits.max_group_frames > 0
        })
    }

    /// Takes over what the budget took from the front of groups.
    fn settle_fronts(
        &mut self,
        current: Option<GroupId>,
        next: Option<GroupId>,
        may_go: bool,
        cache: &Cache,
    ) {
        let counted = cache.stats().evicted.frames;
        if counted == self.stats.evicted.frames {
            return;
        }
        for group in self.groups.keys().copied().collect::<Vec<_>>() {
            let floor = cache.frames(group).expect("a group that is there").start;
            let state = self.group(group).unwrap();
            if floor > state.floor {
                let may = Some(group) == current || Some(group) == next;
                assert!(may, "the front of {group:?} went, which is not next");
                assert!(floor <= state.next);
                self.evict_front(group, floor);
            }
        }
        // Of groups that went as a whole, or were aborted, in the end.
        let rest = counted - self.stats.evicted.frames;
        assert!(rest == 0 || may_go, "{rest} frames went of no group");
        self.stats.evicted.frames = counted;
        for (id, track) in &mut self.tracks {
            if let Some(evicted) = cache.evictions(*id).filter(|_| rest > 0) {
                assert!(evicted.frames >= track.evicted.frames);
                track.went |= evicted.frames > track.evicted.frames;
                track.evicted.frames = evicted.frames;
            }
        }
    }

    /// Judges everything that was reported.
    pub(super) fn judge_commands(&mut self, commands: &[Command]) {
        let floor = |track: &Track| {
            track.groups.first_key_value().map(|(&number, group)| (number, group.floor))
        };
        let floors: BTreeMap<_, _> =
            self.tracks.iter().map(|(id, track)| (*id, floor(track))).collect();
        let went = self.drain();
        let mut left = went;
        let mut readable = BTreeSet::new();
        let rank = |command: &Command| match command {
            Command::Answer(_) => 0,
            Command::Aborted { .. } => 1,
            Command::Evicted { .. } => 2,
            Command::Readable(_) => 3,
        };
        assert!(commands.is_sorted_by_key(rank), "{commands:?}");
        for command in commands {
            match *command {
                Command::Evicted { track, floor } => {
                    assert!(left.remove(&track), "{track:?} lost nothing, or is reported twice");
                    assert_eq!(floor, floors[&track], "the floor of {track:?}");
                }
                Command::Readable(reader) => {
                    assert!(readable.insert(reader), "{reader:?} is reported twice");
                }
                Command::Answer(_) | Command::Aborted { .. } => {}
            }
        }
        assert!(left.is_empty(), "not reported that something went of {left:?}");
        self.stats.woken += readable.len() as u64;
        let waiting =
            self.readers.iter().filter_map(|(id, reader)| Some((*id, *reader, reader.waits?)));
        for (id, reader, waits) in waiting.collect::<Vec<_>>() {
            let (must, may) = self.wakes(reader, waits);
            let is_reported = readable.remove(&id);
            assert!(is_reported || !must, "{id:?} is not reported: {reader:?}");
            assert!(!is_reported || may, "{id:?} is reported though nothing went: {reader:?}");
            if is_reported {
                self.readers.get_mut(&id).unwrap().waits = None;
            }
        }
        assert!(readable.is_empty(), "{readable:?} did not wait");
    }

    pub(super) fn check_stats(&self, cache: &Cache) {
        let mut counted = *cache.stats();
        counted.blocks_allocated = 0;
        assert_eq!(counted, self.stats);
    }

    /// Whether everything can be compared at every step.
    pub(super) fn is_small(&self) -> bool {
        self.tracks.values().map(|track| track.groups.len()).sum::<usize>() <= 8
    }

    /// Compares everything that can be looked up.
    pub(super) fn check_standing(&self, cache: &Cache) {
        for name in [b"a", b"b", b"c", b"d", b"e"] {
            assert_eq!(cache.track(name), self.names.get(&name[..]).copied());
        }
        for (&id, track) in &self.tracks {
            assert_eq!(cache.newest(id), track.newest);
            assert_eq!(cache.group_count(id), Some(track.groups.len() as u32));
            assert_eq!(cache.evictions(id), Some(track.evicted));
            let floor = track.groups.first_key_value();
            assert_eq!(cache.floor(id), floor.map(|(&number, group)| (number, group.floor)));
            for (&number, group) in &track.groups {
                let found = cache.group(id, number).expect("a group that is there");
                assert!(group.id.is_none_or(|id| id == found));
                assert_eq!(cache.frames(found), Some(group.floor..group.next), "{found:?}");
                let below = group.floor.checked_sub(1);
                let indices = below.into_iter().chain(group.floor..group.floor + 2);
                for index in
                    indices.chain([group.next / 2, group.next.saturating_sub(1), group.next])
                {
                    let looked = cache.frame(found, index);
                    assert!(is(group, index, looked), "frame {index} of {found:?}: {looked:?}");
                }
            }
            let behind = track.newest.map_or(0, |newest| newest + 1);
            assert_eq!(cache.group(id, behind), None);
        }
    }
}

/// Whether that is what there is under an index.
fn is(group: &Group, index: u64, looked: Option<FrameState<'_>>) -> bool {
    let Some(looked) = looked else { return false };
    if index >= group.next {
        return looked == FrameState::Pending;
    }
    if index < group.floor {
        return looked == FrameState::Evicted;
    }
    match group.slot(index) {
        Some((_, Slot::Held { bytes, in_parts })) => match looked {
            FrameState::Held(held) => !in_parts && held == &bytes[..],
            FrameState::Parts { size } => *in_parts && size == bytes.len() as u64,
            _ => false,
        },
        Some((_, Slot::Missing { why, .. })) => looked == FrameState::Missing(*why),
        None => false,
    }
}

/// The group that an event writes to.
const fn written_to(event: &Event<'_>) -> Option<GroupId> {
    match *event {
        Event::Append { group, .. }
        | Event::OpenFrame { group, .. }
        | Event::Write { group, .. }
        | Event::AppendMissing { group, .. }
        | Event::Put { group, .. } => Some(group),
        _ => None,
    }
}

/// The bytes that an event comes with, or announces.
const fn bytes(event: &Event<'_>) -> usize {
    match *event {
        Event::Append { frame, .. } | Event::Put { frame, .. } => frame.len(),
        Event::Write { chunk, .. } => chunk.len(),
        Event::OpenFrame { .. } => 4096,
        _ => 0,
    }
}

/// Whether an event can be refused because everything that cannot go takes all memory.
const fn may_be_full(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::CreateTrack { .. }
            | Event::CreateGroup { .. }
            | Event::AppendGroup { .. }
            | Event::SkipGroup { .. }
            | Event::OpenReader { .. }
            | Event::CloneReader { .. }
            | Event::Put { .. }
    )
}
