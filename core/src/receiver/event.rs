//! The events and commands of a receiver.

use bytes::Bytes;
use core::fmt;
use core::net::SocketAddr;

use crate::display::display;
use crate::vocabulary;
use crate::wire::brief::{Brief, Numbers};
use crate::wire::mold::{self, Messages};
use crate::{Duration, Instant, Session};

/// One copy of the feed (A, B, …), numbered by the embedding program: 0 to [`LineId::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct LineId(pub u8);

impl LineId {
    /// The highest line number.
    pub const MAX: Self = Self(31);
}

/// A re-request server, numbered by the embedding program: 0 to [`ServerId::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ServerId(pub u8);

impl ServerId {
    /// The highest server number.
    pub const MAX: Self = Self(31);
}

/// The source of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Source {
    /// A line, on a socket that nothing else is sent to.
    Line(LineId),
    /// A line's socket from which requests are sent as well, so that answers may arrive on it; with
    /// the sender's address. A packet that a configured server sends to it within a range that it was asked
    /// for is an answer, everything else is the line.
    LineFrom(LineId, SocketAddr),
    /// A socket that only requests are sent from; with the sender's address.
    Peer(SocketAddr),
}

/// A datagram as it came, owned.
#[derive(Clone)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Datagram {
    /// Its source.
    pub source: Source,
    /// All of it.
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::fuzz::bytes))]
    pub bytes: Bytes,
    /// How many bytes of memory `bytes` keeps alive: its own length for a buffer of its own, the
    /// whole buffer's size for a slice of a larger one. Less than the length counts as the length,
    /// more than 4 GiB as 4 GiB.
    pub pinned: usize,
    /// When it arrived: the kernel's time where the driver has it, else the time of the call.
    pub arrival: Instant,
}

impl fmt::Debug for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, bytes, pinned, arrival } = self;
        write!(f, "{source}: {:?}, arrived {arrival:?}", Brief(bytes))?;
        match *pinned > bytes.len() {
            true => write!(f, ", pins {pinned} bytes"),
            false => Ok(()),
        }
    }
}

vocabulary! {
    "event of a receiver";
    /// An event of a receiver.
    #[derive(Clone)]
    #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
    pub enum Event {
        /// A datagram came.
        0 => Datagram(datagram: Datagram),
        /// A line exists from now on. One that is known stays as it is.
        1 => AddLine(line: LineId),
        /// A line is gone. Unknown: nothing happens.
        2 => RemoveLine(line: LineId),
        /// A server can be asked at this address from now on; a server that is known moves there.
        3 => AddServer(server: ServerId, address: SocketAddr),
        /// A server is gone; what it was asked is asked elsewhere. Unknown: nothing happens.
        4 => RemoveServer(server: ServerId),
        /// Go on at message `next`: of the session that delivery halted in, else of the current one. What
        /// lies before it is no longer wanted and not counted as lost. Ends a halt. Not past what was
        /// delivered: only ends the halt.
        5 => Advance {
            /// The next message to deliver, from 1.
            next: u64,
        },
    }
}

/// The origin of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Origin {
    /// A line.
    Line(LineId),
    /// The answer of a configured server.
    Server(ServerId),
    /// An answer from elsewhere (`accept_answers = Any`).
    Unknown,
}

/// Consecutive messages, delivered once.
///
/// `B` is `&[u8]` out of [`Receiver::receive`](super::Receiver::receive) and [`Bytes`] out of
/// commands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Batch<B> {
    /// The session.
    pub session: Session,
    /// Number of the first message.
    pub first: u64,
    /// How many, from 1.
    pub count: u16,
    /// The datagram, or what was retained of it.
    pub bytes: B,
    /// The offset of the first message's length field in `bytes`.
    pub offset: usize,
    /// When its datagram arrived.
    pub arrival: Instant,
    /// The line or server that brought it.
    pub origin: Origin,
    /// It closes a gap: it came by an answer, or by a line after the gap was seen.
    pub repaired: bool,
}

impl<B: AsRef<[u8]>> Batch<B> {
    /// The messages with their numbers.
    #[inline]
    pub fn messages(&self) -> Messages<'_> {
        let bytes = self.bytes.as_ref();
        Messages::new(self.first, self.count, bytes.get(self.offset..).unwrap_or_default())
    }

    /// Number of the last message.
    #[inline]
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.first + (self.count as u64 - 1)
    }
}

impl<B> fmt::Debug for Batch<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, first, count, arrival, ref origin, repaired, .. } = *self;
        let numbers = Numbers { session, first, count };
        let repaired = if repaired { ", repaired" } else { "" };
        write!(f, "{numbers:?} by {origin}, arrived {arrival:?}{repaired}")
    }
}

/// Why a session was left.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum SessionEnd {
    /// Its sender said that it ended.
    Ended,
    /// Another session took its place ([`Config::follow`](super::Config::follow)).
    Superseded,
}

/// The rule by which messages are given up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum LossReason {
    /// `give_up` passed since their gap opened, since a line brought what lay beside them in it, and since the last
    /// useful answer.
    GivenUp,
    /// They went unanswered `max_attempts` times by servers that answered other ranges.
    Unanswered,
    /// `max_stall` passed since their gap opened.
    Stalled,
    /// `session_grace` passed since another session took the place of theirs.
    SessionLeft,
    /// A limit of what is held was reached, every line that is up had passed them, and no server
    /// was there to ask.
    NobodyToAsk,
    /// Heartbeats and ends alone spoke of them, no data and no server, and the feed did not contradict
    /// that for the patience that [`Config`](super::Config) names.
    ClaimedOnly,
    /// As `GivenUp`, `Stalled` or `SessionLeft`, while quotas kept every server from being asked for them
    /// ([`Config::quotas`](super::Config::quotas)).
    Quota,
}

display! {
    LineId { Self(number) => "line {number}" }
    ServerId { Self(number) => "server {number}" }
    Source {
        Self::Line(line) => "{line}",
        Self::LineFrom(line, from) => "{line} from {from}",
        Self::Peer(from) => "peer {from}",
    }
    Origin {
        Self::Line(line) => "{line}",
        Self::Server(server) => "{server}",
        Self::Unknown => "a stranger",
    }
    SessionEnd { Self::Ended => "ended", Self::Superseded => "superseded" }
    LossReason {
        Self::GivenUp => "given up",
        Self::Unanswered => "unanswered",
        Self::Stalled => "stalled",
        Self::SessionLeft => "the session was left",
        Self::NobodyToAsk => "nobody to ask",
        Self::ClaimedOnly => "claimed only",
        Self::Quota => "held back by a quota",
    }
}

vocabulary! {
    "command of a receiver";
    /// A command or a report of a receiver.
    #[derive(Clone, PartialEq, Eq)]
    #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
    pub enum Command {
        /// Deliver these messages.
        0 => Batch(batch: Batch<Bytes>),
        /// Send these 20 bytes ([`mold::Request::to_bytes`]) to a server.
        1 => Request {
            /// Whom.
            server: ServerId,
            /// Its address now.
            to: SocketAddr,
            /// The request.
            request: mold::Request,
        },
        /// A session began: by the configuration, or because it is believed.
        2 => SessionStarted {
            /// The session.
            session: Session,
            /// The first number that will be delivered or reported as lost.
            next: u64,
        },
        /// A session is over: everything before its end was delivered or reported as lost.
        3 => SessionEnded {
            /// The session.
            session: Session,
            /// One past its last number (2^64-1 stands for 2^64 too).
            next: u64,
            /// Why.
            reason: SessionEnd,
        },
        /// Messages `first..=last` exist and are not held.
        4 => GapOpened {
            /// The session.
            session: Session,
            /// First missing number.
            first: u64,
            /// Last missing number.
            last: u64,
        },
        /// Nothing of a gap is missing any more, and nothing of it was lost.
        5 => GapFilled {
            /// The session.
            session: Session,
            /// As opened.
            first: u64,
            /// As opened, or less where the far end was put off for want of memory, or withdrawn
            /// ([`Command::Withdrawn`]).
            last: u64,
            /// Messages that lines brought; if the far end was put off or withdrawn, also those that were
            /// dropped with it.
            by_lines: u64,
            /// Messages that answers brought, counted in the same way.
            by_answers: u64,
            /// How long it was open.
            after: Duration,
        },
        /// Messages `first..=last` are given up and will never be delivered.
        6 => Lost {
            /// The session.
            session: Session,
            /// First lost number.
            first: u64,
            /// Last lost number.
            last: u64,
            /// The rule by which they are given up.
            reason: LossReason,
        },
        /// Delivery has stopped after a loss ([`OnLoss::Halt`](super::OnLoss::Halt)) until
        /// [`Event::Advance`].
        7 => Halted {
            /// The session.
            session: Session,
            /// The number after the loss.
            next: u64,
        },
        /// A line brought a packet, for the first time or after it was down.
        8 => LineUp(line: LineId),
        /// A line brought nothing for `line_timeout`.
        9 => LineDown(line: LineId),
        /// The sender of a line started over in the same session: it keeps sending numbers far below what it
        /// sent before, or sends the first messages of the session again with other content: `believe_after`
        /// packets, and none of the old feed on that line for `quiet`; or it ends the session below what was
        /// delivered. Emitted once an episode, before anything is delivered that goes past what the line had
        /// sent; never followed. A sender that starts over and reaches just the last number before it is noticed
        /// so makes [`Contradiction`](Self::Contradiction)s only.
        10 => SequenceRegressed {
            /// The line.
            line: LineId,
            /// The session.
            session: Session,
            /// The highest number it had sent.
            highest: u64,
            /// A number that it sends now, at most `highest`.
            seen: u64,
        },
        /// Heartbeats or ends said that there are messages `first..=last`, and the feed contradicts that: they
        /// are not missing, and no gap reaches there any more.
        12 => Withdrawn {
            /// The session.
            session: Session,
            /// First number.
            first: u64,
            /// Last number.
            last: u64,
        },
        /// Messages `first..=last` are missing, and too few packets speak of them for them to be lost: all
        /// lines are silent, and either heartbeats or ends alone speak of them, fewer than `believe_after`,
        /// or they reach further than silence confirms. Emitted again while that lasts; it ends when more
        /// packets come, or a server answers.
        11 => Stalled {
            /// The session.
            session: Session,
            /// First missing number.
            first: u64,
            /// Last missing number.
            last: u64,
        },
        /// A message came again with other bytes: there are two senders, or one that started over, in one session.
        /// The first bytes stay. The first such message of a drain;
        /// [`Stats::contradictions`](super::Stats::contradictions) counts all packets that have one. Messages held
        /// ahead of a gap are compared, and what lines bring of the first 64 messages of the current session; other
        /// copies of what was delivered are not.
        13 => Contradiction {
            /// The session.
            session: Session,
            /// The message.
            sequence: u64,
            /// The source of the held bytes; `None` for delivered messages, whose source is not remembered.
            held: Option<Origin>,
            /// The source of the dropped bytes.
            dropped: Origin,
        },
    }
}
