//! Properties of repair over time: backfill that is faster than live converges with the smallest
//! memory, a silent server is asked no more than its window allows, a lone claim loses nothing.

use gapless_core::receiver::{
    Command, Config, Datagram, Event, LineId, Receiver, ServerId, Source, Start,
};
use gapless_core::wire::mold::{HEARTBEAT, Request};
use gapless_core::{Duration, Instant, Machine, Session};
use gapless_tests::model::receiver::feed::{bare, packet, payload};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const SESSION: Session = Session::new(*b"REPAIR    ");
const LINE: LineId = LineId(0);
const ROUND_TRIP: Duration = Duration::from_millis(1);

fn server(id: u8) -> (ServerId, SocketAddr) {
    (ServerId(id), SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9_000 + u16::from(id)))
}

/// A receiver, and a server of which every answer takes a round trip.
struct Link {
    receiver: Receiver,
    now: Instant,
    /// The next number of the feed.
    next: u64,
    /// The next number to be delivered.
    delivered: u64,
    lost: Vec<(u64, u64)>,
    answering: Option<ServerId>,
    answers: VecDeque<(Instant, SocketAddr, Request)>,
}

impl Link {
    fn new(config: Config, next: u64, answering: Option<ServerId>) -> Self {
        let delivered = match config.start {
            Start::At(start) => start,
            Start::Live => panic!("the start is compared"),
        };
        let receiver = Receiver::new(Config { lines: vec![LINE], ..config }).unwrap();
        let (now, lost, answers) = (Instant::from_millis(1), Vec::new(), VecDeque::new());
        Self { receiver, now, next, delivered, lost, answering, answers }
    }

    fn give(&mut self, source: Source, bytes: Vec<u8>) {
        let (bytes, pinned, arrival) = (bytes::Bytes::from(bytes), 0, self.now);
        let datagram = Datagram { source, bytes, pinned, arrival };
        self.receiver.handle(self.now, Event::Datagram(datagram)).unwrap();
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(command) = self.receiver.poll_command() {
            match command {
                Command::Batch(batch) => {
                    for (sequence, message) in batch.messages() {
                        assert_eq!(sequence, self.delivered);
                        assert_eq!(message, payload(SESSION, sequence, false));
                        self.delivered += 1;
                    }
                }
                Command::Request { server, to, request } if Some(server) == self.answering => {
                    self.answers.push_back((self.now + ROUND_TRIP, to, request));
                }
                Command::Lost { first, last, .. } => {
                    self.lost.push((first, last));
                    self.delivered = last + 1;
                }
                _ => {}
            }
        }
    }

    /// The feed's next `count` messages in one packet.
    fn send(&mut self, count: u64) {
        let bytes = packet(SESSION, self.next, count, false);
        self.next += count;
        self.give(Source::Line(LINE), bytes);
    }

    fn heartbeat(&mut self, next: u64) {
        self.give(Source::Line(LINE), bare(SESSION, next, HEARTBEAT));
    }

    fn pass_time(&mut self, duration: Duration) {
        let until = self.now + duration;
        for _ in 0..100_000 {
            let answer = self.answers.front().map(|(at, ..)| *at);
            let timeout = self.receiver.poll_timeout();
            let due = [answer, timeout].into_iter().flatten().min().filter(|due| *due <= until);
            let Some(due) = due else {
                self.now = until;
                return;
            };
            self.now = self.now.max(due);
            if answer == Some(due) {
                let (_, to, request) = self.answers.pop_front().unwrap();
                let count =
                    u64::from(request.count).min(self.next.saturating_sub(request.sequence));
                if count > 0 {
                    self.give(
                        Source::Peer(to),
                        packet(SESSION, request.sequence, count.min(40), false),
                    );
                }
            } else {
                self.receiver.handle_timeout(self.now).unwrap();
                self.drain();
            }
        }
        panic!("it spins");
    }
}

/// The smallest memory that a receiver can have.
fn tiny() -> Config {
    Config {
        start: Start::At(1),
        servers: vec![server(0)],
        max_held_bytes: 131_072,
        max_held_packets: 16,
        max_gaps: 16,
        ..Config::default()
    }
}

#[test]
fn backfill_that_is_faster_than_live_converges_with_the_smallest_memory() {
    let mut link = Link::new(tiny(), 50_001, Some(ServerId(0)));
    for _ in 0..60_000 {
        link.send(3);
        link.pass_time(Duration::from_millis(1));
        if link.delivered == link.next {
            break;
        }
    }
    assert_eq!((link.delivered, link.lost), (link.next, vec![]), "{:?}", link.receiver.stats());
}

#[test]
fn backfill_converges_on_a_line_that_loses_every_third_packet() {
    let mut link = Link::new(tiny(), 20_001, Some(ServerId(0)));
    for number in 0..60_000 {
        if number % 3 == 2 {
            link.next += 3;
        } else {
            link.send(3);
        }
        link.pass_time(Duration::from_millis(1));
    }
    link.heartbeat(link.next);
    link.pass_time(Duration::from_secs(3));
    assert_eq!((link.delivered, link.lost), (link.next, vec![]), "{:?}", link.receiver.stats());
}

#[test]
fn a_silent_server_is_asked_no_more_than_its_window_allows() {
    let config = Config { give_up: Some(Duration::from_secs(1_000)), ..tiny() };
    let timeout = config.initial_request_timeout;
    let mut link = Link::new(config, 1, None);
    for _ in 0..15 {
        link.next += 100;
        link.send(1);
    }
    let elapsed = Duration::from_secs(20);
    link.pass_time(elapsed);
    let requests = link.receiver.stats().requests;
    // The window begins at two, and every timeout halves it to no less than one.
    let bound = elapsed.as_millis() / timeout.as_millis() + 2;
    assert!(u128::from(requests) <= bound, "{requests} requests where {bound} may be");
    assert!(requests >= 12, "{requests} requests: a timeout and a rest are at most 1.5 seconds");
    assert_eq!(link.lost, []);
}

#[test]
fn what_one_server_does_not_answer_another_is_asked_for_before_any_rest() {
    let config = Config { servers: vec![server(0), server(1)], ..tiny() };
    for answering in [ServerId(0), ServerId(1)] {
        let mut link = Link::new(config.clone(), 1, Some(answering));
        link.next = 21;
        link.send(5);
        link.send(5);
        link.send(5);
        // The delay before asking, one timeout at most, and the round trip.
        link.pass_time(Duration::from_millis(150));
        assert_eq!(link.delivered, link.next, "{:?}", link.receiver.stats());
    }
}

#[test]
fn a_silent_gap_is_given_up_exactly_when_its_time_has_passed() {
    let mut link =
        Link::new(Config { give_up: Some(Duration::from_millis(700)), ..tiny() }, 1, None);
    link.send(5);
    link.next = 11;
    for _ in 0..4 {
        link.send(5);
    }
    link.pass_time(Duration::from_micros(699_999));
    assert_eq!((link.delivered, link.lost.as_slice()), (6, [].as_slice()));
    link.pass_time(Duration::from_micros(1));
    assert_eq!((link.delivered, link.lost.as_slice()), (link.next, [(6, 10)].as_slice()));
}

#[test]
fn every_useful_answer_gives_what_is_still_missing_its_full_time_again() {
    let config = Config { give_up: Some(Duration::from_secs(2)), ..tiny() };
    let mut link = Link::new(config, 1, None);
    for _ in 0..5 {
        link.next += 1;
        link.send(4);
    }
    // The last gap is vouched for by three packets as well.
    link.send(1);
    link.send(1);
    let to = server(0).1;
    for number in 0..4 {
        link.pass_time(Duration::from_millis(1_900));
        link.give(Source::Peer(to), packet(SESSION, 1 + number * 5, 1, false));
        assert_eq!(link.lost, []);
    }
    link.pass_time(Duration::from_millis(1_999));
    assert_eq!(link.lost, []);
    link.pass_time(Duration::from_millis(1));
    assert_eq!(link.lost, [(21, 21)]);
}

#[test]
fn a_lone_claim_within_the_jump_is_asked_for_and_never_lost() {
    let mut link =
        Link::new(Config { give_up: Some(Duration::from_millis(200)), ..tiny() }, 1, None);
    link.send(5);
    link.heartbeat(1_001);
    link.pass_time(Duration::from_secs(10));
    assert!(link.receiver.stats().requests > 0, "the claim is followed up");
    assert_eq!(link.lost, []);
    while link.next < 1_200 {
        link.send(5);
        link.pass_time(Duration::from_millis(1));
    }
    assert_eq!((link.delivered, link.lost), (link.next, vec![]), "{:?}", link.receiver.stats());
}
