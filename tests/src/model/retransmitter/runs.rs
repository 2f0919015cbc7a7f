//! Messages that were stored one behind the other.

use gapless_core::Session;

use super::Held;

/// Consecutive messages of one session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run {
    pub(super) session: Session,
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Run {
    pub(super) fn count(&self) -> u64 {
        self.last - self.first + 1
    }

    pub(super) fn is_followed_by(&self, next: &Self) -> bool {
        self.session == next.session && self.last.checked_add(1) == Some(next.first)
    }

    /// The part that lies inside another run.
    pub(super) fn inside(&self, other: &Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (self.session == other.session && first <= last).then_some(Self { first, last, ..*self })
    }

    /// The parts that lie outside another run, in ascending order.
    pub(super) fn outside(&self, other: &Self) -> impl Iterator<Item = Self> + use<> {
        let (before, behind) = match self.inside(other) {
            None => (Some(*self), None),
            Some(inside) => {
                let before =
                    (self.first < inside.first).then(|| Self { last: inside.first - 1, ..*self });
                let behind =
                    (inside.last < self.last).then(|| Self { first: inside.last + 1, ..*self });
                (before, behind)
            }
        };
        before.into_iter().chain(behind)
    }

    /// The parts that are held, in ascending order.
    pub(super) fn held(self, held: &Held) -> impl Iterator<Item = Self> + use<'_> {
        let parts = held.of(self.session).within(self.first, self.last);
        parts.map(move |(first, last)| Self { first, last, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_distinguished_from_what_lies_in_another() {
        let run = |first, last| Run { session: Session::new([0; 10]), first, last };
        assert_eq!(run(3, 9).inside(&run(5, 6)), Some(run(5, 6)));
        assert_eq!(run(3, 9).inside(&run(10, 12)), None);
        assert!(run(3, 9).outside(&run(5, 6)).eq([run(3, 4), run(7, 9)]));
        assert!(run(3, 9).outside(&run(0, 12)).eq([]));
        assert!(run(3, 9).outside(&run(10, 12)).eq([run(3, 9)]));
        assert!(run(3, 4).is_followed_by(&run(5, 9)) && !run(3, 5).is_followed_by(&run(5, 9)));
    }
}
