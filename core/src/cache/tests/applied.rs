//! Events that are applied before others were drained, and positions of what is gone.

use alloc::vec;
use alloc::vec::Vec;

use crate::cache::{Answer, Cache, Command, Config, Event, Limits, Position, TrackId};
use crate::journal::{Driven, Recorder, recorder};
use crate::{Instant, Machine};

fn filled(size: usize) -> (Cache, TrackId) {
    let mut cache = Cache::new(Config::new(1 << 20)).unwrap();
    let track = cache.create_track(Instant::ZERO, b"t", 0, Limits::default()).unwrap();
    let group = cache.append_group(Instant::ZERO, track).unwrap();
    for _ in 0..10 {
        cache.append(group, &vec![7; size]).unwrap();
    }
    cache.seal(track).unwrap();
    while cache.poll_command().is_some() {}
    (cache, track)
}
#[test]
fn a_position_of_another_cache_does_not_panic() {
    let (one, t1) = filled(60);
    let (other, t2) = filled(5);
    let mut at = Position::new(0, 0);
    one.run_at(t1, &mut at, 61).unwrap().held().unwrap();
    let mut fresh = Position::new(0, at.frame());
    assert_eq!(at, fresh);
    let _ = other.run_at(t2, &mut fresh, usize::MAX).unwrap();
    // The result of its read is undefined.
    let _ = other.run_at(t2, &mut at, usize::MAX).unwrap();
}

#[test]
fn a_position_in_a_group_that_was_made_again_reads_as_an_equal_one() {
    let mut cache = Cache::new(Config::new(1 << 20)).unwrap();
    let limits = Limits { max_age: crate::Duration::from_secs(1), ..Limits::default() };
    let track = cache.create_track(Instant::ZERO, b"t", 0, limits).unwrap();
    let five = |cache: &mut Cache, now| {
        let group = cache.create_group(now, track, 5).unwrap();
        for _ in 0..4 {
            cache.append(group, b"x").unwrap();
        }
        cache.finish_group(group).unwrap();
    };
    five(&mut cache, Instant::ZERO);
    let mut at = Position::new(5, 0);
    cache.run_at(track, &mut at, 2).unwrap().held().unwrap();
    cache.create_group(Instant::from_millis(500), track, 6).unwrap();
    cache.handle_timeout(Instant::from_millis(2000)).unwrap();
    while cache.poll_command().is_some() {}
    assert_eq!(cache.group(track, 5), None);
    five(&mut cache, Instant::from_millis(2000));
    let mut fresh = Position::new(5, at.frame());
    assert_eq!(at, fresh);
    let expected = cache.run_at(track, &mut fresh, 99).unwrap();
    assert_eq!(cache.run_at(track, &mut at, 99).unwrap(), expected);
}

#[test]
fn a_position_of_a_track_that_went_reads_as_an_equal_one() {
    let mut cache = Cache::new(Config::new(1 << 20)).unwrap();
    let limits = Limits { max_age: crate::Duration::from_secs(1), ..Limits::default() };
    let track = cache.create_track(Instant::ZERO, b"t", 0, limits).unwrap();
    let group = cache.append_group(Instant::ZERO, track).unwrap();
    for _ in 0..4 {
        cache.append(group, b"x").unwrap();
    }
    cache.finish_group(group).unwrap();
    let mut at = Position::new(0, 0);
    cache.run_at(track, &mut at, 2).unwrap().held().unwrap();
    cache.finish_track(track, None).unwrap();
    cache.handle_timeout(Instant::from_millis(9000)).unwrap();
    while cache.poll_command().is_some() {}
    assert_eq!(cache.track(b"t"), None);
    let (now, again) = (Instant::from_millis(9000), Limits::default());
    let track = cache.create_track(now, b"t", 0, again).unwrap();
    let group = cache.append_group(now, track).unwrap();
    for _ in 0..4 {
        cache.append(group, b"x").unwrap();
    }
    cache.finish_group(group).unwrap();
    let mut fresh = Position::new(0, at.frame());
    assert_eq!(at, fresh);
    let expected = cache.run_at(track, &mut fresh, 99).unwrap();
    assert_eq!(cache.run_at(track, &mut at, 99).unwrap(), expected);
}

#[test]
fn no_answer_is_lost_when_events_are_applied_before_a_drain() {
    let mut cache = Cache::new(Config::new(1 << 20)).unwrap();
    for name in [b"a", b"b"] {
        let event = Event::CreateTrack { name, publisher: 0, limits: Limits::default() };
        cache.apply(Instant::ZERO, event).unwrap();
    }
    let mut answers = 0;
    while let Some(command) = cache.poll_command() {
        answers += u32::from(matches!(command, Command::Answer(_)));
    }
    assert_eq!(answers, 2);
}

#[test]
fn a_recorder_takes_no_more_than_its_limit_however_large_what_it_hashed_was() {
    let machine = Config::new(64 << 20);
    let config = recorder::Config { machine, id: 0, sink: Some(vec![]), commands: false };
    let beside = Recorder::<Cache, Vec<u8>>::memory_limit(&config) - (64 << 20);
    let mut cache = Recorder::<Cache, _>::new(config).unwrap();
    let now = Instant::ZERO;
    let create = Event::CreateTrack { name: b"t", publisher: 0, limits: Limits::default() };
    let Ok(Answer::Track(track)) = cache.call(now, create) else { panic!("no track") };
    let Ok(Answer::Group(group)) = cache.call(now, Event::AppendGroup { track }) else {
        panic!("no group")
    };
    cache.call(now, Event::Append { group, frame: &vec![1; 1 << 19] }).unwrap();
    let taken = cache.memory_used() - cache.machine().memory_used();
    assert!(cache.failure().is_none() && taken <= beside + 1024, "{taken} of {beside}");
}
