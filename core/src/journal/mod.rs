//! Journals: everything that a machine took, and digests of everything that it gave, so that any run
//! can be played again, to the byte, by the same code or by changed code.
//!
//! * [`Recorder`] wraps any machine and is a machine itself.
//! * [`Replayer`] reads a journal, makes the machines anew, gives them what was recorded, and names
//!   the first event after which they do something else.
//! * [`Journaled`] is what a machine implements to take part.
//!
//! ```
//! use gapless_core::journal::{Recorder, Replayer, recorder};
//! use gapless_core::publisher::{Config, Publisher};
//! use gapless_core::transmitter::Event;
//! use gapless_core::{Instant, Machine, Session};
//!
//! let mut journal = Vec::new();
//! let machine = Config::new(Session::from_name(b"FEED").unwrap());
//! let config = recorder::Config { machine, id: 0, sink: Some(&mut journal), commands: false };
//! let mut publisher = Recorder::<Publisher, _>::new(config)?;
//! for message in [b"first", b"other"] {
//!     publisher.handle(Instant::from_millis(1), Event::Message(message).into())?;
//!     while let Some(command) = publisher.poll_command() {
//!         println!("{command:?}");
//!     }
//! }
//! drop(publisher);
//!
//! let mut replayer = Replayer::verifying().knowing::<Publisher>();
//! replayer.replay(&journal[..], &mut ()).expect("it does the same again");
//! assert_eq!(replayer.machines().next().unwrap().events, 2);
//! # Ok::<(), gapless_core::publisher::Error>(())
//! ```
//!
//! # What is in a journal
//!
//! The machine's configuration, its events with their times, timeouts, and direct calls. Not what its
//! commands were, unless that is wished: a running digest over them stands for them. Wall-clock times
//! and packets of transports are not the core's and not in it. Secrets are not either: a [`Secret`] is
//! written as its hash.
//!
//! # The format, byte by byte (version 2)
//!
//! All integers are little-endian. A journal is a row of blocks without anything between them, so
//! journals can be concatenated when their machines' ids differ, and several machines share a file.
//!
//! | block, offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `GPLJ` |
//! | 4 | 2 | version of the format: 2 |
//! | 6 | 2 | id of the machine whose records these are |
//! | 8 | 4 | number of the block among its machine's, from 0 |
//! | 12 | 4 | bytes of records: 1 to 1,048,576 |
//! | 16 | 4 | checksum: the [`Digest`] of two pieces, bytes 0 to 16 and the records |
//! | 20 | … | records, whole ones |
//!
//! A record is its kind in one byte, the length of its body in four, and the body:
//!
//! | kind | what | body |
//! |---|---|---|
//! | 0 | machine: the first record of its first block, and only that | name (a byte string), version of its encoding (2), how many machines are nested (1), of each name and version; configuration |
//! | 1 | event | time (8), event |
//! | 2 | timeout | time (8) |
//! | 3 | direct call | time (8), what it was given |
//! | 4 | what the call returned, where commands are recorded | the answer |
//! | 5 | command, where commands are recorded | the command |
//! | 6 | what followed from the making, event, timeout or call before: digest | commands taken (8), whether until there were no more (1), digest (4) |
//!
//! Times are nanoseconds since the driver's origin. A record of kind 6 follows each of kind 0 to 3, unless the
//! journal ends before. Its digest is the value of one [`Digest`] that is kept over the machine's whole
//! life: it takes what is digested of every answer and command, a piece each, then for the record of kind 6 a
//! piece of ten bytes: drained or not (1), whether there is a next timeout (1), when (8; 0 without).
//! Digested is the body as it would be recorded, but for payload that says where it lies:
//!
//! * Of a cache's [`Run`](crate::cache::Run) its group, first frame, offset in it, and head (8 each; all ones without
//!   a head), how many bytes (8), the value of one [`Digest`] of one piece (4), which are the bytes that were sealed
//!   together and the run is of, and how many frames (4). So payload is hashed once, however many it is given to.
//! * In a cache's [`Frame`](crate::cache::Frame) and [`Chunk`](crate::cache::Chunk), in place of the byte string, how
//!   many bytes (8), and the value of one [`Digest`] of them as one piece (4): a frame may be sealed or not when it is
//!   read, so its own bytes are hashed, where they lie.
//! * Of a receiver's [`Batch`](crate::receiver::Batch) only the value of one [`Digest`] of two pieces (4): its bytes,
//!   where they lie; and its session (10), how many messages (2), the number of its origin's variant (1), the line or
//!   server (1; 0 without), whether it is repaired (1), 0 (1), its first number, how many bytes, the offset in them,
//!   and its arrival (8 each).
//!
//! In version 1 of the format nothing is said of nested machines: their values are in the version of the
//! machine that they are within, counted as theirs.
//!
//! # Values
//!
//! The version of a machine's encoding says how its configuration, events, calls, answers and commands
//! are written, also where they are within those of another machine ([`Journaled::NESTED`]). In every version,
//! of every machine:
//!
//! | value | how it is written |
//! |---|---|
//! | integer | in its 1, 2, 4 or 8 bytes; `usize` in 8 |
//! | `bool` | 0 or 1 (1) |
//! | [`Duration`](crate::Duration), [`Instant`] | nanoseconds (8) |
//! | [`Session`](crate::Session) | its ten bytes |
//! | how many frames of a group a cache's call leaves out, or its run has | in 4 bytes |
//! | byte string | its length (4), the bytes |
//! | `Option` | whether there is one (1), and it |
//! | `Vec` | how many (8), and each |
//! | `SocketAddr` | 4 or 6 (1), the address (4 or 16), port (2); of IPv6 flow information (4) and scope (4) |
//! | [`Secret`] | its hash (4) |
//! | struct, tuple | its fields, in the order in which they are declared |
//! | enum | the number of its variant (1), which its declaration gives it where it is public, and its fields |
//! | misuse of a cache or a demultiplexer, in answers from before it left no trace | as a refusal: 8 or 1, and its number among the refusals |
//! | before version 2 | a receiver's `give_up` is no `Option`; its [`LossReason`](crate::receiver::LossReason) is left out, and so is a retransmitter's `remote`; a cache's runs are digested as they are recorded |
//! | before version 3 | a cache's frames and chunks and a receiver's batches are digested as they are recorded |
//! | before version 4 | a receiver's configuration has no `quotas` and no `used` |
//!
//! So a publisher's command `Answer { to, bytes }` is 1, the address, the length, and the bytes.
//!
//! # Reading
//!
//! A reader holds one block. A journal that ends within a block is torn, which is what a crash leaves:
//! what is whole is replayed. Anything else that is not as it should be is an error with its offset.
//! A version of this format, and of a machine's encoding, stays readable by later ones.

mod block;
mod digest;
mod field;
mod observer;
mod playback;
mod record;
pub mod recorder;
pub mod replayer;
mod secret;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use crate::{fields, newtypes, no_direct_calls, variants, vocabulary};
#[cfg(feature = "std")]
pub use block::Io;
pub use block::{Damage, HEADER_LEN, MAGIC, MAX_PAYLOAD, Sink, Source, VERSION};
pub use digest::Digest;
pub use field::{Decoder, Encoder, Field, Malformed};
pub use recorder::{Driven, Failure, Recorder};
pub use replayer::{Observer, Replayer};
pub use secret::Secret;
#[cfg(test)]
pub(crate) use tests::encoding;

use core::any::Any;
use core::fmt::Debug;

use crate::{Instant, Machine};

/// A machine that can be recorded and replayed.
///
/// Its configuration, events and commands are written by [`Field`]; so is what goes through direct
/// calls. Everything that its commands depend on must be among them, and nothing else: no address of
/// memory, no clock, and not whether somebody outside still holds a slice.
pub trait Journaled:
    Any + for<'a> Machine<Config: Field<'a>, Event<'a>: Field<'a> + Debug, Command: Field<'a> + Debug>
{
    /// Its name in journals. Never changes.
    const NAME: &'static str;
    /// The version of how its configuration, events, calls, answers and commands are written, from 1;
    /// one more with every change. Journals of earlier ones stay readable
    /// ([`Decoder::version_of`]).
    const VERSION: u16;
    /// The machines whose values are among its own, at any depth, and the versions of their encodings. Its
    /// own version does not change with these.
    const NESTED: &'static [(&'static str, u16)] = &[];

    /// The input of a direct call, but for the time; [`Infallible`](core::convert::Infallible) without
    /// direct calls.
    type Call<'a>: Field<'a> + Debug;
    /// The result of a direct call.
    type Answer<'a>: Field<'a> + Debug;

    /// Makes a direct call.
    fn call<'a>(&mut self, now: Instant, call: Self::Call<'a>) -> Self::Answer<'a>;

    /// Returns true if a direct call was misuse by the embedding program: it changed nothing, and leaves no trace in a
    /// journal.
    fn is_misuse(answer: &Self::Answer<'_>) -> bool;

    /// Called once, before anything else, when what it gives is digested: payload that it gives more than once
    /// can be digested by a checksum that is made once. A composite calls it of those within.
    fn keep_checksums(&mut self) {}
}

/// An entry of [`Journaled::NESTED`].
#[must_use]
pub const fn nested<M: Journaled>() -> (&'static str, u16) {
    (M::NAME, M::VERSION)
}
