//! Journals of real machines: recorded, replayed, cut, flipped and changed.

pub(crate) mod encoding;
mod nested;
mod panics;

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use super::replayer::{Difference, Error, Fault, MOST_MACHINE_BYTES, Place, ReplayStep};
use super::*;
use crate::publisher::{self, Publisher};
use crate::receiver::{self, Datagram, LineId, Receiver, ServerId, Source};
use crate::transmitter;
use crate::wire::mold::PacketWriter;
use crate::{Duration, Session};

type Shared = Rc<RefCell<Vec<u8>>>;

fn session() -> Session {
    Session::from_name(b"JOURNAL").unwrap()
}

/// A packet of one message.
fn packet(number: u64) -> bytes::Bytes {
    let mut buffer = [0; 40];
    let mut writer = PacketWriter::new(&mut buffer, session(), number).unwrap();
    assert!(writer.push(&number.to_be_bytes()));
    let len = writer.as_bytes().len();
    bytes::Bytes::copy_from_slice(&buffer[..len])
}

fn receiver_config() -> receiver::Config {
    receiver::Config {
        session: Some(session()),
        lines: [LineId(0), LineId(1)].into(),
        servers: [(ServerId(0), ([127, 0, 0, 1], 9000).into())].into(),
        max_held_packets: 16,
        max_gaps: 16,
        ..receiver::Config::default()
    }
}

fn recorder<M: Journaled>(
    machine: M::Config,
    id: u16,
    commands: bool,
) -> (Recorder<M, Shared>, Shared) {
    let journal = Shared::default();
    let config = recorder::Config { machine, id, sink: Some(Rc::clone(&journal)), commands };
    (Recorder::new(config).unwrap(), journal)
}

fn drain<M: Machine>(machine: &mut M) -> usize {
    core::iter::from_fn(|| machine.poll_command()).count()
}

/// Gives a receiver a feed of forty packets of which every seventh is missing, by both ways in.
fn feed(receiver: &mut Recorder<Receiver, Shared>) {
    drain(receiver);
    for number in (1..=40).filter(|number| number % 7 != 0) {
        let now = Instant::from_millis(number);
        let source = Source::Line(LineId((number % 2) as u8));
        let bytes = packet(number);
        if number % 3 == 0 {
            receiver.receive(now, source, &bytes);
            if number % 2 == 0 {
                drain(receiver);
            }
        } else {
            drain(receiver);
            let pinned = bytes.len();
            let datagram = Datagram { source, bytes, pinned, arrival: now };
            receiver.handle(now, receiver::Event::Datagram(datagram)).unwrap();
            drain(receiver);
        }
    }
    drain(receiver);
    receiver.handle_timeout(Instant::from_millis(200)).unwrap();
    drain(receiver);
}

fn recorded(commands: bool) -> Vec<u8> {
    let (mut receiver, journal) = recorder::<Receiver>(receiver_config(), 3, commands);
    feed(&mut receiver);
    drop(receiver);
    journal.take()
}

fn verify(journal: &[u8]) -> Result<replayer::Ending, Fault> {
    let mut replayer = Replayer::verifying().knowing::<Receiver>().knowing::<Publisher>();
    replayer.replay(journal, &mut ()).map_err(|error| match error {
        Error::Source(never) => match never {},
        Error::At { fault, .. } => fault,
    })
}

#[test]
fn a_replay_does_what_was_recorded() {
    for commands in [false, true] {
        let journal = recorded(commands);
        assert_eq!(verify(&journal).unwrap().bytes, journal.len() as u64);
    }
}

#[test]
fn a_replayed_machine_stands_where_the_recorded_one_stood() {
    let (mut receiver, journal) = recorder::<Receiver>(receiver_config(), 3, false);
    feed(&mut receiver);
    let (stats, checkpoint) = (receiver.stats().clone(), receiver.machine().checkpoint());
    drop(receiver);
    let mut replayer = Replayer::verifying().knowing::<Receiver>();
    replayer.replay(&journal.take()[..], &mut ()).unwrap();
    let replayed = replayer.machines().next().unwrap();
    let machine = replayed.machine::<Receiver>().unwrap();
    assert_eq!((replayed.place.machine, replayed.place.name), (3, "receiver"));
    assert_eq!((machine.stats(), machine.checkpoint()), (&stats, checkpoint));
}

#[test]
fn a_recorder_does_what_the_machine_does() {
    let mut receiver = Receiver::new(receiver_config()).unwrap();
    let (mut recorder, _journal) = recorder::<Receiver>(receiver_config(), 0, false);
    for number in [1, 2, 5, 3, 9] {
        let (now, bytes) = (Instant::from_millis(number), packet(number));
        let source = Source::Line(LineId(0));
        let direct = receiver.receive(now, source, &bytes);
        assert_eq!(recorder.receive(now, source, &bytes), direct);
        loop {
            let command = receiver.poll_command();
            assert_eq!(recorder.poll_command(), command);
            if command.is_none() {
                break;
            }
        }
        assert_eq!(recorder.poll_timeout(), receiver.poll_timeout());
    }
}

#[test]
fn what_is_refused_leaves_no_trace() {
    let (mut receiver, journal) = recorder::<Receiver>(receiver_config(), 0, true);
    drain(&mut receiver);
    let now = Instant::from_millis(1);
    receiver.handle(now, receiver::Event::AddLine(LineId(4))).unwrap();
    // Not drained, then not a line: neither is taken.
    assert!(receiver.handle(now, receiver::Event::AddLine(LineId(5))).is_err());
    assert!(receiver.handle_timeout(now).is_err());
    drain(&mut receiver);
    assert!(receiver.handle(now, receiver::Event::AddLine(LineId(99))).is_err());
    drop(receiver);
    let mut replayer = Replayer::verifying().knowing::<Receiver>();
    replayer.replay(&journal.take()[..], &mut ()).unwrap();
    assert_eq!(replayer.machines().next().unwrap().events, 1);
}

#[test]
fn several_machines_share_a_journal() {
    let journal = Shared::default();
    let sink = || Rc::clone(&journal);
    let config =
        recorder::Config { machine: receiver_config(), id: 0, sink: Some(sink()), commands: false };
    let mut receiver = Recorder::<Receiver, _>::new(config).unwrap();
    let mut config = publisher::Config::new(session());
    config.retransmitter.history_bytes = 1 << 18;
    let config = recorder::Config { machine: config, id: 1, sink: Some(sink()), commands: false };
    let mut publisher = Recorder::<Publisher, _>::new(config).unwrap();
    feed(&mut receiver);
    for number in 0..2000_u64 {
        let now = Instant::from_millis(number);
        publisher
            .handle(
                now,
                publisher::Event::Transmit(transmitter::Event::Message(
                    &number.to_be_bytes().repeat(9),
                )),
            )
            .unwrap();
        drain(&mut publisher);
        receiver.flush().unwrap();
    }
    drop((receiver, publisher));
    let mut replayer = Replayer::verifying().knowing::<Receiver>().knowing::<Publisher>();
    replayer.replay(&journal.take()[..], &mut ()).unwrap();
    let events: Vec<_> = replayer.machines().map(|machine| machine.events).collect();
    assert_eq!(events, [36, 2000]);
}

/// Keeps the text of what happens after one event.
struct Text(u64, Vec<alloc::string::String>);

impl Observer for Text {
    fn happens(&mut self, place: Place, step: ReplayStep<'_>) {
        if place.event == self.0 {
            self.1.push(format!("{step:?}"));
        }
    }
}

/// The journal of a receiver with another policy than the one that it names.
fn misrecorded(commands: bool) -> Vec<u8> {
    let (mut receiver, journal) = recorder::<Receiver>(receiver_config(), 3, commands);
    feed(&mut receiver);
    drop(receiver);
    let config = receiver::Config { reorder_packets: 1, ..receiver_config() };
    let (changed, header) = recorder::<Receiver>(config, 3, commands);
    drop(changed);
    let (mut journal, header) = (journal.take(), header.take());
    // The machine's record of one journal, the rest of the other.
    let length = u32::from_le_bytes(header[HEADER_LEN + 1..HEADER_LEN + 5].try_into().unwrap());
    let machine = HEADER_LEN..HEADER_LEN + 5 + length as usize;
    journal[machine.clone()].copy_from_slice(&header[machine]);
    seal(&mut journal);
    journal
}

/// Gives the only block of a journal the right checksum.
fn seal(journal: &mut [u8]) {
    let mut digest = Digest::new();
    digest.update(&journal[..16]);
    digest.update(&journal[HEADER_LEN..]);
    let checksum = digest.value().to_le_bytes();
    journal[16..HEADER_LEN].copy_from_slice(&checksum);
}

#[test]
fn another_policy_is_found_at_the_first_event_that_it_changes() {
    // Packet 7 is missing. The changed policy asks after one packet more of either line, 8 and 9; the
    // recorded one waits.
    let mut replayer = Replayer::verifying().knowing::<Receiver>();
    let mut text = Text(8, Vec::new());
    let error = replayer.replay(&misrecorded(false)[..], &mut text).unwrap_err();
    let Error::At { fault: Fault::Differs { place, difference }, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!((place.machine, place.event, place.now), (3, 8, Instant::from_millis(9)));
    assert!(matches!(difference, Difference::More { .. } | Difference::Digest { .. }));
    assert!(text.1.iter().any(|line| line.contains("Request")), "{text:?}", text = text.1);
}

#[test]
fn everything_that_followed_from_an_event_is_shown_before_its_difference_is_reported() {
    let mut replayer = Replayer::verifying().knowing::<Receiver>();
    let mut text = Text(8, Vec::new());
    let error = replayer.replay(&misrecorded(true)[..], &mut text).unwrap_err();
    let Error::At { fault: Fault::Differs { place, .. }, .. } = error else { panic!("{error:?}") };
    assert_eq!(place.event, 8);
    let settled = text.1.last().unwrap();
    assert!(settled.starts_with("EventDigest { recorded: "), "{settled}");
}

/// The journal, with commands, of a receiver of another session than the one that it names.
fn renamed() -> Vec<u8> {
    let mut journal = recorded(true);
    let name = journal.windows(10).position(|bytes| bytes == session().as_bytes()).unwrap();
    journal[name..name + 10].copy_from_slice(b"ANOTHER   ");
    seal(&mut journal);
    journal
}

#[test]
fn recorded_commands_are_shown_beside_those_of_a_replay_that_differs() {
    let mut replayer = Replayer::verifying().knowing::<Receiver>();
    let mut text = Text(1, Vec::new());
    let error = replayer.replay(&renamed()[..], &mut text).unwrap_err();
    let Error::At { fault: Fault::Differs { place, difference }, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!((place.event, difference), (1, Difference::Command { index: 0 }));
    let starts = |what: &str| text.1.iter().filter(|line| line.starts_with(what)).count();
    let [replayed, recorded] = ["Command(SessionStarted", "Recorded(SessionStarted"].map(starts);
    assert_eq!((replayed, recorded), (1, 1), "{:?}", text.1);
    assert_eq!(starts("Recorded(Batch"), 1, "{:?}", text.1);
}

#[test]
fn a_difference_is_reported_although_the_journal_ends_before_its_digest() {
    let mut journal = renamed();
    // The machine, its digest, the first event and its first command are left.
    let mut end = HEADER_LEN;
    for _ in 0..4 {
        let length = u32::from_le_bytes(journal[end + 1..end + 5].try_into().unwrap());
        end += 5 + length as usize;
    }
    journal.truncate(end);
    journal[12..16].copy_from_slice(&((end - HEADER_LEN) as u32).to_le_bytes());
    seal(&mut journal);
    let fault = verify(&journal).unwrap_err();
    assert!(matches!(fault, Fault::Differs { place: Place { event: 1, .. }, .. }), "{fault:?}");
}

#[test]
fn a_lenient_replay_goes_on_after_a_difference() {
    let mut replayer = Replayer::lenient().knowing::<Receiver>();
    replayer.replay(&misrecorded(true)[..], &mut ()).unwrap();
    assert_eq!(replayer.machines().next().unwrap().events, 36);
}

#[test]
fn a_journal_cut_anywhere_is_replayed_as_far_as_it_is_whole() {
    let journal = recorded(true);
    for cut in 0..journal.len() {
        let ending = verify(&journal[..cut]).unwrap();
        assert_eq!((ending.bytes, ending.torn), (0, cut));
    }
}

#[test]
fn what_followed_from_the_last_event_can_be_had_though_the_journal_does_not_say() {
    let (mut receiver, journal) = recorder::<Receiver>(receiver_config(), 0, false);
    drain(&mut receiver);
    let (bytes, source) = (packet(1), Source::Line(LineId(0)));
    let datagram = Datagram { source, pinned: bytes.len(), bytes, arrival: Instant::ZERO };
    receiver.handle(Instant::from_millis(1), receiver::Event::Datagram(datagram)).unwrap();
    receiver.flush().unwrap();
    let mut commands = 0;
    let mut replayer = Replayer::verifying().watching::<Receiver>(|_, _, step| {
        commands += u32::from(matches!(step, replayer::Step::Command(_)));
    });
    replayer.replay(&journal.borrow()[..], &mut ()).unwrap();
    replayer.drain(&mut ());
    drop(replayer);
    let taken = drain(&mut receiver);
    assert!(taken > 0 && commands as usize == taken, "{commands} of {taken}");
}

#[test]
fn a_flipped_byte_is_an_error_or_a_torn_journal() {
    let journal = recorded(false);
    for at in 0..journal.len() {
        let mut flipped = journal.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(!verify(&flipped).is_ok_and(|ending| ending.torn == 0), "byte {at}");
    }
}

#[test]
fn any_byte_in_a_block_with_a_right_checksum_is_an_error_or_another_journal() {
    let journal = recorded(true);
    for at in HEADER_LEN..journal.len() {
        for value in [0, 1, 0x7F, 0xFF] {
            let mut changed = journal.clone();
            changed[at] = value;
            seal(&mut changed);
            // Whatever comes of it: no panic, and no machine of more memory than allowed.
            let mut replayer = Replayer::verifying().knowing::<Receiver>().at_most(64 << 20);
            let _ = replayer.replay(&changed[..], &mut ());
        }
    }
}

#[test]
fn a_machine_that_would_take_too_much_memory_is_not_made() {
    let config = receiver::Config { max_held_bytes: usize::MAX / 2, ..receiver_config() };
    let mut header = Vec::new();
    block_of_machine(&config, &mut header);
    let mut replayer = Replayer::verifying().knowing::<Receiver>();
    let error = replayer.replay(&header[..], &mut ()).unwrap_err();
    let Error::At { offset, fault: Fault::TooLarge { bytes, most } } = error else {
        panic!("{error:?}");
    };
    assert_eq!((offset, most), (HEADER_LEN as u64, MOST_MACHINE_BYTES));
    assert!(bytes > usize::MAX / 2);
}

/// A journal that only says what a receiver is made from.
fn block_of_machine(config: &receiver::Config, journal: &mut Vec<u8>) {
    let mut building = block::Building::new(0);
    record::append_machine::<Receiver>(&mut building.bytes, config);
    building.close(journal).unwrap();
}

#[test]
fn more_lines_or_servers_than_there_can_be_are_refused() {
    let server = |port| (ServerId(0), ([127, 0, 0, 1], port).into());
    let servers = receiver::Config { servers: (1..=33).map(server).collect(), ..receiver_config() };
    let lines = receiver::Config { lines: [LineId(0); 33].into(), ..receiver_config() };
    for (config, field) in [(servers, "servers"), (lines, "lines")] {
        let mut header = Vec::new();
        block_of_machine(&config, &mut header);
        let fault = verify(&header).unwrap_err();
        let refused = format!("{field} is 33; it must be at most 32");
        assert_eq!(fault, Fault::Refused(refused));
    }
}

#[test]
fn what_answers_no_direct_call_is_misplaced() {
    let (mut receiver, journal) = recorder::<Receiver>(receiver_config(), 0, false);
    drain(&mut receiver);
    receiver.handle(Instant::from_millis(1), receiver::Event::AddLine(LineId(4))).unwrap();
    receiver.flush().unwrap();
    drop(receiver);
    let mut journal = journal.take();
    let first = HEADER_LEN + u32::from_le_bytes(journal[12..16].try_into().unwrap()) as usize;
    journal.truncate(first);
    journal.extend_from_slice(&[4, 0, 0, 0, 0]);
    let length = (journal.len() - HEADER_LEN) as u32;
    journal[12..16].copy_from_slice(&length.to_le_bytes());
    seal(&mut journal);
    let kind = "direct call's answer";
    assert_eq!(verify(&journal).unwrap_err(), Fault::Misplaced { kind });
}

#[test]
fn a_machine_that_nobody_knows_is_named() {
    let journal = recorded(false);
    let error = Replayer::verifying().knowing::<Publisher>().replay(&journal[..], &mut ());
    let fault = Fault::Unknown { name: "receiver".into() };
    assert_eq!(error, Err(Error::At { offset: HEADER_LEN as u64, fault }));
}

#[test]
fn a_missing_block_is_noticed() {
    let (mut receiver, journal) = recorder::<Receiver>(receiver_config(), 3, false);
    drain(&mut receiver);
    receiver.flush().unwrap();
    let first = journal.borrow().len();
    for number in 1..4 {
        receiver.receive(Instant::from_millis(number), Source::Line(LineId(0)), &packet(number));
        drain(&mut receiver);
        receiver.flush().unwrap();
    }
    drop(receiver);
    let mut journal = journal.take();
    let second = first + (journal.len() - first) / 3;
    journal.drain(first..second);
    let fault = verify(&journal).unwrap_err();
    assert_eq!(fault, Fault::OutOfOrder { machine: 3, expected: 1, found: 2 });
}

/// Takes a few blocks, then none.
struct FullDisk(u32);

impl Sink for FullDisk {
    type Error = &'static str;

    fn write(&mut self, _block: &[u8]) -> Result<(), &'static str> {
        self.0 = self.0.checked_sub(1).ok_or("no space left")?;
        Ok(())
    }
}

#[test]
fn a_machine_goes_on_when_its_journal_cannot_be_written() {
    let config = recorder::Config {
        machine: receiver_config(),
        id: 0,
        sink: Some(FullDisk(1)),
        commands: false,
    };
    let mut receiver = Recorder::<Receiver, _>::new(config).unwrap();
    drain(&mut receiver);
    assert!(receiver.flush().is_ok());
    for number in 1..10 {
        let now = Instant::from_millis(number);
        receiver.receive(now, Source::Line(LineId(0)), &packet(number));
        drain(&mut receiver);
        assert!(receiver.flush().is_err());
    }
    assert_eq!(receiver.machine().checkpoint().map(|at| at.next), Some(10));
    assert_eq!(receiver.failure(), Some(&Failure::Sink("no space left")));
}

#[test]
fn what_was_recorded_before_a_record_that_is_too_large_is_kept() {
    let (mut receiver, journal) = recorder::<Receiver>(receiver_config(), 0, false);
    feed(&mut receiver);
    let (now, source) = (Instant::from_millis(300), Source::Line(LineId(0)));
    receiver.receive(now, source, &alloc::vec![0; MAX_PAYLOAD]);
    assert!(matches!(receiver.failure(), Some(Failure::TooLarge(len)) if *len > MAX_PAYLOAD));
    drop(receiver);
    let mut replayer = Replayer::verifying().knowing::<Receiver>();
    replayer.replay(&journal.take()[..], &mut ()).unwrap();
    assert_eq!(replayer.machines().next().unwrap().events, 36);
}

#[test]
fn a_record_that_fits_a_block_of_its_own_is_recorded() {
    let (mut receiver, journal) = recorder::<Receiver>(receiver_config(), 0, false);
    feed(&mut receiver);
    let (now, source) = (Instant::from_millis(300), Source::Line(LineId(0)));
    receiver.receive(now, source, &alloc::vec![0; MAX_PAYLOAD - 100]);
    drain(&mut receiver);
    assert_eq!(receiver.failure(), None);
    drop(receiver);
    let mut replayer = Replayer::verifying().knowing::<Receiver>();
    replayer.replay(&journal.take()[..], &mut ()).unwrap();
    assert_eq!(replayer.machines().next().unwrap().events, 37);
}

#[test]
fn less_memory_than_is_taken_already_lets_no_further_machine_be_made() {
    let mut replayer = Replayer::verifying().knowing::<Receiver>();
    replayer.replay(&recorded(false)[..], &mut ()).unwrap();
    let (other, journal) = recorder::<Receiver>(receiver_config(), 4, false);
    drop(other);
    let error = replayer.at_most(1).replay(&journal.take()[..], &mut ()).unwrap_err();
    assert!(matches!(error, Error::At { fault: Fault::TooLarge { most: 1, .. }, .. }), "{error}");
}

#[test]
fn memory_limits_hold_for_what_machines_take() {
    for (max_held_packets, max_gaps, follow) in [(16, 16, false), (4096, 1000, true), (9, 9, true)]
    {
        let small = receiver_config();
        let config = receiver::Config {
            max_held_packets: max_held_packets.max(16),
            max_gaps: max_gaps.max(16),
            follow,
            ..small
        };
        let limit = Receiver::memory_limit(&config);
        let bound = Receiver::memory_limit(&config);
        assert!(bound <= limit, "{bound} where {limit} is the limit");
        assert!(limit <= bound * 2, "{limit} where {bound} would do");
    }
}

#[test]
fn durations_beyond_the_core_s_time_stay_beyond_it() {
    let config = receiver::Config { give_up: Some(Duration::MAX), ..receiver_config() };
    let mut header = Vec::new();
    block_of_machine(&config, &mut header);
    let mut replayer = Replayer::verifying().knowing::<Receiver>();
    assert!(replayer.replay(&header[..], &mut ()).is_ok());
}
