//! How a demultiplexer is written in journals.

use super::{
    AcceptorId, Command, Config, Demux, Event, Pattern, PeerId, Preamble, Refusal, Registrant,
    StreamId, Tag,
};
use crate::Instant;
use crate::journal::{Decoder, Encoder, Field, Journaled, Malformed, fields, numbers, variants};
use crate::wire::tag::Length;

/// A direct call is any event, and returns what [`Demux::call`] does.
impl Journaled for Demux {
    const NAME: &'static str = "demux";
    const VERSION: u16 = 1;

    type Call<'a> = Event<'a>;
    type Answer<'a> = Result<(), Refusal>;

    fn call<'a>(&mut self, now: Instant, call: Self::Call<'a>) -> Self::Answer<'a> {
        Self::call(self, now, call)
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
