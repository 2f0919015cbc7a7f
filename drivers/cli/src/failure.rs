//! How the program ends: its exit codes, and errors that say what went wrong, where, and what to do.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use gapless_mio::JournalError;
use gapless_quic::tls::TlsError;

use crate::stop::{Signal, Stop};

/// What the program's exit code says. Documented in `--help`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Nothing is missing.
    Complete,
    /// Something was lost; standard error names it.
    Lost,
    /// A replay differs from what was recorded; standard error tells how.
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
}

impl Failure {
    /// The command line asks for something that cannot be.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self { outcome: Outcome::Usage, what: what.into(), advice: None }
    }

    /// Reading or writing `place` failed.
    pub(crate) fn io(doing: &str, place: impl fmt::Display, error: &io::Error) -> Self {
        Self {
            outcome: Outcome::Io,
            what: format!("cannot {doing} {place}: {error}"),
            advice: None,
        }
    }

    /// Reading or writing a file failed.
    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::io(doing, path.display(), error)
    }

    /// A journal cannot be made or written.
    pub(crate) fn unwritten(error: &JournalError) -> Self {
        Self { outcome: Outcome::Io, what: error.to_string(), advice: None }
    }

    /// What was read is not what it should be.
    pub(crate) fn content(what: impl Into<String>) -> Self {
        Self { outcome: Outcome::Io, what: what.into(), advice: None }
    }

    /// A peer cannot be reached.
    pub(crate) fn unreachable(what: impl Into<String>) -> Self {
        Self::new(Outcome::Unreachable, what)
    }

    /// Somebody wants an end before the work is done; `what` says how far it came.
    pub(crate) fn interrupted(stop: &Stop, what: &str) -> Self {
        Self::new(stop.outcome(), format!("interrupted: {what}"))
    }

    /// An end that says itself what it is.
    pub(crate) fn new(outcome: Outcome, what: impl Into<String>) -> Self {
        Self { outcome, what: what.into(), advice: None }
    }

    /// What went wrong, without a word on what to do.
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
            Error::Line { source, .. } | Error::Requests { source, .. } => {
                (Outcome::Io, address_advice(source))
            }
            Error::Poll(_) | Error::Read { .. } => (Outcome::Io, None),
            Error::LineTwice { .. }
            | Error::LineExists(_)
            | Error::TooMany { .. }
            | Error::Receiver(_)
            | Error::Publisher(_) => (Outcome::Usage, None),
        };
        Self { outcome, what: error.to_string(), advice: advice.map(str::to_owned) }
    }
}

impl From<gapless_quic::Error> for Failure {
    fn from(error: gapless_quic::Error) -> Self {
        let advice = match &error {
            gapless_quic::Error::Socket { source, .. } => address_advice(source),
            _ => None,
        };
        Self { outcome: Outcome::Io, what: error.to_string(), advice: advice.map(str::to_owned) }
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        let outcome = match &error {
            TlsError::Name { .. } | TlsError::NoNames | TlsError::NoPins => Outcome::Usage,
            _ => Outcome::Io,
        };
        Self { outcome, what: error.to_string(), advice: None }
    }
}

/// What to do when an address cannot be had.
fn address_advice(error: &io::Error) -> Option<&'static str> {
    /// "No such device", and "no such device or address": no interface of that name.
    const NO_INTERFACE: [i32; 2] = [19, 6];
    if error.raw_os_error().is_some_and(|code| NO_INTERFACE.contains(&code)) {
        return Some("no interface has that name, address or index; see `ip address`");
    }
    match error.kind() {
        io::ErrorKind::AddrInUse => Some("another program has that port: choose another, or 0"),
        io::ErrorKind::AddrNotAvailable => {
            Some("no interface of this machine has that address; see `ip address`")
        }
        io::ErrorKind::PermissionDenied => Some("ports below 1024 are for privileged programs"),
        _ => None,
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
