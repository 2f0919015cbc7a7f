//! The assertions that the tests of barrel_p2p make of its tagged streams (its eleven unit tests, in order; its
//! property is in the model), and its weaknesses, each as a test that this machine does not have it.

use super::*;
use Pattern::{Exact, Prefix};

fn fill(bench: &mut Bench, numbers: core::ops::Range<u64>) {
    for number in numbers {
        assert_eq!(bench.data(number, 0, b"\xFF"), []);
    }
}

#[test]
fn u1_a_registered_tag_is_listed_with_its_acceptor() {
    let bench = for_foo();
    let listed: Vec<_> = bench.demux.registrations().map(|it| (it.pattern, it.acceptor)).collect();
    assert_eq!(listed, [(Exact(b"foo"), A)]);
}

#[test]
fn u2_a_second_acceptor_for_a_tag_gets_a_conflict() {
    let by = Registrant::Application;
    let second = Event::Register { acceptor: B, pattern: Exact(b"foo"), by };
    assert_eq!(for_foo().refused(second), Refusal::Conflict { held_by: A });
}

#[test]
fn u3_the_same_registration_twice_is_fine_and_one() {
    let mut bench = for_foo();
    bench.register(A, Exact(b"foo"));
    assert_eq!(bench.demux.registrations().count(), 1);
}

#[test]
fn u4_unregistering_empties_the_list() {
    let mut bench = for_foo();
    bench.answered(Event::Unregister { pattern: Exact(b"foo") });
    assert_eq!(bench.demux.registrations().count(), 0);
}

#[test]
fn u5_the_registration_of_an_acceptor_that_is_gone_disappears() {
    let mut bench = for_foo();
    bench.answered(Event::AcceptorGone { acceptor: A });
    assert_eq!(bench.demux.registrations().count(), 0);
}

#[test]
fn u6_opening_writes_exactly_the_length_and_the_tag() {
    let mut bench = for_foo();
    let by = Registrant::Application;
    let commands = bench.answered(Event::Open { stream: stream(1), tag: b"foo", by });
    assert!(
        matches!(&commands[..], [Command::Write { tag, .. }] if *tag.preamble() == *b"\x03foo")
    );
}

#[test]
fn u7_preamble_and_payload_at_once_are_opened_then_the_payload_alone_without_an_end() {
    let commands = for_foo().data(1, 0, b"\x03foohello");
    assert_eq!(commands, [dispatch(1, A, b"foo"), payload(1, A, b"hello", false)]);
}

#[test]
fn u8_the_preamble_of_an_unregistered_tag_resets_the_stream() {
    assert_eq!(for_foo().data(1, 0, b"\x03bar"), [refuse(1, NO_ACCEPTOR)]);
}

#[test]
fn u9_a_length_alone_opens_nothing_and_the_rest_opens_and_brings_the_payload() {
    let mut bench = for_foo();
    assert_eq!(bench.data(1, 0, b"\x03"), []);
    assert_eq!(bench.at(ms(100)), []);
    let commands = bench.data(1, 1, b"foohello");
    assert_eq!(commands, [dispatch(1, A, b"foo"), payload(1, A, b"hello", false)]);
}

#[test]
fn u10_a_preamble_that_ends_the_stream_opens_it_and_brings_its_end() {
    let commands = for_foo().last(1, 0, b"\x03foo");
    assert_eq!(commands, [dispatch(1, A, b"foo"), payload(1, A, b"", true)]);
}

#[test]
fn u11_with_64_parked_the_65th_incomplete_stream_is_refused() {
    let mut bench = with(Config { max_pending: 64, ..Config::default() });
    fill(&mut bench, 0..64);
    assert_eq!(bench.data(1064, 0, b"\xFF"), [refuse(1064, TOO_MANY)]);
}

#[test]
fn weakness_1_a_preamble_has_a_deadline() {
    let mut bench = for_foo();
    fill(&mut bench, 0..3);
    let expected: Vec<_> = (0..3).map(|number| refuse(number, DEADLINE)).collect();
    assert_eq!(bench.at(ms(5000)), expected);
    assert_eq!(bench.demux.pending(), 0);
}

#[test]
fn weakness_2_a_peer_that_fills_its_places_leaves_those_of_others() {
    let mut bench = for_foo();
    fill(&mut bench, 0..64);
    assert_eq!(bench.data(64, 0, b"\x03"), [refuse(64, TOO_MANY_OF_PEER)]);
    assert_eq!(bench.data(1000, 0, b"\x03"), []);
    assert_eq!(bench.data(1000, 1, b"foo"), [dispatch(1000, A, b"foo")]);
}

#[test]
fn weakness_3_an_end_within_the_preamble_frees_the_place() {
    let mut bench = for_foo();
    bench.data(1, 0, b"\x03");
    assert_eq!(bench.last(1, 1, b"f"), [refuse(1, FIN_IN_PREAMBLE)]);
    assert_eq!(bench.demux.pending(), 0);
}

#[test]
fn weakness_4_a_reset_frees_the_place() {
    let mut bench = for_foo();
    bench.data(1, 0, b"\x03");
    bench.give(Event::Reset { stream: stream(1), code: 0 });
    assert_eq!((bench.demux.pending(), bench.stats().forgotten.reset), (0, 1));
}

#[test]
fn weakness_5_an_empty_first_event_takes_no_place() {
    let mut bench = for_foo();
    bench.data(1, 0, b"");
    assert_eq!((bench.demux.pending(), bench.demux.poll_timeout()), (0, None));
}

#[test]
fn weakness_6_bytes_in_flight_behind_a_refusal_are_no_preamble_whatever_its_cause() {
    let mut bench = with(Config { max_pending: 1, ..Config::default() });
    bench.data(1, 0, b"\x03bar");
    bench.data(2, 0, b"\xFF");
    bench.data(3, 0, b"\xFF");
    assert_eq!(bench.at(ms(5000)), [refuse(2, DEADLINE)]);
    for (number, offset) in [(1, 4), (2, 1), (3, 1)] {
        assert_eq!(bench.last(number, offset, b"\x03foopay"), []);
    }
    assert_eq!((bench.stats().stray, bench.stats().dispatched), (3, 0));
}

#[test]
fn weakness_7_nor_are_those_behind_a_hand_off_that_failed() {
    let mut bench = for_foo();
    bench.data(1, 0, b"\x03foo");
    bench.give(Event::HandOffFailed { stream: stream(1), acceptor: A, tag: b"foo" });
    assert_eq!(bench.data(1, 4, b"\x03foopay"), []);
    assert_eq!((bench.stats().stray, bench.stats().dispatched), (1, 1));
}

#[test]
fn weakness_8_over_the_cap_the_peer_gets_a_code() {
    let mut bench = with(Config { max_pending: 1, ..Config::default() });
    bench.data(1, 0, b"\xFF");
    assert_eq!(bench.data(2, 0, b"\xFF"), [refuse(2, 0x102)]);
}

#[test]
fn weakness_9_an_acceptor_with_two_tags_loses_one_or_both_as_asked() {
    let mut bench = for_foo();
    bench.register(A, Exact(b"bar"));
    bench.answered(Event::Unregister { pattern: Exact(b"foo") });
    assert_eq!(bench.data(1, 0, b"\x03bar"), [dispatch(1, A, b"bar")]);
    bench.register(A, Prefix(b"f"));
    bench.answered(Event::AcceptorGone { acceptor: A });
    assert_eq!(bench.data(2, 0, b"\x03foo"), [refuse(2, NO_ACCEPTOR)]);
    assert_eq!(bench.data(3, 0, b"\x03bar"), [refuse(3, NO_ACCEPTOR)]);
}

#[test]
fn weakness_10_a_stream_handed_to_who_is_gone_is_closed_and_refused() {
    let mut bench = for_foo();
    bench.data(1, 0, b"\x03foo");
    bench.answered(Event::AcceptorGone { acceptor: A });
    let failed = Event::HandOffFailed { stream: stream(1), acceptor: A, tag: b"foo" };
    let closed = Command::Closed { stream: stream(1), acceptor: A };
    assert_eq!(bench.give(failed), [closed, refuse(1, NO_ACCEPTOR)]);
}

#[test]
fn weakness_11_an_application_cannot_claim_a_reserved_tag() {
    let mut bench = Bench::new(Config::default());
    let by = Registrant::Application;
    let claim = Event::Register { acceptor: A, pattern: Exact(b"gapless:relay"), by };
    assert_eq!(bench.refused(claim), Refusal::Reserved);
    assert_eq!(bench.data(1, 0, b"\x0dgapless:relay"), [refuse(1, RESERVED)]);
}

#[test]
fn weakness_12_every_refusal_is_the_one_command_that_stops_the_peer_in_both_directions() {
    let mut bench = with(Config { max_pending: 1, ..Config::default() });
    for number in [0, 2] {
        // A bidirectional stream, and a unidirectional one.
        let stream = StreamId { peer: PeerId(number), number };
        let bytes = Bytes::from_static(b"\xFF");
        let event = Event::Data { stream, offset: 0, bytes, pinned: 1, fin: false };
        let expected = [Command::Refuse { stream, code: TOO_MANY }];
        bench.data(5, 0, b"\xFF");
        assert_eq!(bench.give(event), expected);
        bench.give(Event::Closed { stream: super::stream(5) });
    }
}

#[test]
fn weakness_13_every_cause_has_its_code_and_its_count() {
    let mut bench = with(Config { max_pending: 2, max_pending_per_peer: 1, ..Config::default() });
    bench.data(1, 0, b"\xFF");
    bench.data(1001, 0, b"\xFF");
    let commands = [
        bench.data(2, 0, b"\x03bar"),
        bench.at(ms(5000)),
        bench.data(2001, 0, b"\xFF"),
        bench.data(2002, 0, b"\xFF"),
        bench.data(3001, 0, b"\xFF"),
        bench.data(4001, 0, b"\xFF"),
        bench.data(3, 0, b"\x08gapless:"),
        bench.last(4, 0, b"\x03ba"),
    ];
    let expected = [
        refuse(2, 0x100),
        refuse(1, 0x101),
        refuse(1001, 0x101),
        refuse(2002, 0x103),
        refuse(4001, 0x102),
        refuse(3, 0x104),
        refuse(4, 0x105),
    ];
    assert_eq!(commands.concat(), expected);
    let Refused { no_acceptor, deadline, too_many, too_many_of_peer, reserved, fin_in_preamble } =
        bench.stats().refused;
    let counted = [no_acceptor, deadline, too_many, too_many_of_peer, reserved, fin_in_preamble];
    assert_eq!((counted, bench.stats().refused.total()), ([1, 2, 1, 1, 1, 1], 7));
}
