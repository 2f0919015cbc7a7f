//! Malicious clients: they shake hands and then tamper with packets that are sealed as they should be: what
//! the server tells of them is in order, ends, and leaves nothing, and nobody honest notices.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use gapless_core::demux::{self, AcceptorId, Pattern, Registrant};
use gapless_core::{Duration, Instant, Machine};
use gapless_quic::Handler;
use gapless_quic::endpoint::Server;
use gapless_quic::tagged::{Notice, Opened, Streams};
use gapless_quic::{Acceptors, Direction, Endpoint, Event, Reason, StreamId, Tagged};
use gapless_tests::alloc::{self, Measured};
use gapless_tests::sim::{Chance, NodeId, Outbox, Random, World, seeds};
use quinn_proto::ConnectionError;

use super::abuser::Abuser;
use super::book::Book;
use super::clock::{Wall, simulated, standard};
use super::host::{Desk, Host, Program};
use super::malicious_peer::{self, Tampering};
use super::null;
use super::streams::{lossy, moody};
use super::testbed::{Plan, Testbed, client, client_address, server_address};
use super::traffic::Traffic;

/// The acceptor of tagged streams.
const ACCEPTOR: AcceptorId = AcceptorId(1);
/// Where both ends are that are not in a world.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 443);
/// Where the malicious peer lives: behind all honest clients.
const FAR: usize = 1000;
/// A connection of which nothing is heard for so long is over.
const IDLE: std::time::Duration = std::time::Duration::from_secs(20);

/// Adds a malicious peer to a testbed.
fn add_abuser(testbed: &mut Testbed, plan: &Plan, random: &mut Random) -> NodeId {
    let chance = Chance::percent(random.one_of(&[2, 10, 50, 100]));
    let abuser = Abuser::new(chance, random);
    let address = client_address(FAR, 0);
    let recipe = plan.client.clone();
    let host = Host::new(recipe, vec![address], &testbed.book, random.fork(), abuser);
    let id = testbed.world.add(host.unwatched(), &[address]);
    testbed.world.set_path(id, server_address(), testbed.server, plan.path(random));
    testbed.world.set_path(testbed.server, address, id, plan.path(random));
    id
}

/// Whether a connection was ended since its peer broke a rule.
fn breaks_rules(reason: &&Reason) -> bool {
    matches!(reason, Reason::Lost(ConnectionError::TransportError(_)))
}

/// Runs until everybody is done, and nothing is left; the testbed, and how many connections the server ended
/// for a rule that was broken.
fn runs_with_a_malicious_peer(plan: &mut Plan, random: &mut Random) -> (Testbed, usize) {
    for recipe in [&mut plan.server, &mut plan.client] {
        recipe.transport.idle_timeout = IDLE;
        recipe.transport.datagrams = random.one_of(&[0, 1000, 100_000]);
        // An honest client gets in, whatever is lost; a bit of a version may keep it out.
        recipe.transport.handshake_timeout = std::time::Duration::ZERO;
        recipe.corrupts = Chance::NEVER;
    }
    let mut testbed = plan.build(random);
    let abuser = add_abuser(&mut testbed, plan, random);
    testbed
        .run("all attacks are over", |testbed| testbed.host(abuser).program::<Abuser>().is_over());
    testbed.run_to_the_end();
    let broken = testbed.reasons(testbed.server).iter().filter(breaks_rules).count();
    testbed.close();
    testbed.run("the malicious peer is gone", |testbed| {
        testbed.host(abuser).endpoint.connections() == 0
    });
    testbed.host(abuser).assert_empty();
    (testbed, broken)
}

#[test]
fn clients_that_lie_in_packets_that_are_right_harm_nobody_else() {
    let broken = Cell::new(0);
    seeds(|random| {
        let mut plan = lossy(random);
        let (testbed, count) = runs_with_a_malicious_peer(&mut plan, random);
        testbed.assert_all_arrived();
        broken.set(broken.get() + count);
    });
    assert!(broken.get() > 0);
}

#[test]
fn clients_that_lie_to_a_server_that_breaks_streams_off_leave_nothing() {
    seeds(|random| {
        let mut plan = lossy(random);
        moody(&mut plan);
        runs_with_a_malicious_peer(&mut plan, random);
    });
}

/// Lets one side send what it has, and the other take it: how many bytes, and what that did to memory.
fn pass(from: &mut Endpoint, to: &mut Endpoint, now: std::time::Instant) -> (usize, Measured) {
    let (mut sent, mut buffer) = (Vec::new(), Vec::new());
    while from.poll_transmit(now, 1, &mut buffer).is_some() {
        sent.push(BytesMut::from(&std::mem::take(&mut buffer)[..]));
    }
    let bytes = sent.iter().map(BytesMut::len).sum();
    let take = || sent.into_iter().for_each(|bytes| to.datagram(now, ANYWHERE, None, None, bytes));
    (bytes, alloc::measure(take).1)
}

/// The memory that a server keeps of packets that say one thing as often as fits: what was sent, and what it
/// took.
fn cost_of(frame: &[u8]) -> (usize, Measured) {
    let mut random = Random::new(1);
    let mut plan = Plan::new(&mut random);
    (plan.server.transport, plan.client.transport) = Default::default();
    let mut ends =
        [&plan.server, &plan.client].map(|recipe| recipe.endpoint(&mut random, &Wall::default()));
    let [server, client_end] = &mut ends;
    let tampering = Tampering::new(random.fork(), Chance::NEVER);
    let session =
        malicious_peer::Client { client: client(&mut random), tampering: Arc::clone(&tampering) };
    let mut now = standard(Instant::from_millis(1));
    let config = quinn_proto::ClientConfig::new(Arc::new(session));
    let connection = client_end.connect(now, config, ANYWHERE, "peer").expect("an address");
    for _ in 0..10 {
        now += std::time::Duration::from_millis(1);
        pass(client_end, server, now);
        while server.poll_event(now).is_some() {}
        pass(server, client_end, now);
        while client_end.poll_event(now).is_some() {}
    }
    // As much as it may send at once, and none of it what it means to say.
    let stream = client_end.open(connection, Direction::Unidirectional);
    let stream = stream.expect("it is connected").expect("one is allowed");
    client_end.write(stream, &mut Bytes::from(vec![0; 1 << 16])).expect("it is open");
    tampering.say_only(frame);
    while client_end.poll_event(now).is_some() {}
    pass(client_end, server, now)
}

#[test]
fn a_frame_that_is_said_as_often_as_fits_costs_little_more_than_its_datagrams() {
    let frames: [(&str, &[u8]); 9] = [
        ("retires an id", &[0x19, 1]),
        ("nothing of a stream", &[0x0A, 0, 0]),
        ("a byte of a stream", &[0x0A, 0, 1, 7]),
        ("resets a stream", &[0x04, 0, 0, 0]),
        ("stops a stream", &[0x05, 0, 0]),
        ("is blocked", &[0x15, 0, 0]),
        ("allows streams", &[0x12, 0x41, 0]),
        ("a challenge", &[0x1A, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("an answer", &[0x1B, 1, 2, 3, 4, 5, 6, 7, 8]),
    ];
    for (name, frame) in frames {
        let (sent, taken) = cost_of(frame);
        println!("{name}: {sent} bytes, {taken:?}");
        assert!(sent > 8 * 1100, "{name}: {sent}");
        // Eight times as much is what a frame without bytes takes: it is told of by itself.
        assert!(taken.peak < 16 * sent as isize, "{name}: {taken:?}");
    }
}

#[test]
fn servers_that_lie_leave_their_clients_nothing() {
    let (connected, broken) = (Cell::new(0), Cell::new(0));
    seeds(|random| {
        let mut plan = lossy(random);
        plan.client.transport.idle_timeout = IDLE;
        moody(&mut plan);
        plan.asking.connections = 5;
        plan.asking.connects = Duration::ZERO..=Duration::from_secs(1);
        let mut testbed = plan.build(random);
        for id in testbed.clients.iter().copied().chain([testbed.server]) {
            testbed
                .world
                .call(id, |host: &mut Host, _, _: &mut Outbox| host.checker.distrusts = true);
        }
        let chance = Chance::percent(random.one_of(&[2, 10, 50]));
        let server = plan.server.server.clone().expect("it is a server");
        let server = Server {
            crypto: Arc::new(malicious_peer::Server {
                server,
                tampering: Tampering::new(random.fork(), chance),
            }),
            token_key: Arc::new(null::TokenKey(random.any())),
            time_source: Some(Arc::new(Wall::default())),
        };
        testbed.world.call(testbed.server, |host: &mut Host, _, _: &mut Outbox| {
            host.endpoint.set_server(Some(server));
        });
        testbed.run("streams end", |testbed| {
            let is_done =
                |host: &Host| host.program::<Traffic>().is_done() && host.checker.streams() == 0;
            testbed.clients.iter().all(|&id| is_done(testbed.host(id)))
        });
        for &id in &testbed.clients {
            broken.set(broken.get() + testbed.reasons(id).iter().filter(breaks_rules).count());
            connected.set(connected.get() + testbed.host(id).checker.counts.connected);
        }
        testbed.close();
    });
    assert!(connected.get() > 0 && broken.get() > 0);
}

/// Takes streams of any tag, or not, and lets them wait now and then.
struct Counter {
    random: Random,
    open: BTreeSet<StreamId>,
    opened: Rc<Cell<u64>>,
}

impl Acceptors for Counter {
    fn opened(&mut self, _: &mut Streams<'_>, opened: Opened) -> bool {
        self.opened.set(self.opened.get() + 1);
        assert!(self.open.insert(opened.stream), "{} is opened twice", opened.stream);
        self.random.happens(Chance::percent(90))
    }

    fn notice(&mut self, streams: &mut Streams<'_>, notice: Notice) {
        match notice {
            Notice::Data { stream, fin, .. } => {
                assert!(self.open.contains(&stream), "{stream} is not open");
                if fin {
                    let _ = streams.endpoint.finish(stream);
                }
            }
            Notice::HandOffFailed { stream, .. } => assert!(self.open.remove(&stream)),
            Notice::Event(Event::Reset { stream, .. }) => {
                assert!(self.open.contains(&stream), "{stream} is not open");
                let _ = streams.endpoint.finish(stream);
            }
            Notice::Event(Event::Closed { stream, .. }) => {
                assert!(self.open.remove(&stream), "{stream} is not open");
            }
            Notice::Event(Event::Disconnected { connection, .. }) => {
                self.open.retain(|stream| stream.connection != connection);
            }
            Notice::Event(_) => {}
        }
    }
}

/// A server of tagged streams.
struct Tags {
    tagged: Tagged<Counter>,
    opened: Rc<Cell<u64>>,
    is_paused: bool,
}

impl Tags {
    fn new(random: &mut Random) -> Self {
        let config = demux::Config {
            preamble_timeout: Duration::from_millis(500),
            max_pending: 8,
            ..demux::Config::default()
        };
        let (open, opened) = (BTreeSet::new(), Rc::default());
        let counter = Counter { random: random.fork(), open, opened: Rc::clone(&opened) };
        let tagged = Tagged::new(config, standard(Instant::ZERO), counter);
        Self { tagged: tagged.expect("values in their ranges"), opened, is_paused: false }
    }

    /// Does something with the acceptor.
    fn with(&mut self, desk: &mut Desk<'_>, act: impl FnOnce(&mut Streams<'_>)) {
        self.tagged.with(desk.endpoint, standard(desk.now), |streams, _| act(streams));
    }
}

impl Program for Tags {
    fn event(&mut self, desk: &mut Desk<'_>, event: &Event) {
        if desk.random.happens(Chance::percent(5)) {
            self.is_paused = !self.is_paused;
            let is_paused = self.is_paused;
            self.with(desk, |streams| {
                if is_paused {
                    streams.pause(ACCEPTOR);
                } else {
                    streams.resume(ACCEPTOR);
                }
            });
        }
        self.tagged.event(desk.endpoint, standard(desk.now), event.clone());
    }

    fn wake(&mut self, desk: &mut Desk<'_>) {
        self.tagged.handle_timeout(desk.endpoint, standard(desk.now));
    }

    fn next(&self) -> Option<Instant> {
        self.tagged.poll_timeout().map(simulated)
    }
}

#[test]
fn tagged_streams_of_clients_that_lie_are_given_once_and_leave_nothing() {
    let opened = Cell::new(0);
    seeds(|random| {
        let mut plan = lossy(random);
        for recipe in [&mut plan.server, &mut plan.client] {
            // Nobody honest has to get through.
            recipe.transport.idle_timeout = IDLE / 10;
        }
        let mut world = World::new(random.fork());
        let program = Tags::new(random);
        let (recipe, book) = (plan.server.clone(), Book::default());
        let host = Host::new(recipe, vec![server_address()], &book, random.fork(), program);
        let server = world.add(host.unwatched(), &[server_address()]);
        world.call(server, |host: &mut Host, now, out: &mut _| {
            host.act(now, out, |tags: &mut Tags, desk| {
                tags.with(desk, |streams| {
                    let anything = Pattern::Prefix(b"");
                    streams.register(ACCEPTOR, anything, Registrant::Application).expect("free");
                });
            });
        });
        for index in 0..3 {
            let address = client_address(index, 0);
            // Fewer packets are changed, so that there are streams.
            let abuser = Abuser::new(Chance::percent(random.one_of(&[1, 5, 20])), random);
            let recipe = plan.client.clone();
            let host = Host::new(recipe, vec![address], &book, random.fork(), abuser);
            let id = world.add(host.unwatched(), &[address]);
            world.set_path(id, server_address(), server, plan.path(random));
            world.set_path(server, address, id, plan.path(random));
        }
        world.run(Instant::from_millis(3_600_000), |_| false);
        let host: &Host = world.node(server);
        let tags: &Tags = host.program();
        host.assert_empty();
        let demux = tags.tagged.demux();
        assert_eq!((demux.pending(), demux.held()), (0, 0));
        assert_eq!(demux.stats().dispatched, tags.opened.get());
        opened.set(opened.get() + tags.opened.get());
    });
    assert!(opened.get() > 0);
}
