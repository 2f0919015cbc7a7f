//! The limits of a track: ages, groups, and bytes and frames of a group.

use super::*;
use crate::Duration;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// A finished group with one frame, created then.
fn create(cache: &mut Cache, track: TrackId, millis: u64) {
    let group = cache.append_group(at(millis), track).unwrap();
    drain(cache);
    cache.append(group, b"frame").unwrap();
    cache.finish_group(group).unwrap();
}

fn aged(cache: &mut Cache, millis: u64) -> TrackId {
    limited(cache, Limits { max_age: Duration::from_millis(millis), ..Limits::default() })
}

#[test]
fn groups_go_when_they_have_the_age_that_their_track_keeps() {
    let mut cache = cache();
    let track = aged(&mut cache, 100);
    for millis in [0, 30, 60] {
        create(&mut cache, track, millis);
    }
    assert_eq!(cache.poll_timeout(), Some(at(100)));
    cache.handle_timeout(at(99)).unwrap();
    assert_eq!((cache.group_count(track), drain(&mut cache)), (Some(3), vec![]));
    cache.handle_timeout(at(100)).unwrap();
    assert_eq!(drain(&mut cache), [Command::Evicted { track, floor: Some((1, 0)) }]);
    assert_eq!(cache.poll_timeout(), Some(at(130)));
    assert_eq!(cache.stats().evicted.by_age, 1);
}

#[test]
fn the_newest_group_of_a_live_track_does_not_age() {
    let mut cache = cache();
    let track = aged(&mut cache, 100);
    create(&mut cache, track, 0);
    create(&mut cache, track, 10);
    cache.handle_timeout(at(5000)).unwrap();
    assert_eq!(drain(&mut cache), [Command::Evicted { track, floor: Some((1, 0)) }]);
    assert_eq!((cache.group_count(track), cache.poll_timeout()), (Some(1), None));
}

#[test]
fn the_newest_group_ages_once_a_newer_one_exists() {
    let mut cache = cache();
    let track = aged(&mut cache, 100);
    create(&mut cache, track, 0);
    assert_eq!(cache.poll_timeout(), None);
    create(&mut cache, track, 5000);
    assert_eq!(cache.poll_timeout(), Some(at(100)));
    assert_eq!(cache.group_count(track), Some(2));
    cache.handle_timeout(at(5000)).unwrap();
    assert_eq!(drain(&mut cache), [Command::Evicted { track, floor: Some((1, 0)) }]);
}

#[test]
fn the_newest_group_ages_once_its_track_has_ended() {
    let mut cache = cache();
    let track = aged(&mut cache, 100);
    create(&mut cache, track, 0);
    cache.finish_track(track, None).unwrap();
    assert_eq!(cache.poll_timeout(), Some(at(100)));
    cache.handle_timeout(at(100)).unwrap();
    assert_eq!(drain(&mut cache), [Command::Evicted { track, floor: None }]);
}

#[test]
fn a_group_ages_from_its_creation_whatever_its_number() {
    let mut cache = cache();
    let track = aged(&mut cache, 100);
    for (millis, number) in [(0, 9), (40, 3), (80, 6)] {
        cache.create_group(at(millis), track, number).unwrap();
    }
    cache.handle_timeout(at(150)).unwrap();
    assert_eq!(drain(&mut cache), [Command::Evicted { track, floor: Some((6, 0)) }]);
    assert!(cache.group(track, 9).is_some());
}

#[test]
fn a_clock_that_goes_back_makes_no_group_older() {
    let mut cache = cache();
    let track = aged(&mut cache, 100);
    create(&mut cache, track, 500);
    create(&mut cache, track, 20);
    create(&mut cache, track, 600);
    assert_eq!(cache.poll_timeout(), Some(at(600)));
    cache.handle_timeout(at(600)).unwrap();
    assert_eq!(drain(&mut cache), [Command::Evicted { track, floor: Some((2, 0)) }]);
}

#[test]
fn the_earliest_age_of_all_tracks_is_waited_for() {
    let mut cache = cache();
    for (name, millis) in [(b"a", 300), (b"b", 100), (b"c", 200)] {
        let max_age = Duration::from_millis(millis);
        let limits = Limits { max_age, ..Limits::default() };
        let track = cache.create_track(at(0), name, 0, limits).unwrap();
        create(&mut cache, track, 0);
        create(&mut cache, track, 0);
    }
    for millis in [100, 200, 300] {
        assert_eq!(cache.poll_timeout(), Some(at(millis)));
        cache.handle_timeout(at(millis)).unwrap();
        assert_eq!(drain(&mut cache).len(), 1);
    }
    assert_eq!(cache.poll_timeout(), None);
}

#[test]
fn a_track_keeps_as_many_groups_as_it_may() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_groups: 3, ..Limits::default() });
    for number in 0..10_u64 {
        cache.append_group(at(0), track).unwrap();
        let floor = number.checked_sub(2).filter(|&floor| floor > 0);
        let evicted = floor.map(|floor| Command::Evicted { track, floor: Some((floor, 0)) });
        assert_eq!(drain(&mut cache), Vec::from_iter(evicted));
    }
    assert_eq!(cache.group_count(track), Some(3));
    assert_eq!(cache.stats().evicted.by_count, 7);
}

#[test]
fn the_group_that_came_first_goes_first_and_the_newest_stays() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_groups: 2, ..Limits::default() });
    for number in [9, 4, 6] {
        cache.create_group(at(0), track, number).unwrap();
        drain(&mut cache);
    }
    assert!(cache.group(track, 9).is_some() && cache.group(track, 6).is_some());
    assert_eq!(cache.group_count(track), Some(2));
}

#[test]
fn a_late_group_for_which_its_track_has_no_place_goes_at_once() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_groups: 1, ..Limits::default() });
    cache.create_group(at(0), track, 9).unwrap();
    let late = cache.create_group(at(0), track, 4).unwrap();
    assert_eq!(drain(&mut cache), [Command::Evicted { track, floor: Some((9, 0)) }]);
    assert_eq!(cache.append(late, b"frame"), Err(Misuse::UnknownGroup.into()));
}

#[test]
fn skipped_groups_count_among_those_that_a_track_keeps() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_groups: 2, ..Limits::default() });
    for number in 0..3 {
        cache.skip_group(at(0), track, number).unwrap();
        drain(&mut cache);
    }
    assert_eq!((cache.group_count(track), cache.group(track, 0)), (Some(2), None));
}

#[test]
fn a_group_keeps_as_many_frames_as_it_may_and_indices_stay() {
    for (size, most) in [(0, 1), (10, 1), (10, 3), (10, 300), (3000, 7), (5000, 7)] {
        let mut cache = of(4 << 20);
        let limits = Limits { max_group_frames: most, ..Limits::default() };
        let track = limited(&mut cache, limits);
        let group = open(&mut cache, track);
        for index in 0..u64::from(most) + 50 {
            let mut frame = vec![0; size];
            frame.iter_mut().zip(index.to_be_bytes()).for_each(|(to, from)| *to = from);
            cache.append(group, &frame).unwrap();
            drain(&mut cache);
            let floor = (index + 1).saturating_sub(most.into());
            assert_eq!(cache.frames(group), Some(floor..index + 1));
            assert_eq!(cache.frame(group, index), Some(FrameState::Held(&frame)));
        }
        let reader = reader(&mut cache, track);
        let frame = cache.next_shared(reader).unwrap().held().unwrap();
        assert_eq!((frame.index, frame.bytes.len()), (50, size));
        assert_eq!(cache.evictions(track).unwrap().frames, 50);
    }
}

#[test]
fn a_group_keeps_as_many_bytes_as_it_may() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_group_bytes: 100, ..Limits::default() });
    let group = open(&mut cache, track);
    for (len, kept) in [(60, 0..1), (40, 0..2), (1, 1..3), (0, 1..4), (60, 2..5), (99, 5..6)] {
        cache.append(group, &vec![7; len]).unwrap();
        drain(&mut cache);
        assert_eq!(cache.frames(group), Some(kept));
    }
}

#[test]
fn the_newest_frame_of_a_group_stays_whatever_its_size() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_group_bytes: 100, ..Limits::default() });
    let group = filled(&mut cache, track, &[&[1; 50]]);
    cache.append(group, &[2; 6000]).unwrap();
    drain(&mut cache);
    assert_eq!(cache.frames(group), Some(1..2));
    cache.append(group, b"").unwrap();
    drain(&mut cache);
    assert_eq!(cache.frames(group), Some(2..3));
}

#[test]
fn missing_frames_have_no_bytes_but_count_as_frames() {
    let mut cache = cache();
    let limits = Limits { max_group_bytes: 10, max_group_frames: 4, ..Limits::default() };
    let track = limited(&mut cache, limits);
    let group = filled(&mut cache, track, &[&[1; 10]]);
    cache.append_missing(group, 3, Missing::Lost).unwrap();
    assert_eq!(cache.frames(group), Some(0..4));
    cache.append_missing(group, 9, Missing::Lost).unwrap();
    drain(&mut cache);
    assert_eq!(cache.frames(group), Some(9..13));
    cache.append(group, &[1; 10]).unwrap();
    drain(&mut cache);
    assert_eq!(cache.frames(group), Some(10..14));
    assert_eq!(cache.put(group, 12, b"x"), Ok(Put::Filled));
    drain(&mut cache);
    assert_eq!(cache.frames(group), Some(13..14));
}

#[test]
fn a_large_frame_in_parts_goes_as_a_whole() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_group_frames: 1, ..Limits::default() });
    let group = open(&mut cache, track);
    cache.open_frame(group, 9000).unwrap();
    for _ in 0..3 {
        cache.write(group, &[1; 3000]).unwrap();
    }
    cache.append(group, b"next").unwrap();
    assert_eq!(drain(&mut cache), [Command::Evicted { track, floor: Some((0, 1)) }]);
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_frame(reader), held(0, 1, b"next"));
    assert_eq!(cache.evictions(track).unwrap().frames, 1);
}

#[test]
fn a_reader_that_was_not_passed_reads_on_while_the_front_goes() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_group_frames: 10, ..Limits::default() });
    let group = open(&mut cache, track);
    let reader = reader(&mut cache, track);
    for index in 0..100_u64 {
        cache.append(group, &index.to_be_bytes()).unwrap();
        drain(&mut cache);
        if let Some(at) = index.checked_sub(7) {
            // Every fifth time a piece is made of what is there.
            if index % 5 == 0 {
                let clone = cache.clone_reader(reader).unwrap();
                assert!(cache.next_run(clone).unwrap().held().is_some());
                cache.close_reader(clone).unwrap();
            }
            assert_eq!(cache.next_frame(reader), held(0, at, &at.to_be_bytes()));
        }
    }
    assert_eq!(cache.frames(group), Some(90..100));
}

#[test]
fn a_reader_begins_with_the_first_frame_that_is_held() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_group_frames: 2, ..Limits::default() });
    let group = filled(&mut cache, track, &[b"a", b"b"]);
    cache.append(group, b"c").unwrap();
    drain(&mut cache);
    for start in [Start::Oldest, Start::Newest] {
        let reader = cache.open_reader(track, start).unwrap();
        assert_eq!(cache.next_frame(reader), held(0, 1, b"b"));
    }
}

#[test]
fn a_reader_that_was_passed_learns_what_is_still_there() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_group_frames: 2, ..Limits::default() });
    let group = filled(&mut cache, track, &[b"a"]);
    let reader = reader(&mut cache, track);
    for frame in [b"b", b"c", b"d"] {
        cache.append(group, frame).unwrap();
        drain(&mut cache);
    }
    let evicted = Next::Evicted { group: 0, frame: 0, next: Some((0, 2)) };
    assert_eq!(cache.next_frame(reader), Ok(evicted));
    assert_eq!(cache.next_frame(reader), held(0, 2, b"c"));
}

#[test]
fn a_reader_whose_group_was_evicted_goes_on_with_the_next_that_is_there() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_groups: 2, ..Limits::default() });
    let group = filled(&mut cache, track, &[b"a"]);
    let waiting = cache.open_reader(track, Start::Live).unwrap();
    let behind = reader(&mut cache, track);
    assert_eq!(cache.next_frame(waiting), Ok(Next::Pending));
    create(&mut cache, track, 0);
    cache.append_group(at(0), track).unwrap();
    let evicted = Command::Evicted { track, floor: Some((1, 0)) };
    assert_eq!(drain(&mut cache), [evicted, Command::Readable(waiting)]);
    assert_eq!(cache.frames(group), None);
    for (reader, frame) in [(waiting, 1), (behind, 0)] {
        let evicted = Next::Evicted { group: 0, frame, next: Some((1, 0)) };
        assert_eq!(cache.next_frame(reader), Ok(evicted));
        assert_eq!(cache.next_frame(reader), held(1, 0, b"frame"));
    }
}

#[test]
fn a_reader_of_which_everything_was_evicted_waits_for_what_comes_next() {
    let mut cache = cache();
    let track = aged(&mut cache, 100);
    create(&mut cache, track, 0);
    let reader = reader(&mut cache, track);
    cache.finish_track(track, Some(1)).unwrap();
    cache.handle_timeout(at(100)).unwrap();
    drain(&mut cache);
    let evicted = Next::Evicted { group: 0, frame: 0, next: None };
    assert_eq!(cache.next_frame(reader), Ok(evicted));
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    cache.append_group(at(100), track).unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
}

#[test]
fn a_reader_that_has_drained_a_group_gets_no_report_of_its_eviction() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_groups: 1, ..Limits::default() });
    let reader = reader(&mut cache, track);
    create(&mut cache, track, 0);
    assert_eq!(cache.next_frame(reader), held(0, 0, b"frame"));
    assert_eq!(cache.next_frame(reader), Ok(Next::GroupEnd { group: 0, frames: 1 }));
    create(&mut cache, track, 0);
    assert_eq!(cache.next_frame(reader), held(1, 0, b"frame"));
}

#[test]
fn a_reader_behind_groups_that_were_evicted_out_of_order_gets_those_that_are_left() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_groups: 2, ..Limits::default() });
    let reader = cache.open_reader(track, Start::At { group: 2, frame: 0 }).unwrap();
    for number in [5, 3, 9] {
        let group = cache.create_group(at(0), track, number).unwrap();
        drain(&mut cache);
        cache.finish_group(group).unwrap();
    }
    let evicted = |group, next| Next::Evicted { group, frame: 0, next: Some((next, 0)) };
    let end = |group| Next::GroupEnd { group, frames: 0 };
    for next in [evicted(2, 3), end(3), evicted(4, 9), end(9), Next::Pending] {
        assert_eq!(cache.next_frame(reader), Ok(next));
    }
}

#[test]
fn a_reader_whose_group_was_evicted_and_came_again_goes_on_at_its_frame() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_groups: 1, ..Limits::default() });
    finished(&mut cache, track, &[b"a", b"b"]);
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_frame(reader), held(0, 0, b"a"));
    open(&mut cache, track);
    drain(&mut cache);
    cache.finish_track(track, None).unwrap();
    let again = cache.create_group(at(0), track, 0).unwrap();
    drain(&mut cache);
    cache.append(again, b"a").unwrap();
    cache.append(again, b"b").unwrap();
    let evicted = Next::Evicted { group: 0, frame: 1, next: Some((0, 1)) };
    assert_eq!(cache.next_frame(reader), Ok(evicted));
    assert_eq!(cache.next_frame(reader), held(0, 1, b"b"));
}

#[test]
fn an_eviction_is_reported_once_for_an_event() {
    let mut cache = cache();
    let track = aged(&mut cache, 100);
    for _ in 0..5 {
        create(&mut cache, track, 0);
    }
    let timeout = cache.handle_timeout(at(100));
    assert_eq!(timeout, Ok(()));
    assert_eq!(drain(&mut cache), [Command::Evicted { track, floor: Some((4, 0)) }]);
    assert_eq!(cache.evictions(track).unwrap().by_age, 4);
}

#[test]
fn evictions_are_counted_for_each_track_by_their_cause() {
    let mut cache = of(256 << 10);
    let (max_age, max_groups) = (Duration::from_millis(50), 2);
    let mut create_track = |name: &[u8], limits| cache.create_track(at(0), name, 0, limits);
    let aged = create_track(b"aged", Limits { max_age, ..Limits::default() }).unwrap();
    let counted = create_track(b"counted", Limits { max_groups, ..Limits::default() }).unwrap();
    let plain = create_track(b"plain", Limits::default()).unwrap();
    for track in [aged, counted, plain] {
        for _ in 0..3 {
            create(&mut cache, track, 0);
        }
    }
    cache.handle_timeout(at(50)).unwrap();
    drain(&mut cache);
    let large = cache.append_group(at(50), plain).unwrap();
    while cache.evictions(plain).unwrap().by_bytes == 0 {
        cache.append(large, &[0; 4000]).unwrap();
        drain(&mut cache);
    }
    let [aged, counted, plain] = [aged, counted, plain].map(|at| cache.evictions(at).unwrap());
    assert_eq!((aged.by_age, aged.by_count), (2, 0));
    assert_eq!((counted.by_age, counted.by_count), (0, 1));
    assert_eq!((plain.by_age, plain.by_count), (0, 0));
    let all = cache.stats().evicted;
    assert_eq!((all.by_age, all.by_count), (2, 1));
    assert_eq!(all.by_bytes, aged.by_bytes + counted.by_bytes + plain.by_bytes);
}

#[test]
fn every_call_passes_the_time_as_its_event_does() {
    let expiry = |take: fn(&mut Cache, Instant, Event<'_>)| {
        let mut cache = cache();
        let track = aged(&mut cache, 100);
        let group = open(&mut cache, track);
        drain(&mut cache);
        take(&mut cache, at(50), Event::Append { group, frame: b"late" });
        create(&mut cache, track, 10);
        create(&mut cache, track, 10);
        cache.handle_timeout(at(100)).unwrap();
        drain(&mut cache);
        cache.poll_timeout()
    };
    let called = expiry(|cache, now, event| {
        cache.call(now, event).unwrap();
    });
    let handled = expiry(|cache, now, event| {
        cache.handle(now, event).unwrap();
        drain(cache);
    });
    assert_eq!((called, handled), (Some(at(150)), Some(at(150))));
}
