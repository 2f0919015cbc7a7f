//! Events that are applied before the commands of others were taken, as a composite may.

use crate::publisher::{Config, Event, Publisher};
use crate::wire::mold::Header;
use crate::{Instant, Machine, Session};

#[test]
fn every_republished_packet_is_sent() {
    let session = Session::from_name(b"S").unwrap();
    let mut config = Config::new(session);
    config.transmitter = None;
    let mut publisher = Publisher::new(config).unwrap();
    for sequence in [1, 2] {
        let mut bytes = Header { session, sequence, count: 1 }.to_bytes().to_vec();
        bytes.extend_from_slice(&[0, 1, b'x']);
        publisher.apply(Instant::ZERO, Event::Republish(bytes.into())).unwrap();
    }
    let mut sent = 0;
    while publisher.poll_command().is_some() {
        sent += 1;
    }
    assert_eq!((sent, publisher.stats.republished), (2, 2));
}
