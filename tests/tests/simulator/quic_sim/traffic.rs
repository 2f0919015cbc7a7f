//! A program that opens streams of both kinds as soon as a connection is there, writes to them, reads, and
//! answers; now and then it breaks a stream off, wants no more of one, or lets one wait.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use gapless_core::{Duration, Instant};
use gapless_quic::{ConnectionId, Direction, Event, Refusal, StreamId};
use gapless_tests::sim::{Chance, Random};

use super::host::{Desk, Program};
use super::null;

const DIRECTIONS: [Direction; 2] = [Direction::Bidirectional, Direction::Unidirectional];

/// The plan of a program, as a value.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    /// Where it connects to, and how.
    pub(crate) server: Option<(SocketAddr, null::Client)>,
    /// How many connections it makes.
    pub(crate) connections: u64,
    /// When it makes each of them.
    pub(crate) connects: RangeInclusive<Duration>,
    /// Connects again when a connection is over that it did not close.
    pub(crate) reconnects: bool,
    /// Streams that it opens on each connection, of each kind.
    pub(crate) streams: RangeInclusive<u64>,
    /// Bytes of a stream, and of the answer to a bidirectional one.
    pub(crate) bytes: RangeInclusive<u64>,
    /// Bytes that it writes at once at most.
    pub(crate) chunk: u64,
    /// How long it waits between two writes to a stream.
    pub(crate) pace: Duration,
    /// Streams that it never ends.
    pub(crate) keeps: Chance,
    /// Streams that it breaks off.
    pub(crate) resets: Chance,
    /// Streams of which it wants no more at some point.
    pub(crate) stops: Chance,
    /// Streams that it lets wait, and how long.
    pub(crate) pauses: Chance,
    pub(crate) pause: RangeInclusive<Duration>,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            server: None,
            connections: 1,
            connects: Duration::ZERO..=Duration::ZERO,
            reconnects: false,
            streams: 0..=4,
            bytes: 0..=20_000,
            chunk: 4000,
            pace: Duration::ZERO,
            keeps: Chance::NEVER,
            resets: Chance::NEVER,
            stops: Chance::NEVER,
            pauses: Chance::NEVER,
            pause: Duration::from_millis(1)..=Duration::from_millis(500),
        }
    }
}

/// How a stream is ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    Finish,
    FinishTwice,
    Reset(u64),
    ResetTwice(u64),
    FinishAndReset(u64),
    Never,
}

#[derive(Clone, Debug)]
struct Outgoing {
    written: u64,
    bytes: u64,
    ending: Ending,
    is_blocked: bool,
}

/// The fate of a stream that is read, and after how many bytes.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Stops { at: u64, twice: bool },
    Pauses { at: u64 },
    Reads,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Alarm {
    Connect,
    Write(StreamId),
    Resume(StreamId),
}

/// The program.
#[derive(Debug)]
pub(crate) struct Traffic {
    manners: Manners,
    random: Random,
    alarms: BTreeMap<(Instant, u64), Alarm>,
    order: u64,
    /// Streams that are still to be opened, by direction.
    wanted: BTreeMap<ConnectionId, [VecDeque<Outgoing>; 2]>,
    outgoing: BTreeMap<StreamId, Outgoing>,
    incoming: BTreeMap<StreamId, Mood>,
    /// Connections that it closed itself.
    closed: Vec<ConnectionId>,
}

impl Traffic {
    pub(crate) fn new(manners: Manners, mut random: Random) -> Self {
        let mut alarms = BTreeMap::new();
        let connections = if manners.server.is_some() { manners.connections } else { 0 };
        for order in 0..connections {
            let at = Instant::ZERO + random.span(manners.connects.clone());
            alarms.insert((at, order), Alarm::Connect);
        }
        Self {
            manners,
            random,
            alarms,
            order: connections,
            wanted: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            closed: Vec::new(),
        }
    }

    /// All that it wanted to connect to, open and write is done.
    pub(crate) fn is_done(&self) -> bool {
        self.alarms.is_empty()
            && self.outgoing.is_empty()
            && self.wanted.values().flatten().all(VecDeque::is_empty)
    }

    /// Closes what is open.
    pub(crate) fn close(&mut self, desk: &mut Desk<'_>, code: u64) {
        let open: Vec<_> = desk.checker.open().collect();
        for id in open {
            self.closed.push(id);
            desk.close(id, code);
        }
    }

    fn set(&mut self, at: Instant, alarm: Alarm) {
        self.order += 1;
        self.alarms.insert((at, self.order), alarm);
    }

    fn draw(&mut self) -> Outgoing {
        let random = &mut self.random;
        let code = random.within(0..=(1 << 62) - 1);
        let mut bytes = random.within(self.manners.bytes.clone());
        let keeps = random.happens(self.manners.keeps);
        let mut ending = if keeps { Ending::Never } else { Ending::Finish };
        if random.happens(self.manners.resets) {
            // Before anything was written, too.
            bytes = random.within(0..=bytes) * u64::from(random.happens(Chance::percent(80)));
            ending = match random.within(0..=3) {
                0 => Ending::FinishTwice,
                1 => Ending::ResetTwice(code),
                2 => Ending::FinishAndReset(code),
                _ => Ending::Reset(code),
            };
        }
        Outgoing { written: 0, bytes, ending, is_blocked: false }
    }

    /// Opens what the peer allows.
    fn open(&mut self, desk: &mut Desk<'_>, id: ConnectionId, direction: Direction) {
        let kind = usize::from(direction == Direction::Unidirectional);
        while let Some(wanted) = self.wanted.get_mut(&id)
            && let Some(outgoing) = wanted[kind].pop_front()
        {
            let Some(stream) = desk.open(id, direction) else {
                wanted[kind].push_front(outgoing);
                return;
            };
            if self.random.happens(Chance::percent(50)) {
                desk.set_owner(stream, self.random.any());
            }
            self.outgoing.insert(stream, outgoing);
            if direction == Direction::Bidirectional {
                self.reads(desk, stream);
            }
            self.write(desk, stream);
        }
    }

    /// Decides how a stream will be read.
    fn reads(&mut self, desk: &mut Desk<'_>, stream: StreamId) {
        let random = &mut self.random;
        let at = random.within(self.manners.bytes.clone());
        let at = at * u64::from(random.happens(Chance::percent(80)));
        let mood = if random.happens(self.manners.stops) {
            Mood::Stops { at, twice: random.happens(Chance::percent(30)) }
        } else if random.happens(self.manners.pauses) {
            Mood::Pauses { at }
        } else {
            Mood::Reads
        };
        self.incoming.insert(stream, mood);
        self.has_read(desk, stream, 0);
    }

    fn has_read(&mut self, desk: &mut Desk<'_>, stream: StreamId, read: u64) {
        match self.incoming.get(&stream) {
            Some(&Mood::Stops { at, twice }) if read >= at => {
                let code = self.random.within(0..=1 << 40);
                self.incoming.remove(&stream);
                desk.stop(stream, code).expect("it is open");
                if twice {
                    assert_eq!(desk.stop(stream, code), Err(Refusal::UnknownStream));
                }
            }
            Some(&Mood::Pauses { at }) if read >= at => {
                self.incoming.insert(stream, Mood::Reads);
                desk.pause(stream);
                let until = desk.now + self.random.span(self.manners.pause.clone());
                self.set(until, Alarm::Resume(stream));
            }
            _ => {}
        }
    }

    /// Writes until there is no room, or the stream is ended.
    fn write(&mut self, desk: &mut Desk<'_>, stream: StreamId) {
        while let Some(outgoing) = self.outgoing.get_mut(&stream) {
            let left = outgoing.bytes - outgoing.written;
            if left == 0 {
                let ending = outgoing.ending;
                return self.end(desk, stream, ending);
            }
            let len = left.min(self.manners.chunk) as usize;
            // The event is on its way where it was stopped.
            let Ok(taken) = desk.write(stream, outgoing.written, len) else { return };
            outgoing.written += taken as u64;
            outgoing.is_blocked = taken < len;
            if outgoing.is_blocked {
                return;
            }
            if !self.manners.pace.is_zero() {
                let at = desk.now + self.manners.pace;
                return self.set(at, Alarm::Write(stream));
            }
        }
    }

    fn end(&mut self, desk: &mut Desk<'_>, stream: StreamId, ending: Ending) {
        self.outgoing.remove(&stream);
        let is_stopped = match ending {
            Ending::Never => return,
            Ending::Reset(code) | Ending::ResetTwice(code) => desk.reset(stream, code),
            _ => desk.finish(stream),
        };
        match is_stopped {
            Ok(()) => {}
            Err(Refusal::Stopped { .. }) => return,
            Err(refusal) => panic!("{stream}: {refusal}"),
        }
        let unknown = Err(Refusal::UnknownStream);
        match ending {
            Ending::Finish | Ending::Reset(_) | Ending::Never => {}
            Ending::FinishTwice => assert_eq!(desk.finish(stream), unknown),
            Ending::ResetTwice(code) => assert_eq!(desk.reset(stream, code), unknown),
            Ending::FinishAndReset(code) => assert_eq!(desk.reset(stream, code), Ok(())),
        }
    }

    fn forget(&mut self, id: ConnectionId) {
        self.wanted.remove(&id);
        self.outgoing.retain(|stream, _| stream.connection != id);
        self.incoming.retain(|stream, _| stream.connection != id);
        self.alarms.retain(|_, alarm| match alarm {
            Alarm::Connect => true,
            Alarm::Write(stream) | Alarm::Resume(stream) => stream.connection != id,
        });
    }
}

impl Program for Traffic {
    fn event(&mut self, desk: &mut Desk<'_>, event: &Event) {
        match *event {
            Event::Connected { connection } => {
                let wanted = DIRECTIONS.map(|_| {
                    let streams = self.random.within(self.manners.streams.clone());
                    (0..streams).map(|_| self.draw()).collect()
                });
                self.wanted.insert(connection, wanted);
                for direction in DIRECTIONS {
                    self.open(desk, connection, direction);
                }
            }
            Event::Disconnected { connection, .. } => {
                self.forget(connection);
                if self.manners.reconnects && !self.closed.contains(&connection) {
                    let soon = Duration::from_millis(1)..=Duration::from_millis(100);
                    let at = desk.now + self.random.span(soon);
                    self.set(at, Alarm::Connect);
                }
            }
            Event::Opened { stream } => {
                if stream.direction() == Direction::Bidirectional {
                    let answer = self.draw();
                    self.outgoing.insert(stream, answer);
                    self.write(desk, stream);
                }
                self.reads(desk, stream);
            }
            Event::Openable { connection, direction } => self.open(desk, connection, direction),
            Event::Data { stream, offset, ref bytes, fin, .. } => {
                if fin {
                    self.incoming.remove(&stream);
                }
                self.has_read(desk, stream, offset + bytes.len() as u64);
            }
            Event::Reset { stream, .. } => {
                self.incoming.remove(&stream);
            }
            Event::Stopped { stream, .. } => {
                self.outgoing.remove(&stream);
            }
            Event::Writable { stream, .. } => {
                let is_blocked = |outgoing: &Outgoing| outgoing.is_blocked;
                if self.outgoing.get(&stream).is_some_and(is_blocked) {
                    self.write(desk, stream);
                }
            }
            Event::Closed { stream, .. } => {
                assert!(
                    !self.outgoing.contains_key(&stream) && !self.incoming.contains_key(&stream)
                );
                self.alarms.retain(|_, alarm| {
                    *alarm != Alarm::Write(stream) && *alarm != Alarm::Resume(stream)
                });
            }
            _ => {}
        }
    }

    fn wake(&mut self, desk: &mut Desk<'_>) {
        while let Some(entry) = self.alarms.first_entry()
            && entry.key().0 <= desk.now
        {
            match entry.remove() {
                Alarm::Connect => {
                    let (address, client) = self.manners.server.clone().expect("a server");
                    desk.connect(client, address);
                }
                Alarm::Write(stream) => self.write(desk, stream),
                Alarm::Resume(stream) => desk.resume(stream),
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        self.alarms.first_key_value().map(|(&(at, _), _)| at)
    }

    fn restart(&mut self) {
        self.alarms.clear();
        self.wanted.clear();
        self.outgoing.clear();
        self.incoming.clear();
    }
}
