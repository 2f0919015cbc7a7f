//! What is remembered of groups that were evicted.

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
fn a_reader_that_read_a_finished_group_whole_is_told_its_end_whatever_was_evicted() {
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
fn a_reader_that_lacks_a_frame_is_told_that_it_was_evicted() {
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
fn of_a_group_that_had_not_ended_nobody_is_told_an_end() {
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
fn the_end_of_a_group_that_was_aborted_once_it_had_finished_is_told_to_who_had_read_it() {
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
fn a_skipped_group_that_was_evicted_is_told_as_skipped() {
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

#[test]
fn all_tracks_together_are_remembered_by_one_group_for_each_kib_of_the_budget() {
    let mut cache = of(256 << 10);
    let track = limited(&mut cache, limits(0, 1));
    let other = cache.create_track(Instant::ZERO, b"other", 0, limits(0, 1)).unwrap();
    ended(&mut cache, track, &[b"a"]);
    ended(&mut cache, track, &[b"b"]);
    let reader = cache.open_reader(track, Start::At { group: 0, frame: 1 }).unwrap();
    for evicted in 0..=256 {
        ended(&mut cache, other, &[]);
        let clone = cache.clone_reader(reader).unwrap();
        let is_remembered = cache.next_frame(clone) == Ok(Next::GroupEnd { group: 0, frames: 1 });
        assert_eq!(is_remembered, evicted < 256, "after {evicted} others");
        cache.close_reader(clone).unwrap();
    }
}
