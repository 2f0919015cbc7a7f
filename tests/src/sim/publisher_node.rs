//! A publisher in the simulated network: it is given a message at a time, sends on every line, and
//! answers at its server's address.

use std::net::SocketAddr;

use bytes::Bytes;
use gapless_core::publisher::{Command, Config, Event, Publisher};
use gapless_core::retransmitter;
use gapless_core::transmitter;
use gapless_core::{Duration, Instant, Machine, Session};

use super::check::MemoryBound;
use super::journal::{Journal, Recorder, journal_of, recorder_of};
use super::program::message;
use super::random::Random;
use super::trace::{Fact, Trace};
use super::world::{Node, Outbox, State};

/// The messages and times of a publisher.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// The session that the publisher is configured for.
    pub session: Session,
    /// How many messages; then the session ends.
    pub messages: u64,
    /// The longest time between two.
    pub interval: Duration,
}

/// A node that publishes a feed.
#[derive(Debug)]
pub struct PublisherNode {
    publisher: Recorder<Publisher>,
    /// Where it is recorded, and how many machines were before.
    journal: Option<(Journal, u16)>,
    /// Records its use of memory.
    pub trace: Trace,
    config: Config,
    schedule: Schedule,
    random: Random,
    address: SocketAddr,
    lines: Vec<SocketAddr>,
    next: u64,
    next_at: Instant,
}

impl PublisherNode {
    /// A publisher that sends from, and is asked at, an address.
    ///
    /// # Panics
    /// When the configuration is refused.
    #[must_use]
    pub fn new(
        config: Config,
        schedule: Schedule,
        random: Random,
        address: SocketAddr,
        lines: Vec<SocketAddr>,
    ) -> Self {
        let journal = journal_of("publisher").map(|journal| (journal, 0));
        let publisher = recorder_of(config.clone(), journal.as_ref());
        let trace = Trace::new(vec![Box::new(MemoryBound)]);
        let next_at = Instant::from_millis(1);
        Self {
            publisher,
            journal,
            trace,
            config,
            schedule,
            random,
            address,
            lines,
            next: 1,
            next_at,
        }
    }

    /// The machine.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        self.publisher.machine()
    }

    /// Gives the next message, or the end; what is refused for want of room is tried again.
    fn give(&mut self, now: Instant) {
        let Schedule { session, messages, interval } = self.schedule;
        let next = message(session, self.next);
        let ends = self.next > messages;
        let event = if ends {
            Event::Transmit(transmitter::Event::End)
        } else {
            Event::Transmit(transmitter::Event::Message(&next))
        };
        let taken = self.publisher.handle(now, event).is_ok();
        self.next += u64::from(taken);
        let pause = self.random.span(Duration::ZERO..=interval);
        self.next_at = if ends && taken { Instant::MAX } else { now + pause };
    }

    fn drain(&mut self, now: Instant, out: &mut Outbox) {
        while let Some(command) = self.publisher.poll_command() {
            match command {
                Command::Send { bytes } => {
                    self.lines.iter().for_each(|&to| out.send(self.address, to, bytes.clone()));
                }
                Command::Retransmit(retransmitter::Command::Answer { to, bytes }) => {
                    out.send(self.address, to, bytes)
                }
                Command::Retransmit(retransmitter::Command::LookUp { .. }) => {
                    panic!("a look-up, and there is no archive")
                }
            }
        }
        let (used, bound) = (self.publisher().memory_used(), Publisher::memory_limit(&self.config));
        self.trace.record(now, Fact::Memory { used, bound, allocated: None });
    }
}

impl Node for PublisherNode {
    fn arrive(
        &mut self,
        now: Instant,
        _at: SocketAddr,
        from: SocketAddr,
        bytes: &Bytes,
        out: &mut Outbox,
    ) {
        let request = Event::Retransmit(retransmitter::Event::Request { from, datagram: bytes });
        self.publisher.handle(now, request).expect("it was drained");
        self.drain(now, out);
    }

    fn wake(&mut self, now: Instant, out: &mut Outbox) {
        if self.next_at <= now {
            self.give(now);
        } else {
            self.publisher.handle_timeout(now).expect("it was drained");
        }
        self.drain(now, out);
    }

    fn next_wake(&self) -> Option<Instant> {
        let timeout = self.publisher().poll_timeout().unwrap_or(Instant::MAX);
        Some(timeout.min(self.next_at)).filter(|&at| at < Instant::MAX)
    }

    /// Goes on with the next number, and with the history or without it. What was given and not sent
    /// yet is gone where the state is.
    fn restart(&mut self, now: Instant, state: State) {
        if state == State::Lost {
            if let Some((_, id)) = &mut self.journal {
                *id += 1;
            }
            let mut config = self.config.clone();
            let transmitter = config.transmitter.as_mut().expect("a session of its own");
            self.next = self.next.min(self.schedule.messages + 1);
            transmitter.first_sequence = self.next;
            self.publisher = recorder_of(config, self.journal.as_ref());
            self.next_at = now;
        }
    }
}
