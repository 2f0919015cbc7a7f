//! How a transmitter is written in journals.

use super::{Command, Config, Event, Transmitter};
use crate::journal::{Journaled, fields, no_direct_calls, variants};
use crate::rate::Rate;
use crate::wire::mold::Kind;

impl Journaled for Transmitter {
    const NAME: &'static str = "transmitter";
    const VERSION: u16 = 1;

    no_direct_calls!();
}

fields!(Config {
    session,
    first_sequence,
    mtu,
    flush_delay,
    heartbeat_interval,
    end_interval,
    end_linger,
    pace,
    ring,
});
fields!(Rate { bytes_per_second, burst });
variants!("event of a transmitter", Event<'a> { 0 => Message(message), 1 => Flush, 2 => End });
variants!("kind of packet", Kind { 0 => Data, 1 => Heartbeat, 2 => EndOfSession });
variants!("command of a transmitter", Command { 0 => Packet { bytes, first, count, kind } });
