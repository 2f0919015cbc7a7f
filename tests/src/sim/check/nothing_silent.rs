//! Every message that is not delivered is reported.

use gapless_core::Instant;

use super::{Checker, account};
use crate::sim::ledger::Ledger;
use crate::sim::trace::Fact;

/// *Nothing silently lost*: when a session ends, every number from where it started was delivered,
/// reported as lost, or renounced; a session ends once.
#[derive(Clone, Copy, Debug)]
pub struct NothingSilent;

impl Checker for NothingSilent {
    fn check(&mut self, _: Instant, fact: &Fact, before: &Ledger) {
        if let Fact::Ended { session, next } = *fact {
            let account = account(before, session);
            assert_eq!(account.next, next, "{session} ended before everything was settled");
            assert!(account.ended.is_none(), "{session} ended twice");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::started;

    #[test]
    #[should_panic(expected = "ended before everything was settled")]
    fn a_session_that_ends_past_a_hole_is_noticed() {
        let (mut trace, session) = started(NothingSilent);
        trace.record(Instant::ZERO, Fact::Lost { session, first: 1, last: 3 });
        trace.record(Instant::ZERO, Fact::Ended { session, next: 5 });
    }

    #[test]
    fn a_session_of_which_everything_was_reported_may_end() {
        let (mut trace, session) = started(NothingSilent);
        trace.record(Instant::ZERO, Fact::Lost { session, first: 1, last: 3 });
        trace.record(Instant::ZERO, Fact::Ended { session, next: 4 });
        assert!(trace.ledger.ended(session));
    }
}
