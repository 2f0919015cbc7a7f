//! Standard input, output and error. Whoever shares them may have set them non-blocking: then they are
//! waited for. One that was closed when the program began is an error, though the standard library puts
//! `/dev/null` in its place.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{Errno, fcntl_getfd, read as read_once, writev};
use rustix::stdio::{stderr, stdin, stdout};

use crate::failure::Failure;

/// The streams that were closed when the process began, a bit each, by the number of its descriptor.
static CLOSED: AtomicU8 = AtomicU8::new(0);
const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

// Before `main` the standard library opens /dev/null for what is closed, which nobody can tell from a
// /dev/null that was meant. These three system calls need nothing of the library.
ctor::declarative::ctor! {
    #[ctor(unsafe)]
    fn note_closed() {
        for (stream, number) in [(stdin(), STDIN), (stdout(), STDOUT), (stderr(), STDERR)] {
            if fcntl_getfd(stream) == Err(Errno::BADF) {
                CLOSED.fetch_or(1 << number, Ordering::Relaxed);
            }
        }
    }
}

/// The file that standard input is directed to, if it is one: that keeps nobody waiting.
///
/// # Errors
/// It was closed when the program began, or the system does not say what it is.
pub(crate) fn input() -> io::Result<Option<File>> {
    check(stdin(), STDIN, OFlags::WRONLY)?;
    file_of(stdin())
}

/// Reads from standard input.
///
/// # Errors
/// The system's.
pub(crate) fn read(into: &mut [u8]) -> io::Result<usize> {
    waiting(stdin(), PollFlags::IN, || read_once(stdin(), &mut *into))
}

/// Standard output or standard error, unbuffered. That there is the first is checked by [`check_output`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Output {
    Standard,
    Errors,
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Standard => stdout(),
            Self::Errors => stderr(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        waiting(self.as_fd(), PollFlags::OUT, || writev(self.as_fd(), bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a text to standard output.
///
/// # Errors
/// Nobody reads it, or it cannot be written.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let written = Output::Standard.write_all(text.as_bytes());
    written.map_err(|error| Failure::standard_output(&error))
}

/// Checks that standard output is there: every command writes to it in the end.
///
/// # Errors
/// It was closed when the program began, or is only open for reading.
pub(crate) fn check_output() -> Result<(), Failure> {
    check(stdout(), STDOUT, OFlags::RDONLY).map_err(|error| {
        Failure::standard_output(&error).advise("direct it to a file, or to /dev/null")
    })
}

fn check(stream: BorrowedFd<'_>, number: u32, useless: OFlags) -> io::Result<()> {
    check_open(number)?;
    match fcntl_getfl(stream)? & OFlags::ACCMODE == useless {
        true => Err(Errno::BADF.into()),
        false => Ok(()),
    }
}

/// Checks that a standard stream is there, by the number of its descriptor. That there are others, who opens
/// them sees.
///
/// # Errors
/// It was closed when the program began.
pub(crate) fn check_open(number: u32) -> io::Result<()> {
    match number <= STDERR && CLOSED.load(Ordering::Relaxed) >> number & 1 == 1 {
        true => Err(Errno::BADF.into()),
        false => Ok(()),
    }
}

/// The file that a stream is directed to, if it is one: that keeps nobody waiting.
///
/// # Errors
/// The system does not say.
pub(crate) fn file_of(stream: impl AsFd) -> io::Result<Option<File>> {
    let file = File::from(stream.as_fd().try_clone_to_owned()?);
    Ok(file.metadata()?.is_file().then_some(file))
}

/// Whether a stream takes something, or its reader is gone, before `within` is over.
///
/// # Errors
/// The system does not say.
pub(crate) fn is_ready(stream: &impl AsFd, within: Duration) -> io::Result<bool> {
    let within = Timespec::try_from(within).map_err(|_| io::ErrorKind::InvalidInput)?;
    match poll(&mut [PollFd::new(stream, PollFlags::OUT)], Some(&within)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Tries until the stream is ready.
fn waiting(
    stream: BorrowedFd<'_>,
    ready: PollFlags,
    mut attempt: impl FnMut() -> Result<usize, Errno>,
) -> io::Result<usize> {
    loop {
        match attempt() {
            Err(Errno::AGAIN) => match poll(&mut [PollFd::from_borrowed_fd(stream, ready)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            },
            result => return result.map_err(io::Error::from),
        }
    }
}
