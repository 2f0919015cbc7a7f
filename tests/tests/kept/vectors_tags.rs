//! `wire::tag` and `Demux` against the 54 vectors of tagged streams: as they are cut there, at every other
//! point, and byte by byte; read and written.
//!
//! The copy in `vectors/tagged-streams.json` is written to be read. Its bytes are hexadecimal, spaces mean
//! nothing, `7a*20` is twenty times 7a, `03+01*255` is 255 bytes from 03 on, each one more than the one
//! before it, and `(6162)*9` repeats what stands in parentheses. Where a vector recommends something else
//! than what was seen elsewhere, that counts.

use bytes::Bytes;
use gapless_core::demux::{
    AcceptorId, Command, Config, Demux, Event, FIN_IN_PREAMBLE, Pattern, PeerId, RESERVED, Refusal,
    Registrant, StreamId, TOO_MANY,
};
use gapless_core::wire::tag::{Malformed, RESERVED_PREFIX, read};
use gapless_core::{Instant, Machine};
use gapless_tests::shared;
use serde_json::Value;

/// The stream that a vector is about.
const STREAM: StreamId = StreamId { peer: PeerId(0), number: 0 };
/// The beginning of the one tag that is reserved elsewhere.
const RESERVED_ELSEWHERE: &[u8] = b"barrel_p2p:";

/// The fate of a stream.
#[derive(Clone, PartialEq, Debug)]
enum Fate {
    Dispatched {
        tag: Vec<u8>,
        payload: Vec<u8>,
        end: bool,
    },
    /// With the tag, where there is a whole one.
    Refused {
        code: u64,
        tag: Option<Vec<u8>>,
    },
    /// These bytes are parked.
    Pending(Vec<u8>),
}

#[derive(PartialEq, Debug)]
struct Vector {
    name: String,
    chunks: Vec<Vec<u8>>,
    fin: bool,
    registered: Vec<Vec<u8>>,
    parked_before: u64,
    fate: Fate,
    data_events: u64,
    /// Whether registering is to be refused.
    is_reserved: bool,
}

impl Vector {
    fn bytes(&self) -> Vec<u8> {
        self.chunks.concat()
    }
}

fn rows(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

fn copied_vectors() -> Vec<Vector> {
    rows(include_str!("../../vectors/tagged-streams.json")).iter().map(copied).collect()
}

fn copied(row: &Value) -> Vector {
    let bytes = |value: &Value| expanded(value.as_str().unwrap());
    let list = |value: &Value| value.as_array().unwrap().iter().map(bytes).collect();
    let fate = if let Some(dispatched) = row.get("dispatched") {
        let (tag, payload) = (bytes(dispatched), bytes(&row["payload"]));
        Fate::Dispatched { tag, payload, end: row["end"].as_bool().unwrap() }
    } else if let Some(code) = row.get("refused") {
        Fate::Refused { code: code.as_u64().unwrap(), tag: Some(bytes(&row["tag"])) }
    } else if row.get("refused_capacity").is_some() {
        Fate::Refused { code: TOO_MANY, tag: None }
    } else {
        Fate::Pending(bytes(&row["pending"]))
    };
    Vector {
        name: row["name"].as_str().unwrap().to_owned(),
        chunks: list(&row["chunks"]),
        fin: row["fin"].as_bool().unwrap(),
        registered: list(&row["registered"]),
        parked_before: row.get("parked_before").map_or(0, |count| count.as_u64().unwrap()),
        data_events: row.get("data_events").map_or(0, |count| count.as_u64().unwrap()),
        fate: recommended(row, fate),
        is_reserved: row["recommended"].get("register").is_some(),
    }
}

fn original(row: &Value) -> Vector {
    let latin = |value: &Value| value.as_str().unwrap().chars().map(|c| c as u8).collect();
    let bytes = |value: &Value| hex(value.as_str().unwrap());
    let expect = &row["expect"];
    let fate = if let Some(dispatched) = expect.get("dispatched_tag") {
        let (tag, payload) = (latin(dispatched), bytes(&expect["payload_hex"]));
        Fate::Dispatched { tag, payload, end: expect["fin"].as_bool().unwrap() }
    } else if let Some(code) = expect.get("refused_code") {
        Fate::Refused { code: code.as_u64().unwrap(), tag: Some(bytes(&expect["tag_hex"])) }
    } else if expect.get("refused_capacity").is_some() {
        Fate::Refused { code: TOO_MANY, tag: None }
    } else {
        Fate::Pending(bytes(&expect["buffered_hex"]))
    };
    Vector {
        name: row["name"].as_str().unwrap().to_owned(),
        chunks: row["chunks"].as_array().unwrap().iter().map(bytes).collect(),
        fin: row["fin_on_last"].as_bool().unwrap(),
        registered: row["registered"].as_array().unwrap().iter().map(latin).collect(),
        parked_before: row.get("parked_before").map_or(0, |count| count.as_u64().unwrap()),
        data_events: expect.get("data_events").map_or(0, |count| count.as_u64().unwrap()),
        fate: recommended(row, fate),
        is_reserved: row["recommended"].get("register").is_some(),
    }
}

/// A stream that is to be dropped at its end is refused, with the code that means that.
fn recommended(row: &Value, fate: Fate) -> Fate {
    match row["recommended"].get("drop") {
        Some(_) => Fate::Refused { code: FIN_IN_PREAMBLE, tag: None },
        None => fate,
    }
}

fn expanded(text: &str) -> Vec<u8> {
    text.split_whitespace().flat_map(stretch).collect()
}

fn stretch(text: &str) -> Vec<u8> {
    let Some((what, times)) = text.split_once('*') else { return hex(text) };
    let times: usize = times.parse().unwrap();
    if let Some(repeated) = what.strip_prefix('(').and_then(|what| what.strip_suffix(')')) {
        return hex(repeated).repeat(times);
    }
    let (first, step) = what.split_once('+').unwrap_or((what, "00"));
    let (first, step) = (hex(first)[0], hex(step)[0]);
    (0..times).map(|at| first.wrapping_add(step.wrapping_mul(at as u8))).collect()
}

fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "half a byte in {text}");
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

fn register(demux: &mut Demux, number: u64, tag: &[u8], by: Registrant) -> Result<(), Refusal> {
    demux.register(Instant::ZERO, AcceptorId(number), Pattern::Exact(tag), by)
}

/// A driver: gives the chunks of one stream, and, once that was dispatched, straight to its acceptor.
#[derive(Default)]
struct Driver {
    offset: u64,
    opened: Vec<(AcceptorId, Vec<u8>)>,
    payload: Vec<u8>,
    end: bool,
    data_events: u64,
    refused: Vec<u64>,
}

impl Driver {
    fn give(&mut self, demux: &mut Demux, chunk: &[u8], fin: bool) {
        let (offset, bytes) = (self.offset, Bytes::copy_from_slice(chunk));
        self.offset += chunk.len() as u64;
        if !self.opened.is_empty() {
            if !chunk.is_empty() || fin {
                self.hear(chunk, fin);
            }
            return;
        }
        let event = Event::Data { stream: STREAM, offset, bytes, pinned: chunk.len(), fin };
        demux.handle(Instant::ZERO, event).unwrap();
        while let Some(command) = demux.poll_command() {
            match command {
                Command::Dispatch { stream: STREAM, acceptor, tag } => {
                    self.opened.push((acceptor, tag.to_vec()));
                }
                Command::Data { stream: STREAM, acceptor, bytes, fin } => {
                    assert_eq!(acceptor, self.opened[0].0, "opened before any data");
                    self.hear(&bytes, fin);
                }
                Command::Refuse { stream: STREAM, code } => self.refused.push(code),
                other => panic!("{other:?}"),
            }
        }
    }

    fn hear(&mut self, chunk: &[u8], fin: bool) {
        assert!(!self.end, "nothing behind the end");
        self.payload.extend_from_slice(chunk);
        self.end = fin;
        self.data_events += 1;
    }
}

/// Plays a vector cut in this way, and checks what became of it; how many data events there were.
fn play(vector: &Vector, chunks: &[&[u8]]) -> u64 {
    let name = &vector.name;
    let config = Config { max_pending: 64, ..Config::default() };
    let mut demux = Demux::new(config).unwrap();
    for (number, tag) in (1..).zip(&vector.registered) {
        register(&mut demux, number, tag, Registrant::Application).unwrap();
    }
    for number in 0..vector.parked_before {
        let stream = StreamId { peer: PeerId(1 + number / 10), number };
        demux.data(Instant::ZERO, stream, 0, Bytes::from_static(b"\xFF"), 1, false).unwrap();
    }
    let mut driver = Driver::default();
    for (at, chunk) in (1..).zip(chunks) {
        driver.give(&mut demux, chunk, vector.fin && at == chunks.len());
    }
    let data_events = driver.data_events;
    match &vector.fate {
        Fate::Dispatched { tag, payload, end } => {
            let owner = vector.registered.iter().position(|registered| registered == tag).unwrap();
            let acceptor = AcceptorId(owner as u64 + 1);
            assert_eq!(driver.opened, [(acceptor, tag.clone())], "{name}");
            assert_eq!((&driver.payload, driver.end), (payload, *end), "{name}");
            assert!(driver.refused.is_empty(), "{name}");
        }
        Fate::Refused { code, .. } => {
            assert_eq!(
                (&driver.opened[..], &driver.refused[..]),
                (&[][..], &[*code][..]),
                "{name}"
            );
        }
        Fate::Pending(bytes) => {
            assert!(driver.opened.is_empty() && driver.refused.is_empty(), "{name}");
            let places = vector.parked_before as usize + usize::from(!bytes.is_empty());
            assert_eq!(demux.pending(), places, "{name}: an empty stream takes none");
            is_parked(&mut demux, driver, bytes);
        }
    }
    data_events
}

/// Checks that exactly these bytes are parked: with the rest of a preamble they make its tag.
fn is_parked(demux: &mut Demux, mut driver: Driver, bytes: &[u8]) {
    let Some((&length, begun)) = bytes.split_first() else { return };
    let rest = vec![b'~'; usize::from(length) - begun.len()];
    let tag = [begun, &rest].concat();
    register(demux, 99, &tag, Registrant::Application).unwrap();
    driver.give(demux, &rest, false);
    assert_eq!(driver.opened, [(AcceptorId(99), tag)]);
}

#[test]
fn the_copy_holds_all_54_vectors() {
    assert_eq!(copied_vectors().len(), 54);
}

#[test]
fn the_copy_agrees_with_the_shared_file() {
    let text = std::fs::read_to_string(shared!("specs/tagged-streams-vectors.json")).unwrap();
    let originals: Vec<_> = rows(&text).iter().map(original).collect();
    for (copy, original) in copied_vectors().iter().zip(&originals) {
        assert_eq!(copy, original);
    }
    assert_eq!(copied_vectors().len(), originals.len());
}

#[test]
fn every_vector_ends_as_it_says() {
    for vector in copied_vectors() {
        let chunks: Vec<&[u8]> = vector.chunks.iter().map(Vec::as_slice).collect();
        let events = play(&vector, &chunks);
        assert_eq!(events, vector.data_events, "{}", vector.name);
    }
}

#[test]
fn it_ends_so_wherever_else_it_is_cut() {
    let mut cuts = 0;
    // With all places taken it matters whether a preamble is whole at once.
    for vector in copied_vectors().iter().filter(|vector| vector.parked_before == 0) {
        let bytes = vector.bytes();
        play(vector, &[&bytes]);
        for at in 0..=bytes.len() {
            play(vector, &[&bytes[..at], &bytes[at..]]);
            cuts += 1;
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        if !single.is_empty() {
            play(vector, &single);
        }
    }
    assert!(cuts > 5000, "{cuts}");
}

#[test]
fn it_ends_so_in_any_three_pieces() {
    for vector in copied_vectors().iter().filter(|vector| vector.parked_before == 0) {
        let bytes = vector.bytes();
        if bytes.len() > 40 {
            continue;
        }
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                play(vector, &[&bytes[..first], &bytes[first..second], &bytes[second..]]);
            }
        }
    }
}

#[test]
fn the_head_of_every_vector_reads_as_it_says() {
    for vector in copied_vectors() {
        let bytes = vector.bytes();
        let head = read(&bytes);
        match &vector.fate {
            Fate::Dispatched { tag, payload, .. } => {
                assert_eq!(head, Ok((&tag[..], &payload[..])));
            }
            Fate::Refused { tag: Some(tag), .. } if tag.is_empty() => {
                assert_eq!(head, Err(Malformed::Empty), "{}", vector.name);
            }
            Fate::Refused { tag: Some(tag), .. } => assert_eq!(head.unwrap().0, &tag[..]),
            Fate::Refused { code: FIN_IN_PREAMBLE, .. } | Fate::Pending(_) => {
                let incomplete = matches!(head, Err(Malformed::Incomplete { .. }));
                assert!(incomplete, "{}", vector.name);
            }
            Fate::Refused { .. } => {}
        }
    }
}

#[test]
fn the_head_of_every_vector_with_a_tag_is_written_as_it_was_read() {
    let mut written = 0;
    for vector in copied_vectors() {
        let bytes = vector.bytes();
        let Ok((tag, _)) = read(&bytes) else { continue };
        let mut demux = Demux::new(Config::default()).unwrap();
        demux.open(Instant::ZERO, STREAM, tag, Registrant::Application).unwrap();
        let Some(Command::Write { tag: opened, .. }) = demux.poll_command() else { panic!() };
        assert_eq!(opened.preamble(), &bytes[..1 + tag.len()], "{}", vector.name);
        written += 1;
    }
    assert!(written > 40, "{written}");
}

/// The vector's prefix is another's. With ours in its place, applications are refused.
#[test]
fn what_is_recommended_of_reserved_tags_holds_for_our_prefix() {
    let vectors = copied_vectors();
    let reserved: Vec<_> = vectors.iter().filter(|vector| vector.is_reserved).collect();
    assert_eq!(reserved.len(), 1);
    for vector in reserved {
        let tag = vector.registered[0].strip_prefix(RESERVED_ELSEWHERE).unwrap();
        let tag = [RESERVED_PREFIX, tag].concat();
        let mut demux = Demux::new(Config::default()).unwrap();
        let refused = register(&mut demux, 1, &tag, Registrant::Application);
        assert_eq!(refused, Err(Refusal::Reserved));
        let stream = [&[tag.len() as u8], &tag[..]].concat();
        let mut driver = Driver::default();
        driver.give(&mut demux, &stream, true);
        assert_eq!(driver.refused, [RESERVED]);
        register(&mut demux, 1, &tag, Registrant::Protocol).unwrap();
        let mut driver = Driver::default();
        driver.give(&mut demux, &stream, true);
        assert_eq!((driver.opened, driver.end), (vec![(AcceptorId(1), tag)], true));
    }
}
