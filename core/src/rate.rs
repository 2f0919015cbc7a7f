//! Byte rates, as token buckets kept in one number: the instant at which the bucket is full again.
//!
//! Used for pacing what is sent and for limiting what is answered. Integers only.

use crate::{Duration, Instant};

/// A byte rate: a bucket of `burst` bytes that fills at `bytes_per_second`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rate {
    /// Bytes per second, payloads of UDP counted: from 1.
    pub bytes_per_second: u64,
    /// Bytes that may go at once after a rest.
    pub burst: u64,
}

impl Rate {
    /// How long `bytes` take at this rate, rounded up.
    fn time(self, bytes: u64) -> Duration {
        let rate = u128::from(self.bytes_per_second.max(1));
        let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// A bucket of some [`Rate`]. It opens while it is not overdrawn, and may be overdrawn once, so what
/// passes in any time `t` is at most `burst + bytes_per_second * t` and one datagram. The one that is full again
/// first is the least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Bucket {
    /// When it is full again.
    full: Instant,
}

impl Bucket {
    /// When it is not overdrawn any more.
    pub(crate) fn opens(self, rate: Rate) -> Instant {
        self.full - rate.time(rate.burst)
    }

    /// Takes `bytes` out.
    pub(crate) fn take(&mut self, now: Instant, rate: Rate, bytes: usize) {
        self.full = self.full.max(now) + rate.time(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { bytes_per_second: 1_000_000, burst: 3000 };

    #[test]
    fn a_rested_bucket_gives_its_burst_and_one_datagram_at_once() {
        let now = Instant::from_millis(5);
        let mut bucket = Bucket::default();
        let mut taken = 0;
        while bucket.opens(RATE) <= now {
            bucket.take(now, RATE, 1000);
            taken += 1;
        }
        assert_eq!(taken, 4);
        assert_eq!(bucket.opens(RATE), now + Duration::from_millis(1));
    }

    #[test]
    fn it_gives_its_rate_in_the_long_run() {
        let mut bucket = Bucket::default();
        let mut taken = 0;
        for micros in 0..100_000 {
            let now = Instant::from_nanos(micros * 1000);
            if bucket.opens(RATE) <= now {
                bucket.take(now, RATE, 500);
                taken += 500;
            }
        }
        assert!((100_000..=103_500).contains(&taken), "{taken}");
    }

    #[test]
    fn a_bucket_at_the_end_of_time_stays_there() {
        let mut bucket = Bucket::default();
        let slow = Rate { bytes_per_second: 1, burst: 0 };
        bucket.take(Instant::MAX, slow, usize::MAX);
        assert_eq!(bucket.opens(slow), Instant::MAX);
    }
}
