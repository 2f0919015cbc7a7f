//! The contract that every machine keeps.
//!
//! *Mutate, then drain*: give a machine one event or one timeout, then take its commands until
//! there are none. Commands are made out of the machine's state as they are asked for, so one
//! event may have ten thousand consequences and no queue ever holds them.
//!
//! # Inside and outside
//!
//! [`handle`](Machine::handle), [`poll_command`](Machine::poll_command) and
//! [`handle_timeout`](Machine::handle_timeout) are for the outside, and keep the rule: an event that comes
//! before the commands of the last were drained is [`Undrained`]. That rule stands here and nowhere else.
//! A machine that owns others drives them by [`apply`](Machine::apply) and [`expire`](Machine::expire), or by
//! methods of their own, at any time: these know no such refusal, and whatever is fed in the middle of a
//! timeout's drain cancels nothing of it. Reads, and calls that return what they did, are never refused
//! for it either.

use crate::time::Instant;

/// Commands of what a machine was given last are not drained yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("commands of the last event are not drained yet")]
pub struct Undrained;

/// The cause of the drain under way.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Drain {
    #[default]
    Nothing,
    Event,
    Timeout,
}

/// A machine's time, and its drain. Every machine has one; only the methods of [`Machine`] and the machine
/// itself change it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Context {
    now: Instant,
    drain: Drain,
}

impl Context {
    /// The newest time seen.
    #[inline]
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Returns true if commands may be waiting.
    #[inline]
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        !matches!(self.drain, Drain::Nothing)
    }

    /// Returns true if the waiting commands followed from a timeout.
    #[inline]
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self.drain, Drain::Timeout)
    }

    /// Lets time pass. It never goes back.
    #[inline]
    pub fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Commands may be waiting from now on. A timeout that is being drained stays one.
    #[inline]
    pub const fn pend(&mut self) {
        if !self.is_draining() {
            self.drain = Drain::Event;
        }
    }

    /// An event is accepted.
    #[inline]
    pub fn event(&mut self, now: Instant) {
        self.advance(now);
        self.pend();
    }

    /// A timeout is accepted.
    #[inline]
    pub fn timeout(&mut self, now: Instant) {
        self.advance(now);
        self.drain = Drain::Timeout;
    }

    /// Refuses what comes before a drain.
    ///
    /// # Errors
    /// [`Undrained`].
    #[inline]
    pub const fn check(&self) -> Result<(), Undrained> {
        if self.is_draining() { Err(Undrained) } else { Ok(()) }
    }

    /// No command waits any more.
    #[inline]
    pub const fn drained(&mut self) {
        self.drain = Drain::Nothing;
    }
}

/// A sans-IO state machine.
///
/// * It never blocks, reads a clock, draws randomness or panics, whatever bytes it is given.
/// * The same configuration and the same events give the same commands.
/// * Bytes from outside never make an `Err`: they are dropped and counted. An `Err` reports misuse
///   by the embedding program, and changes nothing, the machine's time included.
/// * Time never goes back: a `now` older than the newest one seen counts as the newest seen.
/// * After a drain that follows `handle_timeout(now)`, `poll_timeout()` is later than `now`.
pub trait Machine: Sized {
    /// Its configuration.
    type Config;
    /// Its input.
    type Event<'a>;
    /// Its output.
    type Command;
    /// Its counters.
    type Stats;
    /// How the embedding program can misuse it.
    type Error: core::error::Error + From<Undrained>;

    /// A machine in its first state.
    ///
    /// # Errors
    /// The configuration contradicts itself or leaves its documented ranges.
    fn new(config: Self::Config) -> Result<Self, Self::Error>;

    /// The most bytes that a machine of this configuration is ever [charged](Self::charged), bookkeeping included, but
    /// for what it was given last and has not passed on.
    fn memory_limit(config: &Self::Config) -> usize;

    /// Takes one event.
    ///
    /// # Errors
    /// Misuse, such as an event before the commands of the last one were drained ([`Undrained`]).
    /// Nothing has changed then.
    #[inline]
    fn handle(&mut self, now: Instant, event: Self::Event<'_>) -> Result<(), Self::Error> {
        self.context().check()?;
        self.apply(now, event)
    }

    /// The next thing that the outside must do, or `None` when it is drained.
    #[inline]
    fn poll_command(&mut self) -> Option<Self::Command> {
        if !self.context().is_draining() {
            return None;
        }
        let command = self.next_command();
        if command.is_none() {
            self.context_mut().drained();
        }
        command
    }

    /// When [`Machine::handle_timeout`] wants to be called if no event comes before.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Lets time pass without an event. Calling it early is harmless.
    ///
    /// # Errors
    /// [`Undrained`].
    fn handle_timeout(&mut self, now: Instant) -> Result<(), Self::Error> {
        self.context().check()?;
        self.expire(now);
        Ok(())
    }

    /// The counts since the machine was made.
    fn stats(&self) -> &Self::Stats;

    /// The bytes that the machine is charged: constants of its documentation for each row of its tables, and what its
    /// blocks and pinned buffers have. They are the same on every target, and limits, evictions and refusals read
    /// these only; what it was given last and has not passed on is not in them.
    ///
    /// On 64-bit targets at least [`memory_used`](Self::memory_used) while nothing waits and nothing outside holds a
    /// slice that the machine handed out, and at most 5% and 16 KiB more. A machine without tables of which the size
    /// differs between targets need not say: then they are the same.
    fn charged(&self) -> usize {
        self.memory_used()
    }

    /// The bytes that the machine keeps allocated here, bookkeeping and pinned buffers included. Nothing
    /// that a machine does depends on it.
    ///
    /// At least what an allocator would say, and at most 5% and 16 KiB more, while nothing outside
    /// holds a slice that the machine handed out.
    fn memory_used(&self) -> usize;

    /// Bytes of the machine's own blocks that left it in commands and are still held outside, as
    /// far as it has noticed.
    fn lent(&self) -> usize;

    /// Its time, and its drain.
    fn context(&self) -> &Context;

    /// As [`context`](Self::context), to be changed by the machine and by these methods only.
    fn context_mut(&mut self) -> &mut Context;

    /// Applies an event, whether commands wait or not; what it changes begins with
    /// [`Context::event`].
    ///
    /// # Errors
    /// Misuse. Nothing has changed then.
    fn apply(&mut self, now: Instant, event: Self::Event<'_>) -> Result<(), Self::Error>;

    /// Applies a timeout, whether commands wait or not. It begins with [`Context::timeout`]: then the caller
    /// must drain, if only to hear `None`. [`Context::advance`] alone is for where
    /// [`next_command`](Self::next_command) would give `None` now.
    fn expire(&mut self, now: Instant);

    /// Makes the next command out of the state; `None` when there is none. One bounded step.
    fn next_command(&mut self) -> Option<Self::Command>;
}

/// The items of [`Machine`](crate::Machine) that give a machine's fields `stats` and `context`.
#[macro_export]
macro_rules! stats_and_context {
    () => {
        fn stats(&self) -> &Self::Stats {
            &self.stats
        }

        fn context(&self) -> &$crate::machine::Context {
            &self.context
        }

        fn context_mut(&mut self) -> &mut $crate::machine::Context {
            &mut self.context
        }
    };
}
