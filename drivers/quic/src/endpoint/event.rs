//! The ids of connections and streams, the events that an [`Endpoint`](super::Endpoint) emits, and how it
//! refuses.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
pub use gapless_core::demux::Direction;
use quinn_proto::ConnectionError;

/// A connection: never used again, not even by another connection in the same place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId {
    pub(super) slot: u32,
    pub(super) serial: u64,
}

impl ConnectionId {
    /// A number that no other connection of the endpoint has or will have, from 1.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.serial
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.serial)
    }
}

/// A stream: its connection, and its number there (RFC 9000 §2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId {
    /// The connection that it belongs to.
    pub connection: ConnectionId,
    /// The QUIC stream id: below 2^62, and it says who opened the stream and which ways it goes.
    pub number: u64,
}

impl StreamId {
    /// Which ways it goes.
    #[must_use]
    pub const fn direction(self) -> Direction {
        if self.number & 0b10 == 0 { Direction::Bidirectional } else { Direction::Unidirectional }
    }

    pub(super) fn inner(self) -> Option<quinn_proto::StreamId> {
        let number = quinn_proto::VarInt::from_u64(self.number).ok()?;
        Some(number.into())
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {} of {}", self.number, self.connection)
    }
}

/// The other side of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Where it is now: it may move.
    pub address: SocketAddr,
    /// Whether it connected to us.
    pub is_client: bool,
    /// The protocol that was agreed on (ALPN); `None` until the handshake is over, or without one.
    pub protocol: Option<Bytes>,
    /// The SHA-256 of its certificate (the leaf, DER), if it showed one and the handshake is over.
    pub fingerprint: Option<[u8; 32]>,
}

/// Why a connection is over.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reason {
    /// The program on this side closed it.
    #[error("closed here with code {code:#x}")]
    Closed {
        /// The application's code.
        code: u64,
    },
    /// Its handshake was not over in time ([`Transport`](super::Transport)); the peer may not even be there.
    #[error("the handshake was not over after {after:?}")]
    HandshakeTimedOut {
        /// How long it might take.
        after: Duration,
    },
    /// Nothing came from the peer for so long.
    #[error("nothing came for {after:?}")]
    IdleTimedOut {
        /// The idle timeout that ruled: the smaller one of both sides' (RFC 9000 §10.1), or ours as long as
        /// the peer's was not known. Where it is less than three times the probe timeout, it lasted so long.
        after: Duration,
    },
    /// The peer, the path or the protocol ended it.
    #[error(transparent)]
    Lost(ConnectionError),
}

/// An event of a connection or a stream.
///
/// A connection's events come between [`Connected`](Self::Connected) and
/// [`Disconnected`](Self::Disconnected), which ends all its streams; one that never was complete has
/// only the second. A stream's come after it was opened, by either side, and end with
/// [`Closed`](Self::Closed), unless the connection ends first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A handshake is complete: what is known of the peer stands in
    /// [`Endpoint::peer`](super::Endpoint::peer).
    Connected {
        /// Of which connection.
        connection: ConnectionId,
    },
    /// A connection is over, and all its streams with it.
    Disconnected {
        /// Which one.
        connection: ConnectionId,
        /// Why.
        reason: Reason,
    },
    /// The system cannot deliver what was sent to a peer that has not answered yet: its network or its host
    /// cannot be reached, nobody listens at its port, sending there is not permitted, or a packet is too
    /// large for the way. Emitted at most once for each connection that is made here.
    ///
    /// The endpoint ends nothing for it: the report may be an ICMP message that somebody forged, and the peer
    /// may be there a moment later, so that the connection goes on trying until
    /// [`handshake_timeout`](super::Transport::handshake_timeout). The program decides: it tries another
    /// address now if it has one, and may give up where a wrong report costs little. Of a peer that has
    /// answered, such reports are ignored (RFC 9000 §14.2.1).
    SendFailed {
        /// To whom.
        connection: ConnectionId,
        /// The system's error number: [`std::io::Error::from_raw_os_error`] has the words.
        os_error: i32,
    },
    /// The peer opened a stream.
    Opened {
        /// Which one.
        stream: StreamId,
    },
    /// The peer allows more streams of this kind to be opened, after there were none left.
    Openable {
        /// On which connection.
        connection: ConnectionId,
        /// Of which kind.
        direction: Direction,
    },
    /// The next bytes of a stream.
    Data {
        /// Which one.
        stream: StreamId,
        /// The number set by [`Endpoint::set_owner`](super::Endpoint::set_owner), or 0.
        owner: u64,
        /// How many bytes of the stream came before.
        offset: u64,
        /// The bytes; empty only with `fin`.
        bytes: Bytes,
        /// Whether they are the last.
        fin: bool,
    },
    /// The peer breaks off what it was sending.
    Reset {
        /// On which stream.
        stream: StreamId,
        /// As in [`Data`](Self::Data).
        owner: u64,
        /// The peer's code.
        code: u64,
    },
    /// The peer does not want more of what is sent to it: that direction has been reset with the same
    /// code (RFC 9000 §3.5).
    Stopped {
        /// On which stream.
        stream: StreamId,
        /// As in [`Data`](Self::Data).
        owner: u64,
        /// The peer's code.
        code: u64,
    },
    /// More can be written, after a write took less than it was given.
    Writable {
        /// To which stream.
        stream: StreamId,
        /// As in [`Data`](Self::Data).
        owner: u64,
    },
    /// All that was written, and the end of it, has been acknowledged by the peer's transport. Whether its
    /// program got it, or ever will, only an answer can say.
    Finished {
        /// To which stream.
        stream: StreamId,
        /// As in [`Data`](Self::Data).
        owner: u64,
    },
    /// Both directions of a stream are over: it is not known any more.
    Closed {
        /// Which one.
        stream: StreamId,
        /// As in [`Data`](Self::Data).
        owner: u64,
    },
    /// An unreliable datagram (RFC 9221).
    Datagram {
        /// Of which connection.
        connection: ConnectionId,
        /// Its bytes.
        bytes: Bytes,
    },
    /// Datagrams can be sent again, after one did not fit.
    DatagramsWritable {
        /// On which connection.
        connection: ConnectionId,
    },
}

impl Event {
    /// The stream that it is about, and what was said of its owner; `None` for events of connections.
    #[must_use]
    pub const fn stream(&self) -> Option<(StreamId, u64)> {
        match *self {
            Self::Opened { stream } => Some((stream, 0)),
            Self::Data { stream, owner, .. }
            | Self::Reset { stream, owner, .. }
            | Self::Stopped { stream, owner, .. }
            | Self::Writable { stream, owner }
            | Self::Finished { stream, owner }
            | Self::Closed { stream, owner } => Some((stream, owner)),
            Self::Connected { .. }
            | Self::Disconnected { .. }
            | Self::SendFailed { .. }
            | Self::Openable { .. }
            | Self::Datagram { .. }
            | Self::DatagramsWritable { .. } => None,
        }
    }
}

/// Something was asked of a connection or stream that cannot be done.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such connection, or it is over.
    #[error("there is no such connection, or it is over")]
    UnknownConnection,
    /// There is no such stream, or it is over in this direction.
    #[error("there is no such stream, or it is over in this direction")]
    UnknownStream,
    /// The peer does not want more of it.
    #[error("the peer stopped the stream with code {code:#x}")]
    Stopped {
        /// The peer's code.
        code: u64,
    },
    /// Codes are below 2^62 (RFC 9000 §16).
    #[error("{code:#x} is no code: it must be below 2^62")]
    BadCode {
        /// The value that was given.
        code: u64,
    },
    /// A datagram is larger than the path or the peer takes.
    #[error("a datagram of {given} bytes is larger than the {most} that fit")]
    TooLarge {
        /// Its size.
        given: usize,
        /// The largest that fits now; 0 when the peer takes none, or there are none here.
        most: usize,
    },
    /// There is no room for the datagram now; `DatagramsWritable` will follow.
    #[error("there is no room for the datagram now")]
    Blocked,
}
