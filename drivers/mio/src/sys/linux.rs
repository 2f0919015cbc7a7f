//! The system calls of Linux that nothing safe offers: `recvmmsg` and `sendmmsg` over buffers that
//! live as long as the sockets, and the socket options behind them.
//!
//! Invariants: every pointer in a message header points into a heap buffer that the same struct
//! owns and never resizes, or is written anew right before the call; the kernel writes only during
//! a call that borrows the struct mutably; what it wrote is read through safe slices, cut to the
//! lengths that it reported.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;
use std::time::Duration;

use libc::c_int;

use super::batch::{BATCH, Destination, Received, SLOT};

/// From one slot to the next: not a multiple of a large power of two, or else the fronts of all
/// slots, which are all that most datagrams touch, would share a few sets of every cache.
const STRIDE: usize = SLOT + 2048;

/// A timestamp (32 bytes with its header) and the packet's destination (40 at most).
const CONTROL: usize = 80;

/// `struct sockaddr_in6`; IPv4 needs 16.
const NAME: usize = 28;

/// Asks for the arrival time of the last datagram; `SIOCGSTAMPNS_OLD` of `asm-generic/sockios.h`.
const SIOCGSTAMPNS: u32 = 0x8907;

/// The counters of a socket's memory; `SO_MEMINFO` and `SK_MEMINFO_DROPS` of `linux/sock_diag.h`.
const SO_MEMINFO: c_int = 55;
const MEMINFO_DROPS: usize = 8;
const MEMINFO_VARS: usize = 9;

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Name([u8; NAME]);

/// Slots for up to [`BATCH`] datagrams, and what one system call needs to fill them.
///
/// A slot takes the largest datagram there is, so nothing is ever cut. Slots are virtual memory
/// until touched: datagrams of a usual MTU keep one page each alive.
pub(crate) struct ReceiveBatch {
    slots: Vec<u8>,
    names: Vec<Name>,
    controls: Vec<Control>,
    /// One for each header; only the kernel reads them.
    _iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    with_names: bool,
    filled: usize,
}

// SAFETY: the raw pointers in the headers point only into the heap buffers of the same struct,
// which move with it between threads and are reached by nobody else.
unsafe impl Send for ReceiveBatch {}

impl ReceiveBatch {
    /// Empty slots. Senders' addresses are taken only `with_names`, for they cost time.
    pub(crate) fn new(with_names: bool) -> Self {
        let mut slots = vec![0; BATCH * STRIDE];
        let mut names = vec![Name([0; NAME]); BATCH];
        let mut controls = vec![Control([0; CONTROL]); BATCH];
        let base = slots.as_mut_ptr();
        let mut iovecs: Vec<libc::iovec> = (0..BATCH)
            .map(|i| libc::iovec { iov_base: base.wrapping_add(i * STRIDE).cast(), iov_len: SLOT })
            .collect();
        let headers = (0..BATCH)
            .map(|i| {
                let mut header = empty_header();
                if with_names {
                    header.msg_hdr.msg_name = names.as_mut_ptr().wrapping_add(i).cast();
                    header.msg_hdr.msg_namelen = NAME as libc::socklen_t;
                }
                header.msg_hdr.msg_iov = iovecs.as_mut_ptr().wrapping_add(i);
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_control = controls.as_mut_ptr().wrapping_add(i).cast();
                header.msg_hdr.msg_controllen = CONTROL as _;
                header
            })
            .collect();
        Self { slots, names, controls, _iovecs: iovecs, headers, with_names, filled: 0 }
    }

    /// Reads what the socket holds, up to [`BATCH`] datagrams, by one system call; never waits.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; whatever else the kernel says.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        for header in &mut self.headers[..self.filled] {
            if self.with_names {
                header.msg_hdr.msg_namelen = NAME as libc::socklen_t;
            }
            header.msg_hdr.msg_controllen = CONTROL as _;
        }
        self.filled = 0;
        // SAFETY: the headers are BATCH valid ones; their names, iovecs, controls and slots are
        // heap buffers of this struct, of the lengths that the headers say, and borrowed mutably
        // for the time of the call.
        let filled = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        self.filled = usize::try_from(filled).map_err(|_| io::Error::last_os_error())?;
        Ok(self.filled)
    }

    /// Datagram `index` of those that the last call read.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Received<'_> {
        let header = &self.headers[..self.filled][index];
        let start = index * STRIDE;
        let length = (header.msg_len as usize).min(SLOT);
        #[allow(clippy::unnecessary_cast, reason = "glibc says usize, musl u32")]
        let controls = (header.msg_hdr.msg_controllen as usize).min(CONTROL);
        let mut received = Received {
            bytes: &self.slots[start..start + length],
            cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            ..Received::default()
        };
        if self.with_names {
            received.from = read_name(&self.names[index].0);
        }
        read_controls(&self.controls[index].0[..controls], &mut received);
        received
    }
}

/// Headers for up to [`BATCH`] datagrams to send by one system call.
pub(crate) struct SendBatch {
    names: Vec<Name>,
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: the raw pointers are written at the start of `send` and read only during it.
unsafe impl Send for SendBatch {}

impl SendBatch {
    pub(crate) fn new() -> Self {
        Self {
            names: Vec::with_capacity(BATCH),
            iovecs: Vec::with_capacity(BATCH),
            headers: Vec::with_capacity(BATCH),
        }
    }

    /// Sends the first [`BATCH`] datagrams by one system call; never waits. Returns how many went.
    ///
    /// # Errors
    /// The first datagram was not sent, for this reason.
    pub(crate) fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        datagrams: impl Iterator<Item = (&'a [u8], SocketAddr)>,
    ) -> io::Result<usize> {
        self.names.clear();
        self.iovecs.clear();
        self.headers.clear();
        for (bytes, to) in datagrams.take(BATCH) {
            let (name, length) = write_name(to);
            self.names.push(name);
            self.iovecs.push(libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            });
            let mut header = empty_header();
            header.msg_hdr.msg_namelen = length;
            self.headers.push(header);
        }
        for (i, header) in self.headers.iter_mut().enumerate() {
            header.msg_hdr.msg_name = self.names.as_mut_ptr().wrapping_add(i).cast();
            header.msg_hdr.msg_iov = self.iovecs.as_mut_ptr().wrapping_add(i);
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: as many headers as given, each with a name and an iovec in this struct's vectors,
        // which are not touched after the pointers were taken; the iovecs point to slices that the
        // caller's iterator lent for longer than this call ('a), and the kernel only reads them.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Whether the kernel reports the arrival time with every datagram. Once it did, it goes on noting
/// arrivals, for [`last_arrival`].
pub(crate) fn enable_arrival_times(socket: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &c_int::from(on))
}

/// When the datagram that was read last arrived, in nanoseconds since 1970.
pub(crate) fn last_arrival(socket: BorrowedFd<'_>) -> Option<u64> {
    // `tv_sec`, then `tv_nsec`: a `timespec`, as bytes.
    let mut time = [0_u8; mem::size_of::<libc::timespec>()];
    // SAFETY: the kernel writes one `timespec`, for which there is room.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSTAMPNS as _, time.as_mut_ptr()) };
    if result == 0 { read_time(&time) } else { None }
}

/// Asks for the destination address of every datagram.
pub(crate) fn enable_destinations(socket: BorrowedFd<'_>, ipv4: bool) -> io::Result<()> {
    match ipv4 {
        true => set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, &1_i32),
        false => set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &1_i32),
    }
}

/// Asks for a receive buffer beyond the system's limit; refused without the right to.
pub(crate) fn force_receive_buffer(socket: BorrowedFd<'_>, bytes: c_int) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &bytes)
}

/// How much the kernel's answer about a receive buffer exceeds what was asked: it doubles, to make
/// room for its bookkeeping.
pub(crate) const RECEIVE_BUFFER_FACTOR: usize = 2;

/// Lets a socket take only what its own joins ask for, not what any socket of this machine joined.
///
/// For IPv4 that distinguishes interfaces and sources too; for IPv6 only groups, so there a socket
/// whose joins are all on one interface (not 0) is bound to that.
pub(crate) fn keep_to_own_joins(
    socket: BorrowedFd<'_>,
    ipv4: bool,
    interface: u32,
) -> io::Result<()> {
    if ipv4 {
        return set_option(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, &0_i32);
    }
    set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_ALL, &0_i32)?;
    set_option(socket, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, &(interface as c_int))
}

/// Lets the kernel poll the network device for up to this long in place of sleeping.
pub(crate) fn set_busy_poll(socket: BorrowedFd<'_>, time: Duration) -> io::Result<()> {
    let micros = c_int::try_from(time.as_micros()).unwrap_or(c_int::MAX);
    set_option(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL, &micros)
}

/// Joins a group on an interface, for all senders or for one.
pub(crate) fn join(
    socket: BorrowedFd<'_>,
    group: IpAddr,
    source: Option<IpAddr>,
    interface: u32,
) -> io::Result<()> {
    let level = if group.is_ipv4() { libc::IPPROTO_IP } else { libc::IPPROTO_IPV6 };
    match source {
        None => {
            let request = libc::group_req { gr_interface: interface, gr_group: storage(group) };
            set_option(socket, level, libc::MCAST_JOIN_GROUP, &request)
        }
        Some(source) => {
            let request = libc::group_source_req {
                gsr_interface: interface,
                gsr_group: storage(group),
                gsr_source: storage(source),
            };
            set_option(socket, level, libc::MCAST_JOIN_SOURCE_GROUP, &request)
        }
    }
}

/// Leaves a group on an interface, of whichever sender. The interface need not be there any more.
pub(crate) fn leave(socket: BorrowedFd<'_>, group: IpAddr, interface: u32) -> io::Result<()> {
    let level = if group.is_ipv4() { libc::IPPROTO_IP } else { libc::IPPROTO_IPV6 };
    let request = libc::group_req { gr_interface: interface, gr_group: storage(group) };
    set_option(socket, level, libc::MCAST_LEAVE_GROUP, &request)
}

/// Sends multicast out of an interface, from `address` where one is given.
pub(crate) fn send_multicast_on(
    socket: BorrowedFd<'_>,
    interface: u32,
    address: Option<Ipv4Addr>,
) -> io::Result<()> {
    let octets = address.unwrap_or(Ipv4Addr::UNSPECIFIED).octets();
    let request = libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: 0 },
        imr_address: libc::in_addr { s_addr: u32::from_ne_bytes(octets) },
        imr_ifindex: interface as c_int,
    };
    set_option(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request)
}

/// How many datagrams the kernel dropped on this socket since it was opened (modulo 2^32): its
/// buffer was full, or a checksum was wrong.
pub(crate) fn drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut counters = [0_u32; MEMINFO_VARS];
    let mut length = mem::size_of_val(&counters) as libc::socklen_t;
    // SAFETY: the buffer is `length` bytes long, and plain integers take any bytes.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            counters.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(counters[MEMINFO_DROPS]) } else { Err(io::Error::last_os_error()) }
}

/// Waits until a descriptor is readable, at most `time`, to the nanosecond.
pub(crate) fn wait_readable(descriptor: RawFd, time: Duration) -> io::Result<bool> {
    wait(descriptor, libc::POLLIN, time)
}

/// Waits until a descriptor is writable, at most `time`.
pub(crate) fn wait_writable(descriptor: RawFd, time: Duration) -> io::Result<bool> {
    wait(descriptor, libc::POLLOUT, time)
}

fn wait(descriptor: RawFd, events: libc::c_short, time: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: descriptor, events, revents: 0 };
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos() as _,
    };
    // SAFETY: one descriptor entry, a time, and no signal mask; all outlive the call.
    match unsafe { libc::ppoll(&raw mut poll, 1, &raw const time, ptr::null()) } {
        -1 => Err(io::Error::last_os_error()),
        ready => Ok(ready > 0),
    }
}

/// Sets an option to any plain structure of the C library.
fn set_option<T: Copy>(
    socket: BorrowedFd<'_>,
    level: c_int,
    option: c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes from a valid reference.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            ptr::from_ref(value).cast(),
            mem::size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: zeros are a valid header without name, data and control. (It has private padding on
    // some systems, so it cannot be written as a literal.)
    unsafe { mem::zeroed() }
}

/// Takes what is known out of control messages: each a `cmsghdr` (its length with the header, level,
/// type), its data, and padding to the size of a pointer.
#[inline]
fn read_controls(mut controls: &[u8], received: &mut Received<'_>) {
    const HEADER: usize = mem::size_of::<libc::cmsghdr>();
    const ALIGN: usize = mem::size_of::<usize>();
    while let Some((header, _)) = controls.split_at_checked(HEADER) {
        let (length, kind) = header.split_at(ALIGN);
        let length = usize::from_ne_bytes(length.try_into().unwrap_or_default());
        let level = c_int::from_ne_bytes(kind[..4].try_into().unwrap_or_default());
        let kind = c_int::from_ne_bytes(kind[4..8].try_into().unwrap_or_default());
        let Some(data) = controls.get(HEADER..length) else { return };
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => received.wall_nanos = read_time(data),
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // in_pktinfo: interface, local address, destination in the header.
                if let (Some(interface), Some(octets)) = (at::<4>(data, 0), at::<4>(data, 8)) {
                    received.to = Some(Destination {
                        address: IpAddr::from(octets),
                        interface: u32::from_ne_bytes(interface),
                    });
                }
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // in6_pktinfo: destination, interface.
                if let (Some(octets), Some(interface)) = (at::<16>(data, 0), at::<4>(data, 16)) {
                    received.to = Some(Destination {
                        address: IpAddr::from(octets),
                        interface: u32::from_ne_bytes(interface),
                    });
                }
            }
            _ => {}
        }
        controls = controls.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
    }
}

/// Nanoseconds since 1970 out of a `timespec`.
#[inline]
fn read_time(data: &[u8]) -> Option<u64> {
    const HALF: usize = mem::size_of::<libc::time_t>();
    let half = |offset| at::<HALF>(data, offset).map(libc::time_t::from_ne_bytes);
    let seconds = u64::try_from(half(0)?).ok()?;
    let nanos = u64::try_from(half(HALF)?).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// The socket address in the bytes of a `sockaddr_in` or `sockaddr_in6`.
fn read_name(name: &[u8; NAME]) -> Option<SocketAddr> {
    let family = c_int::from(u16::from_ne_bytes(at(name, 0)?));
    let port = u16::from_be_bytes(at(name, 2)?);
    match family {
        libc::AF_INET => Some(SocketAddrV4::new(Ipv4Addr::from(at::<4>(name, 4)?), port).into()),
        libc::AF_INET6 => Some(
            SocketAddrV6::new(
                Ipv6Addr::from(at::<16>(name, 8)?),
                port,
                u32::from_be_bytes(at(name, 4)?),
                u32::from_ne_bytes(at(name, 24)?),
            )
            .into(),
        ),
        _ => None,
    }
}

/// The bytes of a `sockaddr_in` or `sockaddr_in6`, and how many count.
fn write_name(address: SocketAddr) -> (Name, libc::socklen_t) {
    let mut name = [0; NAME];
    name[2..4].copy_from_slice(&address.port().to_be_bytes());
    let (family, length) = match address {
        SocketAddr::V4(address) => {
            name[4..8].copy_from_slice(&address.ip().octets());
            (libc::AF_INET, mem::size_of::<libc::sockaddr_in>())
        }
        SocketAddr::V6(address) => {
            name[4..8].copy_from_slice(&address.flowinfo().to_be_bytes());
            name[8..24].copy_from_slice(&address.ip().octets());
            name[24..].copy_from_slice(&address.scope_id().to_ne_bytes());
            (libc::AF_INET6, mem::size_of::<libc::sockaddr_in6>())
        }
    };
    name[..2].copy_from_slice(&(family as libc::sa_family_t).to_ne_bytes());
    (Name(name), length as libc::socklen_t)
}

/// An address, without a port, in the room for any kind of address.
fn storage(address: IpAddr) -> libc::sockaddr_storage {
    let (name, _) = write_name(SocketAddr::new(address, 0));
    // SAFETY: zeros are a valid (unspecified) address; a name is shorter than the room for any.
    unsafe {
        let mut storage: libc::sockaddr_storage = mem::zeroed();
        ptr::copy_nonoverlapping(name.0.as_ptr(), (&raw mut storage).cast(), NAME);
        storage
    }
}

/// `N` bytes at an offset.
#[inline]
fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written() {
        for written in ["127.0.0.1:5000", "[::1]:65535", "[fe80::1%3]:1"] {
            let address: SocketAddr = written.parse().unwrap();
            assert_eq!(read_name(&write_name(address).0.0), Some(address));
        }
    }

    #[test]
    fn control_messages_that_are_cut_short_are_left_alone() {
        let mut message = [0_u8; 32];
        message[..8].copy_from_slice(&32_usize.to_ne_bytes());
        message[8..12].copy_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
        message[12..16].copy_from_slice(&libc::SCM_TIMESTAMPNS.to_ne_bytes());
        message[16..24].copy_from_slice(&2_u64.to_ne_bytes());
        message[24..].copy_from_slice(&7_u64.to_ne_bytes());
        for length in 0..=message.len() {
            let mut received = Received::default();
            read_controls(&message[..length], &mut received);
            let whole = length == message.len();
            assert_eq!(received.wall_nanos, whole.then_some(2_000_000_007));
        }
        // A length of zero, which would repeat for ever.
        message[..8].fill(0);
        read_controls(&message, &mut Received::default());
    }
}
