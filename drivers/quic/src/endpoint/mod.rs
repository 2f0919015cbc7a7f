//! quinn-proto's endpoint and connections as one sans-IO machine: datagrams and the time in, events and
//! datagrams out. It opens no socket and reads no clock, so that the same mapping runs on real sockets
//! (see [`Driver`](crate::Driver)) and on a simulated network in virtual time.
//!
//! * Give it what came, [`datagram`](Endpoint::datagram), and the time that passes,
//!   [`handle_timeout`](Endpoint::handle_timeout).
//! * Then take what happened, [`poll_event`](Endpoint::poll_event), until there is nothing more; call
//!   whatever answers it.
//! * Then take what is to be sent, [`poll_transmit`](Endpoint::poll_transmit), and look when the next
//!   timeout is due, [`poll_timeout`](Endpoint::poll_timeout).
//!
//! Only connections that something happened to are looked at, never all of them.

mod admission;
mod answers;
mod calls;
mod config;
mod credit;
mod event;
mod link;
mod pool;
mod stats;
mod stream;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use quinn_proto::{
    ClientConfig, ConnectError, ConnectionHandle, DatagramEvent, Dir, EcnCodepoint, Incoming,
    Transmit, TransportConfig, VarInt,
};

pub use config::{Config, ConnectionIds, Handshake, Limits, Server, Transport};
pub use event::{ConnectionId, Direction, Event, Peer, Reason, Refusal, StreamId};
pub use stats::Stats;

use admission::{Admission, Memory, Network, Verdict};
use answers::Answers;
use link::{Link, State};
use pool::{Pool, Share};
use stream::Stream;

/// Bytes of the datagrams that are sent at once at most: what the kernel takes.
const MAX_WRITE: usize = 65_507;
/// Events that a connection emits before it is another's turn.
const EVENTS_PER_TURN: usize = 64;

/// QUIC connections, as clients and as a server, over one socket; see the [module](self).
pub struct Endpoint {
    inner: quinn_proto::Endpoint,
    config: Config,
    transport: Arc<TransportConfig>,
    admission: Admission,
    /// The memory that connections are promised, and those that are to be promised more when there is room.
    pool: Pool,
    starved: BTreeSet<u32>,
    /// By quinn-proto's handles.
    links: Vec<Option<Box<Link>>>,
    last_serial: u64,
    /// Clients whose handshake may begin in a later turn.
    waiting: VecDeque<Incoming>,
    /// Links that have something to report or to do.
    dirty: VecDeque<u32>,
    /// Events that the first of them has emitted since it came first.
    emitted: usize,
    /// Links that may have something to send.
    sending: VecDeque<u32>,
    timers: BTreeSet<(Instant, u32)>,
    /// Connections that are made here and that nothing has come for, nor that sending failed, by where they
    /// go.
    unanswered: BTreeSet<(SocketAddr, u32)>,
    /// Events of connections that they do not report themselves: their close here, and failures to send.
    local_events: VecDeque<Event>,
    answers: Answers,
    stats: Stats,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("connections", &self.admission.connections())
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint without connections.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let transport = Arc::new(config.transport.to_quinn());
        let server = config.server(&transport).map(Arc::new);
        let inner = quinn_proto::Endpoint::new(Arc::new(config.endpoint()), server, true, None);
        Self {
            inner,
            admission: Admission::new(config.limits),
            pool: Pool::new(&config.limits, Share::first(&config.transport).bytes()),
            starved: BTreeSet::new(),
            transport,
            config,
            links: Vec::new(),
            last_serial: 0,
            waiting: VecDeque::new(),
            dirty: VecDeque::new(),
            emitted: 0,
            sending: VecDeque::new(),
            timers: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            local_events: VecDeque::new(),
            answers: Answers::default(),
            stats: Stats::default(),
        }
    }

    /// Says what it takes to be connected to from now on, such as a certificate that was renewed; `None` if
    /// nobody may. Connections that there are, and clients that wait, are not touched.
    pub fn set_server(&mut self, server: Option<Server>) {
        self.config.server = server;
        self.inner.set_server_config(self.config.server(&self.transport).map(Arc::new));
    }

    /// Begins a turn: as many handshakes as a turn may begin can begin now, those that wait first.
    pub fn begin_turn(&mut self, now: Instant) {
        self.admission.begin_turn();
        while self.admission.may_begin()
            && let Some(incoming) = self.waiting.pop_front()
        {
            self.pool.release(None, pool::WAITING);
            self.incoming(now, incoming);
        }
    }

    /// Takes a datagram that came from `remote` to `local`, if that is known. One that is larger than
    /// [`max_datagram`](Self::max_datagram) is dropped.
    pub fn datagram(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        local: Option<IpAddr>,
        ecn: Option<EcnCodepoint>,
        bytes: BytesMut,
    ) {
        // Peers were told; what is read of it would keep all of it alive.
        if bytes.len() > self.max_datagram() {
            self.stats.oversized += 1;
            return;
        }
        let (mut buffer, length) = (Vec::new(), bytes.len());
        match self.inner.handle(now, remote, local, ecn, bytes, &mut buffer) {
            None => {}
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let slot = handle.0 as u32;
                self.on_answer(slot);
                let Self { links, pool, config: Config { transport, .. }, .. } = self;
                if let Some(link) = links.get_mut(handle.0).and_then(Option::as_mut) {
                    link.inner.handle_event(event);
                    link.absorb();
                    link.is_fed = true;
                    link.receive(now, length, transport);
                    link.fit_send_buffer(transport, pool);
                    link.credit.renew();
                    self.grow(slot);
                    self.mark_dirty(slot);
                    // A datagram can want hundreds of things; those of all that a turn reads would pile up.
                    self.relay(slot);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.incoming(now, incoming),
            Some(DatagramEvent::Response(transmit)) => self.answer(transmit, buffer),
        }
    }

    /// The largest UDP payload that is taken, in bytes: a chunk of a stream that came in order keeps no more
    /// alive.
    #[must_use]
    pub fn max_datagram(&self) -> usize {
        self.config.transport.max_datagram().into()
    }

    /// Judges who wants to connect.
    fn incoming(&mut self, now: Instant, incoming: Incoming) {
        let network = Network::of(incoming.remote_address().ip());
        let is_validated = incoming.remote_address_validated() || !incoming.may_retry();
        let mut buffer = Vec::new();
        let first = Share::first(&self.config.transport).bytes();
        let memory = if !self.pool.has_room(Some(network), first) {
            Memory::None
        } else if !self.pool.has_room_for_unvalidated(network, first) {
            Memory::Scarce
        } else {
            Memory::Ample
        };
        match self.admission.judge(network, is_validated, self.waiting.len(), memory) {
            Verdict::Refuse | Verdict::Retry if !self.answers.have_room() => {
                self.stats.unanswered += 1;
                self.inner.ignore(incoming);
            }
            Verdict::Wait if self.pool.has_room(None, pool::WAITING) => {
                self.pool.take(None, pool::WAITING);
                self.waiting.push_back(incoming);
            }
            Verdict::Wait | Verdict::Ignore => {
                self.stats.ignored += 1;
                self.inner.ignore(incoming);
            }
            Verdict::Refuse => {
                self.stats.refused += 1;
                self.stats.refused_for_memory += u64::from(memory == Memory::None);
                let transmit = self.inner.refuse(incoming, &mut buffer);
                self.answer(transmit, buffer);
            }
            Verdict::Retry => match self.inner.retry(incoming, &mut buffer) {
                Ok(transmit) => {
                    self.stats.retried += 1;
                    self.answer(transmit, buffer);
                }
                Err(error) => self.inner.ignore(error.into_incoming()),
            },
            Verdict::Accept => match self.inner.accept(incoming, now, &mut buffer, None) {
                Ok((handle, connection)) => {
                    self.admission.begin(network);
                    self.add(now, handle, connection, network);
                }
                Err(error) => {
                    self.stats.failed += 1;
                    if let Some(transmit) = error.response {
                        self.answer(transmit, buffer);
                    }
                }
            },
        }
    }

    /// Connects to `remote`, whose certificate must be good for `name` unless the configuration says
    /// otherwise. An IPv4 address in the form of an IPv6 address is the IPv4 address.
    ///
    /// # Errors
    /// The name or the address is none that can be connected to.
    pub fn connect(
        &mut self,
        now: Instant,
        mut config: ClientConfig,
        remote: SocketAddr,
        name: &str,
    ) -> Result<ConnectionId, ConnectError> {
        config.transport_config(Arc::clone(&self.transport));
        let remote = plain(remote);
        let (handle, connection) = self.inner.connect(now, config, remote, name)?;
        let network = Network::of(remote.ip());
        self.admission.add(network);
        self.unanswered.insert((remote, handle.0 as u32));
        Ok(self.add(now, handle, connection, network))
    }

    /// The system could not deliver what was sent to `remote`, for the reason `os_error`:
    /// [`Event::SendFailed`] of the connections that are made to there and have had no answer.
    pub fn send_failed(&mut self, remote: SocketAddr, os_error: i32) {
        while let Some(&(remote, slot)) =
            self.unanswered.range((remote, 0)..=(remote, u32::MAX)).next()
        {
            self.unanswered.remove(&(remote, slot));
            if let Some(link) = self.link_at(slot)
                && link.state == State::Opening
            {
                let connection = link.id;
                self.local_events.push_back(Event::SendFailed { connection, os_error });
            }
        }
    }

    /// Something came for a link, or it is forgotten: what sending to it meets is of no interest any more.
    fn on_answer(&mut self, slot: u32) {
        if !self.unanswered.is_empty()
            && let Some(remote) = self.link_at(slot).map(|link| link.address())
        {
            self.unanswered.remove(&(remote, slot));
        }
    }

    fn add(
        &mut self,
        now: Instant,
        handle: ConnectionHandle,
        connection: quinn_proto::Connection,
        network: Network,
    ) -> ConnectionId {
        self.last_serial += 1;
        let id = ConnectionId { slot: handle.0 as u32, serial: self.last_serial };
        let handshake_timeout = self.config.transport.handshake_timeout;
        let share = Share::first(&self.config.transport);
        let mut link = Link::new(connection, id, network, share);
        self.pool.take(link.charged(), share.bytes());
        if !handshake_timeout.is_zero() {
            // A time that is too far away for the clock never comes.
            link.opens_until = now.checked_add(handshake_timeout);
        }
        if self.links.len() <= handle.0 {
            self.links.resize_with(handle.0 + 1, || None);
        }
        self.links[handle.0] = Some(Box::new(link));
        self.mark_dirty(id.slot);
        id
    }

    /// The next thing that happened; `None` when there is nothing more.
    pub fn poll_event(&mut self, now: Instant) -> Option<Event> {
        loop {
            if let Some(event) = self.local_events.pop_front() {
                return Some(event);
            }
            let slot = *self.dirty.front()?;
            let event = self.pump(now, slot);
            self.emitted += 1;
            if event.is_none() {
                self.dirty.pop_front();
                self.emitted = 0;
            } else if self.emitted >= EVENTS_PER_TURN {
                self.dirty.rotate_left(1);
                self.emitted = 0;
            }
            if event.is_some() {
                return event;
            }
        }
    }

    /// Lets a dirty link emit its next event; `None` when it is clean.
    fn pump(&mut self, now: Instant, slot: u32) -> Option<Event> {
        let link = self.links.get_mut(slot as usize)?.as_mut()?;
        let before = link.state;
        let event = link.poll(self.config.inspect, &self.config.transport);
        let (after, is_ours) = (link.state, !link.is_client);
        self.stats.datagrams_dropped += link.take_dropped_datagrams();
        if before != after {
            if before == State::Opening && !is_ours {
                self.admission.handshakes -= 1;
            }
            match after {
                State::Open => self.stats.connected += 1,
                State::Over => self.stats.disconnected += 1,
                State::Opening => {}
            }
        }
        // The end was reported, or there is more than there was.
        self.grow(slot);
        if event.is_some() {
            return event;
        }
        self.settle(now, slot);
        None
    }

    /// Promises a peer more, if it is to be and there is room.
    fn grow(&mut self, slot: u32) {
        if !self.promise(slot) && self.starved.insert(slot) {
            self.stats.starved += 1;
        }
    }

    /// As `grow`; whether there was room for all of it.
    fn promise(&mut self, slot: u32) -> bool {
        let Self { links, pool, config: Config { transport, .. }, .. } = self;
        let link = links.get_mut(slot as usize).and_then(Option::as_mut);
        let Some(link) = link.filter(|link| link.wants_more()) else { return true };
        let before = link.share;
        link.grow(transport, pool);
        let (is_changed, has_room) = (link.share != before, !link.wants_more());
        if is_changed {
            self.mark_dirty(slot);
        }
        has_room
    }

    /// Memory is there again: promises more to those that there was no room for, each as far as there is now.
    fn feed(&mut self) {
        for slot in std::mem::take(&mut self.starved) {
            if !self.promise(slot) {
                self.starved.insert(slot);
            }
        }
    }

    /// A link has nothing more to report: what it wants of the endpoint is done, and it may send.
    fn settle(&mut self, now: Instant, slot: u32) {
        let Some(link) = self.links.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        (link.is_dirty, link.is_fed) = (false, false);
        self.relay(slot);
        let Some(link) = self.links.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        if let Some(drained) = link.drained.take() {
            self.inner.handle_event(ConnectionHandle(slot as usize), drained);
            return self.remove(slot);
        }
        if !link.is_sending {
            link.is_sending = true;
            self.sending.push_back(slot);
        }
        self.set_timer(now, slot);
    }

    /// Does what a link wants of quinn-proto's endpoint, except to be forgotten: another one would take its
    /// place before its end is reported.
    fn relay(&mut self, slot: u32) {
        let Some(link) = self.links.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        while let Some(event) = link.inner.poll_endpoint_events() {
            if event.is_drained() {
                link.drained = Some(event);
            } else if let Some(event) =
                self.inner.handle_event(ConnectionHandle(slot as usize), event)
            {
                link.inner.handle_event(event);
            }
        }
    }

    fn remove(&mut self, slot: u32) {
        self.on_answer(slot);
        let Some(link) = self.links.get_mut(slot as usize).and_then(Option::take) else { return };
        if let Some(at) = link.deadline {
            self.timers.remove(&(at, slot));
        }
        if link.is_sending {
            self.sending.retain(|&other| other != slot);
        }
        self.admission.remove(link.network);
        self.pool.release(link.charged(), link.share.bytes());
        self.starved.remove(&slot);
        self.feed();
        while let Some(None) = self.links.last() {
            self.links.pop();
        }
    }

    fn set_timer(&mut self, now: Instant, slot: u32) {
        let Some(link) = self.links.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        // A timer that is due was not handled yet.
        let at = link.poll_timeout().map(|at| at.max(now));
        if link.deadline == at {
            return;
        }
        if let Some(at) = link.deadline {
            self.timers.remove(&(at, slot));
        }
        link.deadline = at;
        if let Some(at) = at {
            self.timers.insert((at, slot));
        }
    }

    /// The next datagrams to send, written behind what `buffer` holds: up to `most` of one size in a row, to
    /// one address. `None` when there is nothing more to send now.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        most: usize,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        if let Some(transmit) = self.answers.next_in_turn(buffer) {
            return Some(transmit);
        }
        while let Some(&slot) = self.sending.front() {
            let link = self.links.get_mut(slot as usize).and_then(Option::as_mut);
            let transmit = link.and_then(|link| {
                let most = most.min(MAX_WRITE / usize::from(link.inner.current_mtu())).max(1);
                link.inner.poll_transmit(now, most, buffer)
            });
            if transmit.is_some() {
                // The others are next.
                self.sending.rotate_left(1);
                self.tell_of_room(slot);
                return transmit;
            }
            self.sending.pop_front();
            if let Some(link) = self.links.get_mut(slot as usize).and_then(Option::as_mut) {
                link.is_sending = false;
            }
            self.set_timer(now, slot);
        }
        self.answers.next(buffer)
    }

    /// Sending may have made room for datagrams, which quinn-proto only says when asked.
    fn tell_of_room(&mut self, slot: u32) {
        if self.link_at(slot).is_some_and(|link| link.wants_datagrams) {
            self.mark_dirty(slot);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// Lets time pass without a datagram.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, slot)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            let Some(link) = self.link_at(slot) else { continue };
            link.deadline = None;
            if link.puts_off() {
                continue;
            }
            link.inner.handle_timeout(now);
            if link.is_overdue(now) {
                let after = self.config.transport.handshake_timeout;
                let late = Reason::HandshakeTimedOut { after };
                self.end(now, slot, VarInt::from_u32(0), Bytes::new(), late);
            }
            self.mark_dirty(slot);
        }
    }

    /// Closes a connection with a code and a reason for the peer: all its streams end. Its end is reported
    /// as an event.
    ///
    /// # Errors
    /// [`Refusal::UnknownConnection`], [`Refusal::BadCode`].
    pub fn close(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        code: u64,
        reason: &[u8],
    ) -> Result<(), Refusal> {
        let inner_code = code_of(code)?;
        self.link(connection)?;
        let (slot, reason) = (connection.slot, Bytes::copy_from_slice(reason));
        self.end(now, slot, inner_code, reason, Reason::Closed { code });
        Ok(())
    }

    /// Ends a connection that is not over.
    fn end(&mut self, now: Instant, slot: u32, code: VarInt, words: Bytes, reason: Reason) {
        let Some(link) = self.link_at(slot) else { return };
        link.inner.close(now, code, words);
        let was_opening = link.state == State::Opening && link.is_client;
        let event = link.lose(reason);
        if was_opening {
            self.admission.handshakes -= 1;
        }
        self.stats.disconnected += 1;
        self.local_events.push_back(event);
        self.mark_dirty(slot);
    }

    /// Opens a stream; `None` when the peer allows no more of this kind now, and
    /// [`Event::Openable`] will follow, or when the connection is not complete yet.
    ///
    /// # Errors
    /// [`Refusal::UnknownConnection`].
    pub fn open(
        &mut self,
        connection: ConnectionId,
        direction: Direction,
    ) -> Result<Option<StreamId>, Refusal> {
        let link = self.link(connection)?;
        let Some(id) = link.open(dir_of(direction)) else { return Ok(None) };
        let receives = direction == Direction::Bidirectional;
        link.streams.insert(id.into(), Stream::new(receives, true));
        let owned = if receives { link.owns() } else { 0 };
        let charged = link.charged();
        self.pool.take(charged, owned);
        self.mark_dirty(connection.slot);
        Ok(Some(StreamId { connection, number: id.into() }))
    }

    /// The other side; `None` for a connection that is over.
    #[must_use]
    pub fn peer(&self, connection: ConnectionId) -> Option<Peer> {
        let link = self.links.get(connection.slot as usize)?.as_deref()?;
        if link.id != connection || link.state == State::Over {
            return None;
        }
        Some(Peer {
            address: link.address(),
            is_client: link.is_client,
            protocol: link.handshake.protocol.clone(),
            fingerprint: link.handshake.fingerprint,
        })
    }

    /// quinn-proto's figures of a connection: its round trip, its path, its frames.
    #[must_use]
    pub fn connection_stats(
        &self,
        connection: ConnectionId,
    ) -> Option<quinn_proto::ConnectionStats> {
        let link = self.links.get(connection.slot as usize)?.as_deref()?;
        (link.id == connection).then(|| link.inner.stats())
    }

    /// Connections, those included that are being set up, or that are over and still answer stragglers.
    #[must_use]
    pub const fn connections(&self) -> usize {
        self.admission.connections()
    }

    /// Streams that are open, on all connections. It looks at every connection.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.links.iter().flatten().map(|link| link.streams.len()).sum()
    }

    /// Bytes that may wait to be acknowledged at most, on all connections: what the transport's send
    /// buffers can hold now. It looks at every connection.
    #[must_use]
    pub fn send_buffers(&self) -> u64 {
        let open = self.links.iter().flatten().filter(|link| link.state != State::Over);
        open.map(|link| link.send_window).sum()
    }

    /// Bytes of memory that are promised to peers now, of [`Limits::max_memory`].
    #[must_use]
    pub const fn promised(&self) -> u64 {
        self.pool.used()
    }

    /// Whether something waits to be reported, to be sent, or for the next turn.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.has_events() || !self.sending.is_empty() || !self.answers.is_empty()
    }

    /// Whether something waits to be reported, or for the next turn: that needs no room to send.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.dirty.is_empty() || !self.local_events.is_empty() || !self.waiting.is_empty()
    }

    /// The statistics.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    fn answer(&mut self, transmit: Transmit, bytes: Vec<u8>) {
        self.stats.unanswered += u64::from(!self.answers.have_room());
        self.answers.push(transmit, bytes);
    }

    fn link_at(&mut self, slot: u32) -> Option<&mut Link> {
        self.links.get_mut(slot as usize)?.as_deref_mut()
    }

    fn link(&mut self, connection: ConnectionId) -> Result<&mut Link, Refusal> {
        self.link_at(connection.slot)
            .filter(|link| link.id == connection && link.state != State::Over)
            .ok_or(Refusal::UnknownConnection)
    }

    fn mark_dirty(&mut self, slot: u32) {
        if let Some(link) = self.link_at(slot)
            && !std::mem::replace(&mut link.is_dirty, true)
        {
            self.dirty.push_back(slot);
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        for incoming in self.waiting.drain(..) {
            self.inner.ignore(incoming);
        }
    }
}

/// An IPv4 address that a socket for both kinds shows as an IPv6 address (RFC 4291 §2.5.5.2), as what it
/// is: else a client that was told the one would not know the other.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        // With the scope that it has.
        IpAddr::V6(_) => address,
    }
}

fn code_of(code: u64) -> Result<VarInt, Refusal> {
    VarInt::from_u64(code).map_err(|_| Refusal::BadCode { code })
}

const fn dir_of(direction: Direction) -> Dir {
    match direction {
        Direction::Bidirectional => Dir::Bi,
        Direction::Unidirectional => Dir::Uni,
    }
}
