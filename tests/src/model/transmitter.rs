//! A naive transmitter: vectors of messages, and rules for when a packet of them must have left.

use std::collections::VecDeque;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;
use gapless_core::machine::Undrained;
use gapless_core::rate::Rate;
use gapless_core::transmitter::{Command, Config, Error, Event, Stats, Transmitter};
use gapless_core::wire::mold::{HEADER_LEN, Kind, LENGTH_LEN, Packet};
use gapless_core::{Duration, Instant, Machine, Session};

use super::memory::{Ledger, check_charged};
use super::recorded::{Played, Tape};

/// The most that happens in a case: the model looks back at all of it each time.
const MOST_OPS: usize = 400;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// A message of so many bytes.
    Message(u16),
    /// A message so many bytes longer or shorter than the largest.
    NearlyTooLarge(i8),
    /// `Event::Flush`.
    Flush,
    /// `Event::End`.
    End,
    /// So many microseconds pass.
    Wait(u32),
    /// The next timeout comes.
    Timeout,
    /// A timeout that lies in the past.
    Past(u32),
    /// From now on packets are held outside, or no longer are.
    Hold(bool),
    /// One of the packets held outside is dropped.
    DropOne(u8),
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=40)? {
            0 if u.ratio(1, 10)? => Self::End,
            0..=3 => Self::Flush,
            4..=7 => Self::Wait(u.int_in_range(0..=3_000)?),
            8 => Self::Wait(u.int_in_range(0..=3_000_000)?),
            9..=14 => Self::Timeout,
            15 => Self::Past(u.arbitrary()?),
            16 => Self::Hold(true),
            17 => Self::Hold(false),
            18 => Self::DropOne(u.arbitrary()?),
            19..=20 => Self::NearlyTooLarge(u.int_in_range(-3..=1)?),
            21..=25 => Self::Message(u.int_in_range(0..=2_000)?),
            _ => Self::Message(u.int_in_range(0..=20)?),
        })
    }
}

/// A random case: a configuration, and what happens.
#[derive(Clone, Debug)]
pub struct Case {
    config: Config,
    ops: Vec<Op>,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let micros = Duration::from_micros;
        let config = Config {
            first_sequence: *u.choose(&[1, 1 << 40, u64::MAX - 9])?,
            mtu: *u.choose(&[64, 100, 1472, 65_507])?,
            flush_delay: micros(*u.choose(&[0, 100, 1_000])?),
            heartbeat_interval: micros(*u.choose(&[500, 10_000, 1_000_000])?),
            end_interval: micros(*u.choose(&[1, 1_000, 1_000_000])?),
            end_linger: micros(*u.choose(&[0, 50, 30_000])?),
            pace: *u.choose(&[
                None,
                None,
                Some(Rate { bytes_per_second: 1_000_000, burst: 0 }),
                Some(Rate { bytes_per_second: 100_000, burst: 3_000 }),
            ])?,
            ring: *u.choose(&[2, 3, 8])?,
            ..Config::new(Session::new(*b"MODEL     "))
        };
        // Not a `Vec` by `arbitrary`, which would end at every second byte of random input.
        let ops = std::iter::from_fn(|| (!u.is_empty()).then(|| Op::arbitrary(u)));
        Ok(Self { config, ops: ops.take(MOST_OPS).collect::<Result<_>>()? })
    }
}

/// The bytes that messages take in a packet.
fn size(messages: &[Vec<u8>]) -> usize {
    HEADER_LEN + messages.iter().map(|message| LENGTH_LEN + message.len()).sum::<usize>()
}

/// The naive model of a transmitter.
struct Model {
    config: Config,
    now: Instant,
    /// The number of the next message; 2^64 when there is none.
    next: u128,
    /// The packet that is being built, and since when.
    open: Vec<Vec<u8>>,
    open_since: Instant,
    /// Packets that wait to be sent.
    closed: VecDeque<Vec<Vec<u8>>>,
    /// When data packets left, and their bytes.
    sent: Vec<(Instant, usize)>,
    last_packet: Option<Instant>,
    ended: bool,
    /// When ends were sent.
    ends: Vec<Instant>,
    heartbeats: u64,
}

impl Model {
    fn new(config: Config) -> Self {
        Self {
            now: Instant::ZERO,
            next: config.first_sequence.into(),
            open: Vec::new(),
            open_since: Instant::ZERO,
            closed: VecDeque::new(),
            sent: Vec::new(),
            last_packet: None,
            ended: false,
            ends: Vec::new(),
            heartbeats: 0,
            config,
        }
    }

    fn time_passes(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.last_packet.get_or_insert(self.now);
    }

    /// Why a message is refused, when `held` packets are held outside.
    fn refuses(&self, len: usize, held: usize) -> Option<Error> {
        let (ring, max) = (self.config.ring, self.config.max_message());
        let waiting = self.closed.len() + usize::from(!self.open.is_empty());
        if self.ended {
            Some(Error::Ended { next: u64::try_from(self.next).unwrap_or(u64::MAX) })
        } else if self.next > u64::MAX.into() {
            Some(Error::UsedUp)
        } else if len > max {
            Some(Error::TooLarge { len, max })
        } else if !self.fits(len) && held + waiting >= ring {
            Some(Error::Full { ring, waiting })
        } else {
            None
        }
    }

    fn take(&mut self, message: &[u8]) {
        if !self.fits(message.len()) {
            self.close();
            self.open_since = self.now;
        }
        self.open.push(message.to_vec());
        self.next += 1;
        if !self.fits(0) {
            self.close();
        }
    }

    fn fits(&self, len: usize) -> bool {
        !self.open.is_empty() && size(&self.open) + LENGTH_LEN + len <= self.config.mtu
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.closed.push_back(std::mem::take(&mut self.open));
        }
    }

    /// The next packet of a drain: kind, first number, messages.
    fn next_packet(&mut self) -> Option<Seen> {
        if !self.open.is_empty() && self.open_since + self.config.flush_delay <= self.now {
            self.close();
        }
        let waiting = self.closed.iter().flatten().count() + self.open.len();
        let first = u64::try_from(self.next - waiting as u128).unwrap_or(u64::MAX);
        let packet = if !self.closed.is_empty() && self.opens() <= self.now {
            let messages = self.closed.pop_front()?;
            self.sent.push((self.now, size(&messages)));
            (Kind::Data, first, messages)
        } else if self.end_at().is_some_and(|at| at <= self.now) {
            self.ends.push(self.now);
            (Kind::EndOfSession, first, Vec::new())
        } else if self.heartbeat_at().is_some_and(|at| at <= self.now) {
            self.heartbeats += 1;
            (Kind::Heartbeat, first, Vec::new())
        } else {
            return None;
        };
        self.last_packet = Some(self.now);
        Some(packet)
    }

    /// When no stretch of the past up to then has seen more bytes than it may.
    fn opens(&self) -> Instant {
        let Some(rate) = self.config.pace else { return Instant::ZERO };
        let mut bytes = 0;
        let full = self.sent.iter().rev().map(|&(at, len)| {
            bytes += len as u64;
            at + self.paced(bytes)
        });
        full.max().unwrap_or(Instant::ZERO) - self.paced(rate.burst)
    }

    /// How long so many bytes take.
    fn paced(&self, bytes: u64) -> Duration {
        let nanos = |rate: Rate| bytes * 1_000_000_000 / rate.bytes_per_second;
        Duration::from_nanos(self.config.pace.map_or(0, nanos))
    }

    /// When the last end is sent at the latest: what waits goes at its pace, then the ends linger.
    fn latest_end(&self) -> Instant {
        let waiting: usize = self.closed.iter().map(|messages| size(messages)).sum();
        let paced = self.opens().max(self.now) + self.paced(waiting as u64);
        paced + self.config.end_linger
    }

    fn heartbeat_at(&self) -> Option<Instant> {
        self.last_packet
            .filter(|_| self.ends.is_empty())
            .map(|last| last + self.config.heartbeat_interval)
    }

    fn end_at(&self) -> Option<Instant> {
        if !self.ended || !self.closed.is_empty() {
            return None;
        }
        let (Some(&first), Some(&last)) = (self.ends.first(), self.ends.last()) else {
            return Some(self.now);
        };
        let doubled = (self.config.end_interval / 16) * (1 << (self.ends.len() - 1).min(8));
        let next = last + doubled.min(self.config.end_interval);
        (next <= first + self.config.end_linger).then_some(next)
    }

    fn timeout(&self) -> Option<Instant> {
        if self.last_packet.is_none() {
            return Some(Instant::ZERO);
        }
        let flush = self.open_since + self.config.flush_delay;
        let flush = (!self.open.is_empty()).then_some(flush);
        let paced = (!self.closed.is_empty()).then(|| self.opens());
        [flush, paced, self.end_at(), self.heartbeat_at()].into_iter().flatten().min()
    }
}

/// A packet: kind, first number, messages.
type Seen = (Kind, u64, Vec<Vec<u8>>);

/// Plays a case.
///
/// # Panics
/// The transmitter differs from the model.
pub fn check(case: &Case) {
    let mut ledger = Ledger::new();
    let (config, tape) = (case.config.clone(), Tape::of(case.ops.len()));
    let transmitter = ledger.during(|| Played::new(config, tape.as_ref()));
    let model = Model::new(case.config.clone());
    let mut play = Play { transmitter, model, ledger, holds: false, held: VecDeque::new() };
    assert_eq!(play.transmitter.poll_timeout(), play.model.timeout());
    for op in &case.ops {
        play.step(*op);
    }
    play.drop_held(usize::MAX);
    // A session that is left to itself once it ended comes to its end. Heartbeats between paced
    // packets, and short intervals, can make that more steps than are worth playing.
    play.step(Op::End);
    let end = play.model.latest_end();
    for _ in 0..1_000 {
        if play.transmitter.poll_timeout().is_none() {
            assert!(play.transmitter.is_finished());
            break;
        }
        play.step(Op::Timeout);
        assert!(play.model.now <= end, "it ends later than its pace and its linger make it");
    }
    play.transmitter.replay();
}

/// A transmitter beside its model.
struct Play {
    transmitter: Played<Transmitter>,
    model: Model,
    ledger: Ledger,
    holds: bool,
    /// Packets held outside, and what was in them.
    held: VecDeque<(Bytes, Vec<u8>)>,
}

impl Play {
    fn step(&mut self, op: Op) {
        let later = |micros: u32| self.model.now + Duration::from_micros(micros.into());
        match op {
            Op::Message(len) => self.message(len.into()),
            Op::NearlyTooLarge(off) => {
                self.message(self.model.config.max_message().saturating_add_signed(off.into()));
            }
            Op::Flush => {
                self.event(Event::Flush);
                self.model.close();
                self.drain();
            }
            Op::End => {
                self.event(Event::End);
                self.model.close();
                self.model.ended = true;
                self.drain();
            }
            Op::Wait(micros) => self.wait(later(micros)),
            Op::Timeout => {
                if let Some(at) = self.transmitter.poll_timeout() {
                    self.wait(at);
                }
            }
            Op::Past(micros) => {
                self.wait(self.model.now - Duration::from_micros(micros.into()));
            }
            Op::Hold(holds) => {
                self.holds = holds;
                self.drop_held(if holds { 0 } else { usize::MAX });
            }
            Op::DropOne(nth) => {
                if !self.held.is_empty() {
                    self.held.rotate_left(usize::from(nth) % self.held.len());
                    self.drop_held(1);
                }
            }
        }
    }

    fn event(&mut self, event: Event<'_>) {
        let now = self.model.now;
        self.ledger.during(|| self.transmitter.handle(now, event)).unwrap();
        self.model.time_passes(now);
    }

    fn wait(&mut self, now: Instant) {
        self.ledger.during(|| self.transmitter.handle_timeout(now)).unwrap();
        self.model.time_passes(now);
        self.drain();
    }

    fn message(&mut self, len: usize) {
        let message: Vec<u8> =
            (0..len).map(|at| (self.model.next as u8).wrapping_add(at as u8)).collect();
        let refused = self.model.refuses(len, self.held.len());
        let before = self.standing();
        let now = self.model.now + Duration::from_micros(7);
        let event = Event::Message(&message);
        let taken = self.ledger.during(|| self.transmitter.handle(now, event));
        assert_eq!(taken.err(), refused);
        if refused.is_some() {
            assert_eq!(self.standing(), before, "what is refused changes nothing");
        } else {
            self.model.time_passes(now);
            self.model.take(&message);
        }
        self.drain();
    }

    /// The state that must not change when an event is refused.
    fn standing(&self) -> (Option<Instant>, Stats, Option<u64>, usize) {
        let transmitter = &self.transmitter;
        let (timeout, stats) = (transmitter.poll_timeout(), *transmitter.stats());
        (timeout, stats, transmitter.next_sequence(), transmitter.memory_used())
    }

    fn drain(&mut self) {
        while let Some(expected) = self.model.next_packet() {
            let command = self.ledger.during(|| self.transmitter.poll_command());
            let Some(Command::Packet { bytes, first, count, kind }) = command else {
                panic!("no packet where one is due: {expected:?}");
            };
            assert!(bytes.len() <= self.model.config.mtu);
            let packet = Packet::new_checked(&bytes).unwrap();
            let messages: Vec<_> = packet.messages().map(|(_, message)| message.to_vec()).collect();
            assert_eq!((kind, first, messages), expected);
            let header = packet.header();
            assert_eq!((header.kind(), header.sequence, header.messages()), (kind, first, count));
            assert_eq!((header.session, packet.trailing()), (self.model.config.session, 0));
            let undrained = self.transmitter.handle(self.model.now, Event::Flush);
            assert_eq!(undrained, Err(Undrained.into()));
            if self.holds && kind == Kind::Data {
                let copy = bytes.to_vec();
                self.held.push_back((bytes, copy));
            } else {
                self.ledger.during(|| drop(bytes));
            }
        }
        let more = self.ledger.during(|| self.transmitter.poll_command());
        assert_eq!(more, None, "a packet where none is due");
        self.check_standing();
    }

    fn check_standing(&self) {
        let (transmitter, model) = (&self.transmitter, &self.model);
        assert_eq!(transmitter.poll_timeout(), model.timeout());
        let began = model.last_packet.is_some();
        assert!(!began || transmitter.poll_timeout().is_none_or(|at| at > model.now), "it spins");
        let stats = transmitter.stats();
        let packets = (stats.packets, stats.heartbeats, stats.ends);
        assert_eq!(packets, (model.sent.len() as u64, model.heartbeats, model.ends.len() as u64));
        let taken = u128::from(stats.messages) + u128::from(model.config.first_sequence);
        assert_eq!(taken, model.next);
        let bytes: usize = model.sent.iter().map(|&(_, len)| len).sum();
        assert_eq!(stats.packet_bytes, bytes as u64);
        assert!(transmitter.lent() >= self.held.len() * model.config.mtu);
        let ledger = self.ledger.without(transmitter.recording_bytes());
        let (used, limit) = (transmitter.memory_used(), Transmitter::memory_limit(&model.config));
        ledger.check(used, limit);
        check_charged(transmitter.charged(), used, limit);
    }

    fn drop_held(&mut self, most: usize) {
        for (bytes, copy) in self.held.drain(..most.min(self.held.len())) {
            assert_eq!(bytes[..], copy[..], "a packet held outside was written to");
        }
    }
}
