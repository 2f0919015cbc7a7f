//! What a datagram is: in order, a copy, ahead of a gap, an answer, or a claim to be believed first.

use super::candidate::Ending;
use super::event::{Batch, LineId, Origin, ServerId, Source};
use super::gaps::Filler;
use super::ingest::{BLOCKS_AT, Incoming, ingest};
use super::line::{Content, Line};
use super::opening::Agreement;
use super::space::Space;
use super::store::Payload;
use super::{AcceptAnswers, Contradiction, Delivery, Direct, Receiver, line};
use crate::wire::mold::{HEADER_LEN, Header, Kind, LENGTH_LEN, Messages, Packet, blocks_len};
use crate::{Instant, Session};

/// What the short way made of a datagram.
pub(super) enum Calm<'a> {
    Taken(Option<Batch<&'a [u8]>>),
    /// It needs a second look.
    Look,
}

impl Receiver {
    /// The short way, for what nearly every datagram is: the next messages in order, or copies of
    /// messages that were delivered. Anything else is left untouched.
    #[inline(always)]
    pub(super) fn receive_calm<'a>(
        &mut self,
        arrival: Instant,
        source: Source,
        datagram: &'a [u8],
    ) -> Calm<'a> {
        let Source::Line(id) = source else { return Calm::Look };
        let Some(header) = Header::read(datagram) else { return Calm::Look };
        let space = &mut self.spaces[0];
        if !self.calm || header.session != space.session || !space.is_clean() {
            return Calm::Look;
        }
        let Some(above_first) = header.messages().checked_sub(1) else { return Calm::Look };
        let Some(last) = header.sequence.checked_add(u64::from(above_first)) else {
            return Calm::Look;
        };
        let wants_sample = self.lines.wants_sample(id, arrival);
        let Some(line) = self.lines.get_mut(id) else { return Calm::Look };
        if !line.stats.up {
            return Calm::Look;
        }
        if header.sequence.checked_sub(1) == Some(space.settled) {
            let blocks = datagram.get(HEADER_LEN..).unwrap_or_default();
            let Some(len) = blocks_len(blocks, header.count) else { return Calm::Look };
            space.settled = last;
            space.tracked = last;
            space.believed = last;
            self.stats.delivered += u64::from(header.count);
            line.heard = self.context.now();
            line.stats.packets += 1;
            line.stats.messages_first += u64::from(header.count);
            line.stats.trailing += u64::from(len < blocks.len());
            line.reach(self.context.now(), last, last, self.config.quiet);
            if wants_sample {
                self.lines.start_sample(id, last, arrival);
            }
            return Calm::Taken(Some(Batch {
                session: header.session,
                first: header.sequence,
                count: header.count,
                bytes: datagram,
                offset: HEADER_LEN,
                arrival,
                origin: Origin::Line(id),
                repaired: false,
            }));
        }
        // A copy is not walked over: too short a one for its count is no packet, that is all.
        let least = HEADER_LEN + LENGTH_LEN * usize::from(header.count);
        let is_copy = last <= space.settled && header.sequence > space.looked_at;
        if !is_copy || datagram.len() < least {
            return Calm::Look;
        }
        line.heard = self.context.now();
        line.stats.packets += 1;
        line.stats.duplicates += u64::from(header.count);
        line.reach(self.context.now(), last, space.settled, self.config.quiet);
        if line.has_regression() {
            self.context.pend();
            self.calm = false;
        }
        if self.lines.awaited & line::bit(id) != 0 {
            self.lines.take_sample(id, header.sequence, last, arrival);
        }
        Calm::Taken(None)
    }

    /// The long way, for any datagram. What is delivered at once is told, if the payload is only
    /// borrowed; everything else is left to the drain.
    #[cold]
    #[inline(never)]
    pub(super) fn take_datagram(
        &mut self,
        arrival: Instant,
        source: Source,
        payload: Payload<'_>,
    ) -> Direct {
        let drained = !self.context.is_draining();
        self.context.pend();
        self.calm = false;
        self.pass_time();
        match source {
            Source::Line(line) => self.take_from_line(arrival, line, payload, drained),
            Source::LineFrom(line, peer) => match self.servers.at(peer) {
                Some(server) if self.is_answer(server, payload.bytes()) => {
                    self.take_from_server(arrival, Some(server), payload, drained)
                }
                _ => self.take_from_line(arrival, line, payload, drained),
            },
            Source::Peer(peer) => match (self.servers.at(peer), self.config.accept_answers) {
                (None, AcceptAnswers::Configured) => {
                    self.stats.unknown_peer += 1;
                    self.strangers.address = Some(peer);
                    None
                }
                (server, _) => self.take_from_server(arrival, server, payload, drained),
            },
        }
    }

    /// Whether what a server sent to a line's socket is an answer: it lies in a range that the
    /// server was asked for.
    fn is_answer(&self, server: ServerId, datagram: &[u8]) -> bool {
        let Some(header) = Header::read(datagram) else { return false };
        let last = header.sequence.saturating_add(u64::from(header.messages().max(1)) - 1);
        header.kind() == Kind::Data
            && self.servers.was_asked(server, header.session, header.sequence, last)
    }

    fn take_from_line(
        &mut self,
        arrival: Instant,
        id: LineId,
        payload: Payload<'_>,
        drained: bool,
    ) -> Direct {
        let Some(line) = self.lines.get_mut(id) else {
            self.stats.unknown_line += 1;
            return None;
        };
        let Ok(packet) = Packet::new_checked(payload.bytes()) else {
            line.stats.malformed += 1;
            return None;
        };
        let header = *packet.header();
        let end = payload.bytes().len() - packet.trailing();
        line.stats.trailing += u64::from(packet.trailing() > 0 && header.kind() == Kind::Data);
        self.stats.session_not_ascii += u64::from(!header.session.is_ascii());
        let Some(index) = self.space_of(header.session) else {
            self.take_from_stranger(arrival, id, header, payload);
            return None;
        };
        let line = self.lines.get_mut(id)?;
        line.stats.packets += 1;
        self.lines.heard(self.context.now(), id);
        // Heartbeats and ends speak of what lies before their number; but behind the last number there
        // is none, and senders name that number itself.
        let is_full = header.sequence == u64::MAX && self.spaces[index].believed == u64::MAX;
        let last = header.next().filter(|_| !is_full).map_or(u64::MAX, |next| next - 1);
        if self.is_jump(index, header, last) {
            self.vote_jump(index, arrival, id, header, last, payload);
            return None;
        }
        let content = self.note_content(index, id, &packet, last);
        if content == Content::Suspect {
            self.stats.suspected += 1;
            return None;
        }
        self.note_line(index, id, header, last);
        if header.kind() != Kind::Data {
            self.note_edge(index, id, header, last);
            return None;
        }
        let incoming = Incoming {
            base: header.sequence,
            first: header.sequence,
            last,
            offset: BLOCKS_AT,
            end,
            origin: Origin::Line(id),
            arrival,
            by: Filler::Line,
        };
        // A regression is told before what comes with it is delivered.
        let (fresh, direct) =
            self.take_in(index, &incoming, payload, drained && content == Content::Plain);
        self.count_line(index, id, &incoming, fresh);
        direct
    }

    /// Compares what a packet brings with what the session began with: its sender may have started over.
    fn note_content(
        &mut self,
        index: usize,
        id: LineId,
        packet: &Packet<'_>,
        last: u64,
    ) -> Content {
        let first = packet.header().sequence;
        let Space { opening, settled, session, .. } = &self.spaces[index];
        let is_opening = packet.header().kind() == Kind::Data && first <= opening.last();
        if index > 0 {
            return Content::Plain;
        }
        let agreement =
            if is_opening { opening.compare(packet.messages()) } else { Agreement::Unknown };
        let evidence = (self.config.believe_after, self.config.quiet);
        let numbers = (first, last);
        let (session, settled) = (*session, *settled);
        let content =
            self.lines.note_content(self.context.now(), id, numbers, settled, agreement, evidence);
        if let Agreement::Contradicts(sequence) = agreement {
            // Held messages are compared in `take_in`.
            let is_delivered = sequence <= settled || self.config.delivery == Delivery::Arrival;
            let has_regressed = self.lines.get(id).is_some_and(Line::is_regressed);
            if is_delivered && !has_regressed {
                let dropped = Origin::Line(id);
                let found = Contradiction { session, sequence, held: None, dropped };
                self.stats.contradictions += 1;
                self.contradiction.get_or_insert(found);
            }
        }
        content
    }

    /// What a packet says about its line and the edge of the feed.
    fn note_line(&mut self, index: usize, id: LineId, header: Header, last: u64) {
        let space = &mut self.spaces[index];
        let was_clean = space.is_clean();
        let in_order = header.sequence.wrapping_sub(1) == space.settled;
        let mut moves_on = last > space.believed;
        // Nothing to vouch for while nothing is missing: an honest next packet keeps it so.
        if !was_clean || !in_order || header.kind() != Kind::Data {
            moves_on |= space.vouch(header.kind(), last, self.config.believe_after);
        }
        space.note_claim(self.context.now(), header.kind(), last, id, &self.config);
        let alive = moves_on || (header.kind() == Kind::Heartbeat && last == space.believed);
        if alive && let Some(mut jump) = space.jump.take() {
            self.store.clear(&mut jump.pieces);
            self.stats.unbelieved += 1;
        }
        // Data revokes an end, and heartbeats outvote it. Those that speak of nothing that is open, as of
        // claims that were lost, say nothing against it.
        let (kind, settled) = (header.kind(), space.settled);
        let sent = space.sent.by(self.config.believe_after);
        if let Some(ending) = &mut space.ending {
            let stands = match kind {
                Kind::Data => last <= ending.last,
                Kind::Heartbeat => last <= ending.last.max(settled) || ending.contradict(),
                Kind::EndOfSession => true,
            };
            if !stands {
                space.ending = None;
                self.stats.ends_refused += 1;
            } else if moves_on {
                ending.restart(self.context.now());
            }
        }
        space.overtaken.take_if(|(ending, _)| last > ending.last);
        let revokes = |end: &mut u64| match kind {
            Kind::Data => last > *end,
            Kind::Heartbeat => sent > settled.max(*end),
            Kind::EndOfSession => false,
        };
        if space.end.take_if(revokes).is_some() {
            space.ending = None;
            self.stats.ends_refused += 1;
        }
        if index == 0 && alive {
            self.disturb_newcomer();
        }
        let (settled, quiet) = (self.spaces[0].settled, self.config.quiet);
        if was_clean && !in_order && index == 0 {
            self.lines.iter_mut().for_each(|(_, line)| line.start_marks());
        }
        if let Some(line) = self.lines.get_mut(id)
            && index == 0
        {
            line.reach(self.context.now(), last, settled, quiet);
            line.push_mark(last, usize::from(self.config.reorder_packets));
        }
        self.note_passed(index);
        self.withdraw_claims(index);
    }

    /// What a heartbeat or an end says: everything up to `last` exists.
    fn note_edge(&mut self, index: usize, id: LineId, header: Header, last: u64) {
        let now = self.context.now();
        let space = &mut self.spaces[index];
        // 2^64-1 stands for 2^64 where there is a message of that number.
        let last = if header.sequence == u64::MAX { last.max(space.believed) } else { last };
        if header.kind() == Kind::EndOfSession {
            // What lies ahead by the word of too few datagrams does not keep a session from ending.
            if last < space.surely(&self.config) {
                self.stats.ends_refused += 1;
                if index == 0 && space.end.is_none() {
                    let (ending, line) = space.overtaken.get_or_insert((Ending::none(last), id));
                    ending.vote(now, last);
                    *line = id;
                }
                return;
            }
            space.ending.get_or_insert(Ending::none(last)).vote(now, last);
        }
        // Nor is anything behind an end that is believed, until enough of them revoke it.
        let last = space.end.map_or(last, |end| last.min(end));
        space.believed = space.believed.max(last);
        if self.config.believe_after == 1 || header.kind() == Kind::EndOfSession {
            self.consider_claims();
        }
    }

    /// Takes messages into a space; returns how many were new, and what is delivered at once.
    pub(super) fn take_in(
        &mut self,
        index: usize,
        packet: &Incoming,
        payload: Payload<'_>,
        drained: bool,
    ) -> (u64, Direct) {
        let ordered = self.config.delivery == Delivery::Ordered;
        let delivers = self.halted.is_none() && !(ordered && index > 0);
        let opening = &self.spaces[index].opening;
        let begun = (packet.first <= opening.last()).then(|| {
            let blocks = payload.bytes().get(packet.offset..).unwrap_or_default();
            let count = (packet.last - packet.base + 1) as u16;
            opening.with(packet.first, Messages::new(packet.base, count, blocks))
        });
        let space = &mut self.spaces[index];
        space.proved = space.proved().max(packet.last);
        // What is to be told first would otherwise come behind what is returned at once.
        let told = space.announce.is_none() && space.withdrawn.is_none() && !space.gaps.is_untold();
        let direct = delivers && drained && told && !space.has_waiting();
        let now = self.context.now();
        let Self { spaces, store, stats, config, .. } = self;
        let missing_before = spaces[index].gaps.missing().len();
        let passes = (delivers, direct);
        let ingested = ingest(spaces, index, store, stats, now, config, packet, payload, passes);
        if let Some(begun) = begun.filter(|_| ingested.fresh > 0) {
            spaces[index].opening = begun;
        }
        let space = &spaces[index];
        stats.blocks_allocated = store.blocks_allocated();
        stats.copied_packets = store.copied();
        if space.gaps.missing().len() != missing_before {
            self.repair.look_again();
        }
        if ingested.fresh > 0 && packet.by == Filler::Line {
            self.cancel_requests(index, packet.first, packet.last);
        }
        let session = self.spaces[index].session;
        if let Some((sequence, held)) = ingested.contradiction {
            self.stats.contradictions += 1;
            let (held, dropped) = (Some(held), packet.origin);
            self.contradiction.get_or_insert(Contradiction { session, sequence, held, dropped });
        }
        if let Some(extent) = &ingested.direct {
            self.stats.delivered += extent.last - extent.first + 1;
        }
        (ingested.fresh, ingested.direct.map(|extent| (session, extent)))
    }

    /// Counts what a line brought, and measures its lag.
    fn count_line(&mut self, index: usize, id: LineId, packet: &Incoming, fresh: u64) {
        let space = &self.spaces[index];
        let count = packet.last - packet.first + 1;
        let late = if packet.first <= space.lost_until && fresh < count {
            space.count_lost(packet.first, packet.last).min(count - fresh)
        } else {
            0
        };
        if fresh > 0 && self.lines.wants_sample(id, packet.arrival) {
            self.lines.start_sample(id, packet.last, packet.arrival);
        } else if fresh == 0 {
            self.lines.take_sample(id, packet.first, packet.last, packet.arrival);
        }
        if let Some(line) = self.lines.get_mut(id) {
            line.stats.messages_first += fresh;
            line.stats.late += late;
            line.stats.duplicates += count - fresh - late;
        }
    }

    /// An answer, or what a server sends unasked.
    fn take_from_server(
        &mut self,
        arrival: Instant,
        mut server: Option<ServerId>,
        payload: Payload<'_>,
        drained: bool,
    ) -> Direct {
        let Ok(packet) = Packet::new_checked(payload.bytes()) else {
            self.stats.malformed_answers += 1;
            return None;
        };
        let header = *packet.header();
        let end = payload.bytes().len() - packet.trailing();
        self.stats.malformed_answers += u64::from(packet.trailing() > 0);
        if header.kind() != Kind::Data {
            self.stats.empty_answers += 1;
            return None;
        }
        let last = header.next().map_or(u64::MAX, |next| next - 1);
        if server.is_some() {
            self.confirm_claims(header.session, header.sequence, last);
        }
        let Some(index) = self.space_of(header.session) else {
            self.stats.foreign_answers += 1;
            return None;
        };
        let believed = self.spaces[index].believed;
        let mut incoming = Incoming {
            base: header.sequence,
            first: header.sequence,
            last,
            offset: BLOCKS_AT,
            end,
            origin: server.map_or(Origin::Unknown, Origin::Server),
            arrival,
            by: Filler::Answer,
        };
        match server {
            // What continues the feed is as good as the feed; what lies apart proves nothing.
            Some(_) if header.sequence > believed.saturating_add(1) => {
                self.answered(index, server, header.session, (header.sequence, last), 0);
                return None;
            }
            Some(_) => {}
            None => {
                let asked = self.servers.asked_for(header.session, header.sequence, last);
                let Some((asked, (from, to))) = asked else {
                    self.stats.unknown_peer += 1;
                    return None;
                };
                incoming.first = incoming.first.max(from);
                incoming.last = incoming.last.min(to).min(believed);
                if incoming.first > incoming.last {
                    return None;
                }
                // Whoever sends it, it is the answer of the server that was asked.
                server = Some(asked);
            }
        }
        let (fresh, direct) = self.take_in(index, &incoming, payload, drained);
        if incoming.origin != Origin::Unknown {
            let space = &mut self.spaces[index];
            space.confirmed = space.confirmed.max(last);
        }
        self.answered(index, server, header.session, (header.sequence, last), fresh);
        direct
    }

    /// Settles the request that an answer belongs to.
    fn answered(
        &mut self,
        index: usize,
        server: Option<ServerId>,
        session: Session,
        range: (u64, u64),
        fresh: u64,
    ) {
        if fresh > 0 {
            self.stats.useful_answers += 1;
            self.spaces[index].last_useful = self.context.now();
        }
        if let Some(server) = server {
            self.servers.answered(self.context.now(), server, session, range, fresh, &self.config);
        }
        self.repair.look_again();
    }

    /// The space of a session that is being received.
    pub(super) fn space_of(&self, session: Session) -> Option<usize> {
        self.spaces.iter().position(|space| space.active && space.session == session)
    }
}
