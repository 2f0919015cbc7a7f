//! Datagrams that one system call moves, and what is known of each.

use std::net::{IpAddr, SocketAddr};

/// The most datagrams that one system call moves.
pub(crate) const BATCH: usize = 64;

/// The size of a receive slot: what the length field of UDP can say, so that no datagram is cut.
pub(crate) const SLOT: usize = 65_536;

/// A datagram as it lies in its slot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Received<'a> {
    pub(crate) bytes: &'a [u8],
    /// It was longer than any UDP datagram can be, and its end is missing.
    pub(crate) cut: bool,
    /// Its sender, where names were asked for.
    pub(crate) from: Option<SocketAddr>,
    /// The kernel's time of its arrival, in nanoseconds since 1970, where enabled.
    pub(crate) wall_nanos: Option<u64>,
    /// Where it was sent to, where enabled.
    pub(crate) to: Option<Destination>,
}

/// Where a datagram was sent to, and on which interface it came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Destination {
    pub(crate) address: IpAddr,
    pub(crate) interface: u32,
}
