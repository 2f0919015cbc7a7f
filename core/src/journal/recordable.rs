//! Machines that are recorded or not, behind one trait.

use alloc::boxed::Box;

use super::Journaled;
use super::block::{Building, Sink};
use super::recorder::{self, Recorder};
use crate::machine::Context;
use crate::{Instant, Machine};

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

    /// Whether [`poll_command`](Machine::poll_command) may have something, for loops of direct calls that want
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

    #[inline]
    fn call<'a>(&mut self, now: Instant, call: M::Call<'a>) -> M::Answer<'a> {
        Journaled::call(self, now, call)
    }
}

impl<M: Journaled, S: Sink> Driven<M> for Recorder<M, S> {
    fn machine(&self) -> &M {
        Self::machine(self)
    }

    #[inline]
    fn feed(&mut self, now: Instant, event: M::Event<'_>) -> Result<(), M::Error> {
        self.handle(now, event)
    }

    #[inline]
    fn call<'a>(&mut self, now: Instant, call: M::Call<'a>) -> M::Answer<'a> {
        Self::call(self, now, call)
    }

    #[inline]
    fn has_commands(&mut self) -> bool {
        self.context().is_draining() || self.poll_command().is_some()
    }
}

/// A machine that is recorded, if its configuration names a sink, or is not.
#[derive(Debug)]
pub enum Recordable<M: Journaled, S: Sink> {
    /// It is not recorded.
    Plain(M),
    /// It is recorded.
    Recorded(Box<Recorder<M, S>>),
}

impl<M: Journaled, S: Sink> Recordable<M, S> {
    /// The recorder, if there is one.
    pub fn recorder(&mut self) -> Option<&mut Recorder<M, S>> {
        match self {
            Self::Plain(_) => None,
            Self::Recorded(recorder) => Some(recorder),
        }
    }
}

/// Does the same with either.
macro_rules! either {
    ($self:ident, $machine:ident => $does:expr) => {
        match $self {
            Self::Plain($machine) => $does,
            Self::Recorded($machine) => $does,
        }
    };
}

impl<M: Journaled, S: Sink> Machine for Recordable<M, S> {
    type Config = recorder::Config<M::Config, Option<S>>;
    type Event<'a> = M::Event<'a>;
    type Command = M::Command;
    type Stats = M::Stats;
    type Error = M::Error;

    fn new(config: Self::Config) -> Result<Self, M::Error> {
        let recorder::Config { machine, id, sink, commands } = config;
        match sink {
            None => M::new(machine).map(Self::Plain),
            Some(sink) => {
                let config = recorder::Config { machine, id, sink, commands };
                Recorder::new(config).map(|recorder| Self::Recorded(Box::new(recorder)))
            }
        }
    }

    fn memory_limit(config: &Self::Config) -> usize {
        let recorder = config.sink.as_ref().map_or(0, |_| Building::CAPACITY);
        M::memory_limit(&config.machine).saturating_add(recorder)
    }

    #[inline]
    fn poll_command(&mut self) -> Option<M::Command> {
        either!(self, machine => machine.poll_command())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        either!(self, machine => machine.poll_timeout())
    }

    fn stats(&self) -> &M::Stats {
        either!(self, machine => machine.stats())
    }

    fn memory_used(&self) -> usize {
        either!(self, machine => machine.memory_used())
    }

    fn lent(&self) -> usize {
        either!(self, machine => machine.lent())
    }

    #[inline]
    fn context(&self) -> &Context {
        either!(self, machine => machine.context())
    }

    #[inline]
    fn context_mut(&mut self) -> &mut Context {
        either!(self, machine => machine.context_mut())
    }

    #[inline]
    fn apply(&mut self, now: Instant, event: M::Event<'_>) -> Result<(), M::Error> {
        either!(self, machine => machine.apply(now, event))
    }

    fn expire(&mut self, now: Instant) {
        either!(self, machine => machine.expire(now));
    }

    #[inline]
    fn next_command(&mut self) -> Option<M::Command> {
        either!(self, machine => machine.next_command())
    }
}

impl<M: Journaled, S: Sink> Driven<M> for Recordable<M, S> {
    #[inline]
    fn machine(&self) -> &M {
        match self {
            Self::Plain(machine) => machine,
            Self::Recorded(recorder) => (**recorder).machine(),
        }
    }

    #[inline]
    fn feed(&mut self, now: Instant, event: M::Event<'_>) -> Result<(), M::Error> {
        self.handle(now, event)
    }

    #[inline]
    fn call<'a>(&mut self, now: Instant, call: M::Call<'a>) -> M::Answer<'a> {
        match self {
            Self::Plain(machine) => Journaled::call(machine, now, call),
            Self::Recorded(recorder) => recorder.call(now, call),
        }
    }

    #[inline]
    fn has_commands(&mut self) -> bool {
        match self {
            Self::Plain(machine) => machine.context().is_draining(),
            Self::Recorded(recorder) => recorder.has_commands(),
        }
    }
}
