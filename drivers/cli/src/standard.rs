//! Standard input, output and error. Whoever shares them may have set them non-blocking: then they are
//! waited for. One that was closed when the program began is an error, though the standard library puts
//! `/dev/null` in its place.

use std::fs::File;
use std::io::{self, Read, Write};

use crate::failure::Failure;

/// Standard input, unbuffered.
pub(crate) struct Input(());

impl Input {
    /// Standard input, if there is one.
    ///
    /// # Errors
    /// It was closed when the program began.
    pub(crate) fn open() -> io::Result<Self> {
        sys::check_input().map(Self)
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        sys::read(into)
    }
}

/// Standard output, unbuffered. That there is one is checked by [`check_output`].
pub(crate) struct Output;

impl Output {
    /// The file that it is directed to, if it is one: that keeps nobody waiting.
    ///
    /// # Errors
    /// The system does not tell.
    pub(crate) fn file() -> io::Result<Option<File>> {
        sys::file_of(io::stdout())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        sys::write_output(&[io::IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        sys::write_output(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard error, unbuffered.
pub(crate) struct Errors;

impl Errors {
    /// The file that it is directed to, as [`Output::file`].
    ///
    /// # Errors
    /// The system does not tell.
    pub(crate) fn file() -> io::Result<Option<File>> {
        sys::file_of(io::stderr())
    }
}

impl Write for Errors {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        sys::write_errors(&[io::IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        sys::write_errors(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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

#[cfg(unix)]
mod sys {
    use std::fs::File;
    use std::io::{self, IoSlice};
    use std::sync::atomic::{AtomicU8, Ordering};

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::fd::{AsFd, BorrowedFd};
    use rustix::fs::{OFlags, fcntl_getfl};
    use rustix::io::{Errno, fcntl_getfd, read as read_once, writev};
    use rustix::stdio::{stderr, stdin, stdout};

    /// The streams that were closed when the process began, a bit each.
    static CLOSED: AtomicU8 = AtomicU8::new(0);
    const STDIN: u8 = 1;
    const STDOUT: u8 = 2;

    // Before `main` the standard library opens /dev/null for what is closed, which nobody can tell from a
    // /dev/null that was meant. These two system calls need nothing of the library.
    ctor::declarative::ctor! {
        #[ctor(unsafe)]
        fn note_closed() {
            for (stream, bit) in [(stdin(), STDIN), (stdout(), STDOUT)] {
                if fcntl_getfd(stream) == Err(Errno::BADF) {
                    CLOSED.fetch_or(bit, Ordering::Relaxed);
                }
            }
        }
    }

    fn check(stream: BorrowedFd<'_>, bit: u8, useless: OFlags) -> io::Result<()> {
        let mode = fcntl_getfl(stream)? & OFlags::ACCMODE;
        match CLOSED.load(Ordering::Relaxed) & bit != 0 || mode == useless {
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

    pub(super) fn read(into: &mut [u8]) -> io::Result<usize> {
        waiting(stdin(), PollFlags::IN, || read_once(stdin(), &mut *into))
    }

    pub(super) fn write_output(bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        waiting(stdout(), PollFlags::OUT, || writev(stdout(), bytes))
    }

    pub(super) fn write_errors(bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        waiting(stderr(), PollFlags::OUT, || writev(stderr(), bytes))
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

    pub(super) fn check_input() -> io::Result<()> {
        Ok(())
    }

    pub(super) fn check_output() -> io::Result<()> {
        Ok(())
    }

    pub(super) fn file_of<T>(_stream: T) -> io::Result<Option<File>> {
        Ok(None)
    }

    pub(super) fn read(into: &mut [u8]) -> io::Result<usize> {
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
