//! Properties of a `Demux`, on random cases.
//!
//! A [`Case`] is a small configuration and what happens: registrations, streams of several peers cut in
//! any way, time, failures. [`check`] plays it on a demultiplexer, on a twin that takes the same the other
//! way, and on a naive model, which foretells every answer, every refusal and every command. Beside them
//! a driver does what the commands say, and judges by the streams alone what the acceptors were given.

mod case;
mod oracle;
mod play;
mod streams;
mod wire;

pub use case::Case;
pub(crate) use oracle::{is_reserved, look_up};
pub use streams::{End, Fate, Streams, Written};
pub use wire::check as check_wire;

/// Plays a case. The memory of the demultiplexer is watched where `alloc::Counting` is installed.
///
/// # Panics
/// The demultiplexer said what it must not.
pub fn check(case: &Case) {
    play::play(case);
}
