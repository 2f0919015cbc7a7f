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
//! Every event of [`Machine::handle`] is a method too. The result of registering, unregistering and opening
//! is what the method returns, or the first command, [`Command::Answer`]: a [`Refusal`] is for whoever asked.
//! [`Misuse`] is the driver's, and changes nothing. Both ways are the same code; a
//! [`Recorder`](crate::journal::Recorder) records both. Before the next event the commands are drained
//! ([`Undrained`](crate::machine::Undrained)); the methods are called at any time, in the middle of a drain too, and what they
//! lead to comes behind what is due.
//!
//! # Credit
//!
//! An acceptor has credit for any number of streams, or none: it *pauses*. [`Event::Take`] is credit for
//! one that is held. Streams that do not go on at once are dispatched one by one, each when its command is
//! asked for, so that an acceptor that pauses in between is given no more.
//!
//! # Where a stream is
//!
//! | state | how it comes there | how it leaves |
//! |---|---|---|
//! | unknown | before its first byte, and after it left | data at offset 0 |
//! | parked | its first event does not hold the whole preamble | the preamble is whole; refused at its deadline, or when it ends |
//! | held | its preamble is whole, and its acceptor pauses or has others to take first, or nobody registered the tag and [`Config::hold`] is not zero | its acceptor resumes or takes it, or somebody registers: dispatched; refused when nobody will |
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
//!   pauses; or is unclaimed. When that changes, streams that find no place with whom they wait for next are
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
//! [`Machine::memory_limit`] bounds everything, whatever peers do. Streams and registrations lie in pages
//! that come with the need and stay: once the machine was as full as it gets, parking, dispatching, refusing
//! and expiring allocate nothing, but for tags of more than 32 bytes, which leave in a block of their own.
//! A held stream keeps its payload: up to 4096 bytes, and such as keeps a buffer of twice its size alive, are
//! copied, the rest is shared. Everything handed out is the outside's: [`lent`](Machine::lent) is zero.
//!
//! # What it costs
//!
//! | operation | cost |
//! |---|---|
//! | `data` whose preamble is whole at once | one look-up of the stream among those that wait, O(log waiting), one of the tag, one of the acceptor among those that pause, and no more for the life of the stream |
//! | `data` of a parked stream | the same, and O(log waiting) to park and to leave |
//! | look-up of a tag | O(log registrations); once more for each registered prefix that begins like the tag and goes on otherwise, up to its length |
//! | `register`, `unregister` | O(log registrations), and one look-up for each held stream |
//! | `acceptor_gone` | the same for each of its registrations; one look-up for each held stream |
//! | `pause` | O(log registrations) |
//! | `resume` | O(log registrations + log waiting) |
//! | `take` | O(log waiting), and a look-up of the tag |
//! | `reset`, `closed`, `hand_off_failed` | O(log waiting) |
//! | `peer_gone` | O(log waiting) for each of its streams |
//! | each command out of what waits, each expired one | O(log waiting), and a look-up of its tag |
//! | `poll_timeout` | O(log waiting) |

mod calls;
mod codes;
mod config;
mod event;
mod inbound;
mod journal;
mod registry;
mod stats;
mod tag;
#[cfg(test)]
mod tests;
mod waiting;

pub use codes::{DEADLINE, FIN_IN_PREAMBLE, NO_ACCEPTOR, RESERVED, TOO_MANY, TOO_MANY_OF_PEER};
pub use config::{Config, Misuse};
pub use event::{
    AcceptorId, Command, Direction, Event, Pattern, PeerId, Refusal, Registrant, Registration,
    StreamId,
};
pub use stats::{Forgotten, Refused, Stats, TagStats};
pub use tag::Tag;

use smallvec::SmallVec;

use registry::Registry;
use waiting::{Waiting, Waits};

use crate::machine::Context;
use crate::stats_and_context;
use crate::storage::blocks::OVERHEAD;
use crate::storage::charge::Measure;
use crate::wire::tag::MAX_PREAMBLE;
use crate::{Instant, Machine};

/// Streams, acceptors, and who takes which; see the [module](self).
#[derive(Debug)]
pub struct Demux {
    config: Config,
    context: Context,
    registry: Registry,
    waiting: Waiting,
    /// The next commands, and the bytes that each keeps allocated: what follows from one stream, or from
    /// calls that were made meanwhile.
    pending: SmallVec<[(Command, usize); 2]>,
    stats: Stats,
}

impl Machine for Demux {
    type Config = Config;
    type Event<'a> = Event<'a>;
    type Command = Command;
    type Stats = Stats;
    type Error = Misuse;

    fn new(config: Config) -> Result<Self, Misuse> {
        config.check()?;
        Ok(Self {
            config,
            context: Context::default(),
            registry: Registry::new(),
            waiting: Waiting::new(),
            pending: SmallVec::new(),
            stats: Stats::default(),
        })
    }

    /// Takes an event. The result of registering, unregistering or opening is the first command:
    /// [`Command::Answer`].
    fn apply(&mut self, now: Instant, event: Event<'_>) -> Result<(), Misuse> {
        let is_answered = matches!(
            event,
            Event::Register { .. }
                | Event::Unregister { .. }
                | Event::AcceptorGone { .. }
                | Event::Open { .. }
        );
        let at = self.due_first();
        let answer = self.call(now, event)?;
        if is_answered {
            self.insert(at, Command::Answer(answer), 0);
        }
        Ok(())
    }

    fn next_command(&mut self) -> Option<Command> {
        while self.pending.is_empty() {
            if !self.advance() {
                self.pending.shrink_to_fit();
                return None;
            }
        }
        Some(self.pending.remove(0).0)
    }

    /// When the next preamble is overdue, or the next tag was waited for long enough.
    fn poll_timeout(&self) -> Option<Instant> {
        let deadline = |(waits, most, _)| self.waiting.deadline(waits, most);
        self.limits().into_iter().filter_map(deadline).map(|(at, _)| at).min()
    }

    fn expire(&mut self, now: Instant) {
        self.context.advance(now);
        if self.poll_timeout().is_some_and(|timeout| timeout <= self.context.now()) {
            self.context.timeout(now);
        }
    }

    /// Whenever it is drained; in between, what came since it last was comes on top.
    fn memory_limit(config: &Config) -> usize {
        [
            Waiting::most(config.max_pending.saturating_add(config.max_held)),
            Registry::most(config.max_registrations),
            config.max_held_bytes,
            // The tag or the preamble of a command that is about to be taken, and sharing its payload.
            MAX_PREAMBLE + OVERHEAD,
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    stats_and_context!();

    fn charged(&self) -> usize {
        self.memory(Measure::Charged)
    }

    fn memory_used(&self) -> usize {
        let many = if self.pending.spilled() { self.pending.capacity() } else { 0 };
        let beside = self.memory(Measure::Taken) + many * size_of::<(Command, usize)>();
        // A driver says how much a command pins: it may be any number.
        self.pending.iter().fold(beside, |sum, (_, cost)| sum.saturating_add(*cost))
    }

    /// Zero: what left in commands is the outside's.
    fn lent(&self) -> usize {
        0
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
    pub fn pending(&self) -> usize {
        self.waiting.count(Waits::Preamble)
    }

    /// Streams that are held.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.waiting.held()
    }

    /// Streams that are held for an acceptor.
    #[must_use]
    pub fn held_for(&self, acceptor: AcceptorId) -> usize {
        self.waiting.count(Waits::For(acceptor))
    }

    /// Bytes that the payload of held streams keeps allocated.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.waiting.held_bytes()
    }

    /// Streams of one peer that are parked or held.
    #[must_use]
    pub fn waiting_of(&self, peer: PeerId) -> usize {
        self.waiting.count_of_peer(peer)
    }

    /// True while an acceptor pauses. One without a registration does not.
    #[must_use]
    pub fn is_paused(&self, acceptor: AcceptorId) -> bool {
        self.registry.is_paused(acceptor)
    }

    /// The registrations: exact tags first, then prefixes, each in the order of their bytes.
    pub fn registrations(&self) -> impl Iterator<Item = Registration<'_>> {
        self.registry.iter()
    }

    const fn memory(&self, measure: Measure) -> usize {
        self.registry.bytes(measure) + self.waiting.bytes(measure)
    }

    /// Adds a command behind those that are due, and the bytes that it keeps allocated.
    fn push(&mut self, command: Command, bytes: usize) {
        self.insert(self.pending.len(), command, bytes);
    }

    /// Adds a command in front of the one that is due there.
    fn insert(&mut self, at: usize, command: Command, bytes: usize) {
        self.pending.insert(at, (command, bytes));
        self.context.pend();
    }

    /// How many answers and preambles are due: they come before other commands.
    fn due_first(&self) -> usize {
        let is_first =
            |command: &Command| matches!(command, Command::Answer(_) | Command::Write { .. });
        self.pending.iter().take_while(|(command, _)| is_first(command)).count()
    }
}
