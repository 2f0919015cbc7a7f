//! Trouble while a feed is received is reported on standard error when it happens, and is in the
//! JSON in the end.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::program::{Ended, Files, Port, Program, gapless, publisher, ranges, receiver};

/// Sends packets of a session to a line.
pub(crate) struct Feed {
    socket: UdpSocket,
    to: SocketAddr,
    session: [u8; 10],
}

impl Feed {
    pub(crate) fn new(to: SocketAddr, session: &[u8; 10]) -> Self {
        Self { socket: UdpSocket::bind("127.0.0.1:0").unwrap(), to, session: *session }
    }

    pub(crate) fn raw(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.to).unwrap();
    }

    fn packet(&self, number: u64, messages: &[&str]) -> Vec<u8> {
        let count = messages.len() as u16;
        let mut packet = [&self.session[..], &number.to_be_bytes(), &count.to_be_bytes()].concat();
        for message in messages {
            packet.extend((message.len() as u16).to_be_bytes());
            packet.extend(message.as_bytes());
        }
        packet
    }

    /// Messages, the first of them `number`.
    pub(crate) fn send(&self, number: u64, messages: &[&str]) {
        self.raw(&self.packet(number, messages));
    }

    /// Heartbeats, as many as it takes to be believed.
    pub(crate) fn heartbeats(&self, next: u64) {
        (0..3).for_each(|_| self.send(next, &[]));
    }

    /// Ends of the session, as many as it takes to be believed.
    pub(crate) fn end(&self, next: u64) {
        for _ in 0..3 {
            let header = [&self.session[..], &next.to_be_bytes(), &[0xFF, 0xFF]].concat();
            self.raw(&header);
        }
    }
}

/// How many lines of standard error begin so.
fn lines(ended: &Ended, words: &str) -> usize {
    ended.errors.lines().filter(|line| line.starts_with(words)).count()
}

#[test]
fn a_loss_is_said_when_it_happens() {
    let (mut receive, to) = receiver(1, "--from start --give-up 0.2");
    let feed = Feed::new(to[0], b"GAP       ");
    feed.send(1, &["one"]);
    feed.send(5, &["five"]);
    feed.heartbeats(6);
    let rest = receive.reported("lost just now: 3 messages of session GAP: 2-4");
    assert!(!rest.is_empty(), "no reason is given");
    let ended = receive.stop();
    ended.assert_code(1);
    let json = ended.json();
    assert_eq!(json["lost_reasons"].as_object().unwrap().values().next().unwrap(), 3);
}

#[test]
fn a_line_that_goes_down_and_comes_back_is_said() {
    let (mut receive, to) = receiver(1, "--from start");
    let feed = Feed::new(to[0], b"QUIET     ");
    feed.heartbeats(1);
    receive.reported("line A is down");
    feed.heartbeats(1);
    receive.reported("line A is up again");
    assert_eq!(receive.stop().json()["lines"][0]["downs"], 1);
}

#[test]
fn a_line_that_never_brings_anything_beside_one_that_does_is_said() {
    let (mut receive, to) = receiver(2, "--from start");
    let [line_a, line_b] = [to[0], to[1]].map(|to| Feed::new(to, b"FEED      "));
    line_a.heartbeats(1);
    receive.reported("line B is silent");
    line_b.heartbeats(1);
    receive.reported("line B is up");
    receive.stop().assert_code(130);
}

#[test]
fn a_server_that_does_not_answer_is_said_and_that_it_answers_again() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let (mut receive, to) = receiver(1, &format!("--requests {address} --give-up 60"));
    let feed = Feed::new(to[0], b"GAP       ");
    feed.send(1, &["one"]);
    feed.send(3, &["three"]);
    feed.heartbeats(4);
    receive.reported(&format!("server {address} does not answer"));
    let (mut request, mut from) = ([0; 20], None);
    while from.is_none() {
        from = server.recv_from(&mut request).ok().map(|(_, from)| from);
    }
    server.send_to(&feed.packet(2, &["two"]), from.unwrap()).unwrap();
    receive.reported(&format!("server {address} answers again"));
    let json = receive.stop().json();
    assert_eq!(json["servers"][0]["address"], address.to_string());
    assert!(json["servers"][0]["timeouts"].as_u64() > Some(0), "{json}");
    assert_eq!(json["servers"][0]["useful_answers"], 1);
}

#[test]
fn answers_from_an_address_that_nobody_configured_are_said_with_it() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let (mut receive, to) = receiver(1, &format!("--requests {address} --give-up 60"));
    let feed = Feed::new(to[0], b"GAP       ");
    feed.send(1, &["one"]);
    feed.send(3, &["three"]);
    feed.heartbeats(4);
    let (_, from) = server.recv_from(&mut [0; 20]).unwrap();
    stranger.send_to(&feed.packet(2, &["two"]), from).unwrap();
    let words = "1 answer from addresses that --requests does not name";
    let rest = receive.reported(words);
    assert!(rest.contains(&stranger.local_addr().unwrap().to_string()), "{rest}");
    assert_eq!(receive.stop().json()["unknown_answers"], 1);
}

#[test]
fn datagrams_that_are_no_packets_are_said_a_line_a_second_with_their_count() {
    let (mut receive, to) = receiver(1, "");
    let feed = Feed::new(to[0], b"S         ");
    let began = Instant::now();
    feed.raw(b"garbage");
    receive.reported("line A: 1 malformed datagram");
    for _ in 0..500 {
        feed.raw(b"garbage");
        std::thread::sleep(Duration::from_millis(1));
    }
    receive.reported("line A: ");
    let ended = receive.stop();
    let seconds = began.elapsed().as_secs() as usize;
    ended.assert_code(130);
    let said = lines(&ended, "line A: ");
    assert!((2..=seconds + 1).contains(&said), "{said} in {seconds} s: {}", ended.errors);
    assert!(ended.errors.contains(" in all)"), "{}", ended.errors);
    assert!(ended.json()["lines"][0]["malformed"].as_u64() > Some(1));
}

#[test]
fn what_the_kernel_drops_is_said() {
    let (mut receive, to) = receiver(1, "--receive-buffer 4096");
    let feed = Feed::new(to[0], b"S         ");
    // While it is stopped it reads nothing.
    receive.signal("STOP");
    let large = "x".repeat(1000);
    for number in 1..=200 {
        feed.send(number, &[&large]);
    }
    receive.signal("CONT");
    let rest = receive.reported("line A: ");
    assert!(rest.contains("dropped by the kernel"), "{rest}");
    assert!(receive.stop().json()["lines"][0]["kernel_drops"].as_u64() > Some(0));
}

#[test]
fn garbage_keeps_no_receiver_from_timing_out() {
    let (receive, to) = receiver(1, "--session FEED --timeout 0.5");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let until = stop.clone();
    let (garbage, other) = (Feed::new(to[0], b"S         "), Feed::new(to[0], b"OTHER     "));
    let sending = std::thread::spawn(move || {
        while !until.load(std::sync::atomic::Ordering::Relaxed) {
            garbage.raw(b"garbage");
            other.heartbeats(1);
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let ended = receive.wait();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    sending.join().unwrap();
    ended.assert_code(3);
    assert!(ended.json()["lines"][0]["malformed"].as_u64() > Some(0));
}

#[test]
fn a_session_that_is_cut_off_by_another_is_not_whole() {
    let (mut receive, to) = receiver(1, "--from start --follow");
    let (old, new) = (Feed::new(to[0], b"OLD       "), Feed::new(to[0], b"NEW       "));
    old.send(1, &["one"]);
    old.heartbeats(2);
    // The old one has to be quiet for a while.
    for _ in 0..400 {
        new.send(1, &[]);
        std::thread::sleep(Duration::from_millis(10));
    }
    receive.reported("unknown: session OLD gave way to another without an end");
    let ended = receive.stop();
    ended.assert_code(1);
    assert_eq!(ended.objects()[0]["end"], "superseded");
}

/// A sender that sends five messages, and then, started over, ten others at once and ten later.
fn started_over(flags: &str) -> (Program, Files) {
    let files = Files::new();
    let output = files.path("copy.bin");
    let (mut receive, to) = receiver(1, &format!("--from start --output {output} {flags}"));
    let feed = Feed::new(to[0], b"FEED      ");
    for number in 1..=5 {
        feed.send(number, &[&format!("old {number}")]);
    }
    files.wait_for_length("copy.bin", 35);
    for number in 1..=10 {
        feed.send(number, &[&format!("new {number}")]);
    }
    receive.reported("contradicted: message");
    // The old feed has to be quiet for a while.
    std::thread::sleep(Duration::from_millis(100));
    for number in 11..=20 {
        feed.send(number, &[&format!("new {number}")]);
    }
    for _ in 0..5 {
        feed.end(21);
        std::thread::sleep(Duration::from_millis(50));
    }
    (receive, files)
}

#[test]
fn a_sender_that_starts_over_ends_it_before_two_feeds_are_in_one_output() {
    let (receive, files) = started_over("");
    let ended = receive.wait();
    ended.assert_code(1);
    let json = ended.json();
    assert_eq!((&json["end"], &json["regressions"]), (&"regressed".into(), &1.into()));
    assert_eq!((&json["delivered"], &json["next_sequence"]), (&5.into(), &6.into()));
    assert!(ended.errors.contains("regressed: line A sends message"), "{}", ended.errors);
    assert!(ended.errors.contains("regressed: a sender of session FEED"), "{}", ended.errors);
    let copy = files.read("copy.bin");
    assert!(!copy.windows(3).any(|part| part == b"new"), "{copy:?}");
}

#[test]
fn a_sender_that_starts_over_may_be_ignored_but_is_reported_and_no_success() {
    let (receive, files) = started_over("--on-regress ignore");
    let ended = receive.wait();
    ended.assert_code(1);
    let json = ended.json();
    assert_eq!((&json["end"], &json["regressions"]), (&"ended".into(), &1.into()));
    // Messages that came while it was not clear who is right were dropped, and are named.
    assert_eq!(ranges(&json["lost_ranges"]), [(6, 10)]);
    assert_eq!(json["delivered"], 15);
    assert!(files.read("copy.bin").ends_with(b"new 20"));
}

#[test]
fn a_sender_that_starts_over_and_ends_where_it_ended_before_is_no_success() {
    let files = Files::new();
    let copy = files.path("copy.bin");
    let (mut receive, to) = receiver(1, &format!("--from start --output {copy}"));
    let feed = Feed::new(to[0], b"FEED      ");
    for number in 1..=3 {
        feed.send(number, &[&format!("old {number}")]);
    }
    files.wait_for_length("copy.bin", 21);
    for number in 1..=3 {
        feed.send(number, &[&format!("new {number}")]);
    }
    receive.reported("contradicted: message");
    feed.end(4);
    let ended = receive.wait();
    ended.assert_code(1);
    let json = ended.json();
    assert_eq!(json["delivered"], 3);
    assert_eq!(json["contradictions"], 3);
    assert!(ended.errors.contains("or one that started over"), "{}", ended.errors);
}

#[test]
fn a_publisher_that_is_started_over_with_another_feed_is_noticed() {
    let files = Files::new();
    let (short, long) = (files.path("short"), files.path("long"));
    std::fs::write(&short, (0..2_000).map(|n| format!("short {n}\n")).collect::<String>()).unwrap();
    std::fs::write(&long, (0..9_000).map(|n| format!("long {n}\n")).collect::<String>()).unwrap();
    let (receive, to) = receiver(1, &format!("--from start --output {}", files.path("copy.bin")));
    let line = |input| format!("--input {input} --format lines --session FEED");
    let mut first = publisher(&to, Port::new().free(), "--input - --format lines --session FEED");
    first.write(&std::fs::read(&short).unwrap());
    files.wait_for_length("copy.bin", 20_000);
    first.kill();
    let second = publisher(&to, Port::new().free(), &line(&long));
    let ended = receive.wait();
    drop(second);
    ended.assert_code(1);
    let copy = files.read("copy.bin");
    assert!(!copy.windows(4).any(|part| part == b"long"));
}

#[test]
fn a_sender_that_starts_over_after_the_end_of_its_session_is_said() {
    let (mut receive, to) = receiver(1, "--from start --follow");
    let feed = Feed::new(to[0], b"FEED      ");
    feed.send(1, &["one"]);
    feed.heartbeats(2);
    feed.end(2);
    receive.reported("waiting for a session");
    feed.send(1, &["another"]);
    receive.reported("regressed: 1 packet of a session that ended before");
    let ended = receive.stop();
    ended.assert_code(1);
    let objects = ended.objects();
    let restarts: Vec<_> = objects.iter().map(|object| &object["ended_session_restarts"]).collect();
    assert_eq!(restarts, [0, 1]);
}

#[test]
fn late_copies_after_the_end_of_a_session_are_said_and_no_harm() {
    let (mut receive, to) = receiver(1, "--from start --follow");
    let feed = Feed::new(to[0], b"FEED      ");
    feed.send(1, &["one"]);
    feed.heartbeats(2);
    feed.end(2);
    receive.reported("waiting for a session");
    feed.send(1, &["one"]);
    receive.reported("1 packet of a session that ended before: late copies");
    receive.stop().assert_code(130);
}

#[test]
fn the_table_is_printed_every_so_often_as_it_stands_then() {
    let (receive, to) = receiver(1, "--from start --stats 0.2");
    let feed = Feed::new(to[0], b"FEED      ");
    for number in 1..=10 {
        feed.send(number, &["message"]);
        std::thread::sleep(Duration::from_millis(100));
    }
    feed.end(11);
    let ended = receive.wait();
    ended.assert_code(0);
    let objects = ended.objects();
    let (last, running) = objects.split_last().unwrap();
    assert_eq!((&last["end"], &last["delivered"]), (&"ended".into(), &10.into()));
    assert!(running.len() >= 2, "{running:?}");
    assert!(running.iter().all(|object| object["end"] == "running"), "{running:?}");
}

#[test]
fn a_publisher_prints_how_it_stands_every_so_often() {
    let files = Files::new();
    let input = files.path("lines");
    std::fs::write(&input, "message\n".repeat(1_000)).unwrap();
    let line = format!("--input {input} --format lines --session S --rate 1000 --linger 0");
    let ended =
        publisher(&[Port::new().address()], Port::new().free(), &format!("{line} --stats 0.2"))
            .wait();
    ended.assert_code(0);
    let objects = ended.objects();
    let (last, running) = objects.split_last().unwrap();
    assert_eq!((&last["end"], &last["messages"]), (&"ended".into(), &1_000.into()));
    assert!(running.len() >= 2, "{running:?}");
    assert!(running.iter().all(|object| object["end"] == "running"), "{running:?}");
}

#[test]
fn a_table_that_is_printed_before_the_end_says_that_it_is_not_yet() {
    let ends = |output: Vec<u8>| {
        let tables = String::from_utf8(output).unwrap();
        let ends = tables.lines().filter_map(|line| line.strip_prefix("end          "));
        let ends: Vec<_> = ends.map(str::to_owned).collect();
        let (last, running) = ends.split_last().unwrap();
        assert_eq!(last, "the session ended", "{tables}");
        assert!(running.len() >= 2, "{tables}");
        assert!(running.iter().all(|end| end == "not yet"), "{tables}");
        tables
    };
    let line = "receive --line 127.0.0.1:0 --from start --stats 0.2";
    let mut receive = Program::start(line.split_whitespace());
    let to = receive.address("line A on");
    let files = Files::new();
    let input = files.path("lines");
    std::fs::write(&input, "message\n".repeat(1_000)).unwrap();
    let published = gapless(&format!(
        "publish --input {input} --format lines --session S --rate 1000 --linger 0 --stats 0.2 \
         --to {to} --requests 127.0.0.1:0"
    ));
    published.assert_code(0);
    let received = receive.wait();
    received.assert_code(0);
    assert!(ends(published.output).contains("messages     1000 in "));
    assert!(ends(received.output).contains("messages     1000 delivered, 0 lost"));
}

#[test]
fn a_demo_whose_lines_lose_everything_says_why_it_is_not_complete() {
    let ended = gapless("demo --messages 1000 --loss 100%");
    ended.assert_code(3);
    let why =
        "not complete: the lines lost every packet (--loss), so nothing of 1000 messages came";
    assert!(ended.errors.contains(why), "{}", ended.errors);
    let table = String::from_utf8(ended.output).unwrap();
    assert!(table.contains("NOT complete: the lines lost every packet"), "{table}");
}
