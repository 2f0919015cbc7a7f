//! How a retransmitter is written in journals.

use super::{Command, Config, Event, LookUpId, Retransmitter};
use crate::journal::{Journaled, fields, no_direct_calls, numbers, variants};

impl Journaled for Retransmitter {
    const NAME: &'static str = "retransmitter";
    const VERSION: u16 = 1;

    no_direct_calls!();

    fn memory_limit(config: &Config) -> usize {
        config.memory_limit()
    }
}

fields!(Config {
    session,
    sent_before,
    max_sessions,
    mtu,
    history_bytes,
    archive,
    max_look_ups,
    max_waiting,
    look_up_timeout,
    address_rate,
    total_rate,
    max_addresses,
    ring,
});
numbers!(LookUpId);
variants!("event of a retransmitter", Event<'a> {
    0 => Request { from, datagram },
    1 => Store { packet },
    2 => Found { id, packet },
    3 => NotFound { id },
});
variants!("command of a retransmitter", Command {
    0 => Answer { to, bytes },
    1 => LookUp { id, session, first, count },
});
