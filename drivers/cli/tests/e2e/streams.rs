//! Standard input, standard output, lines, and delivery on arrival.

use crate::program::{Files, Port, publisher, receiver};

/// The messages of a binaryfile.
fn messages(mut file: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = file.split_first_chunk() {
        let (message, rest) = rest.split_at(u16::from_be_bytes(*length).into());
        messages.push(message.to_vec());
        file = rest;
    }
    messages
}

#[test]
fn lines_come_through_from_standard_input_to_standard_output() {
    let requests = Port::new();
    let flags = format!("--requests {} --output -", requests.address());
    let (receive, to) = receiver(1, &flags);
    let arguments = "--input - --format lines --session TEXT";
    let mut publish = publisher(&to, requests.free(), arguments);
    publish.write(b"one\n\nthree\n");
    publish.end_input();
    let received = receive.wait();
    received.assert_code(0);
    assert_eq!(messages(&received.output), [&b"one"[..], b"", b"three"]);
    // The summary gives way to the messages.
    assert!(received.errors.contains("\"delivered\":3"), "{}", received.errors);
    publish.stop().assert_code(0);
}

#[test]
fn an_empty_input_is_an_empty_session() {
    let requests = Port::new();
    let (receive, to) = receiver(1, &format!("--requests {}", requests.address()));
    let mut publish = publisher(&to, requests.free(), "--input - --session EMPTY");
    publish.end_input();
    let received = receive.wait();
    received.assert_code(0);
    assert_eq!(received.json()["delivered"], 0);
    let published = publish.stop();
    assert_eq!(published.json()["session"], "EMPTY");
    assert_eq!(published.json()["messages"], 0);
}

#[test]
fn on_arrival_each_message_comes_once_in_any_order() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 10_000);
    let requests = Port::new();
    let flags = format!(
        "--requests {} --delivery arrival --output {}",
        requests.address(),
        files.path("copy.bin")
    );
    let (receive, to) = receiver(2, &flags);
    let arguments = format!(
        "--input {feed} --session FEED --rate 50000 --loss 10% --reorder 10% --duplicate 10%"
    );
    let publish = publisher(&to, requests.free(), &arguments);
    let received = receive.wait();
    received.assert_code(0);
    assert_eq!(received.json()["delivered"], 10_000);
    let [mut sent, mut came] = ["feed.bin", "copy.bin"].map(|name| messages(&files.read(name)));
    assert!(sent != came, "everything came in order: that was no test");
    sent.sort();
    came.sort();
    assert!(sent == came);
    publish.stop().assert_code(0);
}

#[test]
fn what_publish_says_of_its_lines_is_what_it_did() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 5_000);
    let to = [Port::new(), Port::new()];
    let arguments = format!("--input {feed} --session FEED --loss 100% --linger 0");
    let published = publisher(&to.map(|to| to.address()), Port::new().free(), &arguments).wait();
    published.assert_code(0);
    let published = published.json();
    assert_eq!(published["messages"], 5_000);
    for line in published["lines"].as_array().unwrap() {
        assert_eq!(line["sent"], 0);
        assert_eq!(line["dropped"], serde_json::json!([[1, 5_000]]));
    }
}
