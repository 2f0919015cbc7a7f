//! Bugs that the model found in the receiver, each as the shortest trace that shows it.

use gapless_core::receiver::{
    AcceptAnswers, Checkpoint, Command, Config, Datagram, Delivery, Event, LineId, LossReason,
    OnLoss, Receiver, ServerId, SessionEnd, Source, Start,
};
use gapless_core::wire::mold::{END_OF_SESSION, HEARTBEAT};
use gapless_core::{Duration, Instant, Machine, Session};
use gapless_tests::alloc;
use gapless_tests::model::receiver::feed::{bare, packet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const OURS: Session = Session::new(*b"OURS      ");
const NEXT: Session = Session::new(*b"NEXT      ");
const A: LineId = LineId(0);
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9_000);

/// A receiver of one line, told by line and by server, and what it says.
struct Harness {
    receiver: Receiver,
    now: Instant,
}

impl Harness {
    fn new(config: Config) -> Self {
        let receiver = Receiver::new(Config { lines: vec![A], believe_after: 1, ..config });
        Self { receiver: receiver.unwrap(), now: Instant::from_millis(1) }
    }

    fn handle(&mut self, event: Event) -> Vec<Command> {
        self.receiver.handle(self.now, event).unwrap();
        self.listen()
    }

    fn listen(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.receiver.poll_command()).collect()
    }

    fn give(&mut self, source: Source, bytes: Vec<u8>) -> Vec<Command> {
        let (pinned, arrival) = (bytes.len(), self.now);
        let bytes = bytes.into_boxed_slice().into();
        self.handle(Event::Datagram(Datagram { source, bytes, pinned, arrival }))
    }

    fn line(&mut self, first: u64, count: u64) -> Vec<Command> {
        self.give(Source::Line(A), packet(OURS, first, count, false))
    }

    fn bare(&mut self, session: Session, sequence: u64, count: u16) -> Vec<Command> {
        self.give(Source::Line(A), bare(session, sequence, count))
    }

    fn wait(&mut self, duration: Duration) -> Vec<Command> {
        self.now += duration;
        self.receiver.handle_timeout(self.now).unwrap();
        self.listen()
    }
}

/// Numbers of the messages that commands deliver.
fn delivered(commands: &[Command]) -> Vec<u64> {
    let batches = commands.iter().filter_map(|command| match command {
        Command::Batch(batch) => Some(batch.first..=batch.last()),
        _ => None,
    });
    batches.flatten().collect()
}

fn without_order() -> Config {
    let (session, delivery) = (Some(OURS), Delivery::Arrival);
    Config { session, delivery, give_up: Some(Duration::from_millis(100)), ..Config::default() }
}

#[test]
fn without_order_a_session_starts_at_its_first_message_too() {
    let mut harness = Harness::new(Config { start: Start::Live, ..without_order() });
    let said = harness.line(5, 3);
    assert!(said.contains(&Command::SessionStarted { session: OURS, next: 5 }), "{said:?}");
    assert_eq!(delivered(&said), [5, 6, 7]);
}

#[test]
fn a_line_that_was_silent_unnoticed_is_not_reported_up_twice() {
    let mut harness = Harness::new(Config { session: Some(OURS), ..Config::default() });
    assert!(harness.line(1, 1).contains(&Command::LineUp(A)));
    harness.now += Duration::from_secs(10);
    let said = harness.line(2, 1);
    assert_eq!(delivered(&said), [2]);
    assert!(!said.contains(&Command::LineUp(A)), "{said:?}");
}

#[test]
fn without_order_a_halt_names_the_number_after_the_loss() {
    let mut harness = Harness::new(Config { on_loss: OnLoss::Halt, ..without_order() });
    harness.line(4, 2);
    let said = harness.wait(Duration::from_millis(100));
    let (first, last, reason) = (1, 3, LossReason::GivenUp);
    let lost = Command::Lost { session: OURS, first, last, reason };
    assert!(said.contains(&lost), "{said:?}");
    assert!(said.contains(&Command::Halted { session: OURS, next: 4 }), "{said:?}");
}

#[test]
fn without_order_a_halted_receiver_resumes_where_delivery_stopped() {
    let mut harness = Harness::new(Config { on_loss: OnLoss::Halt, ..without_order() });
    harness.line(4, 2);
    harness.wait(Duration::from_millis(100));
    assert_eq!(delivered(&harness.line(6, 4)), []);
    let checkpoint = Checkpoint { session: OURS, next: 6, used: vec![] };
    assert_eq!(harness.receiver.checkpoint(), Some(checkpoint));
    assert_eq!(delivered(&harness.handle(Event::Advance { next: 8 })), [8, 9]);
}

#[test]
fn a_heartbeat_that_a_server_bears_out_is_believed_at_once() {
    let config =
        Config { session: Some(OURS), servers: vec![(ServerId(0), SERVER)], ..Config::default() };
    let mut harness = Harness::new(Config { max_jump: 10, ..config });
    harness.line(1, 2);
    harness.bare(OURS, 101, HEARTBEAT);
    let said = harness.give(Source::Peer(SERVER), packet(OURS, 100, 1, false));
    assert!(said.contains(&Command::GapOpened { session: OURS, first: 3, last: 99 }), "{said:?}");
}

#[test]
fn a_session_is_believed_as_soon_as_the_one_before_it_ended() {
    let mut harness = Harness::new(Config { follow: true, ..Config::default() });
    harness.line(1, 2);
    harness.bare(OURS, 3, END_OF_SESSION);
    harness.wait(Duration::from_millis(25));
    harness.bare(NEXT, 1, HEARTBEAT);
    let said = harness.wait(Duration::from_millis(25));
    let ended = Command::SessionEnded { session: OURS, next: 3, reason: SessionEnd::Ended };
    assert!(said.contains(&ended), "{said:?}");
    assert!(said.contains(&Command::SessionStarted { session: NEXT, next: 1 }), "{said:?}");
    assert!(harness.receiver.poll_timeout().is_none_or(|timeout| timeout > harness.now));
}

#[test]
fn a_session_that_used_its_last_number_can_end() {
    let start = Start::At(u64::MAX - 1);
    let mut harness = Harness::new(Config { session: Some(OURS), start, ..Config::default() });
    assert_eq!(delivered(&harness.line(u64::MAX - 1, 2)), [u64::MAX - 1, u64::MAX]);
    harness.bare(OURS, u64::MAX, END_OF_SESSION);
    let said = harness.wait(Duration::from_millis(50));
    let (session, next, reason) = (OURS, u64::MAX, SessionEnd::Ended);
    assert!(said.contains(&Command::SessionEnded { session, next, reason }), "{said:?}");
}

#[test]
fn losses_past_the_last_number_that_a_counter_has_are_reported() {
    let mut harness = Harness::new(Config { follow: true, max_jump: 1, ..without_order() });
    harness.bare(OURS, u64::MAX, HEARTBEAT);
    harness.wait(Duration::from_millis(50));
    harness.bare(NEXT, u64::MAX, HEARTBEAT);
    for _ in 0..4 {
        harness.wait(Duration::from_secs(1));
    }
    assert_eq!(harness.receiver.stats().lost, u64::MAX);
}

#[test]
fn a_claim_that_was_advanced_past_is_not_asked_about() {
    let mut harness =
        Harness::new(Config { session: Some(OURS), max_jump: 10, ..Config::default() });
    harness.line(1, 2);
    harness.bare(OURS, 101, HEARTBEAT);
    harness.handle(Event::Advance { next: 200 });
    let said = harness.handle(Event::AddServer(ServerId(0), SERVER));
    assert!(!said.iter().any(|command| matches!(command, Command::Request { .. })), "{said:?}");
}

#[test]
fn what_a_packet_that_comes_apart_keeps_alive_is_charged() {
    let before = alloc::live();
    let mut harness = Harness::new(Config { session: Some(OURS), ..Config::default() });
    harness.line(3, 1);
    harness.line(20, 1);
    drop(harness.line(2, 17));
    let allocated = usize::try_from(alloc::live() - before).unwrap();
    let used = harness.receiver.memory_used();
    assert!(allocated <= used, "{allocated} bytes are allocated and {used} reported");
}

#[test]
fn part_of_a_packet_is_put_off_where_there_is_room_for_neither_a_copy_nor_the_whole() {
    let (session, servers) = (Some(OURS), vec![(ServerId(0), SERVER)]);
    let config = Config { session, servers, max_held_bytes: 131_072, ..Config::default() };
    let mut harness = Harness::new(config);
    // Held by reference, until a block is no longer affordable.
    for number in 1..30 {
        harness.give(Source::Line(A), packet(OURS, 2 + number * 3, 1, true));
    }
    harness.give(Source::Line(A), packet(OURS, 4, 2, true));
    assert!(harness.receiver.memory_used() <= Receiver::memory_limit(harness.receiver.config()));
    assert_eq!(harness.receiver.stats().delivered, 0);
}

#[test]
fn a_call_returns_nothing_at_once_before_what_it_made_believed() {
    let config =
        Config { session: Some(OURS), servers: vec![(ServerId(0), SERVER)], ..Config::default() };
    let mut harness = Harness::new(Config { max_jump: 4, ..config });
    harness.line(1, 2);
    // A claim is held; an answer fills what lies before it, another bears it out and goes beyond.
    harness.line(9, 4);
    assert_eq!(delivered(&harness.give(Source::Peer(SERVER), packet(OURS, 3, 6, false))).len(), 6);
    let answer = packet(OURS, 9, 6, false);
    let at_once = harness.receiver.receive(harness.now, Source::Peer(SERVER), &answer);
    assert!(at_once.is_none(), "{at_once:?}");
    assert_eq!(delivered(&harness.listen()), [9, 10, 11, 12, 13, 14]);
}

#[test]
fn messages_of_an_unknown_sender_beyond_those_requested_take_no_room() {
    let accept_answers = AcceptAnswers::Any;
    let config = Config { session: Some(OURS), accept_answers, ..Config::default() };
    let servers = vec![(ServerId(0), SERVER)];
    let mut harness = Harness::new(Config { servers, max_held_bytes: 131_072, ..config });
    // Held by reference, until a block is no longer affordable.
    for number in 2..34 {
        harness.give(Source::Line(A), packet(OURS, number * 2, 1, true));
    }
    harness.wait(Duration::from_millis(10));
    let stranger = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9_999);
    harness.give(Source::Peer(stranger), packet(OURS, 5, 12, true));
    assert!(harness.receiver.memory_used() <= Receiver::memory_limit(harness.receiver.config()));
}

#[test]
fn an_end_is_not_believed_before_what_was_delivered_meanwhile() {
    let mut harness = Harness::new(Config { max_jump: 10, ..without_order() });
    harness.line(1, 2);
    harness.bare(OURS, 3, END_OF_SESSION);
    harness.line(101, 1);
    assert_eq!(delivered(&harness.wait(Duration::from_millis(50))), [101]);
    assert_eq!(delivered(&harness.line(101, 1)), []);
    assert_eq!(delivered(&harness.line(3, 98)), (3..101).collect::<Vec<_>>());
}
