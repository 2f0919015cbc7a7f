//! The memory of an endpoint is bounded in all: what peers are promised comes out of one pool, grows while
//! there is room, and is refused where there is none.

use std::time::Instant;

use gapless_quic::{Direction, Limits, Reason, Transport};
use quinn_proto::ConnectionError;

use crate::hostile::Memory;
use crate::pair::{PAUSE, Pair};
use crate::party::{Habit, Party};

/// What an endpoint takes for itself, and what a connection is promised at first.
fn first_promise(transport: Transport) -> (u64, u64) {
    let mut pair = Pair::new(Limits::default(), transport);
    let before = pair.server.endpoint().promised();
    pair.connected();
    (before, pair.server.endpoint().promised() - before)
}

/// Connects so often, and waits until each is connected or refused.
fn connect(pair: &mut Pair, count: usize) {
    for _ in 0..count {
        pair.connect();
    }
    pair.until(|pair| pair.at_client.connected.len() + pair.at_client.gone.len() >= count);
}

/// Sends to the server on one stream of each connection.
fn send(pair: &mut Pair, bytes: u64) {
    let Pair { client, at_client, .. } = pair;
    for connection in at_client.connected.clone() {
        at_client.send(client.endpoint(), connection, Direction::Unidirectional, bytes).unwrap();
    }
}

#[test]
fn a_window_that_is_used_up_grows_to_what_a_connection_may_have() {
    const WINDOW: u32 = 1 << 20;
    let transport = Transport { connection_window: WINDOW, ..Transport::default() };
    let (before, first) = first_promise(transport);
    let (_, whole) = first_promise(Transport { first_window: WINDOW, ..transport });
    for habit in [Habit::Read, Habit::Pause] {
        let mut pair = Pair::with(transport, Party::with_habit(habit), Party::reading());
        pair.connected();
        assert_eq!(pair.server.endpoint().promised(), before + first);
        send(&mut pair, 8 << 20);
        pair.until(|pair| pair.server.endpoint().promised() >= before + whole);
        if let Habit::Pause = habit {
            let sent = |party: &Party| party.streams.values().map(|known| known.sent).sum::<u64>();
            pair.until(|pair| sent(&pair.at_client) == u64::from(WINDOW));
        }
    }
}

#[test]
fn a_peer_that_opens_streams_may_open_more_as_many_as_it_may_have() {
    let begin = Party::sending(Direction::Unidirectional, 30, 1000);
    let transport = Transport { max_unidirectional: 30, ..Transport::default() };
    let mut pair = Pair::with(transport, Party::with_habit(Habit::Pause), begin);
    pair.connect();
    pair.until(|pair| pair.at_server.streams.len() == 30);
    pair.rounds(50);
    assert_eq!(pair.server.endpoint().streams(), 30);
}

#[test]
fn memory_that_is_promised_lets_nothing_grow_and_then_nobody_in() {
    let transport = Transport::default();
    let (before, first) = first_promise(transport);
    // Room for three, of which the third has what nobody may grow into.
    let limits = Limits { max_memory: before + 3 * first + first / 2, ..Limits::default() };
    let mut pair = Pair::new(limits, transport);
    pair.at_server = Party::with_habit(Habit::Pause);
    connect(&mut pair, 5);
    assert_eq!((pair.at_client.connected.len(), pair.at_client.gone.len()), (3, 2));
    let stats = *pair.server.endpoint().stats();
    assert_eq!((stats.refused, stats.refused_for_memory), (2, 2));
    for (_, reason) in &pair.at_client.gone {
        let Reason::Lost(ConnectionError::ConnectionClosed(close)) = reason else {
            panic!("{reason:?}");
        };
        assert_eq!(close.error_code, quinn_proto::TransportErrorCode::CONNECTION_REFUSED);
    }
    send(&mut pair, 1 << 20);
    pair.until(|pair| pair.server.endpoint().stats().starved >= 3);
    pair.rounds(50);
    let window = u64::from(transport.first_window);
    assert!(pair.at_client.streams.values().all(|known| known.sent == window));
    // A window grows once there is room, though nothing more is heard of its peer.
    close(&mut pair, 0);
    pair.until(|pair| pair.at_client.streams.values().any(|known| known.sent >= 2 * window));
    // And somebody gets in.
    close(&mut pair, 1);
    pair.until(|pair| pair.server.endpoint().connections() == 1);
    pair.connect();
    pair.until(|pair| pair.at_client.connected.len() == 4);
    assert!(pair.server.endpoint().promised() <= limits.max_memory);
}

fn close(pair: &mut Pair, which: usize) {
    let connection = pair.at_client.connected[which];
    pair.client.endpoint().close(Instant::now(), connection, 0, b"").unwrap();
}

#[test]
fn what_is_unread_and_unacknowledged_on_many_connections_stays_within_the_memory() {
    const CONNECTIONS: usize = 24;
    let transport = Transport::default();
    let limits = Limits { max_memory: 64 << 20, ..Limits::default() };
    let mut pair = Pair::new(limits, transport);
    // Both sides send, and neither reads.
    let mut memory = Memory::default();
    pair.at_server = Party::with_habit(Habit::Pause);
    let mut quiet = Party::with_habit(Habit::Pause);
    let mut promised = 0;
    let mut turns = |pair: &mut Pair, quiet: &mut Party, count: usize| {
        for _ in 0..count {
            pair.client.turn(PAUSE, quiet).unwrap();
            memory.turn(&mut pair.server, &mut pair.at_server);
            promised = promised.max(pair.server.endpoint().promised());
        }
    };
    for _ in 0..CONNECTIONS {
        pair.connect();
        turns(&mut pair, &mut quiet, 20);
    }
    for connection in quiet.connected.clone() {
        for _ in 0..2 {
            quiet.send(pair.client.endpoint(), connection, Direction::Bidirectional, 16 << 20);
        }
    }
    let Pair { server, at_server, .. } = &mut pair;
    for connection in at_server.connected.clone() {
        let endpoint = server.endpoint();
        at_server.send(endpoint, connection, Direction::Unidirectional, 16 << 20);
    }
    turns(&mut pair, &mut quiet, 1500);
    println!("{memory:?} of {promised} promised, {:?}", pair.server.endpoint().stats());
    assert!(quiet.connected.len() > 10, "{} got in", quiet.connected.len());
    assert!(promised <= 64 << 20, "{promised}");
    assert!(memory.peak <= promised as isize, "{memory:?} of {promised}");
}
