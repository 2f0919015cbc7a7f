//! Machines that cases are played on, some of them recorded: their journals must replay.
//!
//! With `GAPLESS_JOURNAL=FILE` each case is recorded into that file, also one that fails: what the
//! last case did can then be looked at with `gapless replay FILE`.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Once;

use gapless_core::journal::{Journaled, Recorder, Replayer, Sink, recorder};
use gapless_core::{Instant, Machine};

/// One case in so many is recorded.
const RECORDED: usize = 4;
/// The most that is recorded in memory: all of nearly every case.
const LONGEST: usize = 1 << 20;

/// A machine, recorded or not. Reads as the machine itself.
pub(super) enum Played<M: Journaled> {
    /// Only played.
    Plain(M),
    /// Recorded too.
    Recorded(Recording<M>),
}

/// A machine that is recorded.
pub(super) struct Recording<M: Journaled> {
    recorder: Recorder<M, Rc<RefCell<Tape>>>,
    tape: Rc<RefCell<Tape>>,
    /// Events, timeouts and calls that were taken.
    events: u64,
}

/// Where a journal goes. What it needs is allocated before: what a case allocates is counted.
#[derive(Debug)]
pub(super) enum Tape {
    Memory(Vec<u8>),
    File(File),
}

/// There is no room for more.
#[derive(Debug)]
pub(super) struct Full;

impl Sink for Tape {
    type Error = Full;

    fn write(&mut self, block: &[u8]) -> Result<(), Full> {
        match self {
            Self::Memory(bytes) if block.len() > bytes.capacity() - bytes.len() => Err(Full),
            Self::Memory(bytes) => {
                bytes.extend_from_slice(block);
                Ok(())
            }
            Self::File(file) => file.write_all(block).map_err(|_| Full),
        }
    }
}

impl Tape {
    /// Where the journal of a case of so many events goes, if it is one that is recorded.
    pub(super) fn of(events: usize) -> Option<Rc<RefCell<Self>>> {
        let tape = match std::env::var_os("GAPLESS_JOURNAL") {
            Some(path) => {
                // Fuzzers end the program as soon as anything panics; a recorder must be dropped.
                static UNWINDS: Once = Once::new();
                UNWINDS.call_once(|| drop(std::panic::take_hook()));
                Self::File(File::create(path).expect("the file of GAPLESS_JOURNAL"))
            }
            None if events.is_multiple_of(RECORDED) => Self::Memory(Vec::with_capacity(LONGEST)),
            None => return None,
        };
        Some(Rc::new(RefCell::new(tape)))
    }
}

impl<M: Journaled> Played<M> {
    /// A machine that is only played.
    pub(super) fn plain(config: M::Config) -> Self {
        Self::Plain(M::new(config).expect("a valid configuration"))
    }

    /// A machine that is recorded where there is a tape.
    pub(super) fn new(config: M::Config, tape: Option<&Rc<RefCell<Tape>>>) -> Self {
        let Some(tape) = tape else { return Self::plain(config) };
        let sink = Rc::clone(tape);
        let config = recorder::Config { machine: config, id: 0, sink, commands: false };
        let recorder = Recorder::new(config).expect("a valid configuration");
        Self::Recorded(Recording { recorder, tape: Rc::clone(tape), events: 0 })
    }

    /// As [`Machine::handle`].
    pub(super) fn handle(&mut self, now: Instant, event: M::Event<'_>) -> Result<(), M::Error> {
        match self {
            Self::Plain(machine) => machine.handle(now, event),
            Self::Recorded(recording) => {
                let taken = recording.recorder.handle(now, event);
                recording.events += u64::from(taken.is_ok());
                taken
            }
        }
    }

    /// As [`Machine::handle_timeout`].
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), M::Error> {
        match self {
            Self::Plain(machine) => machine.handle_timeout(now),
            Self::Recorded(recording) => {
                let taken = recording.recorder.handle_timeout(now);
                recording.events += u64::from(taken.is_ok());
                taken
            }
        }
    }

    /// As [`Journaled::call`].
    pub(super) fn call<'a>(&mut self, now: Instant, call: M::Call<'a>) -> M::Answer<'a> {
        match self {
            Self::Plain(machine) => machine.call(now, call),
            Self::Recorded(recording) => {
                recording.events += 1;
                recording.recorder.call(now, call)
            }
        }
    }

    /// As [`Machine::poll_command`].
    pub(super) fn poll_command(&mut self) -> Option<M::Command> {
        match self {
            Self::Plain(machine) => machine.poll_command(),
            Self::Recorded(recording) => recording.recorder.poll_command(),
        }
    }

    /// Whether it is recorded.
    pub(super) const fn is_recorded(&self) -> bool {
        matches!(self, Self::Recorded(_))
    }

    /// Bytes that recording takes beside the machine's.
    pub(super) fn recording_bytes(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Recorded(Recording { recorder, .. }) => {
                recorder.memory_used() - recorder.machine().memory_used()
            }
        }
    }

    /// What was recorded so far must replay, with every digest the same.
    pub(super) fn replay(&mut self) {
        let Self::Recorded(Recording { recorder, tape, events }) = self else { return };
        let is_whole = recorder.flush().is_ok();
        let tape = tape.borrow();
        let Tape::Memory(journal) = &*tape else { return };
        let mut replayer = Replayer::verifying().knowing::<M>();
        let ending = replayer.replay(&journal[..], &mut ());
        let ending =
            ending.unwrap_or_else(|error| panic!("{} of {events} events: {error}", M::NAME));
        assert_eq!((ending.bytes, ending.torn), (journal.len() as u64, 0));
        let replayed = replayer.machines().next().map_or(0, |machine| machine.events);
        assert!(!is_whole || replayed == *events, "{replayed} of {events} events are recorded");
    }
}

impl<M: Journaled> Deref for Played<M> {
    type Target = M;

    fn deref(&self) -> &M {
        match self {
            Self::Plain(machine) => machine,
            Self::Recorded(recording) => recording.recorder.machine(),
        }
    }
}

impl<M: Journaled> fmt::Debug for Played<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(M::NAME).field("is_recorded", &self.is_recorded()).finish_non_exhaustive()
    }
}
