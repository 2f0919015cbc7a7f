//! `gapless stream`: sends and takes streams over QUIC that find their owner by a tag.

mod codes;
mod disconnects;
mod event_loop;
mod listen;
mod send;
mod tags;
mod tls;

use crate::args::Stream;
use crate::failure::{Failure, Outcome};
use crate::stop::Stop;

/// Runs the command.
///
/// # Errors
/// Something that it cannot go on without.
pub(crate) fn run(args: &Stream, stop: &Stop) -> Result<Outcome, Failure> {
    match args {
        Stream::Listen(args) => listen::run(args, stop),
        Stream::Send(args) => send::run(args, stop),
    }
}
