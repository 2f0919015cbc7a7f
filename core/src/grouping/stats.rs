//! The counters of a grouping.

/// Counts of a [`Grouping`](super::Grouping) since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Sessions that began, a track each.
    pub sessions: u64,
    /// Groups created.
    pub groups: u64,
    /// Groups of which nothing was there to publish: their numbers are skipped.
    pub groups_missing: u64,
    /// Messages published in order.
    pub published: u64,
    /// Messages that the receiver gave up.
    pub lost: u64,
    /// Messages that were passed over otherwise.
    pub absent: u64,
    /// Frames that were missing and came after all.
    pub filled: u64,
    /// Messages that came again, as they were.
    pub same: u64,
    /// Messages that came again with other bytes.
    pub contradictions: u64,
    /// Messages that came again, or at last, when their place was gone.
    pub late: u64,
    /// Messages not published because they came before the group that publishing begins with.
    pub before_start: u64,
    /// Messages not published because the cache refused them, or their group.
    pub refused: u64,
}
