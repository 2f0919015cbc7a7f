//! Journals of a publisher and a receiver that exchange packets: kept ones of every version, what a replay
//! holds in memory, and journals that somebody made up.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;

use gapless_core::journal::{
    HEADER_LEN, MAGIC, MAX_PAYLOAD, Recorder, Replayer, VERSION, recorder, replayer,
};
use gapless_core::publisher::{self, Publisher};
use gapless_core::receiver::{self, LineId, Quota, QuotaUnit, Receiver, ServerId, Source};
use gapless_core::retransmitter;
use gapless_core::retransmitter::Retransmitter;
use gapless_core::transmitter;
use gapless_core::transmitter::Transmitter;
use gapless_core::wire::mold;
use gapless_core::{Duration, Instant, Machine, Session};
use gapless_tests::alloc;
use gapless_tests::sim::Random;
use proptest::prelude::*;

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
        let publisher = recorder::Config { machine: config, id: 0, sink: Some(sink()), commands };
        let config = receiver::Config {
            session: Some(SESSION),
            lines: vec![LineId(0)],
            servers: vec![(ServerId(0), SERVER)],
            max_held_bytes: 1 << 18,
            max_held_packets: 64,
            max_gaps: 64,
            quotas: vec![Quota {
                unit: QuotaUnit::Messages,
                most: 1 << 20,
                window: Duration::from_secs(60),
            }],
            ..receiver::Config::default()
        };
        let receiver = recorder::Config { machine: config, id: 1, sink: Some(sink()), commands };
        Self {
            publisher: Recorder::new(publisher).unwrap(),
            receiver: Recorder::new(receiver).unwrap(),
            now: Instant::from_millis(1),
            packets: 0,
        }
    }

    /// Lets both say what they have to say, until nothing is said any more.
    fn exchange(&mut self) {
        loop {
            let mut silent = true;
            while let Some(command) = self.receiver.poll_command() {
                if let receiver::Command::Request { request, .. } = command {
                    silent = false;
                    let datagram = &request.to_bytes();
                    let event = publisher::Event::Retransmit(retransmitter::Event::Request {
                        from: ASKER,
                        datagram,
                    });
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
                publisher::Command::Retransmit(retransmitter::Command::Answer {
                    bytes, ..
                }) => self.hear(Source::Peer(SERVER), &bytes),
                publisher::Command::Retransmit(retransmitter::Command::LookUp { .. }) => {
                    unreachable!("there is no archive")
                }
            }
        }
    }

    fn hear(&mut self, source: Source, bytes: &[u8]) {
        self.receiver.receive(self.now, source, bytes);
    }

    /// Publishes so many messages, each of so many bytes, then ends the session.
    fn run(mut self, messages: u64, len: usize) {
        for number in 0..messages {
            self.now += Duration::from_micros(400);
            let message: Vec<u8> = number.to_be_bytes().into_iter().cycle().take(len).collect();
            self.send(publisher::Event::Transmit(transmitter::Event::Message(&message)));
            self.exchange();
            self.pass_time();
        }
        self.send(publisher::Event::Transmit(transmitter::Event::End));
        for _ in 0..10_000 {
            self.exchange();
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
        self.exchange();
        if self.receiver.poll_timeout().is_some_and(|at| at <= self.now) {
            self.receiver.handle_timeout(self.now).unwrap();
            self.exchange();
        }
    }
}

fn conversation(messages: u64, len: usize, commands: bool) -> Vec<u8> {
    let journal = Shared::default();
    Conversation::new(&journal, commands).run(messages, len);
    journal.take()
}

fn replayer() -> Replayer<'static> {
    knowing_all(Replayer::verifying())
}

fn knowing_all(replayer: Replayer<'_>) -> Replayer<'_> {
    replayer
        .knowing::<Receiver>()
        .knowing::<Publisher>()
        .knowing::<Transmitter>()
        .knowing::<Retransmitter>()
}

/// The journals that were kept: one of each version of the format and of the machines' encodings.
fn kept() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("journals")
}

/// They were made by a build without optimisation, and verify in those with it too.
///
/// `GAPLESS_KEEP_JOURNAL=receiver-4.journal` makes the last anew: for a version of which none is kept yet.
#[test]
fn kept_journals_of_every_version_are_readable_and_verify() {
    const LAST: &str = "receiver-4.journal";
    if std::env::var("GAPLESS_KEEP_JOURNAL").as_deref() == Ok(LAST) {
        std::fs::write(kept().join(LAST), conversation(120, 40, true)).unwrap();
    }
    let older = [("version-1.journal", 1), ("version-2.journal", 2), ("receiver-3.journal", 2)];
    for (name, version) in older.into_iter().chain([(LAST, VERSION)]) {
        is_readable_and_verifies(name, version);
    }
}

fn is_readable_and_verifies(name: &str, version: u16) {
    let journal = std::fs::read(kept().join(name)).unwrap();
    assert_eq!(journal[4..6], version.to_le_bytes());
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

/// Receivers, each given a datagram as large as a record may be, by either way in, of which nothing is
/// taken.
fn largest_records(by_call: bool) -> Vec<u8> {
    let packet = |number, len| {
        let mut packet = vec![0; len];
        let mut writer = mold::PacketWriter::new(&mut packet, SESSION, number).unwrap();
        while writer.push(&[7; 60_000]) {}
        let len = writer.as_bytes().len();
        packet.truncate(len);
        bytes::Bytes::from(packet)
    };
    let (first, packet) = (packet(1, 60_100), packet(2, MAX_PAYLOAD - 256));
    let journal = Shared::default();
    for id in 0..40 {
        let machine = receiver::Config {
            session: Some(SESSION),
            lines: vec![LineId(0)],
            max_held_bytes: 1 << 17,
            max_held_packets: 16,
            max_gaps: 16,
            ..receiver::Config::default()
        };
        let sink = Rc::clone(&journal);
        let config = recorder::Config { machine, id, sink: Some(sink), commands: false };
        let mut receiver = Recorder::<Receiver, _>::new(config).unwrap();
        let (now, source) = (Instant::from_millis(1), Source::Line(LineId(0)));
        receiver.receive(now, source, &first);
        while receiver.poll_command().is_some() {}
        if by_call {
            assert!(receiver.receive(now, source, &packet).is_some());
        } else {
            let (bytes, pinned) = (packet.clone(), packet.len());
            let datagram = receiver::Datagram { source, bytes, pinned, arrival: now };
            receiver.handle(now, receiver::Event::Datagram(datagram)).unwrap();
        }
    }
    journal.take()
}

#[test]
fn many_machines_with_the_largest_records_take_no_more_than_is_allowed() {
    const MOST: usize = 16 << 20;
    for by_call in [false, true] {
        let journal = largest_records(by_call);
        let mut replayer = replayer().at_most(MOST);
        let (result, measured) = alloc::measure(|| replayer.replay(&journal[..], &mut ()));
        let machines = replayer.machines().count();
        let refused = matches!(
            result,
            Err(replayer::Error::At { fault: replayer::Fault::TooLarge { .. }, .. })
        );
        assert!(refused, "{result:?}");
        assert!(machines > 1, "{machines}");
        // One block, and how one answer is written.
        let most = MOST + 2 * MAX_PAYLOAD + 4096;
        assert!(measured.peak <= most as isize, "{measured:?} of {machines} machines");
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

/// A publisher of few blocks whose packets and answers are kept outside for a while, with all that it
/// refuses for it.
fn held_outside(seed: u64, commands: bool) -> (Vec<u8>, u64) {
    let mut random = Random::new(seed);
    let mut below = |limit: u64| random.within(0..=limit - 1);
    let journal = Shared::default();
    let mut config = publisher::Config::new(SESSION);
    config.retransmitter.history_bytes = 1 << 18;
    config.retransmitter.ring = 2;
    if let Some(transmitter) = &mut config.transmitter {
        transmitter.ring = 4;
        transmitter.mtu = 200;
    }
    let config =
        recorder::Config { machine: config, id: 0, sink: Some(Rc::clone(&journal)), commands };
    let mut publisher = Recorder::<Publisher, _>::new(config).unwrap();
    let (mut held, mut refused, mut now) = (Vec::new(), 0, Instant::from_millis(1));
    for step in 0..400 {
        now += Duration::from_micros(below(3_000) * below(3));
        let message = vec![step as u8; usize::try_from(below(300)).unwrap()];
        let first = below(100) + 1;
        let request = mold::Request { session: SESSION, sequence: first, count: 1 + step % 9 };
        let datagram = &request.to_bytes();
        let event = match below(20) {
            0..12 => publisher::Event::Transmit(transmitter::Event::Message(&message)),
            12..16 => publisher::Event::Retransmit(retransmitter::Event::Request {
                from: ASKER,
                datagram,
            }),
            16 => publisher::Event::Transmit(transmitter::Event::Flush),
            17 => publisher::Event::Republish(held.last().cloned().unwrap_or_default()),
            18 => publisher::Event::Retransmit(retransmitter::Event::Store { packet: &message }),
            _ if step > 350 => publisher::Event::Transmit(transmitter::Event::End),
            _ => publisher::Event::Transmit(transmitter::Event::Flush),
        };
        let taken = match below(5) {
            0 => publisher.handle_timeout(now),
            _ => publisher.handle(now, event),
        };
        refused += u64::from(taken.is_err());
        if below(30) == 0 {
            publisher.flush().unwrap();
        }
        // Now and then the commands are not all taken, and what comes next is refused.
        for _ in 0..if below(10) == 0 { 1 } else { u32::MAX } {
            match publisher.poll_command() {
                Some(
                    publisher::Command::Send { bytes }
                    | publisher::Command::Retransmit(retransmitter::Command::Answer {
                        bytes, ..
                    }),
                ) => held.push(bytes),
                Some(publisher::Command::Retransmit(retransmitter::Command::LookUp { .. })) => {}
                None => break,
            }
        }
        while held.len() > 6 || !held.is_empty() && below(3) == 0 {
            held.swap_remove(usize::try_from(below(held.len() as u64)).unwrap());
        }
    }
    drop(publisher);
    (journal.take(), refused)
}

/// A receiver of three blocks that hears packets in any order, while batches out of its blocks are kept
/// outside.
fn lent_blocks(seed: u64, commands: bool) -> (Vec<u8>, u64) {
    let mut random = Random::new(seed);
    let mut below = |limit: u64| random.within(0..=limit - 1);
    let journal = Shared::default();
    let config = receiver::Config {
        session: Some(SESSION),
        start: receiver::Start::At(1),
        lines: vec![LineId(0)],
        servers: vec![(ServerId(0), SERVER)],
        max_held_bytes: 200 << 10,
        max_held_packets: 256,
        max_gaps: 64,
        ..receiver::Config::default()
    };
    let config =
        recorder::Config { machine: config, id: 0, sink: Some(Rc::clone(&journal)), commands };
    let mut receiver = Recorder::<Receiver, _>::new(config).unwrap();
    while receiver.poll_command().is_some() {}
    let (mut held, mut most_lent, mut now) = (Vec::new(), 0, Instant::from_millis(1));
    for _ in 0..2_000 {
        now += Duration::from_micros(below(1_000));
        let next = receiver.machine().checkpoint().map_or(1, |at| at.next);
        let number = if below(8) == 0 { next } else { next + below(30) };
        let mut packet = vec![0; 1_500];
        let mut writer = mold::PacketWriter::new(&mut packet, SESSION, number).unwrap();
        let len = usize::try_from(below(1_400)).unwrap();
        assert!(writer.push(&vec![number as u8; len]));
        let len = writer.as_bytes().len();
        packet.truncate(len);
        let source = if below(3) == 0 { Source::Peer(SERVER) } else { Source::Line(LineId(0)) };
        match below(3) {
            0 => {
                let pinned = if below(2) == 0 { len } else { 4 * len };
                let bytes = packet.into();
                let datagram = receiver::Datagram { source, bytes, pinned, arrival: now };
                receiver.handle(now, receiver::Event::Datagram(datagram)).unwrap();
            }
            1 => receiver.handle_timeout(now).unwrap(),
            _ => drop(receiver.receive(now, source, &packet)),
        }
        while let Some(command) = receiver.poll_command() {
            if let receiver::Command::Batch(batch) = command {
                held.push(batch);
            }
        }
        most_lent = receiver.lent().max(most_lent);
        while held.len() > 200 || !held.is_empty() && below(3) == 0 {
            held.swap_remove(usize::try_from(below(held.len() as u64)).unwrap());
        }
    }
    drop(receiver);
    (journal.take(), most_lent as u64)
}

#[test]
fn what_the_outside_holds_and_what_was_refused_makes_no_difference_to_a_replay() {
    for make in [held_outside, lent_blocks] {
        for seed in 0..25 {
            let (journal, happened) = make(seed, seed % 2 == 0);
            assert!(happened > 0, "seed {seed}");
            if let Err(error) = replayer().replay(&journal[..], &mut ()) {
                panic!("seed {seed}: {error}");
            }
        }
    }
}
