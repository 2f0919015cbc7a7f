//! Events that are applied before the commands of others were taken, as a composite may.

use crate::demux::{
    AcceptorId, Command, Config, Demux, Event, Pattern, PeerId, Registrant, StreamId,
};
use crate::{Instant, Machine};

#[test]
fn answers_come_in_the_order_of_events() {
    let mut demux = Demux::new(Config::default()).unwrap();
    let now = Instant::ZERO;
    let (by, pattern) = (Registrant::Application, Pattern::Exact(b"a"));
    demux.apply(now, Event::Register { acceptor: AcceptorId(1), pattern, by }).unwrap();
    demux.apply(now, Event::Register { acceptor: AcceptorId(2), pattern, by }).unwrap();
    assert_eq!(demux.poll_command(), Some(Command::Answer(Ok(()))));
}

#[test]
fn writes_come_in_the_order_in_which_streams_are_opened() {
    let mut demux = Demux::new(Config::default()).unwrap();
    let stream = |number| StreamId { peer: PeerId(1), number };
    for number in [0, 4] {
        demux.open(Instant::ZERO, stream(number), b"a", Registrant::Application).unwrap();
    }
    let Some(Command::Write { stream: first, .. }) = demux.poll_command() else { panic!() };
    assert_eq!(first, stream(0));
}
