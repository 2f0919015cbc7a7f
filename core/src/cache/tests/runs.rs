//! Runs: frames that lie together, as they go on the wire.

use super::*;
use crate::wire::varint;

/// Frames as they go on the wire: of each its size, and its payload.
fn encoded(frames: &[&[u8]]) -> Vec<u8> {
    let mut wire = Vec::new();
    for frame in frames {
        wire.extend_from_slice(&varint::Buffer::new(frame.len() as u64));
        wire.extend_from_slice(frame);
    }
    wire
}

/// All that a reader gets of its group by runs, as it goes on the wire, and how many frames ended in it.
fn read_by_runs(cache: &mut Cache, reader: ReaderId) -> (Vec<u8>, u64) {
    let (mut wire, mut frames) = (Vec::new(), 0);
    while let Next::Held(run) = cache.next_run(reader).unwrap() {
        assert!(run.frames <= 256 && !run.is_empty(), "{run:?}");
        assert_eq!(run.first, frames);
        assert_eq!(run.len(), run.head().len() + run.bytes.len());
        wire.extend_from_slice(&run.head());
        wire.extend_from_slice(&run.bytes);
        frames += run.frames;
    }
    (wire, frames)
}

/// The frames of the specification's examples, bytes of which are given.
#[test]
fn a_run_is_the_frames_as_the_specification_has_them() {
    let mut cache = cache();
    let track = track(&mut cache);
    finished(&mut cache, track, &[b"hello", b"", &[0xff; 64]]);
    finished(&mut cache, track, &[b"", b"\xaa"]);
    finished(&mut cache, track, &[b"CCC", b"cc"]);
    let reader = reader(&mut cache, track);
    let mut next = || {
        let run = cache.next_run(reader).unwrap().held().unwrap();
        assert!(matches!(cache.next_run(reader), Ok(Next::GroupEnd { .. })));
        assert_eq!(*run.head(), []);
        run.bytes
    };
    assert_eq!(next(), [&b"\x05hello\x00\x40\x40"[..], &[0xff; 64]].concat());
    assert_eq!(next(), &b"\x00\x01\xaa"[..]);
    assert_eq!(next(), &b"\x03CCC\x02cc"[..]);
}

#[test]
fn runs_are_the_frames_as_encoded_on_the_wire_at_every_size() {
    let frames: Vec<Vec<u8>> =
        [0, 1, 63, 64, 4096, 4097, 1, 16_383, 16_384, 0, 0, 1 << 20].map(pattern).into();
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let mut cache = of(8 << 20);
    let track = track(&mut cache);
    finished(&mut cache, track, &frames);
    let reader = reader(&mut cache, track);
    let (wire, count) = read_by_runs(&mut cache, reader);
    assert!(wire == encoded(&frames));
    assert_eq!(count, 12);
}

#[test]
fn a_run_holds_what_lies_together_up_to_256_frames() {
    let mut cache = cache();
    let track = track(&mut cache);
    for count in [1_u32, 255, 256, 257, 512, 513] {
        let group = open(&mut cache, track);
        for _ in 0..count {
            cache.append(group, b"").unwrap();
        }
        cache.finish_group(group).unwrap();
        let reader = cache.open_reader(track, Start::Newest).unwrap();
        let mut total = 0;
        while let Next::Held(run) = cache.next_run(reader).unwrap() {
            assert!((1..=256).contains(&run.frames), "{run:?} of {count}");
            assert_eq!(run.first, total);
            total += run.frames;
        }
        assert_eq!(total, count.into());
    }
}

#[test]
fn a_full_piece_is_one_run_of_256_frames() {
    let mut cache = of(4 << 20);
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    // Blocks have reached their largest size behind these.
    for _ in 0..2000 {
        cache.append(group, &[1; 31]).unwrap();
    }
    let start = cache.open_reader(track, Start::Live).unwrap();
    for _ in 0..2000 {
        cache.append(group, &[2; 31]).unwrap();
    }
    let mut most = 0;
    while let Next::Held(run) = cache.next_run(start).unwrap() {
        assert_eq!(run.bytes.len(), 32 * run.frames as usize);
        most = most.max(run.frames);
    }
    assert_eq!(most, 256);
}

#[test]
fn the_frames_of_a_run_are_reported_with_their_indices() {
    let mut cache = cache();
    let track = track(&mut cache);
    finished(&mut cache, track, &[b"a", b"", b"ccc", &[4; 70]]);
    let reader = cache.open_reader(track, Start::At { group: 0, frame: 1 }).unwrap();
    let run = cache.next_run(reader).unwrap().held().unwrap();
    assert_eq!((run.group, run.first, run.frames, run.offset), (0, 1, 3, 0));
    let frames: Vec<(u64, &[u8])> = run.iter().collect();
    assert_eq!(frames, [(1, &b""[..]), (2, b"ccc"), (3, &[4; 70])]);
}

#[test]
fn a_run_shares_the_memory_of_the_cache() {
    let mut cache = cache();
    let track = track(&mut cache);
    finished(&mut cache, track, &[b"a", b"b"]);
    let (one, two) = (reader(&mut cache, track), reader(&mut cache, track));
    let mut next = |reader| cache.next_run(reader).unwrap().held().unwrap().bytes.as_ptr();
    assert_eq!(next(one), next(two));
}

#[test]
fn a_large_frame_is_a_run_with_its_size_in_front() {
    let mut cache = cache();
    let track = track(&mut cache);
    let large = pattern(5000);
    finished(&mut cache, track, &[b"a", &large, b"b"]);
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_run(reader).unwrap().held().unwrap().bytes, &b"\x01a"[..]);
    let run = cache.next_run(reader).unwrap().held().unwrap();
    assert_eq!((&run.head()[..], run.len()), (&[0x53, 0x88][..], 5002));
    assert_eq!((run.first, run.frames, run.offset), (1, 1, 0));
    assert!(run.iter().eq([(1, &large[..])]));
    assert_eq!(cache.next_run(reader).unwrap().held().unwrap().bytes, &b"\x01b"[..]);
}

#[test]
fn a_large_frame_goes_into_runs_as_its_parts_come() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let reader = reader(&mut cache, track);
    cache.open_frame(group, 5000).unwrap();
    assert_eq!(cache.next_run(reader), Ok(Next::Pending));
    cache.write_shared(group, Bytes::from(vec![1; 2000]), 2000).unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    let first = cache.next_run(reader).unwrap().held().unwrap();
    assert_eq!((first.frames, first.offset, first.len()), (0, 0, 2002));
    assert_eq!(first.iter().count(), 0);
    assert_eq!(cache.next_run(reader), Ok(Next::Pending));
    cache.write_shared(group, Bytes::from(vec![2; 3000]), 3000).unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    let second = cache.next_run(reader).unwrap().held().unwrap();
    assert_eq!((second.frames, second.offset, second.len()), (1, 2000, 3000));
    assert_eq!((&*second.head(), second.iter().count()), (&[][..], 0));
    let wire = [&first.head()[..], &first.bytes[..], &second.bytes[..]].concat();
    assert_eq!(wire, encoded(&[&[&[1; 2000][..], &[2; 3000]].concat()]));
}

#[test]
fn a_large_frame_begun_by_chunks_can_be_gone_on_with_by_runs() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let reader = reader(&mut cache, track);
    cache.open_frame(group, 5000).unwrap();
    cache.write_shared(group, Bytes::from(vec![1; 2000]), 2000).unwrap();
    assert_eq!(cache.next_chunk(reader), Ok(chunk((0, 0), 5000, 0, &[1; 2000])));
    assert_eq!(cache.next_run(reader), Ok(Next::Pending));
    cache.write_shared(group, Bytes::from(vec![2; 3000]), 3000).unwrap();
    drain(&mut cache);
    let run = cache.next_run(reader).unwrap().held().unwrap();
    assert_eq!((run.first, run.frames, run.offset), (0, 1, 2000));
    assert_eq!(run.bytes, [2; 3000][..]);
}

#[test]
fn a_run_of_the_live_edge_has_what_was_written_since() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_run(reader), Ok(Next::Pending));
    for round in 0..3_u8 {
        cache.append(group, &[round]).unwrap();
        assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
        cache.append(group, &[round, round]).unwrap();
        let run = cache.next_run(reader).unwrap().held().unwrap();
        assert_eq!(run.bytes, [1, round, 2, round, round][..]);
        assert_eq!(cache.next_run(reader), Ok(Next::Pending));
    }
}

#[test]
fn a_reader_that_waits_for_a_run_is_not_woken_for_a_part_of_a_small_frame() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_run(reader), Ok(Next::Pending));
    cache.open_frame(group, 4).unwrap();
    cache.write(group, b"ab").unwrap();
    assert_eq!(drain(&mut cache), []);
    cache.write(group, b"cd").unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    assert_eq!(cache.next_run(reader).unwrap().held().unwrap().bytes, &b"\x04abcd"[..]);
}

#[test]
fn a_run_ends_where_a_frame_is_missing() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = filled(&mut cache, track, &[b"a"]);
    cache.append_missing(group, 2, Missing::Lost).unwrap();
    cache.append(group, b"b").unwrap();
    let reader = reader(&mut cache, track);
    assert_eq!(cache.next_run(reader).unwrap().held().unwrap().bytes, &b"\x01a"[..]);
    let missing = Next::Missing { group: 0, first: 1, count: 2, why: Missing::Lost };
    assert_eq!(cache.next_run(reader), Ok(missing));
    let run = cache.next_run(reader).unwrap().held().unwrap();
    assert_eq!((run.first, &run.bytes[..]), (3, &b"\x01b"[..]));
}

#[test]
fn a_run_that_is_asked_for_by_an_event_is_the_same() {
    let mut cache = cache();
    let track = track(&mut cache);
    finished(&mut cache, track, &[b"a", b"b"]);
    let reader = reader(&mut cache, track);
    let clone = cache.clone_reader(reader).unwrap();
    let called = cache.next_run(reader).unwrap();
    let asked = ask(&mut cache, Event::Read { reader: clone, by: ReadUnit::Run }).0;
    assert_eq!(asked, Answer::Run(called));
}
