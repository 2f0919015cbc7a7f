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

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gapless_core::demux::{
    self, AcceptorId, Command, Demux, Pattern, PeerId, Preamble, Registrant, Tag,
};
use gapless_core::journal::{self, Recorder};
use gapless_core::wire::tag::is_reserved;
use gapless_core::{Instant as CoreInstant, Machine};

use crate::endpoint::{ConnectionId, Direction, Endpoint, Event, Handler, Refusal, StreamId};

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

/// What an acceptor can do: with streams and connections by the endpoint, with tags by these methods.
pub struct Streams<'a> {
    /// The connections.
    pub endpoint: &'a mut Endpoint,
    /// Now.
    pub now: Instant,
    tags: &'a mut dyn Tags,
}

impl std::fmt::Debug for Streams<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Streams<'_> {
    /// Registers an acceptor for tags: streams that wait for them are given to it, all of them, unless it
    /// pauses already.
    ///
    /// # Errors
    /// Those of [`Demux::register`]; acceptor 0.
    pub fn register(
        &mut self,
        acceptor: AcceptorId,
        pattern: Pattern<'_>,
        by: Registrant,
    ) -> Result<(), OpenError> {
        if acceptor.0 == 0 {
            return Err(OpenError::NoAcceptor);
        }
        self.give(demux::Event::Register { acceptor, pattern, by })
    }

    /// Forgets a registration; streams that were given stay where they are.
    pub fn unregister(&mut self, pattern: Pattern<'_>) {
        // Nothing is refused of it.
        let _ = self.give(demux::Event::Unregister { pattern });
    }

    /// Forgets all registrations of an acceptor; streams that were given stay where they are.
    pub fn acceptor_gone(&mut self, acceptor: AcceptorId) {
        let _ = self.give(demux::Event::AcceptorGone { acceptor });
    }

    /// Lets the streams of an acceptor wait, those that it has and those to come: nothing is read of them, so
    /// that their peers feel it. Of an acceptor without a registration only those that it has wait.
    /// [`Endpoint::pause`] and [`Endpoint::resume`], for one stream, are another thing: what comes on a stream
    /// is told when neither says that it waits.
    pub fn pause(&mut self, acceptor: AcceptorId) {
        self.tags.resumes(acceptor, false);
        let _ = self.give(demux::Event::Pause { acceptor });
        for stream in self.tags.of(acceptor) {
            // One that is over needs no pause.
            let _ = self.endpoint.hold(stream);
        }
    }

    /// Goes on with what [`pause`](Self::pause) stopped. The streams that waited to be given are given one
    /// by one, with what came of each: if the acceptor pauses again meanwhile, it is given no more of them.
    pub fn resume(&mut self, acceptor: AcceptorId) {
        for stream in self.tags.of(acceptor) {
            let _ = self.endpoint.release(stream);
        }
        self.tags.resumes(acceptor, true);
    }

    /// Opens a tagged stream: its preamble goes before anything that is written. What happens to it is
    /// told to `acceptor`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        &mut self,
        connection: ConnectionId,
        direction: Direction,
        acceptor: AcceptorId,
        tag: &[u8],
        by: Registrant,
    ) -> Result<StreamId, OpenError> {
        if acceptor.0 == 0 {
            return Err(OpenError::NoAcceptor);
        }
        check(tag, by)?;
        let opened = self.endpoint.open(connection, direction)?;
        let stream = opened.ok_or(OpenError::NoCredit)?;
        self.tags.own(connection);
        self.give(demux::Event::Open { stream: core(stream), tag, by })?;
        self.endpoint.set_owner(stream, acceptor.0)?;
        self.tags.belongs(acceptor, stream);
        if self.tags.is_paused(acceptor) {
            self.endpoint.hold(stream)?;
        }
        Ok(stream)
    }

    fn give(&mut self, event: demux::Event<'_>) -> Result<(), OpenError> {
        Ok(self.tags.give(self.endpoint, self.now, event)?)
    }
}

/// Refuses a tag before a stream is opened for it.
fn check(tag: &[u8], by: Registrant) -> Result<(), OpenError> {
    Preamble::new(tag).map_err(demux::Refusal::from)?;
    if by == Registrant::Application && is_reserved(tag) {
        return Err(demux::Refusal::Reserved.into());
    }
    Ok(())
}

/// Why a tagged stream was not opened, or a tag not registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// The demultiplexer refused it.
    #[error(transparent)]
    Tag(#[from] demux::Refusal),
    /// The connection is none that a stream can be opened on.
    #[error(transparent)]
    Connection(#[from] Refusal),
    /// The peer allows no more streams of this kind now, and [`Event::Openable`] will tell; or the connection
    /// is not complete yet, and [`Event::Connected`] will.
    #[error("the peer allows no more streams now")]
    NoCredit,
    /// Acceptors are numbered from 1.
    #[error("acceptors are numbered from 1")]
    NoAcceptor,
}

/// What [`Streams`] needs of the demultiplexer, whether it is recorded or not.
trait Tags {
    fn give(
        &mut self,
        endpoint: &mut Endpoint,
        now: Instant,
        event: demux::Event<'_>,
    ) -> Result<(), demux::Refusal>;
    fn of(&self, acceptor: AcceptorId) -> Vec<StreamId>;
    fn is_paused(&self, acceptor: AcceptorId) -> bool;
    fn resumes(&mut self, acceptor: AcceptorId, does: bool);
    fn belongs(&mut self, acceptor: AcceptorId, stream: StreamId);
    fn own(&mut self, connection: ConnectionId);
}

/// The demultiplexer, and what is known of connections and acceptors beside it.
struct Table<M> {
    machine: M,
    origin: Instant,
    /// The connections by the numbers that the machine knows them by.
    peers: BTreeMap<u64, Known>,
    /// The streams of each acceptor.
    streams: BTreeMap<AcceptorId, BTreeSet<StreamId>>,
    /// What is to be told to acceptors.
    told: VecDeque<Told>,
    /// Acceptors that go on, and pause for the machine until they took what is held for them. Empty but
    /// while acceptors are told.
    resuming: BTreeSet<AcceptorId>,
}

/// A connection that has or may have tagged streams.
struct Known {
    connection: ConnectionId,
    /// Whether its protocol is that of tagged streams: those that its peer opens are.
    is_tagged: bool,
}

enum Told {
    Opened(Opened),
    Notice(Notice),
}

impl<M: Demultiplexing> Table<M> {
    fn time(&self, now: Instant) -> CoreInstant {
        let nanos = now.saturating_duration_since(self.origin).as_nanos();
        CoreInstant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Whether its streams that nobody owns go to the machine.
    fn takes(&self, connection: ConnectionId) -> bool {
        self.peers.get(&connection.number()).is_some_and(|known| known.is_tagged)
    }

    fn stream(&self, stream: demux::StreamId) -> Option<StreamId> {
        let connection = self.peers.get(&stream.peer.0)?.connection;
        Some(StreamId { connection, number: stream.number })
    }

    /// Does what the machine wants; what the answer to the event was, if it is one that is answered.
    fn drain(&mut self, endpoint: &mut Endpoint) -> Result<(), demux::Refusal> {
        let mut answer = Ok(());
        while let Some(command) = self.machine.poll_command() {
            self.obey(endpoint, command, &mut answer);
        }
        answer
    }

    // What is asked of a stream that is over meanwhile needs no doing.
    fn obey(
        &mut self,
        endpoint: &mut Endpoint,
        command: Command,
        answer: &mut Result<(), demux::Refusal>,
    ) {
        match command {
            Command::Answer(said) => *answer = said,
            Command::Dispatch { stream, acceptor, tag } => {
                let Some(stream) = self.stream(stream) else { return };
                let _ = endpoint.set_owner(stream, acceptor.0);
                let _ = endpoint.release(stream);
                self.belongs(acceptor, stream);
                self.told.push_back(Told::Opened(Opened { acceptor, stream, tag }));
            }
            Command::Data { stream, acceptor, bytes, fin } => {
                let Some(stream) = self.stream(stream) else { return };
                // It follows its dispatch: all that came before is the preamble.
                let offset = match self.told.back() {
                    Some(Told::Opened(opened)) => 1 + opened.tag.len() as u64,
                    _ => 0,
                };
                let notice = Notice::Data { acceptor, stream, offset, bytes, fin };
                self.told.push_back(Told::Notice(notice));
            }
            Command::Hold { stream } => {
                if let Some(stream) = self.stream(stream) {
                    let _ = endpoint.keep(stream);
                }
            }
            Command::Refuse { stream, code } => {
                if let Some(stream) = self.stream(stream) {
                    let _ = endpoint.stop(stream, code);
                    let _ = endpoint.reset(stream, code);
                    let _ = endpoint.release(stream);
                }
            }
            Command::Write { stream, preamble } => {
                if let Some(stream) = self.stream(stream) {
                    let _ = endpoint.write_head(stream, Bytes::copy_from_slice(&preamble));
                }
            }
            Command::Closed { stream, acceptor } => {
                let Some(stream) = self.stream(stream) else { return };
                self.gone(acceptor, stream);
                self.told.push_back(Told::Notice(Notice::HandOffFailed { acceptor, stream }));
            }
        }
    }

    /// Gives the next stream to an acceptor that goes on, if none is to be told of first; whether there is
    /// anything to tell, or may be.
    fn go_on(&mut self, endpoint: &mut Endpoint, now: Instant) -> bool {
        if !self.told.is_empty() {
            return true;
        }
        let Some(&acceptor) = self.resuming.first() else { return false };
        let event = if self.machine.as_ref().held_for(acceptor) > 0 {
            demux::Event::Take { acceptor }
        } else {
            self.resuming.remove(&acceptor);
            demux::Event::Resume { acceptor }
        };
        let _ = self.give(endpoint, now, event);
        true
    }

    fn gone(&mut self, acceptor: AcceptorId, stream: StreamId) {
        if let Some(streams) = self.streams.get_mut(&acceptor) {
            streams.remove(&stream);
            if streams.is_empty() {
                self.streams.remove(&acceptor);
            }
        }
    }
}

impl<M: Demultiplexing> Tags for Table<M> {
    fn give(
        &mut self,
        endpoint: &mut Endpoint,
        now: Instant,
        event: demux::Event<'_>,
    ) -> Result<(), demux::Refusal> {
        match self.machine.handle(self.time(now), event) {
            Err(demux::Error::Refused(refusal)) => Err(refusal),
            // Configurations are refused only when a machine is made.
            Err(demux::Error::Config(_)) | Ok(()) => self.drain(endpoint),
        }
    }

    fn of(&self, acceptor: AcceptorId) -> Vec<StreamId> {
        self.streams.get(&acceptor).into_iter().flatten().copied().collect()
    }

    fn is_paused(&self, acceptor: AcceptorId) -> bool {
        self.machine.as_ref().is_paused(acceptor) && !self.resuming.contains(&acceptor)
    }

    fn resumes(&mut self, acceptor: AcceptorId, does: bool) {
        if does {
            self.resuming.insert(acceptor);
        } else {
            self.resuming.remove(&acceptor);
        }
    }

    fn belongs(&mut self, acceptor: AcceptorId, stream: StreamId) {
        self.streams.entry(acceptor).or_default().insert(stream);
    }

    fn own(&mut self, connection: ConnectionId) {
        // What it agreed on is known already, or will be.
        let known = Known { connection, is_tagged: false };
        self.peers.entry(connection.number()).or_insert(known);
    }
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
        let table = Table {
            machine,
            origin,
            peers: BTreeMap::new(),
            streams: BTreeMap::new(),
            told: VecDeque::new(),
            resuming: BTreeSet::new(),
        };
        Self { table, acceptors }
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
                self.table.streams.retain(|_, streams| {
                    streams.retain(|stream| stream.connection != connection);
                    !streams.is_empty()
                });
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

/// As the machine knows a stream.
const fn core(stream: StreamId) -> demux::StreamId {
    demux::StreamId { peer: PeerId(stream.connection.number()), number: stream.number }
}
