//! The socket and the clock around an [`Endpoint`]: reads datagrams, lets time pass, reports what happened,
//! sends what is to be sent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mio::{Events, Poll, Registry, Token};
use quinn_proto::EcnCodepoint;

use crate::Error;
use crate::endpoint::{self, Endpoint, plain};
use crate::error_queue::Undelivered;
use crate::handler::Handler;
use crate::outgoing::Outgoing;
use crate::socket::{Slots, Socket, SocketStats};

/// System calls that a turn reads with at most.
const ROUNDS: usize = 16;
/// Datagrams of a write at most: more than fit into the largest that the kernel takes are no use.
const SEGMENTS: usize = 44;
/// The longest sleep of a `run` before it asks again whether to stop.
const TICK: Duration = Duration::from_millis(100);

/// Where a [`Driver`] lives, and what it is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to bind; port 0 lets the system choose. The unspecified IPv6 address takes IPv4 too.
    /// There is no default.
    pub bind: SocketAddr,
    /// The endpoint: of [`endpoint_config`](crate::tls::endpoint_config). One that nobody can connect to asks
    /// the system for what ICMP messages say ([`Event::SendFailed`](crate::Event::SendFailed)). There is no
    /// default.
    pub endpoint: endpoint::Config,
    /// The socket's receive buffer, in bytes; the system may give less without a word (`net.core.rmem_max`).
    /// Zero leaves the system's default. 1 MiB by default.
    pub receive_buffer: usize,
    /// The socket's send buffer, in bytes; the system may give less without a word (`net.core.wmem_max`).
    /// Zero leaves the system's default; zero by default.
    pub send_buffer: usize,
}

impl Config {
    /// 1 MiB of receive buffer, the system's send buffer.
    #[must_use]
    pub const fn new(bind: SocketAddr, endpoint: endpoint::Config) -> Self {
        Self { bind, endpoint, receive_buffer: 1 << 20, send_buffer: 0 }
    }
}

/// The result of a turn.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Turn {
    /// Datagrams that were read.
    pub datagrams: usize,
    /// Events that were emitted.
    pub events: usize,
    /// Whether there is more to do: the next turn will not wait.
    pub more: bool,
}

/// QUIC connections over one UDP socket. No thread of its own: it works in its turns.
pub struct Driver {
    endpoint: Endpoint,
    socket: Socket,
    own: Option<(Poll, Events)>,
    registry: Registry,
    token: Token,
    slots: Slots,
    outgoing: Outgoing,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("address", &self.socket.address())
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// Tokens that a driver registers in somebody else's loop.
    pub const TOKENS: usize = 1;

    /// Binds its socket.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn new(config: Config) -> Result<Self, Error> {
        let poll = Poll::new().map_err(Error::Poll)?;
        let registry = poll.registry().try_clone().map_err(Error::Poll)?;
        Self::build(config, Some((poll, Events::with_capacity(16))), registry, Token(0))
    }

    /// As [`new`](Self::new), in somebody's own loop: the socket is registered with `first`, and turns
    /// never wait.
    ///
    /// # Errors
    /// As `new`.
    pub fn with_registry(config: Config, registry: &Registry, first: Token) -> Result<Self, Error> {
        let registry = registry.try_clone().map_err(Error::Poll)?;
        Self::build(config, None, registry, first)
    }

    fn build(
        config: Config,
        own: Option<(Poll, Events)>,
        registry: Registry,
        token: Token,
    ) -> Result<Self, Error> {
        // A peer that one connects to may not be there; a peer that connects to us is, and could forge
        // reports.
        let is_client = config.endpoint.server.is_none();
        let Config { bind, receive_buffer, send_buffer, .. } = config;
        let mut socket = Socket::bind(bind, receive_buffer, send_buffer, is_client)?;
        socket.register(&registry, token).map_err(Error::Poll)?;
        Ok(Self {
            endpoint: Endpoint::new(config.endpoint),
            socket,
            own,
            registry,
            token,
            slots: Slots::new(),
            outgoing: Outgoing::default(),
        })
    }

    /// Waits for something to do, at most `timeout` (`None`: for ever), and does it: reads what has come,
    /// gives the handler all events, sends what is to be sent. It does not wait after it emitted an event
    /// that was due already. The work of a turn is bounded; what is left is the next turn's.
    ///
    /// # Errors
    /// Waiting or reading fails for good.
    pub fn turn(
        &mut self,
        timeout: Option<Duration>,
        handler: &mut impl Handler,
    ) -> Result<Turn, Error> {
        let mut turn = Turn::default();
        self.work(&mut turn, handler)?;
        // A handler that was given an event may have to act on it before anything else happens.
        let pending = (turn.events > 0).then_some(Duration::ZERO);
        self.wait([pending, timeout, self.timeout(handler)].into_iter().flatten().min())?;
        self.endpoint.begin_turn(Instant::now());
        for _ in 0..ROUNDS {
            let read = if self.socket.is_readable { self.read()? } else { 0 };
            turn.datagrams += read;
            self.work(&mut turn, handler)?;
            if !self.socket.is_readable {
                break;
            }
        }
        // Not before: what came in time must not be taken for late because it is read late.
        self.expire(handler);
        self.work(&mut turn, handler)?;
        turn.more = self.timeout(handler).is_some_and(|timeout| timeout.is_zero());
        Ok(turn)
    }

    /// Turns until `until` says so, which is asked after every turn and at least ten times a second.
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub fn run<H: Handler>(
        &mut self,
        handler: &mut H,
        mut until: impl FnMut(&mut Self, &mut H) -> bool,
    ) -> Result<(), Error> {
        while !until(self, handler) {
            self.turn(Some(TICK), handler)?;
        }
        Ok(())
    }

    /// How long the driver may be left alone if its socket does not become ready: zero when there is
    /// something to do, `None` for ever.
    #[must_use]
    pub fn timeout(&self, handler: &impl Handler) -> Option<Duration> {
        let sends = self.outgoing.is_held() || self.endpoint.has_work();
        if self.socket.is_readable || self.endpoint.has_events() || sends && self.socket.is_writable
        {
            return Some(Duration::ZERO);
        }
        let timers = [self.endpoint.poll_timeout(), handler.poll_timeout()];
        let at = timers.into_iter().flatten().min()?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Notes an event of somebody's own loop; whether it was the driver's.
    pub fn ready(&mut self, event: &mio::event::Event) -> bool {
        if event.token() != self.token {
            return false;
        }
        self.note(event.is_readable(), event.is_writable(), event.is_error());
        true
    }

    /// The connections. What is asked of them outside of a turn is done in the next one.
    pub const fn endpoint(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    /// Where the socket is bound.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.socket.address()
    }

    /// The statistics of reading.
    #[must_use]
    pub const fn received(&self) -> SocketStats {
        self.socket.received
    }

    /// The statistics of sending.
    #[must_use]
    pub const fn sent(&self) -> SocketStats {
        self.socket.sent
    }

    const fn note(&mut self, is_readable: bool, is_writable: bool, has_reports: bool) {
        // Reports are read first, in the same go.
        self.socket.is_readable |= is_readable | has_reports;
        self.socket.is_writable |= is_writable;
        self.socket.has_reports |= has_reports;
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        let Some((poll, events)) = &mut self.own else { return Ok(()) };
        match poll.poll(events, timeout) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            result => result.map_err(Error::Poll)?,
        }
        let (mut is_readable, mut is_writable, mut has_reports) = (false, false, false);
        for event in &*events {
            is_readable |= event.is_readable();
            is_writable |= event.is_writable();
            has_reports |= event.is_error();
        }
        self.note(is_readable, is_writable, has_reports);
        Ok(())
    }

    fn read(&mut self) -> Result<usize, Error> {
        let now = Instant::now();
        let endpoint = &mut self.endpoint;
        let take = |meta: &quinn_udp::RecvMeta, datagram: &[u8]| {
            let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
            // A copy of its own: what a stream holds back keeps no more alive than its packet.
            let (from, to) = (plain(meta.addr), meta.dst_ip.map(|to| to.to_canonical()));
            endpoint.datagram(now, from, to, ecn, BytesMut::from(datagram));
        };
        self.socket.read(&mut self.slots, take).map_err(Error::Read)
    }

    /// Lets time pass.
    fn expire(&mut self, handler: &mut impl Handler) {
        let now = Instant::now();
        self.endpoint.handle_timeout(now);
        if handler.poll_timeout().is_some_and(|at| at <= now) {
            handler.handle_timeout(&mut self.endpoint, now);
        }
    }

    /// Emits events, and sends.
    fn work(&mut self, turn: &mut Turn, handler: &mut impl Handler) -> Result<(), Error> {
        let now = Instant::now();
        self.report();
        while let Some(event) = self.endpoint.poll_event(now) {
            turn.events += 1;
            handler.event(&mut self.endpoint, now, event);
        }
        self.send(now);
        // The next turn reports it.
        self.report();
        self.socket.watch(&self.registry, self.token).map_err(Error::Poll)
    }

    /// Hands over what the system could not deliver.
    fn report(&mut self) {
        for Undelivered { remote, os_error } in self.socket.take_undelivered() {
            self.endpoint.send_failed(plain(remote), os_error);
        }
    }

    fn send(&mut self, now: Instant) {
        if !self.socket.is_writable {
            return;
        }
        let Self { endpoint, socket, outgoing, .. } = self;
        let segments = socket.max_segments().min(SEGMENTS);
        let next = |buffer: &mut Vec<u8>| endpoint.poll_transmit(now, segments, buffer);
        outgoing.send(next, |transmit, bytes| socket.send(transmit, bytes));
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // A loop that goes on must not get events of a socket that is gone; it is closed anyway.
        let _ = self.socket.deregister(&self.registry);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::endpoint::Event;
    use crate::tls::{self, Keys, Trust};

    struct Nobody;

    impl Handler for Nobody {
        fn event(&mut self, _: &mut Endpoint, _: Instant, _: Event) {}
    }

    #[test]
    fn what_the_kernel_has_no_room_for_waits_without_spinning_and_is_sent_first_when_it_has() {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let peer = std::net::UdpSocket::bind(here).unwrap();
        // A test that fails ends.
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let endpoint = tls::endpoint_config(&Keys::random().unwrap(), None);
        let mut driver = Driver::new(Config::new(here, endpoint)).unwrap();
        let (now, to) = (Instant::now(), peer.local_addr().unwrap());
        for _ in 0..2 {
            let crypto = tls::client_config(&Trust::Insecure, &[b"test"], None).unwrap();
            let config = quinn_proto::ClientConfig::new(crypto);
            driver.endpoint.connect(now, config, to, "localhost").unwrap();
        }
        while driver.endpoint.poll_event(now).is_some() {}
        let mut first = Vec::new();
        let Driver { endpoint, socket, outgoing, .. } = &mut driver;
        let next = |buffer: &mut Vec<u8>| endpoint.poll_transmit(now, 1, buffer);
        outgoing.send(next, |_, bytes| {
            first = bytes.to_vec();
            false
        });
        (socket.is_readable, socket.is_writable) = (false, false);
        assert!(driver.timeout(&Nobody).is_none_or(|timeout| !timeout.is_zero()));
        // The kernel has room, so that it is reported at once.
        driver.turn(Some(Duration::ZERO), &mut Nobody).unwrap();
        driver.turn(Some(Duration::ZERO), &mut Nobody).unwrap();
        let mut read = [0; 2000];
        let mut receive = || {
            let len = peer.recv(&mut read).unwrap();
            read[..len].to_vec()
        };
        assert_eq!(receive(), first);
        assert_ne!(receive(), first, "the other connection's is next");
        assert_eq!((driver.sent().blocked, driver.outgoing.is_held()), (0, false));
    }

    #[test]
    fn pending_events_do_not_wait_for_room_to_send() {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let endpoint = tls::endpoint_config(&Keys::random().unwrap(), None);
        let mut driver = Driver::new(Config::new(here, endpoint)).unwrap();
        let crypto = tls::client_config(&Trust::Insecure, &[b"test"], None).unwrap();
        let config = quinn_proto::ClientConfig::new(crypto);
        let now = Instant::now();
        let connection =
            driver.endpoint.connect(now, config, driver.address(), "localhost").unwrap();
        while driver.endpoint.poll_event(now).is_some() {}
        (driver.socket.is_readable, driver.socket.is_writable) = (false, false);
        assert_ne!(
            driver.timeout(&Nobody),
            Some(Duration::ZERO),
            "the first packet waits for room"
        );
        driver.endpoint.close(now, connection, 1, b"").unwrap();
        assert_eq!(driver.timeout(&Nobody), Some(Duration::ZERO), "the end is to be reported");
    }
}
