//! The fate of one datagram after the other on a path: the same ones happen to the same things,
//! whatever else the network does, because every link draws from a generator of its own.

use gapless_core::{Duration, Instant};

use super::path::{Bandwidth, Path};
use super::random::Random;

/// A path and what it remembers.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) path: Path,
    random: Random,
    burst_until: Instant,
    last_arrival: Instant,
    /// When the last datagram that entered has left the queue.
    free_at: Instant,
}

impl Link {
    pub(super) const fn new(path: Path, random: Random) -> Self {
        let (burst_until, last_arrival, free_at) = (Instant::ZERO, Instant::ZERO, Instant::ZERO);
        Self { path, random, burst_until, last_arrival, free_at }
    }

    /// When the copies of a datagram of this length that is sent now arrive.
    pub(super) fn arrivals(
        &mut self,
        now: Instant,
        len: usize,
    ) -> impl Iterator<Item = Instant> + use<> {
        let leaves = self.leaves(now, len);
        let lost = self.loses(now) || leaves.is_none();
        let copies = 1 + usize::from(self.random.happens(self.path.duplicate));
        let arrivals = [(); 2].map(|()| self.arrival(leaves.unwrap_or(now)));
        arrivals.into_iter().take(if lost { 0 } else { copies })
    }

    /// When a datagram has passed the queue; `None` when it is too long, or the queue full.
    fn leaves(&mut self, now: Instant, len: usize) -> Option<Instant> {
        if len > self.path.mtu {
            return None;
        }
        let Some(Bandwidth { bytes_per_second, queue }) = self.path.bandwidth else {
            return Some(now);
        };
        let second = Duration::from_secs(1).as_nanos();
        let waiting = self.free_at.since(now).as_nanos() * u128::from(bytes_per_second) / second;
        if waiting > 0 && waiting + len as u128 > u128::from(queue) {
            return None;
        }
        let takes = len as u128 * second / u128::from(bytes_per_second);
        let takes = Duration::from_nanos(u64::try_from(takes).expect("less than 584 years"));
        self.free_at = self.free_at.max(now) + takes;
        Some(self.free_at)
    }

    fn loses(&mut self, now: Instant) -> bool {
        if self.random.happens(self.path.burst) {
            self.burst_until = now + self.random.span(Duration::ZERO..=self.path.burst_length);
        }
        let in_burst = now < self.burst_until;
        let alone = self.random.happens(self.path.loss);
        in_burst || alone || self.path.down.iter().any(|times| times.contains(&now))
    }

    fn arrival(&mut self, leaves: Instant) -> Instant {
        let soonest = leaves + self.path.delay;
        if self.random.happens(self.path.reorder) {
            return soonest + self.random.span(Duration::ZERO..=self.path.reorder_by);
        }
        let jitter = self.random.span(Duration::ZERO..=self.path.jitter);
        self.last_arrival = (soonest + jitter).max(self.last_arrival);
        self.last_arrival
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Chance;

    const LEN: usize = 100;
    const SENT: u64 = 100_000;

    fn arrivals(path: Path) -> Vec<Vec<Instant>> {
        let mut link = Link::new(path, Random::new(1));
        (0..SENT)
            .map(|micros| link.arrivals(Instant::from_nanos(micros * 1000), LEN).collect())
            .collect()
    }

    fn of_all(share: usize) -> u64 {
        share as u64 * 100 / SENT
    }

    #[test]
    fn a_fifth_is_lost_and_a_tenth_of_the_rest_arrives_twice() {
        let (loss, duplicate) = (Chance::percent(20), Chance::percent(10));
        let arrivals = arrivals(Path { loss, duplicate, ..Path::default() });
        let times = |count: usize| arrivals.iter().filter(|copies| copies.len() == count).count();
        assert!((19..=20).contains(&of_all(times(0))), "{}", times(0));
        assert!((7..=8).contains(&of_all(times(2))), "{}", times(2));
    }

    #[test]
    fn a_burst_takes_several_in_a_row() {
        let burst_length = Duration::from_micros(20);
        let burst = Chance::percent(1);
        let arrivals = arrivals(Path { burst, burst_length, ..Path::default() });
        let lost = arrivals.iter().filter(|copies| copies.is_empty()).count();
        let in_a_row = arrivals.windows(2).filter(|two| two.iter().all(Vec::is_empty)).count();
        assert!(in_a_row * 2 > lost, "{in_a_row} of {lost}");
    }

    #[test]
    fn jitter_overtakes_nothing_and_reordering_does() {
        let overtaken = |path| {
            let arrivals: Vec<_> = arrivals(path).concat();
            arrivals.windows(2).filter(|two| two[1] < two[0]).count()
        };
        let jitter = Duration::from_millis(1);
        assert_eq!(overtaken(Path { jitter, ..Path::default() }), 0);
        let reorder = Chance::percent(5);
        assert!(overtaken(Path { reorder, reorder_by: jitter, ..Path::default() }) > 1000);
    }

    #[test]
    fn nothing_passes_while_it_is_down() {
        let times = Instant::from_millis(10)..Instant::from_millis(20);
        let arrivals = arrivals(Path::default().down_during(times));
        let lost = arrivals.iter().filter(|copies| copies.is_empty()).count();
        assert_eq!(lost, 10_000);
    }

    #[test]
    fn what_is_longer_than_the_mtu_is_dropped() {
        let mut link = Link::new(Path { mtu: LEN, ..Path::default() }, Random::new(1));
        assert_eq!(link.arrivals(Instant::ZERO, LEN).count(), 1);
        assert_eq!(link.arrivals(Instant::ZERO, LEN + 1).count(), 0);
    }

    #[test]
    fn a_narrow_link_delays_what_waits_and_drops_what_finds_the_queue_full() {
        let bandwidth = Bandwidth { bytes_per_second: 100_000, queue: 300 };
        let path = Path { bandwidth: Some(bandwidth), delay: Duration::ZERO, ..Path::default() };
        let mut link = Link::new(path, Random::new(1));
        let mut sent = |at: u64| {
            let arrivals = link.arrivals(Instant::from_millis(at), LEN);
            arrivals.map(|at| at.as_nanos() / 1_000_000).collect::<Vec<_>>()
        };
        assert_eq!([sent(0), sent(0), sent(0), sent(0)], [vec![1], vec![2], vec![3], vec![]]);
        assert_eq!([sent(1), sent(1), sent(9)], [vec![4], vec![], vec![10]]);
    }
}
