//! How fast messages leave: a few at a time, evenly, as many a second as wanted.

use std::time::Duration;

/// Counts what may leave. Time is given by its user, as a duration since some origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    each_second: u64,
    /// Where counting began; moved forward when time was lost, so that what was late is not made up
    /// for at once.
    origin: Duration,
    taken: u64,
}

impl Pace {
    /// Sleeping for less is not worth it: what falls due meanwhile leaves together.
    const QUANTUM: Duration = Duration::from_micros(500);
    /// A delay beyond this is not made up for.
    const BACKLOG: Duration = Duration::from_millis(10);

    /// `each_second` from `now` on.
    pub(crate) fn new(each_second: u64, now: Duration) -> Self {
        Self { each_second: each_second.max(1), origin: now, taken: 0 }
    }

    /// How many may leave now.
    pub(crate) fn due(&mut self, now: Duration) -> u64 {
        let late = now.saturating_sub(self.time(self.taken));
        if late > Self::BACKLOG {
            self.origin += late - Self::BACKLOG;
        }
        let elapsed = now.saturating_sub(self.origin).as_nanos();
        let allowed = elapsed * u128::from(self.each_second) / 1_000_000_000 + 1;
        u64::try_from(allowed).unwrap_or(u64::MAX).saturating_sub(self.taken)
    }

    /// Takes `count` off.
    pub(crate) fn take(&mut self, count: u64) {
        self.taken += count;
    }

    /// How long to wait until more are worth a look.
    pub(crate) fn wait(&self, now: Duration) -> Duration {
        let next = self.time(self.taken).saturating_sub(now);
        if next.is_zero() { next } else { next.max(Self::QUANTUM) }
    }

    /// When number `index`, from 0, may leave.
    fn time(&self, index: u64) -> Duration {
        let nanos = u128::from(index) * 1_000_000_000 / u128::from(self.each_second);
        self.origin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many leave within `time`, when it is asked for every `step`.
    fn leaving(each_second: u64, time: Duration, step: Duration) -> u64 {
        let mut pace = Pace::new(each_second, Duration::ZERO);
        let (mut now, mut left) = (Duration::ZERO, 0);
        while now < time {
            let due = pace.due(now);
            pace.take(due);
            left += due;
            now += step;
        }
        left
    }

    #[test]
    fn as_many_leave_as_wanted() {
        for each_second in [1, 3, 1_000, 500_000] {
            let left = leaving(each_second, Duration::from_secs(10), Duration::from_micros(250));
            assert!(left.abs_diff(10 * each_second) <= each_second / 1_000 + 1, "{left}");
        }
    }

    #[test]
    fn the_first_leaves_at_once() {
        assert_eq!(Pace::new(1, Duration::ZERO).due(Duration::ZERO), 1);
    }

    #[test]
    fn what_was_late_for_long_is_not_made_up_for() {
        let mut pace = Pace::new(1_000, Duration::ZERO);
        assert_eq!(pace.due(Duration::from_secs(60)), 11);
    }

    #[test]
    fn it_waits_until_the_next_may_leave() {
        let mut pace = Pace::new(10, Duration::ZERO);
        let due = pace.due(Duration::ZERO);
        pace.take(due);
        assert_eq!(pace.wait(Duration::from_millis(40)), Duration::from_millis(60));
    }

    #[test]
    fn it_does_not_wait_for_less_than_is_worth_it() {
        let mut pace = Pace::new(1_000_000, Duration::ZERO);
        let due = pace.due(Duration::ZERO);
        pace.take(due);
        assert_eq!(pace.wait(Duration::ZERO), Pace::QUANTUM);
    }
}
