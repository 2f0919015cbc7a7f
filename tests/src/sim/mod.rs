//! A simulated network with a virtual clock: machines run in it for minutes within milliseconds, and
//! one seed decides everything that happens.
//!
//! A [`World`] holds nodes, the paths between them and one queue ordered by time. Nodes of a feed are
//! a [`Feed`] (its lines), [`Server`]s and a [`Listener`] (the receiver with its checks); a
//! [`Setup`] puts them together. [`seeds`] runs a plan once per seed and prints how to repeat a
//! failure.

mod feed;
mod ledger;
mod listener;
mod netsim;
mod passage;
mod path;
mod program;
mod random;
mod server;
mod setup;
mod station;
mod stranger;
mod world;

pub use feed::{Feed, Line};
pub use ledger::{Account, Ledger};
pub use listener::{Listener, Way};
pub use netsim::{Cell, Measured};
pub use path::{Bandwidth, Chance, Path};
pub use program::{Ending, Message, Program, SessionPlan, message};
pub use random::Random;
pub use server::{Server, ServerPlan};
pub use setup::{
    Setup, Stage, feed_address, line_address, listener_address, server_address, session,
};
pub use station::{Schedule, Station};
pub use stranger::Stranger;
pub use world::{Node, NodeId, Outbox, State, World};

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs a plan once for each seed: for those below `GAPLESS_SEEDS` (12 unless told), or only for
/// `GAPLESS_SEED`. A failure prints the command that repeats it.
///
/// # Panics
/// When the plan does, and when a variable holds no number.
pub fn seeds<F: Fn(&mut Random)>(plan: F) {
    let number = |name: &str| {
        std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number of seeds"))
    };
    let seeds = match number("GAPLESS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("GAPLESS_SEEDS").unwrap_or(12),
    };
    for seed in seeds {
        let run = AssertUnwindSafe(|| plan(&mut Random::new(seed)));
        if let Err(panic) = catch_unwind(run) {
            let name = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
            let (binary, test) = name.split_once("::").unwrap_or((name, ""));
            eprintln!(
                "to repeat: GAPLESS_SEED={seed} cargo test -p gapless-tests --test {binary} {test}"
            );
            resume_unwind(panic);
        }
    }
}
