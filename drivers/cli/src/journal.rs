//! `--journal`: machines that are recorded where that is wished, and a journal that is seen to while
//! the program runs.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant as SystemInstant};

use gapless_core::journal::{Journaled, Recorder, Sink, recorder};
use gapless_core::publisher::Publisher;
use gapless_core::receiver::{Batch, Receiver, Receiving, Source};
use gapless_core::{Instant, Machine};
use gapless_mio::{JournalError, JournalFile, Publishing};

use crate::args::Journaling;
use crate::failure::{Failure, Outcome};
use crate::io::patience::Patience;
use crate::io::place::{Place, exists, in_use};
use crate::progress::Progress;

/// What the journal is named by.
const FLAG: &str = "--journal";

/// How much of a journal is lost at most when the program is killed.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Where machines are recorded, if they are.
#[derive(Clone, Default)]
pub(crate) struct Journal {
    target: Option<Arc<Target>>,
    commands: bool,
    failed: Arc<AtomicBool>,
}

/// The file, which is opened after the sockets of whom it records.
struct Target {
    path: PathBuf,
    force: bool,
    file: OnceLock<JournalFile>,
}

/// Where a recorder writes to.
#[derive(Clone)]
pub(crate) struct JournalSink(Arc<Target>);

/// Why nothing is recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SinkError {
    #[error("the journal is not open")]
    Closed,
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Sink for JournalSink {
    type Error = SinkError;

    fn write(&mut self, block: &[u8]) -> Result<(), SinkError> {
        let file = self.0.file.get().ok_or(SinkError::Closed)?;
        Ok(file.clone().write(block)?)
    }
}

impl Journal {
    /// As the command line says. Nothing is made before [`open`](Self::open).
    ///
    /// # Errors
    /// The file exists, or cannot be made.
    pub(crate) fn prepare(args: &Journaling) -> Result<Self, Failure> {
        let target = args.journal.as_ref().map(|path| {
            Place::check(FLAG, path, args.force)?;
            let (path, force) = (path.clone(), args.force);
            Ok::<_, Failure>(Arc::new(Target { path, force, file: OnceLock::new() }))
        });
        let commands = args.journal_commands;
        Ok(Self { target: target.transpose()?, commands, failed: Arc::default() })
    }

    /// Makes the file, when the sockets are there. A machine that recorded something before that records
    /// nothing.
    ///
    /// # Errors
    /// It exists by now, cannot be made, or patience is over before somebody reads it.
    pub(crate) fn open(&self, patience: &Patience) -> Result<(), Failure> {
        let Some(Target { path, force, file }) = self.target.as_deref() else { return Ok(()) };
        let (own, force) = (path.clone(), *force);
        let opened = patience.open(path, move || {
            let opened = match force {
                true => JournalFile::replace(&own),
                false => JournalFile::create_new(&own),
            };
            opened.map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => exists(FLAG, &own),
                ErrorKind::ResourceBusy => in_use(FLAG, &own),
                _ => {
                    Failure::unwritten(&error).advise("name a file in a folder that may be written")
                }
            })
        })?;
        file.get_or_init(|| opened);
        Ok(())
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
    recorder: Recorder<M, JournalSink>,
    failed: Arc<AtomicBool>,
    flushed: SystemInstant,
}

impl<M: Journaled> Recordable<M> {
    /// Hands what is recorded to the system, about once a second. The first time that this fails, of
    /// all machines, it is reported.
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
                .report(format_args!("error: {failure}\n  no more is recorded; the feed goes on"));
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
        let Config { machine, id, journal: Journal { target, commands, failed } } = config;
        let Some(sink) = target.map(JournalSink) else { return M::new(machine).map(Self::Plain) };
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
