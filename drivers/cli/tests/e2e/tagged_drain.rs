//! `gapless stream listen` when a signal asks it to end: streams may come to their end, for as long as was said.

use std::fs;
use std::io::{BufRead, BufReader};
use std::thread;
use std::time::Duration;

use crate::program::{Files, Program, wait_until};
use crate::tagged::{Listener, is_gone};
use crate::tagged_turns::command;

/// A listener and somebody in the middle of a stream, when a signal has come.
fn draining(files: &Files, arguments: &str) -> (Listener, Program) {
    let inbox = files.path("inbox");
    let mut listener = Listener::start(files, &format!("--tag x --output {inbox} {arguments}"));
    let mut sender = listener.sender("--tag x");
    sender.write(b"before, ");
    files.wait_for_length("inbox/x.000001.part", 8);
    listener.program.signal("TERM");
    let reported = listener.program.reported("about to end:");
    assert!(reported.contains("1 stream has"), "{reported}");
    (listener, sender)
}

#[test]
fn a_listener_that_drained_ends_with_0() {
    let files = Files::new();
    let (listener, mut sender) = draining(&files, "--drain 60");
    let late = listener.send("--tag x --input /dev/null");
    late.assert_code(1);
    assert!(late.errors.contains("somebody ended the program there"), "{}", late.errors);
    sender.write(b"after");
    sender.wait().assert_code(0);
    let taken = listener.program.wait();
    taken.assert_code(0);
    assert_eq!(taken.json()["end"], "complete");
    assert_eq!(files.read("inbox/x.000001"), b"before, after");
}

#[test]
fn streams_that_wait_for_their_turn_are_drained_too() {
    // Nobody says when the listener has the second one.
    for millis in [500, 2_000, 10_000] {
        let files = Files::new();
        let inbox = files.path("inbox");
        let arguments = format!("--tag x --output {inbox} --parallel 1 --drain 60");
        let mut listener = Listener::start(&files, &arguments);
        let mut senders = [0, 1].map(|_| listener.sender("--tag x"));
        for sender in &mut senders {
            sender.write(b"before, ");
        }
        wait_until(|| files.names("inbox").len() == 1);
        thread::sleep(Duration::from_millis(millis));
        listener.program.signal("INT");
        if listener.program.reported("about to end:").starts_with("1 stream has") {
            continue;
        }
        for sender in &mut senders {
            sender.write(b"after");
            sender.end_input();
        }
        for sender in senders {
            sender.wait().assert_code(0);
        }
        listener.program.wait().assert_code(0);
        return;
    }
    panic!("the second stream never came");
}

#[test]
fn what_is_not_over_when_the_time_is_up_is_cut_off() {
    let files = Files::new();
    let (listener, mut sender) = draining(&files, "--drain 0.5");
    let reported = sender.reported("error:");
    assert!(reported.contains("somebody ended the program"), "{reported}");
    sender.wait().assert_code(1);
    let taken = listener.program.wait();
    taken.assert_code(143);
    assert_eq!(taken.json()["end"], "interrupted");
    assert_eq!(files.names("inbox"), ["x.000001.part"]);
}

#[test]
fn a_second_signal_cuts_off_at_once_and_kills_commands() {
    let files = Files::new();
    let (got, whole, pid) = (files.path("got"), files.path("whole"), files.path("pid"));
    let command = format!("echo $$ > {pid}; cat > {got} && touch {whole}");
    let mut listener = Listener::exec(&files, "--tag x --drain 1000", &command);
    let mut sender = listener.sender("--tag x");
    sender.write(b"half");
    files.wait_for_length("got", 4);
    listener.program.signal("INT");
    listener.program.reported("about to end:");
    listener.program.signal("TERM");
    let taken = listener.program.wait();
    taken.assert_code(130);
    let group = String::from_utf8(files.read("pid")).unwrap().trim().to_owned();
    wait_until(|| is_gone(&group));
    assert!(!fs::exists(whole).unwrap(), "{}", taken.errors);
}

#[test]
fn who_has_not_heard_yet_that_all_is_well_is_not_cut_off_by_a_signal() {
    let files = Files::new();
    let (begun, go) = (files.path("begun"), files.path("go"));
    command(&files, &format!("touch {begun}; until [ -e {go} ]; do sleep 0.1; done; cat"));
    let (read, write) = std::io::pipe().unwrap();
    let arguments = format!("--tag x --exec {}", files.path("command"));
    let mut listener = Listener::into(write, &files, &arguments);
    let sender = listener.sender("--tag x --input /dev/null");
    wait_until(|| fs::exists(&begun).unwrap());
    sender.signal("STOP");
    fs::write(go, "").unwrap();
    let reported = BufReader::new(read).lines().next().unwrap().unwrap();
    assert!(reported.contains("\"end\":\"complete\""), "{reported}");
    listener.program.signal("TERM");
    // It is given some seconds.
    thread::sleep(Duration::from_secs(1));
    assert!(listener.program.is_running());
    sender.signal("CONT");
    sender.wait().assert_code(0);
    listener.program.wait().assert_code(0);
}
