//! The contract that every machine keeps.
//!
//! *Mutate, then drain*: give a machine one event or one timeout, then take its commands until
//! there are none. Commands are made out of the machine's state as they are asked for, so one
//! event may have ten thousand consequences and no queue ever holds them.

use crate::time::Instant;

/// A sans-IO state machine.
///
/// * It never blocks, reads a clock, draws randomness or panics, whatever bytes it is given.
/// * The same configuration and the same events give the same commands.
/// * Bytes from outside never make an `Err`: they are dropped and counted. An `Err` tells of misuse
///   by the embedding program, and changes nothing, the machine's time included.
/// * Time never goes back: a `now` older than the newest one seen counts as the newest seen.
/// * After a drain that follows `handle_timeout(now)`, `poll_timeout()` is later than `now`.
pub trait Machine: Sized {
    /// What it is made from.
    type Config;
    /// What it takes.
    type Event<'a>;
    /// What it wants done.
    type Command;
    /// What it counts.
    type Stats;
    /// How the embedding program can misuse it.
    type Error: core::error::Error;

    /// A machine in its first state.
    ///
    /// # Errors
    /// The configuration contradicts itself or leaves its documented ranges.
    fn new(config: Self::Config) -> Result<Self, Self::Error>;

    /// Takes one event.
    ///
    /// # Errors
    /// Misuse, such as an event before the commands of the last one were drained (`Undrained`).
    /// Nothing has changed then.
    fn handle(&mut self, now: Instant, event: Self::Event<'_>) -> Result<(), Self::Error>;

    /// The next thing that the outside must do, or `None` when it is drained.
    fn poll_command(&mut self) -> Option<Self::Command>;

    /// When [`Machine::handle_timeout`] wants to be called if no event comes before.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Lets time pass without an event. Calling it early is harmless.
    ///
    /// # Errors
    /// As [`Machine::handle`].
    fn handle_timeout(&mut self, now: Instant) -> Result<(), Self::Error>;

    /// What was counted since the machine was made.
    fn stats(&self) -> &Self::Stats;

    /// The bytes that the machine keeps allocated, bookkeeping and pinned buffers included.
    ///
    /// At least what an allocator would say, and at most 5% and 16 KiB more, while nothing outside
    /// holds a slice that the machine handed out.
    fn memory_used(&self) -> usize;

    /// Bytes of the machine's own blocks that left it in commands and are still held outside, as
    /// far as it has noticed.
    fn lent(&self) -> usize;
}
