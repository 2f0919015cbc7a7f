//! Events that are applied before the commands of others were taken, as a composite may.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::retransmitter::{Config, Event, LookUpId, Retransmitter};
use crate::wire::mold::Header;
use crate::{Instant, Machine, Session};

fn session() -> Session {
    Session::from_name(b"S").unwrap()
}
fn packet(sequence: u64) -> Vec<u8> {
    let mut bytes = Header { session: session(), sequence, count: 1 }.to_bytes().to_vec();
    bytes.extend_from_slice(&[0, 1, b'x']);
    bytes
}
fn ask(sequence: u64) -> Vec<u8> {
    Header { session: session(), sequence, count: 1 }.to_bytes().to_vec()
}

#[test]
fn nobody_waits_for_ever_when_a_request_comes_before_a_drain() {
    let mut config = Config { archive: true, ..Config::default() };
    config.session = Some(session());
    config.sent_before = 10;
    let mut machine = Retransmitter::new(config).unwrap();
    let now = Instant::ZERO;
    let from = |last: u8| SocketAddr::from(([127, 0, 0, last], 9));
    machine.apply(now, Event::Store { packet: &packet(11) }).unwrap();
    for last in 1..=3 {
        machine.apply(now, Event::Request { from: from(last), datagram: &ask(5) }).unwrap();
        while machine.poll_command().is_some() {}
    }
    assert_eq!(machine.stats.waiting, 3);
    machine.apply(now, Event::Found { id: LookUpId(0), packet: &packet(5) }).unwrap();
    assert!(machine.poll_command().is_some());
    // In the middle of the drain.
    machine.apply(now, Event::Request { from: from(9), datagram: &ask(11) }).unwrap();
    let mut rest = 0;
    while machine.poll_command().is_some() {
        rest += 1;
    }
    machine.expire(Instant::from_millis(1 << 30));
    while machine.poll_command().is_some() {
        rest += 1;
    }
    assert_eq!((rest, machine.stats.waiting), (3, 0));
}
