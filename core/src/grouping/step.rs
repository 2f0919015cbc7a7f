//! The steps of a grouping: what is left to publish, and what each step did.

use core::ops::Range;

use crate::Session;
use crate::cache::{CallError, Misuse, Refusal, TrackId};
use crate::receiver::{Batch, Command};

/// One input of a [`Grouping`](super::Grouping) on its way into the cache, as far as it is not published yet
/// ([`Grouping::step`](super::Grouping::step)). A batch of [`Bytes`](bytes::Bytes) keeps its buffer alive.
#[derive(Debug)]
#[must_use = "nothing is published but by steps"]
pub struct Steps<B>(pub(super) Input<B>);

#[derive(Debug)]
pub(super) enum Input<B> {
    /// The messages that are left.
    Batch(Batch<B>),
    /// Any other command.
    Command(Command),
    /// Tracks to drop.
    Leave([Option<(Session, TrackId)>; 2]),
}

/// The result of one step.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Step {
    /// The track of a session exists from now on.
    Opened {
        /// The session.
        session: Session,
        /// Its track.
        track: TrackId,
        /// The first message that may be published (2^64-1 stands for 2^64 too).
        first: u64,
    },
    /// The cache takes no track for a session. It can be made to begin again.
    NoTrack {
        /// The session.
        session: Session,
        /// Why.
        why: Why,
    },
    /// Frames were appended to a group, held or missing ones. A group that is full by them is finished.
    Appended {
        /// The track.
        track: TrackId,
        /// The group's number.
        group: u64,
        /// Their indices.
        frames: Range<u64>,
    },
    /// A frame that was missing is held from now on.
    Filled {
        /// The track.
        track: TrackId,
        /// The group's number.
        group: u64,
        /// The frame's index.
        index: u64,
    },
    /// A group was dropped, because the cache refused frames that are missing.
    Dropped {
        /// The track.
        track: TrackId,
        /// The group's number.
        group: u64,
        /// Why.
        why: Why,
    },
    /// A message came again, as it is held.
    Duplicate {
        /// The session.
        session: Session,
        /// The message.
        sequence: u64,
    },
    /// A message came again, or at last, when its place was gone.
    Late {
        /// The session.
        session: Session,
        /// The message.
        sequence: u64,
    },
    /// A message came again with other bytes than are held. The held ones stay.
    Contradiction {
        /// The session.
        session: Session,
        /// The message.
        sequence: u64,
    },
    /// A message came and is not published. Its frame was appended as absent, where its group goes on.
    Unpublished {
        /// The session.
        session: Session,
        /// The message.
        sequence: u64,
        /// Why.
        why: Why,
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
}

/// Why a message, or a session, is not published.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Why {
    /// Publishing begins with the next group.
    #[error("publishing begins with the next group")]
    BeforeStart,
    /// Its session, or the track, has ended.
    #[error("the session has ended")]
    Ended,
    /// Its group or track is gone: evicted, or dropped or finished by somebody else.
    #[error("the group is gone")]
    Gone,
    /// Its group was aborted with this code: by the cache ([`TOO_LARGE`](crate::cache::TOO_LARGE)), or by somebody
    /// else.
    #[error("the group was aborted with code {0:#x}")]
    Aborted(u64),
    /// The cache refused it, or the group or track that it belongs to.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A grouping makes no call that is misuse, but somebody else may have ended what it goes on with.
impl From<CallError> for Why {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refusal) => Self::Refused(refusal),
            CallError::Misuse(Misuse::TrackEnded) => Self::Ended,
            CallError::Misuse(Misuse::Aborted(code)) => Self::Aborted(code),
            CallError::Misuse(_) => Self::Gone,
        }
    }
}
