//! A simulated network with a virtual clock: machines run in it for minutes within milliseconds, and
//! one seed decides everything that happens.
//!
//! A [`World`] holds nodes, the paths between them and one queue ordered by time. Nodes of a feed are
//! a [`Feed`] (its lines), [`Server`]s and a [`Listener`] (the receiver with its checks), or a
//! [`PublisherNode`] (a publisher) in place of the first two; [`Setup`] and [`Broadcast`] put them together.
//! The output of a receiver can go into a cache in its node ([`cache`]). The load of many peers on
//! a demultiplexer ([`demux`]) needs no network: only what comes of its streams, and when.
//!
//! The input and output of a node are recorded as [`Fact`]s for the checkers of [`check`], each of which
//! states one property of the machines. They watch over every plan.
//!
//! [`seeds`] runs a plan once per seed and prints how to repeat a failure. [`plans`] does so for plans
//! that are values: of one that fails it finds the smallest that still does, and leaves a journal of
//! each node in `target/simulator`. [`Swarm`] is the standard plan.

mod attacker;
mod backfill;
mod broadcast;
pub mod cache;
pub mod check;
pub mod demux;
mod feed;
mod journal;
mod ledger;
mod link;
mod listener;
mod netsim;
mod path;
mod program;
mod publisher_node;
mod random;
mod receiver;
mod runner;
mod server;
mod setup;
mod swarm;
mod trace;
mod whole;
mod world;

pub use attacker::Attacker;
pub use backfill::{Backfill, Backfilled, Lengths};
pub use broadcast::Broadcast;
pub use feed::{Feed, Line};
pub use journal::{Journal, Journals, recorded};
pub use ledger::{Account, Ledger};
pub use listener::{Downstream, Listener, Way};
pub use netsim::{Cell, Measured};
pub use path::{Bandwidth, Chance, Path};
pub use program::{Ending, Message, Program, SessionPlan, message};
pub use publisher_node::{PublisherNode, Schedule};
pub use random::Random;
pub use runner::{Plan, fails, plans, seeds, shrink};
pub use server::{Server, ServerPlan};
pub use setup::{
    Setup, Stage, feed_address, line_address, listener_address, server_address, session,
};
pub use swarm::{Fault, Swarm, What, Who};
pub use trace::{Fact, Trace};
pub use whole::Whole;
pub use world::{Node, NodeId, Outbox, State, World};
