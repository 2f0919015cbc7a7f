//! A machine knows what it uses, and uses no more than it may.

use gapless_core::Instant;

use super::Checker;
use crate::sim::ledger::Ledger;
use crate::sim::trace::Fact;

/// *Memory bounds*: at every instant `used` is within the bound that the configuration states, and
/// `allocated ≤ used ≤ 1.05 × allocated + 16 KiB` where an allocator counts.
#[derive(Clone, Copy, Debug)]
pub struct MemoryBound;

impl Checker for MemoryBound {
    fn check(&mut self, _: Instant, fact: &Fact, _: &Ledger) {
        let Fact::Memory { used, bound, allocated } = *fact else { return };
        assert!(used <= bound, "{used} bytes used where {bound} are the limit");
        if let Some(allocated) = allocated {
            assert!(allocated <= used, "{allocated} bytes allocated, {used} reported");
            let most = allocated + allocated / 20 + 16_384;
            assert!(used <= most, "{used} bytes reported, {allocated} allocated");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::started;

    fn uses(used: usize, bound: usize, allocated: usize) {
        let allocated = Some(allocated);
        started(MemoryBound).0.record(Instant::ZERO, Fact::Memory { used, bound, allocated });
    }

    #[test]
    fn the_bound_itself_is_within_it() {
        uses(100_000, 100_000, 90_000);
    }

    #[test]
    #[should_panic(expected = "are the limit")]
    fn a_byte_beyond_the_bound_is_noticed() {
        uses(100_001, 100_000, 100_000);
    }

    #[test]
    #[should_panic(expected = "bytes allocated")]
    fn a_byte_that_is_not_reported_is_noticed() {
        uses(90_000, 100_000, 90_001);
    }

    #[test]
    #[should_panic(expected = "bytes reported")]
    fn telling_far_too_much_is_noticed() {
        uses(100_000, 100_000, 70_000);
    }
}
