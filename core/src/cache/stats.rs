//! The counters of a cache.

/// Counts of a [`Cache`](super::Cache) since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Tracks created.
    pub tracks: u64,
    /// Groups created, skipped ones included.
    pub groups: u64,
    /// Frames that became held, filled ones included.
    pub frames: u64,
    /// Bytes of payload of those.
    pub bytes: u64,
    /// Frames appended as missing.
    pub missing: u64,
    /// Missing frames that became held.
    pub filled: u64,
    /// Frames put again with the same bytes.
    pub same: u64,
    /// Evictions, by cause.
    pub evicted: Evictions,
    /// Groups aborted by their producer, or left by it unfinished.
    pub aborted: u64,
    /// Groups aborted because the budget could not hold a frame.
    pub too_large: u64,
    /// Refused: a frame put with other bytes than are held.
    pub contradictions: u64,
    /// Refused: groups that existed, and tracks of which the name was live.
    pub duplicates: u64,
    /// Refused: groups beyond the window or the track's end, ends before groups that there were, and frames put
    /// beyond the next.
    pub beyond: u64,
    /// Refused: frames larger than allowed, and bytes past a declared size.
    pub oversized: u64,
    /// Refused: bytes beyond what a publisher may have unfinished, and what comes behind a frame that is not
    /// complete.
    pub unfinished: u64,
    /// Refused: frames put where they had been evicted.
    pub late: u64,
    /// Refused: for want of memory, or of indices.
    pub full: u64,
    /// Blocks allocated because the pool lacked one, and buffers of large frames.
    pub blocks_allocated: u64,
    /// Readers woken because there is something to read.
    pub woken: u64,
}

/// Groups evicted as a whole, by cause, and frames evicted from the front of groups that stay.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Evictions {
    /// Groups, for the budget.
    pub by_bytes: u64,
    /// Groups older than the track keeps.
    pub by_age: u64,
    /// Groups beyond the track's number.
    pub by_count: u64,
    /// Frames, for the budget or a group's limits, missing ones included.
    pub frames: u64,
}
