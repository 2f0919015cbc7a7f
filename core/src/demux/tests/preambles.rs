//! Preambles: whole, cut, wrong, late, and what follows a refusal.

use super::*;

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
