//! Gap detection, arbitration between lines, and repair of a MoldUDP64 feed.
//!
//! A [`Receiver`] takes datagrams and gives batches in order, requests for what is missing, and word
//! of what is lost. It holds what arrived ahead of a gap, within limits, and nothing else.

mod config;
mod event;
mod stats;

pub use config::{AcceptAnswers, Checkpoint, Config, Delivery, Error, OnLoss, Start};
pub use event::{Batch, Command, Datagram, Event, LineId, Origin, ServerId, SessionEnd, Source};
pub use stats::{LineStats, ServerStats, Stats};

use crate::{Instant, Machine};

/// Receives one feed from several lines, and repairs it.
#[derive(Debug)]
pub struct Receiver {
    stats: Stats,
}

impl Receiver {
    /// Takes a datagram that is only borrowed, and returns the messages at its front that are next in
    /// order, borrowed too. What must be held of it is copied. Then [`Machine::poll_command`] gives
    /// whatever else there is.
    ///
    /// Never refused: before a drain it holds all of the datagram and returns `None`.
    pub fn receive<'a>(
        &mut self,
        now: Instant,
        source: Source,
        datagram: &'a [u8],
    ) -> Option<Batch<&'a [u8]>> {
        self.receive_stamped(now, now, source, datagram)
    }

    /// [`Receiver::receive`] for a datagram that arrived (by the kernel's clock) at `arrival`.
    pub fn receive_stamped<'a>(
        &mut self,
        _now: Instant,
        _arrival: Instant,
        _source: Source,
        _datagram: &'a [u8],
    ) -> Option<Batch<&'a [u8]>> {
        None
    }

    /// Whether [`Machine::poll_command`] has something: for loops that take datagrams by
    /// [`Receiver::receive`] and want to skip an empty drain.
    #[must_use]
    pub fn has_commands(&self) -> bool {
        false
    }

    /// Where it stands; `None` before a session is believed.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        None
    }

    /// The counters of a line; `None` when it does not exist.
    #[must_use]
    pub fn line(&self, _line: LineId) -> Option<LineStats> {
        None
    }

    /// The counters of a server; `None` when it does not exist.
    #[must_use]
    pub fn server(&self, _server: ServerId) -> Option<ServerStats> {
        None
    }
}

impl Machine for Receiver {
    type Config = Config;
    type Event<'a> = Event;
    type Command = Command;
    type Stats = Stats;
    type Error = Error;

    fn new(_config: Config) -> Result<Self, Error> {
        Ok(Self { stats: Stats::default() })
    }

    fn handle(&mut self, _now: Instant, _event: Event) -> Result<(), Error> {
        Ok(())
    }

    fn poll_command(&mut self) -> Option<Command> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _now: Instant) -> Result<(), Error> {
        Ok(())
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn memory_used(&self) -> usize {
        0
    }

    fn lent(&self) -> usize {
        0
    }
}
