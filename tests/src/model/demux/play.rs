//! Plays a case on a demultiplexer, on a twin that is driven the other way, on the model, and on a driver
//! that does what the commands say.

use bytes::BytesMut;
use gapless_core::demux::{
    AcceptorId, Command, Demux, Direction, Event, Pattern, PeerId, Registrant, StreamId,
};
use gapless_core::machine::Undrained;
use gapless_core::{Duration, Instant, Machine};

use super::case::{Case, Chunk, Head, Nth, Op, Opens, Tags, Text, Way};
use super::oracle::{Model, Said};
use super::streams::{End, Fate, Stream, Streams, Written};
use crate::model::memory::{Ledger, check_charged};
use crate::model::recorded::{Played, Tape};

/// Payload that a case brings at most: more is not worth the time.
const MOST_BYTES: usize = 1 << 20;
/// Pieces that a stream is cut into at most in one go.
const MAX_CHUNKS: usize = 300;
/// How many peers and acceptors there are at any time.
const PEERS: usize = 5;
const ACCEPTORS: u64 = 4;
/// The bytes that sharing a buffer takes beside it.
const SHARED_OVERHEAD: usize = 5 * size_of::<usize>();

/// An event; what comes of a stream is put into a buffer when it is given.
#[derive(Clone, Debug)]
enum Step<'a> {
    Event(Event<'a>),
    Data { stream: StreamId, offset: u64, bytes: &'a [u8], spare: usize, fin: bool },
}

impl<'a> Step<'a> {
    fn make(&self) -> Event<'a> {
        match *self {
            Self::Event(ref event) => event.clone(),
            Self::Data { stream, offset, bytes, spare, fin } => {
                let mut buffer = BytesMut::with_capacity(bytes.len() + spare);
                let pinned = buffer.capacity();
                buffer.extend_from_slice(bytes);
                Event::Data { stream, offset, bytes: buffer.freeze(), pinned, fin }
            }
        }
    }

    /// Bytes that are allocated for it.
    const fn incoming(&self) -> usize {
        match self {
            Self::Data { bytes, spare, .. } => bytes.len() + *spare + SHARED_OVERHEAD,
            Self::Event(_) => 0,
        }
    }
}

/// A demultiplexer that is driven one way, and what it has allocated.
#[derive(Debug)]
struct Side {
    demux: Played<Demux>,
    ledger: Ledger,
    way: Way,
}

/// Plays a case.
///
/// # Panics
/// The demultiplexer differs from the model, or does not keep its laws.
pub(super) fn play(case: &Case) {
    let side = |way, tape: Option<_>| {
        let mut ledger = Ledger::new();
        let demux = ledger.during(|| Played::new(case.config.clone(), tape.as_ref()));
        Side { demux, ledger, way }
    };
    let other = if case.way == Way::Events { Way::Calls } else { Way::Events };
    let mut play = Play {
        sides: [side(case.way, Tape::of(case.ops.len())), side(other, None)],
        model: Model::new(case.config.clone()),
        limit: Demux::memory_limit(&case.config),
        streams: Streams::default(),
        now: Instant::ZERO,
        is_accepted: true,
        peers: std::array::from_fn(|peer| PeerId(peer as u64 * 7 % 5)),
        next_peer: 100,
        next_stream: 0,
        bytes: 0,
    };
    for op in &case.ops {
        play.op(op);
    }
    play.finish();
}

struct Play {
    /// The one that is judged, and its twin.
    sides: [Side; 2],
    model: Model,
    limit: usize,
    streams: Streams,
    now: Instant,
    /// Whether both know what time it is: to a refused event it is told, to a refused call it is not.
    is_accepted: bool,
    peers: [PeerId; PEERS],
    next_peer: u64,
    next_stream: u64,
    bytes: usize,
}

impl Play {
    fn op(&mut self, op: &Op) {
        let acceptor = |nth: u8| AcceptorId(u64::from(nth) % ACCEPTORS);
        match op {
            Op::Register { acceptor: nth, tags, by } => {
                let (acceptor, pattern, by) = (acceptor(*nth), tags.pattern(), *by);
                self.event(Event::Register { acceptor, pattern, by });
            }
            Op::Unregister(tags) => self.unregister(tags),
            Op::UnregisterNth(nth) => {
                let all = &self.model.registered;
                let Some(last) = all.len().checked_sub(1) else { return };
                let tags = all[last - usize::from(*nth) % all.len()].tags.clone();
                self.unregister(&tags);
            }
            Op::AcceptorGone(nth) => self.event(Event::AcceptorGone { acceptor: acceptor(*nth) }),
            Op::Pause(nth) => self.event(Event::Pause { acceptor: acceptor(*nth) }),
            Op::Take(nth) => self.event(Event::Take { acceptor: acceptor(*nth) }),
            Op::Resume(nth) => self.event(Event::Resume { acceptor: acceptor(*nth) }),
            Op::Begin(opens, piece, spare) => {
                let stream = self.open(opens);
                self.send(stream, *piece, *spare as usize);
            }
            Op::Send(nth, piece, spare) => {
                let Some(stream) = self.nth(*nth, Stream::is_open) else { return };
                self.send(stream, *piece, *spare as usize);
            }
            Op::Cut(nth, every, ends) => {
                let Some(stream) = self.nth(*nth, Stream::is_open) else { return };
                for _ in 0..MAX_CHUNKS {
                    if !self.come(stream, (*every).into(), *ends, 0) {
                        break;
                    }
                }
            }
            Op::Empty(nth, fin) => {
                let Some(stream) = self.nth(*nth, Stream::is_open) else { return };
                if *fin {
                    self.streams.cut_short(stream);
                }
                self.come(stream, 0, *fin, 0);
            }
            Op::Misplaced(nth, off, len, fin) => {
                let is_waiting = |stream: &Stream| {
                    stream.fate() == Fate::Held || stream.fate() == Fate::Read && stream.came() > 0
                };
                let Some(stream) = self.nth(*nth, is_waiting) else { return };
                let came = self.streams.get(stream).came();
                let offset = came.saturating_add_signed((*off).into());
                if offset == came && self.streams.get(stream).fate() == Fate::Read {
                    return;
                }
                self.give(stream, offset, *len, *fin);
            }
            Op::Stray(nth, len) => {
                // A stream that was not begun may have lost its beginning on the way here, too.
                let is_left = |stream: &Stream| {
                    let is_new = stream.fate() == Fate::Read && stream.came() == 0;
                    is_new || !matches!(stream.fate(), Fate::Read | Fate::Held)
                };
                let Some(stream) = self.nth(*nth, is_left) else { return };
                let offset = self.streams.get(stream).came().max(1);
                self.give(stream, offset, *len, len.is_multiple_of(3));
            }
            Op::Reset(nth) => self.end(*nth, End::Reset),
            Op::Close(nth) => self.end(*nth, End::Closed),
            Op::PeerGone(nth) => {
                let peer = &mut self.peers[usize::from(*nth) % PEERS];
                let gone = std::mem::replace(peer, PeerId(self.next_peer));
                self.next_peer += 1;
                self.streams.end_all_of(gone);
                self.event(Event::PeerGone { peer: gone });
            }
            Op::HandOffFails(nth, tag) => self.hand_off_fails(*nth, tag.as_ref()),
            Op::Open { peer, tag, by } => {
                let stream = self.stream(*peer, false, true);
                self.event(Event::Open { stream, tag: &tag.0, by: *by });
            }
            Op::Wait(millis) => self.wait(self.now + Duration::from_millis((*millis).into())),
            Op::Late(millis) => {
                self.now += Duration::from_millis((*millis).into());
            }
            Op::Timeout(off) => {
                if let Some(at) = self.model.timeout() {
                    self.wait(beside(at, *off).max(self.now));
                }
            }
            Op::Around(off) => {
                if let Some(at) = self.model.timeout() {
                    self.now = beside(at, *off).max(self.now);
                }
            }
            Op::Past(_) if !self.is_accepted => {}
            Op::Past(millis) => {
                let now = self.now;
                self.wait(now - Duration::from_millis((*millis).into()));
                self.now = now;
            }
        }
    }

    /// One of the streams of a kind, counted back from the latest.
    fn nth(&self, nth: Nth, kind: impl Fn(&Stream) -> bool) -> Option<StreamId> {
        let mut some = self.streams.iter().rev().filter(|(_, stream)| kind(stream)).take(10);
        let first = some.next()?.0;
        if nth == 0 {
            return Some(first);
        }
        let all: Vec<_> = std::iter::once(first).chain(some.map(|(id, _)| id)).collect();
        Some(all[usize::from(nth) % all.len()])
    }

    /// The name of a new stream.
    fn stream(&mut self, peer: u8, is_unidirectional: bool, is_own: bool) -> StreamId {
        let peer = self.peers[usize::from(peer) % PEERS];
        let number = 4 * self.next_stream + 2 * u64::from(is_unidirectional) + u64::from(is_own);
        self.next_stream += 1;
        let stream = StreamId { peer, number };
        assert_eq!(stream.direction() == Direction::Unidirectional, is_unidirectional);
        stream
    }

    fn open(&mut self, opens: &Opens) -> StreamId {
        let len = if self.bytes > MOST_BYTES { opens.payload.min(60) } else { opens.payload };
        self.bytes += len as usize;
        let seed = self.next_stream * 31;
        let payload: Vec<_> = (0..u64::from(len)).map(|at| (at * 7 + seed) as u8).collect();
        let whole = Written::new(&opens.tag.0, &payload);
        let written = match opens.head {
            Head::Whole => whole,
            Head::Short(part) => whole.cut((1 + opens.tag.0.len()) * usize::from(part) / 255),
            Head::Zero => Written::without_tag(&payload),
        };
        let stream = self.stream(opens.peer, opens.is_unidirectional, false);
        self.streams.open(stream, written);
        stream
    }

    fn send(&mut self, stream: StreamId, chunk: Chunk, spare: usize) {
        let (came, written) = {
            let stream = self.streams.get(stream);
            (stream.came(), stream.written())
        };
        let preamble = written.preamble_len().unwrap_or(0).saturating_sub(came);
        let (most, ends) = match chunk {
            Chunk::Bytes(len) => (len.into(), false),
            Chunk::Preamble(more) => (preamble.saturating_add_signed(more.into()), false),
            Chunk::Rest => (written.len(), true),
        };
        self.come(stream, most, ends, spare);
    }

    /// So many bytes of a stream come; whether more can.
    fn come(&mut self, stream: StreamId, most: usize, ends: bool, spare: usize) -> bool {
        let Some(came) = self.streams.come(stream, most, ends) else {
            let stream = self.streams.get(stream);
            return stream.is_open() && stream.fate() != Fate::Held && most > 0;
        };
        let (offset, bytes, fin) = (came.offset as u64, came.bytes.to_vec(), came.fin);
        self.step(&Step::Data { stream, offset, bytes: &bytes, spare, fin });
        self.streams.get(stream).is_open() && !bytes.is_empty()
    }

    /// Bytes are given that no peer wrote there.
    fn give(&mut self, stream: StreamId, offset: usize, len: u8, fin: bool) {
        let bytes = vec![1; len.into()];
        self.step(&Step::Data { stream, offset: offset as u64, bytes: &bytes, spare: 0, fin });
    }

    fn unregister(&mut self, tags: &Tags) {
        self.event(Event::Unregister { pattern: tags.pattern() });
    }

    fn end(&mut self, nth: Nth, end: End) {
        let Some(stream) = self.nth(nth, |stream| !matches!(stream.fate(), Fate::Gone(_))) else {
            return;
        };
        self.streams.end(stream, end);
        self.event(match end {
            End::Reset => Event::Reset { stream, code: nth.into() },
            _ => Event::Closed { stream },
        });
    }

    fn hand_off_fails(&mut self, nth: Nth, tag: Option<&Text>) {
        let is_known = |stream: &Stream| match stream.fate() {
            Fate::Read => stream.came() > 0,
            Fate::Held | Fate::Dispatched(_) => true,
            Fate::Refused(_) | Fate::Gone(_) => false,
        };
        let Some(id) = self.nth(nth, is_known) else { return };
        let stream = self.streams.get(id);
        let acceptor =
            if let Fate::Dispatched(acceptor) = stream.fate() { acceptor } else { AcceptorId(0) };
        let tag = tag.map_or_else(|| stream.tag().to_vec(), |tag| tag.0.clone());
        self.event(Event::HandOffFailed { stream: id, acceptor, tag: &tag });
    }

    fn event(&mut self, event: Event<'_>) {
        self.step(&Step::Event(event));
    }

    /// Both take an event and say what the model says; then the driver does it.
    fn step(&mut self, step: &Step<'_>) {
        let now = self.now;
        let expected = self.model.take(now, &step.make());
        let most = self.limit + step.incoming();
        for side in &mut self.sides {
            let said = side.take(now, step, most);
            assert_eq!(said, expected, "by {:?}: {step:?}", side.way);
        }
        if let Ok(answer) = expected.answer {
            self.is_accepted = answer.is_ok();
        }
        self.execute(&expected);
        if let Step::Data { stream, .. } = step {
            self.streams.judge(*stream);
        }
    }

    /// Time passes, and both are told.
    fn wait(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let commands = self.model.time_passes(now);
        let expected = Said { answer: Ok(Ok(())), commands };
        for side in &mut self.sides {
            side.ledger.during(|| side.demux.handle_timeout(now)).unwrap();
            let commands = side.drain(now, self.limit);
            assert_eq!(Said { answer: Ok(Ok(())), commands }, expected, "at {now:?}");
            let timeout = side.demux.poll_timeout();
            assert!(timeout.is_none_or(|at| at > now), "it spins: {timeout:?}");
        }
        self.is_accepted = true;
        self.execute(&expected);
    }

    fn execute(&mut self, said: &Said) {
        for command in &said.commands {
            self.streams.execute(command);
        }
        for command in &said.commands {
            if let Command::Dispatch { stream, .. } = command {
                self.streams.judge(*stream);
            }
        }
        self.check();
    }

    /// Checks the invariants.
    fn check(&self) {
        let model = &self.model;
        for side in &self.sides {
            let demux = &side.demux;
            assert_eq!(demux.poll_timeout(), model.timeout());
            assert_eq!(*demux.stats(), model.stats);
            assert_eq!(demux.pending(), model.pending());
            assert_eq!(demux.held(), model.held());
            assert_eq!(demux.held_bytes(), model.held_bytes());
            for peer in self.peers {
                assert_eq!(demux.waiting_of(peer), model.waiting_of(peer));
            }
            for acceptor in (0..ACCEPTORS).map(AcceptorId) {
                assert_eq!(demux.is_paused(acceptor), model.is_paused(acceptor));
                assert_eq!(demux.held_for(acceptor), model.held_for(acceptor));
            }
            self.check_registrations(demux);
            assert_eq!(demux.lent(), 0);
            side.check_memory(self.limit);
            check_charged(demux.charged(), demux.memory_used(), self.limit);
        }
    }

    /// The list of who takes what: exact tags first, then prefixes.
    fn check_registrations(&self, demux: &Demux) {
        let mut known: Vec<_> = self.model.registered.iter().collect();
        known.sort_by_key(|known| {
            (matches!(known.tags, Tags::Prefix(_)), known.tags.pattern().bytes())
        });
        let listed = demux.registrations();
        let listed = listed.map(|it| (it.pattern, it.acceptor, it.by, it.stats));
        let known = known.iter().map(|it| (it.tags.pattern(), it.acceptor, it.by, it.stats));
        assert!(listed.eq(known), "{:?}", demux.registrations().collect::<Vec<_>>());
    }

    /// Every stream that is left comes to its end, whoever pauses resumes, and time passes until nothing
    /// waits; then the journal must replay.
    fn finish(&mut self) {
        for acceptor in (0..ACCEPTORS).map(AcceptorId) {
            self.event(Event::Resume { acceptor });
        }
        let open = self.streams.iter().filter(|(_, stream)| stream.is_open());
        let open: Vec<_> = open.map(|(id, _)| id).collect();
        for &stream in &open {
            self.come(stream, usize::MAX, true, 0);
        }
        // Every held stream waits for somebody to register.
        let (acceptor, by) = (AcceptorId(0), Registrant::Protocol);
        let pattern = Pattern::Prefix(b"");
        self.event(Event::Register { acceptor, pattern, by });
        for &stream in &open {
            self.come(stream, usize::MAX, true, 0);
        }
        self.streams.judge_all();
        self.wait(Instant::MAX);
        let waits = self.streams.iter().filter(|(_, stream)| !stream.is_over()).count();
        assert_eq!((waits, self.model.pending(), self.model.held()), (0, 0, 0), "nothing waits");
        self.sides[0].demux.replay();
    }
}

impl Side {
    fn take(&mut self, now: Instant, step: &Step<'_>, most: usize) -> Said {
        let Self { demux, ledger, way } = self;
        let mut answer = ledger.during(|| match way {
            Way::Calls => demux.call(now, step.make()),
            Way::Events => demux.handle(now, step.make()).map(Ok),
        });
        let mut commands = self.drain(now, most);
        let is_answered = self.way == Way::Events && is_asked(step) && answer.is_ok();
        if is_answered {
            let Command::Answer(given) = commands.remove(0) else { panic!("no answer") };
            answer = Ok(given);
        }
        Said { answer, commands }
    }

    /// Takes all commands; meanwhile nothing else is taken.
    fn drain(&mut self, now: Instant, most: usize) -> Vec<Command> {
        let mut commands = Vec::new();
        self.check_memory(most);
        while let Some(command) = self.ledger.during(|| self.demux.poll_command()) {
            commands.push(copy(&command));
            self.ledger.during(|| drop(command));
            let undrained = Err(Undrained.into());
            let peer = Event::PeerGone { peer: PeerId(0) };
            let (demux, ledger) = (&mut self.demux, &mut self.ledger);
            assert_eq!(ledger.during(|| demux.handle(now, peer)), undrained);
            assert_eq!(ledger.during(|| demux.handle_timeout(now)), undrained);
            self.check_memory(most);
        }
        commands
    }

    fn check_memory(&self, most: usize) {
        let recording = self.demux.recording_bytes();
        self.ledger.without(recording).check(self.demux.memory_used(), most);
    }
}

/// Whether somebody is told what came of an event.
const fn is_asked(step: &Step<'_>) -> bool {
    matches!(
        step,
        Step::Event(
            Event::Register { .. }
                | Event::Unregister { .. }
                | Event::AcceptorGone { .. }
                | Event::Open { .. }
        )
    )
}

/// A command that shares nothing with the demultiplexer.
fn copy(command: &Command) -> Command {
    match command {
        Command::Data { stream, acceptor, bytes, fin } => Command::Data {
            stream: *stream,
            acceptor: *acceptor,
            bytes: bytes::Bytes::copy_from_slice(bytes),
            fin: *fin,
        },
        other => other.clone(),
    }
}

/// So many nanoseconds beside a time.
fn beside(at: Instant, off: i8) -> Instant {
    Instant::from_nanos(at.as_nanos().saturating_add_signed(off.into()))
}
