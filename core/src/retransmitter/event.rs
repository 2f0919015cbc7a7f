//! The events and commands of a retransmitter.

use bytes::Bytes;
use core::net::SocketAddr;

use crate::Session;
use crate::display::display;
use crate::vocabulary;
use crate::wire::brief::{Brief, BriefRequest};

/// One question to the archive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct LookUpId(pub u64);

display!(LookUpId { Self(number) => "look-up {number}" });

vocabulary! {
    "event of a retransmitter";
    /// An event of a retransmitter. Whatever the bytes, they never make an error: what cannot be used is
    /// dropped and counted.
    #[derive(Clone, Copy, PartialEq, Eq)]
    #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
    pub enum Event<'a> {
        /// A datagram came to the socket that takes requests, and to nothing else.
        0 => Request {
            /// Whom the answer goes to.
            from: SocketAddr,
            /// All of it.
            datagram: &'a [u8] as BriefRequest,
        },
        /// The messages of this downstream packet serve requests from now on. They are copied. Numbers
        /// that are held stay as they are; heartbeats and ends store nothing.
        1 => Store {
            /// The whole packet, of any session, in any order.
            packet: &'a [u8] as Brief,
        },
        /// As [`Store`](Self::Store), of a packet that was sent on every line just now: how many bytes were
        /// sent in a second may allow faster answers
        /// ([`Remote::times_line`](super::Remote::times_line)). Heartbeats need not be reported.
        4 => Sent {
            /// The whole packet.
            packet: &'a [u8] as Brief,
        },
        /// The archive has what a look-up asked for.
        2 => Found {
            /// The look-up.
            id: LookUpId,
            /// A downstream packet of the session, as large as may be, that holds the first wanted
            /// message. Messages beyond the wanted ones or beyond an answer's size are left out.
            packet: &'a [u8] as Brief,
        },
        /// The archive has nothing of what a look-up asked for, or failed.
        3 => NotFound {
            /// The look-up.
            id: LookUpId,
        },
    }
}

vocabulary! {
    "command of a retransmitter";
    /// A command of a retransmitter.
    #[derive(Clone, PartialEq, Eq)]
    #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
    pub enum Command {
        /// Send this packet to one requester, from the socket that its request came to.
        0 => Answer {
            /// Whom.
            to: SocketAddr,
            /// The whole datagram.
            #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::fuzz::bytes))]
            bytes: Bytes as Brief,
        },
        /// Look messages up in the archive, then say [`Event::Found`] or [`Event::NotFound`].
        1 => LookUp {
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
}
