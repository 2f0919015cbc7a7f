//! Files that are there already, or in use: nobody's work is destroyed, and whoever cannot start changes
//! nothing.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use crate::program::{Files, Port, Program, fifo, gapless, publisher, receiver, wait_until};

const WORK: &[u8] = b"somebody's work";

/// A feed that is made packet by packet.
struct Feed {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Feed {
    fn new(to: SocketAddr) -> Self {
        Self { socket: UdpSocket::bind("127.0.0.1:0").unwrap(), to }
    }

    /// A packet with the messages from number `first` on; without any of them it ends the session.
    fn send(&self, session: &str, first: u64, messages: &[&str]) {
        let count = if messages.is_empty() { u16::MAX } else { messages.len() as u16 };
        let mut packet = format!("{session:<10}").into_bytes();
        packet.extend(first.to_be_bytes());
        packet.extend(count.to_be_bytes());
        for message in messages {
            packet.extend((message.len() as u16).to_be_bytes());
            packet.extend(message.as_bytes());
        }
        // As often as it takes to believe in a session; what comes again is dropped.
        for _ in 0..3 {
            self.socket.send_to(&packet, self.to).unwrap();
        }
    }

    /// A heartbeat: no message is sent.
    fn heartbeat(&self, session: &str, next: u64) {
        let packet = [format!("{session:<10}").as_bytes(), &next.to_be_bytes(), &[0, 0]].concat();
        self.socket.send_to(&packet, self.to).unwrap();
    }

    /// The end of a session.
    fn end(&self, session: &str, next: u64) {
        self.send(session, next, &[]);
    }
}

/// The arguments behind `--line` of a receiver that reads a feed from its start.
const START: &str = "receive --line 127.0.0.1:0 --from start";

#[test]
fn an_output_or_a_journal_that_exists_is_refused_and_stays() {
    let files = Files::new();
    let (there, feed) = (files.path("there"), files.feed("feed.bin", 10));
    fs::write(&there, WORK).unwrap();
    symlink("nowhere", files.path("link")).unwrap();
    let link = files.path("link");
    let publish =
        format!("publish --input {feed} --to 127.0.0.1:9 --requests 127.0.0.1:0 --session S");
    for line in [
        format!("{START} --output {there}"),
        format!("{START} --output {link}"),
        format!("{START} --journal {there}"),
        format!("{START} --output {there} --resume {}", files.path("state")),
        format!("{publish} --journal {there}"),
        format!("{publish} --journal {link}"),
        format!("demo --journal {there}"),
    ] {
        let ended = gapless(&line);
        assert_eq!(ended.code, Some(4), "{line}: {}", ended.errors);
        assert!(ended.errors.contains("the file exists"), "{line}: {}", ended.errors);
        assert!(ended.errors.contains("--force"), "{line}: {}", ended.errors);
        assert!(!ended.errors.contains("127.0.0.1"), "a socket was bound: {}", ended.errors);
    }
    assert_eq!(files.read("there"), WORK);
    assert_eq!(files.names(""), ["feed.bin", "link", "there"]);
}

#[test]
fn a_start_that_fails_at_its_socket_changes_no_file() {
    let files = Files::new();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (taken, feed) = (taken.local_addr().unwrap(), files.feed("feed.bin", 10));
    for name in ["output", "journal"] {
        fs::write(files.path(name), WORK).unwrap();
    }
    let [output, journal, state] = ["output", "journal", "state"].map(|name| files.path(name));
    for line in [
        format!("receive --line {taken} --force --output {output} --journal {journal}"),
        format!("receive --line {taken} --resume {state} --output {output}2 --journal {journal}2"),
        format!(
            "publish --input {feed} --to 127.0.0.1:9 --requests {taken} --session S --force \
             --journal {journal}"
        ),
    ] {
        let ended = gapless(&line);
        ended.assert_code(4);
        assert!(ended.errors.contains(&taken.to_string()), "{}", ended.errors);
    }
    assert_eq!([files.read("output"), files.read("journal")], [WORK, WORK]);
    assert_eq!(files.names(""), ["feed.bin", "journal", "output"]);
}

#[test]
fn what_nothing_comes_for_stays_and_nothing_is_made() {
    let files = Files::new();
    let (there, new) = (files.path("there"), files.path("new"));
    fs::write(&there, WORK).unwrap();
    for output in [&there, &new] {
        gapless(&format!("{START} --timeout 0.2 --force --output {output}")).assert_code(3);
    }
    assert_eq!(files.read("there"), WORK);
    assert_eq!(files.names(""), ["there"]);
}

#[test]
fn a_forced_file_is_replaced_as_a_whole_at_its_first_byte() {
    let files = Files::new();
    let there = files.path("there");
    fs::write(&there, WORK).unwrap();
    let mut reader = fs::File::open(&there).unwrap();
    let (receive, to) = receiver(1, &format!("--from start --force --output {there}"));
    let feed = Feed::new(to[0]);
    assert_eq!(files.read("there"), WORK);
    feed.send("S", 1, &["A"]);
    wait_until(|| files.read("there") == b"\0\x01A");
    feed.end("S", 2);
    receive.wait().assert_code(0);
    // A reader that has it open keeps what was there.
    let mut kept = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut kept).unwrap();
    assert_eq!(kept, WORK);
    assert_eq!(files.names(""), ["there"]);
}

#[test]
fn a_forced_file_stays_when_a_session_without_messages_ends() {
    let files = Files::new();
    let there = files.path("there");
    fs::write(&there, WORK).unwrap();
    let (receive, to) = receiver(1, &format!("--from start --force --output {there}"));
    let publish = publisher(&to, Port::new().free(), "--input /dev/null --session EMPTY");
    let ended = receive.wait();
    ended.assert_code(0);
    let words = format!("{there} stays as it was: session EMPTY has no messages");
    assert!(ended.errors.contains(&words), "{}", ended.errors);
    assert_eq!(files.read("there"), WORK);
    drop(publish);
}

#[test]
fn files_in_use_are_refused_and_another_process_is_blamed() {
    let files = Files::new();
    let [output, journal, state] = ["output", "journal", "state"].map(|name| files.path(name));
    let flags = format!("--from start --output {output} --journal {journal} --resume {state}");
    let (receive, to) = receiver(1, &flags);
    let feed = Feed::new(to[0]);
    feed.send("S", 1, &["A"]);
    files.wait_for_length("output", 3);
    files.wait_for_length("journal", 1);
    wait_until(|| !files.read("state").is_empty());
    let publish = format!(
        "publish --input {} --to 127.0.0.1:9 --requests 127.0.0.1:0 --session S",
        files.feed("feed.bin", 10)
    );
    for line in [
        format!("{START} --output {output}"),
        format!("{START} --output {output} --force"),
        format!("{START} --journal {journal}"),
        format!("{START} --journal {journal} --force"),
        format!("{START} --resume {state}"),
        format!("{START} --resume {state} --output {output}2 --force"),
        format!("{publish} --journal {journal} --force"),
        format!("demo --journal {journal} --force"),
    ] {
        let ended = gapless(&line);
        assert_eq!(ended.code, Some(4), "{line}: {}", ended.errors);
        assert!(ended.errors.contains("another process writes it"), "{line}: {}", ended.errors);
    }
    feed.send("S", 2, &["B"]);
    feed.end("S", 3);
    receive.wait().assert_code(0);
    assert_eq!(files.read("output"), b"\0\x01A\0\x01B");
    gapless(&format!("replay {journal} --verify")).assert_code(0);
}

#[test]
fn pipes_and_devices_and_standard_output_are_written_to_as_they_are() {
    let files = Files::new();
    let pipe = fifo(&files, "pipe");
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read(pipe).unwrap()
    });
    for (output, follow) in [
        (pipe.as_str(), ""),
        ("/dev/null", ""),
        ("/dev/null", "--follow --timeout 2"),
        ("-", ""),
        ("/dev/stdout", ""),
    ] {
        let (receive, to) = receiver(1, &format!("--from start {follow} --output {output}"));
        let feed = Feed::new(to[0]);
        feed.send("S", 1, &["A"]);
        feed.end("S", 2);
        let ended = receive.wait();
        ended.assert_code(0);
        if output.ends_with(['-', 't']) {
            assert_eq!(ended.output, b"\0\x01A", "{output}");
        }
    }
    assert_eq!(reader.join().unwrap(), b"\0\x01A");
    assert!(!Path::new("/dev/null.S").exists());
}

#[test]
fn a_file_is_refused_by_whichever_path_it_is_named() {
    let files = Files::new();
    fs::write(files.path("work"), "work").unwrap();
    let folder = format!("cd {} && exec \"$@\"", files.path(""));
    for path in ["work", "/proc/self/cwd/work", "/proc/self/fd/../cwd/work"] {
        let line = format!("receive --line 127.0.0.1:0 --timeout 1 --output {path}");
        let ended = Program::start_in(&[], &folder, &line).wait();
        ended.assert_code(4);
        assert!(ended.errors.contains("the file exists"), "{path}: {}", ended.errors);
    }
    // A file that is open already is appended to.
    let line = "receive --line 127.0.0.1:0 --from start --output /dev/fd/3";
    let mut receive = Program::start_in(&[], &format!("{folder} 3>>work"), line);
    let feed = Feed::new(receive.address("line A on"));
    feed.send("S", 1, &["A"]);
    feed.end("S", 2);
    receive.wait().assert_code(0);
    assert_eq!(files.read("work"), b"work\0\x01A");
}

/// Receives `messages` of session S, up to a stop before its end.
fn receive_some(files: &Files, messages: &[&str]) {
    let flags =
        format!("--from start --resume {} --output {}", files.path("state"), files.path("out"));
    let (receive, to) = receiver(1, &flags);
    Feed::new(to[0]).send("S", 1, messages);
    let length = messages.iter().map(|message| message.len() as u64 + 2).sum();
    files.wait_for_length("out", length);
    receive.stop();
}

/// Resumes session S at message `next`, by one more message.
fn resume(files: &Files, next: u64, flags: &str) -> crate::program::Ended {
    let flags = format!("--from start --resume {} {flags}", files.path("state"));
    let (receive, to) = receiver(1, &flags);
    let feed = Feed::new(to[0]);
    feed.send("S", next, &["Z"]);
    feed.end("S", next + 1);
    receive.wait()
}

#[test]
fn an_output_is_gone_on_with_and_what_is_cut_is_reported() {
    let files = Files::new();
    receive_some(&files, &["A", "B"]);
    let state: Value = serde_json::from_slice(&files.read("state")).unwrap();
    assert!(state["output"]["path"].as_str().unwrap().ends_with("/out"), "{state}");
    // As if it had been killed after it wrote more.
    let mut out = fs::File::options().append(true).open(files.path("out")).unwrap();
    std::io::Write::write_all(&mut out, b"\0\x01C\0\x01").unwrap();
    let ended = resume(&files, 3, &format!("--output {}", files.path("out")));
    ended.assert_code(0);
    assert!(ended.errors.contains("is cut from 11 to 6 bytes"), "{}", ended.errors);
    assert_eq!(files.read("out"), b"\0\x01A\0\x01B\0\x01Z");
}

#[test]
fn an_output_that_is_gone_begins_anew_and_says_so() {
    for output in ["out", "other", "-"] {
        let files = Files::new();
        receive_some(&files, &["A", "B"]);
        fs::remove_file(files.path("out")).unwrap();
        let output = if output == "-" { output.to_owned() } else { files.path(output) };
        let ended = resume(&files, 3, &format!("--output {output}"));
        ended.assert_code(0);
        let words = "begins anew at message 3 of session S";
        assert!(ended.errors.contains(words), "{}", ended.errors);
        let written = if output == "-" { ended.output } else { fs::read(output).unwrap() };
        assert_eq!(written, b"\0\x01Z");
    }
}

#[test]
fn another_file_than_the_one_that_the_state_goes_with_is_refused_and_stays() {
    let files = Files::new();
    receive_some(&files, &["A", "B"]);
    let [out, state] = ["out", "state"].map(|name| files.path(name));
    let kept = files.read("state");
    let refused = |output: &str, why: &str| {
        let before = fs::read(output).unwrap();
        let ended = gapless(&format!("{START} --resume {state} --output {output}"));
        ended.assert_code(4);
        assert!(ended.errors.contains(why), "{why}: {}", ended.errors);
        assert!(ended.errors.contains("begins with message 3"), "{}", ended.errors);
        assert_eq!(fs::read(output).unwrap(), before);
    };
    // A longer copy under the same name, a foreign file, one that is too short, another name.
    fs::write(files.path("longer"), b"\0\x01A\0\x01B\0\x01C").unwrap();
    refused(&files.path("longer"), "it is not");
    fs::rename(files.path("longer"), &out).unwrap();
    refused(&out, "3 bytes behind");
    fs::write(&out, WORK).unwrap();
    refused(&out, "it has other content");
    fs::write(&out, b"\0\x01A").unwrap();
    refused(&out, "it has 3 bytes, and had 6");
    // A state that an older version kept.
    let mut old: Value = serde_json::from_slice(&kept).unwrap();
    old.as_object_mut().unwrap().remove("output");
    fs::write(&state, old.to_string()).unwrap();
    refused(&out, "names no output: it was kept without --output, or by an older gapless");
    assert_eq!(fs::read_to_string(&state).unwrap(), old.to_string());
    // With --force there is a new one.
    let ended = resume(&files, 3, &format!("--force --output {out}"));
    ended.assert_code(0);
    assert!(ended.errors.contains("begins anew at message 3"), "{}", ended.errors);
    assert_eq!(files.read("out"), b"\0\x01Z");
}

#[test]
fn another_format_does_not_go_on_with_an_output() {
    let files = Files::new();
    receive_some(&files, &["A"]);
    let [out, state] = ["out", "state"].map(|name| files.path(name));
    let ended = gapless(&format!("{START} --resume {state} --output {out} --format lines"));
    ended.assert_code(4);
    assert!(ended.errors.contains("--format"), "{}", ended.errors);
}

#[test]
fn a_run_that_is_killed_at_once_is_gone_on_with() {
    let files = Files::new();
    let flags = format!("--resume {} --output {}", files.path("state"), files.path("out"));
    let (receive, to) = receiver(1, &format!("--from start {flags}"));
    Feed::new(to[0]).send("S", 1, &["A"]);
    wait_until(|| fs::read(files.path("state")).is_ok_and(|state| !state.is_empty()));
    receive.kill();
    let (receive, to) = receiver(1, &format!("--from start {flags}"));
    let feed = Feed::new(to[0]);
    feed.send("S", 1, &["A", "B"]);
    feed.end("S", 3);
    receive.wait().assert_code(0);
    assert_eq!(files.read("out"), b"\0\x01A\0\x01B");
}

#[test]
fn an_output_that_had_no_bytes_is_not_cut_once_somebody_wrote_to_it() {
    let files = Files::new();
    let [state, out] = ["state", "out"].map(|name| files.path(name));
    let (receive, to) = receiver(1, &format!("--from start --resume {state} --output {out}"));
    let feed = Feed::new(to[0]);
    // Heartbeats only: the session begins, and nothing is written.
    (0..3).for_each(|_| feed.heartbeat("S", 1));
    wait_until(|| fs::read(&state).is_ok_and(|state| state.starts_with(b"{")));
    receive.stop();
    assert_eq!(files.read("out"), b"");
    fs::write(&out, WORK).unwrap();
    let ended = gapless(&format!("{START} --resume {state} --output {out} --timeout 1"));
    ended.assert_code(4);
    assert!(ended.errors.contains("had none when the state was kept"), "{}", ended.errors);
    assert_eq!(files.read("out"), WORK);
}

#[test]
fn the_first_bytes_are_kept_at_once() {
    let files = Files::new();
    let flags = format!("--resume {} --output {}", files.path("state"), files.path("out"));
    let (receive, to) = receiver(1, &format!("--from start {flags}"));
    let feed = Feed::new(to[0]);
    (0..3).for_each(|_| feed.heartbeat("S", 1));
    wait_until(|| fs::read(files.path("state")).is_ok_and(|state| state.starts_with(b"{")));
    feed.send("S", 1, &["A"]);
    let kept = || serde_json::from_slice::<Value>(&files.read("state")).unwrap();
    wait_until(|| kept()["output_bytes"] == 3);
    receive.kill();
    resume(&files, 2, &format!("--output {}", files.path("out"))).assert_code(0);
    assert_eq!(files.read("out"), b"\0\x01A\0\x01Z");
}

#[test]
fn a_state_that_somebody_put_in_place_of_ours_stays() {
    let files = Files::new();
    let state = files.path("state");
    let (receive, to) = receiver(1, &format!("--from start --resume {state}"));
    let feed = Feed::new(to[0]);
    feed.send("S", 1, &["A"]);
    wait_until(|| fs::read(&state).is_ok_and(|state| state.starts_with(b"{")));
    fs::write(files.path("work"), WORK).unwrap();
    fs::rename(files.path("work"), &state).unwrap();
    feed.send("S", 2, &["B"]);
    let ended = receive.wait();
    ended.assert_code(4);
    assert!(ended.errors.contains("somebody put another file in its place"), "{}", ended.errors);
    assert_eq!(files.read("state"), WORK);
}

#[test]
fn an_empty_file_is_no_state_and_stays() {
    let files = Files::new();
    let mine = files.path("mine");
    fs::write(&mine, "").unwrap();
    gapless(&format!("{START} --resume {mine} --timeout 0.2")).assert_code(3);
    assert_eq!(files.read("mine"), b"");
}

#[test]
fn a_feed_that_was_begun_anew_is_not_gone_on_with() {
    let files = Files::new();
    let [state, out] = ["state", "out"].map(|name| files.path(name));
    let flags = format!("--resume {state} --output {out}");
    let (mut receive, to) = receiver(1, &format!("--from start {flags}"));
    let feed = Feed::new(to[0]);
    for number in 1..=5 {
        feed.send("S", number, &[&format!("old {number}")]);
    }
    files.wait_for_length("out", 35);
    for number in 1..=10 {
        feed.send("S", number, &[&format!("new {number}")]);
    }
    // The old feed has to be quiet for a while.
    let mut number = 10;
    wait_until(|| {
        number += 1;
        feed.send("S", number, &[&format!("new {number}")]);
        !receive.is_running()
    });
    receive.wait().assert_code(1);
    let old = files.read("out");
    let ended = gapless(&format!("{START} {flags} --timeout 1"));
    ended.assert_code(4);
    assert!(ended.errors.contains("a sender of session S started over"), "{}", ended.errors);
    assert!(ended.errors.contains("--on-regress ignore"), "{}", ended.errors);
    assert_eq!(files.read("out"), old);
    resume(&files, 6, &format!("--output {out} --on-regress ignore")).assert_code(0);
    assert!(files.read("out").ends_with(b"\0\x01Z"));
    // Its output is of two feeds now, and stays so.
    gapless(&format!("{START} {flags} --timeout 1")).assert_code(4);
}

/// A receiver that follows sessions, and its feed.
fn follower(files: &Files, flags: &str) -> (Program, Feed) {
    let flags = format!("--from start --follow --output {} {flags}", files.path("out"));
    let (receive, to) = receiver(1, &flags);
    (receive, Feed::new(to[0]))
}

#[test]
fn names_of_sessions_overwrite_nothing_and_follow_no_link() {
    let files = Files::new();
    fs::write(files.path("out.MON"), WORK).unwrap();
    fs::write(files.path("out.MON.2"), WORK).unwrap();
    symlink(files.path("outside"), files.path("out.TUE")).unwrap();
    symlink("/dev/null", files.path("out.WED")).unwrap();
    let flags = format!(
        "--force --resume {} --journal {}",
        files.path("out.state"),
        files.path("out.journal")
    );
    let (mut receive, feed) = follower(&files, &flags);
    for (session, own) in [
        ("MON", "out.MON.3"),
        ("TUE", "out.TUE.2"),
        ("WED", "out.WED.2"),
        ("state", "out.state.2"),
        ("journal", "out.journal.2"),
    ] {
        wait_until(|| {
            feed.send(session, 1, &["A"]);
            feed.end(session, 2);
            fs::read(files.path(own)).is_ok_and(|messages| messages == b"\0\x01A")
        });
        let reported =
            receive.reported(&format!("{} exists:", files.path(&format!("out.{session}"))));
        assert_eq!(reported, format!("session {session} goes to {}", files.path(own)));
    }
    receive.stop();
    assert_eq!([files.read("out.MON"), files.read("out.MON.2")], [WORK, WORK]);
    assert!(!Path::new(&files.path("outside")).exists());
    assert!(files.read("out.state").starts_with(b"{"));
    gapless(&format!("replay {} --verify", files.path("out.journal"))).assert_code(0);
}

#[test]
fn a_restart_within_a_session_goes_on_or_takes_a_further_name() {
    let files = Files::new();
    fs::write(files.path("out.S"), WORK).unwrap();
    let state = format!("--resume {}", files.path("state"));
    let (receive, feed) = follower(&files, &state);
    feed.send("S", 1, &["A", "B"]);
    files.wait_for_length("out.S.2", 6);
    receive.stop();

    let (receive, feed) = follower(&files, &state);
    feed.send("S", 3, &["C"]);
    files.wait_for_length("out.S.2", 9);
    let ended = receive.stop();
    assert!(!ended.errors.contains("exists"), "{}", ended.errors);

    // Without a state, or when its file is gone: whatever is there stays.
    let (mut receive, feed) = follower(&files, "");
    feed.send("S", 1, &["X"]);
    receive.reported(&format!("{} exists:", files.path("out.S")));
    files.wait_for_length("out.S.3", 3);
    receive.stop();
    fs::write(files.path("out.S.2"), WORK).unwrap();
    let (mut receive, feed) = follower(&files, &state);
    feed.send("S", 4, &["D"]);
    let begins = receive.reported(&format!("{} begins anew", files.path("out.S.4")));
    assert_eq!(begins, "at message 4 of session S");
    files.wait_for_length("out.S.4", 3);
    receive.stop();
    assert_eq!([files.read("out.S"), files.read("out.S.2")], [WORK, WORK]);
    assert_eq!(files.read("out.S.3"), b"\0\x01X");
}

#[test]
fn a_session_with_more_files_than_it_may_have_learns_what_helps() {
    let files = Files::new();
    fs::write(files.path("out.S"), "").unwrap();
    for number in 2..=10_000 {
        fs::write(files.path(&format!("out.S.{number}")), "").unwrap();
    }
    let (receive, feed) = follower(&files, "");
    feed.send("S", 1, &["A"]);
    let ended = receive.wait();
    ended.assert_code(4);
    assert!(ended.errors.contains("out.S.10000: the file exists"), "{}", ended.errors);
    assert!(ended.errors.contains("name another --output"), "{}", ended.errors);
    assert!(!ended.errors.contains("--force"), "{}", ended.errors);
}

#[test]
fn two_receivers_of_one_output_do_not_mix() {
    let files = Files::new();
    let flags = format!("--from start --output {}", files.path("out"));
    let [(first, one), (second, two)] = [receiver(1, &flags), receiver(1, &flags)];
    let (one, two) = (Feed::new(one[0]), Feed::new(two[0]));
    one.send("S", 1, &["A"]);
    files.wait_for_length("out", 3);
    two.send("S", 1, &["B"]);
    let ended = second.wait();
    ended.assert_code(4);
    assert!(ended.errors.contains("the file exists"), "{}", ended.errors);
    one.end("S", 2);
    first.wait().assert_code(0);
    assert_eq!(files.read("out"), b"\0\x01A");
}

#[test]
fn a_state_that_is_no_file_is_refused() {
    let ended = gapless(&format!("{START} --resume /dev/null"));
    ended.assert_code(4);
    assert!(ended.errors.contains("no regular file"), "{}", ended.errors);
}

#[test]
fn lines_come_out_as_they_went_in() {
    let files = Files::new();
    let lines: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    fs::write(files.path("lines"), lines).unwrap();
    let requests = Port::new();
    let flags =
        format!("--requests {} --format lines --output {}", requests.address(), files.path("copy"));
    let (receive, to) = receiver(1, &flags);
    let arguments = format!("--input {} --format lines --session SEQ", files.path("lines"));
    let publish = publisher(&to, requests.free(), &arguments);
    receive.wait().assert_code(0);
    files.assert_same("lines", "copy");
    drop(publish);
}

#[test]
fn a_message_of_several_lines_is_reported() {
    let files = Files::new();
    let flags = format!("--from start --format lines --output {}", files.path("out"));
    let (receive, to) = receiver(1, &flags);
    let feed = Feed::new(to[0]);
    feed.send("S", 1, &["one", "", "two\nlines"]);
    feed.end("S", 4);
    let ended = receive.wait();
    ended.assert_code(0);
    assert!(ended.errors.contains("warning: message 3 has line ends"), "{}", ended.errors);
    assert_eq!(files.read("out"), b"one\n\ntwo\nlines\n");
}
