//! How far a session reaches, and by whose word: what data proves, what a quorum of datagrams or a
//! server confirms, and what heartbeats and ends alone claim.
//!
//! ```text
//! settled ........ proved ........ highest_known
//!        data says so     claimed only
//! ```
//!
//! A claim that nothing bears out is withdrawn when the feed contradicts it, and lost when nothing
//! does. Data of too few datagrams is confirmed by the silence of all lines, if it lies near.

use super::candidate::{Candidate, Claim, Quorum};
use super::config::Delivery;
use super::event::LineId;
use super::gaps::MissingRange;
use super::line::{Lines, bit};
use super::server::Span;
use super::space::Space;
use super::store::Store;
use crate::time::earliest;
use crate::wire::mold::Kind;
use crate::{Duration, Instant};

/// How many numbers ahead the silence of all lines confirms what the data of too few datagrams says.
const CONFIRMED_BY_SILENCE: u64 = 1_024;
/// Nothing is settled by silence sooner: a feed that has nothing to say sends heartbeats meanwhile,
/// one a second.
const HEARTBEATS: Duration = Duration::from_secs(3);

/// The evidence for the front of a missing range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Data of enough datagrams, or data and a server.
    Proved,
    /// Data of too few datagrams, and heartbeats or ends that make them enough.
    Supported,
    /// Enough datagrams, all of them heartbeats and ends.
    ClaimedOnly,
    /// Data of too few datagrams, but so near that silence confirms it.
    Near,
    /// Too few datagrams.
    Unconfirmed,
}

/// The evidence for the numbers of a session, and for its end.
#[derive(Default, Debug)]
pub(super) struct Evidence {
    /// How far datagrams of any kind say that the feed got.
    all: Quorum,
    /// The same without ends, by which it is seen that the feed moves on below a claimed end.
    moving: Quorum,
    /// The same without heartbeats: what enough datagrams brought.
    data: Quorum,
    /// The highest number of data that took the slow path: see [`Space::proved`].
    proved: u64,
    /// The highest number that a configured server answered for, or that the embedding program spoke of.
    confirmed: u64,
    /// The claim of heartbeats and ends alone, if there is one.
    claim: Option<Claim>,
    /// Such a claim that was lost: the number before it, and its last.
    claims_lost: (u64, u64),
    /// The withdrawn numbers that wait to be emitted: first and last.
    pub(super) withdrawn: Option<(u64, u64)>,
    /// Nothing is emitted as stalled before.
    stalled_until: Instant,
    /// The last number of a session that has ended.
    pub(super) end: Option<u64>,
    ending: Option<Candidate>,
    /// An end below delivered data, with nothing past it since, and the line of its latest packet: see
    /// `Space::overtaken_deadline`.
    overtaken: Option<(Candidate, LineId)>,
}

impl Evidence {
    /// Of a session of which everything up to `settled` is not wanted.
    pub(super) fn new(settled: u64) -> Self {
        let [all, moving, data] = [Quorum::new(settled); 3];
        Self { all, moving, data, proved: settled, confirmed: settled, ..Self::default() }
    }

    /// Returns true if no end is believed or claimed.
    pub(super) const fn has_no_end(&self) -> bool {
        self.end.is_none() && self.ending.is_none() && self.overtaken.is_none()
    }

    /// A line is there no longer: another one of its number has contradicted nothing yet.
    pub(super) fn forget_line(&mut self, line: LineId) {
        if let Some(claim) = &mut self.claim {
            claim.lines &= !bit(line);
        }
    }

    /// No datagram counts as having reached further than `reached`.
    pub(super) fn reset_quorum(&mut self, reached: u64) {
        self.all = Quorum::new(reached);
        self.moving = Quorum::new(reached);
    }

    /// A datagram of data reached `last`.
    pub(super) fn reach(&mut self, last: u64) {
        for quorum in [&mut self.all, &mut self.moving, &mut self.data] {
            quorum.reach(last);
        }
    }

    /// A configured server answered for `last`.
    pub(super) fn confirm(&mut self, last: u64) {
        self.confirmed = self.confirmed.max(last);
    }

    /// The embedding program speaks of `last`.
    pub(super) fn assert(&mut self, last: u64) {
        self.proved = self.proved.max(last);
        self.confirm(last);
    }

    /// The position, or where it would be if what heartbeats and ends alone claimed had not been lost.
    fn without_claims(&self, position: u64) -> u64 {
        let (before, last) = self.claims_lost;
        if before < position && position <= last { before } else { position }
    }

    /// The numbers `first..=last`, which heartbeats and ends alone claimed, were lost.
    pub(super) const fn lose_claim(&mut self, first: u64, last: u64) {
        let (before, until) = self.claims_lost;
        self.claims_lost = (if until == first - 1 { before } else { first - 1 }, last);
    }
}

impl Space {
    /// The highest number that data brought, or that the embedding program speaks of.
    pub(super) fn proved(&self) -> u64 {
        self.evidence.proved.max(self.evidence.without_claims(self.settled))
    }

    /// Data brought `last`.
    pub(super) fn prove(&mut self, last: u64) {
        self.evidence.proved = self.proved().max(last);
    }

    /// The number that enough datagrams of any kind reached.
    fn quorum_mark(&self) -> u64 {
        self.evidence.all.by(self.rules.believe_after)
    }

    /// A datagram of a line says that the feed got to `last`. Returns whether the feed moves on by
    /// it: further than enough datagrams said, or enough datagrams of data. A number ahead by the
    /// word of too few of them, as [`Space::highest_known`] may be, or of heartbeats alone, does not hide that.
    pub(super) fn note_reach(&mut self, kind: Kind, last: u64) -> bool {
        let (enough, settled, is_clean) = (self.rules.believe_after, self.settled, self.is_clean());
        let evidence = &mut self.evidence;
        if is_clean {
            evidence.all = Quorum::new(settled);
            // Answers may have settled what a line that is behind them still has to send.
            if evidence.ending.is_none() {
                evidence.moving = Quorum::new(settled);
                evidence.data = Quorum::new(evidence.without_claims(settled));
            }
        }
        evidence.all.reach(last);
        let moves_on = match kind {
            Kind::EndOfSession => return false,
            Kind::Heartbeat => last > evidence.moving.by(enough),
            Kind::Data => last > evidence.data.by(enough),
        };
        evidence.moving.reach(last);
        if kind == Kind::Data {
            evidence.data.reach(last);
        }
        moves_on
    }

    /// A packet contradicts the ends that are claimed or believed, or leaves them standing; `moves_on` says
    /// whether the feed does. Returns how many ends that refuses.
    ///
    /// Data revokes an end, and heartbeats outvote it. Those that speak of nothing that is open, as of
    /// claims that were lost, say nothing against it.
    pub(super) fn contest_ends(
        &mut self,
        now: Instant,
        kind: Kind,
        last: u64,
        moves_on: bool,
    ) -> u64 {
        let settled = self.settled;
        let Evidence { end, ending, overtaken, moving, .. } = &mut self.evidence;
        let moving = moving.by(self.rules.believe_after);
        let mut refused = 0;
        if let Some(claimed) = ending {
            let stands = match kind {
                Kind::Data => last <= claimed.span.last,
                Kind::Heartbeat => last <= claimed.span.last.max(settled) || claimed.contradict(),
                Kind::EndOfSession => true,
            };
            if !stands {
                *ending = None;
                refused += 1;
            } else if moves_on {
                claimed.since = now;
            }
        }
        overtaken.take_if(|(ending, _)| last > ending.span.last);
        let revokes = |end: &mut u64| match kind {
            Kind::Data => last > *end,
            Kind::Heartbeat => moving > settled.max(*end),
            Kind::EndOfSession => false,
        };
        if end.take_if(revokes).is_some() {
            *ending = None;
            refused += 1;
        }
        refused
    }

    /// A packet of a line claims that the session ends with `last`; `overtakes` says that it may be an end
    /// below delivered data. Returns whether it is refused.
    pub(super) fn claim_end(
        &mut self,
        now: Instant,
        last: u64,
        line: LineId,
        overtakes: bool,
    ) -> bool {
        // Numbers ahead by the word of too few datagrams do not keep a session from ending.
        let is_refused = last < self.confirmed_mark();
        let span = Span { session: self.session, first: last, last };
        let claimed = Candidate::new(now, span);
        let Evidence { end, ending, overtaken, .. } = &mut self.evidence;
        if !is_refused {
            ending.get_or_insert(claimed).vote(now, span, 0, 0);
        } else if overtakes && end.is_none() {
            let (ending, of) = overtaken.get_or_insert((claimed, line));
            ending.vote(now, span, 0, 0);
            *of = line;
        }
        is_refused
    }

    /// A packet of a line supports what is claimed beyond the data, or contradicts it, or claims more.
    pub(super) fn note_claim(&mut self, now: Instant, kind: Kind, last: u64, line: LineId) {
        if kind == Kind::Data {
            self.prove(last);
        }
        let proved = self.proved();
        if self.highest_known <= proved.max(self.settled) {
            self.evidence.claim = None;
        }
        let delay = self.rules.max_reorder_delay;
        match &mut self.evidence.claim {
            Some(claim) if last < self.highest_known => {
                claim.contradict(now, kind, last, line, delay)
            }
            Some(claim) => claim.support(now, last > self.highest_known, line),
            None if self.highest_known.max(last) > proved.max(self.settled) => {
                let place = self.delivered_or_quorum().min(proved);
                self.evidence.claim = Some(Claim::new(now, place));
            }
            None => {}
        }
    }

    /// How far the session reaches if what heartbeats and ends alone claim is withdrawn now: because
    /// enough packets contradict it, or because the session is `over` and too few supported it.
    pub(super) fn withdrawal(&self, up: u32, over: bool) -> Option<u64> {
        let enough = self.rules.believe_after;
        let least = self.proved().max(self.settled);
        let contradicted = self.evidence.claim.filter(|claim| claim.is_contradicted(up, enough));
        let to = match contradicted {
            Some(claim) => claim.agreed,
            None if over && self.evidence.end.is_none() => self.quorum_mark(),
            None => return None,
        };
        let to = to.max(least);
        (self.is_active() && to < self.highest_known).then_some(to)
    }

    /// Believes in nothing past `to` any more, which data does not reach. Returns whether that takes
    /// back an end.
    pub(super) fn withdraw(&mut self, now: Instant, to: u64, store: &mut Store) -> bool {
        let place = self.evidence.claim.map_or(to, |claim| claim.place);
        let before = self.evidence.withdrawn.map_or(self.highest_known, |(_, last)| last);
        self.evidence.withdrawn = Some((to + 1, before.max(self.highest_known)));
        // Datagrams that spoke of what is withdrawn count for nothing else either.
        for reached in [&mut self.evidence.all, &mut self.evidence.moving] {
            reached.forget(to, place.min(to));
        }
        self.cut(to, store);
        // The rest of it is not lost for the time that it was open before.
        let mut left = Claim::new(now, place);
        left.contradicted = now;
        self.evidence.claim = (to > self.proved().max(self.settled)).then_some(left);
        let ending = self.evidence.ending.take_if(|ending| ending.span.last > to);
        let end = self.evidence.end.take_if(|end| *end > to);
        ending.is_some() || end.is_some()
    }

    /// The session ends with `last`: what too few datagrams said lies behind it never was.
    pub(super) fn end_at(&mut self, last: u64, store: &mut Store) {
        self.evidence.end = Some(last);
        (self.evidence.ending, self.evidence.overtaken) = (None, None);
        self.cut(last.max(self.settled), store);
    }

    /// Forgets what lies behind `last`.
    fn cut(&mut self, last: u64, store: &mut Store) {
        self.highest_known = last;
        self.evidence.proved = self.evidence.proved.min(last);
        for reached in [&mut self.evidence.all, &mut self.evidence.moving, &mut self.evidence.data]
        {
            reached.lower(last);
        }
        if self.tracked > last {
            self.evict_behind(last, store);
        }
    }

    /// The number up to which the session confirmed_mark reaches: enough datagrams of data say so, or a
    /// server, or what came was delivered, which cannot be taken back.
    pub(super) fn confirmed_mark(&self) -> u64 {
        let delivered = match self.rules.delivery {
            Delivery::Ordered => self.settled,
            Delivery::Arrival => {
                let mut edge = self.tracked;
                for range in self.gaps.missing().iter_back() {
                    if range.last != edge {
                        break;
                    }
                    edge = range.first - 1;
                }
                edge
            }
        };
        let proved = self.delivered_or_quorum().max(self.evidence.confirmed);
        proved.max(self.evidence.without_claims(delivered)).min(self.highest_known)
    }

    /// The number that enough datagrams of data reached, or up to which everything was delivered.
    fn delivered_or_quorum(&self) -> u64 {
        self.evidence
            .data
            .by(self.rules.believe_after)
            .max(self.evidence.without_claims(self.settled))
    }

    /// Returns true if a claim of enough datagrams behind `last` is still open: an end there must wait until
    /// that is borne out, withdrawn or lost.
    fn is_contested(&self, last: u64) -> bool {
        let quorum = self.quorum_mark();
        let claimed =
            if self.evidence.end.is_some() { u64::MAX } else { quorum }.min(self.highest_known);
        last < claimed && self.settled < claimed
    }

    /// When an end will be believed if nothing happens before; `None` while it is contested.
    #[inline]
    pub(super) fn ending_deadline(&self) -> Option<Instant> {
        let ending = self.evidence.ending.as_ref()?;
        let is_contested = self.is_contested(ending.span.last);
        let deadline = ending.deadline(self.rules.believe_after, Some(self.rules.quiet));
        deadline.filter(|_| !is_contested)
    }

    /// Takes the claimed end whose time has come: its number, and whether it stands.
    pub(super) fn take_ending(&mut self, now: Instant) -> Option<(u64, bool)> {
        self.ending_deadline().filter(|deadline| *deadline <= now)?;
        let Span { last, .. } = self.evidence.ending.take()?.span;
        // Meanwhile a claim beyond it may have been believed, and delivered.
        Some((last, last >= self.confirmed_mark()))
    }

    /// When an end is believed that lies below what was delivered, or what the data of enough datagrams
    /// reached. Delivered messages cannot be taken back, and do not keep the session from ending.
    fn overtaken_deadline(&self) -> Option<Instant> {
        let (ending, _) = self.evidence.overtaken.as_ref()?;
        let is_contested = self.is_contested(self.overtaken_by());
        let deadline = ending.deadline(self.rules.believe_after, Some(self.claim_timeout()));
        deadline.filter(|_| !is_contested)
    }

    /// The session's last number if an end below it is believed: behind all data, so that none is dropped.
    fn overtaken_by(&self) -> u64 {
        self.confirmed_mark().max(self.proved()).min(self.highest_known)
    }

    /// The session's last number, the line of the latest overtaken end, and that end's number, if overtaken
    /// ends are believed now.
    pub(super) fn ends_overtaken(&self, now: Instant) -> Option<(u64, LineId, u64)> {
        self.overtaken_deadline().filter(|deadline| *deadline <= now)?;
        let (ending, line) = self.evidence.overtaken.as_ref()?;
        Some((self.overtaken_by(), *line, ending.span.last.saturating_add(1)))
    }

    /// When an end of either kind is believed, if nothing happens before.
    #[inline]
    pub(super) fn end_deadline(&self) -> Option<Instant> {
        earliest(self.ending_deadline(), self.overtaken_deadline())
    }

    /// Returns true if enough datagrams of a quorum, a server or an end say that a number exists.
    fn is_backed(&self, quorum: &Quorum, last: u64) -> bool {
        let backed = quorum.by(self.rules.believe_after).max(self.evidence.confirmed);
        self.evidence.end.is_some() || last <= backed
    }

    /// Returns true if a number may be lost because servers leave it unanswered.
    pub(super) fn is_proved(&self, last: u64) -> bool {
        last <= self.proved() && self.is_backed(&self.evidence.all, last)
    }

    /// The last number of a missing range for which the same stands as for its first, and what that is.
    pub(super) fn standing(&self, range: &MissingRange) -> (u64, Standing) {
        let proved = self.proved();
        let is_data = range.first <= proved;
        let last = if is_data { range.last.min(proved) } else { range.last };
        let standing = match (self.is_backed(&self.evidence.all, last), is_data) {
            (true, true) if self.is_backed(&self.evidence.data, last) => Standing::Proved,
            (true, true) => Standing::Supported,
            (true, false) => Standing::ClaimedOnly,
            (false, true) if self.is_near(proved) => Standing::Near,
            (false, _) => Standing::Unconfirmed,
        };
        (last, standing)
    }

    /// Returns true if silence confirms what is missing at the front, up to the first data behind it.
    fn is_near(&self, proved: u64) -> bool {
        let near = self.quorum_mark().max(self.evidence.confirmed);
        let far = near.saturating_add(CONFIRMED_BY_SILENCE);
        self.missing_until(far).min(proved) <= far
    }

    /// The last number that is missing without a break from the lowest on; if it lies past `enough`, any
    /// that does. A missing range lies in pieces once it was asked for.
    fn missing_until(&self, enough: u64) -> u64 {
        let mut until = 0;
        for range in self.gaps.missing().iter() {
            if until > enough || (until > 0 && range.first - 1 > until) {
                break;
            }
            until = range.last;
        }
        until
    }

    /// When what nothing contradicts is settled by that: a claim that was open since `since`.
    pub(super) fn uncontradicted_at(&self, since: Instant) -> Instant {
        let contradicted = self.evidence.claim.map_or(Instant::ZERO, |claim| claim.contradicted);
        since.max(contradicted) + self.claim_timeout()
    }

    /// When the silence of all lines settles a range that was open since `since`.
    pub(super) fn silent_at(&self, since: Instant, lines: &Lines) -> Instant {
        since.max(lines.last_packet_at().unwrap_or_default()) + self.claim_timeout()
    }

    /// `give_up`, or the time in which a line would send enough heartbeats.
    pub(super) fn claim_timeout(&self) -> Duration {
        self.give_up.max(self.rules.line_timeout.min(HEARTBEATS))
    }

    /// When it is emitted next that the lowest missing range is stalled: too few datagrams claim it, and
    /// all lines are silent.
    pub(super) fn stalled_at(&self, lines: &Lines) -> Option<Instant> {
        let range = self.gaps.missing().first().filter(|_| self.closing().is_none())?;
        if self.standing(range).1 != Standing::Unconfirmed {
            return None;
        }
        let at = self.evidence.stalled_until.max(self.silent_at(self.open_since(range), lines));
        // Behind the end of time there is nothing to wait for.
        Some(at).filter(|at| *at < Instant::MAX)
    }

    /// The lowest missing range, if it is to be emitted now that it is stalled.
    pub(super) fn stall(&mut self, now: Instant, lines: &Lines) -> Option<(u64, u64)> {
        let first = self.gaps.missing().first()?.first;
        let is_due = self.stalled_at(lines).is_some_and(|at| at <= now);
        if first - 1 != self.settled || !is_due {
            return None;
        }
        self.evidence.stalled_until = now + self.claim_timeout();
        Some((first, self.missing_until(u64::MAX)))
    }
}
