//! Inputs: a file, standard input, a pipe, a device.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use super::file::Whole;
use super::place::{check_open, is_standard, name};
use super::standard;
use crate::failure::Failure;

/// An input.
pub(crate) enum Input {
    /// A file: that keeps nobody waiting, and may be cut short.
    File(Whole),
    /// Standard input that is no file.
    Standard,
    /// A pipe or a device, which is opened when it is first read: opening a named pipe waits for who writes to it.
    Pipe(Late<File>),
}

impl Input {
    /// Opens a file, or standard input, whose error is said in the same words everywhere.
    ///
    /// # Errors
    /// There is no such file, or it may not be read.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        Self::new(path).map_err(|error| match error.kind() {
            _ if is_standard(path) => Failure::io("read", name(path), &error),
            ErrorKind::NotFound => {
                Failure::file("open", path, &error).advise("name a file that exists, or `-`")
            }
            ErrorKind::IsADirectory => {
                Failure::content(format!("cannot read {}: it is a folder", path.display()))
                    .advise("name a file, or `-` for standard input")
            }
            _ => Failure::file("open", path, &error),
        })
    }

    /// The same, with the system's error.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        if is_standard(path) {
            let file = standard::input()?;
            return Ok(file.map(Whole::new).transpose()?.map_or(Self::Standard, Self::File));
        }
        check_open(path)?;
        match path.metadata()? {
            there if there.is_dir() => Err(ErrorKind::IsADirectory.into()),
            there if there.is_file() => File::open(path).and_then(Whole::new).map(Self::File),
            _ => {
                let path = path.to_owned();
                Ok(Self::Pipe(Late::new(|| File::open(path))))
            }
        }
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(into),
            Self::Standard => standard::read(into),
            Self::Pipe(pipe) => pipe.read(into),
        }
    }
}

/// A source that is opened when it is first read.
pub(crate) enum Late<R> {
    Closed(Option<Box<dyn FnOnce() -> io::Result<R> + Send>>),
    Open(R),
}

impl<R: Read> Late<R> {
    /// It is opened by `open`, which may take its time.
    pub(crate) fn new(open: impl FnOnce() -> io::Result<R> + Send + 'static) -> Self {
        Self::Closed(Some(Box::new(open)))
    }
}

impl<R: Read> Read for Late<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let Self::Closed(open) = self {
            // A source that could not be opened is at its end.
            let Some(open) = open.take() else { return Ok(0) };
            *self = Self::Open(open()?);
        }
        if let Self::Open(source) = self { source.read(into) } else { Ok(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let Err(failure) = Input::open(Path::new("no/such/file")) else { panic!("opened") };
        assert!(failure.to_string().contains("cannot open no/such/file"), "{failure}");
    }

    #[test]
    fn a_folder_is_no_input() {
        let folder = tempfile::tempdir().unwrap();
        let Err(failure) = Input::open(folder.path()) else { panic!("opened") };
        assert!(failure.to_string().contains("it is a folder"), "{failure}");
    }
}
