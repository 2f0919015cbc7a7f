//! The memory that the sending machines keep allocated, by a counting allocator: as much as they say, and
//! nothing more once they are warm.

use std::net::{Ipv4Addr, SocketAddr};

use gapless_core::publisher::{self, Publisher};
use gapless_core::rate::Rate;
use gapless_core::retransmitter::{self, Retransmitter};
use gapless_core::transmitter::{self, Transmitter};
use gapless_core::wire::mold::{PacketWriter, Request};
use gapless_core::{Duration, Instant, Machine, Session};
use gapless_tests::alloc;

const FEED: Session = Session::new(*b"FEED      ");

fn peer(number: u32) -> SocketAddr {
    (Ipv4Addr::from_bits(0xC000_0200 + number), 4000).into()
}

fn request(sequence: u64, count: u16) -> [u8; 20] {
    Request { session: FEED, sequence, count }.to_bytes()
}

/// A packet of `count` messages of 40 bytes.
fn packet(first: u64, count: u16) -> Vec<u8> {
    let mut buffer = [0; 1472];
    let mut writer = PacketWriter::new(&mut buffer, FEED, first).unwrap();
    for _ in 0..count {
        assert!(writer.push(&[7; 40]));
    }
    let len = writer.as_bytes().len();
    buffer[..len].to_vec()
}

fn at(micros: u64) -> Instant {
    Instant::from_nanos(micros * 1000)
}

/// Lets a machine take an event, and drops what it says to it.
fn say<M: Machine>(machine: &mut M, now: Instant, event: M::Event<'_>) -> usize {
    machine.handle(now, event).unwrap();
    std::iter::from_fn(|| machine.poll_command()).count()
}

/// The memory rule, for a machine that has allocated `growth` bytes.
fn keeps_the_rule(machine: &impl Machine, growth: isize, limit: usize) {
    let (allocated, used) = (usize::try_from(growth).unwrap(), machine.memory_used());
    assert!(allocated <= used, "{allocated} bytes are allocated and {used} reported");
    let most = allocated + allocated / 20 + (16 << 10);
    assert!(used <= most, "{used} bytes are reported and {allocated} allocated");
    assert!(used <= limit, "{used} bytes are reported where {limit} may be");
}

#[test]
fn a_transmitter_never_allocates_after_construction() {
    let pace = Some(Rate { bytes_per_second: 10_000_000, burst: 5_000 });
    let config = transmitter::Config { pace, ring: 16, ..transmitter::Config::new(FEED) };
    let limit = Transmitter::memory_limit(&config);
    let (mut transmitter, made) = alloc::measure(|| Transmitter::new(config).unwrap());
    let ((), ran) = alloc::measure(|| {
        for round in 0..100_000 {
            let now = at(round * 100);
            let message = transmitter::Event::Message(&[1; 100]);
            if transmitter.handle(now, message).is_ok() {
                while transmitter.poll_command().is_some() {}
            }
            transmitter.handle_timeout(now).unwrap();
            while transmitter.poll_command().is_some() {}
        }
        for seconds in 60..70 {
            transmitter.handle_timeout(at(seconds * 1_000_000)).unwrap();
            while transmitter.poll_command().is_some() {}
        }
        say(&mut transmitter, at(70_000_000), transmitter::Event::End);
    });
    let stats = transmitter.stats();
    assert!(stats.packets > 1000 && stats.heartbeats > 0 && stats.ends == 1, "{stats:?}");
    assert_eq!((ran.allocations, ran.growth), (0, 0));
    keeps_the_rule(&transmitter, made.growth, limit);
}

#[test]
fn a_full_retransmitter_allocates_nothing_under_attack() {
    let scarce = Rate { bytes_per_second: 1_000_000, burst: 100_000 };
    let config = retransmitter::Config {
        history_bytes: 1 << 20,
        archive: true,
        max_addresses: 64,
        max_waiting: 16,
        address_rate: Rate { burst: 10_000, ..scarce },
        total_rate: Rate { bytes_per_second: 40_000_000, ..scarce },
        look_up_timeout: Duration::from_millis(1),
        ..retransmitter::Config::default()
    };
    let limit = Retransmitter::memory_limit(&config);
    let packets: Vec<_> = (0..2_000).map(|number| packet(number * 34 + 1, 34)).collect();
    let archived = packet(1, 34);
    let pass = |retransmitter: &mut Retransmitter, from: u64, packets: &[Vec<u8>]| {
        for (number, packet) in (0_u32..).zip(packets) {
            let now = at(from + u64::from(number) * 50);
            say(retransmitter, now, retransmitter::Event::Store { packet });
            let newest = from + u64::from(number) * 34 + 1;
            let crowd = 1 + number * 7 % 200;
            let asked = [(0, newest, 65_535), (crowd, newest, 9), (crowd, 1, 10), (crowd, 2, 10)];
            for (number, sequence, count) in asked {
                let (from, datagram) = (peer(number), &request(sequence, count)[..]);
                say(retransmitter, now, retransmitter::Event::Request { from, datagram });
            }
            if number % 10 == 0 {
                let id = retransmitter::LookUpId(retransmitter.stats().look_ups.saturating_sub(1));
                say(retransmitter, now, retransmitter::Event::Found { id, packet: &archived });
            }
        }
    };
    let (mut retransmitter, made) = alloc::measure(|| Retransmitter::new(config).unwrap());
    let (first, second) = packets.split_at(1_000);
    let ((), warmed) = alloc::measure(|| pass(&mut retransmitter, 0, first));
    let ((), ran) = alloc::measure(|| pass(&mut retransmitter, 34_000, second));
    assert_eq!((ran.allocations, ran.growth), (0, 0));
    let stats = retransmitter.stats();
    assert!(stats.evicted_messages > 10_000 && stats.evicted_addresses > 100, "{stats:?}");
    assert!(stats.over_address_rate + stats.over_total_rate > 100, "{stats:?}");
    assert!(stats.answered > 100 && stats.look_ups > 10, "{stats:?}");
    assert!(stats.answered_by_archive > 10 && stats.look_ups_full > 10, "{stats:?}");
    keeps_the_rule(&retransmitter, made.growth + warmed.growth, limit);
}

#[test]
fn a_full_publisher_allocates_nothing() {
    let mut config = publisher::Config::new(FEED);
    config.retransmitter.history_bytes = 1 << 20;
    let limit = Publisher::memory_limit(&config);
    let (mut publisher, made) = alloc::measure(|| Publisher::new(config).unwrap());
    let mut sequence = 0;
    let mut pass = |publisher: &mut Publisher| {
        for round in 0..100_000 {
            sequence += 1;
            let now = at(sequence);
            say(publisher, now, publisher::Event::Transmit(transmitter::Event::Message(&[1; 36])));
            if round % 100 == 99 {
                let datagram = &request(sequence - 99, 30)[..];
                let from = (Ipv4Addr::LOCALHOST, 4000).into();
                assert_eq!(
                    say(
                        publisher,
                        now,
                        publisher::Event::Retransmit(retransmitter::Event::Request {
                            from,
                            datagram
                        })
                    ),
                    1
                );
            }
        }
    };
    let ((), warmed) = alloc::measure(|| pass(&mut publisher));
    let ((), ran) = alloc::measure(|| pass(&mut publisher));
    assert_eq!((ran.allocations, ran.growth), (0, 0));
    keeps_the_rule(&publisher, made.growth + warmed.growth, limit);
}

#[test]
fn the_default_history_keeps_the_memory_rule_empty_and_full() {
    let config = retransmitter::Config::default();
    let limit = Retransmitter::memory_limit(&config);
    let (mut retransmitter, made) = alloc::measure(|| Retransmitter::new(config).unwrap());
    keeps_the_rule(&retransmitter, made.growth, limit);
    let mut growth = made.growth;
    for first in (1..=1_600_000).step_by(34) {
        let packet = packet(first, 34);
        let event = retransmitter::Event::Store { packet: &packet };
        let (_, stored) = alloc::measure(|| say(&mut retransmitter, Instant::ZERO, event));
        growth += stored.growth;
    }
    let stats = retransmitter.stats();
    assert!(stats.evicted_messages > 0, "it is full");
    assert!(stats.stored_messages - stats.evicted_messages > 1_500_000, "{stats:?}");
    keeps_the_rule(&retransmitter, growth, limit);
}

#[test]
fn an_answer_that_waits_to_be_taken_is_reported() {
    let config = retransmitter::Config { ring: 1, ..retransmitter::Config::default() };
    let limit = Retransmitter::memory_limit(&config);
    let large = vec![7; 60_000];
    let mut buffer = vec![0; 65_507];
    let mut writer = PacketWriter::new(&mut buffer, FEED, 1).unwrap();
    assert!(writer.push(&large));
    let len = writer.as_bytes().len();
    let packet = &buffer[..len];
    let (mut retransmitter, made) = alloc::measure(|| {
        let mut retransmitter = Retransmitter::new(config).unwrap();
        say(&mut retransmitter, Instant::ZERO, retransmitter::Event::Store { packet });
        let (from, datagram) = (peer(1), &request(1, 1)[..]);
        let event = retransmitter::Event::Request { from, datagram };
        retransmitter.handle(Instant::ZERO + Duration::from_secs(1), event).unwrap();
        retransmitter
    });
    keeps_the_rule(&retransmitter, made.growth, limit);
    assert!(retransmitter.poll_command().is_some());
}
