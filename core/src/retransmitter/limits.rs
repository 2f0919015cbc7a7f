//! How fast answers may go: one bucket for each of a bounded number of addresses, and one for all.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::config::{Config, Remote};
use crate::rate::{Bucket, Rate};
use crate::storage::charge::{Measure, charged};
use crate::{Duration, Instant};

/// The rate that is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Over {
    Address,
    Total,
}

/// How many bytes are sent on the lines in a second. Minutes are counted from the driver's origin.
#[derive(Clone, Copy, Default, Debug)]
struct Line {
    /// When the present second began.
    second: Instant,
    /// Bytes in it.
    bytes: u64,
    /// The minute in which something was sent last.
    minute: u64,
    /// The most that there were in one second: of that minute, and of the one before it.
    most: [u64; 2],
}

impl Line {
    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE_NANOS: u64 = 60_000_000_000;

    fn sent(&mut self, now: Instant, bytes: usize) {
        if now.since(self.second) >= Self::SECOND {
            (self.second, self.bytes) = (now, 0);
        }
        self.bytes = self.bytes.saturating_add(bytes as u64);
        let [present, before] = self.minutes(now);
        self.minute = now.as_nanos() / Self::MINUTE_NANOS;
        self.most = [present.max(self.bytes), before];
    }

    /// The most in one second of the minute of `now`, and of the one before it.
    const fn minutes(&self, now: Instant) -> [u64; 2] {
        match (now.as_nanos() / Self::MINUTE_NANOS).saturating_sub(self.minute) {
            0 => self.most,
            1 => [0, self.most[0]],
            _ => [0, 0],
        }
    }

    /// The most in one second of the minute of `now` and of the one before it.
    fn most(&self, now: Instant) -> u64 {
        let [present, before] = self.minutes(now);
        present.max(before)
    }
}

charged!(Bucket = 8);

/// The buckets.
#[derive(Debug)]
pub(super) struct Limits {
    address_rate: Rate,
    total_rate: Rate,
    total: Bucket,
    remote: Option<Remote>,
    /// The bucket of all addresses beyond this machine.
    all_remote: Bucket,
    line: Line,
    /// By address.
    addresses: Vec<(IpAddr, Bucket)>,
    max_addresses: usize,
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            address_rate: config.address_rate,
            total_rate: config.total_rate,
            total: Bucket::default(),
            remote: config.remote,
            all_remote: Bucket::default(),
            line: Line::default(),
            addresses: Vec::with_capacity(config.max_addresses),
            max_addresses: config.max_addresses,
        }
    }

    /// The bytes of buckets for so many addresses.
    pub(super) const fn bytes(max_addresses: usize, measure: Measure) -> usize {
        measure.of::<(IpAddr, Bucket)>(max_addresses)
    }

    pub(super) const fn memory(&self, measure: Measure) -> usize {
        Self::bytes(self.max_addresses, measure)
    }

    /// Checks that an answer may go to an address now.
    pub(super) fn admit(&self, now: Instant, ip: IpAddr) -> Result<(), Over> {
        let (one, all) = self.rates(now, ip);
        let bucket = self.place(ip).map_or(Bucket::default(), |at| self.addresses[at].1);
        if bucket.opens(one) > now {
            return Err(Over::Address);
        }
        if self.total.opens(self.total_rate) > now
            || all.is_some_and(|all| self.all_remote.opens(all) > now)
        {
            return Err(Over::Total);
        }
        Ok(())
    }

    /// So many bytes were sent on the lines.
    pub(super) fn sent(&mut self, now: Instant, bytes: usize) {
        self.line.sent(now, bytes);
    }

    /// The rate of an address at `now`, and that of all beyond this machine where it is one of them.
    fn rates(&self, now: Instant, ip: IpAddr) -> (Rate, Option<Rate>) {
        let any = self.address_rate;
        let Some(remote) = self.remote.filter(|_| !ip.to_canonical().is_loopback()) else {
            return (any, None);
        };
        let [Rate { bytes_per_second, burst }, all] = remote.rates(self.line.most(now));
        let bytes_per_second = bytes_per_second.min(any.bytes_per_second);
        (Rate { bytes_per_second, burst: burst.min(any.burst) }, Some(all))
    }

    /// An answer of `bytes` goes to an address; whether another one was forgotten to make room for it.
    pub(super) fn charge(&mut self, now: Instant, ip: IpAddr, bytes: usize) -> bool {
        self.total.take(now, self.total_rate, bytes);
        let (one, all) = self.rates(now, ip);
        if let Some(all) = all {
            self.all_remote.take(now, all, bytes);
        }
        let mut place = self.place(ip);
        let is_full = place.is_err() && self.addresses.len() == self.max_addresses;
        if is_full {
            self.forget_most_rested();
            place = self.place(ip);
        }
        let at = place.unwrap_or_else(|at| {
            self.addresses.insert(at, (ip.to_canonical(), Bucket::default()));
            at
        });
        self.addresses[at].1.take(now, one, bytes);
        is_full
    }

    fn place(&self, ip: IpAddr) -> Result<usize, usize> {
        self.addresses.binary_search_by_key(&ip.to_canonical(), |address| address.0)
    }

    /// Forgets the address whose bucket is full again first, which forgives the least: a crowd of
    /// others pushes none out that was answered more than they.
    fn forget_most_rested(&mut self) {
        let full = |(at, (_, bucket)): (usize, &(IpAddr, Bucket))| (*bucket, at);
        if let Some((_, at)) = self.addresses.iter().enumerate().map(full).min() {
            self.addresses.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    const NOW: Instant = Instant::from_millis(1);

    fn ip(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    fn limits() -> Limits {
        Limits::new(&Config {
            address_rate: Rate { bytes_per_second: 1000, burst: 100 },
            total_rate: Rate { bytes_per_second: 10_000, burst: 1000 },
            max_addresses: 3,
            remote: None,
            ..Config::default()
        })
    }

    /// With what rules beyond this machine by default.
    fn remote() -> Limits {
        Limits::new(&Config::default())
    }

    /// Bytes that go to an address within so many milliseconds, asked for each of them.
    fn answered(limits: &mut Limits, ip: IpAddr, millis: u64) -> u64 {
        let mut bytes = 0;
        for now in (0..millis).map(|millis| NOW + Duration::from_millis(millis)) {
            while limits.admit(now, ip).is_ok() {
                limits.charge(now, ip, 1_000);
                bytes += 1_000;
            }
        }
        bytes
    }

    #[track_caller]
    fn is_about(bytes: u64, expected: u64) {
        assert!(bytes.abs_diff(expected) <= expected / 100, "{bytes} bytes, not {expected}");
    }

    #[test]
    fn an_address_beyond_this_machine_has_a_megabyte_a_second_and_a_burst_of_64_kib() {
        is_about(answered(&mut remote(), ip(1), 1_000), 1_000_000 + (64 << 10));
    }

    #[test]
    fn an_address_beyond_this_machine_has_three_times_the_line_s_rate_if_that_is_more() {
        for (line, expected) in [(300_000, 1_065_536), (2_000_000, 6_065_536)] {
            let mut limits = remote();
            for second in 0..3 {
                limits.sent(NOW + Duration::from_secs(second), line / 2);
                limits.sent(NOW + Duration::from_millis(second * 1_000 + 999), line / 2);
            }
            is_about(answered(&mut limits, ip(1), 1_000), expected);
        }
    }

    #[test]
    fn a_burst_on_the_line_counts_to_the_end_of_the_next_minute_and_no_longer() {
        for (sent, asked, expected) in
            [(5, 119, 6_000_000), (59, 119, 6_000_000), (5, 120, 1_000_000), (59, 500, 1_000_000)]
        {
            let mut limits = remote();
            limits.sent(Instant::from_millis(sent * 1_000), 2_000_000);
            if sent == 5 {
                // A little more changes nothing.
                limits.sent(Instant::from_millis(70_000), 1_000);
            }
            let now = Instant::from_millis(asked * 1_000);
            let (Rate { bytes_per_second, burst }, _) = limits.rates(now, ip(1));
            assert_eq!(
                (bytes_per_second, burst),
                (expected, 64 << 10),
                "sent at {sent} s, asked at {asked} s"
            );
        }
    }

    #[test]
    fn a_line_that_grows_slow_has_its_answers_grow_slow() {
        let mut limits = remote();
        for second in 0..300 {
            let bytes = if second < 100 { 100_000_000 } else { 1_000_000 };
            limits.sent(Instant::from_millis(second * 1_000), bytes);
        }
        let now = Instant::from_millis(300_000);
        assert_eq!(limits.rates(now, ip(1)).0.bytes_per_second, 3_000_000);
    }

    #[test]
    fn all_addresses_beyond_this_machine_have_ten_times_as_much_as_one() {
        let mut limits = remote();
        let mut bytes = 0;
        for now in (0..1_000).map(|millis| NOW + Duration::from_millis(millis)) {
            for last in 0..=255 {
                while limits.admit(now, ip(last)).is_ok() {
                    limits.charge(now, ip(last), 1_000);
                    bytes += 1_000;
                }
            }
        }
        is_about(bytes, 10_000_000 + (640 << 10));
    }

    #[test]
    fn this_machine_has_its_own_rate() {
        for ip in [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])] {
            let bytes = answered(&mut remote(), ip, 100);
            assert!(bytes >= 64 << 20, "{bytes}");
        }
    }

    #[test]
    fn one_address_over_its_rate_leaves_the_others_theirs() {
        let mut limits = limits();
        limits.charge(NOW, ip(1), 200);
        assert_eq!(limits.admit(NOW, ip(1)), Err(Over::Address));
        assert_eq!(limits.admit(NOW, ip(2)), Ok(()));
    }

    #[test]
    fn many_addresses_together_stay_under_the_rate_of_all() {
        let mut limits = limits();
        for last in 0..11 {
            assert_eq!(limits.admit(NOW, ip(last)), Ok(()));
            limits.charge(NOW, ip(last), 100);
        }
        assert_eq!(limits.admit(NOW, ip(99)), Err(Over::Total));
    }

    #[test]
    fn the_address_that_is_rested_first_is_forgotten() {
        let mut limits = limits();
        for last in [1, 2, 3, 1] {
            assert!(!limits.charge(NOW, ip(last), 110));
        }
        assert!(limits.charge(NOW, ip(4), 110));
        assert_eq!(limits.admit(NOW, ip(1)), Err(Over::Address));
        assert_eq!(limits.admit(NOW, ip(2)), Ok(()));
        assert_eq!(limits.addresses.len(), 3);
    }

    #[test]
    fn a_crowd_of_addresses_does_not_make_one_over_its_rate_forgotten() {
        let mut limits = limits();
        limits.charge(NOW, ip(1), 200);
        let forgotten = (2..=50).filter(|&last| limits.charge(NOW, ip(last), 10)).count();
        assert_eq!(limits.admit(NOW, ip(1)), Err(Over::Address));
        assert_eq!(forgotten, 47);
    }

    #[test]
    fn an_ipv4_address_mapped_into_ipv6_is_the_same_address() {
        let mut limits = limits();
        limits.charge(NOW, ip(1), 200);
        let mapped = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().into();
        assert_eq!(limits.admit(NOW, mapped), Err(Over::Address));
    }
}
