//! The memory of groups that were evicted.

use super::*;
use crate::Duration;

type Read = fn(&mut Cache, ReaderId) -> Next<()>;
type Evict = fn(&mut Cache, TrackId);

/// Every way to read.
const READS: [Read; 4] = [
    |cache, reader| cache.next_frame(reader).unwrap().map(|_| ()),
    |cache, reader| cache.next_shared(reader).unwrap().map(|_| ()),
    |cache, reader| cache.next_chunk(reader).unwrap().map(|_| ()),
    |cache, reader| cache.next_run(reader).unwrap().map(|_| ()),
];

/// The next group, with these frames; what the cache says meanwhile is dropped.
fn begun(cache: &mut Cache, track: TrackId, frames: &[&[u8]]) -> GroupId {
    let group = open(cache, track);
    drain(cache);
    for frame in frames {
        cache.append(group, frame).unwrap();
        drain(cache);
    }
    group
}

/// As [`begun`], finished.
fn ended(cache: &mut Cache, track: TrackId, frames: &[&[u8]]) -> GroupId {
    let group = begun(cache, track, frames);
    cache.finish_group(group).unwrap();
    drain(cache);
    group
}

/// Reads until nothing more is held, and returns what is said then.
fn read(cache: &mut Cache, reader: ReaderId, by: Read) -> Next<()> {
    loop {
        match by(cache, reader) {
            Next::Held(()) => {}
            said => return said,
        }
    }
}

/// Lets all groups of a track go but the newest, for each of the reasons that there are.
const EVICTIONS: [(Limits, Evict); 3] = [
    (limits(0, 1), |cache, track| {
        ended(cache, track, &[b"newest"]);
    }),
    (limits(5, 0), |cache, track| {
        ended(cache, track, &[b"newest"]);
        drain(cache);
        cache.handle_timeout(Instant::from_millis(9_000)).unwrap();
    }),
    (limits(0, 0), |cache, track| {
        for _ in 0..3 {
            ended(cache, track, &[&[1; 400_000]]);
            drain(cache);
        }
    }),
];

const fn limits(seconds: u64, max_groups: u32) -> Limits {
    Limits {
        max_age: Duration::from_secs(seconds),
        max_groups,
        max_group_bytes: 0,
        max_group_frames: 0,
        first_group: 0,
    }
}

#[test]
fn a_reader_that_read_a_finished_group_whole_gets_its_end_whatever_was_evicted() {
    for (limits, evict) in EVICTIONS {
        for by in READS {
            let mut cache = cache();
            let track = limited(&mut cache, limits);
            let group = begun(&mut cache, track, &[b"a", b"b", b"c"]);
            let reader = reader(&mut cache, track);
            assert_eq!(read(&mut cache, reader, by), Next::Pending);
            drain(&mut cache);
            cache.finish_group(group).unwrap();
            drain(&mut cache);
            evict(&mut cache, track);
            drain(&mut cache);
            assert_eq!(cache.frames(group), None, "it was evicted");
            assert_eq!(by(&mut cache, reader), Next::GroupEnd { group: 0, frames: 3 });
        }
    }
}

#[test]
fn a_reader_that_lacks_a_frame_gets_its_eviction() {
    let mut cache = cache();
    let track = limited(&mut cache, limits(0, 1));
    ended(&mut cache, track, &[b"a", b"b"]);
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_frame(reader), held(0, 0, b"a"));
    ended(&mut cache, track, &[b"c"]);
    let evicted = Next::Evicted { group: 0, frame: 1, next: Some((1, 0)) };
    assert_eq!(cache.next_frame(reader), Ok(evicted));
    assert_eq!(cache.next_frame(reader), held(1, 0, b"c"));
}

#[test]
fn a_group_that_had_not_ended_reports_no_end() {
    let mut cache = cache();
    let track = limited(&mut cache, limits(0, 1));
    begun(&mut cache, track, &[b"a"]);
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_frame(reader), held(0, 0, b"a"));
    ended(&mut cache, track, &[b"c"]);
    let evicted = Next::Evicted { group: 0, frame: 1, next: Some((1, 0)) };
    assert_eq!(cache.next_frame(reader), Ok(evicted));
}

#[test]
fn the_end_of_a_group_that_was_aborted_once_it_had_finished_is_reported_to_readers_that_read_it() {
    let mut cache = cache();
    let track = limited(&mut cache, limits(0, 1));
    let group = ended(&mut cache, track, &[b"a"]);
    let (one, other) = (reader(&mut cache, track), reader(&mut cache, track));
    assert_eq!(cache.next_frame(one), held(0, 0, b"a"));
    cache.abort_group(group, 7).unwrap();
    drain(&mut cache);
    ended(&mut cache, track, &[b"c"]);
    assert_eq!(cache.next_frame(one), Ok(Next::GroupEnd { group: 0, frames: 1 }));
    let evicted = Next::Evicted { group: 0, frame: 0, next: Some((1, 0)) };
    assert_eq!(cache.next_frame(other), Ok(evicted));
}

#[test]
fn a_skipped_group_that_was_evicted_is_reported_as_skipped() {
    let mut cache = cache();
    let track = limited(&mut cache, limits(0, 1));
    let reader = reader(&mut cache, track);
    cache.skip_group(Instant::ZERO, track, 0).unwrap();
    drain(&mut cache);
    cache.create_group(Instant::ZERO, track, 1).unwrap();
    drain(&mut cache);
    assert_eq!(cache.group_count(track), Some(1));
    assert_eq!(cache.next_frame(reader), Ok(Next::Skipped { group: 0 }));
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
}

#[test]
fn a_track_remembers_its_last_64_evicted_groups_however_many_others_lost() {
    let mut cache = cache();
    let track = limited(&mut cache, limits(0, 1));
    let other = cache.create_track(Instant::ZERO, b"other", 0, limits(0, 1)).unwrap();
    let at = |group| Start::At { group, frame: 1 };
    for _ in 0..100 {
        ended(&mut cache, track, &[b"a"]);
        for _ in 0..3 {
            ended(&mut cache, other, &[]);
        }
    }
    // Group 99 is there; 35 to 98 were evicted last.
    let reader = cache.open_reader(track, at(35)).unwrap();
    assert_eq!(cache.next_frame(reader), Ok(Next::GroupEnd { group: 35, frames: 1 }));
    cache.seek(reader, at(34)).unwrap();
    let evicted = Next::Evicted { group: 34, frame: 1, next: Some((99, 0)) };
    assert_eq!(cache.next_frame(reader), Ok(evicted));
}

/// A track of this name that keeps one group, and of which so many were evicted.
fn passed(cache: &mut Cache, name: &str, evicted: u64) -> TrackId {
    let limits = limits(0, 1);
    let track = cache.create_track(Instant::ZERO, name.as_bytes(), 0, limits).unwrap();
    pass(cache, track, evicted);
    track
}

/// Lets so many groups of one frame be evicted.
fn pass(cache: &mut Cache, track: TrackId, evicted: u64) {
    let begun = u64::from(cache.newest(track).is_none());
    for _ in 0..evicted + begun {
        ended(cache, track, &[b"a"]);
    }
}

/// How many groups of a track are remembered, all of them the last that were evicted.
fn remembered(cache: &mut Cache, track: TrackId) -> u64 {
    let newest = cache.newest(track).unwrap();
    let reader = cache.open_reader(track, Start::Oldest).unwrap();
    let mut is_remembered = |group: u64| {
        cache.seek(reader, Start::At { group, frame: 1 }).unwrap();
        cache.next_frame(reader) == Ok(Next::GroupEnd { group, frames: 1 })
    };
    let count = (0..newest).rev().take_while(|&group| is_remembered(group)).count() as u64;
    assert!(!(0..newest - count).any(is_remembered), "older ones are remembered");
    cache.close_reader(reader).unwrap();
    count
}

#[test]
fn a_busy_track_pushes_out_nothing_that_a_quiet_one_is_remembered_by() {
    let mut cache = of(256 << 10);
    let quiet = passed(&mut cache, "quiet", 5);
    for busy in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        passed(&mut cache, busy, 300);
    }
    assert_eq!(remembered(&mut cache, quiet), 5);
}

#[test]
fn tracks_share_one_record_for_each_kib_of_the_budget() {
    let mut cache = of(256 << 10);
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let tracks = names.map(|name| passed(&mut cache, name, 100));
    assert_eq!(tracks.map(|track| remembered(&mut cache, track)), [32; 8]);
    let late = passed(&mut cache, "late", 20);
    let others = tracks.map(|track| remembered(&mut cache, track));
    assert_eq!(remembered(&mut cache, late), 20);
    assert_eq!(others.iter().sum::<u64>(), 256 - 20);
    assert!(others.iter().all(|count| (29..=30).contains(count)), "{others:?}");
}

#[test]
fn a_track_that_is_gone_leaves_its_records_to_others() {
    let mut cache = of(256 << 10);
    for name in ["a", "b", "c", "d", "e", "f"] {
        let track = passed(&mut cache, name, 100);
        cache.finish_track(track, None).unwrap();
        let large = cache.create_track(Instant::ZERO, b"large", 0, limits(0, 0)).unwrap();
        drain(&mut cache);
        for _ in 0..3 {
            ended(&mut cache, large, &[&[1; 100_000]]);
        }
        cache.abort_track(large, 0).unwrap();
        drain(&mut cache);
        assert_eq!(cache.track(name.as_bytes()), None, "it is gone");
    }
    let tracks = ["a", "b", "c"].map(|name| passed(&mut cache, name, 70));
    assert_eq!(tracks.map(|track| remembered(&mut cache, track)), [64; 3]);
}
