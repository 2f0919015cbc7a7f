//! One clock: the core's `Instant` out of the system's monotonic clock, and the kernel's arrival
//! times (wall clock) brought onto it.

use std::time::{Duration, Instant as SystemInstant, SystemTime, UNIX_EPOCH};

use gapless_core::Instant;

/// How long one measurement of the distance between wall clock and monotonic clock is used.
const WALL_OFFSET_LIFE: Duration = Duration::from_secs(1);

/// Counts core time from its making. Copies share the origin, so drivers that are given copies of
/// one clock can compare their times.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: SystemInstant,
}

impl Clock {
    /// A clock whose origin is now.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: SystemInstant::now() }
    }

    /// The time since the origin; never goes back.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_nanos(saturating_nanos(self.origin.elapsed()))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// The clock that arrival times are read from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Arrivals {
    /// The driver's: a datagram arrived when it was read.
    Read,
    /// The kernel's, of every datagram as long as the driver keeps up. While a backlog of more than
    /// a batch is worked off, the last of each batch stands for the batch, for telling each costs
    /// the kernel a sixth of what reading it costs. As `Read` where the kernel does not report them.
    #[default]
    Kernel,
    /// The kernel's, of every datagram, in a backlog too. As `Read` where the kernel does not report them.
    KernelEach,
}

/// Brings wall-clock times of the kernel onto a [`Clock`].
///
/// The distance between the two clocks is measured once a second, so a step of the wall clock is
/// noticed within that; until then arrivals are off by the step, but never later than `now`.
#[derive(Debug)]
pub(crate) struct WallClock {
    clock: Clock,
    /// Wall time at the clock's origin, in nanoseconds since 1970.
    origin: u64,
    until: Instant,
}

impl WallClock {
    pub(crate) fn new(clock: Clock) -> Self {
        let mut wall = Self { clock, origin: 0, until: Instant::ZERO };
        wall.measure();
        wall
    }

    /// Measures again where the last measurement is too old.
    #[inline]
    pub(crate) fn refresh(&mut self, now: Instant) {
        if now >= self.until {
            self.measure();
        }
    }

    /// A wall-clock time, in nanoseconds since 1970, as core time: at most `now`.
    #[inline]
    pub(crate) fn to_core(&self, wall: u64, now: Instant) -> Instant {
        Instant::from_nanos(wall.saturating_sub(self.origin)).min(now)
    }

    /// Reads the wall clock between two readings of the monotonic one, and keeps the tightest of
    /// three such pairs: a task switch in between would count as an offset.
    #[cold]
    fn measure(&mut self) {
        let mut tightest = Duration::MAX;
        for _ in 0..3 {
            let before = self.clock.origin.elapsed();
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let width = self.clock.origin.elapsed() - before;
            if width < tightest {
                tightest = width;
                self.origin =
                    saturating_nanos(wall).saturating_sub(saturating_nanos(before + width / 2));
            }
        }
        self.until = self.clock.now() + WALL_OFFSET_LIFE;
    }
}

fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_now_is_the_clocks_now() {
        let clock = Clock::new();
        let wall = WallClock::new(clock);
        let before = clock.now();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let converted = wall.to_core(saturating_nanos(since_epoch), Instant::MAX);
        // The two readings lie within a measurement's error of each other; a second is far beyond.
        assert!(converted + Duration::from_secs(1) > before);
        assert!(converted < clock.now() + Duration::from_secs(1));
    }

    #[test]
    fn an_arrival_is_never_later_than_now_nor_before_the_origin() {
        let wall = WallClock::new(Clock::new());
        let now = Instant::from_millis(5);
        assert_eq!(wall.to_core(u64::MAX, now), now);
        assert_eq!(wall.to_core(0, now), Instant::ZERO);
    }
}
