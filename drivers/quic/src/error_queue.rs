//! Reports of the system on datagrams that it could not deliver: the error queue of a socket on Linux
//! (`IP_RECVERR`, ip(7)), which names where each of them went. Elsewhere it is always empty.

use std::net::SocketAddr;

use mio::net::UdpSocket;

/// A datagram that could not be delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Undelivered {
    /// Where it went.
    pub(crate) remote: SocketAddr,
    /// The system's error number.
    pub(crate) os_error: i32,
}

/// Takes the oldest report out of the queue.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn next(socket: &UdpSocket) -> Option<Undelivered> {
    use std::io::IoSliceMut;
    use std::net::{SocketAddrV4, SocketAddrV6};
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};

    let (mut bytes, mut control) = ([0; 1], [0; 512]);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)
            .ok()?;
    let remote = message.address?;
    let remote = match (remote.as_sockaddr_in(), remote.as_sockaddr_in6()) {
        (Some(remote), _) => SocketAddrV4::from(*remote).into(),
        (_, Some(remote)) => SocketAddrV6::from(*remote).into(),
        _ => return None,
    };
    let os_error = message.cmsgs().ok()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
            i32::try_from(error.ee_errno).ok()
        }
        _ => None,
    })?;
    Some(Undelivered { remote, os_error })
}

/// Takes the oldest report out of the queue.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const fn next(_: &UdpSocket) -> Option<Undelivered> {
    None
}
