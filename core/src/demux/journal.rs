//! How a demultiplexer is written in journals.

use super::{
    AcceptorId, Command, Config, Demux, Event, Pattern, PeerId, Preamble, Refusal, Registrant,
    StreamId, Tag,
};
use crate::Instant;
use crate::journal::{Decoder, Encoder, Field, Journaled, Malformed, fields, numbers, variants};
use crate::wire::tag::Length;

impl AsRef<Self> for Demux {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// A direct call is any event, and returns what [`Demux::call`] does.
impl Journaled for Demux {
    const NAME: &'static str = "demux";
    const VERSION: u16 = 1;

    type Call<'a> = Event<'a>;
    type Answer<'a> = Result<(), Refusal>;

    fn call<'a>(&mut self, now: Instant, call: Self::Call<'a>) -> Self::Answer<'a> {
        Self::call(self, now, call)
    }

    fn memory_limit(config: &Config) -> usize {
        config.max_bytes()
    }
}

fields!(Config {
    max_pending,
    max_pending_per_peer,
    preamble_timeout,
    hold,
    max_held,
    max_held_per_acceptor,
    max_held_bytes,
    max_registrations,
});
numbers!(PeerId, AcceptorId);
fields!(StreamId { peer, number });
variants!("registrant", Registrant { 0 => Application, 1 => Protocol });
variants!("pattern", Pattern<'a> { 0 => Exact(tag), 1 => Prefix(prefix) });
variants!("event of a demultiplexer", Event<'a> {
    0 => Register { acceptor, pattern, by },
    1 => Unregister { pattern },
    2 => AcceptorGone { acceptor },
    3 => Pause { acceptor },
    4 => Resume { acceptor },
    5 => Data { stream, offset, bytes, pinned, fin },
    6 => Reset { stream, code },
    7 => Closed { stream },
    8 => PeerGone { peer },
    9 => HandOffFailed { stream, acceptor, tag },
    10 => Open { stream, tag, by },
    11 => Take { acceptor },
});
variants!("command of a demultiplexer", Command {
    0 => Answer(answer),
    1 => Dispatch { stream, acceptor, tag },
    2 => Data { stream, acceptor, bytes, fin },
    3 => Hold { stream },
    4 => Refuse { stream, code },
    5 => Write { stream, preamble },
    6 => Closed { stream, acceptor },
});
variants!("refusal", Refusal {
    0 => Undrained,
    1 => OutOfOrder { offset, expected },
    2 => Held,
    3 => NotDispatched,
    4 => Conflict { held_by },
    5 => Reserved,
    6 => Length(length),
    7 => TooManyRegistrations { max },
});

impl Field<'_> for Length {
    fn encode(&self, out: &mut Encoder<'_>) {
        self.0.encode(out);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Field::decode(input).map(Self)
    }
}

/// As an enum of two variants: 0, or 1 and the refusal.
impl Field<'_> for Result<(), Refusal> {
    fn encode(&self, out: &mut Encoder<'_>) {
        self.err().encode(out);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Option::decode(input)?.map_or(Ok(()), Err))
    }
}

/// A byte string of 1 to 255 bytes.
impl Field<'_> for Tag {
    fn encode(&self, out: &mut Encoder<'_>) {
        (&self[..]).encode(out);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Self::new(Field::decode(input)?).map_err(malformed)
    }
}

/// As its tag.
impl Field<'_> for Preamble {
    fn encode(&self, out: &mut Encoder<'_>) {
        self.tag().encode(out);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Self::new(Field::decode(input)?).map_err(malformed)
    }
}

const fn malformed(Length(len): Length) -> Malformed {
    Malformed::Unknown { what: "length of a tag", value: len as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Duration;
    use crate::journal::written::is_written;
    use alloc::vec::Vec;
    use bytes::Bytes;

    const BYTES: Bytes = Bytes::from_static(&[0xAB, 0xCD]);
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
        is_written(&config, "1q 2q 3q 4q 5q 6q 7q 8q");
    }

    #[test]
    fn what_a_demultiplexer_takes() {
        let (stream, acceptor, tag) = (STREAM, ACCEPTOR, &BYTES[..]);
        let by = Registrant::Protocol;
        let pattern = Pattern::Exact(tag);
        is_written(&Event::Register { acceptor, pattern, by }, "0 3q 0 B 1");
        let (pattern, by) = (Pattern::Prefix(tag), Registrant::Application);
        is_written(&Event::Register { acceptor, pattern, by }, "0 3q 1 B 0");
        is_written(&Event::Unregister { pattern }, "1 1 B");
        is_written(&Event::AcceptorGone { acceptor }, "2 3q");
        is_written(&Event::Pause { acceptor }, "3 3q");
        is_written(&Event::Resume { acceptor }, "4 3q");
        let data = Event::Data { stream, offset: 4, bytes: BYTES, pinned: 5, fin: true };
        is_written(&data, "5 1q 2q 4q B 5q 1");
        is_written(&Event::Reset { stream, code: 4 }, "6 1q 2q 4q");
        is_written(&Event::Closed { stream }, "7 1q 2q");
        is_written(&Event::PeerGone { peer: PeerId(1) }, "8 1q");
        is_written(&Event::HandOffFailed { stream, acceptor, tag }, "9 1q 2q 3q B");
        is_written(&Event::Open { stream, tag, by }, "10 1q 2q B 0");
        is_written(&Event::Take { acceptor }, "11 3q");
    }

    #[test]
    fn what_a_demultiplexer_gives() {
        let (stream, acceptor) = (STREAM, ACCEPTOR);
        is_written(&Command::Answer(Ok(())), "0 0");
        is_written(&Command::Answer(Err(Refusal::Reserved)), "0 1 5");
        let tag = Tag::new(&BYTES).unwrap();
        is_written(&Command::Dispatch { stream, acceptor, tag }, "1 1q 2q 3q B");
        let data = Command::Data { stream, acceptor, bytes: BYTES, fin: true };
        is_written(&data, "2 1q 2q 3q B 1");
        is_written(&Command::Hold { stream }, "3 1q 2q");
        is_written(&Command::Refuse { stream, code: 4 }, "4 1q 2q 4q");
        let preamble = Preamble::new(&BYTES).unwrap();
        is_written(&Command::Write { stream, preamble }, "5 1q 2q B");
        is_written(&Command::Closed { stream, acceptor }, "6 1q 2q 3q");
    }

    #[test]
    fn why_a_demultiplexer_refuses() {
        let refusals: [(Refusal, &str); 8] = [
            (Refusal::Undrained, "0"),
            (Refusal::OutOfOrder { offset: 1, expected: 2 }, "1 1q 2q"),
            (Refusal::Held, "2"),
            (Refusal::NotDispatched, "3"),
            (Refusal::Conflict { held_by: ACCEPTOR }, "4 3q"),
            (Refusal::Reserved, "5"),
            (Refusal::Length(Length(256)), "6 256q"),
            (Refusal::TooManyRegistrations { max: 1 }, "7 1q"),
        ];
        for (refusal, written) in refusals {
            is_written(&refusal, written);
        }
    }

    #[test]
    fn every_event_and_command_comes_back_and_no_part_of_it_does() {
        fn comes_back<T: for<'a> Field<'a> + PartialEq + core::fmt::Debug>(value: &T) {
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
            let tag = alloc::vec![7; len];
            let (tag, preamble) = (Tag::new(&tag).unwrap(), Preamble::new(&tag).unwrap());
            comes_back(&Command::Dispatch { stream, acceptor, tag });
            comes_back(&Command::Write { stream, preamble });
        }
        comes_back(&Command::Answer(Err(Refusal::Conflict { held_by: ACCEPTOR })));
        comes_back(&Command::Answer(Ok(())));
        comes_back(&Config::default());
        let event = Event::Register {
            acceptor,
            pattern: Pattern::Prefix(b"prefix"),
            by: Registrant::Protocol,
        };
        let mut written = Vec::new();
        event.encode(&mut Encoder::new(&mut written));
        assert_eq!(Event::decode(&mut Decoder::new(&written, Demux::VERSION)), Ok(event));
    }

    #[test]
    fn a_tag_that_cannot_be_is_malformed() {
        for len in [0, 256] {
            let mut written = Vec::new();
            (&alloc::vec![7; len][..]).encode(&mut Encoder::new(&mut written));
            let unknown = Malformed::Unknown { what: "length of a tag", value: len as u64 };
            let tag = Tag::decode(&mut Decoder::new(&written, Demux::VERSION));
            let preamble = Preamble::decode(&mut Decoder::new(&written, Demux::VERSION));
            assert_eq!((tag, preamble), (Err(unknown), Err(unknown)));
        }
    }
}
