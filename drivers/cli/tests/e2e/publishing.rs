//! The reports of a publisher on its lines and requests while it runs, how fast it answers, how long it
//! stays, what it keeps, and how a signal ends it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gapless_tests::in_namespace;

use crate::program::{Files, Port, Program, fifo, gapless};

/// The count of a packet that ends a session.
const END: [u8; 2] = [0xFF, 0xFF];

/// A socket whose reads end.
fn socket(local: &str) -> UdpSocket {
    let socket = UdpSocket::bind(local).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket
}

/// A request for messages of session S.
fn request(sequence: u64, count: u16) -> [u8; 20] {
    let request = [&b"S         "[..], &sequence.to_be_bytes(), &count.to_be_bytes()].concat();
    request.try_into().unwrap()
}

/// How many datagrams come before none does for a second.
fn answers(socket: &UdpSocket) -> usize {
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    std::iter::from_fn(|| socket.recv(&mut [0; 2048]).ok()).count()
}

/// Starts a publisher of a feed whose messages have all been sent when it says where it answers
/// requests no more than this.
fn lingering(files: &Files, requests: &str, flags: &str) -> (Program, SocketAddr) {
    lingering_of(files, 2_000, requests, &format!("--json {flags}"))
}

/// The same of so many messages, with the summary that the flags say.
fn lingering_of(
    files: &Files,
    messages: u32,
    requests: &str,
    flags: &str,
) -> (Program, SocketAddr) {
    let feed = files.feed("feed.bin", messages);
    let line = socket("127.0.0.1:0");
    let to = line.local_addr().unwrap();
    let mut publisher = Program::start(
        format!("publish --input {feed} --to {to} --requests {requests} --session S {flags}")
            .split_whitespace(),
    );
    let requests = publisher.address("requests on");
    while {
        let mut packet = [0; 2048];
        line.recv(&mut packet).unwrap();
        packet[18..20] != END
    } {}
    (publisher, requests)
}

#[test]
fn a_signal_before_the_end_of_the_input_sends_no_end_of_session() {
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let files = Files::new();
        let pipe = fifo(&files, "pipe");
        let line = socket("127.0.0.1:0");
        let to = line.local_addr().unwrap();
        let publisher = Program::start(
            format!(
                "publish --json --input {pipe} --format lines --to {to} --requests 127.0.0.1:0 \
                 --session S"
            )
            .split_whitespace(),
        );
        let mut input = OpenOptions::new().write(true).open(&pipe).unwrap();
        input.write_all(b"one\n").unwrap();
        let mut packet = [0; 64];
        assert_eq!(line.recv(&mut packet).unwrap(), 25);
        publisher.wait_for_handler();
        publisher.signal(signal);
        let ended = publisher.wait();
        drop(input);
        ended.assert_code(code);
        let json = ended.json();
        assert_eq!((&json["end"], &json["messages"]), (&"interrupted".into(), &1.into()));
        line.set_nonblocking(true).unwrap();
        while line.recv(&mut packet).is_ok() {
            assert_ne!(packet[18..20], END, "the session is said to have ended");
        }
    }
}

#[test]
fn the_table_says_that_a_publisher_was_interrupted_and_help_says_what_that_means() {
    let files = Files::new();
    let (pipe, socket) = (fifo(&files, "pipe"), socket("127.0.0.1:0"));
    let to = socket.local_addr().unwrap();
    let line = format!("publish --input {pipe} --to {to} --requests 127.0.0.1:0 --session S");
    let publisher = Program::start(line.split_whitespace());
    let mut input = OpenOptions::new().write(true).open(&pipe).unwrap();
    input.write_all(b"\0\x03one").unwrap();
    socket.recv(&mut [0; 64]).unwrap();
    let ended = publisher.stop();
    drop(input);
    ended.assert_code(130);
    let table = String::from_utf8(ended.output).unwrap();
    assert!(table.contains("end          interrupted\n"), "{table}");
    let help = String::from_utf8(gapless("publish --help").output).unwrap();
    assert!(help.contains("no end of the session"), "{help}");
}

#[test]
fn a_signal_that_comes_once_the_session_ended_is_no_interruption() {
    let files = Files::new();
    let (publisher, _) = lingering(&files, "127.0.0.1:0", "--linger 60");
    let ended = publisher.stop();
    ended.assert_code(0);
    assert_eq!(ended.json()["end"], "ended");
}

#[test]
fn a_line_of_which_the_system_takes_nothing_is_reported_once_with_its_reason_and_ends_with_4() {
    in_namespace!();
    let files = Files::new();
    let feed = files.feed("feed.bin", 5_000);
    let good = Port::new();
    let ended = gapless(&format!(
        "publish --json --input {feed} --to {} --to 192.0.2.1:5000 --requests 127.0.0.1:0 \
         --session S --linger 0",
        good.address()
    ));
    ended.assert_code(4);
    let reported = "warning: line B (192.0.2.1:5000): the system does not take packets: Network is \
                unreachable";
    assert_eq!(ended.errors.matches(reported).count(), 1, "{}", ended.errors);
    let error = "error: line B (192.0.2.1:5000): not one packet was sent: Network is unreachable";
    assert!(ended.errors.contains(error), "{}", ended.errors);
    let json = ended.json();
    assert_eq!(json["lines"][0]["send_errors"], serde_json::json!([]));
    let errors = &json["lines"][1]["send_errors"];
    assert_eq!(errors.as_array().unwrap().len(), 1, "{json}");
    assert_eq!(errors[0]["packets"], json["lines"][1]["send_failures"]);
    assert!(errors[0]["error"].as_str().unwrap().contains("Network is unreachable"), "{json}");
}

#[test]
fn a_broadcast_line_arrives() {
    in_namespace!();
    let files = Files::new();
    let feed = files.feed("feed.bin", 500);
    let copy = files.path("copy.bin");
    let requests = Port::new().free();
    let line = format!(
        "receive --json --line 127.255.255.255:0 --requests {requests} --output {copy} --from start"
    );
    let mut receiver = Program::start(line.split_whitespace());
    let to = receiver.address("line A on");
    assert_eq!(to.ip().to_string(), "127.255.255.255");
    gapless(&format!(
        "publish --input {feed} --to {to} --requests {requests} --session S --linger 1"
    ))
    .assert_code(0);
    receiver.wait().assert_code(0);
    files.assert_same("feed.bin", "copy.bin");
}

#[test]
fn an_address_beyond_this_machine_is_not_flooded_and_what_is_declined_is_reported() {
    in_namespace!();
    let made = Command::new("ip").args(["addr", "add", "10.9.9.1/24", "dev", "lo"]).status();
    assert!(made.unwrap().success());
    let files = Files::new();
    let (mut publisher, requests) = lingering(&files, "10.9.9.1:0", "--linger 60");
    let began = Instant::now();
    let victim = socket("10.9.9.1:0");
    for _ in 0..3_000 {
        victim.send_to(&request(1, 60), requests).unwrap();
    }
    publisher.reported("warning: ");
    let answers = answers(&victim);
    let most = 65_536 + began.elapsed().as_millis() as usize * 1_000 + 1_472;
    assert!(answers > 0 && answers * 1_000 <= most, "{answers} answers");
    let ended = publisher.stop();
    ended.assert_code(0);
    let declined = ended.json()["unanswered"]["over_address_rate"].as_u64().unwrap();
    assert!(declined > 100, "{declined}");
    let reported = "requests not answered: one address may not have more a second (--answer-rate)";
    assert!(ended.errors.contains(reported), "{}", ended.errors);
}

#[test]
fn an_answer_rate_that_is_given_rules_on_this_machine_too() {
    let files = Files::new();
    let flags = "--linger 60 --answer-rate 1000";
    let (publisher, requests) = lingering(&files, "127.0.0.1:0", flags);
    let asker = socket("127.0.0.1:0");
    for _ in 0..200 {
        asker.send_to(&request(1, 60), requests).unwrap();
    }
    // Answers of some 1,400 bytes: a burst of 65,536, and 1,000 a second.
    let answers = answers(&asker);
    assert!((20..100).contains(&answers), "{answers} answers");
    let ended = publisher.stop();
    ended.assert_code(0);
    assert!(ended.json()["unanswered"]["over_address_rate"].as_u64() > Some(50));
}

#[test]
fn what_the_system_takes_of_no_answer_is_reported_and_counted() {
    in_namespace!();
    let run = |line: &str| Command::new("ip").args(line.split(' ')).status().unwrap().success();
    for form in ["--json", ""] {
        let files = Files::new();
        assert!(run("addr add 10.9.9.1/32 dev lo"));
        let flags = format!("--linger 60 {form}");
        let (mut publisher, requests) = lingering_of(&files, 100, "127.0.0.1:0", &flags);
        let asker = socket("10.9.9.1:0");
        // The requester is gone before there is an answer.
        publisher.signal("STOP");
        asker.send_to(&request(1, 1), requests).unwrap();
        assert!(run("addr del 10.9.9.1/32 dev lo"));
        publisher.signal("CONT");
        let why = publisher.reported("warning: answers: the system does not take packets:");
        let ended = publisher.stop();
        ended.assert_code(0);
        if form.is_empty() {
            let table = String::from_utf8(ended.output).unwrap();
            let words = format!(", 1 answers not taken by the system: {why}");
            assert!(table.contains(&words), "{table}");
            continue;
        }
        let json = ended.json();
        assert_eq!(json["answer_send_failures"], 1, "{json}");
        assert_eq!(json["answer_send_errors"][0]["packets"], 1, "{json}");
        assert_eq!(json["answer_send_errors"][0]["error"], why, "{json}");
    }
}

#[test]
fn what_happened_last_is_reported_before_it_is_summed_up() {
    let files = Files::new();
    let flags = "--keep 262144 --linger 60";
    let (mut publisher, requests) = lingering_of(&files, 60_000, "127.0.0.1:0", flags);
    let asker = socket("127.0.0.1:0");
    asker.send_to(b"garbage", requests).unwrap();
    publisher.reported("warning: 1 request not answered: of another session");
    // It has looked just now, and does not do so again when these come.
    asker.send_to(&request(1, 1), requests).unwrap();
    asker.send_to(&request(60_000, 1), requests).unwrap();
    asker.recv(&mut [0; 2048]).unwrap();
    let ended = publisher.stop();
    ended.assert_code(0);
    let reported = "warning: 1 request not answered: the messages are not kept (--keep)";
    assert!(ended.errors.contains(reported), "{}", ended.errors);
}

#[test]
fn garbage_where_requests_are_taken_keeps_no_publisher_alive() {
    let files = Files::new();
    let (publisher, requests) = lingering(&files, "127.0.0.1:0", "--linger 2");
    let (stop, socket) = (AtomicBool::new(false), socket("127.0.0.1:0"));
    let ended = thread::scope(|scope| {
        scope.spawn(|| {
            let other = [b"OTHER     ", &request(1, 1)[10..]].concat();
            let garbage: [&[u8]; 5] = [b"", &[7; 20], &other, &request(1 << 40, 1), &request(1, 0)];
            while !stop.load(Ordering::Relaxed) {
                for datagram in garbage {
                    // Refused once the publisher is gone.
                    let _ = socket.send_to(datagram, requests);
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| publisher.wait()));
        stop.store(true, Ordering::Relaxed);
        ended.unwrap()
    });
    ended.assert_code(0);
    let unanswered = &ended.json()["unanswered"];
    for reason in ["malformed", "other_session", "out_of_range"] {
        assert!(unanswered[reason].as_u64() > Some(0), "{unanswered}");
    }
    assert!(ended.errors.contains("of another session"), "{}", ended.errors);
}

#[test]
fn what_is_kept_of_standard_input_has_a_bound_that_help_tells() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 60_000);
    let line = socket("127.0.0.1:0");
    let to = line.local_addr().unwrap();
    let mut publisher = Program::start_from(
        File::open(feed).unwrap(),
        format!(
            "publish --json --input - --to {to} --requests 127.0.0.1:0 --session S --keep 262144 \
             --linger 60"
        )
        .split_whitespace(),
    );
    let requests = publisher.address("requests on");
    while {
        let mut packet = [0; 2048];
        line.recv(&mut packet).unwrap();
        packet[18..20] != END
    } {}
    let asker = socket("127.0.0.1:0");
    asker.send_to(&request(1, 1), requests).unwrap();
    publisher.reported("warning: 1 request not answered: the messages are not kept (--keep)");
    asker.send_to(&request(60_000, 1), requests).unwrap();
    asker.recv(&mut [0; 2048]).unwrap();
    let ended = publisher.stop();
    ended.assert_code(0);
    let json = ended.json();
    assert!(json["forgotten_messages"].as_u64() > Some(50_000), "{json}");
    assert_eq!(json["unanswered"]["not_kept"], 1);
    let help = String::from_utf8(gapless("publish --help").output).unwrap();
    assert!(help.contains("--keep <BYTES>") && help.contains("536870912"), "{help}");
}
