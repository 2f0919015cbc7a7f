//! Journals of a cache: one that was kept, and what a changed cache would not hide.

use std::path::PathBuf;

use gapless_core::cache::{Answer, Cache, Config, Event, Limits, Missing, ReadUnit, Start};
use gapless_core::journal::{Driven, Recorder, Replayer, recorder};
use gapless_core::{Instant, Machine};

/// A journal of a small cache that is filled, overfilled, and read in every way.
fn recorded() -> Vec<u8> {
    let mut journal = Vec::new();
    let config = Config {
        max_frame: 1 << 16,
        max_publishers: 8,
        reserve: 16 << 10,
        ..Config::new(256 << 10)
    };
    let config =
        recorder::Config { machine: config, id: 0, sink: Some(&mut journal), commands: true };
    let mut cache = Recorder::<Cache, _>::new(config).unwrap();
    let mut now = 0;
    let mut give = |event: Event<'_>| {
        now += 1;
        cache.handle(Instant::from_millis(now), event).unwrap();
        while cache.poll_command().is_some() {}
        cache.machine().track(b"kept")
    };
    let limits = Limits { max_groups: 40, ..Limits::default() };
    let track = give(Event::CreateTrack { name: b"kept", publisher: 1, limits }).unwrap();
    for number in 0..50_u64 {
        give(Event::CreateGroup { track, sequence: number });
        // The ids are the cache's own; what was refused is in the journal too.
        give(Event::CreateGroup { track, sequence: number });
        give(Event::SkipGroup { track, sequence: number + (1 << 40) });
    }
    // More tracks than one publisher may have; what is reserved for another it gets.
    for (publisher, tracks) in [(1, 250_u8), (2, 8)] {
        for number in 0..tracks {
            let mut name = [number; 200];
            name[0] = publisher;
            give(Event::CreateTrack { name: &name, publisher: publisher.into(), limits });
        }
    }
    assert!((50..150).contains(&cache.stats().full), "{:?}", cache.stats());
    drop(cache);
    let config = Config { max_frame: 1 << 16, ..Config::new(256 << 10) };
    let config =
        recorder::Config { machine: config, id: 1, sink: Some(&mut journal), commands: false };
    let mut cache = Recorder::<Cache, _>::new(config).unwrap();
    let call = |cache: &mut Recorder<Cache, _>, event: Event<'_>| {
        let answer = cache.call(Instant::from_millis(7), event);
        while cache.poll_command().is_some() {}
        // Some is misuse, of which there is nothing in it.
        answer.ok()
    };
    let limits = Limits { max_group_frames: 30, ..Limits::default() };
    call(&mut cache, Event::CreateTrack { name: b"kept", publisher: 1, limits });
    let track = cache.machine().track(b"kept").unwrap();
    call(&mut cache, Event::OpenReader { track, start: Start::Oldest });
    let opened = call(&mut cache, Event::OpenReader { track, start: Start::Live });
    let Some(Answer::Reader(reader)) = opened else { panic!("{opened:?}") };
    for number in 0..4_u64 {
        call(&mut cache, Event::AppendGroup { track });
        let group = cache.machine().group(track, number).unwrap();
        for len in [0, 1, 63, 64, 700, 4096, 5000] {
            call(&mut cache, Event::Append { group, frame: &vec![len as u8; len] });
        }
        call(&mut cache, Event::AppendMissing { group, count: 3, why: Missing::Lost });
        call(&mut cache, Event::Put { group, index: 8, frame: b"late" });
        call(&mut cache, Event::NextFrame { reader });
        // Lent, unless the reader is within a large frame.
        let _ = cache.next_frame(reader);
        call(&mut cache, Event::Seal { track });
        call(&mut cache, Event::OpenFrame { group, size: 9000 });
        for chunk in [&[1; 4000][..], &[2; 4000], &[3; 1000]] {
            call(&mut cache, Event::Write { group, chunk });
            call(&mut cache, Event::Read { reader, by: ReadUnit::Chunk });
        }
        if number == 2 {
            call(&mut cache, Event::AbortGroup { group, code: 99 });
        } else {
            call(&mut cache, Event::FinishGroup { group });
        }
        for by in [ReadUnit::Frame, ReadUnit::Chunk, ReadUnit::Run, ReadUnit::Frame, ReadUnit::Run]
        {
            call(&mut cache, Event::Read { reader, by });
        }
    }
    // Groups of which nothing is known take memory too.
    for sequence in 4..1100 {
        call(&mut cache, Event::SkipGroup { track, sequence });
    }
    call(&mut cache, Event::FinishTrack { track, end: None });
    for _ in 0..200 {
        call(&mut cache, Event::Read { reader, by: ReadUnit::Run });
    }
    assert!(cache.stats().evicted.by_bytes > 0 && cache.stats().evicted.frames == 0);
    drop(cache);
    journal
}

fn kept(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("journals").join(name)
}

/// Replays it, whatever the cache does now.
fn is_readable(journal: &[u8]) {
    let mut lenient = Replayer::lenient().knowing::<Cache>();
    let ending = lenient.replay(journal, &mut ()).unwrap();
    assert_eq!((ending.bytes, ending.torn), (journal.len() as u64, 0));
    assert_eq!(lenient.machines().count(), 2);
}

/// Recorded when a cache did not remember groups that it evicted.
#[test]
fn a_journal_kept_from_before_ends_were_remembered_is_readable() {
    is_readable(&std::fs::read(kept("cache-1.journal")).unwrap());
}

/// `GAPLESS_KEEP_JOURNAL=cache-5.journal` makes the last one anew: for a policy of which none is kept yet.
#[test]
fn kept_journals_of_every_version_are_readable_and_verify() {
    const NEWEST: &str = "cache-5.journal";
    if std::env::var("GAPLESS_KEEP_JOURNAL").as_deref() == Ok(NEWEST) {
        std::fs::write(kept(NEWEST), recorded()).unwrap();
    }
    for (name, version) in
        [("cache-2.journal", 1_u16), ("cache-3.journal", 2), ("cache-4.journal", 2), (NEWEST, 2)]
    {
        let journal = std::fs::read(kept(name)).unwrap();
        assert_eq!(journal[4..6], version.to_le_bytes());
        is_readable(&journal);
        // A policy that was changed on purpose makes this fail: then the journal stays, as one that is
        // readable, and its place here goes.
        Replayer::verifying().knowing::<Cache>().replay(&journal[..], &mut ()).unwrap();
    }
}

#[test]
fn a_cache_that_was_recorded_verifies() {
    let journal = recorded();
    let mut replayer = Replayer::verifying().knowing::<Cache>();
    let ending = replayer.replay(&journal[..], &mut ()).unwrap();
    assert_eq!((ending.bytes, ending.torn), (journal.len() as u64, 0));
    let again = replayer.machines().nth(1).unwrap();
    assert!(again.machine::<Cache>().unwrap().stats().frames > 20);
}
