//! Streams that are held: for acceptors that pause, and for tags that nobody registered yet.

use super::*;

#[test]
fn a_stream_for_a_paused_acceptor_is_held_and_dispatched_with_its_payload_when_it_resumes() {
    let mut bench = for_foo();
    assert_eq!(bench.give(Event::Pause { acceptor: A }), []);
    assert_eq!(bench.last(1, 0, b"\x03foopay"), [hold(1)]);
    assert_eq!((bench.demux.held(), bench.demux.held_bytes()), (1, 3));
    let commands = bench.give(Event::Resume { acceptor: A });
    assert_eq!(commands, [dispatch(1, A, b"foo"), payload(1, A, b"pay", true)]);
    assert_eq!((bench.demux.held(), bench.demux.held_bytes()), (0, 0));
}
