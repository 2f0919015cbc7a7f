//! The world: nodes, the paths between them, a clock that jumps from event to event, and one queue
//! ordered by time and then by the order in which things were put into it. Nodes can be stopped,
//! restarted and starved, and the network torn.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;

use bytes::Bytes;
use gapless_core::Instant;

use super::link::Link;
use super::path::{Chance, Path};
use super::random::Random;

/// A node of the network.
pub trait Node: Any {
    /// A datagram arrives at one of its addresses.
    fn arrive(
        &mut self,
        now: Instant,
        at: SocketAddr,
        from: SocketAddr,
        bytes: &Bytes,
        out: &mut Outbox,
    );

    /// The time that [`Node::next_wake`] named has come.
    fn wake(&mut self, now: Instant, out: &mut Outbox);

    /// When it wants to be woken.
    fn next_wake(&self) -> Option<Instant>;

    /// It runs again after it was stopped, with or without what it knew. Unless told otherwise it
    /// knows nothing that it could lose.
    fn restart(&mut self, _now: Instant, _state: State) {}
}

/// The state that a node still has when it runs again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The state that it would have written down.
    Kept,
    /// Nothing but its configuration.
    Lost,
}

/// Which node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NodeId(usize);

/// The datagrams that a node sends while it is called.
#[derive(Debug, Default)]
pub struct Outbox(Vec<(SocketAddr, SocketAddr, Bytes)>);

impl Outbox {
    /// Sends a datagram from an address of the node's own.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        self.0.push((from, to, bytes));
    }
}

type Action = Box<dyn FnOnce(&mut World)>;

/// A datagram at the end of its path.
struct Arrival {
    at: SocketAddr,
    from: SocketAddr,
    bytes: Bytes,
}

enum Happening {
    Arrival(NodeId, Arrival),
    Action(Action),
}

/// Whether a node runs.
enum Condition {
    Runs,
    /// Arriving datagrams are lost, and no timer fires.
    Stopped,
    /// Arriving datagrams wait, within so many bytes, and so do timers.
    Starved {
        until: Instant,
        room: usize,
        waiting: VecDeque<Arrival>,
    },
}

struct Host {
    node: Box<dyn Node>,
    condition: Condition,
}

impl Host {
    /// When something happens here by itself.
    fn next_wake(&self) -> Option<Instant> {
        match self.condition {
            Condition::Runs => self.node.next_wake(),
            Condition::Stopped => None,
            Condition::Starved { until, .. } => Some(until),
        }
    }
}

/// Between whom nothing passes.
enum Cut {
    /// These, and all others.
    Around(Vec<NodeId>),
    /// From the one to the other.
    OneWay(NodeId, NodeId),
}

impl Cut {
    fn separates(&self, from: NodeId, to: NodeId) -> bool {
        match self {
            Self::Around(nodes) => nodes.contains(&from) != nodes.contains(&to),
            Self::OneWay(sender, receiver) => (*sender, *receiver) == (from, to),
        }
    }
}

/// How often a node may be woken at one instant: more is a machine that spins.
const MAX_WAKES_AT_ONCE: u32 = 1000;

/// A simulated network.
pub struct World {
    now: Instant,
    random: Random,
    hosts: Vec<Host>,
    members: BTreeMap<SocketAddr, Vec<NodeId>>,
    links: BTreeMap<(NodeId, SocketAddr, NodeId), Link>,
    cuts: Vec<(Range<Instant>, Cut)>,
    queue: BTreeMap<(Instant, u64), Happening>,
    order: u64,
    wakes_at_once: u32,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .field("nodes", &self.hosts.len())
            .field("queued", &self.queue.len())
            .finish_non_exhaustive()
    }
}

impl World {
    /// An empty world at time zero.
    #[must_use]
    pub const fn new(random: Random) -> Self {
        Self {
            now: Instant::ZERO,
            random,
            hosts: Vec::new(),
            members: BTreeMap::new(),
            links: BTreeMap::new(),
            cuts: Vec::new(),
            queue: BTreeMap::new(),
            order: 0,
            wakes_at_once: 0,
        }
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Adds a node that what is sent to these addresses arrives at. Several nodes at one address make
    /// it a group.
    pub fn add(&mut self, node: impl Node, addresses: &[SocketAddr]) -> NodeId {
        let id = NodeId(self.hosts.len());
        self.hosts.push(Host { node: Box::new(node), condition: Condition::Runs });
        for &address in addresses {
            self.members.entry(address).or_default().push(id);
        }
        id
    }

    /// Sets the path from a node to an address of another node; it is the default path otherwise.
    pub fn set_path(&mut self, from: NodeId, to: SocketAddr, member: NodeId, path: Path) {
        let random = self.random.fork();
        self.links.insert((from, to, member), Link::new(path, random));
    }

    /// Lets nothing pass meanwhile between these nodes and all others, in either direction.
    pub fn partition(&mut self, nodes: Vec<NodeId>, times: Range<Instant>) {
        self.cuts.push((times, Cut::Around(nodes)));
    }

    /// Lets nothing pass meanwhile from one node to another; the way back stays open.
    pub fn cut_one_way(&mut self, from: NodeId, to: NodeId, times: Range<Instant>) {
        self.cuts.push((times, Cut::OneWay(from, to)));
    }

    /// Lets nothing go wrong on any path from now on: nothing is lost, duplicated, reordered, too
    /// long or too much, and nobody is cut off.
    pub fn mend_paths(&mut self) {
        self.cuts.clear();
        for link in self.links.values_mut() {
            link.path = link.path.mended();
        }
    }

    /// Stops a node: what arrives at it is gone, and no timer fires.
    pub fn stop(&mut self, id: NodeId) {
        self.hosts[id.0].condition = Condition::Stopped;
    }

    /// Lets a node run again, or stops it and lets it run again at once.
    pub fn restart(&mut self, id: NodeId, state: State) {
        let place = &mut self.hosts[id.0];
        place.condition = Condition::Runs;
        place.node.restart(self.now, state);
    }

    /// Gives a running node no processor until then. What arrives waits in a receive buffer of so
    /// many bytes, and what finds it full is dropped; timers are late.
    pub fn starve(&mut self, id: NodeId, until: Instant, room: usize) {
        let condition = &mut self.hosts[id.0].condition;
        if matches!(condition, Condition::Runs) {
            *condition = Condition::Starved { until, room, waiting: VecDeque::new() };
        }
    }

    /// Does something at a time, at once when that is past.
    pub fn at(&mut self, time: Instant, action: impl FnOnce(&mut Self) + 'static) {
        self.put(time.max(self.now), Happening::Action(Box::new(action)));
    }

    /// A node as what it is.
    ///
    /// # Panics
    /// When it is something else.
    #[must_use]
    pub fn node<N: Node>(&self, id: NodeId) -> &N {
        let node: &dyn Any = &*self.hosts[id.0].node;
        node.downcast_ref().expect("a node of this kind")
    }

    /// Calls a node from outside, such as a program that embeds it would.
    ///
    /// # Panics
    /// When it is something else.
    pub fn call<N: Node>(&mut self, id: NodeId, call: impl FnOnce(&mut N, Instant, &mut Outbox)) {
        let node: &mut dyn Any = &mut *self.hosts[id.0].node;
        let mut out = Outbox::default();
        call(node.downcast_mut().expect("a node of this kind"), self.now, &mut out);
        self.carry(id, out);
    }

    /// Runs until something holds, which is looked at after every event, or until a time. Returns
    /// whether it holds.
    pub fn run(&mut self, until: Instant, mut holds: impl FnMut(&Self) -> bool) -> bool {
        loop {
            if holds(self) {
                return true;
            }
            if !self.step(until) {
                self.now = self.now.max(until);
                return false;
            }
        }
    }

    /// The next thing that happens until then; `false` when there is nothing.
    fn step(&mut self, until: Instant) -> bool {
        let wake = self.hosts.iter().enumerate().filter_map(|(index, place)| {
            place.next_wake().map(|time| (time.max(self.now), NodeId(index)))
        });
        let wake = wake.min();
        let queued = self.queue.first_key_value().map(|(&(time, _), _)| time);
        let next = match (queued, wake) {
            (None, None) => return false,
            (Some(time), None) | (None, Some((time, _))) => time,
            (Some(queued), Some((wake, _))) => queued.min(wake),
        };
        if next > until {
            return false;
        }
        if next > self.now {
            self.wakes_at_once = 0;
        }
        self.now = next;
        match wake {
            Some((time, id)) if time == next && queued != Some(next) => self.wake(id),
            _ => self.happen(),
        }
        true
    }

    fn wake(&mut self, id: NodeId) {
        self.wakes_at_once += 1;
        assert!(self.wakes_at_once < MAX_WAKES_AT_ONCE, "{id:?} spins at {:?}", self.now);
        let place = &mut self.hosts[id.0];
        if let Condition::Starved { waiting, .. } = &mut place.condition {
            let waiting = std::mem::take(waiting);
            place.condition = Condition::Runs;
            return self.resume(id, waiting);
        }
        let mut out = Outbox::default();
        place.node.wake(self.now, &mut out);
        self.carry(id, out);
    }

    /// A node has a processor again. Nobody says whether a program looks at its sockets or at its
    /// timers first.
    fn resume(&mut self, id: NodeId, waiting: VecDeque<Arrival>) {
        let late = self.hosts[id.0].node.next_wake().is_some_and(|time| time <= self.now);
        if late && self.random.happens(Chance::percent(50)) {
            self.wake(id);
        }
        for arrival in waiting {
            self.arrive(id, arrival);
        }
    }

    fn happen(&mut self) {
        match self.queue.pop_first().map(|(_, happening)| happening) {
            Some(Happening::Arrival(node, arrival)) => self.arrive(node, arrival),
            Some(Happening::Action(action)) => action(self),
            None => {}
        }
    }

    fn arrive(&mut self, id: NodeId, arrival: Arrival) {
        let Host { node, condition } = &mut self.hosts[id.0];
        match condition {
            Condition::Runs => {
                let Arrival { at, from, bytes } = arrival;
                let mut out = Outbox::default();
                node.arrive(self.now, at, from, &bytes, &mut out);
                self.carry(id, out);
            }
            Condition::Stopped => {}
            Condition::Starved { room, waiting, .. } => {
                if let Some(left) = room.checked_sub(arrival.bytes.len()) {
                    *room = left;
                    waiting.push_back(arrival);
                }
            }
        }
    }

    fn carry(&mut self, sender: NodeId, out: Outbox) {
        for (from, to, bytes) in out.0 {
            let Some(members) = self.members.get(&to).cloned() else { continue };
            for member in members {
                if self.is_cut(sender, member) {
                    continue;
                }
                let link = self
                    .links
                    .entry((sender, to, member))
                    .or_insert_with(|| Link::new(Path::default(), self.random.fork()));
                for time in link.arrivals(self.now, bytes.len()) {
                    let arrival = Arrival { at: to, from, bytes: bytes.clone() };
                    self.put(time, Happening::Arrival(member, arrival));
                }
            }
        }
    }

    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        let cuts = |(times, cut): &(Range<Instant>, Cut)| {
            times.contains(&self.now) && cut.separates(from, to)
        };
        self.cuts.iter().any(cuts)
    }

    fn put(&mut self, time: Instant, happening: Happening) {
        self.queue.insert((time, self.order), happening);
        self.order += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gapless_core::Duration;

    use crate::sim::{server_address, session};

    const EVERY: Duration = Duration::from_millis(10);

    /// Sends a datagram to a peer every ten milliseconds, and notes when it was called.
    #[derive(Debug)]
    struct Ticker {
        peer: u8,
        next: Instant,
        ticks: Vec<u64>,
        arrivals: Vec<u64>,
        restarts: Vec<State>,
    }

    impl Node for Ticker {
        fn arrive(
            &mut self,
            now: Instant,
            _: SocketAddr,
            _: SocketAddr,
            _: &Bytes,
            _: &mut Outbox,
        ) {
            self.arrivals.push(now.as_nanos() / 1_000_000);
        }

        fn wake(&mut self, now: Instant, out: &mut Outbox) {
            self.ticks.push(now.as_nanos() / 1_000_000);
            self.next = now + EVERY;
            let bytes = Bytes::copy_from_slice(session("TICK").as_bytes());
            out.send(server_address(1 - self.peer), server_address(self.peer), bytes);
        }

        fn next_wake(&self) -> Option<Instant> {
            Some(self.next)
        }

        fn restart(&mut self, now: Instant, state: State) {
            self.next = now;
            self.restarts.push(state);
        }
    }

    /// Two tickers that send to each other from the start on.
    fn pair() -> (World, [NodeId; 2]) {
        let mut world = World::new(Random::new(1));
        let ids = [0, 1].map(|index| {
            let (peer, next) = (1 - index, Instant::ZERO);
            let (ticks, arrivals, restarts) = (Vec::new(), Vec::new(), Vec::new());
            let ticker = Ticker { peer, next, ticks, arrivals, restarts };
            world.add(ticker, &[server_address(index)])
        });
        (world, ids)
    }

    fn run(world: &mut World, millis: u64) {
        world.run(Instant::from_millis(millis), |_| false);
    }

    #[test]
    fn what_arrives_at_a_stopped_node_is_gone_and_its_timers_do_not_fire() {
        let (mut world, [a, b]) = pair();
        run(&mut world, 15);
        world.stop(a);
        run(&mut world, 35);
        world.restart(a, State::Lost);
        run(&mut world, 50);
        let Ticker { ticks, arrivals, restarts, .. } = world.node(a);
        assert_eq!((&ticks[..], &arrivals[..]), (&[0, 10, 35, 45][..], &[0, 10, 40][..]));
        assert_eq!(restarts[..], [State::Lost]);
        assert_eq!(world.node::<Ticker>(b).arrivals, [0, 10, 35, 45]);
    }

    #[test]
    fn what_arrives_at_a_starved_node_waits_within_its_buffer_and_its_timers_are_late() {
        let (mut world, [a, _]) = pair();
        run(&mut world, 15);
        world.starve(a, Instant::from_millis(57), 35);
        run(&mut world, 60);
        let Ticker { ticks, arrivals, .. } = world.node(a);
        assert_eq!(ticks[..], [0, 10, 57]);
        assert_eq!(arrivals[..], [0, 10, 57, 57, 57], "three datagrams of ten bytes fit");
    }

    #[test]
    fn a_partition_cuts_both_directions_until_it_is_over() {
        let (mut world, [a, b]) = pair();
        world.partition(vec![a], Instant::from_millis(5)..Instant::from_millis(25));
        run(&mut world, 35);
        assert_eq!(world.node::<Ticker>(a).arrivals, [0, 30]);
        assert_eq!(world.node::<Ticker>(b).arrivals, [0, 30]);
    }

    #[test]
    fn nodes_on_one_side_of_a_partition_reach_each_other() {
        let (mut world, [a, b]) = pair();
        world.partition(vec![a, b], Instant::ZERO..Instant::MAX);
        run(&mut world, 15);
        assert_eq!(world.node::<Ticker>(a).arrivals, [0, 10]);
    }

    #[test]
    fn a_cut_in_one_direction_leaves_the_other_open() {
        let (mut world, [a, b]) = pair();
        world.cut_one_way(a, b, Instant::ZERO..Instant::MAX);
        run(&mut world, 15);
        assert_eq!(world.node::<Ticker>(a).arrivals, [0, 10]);
        assert!(world.node::<Ticker>(b).arrivals.is_empty());
    }

    #[test]
    fn mended_paths_lose_nothing_and_cut_nobody_off() {
        let (mut world, [a, b]) = pair();
        world.set_path(a, server_address(1), b, Path { mtu: 5, ..Path::default() });
        world.cut_one_way(b, a, Instant::ZERO..Instant::MAX);
        run(&mut world, 15);
        world.mend_paths();
        run(&mut world, 25);
        assert_eq!(world.node::<Ticker>(a).arrivals, [20]);
        assert_eq!(world.node::<Ticker>(b).arrivals, [20]);
    }
}
