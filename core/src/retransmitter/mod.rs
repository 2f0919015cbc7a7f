//! The re-request server of a MoldUDP64 feed.
//!
//! A [`Retransmitter`] remembers what was sent, within limits, and answers requests for it, one packet
//! for each. What it does not remember it may have looked up in an archive.

mod config;
mod event;
mod history;
mod stats;

pub use config::{Config, Error};
pub use event::{Command, Event, LookUpId};
pub use stats::Stats;

use crate::{Instant, Machine, Session};

/// Answers requests out of a bounded history, and never faster than it may.
#[derive(Debug)]
pub struct Retransmitter {
    stats: Stats,
}

impl Retransmitter {
    /// The ranges `first..=last` of a session that the history holds, in ascending order.
    pub fn ranges(&self, _session: Session) -> impl Iterator<Item = (u64, u64)> + '_ {
        core::iter::empty()
    }
}

impl Machine for Retransmitter {
    type Config = Config;
    type Event<'a> = Event<'a>;
    type Command = Command;
    type Stats = Stats;
    type Error = Error;

    fn new(config: Config) -> Result<Self, Error> {
        config.check()?;
        Ok(Self { stats: Stats::default() })
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
