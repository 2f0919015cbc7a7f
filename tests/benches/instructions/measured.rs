//! The benchmarks: runs of packets through the bare wire format, through a receiver, and through one
//! that is recorded, each with the same consumer. Setting up, warming up and checking afterwards lie
//! outside the count.
//!
//! The attributes of gungraun take no doc comments.

use std::hint::black_box;

use gapless_core::journal::{Digest, Driven, Recorder};
use gapless_core::receiver::{Call, Command, Config, LineId, Receiver, Source, Start};
use gapless_core::wire::mold::Packet;
use gapless_core::{Duration, Instant, Machine};
use gungraun::prelude::*;

use crate::cache::loads;
use crate::feed::{SESSION, Tally, feed};
use crate::gaps::gaps;
use crate::recorded::{Dropped, recorder, recording};
use crate::runs::runs;

/// Packets that are counted in one run.
pub(crate) const PACKETS: u64 = 1_000;
/// Packets that go by before, so that a receiver is sure of its session, lines and blocks.
const WARM_UP: u64 = 200;
const LINE_A: Source = Source::Line(LineId(0));
const LINE_B: Source = Source::Line(LineId(1));
/// Between two packets of a line.
const PACE: Duration = Duration::from_micros(10);
/// How far line B is behind line A.
const LAG: Duration = Duration::from_micros(3);

fn counted_feed(messages: u16) -> Vec<Vec<u8>> {
    feed(1 + WARM_UP * u64::from(messages), PACKETS, messages)
}

/// A receiver of two lines in the middle of a feed, with nothing left to say.
struct Warm<M = Receiver> {
    // In a box: moving a machine is no part of what is counted.
    receiver: Box<M>,
    now: Instant,
    feed: Vec<Vec<u8>>,
}

fn config() -> Config {
    Config {
        session: Some(SESSION),
        start: Start::At(1),
        lines: vec![LineId(0), LineId(1)],
        ..Config::default()
    }
}

fn warm(messages: u16) -> Warm {
    warm_up(Receiver::new(config()).unwrap(), messages)
}

fn warm_recorder(messages: u16) -> Warm<Recorder<Receiver, Dropped>> {
    warm_up(recorder(config()), messages)
}

fn warm_up<M: Driven<Receiver>>(receiver: M, messages: u16) -> Warm<M> {
    let (receiver, now) = (Box::new(receiver), Instant::from_millis(1));
    let mut warm = Warm { receiver, now, feed: feed(1, WARM_UP, messages) };
    let mut tally = Tally::default();
    both_lines(&mut warm, &mut tally);
    assert_eq!(tally.messages, WARM_UP * u64::from(messages), "the receiver does not deliver");
    warm.feed = counted_feed(messages);
    warm
}

/// Takes a datagram and consumes whatever the receiver then has to give.
#[inline(always)]
fn receive(
    receiver: &mut impl Driven<Receiver>,
    now: Instant,
    source: Source,
    datagram: &[u8],
    tally: &mut Tally,
) {
    if let Some(batch) = receiver.call(now, Call { arrival: now, source, datagram }) {
        tally.add(batch.messages());
    }
    if receiver.has_commands() {
        while let Some(command) = receiver.poll_command() {
            if let Command::Batch(batch) = command {
                tally.add(batch.messages());
            }
        }
    }
}

#[inline(always)]
fn both_lines(warm: &mut Warm<impl Driven<Receiver>>, tally: &mut Tally) {
    for datagram in &warm.feed {
        warm.now += PACE;
        receive(&mut *warm.receiver, warm.now, LINE_A, datagram, tally);
        receive(&mut *warm.receiver, warm.now + LAG, LINE_B, datagram, tally);
    }
}

/// The end of a counted run: what it worked on, and what the consumer saw.
fn check<M: Driven<Receiver>>((warm, tally): (Warm<M>, Tally)) {
    check_tally((warm.feed, tally));
    let receiver = warm.receiver.machine();
    let [a, b] = [LineId(0), LineId(1)].map(|line| receiver.line(line).unwrap());
    assert_eq!(a.messages_first, receiver.stats().delivered);
    assert!(b.packets == WARM_UP || b.packets == WARM_UP + PACKETS);
    assert_eq!(b.messages_first, 0);
}

fn check_tally((feed, tally): (Vec<Vec<u8>>, Tally)) {
    let mut expected = Tally::default();
    for datagram in &feed {
        expected.add(Packet::new_checked(datagram).unwrap().messages());
    }
    assert_eq!(tally, expected);
}

// The least that anybody does: check each packet, walk over its blocks.
#[library_benchmark(setup = counted_feed, teardown = check_tally)]
#[bench::one(1)]
#[bench::thirty_five(35)]
fn floor(feed: Vec<Vec<u8>>) -> (Vec<Vec<u8>>, Tally) {
    let mut tally = Tally::default();
    for datagram in &feed {
        if let Ok(packet) = Packet::new_checked(black_box(datagram)) {
            tally.add(packet.messages());
        }
    }
    (feed, tally)
}

// The same through a receiver, from one of its two lines.
#[library_benchmark(setup = warm, teardown = check)]
#[bench::one(1)]
#[bench::thirty_five(35)]
fn one_line(mut warm: Warm) -> (Warm, Tally) {
    let mut tally = Tally::default();
    for datagram in &warm.feed {
        warm.now += PACE;
        receive(&mut *warm.receiver, warm.now, LINE_A, black_box(datagram), &mut tally);
    }
    (warm, tally)
}

// And with line B bringing a copy of each packet shortly after line A.
#[library_benchmark(setup = warm, teardown = check)]
#[bench::one(1)]
#[bench::thirty_five(35)]
fn two_lines(mut warm: Warm) -> (Warm, Tally) {
    let mut tally = Tally::default();
    both_lines(&mut warm, &mut tally);
    (warm, tally)
}

// One line, recorded: every packet and a digest of every batch.
#[library_benchmark(setup = warm_recorder, teardown = check)]
#[bench::one(1)]
#[bench::thirty_five(35)]
fn recorded(
    mut warm: Warm<Recorder<Receiver, Dropped>>,
) -> (Warm<Recorder<Receiver, Dropped>>, Tally) {
    let mut tally = Tally::default();
    for datagram in &warm.feed {
        warm.now += PACE;
        receive(&mut *warm.receiver, warm.now, LINE_A, black_box(datagram), &mut tally);
    }
    (warm, tally)
}

// The least that recording takes: a packet is copied to the journal and hashed for its block's
// checksum; its batch is written as commands are, and hashed for the digest.
#[library_benchmark(setup = counted_feed, teardown = drop)]
#[bench::one(1)]
#[bench::thirty_five(35)]
fn copied_and_hashed(feed: Vec<Vec<u8>>) -> (Vec<Vec<u8>>, Digest) {
    let (mut block, mut digest) = (Vec::with_capacity(1 << 17), Digest::new());
    for datagram in &feed {
        for _ in 0..2 {
            block.clear();
            block.extend_from_slice(black_box(datagram));
            digest.update(black_box(&block));
        }
    }
    (feed, digest)
}

/// What stands before a datagram in the record of its call: kind and length, time, arrival, line, and length.
const RECORD_HEAD: usize = 5 + 8 + 8 + 2 + 4;

/// A feed, and a block with the records of the calls that bring it.
fn recorded_feed(messages: u16) -> (Vec<Vec<u8>>, Vec<u8>) {
    let feed = counted_feed(messages);
    let records = feed.iter().map(|datagram| [&[0; RECORD_HEAD][..], datagram].concat());
    let block = records.collect::<Vec<_>>().concat();
    (feed, block)
}

// What is excepted of recording: the digest of the input, once in the block, for its checksum, and once of
// the datagram alone, for the batch that lies in it.
#[library_benchmark(setup = recorded_feed, teardown = drop)]
#[bench::one(1)]
#[bench::thirty_five(35)]
fn input_digests((feed, block): (Vec<Vec<u8>>, Vec<u8>)) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut checksum = Digest::new();
    checksum.update(black_box(&block));
    black_box(checksum.value());
    for datagram in &feed {
        let mut digest = Digest::new();
        digest.update(black_box(datagram));
        black_box(digest.value());
    }
    (feed, block)
}

library_benchmark_group!(
    name = packets,
    benchmarks = [floor, one_line, two_lines, recorded, copied_and_hashed, input_digests]
);
gungraun::main!(library_benchmark_groups = [packets, loads, gaps, runs, recording]);

/// Hands over to gungraun, which has its own idea of arguments.
pub(crate) fn run() {
    main();
}
