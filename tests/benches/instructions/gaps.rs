//! Instructions of a receiver's gaps: the same thousand operations, however many other gaps are open. The lowest gap
//! stays open where gaps are filled, so that nothing is delivered at any size, and is the one to go where gaps are
//! lost or answered.
//!
//! The attributes of gungraun take no doc comments.

use std::collections::VecDeque;
use std::hint::black_box;

use gapless_core::receiver::{Command, Config, Event, LineId, Receiver, ServerId, Source, Start};
use gapless_core::wire::mold::Request;
use gapless_core::{Duration, Instant, Machine};
use gungraun::prelude::*;

use crate::feed::{SESSION, feed};

/// Operations that are counted in one run.
pub(crate) const STEPS: usize = 1_000;
const LINE: Source = Source::Line(LineId(0));
/// Between two packets.
const PACE: Duration = Duration::from_micros(10);

fn server() -> std::net::SocketAddr {
    ([127, 0, 0, 1], 8000).into()
}

/// A receiver with so many gaps of so many messages, one message between any two.
struct Gapped {
    receiver: Receiver,
    now: Instant,
    /// A packet of one message, sent with one number after the other.
    packet: Vec<u8>,
    width: u64,
    /// The first number behind the last gap's message.
    next: u64,
    /// The first numbers of those that are open, but the lowest.
    open: Vec<u64>,
    random: u64,
    requests: VecDeque<Request>,
}

impl Gapped {
    fn new(count: usize, width: u64, config: Config) -> Self {
        let config = Config {
            session: Some(SESSION),
            start: Start::At(1),
            lines: vec![LineId(0)],
            max_held_packets: 1 << 18,
            max_gaps: 1 << 17,
            ..config
        };
        let mut gapped = Self {
            receiver: Receiver::new(config).unwrap(),
            now: Instant::from_millis(1),
            packet: feed(1, 1, 1).remove(0),
            width,
            next: 1,
            open: Vec::with_capacity(count + 1),
            random: 1,
            requests: VecDeque::with_capacity(64),
        };
        gapped.open_gap();
        gapped.open.clear();
        for _ in 1..count {
            gapped.open_gap();
        }
        gapped
    }

    #[inline(always)]
    fn open_gap(&mut self) {
        self.now += PACE;
        self.open.push(self.next);
        self.receive(LINE, self.next + self.width);
        self.next += self.width + 1;
    }

    /// Any open gap but the lowest, which is open no longer then.
    #[inline(always)]
    fn take_any(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let which = (self.random >> 33) as usize % self.open.len();
        self.open.swap_remove(which)
    }

    #[inline(always)]
    fn receive(&mut self, source: Source, number: u64) {
        self.packet[10..18].copy_from_slice(&number.to_be_bytes());
        black_box(self.receiver.receive(self.now, source, black_box(&self.packet)));
        self.drain();
    }

    #[inline(always)]
    fn pass_time(&mut self, now: Instant) {
        self.now = now;
        self.receiver.handle_timeout(now).unwrap();
        self.drain();
    }

    #[inline(always)]
    fn drain(&mut self) {
        while let Some(command) = self.receiver.poll_command() {
            if let Command::Request { request, .. } = command {
                self.requests.push_back(request);
            }
            black_box(command);
        }
    }
}

/// Gaps that nobody is asked for, each a little older than the next: the lowest grows too old at each pace.
fn aging(count: usize) -> Gapped {
    Gapped::new(count, 1, Config { give_up: Some(PACE * count as u32), ..Config::default() })
}

/// Gaps of so many messages, and a server that was not asked yet.
fn asked(count: usize, width: u64) -> Gapped {
    let give_up = Some(Duration::from_secs(1 << 30));
    let mut gapped = Gapped::new(count, width, Config { give_up, ..Config::default() });
    let added = Event::AddServer(ServerId(0), server());
    gapped.receiver.handle(gapped.now, added).unwrap();
    gapped.drain();
    gapped
}

fn narrow(count: usize) -> Gapped {
    asked(count, 1)
}

fn wide(count: usize) -> Gapped {
    asked(count, 3)
}

// A gap opens, and any other is filled.
#[library_benchmark(setup = narrow, teardown = drop)]
#[bench::ten(10)]
#[bench::thousand(1_000)]
#[bench::hundred_thousand(100_000)]
fn fill_among_gaps(mut gapped: Gapped) -> Gapped {
    for _ in 0..STEPS {
        gapped.open_gap();
        let number = gapped.take_any();
        gapped.receive(LINE, number);
    }
    assert!(gapped.receiver.stats().gaps_filled_by_line == STEPS as u64);
    gapped
}

// A gap opens, and any other comes apart and is filled from its end.
#[library_benchmark(setup = wide, teardown = drop)]
#[bench::ten(10)]
#[bench::thousand(1_000)]
#[bench::hundred_thousand(100_000)]
fn split_among_gaps(mut gapped: Gapped) -> Gapped {
    for _ in 0..STEPS {
        gapped.open_gap();
        let first = gapped.take_any();
        for number in [first + 1, first + 2, first] {
            gapped.receive(LINE, number);
        }
    }
    assert!(gapped.receiver.stats().gaps_filled_by_line == STEPS as u64);
    gapped
}

// A gap opens, and the lowest is lost.
#[library_benchmark(setup = aging, teardown = drop)]
#[bench::ten(10)]
#[bench::thousand(1_000)]
#[bench::hundred_thousand(100_000)]
fn lose_among_gaps(mut gapped: Gapped) -> Gapped {
    for _ in 0..STEPS {
        gapped.open_gap();
        let now = gapped.now;
        gapped.pass_time(now);
    }
    assert!(gapped.receiver.stats().lost.abs_diff(STEPS as u64) <= 10);
    gapped
}

// A gap opens, a request is answered, and another sent.
#[library_benchmark(setup = narrow, teardown = drop)]
#[bench::ten(10)]
#[bench::thousand(1_000)]
#[bench::hundred_thousand(100_000)]
fn answer_among_gaps(mut gapped: Gapped) -> Gapped {
    for _ in 0..STEPS {
        gapped.open_gap();
        if let Some(request) = gapped.requests.pop_front() {
            gapped.receive(Source::Peer(server()), request.sequence);
        }
    }
    assert!(gapped.receiver.stats().useful_answers + 10 > STEPS as u64);
    gapped
}

// A gap opens, a request times out, and another is sent.
#[library_benchmark(setup = narrow, teardown = drop)]
#[bench::ten(10)]
#[bench::thousand(1_000)]
#[bench::hundred_thousand(100_000)]
fn time_out_among_gaps(mut gapped: Gapped) -> Gapped {
    for _ in 0..STEPS {
        gapped.open_gap();
        let next = gapped.receiver.poll_timeout().unwrap_or(gapped.now);
        let now = gapped.now.max(next);
        gapped.pass_time(now);
    }
    assert!(gapped.receiver.stats().requests_timed_out > STEPS as u64 / 4);
    gapped
}

library_benchmark_group!(
    name = gaps,
    benchmarks = [
        fill_among_gaps,
        split_among_gaps,
        lose_among_gaps,
        answer_among_gaps,
        time_out_among_gaps
    ]
);
