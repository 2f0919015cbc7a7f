//! A cache that is filled by a node's receiver, with its readers: all that the receiver says goes
//! through a grouping into it, and everything that comes out is judged.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::rc::Rc;

use gapless_core::cache::{
    self, Answer, Cache, CallError, Command, Event, Misuse, Refusal, Start, TOO_LARGE, TrackId,
};
use gapless_core::grouping::{self, Grouping, Step, Steps};
use gapless_core::journal::Driven;
use gapless_core::receiver::{self, Batch, Checkpoint};
use gapless_core::{Instant, Machine, Session};

use super::ballast::{Ballast, Ballasting};
use super::book::Book;
use super::law::Holdings;
use super::reader::{Pace, Reader, ReaderPlan};
use crate::alloc;
use crate::sim::check::MemoryBound;
use crate::sim::journal::{Journal, Recorder, journal_of, recorder_of};
use crate::sim::listener::Downstream;
use crate::sim::trace::{Fact, Trace};
use crate::sim::world::State;

/// The most steps of a reader at one instant.
const MOST_STEPS: u32 = 1_000_000;

/// When a cache is still there after its node was restarted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keeps {
    /// Never.
    Nothing,
    /// When the receiver's place was kept.
    Written,
    /// Always: only the receiver was restarted.
    All,
}

/// The handling of a live start within a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rounding {
    /// The receiver begins again at the front of the group.
    Back,
    /// Publishing begins with the next group.
    Up,
    /// The front of the group is absent.
    Not,
}

/// The configuration of a cache, and its readers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CachePlan {
    /// The cache.
    pub cache: cache::Config,
    /// The grouping.
    pub grouping: grouping::Config,
    /// The handling of a live start.
    pub rounding: Rounding,
    /// The state that a restart keeps.
    pub keeps: Keeps,
    /// The readers that each track gets.
    pub readers: Vec<ReaderPlan>,
    /// The ballast, which takes memory too.
    pub ballast: Option<Ballast>,
}

/// Something to judge: a step of the grouping, or a command of the cache.
#[derive(Debug)]
enum Said {
    Step(Step),
    Command(Command),
}

/// Output of grouping and cache that is not judged yet.
#[derive(Debug, Default)]
struct Heard {
    said: Vec<Said>,
    /// Bytes that the list itself allocated.
    bytes: isize,
}

impl Heard {
    fn take(&mut self, said: Said) {
        let before = alloc::live();
        self.said.push(said);
        self.bytes += alloc::live() - before;
    }

    fn drain(&mut self, cache: &mut Recorder<Cache>) {
        while let Some(command) = cache.poll_command() {
            self.take(Said::Command(command));
        }
    }
}

/// A cache, what fills it, and who reads it.
#[derive(Debug)]
pub struct CacheNode {
    plan: CachePlan,
    /// Whether the receiver is made to begin live.
    live: bool,
    /// Whether it has begun so, and nothing was said yet.
    awaits_live: bool,
    cache: Recorder<Cache>,
    grouping: Grouping,
    journal: Option<(Journal, u16)>,
    trace: Trace,
    books: BTreeMap<TrackId, Book>,
    /// The tracks there ever were.
    names: BTreeMap<String, Session>,
    joins: Vec<(Instant, TrackId, ReaderPlan)>,
    readers: Vec<Reader>,
    ballast: Option<Ballasting>,
    heard: Heard,
    /// Bytes that the cache allocated and did not free.
    allocated: isize,
    /// Totals of the readers, and of what was published.
    pub totals: Totals,
}

/// Totals of a cache node.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Totals {
    /// Messages read.
    pub read: u64,
    /// How often readers were notified of evictions.
    pub evicted: u64,
    /// Readers that read to the end of their track.
    pub ended: u64,
    /// Messages published.
    pub published: u64,
    /// Frames that were missing and became held.
    pub filled: u64,
    /// Messages that came again.
    pub same: u64,
    /// Groups that the cache could not hold.
    pub too_large: u64,
}

impl CacheNode {
    /// A cache node whose receiver is made to begin live, or not.
    #[must_use]
    pub fn new(now: Instant, plan: CachePlan, live: bool) -> Self {
        let journal = journal_of("cache").map(|journal| (journal, 0));
        let before = alloc::live();
        let mut cache = recorder_of(plan.cache.clone(), journal.as_ref());
        let ballast = plan.ballast.map(|ballast| Ballasting::new(now, ballast, &mut cache));
        let allocated = alloc::live() - before;
        let grouping =
            Grouping::new(plan.grouping.clone()).expect("a plan's configuration is valid");
        Self {
            plan,
            live,
            awaits_live: live,
            cache,
            grouping,
            journal,
            trace: Trace::new(vec![Box::new(MemoryBound)]),
            books: BTreeMap::new(),
            names: BTreeMap::new(),
            joins: Vec::new(),
            readers: Vec::new(),
            ballast,
            heard: Heard::default(),
            allocated,
            totals: Totals::default(),
        }
    }

    /// The cache.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        self.cache.machine()
    }

    /// The run is over: everybody reads what is left, and what is held is looked at.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn finish(&mut self, now: Instant) -> Holdings {
        for reader in &self.readers {
            let book = &self.books[&reader.track];
            let woken = reader.plan.pace != Pace::Eager || reader.over;
            let over = book.end.is_some() || book.left;
            assert!(woken || !over, "the track is over, and nobody told {reader:?}");
        }
        for index in 0..self.readers.len() {
            self.read_dry(now, index);
        }
        self.after(now);
        self.close()
    }

    /// Looks at what is held, and adds up what happened.
    fn close(&mut self) -> Holdings {
        let mut holdings =
            Holdings { info: Some(self.grouping.config().info()), ..Holdings::default() };
        for (name, &session) in &self.names {
            holdings.add(self.cache.machine(), name);
            holdings.assert_sent(name, session, self.plan.grouping.group_size);
        }
        let stats = self.grouping.stats();
        assert_eq!(stats.contradictions, 0, "one feed never contradicts itself");
        self.totals.published += stats.published;
        self.totals.filled += stats.filled;
        self.totals.same += stats.same;
        self.totals.too_large += self.cache().stats().too_large;
        for reader in self.readers.drain(..) {
            self.totals.read += reader.read;
            self.totals.evicted += reader.evicted;
            self.totals.ended += u64::from(reader.over);
        }
        holdings
    }

    /// Publishes something, step by step.
    fn publish<B: AsRef<[u8]>>(&mut self, now: Instant, mut steps: Steps<B>) {
        let Self { grouping, cache, heard, .. } = self;
        let before = alloc::live() - heard.bytes;
        while let Some(step) = grouping.step(now, cache, &mut steps) {
            heard.take(Said::Step(step));
            heard.drain(cache);
        }
        self.allocated += alloc::live() - heard.bytes - before;
    }

    /// Calls the cache, and hears what follows.
    fn call(&mut self, now: Instant, event: Event<'_>) -> Result<Answer, CallError> {
        let Self { cache, heard, .. } = self;
        let before = alloc::live() - heard.bytes;
        let answer = cache.call(now, event);
        heard.drain(cache);
        self.allocated += alloc::live() - heard.bytes - before;
        answer?.result()
    }

    /// Writes the output down; yields the messages that are not published.
    fn note(&mut self, now: Instant) -> BTreeSet<u64> {
        let mut unpublished = BTreeSet::new();
        for said in std::mem::take(&mut self.heard).said {
            match said {
                Said::Command(command) => self.command(&command),
                Said::Step(Step::Opened { session, track, .. }) => self.opened(now, session, track),
                Said::Step(Step::Closed { track, next, .. }) => {
                    let book = self.books.get_mut(&track).expect("a track that was opened");
                    assert!(book.end.is_none() && !book.left, "{track:?} is closed twice");
                    book.end = next;
                    book.left = next.is_none();
                }
                Said::Step(Step::Unpublished { sequence, .. }) => {
                    assert!(unpublished.insert(sequence));
                }
                Said::Step(Step::Contradiction { .. } | Step::NoTrack { .. }) => panic!("{said:?}"),
                Said::Step(_) => {}
            }
        }
        unpublished
    }

    fn opened(&mut self, now: Instant, session: Session, track: TrackId) {
        let config = self.grouping.config();
        self.names.insert(config.track_name(session), session);
        let book = Book::new(session, config.group_size);
        assert!(self.books.insert(track, book).is_none(), "{track:?} is used again");
        let readers = self.plan.readers.iter().map(|&plan| (now + plan.joins, track, plan));
        self.joins.extend(readers);
    }

    fn command(&mut self, command: &Command) {
        match *command {
            Command::Readable(id) => {
                let mut readers = self.readers.iter_mut();
                let reader = readers.find(|reader| reader.id == id).expect("a reader that is open");
                assert!(!reader.readable, "{reader:?} is notified again");
                reader.readable = true;
            }
            Command::Aborted { code, .. } => assert_eq!(code, TOO_LARGE),
            Command::Evicted { .. } => {}
            Command::Answer(_) => panic!("{command:?} where nothing was asked by an event"),
        }
    }

    fn take_batch<B: AsRef<[u8]>>(&mut self, now: Instant, batch: &Batch<B>) {
        let session = batch.session;
        let next = self.grouping.next(session).expect("a session that started");
        let track = self.grouping.track(session).expect("a session that started");
        let late =
            batch.messages().map_while(|(sequence, _)| (sequence < next).then_some(sequence));
        let groups = late.filter_map(|sequence| Some(self.grouping.place(sequence)?.0));
        let before: BTreeMap<_, _> =
            groups.map(|group| (group, self.cache().group(track, group))).collect();
        // A clone of the bytes would be counted as the receiver's.
        let Batch { first, count, ref bytes, offset, arrival, origin, repaired, .. } = *batch;
        let bytes = bytes.as_ref();
        let borrowed = Batch { session, first, count, bytes, offset, arrival, origin, repaired };
        self.publish(now, self.grouping.batch(borrowed).expect("it started"));
        let unpublished = self.note(now);
        let book = self.books.get_mut(&track).expect("a track that was opened");
        let cache = self.cache.machine();
        for (group, before) in before {
            let after = cache.group(track, group);
            if after.is_some() && after != before {
                let evictions = cache.evictions(track).unwrap_or_default();
                let groups = evictions.by_bytes + evictions.by_age + evictions.by_count;
                book.create_again(group, groups > 0);
            }
        }
        for (sequence, _) in batch.messages() {
            if unpublished.contains(&sequence) {
                continue;
            }
            if sequence >= next && book.end.is_none() {
                book.publish(sequence);
                continue;
            }
            let Some((group, index)) = self.grouping.place(sequence) else { continue };
            let frame = cache.group(track, group).and_then(|id| cache.frame(id, index));
            if let Some(cache::FrameState::Held(_)) = frame {
                book.fill(sequence);
            }
        }
        self.after(now);
    }

    /// Something happened: readers read, and memory is looked at.
    fn after(&mut self, now: Instant) {
        self.note(now);
        let due = self.joins.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>();
        for (_, track, plan) in due {
            self.join(now, track, plan);
        }
        for index in 0..self.readers.len() {
            let reader = &mut self.readers[index];
            match reader.plan.pace {
                // Nobody wakes who has a position of its own.
                Pace::Eager if reader.readable || reader.position.is_some() => {
                    self.read_dry(now, index)
                }
                Pace::Every(pause) if reader.next.is_some_and(|next| next <= now) => {
                    reader.next = (!reader.over).then_some(now + pause);
                    let _ = self.step(now, index);
                }
                _ => {}
            }
        }
        self.note(now);
        self.record_memory(now);
    }

    fn join(&mut self, now: Instant, track: TrackId, plan: ReaderPlan) {
        let cache = self.cache.machine();
        let frames = |sequence| {
            let group = cache.group(track, sequence)?;
            cache.frames(group)
        };
        let newest = cache.newest(track);
        let place = match plan.start {
            Start::At { group, frame } => Some((group, frame)),
            Start::Oldest => cache.floor(track),
            Start::Newest => newest.and_then(|newest| Some((newest, frames(newest)?.start))),
            Start::Live => newest.and_then(|newest| Some((newest, frames(newest)?.end))),
        };
        let position = cache.position(track, plan.start).filter(|_| plan.positioned.is_some());
        match self.call(now, Event::OpenReader { track, start: plan.start }) {
            Ok(Answer::Reader(id)) => {
                let mut reader = Reader::new(now, id, track, plan, place);
                reader.position = position;
                self.readers.push(reader);
            }
            // The track is gone: it ended and was evicted, or left.
            Err(CallError::Misuse(Misuse::UnknownTrack)) => {
                let book = &self.books[&track];
                assert!(book.end.is_some() || book.left, "{track:?} is gone, and was not over");
            }
            Err(CallError::Refused(Refusal::Full { .. })) => {}
            other => panic!("{other:?} to {plan:?}"),
        }
    }

    fn read_dry(&mut self, now: Instant, index: usize) {
        let mut steps = 0;
        while !self.readers[index].over && self.step(now, index).is_continue() {
            steps += 1;
            assert!(steps < MOST_STEPS, "{:?} reads on and on", self.readers[index]);
        }
    }

    fn step(&mut self, now: Instant, index: usize) -> ControlFlow<()> {
        if self.readers[index].over {
            return ControlFlow::Break(());
        }
        let Reader { id: reader, track, plan, .. } = self.readers[index];
        let answer = match self.readers[index].position.zip(plan.positioned) {
            Some((mut position, max_bytes)) => {
                let sealed = self.call(now, Event::Seal { track });
                assert_eq!(sealed, Ok(Answer::Done));
                let run = self.cache.machine().run_at(track, &mut position, max_bytes);
                self.readers[index].position = Some(position);
                self.readers[index].readable = true;
                run.map(Answer::Run).map_err(CallError::from)
            }
            None => self.call(now, Event::Read { reader, by: plan.by }),
        };
        let answer = answer.unwrap_or_else(|refusal| panic!("{refusal}, says {plan:?}"));
        let flow = self.readers[index].take(&answer, &self.books[&track]);
        let before = alloc::live();
        drop(answer);
        self.allocated += alloc::live() - before;
        if !self.readers[index].readable && !self.readers[index].over {
            self.check_pending(index);
        }
        let steps = self.readers[index].steps;
        if flow.is_continue() && steps.is_multiple_of(plan.clones_after) {
            self.hand_over(now, index);
        }
        flow
    }

    /// A clone of a reader goes on in its place.
    fn hand_over(&mut self, now: Instant, index: usize) {
        let reader = self.readers[index].id;
        match self.call(now, Event::CloneReader { reader }) {
            Ok(Answer::Reader(clone)) => {
                self.readers[index].id = clone;
                let closed = self.call(now, Event::CloseReader { reader });
                assert_eq!(closed, Ok(Answer::Done));
            }
            Err(CallError::Refused(Refusal::Full { .. })) => {}
            other => panic!("{other:?} to a clone"),
        }
    }

    /// A reader that gets the end has read everything.
    fn check_pending(&self, index: usize) {
        let reader = &self.readers[index];
        let Some((group, frame)) = reader.place() else { return };
        let cache = self.cache.machine();
        match cache.group(reader.track, group) {
            Some(id) => {
                let frames = cache.frames(id).expect("a group that is there");
                assert!(frames.end <= frame, "{frames:?} are there, and {reader:?} gets nothing");
            }
            None => {
                let newest = cache.newest(reader.track);
                let later = newest.is_some_and(|newest| newest > group);
                assert!(!later, "group {newest:?} is there, and {reader:?} gets nothing");
            }
        }
    }

    fn record_memory(&mut self, now: Instant) {
        let cache = self.cache.machine();
        let (used, lent) = (cache.memory_used(), cache.lent());
        let holds = self.plan.readers.iter().any(|plan| plan.holds);
        let counted = alloc::counts() && self.journal.is_none() && !holds;
        let allocated = counted
            .then(|| usize::try_from(self.allocated).expect("frees no more than it allocated"));
        let used = used.checked_sub(lent).expect("what is lent is used");
        self.trace.record(now, Fact::Memory { used, bound: self.plan.cache.max_bytes, allocated });
    }
}

impl Downstream for Rc<RefCell<CacheNode>> {
    fn command(&mut self, now: Instant, command: &receiver::Command) -> Option<Checkpoint> {
        let node = &mut *self.borrow_mut();
        match *command {
            receiver::Command::SessionStarted { session, next } if node.awaits_live => {
                node.awaits_live = false;
                if node.plan.rounding != Rounding::Not {
                    let first = node.grouping.start_live(session, next);
                    if first < next && node.plan.rounding == Rounding::Back {
                        return Some(Checkpoint { session, next: first, used: Vec::new() });
                    }
                }
            }
            receiver::Command::Batch(ref batch) => {
                node.take_batch(now, batch);
                return None;
            }
            receiver::Command::Lost { session, .. } => {
                let track = node.grouping.track(session).expect("a session that started");
                node.books.get_mut(&track).expect("a track that was opened").take(command);
            }
            _ => {}
        }
        node.publish(now, node.grouping.command(command.clone()).expect("it started"));
        node.after(now);
        None
    }

    fn batch(&mut self, now: Instant, batch: &Batch<&[u8]>) {
        self.borrow_mut().take_batch(now, batch);
    }

    fn wake(&mut self, now: Instant) {
        let node = &mut *self.borrow_mut();
        if node.cache().poll_timeout().is_some_and(|timeout| timeout <= now) {
            let CacheNode { cache, heard, .. } = node;
            let before = alloc::live() - heard.bytes;
            cache.handle_timeout(now).expect("it was drained");
            heard.drain(cache);
            node.allocated += alloc::live() - node.heard.bytes - before;
            let next = node.cache().poll_timeout();
            assert!(next.is_none_or(|next| next > now), "it wants to be woken at {next:?} again");
        }
        if let Some(mut ballast) = node.ballast.take() {
            let refused = ballast.write(now, &mut |event| node.call(now, event));
            let known = |error: &CallError| match error {
                CallError::Misuse(misuse) => {
                    use Misuse::{Aborted, GroupEnded, UnknownGroup};
                    matches!(misuse, UnknownGroup | Aborted(_) | GroupEnded)
                }
                CallError::Refused(refusal) => matches!(refusal, Refusal::Full { .. }),
            };
            assert!(refused.iter().all(known), "{refused:?} to ballast");
            node.ballast = Some(ballast);
        }
        node.after(now);
    }

    fn next_wake(&self) -> Option<Instant> {
        let node = self.borrow();
        let joins = node.joins.iter().map(|&(at, ..)| at);
        let readers = node.readers.iter().filter_map(|reader| reader.next);
        let ballast = node.ballast.iter().filter_map(|ballast| ballast.next);
        let timeout = node.cache().poll_timeout().into_iter();
        timeout.chain(joins).chain(readers).chain(ballast).min()
    }

    fn restart(&mut self, now: Instant, state: State) {
        let node = &mut *self.borrow_mut();
        node.awaits_live |= node.live && state == State::Lost;
        let keeps = match node.plan.keeps {
            Keeps::Nothing => false,
            Keeps::Written => state == State::Kept,
            Keeps::All => true,
        };
        if keeps {
            return;
        }
        node.close();
        if let Some((_, id)) = &mut node.journal {
            *id += 1;
        }
        let before = alloc::live();
        let mut cache = recorder_of(node.plan.cache.clone(), node.journal.as_ref());
        node.ballast = node.plan.ballast.map(|ballast| Ballasting::new(now, ballast, &mut cache));
        let made = alloc::live() - before;
        node.cache = cache;
        node.allocated = made;
        node.grouping = Grouping::new(node.plan.grouping.clone()).expect("it was valid before");
        node.books.clear();
        node.joins.clear();
    }
}
