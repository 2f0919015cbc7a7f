//! The world: nodes, the paths between them, a clock that jumps from event to event, and one queue
//! ordered by time and then by the order in which things were put into it.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use gapless_core::Instant;

use super::path::{Passage, Path};
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
}

/// Which node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NodeId(usize);

/// What a node sends while it is called.
#[derive(Debug, Default)]
pub struct Outbox(Vec<(SocketAddr, SocketAddr, Bytes)>);

impl Outbox {
    /// Sends a datagram from an address of the node's own.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        self.0.push((from, to, bytes));
    }
}

type Action = Box<dyn FnOnce(&mut World)>;

enum Happening {
    Arrival { node: NodeId, at: SocketAddr, from: SocketAddr, bytes: Bytes },
    Action(Action),
}

/// How often a node may be woken at one instant: more is a machine that spins.
const MAX_WAKES_AT_ONCE: u32 = 1000;

/// A simulated network.
pub struct World {
    now: Instant,
    random: Random,
    nodes: Vec<Box<dyn Node>>,
    members: BTreeMap<SocketAddr, Vec<NodeId>>,
    passages: BTreeMap<(NodeId, SocketAddr, NodeId), Passage>,
    queue: BTreeMap<(Instant, u64), Happening>,
    order: u64,
    wakes_at_once: u32,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .field("nodes", &self.nodes.len())
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
            nodes: Vec::new(),
            members: BTreeMap::new(),
            passages: BTreeMap::new(),
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
        let id = NodeId(self.nodes.len());
        self.nodes.push(Box::new(node));
        for &address in addresses {
            self.members.entry(address).or_default().push(id);
        }
        id
    }

    /// Sets the path from a node to an address of another node; it is the default path otherwise.
    pub fn set_path(&mut self, from: NodeId, to: SocketAddr, member: NodeId, path: Path) {
        let random = self.random.fork();
        self.passages.insert((from, to, member), Passage::new(path, random));
    }

    /// Lets nothing go wrong from now on: no path loses, duplicates, reorders or is down.
    pub fn mend_paths(&mut self) {
        for passage in self.passages.values_mut() {
            let Path { delay, jitter, .. } = passage.path;
            passage.path = Path { delay, jitter, ..Path::default() };
        }
    }

    /// Does something at a time.
    pub fn at(&mut self, time: Instant, action: impl FnOnce(&mut Self) + 'static) {
        self.put(time, Happening::Action(Box::new(action)));
    }

    /// A node as what it is.
    ///
    /// # Panics
    /// When it is something else.
    #[must_use]
    pub fn node<N: Node>(&self, id: NodeId) -> &N {
        let node: &dyn Any = &*self.nodes[id.0];
        node.downcast_ref().expect("a node of this kind")
    }

    /// Calls a node from outside, such as a program that embeds it would.
    ///
    /// # Panics
    /// When it is something else.
    pub fn call<N: Node>(&mut self, id: NodeId, call: impl FnOnce(&mut N, Instant, &mut Outbox)) {
        let node: &mut dyn Any = &mut *self.nodes[id.0];
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
        let wake = self.nodes.iter().enumerate().filter_map(|(index, node)| {
            node.next_wake().map(|time| (time.max(self.now), NodeId(index)))
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
        let mut out = Outbox::default();
        self.nodes[id.0].wake(self.now, &mut out);
        self.carry(id, out);
    }

    fn happen(&mut self) {
        match self.queue.pop_first().map(|(_, happening)| happening) {
            Some(Happening::Arrival { node, at, from, bytes }) => {
                let mut out = Outbox::default();
                self.nodes[node.0].arrive(self.now, at, from, &bytes, &mut out);
                self.carry(node, out);
            }
            Some(Happening::Action(action)) => action(self),
            None => {}
        }
    }

    fn carry(&mut self, sender: NodeId, out: Outbox) {
        for (from, to, bytes) in out.0 {
            let Some(members) = self.members.get(&to).cloned() else { continue };
            for member in members {
                let passage = self
                    .passages
                    .entry((sender, to, member))
                    .or_insert_with(|| Passage::new(Path::default(), self.random.fork()));
                for time in passage.arrivals(self.now) {
                    let bytes = bytes.clone();
                    self.put(time, Happening::Arrival { node: member, at: to, from, bytes });
                }
            }
        }
    }

    fn put(&mut self, time: Instant, happening: Happening) {
        self.queue.insert((time, self.order), happening);
        self.order += 1;
    }
}
