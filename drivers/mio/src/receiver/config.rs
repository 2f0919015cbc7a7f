//! The configuration of a receiving driver, its sink, and its report of each line.

use std::net::SocketAddr;
use std::time::Duration;

use gapless_core::Instant;
use gapless_core::receiver::{self, Batch, Command, LineId, LineStats};

use crate::socket::Wishes;
use crate::stats::ReadStats;
use crate::{Address, Arrivals, Clock};

/// The configuration of a [`ReceiverDriver`](crate::ReceiverDriver).
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    /// The machine. Its `lines` and `servers` are replaced by the ones here. One with every default
    /// by default.
    pub receiver: receiver::Config,
    /// The lines, numbered from 0 in this order. At most 32; none by default.
    pub lines: Vec<Address>,
    /// The re-request servers, numbered from 0 in this order. At most 32; none by default.
    pub servers: Vec<SocketAddr>,
    /// The local address that requests are sent from, for servers of its family. `None`: the
    /// system chooses. `None` by default.
    pub requests_from: Option<SocketAddr>,
    /// The receive buffer asked for, of every socket, in bytes of datagrams and their bookkeeping.
    /// Zero leaves the system's default; 8 MiB by default. What was granted is in
    /// [`LineReport::receive_buffer`].
    pub receive_buffer: usize,
    /// The clock that arrival times are read from. The kernel's by default.
    pub arrivals: Arrivals,
    /// How long a turn reads the sockets over and over before it sleeps. The kernel is asked to poll
    /// the network device for as long, where it may. `None`: it sleeps at once. `None` by default.
    pub busy_poll: Option<Duration>,
    /// Whether groups of one port and family, of any sender, share a socket, so that one system
    /// call reads them all. Otherwise every line has a socket (and a receive buffer) of its own. Linux lets
    /// one socket join `net.ipv4.igmp_max_memberships` groups of IPv4, 20 if nobody raised it. `false` by
    /// default.
    pub share_sockets: bool,
    /// The clock; copies of one clock make the times of several drivers comparable. A new one by
    /// default.
    pub clock: Clock,
}

impl Default for ReceiverConfig {
    /// No lines and servers, 8 MiB of receive buffer, the kernel's arrival times, no busy polling, a
    /// socket for every line.
    fn default() -> Self {
        Self {
            receiver: receiver::Config::default(),
            lines: Vec::new(),
            servers: Vec::new(),
            requests_from: None,
            receive_buffer: 8 << 20,
            arrivals: Arrivals::Kernel,
            busy_poll: None,
            share_sockets: false,
            clock: Clock::new(),
        }
    }
}

impl ReceiverConfig {
    pub(super) const fn wishes(&self) -> Wishes {
        Wishes {
            receive_buffer: self.receive_buffer,
            arrivals: self.arrivals,
            busy_poll: self.busy_poll,
        }
    }
}

/// The place to which a driver delivers. `now` is the time, on the driver's [`Clock`](crate::Clock), at which the machine was
/// given what this follows from.
pub trait Sink {
    /// Consecutive messages, delivered once. They lie in a slot that is used again afterwards.
    fn batch(&mut self, now: Instant, batch: Batch<&[u8]>);

    /// Everything else that the machine emits: sessions, gaps, losses, lines. Never
    /// [`Command::Batch`] or [`Command::Request`].
    fn notice(&mut self, now: Instant, notice: Command);
}

/// A line as the driver sees it.
#[derive(Clone, Debug)]
pub struct LineReport {
    /// The line.
    pub line: LineId,
    /// Where it comes from.
    pub address: Address,
    /// The address that its socket is bound to.
    pub local: SocketAddr,
    /// The machine's statistics of it.
    pub stats: LineStats,
    /// The statistics of its socket. With `share_sockets` all lines of a socket report the same,
    /// here and below.
    pub read: ReadStats,
    /// Datagrams that the kernel dropped on its socket, most often because its buffer was full.
    /// Zero where the system does not report it.
    pub kernel_drops: u64,
    /// The receive buffer that was granted, in bytes as they were asked for.
    pub receive_buffer: usize,
}
