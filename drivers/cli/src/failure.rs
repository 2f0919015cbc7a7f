//! How the program ends: its exit codes, and errors that say what went wrong, where, and what to do.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use gapless_mio::JournalError;
use gapless_quic::tls::TlsError;

use crate::advice;
use crate::signal::Signal;

/// The meaning of the program's exit code. Documented in `--help`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Nothing is missing.
    Complete,
    /// Something was lost; standard error names it.
    Lost,
    /// A replay differs from what was recorded; standard error says how.
    Differs,
    /// The command line makes no sense.
    Usage,
    /// A time limit passed before the end.
    TimedOut,
    /// A file, a socket or an input could not be read or written.
    Io,
    /// Nobody answers where a peer should be.
    Unreachable,
    /// One side does not believe the other's certificate.
    Untrusted,
    /// The peer speaks another protocol.
    WrongProtocol,
    /// The peer takes no streams of this tag.
    RefusedTag,
    /// A command that was given a stream failed.
    CommandFailed,
    /// A signal ended it before its work was done, and nothing was lost by then.
    Interrupted(Signal),
    /// The reader of standard output is gone: nothing is said of it, as by any program in a pipeline.
    ReaderGone,
}

impl Outcome {
    /// The exit code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Lost | Self::Differs => 1,
            Self::Usage => 2,
            Self::TimedOut => 3,
            Self::Io => 4,
            Self::Unreachable => 5,
            Self::Untrusted => 6,
            Self::WrongProtocol => 7,
            Self::RefusedTag => 8,
            Self::CommandFailed => 9,
            Self::Interrupted(signal) => signal.code(),
            // The code that a shell gives to a program that SIGPIPE ended.
            Self::ReaderGone => 141,
        }
    }

    /// Its name in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Unreachable => "unreachable",
            Self::Untrusted => "untrusted",
            Self::WrongProtocol => "wrong_protocol",
            Self::RefusedTag => "refused",
            Self::Interrupted(_) => "interrupted",
            Self::Io | Self::Usage => "failed",
            Self::Lost
            | Self::Differs
            | Self::TimedOut
            | Self::CommandFailed
            | Self::ReaderGone => "broken_off",
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome.code())
    }
}

/// An error that ends the program.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) outcome: Outcome,
    what: String,
    advice: Option<String>,
    /// The command's own JSON object has it already.
    pub(crate) is_in_json: bool,
}

/// The system's error without the name of a temporary file, which nobody asked for.
pub(crate) fn plain(error: &io::Error) -> &io::Error {
    let source = error.get_ref().and_then(|inner| inner.source());
    source.and_then(|source| source.downcast_ref()).unwrap_or(error)
}

impl Failure {
    /// The command line asks for something that cannot be.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Outcome::Usage, what)
    }

    /// Reading or writing `place` failed.
    pub(crate) fn io(doing: &str, place: impl fmt::Display, error: &io::Error) -> Self {
        Self::new(Outcome::Io, format!("cannot {doing} {place}: {}", plain(error)))
    }

    /// Writing to standard output failed.
    pub(crate) fn standard_output(error: &io::Error) -> Self {
        Self::of_reader("standard output", error)
    }

    /// Writing to standard error failed, where that is not of no account.
    pub(crate) fn standard_error(error: &io::Error) -> Self {
        Self::of_reader("standard error", error)
    }

    fn of_reader(stream: &str, error: &io::Error) -> Self {
        let failure = Self::io("write to", stream, error);
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { outcome: Outcome::ReaderGone, ..failure },
            _ => failure,
        }
    }

    /// Reading or writing a file failed.
    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::io(doing, path.display(), error)
    }

    /// A journal cannot be made or written.
    pub(crate) fn unwritten(error: &JournalError) -> Self {
        Self::new(Outcome::Io, error.to_string())
    }

    /// An input is not what it should be.
    pub(crate) fn content(what: impl Into<String>) -> Self {
        Self::new(Outcome::Io, what)
    }

    /// A peer cannot be reached.
    pub(crate) fn unreachable(what: impl Into<String>) -> Self {
        Self::new(Outcome::Unreachable, what)
    }

    /// An end that says itself what it is.
    pub(crate) fn new(outcome: Outcome, what: impl Into<String>) -> Self {
        Self { outcome, what: what.into(), advice: None, is_in_json: false }
    }

    /// The same, of which the command's own JSON object speaks.
    pub(crate) fn in_json(mut self) -> Self {
        self.is_in_json = true;
        self
    }

    /// The words for it, without those on what to do.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// The same, with a word on what to do about it.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl From<gapless_mio::Error> for Failure {
    fn from(error: gapless_mio::Error) -> Self {
        use gapless_mio::Error;
        let (outcome, advice) = match &error {
            Error::Line { action, address, source } => {
                (Outcome::Io, advice::on_socket(action, address.destination(), source))
            }
            Error::Requests { action, address, source } => {
                (Outcome::Io, advice::on_socket(action, *address, source))
            }
            Error::Poll(_) | Error::Read { .. } => (Outcome::Io, None),
            Error::LineTwice { .. }
            | Error::LineExists(_)
            | Error::TooMany { .. }
            | Error::Receiver(_)
            | Error::Publisher(_) => (Outcome::Usage, None),
        };
        Self { advice: advice.map(str::to_owned), ..Self::new(outcome, error.to_string()) }
    }
}

impl From<gapless_quic::Error> for Failure {
    fn from(error: gapless_quic::Error) -> Self {
        let advice = match &error {
            gapless_quic::Error::Socket { action, address, source } => {
                advice::on_socket(action, *address, source)
            }
            _ => None,
        };
        Self { advice: advice.map(str::to_owned), ..Self::new(Outcome::Io, error.to_string()) }
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        let outcome = match &error {
            TlsError::Name { .. } | TlsError::NoNames | TlsError::NoPins => Outcome::Usage,
            _ => Outcome::Io,
        };
        Self::new(outcome, error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.advice {
            Some(advice) => write!(f, "\n  {advice}"),
            None => Ok(()),
        }
    }
}
