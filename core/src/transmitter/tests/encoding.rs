//! How a transmitter is written in journals.

use crate::journal::encoding::{BYTES, SESSION, assert_encoding, ns};
use crate::rate::Rate;
use crate::transmitter::{Command, Config, Event};
use crate::wire::mold::Kind;

pub(crate) fn transmitting() -> Config {
    Config {
        session: SESSION,
        first_sequence: 1,
        mtu: 2,
        flush_delay: ns(3),
        heartbeat_interval: ns(4),
        end_interval: ns(5),
        end_linger: ns(6),
        pace: Some(Rate { bytes_per_second: 7, burst: 8 }),
        ring: 9,
    }
}
pub(crate) const TRANSMITTING: &str = "S 1q 2q 3q 4q 5q 6q 1 7q 8q 9q";

#[test]
fn a_transmitter() {
    assert_encoding(&transmitting(), TRANSMITTING);
    assert_encoding(&Event::Message(&BYTES), "0 B");
    assert_encoding(&Event::Flush, "1");
    assert_encoding(&Event::End, "2");
    let packet = |kind| Command::Packet { bytes: BYTES, first: 1, count: 2, kind };
    assert_encoding(&packet(Kind::Data), "0 B 1q 2w 0");
    assert_encoding(&packet(Kind::Heartbeat), "0 B 1q 2w 1");
    assert_encoding(&packet(Kind::EndOfSession), "0 B 1q 2w 2");
}
