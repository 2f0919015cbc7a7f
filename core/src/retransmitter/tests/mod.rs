//! One behaviour of the retransmitter each.

mod applied;
pub(crate) mod encoding;

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use bytes::Bytes;

use super::*;
use crate::Duration;
use crate::limits::OutOfRange;
use crate::machine::Undrained;
use crate::rate::Rate;
use crate::wire::mold::{Header, MAX_MESSAGE, PacketWriter};

const NOW: Instant = Instant::from_millis(1);

fn session(name: &str) -> Session {
    Session::from_name(name.as_bytes()).unwrap()
}

fn feed() -> Session {
    session("FEED")
}

fn peer(last: u8) -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, last), 4000).into()
}

fn config() -> Config {
    Config { mtu: 64, history_bytes: history::LEAST_BYTES, ..Config::default() }
}

fn packet(session: Session, first: u64, messages: &[&[u8]]) -> Vec<u8> {
    let mut buffer = [0; 70_000];
    let mut writer = PacketWriter::new(&mut buffer, session, first).unwrap();
    assert!(messages.iter().all(|message| writer.push(message)));
    let len = writer.as_bytes().len();
    buffer[..len].to_vec()
}

fn drain(retransmitter: &mut Retransmitter) -> Vec<Command> {
    core::iter::from_fn(|| retransmitter.poll_command()).collect()
}

fn say(retransmitter: &mut Retransmitter, event: Event<'_>) -> Vec<Command> {
    retransmitter.handle(NOW, event).unwrap();
    drain(retransmitter)
}

fn store(retransmitter: &mut Retransmitter, session: Session, first: u64, messages: &[&[u8]]) {
    let packet = packet(session, first, messages);
    assert_eq!(say(retransmitter, Event::Store { packet: &packet }), []);
}

fn ask(
    retransmitter: &mut Retransmitter,
    from: SocketAddr,
    first: u64,
    count: u16,
) -> Vec<Command> {
    let request = Request { session: feed(), sequence: first, count };
    say(retransmitter, Event::Request { from, datagram: &request.to_bytes() })
}

fn answer(to: SocketAddr, first: u64, messages: &[&[u8]]) -> Command {
    Command::Answer { to, bytes: Bytes::from(packet(feed(), first, messages)) }
}

fn ranges(retransmitter: &Retransmitter) -> Vec<(u64, u64)> {
    retransmitter.ranges(feed()).collect()
}

/// With `a`, `bb` and `ccc` as messages 1 to 3.
fn three() -> Retransmitter {
    let mut retransmitter = Retransmitter::new(config()).unwrap();
    store(&mut retransmitter, feed(), 1, &[b"a", b"bb", b"ccc"]);
    retransmitter
}

#[test]
fn a_request_is_answered_from_the_wanted_number_on() {
    let mut retransmitter = three();
    assert_eq!(ask(&mut retransmitter, peer(1), 2, 1), [answer(peer(1), 2, &[b"bb"])]);
    assert_eq!(ask(&mut retransmitter, peer(2), 2, 9), [answer(peer(2), 2, &[b"bb", b"ccc"])]);
    let stats = retransmitter.stats();
    assert_eq!((stats.requests, stats.answered, stats.answered_messages), (2, 2, 3));
}

#[test]
fn a_request_for_65535_messages_is_served() {
    let mut retransmitter = three();
    let all = answer(peer(1), 1, &[b"a", b"bb", b"ccc"]);
    assert_eq!(ask(&mut retransmitter, peer(1), 1, u16::MAX), [all]);
}

#[test]
fn an_answer_holds_as_many_whole_messages_as_fit() {
    let mut retransmitter = Retransmitter::new(config()).unwrap();
    store(&mut retransmitter, feed(), 1, &[&[1; 20], &[2; 20]]);
    store(&mut retransmitter, feed(), 3, &[&[3; 20]]);
    let two = answer(peer(1), 1, &[&[1; 20], &[2; 20]]);
    assert_eq!(ask(&mut retransmitter, peer(1), 1, 3), [two]);
    let two = answer(peer(1), 2, &[&[2; 20], &[3; 20]]);
    assert_eq!(ask(&mut retransmitter, peer(1), 2, 3), [two]);
}

#[test]
fn a_first_message_larger_than_an_answer_is_sent_alone() {
    let mut retransmitter = Retransmitter::new(config()).unwrap();
    store(&mut retransmitter, feed(), 1, &[b"a", &[2; 1000], b"ccc"]);
    assert_eq!(ask(&mut retransmitter, peer(1), 1, 3), [answer(peer(1), 1, &[b"a"])]);
    assert_eq!(ask(&mut retransmitter, peer(1), 2, 2), [answer(peer(1), 2, &[&[2; 1000]])]);
    store(&mut retransmitter, feed(), 4, &[&[4; MAX_MESSAGE]]);
    let alone = answer(peer(1), 4, &[&[4; MAX_MESSAGE]]);
    assert_eq!(ask(&mut retransmitter, peer(1), 4, 1), [alone]);
    assert_eq!(retransmitter.stats().answers_allocated, 2);
}

#[test]
fn what_cannot_be_answered_is_dropped_and_counted_by_reason() {
    let mut retransmitter = three();
    let good = Request { session: feed(), sequence: 1, count: 1 };
    let from = peer(1);
    let mut longer = good.to_bytes().to_vec();
    longer.push(0);
    let dropped = [
        longer,
        good.to_bytes()[..19].to_vec(),
        Request { sequence: 0, ..good }.to_bytes().to_vec(),
        Request { count: 0, ..good }.to_bytes().to_vec(),
        Request { session: session("OTHER"), ..good }.to_bytes().to_vec(),
        Request { sequence: 4, ..good }.to_bytes().to_vec(),
    ];
    for datagram in &dropped {
        assert_eq!(say(&mut retransmitter, Event::Request { from, datagram }), []);
    }
    let expected = Stats {
        requests: 6,
        malformed: 2,
        sequence_zero: 1,
        count_zero: 1,
        other_session: 1,
        out_of_range: 1,
        stored_messages: 3,
        ..Stats::default()
    };
    assert_eq!(*retransmitter.stats(), expected);
}

#[test]
fn packets_in_any_order_that_overlap_are_stored_once() {
    let mut retransmitter = Retransmitter::new(config()).unwrap();
    store(&mut retransmitter, feed(), 7, &[b"7", b"8"]);
    store(&mut retransmitter, feed(), 1, &[b"1", b"2"]);
    store(&mut retransmitter, feed(), 4, &[b"4"]);
    assert_eq!(ranges(&retransmitter), [(1, 2), (4, 4), (7, 8)]);
    let other = [b"x", b"x", b"3", b"x", b"5", b"6", b"x", b"x", b"9"].map(|one| &one[..]);
    store(&mut retransmitter, feed(), 1, &other);
    assert_eq!(ranges(&retransmitter), [(1, 9)]);
    let all = [b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9"].map(|one| &one[..]);
    assert_eq!(ask(&mut retransmitter, peer(1), 1, 9), [answer(peer(1), 1, &all)]);
    let stats = retransmitter.stats();
    assert_eq!((stats.stored_messages, stats.stored_again), (9, 5));
}

#[test]
fn the_last_number_is_stored_and_served() {
    let mut retransmitter = Retransmitter::new(config()).unwrap();
    store(&mut retransmitter, feed(), u64::MAX - 1, &[b"y", b"z"]);
    let last = [answer(peer(1), u64::MAX, &[b"z"])];
    assert_eq!(ask(&mut retransmitter, peer(1), u64::MAX, 1), last);
    assert_eq!(ask(&mut retransmitter, peer(1), u64::MAX, 2), []);
    assert_eq!(retransmitter.stats().out_of_range, 1);
    assert_eq!(ranges(&retransmitter), [(u64::MAX - 1, u64::MAX)]);
}

#[test]
fn the_oldest_leave_a_full_history_and_are_declined() {
    let mut retransmitter = Retransmitter::new(config()).unwrap();
    for first in 1..=300 {
        store(&mut retransmitter, feed(), first, &[&[0; 1000]]);
    }
    let held = ranges(&retransmitter);
    let [(first, 300)] = held[..] else { panic!("{held:?}") };
    assert!((100..=200).contains(&first), "{first}");
    assert_eq!(ask(&mut retransmitter, peer(1), first - 1, 1), []);
    assert_eq!(ask(&mut retransmitter, peer(1), first, 1).len(), 1);
    assert_eq!(retransmitter.stats().declined, 1);
    assert_eq!(retransmitter.stats().evicted_messages, first - 1);
}

#[test]
fn a_million_messages_of_forty_bytes_fit_the_default_history() {
    let mut retransmitter = Retransmitter::new(Config::default()).unwrap();
    let messages = [&[7; 40][..]; 34];
    for first in (1..1_000_000).step_by(34) {
        store(&mut retransmitter, feed(), first, &messages);
    }
    assert_eq!(retransmitter.stats().evicted_messages, 0);
    assert!(ranges(&retransmitter)[0].1 >= 1_000_000);
    assert_eq!(ask(&mut retransmitter, peer(1), 1, 34), [answer(peer(1), 1, &messages)]);
    assert!(retransmitter.memory_used() < 65 << 20);
}

#[test]
fn more_stray_pieces_than_the_index_has_room_for_push_the_oldest_out() {
    let mut retransmitter = Retransmitter::new(config()).unwrap();
    for first in (1..=2000).rev() {
        store(&mut retransmitter, feed(), first * 2, &[b"x"]);
    }
    let held = ranges(&retransmitter);
    assert!((1..=256).contains(&held.len()), "{}", held.len());
    assert_eq!(held[0], (2, 2));
}

#[test]
fn sessions_have_their_own_numbers_and_the_least_lately_stored_goes() {
    let config = Config { max_sessions: 2, session: Some(feed()), ..config() };
    let mut retransmitter = Retransmitter::new(config).unwrap();
    store(&mut retransmitter, feed(), 1, &[b"a"]);
    store(&mut retransmitter, session("B"), 1, &[b"b"]);
    store(&mut retransmitter, feed(), 2, &[b"c"]);
    store(&mut retransmitter, session("D"), 1, &[b"d"]);
    store(&mut retransmitter, feed(), 3, &[b"e"]);
    assert_eq!(retransmitter.ranges(session("B")).count(), 0);
    assert_eq!(retransmitter.ranges(session("D")).count(), 1);
    let all = answer(peer(1), 1, &[b"a", b"c", b"e"]);
    assert_eq!(ask(&mut retransmitter, peer(1), 1, 9), [all]);
    assert_eq!(retransmitter.stats().evicted_sessions, 1);
}

/// Stores `count` messages of 40 bytes, one a packet, of each of so many sessions in turn; returns
/// how many are held of each.
fn store_in_turn(retransmitter: &mut Retransmitter, sessions: u8, count: u64) -> Vec<u64> {
    let packet = packet(feed(), 1, &[&[7; 40]]);
    let session = |number: u8| Session::new([b'A', number, b' ', b' ', 0, 0, 0, 0, 0, 0]);
    for first in 1..=count {
        for number in 0..sessions {
            let mut packet = packet.clone();
            packet[..10].copy_from_slice(session(number).as_bytes());
            packet[10..18].copy_from_slice(&first.to_be_bytes());
            say(retransmitter, Event::Store { packet: &packet });
        }
    }
    let held = |number| {
        let ranges: Vec<_> = retransmitter.ranges(session(number)).collect();
        let [(first, last)] = ranges[..] else { panic!("{ranges:?}") };
        assert_eq!(last, count);
        last - first + 1
    };
    (0..sessions).map(held).collect()
}

#[test]
fn sessions_stored_in_turn_keep_as_many_messages_as_one() {
    let with = |max_sessions| Config { history_bytes: 4 << 20, max_sessions, ..config() };
    let [alone] = store_in_turn(&mut Retransmitter::new(with(4)).unwrap(), 1, 120_000)[..] else {
        panic!()
    };
    for (max_sessions, sessions) in [(4, 2), (4, 4), (255, 100)] {
        let mut retransmitter = Retransmitter::new(with(max_sessions)).unwrap();
        let all = store_in_turn(&mut retransmitter, sessions, 120_000 / u64::from(sessions));
        let (sum, least) = (all.iter().sum::<u64>(), all.iter().min().unwrap());
        assert!(sum >= alone * 7 / 8, "{sum} of {alone} by {sessions} sessions");
        let share = alone / u64::from(sessions);
        assert!(*least >= share * 3 / 4, "{least} of {share} for one of {sessions}");
    }
}

#[test]
fn sessions_stored_in_turn_take_no_more_of_the_index_than_one() {
    let config = Config { history_bytes: 4 << 20, ..config() };
    let entries = |sessions| {
        let mut retransmitter = Retransmitter::new(config.clone()).unwrap();
        store_in_turn(&mut retransmitter, sessions, 40_000 / u64::from(sessions));
        retransmitter.history.entries()
    };
    assert!(entries(4) <= entries(1) + 8, "{} and {}", entries(4), entries(1));
}

#[test]
fn a_message_stored_just_now_outlives_older_ones_of_a_busier_session() {
    let mut retransmitter = Retransmitter::new(config()).unwrap();
    for first in 1..=600 {
        store(&mut retransmitter, session("BUSY"), first, &[&[0; 1000]]);
        if first % 50 == 0 {
            store(&mut retransmitter, feed(), first / 50, &[b"rare"]);
            let held: Vec<_> = retransmitter.ranges(session("BUSY")).collect();
            let rare = ranges(&retransmitter);
            // Half of the busy session's messages are older than the oldest rare one, or more.
            let middle = (first + held[0].0) / 2;
            assert!(rare[0].0 <= middle.div_ceil(50), "{rare:?} beside {held:?}");
        }
    }
    assert!(retransmitter.stats().evicted_messages > 300);
}

#[test]
fn what_lies_behind_a_forgotten_session_is_not_taken_for_its_neighbour() {
    let config = Config { max_sessions: 2, ..config() };
    let mut retransmitter = Retransmitter::new(config).unwrap();
    store(&mut retransmitter, session("B"), 1, &[b"b"]);
    store(&mut retransmitter, feed(), 1, &[b"a"]);
    store(&mut retransmitter, session("B"), 2, &[b"stays in the block"]);
    store(&mut retransmitter, feed(), 2, &[b"c"]);
    store(&mut retransmitter, session("D"), 1, &[b"takes the place of B"]);
    store(&mut retransmitter, feed(), 3, &[b"e"]);
    let all = answer(peer(1), 1, &[b"a", b"c", b"e"]);
    assert_eq!(ask(&mut retransmitter, peer(1), 1, 9), [all]);
}

#[test]
fn one_address_over_its_rate_is_not_answered_until_it_waited() {
    let address_rate = Rate { bytes_per_second: 21_000, burst: 0 };
    let mut retransmitter = Retransmitter::new(Config { address_rate, ..config() }).unwrap();
    store(&mut retransmitter, feed(), 1, &[b""]);
    assert_eq!(ask(&mut retransmitter, peer(1), 1, 1).len(), 1);
    assert_eq!(ask(&mut retransmitter, peer(1), 1, 1).len(), 0);
    assert_eq!(ask(&mut retransmitter, peer(2), 1, 1).len(), 1);
    retransmitter.handle_timeout(NOW + Duration::from_millis(2)).unwrap();
    assert_eq!(drain(&mut retransmitter), []);
    assert_eq!(ask(&mut retransmitter, peer(1), 1, 1).len(), 1);
    assert_eq!(retransmitter.stats().over_address_rate, 1);
}

#[test]
fn many_addresses_together_are_not_answered_faster_than_all_may_be() {
    let total_rate = Rate { bytes_per_second: 1000, burst: 100 };
    let mut retransmitter = Retransmitter::new(Config { total_rate, ..config() }).unwrap();
    store(&mut retransmitter, feed(), 1, &[b""]);
    let answered: usize = (0..=255).map(|n| ask(&mut retransmitter, peer(n), 1, 1).len()).sum();
    assert_eq!(answered, 5);
    assert_eq!(retransmitter.stats().over_total_rate, 251);
}

#[test]
fn a_loopback_backfill_at_full_window_stays_under_the_default_rates() {
    let mut retransmitter = Retransmitter::new(Config::default()).unwrap();
    store(&mut retransmitter, feed(), 1, &[&[0; 1450]]);
    let request = Request { session: feed(), sequence: 1, count: 1 }.to_bytes();
    for round in 0..20_000 {
        let now = NOW + Duration::from_micros(50) * round;
        for _ in 0..16 {
            let from = (Ipv4Addr::LOCALHOST, 4000).into();
            let event = Event::Request { from, datagram: &request };
            retransmitter.handle(now, event).unwrap();
            assert_eq!(drain(&mut retransmitter).len(), 1);
        }
    }
}

#[test]
fn answers_held_outside_are_never_overwritten() {
    let mut retransmitter = Retransmitter::new(Config { ring: 2, ..config() }).unwrap();
    store(&mut retransmitter, feed(), 1, &[b"a", b"bb", b"ccc"]);
    let held: Vec<Vec<Command>> =
        (1..=3).map(|first| ask(&mut retransmitter, peer(1), first, 1)).collect();
    assert_eq!(retransmitter.stats().answers_allocated, 1);
    assert!(retransmitter.lent() >= 128);
    assert_eq!(held[0], [answer(peer(1), 1, &[b"a"])]);
    drop(held);
    assert_eq!(ask(&mut retransmitter, peer(1), 1, 1).len(), 1);
    assert_eq!(retransmitter.stats().answers_allocated, 1);
}

/// Ten messages were sent before; `k` and `l` are held.
fn with_archive() -> Retransmitter {
    let (session, archive) = (Some(feed()), true);
    let config = Config { session, archive, sent_before: 10, max_look_ups: 2, ..config() };
    let mut retransmitter = Retransmitter::new(config).unwrap();
    store(&mut retransmitter, feed(), 11, &[b"k", b"l"]);
    retransmitter
}

fn look_up(id: u64, first: u64, count: u16) -> Command {
    Command::LookUp { id: LookUpId(id), session: feed(), first, count }
}

#[test]
fn what_is_older_than_the_history_is_looked_up_and_shared() {
    let mut retransmitter = with_archive();
    assert_eq!(ask(&mut retransmitter, peer(1), 9, 100), [look_up(0, 9, 2)]);
    assert_eq!(ask(&mut retransmitter, peer(2), 9, 100), []);
    assert_eq!(ask(&mut retransmitter, peer(1), 9, 100), []);
    let found = packet(feed(), 8, &[b"h", b"i", b"j", b"k"]);
    let answers = say(&mut retransmitter, Event::Found { id: LookUpId(0), packet: &found });
    let same = [b"i", b"j"].map(|one| &one[..]);
    assert_eq!(answers, [answer(peer(1), 9, &same), answer(peer(2), 9, &same)]);
    let stats = retransmitter.stats();
    assert_eq!((stats.look_ups, stats.answered_by_archive, stats.repeated), (1, 2, 1));
    assert_eq!((stats.waiting, stats.answered_messages), (0, 4));
    assert_eq!(ask(&mut retransmitter, peer(1), 9, 100), [look_up(1, 9, 2)]);
}

#[test]
fn more_look_ups_than_allowed_are_refused() {
    let mut retransmitter = with_archive();
    assert_eq!(ask(&mut retransmitter, peer(1), 1, 1), [look_up(0, 1, 1)]);
    assert_eq!(ask(&mut retransmitter, peer(1), 2, 1), [look_up(1, 2, 1)]);
    assert_eq!(ask(&mut retransmitter, peer(1), 3, 1), []);
    assert_eq!(retransmitter.stats().look_ups_full, 1);
    assert_eq!(say(&mut retransmitter, Event::NotFound { id: LookUpId(0) }), []);
    assert_eq!(ask(&mut retransmitter, peer(1), 3, 1), [look_up(2, 3, 1)]);
    assert_eq!(retransmitter.stats().not_found, 1);
}

#[test]
fn a_look_up_that_is_not_answered_in_time_is_given_up() {
    let mut retransmitter = with_archive();
    ask(&mut retransmitter, peer(1), 1, 1);
    let deadline = NOW + Duration::from_secs(5);
    assert_eq!(retransmitter.poll_timeout(), Some(deadline));
    retransmitter.handle_timeout(deadline).unwrap();
    assert_eq!(drain(&mut retransmitter), []);
    assert_eq!(retransmitter.poll_timeout(), None);
    let late = packet(feed(), 1, &[b"a"]);
    assert_eq!(say(&mut retransmitter, Event::Found { id: LookUpId(0), packet: &late }), []);
    let stats = retransmitter.stats();
    assert_eq!((stats.look_ups_timed_out, stats.look_ups_unknown, stats.waiting), (1, 1, 0));
}

#[test]
fn an_answer_of_the_archive_without_the_wanted_message_counts_as_not_found() {
    let mut retransmitter = with_archive();
    let useless =
        [packet(feed(), 2, &[b"b"]), packet(session("OTHER"), 1, &[b"a"]), b"nonsense".to_vec()];
    for (id, packet) in (0..).zip(&useless) {
        assert_eq!(ask(&mut retransmitter, peer(1), 1, 1), [look_up(id, 1, 1)]);
        assert_eq!(say(&mut retransmitter, Event::Found { id: LookUpId(id), packet }), []);
    }
    let stats = retransmitter.stats();
    assert_eq!((stats.look_ups_malformed, stats.not_found), (3, 3));
}

#[test]
fn nothing_is_stored_of_what_is_no_data_packet() {
    let mut retransmitter = three();
    let session = session("NEW");
    let heartbeat = Header { session, sequence: 9, count: 0 }.to_bytes();
    for packet in [&heartbeat[..], &heartbeat[..10], &[0; MAX_DATAGRAM + 1]] {
        assert_eq!(say(&mut retransmitter, Event::Store { packet }), []);
    }
    let stats = retransmitter.stats();
    assert_eq!((stats.store_malformed, stats.store_too_large, stats.stored_messages), (1, 1, 3));
}

#[test]
fn an_event_before_the_drain_is_refused_and_changes_nothing() {
    let mut retransmitter = three();
    let request = Request { session: feed(), sequence: 1, count: 1 }.to_bytes();
    let event = Event::Request { from: peer(1), datagram: &request };
    retransmitter.handle(NOW, event).unwrap();
    assert_eq!(retransmitter.handle(NOW, event), Err(Undrained.into()));
    assert_eq!(retransmitter.handle_timeout(NOW), Err(Undrained.into()));
    assert_eq!(drain(&mut retransmitter).len(), 1);
    assert_eq!(retransmitter.stats().requests, 1);
}

#[test]
fn a_configuration_out_of_range_is_refused_by_name() {
    let refused = Retransmitter::new(Config { history_bytes: 1000, ..config() }).unwrap_err();
    let range = "262,144 to 2^47";
    assert_eq!(refused, OutOfRange { field: "history_bytes", value: 1000, range }.into());
    assert!(Retransmitter::new(Config { max_sessions: 0, ..config() }).is_err());
}
