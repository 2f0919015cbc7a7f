//! A publisher against its two machines run by hand, each data packet passed from one to the other.

use std::collections::VecDeque;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;
use gapless_core::machine::Undrained;
use gapless_core::publisher::{Command, Config, Error, Event, Publisher};
use gapless_core::rate::Rate;
use gapless_core::retransmitter::{self, Retransmitter};
use gapless_core::transmitter::{self, Transmitter};
use gapless_core::wire::mold::{Header, Kind, Request};
use gapless_core::{Duration, Instant, Machine, Session};

use super::recorded::{Played, Tape};

const FEED: Session = Session::new(*b"FEED      ");
const CAPTURED: Session = Session::new(*b"CAPTURED  ");

/// The most that happens in a case.
const MOST_OPS: usize = 400;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// A message of so many bytes.
    Message(u16),
    /// `Event::Transmit(transmitter::Event::Flush)`.
    Flush,
    /// `Event::Transmit(transmitter::Event::End)`.
    End,
    /// A captured heartbeat or end is republished, with this number and count.
    Republish(u8, bool),
    /// A packet that was sent serves requests in the captured session too.
    Store(u8),
    /// So many messages are asked for, of the captured session or of the one that is sent.
    Request(bool, u8, u8),
    /// So many microseconds pass.
    Wait(u16),
    /// The next timeout comes.
    Timeout,
}

/// A random case: a configuration, and what happens.
#[derive(Clone, Debug)]
pub struct Case {
    config: Config,
    ops: Vec<Op>,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let op = |u: &mut Unstructured<'a>| {
            Ok(match u.int_in_range(0..=100)? {
                0 => Op::End,
                1..=10 => Op::Flush,
                11..=15 => Op::Republish(u.int_in_range(1..=255)?, u.ratio(1, 4)?),
                16..=25 => Op::Store(u.arbitrary()?),
                26..=45 => Op::Request(u.arbitrary()?, u.arbitrary()?, u.arbitrary()?),
                46..=55 => Op::Wait(u.arbitrary()?),
                56..=65 => Op::Timeout,
                _ => Op::Message(u.int_in_range(0..=600)?),
            })
        };
        let mtu = *u.choose(&[64, 200, 1472])?;
        let flush_delay = Duration::from_micros(*u.choose(&[0, 1_000])?);
        let pace = *u.choose(&[None, Some(Rate { bytes_per_second: 1_000_000, burst: 3_000 })])?;
        let ring = *u.choose(&[2, 8])?;
        let transmitter =
            transmitter::Config { mtu, flush_delay, pace, ring, ..transmitter::Config::new(FEED) };
        let retransmitter = retransmitter::Config {
            mtu,
            history_bytes: 256 << 10,
            max_addresses: 4,
            ring,
            ..retransmitter::Config::default()
        };
        let config =
            Config { transmitter: Some(transmitter), retransmitter, ..Config::republishing() };
        let ops = std::iter::from_fn(|| (!u.is_empty()).then(|| op(u)));
        Ok(Self { config, ops: ops.take(MOST_OPS).collect::<Result<_>>()? })
    }
}

/// Plays a case.
///
/// # Panics
/// The publisher says other than its machines.
pub fn check(case: &Case) {
    let config = case.config.clone();
    let transmitter = config.transmitter.clone().unwrap();
    let answering = retransmitter::Config { session: Some(FEED), ..config.retransmitter.clone() };
    let mut play = Play {
        publisher: Played::new(config, Tape::of(case.ops.len()).as_ref()),
        transmitter: Transmitter::new(transmitter).unwrap(),
        retransmitter: Retransmitter::new(answering).unwrap(),
        now: Instant::ZERO,
        sent: VecDeque::new(),
    };
    for op in &case.ops {
        play.step(*op);
    }
    play.publisher.replay();
}

struct Play {
    publisher: Played<Publisher>,
    transmitter: Transmitter,
    retransmitter: Retransmitter,
    now: Instant,
    /// Data packets sent lately.
    sent: VecDeque<Bytes>,
}

impl Play {
    fn step(&mut self, op: Op) {
        let now = self.now;
        match op {
            Op::Message(len) => {
                let message = vec![7; len.into()];
                let taken = self
                    .publisher
                    .handle(now, Event::Transmit(transmitter::Event::Message(&message)));
                let expected = self.transmitter.handle(now, transmitter::Event::Message(&message));
                assert_eq!(taken, expected.map_err(Error::from));
                self.drain(VecDeque::new());
            }
            Op::Flush => {
                self.handle(Event::Transmit(transmitter::Event::Flush), transmitter::Event::Flush)
            }
            Op::End => {
                self.handle(Event::Transmit(transmitter::Event::End), transmitter::Event::End)
            }
            Op::Republish(number, end) => {
                let count = if end { 0xFFFF } else { 0 };
                let header = Header { session: CAPTURED, sequence: number.into(), count };
                let bytes = Bytes::copy_from_slice(&header.to_bytes());
                let sent = retransmitter::Event::Sent { packet: &bytes };
                self.retransmitter.handle(now, sent).unwrap();
                assert_eq!(self.retransmitter.poll_command(), None);
                self.publisher.handle(now, Event::Republish(bytes.clone())).unwrap();
                self.drain(VecDeque::from([Command::Send { bytes }]));
            }
            Op::Store(nth) => {
                let Some(sent) = self.sent.get(usize::from(nth)) else { return };
                let mut packet = sent.to_vec();
                packet[..10].copy_from_slice(CAPTURED.as_bytes());
                let packet = &packet[..];
                self.ask(
                    Event::Retransmit(retransmitter::Event::Store { packet }),
                    retransmitter::Event::Store { packet },
                );
            }
            Op::Request(captured, sequence, count) => {
                let session = if captured { CAPTURED } else { FEED };
                let (sequence, count) = (sequence.into(), count.into());
                let datagram = &Request { session, sequence, count }.to_bytes()[..];
                let from = ([192, 0, 2, 1], 4000).into();
                let request = retransmitter::Event::Request { from, datagram };
                self.ask(
                    Event::Retransmit(retransmitter::Event::Request { from, datagram }),
                    request,
                );
            }
            Op::Wait(micros) => self.wait(now + Duration::from_micros(micros.into())),
            Op::Timeout => {
                if let Some(at) = self.publisher.poll_timeout() {
                    self.wait(at);
                }
            }
        }
    }

    fn handle(&mut self, event: Event<'_>, same: transmitter::Event<'_>) {
        self.publisher.handle(self.now, event).unwrap();
        self.transmitter.handle(self.now, same).unwrap();
        self.drain(VecDeque::new());
    }

    fn ask(&mut self, event: Event<'_>, same: retransmitter::Event<'_>) {
        self.publisher.handle(self.now, event).unwrap();
        self.retransmitter.handle(self.now, same).unwrap();
        self.drain(VecDeque::new());
    }

    fn wait(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.publisher.handle_timeout(now).unwrap();
        self.transmitter.handle_timeout(now).unwrap();
        self.drain(VecDeque::new());
        assert!(self.publisher.poll_timeout().is_none_or(|at| at > now), "it spins");
    }

    /// Holds what the publisher says against what its machines say, `expected` first.
    fn drain(&mut self, mut expected: VecDeque<Command>) {
        while let Some(command) = self.retransmitter.poll_command() {
            let retransmitter::Command::Answer { to, bytes } = command else {
                panic!("{command:?}")
            };
            expected.push_back(Command::Retransmit(retransmitter::Command::Answer { to, bytes }));
        }
        while let Some(transmitter::Command::Packet { bytes, kind, .. }) =
            self.transmitter.poll_command()
        {
            if kind == Kind::Data {
                let packet = &bytes[..];
                self.retransmitter.handle(self.now, retransmitter::Event::Sent { packet }).unwrap();
                assert_eq!(self.retransmitter.poll_command(), None);
                self.sent.push_back(Bytes::copy_from_slice(&bytes));
                self.sent.truncate(200);
            }
            expected.push_back(Command::Send { bytes: Bytes::copy_from_slice(&bytes) });
        }
        let early = !expected.is_empty();
        for expected in expected {
            assert_eq!(self.publisher.poll_command(), Some(expected));
        }
        if early {
            let undrained =
                self.publisher.handle(self.now, Event::Transmit(transmitter::Event::Flush));
            assert_eq!(undrained, Err(Undrained.into()));
        }
        assert_eq!(self.publisher.poll_command(), None);
        let timeouts = [self.transmitter.poll_timeout(), self.retransmitter.poll_timeout()];
        assert_eq!(self.publisher.poll_timeout(), timeouts.into_iter().flatten().min());
        let counted = (self.publisher.transmitter().unwrap().stats(), self.transmitter.stats());
        assert_eq!(counted.0, counted.1);
        let counted = (self.publisher.retransmitter().stats(), self.retransmitter.stats());
        assert_eq!(counted.0, counted.1);
        let used = self.transmitter.memory_used() + self.retransmitter.memory_used();
        assert_eq!(self.publisher.memory_used(), used);
        let charged = self.transmitter.charged() + self.retransmitter.charged();
        assert_eq!(self.publisher.charged(), charged);
    }
}
