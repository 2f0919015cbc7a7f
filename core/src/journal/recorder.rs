//! A machine that is recorded.

use core::fmt;

use super::Journaled;
use super::block::{Building, FULL, MAX_PAYLOAD, Sink};
use super::digest::Digest;
use super::field::{Encoder, Field};
use super::record::{self, Kind, Settled};
use crate::machine::Context;
use crate::{Instant, Machine};

/// What a [`Recorder`] is made from.
#[derive(Clone, Debug)]
pub struct Config<C, S> {
    /// The machine's configuration.
    pub machine: C,
    /// Tells the machines that share a journal apart. A machine that takes the place of another, after a
    /// restart, takes another number.
    pub id: u16,
    /// Where the journal goes.
    pub sink: S,
    /// Whether commands are recorded too, beside their digest: larger journals, from which one can see
    /// what was done without replaying them, and what was done instead when a replay differs.
    pub commands: bool,
}

/// Why a recorder stopped recording. The machine goes on.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure<E> {
    /// The sink did not take a block.
    #[error(transparent)]
    Sink(E),
    /// An event or a command was larger than a block.
    #[error("a record of {0} bytes; blocks hold up to {MAX_PAYLOAD}")]
    TooLarge(usize),
}

/// A machine that writes down everything that it takes, and a digest of everything that it gives.
///
/// It does what the machine inside does. Events that are refused are not recorded. A journal that
/// cannot be written is no reason for a feed to stop: recording ends, and [`Recorder::failure`] says
/// why.
///
/// # Memory
/// One block of some 200 KB, allocated at construction.
pub struct Recorder<M: Journaled, S: Sink> {
    machine: M,
    journal: Journal<S>,
    /// Commands taken since the last event.
    taken: u64,
    /// What followed from the last event is not written yet.
    unsettled: bool,
}

/// The journal of one machine.
struct Journal<S: Sink> {
    building: Building,
    /// Where the records end in it that are known to fit it.
    whole: usize,
    sink: S,
    digest: Digest,
    commands: bool,
    failure: Option<Failure<S::Error>>,
}

impl<S: Sink> Journal<S> {
    /// Hands the block over when it is full; records are whole and final here.
    fn commit(&mut self) {
        let len = self.building.payload_len();
        if len > MAX_PAYLOAD {
            // What came before is whole, and goes into a block without the last.
            let last = self.building.bytes.split_off(self.whole);
            self.close();
            if last.len() > MAX_PAYLOAD {
                self.fail(Failure::TooLarge(last.len()));
            } else {
                self.building.bytes.extend_from_slice(&last);
            }
        } else if len >= FULL {
            self.close();
        }
        self.whole = self.building.bytes.len();
    }

    fn close(&mut self) {
        if self.failure.is_some() {
            return;
        }
        if let Err(error) = self.building.close(&mut self.sink) {
            self.fail(Failure::Sink(error));
        }
        self.whole = self.building.bytes.len();
    }

    fn fail(&mut self, failure: Failure<S::Error>) {
        self.failure.get_or_insert(failure);
    }

    /// Takes what a machine gave into the digest, and into the journal where that is wanted.
    fn give<'a>(&mut self, kind: Kind, given: &impl Field<'a>) {
        if self.failure.is_some() {
            return;
        }
        let start = self.building.bytes.len();
        let body = record::append(&mut self.building.bytes, kind, |out| given.encode(out));
        self.digest.update(&self.building.bytes[body]);
        if !self.commands {
            self.building.bytes.truncate(start);
        }
        self.commit();
    }
}

impl<M: Journaled, S: Sink> Recorder<M, S> {
    /// The machine.
    #[must_use]
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// Where the journal goes.
    #[must_use]
    pub const fn sink(&self) -> &S {
        &self.journal.sink
    }

    /// Why recording stopped, if it did.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure<S::Error>> {
        self.journal.failure.as_ref()
    }

    /// Hands what is recorded to the sink, in a block that is full or not: for those who want no more
    /// than so much lost when the program dies. A recorder that is dropped does so too.
    ///
    /// # Errors
    /// Recording stopped.
    pub fn flush(&mut self) -> Result<(), &Failure<S::Error>> {
        self.journal.close();
        self.failure().map_or(Ok(()), Err)
    }

    /// Calls the machine directly, as [`Journaled::call`], and records it.
    #[inline]
    pub fn call<'a>(&mut self, now: Instant, call: M::Call<'a>) -> M::Answer<'a> {
        self.settle(false);
        self.record(Kind::Call, |out| {
            now.encode(out);
            call.encode(out);
        });
        self.unsettled = true;
        let answer = self.machine.call(now, call);
        self.journal.give(Kind::Answer, &answer);
        answer
    }

    fn record(&mut self, kind: Kind, body: impl FnOnce(&mut Encoder<'_>)) {
        if self.journal.failure.is_none() {
            record::append(&mut self.journal.building.bytes, kind, body);
        }
    }

    /// Writes what followed from the last event, as far as it was asked for.
    #[inline]
    fn settle(&mut self, drained: bool) {
        if !self.unsettled {
            return;
        }
        self.unsettled = false;
        let commands = core::mem::take(&mut self.taken);
        if self.journal.failure.is_none() {
            let timeout = self.machine.poll_timeout();
            let digest = record::settle(&mut self.journal.digest, drained, timeout);
            let settled = Settled { commands, drained, digest };
            self.record(Kind::Settled, |out| settled.encode(out));
        }
    }
}

impl<M: Journaled, S: Sink> Machine for Recorder<M, S> {
    type Config = Config<M::Config, S>;
    type Event<'a> = M::Event<'a>;
    type Command = M::Command;
    type Stats = M::Stats;
    type Error = M::Error;

    fn new(config: Self::Config) -> Result<Self, M::Error> {
        let Config { machine, id, sink, commands } = config;
        let mut building = Building::new(id);
        let whole = building.bytes.len();
        record::append(&mut building.bytes, Kind::Machine, |out| {
            M::NAME.as_bytes().encode(out);
            M::VERSION.encode(out);
            machine.encode(out);
        });
        let mut journal =
            Journal { building, whole, sink, digest: Digest::new(), commands, failure: None };
        let machine = M::new(machine)?;
        journal.commit();
        // What a new machine has to say follows from its making.
        Ok(Self { machine, journal, taken: 0, unsettled: true })
    }

    /// Beside the machine, one block.
    fn memory_limit(config: &Self::Config) -> usize {
        M::memory_limit(&config.machine).saturating_add(Building::CAPACITY)
    }

    /// A refused event leaves no trace.
    #[inline]
    fn apply(&mut self, now: Instant, event: M::Event<'_>) -> Result<(), M::Error> {
        let (length, digest) = (self.journal.building.bytes.len(), self.journal.digest);
        let (unsettled, taken) = (self.unsettled, self.taken);
        self.settle(false);
        self.record(Kind::Event, |out| {
            now.encode(out);
            event.encode(out);
        });
        let result = self.machine.apply(now, event);
        if result.is_ok() {
            self.unsettled = true;
            self.journal.commit();
        } else {
            self.journal.building.bytes.truncate(length);
            self.journal.digest = digest;
            (self.unsettled, self.taken) = (unsettled, taken);
        }
        result
    }

    /// Records too that there is no command, whether one may have been waiting or not.
    #[inline]
    fn poll_command(&mut self) -> Option<M::Command> {
        let command = self.machine.poll_command();
        match &command {
            Some(command) => {
                self.taken += 1;
                self.journal.give(Kind::Command, command);
            }
            None => {
                self.settle(true);
                self.journal.commit();
            }
        }
        command
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    #[inline]
    fn expire(&mut self, now: Instant) {
        self.settle(false);
        self.record(Kind::Timeout, |out| now.encode(out));
        self.machine.expire(now);
        self.unsettled = true;
        self.journal.commit();
    }

    fn next_command(&mut self) -> Option<M::Command> {
        self.poll_command()
    }

    fn context(&self) -> &Context {
        self.machine.context()
    }

    fn context_mut(&mut self) -> &mut Context {
        self.machine.context_mut()
    }

    fn stats(&self) -> &M::Stats {
        self.machine.stats()
    }

    fn memory_used(&self) -> usize {
        self.machine.memory_used().saturating_add(self.journal.building.bytes.capacity())
    }

    fn lent(&self) -> usize {
        self.machine.lent()
    }
}

impl<M: Journaled, S: Sink> Drop for Recorder<M, S> {
    fn drop(&mut self) {
        self.settle(false);
        // Nobody is left to be told of a failure; who wants to know flushes before.
        self.journal.close();
    }
}

impl<M: Journaled + fmt::Debug, S: Sink> fmt::Debug for Recorder<M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, journal, .. } = self;
        f.debug_struct("Recorder")
            .field("machine", machine)
            .field("digest", &journal.digest)
            .field("records", &journal.failure.is_none())
            .finish_non_exhaustive()
    }
}
