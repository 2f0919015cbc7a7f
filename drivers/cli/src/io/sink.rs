//! Where the bytes of one stream go if not into a folder or to a command: a file that is written to at once, or a
//! pipe that may make its writer wait.

use std::io;

use bytes::Bytes;

use super::file::Gathered;
use super::signals::Signals;
use super::standard::{Output, file_of};
use super::writer::Writer;

/// A sink.
pub(crate) enum Sink {
    /// It takes everything at once.
    File(Gathered),
    /// It has a thread.
    Pipe(Writer),
}

impl Sink {
    /// Standard output or standard error: a file takes everything at once, anything else has a thread, and room for
    /// `spare` bytes beside its queue.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn standard(
        output: Output,
        spare: usize,
        key: u64,
        signals: Signals,
    ) -> io::Result<Self> {
        Ok(match file_of(output)? {
            Some(file) => Self::File(Gathered::new(file)),
            None => Self::Pipe(Writer::new(move || Ok(output), spare, key, signals)?),
        })
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

    /// Whether there is room for more; if not, its key is raised when there is.
    pub(crate) fn has_room(&self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Pipe(writer) => writer.has_room(),
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
