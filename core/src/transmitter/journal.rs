//! How a transmitter is written in journals.

use super::{Config, Transmitter};
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
variants!("kind of packet", Kind { 0 => Data, 1 => Heartbeat, 2 => EndOfSession });
