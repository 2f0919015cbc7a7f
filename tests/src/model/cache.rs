//! Properties of a `Cache`, on random cases.
//!
//! A [`Case`] is a small configuration and what happens to a few tracks: groups in and out of order,
//! frames in all the ways in which they come, limits, readers, time. [`check`] plays it on a cache, on
//! a twin that takes the same by its methods and of which nothing is held outside, and on a naive
//! model, which foretells every answer, every refusal and every command. Only how much the budget takes
//! is told to the model; it says what had to go first.

mod case;
mod judge;
mod oracle;
mod play;
mod readers;
mod refusals;

pub use case::Case;

/// Plays a case. The memory of the cache is watched where `alloc::Counting` is installed.
///
/// # Panics
/// The cache said what it must not.
pub fn check(case: &Case) {
    play::play(case);
}
