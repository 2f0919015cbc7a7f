//! The counters of a publisher.

/// Counts of a publisher since it was made, beside those of its two machines:
/// [`Publisher::transmitter`](super::Publisher::transmitter) and
/// [`Publisher::retransmitter`](super::Publisher::retransmitter).
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Packets given for the lines: data, heartbeats, ends, and republished ones.
    pub sent: u64,
    /// Captured packets republished.
    pub republished: u64,
    /// Messages in those.
    pub republished_messages: u64,
    /// Captured packets that are no packets, or larger than UDP carries: not republished.
    pub republish_malformed: u64,
}
