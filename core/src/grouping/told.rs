//! What a grouping tells while it works.

use core::fmt;

use crate::Session;
use crate::cache::{Command, Refusal, TrackId};

/// What a grouping tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// A command of the cache, which followed from what was just published.
    Cache(Command),
    /// The track of a session exists from now on.
    Opened {
        /// The session.
        session: Session,
        /// Its track.
        track: TrackId,
        /// The first message that may be published (2^64-1 stands for 2^64 too).
        first: u64,
    },
    /// Nothing more is published of a session.
    Closed {
        /// The session.
        session: Session,
        /// Its track.
        track: TrackId,
        /// One past the session's last message (2^64-1 stands for 2^64 too), when it came to its end;
        /// `None` when it was left before, and its track given up.
        next: Option<u64>,
    },
    /// A message came again with other bytes than are held. What is held stays.
    Contradiction {
        /// The session.
        session: Session,
        /// The message.
        sequence: u64,
    },
    /// A message came and is not published. Its frame, if there is one, is absent.
    Unpublished {
        /// The session.
        session: Session,
        /// The message.
        sequence: u64,
        /// Why.
        why: Why,
    },
}

/// Why a message is not published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// Publishing begins with the next group.
    BeforeStart,
    /// The cache refused it, or the group or track that it belongs to.
    Refused(Refusal),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeStart => f.write_str("publishing begins with the next group"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}
