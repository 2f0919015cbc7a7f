//! Journals of drivers: what the sockets did is in them.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use gapless_core::journal::{Io, Recorder, Replayer, Sink, recorder};
use gapless_core::publisher::{self, Publisher};
use gapless_core::receiver::{self, Batch, Command, Event, Receiver, ServerId, Start};
use gapless_core::{Instant, Machine, Session};
use gapless_mio::{
    Address, JournalFile, PassThrough, PublisherConfig, PublisherDriver, ReceiverConfig,
    ReceiverDriver,
};

/// Turns until it is called a hang.
const TURNS: usize = 20_000;
const MESSAGES: u64 = 2_000;

#[derive(Default)]
struct Count {
    delivered: u64,
    ended: bool,
}

impl gapless_mio::Sink for Count {
    fn batch(&mut self, _now: Instant, batch: Batch<&[u8]>) {
        self.delivered += u64::from(batch.count);
    }

    fn notice(&mut self, _now: Instant, notice: Command) {
        self.ended |= matches!(notice, Command::SessionEnded { .. });
    }
}

fn session() -> Session {
    Session::from_name(b"RECORDED").unwrap()
}

#[test]
fn two_recorded_drivers_over_sockets_are_replayed_to_the_last_digest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.journal");
    let file = JournalFile::create_new(&path).unwrap();
    let receiver =
        receiver::Config { session: Some(session()), start: Start::At(1), ..Default::default() };
    let lines = vec!["127.0.0.1:0".parse().unwrap()];
    let config = ReceiverConfig { receiver, lines, ..Default::default() };
    let sink = file.clone();
    let mut receiver: ReceiverDriver<Recorder<Receiver, JournalFile>> =
        ReceiverDriver::with_machine(config, None, |machine| {
            Recorder::new(recorder::Config { machine, id: 0, sink: Some(sink), commands: true })
        })
        .unwrap();
    let to = Address::unicast(receiver.lines()[0].local).unwrap();

    let mut config = PublisherConfig::new(publisher::Config::new(session()));
    (config.lines, config.requests) = (vec![to], Some("127.0.0.1:0".parse().unwrap()));
    config.publisher.retransmitter.history_bytes = 1 << 20;
    let mut publisher: PublisherDriver<PassThrough, Recorder<Publisher, JournalFile>> =
        PublisherDriver::with_machine(config, PassThrough, None, |machine| {
            Recorder::new(recorder::Config { machine, id: 1, sink: Some(file), commands: false })
        })
        .unwrap();
    let server = publisher.requests_address().unwrap();

    let mut count = Count::default();
    receiver.handle(Event::AddServer(ServerId(0), server), &mut count).unwrap();
    for number in 1..=MESSAGES {
        publisher.publish(&number.to_be_bytes()).unwrap();
    }
    publisher.end().unwrap();
    for _ in 0..TURNS {
        publisher.turn(Some(Duration::from_millis(1))).unwrap();
        receiver.turn(Some(Duration::from_millis(1)), &mut count).unwrap();
        receiver.machine_mut().flush().unwrap();
        if count.ended {
            break;
        }
    }
    assert!(count.ended && count.delivered == MESSAGES, "{} delivered", count.delivered);
    let stats = (receiver.receiver().stats().clone(), *publisher.publisher().stats());
    drop((receiver, publisher));

    let mut replayer = Replayer::verifying().knowing::<Receiver>().knowing::<Publisher>();
    let ending = replayer.replay(Io(File::open(&path).unwrap()), &mut ()).unwrap();
    assert_eq!((ending.bytes, ending.torn), (fs::metadata(&path).unwrap().len(), 0));
    let machines: Vec<_> = replayer.machines().collect();
    assert_eq!(machines[0].machine::<Receiver>().unwrap().stats(), &stats.0);
    assert_eq!(machines[1].machine::<Publisher>().unwrap().stats(), &stats.1);
}

#[test]
fn blocks_of_several_threads_stay_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shared");
    let file = JournalFile::create_new(&path).unwrap();
    thread::scope(|scope| {
        for thread in 0..4_u8 {
            let mut file = file.clone();
            scope.spawn(move || (0..100).for_each(|_| file.write(&[thread; 1000]).unwrap()));
        }
    });
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 4 * 100 * 1000);
    assert!(bytes.chunks(1000).all(|block| block.iter().all(|byte| *byte == block[0])));
}

#[test]
fn a_file_that_cannot_be_made_is_named() {
    let error = JournalFile::create_new("no/such/folder/journal").unwrap_err().to_string();
    assert!(error.starts_with("cannot create journal no/such/folder/journal: "), "{error}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_fails_every_recorder_of_the_file_from_then_on() {
    let mut one = JournalFile::create_new("/dev/full").unwrap();
    let mut other = one.clone();
    let error = one.write(b"block").unwrap_err().to_string();
    assert!(error.starts_with("cannot write to journal /dev/full: "), "{error}");
    assert_eq!(other.write(b"block").unwrap_err().to_string(), error);
}

/// Records a machine that does nothing.
fn record(file: JournalFile, id: u16) {
    let machine = publisher::Config::new(session());
    let config = recorder::Config { machine, id, sink: Some(file), commands: false };
    drop(Recorder::<Publisher, _>::new(config).unwrap());
}

fn machines(path: &std::path::Path) -> (usize, usize) {
    let mut replayer = Replayer::verifying().knowing::<Publisher>();
    let ending = replayer.replay(Io(File::open(path).unwrap()), &mut ()).unwrap();
    (replayer.machines().count(), ending.torn)
}

#[test]
fn a_journal_is_created_new_or_in_place_of_another_or_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.journal");
    record(JournalFile::append(&path).unwrap(), 1);
    let kept = fs::read(&path).unwrap();
    let error = JournalFile::create_new(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), kept);

    record(JournalFile::append(&path).unwrap(), 2);
    assert_eq!(machines(&path), (2, 0));

    let replacing = JournalFile::replace(&path).unwrap();
    assert_eq!(machines(&path), (2, 0));
    record(replacing, 3);
    assert_eq!(machines(&path), (1, 0));
}

#[test]
fn what_is_torn_is_cut_off_before_a_journal_is_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.journal");
    record(JournalFile::create_new(&path).unwrap(), 1);
    let whole = fs::read(&path).unwrap();
    for torn in [1, 3, 19, 20, whole.len() - 1] {
        fs::write(&path, [&whole[..], &whole[..torn]].concat()).unwrap();
        record(JournalFile::append(&path).unwrap(), 2);
        assert_eq!(machines(&path), (2, 0), "{torn} bytes were torn");
    }
}

#[test]
fn a_journal_whose_middle_is_damaged_is_not_cut_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.journal");
    let file = JournalFile::create_new(&path).unwrap();
    (0..4).for_each(|id| record(file.clone(), id));
    drop(file);
    let whole = fs::read(&path).unwrap();
    let third = whole.len() / 2;
    // Each bit of the length of the third block, and its beginning.
    for (byte, bit) in (12..16).flat_map(|byte| (0..8).map(move |bit| (byte, bit))).chain([(0, 0)])
    {
        let mut damaged = whole.clone();
        damaged[third + byte] ^= 1 << bit;
        fs::write(&path, &damaged).unwrap();
        let error = JournalFile::append(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("it is damaged at byte"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), damaged);
    }
}

#[test]
fn what_is_no_journal_is_not_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("work");
    for work in ["x", "somebody's work, longer than a block's header"] {
        fs::write(&path, work).unwrap();
        let error = JournalFile::append(&path).unwrap_err().to_string();
        assert!(error.ends_with("work: it is no journal"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), work.as_bytes());
    }
}

#[test]
fn a_journal_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.journal");
    let first = JournalFile::create_new(&path).unwrap();
    for second in [JournalFile::replace(&path), JournalFile::append(&path)] {
        let error = second.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().ends_with("another process writes it"), "{error}");
    }
    drop(first);
    JournalFile::append(&path).unwrap();
}

/// Is interrupted before every read.
struct Restless<'a>(&'a [u8], RefCell<bool>);

impl Read for Restless<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.1.replace_with(|&mut interrupted| !interrupted) {
            return self.0.read(into);
        }
        Err(io::ErrorKind::Interrupted.into())
    }
}

#[test]
fn an_interrupted_read_is_tried_again() {
    let mut journal = Vec::new();
    let config = publisher::Config::new(session());
    let config =
        recorder::Config { machine: config, id: 7, sink: Some(&mut journal), commands: false };
    drop(Recorder::<Publisher, _>::new(config).unwrap());
    let mut replayer = Replayer::verifying().knowing::<Publisher>();
    let source = Io(Restless(&journal, RefCell::new(false)));
    assert_eq!(replayer.replay(source, &mut ()).unwrap().bytes, journal.len() as u64);
}
