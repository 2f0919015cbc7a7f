//! Errors that a driver cannot continue after. Datagrams never make an error, and neither do sends.

use std::io;
use std::net::SocketAddr;

use gapless_core::receiver::LineId;
use gapless_core::{publisher, receiver, transmitter};

use crate::Address;

/// Why a driver cannot be made, or cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A line's socket cannot be had as it was asked for.
    #[error("cannot {action} {address}: {source}")]
    Line {
        /// The step that failed.
        action: &'static str,
        /// The line.
        address: Address,
        /// The system's error.
        source: io::Error,
    },
    /// The socket that requests are sent from, or taken on, cannot be had as it was asked for.
    #[error("cannot {action} {address}: {source}")]
    Requests {
        /// The step that failed.
        action: &'static str,
        /// The local address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// Two lines have one address: their packets could not be distinguished.
    #[error("line {address} is given twice")]
    LineTwice {
        /// The address.
        address: Address,
    },
    /// A line of this number exists already.
    #[error("line {} exists already", .0.0)]
    LineExists(LineId),
    /// More lines, or more servers, than there are numbers for.
    #[error("{given} {what} are too many: the most are {most}")]
    TooMany {
        /// Lines or servers.
        what: &'static str,
        /// How many were given.
        given: usize,
        /// How many there may be.
        most: usize,
    },
    /// Waiting for sockets failed.
    #[error("cannot wait for sockets: {0}")]
    Poll(#[source] io::Error),
    /// Reading a socket failed.
    #[error("cannot read from {local}: {source}")]
    Read {
        /// The socket's local address.
        local: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The receiver refuses its configuration, or an event.
    #[error(transparent)]
    Receiver(#[from] receiver::Error),
    /// The publisher refuses its configuration, or an event.
    #[error(transparent)]
    Publisher(#[from] publisher::Error),
}

impl Error {
    /// Whether a message was refused only for now, because all packets of the ring are in use: give
    /// the driver a turn, then try again.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(
            self,
            Self::Publisher(publisher::Error::Transmitter(transmitter::Error::Full { .. }))
        )
    }
}
