//! Failures where `--json` is asked for: one object, whatever went wrong, beside the words.

use std::net::UdpSocket;

use crate::program::{Files, Program, fifo, gapless};

#[test]
fn every_command_that_fails_prints_one_object() {
    let files = Files::new();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let feed = files.feed("feed.bin", 10);
    std::fs::write(files.path("torn"), b"\0\x09torn").unwrap();
    std::fs::write(files.path("noise"), b"this is no journal at all").unwrap();
    let [torn, noise, output] = ["torn", "noise", "out"].map(|name| files.path(name));
    for (line, code) in [
        (format!("receive --line {taken}"), 4),
        (format!("receive --line {taken} --follow --output {output}"), 4),
        ("receive --line 127.0.0.1:0 --from 2".into(), 2),
        ("receive --line 127.0.0.1:0 --output no/such/folder/out".into(), 4),
        (format!("publish --input {feed} --to 127.0.0.1:9 --requests {taken} --session S"), 4),
        (format!("publish --input {feed} --to 127.0.0.1:9 --requests 127.0.0.1:0"), 2),
        ("publish --input no/such --to 127.0.0.1:9 --requests 127.0.0.1:0 --session S".into(), 4),
        (format!("demo --input {torn}"), 4),
        (format!("demo --journal {feed}/journal"), 4),
        ("replay no/such/journal".into(), 4),
        (format!("replay {noise}"), 4),
        (format!("stream listen --listen {taken} --tag x --output {output}"), 4),
        (
            "stream send quic://127.0.0.1:9 --tag x --insecure --unidirectional --input no/such"
                .into(),
            4,
        ),
    ] {
        let ended = gapless(&format!("{line} --json"));
        assert_eq!(ended.code, Some(code), "{line}: {}", ended.errors);
        let objects = ended.objects();
        assert_eq!(objects.len(), 1, "{line}: {objects:?}");
        let error = objects[0]["error"].as_str().unwrap();
        assert!(!error.is_empty() && ended.errors.contains(error), "{line}: {}", ended.errors);
    }
}

#[test]
fn an_object_of_a_failure_gives_way_to_what_goes_to_standard_output() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let ended = gapless(&format!("receive --line {taken} --output - --json"));
    ended.assert_code(4);
    assert!(ended.output.is_empty());
    let object = ended.errors.lines().last().unwrap();
    let object: serde_json::Value = serde_json::from_str(object).unwrap();
    assert_eq!((&object["end"], &object["exit_code"]), (&"failed".into(), &4.into()));
}

#[test]
fn an_end_that_was_asked_for_is_no_failure() {
    let files = Files::new();
    let pipe = fifo(&files, "pipe");
    let line = format!(
        "publish --input {pipe} --format pcap --to 127.0.0.1:9 --requests 127.0.0.1:0 --json"
    );
    let publish = Program::start(line.split_whitespace());
    publish.wait_for_handler();
    let ended = publish.stop();
    ended.assert_code(130);
    let json = ended.json();
    assert_eq!((&json["end"], &json["exit_code"]), (&"interrupted".into(), &130.into()));
}

#[test]
fn a_host_that_is_not_found_is_reported_in_json_too() {
    let line = "receive --line 127.0.0.1:0 --requests nobody.invalid:1 --json";
    let ended = gapless(line);
    ended.assert_code(4);
    let json = ended.json();
    assert_eq!((&json["end"], &json["exit_code"]), (&"failed".into(), &4.into()));
    assert!(json["error"].as_str().unwrap().contains("nobody.invalid"), "{json}");
    let ended = gapless(&format!("{line} --output -"));
    ended.assert_code(4);
    assert!(
        ended.output.is_empty() && ended.errors.contains("\"exit_code\":4"),
        "{}",
        ended.errors
    );
}

#[test]
fn a_command_line_that_makes_no_sense_is_reported_in_json_too() {
    for line in [
        "receive --json --line nowhere",
        "receive --line 127.0.0.1:0 --json --stats 0",
        "receive --bogus --json",
        "receive --json",
        "demo --json --loss 200%",
        "stream listen --listen 127.0.0.1:0 --exec cat --count 0 --json",
        "stream send quic://nowhere --tag x --unidirectional --json",
    ] {
        let ended = gapless(line);
        ended.assert_code(2);
        let json = ended.json();
        assert_eq!((&json["end"], &json["exit_code"]), (&"failed".into(), &2.into()), "{line}");
        let error = json["error"].as_str().unwrap();
        assert!(ended.errors.contains(&format!("error: {error}\n\n")), "{line}: {}", ended.errors);
    }
    // Standard output has the answer.
    let ended = gapless("stream send quic://nowhere --tag x --json");
    ended.assert_code(2);
    assert!(ended.output.is_empty(), "{}", ended.errors);
    assert!(ended.errors.ends_with('}') && ended.errors.contains("\"exit_code\":2"));
    let ended = gapless("receive --line nowhere");
    ended.assert_code(2);
    assert!(ended.output.is_empty() && !ended.errors.contains('{'), "{}", ended.errors);
}
