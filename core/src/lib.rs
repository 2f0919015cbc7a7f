//! Sans-IO machines that turn a lossy, sequenced live feed into a stream that nobody misses a message
//! of: MoldUDP64 received from several lines, with gap detection, arbitration and repair; published too;
//! and kept in bounded memory for those who come late. They are state machines and nothing else: no
//! sockets, no clock, no threads, no randomness, no hash order. The same events give the same commands,
//! in any event loop, in a simulator, in a replay.
//!
//! Four types matter most: [`Receiver`](receiver::Receiver), which makes a feed whole,
//! [`Publisher`](publisher::Publisher), which sends one and answers requests,
//! [`Cache`](cache::Cache), which keeps frames for any number of readers, and
//! [`Demux`](demux::Demux), which finds the owner of a stream by its tag. All keep the contract of
//! [`Machine`]: give one event, then drain the commands. The input of the first two comes from a
//! driver, which turns sockets into events and commands into datagrams; `gapless-mio` is one, and the
//! rest of this page is about writing your own.
#![doc = include_str!("driver.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod cache;
pub mod demux;
mod display;
#[cfg(feature = "arbitrary")]
pub mod fuzz;
pub mod grouping;
pub mod journal;
pub mod limits;
pub mod machine;
pub mod publisher;
pub mod rate;
pub mod receiver;
pub mod retransmitter;
pub mod session;
mod storage;
pub mod time;
pub mod transmitter;
pub mod wire;

pub use machine::Machine;
pub use session::Session;
pub use time::{Duration, Instant};
