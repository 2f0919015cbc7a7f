//! What happens to nodes.

use std::ops::Range;

use gapless_core::Instant;

use crate::sim::setup::Stage;
use crate::sim::world::{NodeId, State};

/// A node of a swarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// The feed.
    Feed,
    /// The receiver.
    Listener,
    /// The server of this index.
    Server(u8),
}

impl Who {
    fn id(self, stage: &Stage) -> NodeId {
        match self {
            Self::Feed => stage.feed,
            Self::Listener => stage.listener,
            Self::Server(server) => stage.servers[usize::from(server)],
        }
    }
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

/// What goes wrong, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// From when, until when.
    pub times: Range<Instant>,
    /// What it is.
    pub what: What,
}

impl Fault {
    /// Whom it befalls.
    pub(super) fn nodes(&mut self) -> Vec<&mut Who> {
        match &mut self.what {
            What::Partition(nodes) => nodes.iter_mut().collect(),
            What::OneWay(from, to) => vec![from, to],
            What::Stop(node, _) | What::Starve(node, _) => vec![node],
        }
    }

    /// Lets it happen when its time comes.
    pub(super) fn schedule(&self, stage: &mut Stage) {
        let Range { start, end } = self.times;
        match self.what {
            What::Partition(ref nodes) => {
                let nodes = nodes.iter().map(|node| node.id(stage)).collect();
                stage.world.partition(nodes, start..end);
            }
            What::OneWay(from, to) => {
                let (from, to) = (from.id(stage), to.id(stage));
                stage.world.cut_one_way(from, to, start..end);
            }
            What::Stop(node, state) => {
                let node = node.id(stage);
                stage.world.at(start, move |world| world.stop(node));
                stage.world.at(end, move |world| world.restart(node, state));
            }
            What::Starve(node, room) => {
                let node = node.id(stage);
                stage.world.at(start, move |world| world.starve(node, end, room));
            }
        }
    }
}
