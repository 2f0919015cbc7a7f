//! Frames: whole ones, missing ones, and what is found under an index.

use super::*;

/// Sizes at which something changes: of the head, of how a frame is kept, of blocks.
const SIZES: [usize; 12] = [0, 1, 63, 64, 65, 4095, 4096, 4097, 16_383, 16_384, 16_385, 1 << 20];

/// A cache with a group of a frame of each size.
fn of_every_size(append: impl Fn(&mut Cache, GroupId, &[u8])) -> (Cache, GroupId, ReaderId) {
    let mut cache = of(8 << 20);
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    for size in SIZES {
        append(&mut cache, group, &pattern(size));
    }
    let reader = reader(&mut cache, track);
    (cache, group, reader)
}

fn check_every_size(append: impl Fn(&mut Cache, GroupId, &[u8])) {
    let (mut cache, group, reader) = of_every_size(append);
    for (index, size) in (0..).zip(SIZES) {
        assert_eq!(cache.frame(group, index), Some(FrameState::Held(&pattern(size))), "{size}");
        assert_eq!(cache.next_frame(reader), held(0, index, &pattern(size)), "{size}");
    }
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
}

#[test]
fn copied_frames_of_every_size_come_back() {
    check_every_size(|cache, group, frame| _ = cache.append(group, frame).unwrap());
}

#[test]
fn shared_frames_of_every_size_come_back() {
    check_every_size(|cache, group, frame| {
        let shared = Bytes::copy_from_slice(frame);
        cache.append_shared(group, shared, frame.len()).unwrap();
    });
}

#[test]
fn frames_put_as_the_next_come_back_at_every_size() {
    check_every_size(|cache, group, frame| {
        let next = cache.frames(group).unwrap().end;
        assert_eq!(cache.put(group, next, frame), Ok(Put::Appended));
    });
}

#[test]
fn frames_of_every_size_fill_what_was_missing() {
    check_every_size(|cache, group, frame| {
        let next = cache.frames(group).unwrap().end;
        cache.append_missing(group, 1, Missing::Lost).unwrap();
        assert_eq!(cache.put(group, next, frame), Ok(Put::Filled));
    });
}

#[test]
fn frames_of_every_size_are_shared_with_readers() {
    let (mut cache, _, reader) =
        of_every_size(|cache, group, frame| _ = cache.append(group, frame).unwrap());
    for (index, size) in (0..).zip(SIZES) {
        let frame = cache.next_shared(reader).unwrap().held().unwrap();
        assert_eq!((frame.index, &frame.bytes[..]), (index, &pattern(size)[..]), "{size}");
    }
}

#[test]
fn an_index_means_the_same_frame_on_both_sides_of_every_piece() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let name = |index: u64| index.to_be_bytes();
    for count in 1..=1030 {
        cache.append(group, &name(count - 1)).unwrap();
        if [1, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 1030].contains(&count) {
            for index in 0..count {
                assert_eq!(
                    cache.frame(group, index),
                    Some(FrameState::Held(&name(index))),
                    "{count}"
                );
            }
            assert_eq!(cache.frame(group, count), Some(FrameState::Pending));
        }
    }
    let reader = reader(&mut cache, track);
    for index in 0..1030 {
        assert_eq!(cache.next_frame(reader), held(0, index, &name(index)));
    }
}

#[test]
fn a_reader_that_begins_at_any_frame_reads_that_one() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    for index in 0..600_u64 {
        cache.append(group, &index.to_be_bytes()).unwrap();
    }
    for frame in 0..600 {
        let reader = cache.open_reader(track, Start::At { group: 0, frame }).unwrap();
        assert_eq!(cache.next_frame(reader), held(0, frame, &frame.to_be_bytes()));
        cache.close_reader(reader).unwrap();
    }
}

#[test]
fn an_empty_frame_is_a_frame_and_a_missing_one_is_not() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = filled(&mut cache, track, &[b""]);
    cache.append_missing(group, 1, Missing::Lost).unwrap();
    assert_eq!(cache.frame(group, 0), Some(FrameState::Held(b"")));
    assert_eq!(cache.frame(group, 1), Some(FrameState::Missing(Missing::Lost)));
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_frame(reader), held(0, 0, b""));
    let missing = Next::Missing { group: 0, first: 1, count: 1, why: Missing::Lost };
    assert_eq!(cache.next_frame(reader), Ok(missing));
}

#[test]
fn a_frame_larger_than_allowed_is_refused_before_anything_is_allocated() {
    let mut cache = of(128 << 20);
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let before = cache.memory_used();
    let (size, max) = ((32 << 20) + 1, 32 << 20);
    let too_large = Err(Refusal::FrameTooLarge { size, max }.into());
    assert_eq!(cache.open_frame(group, size), too_large);
    assert_eq!(
        cache.open_frame(group, u64::MAX),
        Err(Refusal::FrameTooLarge { size: u64::MAX, max }.into())
    );
    assert_eq!(cache.append(group, &vec![0; size as usize]), too_large);
    assert_eq!((cache.memory_used(), cache.stats().blocks_allocated), (before, 0));
    assert_eq!(cache.stats().oversized, 3);
    assert_eq!(cache.open_frame(group, max), Ok(0));
}

#[test]
fn the_largest_frame_allowed_is_taken_and_one_byte_more_is_not() {
    for max in [1, 63, 64, 4096, 4097] {
        let config = Config { max_frame: max, ..Config::new(1 << 20) };
        let mut cache = Cache::new(config).unwrap();
        let track = track(&mut cache);
        let group = open(&mut cache, track);
        let (largest, larger) = (pattern(max as usize), pattern(max as usize + 1));
        let refused = Err(Refusal::FrameTooLarge { size: max + 1, max }.into());
        for index in 0..2 {
            assert_eq!(cache.append(group, &largest), Ok(index));
            assert_eq!(cache.append(group, &larger), refused);
        }
        assert_eq!(cache.append_shared(group, larger.clone().into(), 0), refused);
        cache.append_missing(group, 1, Missing::Lost).unwrap();
        assert_eq!(cache.put(group, 2, &larger), refused.map(|_| Put::Duplicate));
        assert_eq!(cache.put(group, 2, &largest), Ok(Put::Filled));
    }
}

#[test]
fn a_large_frame_is_kept_by_reference_and_a_small_one_is_copied() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let (large, small) = (Bytes::from(pattern(4097)), Bytes::from(pattern(4096)));
    cache.append_shared(group, large.clone(), 4097).unwrap();
    cache.append_shared(group, small.clone(), 4096).unwrap();
    let reader = reader(&mut cache, track);
    let first = cache.next_shared(reader).unwrap().held().unwrap().bytes;
    let second = cache.next_shared(reader).unwrap().held().unwrap().bytes;
    assert_eq!(first.as_ptr(), large.as_ptr());
    assert_ne!(second.as_ptr(), small.as_ptr());
    assert_eq!(second, small);
}

#[test]
fn a_large_frame_that_keeps_more_than_twice_its_length_alive_is_copied() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let frame = Bytes::from(pattern(5000));
    cache.append_shared(group, frame.clone(), 10_000).unwrap();
    cache.append_shared(group, frame.clone(), 10_001).unwrap();
    let reader = reader(&mut cache, track);
    let kept = cache.next_shared(reader).unwrap().held().unwrap().bytes;
    let copied = cache.next_shared(reader).unwrap().held().unwrap().bytes;
    assert_eq!(kept.as_ptr(), frame.as_ptr());
    assert_ne!(copied.as_ptr(), frame.as_ptr());
    assert_eq!(copied, frame);
}

#[test]
fn what_a_frame_kept_by_reference_keeps_alive_is_in_the_budget() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    cache.append(group, b"first").unwrap();
    let before = cache.memory_used();
    cache.append_shared(group, Bytes::from(pattern(50_000)), 90_000).unwrap();
    assert!(cache.memory_used() >= before + 90_000);
}

#[test]
fn missing_frames_of_one_kind_are_reported_together() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    for (count, why) in [(2, Missing::Absent), (3, Missing::Absent), (4, Missing::Lost)] {
        cache.append_missing(group, count, why).unwrap();
    }
    cache.append(group, b"held").unwrap();
    let reader = reader(&mut cache, track);
    let absent = Next::Missing { group: 0, first: 0, count: 5, why: Missing::Absent };
    let lost = Next::Missing { group: 0, first: 5, count: 4, why: Missing::Lost };
    assert_eq!(cache.next_frame(reader), Ok(absent));
    assert_eq!(cache.next_run(reader).unwrap().held(), None);
    assert_eq!(cache.next_frame(reader), held(0, 9, b"held"));
    cache.seek(reader, Start::At { group: 0, frame: 5 }).unwrap();
    assert_eq!(cache.next_frame(reader), Ok(lost));
}

#[test]
fn missing_frames_are_reported_alike_however_they_are_read() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    cache.append_missing(group, 7, Missing::Lost).unwrap();
    let start = Start::At { group: 0, frame: 3 };
    let reader = cache.open_reader(track, start).unwrap();
    let (first, count, why) = (3, 4, Missing::Lost);
    assert_eq!(cache.next_frame(reader), Ok(Next::Missing { group: 0, first, count, why }));
    cache.seek(reader, start).unwrap();
    assert_eq!(cache.next_chunk(reader), Ok(Next::Missing { group: 0, first, count, why }));
    cache.seek(reader, start).unwrap();
    assert_eq!(cache.next_run(reader), Ok(Next::Missing { group: 0, first, count, why }));
    assert_eq!(cache.next_run(reader), Ok(Next::Pending));
}

#[test]
fn no_missing_frames_are_no_change() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    let group = open(&mut cache, track);
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    cache.append_missing(group, 0, Missing::Lost).unwrap();
    assert_eq!((cache.frames(group), drain(&mut cache)), (Some(0..0), vec![]));
}

#[test]
fn a_group_has_no_more_frames_than_its_indices_allow() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let most = u64::from(u32::MAX - 1);
    cache.append_missing(group, most - 2, Missing::Absent).unwrap();
    assert_eq!(cache.append_missing(group, 3, Missing::Absent), Err(Refusal::UsedUp.into()));
    cache.append(group, b"last but one").unwrap();
    cache.append(group, b"last").unwrap();
    assert_eq!(cache.append(group, b"one too many"), Err(Refusal::UsedUp.into()));
    assert_eq!(cache.append_missing(group, 1, Missing::Absent), Err(Refusal::UsedUp.into()));
    assert_eq!(cache.open_frame(group, 3), Err(Refusal::UsedUp.into()));
    assert_eq!(cache.frames(group), Some(0..most));
    assert_eq!(cache.stats().full, 4);
    let reader = cache.open_reader(track, Start::At { group: 0, frame: most - 1 });
    let reader = reader.unwrap();
    assert_eq!(cache.next_frame(reader), held(0, most - 1, b"last"));
    cache.finish_group(group).unwrap();
    let end = Next::GroupEnd { group: 0, frames: most };
    assert_eq!(cache.next_frame(reader), Ok(end));
}

#[test]
fn the_state_of_an_index_is_reported_without_a_reader() {
    let mut cache = cache();
    let track = limited(&mut cache, Limits { max_group_frames: 4, ..Limits::default() });
    let group = filled(&mut cache, track, &[b"gone", b"kept"]);
    cache.append_missing(group, 1, Missing::Absent).unwrap();
    cache.open_frame(group, 6000).unwrap();
    cache.write(group, &[1; 4000]).unwrap();
    assert_eq!(cache.frame(group, 3), Some(FrameState::Pending));
    cache.write(group, &[2; 2000]).unwrap();
    cache.append(group, b"tail").unwrap();
    assert_eq!(drain(&mut cache).len(), 1);
    assert_eq!(cache.frame(group, 0), Some(FrameState::Evicted));
    assert_eq!(cache.frame(group, 1), Some(FrameState::Held(b"kept")));
    assert_eq!(cache.frame(group, 2), Some(FrameState::Missing(Missing::Absent)));
    assert_eq!(cache.frame(group, 3), Some(FrameState::Parts { size: 6000 }));
    assert_eq!(cache.frame(group, 4), Some(FrameState::Held(b"tail")));
    assert_eq!(cache.frame(group, 5), Some(FrameState::Pending));
    assert_eq!(cache.frame(group, u64::MAX), Some(FrameState::Pending));
}
