//! A machine does not ask more often than it may.

use gapless_core::{Duration, Instant};

use super::Checker;
use crate::sim::ledger::Ledger;
use crate::sim::trace::Fact;

/// *Quiet*: at every instant since a machine was made, requests ≤ useful answers +
/// (elapsed / timeout + 1) × window. Every place in the window is taken by a request until that is
/// answered with something new, or for `timeout` at least.
#[derive(Clone, Copy, Debug)]
pub struct Quiet {
    timeout: Duration,
    window: u64,
    born: Instant,
    useful: u64,
    asked: u64,
}

impl Quiet {
    /// With the least time that a request waits for its answer, and the most requests under way to
    /// all servers together.
    #[must_use]
    pub const fn new(timeout: Duration, window: u64) -> Self {
        Self { timeout, window, born: Instant::ZERO, useful: 0, asked: 0 }
    }
}

impl Checker for Quiet {
    fn check(&mut self, now: Instant, fact: &Fact, _: &Ledger) {
        match *fact {
            Fact::Born { .. } => *self = Self { born: now, ..Self::new(self.timeout, self.window) },
            Fact::Useful => self.useful += 1,
            Fact::Requested { .. } => {
                self.asked += 1;
                let timeouts = now.since(self.born).as_nanos() / self.timeout.as_nanos() + 1;
                let most = u128::from(self.useful) + timeouts * u128::from(self.window);
                assert!(u128::from(self.asked) <= most, "{} requests, at most {most}", self.asked);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::started;

    /// Asks at times in milliseconds, four to begin with; what is asked for at zero is answered so
    /// often. At most two requests are under way, each for at least ten milliseconds.
    fn requests(times: &[u64], useful: usize) {
        let (mut trace, session) = started(Quiet::new(Duration::from_millis(10), 2));
        trace.record(Instant::ZERO, Fact::Born { resumes: None });
        (0..useful).for_each(|_| trace.record(Instant::ZERO, Fact::Useful));
        for &time in times {
            let requested = Fact::Requested { server: 0, session, first: 1, count: 1 };
            trace.record(Instant::from_millis(time), requested);
        }
    }

    #[test]
    fn a_window_of_requests_each_timeout_and_one_for_each_useful_answer_may_be_sent() {
        requests(&[0, 0, 0, 10, 10], 1);
    }

    #[test]
    #[should_panic(expected = "3 requests, at most 2")]
    fn a_request_beyond_the_window_is_noticed() {
        requests(&[0, 0, 9], 0);
    }
}
