//! Journals of a demultiplexer: one that was kept, ones that were torn or damaged, and what a changed
//! machine would not hide.

use std::path::PathBuf;

use bytes::Bytes;
use gapless_core::demux::{
    AcceptorId, Command, Config, Demux, Event, Pattern, PeerId, Registrant, StreamId,
};
use gapless_core::journal::replayer::{Error, Fault};
use gapless_core::journal::{Driven, Recorder, Replayer, recorder};
use gapless_core::{Duration, Instant, Machine};
use gapless_tests::model;
use gapless_tests::sim::Random;

use Pattern::{Exact, Prefix};
use Registrant::{Application, Protocol};

const A: AcceptorId = AcceptorId(1);
const B: AcceptorId = AcceptorId(2);

/// A demultiplexer that is recorded; half of what it takes comes by direct calls.
struct Recorded<'a> {
    demux: Recorder<Demux, &'a mut Vec<u8>>,
    now: u64,
    directly: bool,
}

impl<'a> Recorded<'a> {
    fn new(journal: &'a mut Vec<u8>, id: u16, commands: bool) -> Self {
        let machine = Config {
            max_pending: 3,
            max_pending_per_peer: 2,
            hold: Duration::from_secs(1),
            max_held: 3,
            max_held_per_acceptor: 2,
            max_held_bytes: 1 << 16,
            max_registrations: 6,
            ..Config::default()
        };
        let config = recorder::Config { machine, id, sink: Some(journal), commands };
        Self { demux: Recorder::new(config).unwrap(), now: 0, directly: id % 2 == 1 }
    }

    fn give(&mut self, event: Event<'_>) -> Vec<Command> {
        self.now += 1;
        let now = Instant::from_millis(self.now);
        if self.directly {
            // A refused call is in the journal, too; misuse is not.
            let _refused = self.demux.call(now, event);
        } else {
            let _misused = self.demux.handle(now, event);
        }
        self.drain()
    }

    fn drain(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.demux.poll_command()).collect()
    }

    fn data(&mut self, peer: u64, number: u64, offset: u64, bytes: &[u8], fin: bool) {
        let stream = StreamId { peer: PeerId(peer), number };
        let (bytes, pinned) = (Bytes::copy_from_slice(bytes), bytes.len());
        self.give(Event::Data { stream, offset, bytes, pinned, fin });
    }

    fn wait(&mut self, millis: u64) {
        self.now += millis;
        self.demux.handle_timeout(Instant::from_millis(self.now)).unwrap();
        self.drain();
    }

    /// Everything that can happen, in a small way.
    fn run(&mut self) {
        let long = [b't'; 200];
        let preamble = [&[200], &long[..], &[1; 60]].concat();
        let stream = |peer, number| StreamId { peer: PeerId(peer), number };
        for (acceptor, pattern, by) in [
            (A, Exact(&b"foo"[..]), Application),
            (A, Prefix(b"t"), Application),
            (B, Exact(b"foo"), Application),
            (B, Prefix(b"b"), Application),
            (B, Prefix(b"gapless:"), Application),
            (B, Prefix(b"gapless:"), Protocol),
            (B, Exact(b""), Application),
            (B, Exact(&preamble), Application),
        ] {
            self.give(Event::Register { acceptor, pattern, by });
        }
        for round in 0..4 {
            let peer = 10 * round;
            for number in 0..6 {
                self.data(peer, number, 0, b"\x03foopay", number % 2 == 0);
                self.data(peer + 1, number, 0, &preamble[..100], false);
                self.data(peer + 1, number, 100, &preamble[100..], false);
            }
            for (number, bytes) in
                (10..).zip([&b"\x00"[..], b"", b"\x03new", b"\x09gapless:x", b"\xFF", b"\xFF"])
            {
                self.data(peer, number, 0, bytes, false);
                self.data(peer, 10 + number, 0, bytes, true);
                self.data(peer, 20 + number, 5, bytes, true);
            }
            self.give(Event::Reset { stream: stream(peer, 14), code: 9 });
            self.give(Event::Closed { stream: stream(peer, 15) });
            // Misuse leaves no trace.
            self.data(peer, 12, 0, b"held", false);
            self.wait(2000);
            for acceptor in [A, B] {
                self.give(Event::Pause { acceptor });
            }
            for number in 40..46 {
                self.data(peer + number % 3, number, 0, b"\x03barlater", false);
                self.data(peer + number % 3, number + 10, 0, &preamble, true);
                self.data(peer + 5, number, 0, b"\x03", false);
            }
            if round == 2 {
                self.give(Event::Register { acceptor: A, pattern: Exact(b"bar"), by: Application });
                self.give(Event::Unregister { pattern: Prefix(b"t") });
            }
            self.give(Event::PeerGone { peer: PeerId(peer + 2) });
            for acceptor in [B, A] {
                self.give(Event::Take { acceptor });
                self.give(Event::Resume { acceptor });
            }
            self.give(Event::Open { stream: stream(peer, 1), tag: &long, by: Application });
            self.give(Event::Open { stream: stream(peer, 5), tag: b"gapless:x", by: Application });
            self.wait(6000);
        }
        self.give(Event::Pause { acceptor: A });
        self.data(98, 0, 0, &[b"\x03foo", &[1; 5000][..]].concat(), true);
        self.give(Event::Resume { acceptor: A });
        let failed = Event::HandOffFailed { stream: stream(0, 0), acceptor: A, tag: b"foo" };
        self.give(failed);
        self.data(99, 0, 0, b"\x03baz", false);
        self.give(Event::AcceptorGone { acceptor: B });
        self.data(99, 4, 0, b"\x09gapless:x", false);
        let stats = self.demux.stats();
        let refused = stats.refused;
        let causes = [
            refused.no_acceptor,
            refused.deadline,
            refused.too_many,
            refused.too_many_of_peer,
            refused.reserved,
            refused.fin_in_preamble,
            stats.forgotten.total(),
            stats.dispatched,
            stats.held,
            stats.stray,
            stats.opened,
        ];
        assert!(causes.iter().all(|&count| count > 0), "{stats:?}");
    }
}

/// A journal of one that takes events, and of one that takes calls.
fn recorded() -> Vec<u8> {
    let mut journal = Vec::new();
    for id in 0..2 {
        Recorded::new(&mut journal, id, id == 0).run();
    }
    journal
}

fn verifying() -> Replayer<'static> {
    Replayer::verifying().knowing::<Demux>()
}

fn kept() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("journals/demux-1.journal")
}

/// `GAPLESS_KEEP_JOURNAL=demux-1.journal` makes it anew: for a version of which none is kept yet.
#[test]
fn a_kept_journal_of_version_1_is_readable_and_verifies() {
    if std::env::var("GAPLESS_KEEP_JOURNAL").as_deref() == Ok("demux-1.journal") {
        std::fs::write(kept(), recorded()).unwrap();
    }
    let journal = std::fs::read(kept()).unwrap();
    let mut lenient = Replayer::lenient().knowing::<Demux>();
    lenient.replay(&journal[..], &mut ()).unwrap();
    assert_eq!(lenient.machines().count(), 2);
    // A policy that was changed on purpose makes this fail: then the journal stays, as one that is
    // readable, and this line goes.
    verifying().replay(&journal[..], &mut ()).unwrap();
}

#[test]
fn calls_in_the_middle_of_a_drain_are_recorded_where_they_were_made() {
    let mut journal = Vec::new();
    let mut recorded = Recorded::new(&mut journal, 0, true);
    recorded.give(Event::Register { acceptor: A, pattern: Exact(b"foo"), by: Application });
    recorded.give(Event::Pause { acceptor: A });
    for peer in 0..2 {
        recorded.data(peer, 0, 0, b"\x03foopay", true);
    }
    let now = Instant::from_millis(recorded.now);
    let demux = &mut recorded.demux;
    demux.handle(now, Event::Resume { acceptor: A }).unwrap();
    assert!(matches!(demux.poll_command(), Some(Command::Dispatch { .. })));
    let stream = StreamId { peer: PeerId(9), number: 1 };
    demux.call(now, Event::Open { stream, tag: b"own", by: Application }).unwrap().unwrap();
    demux.call(now, Event::Pause { acceptor: A }).unwrap().unwrap();
    assert!(matches!(demux.poll_command(), Some(Command::Write { .. })));
    assert!(matches!(recorded.drain()[..], [Command::Data { .. }]));
    assert_eq!(recorded.demux.machine().held(), 1);
    drop(recorded);
    verifying().replay(&journal[..], &mut ()).unwrap();
}

#[test]
fn a_demultiplexer_that_was_recorded_verifies_and_counts_the_same() {
    let mut journal = Vec::new();
    let mut recorded = Recorded::new(&mut journal, 0, true);
    recorded.run();
    let stats = *recorded.demux.stats();
    drop(recorded);
    let mut replayer = verifying();
    let ending = replayer.replay(&journal[..], &mut ()).unwrap();
    assert_eq!((ending.bytes, ending.torn), (journal.len() as u64, 0));
    let again = replayer.machines().next().unwrap();
    assert_eq!(*again.machine::<Demux>().unwrap().stats(), stats);
}

#[test]
fn of_a_torn_journal_what_is_whole_is_replayed() {
    let mut journal = Vec::new();
    let mut recorded = Recorded::new(&mut journal, 0, false);
    recorded.give(Event::Register { acceptor: A, pattern: Exact(b"foo"), by: Application });
    recorded.demux.flush().unwrap();
    recorded.data(1, 0, 0, b"\x03foo", false);
    drop(recorded);
    let mut whole = Vec::new();
    for cut in 0..=journal.len() {
        let mut replayer = verifying();
        let ending = replayer.replay(&journal[..cut], &mut ()).unwrap();
        assert_eq!(ending.bytes + ending.torn as u64, cut as u64);
        let events = replayer.machines().next().map_or(0, |machine| machine.events);
        whole.push(events);
    }
    whole.dedup();
    assert_eq!(whole, [0, 1, 2]);
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let journal = recorded();
    // A bit of each byte of the head and of some records; then of bytes here and there.
    let places = (0..500).chain((500..journal.len()).step_by(499));
    for at in places.filter(|&at| at < journal.len()) {
        let mut damaged = journal.clone();
        damaged[at] ^= 1 << (at % 8);
        let replayed = verifying().replay(&damaged[..], &mut ());
        // A length that reaches beyond the end makes a journal that was torn there.
        let found = replayed.map_or(true, |ending| ending.torn > 0);
        assert!(found, "a bit of byte {at} makes no difference");
    }
}

#[test]
fn a_journal_that_somebody_made_up_breaks_nothing() {
    let journal = recorded();
    let mut random = Random::new(5);
    for round in 0..300 {
        // How it is replayed, then the journal: checksums are made right again.
        let mut made_up = [&[1 | round as u8 & 6], &journal[..]].concat();
        for _ in 0..random.within(1..=20) {
            let at = random.within(1..=made_up.len() as u64 - 1) as usize;
            let any = random.any() as u8;
            made_up[at] = random.one_of(&[0, 1, 2, 3, 0x7F, 0x80, 0xFF, any]);
        }
        model::journal::check(&made_up);
    }
}

#[test]
fn a_machine_that_does_something_else_is_reported_from_the_event_on() {
    let mut journal = Vec::new();
    let mut recorded = Recorded::new(&mut journal, 0, false);
    recorded.give(Event::Register { acceptor: A, pattern: Exact(b"foo"), by: Application });
    recorded.data(1, 0, 0, b"\x03foo", false);
    drop(recorded);
    let other = {
        let mut other = Vec::new();
        let mut recorded = Recorded::new(&mut other, 0, false);
        recorded.give(Event::Register { acceptor: B, pattern: Exact(b"foo"), by: Application });
        recorded.data(1, 0, 0, b"\x03foo", false);
        drop(recorded);
        other
    };
    // The event of one journal with the digest of the other: as if the machine had changed since.
    let forged = splice(&journal, &other);
    let Err(Error::At { fault: Fault::Differs { place, .. }, .. }) =
        verifying().replay(&forged[..], &mut ())
    else {
        panic!("it verifies");
    };
    assert_eq!(place.event, 2);
}

/// The one block of a journal with its last record, a digest, from another; and its checksum made right.
fn splice(journal: &[u8], other: &[u8]) -> Vec<u8> {
    use gapless_core::journal::{Digest, HEADER_LEN};

    assert_eq!(journal.len(), other.len());
    let mut forged = journal.to_vec();
    let end = forged.len() - 4;
    forged[end..].copy_from_slice(&other[end..]);
    let mut digest = Digest::new();
    digest.update(&forged[..16]);
    digest.update(&forged[HEADER_LEN..]);
    forged[16..HEADER_LEN].copy_from_slice(&digest.value().to_le_bytes());
    forged
}
