//! Claims that one datagram alone does not prove: a first number, a far jump, an end, another session.
//!
//! Such a claim is a candidate until enough consistent packets stand for it. A packet that
//! contradicts it takes one of them away, and at none takes its place (a majority vote), so forged
//! packets between honest ones win nothing.

use super::event::LineId;
use super::line::bit;
use super::server::Span;
use super::store::List;
use crate::wire::mold::Kind;
use crate::{Duration, Instant};

/// A claim, and what stands for it.
#[derive(Debug)]
pub(super) struct Candidate {
    /// From the lowest first number of its packets to the highest number that they spoke of, which may be one less.
    pub(super) span: Span,
    /// Its packets so far, in the order of their coming.
    pub(super) pieces: List,
    /// Consistent packets, less those that contradicted.
    votes: u8,
    /// When its first packet came, or the old place last moved.
    pub(super) since: Instant,
    /// A server was asked about it.
    pub(super) probed: bool,
    /// A configured server answered for it.
    confirmed: bool,
}

/// A packet's vote on a candidate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Vote {
    /// It stands for it.
    For,
    /// It does not belong to it.
    Against,
    /// It has taken its place.
    Replaced,
}

impl Candidate {
    /// A claim that the numbers of a span exist, or that the last of it is a session's, for which nothing stands yet.
    pub(super) fn new(now: Instant, span: Span) -> Self {
        let pieces = List::default();
        Self { span, pieces, votes: 0, since: now, probed: false, confirmed: false }
    }

    /// Lets a packet of this span vote, which is empty in heartbeats and ends. A packet that begins below `lowest`
    /// is no part of the claim.
    ///
    /// After [`Vote::Replaced`] the caller drops the pieces that there were before.
    pub(super) fn vote(&mut self, now: Instant, span: Span, lowest: u64, max_jump: u64) -> Vote {
        let Span { session, first, last } = &mut self.span;
        let near = span.last.abs_diff(*last) <= max_jump && span.first >= lowest;
        if span.session == *session && near {
            self.votes = self.votes.saturating_add(1);
            *first = span.first.min(*first);
            *last = span.last.max(*last);
            return Vote::For;
        }
        if self.contradict() {
            return Vote::Against;
        }
        let pieces = self.pieces;
        *self = Self { pieces, votes: 1, ..Self::new(now, span) };
        Vote::Replaced
    }

    /// A packet contradicts it. Returns whether anything stands for it still.
    pub(super) const fn contradict(&mut self) -> bool {
        self.votes = self.votes.saturating_sub(1);
        self.votes > 0
    }

    /// A configured server answered for a range: that confirms it if they overlap.
    pub(super) fn confirm(&mut self, span: Span) {
        // A heartbeat's first number is past the highest that it speaks of.
        let first = self.span.first.min(self.span.last);
        self.confirmed |= span.overlaps(&Span { first, ..self.span });
    }

    /// Returns true if it is believed: by a server's answer, or by its packets, when the old place has been
    /// quiet. No `quiet` where there is no old place.
    pub(super) fn is_believed(&self, now: Instant, after: u8, quiet: Option<Duration>) -> bool {
        self.confirmed || self.deadline(after, quiet).is_some_and(|deadline| deadline <= now)
    }

    /// When it will be believed if nothing happens before.
    pub(super) fn deadline(&self, after: u8, quiet: Option<Duration>) -> Option<Instant> {
        (self.votes >= after).then(|| self.since + quiet.unwrap_or_default())
    }
}

/// The claim of heartbeats and ends that there is more than data proves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// The place from which the feed goes on if the claim is false: the number that enough datagrams of data reached.
    pub(super) place: u64,
    /// When it was made, or last reached further.
    made: Instant,
    /// When a packet last contradicted it.
    pub(super) contradicted: Instant,
    /// The packets that contradicted it, less those that supported it; the highest number that they
    /// claimed; and the lines that contradicted it last.
    votes: u8,
    pub(super) agreed: u64,
    pub(super) lines: u32,
}

impl Claim {
    pub(super) const fn new(now: Instant, place: u64) -> Self {
        let contradicted = Instant::ZERO;
        Self { place, made: now, contradicted, votes: 0, agreed: 0, lines: 0 }
    }

    /// Takes note of a packet that claims as much, or `further`. It takes a vote off and no more: forged
    /// packets between honest ones win nothing.
    pub(super) fn support(&mut self, now: Instant, further: bool, line: LineId) {
        if further {
            self.made = now;
        }
        self.votes = self.votes.saturating_sub(1);
        self.lines &= !bit(line);
        if self.votes == 0 {
            self.agreed = 0;
        }
    }

    /// Takes note of a packet that claims less. Copies of what came before the claim say nothing, and what
    /// may have been on its way since before it, for up to `delay`, only that the feed goes on.
    pub(super) fn contradict(
        &mut self,
        now: Instant,
        kind: Kind,
        last: u64,
        line: LineId,
        delay: Duration,
    ) {
        let goes_on = if kind == Kind::Data { last > self.place } else { last >= self.place };
        if !goes_on {
            return;
        }
        self.contradicted = now;
        if now.since(self.made) > delay {
            self.votes = self.votes.saturating_add(1);
            self.agreed = self.agreed.max(last);
            self.lines |= bit(line);
        }
    }

    /// Returns true if enough packets contradict it, some of each line that is `up`.
    pub(super) fn is_contradicted(&self, up: u32, enough: u8) -> bool {
        self.votes >= enough && up != 0 && up & !self.lines == 0
    }
}

/// How far at least so many datagrams say that the feed got.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Quorum {
    /// The highest numbers that datagrams reached, the highest first.
    highest: [u64; Self::MOST],
}

impl Quorum {
    /// The most datagrams that may be asked for.
    pub(super) const MOST: usize = 8;

    pub(super) const fn new(reached: u64) -> Self {
        Self { highest: [reached; Self::MOST] }
    }

    /// A datagram reached `last`.
    #[inline]
    pub(super) fn reach(&mut self, last: u64) {
        let position = self.highest.iter().position(|highest| *highest <= last);
        if let Some(position) = position {
            self.highest[position..].rotate_right(1);
            self.highest[position] = last;
        }
    }

    /// Nothing past `last` counts as reached any more.
    pub(super) fn lower(&mut self, last: u64) {
        self.highest = self.highest.map(|highest| highest.min(last));
    }

    /// Datagrams that reached past `last` count as having reached no further than `reached`.
    pub(super) fn forget(&mut self, last: u64, reached: u64) {
        self.highest = self.highest.map(|highest| if highest > last { reached } else { highest });
        self.highest.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// The number that `datagrams` of them reached or passed: 1 to [`Quorum::MOST`].
    pub(super) fn by(&self, datagrams: u8) -> u64 {
        let index = usize::from(datagrams).clamp(1, Self::MOST) - 1;
        self.highest[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Session;

    const QUIET: Option<Duration> = Some(Duration::from_millis(50));

    fn ours(first: u64, last: u64) -> Span {
        Span { session: Session::new(*b"OURS      "), first, last }
    }

    fn forged(first: u64, last: u64) -> Span {
        Span { session: Session::new(*b"FORGED    "), first, last }
    }

    /// Of one packet.
    fn candidate(span: Span) -> Candidate {
        let mut candidate = Candidate::new(Instant::ZERO, span);
        assert_eq!(candidate.vote(Instant::ZERO, span, 0, 0), Vote::For);
        candidate
    }

    #[test]
    fn three_consistent_packets_and_quiet_make_belief() {
        let mut candidate = candidate(ours(100, 101));
        for last in [102, 103] {
            assert!(!candidate.is_believed(Instant::from_millis(60), 3, QUIET));
            assert_eq!(candidate.vote(Instant::ZERO, ours(last, last), 100, 1000), Vote::For);
        }
        assert_eq!(candidate.deadline(3, QUIET), Some(Instant::from_millis(50)));
        assert!(candidate.is_believed(Instant::from_millis(50), 3, QUIET));
        assert!(candidate.is_believed(Instant::ZERO, 3, None));
    }

    #[test]
    fn a_forged_first_packet_gives_way_to_the_honest_ones() {
        let mut candidate = candidate(forged(1 << 60, 1 << 60));
        assert_eq!(candidate.vote(Instant::ZERO, ours(5, 5), 0, 1000), Vote::Replaced);
        assert_eq!(candidate.vote(Instant::ZERO, ours(6, 6), 0, 1000), Vote::For);
        assert_eq!(candidate.vote(Instant::ZERO, forged(7, 7), 0, 1000), Vote::Against);
        assert_eq!(candidate.span, ours(5, 6));
    }

    #[test]
    fn an_earlier_packet_stands_for_it_unless_it_begins_below_the_lowest() {
        let mut candidate = candidate(ours(100, 101));
        assert_eq!(candidate.vote(Instant::ZERO, ours(98, 99), 98, 1000), Vote::For);
        assert_eq!(candidate.span, ours(98, 101));
        assert_eq!(candidate.vote(Instant::ZERO, ours(97, 97), 98, 1000), Vote::Against);
        assert_eq!(candidate.span, ours(98, 101));
    }

    #[test]
    fn a_quorum_reached_a_number_when_so_many_datagrams_did() {
        let mut quorum = Quorum::new(10);
        quorum.reach(1000);
        quorum.reach(12);
        assert_eq!((quorum.by(1), quorum.by(2), quorum.by(3)), (1000, 12, 10));
        quorum.reach(13);
        quorum.reach(11);
        assert_eq!(quorum.by(3), 12);
    }

    #[test]
    fn ends_that_contradict_each_other_are_not_believed() {
        let mut ending = candidate(ours(50, 50));
        let vote =
            |ending: &mut Candidate, last| ending.vote(Instant::ZERO, ours(last, last), 0, 0);
        vote(&mut ending, 60);
        assert_eq!(ending.span.last, 60);
        vote(&mut ending, 60);
        vote(&mut ending, 50);
        assert_eq!(ending.deadline(3, None), None);
        vote(&mut ending, 60);
        vote(&mut ending, 60);
        assert_eq!(ending.deadline(3, None), Some(Instant::ZERO));
    }
}
