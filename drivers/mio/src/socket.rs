//! Opens sockets the way lines and requests need them: joined, kept apart from other feeds on the
//! same port, with the buffers and options that were asked for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Type};

use crate::Error;
use crate::address::{Address, Interface, Multicast};
use crate::clock::Arrivals;
use crate::sys;

/// The name of a step of opening a socket, in an error.
pub(crate) type Step = &'static str;

/// The options of every socket that data comes in on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    /// Bytes; zero leaves the system's default.
    pub(crate) receive_buffer: usize,
    /// The clock that arrival times are read from.
    pub(crate) arrivals: Arrivals,
    /// Whether the kernel polls the device, where it can and may.
    pub(crate) busy_poll: Option<Duration>,
}

/// A bound UDP socket that never blocks.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: socket2::Socket,
    local: SocketAddr,
    drops: Drops,
}

/// The kernel's counter of drops is 32 bits wide; this one is not, if read often enough.
#[derive(Clone, Copy, Debug, Default)]
struct Drops {
    last: u32,
    total: u64,
}

impl Socket {
    /// A socket that one line comes in on, and nothing else.
    pub(crate) fn for_line(line: &Address, wishes: Wishes) -> Result<Self, (Step, io::Error)> {
        let destination = line.destination();
        let ipv4 = destination.is_ipv4();
        let socket = open(ipv4, wishes)?;
        let mut local = destination;
        if let Some(Multicast { interface, source }) = line.group() {
            let index = index_of(interface).map_err(step("find the interface of"))?;
            socket.set_reuse_address(true).map_err(step("share the port of"))?;
            sys::keep_to_own_joins(socket.as_fd(), ipv4, index).map_err(step("isolate"))?;
            if let SocketAddr::V6(local) = &mut local {
                local.set_scope_id(index);
            }
            // Joined before it is bound: nothing comes in through another socket's join.
            sys::join(socket.as_fd(), destination.ip(), *source, index).map_err(step("join"))?;
        }
        Self::bind(socket, local)
    }

    /// A socket that several groups of one port and family come in on, distinguished by the
    /// destination of each datagram. Returns the interface index of each.
    pub(crate) fn for_groups(
        lines: &[&Address],
        wishes: Wishes,
    ) -> Result<(Self, Vec<u32>), Error> {
        let first = lines[0];
        let (ipv4, port) = (first.destination().is_ipv4(), first.destination().port());
        let open = || {
            let socket = open(ipv4, wishes)?;
            socket.set_reuse_address(true).map_err(step("share the port of"))?;
            sys::keep_to_own_joins(socket.as_fd(), ipv4, 0).map_err(step("isolate"))?;
            sys::enable_destinations(socket.as_fd(), ipv4).map_err(step("tell apart"))?;
            Ok(socket)
        };
        let socket = open().map_err(of(first))?;
        let mut indices = Vec::with_capacity(lines.len());
        for line in lines {
            let Some(Multicast { interface, source }) = line.group() else { continue };
            let join = || {
                let index = index_of(interface).map_err(step("find the interface of"))?;
                let group = line.destination().ip();
                sys::join(socket.as_fd(), group, *source, index).map_err(step("join"))?;
                Ok(index)
            };
            indices.push(join().map_err(of(line))?);
        }
        let socket = Self::bind(socket, unspecified(ipv4, port)).map_err(of(first))?;
        Ok((socket, indices))
    }

    /// A socket for requests and answers.
    pub(crate) fn for_requests(
        local: SocketAddr,
        wishes: Wishes,
    ) -> Result<Self, (Step, io::Error)> {
        Self::bind(open(local.is_ipv4(), wishes)?, local)
    }

    /// A socket to send a line from, whose packets travel so many `hops`.
    pub(crate) fn to_line(line: &Address, hops: Option<u32>) -> Result<Self, (Step, io::Error)> {
        let ipv4 = line.destination().is_ipv4();
        let wishes = Wishes { receive_buffer: 0, arrivals: Arrivals::Read, busy_poll: None };
        let socket = open(ipv4, wishes)?;
        if ipv4 && line.group().is_none() {
            // A broadcast address that is named is meant.
            socket.set_broadcast(true).map_err(step("allow broadcast to"))?;
        }
        if let Some(hops) = hops {
            let limited = match (line.group().is_some(), ipv4) {
                (true, true) => socket.set_multicast_ttl_v4(hops),
                (true, false) => socket.set_multicast_hops_v6(hops),
                (false, true) => socket.set_ttl_v4(hops),
                (false, false) => socket.set_unicast_hops_v6(hops),
            };
            limited.map_err(step("limit the hops to"))?;
        }
        let socket = Self::bind(socket, unspecified(ipv4, 0))?;
        if let Some(interface) = line.interface() {
            let index = index_of(interface).map_err(step("find the interface of"))?;
            socket.send_on(line, index).map_err(step("send multicast to"))?;
        }
        Ok(socket)
    }

    /// Joins a group, of any sender, on one interface in place of another, which may be gone.
    pub(crate) fn join_again(&self, group: IpAddr, from: u32, to: u32) -> io::Result<()> {
        // Where the interface is gone, what is left of the join stands in the way of a new one.
        let _ = sys::leave(self.as_fd(), group, from);
        sys::join(self.as_fd(), group, None, to)
    }

    /// Sends a group on the interface of this index.
    pub(crate) fn send_on(&self, line: &Address, index: u32) -> io::Result<()> {
        let sender = match line.interface() {
            Some(Interface::Address(IpAddr::V4(address))) => Some(*address),
            _ => None,
        };
        match line.destination().is_ipv4() {
            true => sys::send_multicast_on(self.as_fd(), index, sender),
            false => self.socket.set_multicast_if_v6(index),
        }
    }

    /// Goes on with the count of drops where the socket that this one takes the place of ended.
    pub(crate) fn add_drops(&mut self, drops: u64) {
        self.drops.total += drops;
    }

    fn bind(socket: socket2::Socket, local: SocketAddr) -> Result<Self, (Step, io::Error)> {
        socket.bind(&local.into()).map_err(step("bind"))?;
        let bound = socket.local_addr().map_err(step("bind"))?;
        let local = bound.as_socket().unwrap_or(local);
        Ok(Self { socket, local, drops: Drops::default() })
    }

    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.socket.as_raw_fd()), token, Interest::READABLE)
    }

    pub(crate) fn deregister(&self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut SourceFd(&self.socket.as_raw_fd()))
    }

    /// The receive buffer, in bytes as they are asked for: without what the kernel adds for its
    /// bookkeeping. Zero when it is unknown.
    pub(crate) fn receive_buffer(&self) -> usize {
        self.socket.recv_buffer_size().unwrap_or(0) / sys::RECEIVE_BUFFER_FACTOR
    }

    /// Datagrams that the kernel dropped here; zero where it does not report them.
    pub(crate) fn kernel_drops(&mut self) -> u64 {
        let now = sys::drops(self.as_fd()).unwrap_or(self.drops.last);
        self.drops.total += u64::from(now.wrapping_sub(self.drops.last));
        self.drops.last = now;
        self.drops.total
    }

    /// Waits until the socket takes datagrams to send, at most `time`; whether it may be tried again.
    pub(crate) fn wait_writable(&self, time: Duration) -> bool {
        sys::wait_writable(self.socket.as_raw_fd(), time).unwrap_or(true)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Any address of a family.
pub(crate) fn unspecified(ipv4: bool, port: u16) -> SocketAddr {
    match ipv4 {
        true => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port),
        false => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
    }
}

/// Of which line it is that a step failed.
pub(crate) fn of(line: &Address) -> impl FnOnce((Step, io::Error)) -> Error {
    |(action, source)| Error::Line { action, address: line.clone(), source }
}

fn step(step: Step) -> impl FnOnce(io::Error) -> (Step, io::Error) {
    move |error| (step, error)
}

fn open(ipv4: bool, wishes: Wishes) -> Result<socket2::Socket, (Step, io::Error)> {
    let domain = if ipv4 { Domain::IPV4 } else { Domain::IPV6 };
    let open = || {
        let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if !ipv4 {
            socket.set_only_v6(true)?;
        }
        Ok(socket)
    };
    let socket = open().map_err(step("open a socket for"))?;
    if wishes.receive_buffer > 0 {
        ask_for_receive_buffer(&socket, wishes.receive_buffer)
            .map_err(step("size the receive buffer of"))?;
    }
    if wishes.arrivals != Arrivals::Read {
        // Where the kernel does not report it, the time of reading stands in.
        let _ = sys::enable_arrival_times(socket.as_fd(), true);
    }
    if let Some(time) = wishes.busy_poll {
        // Raising it takes a right that few programs have; the driver spins by itself too.
        let _ = sys::set_busy_poll(socket.as_fd(), time);
    }
    Ok(socket)
}

/// Asks beyond the system's limit first, which takes a right, then within it. What came of it is
/// read back by [`Socket::receive_buffer`].
fn ask_for_receive_buffer(socket: &socket2::Socket, bytes: usize) -> io::Result<()> {
    // The kernel doubles it, and counts in a C `int`.
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX) / 2 * 2;
    let bytes = bytes.min(libc::c_int::MAX / 2);
    if sys::force_receive_buffer(socket.as_fd(), bytes).is_ok() {
        return Ok(());
    }
    socket.set_recv_buffer_size(usize::try_from(bytes).unwrap_or(0))
}

/// The index of an interface that is there.
pub(crate) fn index_of(interface: &Interface) -> io::Result<u32> {
    match interface {
        Interface::Index(index) => sys::interface_numbered(*index),
        Interface::Name(name) => sys::interface_named(name),
        Interface::Address(address) => sys::interface_with(*address),
    }
}
