//! Frames that are held never change: late ones only fill what is missing.

use super::*;

#[test]
fn a_missing_frame_that_comes_late_becomes_held() {
    for why in [Missing::Lost, Missing::Absent] {
        let mut cache = cache();
        let track = track(&mut cache);
        let group = filled(&mut cache, track, &[b"a"]);
        cache.append_missing(group, 1, why).unwrap();
        cache.append(group, b"c").unwrap();
        assert_eq!(cache.put(group, 1, b"b"), Ok(Put::Filled));
        for (index, frame) in (0..).zip([b"a", b"b", b"c"]) {
            assert_eq!(cache.frame(group, index), Some(FrameState::Held(frame)));
        }
        assert_eq!((cache.stats().filled, cache.stats().frames), (1, 3));
    }
}

#[test]
fn missing_frames_are_filled_in_any_order() {
    let orders: [[u64; 5]; 4] =
        [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3], [1, 3, 0, 4, 2]];
    for order in orders {
        let mut cache = cache();
        let track = track(&mut cache);
        let group = open(&mut cache, track);
        cache.append_missing(group, 5, Missing::Lost).unwrap();
        for (done, index) in order.into_iter().enumerate() {
            assert_eq!(cache.put(group, index, &[index as u8]), Ok(Put::Filled));
            for other in 0..5 {
                let expected = if order[..=done].contains(&other) {
                    FrameState::Held(core::slice::from_ref(&[0, 1, 2, 3, 4][other as usize]))
                } else {
                    FrameState::Missing(Missing::Lost)
                };
                assert_eq!(cache.frame(group, other), Some(expected), "{order:?} to {done}");
            }
        }
        let reader = reader(&mut cache, track);
        for index in 0..5 {
            assert_eq!(cache.next_frame(reader), held(0, index, &[index as u8]));
        }
    }
}

#[test]
fn filling_goes_on_when_a_group_is_finished() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    cache.append_missing(group, 2, Missing::Lost).unwrap();
    cache.finish_group(group).unwrap();
    assert_eq!(cache.put(group, 1, b"late"), Ok(Put::Filled));
    assert_eq!(cache.put(group, 2, b"more"), Err(Misuse::GroupEnded.into()));
    assert_eq!(cache.frames(group), Some(0..2));
}

#[test]
fn a_frame_put_as_the_next_is_appended() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    let group = open(&mut cache, track);
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    assert_eq!(cache.put(group, 0, b"a"), Ok(Put::Appended));
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    assert_eq!(cache.next_frame(reader), held(0, 0, b"a"));
}

#[test]
fn a_frame_behind_the_next_is_refused() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = filled(&mut cache, track, &[b"a"]);
    let not_next = |index| Err(Refusal::NotNext { index, next: 1 }.into());
    assert_eq!(cache.put(group, 2, b"c"), not_next(2));
    assert_eq!(cache.put(group, 1 << 32, b"c"), not_next(1 << 32));
    assert_eq!(cache.put(group, u64::MAX, b"c"), not_next(u64::MAX));
}

/// A group whose frames lie in every way: in a piece, large, in parts, filled, and in the tail.
fn of_every_kind(cache: &mut Cache) -> (GroupId, [Vec<u8>; 5]) {
    let track = track(cache);
    let group = open(cache, track);
    let frames = [pattern(10), pattern(5000), pattern(9000), pattern(70), pattern(20)];
    cache.append(group, &frames[0]).unwrap();
    cache.append(group, &frames[1]).unwrap();
    cache.open_frame(group, 9000).unwrap();
    for part in frames[2].chunks(4000) {
        cache.write(group, part).unwrap();
    }
    cache.append_missing(group, 1, Missing::Lost).unwrap();
    assert_eq!(cache.put(group, 3, &frames[3]), Ok(Put::Filled));
    cache.append(group, &frames[4]).unwrap();
    (group, frames)
}

#[test]
fn a_late_duplicate_with_the_same_bytes_changes_nothing() {
    let mut cache = cache();
    let (group, frames) = of_every_kind(&mut cache);
    let used = cache.memory_used();
    for (index, frame) in (0..).zip(&frames) {
        assert_eq!(cache.put(group, index, frame), Ok(Put::Duplicate), "{index}");
    }
    assert_eq!((cache.stats().same, cache.memory_used()), (5, used));
}

#[test]
fn a_late_duplicate_with_other_bytes_is_refused_and_counted_and_nothing_is_overwritten() {
    let mut cache = cache();
    let (group, frames) = of_every_kind(&mut cache);
    let mut refused = 0;
    for (index, frame) in (0..).zip(&frames) {
        let mut last = frame.clone();
        *last.last_mut().unwrap() ^= 1;
        let mut first = frame.clone();
        first[0] ^= 1;
        let longer = [&frame[..], b"x"].concat();
        let shorter = &frame[..frame.len() - 1];
        for other in [&last[..], &first, &longer, shorter, b""] {
            let contradiction = Err(Refusal::Contradiction(index).into());
            assert_eq!(cache.put(group, index, other), contradiction, "{index}");
            refused += 1;
        }
        assert_eq!(cache.put(group, index, frame), Ok(Put::Duplicate));
    }
    assert_eq!(cache.stats().contradictions, refused);
}

#[test]
fn a_duplicate_that_ends_where_a_part_ends_is_another_frame() {
    let mut cache = cache();
    let (group, frames) = of_every_kind(&mut cache);
    for cut in [4000, 8000] {
        let put = cache.put(group, 2, &frames[2][..cut]);
        assert_eq!(put, Err(Refusal::Contradiction(2).into()));
    }
}

#[test]
fn an_empty_frame_that_is_held_is_contradicted_by_any_other() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = filled(&mut cache, track, &[b""]);
    assert_eq!(cache.put(group, 0, b""), Ok(Put::Duplicate));
    assert_eq!(cache.put(group, 0, b"x"), Err(Refusal::Contradiction(0).into()));
}

#[test]
fn a_frame_put_where_one_was_evicted_is_refused_and_counted() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_group_frames: 2, ..Limits::default() });
    let group = open(&mut cache, track);
    for frame in [b"a", b"b", b"c"] {
        cache.append(group, frame).unwrap();
        drain(&mut cache);
    }
    let late = Err(Refusal::FrameEvicted { index: 0, floor: 1 }.into());
    assert_eq!(cache.put(group, 0, b"a"), late);
    assert_eq!(cache.put(group, 1, b"b"), Ok(Put::Duplicate));
    assert_eq!(cache.stats().late, 1);
}

#[test]
fn missing_frames_that_were_reported_to_a_reader_stay_missing_for_it() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    cache.append_missing(group, 3, Missing::Lost).unwrap();
    let (quick, slow) = (reader(&mut cache, track), reader(&mut cache, track));
    let missing = |first, count| Next::Missing { group: 0, first, count, why: Missing::Lost };
    assert_eq!(cache.next_frame(quick), Ok(missing(0, 3)));
    assert_eq!(cache.next_frame(quick), Ok(Next::Pending));
    assert_eq!(cache.put(group, 1, b"late"), Ok(Put::Filled));
    assert_eq!(drain(&mut cache), []);
    assert_eq!(cache.next_frame(quick), Ok(Next::Pending));
    assert_eq!(cache.next_frame(slow), Ok(missing(0, 1)));
    assert_eq!(cache.next_frame(slow), held(0, 1, b"late"));
    assert_eq!(cache.next_frame(slow), Ok(missing(2, 1)));
}

#[test]
fn a_frame_is_filled_in_front_of_an_open_one() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    cache.append_missing(group, 1, Missing::Lost).unwrap();
    cache.open_frame(group, 6).unwrap();
    cache.write(group, b"abc").unwrap();
    assert_eq!(cache.put(group, 0, b"late"), Ok(Put::Filled));
    cache.write(group, b"def").unwrap();
    assert_eq!(cache.frame(group, 0), Some(FrameState::Held(b"late")));
    assert_eq!(cache.frame(group, 1), Some(FrameState::Held(b"abcdef")));
}

#[test]
fn every_other_of_a_thousand_missing_frames_is_filled_and_found() {
    let mut cache = of(4 << 20);
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    cache.append_missing(group, 1000, Missing::Absent).unwrap();
    for index in (0..1000_u64).step_by(2).map(|index| index * 7 % 1000) {
        assert_eq!(cache.put(group, index, &index.to_be_bytes()), Ok(Put::Filled));
    }
    let reader = reader(&mut cache, track);
    for index in (0..1000_u64).step_by(2) {
        let frame = index.to_be_bytes();
        assert_eq!(cache.frame(group, index), Some(FrameState::Held(&frame)));
        assert_eq!(cache.next_frame(reader), held(0, index, &frame));
        let (first, why) = (index + 1, Missing::Absent);
        let missing = Next::Missing { group: 0, first, count: 1, why };
        assert_eq!(cache.next_frame(reader), Ok(missing));
    }
}
