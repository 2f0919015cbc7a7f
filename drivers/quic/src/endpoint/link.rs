//! One connection as the endpoint knows it: quinn-proto's state, what the program knows of it, and its
//! streams.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use quinn_proto::{Connection, Dir, EndpointEvent, StreamEvent};

use super::admission::Network;
use super::config::Handshake;
use super::credit::Credit;
use super::event::{ConnectionId, Direction, Event, Reason, StreamId};
use super::stream::{Stream, Told};

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Its handshake goes on.
    Opening,
    /// Its handshake is over.
    Open,
    /// It is over, and its end was told; quinn-proto still answers stragglers.
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
    /// Whether it stands in the list of those that have something to tell or to do.
    pub(super) is_dirty: bool,
    /// Whether datagrams have come for it since it last was clean.
    pub(super) is_fed: bool,
    /// Whether its timer was due and not handled, since something had come just then.
    is_put_off: bool,
    /// Whether it stands in the list of those that may have something to send.
    pub(super) is_sending: bool,
    /// What lets quinn-proto's endpoint forget it, once its end is told.
    pub(super) drained: Option<EndpointEvent>,
    /// When its handshake must be over.
    pub(super) opens_until: Option<Instant>,
    /// When it stands in the list of timers.
    pub(super) deadline: Option<Instant>,
    /// Bytes that may wait to be acknowledged.
    pub(super) send_window: u64,
    /// In order, so that nothing depends on hashes.
    pub(super) streams: BTreeMap<u64, Stream>,
    /// Streams that may have something to be told.
    readable: VecDeque<u64>,
    /// Kinds of streams of which the peer opened some that were not accepted yet.
    accepts: [bool; 2],
    /// Kinds of streams of which one was to be opened and the peer allowed no more.
    wants: [bool; 2],
    receives_datagrams: bool,
    /// Datagrams that were told or dropped, and those of the latter that are not counted yet.
    past_datagrams: u64,
    dropped_datagrams: u64,
    /// Whether one was not taken to be sent, and it is to be told when more are.
    pub(super) wants_datagrams: bool,
    /// Whose turn it is to write.
    pub(super) credit: Credit,
    /// Streams that are over, which is not told yet.
    closed: VecDeque<u64>,
}

impl Link {
    pub(super) fn new(
        inner: Connection,
        id: ConnectionId,
        network: Network,
        send_window: u64,
    ) -> Self {
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
            send_window,
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
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.inner.remote_address()
    }

    /// Lets about twice the congestion window wait to be acknowledged: less would starve the path, more
    /// would only wait here.
    pub(super) fn fit_send_buffer(&mut self, least: u64, most: u64) {
        let window = self.inner.congestion_state().window().saturating_mul(2);
        let window = window.min(most).max(least);
        if window != self.send_window {
            self.send_window = window;
            self.inner.set_send_window(window);
        }
    }

    /// Whether a timer that is due waits: what came just now may have made it void, and what answers that
    /// goes first (quinn-proto asserts so after a migration); the timer is set again with it. Once only,
    /// or something would just have to come all the time.
    pub(super) const fn puts_off(&mut self) -> bool {
        self.is_put_off = self.is_fed && !self.is_put_off;
        self.is_put_off
    }

    /// Opens a stream, if the peer allows it now; if not, `Openable` will tell.
    pub(super) fn open(&mut self, dir: Dir) -> Option<quinn_proto::StreamId> {
        let opened = self.inner.streams().open(dir);
        self.wants[dir as usize] |= opened.is_none();
        opened
    }

    /// When it wants to be told that time has passed.
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

    /// The next thing to tell of this connection; `None` when there is nothing more.
    ///
    /// A stream that is over stays known until that is told, so that whoever becomes its owner
    /// meanwhile hears of it.
    pub(super) fn poll(
        &mut self,
        inspect: fn(&dyn quinn_proto::crypto::Session) -> Handshake,
    ) -> Option<Event> {
        if self.state == State::Over {
            while self.inner.poll().is_some() {}
            return None;
        }
        loop {
            if let Some(event) = self.close().or_else(|| self.accept()) {
                return Some(event);
            }
            if let Some(event) = self.datagram().or_else(|| self.read()) {
                return Some(event);
            }
            let Some(event) = self.inner.poll() else { return self.writable() };
            let event = match event {
                quinn_proto::Event::HandshakeDataReady => continue,
                quinn_proto::Event::Connected => {
                    self.handshake = inspect(self.inner.crypto_session());
                    self.state = State::Open;
                    Some(Event::Connected { connection: self.id })
                }
                quinn_proto::Event::ConnectionLost { reason } => Some(self.lose(reason.into())),
                quinn_proto::Event::Stream(event) => self.stream_event(event),
                quinn_proto::Event::DatagramReceived => {
                    self.receives_datagrams = true;
                    continue;
                }
                quinn_proto::Event::DatagramsUnblocked => {
                    self.wants_datagrams = false;
                    Some(Event::DatagramsWritable { connection: self.id })
                }
            };
            if event.is_some() {
                return event;
            }
        }
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
            // All that came were told, or dropped for want of room.
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

    /// Tells what comes next of a stream; the streams take turns.
    fn read(&mut self) -> Option<Event> {
        while let Some(number) = self.readable.pop_front() {
            let id = self.stream_id(number);
            let Some(stream) = self.streams.get_mut(&number) else { continue };
            stream.is_queued = false;
            let (Some(inner), true) = (id.inner(), stream.is_ready()) else { continue };
            let (owner, offset) = (stream.owner, stream.offset);
            let event = match stream.next(&mut self.inner, inner) {
                Told::Data { bytes, fin } => {
                    stream.offset += bytes.len() as u64;
                    Event::Data { stream: id, owner, offset, bytes, fin }
                }
                Told::Reset(code) => Event::Reset { stream: id, owner, code },
                Told::Nothing => continue,
            };
            self.queue(number);
            self.note_if_over(number);
            return Some(event);
        }
        None
    }

    fn stream_event(&mut self, event: StreamEvent) -> Option<Event> {
        match event {
            StreamEvent::Opened { dir } => {
                self.accepts[dir as usize] = true;
                None
            }
            StreamEvent::Available { dir } => {
                let direction = direction_of(dir);
                let is_wanted = std::mem::take(&mut self.wants[dir as usize]);
                is_wanted.then_some(Event::Openable { connection: self.id, direction })
            }
            StreamEvent::Readable { id } => {
                self.note_readable(id.into());
                self.look_for_reset(id);
                None
            }
            StreamEvent::Writable { id } => {
                let number = u64::from(id);
                let stream = self.streams.get_mut(&number).filter(|stream| stream.sends)?;
                if !stream.write_head(&mut self.inner, id) || stream.finishes {
                    return None;
                }
                self.credit.ready(number, &mut stream.place);
                None
            }
            StreamEvent::Finished { id } => {
                let number = u64::from(id);
                let owner = self.end_sending(number)?;
                Some(Event::Finished { stream: self.stream_id(number), owner })
            }
            StreamEvent::Stopped { id, error_code } => {
                // RFC 9000 §3.5; it is refused only where it was reset before.
                let _ = self.inner.send_stream(id).reset(error_code);
                let number = u64::from(id);
                let owner = self.end_sending(number)?;
                let code = error_code.into_inner();
                Some(Event::Stopped { stream: self.stream_id(number), owner, code })
            }
        }
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

    /// Tells that a stream may be written to; the streams take turns.
    fn writable(&mut self) -> Option<Event> {
        let number = self.credit.next()?;
        let owner = self.streams.get(&number)?.owner;
        Some(Event::Writable { stream: self.stream_id(number), owner })
    }

    /// Nothing more is written to a stream.
    pub(super) fn wants_no_credit(&mut self, number: u64) {
        if let Some(stream) = self.streams.get(&number) {
            self.credit.remove(stream.place);
        }
    }

    fn note_readable(&mut self, number: u64) {
        if let Some(stream) = self.streams.get_mut(&number) {
            stream.is_readable = true;
            self.queue(number);
        }
    }

    /// Sees whether a stream that waits was broken off, which is told at once.
    pub(super) fn look_for_reset(&mut self, id: quinn_proto::StreamId) {
        let number = u64::from(id);
        if let Some(stream) = self.streams.get_mut(&number) {
            stream.look_for_reset(&mut self.inner, id);
            self.queue(number);
        }
    }

    /// Puts a stream into the queue of those to be told of.
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

    /// Tells that a stream is closed, and forgets it.
    fn close(&mut self) -> Option<Event> {
        while let Some(number) = self.closed.pop_front() {
            // One that is kept is noted again when it is let go, perhaps before it comes here at all.
            let Some(stream) = self.streams.get(&number).filter(|stream| !stream.is_kept) else {
                continue;
            };
            let owner = stream.owner;
            self.streams.remove(&number);
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
