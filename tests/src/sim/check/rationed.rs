//! No server is asked for more than its quotas allow.

use gapless_core::Instant;
use gapless_core::receiver::{Quota, ServerId};

use super::Checker;
use crate::quotas::Rations;
use crate::sim::ledger::Ledger;
use crate::sim::trace::Fact;

/// *Rationed*: no window of a quota's length has more than that allows, however often machines are made anew.
#[derive(Clone, Debug)]
pub struct Rationed(Rations);

impl Rationed {
    /// With the quotas of each server.
    #[must_use]
    pub fn new(quotas: &[Quota]) -> Self {
        Self(Rations::new(quotas))
    }
}

impl Checker for Rationed {
    fn check(&mut self, now: Instant, fact: &Fact, _: &Ledger) {
        if let Fact::Requested { server, count, .. } = *fact {
            self.0.ask(now, ServerId(server), count);
        }
    }
}

#[cfg(test)]
mod tests {
    use gapless_core::Duration;
    use gapless_core::receiver::QuotaUnit;

    use super::*;
    use crate::sim::check::started;

    /// Asks for five messages at times in milliseconds; ten are allowed in ten milliseconds.
    fn requests(times: &[u64]) {
        let window = Duration::from_millis(10);
        let quota = Quota { unit: QuotaUnit::Messages, most: 10, window };
        let (mut trace, session) = started(Rationed::new(&[quota]));
        for &time in times {
            let requested = Fact::Requested { server: 0, session, first: 1, count: 5 };
            trace.record(Instant::from_millis(time), requested);
            trace.record(Instant::from_millis(time), Fact::Born { resumes: None });
        }
    }

    #[test]
    fn as_much_as_is_allowed_may_be_asked_for() {
        requests(&[0, 9, 11, 20]);
    }

    #[test]
    #[should_panic(expected = "15 of Quota")]
    fn what_is_too_much_in_any_window_is_noticed() {
        requests(&[0, 9, 11, 18]);
    }
}
