//! How a publisher is written in journals.

use super::{Command, Config, Publisher};
use crate::journal::{
    Decoder, Encoder, Field, Journaled, Malformed, fields, nested, no_direct_calls,
};
use crate::retransmitter::{Command as Asked, Retransmitter};
use crate::transmitter::Transmitter;

impl Journaled for Publisher {
    const NAME: &'static str = "publisher";
    const VERSION: u16 = 3;
    const NESTED: &'static [(&'static str, u16)] =
        &[nested::<Transmitter>(), nested::<Retransmitter>()];

    no_direct_calls!();
}

fields!(Config { transmitter, retransmitter, end_linger });

/// As an enum of three: 0 for a packet, then the answering side's two.
impl Field<'_> for Command {
    fn encode(&self, out: &mut Encoder<'_>) {
        match self {
            Self::Send { bytes } => {
                out.put(&[0]);
                bytes.encode(out);
            }
            Self::Retransmit(Asked::Answer { to, bytes }) => {
                out.put(&[1]);
                to.encode(out);
                bytes.encode(out);
            }
            Self::Retransmit(Asked::LookUp { id, session, first, count }) => {
                out.put(&[2]);
                id.encode(out);
                session.encode(out);
                (*first, *count).encode(out);
            }
        }
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let decoded = match u8::decode(input)? {
            0 => return Ok(Self::Send { bytes: Field::decode(input)? }),
            1 => Asked::Answer { to: Field::decode(input)?, bytes: Field::decode(input)? },
            2 => Asked::LookUp {
                id: Field::decode(input)?,
                session: Field::decode(input)?,
                first: Field::decode(input)?,
                count: Field::decode(input)?,
            },
            other => {
                let (what, value) = ("command of a publisher", other.into());
                return Err(Malformed::Unknown { what, value });
            }
        };
        Ok(Self::Retransmit(decoded))
    }
}
