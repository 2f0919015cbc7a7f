//! Against aioquic, a QUIC of its own in Python: tagged streams both ways, to `gapless stream listen` and
//! from `gapless stream send`.
//!
//! Python is that of GAPLESS_PYTHON, or `python3`; without aioquic the tests are skipped. It is slow: 100 MiB
//! take it about 20 s each way. `GAPLESS_PEER_BYTES` says how long the longest stream is (8 MiB by default).

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use gapless_quic::tls::Identity;
use gapless_tests::program::{Program, free_port};
use gapless_tests::python::with_aioquic;
use gapless_tests::skip;
use ring::digest::{SHA256, digest};
use serde_json::Value;
use tempfile::TempDir;

/// The length of the longest stream.
fn large() -> usize {
    std::env::var("GAPLESS_PEER_BYTES").map_or(8 << 20, |bytes| bytes.parse().expect("a number"))
}

/// Starts the peer.
fn peer(python: &Path, arguments: &[&str]) -> Child {
    Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/peer.py"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The JSON objects that the peer printed.
fn reports(peer: Child) -> Vec<Value> {
    let output = peer.wait_with_output().unwrap();
    assert!(output.status.success(), "the peer failed: {}", output.status);
    let output = String::from_utf8(output.stdout).unwrap();
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A folder with files of these sizes, and with a certificate.
fn folder(sizes: &[usize]) -> (TempDir, Vec<(String, String)>) {
    let folder = tempfile::tempdir().unwrap();
    let file = |&size: &usize| {
        let bytes: Vec<u8> = (0..size).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect();
        let path = folder.path().join(size.to_string());
        std::fs::write(&path, &bytes).unwrap();
        (path.to_str().unwrap().to_owned(), hash(&bytes))
    };
    let files = sizes.iter().map(file).collect();
    Identity::kept_in(folder.path(), &["localhost"], SystemTime::now()).unwrap();
    (folder, files)
}

fn hash(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Waits until somebody has the UDP port: who sends to none is told so at once.
fn wait_for_listener(port: &str) {
    let port = format!(":{:04X} ", port.parse::<u16>().unwrap());
    let until = Instant::now() + Duration::from_secs(60);
    while !std::fs::read_to_string("/proc/net/udp").unwrap().contains(&port) {
        assert!(Instant::now() < until, "nobody listens");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Our listener, and its port.
fn listen(folder: &TempDir, tag: &str, more: &[&str]) -> (Program, String) {
    let (port, place) = (free_port().to_string(), folder.path().to_str().unwrap());
    let address = format!("127.0.0.1:{port}");
    let mut arguments =
        vec!["stream", "listen", "--listen", &address, "--tag", tag, "--identity", place];
    arguments.extend(more);
    (Program::start(&arguments), port)
}

#[test]
fn its_client_is_taken_and_answered_by_our_listener() {
    let Some(python) = with_aioquic() else { skip!("no Python with aioquic") };
    let (folder, files) = folder(&[1, 100_000, large()]);
    let (listener, port) =
        listen(&folder, "sum", &["--exec", "sha256sum", "--count", "3", "--json"]);
    for (file, hash) in &files {
        let answers = reports(peer(&python, &["send", &port, "sum", file]));
        let answer = answers[0]["answer"].as_str().unwrap();
        assert_eq!(answer.split_whitespace().next(), Some(hash.as_str()), "{file}");
    }
    let listener = listener.wait();
    assert_eq!(listener.code, Some(0), "{}", listener.errors);
}

#[test]
fn its_stream_that_goes_one_way_is_taken_too() {
    let Some(python) = with_aioquic() else { skip!("no Python with aioquic") };
    let (folder, files) = folder(&[300_000]);
    let inbox = folder.path().join("inbox");
    let (listener, port) =
        listen(&folder, "logs", &["--output", inbox.to_str().unwrap(), "--once", "--json"]);
    let [(file, hash_of_file)] = &files[..] else { panic!("one file") };
    reports(peer(&python, &["send", &port, "logs", file, "uni"]));
    let listener = listener.wait();
    assert_eq!(listener.code, Some(0), "{}", listener.errors);
    let taken = std::fs::read(inbox.join("logs.000001")).unwrap();
    assert_eq!(hash(&taken), *hash_of_file);
}

#[test]
fn its_client_learns_that_nobody_takes_a_tag() {
    let Some(python) = with_aioquic() else { skip!("no Python with aioquic") };
    let (folder, files) = folder(&[1]);
    let (_listener, port) = listen(&folder, "sum", &[]);
    for (tag, code) in [("other", 0x100), ("gapless:other", 0x104), ("", 0x100)] {
        let answers = reports(peer(&python, &["send", &port, tag, &files[0].0]));
        assert_eq!(answers[0]["codes"]["StreamReset"], code, "{tag}");
    }
}

#[test]
fn its_server_takes_and_answers_our_streams() {
    let Some(python) = with_aioquic() else { skip!("no Python with aioquic") };
    let (folder, files) = folder(&[1, 100_000, large()]);
    let pem = folder.path().join("identity.pem");
    let identity = Identity::kept_in(folder.path(), &["localhost"], SystemTime::now()).unwrap();
    let (port, pem) = (free_port().to_string(), pem.to_str().unwrap());
    let server = peer(&python, &["serve", &port, pem, pem, "4"]);
    wait_for_listener(&port);
    let (url, pin) = (format!("quic://127.0.0.1:{port}"), identity.fingerprint().to_string());
    let send = |file: &str, more: &[&str]| {
        let sent = ["stream", "send", &url, "--tag", "x", "--pin", &pin, "--input", file];
        let sent = Program::start(&[&sent, more].concat()).wait();
        assert_eq!(sent.code, Some(0), "{}", sent.errors);
        sent.output
    };
    for (file, hash) in &files {
        assert_eq!(send(file, &[]), *hash);
    }
    send(&files[1].0, &["--unidirectional", "--json"]);
    let hashes: Vec<String> = reports(server)
        .iter()
        .map(|stream| {
            assert_eq!(stream["tag"], "x");
            stream["sha256"].as_str().unwrap().to_owned()
        })
        .collect();
    let expected = [0, 1, 2, 1].map(|at: usize| files[at].1.clone());
    assert_eq!(hashes, expected);
}
