//! The configuration of a demultiplexer, and how it can be misused.

use crate::Duration;
use crate::limits::{OutOfRange, positive, within};
use crate::machine::Undrained;
use crate::time::nanos;

/// The most streams, of either kind, and registrations that any configuration allows.
const MOST: u64 = 1 << 20;

/// The configuration of a [`Demux`](super::Demux).
///
/// # What is charged
///
/// The same on every target ([`Machine::charged`](crate::Machine::charged)); what was charged once stays:
///
/// | what | bytes |
/// |---|---|
/// | a stream that is parked or held | 392, and 40 for its peer, for what it waits for, and for an acceptor that was resumed, where no other has the same |
/// | a registration | 336, and 40 for an acceptor that pauses |
/// | each 64 of the same of these, which are charged together | 84; of these, as many as a power of two, from 4 |
/// | payload that is held | its length where it is copied, or 40 more than it pins |
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Streams that are parked, in all: their preamble was not whole in their first event. 1 to 2^20; 1024 by
    /// default. One more is refused with [`TOO_MANY`](super::TOO_MANY).
    pub max_pending: usize,
    /// Streams of one peer that are parked or held. 1 to 2^20; 64 by default. One more is refused with
    /// [`TOO_MANY_OF_PEER`](super::TOO_MANY_OF_PEER).
    pub max_pending_per_peer: usize,
    /// The time that a preamble may take, from its first byte on. Positive; 5 seconds by default. Then the
    /// stream is refused with [`DEADLINE`](super::DEADLINE).
    pub preamble_timeout: Duration,
    /// The time that a stream may wait for somebody who registers its tag, from the last byte of its
    /// preamble on. Zero, the default: not at all. Then it is refused with [`NO_ACCEPTOR`](super::NO_ACCEPTOR).
    pub hold: Duration,
    /// Streams that are held, in all: their preamble is whole, and their acceptor pauses or is not there
    /// yet. 0 to 2^20; 1024 by default. One more is refused with [`TOO_MANY`](super::TOO_MANY). Zero: a paused
    /// acceptor refuses.
    pub max_held: usize,
    /// As `max_held`, of one acceptor; and of all streams together whose tag nobody registered. 0 to 2^20;
    /// 256 by default.
    pub max_held_per_acceptor: usize,
    /// Bytes that the payload of held streams keeps allocated: what of it came with the last byte of their
    /// preamble. Up to 2^40; 4 MiB by default. More is refused with [`TOO_MANY`](super::TOO_MANY).
    pub max_held_bytes: usize,
    /// Registrations. 1 to 2^20; 1024 by default.
    pub max_registrations: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_pending: 1024,
            max_pending_per_peer: 64,
            preamble_timeout: Duration::from_secs(5),
            hold: Duration::ZERO,
            max_held: 1024,
            max_held_per_acceptor: 256,
            max_held_bytes: 4 << 20,
            max_registrations: 1024,
        }
    }
}

impl Config {
    /// The default with small limits, for tests and fuzzers: eight streams parked and eight held, four of them of one
    /// peer or acceptor, 64 KiB of payload held, and eight registrations.
    #[must_use]
    pub fn small() -> Self {
        Self {
            max_pending: 8,
            max_pending_per_peer: 4,
            max_held: 8,
            max_held_per_acceptor: 4,
            max_held_bytes: 64 << 10,
            max_registrations: 8,
            ..Self::default()
        }
    }

    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        let (some, any) = ("1 to 2^20", "0 to 2^20");
        within("max_pending", self.max_pending as u64, 1..=MOST, some)?;
        within("max_pending_per_peer", self.max_pending_per_peer as u64, 1..=MOST, some)?;
        positive("preamble_timeout", nanos(self.preamble_timeout))?;
        within("max_held", self.max_held as u64, 0..=MOST, any)?;
        within("max_held_per_acceptor", self.max_held_per_acceptor as u64, 0..=MOST, any)?;
        within("max_held_bytes", self.max_held_bytes as u64, 0..=1 << 40, "0 to 2^40")?;
        within("max_registrations", self.max_registrations as u64, 1..=MOST, some)
    }
}

/// Misuse of a demultiplexer by the program that embeds it. Nothing has changed then, and no journal holds it.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Misuse {
    /// A configured value leaves its range.
    #[error(transparent)]
    Config(#[from] OutOfRange),
    /// An event before the commands of the last one were drained.
    #[error(transparent)]
    Undrained(#[from] Undrained),
    /// Data of a parked stream that does not go on where the last ended.
    #[error("data from byte {offset} of a stream where {expected} is the next")]
    OutOfOrder {
        /// Bytes of the stream given before, so the event says.
        offset: u64,
        /// Bytes of the stream given before.
        expected: u64,
    },
    /// Data of a stream that is held: it is not to be read.
    #[error("data of a stream that is held")]
    Held,
    /// A hand-off that is reported to have failed, of a stream that was not dispatched.
    #[error("the stream was not dispatched")]
    NotDispatched,
}
