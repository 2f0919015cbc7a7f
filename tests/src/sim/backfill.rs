//! The requests of a backfill: a receiver that begins at message 1 of a feed that is far ahead, and one server. Nothing
//! is lost, so every request beyond those that whole answers would take is the receiver's doing.

use std::collections::VecDeque;

use gapless_core::receiver::{Command, Config, LineId, Receiver, ServerId, Source};
use gapless_core::wire::mold::{HEADER_LEN, LENGTH_LEN, PacketWriter, Request};
use gapless_core::{Duration, Instant, Machine};

use super::random::mix;
use super::setup::{server_address, session};

/// The lengths of messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lengths {
    /// All the same, in bytes.
    Equal(u64),
    /// Those of ITCH 5.0, in the proportions of a trading day.
    Itch,
    /// Any of these, equally often: from, to.
    Uniform(u64, u64),
    /// Long ones of so many bytes, then short ones, and so on, so many of each.
    Alternating(u64, u64, u64),
}

impl Lengths {
    /// The length of a message, in bytes.
    #[must_use]
    pub fn of(self, number: u64) -> usize {
        let draw = mix(number);
        let length = match self {
            Self::Equal(length) => length,
            Self::Itch => match draw % 1000 {
                0..440 => 36,
                440..820 => 19,
                820..900 => 35,
                900..945 => 31,
                945..960 => 23,
                _ => 44,
            },
            Self::Uniform(from, to) => from + draw % (to - from + 1),
            Self::Alternating(long, short, each) => {
                if (number / each).is_multiple_of(2) {
                    long
                } else {
                    short
                }
            }
        };
        usize::try_from(length).expect("the length of a message")
    }
}

/// A feed of which everything before the first packet is to be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backfill {
    /// The messages' lengths.
    pub lengths: Lengths,
    /// From a request to its answer.
    pub round_trip: Duration,
    /// How many messages are missing: at most 2^20.
    pub messages: u64,
}

/// The cost of a backfill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backfilled {
    /// Requests sent.
    pub requests: u64,
    /// Requests that would do if each answer were full.
    pub needed: u64,
    /// Messages asked for, each as often as it was.
    pub requested: u64,
    /// Until everything was delivered.
    pub took: Duration,
}

impl Backfill {
    /// The most bytes of an answer.
    pub const MTU: usize = 1400;

    /// How many messages from `first` on, at most `count`, an answer holds.
    fn fit(&self, first: u64, count: u64) -> u64 {
        let mut len = HEADER_LEN;
        let fits = |number: &u64| {
            len += LENGTH_LEN + self.lengths.of(*number);
            len <= Self::MTU
        };
        (first..first + count).take_while(fits).count() as u64
    }

    fn packet(&self, first: u64, count: u64) -> Vec<u8> {
        let mut buffer = [0; Self::MTU];
        let mut writer =
            PacketWriter::new(&mut buffer, session("BACKFILL"), first).expect("room for a header");
        for number in first..first + count {
            assert!(writer.push(&[0; Self::MTU][..self.lengths.of(number)]), "it fits");
        }
        writer.as_bytes().to_vec()
    }

    /// The requests that would do if each answer were full.
    fn needed(&self) -> u64 {
        let (mut first, mut requests) = (1, 0);
        while first <= self.messages {
            first += self.fit(first, self.messages + 1 - first);
            requests += 1;
        }
        requests
    }

    /// Receives everything, with a receiver of this configuration (the line and the server are added to it).
    ///
    /// # Panics
    /// When the receiver refuses the configuration, or loses something.
    #[must_use]
    pub fn run(&self, config: Config) -> Backfilled {
        let line = LineId(0);
        let session = session("BACKFILL");
        let servers = vec![(ServerId(0), server_address(0))];
        let config = Config { session: Some(session), lines: vec![line], servers, ..config };
        let mut receiver = Receiver::new(config).expect("a configuration that is valid");
        let mut now = Instant::from_millis(1);
        let begins = now;
        let mut under_way: VecDeque<(Instant, Request)> = VecDeque::new();
        let mut delivered = 0;
        for number in self.messages + 1..=self.messages + 3 {
            let _ = receiver.receive(now, Source::Line(line), &self.packet(number, 1));
            self.drain(&mut receiver, now, &mut under_way, &mut delivered);
        }
        while delivered < self.messages {
            let answered = under_way.front().map(|(at, _)| *at);
            let timeout = receiver.poll_timeout();
            now = answered.into_iter().chain(timeout).min().expect("something to wait for");
            if answered == Some(now) {
                let (_, request) = under_way.pop_front().expect("one is there");
                let left = (self.messages + 4).saturating_sub(request.sequence);
                let count = self.fit(request.sequence, left.min(request.count.into()));
                let answer = self.packet(request.sequence, count);
                let peer = Source::Peer(server_address(0));
                if let Some(batch) = receiver.receive(now, peer, &answer) {
                    delivered += u64::from(batch.count);
                }
            } else {
                receiver.handle_timeout(now).expect("it was drained");
            }
            self.drain(&mut receiver, now, &mut under_way, &mut delivered);
        }
        let stats = receiver.stats();
        Backfilled {
            requests: stats.requests,
            needed: self.needed(),
            requested: stats.requested_messages,
            took: now.since(begins),
        }
    }

    fn drain(
        &self,
        receiver: &mut Receiver,
        now: Instant,
        under_way: &mut VecDeque<(Instant, Request)>,
        delivered: &mut u64,
    ) {
        while let Some(command) = receiver.poll_command() {
            match command {
                Command::Batch(batch) => *delivered += u64::from(batch.count),
                Command::Request { request, .. } => {
                    under_way.push_back((now + self.round_trip, request));
                }
                Command::Lost { .. } => panic!("{self:?}: {command:?}"),
                _ => {}
            }
        }
    }
}
