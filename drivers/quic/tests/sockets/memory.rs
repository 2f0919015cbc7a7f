//! The memory of an endpoint is bounded in all: what peers are promised comes out of one pool, grows while
//! there is room, and is refused where there is none.

use std::net::Ipv4Addr;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use gapless_quic::{Direction, Driver, Endpoint, Event, Handler, Limits, Reason, Transport};
use gapless_tests::alloc;
use quinn_proto::ConnectionError;

use crate::certified::{PROTOCOL, client};
use crate::crafted::Initial;
use crate::hostile::Memory;
use crate::pair::{NOW, PAUSE, Pair};
use crate::peer::{Habit, TestPeer};

/// The memory of an endpoint itself, and the first share of a connection.
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
        let mut pair = Pair::with(transport, TestPeer::with_habit(habit), TestPeer::reading());
        pair.connected();
        assert_eq!(pair.server.endpoint().promised(), before + first);
        send(&mut pair, 8 << 20);
        pair.until(|pair| pair.server.endpoint().promised() >= before + whole);
        if let Habit::Pause = habit {
            let sent = |peer: &TestPeer| peer.streams.values().map(|known| known.sent).sum::<u64>();
            pair.until(|pair| sent(&pair.at_client) == u64::from(WINDOW));
        }
    }
}

#[test]
fn a_peer_that_opens_streams_may_open_more_as_many_as_it_may_have() {
    let begin = TestPeer::sending(Direction::Unidirectional, 30, 1000);
    let transport = Transport { max_unidirectional: 30, ..Transport::default() };
    let mut pair = Pair::with(transport, TestPeer::with_habit(Habit::Pause), begin);
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
    let max_memory = before + 3 * first + first / 2;
    let limits = Limits { max_memory, max_memory_per_address: u64::MAX, ..Limits::default() };
    let mut pair = Pair::new(limits, transport);
    pair.at_server = TestPeer::with_habit(Habit::Pause);
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
    // A word of the end that gets lost is made up for by silence, and then the other one is gone too.
    pair.until(|pair| pair.server.endpoint().connections() <= 1);
    pair.connect();
    pair.until(|pair| pair.at_client.connected.len() == 4);
    assert!(pair.server.endpoint().promised() <= limits.max_memory);
}

#[test]
fn one_address_whose_connections_take_all_that_they_can_shuts_nobody_out() {
    const MEMORY: u64 = 64 << 20;
    let limits = Limits { max_memory: MEMORY, ..Limits::default() };
    let transport = Transport { stream_window: 8 << 20, ..Transport::default() };
    let mut pair = Pair::new(limits, transport);
    pair.at_server = TestPeer::with_habit(Habit::Pause);
    let mut config = client(Transport::default());
    let mut honest = std::mem::replace(&mut pair.client, {
        config.bind = (Ipv4Addr::new(127, 0, 0, 2), 0).into();
        Driver::new(config).unwrap()
    });
    // The first grows as far as it can, before the others come.
    pair.connected();
    send(&mut pair, 16 << 20);
    pair.until(|pair| pair.server.endpoint().stats().starved > 0);
    let connected = pair.at_client.connected.len();
    for _ in connected..64 {
        pair.connect();
    }
    pair.until(|pair| pair.at_client.connected.len() + pair.at_client.gone.len() == 64);
    assert!(pair.server.endpoint().stats().refused_for_memory > 0);
    let promised = pair.server.endpoint().promised();
    assert!(promised <= MEMORY / 4 + (1 << 20), "{promised}");
    let mut at_honest = TestPeer::reading();
    let (config, address) = (pair.certified.client(PROTOCOL), pair.server.address());
    honest.endpoint().connect(Instant::now(), config, address, "localhost").unwrap();
    pair.until(|_| {
        honest.turn(NOW, &mut at_honest).unwrap();
        assert_eq!(at_honest.gone, []);
        !at_honest.connected.is_empty()
    });
}

#[test]
fn who_wants_much_keeps_nobody_who_wants_little_from_growing() {
    // It is the connection's window that holds the first up, and nothing else grows.
    let transport =
        Transport { stream_window: 8 << 20, max_unidirectional: 2, ..Transport::default() };
    let (before, first) = first_promise(transport);
    // The first can grow to 1 MiB, and nobody any further.
    let most = before + 3 * first + 3 * ((1 << 20) - (64 << 10)) + (100 << 10);
    let limits = Limits {
        max_memory: most / 3 * 4 + 4,
        max_memory_per_address: u64::MAX,
        ..Limits::default()
    };
    let mut pair = Pair::new(limits, transport);
    pair.at_server = TestPeer::with_habit(Habit::Pause);
    // One after the other, so that the first has the first number; all of them before anything grows.
    for connected in 1..=3 {
        pair.connect();
        pair.until(|pair| pair.at_client.connected.len() == connected);
    }
    let [greedy, second, third] = pair.at_client.connected[..] else { panic!("three") };
    let Pair { client, at_client, .. } = &mut pair;
    let way = Direction::Unidirectional;
    at_client.send(client.endpoint(), greedy, way, 16 << 20).unwrap();
    let grown = before + 3 * first + 3 * (960 << 10);
    pair.until(|pair| pair.server.endpoint().promised() >= grown);
    let Pair { client, at_client, .. } = &mut pair;
    let sent = [second, third].map(|connection| {
        let endpoint = client.endpoint();
        at_client.send(endpoint, connection, Direction::Unidirectional, 1 << 20).unwrap()
    });
    pair.until(|pair| pair.server.endpoint().stats().starved >= 3);
    pair.rounds(200);
    let window = u64::from(transport.first_window);
    assert!(sent.iter().all(|stream| pair.at_client.streams[stream].sent == window));
    // The memory that this one leaves is too little for the first.
    close(&mut pair, 2);
    pair.until(|pair| pair.at_client.streams[&sent[0]].sent >= 2 * window);
    assert!(pair.server.endpoint().promised() <= most);
}

#[test]
fn clients_that_wait_are_within_what_they_are_charged_with_however_small_their_packets() {
    let mut pair = Pair::new(Limits::default(), Transport::default());
    let (initial, now) = (Initial::of(&pair.certified), Instant::now());
    let attacker = "127.0.0.9:9".parse().unwrap();
    let server = pair.server.endpoint();
    // So many begin.
    for id in 0..16 {
        let packet = BytesMut::from(&initial.to_server(id)[..]);
        server.datagram(now, attacker, None, None, packet);
    }
    for (id, length) in (16..).zip([0, 1, 4, 20]) {
        let before = server.promised();
        let first = initial.to_server(id);
        let ((), measured) = alloc::measure(|| {
            server.datagram(now, attacker, None, None, BytesMut::from(&first[..]));
            for _ in 0..1000 {
                server.datagram(now, attacker, None, None, early(&first, length));
            }
        });
        let promised = server.promised() - before;
        println!("{measured:?} of {promised}");
        assert!(promised > 0 && measured.peak <= promised as isize, "{measured:?} of {promised}");
    }
}

/// A packet of 0-RTT with little in it that goes where a first packet went.
fn early(first: &[u8], length: u8) -> BytesMut {
    // The version and the destination's id, no source's, and the length (RFC 9000 §17.2.3).
    let mut packet = BytesMut::from(&[0xD0][..]);
    packet.extend_from_slice(&first[1..14]);
    packet.extend_from_slice(&[0, length]);
    packet.resize(packet.len() + usize::from(length), 0);
    packet
}

/// Keeps all bytes that come.
#[derive(Default)]
struct Keeper(Vec<Bytes>);

impl Handler for Keeper {
    fn event(&mut self, _: &mut Endpoint, _: Instant, event: Event) {
        if let Event::Data { bytes, .. } = event {
            self.0.push(bytes);
        }
    }
}

#[test]
fn a_small_chunk_keeps_nothing_alive_that_it_was_cut_out_of() {
    let mut pair = Pair::new(Limits::default(), Transport::default());
    pair.connected();
    let mut keeper = Keeper::default();
    send(&mut pair, 500);
    for _ in 0..1000 {
        pair.client.turn(PAUSE, &mut pair.at_client).unwrap();
        pair.server.turn(NOW, &mut keeper).unwrap();
        if !keeper.0.is_empty() {
            break;
        }
    }
    let chunk = keeper.0.remove(0);
    assert_eq!(chunk.len(), 500);
    let own = chunk.try_into_mut().expect("nobody else has it");
    assert_eq!(own.capacity(), 500);
}

fn close(pair: &mut Pair, which: usize) {
    let connection = pair.at_client.connected[which];
    pair.client.endpoint().close(Instant::now(), connection, 0, b"").unwrap();
}

#[test]
fn what_is_unread_and_unacknowledged_on_many_connections_stays_within_the_memory() {
    const CONNECTIONS: usize = 24;
    let transport = Transport::default();
    let limits =
        Limits { max_memory: 64 << 20, max_memory_per_address: u64::MAX, ..Limits::default() };
    let mut pair = Pair::new(limits, transport);
    // Both sides send, and neither reads.
    let mut memory = Memory::default();
    pair.at_server = TestPeer::with_habit(Habit::Pause);
    let mut quiet = TestPeer::with_habit(Habit::Pause);
    let mut promised = 0;
    let mut turns = |pair: &mut Pair, quiet: &mut TestPeer, count: usize| {
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
