//! Sockets that are read, and whose the datagrams on them are: a line's, or a peer's.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsFd;

use gapless_core::Instant;
use gapless_core::receiver::{LineId, Source};

use crate::clock::Arrivals;
use crate::socket::{Socket, Wishes, index_of, of};
use crate::stats::ReadStats;
use crate::sys::{self, BATCH, Destination, ReceiveBatch, Received};
use crate::{Address, Error};

/// So many errors of one socket without a datagram in between mean that it is broken: what comes
/// back from the network is reported once each.
const MOST_ERRORS: u32 = 64;

/// A socket that is read.
pub(crate) struct Inbound {
    pub(crate) socket: Socket,
    pub(crate) role: Role,
    /// Whether it may hold more.
    pub(crate) ready: bool,
    /// Arrivals before this time were read, as far as the kernel reported arrival times.
    pub(crate) read_up_to: Instant,
    pub(crate) stats: ReadStats,
    arrivals: Arrivals,
    /// More than a batch waited, so the kernel reports arrivals by batch.
    backlog: bool,
    /// When the last datagram of the batch arrived, in nanoseconds since 1970, if reported by batch.
    batch_arrival: Option<u64>,
    errors_in_row: u32,
}

/// A socket that datagrams come in on.
pub(crate) enum Role {
    /// Requests, or answers to requests.
    Peers,
    /// One line.
    Line(LineId),
    /// Several lines, each a group on an interface.
    Groups(Vec<(Destination, LineId)>),
}

impl Inbound {
    /// The socket of one line, or of several that [`by_socket`] put together.
    pub(crate) fn for_lines(lines: &[(LineId, Address)], wishes: Wishes) -> Result<Self, Error> {
        let addresses: Vec<&Address> = lines.iter().map(|(_, address)| address).collect();
        if let [(line, address)] = lines {
            let socket = Socket::for_line(address, wishes).map_err(of(address))?;
            return Ok(Self::new(socket, Role::Line(*line), wishes));
        }
        let (socket, interfaces) = Socket::for_groups(&addresses, wishes)?;
        let groups = lines.iter().zip(interfaces).map(|((line, address), interface)| {
            (Destination { address: address.destination().ip(), interface }, *line)
        });
        Ok(Self::new(socket, Role::Groups(groups.collect()), wishes))
    }

    /// The socket that requests and answers come and go on.
    pub(crate) fn for_peers(local: SocketAddr, wishes: Wishes) -> Result<Self, Error> {
        let socket = Socket::for_requests(local, wishes)
            .map_err(|(action, source)| Error::Requests { action, address: local, source })?;
        Ok(Self::new(socket, Role::Peers, wishes))
    }

    /// Joins the group of a line again, on one interface in place of another. The new socket, where one
    /// takes the place of the old, is shown to `register` first.
    pub(crate) fn join_again(
        &mut self,
        (line, address): (LineId, &Address),
        (from, to): (u32, u32),
        wishes: Wishes,
        register: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> io::Result<()> {
        if let Role::Groups(groups) = &mut self.role {
            self.socket.join_again(address.destination().ip(), from, to)?;
            let group = groups.iter_mut().find(|(_, of)| *of == line);
            if let Some((destination, _)) = group {
                destination.interface = to;
            }
            return Ok(());
        }
        // Bound to the interface, if of IPv6: that takes a socket of its own.
        let mut socket = Socket::for_line(address, wishes).map_err(|(_, error)| error)?;
        register(&socket)?;
        socket.add_drops(self.socket.kernel_drops());
        let new = Self::new(socket, Role::Line(line), wishes);
        *self = Self { ready: true, read_up_to: self.read_up_to, stats: self.stats, ..new };
        Ok(())
    }

    fn new(socket: Socket, role: Role, wishes: Wishes) -> Self {
        Self {
            socket,
            role,
            ready: false,
            read_up_to: Instant::ZERO,
            stats: ReadStats::default(),
            arrivals: wishes.arrivals,
            backlog: false,
            batch_arrival: None,
            errors_in_row: 0,
        }
    }

    /// Reads once. A socket that gave less than it was asked for is empty: what comes later makes
    /// it ready again.
    pub(crate) fn receive(&mut self, slots: &mut ReceiveBatch) -> Result<usize, Error> {
        self.stats.reads += 1;
        match slots.receive(self.socket.as_fd()) {
            Ok(count) => {
                self.stats.datagrams += count as u64;
                self.ready = count == BATCH;
                self.errors_in_row = 0;
                self.follow_backlog();
                Ok(count)
            }
            Err(error) => self.failed(error).map(|()| 0),
        }
    }

    /// Has arrivals reported by batch as long as more than a batch waits.
    fn follow_backlog(&mut self) {
        self.batch_arrival = None;
        if self.arrivals != Arrivals::Kernel {
            return;
        }
        if self.backlog {
            self.stats.clock_calls += 1;
            self.batch_arrival = sys::last_arrival(self.socket.as_fd());
        }
        if self.ready != self.backlog {
            self.stats.clock_calls += 1;
            // Where it is refused, nothing has changed.
            if sys::enable_arrival_times(self.socket.as_fd(), !self.ready).is_ok() {
                self.backlog = self.ready;
            }
        }
    }

    /// When a datagram of the last batch arrived, in nanoseconds since 1970, where the kernel reports it.
    #[inline]
    pub(crate) fn arrival(&self, datagram: &Received<'_>) -> Option<u64> {
        datagram.wall_nanos.or(self.batch_arrival)
    }

    #[cold]
    fn failed(&mut self, source: io::Error) -> Result<(), Error> {
        match source.kind() {
            ErrorKind::WouldBlock => {
                self.ready = false;
                self.follow_backlog();
            }
            ErrorKind::Interrupted => {}
            // An ICMP message about an earlier request, most likely: reported once, then there may be
            // more to read.
            _ => {
                self.stats.errors += 1;
                self.errors_in_row += 1;
                if self.errors_in_row > MOST_ERRORS {
                    return Err(Error::Read { local: self.socket.local(), source });
                }
            }
        }
        Ok(())
    }

    /// Where a datagram came from, for the machine; `None` for what is dropped here, and counted.
    #[inline]
    pub(crate) fn source(&mut self, datagram: &Received<'_>) -> Option<Source> {
        self.stats.bytes += datagram.bytes.len() as u64;
        if datagram.cut {
            self.stats.cut += 1;
            return None;
        }
        match &self.role {
            Role::Line(line) => Some(Source::Line(*line)),
            Role::Peers => datagram.from.map(Source::Peer),
            Role::Groups(groups) => {
                let line = groups.iter().find(|(group, _)| datagram.to == Some(*group));
                if line.is_none() {
                    self.stats.stray += 1;
                }
                line.map(|(_, line)| Source::Line(*line))
            }
        }
    }
}

/// Whether two lines could not be distinguished, however they are written. Port 0 becomes a port of its own.
pub(crate) fn is_same_line(a: &Address, b: &Address) -> bool {
    let index = |address: &Address| index_of(address.interface()?).ok();
    let is_same = a.destination() == b.destination() && a.source() == b.source();
    let is_on_one_interface =
        || a.interface() == b.interface() || index(a).is_some_and(|of_a| index(b) == Some(of_a));
    is_same && a.destination().port() != 0 && is_on_one_interface()
}

/// Puts lines together that one socket serves: with `share`, groups of one port and family of any
/// sender. Those of one sender only cannot share: a socket distinguishes groups, not senders.
pub(crate) fn by_socket(
    lines: Vec<(LineId, Address)>,
    share: bool,
) -> Result<Vec<Vec<(LineId, Address)>>, Error> {
    let mut sockets: Vec<Vec<(LineId, Address)>> = Vec::new();
    for (line, address) in lines {
        if sockets.iter().flatten().any(|(_, known)| is_same_line(known, &address)) {
            return Err(Error::LineTwice { address });
        }
        let shares = |other: &Address| {
            let any_sender =
                |address: &Address| address.interface().is_some() && address.source().is_none();
            let (a, b) = (address.destination(), other.destination());
            share
                && any_sender(&address)
                && any_sender(other)
                && a.port() == b.port()
                && a.is_ipv4() == b.is_ipv4()
        };
        match sockets.iter_mut().find(|lines| lines.iter().all(|(_, other)| shares(other))) {
            Some(lines) => lines.push((line, address)),
            None => sockets.push(vec![(line, address)]),
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests;
