//! How a publisher is written in journals.

use super::{Command, Config, Event, Publisher};
use crate::journal::{Journaled, fields, no_direct_calls, variants};

impl Journaled for Publisher {
    const NAME: &'static str = "publisher";
    const VERSION: u16 = 2;

    no_direct_calls!();
}

fields!(Config { transmitter, retransmitter, end_linger });
variants!("event of a publisher", Event<'a> {
    0 => Message(message),
    1 => Flush,
    2 => End,
    3 => Republish(bytes),
    4 => Store { packet },
    5 => Request { from, datagram },
    6 => Found { id, packet },
    7 => NotFound { id },
});
variants!("command of a publisher", Command {
    0 => Send { bytes },
    1 => Answer { to, bytes },
    2 => LookUp { id, session, first, count },
});
