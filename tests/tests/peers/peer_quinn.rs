//! Against the crate quinn, on tokio: tagged streams both ways, to `gapless stream listen` and from `gapless
//! stream send`, 1 byte to 100 MiB, and what is refused.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use gapless_quic::tls::{ClientAuth, Identity, Trust, client_config, server_config};
use gapless_tests::program::{Program, free_port};
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, ServerConfig, VarInt,
};
use ring::digest::{SHA256, digest};
use tempfile::TempDir;

const PROTOCOL: &str = "gapless/1";
const SIZES: [usize; 4] = [1, 1_200, 5_000_000, 100 << 20];

/// A listener of ours, and what it takes to connect to it.
struct Listener {
    program: Program,
    address: SocketAddr,
    identity: Identity,
    folder: TempDir,
}

impl Listener {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::kept_in(folder.path(), &["localhost"], SystemTime::now()).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (listen, place) = (address.to_string(), folder.path().to_str().unwrap().to_owned());
        let inbox = format!("{place}/inbox");
        let common = ["stream", "listen", "--listen", &listen, "--identity", &place, "--json"];
        let arguments: Vec<&str> = arguments
            .iter()
            .map(|argument| if *argument == "INBOX" { &inbox } else { *argument })
            .collect();
        let program = Program::start(&[&common[..], &arguments].concat());
        Self { program, address, identity, folder }
    }

    async fn connect(&self, protocol: &str) -> Result<Connection, ConnectionError> {
        let trust = Trust::Pinned(self.identity.fingerprint());
        let crypto = client_config(&trust, &[protocol], None).unwrap();
        let client = Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
        let config = ClientConfig::new(crypto);
        client.connect_with(config, self.address, "localhost").unwrap().await
    }

    /// The files in its folder, in the order that they came.
    fn inbox(&self) -> Vec<Vec<u8>> {
        let entries = std::fs::read_dir(self.folder.path().join("inbox")).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
    }
}

fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let work = async { tokio::time::timeout(Duration::from_secs(120), work).await };
    runtime.block_on(work).expect("it takes too long");
}

fn payload(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

fn hash(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn preamble(tag: &[u8]) -> Vec<u8> {
    [&[tag.len() as u8], tag].concat()
}

/// The code that a stream was reset with.
async fn reset(mut stream: RecvStream) -> u64 {
    match stream.read_to_end(1 << 20).await {
        Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(code))) => code.into_inner(),
        other => panic!("not reset: {other:?}"),
    }
}

#[test]
fn its_client_sends_to_our_listener_and_is_answered() {
    let listener = Listener::start(&["--tag", "sum", "--exec", "sha256sum", "--count", "4"]);
    run(async {
        let connection = listener.connect(PROTOCOL).await.unwrap();
        for size in SIZES {
            let payload = payload(size);
            let (mut send, mut receive) = connection.open_bi().await.unwrap();
            send.write_all(&preamble(b"sum")).await.unwrap();
            send.write_all(&payload).await.unwrap();
            send.finish().unwrap();
            let answer = receive.read_to_end(100).await.unwrap();
            assert_eq!(answer[..64], *hash(&payload).as_bytes());
        }
        connection.close(VarInt::from_u32(0), b"");
        connection.closed().await;
    });
    let ended = listener.program.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
}

#[test]
fn its_streams_are_taken_whatever_packets_their_tags_come_in() {
    let listener = Listener::start(&["--tag", "slow", "--output", "INBOX"]);
    run(async {
        let connection = listener.connect(PROTOCOL).await.unwrap();
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        for byte in [&preamble(b"slow")[..], b"payload"].concat() {
            send.write_all(&[byte]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        send.finish().unwrap();
        assert_eq!(receive.read_to_end(1).await.unwrap(), b"");
        let mut one_way = connection.open_uni().await.unwrap();
        one_way.write_all(&preamble(b"slow")).await.unwrap();
        one_way.write_all(b"one way").await.unwrap();
        one_way.finish().unwrap();
        assert_eq!(one_way.stopped().await.unwrap(), None);
        // One that is answered tells that the one before it is there too.
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&preamble(b"slow")).await.unwrap();
        send.finish().unwrap();
        assert_eq!(receive.read_to_end(1).await.unwrap(), b"");
    });
    assert_eq!(listener.inbox(), [&b"payload"[..], b"one way", b""]);
}

#[test]
fn its_streams_are_refused_with_the_code_of_the_cause() {
    let listener = Listener::start(&["--tag", "logs", "--output", "INBOX"]);
    run(async {
        let connection = listener.connect(PROTOCOL).await.unwrap();
        for (begin, code) in [
            (preamble(b"other"), 0x100),
            (preamble(b"log"), 0x100),
            (preamble(b""), 0x100),
            (preamble(b"gapless:x"), 0x104),
            (b"\x05logs".to_vec(), 0x105),
            (b"".to_vec(), 0x105),
        ] {
            let (mut send, receive) = connection.open_bi().await.unwrap();
            send.write_all(&begin).await.unwrap();
            send.finish().unwrap();
            assert_eq!(reset(receive).await, code, "{begin:?}");
        }
        // A peer that is still sending gets STOP_SENDING.
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        send.write_all(&preamble(b"other")).await.unwrap();
        assert_eq!(send.stopped().await.unwrap(), Some(VarInt::from_u32(0x100)));
    });
    assert!(listener.inbox().is_empty());
}

#[test]
fn its_client_of_another_protocol_is_refused() {
    let listener = Listener::start(&["--tag", "logs", "--output", "INBOX"]);
    run(async {
        let refused = listener.connect("other/1").await.unwrap_err();
        let ConnectionError::ConnectionClosed(close) = refused else { panic!("{refused:?}") };
        // The alert `no_application_protocol` (RFC 7301 §3.2).
        assert_eq!(u64::from(close.error_code), 0x100 + 120);
    });
}

/// A server of quinn's with a certificate of its own.
fn server(protocol: &str) -> (Endpoint, Identity) {
    let identity = Identity::self_signed(&["localhost"], SystemTime::now()).unwrap();
    let crypto = server_config(&identity, &[protocol], &ClientAuth::None).unwrap();
    let token_key = identity.keys("quinn").token.clone();
    let config = ServerConfig::new(crypto, token_key);
    (Endpoint::server(config, ([127, 0, 0, 1], 0).into()).unwrap(), identity)
}

/// The tag that a stream begins with, and what comes behind it.
async fn read(stream: &mut RecvStream) -> (Vec<u8>, Vec<u8>) {
    let mut length = [0];
    stream.read_exact(&mut length).await.unwrap();
    let mut tag = vec![0; length[0].into()];
    stream.read_exact(&mut tag).await.unwrap();
    (tag, stream.read_to_end(200 << 20).await.unwrap())
}

/// Starts a sender of ours.
fn sender(endpoint: &Endpoint, identity: &Identity, arguments: &[&str]) -> Program {
    let url = format!("quic://{}", endpoint.local_addr().unwrap());
    let pin = identity.fingerprint().to_string();
    Program::start(&[&["stream", "send", &url, "--pin", &pin, "--tag", "x"], arguments].concat())
}

#[test]
fn its_server_takes_and_answers_our_streams() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    run(async {
        let (endpoint, identity) = server(PROTOCOL);
        for size in SIZES {
            let payload = payload(size);
            std::fs::write(&file, &payload).unwrap();
            let sender = sender(&endpoint, &identity, &["--input", file.to_str().unwrap()]);
            let connection = endpoint.accept().await.unwrap().await.unwrap();
            let (mut send, mut receive) = connection.accept_bi().await.unwrap();
            let (tag, bytes) = read(&mut receive).await;
            assert_eq!(tag, b"x");
            send.write_all(hash(&bytes).as_bytes()).await.unwrap();
            send.finish().unwrap();
            connection.closed().await;
            let sent = sender.wait();
            assert_eq!((sent.code, sent.output), (Some(0), hash(&payload)), "{}", sent.errors);
        }
    });
}

#[test]
fn its_server_takes_a_stream_of_ours_that_goes_one_way() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, payload(500_000)).unwrap();
    run(async {
        let (endpoint, identity) = server(PROTOCOL);
        let arguments = ["--unidirectional", "--input", file.to_str().unwrap()];
        let sender = sender(&endpoint, &identity, &arguments);
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let mut receive = connection.accept_uni().await.unwrap();
        let (tag, bytes) = read(&mut receive).await;
        assert_eq!((&tag[..], bytes == payload(500_000)), (&b"x"[..], true));
        connection.closed().await;
        let sent = sender.wait();
        assert_eq!(sent.code, Some(0), "{}", sent.errors);
    });
}

#[test]
fn its_server_refuses_in_our_words() {
    run(async {
        let (endpoint, identity) = server(PROTOCOL);
        for (code, exit, words) in [
            (0x100, 8, "nobody takes the tag x"),
            (0x101, 8, "its tag took too long to arrive"),
            (0x102, 8, "too many streams wait there"),
            (0x103, 8, "too many streams of this client wait there"),
            (0x104, 8, "the tag x is reserved"),
            (0x105, 8, "it ended before its tag was whole"),
            (0x1234, 1, "code 0x1234"),
        ] {
            let sender = sender(&endpoint, &identity, &["--input", "/dev/null"]);
            let connection = endpoint.accept().await.unwrap().await.unwrap();
            let (mut send, mut receive) = connection.accept_bi().await.unwrap();
            receive.stop(VarInt::from_u32(code)).unwrap();
            send.reset(VarInt::from_u32(code)).unwrap();
            connection.closed().await;
            let sent = sender.wait();
            assert_eq!(sent.code, Some(exit), "{}", sent.errors);
            assert!(sent.errors.contains(words), "no `{words}` in {}", sent.errors);
        }
    });
}

#[test]
fn its_server_that_closes_in_the_middle_is_reported() {
    run(async {
        let (endpoint, identity) = server(PROTOCOL);
        let sender = sender(&endpoint, &identity, &["--input", "/dev/zero"]);
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let _stream = connection.accept_bi().await.unwrap();
        connection.close(VarInt::from_u32(77), b"lunch\x1b[2J");
        endpoint.wait_idle().await;
        let sent = sender.wait();
        assert_eq!(sent.code, Some(1), "{}", sent.errors);
        // A peer's text does not reach the terminal as it is.
        let words = r"the peer closed it with code 0x4d: lunch\u{1b}[2J";
        assert!(sent.errors.contains(words), "{}", sent.errors);
    });
}

#[test]
fn its_server_of_another_protocol_is_reported() {
    run(async {
        let (endpoint, identity) = server("other/1");
        let serving = tokio::spawn({
            let endpoint = endpoint.clone();
            async move {
                let incoming = endpoint.accept().await.unwrap();
                assert!(incoming.await.is_err());
            }
        });
        let sender = sender(&endpoint, &identity, &["--input", "/dev/null"]);
        serving.await.unwrap();
        endpoint.wait_idle().await;
        let sent = sender.wait();
        assert_eq!(sent.code, Some(7), "{}", sent.errors);
    });
}
