//! Plays a case on a cache, on a twin that is driven the other way and of which nothing is held, and on
//! the model.

use bytes::{Bytes, BytesMut};
use gapless_core::cache::{
    Answer, Cache, CallError, Chunk, Command, Event, Frame, GroupId, Limits, Next, Position,
    ReadUnit, ReaderId, Start, TrackId,
};
use gapless_core::machine::Undrained;
use gapless_core::{Duration, Instant, Machine};

use super::case::{Case, Content, End, From, Given, LARGEST, Nth, Number, Op, Way, payload};
use super::oracle::{Model, Slot};
use super::readers::Reader;
use crate::alloc;
use crate::model::memory::check_charged;
use crate::model::recorded::{Played, Tape};

/// Payload that a case brings at most: more is not worth the time.
const MOST_BYTES: usize = 4 << 20;
/// The part of the allocator's peak beyond the budget.
const PEAK_BYTES: usize = 64 << 10;
/// The bytes that one slice held outside keeps alive at most, beside twice its length.
const HELD_BYTES: usize = (16 << 10) + 256;
/// How long what is held outside may be in all.
const MOST_HELD: usize = 2 << 20;

/// An event, and how its bytes come.
#[derive(Clone, Debug)]
struct Step<'a> {
    /// With bytes borrowed.
    event: Event<'a>,
    /// In a buffer that is so much longer, where they come shared.
    shared: Option<usize>,
}

impl<'a> Step<'a> {
    /// How many bytes are allocated for it that are not the cache's, or not yet.
    const fn incoming(&self) -> usize {
        match (&self.event, self.shared) {
            (Event::NextFrame { .. } | Event::Read { .. }, _) => LARGEST,
            (
                Event::Append { frame: bytes, .. } | Event::Write { chunk: bytes, .. },
                Some(longer),
            ) => bytes.len() + longer + 64,
            _ => 0,
        }
    }

    /// The event as the cache takes it.
    fn make(&self) -> Event<'a> {
        let share = |bytes: &[u8], longer: usize| {
            let mut buffer = BytesMut::with_capacity(bytes.len() + longer);
            let pinned = buffer.capacity();
            buffer.extend_from_slice(bytes);
            (buffer.freeze(), pinned)
        };
        match (self.event.clone(), self.shared) {
            (Event::Append { group, frame }, Some(longer)) => {
                let (frame, pinned) = share(frame, longer);
                Event::AppendShared { group, frame, pinned }
            }
            (Event::Write { group, chunk }, Some(longer)) => {
                let (chunk, pinned) = share(chunk, longer);
                Event::WriteShared { group, chunk, pinned }
            }
            (event, _) => event,
        }
    }
}

/// The answer and the commands to an event, or to time that passed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) answer: Result<Answer, CallError>,
    pub(super) commands: Vec<Command>,
}

/// The memory of the cache that is judged.
#[derive(Debug)]
struct Memory {
    allocated: isize,
    watches: bool,
}

impl Memory {
    /// Does something of which every allocation is the cache's; the most that was allocated meanwhile.
    fn during<T>(&mut self, work: impl FnOnce() -> T) -> (T, isize) {
        if !self.watches {
            return (work(), 0);
        }
        let (result, measured) = alloc::measure(work);
        let peak = self.allocated + measured.peak;
        self.allocated += measured.growth;
        (result, peak)
    }
}

/// Plays a case.
///
/// # Panics
/// The cache differs from the model.
pub(super) fn play(case: &Case) {
    let mut memory = Memory { allocated: 0, watches: alloc::counts() };
    let tape = Tape::of(case.ops.len());
    let (cache, _) = memory.during(|| Played::new(case.config.clone(), tape.as_ref()));
    let mut play = Play {
        cache,
        twin: Cache::new(case.config.clone()).unwrap(),
        model: Model::new(case.config.clone()),
        memory,
        way: case.way,
        now: Instant::ZERO,
        is_told: true,
        holds: false,
        held: Vec::new(),
        tracks: Vec::new(),
        groups: Vec::new(),
        readers: Vec::new(),
        positions: Vec::new(),
        payloads: 0,
        bytes: 0,
        steps: 0,
    };
    for op in &case.ops {
        play.op(*op);
    }
    play.finish();
}

/// A cache beside its model.
struct Play {
    cache: Played<Cache>,
    /// Driven by the methods; whatever it gives is dropped at once.
    twin: Cache,
    model: Model,
    memory: Memory,
    way: Way,
    now: Instant,
    /// Whether all know what time it is.
    is_told: bool,
    holds: bool,
    /// The slices that are held outside, and copies of them.
    held: Vec<(Bytes, Vec<u8>)>,
    tracks: Vec<TrackId>,
    groups: Vec<GroupId>,
    readers: Vec<ReaderId>,
    /// Positions that the cache knows nothing of, and where the model has them.
    positions: Vec<(Position, Reader)>,
    payloads: u64,
    bytes: usize,
    steps: u32,
}

/// Counted back from the latest.
fn nth<T: Copy>(all: &[T], nth: Nth) -> Option<T> {
    let back = usize::from(nth) % all.len().max(1);
    all.iter().rev().nth(back).copied()
}

impl Play {
    fn op(&mut self, op: Op) {
        let track = |nth: Nth| self::nth(&self.tracks, nth);
        let group = |nth: Nth| self::nth(&self.groups, nth);
        let reader = |nth: Nth| self::nth(&self.readers, nth);
        match op {
            Op::CreateTrack { name, publisher, limits } => {
                let name = &b"abcde"[name.into()..][..1];
                self.event(Event::CreateTrack { name, publisher: publisher.into(), limits });
            }
            Op::BadName(is_long) => {
                let name: &'static [u8] = if is_long { payload(0, 1_025) } else { b"" };
                self.event(Event::CreateTrack { name, publisher: 0, limits: Limits::default() });
            }
            Op::EndTrack(nth, end) => {
                let Some(track) = track(nth) else { return };
                let newest = self.model.track(track).ok().and_then(|track| track.newest);
                self.event(match end {
                    End::Finish(behind) => {
                        let at =
                            |behind: i8| newest.unwrap_or(0).saturating_add_signed(behind.into());
                        Event::FinishTrack { track, end: behind.map(at) }
                    }
                    End::Abort(code) => Event::AbortTrack { track, code: code.into() },
                    End::Drop => Event::DropTrack { track },
                });
            }
            Op::CreateGroup(nth, number, past) => {
                let Some(track) = track(nth) else { return };
                let sequence = self.number(track, number);
                let now = self.now;
                if self.is_told {
                    self.now = now - Duration::from_millis(past.into());
                }
                self.event(Event::CreateGroup { track, sequence });
                self.now = now;
            }
            Op::AppendGroup(nth) => {
                let Some(track) = track(nth) else { return };
                self.event(Event::AppendGroup { track });
            }
            Op::SkipGroup(nth, number) => {
                let Some(track) = track(nth) else { return };
                let sequence = self.number(track, number);
                self.event(Event::SkipGroup { track, sequence });
            }
            Op::Append(nth, len, given) => {
                let Some(group) = group(nth) else { return };
                let frame = self.payload(len as usize);
                self.step(Event::Append { group, frame }, given);
            }
            Op::Burst(nth, count, len) => {
                let Some(group) = group(nth) else { return };
                for _ in 0..count {
                    let frame = self.payload(len.into());
                    if !self.event(Event::Append { group, frame }) {
                        break;
                    }
                }
            }
            Op::OpenFrame(nth, size) => {
                let Some(group) = group(nth) else { return };
                self.event(Event::OpenFrame { group, size: size.into() });
            }
            Op::Write(nth, part, more, given) => {
                let Some(group) = group(nth) else { return };
                let open = self.model.group(group).ok().and_then(|group| group.open.as_ref());
                let left = open.map_or(3, |open| open.size as usize - open.bytes.len());
                let len = (left * usize::from(part) / 255).saturating_add_signed(more.into());
                let chunk = self.payload(len.min(LARGEST));
                self.step(Event::Write { group, chunk }, given);
            }
            Op::AppendMissing(nth, count, why) => {
                let Some(group) = group(nth) else { return };
                self.event(Event::AppendMissing { group, count: count.into(), why });
            }
            Op::Put(nth, back, content, len) => self.put(nth, back, content, len),
            Op::EndGroup(nth, end) => {
                let Some(group) = group(nth) else { return };
                self.event(match end {
                    End::Finish(_) => Event::FinishGroup { group },
                    End::Abort(code) => Event::AbortGroup { group, code: code.into() },
                    End::Drop => Event::DropGroup { group },
                });
            }
            Op::OpenReader(nth, from) => {
                let Some(track) = track(nth) else { return };
                let start = self.start(track, from);
                self.event(Event::OpenReader { track, start });
            }
            Op::CloneReader(nth) => {
                let Some(reader) = reader(nth) else { return };
                self.event(Event::CloneReader { reader });
            }
            Op::CloseReader(nth) => {
                let Some(reader) = reader(nth) else { return };
                self.event(Event::CloseReader { reader });
            }
            Op::Seek(nth, from) => {
                let Some(reader) = reader(nth) else { return };
                let known = self.model.readers.get(&reader).map(|reader| reader.track);
                let start = known.map_or(Start::Live, |track| self.start(track, from));
                self.event(Event::Seek { reader, start });
            }
            Op::Read(nth, by, times) => {
                let Some(reader) = reader(nth) else { return };
                for _ in 0..times {
                    if !self.read(reader, by) {
                        break;
                    }
                }
            }
            Op::Place(nth, from, within) => {
                let Some(track) = track(nth) else { return };
                let start = self.start(track, from);
                let position = match start {
                    Start::At { group, frame } => Some(Position::new(group, frame)),
                    _ => self.cache.position(track, start),
                };
                let Some(position) = position else { return };
                let position = position.with_offset(within.into());
                let reader = Reader::new(track, position.group(), position.frame());
                self.positions.push((position, reader.with_offset(within.into())));
            }
            Op::Seal(nth) => {
                let Some(track) = track(nth) else { return };
                self.event(Event::Seal { track });
            }
            Op::RunAt(nth, max_bytes, times) => {
                let count = self.positions.len().max(1);
                let at = usize::from(nth) % count;
                for _ in 0..times {
                    if !self.run_at(at, max_bytes as usize) {
                        break;
                    }
                }
            }
            Op::Wait(millis) => self.wait(self.now + Duration::from_millis(millis.into())),
            Op::Late(millis) => {
                self.now += Duration::from_millis(millis.into());
                self.is_told = false;
            }
            Op::Timeout => {
                if let Some(at) = self.cache.poll_timeout() {
                    self.wait(at.max(self.now));
                }
            }
            // Events tell the time, and methods do not.
            Op::Past(_) if !self.is_told => {}
            Op::Past(millis) => self.wait(self.now - Duration::from_millis(millis.into())),
            Op::Hold(holds) => {
                self.holds = holds;
                if !holds {
                    self.release(0..self.held.len());
                }
            }
            Op::Release(nth) => {
                if !self.held.is_empty() {
                    let at = usize::from(nth) % self.held.len();
                    self.release(at..at + 1);
                }
            }
        }
    }

    fn number(&self, track: TrackId, number: Number) -> u64 {
        let Ok(track) = self.model.track(track) else { return 0 };
        let next = track.next();
        match number {
            Number::Ahead(gap) => next.saturating_add(gap.into()),
            Number::Back(back) => next.saturating_sub(1 + u64::from(back)),
            Number::Window(off) => {
                track.last_allowed(self.model.config.window).saturating_add_signed(off.into())
            }
            Number::Any(number) => number,
        }
    }

    fn start(&self, track: TrackId, from: From) -> Start {
        match from {
            From::At(number, frame) => {
                Start::At { group: self.number(track, number), frame: frame.into() }
            }
            From::Oldest => Start::Oldest,
            From::Newest => Start::Newest,
            From::Live => Start::Live,
        }
    }

    /// A payload that differs from the last ones.
    fn payload(&mut self, len: usize) -> &'static [u8] {
        let len = if self.bytes > MOST_BYTES { len.min(100) } else { len };
        self.payloads += 1;
        self.bytes += len;
        payload(self.payloads, len)
    }

    fn put(&mut self, nth: Nth, back: i16, content: Content, len: u32) {
        let Some(group) = self::nth(&self.groups, nth) else { return };
        let known = self.model.group(group).ok();
        let index = known.map_or(0, |group| group.next).saturating_add_signed((-back).into());
        let held = known.and_then(|group| group.slot(index)).and_then(|(_, slot)| match slot {
            Slot::Held { bytes, .. } => Some(bytes.clone()),
            Slot::Missing { .. } => None,
        });
        let frame = match (content, held) {
            (Content::Other, _) | (_, None) => Bytes::from_static(self.payload(len as usize)),
            (Content::Same, Some(held)) => held,
            (Content::Resized, Some(held)) if len.is_multiple_of(2) => {
                [&held[..], &[7]].concat().into()
            }
            (Content::Resized, Some(held)) => held.slice(..held.len().saturating_sub(1)),
        };
        self.event(Event::Put { group, index, frame: &frame });
    }

    fn event(&mut self, event: Event<'_>) -> bool {
        self.step(event, Given::Borrowed)
    }

    /// Gives an event to both and to the model, and judges what they say; whether it was taken.
    fn step(&mut self, event: Event<'_>, given: Given) -> bool {
        let shared = if let Given::Shared(longer) = given { Some(longer as usize) } else { None };
        let step = Step { event, shared };
        let used = self.cache.memory_used() - self.cache.lent();
        let said = self.take(&step);
        self.model.judge(self.now, &step.event, used, &said, &self.cache);
        self.check();
        match said.answer {
            Ok(Answer::Track(track)) => self.tracks.push(track),
            Ok(Answer::Group(group)) if !self.groups.contains(&group) => self.groups.push(group),
            Ok(Answer::Reader(reader)) => self.readers.push(reader),
            _ => {}
        }
        said.answer.is_ok()
    }

    /// A step of a reader; whether it found something.
    fn read(&mut self, reader: ReaderId, by: ReadUnit) -> bool {
        let step = Step { event: Event::Read { reader, by }, shared: None };
        let said = self.take(&step);
        let goes_on = self.model.judge_read(reader, by, &said);
        if let Ok(answer) = said.answer {
            self.keep(answer);
        }
        self.check();
        goes_on
    }

    /// A run is read at a position; whether it found something.
    fn run_at(&mut self, at: usize, max_bytes: usize) -> bool {
        let Some((position, reader)) = self.positions.get_mut(at) else { return false };
        let track = reader.track;
        let mut twins = *position;
        let cache = &self.cache;
        let (given, _) = self.memory.during(|| cache.run_at(track, position, max_bytes));
        assert_eq!(given, self.twin.run_at(track, &mut twins, max_bytes), "at {twins:?}");
        let goes_on = self.model.judge_run_at(reader, &given, max_bytes);
        if given.is_ok() {
            let place = (position.group(), position.frame(), position.offset());
            assert_eq!(place, reader.place(), "behind {given:?}");
        }
        if let Ok(next) = given {
            self.keep(Answer::Run(next));
        }
        self.check();
        goes_on
    }

    /// Lets a read thing go, or holds it outside for a while.
    fn keep(&mut self, answer: Answer) {
        let bytes = match answer {
            Answer::Frame(Next::Held(frame)) => frame.bytes,
            Answer::Chunk(Next::Held(chunk)) => chunk.bytes,
            Answer::Run(Next::Held(run)) => run.bytes,
            _ => return,
        };
        let held: usize = self.held.iter().map(|(bytes, _)| bytes.len()).sum();
        if self.holds && held + bytes.len() < MOST_HELD {
            let copy = bytes.to_vec();
            self.held.push((bytes, copy));
        } else {
            self.memory.during(|| drop(bytes));
        }
    }

    fn release(&mut self, which: std::ops::Range<usize>) {
        for (bytes, copy) in self.held.drain(which) {
            assert_eq!(bytes[..], copy[..], "what was read and is held has changed");
            self.memory.during(|| drop(bytes));
        }
    }

    /// Both take an event and say the same.
    fn take(&mut self, step: &Step<'_>) -> Said {
        let (now, way) = (self.now, self.way);
        let incoming = step.incoming();
        let lent = self.cache.lent();
        let cache = &mut self.cache;
        let (answer, peak) = self.memory.during(|| {
            let event = step.make();
            match (way, cache) {
                (Way::Methods, Played::Plain(cache)) => direct(cache, now, event, true),
                (Way::Calls | Way::Methods, cache) => cache.call(now, event)?.result(),
                (Way::Events, cache) => {
                    cache.handle(now, event)?;
                    match cache.poll_command() {
                        Some(Command::Answer(answer)) => answer.result(),
                        other => panic!("{other:?} where the answer must be"),
                    }
                }
            }
        });
        self.check_peak(peak, incoming, lent);
        let borrows = way == Way::Methods && !self.cache.is_recorded();
        let commands = self.drain();
        let said = Said { answer, commands };
        let answer = direct(&mut self.twin, now, step.make(), borrows);
        let commands = std::iter::from_fn(|| self.twin.poll_command()).collect();
        assert_eq!(said, Said { answer, commands }, "both ways to {:?}", step.event);
        said
    }

    /// Takes all commands; meanwhile nothing else is taken.
    fn drain(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        while let (Some(command), _) = self.memory.during(|| self.cache.poll_command()) {
            let nothing = Event::CreateTrack { name: b"", publisher: 0, limits: Limits::default() };
            let undrained = self.memory.during(|| self.cache.handle(self.now, nothing)).0;
            assert_eq!(undrained, Err(Undrained.into()));
            commands.push(command);
        }
        commands
    }

    /// Time passes, and all are told.
    fn wait(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.is_told = true;
        self.memory.during(|| self.cache.handle_timeout(now)).0.unwrap();
        self.twin.handle_timeout(now).unwrap();
        self.model.time_passes(now);
        let commands = self.drain();
        let twins: Vec<_> = std::iter::from_fn(|| self.twin.poll_command()).collect();
        assert_eq!(commands, twins);
        self.model.judge_commands(&commands);
        let timeout = self.cache.poll_timeout();
        assert!(timeout.is_none_or(|at| at > self.model.now), "it spins: {timeout:?}");
        self.check();
    }

    /// Checks the invariants.
    fn check(&mut self) {
        let (cache, model) = (&self.cache, &self.model);
        let used = cache.memory_used() - cache.lent();
        check_charged(cache.charged(), used, model.config.max_bytes);
        assert_eq!(cache.poll_timeout(), model.expiry().map(|(at, _)| at));
        assert_eq!(cache.poll_timeout(), self.twin.poll_timeout());
        self.steps += 1;
        model.check_stats(cache);
        if self.steps.is_multiple_of(16) || model.is_small() {
            model.check_standing(cache);
        }
        if self.held.is_empty() {
            self.check_memory();
        }
    }

    /// The memory rule, while nothing is held outside.
    fn check_memory(&self) {
        if !self.memory.watches {
            return;
        }
        let allocated = self.memory.allocated - self.cache.recording_bytes() as isize;
        let (allocated, used) = (usize::try_from(allocated).unwrap(), self.cache.memory_used());
        assert!(allocated <= used, "{allocated} bytes are allocated and {used} reported");
        let most = allocated + allocated / 20 + (16 << 10);
        assert!(used <= most, "{used} bytes are reported and {allocated} allocated");
    }

    /// The peak of allocations, while an event was taken that came with so many bytes, and before which
    /// so many were reported as lent: some of them may have come back since without being seen yet. What is
    /// held outside may become lent in this very event.
    fn check_peak(&self, peak: isize, incoming: usize, lent: usize) {
        if self.memory.watches && !self.cache.is_recorded() {
            let held: usize = self.held.iter().map(|(bytes, _)| 2 * bytes.len() + HELD_BYTES).sum();
            let most = self.model.config.max_bytes + PEAK_BYTES + incoming + held + lent;
            assert!(peak <= most as isize, "{peak} bytes were allocated where {most} may be");
        }
    }

    /// Everything is read to its end and let go; then the journal must replay.
    fn finish(&mut self) {
        self.release(0..self.held.len());
        self.model.check_standing(&self.cache);
        for reader in self.readers.clone() {
            if self.model.readers.contains_key(&reader) {
                let mut by = [ReadUnit::Run, ReadUnit::Frame, ReadUnit::Chunk].into_iter().cycle();
                while by.next().is_some_and(|by| self.read(reader, by)) {}
            }
        }
        let tracks = self.tracks.iter().filter(|track| self.model.track(**track).is_ok());
        for track in tracks.copied().collect::<Vec<_>>() {
            self.event(Event::Seal { track });
        }
        for at in 0..self.positions.len() {
            while self.run_at(at, 1_000) {}
        }
        self.wait(self.now + Duration::from_secs(10));
        self.release(0..self.held.len());
        self.check_memory();
        self.cache.replay();
    }
}

/// An appended frame gets the next index.
fn at_index(index: u64, next: Option<u64>) -> Answer {
    assert_eq!(Some(index), next);
    Answer::Done
}

/// An event as the method that it is; `borrows` frames, or shares them.
fn direct(
    cache: &mut Cache,
    now: Instant,
    event: Event<'_>,
    borrows: bool,
) -> Result<Answer, CallError> {
    let done = |()| Ok(Answer::Done);
    let next = |cache: &Cache, group| cache.frames(group).map(|frames| frames.end);
    match event {
        Event::CreateTrack { name, publisher, limits } => {
            cache.create_track(now, name, publisher, limits).map(Answer::Track)
        }
        Event::FinishTrack { track, end } => done(cache.finish_track(track, end)?),
        Event::AbortTrack { track, code } => done(cache.abort_track(track, code)?),
        Event::DropTrack { track } => done(cache.drop_track(track)?),
        Event::CreateGroup { track, sequence } => {
            cache.create_group(now, track, sequence).map(Answer::Group)
        }
        Event::AppendGroup { track } => cache.append_group(now, track).map(Answer::Group),
        Event::SkipGroup { track, sequence } => done(cache.skip_group(now, track, sequence)?),
        Event::Append { group, frame } => {
            let next = next(cache, group);
            cache.append(group, frame).map(|index| at_index(index, next))
        }
        Event::AppendShared { group, frame, pinned } => {
            let next = next(cache, group);
            cache.append_shared(group, frame, pinned).map(|index| at_index(index, next))
        }
        Event::OpenFrame { group, size } => {
            let next = next(cache, group);
            cache.open_frame(group, size).map(|index| at_index(index, next))
        }
        Event::Write { group, chunk } => done(cache.write(group, chunk)?),
        Event::WriteShared { group, chunk, pinned } => {
            done(cache.write_shared(group, chunk, pinned)?)
        }
        Event::AppendMissing { group, count, why } => {
            let next = next(cache, group);
            cache.append_missing(group, count, why).map(|index| at_index(index, next))
        }
        Event::Put { group, index, frame } => cache.put(group, index, frame).map(Answer::Put),
        Event::FinishGroup { group } => done(cache.finish_group(group)?),
        Event::AbortGroup { group, code } => done(cache.abort_group(group, code)?),
        Event::DropGroup { group } => done(cache.drop_group(group)?),
        Event::OpenReader { track, start } => cache.open_reader(track, start).map(Answer::Reader),
        Event::CloneReader { reader } => cache.clone_reader(reader).map(Answer::Reader),
        Event::CloseReader { reader } => done(cache.close_reader(reader)?),
        Event::Seek { reader, start } => done(cache.seek(reader, start)?),
        Event::Seal { track } => done(cache.seal(track)?),
        Event::Read { reader, by: ReadUnit::Frame } if !borrows => {
            Ok(Answer::Frame(cache.next_shared(reader)?))
        }
        Event::NextFrame { reader } | Event::Read { reader, by: ReadUnit::Frame } => {
            let copied = |next: Next<Frame<&[u8]>>| {
                next.map(|Frame { group, index, bytes }| Frame {
                    group,
                    index,
                    bytes: Bytes::copy_from_slice(bytes),
                })
            };
            Ok(Answer::Frame(copied(cache.next_frame(reader)?)))
        }
        Event::Read { reader, by: ReadUnit::Chunk } => {
            let copied = |Chunk { group, index, size, offset, bytes }: Chunk<&[u8]>| {
                let bytes = Bytes::copy_from_slice(bytes);
                Chunk { group, index, size, offset, bytes }
            };
            Ok(Answer::Chunk(cache.next_chunk(reader)?.map(copied)))
        }
        Event::Read { reader, by: ReadUnit::Run } => Ok(Answer::Run(cache.next_run(reader)?)),
    }
}
