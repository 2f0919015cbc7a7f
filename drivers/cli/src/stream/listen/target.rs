//! Where streams go: to standard output, to files of a folder, or to commands.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;

use super::command::{Command, Killed};
use super::ended::End;
use super::queue::Network;
use super::store::{Folder, Part};
use crate::io::signals::Signals;
use crate::io::sink::Sink;
use crate::io::standard;

/// Where all streams go.
pub(super) enum Output {
    /// To standard output, one after the other.
    Standard,
    /// To files.
    Folder(Folder),
    /// To commands.
    Command(OsString),
}

impl Output {
    /// Whether a stream can make use of a turn before anything of it came: a file is made when there is something to
    /// be put into it.
    pub(super) const fn takes_nothing_yet(&self) -> bool {
        !matches!(self, Self::Folder(_))
    }

    /// How many files that are not whole were removed.
    pub(super) const fn removed_parts(&self) -> u64 {
        if let Self::Folder(folder) = self { folder.removed } else { 0 }
    }

    /// Begins what the stream `key` goes to, which raises that key.
    ///
    /// # Errors
    /// A file cannot be made, or there is no descriptor, process or thread.
    pub(super) fn begin(
        &mut self,
        key: u64,
        tag: &[u8],
        peer: SocketAddr,
        is_answered: bool,
        signals: &Signals,
    ) -> io::Result<Target> {
        match self {
            Self::Standard => {
                let output = standard::Output::Standard;
                let sink = Sink::standard(output, 0, key, signals.clone())?;
                Ok(Target::Output(sink, None))
            }
            Self::Folder(folder) => folder.begin(tag).map(Target::Part),
            Self::Command(line) => {
                let command = Command::start(line, tag, peer, is_answered, key, signals)?;
                Ok(Target::Command(Box::new(command)))
            }
        }
    }

    /// How a stream ends that cannot begin.
    pub(super) const fn not_begun(&self, error: io::Error) -> End {
        match self {
            Self::Command(_) => End::CannotStart(error),
            Self::Standard | Self::Folder(_) => End::CannotStore(error),
        }
    }

    /// A stream of a client has ended so: how it did in the end, what there is of it in a file, and its command
    /// that was killed.
    pub(super) fn close(
        &mut self,
        target: Target,
        client: Network,
        end: End,
    ) -> (End, Option<PathBuf>, Option<Killed>) {
        match (target, self) {
            (Target::Part(part), Self::Folder(folder)) => match end {
                End::Complete => match folder.finish(part, client) {
                    Ok(path) => (end, Some(path), None),
                    Err(unfinished) => (End::CannotStore(unfinished.error), unfinished.part, None),
                },
                // A part that cannot be written would only keep a disk full.
                End::CannotStore(_) => {
                    part.discard();
                    (end, None, None)
                }
                _ => (end, folder.abandon(part, client), None),
            },
            // One that failed or was content is gone; what it may have left goes on.
            (Target::Command(command), _) => (end, None, Some(command.kill())),
            _ => (end, None, None),
        }
    }
}

/// Where the bytes of a stream go.
pub(super) enum Target {
    /// Nowhere yet: others come first. What came with its tag is kept.
    Waiting(Bytes),
    /// To a file of a folder.
    Part(Part),
    /// To standard output; and how the stream ended, if it was broken off: the next begins when this
    /// is written.
    Output(Sink, Option<End>),
    /// To a command.
    Command(Box<Command>),
}

impl Target {
    /// Whether it has its turn.
    pub(super) const fn is_active(&self) -> bool {
        !matches!(self, Self::Waiting(_))
    }

    /// Gives the next bytes; whether there is room for more.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn push(&mut self, bytes: Bytes) -> io::Result<bool> {
        match self {
            Self::Waiting(first) => {
                debug_assert!(first.is_empty(), "a stream that waits is not read");
                *first = bytes;
                Ok(false)
            }
            Self::Part(part) => part.push(bytes).map(|()| true),
            Self::Output(sink, _) => sink.push(bytes),
            Self::Command(command) => Ok(command.input.push(bytes)),
        }
    }

    /// Nothing comes after what was given.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Waiting(_) | Self::Part(_) => Ok(()),
            Self::Output(sink, _) => sink.end(),
            Self::Command(command) => {
                command.input.end();
                Ok(())
            }
        }
    }

    /// Hands what was written to a file to the system.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write_out(&mut self) -> io::Result<()> {
        match self {
            Self::Part(part) => part.write_out(),
            Self::Output(sink, _) => sink.write_out(),
            Self::Waiting(_) | Self::Command(_) => Ok(()),
        }
    }
}
