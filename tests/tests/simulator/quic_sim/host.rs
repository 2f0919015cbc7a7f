//! A host of the simulated network: an endpoint, the program on top of it, and the loop that would be the
//! driver's. Everything that the endpoint emits goes through the checker, and whatever it sends into a
//! digest.

use std::any::Any;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use gapless_core::{Duration, Instant};
use gapless_quic::endpoint::{Config, Server};
use gapless_quic::{
    ConnectionId, Direction, Endpoint, Event, Limits, Refusal, StreamId, Transport,
};
use gapless_tests::sim::{Chance, Node, Outbox, Random, State};
use quinn_proto::{ClientConfig, crypto};

use super::book::Book;
use super::checker::Checker;
use super::clock::{Ids, Wall, simulated, standard};
use super::null;

/// Datagrams or batches of them that a turn sends at most.
const WRITES: usize = 64;
/// Events of a turn at most: more is an endpoint that never comes to an end.
const EVENTS: usize = 100_000;

/// The program of a host.
pub(crate) trait Program: Any {
    /// Something happened.
    fn event(&mut self, desk: &mut Desk<'_>, event: &Event);

    /// The time that `next` named has come.
    fn wake(&mut self, _desk: &mut Desk<'_>) {}

    /// When it wants to be woken.
    fn next(&self) -> Option<Instant> {
        None
    }

    /// The host was killed, and runs again.
    fn restart(&mut self) {}
}

/// The configuration of a host.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) limits: Limits,
    pub(crate) transport: Transport,
    /// `None` if nobody may connect to it.
    pub(crate) server: Option<null::Server>,
    /// Kept over restarts.
    pub(crate) reset_key: u64,
    /// How long a turn takes.
    pub(crate) turn: Duration,
    /// Datagrams that it sends in one batch at most.
    pub(crate) segments: usize,
    /// Datagrams that reach it with one bit changed.
    pub(crate) corrupts: Chance,
}

impl Recipe {
    pub(crate) fn endpoint(&self, random: &mut Random, wall: &Wall) -> Endpoint {
        let ids = random.fork();
        let ids = move || Box::new(Ids(ids.clone())) as _;
        let mut seed = [0; 32];
        seed.fill_with(|| random.any() as u8);
        Endpoint::new(Config {
            limits: self.limits,
            transport: self.transport,
            reset_key: Arc::new(null::ResetKey(self.reset_key)),
            connection_ids: Some(Arc::new(ids)),
            seed: Some(seed),
            server: self.server.clone().map(|server| Server {
                crypto: Arc::new(server),
                token_key: Arc::new(null::TokenKey(!self.reset_key)),
                time_source: Some(Arc::new(wall.clone())),
            }),
            inspect: null::inspect,
        })
    }
}

/// A host.
pub(crate) struct Host {
    recipe: Recipe,
    addresses: Vec<SocketAddr>,
    /// From which of them it sends, and at which it can be reached.
    current: usize,
    pub(crate) endpoint: Endpoint,
    pub(crate) checker: Checker,
    /// Whether the checker watches: it must be told what the program does.
    is_watched: bool,
    program: Box<dyn Program>,
    random: Random,
    wall: Wall,
    inbox: VecDeque<(SocketAddr, BytesMut)>,
    /// When the next turn is due for what has come or was left over, and when the last one was.
    due: Option<Instant>,
    last: Instant,
    /// Of everything that was sent, and when.
    transcript: DefaultHasher,
    pub(crate) sent: u64,
    /// The most connections that a turn has added.
    pub(crate) most_begun: usize,
}

impl Host {
    pub(crate) fn new(
        recipe: Recipe,
        addresses: Vec<SocketAddr>,
        book: &Book,
        mut random: Random,
        program: impl Program,
    ) -> Self {
        let wall = Wall::default();
        Self {
            endpoint: recipe.endpoint(&mut random, &wall),
            recipe,
            addresses,
            current: 0,
            checker: Checker::new(book.clone()),
            is_watched: true,
            program: Box::new(program),
            random,
            wall,
            inbox: VecDeque::new(),
            due: None,
            last: Instant::ZERO,
            transcript: DefaultHasher::new(),
            sent: 0,
            most_begun: 0,
        }
    }

    /// Its program works without the desk: nobody watches what it is told.
    #[must_use]
    pub(crate) fn unwatched(self) -> Self {
        Self { is_watched: false, ..self }
    }

    /// A digest of everything that was sent so far.
    pub(crate) fn transcript(&self) -> u64 {
        self.transcript.finish()
    }

    pub(crate) fn program<P: Program>(&self) -> &P {
        let program: &dyn Any = &*self.program;
        program.downcast_ref().expect("a program of this kind")
    }

    /// It has another address from now on, and not the one before.
    pub(crate) const fn moves_to(&mut self, address: usize) {
        self.current = address;
    }

    /// Does something on it, as its program would.
    pub(crate) fn act<P: Program>(
        &mut self,
        now: Instant,
        out: &mut Outbox,
        act: impl FnOnce(&mut P, &mut Desk<'_>),
    ) {
        self.with(now, |program, desk| {
            let program: &mut dyn Any = program;
            act(program.downcast_mut().expect("a program of this kind"), desk);
        });
        self.work(now, out);
    }

    fn with<T>(
        &mut self,
        now: Instant,
        act: impl FnOnce(&mut dyn Program, &mut Desk<'_>) -> T,
    ) -> T {
        let Self { endpoint, checker, random, .. } = self;
        let mut desk = Desk { now, endpoint, checker, random };
        act(&mut *self.program, &mut desk)
    }

    /// Nothing is left of any connection.
    ///
    /// # Panics
    /// When something is.
    pub(crate) fn assert_empty(&self) {
        let endpoint = &self.endpoint;
        assert_eq!(endpoint.connections(), 0, "connections");
        assert_eq!((endpoint.streams(), endpoint.send_buffers()), (0, 0), "streams, send buffers");
        assert_eq!(endpoint.poll_timeout(), None, "timers");
        assert!(!endpoint.has_work(), "work");
        if self.is_watched {
            let counts = self.checker.counts;
            assert_eq!(counts.connected, endpoint.stats().connected);
            assert_eq!(counts.disconnected, endpoint.stats().disconnected);
        }
    }

    /// A turn of the driver, except that timers fire before what came is answered: an endpoint
    /// must bear that too.
    fn turn(&mut self, now: Instant, out: &mut Outbox) {
        self.last = now;
        let at = standard(now);
        self.wall.set(now);
        let before = self.endpoint.connections();
        self.endpoint.begin_turn(at);
        let local = self.addresses[self.current].ip();
        for (from, bytes) in std::mem::take(&mut self.inbox) {
            self.endpoint.datagram(at, from, Some(local), None, bytes);
        }
        self.most_begun = self.most_begun.max(self.endpoint.connections().saturating_sub(before));
        self.endpoint.handle_timeout(at);
        if self.program.next().is_some_and(|at| at <= now) {
            self.with(now, |program, desk| program.wake(desk));
        }
        self.work(now, out);
    }

    /// Tells what happened, and sends.
    fn work(&mut self, now: Instant, out: &mut Outbox) {
        let at = standard(now);
        for count in 0.. {
            assert!(count < EVENTS, "events without end");
            let Some(event) = self.endpoint.poll_event(at) else { break };
            if self.is_watched {
                self.checker.event(&self.endpoint, &event);
            }
            self.with(now, |program, desk| program.event(desk, &event));
        }
        if self.is_watched {
            self.checker.settled(&self.endpoint);
        }
        let from = self.addresses[self.current];
        let mut buffer = Vec::new();
        for _ in 0..WRITES {
            buffer.clear();
            let Some(transmit) = self.endpoint.poll_transmit(at, self.recipe.segments, &mut buffer)
            else {
                break;
            };
            assert_eq!(buffer.len(), transmit.size);
            let bytes = Bytes::copy_from_slice(&buffer);
            let size = transmit.segment_size.unwrap_or(buffer.len()).max(1);
            assert!(buffer.len().div_ceil(size) <= self.recipe.segments);
            for start in (0..bytes.len()).step_by(size) {
                let segment = bytes.slice(start..bytes.len().min(start + size));
                (now, from, transmit.destination, &segment).hash(&mut self.transcript);
                self.sent += 1;
                out.send(from, transmit.destination, segment);
            }
        }
        self.due = self.endpoint.has_work().then(|| now + self.recipe.turn);
    }
}

impl Node for Host {
    fn arrive(
        &mut self,
        now: Instant,
        at: SocketAddr,
        from: SocketAddr,
        bytes: &Bytes,
        _: &mut Outbox,
    ) {
        if at != self.addresses[self.current] {
            return;
        }
        let mut bytes = BytesMut::from(&bytes[..]);
        if self.random.happens(self.recipe.corrupts) {
            let bit = self.random.within(0..=bytes.len() as u64 * 8 - 1) as usize;
            // The type and the version of a long header are not protected: one bit makes a version
            // negotiation or a Retry of a packet, which may end the handshake (RFC 9000 §21.2).
            if bytes[0] < 0x80 || bit >= 5 * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
        self.inbox.push_back((from, bytes));
        let soonest = now.max(self.last + self.recipe.turn);
        self.due = Some(self.due.map_or(soonest, |due| due.min(soonest)));
    }

    fn wake(&mut self, now: Instant, out: &mut Outbox) {
        self.turn(now, out);
    }

    fn next_wake(&self) -> Option<Instant> {
        let timer = self.endpoint.poll_timeout().map(simulated);
        [self.due, timer, self.program.next()].into_iter().flatten().min()
    }

    fn restart(&mut self, now: Instant, _: State) {
        self.endpoint = self.recipe.endpoint(&mut self.random, &self.wall);
        self.checker.forget();
        self.program.restart();
        self.inbox.clear();
        self.due = None;
        self.last = now;
    }
}

/// A program's access to its endpoint, under the checker's eyes.
pub(crate) struct Desk<'a> {
    pub(crate) now: Instant,
    pub(crate) endpoint: &'a mut Endpoint,
    pub(crate) checker: &'a mut Checker,
    pub(crate) random: &'a mut Random,
}

impl Desk<'_> {
    /// Connects as a client whose label is drawn.
    pub(crate) fn connect(&mut self, client: null::Client, to: SocketAddr) -> ConnectionId {
        let label = self.random.any();
        let mut identity = null::Identity::default();
        identity[..8].copy_from_slice(&label.to_le_bytes());
        let client = null::Client { identity: Some(identity), ..client };
        let id = self.connect_as(Arc::new(client), to);
        self.checker.connects(id, label);
        id
    }

    /// Connects with a session of its own, which the checker is not told of.
    pub(crate) fn connect_as(
        &mut self,
        client: Arc<dyn crypto::ClientConfig>,
        to: SocketAddr,
    ) -> ConnectionId {
        let mut config = ClientConfig::new(client);
        let ids = Mutex::new(Ids(self.random.fork()));
        config.initial_dst_cid_provider(Arc::new(move || {
            quinn_proto::ConnectionIdGenerator::generate_cid(&mut *ids.lock().expect("one thread"))
        }));
        self.endpoint.connect(standard(self.now), config, to, "peer").expect("an address")
    }

    pub(crate) fn open(&mut self, id: ConnectionId, direction: Direction) -> Option<StreamId> {
        let stream = self.endpoint.open(id, direction).expect("an open connection");
        self.checker.opens(id, direction, stream);
        stream
    }

    /// Writes what comes next of a stream, up to so many bytes; how many were taken.
    pub(crate) fn write(
        &mut self,
        id: StreamId,
        offset: u64,
        len: usize,
    ) -> Result<usize, Refusal> {
        let mut bytes = self.checker.flow(id, true).contents(offset, len);
        let taken = self.endpoint.write(id, &mut bytes)?;
        assert_eq!(bytes.len(), len - taken, "what is left was not taken");
        self.checker.wrote(id, taken);
        Ok(taken)
    }

    pub(crate) fn finish(&mut self, id: StreamId) -> Result<(), Refusal> {
        self.endpoint.finish(id)?;
        self.checker.finishes(id);
        Ok(())
    }

    pub(crate) fn reset(&mut self, id: StreamId, code: u64) -> Result<(), Refusal> {
        self.endpoint.reset(id, code)?;
        self.checker.resets(id, code);
        Ok(())
    }

    pub(crate) fn stop(&mut self, id: StreamId, code: u64) -> Result<(), Refusal> {
        self.endpoint.stop(id, code)?;
        self.checker.stops(id, code);
        Ok(())
    }

    pub(crate) fn pause(&mut self, id: StreamId) {
        self.endpoint.pause(id).expect("an open stream");
        self.checker.pauses(id, true);
    }

    pub(crate) fn resume(&mut self, id: StreamId) {
        self.endpoint.resume(id).expect("an open stream");
        self.checker.pauses(id, false);
    }

    pub(crate) fn set_owner(&mut self, id: StreamId, owner: u64) {
        self.endpoint.set_owner(id, owner).expect("an open stream");
        self.checker.owns(id, owner);
    }

    pub(crate) fn close(&mut self, id: ConnectionId, code: u64) {
        self.endpoint.close(standard(self.now), id, code, b"enough").expect("an open connection");
    }
}
