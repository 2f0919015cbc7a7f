//! How a publisher is written in journals.

use alloc::format;

use crate::journal::encoding::{BYTES, SESSION, address, assert_encoding, ns};
use crate::journal::{Decoder, Field};
use crate::publisher::{Command, Config, Event};
use crate::retransmitter::tests::encoding::{RETRANSMITTING, retransmitting};
use crate::retransmitter::{self, Event as Ask, LookUpId};
use crate::transmitter::Event as Send;
use crate::transmitter::tests::encoding::{TRANSMITTING, transmitting};

#[test]
fn a_publisher() {
    let transmitter = Some(transmitting());
    let retransmitter = retransmitting();
    let config = Config { transmitter, retransmitter, end_linger: ns(14) };
    assert_encoding(&config, &format!("1 {TRANSMITTING} {RETRANSMITTING} 14q"));
    let (id, packet) = (LookUpId(1), &BYTES[..]);
    let events: [(Event<'_>, &str, &[u8]); 7] = [
        (Send::Message(packet).into(), "8 0 B", &[0, 2, 0, 0, 0, 0xAB, 0xCD]),
        (Send::Flush.into(), "8 1", &[1]),
        (Send::End.into(), "8 2", &[2]),
        (Ask::Store { packet }.into(), "9 1 B", &[4, 2, 0, 0, 0, 0xAB, 0xCD]),
        (
            Ask::Request { from: address(), datagram: packet }.into(),
            "9 0 A B",
            &[5, 4, 127, 0, 0, 1, 1, 2, 2, 0, 0, 0, 0xAB, 0xCD],
        ),
        (
            Ask::Found { id, packet }.into(),
            "9 2 1q B",
            &[6, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0xAB, 0xCD],
        ),
        (Ask::NotFound { id }.into(), "9 3 1q", &[7, 1, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (event, written, before_3) in events {
        assert_encoding(&event, written);
        assert_eq!(Event::decode(&mut Decoder::new(before_3, 2)), Ok(event));
    }
    assert_encoding(&Event::Republish(BYTES), "3 B");
    assert_encoding(&Command::Send { bytes: BYTES }, "0 B");
    let answer = retransmitter::Command::Answer { to: address(), bytes: BYTES };
    assert_encoding(&Command::Retransmit(answer), "1 A B");
    let look_up = retransmitter::Command::LookUp { id, session: SESSION, first: 2, count: 3 };
    assert_encoding(&Command::Retransmit(look_up), "2 1q S 2q 3w");
}
