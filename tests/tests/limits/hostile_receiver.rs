//! Arbitrary bytes from anywhere: a receiver does not panic, keeps within its memory, counts
//! every datagram by what was wrong with it, and delivers the honest feed.
//!
//! `GAPLESS_DATAGRAMS` says how many random ones there are (100,000 by default).

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use gapless_core::receiver::{
    Command, Config, Datagram, Event, LineId, Receiver, ServerId, Source,
};
use gapless_core::wire::mold::{HEADER_LEN, Header, PacketWriter};
use gapless_core::{Duration, Instant, Machine, Session};
use gapless_tests::shared;
use gapless_tests::sim::{Chance, Fact, Random, Trace, message, session};

const LINE: LineId = LineId(0);
const SERVER: ServerId = ServerId(0);

fn server() -> SocketAddr {
    (Ipv4Addr::new(127, 0, 1, 1), 8000).into()
}

fn attacker() -> SocketAddr {
    (Ipv4Addr::new(127, 0, 9, 9), 9999).into()
}

fn packet(session: Session, first: u64, count: u64) -> Vec<u8> {
    let mut buffer = vec![0; 1400];
    let mut writer = PacketWriter::new(&mut buffer, session, first).unwrap();
    for number in first..first + count {
        assert!(writer.push(&message(session, number)));
    }
    let len = writer.as_bytes().len();
    buffer.truncate(len);
    buffer
}

/// Takes all commands; returns the requests among them.
fn drain(receiver: &mut Receiver, trace: &mut Trace, now: Instant) -> Vec<(u64, u64)> {
    let mut requests = Vec::new();
    while let Some(command) = receiver.poll_command() {
        trace.command(now, &command);
        if let Command::Request { request, .. } = command {
            requests.push((request.sequence, request.count.into()));
        }
    }
    let (used, bound) = (receiver.memory_used(), Receiver::memory_limit(receiver.config()));
    trace.record(now, Fact::Memory { used, bound, allocated: None });
    requests
}

/// Noise of one of several kinds; none of it is a packet that continues the honest feed.
fn noise(random: &mut Random, honest: Session) -> Vec<u8> {
    if random.happens(Chance::percent(5)) {
        return packet(session("FOREIGN"), random.within(1..=1 << 60), 1);
    }
    let mut bytes: Vec<u8> = (0..random.within(0..=120)).map(|_| random.any() as u8).collect();
    let sessions = [honest, session("FOREIGN"), Session::new([random.any() as u8; 10])];
    let counts = [0, 1, random.within(0..=0xFFFF) as u16, 0xFFFF];
    let sequences = [0, random.within(1 << 32..=u64::MAX), u64::MAX];
    let header = Header {
        session: random.one_of(&sessions),
        sequence: random.one_of(&sequences),
        count: random.one_of(&counts),
    };
    if random.happens(Chance::percent(75)) && bytes.len() >= HEADER_LEN {
        bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    }
    bytes
}

#[test]
fn random_datagrams_leave_the_honest_feed_complete() {
    let datagrams = std::env::var("GAPLESS_DATAGRAMS").map_or(100_000, |n| n.parse().unwrap());
    let random = &mut Random::new(1);
    let session = session("HONEST");
    let config = Config {
        session: Some(session),
        follow: true,
        lines: vec![LINE, LineId(1)],
        servers: vec![(SERVER, server())],
        max_held_bytes: 1 << 20,
        ..Config::default()
    };
    let mut trace = Trace::of_receiver(&config);
    let mut receiver = Receiver::new(config).unwrap();
    let mut now = Instant::from_millis(1);
    drain(&mut receiver, &mut trace, now);

    let mut next = 1;
    let mut sent_to_line = 0;
    let mut asked = Vec::new();
    let sources = [
        Source::Line(LINE),
        Source::Line(LineId(7)),
        // Now and then an answer, of the other line's socket.
        Source::LineFrom(LineId(1), server()),
        Source::LineFrom(LINE, attacker()),
        Source::Peer(server()),
        Source::Peer(attacker()),
    ];
    let mut turn = 0_u64;
    while turn < datagrams || trace.ledger.next(session) < next {
        assert!(turn < datagrams * 2, "the honest feed does not become complete");
        turn += 1;
        now += Duration::from_micros(50);
        while receiver.poll_timeout().is_some_and(|timeout| timeout <= now) {
            receiver.handle_timeout(now).unwrap();
            asked.extend(drain(&mut receiver, &mut trace, now));
        }

        let (source, bytes) = if turn.is_multiple_of(16) {
            let first = next;
            next += if turn < datagrams { 5 } else { 0 };
            if first < next && random.happens(Chance::percent(10)) {
                continue;
            }
            let heartbeat = Header { session, sequence: next, count: 0 }.to_bytes().to_vec();
            let bytes = if first < next { packet(session, first, next - first) } else { heartbeat };
            (Source::Line(LINE), bytes)
        } else if let Some((first, count)) = asked.pop() {
            // The server answers; it sent what lies before `next` and nothing else.
            let count = count.min(20).min(next.saturating_sub(first));
            if count == 0 {
                continue;
            }
            (Source::Peer(server()), packet(session, first, count))
        } else {
            (random.one_of(&sources), noise(random, session))
        };
        let own_line = matches!(source, Source::Line(LINE) | Source::LineFrom(LINE, _));
        sent_to_line += u64::from(own_line);
        let useful = receiver.stats().useful_answers;
        if random.happens(Chance::percent(50)) {
            if let Some(batch) = receiver.receive(now, source, &bytes) {
                trace.batch(now, &batch);
            }
        } else {
            let pinned = bytes.len();
            let datagram = Datagram { source, bytes: Bytes::from(bytes), pinned, arrival: now };
            receiver.handle(now, Event::Datagram(datagram)).unwrap();
        }
        for _ in useful..receiver.stats().useful_answers {
            trace.record(now, Fact::Useful);
        }
        asked.extend(drain(&mut receiver, &mut trace, now));
    }
    let account = &trace.ledger.accounts[&session];
    assert_eq!((account.delivered, &account.lost[..]), (next - 1, &[][..]));
    let line = receiver.line(LINE).unwrap();
    assert_eq!(line.packets + line.malformed + line.foreign, sent_to_line, "{line:?}");
    let stats = receiver.stats();
    assert!(stats.unknown_peer > 0 && stats.unknown_line > 0, "{stats:?}");
    assert!(stats.malformed_answers > 0 && stats.foreign_answers > 0, "{stats:?}");
}

/// The bytes of every vector.
fn vectors(path: std::path::PathBuf) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(path).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rows = document.as_array().unwrap_or_else(|| document["vectors"].as_array().unwrap());
    let vectors: Vec<_> = rows.iter().map(|row| from_hex(row["hex"].as_str().unwrap())).collect();
    assert_eq!(vectors.len(), 66);
    vectors
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

#[test]
fn every_truncation_of_every_vector_is_counted() {
    for vector in vectors(shared!("specs/moldudp64-vectors.json")) {
        let session = Header::read(&vector).map(|header| header.session);
        let config = Config {
            session,
            lines: vec![LINE],
            servers: vec![(SERVER, server())],
            max_held_bytes: 1 << 20,
            ..Config::default()
        };
        let bound = Receiver::memory_limit(&config);
        let mut receiver = Receiver::new(config).unwrap();
        while receiver.poll_command().is_some() {}
        let mut sent = 0;
        let mut now = Instant::ZERO;
        for len in 0..=vector.len() {
            let cut = &vector[..len];
            for source in [Source::Line(LINE), Source::Peer(server()), Source::Peer(attacker())] {
                now += Duration::from_micros(10);
                receiver.receive(now, source, cut);
                while receiver.poll_command().is_some() {}
                assert!(receiver.memory_used() <= bound);
            }
            sent += 1;
        }
        let line = receiver.line(LINE).unwrap();
        assert_eq!(line.packets + line.malformed + line.foreign, sent, "{line:?}");
        assert_eq!(receiver.stats().unknown_peer, sent);
    }
}
