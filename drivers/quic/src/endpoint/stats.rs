//! The statistics of an endpoint.

/// The statistics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Connections whose handshake was completed, of both sides.
    pub connected: u64,
    /// Connections that are over, those included that never were complete.
    pub disconnected: u64,
    /// Clients that were refused for a limit on connections or on memory.
    pub refused: u64,
    /// Of these, those that were refused since all memory is promised
    /// ([`Limits::max_memory`](super::Limits::max_memory)).
    pub refused_for_memory: u64,
    /// Times that a peer used up its window or its streams, and there was no room for more in the endpoint's
    /// memory.
    pub starved: u64,
    /// Clients that were sent a Retry packet.
    pub retried: u64,
    /// Clients that were ignored since too many waited.
    pub ignored: u64,
    /// Datagrams that were dropped since they are larger than what any peer was told, before anything is read
    /// of them.
    pub oversized: u64,
    /// Unreliable datagrams that came and were dropped, since more came at once than may wait
    /// ([`Transport::datagrams`](super::Transport)).
    pub datagrams_dropped: u64,
    /// Handshakes that failed before there was a connection.
    pub failed: u64,
    /// Answers without a connection that were dropped since too many waited to be sent.
    pub unanswered: u64,
}
