//! The events, commands and refusals of a demultiplexer.

use core::fmt;

use bytes::Bytes;

use super::config::Misuse;
use super::stats::TagStats;
use super::tag::{Tag, Text};
use crate::display::display;
use crate::vocabulary;
use crate::wire::brief::BriefMessage;
use crate::wire::tag::Length;

/// A connection. The driver numbers them, and never uses a number again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct PeerId(pub u64);

/// An acceptor of streams: an application's part, numbered by whoever embeds the machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct AcceptorId(pub u64);

/// A stream of a connection. No two streams have the same, ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct StreamId {
    /// The connection.
    pub peer: PeerId,
    /// The stream's id within it, as QUIC numbers them (RFC 9000 §2.1): 0 to 2^62-1.
    pub number: u64,
}

impl StreamId {
    /// Which ways its data goes, as its number says (RFC 9000 §2.1).
    #[must_use]
    pub const fn direction(self) -> Direction {
        if self.number & 0b10 == 0 { Direction::Bidirectional } else { Direction::Unidirectional }
    }
}

/// Which ways the data of a stream goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Direction {
    /// Both.
    Bidirectional,
    /// From its opener only.
    Unidirectional,
}

display! {
    PeerId { Self(number) => "peer {number}" }
    AcceptorId { Self(number) => "acceptor {number}" }
    StreamId { Self { peer, number } => "stream {number} of {peer}" }
    Direction { Self::Bidirectional => "bidirectional", Self::Unidirectional => "unidirectional" }
    Registrant { Self::Application => "an application", Self::Protocol => "a protocol" }
}

/// Which tags a registration is for. The two kinds are different, even with the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Pattern<'a> {
    /// The one tag, of 1 to 255 bytes.
    Exact(&'a [u8]),
    /// Every tag that begins with these bytes, 0 to 255, and for which there is no exact registration
    /// and no longer prefix.
    Prefix(&'a [u8]),
}

impl<'a> Pattern<'a> {
    /// The tag or the prefix.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        match self {
            Self::Exact(bytes) | Self::Prefix(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Pattern<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(tag) => write!(f, "{:?}", Text(tag)),
            Self::Prefix(prefix) => write!(f, "{:?}..", Text(prefix)),
        }
    }
}

/// On whose behalf a tag is registered or a stream opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Registrant {
    /// An application: tags that begin with `gapless:` are not for it.
    #[default]
    Application,
    /// A protocol of this family.
    Protocol,
}

/// One of the registrations that there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registration<'a> {
    /// Which tags.
    pub pattern: Pattern<'a>,
    /// Whose.
    pub acceptor: AcceptorId,
    /// On whose behalf.
    pub by: Registrant,
    /// Its counters.
    pub stats: TagStats,
}

/// Why an application that registers or opens is refused. It changes nothing but the time and
/// [`Stats::refusals`](super::Stats::refusals).
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Refusal {
    /// Another acceptor has this pattern.
    #[error("the pattern is registered by acceptor {}", held_by.0)]
    Conflict {
        /// The acceptor that has it.
        held_by: AcceptorId,
    },
    /// An application asks for a tag, or for all tags, of the reserved prefix
    /// ([`RESERVED`](crate::wire::tag::RESERVED_PREFIX)).
    #[error("tags that begin with `gapless:` are reserved")]
    Reserved,
    /// A tag without a byte, or a tag or prefix of more than 255.
    #[error(transparent)]
    Length(#[from] Length),
    /// There are as many registrations as the configuration allows.
    #[error("there are {max} registrations already")]
    TooManyRegistrations {
        /// How many are allowed.
        max: usize,
    },
}

vocabulary! {
    "event of a demultiplexer" for super::Demux, Result<Result<(), Refusal>, Misuse>;
    /// An event of a demultiplexer. Every event is a method too.
    #[derive(Clone, PartialEq, Eq)]
    #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
    pub enum Event<'a> {
        /// [`register`](super::Demux::register).
        0 => Register {
            /// The acceptor that takes the streams.
            acceptor: AcceptorId,
            /// Of which tags.
            pattern: Pattern<'a>,
            /// On whose behalf.
            by: Registrant,
        } => |demux, now| Ok(demux.register(now, acceptor, pattern, by)),
        /// [`unregister`](super::Demux::unregister).
        1 => Unregister {
            /// Which registration.
            pattern: Pattern<'a>,
        } => |demux, now| Ok(Ok(demux.unregister(now, pattern))),
        /// [`acceptor_gone`](super::Demux::acceptor_gone).
        2 => AcceptorGone {
            /// The acceptor that went.
            acceptor: AcceptorId,
        } => |demux, now| Ok(Ok(demux.acceptor_gone(now, acceptor))),
        /// [`pause`](super::Demux::pause).
        3 => Pause {
            /// The acceptor that takes nothing for now.
            acceptor: AcceptorId,
        } => |demux, now| Ok(Ok(demux.pause(now, acceptor))),
        /// [`resume`](super::Demux::resume).
        4 => Resume {
            /// The acceptor that takes streams again.
            acceptor: AcceptorId,
        } => |demux, now| Ok(Ok(demux.resume(now, acceptor))),
        /// [`take`](super::Demux::take).
        11 => Take {
            /// The acceptor that takes one stream.
            acceptor: AcceptorId,
        } => |demux, now| Ok(Ok(demux.take(now, acceptor))),
        /// [`data`](super::Demux::data).
        5 => Data {
            /// The stream, opened by its peer.
            stream: StreamId,
            /// Bytes of the stream that were given before.
            offset: u64,
            /// The bytes that follow those.
            #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::fuzz::bytes))]
            bytes: Bytes as BriefMessage,
            /// Bytes of memory that `bytes` keeps alive.
            pinned: usize,
            /// The stream ends behind them.
            fin: bool,
        } => |demux, now| demux.data(now, stream, offset, bytes, pinned, fin).map(Ok),
        /// [`reset`](super::Demux::reset).
        6 => Reset {
            /// The stream that its peer gave up.
            stream: StreamId,
            /// The peer's reason; it makes no difference.
            code: u64,
        } => |demux, now| {
            let _ = code;
            Ok(Ok(demux.reset(now, stream)))
        },
        /// [`closed`](super::Demux::closed).
        7 => Closed {
            /// The stream that is no more.
            stream: StreamId,
        } => |demux, now| Ok(Ok(demux.closed(now, stream))),
        /// [`peer_gone`](super::Demux::peer_gone).
        8 => PeerGone {
            /// The connection that is no more, with all its streams.
            peer: PeerId,
        } => |demux, now| Ok(Ok(demux.peer_gone(now, peer))),
        /// [`hand_off_failed`](super::Demux::hand_off_failed).
        9 => HandOffFailed {
            /// The stream that was dispatched.
            stream: StreamId,
            /// The acceptor that could not be given it.
            acceptor: AcceptorId,
            /// Its tag, as dispatched: for the count of its registration.
            tag: &'a [u8] as Text,
        } => |demux, now| demux.hand_off_failed(now, stream, acceptor, tag).map(Ok),
        /// [`open`](super::Demux::open).
        10 => Open {
            /// The own stream, of which nothing was written.
            stream: StreamId,
            /// Its tag.
            tag: &'a [u8] as Text,
            /// On whose behalf.
            by: Registrant,
        } => |demux, now| Ok(demux.open(now, stream, tag, by)),
    }
}

vocabulary! {
    "command of a demultiplexer";
    /// A command of a demultiplexer.
    #[derive(Clone, PartialEq, Eq)]
    #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
    pub enum Command {
        /// The result of [`Register`](Event::Register), [`Unregister`](Event::Unregister),
        /// [`AcceptorGone`](Event::AcceptorGone) or [`Open`](Event::Open): the first command of those.
        0 => Answer(answer: Result<(), Refusal>),
        /// Hand the stream over: its acceptor hears "opened", with the stream and its peer, and from now on the
        /// driver gives it what comes. The machine knows nothing of the stream any more.
        1 => Dispatch {
            /// The stream.
            stream: StreamId,
            /// The acceptor that gets it.
            acceptor: AcceptorId,
            /// Its tag.
            tag: Tag,
        },
        /// Give the acceptor the first payload; follows its [`Dispatch`](Command::Dispatch), where there is any or
        /// the stream ends there.
        2 => Data {
            /// The stream.
            stream: StreamId,
            /// The acceptor that gets it.
            acceptor: AcceptorId,
            /// The bytes behind the preamble in the event that made it whole.
            #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::fuzz::bytes))]
            bytes: Bytes as BriefMessage,
            /// The stream ends behind it.
            fin: bool,
        },
        /// Stop reading the stream, so that its peer feels it, until it is dispatched or refused.
        3 => Hold {
            /// The stream.
            stream: StreamId,
        },
        /// Refuse the stream: ask its peer to stop sending (STOP_SENDING), and where it is bidirectional reset
        /// the own direction (RESET_STREAM). Data that still comes of it may be given; it is dropped.
        4 => Refuse {
            /// The stream.
            stream: StreamId,
            /// Why, for both frames.
            code: u64,
        },
        /// Write the preamble of the own stream, before anything else.
        5 => Write {
            /// The stream.
            stream: StreamId,
            /// Its tag, of which [`preamble`](Tag::preamble) is what is written.
            tag: Tag,
        },
        /// Tell the acceptor that the stream is closed: its hand-off failed.
        6 => Closed {
            /// The stream.
            stream: StreamId,
            /// The acceptor that was to take it.
            acceptor: AcceptorId,
        },
    }
}
