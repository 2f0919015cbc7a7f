//! When a gap may be asked for: what is late may fill it before.

use gapless_core::{Duration, Instant, Session};

use super::Oracle;

/// A line that reordered nothing in so many packets, and for so long, is not expected to.
const ORDERLY_PACKETS: u64 = 65_536;
const ORDERLY_TIME: Duration = Duration::from_secs(10);

/// The packets of a line since it came up, or one was later than a packet behind it.
#[derive(Debug, Default)]
pub(super) struct Order {
    highest: u64,
    packets: u64,
    since: Instant,
}

impl Order {
    pub(super) const fn begin(&mut self, now: Instant) {
        (self.packets, self.since) = (0, now);
    }

    /// A packet came whose last number this is.
    pub(super) fn note(&mut self, now: Instant, last: u64) {
        self.packets += 1;
        if last < self.highest {
            self.begin(now);
        }
        self.highest = self.highest.max(last);
    }
}

impl Oracle {
    /// Whether a part of a gap is asked for before it was passed by enough packets or waited long enough, where late
    /// packets are to be expected.
    pub(super) fn is_early(&self, session: Session, first: u64, last: u64) -> bool {
        let mut gaps = self.tracks[&session].gaps.iter();
        let gap = gaps.find(|gap| !gap.cut && gap.first <= first && last <= gap.last);
        let is_young = gap.is_some_and(|gap| {
            // What was put off may have been passed before it is a gap.
            let is_judged = self.is_roomy && gap.opened > self.lines_changed;
            is_judged && self.now.since(gap.opened) < self.config.reorder_delay
        });
        is_young && !self.is_orderly() && !self.is_passed(session, first)
    }

    /// Whether the only line that is up is not expected to bring anything late.
    fn is_orderly(&self) -> bool {
        let mut up = self.lines.values().filter(|line| line.up);
        let (Some(line), None) = (up.next(), up.next()) else { return false };
        let Order { packets, since, .. } = line.order;
        packets >= ORDERLY_PACKETS && self.now.since(since) >= ORDERLY_TIME
    }
}
