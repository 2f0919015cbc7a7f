//! How a transmitter is written in journals.

use crate::journal::written::{BYTES, SESSION, is_written, ns};
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
    is_written(&transmitting(), TRANSMITTING);
    is_written(&Event::Message(&BYTES), "0 B");
    is_written(&Event::Flush, "1");
    is_written(&Event::End, "2");
    let packet = |kind| Command::Packet { bytes: BYTES, first: 1, count: 2, kind };
    is_written(&packet(Kind::Data), "0 B 1q 2w 0");
    is_written(&packet(Kind::Heartbeat), "0 B 1q 2w 1");
    is_written(&packet(Kind::EndOfSession), "0 B 1q 2w 2");
}
