//! How sessions begin, follow each other and end, and when a claim is believed.
//!
//! A claim that one datagram alone does not prove waits as a [`Candidate`] with the packets that belong to
//! it. Once it is believed, those packets are taken in as if they came now.

use super::candidate::{Candidate, Vote};
use super::event::{Command, Event, Origin, SessionEnd};
use super::ingest::Incoming;
use super::input::LinePacket;
use super::opening::{Agreement, Opening};
use super::server::Span;
use super::space::remember;
use super::store::{End, Extent, List, Payload};
use super::{Error, Receiver, Start};
use crate::Session;
use crate::wire::mold::Kind;

/// A session that ended, and never comes back.
#[derive(Debug)]
pub(super) struct Over {
    session: Session,
    opening: Opening,
    /// Its last number; the last there is where its sender did not say.
    last: u64,
}

impl Receiver {
    /// Begins the configured session, when its first number is known as well.
    pub(super) fn start_known_session(&mut self) {
        if let (Some(session), Start::At(first)) = (self.config.session, self.config.start) {
            self.spaces[0].start(session, first - 1);
        }
    }

    /// Returns true if no session was received yet.
    fn is_first(&self) -> bool {
        !self.spaces[0].is_active() && self.ended.is_empty()
    }

    pub(super) fn check_event(&self, event: &Event) -> Result<(), Error> {
        match *event {
            Event::Datagram(_) => Ok(()),
            Event::AddLine(line) | Event::RemoveLine(line) => line.check(),
            Event::AddServer(server, address) => {
                server.check()?;
                match self.repair.servers.at(address) {
                    Some(other) if other != server => {
                        Err(Error::AddressTaken { server: other, address })
                    }
                    _ => Ok(()),
                }
            }
            Event::RemoveServer(server) => server.check(),
            Event::Advance { next: 0 } => Err(Error::SequenceZero),
            Event::Advance { .. } => Ok(()),
        }
    }

    /// Goes on at `next` of the session that delivery stopped in, or of the current one.
    pub(super) fn advance(&mut self, next: u64) {
        let halted = self.halted.take().and_then(|halt| self.space_of(halt.session));
        if self.is_first() {
            self.config.start = Start::At(next);
            self.start_known_session();
            if self.spaces[0].is_active() {
                self.drop_pending_session();
            }
            return;
        }
        let space = &mut self.spaces[halted.unwrap_or(0)];
        if space.is_active() {
            space.skip(&mut self.store, next - 1);
        }
    }

    /// A packet of a session that is not received.
    pub(super) fn take_from_unknown(&mut self, packet: LinePacket, payload: Payload<'_>) {
        let session = packet.extent.session;
        let first = self.is_first();
        let welcome = match self.config.session {
            Some(configured) if first => session == configured,
            _ => first || (self.config.follow && !self.spaces[1].is_active()),
        };
        let line = self.lines.get_mut(packet.line);
        if let Some(over) = self.ended.iter().find(|over| over.session == session) {
            self.stats.ended_session += 1;
            if packet.kind == Kind::Data {
                let agreement = over.opening.compare(packet.extent.messages(payload.bytes()));
                let restarts = packet.extent.last > over.last
                    || matches!(agreement, Agreement::Contradicts(_));
                self.stats.ended_session_data += 1;
                self.stats.ended_session_restarts += u64::from(restarts);
            }
            line.into_iter().for_each(|line| line.stats.foreign += 1);
        } else if !welcome {
            self.unwanted.count(session);
            line.into_iter().for_each(|line| line.stats.foreign += 1);
        } else {
            self.lines.note_packet(self.context.now(), packet.line);
            let pending = self.pending_session.take();
            self.pending_session = Some(self.vote(pending, packet, payload));
            self.repair.invalidate();
            self.consider_claims();
        }
    }

    /// Returns true if a packet lies too far ahead to be believed at once.
    pub(super) fn is_jump(&self, index: usize, packet: LinePacket) -> bool {
        let space = &self.spaces[index];
        let far = space.highest_known.saturating_add(self.config.max_jump);
        let Extent { first, last, .. } = packet.extent;
        let least = if packet.kind == Kind::Data { first } else { last };
        least > far
    }

    /// Lets a packet vote for a jump of a session that is received.
    pub(super) fn vote_jump(&mut self, index: usize, packet: LinePacket, payload: Payload<'_>) {
        let jump = self.spaces[index].jump.take();
        self.spaces[index].jump = Some(self.vote(jump, packet, payload));
        self.repair.invalidate();
        self.consider_claims();
    }

    fn vote(
        &mut self,
        candidate: Option<Candidate>,
        packet: LinePacket,
        payload: Payload<'_>,
    ) -> Candidate {
        let (now, extent) = (self.context.now(), packet.extent);
        let mut candidate = candidate.unwrap_or_else(|| Candidate::new(now, extent.span()));
        let (lowest, max_jump) = (self.lowest(&candidate), self.config.max_jump);
        let vote = candidate.vote(now, extent.span(), lowest, max_jump);
        self.stats.unbelieved += u64::from(vote != Vote::For);
        match vote {
            Vote::For => {}
            Vote::Against => return candidate,
            Vote::Replaced => self.store.clear(&mut candidate.pieces),
        }
        if packet.kind == Kind::Data {
            // Without room the packet is dropped; it is asked for once the claim is believed.
            let len = extent.end - extent.offset;
            let list = &mut candidate.pieces;
            let kept = self.store.has_room()
                && self.store.reserve(&payload, len, 1, true, false)
                && self.store.keep(payload, &extent, false, list, End::Back).is_some();
            self.stats.put_off_for_memory += u64::from(!kept);
        }
        candidate
    }

    /// The lowest number at which packets that stand for a claim may begin. A jump and a live start claim their first
    /// number. A session that begins at a known number does not: its first packets may come in any
    /// order, and each of them is kept.
    fn lowest(&self, candidate: &Candidate) -> u64 {
        let is_jump = self.space_of(candidate.span.session).is_some();
        let is_live_start = self.is_first() && self.config.start == Start::Live;
        if is_jump || is_live_start { candidate.span.first } else { 0 }
    }

    /// A server answered: what it answered for exists.
    pub(super) fn confirm_claims(&mut self, span: Span) {
        let jumps = self.spaces.iter_mut().filter_map(|space| space.jump.as_mut());
        jumps.chain(&mut self.pending_session).for_each(|claim| claim.confirm(span));
        self.consider_claims();
    }

    /// The current session moves on: nothing has taken its place.
    pub(super) fn drop_pending_session(&mut self) {
        if let Some(mut pending) = self.pending_session.take() {
            self.store.clear(&mut pending.pieces);
            self.stats.unbelieved += 1;
        }
    }

    /// Believes what has been borne out.
    pub(super) fn consider_claims(&mut self) {
        let (now, after) = (self.context.now(), self.config.believe_after);
        let quiet = Some(self.config.quiet);
        for index in 0..2 {
            self.withdraw_claims(index);
            let space = &mut self.spaces[index];
            let known = space.highest_known;
            let is_over = |jump: &Candidate| jump.span.last <= known;
            let believed =
                |jump: &mut Candidate| is_over(jump) || jump.is_believed(now, after, quiet);
            if let Some(jump) = space.jump.take_if(believed) {
                if !is_over(&jump) {
                    space.highest_known = jump.span.last;
                    space.evidence.reset_quorum(jump.span.first.saturating_sub(1));
                    self.lines.start_marks();
                }
                self.take_in_pieces(index, jump.pieces);
            }
            let space = &mut self.spaces[index];
            match space.take_ending(now) {
                Some((_, false)) => self.stats.ends_refused += 1,
                Some((last, true)) => {
                    space.end_at(last, &mut self.store);
                    self.repair.invalidate();
                }
                None => {}
            }
            if let Some((last, line, seen)) = space.ends_overtaken(now) {
                space.end_at(last, &mut self.store);
                // The data behind the end were forged, or a sender started over.
                if let Some(line) = self.lines.get_mut(line) {
                    line.regress(last, seen);
                }
                self.repair.invalidate();
            }
        }
        let quiet = quiet.filter(|_| self.spaces[0].is_active());
        let believed = |pending: &mut Candidate| pending.is_believed(now, after, quiet);
        if let Some(pending) = self.pending_session.take_if(believed) {
            self.adopt(pending);
        }
    }

    /// Begins a session that is believed.
    fn adopt(&mut self, pending: Candidate) {
        let index = usize::from(self.spaces[0].is_active());
        let Span { session, first, last } = pending.span;
        let settled = match self.config.start {
            _ if !self.is_first() => 0,
            Start::At(first) => first - 1,
            Start::Live => first.saturating_sub(1),
        };
        if index > 0 {
            self.spaces[0].leave(self.context.now() + self.config.session_grace);
            self.repair.probe_tail();
        } else {
            self.lines.restart();
        }
        let space = &mut self.spaces[index];
        space.start(session, settled);
        space.highest_known = settled.max(last);
        space.evidence.reset_quorum(settled.max(first.saturating_sub(1)));
        self.take_in_pieces(index, pending.pieces);
    }

    /// Takes in the packets of a claim that is believed.
    fn take_in_pieces(&mut self, index: usize, mut pieces: List) {
        while let Some(piece) = self.store.pop_front(&mut pieces) {
            let Origin::Line(id) = piece.batch.origin else { continue };
            let extent = piece.extent();
            let incoming = Incoming::new(extent, self.context.now());
            let (fresh, _) = self.take_in(index, incoming, piece.into_payload(), false);
            self.spaces[index].evidence.reach(extent.last);
            if index == 0 {
                self.lines.note_reach(self.context.now(), id, extent.last, 0);
            }
            if let Some(line) = self.lines.get_mut(id) {
                line.stats.messages_first += fresh;
                line.stats.duplicates += extent.count() - fresh;
            }
        }
        if index == 0 {
            self.repair.note_passed(&mut self.spaces[0], &self.lines);
        }
        self.repair.invalidate();
    }

    /// Withdraws what heartbeats and ends alone claimed of a session, where that is due.
    pub(super) fn withdraw_claims(&mut self, index: usize) {
        let (now, is_timeout) = (self.context.now(), self.context.is_timeout());
        let Self { spaces, lines, store, repair, stats, .. } = self;
        let space = &mut spaces[index];
        let over = is_timeout && space.closing().is_some_and(|closing| closing <= now);
        let Some(to) = space.withdrawal(lines.up, over) else { return };
        let claimed = space.highest_known;
        stats.claims_withdrawn += 1;
        stats.ends_refused += u64::from(space.withdraw(now, to, store));
        if index == 0 {
            lines.withdraw(to);
        }
        stats.requests_cancelled += repair.cancel(space, to + 1, claimed);
        repair.invalidate();
    }

    /// Leaves the current session when all of it was delivered or emitted as lost.
    pub(super) fn close_session(&mut self) -> Option<Command> {
        let space = &self.spaces[0];
        if !space.is_active() || self.halted.is_some() || space.has_waiting() {
            return None;
        }
        let reason = if space.evidence.end.is_some_and(|end| space.settled >= end) {
            SessionEnd::Ended
        } else if let Some(closing) = space.closing() {
            let over = closing <= self.context.now();
            if !space.is_clean() || !(over || self.repair.tail_is_known()) {
                return None;
            }
            SessionEnd::Superseded
        } else {
            return None;
        };
        let (session, next) = (space.session, space.next(&self.store));
        let last = space.evidence.end.filter(|_| reason == SessionEnd::Ended).unwrap_or(u64::MAX);
        remember(&mut self.ended, Over { session, opening: space.opening.clone(), last });
        self.repair.servers.forget(session);
        self.spaces[0].stop(&mut self.store);
        if self.spaces[1].is_active() {
            self.spaces.swap(0, 1);
        }
        self.lines.restart();
        self.repair.invalidate();
        // A pending session no longer waits for the old place to be quiet.
        self.consider_claims();
        Some(Command::SessionEnded { session, next, reason })
    }
}
