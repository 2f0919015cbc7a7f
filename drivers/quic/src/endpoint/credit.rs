//! Which of the streams of a connection may write next: the one that has waited longest. quinn-proto
//! wakes those that wait for the same credit in the opposite order, so that one that is always written
//! to would get all of it.

use std::collections::BTreeMap;

/// Where a stream stands in the queue of those that wait to be written to; lower ones are older. 0: it
/// does not wait.
pub(super) type Ticket = u64;

#[derive(Debug, Default)]
pub(super) struct Credit {
    /// Streams that may be written to again, not reported so yet.
    ready: BTreeMap<Ticket, u64>,
    last: Ticket,
    /// The stream that was last reported writable, until it writes.
    notified: Option<u64>,
    /// Whether that one found that there is none: the others need not try.
    is_spent: bool,
}

impl Credit {
    /// There may be credit again.
    pub(super) const fn renew(&mut self) {
        self.is_spent = false;
    }

    /// A stream may be written to again.
    pub(super) fn ready(&mut self, number: u64, ticket: &mut Ticket) {
        self.renew();
        if *ticket == 0 {
            *ticket = self.new_ticket();
        }
        self.ready.insert(*ticket, number);
    }

    /// The next stream to be reported writable.
    pub(super) fn next(&mut self) -> Option<u64> {
        if self.is_spent {
            return None;
        }
        self.notified = self.ready.pop_first().map(|(_, number)| number);
        self.notified
    }

    /// A stream was written to: it took so many bytes, and `is_blocked` if it takes no more.
    pub(super) fn wrote(
        &mut self,
        number: u64,
        ticket: &mut Ticket,
        bytes: usize,
        is_blocked: bool,
    ) {
        self.ready.remove(ticket);
        let was_notified = self.notified.take_if(|notified| *notified == number).is_some();
        if !is_blocked {
            *ticket = 0;
        } else if bytes > 0 || *ticket == 0 {
            *ticket = self.new_ticket();
        } else if was_notified {
            // The peer gives the stream credit, so it is the connection that has none.
            self.is_spent = true;
        }
    }

    /// A stream is over, and what it held is free.
    pub(super) fn remove(&mut self, ticket: Ticket) {
        self.ready.remove(&ticket);
        self.renew();
    }

    const fn new_ticket(&mut self) -> Ticket {
        self.last += 1;
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams 1 to 3 that have waited in this order.
    fn waiting() -> (Credit, [Ticket; 4]) {
        let (mut credit, mut tickets) = (Credit::default(), [0; 4]);
        for number in 1..=3 {
            credit.wrote(number, &mut tickets[number as usize], 0, true);
        }
        (credit, tickets)
    }

    fn wake(credit: &mut Credit, tickets: &mut [Ticket; 4]) {
        for number in [3, 2, 1] {
            credit.ready(number, &mut tickets[number as usize]);
        }
    }

    #[test]
    fn who_waited_longest_is_next_in_whatever_order_they_wake() {
        let (mut credit, mut tickets) = waiting();
        wake(&mut credit, &mut tickets);
        assert_eq!([credit.next(), credit.next(), credit.next()], [Some(1), Some(2), Some(3)]);
        assert_eq!(credit.next(), None);
    }

    #[test]
    fn who_took_the_credit_waits_behind_those_that_got_none() {
        let (mut credit, mut tickets) = waiting();
        for expected in [1, 2, 3, 1, 2] {
            wake(&mut credit, &mut tickets);
            assert_eq!(credit.next(), Some(expected));
            credit.wrote(expected, &mut tickets[expected as usize], 1200, true);
            // The next one finds that nothing is left, and so the third is not notified in vain.
            let next = credit.next().unwrap();
            credit.wrote(next, &mut tickets[next as usize], 0, true);
            assert_eq!(credit.next(), None);
        }
    }

    #[test]
    fn who_has_nothing_more_to_write_gives_way() {
        let (mut credit, mut tickets) = waiting();
        wake(&mut credit, &mut tickets);
        assert_eq!(credit.next(), Some(1));
        credit.wrote(1, &mut tickets[1], 500, false);
        assert_eq!(credit.next(), Some(2));
        assert_eq!(tickets[1], 0);
    }

    #[test]
    fn the_end_of_a_stream_that_found_no_credit_lets_the_others_try() {
        let (mut credit, mut tickets) = waiting();
        wake(&mut credit, &mut tickets);
        assert_eq!(credit.next(), Some(1));
        credit.wrote(1, &mut tickets[1], 0, true);
        assert_eq!(credit.next(), None);
        credit.remove(tickets[1]);
        assert_eq!(credit.next(), Some(2));
    }

    #[test]
    fn a_stream_that_is_written_to_before_it_is_reported_writable_is_not_reported() {
        let (mut credit, mut tickets) = waiting();
        wake(&mut credit, &mut tickets);
        credit.wrote(1, &mut tickets[1], 100, true);
        assert_eq!([credit.next(), credit.next(), credit.next()], [Some(2), Some(3), None]);
    }
}
