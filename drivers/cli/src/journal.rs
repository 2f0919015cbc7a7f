//! `--journal`: machines that are recorded where that is wished, and a journal that is seen to while
//! the program runs.

use std::cell::Cell;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant as SystemInstant};

use gapless_core::Machine;
use gapless_core::journal::{self, Journaled, Sink, recorder};
use gapless_mio::{JournalError, JournalFile};

use crate::args::Journaling;
use crate::failure::{Failure, Outcome};
use crate::io::patience::Patience;
use crate::io::place::{Place, exists, in_use};
use crate::progress::Progress;

/// The flag that names the journal.
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
pub(crate) struct JournalSink {
    target: Arc<Target>,
    failed: Arc<AtomicBool>,
    flushed: Cell<SystemInstant>,
}

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
        let file = self.target.file.get().ok_or(SinkError::Closed)?;
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
    ) -> impl FnOnce(M::Config) -> Result<Recorder<M>, M::Error> + use<M> {
        let Self { target, commands, failed } = self.clone();
        let flushed = Cell::new(SystemInstant::now());
        let sink = target.map(|target| JournalSink { target, failed, flushed });
        move |machine| Recorder::new(recorder::Config { machine, id, sink, commands })
    }

    /// The failure that the program ends with: a journal that lacks something is not complete.
    pub(crate) fn outcome(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Complete if self.failed.load(Ordering::Relaxed) => Outcome::Io,
            outcome => outcome,
        }
    }
}

/// A machine of the program, recorded or not.
pub(crate) type Recorder<M> = journal::Recorder<M, JournalSink>;

/// Hands what is recorded to the system.
pub(crate) trait Kept {
    /// Does so about once a second. The first time that this fails, of all machines, it is reported.
    fn keep(&mut self, progress: &Progress);

    /// The same in the end.
    fn close(&mut self, progress: &Progress);
}

impl<M: Journaled> Kept for Recorder<M> {
    fn keep(&mut self, progress: &Progress) {
        if self.sink().is_some_and(|sink| sink.flushed.get().elapsed() >= FLUSH_EVERY) {
            self.close(progress);
        }
    }

    fn close(&mut self, progress: &Progress) {
        let Some(sink) = self.sink() else { return };
        sink.flushed.set(SystemInstant::now());
        let failed = sink.failed.clone();
        if let Err(failure) = self.flush()
            && !failed.swap(true, Ordering::Relaxed)
        {
            progress
                .report(format_args!("error: {failure}\n  no more is recorded; the feed goes on"));
        }
    }
}
