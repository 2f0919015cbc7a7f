//! Standard input, output and error. Whoever shares them may have set them non-blocking: then they are
//! waited for. One that was closed when the program began is an error, though the standard library puts
//! `/dev/null` in its place.

use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use crate::failure::Failure;

pub(crate) use sys::{is_ready, read};

/// A stream that may make its writer wait.
pub(crate) trait Ready {
    /// Whether it takes something now, or comes to it before `within` is over.
    ///
    /// # Errors
    /// The system does not tell.
    fn is_ready(&self, within: Duration) -> io::Result<bool>;

    /// Whether it is a file, which keeps nobody waiting.
    fn is_file(&self) -> bool;
}

/// The file that standard input is directed to, if it is one: that keeps nobody waiting.
///
/// # Errors
/// It was closed when the program began, or the system does not tell what it is.
pub(crate) fn input() -> io::Result<Option<File>> {
    sys::check_input()?;
    sys::file_of(io::stdin())
}

/// Standard output or standard error, unbuffered. That there is the first is checked by [`check_output`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Output {
    Standard,
    Errors,
}

impl Output {
    /// The file that it is directed to, if it is one: that keeps nobody waiting.
    ///
    /// # Errors
    /// The system does not tell.
    pub(crate) fn file(self) -> io::Result<Option<File>> {
        match self {
            Self::Standard => sys::file_of(io::stdout()),
            Self::Errors => sys::file_of(io::stderr()),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[io::IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Standard => sys::write_output(bytes),
            Self::Errors => sys::write_errors(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ready for Output {
    fn is_ready(&self, within: Duration) -> io::Result<bool> {
        match self {
            Self::Standard => is_ready(io::stdout(), within),
            Self::Errors => is_ready(io::stderr(), within),
        }
    }

    fn is_file(&self) -> bool {
        self.file().is_ok_and(|file| file.is_some())
    }
}

/// Writes a text to standard output.
///
/// # Errors
/// Nobody reads it, or it cannot be written.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(text).map_err(|error| Failure::standard_output(&error))
}

/// The same, with the system's error.
///
/// # Errors
/// As [`print`].
pub(crate) fn write(text: &str) -> io::Result<()> {
    Output::Standard.write_all(text.as_bytes())
}

/// Checks that standard output is there: every command writes to it in the end.
///
/// # Errors
/// It was closed when the program began, or is only open for reading.
pub(crate) fn check_output() -> Result<(), Failure> {
    sys::check_output().map_err(|error| {
        Failure::standard_output(&error).advise("direct it to a file, or to /dev/null")
    })
}

/// Checks that a standard stream is there, by the number of its descriptor. That there are others, who opens
/// them sees.
///
/// # Errors
/// It was closed when the program began.
pub(crate) fn check_open(number: u32) -> io::Result<()> {
    sys::check_open(number)
}

#[cfg(unix)]
mod sys {
    use std::fs::File;
    use std::io::{self, IoSlice};
    use std::sync::atomic::{AtomicU8, Ordering};
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fd::{AsFd, BorrowedFd};
    use rustix::fs::{OFlags, fcntl_getfl};
    use rustix::io::{Errno, fcntl_getfd, read as read_once, writev};
    use rustix::stdio::{stderr, stdin, stdout};

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

    pub(super) fn check_open(number: u32) -> io::Result<()> {
        match number <= STDERR && CLOSED.load(Ordering::Relaxed) >> number & 1 == 1 {
            true => Err(Errno::BADF.into()),
            false => Ok(()),
        }
    }

    fn check(stream: BorrowedFd<'_>, number: u32, useless: OFlags) -> io::Result<()> {
        check_open(number)?;
        match fcntl_getfl(stream)? & OFlags::ACCMODE == useless {
            true => Err(Errno::BADF.into()),
            false => Ok(()),
        }
    }

    pub(super) fn check_input() -> io::Result<()> {
        check(stdin(), STDIN, OFlags::WRONLY)
    }

    pub(super) fn check_output() -> io::Result<()> {
        check(stdout(), STDOUT, OFlags::RDONLY)
    }

    pub(super) fn file_of(stream: impl AsFd) -> io::Result<Option<File>> {
        let file = File::from(stream.as_fd().try_clone_to_owned()?);
        Ok(file.metadata()?.is_file().then_some(file))
    }

    /// Reads from standard input.
    pub(crate) fn read(into: &mut [u8]) -> io::Result<usize> {
        waiting(stdin(), PollFlags::IN, || read_once(stdin(), &mut *into))
    }

    pub(super) fn write_output(bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        waiting(stdout(), PollFlags::OUT, || writev(stdout(), bytes))
    }

    pub(super) fn write_errors(bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        waiting(stderr(), PollFlags::OUT, || writev(stderr(), bytes))
    }

    /// Whether a stream takes something, or its reader is gone, before `within` is over.
    pub(crate) fn is_ready(stream: impl AsFd, within: Duration) -> io::Result<bool> {
        let within = Timespec::try_from(within).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(&mut [PollFd::new(&stream, PollFlags::OUT)], Some(&within)) {
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
                Err(Errno::AGAIN) => {
                    match poll(&mut [PollFd::from_borrowed_fd(stream, ready)], None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                result => return result.map_err(io::Error::from),
            }
        }
    }
}

#[cfg(not(unix))]
mod sys {
    use std::fs::File;
    use std::io::{self, IoSlice, Read, Write};
    use std::time::Duration;

    pub(crate) fn is_ready<T>(_stream: T, _within: Duration) -> io::Result<bool> {
        Ok(true)
    }

    pub(super) fn check_open(_number: u32) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn check_input() -> io::Result<()> {
        Ok(())
    }

    pub(super) fn check_output() -> io::Result<()> {
        Ok(())
    }

    pub(super) fn file_of<T>(_stream: T) -> io::Result<Option<File>> {
        Ok(None)
    }

    /// Reads from standard input.
    pub(crate) fn read(into: &mut [u8]) -> io::Result<usize> {
        io::stdin().read(into)
    }

    pub(super) fn write_output(bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut output = io::stdout().lock();
        let written = output.write_vectored(bytes)?;
        output.flush().map(|()| written)
    }

    pub(super) fn write_errors(bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        io::stderr().write_vectored(bytes)
    }
}
