//! Transfers: what arrives, in how many calls and allocations, how streams share, and how much waits.

use std::io::IoSliceMut;

use bytes::Bytes;
use gapless_quic::{Direction, Event, Handler, Limits, Transport};
use gapless_tests::alloc;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};

use crate::pair::{NOW, Pair, ROUNDS};
use crate::path::{Path, socket};
use crate::peer::{CHUNK, Habit, TestPeer};

#[test]
fn streams_of_both_kinds_and_both_ways_arrive_whole() {
    const BYTES: u64 = 400_000;
    for direction in [Direction::Bidirectional, Direction::Unidirectional] {
        let answering = TestPeer::with_habit(Habit::Answer(BYTES / 2));
        let sending = TestPeer::sending(direction, 5, BYTES);
        let mut pair = Pair::with(Transport::default(), answering, sending);
        let connection = pair.connect();
        pair.until(|pair| {
            !pair.at_client.streams.is_empty()
                && pair.at_client.without_end().is_empty()
                && pair.at_server.without_end().is_empty()
        });
        let answered = if direction == Direction::Bidirectional { BYTES / 2 } else { 0 };
        for known in pair.at_client.streams.values() {
            assert_eq!((known.sent, known.received), (BYTES, answered));
            assert!(known.is_finished && known.stopped.is_none() && known.reset.is_none());
        }
        for known in pair.at_server.streams.values() {
            assert_eq!((known.sent, known.received), (answered, BYTES));
            assert!(known.is_whole);
        }
        assert_eq!(pair.server.endpoint().streams() + pair.client.endpoint().streams(), 0);
        let now = std::time::Instant::now();
        pair.client.endpoint().close(now, connection, 0, b"").unwrap();
        pair.assert_nothing_is_left();
    }
}

#[test]
fn an_empty_stream_arrives_with_its_end() {
    let sending = TestPeer::sending(Direction::Unidirectional, 1, 0);
    let mut pair = Pair::with(Transport::default(), TestPeer::reading(), sending);
    pair.connect();
    pair.until(|pair| pair.at_client.streams.values().any(|known| known.is_closed));
    let known = pair.at_server.streams.values().next().unwrap();
    assert_eq!((known.received, known.is_whole), (0, true));
}

#[test]
fn a_call_carries_many_datagrams_each_way() {
    let sending = TestPeer::sending(Direction::Unidirectional, 1, 8_000_000);
    let mut pair = Pair::with(Transport::default(), TestPeer::reading(), sending);
    pair.connect();
    pair.until(|pair| pair.at_client.streams.values().any(|known| known.is_finished));
    let (sent, received) = (pair.client.sent(), pair.server.received());
    println!("sent {sent:?}, received {received:?}");
    assert!(sent.datagrams > 4 * (sent.calls - sent.blocked), "{sent:?}");
    assert!(received.datagrams > 2 * received.calls, "{received:?}");
}

#[test]
fn packets_larger_than_those_of_an_ethernet_arrive_where_the_path_takes_them() {
    let transport = Transport { max_udp_payload: 9_000, ..Transport::default() };
    let sending = TestPeer::sending(Direction::Unidirectional, 1, 8_000_000);
    let mut pair = Pair::with(transport, TestPeer::reading(), sending);
    let connection = pair.connect();
    pair.until(|pair| pair.at_client.streams.values().any(|known| known.is_finished));
    let stats = pair.client.endpoint().connection_stats(connection).unwrap().path;
    assert_eq!((stats.current_mtu, stats.lost_packets), (9_000, 0), "{stats:?}");
    assert_eq!(pair.client.sent().failed, 0);
}

#[test]
fn packets_carry_ecn_marks() {
    let mut pair = Pair::new(Limits::default(), Transport::default());
    let socket = socket();
    let state = UdpSocketState::new(UdpSockRef::from(&socket)).unwrap();
    pair.connect_to(socket.local_addr().unwrap());
    pair.client.turn(NOW, &mut pair.at_client).unwrap();
    let (mut bytes, mut meta) = ([0; 2048], [RecvMeta::default()]);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    state.recv(UdpSockRef::from(&socket), &mut slices, &mut meta).unwrap();
    assert_eq!(meta[0].ecn, Some(quinn_udp::EcnCodepoint::Ect0));
}

#[test]
fn a_path_that_marks_congestion_is_noticed_without_a_loss() {
    let mut pair = Pair::new(Limits::default(), Transport::default());
    pair.at_client = TestPeer::sending(Direction::Unidirectional, 1, 200_000);
    let mut path = Path::new(pair.server.address());
    path.mark_congestion();
    let connection = pair.connect_to(path.address());
    pair.until(|pair| {
        path.pump(|_, _| true);
        pair.at_client.streams.values().any(|known| known.is_finished)
    });
    let stats = pair.client.endpoint().connection_stats(connection).unwrap().path;
    assert!(stats.congestion_events > 0 && stats.lost_packets == 0, "{stats:?}");
}

/// Writes as much as it may to several streams.
struct Greedy {
    begins: usize,
    streams: Vec<(gapless_quic::StreamId, u64)>,
    chunk: Bytes,
    writable: usize,
}

impl Greedy {
    fn write_more(&mut self, endpoint: &mut gapless_quic::Endpoint, which: usize) {
        loop {
            let mut chunk = self.chunk.clone();
            let (stream, written) = &mut self.streams[which];
            *written += endpoint.write(*stream, &mut chunk).unwrap() as u64;
            if !chunk.is_empty() {
                return;
            }
        }
    }
}

impl Handler for Greedy {
    fn event(
        &mut self,
        endpoint: &mut gapless_quic::Endpoint,
        _: std::time::Instant,
        event: Event,
    ) {
        match event {
            Event::Connected { connection } => {
                for which in 0..self.begins {
                    let stream = endpoint.open(connection, Direction::Unidirectional);
                    self.streams.push((stream.unwrap().unwrap(), 0));
                    self.write_more(endpoint, which);
                }
            }
            Event::Writable { stream, .. } => {
                self.writable += 1;
                let which = self.streams.iter().position(|known| known.0 == stream).unwrap();
                self.write_more(endpoint, which);
            }
            _ => {}
        }
    }
}

#[test]
fn streams_that_are_all_written_to_share_fairly() {
    const STREAMS: usize = 8;
    // A small buffer, so that they take many turns.
    let transport = Transport {
        max_send_buffer: 64 << 10,
        first_streams: STREAMS as u32,
        ..Transport::default()
    };
    let mut pair = Pair::new(Limits::default(), transport);
    let chunk = Bytes::from(vec![0; CHUNK]);
    let mut greedy = Greedy { begins: STREAMS, streams: Vec::new(), chunk, writable: 0 };
    let mut bytes = Counted::default();
    pair.connect();
    for _ in 0..ROUNDS {
        pair.client.turn(NOW, &mut greedy).unwrap();
        pair.server.turn(NOW, &mut bytes).unwrap();
        if bytes.bytes > 12_000_000 {
            break;
        }
    }
    let all: u64 = greedy.streams.iter().map(|stream| stream.1).sum();
    println!("{:?} {} times told", greedy.streams, greedy.writable);
    assert!(bytes.bytes > 12_000_000);
    for (stream, written) in &greedy.streams {
        let share = all / STREAMS as u64;
        assert!(*written > share / 2 && *written < share * 2, "{stream} got {written} of {all}");
    }
}

/// Counts what it reads, and allocates nothing.
#[derive(Default)]
struct Counted {
    bytes: u64,
}

impl Handler for Counted {
    fn event(&mut self, _: &mut gapless_quic::Endpoint, _: std::time::Instant, event: Event) {
        if let Event::Data { bytes, .. } = event {
            self.bytes += bytes.len() as u64;
        }
    }
}

#[test]
fn a_warm_transfer_allocates_little_for_a_datagram() {
    let mut pair = Pair::new(Limits::default(), Transport::default());
    let chunk = Bytes::from(vec![0; CHUNK]);
    let mut greedy = Greedy { begins: 1, streams: Vec::new(), chunk, writable: 0 };
    let mut counted = Counted::default();
    pair.connect();
    let mut sender = [0_u64; 2];
    let mut receiver = [0_u64; 2];
    let mut begin = None;
    for _ in 0..ROUNDS {
        let is_warm = counted.bytes > 4_000_000;
        let (turn, sent) = alloc::measure(|| pair.client.turn(NOW, &mut greedy).unwrap());
        let acks = turn.datagrams as u64;
        let (turn, received) = alloc::measure(|| pair.server.turn(NOW, &mut counted).unwrap());
        if is_warm {
            begin.get_or_insert(pair.client.sent().datagrams);
            sender = [sender[0] + sent.allocations, sender[1] + acks];
            receiver = [receiver[0] + received.allocations, receiver[1] + turn.datagrams as u64];
        }
        if counted.bytes > 24_000_000 {
            break;
        }
    }
    let sent = pair.client.sent().datagrams - begin.unwrap();
    let each =
        [sender[0] as f64 / (sent + sender[1]) as f64, receiver[0] as f64 / receiver[1] as f64];
    println!(
        "allocations for a datagram: {:.2} where it is sent, {:.2} where it is read",
        each[0], each[1]
    );
    println!("sender {sender:?} with {sent} sent, receiver {receiver:?}");
    assert!(counted.bytes > 24_000_000);
    assert!(each[0] < 0.5 && each[1] < 2.5, "{each:?}");
}
