//! Effects of a path through the network on datagrams: it delays, loses (one by one or in bursts),
//! duplicates and reorders them, is too narrow for them, and is down for a while. How it does so is
//! the business of `link`.

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

/// The bandwidth of a link, and the queue in front of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bandwidth {
    /// UDP payload that passes in a second: from 1.
    pub bytes_per_second: u64,
    /// The most bytes that wait; a datagram that would be one too many is dropped. One datagram
    /// always may, whatever its length.
    pub queue: u64,
}

/// A path: in one direction, from one node to an address of another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path {
    /// The longest UDP payload; what is longer is dropped.
    pub mtu: usize,
    /// How much passes, and how much waits; `None` lets everything pass at once.
    pub bandwidth: Option<Bandwidth>,
    /// How long every datagram takes, once it left the queue.
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
            mtu: usize::MAX,
            bandwidth: None,
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
            ..Self::default()
        }
    }

    /// A path on which nothing is lost.
    pub fn sound(random: &mut Random) -> Self {
        Self::lossy(random, Chance::NEVER)
    }

    /// This path, when nothing goes wrong on it: it only takes its time.
    #[must_use]
    pub fn mended(&self) -> Self {
        Self { delay: self.delay, jitter: self.jitter, ..Self::default() }
    }

    /// This path, down meanwhile.
    #[must_use]
    pub fn down_during(mut self, times: Range<Instant>) -> Self {
        self.down.push(times);
        self
    }
}
