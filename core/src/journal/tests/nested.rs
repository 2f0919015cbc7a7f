//! Machines within machines: each has a version of its own, and payload is digested by where it lies.

use super::*;
use crate::cache::{self, Answer, Cache, Event, GroupId, Limits, Next, ReadUnit, ReaderId, Start};
use crate::retransmitter::{self, Retransmitter};
use crate::transmitter::Transmitter;

/// A journal that only says what a publisher is made from, with these versions of what is nested in it and no
/// `remote` written.
fn publisher_without_remote(nested: &[(&str, u16)]) -> Vec<u8> {
    let config = publisher::Config::republishing();
    let mut building = block::Building::new(0);
    record::append(&mut building.bytes, record::Kind::Machine, &[], |out| {
        (Publisher::NAME.as_bytes(), Publisher::VERSION).encode(out);
        out.put(&[nested.len() as u8]);
        for (name, version) in nested {
            (name.as_bytes(), *version).encode(out);
        }
        let mut retransmitter = Vec::new();
        config.retransmitter.encode(&mut Encoder::in_version(&mut retransmitter, 1));
        config.transmitter.encode(out);
        out.put(&retransmitter);
        config.end_linger.encode(out);
    });
    let mut journal = Vec::new();
    building.close(&mut journal).unwrap();
    journal
}

#[test]
fn a_nested_machine_is_read_in_its_own_version() {
    let (old, new) = ((Retransmitter::NAME, 1), (Retransmitter::NAME, 2));
    let transmitter = (Transmitter::NAME, 1);
    verify(&publisher_without_remote(&[transmitter, old])).unwrap();
    let fault = verify(&publisher_without_remote(&[transmitter, new])).unwrap_err();
    assert!(matches!(fault, Fault::Record(_)), "{fault}");
    for version in [0, Retransmitter::VERSION + 1] {
        let journal = publisher_without_remote(&[transmitter, (Retransmitter::NAME, version)]);
        let (name, known) = (Retransmitter::NAME, Retransmitter::VERSION);
        assert_eq!(verify(&journal).unwrap_err(), Fault::Version { name, version, known });
    }
}

#[test]
fn a_composite_says_the_versions_of_what_is_nested_in_it() {
    let config = publisher::Config::new(session());
    let (publisher, journal) = recorder::<Publisher>(config.clone(), 0, false);
    drop(publisher);
    let journal = journal.take();
    let mut expected = Vec::new();
    let out = &mut Encoder::new(&mut expected);
    (&b"publisher"[..], Publisher::VERSION).encode(out);
    out.put(&[2]);
    (&b"transmitter"[..], Transmitter::VERSION).encode(out);
    (&b"retransmitter"[..], Retransmitter::VERSION).encode(out);
    config.encode(out);
    assert_eq!(journal[HEADER_LEN + 5..][..expected.len()], expected);
    assert!(config.retransmitter == retransmitter::Config::default());
    verify(&journal).unwrap();
}

/// A recorded cache with a group, and somebody who reads it.
struct Reading {
    cache: Recorder<Cache, Shared>,
    group: GroupId,
    reader: ReaderId,
    journal: Shared,
}

impl Reading {
    fn new(commands: bool) -> Self {
        let (mut cache, journal) = recorder::<Cache>(cache::Config::new(1 << 20), 0, commands);
        let mut call = |event: Event<'_>| cache.call(Instant::ZERO, event).unwrap();
        let limits = Limits { max_group_frames: 700, ..Limits::default() };
        let Answer::Track(track) =
            call(Event::CreateTrack { name: b"track", publisher: 0, limits })
        else {
            panic!("no track")
        };
        let Answer::Group(group) = call(Event::AppendGroup { track }) else { panic!("no group") };
        let Answer::Reader(reader) = call(Event::OpenReader { track, start: Start::Oldest }) else {
            panic!("no reader")
        };
        Self { cache, group, reader, journal }
    }

    fn call(&mut self, event: Event<'_>) -> Answer {
        let answer = self.cache.call(Instant::ZERO, event).unwrap();
        drain(&mut self.cache);
        answer
    }

    fn read(&mut self) -> Next<cache::Run> {
        let read = self.call(Event::Read { reader: self.reader, by: ReadUnit::Run });
        let Answer::Run(next) = read else { panic!("{read:?}") };
        next
    }

    fn finish(self) -> Vec<u8> {
        drop(self.cache);
        self.journal.take()
    }
}

/// Replays it; the digest of all.
fn digest(journal: &[u8]) -> u32 {
    let mut replayer = Replayer::verifying().knowing::<Cache>();
    replayer.replay(journal, &mut ()).unwrap();
    replayer.machines().next().unwrap().digest
}

#[test]
fn runs_of_pieces_that_were_trimmed_or_laid_together_verify() {
    for commands in [false, true] {
        let mut reading = Reading::new(commands);
        let (group, first) = (reading.group, reading.reader);
        let frame = &[7; 100][..];
        for index in 0..2000_u64 {
            let frame = if index % 97 == 0 { &[8; 9000][..] } else { frame };
            reading.call(Event::Append { group, frame });
            if index % 3 == 0 {
                reading.read();
            }
        }
        reading.call(Event::FinishGroup { group });
        let Answer::Reader(late) = reading.call(Event::CloneReader { reader: first }) else {
            panic!("no reader")
        };
        for reader in [first, late] {
            reading.call(Event::Seek { reader, start: Start::Oldest });
            reading.reader = reader;
            while let Next::Held(_) | Next::Evicted { .. } = reading.read() {}
        }
        assert!(reading.cache.stats().evicted.frames > 1000);
        digest(&reading.finish());
    }
}

/// Writes frames, and reads each twice while it is not sealed: lent, and as the call that this is recorded as.
fn lent(commands: bool, last: u8) -> Vec<u8> {
    let mut reading = Reading::new(commands);
    let (group, reader) = (reading.group, reading.reader);
    let Answer::Reader(other) = reading.call(Event::CloneReader { reader }) else {
        panic!("no reader")
    };
    for frame in [&[1][..], &[], &[7; 5000], &[last; 9]] {
        reading.call(Event::Append { group, frame });
        let Ok(Next::Held(read)) = reading.cache.next_frame(reader) else { panic!("no frame") };
        assert_eq!(read.bytes, frame);
        let call = Event::NextFrame { reader: other };
        let Answer::Frame(Next::Held(read)) = reading.call(call) else { panic!("no frame") };
        assert_eq!(read.bytes, frame);
    }
    assert_eq!(reading.cache.next_frame(reader), Ok(Next::Pending));
    reading.call(Event::CloseReader { reader });
    assert_eq!(reading.cache.next_frame(reader), Err(cache::Misuse::UnknownReader));
    reading.reader = other;
    reading.call(Event::Seek { reader: other, start: Start::Oldest });
    assert!(matches!(reading.read(), Next::Held(cache::Run { frames: 2, .. })));
    reading.finish()
}

#[test]
fn frames_that_are_lent_out_of_a_recorded_cache_verify() {
    for commands in [false, true] {
        assert_eq!(digest(&lent(commands, 3)), digest(&lent(!commands, 3)));
        assert_ne!(digest(&lent(commands, 3)), digest(&lent(commands, 4)));
    }
}

#[test]
fn what_a_run_holds_is_in_the_digest() {
    let with = |last: u8| {
        let mut reading = Reading::new(false);
        let group = reading.group;
        reading.call(Event::Append { group, frame: &[1, 2, last] });
        assert!(matches!(reading.read(), Next::Held(_)));
        digest(&reading.finish())
    };
    assert_eq!(with(3), with(3));
    assert_ne!(with(3), with(4));
}
