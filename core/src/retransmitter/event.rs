//! What a retransmitter takes and gives.

use bytes::Bytes;
use core::fmt;
use core::net::SocketAddr;

use crate::Session;
use crate::display::display;
use crate::wire::brief::{Brief, BriefRequest};

/// One question to the archive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LookUpId(pub u64);

display!(LookUpId { Self(number) => "look-up {number}" });

/// What a retransmitter takes. Whatever the bytes, they never make an error: what cannot be used is
/// dropped and counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A datagram came to the socket that takes requests, and to nothing else.
    Request {
        /// Whom the answer goes to.
        from: SocketAddr,
        /// All of it.
        datagram: &'a [u8],
    },
    /// The messages of this downstream packet serve requests from now on. They are copied. Numbers
    /// that are held stay as they are; heartbeats and ends store nothing.
    Store {
        /// The whole packet, of any session, in any order.
        packet: &'a [u8],
    },
    /// As [`Store`](Self::Store), of a packet that was sent on every line just now: how many bytes were
    /// sent in a second may allow faster answers
    /// ([`Remote::times_line`](super::Remote::times_line)). Heartbeats need not be told.
    Sent {
        /// The whole packet.
        packet: &'a [u8],
    },
    /// The archive has what a look-up asked for.
    Found {
        /// The look-up.
        id: LookUpId,
        /// A downstream packet of the session, as large as may be, that holds the first wanted
        /// message. What it holds beyond the wanted ones or beyond an answer's size is left out.
        packet: &'a [u8],
    },
    /// The archive has nothing of what a look-up asked for, or failed.
    NotFound {
        /// The look-up.
        id: LookUpId,
    },
}

/// What a retransmitter wants done.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
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
        match self {
            Self::Request { from, datagram } => {
                let datagram = BriefRequest(datagram);
                f.debug_struct("Request").field("from", from).field("datagram", &datagram).finish()
            }
            Self::Store { packet } => f.debug_tuple("Store").field(&Brief(packet)).finish(),
            Self::Sent { packet } => f.debug_tuple("Sent").field(&Brief(packet)).finish(),
            Self::Found { id, packet } => {
                f.debug_struct("Found").field("id", id).field("packet", &Brief(packet)).finish()
            }
            Self::NotFound { id } => f.debug_struct("NotFound").field("id", id).finish(),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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
