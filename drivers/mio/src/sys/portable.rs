//! Unix systems other than Linux: one datagram a system call, through safe crates. What they have no
//! common way to is refused as unsupported, and the drivers go on without it.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use socket2::{InterfaceIndexOrAddress, SockRef};

use super::batch::{BATCH, Received, SLOT};

/// Slots for up to [`BATCH`] datagrams, filled one system call at a time.
pub(crate) struct ReceiveBatch {
    slots: Vec<MaybeUninit<u8>>,
    datagrams: Vec<(Vec<u8>, Option<SocketAddr>)>,
}

impl ReceiveBatch {
    /// Empty slots.
    pub(crate) fn new(_with_names: bool) -> Self {
        Self { slots: vec![MaybeUninit::new(0); SLOT], datagrams: Vec::with_capacity(BATCH) }
    }

    /// Reads what the socket holds, up to [`BATCH`] datagrams; never waits.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.datagrams.clear();
        let socket = SockRef::from(&socket);
        while self.datagrams.len() < BATCH {
            match socket.recv_from(&mut self.slots) {
                Ok((length, from)) => {
                    // SAFETY: the slot was initialised when it was made, and by the kernel since.
                    let bytes = unsafe { self.slots[..length].assume_init_ref() };
                    self.datagrams.push((bytes.to_vec(), from.as_socket()));
                }
                Err(error) if self.datagrams.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(self.datagrams.len())
    }

    /// Datagram `index` of those that the last call read.
    pub(crate) fn get(&self, index: usize) -> Received<'_> {
        let (bytes, from) = &self.datagrams[index];
        Received { bytes, from: *from, ..Received::default() }
    }
}

/// Sends one datagram a system call.
pub(crate) struct SendBatch;

impl SendBatch {
    pub(crate) fn new() -> Self {
        Self
    }

    /// Sends up to [`BATCH`] datagrams; never waits. Returns how many went.
    pub(crate) fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        datagrams: impl Iterator<Item = (&'a [u8], SocketAddr)>,
    ) -> io::Result<usize> {
        let socket = SockRef::from(&socket);
        let mut sent = 0;
        for (bytes, to) in datagrams.take(BATCH) {
            match socket.send_to(bytes, &to.into()) {
                Ok(_) => sent += 1,
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(sent)
    }
}

pub(crate) const RECEIVE_BUFFER_FACTOR: usize = 1;

pub(crate) fn enable_arrival_times(_: BorrowedFd<'_>, _on: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn last_arrival(_: BorrowedFd<'_>) -> Option<u64> {
    None
}

pub(crate) fn enable_destinations(_: BorrowedFd<'_>, _ipv4: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn force_receive_buffer(_: BorrowedFd<'_>, _bytes: libc::c_int) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn keep_to_own_joins(_: BorrowedFd<'_>, _ipv4: bool, _: u32) -> io::Result<()> {
    Ok(())
}

pub(crate) fn set_busy_poll(_: BorrowedFd<'_>, _: Duration) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Joins a group on an interface; sources cannot be given by index here.
pub(crate) fn join(
    socket: BorrowedFd<'_>,
    group: IpAddr,
    source: Option<IpAddr>,
    interface: u32,
) -> io::Result<()> {
    let socket = SockRef::from(&socket);
    match (group, source) {
        (_, Some(_)) => Err(io::ErrorKind::Unsupported.into()),
        (IpAddr::V4(group), None) => {
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface))
        }
        (IpAddr::V6(group), None) => socket.join_multicast_v6(&group, interface),
    }
}

/// Leaves a group on an interface.
pub(crate) fn leave(socket: BorrowedFd<'_>, group: IpAddr, interface: u32) -> io::Result<()> {
    let socket = SockRef::from(&socket);
    match group {
        IpAddr::V4(group) => {
            socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface))
        }
        IpAddr::V6(group) => socket.leave_multicast_v6(&group, interface),
    }
}

/// Sends multicast from the interface that has `address`; an index alone is not enough here.
pub(crate) fn send_multicast_on(
    socket: BorrowedFd<'_>,
    _interface: u32,
    address: Option<Ipv4Addr>,
) -> io::Result<()> {
    let address = address.ok_or(io::ErrorKind::Unsupported)?;
    SockRef::from(&socket).set_multicast_if_v4(&address)
}

pub(crate) fn drops(_: BorrowedFd<'_>) -> io::Result<u32> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Waits until a descriptor is readable, at most `time`, rounded up to milliseconds.
pub(crate) fn wait_readable(descriptor: RawFd, time: Duration) -> io::Result<bool> {
    wait(descriptor, libc::POLLIN, time)
}

/// Waits until a descriptor is writable, at most `time`, rounded up to milliseconds.
pub(crate) fn wait_writable(descriptor: RawFd, time: Duration) -> io::Result<bool> {
    wait(descriptor, libc::POLLOUT, time)
}

fn wait(descriptor: RawFd, events: libc::c_short, time: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: descriptor, events, revents: 0 };
    let millis = libc::c_int::try_from(time.as_micros().div_ceil(1000)).unwrap_or(libc::c_int::MAX);
    // SAFETY: one descriptor entry that outlives the call.
    match unsafe { libc::poll(&raw mut poll, 1, millis) } {
        -1 => Err(io::Error::last_os_error()),
        ready => Ok(ready > 0),
    }
}
