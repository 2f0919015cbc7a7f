//! Interfaces that go away and come back under drivers that run, in a network of the test's own.

use std::process::Command;
use std::time::{Duration, Instant};

use gapless_core::receiver::{self, Batch, LineId};
use gapless_core::{Session, publisher};
use gapless_mio::{
    Error, InterfaceEvent, PublisherConfig, PublisherDriver, ReceiverConfig, ReceiverDriver, Sink,
};
use gapless_tests::in_namespace;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
const SHORT: Option<Duration> = Some(Duration::from_millis(5));

struct Nowhere;

impl Sink for Nowhere {
    fn batch(&mut self, _now: gapless_core::Instant, _batch: Batch<&[u8]>) {}

    fn notice(&mut self, _now: gapless_core::Instant, _notice: receiver::Command) {}
}

/// Runs a command in the namespace.
fn run(command: &str) {
    let status = Command::new("sh").args(["-ec", command]).status().unwrap();
    assert!(status.success(), "{command}");
}

/// An interface called `left`, with addresses.
fn make_interface() {
    run("ip link add left type veth peer name right; ip link set left up; ip link set right up
         ip addr add 10.9.9.1/24 dev left; ip -6 addr add fd00::1/64 dev left nodad");
}

/// Every kind of group, on `left`.
const LINES: [&str; 6] = [
    "239.1.1.1:5000@left",
    "239.1.1.2:5000@10.9.9.1",
    "10.9.9.1/232.1.1.1:5001@left",
    "[ff15::11]:5000@left",
    "[ff15::12]:5000@fd00::1",
    "fd00::1/[ff3e::11]:5001@left",
];

/// A publisher and a receiver of the same lines.
struct Both {
    publisher: PublisherDriver,
    receiver: ReceiverDriver,
    /// Changes of interfaces: of those that are sent on, and to those that are received on.
    sent_on: Vec<(usize, InterfaceEvent)>,
    received_on: Vec<(LineId, InterfaceEvent)>,
}

impl Both {
    fn new(lines: &[&str], share_sockets: bool) -> Self {
        let lines: Vec<_> = lines.iter().map(|line| line.parse().unwrap()).collect();
        let session = Session::from_name(b"TEST").unwrap();
        let publisher = PublisherDriver::new(PublisherConfig {
            lines: lines.clone(),
            ..PublisherConfig::new(publisher::Config::new(session))
        });
        let config = ReceiverConfig { lines, share_sockets, ..ReceiverConfig::default() };
        Self {
            publisher: publisher.unwrap(),
            receiver: ReceiverDriver::new(config).unwrap(),
            sent_on: Vec::new(),
            received_on: Vec::new(),
        }
    }

    fn turn(&mut self) {
        self.publisher.turn(Some(Duration::ZERO)).unwrap();
        self.receiver.turn(SHORT, &mut Nowhere).unwrap();
        self.sent_on.extend(std::iter::from_fn(|| self.publisher.next_interface_event()));
        self.received_on.extend(std::iter::from_fn(|| self.receiver.next_interface_event()));
    }

    fn packets(&mut self) -> Vec<u64> {
        self.receiver.lines().iter().map(|line| line.stats.packets).collect()
    }

    /// Publishes until every line brought something that was not there before.
    fn assert_all_lines_carry(&mut self) {
        let before = self.packets();
        let deadline = Instant::now() + PATIENCE;
        while self.packets().iter().zip(&before).any(|(now, before)| now == before) {
            assert!(Instant::now() < deadline, "{:?} after {before:?}", self.packets());
            self.publisher.publish(b"message").unwrap();
            self.publisher.flush().unwrap();
            self.turn();
        }
    }

    /// Turns until both sides saw this of all lines, and nothing else.
    fn wait_for(&mut self, event: InterfaceEvent) {
        let lines = self.packets().len();
        let deadline = Instant::now() + PATIENCE;
        while self.sent_on.len() < lines || self.received_on.len() < lines {
            assert!(Instant::now() < deadline, "{:?}, {:?}", self.sent_on, self.received_on);
            self.turn();
        }
        let sent_on: Vec<_> = (0..lines).map(|line| (line, event)).collect();
        let received_on: Vec<_> = (0..).map(LineId).zip(vec![event; lines]).collect();
        self.sent_on.sort_by_key(|(line, _)| *line);
        self.received_on.sort_by_key(|(line, _)| *line);
        assert_eq!((&self.sent_on, &self.received_on), (&sent_on, &received_on));
        self.sent_on.clear();
        self.received_on.clear();
    }

    /// Turns for longer than it takes to look at interfaces.
    fn assert_nothing_happens(&mut self) {
        let until = Instant::now() + Duration::from_millis(2500);
        while Instant::now() < until {
            self.turn();
        }
        assert!(self.sent_on.is_empty(), "{:?}", self.sent_on);
        assert!(self.received_on.is_empty(), "{:?}", self.received_on);
    }
}

#[test]
fn groups_are_joined_again_on_an_interface_that_comes_back() {
    in_namespace!();
    make_interface();
    let mut both = Both::new(&LINES, false);
    both.assert_all_lines_carry();
    for _ in 0..2 {
        run("ip link del left");
        both.wait_for(InterfaceEvent::Gone);
        make_interface();
        both.wait_for(InterfaceEvent::Back);
        both.assert_all_lines_carry();
        let dropped: u64 = both.publisher.lines().iter().map(|line| line.stats.dropped()).sum();
        both.assert_all_lines_carry();
        let lines = both.publisher.lines();
        assert_eq!(lines.iter().map(|line| line.stats.dropped()).sum::<u64>(), dropped);
    }
}

#[test]
fn groups_of_a_shared_socket_are_joined_again_on_an_interface_that_comes_back() {
    in_namespace!();
    make_interface();
    run("ip link add other type veth peer name another; ip link set other up; ip link set another up
         ip addr add 10.8.8.1/24 dev other; ip -6 addr add fd01::1/64 dev other nodad");
    let stay = ["239.1.1.1:5000@other", "[ff15::11]:5000@other"];
    let mut both = Both::new(&[&LINES[..], &stay[..]].concat(), true);
    both.assert_all_lines_carry();
    run("ip link del left");
    let deadline = Instant::now() + PATIENCE;
    while both.received_on.len() < LINES.len() {
        assert!(Instant::now() < deadline, "{:?}", both.received_on);
        both.turn();
    }
    assert!(both.received_on.iter().all(|(line, _)| usize::from(line.0) < LINES.len()));
    make_interface();
    both.assert_all_lines_carry();
    let lines = both.receiver.lines();
    assert!(lines.iter().all(|line| line.read.stray == 0), "{lines:?}");
}

#[test]
fn an_interface_that_was_replaced_between_two_looks_is_noticed() {
    in_namespace!();
    make_interface();
    let mut both = Both::new(&LINES, false);
    both.assert_all_lines_carry();
    run("ip link del left");
    make_interface();
    both.wait_for(InterfaceEvent::Back);
    both.assert_all_lines_carry();
}

#[test]
fn an_interface_that_goes_down_and_up_keeps_its_groups() {
    in_namespace!();
    make_interface();
    let mut both = Both::new(&LINES, false);
    both.assert_all_lines_carry();
    run("ip link set left down");
    both.assert_nothing_happens();
    // An interface that is down has lost its IPv6 addresses.
    run("ip link set left up; ip -6 addr replace fd00::1/64 dev left nodad");
    both.assert_all_lines_carry();
    assert!(both.received_on.is_empty(), "{:?}", both.received_on);
}

#[test]
fn an_interface_that_is_renamed_keeps_its_groups() {
    in_namespace!();
    make_interface();
    let mut both = Both::new(&LINES, false);
    both.assert_all_lines_carry();
    run("ip link set left down; ip link set left name feed0; ip link set feed0 up
         ip -6 addr replace fd00::1/64 dev feed0 nodad");
    both.assert_nothing_happens();
    both.assert_all_lines_carry();
}

#[test]
fn a_unicast_line_goes_on_when_its_address_comes_back() {
    in_namespace!();
    make_interface();
    let mut both = Both::new(&["10.9.9.1:5000", "[fd00::1]:5000"], false);
    both.assert_all_lines_carry();
    run("ip link del left");
    both.assert_nothing_happens();
    make_interface();
    both.assert_all_lines_carry();
}

#[test]
fn an_interface_that_is_not_there_at_the_start_is_an_error() {
    in_namespace!();
    for line in ["239.1.1.1:5000@left", "[ff15::11]:5000@left", "239.1.1.1:5000@77"] {
        let lines = vec![line.parse().unwrap()];
        let error =
            ReceiverDriver::new(ReceiverConfig { lines, ..ReceiverConfig::default() }).unwrap_err();
        assert!(matches!(error, Error::Line { action: "find the interface of", .. }), "{error}");
    }
}

#[test]
fn one_group_in_several_spellings_is_one_line() {
    in_namespace!();
    make_interface();
    let listed = Command::new("ip").args(["-o", "link", "show", "left"]).output().unwrap().stdout;
    let index = String::from_utf8(listed).unwrap();
    let index = index.split(':').next().unwrap();
    let lines = ["left", "10.9.9.1", index].map(|interface| format!("239.1.1.1:5000@{interface}"));
    for share_sockets in [false, true] {
        for other in &lines[1..] {
            let lines = vec![lines[0].parse().unwrap(), other.parse().unwrap()];
            let config = ReceiverConfig { lines, share_sockets, ..ReceiverConfig::default() };
            let error = ReceiverDriver::new(config).unwrap_err();
            assert!(matches!(error, Error::LineTwice { .. }), "{other}: {error}");
        }
    }
}
