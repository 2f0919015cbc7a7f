//! Journals of a publisher and a receiver that talk: kept ones of every version, what a replay holds
//! in memory, and journals that somebody made up.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;

use gapless_core::journal::{
    HEADER_LEN, MAGIC, MAX_PAYLOAD, Recorder, Replayer, VERSION, recorder, replayer,
};
use gapless_core::publisher::{self, Publisher};
use gapless_core::receiver::{self, LineId, Receiver, ServerId, Source};
use gapless_core::retransmitter::Retransmitter;
use gapless_core::transmitter::Transmitter;
use gapless_core::{Duration, Instant, Machine, Session};
use gapless_tests::alloc::{self, Counting};
use gapless_tests::sim::Random;
use proptest::prelude::*;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SESSION: Session = Session::new(*b"JOURNALED ");
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9_000);
const ASKER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9_001);

type Shared = Rc<RefCell<Vec<u8>>>;

/// A publisher and a receiver that loses every ninth packet of it, both recorded.
struct Conversation {
    publisher: Recorder<Publisher, Shared>,
    receiver: Recorder<Receiver, Shared>,
    now: Instant,
    packets: u64,
}

impl Conversation {
    fn new(journal: &Shared, commands: bool) -> Self {
        let mut config = publisher::Config::new(SESSION);
        config.retransmitter.history_bytes = 1 << 18;
        if let Some(transmitter) = &mut config.transmitter {
            transmitter.ring = 16;
            transmitter.end_linger = Duration::from_secs(2);
        }
        let sink = || Rc::clone(journal);
        let publisher = recorder::Config { machine: config, id: 0, sink: sink(), commands };
        let config = receiver::Config {
            session: Some(SESSION),
            lines: vec![LineId(0)],
            servers: vec![(ServerId(0), SERVER)],
            max_held_bytes: 1 << 18,
            max_held_packets: 64,
            max_gaps: 64,
            ..receiver::Config::default()
        };
        let receiver = recorder::Config { machine: config, id: 1, sink: sink(), commands };
        Self {
            publisher: Recorder::new(publisher).unwrap(),
            receiver: Recorder::new(receiver).unwrap(),
            now: Instant::from_millis(1),
            packets: 0,
        }
    }

    /// Lets both say what they have to say, until nothing is said any more.
    fn talk(&mut self) {
        loop {
            let mut silent = true;
            while let Some(command) = self.receiver.poll_command() {
                if let receiver::Command::Request { request, .. } = command {
                    silent = false;
                    let datagram = &request.to_bytes();
                    let event = publisher::Event::Request { from: ASKER, datagram };
                    self.send(event);
                }
            }
            if silent {
                break;
            }
        }
    }

    fn send(&mut self, event: publisher::Event<'_>) {
        self.publisher.handle(self.now, event).unwrap();
        while let Some(command) = self.publisher.poll_command() {
            match command {
                publisher::Command::Send { bytes } => {
                    self.packets += 1;
                    if !self.packets.is_multiple_of(9) {
                        self.hear(Source::Line(LineId(0)), &bytes);
                    }
                }
                publisher::Command::Answer { bytes, .. } => self.hear(Source::Peer(SERVER), &bytes),
                publisher::Command::LookUp { .. } => unreachable!("there is no archive"),
            }
        }
    }

    fn hear(&mut self, source: Source, bytes: &[u8]) {
        self.receiver.receive(self.now, source, bytes);
    }

    /// Publishes so many messages, each of so many bytes, then ends the session.
    fn run(mut self, messages: u64, len: usize) {
        for number in 0..messages {
            self.now = self.now + Duration::from_micros(400);
            let message: Vec<u8> = number.to_be_bytes().into_iter().cycle().take(len).collect();
            self.send(publisher::Event::Message(&message));
            self.talk();
            self.pass_time();
        }
        self.send(publisher::Event::End);
        for _ in 0..10_000 {
            self.talk();
            let timeouts = [self.publisher.poll_timeout(), self.receiver.poll_timeout()];
            let Some(next) = timeouts.into_iter().flatten().min() else { break };
            self.now = self.now.max(next);
            self.pass_time();
            if self.receiver.machine().checkpoint().is_none()
                && self.publisher.machine().is_finished()
            {
                break;
            }
        }
        assert_eq!(self.receiver.stats().delivered, messages);
        assert!(self.packets < 9 || self.receiver.stats().useful_answers > 0);
    }

    fn pass_time(&mut self) {
        if self.publisher.poll_timeout().is_some_and(|at| at <= self.now) {
            self.publisher.handle_timeout(self.now).unwrap();
            while let Some(command) = self.publisher.poll_command() {
                if let publisher::Command::Send { bytes } = command {
                    self.hear(Source::Line(LineId(0)), &bytes);
                }
            }
        }
        self.talk();
        if self.receiver.poll_timeout().is_some_and(|at| at <= self.now) {
            self.receiver.handle_timeout(self.now).unwrap();
            self.talk();
        }
    }
}

fn conversation(messages: u64, len: usize, commands: bool) -> Vec<u8> {
    let journal = Shared::default();
    Conversation::new(&journal, commands).run(messages, len);
    journal.take()
}

fn replayer() -> Replayer {
    knowing_all(Replayer::verifying())
}

fn knowing_all(replayer: Replayer) -> Replayer {
    replayer
        .knowing::<Receiver>()
        .knowing::<Publisher>()
        .knowing::<Transmitter>()
        .knowing::<Retransmitter>()
}

/// The journals that were kept, one of each version of the format and of the machines' encodings.
fn kept() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("journals")
}

/// Also: it was made by a debug build, and these tests run in release builds too.
///
/// `GAPLESS_KEEP_JOURNAL=version-1.journal` makes it anew: for a version of which none is kept yet.
#[test]
fn a_kept_journal_of_version_1_is_readable_and_verifies() {
    if let Ok(name) = std::env::var("GAPLESS_KEEP_JOURNAL") {
        std::fs::write(kept().join(name), conversation(120, 40, true)).unwrap();
    }
    let journal = std::fs::read(kept().join("version-1.journal")).unwrap();
    let mut lenient = knowing_all(Replayer::lenient());
    lenient.replay(&journal[..], &mut ()).unwrap();
    assert_eq!(lenient.machines().count(), 2);
    // A policy that was changed on purpose makes this fail: then the journal stays, as one that is
    // readable, and this line goes.
    replayer().replay(&journal[..], &mut ()).unwrap();
}

#[test]
fn a_long_conversation_verifies() {
    for commands in [false, true] {
        let journal = conversation(5_000, 100, commands);
        let ending = replayer().replay(&journal[..], &mut ()).unwrap();
        assert_eq!((ending.bytes, ending.torn), (journal.len() as u64, 0));
    }
}

#[test]
fn a_replay_holds_its_machines_and_one_block() {
    let small = conversation(20, 100, false);
    let large = conversation(20_000, 100, false);
    assert!(large.len() > 4 << 20, "{} bytes", large.len());
    let peak = |journal: &[u8]| {
        let mut replayer = replayer();
        alloc::measure(|| replayer.replay(journal, &mut ()).unwrap()).1.peak
    };
    // The history of the publisher and the blocks of the receiver fill up; both are bounded.
    let filled = 2 * (1 << 18);
    let block = 2 * (1 << 16);
    assert!(peak(&large) <= peak(&small) + filled + block);
}

/// A block's header that claims so many bytes.
fn header(length: u32) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&[0; 6]);
    header.extend_from_slice(&length.to_le_bytes());
    header.extend_from_slice(&[0; 4]);
    assert_eq!(header.len(), HEADER_LEN);
    header
}

#[test]
fn a_claimed_length_takes_one_block_at_most() {
    for length in [MAX_PAYLOAD as u32, MAX_PAYLOAD as u32 + 1, u32::MAX] {
        let journal = header(length);
        let mut replayer = replayer();
        let (result, measured) = alloc::measure(|| replayer.replay(&journal[..], &mut ()));
        assert_eq!(result.is_ok(), length as usize <= MAX_PAYLOAD, "{result:?}");
        assert!(measured.peak <= MAX_PAYLOAD as isize + 4096, "{measured:?}");
    }
}

#[test]
fn a_conversation_with_a_flipped_byte_names_the_offset_of_its_block() {
    let journal = conversation(10, 30, false);
    for at in 0..journal.len() {
        let mut flipped = journal.clone();
        flipped[at] ^= 0x10;
        match replayer().replay(&flipped[..], &mut ()) {
            Ok(ending) => assert!(ending.torn > 0, "byte {at}"),
            Err(replayer::Error::At { offset, .. }) => assert!(offset <= at as u64, "byte {at}"),
            Err(replayer::Error::Source(never)) => match never {},
        }
    }
}

proptest! {
    #[test]
    fn a_random_journal_is_an_error_or_torn(bytes in prop::collection::vec(any::<u8>(), 1..300)) {
        let ending = replayer().replay(&bytes[..], &mut ());
        prop_assert!(!ending.is_ok_and(|ending| ending.torn == 0));
    }

    #[test]
    fn a_conversation_with_many_changes_never_panics(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let mut journal = conversation(10, 30, seed % 2 == 0);
        for _ in 0..random.within(1..=4) {
            let at = usize::try_from(random.within(0..=journal.len() as u64 - 1)).unwrap();
            journal[at] = u8::try_from(random.within(0..=255)).unwrap();
        }
        let _ = replayer().replay(&journal[..], &mut ());
    }
}
