//! Where the bytes of a stream that is sent come from, for an event loop: a file, or what a thread reads ahead.

use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;

use super::ahead::{self, Ahead, BLOCK, Next};
use super::file::Whole;
use super::input::Input;
use super::place::name;
use super::signals::Signals;
use crate::failure::Failure;

/// A source.
pub(crate) enum Source {
    /// A file: it keeps nobody waiting.
    File(Whole),
    /// A source that may keep its reader waiting.
    Pipe(Ahead<Bytes, io::Error>),
}

impl Source {
    /// Opens a file or standard input; and how long it is, if that is known. `key` is raised when there is more.
    ///
    /// # Errors
    /// There is no such file, or it may not be read.
    pub(crate) fn open(
        path: &Path,
        key: u64,
        signals: Signals,
    ) -> Result<(Self, Option<u64>), Failure> {
        match Input::open(path)? {
            Input::File(file) => {
                let left = file.left();
                Ok((Self::File(file), Some(left)))
            }
            input => {
                let ahead = ahead::bytes(input, move || signals.raise(key));
                let ahead = ahead.map_err(|error| Failure::io("read", name(path), &error))?;
                Ok((Self::Pipe(ahead), None))
            }
        }
    }

    /// The next block.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Next<Bytes>> {
        match self {
            Self::File(file) => {
                let mut block = Vec::with_capacity(BLOCK);
                Ok(match file.take(BLOCK as u64).read_to_end(&mut block)? {
                    0 => Next::End,
                    _ => Next::Item(block.into()),
                })
            }
            Self::Pipe(ahead) => ahead.next(),
        }
    }
}
