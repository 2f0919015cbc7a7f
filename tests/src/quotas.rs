//! What servers are asked for, counted in sliding windows: an oracle of quotas that knows no buckets.

use std::collections::VecDeque;

use gapless_core::receiver::{Quota, QuotaUnit, ServerId, ServerStats};
use gapless_core::{Duration, Instant};

/// The requests of the longest window.
#[derive(Clone, Debug, Default)]
pub struct Rations {
    quotas: Vec<Quota>,
    asked: VecDeque<(Instant, ServerId, u16)>,
}

impl Rations {
    /// Nothing was asked yet.
    #[must_use]
    pub fn new(quotas: &[Quota]) -> Self {
        Self { quotas: quotas.to_vec(), asked: VecDeque::new() }
    }

    /// A server is asked for so many messages.
    ///
    /// # Panics
    /// When a window that ends now has more than a quota allows.
    pub fn ask(&mut self, now: Instant, server: ServerId, messages: u16) {
        let Some(longest) = self.quotas.iter().map(|quota| quota.window).max() else { return };
        self.asked.push_back((now, server, messages));
        while self.asked.front().is_some_and(|(at, ..)| now.since(*at) > most(longest)) {
            self.asked.pop_front();
        }
        for &quota in &self.quotas {
            let used = self.used(now, server, quota, quota.window);
            assert!(used <= quota.most, "{used} of {quota:?} by {server} at {now:?}");
        }
    }

    /// How much of a quota a server was asked within a window that ends now.
    fn used(&self, now: Instant, server: ServerId, quota: Quota, window: Duration) -> u64 {
        let asked = self.asked.iter().filter(|(_, of, _)| *of == server);
        let within = asked.filter(|(at, ..)| now.since(*at) <= window);
        within.map(|(.., messages)| count(quota, *messages)).sum()
    }

    /// Whether a quota may hold a server back.
    #[must_use]
    pub fn may_hold_back(&self, now: Instant, server: ServerId) -> bool {
        let is_used_up =
            |quota: &Quota| self.used(now, server, *quota, most(quota.window)) >= quota.most;
        self.quotas.iter().any(is_used_up)
    }

    /// Checks what a receiver says that is left.
    ///
    /// # Panics
    /// When it is more than the quotas allow, or less than with a window that is longer by its steps.
    pub fn check_left(&self, now: Instant, server: ServerId, stats: &ServerStats) {
        for (unit, left) in
            [(QuotaUnit::Requests, stats.requests_left), (QuotaUnit::Messages, stats.messages_left)]
        {
            let quotas = || self.quotas.iter().filter(move |quota| quota.unit == unit);
            let by = |longer: bool| {
                let window = |window| if longer { most(window) } else { window };
                let used = |quota: &Quota| self.used(now, server, *quota, window(quota.window));
                quotas().map(|quota| quota.most.saturating_sub(used(quota))).min()
            };
            let is_right = by(true) <= left && left <= by(false);
            assert!(is_right, "{left:?} left of {unit:?} by {server} at {now:?}");
        }
    }
}

/// A window with the longest step that a receiver counts in.
fn most(window: Duration) -> Duration {
    window + window / 62 + Duration::from_nanos(1)
}

/// What a request for so many messages takes of a quota.
fn count(quota: Quota, messages: u16) -> u64 {
    match quota.unit {
        QuotaUnit::Requests => 1,
        QuotaUnit::Messages => messages.into(),
    }
}
