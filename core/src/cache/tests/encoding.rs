//! How a cache is written in journals.

use alloc::vec::Vec;

use crate::Duration;
use crate::cache::{
    Answer, Cache, Chunk, Command, Config, Event, Frame, GroupId, Limits, Missing, Misuse, Next,
    Put, ReadUnit, ReaderId, Refusal, Run, Start, TrackId,
};
use crate::journal::encoding::{BYTES, assert_encoding, is_digested};
use crate::journal::{Decoder, Encoder, Field, Journaled, Malformed};
use crate::storage::slab::Key;

const TRACK: TrackId = TrackId(Key::new(1, 2));
const GROUP: GroupId = GroupId(Key::new(3, 4));
const READER: ReaderId = ReaderId(Key::new(5, 6));

#[test]
fn a_cache_s_configuration() {
    let (max_bytes, max_frame, window, max_unfinished) = (1, 2, 3, 4);
    let (max_publishers, reserve) = (5, 6);
    let config = Config { max_bytes, max_frame, window, max_unfinished, max_publishers, reserve };
    assert_encoding(&config, "1q 2q 3q 4q 5d 6q");
    // Before version 4 nothing was reserved.
    let mut written = Vec::new();
    config.encode(&mut Encoder::in_version(&mut written, 3));
    let read = Config::decode(&mut Decoder::new(&written, 3)).unwrap();
    assert_eq!((written.len(), read), (32, Config { max_publishers: 0, reserve: 0, ..config }));
}

#[test]
fn what_a_cache_takes() {
    let limits = Limits {
        max_age: Duration::from_nanos(1),
        max_groups: 2,
        max_group_bytes: 3,
        max_group_frames: 4,
        first_group: 5,
    };
    let (track, group, reader, frame) = (TRACK, GROUP, READER, &BYTES[..]);
    let create = Event::CreateTrack { name: frame, publisher: 9, limits };
    assert_encoding(&create, "0 B 9q 1q 2d 3q 4d 5q");
    assert_encoding(&Event::FinishTrack { track, end: Some(7) }, "1 1d 2q 1 7q");
    assert_encoding(&Event::AbortTrack { track, code: 7 }, "2 1d 2q 7q");
    assert_encoding(&Event::DropTrack { track }, "3 1d 2q");
    assert_encoding(&Event::CreateGroup { track, sequence: 7 }, "4 1d 2q 7q");
    assert_encoding(&Event::AppendGroup { track }, "5 1d 2q");
    assert_encoding(&Event::SkipGroup { track, sequence: 7 }, "6 1d 2q 7q");
    assert_encoding(&Event::Append { group, frame }, "7 3d 4q B");
    let shared = Event::AppendShared { group, frame: BYTES, pinned: 7 };
    assert_encoding(&shared, "8 3d 4q B 7q");
    assert_encoding(&Event::OpenFrame { group, size: 7 }, "9 3d 4q 7q");
    assert_encoding(&Event::Write { group, chunk: frame }, "10 3d 4q B");
    assert_encoding(&Event::WriteShared { group, chunk: BYTES, pinned: 7 }, "11 3d 4q B 7q");
    let missing = Event::AppendMissing { group, count: 7, why: Missing::Absent };
    assert_encoding(&missing, "12 3d 4q 7d 1");
    assert_encoding(&Event::Put { group, index: 7, frame }, "13 3d 4q 7q B");
    assert_encoding(&Event::FinishGroup { group }, "14 3d 4q");
    assert_encoding(&Event::AbortGroup { group, code: 7 }, "15 3d 4q 7q");
    assert_encoding(&Event::DropGroup { group }, "16 3d 4q");
    let start = Start::At { group: 7, frame: 8 };
    assert_encoding(&Event::OpenReader { track, start }, "17 1d 2q 0 7q 8q");
    assert_encoding(&Event::CloneReader { reader }, "18 5d 6q");
    assert_encoding(&Event::CloseReader { reader }, "19 5d 6q");
    assert_encoding(&Event::Seek { reader, start: Start::Live }, "20 5d 6q 3");
    assert_encoding(&Event::Read { reader, by: ReadUnit::Run }, "21 5d 6q 2");
    assert_encoding(&Event::Seal { track }, "22 1d 2q");
    assert_encoding(&Event::NextFrame { reader }, "23 5d 6q");
}

#[test]
fn what_a_cache_gives() {
    let answer = |answer| Command::Answer(answer);
    assert_encoding(&answer(Answer::Done), "0 0");
    assert_encoding(&answer(Answer::Track(TRACK)), "0 1 1d 2q");
    assert_encoding(&answer(Answer::Group(GROUP)), "0 2 3d 4q");
    assert_encoding(&answer(Answer::Reader(READER)), "0 3 5d 6q");
    assert_encoding(&answer(Answer::Put(Put::Duplicate)), "0 4 2");
    let frame = Frame { group: 1, index: 2, bytes: BYTES };
    let read = answer(Answer::Frame(Next::Held(frame)));
    assert_encoding(&read, "0 5 0 1q 2q B");
    is_digested(&read, "0 5 0 1q 2q 2q 604016517d");
    let chunk = Chunk { group: 1, index: 2, size: 3, offset: 4, bytes: BYTES };
    let read = answer(Answer::Chunk(Next::Held(chunk)));
    assert_encoding(&read, "0 6 0 1q 2q 3q 4q B");
    is_digested(&read, "0 6 0 1q 2q 3q 4q 2q 604016517d");
    let run =
        Run { group: 1, first: 2, frames: 3, offset: 4, head: Some(5), bytes: BYTES, checksum: 6 };
    let read = answer(Answer::Run(Next::Held(run)));
    assert_encoding(&read, "0 7 0 1q 2q 3d 4q 1 5q B");
    is_digested(&read, "0 7 0 1q 2q 4q 5q 2q 6d 3d");
    assert_encoding(&answer(Answer::Refused(Refusal::Duplicate(7))), "0 8 9 7q");
    assert_encoding(&Command::Readable(READER), "1 5d 6q");
    assert_encoding(&Command::Evicted { track: TRACK, floor: Some((7, 8)) }, "2 1d 2q 1 7q 8q");
    assert_encoding(&Command::Aborted { track: TRACK, group: 7, code: 8 }, "3 1d 2q 7q 8q");
}

#[test]
fn an_id_that_no_cache_gives_is_malformed() {
    let mut written = Vec::new();
    Event::CloseReader { reader: ReaderId(Key::new(1, 0)) }.encode(&mut Encoder::new(&mut written));
    let read = Event::decode(&mut Decoder::new(&written, Cache::VERSION));
    assert!(matches!(read, Err(Malformed::Unknown { what: "stamp", value: 0 })));
}

#[test]
fn what_comes_next() {
    let assert_encoding = |next: &Next<u8>, expected| assert_encoding(next, expected);
    let (group, first, count, why) = (1, 2, 3, Missing::Lost);
    assert_encoding(&Next::Missing { group, first, count, why }, "1 1q 2q 3q 0");
    assert_encoding(&Next::Parts { group, index: 2, size: 3 }, "2 1q 2q 3q");
    assert_encoding(&Next::GroupEnd { group, frames: 2 }, "3 1q 2q");
    assert_encoding(&Next::Skipped { group }, "4 1q");
    assert_encoding(&Next::Aborted { group, code: 2 }, "5 1q 2q");
    assert_encoding(&Next::Evicted { group, frame: 2, next: None }, "6 1q 2q 0");
    assert_encoding(&Next::TrackEnd, "7");
    assert_encoding(&Next::TrackAborted { code: 1 }, "8 1q");
    assert_encoding(&Next::Pending, "9");
}

#[test]
fn why_a_call_is_refused() {
    let refusals: [(Refusal, &str); 14] = [
        (Refusal::NameTaken, "8 5"),
        (Refusal::EndsBefore { newest: 1 }, "8 8 1q"),
        (Refusal::Short { left: 1 }, "8 16 1q"),
        (Refusal::NotNext { index: 1, next: 2 }, "8 19 1q 2q"),
        (Refusal::BeyondEnd { sequence: 1, end: 2 }, "8 7 1q 2q"),
        (Refusal::Duplicate(1), "8 9 1q"),
        (Refusal::BeyondWindow { sequence: 1, last: 2 }, "8 10 1q 2q"),
        (Refusal::FrameTooLarge { size: 1, max: 2 }, "8 14 1q 2q"),
        (Refusal::PastSize { len: 1, left: 2 }, "8 15 1q 2q"),
        (Refusal::Unfinished { bytes: 1, max: 2 }, "8 18 1q 2q"),
        (Refusal::Contradiction(1), "8 20 1q"),
        (Refusal::FrameEvicted { index: 1, floor: 2 }, "8 21 1q 2q"),
        (Refusal::UsedUp, "8 22"),
        (Refusal::Full { used: 1, max: 2 }, "8 23 1q 2q"),
    ];
    for (refusal, written) in refusals {
        assert_encoding(&Answer::Refused(refusal), written);
        assert_encoding(&Ok::<_, Misuse>(Answer::Refused(refusal)), written);
    }
}

#[test]
fn misuse_as_journals_have_it_from_before_it_left_no_trace() {
    let misuse: [(Misuse, &str); 10] = [
        (Misuse::UnknownTrack, "8 1"),
        (Misuse::UnknownGroup, "8 2"),
        (Misuse::UnknownReader, "8 3"),
        (Misuse::Name(1), "8 4 1q"),
        (Misuse::TrackEnded, "8 6"),
        (Misuse::GroupEnded, "8 11"),
        (Misuse::Aborted(1), "8 12 1q"),
        (Misuse::Skipped, "8 13"),
        (Misuse::NoFrame, "8 17"),
        (Misuse::WithinFrame, "8 24"),
    ];
    for (misuse, written) in misuse {
        assert_encoding(&Err::<Answer, _>(misuse), written);
    }
}
