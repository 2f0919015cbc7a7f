//! How a publisher is written in journals.

use alloc::format;

use crate::journal::written::{BYTES, SESSION, address, is_written, ns};
use crate::publisher::{Command, Config, Event};
use crate::retransmitter::LookUpId;
use crate::retransmitter::tests::encoding::{RETRANSMITTING, retransmitting};
use crate::transmitter::tests::encoding::{TRANSMITTING, transmitting};

#[test]
fn a_publisher() {
    let transmitter = Some(transmitting());
    let retransmitter = retransmitting();
    let config = Config { transmitter, retransmitter, end_linger: ns(14) };
    is_written(&config, &format!("1 {TRANSMITTING} {RETRANSMITTING} 14q"));
    let (id, packet) = (LookUpId(1), &BYTES[..]);
    is_written(&Event::Message(packet), "0 B");
    is_written(&Event::Flush, "1");
    is_written(&Event::End, "2");
    is_written(&Event::Republish(BYTES), "3 B");
    is_written(&Event::Store { packet }, "4 B");
    is_written(&Event::Request { from: address(), datagram: packet }, "5 A B");
    is_written(&Event::Found { id, packet }, "6 1q B");
    is_written(&Event::NotFound { id }, "7 1q");
    is_written(&Command::Send { bytes: BYTES }, "0 B");
    is_written(&Command::Answer { to: address(), bytes: BYTES }, "1 A B");
    let look_up = Command::LookUp { id, session: SESSION, first: 2, count: 3 };
    is_written(&look_up, "2 1q S 2q 3w");
}
