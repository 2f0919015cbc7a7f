//! The statistics of a demultiplexer.

use super::codes::{DEADLINE, FIN_IN_PREAMBLE, NO_ACCEPTOR, RESERVED, TOO_MANY, TOO_MANY_OF_PEER};

/// The counts of a [`Demux`](super::Demux) since it was made.
///
/// A stream that was parked or held ends in exactly one of three ways: dispatched, refused, or forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Streams given to an acceptor, of whatever became of the hand-off.
    pub dispatched: u64,
    /// Streams refused, by cause. Those of failed hand-offs are not among them.
    pub refused: Refused,
    /// Parked and held streams that went before they were dispatched or refused.
    pub forgotten: Forgotten,
    /// Streams that were parked: their preamble was not whole in their first event.
    pub parked: u64,
    /// Streams that were held: whole preamble, and an acceptor that pauses or is not there yet.
    pub held: u64,
    /// Held streams whose payload was copied, because it was small or kept too large a buffer alive.
    pub payloads_copied: u64,
    /// Events with data behind the head of a stream that was dispatched, refused or forgotten before:
    /// dropped.
    pub stray: u64,
    /// Streams that the driver could not hand over; they are among `dispatched` too.
    pub hand_off_failed: u64,
    /// Own streams opened.
    pub opened: u64,
    /// Registrations and openings that were refused: [`Refusal`](super::Refusal) says why. What a driver asks before
    /// ([`own_tag`](super::Demux::own_tag)) is none.
    pub refusals: u64,
}

/// Streams refused, by the code that their peer gets.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Refused {
    /// [`NO_ACCEPTOR`].
    pub no_acceptor: u64,
    /// [`DEADLINE`].
    pub deadline: u64,
    /// [`TOO_MANY`].
    pub too_many: u64,
    /// [`TOO_MANY_OF_PEER`].
    pub too_many_of_peer: u64,
    /// [`RESERVED`].
    pub reserved: u64,
    /// [`FIN_IN_PREAMBLE`].
    pub fin_in_preamble: u64,
}

impl Refused {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.no_acceptor
            + self.deadline
            + self.too_many
            + self.too_many_of_peer
            + self.reserved
            + self.fin_in_preamble
    }

    pub(super) const fn count(&mut self, code: u64) {
        match code {
            NO_ACCEPTOR => self.no_acceptor += 1,
            DEADLINE => self.deadline += 1,
            TOO_MANY => self.too_many += 1,
            TOO_MANY_OF_PEER => self.too_many_of_peer += 1,
            RESERVED => self.reserved += 1,
            FIN_IN_PREAMBLE => self.fin_in_preamble += 1,
            _ => {}
        }
    }
}

/// Parked and held streams that went by themselves, by cause.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Forgotten {
    /// Their peer reset them.
    pub reset: u64,
    /// They were closed.
    pub closed: u64,
    /// Their peer went.
    pub peer_gone: u64,
}

impl Forgotten {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.reset + self.closed + self.peer_gone
    }
}

/// The counts of one registration since it was made; they go with it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct TagStats {
    /// Streams dispatched by it.
    pub dispatched: u64,
    /// Streams that found its acceptor paused, and were held.
    pub held: u64,
    /// Streams that found its acceptor paused, and were refused because too many were held.
    pub refused: u64,
    /// Hand-offs that failed, of streams with a tag that is its own now.
    pub failed: u64,
}
