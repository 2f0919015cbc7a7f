//! How a retransmitter is written in journals.

use alloc::vec::Vec;

use crate::journal::encoding::{BYTES, SESSION, address, assert_encoding, ns};
use crate::journal::{Decoder, Encoder, Field};
use crate::rate::Rate;
use crate::retransmitter::{Command, Config, Event, LookUpId, Remote};

pub(crate) fn retransmitting() -> Config {
    Config {
        session: Some(SESSION),
        sent_before: 1,
        max_sessions: 2,
        mtu: 3,
        history_bytes: 4,
        archive: true,
        max_look_ups: 5,
        max_waiting: 6,
        look_up_timeout: ns(7),
        address_rate: Rate { bytes_per_second: 8, burst: 9 },
        total_rate: Rate { bytes_per_second: 10, burst: 11 },
        max_addresses: 12,
        ring: 13,
        remote: Some(Remote { least: 14, times_line: 15, burst: 16 }),
    }
}
pub(crate) const RETRANSMITTING: &str =
    "1 S 1q 2q 3q 4q 1 5q 6q 7q 8q 9q 10q 11q 12q 13q 1 14q 15d 16q";

#[test]
fn a_retransmitter_s_configuration_of_version_1_knows_no_other_machines() {
    let config = Config { remote: None, ..retransmitting() };
    let mut written = Vec::new();
    config.encode(&mut Encoder::in_version(&mut written, 1));
    let read = Config::decode(&mut Decoder::new(&written, 1));
    assert_eq!(read, Ok(config.clone()));
    let mut now = Vec::new();
    config.encode(&mut Encoder::new(&mut now));
    assert_eq!(now[..], [&written[..], &[0]].concat());
}

#[test]
fn a_retransmitter() {
    assert_encoding(&retransmitting(), RETRANSMITTING);
    let (id, packet) = (LookUpId(1), &BYTES[..]);
    assert_encoding(&Event::Request { from: address(), datagram: packet }, "0 A B");
    assert_encoding(&Event::Store { packet }, "1 B");
    assert_encoding(&Event::Found { id, packet }, "2 1q B");
    assert_encoding(&Event::NotFound { id }, "3 1q");
    assert_encoding(&Event::Sent { packet }, "4 B");
    assert_encoding(&Command::Answer { to: address(), bytes: BYTES }, "0 A B");
    let look_up = Command::LookUp { id, session: SESSION, first: 2, count: 3 };
    assert_encoding(&look_up, "1 1q S 2q 3w");
}
