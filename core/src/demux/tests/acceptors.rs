//! Acceptors: who registers for what, who of several takes a stream, and what is reserved.

use super::*;
use crate::wire::tag::Length;
use Pattern::{Exact, Prefix};
use Registrant::{Application, Protocol};

fn register(acceptor: AcceptorId, pattern: Pattern<'_>) -> Event<'_> {
    Event::Register { acceptor, pattern, by: Application }
}

/// Patterns and acceptors, as they are listed.
fn listed(bench: &Bench) -> Vec<(Pattern<'_>, AcceptorId)> {
    bench.demux.registrations().map(|found| (found.pattern, found.acceptor)).collect()
}

#[test]
fn what_is_registered_is_listed_with_its_acceptor() {
    let mut bench = Bench::new(Config::default());
    bench.register(A, Exact(b"foo"));
    bench.register(B, Prefix(b"foo"));
    bench.register(A, Prefix(b""));
    bench.register(A, Exact(b"bar"));
    let expected = [(Exact(b"bar"), A), (Exact(b"foo"), A), (Prefix(b""), A), (Prefix(b"foo"), B)];
    assert_eq!(listed(&bench), expected);
}

#[test]
fn registering_the_same_twice_is_fine_and_leaves_one() {
    let mut bench = for_foo();
    bench.register(A, Exact(b"foo"));
    bench.register_by(A, Exact(b"foo"), Protocol);
    assert_eq!(listed(&bench), [(Exact(b"foo"), A)]);
    let first = bench.demux.registrations().next().unwrap();
    assert_eq!(first.by, Application, "nothing changed");
}

#[test]
fn another_acceptor_for_a_pattern_is_a_conflict_and_the_first_keeps_it() {
    let mut bench = for_foo();
    assert_eq!(bench.refused(register(B, Exact(b"foo"))), Refusal::Conflict { held_by: A });
    assert_eq!(bench.data(1, 0, b"\x03foo"), [dispatch(1, A, b"foo")]);
}

#[test]
fn a_tag_and_a_prefix_of_the_same_bytes_are_no_conflict() {
    let mut bench = for_foo();
    bench.register(B, Prefix(b"foo"));
    assert_eq!(bench.data(1, 0, b"\x03foo"), [dispatch(1, A, b"foo")]);
    assert_eq!(bench.data(2, 0, b"\x04food"), [dispatch(2, B, b"food")]);
}

#[test]
fn unregistering_empties_the_list_and_later_streams_are_refused() {
    let mut bench = for_foo();
    assert_eq!(bench.answered(Event::Unregister { pattern: Exact(b"foo") }), []);
    assert_eq!(listed(&bench), []);
    assert_eq!(bench.data(1, 0, b"\x03foo"), [refuse(1, NO_ACCEPTOR)]);
    bench.register(B, Exact(b"foo"));
}

#[test]
fn unregistering_what_nobody_registered_is_fine() {
    let mut bench = for_foo();
    for pattern in [Exact(b"bar"), Prefix(b"foo"), Exact(b"")] {
        assert_eq!(bench.answered(Event::Unregister { pattern }), []);
    }
    assert_eq!(bench.answered(Event::AcceptorGone { acceptor: B }), []);
    assert_eq!(listed(&bench), [(Exact(b"foo"), A)]);
}

#[test]
fn an_acceptor_that_goes_takes_all_its_patterns_along_and_no_others() {
    let mut bench = for_foo();
    bench.register(A, Prefix(b"f"));
    bench.register(B, Exact(b"bar"));
    bench.register_by(A, Exact(b"gapless:x"), Protocol);
    assert_eq!(bench.answered(Event::AcceptorGone { acceptor: A }), []);
    assert_eq!(listed(&bench), [(Exact(b"bar"), B)]);
    assert_eq!(bench.data(1, 0, b"\x03foo"), [refuse(1, NO_ACCEPTOR)]);
}

#[test]
fn the_longest_of_several_prefixes_wins() {
    let mut bench = Bench::new(Config::default());
    let prefixes: [&[u8]; 6] = [b"", b"a", b"ab", b"abcd", b"abd", b"abca"];
    for (number, prefix) in (10..).zip(prefixes) {
        bench.register(AcceptorId(number), Prefix(prefix));
    }
    let cases: [(&'static [u8], u64); 10] = [
        (b"\x01a", 11),
        (b"\x02ab", 12),
        (b"\x03abc", 12),
        (b"\x04abcd", 13),
        (b"\x05abcde", 13),
        (b"\x04abcb", 12),
        (b"\x04abcz", 12),
        (b"\x03abd", 14),
        (b"\x02b\x00", 10),
        (b"\x05abca\xFF", 15),
    ];
    for (number, (bytes, acceptor)) in (1..).zip(cases) {
        let expected = dispatch(number, AcceptorId(acceptor), &bytes[1..]);
        assert_eq!(bench.data(number, 0, bytes), [expected]);
    }
}

#[test]
fn an_exact_tag_wins_over_every_prefix() {
    let mut bench = Bench::new(Config::default());
    bench.register(A, Prefix(b"my:"));
    bench.register(A, Prefix(b"my:tag"));
    bench.register(B, Exact(b"my:tag"));
    assert_eq!(bench.data(1, 0, b"\x06my:tag"), [dispatch(1, B, b"my:tag")]);
    assert_eq!(bench.data(2, 0, b"\x07my:tagX"), [dispatch(2, A, b"my:tagX")]);
}

#[test]
fn an_exact_tag_is_for_no_shorter_longer_or_otherwise_spelled_one() {
    let mut bench = for_foo();
    for (number, bytes) in (1..).zip([&b"\x02fo"[..], b"\x04food", b"\x03Foo", b"\x03fo\x00"]) {
        assert_eq!(bench.data(number, 0, bytes), [refuse(number, NO_ACCEPTOR)]);
    }
}

#[test]
fn tags_have_1_to_255_bytes_and_prefixes_up_to_255() {
    let mut bench = Bench::new(Config::default());
    let long = [b't'; 256];
    assert_eq!(bench.refused(register(A, Exact(b""))), Refusal::Length(Length(0)));
    assert_eq!(bench.refused(register(A, Exact(&long))), Refusal::Length(Length(256)));
    assert_eq!(bench.refused(register(A, Prefix(&long))), Refusal::Length(Length(256)));
    bench.register(A, Exact(&long[1..]));
    bench.register(A, Prefix(&long[1..]));
    bench.register(A, Prefix(b""));
    assert_eq!(bench.demux.registrations().count(), 3);
}

#[test]
fn one_registration_too_many_is_refused_until_another_goes() {
    let mut bench = Bench::new(Config { max_registrations: 2, ..Config::default() });
    bench.register(A, Exact(b"a"));
    bench.register(B, Exact(b"b"));
    let full = Refusal::TooManyRegistrations { max: 2 };
    assert_eq!(bench.refused(register(A, Exact(b"c"))), full);
    // A registration that is there may be made again, and is in conflict as ever.
    bench.register(A, Exact(b"a"));
    assert_eq!(bench.refused(register(A, Exact(b"b"))), Refusal::Conflict { held_by: B });
    bench.answered(Event::AcceptorGone { acceptor: B });
    bench.register(A, Exact(b"c"));
}

#[test]
fn an_application_registers_no_reserved_tag_and_no_prefix_of_only_those() {
    let mut bench = Bench::new(Config::default());
    let reserved =
        [Exact(b"gapless:"), Exact(b"gapless:feed"), Prefix(b"gapless:"), Prefix(b"gapless:f")];
    for pattern in reserved {
        assert_eq!(bench.refused(register(A, pattern)), Refusal::Reserved);
        bench.register_by(A, pattern, Protocol);
    }
    for pattern in [Exact(b"gapless"), Prefix(b"gapless"), Prefix(b"gap"), Prefix(b"")] {
        bench.register(B, pattern);
    }
}

#[test]
fn an_application_s_shorter_prefix_never_matches_a_reserved_tag() {
    let mut bench = Bench::new(Config::default());
    bench.register(A, Prefix(b""));
    bench.register(A, Prefix(b"gap"));
    bench.register(A, Prefix(b"gapless"));
    assert_eq!(bench.data(1, 0, b"\x09gapless:x"), [refuse(1, 0x104)]);
    assert_eq!(bench.data(2, 0, b"\x08gapless:"), [refuse(2, 0x104)]);
    assert_eq!(bench.data(3, 0, b"\x07gapless"), [dispatch(3, A, b"gapless")]);
    assert_eq!(bench.data(4, 0, b"\x08gapless;"), [dispatch(4, A, b"gapless;")]);
    assert_eq!(bench.stats().refused.reserved, 2);
}

#[test]
fn a_protocol_s_registration_matches_reserved_tags_even_behind_an_application_s_longer_prefix() {
    let mut bench = Bench::new(Config::default());
    bench.register(A, Prefix(b"gap"));
    bench.register_by(B, Prefix(b"g"), Protocol);
    assert_eq!(bench.data(1, 0, b"\x09gapless:x"), [dispatch(1, B, b"gapless:x")]);
    assert_eq!(bench.data(2, 0, b"\x03gap"), [dispatch(2, A, b"gap")]);
    bench.register_by(A, Exact(b"gapless:x"), Protocol);
    assert_eq!(bench.data(3, 0, b"\x09gapless:x"), [dispatch(3, A, b"gapless:x")]);
    assert_eq!(bench.data(4, 0, b"\x09gapless:y"), [dispatch(4, B, b"gapless:y")]);
}

#[test]
fn opening_writes_the_length_and_the_tag_and_nothing_else() {
    let mut bench = Bench::new(Config::default());
    let open = Event::Open { stream: stream(1), tag: b"foo", by: Application };
    let tag = Tag::new(b"foo").unwrap();
    assert_eq!(*tag.preamble(), *b"\x03foo");
    assert_eq!(bench.answered(open), [Command::Write { stream: stream(1), tag }]);
    assert_eq!(bench.stats().opened, 1);
}

#[test]
fn only_a_protocol_opens_streams_with_reserved_tags() {
    let mut bench = Bench::new(Config::default());
    let open = |tag, by| Event::Open { stream: stream(1), tag, by };
    assert_eq!(bench.refused(open(b"gapless:x", Application)), Refusal::Reserved);
    assert_eq!(bench.answered(open(b"gapless:x", Protocol)).len(), 1);
    assert_eq!(bench.answered(open(b"gapless", Application)).len(), 1);
}

#[test]
fn no_stream_is_opened_with_an_empty_tag_or_one_of_256_bytes() {
    let mut bench = Bench::new(Config::default());
    let long = [b't'; 256];
    let open = |tag| Event::Open { stream: stream(1), tag, by: Application };
    assert_eq!(bench.refused(open(b"")), Refusal::Length(Length(0)));
    assert_eq!(bench.refused(open(&long)), Refusal::Length(Length(256)));
    let [Command::Write { tag, .. }] = &bench.answered(open(&long[1..]))[..] else { panic!() };
    assert_eq!((tag.preamble().len(), tag.preamble()[0], &tag[..]), (256, 255, &long[1..]));
}

#[test]
fn what_a_registration_did_is_counted_with_it_and_goes_with_it() {
    let mut bench = Bench::new(Config { max_held_per_acceptor: 1, ..Config::default() });
    bench.register(A, Exact(b"a"));
    bench.register(A, Prefix(b"b"));
    bench.data(1, 0, b"\x01a");
    bench.data(2, 0, b"\x02bx");
    bench.data(3, 0, b"\x02by");
    bench.give(Event::HandOffFailed { stream: stream(3), acceptor: A, tag: b"by" });
    bench.give(Event::Pause { acceptor: A });
    bench.data(4, 0, b"\x01a");
    bench.data(5, 0, b"\x02bz");
    let stats = |bench: &Bench| -> Vec<TagStats> {
        bench.demux.registrations().map(|found| found.stats).collect()
    };
    let a = TagStats { dispatched: 1, held: 1, ..TagStats::default() };
    let b = TagStats { dispatched: 2, refused: 1, failed: 1, ..TagStats::default() };
    assert_eq!(stats(&bench), [a, b]);
    bench.give(Event::Resume { acceptor: A });
    assert_eq!(stats(&bench), [TagStats { dispatched: 2, ..a }, b]);
    bench.answered(Event::Unregister { pattern: Prefix(b"b") });
    bench.register(A, Prefix(b"b"));
    assert_eq!(stats(&bench)[1], TagStats::default());
}

#[test]
fn as_calls_registering_and_opening_return_what_events_answer() {
    let mut demux = Demux::new(Config::default()).unwrap();
    assert_eq!(demux.register(ms(0), A, Exact(b"foo"), Application), Ok(()));
    assert_eq!(demux.poll_command(), None, "nothing follows");
    let conflict = demux.register(ms(0), B, Exact(b"foo"), Application);
    assert_eq!(conflict, Err(Refusal::Conflict { held_by: A }));
    assert_eq!(demux.open(ms(0), stream(1), b"foo", Application), Ok(()));
    demux.unregister(ms(0), Exact(b"foo")); // No call waits for a drain.
    assert!(matches!(demux.poll_command(), Some(Command::Write { .. })));
    assert_eq!(demux.poll_command(), None);
}
