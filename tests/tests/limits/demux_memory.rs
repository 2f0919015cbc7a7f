//! The memory that a `Demux` keeps allocated, by a counting allocator: as much as it says, never more than
//! its configuration allows, and nothing new once it is warm.

use bytes::Bytes;
use gapless_core::demux::{
    AcceptorId, Command, Config, Demux, Event, Pattern, PeerId, Registrant, StreamId,
};
use gapless_core::{Duration, Instant, Machine};
use gapless_tests::alloc;
use gapless_tests::sim::Random;

/// The part of the allocator's peak that may lie beyond what is reported: a tag on its way from one place to
/// another.
const BESIDE: usize = 4 << 10;
const A: AcceptorId = AcceptorId(1);
const B: AcceptorId = AcceptorId(2);

fn small() -> Config {
    Config {
        max_pending: 100,
        max_pending_per_peer: 10,
        hold: Duration::from_secs(1),
        max_held: 90,
        max_held_per_acceptor: 40,
        max_held_bytes: 1 << 20,
        max_registrations: 130,
        ..Config::default()
    }
}

/// Each of a peer of its own, so that as many peers are known as can be.
fn stream(number: u64) -> StreamId {
    StreamId { peer: PeerId(number), number: 0 }
}

/// Takes all commands, and says how many there were.
fn drain(demux: &mut Demux) -> usize {
    std::iter::from_fn(|| demux.poll_command()).count()
}

fn give(demux: &mut Demux, now: Instant, event: Event<'_>) -> usize {
    demux.handle(now, event).unwrap();
    drain(demux)
}

fn register(demux: &mut Demux, acceptor: AcceptorId, pattern: Pattern<'_>) {
    let by = Registrant::Application;
    give(demux, Instant::ZERO, Event::Register { acceptor, pattern, by });
}

fn data(stream: StreamId, offset: u64, bytes: impl Into<Bytes>, fin: bool) -> Event<'static> {
    let bytes = bytes.into();
    Event::Data { stream, offset, pinned: bytes.len(), bytes, fin }
}

/// The memory rule, for a machine that has allocated so much.
fn keeps_the_rule(demux: &Demux, allocated: isize) {
    let (allocated, used) = (usize::try_from(allocated).unwrap(), demux.memory_used());
    assert!(allocated <= used, "{allocated} bytes are allocated and {used} reported");
    let most = allocated + allocated / 20 + (16 << 10);
    assert!(used <= most, "{used} bytes are reported and {allocated} allocated");
}

/// A number below another.
fn below(random: &mut Random, end: usize) -> u64 {
    random.within(0..=end as u64 - 1)
}

/// Any event, of few streams, tags and acceptors, so that much happens.
fn any_event(random: &mut Random, offsets: &mut [u64]) -> Event<'static> {
    const TAGS: [&[u8]; 6] = [b"\x01a", b"\x02bb", b"\x03new", b"\x09gapless:x", &LONG, b"\x00"];
    const LONG: [u8; 101] = [100; 101];
    const PATTERNS: [Pattern<'_>; 5] = [
        Pattern::Exact(b"a"),
        Pattern::Prefix(b"b"),
        Pattern::Prefix(b"n"),
        Pattern::Prefix(&[100; 60]),
        Pattern::Exact(&[100; 100]),
    ];
    let acceptor = if below(random, 2) == 0 { A } else { B };
    let number = below(random, offsets.len());
    let pattern = PATTERNS[below(random, 5) as usize];
    match below(random, 40) {
        0..4 => Event::Register { acceptor, pattern, by: Registrant::Application },
        4 => Event::Unregister { pattern },
        5 if below(random, 4) == 0 => Event::AcceptorGone { acceptor },
        5..8 => Event::Pause { acceptor },
        8 if below(random, 2) == 0 => Event::Resume { acceptor },
        8 => Event::Take { acceptor },
        9 => Event::Reset { stream: stream(number), code: 0 },
        10 if below(random, 4) == 0 => Event::PeerGone { peer: stream(number).peer },
        11 => Event::Open { stream: stream(number), tag: &LONG, by: Registrant::Application },
        _ => {
            let tag = TAGS[below(random, 6) as usize];
            let payload = [0, 0, 1, 30, 1200, 4096, 4097, 20_000][below(random, 8) as usize];
            let mut bytes = [tag, &vec![1; payload]].concat();
            let mut offset = 0;
            if below(random, 2) == 0 {
                bytes.truncate(below(random, tag.len()) as usize);
            } else if below(random, 3) == 0 {
                offset = offsets[number as usize].max(1);
            }
            offsets[number as usize] = offset + bytes.len() as u64;
            data(stream(number), offset, bytes, below(random, 8) == 0)
        }
    }
}

#[test]
fn the_memory_rule_holds_after_every_event_before_and_after_its_commands_are_taken() {
    let (mut most, mut held, mut copied) = (0, 0, 0);
    for seed in 0..8 {
        let (mut demux, made) = alloc::measure(|| Demux::new(small()).unwrap());
        let (mut allocated, mut now) = (made.growth, 0);
        let mut random = Random::new(seed);
        let mut offsets = [0; 400];
        let limit = Demux::memory_limit(&small());
        for _ in 0..6_000 {
            now += below(&mut random, 40);
            let event_at = Instant::from_millis(now);
            let ((), ran) = alloc::measure(|| {
                let event = any_event(&mut random, &mut offsets);
                // Misuse changes nothing.
                let _misused = demux.handle(event_at, event);
            });
            allocated += ran.growth;
            keeps_the_rule(&demux, allocated);
            let (_, ran) = alloc::measure(|| drain(&mut demux));
            allocated += ran.growth;
            keeps_the_rule(&demux, allocated);
            if demux.poll_timeout().is_some_and(|timeout| timeout <= event_at) {
                let (_, ran) = alloc::measure(|| {
                    demux.handle_timeout(event_at).unwrap();
                    drain(&mut demux)
                });
                allocated += ran.growth;
                keeps_the_rule(&demux, allocated);
            }
            let used = demux.memory_used();
            assert!(used <= limit, "{used} bytes are taken where {limit} may be");
            most = most.max(demux.held_bytes());
            held = held.max(demux.held());
        }
        copied += demux.stats().payloads_copied;
    }
    assert!(most > 150_000 && held > 30 && copied > 500, "{most} bytes, {held} held, {copied}");
}

#[test]
fn filled_to_every_limit_it_takes_what_the_configuration_says_and_no_more() {
    let configs = [
        small(),
        Config { max_pending: 1, max_held: 1, max_registrations: 3, ..small() },
        Config { max_pending: 64, max_held: 0, max_registrations: 64, ..small() },
        // Without payload little is left that is not there: what is counted too little shows.
        Config { max_held_per_acceptor: 90, max_held_bytes: 0, ..small() },
        Config {
            max_held_per_acceptor: 1 << 20,
            max_pending_per_peer: 1 << 20,
            ..Config::default()
        },
    ];
    for config in configs {
        let (limit, beside) = (Demux::memory_limit(&config), 2 * 20_000 + BESIDE);
        let (mut demux, ran) = alloc::measure(|| {
            let mut demux = Demux::new(config.clone()).unwrap();
            register(&mut demux, A, Pattern::Prefix(b"a"));
            give(&mut demux, Instant::ZERO, Event::Pause { acceptor: A });
            for number in 0..config.max_registrations as u64 + 1 {
                let tag = [[7; 200], [number as u8; 200]].concat();
                let acceptor = AcceptorId(100 + number);
                let tag = &tag[..200 + number as usize % 50];
                let tag = [&number.to_be_bytes(), tag].concat();
                register(&mut demux, acceptor, Pattern::Exact(&tag[..tag.len().min(255)]));
            }
            for number in 0..2_000 {
                give(&mut demux, Instant::ZERO, data(stream(number), 0, &b"\xFF"[..], false));
            }
            for number in 2_000..4_000 {
                let bytes = [b"\x01a", &vec![1; number as usize % 20 * 1000][..]].concat();
                give(&mut demux, Instant::ZERO, data(stream(number), 0, bytes, false));
            }
            demux
        });
        keeps_the_rule(&demux, ran.growth);
        assert_eq!(demux.pending(), config.max_pending);
        assert_eq!(demux.registrations().count(), config.max_registrations);
        let full = demux.held() == config.max_held.min(config.max_held_per_acceptor)
            || demux.held_bytes() + 20_000 > config.max_held_bytes;
        assert!(full, "{} are held", demux.held());
        assert!(demux.memory_used() <= limit, "{} of {limit}", demux.memory_used());
        let peak = usize::try_from(ran.peak).unwrap();
        assert!(peak <= limit + beside, "a peak of {peak} where {limit} may be");
        give(&mut demux, Instant::ZERO, Event::AcceptorGone { acceptor: A });
        demux.handle_timeout(Instant::MAX).unwrap();
        drain(&mut demux);
        assert_eq!((demux.held(), demux.held_bytes()), (0, 0));
    }
}

/// The streams of one pass, in pieces that are all there are: nothing is allocated for the events.
fn pass(demux: &mut Demux, first: u64, now: Instant) -> usize {
    let mut commands = 0;
    let mut piece = |demux: &mut Demux, number: u64, offset: u64, bytes: &'static [u8]| {
        commands += give(demux, now, data(stream(first + number), offset, bytes, false));
    };
    for number in 0..200 {
        piece(demux, number, 0, if number % 2 == 0 { b"\x03" } else { b"\xFFdribbled" });
    }
    for number in (0..100).step_by(4) {
        piece(demux, number, 1, b"foo");
        piece(demux, number + 200, 0, b"\x03foopayload");
        piece(demux, number + 201, 0, b"\x03bar");
    }
    for number in (2..100).step_by(4) {
        piece(demux, number, 1, b"bar");
        give(demux, now, Event::Reset { stream: stream(first + number + 1), code: 0 });
    }
    give(demux, now, Event::Pause { acceptor: A });
    for number in 300..350 {
        commands += give(demux, now, data(stream(first + number), 0, &b"\x03foo"[..], true));
        commands += give(demux, now, data(stream(first + number + 50), 0, &b"\x03new"[..], true));
    }
    let by = Registrant::Application;
    let pattern = Pattern::Exact(b"new");
    commands += give(demux, now, Event::Register { acceptor: B, pattern, by });
    commands += give(demux, now, Event::Resume { acceptor: A });
    commands += give(demux, now, Event::AcceptorGone { acceptor: B });
    commands += give(demux, now, Event::Open { stream: stream(first), tag: b"foo", by });
    demux.handle_timeout(now + Duration::from_secs(5)).unwrap();
    commands + drain(demux)
}

#[test]
fn a_warm_demultiplexer_parks_dispatches_holds_refuses_and_expires_without_allocating() {
    let mut demux = Demux::new(small()).unwrap();
    register(&mut demux, A, Pattern::Exact(b"foo"));
    let first = pass(&mut demux, 0, Instant::ZERO);
    let before = *demux.stats();
    let (commands, ran) = alloc::measure(|| {
        (1..20)
            .map(|round| pass(&mut demux, 1000 * round, Instant::from_millis(10_000 * round)))
            .sum::<usize>()
    });
    assert_eq!(commands, 19 * first);
    let after = demux.stats();
    for (after, before) in [
        (after.dispatched, before.dispatched),
        (after.refused.no_acceptor, before.refused.no_acceptor),
        (after.refused.deadline, before.refused.deadline),
        (after.refused.too_many, before.refused.too_many),
        (after.held, before.held),
        (after.parked, before.parked),
        (after.forgotten.reset, before.forgotten.reset),
    ] {
        assert!(after >= before + 100, "{after} after {before}: {:?}", demux.stats());
    }
    assert_eq!((ran.allocations, ran.growth), (0, 0));
}

#[test]
fn acceptors_that_come_and_go_allocate_nothing_when_warm() {
    let mut demux = Demux::new(small()).unwrap();
    let pass = |demux: &mut Demux| {
        for number in 0..130_u64 {
            let tag = number.to_be_bytes();
            register(demux, AcceptorId(number), Pattern::Exact(&tag));
        }
        for number in 0..130 {
            let event = Event::AcceptorGone { acceptor: AcceptorId(number) };
            give(demux, Instant::ZERO, event);
        }
        assert_eq!(demux.registrations().count(), 0);
    };
    pass(&mut demux);
    let ((), ran) = alloc::measure(|| pass(&mut demux));
    assert_eq!((ran.allocations, ran.growth), (0, 0));
}

#[test]
fn a_stream_that_was_dispatched_or_refused_takes_nothing() {
    let mut demux = Demux::new(small()).unwrap();
    register(&mut demux, A, Pattern::Exact(b"foo"));
    let used = demux.memory_used();
    let ((), ran) = alloc::measure(|| {
        for number in 0..50_000 {
            give(&mut demux, Instant::ZERO, data(stream(number), 0, &b"\x03foopay"[..], false));
            give(&mut demux, Instant::ZERO, data(stream(number), 7, &b"more"[..], true));
        }
    });
    assert_eq!((demux.memory_used(), ran.allocations), (used, 0));
    assert_eq!((demux.stats().dispatched, demux.stats().stray), (50_000, 50_000));
}

#[test]
fn what_is_held_of_payload_is_allocated_once_and_leaves_with_its_command() {
    let mut demux = Demux::new(small()).unwrap();
    register(&mut demux, A, Pattern::Exact(b"foo"));
    give(&mut demux, Instant::ZERO, Event::Pause { acceptor: A });
    give(&mut demux, Instant::ZERO, data(stream(0), 0, &b"\x03foo"[..], false));
    let ((), ran) = alloc::measure(|| {
        for number in 1..=20 {
            give(&mut demux, Instant::ZERO, data(stream(number), 0, &b"\x03foopayload"[..], false));
        }
    });
    assert_eq!((ran.allocations, ran.growth), (20, 20 * 7));
    assert_eq!((demux.stats().payloads_copied, demux.held_bytes()), (20, 20 * 7));
    let used = demux.memory_used();
    demux.handle(Instant::ZERO, Event::Resume { acceptor: A }).unwrap();
    let given: Vec<Command> = std::iter::from_fn(|| demux.poll_command()).collect();
    assert_eq!(given.len(), 1 + 2 * 20);
    assert_eq!((demux.memory_used(), demux.lent()), (used - 20 * 7, 0));
}

#[test]
fn ten_thousand_peers_that_dribble_take_no_more_than_their_cap_and_end_at_their_deadlines() {
    let config = Config::default();
    let limit = Demux::memory_limit(&config);
    let mut demux = Demux::new(config).unwrap();
    register(&mut demux, A, Pattern::Exact(b"foo"));
    let (mut honest, mut now) = (0, Instant::ZERO);
    let (_, ran) = alloc::measure(|| {
        for peer in 0..10_000_u64 {
            now += Duration::from_micros(200);
            for number in 0..80 {
                let stream = StreamId { peer: PeerId(peer), number };
                give(&mut demux, now, data(stream, 0, &b"\xFFa"[..], false));
            }
            let stream = StreamId { peer: PeerId(peer), number: 100 };
            honest += give(&mut demux, now, data(stream, 0, &b"\x03foo"[..], false));
            assert!(demux.memory_used() <= limit);
        }
    });
    assert_eq!((honest, demux.pending()), (10_000, 1024));
    assert!(usize::try_from(ran.peak).unwrap() <= limit);
    let last = demux.poll_timeout().unwrap() + Duration::from_secs(5);
    demux.handle_timeout(last).unwrap();
    drain(&mut demux);
    assert_eq!((demux.pending(), demux.stats().refused.deadline), (0, 1024));
    assert_eq!(demux.stats().refused.total(), 800_000);
}
