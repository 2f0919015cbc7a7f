//! All that a feed's source does: a [`Transmitter`] for the lines and a [`Retransmitter`] for whoever
//! missed something, joined.
//!
//! A [`Publisher`] remembers every data packet that it sends, and sends nothing that it did not
//! remember first. It can also republish captured packets as they are.

mod event;

pub use event::{Command, Config, Error, Event, Stats};

use crate::retransmitter::Retransmitter;
use crate::transmitter::Transmitter;
use crate::{Instant, Machine};

/// A feed's source: lines and re-request server in one.
#[derive(Debug)]
pub struct Publisher {
    transmitter: Option<Transmitter>,
    retransmitter: Retransmitter,
    stats: Stats,
}

impl Publisher {
    /// The sending side; `None` without a session of its own.
    #[must_use]
    pub fn transmitter(&self) -> Option<&Transmitter> {
        self.transmitter.as_ref()
    }

    /// The answering side.
    #[must_use]
    pub fn retransmitter(&self) -> &Retransmitter {
        &self.retransmitter
    }

    /// Whether the session has ended and its last end-of-session packet was given. Requests are
    /// answered all the same.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        false
    }
}

impl Machine for Publisher {
    type Config = Config;
    type Event<'a> = Event<'a>;
    type Command = Command;
    type Stats = Stats;
    type Error = Error;

    fn new(config: Config) -> Result<Self, Error> {
        Ok(Self {
            transmitter: config.transmitter.map(Transmitter::new).transpose()?,
            retransmitter: Retransmitter::new(config.retransmitter)?,
            stats: Stats::default(),
        })
    }

    fn handle(&mut self, _now: Instant, _event: Event<'_>) -> Result<(), Error> {
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
