//! Instructions of the cache: the same thousand operations, however many tracks, groups and readers
//! there are besides. Only ten tracks or groups are worked with, spread over all of them, so that they
//! are in the same state at every size.
//!
//! The attributes of gungraun take no doc comments.

use std::hint::black_box;

use gapless_core::cache::{
    Cache, Command, Config, GroupId, Limits, Next, ReaderId, Start, TrackId,
};
use gapless_core::{Duration, Instant, Machine};
use gungraun::prelude::*;

/// Operations that are counted in one run, but for `wake_all`.
pub(crate) const STEPS: usize = 1_000;
/// Tracks, groups or readers that are worked with.
const SPREAD: usize = 10;
const FRAME: [u8; 64] = [7; 64];
/// Enough for everything here.
const ROOMY: usize = 1 << 30;
/// Between two groups of a track.
const PACE: Duration = Duration::from_millis(1);

/// A cache that is loaded with many of something.
struct LoadedCache {
    cache: Cache,
    now: Instant,
    tracks: Vec<TrackId>,
    /// The newest of each track.
    groups: Vec<GroupId>,
    readers: Vec<ReaderId>,
}

impl LoadedCache {
    fn new(max_bytes: usize) -> Self {
        Self {
            cache: Cache::new(Config::new(max_bytes)).unwrap(),
            now: Instant::from_millis(1),
            tracks: Vec::new(),
            groups: Vec::new(),
            readers: Vec::new(),
        }
    }

    fn add_track(&mut self, limits: Limits) {
        let name = format!("track {}", self.tracks.len());
        let track = self.cache.create_track(self.now, name.as_bytes(), 0, limits).unwrap();
        self.tracks.push(track);
        let group = self.cache.append_group(self.now, track).unwrap();
        self.cache.append(group, &FRAME).unwrap();
        self.groups.push(group);
        self.drain();
    }

    /// The next group of a track, with one frame.
    #[inline(always)]
    fn add_group(&mut self, track: usize) {
        self.cache.finish_group(self.groups[track]).unwrap();
        self.drain();
        let group = self.cache.append_group(self.now, self.tracks[track]).unwrap();
        self.groups[track] = group;
        self.drain();
        self.append(track);
    }

    #[inline(always)]
    fn append(&mut self, track: usize) {
        self.cache.append(self.groups[track], black_box(&FRAME)).unwrap();
        self.drain();
    }

    fn add_reader(&mut self, track: usize, start: Start) -> ReaderId {
        let reader = self.cache.open_reader(self.tracks[track], start).unwrap();
        self.readers.push(reader);
        reader
    }

    /// Reads what must be there.
    #[inline(always)]
    fn read(&mut self, reader: ReaderId) {
        assert!(matches!(black_box(self.cache.next_frame(reader)), Ok(Next::Held(_))));
    }

    #[inline(always)]
    fn drain(&mut self) {
        while let Some(command) = self.cache.poll_command() {
            black_box(command);
        }
    }

    /// Ten of the tracks.
    fn spread(&self) -> impl Iterator<Item = usize> + use<> {
        let tracks = self.tracks.len();
        (0..SPREAD).map(move |which| which * tracks / SPREAD)
    }
}

/// One track of so many groups, with as many readers at its beginning.
fn groups(count: usize) -> LoadedCache {
    groups_kept(count, Limits::default())
}

fn groups_kept(count: usize, limits: Limits) -> LoadedCache {
    let mut loaded = LoadedCache::new(ROOMY);
    loaded.add_track(limits);
    for _ in 1..count {
        loaded.add_group(0);
    }
    for _ in 0..count {
        loaded.add_reader(0, Start::Oldest);
    }
    loaded
}

/// So many tracks of one group, with one reader each.
fn tracks(count: usize) -> LoadedCache {
    tracks_within(ROOMY, count, Limits::default())
}

fn tracks_within(max_bytes: usize, count: usize, limits: Limits) -> LoadedCache {
    let mut loaded = LoadedCache::new(max_bytes);
    for track in 0..count {
        loaded.add_track(limits);
        loaded.add_reader(track, Start::Oldest);
    }
    loaded
}

/// A track that keeps so many groups, and has them.
fn full_track(count: usize) -> LoadedCache {
    let limits = Limits { max_groups: count as u32, ..Limits::default() };
    let mut loaded = groups_kept(count, limits);
    replace_one_group(&mut loaded);
    assert_eq!(loaded.cache.stats().evicted.by_count, STEPS as u64);
    loaded
}

/// As many tracks, with an older group each, as the budget allows.
fn full_cache(count: usize) -> LoadedCache {
    let two_groups = |max_bytes| {
        let mut loaded = tracks_within(max_bytes, count, Limits::default());
        for track in 0..count {
            loaded.add_group(track);
        }
        loaded
    };
    let needed = two_groups(ROOMY).cache.memory_used();
    let mut loaded = two_groups(needed.max(256 << 10));
    while loaded.cache.stats().evicted.by_bytes == 0 {
        replace_spread_groups(&mut loaded);
    }
    replace_spread_groups(&mut loaded);
    loaded
}

/// So many tracks, whose groups grow old one by one.
fn aging_tracks(count: usize) -> LoadedCache {
    // A track's older group expires when as many others were created after it.
    let limits = Limits { max_age: PACE * count as u32, ..Limits::default() };
    let mut loaded = tracks_within(ROOMY, count, limits);
    for round in 0..2 * count {
        age(&mut loaded, round % count);
    }
    loaded
}

fn replace_one_group(loaded: &mut LoadedCache) {
    for _ in 0..STEPS {
        loaded.add_group(0);
    }
}

fn replace_spread_groups(loaded: &mut LoadedCache) {
    for _ in 0..STEPS / SPREAD {
        for track in loaded.spread() {
            loaded.add_group(track);
        }
    }
}

/// A group is superseded, and time passes.
#[inline(always)]
fn age(loaded: &mut LoadedCache, track: usize) {
    loaded.add_group(track);
    loaded.now += PACE;
    loaded.cache.handle_timeout(loaded.now).unwrap();
    loaded.drain();
    black_box(loaded.cache.poll_timeout());
}

/// With new groups to append to.
fn new_groups_in(mut loaded: LoadedCache) -> LoadedCache {
    for track in loaded.spread() {
        loaded.add_group(track);
    }
    loaded
}

fn groups_to_append(count: usize) -> LoadedCache {
    new_groups_in(groups(count))
}

fn tracks_to_append(count: usize) -> LoadedCache {
    new_groups_in(tracks(count))
}

/// A hundred more readers that stand before the first ten groups.
fn groups_to_read(count: usize) -> LoadedCache {
    let mut loaded = groups(count);
    loaded.readers.clear();
    for _ in 0..STEPS / SPREAD {
        loaded.add_reader(0, Start::At { group: 0, frame: 0 });
    }
    loaded
}

/// A hundred more readers before each of ten tracks.
fn tracks_to_read(count: usize) -> LoadedCache {
    let mut loaded = tracks(count);
    loaded.readers.clear();
    for track in loaded.spread() {
        for _ in 0..STEPS / SPREAD {
            loaded.add_reader(track, Start::Oldest);
        }
    }
    loaded
}

/// One waiting reader among so many that do not wait.
fn one_waits(count: usize) -> LoadedCache {
    let mut loaded = groups(count);
    let reader = loaded.add_reader(0, Start::Live);
    assert_eq!(loaded.cache.next_frame(reader), Ok(Next::Pending));
    loaded
}

/// The same, and all others wait far ahead in the same group.
fn others_wait_ahead(count: usize) -> LoadedCache {
    let mut loaded = one_waits(1);
    for _ in 0..count {
        let reader = loaded.add_reader(0, Start::At { group: 0, frame: 1 << 30 });
        assert_eq!(loaded.cache.next_frame(reader), Ok(Next::Pending));
    }
    loaded
}

/// So many readers that all wait.
fn all_wait(count: usize) -> LoadedCache {
    let mut loaded = LoadedCache::new(ROOMY);
    loaded.add_track(Limits::default());
    for _ in 0..count {
        let reader = loaded.add_reader(0, Start::Live);
        assert_eq!(loaded.cache.next_frame(reader), Ok(Next::Pending));
    }
    loaded
}

/// A thousand frames, a hundred to each of ten groups, where there are ten.
fn appended(mut loaded: LoadedCache) -> LoadedCache {
    for _ in 0..STEPS / SPREAD {
        for track in loaded.spread() {
            loaded.append(track);
        }
    }
    loaded
}

#[library_benchmark(setup = groups_to_append, teardown = drop)]
#[bench::ten(10)]
#[bench::thousand(1_000)]
#[bench::hundred_thousand(100_000)]
fn append_among_groups(loaded: LoadedCache) -> LoadedCache {
    appended(loaded)
}

#[library_benchmark(setup = tracks_to_append, teardown = drop)]
#[bench::ten(10)]
#[bench::thousand(1_000)]
#[bench::hundred_thousand(100_000)]
fn append_among_tracks(loaded: LoadedCache) -> LoadedCache {
    appended(loaded)
}

// Each reads ten groups of one frame, and their ends but the last.
#[library_benchmark(setup = groups_to_read, teardown = drop)]
#[bench::ten(10)]
#[bench::thousand(1_000)]
#[bench::hundred_thousand(100_000)]
fn read_among_groups(mut loaded: LoadedCache) -> LoadedCache {
    for index in 0..loaded.readers.len() {
        let reader = loaded.readers[index];
        for group in 0..SPREAD {
            if group > 0 {
                let end = loaded.cache.next_frame(reader);
                assert!(matches!(black_box(end), Ok(Next::GroupEnd { .. })));
            }
            loaded.read(reader);
        }
    }
    loaded
}

#[library_benchmark(setup = tracks_to_read, teardown = drop)]
#[bench::ten(10)]
#[bench::thousand(1_000)]
#[bench::hundred_thousand(100_000)]
fn read_among_tracks(mut loaded: LoadedCache) -> LoadedCache {
    for index in 0..loaded.readers.len() {
        let reader = loaded.readers[index];
        loaded.read(reader);
    }
    loaded
}

// A group is created, gets a frame and is finished; the oldest goes, by count.
#[library_benchmark(setup = full_track, teardown = drop)]
#[bench::ten(10)]
#[bench::thousand(1_000)]
#[bench::hundred_thousand(100_000)]
fn evict_among_groups(mut loaded: LoadedCache) -> LoadedCache {
    replace_one_group(&mut loaded);
    loaded
}

// The same for the budget: the oldest of all tracks goes.
#[library_benchmark(setup = full_cache, teardown = drop)]
#[bench::ten(10)]
#[bench::thousand(1_000)]
#[bench::hundred_thousand(100_000)]
fn evict_among_tracks(mut loaded: LoadedCache) -> LoadedCache {
    replace_spread_groups(&mut loaded);
    loaded
}

#[library_benchmark(setup = one_waits, teardown = drop)]
#[bench::ten(10)]
#[bench::thousand(1_000)]
#[bench::hundred_thousand(100_000)]
fn wake_one(loaded: LoadedCache) -> LoadedCache {
    woken(loaded)
}

#[library_benchmark(setup = others_wait_ahead, teardown = drop)]
#[bench::ten(10)]
#[bench::thousand(1_000)]
#[bench::hundred_thousand(100_000)]
fn wake_one_of_many(loaded: LoadedCache) -> LoadedCache {
    woken(loaded)
}

/// A frame is appended, the reader is notified, reads it and waits again.
fn woken(mut loaded: LoadedCache) -> LoadedCache {
    for _ in 0..STEPS {
        loaded.cache.append(loaded.groups[0], black_box(&FRAME)).unwrap();
        let Some(Command::Readable(reader)) = loaded.cache.poll_command() else {
            panic!("no reader is notified");
        };
        loaded.drain();
        loaded.read(reader);
        assert!(matches!(black_box(loaded.cache.next_frame(reader)), Ok(Next::Pending)));
    }
    loaded
}

// One frame is appended, and every reader is notified.
#[library_benchmark(setup = all_wait, teardown = drop)]
#[bench::ten(10)]
#[bench::thousand(1_000)]
#[bench::hundred_thousand(100_000)]
fn wake_all(mut loaded: LoadedCache) -> LoadedCache {
    loaded.append(0);
    loaded
}

#[library_benchmark(setup = groups, teardown = drop)]
#[bench::ten(10)]
#[bench::thousand(1_000)]
#[bench::hundred_thousand(100_000)]
fn look_up_group(loaded: LoadedCache) -> LoadedCache {
    let groups = loaded.cache.group_count(loaded.tracks[0]).unwrap() as usize;
    for step in 0..STEPS {
        let sequence = (step * groups / STEPS) as u64;
        black_box(loaded.cache.group(loaded.tracks[0], black_box(sequence)).unwrap());
    }
    loaded
}

// A group is superseded, another grows too old.
#[library_benchmark(setup = aging_tracks, teardown = drop)]
#[bench::ten(10)]
#[bench::thousand(1_000)]
#[bench::hundred_thousand(100_000)]
fn age_among_tracks(mut loaded: LoadedCache) -> LoadedCache {
    for step in 0..STEPS {
        let track = step % loaded.tracks.len();
        age(&mut loaded, track);
    }
    loaded
}

library_benchmark_group!(
    name = loads,
    benchmarks = [
        append_among_groups,
        append_among_tracks,
        read_among_groups,
        read_among_tracks,
        evict_among_groups,
        evict_among_tracks,
        wake_one,
        wake_one_of_many,
        wake_all,
        look_up_group,
        age_among_tracks
    ]
);
