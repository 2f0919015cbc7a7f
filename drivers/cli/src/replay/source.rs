//! The journal that is replayed: a file, or standard input, and how far it is read.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use gapless_core::journal::Source;
use gapless_mio::JournalReader;

use crate::failure::Failure;
use crate::input::is_standard;
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
        let metadata =
            path.metadata().map_err(|error| Failure::file("read journal", path, &error))?;
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

    fn open(&self) -> Result<Box<dyn Read>, Failure> {
        let Some(path) = &self.path else { return Ok(Box::new(io::stdin())) };
        match File::open(path) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(self.unread(&error)),
        }
    }

    /// It could not be read.
    pub(super) fn unread(&self, error: &io::Error) -> Failure {
        Failure::io("read journal", &self.name, error)
    }
}

/// Reads it, from its beginning, until somebody wants an end.
pub(super) struct Reader<'a> {
    source: JournalReader<BufReader<Box<dyn Read>>>,
    position: u64,
    progress: &'a mut Progress,
    stop: &'a Stop,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        journal: &Journal,
        progress: &'a mut Progress,
        stop: &'a Stop,
    ) -> Result<Self, Failure> {
        let source = JournalReader(BufReader::with_capacity(1 << 18, journal.open()?));
        Ok(Self { source, position: 0, progress, stop })
    }
}

impl Source for Reader<'_> {
    type Error = io::Error;

    fn read(&mut self, into: &mut [u8]) -> Result<usize, io::Error> {
        if self.stop.is_asked() {
            return Err(io::Error::other("interrupted"));
        }
        let count = self.source.read(into)?;
        self.position += count as u64;
        self.progress.show(self.position, || "bytes replayed");
        Ok(count)
    }
}
