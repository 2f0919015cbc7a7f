//! Peers that dribble preambles or break them off, over real connections: they are refused at their
//! deadlines, and honest streams are dispatched meanwhile.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use gapless_core::demux::{
    self, AcceptorId, DEADLINE, Pattern, Registrant, TOO_MANY, TOO_MANY_OF_PEER,
};
use gapless_core::{Duration, Machine};
use gapless_quic::tagged::{Notice, Opened, PROTOCOL, Streams};
use gapless_quic::{
    Acceptors, ConnectionId, Direction, Driver, Endpoint, Event, Handler, Limits, StreamId, Tagged,
    Transport,
};

use crate::certified::{Certified, client};
use crate::pair::{NOW, PAUSE, ROUNDS};

const TAKER: AcceptorId = AcceptorId(1);
const TAG: &[u8] = b"\x04echo";

/// Takes streams and counts what they hold.
#[derive(Default)]
struct Taker {
    opened: usize,
    received: usize,
}

impl Acceptors for Taker {
    fn opened(&mut self, _: &mut Streams<'_>, _: Opened) -> bool {
        self.opened += 1;
        true
    }

    fn notice(&mut self, _: &mut Streams<'_>, notice: Notice) {
        if let Notice::Data { bytes, .. } = notice {
            self.received += bytes.len();
        }
    }
}

/// Writes what it is told to on raw streams, and remembers how they were refused.
#[derive(Default)]
struct Raw {
    connected: Vec<ConnectionId>,
    stopped: BTreeMap<StreamId, u64>,
    closed: usize,
}

impl Handler for Raw {
    fn event(&mut self, _: &mut Endpoint, _: Instant, event: Event) {
        match event {
            Event::Connected { connection } => self.connected.push(connection),
            Event::Stopped { stream, code, .. } => {
                assert_eq!(self.stopped.insert(stream, code), None);
            }
            Event::Closed { .. } => self.closed += 1,
            Event::Disconnected { reason, .. } => panic!("{reason}"),
            _ => {}
        }
    }
}

fn write(endpoint: &mut Endpoint, stream: StreamId, bytes: &[u8]) {
    let mut bytes = Bytes::copy_from_slice(bytes);
    endpoint.write(stream, &mut bytes).unwrap();
    assert!(bytes.is_empty());
}

struct Scene {
    server: Driver,
    taker: Tagged<Taker>,
    client: Driver,
    raw: Raw,
}

impl Scene {
    fn new(config: demux::Config, transport: Transport, connections: usize) -> Self {
        let certified = Certified::new();
        let limits = Limits { max_connections_per_address: 1_000, ..Limits::default() };
        let mut scene = Self {
            server: Driver::new(certified.server_of(PROTOCOL, limits, transport)).unwrap(),
            taker: Tagged::new(config, Instant::now(), Taker::default()).unwrap(),
            client: Driver::new(client(Transport::default())).unwrap(),
            raw: Raw::default(),
        };
        scene.taker.with(scene.server.endpoint(), Instant::now(), |streams, _| {
            streams.register(TAKER, Pattern::Exact(b"echo"), Registrant::Application).unwrap();
        });
        let address = scene.server.address();
        for _ in 0..connections {
            let (now, config) = (Instant::now(), certified.client(PROTOCOL));
            scene.client.endpoint().connect(now, config, address, "localhost").unwrap();
        }
        scene.until(|scene| scene.raw.connected.len() == connections);
        scene
    }

    fn round(&mut self) {
        self.client.turn(PAUSE, &mut self.raw).unwrap();
        self.server.turn(NOW, &mut self.taker).unwrap();
    }

    #[track_caller]
    fn until(&mut self, mut is_so: impl FnMut(&mut Self) -> bool) {
        for _ in 0..ROUNDS {
            if is_so(self) {
                return;
            }
            self.round();
        }
        panic!("it never came to it: {:?}", self.taker.demux().stats());
    }

    /// Opens a stream as soon as the peer allows it.
    #[track_caller]
    fn open(&mut self, connection: ConnectionId, direction: Direction) -> StreamId {
        let mut opened = None;
        self.until(|scene| {
            opened = scene.client.endpoint().open(connection, direction).unwrap();
            opened.is_some()
        });
        opened.unwrap()
    }
}

#[test]
fn two_hundred_dribbling_connections_are_refused_and_honest_streams_are_dispatched_meanwhile() {
    const DRIBBLERS: usize = 200;
    const EACH: usize = 3;
    let config = demux::Config {
        max_pending: 300,
        max_pending_per_peer: 2,
        preamble_timeout: Duration::from_secs(3),
        ..demux::Config::default()
    };
    let bound = config.max_bytes();
    let mut scene = Scene::new(config, Transport::default(), DRIBBLERS + 1);
    let mut dribblers = scene.raw.connected.clone();
    let honest = dribblers.pop().unwrap();
    let mut dribbling: Vec<StreamId> = Vec::new();
    for connection in dribblers {
        for _ in 0..EACH {
            let stream = scene.open(connection, Direction::Unidirectional);
            write(scene.client.endpoint(), stream, &[255]);
            dribbling.push(stream);
        }
    }
    let (mut sent, mut most, mut dispatched) = (0, 0, 0);
    scene.until(|scene| {
        // One byte more of a few of them, every round.
        for &stream in dribbling.iter().skip(sent % 50).step_by(50) {
            let _ = scene.client.endpoint().write(stream, &mut Bytes::from_static(b"x"));
        }
        let opened = scene.client.endpoint().open(honest, Direction::Unidirectional).unwrap();
        if let Some(stream) = opened {
            write(scene.client.endpoint(), stream, TAG);
            write(scene.client.endpoint(), stream, b"payload");
            scene.client.endpoint().finish(stream).unwrap();
            sent += 1;
        }
        let demux = scene.taker.demux();
        assert!(demux.memory_used() <= bound && demux.pending() <= 300);
        if demux.pending() > most {
            most = demux.pending();
        }
        if demux.pending() == 300 {
            dispatched = scene.taker.acceptors().opened;
        }
        scene.raw.stopped.len() == DRIBBLERS * EACH
    });
    scene.until(|scene| scene.taker.acceptors().opened == sent);
    let Taker { opened, received } = *scene.taker.acceptors();
    println!("{sent} honest streams, {most} pending at most, {dispatched} before the deadline");
    assert_eq!((opened, received, most), (sent, sent * 7, 300));
    assert!(dispatched > 10, "{dispatched}");
    let of = |code| scene.raw.stopped.values().filter(|&&known| known == code).count();
    let (late, many, of_peer) = (of(DEADLINE), of(TOO_MANY), of(TOO_MANY_OF_PEER));
    assert_eq!((late, late + many + of_peer), (300, DRIBBLERS * EACH));
    assert_eq!(scene.taker.demux().pending(), 0);
}

#[test]
fn a_preamble_that_is_broken_off_costs_the_peer_no_stream_for_good() {
    let transport = Transport { max_bidirectional: 2, ..Transport::default() };
    let mut scene = Scene::new(demux::Config::default(), transport, 1);
    let connection = scene.raw.connected[0];
    for _ in 0..6 {
        let stream = scene.open(connection, Direction::Bidirectional);
        write(scene.client.endpoint(), stream, &[9, b'h']);
        scene.until(|scene| scene.taker.demux().pending() == 1);
        scene.client.endpoint().reset(stream, 5).unwrap();
        scene.until(|scene| scene.taker.demux().pending() == 0);
    }
    scene.until(|scene| scene.raw.closed == 6 && scene.server.endpoint().streams() == 0);
}
