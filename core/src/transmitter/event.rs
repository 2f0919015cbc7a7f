//! The events and commands of a transmitter.

use bytes::Bytes;

use crate::vocabulary;
use crate::wire::brief::{Brief, BriefMessage};
use crate::wire::mold::Kind;

vocabulary! {
    "event of a transmitter";
    /// An event of a transmitter.
    #[derive(Clone, Copy, PartialEq, Eq)]
    #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
    pub enum Event<'a> {
        /// The next message of the session; copied once, into the packet that is being built. May be
        /// empty.
        0 => Message(message: &'a [u8] as BriefMessage),
        /// Send what there is, full or not.
        1 => Flush,
        /// The session ends here: send what there is, then say so for a while. Again: nothing happens.
        2 => End,
    }
}

vocabulary! {
    "command of a transmitter";
    /// A command of a transmitter.
    #[derive(Clone, PartialEq, Eq)]
    #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
    pub enum Command {
        /// Send this packet on every line.
        0 => Packet {
            /// The whole datagram, of at most `mtu` bytes, one for all lines.
            #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::fuzz::bytes))]
            bytes: Bytes as Brief,
            /// Number of the first message; in heartbeats and ends the next number to expect (2^64-1
            /// stands for 2^64 too).
            first: u64,
            /// Messages in it: 1 to 65,534, or 0 in heartbeats and ends.
            count: u16,
            /// Its kind.
            kind: Kind,
        },
    }
}
