//! The counters of a retransmitter.

/// Counts of a retransmitter since it was made. Each request ends up in exactly one of
/// `answered`, `answered_by_archive`, `waiting` (a gauge), and those from `malformed` on.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Datagrams that came as requests.
    pub requests: u64,
    /// Requests answered from the history.
    pub answered: u64,
    /// Requests answered by the archive.
    pub answered_by_archive: u64,
    /// Messages in all those answers.
    pub answered_messages: u64,
    /// Bytes of all those answers, headers included.
    pub answered_bytes: u64,
    /// Requests that wait for look-ups now.
    pub waiting: u64,

    /// Requests of other than 20 bytes.
    pub malformed: u64,
    /// Requests for message 0.
    pub sequence_zero: u64,
    /// Requests for no messages.
    pub count_zero: u64,
    /// Requests of a session that is not known.
    pub other_session: u64,
    /// Requests for what lies behind the newest message stored, or reaches past the last number.
    pub out_of_range: u64,
    /// Requests for what the history does not hold and no archive can be asked for.
    pub declined: u64,
    /// Requests for messages that the archive did not find.
    pub not_found: u64,
    /// Requests for messages that the archive was not heard of in time.
    pub look_ups_timed_out: u64,
    /// Requests that needed a look-up while as many as allowed were under way or waited for.
    pub look_ups_full: u64,
    /// Requests that wait already: asked again before the archive answered.
    pub repeated: u64,
    /// Requests over the rate of their address.
    pub over_address_rate: u64,
    /// Requests over the rate of all.
    pub over_total_rate: u64,

    /// Look-ups given.
    pub look_ups: u64,
    /// Answers of the archive to no look-up that is under way.
    pub look_ups_unknown: u64,
    /// Answers of the archive that are no packet of the session with the first wanted message; they
    /// count as not found.
    pub look_ups_malformed: u64,

    /// Messages stored.
    pub stored_messages: u64,
    /// Messages that were stored already, and stay as they were.
    pub stored_again: u64,
    /// Packets to be stored that are no packets.
    pub store_malformed: u64,
    /// Packets to be stored that are larger than UDP carries: not stored.
    pub store_too_large: u64,
    /// Packets to be stored of a session that found no place beside the configured one.
    pub store_no_session: u64,
    /// Messages that left the history to make room.
    pub evicted_messages: u64,
    /// Sessions forgotten to make room for another.
    pub evicted_sessions: u64,
    /// Addresses whose rate was forgotten to make room for another.
    pub evicted_addresses: u64,
    /// Answers allocated because the ring was held outside, or for a message larger than `mtu`.
    pub answers_allocated: u64,
}
