//! Tracks of groups of frames in bounded memory: what late joiners read, what fan-out sends from, what
//! replay hands over to.
//!
//! A *track* is a series of *groups* with numbers, a group an ordered list of *frames*, a frame a sized
//! payload: the words of moq-lite. Frames are copied once, into blocks of their group; after that,
//! reading shares. A [`Position`] is a place in a track, of which the cache knows nothing; a *reader* is one
//! that the cache keeps, and wakes. There may be any number of both, and they hold nothing back.
//!
//! ```
//! use gapless_core::cache::{Cache, Config, Limits, Next, Start};
//! use gapless_core::{Instant, Machine};
//!
//! let mut cache = Cache::new(Config::new(1 << 20))?;
//! let track = cache.create_track(Instant::ZERO, b"quotes", 0, Limits::default())?;
//! let reader = cache.open_reader(track, Start::Oldest)?;
//! let group = cache.append_group(Instant::ZERO, track)?;
//! cache.append(group, b"first")?;
//! cache.append(group, b"other")?;
//! cache.finish_group(group)?;
//!
//! let first = cache.next_frame(reader)?.held().expect("a frame");
//! assert_eq!((first.group, first.index, first.bytes), (0, 0, &b"first"[..]));
//! let run = cache.next_run(reader)?.held().expect("all the others");
//! assert_eq!(&run.bytes[..], b"\x05other");
//! assert_eq!(cache.next_run(reader)?, Next::GroupEnd { group: 0, frames: 2 });
//! assert_eq!(cache.next_run(reader)?, Next::Pending);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Two ways in
//!
//! Every event of [`Machine::handle`] is a method too, which returns what the event answers by
//! [`Command::Answer`]. Both are the same code; a [`Recorder`](crate::journal::Recorder) records both.
//! Before the next event the commands that follow are drained ([`Undrained`](crate::machine::Undrained)); the
//! methods are called at any time. A warm `append` that nobody waits for has no command.
//!
//! [`Misuse`] is the embedding program's mistake: it is an `Err`, changes nothing, and is not recorded. A [`Refusal`]
//! is an answer that something outside can cause: it is counted, and [`Answer::Refused`] where an event was given.
//!
//! # Positions
//!
//! A program that serves many places in a track keeps positions and reads with [`Cache::run_at`]: it changes nothing
//! but the position, is not recorded, and is never refused because commands wait. Appended frames can be shared
//! once they are sealed: by [`Cache::seal`], once for a whole batch, or by the end of its group. Each seal cuts a
//! piece, and runs end where pieces do.
//!
//! ```
//! # use gapless_core::cache::{Cache, Config, Limits, Next, Position};
//! # use gapless_core::{Instant, Machine};
//! # let mut cache = Cache::new(Config::new(1 << 20))?;
//! # let track = cache.create_track(Instant::ZERO, b"quotes", 0, Limits::default())?;
//! # let group = cache.append_group(Instant::ZERO, track)?;
//! for index in 0..32 {
//!     assert_eq!(cache.append(group, b"frame")?, index);
//! }
//! cache.seal(track)?;
//! let mut position = Position::new(0, 0);
//! let run = cache.run_at(track, &mut position, 16 << 10)?.held().expect("what was sealed");
//! assert_eq!(u64::from(run.frames), position.frame());
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! A reader's [`next_run`](Cache::next_run) and [`next_shared`](Cache::next_shared) do the same, and seal its
//! group where it comes to what is not sealed.
//!
//! # Memory
//!
//! [`Config::max_bytes`] bounds everything: blocks, tables, names, readers; it holds after every call.
//! The first to be evicted is the oldest group over all tracks, by the time of creation; the newest groups
//! of live tracks come after all others; the budget always wins. Of the group that is being written to,
//! and of an unfinished newest one, the front goes first, and indices stay what they were: so a group
//! may be larger than memory. A frame that cannot be held even so aborts its group with [`TOO_LARGE`].
//!
//! Small frames are copied once, into blocks of up to 16 KiB that lie behind one another in pieces. Readers at
//! the live edge that take runs or shares, and frames that are written by chunks, cut pieces short: such are
//! copied together once more when nothing else is laid into their block, so that who comes later finds
//! runs; not where a full budget would have to let more than superseded groups go for it.
//!
//! A track remembers number and length of the last 64 of its groups that had ended and were evicted: a
//! reader that has read all of one gets its end, and one that comes to a skipped one that. Of all
//! tracks together the last are remembered, one for each KiB of the budget: they take 1/64 of it.
//!
//! Bytes that were handed out of a block that was freed since are not the cache's any more:
//! [`lent`](Machine::lent) counts them. They make no difference to anything that the cache does.
//!
//! # What never changes
//!
//! A frame that is held keeps its bytes and its index for as long as it is there. [`Cache::put`]
//! compares what comes late with it, and lets only what is missing become held.
//!
//! # What it costs
//!
//! | operation | cost |
//! |---|---|
//! | `append`, `append_shared`, `open_frame`, `write` | O(1) |
//! | `next_frame`, `next_shared`, `next_chunk`, `next_run` | O(1) within a group; at a place that was jumped to, as `frame` |
//! | `run_at` | the same, and O(its frames) where `max_bytes` cuts it |
//! | `seal` | O(1) for each group of the track that has something to seal |
//! | the step of a reader or position to the next group, and behind what was evicted | O(log groups of the track), and up to 64 steps |
//! | creating, finishing, aborting, evicting a group | O(log groups of the track + log tracks), and O(1) for each of its pieces: up to 256 frames or 16 KiB, less where a share or a run was taken of what was still being filled |
//! | `track`, `group` | O(log n) |
//! | `frame` | O(log pieces of the group), and up to 256 steps |
//! | `put` of what is held | as `frame`, and O(its bytes) |
//! | `put` of what is missing | O(pieces of the group) |
//! | opening, closing, moving a reader | O(1); to the oldest O(log groups of the track); O(log readers) when it waits for a number beyond the next |
//! | `Evicted` | O(log groups of the track) for each track reported |
//! | `Readable` | O(1) for each reader woken; O(log readers) for one that waited for a number beyond the next, of a group or of a frame |
//! | ending a track | O(its groups), and O(log n) for each reader woken |

mod config;
mod event;
mod group;
mod ids;
mod index;
mod journal;
mod memory;
mod pool;
mod position;
mod produce;
mod publishers;
mod read;
mod reader;
mod run;
mod stats;
mod store;
#[cfg(test)]
mod tests;
mod track;
mod tracks;
mod write;

pub use config::{CallError, Config, Limits, MAX_NAME, Misuse, Refusal};
pub use event::{Answer, Chunk, Command, Event, Frame, FrameState, Next, Put, ReadUnit, Start};
pub use group::{GroupId, Missing};
pub use position::Position;
pub use reader::ReaderId;
pub use run::Run;
pub use stats::{Evictions, Stats};
pub use track::TrackId;

use group::InAborted;
use index::Index;
use pool::RECLAIMED;
use publishers::Publishers;
use reader::readers::Readers;
use store::Store;
use track::InEvicted;

use smallvec::SmallVec;

use crate::machine::Context;
use crate::stats_and_context;
use crate::storage::list::List;
use crate::{Instant, Machine};

/// The code of groups and tracks whose producer went away (moq-lite: cancelled).
pub const DROPPED: u64 = 0x1;
/// The code of groups of which the budget cannot hold a frame (moq-lite: group too large).
pub const TOO_LARGE: u64 = 0x32;
/// The highest number that a group can have.
pub const MAX_SEQUENCE: u64 = u64::MAX - 1;

/// Tracks, groups, frames, and who reads them; see the [module](self).
#[derive(Debug)]
pub struct Cache {
    config: Config,
    /// The largest frame that is laid into a block among others, and allowed.
    small: usize,
    context: Context,
    /// The generation of the newest thing, of any kind: none comes again.
    generation: u64,
    store: Store,
    index: Index,
    readers: Readers,
    publishers: Publishers,
    /// The pending reports: answers, aborted groups, tracks with evictions; and readers that are ready.
    answers: SmallVec<[Answer; 1]>,
    aborted: List<InAborted>,
    evicted_from: List<InEvicted>,
    stats: Stats,
}

impl Machine for Cache {
    type Config = Config;
    type Event<'a> = Event<'a>;
    type Command = Command;
    type Stats = Stats;
    type Error = Misuse;

    fn new(config: Config) -> Result<Self, Misuse> {
        config.check()?;
        Ok(Self {
            small: pool::LARGE.min(usize::try_from(config.max_frame).unwrap_or(usize::MAX)),
            store: Store::new(config.max_bytes),
            config,
            context: Context::default(),
            generation: 0,
            index: Index::default(),
            readers: Readers::default(),
            publishers: Publishers::default(),
            answers: SmallVec::new(),
            aborted: List::default(),
            evicted_from: List::default(),
            stats: Stats::default(),
        })
    }

    /// Takes an event. Its answer is the first command: [`Command::Answer`].
    fn apply(&mut self, now: Instant, event: Event<'_>) -> Result<(), Misuse> {
        let answer = self.call(now, event)?;
        self.answers.push(answer);
        self.context.pend();
        Ok(())
    }

    fn next_command(&mut self) -> Option<Command> {
        if !self.answers.is_empty() {
            return Some(Command::Answer(self.answers.remove(0)));
        }
        loop {
            if let Some(report) = self.next_aborted().or_else(|| self.next_evicted()) {
                return Some(report);
            }
            if let Some(reader) = self.readers.next_ready(&mut self.store) {
                self.stats.woken += 1;
                return Some(Command::Readable(reader));
            }
            // A group may have been superseded while a timeout is drained.
            if !(self.context.is_timeout() && self.is_expiring()) {
                return None;
            }
            self.expire_groups();
        }
    }

    /// When the next group reaches the age that its track keeps.
    fn poll_timeout(&self) -> Option<Instant> {
        self.index.next_expiry(&self.store)
    }

    fn expire(&mut self, now: Instant) {
        self.context.advance(now);
        if self.is_expiring() {
            self.context.timeout(now);
        }
        self.expire_groups();
        self.reclaim(RECLAIMED);
    }

    fn memory_limit(config: &Config) -> usize {
        config.max_bytes
    }

    stats_and_context!();

    fn memory_used(&self) -> usize {
        let answers = if self.answers.spilled() { self.answers.capacity() } else { 0 };
        self.live()
            + self.store.pool.idle()
            + self.store.pool.lent()
            + answers * size_of::<Answer>()
    }

    fn lent(&self) -> usize {
        self.store.pool.lent()
    }
}

impl Cache {
    /// Makes the call that an event stands for; what it gave.
    ///
    /// Chunks of a frame of up to 4096 bytes that is not complete are copied; everything else that is
    /// read is shared.
    ///
    /// # Errors
    /// Misuse. A refusal is an answer.
    pub fn call(&mut self, now: Instant, event: Event<'_>) -> Result<Answer, Misuse> {
        let answer = match event.dispatch(self, now) {
            Ok(answer) => answer,
            Err(CallError::Refused(refusal)) => Answer::Refused(refusal),
            Err(CallError::Misuse(misuse)) => return Err(misuse),
        };
        self.context.advance(now);
        Ok(answer)
    }

    /// A group has reached the age that its track keeps.
    fn is_expiring(&self) -> bool {
        self.poll_timeout().is_some_and(|at| at <= self.context.now())
    }

    /// Begins a call. Each tries to reclaim one lent block, so that what the outside has released does not stay
    /// allocated beside a full budget.
    #[inline]
    fn begin(&mut self) {
        if self.store.pool.is_any_lent() {
            self.reclaim(1);
        }
    }

    /// Says that there is something to drain if a reader is ready.
    const fn pend_ready(&mut self) {
        if self.readers.is_any_ready() {
            self.context.pend();
        }
    }

    const fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// Counts a refusal.
    const fn refuse(&mut self, refusal: Refusal) -> CallError {
        match refusal {
            Refusal::Contradiction(_) => self.stats.contradictions += 1,
            Refusal::Duplicate(_) | Refusal::NameTaken => self.stats.duplicates += 1,
            Refusal::BeyondWindow { .. }
            | Refusal::BeyondEnd { .. }
            | Refusal::EndsBefore { .. }
            | Refusal::NotNext { .. } => self.stats.beyond += 1,
            Refusal::FrameTooLarge { .. } | Refusal::PastSize { .. } => self.stats.oversized += 1,
            Refusal::Unfinished { .. } | Refusal::Short { .. } => self.stats.unfinished += 1,
            Refusal::FrameEvicted { .. } => self.stats.late += 1,
            Refusal::Full { .. } | Refusal::UsedUp => self.stats.full += 1,
        }
        CallError::Refused(refusal)
    }
}
