//! Caches in the simulated network: a node's receiver feeds a grouping, which publishes into a cache,
//! which readers of all kinds read, some of them hardly ever.
//!
//! A [`CacheNode`] goes on with what a [`Listener`](super::Listener) hears; what it was given is in one
//! `Book` a track, and every reader is judged by the book. [`Relays`] is the plan: several such nodes
//! receive one feed, each with faults, starts and limits of its own, and agree on what they hold.

mod ballast;
mod book;
mod draw;
mod law;
mod node;
mod reader;
mod relays;

pub use ballast::Ballast;
pub use law::Holdings;
pub use node::{CacheNode, CachePlan, Keeps, Rounding, Totals};
pub use reader::{Pace, ReaderPlan};
pub use relays::{Relay, Relays};
