//! What a transmitter takes and gives.

use bytes::Bytes;
use core::fmt;

use crate::wire::brief::{Brief, BriefMessage};
use crate::wire::mold::Kind;

/// What a transmitter takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// The next message of the session; copied once, into the packet that is being built. May be
    /// empty.
    Message(&'a [u8]),
    /// Send what there is, full or not.
    Flush,
    /// The session ends here: send what there is, then say so for a while. Again: nothing happens.
    End,
}

/// What a transmitter wants done.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// Send this packet on every line.
    Packet {
        /// The whole datagram, of at most `mtu` bytes, one for all lines.
        bytes: Bytes,
        /// Number of the first message; in heartbeats and ends the next number to expect (2^64-1
        /// stands for 2^64 too).
        first: u64,
        /// Messages in it: 1 to 65,534, or 0 in heartbeats and ends.
        count: u16,
        /// What it is.
        kind: Kind,
    },
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => {
                f.debug_tuple("Message").field(&BriefMessage(message)).finish()
            }
            Self::Flush => f.write_str("Flush"),
            Self::End => f.write_str("End"),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Number, count and kind are in the packet.
        let Self::Packet { bytes, .. } = self;
        f.debug_tuple("Packet").field(&Brief(bytes)).finish()
    }
}
