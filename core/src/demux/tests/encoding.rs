//! How a demultiplexer is written in journals.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Debug;

use crate::Duration;
use crate::demux::{
    AcceptorId, Command, Config, Demux, Event, Misuse, Pattern, PeerId, Refusal, Registrant,
    StreamId, Tag,
};
use crate::journal::encoding::{BYTES, assert_encoding};
use crate::journal::{Decoder, Encoder, Field, Journaled, Malformed};
use crate::wire::tag::Length;

const STREAM: StreamId = StreamId { peer: PeerId(1), number: 2 };
const ACCEPTOR: AcceptorId = AcceptorId(3);

#[test]
fn a_demultiplexer_s_configuration() {
    let config = Config {
        max_pending: 1,
        max_pending_per_peer: 2,
        preamble_timeout: Duration::from_nanos(3),
        hold: Duration::from_nanos(4),
        max_held: 5,
        max_held_per_acceptor: 6,
        max_held_bytes: 7,
        max_registrations: 8,
    };
    assert_encoding(&config, "1q 2q 3q 4q 5q 6q 7q 8q");
}

#[test]
fn what_a_demultiplexer_takes() {
    let (stream, acceptor, tag) = (STREAM, ACCEPTOR, &BYTES[..]);
    let by = Registrant::Protocol;
    let pattern = Pattern::Exact(tag);
    assert_encoding(&Event::Register { acceptor, pattern, by }, "0 3q 0 B 1");
    let (pattern, by) = (Pattern::Prefix(tag), Registrant::Application);
    assert_encoding(&Event::Register { acceptor, pattern, by }, "0 3q 1 B 0");
    assert_encoding(&Event::Unregister { pattern }, "1 1 B");
    assert_encoding(&Event::AcceptorGone { acceptor }, "2 3q");
    assert_encoding(&Event::Pause { acceptor }, "3 3q");
    assert_encoding(&Event::Resume { acceptor }, "4 3q");
    let data = Event::Data { stream, offset: 4, bytes: BYTES, pinned: 5, fin: true };
    assert_encoding(&data, "5 1q 2q 4q B 5q 1");
    assert_encoding(&Event::Reset { stream, code: 4 }, "6 1q 2q 4q");
    assert_encoding(&Event::Closed { stream }, "7 1q 2q");
    assert_encoding(&Event::PeerGone { peer: PeerId(1) }, "8 1q");
    assert_encoding(&Event::HandOffFailed { stream, acceptor, tag }, "9 1q 2q 3q B");
    assert_encoding(&Event::Open { stream, tag, by }, "10 1q 2q B 0");
    assert_encoding(&Event::Take { acceptor }, "11 3q");
}

#[test]
fn what_a_demultiplexer_gives() {
    let (stream, acceptor) = (STREAM, ACCEPTOR);
    assert_encoding(&Command::Answer(Ok(())), "0 0");
    assert_encoding(&Command::Answer(Err(Refusal::Reserved)), "0 1 5");
    let tag = Tag::new(&BYTES).unwrap();
    assert_encoding(&Command::Dispatch { stream, acceptor, tag }, "1 1q 2q 3q B");
    let data = Command::Data { stream, acceptor, bytes: BYTES, fin: true };
    assert_encoding(&data, "2 1q 2q 3q B 1");
    assert_encoding(&Command::Hold { stream }, "3 1q 2q");
    assert_encoding(&Command::Refuse { stream, code: 4 }, "4 1q 2q 4q");
    let tag = Tag::new(&BYTES).unwrap();
    assert_encoding(&Command::Write { stream, tag }, "5 1q 2q B");
    assert_encoding(&Command::Closed { stream, acceptor }, "6 1q 2q 3q");
}

#[test]
fn why_a_demultiplexer_refuses() {
    let refusals: [(Refusal, &str); 4] = [
        (Refusal::Conflict { held_by: ACCEPTOR }, "4 3q"),
        (Refusal::Reserved, "5"),
        (Refusal::Length(Length(256)), "6 256q"),
        (Refusal::TooManyRegistrations { max: 1 }, "7 1q"),
    ];
    for (refusal, written) in refusals {
        assert_encoding(&refusal, written);
    }
}

/// Calls that were misuse are in journals of before, as refusals.
#[test]
fn how_a_demultiplexer_was_misused() {
    for (misuse, written) in [
        (Misuse::OutOfOrder { offset: 1, expected: 2 }, "1 1 1q 2q"),
        (Misuse::Held, "1 2"),
        (Misuse::NotDispatched, "1 3"),
    ] {
        assert_encoding(&Err::<Result<(), Refusal>, _>(misuse), written);
    }
    assert_encoding(&Ok::<_, Misuse>(Err::<(), _>(Refusal::Reserved)), "1 5");
}

#[test]
fn every_event_and_command_comes_back_and_no_part_of_it_does() {
    fn comes_back<T: for<'a> Field<'a> + PartialEq + Debug>(value: &T) {
        let mut written = Vec::new();
        value.encode(&mut Encoder::new(&mut written));
        let mut input = Decoder::new(&written, Demux::VERSION);
        assert_eq!((T::decode(&mut input).as_ref(), input.finish()), (Ok(value), Ok(())));
        for cut in 0..written.len() {
            let part = T::decode(&mut Decoder::new(&written[..cut], Demux::VERSION));
            assert!(part.is_err(), "{part:?}");
        }
    }
    let (stream, acceptor) = (STREAM, ACCEPTOR);
    for len in [1, 32, 33, 255] {
        let tag = vec![7; len];
        let tag = Tag::new(&tag).unwrap();
        comes_back(&Command::Write { stream, tag: tag.clone() });
        comes_back(&Command::Dispatch { stream, acceptor, tag });
    }
    comes_back(&Command::Answer(Err(Refusal::Conflict { held_by: ACCEPTOR })));
    comes_back(&Command::Answer(Ok(())));
    comes_back(&Config::default());
    let event =
        Event::Register { acceptor, pattern: Pattern::Prefix(b"prefix"), by: Registrant::Protocol };
    let mut written = Vec::new();
    event.encode(&mut Encoder::new(&mut written));
    assert_eq!(Event::decode(&mut Decoder::new(&written, Demux::VERSION)), Ok(event));
}

#[test]
fn a_tag_that_cannot_be_is_malformed() {
    for len in [0, 256] {
        let mut written = Vec::new();
        (&vec![7; len][..]).encode(&mut Encoder::new(&mut written));
        let unknown = Malformed::Unknown { what: "length of a tag", value: len as u64 };
        let tag = Tag::decode(&mut Decoder::new(&written, Demux::VERSION));
        assert_eq!(tag, Err(unknown));
    }
}
