//! Naive models of the machines: short enough to be believed by reading them.

pub mod journal;
pub mod memory;
pub mod mold;
mod numbers;
pub mod publisher;
pub mod ranges;
pub mod receiver;
mod recorded;
pub mod retransmitter;
pub mod transmitter;

/// How many random cases a model test plays: `GAPLESS_CASES`, or `default` where it says nothing.
#[must_use]
pub fn cases(default: u32) -> u32 {
    std::env::var("GAPLESS_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default)
}
