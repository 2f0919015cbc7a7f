//! The configuration of a publisher, and the errors of its misuse.

use crate::machine::Undrained;
use crate::{Duration, Session, retransmitter, transmitter};

/// The configuration of a [`Publisher`](super::Publisher).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The session that messages are sent in. `None`: only captured packets are republished. With
    /// [`Config::new`] one with every default.
    pub transmitter: Option<transmitter::Config>,
    /// How requests are answered. Where it names no session, the one that is sent is known to it from
    /// the start; where it names another, it needs room for two. One with every default by default.
    pub retransmitter: retransmitter::Config,
    /// How long the end of a republished session is repeated after [`Event::End`](transmitter::Event::End);
    /// that of a session of its own is repeated as `transmitter` says. 30 s by default; zero: it is
    /// sent once.
    pub end_linger: Duration,
}

impl Config {
    /// A session with every default.
    #[must_use]
    pub fn new(session: Session) -> Self {
        let transmitter = transmitter::Config::new(session);
        Self { transmitter: Some(transmitter), ..Self::republishing() }
    }

    /// The same with small limits, for tests and fuzzers.
    #[must_use]
    pub fn small(session: Session) -> Self {
        Self {
            transmitter: Some(transmitter::Config::small(session)),
            retransmitter: retransmitter::Config::small(),
            ..Self::republishing()
        }
    }

    /// No session of its own: only captured packets are republished.
    #[must_use]
    pub fn republishing() -> Self {
        let retransmitter = retransmitter::Config::default();
        Self { transmitter: None, retransmitter, end_linger: Duration::from_secs(30) }
    }
}

/// The transmitter that sends the end of a republished session before message `next`.
pub(super) fn republished_end(
    session: Session,
    next: u64,
    end_linger: Duration,
) -> transmitter::Config {
    let config = transmitter::Config::new(session);
    transmitter::Config { first_sequence: next, ring: 2, end_linger, ..config }
}

/// How an embedding program can misuse a publisher.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// An event before the commands of the last one were drained.
    #[error(transparent)]
    Undrained(#[from] Undrained),
    /// A message for a publisher without a session of its own.
    #[error("this publisher has no session of its own: it only republishes")]
    NoSession,
    /// The sending side refuses.
    #[error(transparent)]
    Transmitter(#[from] transmitter::Error),
    /// The answering side refuses.
    #[error(transparent)]
    Retransmitter(#[from] retransmitter::Error),
}
