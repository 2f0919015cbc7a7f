//! The output of a receiver as facts, and the checkers of all that must hold of it in any network.

use gapless_core::Instant;
use gapless_core::receiver::{Batch, Command, Config};
use gapless_core::wire::mold::Request;

use super::check::{ExactlyOnce, GapsAddUp, MemoryBound, NothingSilent, Quiet, Rationed};
use super::trace::{Fact, Trace};

impl Trace {
    /// The trace of a receiver of this configuration, with every checker that needs no knowledge of
    /// the network.
    #[must_use]
    pub fn of_receiver(config: &Config) -> Self {
        let window = u64::from(config.max_in_flight) * config.servers.len() as u64;
        Self::new(vec![
            Box::new(ExactlyOnce(config.delivery)),
            Box::new(NothingSilent),
            Box::new(GapsAddUp),
            Box::new(MemoryBound),
            Box::new(Rationed::new(&config.quotas)),
            Box::new(Quiet::new(config.min_request_timeout, window)),
        ])
    }

    /// Takes a command of a receiver.
    ///
    /// # Panics
    /// As [`Trace::record`].
    pub fn command(&mut self, now: Instant, command: &Command) {
        let fact = match *command {
            Command::Batch(ref batch) => return self.batch(now, batch),
            Command::Request { server, request, .. } => {
                let Request { session, sequence: first, count } = request;
                Fact::Requested { server: server.0, session, first, count }
            }
            Command::SessionStarted { session, next } => Fact::Started { session, next },
            Command::SessionEnded { session, next, .. } => Fact::Ended { session, next },
            Command::GapOpened { session, first, last } => Fact::GapOpened { session, first, last },
            Command::GapFilled { session, first, last, by_lines, by_answers, .. } => {
                Fact::GapFilled { session, first, last, brought: by_lines + by_answers }
            }
            Command::Lost { session, first, last, .. } => Fact::Lost { session, first, last },
            Command::Halted { .. }
            | Command::LineUp(_)
            | Command::LineDown(_)
            | Command::SequenceRegressed { .. }
            | Command::Stalled { .. }
            | Command::Withdrawn { .. }
            | Command::Contradiction { .. } => return,
        };
        self.record(now, fact);
    }

    /// Takes messages that a receiver delivered.
    ///
    /// # Panics
    /// As [`Trace::record`], and when the batch holds another number of messages than it says.
    pub fn batch<B: AsRef<[u8]>>(&mut self, now: Instant, batch: &Batch<B>) {
        let count = batch.messages().count();
        assert_eq!(count, usize::from(batch.count), "{batch:?} holds another number");
        self.deliver(now, batch.session, batch.messages(), batch.arrival);
    }
}
