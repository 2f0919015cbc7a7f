//! A machine that is recorded.

use alloc::boxed::Box;
use core::fmt;

use super::Journaled;
use super::block::{Building, FULL, MAX_PAYLOAD, Sink};
use super::digest::Digest;
use super::field::{Encoder, Field};
use super::record::{self, EventDigest, Kind};
use crate::machine::Context;
use crate::{Instant, Machine};

/// The configuration of a [`Recorder`].
#[derive(Clone, Debug)]
pub struct Config<C, S> {
    /// The machine's configuration.
    pub machine: C,
    /// Tells the machines that share a journal apart. A machine that takes the place of another, after a
    /// restart, takes another number.
    pub id: u16,
    /// The destination of the journal; `None`: nothing is recorded.
    pub sink: Option<S>,
    /// Commands are recorded too, beside their digest: larger journals, from which one can see
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

/// A machine that writes down everything that it takes, and a digest of everything that it gives; or does
/// not, without a sink.
///
/// It does what the machine inside does. Events and calls ([`Driven::call`]) that are misuse are not recorded. A
/// journal that cannot be written is no reason for a feed to stop: recording ends, and [`Recorder::failure`] says
/// why.
///
/// # Memory
/// One block of some 200 KB, allocated at construction, for which 198,164 bytes are charged; nothing without a sink.
pub struct Recorder<M: Journaled, S: Sink> {
    machine: M,
    journal: Option<Box<Journal<S>>>,
}

/// The journal of one machine.
struct Journal<S: Sink> {
    building: Building,
    /// The end of the records in it that are known to fit it.
    whole: usize,
    sink: S,
    commands: bool,
    followed: Followed,
    failure: Option<Failure<S::Error>>,
}

/// All that the machine gave.
#[derive(Clone, Copy)]
struct Followed {
    digest: Digest,
    /// Commands taken since the last event.
    taken: u64,
    /// The digest of the last event is not written yet.
    unsettled: bool,
}

/// Bytes that a journal is charged: its block, and what is known of it.
const JOURNAL_BYTES: usize = Building::CAPACITY + 512;

/// A place in a journal that it can go back to.
type Place = (usize, Followed);

impl<S: Sink> Journal<S> {
    /// Hands the block over when it is full; records are whole and final here.
    #[inline]
    fn commit(&mut self) {
        let bytes = &self.building.bytes;
        if bytes.len() < FULL && bytes.capacity() <= Building::CAPACITY {
            self.whole = bytes.len();
        } else {
            self.commit_much();
        }
    }

    #[cold]
    fn commit_much(&mut self) {
        let len = self.building.payload_len();
        if len > MAX_PAYLOAD {
            // The records before the last are whole, and go into a block without it.
            let last = self.building.bytes.split_off(self.whole);
            self.close();
            if last.len() > MAX_PAYLOAD {
                self.failure.get_or_insert(Failure::TooLarge(last.len()));
            } else {
                self.building.bytes.extend_from_slice(&last);
            }
        } else if len >= FULL {
            self.close();
        }
        self.building.bytes.shrink_to(Building::CAPACITY);
        self.whole = self.building.bytes.len();
    }

    fn close(&mut self) {
        if let Err(error) = self.building.close(&mut self.sink) {
            self.failure = Some(Failure::Sink(error));
        }
        self.whole = self.building.bytes.len();
    }

    /// Takes what a machine gave into the digest, and into the journal where that is wanted.
    fn give<'a>(&mut self, kind: Kind, given: &impl Field<'a>) {
        let start = self.building.bytes.len();
        given.encode(&mut Encoder::new(&mut self.building.bytes).digesting());
        self.followed.digest.update(&self.building.bytes[start..]);
        self.building.bytes.truncate(start);
        if self.commands {
            record::append(&mut self.building.bytes, kind, &[], |out| given.encode(out));
        }
        self.commit();
    }

    /// Begins the record of something that the machine is given, behind what followed from the last; the
    /// place before both, for what turns out to be misuse.
    #[inline]
    fn begin(
        &mut self,
        machine: &impl Machine,
        kind: Kind,
        now: Instant,
        body: impl FnOnce(&mut Encoder<'_>),
    ) -> Place {
        let place = (self.building.bytes.len(), self.followed);
        if self.followed.unsettled {
            self.settle(machine, false);
        }
        record::append(&mut self.building.bytes, kind, &now.as_nanos().to_le_bytes(), body);
        self.followed.unsettled = true;
        place
    }

    /// Goes back to where a record began.
    fn undo(&mut self, (len, followed): Place) {
        self.building.bytes.truncate(len);
        self.building.bytes.shrink_to(Building::CAPACITY);
        self.followed = followed;
    }

    /// Writes what followed from the last event, as far as it was asked for.
    #[inline]
    fn settle(&mut self, machine: &impl Machine, drained: bool) {
        let Followed { digest, taken, unsettled } = &mut self.followed;
        if core::mem::take(unsettled) {
            let commands = core::mem::take(taken);
            let digest = record::settle(digest, drained, machine.poll_timeout());
            let settled = EventDigest { commands, drained, digest };
            let out = &mut self.building.bytes;
            record::append(out, Kind::EventDigest, &settled.bytes(), |_| {});
        }
    }
}

/// The journal, if there is one that has not failed.
#[inline]
fn recording<S: Sink>(journal: &mut Option<Box<Journal<S>>>) -> Option<&mut Journal<S>> {
    journal.as_deref_mut().filter(|journal| journal.failure.is_none())
}

impl<M: Journaled, S: Sink> Recorder<M, S> {
    /// The machine.
    #[must_use]
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// The destination of the journal, if there is one.
    #[must_use]
    pub fn sink(&self) -> Option<&S> {
        self.journal.as_ref().map(|journal| &journal.sink)
    }

    /// Why recording stopped, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure<S::Error>> {
        self.journal.as_ref()?.failure.as_ref()
    }

    /// Hands what is recorded to the sink, in a block that is full or not: for those who want no more
    /// than so much lost when the program dies. A recorder that is dropped does so too.
    ///
    /// # Errors
    /// Recording stopped.
    pub fn flush(&mut self) -> Result<(), &Failure<S::Error>> {
        if let Some(journal) = recording(&mut self.journal) {
            journal.close();
        }
        self.failure().map_or(Ok(()), Err)
    }

    /// Begins the record of a direct call, which is then to be made of this machine: by [`Journaled::call`], or by what
    /// does the same and may lend what it gives.
    #[inline]
    pub(crate) fn begin_call(
        &mut self,
        now: Instant,
        call: &M::Call<'_>,
    ) -> (&mut M, Begun<'_, S>) {
        let Self { machine, journal } = self;
        let begun = recording(journal).map(|journal| {
            let place = journal.begin(machine, Kind::Call, now, |out| call.encode(out));
            (journal, place)
        });
        (machine, Begun(begun))
    }
}

/// A direct call that is under way, and may be recorded.
pub(crate) struct Begun<'a, S: Sink>(Option<(&'a mut Journal<S>, Place)>);

impl<S: Sink> Begun<'_, S> {
    /// Takes what the call gave into the journal, unless it is misuse.
    #[inline]
    pub(crate) fn end<'a>(self, answer: &impl Field<'a>, is_misuse: bool) {
        match self.0 {
            Some((journal, place)) if is_misuse => journal.undo(place),
            Some((journal, _)) => journal.give(Kind::Answer, answer),
            None => {}
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
        let journal = sink.map(|sink| {
            let mut building = Building::new(id);
            let whole = building.bytes.len();
            record::append_machine::<M>(&mut building.bytes, &machine);
            // The first commands of a new machine follow from its making.
            let followed = Followed { digest: Digest::new(), taken: 0, unsettled: true };
            Box::new(Journal { building, whole, sink, commands, followed, failure: None })
        });
        let mut recorder = Self { machine: M::new(machine)?, journal };
        if let Some(journal) = &mut recorder.journal {
            recorder.machine.keep_checksums();
            journal.commit();
        }
        Ok(recorder)
    }

    /// Beside the machine, one block.
    fn memory_limit(config: &Self::Config) -> usize {
        let journal = config.sink.as_ref().map_or(0, |_| JOURNAL_BYTES);
        M::memory_limit(&config.machine).saturating_add(journal)
    }

    /// Misuse leaves no trace.
    #[inline]
    fn apply(&mut self, now: Instant, event: M::Event<'_>) -> Result<(), M::Error> {
        let Self { machine, journal } = self;
        let Some(journal) = recording(journal) else { return machine.apply(now, event) };
        let place = journal.begin(machine, Kind::Event, now, |out| event.encode(out));
        let result = machine.apply(now, event);
        if result.is_ok() {
            journal.commit();
        } else {
            journal.undo(place);
        }
        result
    }

    /// Records too that there is no command, whether one may have been waiting or not.
    #[inline]
    fn poll_command(&mut self) -> Option<M::Command> {
        let command = self.machine.poll_command();
        if let Some(journal) = recording(&mut self.journal) {
            match &command {
                Some(command) => {
                    journal.followed.taken += 1;
                    journal.give(Kind::Command, command);
                }
                None => {
                    journal.settle(&self.machine, true);
                    journal.commit();
                }
            }
        }
        command
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    #[inline]
    fn expire(&mut self, now: Instant) {
        if let Some(journal) = recording(&mut self.journal) {
            journal.begin(&self.machine, Kind::Timeout, now, |_| {});
            journal.commit();
        }
        self.machine.expire(now);
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

    fn charged(&self) -> usize {
        let journal = self.journal.as_ref().map_or(0, |_| JOURNAL_BYTES);
        self.machine.charged().saturating_add(journal)
    }

    fn memory_used(&self) -> usize {
        let block = self
            .journal
            .as_ref()
            .map_or(0, |journal| journal.building.bytes.capacity() + size_of::<Journal<S>>());
        self.machine.memory_used().saturating_add(block)
    }

    fn lent(&self) -> usize {
        self.machine.lent()
    }
}

/// Closes a journal when it is dropped.
struct Closing<'a, S: Sink>(&'a mut Journal<S>);

impl<S: Sink> Drop for Closing<'_, S> {
    fn drop(&mut self) {
        // A failure cannot be reported any more; whoever wants to know flushes before.
        self.0.close();
    }
}

impl<M: Journaled, S: Sink> Drop for Recorder<M, S> {
    fn drop(&mut self) {
        let Self { machine, journal } = self;
        if let Some(journal) = recording(journal) {
            // Written too if the machine, which may have panicked already, panics when it is asked for its timeout.
            let closing = Closing(journal);
            closing.0.settle(machine, false);
        }
    }
}

impl<M: Journaled + fmt::Debug, S: Sink> fmt::Debug for Recorder<M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("machine", &self.machine)
            .field("digest", &self.journal.as_ref().map(|journal| journal.followed.digest))
            .field("records", &self.journal.as_ref().is_some_and(|it| it.failure.is_none()))
            .finish_non_exhaustive()
    }
}

/// A machine of kind `M`, recorded or not: what drives machines is generic over it.
pub trait Driven<M: Journaled>:
    Machine<Command = M::Command, Stats = M::Stats, Error = M::Error>
{
    /// The machine.
    fn machine(&self) -> &M;

    /// Takes one event, as [`Machine::handle`].
    ///
    /// # Errors
    /// As there.
    fn feed(&mut self, now: Instant, event: M::Event<'_>) -> Result<(), M::Error>;

    /// Calls the machine directly, as [`Journaled::call`].
    fn call<'a>(&mut self, now: Instant, call: M::Call<'a>) -> M::Answer<'a>;

    /// Returns true if [`poll_command`](Machine::poll_command) may have something, for loops of direct calls that want
    /// to skip an empty drain. A recorder notes that there is nothing, as if it had been drained.
    #[inline]
    fn has_commands(&mut self) -> bool {
        self.context().is_draining()
    }
}

impl<M: Journaled> Driven<M> for M {
    #[inline]
    fn machine(&self) -> &M {
        self
    }

    #[inline]
    fn feed(&mut self, now: Instant, event: M::Event<'_>) -> Result<(), M::Error> {
        self.handle(now, event)
    }

    #[inline(always)]
    fn call<'a>(&mut self, now: Instant, call: M::Call<'a>) -> M::Answer<'a> {
        Journaled::call(self, now, call)
    }
}

impl<M: Journaled, S: Sink> Driven<M> for Recorder<M, S> {
    #[inline]
    fn machine(&self) -> &M {
        &self.machine
    }

    #[inline]
    fn feed(&mut self, now: Instant, event: M::Event<'_>) -> Result<(), M::Error> {
        self.handle(now, event)
    }

    #[inline]
    fn call<'a>(&mut self, now: Instant, call: M::Call<'a>) -> M::Answer<'a> {
        let (machine, begun) = self.begin_call(now, &call);
        let answer = machine.call(now, call);
        begun.end(&answer, M::is_misuse(&answer));
        answer
    }

    #[inline]
    fn has_commands(&mut self) -> bool {
        let is_draining = self.context().is_draining();
        if !is_draining && let Some(journal) = recording(&mut self.journal) {
            journal.settle(&self.machine, true);
            journal.commit();
        }
        is_draining
    }
}
