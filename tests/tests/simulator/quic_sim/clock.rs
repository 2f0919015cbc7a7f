//! Virtual time as quinn-proto takes it, and connection ids from a seed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gapless_tests::sim::Random;
use quinn_proto::{ConnectionId, ConnectionIdGenerator, TimeSource};

/// When the simulation's clock began to run: the standard's instants can only be had from a clock, but
/// nothing depends on which one this is.
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// The simulation's time as the standard's.
pub(crate) fn standard(at: gapless_core::Instant) -> Instant {
    start() + Duration::from_nanos(at.as_nanos())
}

/// The standard's time as the simulation's.
pub(crate) fn simulated(at: Instant) -> gapless_core::Instant {
    let nanos = at.saturating_duration_since(start()).as_nanos();
    gapless_core::Instant::from_nanos(u64::try_from(nanos).expect("less than 584 years"))
}

/// The wall clock of a host: what stands in its tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wall(Arc<AtomicU64>);

impl Wall {
    pub(crate) fn set(&self, at: gapless_core::Instant) {
        self.0.store(at.as_nanos(), Ordering::Relaxed);
    }
}

impl TimeSource for Wall {
    fn now(&self) -> SystemTime {
        // A year in which nobody lives.
        UNIX_EPOCH
            + Duration::from_secs(1 << 32)
            + Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// Draws connection ids.
#[derive(Debug)]
pub(crate) struct Ids(pub(crate) Random);

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.0.any().to_le_bytes())
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
