//! Every event as a call.

use bytes::Bytes;

use super::Demux;
use super::codes::NO_ACCEPTOR;
use super::config::Misuse;
use super::event::{AcceptorId, Command, Event, Pattern, PeerId, Refusal, Registrant, StreamId};
use super::tag::Tag;
use super::waiting::{Piece, Waits};
use crate::Instant;
use crate::wire::tag::is_reserved;

impl Demux {
    /// Makes the call that an event stands for; within, what an application is answered.
    ///
    /// # Errors
    /// Those of the call.
    pub fn call(&mut self, now: Instant, event: Event<'_>) -> Result<Result<(), Refusal>, Misuse> {
        event.dispatch(self, now)
    }

    /// Gives the streams of a tag, or of all tags with a prefix, to an acceptor. Doing so again changes
    /// nothing. Streams that are held are looked up again: for some it may be the one they waited for.
    ///
    /// An acceptor that has no registration is none; its first makes it one, and it does not pause.
    ///
    /// # Errors
    /// [`Conflict`](Refusal::Conflict): another acceptor has it. [`Reserved`](Refusal::Reserved): it is for
    /// protocols only. [`Length`](Refusal::Length), [`TooManyRegistrations`](Refusal::TooManyRegistrations).
    pub fn register(
        &mut self,
        now: Instant,
        acceptor: AcceptorId,
        pattern: Pattern<'_>,
        by: Registrant,
    ) -> Result<(), Refusal> {
        self.context.advance(now);
        let max = self.config.max_registrations;
        let is_new = self.registry.register(acceptor, pattern, by, max);
        if is_new.inspect_err(|_| self.stats.refusals += 1)? {
            self.re_evaluate();
        }
        Ok(())
    }

    /// Takes a registration back, whoever has it; there need be none. Streams that wait for its acceptor
    /// are looked up again: another registration may be for them too, or they are refused. Dispatched ones
    /// stay where they are.
    pub fn unregister(&mut self, now: Instant, pattern: Pattern<'_>) {
        self.context.advance(now);
        if self.registry.unregister(pattern) {
            self.re_evaluate();
        }
    }

    /// Takes all registrations of an acceptor back, as [`unregister`](Self::unregister); there need be
    /// none.
    pub fn acceptor_gone(&mut self, now: Instant, acceptor: AcceptorId) {
        self.context.advance(now);
        if self.registry.acceptor_gone(acceptor) {
            self.re_evaluate();
        }
    }

    /// Takes all credit of an acceptor: nothing is dispatched to it until it resumes, from now on, be it in
    /// the middle of a drain. Streams for it are held, up to the configured numbers. An acceptor without
    /// registration cannot pause: nothing happens.
    pub fn pause(&mut self, now: Instant, acceptor: AcceptorId) {
        self.context.advance(now);
        self.registry.pause(acceptor);
    }

    /// Gives an acceptor credit without a limit again. First it is given what is held for it, in the order
    /// in which the preambles were whole: each stream is looked for when its command is asked for, so that
    /// the acceptor may pause after any of them.
    pub fn resume(&mut self, now: Instant, acceptor: AcceptorId) {
        self.context.advance(now);
        self.registry.resume(acceptor);
        if self.waiting.resume(acceptor) {
            self.context.pend();
        }
    }

    /// Gives an acceptor that pauses credit for the first of the streams that are held for it, in the order
    /// in which the preambles were whole, and no more: it pauses on. Where none is held nothing happens. The
    /// stream taken is dispatched next, before streams that are looked up again in this drain.
    pub fn take(&mut self, now: Instant, acceptor: AcceptorId) {
        self.context.advance(now);
        if let Some(first) = self.waiting.first_for(Waits::For(acceptor)) {
            self.dispatch_held(first, acceptor);
        }
    }

    /// Takes bytes of a stream that its peer opened, from its first on until the stream is dispatched,
    /// refused or held. `offset` bytes of it were given before, without a gap, `pinned` bytes of memory are
    /// kept alive by these, and `fin` says that the stream ends behind them.
    ///
    /// Only what is at offset 0 can begin a preamble. Data behind it, of a stream that is not parked, is
    /// still in flight from before it was refused: it is dropped. So is what comes of one whose
    /// [`Dispatch`](Command::Dispatch) was taken; until then it follows that.
    /// An empty piece that does not end the stream is nothing.
    ///
    /// # Errors
    /// [`OutOfOrder`](Misuse::OutOfOrder): a parked stream goes on elsewhere. [`Held`](Misuse::Held): the
    /// stream is not to be read.
    pub fn data(
        &mut self,
        now: Instant,
        stream: StreamId,
        offset: u64,
        bytes: Bytes,
        pinned: usize,
        fin: bool,
    ) -> Result<(), Misuse> {
        let known = self.waiting.find(stream);
        if let Some(parked) = known.and_then(|at| self.waiting.get(at)) {
            if parked.waits != Waits::Preamble {
                return Err(Misuse::Held);
            }
            let expected = parked.preamble_len();
            if offset != expected {
                return Err(Misuse::OutOfOrder { offset, expected });
            }
        }
        self.context.advance(now);
        if known.is_none() && offset > 0 {
            match self.due_to(stream) {
                Some(acceptor) => {
                    self.push_data(stream, acceptor, Piece { rest: bytes, pinned, fin })
                }
                None => self.stats.stray += 1,
            }
        } else {
            self.receive(known, stream, Piece { rest: bytes, pinned, fin });
        }
        Ok(())
    }

    /// Forgets a stream that its peer reset, if it is parked or held.
    pub fn reset(&mut self, now: Instant, stream: StreamId) {
        self.stats.forgotten.reset += self.forget(now, stream);
    }

    /// Forgets a stream that was closed, if it is parked or held.
    pub fn closed(&mut self, now: Instant, stream: StreamId) {
        self.stats.forgotten.closed += self.forget(now, stream);
    }

    /// Forgets a stream; how many there were.
    fn forget(&mut self, now: Instant, stream: StreamId) -> u64 {
        self.context.advance(now);
        let gone = self.waiting.find(stream).and_then(|at| self.waiting.forget(at));
        gone.is_some().into()
    }

    /// Forgets all streams of a connection that are parked or held, also those that are held whole: they
    /// are gone as what was not read of others is, though their peer may know that they arrived.
    pub fn peer_gone(&mut self, now: Instant, peer: PeerId) {
        self.context.advance(now);
        while let Some(at) = self.waiting.first_of_peer(peer) {
            self.waiting.forget(at);
            self.stats.forgotten.peer_gone += 1;
        }
    }

    /// Says that a dispatched stream could not be handed over, so that the acceptor hears "closed" behind
    /// "opened" and the first payload, and the peer that nobody takes it.
    ///
    /// # Errors
    /// [`NotDispatched`](Misuse::NotDispatched): it is parked or held.
    pub fn hand_off_failed(
        &mut self,
        now: Instant,
        stream: StreamId,
        acceptor: AcceptorId,
        tag: &[u8],
    ) -> Result<(), Misuse> {
        if self.waiting.find(stream).is_some() {
            return Err(Misuse::NotDispatched);
        }
        self.context.advance(now);
        self.stats.hand_off_failed += 1;
        let registered = self.registry.look_up(tag);
        self.registry.count(registered, |stats| stats.failed += 1);
        self.push(Command::Closed { stream, acceptor }, 0);
        self.push(Command::Refuse { stream, code: NO_ACCEPTOR }, 0);
        Ok(())
    }

    /// Begins an own stream: its preamble is to be written before anything else, so that
    /// [`Write`](Command::Write) is the next command, whatever others are due. Only its opener's direction
    /// has one.
    ///
    /// # Errors
    /// Those of [`own_tag`](Self::own_tag).
    pub fn open(
        &mut self,
        now: Instant,
        stream: StreamId,
        tag: &[u8],
        by: Registrant,
    ) -> Result<(), Refusal> {
        self.context.advance(now);
        let tag = Self::own_tag(tag, by).inspect_err(|_| self.stats.refusals += 1)?;
        self.stats.opened += 1;
        let bytes = tag.heap();
        self.insert(self.due_first(), Command::Write { stream, tag }, bytes);
        Ok(())
    }

    /// The tag of a stream that is to be opened, with the preamble to be written at its head.
    ///
    /// # Errors
    /// [`Reserved`](Refusal::Reserved): the tag is for protocols only. [`Length`](Refusal::Length).
    pub fn own_tag(tag: &[u8], by: Registrant) -> Result<Tag, Refusal> {
        let tag = Tag::new(tag)?;
        match by {
            Registrant::Application if is_reserved(&tag) => Err(Refusal::Reserved),
            _ => Ok(tag),
        }
    }
}
