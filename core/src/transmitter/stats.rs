//! The counters of a transmitter.

/// Counts of a transmitter since it was made.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Messages taken.
    pub messages: u64,
    /// Bytes of those messages.
    pub message_bytes: u64,
    /// Data packets given, each once however many lines there are.
    pub packets: u64,
    /// Bytes of those packets, headers included.
    pub packet_bytes: u64,
    /// Heartbeats given.
    pub heartbeats: u64,
    /// End-of-session packets given.
    pub ends: u64,
    /// Packets allocated for heartbeats and ends while the last one was still held outside.
    pub packets_allocated: u64,
}
