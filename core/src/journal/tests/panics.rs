//! A machine that panics: its journal has what it panicked in.

extern crate std;

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::machine::{Context, Undrained};
use crate::{no_direct_calls, stats_and_context, vocabulary};

vocabulary! {
    "event of a fragile machine";
    #[expect(unreachable_pub, reason = "the macro declares what is public")]
    pub enum Event {
        /// Nothing happens.
        0 => Touch,
        /// It breaks.
        1 => Drop,
    }
}

/// Panics, and when it is asked anything after that, too.
struct Fragile {
    context: Context,
    broken: bool,
    stats: (),
}

impl Machine for Fragile {
    type Config = ();
    type Event<'a> = Event;
    type Command = ();
    type Stats = ();
    type Error = Undrained;

    fn new((): ()) -> Result<Self, Undrained> {
        Ok(Self { context: Context::default(), broken: false, stats: () })
    }

    fn apply(&mut self, now: Instant, event: Event) -> Result<(), Undrained> {
        self.context.event(now);
        self.broken |= matches!(event, Event::Drop);
        assert!(!self.broken, "it breaks");
        Ok(())
    }

    fn expire(&mut self, now: Instant) {
        self.context.advance(now);
    }

    fn next_command(&mut self) -> Option<()> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        assert!(!self.broken, "it is broken");
        None
    }

    fn memory_limit((): &()) -> usize {
        0
    }

    fn memory_used(&self) -> usize {
        0
    }

    fn lent(&self) -> usize {
        0
    }

    stats_and_context!();
}

impl Journaled for Fragile {
    const NAME: &'static str = "fragile";
    const VERSION: u16 = 1;

    no_direct_calls!();
}

#[test]
fn a_machine_that_panics_leaves_a_journal_with_what_it_panicked_in() {
    let (mut fragile, journal) = recorder::<Fragile>((), 0, false);
    fragile.handle(Instant::ZERO, Event::Touch).unwrap();
    drain(&mut fragile);
    // Dropping the recorder asks the machine when its next timeout is: a panic of its own.
    let broken = catch_unwind(AssertUnwindSafe(move || {
        catch_unwind(AssertUnwindSafe(|| fragile.handle(Instant::ZERO, Event::Drop))).unwrap_err();
        drop(fragile);
    }));
    assert!(broken.is_err());
    let mut replayer = Replayer::verifying().knowing::<Fragile>();
    let journal = journal.take();
    catch_unwind(AssertUnwindSafe(|| replayer.replay(&journal[..], &mut ()))).unwrap_err();
    assert_eq!(replayer.machines().next().map(|machine| machine.events), Some(2));
}
