//! Every message is delivered once, as it was sent, and where order was promised in order.

use gapless_core::receiver::Delivery;
use gapless_core::{Instant, Session};

use super::{Checker, account};
use crate::sim::ledger::Ledger;
use crate::sim::program::message;
use crate::sim::trace::Fact;

/// *Exactly once, in order*: a number is settled once, by its message or as lost; in ordered delivery
/// it is the next one; the message is the one that was sent under the number; nothing comes after a
/// session's end; a machine that goes on does so where the one before it stood.
#[derive(Clone, Copy, Debug)]
pub struct ExactlyOnce(pub Delivery);

impl Checker for ExactlyOnce {
    fn check(&mut self, now: Instant, fact: &Fact, before: &Ledger) {
        match *fact {
            Fact::Born { resumes: Some((session, next)) } => {
                assert_eq!(next, before.next(session), "{session} is taken up elsewhere");
            }
            Fact::Started { session, next } if before.resuming == Some(session) => {
                assert_eq!(next, before.next(session), "{session} goes on elsewhere");
            }
            Fact::Started { session, .. } => {
                assert!(!before.accounts.contains_key(&session), "{session} started twice");
            }
            Fact::Delivered { arrival, .. } if arrival > now => panic!("{fact:?} arrives later"),
            Fact::Delivered { session, first, last, .. } | Fact::Lost { session, first, last } => {
                let account = account(before, session);
                let next = account.next;
                assert!(first <= last, "{fact:?} is no range");
                assert!(account.ended.is_none(), "{fact:?} after the end");
                let ordered = self.0 == Delivery::Ordered;
                assert!(!ordered || first == next, "{fact:?} where {next} is next");
                assert!(!account.is_settled(first, last), "{fact:?} was settled before");
            }
            _ => {}
        }
    }

    fn check_message(&mut self, session: Session, number: u64, bytes: &[u8]) {
        assert_eq!(*bytes, *message(session, number), "message {number} differs");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Trace;
    use crate::sim::check::started;

    const NOW: Instant = Instant::ZERO;

    /// Delivers the messages from a number on that were sent under these numbers.
    fn deliver(trace: &mut Trace, session: Session, first: u64, sent: &[u64]) {
        let messages: Vec<_> = sent.iter().map(|&number| message(session, number)).collect();
        let messages = messages.iter().map(|message| &**message);
        trace.deliver(NOW, session, (first..).zip(messages), NOW);
    }

    #[test]
    fn what_is_delivered_or_lost_moves_the_account_on() {
        let (mut trace, session) = started(ExactlyOnce(Delivery::Ordered));
        trace.record(NOW, Fact::Lost { session, first: 1, last: 3 });
        deliver(&mut trace, session, 4, &[4]);
        trace.record(NOW, Fact::Lost { session, first: 5, last: 6 });
        let account = &trace.ledger.accounts[&session];
        assert_eq!((account.next, account.delivered), (7, 1));
        assert_eq!(account.lost, [(1, 3), (5, 6)]);
    }

    #[test]
    #[should_panic(expected = "where 4 is next")]
    fn a_message_delivered_twice_is_noticed() {
        let (mut trace, session) = started(ExactlyOnce(Delivery::Ordered));
        deliver(&mut trace, session, 1, &[1, 2, 3]);
        deliver(&mut trace, session, 3, &[3]);
    }

    #[test]
    #[should_panic(expected = "where 1 is next")]
    fn a_message_left_out_is_noticed() {
        let (mut trace, session) = started(ExactlyOnce(Delivery::Ordered));
        deliver(&mut trace, session, 2, &[2]);
    }

    #[test]
    #[should_panic(expected = "settled before")]
    fn a_second_delivery_on_arrival_is_noticed() {
        let (mut trace, session) = started(ExactlyOnce(Delivery::Arrival));
        deliver(&mut trace, session, 5, &[5, 6, 7]);
        deliver(&mut trace, session, 7, &[7]);
    }

    #[test]
    #[should_panic(expected = "message 1 differs")]
    fn another_message_under_a_number_is_noticed() {
        let (mut trace, session) = started(ExactlyOnce(Delivery::Ordered));
        deliver(&mut trace, session, 1, &[9]);
    }

    #[test]
    #[should_panic(expected = "goes on elsewhere")]
    fn a_machine_that_forgets_where_it_stood_is_noticed() {
        let (mut trace, session) = started(ExactlyOnce(Delivery::Ordered));
        trace.record(NOW, Fact::Born { resumes: Some((session, 1)) });
        trace.record(NOW, Fact::Started { session, next: 2 });
    }
}
