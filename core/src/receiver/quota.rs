//! The quotas of venues: how often, and for how many messages, each server may be asked within a window.
//!
//! A window is a ring of buckets of equal length. It counts all buckets that it touches, so what it holds back is never
//! less than any sliding window would. What was used outlives a server's removal, and a receiver's end: it is part of
//! the checkpoint.

use alloc::vec::Vec;

use super::config::{Config, Error};
use super::event::ServerId;
use crate::limits::within;
use crate::storage::charge::{Measure, charged};
use crate::time::nanos;
use crate::{Duration, Instant};

/// The buckets of a window.
const BUCKETS: u64 = 64;
/// The servers that there can be.
const SERVERS: usize = ServerId::MAX.0 as usize + 1;

/// The unit that a quota counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum QuotaUnit {
    /// Requests.
    Requests,
    /// Messages that are asked for, each as often as it is.
    Messages,
}

/// A limit on what each server is asked for: at most so much in any window of a length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Quota {
    /// The unit that it counts.
    pub unit: QuotaUnit,
    /// The most within a window. From 1.
    pub most: u64,
    /// The length of the window. Positive. It counts in steps of a 63rd, so that what was asked counts up to a 63rd
    /// longer.
    pub window: Duration,
}

impl Quota {
    /// The most quotas of a configuration.
    pub const MAX: usize = 4;
}

/// The use of a quota: a part of a [`Checkpoint`](super::Checkpoint).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct QuotaUse {
    /// The server that was asked.
    pub server: ServerId,
    /// The unit of the quota.
    pub unit: QuotaUnit,
    /// The length of its window.
    pub window: Duration,
    /// How much was asked.
    pub count: u64,
    /// How long ago, at least. Whoever keeps a checkpoint adds how long it was kept.
    pub age: Duration,
}

impl QuotaUse {
    /// The most uses of a checkpoint.
    pub const MAX: usize = SERVERS * Quota::MAX * BUCKETS as usize;
}

impl Config {
    /// Checks the quotas, and what was used of them.
    pub(super) fn check_quotas(&self) -> Result<(), Error> {
        within("quotas", self.quotas.len() as u64, 0..=Quota::MAX as u64, "at most 4")?;
        for quota in &self.quotas {
            within("most of a quota", quota.most, 1..=u64::MAX, "from 1")?;
            within("window of a quota", nanos(quota.window), 1..=u64::MAX, "positive")?;
        }
        within("used", self.used.len() as u64, 0..=QuotaUse::MAX as u64, "at most 8,192")?;
        self.used.iter().try_for_each(|used| used.server.check())
    }

    /// The use of a quota for a server: by the window of the same length, or else by the next longer one.
    fn used_of(&self, server: ServerId, quota: Quota) -> impl Iterator<Item = &QuotaUse> {
        let used = self.used.iter();
        let used = used.filter(move |used| used.server == server && used.unit == quota.unit);
        let distance = |window: &Duration| (*window < quota.window, window.abs_diff(quota.window));
        let window = used.clone().map(|used| used.window).min_by_key(distance);
        used.filter(move |used| Some(used.window) == window)
    }
}

/// The use of a quota for a server.
#[derive(Clone, Debug)]
struct Window {
    quota: Quota,
    /// Nanoseconds of a bucket.
    width: u64,
    counts: [u64; BUCKETS as usize],
    /// The number of the newest bucket; that of the first event is `BUCKETS - 1`.
    newest: u64,
}

impl Window {
    fn new(quota: Quota) -> Self {
        let width = nanos(quota.window).div_ceil(BUCKETS - 1);
        Self { quota, width, counts: [0; BUCKETS as usize], newest: BUCKETS - 1 }
    }

    const fn slot(bucket: u64) -> usize {
        (bucket % BUCKETS) as usize
    }

    /// The bucket at a time after the first event.
    const fn bucket(&self, since: Duration) -> u64 {
        (nanos(since) / self.width).saturating_add(BUCKETS - 1)
    }

    /// When a bucket begins, after the first event.
    const fn begins(&self, bucket: u64) -> Duration {
        Duration::from_nanos((bucket - (BUCKETS - 1)).saturating_mul(self.width))
    }

    /// The buckets that count at a time, each with its count; the oldest first.
    fn counted(&self, since: Duration) -> impl Iterator<Item = (u64, u64)> {
        let first = self.bucket(since).saturating_sub(BUCKETS - 1);
        (first..=self.newest).map(|bucket| (bucket, self.counts[Self::slot(bucket)]))
    }

    /// How much is left.
    fn left(&self, since: Duration) -> u64 {
        let used = self.counted(since).fold(0, |used: u64, (_, count)| used.saturating_add(count));
        self.quota.most.saturating_sub(used)
    }

    /// When something is left again, after the first event.
    fn free_at(&self, since: Duration) -> Option<Duration> {
        let used = self.counted(since).fold(0, |used: u64, (_, count)| used.saturating_add(count));
        let mut excess = (used.checked_sub(self.quota.most)?).saturating_add(1);
        let (freed, _) = self.counted(since).find(|(_, count)| {
            excess = excess.saturating_sub(*count);
            excess == 0
        })?;
        Some(self.begins(freed.saturating_add(BUCKETS)))
    }

    fn take(&mut self, since: Duration, count: u64) {
        let bucket = self.bucket(since);
        let until = bucket.min(self.newest.saturating_add(BUCKETS));
        (self.newest..until).for_each(|before| self.counts[Self::slot(before + 1)] = 0);
        self.newest = self.newest.max(bucket);
        let counted = &mut self.counts[Self::slot(self.newest)];
        *counted = counted.saturating_add(count);
    }

    /// Counts what was used before the first event.
    fn restore(&mut self, used: &QuotaUse) {
        let ago = nanos(used.age).div_ceil(self.width);
        if let Some(bucket) = (BUCKETS - 1).checked_sub(ago) {
            let counted = &mut self.counts[Self::slot(bucket)];
            *counted = counted.saturating_add(used.count);
        }
    }
}

charged!(Quota = 32, QuotaUse = 48, Window = 560);

/// The use of each quota for each server.
#[derive(Debug)]
pub(super) struct Quotas {
    windows: Vec<Window>,
    /// How many windows a server has.
    each: usize,
    /// When the first event came.
    begins: Option<Instant>,
}

impl Quotas {
    /// Returns true if there are none.
    pub(super) const fn is_empty(&self) -> bool {
        self.each == 0
    }

    /// The bytes of the tables of so many quotas.
    pub(super) const fn table_bytes(quotas: usize, measure: Measure) -> usize {
        measure.of::<Window>(quotas.saturating_mul(SERVERS))
    }

    pub(super) fn new(config: &Config) -> Self {
        let each = config.quotas.len();
        let mut windows = Vec::with_capacity(each * SERVERS);
        for server in (0..=ServerId::MAX.0).map(ServerId) {
            for &quota in &config.quotas {
                let mut window = Window::new(quota);
                config.used_of(server, quota).for_each(|used| window.restore(used));
                windows.push(window);
            }
        }
        Self { windows, each, begins: None }
    }

    /// Time begins, with the first event.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begins.get_or_insert(now);
    }

    fn since(&self, now: Instant) -> Duration {
        self.begins.map_or(Duration::ZERO, |begins| now.since(begins))
    }

    fn of(&self, server: ServerId) -> impl Iterator<Item = &Window> {
        self.windows.iter().skip(self.each * usize::from(server.0)).take(self.each)
    }

    /// The rest of a unit for a server: `None` where no quota counts it.
    pub(super) fn left(&self, now: Instant, server: ServerId, unit: QuotaUnit) -> Option<u64> {
        let since = self.since(now);
        let windows = self.of(server).filter(|window| window.quota.unit == unit);
        windows.map(|window| window.left(since)).min()
    }

    /// For how many messages a server may be asked in one request.
    pub(super) fn most(&self, now: Instant, server: ServerId) -> u64 {
        match self.left(now, server, QuotaUnit::Requests) {
            Some(0) => 0,
            _ => self.left(now, server, QuotaUnit::Messages).unwrap_or(u64::MAX),
        }
    }

    /// When a server may be asked again; `None` if it may be now.
    pub(super) fn free_at(&self, now: Instant, server: ServerId) -> Option<Instant> {
        let since = self.since(now);
        let at = self.of(server).filter_map(|window| window.free_at(since)).max()?;
        Some(self.begins.unwrap_or(now) + at)
    }

    /// A server is asked for so many messages.
    pub(super) fn take(&mut self, now: Instant, server: ServerId, messages: u64) {
        let since = self.since(now);
        let windows = self.windows.iter_mut().skip(self.each * usize::from(server.0));
        for window in windows.take(self.each) {
            let requests = window.quota.unit == QuotaUnit::Requests;
            window.take(since, if requests { 1 } else { messages });
        }
    }

    /// The use by all servers.
    pub(super) fn used(&self, now: Instant) -> Vec<QuotaUse> {
        let since = self.since(now);
        let mut used = Vec::new();
        for (at, window) in self.windows.iter().enumerate() {
            let server = ServerId((at / self.each) as u8);
            let Quota { unit, window: length, .. } = window.quota;
            for (bucket, count) in window.counted(since).filter(|(_, count)| *count > 0) {
                let end = nanos(since).saturating_add((BUCKETS - 1).saturating_mul(window.width));
                let end = end.saturating_sub(bucket.saturating_add(1).saturating_mul(window.width));
                let age = Duration::from_nanos(end);
                used.push(QuotaUse { server, unit, window: length, count, age });
            }
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_keeps_its_quota_up_to_the_end_of_time() {
        let window = Duration::from_nanos(1);
        let mut window = Window::new(Quota { unit: QuotaUnit::Requests, most: 3, window });
        for (since, left) in [(0, 2), (u64::MAX - 200, 2), (u64::MAX, 2), (u64::MAX, 1)] {
            let since = Duration::from_nanos(since);
            window.take(since, 1);
            assert_eq!(window.left(since), left);
        }
        window.take(Duration::from_nanos(u64::MAX), 1);
        assert!(window.free_at(Duration::from_nanos(u64::MAX)).is_some());
        let quotas = Quotas { windows: alloc::vec![window], each: 1, begins: Some(Instant::ZERO) };
        let counts: Vec<_> = quotas.used(Instant::MAX).iter().map(|used| used.count).collect();
        assert_eq!(counts, [3]);
    }
}
