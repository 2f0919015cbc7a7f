//! `--journal`: machines that are recorded where that is wished, and a journal that is seen to while
//! the program runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant as SystemInstant};

use gapless_core::journal::{Journaled, Recorder, recorder};
use gapless_core::publisher::Publisher;
use gapless_core::receiver::{Batch, Receiver, Receiving, Source};
use gapless_core::{Instant, Machine};
use gapless_mio::{JournalFile, Publishing};

use crate::args::Journaling;
use crate::failure::{Failure, Outcome};
use crate::progress::Progress;

/// How much of a journal is lost at most when the program is killed.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Where machines are recorded, if they are.
#[derive(Clone, Default)]
pub(crate) struct Journal {
    file: Option<JournalFile>,
    commands: bool,
    failed: Arc<AtomicBool>,
}

impl Journal {
    /// As the command line says.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn create(args: &Journaling) -> Result<Self, Failure> {
        let file = args.journal.as_ref().map(JournalFile::create).transpose().map_err(|error| {
            Failure::unwritten(&error).advise("name a file in a folder that may be written")
        })?;
        Ok(Self { file, commands: args.journal_commands, failed: Arc::default() })
    }

    /// A machine of the program: number `id` of the journal.
    pub(crate) fn machine<M: Journaled>(
        &self,
        id: u16,
    ) -> impl FnOnce(M::Config) -> Result<Recordable<M>, M::Error> + use<M> {
        let journal = self.clone();
        move |machine| Recordable::new(Config { machine, id, journal })
    }

    /// What the program ends with: a journal that lacks something is not complete.
    pub(crate) fn outcome(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Complete if self.failed.load(Ordering::Relaxed) => Outcome::Io,
            outcome => outcome,
        }
    }
}

/// What a [`Recordable`] is made from.
pub(crate) struct Config<C> {
    machine: C,
    id: u16,
    journal: Journal,
}

/// A machine that is recorded, or is not.
pub(crate) enum Recordable<M: Journaled> {
    Plain(M),
    Recorded(Box<Recorded<M>>),
}

/// A machine that is recorded.
pub(crate) struct Recorded<M: Journaled> {
    recorder: Recorder<M, JournalFile>,
    failed: Arc<AtomicBool>,
    flushed: SystemInstant,
}

impl<M: Journaled> Recordable<M> {
    /// Hands what is recorded to the system, about once a second. The first time that this fails, of
    /// all machines, it is told.
    pub(crate) fn keep(&mut self, progress: &Progress) {
        match self {
            Self::Recorded(recorded) if recorded.flushed.elapsed() >= FLUSH_EVERY => {
                recorded.flush(progress);
            }
            _ => {}
        }
    }

    /// The same in the end.
    pub(crate) fn close(&mut self, progress: &Progress) {
        if let Self::Recorded(recorded) = self {
            recorded.flush(progress);
        }
    }
}

impl<M: Journaled> Recorded<M> {
    fn flush(&mut self, progress: &Progress) {
        self.flushed = SystemInstant::now();
        if let Err(failure) = self.recorder.flush()
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            progress
                .tell(format_args!("error: {failure}\n  no more is recorded; the feed goes on"));
        }
    }
}

impl<M: Journaled> Machine for Recordable<M> {
    type Config = Config<M::Config>;
    type Event<'a> = M::Event<'a>;
    type Command = M::Command;
    type Stats = M::Stats;
    type Error = M::Error;

    fn new(config: Self::Config) -> Result<Self, M::Error> {
        let Config { machine, id, journal: Journal { file, commands, failed } } = config;
        let Some(sink) = file else { return M::new(machine).map(Self::Plain) };
        let recorder = Recorder::new(recorder::Config { machine, id, sink, commands })?;
        Ok(Self::Recorded(Box::new(Recorded { recorder, failed, flushed: SystemInstant::now() })))
    }

    #[inline]
    fn handle(&mut self, now: Instant, event: M::Event<'_>) -> Result<(), M::Error> {
        match self {
            Self::Plain(machine) => machine.handle(now, event),
            Self::Recorded(recorded) => recorded.recorder.handle(now, event),
        }
    }

    #[inline]
    fn poll_command(&mut self) -> Option<M::Command> {
        match self {
            Self::Plain(machine) => machine.poll_command(),
            Self::Recorded(recorded) => recorded.recorder.poll_command(),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.as_ref().poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), M::Error> {
        match self {
            Self::Plain(machine) => machine.handle_timeout(now),
            Self::Recorded(recorded) => recorded.recorder.handle_timeout(now),
        }
    }

    fn stats(&self) -> &M::Stats {
        self.as_ref().stats()
    }

    fn memory_used(&self) -> usize {
        match self {
            Self::Plain(machine) => machine.memory_used(),
            Self::Recorded(recorded) => recorded.recorder.memory_used(),
        }
    }

    fn lent(&self) -> usize {
        self.as_ref().lent()
    }
}

impl<M: Journaled> AsRef<M> for Recordable<M> {
    fn as_ref(&self) -> &M {
        match self {
            Self::Plain(machine) => machine,
            Self::Recorded(recorded) => recorded.recorder.machine(),
        }
    }
}

impl Publishing for Recordable<Publisher> {}

impl Receiving for Recordable<Receiver> {
    #[inline]
    fn receive_stamped<'a>(
        &mut self,
        now: Instant,
        arrival: Instant,
        source: Source,
        datagram: &'a [u8],
    ) -> Option<Batch<&'a [u8]>> {
        match self {
            Self::Plain(receiver) => receiver.receive_stamped(now, arrival, source, datagram),
            Self::Recorded(recorded) => {
                recorded.recorder.receive_stamped(now, arrival, source, datagram)
            }
        }
    }

    #[inline]
    fn has_commands(&mut self) -> bool {
        match self {
            Self::Plain(receiver) => receiver.has_commands(),
            Self::Recorded(recorded) => Receiving::has_commands(&mut recorded.recorder),
        }
    }
}
