//! The sending side of a MoldUDP64 feed.
//!
//! A [`Transmitter`] takes messages and gives packets, heartbeats in their absence, and at the end
//! the word that it is the end. Packets are built in place in a ring of recycled blocks.

mod config;
mod event;
mod stats;

pub use config::{Config, Error};
pub use event::{Command, Event};
pub use stats::Stats;

use crate::{Instant, Machine};

/// Numbers messages and packs them into packets, the same for every line.
#[derive(Debug)]
pub struct Transmitter {
    config: Config,
    stats: Stats,
}

impl Transmitter {
    /// The number that the next message will have; `None` when numbers are used up.
    #[must_use]
    pub fn next_sequence(&self) -> Option<u64> {
        Some(self.config.first_sequence)
    }

    /// Whether the session has ended and its last end-of-session packet was given.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        false
    }
}

impl Machine for Transmitter {
    type Config = Config;
    type Event<'a> = Event<'a>;
    type Command = Command;
    type Stats = Stats;
    type Error = Error;

    fn new(config: Config) -> Result<Self, Error> {
        config.check()?;
        Ok(Self { config, stats: Stats::default() })
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
