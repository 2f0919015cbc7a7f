//! `gapless stream` while it waits for what may never come: Ctrl-C and its limits of time are heeded.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::program::{Files, Program, fifo, gapless, skip, wait_until};
use crate::tagged::Listener;

#[test]
fn a_pipe_that_nobody_opens_keeps_nobody_from_ending_it() {
    for arguments in ["--answer /dev/null --input", "--input /dev/null --answer"] {
        let files = Files::new();
        let (inbox, pipe) = (files.path("inbox"), fifo(&files, "pipe"));
        let listener = Listener::start(&files, &format!("--tag x --output {inbox}"));
        let mut sender = listener.sender(&format!("--tag x {arguments} {pipe}"));
        sender.wait_for_handler();
        sender.interrupt();
        sender.reported("error: interrupted");
        sender.wait().assert_code(130);
    }
}

#[test]
fn a_pipe_is_sent_whenever_somebody_writes_to_it() {
    let files = Files::new();
    let (inbox, pipe) = (files.path("inbox"), fifo(&files, "pipe"));
    let listener = Listener::start(&files, &format!("--tag x --output {inbox} --once"));
    let sender = listener.sender(&format!("--tag x --input {pipe}"));
    std::fs::write(&pipe, "at last").unwrap();
    sender.wait().assert_code(0);
    listener.program.wait().assert_code(0);
    assert_eq!(files.read("inbox/x.000001"), b"at last");
}

#[test]
fn an_authority_that_nobody_writes_keeps_nobody_from_ending_it() {
    let files = Files::new();
    let pipe = fifo(&files, "pipe");
    for line in [
        format!("stream send quic://127.0.0.1:9 --tag x --input /dev/null --ca {pipe}"),
        format!("stream listen --listen 127.0.0.1:0 --tag x --cert {pipe} --key {pipe}"),
    ] {
        let program = Program::start(line.split_whitespace());
        program.wait_for_handler();
        let ended = program.stop();
        ended.assert_code(130);
        assert!(ended.errors.contains("interrupted: nothing was begun"), "{}", ended.errors);
    }
}

/// A network in which every packet comes back to loopback and is for nobody.
const LOST: &str = "ip link set lo up && for v in -4 -6; do \
                    ip $v route flush table local; ip $v route add default dev lo; done";

/// Starts a sender where no name server answers; `None` where no such place can be had.
fn nameless(arguments: &str) -> Option<Program> {
    let can = |flags: &&str| {
        let mut probe = Command::new("unshare");
        probe
            .args([flags, "ip", "link", "set", "lo", "up"])
            .output()
            .is_ok_and(|of| of.status.success())
    };
    let Some(flags) = ["-n", "-rn"].into_iter().find(can) else {
        skip("no network namespace: unshare -n and unshare -rn fail");
        return None;
    };
    let line = format!("stream send quic://example.org:1 --tag x --insecure {arguments}");
    Some(Program::start_in(&["unshare", flags], &format!("{LOST}; exec \"$@\""), &line))
}

#[test]
fn a_name_server_that_says_nothing_keeps_nobody_from_ending_it() {
    let Some(mut sender) = nameless("--connect-timeout 1000") else { return };
    sender.reported("warning: --insecure");
    let sent = sender.stop();
    sent.assert_code(130);
    assert!(sent.errors.contains("interrupted"), "{}", sent.errors);
}

#[test]
fn a_name_server_that_says_nothing_is_waited_for_no_longer_than_said() {
    let Some(sender) = nameless("--connect-timeout 0.5") else { return };
    let sent = sender.wait();
    sent.assert_code(5);
    let words = "cannot find `example.org`: no answer within 0.5 s; see that the name is right";
    assert!(sent.errors.contains(words), "{}", sent.errors);
}

/// Two ends of what a program writes to: nothing more goes into it before something is read of it.
fn full() -> (UnixStream, OwnedFd) {
    let (read, write) = UnixStream::pair().unwrap();
    fill(&write);
    (read, write.into())
}

/// Lets nothing more go into it.
fn fill(mut write: &UnixStream) {
    write.set_nonblocking(true).unwrap();
    let error = loop {
        if let Err(error) = write.write(b" ") {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    write.set_nonblocking(false).unwrap();
}

#[test]
fn reports_that_nobody_reads_yet_keep_no_stream_waiting() {
    let files = Files::new();
    let (mut read, write) = full();
    let inbox = files.path("inbox");
    let listener = Listener::into(write, &files, &format!("--tag x --output {inbox} --count 3"));
    for _ in 0..3 {
        listener.send("--tag x --input /dev/null").assert_code(0);
    }
    let mut output = String::new();
    read.read_to_string(&mut output).unwrap();
    let reported = output.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let reported: Vec<Value> = reported.map(|reported| reported["file"].clone()).collect();
    assert_eq!(reported, [1, 2, 3].map(|number| format!("{inbox}/x.{number:06}")));
    listener.program.wait().assert_code(0);
}

#[test]
fn reports_that_nobody_reads_keep_nobody_from_ending_it() {
    let files = Files::new();
    let (_read, write) = full();
    let inbox = files.path("inbox");
    let listener = Listener::into(write, &files, &format!("--tag x --output {inbox}"));
    listener.send("--tag x --input /dev/null").assert_code(0);
    let ended = listener.program.stop();
    ended.assert_code(4);
    assert!(ended.errors.contains("nobody reads standard output"), "{}", ended.errors);
}

#[test]
fn words_that_nobody_reads_keep_no_stream_waiting_and_nobody_from_ending_it() {
    let files = Files::new();
    let (read, write) = UnixStream::pair().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_gapless"))
        .args(["stream", "listen", "--listen", "127.0.0.1:0", "--tag", "x", "--exec", "exit 3"])
        .args(["--identity", &files.path("identity")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(OwnedFd::from(write.try_clone().unwrap()))
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(read).lines();
    let mut reported = |words: &str| {
        let line = lines.next().unwrap().unwrap();
        line.strip_prefix(words).unwrap().to_owned()
    };
    let (address, pin) = (reported("listening on "), reported("fingerprint "));
    fill(&write);
    let line = format!("stream send quic://{address} --pin {pin} --tag x --input /dev/null");
    let codes = [0; 3].map(|_| gapless(&line).code);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut ended = None;
    wait_until(|| {
        ended = child.try_wait().unwrap().and_then(|status| status.code());
        ended.is_some() || codes != [Some(1); 3]
    });
    // It may not end by itself.
    let _ = child.kill();
    child.wait().unwrap();
    assert_eq!((codes, ended), ([Some(1); 3], Some(9)));
}
