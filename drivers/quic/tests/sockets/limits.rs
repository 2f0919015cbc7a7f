//! Limits: who gets in, when, and how much waits to be sent.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use gapless_quic::{ConnectionId, Direction, Driver, Limits, Reason, Transport};
use quinn_proto::{ConnectionError, TransportErrorCode};

use crate::certified::{PROTOCOL, client};
use crate::crafted::Initial;
use crate::pair::{NOW, PAUSE, Pair, ROUNDS};
use crate::path::{Path, Way, socket};
use crate::peer::TestPeer;

const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

#[track_caller]
fn assert_refused(peer: &TestPeer, connection: ConnectionId) {
    let (_, reason) = peer.gone.iter().find(|(gone, _)| *gone == connection).unwrap();
    let Reason::Lost(ConnectionError::ConnectionClosed(close)) = reason else {
        panic!("{reason:?}");
    };
    assert_eq!(close.error_code, TransportErrorCode::CONNECTION_REFUSED);
}

/// Sends first packets of so many clients that never go on.
fn begin_handshakes(pair: &Pair, from: &UdpSocket, ids: std::ops::Range<u64>) {
    let initial = Initial::of(&pair.certified);
    for id in ids {
        from.send_to(&initial.to_server(id), pair.server.address()).unwrap();
    }
}

fn from_elsewhere() -> UdpSocket {
    UdpSocket::bind((OTHER, 0)).unwrap()
}

#[test]
fn connections_beyond_the_limit_are_refused_until_another_is_over() {
    let limits = Limits { max_connections: 2, ..Limits::default() };
    let mut pair = Pair::new(limits, Transport::default());
    let first = pair.connect();
    pair.connect();
    pair.until(|pair| pair.at_client.connected.len() == 2);
    let third = pair.connect();
    pair.until(|pair| pair.at_client.gone.len() == 1);
    assert_refused(&pair.at_client, third);
    assert_eq!(pair.server.endpoint().stats().refused, 1);
    assert_eq!(pair.server.endpoint().connections(), 2);
    pair.client.endpoint().close(Instant::now(), first, 0, b"").unwrap();
    pair.until(|pair| pair.server.endpoint().connections() == 1);
    pair.connect();
    pair.until(|pair| pair.at_client.connected.len() == 3);
}

#[test]
fn connections_of_one_address_beyond_its_limit_are_refused_and_those_of_others_are_not() {
    let limits = Limits { max_connections_per_address: 2, ..Limits::default() };
    let mut pair = Pair::new(limits, Transport::default());
    pair.connect();
    pair.connect();
    pair.until(|pair| pair.at_client.connected.len() == 2);
    let third = pair.connect();
    pair.until(|pair| pair.at_client.gone.len() == 1);
    assert_refused(&pair.at_client, third);
    let mut config = client(Transport::default());
    config.bind = SocketAddr::from((OTHER, 0));
    pair.client = Driver::new(config).unwrap();
    pair.at_client = TestPeer::reading();
    pair.connect();
    pair.until(|pair| pair.at_client.connected.len() == 1);
}

#[test]
fn an_address_is_not_used_up_by_others_who_claim_it() {
    let limits = Limits { max_connections_per_address: 4, ..Limits::default() };
    let mut pair = Pair::new(limits, Transport::default());
    // From the client's own address, and never answered.
    begin_handshakes(&pair, &socket(), 0..20);
    pair.round();
    assert_eq!(pair.server.endpoint().connections(), 2);
    pair.connect();
    pair.connect();
    pair.until(|pair| pair.at_client.connected.len() == 2);
    assert_eq!(pair.server.endpoint().stats().refused, 0);
}

#[test]
fn a_client_that_is_sent_a_retry_gets_in() {
    let limits = Limits { retry_above: 0, ..Limits::default() };
    let mut pair = Pair::new(limits, Transport::default());
    pair.connected();
    let stats = *pair.server.endpoint().stats();
    assert_eq!((stats.retried, stats.connected, stats.refused), (1, 1, 0));
}

#[test]
fn addresses_are_validated_from_the_threshold_on_and_the_honest_get_in() {
    let limits = Limits { retry_above: 4, ..Limits::default() };
    let mut pair = Pair::new(limits, Transport::default());
    begin_handshakes(&pair, &from_elsewhere(), 0..3);
    pair.round();
    pair.connected();
    assert_eq!(pair.server.endpoint().stats().retried, 0);
    begin_handshakes(&pair, &from_elsewhere(), 10..20);
    pair.round();
    // Four go on; the other nine were asked to show their address, which nobody answers.
    assert_eq!(pair.server.endpoint().connections(), 1 + 4);
    assert_eq!(pair.server.endpoint().stats().retried, 9);
    pair.connect();
    pair.until(|pair| pair.at_client.connected.len() == 2);
    assert_eq!(pair.server.endpoint().stats().retried, 10);
}

#[test]
fn addresses_that_are_only_claimed_take_no_more_than_half_of_the_memory() {
    for max_memory in [4 << 20, 20 << 20] {
        let limits = Limits { max_memory, ..Limits::default() };
        let mut pair = Pair::new(limits, Transport::default());
        for last in 10..60 {
            let from = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0)).unwrap();
            let id = u64::from(from.local_addr().unwrap().port());
            begin_handshakes(&pair, &from, id..id + 1);
        }
        pair.rounds(5);
        assert!(pair.server.endpoint().promised() <= max_memory / 2);
        pair.connected();
        let stats = *pair.server.endpoint().stats();
        assert!(stats.retried > 0 && stats.refused == 0, "{stats:?}");
    }
}

#[test]
fn a_turn_begins_no_more_handshakes_than_it_may_and_the_others_wait() {
    let limits = Limits { handshakes_per_turn: 3, ..Limits::default() };
    let mut pair = Pair::new(limits, Transport::default());
    begin_handshakes(&pair, &from_elsewhere(), 0..10);
    for begun in [3, 6, 9, 10] {
        let turn = pair.server.turn(NOW, &mut pair.at_server).unwrap();
        assert_eq!(pair.server.endpoint().connections(), begun);
        assert_eq!(turn.more, begun < 10);
    }
}

#[test]
fn a_turn_that_may_begin_no_handshake_begins_one() {
    let limits = Limits { handshakes_per_turn: 0, ..Limits::default() };
    let mut pair = Pair::new(limits, Transport::default());
    pair.connected();
}

#[test]
fn of_those_that_wait_too_many_are_ignored() {
    let limits = Limits { handshakes_per_turn: 1, max_waiting: 2, ..Limits::default() };
    let mut pair = Pair::new(limits, Transport::default());
    begin_handshakes(&pair, &from_elsewhere(), 0..6);
    for _ in 0..6 {
        pair.server.turn(NOW, &mut pair.at_server).unwrap();
    }
    assert_eq!(pair.server.endpoint().connections(), 3);
    assert_eq!(pair.server.endpoint().stats().ignored, 3);
}

/// Connections that idle for ever, once their handshake is over.
fn hurried(handshake_timeout: Duration) -> Transport {
    Transport { handshake_timeout, idle_timeout: Duration::ZERO, ..Transport::default() }
}

#[test]
fn a_connection_that_is_never_answered_ends_with_a_reason() {
    let after = Duration::from_millis(100);
    let mut pair = Pair::new(Limits::default(), hurried(after));
    let silent = socket();
    pair.connect_to(silent.local_addr().unwrap());
    pair.until(|pair| !pair.at_client.gone.is_empty());
    assert_eq!(pair.at_client.reason(), Some(&Reason::HandshakeTimedOut { after }));
    pair.assert_nothing_is_left();
}

#[test]
fn a_handshake_that_is_never_finished_is_over_though_connections_may_idle_for_ever() {
    // Long enough for the one that is finished, however busy the machine is.
    let after = Duration::from_secs(3);
    let mut pair = Pair::new(Limits::default(), hurried(after));
    begin_handshakes(&pair, &from_elsewhere(), 0..5);
    pair.connected();
    assert_eq!(pair.server.endpoint().connections(), 6);
    pair.until(|pair| pair.server.endpoint().connections() == 1);
    assert_eq!(pair.at_server.gone.len(), 5);
    let timed_out = Reason::HandshakeTimedOut { after };
    assert!(pair.at_server.gone.iter().all(|(_, reason)| *reason == timed_out));
    // The one that was finished in time stays, and is told of nothing.
    pair.rounds(100);
    assert_eq!(pair.at_client.gone, []);
}

#[test]
fn a_send_buffer_starts_at_its_least_and_follows_the_congestion_window() {
    const LEAST: u64 = 32 << 10;
    const MOST: u64 = 256 << 10;
    let transport =
        Transport { min_send_buffer: LEAST, max_send_buffer: MOST, ..Transport::default() };
    let sending = TestPeer::sending(Direction::Unidirectional, 2, 1_500_000);
    let mut pair = Pair::with(transport, TestPeer::reading(), sending);
    let connection = pair.connect();
    assert_eq!(pair.client.endpoint().send_buffers(), LEAST);
    let mut largest = 0;
    pair.until(|pair| {
        let buffer = pair.client.endpoint().send_buffers();
        let stats = pair.client.endpoint().connection_stats(connection).unwrap();
        assert!((LEAST..=MOST).contains(&buffer), "{buffer}");
        // It may have shrunk since, but what it holds is bounded by what it was.
        largest = largest.max(buffer);
        let sent: u64 = pair.at_client.streams.values().map(|known| known.sent).sum();
        assert!(sent - pair.at_server.received() <= largest, "cwnd {}", stats.path.cwnd);
        pair.at_server.received() == 3_000_000
    });
    let stats = pair.client.endpoint().connection_stats(connection).unwrap();
    assert!(stats.path.cwnd * 2 > LEAST);
    assert_eq!(pair.client.endpoint().send_buffers(), (stats.path.cwnd * 2).clamp(LEAST, MOST));
}

#[test]
fn a_dead_path_is_given_no_more_than_the_send_buffer() {
    const LEAST: u64 = 40_000;
    let transport = Transport { min_send_buffer: LEAST, ..Transport::default() };
    let mut pair = Pair::with(transport, TestPeer::reading(), TestPeer::reading());
    let mut path = Path::new(pair.server.address());
    let connection = pair.connect_to(path.address());
    pair.until(|pair| {
        path.pump(|_, _| true);
        pair.at_server.connected.len() == 1 && pair.at_client.connected.len() == 1
    });
    let Pair { client, at_client, .. } = &mut pair;
    for _ in 0..5 {
        at_client.send(client.endpoint(), connection, Direction::Unidirectional, 1_000_000);
    }
    for _ in 0..50 {
        path.pump(|way, _| way == Way::ToClient);
        pair.round();
    }
    let sent: u64 = pair.at_client.streams.values().map(|known| known.sent).sum();
    assert_eq!(sent, pair.client.endpoint().send_buffers());
    assert_eq!(sent, LEAST);
}

#[test]
fn more_streams_can_be_opened_as_soon_as_the_peer_allows_them() {
    let transport = Transport { max_unidirectional: 2, ..Transport::default() };
    let mut pair = Pair::with(transport, TestPeer::reading(), TestPeer::reading());
    let connection = pair.connected();
    for opened in [2, 4, 6] {
        let Pair { client, at_client, .. } = &mut pair;
        for _ in 0..2 {
            at_client.send(client.endpoint(), connection, Direction::Unidirectional, 10).unwrap();
        }
        let third = client.endpoint().open(connection, Direction::Unidirectional);
        assert_eq!(third, Ok(None));
        pair.until(|pair| pair.at_client.openables == opened / 2);
        assert_eq!(pair.at_server.streams.len(), opened);
    }
}

#[test]
fn a_socket_for_both_kinds_of_addresses_reaches_both() {
    let mut pair = Pair::new(Limits::default(), Transport::default());
    let mut config = client(Transport::default());
    config.bind = "[::]:0".parse().unwrap();
    let mut both = Driver::new(config).unwrap();
    let mut six = pair.certified.server(Limits::default(), Transport::default());
    six.bind = "[::1]:0".parse().unwrap();
    let mut six = Driver::new(six).unwrap();
    for address in [pair.server.address(), six.address()] {
        let config = pair.certified.client(PROTOCOL);
        both.endpoint().connect(Instant::now(), config, address, "localhost").unwrap();
    }
    let mut peer = TestPeer::sending(Direction::Bidirectional, 1, 50_000);
    for _ in 0..ROUNDS {
        both.turn(PAUSE, &mut peer).unwrap();
        pair.server.turn(NOW, &mut pair.at_server).unwrap();
        six.turn(NOW, &mut pair.at_client).unwrap();
        if peer.streams.len() == 2 && peer.without_end().is_empty() {
            break;
        }
    }
    assert_eq!(pair.at_server.received() + pair.at_client.received(), 100_000);
    // Addresses are what they are, not what the socket makes of them.
    let peers = peer.connected.iter().map(|&id| both.endpoint().peer(id).unwrap().address);
    let mut peers: Vec<_> = peers.collect();
    peers.sort();
    assert_eq!(peers, [pair.server.address(), six.address()]);
}

#[test]
fn a_server_for_both_kinds_of_addresses_knows_the_plain_one_of_a_client() {
    let mut pair = Pair::new(Limits::default(), Transport::default());
    let mut config = pair.certified.server(Limits::default(), Transport::default());
    config.bind = "[::]:0".parse().unwrap();
    pair.server = Driver::new(config).unwrap();
    pair.connect_to((Ipv4Addr::LOCALHOST, pair.server.address().port()).into());
    pair.until(|pair| !pair.at_client.connected.is_empty() && !pair.at_server.connected.is_empty());
    let connection = pair.at_server.connected[0];
    let address = pair.server.endpoint().peer(connection).unwrap().address;
    assert_eq!(address, pair.client.address());
}

#[test]
fn an_address_that_the_socket_cannot_reach_ends_the_connection() {
    let transport = Transport { idle_timeout: Duration::from_millis(100), ..Transport::default() };
    let mut pair = Pair::with(transport, TestPeer::reading(), TestPeer::reading());
    let silent = socket();
    pair.connect_to(silent.local_addr().unwrap());
    pair.connect_to("[::1]:9".parse().unwrap());
    pair.until(|pair| pair.at_client.gone.len() == 2);
    assert!(pair.client.sent().failed > 0);
    pair.assert_nothing_is_left();
}
