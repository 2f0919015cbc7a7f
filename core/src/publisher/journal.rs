//! How a publisher is written in journals.

use super::{Command, Config, Publisher};
use crate::journal::{Journaled, fields, nested, no_direct_calls, variants};
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

variants!("command of a publisher", Command {
    0 => Send { bytes },
} embedded {
    1 => (to, bytes) [Self::Retransmit(Asked::Answer { to, bytes })],
    2 => (id, session, first, count) [
        Self::Retransmit(Asked::LookUp { id, session, first, count })
    ],
});
