//! Unreliable datagrams (RFC 9221) both ways: whatever the network does, each arrives once or never, as it
//! was sent, and what waits for somebody is bounded.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use bytes::Bytes;
use gapless_core::{Duration, Instant};
use gapless_quic::{ConnectionId, Event, Refusal};
use gapless_tests::sim::{Chance, Path, Random, World, seeds};

use super::book::{Book, Flow};
use super::host::{Desk, Host, Program, Recipe};
use super::null;
use super::testbed::{Plan, Testbed, client_address, server_address};

/// Larger than any datagram.
const TOO_LARGE: usize = 70_000;
/// The bytes that a waiting datagram is charged with beside its own.
const CHARGE: usize = 32;
/// Every datagram begins with its number.
const NUMBER: usize = 8;

/// Lengths of the datagrams that one side sent, by their numbers.
type Sent = Rc<RefCell<Vec<usize>>>;

fn contents(by_client: bool, number: u64, len: usize) -> Bytes {
    let rest = Flow { label: 0, number, by_client }.contents(0, len - NUMBER);
    [&number.to_le_bytes()[..], &rest].concat().into()
}

/// Sends datagrams as fast as they are taken, and checks those that come.
struct Courier {
    /// How it connects, where it is to.
    connects: Option<null::Client>,
    is_client: bool,
    random: Random,
    connection: Option<ConnectionId>,
    /// How many are still to be sent.
    left: u64,
    sent: Sent,
    theirs: Sent,
    got: BTreeSet<u64>,
    is_blocked: bool,
    /// The bytes that may wait for it, and those that it got in the turn at an instant.
    most: usize,
    turn: (Instant, usize),
    /// When it was connected, and when the last was taken.
    began: Instant,
    done: Instant,
}

impl Courier {
    fn contents(&self, number: u64, len: usize) -> Bytes {
        contents(self.is_client, number, len)
    }

    /// Sends what is taken.
    fn send(&mut self, desk: &mut Desk<'_>, id: ConnectionId) {
        while self.left > 0 {
            let most = largest(desk, id);
            let len = self.random.within(NUMBER as u64..=most as u64) as usize;
            let len = self.random.one_of(&[NUMBER, len, most]);
            let number = self.sent.borrow().len() as u64;
            match desk.endpoint.send_datagram(id, self.contents(number, len)) {
                Ok(()) => self.sent.borrow_mut().push(len),
                Err(Refusal::Blocked) => {
                    self.is_blocked = true;
                    return;
                }
                Err(refusal) => panic!("{len} of {most} bytes: {refusal}"),
            }
            self.left -= 1;
            self.done = desk.now;
        }
    }

    fn receive(&mut self, now: Instant, bytes: &Bytes) {
        let number = u64::from_le_bytes(bytes[..NUMBER].try_into().expect("eight bytes"));
        let len = self.theirs.borrow()[number as usize];
        assert!(*bytes == contents(!self.is_client, number, len), "datagram {number} is another");
        assert!(self.got.insert(number), "datagram {number} again");
        if self.turn.0 != now {
            self.turn = (now, 0);
        }
        self.turn.1 += bytes.len() + CHARGE;
        assert!(self.turn.1 <= self.most, "{} bytes waited", self.turn.1);
    }
}

/// The largest datagram that fits: what is larger is refused.
fn largest(desk: &mut Desk<'_>, id: ConnectionId) -> usize {
    let mut send = |given| desk.endpoint.send_datagram(id, vec![0; given].into());
    let Err(Refusal::TooLarge { given: TOO_LARGE, most }) = send(TOO_LARGE) else {
        panic!("it is too large")
    };
    assert_eq!(send(most + 1), Err(Refusal::TooLarge { given: most + 1, most }));
    most
}

impl Program for Courier {
    fn event(&mut self, desk: &mut Desk<'_>, event: &Event) {
        match *event {
            Event::Connected { connection } => {
                self.connection = Some(connection);
                self.began = desk.now;
                self.send(desk, connection);
            }
            Event::DatagramsWritable { connection } => {
                assert!(std::mem::take(&mut self.is_blocked), "it was not refused");
                self.send(desk, connection);
            }
            Event::Datagram { ref bytes, .. } => self.receive(desk.now, bytes),
            _ => {}
        }
    }

    fn wake(&mut self, desk: &mut Desk<'_>) {
        if let Some(client) = self.connects.take() {
            desk.connect(client, server_address());
        }
    }

    fn next(&self) -> Option<Instant> {
        self.connects.is_some().then_some(Instant::ZERO)
    }
}

/// A server and a client that send each other up to so many datagrams.
fn build(plan: &Plan, random: &mut Random, datagrams: u64, path: [Path; 2]) -> Testbed {
    let (mut world, book) = (World::new(random.fork()), Book::default());
    let sent = [Sent::default(), Sent::default()];
    let mut add = |recipe: &Recipe, is_client: bool, address| {
        let [ours, theirs] =
            [is_client, !is_client].map(|side| Rc::clone(&sent[usize::from(side)]));
        let transport = &recipe.transport;
        let largest = usize::from(transport.max_udp_payload.max(1472)) + CHARGE;
        let client = plan.asking.server.clone().expect("a client").1;
        let courier = Courier {
            connects: is_client.then_some(client),
            is_client,
            random: random.fork(),
            connection: None,
            left: random.within(datagrams / 2..=datagrams),
            sent: ours,
            theirs,
            got: BTreeSet::new(),
            is_blocked: false,
            most: transport.datagrams.max(largest),
            turn: (Instant::ZERO, 0),
            began: Instant::ZERO,
            done: Instant::ZERO,
        };
        let host = Host::new(recipe.clone(), vec![address], &book, random.fork(), courier);
        world.add(host, &[address])
    };
    let (there, here) = (server_address(), client_address(0, 0));
    let (server, client) = (add(&plan.server, false, there), add(&plan.client, true, here));
    let [to_server, to_client] = path;
    world.set_path(client, there, server, to_server);
    world.set_path(server, here, client, to_client);
    Testbed { world, server, clients: vec![client], book }
}

/// A plan with small buffers.
fn narrow(random: &mut Random) -> Plan {
    let mut plan = Plan::new(random);
    for recipe in [&mut plan.server, &mut plan.client] {
        recipe.transport.datagrams = random.one_of(&[1, 1000, 2000, 10_000, 1 << 20]);
    }
    plan
}

fn couriers(testbed: &Testbed) -> [&Courier; 2] {
    [testbed.server, testbed.clients[0]].map(|id| testbed.host(id).program())
}

/// Everything is sent, and what is on its way comes.
fn run_to_the_end(testbed: &mut Testbed) {
    testbed.run("all are sent", |testbed| {
        couriers(testbed).iter().all(|courier| courier.connection.is_some() && courier.left == 0)
    });
    testbed.pass(Duration::from_secs(5));
}

fn close(testbed: &mut Testbed) {
    let client = testbed.clients[0];
    testbed.act(client, |courier: &mut Courier, desk| {
        desk.close(courier.connection.expect("it is connected"), 5);
    });
    testbed.assert_drains();
}

/// Datagrams of a host that were dropped since too many waited.
fn dropped(testbed: &Testbed) -> [u64; 2] {
    [testbed.server, testbed.clients[0]]
        .map(|id| testbed.host(id).endpoint.stats().datagrams_dropped)
}

#[test]
fn datagrams_both_ways_arrive_once_or_never_and_as_they_were_sent() {
    let (sent, got) = (Cell::new(0), Cell::new(0));
    seeds(|random| {
        let mut plan = narrow(random);
        plan.server.corrupts = Chance::percent(1);
        plan.client.corrupts = Chance::percent(1);
        let path = [(); 2].map(|()| Path::lossy(random, Chance::percent(10)));
        let mut testbed = build(&plan, random, 200, path);
        run_to_the_end(&mut testbed);
        for (courier, dropped) in couriers(&testbed).iter().zip(dropped(&testbed)) {
            let theirs = courier.theirs.borrow().len() as u64;
            assert!(courier.got.len() as u64 + dropped <= theirs);
            sent.set(sent.get() + theirs);
            got.set(got.get() + courier.got.len() as u64);
        }
        close(&mut testbed);
    });
    let (sent, got) = (sent.get(), got.get());
    assert!(got < sent && got > sent / 2, "{got} of {sent} datagrams came");
}

#[test]
fn where_nothing_is_lost_every_datagram_arrives_or_is_counted_as_dropped() {
    let (all_dropped, kept) = (Cell::new(0), Cell::new(0));
    seeds(|random| {
        let plan = narrow(random);
        // A packet that overtakes the handshake is lost.
        let delay = random.span(Duration::ZERO..=Duration::from_millis(20));
        let path = [(); 2].map(|()| Path { delay, ..Path::default() });
        let mut testbed = build(&plan, random, 200, path);
        run_to_the_end(&mut testbed);
        for (courier, dropped) in couriers(&testbed).iter().zip(dropped(&testbed)) {
            let theirs = courier.theirs.borrow().len() as u64;
            assert_eq!(courier.got.len() as u64 + dropped, theirs, "{dropped} were dropped");
            all_dropped.set(all_dropped.get() + dropped);
            kept.set(kept.get() + u64::from(dropped == 0 && theirs > 0));
        }
        close(&mut testbed);
    });
    assert!(all_dropped.get() > 0 && kept.get() > 0);
}

#[test]
fn room_for_datagrams_is_reported_when_it_is_there_and_not_with_the_next_packet() {
    seeds(|random| {
        let mut plan = narrow(random);
        for recipe in [&mut plan.server, &mut plan.client] {
            recipe.transport.datagrams = 1;
            recipe.turn = Duration::from_micros(50);
        }
        let delay = Duration::from_millis(50);
        let path = [(); 2].map(|()| Path { delay, ..Path::default() });
        // They fit into the first congestion window, and not into the buffer.
        let mut testbed = build(&plan, random, 6, path);
        run_to_the_end(&mut testbed);
        for courier in couriers(&testbed) {
            let took = courier.done.since(courier.began);
            assert!(took < delay, "the last was taken after {took:?}");
        }
        close(&mut testbed);
    });
}

#[test]
fn who_takes_no_datagrams_sends_none_and_is_sent_none() {
    seeds(|random| {
        let mut plan = narrow(random);
        let is_server = random.happens(Chance::percent(50));
        let recipe = if is_server { &mut plan.server } else { &mut plan.client };
        recipe.transport.datagrams = 0;
        let path = [(); 2].map(|()| Path::sound(random));
        let mut testbed = build(&plan, random, 0, path);
        run_to_the_end(&mut testbed);
        for id in [testbed.server, testbed.clients[0]] {
            testbed.act(id, |courier: &mut Courier, desk| {
                let id = courier.connection.expect("it is connected");
                let refused = desk.endpoint.send_datagram(id, Bytes::from_static(b"1"));
                assert_eq!(refused, Err(Refusal::TooLarge { given: 1, most: 0 }));
            });
        }
        close(&mut testbed);
    });
}
