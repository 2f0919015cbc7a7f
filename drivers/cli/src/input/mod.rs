//! What is published: messages out of files, standard input, captures, or nowhere.

mod binaryfile;
pub(crate) mod flow;
mod lines;
mod messages;
pub(crate) mod pcap;
mod piped;

pub(crate) use messages::{First, Messages, Next};

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::io::file::Whole;
use crate::io::place::{check_open, is_pipe, is_standard, name};
use crate::io::standard;

/// The messages of a binaryfile, as [`ahead`].
///
/// # Errors
/// The input cannot be opened.
pub(crate) fn binaryfile(path: &Path) -> Result<Box<dyn Messages>, Failure> {
    Ok(ahead(path, binaryfile::Binaryfile::new(open(path)?, name(path))))
}

/// The lines of a text, as [`ahead`].
///
/// # Errors
/// The input cannot be opened.
pub(crate) fn lines(path: &Path) -> Result<Box<dyn Messages>, Failure> {
    Ok(ahead(path, lines::Lines::new(open(path)?, name(path))))
}

/// What may make its reader wait (standard input, a pipe) is read by a thread, so that the feed's
/// heartbeats and answers do not wait with it.
fn ahead(path: &Path, messages: impl Messages + 'static) -> Box<dyn Messages> {
    if is_pipe(path) {
        return Box::new(piped::Piped::new(Box::new(messages)));
    }
    Box::new(messages)
}

/// Opens a file, or standard input, for reading piece by piece.
///
/// # Errors
/// There is no such file, or it may not be read.
pub(crate) fn open(path: &Path) -> Result<Box<dyn BufRead + Send>, Failure> {
    if is_standard(path) {
        let input = standard::Input::open()
            .map_err(|error| Failure::io("read", "standard input", &error))?;
        return Ok(Box::new(BufReader::with_capacity(1 << 16, input)));
    }
    // Opening a named pipe waits for who writes to it, which is the reader's business.
    let metadata = check_open(path).and_then(|()| path.metadata());
    let there = metadata.and_then(|there| match there.is_file() || there.is_dir() {
        true => File::open(path).and_then(Whole::new).map(Some),
        false => Ok(None),
    });
    let file = there.map_err(|error| {
        let failure = Failure::file("open", path, &error);
        match error.kind() {
            io::ErrorKind::NotFound => failure.advise("name a file that exists, or `-`"),
            _ => failure,
        }
    })?;
    if path.is_dir() {
        return Err(Failure::content(format!("cannot read {}: it is a folder", path.display()))
            .advise("name a file, or `-` for standard input"));
    }
    Ok(match file {
        Some(file) => Box::new(BufReader::with_capacity(1 << 18, file)),
        None => {
            let pipe = Late { path: path.to_owned(), pipe: None };
            Box::new(BufReader::with_capacity(1 << 16, pipe))
        }
    })
}

/// A pipe that is opened when it is first read.
struct Late {
    path: PathBuf,
    pipe: Option<File>,
}

impl Read for Late {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let pipe = match &mut self.pipe {
            Some(pipe) => pipe,
            pipe => pipe.insert(File::open(&self.path)?),
        };
        pipe.read(into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let Err(failure) = open(Path::new("no/such/file")) else { panic!("opened") };
        assert!(failure.to_string().contains("cannot open no/such/file"), "{failure}");
    }

    #[test]
    fn a_folder_is_no_input() {
        let folder = tempfile::tempdir().unwrap();
        let Err(failure) = open(folder.path()) else { panic!("opened") };
        assert!(failure.to_string().contains("it is a folder"), "{failure}");
    }
}
