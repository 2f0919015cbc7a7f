//! Attackers who send whatever they like to a running `publish` and to a running `receive`, in a
//! network namespace of its own: the feed arrives complete, and what they sent is counted.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use gapless_core::wire::mold::{END_OF_SESSION, Header, Request};
use gapless_tests::program::Program;
use gapless_tests::sim::{Random, session};
use gapless_tests::{in_namespace, shared};

const LINE: &str = "127.0.0.1:30700";
const SERVER: &str = "127.0.0.1:30701";

/// Sends noise to the line, and requests from one address after another, until told to stop; returns
/// how many datagrams it sent to the line.
fn molest(stop: &AtomicBool) -> u64 {
    let random = &mut Random::new(1);
    let session = session("HONEST");
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let attacker = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..20 {
            let noise: Vec<u8> = (0..random.within(0..=300)).map(|_| random.any() as u8).collect();
            let far = random.within(1 << 40..=1 << 60);
            let end = Header { session, sequence: far, count: END_OF_SESSION }.to_bytes();
            let request = Request { session, sequence: 1, count: u16::MAX }.to_bytes();
            // The listener may have gone: that is no failure of this one.
            sent += u64::from(attacker.send_to(&noise, LINE).is_ok());
            sent += u64::from(attacker.send_to(&end, LINE).is_ok());
            let _ = attacker.send_to(&noise, SERVER);
            let _ = attacker.send_to(&request, SERVER);
        }
        thread::sleep(Duration::from_millis(1));
    }
    sent
}

#[test]
fn an_honest_feed_arrives_complete_among_attackers() {
    let input = shared!("data/itch50-sample.bin");
    in_namespace!();
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("output");
    let (input, output) = (input.to_str().unwrap(), output.to_str().unwrap());
    let stop = AtomicBool::new(false);
    let (received, published) = thread::scope(|scope| {
        let attackers = scope.spawn(|| molest(&stop));
        let receive = Program::start(&[
            "receive",
            "--line",
            LINE,
            "--requests",
            SERVER,
            "--session",
            "HONEST",
            "--output",
            output,
            "--max-time",
            "60",
            "--json",
        ]);
        let publish = Program::start(&[
            "publish",
            "--input",
            input,
            "--session",
            "HONEST",
            "--to",
            LINE,
            "--requests",
            SERVER,
            "--loss",
            "5%",
            "--rate",
            "5000",
            "--linger",
            "1",
            "--json",
        ]);
        let received = receive.wait();
        stop.store(true, Ordering::Relaxed);
        assert!(attackers.join().unwrap() > 1000, "the attackers sent next to nothing");
        (received, publish.wait())
    });
    assert_eq!(received.code, Some(0), "{}", received.errors);
    assert_eq!(published.code, Some(0), "{}", published.errors);
    assert!(std::fs::read(output).unwrap() == std::fs::read(input).unwrap(), "the output differs");
    let received: serde_json::Value = serde_json::from_str(&received.output).unwrap();
    assert!(received["lines"][0]["malformed"].as_u64().unwrap() > 500, "{received}");
    assert_eq!(received["lost"], 0);
}
