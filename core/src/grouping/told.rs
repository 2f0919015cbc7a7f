//! What a grouping tells while it works, and what it counts.

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

/// What a [`Grouping`](super::Grouping) counted since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Sessions that began, a track each.
    pub sessions: u64,
    /// Groups created.
    pub groups: u64,
    /// Groups of which nothing was there to publish: their numbers are skipped.
    pub groups_missing: u64,
    /// Messages published in order.
    pub published: u64,
    /// Messages that the receiver gave up.
    pub lost: u64,
    /// Messages that were passed over otherwise.
    pub absent: u64,
    /// Frames that were missing and came after all.
    pub filled: u64,
    /// Messages that came again, as they were.
    pub same: u64,
    /// Messages that came again with other bytes.
    pub contradictions: u64,
    /// Messages that came again, or at last, when their place was gone.
    pub late: u64,
    /// Messages not published because they came before the group that publishing begins with.
    pub before_start: u64,
    /// Messages not published because the cache refused them, or their group.
    pub refused: u64,
}
