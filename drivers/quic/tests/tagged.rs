//! Tagged streams between two drivers on loopback.

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use gapless_core::demux::{self, AcceptorId, Direction, NO_ACCEPTOR, Pattern, Registrant};
use gapless_quic::tagged::{Notice, Opened, Streams};
use gapless_quic::{Acceptors, ConnectionId, Driver, Event, StreamId, Tagged};

const TURNS: usize = 20_000;
const ECHO: AcceptorId = AcceptorId(7);
const OWN: AcceptorId = AcceptorId(3);

/// Sends back what comes, tagged or not.
#[derive(Default)]
struct Echo {
    opened: Vec<Opened>,
}

impl Acceptors for Echo {
    fn opened(&mut self, _: &mut Streams<'_>, opened: Opened) -> bool {
        self.opened.push(opened);
        true
    }

    fn notice(&mut self, streams: &mut Streams<'_>, notice: Notice) {
        if let Notice::Data { stream, mut bytes, fin, acceptor } = notice {
            assert_eq!(acceptor, ECHO);
            streams.endpoint.write(stream, &mut bytes).unwrap();
            assert!(bytes.is_empty(), "what is echoed is small");
            if fin {
                streams.endpoint.finish(stream).unwrap();
            }
        }
    }
}

#[derive(Default)]
struct Client {
    connection: Option<ConnectionId>,
    echoed: Vec<u8>,
    is_ended: bool,
    stopped: Option<(StreamId, u64)>,
    closed: Vec<StreamId>,
}

impl Acceptors for Client {
    fn opened(&mut self, _: &mut Streams<'_>, _: Opened) -> bool {
        panic!("nobody opens a stream to the client")
    }

    fn notice(&mut self, _: &mut Streams<'_>, notice: Notice) {
        match notice {
            Notice::Data { acceptor, bytes, fin, .. } => {
                assert_eq!(acceptor, OWN);
                self.echoed.extend_from_slice(&bytes);
                self.is_ended |= fin;
            }
            Notice::Event(Event::Connected { connection }) => self.connection = Some(connection),
            Notice::Event(Event::Stopped { stream, code, .. }) => {
                self.stopped = Some((stream, code))
            }
            Notice::Event(Event::Closed { stream, .. }) => self.closed.push(stream),
            _ => {}
        }
    }
}

struct Pair {
    server: Driver,
    client: Driver,
    echo: Tagged<Echo>,
    own: Tagged<Client>,
}

impl Pair {
    fn connected() -> Self {
        let certified = support::certified(&[gapless_quic::tagged::PROTOCOL]);
        let origin = Instant::now();
        let mut pair = Self {
            server: Driver::new(support::config(Some(&certified))).unwrap(),
            client: Driver::new(support::config(None)).unwrap(),
            echo: Tagged::new(demux::Config::default(), origin, Echo::default()).unwrap(),
            own: Tagged::new(demux::Config::default(), origin, Client::default()).unwrap(),
        };
        let address = pair.server.address();
        let client = certified.client(&[gapless_quic::tagged::PROTOCOL]);
        pair.client.endpoint().connect(origin, client, address, "localhost").unwrap();
        pair.turn_until(|pair| pair.own.acceptors().connection.is_some());
        let endpoint = pair.server.endpoint();
        pair.echo.with(endpoint, origin, |streams, _| {
            streams.register(ECHO, Pattern::Exact(b"echo"), Registrant::Application).unwrap();
        });
        pair
    }

    fn turn_until(&mut self, until: impl Fn(&mut Self) -> bool) {
        for _ in 0..TURNS {
            self.client.turn(Some(Duration::ZERO), &mut self.own).unwrap();
            self.server.turn(Some(Duration::from_millis(1)), &mut self.echo).unwrap();
            if until(self) {
                return;
            }
        }
        panic!("it takes too long");
    }

    fn open(&mut self, tag: &[u8]) -> StreamId {
        let (now, endpoint) = (Instant::now(), self.client.endpoint());
        self.own.with(endpoint, now, |streams, client| {
            let connection = client.connection.unwrap();
            let by = Registrant::Application;
            streams.open(connection, Direction::Bidirectional, OWN, tag, by).unwrap()
        })
    }
}

#[test]
fn a_tagged_stream_finds_its_acceptor_and_talks_back() {
    let mut pair = Pair::connected();
    let stream = pair.open(b"echo");
    pair.client.endpoint().write(stream, &mut Bytes::from_static(b"hello")).unwrap();
    pair.client.endpoint().finish(stream).unwrap();
    pair.turn_until(|pair| pair.own.acceptors().closed == [stream]);
    let client = pair.own.acceptors();
    assert_eq!((&client.echoed[..], client.is_ended), (&b"hello"[..], true));
    let [opened] = &pair.echo.acceptors().opened[..] else { panic!("one stream was opened") };
    assert_eq!((opened.acceptor, &*opened.tag), (ECHO, &b"echo"[..]));
    let peer = pair.server.endpoint().peer(opened.stream.connection).unwrap();
    assert_eq!(peer.address, pair.client.address());
}

#[test]
fn a_tag_that_nobody_registered_is_refused_with_its_code() {
    let mut pair = Pair::connected();
    let stream = pair.open(b"nobody");
    pair.turn_until(|pair| pair.own.acceptors().stopped.is_some());
    assert_eq!(pair.own.acceptors().stopped, Some((stream, NO_ACCEPTOR)));
}
