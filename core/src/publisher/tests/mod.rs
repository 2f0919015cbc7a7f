//! One behaviour of the publisher each.

mod applied;
mod encoding;

use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::machine::Undrained;
use crate::retransmitter;
use crate::retransmitter::LookUpId;
use crate::transmitter;
use crate::wire::mold::{Header, MAX_DATAGRAM, PacketWriter, Request};

const NOW: Instant = Instant::from_millis(7);

fn feed() -> Session {
    Session::new(*b"FEED      ")
}

fn peer() -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, 1), 4000).into()
}

fn publisher() -> Publisher {
    Publisher::new(Config::new(feed())).unwrap()
}

fn packet(session: Session, first: u64, messages: &[&[u8]]) -> Bytes {
    let mut buffer = [0; 1472];
    let mut writer = PacketWriter::new(&mut buffer, session, first).unwrap();
    assert!(messages.iter().all(|message| writer.push(message)));
    let len = writer.as_bytes().len();
    Bytes::copy_from_slice(&buffer[..len])
}

fn control(first: u64, count: u16) -> Bytes {
    Bytes::copy_from_slice(&Header { session: feed(), sequence: first, count }.to_bytes())
}

fn say(publisher: &mut Publisher, event: Event<'_>) -> Vec<Command> {
    publisher.handle(NOW, event).unwrap();
    core::iter::from_fn(|| publisher.poll_command()).collect()
}

fn ask(publisher: &mut Publisher, first: u64, count: u16) -> Vec<Command> {
    let datagram = Request { session: feed(), sequence: first, count }.to_bytes();
    say(
        publisher,
        Event::Retransmit(retransmitter::Event::Request { from: peer(), datagram: &datagram }),
    )
}

#[test]
fn what_was_sent_can_be_asked_for() {
    let mut publisher = publisher();
    assert_eq!(say(&mut publisher, Event::Transmit(transmitter::Event::Message(b"one"))), []);
    assert_eq!(say(&mut publisher, Event::Transmit(transmitter::Event::Message(b"two"))), []);
    assert_eq!(ask(&mut publisher, 1, 9), []);
    let bytes = packet(feed(), 1, &[b"one", b"two"]);
    assert_eq!(
        say(&mut publisher, Event::Transmit(transmitter::Event::Flush)),
        [Command::Send { bytes: bytes.clone() }]
    );
    assert_eq!(
        ask(&mut publisher, 1, 9),
        [Command::Retransmit(retransmitter::Command::Answer { to: peer(), bytes })]
    );
    let bytes = packet(feed(), 2, &[b"two"]);
    assert_eq!(
        ask(&mut publisher, 2, 9),
        [Command::Retransmit(retransmitter::Command::Answer { to: peer(), bytes })]
    );
    assert_eq!(publisher.retransmitter().stats().out_of_range, 1);
}

#[test]
fn heartbeats_and_ends_are_sent_and_requests_served_meanwhile() {
    let mut publisher = publisher();
    say(&mut publisher, Event::Transmit(transmitter::Event::Message(b"one")));
    say(&mut publisher, Event::Transmit(transmitter::Event::Flush));
    let heartbeat = NOW + Duration::from_secs(1);
    assert_eq!(publisher.poll_timeout(), Some(heartbeat));
    publisher.handle_timeout(heartbeat).unwrap();
    assert_eq!(publisher.poll_command(), Some(Command::Send { bytes: control(2, 0) }));
    assert_eq!(publisher.poll_command(), None);
    let end = Command::Send { bytes: control(2, 0xFFFF) };
    assert_eq!(say(&mut publisher, Event::Transmit(transmitter::Event::End)), [end]);
    assert_eq!(ask(&mut publisher, 1, 1).len(), 1);
    let refused =
        publisher.handle(NOW, Event::Transmit(transmitter::Event::Message(b"late"))).unwrap_err();
    assert_eq!(refused, Error::Transmitter(transmitter::Error::Ended { next: 2 }));
    assert_eq!(publisher.stats().sent, 3);
}

#[test]
fn requests_are_served_after_the_last_end_too() {
    let mut config = Config::new(feed());
    config.transmitter.as_mut().unwrap().end_linger = Duration::ZERO;
    let mut publisher = Publisher::new(config).unwrap();
    say(&mut publisher, Event::Transmit(transmitter::Event::Message(b"one")));
    say(&mut publisher, Event::Transmit(transmitter::Event::End));
    assert!(publisher.is_finished());
    assert_eq!(ask(&mut publisher, 1, 1).len(), 1);
}

#[test]
fn captured_packets_are_sent_as_they_are_and_serve_requests() {
    let mut publisher = Publisher::new(Config::republishing()).unwrap();
    let other = Session::new(*b"OTHER     ");
    for bytes in [packet(feed(), 5, &[b"e", b"f"]), packet(other, 1, &[b"x"]), control(9, 0)] {
        let sent = say(&mut publisher, Event::Republish(bytes.clone()));
        assert_eq!(sent, [Command::Send { bytes }]);
    }
    let bytes = packet(feed(), 6, &[b"f"]);
    assert_eq!(
        ask(&mut publisher, 6, 1),
        [Command::Retransmit(retransmitter::Command::Answer { to: peer(), bytes })]
    );
    assert_eq!(publisher.retransmitter().ranges(other).collect::<Vec<_>>(), [(1, 1)]);
    assert_eq!((publisher.stats().republished, publisher.stats().republished_messages), (3, 3));
}

#[test]
fn a_captured_answer_serves_requests_without_being_sent() {
    let mut publisher = Publisher::new(Config::republishing()).unwrap();
    let bytes = packet(feed(), 5, &[b"e"]);
    assert_eq!(
        say(&mut publisher, Event::Retransmit(retransmitter::Event::Store { packet: &bytes })),
        []
    );
    assert_eq!(
        ask(&mut publisher, 5, 1),
        [Command::Retransmit(retransmitter::Command::Answer { to: peer(), bytes })]
    );
}

#[test]
fn what_is_no_packet_is_not_republished() {
    let mut publisher = Publisher::new(Config::republishing()).unwrap();
    let sent = say(&mut publisher, Event::Republish(Bytes::from_static(b"nonsense")));
    assert_eq!((sent.len(), publisher.stats().republish_malformed), (0, 1));
}

#[test]
fn what_is_larger_than_udp_carries_is_not_republished() {
    let mut publisher = Publisher::new(Config::republishing()).unwrap();
    let mut large = packet(feed(), 1, &[b"a"]).to_vec();
    large.resize(MAX_DATAGRAM + 1, 0);
    assert_eq!(say(&mut publisher, Event::Republish(large.into())), []);
    assert_eq!(publisher.stats().republish_malformed, 1);
}

#[test]
fn what_is_sent_always_finds_a_place_in_the_history() {
    let mut config = Config::new(feed());
    config.retransmitter.session = Some(Session::new(*b"OTHER     "));
    config.retransmitter.max_sessions = 1;
    let refused = Publisher::new(config.clone()).unwrap_err();
    let reason = "max_sessions is 1; it must be 2 to 255 beside a session that is not sent";
    assert_eq!(refused.to_string(), reason);
    config.retransmitter.max_sessions = 2;
    let mut publisher = Publisher::new(config).unwrap();
    say(&mut publisher, Event::Transmit(transmitter::Event::Message(b"one")));
    say(&mut publisher, Event::Transmit(transmitter::Event::Flush));
    assert_eq!(ask(&mut publisher, 1, 1).len(), 1);
}

#[test]
fn a_republished_session_without_an_end_is_ended_when_asked_to() {
    let end_linger = Duration::ZERO;
    let mut publisher = Publisher::new(Config { end_linger, ..Config::republishing() }).unwrap();
    assert_eq!(say(&mut publisher, Event::Transmit(transmitter::Event::End)), []);
    say(&mut publisher, Event::Republish(packet(feed(), 5, &[b"e", b"f"])));
    say(&mut publisher, Event::Republish(packet(feed(), 1, &[b"a"])));
    let end = Command::Send { bytes: control(7, 0xFFFF) };
    assert_eq!(say(&mut publisher, Event::Transmit(transmitter::Event::End)), [end]);
    assert!(publisher.is_finished());
    assert_eq!(publisher.poll_timeout(), None);
}

#[test]
fn a_republished_session_that_ended_by_itself_is_not_ended_again() {
    let mut publisher = Publisher::new(Config::republishing()).unwrap();
    assert_eq!(say(&mut publisher, Event::Republish(control(7, 0xFFFF))).len(), 1);
    assert_eq!(say(&mut publisher, Event::Transmit(transmitter::Event::End)), []);
    assert!(publisher.is_finished());
}

#[test]
fn a_session_that_goes_on_after_its_end_is_no_longer_said_to_have_ended() {
    let mut publisher = Publisher::new(Config::republishing()).unwrap();
    say(&mut publisher, Event::Republish(packet(feed(), 1, &[b"a"])));
    assert_eq!(
        say(&mut publisher, Event::Transmit(transmitter::Event::End)),
        [Command::Send { bytes: control(2, 0xFFFF) }]
    );
    assert_eq!(say(&mut publisher, Event::Republish(packet(feed(), 2, &[b"b"]))).len(), 1);
    assert_eq!(publisher.poll_timeout(), None);
    assert_eq!(
        say(&mut publisher, Event::Transmit(transmitter::Event::End)),
        [Command::Send { bytes: control(3, 0xFFFF) }]
    );
}

#[test]
fn the_end_of_one_session_is_repeated_while_another_is_republished() {
    let mut publisher = Publisher::new(Config::republishing()).unwrap();
    say(&mut publisher, Event::Republish(packet(feed(), 1, &[b"a"])));
    say(&mut publisher, Event::Transmit(transmitter::Event::End));
    let next = packet(Session::new(*b"NEXT      "), 1, &[b"x"]);
    say(&mut publisher, Event::Republish(next));
    let repeat = publisher.poll_timeout().unwrap();
    publisher.handle_timeout(repeat).unwrap();
    assert_eq!(publisher.poll_command(), Some(Command::Send { bytes: control(2, 0xFFFF) }));
}

#[test]
fn a_publisher_is_not_finished_while_a_further_session_goes_on() {
    let end_linger = Duration::ZERO;
    let mut publisher = Publisher::new(Config { end_linger, ..Config::republishing() }).unwrap();
    say(&mut publisher, Event::Republish(packet(feed(), 1, &[b"a"])));
    say(&mut publisher, Event::Transmit(transmitter::Event::End));
    assert!(publisher.is_finished());
    let other = Session::new(*b"NEXT      ");
    say(&mut publisher, Event::Republish(packet(other, 1, &[b"x"])));
    assert!(!publisher.is_finished());
    say(&mut publisher, Event::Transmit(transmitter::Event::End));
    assert!(publisher.is_finished());
}

#[test]
fn a_limit_beyond_all_memory_is_reported_as_such() {
    let mut config = Config::new(feed());
    config.transmitter.as_mut().unwrap().ring = usize::MAX;
    config.retransmitter.history_bytes = usize::MAX;
    assert_eq!(Publisher::memory_limit(&config), usize::MAX);
    assert!(Publisher::new(config).is_err());
}

#[test]
fn messages_need_a_session() {
    let mut publisher = Publisher::new(Config::republishing()).unwrap();
    assert_eq!(
        publisher.handle(NOW, Event::Transmit(transmitter::Event::Message(b"one"))),
        Err(Error::NoSession)
    );
    say(&mut publisher, Event::Republish(packet(feed(), 1, &[b"a"])));
    say(&mut publisher, Event::Transmit(transmitter::Event::End));
    assert_eq!(
        publisher.handle(NOW, Event::Transmit(transmitter::Event::Message(b"one"))),
        Err(Error::NoSession)
    );
}

#[test]
fn messages_before_the_first_number_are_looked_up_in_the_archive() {
    let mut config = Config::new(feed());
    config.transmitter.as_mut().unwrap().first_sequence = 100;
    config.retransmitter.archive = true;
    let mut publisher = Publisher::new(config).unwrap();
    let id = LookUpId(0);
    let asked = Command::Retransmit(retransmitter::Command::LookUp {
        id,
        session: feed(),
        first: 98,
        count: 2,
    });
    assert_eq!(ask(&mut publisher, 98, 2), [asked]);
    let bytes = packet(feed(), 98, &[b"y", b"z"]);
    let answers =
        say(&mut publisher, Event::Retransmit(retransmitter::Event::Found { id, packet: &bytes }));
    assert_eq!(
        answers,
        [Command::Retransmit(retransmitter::Command::Answer { to: peer(), bytes })]
    );
    assert_eq!(ask(&mut publisher, 100, 1), []);
    assert_eq!(publisher.retransmitter().stats().out_of_range, 1);
}

#[test]
fn an_event_before_the_drain_is_refused_and_changes_nothing() {
    let mut publisher = publisher();
    publisher.handle(NOW, Event::Transmit(transmitter::Event::Message(b"one"))).unwrap();
    let undrained = Err(Undrained.into());
    assert_eq!(
        publisher.handle(NOW + Duration::from_secs(9), Event::Transmit(transmitter::Event::Flush)),
        undrained
    );
    assert_eq!(publisher.handle_timeout(NOW + Duration::from_secs(9)), undrained);
    assert_eq!(publisher.poll_command(), None);
    assert_eq!(publisher.poll_timeout(), Some(NOW + Duration::from_millis(1)));
}
