//! Messages that lines lose are requested, and come.

use std::net::UdpSocket;
use std::time::Duration;

use crate::program::{Files, Port, ranges};
use crate::program::{publisher, receiver};
use crate::reports::Feed;

/// Publishes on `lines` lines of one publisher, and asserts that everything is received.
fn assert_complete(lines: usize, publish: &str) -> serde_json::Value {
    let files = Files::new();
    let feed = files.feed("feed.bin", 20_000);
    let requests = Port::new();
    let (receive, to) = receiver(
        lines,
        &format!("--requests {} --output {}", requests.address(), files.path("copy.bin")),
    );
    let arguments = format!("--input {feed} --session FEED --rate 100000 {publish}");
    let publish = publisher(&to, requests.free(), &arguments);
    let received = receive.wait();
    received.assert_code(0);
    files.assert_same("feed.bin", "copy.bin");
    publish.stop().assert_code(0);
    received.json()
}

#[test]
fn a_perfect_line_is_received_complete() {
    let received = assert_complete(1, "");
    assert_eq!(received["session"], "FEED");
    assert_eq!(received["first_sequence"], 1);
    assert_eq!(received["next_sequence"], 20_001);
    assert_eq!(received["delivered"], 20_000);
    assert_eq!(received["lost"], 0);
    assert_eq!(received["end"], "ended");
}

#[test]
fn one_line_that_loses_a_fifth_is_received_complete() {
    let received = assert_complete(1, "--loss 20%");
    assert!(received["gaps_filled_by_request"].as_u64() > Some(20));
    assert!(received["requests"].as_u64() > Some(20));
    assert!(received["requested_messages"].as_u64() > Some(2_000));
}

#[test]
fn a_fifth_of_the_answers_may_be_lost_too() {
    assert_complete(1, "--loss 20% --answer-loss 20% --seed 2");
}

#[test]
fn two_bad_lines_help_each_other() {
    let received = assert_complete(2, "--loss 10% --reorder 10% --duplicate 10%");
    assert!(received["gaps_filled_by_line"].as_u64() > Some(0));
    let lines = received["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line["messages_first"].as_u64() > Some(0)));
    assert!(lines.iter().all(|line| line["duplicates"].as_u64() > Some(0)));
}

/// Line A loses a fifth; line B has a publisher of its own.
#[test]
fn line_b_may_start_late() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 20_000);
    let requests = Port::new();
    let arguments =
        format!("--requests {} --output {}", requests.address(), files.path("copy.bin"));
    let (receive, to) = receiver(2, &arguments);
    let arguments = format!("--input {feed} --session FEED --rate 20000 --loss 20%");
    let line_a = publisher(&to[..1], requests.free(), &arguments);
    files.wait_for_length("copy.bin", 100_000);
    let line_b = publisher(&to[1..], Port::new().free(), &arguments);
    receive.wait().assert_code(0);
    files.assert_same("feed.bin", "copy.bin");
    line_a.stop().assert_code(0);
    // It may have come to its end by now.
    let ended = line_b.stop();
    assert!(matches!(ended.code, Some(0 | 130)), "{:?}: {}", ended.code, ended.errors);
}

#[test]
fn line_b_may_end_early() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 20_000);
    let requests = Port::new();
    let arguments =
        format!("--requests {} --output {}", requests.address(), files.path("copy.bin"));
    let (receive, to) = receiver(2, &arguments);
    let arguments = format!("--input {feed} --session FEED --rate 20000 --loss 20%");
    let line_b = publisher(&to[1..], Port::new().free(), &format!("{arguments} --seed 2"));
    let line_a = publisher(&to[..1], requests.free(), &arguments);
    files.wait_for_length("copy.bin", 100_000);
    line_b.kill();
    receive.wait().assert_code(0);
    files.assert_same("feed.bin", "copy.bin");
    line_a.stop().assert_code(0);
}

#[test]
fn whoever_comes_after_the_last_message_gets_everything_from_the_start() {
    let files = Files::new();
    files.feed("feed.bin", 100_000);
    let feed = files.path("feed.bin");
    let (requests, late) = (Port::new(), Port::new());
    let flags = format!("--requests {}", requests.address());
    let (first, to) = receiver(1, &format!("{flags} --output {}", files.path("first.bin")));
    let to = [to[0], late.address()];
    let publish = publisher(&to, requests.free(), &format!("--input {feed} --session FEED"));
    first.wait().assert_code(0);
    let line = late.free();
    let late = crate::program::gapless(&format!(
        "receive --line {line} {flags} --from start --json --output {}",
        files.path("late.bin")
    ));
    late.assert_code(0);
    files.assert_same("feed.bin", "first.bin");
    files.assert_same("feed.bin", "late.bin");
    publish.stop().assert_code(0);
}

/// The messages that `lines` lines drop when nobody answers, and those that the receiver reports lost.
fn lost_without_answers(
    lines: usize,
    loss: &str,
) -> (serde_json::Value, serde_json::Value, String) {
    let files = Files::new();
    let feed = files.feed("feed.bin", 10_000);
    let nobody = Port::new();
    let (receive, to) = receiver(
        lines,
        &format!("--requests {} --give-up 1 --output {}", nobody.address(), files.path("copy.bin")),
    );
    let arguments = format!("--input {feed} --session FEED --rate 10000 --loss {loss}");
    let publish = publisher(&to, Port::new().free(), &arguments);
    let received = receive.wait();
    received.assert_code(1);
    let published = publish.stop();
    published.assert_code(0);
    (received.json(), published.json(), received.errors)
}

fn is_within(range: (u64, u64), ranges: &[(u64, u64)]) -> bool {
    ranges.iter().any(|&(first, last)| first <= range.0 && range.1 <= last)
}

#[test]
fn without_answers_exactly_what_the_line_dropped_is_lost() {
    let (received, published, errors) = lost_without_answers(1, "5%");
    let dropped = ranges(&published["lines"][0]["dropped"]);
    let lost = ranges(&received["lost_ranges"]);
    assert!(!dropped.is_empty());
    if received["lines"][0]["kernel_drops"] == 0 {
        assert_eq!(lost, dropped);
    } else {
        assert!(dropped.iter().all(|range| is_within(*range, &lost)));
    }
    let (first, last) = lost[0];
    assert!(errors.contains(&format!("{first}-{last}")), "{errors}");
    let all = received["lost"].as_u64().unwrap() + received["delivered"].as_u64().unwrap();
    assert_eq!(all, 10_000);
}

#[test]
fn without_answers_what_both_lines_dropped_is_lost() {
    let (received, published, _) = lost_without_answers(2, "20%");
    let [a, b] = [0, 1].map(|line| ranges(&published["lines"][line]["dropped"]));
    let both: Vec<u64> = (1..=10_000)
        .filter(|&number| is_within((number, number), &a) && is_within((number, number), &b))
        .collect();
    let lost = ranges(&received["lost_ranges"]);
    let lost: Vec<u64> = lost.iter().flat_map(|&(first, last)| first..=last).collect();
    assert!(!both.is_empty());
    if received["lines"].as_array().unwrap().iter().all(|line| line["kernel_drops"] == 0) {
        assert_eq!(lost, both);
    } else {
        assert!(both.iter().all(|number| lost.binary_search(number).is_ok()));
    }
}

/// A run that is killed, over and over, asks for no more than one that goes on.
#[test]
fn a_quota_is_kept_however_often_a_receiver_is_killed() {
    let files = Files::new();
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let address = server.local_addr().unwrap();
    let flags = format!(
        "--requests {address} --session S --give-up 60 --resume {} --quota 3/1h,1000msg/1d",
        files.path("state")
    );
    let asked = || {
        let mut asked = 0;
        while server.recv(&mut [0; 100]).is_ok() {
            asked += 1;
        }
        asked
    };
    for run in 0..3 {
        let (receive, to) = receiver(1, &flags);
        Feed::new(to[0], b"S         ").send(5, &["A"]);
        assert_eq!(asked(), if run == 0 { 3 } else { 0 }, "run {run}");
        receive.kill();
    }
    let (receive, to) = receiver(1, &flags);
    Feed::new(to[0], b"S         ").send(5, &["A"]);
    assert_eq!(asked(), 0);
    let ended = receive.stop();
    let server = &ended.json()["servers"][0];
    assert_eq!((&server["requests"], &server["requests_left"]), (&0.into(), &0.into()));
    assert!(server["messages_left"].as_u64() > Some(900), "{server}");
}

#[test]
fn what_a_quota_holds_back_is_lost_by_that_name() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let flags = format!(
        "--requests {} --session S --give-up 0.5 --quota 1/1h",
        server.local_addr().unwrap()
    );
    let (receive, to) = receiver(1, &flags);
    let feed = Feed::new(to[0], b"S         ");
    (2..8).for_each(|number| feed.send(2 * number, &["A"]));
    feed.end(15);
    let ended = receive.wait();
    ended.assert_code(1);
    let reasons = &ended.json()["lost_reasons"];
    assert!(reasons["held back by a quota"].as_u64() > Some(0), "{reasons}");
}
