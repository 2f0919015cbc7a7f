//! A hundred thousand tracks, and a million groups, under 256 MiB: what the process takes, what the
//! allocator gives, and that the last operations ask it for no more than the first.
//!
//! Each test runs in a process of its own, for what the kernel says of it to be true of that test.

#![cfg(target_os = "linux")]

use std::env;
use std::fs;
use std::process::Command;

use gapless_core::cache::{Cache, Config, GroupId, Limits, Next, ReaderId, Start, TrackId};
use gapless_core::{Instant, Machine};
use gapless_tests::alloc::measure;

/// Set to a test's name in the process that runs nothing but it.
const ALONE: &str = "GAPLESS_CACHE_SCALE_ALONE";
const BUDGET: usize = 256 << 20;
/// The allocator's peak may be above the budget by this.
const SLACK: usize = 64 << 10;
const NOW: Instant = Instant::from_millis(1);

const TRACKS: usize = 100_000;
const GROUPS: usize = 1_000_000;
const FRAME: [u8; 64] = [7; 64];

#[test]
fn a_hundred_thousand_tracks_of_one_group_keep_to_the_budget() {
    alone("a_hundred_thousand_tracks_of_one_group_keep_to_the_budget", || {
        let mut tracks = Tracks(Vec::with_capacity(TRACKS));
        let ((), measured) = measure(|| {
            let mut cache = Cache::new(Config::new(BUDGET)).unwrap();
            tracks.create(&mut cache);
            tracks.append(&mut cache, &FRAME);
            assert_eq!(cache.stats().evicted.by_bytes, 0, "small groups all fit");
            tracks.read(&mut cache, &FRAME);

            let large = [9; 500];
            // More than the budget holds.
            for _ in 0..6 {
                tracks.append(&mut cache, &large);
            }
            let evicted = cache.stats().evicted;
            assert!(evicted.by_bytes > 0 && evicted.frames > 0, "{evicted:?}");

            let blocks = cache.stats().blocks_allocated;
            let ((), warm) = measure(|| tracks.append(&mut cache, &large));
            // A block is a buffer and its reference count.
            let blocks = 2 * (cache.stats().blocks_allocated - blocks);
            let others = warm.allocations - blocks;
            assert!(others < TRACKS as u64 / 100, "{others} allocations other than of blocks");
            assert_eq!(cache.stats().tracks, TRACKS as u64);
            assert_eq!(cache.track(&name(TRACKS / 2)), Some(tracks.0[TRACKS / 2].track));
        });
        assert_peak(measured.peak);
    });
}

#[test]
fn a_million_small_groups_of_one_track_keep_to_the_budget() {
    alone("a_million_small_groups_of_one_track_keep_to_the_budget", || {
        let ((), measured) = measure(|| {
            let mut cache = Cache::new(Config::new(BUDGET)).unwrap();
            let track = cache.create_track(NOW, b"many groups", 0, Limits::default()).unwrap();
            let reader = cache.open_reader(track, Start::At { group: 0, frame: 0 }).unwrap();
            let ((), first) = measure(|| add_groups(&mut cache, track, GROUPS / 10));
            add_groups(&mut cache, track, GROUPS / 10 * 8);
            let ((), last) = measure(|| add_groups(&mut cache, track, GROUPS / 10));
            assert!(last.allocations <= first.allocations, "{first:?}, and at last {last:?}");
            within_budget(&cache);

            // Every group is still there, or is told to be gone.
            let ((), reading) = measure(|| read_to_the_end(&mut cache, reader));
            assert_eq!(reading.allocations, 0);
            assert_eq!(cache.newest(track), Some(GROUPS as u64 - 1));
            assert!(cache.group(track, GROUPS as u64 - 2).is_some());
        });
        assert_peak(measured.peak);
    });
}

/// Runs a test in a process of its own, and looks at what that took at most.
fn alone(name: &str, test: impl FnOnce()) {
    if env::var(ALONE).is_ok_and(|alone| alone == name) {
        test();
        let most = resident_at_most();
        assert!(most <= BUDGET + BUDGET / 5, "the process took {most} bytes");
        return;
    }
    let this = env::current_exe().unwrap();
    let path = format!("cache_scale::{name}");
    let run = Command::new(this).args([&path, "--exact"]).env(ALONE, name).output().unwrap();
    let output = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{output}");
    assert!(output.contains("1 passed"), "no test of this name: {output}");
}

/// The most bytes that this process ever had in memory.
fn resident_at_most() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

fn assert_peak(peak: isize) {
    assert!(peak as usize <= BUDGET + SLACK, "the allocator gave {peak} bytes");
}

fn within_budget(cache: &Cache) {
    let (used, lent) = (cache.memory_used(), cache.lent());
    assert!(used - lent <= BUDGET, "{used} bytes used, {lent} of them lent");
}

fn drain(cache: &mut Cache) {
    while cache.poll_command().is_some() {}
}

fn name(track: usize) -> Vec<u8> {
    format!("track {track}").into_bytes()
}

/// One of many.
struct Track {
    track: TrackId,
    group: GroupId,
    reader: ReaderId,
}

/// Tracks with one live group and one reader each. Their table has room before anything is measured.
struct Tracks(Vec<Track>);

impl Tracks {
    fn create(&mut self, cache: &mut Cache) {
        for number in 0..TRACKS {
            let track = cache.create_track(NOW, &name(number), 0, Limits::default()).unwrap();
            let group = cache.append_group(NOW, track).unwrap();
            let reader = cache.open_reader(track, Start::Oldest).unwrap();
            self.0.push(Track { track, group, reader });
        }
    }

    /// One frame to each group, or to a new one where it is gone.
    fn append(&mut self, cache: &mut Cache, frame: &[u8]) {
        for track in &mut self.0 {
            if cache.frames(track.group).is_none() {
                track.group = cache.append_group(NOW, track.track).unwrap();
                drain(cache);
            }
            cache.append(track.group, frame).unwrap();
            drain(cache);
        }
        within_budget(cache);
    }

    /// Every reader finds this, and then nothing more.
    fn read(&self, cache: &mut Cache, frame: &[u8]) {
        let ((), measured) = measure(|| {
            for track in &self.0 {
                let next = cache.next_frame(track.reader).unwrap();
                assert_eq!(next.held().map(|held| held.bytes), Some(frame));
                assert_eq!(cache.next_frame(track.reader), Ok(Next::Pending));
            }
        });
        assert_eq!(measured.allocations, 0, "reading");
    }
}

/// Groups of one frame.
fn add_groups(cache: &mut Cache, track: TrackId, count: usize) {
    for _ in 0..count {
        let group = cache.append_group(NOW, track).unwrap();
        drain(cache);
        cache.append(group, &FRAME).unwrap();
        drain(cache);
        cache.finish_group(group).unwrap();
        drain(cache);
    }
    within_budget(cache);
}

/// Reads all million groups, or hears that they are gone.
fn read_to_the_end(cache: &mut Cache, reader: ReaderId) {
    let mut next_group = 0;
    loop {
        match cache.next_frame(reader).unwrap() {
            Next::Held(frame) => {
                assert_eq!((frame.group, frame.bytes), (next_group, &FRAME[..]));
                next_group += 1;
            }
            Next::GroupEnd { frames, .. } => assert_eq!(frames, 1),
            Next::Evicted { group, next, .. } => {
                assert_eq!(group, next_group);
                (next_group, _) = next.expect("the newest is there");
            }
            Next::Pending => break,
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!(next_group, GROUPS as u64);
}
