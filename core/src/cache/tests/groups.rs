//! Groups: their numbers, and how they end.

use super::*;

fn create(cache: &mut Cache, track: TrackId, sequence: u64) -> Result<GroupId, CallError> {
    cache.create_group(Instant::ZERO, track, sequence)
}

#[test]
fn appended_groups_are_numbered_from_zero() {
    let mut cache = cache();
    let track = track(&mut cache);
    for number in 0..3 {
        let group = open(&mut cache, track);
        assert_eq!(cache.group(track, number), Some(group));
        assert_eq!(cache.newest(track), Some(number));
    }
}

#[test]
fn appended_groups_are_numbered_from_the_first_number_that_is_expected() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { first_group: 1 << 60, ..Limits::default() });
    open(&mut cache, track);
    open(&mut cache, track);
    assert_eq!(cache.newest(track), Some((1 << 60) + 1));
}

#[test]
fn groups_may_come_out_of_order() {
    let mut cache = cache();
    let track = track(&mut cache);
    for number in [4, 1, 3, 0] {
        let group = create(&mut cache, track, number).unwrap();
        cache.append(group, &[number as u8]).unwrap();
        cache.finish_group(group).unwrap();
    }
    assert_eq!((cache.newest(track), cache.group_count(track)), (Some(4), Some(4)));
    let reader = reader(&mut cache, track);
    for number in [0, 1, 3, 4] {
        assert_eq!(cache.next_frame(reader), held(number, 0, &[number as u8]));
        assert_eq!(cache.next_frame(reader), Ok(Next::GroupEnd { group: number, frames: 1 }));
    }
}

#[test]
fn a_lower_group_that_comes_late_does_not_become_the_newest() {
    let mut cache = cache();
    let track = track(&mut cache);
    create(&mut cache, track, 10).unwrap();
    create(&mut cache, track, 2).unwrap();
    assert_eq!(cache.newest(track), Some(10));
    let next = open(&mut cache, track);
    assert_eq!(cache.group(track, 11), Some(next));
}

#[test]
fn a_group_that_exists_is_refused_and_counted() {
    let mut cache = cache();
    let track = track(&mut cache);
    let open = create(&mut cache, track, 0).unwrap();
    assert_eq!(create(&mut cache, track, 0), Err(Refusal::Duplicate(0).into()));
    cache.finish_group(open).unwrap();
    assert_eq!(create(&mut cache, track, 0), Err(Refusal::Duplicate(0).into()));
    cache.abort_group(open, 1).unwrap();
    assert_eq!(create(&mut cache, track, 0), Err(Refusal::Duplicate(0).into()));
    assert_eq!(cache.skip_group(Instant::ZERO, track, 0), Err(Refusal::Duplicate(0).into()));
    assert_eq!((cache.stats().duplicates, cache.stats().groups), (4, 1));
}

#[test]
fn a_number_beyond_the_window_is_refused_and_counted() {
    let mut cache = cache();
    let track = track(&mut cache);
    let window = 1 << 20;
    let beyond = |sequence, last| Err(Refusal::BeyondWindow { sequence, last }.into());
    assert_eq!(create(&mut cache, track, window + 1), beyond(window + 1, window));
    assert_eq!(create(&mut cache, track, 1 << 60), beyond(1 << 60, window));
    assert!(create(&mut cache, track, window).is_ok());
    assert_eq!(create(&mut cache, track, 2 * window + 1), beyond(2 * window + 1, 2 * window));
    assert!(create(&mut cache, track, 2 * window).is_ok());
    assert_eq!(cache.stats().beyond, 3);
}

#[test]
fn the_window_counts_from_the_first_number_that_is_expected() {
    let config = Config { window: 8, ..Config::new(1 << 20) };
    let mut cache = Cache::new(config).unwrap();
    let track = limited(&mut cache, Limits { first_group: 100, ..Limits::default() });
    let refused = create(&mut cache, track, 109);
    assert_eq!(refused, Err(Refusal::BeyondWindow { sequence: 109, last: 108 }.into()));
    assert!(create(&mut cache, track, 3).is_ok());
    assert!(create(&mut cache, track, 108).is_ok());
    assert!(create(&mut cache, track, 116).is_ok());
}

#[test]
fn a_window_of_zero_leaves_room_for_the_first_group_only() {
    let config = Config { window: 0, ..Config::new(1 << 20) };
    let mut cache = Cache::new(config).unwrap();
    let track = track(&mut cache);
    assert!(create(&mut cache, track, 0).is_ok());
    let refused = create(&mut cache, track, 1);
    assert_eq!(refused, Err(Refusal::BeyondWindow { sequence: 1, last: 0 }.into()));
}

#[test]
fn numbers_go_up_to_the_highest_and_never_begin_anew() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { first_group: MAX_SEQUENCE, ..Limits::default() });
    let last = finished(&mut cache, track, &[b"last"]);
    assert_eq!(cache.group(track, MAX_SEQUENCE), Some(last));
    let beyond = Refusal::BeyondWindow { sequence: u64::MAX, last: MAX_SEQUENCE };
    assert_eq!(cache.append_group(Instant::ZERO, track), Err(beyond.into()));
    assert_eq!(create(&mut cache, track, u64::MAX), Err(beyond.into()));
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_frame(reader), held(MAX_SEQUENCE, 0, b"last"));
    let end = Next::GroupEnd { group: MAX_SEQUENCE, frames: 1 };
    assert_eq!(cache.next_frame(reader), Ok(end));
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
}

#[test]
fn numbers_do_not_go_back_when_the_newest_group_is_evicted() {
    let mut cache = of(256 << 10);
    let track = track(&mut cache);
    finished(&mut cache, track, &[&[1; 50_000]]);
    finished(&mut cache, track, &[&[2; 50_000]]);
    let other = cache.create_track(Instant::ZERO, b"other", 0, Limits::default()).unwrap();
    filled(&mut cache, other, &[&[3; 200_000]]);
    drain(&mut cache);
    assert_eq!((cache.group_count(track), cache.newest(track)), (Some(0), Some(1)));
    let next = open(&mut cache, track);
    assert_eq!(cache.group(track, 2), Some(next));
}

#[test]
fn a_number_that_was_evicted_can_be_created_again() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_groups: 1, ..Limits::default() });
    let old = finished(&mut cache, track, &[b"old"]);
    open(&mut cache, track);
    drain(&mut cache);
    cache.finish_track(track, None).unwrap();
    let new = create(&mut cache, track, 0).unwrap();
    drain(&mut cache);
    assert_ne!(old, new);
    assert_eq!(cache.group(track, 0), Some(new));
    assert_eq!(cache.frames(old), None);
    assert_eq!(cache.frames(new), Some(0..0));
}

#[test]
fn what_is_asked_of_an_evicted_group_is_refused() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_groups: 1, ..Limits::default() });
    let group = filled(&mut cache, track, &[b"frame"]);
    open(&mut cache, track);
    drain(&mut cache);
    assert_eq!(cache.append(group, b"more"), Err(Misuse::UnknownGroup.into()));
    assert_eq!(cache.put(group, 0, b"frame"), Err(Misuse::UnknownGroup.into()));
    assert_eq!(cache.open_frame(group, 3), Err(Misuse::UnknownGroup.into()));
    assert_eq!(cache.write(group, b"x"), Err(Misuse::UnknownGroup.into()));
    assert_eq!(cache.append_missing(group, 1, Missing::Lost), Err(Misuse::UnknownGroup.into()));
    assert_eq!(cache.finish_group(group), Err(Misuse::UnknownGroup.into()));
    assert_eq!(cache.abort_group(group, 1), Err(Misuse::UnknownGroup));
    assert_eq!(cache.drop_group(group), Err(Misuse::UnknownGroup));
    assert_eq!((cache.frame(group, 0), cache.frames(group)), (None, None));
}

#[test]
fn a_skipped_group_is_reported_to_readers() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    cache.skip_group(Instant::ZERO, track, 0).unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    finished(&mut cache, track, &[b"next"]);
    assert_eq!(cache.next_frame(reader), Ok(Next::Skipped { group: 0 }));
    assert_eq!(cache.next_frame(reader), held(1, 0, b"next"));
}

#[test]
fn a_skipped_group_takes_no_frames() {
    let mut cache = cache();
    let track = track(&mut cache);
    cache.skip_group(Instant::ZERO, track, 0).unwrap();
    let group = cache.group(track, 0).unwrap();
    assert_eq!(cache.append(group, b"frame"), Err(Misuse::Skipped.into()));
    assert_eq!(cache.put(group, 0, b"frame"), Err(Misuse::Skipped.into()));
    assert_eq!(cache.open_frame(group, 5), Err(Misuse::Skipped.into()));
    assert_eq!(cache.finish_group(group), Err(Misuse::Skipped.into()));
    assert_eq!(cache.abort_group(group, 1), Err(Misuse::Skipped));
    assert_eq!(cache.drop_group(group), Ok(()));
    assert_eq!(cache.append_group(Instant::ZERO, track).map(|_| ()), Ok(()));
    assert_eq!(cache.newest(track), Some(1));
}

#[test]
fn a_skipped_group_comes_to_life_when_it_is_created() {
    let mut cache = cache();
    let track = track(&mut cache);
    cache.skip_group(Instant::ZERO, track, 0).unwrap();
    assert_eq!(cache.skip_group(Instant::ZERO, track, 0), Err(Refusal::Duplicate(0).into()));
    let group = create(&mut cache, track, 0).unwrap();
    cache.append(group, b"alive").unwrap();
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_frame(reader), held(0, 0, b"alive"));
    assert_eq!(cache.group_count(track), Some(1));
}

#[test]
fn a_skip_that_was_reported_is_final() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    cache.skip_group(Instant::ZERO, track, 0).unwrap();
    assert_eq!(cache.next_frame(reader), Ok(Next::Skipped { group: 0 }));
    let group = create(&mut cache, track, 0).unwrap();
    cache.append(group, b"late").unwrap();
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
}

#[test]
fn a_finished_group_takes_no_more_frames() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = finished(&mut cache, track, &[b"last"]);
    assert_eq!(cache.append(group, b"x"), Err(Misuse::GroupEnded.into()));
    assert_eq!(cache.put(group, 1, b"x"), Err(Misuse::GroupEnded.into()));
    assert_eq!(cache.append_shared(group, Bytes::new(), 0), Err(Misuse::GroupEnded.into()));
    assert_eq!(cache.open_frame(group, 1), Err(Misuse::GroupEnded.into()));
    assert_eq!(cache.write(group, b"x"), Err(Misuse::GroupEnded.into()));
    assert_eq!(cache.write_shared(group, Bytes::new(), 0), Err(Misuse::GroupEnded.into()));
    assert_eq!(cache.append_missing(group, 1, Missing::Lost), Err(Misuse::GroupEnded.into()));
    assert_eq!(cache.finish_group(group), Err(Misuse::GroupEnded.into()));
    assert_eq!(cache.frames(group), Some(0..1));
}

#[test]
fn a_finished_group_stays_to_be_drained() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = finished(&mut cache, track, &[b"one", b"two"]);
    cache.drop_group(group).unwrap();
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_frame(reader), held(0, 0, b"one"));
    assert_eq!(cache.next_frame(reader), held(0, 1, b"two"));
    assert_eq!(cache.next_frame(reader), Ok(Next::GroupEnd { group: 0, frames: 2 }));
}

#[test]
fn an_empty_group_has_a_clean_end() {
    let mut cache = cache();
    let track = track(&mut cache);
    finished(&mut cache, track, &[]);
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_run(reader), Ok(Next::GroupEnd { group: 0, frames: 0 }));
}

#[test]
fn finishing_short_of_a_declared_size_is_refused_and_the_group_goes_on() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    cache.open_frame(group, 5).unwrap();
    assert_eq!(cache.finish_group(group), Err(Refusal::Short { left: 5 }.into()));
    cache.write(group, b"ab").unwrap();
    assert_eq!(cache.finish_group(group), Err(Refusal::Short { left: 3 }.into()));
    cache.write(group, b"cde").unwrap();
    assert_eq!(cache.finish_group(group), Ok(()));
    assert_eq!(cache.frame(group, 0), Some(FrameState::Held(b"abcde")));
}

#[test]
fn an_aborted_group_frees_its_frames_at_once() {
    let mut cache = cache();
    let track = track(&mut cache);
    let before = cache.memory_used();
    let group = filled(&mut cache, track, &[&[7; 300_000], &[8; 300_000]]);
    assert!(cache.memory_used() > before + 600_000);
    cache.abort_group(group, 5).unwrap();
    assert!(cache.memory_used() < before + 100_000, "{}", cache.memory_used());
    assert_eq!(cache.frame(group, 0), Some(FrameState::Evicted));
    assert_eq!(cache.frames(group), Some(2..2));
}

#[test]
fn a_reader_that_has_not_drained_an_aborted_group_learns_the_code() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = filled(&mut cache, track, &[b"one", b"two"]);
    let behind = reader(&mut cache, track);
    let at_the_edge = cache.open_reader(track, Start::Live).unwrap();
    assert_eq!(cache.next_frame(behind), held(0, 0, b"one"));
    assert_eq!(cache.next_frame(at_the_edge), Ok(Next::Pending));
    cache.abort_group(group, 0x99).unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(at_the_edge)]);
    for reader in [behind, at_the_edge] {
        assert_eq!(cache.next_frame(reader), Ok(Next::Aborted { group: 0, code: 0x99 }));
        assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    }
}

#[test]
fn an_abort_after_the_finish_keeps_the_clean_end_for_a_drained_reader() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = finished(&mut cache, track, &[b"one", b"two"]);
    let drained = cache.open_reader(track, Start::At { group: 0, frame: 2 }).unwrap();
    let behind = cache.open_reader(track, Start::At { group: 0, frame: 1 }).unwrap();
    cache.abort_group(group, 4).unwrap();
    assert_eq!(cache.next_frame(drained), Ok(Next::GroupEnd { group: 0, frames: 2 }));
    assert_eq!(cache.next_frame(behind), Ok(Next::Aborted { group: 0, code: 4 }));
}

#[test]
fn an_aborted_group_keeps_its_first_code_and_takes_nothing() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    cache.abort_group(group, 6).unwrap();
    assert_eq!(cache.abort_group(group, 7), Err(Misuse::Aborted(6)));
    assert_eq!(cache.drop_group(group), Ok(()));
    assert_eq!(cache.append(group, b"x"), Err(Misuse::Aborted(6).into()));
    assert_eq!(cache.put(group, 0, b"x"), Err(Misuse::Aborted(6).into()));
    assert_eq!(cache.write(group, b"x"), Err(Misuse::Aborted(6).into()));
    assert_eq!(cache.finish_group(group), Err(Misuse::Aborted(6).into()));
    assert_eq!(cache.stats().aborted, 1);
}

#[test]
fn a_group_whose_producer_goes_away_unfinished_is_aborted_as_dropped() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    let group = filled(&mut cache, track, &[b"frame"]);
    cache.drop_group(group).unwrap();
    assert_eq!(cache.next_frame(reader), Ok(Next::Aborted { group: 0, code: DROPPED }));
    assert_eq!(cache.append(group, b"x"), Err(Misuse::Aborted(DROPPED).into()));
}

#[test]
fn a_group_dropped_within_a_frame_is_aborted_with_it() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    let group = open(&mut cache, track);
    cache.open_frame(group, 10_000).unwrap();
    cache.write(group, &[1; 5000]).unwrap();
    assert!(cache.next_chunk(reader).unwrap().held().is_some());
    cache.drop_group(group).unwrap();
    assert_eq!(cache.next_chunk(reader), Ok(Next::Aborted { group: 0, code: DROPPED }));
}

#[test]
fn the_frames_of_a_group_are_counted() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = filled(&mut cache, track, &[b"", b"a"]);
    cache.append_missing(group, 3, Missing::Lost).unwrap();
    cache.open_frame(group, 2).unwrap();
    assert_eq!(cache.frames(group), Some(0..5));
    cache.write(group, b"xy").unwrap();
    assert_eq!(cache.frames(group), Some(0..6));
    assert_eq!((cache.stats().frames, cache.stats().missing), (3, 3));
    assert_eq!(cache.stats().bytes, 3);
}

#[test]
fn events_do_to_groups_what_the_calls_do() {
    let mut cache = cache();
    let track = track(&mut cache);
    let append = Event::AppendGroup { track };
    let (Answer::Group(group), _) = ask(&mut cache, append) else { panic!("no group") };
    let frame = Bytes::from_static(b"frame");
    for event in [
        Event::Append { group, frame: b"frame" },
        Event::AppendShared { group, frame: frame.clone(), pinned: 5 },
        Event::OpenFrame { group, size: 10 },
        Event::Write { group, chunk: b"frame" },
        Event::WriteShared { group, chunk: frame, pinned: 5 },
        Event::AppendMissing { group, count: 2, why: Missing::Absent },
        Event::FinishGroup { group },
        Event::SkipGroup { track, sequence: 1 },
        Event::DropGroup { group },
    ] {
        assert_eq!(ask(&mut cache, event), (Answer::Done, vec![]));
    }
    let put = Event::Put { group, index: 3, frame: b"filled" };
    assert_eq!(ask(&mut cache, put).0, Answer::Put(Put::Filled));
    assert_eq!(cache.frame(group, 2), Some(FrameState::Held(b"frameframe")));
    assert_eq!(cache.frames(group), Some(0..5));
    let abort = Event::AbortGroup { group, code: 2 };
    assert_eq!(ask(&mut cache, abort).0, Answer::Done);
    assert_eq!(cache.frames(group), Some(5..5));
}
