//! The messages that are published: out of files, standard input, captures, or nowhere.

mod binaryfile;
pub(crate) mod flow;
mod lines;
mod messages;
pub(crate) mod pcap;
mod piped;

use piped::Piped;

pub(crate) use messages::{First, Messages, Next};

use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::failure::Failure;
use crate::io::input::Input;
use crate::io::place::{is_pipe, name};

/// The messages of a binaryfile, as [`ahead`].
///
/// # Errors
/// The input cannot be opened.
pub(crate) fn binaryfile(path: &Path) -> Result<Box<dyn Messages>, Failure> {
    ahead(path, binaryfile::Binaryfile::new(open(path)?, name(path)))
}

/// The lines of a text, as [`ahead`].
///
/// # Errors
/// The input cannot be opened.
pub(crate) fn lines(path: &Path) -> Result<Box<dyn Messages>, Failure> {
    ahead(path, lines::Lines::new(open(path)?, name(path)))
}

/// A source that may make its reader wait (standard input, a pipe) is read by a thread, so that the feed's
/// heartbeats and answers do not wait with it.
fn ahead(path: &Path, messages: impl Messages + 'static) -> Result<Box<dyn Messages>, Failure> {
    Ok(match is_pipe(path) {
        true => Box::new(Piped::new(messages)?),
        false => Box::new(messages),
    })
}

/// Opens a file, or standard input, for reading piece by piece.
///
/// # Errors
/// There is no such file, or it may not be read.
fn open(path: &Path) -> Result<Box<dyn BufRead + Send>, Failure> {
    Ok(Box::new(BufReader::with_capacity(1 << 18, Input::open(path)?)))
}
