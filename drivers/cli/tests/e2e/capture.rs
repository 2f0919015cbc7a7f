//! A capture of another implementation's feed, published again.

use crate::program::{Files, Port, publisher, receiver, shared};

/// Of the 12,012 messages 240 are missing on the line; they are found in answers.
#[test]
fn a_capture_is_received_complete_with_the_answers_found_in_it() {
    let (Some(capture), Some(sample)) =
        (shared("moldudp64-itch50.pcap"), shared("itch50-sample.bin"))
    else {
        return;
    };
    let files = Files::new();
    let requests = Port::new();
    let flags = format!("--requests {} --output {}", requests.address(), files.path("copy.bin"));
    let (receive, to) = receiver(1, &flags);
    let arguments = format!("--input {} --format pcap --rate 20000", capture.display());
    let publish = publisher(&to, requests.free(), &arguments);
    let received = receive.wait();
    received.assert_code(0);
    assert!(files.read("copy.bin") == std::fs::read(sample).unwrap());
    let received = received.json();
    assert_eq!(received["session"], "RITCH2010A");
    assert_eq!(received["delivered"], 12_012);
    assert!(received["gaps_filled_by_request"].as_u64() > Some(0));
    let published = publish.stop().json();
    assert_eq!(
        (&published["session"], &published["messages"]),
        (&"RITCH2010A".into(), &11_772.into())
    );
    assert!(published["answered_messages"].as_u64() >= Some(240));
}

/// The capture's own ends of session are sent over and over, as those of other feeds.
#[test]
fn whoever_comes_after_a_capture_gets_all_of_it() {
    let Some(capture) = shared("moldudp64-itch50.pcap") else { return };
    let (requests, late) = (Port::new(), Port::new());
    let flags = format!("--requests {}", requests.address());
    let (first, to) = receiver(1, &flags);
    let arguments = format!("--input {} --rate 50000", capture.display());
    let publish = publisher(&[to[0], late.address()], requests.free(), &arguments);
    first.wait().assert_code(0);
    let late = crate::program::gapless(&format!("receive --line {} {flags} --json", late.free()));
    late.assert_code(0);
    assert_eq!(late.json()["delivered"], 12_012);
    publish.stop().assert_code(0);
}

#[test]
fn a_flow_that_is_not_in_the_capture_is_refused_and_those_in_it_are_listed() {
    let Some(capture) = shared("moldudp64-itch50.pcap") else { return };
    let to = Port::new();
    let ended = crate::program::gapless(&format!(
        "publish --input {} --flow 127.0.0.1:1 --to {} --requests 127.0.0.1:0",
        capture.display(),
        to.address()
    ));
    ended.assert_code(2);
    assert!(ended.errors.contains("239.1.2.3:30101 (11780 packets"), "{}", ended.errors);
}

#[test]
fn what_is_no_capture_is_refused_by_name() {
    let files = Files::new();
    let path = files.feed("feed.bin", 100);
    let to = Port::new();
    let ended = crate::program::gapless(&format!(
        "publish --input {path} --format pcap --to {} --requests 127.0.0.1:0",
        to.address()
    ));
    ended.assert_code(4);
    assert!(ended.errors.contains("is no pcap or pcapng capture"), "{}", ended.errors);
}
