//! Every message is delivered once, as it was sent, and where order was promised in order.

use gapless_core::Instant;
use gapless_core::receiver::Delivery;

use super::{Checker, account};
use crate::sim::ledger::Ledger;
use crate::sim::program::message;
use crate::sim::trace::{Delivered, Fact};

/// *Exactly once, in order*: a number is settled once, by its message or as lost; in ordered delivery
/// it is the next one; the message is the one that was sent under the number; nothing comes after a
/// session's end; a machine that goes on does so where the one before it stood.
#[derive(Clone, Copy, Debug)]
pub struct ExactlyOnce(pub Delivery);

impl ExactlyOnce {
    fn settles(self, fact: &Fact<'_>, before: &Ledger, (first, last): (u64, u64)) {
        let (Fact::Delivered(Delivered { session, .. }) | Fact::Lost { session, .. }) = *fact
        else {
            return;
        };
        let account = account(before, session);
        let next = account.next;
        assert!(first <= last, "{fact:?} is no range");
        assert!(account.ended.is_none(), "{fact:?} after the end");
        assert!(self.0 == Delivery::Arrival || first == next, "{fact:?} where {next} is next");
        assert!(!account.is_settled(first, last), "{fact:?} was settled before");
    }
}

impl Checker for ExactlyOnce {
    fn check(&mut self, now: Instant, fact: &Fact<'_>, before: &Ledger) {
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
            Fact::Delivered(delivered) => {
                self.settles(fact, before, (delivered.first, delivered.last()));
                assert!(delivered.arrival <= now, "{delivered:?} arrives later");
                for (number, bytes) in (delivered.first..).zip(delivered.messages) {
                    let sent = message(delivered.session, number);
                    assert_eq!(**bytes, *sent, "message {number} differs");
                }
            }
            Fact::Lost { first, last, .. } => self.settles(fact, before, (first, last)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::started;

    /// Delivers some of the messages from a number on, in ordered delivery or on arrival.
    fn delivers(delivery: Delivery, ranges: &[(u64, u64)]) {
        let (mut trace, session) = started(ExactlyOnce(delivery));
        for &(first, last) in ranges {
            let messages: Vec<_> = (first..=last).map(|number| message(session, number)).collect();
            let messages: Vec<&[u8]> = messages.iter().map(|message| &**message).collect();
            let (arrival, messages) = (Instant::ZERO, &messages[..]);
            let delivered = Delivered { session, first, messages, arrival };
            trace.tell(Instant::ZERO, &Fact::Delivered(delivered));
        }
    }

    #[test]
    fn what_is_delivered_or_lost_moves_the_account_on() {
        let (mut trace, session) = started(ExactlyOnce(Delivery::Ordered));
        let lost = |first, last| Fact::Lost { session, first, last };
        let sent = message(session, 4);
        let (messages, arrival) = (&[&*sent][..], Instant::ZERO);
        let delivered = Delivered { session, first: 4, messages, arrival };
        for fact in [lost(1, 3), Fact::Delivered(delivered), lost(5, 6)] {
            trace.tell(Instant::ZERO, &fact);
        }
        let account = &trace.ledger.accounts[&session];
        assert_eq!((account.next, account.delivered), (7, 1));
        assert_eq!(account.lost, [(1, 3), (5, 6)]);
    }

    #[test]
    #[should_panic(expected = "where 4 is next")]
    fn a_message_delivered_twice_is_noticed() {
        delivers(Delivery::Ordered, &[(1, 3), (3, 3)]);
    }

    #[test]
    #[should_panic(expected = "where 1 is next")]
    fn a_message_left_out_is_noticed() {
        delivers(Delivery::Ordered, &[(2, 2)]);
    }

    #[test]
    #[should_panic(expected = "settled before")]
    fn a_second_delivery_on_arrival_is_noticed() {
        delivers(Delivery::Arrival, &[(5, 7), (7, 7)]);
    }

    #[test]
    #[should_panic(expected = "message 1 differs")]
    fn another_message_under_a_number_is_noticed() {
        let (mut trace, session) = started(ExactlyOnce(Delivery::Ordered));
        let other = message(session, 9);
        let (messages, arrival) = (&[&*other][..], Instant::ZERO);
        let delivered = Delivered { session, first: 1, messages, arrival };
        trace.tell(Instant::ZERO, &Fact::Delivered(delivered));
    }

    #[test]
    #[should_panic(expected = "goes on elsewhere")]
    fn a_machine_that_forgets_where_it_stood_is_noticed() {
        let (mut trace, session) = started(ExactlyOnce(Delivery::Ordered));
        trace.tell(Instant::ZERO, &Fact::Born { resumes: Some((session, 1)) });
        trace.tell(Instant::ZERO, &Fact::Started { session, next: 2 });
    }
}
