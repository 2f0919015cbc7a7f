//! `gapless stream listen` when there are more streams than turns: nobody keeps others waiting for ever, be it
//! clients that say nothing, commands that do not end, or a system that has no more descriptors or processes.

use std::fs;
use std::io::Write;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::program::{Files, Program, fifo, gapless, skip, wait_until};
use crate::tagged::{Listener, is_gone};

#[test]
fn an_idle_stream_gives_way_to_one_of_another_client() {
    let files = Files::new();
    let arguments = "--tag x --parallel 2 --stream-timeout 1 --count 4";
    let begun = files.path("begun");
    let mut listener = Listener::exec(&files, arguments, &format!("echo >> {begun}; cat"));
    let mut idle = [0, 1].map(|_| listener.sender("--tag x --json"));
    for sender in &mut idle {
        sender.write(b"here");
    }
    files.wait_for_length("begun", 2);
    for _ in 0..2 {
        // The second finds a turn that is free.
        let sent = listener.send("--tag x --input /dev/null");
        sent.assert_code(0);
    }
    let reported = listener.program.reported("x from");
    assert!(
        reported.contains("next to nothing came for --stream-timeout, and others waited"),
        "{reported}"
    );
    let mut ended = idle.map(Program::wait);
    ended.sort_by_key(|ended| ended.code);
    // The other one stayed, since nobody waited any more.
    ended[0].assert_code(0);
    ended[1].assert_code(1);
    assert!(ended[1].errors.contains("next to nothing came for too long"), "{}", ended[1].errors);
    let taken = listener.program.wait();
    taken.assert_code(1);
    let ends: Vec<Value> = taken.objects().iter().map(|taken| taken["end"].clone()).collect();
    assert_eq!(ends.iter().filter(|end| **end == "idle").count(), 1, "{ends:?}");
}

#[test]
fn a_stream_of_a_byte_now_and_then_gives_way_too() {
    let files = Files::new();
    let begun = files.path("begun");
    let arguments = "--tag x --parallel 1 --stream-timeout 2 --count 2";
    let listener = Listener::exec(&files, arguments, &format!("touch {begun}; cat"));
    let line = format!("stream send {} --pin {} --tag x", listener.url, listener.fingerprint);
    let now_and_then = "while sleep 0.2; do printf x; done | exec \"$@\"";
    let trickle = Program::start_in(&[], now_and_then, &line);
    wait_until(|| fs::exists(&begun).unwrap());
    let input = files.noise("input", 1_000_000);
    let sent = listener.send(&format!("--tag x --input {input} --answer /dev/null --json"));
    sent.assert_code(0);
    assert_eq!(sent.json()["answer_bytes"], 1_000_000);
    trickle.wait().assert_code(1);
    listener.program.wait().assert_code(1);
}

#[test]
fn an_idle_stream_to_standard_output_gives_way_after_what_came_of_it() {
    let files = Files::new();
    let mut listener = Listener::start(&files, "--tag x --count 2 --stream-timeout 1");
    let mut idle = listener.sender("--tag x");
    idle.write(b"half, ");
    // Another one waits only for who has come before.
    thread::sleep(Duration::from_millis(500));
    let mut sender = listener.sender("--tag x");
    sender.write(b"whole");
    let reported = listener.program.reported("{\"tag\":\"x\"");
    let (sent, idle) = (sender.wait(), idle.wait());
    let taken = listener.program.wait();
    taken.assert_code(1);
    match sent.code {
        Some(0) => {
            assert!(reported.contains("\"end\":\"idle\""), "{reported}");
            assert_eq!(taken.output, b"half, whole");
        }
        // The other one came first, and was idle until its input ended.
        _ => assert_eq!((idle.code, &taken.output[..]), (Some(0), &b"wholehalf, "[..])),
    }
}

#[test]
fn who_takes_no_answer_is_idle_too() {
    let files = Files::new();
    let arguments = "--tag x --parallel 1 --stream-timeout 1 --count 2";
    let begun = files.path("begun");
    // More than both sides hold, and little enough for a slow machine.
    let command = format!("touch {begun}; head -c 16000000 /dev/zero");
    let listener = Listener::exec(&files, arguments, &command);
    let (_unread, write) = std::io::pipe().unwrap();
    let line = format!(
        "stream send {} --pin {} --tag x --input /dev/null",
        listener.url, listener.fingerprint
    );
    let _deaf = Program::start_into(write, line.split_whitespace());
    wait_until(|| fs::exists(&begun).unwrap());
    let sent = listener.send("--tag x --input /dev/null --answer /dev/null --json");
    sent.assert_code(0);
    assert_eq!(sent.json()["answer_bytes"], 16_000_000);
    let taken = listener.program.wait();
    taken.assert_code(1);
    assert!(taken.objects().iter().any(|taken| taken["end"] == "idle"), "{}", taken.errors);
}

#[test]
fn a_stream_that_says_nothing_takes_no_turn_from_files() {
    let files = Files::new();
    let inbox = files.path("inbox");
    let arguments = format!("--tag x --output {inbox} --parallel 1 --count 2");
    let listener = Listener::start(&files, &arguments);
    let mut silent = listener.sender("--tag x");
    silent.wait_for_handler();
    // Whichever of them comes first.
    let input = files.noise("input", 100_000);
    listener.send(&format!("--tag x --input {input}")).assert_code(0);
    assert_eq!(files.names("inbox").len(), 1);
    silent.write(b"at last");
    silent.wait().assert_code(0);
    listener.program.wait().assert_code(0);
    assert_eq!(files.names("inbox").len(), 2);
}

#[test]
fn a_stream_of_which_nothing_came_leaves_no_file() {
    let files = Files::new();
    let inbox = files.path("inbox");
    // Nobody says when the listener has it.
    for millis in [300, 1_000, 3_000, 10_000] {
        let listener = Listener::start(&files, &format!("--tag x --output {inbox}"));
        let mut sender = listener.sender("--tag x");
        sender.wait_for_handler();
        thread::sleep(Duration::from_millis(millis));
        sender.interrupt();
        // Before its input ends, which would be the end of the stream.
        sender.reported("error: interrupted");
        sender.wait().assert_code(130);
        let taken = listener.program.stop();
        assert!(files.names("inbox").is_empty());
        if let [taken] = &taken.objects()[..] {
            assert_eq!((&taken["end"], &taken["file"]), (&"lost".into(), &Value::Null));
            return;
        }
    }
    panic!("no stream ever came");
}

#[test]
fn a_command_that_takes_too_long_is_killed() {
    let files = Files::new();
    let pid = files.path("pid");
    let command = format!("echo $$ > {pid}; cat; sleep 1000");
    let listener = Listener::exec(&files, "--tag x --once --exec-timeout 3", &command);
    let sent = listener.send("--tag x --input /dev/null");
    sent.assert_code(1);
    assert!(sent.errors.contains("its command took too long"), "{}", sent.errors);
    let taken = listener.program.wait();
    taken.assert_code(9);
    assert_eq!(taken.json()["end"], "command_too_slow");
    let group = String::from_utf8(files.read("pid")).unwrap().trim().to_owned();
    wait_until(|| is_gone(&group));
}

/// A listener that a shell starts after it has made its surroundings: where it is, and its fingerprint.
fn listener_in(files: &Files, shell: &str, arguments: &str) -> (Program, String) {
    let identity = files.path("identity");
    let command = files.path("command");
    let line = format!(
        "stream listen --listen 127.0.0.1:0 --json --identity {identity} --tag x {arguments}"
    );
    // Words of the line are split at spaces. The shell of the command starts no other process.
    let shell = format!("{shell} exec \"$@\" --exec 'exec {command}'");
    let mut listener = Program::start_in(&[], &shell, &line);
    let address = listener.address("listening on");
    let pin = listener.reported("fingerprint");
    (listener, format!("stream send quic://{address} --pin {pin} --tag x"))
}

/// A command as a file of its own.
pub(crate) fn command(files: &Files, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = files.path("command");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn streams_wait_for_descriptors_and_the_limit_is_named() {
    let files = Files::new();
    let go = files.path("go");
    command(&files, &format!("until [ -e {go} ]; do sleep 0.1; done; cat"));
    let (mut listener, line) = listener_in(&files, "ulimit -n 40;", "--parallel 64 --count 30");
    let line = format!("{line} --input /dev/null --connect-timeout 100");
    let senders: Vec<Program> = (0..30).map(|_| Program::start(line.split_whitespace())).collect();
    let reported = listener.reported("streams wait:");
    assert!(reported.contains("`ulimit -n`, which is 40"), "{reported}");
    fs::write(go, "").unwrap();
    for sender in senders {
        sender.wait().assert_code(0);
    }
    let taken = listener.wait();
    taken.assert_code(0);
    assert_eq!(taken.objects().len(), 30);
}

#[test]
fn streams_wait_for_processes_and_the_limit_is_named() {
    use std::os::unix::fs::{MetadataExt, chown};
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return skip("who is not root cannot run a program as somebody without other processes");
    }
    let files = Files::new();
    let (go, program) = (fifo(&files, "go"), files.path("program"));
    command(&files, &format!("read go < {go}; exec cat"));
    fs::copy(env!("CARGO_BIN_EXE_gapless"), &program).unwrap();
    let user = 20_000 + std::process::id() % 40_000;
    for name in ["", "go"] {
        chown(files.path(name), Some(user), Some(user)).unwrap();
    }
    let shell = format!(
        "shift; set -- prlimit --nproc=16 setpriv --reuid {user} --regid {user} --clear-groups {program} \
         \"$@\";"
    );
    let (mut listener, line) = listener_in(&files, &shell, "--parallel 64 --count 12");
    let line = format!("{line} --input /dev/null --connect-timeout 100");
    let senders: Vec<Program> = (0..12).map(|_| Program::start(line.split_whitespace())).collect();
    let reported = listener.reported("streams wait:");
    assert!(reported.contains("`ulimit -u`, which is 16"), "{reported}");
    let mut go = fs::File::options().write(true).open(go).unwrap();
    go.write_all(&[b'\n'; 12]).unwrap();
    for sender in senders {
        sender.wait().assert_code(0);
    }
    let taken = listener.wait();
    taken.assert_code(0);
    assert_eq!(taken.objects().len(), 12);
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_what_is_needed() {
    let files = Files::new();
    command(&files, "cat; ulimit -n");
    let (_listener, line) = listener_in(&files, "ulimit -S -n 50;", "--parallel 100");
    let sent = gapless(&format!("{line} --input /dev/null"));
    sent.assert_code(0);
    let limit: u64 = String::from_utf8(sent.output).unwrap().trim().parse().unwrap();
    assert!(limit >= 300, "{limit}");
}

#[test]
fn a_command_that_cannot_be_started_is_reported_as_that() {
    let files = Files::new();
    let (listener, line) = listener_in(&files, "PATH=/nowhere;", "--once");
    let sent = gapless(&format!("{line} --input /dev/null"));
    sent.assert_code(1);
    assert!(sent.errors.contains("it cannot start its command"), "{}", sent.errors);
    let taken = listener.wait();
    taken.assert_code(9);
    assert_eq!(taken.json()["end"], "cannot_start");
    assert!(taken.errors.contains("its command cannot be started"), "{}", taken.errors);
}
