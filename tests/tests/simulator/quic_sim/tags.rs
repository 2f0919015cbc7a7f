//! Tagged streams over QUIC in the simulator: peers that dribble preambles take no more places than there
//! are, are refused at their deadlines, and keep nobody honest from being served.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::rc::Rc;

use bytes::Bytes;
use gapless_core::demux::{self, AcceptorId, DEADLINE, Pattern, Registrant, TOO_MANY};
use gapless_core::{Duration, Instant};
use gapless_quic::Handler;
use gapless_quic::tagged::{Notice, Opened, Streams};
use gapless_quic::{Acceptors, Direction, Event, StreamId, Tagged};
use gapless_tests::sim::{NodeId, Path, Random, World, seeds};

use super::book::{Book, Flow};
use super::clock::{simulated, standard};
use super::host::{Desk, Host, Program};
use super::null;
use super::testbed::{Plan, client, client_address, server_address};

const TAG: &[u8] = b"honest";
const ACCEPTOR: AcceptorId = AcceptorId(1);
/// Payload of an honest stream.
const PAYLOAD: usize = 3000;
const TIMEOUT: Duration = Duration::from_secs(2);

/// The payload of every honest stream.
fn payload() -> Bytes {
    Flow { label: 0, number: 0, by_client: true }.contents(0, PAYLOAD)
}

/// Takes honest streams.
#[derive(Default)]
struct TestAcceptor {
    streams: BTreeMap<StreamId, usize>,
    whole: Rc<Cell<u64>>,
}

impl Acceptors for TestAcceptor {
    fn opened(&mut self, _: &mut Streams<'_>, opened: Opened) -> bool {
        assert_eq!((opened.acceptor, &opened.tag[..]), (ACCEPTOR, TAG));
        assert!(self.streams.insert(opened.stream, 0).is_none(), "{} again", opened.stream);
        true
    }

    fn notice(&mut self, _: &mut Streams<'_>, notice: Notice) {
        if let Notice::Data { acceptor, stream, offset, bytes, fin } = notice {
            assert_eq!(acceptor, ACCEPTOR);
            let read = self.streams.get_mut(&stream).expect("it was opened");
            assert_eq!(offset, (1 + TAG.len() + *read) as u64);
            assert!(payload()[*read..].starts_with(&bytes), "{stream} at {read}");
            *read += bytes.len();
            assert!(!fin || *read == PAYLOAD);
            self.whole.set(self.whole.get() + u64::from(fin));
        }
    }
}

/// A server of tagged streams.
struct Server {
    tagged: Tagged<TestAcceptor>,
    /// Honest streams that were read to their end.
    whole: Rc<Cell<u64>>,
    /// The most streams that were parked.
    most_pending: usize,
}

impl Server {
    fn new(config: demux::Config) -> Self {
        let origin = standard(Instant::ZERO);
        let (acceptor, whole) = (TestAcceptor::default(), Rc::default());
        let acceptor = TestAcceptor { whole: Rc::clone(&whole), ..acceptor };
        let tagged = Tagged::new(config, origin, acceptor).expect("values in their ranges");
        Self { tagged, whole, most_pending: 0 }
    }

    fn register(&mut self, desk: &mut Desk<'_>) {
        let now = standard(desk.now);
        let register = |streams: &mut Streams<'_>, _: &mut TestAcceptor| {
            streams.register(ACCEPTOR, Pattern::Exact(TAG), Registrant::Application)
        };
        self.tagged.with(desk.endpoint, now, register).expect("a free tag");
    }
}

impl Program for Server {
    fn event(&mut self, desk: &mut Desk<'_>, event: &Event) {
        self.tagged.event(desk.endpoint, standard(desk.now), event.clone());
        self.most_pending = self.most_pending.max(self.tagged.demux().pending());
    }

    fn wake(&mut self, desk: &mut Desk<'_>) {
        self.tagged.handle_timeout(desk.endpoint, standard(desk.now));
    }

    fn next(&self) -> Option<Instant> {
        self.tagged.poll_timeout().map(simulated)
    }
}

/// Connects, and dribbles preambles that never become whole.
struct Dribbler {
    client: null::Client,
    connects: Vec<Instant>,
    streams: u64,
    every: RangeInclusive<Duration>,
    alarms: BTreeMap<(Instant, u64), StreamId>,
    order: u64,
    open: BTreeSet<StreamId>,
    /// When each stream began, and with which code it was refused how much later.
    began: BTreeMap<StreamId, Instant>,
    refused: Vec<(u64, Duration)>,
}

impl Dribbler {
    fn new(client: null::Client, connections: u64, random: &mut Random) -> Self {
        let soon = Duration::ZERO..=Duration::from_millis(200);
        Self {
            client,
            connects: (0..connections).map(|_| Instant::ZERO + random.span(soon.clone())).collect(),
            streams: 2,
            every: Duration::from_millis(50)..=Duration::from_millis(400),
            alarms: BTreeMap::new(),
            order: 0,
            open: BTreeSet::new(),
            began: BTreeMap::new(),
            refused: Vec::new(),
        }
    }

    fn dribble(&mut self, desk: &mut Desk<'_>, stream: StreamId) {
        if !self.open.contains(&stream) {
            return;
        }
        // The length of a tag, and then its bytes, one by one.
        let _ = desk.endpoint.write(stream, &mut Bytes::from_static(&[200]));
        self.order += 1;
        let at = desk.now + desk.random.span(self.every.clone());
        self.alarms.insert((at, self.order), stream);
    }
}

impl Program for Dribbler {
    fn event(&mut self, desk: &mut Desk<'_>, event: &Event) {
        match *event {
            Event::Connected { connection } => {
                for number in 0..self.streams {
                    let two_ways = number % 2 == 0;
                    let direction =
                        if two_ways { Direction::Bidirectional } else { Direction::Unidirectional };
                    let stream = desk.endpoint.open(connection, direction);
                    let stream = stream.expect("it is connected").expect("few streams");
                    self.open.insert(stream);
                    self.began.insert(stream, desk.now);
                    self.dribble(desk, stream);
                }
            }
            Event::Stopped { stream, code, .. } => {
                self.open.remove(&stream);
                self.refused.push((code, desk.now.since(self.began[&stream])));
            }
            _ => {}
        }
    }

    fn wake(&mut self, desk: &mut Desk<'_>) {
        let now = desk.now;
        for _ in self.connects.extract_if(.., |at| *at <= now) {
            desk.connect(self.client.clone(), server_address());
        }
        while let Some(entry) = self.alarms.first_entry()
            && entry.key().0 <= desk.now
        {
            let stream = entry.remove();
            self.dribble(desk, stream);
        }
    }

    fn next(&self) -> Option<Instant> {
        let first = self.alarms.first_key_value().map(|(&(at, _), _)| at);
        self.connects.iter().copied().chain(first).min()
    }
}

/// Opens one honest stream after the other.
struct Honest {
    client: null::Client,
    connects: Option<Instant>,
    left: u64,
    done: u64,
    /// The bytes that are still to be written to the open stream.
    rest: Option<(StreamId, Bytes)>,
}

impl Honest {
    fn next_stream(&mut self, desk: &mut Desk<'_>, connection: gapless_quic::ConnectionId) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let stream = desk.endpoint.open(connection, Direction::Unidirectional);
        let stream = stream.expect("it is connected").expect("one at a time");
        let tag = demux::Tag::new(TAG).expect("a short tag");
        let bytes = [tag.preamble(), &payload()].concat();
        self.rest = Some((stream, bytes.into()));
        self.write(desk);
    }

    fn write(&mut self, desk: &mut Desk<'_>) {
        let Some((stream, bytes)) = &mut self.rest else { return };
        desk.endpoint.write(*stream, bytes).expect("nobody refuses it");
        if bytes.is_empty() {
            desk.endpoint.finish(*stream).expect("nobody refuses it");
            self.rest = None;
        }
    }
}

impl Program for Honest {
    fn event(&mut self, desk: &mut Desk<'_>, event: &Event) {
        match *event {
            Event::Connected { connection } => self.next_stream(desk, connection),
            Event::Writable { .. } => self.write(desk),
            Event::Closed { stream, .. } => {
                self.done += 1;
                self.next_stream(desk, stream.connection);
            }
            Event::Openable { .. } => {}
            ref event => assert!(!matches!(event, Event::Stopped { .. }), "{event:?}"),
        }
    }

    fn wake(&mut self, desk: &mut Desk<'_>) {
        self.connects = None;
        desk.connect(self.client.clone(), server_address());
    }

    fn next(&self) -> Option<Instant> {
        self.connects
    }
}

struct Place {
    world: World,
    server: NodeId,
    plan: Plan,
    clients: usize,
}

impl Place {
    fn new(config: demux::Config, random: &mut Random) -> Self {
        let mut plan = Plan::new(random);
        plan.server.transport.max_unidirectional = 100;
        plan.server.transport.max_bidirectional = 100;
        plan.server.transport.min_send_buffer = 64 << 10;
        // Room for two hundred connections, whatever is promised to each.
        plan.server.limits.max_memory = 0;
        let mut world = World::new(random.fork());
        let address = server_address();
        let (recipe, program) = (plan.server.clone(), Server::new(config));
        let host = Host::new(recipe, vec![address], &Book::default(), random.fork(), program);
        let server = world.add(host.unwatched(), &[address]);
        world
            .call(server, |host: &mut Host, now, out: &mut _| host.act(now, out, Server::register));
        Self { world, server, plan, clients: 0 }
    }

    fn add(&mut self, program: impl Program, random: &mut Random) -> NodeId {
        let address = client_address(self.clients, 0);
        self.clients += 1;
        let recipe = self.plan.client.clone();
        let host = Host::new(recipe, vec![address], &Book::default(), random.fork(), program);
        let id = self.world.add(host.unwatched(), &[address]);
        let path = Path { delay: Duration::from_millis(5), ..Path::default() };
        self.world.set_path(id, server_address(), self.server, path.clone());
        self.world.set_path(self.server, address, id, path);
        id
    }

    fn pass(&mut self, time: Duration) {
        let until = self.world.now() + time;
        self.world.run(until, |_| false);
    }

    fn program<P: Program>(&self, id: NodeId) -> &P {
        self.world.node::<Host>(id).program()
    }
}

#[test]
fn peers_that_dribble_take_no_more_places_than_there_are_and_are_refused_at_their_deadlines() {
    seeds(|random| {
        // Now and then there are two hundred of them, with two streams each.
        let of_each = random.one_of(&[1, 2, 2, 2, 10]);
        let streams = 20 * of_each as usize * 2;
        let max_pending = random.within(10..=300) as usize;
        let config = demux::Config { max_pending, preamble_timeout: TIMEOUT, ..Default::default() };
        let mut place = Place::new(config, random);
        let mut dribbler = || {
            let program = Dribbler::new(client(random), of_each, random);
            place.add(program, random)
        };
        let dribblers: Vec<_> = (0..20).map(|_| dribbler()).collect();
        // Comes when all places are taken.
        let connects = Some(Instant::from_millis(random.within(300..=700)));
        let honest = Honest { client: client(random), connects, left: 20, done: 0, rest: None };
        let honest = place.add(honest, random);
        place.pass(Duration::from_millis(1800));
        let server: &Server = place.program(place.server);
        assert_eq!((server.most_pending, server.whole.get()), (max_pending.min(streams), 20));
        assert_eq!(place.program::<Honest>(honest).done, 20, "before any place is free again");

        // A first packet that was dropped in the crowd is sent again after a second, or three.
        place.pass(Duration::from_secs(8));
        let refused = dribblers.iter().flat_map(|&id| &place.program::<Dribbler>(id).refused);
        let (late, others): (Vec<(u64, Duration)>, Vec<_>) =
            refused.copied().partition(|(code, _)| *code == DEADLINE);
        assert_eq!(late.len() + others.len(), streams);
        assert!(late.len() >= max_pending.min(streams));
        for (_, after) in late {
            let slack = Duration::from_millis(500);
            assert!((TIMEOUT..=TIMEOUT + slack).contains(&after), "refused after {after:?}");
        }
        assert!(others.iter().all(|(code, _)| *code == TOO_MANY), "{others:?}");
        let server: &Server = place.program(place.server);
        assert_eq!(
            (server.tagged.demux().pending(), server.most_pending),
            (0, max_pending.min(streams))
        );
        // Connections on which nobody says anything end by themselves.
        place.pass(Duration::from_secs(60));
        place.world.node::<Host>(place.server).assert_empty();
    });
}
