//! Journals: what the program did over real sockets, replayed; and journals that are damaged, torn, or
//! of another program.

use std::fs::{self, File};
use std::io::{Read, pipe};

use gapless_core::journal::{Digest, HEADER_LEN, Recorder, recorder};
use gapless_core::receiver::{self, LineId, Receiver, ServerId, Source};
use gapless_core::wire::mold::PacketWriter;
use gapless_core::{Instant, Machine, Session};

use crate::program::{Ended, Files, Port, Program, gapless, publisher, receiver};

fn session() -> Session {
    Session::from_name(b"JOURNAL").unwrap()
}

fn replay(files: &Files, name: &str, flags: &str) -> Ended {
    gapless(&format!("replay {} {flags}", files.path(name)))
}

fn output(ended: &Ended) -> String {
    String::from_utf8(ended.output.clone()).unwrap()
}

/// A journal of a small demo.
fn demo(files: &Files, name: &str) -> Vec<u8> {
    gapless(&format!("demo --messages 5000 --journal {}", files.path(name))).assert_code(0);
    files.read(name)
}

#[test]
fn what_the_sockets_of_the_demo_did_is_verified() {
    let files = Files::new();
    let journal = files.path("demo.journal");
    let shown = gapless(&format!("demo --messages 20000 --loss 5% --json --journal {journal}"));
    shown.assert_code(0);
    let ended = replay(&files, "demo.journal", "--verify --json");
    ended.assert_code(0);
    let (shown, replayed) = (shown.json(), ended.json());
    assert_eq!((&replayed["verified"], &replayed["torn_bytes"]), (&true.into(), &0.into()));
    assert!(replayed["difference"].is_null() && replayed["error"].is_null());
    assert_eq!(replayed["bytes"], fs::metadata(journal).unwrap().len());
    let [receiver, publisher] = [0, 1].map(|machine| &replayed["machines"][machine]);
    assert_eq!((&receiver["kind"], &publisher["kind"]), (&"receiver".into(), &"publisher".into()));
    for field in ["delivered", "lost", "gaps", "gaps_filled_by_line", "requests"] {
        assert_eq!(receiver[field], shown[field], "{field}");
    }
    assert_eq!(publisher["messages"], shown["published"]["messages"]);
    assert_eq!(publisher["requests"], shown["published"]["requests"]);
}

#[test]
fn a_receiver_and_a_publisher_in_processes_of_their_own_are_verified() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 3_000);
    let requests = Port::new().free();
    let flags = format!(
        "--requests {requests} --session FEED --output {} --journal {} --journal-commands",
        files.path("copy.bin"),
        files.path("received")
    );
    let (receive, to) = receiver(2, &flags);
    let flags = format!(
        "--input {feed} --session FEED --loss 10% --linger 1 --journal {}",
        files.path("published")
    );
    let publish = publisher(&to, requests, &flags);
    let received = receive.wait();
    received.assert_code(0);
    publish.wait().assert_code(0);
    files.assert_same("feed.bin", "copy.bin");
    for (name, field, count) in [("received", "delivered", 3_000), ("published", "messages", 3_000)]
    {
        let ended = replay(&files, name, "--verify --json");
        ended.assert_code(0);
        assert_eq!(ended.json()["machines"][0][field], count, "{name}");
    }
    assert!(received.json()["requests"].as_u64() > Some(0), "nothing was repaired");
}

#[test]
fn a_program_that_is_killed_leaves_a_journal() {
    let files = Files::new();
    let flags = format!("--session FEED --from start --journal {}", files.path("killed"));
    let (receive, to) = receiver(1, &flags);
    let mut publish = publisher(&to, Port::new().free(), "--input - --format lines --session FEED");
    publish.write(b"one\ntwo\n");
    files.wait_for_length("killed", 1);
    receive.kill();
    publish.stop().assert_code(130);
    let ended = replay(&files, "killed", "--verify --json");
    ended.assert_code(0);
    assert_eq!(ended.json()["machines"][0]["kind"], "receiver");
}

#[test]
fn a_flipped_byte_ends_with_4_and_its_block() {
    let files = Files::new();
    let journal = demo(&files, "whole");
    let length = u32::from_le_bytes(journal[12..16].try_into().unwrap());
    let second = HEADER_LEN + length as usize;
    for (at, block) in [(HEADER_LEN + 100, 0), (second + HEADER_LEN + 100, second)] {
        let mut flipped = journal.clone();
        flipped[at] ^= 0x10;
        fs::write(files.path("flipped"), flipped).unwrap();
        for flags in ["", "--verify", "--verify --json"] {
            let ended = replay(&files, "flipped", flags);
            ended.assert_code(4);
            let named = format!("at byte {block}: a block whose checksum does not fit");
            assert!(ended.errors.contains(&named), "{}", ended.errors);
        }
    }
}

#[test]
fn a_torn_journal_is_replayed_as_far_as_it_is_whole() {
    let files = Files::new();
    let journal = demo(&files, "whole");
    fs::write(files.path("torn"), &journal[..journal.len() - 7]).unwrap();
    let ended = replay(&files, "torn", "--verify --json");
    ended.assert_code(0);
    let torn = ended.json()["torn_bytes"].as_u64().unwrap();
    assert!(ended.errors.contains(&format!("its last {torn} bytes are not replayed")));
    assert_eq!(ended.json()["bytes"].as_u64().unwrap() + torn, journal.len() as u64 - 7);
}

#[test]
fn what_is_no_journal_ends_with_4() {
    let files = Files::new();
    files.feed("feed.bin", 100);
    let ended = replay(&files, "feed.bin", "");
    ended.assert_code(4);
    assert!(ended.errors.contains("at byte 0: no block begins here"), "{}", ended.errors);
    assert!(ended.errors.contains("is it a journal?"), "{}", ended.errors);
    assert!(!ended.errors.contains("was replayed"), "{}", ended.errors);
    let ended = replay(&files, "absent", "");
    ended.assert_code(4);
    assert!(ended.errors.contains("absent"), "{}", ended.errors);
}

#[test]
fn a_journal_of_which_nothing_is_left_is_not_verified() {
    let files = Files::new();
    let journal = demo(&files, "whole");
    for left in [0, 3, HEADER_LEN, HEADER_LEN + 1] {
        fs::write(files.path("left"), &journal[..left]).unwrap();
        let ended = replay(&files, "left", "--verify --json");
        ended.assert_code(4);
        assert_eq!(ended.json()["verified"], false);
        assert!(ended.errors.contains("no whole block is in it"), "{}", ended.errors);
    }
}

/// Records a receiver that misses packet 7 of forty.
fn record(config: receiver::Config, commands: bool, packets: u64) -> Vec<u8> {
    let mut journal = Vec::new();
    let config = recorder::Config { machine: config, id: 3, sink: Some(&mut journal), commands };
    let mut receiver = Recorder::<Receiver, _>::new(config).unwrap();
    let drain = |receiver: &mut Recorder<Receiver, _>| while receiver.poll_command().is_some() {};
    for number in (1..=packets).filter(|&number| number != 7) {
        let mut packet = [0; 40];
        let mut writer = PacketWriter::new(&mut packet, session(), number).unwrap();
        assert!(writer.push(&number.to_be_bytes()));
        let len = writer.as_bytes().len();
        let line = Source::Line(LineId((number % 2) as u8));
        receiver.receive(Instant::from_millis(number), line, &packet[..len]);
        drain(&mut receiver);
    }
    drop(receiver);
    journal
}

/// The journal of a receiver that waits for three packets behind a gap before it asks, said to be of
/// one that waits for a single one.
fn changed_policy(commands: bool) -> Vec<u8> {
    let config = |reorder_packets| receiver::Config {
        session: Some(session()),
        lines: [LineId(0), LineId(1)].into(),
        servers: [(ServerId(0), ([127, 0, 0, 1], 9000).into())].into(),
        reorder_packets,
        ..receiver::Config::default()
    };
    let mut journal = record(config(3), commands, 40);
    let header = record(config(1), commands, 0);
    let length = u32::from_le_bytes(header[HEADER_LEN + 1..HEADER_LEN + 5].try_into().unwrap());
    let machine = HEADER_LEN..HEADER_LEN + 5 + length as usize;
    assert_ne!(journal[machine.clone()], header[machine.clone()]);
    journal[machine.clone()].copy_from_slice(&header[machine]);
    let mut digest = Digest::new();
    digest.update(&journal[..16]);
    digest.update(&journal[HEADER_LEN..]);
    journal[16..HEADER_LEN].copy_from_slice(&digest.value().to_le_bytes());
    journal
}

#[test]
fn a_changed_policy_ends_with_1_at_the_first_event_that_it_changes() {
    let files = Files::new();
    for commands in [false, true] {
        fs::write(files.path("changed"), changed_policy(commands)).unwrap();
        let ended = replay(&files, "changed", "--verify --json");
        ended.assert_code(1);
        // Packets 1 to 6, then 8 and 9: now both lines have passed the gap by one packet.
        let difference = &ended.json()["difference"];
        assert_eq!(difference["machine"], 3);
        assert_eq!((&difference["event"], &difference["seconds"]), (&8.into(), &0.009.into()));
        assert!(difference["recorded_digest"] != difference["replayed_digest"]);
        let reported = "differs: receiver 3, event 8 at 0.009000000s, byte ";
        assert!(ended.errors.starts_with(reported), "{}", ended.errors);
        assert!(ended.errors.contains("\n  given    call line 1: JOURNAL 9..=9 (30 bytes)"));
        assert!(ended.errors.contains("\n  replayed Request { server: "), "{}", ended.errors);
        let digest = difference["recorded_digest"].as_str().unwrap();
        assert!(ended.errors.contains(&format!("{digest} recorded, ")), "{}", ended.errors);
        replay(&files, "changed", "").assert_code(0);
    }
}

#[test]
fn recorded_commands_are_shown_beside_the_replayed_ones() {
    let files = Files::new();
    let mut journal = changed_policy(true);
    // Another session's name in the machine's record: what began is another session then.
    let name = journal.windows(10).position(|bytes| bytes == session().as_bytes()).unwrap();
    journal[name..name + 10].copy_from_slice(b"ANOTHER   ");
    let mut digest = Digest::new();
    digest.update(&journal[..16]);
    digest.update(&journal[HEADER_LEN..]);
    journal[16..HEADER_LEN].copy_from_slice(&digest.value().to_le_bytes());
    fs::write(files.path("renamed"), &journal).unwrap();
    let ended = replay(&files, "renamed", "--verify");
    ended.assert_code(1);
    for line in [
        "replayed SessionStarted { session: Session(ANOTHER)",
        "recorded SessionStarted { session: Session(JOURNAL)",
    ] {
        assert!(ended.errors.contains(line), "{}", ended.errors);
    }
}

#[test]
fn a_difference_in_standard_input_is_shown_as_well() {
    let files = Files::new();
    let journal = changed_policy(false);
    fs::write(files.path("changed"), &journal).unwrap();
    let from_file = replay(&files, "changed", "--verify");
    let mut program = Program::start(["replay", "-", "--verify"]);
    program.write(&journal);
    let from_input = program.wait();
    from_input.assert_code(1);
    assert_eq!(from_input.errors, from_file.errors);
}

#[test]
fn just_the_wanted_events_are_printed() {
    let files = Files::new();
    fs::write(files.path("changed"), changed_policy(false)).unwrap();
    let ended = replay(&files, "changed", "--print --from 8 --to 9");
    ended.assert_code(0);
    let printed = output(&ended);
    let events: Vec<&str> = printed.lines().filter(|line| line.contains('#')).collect();
    assert_eq!(events.len(), 5, "{printed}");
    assert_eq!(
        events[0],
        "0.009000000s receiver 3 #8 call line 1: JOURNAL 9..=9 (30 bytes), arrived 0.009000000s"
    );
    assert_eq!(events[1], "0.009000000s receiver 3 #8   returns None");
    assert!(events[2].starts_with("0.009000000s receiver 3 #8   command Request {"), "{printed}");
    assert!(events[3].starts_with("0.010000000s receiver 3 #9 call line 0: "), "{printed}");

    let ended = replay(&files, "changed", "--print --json");
    assert_eq!(ended.json()["machines"][0]["events"], 39);
    assert!(ended.errors.contains("receiver 3 #39 call "), "{}", ended.errors);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_stops_the_journal_and_not_the_feed() {
    let ended = gapless("demo --messages 20000 --journal /dev/full --json");
    ended.assert_code(4);
    assert_eq!(ended.json()["complete"], true);
    let reported = ended.errors.matches("cannot write to journal /dev/full").count();
    assert_eq!(reported, 1, "{}", ended.errors);
}

#[test]
fn a_journal_that_cannot_be_made_ends_with_4_before_anything_starts() {
    for line in [
        "receive --line 127.0.0.1:0",
        "demo",
        "publish --input Cargo.toml --to 127.0.0.1:9 --requests 127.0.0.1:0 --session S",
    ] {
        let ended = gapless(&format!("{line} --journal no/such/folder/journal"));
        ended.assert_code(4);
        let first = ended.errors.lines().next().unwrap();
        assert!(first.contains("cannot create no/such/folder/journal"), "{first}");
        assert!(ended.output.is_empty());
    }
}

#[test]
fn a_command_whose_input_cannot_be_opened_leaves_an_older_journal_alone() {
    let files = Files::new();
    fs::write(files.path("older"), b"a journal").unwrap();
    for line in [
        "demo --input absent",
        "publish --input absent --to 127.0.0.1:9 --requests 127.0.0.1:0 --session S",
        "publish --input absent.pcap --to 127.0.0.1:9 --requests 127.0.0.1:0",
    ] {
        gapless(&format!("{line} --journal {}", files.path("older"))).assert_code(4);
        assert_eq!(files.read("older"), b"a journal", "{line}");
    }
}

#[test]
fn what_a_cache_counted_is_reported() {
    let journal = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/journals/cache-2.journal");
    let ended = gapless(&format!("replay {journal} --verify --json"));
    ended.assert_code(0);
    let cache = &ended.json()["machines"][1];
    assert_eq!((&cache["kind"], &cache["tracks"]), (&"cache".into(), &1.into()));
    assert!(cache["frames"].as_u64() > Some(20) && cache["groups_evicted"].as_u64() > Some(0));
    let ended = gapless(&format!("replay {journal} --verify"));
    ended.assert_code(0);
    assert!(output(&ended).contains(" groups of 1 tracks"), "{}", output(&ended));
}

#[test]
fn what_a_demultiplexer_counted_is_reported() {
    let journal = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/journals/demux-1.journal");
    let ended = gapless(&format!("replay {journal} --verify --json"));
    ended.assert_code(0);
    let demux = &ended.json()["machines"][0];
    assert_eq!((&demux["kind"], &demux["hand_offs_failed"]), (&"demux".into(), &1.into()));
    assert!(
        demux["dispatched"].as_u64() > Some(10) && demux["refused_deadline"].as_u64() > Some(0)
    );
    let ended = gapless(&format!("replay {journal} --verify"));
    ended.assert_code(0);
    assert!(output(&ended).contains(" dispatched, 1 in vain"), "{}", output(&ended));
}

#[test]
fn a_journal_that_is_cut_short_while_it_is_replayed_is_an_error() {
    let files = Files::new();
    let journal = files.path("demo.journal");
    gapless(&format!("demo --messages 20000 --journal {journal}")).assert_code(0);
    for is_named in [true, false] {
        let copy = files.path("copy.journal");
        fs::copy(&journal, &copy).unwrap();
        let (mut reader, writer) = pipe().unwrap();
        let input = File::open(&copy).unwrap();
        let name = if is_named { &copy } else { "-" };
        let replay = Program::start_between(input, writer, ["replay", "--print", name]);
        // It prints no more than fits the pipe before the rest is read here.
        reader.read_exact(&mut [0]).unwrap();
        File::options().write(true).open(&copy).unwrap().set_len(1).unwrap();
        reader.read_to_end(&mut Vec::new()).unwrap();
        let ended = replay.wait();
        ended.assert_code(4);
        assert!(ended.errors.contains("was cut to 1 while it was read"), "{}", ended.errors);
    }
}
