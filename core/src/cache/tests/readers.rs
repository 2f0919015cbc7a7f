//! Readers: where they begin, what comes next for them, and when they are woken.

use super::*;

/// Group `number` of a track, finished, with one frame that says which it is.
fn numbered(cache: &mut Cache, track: TrackId, number: u64) {
    let group = cache.create_group(Instant::ZERO, track, number).unwrap();
    cache.append(group, &number.to_be_bytes()).unwrap();
    cache.finish_group(group).unwrap();
}

/// Checks that a reader gets the frame of [`numbered`], and the end of the group.
#[track_caller]
fn check_numbered(cache: &mut Cache, reader: ReaderId, number: u64) {
    assert_eq!(cache.next_frame(reader), held(number, 0, &number.to_be_bytes()));
    assert_eq!(cache.next_frame(reader), Ok(Next::GroupEnd { group: number, frames: 1 }));
}

#[test]
fn frames_come_back_whole_and_in_order() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    for number in 0..1000_u32 {
        cache.append(group, &number.to_le_bytes()[..number as usize % 5]).unwrap();
    }
    let reader = reader(&mut cache, track);
    for number in 0..1000_u32 {
        let bytes = &number.to_le_bytes()[..number as usize % 5];
        assert_eq!(cache.next_frame(reader), held(0, number.into(), bytes));
    }
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    cache.finish_group(group).unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    assert_eq!(cache.next_frame(reader), Ok(Next::GroupEnd { group: 0, frames: 1000 }));
}

#[test]
fn a_reader_begins_at_a_group_and_a_frame() {
    let mut cache = cache();
    let track = track(&mut cache);
    finished(&mut cache, track, &[b"a", b"b"]);
    finished(&mut cache, track, &[b"c", b"d"]);
    let reader = cache.open_reader(track, Start::At { group: 1, frame: 1 }).unwrap();
    assert_eq!(cache.next_frame(reader), held(1, 1, b"d"));
}

#[test]
fn a_reader_begins_with_the_oldest_number_and_not_with_the_group_that_came_first() {
    let mut cache = cache();
    let track = track(&mut cache);
    numbered(&mut cache, track, 5);
    numbered(&mut cache, track, 3);
    let reader = cache.open_reader(track, Start::Oldest).unwrap();
    check_numbered(&mut cache, reader, 3);
    check_numbered(&mut cache, reader, 5);
}

#[test]
fn a_reader_begins_with_the_first_frame_of_the_newest_group() {
    let mut cache = cache();
    let track = track(&mut cache);
    finished(&mut cache, track, &[b"a"]);
    filled(&mut cache, track, &[b"b", b"c"]);
    let reader = cache.open_reader(track, Start::Newest).unwrap();
    assert_eq!(cache.next_frame(reader), held(1, 0, b"b"));
}

#[test]
fn a_reader_begins_at_the_live_edge() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = filled(&mut cache, track, &[b"a", b"b"]);
    let reader = cache.open_reader(track, Start::Live).unwrap();
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    cache.append(group, b"c").unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    assert_eq!(cache.next_frame(reader), held(0, 2, b"c"));
}

#[test]
fn a_reader_that_begins_within_an_open_frame_gets_all_of_it() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = filled(&mut cache, track, &[b"a"]);
    cache.open_frame(group, 4).unwrap();
    cache.write(group, b"wx").unwrap();
    let reader = cache.open_reader(track, Start::Live).unwrap();
    assert_eq!(cache.next_chunk(reader), Ok(chunk((0, 1), 4, 0, b"wx")));
}

#[test]
fn a_reader_of_an_empty_track_gets_what_comes_first() {
    let mut cache = cache();
    for (name, start) in [(b"o", Start::Oldest), (b"n", Start::Newest), (b"l", Start::Live)] {
        let limits = Limits { first_group: 77, ..Limits::default() };
        let track = cache.create_track(Instant::ZERO, name, 0, limits).unwrap();
        let reader = cache.open_reader(track, start).unwrap();
        assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
        let group = open(&mut cache, track);
        assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
        cache.append(group, b"first").unwrap();
        assert_eq!(cache.next_frame(reader), held(77, 0, b"first"));
    }
}

#[test]
fn a_reader_passes_numbers_that_do_not_exist_as_soon_as_a_later_one_does() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = cache.open_reader(track, Start::At { group: 10, frame: 6 }).unwrap();
    numbered(&mut cache, track, 3);
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    numbered(&mut cache, track, 5);
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    let group = cache.create_group(Instant::ZERO, track, 20).unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    cache.append(group, b"it").unwrap();
    assert_eq!(cache.next_frame(reader), held(20, 0, b"it"));
}

#[test]
fn a_group_that_comes_late_is_given_to_who_has_not_passed_it() {
    let mut cache = cache();
    let track = track(&mut cache);
    numbered(&mut cache, track, 0);
    numbered(&mut cache, track, 2);
    let (behind, passed) = (reader(&mut cache, track), reader(&mut cache, track));
    check_numbered(&mut cache, behind, 0);
    check_numbered(&mut cache, passed, 0);
    check_numbered(&mut cache, passed, 2);
    assert_eq!(cache.next_frame(passed), Ok(Next::Pending));
    numbered(&mut cache, track, 1);
    assert_eq!(drain(&mut cache), []);
    check_numbered(&mut cache, behind, 1);
    check_numbered(&mut cache, behind, 2);
    assert_eq!(cache.next_frame(passed), Ok(Next::Pending));
}

#[test]
fn a_reader_stays_in_an_unfinished_group_although_newer_ones_exist() {
    let mut cache = cache();
    let track = track(&mut cache);
    let slow = filled(&mut cache, track, &[b"a"]);
    numbered(&mut cache, track, 1);
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_frame(reader), held(0, 0, b"a"));
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    cache.append(slow, b"b").unwrap();
    drain(&mut cache);
    cache.finish_group(slow).unwrap();
    assert_eq!(cache.next_frame(reader), held(0, 1, b"b"));
    assert_eq!(cache.next_frame(reader), Ok(Next::GroupEnd { group: 0, frames: 2 }));
    check_numbered(&mut cache, reader, 1);
}

#[test]
fn a_start_behind_the_end_of_a_finished_group_is_at_its_end() {
    let mut cache = cache();
    let track = track(&mut cache);
    numbered(&mut cache, track, 0);
    let start = Start::At { group: 0, frame: u64::MAX };
    let reader = cache.open_reader(track, start).unwrap();
    assert_eq!(cache.next_frame(reader), Ok(Next::GroupEnd { group: 0, frames: 1 }));
}

#[test]
fn a_clone_goes_on_from_the_same_place_by_itself() {
    let mut cache = cache();
    let track = track(&mut cache);
    finished(&mut cache, track, &[b"a", b"b", b"c"]);
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_frame(reader), held(0, 0, b"a"));
    let clone = cache.clone_reader(reader).unwrap();
    assert_eq!(cache.next_frame(clone), held(0, 1, b"b"));
    assert_eq!(cache.next_frame(clone), held(0, 2, b"c"));
    assert_eq!(cache.next_frame(reader), held(0, 1, b"b"));
    cache.close_reader(reader).unwrap();
    assert_eq!(cache.next_frame(clone), Ok(Next::GroupEnd { group: 0, frames: 3 }));
}

#[test]
fn a_clone_of_a_reader_within_a_frame_goes_on_within_it() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    cache.open_frame(group, 4).unwrap();
    cache.write(group, b"ab").unwrap();
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_chunk(reader), Ok(chunk((0, 0), 4, 0, b"ab")));
    let clone = cache.clone_reader(reader).unwrap();
    cache.write(group, b"cd").unwrap();
    assert_eq!(cache.next_chunk(clone), Ok(chunk((0, 0), 4, 2, b"cd")));
}

#[test]
fn a_clone_of_a_reader_that_waits_is_woken_once_it_waits_itself() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    let clone = cache.clone_reader(reader).unwrap();
    cache.append(group, b"a").unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    assert_eq!(cache.next_frame(clone), held(0, 0, b"a"));
    assert_eq!(cache.next_frame(clone), Ok(Next::Pending));
    cache.append(group, b"b").unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(clone)]);
}

#[test]
fn a_reader_is_woken_once_until_it_has_found_nothing_again() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    cache.append(group, b"a").unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    cache.append(group, b"b").unwrap();
    assert_eq!(drain(&mut cache), []);
    assert_eq!(cache.next_frame(reader), held(0, 0, b"a"));
    cache.append(group, b"c").unwrap();
    assert_eq!(drain(&mut cache), []);
    assert_eq!(cache.stats().woken, 1);
}

#[test]
fn a_reader_that_never_asked_is_not_woken() {
    let mut cache = cache();
    let track = track(&mut cache);
    reader(&mut cache, track);
    finished(&mut cache, track, &[b"a"]);
    cache.finish_track(track, None).unwrap();
    assert_eq!(drain(&mut cache), []);
}

#[test]
fn a_reader_that_waits_for_a_frame_is_not_woken_for_a_part_of_it() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let (whole, parts) = (reader(&mut cache, track), reader(&mut cache, track));
    assert_eq!(cache.next_frame(whole), Ok(Next::Pending));
    assert_eq!(cache.next_chunk(parts), Ok(Next::Pending));
    cache.open_frame(group, 4).unwrap();
    cache.write(group, b"ab").unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(parts)]);
    cache.write(group, b"cd").unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(whole)]);
}

#[test]
fn a_reader_ahead_of_its_group_is_woken_when_its_own_frame_is_there() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let reader = cache.open_reader(track, Start::At { group: 0, frame: 3 }).unwrap();
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    for frame in [b"0", b"1", b"2"] {
        cache.append(group, frame).unwrap();
        assert_eq!(drain(&mut cache), []);
    }
    cache.append(group, b"3").unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    assert_eq!(cache.next_frame(reader), held(0, 3, b"3"));
}

#[test]
fn a_reader_ahead_of_its_group_is_woken_by_its_end() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let reader = cache.open_reader(track, Start::At { group: 0, frame: 3 }).unwrap();
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    cache.finish_group(group).unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    assert_eq!(cache.next_frame(reader), Ok(Next::GroupEnd { group: 0, frames: 0 }));
}

#[test]
fn readers_are_woken_in_the_order_in_which_they_found_nothing() {
    let mut cache = cache();
    let track = track(&mut cache);
    let readers: [ReaderId; 3] = core::array::from_fn(|_| reader(&mut cache, track));
    for at in [2, 0, 1] {
        assert_eq!(cache.next_frame(readers[at]), Ok(Next::Pending));
    }
    open(&mut cache, track);
    assert_eq!(drain(&mut cache), [2, 0, 1].map(|at| Command::Readable(readers[at])));
}

#[test]
fn a_reader_that_was_closed_while_it_waited_is_not_woken() {
    let mut cache = cache();
    let track = track(&mut cache);
    let readers: [ReaderId; 3] = core::array::from_fn(|_| reader(&mut cache, track));
    for reader in readers {
        assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    }
    cache.close_reader(readers[1]).unwrap();
    open(&mut cache, track);
    assert_eq!(drain(&mut cache), [0, 2].map(|at| Command::Readable(readers[at])));
    assert_eq!(cache.next_frame(readers[1]), Err(Misuse::UnknownReader));
}

#[test]
fn a_reader_that_seeks_waits_no_more() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = filled(&mut cache, track, &[b"a"]);
    let reader = cache.open_reader(track, Start::Live).unwrap();
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    cache.seek(reader, Start::Oldest).unwrap();
    cache.append(group, b"b").unwrap();
    assert_eq!(drain(&mut cache), []);
    assert_eq!(cache.next_frame(reader), held(0, 0, b"a"));
}

#[test]
fn a_reader_seeks_back_and_forth() {
    let mut cache = cache();
    let track = track(&mut cache);
    for number in 0..3 {
        numbered(&mut cache, track, number);
    }
    let reader = reader(&mut cache, track);
    for number in [2, 0, 1] {
        cache.seek(reader, Start::At { group: number, frame: 0 }).unwrap();
        check_numbered(&mut cache, reader, number);
    }
}

#[test]
fn what_is_asked_of_a_closed_reader_is_refused() {
    let mut cache = cache();
    let track = track(&mut cache);
    let closed = reader(&mut cache, track);
    cache.close_reader(closed).unwrap();
    let other = reader(&mut cache, track);
    assert_ne!(closed, other);
    assert_eq!(cache.next_frame(closed), Err(Misuse::UnknownReader));
    assert_eq!(cache.next_shared(closed), Err(Misuse::UnknownReader));
    assert_eq!(cache.next_chunk(closed), Err(Misuse::UnknownReader));
    assert_eq!(cache.next_run(closed), Err(Misuse::UnknownReader));
    assert_eq!(cache.clone_reader(closed), Err(Misuse::UnknownReader.into()));
    assert_eq!(cache.seek(closed, Start::Live), Err(Misuse::UnknownReader));
    assert_eq!(cache.close_reader(closed), Err(Misuse::UnknownReader));
}

#[test]
fn ways_of_reading_can_be_mixed() {
    let mut cache = cache();
    let track = track(&mut cache);
    finished(&mut cache, track, &[b"a", b"b", b"c", b"d", b"e"]);
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_frame(reader), held(0, 0, b"a"));
    assert_eq!(cache.next_chunk(reader), Ok(chunk((0, 1), 1, 0, b"b")));
    assert_eq!(cache.next_shared(reader).unwrap().held().unwrap().bytes, &b"c"[..]);
    assert_eq!(cache.next_run(reader).unwrap().held().unwrap().bytes, &b"\x01d\x01e"[..]);
    assert_eq!(cache.next_chunk(reader), Ok(Next::GroupEnd { group: 0, frames: 5 }));
}

#[test]
fn a_reader_reads_on_across_what_is_sealed_meanwhile() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let (slow, fast) = (reader(&mut cache, track), reader(&mut cache, track));
    for index in 0..700_u64 {
        cache.append(group, &index.to_be_bytes()).unwrap();
        drain(&mut cache);
        if index % 3 == 0 {
            // Makes a piece of what is there.
            while let Next::Held(_) = cache.next_run(fast).unwrap() {}
        }
        if index >= 100 {
            let at = index - 100;
            assert_eq!(cache.next_frame(slow), held(0, at, &at.to_be_bytes()));
        }
    }
}

#[test]
fn what_a_reader_was_given_outlives_the_group() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = filled(&mut cache, track, &[b"small", &[5; 5000]]);
    let reader = reader(&mut cache, track);
    let small = cache.next_shared(reader).unwrap().held().unwrap();
    let large = cache.next_shared(reader).unwrap().held().unwrap();
    cache.abort_group(group, 1).unwrap();
    for _ in 0..50 {
        finished(&mut cache, track, &[&[0; 100], &[0; 5000]]);
    }
    assert_eq!((&small.bytes[..], &large.bytes[..]), (&b"small"[..], &[5; 5000][..]));
}

#[test]
fn a_reader_far_ahead_in_an_open_group_is_woken_when_its_frame_has_come() {
    for by in [ReadUnit::Frame, ReadUnit::Chunk, ReadUnit::Run] {
        let mut cache = cache();
        let track = track(&mut cache);
        let group = open(&mut cache, track);
        drain(&mut cache);
        let start = Start::At { group: 0, frame: 300 };
        let readers = [0; 2].map(|_| cache.open_reader(track, start).unwrap());
        for reader in readers {
            let answer = cache.call(Instant::ZERO, Event::Read { reader, by }).unwrap();
            let waits = matches!(
                answer,
                Answer::Frame(Next::Pending)
                    | Answer::Chunk(Next::Pending)
                    | Answer::Run(Next::Pending)
            );
            assert!(waits, "{answer:?}");
        }
        for _ in 0..300 {
            cache.append(group, b"before").unwrap();
            assert_eq!(drain(&mut cache), []);
        }
        cache.append(group, b"theirs").unwrap();
        assert_eq!(drain(&mut cache), readers.map(Command::Readable));
        assert_eq!(cache.next_frame(readers[0]), held(0, 300, b"theirs"));
    }
}

#[test]
fn readers_far_ahead_are_passed_by_missing_frames_and_woken_at_the_end_of_their_group() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    drain(&mut cache);
    let at = |frame| Start::At { group: 0, frame };
    let readers = [10, 20, 30].map(|frame| cache.open_reader(track, at(frame)).unwrap());
    let close = cache.open_reader(track, at(u64::from(u32::MAX))).unwrap();
    for reader in readers.into_iter().chain([close]) {
        assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    }
    cache.close_reader(close).unwrap();
    cache.append_missing(group, 20, Missing::Lost).unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(readers[0])]);
    cache.append(group, b"20").unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(readers[1])]);
    cache.finish_group(group).unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(readers[2])]);
}

#[test]
fn a_ready_reader_that_reads_or_goes_before_it_is_woken_is_not_woken() {
    let unit = |which: usize| [ReadUnit::Frame, ReadUnit::Run][which % 2];
    for which in 0..5 {
        let mut cache = cache();
        let track = track(&mut cache);
        let group = open(&mut cache, track);
        let readers: Vec<ReaderId> = (0..5).map(|_| reader(&mut cache, track)).collect();
        let read = |cache: &mut Cache, reader| match unit(which) {
            ReadUnit::Run => cache.next_run(reader).map(|next| next.map(|_| ())),
            _ => cache.next_frame(reader).map(|next| next.map(|_| ())),
        };
        readers.iter().for_each(|&reader| assert_eq!(read(&mut cache, reader), Ok(Next::Pending)));
        cache.append(group, b"one").unwrap();
        let early = readers[which];
        assert_eq!(read(&mut cache, early), Ok(Next::Held(())));
        assert_eq!(read(&mut cache, early), Ok(Next::Pending));
        let clone = cache.clone_reader(early).unwrap();
        cache.close_reader(early).unwrap();
        assert_eq!(read(&mut cache, clone), Ok(Next::Pending));
        let others = readers.iter().filter(|&&reader| reader != early);
        let woken: Vec<_> = others.copied().map(Command::Readable).collect();
        assert_eq!(drain(&mut cache), woken);
        // A reader that waits for a group is no different, and nor is one that closes.
        let group_end = Next::GroupEnd { group: 0, frames: 1 };
        cache.finish_group(group).unwrap();
        assert_eq!(drain(&mut cache).len(), 1);
        for command in woken {
            let Command::Readable(reader) = command else { unreachable!("all are woken") };
            assert_eq!(read(&mut cache, reader), Ok(Next::Held(())));
            assert_eq!(read(&mut cache, reader), Ok(group_end));
            assert_eq!(read(&mut cache, reader), Ok(Next::Pending));
        }
        open(&mut cache, track);
        let gone = readers[(which + 1) % 5];
        cache.close_reader(gone).unwrap();
        assert_eq!(drain(&mut cache).len(), 3);
    }
}

#[test]
fn an_event_that_lends_a_frame_answers_with_a_share_of_what_is_sealed() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    cache.append(group, &[7; 10_000]).unwrap();
    cache.append(group, b"sealed").unwrap();
    cache.seal(track).unwrap();
    cache.append(group, b"open").unwrap();
    let (reader, sharing) = (reader(&mut cache, track), reader(&mut cache, track));
    let mut next = |reader| match cache.call(Instant::ZERO, Event::NextFrame { reader }) {
        Ok(Answer::Frame(Next::Held(frame))) => frame.bytes,
        other => panic!("{other:?}"),
    };
    let lent = [next(reader), next(reader), next(reader)];
    assert_eq!(
        (&lent[0][..], &lent[1][..], &lent[2][..]),
        (&[7; 10_000][..], &b"sealed"[..], &b"open"[..])
    );
    for bytes in &lent[..2] {
        let shared = cache.next_shared(sharing).unwrap().held().unwrap().bytes;
        assert_eq!(shared.as_ptr(), bytes.as_ptr(), "the same memory");
    }
}
