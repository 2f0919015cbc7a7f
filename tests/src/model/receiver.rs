//! What must be true of a `Receiver`, on random cases.
//!
//! A [`Case`] is a small configuration and what happens: lines that lose, double, reorder and repack,
//! servers that answer well or badly, forged packets, time. [`play`] plays it, lets an oracle judge
//! every word that the receiver says, stops all loss at the end where that must lead to completeness,
//! and then does the same steps again in other ways that must say the same.

mod case;
pub mod feed;
mod numbers;
mod oracle;
mod run;
mod trace;
mod track;

pub use case::{Case, World};

use gapless_core::Machine;
use gapless_core::receiver::{Command, Receiver};

use run::Run;
use trace::{Ledger, Said, Step};

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
    the_same_events_give_the_same_commands(case, &run);
    calls_deliver_what_events_deliver(case, &run);
    run.check_undrained();
}

fn the_same_events_give_the_same_commands(case: &Case, run: &Run<'_>) {
    let mut receiver = Receiver::new(case.config.clone()).expect("a valid configuration");
    for (now, step, said) in &run.steps {
        let again = case.way.take(&mut receiver, &mut Ledger::default(), *now, step);
        assert_eq!(again, *said, "said again at {now:?} to {step}");
    }
}

/// Deliveries, and everything else, are the same in the same order; which of both comes first to one
/// datagram is not. Where memory is short the ways differ, for calls copy what events keep by
/// reference; and where a timeout was missed, which calls that have nothing else to do leave alone.
/// Calls take a copy for one without walking over it, so a broken one keeps its line up.
fn calls_deliver_what_events_deliver(case: &Case, run: &Run<'_>) {
    if !case.is_roomy() {
        return;
    }
    let mut receiver = Receiver::new(case.config.clone()).expect("a valid configuration");
    let mut timeout = None;
    for (now, step, said) in &run.steps {
        if matches!(step, Step::Datagram { .. }) && timeout.is_some_and(|timeout| timeout <= *now) {
            return;
        }
        timeout = said.timeout;
        let other = case.way.other().take(&mut receiver, &mut Ledger::default(), *now, step);
        let (one, other) = (batches_first(said), batches_first(&other));
        let mut both = (0..one.len().max(other.len())).map(|at| (one.get(at), other.get(at)));
        let differs = both.find(|(one, other)| one != other);
        assert_eq!(differs, None, "by {:?} and the other way, at {now:?} {step}", case.way);
    }
}

fn batches_first(said: &Said) -> Vec<&Command> {
    let is_batch = |command: &&Command| matches!(command, Command::Batch(_));
    let is_line = |command: &&Command| matches!(command, Command::LineUp(_) | Command::LineDown(_));
    let others = said.commands.iter().filter(|command| !is_batch(command) && !is_line(command));
    said.commands.iter().filter(is_batch).chain(others).collect()
}
