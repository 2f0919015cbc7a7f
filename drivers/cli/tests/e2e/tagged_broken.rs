//! `gapless stream` when it is broken off: whoever is left says so, and what is not whole is not taken for
//! it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::program::{Files, Port, Program, gapless, wait_until};
use crate::tagged::{Listener, is_gone};

/// A listener and a sender in the middle of a stream, of which the first bytes have arrived.
fn in_the_middle(files: &Files, address: &str, arguments: &str) -> (Listener, Program) {
    let inbox = files.path("inbox");
    let arguments = format!("--tag half --output {inbox} --idle-timeout 5 {arguments}");
    let arguments = arguments.split_whitespace().map(str::to_owned).collect();
    let listener = Listener::at(address, files, arguments);
    let mut sender = listener.sender("--tag half --idle-timeout 5 --json --answer /dev/null");
    sender.write(b"half of it");
    files.wait_for_length("inbox/half.000001.part", 10);
    (listener, sender)
}

#[test]
fn a_sender_that_is_killed_leaves_a_part() {
    let files = Files::new();
    let (listener, sender) = in_the_middle(&files, "127.0.0.1:0", "--once");
    sender.kill();
    let taken = listener.program.wait();
    taken.assert_code(1);
    assert!(taken.errors.contains("nothing came from the peer for 5 s"), "{}", taken.errors);
    let stream = taken.json();
    assert_eq!((&stream["end"], &stream["bytes"]), (&"lost".into(), &10.into()));
    assert_eq!(stream["file"], files.path("inbox/half.000001.part"));
    assert_eq!(files.names("inbox"), ["half.000001.part"]);
    assert_eq!(files.read("inbox/half.000001.part"), b"half of it");
}

#[test]
fn an_end_by_silence_names_the_smaller_idle_timeout_of_both_sides() {
    let files = Files::new();
    let inbox = files.path("inbox");
    let listener =
        Listener::start(&files, &format!("--tag half --output {inbox} --idle-timeout 5"));
    let mut sender = listener.sender("--tag half --idle-timeout 600 --answer /dev/null");
    sender.write(b"half of it");
    files.wait_for_length("inbox/half.000001.part", 10);
    listener.program.kill();
    sender.reported("error: the connection is lost: nothing came from the peer for 5 s");
    sender.wait().assert_code(1);
}

#[test]
fn a_sender_that_is_interrupted_says_so_and_leaves_a_part() {
    let files = Files::new();
    let (listener, mut sender) = in_the_middle(&files, "127.0.0.1:0", "--once");
    sender.interrupt();
    // Before its input ends, which would be the end of the stream.
    sender.reported("error: interrupted");
    let sent = sender.wait();
    sent.assert_code(130);
    assert_eq!(sent.json()["end"], "interrupted");
    let taken = listener.program.wait();
    taken.assert_code(1);
    assert_eq!(taken.json()["end"], "lost");
    assert!(taken.errors.contains("somebody ended the program there"), "{}", taken.errors);
    assert_eq!(files.names("inbox"), ["half.000001.part"]);
}

#[test]
fn a_listener_that_is_killed_is_missed() {
    let files = Files::new();
    let (listener, mut sender) = in_the_middle(&files, "127.0.0.1:0", "");
    listener.program.kill();
    sender.reported("error: the connection is lost: nothing came from the peer for 5 s");
    let sent = sender.wait();
    sent.assert_code(1);
    assert_eq!(sent.json()["end"], "broken_off");
}

#[test]
fn a_listener_that_is_interrupted_says_so() {
    let files = Files::new();
    let (listener, mut sender) = in_the_middle(&files, "127.0.0.1:0", "--drain 0");
    let taken = listener.program.stop();
    taken.assert_code(130);
    assert_eq!(taken.json()["end"], "interrupted");
    let reported = sender.reported("error:");
    assert!(reported.contains("somebody ended the program"), "{reported}");
    sender.wait().assert_code(1);
    assert_eq!(files.names("inbox"), ["half.000001.part"]);
}

#[test]
fn a_listener_that_was_started_anew_knows_the_stream_no_more() {
    let files = Files::new();
    let address: SocketAddr = Port::new().free();
    let (listener, mut sender) = in_the_middle(&files, &address.to_string(), "");
    listener.program.kill();
    let fingerprint = listener.fingerprint;
    let (inbox, address) = (files.path("inbox"), address.to_string());
    let arguments = ["--tag", "half", "--output", &inbox, "--once"].map(str::to_owned);
    let listener = Listener::at(&address, &files, arguments.into());
    assert_eq!(listener.fingerprint, fingerprint);
    sender.write(b", and the rest");
    sender.reported("error: the connection is lost: the peer does not know it any more");
    sender.wait().assert_code(1);
    // The next one is taken, beside what was left.
    listener.send("--tag half --input /dev/null").assert_code(0);
    let ended = listener.program.wait();
    ended.assert_code(0);
    assert!(
        ended.errors.contains("holds what came of broken streams: 1 .part"),
        "{}",
        ended.errors
    );
    assert_eq!(files.names("inbox"), ["half.000001.part", "half.000002"]);
}

#[test]
fn half_a_stream_is_no_whole_one_to_its_command() {
    for (is_sender, code) in [(true, 1), (false, 130)] {
        let files = Files::new();
        let (got, whole) = (files.path("got"), files.path("whole"));
        let command = format!("cat > {got} && touch {whole}");
        let arguments = "--tag job --once --idle-timeout 5 --drain 0";
        let listener = Listener::exec(&files, arguments, &command);
        let mut sender = listener.sender("--tag job");
        sender.write(b"half of it");
        files.wait_for_length("got", 10);
        let ended = match is_sender {
            true => {
                sender.kill();
                listener.program.wait()
            }
            false => listener.program.stop(),
        };
        ended.assert_code(code);
        assert!(!std::fs::exists(whole).unwrap(), "{}", ended.errors);
    }
}

#[test]
fn what_a_command_left_behind_is_killed_too() {
    let files = Files::new();
    let (got, whole, pid) = (files.path("got"), files.path("whole"), files.path("pid"));
    // The shell ends at once; what it started still has the stream, and may answer.
    let command = format!("exec 3<&0; echo $$ > {pid}; cat <&3 > {got} && touch {whole} &");
    let listener = Listener::exec(&files, "--tag job --once --idle-timeout 5", &command);
    let mut sender = listener.sender("--tag job");
    sender.write(b"half of it");
    files.wait_for_length("got", 10);
    let group = String::from_utf8(files.read("pid")).unwrap().trim().to_owned();
    sender.kill();
    listener.program.wait().assert_code(1);
    wait_until(|| is_gone(&group));
    assert!(!std::fs::exists(whole).unwrap());
}

#[test]
fn a_stream_that_is_too_long_is_stopped() {
    let files = Files::new();
    let inbox = files.path("inbox");
    let listener =
        Listener::start(&files, &format!("--tag x --output {inbox} --once --max-bytes 1000000"));
    let input = files.noise("input", 10_000_000);
    let sent = listener.send(&format!("--tag x --input {input}"));
    sent.assert_code(1);
    assert!(sent.errors.contains("the stream is longer than it allows"), "{}", sent.errors);
    let taken = listener.program.wait();
    taken.assert_code(1);
    assert_eq!(taken.json()["end"], "too_long");
    assert_eq!(files.names("inbox"), ["x.000001.part"]);
}

#[test]
fn a_folder_that_vanishes_is_reported_at_both_ends() {
    let files = Files::new();
    let inbox = files.path("inbox");
    let listener = Listener::start(&files, &format!("--tag x --output {inbox} --once"));
    std::fs::remove_dir(&inbox).unwrap();
    let sent = listener.send("--tag x --input /dev/null");
    sent.assert_code(1);
    assert!(sent.errors.contains("it cannot write what came"), "{}", sent.errors);
    let taken = listener.program.wait();
    taken.assert_code(4);
    assert_eq!(taken.json()["end"], "cannot_store");
}

#[test]
fn streams_that_find_no_room_leave_nothing_behind() {
    let files = Files::new();
    let (inbox, identity) = (files.path("inbox"), files.path("identity"));
    // Files have no room for more than 64 blocks.
    let shell = "trap '' XFSZ; ulimit -f 64; exec \"$@\"";
    let arguments = format!("--tag x --output {inbox} --identity {identity} --count 4");
    let line = format!("stream listen --listen 127.0.0.1:0 --json {arguments}");
    let mut listener = Program::start_in(&[], shell, &line);
    let address = listener.address("listening on");
    let pin = listener.reported("fingerprint");
    let (large, small) = (files.noise("large", 1_000_000), files.noise("small", 1_000));
    for (input, code) in [(&large, 1), (&large, 1), (&large, 1), (&small, 0)] {
        let line = format!("stream send quic://{address} --pin {pin} --tag x --input {input}");
        gapless(&line).assert_code(code);
    }
    let taken = listener.wait();
    taken.assert_code(4);
    let taken = taken.objects();
    assert_eq!((&taken[0]["end"], &taken[0]["file"]), (&"cannot_store".into(), &Value::Null));
    assert_eq!(files.names("inbox"), ["x.000004"]);
}

#[test]
fn an_answer_that_finds_no_room_leaves_nothing_behind() {
    let files = Files::new();
    let listener = Listener::exec(&files, "--tag echo --once", "cat");
    let input = files.noise("input", 1_000_000);
    std::fs::create_dir(files.path("place")).unwrap();
    let answer = files.path("place/answer");
    let (url, pin) = (&listener.url, &listener.fingerprint);
    let line =
        format!("stream send {url} --pin {pin} --tag echo --input {input} --answer {answer}");
    let sent = Program::start_in(&[], "trap '' XFSZ; ulimit -f 64; exec \"$@\"", &line).wait();
    sent.assert_code(4);
    assert!(sent.errors.contains(&format!("cannot write to {answer}")), "{}", sent.errors);
    assert!(files.names("place").is_empty());
}

#[test]
fn an_answer_that_cannot_be_written_ends_with_4() {
    let files = Files::new();
    let listener = Listener::exec(&files, "--tag echo --once", "cat");
    let input = files.noise("input", 1000);
    let sent = listener.send(&format!("--tag echo --input {input} --answer /dev/full"));
    sent.assert_code(4);
    assert!(sent.errors.contains("cannot write to /dev/full"), "{}", sent.errors);
}

#[test]
fn a_listener_whose_output_nobody_reads_ends_as_others_do_in_a_pipeline() {
    let files = Files::new();
    let identity = files.path("identity");
    let mut listener = Command::new(env!("CARGO_BIN_EXE_gapless"))
        .args([
            "stream",
            "listen",
            "--listen",
            "127.0.0.1:0",
            "--tag",
            "x",
            "--identity",
            &identity,
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(listener.stdout.take());
    let mut errors = BufReader::new(listener.stderr.take().unwrap()).lines();
    let address = errors.next().unwrap().unwrap();
    let address = address.strip_prefix("listening on ").unwrap();
    let line = format!("stream send quic://{address} --tag x --insecure --input /dev/zero");
    let sent = gapless(&line);
    sent.assert_code(1);
    assert!(sent.errors.contains("it cannot write what came"), "{}", sent.errors);
    assert_eq!(listener.wait().unwrap().code(), Some(141));
    let said: Vec<String> = errors.map(Result::unwrap).collect();
    assert!(!said.iter().any(|line| line.starts_with("error")), "{said:?}");
}
