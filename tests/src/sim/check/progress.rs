//! Every gap that can be repaired is repaired soon.

use std::collections::VecDeque;

use gapless_core::{Duration, Instant, Session};

use super::Checker;
use crate::sim::ledger::Ledger;
use crate::sim::trace::Fact;

/// *Progress*: once nothing goes wrong any more ([`Fact::Mended`]), everything that is known to exist
/// is settled within a patience: twice the capped backoff and a round trip, and the delay before
/// something counts as missing. For plans in which everything can be repaired.
#[derive(Clone, Debug)]
pub struct Progress {
    patience: Duration,
    /// Whether each answer that brings something buys as much time again.
    step_by_step: bool,
    mended: bool,
    last_useful: Instant,
    /// The highest number known of each session by a time, by which it must be settled.
    due: VecDeque<(Instant, Session, u64)>,
}

impl Progress {
    /// Everything is settled within a patience, however much it is.
    #[must_use]
    pub fn within(patience: Duration) -> Self {
        let (last_useful, due) = (Instant::ZERO, VecDeque::new());
        Self { patience, step_by_step: false, mended: false, last_useful, due }
    }

    /// While something is missing, a useful answer comes within every patience: for plans in which
    /// so much is missing that the windows and the links bound how fast it can come.
    #[must_use]
    pub fn step_by_step(patience: Duration) -> Self {
        Self { step_by_step: true, ..Self::within(patience) }
    }

    fn expects(&mut self, now: Instant, session: Session, last: u64) {
        let known = self.due.iter().any(|&(_, of, known)| of == session && known >= last);
        if self.mended && !known {
            self.due.push_back((now + self.patience, session, last));
        }
    }

    /// Numbers that are due by now are settled.
    fn assert_settled(&mut self, now: Instant, before: &Ledger) {
        while let Some(&(due, session, last)) = self.due.front().filter(|(due, ..)| *due < now) {
            let account = before.accounts.get(&session);
            let missing = account.filter(|account| account.ended.is_none() && account.next <= last);
            if let Some(account) = missing {
                let due =
                    if self.step_by_step { due.max(self.last_useful + self.patience) } else { due };
                let next = account.next;
                assert!(now <= due, "{session} is stuck at {next} of {last} since {due:?}");
                return;
            }
            self.due.pop_front();
        }
    }
}

impl Checker for Progress {
    fn check(&mut self, now: Instant, fact: &Fact, before: &Ledger) {
        self.assert_settled(now, before);
        match *fact {
            Fact::Born { .. } => self.due.clear(),
            Fact::Mended => {
                self.mended = true;
                for &session in before.accounts.keys() {
                    self.expects(now, session, before.highest_known(session));
                }
            }
            Fact::Heard { session, last, answer: false, .. } | Fact::Revealed { session, last } => {
                self.expects(now, session, last);
            }
            Fact::Useful => self.last_useful = now,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::started;

    /// Message 3 is heard, the network is mended at once, a useful answer comes after 8 ms, and 1 to
    /// 3 are settled at a time in milliseconds.
    fn settles(progress: Progress, at: u64) {
        let (mut trace, session) = started(progress);
        trace.record(Instant::ZERO, Fact::Heard { session, first: 3, last: 3, answer: false });
        trace.record(Instant::ZERO, Fact::Mended);
        trace.record(Instant::from_millis(8), Fact::Useful);
        trace.record(Instant::from_millis(at), Fact::Lost { session, first: 1, last: 3 });
        trace.record(Instant::MAX, Fact::Over);
    }

    const PATIENCE: Duration = Duration::from_millis(10);

    #[test]
    fn what_is_settled_within_the_patience_passes() {
        settles(Progress::within(PATIENCE), 10);
    }

    #[test]
    #[should_panic(expected = "stuck at 1 of 3")]
    fn what_is_settled_later_is_noticed() {
        settles(Progress::within(PATIENCE), 11);
    }

    #[test]
    fn a_useful_answer_buys_time_where_much_is_missing() {
        settles(Progress::step_by_step(PATIENCE), 18);
    }

    #[test]
    #[should_panic(expected = "stuck at 1 of 3")]
    fn no_useful_answer_for_the_patience_is_noticed() {
        settles(Progress::step_by_step(PATIENCE), 19);
    }
}
