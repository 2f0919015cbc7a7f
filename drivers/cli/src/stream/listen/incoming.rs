//! One stream that was taken: where its bytes go, and how it ended.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gapless_core::demux::Tag;
use serde::Serialize;

use super::command::Command;
use super::queue::Client;
use super::store::Part;
use crate::failure::Outcome;
use crate::io::sink::Sink;
use crate::stream::codes;
use crate::stream::tags;
use crate::text;

/// A stream that was taken and has not ended.
pub(super) struct Incoming {
    /// What threads call it.
    pub(super) key: u64,
    pub(super) tag: Tag,
    pub(super) peer: SocketAddr,
    pub(super) client: Client,
    pub(super) is_bidirectional: bool,
    pub(super) begun: Instant,
    /// When its turn came.
    pub(super) turn: Option<Instant>,
    pub(super) progress: Moved,
    /// Whether nothing of it is read now.
    pub(super) is_paused: bool,
    /// Bytes that came.
    pub(super) bytes: u64,
    /// Whether all of it came.
    pub(super) is_whole: bool,
    pub(super) target: Target,
}

/// How much of a stream its client has given and taken lately.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    /// When it was enough, or nothing could be given or taken.
    since: Instant,
    /// Bytes since then.
    bytes: u64,
}

impl Moved {
    /// Bytes that are enough: who gives one at a time keeps others waiting as who gives none.
    const ENOUGH: u64 = 64 << 10;

    /// From now on its client is waited for.
    pub(super) const fn from(now: Instant) -> Self {
        Self { since: now, bytes: 0 }
    }

    /// Its client gave or took so many bytes.
    pub(super) fn by(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes as u64;
        if self.bytes >= Self::ENOUGH {
            *self = Self::from(now);
        }
    }
}

impl Incoming {
    /// Since when it has its turn and its client lets it wait, if it does.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_read = !self.is_whole && !self.is_paused;
        let is_idle = match &self.target {
            Target::Waiting(_) | Target::Output(_, Some(_)) => false,
            Target::Part(_) | Target::Output(_, None) => is_read,
            Target::Command(command) => is_read || !command.is_answer_acknowledged(),
        };
        is_idle.then_some(self.progress.since)
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
}

/// How a stream ended.
#[derive(Debug)]
pub(super) enum End {
    /// Whoever took it has all of it.
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
    /// What its sender is told.
    pub(super) const fn code(&self) -> u64 {
        match self {
            Self::Complete | Self::Lost(_) => codes::FINE,
            Self::Enough => codes::ENOUGH,
            Self::Reset(_) => codes::BROKEN_OFF,
            Self::CannotStore(_) => codes::CANNOT_STORE,
            Self::CommandFailed(_) => codes::COMMAND_FAILED,
            Self::CannotStart(_) => codes::CANNOT_START,
            Self::CommandTooSlow => codes::COMMAND_TOO_SLOW,
            Self::Idle => codes::IDLE,
            Self::TurnOver => codes::TURN_OVER,
            Self::TooLong => codes::TOO_LONG,
            Self::Interrupted => codes::INTERRUPTED,
        }
    }

    /// What it means for the program's end.
    pub(super) const fn outcome(&self) -> Outcome {
        match self {
            Self::Complete | Self::Enough => Outcome::Complete,
            Self::Reset(_) | Self::Lost(_) | Self::TooLong => Outcome::Lost,
            Self::Idle | Self::TurnOver | Self::Interrupted => Outcome::Lost,
            Self::CannotStore(_) => Outcome::Io,
            Self::CommandFailed(_) | Self::CannotStart(_) | Self::CommandTooSlow => {
                Outcome::CommandFailed
            }
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Enough => "enough",
            Self::Reset(_) => "reset",
            Self::Lost(_) => "lost",
            Self::CannotStore(_) => "cannot_store",
            Self::CommandFailed(_) => "command_failed",
            Self::CannotStart(_) => "cannot_start",
            Self::CommandTooSlow => "command_too_slow",
            Self::Idle => "idle",
            Self::TurnOver => "turn_over",
            Self::TooLong => "too_long",
            Self::Interrupted => "interrupted",
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

/// What became of a stream that was taken.
#[derive(Debug, Serialize)]
pub(super) struct Taken {
    tag: String,
    peer: SocketAddr,
    bytes: u64,
    end: &'static str,
    /// The sender's code, of a stream that was reset.
    code: Option<u64>,
    /// What is wrong, in words, of a stream that is not complete.
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
    pub(super) fn new(
        incoming: &Incoming,
        end: &End,
        file: Option<PathBuf>,
        elapsed: Duration,
    ) -> Self {
        let is_complete = matches!(end, End::Complete | End::Enough);
        Self {
            tag: tags::written(&incoming.tag),
            peer: incoming.peer,
            bytes: incoming.bytes,
            end: end.name(),
            code: if let End::Reset(code) = end { Some(*code) } else { None },
            error: (!is_complete).then(|| end.words()),
            file: file.map(|file| file.display().to_string()),
            elapsed_seconds: elapsed.as_secs_f64(),
            outcome: end.outcome(),
            words: end.words(),
        }
    }

    /// What it means for the program's end.
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
