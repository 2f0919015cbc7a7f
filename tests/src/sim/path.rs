//! What a path through the network does to datagrams: it delays, loses (one by one or in bursts),
//! duplicates and reorders them, and is down for a while.

use std::ops::Range;

use gapless_core::{Duration, Instant};

use super::random::Random;

/// How likely something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Chance(u32);

impl Chance {
    /// It never happens.
    pub const NEVER: Self = Self(0);
    /// It always happens.
    pub const ALWAYS: Self = Self(1_000_000);

    /// So many times out of a hundred.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self(percent * 10_000)
    }

    /// So many times out of a thousand.
    #[must_use]
    pub const fn per_mille(per_mille: u32) -> Self {
        Self(per_mille * 1000)
    }

    /// So many times out of a million.
    #[must_use]
    pub const fn per_million(self) -> u32 {
        self.0
    }
}

/// A path: in one direction, from one node to an address of another.
#[derive(Clone, Debug)]
pub struct Path {
    /// How long every datagram takes.
    pub delay: Duration,
    /// How much longer it may take, without overtaking.
    pub jitter: Duration,
    /// Datagrams lost one by one.
    pub loss: Chance,
    /// Datagrams with which a burst of losses begins.
    pub burst: Chance,
    /// How long a burst lasts at most.
    pub burst_length: Duration,
    /// Datagrams that arrive twice.
    pub duplicate: Chance,
    /// Datagrams that are overtaken by others.
    pub reorder: Chance,
    /// How much later those arrive at most.
    pub reorder_by: Duration,
    /// When nothing passes.
    pub down: Vec<Range<Instant>>,
}

impl Default for Path {
    /// 100 µs, and nothing goes wrong.
    fn default() -> Self {
        Self {
            delay: Duration::from_micros(100),
            jitter: Duration::ZERO,
            loss: Chance::NEVER,
            burst: Chance::NEVER,
            burst_length: Duration::ZERO,
            duplicate: Chance::NEVER,
            reorder: Chance::NEVER,
            reorder_by: Duration::ZERO,
            down: Vec::new(),
        }
    }
}

impl Path {
    /// A path on which all sorts of things go wrong, up to these chances of loss.
    pub fn lossy(random: &mut Random, most: Chance) -> Self {
        let up_to = |random: &mut Random, most: Chance| {
            Chance(u32::try_from(random.within(0..=most.0.into())).expect("at most a million"))
        };
        Self {
            delay: random.span(Duration::from_micros(20)..=Duration::from_millis(20)),
            jitter: random.span(Duration::ZERO..=Duration::from_millis(1)),
            loss: up_to(random, most),
            burst: up_to(random, Chance(most.0 / 10)),
            burst_length: random.span(Duration::ZERO..=Duration::from_millis(20)),
            duplicate: up_to(random, Chance::percent(5)),
            reorder: up_to(random, Chance::percent(5)),
            reorder_by: random.span(Duration::from_micros(10)..=Duration::from_millis(5)),
            down: Vec::new(),
        }
    }

    /// A path on which nothing is lost.
    pub fn sound(random: &mut Random) -> Self {
        Self { down: Vec::new(), ..Self::lossy(random, Chance::NEVER) }
    }

    /// This path, down meanwhile.
    #[must_use]
    pub fn down_during(mut self, times: Range<Instant>) -> Self {
        self.down.push(times);
        self
    }
}

/// A path and what it remembers.
#[derive(Clone, Debug)]
pub(super) struct Passage {
    pub(super) path: Path,
    random: Random,
    burst_until: Instant,
    last_arrival: Instant,
}

impl Passage {
    pub(super) const fn new(path: Path, random: Random) -> Self {
        Self { path, random, burst_until: Instant::ZERO, last_arrival: Instant::ZERO }
    }

    /// When the copies of a datagram that is sent now arrive.
    pub(super) fn arrivals(&mut self, now: Instant) -> impl Iterator<Item = Instant> + use<> {
        let lost = self.loses(now);
        let copies = 1 + usize::from(self.random.happens(self.path.duplicate));
        let arrivals = [(); 2].map(|()| self.arrival(now));
        arrivals.into_iter().take(if lost { 0 } else { copies })
    }

    fn loses(&mut self, now: Instant) -> bool {
        if self.random.happens(self.path.burst) {
            self.burst_until = now + self.random.span(Duration::ZERO..=self.path.burst_length);
        }
        let in_burst = now < self.burst_until;
        let alone = self.random.happens(self.path.loss);
        in_burst || alone || self.path.down.iter().any(|times| times.contains(&now))
    }

    fn arrival(&mut self, now: Instant) -> Instant {
        let soonest = now + self.path.delay;
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

    const SENT: u64 = 100_000;

    fn arrivals(path: Path) -> Vec<Vec<Instant>> {
        let mut passage = Passage::new(path, Random::new(1));
        (0..SENT)
            .map(|micros| passage.arrivals(Instant::from_nanos(micros * 1000)).collect())
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
}
