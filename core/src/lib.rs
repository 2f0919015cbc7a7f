//! Sans-IO machines that turn a lossy, sequenced live feed into a stream that nobody misses a
//! message of.
//!
//! Everything here is deterministic: no sockets, no clock, no threads, no randomness, no hash order.
//! A driver turns sockets into events and commands into datagrams; see [`Machine`] for the contract
//! and [`Receiver`](receiver::Receiver) for the machine that most people come for.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod blocks;
pub mod journal;
pub mod limits;
pub mod machine;
pub mod publisher;
pub mod ranges;
pub mod rate;
pub mod receiver;
pub mod retransmitter;
mod ring;
pub mod session;
pub mod time;
pub mod transmitter;
pub mod wire;

pub use machine::Machine;
pub use session::Session;
pub use time::{Duration, Instant};

/// The README's example is compiled as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
