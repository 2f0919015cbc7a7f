//! Against the crate moldudp 0.1.1, which speaks multicast only, in a network namespace of its own.
//!
//! Features that it gets wrong are avoided: its server numbers the packets of one send or of one
//! answer all alike when there are several, so it is given one message at a time and asked for what
//! fits one packet; its client asks for a gap once and for no remainder, so its embedder asks on.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::time::{Duration, Instant};

use gapless_tests::program::{Program, is_joined, wait_until};
use gapless_tests::{data, in_namespace, shared};
use moldudp::{
    MoldUDP64, MoldUDP64Server, Packet, PacketKind, RetransmissionPacket, RetransmissionRequest,
};

const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 1, 2, 3), 30101);
const REQUESTS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 30102);
const SESSION: &str = "PEERSESSIO";

fn line() -> String {
    format!("{GROUP}@127.0.0.1")
}

fn number(json: &str, field: &str) -> u64 {
    let object: serde_json::Value = serde_json::from_str(json).unwrap();
    object[field].as_u64().unwrap_or_else(|| panic!("no {field} in {json}"))
}

fn file(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn its_client_gets_every_message_of_our_publish() {
    let input = shared!("data/itch50-sample.bin");
    in_namespace!();
    let bytes = std::fs::read(&input).unwrap();
    let expected = data::binaryfile(&bytes);

    let (datagrams, requests) = MoldUDP64::builder()
        .multicast_addr(GROUP)
        .interface_addr(Ipv4Addr::LOCALHOST)
        .rerequest_server_addrs(vec![SocketAddr::V4(REQUESTS)])
        .expected_session_ident(SESSION.to_owned())
        .expected_seq_num(1)
        .build()
        .start()
        .unwrap();
    let server = REQUESTS.to_string();
    let publish = Program::start(&[
        "publish",
        "--input",
        file(&input),
        "--session",
        SESSION,
        "--to",
        &line(),
        "--requests",
        &server,
        "--loss",
        "5%",
        "--rate",
        "20000",
        "--linger",
        "2",
        "--json",
    ]);

    let mut messages = BTreeMap::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut ended = false;
    while !ended || messages.len() < expected.len() {
        assert!(Instant::now() < deadline, "{} of {}", messages.len(), expected.len());
        if let Ok(datagram) = datagrams.recv_timeout(Duration::from_millis(200)) {
            let packet = Packet::new(datagram.bytes());
            assert_eq!(packet.session_ident_raw(), SESSION.as_bytes());
            match packet.packet_kind() {
                PacketKind::EndOfSession => ended = true,
                PacketKind::Heartbeat => {}
                _ => {
                    let numbers = packet.seq_num()..;
                    messages
                        .extend(numbers.zip(packet.iter().map(|message| message.data().to_vec())));
                }
            }
        } else if ended {
            let missing = (1..).find(|number| !messages.contains_key(number)).unwrap();
            let session = *SESSION.as_bytes().first_chunk().unwrap();
            let request = RetransmissionPacket::new(session, missing, 20);
            requests.send(RetransmissionRequest::new(request)).unwrap();
        }
    }
    assert!(messages.into_values().eq(expected.iter().map(|message| message.to_vec())));

    let publish = publish.wait();
    assert_eq!(publish.code, Some(0), "{}", publish.errors);
    assert!(number(&publish.output, "answered_messages") > 0, "{}", publish.output);
}

#[test]
fn our_receive_gets_every_message_of_its_server() {
    let input = shared!("data/itch50-sample.bin");
    in_namespace!();
    let bytes = std::fs::read(&input).unwrap();
    let expected = data::binaryfile(&bytes);
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("output.bin");

    let server = MoldUDP64Server::builder()
        .multicast_addr(GROUP)
        .interface_addr(Ipv4Addr::LOCALHOST)
        .rerequest_bind_addr(SocketAddr::V4(REQUESTS))
        .session(SESSION.to_owned())
        .heartbeat_interval(Duration::from_millis(100))
        .build()
        .start()
        .unwrap();
    let receive = Program::start(&[
        "receive",
        "--line",
        &line(),
        "--requests",
        &REQUESTS.to_string(),
        "--output",
        file(&output),
        "--max-time",
        "60",
        "--json",
    ]);
    wait_until("joined", || is_joined(*GROUP.ip()));
    for (index, message) in expected.iter().enumerate() {
        match index % 50 {
            49 => server.send_dropped(vec![message.to_vec()]),
            _ => server.send(vec![message.to_vec()]),
        }
        if index % 20 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    server.shutdown();

    let receive = receive.wait();
    assert_eq!(receive.code, Some(0), "{}", receive.errors);
    assert_eq!(number(&receive.output, "delivered"), expected.len() as u64);
    assert!(number(&receive.output, "gaps_filled_by_request") >= 240, "{}", receive.output);
    assert!(std::fs::read(output).unwrap() == bytes, "the output differs from the input");
}
