//! A receiver in the simulated network, checked at every step: what it delivers, what it keeps, how
//! often it asks, and that it never spins.

use std::net::SocketAddr;

use bytes::Bytes;
use gapless_core::journal::Driven;
use gapless_core::receiver::{
    Batch, Call, Checkpoint, Command, Config, Datagram, Event, LineId, Receiver, Source,
};
use gapless_core::wire::mold::{Header, Packet};
use gapless_core::{Instant, Machine, Session};

use super::journal::{Journal, Recorder, journal_of, recorder_of};
use super::ledger::Ledger;
use super::trace::{Fact, Trace};
use super::world::{Node, Outbox, State};
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

/// A consumer, in the same node, of a receiver's output.
pub trait Downstream: std::fmt::Debug {
    /// Takes a command. Where it gives a place, a receiver that begins there takes the place of this
    /// one, and says everything again.
    fn command(&mut self, now: Instant, command: &Command) -> Option<Checkpoint>;

    /// Takes messages that were delivered by a direct call.
    fn batch(&mut self, now: Instant, batch: &Batch<&[u8]>);

    /// Lets time pass.
    fn wake(&mut self, now: Instant);

    /// When it wants to be woken.
    fn next_wake(&self) -> Option<Instant>;

    /// As [`Node::restart`].
    fn restart(&mut self, now: Instant, state: State);
}

/// A node that receives a feed, and records every fact of it for the checkers.
#[derive(Debug)]
pub struct Listener {
    receiver: Recorder<Receiver>,
    /// Where it is recorded, and how many machines were before.
    journal: Option<(Journal, u16)>,
    /// The facts of its input and output.
    pub trace: Trace,
    /// The configuration of the node, and that of its machine.
    config: Config,
    made_from: Config,
    way: Way,
    address: SocketAddr,
    lines: Vec<(SocketAddr, LineId)>,
    /// Bytes that the receiver allocated or was given and did not free.
    allocated: isize,
    /// The consumer of the receiver's output.
    pub downstream: Option<Box<dyn Downstream>>,
    /// Where it wants another receiver to begin.
    begins: Option<Checkpoint>,
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
        let journal = journal_of("listener").map(|journal| (journal, 0));
        let (receiver, allocated) = made(&config, journal.as_ref());
        let mut trace = Trace::of_receiver(&config);
        trace.record(now, Fact::Born { resumes: None });
        let made_from = config.clone();
        let downstream = None;
        Self {
            receiver,
            journal,
            trace,
            config,
            made_from,
            way,
            address,
            lines,
            allocated,
            downstream,
            begins: None,
        }
    }

    /// The machine.
    #[must_use]
    pub fn receiver(&self) -> &Receiver {
        self.receiver.machine()
    }

    /// The ledger of its input and output.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.trace.ledger
    }

    /// Gives the receiver an event of the embedding program's own.
    ///
    /// # Panics
    /// When it is refused.
    pub fn event(&mut self, now: Instant, event: Event, out: &mut Outbox) {
        if let (Event::Advance { next }, Some(at)) = (&event, self.receiver().checkpoint()) {
            self.trace.record(now, Fact::Advanced { session: at.session, next: *next });
        }
        self.give(now, event, out);
    }

    fn give(&mut self, now: Instant, event: Event, out: &mut Outbox) {
        self.charged(|receiver| receiver.handle(now, event)).expect("it was drained");
        let halted = self.drain(now, out);
        self.resume_delivery(now, halted, out);
    }

    /// Does something with the receiver, and charges it with what that allocates.
    fn charged<T>(&mut self, call: impl FnOnce(&mut Recorder<Receiver>) -> T) -> T {
        let before = alloc::live();
        let result = call(&mut self.receiver);
        self.allocated += alloc::live() - before;
        result
    }

    /// Takes all commands; the session and the number behind a loss at which delivery stopped.
    fn drain(&mut self, now: Instant, out: &mut Outbox) -> Option<(Session, u64)> {
        let promised = self.receiver().has_commands();
        let mut halted = None;
        let mut taken = 0_u32;
        while let Some(command) = self.charged(Recorder::poll_command) {
            taken += 1;
            assert!(taken < 1_000_000, "the commands do not end");
            match &command {
                Command::Request { to, request, .. } => {
                    out.send(self.address, *to, Bytes::copy_from_slice(&request.to_bytes()));
                }
                Command::Halted { session, next } => halted = Some((*session, *next)),
                _ => {}
            }
            self.trace.command(now, &command);
            if let Some(downstream) = self.downstream.as_mut().filter(|_| self.begins.is_none()) {
                self.begins = downstream.command(now, &command);
            }
            self.charged(|_| drop(command));
        }
        assert!(promised || taken == 0, "commands where has_commands said there are none");
        self.record_memory(now);
        halted
    }

    /// Resumes delivery that was halted.
    fn resume_delivery(&mut self, now: Instant, halted: Option<(Session, u64)>, out: &mut Outbox) {
        if let Some((session, next)) = halted {
            self.trace.record(now, Fact::Advanced { session, next });
            self.give(now, Event::Advance { next }, out);
        }
    }

    /// Makes another receiver where what goes on with its word wants that.
    fn begin_again(&mut self, now: Instant) {
        if let Some(checkpoint) = self.begins.take() {
            self.begin(now, self.config.clone().resume(checkpoint), None);
        }
    }

    /// Makes another receiver.
    fn begin(&mut self, now: Instant, made_from: Config, resumes: Option<(Session, u64)>) {
        // What was used of quotas is kept whatever else is lost: venues do not forget it.
        self.made_from = Config { used: self.receiver().used(), ..made_from };
        if let Some((_, id)) = &mut self.journal {
            *id += 1;
        }
        (self.receiver, self.allocated) = made(&self.made_from, self.journal.as_ref());
        self.trace.record(now, Fact::Born { resumes });
    }

    /// Nobody holds a slice of the receiver now.
    fn record_memory(&mut self, now: Instant) {
        let (used, bound) =
            (self.receiver().memory_used(), Receiver::memory_limit(self.receiver().config()));
        // A journal grows, and is nothing of the machine's.
        let counted = alloc::counts() && self.journal.is_none();
        let allocated = counted
            .then(|| usize::try_from(self.allocated).expect("frees no more than it was given"));
        self.trace.record(now, Fact::Memory { used, bound, allocated });
    }

    fn record_arrival(&mut self, now: Instant, answer: bool, bytes: &[u8]) {
        let Ok(packet) = Packet::new_checked(bytes) else { return };
        let Header { session, sequence: first, .. } = *packet.header();
        let fact = match packet.messages().last() {
            Some((last, _)) => Fact::Heard { session, first, last, answer },
            None => Fact::Revealed { session, last: first.saturating_sub(1) },
        };
        self.trace.record(now, fact);
    }

    fn take(&mut self, now: Instant, source: Source, bytes: &Bytes) {
        if self.way == Way::Borrowed {
            let before = alloc::live();
            let batch = self.receiver.call(now, Call { arrival: now, source, datagram: bytes });
            self.allocated += alloc::live() - before;
            if let Some(batch) = batch {
                self.trace.batch(now, &batch);
                if let Some(downstream) = &mut self.downstream {
                    downstream.batch(now, &batch);
                }
            }
            return;
        }
        let way = self.way;
        let given = self.charged(|receiver| {
            let (bytes, pinned) = owned(bytes, way);
            let datagram = Datagram { source, bytes, pinned, arrival: now };
            receiver.handle(now, Event::Datagram(datagram))
        });
        given.expect("it was drained");
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
        let line = self.lines.iter().find(|(address, _)| *address == at);
        let source = line.map_or(Source::Peer(from), |&(_, line)| Source::Line(line));
        self.record_arrival(now, matches!(source, Source::Peer(_)), bytes);
        let useful = self.receiver().stats().useful_answers;
        self.take(now, source, bytes);
        for _ in useful..self.receiver().stats().useful_answers {
            self.trace.record(now, Fact::Useful);
        }
        let halted = self.drain(now, out);
        self.resume_delivery(now, halted, out);
        self.begin_again(now);
    }

    fn wake(&mut self, now: Instant, out: &mut Outbox) {
        self.charged(|receiver| receiver.handle_timeout(now)).expect("it was drained");
        let halted = self.drain(now, out);
        let next = self.receiver().poll_timeout();
        assert!(next.is_none_or(|next| next > now), "it wants to be woken at {next:?} again");
        self.resume_delivery(now, halted, out);
        self.begin_again(now);
        if let Some(downstream) = &mut self.downstream {
            downstream.wake(now);
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let downstream = self.downstream.as_ref().and_then(|downstream| downstream.next_wake());
        self.receiver().poll_timeout().into_iter().chain(downstream).min()
    }

    /// Goes on with a new receiver from the checkpoint of the last one, or begins anew.
    fn restart(&mut self, now: Instant, state: State) {
        // A session that never started was never written down.
        let is_started = |at: &Checkpoint| self.ledger().accounts.contains_key(&at.session);
        let checkpoint = self.receiver().checkpoint().filter(is_started);
        let checkpoint = checkpoint.filter(|_| state == State::Kept);
        let resumes = checkpoint.as_ref().map(|at| (at.session, at.next));
        let made_from = match checkpoint {
            Some(checkpoint) => self.made_from.clone().resume(checkpoint),
            None => self.config.clone(),
        };
        self.begin(now, made_from, resumes);
        if let Some(downstream) = &mut self.downstream {
            downstream.restart(now, state);
        }
    }
}

/// A receiver, and what it allocated.
fn made(config: &Config, journal: Option<&(Journal, u16)>) -> (Recorder<Receiver>, isize) {
    let before = alloc::live();
    let receiver = recorder_of(config.clone(), journal);
    (receiver, alloc::live() - before)
}

/// The bytes that [`Bytes`] allocates to count who holds a buffer, once it is more than one.
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
