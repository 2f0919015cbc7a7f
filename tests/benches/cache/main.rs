//! The cost of the cache by direct calls, beside a floor and beside the model of the crate `moq-net`,
//! and how much memory each takes. Ends with a failure when a goal is missed.
//!
//! `cargo bench -p gapless-benches --bench cache` prints one table. Frames have 64 bytes and groups 512
//! frames. The three take turns: in each of five rounds each does the same work many times over, the
//! median of those passes is its time in that round, and its ratio is to the floor's time in the same
//! round; the table has the medians of the five. Before them one round goes by uncounted.
//!
//! * **The floor** pushes clones of one `Bytes` onto a `VecDeque<Bytes>` that has room, and reads by
//!   index, cloning: an owned frame, as `moq-net` hands it out. Emptying it is not timed.
//! * **`gapless`** is one [`Cache`](gapless_core::cache::Cache) at its budget: every block that it takes
//!   was an evicted group's before. The budget is 1 MiB, so that it stays in the processor's caches as
//!   the floor does, but where a row says otherwise. After each write the commands are drained, within
//!   the time. Frames are written from a slice, and copied; payloads that are read are looked up and
//!   not looked into, as for the other two.
//! * **`moq-net`** is built as its own benchmark builds it: a fresh group of a fresh track in each pass,
//!   one payload that all frames share, and what it takes to make and to free these not timed.
//!
//! *Writing*: 512 frames into a group that was just created; creating and finishing it are timed in the
//! rows that say so, where `moq-net` is at a capacity of 1 MiB, too. *Reading*: each of 1, 8 or 64
//! readers reads the same finished group from its first frame to its last, one reader after another; a
//! *followed* group is one that a reader took frame by frame, by runs, while it was written.
//! *At the live edge*: a frame is written, and then read by each of 8 readers; a row with "waiting
//! readers" has each reader find nothing more first, be told, read, and find nothing more again.
//! Nanoseconds and allocations are those of a frame that is written; of a frame and a reader when reading;
//! of one frame written and read eight times at the live edge. Allocations are counted where the time is
//! taken; the counting costs `moq-net` a nanosecond or two in each.
//!
//! *Memory* is what the allocator was asked for: groups are written into a cache with room for all of
//! them, and the difference is divided. Each of `moq-net`'s frames has a payload of its own there, since
//! a shared one would be none at all.

mod floor;
mod memory;
mod ours;
mod peer;
mod rounds;

use std::process::ExitCode;

use gapless_tests::alloc::Counting;
use rounds::{Contender, Section};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes of a frame.
const SIZE: usize = 64;
/// Frames of a group.
const FRAMES: usize = 512;
/// Readers at the live edge.
const EDGE: usize = 8;
/// The budget that stays in the processor's caches, and one that does not.
const HOT: usize = 1 << 20;
const COLD: usize = 256 << 20;

/// The bounds, as multiples of the floor.
const MAX_WRITE: f64 = 1.5;
const MAX_READ: f64 = 1.2;
const MAX_RUNS: f64 = 0.3;
const MAX_EDGE: f64 = 1.8;

fn main() -> ExitCode {
    println!(
        "{:<48}{:>9}{:>10}{:>13}",
        "groups of 512 frames of 64 bytes", "ns", "× floor", "allocations"
    );
    let mut reached = write().print();
    for readers in [1, 8, 64] {
        reached &= read(readers).print();
    }
    reached &= live_edge().print();
    memory::print();
    if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn write() -> Section {
    Section {
        title: "writing a frame".to_owned(),
        steps: FRAMES,
        contenders: vec![
            Contender::new("floor", floor::Write::new()),
            Contender::with_goal("gapless", ours::Write::new(HOT), MAX_WRITE),
            Contender::new("gapless, groups and all", ours::WriteGroups::new(HOT)),
            Contender::new("gapless, groups and all, of 256 MiB", ours::WriteGroups::new(COLD)),
            Contender::new("moq-net", peer::Write::new()),
            Contender::new("moq-net, batches of 32", peer::WriteBatches::new()),
            Contender::new("moq-net, groups and all", peer::WriteGroups::new(HOT)),
        ],
    }
}

fn read(readers: usize) -> Section {
    let ours = |read| ours::Read::new(readers, read);
    let followed = ours::Read::followed(readers, ours::walked_runs);
    let peer = |read| peer::Read::new(readers, read);
    Section {
        title: format!("reading a frame, readers: {readers}"),
        steps: FRAMES * readers,
        contenders: vec![
            Contender::new("floor", floor::Read::new(readers)),
            Contender::with_goal("gapless, borrowed", ours(ours::frames), MAX_READ),
            Contender::new("gapless, owned", ours(ours::shared_frames)),
            Contender::with_goal("gapless, runs", ours(ours::runs), MAX_RUNS),
            Contender::with_goal(
                "gapless, runs and their boundaries",
                ours(ours::walked_runs),
                MAX_RUNS,
            ),
            Contender::with_goal("gapless, runs of a followed group", followed, MAX_RUNS),
            Contender::new("gapless, frames owned out of runs", ours(ours::frames_of_runs)),
            Contender::new("moq-net", peer(peer::frames)),
            Contender::new("moq-net, batches of 32", peer(peer::batches)),
        ],
    }
}

fn live_edge() -> Section {
    Section {
        title: format!("writing and reading a frame, readers: {EDGE}"),
        steps: FRAMES,
        contenders: vec![
            Contender::new("floor", floor::Edge::new()),
            Contender::with_goal("gapless, borrowed", ours::Edge::new(ours::frame), MAX_EDGE),
            Contender::new("gapless, owned", ours::Edge::new(ours::shared_frame)),
            Contender::new("gapless, waiting readers, borrowed", ours::Waiting::new()),
            Contender::new("moq-net", peer::Edge::new()),
            Contender::new("moq-net, waiting readers", peer::Waiting::new()),
        ],
    }
}
