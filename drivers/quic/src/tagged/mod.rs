//! Tagged streams: the core's [`Demux`] between an endpoint's events and those who registered for tags.
//!
//! [`Tagged`] is a [`Handler`]. The streams that peers open go to the demultiplexer until their preamble is
//! whole; from the dispatch on everything that happens to them goes straight to [`Acceptors`], without a
//! look-up. Connections that agreed on another protocol (ALPN) are not touched, nor are streams that were
//! opened here without a tag: what happens to them is reported as it is. Whoever sets the owner of such a
//! stream ([`Endpoint::set_owner`]) makes it an acceptor's as far as this goes: what comes of it is reported
//! as [`Notice::Data`], but [`Streams::pause`] does not know of it.
//!
//! # What proves that a stream was taken
//!
//! Only an answer does. [`Event::Finished`] says that all of a stream lies at the peer, acknowledged by its
//! transport: nobody may have been given it yet. When a connection ends, whoever ends it, what was not
//! reported of its streams is dropped on both sides, as QUIC has it (RFC 9000 §10.2): streams that wait for
//! who registers their tag or for an acceptor that pauses are forgotten, whole ones too, and counted
//! ([`Forgotten::peer_gone`](demux::Forgotten)), and what was not reported to an acceptor that pauses of
//! those that it has is gone; that it lacks their end says so. To keep the whole ones would be no guarantee
//! either, as only those of one packet lie whole with the demultiplexer. So a sender keeps the connection
//! until it has an answer, or until it does not matter any more.

mod streams;
mod table;

use std::time::Instant;

use bytes::Bytes;
use gapless_core::demux::{self, AcceptorId, Command, Demux, Misuse, Tag};
use gapless_core::journal::Driven;
use gapless_core::{Instant as CoreInstant, Machine};

use crate::endpoint::{Endpoint, Event, StreamId};
use crate::handler::Handler;

pub use streams::{OpenError, Streams};

use streams::Calls;
use table::{Table, core, peer};

/// The protocol (ALPN) of tagged streams.
pub const PROTOCOL: &[u8] = b"gapless/1";

impl<M: Driven<Demux>> Calls for M {
    fn call(&mut self, now: CoreInstant, event: demux::Event<'_>) -> Result<(), demux::Refusal> {
        let answer = Driven::call(self, now, event);
        // Only data and failed hand-offs can be misuse, and are given in turn here: what they return is ignored.
        debug_assert!(answer.is_ok(), "{answer:?}");
        answer.unwrap_or(Ok(()))
    }

    fn demux(&self) -> &Demux {
        self.machine()
    }
}

/// A stream was given to an acceptor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Its owner now.
    pub acceptor: AcceptorId,
    /// The stream; [`Endpoint::peer`] says who is at its other end.
    pub stream: StreamId,
    /// Its tag.
    pub tag: Tag,
}

/// An event of the streams of acceptors, or of connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// The next bytes of a stream.
    Data {
        /// Its owner.
        acceptor: AcceptorId,
        /// Which one.
        stream: StreamId,
        /// How many bytes of the stream came before, its preamble among them.
        offset: u64,
        /// Payload; empty only with `fin`.
        bytes: Bytes,
        /// Whether it is the last.
        fin: bool,
    },
    /// The hand-off failed: the acceptor did not take the stream.
    HandOffFailed {
        /// The acceptor that did not take it.
        acceptor: AcceptorId,
        /// Which one.
        stream: StreamId,
    },
    /// Something else happened to a stream; its owner is the acceptor's number. Or to a connection; or to
    /// a stream of a connection of another protocol.
    Event(Event),
}

/// Those who take streams. Acceptors are numbered from 1.
pub trait Acceptors {
    /// A stream is given to an acceptor; what it holds comes after this. Whether it is taken: if not, the
    /// peer is refused.
    fn opened(&mut self, streams: &mut Streams<'_>, opened: Opened) -> bool;

    /// Something happened.
    fn notice(&mut self, streams: &mut Streams<'_>, notice: Notice);

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called, if nothing happens before.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Lets time pass.
    fn handle_timeout(&mut self, _streams: &mut Streams<'_>) {}
}

/// A [`Handler`] that gives tagged streams to [`Acceptors`]; see the [module](self).
pub struct Tagged<A, M = Demux> {
    machine: M,
    table: Table,
    acceptors: A,
    /// Bytes of the preamble of the stream that was dispatched last.
    preamble_len: u64,
}

impl<A, M> std::fmt::Debug for Tagged<A, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tagged").field("table", &self.table).finish_non_exhaustive()
    }
}

impl<A: Acceptors> Tagged<A> {
    /// Around a demultiplexer of its own. The machine's time counts from `origin`.
    ///
    /// # Errors
    /// A value of the configuration leaves its range.
    pub fn new(config: demux::Config, origin: Instant, acceptors: A) -> Result<Self, Misuse> {
        Ok(Self::with_machine(Demux::new(config)?, origin, acceptors))
    }
}

impl<A: Acceptors, M: Driven<Demux>> Tagged<A, M> {
    /// Around a machine that is made otherwise, such as one that is recorded.
    pub const fn with_machine(machine: M, origin: Instant, acceptors: A) -> Self {
        Self { machine, table: Table::new(origin), acceptors, preamble_len: 0 }
    }

    /// Those who take streams.
    pub const fn acceptors(&mut self) -> &mut A {
        &mut self.acceptors
    }

    /// The machine.
    pub fn demux(&self) -> &Demux {
        self.machine.machine()
    }

    /// Does something with streams and tags outside of an event.
    pub fn with<T>(
        &mut self,
        endpoint: &mut Endpoint,
        now: Instant,
        work: impl FnOnce(&mut Streams<'_>, &mut A) -> T,
    ) -> T {
        let (mut streams, acceptors) = self.parts(endpoint, now);
        let result = work(&mut streams, acceptors);
        self.drain(endpoint, now);
        result
    }

    fn parts<'a>(
        &'a mut self,
        endpoint: &'a mut Endpoint,
        now: Instant,
    ) -> (Streams<'a>, &'a mut A) {
        let Self { machine, table, acceptors, .. } = self;
        (Streams { endpoint, now, demux: machine, table }, acceptors)
    }

    fn notice(&mut self, endpoint: &mut Endpoint, now: Instant, notice: Notice) {
        let (mut streams, acceptors) = self.parts(endpoint, now);
        acceptors.notice(&mut streams, notice);
    }

    fn call(&mut self, now: Instant, event: demux::Event<'_>) -> Result<(), demux::Refusal> {
        Calls::call(&mut self.machine, self.table.time(now), event)
    }

    /// Does what the machine wants, one thing after the other. Each is made when it is asked for, so that an
    /// acceptor that pauses is given no more of the streams that were held for it.
    fn drain(&mut self, endpoint: &mut Endpoint, now: Instant) {
        while let Some(command) = self.machine.poll_command() {
            self.execute(endpoint, now, command);
        }
    }

    // A stream that is over meanwhile needs nothing of it.
    fn execute(&mut self, endpoint: &mut Endpoint, now: Instant, command: Command) {
        match command {
            Command::Dispatch { stream, acceptor, tag } => {
                let Some(stream) = self.table.stream(stream) else { return };
                self.dispatch(endpoint, now, Opened { acceptor, stream, tag });
            }
            Command::Data { stream, acceptor, bytes, fin } => {
                let Some(stream) = self.table.stream(stream) else { return };
                // It follows its dispatch: all that came before is the preamble.
                let offset = self.preamble_len;
                let data = Notice::Data { acceptor, stream, offset, bytes, fin };
                self.notice(endpoint, now, data);
            }
            Command::Hold { stream } => {
                let _ = self.table.stream(stream).map(|stream| endpoint.keep(stream));
            }
            Command::Refuse { stream, code } => {
                let Some(stream) = self.table.stream(stream) else { return };
                let _ = endpoint.stop(stream, code);
                let _ = endpoint.reset(stream, code);
                let _ = endpoint.release(stream);
            }
            Command::Closed { stream, acceptor } => {
                let Some(stream) = self.table.stream(stream) else { return };
                self.table.take(acceptor, stream);
                self.notice(endpoint, now, Notice::HandOffFailed { acceptor, stream });
            }
            // A stream that is opened has its preamble already, and calls are answered by what they return.
            Command::Write { .. } | Command::Answer(_) => {}
        }
    }

    /// Gives a stream to its acceptor.
    fn dispatch(&mut self, endpoint: &mut Endpoint, now: Instant, opened: Opened) {
        let Opened { acceptor, stream, tag } = opened.clone();
        self.preamble_len = 1 + tag.len() as u64;
        let _ = endpoint.set_owner(stream, acceptor.0);
        let _ = endpoint.release(stream);
        self.table.give(acceptor, stream);
        let (mut streams, acceptors) = self.parts(endpoint, now);
        if !acceptors.opened(&mut streams, opened) {
            let _ = endpoint.set_owner(stream, 0);
            let stream = core(stream);
            // Its first payload is reported before its end.
            let _ = self.call(now, demux::Event::HandOffFailed { stream, acceptor, tag: &tag });
        }
    }

    /// An event of a stream that nobody owns yet, of a connection with tagged streams.
    fn unowned(&mut self, endpoint: &mut Endpoint, now: Instant, event: Event) {
        let event = match event {
            Event::Data { stream, offset, bytes, fin, .. } => {
                let pinned = bytes.len().max(endpoint.max_datagram());
                demux::Event::Data { stream: core(stream), offset, bytes, pinned, fin }
            }
            Event::Reset { stream, code, .. } => {
                // Nobody is there to answer it, so that its other direction is over, too.
                let _ = endpoint.reset(stream, code);
                let _ = endpoint.release(stream);
                demux::Event::Reset { stream: core(stream), code }
            }
            Event::Closed { stream, .. } => demux::Event::Closed { stream: core(stream) },
            // Nothing was written to it.
            _ => return,
        };
        let _ = self.call(now, event);
    }

    /// Notes which connections there are, and which streams are over.
    fn observe(&mut self, endpoint: &Endpoint, now: Instant, event: &Event) {
        match *event {
            Event::Connected { connection } => {
                let protocol = endpoint.peer(connection).and_then(|peer| peer.protocol);
                if protocol.is_some_and(|protocol| protocol == PROTOCOL) {
                    self.table.add(connection);
                }
            }
            Event::Disconnected { connection, .. } => {
                self.table.remove(connection);
                // Of one without tagged streams nothing is known.
                let _ = self.call(now, demux::Event::PeerGone { peer: peer(connection) });
            }
            Event::Closed { stream, owner } => self.table.take(AcceptorId(owner), stream),
            _ => {}
        }
    }
}

impl<A: Acceptors, M: Driven<Demux>> Handler for Tagged<A, M> {
    fn event(&mut self, endpoint: &mut Endpoint, now: Instant, event: Event) {
        match event {
            Event::Data { stream, owner, offset, bytes, fin } if owner != 0 => {
                let acceptor = AcceptorId(owner);
                let data = Notice::Data { acceptor, stream, offset, bytes, fin };
                self.notice(endpoint, now, data);
            }
            event => match event.stream() {
                Some((stream, 0))
                    if !endpoint.opened_here(stream) && self.table.is_tagged(stream.connection) =>
                {
                    self.unowned(endpoint, now, event);
                }
                _ => {
                    self.observe(endpoint, now, &event);
                    self.notice(endpoint, now, Notice::Event(event));
                }
            },
        }
        self.drain(endpoint, now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let at = self.machine.poll_timeout().and_then(|at| self.table.instant(at));
        [at, self.acceptors.poll_timeout()].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, endpoint: &mut Endpoint, now: Instant) {
        // Nothing is refused of a machine that is drained.
        let _ = self.machine.handle_timeout(self.table.time(now));
        self.drain(endpoint, now);
        if self.acceptors.poll_timeout().is_some_and(|at| at <= now) {
            let (mut streams, acceptors) = self.parts(endpoint, now);
            acceptors.handle_timeout(&mut streams);
        }
        self.drain(endpoint, now);
    }
}
