//! The sending side of a MoldUDP64 feed.
//!
//! A [`Transmitter`] takes messages and gives packets, heartbeats in their absence, and at the end
//! the word that it is the end. Packets are built in place in a ring of recycled blocks; what is due
//! is read off the state in each drain, and nothing is queued but those blocks.

mod config;
mod event;
mod journal;
mod stats;
#[cfg(test)]
pub(crate) mod tests;

pub use config::{Config, Error};
pub use event::{Command, Event};
pub use stats::Stats;

use bytes::Bytes;

use crate::machine::Context;
use crate::rate::Bucket;
use crate::stats_and_context;
use crate::storage::charge::Measure;
use crate::storage::ring::Ring;
use crate::wire::mold::{
    END_OF_SESSION, HEADER_LEN, HEARTBEAT, Header, Kind, LENGTH_LEN, MAX_COUNT,
};
use crate::{Duration, Instant, Machine, Session};

/// Blocks for heartbeats and ends.
const CONTROL_RING: usize = 4;

/// How far the session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Messages are taken.
    Running,
    /// No more messages are taken, some wait to be sent.
    Ending,
    /// Everything is sent, and that it was everything is being repeated.
    Repeating { next: Instant, pause: Duration, until: Instant },
    /// The last end-of-session packet was sent.
    Finished,
}

/// The packet that is being built in the ring's open block.
#[derive(Clone, Copy, Debug)]
struct Open {
    first: u64,
    count: u16,
    flush_at: Instant,
}

/// Numbers messages and packs them into packets, the same for every line.
#[derive(Debug)]
pub struct Transmitter {
    config: Config,
    context: Context,
    phase: Phase,
    /// The number of the next message.
    next: Option<u64>,
    /// The number behind the last message that was sent; 2^64-1 stands for 2^64 too.
    sent_to: u64,
    ring: Ring,
    open: Option<Open>,
    control: Ring,
    bucket: Bucket,
    /// When the last packet of any kind was sent; at first, when time began.
    last_packet: Option<Instant>,
    stats: Stats,
}

impl Transmitter {
    /// The session that messages are numbered in.
    #[must_use]
    pub const fn session(&self) -> Session {
        self.config.session
    }

    /// The number that the next message will have; `None` when numbers are used up.
    #[must_use]
    pub const fn next_sequence(&self) -> Option<u64> {
        self.next
    }

    /// Returns true if the session has ended and its last end-of-session packet was given.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// Checks that a message can be taken, and does nothing else.
    fn check_message(&mut self, len: usize) -> Result<(), Error> {
        let max = self.config.max_message();
        if self.phase != Phase::Running {
            return Err(Error::Ended { next: self.next.unwrap_or(u64::MAX) });
        }
        if self.next.is_none() {
            return Err(Error::UsedUp);
        }
        if len > max {
            return Err(Error::TooLarge { len, max });
        }
        if !self.fits(len) && !self.ring.has_room() {
            let waiting = self.ring.closed() + usize::from(self.open.is_some());
            return Err(Error::Full { ring: self.config.ring, waiting });
        }
        Ok(())
    }

    /// Puts a message that was checked into the packet that is being built, or into the next.
    fn put_message(&mut self, message: &[u8]) {
        let Some(sequence) = self.next else { return };
        if !self.fits(message.len()) {
            self.close();
            self.begin(sequence);
        }
        if let (Some(open), Some(block)) = (&mut self.open, self.ring.opened()) {
            let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
            block.extend_from_slice(&length.to_be_bytes());
            block.extend_from_slice(message);
            open.count += 1;
        }
        self.next = sequence.checked_add(1);
        self.stats.messages += 1;
        self.stats.message_bytes += message.len() as u64;
        if !self.fits(0) {
            self.close();
        }
    }

    /// Returns true if the packet that is being built has room for a message of `len` bytes.
    fn fits(&mut self, len: usize) -> bool {
        let Some(block) = self.ring.opened() else { return false };
        block.len() + LENGTH_LEN + len <= self.config.mtu
            && self.open.is_some_and(|open| open.count < MAX_COUNT)
    }

    fn begin(&mut self, first: u64) {
        let Some(block) = self.ring.open() else { return };
        block.extend_from_slice(&[0; HEADER_LEN]);
        let flush_at = self.context.now() + self.config.flush_delay;
        self.open = Some(Open { first, count: 0, flush_at });
    }

    /// Finishes the packet that is being built: nothing is added to it any more.
    fn close(&mut self) {
        let Some(Open { first, count, .. }) = self.open.take() else { return };
        let header = Header { session: self.config.session, sequence: first, count };
        if let Some(head) = self.ring.opened().and_then(|block| block.first_chunk_mut()) {
            *head = header.to_bytes();
        }
        self.ring.close();
    }

    /// The next closed packet, when the pace allows it.
    fn send_data(&mut self) -> Option<Command> {
        let now = self.context.now();
        if self.paced_until().is_some_and(|opens| opens > now) {
            return None;
        }
        let bytes = self.ring.send()?;
        if let Some(rate) = self.config.pace {
            self.bucket.take(now, rate, bytes.len());
        }
        let Header { sequence: first, count, .. } = Header::read(&bytes)?;
        self.sent_to = first.saturating_add(u64::from(count));
        self.last_packet = Some(now);
        self.stats.packets += 1;
        self.stats.packet_bytes += bytes.len() as u64;
        Some(Command::Packet { bytes, first, count, kind: Kind::Data })
    }

    /// When the pace lets the next closed packet go.
    fn paced_until(&self) -> Option<Instant> {
        self.config.pace.map(|rate| self.bucket.opens(rate))
    }

    /// When the next heartbeat is due, if no packet goes before.
    fn heartbeat_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running | Phase::Ending => {
                self.last_packet.map(|last| last + self.config.heartbeat_interval)
            }
            Phase::Repeating { .. } | Phase::Finished => None,
        }
    }

    fn heartbeat(&mut self) -> Option<Command> {
        self.heartbeat_at().filter(|&at| self.due(at))?;
        self.stats.heartbeats += 1;
        Some(self.control(Kind::Heartbeat))
    }

    /// The next end-of-session packet when it is due, and what follows it.
    fn repeat_end(&mut self) -> Option<Command> {
        let now = self.context.now();
        let (pause, until) = match self.phase {
            Phase::Ending if self.ring.closed() == 0 => {
                let first_pause = self.config.end_interval / 16;
                (first_pause.max(Duration::from_nanos(1)), now + self.config.end_linger)
            }
            Phase::Repeating { next, pause, until } if self.due(next) => {
                (pause.saturating_mul(2).min(self.config.end_interval), until)
            }
            _ => return None,
        };
        let next = now + pause;
        self.phase = match next > until || next == Instant::MAX {
            true => Phase::Finished,
            false => Phase::Repeating { next, pause, until },
        };
        self.stats.ends += 1;
        Some(self.control(Kind::EndOfSession))
    }

    /// A packet without messages: a heartbeat or an end of session.
    fn control(&mut self, kind: Kind) -> Command {
        let count = if kind == Kind::Heartbeat { HEARTBEAT } else { END_OF_SESSION };
        let header = Header { session: self.config.session, sequence: self.sent_to, count };
        let recycled = self.control.open().map(|block| block.extend_from_slice(&header.to_bytes()));
        self.control.close();
        let bytes = recycled.and_then(|()| self.control.send()).unwrap_or_else(|| {
            self.stats.packets_allocated += 1;
            Bytes::copy_from_slice(&header.to_bytes())
        });
        self.last_packet = Some(self.context.now());
        Command::Packet { bytes, first: self.sent_to, count: 0, kind }
    }

    const fn memory(&self, measure: Measure) -> usize {
        self.ring.memory(measure) + self.control.memory(measure)
    }

    /// Returns true if an instant has come; the last there is never comes.
    fn due(&self, at: Instant) -> bool {
        at <= self.context.now() && at != Instant::MAX
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
        Ok(Self {
            context: Context::default(),
            phase: Phase::Running,
            next: Some(config.first_sequence),
            sent_to: config.first_sequence,
            ring: Ring::new(config.ring, config.mtu),
            open: None,
            control: Ring::new(CONTROL_RING, HEADER_LEN),
            bucket: Bucket::default(),
            last_packet: None,
            stats: Stats::default(),
            config,
        })
    }

    /// Applies one event.
    ///
    /// # Errors
    /// [`Error`] says which; the message was not taken then, and nothing has changed.
    fn apply(&mut self, now: Instant, event: Event<'_>) -> Result<(), Error> {
        if let Event::Message(message) = event {
            self.check_message(message.len())?;
        }
        self.context.event(now);
        self.last_packet.get_or_insert(self.context.now());
        match event {
            Event::Message(message) => self.put_message(message),
            Event::Flush => self.close(),
            Event::End => {
                self.close();
                if self.phase == Phase::Running {
                    self.phase = Phase::Ending;
                }
            }
        }
        Ok(())
    }

    fn next_command(&mut self) -> Option<Command> {
        if self.open.is_some_and(|open| self.due(open.flush_at)) {
            self.close();
        }
        self.send_data().or_else(|| self.repeat_end()).or_else(|| self.heartbeat())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.last_packet.is_none() {
            // Time begins with the first call.
            return Some(Instant::ZERO);
        }
        let flush = self.open.map(|open| open.flush_at);
        let paced = if self.ring.closed() > 0 { self.paced_until() } else { None };
        let end = match self.phase {
            Phase::Repeating { next, .. } => Some(next),
            _ => None,
        };
        let timers = [flush, paced, end, self.heartbeat_at()];
        timers.into_iter().flatten().filter(|&at| at != Instant::MAX).min()
    }

    fn expire(&mut self, now: Instant) {
        self.context.timeout(now);
        self.last_packet.get_or_insert(self.context.now());
    }

    /// All of it is allocated by construction.
    fn memory_limit(config: &Config) -> usize {
        let ring = |blocks, len| Ring::bytes(blocks, len, Measure::Charged);
        ring(config.ring, config.mtu).saturating_add(ring(CONTROL_RING, HEADER_LEN))
    }

    stats_and_context!();

    fn charged(&self) -> usize {
        self.memory(Measure::Charged)
    }

    fn memory_used(&self) -> usize {
        self.memory(Measure::Taken)
    }

    fn lent(&self) -> usize {
        self.ring.lent() + self.control.lent()
    }
}
