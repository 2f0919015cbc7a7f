//! One behaviour of the transmitter each.

pub(crate) mod encoding;

use alloc::vec::Vec;

use super::*;
use crate::limits::OutOfRange;
use crate::machine::Undrained;
use crate::rate::Rate;
use crate::wire::mold;

const MS: Duration = Duration::from_millis(1);

fn session() -> Session {
    Session::new(*b"FEED      ")
}

fn config() -> Config {
    Config { mtu: 64, ring: 4, ..Config::new(session()) }
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// A packet as it was seen: kind, first number, messages.
type Seen = (Kind, u64, Vec<Vec<u8>>);

fn drain(transmitter: &mut Transmitter) -> Vec<Seen> {
    core::iter::from_fn(|| transmitter.poll_command()).map(|command| seen(&command)).collect()
}

fn seen(command: &Command) -> Seen {
    let Command::Packet { bytes, first, count, kind } = command;
    let packet = mold::Packet::new_checked(bytes).unwrap();
    let header = packet.header();
    assert_eq!((header.session, header.kind(), header.sequence), (session(), *kind, *first));
    assert_eq!((header.messages(), packet.trailing()), (*count, 0));
    (*kind, *first, packet.messages().map(|(_, message)| message.to_vec()).collect())
}

fn say(transmitter: &mut Transmitter, millis: u64, event: Event<'_>) -> Vec<Seen> {
    transmitter.handle(at(millis), event).unwrap();
    drain(transmitter)
}

fn wait(transmitter: &mut Transmitter, millis: u64) -> Vec<Seen> {
    transmitter.handle_timeout(at(millis)).unwrap();
    drain(transmitter)
}

fn data(first: u64, messages: &[&[u8]]) -> Seen {
    (Kind::Data, first, messages.iter().map(|message| message.to_vec()).collect())
}

#[test]
fn messages_that_fit_travel_together_after_the_delay() {
    let mut transmitter = Transmitter::new(config()).unwrap();
    assert!(say(&mut transmitter, 0, Event::Message(b"one")).is_empty());
    assert!(say(&mut transmitter, 0, Event::Message(b"")).is_empty());
    assert_eq!(transmitter.poll_timeout(), Some(at(1)));
    assert_eq!(wait(&mut transmitter, 1), [data(1, &[b"one", b""])]);
    assert_eq!(say(&mut transmitter, 1, Event::Message(b"three")), []);
    assert_eq!(say(&mut transmitter, 1, Event::Flush), [data(3, &[b"three"])]);
}

#[test]
fn a_message_that_no_longer_fits_sends_those_before_it() {
    let mut transmitter = Transmitter::new(config()).unwrap();
    assert_eq!(say(&mut transmitter, 0, Event::Message(&[1; 30])), []);
    assert_eq!(say(&mut transmitter, 0, Event::Message(&[2; 11])), [data(1, &[&[1; 30]])]);
    assert_eq!(say(&mut transmitter, 0, Event::Flush), [data(2, &[&[2; 11]])]);
}

#[test]
fn a_packet_that_is_full_to_the_byte_leaves_at_once() {
    let mut transmitter = Transmitter::new(config()).unwrap();
    assert_eq!(say(&mut transmitter, 0, Event::Message(&[1; 42])), [data(1, &[&[1; 42]])]);
}

#[test]
fn without_a_delay_each_message_travels_at_once() {
    let config = Config { flush_delay: Duration::ZERO, ..config() };
    let mut transmitter = Transmitter::new(config).unwrap();
    assert_eq!(say(&mut transmitter, 0, Event::Message(b"one")), [data(1, &[b"one"])]);
    assert_eq!(say(&mut transmitter, 0, Event::Message(b"two")), [data(2, &[b"two"])]);
}

#[test]
fn a_message_too_large_is_refused_with_its_size_and_the_limit() {
    let mut transmitter = Transmitter::new(config()).unwrap();
    let refused = transmitter.handle(at(0), Event::Message(&[0; 43]));
    assert_eq!(refused, Err(Error::TooLarge { len: 43, max: 42 }));
    assert_eq!(say(&mut transmitter, 0, Event::Message(&[0; 42])).len(), 1);
}

#[test]
fn the_largest_packet_takes_empty_messages_and_never_says_end() {
    let config = Config { mtu: mold::MAX_DATAGRAM, ..config() };
    let mut transmitter = Transmitter::new(config).unwrap();
    let mut packets = Vec::new();
    for _ in 0..100_000 {
        packets.extend(say(&mut transmitter, 0, Event::Message(b"")));
    }
    let counts: Vec<usize> = packets.iter().map(|(_, _, messages)| messages.len()).collect();
    assert_eq!(counts, [32_743; 3]);
}

#[test]
fn the_last_number_is_used_and_then_numbers_are_used_up() {
    let config = Config { first_sequence: u64::MAX, ..config() };
    let mut transmitter = Transmitter::new(config).unwrap();
    assert_eq!(say(&mut transmitter, 0, Event::Message(b"last")), []);
    assert_eq!(transmitter.next_sequence(), None);
    assert_eq!(transmitter.handle(at(0), Event::Message(b"more")), Err(Error::UsedUp));
    assert_eq!(say(&mut transmitter, 0, Event::Flush), [data(u64::MAX, &[b"last"])]);
    assert_eq!(wait(&mut transmitter, 1000), [(Kind::Heartbeat, u64::MAX, Vec::new())]);
}

#[test]
fn a_heartbeat_is_due_an_interval_after_the_last_packet_of_any_kind() {
    let mut transmitter = Transmitter::new(config()).unwrap();
    assert_eq!(wait(&mut transmitter, 0), []);
    assert_eq!(transmitter.poll_timeout(), Some(at(1000)));
    assert_eq!(say(&mut transmitter, 400, Event::Message(b"one")), []);
    assert_eq!(say(&mut transmitter, 500, Event::Flush).len(), 1);
    assert_eq!(wait(&mut transmitter, 1499), []);
    assert_eq!(wait(&mut transmitter, 1500), [(Kind::Heartbeat, 2, Vec::new())]);
    assert_eq!(transmitter.poll_timeout(), Some(at(2500)));
}

#[test]
fn a_heartbeat_does_not_speak_of_messages_that_still_wait() {
    let config = Config { flush_delay: 5000 * MS, ..config() };
    let mut transmitter = Transmitter::new(config).unwrap();
    assert_eq!(say(&mut transmitter, 0, Event::Message(b"waits")), []);
    assert_eq!(wait(&mut transmitter, 1000), [(Kind::Heartbeat, 1, Vec::new())]);
}

#[test]
fn the_end_follows_the_last_message_and_is_repeated_for_a_while() {
    let config = Config { end_interval: 160 * MS, end_linger: 500 * MS, ..config() };
    let mut transmitter = Transmitter::new(config).unwrap();
    assert_eq!(say(&mut transmitter, 0, Event::Message(b"one")), []);
    let end: Seen = (Kind::EndOfSession, 2, Vec::new());
    assert_eq!(say(&mut transmitter, 0, Event::End), [data(1, &[b"one"]), end.clone()]);
    let mut times = Vec::new();
    while let Some(next) = transmitter.poll_timeout() {
        transmitter.handle_timeout(next).unwrap();
        assert_eq!(drain(&mut transmitter), core::slice::from_ref(&end));
        times.push(next.as_nanos() / 1_000_000);
    }
    assert_eq!(times, [10, 30, 70, 150, 310, 470]);
    assert!(transmitter.is_finished());
}

#[test]
fn without_lingering_there_is_one_end() {
    let config = Config { end_linger: Duration::ZERO, ..config() };
    let mut transmitter = Transmitter::new(config).unwrap();
    assert_eq!(say(&mut transmitter, 0, Event::End), [(Kind::EndOfSession, 1, Vec::new())]);
    assert!(transmitter.is_finished());
    assert_eq!(transmitter.poll_timeout(), None);
    assert_eq!(say(&mut transmitter, 9, Event::End), []);
}

#[test]
fn a_message_after_the_end_is_refused() {
    let mut transmitter = Transmitter::new(config()).unwrap();
    say(&mut transmitter, 0, Event::End);
    let refused = transmitter.handle(at(0), Event::Message(b"late"));
    assert_eq!(refused, Err(Error::Ended { next: 1 }));
}

#[test]
fn packets_held_outside_fill_the_ring_until_they_are_dropped() {
    let mut transmitter = Transmitter::new(Config { ring: 2, ..config() }).unwrap();
    let mut held = Vec::new();
    for _ in 0..2 {
        transmitter.handle(at(0), Event::Message(&[7; 42])).unwrap();
        held.extend(core::iter::from_fn(|| transmitter.poll_command()));
    }
    assert!(transmitter.lent() >= 128);
    let refused = transmitter.handle(at(5), Event::Message(b"more"));
    assert_eq!(refused, Err(Error::Full { ring: 2, waiting: 0 }));
    held.remove(0);
    assert_eq!(say(&mut transmitter, 0, Event::Message(&[8; 42])), [data(3, &[&[8; 42]])]);
    assert_eq!(seen(&held[0]), data(2, &[&[7; 42]]));
}

#[test]
fn the_pace_holds_packets_back_and_a_full_backlog_refuses() {
    let pace = Some(Rate { bytes_per_second: 64_000, burst: 0 });
    let mut transmitter = Transmitter::new(Config { pace, ring: 2, ..config() }).unwrap();
    let full: &[u8] = &[7; 42];
    assert_eq!(say(&mut transmitter, 5, Event::Message(full)), [data(1, &[full])]);
    assert_eq!(say(&mut transmitter, 5, Event::Message(full)), []);
    assert_eq!(say(&mut transmitter, 5, Event::Message(full)), []);
    let refused = transmitter.handle(at(5), Event::Message(full));
    assert_eq!(refused, Err(Error::Full { ring: 2, waiting: 2 }));
    assert_eq!(transmitter.poll_timeout(), Some(at(6)));
    assert_eq!(wait(&mut transmitter, 6), [data(2, &[full])]);
    assert_eq!(say(&mut transmitter, 6, Event::End), []);
    assert_eq!(wait(&mut transmitter, 7), [data(3, &[full]), (Kind::EndOfSession, 4, Vec::new())]);
}

#[test]
fn an_event_before_the_drain_is_refused_and_changes_nothing() {
    let mut transmitter = Transmitter::new(config()).unwrap();
    transmitter.handle(at(0), Event::Message(b"one")).unwrap();
    assert_eq!(transmitter.handle(at(9), Event::Flush), Err(Undrained.into()));
    assert_eq!(transmitter.handle_timeout(at(9)), Err(Undrained.into()));
    assert_eq!(drain(&mut transmitter), []);
    assert_eq!(wait(&mut transmitter, 1), [data(1, &[b"one"])]);
}

#[test]
fn a_refused_message_does_not_let_time_pass() {
    let mut transmitter = Transmitter::new(config()).unwrap();
    say(&mut transmitter, 0, Event::Message(b"one"));
    assert!(transmitter.handle(at(9), Event::Message(&[0; 99])).is_err());
    assert_eq!(drain(&mut transmitter), []);
    assert_eq!(transmitter.poll_timeout(), Some(at(1)));
}

#[test]
fn time_never_goes_back() {
    let mut transmitter = Transmitter::new(config()).unwrap();
    wait(&mut transmitter, 5000);
    assert_eq!(say(&mut transmitter, 10, Event::Message(b"one")), []);
    assert_eq!(transmitter.poll_timeout(), Some(at(5001)));
}

#[test]
fn at_the_end_of_time_nothing_spins() {
    let mut transmitter = Transmitter::new(config()).unwrap();
    transmitter.handle(Instant::MAX, Event::Message(b"one")).unwrap();
    assert_eq!(drain(&mut transmitter), []);
    assert_eq!(transmitter.poll_timeout(), None);
    transmitter.handle(Instant::MAX, Event::End).unwrap();
    assert_eq!(drain(&mut transmitter).len(), 2);
    assert!(transmitter.is_finished());
}

#[test]
fn a_configuration_out_of_range_is_refused_by_name() {
    let refused = Transmitter::new(Config { mtu: 65_508, ..config() }).unwrap_err();
    let range = "64 to 65,507";
    assert_eq!(refused, Error::Config(OutOfRange { field: "mtu", value: 65_508, range }));
    assert!(Transmitter::new(Config { first_sequence: 0, ..config() }).is_err());
    assert!(Transmitter::new(Config { heartbeat_interval: Duration::ZERO, ..config() }).is_err());
}
