//! A cache, recorded or not.

use crate::cache::{Answer, Cache, Command, Event, Refusal};
use crate::journal::{Recorder, Sink};
use crate::{Instant, Machine};

/// A [`Cache`], or what stands for one: a [`Recorder`] around it, or a program's own choice of the two.
pub trait Caching {
    /// The cache, to be looked at.
    fn cache(&self) -> &Cache;

    /// A direct call of the cache.
    ///
    /// # Errors
    /// The cache refuses it; it says why.
    fn call(&mut self, now: Instant, event: Event<'_>) -> Result<Answer, Refusal>;

    /// The next command of the cache.
    fn take_command(&mut self) -> Option<Command>;
}

impl Caching for Cache {
    #[inline]
    fn cache(&self) -> &Cache {
        self
    }

    #[inline]
    fn call(&mut self, now: Instant, event: Event<'_>) -> Result<Answer, Refusal> {
        Self::call(self, now, event)
    }

    #[inline]
    fn take_command(&mut self) -> Option<Command> {
        Machine::poll_command(self)
    }
}

impl<S: Sink> Caching for Recorder<Cache, S> {
    fn cache(&self) -> &Cache {
        self.machine()
    }

    fn call(&mut self, now: Instant, event: Event<'_>) -> Result<Answer, Refusal> {
        match Self::call(self, now, event) {
            Answer::Refused(refusal) => Err(refusal),
            answer => Ok(answer),
        }
    }

    fn take_command(&mut self) -> Option<Command> {
        Machine::poll_command(self)
    }
}
