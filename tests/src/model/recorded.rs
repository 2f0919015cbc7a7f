//! Machines that cases are played on, some of them recorded: their journals must replay.
//!
//! With `GAPLESS_JOURNAL=FILE` each case is recorded into that file, so that `gapless replay FILE` shows
//! what the last one did. It holds all up to the event that a case failed after, or in: a fuzzer ends
//! the program at once, so every event is written before it is given.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::ops::Deref;
use std::rc::Rc;

use gapless_core::journal::{
    Digest, Driven, Encoder, Field, Journaled, MAGIC, Recorder, Replayer, Sink, VERSION, recorder,
};
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
    /// How many blocks it has, and where they end.
    File {
        file: File,
        blocks: u32,
        end: u64,
    },
}

/// Kinds of records.
const EVENT: u8 = 1;
const TIMEOUT: u8 = 2;
const CALL: u8 = 3;

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
            Self::File { file, blocks, end } => {
                file.write_all(block).map_err(|_| Full)?;
                *blocks += 1;
                *end += block.len() as u64;
                Ok(())
            }
        }
    }
}

impl Tape {
    /// Where the journal of a case of so many events goes, if it is one that is recorded.
    pub(super) fn of(events: usize) -> Option<Rc<RefCell<Self>>> {
        let tape = match std::env::var_os("GAPLESS_JOURNAL") {
            Some(path) => {
                let file = File::create(path).expect("the file of GAPLESS_JOURNAL");
                Self::File { file, blocks: 0, end: 0 }
            }
            None if events.is_multiple_of(RECORDED) => Self::Memory(Vec::with_capacity(LONGEST)),
            None => return None,
        };
        Some(Rc::new(RefCell::new(tape)))
    }

    /// Writes a record into a file, in a block of its own, until it is retracted.
    fn announce(&mut self, kind: u8, now: Instant, body: &[u8]) {
        let Self::File { file, blocks, .. } = self else { return };
        let mut record = Vec::new();
        now.encode(&mut Encoder::new(&mut record));
        record.extend_from_slice(body);
        let len = (record.len() as u32).to_le_bytes();
        let record = [&[kind][..], &len, &record].concat();
        let (machine, len) = ([0; 2], (record.len() as u32).to_le_bytes());
        let numbers = [&VERSION.to_le_bytes()[..], &machine, &blocks.to_le_bytes(), &len].concat();
        let header = [&MAGIC[..], &numbers].concat();
        let mut checksum = Digest::new();
        checksum.update(&header);
        checksum.update(&record);
        let block = [&header[..], &checksum.value().to_le_bytes(), &record].concat();
        file.write_all(&block).expect("room for a journal");
    }

    /// Takes back what was announced.
    fn retract(&mut self) {
        if let Self::File { file, end, .. } = self {
            file.set_len(*end).expect("a file that can be cut");
            file.seek(SeekFrom::Start(*end)).expect("a file that has an end");
        }
    }
}

impl<M: Journaled> Recording<M> {
    /// Does what gives the machine something, and sees to it that a file has it before.
    fn give<T>(
        &mut self,
        kind: u8,
        now: Instant,
        body: &[u8],
        give: impl FnOnce(&mut Recorder<M, Rc<RefCell<Tape>>>) -> T,
    ) -> T {
        if !self.is_file() {
            return give(&mut self.recorder);
        }
        self.flush();
        self.tape.borrow_mut().announce(kind, now, body);
        let given = give(&mut self.recorder);
        self.tape.borrow_mut().retract();
        self.flush();
        given
    }

    fn is_file(&self) -> bool {
        matches!(*self.tape.borrow(), Tape::File { .. })
    }

    fn flush(&mut self) {
        assert!(self.recorder.flush().is_ok(), "the journal cannot be written");
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
        let config = recorder::Config { machine: config, id: 0, sink: Some(sink), commands: false };
        let recorder = Recorder::new(config).expect("a valid configuration");
        Self::Recorded(Recording { recorder, tape: Rc::clone(tape), events: 0 })
    }

    /// As [`Machine::handle`].
    pub(super) fn handle(&mut self, now: Instant, event: M::Event<'_>) -> Result<(), M::Error> {
        match self {
            Self::Plain(machine) => machine.handle(now, event),
            Self::Recorded(recording) => {
                let mut written = Vec::new();
                if recording.is_file() {
                    event.encode(&mut Encoder::new(&mut written));
                }
                let give = |recorder: &mut Recorder<M, _>| recorder.handle(now, event);
                let taken = recording.give(EVENT, now, &written, give);
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
                let give = |recorder: &mut Recorder<M, _>| recorder.handle_timeout(now);
                let taken = recording.give(TIMEOUT, now, &[], give);
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
                let mut written = Vec::new();
                if recording.is_file() {
                    call.encode(&mut Encoder::new(&mut written));
                }
                let give = |recorder: &mut Recorder<M, _>| recorder.call(now, call);
                let answer = recording.give(CALL, now, &written, give);
                recording.events += u64::from(!M::is_misuse(&answer));
                answer
            }
        }
    }

    /// As [`Machine::poll_command`].
    pub(super) fn poll_command(&mut self) -> Option<M::Command> {
        match self {
            Self::Plain(machine) => machine.poll_command(),
            Self::Recorded(recording) => {
                let command = recording.recorder.poll_command();
                if command.is_none() && recording.is_file() {
                    recording.flush();
                }
                command
            }
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

    /// Replays all that was recorded so far: every digest must be the same.
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

#[cfg(test)]
mod tests {
    use gapless_core::Session;
    use gapless_core::transmitter::{Config, Event, Transmitter};

    use super::*;

    fn replayed(journal: &[u8]) -> u64 {
        let mut replayer = Replayer::verifying().knowing::<Transmitter>();
        let ending = replayer.replay(journal, &mut ()).unwrap();
        assert_eq!((ending.bytes, ending.torn), (journal.len() as u64, 0));
        replayer.machines().next().unwrap().events
    }

    #[test]
    fn a_file_has_every_event_and_the_one_that_is_being_taken() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let tape = Tape::File { file: File::create(&path).unwrap(), blocks: 0, end: 0 };
        let tape = Rc::new(RefCell::new(tape));
        let config = Config::new(Session::new(*b"RECORDED  "));
        let mut played = Played::<Transmitter>::new(config, Some(&tape));
        let now = Instant::from_millis(1);
        for event in [Event::Message(b"first"), Event::Flush, Event::End] {
            played.handle(now, event).unwrap();
            while played.poll_command().is_some() {}
        }
        assert!(played.handle(now, Event::Message(b"none any more")).is_err());
        assert_eq!(replayed(&std::fs::read(&path).unwrap()), 3);
        tape.borrow_mut().announce(TIMEOUT, now, &[]);
        assert_eq!(replayed(&std::fs::read(&path).unwrap()), 4);
        tape.borrow_mut().retract();
        played.handle_timeout(now).unwrap();
        assert_eq!(replayed(&std::fs::read(&path).unwrap()), 4);
    }
}
