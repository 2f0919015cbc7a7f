//! The kinds of a datagram: in order, a copy, ahead of a gap, an answer, or a claim to be believed first.

use super::event::{Batch, Command, LineId, Origin, ServerId, Source};
use super::ingest::{Exit, Incoming, Ingested, ingest};
use super::line::Content;
use super::opening::Agreement;
use super::server::Span;
use super::store::{Extent, Payload};
use super::{AcceptAnswers, Delivery, Phase, Receiver};
use crate::wire::mold::{HEADER_LEN, Header, Kind, LENGTH_LEN, Packet, blocks_len};
use crate::{Instant, Session};

/// A packet of a line, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinePacket {
    pub(super) line: LineId,
    pub(super) kind: Kind,
    /// Its messages, up to the last number that it brings or speaks of.
    pub(super) extent: Extent,
}

/// Reads a packet: its kind, its messages, and whether bytes lie behind them.
fn read(payload: &Payload<'_>, origin: Origin, arrival: Instant) -> Option<(Kind, Extent, bool)> {
    let packet = Packet::new_checked(payload.bytes()).ok()?;
    let extent = Extent {
        session: packet.header().session,
        first: packet.header().sequence,
        last: packet.header().next().map_or(u64::MAX, |next| next - 1),
        offset: HEADER_LEN,
        end: payload.bytes().len() - packet.trailing(),
        origin,
        arrival,
        repaired: false,
    };
    Some((packet.header().kind(), extent, packet.trailing() > 0))
}

/// As [`blocks_len`], for more messages than one, in a frame of its own: beside all that the fast path has in use, a
/// value would go to the stack and come back for each message.
#[inline(never)]
fn walk(blocks: &[u8], count: u16) -> Option<usize> {
    blocks_len(blocks, count)
}

impl Receiver {
    /// The fast path, for what nearly every datagram is: the next messages in order, or copies of
    /// messages that were delivered. Anything else is left untouched: `None`, it is for the slow path.
    #[inline(always)]
    pub(super) fn fast_path<'a>(
        &mut self,
        arrival: Instant,
        source: Source,
        datagram: &'a [u8],
    ) -> Option<Option<Batch<&'a [u8]>>> {
        let Source::Line(id) = source else { return None };
        let header = Header::read(datagram)?;
        let space = &mut self.spaces[0];
        if self.phase != Phase::Steady || header.session != space.session || !space.is_clean() {
            return None;
        }
        let above_first = header.messages().checked_sub(1)?;
        let last = header.sequence.checked_add(u64::from(above_first))?;
        let wants_sample = self.lines.wants_sample(id, arrival);
        let line = self.lines.get_mut(id).filter(|line| line.stats.up)?;
        if header.sequence.checked_sub(1) == Some(space.settled) {
            let blocks = datagram.get(HEADER_LEN..).unwrap_or_default();
            let len = match header.count {
                1 => blocks_len(blocks, 1),
                count => walk(blocks, count),
            }?;
            space.settled = last;
            space.tracked = last;
            space.highest_known = last;
            self.stats.delivered += u64::from(header.count);
            line.last_packet_at = self.context.now();
            line.stats.packets += 1;
            line.stats.messages_first += u64::from(header.count);
            line.stats.trailing += u64::from(len < blocks.len());
            // No marks: nothing is missing.
            line.reach(self.context.now(), last, last, self.config.quiet);
            if wants_sample {
                self.lines.start_sample(id, last, arrival);
            }
            return Some(Some(Batch {
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
            return None;
        }
        line.last_packet_at = self.context.now();
        line.stats.packets += 1;
        line.stats.duplicates += u64::from(header.count);
        line.reach(self.context.now(), last, space.settled, self.config.quiet);
        if line.has_regression() {
            self.context.pend();
            self.phase = Phase::Eventful;
        }
        if wants_sample {
            self.lines.take_sample(id, header.sequence, last, arrival);
        }
        Some(None)
    }

    /// The slow path, for any datagram. A batch that is delivered at once is returned, if the payload is only
    /// borrowed; everything else is left to the drain.
    #[cold]
    #[inline(never)]
    pub(super) fn slow_path(
        &mut self,
        arrival: Instant,
        source: Source,
        payload: Payload<'_>,
    ) -> Option<Extent> {
        let drained = !self.context.is_draining();
        self.context.pend();
        self.phase = Phase::Eventful;
        self.pass_time();
        match source {
            Source::Line(line) => self.take_from_line(arrival, line, payload, drained),
            Source::LineFrom(line, peer) => match self.repair.servers.at(peer) {
                Some(server) if self.is_answer(server, payload.bytes()) => {
                    self.take_from_server(arrival, Some(server), payload, drained)
                }
                _ => self.take_from_line(arrival, line, payload, drained),
            },
            Source::Peer(peer) => {
                match (self.repair.servers.at(peer), self.config.accept_answers) {
                    (None, AcceptAnswers::Configured) => {
                        self.stats.unknown_peer += 1;
                        self.unwanted.address = Some(peer);
                        None
                    }
                    (server, _) => self.take_from_server(arrival, server, payload, drained),
                }
            }
        }
    }

    /// Returns true if a server's packet on a line's socket is an answer: it lies in a range that the
    /// server was asked for.
    fn is_answer(&self, server: ServerId, datagram: &[u8]) -> bool {
        let Some(header) = Header::read(datagram) else { return false };
        let last = header.sequence.saturating_add(u64::from(header.messages().max(1)) - 1);
        let span = Span { session: header.session, first: header.sequence, last };
        header.kind() == Kind::Data && self.repair.servers.was_asked(server, span)
    }

    fn take_from_line(
        &mut self,
        arrival: Instant,
        id: LineId,
        payload: Payload<'_>,
        drained: bool,
    ) -> Option<Extent> {
        let Some(line) = self.lines.get_mut(id) else {
            self.stats.unknown_line += 1;
            return None;
        };
        let Some((kind, extent, trails)) = read(&payload, Origin::Line(id), arrival) else {
            line.stats.malformed += 1;
            return None;
        };
        line.stats.trailing += u64::from(trails && kind == Kind::Data);
        self.stats.session_not_ascii += u64::from(!extent.session.is_ascii());
        let mut packet = LinePacket { line: id, kind, extent };
        let Some(index) = self.space_of(extent.session) else {
            self.take_from_unknown(packet, payload);
            return None;
        };
        self.lines.note_packet(self.context.now(), id);
        // Heartbeats and ends speak of what lies before their number; but behind the last number there
        // is none, and senders name that number itself.
        if extent.first == u64::MAX && self.spaces[index].highest_known == u64::MAX {
            packet.extent.last = u64::MAX;
        }
        if self.is_jump(index, packet) {
            self.vote_jump(index, packet, payload);
            return None;
        }
        let content = self.note_content(index, packet, &payload);
        if content == Content::Suspect {
            self.stats.suspected += 1;
            return None;
        }
        self.note_line(index, packet);
        if packet.kind != Kind::Data {
            self.note_edge(index, packet);
            return None;
        }
        let incoming = Incoming::new(packet.extent, self.context.now());
        // A regression is emitted before what comes with it is delivered.
        let is_plain = content == Content::Plain;
        let (fresh, direct) = self.take_in(index, incoming, payload, drained && is_plain);
        self.count_line(index, id, &packet.extent, fresh);
        direct
    }

    /// Compares what a packet brings with what the session began with: its sender may have started over.
    fn note_content(&mut self, index: usize, packet: LinePacket, payload: &Payload<'_>) -> Content {
        if index > 0 {
            return Content::Plain;
        }
        let space = &self.spaces[index];
        let settled = space.settled;
        let Extent { first, last, .. } = packet.extent;
        let agreement = match packet.kind == Kind::Data && first <= space.opening.last() {
            true => space.opening.compare(packet.extent.messages(payload.bytes())),
            false => Agreement::Unknown,
        };
        let Some(line) = self.lines.get_mut(packet.line) else { return Content::Plain };
        let rules = (self.config.believe_after, self.config.quiet);
        let content =
            line.note_content(self.context.now(), (first, last), settled, agreement, rules);
        let has_regressed = line.is_regressed();
        if let Agreement::Contradicts(sequence) = agreement {
            // Held messages are compared in `take_in`.
            let is_delivered = sequence <= settled || self.config.delivery == Delivery::Arrival;
            if is_delivered && !has_regressed {
                self.contradict(index, sequence, None, packet.extent.origin);
            }
        }
        content
    }

    /// Notes what a packet says about its line and the edge of the feed.
    fn note_line(&mut self, index: usize, packet: LinePacket) {
        let LinePacket { kind, extent: Extent { first, last, .. }, .. } = packet;
        let space = &mut self.spaces[index];
        let was_clean = space.is_clean();
        let in_order = first.wrapping_sub(1) == space.settled;
        let mut moves_on = last > space.highest_known;
        // No quorum is needed while nothing is missing: an honest next packet keeps it so.
        if !was_clean || !in_order || kind != Kind::Data {
            moves_on |= space.note_reach(kind, last);
        }
        space.note_claim(self.context.now(), kind, last, packet.line);
        let alive = moves_on || (kind == Kind::Heartbeat && last == space.highest_known);
        if alive && let Some(mut jump) = space.jump.take() {
            self.store.clear(&mut jump.pieces);
            self.stats.unbelieved += 1;
        }
        self.stats.ends_refused += space.contest_ends(self.context.now(), kind, last, moves_on);
        if index == 0 {
            if alive {
                self.drop_pending_session();
            }
            if was_clean && !in_order {
                self.lines.start_marks();
            }
            self.lines.note_reach(self.context.now(), packet.line, last, self.spaces[0].settled);
            self.repair.note_passed(&mut self.spaces[0], &self.lines);
        }
        self.withdraw_claims(index);
    }

    /// Notes what a heartbeat or an end says: everything up to `last` exists.
    fn note_edge(&mut self, index: usize, packet: LinePacket) {
        let LinePacket { line, kind, extent: Extent { last, .. } } = packet;
        let space = &mut self.spaces[index];
        let is_end = kind == Kind::EndOfSession;
        if is_end && space.claim_end(self.context.now(), last, line, index == 0) {
            self.stats.ends_refused += 1;
            return;
        }
        // Nor is anything behind an end that is believed, until enough of them revoke it.
        let last = space.evidence.end.map_or(last, |end| last.min(end));
        space.highest_known = space.highest_known.max(last);
        if self.config.believe_after == 1 || is_end {
            self.consider_claims();
        }
    }

    /// Takes messages into a space; returns how many were new, and what is delivered at once.
    pub(super) fn take_in(
        &mut self,
        index: usize,
        packet: Incoming,
        payload: Payload<'_>,
        drained: bool,
    ) -> (u64, Option<Extent>) {
        let Extent { first, last, origin, .. } = packet.extent;
        let delivers = self.delivers(index);
        let opening = &self.spaces[index].opening;
        let begun = (first <= opening.last()).then(|| {
            let all = Extent { first: packet.base, ..packet.extent };
            opening.with(first, all.messages(payload.bytes()))
        });
        let space = &mut self.spaces[index];
        space.prove(last);
        // What must be emitted first would otherwise come behind what is returned at once.
        let is_first = drained && !space.has_news() && !space.has_waiting();
        let exit = match payload {
            _ if !delivers => Exit::Held,
            Payload::Borrowed(_) if is_first => Exit::Direct,
            _ => Exit::Drain,
        };
        let missing_before = space.gaps.missing().len();
        let ingested = ingest(&mut self.spaces, index, &mut self.store, packet, payload, exit);
        let Ingested { fresh, direct, contradiction, .. } = ingested;
        let space = &mut self.spaces[index];
        if let Some(begun) = begun.filter(|_| fresh > 0) {
            space.opening = begun;
        }
        self.stats.put_off_for_memory += ingested.dropped_for_memory;
        self.stats.put_off_for_gaps += ingested.dropped_for_gaps;
        self.stats.blocks_allocated = self.store.blocks.allocated();
        self.stats.copied_packets = self.store.copied;
        if space.gaps.missing().len() != missing_before {
            self.repair.invalidate();
        }
        if fresh > 0 && matches!(origin, Origin::Line(_)) {
            let space = &self.spaces[index];
            self.stats.requests_cancelled += self.repair.cancel(space, first, last);
        }
        if let Some((sequence, held)) = contradiction {
            self.contradict(index, sequence, Some(held), origin);
        }
        self.stats.delivered += direct.map_or(0, |extent| extent.count());
        (fresh, direct)
    }

    /// Counts a message that came with other bytes than before; the first of a drain is emitted.
    fn contradict(&mut self, index: usize, sequence: u64, held: Option<Origin>, dropped: Origin) {
        let session = self.spaces[index].session;
        self.stats.contradictions += 1;
        let found = Command::Contradiction { session, sequence, held, dropped };
        self.contradiction.get_or_insert((session, found));
    }

    /// Counts what a line brought, and measures its lag.
    fn count_line(&mut self, index: usize, id: LineId, extent: &Extent, fresh: u64) {
        let Extent { first, last, arrival, .. } = *extent;
        let space = &self.spaces[index];
        let count = extent.count();
        let late = space.count_lost(first, last).min(count - fresh);
        if fresh > 0 && self.lines.wants_sample(id, arrival) {
            self.lines.start_sample(id, last, arrival);
        } else if fresh == 0 {
            self.lines.take_sample(id, first, last, arrival);
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
        server: Option<ServerId>,
        payload: Payload<'_>,
        drained: bool,
    ) -> Option<Extent> {
        let origin = server.map_or(Origin::Unknown, Origin::Server);
        let Some((kind, extent, trails)) = read(&payload, origin, arrival) else {
            self.stats.malformed_answers += 1;
            return None;
        };
        self.stats.malformed_answers += u64::from(trails);
        if kind != Kind::Data {
            self.stats.empty_answers += 1;
            return None;
        }
        let span = extent.span();
        let Span { session, first, last } = span;
        if server.is_some() {
            self.confirm_claims(span);
        }
        let Some(index) = self.space_of(session) else {
            self.stats.foreign_answers += 1;
            return None;
        };
        let highest_known = self.spaces[index].highest_known;
        let mut incoming = Incoming::new(extent, self.context.now());
        let server = match server {
            // An answer that continues the feed is as good as the feed; one that lies apart proves nothing.
            Some(server) if first > highest_known.saturating_add(1) => {
                self.answered(index, server, span, 0);
                return None;
            }
            Some(server) => server,
            None => {
                let Some((asked, asked_for)) = self.repair.servers.asked_for(span) else {
                    self.stats.unknown_peer += 1;
                    return None;
                };
                incoming.extent.first = incoming.extent.first.max(asked_for.first);
                incoming.extent.last = incoming.extent.last.min(asked_for.last).min(highest_known);
                if incoming.extent.first > incoming.extent.last {
                    return None;
                }
                // Whoever sends it, it is the answer of the server that was asked.
                asked
            }
        };
        let (fresh, direct) = self.take_in(index, incoming, payload, drained);
        if origin != Origin::Unknown {
            self.spaces[index].evidence.confirm(last);
        }
        self.answered(index, server, span, fresh);
        direct
    }

    /// Settles the request that an answer belongs to.
    fn answered(&mut self, index: usize, server: ServerId, span: Span, fresh: u64) {
        if fresh > 0 {
            self.stats.useful_answers += 1;
            self.spaces[index].last_useful = self.context.now();
        }
        self.repair.servers.answered(self.context.now(), server, span, fresh);
        self.repair.invalidate();
    }

    /// The space of a session that is being received.
    pub(super) fn space_of(&self, session: Session) -> Option<usize> {
        self.spaces.iter().position(|space| space.receives(session))
    }
}
