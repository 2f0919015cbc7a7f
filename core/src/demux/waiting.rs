//! Streams that wait: parked until their preamble is whole, or held until somebody takes them. Each lies
//! in one tree by its id, and in one by what it waits for.

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use super::event::{AcceptorId, PeerId, StreamId};
use super::tag::Tag;
use crate::storage::blocks::OVERHEAD;
use crate::storage::charge::{Measure, charged};
use crate::storage::counts::{Count, Counts};
use crate::storage::slab::Slab;
use crate::storage::tree::{Links, Tree, sorted};
use crate::wire::tag::{MAX_PREAMBLE, Malformed};
use crate::{Duration, Instant};

/// Payload up to this size is copied when it is held: what it would keep alive beside itself is not
/// known to the byte.
const SMALL: usize = 4096;

/// Bytes of a stream as an event brings them; later, what of them is payload.
#[derive(Default, Debug)]
pub(super) struct Piece {
    pub(super) rest: Bytes,
    /// Bytes of memory that they keep alive.
    pub(super) pinned: usize,
    pub(super) fin: bool,
}

impl Piece {
    /// True when it is copied to be held.
    pub(super) fn is_copied(&self) -> bool {
        self.rest.len() <= SMALL || self.pinned > 2 * self.rest.len()
    }

    /// Bytes that it keeps allocated while it is held.
    pub(super) fn cost(&self) -> usize {
        if self.is_copied() { self.rest.len() } else { self.shared_cost() }
    }

    /// Bytes that it keeps allocated as it came: what shares a buffer takes a few bytes beside it, and who
    /// brought it may not know.
    pub(super) fn shared_cost(&self) -> usize {
        self.pinned.max(self.rest.len()).saturating_add(OVERHEAD)
    }
}

/// The reason why a stream waits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) enum Waits {
    /// The rest of its preamble: parked. All others are held.
    #[default]
    Preamble,
    /// The next command: who takes it is looked up then, and it is dispatched, refused, or waits on.
    Turn,
    /// Somebody who registers its tag.
    Unclaimed,
    /// An acceptor that pauses, or was resumed and takes what is held for it.
    For(AcceptorId),
}

/// A kind of things that are counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Group {
    /// Streams of a peer.
    Peer(PeerId),
    /// Streams that wait for the same.
    Waiting(Waits),
    /// Calls that resumed an acceptor, until all that is held for it was dispatched or it pauses.
    Resumed(AcceptorId),
}

/// A stream that is parked or held.
#[derive(Default, Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    by_id: Links,
    by_turn: Links,
    pub(super) waits: Waits,
    /// Numbers streams in the order in which they were parked, and again in which they were held.
    stamp: u64,
    /// When that was.
    pub(super) since: Instant,
    /// The bytes of its preamble that came.
    preamble: SmallVec<[u8; MAX_PREAMBLE]>,
    /// The payload that came with the last byte of the preamble; it pins what it costs.
    pub(super) piece: Piece,
}

charged!(Stream = 392, Count<Option<Group>> = 40);
sorted!(ById, Stream, by_id, |stream| stream.id);
sorted!(ByTurn, Stream, by_turn, |stream| (stream.waits, stream.stamp));

impl Stream {
    /// Bytes of the preamble that came.
    pub(super) fn preamble_len(&self) -> u64 {
        self.preamble.len() as u64
    }

    /// The tag, where the preamble is whole.
    pub(super) fn tag(&self) -> &[u8] {
        self.preamble.get(1..).unwrap_or_default()
    }
}

/// The streams that wait.
#[derive(Default, Debug)]
pub(super) struct Waiting {
    streams: Slab<Stream>,
    by_id: Tree<ById>,
    by_turn: Tree<ByTurn>,
    counts: Counts<Group>,
    /// The stamp of the stream that waits as the last one: stamps never come again.
    stamp: u64,
    held: usize,
    /// Bytes that the payload of held streams costs.
    held_bytes: usize,
}

impl Waiting {
    pub(super) fn new() -> Self {
        Self { streams: Slab::keeping(), ..Self::default() }
    }

    /// The most bytes that so many streams are charged, but for their payload.
    pub(super) const fn most(streams: usize) -> usize {
        // Each of its own peer, and for an acceptor of its own that was resumed.
        let counts = Counts::<Group>::most(streams.saturating_mul(3));
        Slab::<Stream>::most(streams).saturating_add(counts)
    }

    /// Bytes of the tables, and of what is held.
    pub(super) const fn bytes(&self, measure: Measure) -> usize {
        self.streams.bytes(measure) + self.counts.bytes(measure) + self.held_bytes
    }

    pub(super) const fn held(&self) -> usize {
        self.held
    }

    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The number of streams that wait for something.
    pub(super) fn count(&self, waits: Waits) -> usize {
        self.counts.of(Group::Waiting(waits))
    }

    /// The number of streams of a peer that wait.
    pub(super) fn count_of_peer(&self, peer: PeerId) -> usize {
        self.counts.of(Group::Peer(peer))
    }

    /// The place of a stream.
    pub(super) fn find(&self, stream: StreamId) -> Option<u32> {
        self.by_id.find(&self.streams, |at| self.get(at).map(|it| it.id).cmp(&Some(stream)))
    }

    pub(super) fn get(&self, at: u32) -> Option<&Stream> {
        self.streams.get(at)
    }

    /// The first stream of a peer.
    pub(super) fn first_of_peer(&self, peer: PeerId) -> Option<u32> {
        let first = Some(StreamId { peer, number: 0 });
        let id = |at| self.get(at).map(|stream| stream.id);
        let at = self.by_id.at_or_after(&self.streams, |at| id(at).cmp(&first))?;
        id(at).is_some_and(|id| id.peer == peer).then_some(at)
    }

    /// A new stream that waits for its preamble, of which nothing is there yet; `None` when no place is
    /// left that can be numbered.
    pub(super) fn park(&mut self, id: StreamId, now: Instant) -> Option<u32> {
        let at = self.streams.insert(Stream { id, ..Stream::default() })?;
        self.by_id.insert(&mut self.streams, at);
        self.counts.add(Group::Peer(id.peer));
        self.enqueue(at, now);
        Some(at)
    }

    /// Takes what the preamble of a parked stream lacks from the front of these bytes; its tag, once it is
    /// whole.
    pub(super) fn extend(&mut self, at: u32, bytes: &mut Bytes) -> Result<Tag, Malformed> {
        let lacks = Malformed::Incomplete { lacks: 1 };
        let stream = self.streams.get_mut(at).ok_or(lacks)?;
        let length = stream.preamble.first().or(bytes.first()).ok_or(lacks)?;
        let lacking = 1 + usize::from(*length) - stream.preamble.len();
        let taken = lacking.min(bytes.len());
        stream.preamble.extend_from_slice(&bytes[..taken]);
        bytes.advance(taken);
        Tag::of_head(&stream.preamble)
    }

    /// Lets a stream go; what there was of it.
    pub(super) fn forget(&mut self, at: u32) -> Option<Stream> {
        self.dequeue(at);
        self.by_id.remove(&mut self.streams, at);
        let stream = self.streams.remove(at)?;
        self.held_bytes -= stream.piece.pinned;
        self.counts.take(Group::Peer(stream.id.peer));
        Some(stream)
    }

    /// Turns a parked stream into one that is held, from now on; its payload pins what it costs.
    pub(super) fn hold(&mut self, at: u32, waits: Waits, tag: &Tag, piece: Piece, now: Instant) {
        self.dequeue(at);
        self.held_bytes += piece.pinned;
        if let Some(stream) = self.streams.get_mut(at) {
            stream.preamble = SmallVec::from_slice(tag.preamble());
            (stream.piece, stream.waits) = (piece, waits);
        }
        self.enqueue(at, now);
    }

    /// Makes a stream wait, as the last that does.
    fn enqueue(&mut self, at: u32, now: Instant) {
        self.stamp += 1;
        if let Some(stream) = self.streams.get_mut(at) {
            (stream.stamp, stream.since) = (self.stamp, now);
            let waits = stream.waits;
            self.insert(at, waits);
        }
    }

    /// Makes a held stream wait for something else, in the place that it has among all held ones.
    pub(super) fn requeue(&mut self, at: u32, waits: Waits) {
        self.dequeue(at);
        self.insert(at, waits);
    }

    fn insert(&mut self, at: u32, waits: Waits) {
        let Some(stream) = self.streams.get_mut(at) else { return };
        stream.waits = waits;
        self.by_turn.insert(&mut self.streams, at);
        self.held += usize::from(waits != Waits::Preamble);
        self.counts.add(Group::Waiting(waits));
    }

    fn dequeue(&mut self, at: u32) {
        self.by_turn.remove(&mut self.streams, at);
        let Some(waits) = self.get(at).map(|stream| stream.waits) else { return };
        self.held -= usize::from(waits != Waits::Preamble);
        self.counts.take(Group::Waiting(waits));
    }

    /// The stream that waits longest for something.
    pub(super) fn first_for(&self, waits: Waits) -> Option<u32> {
        let first = self.first_from(waits, 0)?;
        (self.get(first)?.waits == waits).then_some(first)
    }

    /// The first stream at or behind a place in the order of what they wait for and, among equals, of how
    /// long.
    pub(super) fn first_from(&self, waits: Waits, stamp: u64) -> Option<u32> {
        let key = |at| self.get(at).map(|stream| (stream.waits, stream.stamp));
        self.by_turn.at_or_after(&self.streams, |at| key(at).cmp(&Some((waits, stamp))))
    }

    /// The stream behind one in that order.
    pub(super) fn after(&self, at: u32) -> Option<u32> {
        let stream = self.get(at)?;
        self.first_from(stream.waits, stream.stamp + 1)
    }

    /// When the stream that waits longest for something has waited for `most`, and where it lies.
    pub(super) fn deadline(&self, waits: Waits, most: Duration) -> Option<(Instant, u32)> {
        let first = self.first_for(waits)?;
        Some((self.get(first)?.since + most, first))
    }

    /// Lets an acceptor take what is held for it; true when anything is.
    pub(super) fn resume(&mut self, acceptor: AcceptorId) -> bool {
        let is_held = self.count(Waits::For(acceptor)) > 0;
        if is_held {
            self.counts.add(Group::Resumed(acceptor));
        }
        is_held
    }

    /// An acceptor that takes what is held for it.
    pub(super) fn resumed(&self) -> Option<AcceptorId> {
        match self.counts.at_or_after(Group::Resumed(AcceptorId(0)))? {
            Group::Resumed(acceptor) => Some(acceptor),
            _ => None,
        }
    }

    /// Ends that: nothing more is held for it, or it pauses again.
    pub(super) fn stop(&mut self, acceptor: AcceptorId) {
        self.counts.take(Group::Resumed(acceptor));
    }

    /// True while streams go on with the next commands, so that others are to wait behind them.
    pub(super) fn is_moving(&self) -> bool {
        self.first_for(Waits::Turn).is_some() || self.resumed().is_some()
    }
}
