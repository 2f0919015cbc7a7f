//! Takes streams: admits them, gives each to a file, a command or standard output when its turn comes, and
//! keeps an account of how it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gapless_core::demux::{AcceptorId, Direction, TOO_MANY_OF_PEER};
use gapless_quic::tagged::{Notice, Opened, Streams};
use gapless_quic::{Acceptors, ConnectionId, Endpoint, Event, Reason, StreamId};

use super::admission::{Admission, Limits};
use super::ended::{End, Taken, refuse};
use super::incoming::{Incoming, Moved, Step};
use super::queue::{Client, Network};
use super::reaper::Reaper;
use super::reports::Pending;
use super::target::{Output, Target};
use crate::io::signals::Signals;
use crate::io::sink;
use crate::stream::disconnects;

/// The acceptor of all streams.
pub(super) const ACCEPTOR: AcceptorId = AcceptorId(1);
/// How often limits of time are checked.
const CHECK_EVERY: Duration = Duration::from_millis(100);

/// The settings of a listener.
pub(super) struct Settings {
    pub(super) output: Output,
    pub(super) limits: Limits,
    /// Bytes of a stream at most.
    pub(super) max_bytes: u64,
    /// How long a command may take.
    pub(super) exec_timeout: Option<Duration>,
    pub(super) signals: Signals,
}

/// Takes streams.
pub(super) struct Listener {
    output: Output,
    max_bytes: u64,
    exec_timeout: Option<Duration>,
    signals: Signals,
    pub(super) admission: Admission,
    incoming: BTreeMap<StreamId, Incoming>,
    by_key: BTreeMap<u64, StreamId>,
    /// When limits of time are checked next.
    check_at: Option<Instant>,
    /// Files that have something that the system does not.
    unwritten: BTreeSet<StreamId>,
    reaper: Reaper,
    /// Connections that are complete.
    pub(super) connections: BTreeSet<ConnectionId>,
    /// Events that are to be reported.
    pub(super) pending: Pending,
    /// Why standard output takes nothing more, if so.
    pub(super) stdout_closed: Option<io::Error>,
    /// Bytes that came, of all streams.
    pub(super) bytes: u64,
}

impl Listener {
    pub(super) fn new(settings: Settings) -> Self {
        let Settings { output, limits, max_bytes, exec_timeout, signals } = settings;
        Self {
            output,
            max_bytes,
            exec_timeout,
            signals,
            admission: Admission::new(limits),
            incoming: BTreeMap::new(),
            by_key: BTreeMap::new(),
            check_at: None,
            unwritten: BTreeSet::new(),
            reaper: Reaper::default(),
            connections: BTreeSet::new(),
            pending: Pending::default(),
            stdout_closed: None,
            bytes: 0,
        }
    }

    /// Whether it has taken as many streams as it should, and they have ended.
    pub(super) fn is_done(&self) -> bool {
        (self.admission.reached_count() || self.admission.is_draining()) && self.incoming.is_empty()
    }

    /// Streams that are being taken, those included that wait.
    pub(super) fn open(&self) -> usize {
        self.incoming.len()
    }

    /// Does what the threads of these keys make possible.
    pub(super) fn signalled(&mut self, streams: &mut Streams<'_>, keys: &BTreeSet<u64>) {
        for key in keys {
            if let Some(&stream) = self.by_key.get(key) {
                self.advance(streams, stream);
            }
        }
    }

    /// Hands what was written to files to the system.
    pub(super) fn write_out(&mut self, streams: &mut Streams<'_>) {
        for stream in std::mem::take(&mut self.unwritten) {
            let incoming = self.incoming.get_mut(&stream);
            if let Some(Err(error)) = incoming.map(|incoming| incoming.target.write_out()) {
                self.end(streams.endpoint, stream, End::CannotStore(error));
            }
        }
        self.next_in_turn(streams);
    }

    /// Breaks off all streams, and takes no more.
    pub(super) fn interrupt(&mut self, streams: &mut Streams<'_>) {
        self.admission.drain();
        let open: Vec<StreamId> = self.incoming.keys().copied().collect();
        for stream in open {
            self.end(streams.endpoint, stream, End::Interrupted);
        }
    }

    /// Ends what takes too long, and lets streams begin that found no descriptor, process or thread. To be
    /// called some times a second.
    pub(super) fn check_limits(&mut self, streams: &mut Streams<'_>) {
        let now = streams.now;
        if self.check_at.is_some_and(|at| now < at) {
            return;
        }
        self.check_at = Some(now + CHECK_EVERY);
        self.end_slow_commands(streams);
        loop {
            let idle = self.incoming.values().filter_map(Incoming::idle);
            let Some((key, end)) = self.admission.give_way(now, idle) else { break };
            if let Some(&stream) = self.by_key.get(&key) {
                self.end(streams.endpoint, stream, end);
            }
            self.next_in_turn(streams);
        }
        self.next_in_turn(streams);
    }

    fn end_slow_commands(&mut self, streams: &mut Streams<'_>) {
        let Some(limit) = self.exec_timeout else { return };
        let is_slow = |turn: Instant| streams.now.saturating_duration_since(turn) >= limit;
        let slow = self.incoming.values().filter(|incoming| {
            matches!(incoming.target, Target::Command(_)) && incoming.turn.is_some_and(is_slow)
        });
        let slow: Vec<StreamId> = slow.map(|incoming| incoming.stream).collect();
        for stream in slow {
            self.end(streams.endpoint, stream, End::CommandTooSlow);
        }
    }

    /// Lets as many streams begin as have their turn now.
    fn next_in_turn(&mut self, streams: &mut Streams<'_>) {
        while let Some(key) = self.admission.next(streams.now)
            && let Some(&stream) = self.by_key.get(&key)
        {
            self.begin(streams, stream);
        }
    }

    /// A stream's turn has come.
    fn begin(&mut self, streams: &mut Streams<'_>, stream: StreamId) {
        let Some(incoming) = self.incoming.get_mut(&stream) else { return };
        let &mut Incoming { key, peer, client, is_bidirectional, is_whole, .. } = incoming;
        let target = self.output.begin(key, &incoming.tag, peer, is_bidirectional, &self.signals);
        match target {
            Ok(target) => {
                let first = incoming.begin(target, streams.now);
                incoming.resume(streams.endpoint, streams.now);
                self.give(streams, stream, first, is_whole);
            }
            Err(error) => match self.admission.put_back(key, client, error, streams.now) {
                Ok(scarce) => self.pending.scarce = scarce.or(self.pending.scarce.take()),
                Err(error) => {
                    let end = self.output.not_begun(error);
                    self.end(streams.endpoint, stream, end);
                }
            },
        }
    }

    /// Gives the next bytes of a stream to whom they go.
    fn give(&mut self, streams: &mut Streams<'_>, stream: StreamId, bytes: Bytes, fin: bool) {
        let Some(incoming) = self.incoming.get_mut(&stream) else { return };
        if !bytes.is_empty() {
            match incoming.target.push(bytes) {
                Ok(true) => {}
                Ok(false) => incoming.pause(streams.endpoint),
                Err(error) => return self.end(streams.endpoint, stream, End::CannotStore(error)),
            }
            match incoming.target {
                Target::Part(_) | Target::Output(..) => {
                    self.unwritten.insert(stream);
                }
                Target::Waiting(_) => self.admission.ready(incoming.key),
                Target::Command(_) => {}
            }
        }
        if fin {
            self.whole(streams, stream);
        }
    }

    /// All of a stream was given to whom it goes.
    fn whole(&mut self, streams: &mut Streams<'_>, stream: StreamId) {
        let Some(incoming) = self.incoming.get_mut(&stream) else { return };
        incoming.is_whole = true;
        if let Err(error) = incoming.target.end() {
            return self.end(streams.endpoint, stream, End::CannotStore(error));
        }
        match incoming.target {
            Target::Waiting(_) => self.admission.ready(incoming.key),
            Target::Part(_) => self.end(streams.endpoint, stream, End::Complete),
            Target::Output(..) | Target::Command(_) => self.advance(streams, stream),
        }
    }

    /// Does what can be done for a stream whose bytes go to a pipe or a command.
    fn advance(&mut self, streams: &mut Streams<'_>, stream: StreamId) {
        let Some(incoming) = self.incoming.get_mut(&stream) else { return };
        match incoming.advance(streams.endpoint, streams.now) {
            Step::Idle | Step::Continue(None) => {}
            Step::Continue(Some(ask)) => self.reaper.expect(stream, ask, streams.now),
            Step::End(end) => self.end(streams.endpoint, stream, end),
            Step::StdoutClosed(error) => {
                self.stdout_closed = Some(sink::copy(&error));
                self.admission.close();
                self.end(streams.endpoint, stream, End::CannotStore(error));
            }
        }
    }

    /// A stream has ended: its peer is answered, what was made for it is released, and it is put on record.
    fn end(&mut self, endpoint: &mut Endpoint, stream: StreamId, end: End) {
        let Some(incoming) = self.incoming.get_mut(&stream) else { return };
        let Some(end) = incoming.close(endpoint, end) else { return };
        let Some(incoming) = self.incoming.remove(&stream) else { return };
        let Incoming { key, tag, peer, client, begun, bytes, target, .. } = incoming;
        self.by_key.remove(&key);
        self.unwritten.remove(&stream);
        self.reaper.forget(stream);
        self.admission.remove(key, client, target.is_active());
        let (end, file, killed) = self.output.close(target, client.network, end);
        if let Some(killed) = killed {
            self.reaper.reap(killed, Instant::now());
        }
        end.send(endpoint, stream);
        let taken = Taken::new(&tag, peer, bytes, &end, file, begun.elapsed());
        self.pending.ended.push_back(taken);
        self.pending.removed_parts = self.output.removed_parts();
    }

    /// A stream that waits gives way to one of another client, as if it had been refused at once.
    fn displace(&mut self, endpoint: &mut Endpoint, key: u64) {
        let Some(stream) = self.by_key.remove(&key) else { return };
        if let Some(incoming) = self.incoming.remove(&stream) {
            self.admission.dismiss(key, incoming.client);
        }
        refuse(endpoint, stream, TOO_MANY_OF_PEER);
    }

    /// A connection is over: what came whole goes on without it.
    fn lost(&mut self, streams: &mut Streams<'_>, connection: ConnectionId, reason: &Reason) {
        let was_connected = self.connections.remove(&connection);
        let why = disconnects::of_connection(reason, was_connected).what().to_owned();
        let of = |number| StreamId { connection, number };
        let open: Vec<(StreamId, bool)> = self
            .incoming
            .range(of(0)..=of(u64::MAX))
            .map(|(stream, incoming)| (*stream, incoming.is_whole))
            .collect();
        for (stream, is_whole) in open {
            match is_whole {
                true => self.unanswered(streams, stream),
                false => self.end(streams.endpoint, stream, End::Lost(why.clone())),
            }
        }
        if !was_connected {
            self.pending.unconnected = Some(why);
        }
    }

    /// Nobody wants the answer to a stream.
    fn unanswered(&mut self, streams: &mut Streams<'_>, stream: StreamId) {
        if self.incoming.get_mut(&stream).is_some_and(Incoming::unanswered) {
            self.advance(streams, stream);
        }
    }
}

impl Acceptors for Listener {
    fn opened(&mut self, streams: &mut Streams<'_>, opened: Opened) -> bool {
        let Opened { stream, tag, .. } = opened;
        if self.admission.reached_count() {
            return false;
        }
        let Some(peer) = streams.endpoint.peer(stream.connection) else { return false };
        if self.admission.is_draining() {
            End::Interrupted.send(streams.endpoint, stream);
            return true;
        }
        let client = Client {
            network: Network::of(peer.address.ip()),
            connection: stream.connection.number(),
        };
        match self.admission.room_for(client, self.pending.ended.len()) {
            Ok(None) => {}
            Ok(Some(key)) => self.displace(streams.endpoint, key),
            Err(code) => {
                refuse(streams.endpoint, stream, code);
                return true;
            }
        }
        let is_ready = self.output.takes_nothing_yet();
        let key = self.admission.admit(client, is_ready);
        if self.admission.reached_count() {
            streams.acceptor_gone(ACCEPTOR);
        }
        self.by_key.insert(key, stream);
        let mut incoming = Incoming {
            stream,
            key,
            tag,
            peer: peer.address,
            client,
            is_bidirectional: stream.direction() == Direction::Bidirectional,
            begun: streams.now,
            turn: None,
            progress: Moved::from(streams.now),
            is_paused: false,
            bytes: 0,
            is_whole: false,
            target: Target::Waiting(Bytes::new()),
        };
        if is_ready {
            incoming.pause(streams.endpoint);
        }
        self.incoming.insert(stream, incoming);
        self.next_in_turn(streams);
        true
    }

    fn notice(&mut self, streams: &mut Streams<'_>, notice: Notice) {
        match notice {
            Notice::Data { stream, bytes, fin, .. } => {
                let Some(incoming) = self.incoming.get_mut(&stream) else { return };
                incoming.progress.by(bytes.len(), streams.now);
                incoming.bytes += bytes.len() as u64;
                self.bytes += bytes.len() as u64;
                if incoming.bytes > self.max_bytes {
                    return self.end(streams.endpoint, stream, End::TooLong);
                }
                self.give(streams, stream, bytes, fin);
            }
            Notice::Event(Event::Connected { connection }) => {
                self.connections.insert(connection);
            }
            Notice::Event(Event::Disconnected { connection, reason }) => {
                self.lost(streams, connection, &reason);
            }
            Notice::Event(Event::Reset { stream, code, .. }) => {
                self.end(streams.endpoint, stream, End::Reset(code));
            }
            Notice::Event(Event::Writable { stream, .. }) => self.advance(streams, stream),
            Notice::Event(Event::Stopped { stream, .. }) => self.unanswered(streams, stream),
            _ => {}
        }
        self.next_in_turn(streams);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.reaper.poll_timeout()
    }

    fn handle_timeout(&mut self, streams: &mut Streams<'_>) {
        for stream in self.reaper.handle_timeout(streams.now) {
            self.advance(streams, stream);
        }
        self.next_in_turn(streams);
    }
}

#[cfg(test)]
mod tests;
