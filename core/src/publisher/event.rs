//! What a publisher is made from, takes, gives and counts.

use bytes::Bytes;
use core::fmt;
use core::net::SocketAddr;

use crate::retransmitter::{self, LookUpId};
use crate::wire::brief::Brief;
use crate::{Duration, Session, transmitter};

/// The configuration of a [`Publisher`](super::Publisher).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The session that messages are sent in. `None`: only captured packets are republished. With
    /// [`Config::new`] one with every default.
    pub transmitter: Option<transmitter::Config>,
    /// How requests are answered. Where it names no session, the one that is sent is known to it from
    /// the start; where it names another, it needs room for two. One with every default by default.
    pub retransmitter: retransmitter::Config,
    /// How long the end of a republished session is repeated after [`Event::End`]; that of a session
    /// of its own is repeated as `transmitter` says. 30 s by default; zero: it is sent once.
    pub end_linger: Duration,
}

impl Config {
    /// A session with every default.
    #[must_use]
    pub fn new(session: Session) -> Self {
        let transmitter = transmitter::Config::new(session);
        Self { transmitter: Some(transmitter), ..Self::republishing() }
    }

    /// The most bytes that a publisher with this configuration ever takes, bookkeeping included, beside
    /// a captured packet that is being republished.
    #[must_use]
    pub fn memory_limit(&self) -> usize {
        let sending = match &self.transmitter {
            Some(transmitter) => transmitter.memory_limit(),
            // The end of one session may still be repeated when that of the next begins to be.
            None => {
                let end = republished_end(Session::new([0; 10]), 1, self.end_linger);
                end.memory_limit().saturating_mul(2)
            }
        };
        sending.saturating_add(self.retransmitter.memory_limit())
    }

    /// No session of its own: only captured packets are republished.
    #[must_use]
    pub fn republishing() -> Self {
        let retransmitter = retransmitter::Config::default();
        Self { transmitter: None, retransmitter, end_linger: Duration::from_secs(30) }
    }
}

/// What sends the end of a republished session before message `next`.
pub(super) fn republished_end(
    session: Session,
    next: u64,
    end_linger: Duration,
) -> transmitter::Config {
    let config = transmitter::Config::new(session);
    transmitter::Config { first_sequence: next, ring: 2, end_linger, ..config }
}

/// What a publisher takes.
#[derive(Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// The next message of the session, as [`transmitter::Event::Message`].
    Message(&'a [u8]),
    /// Send what there is, full or not.
    Flush,
    /// The session ends here: send what there is, then say so for a while. A publisher without a
    /// session of its own ends the one that it republished last, unless it ended by itself; when more
    /// of it is republished, it has not ended after all.
    End,
    /// A captured packet is sent as it is, in its own session and under its own numbers, and serves
    /// requests.
    Republish(Bytes),
    /// The messages of a captured packet serve requests, as [`retransmitter::Event::Store`]; nothing
    /// is sent.
    Store {
        /// The whole packet.
        packet: &'a [u8],
    },
    /// A datagram came to the socket that takes requests, and to nothing else.
    Request {
        /// Whom the answer goes to.
        from: SocketAddr,
        /// All of it.
        datagram: &'a [u8],
    },
    /// The archive has what a look-up asked for, as [`retransmitter::Event::Found`].
    Found {
        /// The look-up.
        id: LookUpId,
        /// A downstream packet of the session that holds the first wanted message.
        packet: &'a [u8],
    },
    /// The archive has nothing of what a look-up asked for, or failed.
    NotFound {
        /// The look-up.
        id: LookUpId,
    },
}

/// What a publisher wants done.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// Send this packet on every line.
    Send {
        /// The whole datagram, one for all lines.
        bytes: Bytes,
    },
    /// Send this packet to one requester, from the socket that its request came to.
    Answer {
        /// Whom.
        to: SocketAddr,
        /// The whole datagram.
        bytes: Bytes,
    },
    /// Look messages up in the archive, then say [`Event::Found`] or [`Event::NotFound`].
    LookUp {
        /// Names the look-up in the answer.
        id: LookUpId,
        /// The session.
        session: Session,
        /// The first wanted message.
        first: u64,
        /// How many are wanted, from 1. No more than fit one answer are of use.
        count: u16,
    },
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            // What its two machines take looks as it does there.
            Self::Message(message) => transmitter::Event::Message(message).fmt(f),
            Self::Flush => transmitter::Event::Flush.fmt(f),
            Self::End => transmitter::Event::End.fmt(f),
            Self::Republish(ref bytes) => f.debug_tuple("Republish").field(&Brief(bytes)).finish(),
            Self::Store { packet } => retransmitter::Event::Store { packet }.fmt(f),
            Self::Request { from, datagram } => {
                retransmitter::Event::Request { from, datagram }.fmt(f)
            }
            Self::Found { id, packet } => retransmitter::Event::Found { id, packet }.fmt(f),
            Self::NotFound { id } => retransmitter::Event::NotFound { id }.fmt(f),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { bytes } => f.debug_tuple("Send").field(&Brief(bytes)).finish(),
            Self::Answer { to, bytes } => {
                f.debug_struct("Answer").field("to", to).field("bytes", &Brief(bytes)).finish()
            }
            Self::LookUp { id, session, first, count } => f
                .debug_struct("LookUp")
                .field("id", id)
                .field("session", session)
                .field("first", first)
                .field("count", count)
                .finish(),
        }
    }
}

/// What a publisher counted since it was made, beside what its two machines count:
/// [`Publisher::transmitter`](super::Publisher::transmitter) and
/// [`Publisher::retransmitter`](super::Publisher::retransmitter).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Packets given for the lines: data, heartbeats, ends, and republished ones.
    pub sent: u64,
    /// Captured packets republished.
    pub republished: u64,
    /// Messages in those.
    pub republished_messages: u64,
    /// Captured packets that are no packets, or larger than UDP carries: not republished.
    pub republish_malformed: u64,
}

/// How an embedding program can misuse a publisher.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// An event before the commands of the last one were drained.
    #[error("commands of the last event are not drained yet")]
    Undrained,
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
