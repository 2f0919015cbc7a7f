//! One UDP socket: batches of datagrams in and out, segmented by the kernel where it can (GSO, GRO), with
//! their ECN marks. Readiness is remembered, since mio reports edges.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use mio::event::Source;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Type};

use crate::Error;
use crate::error_queue::{self, Undelivered};

/// Batches that one system call reads at most.
const BATCHES: usize = 8;
/// Whether a call reads as many as there are: then fewer than asked for are all.
const READS_ALL: bool = cfg!(any(target_os = "linux", target_os = "android"));
/// Bytes of a batch at most: the largest UDP payload, or what the kernel glues together.
const BATCH_BYTES: usize = 64 << 10;
/// Reports of what was not delivered that are read at once, and that are kept until they are taken.
const REPORTS: usize = 64;
/// The errors of a segmented write that its device cannot take (EIO, EINVAL): quinn-udp writes no
/// others from then on.
const NO_SEGMENTS: [i32; 2] = [5, 22];
/// Times that a datagram is sent again, at most, after a call that failed for what an earlier one met.
const RETRIES: usize = 3;
/// The only errors of a read that are the socket's own where the system reports what ICMP messages say:
/// EBADF, ENOMEM, EFAULT, EINVAL, ENOSYS and ENOTSOCK of Linux. Any other one is what somebody says of a
/// datagram that was sent, which anybody can forge.
const BROKEN: [i32; 6] = [9, 12, 14, 22, 38, 88];

/// The statistics of reading or writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct SocketStats {
    /// System calls.
    pub calls: u64,
    /// Datagrams.
    pub datagrams: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Times that the kernel had no room, or nothing to read.
    pub blocked: u64,
    /// Calls that failed: what they carried is lost, as on any path.
    pub failed: u64,
}

/// Where batches are read into.
pub(crate) struct Slots {
    bytes: Vec<u8>,
    meta: [RecvMeta; BATCHES],
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; BATCHES * BATCH_BYTES], meta: [RecvMeta::default(); BATCHES] }
    }
}

#[derive(Debug)]
pub(crate) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    address: SocketAddr,
    /// Whether the system reports what ICMP messages answer.
    has_icmp: bool,
    /// Whether room to send is reported.
    is_watched: bool,
    pub(crate) is_readable: bool,
    pub(crate) is_writable: bool,
    /// Whether there may be something in the socket's error queue.
    pub(crate) has_reports: bool,
    /// Reports of failed delivery that were not taken yet.
    undelivered: Vec<Undelivered>,
    pub(crate) received: SocketStats,
    pub(crate) sent: SocketStats,
}

impl Socket {
    /// Binds; a buffer of 0 bytes leaves the system's. With `wants_reports` the system is asked to report
    /// what ICMP messages answer to what is sent.
    pub(crate) fn bind(
        address: SocketAddr,
        receive_buffer: usize,
        send_buffer: usize,
        wants_reports: bool,
    ) -> Result<Self, Error> {
        let failed = |action| move |source| Error::Socket { action, address, source };
        let socket =
            socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))
                .map_err(failed("open a socket"))?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            // IPv4 peers can be reached too.
            socket.set_only_v6(false).map_err(failed("take IPv4 beside IPv6"))?;
        }
        socket.set_nonblocking(true).map_err(failed("open a socket"))?;
        if receive_buffer > 0 {
            socket.set_recv_buffer_size(receive_buffer).map_err(failed("set the buffers"))?;
        }
        if send_buffer > 0 {
            socket.set_send_buffer_size(send_buffer).map_err(failed("set the buffers"))?;
        }
        socket.bind(&address.into()).map_err(failed("listen"))?;
        let io = UdpSocket::from_std(socket.into());
        let state = UdpSocketState::new(UdpSockRef::from(&io)).map_err(failed("set up"))?;
        if wants_reports {
            state.enable_transport_errors(UdpSockRef::from(&io)).map_err(failed("set up"))?;
        }
        let address = io.local_addr().map_err(failed("listen"))?;
        Ok(Self {
            io,
            state,
            address,
            has_icmp: wants_reports && cfg!(any(target_os = "linux", target_os = "android")),
            is_watched: false,
            is_readable: true,
            is_writable: true,
            has_reports: false,
            undelivered: Vec::new(),
            received: SocketStats::default(),
            sent: SocketStats::default(),
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.io.register(registry, token, Interest::READABLE)
    }

    /// Subscribes to room to send as long as there is none: else every datagram that leaves would
    /// wake somebody.
    pub(crate) fn watch(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if self.is_watched != self.is_writable {
            return Ok(());
        }
        let interest = if self.is_writable {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        self.io.reregister(registry, token, interest)?;
        self.is_watched = !self.is_writable;
        Ok(())
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.io.deregister(registry)
    }

    /// Datagrams that one write can carry.
    pub(crate) fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Reads what one system call gives, and hands over every datagram; how many.
    pub(crate) fn read(
        &mut self,
        slots: &mut Slots,
        mut take: impl FnMut(&RecvMeta, &[u8]),
    ) -> io::Result<usize> {
        if std::mem::take(&mut self.has_reports) {
            self.read_reports();
        }
        let Slots { bytes, meta } = slots;
        let read = {
            let mut chunks = bytes.chunks_exact_mut(BATCH_BYTES);
            let mut slices: [IoSliceMut<'_>; BATCHES] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            self.state.recv(UdpSockRef::from(&self.io), &mut slices, meta)
        };
        self.received.calls += 1;
        let batches = match read {
            Ok(batches) => batches,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_readable = false;
                self.received.blocked += 1;
                return Ok(0);
            }
            // An earlier datagram met this on its way.
            Err(error) if self.read_reports() || is_passing(&error, self.has_icmp) => return Ok(0),
            Err(error) => return Err(error),
        };
        if READS_ALL && batches < BATCHES {
            // There was no more; what comes from now on is reported.
            self.is_readable = false;
        }
        let mut count = 0;
        for (meta, bytes) in meta.iter().zip(bytes.chunks_exact(BATCH_BYTES)).take(batches) {
            for datagram in bytes[..meta.len].chunks(meta.stride.max(1)) {
                take(meta, datagram);
                count += 1;
            }
            self.received.bytes += meta.len as u64;
        }
        self.received.datagrams += count as u64;
        Ok(count)
    }

    /// Sends; `false` when the kernel has no room now.
    pub(crate) fn send(&mut self, transmit: &quinn_proto::Transmit, bytes: &[u8]) -> bool {
        let is_mapped = self.address.is_ipv6();
        let packet = quinn_udp::Transmit {
            destination: if is_mapped {
                mapped(transmit.destination)
            } else {
                transmit.destination
            },
            ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: bytes,
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip.map(|ip| if is_mapped { mapped_ip(ip) } else { ip }),
        };
        let mut sent = self.try_send(&packet);
        // The error that an earlier datagram met on its way is the answer to the next send, and is not always
        // reported. An answer that comes again with nothing reported between is to this datagram.
        let mut is_own = !self.has_icmp;
        for _ in 0..RETRIES {
            if is_own
                || sent.as_ref().map_or_else(|e| e.kind() == io::ErrorKind::WouldBlock, |()| true)
            {
                break;
            }
            is_own = !self.read_reports();
            sent = self.try_send(&packet);
        }
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_writable = false;
                self.sent.blocked += 1;
                return false;
            }
            // The network's loss, of which connections that are complete find out by themselves.
            Err(error) => {
                self.sent.failed += 1;
                let code = error
                    .raw_os_error()
                    .filter(|code| transmit.segment_size.is_none() || !NO_SEGMENTS.contains(code));
                if let Some(os_error) = code
                    && is_own
                    && self.undelivered.len() < REPORTS
                {
                    let remote = transmit.destination;
                    self.undelivered.push(Undelivered { remote, os_error });
                }
                return true;
            }
            Ok(()) => {}
        }
        let size = transmit.segment_size.unwrap_or(bytes.len()).max(1);
        self.sent.datagrams += bytes.len().div_ceil(size) as u64;
        self.sent.bytes += bytes.len() as u64;
        true
    }

    fn try_send(&mut self, packet: &quinn_udp::Transmit<'_>) -> io::Result<()> {
        self.sent.calls += 1;
        self.state.try_send(UdpSockRef::from(&self.io), packet)
    }

    /// Reads what the system reports of what it could not deliver; whether anything came from the network.
    fn read_reports(&mut self) -> bool {
        let mut count = 0;
        for _ in 0..REPORTS {
            let Some(undelivered) = error_queue::next(&self.io) else { break };
            // A datagram that is too large for this machine is reported without a port, and is what the call
            // answers, too.
            if undelivered.remote.port() == 0 {
                continue;
            }
            count += 1;
            if self.undelivered.len() < REPORTS {
                self.undelivered.push(undelivered);
            }
        }
        count > 0
    }

    /// Reports of failed delivery since the last call.
    pub(crate) fn take_undelivered(&mut self) -> Vec<Undelivered> {
        std::mem::take(&mut self.undelivered)
    }
}

/// Whether reading goes on after an error: it is what a datagram that was sent met on its way.
fn is_passing(error: &io::Error, has_icmp: bool) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionReset | ConnectionRefused | Interrupted)
        || has_icmp && error.raw_os_error().is_some_and(|code| !BROKEN.contains(&code))
}

/// The opposite of [`plain`](crate::endpoint::plain).
fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => SocketAddr::new(mapped_ip(address.ip()), address.port()),
        SocketAddr::V6(_) => address,
    }
}

fn mapped_ip(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
        IpAddr::V6(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use mio::{Events, Poll};

    use super::*;

    /// Whether the socket's poll reports at once that there is room.
    fn reports_room(poll: &mut Poll) -> bool {
        let mut events = Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        events.iter().any(mio::event::Event::is_writable)
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_call_that_reads_all_is_not_followed_by_one_that_reads_nothing() {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(4);
        let mut socket = Socket::bind((Ipv4Addr::LOCALHOST, 0).into(), 0, 0, false).unwrap();
        socket.register(poll.registry(), Token(1)).unwrap();
        let other = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut slots = Slots::new();
        for round in 1..=3 {
            other.send_to(&[1; 9], socket.address()).unwrap();
            poll.poll(&mut events, None).unwrap();
            socket.is_readable = events.iter().any(mio::event::Event::is_readable);
            assert_eq!(socket.read(&mut slots, |_, _| {}).unwrap(), 1);
            assert!(!socket.is_readable);
            assert_eq!((socket.received.calls, socket.received.blocked), (round, 0));
        }
    }

    #[test]
    fn what_icmp_messages_say_ends_no_reading_and_a_broken_socket_does() {
        // EACCES, EPROTO, EMSGSIZE, ENETDOWN, ENETUNREACH, ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH.
        for code in [13, 71, 90, 100, 101, 111, 112, 113] {
            assert!(is_passing(&io::Error::from_raw_os_error(code), true), "{code}");
        }
        for code in BROKEN {
            assert!(!is_passing(&io::Error::from_raw_os_error(code), true), "{code}");
        }
        let unreachable = io::Error::from_raw_os_error(113);
        assert!(!is_passing(&unreachable, false), "nobody asked for it");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_an_earlier_datagram_met_is_not_put_down_to_the_next_though_it_is_not_reported() {
        let here = SocketAddr::from((Ipv4Addr::new(127, 77, 1, 1), 0));
        let mut socket = Socket::bind(here, 4096, 0, true).unwrap();
        let other = std::net::UdpSocket::bind(here).unwrap();
        // Unread datagrams leave no room for reports.
        for size in [1000, 500, 200, 1] {
            for _ in 0..100 {
                other.send_to(&vec![0; size], socket.address()).unwrap();
            }
        }
        let nobody = SocketAddr::from((Ipv4Addr::new(127, 77, 1, 2), 9));
        let mut send = |destination| {
            let transmit = quinn_proto::Transmit {
                destination,
                ecn: None,
                size: 9,
                segment_size: None,
                src_ip: None,
            };
            assert!(socket.send(&transmit, &[1; 9]));
            socket.take_undelivered()
        };
        assert_eq!(send(nobody), []);
        assert_eq!(send(other.local_addr().unwrap()), []);
        other.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(other.recv(&mut [0; 20]).unwrap(), 9);
    }

    #[test]
    fn room_is_reported_only_while_there_was_none() {
        let mut poll = Poll::new().unwrap();
        let registry = poll.registry().try_clone().unwrap();
        let mut socket = Socket::bind((Ipv4Addr::LOCALHOST, 0).into(), 0, 0, false).unwrap();
        socket.register(&registry, Token(1)).unwrap();
        socket.watch(&registry, Token(1)).unwrap();
        assert!(!reports_room(&mut poll));
        socket.is_writable = false;
        socket.watch(&registry, Token(1)).unwrap();
        assert!(reports_room(&mut poll));
        socket.is_writable = true;
        socket.watch(&registry, Token(1)).unwrap();
        assert!(!reports_room(&mut poll));
    }
}
