//! The cost of repair on a network of a given loss and round trip: a [`Cell`] is one such network with
//! a steady feed, a server and one receiver, and [`Measured`] is what became of every message.
//!
//! Everything is counted in messages and in nanoseconds of virtual time, so the same cell gives the
//! same figures on every machine. All cells of one loss and number of lines lose the same packets of
//! the feed, whatever the receiver does about it.

use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use gapless_core::receiver::{
    Command, Config, Datagram, Event, LineId, Receiver, ServerId, Source, Stats,
};
use gapless_core::wire::mold::Packet;
use gapless_core::{Duration, Instant, Machine};

use super::feed::{Feed, Line};
use super::path::{Chance, Path};
use super::program::{Ending, Program, SessionPlan};
use super::random::Random;
use super::server::{Server, ServerPlan};
use super::setup::{feed_address, line_address, listener_address, server_address, session};
use super::world::{Node, Outbox, World};

/// How long a run goes on after the last message was sent before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(3600);
/// From here on every draw of a cell follows.
const SEED: u64 = 1;

/// A network, and a feed on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell {
    /// How many lines the feed is sent on: from 1.
    pub lines: u8,
    /// How many datagrams are lost on every path: each line, and to and from the server.
    pub loss: Chance,
    /// From a request to its answer; a line takes half of it.
    pub round_trip: Duration,
    /// How many messages the feed has.
    pub messages: u64,
    /// From which message on it is measured what became of them.
    pub measured_from: u64,
}

impl Cell {
    /// A packet of the feed holds one to so many messages, ten on average.
    pub const PER_PACKET: u64 = 19;
    /// The longest time from one packet to the next; half of it on average.
    pub const INTERVAL: Duration = Duration::from_micros(400);
    /// How far each line is behind the one before it.
    pub const LAG: Duration = Duration::from_micros(500);

    /// Runs the feed to its end, with a receiver of this configuration (lines and servers are added
    /// to it).
    ///
    /// # Panics
    /// When the receiver refuses the configuration, does not come to the end of the session, or runs
    /// out of memory: then what it holds is not known.
    #[must_use]
    pub fn run(&self, config: Config) -> Measured {
        let mut random = Random::new(SEED);
        let session = session("NETSIM");
        let plan = SessionPlan {
            session,
            begins: Instant::from_millis(1),
            messages: self.messages,
            per_packet: Self::PER_PACKET,
            interval: Self::INTERVAL,
            pauses: Chance::NEVER,
            pause: Duration::ZERO,
            ending: Ending::Announced,
        };
        let program = Rc::new(Program::new(&mut random, &[plan]));
        let mut world = World::new(random);

        let lines: Vec<_> =
            (0..self.lines).map(|line| (line_address(line), LineId(line))).collect();
        let always = Instant::ZERO..Instant::MAX;
        let sent = lines.iter().map(|&(to, _)| Line { to, sends: always.clone() }).collect();
        let feed = world.add(Feed::new(Rc::clone(&program), feed_address(), sent), &[]);
        let asked_at = server_address(0);
        let server = Server::new(Rc::clone(&program), ServerPlan::default());
        let server = world.add(server, &[asked_at]);
        let config = Config {
            session: Some(session),
            lines: lines.iter().map(|&(_, line)| line).collect(),
            servers: vec![(ServerId(0), asked_at)],
            ..config
        };
        let mut addresses: Vec<_> = lines.iter().map(|&(address, _)| address).collect();
        addresses.push(listener_address());
        let meter = world.add(Meter::new(config, lines.clone(), self), &addresses);

        let path = Path { delay: self.round_trip / 2, loss: self.loss, ..Path::default() };
        for (address, LineId(line)) in lines {
            let delay = path.delay + Self::LAG * u32::from(line);
            world.set_path(feed, address, meter, Path { delay, ..path.clone() });
        }
        world.set_path(meter, asked_at, server, path.clone());
        world.set_path(server, listener_address(), meter, path);

        let until = program.last_packet() + PATIENCE;
        let ended = world.run(until, |world| world.node::<Meter>(meter).ended);
        let meter: &Meter = world.node(meter);
        assert!(ended, "{self:?} does not end: {:?}", meter.receiver.stats());
        meter.measured()
    }
}

/// The result of a feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Measured {
    /// Messages that no line brought.
    pub lost: u64,
    /// Messages that the receiver came to miss: it saw a later one, or the end, before them.
    pub missed: u64,
    /// For each missed message that arrived: from when the gap was reported until it arrived, by an
    /// answer or a line; sorted.
    pub repaired: Vec<Duration>,
    /// For each missed message that was delivered: from when the gap was reported until then, so that
    /// waiting for earlier messages counts too; sorted.
    pub delivered: Vec<Duration>,
    /// Requests sent.
    pub requests: u64,
    /// Messages asked for, each as often as it was asked for.
    pub requested: u64,
    /// The most messages at once that had arrived and waited for earlier ones.
    pub held: u64,
    /// Messages that the receiver gave up.
    pub given_up: u64,
}

impl Measured {
    /// The value below which so many percent of sorted ones lie (nearest rank); `None` of none.
    #[must_use]
    pub fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied()
    }
}

/// The fate of one message.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    by_line: bool,
    missed: Option<Instant>,
    arrived: Option<Instant>,
    delivered: Option<Instant>,
    given_up: bool,
}

/// A node that receives a feed and takes down what becomes of every message.
#[derive(Debug)]
struct Meter {
    receiver: Receiver,
    lines: Vec<(SocketAddr, LineId)>,
    /// Of message 1 and those that follow.
    fates: Vec<Fate>,
    measured_from: u64,
    held: u64,
    most_held: u64,
    ended: bool,
}

impl Meter {
    fn new(config: Config, lines: Vec<(SocketAddr, LineId)>, cell: &Cell) -> Self {
        let receiver = Receiver::new(config).expect("a configuration that is valid");
        let fates = vec![Fate::default(); index(cell.messages)];
        let measured_from = cell.measured_from;
        Self { receiver, lines, fates, measured_from, held: 0, most_held: 0, ended: false }
    }

    fn fates(&mut self, numbers: Range<u64>) -> &mut [Fate] {
        &mut self.fates[index(numbers.start - 1)..index(numbers.end - 1)]
    }

    fn note_arrival(&mut self, now: Instant, by_line: bool, packet: &Packet<'_>) {
        let first = packet.header().sequence;
        let end = first + packet.messages().count() as u64;
        let mut held = 0;
        for fate in self.fates(first..end) {
            fate.by_line |= by_line;
            held += u64::from(fate.arrived.is_none() && !fate.given_up);
            fate.arrived.get_or_insert(now);
        }
        self.held += held;
    }

    fn drain(&mut self, now: Instant, out: &mut Outbox) {
        while let Some(command) = self.receiver.poll_command() {
            match command {
                Command::Batch(batch) => {
                    for fate in self.fates(batch.first..batch.last() + 1) {
                        fate.delivered = Some(now);
                    }
                    self.held -= u64::from(batch.count);
                }
                Command::GapOpened { first, last, .. } => {
                    for fate in self.fates(first..last + 1) {
                        fate.missed.get_or_insert(now);
                    }
                }
                Command::Lost { first, last, .. } => {
                    self.fates(first..last + 1).iter_mut().for_each(|fate| fate.given_up = true);
                }
                Command::Request { to, request, .. } => {
                    let bytes = Bytes::copy_from_slice(&request.to_bytes());
                    out.send(listener_address(), to, bytes);
                }
                Command::SessionEnded { .. } => self.ended = true,
                _ => {}
            }
        }
        self.most_held = self.most_held.max(self.held);
    }

    fn measured(&self) -> Measured {
        let Stats { requests, requested_messages, put_off_for_memory, put_off_for_gaps, .. } =
            self.receiver.stats();
        assert_eq!(put_off_for_memory + put_off_for_gaps, 0, "what was put off is not held");
        let fates = &self.fates[index(self.measured_from - 1)..];
        let count = |is: fn(&Fate) -> bool| fates.iter().filter(|fate| is(fate)).count() as u64;
        let sorted = |until: fn(&Fate) -> Option<Instant>| {
            let span = |fate: &Fate| Some(until(fate)?.since(fate.missed?));
            let mut spans: Vec<_> = fates.iter().filter_map(span).collect();
            spans.sort_unstable();
            spans
        };
        Measured {
            lost: count(|fate| !fate.by_line),
            missed: count(|fate| fate.missed.is_some()),
            repaired: sorted(|fate| fate.arrived),
            delivered: sorted(|fate| fate.delivered),
            requests: *requests,
            requested: *requested_messages,
            held: self.most_held,
            given_up: count(|fate| fate.given_up),
        }
    }
}

impl Node for Meter {
    fn arrive(
        &mut self,
        now: Instant,
        at: SocketAddr,
        from: SocketAddr,
        bytes: &Bytes,
        out: &mut Outbox,
    ) {
        let line = self.lines.iter().find(|(address, _)| *address == at);
        let source = line.map_or(Source::Peer(from), |&(_, line)| Source::Line(line));
        let packet = Packet::new_checked(bytes).expect("feed and server send nothing else");
        self.note_arrival(now, matches!(source, Source::Line(_)), &packet);
        let (bytes, pinned) = (bytes.clone(), bytes.len());
        let datagram = Event::Datagram(Datagram { source, bytes, pinned, arrival: now });
        self.receiver.handle(now, datagram).expect("it was drained");
        self.drain(now, out);
    }

    fn wake(&mut self, now: Instant, out: &mut Outbox) {
        self.receiver.handle_timeout(now).expect("it was drained");
        self.drain(now, out);
    }

    fn next_wake(&self) -> Option<Instant> {
        self.receiver.poll_timeout()
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("a feed that fits memory")
}
