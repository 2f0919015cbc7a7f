//! How a retransmitter is written in journals.

use super::{Config, LookUpId, Remote, Retransmitter};
use crate::journal::{Journaled, fields, newtypes, no_direct_calls};

impl Journaled for Retransmitter {
    const NAME: &'static str = "retransmitter";
    const VERSION: u16 = 2;

    no_direct_calls!();
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
    remote by since_2,
});
fields!(Remote { least, times_line, burst });

/// The configuration's `remote`: before version 2 there was none.
mod since_2 {
    use super::{Remote, Retransmitter};
    use crate::journal::{Decoder, Encoder, Field, Malformed};

    pub(super) fn encode(remote: &Option<Remote>, out: &mut Encoder<'_>) {
        if out.version_of::<Retransmitter>() >= 2 {
            remote.encode(out);
        }
    }

    pub(super) fn decode(input: &mut Decoder<'_>) -> Result<Option<Remote>, Malformed> {
        if input.version_of::<Retransmitter>() >= 2 { Field::decode(input) } else { Ok(None) }
    }
}
newtypes!(LookUpId);
