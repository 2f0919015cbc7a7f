//! Streams that wait: parked until their preamble is whole, or held until somebody takes them. Each lies
//! in one tree by its id, and in one by what it waits for.

use bytes::Bytes;

use super::Demux;
use super::event::{PeerId, StreamId};
use super::tag::Tag;
use crate::storage::tree::{Links, sorted};
use crate::wire::tag::MAX_PREAMBLE;
use crate::{Duration, Instant};

/// What a stream waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Waits {
    /// The rest of its preamble: parked. All others are held.
    Preamble,
    /// The next command: who takes it is looked up then, and it is dispatched or refused.
    Turn,
    /// Somebody who registers its tag.
    Anybody,
    /// A paused acceptor, by its place.
    For(u32),
}

/// A stream that is parked or held.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    by_id: Links,
    by_turn: Links,
    pub(super) waits: Waits,
    /// Numbers streams in the order in which they were parked, and again in which they were held.
    stamp: u64,
    /// When that was.
    pub(super) since: Instant,
    /// What there is of its preamble.
    preamble: [u8; MAX_PREAMBLE],
    len: u16,
    /// The payload that came with the last byte of the preamble, what it costs, and whether the stream
    /// ends behind it.
    pub(super) rest: Bytes,
    pub(super) cost: usize,
    pub(super) fin: bool,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            id: StreamId { peer: PeerId(0), number: 0 },
            by_id: Links::UNTIED,
            by_turn: Links::UNTIED,
            waits: Waits::Preamble,
            stamp: 0,
            since: Instant::ZERO,
            preamble: [0; MAX_PREAMBLE],
            len: 0,
            rest: Bytes::new(),
            cost: 0,
            fin: false,
        }
    }
}

sorted!(ById, Stream, by_id, |stream| stream.id);
sorted!(ByTurn, Stream, by_turn, |stream| (stream.waits, stream.stamp));

impl Stream {
    /// What there is of the preamble.
    pub(super) fn preamble(&self) -> &[u8] {
        &self.preamble[..usize::from(self.len)]
    }

    /// The tag, where the preamble is whole.
    pub(super) fn tag(&self) -> &[u8] {
        self.preamble().get(1..).unwrap_or_default()
    }

    /// Takes what a preamble lacks from the front of these bytes; how many it took.
    pub(super) fn extend(&mut self, bytes: &[u8]) -> usize {
        let first = self.preamble().first().or(bytes.first());
        let whole = first.map_or(0, |&length| 1 + usize::from(length));
        let have = usize::from(self.len);
        let taken = whole.saturating_sub(have).min(bytes.len());
        self.preamble[have..have + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken as u16;
        taken
    }
}

/// A peer that has streams here.
#[derive(Debug)]
pub(super) struct Peer {
    id: PeerId,
    by_peer: Links,
    streams: usize,
}

impl Default for Peer {
    fn default() -> Self {
        Self { id: PeerId(0), by_peer: Links::UNTIED, streams: 0 }
    }
}

sorted!(ByPeer, Peer, by_peer, |peer| peer.id);

impl Demux {
    /// Where a stream lies that is parked or held.
    pub(super) fn find(&self, stream: StreamId) -> Option<u32> {
        let id = |at| self.streams.get(at).map(|stream| stream.id);
        self.by_id.find(&self.streams, |at| id(at).cmp(&Some(stream)))
    }

    /// The first stream of a peer.
    pub(super) fn first_of_peer(&self, peer: PeerId) -> Option<u32> {
        let id = |at| self.streams.get(at).map(|stream| stream.id);
        let first = StreamId { peer, number: 0 };
        let at = self.by_id.at_or_after(&self.streams, |at| id(at).cmp(&Some(first)))?;
        self.streams.get(at).filter(|stream| stream.id.peer == peer).map(|_| at)
    }

    fn find_peer(&self, peer: PeerId) -> Option<u32> {
        let id = |at| self.peers.get(at).map(|peer| peer.id);
        self.by_peer.find(&self.peers, |at| id(at).cmp(&Some(peer)))
    }

    /// How many streams of a peer are parked or held.
    pub(super) fn count_of_peer(&self, peer: PeerId) -> usize {
        let peer = self.find_peer(peer).and_then(|at| self.peers.get(at));
        peer.map_or(0, |peer| peer.streams)
    }

    /// A new stream that waits for its preamble, of which nothing is there yet; `None` when no place is
    /// left that can be numbered.
    pub(super) fn park(&mut self, id: StreamId) -> Option<u32> {
        let at = self.streams.insert(Stream { id, ..Stream::default() })?;
        match self.find_peer(id.peer) {
            Some(peer) => {
                if let Some(peer) = self.peers.get_mut(peer) {
                    peer.streams += 1;
                }
            }
            None => {
                let peer = Peer { id: id.peer, by_peer: Links::UNTIED, streams: 1 };
                let Some(peer) = self.peers.insert(peer) else {
                    self.streams.remove(at);
                    return None;
                };
                self.by_peer.insert(&mut self.peers, peer);
            }
        }
        self.by_id.insert(&mut self.streams, at);
        self.enter(at, Waits::Preamble);
        Some(at)
    }

    /// Lets a stream go; what there was of it.
    pub(super) fn forget(&mut self, at: u32) -> Option<Stream> {
        self.leave(at);
        self.by_id.remove(&mut self.streams, at);
        let stream = self.streams.remove(at)?;
        self.held_bytes -= stream.cost;
        if let Some(place) = self.find_peer(stream.id.peer)
            && let Some(peer) = self.peers.get_mut(place)
        {
            peer.streams -= 1;
            if peer.streams == 0 {
                self.by_peer.remove(&mut self.peers, place);
                self.peers.remove(place);
            }
        }
        Some(stream)
    }

    /// Turns a parked stream into one that is held, from now on.
    pub(super) fn keep(&mut self, at: u32, waits: Waits, rest: Bytes, cost: usize, fin: bool) {
        self.leave(at);
        if let Some(stream) = self.streams.get_mut(at) {
            (stream.rest, stream.cost, stream.fin) = (rest, cost, fin);
        }
        self.held_bytes += cost;
        self.enter(at, waits);
    }

    /// Makes a stream wait for something: as the last, if it is parked or held just now.
    fn enter(&mut self, at: u32, waits: Waits) {
        self.count(waits, true);
        self.stamp += 1;
        if let Some(stream) = self.streams.get_mut(at) {
            (stream.waits, stream.stamp, stream.since) = (waits, self.stamp, self.context.now());
        }
        self.by_turn.insert(&mut self.streams, at);
    }

    /// Makes a held stream wait for something else, in the place that it has among all held ones.
    pub(super) fn shift(&mut self, at: u32, waits: Waits) {
        self.leave(at);
        self.count(waits, true);
        if let Some(stream) = self.streams.get_mut(at) {
            stream.waits = waits;
        }
        self.by_turn.insert(&mut self.streams, at);
    }

    fn leave(&mut self, at: u32) {
        self.by_turn.remove(&mut self.streams, at);
        if let Some(waits) = self.streams.get(at).map(|stream| stream.waits) {
            self.count(waits, false);
        }
    }

    fn count(&mut self, waits: Waits, more: bool) {
        let step = |count: &mut usize| if more { *count += 1 } else { *count -= 1 };
        match waits {
            Waits::Preamble => return step(&mut self.pending),
            Waits::Turn => step(&mut self.turns),
            Waits::Anybody => step(&mut self.unclaimed),
            Waits::For(acceptor) => {
                self.acceptors.get_mut(acceptor).into_iter().for_each(|held| step(&mut held.held));
            }
        }
        step(&mut self.held);
    }

    /// The stream that waits longest for something.
    pub(super) fn first_for(&self, waits: Waits) -> Option<u32> {
        self.next_for((waits, 0)).filter(|&at| self.waits(at) == Some(waits))
    }

    /// The first held stream that waits for somebody.
    pub(super) fn first_behind_turns(&self) -> Option<u32> {
        self.next_for((Waits::Anybody, 0))
    }

    /// The first stream at or behind a place in the order of what they wait for.
    fn next_for(&self, place: (Waits, u64)) -> Option<u32> {
        let key = |at| self.streams.get(at).map(|stream| (stream.waits, stream.stamp));
        self.by_turn.at_or_after(&self.streams, |at| key(at).cmp(&Some(place)))
    }

    pub(super) fn waits(&self, at: u32) -> Option<Waits> {
        self.streams.get(at).map(|stream| stream.waits)
    }

    /// The stream behind one, in the order of what they wait for and, among equals, of how long.
    pub(super) fn after(&self, at: u32) -> Option<u32> {
        let stream = self.streams.get(at)?;
        self.next_for((stream.waits, stream.stamp + 1))
    }

    /// When the stream that waits longest for something has waited for `most`.
    pub(super) fn deadline(&self, waits: Waits, most: Duration) -> Option<Instant> {
        let first = self.first_for(waits)?;
        self.streams.get(first).map(|stream| stream.since + most)
    }

    /// The tag of a held stream, as commands carry it.
    pub(super) fn held_tag(&self, at: u32) -> Option<Tag> {
        Tag::new(self.streams.get(at)?.tag()).ok()
    }
}
