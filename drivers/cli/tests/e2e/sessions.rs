//! Sessions that follow one another, and sessions that are gone on with.

use std::net::UdpSocket;
use std::path::Path;

use crate::program::{Files, Port, gapless, publisher, receiver, wait_until};

#[test]
fn two_sessions_that_follow_one_another_go_to_files_of_their_own() {
    let files = Files::new();
    let (first, second) = (files.feed("first.bin", 3_000), files.feed("second.bin", 5_000));
    let requests = Port::new();
    let flags = format!(
        "--requests {} --follow --timeout 3 --output {}",
        requests.address(),
        files.path("out")
    );
    let (receive, to) = receiver(1, &flags);
    let requests = requests.free();
    let publish = |feed: &str, session: &str| {
        let arguments = format!("--input {feed} --session {session} --rate 20000 --loss 5%");
        publisher(&to, requests, &format!("{arguments} --linger 1")).wait().assert_code(0);
    };
    publish(&first, "MON/1");
    publish(&second, "TUE");

    let received = receive.wait();
    received.assert_code(0);
    files.assert_same("first.bin", "out.MON%2F1");
    files.assert_same("second.bin", "out.TUE");
    let objects = received.objects();
    let reported =
        |field: &str| objects.iter().map(|object| object[field].clone()).collect::<Vec<_>>();
    assert_eq!(reported("session"), ["MON/1", "TUE"]);
    assert_eq!(reported("delivered"), [3_000, 5_000]);
}

/// A packet with one message, which is its number's digit.
fn packet(session: &[u8; 10], number: u8) -> Vec<u8> {
    [session, &u64::from(number).to_be_bytes()[..], &[0, 1, 0, 1, b'0' + number]].concat()
}

#[test]
fn what_comes_of_a_session_after_the_next_has_begun_goes_to_its_own_file() {
    let files = Files::new();
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (state, output) = (files.path("state"), files.path("out"));
    let flags = format!(
        "--requests {} --follow --give-up 60 --resume {state} --output {output}",
        server.local_addr().unwrap()
    );
    let (receive, to) = receiver(1, &flags);
    let feed = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (one, two) = (b"ONE       ", b"TWO       ");
    for (session, number) in [(one, 1), (one, 2), (one, 4), (two, 1), (two, 2), (two, 3)] {
        feed.send_to(&packet(session, number), to[0]).unwrap();
    }
    wait_until(|| Path::new(&files.path("out.TWO")).exists());
    let (_, asks) = server.recv_from(&mut [0; 64]).unwrap();
    server.send_to(&packet(one, 3), asks).unwrap();
    // The second session is delivered once nobody answers for more of the first.
    files.wait_for_length("out.TWO", 9);
    let ended = receive.stop();
    // Nobody said where the first one ends: it may lack something.
    ended.assert_code(1);
    let ends: Vec<_> = ended.objects().iter().map(|object| object["end"].clone()).collect();
    assert_eq!(ends, ["superseded", "interrupted"]);
    assert_eq!(files.read("out.ONE"), b"\0\x011\0\x012\0\x013\0\x014");
    assert_eq!(files.read("out.TWO"), b"\0\x011\0\x012\0\x013");
    let kept: serde_json::Value = serde_json::from_slice(&files.read("state")).unwrap();
    let kept = [&kept["session"], &kept["next"], &kept["output_bytes"]];
    assert_eq!(kept, [&serde_json::json!("TWO"), &4.into(), &9.into()]);
}

#[test]
fn other_sessions_are_left_alone_when_one_is_named() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 1_000);
    let (receive, to) =
        receiver(1, &format!("--session WANTED --from start --output {}", files.path("copy.bin")));
    let other = publisher(&to, Port::new().free(), &format!("--input {feed} --session OTHER"));
    let arguments = format!("--input {feed} --session WANTED --rate 20000");
    let wanted = publisher(&to, Port::new().free(), &arguments);
    let received = receive.wait();
    received.assert_code(0);
    assert_eq!(received.json()["session"], "WANTED");
    files.assert_same("feed.bin", "copy.bin");
    other.stop().assert_code(0);
    wanted.stop().assert_code(0);
}

#[test]
fn receiving_may_begin_in_the_middle_of_a_named_session() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 1_000);
    let requests = Port::new();
    let flags = format!(
        "--requests {} --session FEED --from 701 --output {}",
        requests.address(),
        files.path("copy.bin")
    );
    let (receive, to) = receiver(1, &flags);
    let arguments = format!("--input {feed} --session FEED --loss 20%");
    let publish = publisher(&to, requests.free(), &arguments);
    let received = receive.wait();
    received.assert_code(0);
    assert_eq!(received.json()["delivered"], 300);
    assert!(files.read("feed.bin").ends_with(&files.read("copy.bin")));
    publish.stop().assert_code(0);
}

#[test]
fn numbers_may_begin_anywhere_and_the_input_may_be_repeated() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 500);
    let first = u64::MAX - 1_500;
    let flags = format!("--session FEED --from {first} --output {}", files.path("copy.bin"));
    let (receive, to) = receiver(1, &flags);
    let arguments =
        format!("--input {feed} --session FEED --first-sequence {first} --repeat 3 --rate 20000");
    let publish = publisher(&to, Port::new().free(), &arguments);
    let received = receive.wait();
    received.assert_code(0);
    assert_eq!(received.json()["next_sequence"], u64::MAX);
    assert_eq!(files.read("copy.bin"), files.read("feed.bin").repeat(3));
    publish.stop().assert_code(0);
}

#[test]
fn an_input_of_a_few_messages_is_repeated_as_fast_as_wanted_until_ctrl_c() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 3);
    let (receive, to) = receiver(1, &format!("--from start --output {}", files.path("copy.bin")));
    let arguments = format!("--input {feed} --session FEED --repeat {} --rate 2000", u64::MAX);
    let publish = publisher(&to, Port::new().free(), &arguments);
    files.wait_for_length("copy.bin", 20_000);
    let published = publish.stop();
    published.assert_code(130);
    let json = published.json();
    let most = json["elapsed_seconds"].as_f64().unwrap() * 2_000.0 + 100.0;
    assert!(json["messages"].as_f64() < Some(most), "{json}");
    receive.stop().assert_code(130);
}

#[test]
fn an_end_is_believed_of_a_publisher_that_does_not_linger() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 100);
    let (receive, to) = receiver(1, "--from start");
    let arguments = format!("--input {feed} --session FEED --linger 0");
    publisher(&to, Port::new().free(), &arguments).wait().assert_code(0);
    let received = receive.wait();
    received.assert_code(0);
    assert_eq!(received.json()["delivered"], 100);
}

/// Receives a part, ends as `end` does, goes on, and compares the whole.
fn assert_resumed(end: impl FnOnce(crate::program::Program)) {
    let files = Files::new();
    let feed = files.feed("feed.bin", 30_000);
    let (requests, line) = (Port::new(), Port::new());
    let flags = format!(
        "--requests {} --resume {} --output {}",
        requests.address(),
        files.path("state"),
        files.path("copy.bin")
    );
    let (receive, mut to) = receiver(1, &flags);
    to.push(line.address());
    let arguments = format!("--input {feed} --session FEED --rate 15000 --loss 5%");
    let publish = publisher(&to, requests.free(), &arguments);
    files.wait_for_length("copy.bin", 100_000);
    wait_until(|| Path::new(&files.path("state")).exists());
    end(receive);
    let part = files.read("copy.bin").len();
    assert!(part < files.read("feed.bin").len(), "it received everything before it was ended");

    let received = gapless(&format!("receive --line {} {flags} --json", line.free()));
    received.assert_code(0);
    let json = received.json();
    assert!(json["first_sequence"].as_u64() > Some(1), "{json}");
    assert_eq!(json["next_sequence"], 30_001);
    files.assert_same("feed.bin", "copy.bin");
    publish.stop().assert_code(0);
}

#[test]
fn an_interrupted_receiver_goes_on_where_it_was() {
    assert_resumed(|receive| receive.stop().assert_code(130));
}

#[test]
fn a_killed_receiver_goes_on_from_what_it_kept() {
    assert_resumed(|receive| receive.kill());
}

#[test]
fn a_state_of_another_session_is_refused() {
    let files = Files::new();
    let state = files.path("state");
    let bytes = br#"{"session_bytes":[65,32,32,32,32,32,32,32,32,32],"next":7,"output_bytes":0}"#;
    std::fs::write(&state, bytes).unwrap();
    let ended = gapless(&format!("receive --line 127.0.0.1:0 --session B --resume {state}"));
    ended.assert_code(2);
    assert!(ended.errors.contains("goes on with session A"), "{}", ended.errors);
}
