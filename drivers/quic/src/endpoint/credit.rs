//! Which of the streams of a connection may write next: the one that has waited longest. quinn-proto
//! wakes those that wait for the same credit in the opposite order, so that one that is always written
//! to would get all of it.

use std::collections::BTreeMap;

/// Where a stream stands in the queue of those that wait to be written to; lower ones are older. 0: it
/// does not wait.
pub(super) type Place = u64;

#[derive(Debug, Default)]
pub(super) struct Credit {
    /// Streams that may be written to again, of which that was not told yet.
    ready: BTreeMap<Place, u64>,
    last: Place,
    /// The stream that was told last, until it writes.
    told: Option<u64>,
    /// Whether that one found that there is none: the others need not try.
    is_spent: bool,
}

impl Credit {
    /// There may be credit again.
    pub(super) const fn renew(&mut self) {
        self.is_spent = false;
    }

    /// A stream may be written to again.
    pub(super) fn ready(&mut self, number: u64, place: &mut Place) {
        self.renew();
        if *place == 0 {
            *place = self.new_place();
        }
        self.ready.insert(*place, number);
    }

    /// The next stream to be told so.
    pub(super) fn next(&mut self) -> Option<u64> {
        if self.is_spent {
            return None;
        }
        self.told = self.ready.pop_first().map(|(_, number)| number);
        self.told
    }

    /// A stream was written to: it took so many bytes, and `is_blocked` if it takes no more.
    pub(super) fn wrote(&mut self, number: u64, place: &mut Place, bytes: usize, is_blocked: bool) {
        self.ready.remove(place);
        let was_told = self.told.take_if(|told| *told == number).is_some();
        if !is_blocked {
            *place = 0;
        } else if bytes > 0 || *place == 0 {
            *place = self.new_place();
        } else if was_told {
            // The peer gives the stream credit, so it is the connection that has none.
            self.is_spent = true;
        }
    }

    /// A stream is over, and what it held is free.
    pub(super) fn remove(&mut self, place: Place) {
        self.ready.remove(&place);
        self.renew();
    }

    const fn new_place(&mut self) -> Place {
        self.last += 1;
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams 1 to 3 that have waited in this order.
    fn waiting() -> (Credit, [Place; 4]) {
        let (mut credit, mut places) = (Credit::default(), [0; 4]);
        for number in 1..=3 {
            credit.wrote(number, &mut places[number as usize], 0, true);
        }
        (credit, places)
    }

    fn wake(credit: &mut Credit, places: &mut [Place; 4]) {
        for number in [3, 2, 1] {
            credit.ready(number, &mut places[number as usize]);
        }
    }

    #[test]
    fn who_waited_longest_is_next_in_whatever_order_they_wake() {
        let (mut credit, mut places) = waiting();
        wake(&mut credit, &mut places);
        assert_eq!([credit.next(), credit.next(), credit.next()], [Some(1), Some(2), Some(3)]);
        assert_eq!(credit.next(), None);
    }

    #[test]
    fn who_took_the_credit_waits_behind_those_that_got_none() {
        let (mut credit, mut places) = waiting();
        for expected in [1, 2, 3, 1, 2] {
            wake(&mut credit, &mut places);
            assert_eq!(credit.next(), Some(expected));
            credit.wrote(expected, &mut places[expected as usize], 1200, true);
            // The next one finds that nothing is left, and so the third is not told in vain.
            let next = credit.next().unwrap();
            credit.wrote(next, &mut places[next as usize], 0, true);
            assert_eq!(credit.next(), None);
        }
    }

    #[test]
    fn who_has_nothing_more_to_write_gives_way() {
        let (mut credit, mut places) = waiting();
        wake(&mut credit, &mut places);
        assert_eq!(credit.next(), Some(1));
        credit.wrote(1, &mut places[1], 500, false);
        assert_eq!(credit.next(), Some(2));
        assert_eq!(places[1], 0);
    }

    #[test]
    fn the_end_of_a_stream_that_found_no_credit_lets_the_others_try() {
        let (mut credit, mut places) = waiting();
        wake(&mut credit, &mut places);
        assert_eq!(credit.next(), Some(1));
        credit.wrote(1, &mut places[1], 0, true);
        assert_eq!(credit.next(), None);
        credit.remove(places[1]);
        assert_eq!(credit.next(), Some(2));
    }

    #[test]
    fn a_stream_that_is_written_to_before_it_is_told_is_not_told() {
        let (mut credit, mut places) = waiting();
        wake(&mut credit, &mut places);
        credit.wrote(1, &mut places[1], 100, true);
        assert_eq!([credit.next(), credit.next(), credit.next()], [Some(2), Some(3), None]);
    }
}
