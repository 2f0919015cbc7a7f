//! What becomes of a stream: parked, dispatched, held, refused.

use bytes::{Buf, Bytes};

use super::acceptors::Route;
use super::event::{Command, StreamId};
use super::tag::Tag;
use super::waiting::{Stream, Waits};
use super::{DEADLINE, Demux, FIN_IN_PREAMBLE, NO_ACCEPTOR, RESERVED, TOO_MANY, TOO_MANY_OF_PEER};
use crate::Instant;
use crate::storage::ring::SHARED;
use crate::wire::tag::{Head, Malformed};

/// Payload up to this size is copied when it is held: what it would keep alive beside itself is not
/// known to the byte.
const SMALL: usize = 4096;

/// Bytes of a stream as an event brings them; later, what of them is payload.
pub(super) struct Piece {
    pub(super) rest: Bytes,
    pub(super) pinned: usize,
    pub(super) fin: bool,
}

impl Piece {
    /// Whether it is copied when it is held.
    fn is_copied(&self) -> bool {
        self.rest.len() <= SMALL || self.pinned > 2 * self.rest.len()
    }

    /// Bytes that it keeps allocated while it is held.
    fn cost(&self) -> usize {
        match self.is_copied() {
            true => self.rest.len(),
            false => self.pinned.max(self.rest.len()).saturating_add(SHARED),
        }
    }
}

impl Demux {
    /// Takes the first bytes of a stream.
    pub(super) fn begin(&mut self, stream: StreamId, mut piece: Piece) {
        let head = match Head::new(&piece.rest) {
            Ok(head) => head,
            Err(Malformed::Empty) => return self.refuse(stream, NO_ACCEPTOR),
            Err(Malformed::Incomplete { .. }) if piece.fin => {
                return self.refuse(stream, FIN_IN_PREAMBLE);
            }
            Err(Malformed::Incomplete { .. }) if piece.rest.is_empty() => return,
            Err(Malformed::Incomplete { .. }) => return self.wait_for_more(stream, &piece.rest),
        };
        let (route, len) = (self.route(head.tag()), head.preamble_len());
        match route {
            Route::To { registered, acceptor } => {
                let Ok(tag) = Tag::new(head.tag()) else { return };
                piece.rest.advance(len);
                self.dispatch(stream, (registered, acceptor), tag, piece);
            }
            Route::Reserved => self.refuse(stream, RESERVED),
            Route::Nobody if self.config.hold.is_zero() => self.refuse(stream, NO_ACCEPTOR),
            Route::Nobody | Route::Paused { .. } => {
                let preamble = piece.rest.split_to(len);
                if self.is_full_of(stream) {
                    return self.refuse_for(stream, route, TOO_MANY_OF_PEER);
                }
                if !self.has_place(route, &piece) {
                    return self.refuse_for(stream, route, TOO_MANY);
                }
                let Some(at) = self.park(stream) else { return self.refuse(stream, TOO_MANY) };
                if let Some(parked) = self.streams.get_mut(at) {
                    parked.extend(&preamble);
                }
                self.hold(at, stream, route, piece);
            }
        }
    }

    /// Parks a stream of which these are the first bytes.
    fn wait_for_more(&mut self, stream: StreamId, bytes: &[u8]) {
        if self.is_full_of(stream) {
            return self.refuse(stream, TOO_MANY_OF_PEER);
        }
        if self.pending >= self.config.max_pending {
            return self.refuse(stream, TOO_MANY);
        }
        let Some(at) = self.park(stream) else { return self.refuse(stream, TOO_MANY) };
        self.stats.parked += 1;
        if let Some(parked) = self.streams.get_mut(at) {
            parked.extend(bytes);
        }
    }

    /// Takes further bytes of a parked stream.
    pub(super) fn go_on(&mut self, at: u32, stream: StreamId, mut piece: Piece) {
        let Some(parked) = self.streams.get_mut(at) else { return };
        let taken = parked.extend(&piece.rest);
        if Head::new(parked.preamble()).is_err() {
            if piece.fin {
                self.forget(at);
                self.refuse(stream, FIN_IN_PREAMBLE);
            }
            return;
        }
        piece.rest.advance(taken);
        let Some(tag) = self.held_tag(at) else { return };
        let route = self.route(&tag);
        match route {
            Route::To { registered, acceptor } => {
                self.forget(at);
                self.dispatch(stream, (registered, acceptor), tag, piece);
            }
            Route::Reserved => {
                self.forget(at);
                self.refuse(stream, RESERVED);
            }
            Route::Nobody if self.config.hold.is_zero() => {
                self.forget(at);
                self.refuse(stream, NO_ACCEPTOR);
            }
            Route::Nobody | Route::Paused { .. } if self.has_place(route, &piece) => {
                self.hold(at, stream, route, piece);
            }
            Route::Nobody | Route::Paused { .. } => {
                self.forget(at);
                self.refuse_for(stream, route, TOO_MANY);
            }
        }
    }

    /// Whether the peer of a stream has as many waiting as it may.
    fn is_full_of(&self, stream: StreamId) -> bool {
        self.count_of_peer(stream.peer) >= self.config.max_pending_per_peer
    }

    /// Whether one more stream, with this payload, can be held.
    fn has_place(&self, route: Route, piece: &Piece) -> bool {
        let bytes = self.held_bytes.saturating_add(piece.cost());
        self.held < self.config.max_held
            && bytes <= self.config.max_held_bytes
            && self.has_place_with(route)
    }

    /// Whether one more stream can wait for whom it is to go to.
    fn has_place_with(&self, route: Route) -> bool {
        let held = match route {
            Route::Paused { acceptor, .. } => self.acceptors.get(acceptor).map_or(0, |it| it.held),
            _ => self.unclaimed,
        };
        held < self.config.max_held_per_acceptor
    }

    fn dispatch(&mut self, stream: StreamId, to: (u32, u32), tag: Tag, piece: Piece) {
        let acceptor = self.acceptor_id(to.1);
        self.stats.dispatched += 1;
        self.count_tag(to.0, |stats| stats.dispatched += 1);
        self.first = Some(Command::Dispatch { stream, acceptor, tag });
        let Piece { rest: bytes, pinned, fin } = piece;
        if !bytes.is_empty() || fin {
            // What shares a buffer takes a few bytes beside it, and who brought it may not know.
            self.second_bytes = pinned.max(bytes.len()).saturating_add(SHARED);
            self.second = Some(Command::Data { stream, acceptor, bytes, fin });
        }
    }

    /// Holds a stream that has a place.
    fn hold(&mut self, at: u32, stream: StreamId, route: Route, mut piece: Piece) {
        let waits = match route {
            Route::Paused { registered, acceptor } => {
                self.count_tag(registered, |stats| stats.held += 1);
                Waits::For(acceptor)
            }
            _ => Waits::Anybody,
        };
        self.stats.held += 1;
        let cost = piece.cost();
        if piece.rest.is_empty() {
            piece.rest = Bytes::new();
        } else if piece.is_copied() {
            self.stats.payloads_copied += 1;
            piece.rest = Bytes::copy_from_slice(&piece.rest);
        }
        self.keep(at, waits, piece.rest, cost, piece.fin);
        self.first = Some(Command::Hold { stream });
    }

    fn refuse(&mut self, stream: StreamId, code: u64) {
        self.stats.refused.count(code);
        self.first = Some(Command::Refuse { stream, code });
    }

    /// Refuses a stream for which no place is left, where it was to wait.
    fn refuse_for(&mut self, stream: StreamId, route: Route, code: u64) {
        if let Route::Paused { registered, .. } = route {
            self.count_tag(registered, |stats| stats.refused += 1);
        }
        self.refuse(stream, code);
    }

    /// Looks up again who takes the streams that are held, after the registrations changed. Those for
    /// whom it is somebody else leave their places first, then each takes one, if it is to wait on: the
    /// others are told in their turn.
    pub(super) fn look_again(&mut self) {
        let mut next = self.first_behind_turns();
        while let Some(at) = next {
            next = self.after(at);
            if self.waits(at) != self.wanted(at).1 {
                self.shift(at, Waits::Turn);
            }
        }
        let mut next = self.first_for(Waits::Turn);
        while let Some(at) = next.filter(|&at| self.waits(at) == Some(Waits::Turn)) {
            next = self.after(at);
            if let (route, Some(waits)) = self.wanted(at)
                && self.has_place_with(route)
            {
                self.shift(at, waits);
            }
        }
    }

    /// Who is to take a held stream, and what it is to wait for; `None` when it is not to wait.
    fn wanted(&self, at: u32) -> (Route, Option<Waits>) {
        let Some(stream) = self.streams.get(at) else { return (Route::Nobody, None) };
        let route = self.route(stream.tag());
        let waits = match route {
            Route::Paused { acceptor, .. } => Some(Waits::For(acceptor)),
            // Until a timeout says otherwise.
            Route::Nobody if stream.waits == Waits::Anybody => Some(Waits::Anybody),
            Route::Nobody => {
                let is_over = stream.since + self.config.hold <= self.context.now();
                (!is_over).then_some(Waits::Anybody)
            }
            Route::To { .. } | Route::Reserved => None,
        };
        (route, waits)
    }

    /// Makes the next commands out of what waits, if something is due.
    pub(super) fn advance(&mut self) {
        if self.context.is_timeout() {
            let now = self.context.now();
            let is_over = |timeout: Option<Instant>| timeout.is_some_and(|it| it <= now);
            if is_over(self.deadline(Waits::Preamble, self.config.preamble_timeout)) {
                return self.expire(Waits::Preamble, DEADLINE);
            }
            if is_over(self.deadline(Waits::Anybody, self.config.hold)) {
                return self.expire(Waits::Anybody, NO_ACCEPTOR);
            }
        }
        if self.turns > 0
            && let Some(at) = self.first_for(Waits::Turn)
        {
            self.take_turn(at);
        }
    }

    fn expire(&mut self, waits: Waits, code: u64) {
        if let Some(stream) = self.first_for(waits).and_then(|at| self.forget(at)) {
            self.refuse(stream.id, code);
        }
    }

    /// Dispatches a stream that is held for an acceptor to it, though it pauses.
    pub(super) fn hand_out(&mut self, at: u32) {
        let (Route::To { registered, acceptor } | Route::Paused { registered, acceptor }) =
            self.wanted(at).0
        else {
            return;
        };
        let Some(stream) = self.forget(at) else { return };
        let Ok(tag) = Tag::new(stream.tag()) else { return };
        let piece = Piece { rest: stream.rest, pinned: stream.cost, fin: stream.fin };
        self.dispatch(stream.id, (registered, acceptor), tag, piece);
    }

    /// Dispatches or refuses a stream that waits for nothing else.
    fn take_turn(&mut self, at: u32) {
        let (route, waits) = self.wanted(at);
        if let Route::To { .. } = route {
            return self.hand_out(at);
        }
        let Some(Stream { id, .. }) = self.forget(at) else { return };
        match route {
            Route::Reserved => self.refuse(id, RESERVED),
            // It would wait, had it found a place.
            _ if waits.is_some() => self.refuse_for(id, route, TOO_MANY),
            _ => self.refuse(id, NO_ACCEPTOR),
        }
    }
}
