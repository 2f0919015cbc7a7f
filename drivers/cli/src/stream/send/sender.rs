//! Sends one stream: connects to whichever address answers first, writes as there is credit, and takes the
//! answer.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gapless_core::demux::{AcceptorId, Direction, Registrant};
use gapless_quic::tagged::{Notice, OpenError, Opened, PROTOCOL, Streams};
use gapless_quic::{Acceptors, ConnectionId, Event, Peer, Reason, StreamId};

use super::answer::Answer;
use crate::failure::{Failure, Outcome};
use crate::io::ahead::Next;
use crate::io::source::Source;
use crate::progress::Progress;
use crate::stream::{codes, disconnects, tags};

/// The owner of the stream.
const OWN: AcceptorId = AcceptorId(1);

/// How far the sending direction is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sending {
    /// There may be more.
    Open,
    /// All was written.
    Ended,
    /// All has arrived.
    Arrived,
    /// The peer wants no more.
    Enough,
}

/// The settings of a sender.
pub(crate) struct Settings {
    pub(crate) tag: Vec<u8>,
    pub(crate) source: Source,
    /// Its name in errors.
    pub(crate) source_name: String,
    /// Where the answer goes; `None` of a stream that goes one way.
    pub(crate) answer: Option<Answer>,
    /// Its name in errors.
    pub(crate) answer_name: String,
    /// The line that the first byte of the answer would stand behind on a terminal, and be wiped out with.
    pub(crate) progress: Option<Progress>,
}

/// Sends one stream.
pub(crate) struct Sender {
    settings: Settings,
    /// Connections that may become the one.
    pub(crate) attempts: Vec<ConnectionId>,
    /// Those of them of which the system says that they cannot: the next address is tried, but they may be
    /// what answers all the same.
    doubtful: Vec<ConnectionId>,
    connection: Option<ConnectionId>,
    stream: Option<StreamId>,
    /// The other side, as it was when the connection was complete.
    pub(crate) peer: Option<Peer>,
    unsent: Bytes,
    sending: Sending,
    is_answered: bool,
    /// Whether the peer succeeded without having read all.
    pub(crate) has_enough: bool,
    /// Bytes that were given to the connection.
    pub(crate) sent: u64,
    /// Bytes of the answer.
    pub(crate) answered: u64,
    /// The last attempt that failed, and why.
    pub(crate) refusal: Option<Failure>,
    /// The code that the peer gets if it failed.
    pub(crate) code: u64,
    /// How it ended.
    pub(crate) result: Option<Result<(), Failure>>,
}

impl Sender {
    pub(crate) const fn new(settings: Settings) -> Self {
        Self {
            settings,
            attempts: Vec::new(),
            doubtful: Vec::new(),
            connection: None,
            stream: None,
            peer: None,
            unsent: Bytes::new(),
            sending: Sending::Open,
            is_answered: false,
            has_enough: false,
            sent: 0,
            answered: 0,
            refusal: None,
            code: codes::BROKEN_OFF,
            result: None,
        }
    }

    /// Whether a connection is complete.
    pub(crate) const fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Whether the stream has begun.
    pub(crate) const fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Does what the threads make possible.
    pub(crate) fn advance(&mut self, streams: &mut Streams<'_>) {
        if let (Some(stream), Some(answer)) = (self.stream, &mut self.settings.answer)
            && answer.sink.has_room()
            && !self.is_answered
        {
            // One that is over needs nothing more read.
            let _ = streams.endpoint.resume(stream);
        }
        self.send(streams);
        self.check_end();
    }

    /// Hands what was written to a file to the system.
    pub(crate) fn write_out(&mut self) {
        if let Some(answer) = &mut self.settings.answer
            && let Err(error) = answer.sink.write_out()
        {
            self.unwritten(&error);
        }
    }

    /// The answer will not be whole: whether all that came of it is written, or cannot be.
    pub(crate) fn answer_is_written(&mut self) -> bool {
        let Some(Answer { sink, .. }) = &mut self.settings.answer else { return true };
        self.answered == 0 || sink.end().is_err() || sink.result().is_some()
    }

    /// The answer will not be whole: where there is what came of it, if it is in a file.
    pub(crate) fn abandon_answer(&mut self) -> Option<PathBuf> {
        self.settings.answer.as_mut().and_then(Answer::abandon)
    }

    /// Breaks the stream off and closes all connections.
    pub(crate) fn close(&mut self, streams: &mut Streams<'_>, code: u64) {
        if let Some(stream) = self.stream
            && code != codes::FINE
        {
            let _ = streams.endpoint.reset(stream, code);
            let _ = streams.endpoint.stop(stream, code);
        }
        let attempts = self.attempts.drain(..).chain(self.doubtful.drain(..));
        for connection in attempts.chain(self.connection.take()) {
            // One that is over needs no closing.
            let _ = streams.endpoint.close(streams.now, connection, code, b"");
        }
    }

    fn fail(&mut self, failure: Failure) {
        // The first thing that went wrong is reported.
        self.result.get_or_insert(Err(failure));
    }

    fn unwritten(&mut self, error: &io::Error) {
        self.code = codes::CANNOT_STORE;
        if let Some(answer) = &mut self.settings.answer {
            answer.discard();
        }
        let failure = match &self.settings.answer {
            Some(answer) if answer.is_standard() => Failure::standard_output(error),
            _ => Failure::io("write to", &self.settings.answer_name, error),
        };
        self.fail(failure);
    }

    fn broken_off(&mut self, code: u64) {
        let (outcome, words) = codes::refusal(code, &tags::written(&self.settings.tag));
        self.fail(Failure::new(outcome, words));
    }

    fn connected(&mut self, streams: &mut Streams<'_>, connection: ConnectionId) {
        let peer = streams.endpoint.peer(connection);
        self.forget(connection);
        if self.connection.is_some() {
            let _ = streams.endpoint.close(streams.now, connection, codes::FINE, b"");
            return;
        }
        self.connection = Some(connection);
        for other in self.attempts.drain(..).chain(self.doubtful.drain(..)) {
            let _ = streams.endpoint.close(streams.now, other, codes::FINE, b"");
        }
        let protocol = peer.as_ref().and_then(|peer| peer.protocol.clone());
        self.peer = peer;
        if protocol.is_none_or(|protocol| protocol != PROTOCOL) {
            let words = "the peer did not agree on the protocol (ALPN) gapless/1";
            return self.fail(Failure::new(Outcome::WrongProtocol, words));
        }
        self.open(streams);
    }

    fn open(&mut self, streams: &mut Streams<'_>) {
        let (Some(connection), None) = (self.connection, self.stream) else { return };
        let direction = match self.settings.answer {
            Some(_) => Direction::Bidirectional,
            None => Direction::Unidirectional,
        };
        let by = Registrant::Application;
        match streams.open(connection, direction, OWN, &self.settings.tag, by) {
            Ok(stream) => {
                self.stream = Some(stream);
                self.send(streams);
            }
            // An event comes when there is.
            Err(OpenError::NoCredit) => {}
            Err(error) => self.fail(Failure::new(Outcome::Lost, error.to_string())),
        }
    }

    /// Writes as much as there is, and as there is credit for.
    fn send(&mut self, streams: &mut Streams<'_>) {
        let Some(stream) = self.stream else { return };
        while self.sending == Sending::Open && self.result.is_none() {
            if self.unsent.is_empty() {
                match self.settings.source.next() {
                    Ok(Next::Item(bytes)) => self.unsent = bytes,
                    Ok(Next::NotYet) => return,
                    Ok(Next::End) => {
                        self.sending = Sending::Ended;
                        // It is refused only where the peer stopped it, which is an event.
                        let _ = streams.endpoint.finish(stream);
                    }
                    Err(error) => {
                        self.code = codes::CANNOT_READ;
                        let failure = Failure::io("read", &self.settings.source_name, &error);
                        self.fail(failure);
                    }
                }
                continue;
            }
            match streams.endpoint.write(stream, &mut self.unsent) {
                Ok(written) => self.sent += written as u64,
                // That it was stopped, or that the connection is lost, is an event.
                Err(_) => return,
            }
            if !self.unsent.is_empty() {
                return;
            }
        }
    }

    /// Takes the next bytes of the answer.
    fn answer(&mut self, streams: &mut Streams<'_>, stream: StreamId, bytes: Bytes, fin: bool) {
        let Some(Answer { sink, .. }) = &mut self.settings.answer else { return };
        self.answered += bytes.len() as u64;
        let mut result = Ok(true);
        if !bytes.is_empty() {
            if let Some(progress) = self.settings.progress.take() {
                progress.hide();
            }
            result = sink.push(bytes);
        }
        if fin && result.is_ok() {
            self.is_answered = true;
            result = sink.end().map(|()| true);
        }
        match result {
            Ok(true) => {}
            Ok(false) => {
                let _ = streams.endpoint.pause(stream);
            }
            Err(error) => self.unwritten(&error),
        }
        self.check_end();
    }

    /// Whether the peer has all that it wants.
    const fn has_sent(&self) -> bool {
        matches!(self.sending, Sending::Arrived | Sending::Enough)
    }

    /// Ends it if it is over.
    fn check_end(&mut self) {
        let written = self.settings.answer.as_ref().map(|answer| answer.sink.result());
        let is_written = match written {
            Some(Some(Err(error))) => return self.unwritten(&error),
            Some(Some(Ok(()))) => self.is_answered,
            Some(None) => false,
            None => true,
        };
        if !self.has_sent() || !is_written || self.result.is_some() {
            return;
        }
        if let Some(Err(error)) = self.settings.answer.as_mut().map(Answer::finish) {
            self.code = codes::CANNOT_STORE;
            return self.fail(Failure::io("write", &self.settings.answer_name, &error));
        }
        self.has_enough = self.sending == Sending::Enough;
        self.result = Some(Ok(()));
    }

    fn disconnected(&mut self, connection: ConnectionId, reason: &Reason) {
        let is_own = self.connection == Some(connection);
        let failure = disconnects::of_connection(reason, is_own);
        if is_own && self.is_answered && self.has_sent() {
            // An answer that has all come needs it no more, though it may still have to be written.
        } else if is_own {
            self.connection = None;
            self.fail(failure);
        } else if self.forget(connection) {
            self.refusal = Some(failure);
        }
    }

    /// It is no attempt any more; whether it was one that there was hope for.
    fn forget(&mut self, connection: ConnectionId) -> bool {
        self.doubtful.retain(|other| *other != connection);
        let before = self.attempts.len();
        self.attempts.retain(|other| *other != connection);
        self.attempts.len() < before
    }

    /// The system says that a connection cannot be had.
    fn send_failed(&mut self, streams: &Streams<'_>, connection: ConnectionId, os_error: i32) {
        if self.forget(connection)
            && let Some(peer) = streams.endpoint.peer(connection)
        {
            self.doubtful.push(connection);
            self.refusal = Some(disconnects::of_send(peer.address, os_error));
        }
    }
}

impl Acceptors for Sender {
    fn opened(&mut self, _: &mut Streams<'_>, _: Opened) -> bool {
        // It registers no tag.
        false
    }

    fn notice(&mut self, streams: &mut Streams<'_>, notice: Notice) {
        match notice {
            Notice::Data { stream, bytes, fin, .. } => self.answer(streams, stream, bytes, fin),
            Notice::HandOffFailed { .. } => {}
            Notice::Event(event) => match event {
                Event::Connected { connection } => self.connected(streams, connection),
                Event::Disconnected { connection, reason } => {
                    self.disconnected(connection, &reason);
                }
                Event::SendFailed { connection, os_error } => {
                    self.send_failed(streams, connection, os_error);
                }
                Event::Openable { .. } => self.open(streams),
                Event::Writable { .. } => self.send(streams),
                Event::Finished { .. } => {
                    self.sending = Sending::Arrived;
                    self.check_end();
                }
                // The answer says what became of it, if there is to be one.
                Event::Stopped { code: codes::ENOUGH, .. } => {
                    // A peer that wants no more of an empty stream has had all of it.
                    let is_empty = self.sending == Sending::Ended && self.sent == 0;
                    self.sending = if is_empty { Sending::Arrived } else { Sending::Enough };
                    self.check_end();
                }
                Event::Stopped { code, .. } | Event::Reset { code, .. } => self.broken_off(code),
                _ => {}
            },
        }
    }
}

/// How soon the next address is tried while no other has answered.
pub(crate) const STAGGER: Duration = Duration::from_millis(250);

/// When to do what while there is no connection.
pub(crate) struct Attempts<T> {
    left: std::vec::IntoIter<T>,
    next: Instant,
}

impl<T> Attempts<T> {
    pub(crate) fn new(addresses: Vec<T>, now: Instant) -> Self {
        Self { left: addresses.into_iter(), next: now }
    }

    /// The address to try now, if it is time for one: at once, when no other is being tried.
    pub(crate) fn next(&mut self, now: Instant, is_trying: bool) -> Option<T> {
        if is_trying && now < self.next {
            return None;
        }
        self.next = now + STAGGER;
        self.left.next()
    }

    /// Whether all were tried.
    pub(crate) fn is_over(&self) -> bool {
        self.left.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_tried_one_after_the_other_while_none_answers() {
        let begin = Instant::now();
        let mut attempts = Attempts::new(vec![1, 2, 3], begin);
        assert_eq!(attempts.next(begin, false), Some(1));
        assert_eq!(attempts.next(begin, true), None);
        assert_eq!(attempts.next(begin + STAGGER, true), Some(2));
        // The first two have failed.
        assert_eq!(attempts.next(begin + STAGGER, false), Some(3));
        assert!(attempts.is_over());
        assert_eq!(attempts.next(begin + STAGGER, false), None);
    }
}
