//! Faults of nodes.

use std::ops::Range;

use gapless_core::Instant;

use crate::sim::world::{NodeId, State, World};

/// A node of a swarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// The feed, or whoever publishes it.
    Feed,
    /// The receiver.
    Listener,
    /// The server of this index.
    Server(u8),
}

/// One thing that goes wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// These are cut off from all others.
    Partition(Vec<Who>),
    /// Nothing passes from the one to the other.
    OneWay(Who, Who),
    /// It does not run, and then goes on with its state or without.
    Stop(Who, State),
    /// It gets no processor, and has a receive buffer of so many bytes.
    Starve(Who, usize),
}

/// A fault, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// From when, until when.
    pub times: Range<Instant>,
    /// The kind of fault.
    pub what: What,
}

impl Fault {
    /// The node that it befalls.
    pub(super) fn nodes(&mut self) -> Vec<&mut Who> {
        match &mut self.what {
            What::Partition(nodes) => nodes.iter_mut().collect(),
            What::OneWay(from, to) => vec![from, to],
            What::Stop(node, _) | What::Starve(node, _) => vec![node],
        }
    }

    /// Lets it happen when its time comes, in a world where nodes have these ids.
    pub(crate) fn schedule(&self, world: &mut World, id: impl Fn(Who) -> NodeId) {
        let Range { start, end } = self.times;
        match self.what {
            What::Partition(ref nodes) => {
                world.partition(nodes.iter().copied().map(id).collect(), start..end);
            }
            What::OneWay(from, to) => world.cut_one_way(id(from), id(to), start..end),
            What::Stop(node, state) => {
                let node = id(node);
                world.at(start, move |world| world.stop(node));
                world.at(end, move |world| world.restart(node, state));
            }
            What::Starve(node, room) => {
                let node = id(node);
                world.at(start, move |world| world.starve(node, end, room));
            }
        }
    }
}
