//! Who registers for what, who of several takes a stream, and what is reserved.

use super::*;
use Pattern::Exact;
use Registrant::Application;

fn register(acceptor: AcceptorId, pattern: Pattern<'_>) -> Event<'_> {
    Event::Register { acceptor, pattern, by: Application }
}

#[test]
fn another_acceptor_for_a_pattern_is_a_conflict_and_the_first_keeps_it() {
    let mut bench = for_foo();
    assert_eq!(bench.refused(register(B, Exact(b"foo"))), Refusal::Conflict { held_by: A });
    assert_eq!(bench.data(1, 0, b"\x03foo"), [dispatch(1, A, b"foo")]);
}
