//! A receiver in the simulated network, checked at every step: what it delivers, what it keeps, how
//! often it asks, and that it never spins.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;
use gapless_core::receiver::{
    Checkpoint, Command, Config, Datagram, Event, LineId, Receiver, Source,
};
use gapless_core::wire::mold::Packet;
use gapless_core::{Instant, Machine, Session};

use super::ledger::Ledger;
use super::setup::memory_bound;
use super::world::{Node, Outbox};

/// How datagrams are handed to the receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Owned, as events.
    Owned,
    /// Owned, as slices of a buffer that is four times as large.
    Pinning,
    /// Borrowed, by direct calls.
    Borrowed,
}

/// A node that receives a feed.
#[derive(Debug)]
pub struct Listener {
    /// The machine.
    pub receiver: Receiver,
    /// What it said.
    pub ledger: Ledger,
    config: Config,
    way: Way,
    address: SocketAddr,
    lines: Vec<(SocketAddr, LineId)>,
    born: Instant,
    /// The numbers of each session that arrived, by whatever way.
    heard: BTreeMap<Session, BTreeSet<u64>>,
}

impl Listener {
    /// A receiver with a socket for its requests and with lines that arrive at these addresses.
    ///
    /// # Panics
    /// When the configuration is refused.
    #[must_use]
    pub fn new(
        now: Instant,
        config: Config,
        way: Way,
        address: SocketAddr,
        lines: Vec<(SocketAddr, LineId)>,
    ) -> Self {
        let receiver = Receiver::new(config.clone()).expect("a plan's configuration is valid");
        let ledger = Ledger::new(config.delivery);
        Self { receiver, ledger, config, way, address, lines, born: now, heard: BTreeMap::new() }
    }

    /// Stops the receiver and goes on with a new one from its checkpoint.
    ///
    /// # Panics
    /// When the configuration with the checkpoint is refused.
    pub fn restart(&mut self) {
        let Some(checkpoint) = self.receiver.checkpoint() else { return };
        let Checkpoint { session, next } = checkpoint;
        assert_eq!(next, self.ledger.next(session), "the checkpoint is where delivery stands");
        self.ledger.resumes(session);
        self.config = self.config.clone().resume(checkpoint);
        self.receiver = Receiver::new(self.config.clone()).expect("a checkpoint is valid");
    }

    /// Gives the receiver an event of the embedding program's own.
    ///
    /// # Panics
    /// When it is refused.
    pub fn event(&mut self, now: Instant, event: Event, out: &mut Outbox) {
        self.receiver.handle(now, event).expect("it was drained");
        self.drain(now, out);
    }

    /// Takes all commands and checks where that leaves the receiver.
    fn drain(&mut self, now: Instant, out: &mut Outbox) {
        let promised = self.receiver.has_commands();
        let mut taken = 0_u32;
        while let Some(command) = self.receiver.poll_command() {
            taken += 1;
            assert!(taken < 1_000_000, "the commands do not end");
            if let Command::Request { to, request, .. } = &command {
                out.send(self.address, *to, Bytes::copy_from_slice(&request.to_bytes()));
            }
            self.ledger.command(now, &command);
        }
        assert!(promised || taken == 0, "commands where has_commands said there are none");
        let (used, bound) = (self.receiver.memory_used(), memory_bound(&self.config));
        assert!(used <= bound, "{used} bytes used where {bound} are the limit");
    }

    /// Whether a message arrived, by whatever way.
    #[must_use]
    pub fn heard(&self, session: Session, number: u64) -> bool {
        self.heard.get(&session).is_some_and(|numbers| numbers.contains(&number))
    }

    /// The highest number of a session that arrived; zero when none did.
    #[must_use]
    pub fn highest_heard(&self, session: Session) -> u64 {
        self.heard.get(&session).and_then(BTreeSet::last).copied().unwrap_or(0)
    }

    /// Checks that requests were as few as the windows and timeouts allow.
    ///
    /// # Panics
    /// When there were more.
    pub fn assert_quiet(&self, now: Instant) {
        let stats = self.receiver.stats();
        let elapsed = now.since(self.born).as_nanos();
        let timeouts = elapsed / self.config.min_request_timeout.as_nanos() + 1;
        let window = u128::from(self.config.max_in_flight) * self.config.servers.len() as u128;
        let most = u128::from(stats.useful_answers) + timeouts * window;
        assert!(u128::from(stats.requests) <= most, "{} requests, at most {most}", stats.requests);
    }
}

impl Node for Listener {
    fn arrive(
        &mut self,
        now: Instant,
        at: SocketAddr,
        from: SocketAddr,
        bytes: &Bytes,
        out: &mut Outbox,
    ) {
        if let Ok(packet) = Packet::new_checked(bytes) {
            let heard = self.heard.entry(packet.header().session).or_default();
            heard.extend(packet.messages().map(|(number, _)| number));
        }
        let line = self.lines.iter().find(|(address, _)| *address == at);
        let source = line.map_or(Source::Peer(from), |&(_, line)| Source::Line(line));
        match self.way {
            Way::Borrowed => {
                if let Some(batch) = self.receiver.receive(now, source, bytes) {
                    self.ledger.batch(now, &batch);
                }
            }
            Way::Owned | Way::Pinning => {
                let (bytes, pinned) = match self.way {
                    Way::Pinning => in_a_larger_buffer(bytes),
                    _ => (bytes.clone(), bytes.len()),
                };
                let datagram = Datagram { source, bytes, pinned, arrival: now };
                self.receiver.handle(now, Event::Datagram(datagram)).expect("it was drained");
            }
        }
        self.drain(now, out);
    }

    fn wake(&mut self, now: Instant, out: &mut Outbox) {
        self.receiver.handle_timeout(now).expect("it was drained");
        self.drain(now, out);
        let next = self.receiver.poll_timeout();
        assert!(next.is_none_or(|next| next > now), "it wants to be woken at {next:?} again");
    }

    fn next_wake(&self) -> Option<Instant> {
        self.receiver.poll_timeout()
    }
}

fn in_a_larger_buffer(datagram: &Bytes) -> (Bytes, usize) {
    let mut buffer = vec![0; datagram.len() * 4];
    buffer[..datagram.len()].copy_from_slice(datagram);
    let pinned = buffer.len();
    (Bytes::from(buffer).slice(..datagram.len()), pinned)
}
