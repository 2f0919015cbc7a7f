//! Clients that shake hands and then lie in packets that are sealed as they should be: what the server tells
//! of them is in order, ends, and leaves nothing, and nobody honest notices.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use gapless_core::{Duration, Instant};
use gapless_quic::{ConnectionId, Direction, Endpoint, Event, Reason, StreamId};
use gapless_tests::alloc::{self, Measured};
use gapless_tests::sim::{Chance, NodeId, Random, seeds};
use quinn_proto::ConnectionError;

use super::clock::{Wall, standard};
use super::host::{Desk, Host, Program};
use super::liar::{self, Lies};
use super::null;
use super::streams::{lossy, moody};
use super::town::{Plan, Town, client, client_address, server_address};

/// Where both ends are that are not in a world.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 443);
/// Where the liar lives: behind all honest clients.
const FAR: usize = 1000;
/// Connections that it makes, one after the other.
const CONNECTIONS: u64 = 20;
/// A connection of which nothing is heard for so long is over.
const IDLE: std::time::Duration = std::time::Duration::from_secs(15);
/// How often it does something.
const EVERY: Duration = Duration::from_millis(7);

/// Connects again and again, and does anything with its streams, so that there are packets to lie in.
struct Abuser {
    client: null::Client,
    lies: Arc<Lies>,
    /// Connections that it still makes.
    left: u64,
    next: Option<Instant>,
    open: Option<ConnectionId>,
    streams: BTreeSet<StreamId>,
}

impl Abuser {
    fn connect(&mut self, desk: &mut Desk<'_>) {
        self.left -= 1;
        let mut identity = [null::LIAR; 32];
        identity[..8].copy_from_slice(&desk.random.any().to_le_bytes());
        let client =
            null::Client { identity: Some(identity), hello_len: 400, ..self.client.clone() };
        let client = liar::Client { client, lies: Arc::clone(&self.lies) };
        self.open = Some(desk.connect_as(Arc::new(client), server_address()));
    }

    /// Does anything with a stream, as often with one that is over.
    fn act(&mut self, desk: &mut Desk<'_>, stream: StreamId) {
        let code = desk.random.within(0..=9);
        // Nobody minds what is refused.
        let _ = match desk.random.within(0..=9) {
            0 => desk.endpoint.reset(stream, code),
            1 => desk.endpoint.stop(stream, code),
            2 => desk.endpoint.finish(stream),
            _ => {
                let bytes = vec![7; desk.random.within(0..=2000) as usize];
                desk.endpoint.write(stream, &mut Bytes::from(bytes)).map(|_| ())
            }
        };
    }
}

impl Program for Abuser {
    fn event(&mut self, desk: &mut Desk<'_>, event: &Event) {
        match *event {
            Event::Connected { connection } => {
                for direction in [Direction::Bidirectional, Direction::Unidirectional] {
                    for _ in 0..desk.random.within(0..=3) {
                        let stream = desk.endpoint.open(connection, direction);
                        self.streams.extend(stream.expect("it is connected"));
                    }
                }
            }
            Event::Disconnected { .. } => {
                self.open = None;
                self.streams.clear();
            }
            Event::Opened { stream } => {
                self.streams.insert(stream);
            }
            _ => {}
        }
    }

    fn wake(&mut self, desk: &mut Desk<'_>) {
        if self.open.is_none() && self.left > 0 {
            self.connect(desk);
        }
        let streams: Vec<_> = self.streams.iter().copied().collect();
        for _ in 0..streams.len().min(3) {
            let stream = desk.random.one_of(&streams);
            self.act(desk, stream);
        }
        let is_over = self.open.is_none() && self.left == 0;
        self.next = (!is_over).then_some(desk.now + EVERY);
    }

    fn next(&self) -> Option<Instant> {
        self.next
    }
}

/// Adds a liar to a town.
fn add_abuser(town: &mut Town, plan: &Plan, random: &mut Random) -> NodeId {
    let chance = Chance::percent(random.one_of(&[2, 10, 50, 100]));
    let abuser = Abuser {
        client: client(random),
        lies: Lies::new(random.fork(), chance),
        left: CONNECTIONS,
        next: Some(Instant::ZERO),
        open: None,
        streams: BTreeSet::new(),
    };
    let address = client_address(FAR, 0);
    let recipe = plan.client.clone();
    let host = Host::new(recipe, vec![address], &town.book, random.fork(), abuser);
    let id = town.world.add(host.unwatched(), &[address]);
    town.world.set_path(id, server_address(), town.server, plan.path(random));
    town.world.set_path(town.server, address, id, plan.path(random));
    id
}

/// Runs until everybody is done, and nothing is left; the town, and how many connections the server ended
/// for a rule that was broken.
fn runs_with_a_liar(plan: &mut Plan, random: &mut Random) -> (Town, usize) {
    for recipe in [&mut plan.server, &mut plan.client] {
        recipe.transport.idle_timeout = IDLE;
    }
    let mut town = plan.build(random);
    let abuser = add_abuser(&mut town, plan, random);
    let is_over = |town: &Town| {
        let abuser: &Abuser = town.host(abuser).program();
        abuser.open.is_none() && abuser.left == 0
    };
    town.run("all lies are told", is_over);
    town.run_to_the_end();
    let broken =
        |reason: &&Reason| matches!(reason, Reason::Lost(ConnectionError::TransportError(_)));
    let broken = town.reasons(town.server).iter().filter(broken).count();
    town.close();
    town.run("the liar is gone", |town| town.host(abuser).endpoint.connections() == 0);
    town.host(abuser).assert_empty();
    (town, broken)
}

#[test]
fn clients_that_lie_in_packets_that_are_right_harm_nobody_else() {
    let broken = Cell::new(0);
    seeds(|random| {
        let mut plan = lossy(random);
        let (town, count) = runs_with_a_liar(&mut plan, random);
        town.book.assert_all_arrived();
        broken.set(broken.get() + count);
    });
    assert!(broken.get() > 0);
}

#[test]
fn clients_that_lie_to_a_server_that_breaks_streams_off_leave_nothing() {
    seeds(|random| {
        let mut plan = lossy(random);
        moody(&mut plan);
        runs_with_a_liar(&mut plan, random);
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

/// What a server keeps of packets that say one thing as often as fits: what was sent, and what it took.
fn cost_of(frame: &[u8]) -> (usize, Measured) {
    let mut random = Random::new(1);
    let mut plan = Plan::new(&mut random);
    (plan.server.transport, plan.client.transport) = Default::default();
    let mut ends =
        [&plan.server, &plan.client].map(|recipe| recipe.endpoint(&mut random, &Wall::default()));
    let [server, client_end] = &mut ends;
    let lies = Lies::new(random.fork(), Chance::NEVER);
    let session = liar::Client { client: client(&mut random), lies: Arc::clone(&lies) };
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
    lies.say_only(frame);
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
