//! Instructions of reads: by runs, by a reader and at a position, and by frames, out of memory and at the live
//! edge; and of appending with and without somebody who reads there. The goals stand here too.
//!
//! The attributes of gungraun take no doc comments.

use std::hint::black_box;

use gapless_core::cache::{
    Cache, Command, Config, GroupId, Limits, Next, Position, ReaderId, Start, TrackId,
};
use gapless_core::{Instant, Machine};
use gungraun::prelude::*;

use crate::{Counts, goal, instructions};

/// The instructions of `next_run` before there were positions: the row below in commit 9674f9d, by rustc
/// 1.95.
const NEXT_RUN_BEFORE: f64 = 173.8;
/// The bounds of `run_at` and of `next_run`, as multiples of that.
const MAX_RUN_AT: f64 = 1.0;
const MAX_NEXT_RUN: f64 = 1.1;
/// The bound of appending with a seal and a run for each batch, as a multiple of appending alone.
const MAX_SEALED: f64 = 1.6;

/// The instructions of reads by frame before positions served readers: the rows below in commit bf354f3.
const FRAMES_BEFORE: [(&str, f64); 4] =
    [("next_frame", 133.1), ("next_shared", 182.1), ("shared_at_edge", 568.4), ("woken", 667.4)];
/// The bound of each, as a multiple of that.
const MAX_FRAME: f64 = 1.1;

/// Runs that are counted in one run.
const RUNS: usize = 1_000;
/// Frames that are counted in one run.
const FRAMES: usize = 32_000;
/// How many are appended before they are sealed and read.
const BATCH: usize = 32;
const FRAME: [u8; 64] = [7; 64];

/// A cache of so many bytes with one group.
fn one_group(max_bytes: usize) -> (Cache, TrackId, GroupId) {
    let mut cache = Cache::new(Config::new(max_bytes)).unwrap();
    let track = cache.create_track(Instant::ZERO, b"track", 0, Limits::default()).unwrap();
    let group = cache.append_group(Instant::ZERO, track).unwrap();
    (cache, track, group)
}

/// One with frames for so many runs.
fn full(runs: usize) -> (Cache, TrackId) {
    let (mut cache, track, group) = one_group(1 << 30);
    for _ in 0..runs * 256 {
        cache.append(group, &FRAME).unwrap();
    }
    cache.finish_group(group).unwrap();
    (cache, track)
}

#[library_benchmark(setup = full, teardown = drop)]
#[bench::thousand(RUNS)]
fn next_run((mut cache, track): (Cache, TrackId)) -> Cache {
    let reader = cache.open_reader(track, Start::Oldest).unwrap();
    for _ in 0..RUNS {
        assert!(matches!(black_box(cache.next_run(reader)), Ok(Next::Held(_))));
    }
    cache
}

#[library_benchmark(setup = full, teardown = drop)]
#[bench::thousand(RUNS)]
fn run_at((cache, track): (Cache, TrackId)) -> Cache {
    let mut position = Position::new(0, 0);
    for _ in 0..RUNS {
        let run = cache.run_at(track, &mut position, black_box(usize::MAX));
        assert!(matches!(black_box(run), Ok(Next::Held(_))));
    }
    cache
}

#[library_benchmark(setup = one_group, teardown = drop)]
#[bench::roomy(1 << 30)]
fn append((mut cache, _, group): (Cache, TrackId, GroupId)) -> Cache {
    for _ in 0..FRAMES {
        cache.append(group, black_box(&FRAME)).unwrap();
    }
    cache
}

#[library_benchmark(setup = one_group, teardown = drop)]
#[bench::roomy(1 << 30)]
fn append_sealed((mut cache, track, group): (Cache, TrackId, GroupId)) -> Cache {
    let mut position = Position::new(0, 0);
    for _ in 0..FRAMES / BATCH {
        for _ in 0..BATCH {
            cache.append(group, black_box(&FRAME)).unwrap();
        }
        cache.seal(track).unwrap();
        let run = cache.run_at(track, &mut position, black_box(usize::MAX));
        assert!(matches!(black_box(run), Ok(Next::Held(_))));
    }
    cache
}

#[library_benchmark(setup = full, teardown = drop)]
#[bench::roomy(FRAMES / 256)]
fn next_frame((mut cache, track): (Cache, TrackId)) -> Cache {
    let reader = cache.open_reader(track, Start::Oldest).unwrap();
    for _ in 0..FRAMES {
        assert!(matches!(black_box(cache.next_frame(reader)), Ok(Next::Held(_))));
    }
    cache
}

#[library_benchmark(setup = full, teardown = drop)]
#[bench::roomy(FRAMES / 256)]
fn next_shared((mut cache, track): (Cache, TrackId)) -> Cache {
    let reader = cache.open_reader(track, Start::Oldest).unwrap();
    for _ in 0..FRAMES {
        assert!(matches!(black_box(cache.next_shared(reader)), Ok(Next::Held(_))));
    }
    cache
}

/// Readers at the live edge.
const READERS: usize = 8;

/// A cache with readers of its one group, who wait there.
fn at_edge(max_bytes: usize) -> (Cache, GroupId, Vec<ReaderId>) {
    let (mut cache, track, group) = one_group(max_bytes);
    let readers = (0..READERS).map(|_| cache.open_reader(track, Start::Live).unwrap());
    let readers: Vec<_> = readers.collect();
    for reader in &readers {
        assert_eq!(cache.next_frame(*reader), Ok(Next::Pending));
    }
    while cache.poll_command().is_some() {}
    (cache, group, readers)
}

// Each frame is read by each, owned, as soon as it is there.
#[library_benchmark(setup = at_edge, teardown = drop)]
#[bench::roomy(1 << 30)]
fn shared_at_edge((mut cache, group, readers): (Cache, GroupId, Vec<ReaderId>)) -> Cache {
    for _ in 0..FRAMES / READERS {
        cache.append(group, black_box(&FRAME)).unwrap();
        while cache.poll_command().is_some() {}
        for reader in &readers {
            assert!(matches!(black_box(cache.next_shared(*reader)), Ok(Next::Held(_))));
        }
    }
    cache
}

// Each frame wakes each, who reads until there is nothing more.
#[library_benchmark(setup = at_edge, teardown = drop)]
#[bench::roomy(1 << 30)]
fn woken((mut cache, group, readers): (Cache, GroupId, Vec<ReaderId>)) -> Cache {
    let mut woken = Vec::with_capacity(readers.len());
    for _ in 0..FRAMES / READERS {
        cache.append(group, black_box(&FRAME)).unwrap();
        while let Some(command) = cache.poll_command() {
            if let Command::Readable(reader) = command {
                woken.push(reader);
            }
        }
        assert_eq!(woken.len(), readers.len());
        for reader in woken.drain(..) {
            assert!(matches!(black_box(cache.next_frame(reader)), Ok(Next::Held(_))));
            assert!(matches!(black_box(cache.next_frame(reader)), Ok(Next::Pending)));
        }
    }
    cache
}

library_benchmark_group!(
    name = runs,
    benchmarks =
        [next_run, run_at, append, append_sealed, next_frame, next_shared, shared_at_edge, woken]
);

/// Prints what runs cost, and says whether every goal is reached.
pub(crate) fn print(counts: &Counts) -> Result<bool, String> {
    let run =
        |function: &str| Ok::<_, String>(instructions(counts, function, "thousand")? / RUNS as f64);
    let frame =
        |function: &str| Ok::<_, String>(instructions(counts, function, "roomy")? / FRAMES as f64);
    let (next_run, run_at) = (run("next_run")?, run("run_at")?);
    let (append, sealed) = (frame("append")?, frame("append_sealed")?);
    println!();
    println!("{:<32}{:>10}", "instructions, runs", "each");
    for (name, value) in [
        ("next_run of commit 9674f9d", NEXT_RUN_BEFORE),
        ("next_run", next_run),
        ("run_at", run_at),
        ("append", append),
        ("append, sealed and read by 32", sealed),
    ] {
        println!("{name:<32}{value:>10.1}");
    }
    let mut reached = true;
    println!();
    for (name, before) in FRAMES_BEFORE {
        reached &= goal(&format!("{name} / before"), frame(name)? / before, MAX_FRAME, 3);
    }
    let goals = [
        goal("run_at / next_run before", run_at / NEXT_RUN_BEFORE, MAX_RUN_AT, 3),
        goal("next_run / next_run before", next_run / NEXT_RUN_BEFORE, MAX_NEXT_RUN, 3),
        goal("append sealed / append", sealed / append, MAX_SEALED, 3),
    ];
    Ok(reached && goals.iter().all(|reached| *reached))
}
