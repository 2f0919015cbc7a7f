//! The state of each line: whether it is up, how far it got, how far it is behind the others.

use alloc::vec::Vec;

use super::config::Config;
use super::event::{Command, LineId};
use super::opening::Agreement;
use super::stats::LineStats;
use crate::storage::charge::{Measure, charged};
use crate::time::{earliest, nanos};
use crate::{Duration, Instant, Session};

/// The most packets that [`Config::reorder_packets`](super::Config::reorder_packets) may ask for.
pub(super) const MAX_REORDER: usize = 64;
/// Lag is sampled no more often than this.
const SAMPLE_EVERY: Duration = Duration::from_millis(1);
/// So many packets in a row below what a line had sent make a regression.
const REGRESSION: u16 = 16;
/// A line that reordered nothing in so many packets, and for so long, is not expected to.
const ORDERLY_PACKETS: u64 = 65_536;
const ORDERLY_TIME: Duration = Duration::from_secs(10);
/// So many messages may be lost between packets of other content that go on behind each other.
const SKIPPED: u64 = 256;

/// One copy of the feed.
#[derive(Default, Debug)]
pub(super) struct Line {
    present: bool,
    /// Its counters, and how far it is behind.
    pub(super) stats: LineStats,
    /// When its last packet came, by the core's time.
    pub(super) last_packet_at: Instant,
    /// The highest number that it brought or announced.
    high: u64,
    /// Since how many of its packets, and when, it reordered nothing.
    orderly_since: (u64, Instant),
    marks: Marks,
    /// Packets in a row below `high` that brought nothing new, since when, and what was settled all the
    /// while.
    below: u16,
    below_since: Instant,
    below_settled: u64,
    /// A regression waits to be emitted, or was.
    regression: Regression,
    /// Its content contradicts what came before.
    other_content: Option<OtherContent>,
}

/// The highest number after each of a line's last packets, of any kind, since a gap opened: a ring. The packet
/// that opened it is the first.
#[derive(Debug)]
struct Marks {
    highest: [u64; MAX_REORDER],
    next: usize,
}

impl Default for Marks {
    fn default() -> Self {
        Self { highest: [0; MAX_REORDER], next: 0 }
    }
}

/// A feed of other content in the same session, until it is known for a regression, or refuted by the old
/// feed that goes on.
#[derive(Clone, Copy, Debug)]
struct OtherContent {
    /// When its first packet came.
    since: Instant,
    /// The number that the old feed had come to then: everything up to here was settled.
    highest: u64,
    /// The numbers of its last packet.
    latest: (u64, u64),
    /// The number that would follow.
    next: u64,
    /// Its packets so far.
    packets: u8,
}

/// A packet as it concerns a sender that may have started over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Content {
    /// It may be taken.
    Plain,
    /// It comes with a regression that is to be emitted first.
    Regressed,
    /// It belongs to a feed of other content that goes past all that the line had sent: it is dropped until
    /// one of the two is refuted.
    Suspect,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Regression {
    #[default]
    None,
    /// It waits to be emitted: the highest number there was, and the one seen now.
    Pending(u64, u64),
    Emitted,
}

impl Line {
    /// Notes how far a packet says that the feed got, everything up to `settled` being there before it. A
    /// regression takes many packets in a row that lie below, over `quiet`, while nobody brings anything new.
    #[inline]
    pub(super) fn reach(&mut self, now: Instant, last: u64, settled: u64, quiet: Duration) {
        if last >= self.high {
            self.high = last;
            self.below = 0;
            if self.regression == Regression::Emitted {
                self.regression = Regression::None;
            }
        } else {
            self.fall_back(now, last, settled, quiet);
        }
    }

    #[cold]
    fn fall_back(&mut self, now: Instant, last: u64, settled: u64, quiet: Duration) {
        self.restart_order(now);
        // One forged number ahead makes no regression of a feed that goes on below it.
        if last >= settled {
            self.below = 0;
            return;
        }
        if self.below == 0 || self.below_settled != settled {
            self.below = 0;
            self.below_since = now;
            self.below_settled = settled;
        }
        self.below = self.below.saturating_add(1);
        if self.below >= REGRESSION && now.since(self.below_since) >= quiet {
            self.regress(self.high, last);
        }
    }

    /// It begins anew to show that it reorders nothing: it did, or came up.
    const fn restart_order(&mut self, now: Instant) {
        self.orderly_since = (self.stats.packets, now);
    }

    /// Returns true if it is not expected to reorder anything. A copy that comes after later packets counts as
    /// reordered: what an answer brought first does too.
    fn is_orderly(&self, now: Instant) -> bool {
        let (packets, since) = self.orderly_since;
        self.stats.packets - packets >= ORDERLY_PACKETS && now.since(since) >= ORDERLY_TIME
    }

    /// Takes note of a packet of the numbers `first..=last`, where everything up to `settled` is there. A
    /// regression takes `believe_after` packets that have other content or go on behind those that do, and no
    /// packet of the old feed for `quiet` after the first of them.
    pub(super) fn note_content(
        &mut self,
        now: Instant,
        (first, last): (u64, u64),
        settled: u64,
        agreement: Agreement,
        (believe_after, quiet): (u8, Duration),
    ) -> Content {
        if self.regression != Regression::None {
            return Content::Plain;
        }
        let is_other = matches!(agreement, Agreement::Contradicts(_)) && first <= settled;
        if is_other && self.other_content.is_none() {
            let (highest, latest) = (settled, (0, 0));
            let begun = OtherContent { since: now, highest, latest, next: last, packets: 0 };
            self.other_content = Some(begun);
        }
        let Some(of) = &mut self.other_content else { return Content::Plain };
        let content = if last > of.highest { Content::Suspect } else { Content::Plain };
        if !is_other {
            // Feeds of other content may have messages alike.
            if agreement == Agreement::Agrees && last <= of.highest {
                of.next = if first == of.next { last.saturating_add(1) } else { of.next };
                return Content::Plain;
            }
            // A copy of messages says nothing new.
            if of.latest == (first, last) && first <= last {
                return content;
            }
            // A few forged packets do not make theirs what the old feed sends next.
            let is_old = first == of.highest.saturating_add(1) && of.packets < believe_after;
            let goes_on = first == of.next && !is_old;
            let skips = first > of.next && first - of.next <= SKIPPED && last <= of.highest;
            if !goes_on && !skips {
                if first > of.highest || last > of.highest {
                    self.other_content = None;
                }
                return Content::Plain;
            }
        }
        of.packets = of.packets.saturating_add(1);
        of.next = last.saturating_add(1);
        of.latest = (first, last);
        if of.packets < believe_after || now.since(of.since) < quiet {
            return content;
        }
        let (highest, seen) = (self.high.max(of.highest), first.min(of.highest));
        self.other_content = None;
        self.regress(highest, seen);
        Content::Regressed
    }

    /// The regression to emit, once: the highest number there was, and the one seen now.
    pub(super) fn take_regression(&mut self) -> Option<(u64, u64)> {
        let Regression::Pending(highest, seen) = self.regression else { return None };
        self.regression = Regression::Emitted;
        Some((highest, seen))
    }

    /// Its sender has started over at `seen`, behind `highest`.
    pub(super) fn regress(&mut self, highest: u64, seen: u64) {
        if self.regression == Regression::None {
            self.regression = Regression::Pending(highest, seen);
        }
    }

    /// Returns true if its sender is known to have started over.
    pub(super) fn is_regressed(&self) -> bool {
        self.regression != Regression::None
    }

    /// Returns true if [`Line::take_regression`] has something.
    pub(super) fn has_regression(&self) -> bool {
        matches!(self.regression, Regression::Pending(..))
    }

    /// Forgets what it sent.
    fn restart(&mut self) {
        self.high = 0;
        self.below = 0;
        self.regression = Regression::None;
        self.other_content = None;
        self.marks.highest = [0; MAX_REORDER];
    }

    /// Its announcements past `last` are not believed any more.
    fn withdraw(&mut self, last: u64) {
        if self.high > last {
            self.high = last;
            self.below = 0;
            self.regression = Regression::None;
        }
        self.marks.highest = self.marks.highest.map(|mark| mark.min(last));
    }

    /// Notes a packet while gaps are open.
    fn push_mark(&mut self, last: u64, reorder_packets: usize) {
        let Marks { highest, next } = &mut self.marks;
        let before = (*next + reorder_packets - 1) % reorder_packets;
        highest[*next] = highest[before].max(last);
        *next = (*next + 1) % reorder_packets;
    }

    /// The number that `reorder_packets` of its packets reached.
    fn passed(&self) -> u64 {
        self.marks.highest[self.marks.next]
    }
}

/// All lines that there can be, by their numbers.
#[derive(Default, Debug)]
pub(super) struct Lines {
    /// The configuration, without its lines and servers.
    rules: Config,
    /// Its `line_timeout` in nanoseconds: recorders ask for the deadline at every packet.
    timeout: u64,
    lines: Vec<Line>,
    /// Bits of the lines that exist and are up.
    pub(super) up: u32,
    /// Bits of the lines to be emitted as up, and as down.
    pending_up: u32,
    pending_down: u32,
    /// A number brought first by one line, and the bits of the lines that have not brought it yet.
    sample: u64,
    sample_at: Instant,
    sample_from: u8,
    /// The next sample is not taken before.
    sample_due: Instant,
    awaited: u32,
}

charged!(Line = 752);

impl Lines {
    const COUNT: usize = LineId::MAX.0 as usize + 1;
    /// The bytes of the table.
    pub(super) const fn table_bytes(measure: Measure) -> usize {
        measure.of::<Line>(Self::COUNT)
    }

    pub(super) fn new(config: &Config) -> Self {
        let mut all = Vec::with_capacity(Self::COUNT);
        all.resize_with(Self::COUNT, Line::default);
        let (rules, timeout) = (config.rules(), nanos(config.line_timeout));
        let mut lines = Self { rules, timeout, lines: all, ..Self::default() };
        config.lines.iter().for_each(|&line| lines.add(Instant::ZERO, line));
        lines
    }

    /// The line, if it exists.
    #[inline]
    pub(super) fn get(&self, id: LineId) -> Option<&Line> {
        self.lines.get(usize::from(id.0)).filter(|line| line.present)
    }

    /// The line, if it exists.
    #[inline]
    pub(super) fn get_mut(&mut self, id: LineId) -> Option<&mut Line> {
        self.lines.get_mut(usize::from(id.0)).filter(|line| line.present)
    }

    /// The lines that exist.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.present)
    }

    /// The lines that exist.
    fn iter_mut(&mut self) -> impl Iterator<Item = (LineId, &mut Line)> {
        let lines = self.lines.iter_mut().zip(0..).filter(|(line, _)| line.present);
        lines.map(|(line, number)| (LineId(number), line))
    }

    pub(super) fn add(&mut self, now: Instant, id: LineId) {
        let Some(line) = self.lines.get_mut(usize::from(id.0)) else { return };
        if !line.present {
            *line = Line { present: true, last_packet_at: now, ..Line::default() };
        }
    }

    pub(super) fn remove(&mut self, id: LineId) {
        if let Some(line) = self.lines.get_mut(usize::from(id.0)) {
            *line = Line::default();
        }
        self.clear(bit(id));
    }

    /// Takes lines out of all sets of lines.
    fn clear(&mut self, lines: u32) {
        let Self { up, awaited, pending_up, pending_down, .. } = self;
        for set in [up, awaited, pending_up, pending_down] {
            *set &= !lines;
        }
    }

    /// The next command about a line: one that went up or down, or whose sender started over in the session.
    pub(super) fn poll(&mut self, session: Session) -> Option<Command> {
        let lowest = |lines: &mut u32| {
            let line = (*lines != 0).then(|| LineId(lines.trailing_zeros() as u8))?;
            *lines &= !bit(line);
            Some(line)
        };
        let up = lowest(&mut self.pending_up).map(Command::LineUp);
        let change = up.or_else(|| lowest(&mut self.pending_down).map(Command::LineDown));
        let mut lines = self.iter_mut();
        change.or_else(|| {
            lines.find_map(|(line, regressed)| {
                let (highest, seen) = regressed.take_regression()?;
                Some(Command::SequenceRegressed { line, session, highest, seen })
            })
        })
    }

    /// Returns true if the content of a line contradicts what came before.
    pub(super) fn any_contradicts(&self) -> bool {
        self.iter_up().any(|line| line.other_content.is_some())
    }

    /// Forgets what lines sent: another session begins.
    pub(super) fn restart(&mut self) {
        self.iter_mut().for_each(|(_, line)| line.restart());
    }

    /// A gap opened where there was none: what was passed counts from here.
    pub(super) fn start_marks(&mut self) {
        self.iter_mut().for_each(|(_, line)| line.marks.highest = [0; MAX_REORDER]);
    }

    /// A packet of the current session reached `last`: [`Line::reach`], and a mark for the reordering, which
    /// the fast path does without.
    pub(super) fn note_reach(&mut self, now: Instant, id: LineId, last: u64, settled: u64) {
        let Config { quiet, reorder_packets, .. } = self.rules;
        if let Some(line) = self.get_mut(id) {
            line.reach(now, last, settled, quiet);
            line.push_mark(last, usize::from(reorder_packets));
        }
    }

    /// Announcements past `last` are not believed any more.
    pub(super) fn withdraw(&mut self, last: u64) {
        self.iter_mut().for_each(|(_, line)| line.withdraw(last));
    }

    /// A packet of a received session came by a line.
    pub(super) fn note_packet(&mut self, now: Instant, id: LineId) {
        let Some(line) = self.get_mut(id) else { return };
        line.stats.packets += 1;
        line.last_packet_at = now;
        if !line.stats.up {
            line.stats.up = true;
            line.restart_order(now);
            self.up |= bit(id);
            // Down and up again before either was emitted: nothing is left to emit.
            self.pending_up |= bit(id) & !self.pending_down;
            self.pending_down &= !bit(id);
        }
    }

    /// Takes lines down that were silent for `line_timeout`.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.deadline().is_none_or(|at| now < at) {
            return;
        }
        let (mut down, timeout) = (0, self.rules.line_timeout);
        for (id, line) in self.iter_mut() {
            if line.stats.up && line.last_packet_at + timeout <= now {
                line.stats.up = false;
                line.other_content = None;
                down |= bit(id);
            }
        }
        self.clear(down);
        self.pending_down |= down;
    }

    /// When the next line goes down if it stays silent.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let (mut up, mut last) = (self.up, None);
        // Without bits that are left it is 32: no line.
        while let Some(line) = self.lines.get(up.trailing_zeros() as usize) {
            last = earliest(last, Some(line.last_packet_at));
            up &= up - 1;
        }
        last.map(|last| Instant::from_nanos(last.as_nanos().saturating_add(self.timeout)))
    }

    /// When the last packet of any line came; the time of a line's adding where it brought none.
    pub(super) fn last_packet_at(&self) -> Option<Instant> {
        self.iter().map(|line| line.last_packet_at).max()
    }

    fn iter_up(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.stats.up)
    }

    /// The number that every line that is up passed by `reorder_packets`; 0 when none is up. Read by
    /// `Repair::note_passed` (when to ask) and `Receiver::stuck` (when to lose).
    pub(super) fn passed(&self) -> u64 {
        self.iter_up().map(Line::passed).min().unwrap_or(0)
    }

    /// Returns true if one line is up, and it is not expected to reorder anything.
    pub(super) fn are_orderly(&self, now: Instant) -> bool {
        let mut up = self.iter_up();
        up.next().is_some_and(|line| line.is_orderly(now)) && up.next().is_none()
    }

    /// The largest smoothed lag of a line that is up.
    pub(super) fn lag(&self) -> Duration {
        self.iter_up().map(|line| line.stats.lag).max().unwrap_or_default()
    }

    /// Returns true if a first delivery by this line is to be looked at for the lag: a sample is due and
    /// every line has answered for the last one, or this one owes it.
    #[inline]
    pub(super) fn wants_sample(&self, id: LineId, arrival: Instant) -> bool {
        match self.awaited {
            0 => arrival >= self.sample_due,
            awaited => awaited & bit(id) != 0,
        }
    }

    /// A line brought `last` first: from now on the others are behind it.
    #[cold]
    pub(super) fn start_sample(&mut self, id: LineId, last: u64, arrival: Instant) {
        // Going past the sampled number without having brought it: it was lost on this line.
        self.awaited &= !bit(id);
        if self.awaited == 0 && arrival >= self.sample_due {
            self.sample_due = arrival + SAMPLE_EVERY;
            self.sample = last;
            self.sample_at = arrival;
            self.sample_from = id.0;
            self.awaited = self.up & !bit(id);
        }
    }

    /// A line brought copies `first..=last`.
    #[cold]
    pub(super) fn take_sample(&mut self, id: LineId, first: u64, last: u64, arrival: Instant) {
        if self.awaited & bit(id) == 0 || last < self.sample {
            return;
        }
        self.awaited &= !bit(id);
        if first <= self.sample {
            let lag = arrival.since(self.sample_at);
            if let Some(Line { stats, .. }) = self.get_mut(id) {
                stats.lag = smooth(stats.lag, lag);
                stats.max_lag = stats.max_lag.max(lag);
            }
            if let Some(Line { stats, .. }) = self.get_mut(LineId(self.sample_from)) {
                stats.lag = smooth(stats.lag, Duration::ZERO);
            }
        }
    }
}

/// The bit of a line in a set of lines.
#[inline]
pub(super) const fn bit(id: LineId) -> u32 {
    1u32.wrapping_shl(id.0 as u32)
}

/// Moves an eighth of the way to the sample.
fn smooth(smoothed: Duration, sample: Duration) -> Duration {
    smoothed - smoothed / 8 + sample / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LineId = LineId(0);
    const B: LineId = LineId(1);

    fn two_lines() -> Lines {
        let config = Config { lines: alloc::vec![A, B], ..Config::default() };
        let mut lines = Lines::new(&config);
        for id in [A, B] {
            lines.note_packet(Instant::ZERO, id);
        }
        lines
    }

    #[test]
    fn a_gap_is_passed_when_so_many_packets_reached_beyond_it() {
        let mut lines = two_lines();
        for last in [5, 6, 7] {
            lines.get_mut(A).unwrap().push_mark(last, 3);
        }
        assert_eq!(lines.get(A).unwrap().passed(), 5);
        assert_eq!(lines.passed(), 0, "line B brought nothing yet");
        for last in [9, 4, 4] {
            lines.get_mut(B).unwrap().push_mark(last, 3);
        }
        assert_eq!(lines.passed(), 5);
    }

    #[test]
    fn a_silent_line_goes_down_and_no_longer_holds_the_others_back() {
        let mut lines = two_lines();
        for last in [5, 6, 7] {
            lines.get_mut(A).unwrap().push_mark(last, 3);
        }
        lines.note_packet(Instant::from_millis(2000), A);
        lines.expire(Instant::from_millis(3000));
        assert_eq!((lines.up, lines.pending_down), (bit(A), bit(B)));
        assert_eq!(lines.passed(), 5);
        assert_eq!(lines.deadline(), Some(Instant::from_millis(5000)));
    }

    #[test]
    fn lag_is_measured_from_the_line_that_was_first() {
        let mut lines = two_lines();
        assert!(lines.wants_sample(A, Instant::from_millis(100)));
        lines.start_sample(A, 10, Instant::from_millis(100));
        assert!(!lines.wants_sample(A, Instant::from_millis(100)), "the sample is still open");
        lines.take_sample(B, 8, 12, Instant::from_millis(108));
        assert_eq!(lines.get(B).unwrap().stats.max_lag, Duration::from_millis(8));
        assert_eq!(lines.get(B).unwrap().stats.lag, Duration::from_millis(1));
        assert_eq!(lines.lag(), Duration::from_millis(1));
    }

    #[test]
    fn a_sustained_regression_is_emitted_once_an_episode() {
        let mut lines = two_lines();
        let line = lines.get_mut(A).unwrap();
        let quiet = Duration::from_millis(50);
        line.reach(Instant::ZERO, 1000, 0, quiet);
        for n in 1..40 {
            line.reach(Instant::from_millis(10 * n), n, 1000, quiet);
        }
        assert_eq!(line.take_regression(), Some((1000, 16)));
        line.reach(Instant::from_millis(900), 50, 1000, quiet);
        assert_eq!(line.take_regression(), None);
    }

    #[test]
    fn a_late_copy_now_and_then_is_no_regression() {
        let mut lines = two_lines();
        let line = lines.get_mut(A).unwrap();
        for n in 1..1000 {
            line.reach(Instant::from_millis(10 * n), 100 + n, 100 + n, Duration::from_millis(50));
            line.reach(Instant::from_millis(10 * n), n, 100 + n, Duration::from_millis(50));
        }
        assert_eq!(line.take_regression(), None);
    }
}
