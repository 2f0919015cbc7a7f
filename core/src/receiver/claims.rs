//! How far a session reaches, and by whose word: what data proves, what enough datagrams or a server
//! vouch for, and what heartbeats and ends alone claim.
//!
//! ```text
//! settled ........ proved ........ believed
//!        data says so     claimed only
//! ```
//!
//! A claim that nothing bears out is withdrawn when the feed contradicts it, and lost when nothing
//! does. Data of too few datagrams is confirmed by the silence of all lines, if it lies near.

use super::candidate::{Claim, Vouched};
use super::config::{Config, Delivery};
use super::event::LineId;
use super::gaps::MissingRange;
use super::line::{Lines, bit};
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

/// What stands for the front of a missing range.
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

impl Space {
    /// A line is there no longer: another one of its number has contradicted nothing yet.
    pub(super) fn forget_line(&mut self, line: LineId) {
        if let Some(claim) = &mut self.claim {
            claim.lines &= !bit(line);
        }
    }

    /// The highest number that data brought, or that the embedding program speaks of.
    pub(super) fn proved(&self) -> u64 {
        self.proved.max(self.without_claims(self.settled))
    }

    /// The position, or where it would be if what heartbeats and ends alone claimed had not been lost.
    fn without_claims(&self, position: u64) -> u64 {
        let (before, last) = self.claims_lost;
        if before < position && position <= last { before } else { position }
    }

    /// Nothing is vouched for past `reached`.
    pub(super) fn vouch_anew(&mut self, reached: u64) {
        self.vouched = Vouched::new(reached);
        self.sent = Vouched::new(reached);
    }

    /// A datagram of a line says that the feed got to `last`. Returns whether the feed moves on by
    /// it: further than enough datagrams said, or enough datagrams of data. What lies ahead by the
    /// word of too few of them, as [`Space::believed`] may, or of heartbeats alone, does not hide that.
    pub(super) fn vouch(&mut self, kind: Kind, last: u64, enough: u8) -> bool {
        if self.is_clean() {
            self.vouched = Vouched::new(self.settled);
            // Answers may have settled what a line that is behind them still has to send.
            if self.ending.is_none() {
                self.sent = Vouched::new(self.settled);
                self.brought = Vouched::new(self.without_claims(self.settled));
            }
        }
        self.vouched.reach(last);
        match kind {
            Kind::EndOfSession => false,
            Kind::Heartbeat => {
                let moves_on = last > self.sent.by(enough);
                self.sent.reach(last);
                moves_on
            }
            Kind::Data => {
                let moves_on = last > self.brought.by(enough);
                self.sent.reach(last);
                self.brought.reach(last);
                moves_on
            }
        }
    }

    /// A packet of a line supports what is claimed beyond the data, or contradicts it, or claims more.
    pub(super) fn note_claim(
        &mut self,
        now: Instant,
        kind: Kind,
        last: u64,
        line: LineId,
        config: &Config,
    ) {
        if kind == Kind::Data {
            self.proved = self.proved().max(last);
        }
        let proved = self.proved();
        if self.believed <= proved.max(self.settled) {
            self.claim = None;
        }
        match &mut self.claim {
            Some(claim) if last < self.believed => claim.contradict(now, kind, last, line, config),
            Some(claim) => claim.support(now, last > self.believed, line),
            None if self.believed.max(last) > proved.max(self.settled) => {
                let place = self.delivered_or_brought(config).min(proved);
                self.claim = Some(Claim::new(now, place));
            }
            None => {}
        }
    }

    /// How far the session reaches if what heartbeats and ends alone claim is withdrawn now: because
    /// enough packets contradict it, or because the session is `over` and too few supported it.
    pub(super) fn withdrawal(&self, up: u32, over: bool, config: &Config) -> Option<u64> {
        let enough = config.believe_after;
        let least = self.proved().max(self.settled);
        let contradicted = self.claim.filter(|claim| claim.is_contradicted(up, enough));
        let to = match contradicted {
            Some(claim) => claim.agreed,
            None if over && self.end.is_none() => self.vouched.by(enough),
            None => return None,
        };
        let to = to.max(least);
        (self.active && to < self.believed).then_some(to)
    }

    /// Believes in nothing past `to` any more, which data does not reach. Returns whether that takes
    /// back an end.
    pub(super) fn withdraw(&mut self, now: Instant, to: u64, store: &mut Store) -> bool {
        let place = self.claim.map_or(to, |claim| claim.place);
        let before = self.withdrawn.map_or(self.believed, |(_, last)| last);
        self.withdrawn = Some((to + 1, before.max(self.believed)));
        // Who spoke of what is withdrawn vouches for nothing else either.
        for reached in [&mut self.vouched, &mut self.sent] {
            reached.forget(to, place.min(to));
        }
        self.cut(to, store);
        // What is left of it is not lost for the time that it was open before.
        let mut left = Claim::new(now, place);
        left.contradicted = now;
        self.claim = (to > self.proved().max(self.settled)).then_some(left);
        let ending = self.ending.take_if(|ending| ending.last > to);
        let end = self.end.take_if(|end| *end > to);
        ending.is_some() || end.is_some()
    }

    /// The session ends with `last`: what too few datagrams said lies behind it never was.
    pub(super) fn end_at(&mut self, last: u64, store: &mut Store) {
        self.end = Some(last);
        (self.ending, self.overtaken) = (None, None);
        self.cut(last.max(self.settled), store);
    }

    /// Forgets what lies behind `last`.
    fn cut(&mut self, last: u64, store: &mut Store) {
        self.believed = last;
        self.proved = self.proved.min(last);
        for reached in [&mut self.vouched, &mut self.sent, &mut self.brought] {
            reached.lower(last);
        }
        if self.tracked <= last {
            return;
        }
        let mut behind = last + 1;
        while self.held.last().is_some_and(|held| held > last) {
            let Some(piece) = self.held.drop_furthest(store) else { break };
            behind = behind.min(piece.first);
        }
        self.put_off_from(behind);
    }

    /// The number up to which the session surely reaches: enough datagrams of data say so, or a
    /// server, or what came was delivered, which cannot be taken back.
    pub(super) fn surely(&self, config: &Config) -> u64 {
        let delivered = match config.delivery {
            Delivery::Ordered => self.settled,
            Delivery::Arrival => {
                let mut edge = self.tracked;
                for range in self.gaps.missing().iter().rev() {
                    if range.last != edge {
                        break;
                    }
                    edge = range.first - 1;
                }
                edge
            }
        };
        let proved = self.delivered_or_brought(config).max(self.confirmed);
        proved.max(self.without_claims(delivered)).min(self.believed)
    }

    /// The number that enough datagrams of data reached, or up to which everything was delivered.
    fn delivered_or_brought(&self, config: &Config) -> u64 {
        self.brought.by(config.believe_after).max(self.without_claims(self.settled))
    }

    /// Whether it is still open what enough datagrams claim behind `last`: an end there must wait until
    /// that is borne out, withdrawn or lost.
    fn is_contested(&self, last: u64, config: &Config) -> bool {
        let vouched = self.vouched.by(config.believe_after);
        let claimed = if self.end.is_some() { u64::MAX } else { vouched }.min(self.believed);
        last < claimed && self.settled < claimed
    }

    /// When an end will be believed if nothing happens before; `None` while it is contested.
    #[inline]
    pub(super) fn ending_deadline(&self, config: &Config) -> Option<Instant> {
        let ending = self.ending?;
        let is_contested = self.is_contested(ending.last, config);
        ending.deadline(config.believe_after, config.quiet).filter(|_| !is_contested)
    }

    /// When an end is believed that lies below what was delivered, or what the data of enough datagrams
    /// reached. Delivered messages cannot be taken back, and do not keep the session from ending.
    fn overtaken_deadline(&self, config: &Config) -> Option<Instant> {
        let (ending, _) = self.overtaken?;
        let is_contested = self.is_contested(self.overtaken_by(config), config);
        let deadline = ending.deadline(config.believe_after, self.patience(config));
        deadline.filter(|_| !is_contested)
    }

    /// The session's last number if an end below it is believed: behind all data, so that none is dropped.
    fn overtaken_by(&self, config: &Config) -> u64 {
        self.surely(config).max(self.proved()).min(self.believed)
    }

    /// The session's last number, the line of the latest overtaken end, and that end's number, if overtaken
    /// ends are believed now.
    pub(super) fn ends_overtaken(
        &self,
        now: Instant,
        config: &Config,
    ) -> Option<(u64, LineId, u64)> {
        self.overtaken_deadline(config).filter(|deadline| *deadline <= now)?;
        let (ending, line) = self.overtaken?;
        Some((self.overtaken_by(config), line, ending.last.saturating_add(1)))
    }

    /// When an end of either kind is believed, if nothing happens before.
    #[inline]
    pub(super) fn end_deadline(&self, config: &Config) -> Option<Instant> {
        earliest(self.ending_deadline(config), self.overtaken_deadline(config))
    }

    /// Whether enough datagrams say that a number exists for it to become lost.
    fn is_vouched(&self, last: u64, config: &Config) -> bool {
        let vouched = self.vouched.by(config.believe_after).max(self.confirmed);
        self.end.is_some() || last <= vouched
    }

    /// The same, where heartbeats and ends do not count.
    fn is_brought(&self, last: u64, config: &Config) -> bool {
        let brought = self.brought.by(config.believe_after).max(self.confirmed);
        self.end.is_some() || last <= brought
    }

    /// Whether a number may be lost because servers leave it unanswered.
    pub(super) fn is_proved(&self, last: u64, config: &Config) -> bool {
        last <= self.proved() && self.is_vouched(last, config)
    }

    /// The last number of a missing range for which the same stands as for its first, and what that is.
    pub(super) fn standing(&self, range: &MissingRange, config: &Config) -> (u64, Standing) {
        let proved = self.proved();
        let is_data = range.first <= proved;
        let last = if is_data { range.last.min(proved) } else { range.last };
        let standing = match (self.is_vouched(last, config), is_data) {
            (true, true) if self.is_brought(last, config) => Standing::Proved,
            (true, true) => Standing::Supported,
            (true, false) => Standing::ClaimedOnly,
            (false, true) if self.is_near(proved, config) => Standing::Near,
            (false, _) => Standing::Unconfirmed,
        };
        (last, standing)
    }

    /// Whether silence confirms what is missing at the front, up to the first data behind it.
    fn is_near(&self, proved: u64, config: &Config) -> bool {
        let vouched = self.vouched.by(config.believe_after).max(self.confirmed);
        let far = vouched.saturating_add(CONFIRMED_BY_SILENCE);
        self.missing_until(far).min(proved) <= far
    }

    /// The last number that is missing without a break from the lowest on; if it lies past `enough`, any
    /// that does. What is missing lies in pieces once it was asked for.
    fn missing_until(&self, enough: u64) -> u64 {
        let mut until = 0;
        for range in self.gaps.missing() {
            if until > enough || (until > 0 && range.first - 1 > until) {
                break;
            }
            until = range.last;
        }
        until
    }

    /// When what nothing contradicts is settled by that: a claim that was open since `since`.
    pub(super) fn uncontradicted_at(&self, since: Instant, config: &Config) -> Instant {
        let contradicted = self.claim.map_or(Instant::ZERO, |claim| claim.contradicted);
        since.max(contradicted) + self.patience(config)
    }

    /// When the silence of all lines settles a range that was open since `since`.
    pub(super) fn silent_at(&self, since: Instant, lines: &Lines, config: &Config) -> Instant {
        since.max(lines.last_heard().unwrap_or_default()) + self.patience(config)
    }

    /// `give_up`, or the time in which a line would send enough heartbeats.
    pub(super) fn patience(&self, config: &Config) -> Duration {
        self.give_up.max(config.line_timeout.min(HEARTBEATS))
    }

    /// When it is emitted next that the lowest missing range is stalled: too few datagrams claim it, and
    /// all lines are silent.
    pub(super) fn stalled_at(&self, lines: &Lines, config: &Config) -> Option<Instant> {
        let range = self.gaps.missing().first().filter(|_| self.closing.is_none())?;
        if self.standing(range, config).1 != Standing::Unconfirmed {
            return None;
        }
        let at = self.stalled_until.max(self.silent_at(self.open_since(range), lines, config));
        // Behind the end of time there is nothing to wait for.
        Some(at).filter(|at| *at < Instant::FAR)
    }

    /// The lowest missing range, if it is to be emitted now that it is stalled.
    pub(super) fn stall(
        &mut self,
        now: Instant,
        lines: &Lines,
        config: &Config,
    ) -> Option<(u64, u64)> {
        let first = self.gaps.missing().first()?.first;
        let is_due = self.stalled_at(lines, config).is_some_and(|at| at <= now);
        if first - 1 != self.settled || !is_due {
            return None;
        }
        self.stalled_until = now + self.patience(config);
        Some((first, self.missing_until(u64::MAX)))
    }
}
