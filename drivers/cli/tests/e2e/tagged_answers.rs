//! `gapless stream send --answer`: what is there is replaced by a whole answer, and by nothing else.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::thread;

use serde_json::Value;

use crate::program::{Ended, Files, Port, Program, fifo, gapless, wait_until};
use crate::tagged::Listener;

/// A file with something in it that must not be lost.
fn precious(files: &Files) -> String {
    let path = files.path("place/answer");
    fs::create_dir(files.path("place")).unwrap();
    fs::write(&path, "precious").unwrap();
    path
}

#[test]
fn a_file_stays_as_it_is_if_there_is_no_answer() {
    let files = Files::new();
    let answer = precious(&files);
    let silent = Port::new();
    let listener = Listener::exec(&files, "--tag x", "cat; exit 3");
    let (url, pin) = (&listener.url, &listener.fingerprint);
    for (line, code) in [
        (format!("quic://{} --tag x --insecure --connect-timeout 0.3", silent.address()), 5),
        ("quic://nobody.invalid:1 --tag x --insecure".into(), 5),
        (format!("{url} --tag x --pin {}", "00".repeat(32)), 6),
        (format!("{url} --tag y --pin {pin}"), 8),
        (format!("{url} --tag x --pin {pin}"), 1),
    ] {
        let sent = gapless(&format!("stream send {line} --input /dev/null --answer {answer}"));
        sent.assert_code(code);
        assert_eq!(files.names("place"), ["answer"], "{line}");
        assert_eq!(files.read("place/answer"), b"precious", "{line}");
    }
}

#[test]
fn what_came_of_an_answer_that_is_broken_off_is_kept_as_a_part() {
    let files = Files::new();
    let (answer, go) = (precious(&files), files.path("go"));
    let command = format!("printf half; until [ -e {go} ]; do sleep 0.1; done; exit 3");
    let listener = Listener::exec(&files, "--tag job --count 2", &command);
    for _ in 0..2 {
        let line = format!("--tag job --input /dev/null --answer {answer} --json");
        let sender = listener.sender(&line);
        let has_come = |name: &String| {
            name != "answer.part" && files.read(&format!("place/{name}")) == b"half"
        };
        wait_until(|| files.names("place").iter().any(has_come));
        fs::write(&go, "").unwrap();
        let sent = sender.wait();
        sent.assert_code(1);
        assert_eq!(sent.json()["answer_part"], files.path("place/answer.part"));
        assert!(sent.errors.contains("what came of the answer is in"), "{}", sent.errors);
        assert_eq!(files.read("place/answer"), b"precious");
        // However often it is tried again, there is one.
        assert_eq!(files.names("place"), ["answer", "answer.part"]);
        fs::remove_file(&go).unwrap();
    }
}

#[test]
fn a_whole_answer_takes_the_place_of_a_file_and_its_permissions() {
    let files = Files::new();
    let answer = precious(&files);
    fs::set_permissions(&answer, fs::Permissions::from_mode(0o640)).unwrap();
    let link = files.path("link");
    std::os::unix::fs::symlink(&answer, &link).unwrap();
    let listener = Listener::exec(&files, "--tag say --once", "cat; printf whole");
    listener.send(&format!("--tag say --input /dev/null --answer {link}")).assert_code(0);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(files.read("place/answer"), b"whole");
    assert_eq!(files.names("place"), ["answer"]);
    assert_eq!(fs::metadata(&answer).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_link_to_a_file_that_is_not_there_stays_one() {
    let files = Files::new();
    fs::create_dir(files.path("place")).unwrap();
    let (link, other) = (files.path("link"), files.path("other"));
    std::os::unix::fs::symlink("other", &link).unwrap();
    std::os::unix::fs::symlink("place/answer", &other).unwrap();
    let listener = Listener::exec(&files, "--tag say --once", "cat; printf whole");
    listener.send(&format!("--tag say --input /dev/null --answer {link}")).assert_code(0);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(files.read("place/answer"), b"whole");
    assert_eq!(files.names("place"), ["answer"]);
}

#[test]
fn what_could_only_be_a_folder_is_reported_before_anything_is_sent() {
    let files = Files::new();
    let listener = Listener::exec(&files, "--tag say", "cat; printf whole");
    for end in ["/", "/."] {
        let answer = files.path("answer") + end;
        let sent = listener.send(&format!("--tag say --input /dev/null --answer {answer} --json"));
        sent.assert_code(4);
        assert_eq!((&sent.json()["peer"], &sent.json()["end"]), (&Value::Null, &"failed".into()));
    }
}

#[test]
fn an_answer_may_go_where_there_is_no_folder_to_write_to() {
    let files = Files::new();
    let listener = Listener::exec(&files, "--tag say --count 3", "cat; printf whole");
    let line = "--tag say --input /dev/null --answer";
    let sent = listener.send(&format!("{line} /dev/stdout --json"));
    sent.assert_code(0);
    // The object gives way to the answer.
    assert_eq!(sent.output, b"whole");
    assert!(sent.errors.contains(r#""end":"complete""#), "{}", sent.errors);
    listener.send(&format!("{line} /dev/null")).assert_code(0);
    let pipe = fifo(&files, "pipe");
    let read = {
        let pipe = pipe.clone();
        thread::spawn(move || fs::read(pipe).unwrap())
    };
    listener.send(&format!("{line} {pipe}")).assert_code(0);
    assert_eq!(read.join().unwrap(), b"whole");
    listener.program.wait().assert_code(0);
}

#[test]
fn no_name_of_standard_output_writes_over_what_is_there() {
    let files = Files::new();
    let listener = Listener::exec(&files, "--tag say", "cat; printf whole");
    for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let mut log = fs::File::create(files.path("log")).unwrap();
        log.write_all(b"precious, ").unwrap();
        let line = format!(
            "stream send {} --pin {} --tag say --input /dev/null --answer {name}",
            listener.url, listener.fingerprint
        );
        Program::start_into(log, line.split_whitespace()).wait().assert_code(0);
        assert_eq!(files.read("log"), b"precious, whole", "{name}");
    }
}

#[test]
fn a_file_that_is_named_through_a_process_is_replaced_as_any_other() {
    let files = Files::new();
    let listener = Listener::exec(&files, "--tag say --once", "printf whole");
    fs::write(files.path("answer"), "what was there").unwrap();
    let folder = format!("cd {} && exec \"$@\"", files.path(""));
    let line = format!(
        "stream send {} --pin {} --tag say --input /dev/null --answer /proc/self/cwd/answer",
        listener.url, listener.fingerprint
    );
    Program::start_in(&[], &folder, &line).wait().assert_code(0);
    assert_eq!(files.read("answer"), b"whole");
}

#[test]
fn a_folder_that_is_not_there_is_reported_before_anything_is_sent() {
    let files = Files::new();
    let answer = files.path("none/answer");
    let line = "stream send quic://127.0.0.1:9 --tag x --insecure --input /dev/null --answer";
    let sent = gapless(&format!("{line} {answer}"));
    sent.assert_code(4);
    assert!(sent.errors.contains(&format!("cannot create {answer}")), "{}", sent.errors);
}

/// A listener of one stream with this command, and a sender whose answer nobody reads before the listener has
/// ended; what is read then, and how the sender ended.
fn read_late(command: &str) -> (usize, Ended) {
    let files = Files::new();
    let listener = Listener::exec(&files, "--tag x --once", command);
    let (mut read, write) = std::io::pipe().unwrap();
    let (url, pin) = (&listener.url, &listener.fingerprint);
    let line = format!("stream send {url} --pin {pin} --tag x --input /dev/null");
    let sender = Program::start_into(write, line.split_whitespace());
    listener.program.wait();
    let mut answer = Vec::new();
    read.read_to_end(&mut answer).unwrap();
    (answer.len(), sender.wait())
}

#[test]
fn what_a_command_wrote_before_it_failed_is_for_a_slow_reader_too() {
    let (bytes, sent) = read_late("head -c 4000000 /dev/zero; exit 3");
    assert_eq!(bytes, 4_000_000);
    sent.assert_code(1);
    assert!(sent.errors.contains("its command failed"), "{}", sent.errors);
}

#[test]
fn a_whole_answer_that_is_read_when_the_listener_has_ended_is_whole() {
    let (bytes, sent) = read_late("head -c 4000000 /dev/zero");
    assert_eq!(bytes, 4_000_000);
    sent.assert_code(0);
}

#[test]
fn what_is_open_already_is_added_to() {
    let files = Files::new();
    let listener = Listener::exec(&files, "--tag say --count 2", "cat; printf whole");
    let log = files.path("log");
    fs::write(&log, "precious, ").unwrap();
    let (url, pin) = (&listener.url, &listener.fingerprint);
    let line =
        format!("stream send {url} --pin {pin} --tag say --input /dev/null --answer /dev/fd/3");
    Program::start_in(&[], &format!("exec \"$@\" 3>> {log}"), &line).wait().assert_code(0);
    assert_eq!(files.read("log"), b"precious, whole");
    // The one whose beginning it is has it from there.
    Program::start_in(&[], &format!("exec \"$@\" 3> {log}"), &line).wait().assert_code(0);
    assert_eq!(files.read("log"), b"whole");
}
