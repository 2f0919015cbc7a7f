//! The memory of the connections of an endpoint, all together: what is promised to a peer counts,
//! whether the peer uses it or not, until the connection is forgotten. First promises are small; they grow
//! while there is room, so that an empty pool means no growth, and then no new connections. One network has a
//! part of it only.

use std::collections::BTreeMap;

use super::admission::Network;
use super::config::{Limits, Transport};
use super::stream::CHUNKS;

/// The memory of the endpoint itself, in bytes: what is being copied together, and answers that wait.
const ENDPOINT: u64 = 1 << 20;
/// A connection with its handshake, which the peer may send in the worst of ways as a stream, in bytes.
const CONNECTION: u64 = 448 << 10;
/// A stream that the peer sends in the worst of ways, in bytes, beside what is charged for its window:
/// quinn-proto keeps up to 2048 pieces of packets, which may be the same ones again and again.
const STREAM: u64 = 370 << 10;
/// Packets that are held beside these: those of what was read and is not reported, and the one that comes.
const PACKETS: u64 = CHUNKS as u64 + 1;
/// A client that waits for its handshake to begin, in bytes: what may wait of its packets, which are the
/// smallest that there are, with what quinn-proto keeps of each.
pub(super) const WAITING: u64 = 144 << 10;
/// Bytes for each byte that a peer may send: pieces of packets are held with all of their packets, as long
/// as that is not more than one and a half times as much, and copied together after that.
const PER_RECEIVED: u64 = 3;
/// Quarters of a byte for each byte that waits to be acknowledged: it is held with what is known of packets.
const QUARTERS_PER_SENT: u64 = 5;
/// The bytes that a datagram counts for at least, of those that may wait.
const LEAST_DATAGRAM: u64 = 32;
/// The bytes that are allocated with a packet.
const BESIDE_PACKET: u64 = 128;

/// The memory that all connections hold.
#[derive(Debug)]
pub(super) struct Pool {
    limit: u64,
    used: u64,
    /// Bytes that the connections from one network may be promised, and what they are.
    limit_of_network: u64,
    of_network: BTreeMap<Network, u64>,
}

impl Pool {
    /// A pool of [`Limits::max_memory`], where a connection is promised `first` bytes at first.
    pub(super) fn new(limits: &Limits, first: u64) -> Self {
        let or = |bytes: u64, other| if bytes == 0 { other } else { bytes };
        let limit = or(limits.max_memory, u64::MAX);
        let limit_of_network = or(limits.max_memory_per_address, limit / 4).max(first);
        Self { limit, used: ENDPOINT, limit_of_network, of_network: BTreeMap::new() }
    }

    /// Bytes that are promised.
    pub(super) const fn used(&self) -> u64 {
        self.used
    }

    /// Whether so much can be promised to somebody new, of this network if it is one that connects to us.
    pub(super) fn has_room(&self, network: Option<Network>, bytes: u64) -> bool {
        self.fits(network, bytes, self.limit, self.limit_of_network)
    }

    /// Whether so much can be promised to somebody whose address is only claimed: half is left to those who
    /// have shown theirs.
    pub(super) fn has_room_for_unvalidated(&self, network: Network, bytes: u64) -> bool {
        self.fits(Some(network), bytes, self.limit / 2, self.limit_of_network / 2)
    }

    /// Takes what somebody is promised more, if there is room: a quarter is left to those who come anew.
    pub(super) fn grow(&mut self, network: Option<Network>, bytes: u64) -> bool {
        let fits = self.fits(network, bytes, self.limit - self.limit / 4, self.limit_of_network);
        if fits {
            self.take(network, bytes);
        }
        fits
    }

    fn fits(&self, network: Option<Network>, bytes: u64, all: u64, of_network: u64) -> bool {
        self.used.saturating_add(bytes) <= all
            && network.is_none_or(|network| {
                let used = self.of_network.get(&network).copied().unwrap_or(0);
                used.saturating_add(bytes) <= of_network
            })
    }

    /// Takes what cannot be refused, though it may be more than there is.
    pub(super) fn take(&mut self, network: Option<Network>, bytes: u64) {
        self.used = self.used.saturating_add(bytes);
        if let Some(network) = network {
            let used = self.of_network.entry(network).or_default();
            *used = used.saturating_add(bytes);
        }
    }

    /// Gives back what was taken.
    pub(super) fn release(&mut self, network: Option<Network>, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
        if let Some(network) = network
            && let Some(used) = self.of_network.get_mut(&network)
        {
            *used = used.saturating_sub(bytes);
            if *used == 0 {
                self.of_network.remove(&network);
            }
        }
    }
}

/// The memory that one connection was promised.
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
    /// The cost of a stream that the peer may send on.
    stream: u64,
}

impl Share {
    /// The share of a new connection.
    pub(super) fn first(transport: &Transport) -> Self {
        let packet = u64::from(transport.max_datagram()) + BESIDE_PACKET;
        Self {
            stream: STREAM + PACKETS * packet,
            window: transport.first_window().into(),
            streams: transport.first_streams().map(u64::from),
            own: 0,
            send_buffer: transport.min_send_buffer,
            datagrams: transport.datagram_buffer().map_or(0, |bytes| {
                // Each of those that came holds its packet.
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
            self.of_streams(streams),
            of_send_buffer(self.send_buffer),
            self.datagrams,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    /// The cost of so many streams that a peer may send on.
    pub(super) const fn of_streams(&self, count: u64) -> u64 {
        count.saturating_mul(self.stream)
    }
}

/// The cost of a receive window of so many bytes.
pub(super) const fn of_window(bytes: u64) -> u64 {
    bytes.saturating_mul(PER_RECEIVED)
}

/// The cost of so many bytes that wait to be acknowledged.
pub(super) const fn of_send_buffer(bytes: u64) -> u64 {
    (bytes / 4).saturating_mul(QUARTERS_PER_SENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_leaves_a_quarter_to_those_who_come_anew() {
        let mut pool = of(1000, 0);
        assert!(pool.grow(None, 700));
        assert!(!pool.grow(None, 51));
        assert!(pool.grow(None, 50));
        assert!(pool.has_room(None, 250) && !pool.has_room(None, 251));
        pool.take(None, 250);
        assert!(!pool.has_room(None, 1));
        pool.release(None, 1000);
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn one_network_has_a_quarter_and_others_have_the_rest() {
        let mut pool = of(1000, 100);
        let [one, other] = networks();
        assert!(pool.grow(one, 250));
        assert!(!pool.grow(one, 1) && !pool.has_room(one, 1));
        assert!(pool.has_room(other, 250) && pool.grow(other, 250));
        assert!(pool.grow(None, 250), "what is connected to from here has no such limit");
        pool.release(one, 250);
        assert!(pool.has_room(one, 250));
        pool.release(other, 250);
        assert_eq!(pool.of_network, BTreeMap::new());
    }

    #[test]
    fn one_network_has_room_for_a_connection_in_any_case() {
        let pool = of(1000, 900);
        assert!(pool.has_room(networks()[0], 900) && !pool.has_room(networks()[0], 901));
    }

    #[test]
    fn unvalidated_clients_have_half_of_all_and_half_of_their_networks_part() {
        let mut pool = of(1000, 100);
        let [Some(one), Some(other)] = networks() else { unreachable!() };
        assert!(
            pool.has_room_for_unvalidated(one, 125) && !pool.has_room_for_unvalidated(one, 126)
        );
        pool.take(Some(other), 400);
        assert!(
            pool.has_room_for_unvalidated(one, 100) && !pool.has_room_for_unvalidated(one, 101)
        );
    }

    #[test]
    fn a_stream_is_charged_with_packets_of_the_largest_payload_that_is_taken() {
        let [small, large] = [1452, 60_000].map(|max_udp_payload| {
            Share::first(&Transport { max_udp_payload, ..Transport::default() }).of_streams(1)
        });
        assert_eq!(small.div_ceil(1 << 10), 385);
        assert_eq!(large - small, PACKETS * (60_000 - 1472));
    }

    /// An empty pool of so many bytes, for connections of so many.
    fn of(max_memory: u64, first: u64) -> Pool {
        Pool { used: 0, ..Pool::new(&Limits { max_memory, ..Limits::default() }, first) }
    }

    fn networks() -> [Option<Network>; 2] {
        [1, 2].map(|last| Some(Network::of([127, 0, 0, last].into())))
    }

    #[test]
    fn a_pool_without_a_limit_always_has_room() {
        let mut pool = of(0, 0);
        assert!(pool.grow(networks()[0], 1 << 60) && pool.has_room(networks()[0], 1 << 60));
    }
}
