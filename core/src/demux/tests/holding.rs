//! Streams that are held: for acceptors that pause, and for tags that nobody registered yet.

use super::*;
use crate::Duration;
use crate::journal::{Recorder, recorder};
use Pattern::{Exact, Prefix};

/// With a hold of a second, an acceptor for `foo`, and one that pauses for what begins with `b`.
fn holding(config: Config) -> Bench {
    let mut bench = with(Config { hold: Duration::from_secs(1), ..config });
    bench.register(B, Prefix(b"b"));
    bench.give(Event::Pause { acceptor: B });
    bench
}

#[test]
fn a_stream_for_a_paused_acceptor_is_held_and_dispatched_with_its_payload_when_it_resumes() {
    let mut bench = for_foo();
    assert_eq!(bench.give(Event::Pause { acceptor: A }), []);
    assert_eq!(bench.last(1, 0, b"\x03foopay"), [hold(1)]);
    assert_eq!((bench.demux.held(), bench.demux.held_bytes()), (1, 3));
    let commands = bench.give(Event::Resume { acceptor: A });
    assert_eq!(commands, [dispatch(1, A, b"foo"), payload(1, A, b"pay", true)]);
    assert_eq!((bench.demux.held(), bench.demux.held_bytes()), (0, 0));
}

#[test]
fn a_parked_stream_whose_acceptor_pauses_meanwhile_is_held_and_has_no_deadline_any_more() {
    let mut bench = for_foo();
    bench.data(1, 0, b"\x03f");
    bench.give(Event::Pause { acceptor: A });
    assert_eq!(bench.data(1, 2, b"oo"), [hold(1)]);
    assert_eq!((bench.demux.pending(), bench.demux.poll_timeout()), (0, None));
    assert_eq!(bench.at(ms(1_000_000)), []);
    assert_eq!(bench.give(Event::Resume { acceptor: A }), [dispatch(1, A, b"foo")]);
}

#[test]
fn held_streams_are_dispatched_in_the_order_in_which_their_preambles_were_whole() {
    let mut bench = for_foo();
    bench.register(A, Prefix(b"f"));
    bench.data(1, 0, b"\x03");
    bench.give(Event::Pause { acceptor: A });
    bench.data(3, 0, b"\x02fx");
    bench.data(1, 1, b"foo1");
    bench.data(2, 0, b"\x03foo");
    let expected = [
        dispatch(3, A, b"fx"),
        dispatch(1, A, b"foo"),
        payload(1, A, b"1", false),
        dispatch(2, A, b"foo"),
    ];
    assert_eq!(bench.give(Event::Resume { acceptor: A }), expected);
}

#[test]
fn a_resuming_acceptor_is_given_its_own_streams_only() {
    let mut bench = holding(Config::default());
    bench.give(Event::Pause { acceptor: A });
    bench.data(1, 0, b"\x03foo");
    bench.data(2, 0, b"\x03bar");
    bench.data(3, 0, b"\x01x");
    assert_eq!(bench.give(Event::Resume { acceptor: A }), [dispatch(1, A, b"foo")]);
    assert_eq!(bench.demux.held(), 2);
    assert_eq!(bench.give(Event::Resume { acceptor: A }), []);
}

#[test]
fn an_acceptor_that_takes_one_stream_is_given_the_first_and_pauses_on() {
    let mut bench = holding(Config::default());
    bench.data(1, 0, b"\x03bar");
    bench.data(2, 0, b"\x03baz");
    bench.last(1003, 0, b"\x03barpay");
    assert_eq!(bench.give(Event::Take { acceptor: B }), [dispatch(1, B, b"bar")]);
    assert_eq!((bench.demux.held_for(B), bench.demux.is_paused(B)), (2, true));
    bench.give(Event::Closed { stream: stream(2) });
    assert_eq!(bench.data(4, 0, b"\x03bar"), [hold(4)], "behind those that were there");
    let commands = bench.give(Event::Take { acceptor: B });
    assert_eq!(commands, [dispatch(1003, B, b"bar"), payload(1003, B, b"pay", true)]);
    assert_eq!((bench.demux.held(), bench.demux.waiting_of(PeerId(1))), (1, 0));
    let dispatched = bench.demux.registrations().map(|found| found.stats.dispatched).sum::<u64>();
    assert_eq!((bench.stats().dispatched, dispatched), (2, 2));
}

#[test]
fn who_has_nothing_held_for_it_takes_nothing() {
    let mut bench = holding(Config::default());
    bench.data(1, 0, b"\x03new");
    for acceptor in [A, B, AcceptorId(9)] {
        assert_eq!(bench.give(Event::Take { acceptor }), []);
        assert_eq!(bench.demux.held_for(acceptor), 0);
    }
    assert_eq!((bench.demux.held(), bench.stats().dispatched), (1, 0));
}

#[test]
fn pausing_twice_needs_one_resume() {
    let mut bench = for_foo();
    bench.give(Event::Pause { acceptor: A });
    bench.give(Event::Pause { acceptor: A });
    assert!(bench.demux.is_paused(A));
    bench.give(Event::Resume { acceptor: A });
    assert!(!bench.demux.is_paused(A));
    assert_eq!(bench.data(1, 0, b"\x03foo"), [dispatch(1, A, b"foo")]);
}

#[test]
fn who_has_no_registration_cannot_pause_and_does_not_pause_with_its_first() {
    let mut bench = Bench::new(Config::default());
    assert_eq!(bench.give(Event::Pause { acceptor: A }), []);
    assert_eq!(bench.give(Event::Resume { acceptor: B }), []);
    bench.register(A, Exact(b"foo"));
    bench.give(Event::Pause { acceptor: A });
    bench.answered(Event::Unregister { pattern: Exact(b"foo") });
    bench.register(A, Exact(b"foo"));
    assert_eq!(bench.data(1, 0, b"\x03foo"), [dispatch(1, A, b"foo")]);
}

#[test]
fn data_of_a_held_stream_is_misuse_and_changes_nothing() {
    let mut bench = for_foo();
    bench.give(Event::Pause { acceptor: A });
    bench.data(1, 0, b"\x03foo");
    for offset in [0, 4] {
        let bytes = Bytes::from_static(b"more");
        let event = Event::Data { stream: stream(1), offset, bytes, pinned: 4, fin: false };
        let refused = bench.demux.handle(ms(9), event);
        assert_eq!(refused, Err(Misuse::Held));
        assert_eq!(bench.drain(), []);
    }
    assert_eq!(bench.give(Event::Resume { acceptor: A }), [dispatch(1, A, b"foo")]);
}

#[test]
fn a_stream_of_a_tag_that_nobody_registered_is_held_and_dispatched_to_who_registers_it() {
    let mut bench = holding(Config::default());
    assert_eq!(bench.data(1, 0, b"\x03newpay"), [hold(1)]);
    assert_eq!(bench.data(2, 0, b"\x03newer"), [hold(2)]);
    bench.data(3, 0, b"\x05other");
    let expected = [
        dispatch(1, A, b"new"),
        payload(1, A, b"pay", false),
        dispatch(2, A, b"new"),
        payload(2, A, b"er", false),
    ];
    assert_eq!(bench.register(A, Prefix(b"ne")), expected);
    assert_eq!(bench.demux.held(), 1);
}

#[test]
fn a_stream_that_nobody_registers_for_is_refused_with_0x100_exactly_when_the_hold_is_over() {
    let mut bench = holding(Config::default());
    bench.now = ms(100);
    bench.data(1, 0, b"\x03new");
    bench.now = ms(200);
    bench.data(2, 0, b"\x03new");
    assert_eq!(bench.demux.poll_timeout(), Some(ms(1100)));
    assert_eq!(bench.at(ms(1100) - Duration::from_nanos(1)), []);
    assert_eq!(bench.at(ms(1100)), [refuse(1, 0x100)]);
    assert_eq!(bench.at(ms(1200)), [refuse(2, 0x100)]);
    assert_eq!((bench.demux.held(), bench.demux.poll_timeout()), (0, None));
}

#[test]
fn an_acceptor_that_registers_before_the_end_of_the_hold_is_given_is_in_time() {
    let mut bench = holding(Config::default());
    bench.data(1, 0, b"\x03new");
    bench.now = ms(5000);
    assert_eq!(bench.register(A, Exact(b"other")), []);
    assert_eq!(bench.register(A, Exact(b"new")), [dispatch(1, A, b"new")]);
}

#[test]
fn the_hold_counts_from_the_end_of_the_preamble() {
    let mut bench = holding(Config::default());
    bench.data(1, 0, b"\x03n");
    bench.now = ms(3000);
    assert_eq!(bench.data(1, 2, b"ew"), [hold(1)]);
    assert_eq!(bench.demux.poll_timeout(), Some(ms(4000)));
}

#[test]
fn without_a_hold_nobody_is_waited_for() {
    let mut bench = for_foo();
    assert_eq!(bench.data(1, 0, b"\x03new"), [refuse(1, NO_ACCEPTOR)]);
}

#[test]
fn a_reserved_tag_is_not_held() {
    let mut bench = holding(Config::default());
    assert_eq!(bench.data(1, 0, b"\x09gapless:x"), [refuse(1, RESERVED)]);
    bench.data(2, 0, b"\x09gap");
    assert_eq!(bench.data(2, 4, b"less:x"), [refuse(2, RESERVED)]);
}

#[test]
fn a_tag_registered_by_a_paused_acceptor_moves_what_waits_for_anybody_to_it() {
    let mut bench = holding(Config::default());
    bench.data(1, 0, b"\x03new");
    assert_eq!(bench.register(B, Exact(b"new")), []);
    assert_eq!(bench.at(ms(10_000)), [], "it waits for an acceptor now, as long as that takes");
    assert_eq!(bench.give(Event::Resume { acceptor: B }), [dispatch(1, B, b"new")]);
}

#[test]
fn what_waits_for_a_registration_that_goes_goes_to_the_next_that_is_for_it() {
    let mut bench = Bench::new(Config::default());
    bench.register(A, Prefix(b"f"));
    bench.register(B, Exact(b"foo"));
    bench.give(Event::Pause { acceptor: B });
    bench.data(1, 0, b"\x03foopay");
    let commands = bench.answered(Event::Unregister { pattern: Exact(b"foo") });
    assert_eq!(commands, [dispatch(1, A, b"foo"), payload(1, A, b"pay", false)]);
}

#[test]
fn what_waits_for_an_acceptor_that_goes_is_refused_when_nobody_else_is_for_it() {
    let mut bench = for_foo();
    bench.register(A, Prefix(b"b"));
    bench.register_by(A, Exact(b"gapless:x"), Registrant::Protocol);
    bench.give(Event::Pause { acceptor: A });
    bench.data(1, 0, b"\x03foo");
    bench.data(2, 0, b"\x03bar");
    bench.data(3, 0, b"\x09gapless:x");
    let expected = [refuse(1, NO_ACCEPTOR), refuse(2, NO_ACCEPTOR), refuse(3, RESERVED)];
    assert_eq!(bench.answered(Event::AcceptorGone { acceptor: A }), expected);
    assert_eq!((bench.demux.held(), bench.demux.waiting_of(PeerId(0))), (0, 0));
}

#[test]
fn what_waits_for_an_acceptor_that_goes_waits_for_anybody_as_long_as_its_hold_lasts() {
    let mut bench = holding(Config::default());
    bench.data(1, 0, b"\x03bar");
    bench.now = ms(500);
    bench.data(2, 0, b"\x03bar");
    bench.now = ms(1000);
    let commands = bench.answered(Event::AcceptorGone { acceptor: B });
    assert_eq!(commands, [refuse(1, NO_ACCEPTOR)], "its hold is over");
    assert_eq!(bench.demux.poll_timeout(), Some(ms(1500)));
    assert_eq!(bench.register(A, Exact(b"bar")), [dispatch(2, A, b"bar")]);
}

#[test]
fn a_closer_registration_takes_what_waits_for_a_paused_acceptor() {
    let mut bench = holding(Config::default());
    bench.data(1, 0, b"\x03bar");
    bench.data(2, 0, b"\x03baz");
    assert_eq!(bench.register(A, Exact(b"bar")), [dispatch(1, A, b"bar")]);
    assert_eq!(bench.demux.held(), 1);
}

#[test]
fn what_finds_no_place_with_whom_it_waits_for_next_is_refused_in_its_order() {
    let mut bench = with(Config { max_held_per_acceptor: 2, ..Config::default() });
    bench.register(A, Prefix(b"x"));
    bench.register(B, Exact(b"foo1"));
    bench.give(Event::Pause { acceptor: A });
    bench.give(Event::Pause { acceptor: B });
    bench.data(1, 0, b"\x04foo1");
    bench.data(2, 0, b"\x02x1");
    bench.data(3, 0, b"\x04foo1");
    bench.register(A, Prefix(b"foo"));
    let commands = bench.answered(Event::Unregister { pattern: Exact(b"foo1") });
    assert_eq!(commands, [refuse(3, TOO_MANY)]);
    let refused: Vec<_> = bench.demux.registrations().map(|found| found.stats.refused).collect();
    assert_eq!(refused, [0, 1, 0], "by the prefix `foo`");
    let commands = bench.give(Event::Resume { acceptor: A });
    assert_eq!(commands, [dispatch(1, A, b"foo1"), dispatch(2, A, b"x1")]);
}

#[test]
fn streams_held_for_one_acceptor_are_limited_and_the_next_is_refused_with_0x102() {
    let mut bench = holding(Config { max_held_per_acceptor: 2, ..Config::default() });
    for number in 1..=2 {
        assert_eq!(bench.data(number, 0, b"\x03bar"), [hold(number)]);
        assert_eq!(bench.data(10 + number, 0, b"\x03new"), [hold(10 + number)]);
    }
    assert_eq!(bench.data(3, 0, b"\x03bar"), [refuse(3, 0x102)]);
    assert_eq!(bench.data(13, 0, b"\x03new"), [refuse(13, 0x102)], "so are those for anybody");
    bench.data(4, 0, b"\x03");
    assert_eq!(bench.data(4, 1, b"bar"), [refuse(4, 0x102)], "also when it was parked");
    assert_eq!(bench.data(5, 0, b"\x03foo"), [dispatch(5, A, b"foo")]);
    assert_eq!((bench.stats().refused.too_many, bench.demux.held()), (3, 4));
}

#[test]
fn streams_held_in_all_are_limited() {
    let mut bench = holding(Config { max_held: 2, ..Config::default() });
    bench.data(1, 0, b"\x03bar");
    bench.data(2, 0, b"\x03new");
    assert_eq!(bench.data(3, 0, b"\x03bar"), [refuse(3, 0x102)]);
    bench.give(Event::Reset { stream: stream(1), code: 7 });
    assert_eq!(bench.data(4, 0, b"\x03bar"), [hold(4)]);
}

#[test]
fn held_streams_count_for_their_peer_and_the_next_is_refused_with_0x103() {
    let mut bench = holding(Config { max_pending_per_peer: 2, ..Config::default() });
    bench.data(1, 0, b"\x03bar");
    bench.data(2, 0, b"\x03");
    assert_eq!(bench.data(3, 0, b"\x03bar"), [refuse(3, 0x103)]);
    assert_eq!(bench.data(1003, 0, b"\x03bar"), [hold(1003)], "another peer's is held");
    assert_eq!(bench.data(2, 1, b"bar"), [hold(2)], "it has its place already");
}

#[test]
fn with_no_places_a_paused_acceptor_refuses() {
    let mut bench = holding(Config { max_held: 0, ..Config::default() });
    assert_eq!(bench.data(1, 0, b"\x03bar"), [refuse(1, TOO_MANY)]);
}

#[test]
fn held_payload_is_limited_by_what_it_keeps_allocated() {
    let mut bench = holding(Config { max_held_bytes: 8, ..Config::default() });
    assert_eq!(bench.data(1, 0, b"\x03bar12345"), [hold(1)]);
    assert_eq!(bench.data(2, 0, b"\x03bar1234"), [refuse(2, TOO_MANY)]);
    assert_eq!(bench.data(3, 0, b"\x03bar123"), [hold(3)]);
    assert_eq!(bench.data(4, 0, b"\x03bar"), [hold(4)]);
    assert_eq!(bench.demux.held_bytes(), 8);
    bench.give(Event::Closed { stream: stream(1) });
    assert_eq!(bench.demux.held_bytes(), 3);
}

#[test]
fn small_payload_and_what_keeps_much_more_alive_is_copied_and_the_rest_shared() {
    for (len, pinned, is_copied) in
        [(10, 14, true), (4096, 5000, true), (5000, 5004, false), (5000, 10_001, true)]
    {
        let mut bench = holding(Config::default());
        let bytes = Bytes::from([b"\x03bar", &alloc::vec![7; len][..]].concat());
        let expected = bytes.slice(4..);
        bench.give(Event::Data { stream: stream(1), offset: 0, bytes, pinned, fin: false });
        assert_eq!(bench.stats().payloads_copied, u64::from(is_copied), "{len} of {pinned}");
        let cost = bench.demux.held_bytes();
        assert!(if is_copied { cost == len } else { cost > pinned }, "{len} of {pinned}: {cost}");
        let commands = bench.give(Event::Resume { acceptor: B });
        let Command::Data { bytes, .. } = &commands[1] else { panic!("{commands:?}") };
        assert_eq!((bytes, bytes.as_ptr() == expected.as_ptr()), (&expected, !is_copied));
    }
}

#[test]
fn held_streams_that_are_reset_closed_or_lose_their_peer_are_forgotten() {
    let mut bench = holding(Config::default());
    for number in [1, 2, 3, 4, 1001] {
        bench.data(number, 0, b"\x03barpay");
    }
    assert_eq!(bench.give(Event::Reset { stream: stream(1), code: 9 }), []);
    assert_eq!(bench.give(Event::Closed { stream: stream(2) }), []);
    assert_eq!(bench.give(Event::PeerGone { peer: PeerId(0) }), []);
    let Forgotten { reset, closed, peer_gone } = bench.stats().forgotten;
    assert_eq!((reset, closed, peer_gone), (1, 1, 2));
    let commands = bench.give(Event::Resume { acceptor: B });
    assert_eq!(commands, [dispatch(1001, B, b"bar"), payload(1001, B, b"pay", false)]);
}

#[test]
fn a_driver_may_say_that_any_amount_of_memory_is_kept_alive() {
    for (tag, len) in [(b"\x03foo", 10), (b"\x03bar", 10), (b"\x03bar", 5000)] {
        let mut bench = holding(Config::default());
        let bytes = Bytes::from([&tag[..], &alloc::vec![7; len][..]].concat());
        let (stream, pinned) = (stream(1), usize::MAX);
        bench.demux.data(bench.now, stream, 0, bytes, pinned, true).unwrap();
        assert!(bench.demux.memory_used() >= len);
        bench.drain();
        assert!(bench.demux.memory_used() <= Demux::memory_limit(bench.demux.config()));
    }
}

#[test]
fn a_recorder_adds_its_block_to_any_amount_of_memory() {
    let mut journal = Vec::new();
    let (machine, sink) = (Config::default(), &mut journal);
    let config = recorder::Config { machine, id: 0, sink: Some(sink), commands: false };
    let mut demux = Recorder::<Demux, _>::new(config).unwrap();
    let (acceptor, pattern, by) = (A, Pattern::Exact(b"foo"), Registrant::Application);
    demux.handle(ms(0), Event::Register { acceptor, pattern, by }).unwrap();
    while demux.poll_command().is_some() {}
    let (stream, bytes, pinned) = (stream(1), Bytes::from_static(b"\x03foo rest"), usize::MAX);
    demux.handle(ms(0), Event::Data { stream, offset: 0, bytes, pinned, fin: true }).unwrap();
    assert_eq!(demux.memory_used(), usize::MAX);
}
