//! One connection as the endpoint knows it: quinn-proto's state, what the program knows of it, and its
//! streams.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quinn_proto::{Connection, ConnectionError, Dir, EndpointEvent, StreamEvent, VarInt};

use super::admission::Network;
use super::config::{Handshake, Transport};
use super::credit::Credit;
use super::event::{ConnectionId, Direction, Event, Reason, StreamId};
use super::pool::{self, Pool, Share};
use super::stream::{Notification, Stream};

/// The shortest time within which half of a window must have come for it to be too small.
const FAST: Duration = Duration::from_millis(50);

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Its handshake goes on.
    Opening,
    /// Its handshake is over.
    Open,
    /// It is over, and its end was reported; quinn-proto still answers stragglers.
    Over,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) inner: Connection,
    pub(super) id: ConnectionId,
    pub(super) state: State,
    pub(super) handshake: Handshake,
    pub(super) network: Network,
    pub(super) is_client: bool,
    /// Whether it stands in the list of those that have something to report or to do.
    pub(super) is_dirty: bool,
    /// Whether datagrams have come for it since it last was clean.
    pub(super) is_fed: bool,
    /// Whether its timer was due and not handled, since something had come just then.
    is_put_off: bool,
    /// Whether it stands in the list of those that may have something to send.
    pub(super) is_sending: bool,
    /// The event that lets quinn-proto's endpoint forget it, once its end is reported.
    pub(super) drained: Option<EndpointEvent>,
    /// When its handshake must be over.
    pub(super) opens_until: Option<Instant>,
    /// When it stands in the list of timers.
    pub(super) deadline: Option<Instant>,
    /// Bytes that may wait to be acknowledged.
    pub(super) send_window: u64,
    /// In order, so that nothing depends on hashes.
    pub(super) streams: BTreeMap<u64, Stream>,
    /// Streams that may have events.
    readable: VecDeque<u64>,
    /// Kinds of streams of which the peer opened some that were not accepted yet.
    accepts: [bool; 2],
    /// Kinds of streams of which one was to be opened and the peer allowed no more.
    wants: [bool; 2],
    receives_datagrams: bool,
    /// Datagrams that were reported or dropped, and those of the latter that are not counted yet.
    past_datagrams: u64,
    dropped_datagrams: u64,
    /// Whether one was not taken to be sent, and it is to be reported when more are.
    pub(super) wants_datagrams: bool,
    /// The streams whose turn it is to write.
    pub(super) credit: Credit,
    /// Streams that are over, which is not reported yet.
    closed: VecDeque<u64>,
    /// Events of quinn-proto that are not reported yet.
    noted: Noted,
    /// The memory that the peer was promised, and what it is to be promised more.
    pub(super) share: Share,
    wants_window: bool,
    wants_streams: [bool; 2],
    /// Streams that the peer has open, of both kinds, and those that it may send on though it did not open
    /// them.
    of_peer: [u64; 2],
    own: u64,
    /// Bytes that came since the window was looked at last, when that was, and how often the peer said by
    /// then that the window held it up.
    received: u64,
    looked_at: Option<Instant>,
    blocked: u64,
}

/// Events that quinn-proto noted of a connection. They are taken over with every datagram: one can make
/// hundreds of notes, mostly of the same things.
#[derive(Debug, Default)]
struct Noted {
    is_connected: bool,
    is_lost: Option<ConnectionError>,
    /// Kinds of streams of which the peer allows more.
    openable: [bool; 2],
    datagrams_are_unblocked: bool,
    /// Streams whose sending direction is over: acknowledged, or stopped with a code.
    ended: VecDeque<(quinn_proto::StreamId, Option<VarInt>)>,
}

impl Link {
    pub(super) fn new(inner: Connection, id: ConnectionId, network: Network, share: Share) -> Self {
        Self {
            is_client: inner.side().is_server(),
            inner,
            id,
            state: State::Opening,
            handshake: Handshake::default(),
            network,
            is_dirty: false,
            is_fed: false,
            is_put_off: false,
            is_sending: false,
            drained: None,
            opens_until: None,
            deadline: None,
            send_window: share.send_buffer,
            streams: BTreeMap::new(),
            readable: VecDeque::new(),
            accepts: [false; 2],
            wants: [false; 2],
            receives_datagrams: false,
            past_datagrams: 0,
            dropped_datagrams: 0,
            wants_datagrams: false,
            credit: Credit::default(),
            closed: VecDeque::new(),
            noted: Noted::default(),
            share,
            wants_window: false,
            wants_streams: [false; 2],
            of_peer: [0; 2],
            own: 0,
            received: 0,
            looked_at: None,
            blocked: 0,
        }
    }

    /// The network that what the peer is promised counts for; none where the connection is made here.
    pub(super) fn charged(&self) -> Option<Network> {
        self.is_client.then_some(self.network)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.inner.remote_address()
    }

    /// Lets about twice the congestion window wait to be acknowledged: less would starve the path, more
    /// would only wait here. It stays as it is where there is no room for more.
    pub(super) fn fit_send_buffer(&mut self, transport: &Transport, pool: &mut Pool) {
        let Transport { min_send_buffer: least, max_send_buffer: most, .. } = *transport;
        let window = self.inner.congestion_state().window().saturating_mul(2);
        let window = window.min(most).max(least);
        if window > self.share.send_buffer {
            let [before, after] = [self.share.send_buffer, window].map(pool::of_send_buffer);
            if !pool.grow(self.charged(), after - before) {
                return;
            }
            self.share.send_buffer = window;
        }
        if window != self.send_window {
            self.send_window = window;
            self.inner.set_send_window(window);
        }
    }

    /// A write was taken, so that no more waits to be acknowledged than may: what a larger buffer took of the
    /// pool is free.
    pub(super) fn fits_send_buffer(&mut self) -> u64 {
        let before = std::mem::replace(&mut self.share.send_buffer, self.send_window);
        pool::of_send_buffer(before) - pool::of_send_buffer(self.send_window)
    }

    /// A datagram of so many bytes came: sees whether the window is too small for how fast they come, or for
    /// what waits to be read.
    pub(super) fn receive(&mut self, now: Instant, bytes: usize, transport: &Transport) {
        if self.share.window >= transport.connection_window.into() {
            return;
        }
        self.received += bytes as u64;
        if self.received >= self.share.window / 2 {
            let since =
                self.looked_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
            self.wants_window |= since <= FAST.max(4 * self.inner.rtt());
            (self.received, self.looked_at) = (0, Some(now));
        }
        let blocked = self.inner.stats().frame_rx.data_blocked;
        self.wants_window |= blocked > std::mem::replace(&mut self.blocked, blocked);
    }

    /// Whether the peer is to be promised more.
    pub(super) fn wants_more(&self) -> bool {
        self.state != State::Over && (self.wants_window || self.wants_streams != [false; 2])
    }

    /// Promises the peer more, where it is to be and there is room for it; it still wants what there is none
    /// for.
    pub(super) fn grow(&mut self, transport: &Transport, pool: &mut Pool) {
        let charged = self.charged();
        if self.wants_window {
            let left = u64::from(transport.connection_window).saturating_sub(self.share.window);
            let more = left.min(self.share.window);
            self.wants_window = more > 0 && !pool.grow(charged, pool::of_window(more));
            if more > 0 && !self.wants_window {
                self.share.window += more;
                let window = VarInt::from_u64(self.share.window).unwrap_or(VarInt::MAX);
                self.inner.set_receive_window(window);
            }
        }
        for dir in [Dir::Bi, Dir::Uni] {
            let kind = dir as usize;
            if !self.wants_streams[kind] {
                continue;
            }
            let streams = self.share.streams[kind];
            let left = u64::from(transport.max_streams()[kind]).saturating_sub(streams);
            let more = left.min(streams);
            self.wants_streams[kind] = more > 0 && !pool.grow(charged, self.share.of_streams(more));
            if more > 0 && !self.wants_streams[kind] {
                self.share.streams[kind] += more;
                let count = VarInt::from_u64(self.share.streams[kind]).unwrap_or(VarInt::MAX);
                self.inner.set_max_concurrent_streams(dir, count);
            }
        }
    }

    /// Whether a timer that is due waits: what came just now may have made it void, and what answers that
    /// goes first (quinn-proto asserts so after a migration); the timer is set again with it. Once only,
    /// or something would just have to come all the time.
    pub(super) const fn puts_off(&mut self) -> bool {
        self.is_put_off = self.is_fed && !self.is_put_off;
        self.is_put_off
    }

    /// Opens a stream, if the peer allows it now; if not, `Openable` will follow.
    pub(super) fn open(&mut self, dir: Dir) -> Option<quinn_proto::StreamId> {
        let opened = self.inner.streams().open(dir);
        if opened.is_none() {
            (self.wants[dir as usize], self.noted.openable[dir as usize]) = (true, false);
        }
        opened
    }

    /// A stream was opened here that the peer may send on, too; what that takes of the pool.
    pub(super) fn owns(&mut self) -> u64 {
        self.own += 1;
        // The state that quinn-proto has of a stream that is over is kept for the next one.
        let more = self.own.saturating_sub(self.share.own);
        self.share.own += more;
        self.share.of_streams(more)
    }

    /// When it wants `handle_timeout` to be called.
    pub(super) fn poll_timeout(&mut self) -> Option<Instant> {
        let opens_until = self.opens_until.filter(|_| self.state == State::Opening);
        [self.inner.poll_timeout(), opens_until].into_iter().flatten().min()
    }

    /// Whether its handshake has taken too long.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.state == State::Opening && self.opens_until.is_some_and(|until| until <= now)
    }

    fn stream_id(&self, number: u64) -> StreamId {
        StreamId { connection: self.id, number }
    }

    /// The next event of this connection; `None` when there is nothing more.
    ///
    /// A stream that is over stays known until that is reported, so that whoever becomes its owner
    /// meanwhile hears of it.
    pub(super) fn poll(
        &mut self,
        inspect: fn(&dyn quinn_proto::crypto::Session) -> Handshake,
        transport: &Transport,
    ) -> Option<Event> {
        if self.state == State::Over {
            while self.inner.poll().is_some() {}
            return None;
        }
        self.absorb();
        if std::mem::take(&mut self.noted.is_connected) {
            self.handshake = inspect(self.inner.crypto_session());
            self.state = State::Open;
            return Some(Event::Connected { connection: self.id });
        }
        let event = self.close().or_else(|| self.accept());
        let event = event.or_else(|| self.datagram()).or_else(|| self.read());
        if let Some(event) = event.or_else(|| self.ended()).or_else(|| self.allowed()) {
            return Some(event);
        }
        match self.noted.is_lost.take() {
            Some(error) => Some(self.lost(error, transport)),
            None => self.writable(),
        }
    }

    /// Takes over what quinn-proto noted.
    pub(super) fn absorb(&mut self) {
        while let Some(event) = self.inner.poll() {
            match event {
                quinn_proto::Event::HandshakeDataReady => {}
                quinn_proto::Event::Connected => self.noted.is_connected = true,
                quinn_proto::Event::ConnectionLost { reason } => self.noted.is_lost = Some(reason),
                quinn_proto::Event::Stream(event) => self.stream_event(event),
                quinn_proto::Event::DatagramReceived => self.receives_datagrams = true,
                quinn_proto::Event::DatagramsUnblocked => self.noted.datagrams_are_unblocked = true,
            }
        }
    }

    /// Reports that more streams can be opened, or datagrams sent.
    fn allowed(&mut self) -> Option<Event> {
        for dir in [Dir::Bi, Dir::Uni] {
            if std::mem::take(&mut self.noted.openable[dir as usize])
                && std::mem::take(&mut self.wants[dir as usize])
            {
                let direction = direction_of(dir);
                return Some(Event::Openable { connection: self.id, direction });
            }
        }
        std::mem::take(&mut self.noted.datagrams_are_unblocked).then(|| {
            self.wants_datagrams = false;
            Event::DatagramsWritable { connection: self.id }
        })
    }

    /// Says why quinn-proto ended it.
    fn lost(&mut self, error: ConnectionError, transport: &Transport) -> Event {
        let reason = match error {
            ConnectionError::TimedOut => {
                let parameters = self.inner.crypto_session().transport_parameters().ok().flatten();
                Reason::IdleTimedOut { after: transport.ruling_idle_timeout(parameters.as_ref()) }
            }
            error => Reason::Lost(error),
        };
        self.lose(reason)
    }

    /// Ends it for the program.
    pub(super) fn lose(&mut self, reason: Reason) -> Event {
        self.state = State::Over;
        self.streams.clear();
        self.readable = VecDeque::new();
        self.accepts = [false; 2];
        (self.receives_datagrams, self.wants_datagrams) = (false, false);
        self.credit = Credit::default();
        self.closed = VecDeque::new();
        self.noted = Noted::default();
        Event::Disconnected { connection: self.id, reason }
    }

    /// Takes the next stream that the peer opened.
    fn accept(&mut self) -> Option<Event> {
        for dir in [Dir::Bi, Dir::Uni] {
            if !self.accepts[dir as usize] {
                continue;
            }
            let Some(id) = self.inner.streams().accept(dir) else {
                self.accepts[dir as usize] = false;
                continue;
            };
            let number = u64::from(id);
            let stream = Stream::new(true, dir == Dir::Bi);
            self.streams.insert(number, stream);
            self.of_peer[dir as usize] += 1;
            self.wants_streams[dir as usize] |=
                2 * self.of_peer[dir as usize] >= self.share.streams[dir as usize];
            self.note_readable(number);
            return Some(Event::Opened { stream: self.stream_id(number) });
        }
        None
    }

    fn datagram(&mut self) -> Option<Event> {
        if !self.receives_datagrams {
            return None;
        }
        let Some(bytes) = self.inner.datagrams().recv() else {
            self.receives_datagrams = false;
            // All that came were reported, or dropped for want of room.
            let dropped = self.inner.stats().frame_rx.datagram - self.past_datagrams;
            self.past_datagrams += dropped;
            self.dropped_datagrams += dropped;
            return None;
        };
        self.past_datagrams += 1;
        Some(Event::Datagram { connection: self.id, bytes })
    }

    /// Datagrams that were dropped since it was asked last.
    pub(super) const fn take_dropped_datagrams(&mut self) -> u64 {
        std::mem::replace(&mut self.dropped_datagrams, 0)
    }

    /// Reports what comes next of a stream; the streams take turns.
    fn read(&mut self) -> Option<Event> {
        while let Some(number) = self.readable.pop_front() {
            let id = self.stream_id(number);
            let Some(stream) = self.streams.get_mut(&number) else { continue };
            stream.is_queued = false;
            let (Some(inner), true) = (id.inner(), stream.is_ready()) else { continue };
            let (owner, offset) = (stream.owner, stream.offset);
            let event = match stream.next(&mut self.inner, inner) {
                Notification::Data { bytes, fin } => {
                    stream.offset += bytes.len() as u64;
                    Event::Data { stream: id, owner, offset, bytes, fin }
                }
                Notification::Reset(code) => Event::Reset { stream: id, owner, code },
                Notification::Nothing => continue,
            };
            self.queue(number);
            self.note_if_over(number);
            return Some(event);
        }
        None
    }

    fn stream_event(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Opened { dir } => self.accepts[dir as usize] = true,
            StreamEvent::Available { dir } => {
                self.noted.openable[dir as usize] = true;
            }
            StreamEvent::Readable { id } => {
                self.note_readable(id.into());
                self.look_for_reset(id);
            }
            StreamEvent::Writable { id } => {
                let number = u64::from(id);
                if let Some(stream) = self.streams.get_mut(&number).filter(|stream| stream.sends)
                    && stream.write_head(&mut self.inner, id)
                    && !stream.finishes
                {
                    self.credit.ready(number, &mut stream.ticket);
                }
            }
            StreamEvent::Finished { id } => self.noted.ended.push_back((id, None)),
            StreamEvent::Stopped { id, error_code } => {
                self.noted.ended.push_back((id, Some(error_code)));
            }
        }
    }

    /// Reports that the sending direction of a stream is over.
    fn ended(&mut self) -> Option<Event> {
        while let Some((id, stopped)) = self.noted.ended.pop_front() {
            if let Some(code) = stopped {
                // RFC 9000 §3.5; it is refused only where it was reset before.
                let _ = self.inner.send_stream(id).reset(code);
            }
            let number = u64::from(id);
            let Some(owner) = self.end_sending(number) else { continue };
            let stream = self.stream_id(number);
            return Some(match stopped {
                Some(code) => Event::Stopped { stream, owner, code: code.into_inner() },
                None => Event::Finished { stream, owner },
            });
        }
        None
    }

    /// Writes what must come before anything else on a stream; whether all of it is written.
    pub(super) fn write_head(&mut self, id: quinn_proto::StreamId) -> bool {
        let Self { inner, streams, .. } = self;
        streams.get_mut(&id.into()).is_none_or(|stream| stream.write_head(inner, id))
    }

    /// Finishes a stream once what must come first is written.
    pub(super) fn finish_after_head(&mut self, number: u64) {
        if let Some(stream) = self.streams.get_mut(&number) {
            stream.finishes = true;
        }
    }

    /// Reports that a stream may be written to; the streams take turns.
    fn writable(&mut self) -> Option<Event> {
        let number = self.credit.next()?;
        let owner = self.streams.get(&number)?.owner;
        Some(Event::Writable { stream: self.stream_id(number), owner })
    }

    /// Nothing more is written to a stream.
    pub(super) fn wants_no_credit(&mut self, number: u64) {
        if let Some(stream) = self.streams.get(&number) {
            self.credit.remove(stream.ticket);
        }
    }

    fn note_readable(&mut self, number: u64) {
        if let Some(stream) = self.streams.get_mut(&number) {
            stream.is_readable = true;
            self.queue(number);
        }
    }

    /// Sees whether a stream that waits was broken off, which is reported at once.
    pub(super) fn look_for_reset(&mut self, id: quinn_proto::StreamId) {
        let number = u64::from(id);
        if let Some(stream) = self.streams.get_mut(&number) {
            stream.look_for_reset(&mut self.inner, id);
            self.queue(number);
        }
    }

    /// Puts a stream into the queue of those that have events.
    pub(super) fn queue(&mut self, number: u64) {
        if let Some(stream) = self.streams.get_mut(&number)
            && !stream.is_queued
            && stream.is_ready()
        {
            stream.is_queued = true;
            self.readable.push_back(number);
        }
    }

    /// The sending direction of a stream is over; whose it is, if it was open.
    pub(super) fn end_sending(&mut self, number: u64) -> Option<u64> {
        let stream = self.streams.get_mut(&number).filter(|stream| stream.sends)?;
        stream.sends = false;
        let owner = stream.owner;
        self.wants_no_credit(number);
        self.note_if_over(number);
        Some(owner)
    }

    /// Notes that a stream is closed, once both of its directions are over.
    pub(super) fn note_if_over(&mut self, number: u64) {
        if self.streams.get(&number).is_some_and(Stream::is_over) {
            self.closed.push_back(number);
        }
    }

    /// A stream is not open any more, whoever opened it.
    fn forget_stream(&mut self, number: u64) {
        let dir = if number & 0b10 == 0 { Dir::Bi } else { Dir::Uni };
        let is_of_peer = self.is_client == (number & 1 == 0);
        match (is_of_peer, dir) {
            (true, _) => self.of_peer[dir as usize] -= 1,
            (false, Dir::Bi) => self.own -= 1,
            (false, Dir::Uni) => {}
        }
    }

    /// Reports that a stream is closed, and forgets it.
    fn close(&mut self) -> Option<Event> {
        while let Some(number) = self.closed.pop_front() {
            // One that is kept is noted again when it is let go, perhaps before it comes here at all.
            let Some(stream) = self.streams.get(&number).filter(|stream| !stream.is_kept) else {
                continue;
            };
            let owner = stream.owner;
            self.streams.remove(&number);
            self.forget_stream(number);
            return Some(Event::Closed { stream: self.stream_id(number), owner });
        }
        None
    }
}

const fn direction_of(dir: Dir) -> Direction {
    match dir {
        Dir::Bi => Direction::Bidirectional,
        Dir::Uni => Direction::Unidirectional,
    }
}
