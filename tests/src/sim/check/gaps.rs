//! Gaps are reported as they open and close.

use gapless_core::Instant;

use super::{Checker, account};
use crate::sim::ledger::Ledger;
use crate::sim::trace::Fact;

/// *Gaps add up*: a gap opens over what is not settled, in a session that did not end; what is told
/// as filled was reported as open before, and at least as many messages arrived for it as it holds.
#[derive(Clone, Copy, Debug)]
pub struct GapsAddUp;

impl Checker for GapsAddUp {
    fn check(&mut self, _: Instant, fact: &Fact, before: &Ledger) {
        match *fact {
            Fact::GapOpened { session, first, last } => {
                let account = account(before, session);
                assert!(first <= last && account.ended.is_none(), "{fact:?}");
                assert!(first >= account.next, "{fact:?} before what is next");
            }
            Fact::GapFilled { session, first, last, brought } => {
                let opened = account(before, session).gaps.get(&first);
                assert!(opened.is_some_and(|&opened| opened >= last), "{fact:?}, never opened");
                // Messages that were evicted for want of memory were brought too, and dropped.
                assert!(brought > last - first, "{fact:?} by whom?");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::started;

    /// A gap from 3 to 5 opens, and something is reported as filled.
    fn fills(first: u64, last: u64, brought: u64) {
        let (mut trace, session) = started(GapsAddUp);
        trace.record(Instant::ZERO, Fact::GapOpened { session, first: 3, last: 5 });
        trace.record(Instant::ZERO, Fact::GapFilled { session, first, last, brought });
        assert!(trace.ledger.accounts[&session].gaps.is_empty());
    }

    #[test]
    fn a_gap_that_opened_may_be_filled() {
        fills(3, 5, 3);
    }

    #[test]
    #[should_panic(expected = "never opened")]
    fn a_gap_that_nobody_opened_is_noticed() {
        fills(4, 5, 2);
    }

    #[test]
    #[should_panic(expected = "by whom")]
    fn a_gap_filled_by_too_few_messages_is_noticed() {
        fills(3, 5, 2);
    }
}
