//! Preambles: whole, cut, wrong, late, and what follows a refusal.

use super::*;
use crate::machine::Undrained;

#[test]
fn a_whole_preamble_with_payload_is_dispatched_and_the_payload_follows() {
    let mut bench = for_foo();
    let commands = bench.data(1, 0, b"\x03foopay");
    assert_eq!(commands, [dispatch(1, A, b"foo"), payload(1, A, b"pay", false)]);
    assert_eq!((bench.stats().dispatched, bench.stats().parked, bench.demux.pending()), (1, 0, 0));
}

#[test]
fn a_whole_preamble_without_payload_is_dispatched_alone() {
    let mut bench = for_foo();
    assert_eq!(bench.data(1, 0, b"\x03foo"), [dispatch(1, A, b"foo")]);
}

#[test]
fn a_stream_that_ends_with_its_preamble_gives_an_empty_payload_with_its_end() {
    let mut bench = for_foo();
    let commands = bench.last(1, 0, b"\x03foo");
    assert_eq!(commands, [dispatch(1, A, b"foo"), payload(1, A, b"", true)]);
}

#[test]
fn a_preamble_in_pieces_parks_the_stream_until_it_is_whole() {
    let mut bench = for_foo();
    assert_eq!(bench.data(1, 0, b"\x03"), []);
    assert_eq!(bench.data(1, 1, b"f"), []);
    assert_eq!(bench.demux.pending(), 1);
    let commands = bench.data(1, 2, b"oopay");
    assert_eq!(commands, [dispatch(1, A, b"foo"), payload(1, A, b"pay", false)]);
    assert_eq!((bench.demux.pending(), bench.demux.poll_timeout()), (0, None));
}

#[test]
fn an_empty_piece_without_an_end_takes_no_place_and_changes_nothing() {
    let mut bench = for_foo();
    assert_eq!(bench.data(1, 0, b""), []);
    assert_eq!((bench.demux.pending(), bench.stats()), (0, Stats::default()));
    bench.data(1, 0, b"\x03f");
    assert_eq!(bench.data(1, 2, b""), []);
    assert_eq!(bench.data(1, 2, b"oo"), [dispatch(1, A, b"foo")]);
}

#[test]
fn an_unregistered_tag_is_refused_with_0x100() {
    let mut bench = for_foo();
    assert_eq!(bench.last(1, 0, b"\x03barpay"), [refuse(1, 0x100)]);
    assert_eq!(bench.stats().refused.no_acceptor, 1);
}

#[test]
fn an_empty_tag_is_refused_with_0x100_as_soon_as_its_length_is_there() {
    let mut bench = for_foo();
    bench.register(B, Pattern::Prefix(b""));
    assert_eq!(bench.data(1, 0, b"\x00"), [refuse(1, 0x100)]);
    assert_eq!(bench.last(2, 0, b"\x00hello"), [refuse(2, 0x100)]);
    assert_eq!(bench.stats().refused.no_acceptor, 2);
}

#[test]
fn a_preamble_that_is_late_is_refused_with_0x101_exactly_at_its_deadline() {
    let mut bench = for_foo();
    bench.data(1, 0, b"\x03");
    bench.now = ms(10);
    bench.data(2, 0, b"\x03f");
    assert_eq!(bench.demux.poll_timeout(), Some(ms(5000)));
    assert_eq!(bench.at(ms(5000) - core::time::Duration::from_nanos(1)), []);
    assert_eq!(bench.at(ms(5000)), [refuse(1, 0x101)]);
    assert_eq!(bench.demux.poll_timeout(), Some(ms(5010)));
    assert_eq!(bench.at(ms(6000)), [refuse(2, 0x101)]);
    assert_eq!((bench.stats().refused.deadline, bench.demux.pending()), (2, 0));
}

#[test]
fn a_stream_that_ends_within_its_preamble_is_refused_with_0x105() {
    let mut bench = for_foo();
    assert_eq!(bench.last(1, 0, b"\x03fo"), [refuse(1, 0x105)]);
    assert_eq!(bench.last(2, 0, b""), [refuse(2, 0x105)]);
    bench.data(3, 0, b"\x03");
    assert_eq!(bench.last(3, 1, b""), [refuse(3, 0x105)]);
    assert_eq!((bench.stats().refused.fin_in_preamble, bench.demux.pending()), (3, 0));
}

#[test]
fn what_comes_of_a_refused_stream_is_never_taken_for_a_preamble() {
    let mut bench = for_foo();
    bench.data(1, 0, b"\x03bar");
    assert_eq!(bench.data(1, 4, b"\x03foopay"), []);
    assert_eq!((bench.stats().stray, bench.stats().dispatched), (1, 0));
}

#[test]
fn a_tag_of_255_bytes_is_dispatched_however_it_is_cut() {
    let tag: Vec<u8> = (0..=254).collect();
    let bytes = Bytes::from([&[255], &tag[..], b"pay"].concat());
    for cut in 1..bytes.len() {
        let mut bench = Bench::new(Config::default());
        bench.register(A, Pattern::Exact(&tag));
        let piece = |bytes: Bytes, offset: usize| {
            let (pinned, offset) = (bytes.len(), offset as u64);
            Event::Data { stream: stream(1), offset, bytes, pinned, fin: false }
        };
        let mut commands = bench.give(piece(bytes.slice(..cut), 0));
        if cut < 256 {
            assert_eq!(commands, []);
            commands = bench.give(piece(bytes.slice(cut..), cut));
        }
        assert_eq!(commands[0], dispatch(1, A, &tag));
        let rest = bytes.slice(256..if cut < 256 { 259 } else { cut });
        let expected = Command::Data { stream: stream(1), acceptor: A, bytes: rest, fin: false };
        assert_eq!(commands.get(1), (cut != 256).then_some(&expected), "cut at {cut}");
    }
}

#[test]
fn one_stream_more_than_may_be_parked_in_all_is_refused_with_0x102() {
    let mut bench = with(Config { max_pending: 2, ..Config::default() });
    bench.data(1, 0, b"\xFF");
    bench.data(1001, 0, b"\xFF");
    assert_eq!(bench.data(2001, 0, b"\xFF"), [refuse(2001, 0x102)]);
    assert_eq!((bench.stats().refused.too_many, bench.demux.pending()), (1, 2));
    bench.give(Event::Closed { stream: stream(1) });
    assert_eq!(bench.data(2002, 0, b"\xFF"), []);
}

#[test]
fn one_stream_more_than_a_peer_may_have_parked_is_refused_with_0x103() {
    let mut bench = with(Config { max_pending_per_peer: 2, ..Config::default() });
    bench.data(1, 0, b"\xFF");
    bench.data(2, 0, b"\xFF");
    assert_eq!(bench.data(3, 0, b"\xFF"), [refuse(3, 0x103)]);
    assert_eq!(bench.data(1001, 0, b"\xFF"), [], "another peer has places of its own");
    assert_eq!((bench.demux.waiting_of(PeerId(0)), bench.demux.waiting_of(PeerId(1))), (2, 1));
    assert_eq!(bench.stats().refused.too_many_of_peer, 1);
}

#[test]
fn the_cap_of_a_peer_comes_before_that_in_all() {
    let mut bench = with(Config { max_pending: 1, max_pending_per_peer: 1, ..Config::default() });
    bench.data(1, 0, b"\xFF");
    assert_eq!(bench.data(2, 0, b"\xFF"), [refuse(2, 0x103)]);
    assert_eq!(bench.data(1001, 0, b"\xFF"), [refuse(1001, 0x102)]);
}

#[test]
fn a_preamble_that_is_whole_at_once_needs_no_place() {
    let mut bench = with(Config { max_pending: 1, max_pending_per_peer: 1, ..Config::default() });
    bench.data(1, 0, b"\xFF");
    assert_eq!(bench.data(2, 0, b"\x03foo"), [dispatch(2, A, b"foo")]);
    assert_eq!(bench.data(3, 0, b"\x03bar"), [refuse(3, NO_ACCEPTOR)]);
    assert_eq!(bench.last(4, 0, b"\x03"), [refuse(4, FIN_IN_PREAMBLE)]);
}

#[test]
fn parked_streams_that_are_reset_closed_or_lose_their_peer_are_forgotten() {
    let mut bench = for_foo();
    for number in [1, 2, 3, 4, 1001] {
        bench.data(number, 0, b"\x03f");
    }
    assert_eq!(bench.give(Event::Reset { stream: stream(1), code: 9 }), []);
    assert_eq!(bench.give(Event::Closed { stream: stream(2) }), []);
    assert_eq!(bench.give(Event::PeerGone { peer: PeerId(0) }), []);
    let Forgotten { reset, closed, peer_gone } = bench.stats().forgotten;
    assert_eq!((reset, closed, peer_gone, bench.demux.pending()), (1, 1, 2, 1));
    assert_eq!(bench.data(1001, 2, b"oo"), [dispatch(1001, A, b"foo")]);
}

#[test]
fn events_of_streams_and_peers_that_do_not_wait_change_nothing() {
    let mut bench = for_foo();
    bench.data(1, 0, b"\x03foo");
    let before = bench.stats();
    assert_eq!(bench.give(Event::Reset { stream: stream(1), code: 0 }), []);
    assert_eq!(bench.give(Event::Closed { stream: stream(1) }), []);
    assert_eq!(bench.give(Event::PeerGone { peer: PeerId(0) }), []);
    assert_eq!(bench.stats(), before);
}

#[test]
fn a_piece_that_does_not_follow_the_last_is_misuse_and_changes_nothing() {
    let mut bench = for_foo();
    bench.data(1, 0, b"\x03f");
    for offset in [0, 1, 3, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
        let (bytes, stats) = (Bytes::from_static(b"oo"), bench.stats());
        let event = Event::Data { stream: stream(1), offset, bytes, pinned: 2, fin: true };
        let misuse = Misuse::OutOfOrder { offset, expected: 2 };
        assert_eq!(bench.demux.handle(ms(99), event), Err(misuse));
        assert_eq!((bench.drain(), bench.stats()), (Vec::new(), stats));
    }
    // Nor did time pass.
    bench.data(2, 0, b"\x03");
    bench.give(Event::Closed { stream: stream(1) });
    assert_eq!(bench.demux.poll_timeout(), Some(ms(5000)));
}

#[test]
fn what_comes_of_a_dispatched_stream_at_any_offset_is_dropped_and_counted() {
    let mut bench = for_foo();
    bench.data(1, 0, b"\x03foo");
    for offset in [1, 4, u64::MAX - 3, u64::MAX] {
        assert_eq!(bench.last(1, offset, b"\x03foo"), []);
    }
    assert_eq!((bench.stats().stray, bench.demux.pending()), (4, 0));
}

#[test]
fn an_older_time_counts_as_the_newest_seen() {
    let mut bench = for_foo();
    bench.at(ms(1000));
    bench.now = ms(10);
    bench.data(1, 0, b"\x03");
    assert_eq!(bench.demux.poll_timeout(), Some(ms(6000)));
    assert_eq!(bench.at(ms(5500)), []);
}

#[test]
fn a_preamble_that_is_whole_before_the_timeout_is_given_is_in_time() {
    let mut bench = for_foo();
    bench.data(1, 0, b"\x03");
    bench.now = ms(9000);
    assert_eq!(bench.data(1, 1, b"foo"), [dispatch(1, A, b"foo")]);
    assert_eq!(bench.at(ms(9000)), []);
}

#[test]
fn further_pieces_do_not_move_the_deadline() {
    let mut bench = with(Config::default());
    for millis in 0..5 {
        bench.now = ms(1000 * millis);
        bench.data(1, millis, if millis == 0 { b"\x09" } else { b"f" });
    }
    assert_eq!(bench.at(ms(5000)), [refuse(1, DEADLINE)]);
}

#[test]
fn at_the_end_of_time_what_waits_expires_and_nothing_spins() {
    let mut bench = for_foo();
    bench.now = Instant::MAX;
    bench.data(1, 0, b"\x03");
    assert_eq!(bench.demux.poll_timeout(), Some(Instant::MAX));
    assert_eq!(bench.at(Instant::MAX), [refuse(1, DEADLINE)]);
}

#[test]
fn until_its_commands_are_drained_nothing_is_taken_and_nothing_changes() {
    let mut bench = for_foo();
    let piece = |number: u64| Event::Data {
        stream: stream(number),
        offset: 0,
        bytes: Bytes::from_static(b"\x03foopay"),
        pinned: 7,
        fin: false,
    };
    bench.demux.handle(ms(0), piece(1)).unwrap();
    let undrained = Err(Undrained.into());
    let stats = bench.stats();
    let events = [
        piece(2),
        Event::Register { acceptor: B, pattern: Pattern::Exact(b"b"), by: Registrant::Protocol },
        Event::Unregister { pattern: Pattern::Exact(b"foo") },
        Event::AcceptorGone { acceptor: A },
        Event::Pause { acceptor: A },
        Event::Resume { acceptor: A },
        Event::Take { acceptor: A },
        Event::Reset { stream: stream(1), code: 0 },
        Event::Closed { stream: stream(1) },
        Event::PeerGone { peer: PeerId(0) },
        Event::HandOffFailed { stream: stream(1), acceptor: A, tag: b"foo" },
        Event::Open { stream: stream(9), tag: b"foo", by: Registrant::Application },
    ];
    for event in events {
        assert_eq!(bench.demux.handle(ms(1), event), undrained);
        assert_eq!(bench.demux.handle_timeout(ms(9)), undrained);
    }
    assert_eq!(bench.stats(), stats);
    assert_eq!(bench.drain(), [dispatch(1, A, b"foo"), payload(1, A, b"pay", false)]);
    assert_eq!(bench.give(piece(2)).len(), 2);
}

#[test]
fn what_has_no_consequence_leaves_nothing_to_drain() {
    let mut bench = for_foo();
    bench.data(1, 0, b"\x03");
    assert_eq!(bench.at(ms(9000)), [refuse(1, DEADLINE)]);
    for number in 2..5 {
        let bytes = Bytes::from_static(b"\x03");
        assert_eq!(bench.demux.data(ms(9000), stream(number), 0, bytes, 1, false), Ok(()));
        assert_eq!(bench.demux.handle_timeout(ms(9001)), Ok(()));
        bench.demux.pause(ms(9001), A);
    }
}

#[test]
fn a_hand_off_that_failed_closes_the_stream_and_refuses_it_with_0x100() {
    let mut bench = for_foo();
    bench.data(1, 0, b"\x03foo");
    let failed = Event::HandOffFailed { stream: stream(1), acceptor: A, tag: b"foo" };
    let closed = Command::Closed { stream: stream(1), acceptor: A };
    assert_eq!(bench.give(failed), [closed, refuse(1, 0x100)]);
    let Stats { dispatched, hand_off_failed, refused, .. } = bench.stats();
    assert_eq!((dispatched, hand_off_failed, refused.total()), (1, 1, 0));
}

#[test]
fn a_hand_off_of_what_still_waits_cannot_have_failed() {
    let mut bench = for_foo();
    bench.data(1, 0, b"\x03");
    let failed = Event::HandOffFailed { stream: stream(1), acceptor: A, tag: b"foo" };
    let refused = bench.demux.handle(ms(0), failed);
    assert_eq!(refused, Err(Misuse::NotDispatched));
    assert_eq!(bench.data(1, 1, b"foo"), [dispatch(1, A, b"foo")]);
}

#[test]
fn streams_of_both_directions_and_both_initiators_are_streams_of_their_own() {
    let mut bench = for_foo();
    for number in 0..4 {
        let stream = StreamId { peer: PeerId(9), number };
        let bytes = Bytes::from_static(b"\x03f");
        bench.give(Event::Data { stream, offset: 0, bytes, pinned: 2, fin: false });
        assert_eq!(stream.direction() == Direction::Unidirectional, number >= 2);
    }
    assert_eq!(bench.demux.pending(), 4);
    for number in 0..4 {
        let stream = StreamId { peer: PeerId(9), number };
        let bytes = Bytes::from_static(b"oo");
        let commands = bench.give(Event::Data { stream, offset: 2, bytes, pinned: 2, fin: false });
        assert!(matches!(commands[..], [Command::Dispatch { stream: of, .. }] if of == stream));
    }
}

#[test]
fn a_configuration_that_leaves_its_ranges_is_refused() {
    type Leave = fn(&mut Config);
    let ranges: &[(&str, Leave)] = &[
        ("max_pending is 0", |config| config.max_pending = 0),
        ("max_pending is 1048577", |config| config.max_pending = (1 << 20) + 1),
        ("max_pending_per_peer is 0", |config| config.max_pending_per_peer = 0),
        ("preamble_timeout is 0", |config| config.preamble_timeout = core::time::Duration::ZERO),
        ("max_held is 1048577", |config| config.max_held = (1 << 20) + 1),
        #[cfg(target_pointer_width = "64")]
        ("max_held_bytes is", |config| config.max_held_bytes = (1 << 40) + 1),
        ("max_registrations is 0", |config| config.max_registrations = 0),
    ];
    for (said, leave) in ranges {
        let mut config = Config::default();
        leave(&mut config);
        let error = alloc::format!("{}", Demux::new(config).unwrap_err());
        assert!(error.starts_with(said), "{error}");
    }
}
