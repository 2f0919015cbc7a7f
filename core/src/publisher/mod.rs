//! All that a feed's source does: a [`Transmitter`] for the lines and a [`Retransmitter`] for whoever
//! missed something, joined.
//!
//! A [`Publisher`] remembers every data packet before it gives it to be sent, so whatever a receiver
//! can know of can be asked for. It can also republish captured packets as they are.
//!
//! ```
//! use gapless_core::publisher::{Command, Config, Publisher};
//! use gapless_core::transmitter::Event;
//! use gapless_core::{Instant, Machine, Session, retransmitter};
//!
//! let session = Session::from_name(b"FEED").unwrap();
//! let mut publisher = Publisher::new(Config::new(session))?;
//! let now = Instant::from_millis(0); // nanoseconds of a clock of your own
//! for event in [Event::Message(b"first"), Event::Message(b"second"), Event::End] {
//!     publisher.handle(now, event.into())?;
//!     while let Some(command) = publisher.poll_command() {
//!         match command {
//!             Command::Send { bytes } => println!("{} bytes for every line", bytes.len()),
//!             Command::Retransmit(retransmitter::Command::Answer { to, bytes }) => {
//!                 println!("{} bytes for {to}", bytes.len());
//!             }
//!             Command::Retransmit(_) => unreachable!("there is no archive"),
//!         }
//!     }
//! }
//! assert!(publisher.poll_timeout().is_some(), "the end is repeated for a while");
//! # Ok::<(), gapless_core::publisher::Error>(())
//! ```

mod config;
mod event;
mod journal;
mod stats;
#[cfg(test)]
mod tests;

pub use config::{Config, Error};
pub use event::{Command, Event};
pub use stats::Stats;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::limits::within;
use crate::machine::Context;
use crate::retransmitter::{self, Retransmitter};
use crate::stats_and_context;
use crate::time::earliest;
use crate::transmitter::{self, Transmitter};
use crate::wire::mold::{Kind, MAX_DATAGRAM, Packet};
use crate::{Duration, Instant, Machine, Session};

/// The session that was republished last, and how far.
#[derive(Clone, Copy, Debug)]
struct Republished {
    session: Session,
    /// One past the highest number seen; 2^64-1 stands for 2^64 too.
    next: u64,
    /// A packet said that this is the end.
    ended: bool,
}

/// A feed's source: lines and re-request server in one.
#[derive(Debug)]
pub struct Publisher {
    context: Context,
    /// Sends a session of its own, or the end of the one that was republished.
    transmitter: Option<Transmitter>,
    own_session: bool,
    retransmitter: Retransmitter,
    /// Captured packets to be sent.
    to_republish: SmallVec<[Bytes; 1]>,
    republished: Option<Republished>,
    end_linger: Duration,
    stats: Stats,
}

impl Publisher {
    /// The sending side; `None` without a session of its own.
    #[must_use]
    pub fn transmitter(&self) -> Option<&Transmitter> {
        self.transmitter.as_ref().filter(|_| self.own_session)
    }

    /// The answering side.
    #[must_use]
    pub const fn retransmitter(&self) -> &Retransmitter {
        &self.retransmitter
    }

    /// Returns true if the session has ended and its last end-of-session packet was given; without one of its
    /// own, that which was republished last. Requests are answered all the same.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let ended = self.own_session || self.republished.is_some_and(|session| session.ended);
        ended && self.transmitter.as_ref().is_none_or(Transmitter::is_finished)
    }

    fn transmit(&mut self, now: Instant, event: transmitter::Event<'_>) -> Result<(), Error> {
        match &mut self.transmitter {
            Some(transmitter) if self.own_session => Ok(transmitter.apply(now, event)?),
            _ => Err(Error::NoSession),
        }
    }

    fn end(&mut self, now: Instant) -> Result<(), Error> {
        if self.own_session {
            return self.transmit(now, transmitter::Event::End);
        }
        let Some(Republished { session, next, ended: false }) = self.republished else {
            return Ok(());
        };
        let config = config::republished_end(session, next, self.end_linger);
        let mut transmitter = Transmitter::new(config)?;
        transmitter.apply(now, transmitter::Event::End)?;
        self.transmitter = Some(transmitter);
        self.republished = Some(Republished { session, next, ended: true });
        Ok(())
    }

    fn republish(&mut self, now: Instant, bytes: Bytes) -> Result<(), Error> {
        let fits = bytes.len() <= MAX_DATAGRAM;
        let Some(packet) = Packet::new_checked(&bytes).ok().filter(|_| fits) else {
            self.stats.republish_malformed += 1;
            return Ok(());
        };
        self.retransmitter.apply(now, retransmitter::Event::Sent { packet: &bytes })?;
        let header = packet.header();
        let same = self.republished.filter(|before| before.session == header.session);
        let next = header.next().unwrap_or(u64::MAX);
        self.republished = Some(Republished {
            session: header.session,
            next: same.map_or(next, |before| before.next.max(next)),
            ended: header.kind() == Kind::EndOfSession,
        });
        if !self.own_session && header.kind() != Kind::EndOfSession {
            // A session that goes on has not ended after all.
            self.transmitter.take_if(|ending| ending.session() == header.session);
        }
        self.stats.republished += 1;
        self.stats.republished_messages += u64::from(header.messages());
        self.to_republish.push(bytes);
        Ok(())
    }

    /// The next packet of the sending side; remembered first.
    fn sent(&mut self) -> Option<Bytes> {
        if !self.to_republish.is_empty() {
            return Some(self.to_republish.remove(0));
        }
        self.to_republish.shrink_to_fit();
        let transmitter::Command::Packet { bytes, kind, .. } =
            self.transmitter.as_mut()?.poll_command()?;
        if kind == Kind::Data {
            let sent = retransmitter::Event::Sent { packet: &bytes };
            let stored = self.retransmitter.apply(self.context.now(), sent);
            debug_assert_eq!(stored, Ok(()), "an event of the answering side is no misuse");
        }
        Some(bytes)
    }
}

impl Machine for Publisher {
    type Config = Config;
    type Event<'a> = Event<'a>;
    type Command = Command;
    type Stats = Stats;
    type Error = Error;

    fn new(config: Config) -> Result<Self, Error> {
        let Config { transmitter, mut retransmitter, end_linger } = config;
        match (&transmitter, retransmitter.session) {
            (Some(own), None) => {
                retransmitter.session = Some(own.session);
                retransmitter.sent_before = own.first_sequence.saturating_sub(1);
            }
            (Some(own), Some(other)) if other != own.session => {
                let sessions = retransmitter.max_sessions as u64;
                let range = "2 to 255 beside a session that is not sent";
                within("max_sessions", sessions, 2..=255, range)
                    .map_err(retransmitter::Error::from)?;
            }
            _ => {}
        }
        Ok(Self {
            context: Context::default(),
            own_session: transmitter.is_some(),
            transmitter: transmitter.map(Transmitter::new).transpose()?,
            retransmitter: Retransmitter::new(retransmitter)?,
            to_republish: SmallVec::new(),
            republished: None,
            end_linger,
            stats: Stats::default(),
        })
    }

    fn apply(&mut self, now: Instant, event: Event<'_>) -> Result<(), Error> {
        let now = now.max(self.context.now());
        match event {
            Event::Transmit(transmitter::Event::End) => self.end(now)?,
            Event::Transmit(event) => self.transmit(now, event)?,
            Event::Republish(bytes) => self.republish(now, bytes)?,
            Event::Retransmit(event) => self.retransmitter.apply(now, event)?,
        }
        self.context.event(now);
        Ok(())
    }

    /// Answers and look-ups first, then packets for the lines.
    fn next_command(&mut self) -> Option<Command> {
        match self.retransmitter.poll_command() {
            Some(command) => Some(Command::Retransmit(command)),
            None => self.sent().map(|bytes| {
                self.stats.sent += 1;
                Command::Send { bytes }
            }),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let sending = self.transmitter.as_ref().and_then(Machine::poll_timeout);
        earliest(sending, self.retransmitter.poll_timeout())
    }

    fn expire(&mut self, now: Instant) {
        self.context.timeout(now);
        let now = self.context.now();
        if let Some(transmitter) = &mut self.transmitter {
            transmitter.expire(now);
        }
        self.retransmitter.expire(now);
    }

    /// Beside a captured packet that is being republished.
    fn memory_limit(config: &Config) -> usize {
        let sending = match &config.transmitter {
            Some(transmitter) => Transmitter::memory_limit(transmitter),
            // The end of one session may still be repeated when that of the next begins to be.
            None => {
                let end = config::republished_end(Session::new([0; 10]), 1, config.end_linger);
                Transmitter::memory_limit(&end).saturating_mul(2)
            }
        };
        sending.saturating_add(Retransmitter::memory_limit(&config.retransmitter))
    }

    stats_and_context!();

    fn charged(&self) -> usize {
        self.transmitter.as_ref().map_or(0, Machine::charged) + self.retransmitter.charged()
    }

    fn memory_used(&self) -> usize {
        self.transmitter.as_ref().map_or(0, Machine::memory_used)
            + self.retransmitter.memory_used()
            + self.to_republish.iter().map(Bytes::len).sum::<usize>()
            + if self.to_republish.spilled() {
                self.to_republish.capacity() * size_of::<Bytes>()
            } else {
                0
            }
    }

    fn lent(&self) -> usize {
        self.transmitter.as_ref().map_or(0, Machine::lent) + self.retransmitter.lent()
    }
}
