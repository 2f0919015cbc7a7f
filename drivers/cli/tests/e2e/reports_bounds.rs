//! Reports that do not grow with what they report, and nothing that is left unsaid at the end.

use std::net::UdpSocket;
use std::time::Duration;

use crate::program::{Files, Program, receiver};
use crate::reports::Feed;

#[test]
fn reports_of_many_losses_name_the_first_and_the_last_object_names_all() {
    let (mut receive, to) = receiver(1, "--from start --give-up 0.2 --stats 0.1");
    let feed = Feed::new(to[0], b"HOLES     ");
    for number in (1..=101).step_by(2) {
        feed.send(number, &["message"]);
    }
    feed.heartbeats(102);
    receive.reported("lost just now: ");
    // Few packets speak of the last ones.
    std::thread::sleep(Duration::from_secs(4));
    let ended = receive.stop();
    ended.assert_code(1);
    let lost = ended.errors.lines().find(|line| line.starts_with("lost: 50 messages")).unwrap();
    assert!(lost.ends_with("30, 32, and 34 more ranges"), "{lost}");
    let objects = ended.objects();
    let (last, running) = objects.split_last().unwrap();
    let ranges = last["lost_ranges"].as_array().unwrap();
    assert_eq!((ranges.len(), &last["lost_ranges_left_out"]), (50, &0.into()));
    let running = running.last().unwrap();
    assert_eq!((&running["end"], &running["lost"]), (&"running".into(), &50.into()));
    let ranges = running["lost_ranges"].as_array().unwrap();
    assert_eq!((ranges.len(), &running["lost_ranges_left_out"]), (16, &34.into()));
}

#[test]
fn running_reports_of_a_publisher_do_not_grow_with_what_it_drops() {
    let files = Files::new();
    let input = files.path("lines");
    std::fs::write(&input, format!("{}\n", "x".repeat(40)).repeat(300)).unwrap();
    let line = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = line.local_addr().unwrap();
    let line = format!(
        "publish --json --input {input} --format lines --to {to} --requests 127.0.0.1:0 --session S \
         --rate 1000 --mtu 64 --loss 50% --linger 2 --stats 0.2"
    );
    let ended = Program::start(line.split_whitespace()).wait();
    ended.assert_code(0);
    let objects = ended.objects();
    let (last, running) = objects.split_last().unwrap();
    let (last, running) = (&last["lines"][0], &running.last().unwrap()["lines"][0]);
    let all = last["dropped"].as_array().unwrap().len();
    assert_eq!((all > 16, &last["dropped_left_out"]), (true, &0.into()));
    assert_eq!(running["dropped"].as_array().unwrap().len(), 16);
    assert_eq!(running["dropped_left_out"], all - 16);
}

/// Fills the buffer of a program that does not read meanwhile.
fn flood(program: &Program, to: std::net::SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    program.signal("STOP");
    for _ in 0..200 {
        socket.send_to(&[0; 1000], to).unwrap();
    }
    program.signal("CONT");
}

#[test]
fn what_the_kernel_drops_of_answers_is_said() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let flags = format!("--from start --receive-buffer 4096 --requests {address} --give-up 60");
    let (mut receive, to) = receiver(1, &flags);
    let feed = Feed::new(to[0], b"GAP       ");
    feed.send(1, &["one"]);
    feed.send(3, &["three"]);
    feed.heartbeats(4);
    let (_, from) = server.recv_from(&mut [0; 64]).unwrap();
    flood(&receive, ([127, 0, 0, 1], from.port()).into());
    let rest = receive.reported("answers: ");
    assert!(rest.contains("dropped by the kernel"), "{rest}");
    assert!(receive.stop().json()["answers_kernel_drops"].as_u64() > Some(0));
}

#[test]
fn what_the_kernel_drops_of_requests_is_said() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 10);
    let line = format!(
        "publish --json --input {feed} --to 127.0.0.1:9 --requests 127.0.0.1:0 --session S \
         --receive-buffer 4096 --linger 60"
    );
    let mut publish = Program::start(line.split_whitespace());
    let requests = publish.address("requests on");
    flood(&publish, requests);
    let rest = publish.reported("warning: requests: ");
    assert!(rest.contains("dropped by the kernel"), "{rest}");
    assert!(publish.stop().json()["requests_kernel_drops"].as_u64() > Some(0));
}

#[test]
fn what_comes_right_before_the_end_is_said() {
    let (mut receive, to) = receiver(2, "");
    let [line_a, line_b] = [to[0], to[1]].map(|to| Feed::new(to, b"S         "));
    line_a.raw(b"garbage");
    receive.reported("line A: 1 malformed datagram");
    // It has just looked, and looks again in a while.
    line_b.raw(b"garbage");
    let ended = receive.stop();
    ended.assert_code(130);
    assert!(ended.errors.contains("line B: 1 malformed datagram"), "{}", ended.errors);
}

#[test]
fn what_stalls_is_in_the_report() {
    let (mut receive, to) = receiver(1, "--from start");
    let feed = Feed::new(to[0], b"FAR       ");
    feed.send(1, &["one"]);
    feed.heartbeats(2);
    feed.send(5_000, &["far"]);
    receive.reported("waiting for messages 2 to 4999 of session FAR");
    assert_eq!(receive.stop().json()["stalls"], 1);
}

#[test]
fn why_requests_are_not_sent_is_said_in_the_words_of_the_system() {
    // From loopback there is no way to elsewhere.
    let flags = "--from start --source 127.0.0.1 --requests 192.0.2.1:9 --give-up 60";
    let (mut receive, to) = receiver(1, flags);
    let feed = Feed::new(to[0], b"GAP       ");
    feed.send(1, &["one"]);
    feed.send(3, &["three"]);
    feed.heartbeats(4);
    let why = receive.reported("requests: the system does not take them: ");
    assert!(why.contains("(os error "), "{why}");
    assert!(receive.stop().json()["unsent_requests"].as_u64() > Some(0));
}
