//! A program at one end: sends what it is asked to, checks what comes, and writes down how everything
//! ended.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use gapless_quic::{ConnectionId, Direction, Endpoint, Event, Handler, Reason, StreamId};

/// Every stream carries the same bytes, over and over: byte n is n modulo this.
const PERIOD: usize = 251;
/// The most bytes of one write.
pub(crate) const CHUNK: usize = 16 << 10;

/// The record of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamLog {
    /// Bytes that came, all of them as they should be.
    pub(crate) received: u64,
    /// Bytes that were taken to be sent.
    pub(crate) sent: u64,
    pub(crate) is_whole: bool,
    pub(crate) reset: Option<u64>,
    pub(crate) stopped: Option<u64>,
    pub(crate) is_finished: bool,
    pub(crate) is_closed: bool,
    /// Bytes that are still to be sent, and then its end.
    left: Option<u64>,
}

/// The handling of a stream that the peer opens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Habit {
    /// Reads it, and ends its own direction when the peer's ends.
    #[default]
    Read,
    /// Reads it, and sends so many bytes back.
    Answer(u64),
    /// Does not read it.
    Pause,
}

#[derive(Debug, Default)]
pub(crate) struct TestPeer {
    pub(crate) habit: Habit,
    /// Sends so many bytes on so many streams as soon as it is connected.
    pub(crate) begin: Option<(Direction, usize, u64)>,
    /// How many of them are still to be opened.
    to_open: BTreeMap<ConnectionId, usize>,
    pub(crate) connected: Vec<ConnectionId>,
    pub(crate) gone: Vec<(ConnectionId, Reason)>,
    /// The system's errors of sending to peers that had not answered.
    pub(crate) send_failures: Vec<(ConnectionId, i32)>,
    pub(crate) streams: BTreeMap<StreamId, StreamLog>,
    pub(crate) writables: Vec<StreamId>,
    pub(crate) openables: usize,
    /// Events that came of what was not known or was over already.
    pub(crate) strays: Vec<Event>,
    pattern: Pattern,
}

#[derive(Debug)]
struct Pattern(Bytes);

impl Default for Pattern {
    fn default() -> Self {
        Self((0..PERIOD + (64 << 10)).map(|n| (n % PERIOD) as u8).collect())
    }
}

impl Pattern {
    fn at(&self, offset: u64, length: usize) -> Bytes {
        let begin = usize::try_from(offset % PERIOD as u64).unwrap();
        self.0.slice(begin..begin + length)
    }
}

impl TestPeer {
    pub(crate) fn reading() -> Self {
        Self::default()
    }

    pub(crate) fn with_habit(habit: Habit) -> Self {
        Self { habit, ..Self::default() }
    }

    /// Sends `bytes` on each of `streams` streams once it is connected.
    pub(crate) fn sending(direction: Direction, streams: usize, bytes: u64) -> Self {
        Self { begin: Some((direction, streams, bytes)), ..Self::default() }
    }

    /// Opens what is left of the streams that it begins with, as many as the peer allows now.
    fn open_more(&mut self, endpoint: &mut Endpoint, connection: ConnectionId) {
        let (Some((direction, _, bytes)), Some(mut left)) =
            (self.begin, self.to_open.remove(&connection))
        else {
            return;
        };
        while left > 0 && self.send(endpoint, connection, direction, bytes).is_some() {
            left -= 1;
        }
        if left > 0 {
            self.to_open.insert(connection, left);
        }
    }

    /// Opens a stream and sends so many bytes on it.
    pub(crate) fn send(
        &mut self,
        endpoint: &mut Endpoint,
        connection: ConnectionId,
        direction: Direction,
        bytes: u64,
    ) -> Option<StreamId> {
        let stream = endpoint.open(connection, direction).unwrap()?;
        self.streams.insert(stream, StreamLog { left: Some(bytes), ..StreamLog::default() });
        self.write_more(endpoint, stream);
        Some(stream)
    }

    fn write_more(&mut self, endpoint: &mut Endpoint, stream: StreamId) {
        let known = self.streams.get_mut(&stream).unwrap();
        let Some(mut left) = known.left else { return };
        while left > 0 {
            let length = left.min(CHUNK as u64) as usize;
            let mut chunk = self.pattern.at(known.sent, length);
            // It may have been stopped, of which an event tells.
            let Ok(written) = endpoint.write(stream, &mut chunk) else { return };
            known.sent += written as u64;
            left -= written as u64;
            known.left = Some(left);
            if !chunk.is_empty() {
                return;
            }
        }
        known.left = None;
        let _ = endpoint.finish(stream);
    }

    fn opened(&mut self, endpoint: &mut Endpoint, stream: StreamId) {
        let is_new = self.streams.insert(stream, StreamLog::default()).is_none();
        assert!(is_new, "{stream} was opened twice");
        match self.habit {
            Habit::Read => {}
            Habit::Pause => endpoint.pause(stream).unwrap(),
            Habit::Answer(bytes) => {
                if stream.direction() == Direction::Bidirectional {
                    self.streams.get_mut(&stream).unwrap().left = Some(bytes);
                    self.write_more(endpoint, stream);
                }
            }
        }
    }

    /// The receiving direction is over: so is the sending one, unless an answer is still being sent.
    fn over(&self, endpoint: &mut Endpoint, stream: StreamId) {
        if stream.direction() == Direction::Bidirectional && self.streams[&stream].left.is_none() {
            let _ = endpoint.finish(stream);
        }
    }

    pub(crate) fn received(&self) -> u64 {
        self.streams.values().map(|known| known.received).sum()
    }

    /// Streams that neither were closed, nor is their connection over.
    pub(crate) fn without_end(&self) -> Vec<StreamId> {
        let is_gone = |stream: &StreamId| self.gone.iter().any(|gone| gone.0 == stream.connection);
        let open = self.streams.iter().filter(|(_, known)| !known.is_closed);
        open.map(|(&stream, _)| stream).filter(|stream| !is_gone(stream)).collect()
    }

    /// Why its only connection is over.
    pub(crate) fn reason(&self) -> Option<&Reason> {
        assert!(self.gone.len() <= 1, "{:?}", self.gone);
        self.gone.first().map(|(_, reason)| reason)
    }
}

impl Handler for TestPeer {
    fn event(&mut self, endpoint: &mut Endpoint, _: Instant, event: Event) {
        let stream = match &event {
            Event::Data { stream, .. }
            | Event::Reset { stream, .. }
            | Event::Stopped { stream, .. }
            | Event::Writable { stream, .. }
            | Event::Finished { stream, .. }
            | Event::Closed { stream, .. } => Some(*stream),
            _ => None,
        };
        if let Some(stream) = stream
            && self.streams.get(&stream).is_none_or(|known| known.is_closed)
        {
            self.strays.push(event);
            return;
        }
        match event {
            Event::Connected { connection } => {
                self.connected.push(connection);
                if let Some((_, streams, _)) = self.begin {
                    self.to_open.insert(connection, streams);
                    self.open_more(endpoint, connection);
                }
            }
            Event::Disconnected { connection, reason } => self.gone.push((connection, reason)),
            Event::SendFailed { connection, os_error } => {
                self.send_failures.push((connection, os_error));
            }
            Event::Opened { stream } => self.opened(endpoint, stream),
            Event::Openable { connection, .. } => {
                self.openables += 1;
                self.open_more(endpoint, connection);
            }
            Event::Data { stream, offset, bytes, fin, .. } => {
                let known = self.streams.get_mut(&stream).unwrap();
                assert_eq!(known.received, offset, "{stream}");
                assert_eq!(bytes, self.pattern.at(offset, bytes.len()), "{stream} at {offset}");
                assert!(!known.is_whole && known.reset.is_none(), "{stream} goes on after its end");
                known.received += bytes.len() as u64;
                known.is_whole = fin;
                if fin {
                    self.over(endpoint, stream);
                }
            }
            Event::Reset { stream, code, .. } => {
                self.streams.get_mut(&stream).unwrap().reset = Some(code);
                self.over(endpoint, stream);
            }
            Event::Stopped { stream, code, .. } => {
                let known = self.streams.get_mut(&stream).unwrap();
                (known.stopped, known.left) = (Some(code), None);
            }
            Event::Writable { stream, .. } => {
                self.writables.push(stream);
                self.write_more(endpoint, stream);
            }
            Event::Finished { stream, .. } => {
                self.streams.get_mut(&stream).unwrap().is_finished = true;
            }
            Event::Closed { stream, .. } => {
                self.streams.get_mut(&stream).unwrap().is_closed = true;
            }
            _ => {}
        }
    }
}
