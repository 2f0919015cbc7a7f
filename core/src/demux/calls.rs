//! Every event as a call.

use bytes::Bytes;

use super::event::{AcceptorId, Command, Event, Pattern, PeerId, Registrant, StreamId};
use super::tag::Preamble;
use super::waiting::Waits;
use super::{Demux, NO_ACCEPTOR, Refusal};
use crate::Instant;
use crate::wire::tag::is_reserved;

impl Demux {
    /// Makes the call that an event stands for.
    ///
    /// # Errors
    /// Those of the call.
    pub fn call(&mut self, now: Instant, event: Event<'_>) -> Result<(), Refusal> {
        match event {
            Event::Register { acceptor, pattern, by } => self.register(now, acceptor, pattern, by),
            Event::Unregister { pattern } => self.unregister(now, pattern),
            Event::AcceptorGone { acceptor } => self.acceptor_gone(now, acceptor),
            Event::Pause { acceptor } => self.pause(now, acceptor),
            Event::Resume { acceptor } => self.resume(now, acceptor),
            Event::Take { acceptor } => self.take(now, acceptor),
            Event::Data { stream, offset, bytes, pinned, fin } => {
                self.data(now, stream, offset, bytes, pinned, fin)
            }
            Event::Reset { stream, code: _ } => self.reset(now, stream),
            Event::Closed { stream } => self.closed(now, stream),
            Event::PeerGone { peer } => self.peer_gone(now, peer),
            Event::HandOffFailed { stream, acceptor, tag } => {
                self.hand_off_failed(now, stream, acceptor, tag)
            }
            Event::Open { stream, tag, by } => self.open(now, stream, tag, by),
        }
    }

    /// Gives the streams of a tag, or of all tags with a prefix, to an acceptor. Doing so again changes
    /// nothing. Streams that are held are looked up again: for some it may be the one they waited for.
    ///
    /// An acceptor that has no registration is none; its first makes it one, and it does not pause.
    ///
    /// # Errors
    /// [`Conflict`](Refusal::Conflict): another acceptor has it. [`Reserved`](Refusal::Reserved): it is for
    /// protocols only. [`Length`](Refusal::Length), [`TooManyRegistrations`](Refusal::TooManyRegistrations),
    /// [`Undrained`](Refusal::Undrained).
    pub fn register(
        &mut self,
        now: Instant,
        acceptor: AcceptorId,
        pattern: Pattern<'_>,
        by: Registrant,
    ) -> Result<(), Refusal> {
        self.drained()?;
        let is_new = self.add(acceptor, pattern, by)?;
        self.pass(now);
        if is_new {
            self.look_again();
        }
        self.settle();
        Ok(())
    }

    /// Takes a registration back, whoever has it; there need be none. Streams that wait for its acceptor
    /// are looked up again: another registration may be for them too, or they are refused. Dispatched ones
    /// stay where they are.
    ///
    /// # Errors
    /// [`Undrained`](Refusal::Undrained).
    pub fn unregister(&mut self, now: Instant, pattern: Pattern<'_>) -> Result<(), Refusal> {
        self.drained()?;
        self.pass(now);
        if let Some(owner) = self.remove_pattern(pattern) {
            self.look_again();
            self.let_go(owner);
        }
        self.settle();
        Ok(())
    }

    /// Takes all registrations of an acceptor back, as [`unregister`](Self::unregister); there need be
    /// none.
    ///
    /// # Errors
    /// [`Undrained`](Refusal::Undrained).
    pub fn acceptor_gone(&mut self, now: Instant, acceptor: AcceptorId) -> Result<(), Refusal> {
        self.drained()?;
        self.pass(now);
        if let Some(owner) = self.find_acceptor(acceptor) {
            self.remove_all_of(owner);
            self.look_again();
            self.let_go(owner);
        }
        self.settle();
        Ok(())
    }

    /// Dispatches nothing to an acceptor until it resumes: streams for it are held, up to the configured
    /// numbers. Who has no registration cannot pause: nothing happens.
    ///
    /// # Errors
    /// [`Undrained`](Refusal::Undrained).
    pub fn pause(&mut self, now: Instant, acceptor: AcceptorId) -> Result<(), Refusal> {
        self.drained()?;
        self.pass(now);
        if let Some(at) = self.find_acceptor(acceptor)
            && let Some(acceptor) = self.acceptors.get_mut(at)
        {
            acceptor.is_paused = true;
        }
        Ok(())
    }

    /// Dispatches to an acceptor again, first what is held for it, all of it, in the order in which the
    /// preambles were whole.
    ///
    /// # Errors
    /// [`Undrained`](Refusal::Undrained).
    pub fn resume(&mut self, now: Instant, acceptor: AcceptorId) -> Result<(), Refusal> {
        self.drained()?;
        self.pass(now);
        if let Some(at) = self.find_acceptor(acceptor)
            && let Some(acceptor) = self.acceptors.get_mut(at)
        {
            acceptor.is_paused = false;
            while let Some(stream) = self.first_for(Waits::For(at)) {
                self.shift(stream, Waits::Turn);
            }
        }
        self.settle();
        Ok(())
    }

    /// Dispatches to an acceptor that pauses the first of the streams that are held for it, in the order in
    /// which the preambles were whole, and no more: it pauses on. Whoever may want to stop after any of
    /// them takes them in this way, and [`resume`](Self::resume)s when [`held_for`](Self::held_for) says
    /// that none is left. Where none is held nothing happens.
    ///
    /// # Errors
    /// [`Undrained`](Refusal::Undrained).
    pub fn take(&mut self, now: Instant, acceptor: AcceptorId) -> Result<(), Refusal> {
        self.drained()?;
        self.pass(now);
        let at = self.find_acceptor(acceptor);
        if let Some(first) = at.and_then(|at| self.first_for(Waits::For(at))) {
            self.hand_out(first);
        }
        self.settle();
        Ok(())
    }

    /// Takes bytes of a stream that its peer opened, from its first on until the stream is dispatched,
    /// refused or held. `offset` bytes of it were given before, without a gap, `pinned` bytes of memory are
    /// kept alive by these, and `fin` says that the stream ends behind them.
    ///
    /// Only what is at offset 0 can begin a preamble. What is behind it, of a stream that is not parked, is
    /// still in flight from before it was refused: it is dropped. So is what comes of a dispatched one.
    /// An empty piece that does not end the stream is nothing.
    ///
    /// # Errors
    /// [`OutOfOrder`](Refusal::OutOfOrder): a parked stream goes on elsewhere. [`Held`](Refusal::Held): the
    /// stream is not to be read. [`Undrained`](Refusal::Undrained).
    pub fn data(
        &mut self,
        now: Instant,
        stream: StreamId,
        offset: u64,
        bytes: Bytes,
        pinned: usize,
        fin: bool,
    ) -> Result<(), Refusal> {
        self.drained()?;
        let known = self.find(stream);
        if let Some(parked) = known.and_then(|at| self.streams.get(at)) {
            if parked.waits != Waits::Preamble {
                return Err(Refusal::Held);
            }
            let expected = parked.preamble().len() as u64;
            if offset != expected {
                return Err(Refusal::OutOfOrder { offset, expected });
            }
        }
        self.pass(now);
        let piece = super::Piece { rest: bytes, pinned, fin };
        match known {
            Some(at) => self.go_on(at, stream, piece),
            None if offset == 0 => self.begin(stream, piece),
            None => self.stats.stray += 1,
        }
        self.settle();
        Ok(())
    }

    /// Forgets a stream that its peer reset, if it is parked or held.
    ///
    /// # Errors
    /// [`Undrained`](Refusal::Undrained).
    pub fn reset(&mut self, now: Instant, stream: StreamId) -> Result<(), Refusal> {
        self.drained()?;
        self.pass(now);
        let gone = self.find(stream).and_then(|at| self.forget(at));
        self.stats.forgotten.reset += u64::from(gone.is_some());
        Ok(())
    }

    /// Forgets a stream that was closed, if it is parked or held.
    ///
    /// # Errors
    /// [`Undrained`](Refusal::Undrained).
    pub fn closed(&mut self, now: Instant, stream: StreamId) -> Result<(), Refusal> {
        self.drained()?;
        self.pass(now);
        let gone = self.find(stream).and_then(|at| self.forget(at));
        self.stats.forgotten.closed += u64::from(gone.is_some());
        Ok(())
    }

    /// Forgets all streams of a connection that are parked or held, also those that are held whole: they
    /// are gone as what was not read of others is, though their peer may have been told that they arrived.
    ///
    /// # Errors
    /// [`Undrained`](Refusal::Undrained).
    pub fn peer_gone(&mut self, now: Instant, peer: PeerId) -> Result<(), Refusal> {
        self.drained()?;
        self.pass(now);
        while let Some(at) = self.first_of_peer(peer) {
            self.forget(at);
            self.stats.forgotten.peer_gone += 1;
        }
        Ok(())
    }

    /// Says that a dispatched stream could not be handed over, so that the acceptor hears "closed" behind
    /// "opened", and the peer that nobody takes it.
    ///
    /// # Errors
    /// [`NotDispatched`](Refusal::NotDispatched): it is parked or held. [`Undrained`](Refusal::Undrained).
    pub fn hand_off_failed(
        &mut self,
        now: Instant,
        stream: StreamId,
        acceptor: AcceptorId,
        tag: &[u8],
    ) -> Result<(), Refusal> {
        self.drained()?;
        if self.find(stream).is_some() {
            return Err(Refusal::NotDispatched);
        }
        self.pass(now);
        self.stats.hand_off_failed += 1;
        if let Some(at) = self.look_up(tag) {
            self.count_tag(at, |stats| stats.failed += 1);
        }
        self.first = Some(Command::Closed { stream, acceptor });
        self.second = Some(Command::Refuse { stream, code: NO_ACCEPTOR });
        self.settle();
        Ok(())
    }

    /// Begins an own stream: its preamble is to be written before anything else. Only its opener's
    /// direction has one.
    ///
    /// # Errors
    /// [`Reserved`](Refusal::Reserved): the tag is for protocols only. [`Length`](Refusal::Length),
    /// [`Undrained`](Refusal::Undrained).
    pub fn open(
        &mut self,
        now: Instant,
        stream: StreamId,
        tag: &[u8],
        by: Registrant,
    ) -> Result<(), Refusal> {
        self.drained()?;
        let preamble = Preamble::new(tag)?;
        if by == Registrant::Application && is_reserved(tag) {
            return Err(Refusal::Reserved);
        }
        self.pass(now);
        self.stats.opened += 1;
        self.first = Some(Command::Write { stream, preamble });
        self.settle();
        Ok(())
    }
}
