//! Properties that hold whatever the network does, each stated once as a checker over the facts of a
//! node. They know no machine: a node of any kind that records its facts can be watched by them.

mod exactly_once;
mod gaps;
mod memory;
mod nothing_silent;
mod progress;
mod quiet;
mod rationed;

pub use exactly_once::ExactlyOnce;
pub use gaps::GapsAddUp;
pub use memory::MemoryBound;
pub use nothing_silent::NothingSilent;
pub use progress::Progress;
pub use quiet::Quiet;
pub use rationed::Rationed;

use std::fmt;

use gapless_core::{Instant, Session};

use super::ledger::{Account, Ledger};
use super::trace::Fact;

/// Watches over one property.
pub trait Checker: fmt::Debug {
    /// Takes the next fact; `before` is how things stood before it.
    ///
    /// # Panics
    /// When the property is broken.
    fn check(&mut self, now: Instant, fact: &Fact, before: &Ledger);

    /// Takes what a message says that is about to be reported as delivered.
    ///
    /// # Panics
    /// When the property is broken.
    fn check_message(&mut self, _session: Session, _number: u64, _message: &[u8]) {}
}

/// The account of a session that a node speaks of.
fn account(ledger: &Ledger, session: Session) -> &Account {
    let account = ledger.accounts.get(&session);
    account.unwrap_or_else(|| panic!("something of {session}, which did not start"))
}

/// For the tests of checkers: a trace that one of them watches, with a session that started.
#[cfg(test)]
fn started(checker: impl Checker + 'static) -> (super::trace::Trace, Session) {
    let mut trace = super::trace::Trace::new(vec![Box::new(checker)]);
    let session = super::session("CHECKED");
    trace.record(Instant::ZERO, Fact::Started { session, next: 1 });
    (trace, session)
}
