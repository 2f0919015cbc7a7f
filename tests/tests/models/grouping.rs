//! From a feed to a track: whatever a receiver's word was, the frames are those of the numbers, two
//! caches of one feed agree, and a recorded cache gives the same as a bare one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use gapless_core::cache::{self, Cache, FrameState, Limits, Missing, Next, Start};
use gapless_core::grouping::{Config, Grouping, Step, Steps};
use gapless_core::journal::Driven;
use gapless_core::journal::{Recorder, Replayer, recorder};
use gapless_core::receiver::{Batch, Command, LossReason, Origin, SessionEnd};
use gapless_core::{Duration, Instant, Machine, Session};
use gapless_tests::alloc;
use gapless_tests::sim::{Chance, Random, message};

const SESSION: Session = Session::new(*b"MONDAY    ");
const NOW: Instant = Instant::from_millis(1);
/// Messages of the feed.
const FEED: u64 = 60;
const ROUNDS: u64 = 500;

/// Messages `first..=last` as a receiver delivers them; `forged` says something else.
fn batch(first: u64, last: u64, forged: bool) -> Batch<Bytes> {
    let mut bytes = Vec::new();
    for number in first..=last {
        let said = message(SESSION, number);
        let said: &[u8] = if forged { b"something else" } else { &said };
        bytes.extend_from_slice(&u16::try_from(said.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(said);
    }
    Batch {
        session: SESSION,
        first,
        count: u16::try_from(last - first + 1).unwrap(),
        bytes: bytes.into(),
        offset: 0,
        arrival: NOW,
        origin: Origin::Unknown,
        repaired: false,
    }
}

/// The commands of a receiver for messages that it gives up.
fn lost(first: u64, last: u64) -> Command {
    Command::Lost { session: SESSION, first, last, reason: LossReason::GivenUp }
}

/// The commands of a receiver, in no order that makes sense.
fn word(random: &mut Random, next: u64) -> Command {
    let first = match random.within(0..=9) {
        0..=5 => next,
        6 => random.within(next..=next + 20),
        _ => random.within(1..=next),
    };
    let first = first.clamp(1, FEED);
    let last = (first + random.within(0..=8)).min(FEED);
    match random.within(0..=9) {
        0..=5 => Command::Batch(batch(first, last, false)),
        6 | 7 => lost(first, last.max(next.min(FEED))),
        8 => Command::Batch(batch(first, last, true)),
        _ => Command::SessionStarted { session: SESSION, next: first },
    }
}

/// Takes steps to the end, and calls for each.
fn take<B: AsRef<[u8]>, C: Driven<Cache>>(
    grouping: &mut Grouping,
    cache: &mut C,
    mut steps: Steps<B>,
    mut taken: impl FnMut(Step, &mut C),
) {
    while let Some(step) = grouping.step(NOW, cache, &mut steps) {
        taken(step, cache);
    }
}

/// As [`take`], with a cache that is drained after each step.
fn publish<B: AsRef<[u8]>, C: Driven<Cache>>(
    grouping: &mut Grouping,
    cache: &mut C,
    steps: Steps<B>,
) {
    take(grouping, cache, steps, |_, cache| while cache.poll_command().is_some() {});
}

/// One cache with its grouping, and a naive account of what it must hold.
struct Relay<C> {
    cache: C,
    grouping: Grouping,
    size: u64,
    /// Everything up to this is settled.
    settled: u64,
    held: BTreeMap<u64, Vec<u8>>,
    lost: BTreeSet<u64>,
    contradictions: u64,
    reported: u64,
    /// The frames that steps appended, by group: they adjoin.
    appended: BTreeMap<u64, u64>,
}

impl<C: Driven<Cache>> Relay<C> {
    fn new(cache: C, size: u32, first: u64) -> Self {
        let config = Config { group_size: size, ..Config::new("feed") };
        let (held, lost) = (BTreeMap::new(), BTreeSet::new());
        let mut relay = Self {
            cache,
            grouping: Grouping::new(config).unwrap(),
            size: size.into(),
            settled: first - 1,
            held,
            lost,
            contradictions: 0,
            reported: 0,
            appended: BTreeMap::new(),
        };
        relay.command(&Command::SessionStarted { session: SESSION, next: first });
        relay
    }

    /// Publishes a command; the cache is drained behind its last step.
    fn command(&mut self, command: &Command) {
        let Self { cache, grouping, reported, appended, .. } = self;
        let steps = grouping.command(command.clone()).unwrap();
        take(grouping, cache, steps, |step, _| match step {
            Step::Contradiction { .. } => *reported += 1,
            Step::Appended { group, frames, .. } => {
                let end = appended.insert(group, frames.end).unwrap_or_default();
                assert!(end == frames.start && end < frames.end, "{frames:?} behind {end}");
            }
            _ => {}
        });
        while cache.poll_command().is_some() {}
    }

    fn group(&self, number: u64) -> u64 {
        (number - 1) / self.size
    }

    /// Whether a group has a frame that is held.
    fn exists(&self, group: u64) -> bool {
        self.held.keys().any(|&number| self.group(number) == group)
    }

    /// The expected steps of a command, naively.
    fn account(&mut self, command: &Command) {
        match command {
            Command::Batch(batch) => {
                for (number, said) in batch.messages() {
                    self.account_message(number, said);
                }
            }
            &Command::Lost { first, last, .. } => {
                self.lost.extend(first.max(self.settled + 1)..=last);
                self.settled = self.settled.max(last);
            }
            _ => {}
        }
    }

    fn account_message(&mut self, number: u64, said: &[u8]) {
        let (group, under_way) = (self.group(number), self.settled / self.size);
        let below = self.held.keys().next().is_none_or(|&first| group < self.group(first));
        if number > self.settled {
            self.settled = number;
        } else if below && group != under_way {
            // A message for a group before the oldest comes too late.
            return;
        }
        match self.held.get(&number) {
            Some(held) => self.contradictions += u64::from(held != said),
            None => _ = self.held.insert(number, said.to_vec()),
        }
    }

    /// The cache holds what the account says, where it says it.
    fn check(&self) {
        let cache = self.cache.machine();
        let track = self.grouping.track(SESSION).unwrap();
        for group in 0..=FEED / self.size + 1 {
            let Some(id) = cache.group(track, group) else {
                assert!(!self.exists(group), "group {group} is not there");
                continue;
            };
            assert!(self.exists(group), "nothing of group {group} came, and it is there");
            let frames = (self.settled - group * self.size).min(self.size);
            assert_eq!(cache.frames(id), Some(0..frames), "group {group}");
            assert_eq!(self.appended.get(&group), Some(&frames), "group {group}");
            for index in 0..frames {
                let number = group * self.size + index + 1;
                match (cache.frame(id, index).unwrap(), self.held.get(&number)) {
                    (FrameState::Held(bytes), Some(held)) => assert_eq!(bytes, held, "{number}"),
                    (FrameState::Missing(Missing::Absent), None) => {}
                    (FrameState::Missing(Missing::Lost), None) => {
                        assert!(self.lost.contains(&number), "{number} was not lost");
                    }
                    (look, held) => panic!("message {number} is {look:?}, and not {held:?}"),
                }
            }
        }
        assert_eq!(self.grouping.stats().contradictions, self.contradictions);
        assert_eq!(self.reported, self.contradictions);
    }
}

fn bare() -> Cache {
    Cache::new(cache::Config::new(1 << 20)).unwrap()
}

/// Lets a relay hear a word after the other, then the end.
fn hear<C: Driven<Cache>>(random: &mut Random, relay: &mut Relay<C>, forges: bool) {
    for _ in 0..random.within(1..=40) {
        let command = word(random, relay.settled + 1);
        if !forges && matches!(&command, Command::Batch(batch) if batch.bytes.ends_with(b"else")) {
            continue;
        }
        relay.command(&command);
        relay.account(&command);
        relay.check();
    }
    if random.happens(Chance::percent(50)) {
        let next = relay.settled + 1;
        let reason = SessionEnd::Ended;
        relay.command(&Command::SessionEnded { session: SESSION, next, reason });
        relay.check();
    }
}

#[test]
fn whatever_a_receiver_says_each_message_is_the_frame_of_its_number() {
    for seed in 0..ROUNDS {
        let random = &mut Random::new(seed);
        let size = random.one_of(&[1, 2, 5, 16]);
        let first = random.one_of(&[1, 1, 7, 33]);
        hear(random, &mut Relay::new(bare(), size, first), true);
    }
}

#[test]
fn two_caches_of_one_feed_hold_nothing_different_in_one_place() {
    let mut both = 0;
    for seed in 0..ROUNDS {
        let random = &mut Random::new(seed);
        let size = random.one_of(&[1, 2, 5, 16]);
        let [ours, theirs] = [(); 2].map(|()| {
            let first = random.one_of(&[1, 1, 7, 33]);
            let mut relay = Relay::new(bare(), size, first);
            hear(random, &mut relay, false);
            assert_eq!(relay.reported, 0);
            relay
        });
        let places = |relay: &Relay<Cache>| {
            let track = relay.grouping.track(SESSION).unwrap();
            let mut places = BTreeMap::new();
            for group in 0..=FEED {
                let Some(id) = relay.cache.group(track, group) else { continue };
                for index in relay.cache.frames(id).unwrap() {
                    if let Some(FrameState::Held(bytes)) = relay.cache.frame(id, index) {
                        places.insert((group, index), bytes.to_vec());
                    }
                }
            }
            places
        };
        let (ours, theirs) = (places(&ours), places(&theirs));
        for (place, bytes) in &ours {
            if let Some(other) = theirs.get(place) {
                assert_eq!(bytes, other, "{place:?} holds two messages");
                both += 1;
            }
        }
    }
    assert!(both > ROUNDS, "only {both} frames were compared");
}

#[test]
fn a_recorded_cache_holds_what_a_bare_one_holds_and_replays() {
    for seed in 0..50 {
        let random = &mut Random::new(seed);
        let mut journal = Vec::new();
        let machine = cache::Config::new(1 << 20);
        let config = recorder::Config { machine, id: 0, sink: Some(&mut journal), commands: true };
        let recorded = Recorder::<Cache, _>::new(config).unwrap();
        let mut relay = Relay::new(recorded, 5, 1);
        hear(random, &mut relay, true);
        drop(relay);
        let mut replayer = Replayer::verifying().knowing::<Cache>();
        replayer.replay(&journal[..], &mut ()).expect("it does the same again");
        assert_eq!(replayer.machines().count(), 1);
    }
}

#[test]
fn publishing_into_a_warm_cache_allocates_nothing() {
    let limits = Limits { max_groups: 20, ..Limits::default() };
    let config = Config { group_size: 16, limits, ..Config::new("feed") };
    let mut grouping = Grouping::new(config).unwrap();
    let mut cache = bare();
    let started = Command::SessionStarted { session: SESSION, next: 1 };
    let steps = grouping.command(started).unwrap();
    publish(&mut grouping, &mut cache, steps);
    let reader = cache.open_reader(grouping.track(SESSION).unwrap(), Start::Oldest).unwrap();
    let mut read = 0;
    let mut publish = |from: u64, to: u64, batches: &[Batch<Bytes>]| {
        for (first, batch) in (from..to).step_by(10).zip(batches.iter().cycle()) {
            let batch = Batch { first, ..batch.clone() };
            let steps = grouping.batch(batch).unwrap();
            publish(&mut grouping, &mut cache, steps);
            let (first, last) = (first + 8, first + 9);
            let lost = lost(first, last);
            let steps = grouping.command(lost).unwrap();
            publish(&mut grouping, &mut cache, steps);
            loop {
                match cache.next_frame(reader).unwrap() {
                    Next::Pending => break,
                    Next::Held(_) => read += 1,
                    _ => {}
                }
            }
        }
    };
    let batches: Vec<_> = (0..7).map(|index| batch(index * 8 + 1, index * 8 + 8, false)).collect();
    publish(1, 5001, &batches);
    let ((), warm) = alloc::measure(|| publish(5001, 15_001, &batches));
    assert_eq!(read, 12_000, "eight of ten");
    let blocks = cache.stats().blocks_allocated;
    assert!(warm.allocations <= blocks, "{warm:?} where the pool made {blocks} blocks in all");
    assert_eq!(warm.allocations, 0, "the pool has every block that it needs");
}

#[test]
fn a_session_starts_and_ends_without_an_allocation_of_the_grouping() {
    let mut grouping = Grouping::new(Config::new("feed")).unwrap();
    let mut cache = bare();
    let mut sessions = |range: std::ops::Range<u8>, cache: &mut Cache| {
        for name in range {
            let session = Session::new([b'A' + name % 26; 10]);
            let started = Command::SessionStarted { session, next: 1 };
            let steps = grouping.command(started).unwrap();
            publish(&mut grouping, cache, steps);
            let reason = SessionEnd::Ended;
            let ended = Command::SessionEnded { session, next: 1, reason };
            let steps = grouping.command(ended).unwrap();
            publish(&mut grouping, cache, steps);
        }
    };
    sessions(0..26, &mut cache);
    // The only allocation of the cache for a track is its name.
    let ((), warm) = alloc::measure(|| sessions(26..52, &mut cache));
    assert!(warm.allocations <= 26, "{warm:?}");
}

#[test]
fn a_group_reaches_its_age_by_the_caches_clock() {
    let limits = Limits { max_age: Duration::from_secs(1), ..Limits::default() };
    let config = Config { group_size: 4, limits, ..Config::new("feed") };
    let mut grouping = Grouping::new(config).unwrap();
    let mut cache = bare();
    let started = Command::SessionStarted { session: SESSION, next: 1 };
    let steps = grouping.command(started).unwrap();
    publish(&mut grouping, &mut cache, steps);
    let steps = grouping.batch(batch(1, 8, false)).unwrap();
    publish(&mut grouping, &mut cache, steps);
    let later = NOW + Duration::from_secs(1);
    let mut evicted = 0;
    cache.handle_timeout(later).unwrap();
    while let Some(command) = Machine::poll_command(&mut cache) {
        evicted +=
            u32::from(matches!(command, cache::Command::Evicted { floor: Some((1, 0)), .. }));
    }
    assert_eq!(evicted, 1);
}
