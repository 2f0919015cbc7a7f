//! A server whose acceptors are a test's own, and clients that open tagged streams.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use gapless_core::demux::{self, AcceptorId, Direction, Pattern, Registrant};
use gapless_quic::endpoint::Limits;
use gapless_quic::tagged::{Notice, Opened, PROTOCOL, Streams};
use gapless_quic::tls::{self, ClientAuth, Identity, Keys, Trust};
use gapless_quic::{Acceptors, Config, ConnectionId, Driver, Event, Reason, StreamId, Tagged};

const TURNS: usize = 20_000;
/// The longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(100);
/// The acceptor of everything that a client opens.
pub(crate) const OWN: AcceptorId = AcceptorId(3);

/// The fate of a stream that a client opened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Fate {
    pub(crate) answer: Vec<u8>,
    pub(crate) is_answered: bool,
    pub(crate) stopped: Option<u64>,
    pub(crate) reset: Option<u64>,
    /// All of it lies at the other side.
    pub(crate) is_finished: bool,
    pub(crate) is_closed: bool,
}

/// The acceptors of a client: they note what happens.
#[derive(Default)]
pub(crate) struct Noted {
    pub(crate) connections: Vec<ConnectionId>,
    pub(crate) streams: BTreeMap<StreamId, Fate>,
    pub(crate) gone: Vec<(ConnectionId, Reason)>,
}

impl Acceptors for Noted {
    fn opened(&mut self, _: &mut Streams<'_>, _: Opened) -> bool {
        panic!("nobody opens a stream to a client")
    }

    fn notice(&mut self, _: &mut Streams<'_>, notice: Notice) {
        match notice {
            Notice::Data { acceptor, stream, offset, bytes, fin } => {
                assert_eq!(acceptor, OWN);
                let fate = self.streams.entry(stream).or_default();
                assert_eq!(offset, fate.answer.len() as u64);
                fate.answer.extend_from_slice(&bytes);
                fate.is_answered |= fin;
            }
            Notice::HandOffFailed { .. } => panic!("nothing is handed to a client"),
            Notice::Event(event) => match event {
                Event::Connected { connection } => self.connections.push(connection),
                Event::Disconnected { connection, reason } => self.gone.push((connection, reason)),
                Event::Stopped { stream, code, .. } => {
                    self.streams.entry(stream).or_default().stopped = Some(code);
                }
                Event::Reset { stream, code, .. } => {
                    self.streams.entry(stream).or_default().reset = Some(code);
                }
                Event::Finished { stream, .. } => {
                    self.streams.entry(stream).or_default().is_finished = true;
                }
                Event::Closed { stream, .. } => {
                    self.streams.entry(stream).or_default().is_closed = true;
                }
                _ => {}
            },
        }
    }
}

/// A server and a client, which can have many connections.
pub(crate) struct Pair<A> {
    pub(crate) server: Driver,
    pub(crate) client: Driver,
    pub(crate) theirs: Tagged<A>,
    pub(crate) ours: Tagged<Noted>,
    trust: Trust,
    protocol: &'static [u8],
}

impl<A: Acceptors> Pair<A> {
    pub(crate) fn new(demux: demux::Config, limits: Limits, acceptors: A) -> Self {
        Self::speaking(PROTOCOL, demux, limits, acceptors)
    }

    /// The same, of another protocol (ALPN).
    pub(crate) fn speaking(
        protocol: &'static [u8],
        demux: demux::Config,
        limits: Limits,
        acceptors: A,
    ) -> Self {
        let identity = Identity::self_signed(&["localhost"], SystemTime::now()).unwrap();
        let crypto = tls::server_config(&identity, &[protocol], &ClientAuth::None).unwrap();
        let mut endpoint = tls::endpoint_config(&identity.keys("test"), Some(crypto));
        // Several streams may be opened at once, by hundreds of peers.
        endpoint.transport.first_streams = 8;
        // All of them may shake hands at once, on a busy machine.
        endpoint.transport.handshake_timeout = HANDSHAKE;
        endpoint.limits = Limits { max_memory: 0, ..limits };
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut client = tls::endpoint_config(&Keys::random().unwrap(), None);
        client.transport.handshake_timeout = HANDSHAKE;
        let origin = Instant::now();
        Self {
            server: Driver::new(Config::new(here, endpoint)).unwrap(),
            client: Driver::new(Config::new(here, client)).unwrap(),
            theirs: Tagged::new(demux, origin, acceptors).unwrap(),
            ours: Tagged::new(demux::Config::default(), origin, Noted::default()).unwrap(),
            trust: Trust::Pinned(identity.fingerprint()),
            protocol,
        }
    }

    /// Gives the server another certificate for those who connect from now on.
    pub(crate) fn renew(&mut self) -> Trust {
        let identity = Identity::self_signed(&["localhost"], SystemTime::now()).unwrap();
        let crypto = tls::server_config(&identity, &[PROTOCOL], &ClientAuth::None).unwrap();
        let config = tls::endpoint_config(&identity.keys("test"), Some(crypto));
        self.server.endpoint().set_server(config.server);
        std::mem::replace(&mut self.trust, Trust::Pinned(identity.fingerprint()))
    }

    /// Begins to connect, believing somebody.
    pub(crate) fn begin(&mut self, trust: &Trust) -> ConnectionId {
        let crypto = tls::client_config(trust, &[self.protocol], None).unwrap();
        let (config, address) = (quinn_proto::ClientConfig::new(crypto), self.server.address());
        self.client.endpoint().connect(Instant::now(), config, address, "localhost").unwrap()
    }

    /// Connects so many times more, and waits until all are connected.
    pub(crate) fn connect(&mut self, count: usize) {
        let connected = self.ours.acceptors().connections.len() + count;
        let trust = self.trust.clone();
        for _ in 0..count {
            self.begin(&trust);
        }
        self.turn_until(|pair| pair.ours.acceptors().connections.len() == connected);
    }

    pub(crate) fn turn(&mut self) {
        self.client.turn(Some(Duration::ZERO), &mut self.ours).unwrap();
        self.server.turn(Some(Duration::from_millis(1)), &mut self.theirs).unwrap();
    }

    #[track_caller]
    pub(crate) fn turn_until(&mut self, until: impl Fn(&mut Self) -> bool) {
        for _ in 0..TURNS {
            self.turn();
            if until(self) {
                return;
            }
        }
        panic!("it takes too long: {:?}, {:?}", self.server, self.client);
    }

    /// Does something with the server's streams and tags.
    pub(crate) fn at_server<T>(&mut self, work: impl FnOnce(&mut Streams<'_>, &mut A) -> T) -> T {
        self.theirs.with(self.server.endpoint(), Instant::now(), work)
    }

    pub(crate) fn register(&mut self, acceptor: AcceptorId, pattern: Pattern<'_>) {
        self.at_server(|streams, _| {
            streams.register(acceptor, pattern, Registrant::Application).unwrap();
        });
    }

    /// Opens a stream with a tag on the `nth` connection.
    pub(crate) fn open(&mut self, nth: usize, direction: Direction, tag: &[u8]) -> StreamId {
        self.ours.with(self.client.endpoint(), Instant::now(), |streams, noted| {
            let connection = noted.connections[nth];
            streams.open(connection, direction, OWN, tag, Registrant::Application).unwrap()
        })
    }

    /// Opens a stream without a tag, as somebody does who writes preambles himself.
    pub(crate) fn open_bare(&mut self, nth: usize, direction: Direction) -> StreamId {
        let connection = self.ours.acceptors().connections[nth];
        let stream = self.client.endpoint().open(connection, direction).unwrap().unwrap();
        self.client.endpoint().set_owner(stream, OWN.0).unwrap();
        stream
    }

    /// Writes all of it to a stream.
    pub(crate) fn write(&mut self, stream: StreamId, bytes: &'static [u8]) {
        let mut bytes = Bytes::from_static(bytes);
        self.client.endpoint().write(stream, &mut bytes).unwrap();
        assert!(bytes.is_empty(), "there is room for a little");
    }

    pub(crate) fn finish(&mut self, stream: StreamId) {
        self.client.endpoint().finish(stream).unwrap();
    }

    pub(crate) fn fate(&mut self, stream: StreamId) -> Fate {
        self.ours.acceptors().streams.get(&stream).cloned().unwrap_or_default()
    }
}
