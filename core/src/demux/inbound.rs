//! The way of a stream through the machine: parked, dispatched, held, refused.

use bytes::{Buf, Bytes};

use super::Demux;
use super::codes::{DEADLINE, FIN_IN_PREAMBLE, NO_ACCEPTOR, RESERVED, TOO_MANY, TOO_MANY_OF_PEER};
use super::event::{AcceptorId, Command, StreamId};
use super::tag::Tag;
use super::waiting::{Piece, Stream, Waits};
use crate::wire::tag::{Malformed, is_reserved};

/// The next step for a stream whose tag is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    Dispatch(AcceptorId),
    Wait(Waits),
    Refuse(u64),
}

/// A stream whose preamble is whole, with the payload that came with it.
struct Begun {
    id: StreamId,
    tag: Tag,
    piece: Piece,
}

impl Demux {
    /// The registration for a tag, and where a stream with it goes now; whether it may wait for somebody
    /// who registers it.
    fn route(&self, tag: &[u8], may_wait: bool) -> (Option<u32>, Next) {
        let registered = self.registry.look_up(tag);
        let next = match registered.and_then(|at| self.registry.acceptor(at)) {
            Some(acceptor) if self.registry.is_paused(acceptor) => Next::Wait(Waits::For(acceptor)),
            Some(acceptor) => Next::Dispatch(acceptor),
            None if is_reserved(tag) => Next::Refuse(RESERVED),
            None if may_wait => Next::Wait(Waits::Unclaimed),
            None => Next::Refuse(NO_ACCEPTOR),
        };
        (registered, next)
    }

    /// The same of a held stream. One that is unclaimed stays so until a timeout says otherwise.
    fn route_held(&self, stream: &Stream) -> (Option<u32>, Next) {
        let is_early = stream.since + self.config.hold > self.context.now();
        self.route(stream.tag(), is_early || stream.waits == Waits::Unclaimed)
    }

    /// Takes what comes of a stream: its first bytes, or further ones of one that is parked.
    pub(super) fn receive(&mut self, known: Option<u32>, id: StreamId, mut piece: Piece) {
        let tag = match known {
            Some(at) => self.waiting.extend(at, &mut piece.rest),
            None => {
                let tag = Tag::of_head(&piece.rest);
                tag.inspect(|tag| piece.rest.advance(1 + tag.len()))
            }
        };
        match tag {
            Ok(tag) => self.begin(known, Begun { id, tag, piece }),
            Err(Malformed::Empty) => self.refuse(known, None, id, NO_ACCEPTOR),
            Err(Malformed::Incomplete { .. }) if piece.fin => {
                self.refuse(known, None, id, FIN_IN_PREAMBLE);
            }
            Err(Malformed::Incomplete { .. }) if known.is_some() || piece.rest.is_empty() => {}
            Err(Malformed::Incomplete { .. }) => {
                match self.place(None, id, self.pending() >= self.config.max_pending) {
                    Ok(at) => {
                        self.stats.parked += 1;
                        // It stays incomplete.
                        let _ = self.waiting.extend(at, &mut piece.rest);
                    }
                    Err(code) => self.refuse(None, None, id, code),
                }
            }
        }
    }

    /// Dispatches, holds or refuses a stream whose preamble is whole.
    fn begin(&mut self, known: Option<u32>, begun: Begun) {
        let (id, may_wait) = (begun.id, !self.config.hold.is_zero());
        let (registered, mut next) = self.route(&begun.tag, may_wait);
        if !matches!(next, Next::Refuse(_))
            && self.context.is_draining()
            && self.waiting.is_moving()
        {
            next = Next::Wait(Waits::Turn);
        }
        let code = match next {
            Next::Dispatch(acceptor) => {
                known.and_then(|at| self.waiting.forget(at));
                return self.dispatch(acceptor, registered, begun);
            }
            Next::Wait(waits) => match self.place(known, id, self.is_full(waits, &begun.piece)) {
                Ok(at) => {
                    self.registry.count(registered, |stats| stats.held += 1);
                    return self.hold(at, waits, begun);
                }
                Err(code) => code,
            },
            Next::Refuse(code) => code,
        };
        self.refuse(known, registered, id, code);
    }

    /// The place of a stream that is to wait, or the code with which it is refused.
    fn place(&mut self, known: Option<u32>, id: StreamId, is_full: bool) -> Result<u32, u64> {
        let of_peer = self.waiting.count_of_peer(id.peer);
        if known.is_none() && of_peer >= self.config.max_pending_per_peer {
            return Err(TOO_MANY_OF_PEER);
        }
        if is_full {
            return Err(TOO_MANY);
        }
        known.or_else(|| self.waiting.park(id, self.context.now())).ok_or(TOO_MANY)
    }

    /// True when no more stream, with this payload, can be held.
    fn is_full(&self, waits: Waits, piece: &Piece) -> bool {
        let bytes = self.held_bytes().saturating_add(piece.cost());
        self.held() >= self.config.max_held
            || bytes > self.config.max_held_bytes
            || self.is_full_for(waits)
    }

    /// True when as many wait for the same as may. Streams that go on are soon gone, and not limited.
    fn is_full_for(&self, waits: Waits) -> bool {
        let is_limited = match waits {
            Waits::For(acceptor) => self.registry.is_paused(acceptor),
            waits => waits == Waits::Unclaimed,
        };
        is_limited && self.waiting.count(waits) >= self.config.max_held_per_acceptor
    }

    fn dispatch(&mut self, acceptor: AcceptorId, registered: Option<u32>, begun: Begun) {
        let Begun { id: stream, tag, piece } = begun;
        self.stats.dispatched += 1;
        self.registry.count(registered, |stats| stats.dispatched += 1);
        let tag_bytes = tag.heap();
        self.push(Command::Dispatch { stream, acceptor, tag }, tag_bytes);
        self.push_data(stream, acceptor, piece);
    }

    /// The acceptor of a stream whose dispatch is due: what comes of it meanwhile follows that.
    pub(super) fn due_to(&self, stream: StreamId) -> Option<AcceptorId> {
        self.pending.iter().find_map(|(command, _)| match command {
            Command::Dispatch { stream: of, acceptor, .. } if *of == stream => Some(*acceptor),
            _ => None,
        })
    }

    pub(super) fn push_data(&mut self, stream: StreamId, acceptor: AcceptorId, piece: Piece) {
        let cost = piece.shared_cost();
        let Piece { rest: bytes, fin, .. } = piece;
        if !bytes.is_empty() || fin {
            self.push(Command::Data { stream, acceptor, bytes, fin }, cost);
        }
    }

    /// Holds a stream that has a place.
    fn hold(&mut self, at: u32, waits: Waits, begun: Begun) {
        let Begun { id: stream, tag, mut piece } = begun;
        self.stats.held += 1;
        let cost = piece.cost();
        if piece.is_copied() {
            self.stats.payloads_copied += u64::from(!piece.rest.is_empty());
            piece.rest = Bytes::copy_from_slice(&piece.rest);
        }
        piece.pinned = cost;
        self.waiting.hold(at, waits, &tag, piece, self.context.now());
        self.push(Command::Hold { stream }, 0);
    }

    /// Refuses a stream, which leaves its place; for one that was registered for no place is left.
    fn refuse(&mut self, known: Option<u32>, registered: Option<u32>, stream: StreamId, code: u64) {
        known.and_then(|at| self.waiting.forget(at));
        self.registry.count(registered, |stats| stats.refused += 1);
        self.stats.refused.count(code);
        self.push(Command::Refuse { stream, code }, 0);
    }

    /// Evaluates the routes of held streams anew, after the registrations changed. Those that are to wait
    /// for something else leave their places, and find the next in their turn.
    pub(super) fn re_evaluate(&mut self) {
        let mut next = self.waiting.first_from(Waits::Unclaimed, 0);
        while let Some((at, stream)) = next.and_then(|at| Some((at, self.waiting.get(at)?))) {
            let stays = self.route_held(stream).1 == Next::Wait(stream.waits);
            next = self.waiting.after(at);
            if !stays {
                self.waiting.requeue(at, Waits::Turn);
                self.context.pend();
            }
        }
    }

    /// The limits of waiting: for what, for how long, and the code of the refusal then.
    pub(super) const fn limits(&self) -> [(Waits, crate::Duration, u64); 2] {
        [
            (Waits::Preamble, self.config.preamble_timeout, DEADLINE),
            (Waits::Unclaimed, self.config.hold, NO_ACCEPTOR),
        ]
    }

    /// Goes on with the next stream that does not wait any more; whether there was one.
    pub(super) fn advance(&mut self) -> bool {
        if let Some((at, code)) = self.expired() {
            if let Some(stream) = self.waiting.forget(at) {
                self.refuse(None, None, stream.id, code);
            }
        } else if let Some(at) = self.waiting.first_for(Waits::Turn) {
            self.take_turn(at);
        } else if let Some(acceptor) = self.waiting.resumed() {
            match self.waiting.first_for(Waits::For(acceptor)) {
                Some(at) if !self.registry.is_paused(acceptor) => self.dispatch_held(at, acceptor),
                _ => self.waiting.stop(acceptor),
            }
        } else {
            return false;
        }
        true
    }

    /// While a timeout is drained, a stream that has waited too long.
    fn expired(&self) -> Option<(u32, u64)> {
        if !self.context.is_timeout() {
            return None;
        }
        self.limits().into_iter().find_map(|(waits, most, code)| {
            let (deadline, at) = self.waiting.deadline(waits, most)?;
            (deadline <= self.context.now()).then_some((at, code))
        })
    }

    /// Dispatches a held stream, though its acceptor may pause.
    pub(super) fn dispatch_held(&mut self, at: u32, acceptor: AcceptorId) {
        let Some(stream) = self.waiting.forget(at) else { return };
        let Ok(tag) = Tag::new(stream.tag()) else { return };
        let registered = self.registry.look_up(&tag);
        self.dispatch(acceptor, registered, Begun { id: stream.id, tag, piece: stream.piece });
    }

    /// Dispatches or refuses a stream in its turn, or lets it wait for what it is to wait for now.
    fn take_turn(&mut self, at: u32) {
        let Some(stream) = self.waiting.get(at) else { return };
        let (id, (registered, next)) = (stream.id, self.route_held(stream));
        let code = match next {
            // Others that are held for it go before.
            Next::Dispatch(acceptor) if self.waiting.count(Waits::For(acceptor)) > 0 => {
                return self.waiting.requeue(at, Waits::For(acceptor));
            }
            Next::Dispatch(acceptor) => return self.dispatch_held(at, acceptor),
            Next::Wait(waits) if !self.is_full_for(waits) => {
                return self.waiting.requeue(at, waits);
            }
            Next::Wait(_) => TOO_MANY,
            Next::Refuse(code) => code,
        };
        self.refuse(Some(at), registered, id, code);
    }
}
