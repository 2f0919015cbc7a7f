//! Properties of a `Receiver`, on random cases.
//!
//! A [`Case`] is a small configuration and what happens: lines that lose, double, reorder and repack,
//! servers that answer well or badly, forged packets, time. [`play`] plays it, lets an oracle judge
//! every word that the receiver says, does the same steps in other ways that must say the same, and
//! stops all loss at the end where that must lead to completeness.

mod case;
pub mod feed;
mod known;
mod oracle;
mod run;
mod trace;
mod track;
mod twins;

pub use case::{Case, World};

use run::Run;

/// Plays a case.
///
/// `watches_memory` compares what the receiver says of its memory with the counting allocator, which
/// the program must have installed.
///
/// # Panics
/// The receiver said what it must not.
pub fn play(case: &Case, watches_memory: bool) {
    let mut run = Run::new(case, watches_memory);
    for op in &case.ops {
        run.op(op);
    }
    run.finish();
    run.check_undrained();
    run.replay();
}
