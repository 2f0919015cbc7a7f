//! What is counted of recording: a drain of ten thousand runs out of a composite, and direct calls of a cache,
//! each plain and recorded. The goals stand here too.
//!
//! The attributes of gungraun take no doc comments.

use std::convert::Infallible;
use std::hint::black_box;

use gapless_core::cache::{self, Answer, Cache, Event, GroupId, Limits, ReadUnit, ReaderId, Start};
use gapless_core::journal::{Driven, Journaled, Recorder, Sink, recorder};
use gapless_core::{Instant, Machine};
use gapless_tests::fanout::{self, Command, Fanout};
use gungraun::prelude::*;

use crate::{Counts, goal, instructions};

/// What is promised of a recorded drain, as a multiple of the plain one.
const MAX_DRAIN: f64 = 2.5;
/// What is promised of a recorded call, in instructions above the plain one.
const MAX_CALL: f64 = 500.0;

/// Commands that are counted in one run, and calls.
const COMMANDS: u64 = 10_000;
const CALLS: usize = 1_000;
/// Frames of a thousand bytes that fill the blocks of a group before the first of 16 KiB, and that block.
const BEFORE: usize = 10;
const FILLING: usize = 16;

/// A journal that nobody keeps.
pub(crate) struct Dropped;

impl Sink for Dropped {
    type Error = Infallible;

    fn write(&mut self, block: &[u8]) -> Result<(), Infallible> {
        black_box(block);
        Ok(())
    }
}

pub(crate) fn recorder<M: Journaled>(machine: M::Config) -> Recorder<M, Dropped> {
    let config = recorder::Config { machine, id: 0, sink: Some(Dropped), commands: false };
    Recorder::new(config).unwrap()
}

const FANOUT: fanout::Config = fanout::Config { max_bytes: 1 << 24, subscribers: COMMANDS };

/// A fan-out that has a run of 16 KiB for everybody.
fn give<M: Driven<Fanout>>(mut fanout: M) -> M {
    for frames in [BEFORE, FILLING] {
        while fanout.poll_command().is_some() {}
        for _ in 0..frames {
            fanout.feed(Instant::ZERO, fanout::Event::Append(&[7; 1000])).unwrap();
            assert_eq!(fanout.poll_command(), None);
        }
        fanout.feed(Instant::ZERO, fanout::Event::Give).unwrap();
    }
    fanout
}

fn plain_fanout() -> Fanout {
    give(Fanout::new(FANOUT).unwrap())
}

fn recorded_fanout() -> Recorder<Fanout, Dropped> {
    give(recorder::<Fanout>(FANOUT))
}

#[inline(always)]
fn drain<M: Driven<Fanout>>(mut fanout: M) -> (M, u64) {
    let mut commands = 0;
    while let Some(Command::Send { run, .. }) = black_box(fanout.poll_command()) {
        assert_eq!(run.len(), FILLING * 1002);
        commands += 1;
    }
    (fanout, commands)
}

fn check_drain<M>((_, commands): (M, u64)) {
    assert_eq!(commands, COMMANDS);
}

#[library_benchmark(setup = plain_fanout, teardown = check_drain)]
#[bench::drain()]
fn plain_drain(fanout: Fanout) -> (Fanout, u64) {
    drain(fanout)
}

#[library_benchmark(setup = recorded_fanout, teardown = check_drain)]
#[bench::drain()]
fn recorded_drain(fanout: Recorder<Fanout, Dropped>) -> (Recorder<Fanout, Dropped>, u64) {
    drain(fanout)
}

/// A cache with a group, and a reader at its beginning.
struct Reading<M> {
    cache: M,
    group: GroupId,
    reader: ReaderId,
}

/// One with pieces for so many reads.
fn fill<M: Driven<Cache>>(mut cache: M) -> Reading<M> {
    let mut call = |event: Event<'_>| cache.call(Instant::ZERO, event);
    let limits = Limits::default();
    let track = call(Event::CreateTrack { name: b"track", publisher: 0, limits });
    let Ok(Answer::Track(track)) = track else { panic!("{track:?}") };
    let group = call(Event::AppendGroup { track });
    let Ok(Answer::Group(group)) = group else { panic!("{group:?}") };
    let reader = call(Event::OpenReader { track, start: Start::Oldest });
    let Ok(Answer::Reader(reader)) = reader else { panic!("{reader:?}") };
    for _ in 0..CALLS * FILLING + BEFORE {
        call(Event::Append { group, frame: &[7; 1000] }).unwrap();
    }
    while cache.poll_command().is_some() {}
    Reading { cache, group, reader }
}

fn plain_cache() -> Reading<Cache> {
    fill(Cache::new(cache::Config::new(1 << 26)).unwrap())
}

fn recorded_cache() -> Reading<Recorder<Cache, Dropped>> {
    fill(recorder::<Cache>(cache::Config::new(1 << 26)))
}

#[inline(always)]
fn read<M: Driven<Cache>>(mut reading: Reading<M>) -> Reading<M> {
    for _ in 0..CALLS {
        let event = Event::Read { reader: reading.reader, by: ReadUnit::Run };
        let read = black_box(reading.cache.call(Instant::ZERO, black_box(event)));
        assert!(matches!(read, Ok(Answer::Run(cache::Next::Held(_)))));
    }
    reading
}

#[inline(always)]
fn append<M: Driven<Cache>>(mut reading: Reading<M>) -> Reading<M> {
    for _ in 0..CALLS {
        let event = Event::Append { group: reading.group, frame: &[7; 8] };
        assert_eq!(reading.cache.call(Instant::ZERO, black_box(event)), Ok(Answer::Done));
    }
    reading
}

#[library_benchmark(setup = plain_cache, teardown = drop)]
#[bench::call()]
fn plain_read(reading: Reading<Cache>) -> Reading<Cache> {
    read(reading)
}

#[library_benchmark(setup = recorded_cache, teardown = drop)]
#[bench::call()]
fn recorded_read(reading: Reading<Recorder<Cache, Dropped>>) -> Reading<Recorder<Cache, Dropped>> {
    read(reading)
}

#[library_benchmark(setup = plain_cache, teardown = drop)]
#[bench::call()]
fn plain_append(reading: Reading<Cache>) -> Reading<Cache> {
    append(reading)
}

#[library_benchmark(setup = recorded_cache, teardown = drop)]
#[bench::call()]
fn recorded_append(
    reading: Reading<Recorder<Cache, Dropped>>,
) -> Reading<Recorder<Cache, Dropped>> {
    append(reading)
}

library_benchmark_group!(
    name = recording,
    benchmarks =
        [plain_drain, recorded_drain, plain_read, recorded_read, plain_append, recorded_append]
);

/// Prints what recording costs, and says whether every goal is reached.
pub(crate) fn print(counts: &Counts) -> Result<bool, String> {
    let command = |function: &str| {
        Ok::<_, String>(instructions(counts, function, "drain")? / COMMANDS as f64)
    };
    let call =
        |function: &str| Ok::<_, String>(instructions(counts, function, "call")? / CALLS as f64);
    let drains = (command("plain_drain")?, command("recorded_drain")?);
    let reads = (call("plain_read")?, call("recorded_read")?);
    let appends = (call("plain_append")?, call("recorded_append")?);
    println!();
    println!("{:<32}{:>10}{:>12}", "instructions", "plain", "recorded");
    for (name, (plain, recorded)) in [
        ("a command with a run of 16 KiB", drains),
        ("a call that reads such a run", reads),
        ("a call that appends 8 bytes", appends),
    ] {
        println!("{name:<32}{plain:>10.1}{recorded:>12.1}");
    }
    println!();
    let goals = [
        goal("recorded drain / plain", drains.1 / drains.0, MAX_DRAIN, 3),
        goal("recorded read - plain", reads.1 - reads.0, MAX_CALL, 0),
        goal("recorded append - plain", appends.1 - appends.0, MAX_CALL, 0),
    ];
    Ok(goals.iter().all(|reached| *reached))
}
