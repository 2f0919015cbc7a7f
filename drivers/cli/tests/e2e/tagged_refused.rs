//! `gapless stream` when it does not come to a stream: each cause has its words and its exit code.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Instant, SystemTime};

use gapless_quic::endpoint::{Config as Endpoints, Transport};
use gapless_quic::tls::{ClientAuth, Identity, endpoint_config, server_config};
use gapless_quic::{Config, Driver, Endpoint, Event, Handler};

use crate::program::{Ended, Files, Port, Program, gapless, wait_until};
use crate::tagged::Listener;

#[track_caller]
fn assert_refused(ended: &Ended, code: i32, words: &str) {
    ended.assert_code(code);
    assert!(ended.errors.contains(words), "no `{words}` in: {}", ended.errors);
}

#[test]
fn a_tag_that_nobody_takes_ends_with_8() {
    let files = Files::new();
    let inbox = files.path("inbox");
    let listener = Listener::start(&files, &format!("--tag logs --output {inbox}"));
    // Whether it is short or long, and though a tag of its beginning is taken.
    for size in [0, 20_000_000] {
        let input = files.noise("input", size);
        let sent = listener.send(&format!("--tag logs2 --input {input} --json --answer /dev/null"));
        assert_refused(&sent, 8, "nobody takes the tag logs2");
        assert_eq!(sent.json()["end"], "refused");
    }
    listener.program.stop().assert_code(0);
    assert!(files.names("inbox").is_empty());
}

#[test]
fn after_its_last_stream_a_listener_takes_no_more() {
    let files = Files::new();
    let taken = files.path("taken");
    let listener = Listener::exec(&files, "--tag x --once", &format!("touch {taken}; cat"));
    let mut first = listener.sender("--tag x");
    first.write(b"here");
    wait_until(|| std::fs::exists(&taken).unwrap());
    let second = listener.send("--tag x --input /dev/null");
    assert_refused(&second, 8, "nobody takes the tag x");
    let first = first.wait();
    first.assert_code(0);
    assert_eq!(first.output, b"here");
    listener.program.wait().assert_code(0);
}

#[test]
fn a_reserved_tag_is_not_sent() {
    let sent = gapless("stream send quic://127.0.0.1:9 --tag gapless:x");
    assert_refused(&sent, 2, "reserved");
}

#[test]
fn a_certificate_of_nobody_known_ends_with_6() {
    let files = Files::new();
    let listener = Listener::start(&files, "--tag x");
    let line = format!("stream send {} --tag x --input /dev/null", listener.url);
    assert_refused(&gapless(&line), 6, "not signed by anybody who is trusted");
    let pin = "00".repeat(32);
    let sent = gapless(&format!("{line} --pin {pin}"));
    assert_refused(&sent, 6, &format!("use --pin {}", listener.fingerprint));
    let other = files.path("other");
    Identity::kept_in(other.as_ref(), &["localhost"], SystemTime::now()).unwrap();
    let sent = gapless(&format!("{line} --ca {other}/identity.pem"));
    assert_eq!(sent.code, Some(6), "{}", sent.errors);
}

#[test]
fn a_certificate_for_another_name_ends_with_6() {
    let files = Files::new();
    let listener = Listener::start(&files, "--tag x");
    let ca = files.path("identity/identity.pem");
    // It is for localhost only.
    let line = format!("stream send {} --tag x --input /dev/null --ca {ca}", listener.url);
    assert_refused(&gapless(&line), 6, "is for another name");
}

#[test]
fn insecure_is_loud() {
    let files = Files::new();
    let listener = Listener::start(&files, "--tag x");
    let line = format!("stream send {} --tag x --input /dev/null --insecure", listener.url);
    assert_refused(&gapless(&line), 0, "warning: --insecure");
}

#[test]
fn a_listener_may_ask_for_certificates() {
    let files = Files::new();
    let client = files.path("client");
    let identity = Identity::kept_in(client.as_ref(), &["localhost"], SystemTime::now()).unwrap();
    let pem = files.path("client/identity.pem");
    for trust in [format!("--client-pin {}", identity.fingerprint()), format!("--client-ca {pem}")]
    {
        let mut listener = Listener::start(&files, &format!("--tag x {trust}"));
        let bare = listener.send("--tag x --input /dev/null");
        assert_refused(&bare, 6, "demands a certificate of us");
        let reported = listener.program.reported("a client could not connect:");
        assert!(reported.contains("no certificate"), "{reported}");
        let shown = format!("--tag x --input /dev/null --client-cert {pem} --client-key {pem}");
        listener.send(&shown).assert_code(0);
    }
}

#[test]
fn a_listener_may_bring_its_own_certificate() {
    let files = Files::new();
    let folder = files.path("own");
    let identity = Identity::kept_in(folder.as_ref(), &["localhost"], SystemTime::now()).unwrap();
    let line = format!(
        "stream listen --listen 127.0.0.1:0 --tag x --once --cert {folder}/identity.pem \
         --key {folder}/identity.pem"
    );
    let mut listener = Program::start(line.split_whitespace());
    let address = listener.address("listening on");
    let fingerprint = listener.reported("fingerprint");
    assert_eq!(fingerprint, identity.fingerprint().to_string());
    gapless(&format!("stream send quic://{address} --tag x --input /dev/null --pin {fingerprint}"))
        .assert_code(0);
    listener.wait().assert_code(0);
}

#[test]
fn a_peer_that_does_not_answer_ends_with_5() {
    // Somebody who is there but says nothing.
    let silent = Port::new();
    let line = format!(
        "stream send quic://{} --tag x --insecure --connect-timeout 0.3 --input /dev/null",
        silent.address()
    );
    assert_refused(&gapless(&line), 5, "does not answer within 0.3 s");
}

/// The addresses of `localhost`, with a port of 127.0.0.1 that nobody has.
#[cfg(target_os = "linux")]
fn addresses_of_localhost() -> Vec<SocketAddr> {
    let port = Port::new().free().port();
    ("localhost", port).to_socket_addrs().unwrap().collect()
}

#[cfg(target_os = "linux")]
#[test]
fn that_nobody_listens_is_said_at_once_in_the_systems_words() {
    let port = addresses_of_localhost()[0].port();
    for host in ["127.0.0.1", "localhost"] {
        // Longer than the test takes.
        let line = format!(
            "stream send quic://{host}:{port} --tag x --insecure --connect-timeout 600 \
             --input /dev/null"
        );
        let ended = gapless(&line);
        assert_refused(&ended, 5, "cannot reach");
        assert!(ended.errors.contains("onnection refused"), "{}", ended.errors);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_further_address_of_a_name_is_tried_when_the_first_one_refuses() {
    let files = Files::new();
    let addresses = addresses_of_localhost();
    let (identity, last) = (files.path("identity"), addresses[addresses.len() - 1]);
    let mut listener = Program::start(
        format!("stream listen --listen {last} --tag x --once --identity {identity}")
            .split_whitespace(),
    );
    let fingerprint = listener.reported("fingerprint");
    let port = last.port();
    gapless(&format!(
        "stream send quic://localhost:{port} --tag x --input /dev/null --pin {fingerprint}"
    ))
    .assert_code(0);
    listener.wait().assert_code(0);
}

#[test]
fn clients_that_there_is_no_memory_for_are_refused_and_reported_of() {
    let files = Files::new();
    let taken = files.path("taken");
    // As much as one connection is promised.
    let command = format!("touch {taken}; cat");
    let mut listener = Listener::exec(&files, "--tag x --max-memory 4194304", &command);
    let mut first = listener.sender("--tag x");
    first.write(b"here");
    wait_until(|| std::fs::exists(&taken).unwrap());
    let second = listener.send("--tag x --input /dev/null");
    assert_refused(&second, 5, "the peer refuses connections");
    let reported = listener.program.reported("a client could not connect:");
    assert!(reported.contains("--max-memory"), "{reported}");
    first.end_input();
    let first = first.wait();
    first.assert_code(0);
    assert_eq!(first.output, b"here");
}

#[test]
fn a_name_that_is_not_known_ends_with_5() {
    let sent = gapless("stream send quic://nobody.invalid:1 --tag x --insecure");
    assert_refused(&sent, 5, "cannot find `nobody.invalid`: ");
    let words = "; see that the name is right and the name server answers, or write an IP address";
    assert!(sent.errors.ends_with(words), "{}", sent.errors);
}

/// Nothing of what happens is of interest.
struct Nothing;

impl Handler for Nothing {
    fn event(&mut self, _: &mut Endpoint, _: Instant, _: Event) {}
}

/// Runs `use_it` while a server of one protocol is there, which is given its address.
fn with_server<T>(protocol: &str, transport: Transport, use_it: impl FnOnce(SocketAddr) -> T) -> T {
    let identity = Identity::self_signed(&["localhost"], SystemTime::now()).unwrap();
    let crypto = server_config(&identity, &[protocol], &ClientAuth::None).unwrap();
    let config = Endpoints { transport, ..endpoint_config(&identity.keys("other"), Some(crypto)) };
    let mut driver = Driver::new(Config::new("127.0.0.1:0".parse().unwrap(), config)).unwrap();
    let address = driver.address();
    let is_over = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&is_over);
    let server = thread::spawn(move || {
        driver.run(&mut Nothing, |_, _| until.load(Ordering::Relaxed)).unwrap();
    });
    let used = use_it(address);
    is_over.store(true, Ordering::Relaxed);
    server.join().unwrap();
    used
}

#[test]
fn a_peer_of_another_protocol_ends_with_7() {
    let sent = with_server("other/1", Transport::default(), |address| {
        gapless(&format!("stream send quic://{address} --tag x --insecure --input /dev/null"))
    });
    assert_refused(&sent, 7, "speaks none of our application protocols");
    assert!(sent.errors.contains("gapless/1"), "{}", sent.errors);
}

#[test]
fn a_peer_that_lets_no_stream_begin_ends_with_8() {
    let none = Transport { max_bidirectional: 0, ..Transport::default() };
    let sent = with_server("gapless/1", none, |address| {
        let line = format!("stream send quic://{address} --tag x --insecure --input /dev/null");
        gapless(&format!("{line} --connect-timeout 1 --json --answer /dev/null"))
    });
    assert_refused(&sent, 8, "the peer lets no stream begin within 1 s");
    assert_eq!(sent.json()["end"], "refused");
}

#[test]
fn files_that_are_not_there_end_with_4_and_are_named() {
    let files = Files::new();
    let none = files.path("none");
    for line in [
        format!("stream send quic://127.0.0.1:9 --tag x --insecure --input {none}"),
        format!("stream send quic://127.0.0.1:9 --tag x --ca {none}"),
        format!("stream listen --listen 127.0.0.1:0 --tag x --cert {none} --key {none}"),
    ] {
        assert_refused(&gapless(&line), 4, &none);
    }
    let file = files.noise("file", 1);
    let line =
        format!("stream listen --listen 127.0.0.1:0 --tag x --output {file} --identity {none}");
    assert_refused(&gapless(&line), 4, &file);
}

#[test]
fn an_address_that_is_taken_ends_with_4() {
    let files = Files::new();
    let (taken, identity) = (Port::new(), files.path("identity"));
    let line = format!("stream listen --listen {} --tag x --identity {identity}", taken.address());
    assert_refused(&gapless(&line), 4, "another program has that port");
}

#[test]
fn whatever_sending_ends_with_is_one_json_object() {
    let files = Files::new();
    let listener = Listener::start(&files, "--tag x");
    let (url, pin, none) = (&listener.url, &listener.fingerprint, files.path("none"));
    let nobody = Port::new();
    let file = files.noise("file", 1);
    for (arguments, code, end) in [
        ("quic://nobody.invalid:1 --insecure".into(), 5, "unreachable"),
        (format!("quic://{} --insecure --connect-timeout 0.3", nobody.address()), 5, "unreachable"),
        (url.clone(), 6, "untrusted"),
        (format!("{url} --ca {none}"), 4, "failed"),
        (format!("{url} --pin {pin} --input {none}"), 4, "failed"),
        (format!("{url} --pin {pin} --input {file} --answer {file}"), 2, "failed"),
        (format!("{url} --pin {pin} --answer {none}/answer"), 4, "failed"),
        (format!("{url} --pin {pin} --tag y"), 8, "refused"),
    ] {
        let tag = if arguments.contains("--tag") { "" } else { "--tag x" };
        let answer = if arguments.contains("--answer") { "" } else { "--answer /dev/null" };
        let sent = gapless(&format!("stream send {arguments} {tag} {answer} --json"));
        sent.assert_code(code);
        let object = sent.json();
        assert_eq!((&object["end"], &object["exit_code"]), (&end.into(), &code.into()));
        // In the words of standard error.
        let words = format!("error: {}", object["error"].as_str().unwrap());
        assert!(sent.errors.contains(&words), "no `{words}` in: {}", sent.errors);
    }
    // Where nothing but the answer goes to standard output, there is nothing.
    let sent = gapless("stream send quic://nobody.invalid:1 --insecure --tag x --json");
    assert!(sent.output.is_empty());
    assert!(sent.errors.contains(r#""end":"unreachable""#), "{}", sent.errors);
}

#[test]
fn a_listener_that_cannot_begin_says_so_in_json() {
    let files = Files::new();
    let (taken, inbox, none) = (Port::new(), files.path("inbox"), files.path("none"));
    let file = files.noise("file", 1);
    for (arguments, code) in [
        (format!("--listen {} --tag x --identity {inbox}", taken.address()), 4),
        (format!("--listen 127.0.0.1:0 --tag x --cert {none} --key {none}"), 4),
        (format!("--listen 127.0.0.1:0 --tag x --identity {file}"), 4),
        ("--listen 127.0.0.1:0".into(), 2),
    ] {
        let line = format!("stream listen {arguments} --output {inbox} --json");
        let ended = gapless(&line);
        ended.assert_code(code);
        let object = ended.json();
        assert_eq!((&object["end"], &object["exit_code"]), (&"failed".into(), &code.into()));
        let words = format!("error: {}", object["error"].as_str().unwrap());
        assert!(ended.errors.contains(&words), "no `{words}` in: {}", ended.errors);
    }
}
