//! Arbitrary datagrams to the socket that takes requests: a publisher does not panic, keeps within its
//! memory, amplifies nothing beyond its rates, counts every datagram once, and serves who asks
//! honestly.
//!
//! `GAPLESS_DATAGRAMS` says how many random ones there are (100,000 by default).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use gapless_core::publisher::{Command, Config, Event, Publisher};
use gapless_core::rate::Rate;
use gapless_core::retransmitter;
use gapless_core::retransmitter::Stats;
use gapless_core::transmitter;
use gapless_core::wire::mold::{Packet, Request};
use gapless_core::{Duration, Instant, Machine, Session};
use gapless_tests::sim::{Chance, Random, message, session};

const MESSAGES: u64 = 10_000;
/// By which a bucket may be overdrawn.
const LARGEST_ANSWER: u64 = 1472;

fn datagrams() -> u64 {
    std::env::var("GAPLESS_DATAGRAMS").map_or(100_000, |number| number.parse().unwrap())
}

/// A publisher that has sent its messages.
fn publisher(config: Config, session: Session) -> Publisher {
    let mut publisher = Publisher::new(config).unwrap();
    let now = Instant::from_millis(1);
    for number in 1..=MESSAGES {
        publisher
            .handle(now, Event::Transmit(transmitter::Event::Message(&message(session, number))))
            .unwrap();
        while publisher.poll_command().is_some() {}
    }
    publisher.handle(now, Event::Transmit(transmitter::Event::Flush)).unwrap();
    while publisher.poll_command().is_some() {}
    publisher
}

/// Gives it a request, and returns the answers.
fn ask(
    publisher: &mut Publisher,
    now: Instant,
    from: SocketAddr,
    datagram: &[u8],
) -> Vec<(SocketAddr, usize)> {
    publisher
        .handle(now, Event::Retransmit(retransmitter::Event::Request { from, datagram }))
        .unwrap();
    let mut answers = Vec::new();
    while let Some(command) = publisher.poll_command() {
        if let Command::Retransmit(retransmitter::Command::Answer { to, bytes }) = command {
            Packet::new_checked(&bytes).unwrap();
            answers.push((to, bytes.len()));
        }
    }
    answers
}

/// Every request is counted in exactly one place.
fn accounted(stats: &Stats) -> u64 {
    stats.answered
        + stats.answered_by_archive
        + stats.waiting
        + stats.malformed
        + stats.sequence_zero
        + stats.count_zero
        + stats.other_session
        + stats.out_of_range
        + stats.declined
        + stats.not_found
        + stats.look_ups_timed_out
        + stats.look_ups_full
        + stats.repeated
        + stats.over_address_rate
        + stats.over_total_rate
}

fn any_address(random: &mut Random) -> SocketAddr {
    let bits = random.any();
    let address = if random.happens(Chance::percent(50)) {
        IpAddr::V4(Ipv4Addr::from_bits(bits as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(u128::from(bits) << 64 | 1))
    };
    (address, (bits >> 40) as u16).into()
}

#[test]
fn a_flood_from_many_addresses_is_answered_within_the_rates() {
    let session = session("FLOODED");
    let mut config = Config::new(session);
    let address_rate = Rate { bytes_per_second: 20_000, burst: 5_000 };
    let total_rate = Rate { bytes_per_second: 1_000_000, burst: 100_000 };
    config.retransmitter.address_rate = address_rate;
    config.retransmitter.total_rate = total_rate;
    config.retransmitter.max_addresses = 64;
    let mut publisher = publisher(config, session);
    let memory = publisher.memory_used();

    let random = &mut Random::new(1);
    let few: Vec<_> = (0..8).map(|_| any_address(random)).collect();
    let start = Instant::from_millis(10);
    let (mut now, mut total) = (start, 0);
    for _ in 0..datagrams() {
        now += Duration::from_micros(20);
        let own = random.happens(Chance::percent(10));
        let from = if own { random.one_of(&few) } else { any_address(random) };
        let sequence = random.within(1..=MESSAGES);
        let request = Request { session, sequence, count: u16::MAX };
        for (to, len) in ask(&mut publisher, now, from, &request.to_bytes()) {
            assert_eq!(to, from);
            total += len as u64;
        }
        assert!(publisher.memory_used() <= memory, "a flood takes memory");
    }
    let elapsed = now.since(start).as_micros() as u64;
    let most =
        |rate: Rate| rate.burst + rate.bytes_per_second * elapsed / 1_000_000 + LARGEST_ANSWER;
    assert!(total > 0 && total <= most(total_rate), "{total} bytes, at most {}", most(total_rate));
    let stats = publisher.retransmitter().stats();
    assert_eq!(accounted(stats), datagrams());
    assert!(stats.over_total_rate > 0 && stats.evicted_addresses > 0, "{stats:?}");

    now += Duration::from_secs(1);
    let honest = Request { session, sequence: 77, count: 5 };
    assert_eq!(ask(&mut publisher, now, few[0], &honest.to_bytes()).len(), 1);
}

#[test]
fn one_address_gets_no_more_than_its_rate() {
    let session = session("GREEDY");
    let mut config = Config::new(session);
    let rate = Rate { bytes_per_second: 20_000, burst: 5_000 };
    config.retransmitter.address_rate = rate;
    let mut publisher = publisher(config, session);
    let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let start = Instant::from_millis(10);
    let request = Request { session, sequence: 1, count: 20 }.to_bytes();
    let mut bytes = 0;
    for step in 0..20_000 {
        let now = start + Duration::from_micros(100) * step;
        // Another port is the same address.
        let from = SocketAddr::new(from.ip(), 1 + (step % 1000) as u16);
        bytes += ask(&mut publisher, now, from, &request).iter().map(|(_, len)| len).sum::<usize>();
    }
    let most = rate.burst + rate.bytes_per_second * 2 + LARGEST_ANSWER;
    assert!(bytes as u64 <= most && bytes as u64 > most / 2, "{bytes} bytes, at most {most}");
    let stats = publisher.retransmitter().stats();
    assert!(stats.over_address_rate > 0, "{stats:?}");
    assert_eq!(accounted(stats), 20_000);
}

#[test]
fn by_default_a_forged_address_gets_little_more_than_a_line_would_bring() {
    let session = session("FORGED");
    let mut publisher = publisher(Config::new(session), session);
    let line = publisher.transmitter().unwrap().stats().packet_bytes;
    let from = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 1));
    let request = Request { session, sequence: 1, count: u16::MAX }.to_bytes();
    let start = Instant::from_millis(10);
    let (mut bytes, mut asked) = (0, 0);
    for step in 0..200_000 {
        let now = start + Duration::from_micros(10) * step;
        bytes += ask(&mut publisher, now, from, &request).iter().map(|(_, len)| len).sum::<usize>();
        asked += request.len();
    }
    let each_second = (3 * line).max(1_000_000);
    let most = 2 * each_second + (64 << 10) + LARGEST_ANSWER;
    assert!(bytes as u64 <= most && bytes as u64 > most / 2, "{bytes} bytes, at most {most}");
    assert!(bytes < asked, "{bytes} bytes for {asked}");
}

#[test]
fn random_requests_are_each_counted_once() {
    let session = session("NOISE");
    let mut publisher = publisher(Config::new(session), session);
    let memory = publisher.memory_used();
    let random = &mut Random::new(2);
    for turn in 0..datagrams() {
        let now = Instant::from_millis(10) + Duration::from_micros(turn);
        let mut bytes: Vec<u8> = (0..random.within(0..=40)).map(|_| random.any() as u8).collect();
        if random.happens(Chance::percent(75)) {
            let sessions = [session, Session::new([random.any() as u8; 10])];
            let sequences = [0, random.within(1..=MESSAGES * 2), random.any(), u64::MAX];
            let counts = [0, 1, random.any() as u16, u16::MAX];
            let request = Request {
                session: random.one_of(&sessions),
                sequence: random.one_of(&sequences),
                count: random.one_of(&counts),
            };
            bytes = request.to_bytes().to_vec();
        }
        ask(&mut publisher, now, any_address(random), &bytes);
        assert!(publisher.memory_used() <= memory);
    }
    let stats = publisher.retransmitter().stats();
    assert_eq!(accounted(stats), datagrams());
    let reasons = [
        stats.answered,
        stats.malformed,
        stats.sequence_zero,
        stats.count_zero,
        stats.other_session,
        stats.out_of_range,
    ];
    assert!(reasons.iter().all(|&count| count > 0), "{stats:?}");
}
