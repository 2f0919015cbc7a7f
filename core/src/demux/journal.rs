//! How a demultiplexer is written in journals.

use super::{
    AcceptorId, Config, Demux, Event, Misuse, Pattern, PeerId, Refusal, Registrant, StreamId, Tag,
};
use crate::Instant;
use crate::journal::{Decoder, Encoder, Field, Journaled, Malformed, fields, newtypes, variants};
use crate::wire::tag::Length;

/// A direct call is any event, and returns what [`Demux::call`] does.
impl Journaled for Demux {
    const NAME: &'static str = "demux";
    const VERSION: u16 = 1;

    type Call<'a> = Event<'a>;
    type Answer<'a> = Result<Result<(), Refusal>, Misuse>;

    fn call<'a>(&mut self, now: Instant, call: Self::Call<'a>) -> Self::Answer<'a> {
        Self::call(self, now, call)
    }

    fn is_misuse(answer: &Self::Answer<'_>) -> bool {
        answer.is_err()
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
newtypes!(PeerId, AcceptorId, Length);
fields!(StreamId { peer, number });
variants!("registrant", Registrant { 0 => Application, 1 => Protocol });
variants!("pattern", Pattern<'a> { 0 => Exact(tag), 1 => Prefix(prefix) });
// The numbers of misuse and of refusals are one sequence. 0 was a refusal of calls before a drain.
variants!("misuse", Misuse {
    1 => OutOfOrder { offset, expected },
    2 => Held,
    3 => NotDispatched,
} unwritten { Config, Undrained });
variants!("refusal", Refusal {
    4 => Conflict { held_by },
    5 => Reserved,
    6 => Length(length),
    7 => TooManyRegistrations { max },
});

/// As an enum of two variants: 0, or 1 and the refusal.
impl Field<'_> for Result<(), Refusal> {
    fn encode(&self, out: &mut Encoder<'_>) {
        self.err().encode(out);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Option::decode(input)?.map_or(Ok(()), Err))
    }
}

/// As what is within; misuse as a refusal: journals have such from before it left no trace.
impl Field<'_> for Result<Result<(), Refusal>, Misuse> {
    fn encode(&self, out: &mut Encoder<'_>) {
        match self {
            Ok(answer) => answer.encode(out),
            Err(misuse) => (true, *misuse).encode(out),
        }
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let mut ahead = *input;
        if let Ok((true, misuse)) = Field::decode(&mut ahead) {
            *input = ahead;
            return Ok(Err(misuse));
        }
        Field::decode(input).map(Ok)
    }
}

/// A byte string of 1 to 255 bytes.
impl Field<'_> for Tag {
    fn encode(&self, out: &mut Encoder<'_>) {
        (&self[..]).encode(out);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let malformed =
            |Length(len)| Malformed::Unknown { what: "length of a tag", value: len as u64 };
        Self::new(Field::decode(input)?).map_err(malformed)
    }
}
