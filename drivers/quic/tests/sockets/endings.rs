//! However a connection or a stream ends, both sides learn it with a reason, and nothing is left.

use std::time::{Duration, Instant};

use gapless_quic::{Direction, Driver, Limits, Reason, Transport};
use gapless_tests::alloc;
use quinn_proto::ConnectionError;

use crate::certified::client;
use crate::crafted::Random;
use crate::pair::{NOW, PAUSE, Pair, ROUNDS, assert_clean};
use crate::path::{Path, Way};
use crate::peer::{Habit, TestPeer};

/// A connection that hears nothing for so long is over.
const IDLE: Duration = Duration::from_millis(150);
const SEEDS: u64 = 12;

fn impatient() -> Transport {
    Transport { idle_timeout: IDLE, ..Transport::default() }
}

/// Several streams of both kinds, answered.
fn busy() -> Pair {
    let sending = TestPeer::sending(Direction::Bidirectional, 6, 120_000);
    Pair::with(impatient(), TestPeer::with_habit(Habit::Answer(60_000)), sending)
}

#[track_caller]
fn assert_timed_out(peer: &TestPeer) {
    assert_eq!(peer.reason(), Some(&Reason::IdleTimedOut { after: IDLE }));
}

#[test]
fn an_end_by_silence_names_the_smaller_idle_timeout_of_both_sides() {
    // Zero is none.
    for (ours, theirs) in [(IDLE, 200 * IDLE), (200 * IDLE, IDLE), (Duration::ZERO, IDLE)] {
        let of = |idle_timeout| Transport { idle_timeout, ..Transport::default() };
        let mut pair = Pair::new(Limits::default(), of(ours));
        pair.client = Driver::new(client(of(theirs))).unwrap();
        pair.connected();
        pair.until(|pair| !pair.at_client.gone.is_empty() && !pair.at_server.gone.is_empty());
        assert_timed_out(&pair.at_client);
        assert_timed_out(&pair.at_server);
    }
}

#[test]
fn a_close_reaches_the_peer_with_its_code_and_reason() {
    let mut pair = busy();
    let connection = pair.connected();
    pair.client.endpoint().close(Instant::now(), connection, 0x2a, b"enough").unwrap();
    pair.assert_nothing_is_left();
    assert_eq!(pair.at_client.reason(), Some(&Reason::Closed { code: 0x2a }));
    let Some(Reason::Lost(ConnectionError::ApplicationClosed(close))) = pair.at_server.reason()
    else {
        panic!("{:?}", pair.at_server.gone);
    };
    assert_eq!((close.error_code.into_inner(), &close.reason[..]), (0x2a, &b"enough"[..]));
}

#[test]
fn a_closed_connection_is_forgotten_though_its_peer_goes_on_sending() {
    let mut pair = busy();
    let mut path = Path::new(pair.server.address());
    let connection = pair.connect_to(path.address());
    let mut packet = Vec::new();
    pair.until(|pair| {
        path.pump(|way, bytes| {
            if way == Way::ToClient {
                packet = bytes.to_vec();
            }
            true
        });
        pair.at_client.received() > 0
    });
    pair.client.endpoint().close(Instant::now(), connection, 0, b"").unwrap();
    for _ in 0..ROUNDS {
        path.to_client(&packet);
        pair.client.turn(PAUSE, &mut pair.at_client).unwrap();
        if pair.client.endpoint().connections() == 0 {
            break;
        }
    }
    assert_clean(&mut pair.client, &pair.at_client);
}

#[test]
fn a_close_before_the_handshake_is_over_leaves_nothing() {
    for rounds in 0..6 {
        let mut pair = busy();
        let connection = pair.connect();
        pair.rounds(rounds);
        pair.client.endpoint().close(Instant::now(), connection, 1, b"").unwrap();
        pair.assert_nothing_is_left();
        assert_eq!(pair.at_client.reason(), Some(&Reason::Closed { code: 1 }));
    }
}

#[test]
fn a_close_by_the_server_while_the_handshake_goes_on_leaves_nothing() {
    let mut pair = busy();
    pair.connect();
    // The client is turned first: its first packet is there, and has been answered.
    pair.round();
    assert_eq!(pair.server.endpoint().connections(), 1);
    let mut closed = Closing::default();
    for _ in 0..ROUNDS {
        pair.server.turn(NOW, &mut closed).unwrap();
        pair.client.turn(PAUSE, &mut pair.at_client).unwrap();
        if pair.server.endpoint().connections() + pair.client.endpoint().connections() == 0 {
            break;
        }
    }
    assert_eq!(closed.gone, Some(Reason::Closed { code: 9 }));
    assert!(pair.at_client.reason().is_some());
    assert_clean(&mut pair.client, &pair.at_client);
    assert_clean(&mut pair.server, &TestPeer::reading());
}

/// Closes every connection as soon as it is there.
#[derive(Default)]
struct Closing {
    gone: Option<Reason>,
}

impl gapless_quic::Handler for Closing {
    fn event(
        &mut self,
        endpoint: &mut gapless_quic::Endpoint,
        now: Instant,
        event: gapless_quic::Event,
    ) {
        match event {
            gapless_quic::Event::Connected { connection } => {
                endpoint.close(now, connection, 9, b"").unwrap();
            }
            gapless_quic::Event::Disconnected { reason, .. } => self.gone = Some(reason),
            _ => {}
        }
    }
}

#[test]
fn connections_that_come_and_go_leave_no_memory() {
    let mut pair = Pair::new(Limits::default(), Transport::default());
    let mut live = [0_isize; 2];
    for round in 0..60 {
        for _ in 0..4 {
            let connection = pair.connect();
            let mut peer = TestPeer::sending(Direction::Bidirectional, 3, 2_000);
            for _ in 0..ROUNDS {
                pair.client.turn(PAUSE, &mut peer).unwrap();
                let turn = || pair.server.turn(NOW, &mut pair.at_server).unwrap();
                live[0] += alloc::measure(turn).1.growth;
                if peer.streams.len() == 3 && peer.without_end().is_empty() {
                    break;
                }
            }
            pair.client.endpoint().close(Instant::now(), connection, 0, b"").unwrap();
        }
        pair.at_client = TestPeer::reading();
        for _ in 0..ROUNDS {
            pair.client.turn(PAUSE, &mut pair.at_client).unwrap();
            let turn = || pair.server.turn(NOW, &mut pair.at_server).unwrap();
            live[0] += alloc::measure(turn).1.growth;
            if pair.client.endpoint().connections() + pair.server.endpoint().connections() == 0 {
                break;
            }
        }
        // The test's own record, as it was allocated in the server's turns.
        live[0] += alloc::measure(|| pair.at_server = TestPeer::reading()).1.growth;
        if round == 9 {
            live[1] = live[0];
        }
    }
    println!("{live:?}");
    assert_eq!(pair.server.endpoint().stats().disconnected, 240);
    assert!((live[0] - live[1]).abs() < 16 << 10, "{live:?}");
}

#[test]
fn a_peer_that_vanishes_ends_every_stream_wherever_it_was() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let mut pair = busy();
        pair.connect();
        pair.rounds(random.below(25) as usize);
        println!("seed {seed}: after {} bytes", pair.at_server.received());
        if seed % 2 == 0 {
            drop(std::mem::replace(&mut pair.server, Driver::new(client(impatient())).unwrap()));
            pair.until(|pair| pair.client.endpoint().connections() == 0);
            assert_clean(&mut pair.client, &pair.at_client);
            assert_eq!(pair.at_client.gone.len(), 1);
        } else {
            drop(std::mem::replace(&mut pair.client, Driver::new(client(impatient())).unwrap()));
            pair.until(|pair| pair.server.endpoint().connections() == 0);
            assert_clean(&mut pair.server, &pair.at_server);
            assert_eq!(pair.at_server.connected.len().min(1), pair.at_server.gone.len().min(1));
        }
    }
}

#[test]
fn a_path_that_goes_dead_ends_every_stream_on_both_sides() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let mut pair = busy();
        let mut path = Path::new(pair.server.address());
        pair.connect_to(path.address());
        let dies_after = 1 + random.below(300);
        let dead_way = [None, Some(Way::ToServer), Some(Way::ToClient)][seed as usize % 3];
        let mut count = 0;
        pair.until(|pair| {
            path.pump(|way, _| {
                count += 1;
                count < dies_after || dead_way.is_some_and(|dead| dead != way)
            });
            pair.client.endpoint().connections() + pair.server.endpoint().connections() == 0
                && (count > 0)
        });
        println!("seed {seed}: {count} datagrams, {:?} dead", dead_way);
        assert_eq!(pair.at_client.gone.len(), 1);
        pair.assert_nothing_is_left();
    }
}

#[test]
fn a_path_that_loses_a_tenth_of_all_delivers_everything() {
    for seed in 0..3 {
        let mut random = Random(seed);
        let sending = TestPeer::sending(Direction::Bidirectional, 6, 120_000);
        let answering = TestPeer::with_habit(Habit::Answer(60_000));
        let mut pair = Pair::with(Transport::default(), answering, sending);
        let mut path = Path::new(pair.server.address());
        let connection = pair.connect_to(path.address());
        pair.until(|pair| {
            path.pump(|_, _| random.below(10) > 0);
            pair.at_client.streams.len() == 6 && pair.at_client.without_end().is_empty()
        });
        for known in pair.at_client.streams.values() {
            assert!(known.is_whole && known.is_finished, "{known:?}");
            assert_eq!((known.sent, known.received), (120_000, 60_000));
        }
        let stats = pair.client.endpoint().connection_stats(connection).unwrap();
        assert!(stats.path.lost_packets > 0);
    }
}

#[test]
fn an_idle_connection_is_over_after_its_timeout_and_one_kept_alive_is_not() {
    let mut idle = Pair::with(impatient(), TestPeer::reading(), TestPeer::reading());
    let keeping = Transport { keep_alive: IDLE / 4, ..impatient() };
    let mut kept = Pair::with(keeping, TestPeer::reading(), TestPeer::reading());
    idle.connected();
    kept.connected();
    // The one that is kept is given twice the time that the other takes.
    for _ in 0..2 {
        let begin = Instant::now();
        idle.until(|idle| {
            kept.round();
            idle.client.endpoint().connections() + idle.server.endpoint().connections() == 0
                && begin.elapsed() > IDLE
        });
    }
    assert_timed_out(&idle.at_client);
    assert_timed_out(&idle.at_server);
    idle.assert_nothing_is_left();
    assert_eq!((kept.at_client.gone.len(), kept.at_server.gone.len()), (0, 0));
    assert_eq!(kept.server.endpoint().connections(), 1);
}

#[test]
fn what_came_in_time_counts_though_it_is_read_late() {
    let transport = Transport { keep_alive: IDLE / 5, ..impatient() };
    let mut pair = Pair::with(transport, TestPeer::reading(), TestPeer::reading());
    pair.connected();
    pair.rounds(5);
    // The client is busy elsewhere, while the server sends to it until it gives up.
    for _ in 0..ROUNDS {
        pair.server.turn(PAUSE, &mut pair.at_server).unwrap();
        if !pair.at_server.gone.is_empty() {
            break;
        }
    }
    std::thread::sleep(IDLE);
    pair.client.turn(NOW, &mut pair.at_client).unwrap();
    assert_eq!(pair.at_client.gone, []);
}

#[test]
fn a_client_that_moves_to_another_port_goes_on() {
    let sending = TestPeer::sending(Direction::Bidirectional, 3, 400_000);
    let answering = TestPeer::with_habit(Habit::Answer(200_000));
    let mut pair = Pair::with(Transport::default(), answering, sending);
    let mut path = Path::new(pair.server.address());
    pair.connect_to(path.address());
    pair.until(|pair| {
        path.pump(|_, _| true);
        pair.at_server.received() > 100_000
    });
    let connection = pair.at_server.connected[0];
    let before = pair.server.endpoint().peer(connection).unwrap().address;
    path.move_client();
    pair.until(|pair| {
        path.pump(|_, _| true);
        pair.at_client.without_end().is_empty()
    });
    let after = pair.server.endpoint().peer(connection).unwrap().address;
    assert_ne!(before.port(), after.port());
    assert!(pair.at_client.streams.values().all(|known| known.is_whole && known.is_finished));
    assert_eq!(pair.at_client.received(), 3 * 200_000);
}

#[test]
fn a_client_of_a_server_that_was_restarted_learns_it_at_its_next_packet() {
    let patient = Transport { idle_timeout: Duration::from_secs(3600), ..Transport::default() };
    let mut pair = Pair::with(patient, TestPeer::reading(), TestPeer::reading());
    let mut path = Path::new(pair.server.address());
    let connection = pair.connect_to(path.address());
    pair.until(|pair| {
        path.pump(|_, _| true);
        pair.at_client.connected.len() + pair.at_server.connected.len() == 2
    });
    // All acknowledgements are through.
    for _ in 0..30 {
        path.pump(|_, _| true);
        pair.round();
    }
    pair.server = Driver::new(pair.certified.server(Limits::default(), patient)).unwrap();
    path.move_server(pair.server.address());
    let Pair { client, at_client, .. } = &mut pair;
    let stream = at_client.send(client.endpoint(), connection, Direction::Unidirectional, 5_000);
    assert!(stream.is_some());
    pair.until(|pair| {
        path.pump(|_, _| true);
        !pair.at_client.gone.is_empty()
    });
    assert_eq!(pair.at_client.reason(), Some(&Reason::Lost(ConnectionError::Reset)));
    // A server that was killed has nothing left.
    pair.at_server = TestPeer::reading();
    pair.assert_nothing_is_left();
}

#[test]
fn nothing_can_be_sent_before_the_handshake_is_over_the_second_time_either() {
    let mut pair = Pair::with(Transport::default(), TestPeer::reading(), TestPeer::reading());
    let config = pair.certified.hasty_client();
    for round in 0..2 {
        let address = pair.server.address();
        let endpoint = pair.client.endpoint();
        let connection =
            endpoint.connect(Instant::now(), config.clone(), address, "localhost").unwrap();
        assert_eq!(endpoint.open(connection, Direction::Unidirectional), Ok(None), "{round}");
        let before = pair.at_client.connected.len();
        pair.until(|pair| pair.at_client.connected.len() > before);
        // Tickets, if there were any, come after the handshake.
        pair.rounds(20);
        pair.client.endpoint().close(Instant::now(), connection, 0, b"").unwrap();
        pair.until(|pair| pair.client.endpoint().connections() == 0);
    }
}

#[test]
fn streams_that_the_reader_stops_at_any_point_end_with_the_code_on_both_sides() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let sending = TestPeer::sending(Direction::Unidirectional, 8, 60_000);
        let mut pair = Pair::with(Transport::default(), TestPeer::reading(), sending);
        let connection = pair.connect();
        pair.until(|pair| pair.at_server.received() > 0);
        for _ in 0..8 {
            pair.rounds(random.below(3) as usize);
            let streams: Vec<_> = pair.at_server.streams.keys().copied().collect();
            let stream = streams[random.below(streams.len() as u64) as usize];
            let _ = pair.server.endpoint().stop(stream, 0x55);
        }
        pair.until(|pair| {
            pair.at_client.streams.len() == 8
                && pair.at_client.without_end().is_empty()
                && pair.at_server.without_end().is_empty()
        });
        let ends = pair.at_client.streams.values();
        assert!(ends.clone().all(|known| known.is_finished != (known.stopped == Some(0x55))));
        assert!(ends.filter(|known| known.stopped.is_some()).count() > 0);
        pair.client.endpoint().close(Instant::now(), connection, 0, b"").unwrap();
        pair.assert_nothing_is_left();
    }
}

#[test]
fn streams_that_are_reset_at_any_point_end_with_the_code_on_both_sides() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let habit = if seed % 3 == 0 { Habit::Pause } else { Habit::Read };
        let sending = TestPeer::sending(Direction::Unidirectional, 8, 60_000);
        let mut pair = Pair::with(Transport::default(), TestPeer::with_habit(habit), sending);
        let connection = pair.connected();
        for _ in 0..12 {
            pair.rounds(random.below(3) as usize);
            let streams: Vec<_> = pair.at_client.streams.keys().copied().collect();
            let stream = streams[random.below(streams.len() as u64) as usize];
            let _ = pair.client.endpoint().reset(stream, 0x77);
        }
        // An unread stream ends too, once it is read.
        pair.rounds(10);
        let paused: Vec<_> = pair.at_server.without_end();
        pair.at_server.habit = Habit::Read;
        for stream in paused {
            pair.server.endpoint().resume(stream).unwrap();
        }
        pair.until(|pair| {
            pair.at_server.without_end().is_empty() && pair.at_client.without_end().is_empty()
        });
        // Each was broken off, or all of it had come before.
        for known in pair.at_server.streams.values() {
            assert!(known.reset == Some(0x77) || known.is_whole, "seed {seed}: {known:?}");
        }
        pair.client.endpoint().close(Instant::now(), connection, 0, b"").unwrap();
        pair.assert_nothing_is_left();
    }
}

#[test]
fn a_reset_before_a_pause_is_reported_at_once() {
    for direction in [Direction::Unidirectional, Direction::Bidirectional] {
        let pausing = TestPeer::with_habit(Habit::Pause);
        let mut pair = Pair::with(Transport::default(), pausing, TestPeer::reading());
        let connection = pair.connected();
        let stream = pair.client.endpoint().open(connection, direction).unwrap().unwrap();
        // Nothing was sent of it, so that its end comes with it.
        pair.client.endpoint().reset(stream, 0x33).unwrap();
        pair.until(|pair| pair.at_server.streams.values().any(|known| known.reset == Some(0x33)));
    }
}
