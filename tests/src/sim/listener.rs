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
use super::world::{Node, Outbox};
use crate::alloc;

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
    /// Bytes that the receiver allocated or was given and did not free.
    allocated: isize,
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
        let (receiver, allocated) = made(&config);
        let ledger = Ledger::new(config.delivery);
        Self {
            receiver,
            ledger,
            config,
            way,
            address,
            lines,
            born: now,
            allocated,
            heard: BTreeMap::new(),
        }
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
        (self.receiver, self.allocated) = made(&self.config);
    }

    /// Gives the receiver an event of the embedding program's own.
    ///
    /// # Panics
    /// When it is refused.
    pub fn event(&mut self, now: Instant, event: Event, out: &mut Outbox) {
        self.charged(|receiver| receiver.handle(now, event)).expect("it was drained");
        self.drain(now, out);
    }

    /// Does something with the receiver, and charges it with what that allocates.
    fn charged<T>(&mut self, call: impl FnOnce(&mut Receiver) -> T) -> T {
        let before = alloc::live();
        let result = call(&mut self.receiver);
        self.allocated += alloc::live() - before;
        result
    }

    /// Takes all commands and checks where that leaves the receiver.
    fn drain(&mut self, now: Instant, out: &mut Outbox) {
        let promised = self.receiver.has_commands();
        let mut taken = 0_u32;
        while let Some(command) = self.charged(Receiver::poll_command) {
            taken += 1;
            assert!(taken < 1_000_000, "the commands do not end");
            if let Command::Request { to, request, .. } = &command {
                out.send(self.address, *to, Bytes::copy_from_slice(&request.to_bytes()));
            }
            self.ledger.command(now, &command);
            self.charged(|_| drop(command));
        }
        assert!(promised || taken == 0, "commands where has_commands said there are none");
        self.assert_memory();
    }

    /// Checks that the receiver knows what it uses, and that this is within its bound. Nobody holds a
    /// slice of it.
    fn assert_memory(&self) {
        let (used, bound) = (self.receiver.memory_used(), self.receiver.memory_bound());
        assert!(used <= bound, "{used} bytes used where {bound} are the limit");
        if !alloc::counts() {
            return;
        }
        let allocated = usize::try_from(self.allocated).expect("frees no more than it was given");
        assert!(allocated <= used, "{allocated} bytes allocated, {used} told");
        let most = allocated + allocated / 20 + 16_384;
        assert!(used <= most, "{used} bytes told, {allocated} allocated");
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
                let batch = self.charged(|receiver| receiver.receive(now, source, bytes));
                if let Some(batch) = batch {
                    self.ledger.batch(now, &batch);
                }
            }
            Way::Owned | Way::Pinning => {
                let way = self.way;
                let given = self.charged(|receiver| {
                    let (bytes, pinned) = owned(bytes, way);
                    let datagram = Datagram { source, bytes, pinned, arrival: now };
                    receiver.handle(now, Event::Datagram(datagram))
                });
                given.expect("it was drained");
            }
        }
        self.drain(now, out);
    }

    fn wake(&mut self, now: Instant, out: &mut Outbox) {
        self.charged(|receiver| receiver.handle_timeout(now)).expect("it was drained");
        self.drain(now, out);
        let next = self.receiver.poll_timeout();
        assert!(next.is_none_or(|next| next > now), "it wants to be woken at {next:?} again");
    }

    fn next_wake(&self) -> Option<Instant> {
        self.receiver.poll_timeout()
    }
}

/// A receiver, and what it allocated.
fn made(config: &Config) -> (Receiver, isize) {
    let before = alloc::live();
    let receiver = Receiver::new(config.clone()).expect("a plan's configuration is valid");
    (receiver, alloc::live() - before)
}

/// What [`Bytes`] allocates to count who holds a buffer, once it is more than one.
const HOLDERS: usize = 24;

/// A datagram in a buffer of its own, or at the front of one that is four times as large; and the
/// bytes that it keeps alive.
fn owned(datagram: &[u8], way: Way) -> (Bytes, usize) {
    if way != Way::Pinning {
        return (Bytes::copy_from_slice(datagram), datagram.len());
    }
    let mut buffer = Vec::with_capacity(datagram.len() * 4);
    buffer.extend_from_slice(datagram);
    buffer.resize(datagram.len() * 4, 0);
    let pinned = buffer.len() + HOLDERS;
    (Bytes::from(buffer).slice(..datagram.len()), pinned)
}
