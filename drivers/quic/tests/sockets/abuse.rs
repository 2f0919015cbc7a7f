//! Clients that break the rules of QUIC once the handshake is over, which none of our own does: they are
//! written with aioquic (`abuse.py`), and the test is skipped where there is no Python that has it.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use gapless_quic::{ConnectionId, Direction, Limits, Reason, Transport};
use gapless_tests::python::with_aioquic;
use gapless_tests::{alloc, skip};
use quinn_proto::{ConnectionError, TransportErrorCode as Code};

use crate::hostile::Memory;
use crate::pair::{PAUSE, Pair};

/// The packets that `abuse.py` sends, and the code that the connection is closed with; an abuse that only
/// costs its sender is let pass, and the connection lives.
const ABUSES: [(&str, Option<Code>); 53] = [
    ("a stream beyond the limit", Some(Code::STREAM_LIMIT_ERROR)),
    ("a stream of one way beyond the limit", Some(Code::STREAM_LIMIT_ERROR)),
    ("the last stream that there is", Some(Code::STREAM_LIMIT_ERROR)),
    ("a stop of a stream beyond the limit", None),
    ("a reset of a stream beyond the limit", Some(Code::STREAM_LIMIT_ERROR)),
    ("more credit for a stream beyond the limit", Some(Code::STREAM_LIMIT_ERROR)),
    ("a byte beyond the window of a stream", Some(Code::FLOW_CONTROL_ERROR)),
    ("the last byte that a stream can have", Some(Code::FLOW_CONTROL_ERROR)),
    ("more than the window of the connection", Some(Code::FLOW_CONTROL_ERROR)),
    ("a reset beyond the window of a stream", Some(Code::FLOW_CONTROL_ERROR)),
    // A reset stream is not kept: each gives back what it took.
    ("resets beyond the window of the connection", None),
    ("bytes beyond a FIN", Some(Code::FINAL_SIZE_ERROR)),
    // quinn-proto lets it pass: the stream never ends, and takes a place of its peer's.
    ("a FIN before what came", None),
    ("another FIN", Some(Code::FINAL_SIZE_ERROR)),
    ("a reset before what came", Some(Code::FINAL_SIZE_ERROR)),
    ("a reset beyond a FIN", Some(Code::FINAL_SIZE_ERROR)),
    // Nothing of a stream that was reset is looked at.
    ("bytes beyond a reset", None),
    ("another reset", Some(Code::FINAL_SIZE_ERROR)),
    ("bytes of a stream that the server never opened", Some(Code::STREAM_STATE_ERROR)),
    ("bytes of a stream that only the server sends", Some(Code::STREAM_STATE_ERROR)),
    ("a reset of a stream that only the server sends", Some(Code::STREAM_STATE_ERROR)),
    ("a stop of a stream that the server never opened", Some(Code::STREAM_STATE_ERROR)),
    ("a stop of a stream of one way that the server never opened", Some(Code::STREAM_STATE_ERROR)),
    ("a stop of a stream that only the client sends", Some(Code::STREAM_STATE_ERROR)),
    ("credit for a stream that only the client sends", Some(Code::STREAM_STATE_ERROR)),
    ("credit for a stream that the server never opened", Some(Code::STREAM_STATE_ERROR)),
    ("more streams than there can be", Some(Code::FRAME_ENCODING_ERROR)),
    ("a frame that nobody knows", Some(Code::FRAME_ENCODING_ERROR)),
    ("a long frame that nobody knows", Some(Code::FRAME_ENCODING_ERROR)),
    ("a frame that is cut", Some(Code::FRAME_ENCODING_ERROR)),
    ("an acknowledgement of what was never sent", Some(Code::PROTOCOL_VIOLATION)),
    ("an acknowledgement of less than nothing", Some(Code::FRAME_ENCODING_ERROR)),
    ("a handshake that the client calls done", Some(Code::PROTOCOL_VIOLATION)),
    ("a token for the server", Some(Code::PROTOCOL_VIOLATION)),
    ("a datagram that nobody asked for", Some(Code::PROTOCOL_VIOLATION)),
    ("handshake bytes far ahead", Some(Code::CRYPTO_BUFFER_EXCEEDED)),
    ("handshake bytes in pieces", Some(Code::INTERNAL_ERROR)),
    ("more connection ids than the server takes", Some(Code::CONNECTION_ID_LIMIT_ERROR)),
    ("connection ids that retire what comes later", Some(Code::FRAME_ENCODING_ERROR)),
    ("the retirement of a connection id that is not there", Some(Code::PROTOCOL_VIOLATION)),
    ("connection ids that retire all before them", Some(Code::CONNECTION_ID_LIMIT_ERROR)),
    ("a retirement of ids without end", None),
    ("every other byte of streams", Some(Code::INTERNAL_ERROR)),
    ("nothing of a stream, again and again", None),
    ("the same bytes, again and again", None),
    ("bytes after a reset", None),
    ("resets, again and again", None),
    ("stops, again and again", None),
    ("challenges", None),
    ("answers that nobody asked for", None),
    ("retirements, again and again", None),
    ("credit, again and again", None),
    ("complaints", None),
];

/// Starts whoever commits all of them, one after the other.
fn attacker(pair: &Pair) -> Option<Child> {
    let mut attacker = Command::new(with_aioquic()?);
    attacker
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sockets/abuse.py"))
        .arg(pair.server.address().port().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    Some(attacker.spawn().unwrap())
}

/// The honest client sends on and on: how many streams are done, of which nothing is kept.
fn serve_more(pair: &mut Pair, honest: ConnectionId) -> usize {
    let Pair { client, at_client, .. } = pair;
    if !at_client.without_end().is_empty() {
        return 0;
    }
    let done = std::mem::take(&mut at_client.streams);
    assert!(done.values().all(|known| known.is_whole && known.is_finished));
    at_client.send(client.endpoint(), honest, Direction::Bidirectional, 20_000).unwrap();
    done.len()
}

#[test]
fn whoever_breaks_the_rules_loses_its_connection_and_others_are_served() {
    let transport = Transport {
        max_bidirectional: 4,
        max_unidirectional: 3,
        first_streams: 4,
        first_window: 128 << 10,
        stream_window: 64 << 10,
        connection_window: 128 << 10,
        ..Transport::default()
    };
    let mut pair = Pair::new(Limits::default(), transport);
    let honest = pair.connected();
    let Some(mut attacker) = attacker(&pair) else { skip!("no Python with aioquic") };
    let (mut memory, mut served) = (Memory::default(), 0);
    // Until it has ended, and what its last connection left behind is gone.
    while attacker.try_wait().unwrap().is_none() || pair.server.endpoint().connections() > 1 {
        memory.turn(&mut pair.server, &mut pair.at_server);
        pair.client.turn(PAUSE, &mut pair.at_client).unwrap();
        served += serve_more(&mut pair, honest);
        // The test's own record of streams is none of the server's memory.
        let known = &mut pair.at_server.streams;
        memory.live += alloc::measure(|| known.retain(|_, known| !known.is_closed)).1.growth;
    }
    assert!(attacker.wait().unwrap().success());
    let mut report = String::new();
    attacker.stdout.take().unwrap().read_to_string(&mut report).unwrap();
    let code =
        |code: Option<Code>| code.map_or("null".to_owned(), |code| u64::from(code).to_string());
    let expected =
        ABUSES.map(|(abuse, is)| format!("{{\"abuse\": \"{abuse}\", \"code\": {}}}", code(is)));
    assert_eq!(report.lines().collect::<Vec<_>>(), expected);
    // Our program is told why, too.
    let gone = &pair.at_server.gone;
    let reasons = gone.iter().map(|(_, reason)| match reason {
        Reason::Lost(ConnectionError::TransportError(error)) => Some(error.code),
        Reason::Lost(ConnectionError::ApplicationClosed(_)) => None,
        other => panic!("{other:?}"),
    });
    assert_eq!(reasons.collect::<Vec<_>>(), ABUSES.map(|(_, code)| code));
    println!("{memory:?}, {served} streams were served");
    assert!(served > ABUSES.len(), "{served}");
    assert!(memory.peak < 1 << 20, "{memory:?}");
    assert!(memory.live < 64 << 10, "{memory:?}");
    pair.client.endpoint().close(std::time::Instant::now(), honest, 0, b"").unwrap();
    pair.assert_nothing_is_left();
}
