//! Naive models of the machines: short enough to be believed by reading them.

pub mod cache;
pub mod contract;
pub mod demux;
pub mod journal;
pub mod memory;
pub mod mold;
mod numbers;
pub mod publisher;
pub mod receiver;
mod recorded;
pub mod retransmitter;
pub mod transmitter;

/// How many random cases a model test plays: `GAPLESS_CASES`, or `default` where it says nothing.
///
/// # Panics
/// When the variable holds no number from 1: a test of no case would hold of anything.
#[must_use]
pub fn cases(default: u32) -> u32 {
    let cases = std::env::var("GAPLESS_CASES");
    let cases = cases.map_or(default, |cases| cases.parse().expect("a number of cases"));
    assert!(cases > 0, "GAPLESS_CASES=0: nothing would be tested");
    cases
}
