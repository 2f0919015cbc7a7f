//! What a publisher takes and gives.

use bytes::Bytes;
use core::fmt;
use core::net::SocketAddr;

use crate::retransmitter::{self, LookUpId};
use crate::wire::brief::Brief;
use crate::{Session, transmitter};

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
