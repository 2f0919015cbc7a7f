//! What the connections of an endpoint may hold in memory, all together: what is promised to a peer counts,
//! whether the peer uses it or not, until the connection is forgotten. First promises are small; they grow
//! while there is room, so that an empty pool means no growth, and then no new connections.

use super::config::Transport;

/// What an endpoint takes for itself, in bytes: what is being copied together, and answers that wait.
const ENDPOINT: u64 = 1 << 20;
/// A connection with its handshake, which the peer may send in the worst of ways as a stream, in bytes.
const CONNECTION: u64 = 448 << 10;
/// A stream that the peer sends in the worst of ways, in bytes, beside what is charged for its window:
/// quinn-proto keeps up to 2048 pieces of packets, which may be the same ones again and again; and what was
/// read and is not told.
const STREAM: u64 = 384 << 10;
/// A client that waits for its handshake to begin, in bytes.
pub(super) const WAITING: u64 = 48 << 10;
/// Bytes for each byte that a peer may send: pieces of packets are held with all of their packets, as long
/// as that is not more than one and a half times as much, and copied together after that.
const PER_RECEIVED: u64 = 3;
/// Quarters of a byte for each byte that waits to be acknowledged: it is held with what is known of packets.
const QUARTERS_PER_SENT: u64 = 5;
/// What a datagram counts for at least, of those that may wait.
const LEAST_DATAGRAM: u64 = 32;
/// What is allocated with a packet.
const BESIDE_PACKET: u64 = 128;

/// What all connections hold.
#[derive(Debug)]
pub(super) struct Pool {
    limit: u64,
    used: u64,
}

impl Pool {
    /// A pool of so many bytes; 0 is no limit.
    pub(super) const fn new(limit: u64) -> Self {
        Self { limit: if limit == 0 { u64::MAX } else { limit }, used: ENDPOINT }
    }

    /// Bytes that are promised.
    pub(super) const fn used(&self) -> u64 {
        self.used
    }

    /// Whether so much can be promised to somebody new.
    pub(super) const fn has_room(&self, bytes: u64) -> bool {
        self.used.saturating_add(bytes) <= self.limit
    }

    /// Takes what somebody is promised more, if there is room: a quarter is left to those who come anew.
    pub(super) const fn grow(&mut self, bytes: u64) -> bool {
        let fits = self.used.saturating_add(bytes) <= self.limit - self.limit / 4;
        if fits {
            self.used += bytes;
        }
        fits
    }

    /// Takes what cannot be refused, though it may be more than there is.
    pub(super) const fn take(&mut self, bytes: u64) {
        self.used = self.used.saturating_add(bytes);
    }

    /// What was taken is there again.
    pub(super) const fn release(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }
}

/// What one connection was promised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Share {
    /// Bytes that the peer may send, on all streams.
    pub(super) window: u64,
    /// Streams that the peer may open, of both kinds.
    pub(super) streams: [u64; 2],
    /// Streams that were open at once and that the peer may send on though it did not open them.
    pub(super) own: u64,
    /// Bytes that may wait to be acknowledged.
    pub(super) send_buffer: u64,
    /// Bytes of unreliable datagrams.
    datagrams: u64,
}

impl Share {
    /// What a new connection is promised.
    pub(super) fn first(transport: &Transport) -> Self {
        Self {
            window: transport.first_window().into(),
            streams: transport.first_streams().map(u64::from),
            own: 0,
            send_buffer: transport.min_send_buffer,
            datagrams: transport.datagram_buffer().map_or(0, |bytes| {
                // Each of those that came holds its packet.
                let packet = u64::from(transport.max_datagram()) + BESIDE_PACKET;
                let bytes = bytes as u64;
                (bytes / LEAST_DATAGRAM).saturating_mul(packet).saturating_add(bytes)
            }),
        }
    }

    /// Bytes of the pool.
    pub(super) fn bytes(&self) -> u64 {
        let Self { window, streams: [bidirectional, unidirectional], own, .. } = *self;
        let streams = bidirectional.saturating_add(unidirectional).saturating_add(own);
        [
            CONNECTION,
            of_window(window),
            of_streams(streams),
            of_send_buffer(self.send_buffer),
            self.datagrams,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

/// What a receive window of so many bytes costs.
pub(super) const fn of_window(bytes: u64) -> u64 {
    bytes.saturating_mul(PER_RECEIVED)
}

/// What so many streams cost that a peer may send on.
pub(super) const fn of_streams(count: u64) -> u64 {
    count.saturating_mul(STREAM)
}

/// What so many bytes cost that wait to be acknowledged.
pub(super) const fn of_send_buffer(bytes: u64) -> u64 {
    (bytes / 4).saturating_mul(QUARTERS_PER_SENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_leaves_a_quarter_to_those_who_come_anew() {
        let mut pool = Pool { limit: 1000, used: 0 };
        assert!(pool.grow(700));
        assert!(!pool.grow(51));
        assert!(pool.grow(50));
        assert!(pool.has_room(250) && !pool.has_room(251));
        pool.take(250);
        assert!(!pool.has_room(1));
        pool.release(1000);
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn a_pool_without_a_limit_always_has_room() {
        let mut pool = Pool::new(0);
        assert!(pool.grow(1 << 60) && pool.has_room(1 << 60));
    }
}
