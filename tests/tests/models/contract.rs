//! Laws of every machine: whatever is applied in the middle of a timeout's drain cancels nothing of it, and a machine
//! never spins; and all that a harness for anybody's machines checks of them on random events. `GAPLESS_CASES` says how
//! many cases (500 by default).

use std::net::SocketAddr;

use arbitrary::Unstructured;
use bytes::Bytes;
use gapless_core::cache::{self, Cache};
use gapless_core::demux::{self, AcceptorId, Demux, Pattern, PeerId, Registrant, StreamId};
use gapless_core::fuzz::{Feed, Publication, Sequence, Streams, Tracks, play};
use gapless_core::journal::Journaled;
use gapless_core::publisher::{self, Publisher};
use gapless_core::receiver::{self, Datagram, LineId, Receiver, ServerId, Source};
use gapless_core::retransmitter::{self, LookUpId, Retransmitter};
use gapless_core::transmitter::{self, Transmitter};
use gapless_core::wire::mold::{Header, Request};
use gapless_core::{Duration, Instant, Machine, Session};
use gapless_tests::model::{cases, contract};
use gapless_tests::sim::Random;
use proptest::prelude::*;

/// Random bytes that are always the same.
fn input(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..20_000).map(|_| random.any() as u8).collect()
}

/// Plays a small machine on such bytes.
fn played<M: Journaled>(config: M::Config, sequence: &mut impl Sequence<M>, seed: u64) -> M {
    let limit = M::memory_limit(&config);
    let mut machine = M::new(config).unwrap();
    let input = input(seed);
    play::<M>(&mut machine, limit, sequence, &mut Unstructured::new(&input), |_, _| {});
    machine
}

#[test]
fn what_a_sequence_draws_is_mostly_taken() {
    let servers = vec![(ServerId(0), from())];
    let config = receiver::Config {
        lines: vec![LineId(0), LineId(1)],
        servers,
        ..receiver::Config::small()
    };
    let receiver = played::<Receiver>(config.clone(), &mut Feed::new(&config), 1);
    let stats = receiver.stats();
    assert!(stats.delivered > 500 && stats.gaps > 50, "{stats:?}");
    assert!(stats.useful_answers > 20 && stats.malformed_answers == 0, "{stats:?}");

    let mut publication = Publication::new(SESSION, 1);
    let publisher = played::<Publisher>(publisher::Config::small(SESSION), &mut publication, 2);
    let stats = publisher.retransmitter().stats();
    assert!(stats.requests > 200 && stats.answered * 10 > stats.requests * 9, "{stats:?}");

    let cache = played::<Cache>(cache::Config::small(), &mut Tracks::new(), 3);
    let stats = cache.stats();
    assert!(stats.frames > 100 && stats.groups > 50 && stats.woken > 0, "{stats:?}");

    let demux = played::<Demux>(demux::Config::small(), &mut Streams::new(), 4);
    let stats = demux.stats();
    assert!(stats.dispatched > 200 && stats.parked > 50 && stats.held > 50, "{stats:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(500)))]

    #[test]
    fn every_machine_keeps_the_contract(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        contract::check(&bytes);
    }
}

const SESSION: Session = Session::new(*b"CONTRACT  ");
const LATE: Instant = Instant::from_millis(3_600_000);

fn from() -> SocketAddr {
    ([127, 0, 0, 1], 9).into()
}

/// A packet of one message.
fn packet(sequence: u64) -> Vec<u8> {
    let mut bytes = Header { session: SESSION, sequence, count: 1 }.to_bytes().to_vec();
    bytes.extend_from_slice(&[0, 1, b'x']);
    bytes
}

fn drain<M: Machine>(machine: &mut M) -> usize {
    let mut commands = 0;
    while machine.poll_command().is_some() {
        commands += 1;
        assert!(commands < 100_000, "a drain without an end");
    }
    commands
}

/// The application of an event.
type Apply<'a, M> = dyn Fn(&mut M) -> Result<(), <M as Machine>::Error> + 'a;

/// Lets a timeout be due long after a machine was made, and applies each of `events` at each step of its drain.
fn nothing_is_cancelled<M: Machine>(make: impl Fn() -> M, events: &[&Apply<'_, M>]) {
    let alone = {
        let mut machine = make();
        assert!(machine.poll_timeout().is_some_and(|at| at <= LATE), "no timeout is due");
        machine.handle_timeout(LATE).unwrap();
        drain(&mut machine)
    };
    for step in 0..=alone {
        for (number, event) in events.iter().enumerate() {
            let mut machine = make();
            machine.handle_timeout(LATE).unwrap();
            for _ in 0..step {
                machine.poll_command();
            }
            // Misuse changes nothing.
            let _ = event(&mut machine);
            let rest = drain(&mut machine);
            let next = machine.poll_timeout();
            let at = format!("event {number} after {step} of {alone} commands, {rest} then");
            assert!(next.is_none_or(|next| next > LATE), "{at}: {next:?} is not later");
            assert!(machine.handle_timeout(LATE).is_ok(), "{at}: it is not drained");
            assert_eq!(drain(&mut machine), 0, "{at}: the timeout was not all");
        }
    }
}

/// A call that applies an event.
macro_rules! applied {
    ($($event:expr),* $(,)?) => {
        &[$(&|machine| machine.apply(LATE, $event)),*]
    };
}

#[test]
fn of_a_transmitter() {
    let make = || {
        let mut transmitter = Transmitter::new(transmitter::Config::new(SESSION)).unwrap();
        transmitter.handle(Instant::ZERO, transmitter::Event::Message(b"one")).unwrap();
        drain(&mut transmitter);
        transmitter
    };
    use transmitter::Event;
    nothing_is_cancelled(make, applied![Event::Message(b"two"), Event::Flush]);
}

#[test]
fn of_a_retransmitter() {
    use retransmitter::{Config, Event};
    let request = |sequence| Request { session: SESSION, sequence, count: 1 }.to_bytes();
    let make = || {
        let config =
            Config { session: Some(SESSION), archive: true, sent_before: 9, ..Config::default() };
        let mut retransmitter = Retransmitter::new(config).unwrap();
        for (sequence, event) in [(5, None), (6, None), (10, Some(packet(10)))] {
            match event {
                Some(packet) => {
                    retransmitter.handle(Instant::ZERO, Event::Store { packet: &packet }).unwrap();
                }
                None => {
                    let datagram = &request(sequence)[..];
                    let event = Event::Request { from: from(), datagram };
                    retransmitter.handle(Instant::ZERO, event).unwrap();
                }
            }
            drain(&mut retransmitter);
        }
        retransmitter
    };
    let (held, unknown) = (request(10), request(7));
    let found = packet(5);
    nothing_is_cancelled(
        make,
        applied![
            Event::Request { from: from(), datagram: &held },
            Event::Request { from: from(), datagram: &unknown },
            Event::Found { id: LookUpId(0), packet: &found },
            Event::NotFound { id: LookUpId(1) },
            Event::Sent { packet: &found },
        ],
    );
}

#[test]
fn of_a_publisher() {
    use publisher::Event;
    let make = || {
        let mut publisher = Publisher::new(publisher::Config::new(SESSION)).unwrap();
        publisher.handle(Instant::ZERO, transmitter::Event::Message(b"one").into()).unwrap();
        drain(&mut publisher);
        publisher
    };
    let request = Request { session: SESSION, sequence: 1, count: 1 }.to_bytes();
    nothing_is_cancelled(
        make,
        applied![
            transmitter::Event::Message(b"two").into(),
            transmitter::Event::Flush.into(),
            Event::Republish(Bytes::from(packet(7))),
            retransmitter::Event::Request { from: from(), datagram: &request }.into(),
        ],
    );
}

#[test]
fn of_a_receiver() {
    use receiver::{Config, Event, Start};
    let source = Source::Line(LineId(0));
    let datagram = move |sequence| {
        let bytes = Bytes::from(packet(sequence));
        Event::Datagram(Datagram { source, pinned: bytes.len(), bytes, arrival: Instant::ZERO })
    };
    let make = || {
        let (lines, servers) = (vec![LineId(0), LineId(1)], vec![(ServerId(0), from())]);
        let start = Start::At(1);
        let config = Config { session: Some(SESSION), start, lines, servers, ..Config::default() };
        let mut receiver = Receiver::new(config).unwrap();
        for sequence in [1, 2, 5, 6, 9, 12] {
            receiver.handle(Instant::ZERO, datagram(sequence)).unwrap();
            drain(&mut receiver);
        }
        receiver
    };
    nothing_is_cancelled(
        make,
        applied![
            datagram(3),
            datagram(20),
            datagram(13),
            Event::AddLine(LineId(2)),
            Event::RemoveLine(LineId(0)),
            Event::RemoveServer(ServerId(0)),
            Event::Advance { next: 8 },
        ],
    );
}

#[test]
fn of_a_cache() {
    use cache::{Config, Event, Limits, Start};
    let make = || {
        let mut cache = Cache::new(Config::new(1 << 20)).unwrap();
        for name in [b"a", b"b"] {
            let limits = Limits { max_age: Duration::from_secs(1), ..Limits::default() };
            let track = cache.create_track(Instant::ZERO, name, 0, limits).unwrap();
            for _ in 0..3 {
                let group = cache.append_group(Instant::ZERO, track).unwrap();
                cache.append(group, b"frame").unwrap();
            }
            cache.open_reader(track, Start::Live).unwrap();
        }
        drain(&mut cache);
        cache
    };
    let cache = make();
    let track = cache.track(b"a").unwrap();
    let group = cache.group(track, 2).unwrap();
    nothing_is_cancelled(
        make,
        applied![
            Event::Append { group, frame: b"another" },
            Event::AppendGroup { track },
            Event::FinishGroup { group },
            Event::AbortTrack { track, code: 1 },
            Event::DropTrack { track },
            Event::Seal { track },
        ],
    );
}

#[test]
fn of_a_demultiplexer() {
    use demux::{Config, Event};
    let stream = |number| StreamId { peer: PeerId(1), number };
    let data = move |number, bytes: &'static [u8]| {
        let (bytes, pinned) = (Bytes::from_static(bytes), bytes.len());
        Event::Data { stream: stream(number), offset: 0, bytes, pinned, fin: false }
    };
    let make = || {
        let hold = Duration::from_secs(1);
        let mut demux = Demux::new(Config { hold, ..Config::default() }).unwrap();
        for number in 0..4 {
            let bytes: &[u8] = if number % 2 == 0 { b"\x03fo" } else { b"\x03foo" };
            demux.handle(Instant::ZERO, data(4 * number, bytes)).unwrap();
            drain(&mut demux);
        }
        demux
    };
    let (acceptor, by) = (AcceptorId(1), Registrant::Application);
    nothing_is_cancelled(
        make,
        applied![
            Event::Register { acceptor, pattern: Pattern::Exact(b"foo"), by },
            Event::Unregister { pattern: Pattern::Exact(b"foo") },
            Event::AcceptorGone { acceptor },
            Event::Resume { acceptor },
            data(40, b"\x03foo"),
            data(40, b"\x03f"),
            Event::Reset { stream: stream(0), code: 1 },
            Event::PeerGone { peer: PeerId(1) },
            Event::Open { stream: stream(41), tag: b"foo", by },
        ],
    );
}
