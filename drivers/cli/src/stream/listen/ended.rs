//! How a stream ended that was taken: what its sender is answered, and what is reported.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use gapless_quic::{Endpoint, StreamId};
use serde::Serialize;

use crate::failure::Outcome;
use crate::stream::{codes, tags};
use crate::text;

/// How a stream ended.
#[derive(Debug)]
pub(super) enum End {
    /// Its receiver has all of it.
    Complete,
    /// Its command ended well before it had read everything.
    Enough,
    /// Its sender broke it off.
    Reset(u64),
    /// Its connection was lost; why.
    Lost(String),
    /// It could not be written.
    CannotStore(io::Error),
    /// Its command failed.
    CommandFailed(ExitStatus),
    /// Its command could not be started.
    CannotStart(io::Error),
    /// Its command took too long.
    CommandTooSlow,
    /// Its client let it wait for too long, while others waited.
    Idle,
    /// Its turn took too long, while a client without one waited.
    TurnOver,
    /// It was longer than it may be.
    TooLong,
    /// Somebody ended the program.
    Interrupted,
}

impl End {
    /// Whether its stream was broken off, and what came of it is not all there is.
    pub(super) const fn is_broken_off(&self) -> bool {
        matches!(self, Self::Reset(_) | Self::Lost(_) | Self::TooLong | Self::Idle | Self::TurnOver)
    }

    /// Lets its sender know.
    pub(super) fn send(&self, endpoint: &mut Endpoint, stream: StreamId) {
        let (_, code, _) = self.kind();
        // A stream that is over already needs no more.
        match self {
            Self::Complete => {
                let _ = endpoint.finish(stream);
            }
            Self::Enough => {
                let _ = endpoint.stop(stream, code);
                let _ = endpoint.finish(stream);
            }
            _ => refuse(endpoint, stream, code),
        }
    }

    /// Its name, the code that its sender gets, and the program's outcome.
    const fn kind(&self) -> (&'static str, u64, Outcome) {
        match self {
            Self::Complete => ("complete", codes::FINE, Outcome::Complete),
            Self::Enough => ("enough", codes::ENOUGH, Outcome::Complete),
            Self::Reset(_) => ("reset", codes::BROKEN_OFF, Outcome::Lost),
            Self::Lost(_) => ("lost", codes::FINE, Outcome::Lost),
            Self::CannotStore(_) => ("cannot_store", codes::CANNOT_STORE, Outcome::Io),
            Self::CommandFailed(_) => {
                ("command_failed", codes::COMMAND_FAILED, Outcome::CommandFailed)
            }
            Self::CannotStart(_) => ("cannot_start", codes::CANNOT_START, Outcome::CommandFailed),
            Self::CommandTooSlow => {
                ("command_too_slow", codes::COMMAND_TOO_SLOW, Outcome::CommandFailed)
            }
            Self::Idle => ("idle", codes::IDLE, Outcome::Lost),
            Self::TurnOver => ("turn_over", codes::TURN_OVER, Outcome::Lost),
            Self::TooLong => ("too_long", codes::TOO_LONG, Outcome::Lost),
            Self::Interrupted => ("interrupted", codes::INTERRUPTED, Outcome::Lost),
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Complete => "complete".into(),
            Self::Enough => "as much as its command wanted".into(),
            Self::Reset(code) => match codes::words(*code) {
                Some(words) => format!("broken off by its sender: {words}"),
                None => format!("broken off by its sender with code {code:#x}"),
            },
            Self::Lost(why) => format!("broken off: {why}"),
            Self::CannotStore(error) => format!("broken off: it cannot be written: {error}"),
            Self::CommandFailed(status) => format!("its command failed: {status}"),
            Self::CannotStart(error) => {
                format!("broken off: its command cannot be started: {error}")
            }
            Self::CommandTooSlow => {
                "its command was killed: it took longer than --exec-timeout".into()
            }
            Self::Idle => {
                "broken off: next to nothing came for --stream-timeout, and others waited".into()
            }
            Self::TurnOver => {
                "broken off: its turn took 10 times --stream-timeout, its client has too many, and one without waited"
                    .into()
            }
            Self::TooLong => "broken off: it is longer than --max-bytes".into(),
            Self::Interrupted => "broken off: somebody ended the program".into(),
        }
    }
}

/// Takes nothing more of a stream, and gives no answer.
pub(super) fn refuse(endpoint: &mut Endpoint, stream: StreamId, code: u64) {
    // One that is over needs no refusing.
    let _ = endpoint.stop(stream, code);
    let _ = endpoint.reset(stream, code);
}

/// The record of a stream that was taken and has ended.
#[derive(Debug, Serialize)]
pub(super) struct Taken {
    tag: String,
    peer: SocketAddr,
    bytes: u64,
    end: &'static str,
    /// The sender's code, of a stream that was reset.
    code: Option<u64>,
    /// The words for what is wrong, of a stream that is not complete.
    error: Option<String>,
    /// Where it is, or what there is of it.
    file: Option<String>,
    elapsed_seconds: f64,
    #[serde(skip)]
    outcome: Outcome,
    #[serde(skip)]
    words: String,
}

impl Taken {
    /// A stream of this tag and peer, of which so many bytes came, that ended so after so long.
    pub(super) fn new(
        tag: &[u8],
        peer: SocketAddr,
        bytes: u64,
        end: &End,
        file: Option<PathBuf>,
        elapsed: Duration,
    ) -> Self {
        let (name, _, outcome) = end.kind();
        Self {
            tag: tags::written(tag),
            peer,
            bytes,
            end: name,
            code: if let End::Reset(code) = end { Some(*code) } else { None },
            error: (outcome != Outcome::Complete).then(|| end.words()),
            file: file.map(|file| file.display().to_string()),
            elapsed_seconds: elapsed.as_secs_f64(),
            outcome,
            words: end.words(),
        }
    }

    /// The program's outcome, if this is the first that went wrong.
    pub(super) const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        let Self { tag, peer, bytes, words, elapsed_seconds, .. } = self;
        let file = self.file.as_ref().map_or(String::new(), |file| format!(": {file}"));
        format!("{tag} from {peer}: {bytes} bytes in {elapsed_seconds:.2} s, {words}{file}\n")
    }

    /// One JSON object.
    pub(super) fn json(&self) -> String {
        text::json(self)
    }
}
