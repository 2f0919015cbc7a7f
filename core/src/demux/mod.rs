//! Streams that find their owner by a tag at their head.
//!
//! A *stream* begins with a *preamble*: one byte, 1 to 255, and that many bytes of *tag*
//! ([`wire::tag`](crate::wire::tag)). An *acceptor* registers for a tag, or for all tags with a prefix, and
//! is given the streams of those: each is *dispatched* to one acceptor, once. After that the machine knows
//! nothing of the stream, and the driver hands its bytes straight to the acceptor.
//!
//! ```
//! use bytes::Bytes;
//! use gapless_core::demux::{
//!     AcceptorId, Command, Config, Demux, Pattern, PeerId, Registrant, StreamId,
//! };
//! use gapless_core::{Instant, Machine};
//!
//! let mut demux = Demux::new(Config::default())?;
//! let (acceptor, now) = (AcceptorId(1), Instant::ZERO);
//! demux.register(now, acceptor, Pattern::Exact(b"chat"), Registrant::Application)?;
//!
//! let stream = StreamId { peer: PeerId(7), number: 0 };
//! demux.data(now, stream, 0, Bytes::from_static(b"\x04ch"), 3, false)?;
//! assert_eq!(demux.poll_command(), None, "the rest of the tag is to come");
//! demux.data(now, stream, 3, Bytes::from_static(b"athello"), 7, false)?;
//! assert!(matches!(demux.poll_command(), Some(Command::Dispatch { tag, .. }) if *tag == *b"chat"));
//! let bytes = Bytes::from_static(b"hello");
//! let data = Command::Data { stream, acceptor, bytes, fin: false };
//! assert_eq!((demux.poll_command(), demux.poll_command()), (Some(data), None));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Two ways in
//!
//! Every event of [`Machine::handle`] is a method too. What came of registering, unregistering and opening
//! is what the method returns, or the first command, [`Command::Answer`]. Both are the same code; a
//! [`Recorder`](crate::journal::Recorder) records both. Either way, the commands that follow are drained
//! before the next call ([`Refusal::Undrained`]).
//!
//! # Where a stream is
//!
//! | state | how it comes there | how it leaves |
//! |---|---|---|
//! | unknown | before its first byte, and after it left | data at offset 0 |
//! | parked | its first event does not hold the whole preamble | the preamble is whole; refused at its deadline, or when it ends |
//! | held | its preamble is whole, and its acceptor pauses, or nobody registered the tag and [`Config::hold`] is not zero | its acceptor resumes or takes it, or somebody registers: dispatched; refused when nobody will |
//!
//! From everywhere it goes when it is reset or closed, or when its peer goes. An empty event takes no
//! place, and a preamble that is whole in its first event takes none either: when all places are taken,
//! only streams whose preamble comes in pieces are refused for it, and those that would be held.
//!
//! # Laws
//!
//! * However the bytes of a stream are cut, its acceptor is given one [`Dispatch`](Command::Dispatch), and
//!   the exact payload with its end.
//! * A refused stream stays refused: only bytes at offset 0 begin a preamble, so that nothing is
//!   remembered of it, and what is still in flight is never taken for one.
//! * Exact wins, then the longest prefix. A tag that begins with `gapless:` finds only what was
//!   registered by a protocol.
//! * Whenever the machine is drained, every held stream waits for whom a look-up finds, and that acceptor
//!   pauses; or for anybody. When that changes, streams that find no place with whom they wait for next are
//!   refused; what goes to one acceptor goes in the order in which the preambles were whole.
//! * Every stream that was parked or held is dispatched, refused, or forgotten, once, and counted.
//!
//! # Codes
//!
//! | code | cause |
//! |---|---|
//! | [`NO_ACCEPTOR`] | nobody registered the tag; an empty tag; a hand-off that failed |
//! | [`DEADLINE`] | the preamble was not whole in time |
//! | [`TOO_MANY`] | too many streams are parked or held in all, or held for one acceptor; too much payload is held |
//! | [`TOO_MANY_OF_PEER`] | too many streams of its peer are parked or held; comes before `TOO_MANY` |
//! | [`RESERVED`] | the tag begins with `gapless:`, and no protocol registered it |
//! | [`FIN_IN_PREAMBLE`] | the stream ended before its preamble was whole |
//!
//! # Memory
//!
//! [`Config::max_bytes`] bounds everything, whatever peers do. Streams and registrations lie in pages
//! that come with the need and stay: once the machine was as full as it gets, parking, dispatching, refusing
//! and expiring allocate nothing, but for tags of more than 32 bytes, which leave in a block of their own.
//! What is held keeps its payload: up to 4096 bytes, and what keeps a buffer of twice its size alive, are
//! copied, the rest is shared. Everything handed out is the outside's: [`lent`](Machine::lent) is zero.
//!
//! # What it costs
//!
//! | operation | cost |
//! |---|---|
//! | `data` whose preamble is whole at once | one look-up of the stream among those that wait, O(log waiting), one of the tag, and no more for the life of the stream |
//! | `data` of a parked stream | the same, and O(log waiting) to park and to leave |
//! | look-up of a tag | O(log registrations); once more for each registered prefix that begins like the tag and goes on otherwise, up to its length |
//! | `register`, `unregister` | O(log registrations), and one look-up for each held stream |
//! | `acceptor_gone` | the same for each of its registrations; one look-up for each held stream |
//! | `pause` | O(log acceptors) |
//! | `resume` | O(log waiting) for each stream that is held for it |
//! | `take` | O(log waiting), and a look-up of the tag |
//! | `reset`, `closed`, `hand_off_failed` | O(log waiting) |
//! | `peer_gone` | O(log waiting) for each of its streams |
//! | each command out of what waits, each expired one | O(log waiting), and a look-up of its tag |
//! | `poll_timeout` | O(log waiting) |

mod acceptors;
mod calls;
mod config;
mod event;
mod inbound;
mod journal;
mod stats;
mod tag;
#[cfg(test)]
mod tests;
mod waiting;

pub use config::{Config, Error};
pub use event::{
    AcceptorId, Command, Direction, Event, Pattern, PeerId, Refusal, Registrant, Registration,
    StreamId,
};
pub use stats::{Forgotten, Refused, Stats, TagStats};
pub use tag::{Preamble, Tag};

use acceptors::{Acceptor, ByAcceptor, ByOwner, ByPattern, Registered};
use inbound::Piece;
use waiting::{ById, ByPeer, ByTurn, Peer, Stream, Waits};

use crate::machine::Context;
use crate::storage::ring::SHARED;
use crate::storage::slab::Slab;
use crate::storage::tree::Tree;
use crate::time::earliest;
use crate::wire::tag::MAX_PREAMBLE;
use crate::{Instant, Machine};

/// The code of streams that nobody takes: the tag is not registered, or empty, or the hand-off failed.
pub const NO_ACCEPTOR: u64 = 0x100;
/// The code of streams whose preamble was not whole in time.
pub const DEADLINE: u64 = 0x101;
/// The code of streams that would be too many to wait, in all or for one acceptor.
pub const TOO_MANY: u64 = 0x102;
/// The code of streams that would be too many of one peer to wait.
pub const TOO_MANY_OF_PEER: u64 = 0x103;
/// The code of streams with a reserved tag that no protocol registered.
pub const RESERVED: u64 = 0x104;
/// The code of streams that ended before their preamble was whole.
pub const FIN_IN_PREAMBLE: u64 = 0x105;

/// Streams, acceptors, and who takes which; see the [module](self).
#[derive(Debug)]
pub struct Demux {
    config: Config,
    context: Context,
    acceptors: Slab<Acceptor>,
    by_acceptor: Tree<ByAcceptor>,
    registered: Slab<Registered>,
    by_pattern: Tree<ByPattern>,
    by_owner: Tree<ByOwner>,
    registrations: usize,
    streams: Slab<Stream>,
    by_id: Tree<ById>,
    by_turn: Tree<ByTurn>,
    peers: Slab<Peer>,
    by_peer: Tree<ByPeer>,
    /// What the next stream that waits is stamped with: stamps never come again.
    stamp: u64,
    /// Streams that are parked; held; and of those, such whose tag nobody registered, and such that wait
    /// for the next command.
    pending: usize,
    held: usize,
    unclaimed: usize,
    turns: usize,
    /// Bytes that the payload of held streams costs.
    held_bytes: usize,
    /// What is to be told: an answer, and what follows from one stream. `second` costs `second_bytes`.
    answer: Option<Result<(), Refusal>>,
    first: Option<Command>,
    second: Option<Command>,
    second_bytes: usize,
    stats: Stats,
}

impl Machine for Demux {
    type Config = Config;
    type Event<'a> = Event<'a>;
    type Command = Command;
    type Stats = Stats;
    type Error = Error;

    fn new(config: Config) -> Result<Self, Error> {
        config.check()?;
        Ok(Self {
            config,
            context: Context::default(),
            acceptors: Slab::keeping(),
            by_acceptor: Tree::EMPTY,
            registered: Slab::keeping(),
            by_pattern: Tree::EMPTY,
            by_owner: Tree::EMPTY,
            registrations: 0,
            streams: Slab::keeping(),
            by_id: Tree::EMPTY,
            by_turn: Tree::EMPTY,
            peers: Slab::keeping(),
            by_peer: Tree::EMPTY,
            stamp: 0,
            pending: 0,
            held: 0,
            unclaimed: 0,
            turns: 0,
            held_bytes: 0,
            answer: None,
            first: None,
            second: None,
            second_bytes: 0,
            stats: Stats::default(),
        })
    }

    /// Takes an event. What came of registering, unregistering or opening is the first command:
    /// [`Command::Answer`].
    fn apply(&mut self, now: Instant, event: Event<'_>) -> Result<(), Error> {
        let is_answered = matches!(
            event,
            Event::Register { .. }
                | Event::Unregister { .. }
                | Event::AcceptorGone { .. }
                | Event::Open { .. }
        );
        let result = self.call(now, event);
        match result {
            Err(refusal) if !refusal.is_answer() => return Err(refusal.into()),
            _ if is_answered => {
                self.pass(now);
                self.answer = Some(result);
                self.context.pend();
            }
            _ => {}
        }
        Ok(())
    }

    fn next_command(&mut self) -> Option<Command> {
        if let Some(answer) = self.answer.take() {
            return Some(Command::Answer(answer));
        }
        if self.first.is_none() && self.second.is_none() {
            self.advance();
        }
        self.first.take().or_else(|| {
            self.second_bytes = 0;
            self.second.take()
        })
    }

    /// When the next preamble is overdue, or the next tag was waited for long enough.
    fn poll_timeout(&self) -> Option<Instant> {
        let preamble = self.deadline(Waits::Preamble, self.config.preamble_timeout);
        earliest(preamble, self.deadline(Waits::Anybody, self.config.hold))
    }

    fn expire(&mut self, now: Instant) {
        self.context.advance(now);
        if self.poll_timeout().is_some_and(|timeout| timeout <= self.context.now()) {
            self.context.timeout(now);
        }
    }

    /// Whenever it is drained; in between, what the last event brought comes on top.
    fn memory_limit(config: &Config) -> usize {
        let streams = config.max_pending.saturating_add(config.max_held);
        [
            Slab::<Stream>::most(streams),
            Slab::<Peer>::most(streams),
            Slab::<Acceptor>::most(config.max_registrations),
            Slab::<Registered>::most(config.max_registrations),
            config.max_held_bytes,
            // The tag or the preamble of a command that is about to be taken, and sharing its payload.
            MAX_PREAMBLE + SHARED,
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn memory_used(&self) -> usize {
        let first = match &self.first {
            Some(Command::Dispatch { tag, .. }) => tag.heap(),
            Some(Command::Write { preamble, .. }) => preamble.heap(),
            _ => 0,
        };
        (self.acceptors.bytes()
            + self.registered.bytes()
            + self.streams.bytes()
            + self.peers.bytes()
            + self.held_bytes
            + first)
            // That is what a driver says, which may be anything.
            .saturating_add(self.second_bytes)
    }

    /// Zero: what left in commands is the outside's.
    fn lent(&self) -> usize {
        0
    }

    fn context(&self) -> &Context {
        &self.context
    }

    fn context_mut(&mut self) -> &mut Context {
        &mut self.context
    }
}

impl Demux {
    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Streams that are parked.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.pending
    }

    /// Streams that are held.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Streams that are held for an acceptor.
    #[must_use]
    pub fn held_for(&self, acceptor: AcceptorId) -> usize {
        let acceptor = self.find_acceptor(acceptor).and_then(|at| self.acceptors.get(at));
        acceptor.map_or(0, |acceptor| acceptor.held)
    }

    /// Bytes that the payload of held streams keeps allocated.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Streams of one peer that are parked or held.
    #[must_use]
    pub fn waiting_of(&self, peer: PeerId) -> usize {
        self.count_of_peer(peer)
    }

    /// Whether an acceptor pauses. Who has no registration does not.
    #[must_use]
    pub fn is_paused(&self, acceptor: AcceptorId) -> bool {
        let acceptor = self.find_acceptor(acceptor).and_then(|at| self.acceptors.get(at));
        acceptor.is_some_and(|acceptor| acceptor.is_paused)
    }

    /// Refuses a call while commands of the last are waiting.
    const fn drained(&self) -> Result<(), Refusal> {
        if self.context.is_draining() { Err(Refusal::Undrained) } else { Ok(()) }
    }

    /// Lets time pass; it never goes back.
    fn pass(&mut self, now: Instant) {
        self.context.advance(now);
    }

    /// Sees whether a call left something to be told.
    fn settle(&mut self) {
        if self.first.is_some() || self.second.is_some() || self.turns > 0 {
            self.context.pend();
        }
    }
}
