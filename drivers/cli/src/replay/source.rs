//! The journal that is replayed: a file, or a pipe that is read by a thread because it may take for
//! ever; and how far it is read.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use gapless_core::journal::{Io, Source};

use crate::failure::Failure;
use crate::io::ahead::{self, Ahead, Next};
use crate::io::input::Input;
use crate::io::place::{STANDARD, check_open, is_standard};
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
    /// The journal at a path, or in standard input for `-`.
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
        let path = self.path.as_deref().unwrap_or(Path::new(STANDARD));
        let opened = Input::new(path).and_then(|input| -> io::Result<Box<dyn Read>> {
            if self.can_be_read_again() {
                return Ok(Box::new(input));
            }
            let blocks = ahead::bytes(input, || {})?;
            Ok(Box::new(Piped { blocks, block: Bytes::new(), stop: stop.clone() }))
        });
        opened.map_err(|error| self.unread(&error))
    }

    /// It could not be read.
    pub(super) fn unread(&self, error: &io::Error) -> Failure {
        Failure::io("read journal", &self.name, error)
    }
}

/// Reads it, from its beginning, until somebody wants an end.
pub(super) struct Reader<'a> {
    source: Io<BufReader<Box<dyn Read>>>,
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
        let source = Io(BufReader::with_capacity(1 << 18, journal.open(stop)?));
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
    blocks: Ahead<Bytes, io::Error>,
    block: Bytes,
    stop: Stop,
}

impl Piped {
    /// How often it is looked whether somebody wants an end.
    const TICK: Duration = Duration::from_millis(50);
}

impl Read for Piped {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.block.is_empty() {
            match self.blocks.wait(Self::TICK)? {
                Next::Item(block) => self.block = block,
                Next::End => return Ok(0),
                Next::NotYet if self.stop.is_asked() => return Err(interrupted()),
                Next::NotYet => {}
            }
        }
        let count = into.len().min(self.block.len());
        into[..count].copy_from_slice(&self.block.split_to(count));
        Ok(count)
    }
}
