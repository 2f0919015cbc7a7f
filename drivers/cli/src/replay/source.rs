//! The journal that is replayed: a file, or a pipe that is read by a thread because it may take for
//! ever; and how far it is read.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use gapless_core::journal::Source;
use gapless_mio::JournalReader;

use crate::failure::Failure;
use crate::io::file::Whole;
use crate::io::place::check_open;
use crate::io::place::is_standard;
use crate::io::standard;
use crate::progress::Progress;
use crate::stop::Stop;

/// Where the journal is.
pub(super) struct Journal {
    /// `None` for standard input.
    path: Option<PathBuf>,
    /// For messages.
    pub(super) name: String,
    /// How long it is, of a file.
    length: Option<u64>,
}

impl Journal {
    /// What `-` or a path names.
    ///
    /// # Errors
    /// There is no such file.
    pub(super) fn new(path: &Path) -> Result<Self, Failure> {
        if is_standard(path) {
            return Ok(Self { path: None, name: "of standard input".into(), length: None });
        }
        let metadata = check_open(path)
            .and_then(|()| path.metadata())
            .map_err(|error| Failure::file("read journal", path, &error))?;
        Ok(Self {
            path: Some(path.to_owned()),
            name: path.display().to_string(),
            length: metadata.is_file().then_some(metadata.len()),
        })
    }

    /// Whether it is a file, and no pipe.
    pub(super) fn can_be_read_again(&self) -> bool {
        self.length.is_some()
    }

    /// Towards its end, where that is known.
    pub(super) fn progress(&self) -> Progress {
        Progress::new(self.length)
    }

    fn open(&self, stop: &Stop) -> Result<Box<dyn Read>, Failure> {
        let opened: io::Result<Box<dyn Read>> = match &self.path {
            Some(path) if self.can_be_read_again() => {
                File::open(path).and_then(Whole::new).map(|file| Box::new(file) as _)
            }
            path => Piped::new(path.clone(), stop.clone()).map(|pipe| Box::new(pipe) as _),
        };
        opened.map_err(|error| self.unread(&error))
    }

    /// It could not be read.
    pub(super) fn unread(&self, error: &io::Error) -> Failure {
        Failure::io("read journal", &self.name, error)
    }
}

/// Reads it, from its beginning, until somebody wants an end.
pub(super) struct Reader<'a> {
    source: JournalReader<BufReader<Box<dyn Read>>>,
    position: &'a Cell<u64>,
    progress: &'a mut Progress,
    stop: &'a Stop,
}

impl<'a> Reader<'a> {
    /// Counts in `position` the bytes that it read.
    pub(super) fn new(
        journal: &Journal,
        position: &'a Cell<u64>,
        progress: &'a mut Progress,
        stop: &'a Stop,
    ) -> Result<Self, Failure> {
        let source = JournalReader(BufReader::with_capacity(1 << 18, journal.open(stop)?));
        Ok(Self { source, position, progress, stop })
    }
}

impl Source for Reader<'_> {
    type Error = io::Error;

    fn read(&mut self, into: &mut [u8]) -> Result<usize, io::Error> {
        if self.stop.is_asked() {
            return Err(interrupted());
        }
        let count = self.source.read(into)?;
        self.position.set(self.position.get() + count as u64);
        self.progress.show(self.position.get(), || "bytes replayed");
        Ok(count)
    }
}

fn interrupted() -> io::Error {
    io::Error::other("interrupted")
}

/// The near end of a thread that opens and reads a pipe.
struct Piped {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Cursor<Vec<u8>>,
    stop: Stop,
}

impl Piped {
    /// Bytes that are read at once.
    const CHUNK: usize = 1 << 16;
    /// Chunks that are read ahead.
    const AHEAD: usize = 4;
    /// How often it is looked whether somebody wants an end.
    const TICK: Duration = Duration::from_millis(50);

    /// Starts to read. The thread ends with its input, or with the program.
    fn new(path: Option<PathBuf>, stop: Stop) -> io::Result<Self> {
        let (write, chunks) = sync_channel(Self::AHEAD);
        let read = move || {
            let opened: io::Result<Box<dyn Read>> = match path {
                Some(path) => File::open(path).map(|file| Box::new(file) as _),
                None => standard::Input::open().map(|input| Box::new(input) as _),
            };
            if let Err(error) = opened.and_then(|pipe| Self::read_all(pipe, &write)) {
                // Nobody may want it any more.
                let _ = write.send(Err(error));
            }
        };
        thread::Builder::new().spawn(read)?;
        Ok(Self { chunks, chunk: Cursor::default(), stop })
    }

    fn read_all(mut pipe: Box<dyn Read>, to: &SyncSender<io::Result<Vec<u8>>>) -> io::Result<()> {
        loop {
            let mut chunk = vec![0; Self::CHUNK];
            match pipe.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => chunk.truncate(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if to.send(Ok(chunk)).is_err() {
                return Ok(());
            }
        }
    }
}

impl Read for Piped {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.chunk.read(into)?;
            if count > 0 || into.is_empty() {
                return Ok(count);
            }
            match self.chunks.recv_timeout(Self::TICK) {
                Ok(chunk) => self.chunk = Cursor::new(chunk?),
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
                Err(RecvTimeoutError::Timeout) if self.stop.is_asked() => return Err(interrupted()),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}
