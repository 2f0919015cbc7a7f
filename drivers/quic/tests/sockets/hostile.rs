//! Hostile peers: floods, noise and abuse cost them their own connection at most.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Instant;

use bytes::BytesMut;
use gapless_quic::{Direction, Driver, Limits, Reason, Transport};
use gapless_tests::alloc;
use quinn_proto::ConnectionError;

use crate::certified::client;
use crate::crafted::{Initial, Random, unknown_version};
use crate::pair::{NOW, PAUSE, Pair, ROUNDS, assert_clean};
use crate::path::{Path, socket};
use crate::peer::{Habit, TestPeer};

/// The largest payload of a UDP datagram over IPv4.
const LARGEST: usize = 65_507;

/// The effect of a server's turns on its memory.
#[derive(Default, Debug)]
pub(crate) struct Memory {
    pub(crate) live: isize,
    pub(crate) peak: isize,
}

impl Memory {
    pub(crate) fn turn(&mut self, driver: &mut Driver, peer: &mut TestPeer) -> gapless_quic::Turn {
        let (turn, measured) = alloc::measure(|| driver.turn(NOW, peer).unwrap());
        self.peak = self.peak.max(self.live + measured.peak);
        self.live += measured.growth;
        turn
    }
}

#[test]
fn a_client_of_an_unknown_protocol_is_refused_and_leaves_nothing() {
    let mut pair = Pair::new(Limits::default(), Transport::default());
    let (config, address) = (pair.certified.client(b"other"), pair.server.address());
    pair.client.endpoint().connect(Instant::now(), config, address, "localhost").unwrap();
    pair.until(|pair| !pair.at_client.gone.is_empty());
    let Some(Reason::Lost(ConnectionError::ConnectionClosed(close))) = pair.at_client.reason()
    else {
        panic!("{:?}", pair.at_client.gone);
    };
    // The alert no_application_protocol (RFC 7301 §3.2), as a code of QUIC (RFC 9001 §4.8).
    assert_eq!(u64::from(close.error_code), 0x100 + 120);
    assert_eq!(pair.at_server.connected, []);
    pair.assert_nothing_is_left();
}

#[test]
fn datagrams_larger_than_the_endpoint_takes_are_dropped_and_counted() {
    for (max_udp_payload, largest) in [(1200, 1472), (1452, 1472), (9000, 9000)] {
        let transport = Transport { max_udp_payload, ..Transport::default() };
        let mut pair = Pair::new(Limits::default(), transport);
        assert_eq!(pair.server.endpoint().max_datagram(), largest);
        let noise = socket();
        for size in [largest, largest + 1, LARGEST] {
            noise.send_to(&vec![0xC0; size], pair.server.address()).unwrap();
        }
        pair.until(|pair| pair.server.received().datagrams == 3);
        assert_eq!(pair.server.endpoint().stats().oversized, 2);
    }
}

#[test]
fn no_endpoint_takes_datagrams_larger_than_there_are() {
    let transport = Transport { max_udp_payload: u16::MAX, ..Transport::default() };
    let mut pair = Pair::new(Limits::default(), transport);
    assert_eq!(pair.server.endpoint().max_datagram(), 65_527);
    pair.connected();
}

#[test]
fn a_flood_of_a_hundred_thousand_first_packets_stays_within_bounds_and_others_are_served() {
    const TURNS: u64 = 1_000;
    const EACH: u64 = 50;
    let limits = Limits { handshakes_per_turn: 4, retry_above: 16, ..Limits::default() };
    let mut pair = Pair::new(limits, Transport::default());
    let flood = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 9), 0)).unwrap();
    flood.set_nonblocking(true).unwrap();
    let initial = Initial::of(&pair.certified);
    pair.at_client = TestPeer::sending(Direction::Bidirectional, 2, 1_000_000);
    pair.at_server = TestPeer::with_habit(Habit::Answer(1_000_000));
    pair.connect();
    let (mut memory, mut early) = (Memory::default(), 0);
    let mut answers = [0; 2048];
    for turn in 0..TURNS {
        for id in turn * EACH..(turn + 1) * EACH {
            flood.send_to(&initial.to_server(id), pair.server.address()).unwrap();
            flood.send_to(&unknown_version(id), pair.server.address()).unwrap();
        }
        let before = pair.server.endpoint().connections();
        memory.turn(&mut pair.server, &mut pair.at_server);
        let begun = pair.server.endpoint().connections().saturating_sub(before);
        assert!(begun <= limits.handshakes_per_turn, "{begun}");
        pair.client.turn(NOW, &mut pair.at_client).unwrap();
        while flood.recv(&mut answers).is_ok() {}
        if turn == TURNS / 4 {
            // Somebody else comes in the middle of it.
            pair.connect();
            early = memory.peak;
        }
    }
    let stats = *pair.server.endpoint().stats();
    println!("{memory:?}, {early} after a quarter, {stats:?}, {:?}", pair.server.received());
    pair.until(|pair| pair.at_client.streams.len() == 4 && pair.at_client.without_end().is_empty());
    assert_eq!(pair.at_client.received(), 4_000_000);
    assert!(pair.server.received().datagrams > TURNS * EACH * 2);
    // Those that were given up linger for a while, beside others in their place.
    assert!(pair.server.endpoint().connections() <= 2 + 2 * limits.retry_above);
    assert!(memory.peak < 8 << 20, "{memory:?}");
    // The memory that is there after a quarter serves for the rest; the second client came later.
    assert!(memory.peak - early < 2 << 20, "{memory:?} {early}");
    assert!(stats.retried > 0);
}

#[test]
fn answers_to_attackers_do_not_keep_connections_from_sending() {
    let mut pair = Pair::new(Limits::default(), Transport::default());
    pair.connected();
    pair.rounds(20);
    let (now, connection) = (Instant::now(), pair.at_server.connected[0]);
    let Pair { server, at_server, .. } = &mut pair;
    let honest = server.endpoint().peer(connection).unwrap().address;
    at_server.send(server.endpoint(), connection, Direction::Unidirectional, 10_000).unwrap();
    while server.endpoint().poll_event(now).is_some() {}
    let attacker = "127.0.0.9:9".parse().unwrap();
    for id in 0..64 {
        let probe = BytesMut::from(&unknown_version(id)[..]);
        server.endpoint().datagram(now, attacker, None, None, probe);
    }
    let mut to = Vec::new();
    while let Some(transmit) = server.endpoint().poll_transmit(now, 1, &mut Vec::new()) {
        to.push(transmit.destination);
    }
    assert_eq!(to.iter().filter(|&&to| to == attacker).count(), 64);
    assert!(to[..4].contains(&honest), "{to:?}");
    assert!(to[..4].contains(&attacker), "{to:?}");
}

#[test]
fn retries_that_cannot_be_sent_are_not_made() {
    let limits = Limits { retry_above: 0, ..Limits::default() };
    let mut pair = Pair::new(limits, Transport::default());
    let initial = Initial::of(&pair.certified);
    let attacker = "127.0.0.9:9".parse().unwrap();
    for id in 0..300 {
        let packet = BytesMut::from(&initial.to_server(id)[..]);
        pair.server.endpoint().datagram(Instant::now(), attacker, None, None, packet);
    }
    let stats = *pair.server.endpoint().stats();
    assert_eq!((stats.retried, stats.unanswered), (64, 300 - 64));
}

#[test]
fn noise_of_every_size_harms_nobody() {
    let sending = TestPeer::sending(Direction::Bidirectional, 3, 200_000);
    let answering = TestPeer::with_habit(Habit::Answer(100_000));
    let mut pair = Pair::with(Transport::default(), answering, sending);
    pair.connect();
    let mut random = Random(5);
    let noise = socket();
    let mut sizes = vec![0, 1, 20, 21, 1199, 1200, 1500, LARGEST - 1, LARGEST];
    sizes.extend((0..500).map(|_| random.below(1500) as usize));
    let mut sent = 0;
    pair.until(|pair| {
        for _ in 0..5 {
            let Some(size) = sizes.pop() else { break };
            let bytes = random.bytes(size);
            for to in [pair.server.address(), pair.client.address()] {
                noise.send_to(&bytes, to).unwrap();
                sent += 1;
            }
        }
        sizes.is_empty() && pair.at_client.without_end().is_empty()
    });
    assert!(sent > 1000);
    assert_eq!(pair.at_client.received(), 300_000);
    assert!(pair.at_client.streams.values().all(|known| known.is_whole && known.is_finished));
}

#[test]
fn packets_that_are_cut_or_changed_on_the_way_harm_nobody() {
    for seed in 0..4 {
        let mut random = Random(seed);
        let sending = TestPeer::sending(Direction::Bidirectional, 3, 100_000);
        let answering = TestPeer::with_habit(Habit::Answer(50_000));
        let mut pair = Pair::with(Transport::default(), answering, sending);
        let mut path = Path::new(pair.server.address());
        pair.connect_to(path.address());
        let (mut mangled, server) = (0, pair.server.address());
        let noise = socket();
        pair.until(|pair| {
            path.pump(|_, bytes| {
                if random.below(20) > 0 {
                    return true;
                }
                // The whole one is lost; what is left of it comes from elsewhere, as any noise would.
                let mut bytes = bytes.to_vec();
                if random.below(2) == 0 {
                    bytes.truncate(random.below(bytes.len() as u64) as usize);
                } else {
                    let at = random.below(bytes.len() as u64) as usize;
                    bytes[at] ^= 1 << random.below(8);
                }
                for to in [server, pair.client.address()] {
                    noise.send_to(&bytes, to).unwrap();
                }
                mangled += 1;
                false
            });
            pair.at_client.streams.len() == 3 && pair.at_client.without_end().is_empty()
        });
        assert!(mangled > 0);
        assert!(pair.at_client.streams.values().all(|known| known.is_whole));
        assert_eq!(pair.at_client.received(), 150_000);
    }
}

#[test]
fn a_flood_of_streams_stays_within_its_limit_and_leaves_nothing() {
    const STREAMS: usize = 10_000;
    let transport =
        Transport { max_bidirectional: 30, max_unidirectional: 30, ..Transport::default() };
    let mut pair = Pair::with(transport, TestPeer::reading(), TestPeer::reading());
    let connection = pair.connected();
    let mut memory = Memory::default();
    let mut random = Random(1);
    let mut opened = 0;
    let mut abuser = TestPeer::reading();
    for _ in 0..ROUNDS {
        for direction in [Direction::Bidirectional, Direction::Unidirectional] {
            while let Some(stream) =
                abuser.send(pair.client.endpoint(), connection, direction, random.below(3) * 700)
            {
                opened += 1;
                if random.below(2) == 0 {
                    let _ = pair.client.endpoint().reset(stream, 1);
                }
                if direction == Direction::Bidirectional {
                    pair.client.endpoint().stop(stream, 2).unwrap();
                }
            }
        }
        pair.client.turn(PAUSE, &mut abuser).unwrap();
        memory.turn(&mut pair.server, &mut pair.at_server);
        assert!(pair.server.endpoint().streams() <= 60);
        // The test's own record of streams is none of the server's memory.
        pair.at_server.streams.retain(|_, known| !known.is_closed);
        if opened >= STREAMS {
            break;
        }
    }
    assert!(opened >= STREAMS, "{opened}");
    println!("{memory:?}");
    assert!(memory.peak < 4 << 20, "{memory:?}");
    pair.at_client = abuser;
    pair.client.endpoint().close(Instant::now(), connection, 0, b"").unwrap();
    pair.assert_nothing_is_left();
}

#[test]
fn what_nobody_reads_takes_no_more_memory_than_the_windows() {
    const WINDOW: u32 = 256 << 10;
    let transport =
        Transport { stream_window: 64 << 10, connection_window: WINDOW, ..Transport::default() };
    let sending = TestPeer::sending(Direction::Unidirectional, 50, 1_000_000);
    let mut pair = Pair::with(transport, TestPeer::with_habit(Habit::Pause), sending);
    pair.connect();
    let mut memory = Memory::default();
    let mut sent = 0;
    for _ in 0..300 {
        pair.client.turn(PAUSE, &mut pair.at_client).unwrap();
        memory.turn(&mut pair.server, &mut pair.at_server);
        sent = pair.at_client.streams.values().map(|known| known.sent).sum();
    }
    println!("{memory:?}");
    assert_eq!((sent, pair.at_server.received()), (u64::from(WINDOW), 0));
    assert!(memory.peak < 3 * WINDOW as isize, "{memory:?}");
}

#[test]
fn a_server_that_is_gone_for_good_and_answers_with_noise_ends_by_the_idle_timeout() {
    let after = std::time::Duration::from_secs(2);
    let transport = Transport { idle_timeout: after, ..Transport::default() };
    let sending = TestPeer::sending(Direction::Bidirectional, 2, 1_000_000);
    let mut pair = Pair::with(transport, TestPeer::reading(), sending);
    pair.connect();
    pair.until(|pair| pair.at_server.received() > 50_000);
    // The new process at the server's address knows nothing of its keys.
    let address = pair.server.address();
    pair.server = Driver::new(client(transport)).unwrap();
    let impostor = UdpSocket::bind(address).unwrap();
    let mut random = Random(3);
    pair.until(|pair| {
        let mut noise = random.bytes(60);
        noise[0] = 0x40 | noise[0] & 0x3F;
        impostor.send_to(&noise, pair.client.address()).unwrap();
        // Rounds are bounded in number, and silence takes its time.
        std::thread::sleep(std::time::Duration::from_millis(5));
        pair.client.endpoint().connections() == 0
    });
    assert_eq!(pair.at_client.reason(), Some(&Reason::IdleTimedOut { after }));
    assert_clean(&mut pair.client, &pair.at_client);
}
