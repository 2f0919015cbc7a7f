//! The demultiplexer, what is known of connections and acceptors beside it, and how its commands are obeyed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use gapless_core::Instant as CoreInstant;
use gapless_core::demux::{self, AcceptorId, Command, Demux, PeerId};
use gapless_core::journal::Driven;

use super::streams::Tags;
use super::{Notice, Opened};
use crate::endpoint::{ConnectionId, Endpoint, StreamId};

/// The demultiplexer, and what is known of connections and acceptors beside it.
pub(super) struct Table<M> {
    pub(super) machine: M,
    pub(super) origin: Instant,
    /// The connections by the numbers that the machine knows them by.
    pub(super) peers: BTreeMap<u64, Known>,
    /// The streams of each acceptor.
    streams: BTreeMap<AcceptorId, BTreeSet<StreamId>>,
    /// What is to be told to acceptors.
    pub(super) told: VecDeque<Told>,
    /// Acceptors that go on, and pause for the machine until they took what is held for them. Empty but
    /// while acceptors are told.
    resuming: BTreeSet<AcceptorId>,
}

/// A connection that has or may have tagged streams.
pub(super) struct Known {
    pub(super) connection: ConnectionId,
    /// Whether its protocol is that of tagged streams: those that its peer opens are.
    pub(super) is_tagged: bool,
}

pub(super) enum Told {
    Opened(Opened),
    Notice(Notice),
}

impl<M> Table<M> {
    /// Around a machine whose time counts from `origin`.
    pub(super) const fn new(machine: M, origin: Instant) -> Self {
        Self {
            machine,
            origin,
            peers: BTreeMap::new(),
            streams: BTreeMap::new(),
            told: VecDeque::new(),
            resuming: BTreeSet::new(),
        }
    }
}

impl<M: Driven<Demux>> Table<M> {
    pub(super) fn time(&self, now: Instant) -> CoreInstant {
        let nanos = now.saturating_duration_since(self.origin).as_nanos();
        CoreInstant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Whether its streams that nobody owns go to the machine.
    pub(super) fn takes(&self, connection: ConnectionId) -> bool {
        self.peers.get(&connection.number()).is_some_and(|known| known.is_tagged)
    }

    fn stream(&self, stream: demux::StreamId) -> Option<StreamId> {
        let connection = self.peers.get(&stream.peer.0)?.connection;
        Some(StreamId { connection, number: stream.number })
    }

    /// Does what the machine wants; what the answer to the event was, if it is one that is answered.
    pub(super) fn drain(&mut self, endpoint: &mut Endpoint) -> Result<(), demux::Refusal> {
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
    pub(super) fn go_on(&mut self, endpoint: &mut Endpoint, now: Instant) -> bool {
        if !self.told.is_empty() {
            return true;
        }
        let Some(&acceptor) = self.resuming.first() else { return false };
        let event = if self.machine.machine().held_for(acceptor) > 0 {
            demux::Event::Take { acceptor }
        } else {
            self.resuming.remove(&acceptor);
            demux::Event::Resume { acceptor }
        };
        let _ = self.give(endpoint, now, event);
        true
    }

    /// Forgets the streams of a connection that is over, without a look at those of others.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        let first = StreamId { connection, number: 0 };
        self.streams.retain(|_, streams| {
            while let Some(&stream) = streams.range(first..).next()
                && stream.connection == connection
            {
                streams.remove(&stream);
            }
            !streams.is_empty()
        });
    }

    pub(super) fn gone(&mut self, acceptor: AcceptorId, stream: StreamId) {
        if let Some(streams) = self.streams.get_mut(&acceptor) {
            streams.remove(&stream);
            if streams.is_empty() {
                self.streams.remove(&acceptor);
            }
        }
    }
}

impl<M: Driven<Demux>> Tags for Table<M> {
    fn give(
        &mut self,
        endpoint: &mut Endpoint,
        now: Instant,
        event: demux::Event<'_>,
    ) -> Result<(), demux::Refusal> {
        match self.machine.feed(self.time(now), event) {
            Err(demux::Error::Refused(refusal)) => Err(refusal),
            Err(demux::Error::Undrained(_)) => Err(demux::Refusal::Undrained),
            // Configurations are refused only when a machine is made.
            Err(demux::Error::Config(_)) | Ok(()) => self.drain(endpoint),
        }
    }

    fn of(&self, acceptor: AcceptorId) -> Vec<StreamId> {
        self.streams.get(&acceptor).into_iter().flatten().copied().collect()
    }

    fn is_paused(&self, acceptor: AcceptorId) -> bool {
        self.machine.machine().is_paused(acceptor) && !self.resuming.contains(&acceptor)
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

/// As the machine knows a stream.
pub(super) const fn core(stream: StreamId) -> demux::StreamId {
    demux::StreamId { peer: PeerId(stream.connection.number()), number: stream.number }
}
