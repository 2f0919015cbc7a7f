//! Properties of turns: when they wait, how much they do, and that they work in somebody else's loop.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use gapless_core::Session;
use gapless_mio::{PassThrough, PublisherConfig, PublisherDriver};
use gapless_quic::{Direction, Driver, Limits, Transport};
use mio::{Events, Poll, Token};

use crate::certified::{Certified, PROTOCOL, client};
use crate::pair::{NOW, PAUSE, Pair, ROUNDS, assert_clean};
use crate::path::socket;
use crate::peer::TestPeer;

/// Far more than a turn that does not wait takes on a slow machine, far less than those that wait.
const SOON: Duration = Duration::from_secs(20);
const LONG: Option<Duration> = Some(Duration::from_secs(600));

#[test]
fn a_turn_without_a_timeout_does_not_wait() {
    let mut driver = Driver::new(client(Transport::default())).unwrap();
    let begin = Instant::now();
    for _ in 0..100 {
        let turn = driver.turn(NOW, &mut TestPeer::reading()).unwrap();
        assert_eq!((turn.datagrams, turn.events, turn.more), (0, 0, false));
    }
    assert!(begin.elapsed() < SOON);
}

#[test]
fn a_turn_waits_no_longer_than_its_limit() {
    let mut driver = Driver::new(client(Transport::default())).unwrap();
    driver.turn(NOW, &mut TestPeer::reading()).unwrap();
    let begin = Instant::now();
    driver.turn(Some(Duration::from_millis(30)), &mut TestPeer::reading()).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(30) && begin.elapsed() < SOON);
}

#[test]
fn a_turn_wakes_for_a_datagram() {
    let mut driver = Driver::new(client(Transport::default())).unwrap();
    driver.turn(NOW, &mut TestPeer::reading()).unwrap();
    socket().send_to(&[0; 100], driver.address()).unwrap();
    let begin = Instant::now();
    let turn = driver.turn(LONG, &mut TestPeer::reading()).unwrap();
    assert_eq!(turn.datagrams, 1);
    assert!(begin.elapsed() < SOON);
}

#[test]
fn a_turn_wakes_for_a_timer_of_a_connection() {
    let mut pair = Pair::new(Limits::default(), Transport::default());
    // Nobody answers there: the first packet is sent again, in the end it is given up.
    let silent = socket();
    pair.connect_to(silent.local_addr().unwrap());
    let begin = Instant::now();
    for _ in 0..4 {
        pair.client.turn(LONG, &mut pair.at_client).unwrap();
    }
    assert!(pair.client.sent().datagrams >= 2, "{:?}", pair.client.sent());
    assert!(begin.elapsed() < SOON);
}

#[test]
fn a_turn_wakes_for_what_was_asked_outside_of_it() {
    let mut pair = Pair::new(Limits::default(), Transport::default());
    let connection = pair.connected();
    pair.rounds(20);
    pair.client.endpoint().close(Instant::now(), connection, 7, b"").unwrap();
    let begin = Instant::now();
    let turn = pair.client.turn(LONG, &mut pair.at_client).unwrap();
    assert_eq!(turn.events, 1);
    assert_eq!(pair.at_client.gone.len(), 1);
    // The turn sends the news before it waits for anything else.
    pair.server.turn(LONG, &mut pair.at_server).unwrap();
    assert_eq!(pair.at_server.gone.len(), 1);
    assert!(begin.elapsed() < SOON);
}

#[test]
fn a_turn_that_emitted_something_does_not_wait_for_more() {
    let mut pair = Pair::new(Limits::default(), Transport::default());
    let silent = socket();
    let connection = pair.connect_to(silent.local_addr().unwrap());
    pair.client.turn(NOW, &mut pair.at_client).unwrap();
    pair.client.endpoint().close(Instant::now(), connection, 0, b"").unwrap();
    let turn = pair.client.turn(LONG, &mut pair.at_client).unwrap();
    assert_eq!(turn.events, 1);
    // It would have waited until the connection is forgotten, which is the next thing to happen.
    assert_eq!(pair.client.endpoint().connections(), 1);
}

#[test]
fn an_idle_connection_does_not_keep_its_driver_busy() {
    let transport = Transport { idle_timeout: Duration::from_millis(300), ..Transport::default() };
    let mut pair = Pair::with(transport, TestPeer::reading(), TestPeer::reading());
    pair.connected();
    pair.rounds(20);
    let mut turns = 0;
    while pair.at_client.gone.is_empty() && turns < ROUNDS {
        pair.client.turn(LONG, &mut pair.at_client).unwrap();
        turns += 1;
    }
    // Acknowledgements, path discovery, and the end.
    assert!(turns <= 12, "{turns}");
}

#[test]
fn a_run_ends_when_it_is_told_to() {
    let mut driver = Driver::new(client(Transport::default())).unwrap();
    let mut asked = 0;
    let until = |_: &mut Driver, _: &mut TestPeer| {
        asked += 1;
        asked == 3
    };
    driver.run(&mut TestPeer::reading(), until).unwrap();
    assert_eq!(asked, 3);
}

#[test]
fn a_turn_reads_no_more_than_a_bounded_number_of_datagrams() {
    const EACH: usize = 400;
    let mut config = client(Transport::default());
    config.receive_buffer = 4 << 20;
    let mut driver = Driver::new(config).unwrap();
    let socket = socket();
    for _ in 0..EACH {
        socket.send_to(&[0; 40], driver.address()).unwrap();
    }
    let mut peer = TestPeer::reading();
    let first = driver.turn(NOW, &mut peer).unwrap();
    // 16 calls of 8 each: what one socket sends one by one is not glued together.
    assert_eq!((first.datagrams, first.more), (128, true));
    let mut read = first.datagrams;
    for _ in 0..EACH {
        read += driver.turn(NOW, &mut peer).unwrap().datagrams;
    }
    assert_eq!(read, EACH);
    assert!(!driver.turn(NOW, &mut peer).unwrap().more);
}

#[test]
fn a_driver_shares_a_poll_with_another_kind_of_driver() {
    const PUBLISHER: Token = Token(0);
    const SERVER: Token = Token(PublisherDriver::<PassThrough>::TOKENS);
    const CLIENT: Token = Token(SERVER.0 + Driver::TOKENS);
    const BYTES: u64 = 300_000;

    let certified = Certified::new();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(64);
    let session = Session::from_name(b"TEST").unwrap();
    let publishing = PublisherConfig {
        requests: Some("127.0.0.1:0".parse().unwrap()),
        ..PublisherConfig::new(gapless_core::publisher::Config::new(session))
    };
    let mut publisher =
        PublisherDriver::with_registry(publishing, PassThrough, poll.registry(), PUBLISHER)
            .unwrap();
    let transport = Transport::default();
    let server = certified.server(Limits::default(), transport);
    let mut server = Driver::with_registry(server, poll.registry(), SERVER).unwrap();
    let mut client = Driver::with_registry(client(transport), poll.registry(), CLIENT).unwrap();
    let address = server.address();
    let config = certified.client(PROTOCOL);
    client.endpoint().connect(Instant::now(), config, address, "localhost").unwrap();

    let mut reading = TestPeer::reading();
    let mut sending = TestPeer::sending(Direction::Unidirectional, 3, BYTES);
    let requester = socket();
    requester.send_to(b"no request", publisher.requests_address().unwrap()).unwrap();
    for _ in 0..ROUNDS {
        let timeouts =
            [publisher.timeout(), server.timeout(&reading), client.timeout(&sending), PAUSE];
        poll.poll(&mut events, timeouts.into_iter().flatten().min()).unwrap();
        for event in &events {
            let takers = [publisher.ready(event.token()), server.ready(event), client.ready(event)];
            assert_eq!(takers.iter().filter(|&&is_taken| is_taken).count(), 1, "{event:?}");
        }
        publisher.turn(None).unwrap();
        // Turns in somebody else's loop never wait, whatever they are told.
        server.turn(None, &mut reading).unwrap();
        client.turn(LONG, &mut sending).unwrap();
        if reading.received() == 3 * BYTES && publisher.requests_read().datagrams == 1 {
            break;
        }
    }
    assert_eq!(reading.received(), 3 * BYTES);
    assert_eq!(publisher.requests_read().datagrams, 1);
}

#[test]
fn a_driver_that_is_dropped_leaves_somebody_elses_poll() {
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let config = client(Transport::default());
    let mut driver = Driver::with_registry(config.clone(), poll.registry(), Token(5)).unwrap();
    driver.turn(NOW, &mut TestPeer::reading()).unwrap();
    let address = driver.address();
    drop(driver);
    poll.poll(&mut events, NOW).unwrap();
    let again = gapless_quic::Config { bind: address, ..config };
    let other = Driver::with_registry(again, poll.registry(), Token(6)).unwrap();
    socket().send_to(&[0; 10], other.address()).unwrap();
    poll.poll(&mut events, NOW).unwrap();
    assert!(events.iter().all(|event| event.token() == Token(6)));
    assert!(events.iter().any(mio::event::Event::is_readable));
}

#[test]
fn a_datagram_that_leaves_wakes_nobody() {
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    let certified = Certified::new();
    let config = client(Transport::default());
    let mut driver = Driver::with_registry(config, poll.registry(), Token(5)).unwrap();
    poll.poll(&mut events, NOW).unwrap();
    let silent = socket();
    let to = silent.local_addr().unwrap();
    driver.endpoint().connect(Instant::now(), certified.client(PROTOCOL), to, "localhost").unwrap();
    driver.turn(NOW, &mut TestPeer::reading()).unwrap();
    assert_eq!(driver.sent().datagrams, 1);
    // Its place in the send buffer is free once it was read.
    silent.recv(&mut [0; 2000]).unwrap();
    poll.poll(&mut events, NOW).unwrap();
    assert!(events.is_empty(), "{events:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn drivers_that_are_dropped_leave_no_descriptors() {
    const DRIVERS: usize = 300;
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = count();
    for _ in 0..DRIVERS {
        let mut driver = Driver::new(client(Transport::default())).unwrap();
        driver.turn(NOW, &mut TestPeer::reading()).unwrap();
    }
    // Tests beside this one open some too.
    assert!(count() < before + DRIVERS / 2);
}

#[test]
fn an_idle_driver_has_no_timeout() {
    let mut pair = Pair::new(Limits::default(), Transport::default());
    let connection = pair.connected();
    assert!(pair.client.timeout(&pair.at_client).is_some());
    pair.client.endpoint().close(Instant::now(), connection, 0, b"").unwrap();
    pair.assert_nothing_is_left();
    pair.rounds(2);
    assert_eq!(pair.client.timeout(&pair.at_client), None);
    assert_eq!(pair.server.timeout(&pair.at_server), None);
    assert_clean(&mut pair.client, &pair.at_client);
}

#[test]
fn an_ipv4_address_in_the_form_of_an_ipv6_address_can_be_connected_to() {
    let mut pair = Pair::new(Limits::default(), Transport::default());
    for bind in [Ipv4Addr::LOCALHOST.into(), IpAddr::from(Ipv6Addr::UNSPECIFIED)] {
        let mut config = client(Transport::default());
        config.bind = (bind, 0).into();
        pair.client = Driver::new(config).unwrap();
        pair.at_client = TestPeer::reading();
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        let connection = pair.connect_to((mapped, pair.server.address().port()).into());
        pair.until(|pair| pair.at_client.connected == [connection]);
        let peer = pair.client.endpoint().peer(connection).unwrap();
        assert_eq!(peer.address, pair.server.address());
    }
}

#[test]
fn a_keep_alive_of_any_length_is_no_overflow() {
    let transport = Transport { keep_alive: Duration::MAX, ..Transport::default() };
    let mut pair = Pair::new(Limits::default(), transport);
    pair.connected();
}

#[test]
fn an_idle_timeout_of_less_than_a_millisecond_is_not_none() {
    let idle_timeout = Duration::from_nanos(1);
    let mut pair = Pair::new(Limits::default(), Transport { idle_timeout, ..Transport::default() });
    let silent = socket();
    pair.connect_to(silent.local_addr().unwrap());
    pair.until(|pair| !pair.at_client.gone.is_empty());
}
