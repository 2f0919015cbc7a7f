//! Where the bytes of one stream go if not into a folder or to a command: a file that is written to at once, or a
//! pipe that may make its writer wait.

use std::fs::File;
use std::io::{self, Write};

use bytes::Bytes;

use super::file::Gathered;
use super::pipes::{Signals, Writer};
use crate::io::standard;

/// A sink.
pub(crate) enum Sink {
    /// It takes everything at once.
    File(Gathered),
    /// It has a thread.
    Pipe(Writer),
}

impl Sink {
    /// Standard output.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn standard_output(key: u64, signals: Signals) -> io::Result<Self> {
        Self::of(standard::Output, standard::Output::file(), key, signals)
    }

    /// Standard error.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn standard_error(key: u64, signals: Signals) -> io::Result<Self> {
        Self::of(standard::Errors, standard::Errors::file(), key, signals)
    }

    /// What takes everything at once if it is a file, or has a thread.
    fn of(
        stream: impl Write + Send + 'static,
        file: io::Result<Option<File>>,
        key: u64,
        signals: Signals,
    ) -> io::Result<Self> {
        Ok(match file? {
            Some(file) => Self::File(Gathered::new(file)),
            None => Self::Pipe(Writer::new(|| Ok(stream), key, signals)?),
        })
    }

    /// The same, with room for so many bytes more that wait to be written.
    pub(crate) fn with_spare(self, bytes: usize) -> Self {
        match self {
            Self::File(_) => self,
            Self::Pipe(writer) => Self::Pipe(writer.with_spare(bytes)),
        }
    }

    /// Gives the next bytes; whether there is room for more.
    ///
    /// # Errors
    /// They cannot be written.
    pub(crate) fn push(&mut self, bytes: Bytes) -> io::Result<bool> {
        match self {
            Self::File(file) => file.push(bytes).map(|()| true),
            Self::Pipe(writer) => Ok(writer.push(bytes)),
        }
    }

    /// Whether there is room again.
    pub(crate) fn go_on(&mut self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Pipe(writer) => writer.go_on(),
        }
    }

    /// Hands everything to the system, or to the thread that does.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write_out(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_out(),
            Self::Pipe(_) => Ok(()),
        }
    }

    /// Nothing comes after what was pushed.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_out(),
            Self::Pipe(writer) => {
                writer.end();
                Ok(())
            }
        }
    }

    /// How it ended: `None` while it is still being written.
    pub(crate) fn result(&self) -> Option<io::Result<()>> {
        match self {
            Self::File(_) => Some(Ok(())),
            Self::Pipe(writer) => writer.result().map(|result| match result {
                Ok(()) => Ok(()),
                Err(error) => Err(copy(error)),
            }),
        }
    }
}

/// An error again: the thread keeps the first.
pub(crate) fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
