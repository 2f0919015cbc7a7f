//! `wire::mold` against the 66 MoldUDP64 vectors, both ways, whole and cut at every byte.
//!
//! The copy in `vectors/moldudp64.json` is written to be read. Its bytes are hexadecimal, spaces
//! mean nothing, and long stretches are given by rule: `41*20` is twenty times 41, `03+07*255` is 255
//! bytes from 03 on, each 07 more than the one before it, and `(0001 78)*256` repeats what stands in
//! parentheses. `messages` are the complete leading blocks; there `(78)*256` is 256 messages.

use std::path::Path;

use gapless_core::Session;
use gapless_core::wire::mold::{
    HEADER_LEN, Header, Kind, Malformed, Messages, Packet, PacketWriter, Request,
};
use gapless_tests::shared;
use serde_json::Value;

/// The reading of one datagram.
#[derive(Debug, PartialEq)]
struct Vector {
    name: String,
    bytes: Vec<u8>,
    /// Which view reads it: `request`, or `data`, `heartbeat`, `end-of-session`, or `malformed` for
    /// less than a header.
    kind: String,
    session: Option<Vec<u8>>,
    sequence: Option<u64>,
    count: Option<u16>,
    next: Option<u64>,
    messages: Vec<Vec<u8>>,
    /// By the strict reading, which minds bytes behind the last block and sessions beyond ASCII.
    valid: bool,
    defect: Option<String>,
}

impl Vector {
    fn is_request(&self) -> bool {
        self.kind == "request"
    }

    fn header(&self) -> Option<Header> {
        let session = self.session.as_deref()?.try_into().expect("a session of ten bytes");
        Some(Header {
            session: Session::new(session),
            sequence: self.sequence?,
            count: self.count?,
        })
    }
}

fn copied_vectors() -> Vec<Vector> {
    let text = include_str!("../../vectors/moldudp64.json");
    let rows: Vec<Value> = serde_json::from_str(text).unwrap();
    rows.iter().map(|row| vector(row, "bytes", "session", expanded)).collect()
}

fn vector(row: &Value, bytes: &str, session: &str, expand: fn(&str) -> Vec<u8>) -> Vector {
    let text = |field: &str| row[field].as_str();
    let messages = row["messages"].as_array().unwrap();
    Vector {
        name: text("name").unwrap().to_owned(),
        bytes: expand(text(bytes).unwrap()),
        kind: text("kind").unwrap().to_owned(),
        session: text(session).map(expand),
        sequence: row["sequence"].as_u64(),
        count: row["count"].as_u64().map(|count| u16::try_from(count).unwrap()),
        next: row["next"].as_u64(),
        messages: messages
            .iter()
            .flat_map(|message| match repetition(message.as_str().unwrap()) {
                Some((message, times, "")) => vec![expand(message); times],
                _ => vec![expand(message.as_str().unwrap())],
            })
            .collect(),
        valid: row["valid"].as_bool().unwrap(),
        defect: text("defect").map(str::to_owned),
    }
}

/// `(inner)*times` at the front of `text`, and what follows.
fn repetition(text: &str) -> Option<(&str, usize, &str)> {
    let (inner, behind) = text.strip_prefix('(')?.split_once(")*")?;
    let digits = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
    let (times, rest) = behind.split_at(digits);
    Some((inner, times.parse().unwrap(), rest))
}

fn expanded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let behind = if let Some((inner, times, behind)) = repetition(rest) {
            bytes.extend(expanded(inner).repeat(times));
            behind
        } else {
            let (stretch, behind) = rest.split_once(' ').unwrap_or((rest, ""));
            bytes.extend(stretch_of(stretch));
            behind
        };
        rest = behind.trim_start();
    }
    bytes
}

fn stretch_of(text: &str) -> Vec<u8> {
    let Some((rule, times)) = text.split_once('*') else { return hex(text) };
    let (first, step) = rule.split_once('+').unwrap_or((rule, "00"));
    let (first, step) = (hex(first)[0], hex(step)[0]);
    (0..times.parse().unwrap())
        .map(|i: usize| first.wrapping_add(step.wrapping_mul(i as u8)))
        .collect()
}

fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "half a byte in {text}");
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

/// The fault that the strict reading finds in a downstream packet, by the fields of the view.
fn packet_defect(datagram: &[u8]) -> Option<&'static str> {
    match Packet::new_checked(datagram) {
        Ok(packet) if packet.trailing() > 0 => Some("trailing-bytes"),
        Ok(packet) if !packet.header().session.is_ascii() => Some("session-not-ascii"),
        Ok(packet) if packet.header().next().is_none() => Some("next-overflow"),
        Ok(_) => None,
        Err(malformed) => Some(defect(malformed)),
    }
}

fn request_defect(datagram: &[u8]) -> Option<&'static str> {
    match Request::new_checked(datagram) {
        Ok(_) => None,
        Err(Malformed::Header { len }) if len > HEADER_LEN => Some("trailing-bytes"),
        Err(malformed) => Some(defect(malformed)),
    }
}

fn defect(malformed: Malformed) -> &'static str {
    match malformed {
        Malformed::Header { .. } => "truncated-header",
        Malformed::Block { .. } => "truncated-block",
        Malformed::SequenceZero => "sequence-zero",
        Malformed::SequenceOverflow { .. } => "sequence-overflow",
        Malformed::CountZero => "request-count-zero",
    }
}

/// The complete leading messages of a datagram, checked or not.
fn leading_messages(datagram: &[u8]) -> Vec<(u64, &[u8])> {
    let Some(header) = Header::read(datagram) else { return Vec::new() };
    Messages::new(header.sequence, header.messages(), &datagram[HEADER_LEN..]).collect()
}

fn numbered(first: u64, messages: &[Vec<u8>]) -> Vec<(u64, &[u8])> {
    (0..).map(|i: u64| first.wrapping_add(i)).zip(messages.iter().map(Vec::as_slice)).collect()
}

#[test]
fn the_copy_holds_all_66_vectors() {
    assert_eq!(copied_vectors().len(), 66);
}

#[test]
fn the_copy_agrees_with_the_shared_file() {
    let text = std::fs::read_to_string(shared!("specs/moldudp64-vectors.json")).unwrap();
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    let originals: Vec<_> = rows.iter().map(|row| vector(row, "hex", "session_hex", hex)).collect();
    for (copy, original) in copied_vectors().iter().zip(&originals) {
        assert_eq!(copy, original);
    }
    assert_eq!(copied_vectors().len(), originals.len());
}

#[test]
fn every_header_reads_as_the_vector_says() {
    for vector in copied_vectors() {
        let header = Header::read(&vector.bytes);
        assert_eq!(header, vector.header(), "{}", vector.name);
        // A request has no kind, and nothing is expected after it.
        let Some(header) = header.filter(|_| !vector.is_request()) else { continue };
        let kind = match header.kind() {
            Kind::Data => "data",
            Kind::Heartbeat => "heartbeat",
            Kind::EndOfSession => "end-of-session",
        };
        assert_eq!(kind, vector.kind, "{}", vector.name);
        assert_eq!(header.next(), vector.next, "{}", vector.name);
    }
}

#[test]
fn every_vector_is_as_valid_as_it_says() {
    for Vector { name, bytes, kind, valid, defect, .. } in copied_vectors() {
        let found = if kind == "request" { request_defect(&bytes) } else { packet_defect(&bytes) };
        assert_eq!(found, defect.as_deref(), "{name}");
        assert_eq!(matches!(found, None | Some("next-overflow")), valid, "{name}");
    }
}

#[test]
fn every_packet_gives_the_messages_of_its_vector() {
    for vector in copied_vectors().iter().filter(|vector| !vector.is_request()) {
        let first = vector.sequence.unwrap_or_default();
        let expected = numbered(first, &vector.messages);
        assert_eq!(leading_messages(&vector.bytes), expected, "{}", vector.name);
        if let Ok(packet) = Packet::new_checked(&vector.bytes) {
            assert_eq!(packet.messages().collect::<Vec<_>>(), expected, "{}", vector.name);
        }
    }
}

#[test]
fn every_valid_packet_is_written_to_the_same_bytes() {
    let vectors = copied_vectors();
    for vector in vectors.iter().filter(|vector| vector.valid && !vector.is_request()) {
        let header = vector.header().unwrap();
        let written = if header.kind() == Kind::Data {
            let mut buffer = vec![0xAA; vector.bytes.len()];
            let mut writer =
                PacketWriter::new(&mut buffer, header.session, header.sequence).unwrap();
            assert!(vector.messages.iter().all(|message| writer.push(message)), "{}", vector.name);
            writer.as_bytes().to_vec()
        } else {
            header.to_bytes().to_vec()
        };
        assert_eq!(written, vector.bytes, "{}", vector.name);
    }
}

#[test]
fn every_valid_request_is_written_to_the_same_bytes() {
    let vectors = copied_vectors();
    for vector in vectors.iter().filter(|vector| vector.valid && vector.is_request()) {
        let Header { session, sequence, count } = vector.header().unwrap();
        let request = Request { session, sequence, count };
        assert_eq!(Request::new_checked(&vector.bytes), Ok(request), "{}", vector.name);
        assert_eq!(request.to_bytes()[..], vector.bytes, "{}", vector.name);
    }
}

#[test]
fn every_truncation_of_every_packet_is_parsed_as_what_it_is() {
    for vector in copied_vectors().iter().filter(|vector| !vector.is_request()) {
        for len in 0..vector.bytes.len() {
            let cut = &vector.bytes[..len];
            let whole = whole_messages_within(vector, len);
            let parsed = Packet::new_checked(cut)
                .map(|packet| (packet.messages().rest(), packet.trailing()));
            assert_eq!(parsed, expected_of_cut(vector, cut, whole), "{} at {len}", vector.name);
            // Collecting them at each of 65,507 lengths would compare gigabytes.
            let leading = Header::read(cut).map_or(0, |header| {
                Messages::new(1, header.messages(), &cut[HEADER_LEN..]).count()
            });
            assert_eq!(leading, whole, "{} at {len}", vector.name);
        }
    }
}

/// How many of a vector's messages end within its first `len` bytes.
fn whole_messages_within(vector: &Vector, len: usize) -> usize {
    let ends = vector.messages.iter().scan(HEADER_LEN, |end, message| {
        *end += 2 + message.len();
        Some(*end)
    });
    ends.take_while(|end| *end <= len).count()
}

/// Blocks and trailing bytes that the view must tell of the first bytes of a vector, of which so many
/// messages are whole.
fn expected_of_cut<'a>(
    vector: &Vector,
    cut: &'a [u8],
    whole: usize,
) -> Result<(&'a [u8], usize), Malformed> {
    let len = cut.len();
    if len < HEADER_LEN {
        return Err(Malformed::Header { len });
    }
    let Header { sequence, count, .. } = vector.header().unwrap();
    let messages = if vector.kind == "data" { count } else { 0 };
    if sequence == 0 {
        return Err(Malformed::SequenceZero);
    }
    if u128::from(sequence) + u128::from(messages) > 1 << 64 {
        return Err(Malformed::SequenceOverflow { sequence, count });
    }
    if whole < usize::from(messages) {
        return Err(Malformed::Block { block: whole as u16, count });
    }
    let blocks: usize = vector.messages.iter().map(|message| 2 + message.len()).sum();
    Ok((&cut[HEADER_LEN..HEADER_LEN + blocks], len - HEADER_LEN - blocks))
}

#[test]
fn every_truncation_of_a_request_is_no_request() {
    for vector in copied_vectors().iter().filter(|vector| vector.is_request()) {
        for len in 0..vector.bytes.len().min(HEADER_LEN) {
            let cut = &vector.bytes[..len];
            assert_eq!(
                Request::new_checked(cut),
                Err(Malformed::Header { len }),
                "{} at {len}",
                vector.name
            );
        }
    }
}

#[test]
fn every_small_vector_is_a_seed_of_the_fuzz_target() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/mold_wire");
    for Vector { name, bytes, .. } in copied_vectors() {
        if bytes.len() < 2_048 {
            assert_eq!(std::fs::read(seeds.join(&name)).ok(), Some(bytes), "{name}");
        }
    }
}
