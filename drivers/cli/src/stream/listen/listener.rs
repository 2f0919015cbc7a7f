//! Takes streams: gives each to a file, a command or standard output, lets it wait while they are full, and
//! keeps an account of how it ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gapless_core::demux::{AcceptorId, Direction, TOO_MANY, TOO_MANY_OF_PEER};
use gapless_quic::tagged::{Notice, Opened, Streams};
use gapless_quic::{Acceptors, ConnectionId, Endpoint, Event, Reason, Refusal, StreamId};

use super::command::{Answer, Command, Dying};
use super::incoming::{End, Incoming, Moved, Taken, Target};
use super::queue::{Client, Network, Queue};
use super::store::Folder;
use crate::io::signals::Signals;
use crate::io::sink::{self, Sink};
use crate::io::standard;
use crate::stream::{codes, disconnects};

mod limits;

/// Who takes all streams.
pub(super) const ACCEPTOR: AcceptorId = AcceptorId(1);
/// Streams that wait until others have ended, at most.
const WAITING: usize = 1024;
/// How often it is looked whether a command has ended whose output has.
const REAP: Duration = Duration::from_millis(5);
/// The same, of one that has no output and still gets input.
const SELDOM: Duration = Duration::from_millis(100);

/// Where streams go.
pub(super) enum Output {
    /// To standard output, one after the other.
    Standard,
    /// To files.
    Folder(Folder),
    /// To commands.
    Command(OsString),
}

/// What a listener is made from.
pub(super) struct Settings {
    pub(super) output: Output,
    /// How many streams to take, if not all.
    pub(super) count: Option<u64>,
    /// Streams that are taken at the same time.
    pub(super) parallel: usize,
    /// Bytes of a stream at most.
    pub(super) max_bytes: u64,
    /// How long a client may let a stream wait while others wait for its turn.
    pub(super) stream_timeout: Duration,
    /// How long a command may take.
    pub(super) exec_timeout: Option<Duration>,
    pub(super) signals: Signals,
}

/// Takes streams.
pub(super) struct Listener {
    settings: Settings,
    incoming: BTreeMap<StreamId, Incoming>,
    by_key: BTreeMap<u64, StreamId>,
    /// Streams whose turn has not come, and who has turns.
    queue: Queue,
    /// Until when no stream begins: there was no descriptor, process or thread for one.
    scarce_until: Option<Instant>,
    /// When that was last told.
    scarce_told: Option<Instant>,
    /// What is to be told of that.
    pub(super) scarce: Option<String>,
    /// When limits of time are looked at next.
    look_at: Option<Instant>,
    taken: u64,
    last_key: u64,
    /// Files that have something that the system does not.
    unwritten: BTreeSet<StreamId>,
    /// Commands whose input or output has ended, that may be about to end.
    ending: BTreeSet<StreamId>,
    dying: Vec<Dying>,
    reap_at: Option<Instant>,
    /// Connections that are complete.
    pub(super) connections: BTreeSet<ConnectionId>,
    /// Streams that have ended and were not told.
    pub(super) ended: VecDeque<Taken>,
    /// The last client that could not connect, and why.
    pub(super) unconnected: Option<String>,
    /// Whether somebody wants an end: no more streams are taken.
    is_draining: bool,
    /// Why standard output takes nothing more, if so.
    pub(super) deaf: Option<io::Error>,
    /// Whether nobody hears now how streams ended: no more begin.
    pub(super) is_unheard: bool,
    /// Bytes that came, of all streams.
    pub(super) bytes: u64,
}

impl Listener {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            incoming: BTreeMap::new(),
            by_key: BTreeMap::new(),
            queue: Queue::default(),
            scarce_until: None,
            scarce_told: None,
            scarce: None,
            look_at: None,
            taken: 0,
            last_key: 0,
            unwritten: BTreeSet::new(),
            ending: BTreeSet::new(),
            dying: Vec::new(),
            reap_at: None,
            connections: BTreeSet::new(),
            ended: VecDeque::new(),
            unconnected: None,
            is_draining: false,
            deaf: None,
            is_unheard: false,
            bytes: 0,
        }
    }

    /// Whether it has taken as many streams as it should, and they have ended.
    pub(super) fn is_done(&self) -> bool {
        (self.is_sated() || self.is_draining) && self.incoming.is_empty()
    }

    /// Takes no more streams; those that were taken go on.
    pub(super) fn drain(&mut self) {
        self.is_draining = true;
    }

    /// How many files that are not whole were removed.
    pub(super) fn removed_parts(&self) -> u64 {
        if let Output::Folder(folder) = &self.settings.output { folder.removed } else { 0 }
    }

    /// Streams that are being taken, those included that wait.
    pub(super) fn open(&self) -> usize {
        self.incoming.len()
    }

    fn is_sated(&self) -> bool {
        self.settings.count.is_some_and(|count| self.taken >= count)
    }

    /// Does what the threads of these keys make possible.
    pub(super) fn signalled(&mut self, streams: &mut Streams<'_>, keys: &BTreeSet<u64>) {
        for key in keys {
            if let Some(&stream) = self.by_key.get(key) {
                self.go_on(streams, stream);
            }
        }
    }

    /// Hands what was written to files to the system.
    pub(super) fn write_out(&mut self, streams: &mut Streams<'_>) {
        for stream in std::mem::take(&mut self.unwritten) {
            let result = match self.incoming.get_mut(&stream).map(|incoming| &mut incoming.target) {
                Some(Target::Part(part)) => part.write_out(),
                Some(Target::Output(sink, _)) => sink.write_out(),
                _ => Ok(()),
            };
            if let Err(error) = result {
                self.end(streams.endpoint, stream, End::CannotStore(error));
            }
        }
        self.next_in_turn(streams);
    }

    /// Breaks off all streams, and takes no more.
    pub(super) fn interrupt(&mut self, streams: &mut Streams<'_>) {
        self.is_draining = true;
        let open: Vec<StreamId> = self.incoming.keys().copied().collect();
        for stream in open {
            self.end(streams.endpoint, stream, End::Interrupted);
        }
    }

    /// A stream's turn has come.
    fn begin(&mut self, streams: &mut Streams<'_>, stream: StreamId) {
        let Some(incoming) = self.incoming.get_mut(&stream) else { return };
        let Settings { output, signals, .. } = &mut self.settings;
        let key = incoming.key;
        let target = match output {
            Output::Standard => Sink::standard(standard::Output::Standard, 0, key, signals.clone())
                .map(|sink| Target::Output(sink, None)),
            Output::Folder(folder) => folder.begin(&incoming.tag).map(Target::Part),
            Output::Command(line) => {
                let (peer, is_answered) = (incoming.peer, incoming.is_bidirectional);
                Command::start(line, &incoming.tag, peer, is_answered, key, signals)
                    .map(|command| Target::Command(Box::new(command)))
            }
        };
        let first = match target {
            Ok(target) => match std::mem::replace(&mut incoming.target, target) {
                Target::Waiting(first) => first,
                _ => Bytes::new(),
            },
            Err(error) => return self.not_begun(streams, stream, error),
        };
        (incoming.turn, incoming.progress) = (Some(streams.now), Moved::from(streams.now));
        let is_whole = incoming.is_whole;
        self.resume(streams, stream);
        self.give(streams, stream, first, is_whole);
    }

    /// Lets as many streams begin as have their turn now.
    fn next_in_turn(&mut self, streams: &mut Streams<'_>) {
        while self.queue.active() < self.settings.parallel
            && self.deaf.is_none()
            && !self.is_unheard
            && !self.is_scarce(streams.now)
            && let Some(key) = self.queue.next()
            && let Some(&stream) = self.by_key.get(&key)
        {
            self.begin(streams, stream);
        }
    }

    /// Lets what comes of a stream wait.
    fn pause(&mut self, streams: &mut Streams<'_>, stream: StreamId) {
        if let Some(incoming) = self.incoming.get_mut(&stream) {
            incoming.is_paused = true;
            // One that is over needs nothing more read, here and below.
            let _ = streams.endpoint.pause(stream);
        }
    }

    /// Takes what comes of a stream again.
    fn resume(&mut self, streams: &mut Streams<'_>, stream: StreamId) {
        if let Some(incoming) = self.incoming.get_mut(&stream) {
            if std::mem::take(&mut incoming.is_paused) {
                incoming.progress = Moved::from(streams.now);
            }
            let _ = streams.endpoint.resume(stream);
        }
    }

    /// Gives the next bytes of a stream to whom they go.
    fn give(&mut self, streams: &mut Streams<'_>, stream: StreamId, bytes: Bytes, fin: bool) {
        let Some(incoming) = self.incoming.get_mut(&stream) else { return };
        if !bytes.is_empty() {
            match incoming.target.push(bytes) {
                Ok(true) => {}
                Ok(false) => self.pause(streams, stream),
                Err(error) => return self.end(streams.endpoint, stream, End::CannotStore(error)),
            }
            match self.incoming.get(&stream).map(|incoming| (&incoming.target, incoming.key)) {
                Some((Target::Part(_) | Target::Output(..), _)) => {
                    self.unwritten.insert(stream);
                }
                Some((Target::Waiting(_), key)) => self.queue.ready(key),
                _ => {}
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
        match &mut incoming.target {
            Target::Waiting(_) => self.queue.ready(incoming.key),
            Target::Part(_) => self.end(streams.endpoint, stream, End::Complete),
            Target::Output(sink, _) => {
                if let Err(error) = sink.end() {
                    return self.end(streams.endpoint, stream, End::CannotStore(error));
                }
                self.go_on(streams, stream);
            }
            Target::Command(command) => {
                command.input.end();
                self.go_on(streams, stream);
            }
        }
    }

    /// Does what can be done for a stream whose bytes go to a pipe or a command.
    fn go_on(&mut self, streams: &mut Streams<'_>, stream: StreamId) {
        let Some(incoming) = self.incoming.get_mut(&stream) else { return };
        let endpoint = &mut *streams.endpoint;
        let has_room = match &mut incoming.target {
            Target::Waiting(_) | Target::Part(_) => return,
            Target::Output(sink, broken_off) => match sink.result() {
                Some(Err(error)) => {
                    self.deaf = Some(sink::copy(&error));
                    return self.end(endpoint, stream, End::CannotStore(error));
                }
                Some(Ok(())) if incoming.is_whole || broken_off.is_some() => {
                    let end = broken_off.take().unwrap_or(End::Complete);
                    return self.end(endpoint, stream, end);
                }
                _ => sink.has_room(),
            },
            Target::Command(command) => {
                let progress = &mut incoming.progress;
                let answer = command.answer(|bytes| {
                    let written = endpoint.write(stream, bytes)?;
                    progress.by(written, streams.now);
                    Ok::<usize, Refusal>(written)
                });
                let fed = command.input.result();
                let is_fed = fed.is_some();
                let has_enough = matches!(fed, Some(Err(_))) && !incoming.is_whole;
                if has_enough && incoming.is_bidirectional {
                    // It reads no more: what comes would be for nobody. Whether that is well its answer says.
                    let _ = endpoint.stop(stream, codes::ENOUGH);
                }
                let has_room = command.input.has_room() && !has_enough;
                // As long as somebody holds its output it is not asked how it ended.
                if answer == Answer::Over {
                    match command.status() {
                        // A reset would overtake the answer.
                        Ok(Some(status))
                            if !status.success() && !command.is_answer_acknowledged() =>
                        {
                            self.look_again(streams.now, stream, true);
                        }
                        Ok(Some(status)) => {
                            let end = match (status.success(), incoming.is_whole) {
                                (false, _) => End::CommandFailed(status),
                                (true, true) => End::Complete,
                                (true, false) => End::Enough,
                            };
                            return self.end(endpoint, stream, end);
                        }
                        Ok(None) => self.look_again(streams.now, stream, is_fed),
                        Err(error) => {
                            return self.end(endpoint, stream, End::CannotStore(error));
                        }
                    }
                }
                has_room
            }
        };
        match has_room {
            true => self.resume(streams, stream),
            false => self.pause(streams, stream),
        }
    }

    /// Looks again whether a command has ended.
    fn look_again(&mut self, now: Instant, stream: StreamId, soon: bool) {
        self.ending.insert(stream);
        let at = now + if soon { REAP } else { SELDOM };
        self.reap_at = Some(self.reap_at.map_or(at, |other| other.min(at)));
    }

    /// A stream has ended: its peer is told, what was made for it is let go, and it is put on record.
    fn end(&mut self, endpoint: &mut Endpoint, stream: StreamId, mut end: End) {
        let Some(incoming) = self.incoming.get_mut(&stream) else { return };
        let is_broken =
            matches!(end, End::Reset(_) | End::Lost(_) | End::TooLong | End::Idle | End::TurnOver);
        if let Target::Output(sink, Some(_)) = &incoming.target
            && is_broken
            && sink.result().is_none()
        {
            return;
        }
        if let Target::Output(sink, broken_off @ None) = &mut incoming.target
            && is_broken
            && sink.end().is_ok()
            && sink.result().is_none()
        {
            // The next one must not begin in the middle of what is still being written.
            tell(endpoint, stream, &end);
            *broken_off = Some(end);
            return;
        }
        let Some(mut incoming) = self.incoming.remove(&stream) else { return };
        // The first cause is the one to report.
        if let Target::Output(_, broken_off) = &mut incoming.target
            && is_broken
            && let Some(first) = broken_off.take()
        {
            end = first;
        }
        self.by_key.remove(&incoming.key);
        self.unwritten.remove(&stream);
        self.ending.remove(&stream);
        let target = std::mem::replace(&mut incoming.target, Target::Waiting(Bytes::new()));
        let was_active = !matches!(target, Target::Waiting(_));
        self.queue.remove(incoming.key, incoming.client, was_active);
        let network = incoming.client.network;
        let mut file = None;
        match target {
            Target::Part(part) => match (&mut self.settings.output, &end) {
                (Output::Folder(folder), End::Complete) => match folder.finish(part, network) {
                    Ok(path) => file = Some(path),
                    Err(unfinished) => {
                        file = unfinished.part;
                        end = End::CannotStore(unfinished.error);
                    }
                },
                // The first thing that went wrong is what is told.
                (Output::Folder(folder), _) if !matches!(end, End::CannotStore(_)) => {
                    file = folder.abandon(part, network);
                }
                _ => part.discard(),
            },
            Target::Command(command) => {
                // One that failed or was content is gone; what it may have left goes on.
                let mut dying = command.kill();
                if !dying.is_gone() {
                    self.dying.push(dying);
                    self.reap_at = self.reap_at.or(Some(Instant::now() + REAP));
                }
            }
            Target::Waiting(_) | Target::Output(..) => {}
        }
        tell(endpoint, stream, &end);
        self.ended.push_back(Taken::new(&incoming, &end, file, incoming.begun.elapsed()));
    }

    /// A stream that waits gives way to one of another client, as if it had been refused at once.
    fn displace(&mut self, endpoint: &mut Endpoint, key: u64) {
        let Some(stream) = self.by_key.remove(&key) else { return };
        if let Some(incoming) = self.incoming.remove(&stream) {
            self.queue.remove(key, incoming.client, false);
        }
        self.taken -= 1;
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
            self.unconnected = Some(why);
        }
    }

    /// Nobody wants the answer to a stream.
    fn unanswered(&mut self, streams: &mut Streams<'_>, stream: StreamId) {
        if let Some(Incoming { target: Target::Command(command), .. }) =
            self.incoming.get_mut(&stream)
        {
            command.unanswered();
            self.go_on(streams, stream);
        }
    }
}

/// Takes nothing of a stream.
fn refuse(endpoint: &mut Endpoint, stream: StreamId, code: u64) {
    // One that is over needs no refusing.
    let _ = endpoint.stop(stream, code);
    let _ = endpoint.reset(stream, code);
}

/// Tells the peer how its stream ended.
fn tell(endpoint: &mut Endpoint, stream: StreamId, end: &End) {
    // What is over already needs no telling.
    match end {
        End::Complete => {
            let _ = endpoint.finish(stream);
        }
        End::Enough => {
            let _ = endpoint.stop(stream, end.code());
            let _ = endpoint.finish(stream);
        }
        _ => refuse(endpoint, stream, end.code()),
    }
}

impl Acceptors for Listener {
    fn opened(&mut self, streams: &mut Streams<'_>, opened: Opened) -> bool {
        let Opened { stream, tag, .. } = opened;
        if self.is_sated() {
            return false;
        }
        let Some(peer) = streams.endpoint.peer(stream.connection) else { return false };
        if self.is_draining {
            tell(streams.endpoint, stream, &End::Interrupted);
            return true;
        }
        // What ended while it waited is to be told, too.
        let untold = if self.is_unheard { self.ended.len() } else { 0 };
        let client = Client {
            network: Network::of(peer.address.ip()),
            connection: stream.connection.number(),
        };
        if self.queue.len() + untold >= WAITING {
            let displaced = self.queue.displaced_by(client.network).filter(|_| untold == 0);
            let Some(key) = displaced else {
                refuse(streams.endpoint, stream, TOO_MANY);
                return true;
            };
            self.displace(streams.endpoint, key);
        }
        self.taken += 1;
        if self.is_sated() {
            streams.acceptor_gone(ACCEPTOR);
        }
        self.last_key += 1;
        self.by_key.insert(self.last_key, stream);
        let incoming = Incoming {
            key: self.last_key,
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
        self.incoming.insert(stream, incoming);
        // A file is made when there is something to be put into it.
        let is_ready = !matches!(self.settings.output, Output::Folder(_));
        if is_ready {
            self.pause(streams, stream);
        }
        self.queue.push(self.last_key, client, is_ready);
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
                if incoming.bytes > self.settings.max_bytes {
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
            Notice::Event(Event::Writable { stream, .. }) => self.go_on(streams, stream),
            Notice::Event(Event::Stopped { stream, .. }) => self.unanswered(streams, stream),
            _ => {}
        }
        self.next_in_turn(streams);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.reap_at
    }

    fn handle_timeout(&mut self, streams: &mut Streams<'_>) {
        self.reap_at = None;
        self.dying.retain_mut(|dying| !dying.is_gone());
        for stream in std::mem::take(&mut self.ending) {
            self.go_on(streams, stream);
        }
        if !self.dying.is_empty() {
            self.reap_at = self.reap_at.or(Some(streams.now + REAP));
        }
        self.next_in_turn(streams);
    }
}

#[cfg(test)]
mod tests;
