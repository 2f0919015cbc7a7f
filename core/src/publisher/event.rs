//! The events and commands of a publisher.

use bytes::Bytes;
use core::fmt;

use crate::retransmitter::Event as Ask;
use crate::transmitter::Event as Send;
use crate::wire::brief::Brief;
use crate::{retransmitter, transmitter, vocabulary};

vocabulary! {
    "event of a publisher";
    /// An event of a publisher.
    #[derive(Clone, PartialEq, Eq)]
    #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
    pub enum Event<'a> {
        /// For the sending side. [`End`](transmitter::Event::End), of a publisher without a session of its own,
        /// ends the one that it republished last, unless it ended by itself; when more of it is republished, it
        /// has not ended after all.
        8 => Transmit(event: transmitter::Event<'a>),
        /// A captured packet is sent as it is, in its own session and under its own numbers, and serves
        /// requests.
        3 => Republish(
            #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::fuzz::bytes))]
            bytes: Bytes as Brief
        ),
        /// For the answering side. It knows what was sent: no [`Sent`](retransmitter::Event::Sent) is needed.
        9 => Retransmit(event: retransmitter::Event<'a>),
    }
    // Before version 3.
    retired {
        0 => (message) Self::Transmit(Send::Message(message)),
        1 => () Self::Transmit(Send::Flush),
        2 => () Self::Transmit(Send::End),
        4 => (packet) Self::Retransmit(Ask::Store { packet }),
        5 => (from, datagram) Self::Retransmit(Ask::Request { from, datagram }),
        6 => (id, packet) Self::Retransmit(Ask::Found { id, packet }),
        7 => (id) Self::Retransmit(Ask::NotFound { id }),
    }
}

/// A command of a publisher.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Command {
    /// Send this packet on every line.
    Send {
        /// The whole datagram, one for all lines.
        #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::fuzz::bytes))]
        bytes: Bytes,
    },
    /// A command of the answering side.
    Retransmit(retransmitter::Command),
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { bytes } => f.debug_tuple("Send").field(&Brief(bytes)).finish(),
            Self::Retransmit(command) => command.fmt(f),
        }
    }
}

impl<'a> From<transmitter::Event<'a>> for Event<'a> {
    fn from(event: transmitter::Event<'a>) -> Self {
        Self::Transmit(event)
    }
}

impl<'a> From<retransmitter::Event<'a>> for Event<'a> {
    fn from(event: retransmitter::Event<'a>) -> Self {
        Self::Retransmit(event)
    }
}
