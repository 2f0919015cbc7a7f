//! Random and forged datagrams beside an honest feed: the feed goes on complete, within its memory.
//! `GAPLESS_CASES` says how many hundreds of random datagrams (1,000 by default).

use gapless_core::receiver::{
    Command, Config, Datagram, Delivery, Event, LineId, Receiver, ServerId, SessionEnd, Source,
    Start,
};
use gapless_core::wire::mold::{END_OF_SESSION, HEARTBEAT};
use gapless_core::{Duration, Instant, Machine, Session};
use gapless_tests::model::cases;
use gapless_tests::model::receiver::feed::{bare, packet, payload};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

const SESSION: Session = Session::new(*b"HONEST    ");
const OTHER: Session = Session::new(*b"FORGED    ");
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9_000);
const LINES: [LineId; 2] = [LineId(0), LineId(1)];
/// Messages in a packet.
const COUNT: u64 = 5;

/// An honest feed on two lines that both lose packets, a server that answers, and a receiver that
/// may be given anything besides.
struct Feed {
    receiver: Receiver,
    now: Instant,
    next: u64,
    started: Option<u64>,
    delivered: BTreeSet<u64>,
    ended: Option<(Session, u64, SessionEnd)>,
}

impl Feed {
    fn new(config: Config) -> Self {
        let receiver = Receiver::new(Config {
            follow: true,
            lines: LINES.to_vec(),
            servers: vec![(ServerId(0), SERVER)],
            ..config
        });
        Self {
            receiver: receiver.unwrap(),
            now: Instant::from_millis(1),
            next: 1,
            started: None,
            delivered: BTreeSet::new(),
            ended: None,
        }
    }

    fn give(&mut self, source: Source, bytes: Vec<u8>) {
        let (bytes, pinned, arrival) = (bytes::Bytes::from(bytes), 0, self.now);
        let event = Event::Datagram(Datagram { source, bytes, pinned, arrival });
        self.receiver.handle(self.now, event).unwrap();
        self.drain();
    }

    fn drain(&mut self) {
        let mut answers = Vec::new();
        while let Some(command) = self.receiver.poll_command() {
            match command {
                Command::Batch(batch) => {
                    assert_eq!(batch.session, SESSION);
                    for (number, message) in batch.messages() {
                        assert_eq!(message, payload(SESSION, number, false));
                        assert!(self.delivered.insert(number), "{number} twice");
                    }
                }
                Command::SessionStarted { session, next } => {
                    assert_eq!((session, self.started), (SESSION, None));
                    self.started = Some(next);
                }
                Command::SessionEnded { session, next, reason } => {
                    assert_eq!(self.ended, None);
                    self.ended = Some((session, next, reason));
                }
                Command::Lost { .. } | Command::Halted { .. } => panic!("{command:?}"),
                Command::Request { request, .. } if request.session == SESSION => {
                    let last = self.next.min(request.sequence.saturating_add(request.count.into()));
                    let count = last.saturating_sub(request.sequence).min(30);
                    if count > 0 {
                        answers.push(packet(SESSION, request.sequence, count, false));
                    }
                }
                _ => {}
            }
        }
        for answer in answers {
            self.give(Source::Peer(SERVER), answer);
        }
    }

    fn pass_time(&mut self, duration: Duration) {
        let until = self.now + duration;
        for _ in 0..10_000 {
            let Some(timeout) = self.receiver.poll_timeout().filter(|timeout| *timeout <= until)
            else {
                self.now = until;
                return;
            };
            self.now = self.now.max(timeout);
            self.receiver.handle_timeout(self.now).unwrap();
            self.drain();
        }
        panic!("it spins");
    }

    /// A millisecond of the feed: one packet, which line A loses now and then, B too, at times both.
    fn advance(&mut self) {
        let number = self.next / COUNT;
        let bytes = packet(SESSION, self.next, COUNT, false);
        self.next += COUNT;
        if !number.is_multiple_of(7) {
            self.give(Source::Line(LINES[0]), bytes.clone());
        }
        self.pass_time(Duration::from_micros(300));
        if !number.is_multiple_of(5) {
            self.give(Source::Line(LINES[1]), bytes);
        }
        self.pass_time(Duration::from_micros(700));
    }

    /// The end of the session, repeated for a while; then everything must be there.
    fn finish(mut self, context: &str) {
        for _ in 0..100 {
            for line in LINES {
                self.give(Source::Line(line), bare(SESSION, self.next, END_OF_SESSION));
            }
            self.pass_time(Duration::from_millis(20));
        }
        let stats = self.receiver.stats();
        let started =
            self.started.unwrap_or_else(|| panic!("{context}: nothing started: {stats:?}"));
        let whole = (started..self.next).collect::<BTreeSet<_>>();
        let missing = whole.difference(&self.delivered).next();
        assert_eq!(missing, None, "{context}: missing, of {started}..{}: {stats:?}", self.next);
        assert_eq!(whole.len(), self.delivered.len(), "{context}: more than there is");
        assert_eq!(
            self.ended,
            Some((SESSION, self.next, SessionEnd::Ended)),
            "{context}: {stats:?}"
        );
        assert!(started <= 1 + 2 * COUNT, "{context}: started at {started}");
    }
}

/// The packets that can be forged, each alone against the feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Forgery {
    FarJump,
    FarHeartbeat,
    NearJump,
    NearHeartbeat,
    WideHeartbeat,
    EndNow,
    EndBefore,
    EndLater,
    EndWide,
    EndFar,
    Session,
    SessionHeartbeat,
    SessionEnd,
    Last,
}

const FORGERIES: [Forgery; 14] = [
    Forgery::FarJump,
    Forgery::FarHeartbeat,
    Forgery::NearJump,
    Forgery::NearHeartbeat,
    Forgery::WideHeartbeat,
    Forgery::EndNow,
    Forgery::EndBefore,
    Forgery::EndLater,
    Forgery::EndWide,
    Forgery::EndFar,
    Forgery::Session,
    Forgery::SessionHeartbeat,
    Forgery::SessionEnd,
    Forgery::Last,
];

fn forge(forgery: Forgery, next: u64) -> Vec<u8> {
    match forgery {
        Forgery::FarJump => packet(SESSION, 1 << 60, 3, false),
        Forgery::FarHeartbeat => bare(SESSION, 1 << 60, HEARTBEAT),
        Forgery::NearJump => packet(SESSION, next + 400, 3, false),
        Forgery::NearHeartbeat => bare(SESSION, next + 400, HEARTBEAT),
        Forgery::WideHeartbeat => bare(SESSION, next + 100_000, HEARTBEAT),
        Forgery::EndNow => bare(SESSION, next, END_OF_SESSION),
        Forgery::EndBefore => bare(SESSION, next.saturating_sub(7).max(1), END_OF_SESSION),
        Forgery::EndLater => bare(SESSION, next + 400, END_OF_SESSION),
        Forgery::EndWide => bare(SESSION, next + 100_000, END_OF_SESSION),
        Forgery::EndFar => bare(SESSION, 1 << 60, END_OF_SESSION),
        Forgery::Session => packet(OTHER, 1, 3, false),
        Forgery::SessionHeartbeat => bare(OTHER, 1, HEARTBEAT),
        Forgery::SessionEnd => bare(OTHER, 1, END_OF_SESSION),
        Forgery::Last => packet(SESSION, u64::MAX, 1, false),
    }
}

/// Heartbeats and ends: what three of make a claim.
const CLAIMS: [Forgery; 8] = [
    Forgery::FarHeartbeat,
    Forgery::NearHeartbeat,
    Forgery::WideHeartbeat,
    Forgery::EndNow,
    Forgery::EndBefore,
    Forgery::EndLater,
    Forgery::EndWide,
    Forgery::EndFar,
];

/// Plays an honest feed of 1,000 messages with forgeries after packet `after`, on line A.
fn play(forgeries: &[Forgery], after: u64, start: Start, delivery: Delivery) {
    play_on(&LINES[..1], forgeries, after, start, delivery);
}

fn play_on(lines: &[LineId], forgeries: &[Forgery], after: u64, start: Start, delivery: Delivery) {
    let pinned = if start == Start::Live && after == 0 { Some(SESSION) } else { None };
    let mut feed = Feed::new(Config { start, delivery, session: pinned, ..Config::default() });
    for number in 0..200 {
        if number == after {
            for forgery in forgeries {
                let bytes = forge(*forgery, feed.next);
                lines.iter().for_each(|&line| feed.give(Source::Line(line), bytes.clone()));
            }
        }
        feed.advance();
    }
    feed.finish(&format!("{forgeries:?} after {after}, {start:?}, {delivery:?}"));
}

fn each_way(forgeries: &[Forgery], after: u64) {
    for start in [Start::At(1), Start::Live] {
        for delivery in [Delivery::Ordered, Delivery::Arrival] {
            play(forgeries, after, start, delivery);
        }
    }
}

#[test]
fn an_honest_feed_is_complete_without_forgeries() {
    each_way(&[], 0);
}

#[test]
fn a_lone_forgery_takes_nothing_from_an_honest_feed() {
    for forgery in FORGERIES {
        each_way(&[forgery], 40);
    }
}

#[test]
fn a_pair_of_forgeries_takes_nothing_from_an_honest_feed() {
    for first in FORGERIES {
        for second in FORGERIES {
            play(&[first, second], 40, Start::At(1), Delivery::Ordered);
        }
    }
}

#[test]
fn three_forged_heartbeats_or_ends_take_nothing_from_an_honest_feed() {
    for forgery in CLAIMS {
        for delivery in [Delivery::Ordered, Delivery::Arrival] {
            for lines in [&LINES[..1], &LINES] {
                play_on(lines, &[forgery; 3], 40, Start::At(1), delivery);
            }
        }
    }
}

#[test]
fn three_forged_heartbeats_and_three_forged_ends_take_nothing_from_an_honest_feed() {
    for first in CLAIMS {
        for second in CLAIMS {
            let forgeries = [first, first, first, second, second, second];
            play(&forgeries, 40, Start::At(1), Delivery::Ordered);
        }
    }
}

/// Plays a feed that has nothing to say for a while and then ends, with forgeries when it falls silent and
/// when it ends.
fn play_idle(forgeries: &[Forgery], delivery: Delivery) {
    let mut feed = Feed::new(Config { delivery, ..Config::default() });
    let forge_all = |feed: &mut Feed| {
        for forgery in forgeries {
            feed.give(Source::Line(LINES[0]), forge(*forgery, feed.next));
        }
    };
    (0..40).for_each(|_| feed.advance());
    feed.pass_time(Duration::from_millis(30));
    forge_all(&mut feed);
    for _ in 0..15 {
        feed.pass_time(Duration::from_secs(1));
        for line in LINES {
            feed.give(Source::Line(line), bare(SESSION, feed.next, HEARTBEAT));
        }
    }
    (0..40).for_each(|_| feed.advance());
    forge_all(&mut feed);
    for _ in 0..15 {
        feed.pass_time(Duration::from_secs(1));
        for line in LINES {
            feed.give(Source::Line(line), bare(SESSION, feed.next, END_OF_SESSION));
        }
    }
    feed.finish(&format!("{forgeries:?} in an idle feed, {delivery:?}"));
}

#[test]
fn forged_heartbeats_and_ends_take_nothing_from_a_feed_that_is_idle_or_ends() {
    for forgery in CLAIMS.into_iter().filter(|forgery| *forgery != Forgery::EndNow) {
        for count in [1, 3, 7] {
            for delivery in [Delivery::Ordered, Delivery::Arrival] {
                play_idle(&vec![forgery; count], delivery);
            }
        }
    }
}

#[test]
fn a_forged_first_packet_takes_nothing_from_an_honest_feed() {
    for forgery in FORGERIES {
        for start in [Start::At(1), Start::Live] {
            play(&[forgery], 0, start, Delivery::Ordered);
        }
    }
}

#[test]
fn a_pair_of_forged_first_packets_takes_nothing_from_an_honest_feed() {
    for first in FORGERIES {
        for second in FORGERIES {
            play(&[first, second], 0, Start::Live, Delivery::Ordered);
        }
    }
}

#[test]
fn random_datagrams_take_nothing_from_an_honest_feed() {
    let mut feed = Feed::new(Config { start: Start::At(1), ..Config::default() });
    let memory = feed.receiver.memory_used();
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..cases(1_000) {
        feed.advance();
        for _ in 0..100 {
            let len = (random() % 80) as usize;
            let noise: Vec<u8> =
                (0..len.div_ceil(8)).flat_map(|_| random().to_le_bytes()).collect();
            let mut bytes = noise[..len].to_vec();
            // Now and then noise behind a right session, or an old packet broken somewhere.
            match random() % 4 {
                0 if bytes.len() >= 20 => {
                    bytes[..10].copy_from_slice(SESSION.as_bytes());
                    bytes[18] &= 0x7F;
                    bytes[19] |= 1;
                }
                1 => {
                    bytes = packet(SESSION, feed.next - COUNT, COUNT, false);
                    bytes.truncate((random() % bytes.len() as u64) as usize);
                }
                _ => {}
            }
            let source = match random() % 4 {
                0 => Source::Peer(SERVER),
                1 => Source::LineFrom(LINES[1], SERVER),
                2 => Source::Line(LineId(9)),
                _ => Source::Line(LINES[0]),
            };
            feed.give(source, bytes);
        }
        assert!(feed.receiver.memory_used() <= memory + (1 << 21), "noise takes no memory");
    }
    feed.finish("noise");
}
