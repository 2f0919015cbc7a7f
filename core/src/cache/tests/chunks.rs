//! Frames that are declared with a size and come in chunks, and reading by chunks.

use super::*;

/// An open group in which a frame of so many bytes is declared.
fn declared(cache: &mut Cache, size: u64) -> (GroupId, ReaderId) {
    let track = track(cache);
    let group = open(cache, track);
    cache.open_frame(group, size).unwrap();
    (group, reader(cache, track))
}

/// Reads by chunks, from a place within a frame of this size on, as far as there is something of it.
fn read_on(cache: &mut Cache, reader: ReaderId, size: u64, from: u64) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() as u64 + from < size
        && let Next::Held(chunk) = cache.next_chunk(reader).unwrap()
    {
        assert_eq!((chunk.size, chunk.offset), (size, from + read.len() as u64));
        assert!(!chunk.bytes.is_empty());
        read.extend_from_slice(chunk.bytes);
    }
    read
}

#[test]
fn a_frame_that_came_in_chunks_is_read_whole() {
    let mut cache = cache();
    let (group, reader) = declared(&mut cache, 11);
    cache.write(group, b"hello ").unwrap();
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    cache.write(group, b"world").unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    assert_eq!(cache.next_frame(reader), held(0, 0, b"hello world"));
}

#[test]
fn a_frame_that_is_not_complete_is_read_by_chunks_as_they_come() {
    let mut cache = cache();
    let (group, reader) = declared(&mut cache, 6);
    assert_eq!(cache.next_chunk(reader), Ok(Next::Pending));
    cache.write(group, b"ab").unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    assert_eq!(cache.next_chunk(reader), Ok(chunk((0, 0), 6, 0, b"ab")));
    assert_eq!(cache.next_chunk(reader), Ok(Next::Pending));
    cache.write(group, b"cd").unwrap();
    drain(&mut cache);
    cache.write(group, b"ef").unwrap();
    assert_eq!(cache.next_chunk(reader), Ok(chunk((0, 0), 6, 2, b"cdef")));
    assert_eq!(cache.next_chunk(reader), Ok(Next::Pending));
}

#[test]
fn a_large_frame_is_read_by_chunks_as_they_come() {
    let mut cache = cache();
    let size = 40_000;
    let payload = pattern(size);
    let (group, reader) = declared(&mut cache, size as u64);
    let mut read = Vec::new();
    for (number, part) in payload.chunks(7001).enumerate() {
        cache.write(group, part).unwrap();
        drain(&mut cache);
        read.extend(read_on(&mut cache, reader, size as u64, read.len() as u64));
        assert_eq!(read.len(), number * 7001 + part.len());
        assert_eq!(cache.next_chunk(reader), Ok(Next::Pending));
    }
    assert_eq!(read, payload);
}

#[test]
fn frames_in_chunks_of_every_size_come_back() {
    for size in [1, 63, 64, 4096, 4097, 16_384, 1 << 20] {
        for count in [1, 2, 3, 17] {
            let mut cache = of(4 << 20);
            let payload = pattern(size);
            let (group, reader) = declared(&mut cache, size as u64);
            for part in payload.chunks(size.div_ceil(count)) {
                cache.write(group, part).unwrap();
            }
            let read = read_on(&mut cache, reader, size as u64, 0);
            assert!(read == payload, "{size} bytes in {count} chunks");
            cache.finish_group(group).unwrap();
            let end = Next::GroupEnd { group: 0, frames: 1 };
            assert_eq!(cache.next_chunk(reader), Ok(end));
        }
    }
}

#[test]
fn a_whole_frame_is_one_chunk() {
    let mut cache = cache();
    let track = track(&mut cache);
    finished(&mut cache, track, &[b"small", b"", &[9; 5000]]);
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_chunk(reader), Ok(chunk((0, 0), 5, 0, b"small")));
    assert_eq!(cache.next_chunk(reader), Ok(chunk((0, 1), 0, 0, b"")));
    assert_eq!(cache.next_chunk(reader), Ok(chunk((0, 2), 5000, 0, &[9; 5000])));
    assert_eq!(cache.next_chunk(reader), Ok(Next::GroupEnd { group: 0, frames: 3 }));
}

#[test]
fn a_frame_past_its_declared_size_is_refused_and_stays_open() {
    for size in [5_u64, 5000] {
        let mut cache = cache();
        let (group, reader) = declared(&mut cache, size);
        cache.write(group, b"abc").unwrap();
        let (len, left) = (size - 2, size - 3);
        let excess = vec![0; size as usize - 2];
        assert_eq!(cache.write(group, &excess), Err(Refusal::PastSize { len, left }.into()));
        assert_eq!(
            cache.write_shared(group, excess.into(), 0),
            Err(Refusal::PastSize { len, left }.into())
        );
        assert_eq!(cache.stats().oversized, 2);
        cache.write(group, &vec![b'd'; size as usize - 3]).unwrap();
        assert_eq!(cache.next_chunk(reader).unwrap().held().unwrap().bytes[..3], *b"abc");
        assert_eq!(cache.frames(group), Some(0..1));
    }
}

#[test]
fn a_chunk_without_an_open_frame_is_refused() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = filled(&mut cache, track, &[b"whole"]);
    assert_eq!(cache.write(group, b"x"), Err(Misuse::NoFrame.into()));
    assert_eq!(cache.write_shared(group, Bytes::new(), 0), Err(Misuse::NoFrame.into()));
    cache.open_frame(group, 1).unwrap();
    cache.write(group, b"x").unwrap();
    assert_eq!(cache.write(group, b""), Err(Misuse::NoFrame.into()));
}

#[test]
fn nothing_comes_behind_an_open_frame_before_it_is_complete() {
    for size in [9_u64, 9000] {
        let mut cache = cache();
        let (group, _) = declared(&mut cache, size);
        cache.write(group, b"abc").unwrap();
        let short = Refusal::Short { left: size - 3 };
        assert_eq!(cache.append(group, b"x"), Err(short.into()));
        assert_eq!(cache.append_shared(group, Bytes::new(), 0), Err(short.into()));
        assert_eq!(cache.append_missing(group, 1, Missing::Lost), Err(short.into()));
        assert_eq!(cache.open_frame(group, 1), Err(short.into()));
        assert_eq!(cache.put(group, 0, b"x"), Err(short.into()));
    }
}

#[test]
fn a_declared_frame_of_no_bytes_is_complete_at_once() {
    let mut cache = cache();
    let (group, reader) = declared(&mut cache, 0);
    assert_eq!(cache.write(group, b""), Err(Misuse::NoFrame.into()));
    assert_eq!(cache.next_frame(reader), held(0, 0, b""));
}

#[test]
fn an_empty_chunk_changes_nothing() {
    let mut cache = cache();
    let (group, reader) = declared(&mut cache, 4);
    assert_eq!(cache.next_chunk(reader), Ok(Next::Pending));
    cache.write(group, b"").unwrap();
    cache.write_shared(group, Bytes::new(), 0).unwrap();
    assert_eq!(drain(&mut cache), []);
    assert_eq!(cache.next_chunk(reader), Ok(Next::Pending));
}

#[test]
fn memory_for_a_large_declared_size_is_taken_as_its_chunks_arrive() {
    let mut cache = of(64 << 20);
    let track = track(&mut cache);
    let group = filled(&mut cache, track, &[b"first"]);
    let before = cache.memory_used();
    cache.open_frame(group, 30 << 20).unwrap();
    assert!(cache.memory_used() <= before + 32_768, "{}", cache.memory_used() - before);
    cache.write(group, &[0; 100_000]).unwrap();
    let taken = cache.memory_used() - before;
    assert!((100_000..180_000).contains(&taken), "{taken}");
}

#[test]
fn a_large_frame_that_came_in_chunks_says_that_it_lies_in_parts() {
    let mut cache = cache();
    let (group, reader) = declared(&mut cache, 6000);
    cache.write(group, &[1; 3000]).unwrap();
    cache.write(group, &[2; 3000]).unwrap();
    let parts = Next::Parts { group: 0, index: 0, size: 6000 };
    assert_eq!(cache.next_frame(reader), Ok(parts));
    let parts = Next::Parts { group: 0, index: 0, size: 6000 };
    assert_eq!(cache.next_shared(reader), Ok(parts));
    let read = read_on(&mut cache, reader, 6000, 0);
    assert_eq!(read, [[1; 3000], [2; 3000]].concat());
    assert_eq!(cache.next_chunk(reader), Ok(Next::Pending));
}

#[test]
fn a_large_frame_that_came_in_one_chunk_lies_together() {
    let mut cache = cache();
    let (group, reader) = declared(&mut cache, 9000);
    let payload = pattern(9000);
    cache.write(group, &payload).unwrap();
    assert_eq!(cache.frame(group, 0), Some(FrameState::Held(&payload)));
    assert_eq!(cache.next_frame(reader), held(0, 0, &payload));
}

#[test]
fn a_reader_within_a_frame_goes_on_by_chunks() {
    for size in [6_u64, 6000] {
        let mut cache = cache();
        let (group, reader) = declared(&mut cache, size);
        cache.write(group, b"abc").unwrap();
        assert_eq!(cache.next_chunk(reader), Ok(chunk((0, 0), size, 0, b"abc")));
        assert_eq!(cache.next_frame(reader), Err(Misuse::WithinFrame));
        assert_eq!(cache.next_shared(reader), Err(Misuse::WithinFrame));
        let rest = vec![b'd'; size as usize - 3];
        cache.write(group, &rest).unwrap();
        drain(&mut cache);
        assert_eq!(cache.next_frame(reader), Err(Misuse::WithinFrame));
        assert_eq!(read_on(&mut cache, reader, size, 3), rest);
        cache.append(group, b"next").unwrap();
        drain(&mut cache);
        assert_eq!(cache.next_frame(reader), held(0, 1, b"next"));
    }
}

#[test]
fn a_reader_within_a_small_frame_cannot_take_a_run_of_it() {
    let mut cache = cache();
    let (group, reader) = declared(&mut cache, 6);
    cache.write(group, b"abc").unwrap();
    assert_eq!(cache.next_chunk(reader), Ok(chunk((0, 0), 6, 0, b"abc")));
    assert_eq!(cache.next_run(reader), Err(Misuse::WithinFrame));
    cache.write(group, b"def").unwrap();
    assert_eq!(cache.next_run(reader), Err(Misuse::WithinFrame));
    cache.finish_group(group).unwrap();
    assert_eq!(cache.next_run(reader), Err(Misuse::WithinFrame));
    assert_eq!(cache.next_chunk(reader), Ok(chunk((0, 0), 6, 3, b"def")));
}

#[test]
fn a_reader_within_a_frame_leaves_it_by_a_seek() {
    let mut cache = cache();
    let (group, reader) = declared(&mut cache, 6);
    cache.write(group, b"abc").unwrap();
    assert_eq!(cache.next_chunk(reader), Ok(chunk((0, 0), 6, 0, b"abc")));
    cache.seek(reader, Start::At { group: 0, frame: 0 }).unwrap();
    cache.write(group, b"def").unwrap();
    assert_eq!(cache.next_frame(reader), held(0, 0, b"abcdef"));
}

#[test]
fn large_chunks_are_kept_by_reference_and_small_ones_are_copied() {
    let mut cache = cache();
    let (group, reader) = declared(&mut cache, 6000);
    let [large, small, wide] = [1024, 1023, 1025].map(|len| Bytes::from(pattern(len)));
    cache.write_shared(group, large.clone(), 2048).unwrap();
    cache.write_shared(group, small.clone(), 1023).unwrap();
    cache.write_shared(group, wide.clone(), 2051).unwrap();
    assert_eq!([&large, &small, &wide].map(Bytes::is_unique), [false, true, true]);
    let first = cache.next_chunk(reader).unwrap().held().unwrap().bytes;
    assert_eq!((first.as_ptr(), first.len()), (large.as_ptr(), 1024));
    let rest = read_on(&mut cache, reader, 6000, 1024);
    assert_eq!(rest, [&small[..], &wide].concat());
}

#[test]
fn bytes_of_incomplete_frames_are_capped_per_publisher() {
    let config = Config { max_unfinished: 10_000, ..Config::new(1 << 20) };
    let mut cache = Cache::new(config).unwrap();
    let mut create = |name: &[u8], publisher| {
        let track = cache.create_track(Instant::ZERO, name, publisher, Limits::default());
        let group = cache.append_group(Instant::ZERO, track.unwrap()).unwrap();
        cache.open_frame(group, 20_000).unwrap();
        group
    };
    let (one, two, other) = (create(b"one", 7), create(b"two", 7), create(b"other", 8));
    cache.write(one, &[0; 6000]).unwrap();
    let refused = Err(Refusal::Unfinished { bytes: 10_001, max: 10_000 }.into());
    assert_eq!(cache.write(two, &[0; 4001]), refused);
    assert_eq!(cache.write_shared(two, Bytes::from(vec![0; 4001]), 4001), refused);
    assert_eq!(cache.stats().unfinished, 2);
    assert_eq!(cache.write(two, &[0; 4000]), Ok(()));
    assert_eq!(cache.write(other, &[0; 10_000]), Ok(()));
}

#[test]
fn what_completes_a_frame_is_taken_whatever_is_unfinished() {
    let config = Config { max_unfinished: 5000, ..Config::new(1 << 20) };
    let mut cache = Cache::new(config).unwrap();
    let (group, _) = declared(&mut cache, 12_000);
    cache.write(group, &[0; 5000]).unwrap();
    let refused = Err(Refusal::Unfinished { bytes: 11_999, max: 5000 }.into());
    assert_eq!(cache.write(group, &[0; 6999]), refused);
    assert_eq!(cache.write(group, &[0; 7000]), Ok(()));
    cache.open_frame(group, 12_000).unwrap();
    assert_eq!(cache.write(group, &[0; 5000]), Ok(()));
}

#[test]
fn what_an_aborted_group_had_unfinished_counts_no_more() {
    let config = Config { max_unfinished: 5000, ..Config::new(1 << 20) };
    for abort in [Cache::drop_group, |cache: &mut Cache, group| cache.abort_group(group, 1)] {
        let mut cache = Cache::new(config.clone()).unwrap();
        let (group, _) = declared(&mut cache, 12_000);
        cache.write(group, &[0; 5000]).unwrap();
        abort(&mut cache, group).unwrap();
        let track = cache.track(b"track").unwrap();
        let next = open(&mut cache, track);
        cache.open_frame(next, 12_000).unwrap();
        assert_eq!(cache.write(next, &[0; 5000]), Ok(()));
        assert_eq!(
            cache.write(next, &[0; 1]),
            Err(Refusal::Unfinished { bytes: 5001, max: 5000 }.into())
        );
    }
}

#[test]
fn what_an_evicted_group_had_unfinished_counts_no_more() {
    let config = Config { max_unfinished: 5000, ..Config::new(1 << 20) };
    let mut cache = Cache::new(config).unwrap();
    let track = limited(&mut cache, Limits { max_groups: 1, ..Limits::default() });
    for _ in 0..3 {
        let group = open(&mut cache, track);
        drain(&mut cache);
        cache.open_frame(group, 12_000).unwrap();
        assert_eq!(cache.write(group, &[0; 5000]), Ok(()));
    }
}

#[test]
fn chunks_that_are_asked_for_by_an_event_are_kept() {
    let mut cache = cache();
    let (group, reader) = declared(&mut cache, 6);
    cache.write(group, b"abc").unwrap();
    let read = Event::Read { reader, by: ReadUnit::Chunk };
    let (Answer::Chunk(first), _) = ask(&mut cache, read.clone()) else { panic!("no chunk") };
    cache.write(group, b"def").unwrap();
    let (Answer::Chunk(second), _) = ask(&mut cache, read) else { panic!("no chunk") };
    cache.abort_group(group, 1).unwrap();
    assert_eq!(first.held().unwrap().bytes, &b"abc"[..]);
    let second = second.held().unwrap();
    assert_eq!((second.offset, &second.bytes[..]), (3, &b"def"[..]));
}

#[test]
fn a_driver_may_say_that_any_amount_of_memory_is_kept_alive() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let frame = || Bytes::from(vec![7; 10_000]);
    for pinned in [0, 20_000, 20_001, usize::MAX] {
        cache.append_shared(group, frame(), pinned).unwrap();
        cache.open_frame(group, 20_000).unwrap();
        cache.write_shared(group, frame(), pinned).unwrap();
        cache.write_shared(group, frame(), pinned).unwrap();
        assert!(cache.memory_used() <= 1 << 20);
    }
    assert_eq!(cache.stats().too_large, 0);
}
