//! The history.

/// The least that a history takes.
pub(super) const LEAST_BYTES: usize = 256 << 10;
/// The most that a history takes.
pub(super) const MOST_BYTES: usize = 1 << 47;
