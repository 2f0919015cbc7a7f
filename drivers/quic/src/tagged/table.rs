//! The part that the demultiplexer never sees: the connections that have tagged streams, and the streams that
//! acceptors have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use gapless_core::Instant as CoreInstant;
use gapless_core::demux::{self, AcceptorId, PeerId};

use crate::endpoint::{ConnectionId, StreamId};

/// The connections and streams beside the machine, and where its time begins.
#[derive(Debug)]
pub(super) struct Table {
    origin: Instant,
    /// The connections of which the peers open tagged streams, by what the machine calls them.
    connections: BTreeMap<PeerId, ConnectionId>,
    /// The streams of each acceptor.
    streams: BTreeMap<AcceptorId, BTreeSet<StreamId>>,
}

impl Table {
    /// For a machine whose time counts from `origin`.
    pub(super) const fn new(origin: Instant) -> Self {
        Self { origin, connections: BTreeMap::new(), streams: BTreeMap::new() }
    }

    /// A time as the machine knows it.
    pub(super) fn time(&self, now: Instant) -> CoreInstant {
        let nanos = now.saturating_duration_since(self.origin).as_nanos();
        CoreInstant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// A time of the machine; what is too far away for the clock never comes.
    pub(super) fn instant(&self, time: CoreInstant) -> Option<Instant> {
        self.origin.checked_add(Duration::from_nanos(time.as_nanos()))
    }

    pub(super) fn add(&mut self, connection: ConnectionId) {
        self.connections.insert(peer(connection), connection);
    }

    pub(super) fn is_tagged(&self, connection: ConnectionId) -> bool {
        self.connections.contains_key(&peer(connection))
    }

    /// As the endpoint knows a stream of the machine's.
    pub(super) fn stream(&self, stream: demux::StreamId) -> Option<StreamId> {
        let &connection = self.connections.get(&stream.peer)?;
        Some(StreamId { connection, number: stream.number })
    }

    /// Forgets a connection that is over, and its streams, without a look at those of others.
    pub(super) fn remove(&mut self, connection: ConnectionId) {
        self.connections.remove(&peer(connection));
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

    /// The streams of an acceptor.
    pub(super) fn of(&self, acceptor: AcceptorId) -> impl Iterator<Item = StreamId> {
        self.streams.get(&acceptor).into_iter().flatten().copied()
    }

    /// Gives a stream to an acceptor.
    pub(super) fn give(&mut self, acceptor: AcceptorId, stream: StreamId) {
        self.streams.entry(acceptor).or_default().insert(stream);
    }

    /// Takes a stream from its acceptor.
    pub(super) fn take(&mut self, acceptor: AcceptorId, stream: StreamId) {
        if let Some(streams) = self.streams.get_mut(&acceptor) {
            streams.remove(&stream);
            if streams.is_empty() {
                self.streams.remove(&acceptor);
            }
        }
    }
}

/// As the machine knows a connection.
pub(super) const fn peer(connection: ConnectionId) -> PeerId {
    PeerId(connection.number())
}

/// As the machine knows a stream.
pub(super) const fn core(stream: StreamId) -> demux::StreamId {
    demux::StreamId { peer: peer(stream.connection), number: stream.number }
}
