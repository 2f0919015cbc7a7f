//! SIGINT and SIGTERM before the end: exit codes as a shell has them, what was lost by then, and
//! signals that were ignored at the start.

use std::net::{SocketAddr, UdpSocket};

use crate::program::{Files, Program, fifo, gapless, receiver};

/// Sends packets of session GAP: message 1 and, beyond a gap, message 5, and who vouches for them.
fn with_a_gap(to: SocketAddr) {
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let send = |number: u64, count: u16, block: &[u8]| {
        let packet = [b"GAP       ", &number.to_be_bytes()[..], &count.to_be_bytes(), block];
        sender.send_to(&packet.concat(), to).unwrap();
    };
    send(1, 1, b"\0\x03one");
    send(5, 1, b"\0\x04five");
    for _ in 0..3 {
        send(6, 0, b"");
    }
}

#[test]
fn a_receiver_that_a_signal_ends_says_which_by_its_exit_code() {
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let (receive, _) = receiver(1, "");
        receive.signal(signal);
        let ended = receive.wait();
        ended.assert_code(code);
        assert_eq!(ended.json()["end"], "interrupted");
    }
}

#[test]
fn the_table_of_a_receiver_says_that_it_was_interrupted() {
    let mut receive = Program::start("receive --line 127.0.0.1:0".split_whitespace());
    receive.reported("line A on");
    let ended = receive.stop();
    ended.assert_code(130);
    let table = String::from_utf8(ended.output).unwrap();
    assert!(table.contains("end          interrupted\n"), "{table}");
}

#[test]
fn what_was_lost_before_a_signal_is_named_and_wins_as_1() {
    let files = Files::new();
    let flags = format!("--from start --give-up 0.2 --output {}", files.path("copy.bin"));
    let (receive, to) = receiver(1, &flags);
    with_a_gap(to[0]);
    // Message 5 is written once those before it are lost.
    files.wait_for_length("copy.bin", 11);
    receive.signal("TERM");
    let ended = receive.wait();
    ended.assert_code(1);
    assert_eq!(ended.json()["lost_ranges"], serde_json::json!([[2, 4]]));
    assert!(ended.errors.contains("lost: 3 messages of session GAP: 2-4"), "{}", ended.errors);
}

#[test]
fn a_demo_that_a_signal_ends_says_which_by_its_exit_code() {
    let demo = Program::start("demo --json --messages 100000000".split_whitespace());
    demo.wait_for_handler();
    demo.signal("TERM");
    let ended = demo.wait();
    ended.assert_code(143);
    let json = ended.json();
    assert_eq!((&json["end"], &json["complete"]), (&"interrupted".into(), &false.into()));
}

#[test]
fn a_replay_that_a_signal_ends_says_how_far_it_came() {
    let files = Files::new();
    let (journal, pipe) = (files.path("demo.journal"), fifo(&files, "pipe"));
    gapless(&format!("demo --messages 20000 --journal {journal}")).assert_code(0);
    let replay = Program::start(["replay", "--json", &pipe]);
    replay.wait_for_handler();
    // One end of the pipe stays open: the journal does not end.
    let mut journal = std::fs::File::open(&journal).unwrap();
    let mut end = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    std::io::copy(&mut journal, &mut end).unwrap();
    replay.signal("INT");
    let ended = replay.wait();
    drop(end);
    ended.assert_code(130);
    let json = ended.json();
    assert_eq!(json["interrupted"], true);
    assert!(json["bytes"].as_u64() > Some(0), "{json}");
}

#[test]
fn a_sender_that_a_signal_ends_says_which_by_its_exit_code() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let line = format!(
        "stream send quic://{address} --insecure --tag x --unidirectional --input /dev/null --json"
    );
    let mut send = Program::start(line.split_whitespace());
    send.reported("warning: --insecure");
    send.signal("TERM");
    let ended = send.wait();
    ended.assert_code(143);
    assert_eq!(ended.json()["end"], "interrupted");
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let line = "receive --line 127.0.0.1:0 --json --max-time 1";
    let mut receive = Program::start_in(&[], "trap '' INT HUP; exec \"$@\"", line);
    receive.reported("line A on");
    for ignored in ["INT", "INT", "HUP"] {
        receive.signal(ignored);
    }
    let ended = receive.wait();
    ended.assert_code(3);
    assert_eq!(ended.json()["end"], "timed_out");
}

#[test]
fn a_signal_beside_ignored_ones_is_heeded() {
    let line = "receive --line 127.0.0.1:0 --json";
    let mut receive = Program::start_in(&[], "trap '' INT HUP; exec \"$@\"", line);
    receive.reported("line A on");
    receive.signal("TERM");
    receive.wait().assert_code(143);
}

#[test]
fn a_publisher_that_waits_for_its_input_to_be_opened_heeds_the_first_signal() {
    for format in ["binaryfile", "lines", "pcap"] {
        let files = Files::new();
        let pipe = fifo(&files, "pipe");
        let session = if format == "pcap" { "" } else { "--session X" };
        let line = format!(
            "publish --input {pipe} --format {format} --to 127.0.0.1:9 --requests 127.0.0.1:0 {session}"
        );
        let publish = Program::start(line.split_whitespace());
        publish.wait_for_handler();
        publish.signal("INT");
        publish.wait().assert_code(130);
    }
}

#[test]
fn a_capture_may_come_through_a_named_pipe() {
    let files = Files::new();
    let pipe = fifo(&files, "pipe");
    let line =
        format!("publish --input {pipe} --format pcap --to 127.0.0.1:9 --requests 127.0.0.1:0");
    let publish = Program::start(line.split_whitespace());
    std::fs::write(&pipe, "no capture").unwrap();
    let ended = publish.wait();
    ended.assert_code(4);
    assert!(ended.errors.contains(&pipe), "{}", ended.errors);
}

#[test]
fn whoever_waits_for_a_reader_of_a_pipe_says_so_and_heeds_the_first_signal() {
    let files = Files::new();
    let (pipe, feed) = (fifo(&files, "pipe"), files.feed("feed.bin", 10));
    for line in [
        format!("receive --line 127.0.0.1:0 --journal {pipe} --json"),
        format!("receive --line 127.0.0.1:0 --output {pipe} --json"),
        format!(
            "publish --input {feed} --to 127.0.0.1:9 --requests 127.0.0.1:0 --session S --json \
             --journal {pipe}"
        ),
    ] {
        let mut waiting = Program::start(line.split_whitespace());
        assert_eq!(waiting.reported("waiting for a reader of"), pipe);
        waiting.signal("INT");
        let ended = waiting.wait();
        ended.assert_code(130);
        assert_eq!(ended.json()["end"], "interrupted", "{line}");
    }
}

#[test]
fn whoever_waits_for_a_reader_of_a_pipe_does_so_no_longer_than_max_time() {
    let files = Files::new();
    let pipe = fifo(&files, "pipe");
    for flag in ["--output", "--journal"] {
        let line = format!("receive --line 127.0.0.1:0 {flag} {pipe} --max-time 0.3 --json");
        let ended = gapless(&line);
        ended.assert_code(3);
        assert_eq!(ended.json()["exit_code"], 3);
        let words = format!("--max-time is over, and nobody reads {pipe}");
        assert!(ended.errors.contains(&words), "{}", ended.errors);
    }
}

#[test]
fn a_capture_that_comes_through_a_pipe_leaves_no_copy_behind() {
    let files = Files::new();
    std::fs::create_dir(files.path("tmp")).unwrap();
    let folder = format!("TMPDIR={}", files.path("tmp"));
    let pipe = fifo(&files, "pipe");
    let line =
        format!("publish --input {pipe} --format pcap --to 127.0.0.1:9 --requests 127.0.0.1:0");
    let publish = Program::start_in(&["env", &folder], "exec \"$@\"", &line);
    let mut end = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    std::io::Write::write_all(&mut end, b"a capture that does not end").unwrap();
    // Until it is copied.
    std::thread::sleep(std::time::Duration::from_millis(500));
    publish.signal("INT");
    publish.wait().assert_code(130);
    drop(end);
    assert_eq!(files.names("tmp"), [""; 0]);
}
