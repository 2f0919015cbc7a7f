//! How the program ends: exit codes, limits of time, Ctrl-C, errors that say what and where.

use std::net::UdpSocket;

use crate::program::{Files, Port, gapless, publisher, receiver};

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    for line in [
        "",
        "receive",
        "receive --line nowhere",
        "receive --line 239.1.1.1:5000",
        "receive --line 127.0.0.1:0 --from 2",
        "receive --line 127.0.0.1:0 --session ELEVEN-LONG",
        "receive --line 127.0.0.1:0 --timeout 0",
        "publish --input x --to 127.0.0.1:1 --requests 127.0.0.1:0",
        "publish --input x --to 127.0.0.1:1 --requests 127.0.0.1:0 --session S --loss 101%",
        "publish --input x --to 127.0.0.1:1 --requests 127.0.0.1:0 --session S --mtu 10",
        "demo --input -",
    ] {
        let ended = gapless(line);
        assert_eq!(ended.code, Some(2), "gapless {line}: {}", ended.errors);
        assert!(!ended.errors.is_empty(), "gapless {line}");
        assert!(ended.output.is_empty(), "gapless {line}");
    }
}

/// A command that ends with a code that its help does not list panics, in the builds that are tested.
#[test]
fn help_lists_the_exit_codes_that_a_command_has_and_gives_examples() {
    for (line, codes) in [
        ("--help", "0 1 2 3 4 5 9 130 141"),
        ("demo --help", "0 1 2 3 4 130 141"),
        ("publish --help", "0 2 4 130 141"),
        ("receive --help", "0 1 2 3 4 130 141"),
        ("replay --help", "0 1 2 4 130 141"),
        ("stream listen --help", "0 1 2 4 9 130 141"),
        ("stream send --help", "0 1 2 4 5 6 7 8 130 141"),
    ] {
        let ended = gapless(line);
        ended.assert_code(0);
        let help = String::from_utf8(ended.output).unwrap();
        let (_, list) = help.split_once("Exit codes:\n").unwrap_or_else(|| panic!("{help}"));
        let code = |line: &str| line.split_whitespace().next()?.parse::<u8>().ok();
        let listed: Vec<_> = list.lines().filter_map(code).map(|code| code.to_string()).collect();
        assert_eq!(listed.join(" "), codes, "{line}");
        // Signals share a line.
        assert!(["143", "129"].iter().all(|code| list.contains(code)), "{line}: {list}");
        assert!(help.contains("Examples:"), "{help}");
    }
}

#[test]
fn a_line_that_is_given_twice_is_refused() {
    let line = Port::new().free();
    gapless(&format!("receive --line {line} --line {line}")).assert_code(2);
}

#[test]
fn an_input_that_is_not_there_ends_with_4_and_is_named() {
    let ended =
        gapless("publish --input no/such/file --to 127.0.0.1:9 --requests 127.0.0.1:0 --session S");
    ended.assert_code(4);
    assert!(ended.errors.contains("no/such/file"), "{}", ended.errors);
}

#[test]
fn a_truncated_input_ends_with_4_and_its_offset() {
    let files = Files::new();
    let path = files.path("torn.bin");
    std::fs::write(&path, b"\0\x01A\0\x09torn").unwrap();
    let to = Port::new();
    let ended = gapless(&format!(
        "publish --input {path} --to {} --requests 127.0.0.1:0 --session S --linger 0",
        to.address()
    ));
    ended.assert_code(4);
    assert!(ended.errors.contains("offset 3"), "{}", ended.errors);
}

#[test]
fn what_comes_before_a_torn_end_is_published_and_the_session_ends_there() {
    let files = Files::new();
    files.feed("whole.bin", 1_000);
    let torn = files.path("torn.bin");
    std::fs::write(&torn, [files.read("whole.bin"), b"\0\x09torn".to_vec()].concat()).unwrap();
    let lines = files.path("lines.txt");
    std::fs::write(&lines, format!("short\n{}\n", "x".repeat(2_000))).unwrap();
    for (input, messages, why) in [
        (format!("--input {torn} --repeat 2"), 1_000, "is truncated: the message at offset"),
        (format!("--input {lines} --format lines"), 1, "message 2 of the input has 2000 bytes"),
    ] {
        let requests = Port::new();
        let (receive, to) = receiver(1, &format!("--requests {}", requests.address()));
        let publish =
            publisher(&to, requests.free(), &format!("{input} --session TORN --linger 1"));
        let received = receive.wait();
        received.assert_code(0);
        assert_eq!(received.json()["delivered"], messages);
        let published = publish.wait();
        published.assert_code(4);
        assert!(published.errors.contains(why), "{}", published.errors);
        let reported =
            format!("{messages} messages before that are published, and the session ends");
        assert!(published.errors.contains(&reported), "{}", published.errors);
        let json = published.json();
        assert_eq!(json["messages"], messages);
        assert!(json["error"].as_str().unwrap().contains(why), "{json}");
    }
}

#[test]
fn a_message_that_fits_no_packet_ends_with_4_and_both_sizes() {
    let files = Files::new();
    let path = files.path("lines.txt");
    std::fs::write(&path, format!("short\n{}\n", "x".repeat(100))).unwrap();
    let to = Port::new();
    let ended = gapless(&format!(
        "publish --input {path} --format lines --mtu 64 --to {} --requests 127.0.0.1:0 --session S \
         --linger 0",
        to.address()
    ));
    ended.assert_code(4);
    assert!(ended.errors.contains("message 2 of the input has 100 bytes"), "{}", ended.errors);
    assert!(ended.errors.contains("has 42"), "{}", ended.errors);
}

#[test]
fn an_address_that_is_taken_ends_with_4_and_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ended = gapless(&format!("receive --line {address}"));
    ended.assert_code(4);
    assert!(ended.errors.contains(&address.to_string()), "{}", ended.errors);
}

#[test]
fn an_output_that_cannot_be_made_ends_with_4_and_is_named() {
    let ended = gapless("receive --line 127.0.0.1:0 --output no/such/folder/out.bin");
    ended.assert_code(4);
    assert!(ended.errors.contains("no/such/folder/out.bin"), "{}", ended.errors);
}

#[test]
fn a_line_that_brings_nothing_times_out_with_3() {
    let ended = gapless("receive --line 127.0.0.1:0 --timeout 0.2 --json");
    ended.assert_code(3);
    assert!(ended.errors.contains("--timeout"), "{}", ended.errors);
    let json = ended.json();
    assert_eq!(json["session"], serde_json::Value::Null);
    assert_eq!(json["end"], "timed_out");
}

/// An open standard input keeps the session open, and heartbeats coming.
#[test]
fn a_session_that_does_not_end_is_left_after_max_time_with_3() {
    let (receive, to) = receiver(1, "--session OPEN --from start --max-time 1");
    let mut publish = publisher(&to, Port::new().free(), "--input - --format lines --session OPEN");
    publish.write(b"one\ntwo\n");
    let ended = receive.wait();
    ended.assert_code(3);
    assert!(ended.errors.contains("--max-time"), "{}", ended.errors);
    assert_eq!(ended.json()["delivered"], 2);
    publish.stop().assert_code(130);
}

#[test]
fn what_was_missing_when_time_was_over_is_named() {
    let nobody = Port::new();
    let flags = format!("--requests {} --give-up 60 --timeout 1", nobody.address());
    let (receive, to) = receiver(1, &flags);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Messages 1 and 5 of session GAP, one empty message each.
    for number in [1_u64, 5] {
        let packet = [b"GAP       ", &number.to_be_bytes()[..], &[0, 1, 0, 0]].concat();
        sender.send_to(&packet, to[0]).unwrap();
    }
    // A new session is believed after three packets.
    for _ in 0..3 {
        let heartbeat = [b"GAP       ", &6_u64.to_be_bytes()[..], &[0, 0]].concat();
        sender.send_to(&heartbeat, to[0]).unwrap();
    }
    let ended = receive.wait();
    ended.assert_code(3);
    assert_eq!(ended.json()["missing_ranges"], serde_json::json!([[2, 4]]));
    assert!(ended.errors.contains("missing: 3 messages of session GAP: 2-4"), "{}", ended.errors);
}

#[test]
fn after_ctrl_c_a_receiver_sums_up() {
    let files = Files::new();
    let arguments = format!("--from start --output {}", files.path("copy.bin"));
    let (receive, to) = receiver(1, &arguments);
    let mut publish = publisher(&to, Port::new().free(), "--input - --format lines --session OPEN");
    publish.write(b"one\ntwo\nthree\n");
    files.wait_for_length("copy.bin", 17);
    let ended = receive.stop();
    ended.assert_code(130);
    let json = ended.json();
    assert_eq!(json["end"], "interrupted");
    assert_eq!((&json["delivered"], &json["next_sequence"]), (&3.into(), &4.into()));
    publish.stop().assert_code(130);
}

#[test]
fn after_ctrl_c_a_publisher_leaves_its_session_open_and_sums_up() {
    let files = Files::new();
    let flags = format!("--session OPEN --from start --output {}", files.path("copy.bin"));
    let (receive, to) = receiver(1, &flags);
    let mut publish = publisher(&to, Port::new().free(), "--input - --format lines --session OPEN");
    publish.write(b"one\ntwo\n");
    files.wait_for_length("copy.bin", 10);
    let published = publish.stop();
    published.assert_code(130);
    assert_eq!(published.json()["messages"], 2);
    receive.stop().assert_code(130);
}

#[test]
fn after_a_loss_halt_ends_there_with_1() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 5_000);
    let nobody = Port::new();
    let flags = format!(
        "--requests {} --give-up 0.3 --on-loss halt --output {}",
        nobody.address(),
        files.path("copy.bin")
    );
    let (receive, to) = receiver(1, &flags);
    let arguments = format!("--input {feed} --session FEED --rate 10000 --loss 10%");
    let publish = publisher(&to, Port::new().free(), &arguments);
    let received = receive.wait();
    received.assert_code(1);
    let json = received.json();
    assert_eq!(json["end"], "halted");
    assert_eq!(json["next_sequence"], json["lost_ranges"][0][0]);
    assert!(files.read("feed.bin").starts_with(&files.read("copy.bin")));
    publish.stop().assert_code(130);
}

#[test]
fn a_table_is_printed_where_no_json_is_asked_for() {
    let ended = gapless("receive --line 127.0.0.1:0 --timeout 0.1");
    ended.assert_code(3);
    let table = String::from_utf8(ended.output).unwrap();
    assert!(table.contains("none came"), "{table}");
}

#[test]
fn that_nobody_hears_standard_error_changes_no_exit_code() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_gapless"))
        .args(["receive", "--line", "127.0.0.1:0", "--timeout", "0.1"])
        .stderr(full)
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(3));
    assert!(!ended.stdout.is_empty());
}
