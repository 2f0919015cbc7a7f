//! Tagged streams: the core's [`Demux`] between an endpoint's events and those who registered for tags.
//!
//! [`Tagged`] is a [`Handler`]. The streams that peers open go to the demultiplexer until their preamble is
//! whole; from the dispatch on everything that happens to them goes straight to [`Acceptors`], without a
//! look-up. Connections that agreed on another protocol (ALPN) are not touched, nor are streams that were
//! opened here without a tag: what happens to them is told as it is. Whoever sets the owner of such a
//! stream ([`Endpoint::set_owner`]) makes it an acceptor's as far as this goes: what comes of it is told as
//! [`Notice::Data`], but [`Streams::pause`] does not know of it.
//!
//! # What proves that a stream was taken
//!
//! Only an answer does. [`Event::Finished`] says that all of a stream lies at the peer, acknowledged by its
//! transport: nobody may have been given it yet. When a connection ends, whoever ends it, what was not told
//! of its streams is dropped on both sides, as QUIC has it (RFC 9000 §10.2): streams that wait for who
//! registers their tag or for an acceptor that pauses are forgotten, whole ones too, and counted
//! ([`Forgotten::peer_gone`](demux::Forgotten)), and what an acceptor that pauses was not told of those that
//! it has is gone; that it lacks their end says so. To keep the whole ones would be no guarantee either, as
//! only those of one packet lie whole with the demultiplexer. So a sender keeps the connection until it
//! has an answer, or until it does not matter any more.

mod streams;
mod table;

use std::time::{Duration, Instant};

use bytes::Bytes;
use gapless_core::Machine;
use gapless_core::demux::{self, AcceptorId, Command, Demux, PeerId, Tag};
use gapless_core::journal::{self, Recorder};

use crate::endpoint::{Endpoint, Event, StreamId};
use crate::handler::Handler;

pub use streams::{OpenError, Streams};

use streams::Tags;
use table::{Known, Table, Told, core};

/// The protocol (ALPN) of tagged streams.
pub const PROTOCOL: &[u8] = b"gapless/1";

/// A demultiplexer, recorded or not.
pub trait Demultiplexing:
    for<'a> Machine<
        Event<'a> = demux::Event<'a>,
        Command = Command,
        Stats = demux::Stats,
        Error = demux::Error,
    > + AsRef<Demux>
{
}

impl Demultiplexing for Demux {}
impl<S: journal::Sink> Demultiplexing for Recorder<Demux, S> {}

/// A stream was given to an acceptor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Whose it is now.
    pub acceptor: AcceptorId,
    /// The stream; [`Endpoint::peer`] tells who is at its other end.
    pub stream: StreamId,
    /// What it is called.
    pub tag: Tag,
}

/// What happens to the streams of acceptors, and to connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// The next bytes of a stream.
    Data {
        /// Whose it is.
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
        /// Who did not take it.
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
    table: Table<M>,
    acceptors: A,
}

impl<A, M> std::fmt::Debug for Tagged<A, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tagged")
            .field("connections", &self.table.peers.len())
            .finish_non_exhaustive()
    }
}

impl<A: Acceptors> Tagged<A> {
    /// Around a demultiplexer of its own. The machine's time counts from `origin`.
    ///
    /// # Errors
    /// A value of the configuration leaves its range.
    pub fn new(config: demux::Config, origin: Instant, acceptors: A) -> Result<Self, demux::Error> {
        Ok(Self::with_machine(Demux::new(config)?, origin, acceptors))
    }
}

impl<A: Acceptors, M: Demultiplexing> Tagged<A, M> {
    /// Around a machine that is made otherwise, such as one that is recorded.
    pub const fn with_machine(machine: M, origin: Instant, acceptors: A) -> Self {
        Self { table: Table::new(machine, origin), acceptors }
    }

    /// Those who take streams.
    pub const fn acceptors(&mut self) -> &mut A {
        &mut self.acceptors
    }

    /// The machine.
    pub fn demux(&self) -> &Demux {
        self.table.machine.as_ref()
    }

    /// Does something with streams and tags outside of an event.
    pub fn with<T>(
        &mut self,
        endpoint: &mut Endpoint,
        now: Instant,
        work: impl FnOnce(&mut Streams<'_>, &mut A) -> T,
    ) -> T {
        let Self { table, acceptors } = self;
        let result = work(&mut Streams { endpoint, now, tags: table }, acceptors);
        self.tell(endpoint, now);
        result
    }

    /// Tells the acceptors everything that is to be told. Streams that were held come one by one, each after
    /// the acceptor was told all of the last: it may pause in between.
    fn tell(&mut self, endpoint: &mut Endpoint, now: Instant) {
        let Self { table, acceptors } = self;
        while table.go_on(endpoint, now) {
            let Some(told) = table.told.pop_front() else { continue };
            let mut streams = Streams { endpoint, now, tags: table };
            match told {
                Told::Notice(notice) => acceptors.notice(&mut streams, notice),
                Told::Opened(opened) => {
                    let Opened { acceptor, stream, tag } = opened.clone();
                    if acceptors.opened(&mut streams, opened) {
                        continue;
                    }
                    // What came with it is told before its end; it is next.
                    let is_first = |told: &Told| matches!(told, Told::Notice(Notice::Data { stream: of, .. }) if *of == stream);
                    if table.told.front().is_some_and(is_first)
                        && let Some(Told::Notice(notice)) = table.told.pop_front()
                    {
                        acceptors.notice(&mut Streams { endpoint, now, tags: table }, notice);
                    }
                    let _ = endpoint.set_owner(stream, 0);
                    let failed =
                        demux::Event::HandOffFailed { stream: core(stream), acceptor, tag: &tag };
                    let _ = table.give(endpoint, now, failed);
                }
            }
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
        // The machine refuses what is given out of turn, which this is not.
        let given = self.table.give(endpoint, now, event);
        debug_assert_eq!(given, Ok(()));
    }
}

impl<A: Acceptors, M: Demultiplexing> Handler for Tagged<A, M> {
    fn event(&mut self, endpoint: &mut Endpoint, now: Instant, event: Event) {
        match event {
            Event::Data { stream, owner, offset, bytes, fin } if owner != 0 => {
                let acceptor = AcceptorId(owner);
                let notice = Notice::Data { acceptor, stream, offset, bytes, fin };
                self.table.told.push_back(Told::Notice(notice));
            }
            Event::Connected { connection } => {
                let peer = endpoint.peer(connection);
                if peer.and_then(|peer| peer.protocol).is_some_and(|of| of == PROTOCOL) {
                    let known = Known { connection, is_tagged: true };
                    self.table.peers.insert(connection.number(), known);
                }
                self.table.told.push_back(Told::Notice(Notice::Event(event)));
            }
            Event::Disconnected { connection, .. } => {
                let peer = PeerId(connection.number());
                if self.table.peers.contains_key(&peer.0) {
                    let _ = self.table.give(endpoint, now, demux::Event::PeerGone { peer });
                    self.table.peers.remove(&peer.0);
                }
                self.table.forget(connection);
                self.table.told.push_back(Told::Notice(Notice::Event(event)));
            }
            event => match event.stream() {
                Some((stream, 0))
                    if !endpoint.opened_here(stream) && self.table.takes(stream.connection) =>
                {
                    self.unowned(endpoint, now, event);
                }
                Some((stream, owner)) if owner != 0 => {
                    if let Event::Closed { .. } = event {
                        self.table.gone(AcceptorId(owner), stream);
                    }
                    self.table.told.push_back(Told::Notice(Notice::Event(event)));
                }
                _ => self.table.told.push_back(Told::Notice(Notice::Event(event))),
            },
        }
        self.tell(endpoint, now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        // What is too far away for the clock never comes.
        let at = self
            .table
            .machine
            .poll_timeout()
            .and_then(|at| self.table.origin.checked_add(Duration::from_nanos(at.as_nanos())));
        [at, self.acceptors.poll_timeout()].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, endpoint: &mut Endpoint, now: Instant) {
        let time = self.table.time(now);
        // Nothing is refused of a machine that is drained.
        if self.table.machine.handle_timeout(time).is_ok() {
            let _ = self.table.drain(endpoint);
        }
        let Self { table, acceptors } = self;
        if acceptors.poll_timeout().is_some_and(|at| at <= now) {
            acceptors.handle_timeout(&mut Streams { endpoint, now, tags: table });
        }
        self.tell(endpoint, now);
    }
}
