//! What a demultiplexer is made from, and what it refuses.

use super::acceptors::{Acceptor, Registered};
use super::event::AcceptorId;
use super::waiting::{Peer, Stream};
use crate::Duration;
use crate::limits::{OutOfRange, positive, within};
use crate::storage::ring::SHARED;
use crate::storage::slab::Slab;
use crate::time::nanos;
use crate::wire::tag::{Length, MAX_PREAMBLE};

/// The most streams, of either kind, and registrations that any configuration allows.
const MOST: u64 = 1 << 20;

/// The configuration of a [`Demux`](super::Demux).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Streams that are parked, in all: their preamble was not whole in their first event. 1 to 2^20; 1024 by
    /// default. One more is refused with [`TOO_MANY`](super::TOO_MANY).
    pub max_pending: usize,
    /// Streams of one peer that are parked or held. 1 to 2^20; 64 by default. One more is refused with
    /// [`TOO_MANY_OF_PEER`](super::TOO_MANY_OF_PEER).
    pub max_pending_per_peer: usize,
    /// How long a preamble may take, from its first byte on. Positive; 5 seconds by default. Then the
    /// stream is refused with [`DEADLINE`](super::DEADLINE).
    pub preamble_timeout: Duration,
    /// How long, from the last byte of its preamble on, a stream may wait for somebody who registers its
    /// tag. Zero, the default: not at all. Then it is refused with [`NO_ACCEPTOR`](super::NO_ACCEPTOR).
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
    /// The most bytes that a machine of this configuration takes whenever it is drained; in between,
    /// what the last event brought comes on top.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        let streams = self.max_pending.saturating_add(self.max_held);
        [
            Slab::<Stream>::most(streams),
            Slab::<Peer>::most(streams),
            Slab::<Acceptor>::most(self.max_registrations),
            Slab::<Registered>::most(self.max_registrations),
            self.max_held_bytes,
            // The tag or the preamble of a command that is about to be taken, and sharing its payload.
            MAX_PREAMBLE + SHARED,
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
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

/// Why a call or an event was refused. Nothing was changed by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// A call before the commands of the last event or call were drained.
    #[error("commands of the last event are not drained yet")]
    Undrained,
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
    /// A hand-off that is told to have failed, of a stream that was not dispatched.
    #[error("the stream was not dispatched")]
    NotDispatched,
    /// Another acceptor has this pattern.
    #[error("the pattern is registered by acceptor {}", held_by.0)]
    Conflict {
        /// Who has it.
        held_by: AcceptorId,
    },
    /// An application asks for a tag, or for all tags, of the reserved prefix
    /// ([`RESERVED`](crate::wire::tag::RESERVED_PREFIX)).
    #[error("tags that begin with `gapless:` are reserved")]
    Reserved,
    /// A tag without a byte, or a tag or prefix of more than 255.
    #[error(transparent)]
    Length(#[from] Length),
    /// There are as many registrations as the configuration allows.
    #[error("there are {max} registrations already")]
    TooManyRegistrations {
        /// How many are allowed.
        max: usize,
    },
}

impl Refusal {
    /// Whether it is the answer to an application that registers or opens, so that
    /// [`handle`](crate::Machine::handle) tells it by a command; what is left is misuse by a driver.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        matches!(
            self,
            Self::Conflict { .. }
                | Self::Reserved
                | Self::Length(_)
                | Self::TooManyRegistrations { .. }
        )
    }
}

/// How an embedding program can misuse a demultiplexer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// A configured value leaves its range.
    #[error(transparent)]
    Config(#[from] OutOfRange),
    /// An event was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}
