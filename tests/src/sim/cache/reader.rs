//! A reader and its checks: it reads what the book says, in order, each message once, or is told by
//! name what it does not read.

use std::ops::ControlFlow;

use bytes::Bytes;
use gapless_core::cache::{
    Answer, Chunk, DROPPED, Frame, Next, Position, ReadUnit, ReaderId, Run, Start, TOO_LARGE,
    TrackId,
};
use gapless_core::{Duration, Instant};

use super::book::Book;

/// How a reader is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// All there is, whenever it becomes readable.
    Eager,
    /// One step every so often.
    Every(Duration),
    /// Not before the run is over.
    Never,
}

/// The plan of a reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReaderPlan {
    /// How long after the track was opened it comes.
    pub joins: Duration,
    /// Where it begins.
    pub start: Start,
    /// The units that it reads by.
    pub by: ReadUnit,
    /// How often.
    pub pace: Pace,
    /// Whether it takes runs at a position of its own, of at most so many bytes, not through the cache's
    /// reader.
    pub positioned: Option<usize>,
    /// Whether it holds on to what it read last.
    pub holds: bool,
    /// After so many steps a clone goes on in its place; never after zero.
    pub clones_after: u32,
}

/// A reader of a track.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) id: ReaderId,
    pub(super) track: TrackId,
    pub(super) plan: ReaderPlan,
    /// Its own position, where it has one.
    pub(super) position: Option<Position>,
    /// The frame that comes next, where that is known.
    place: Option<(u64, u64)>,
    /// Nothing before this comes any more.
    least: (u64, u64),
    /// Bytes of the next frame that were read.
    offset: usize,
    /// When a slow one takes its next step.
    pub(super) next: Option<Instant>,
    /// Whether there is something to read, as far as it was told.
    pub(super) readable: bool,
    /// Whether it has read to the end of the track.
    pub(super) over: bool,
    pub(super) steps: u32,
    /// Messages read.
    pub(super) read: u64,
    /// The ranges that were reported as missed.
    pub(super) evicted: u64,
    held: Option<Bytes>,
}

impl Reader {
    /// A reader that was just opened; of what is there it is known where it stands.
    pub(super) fn new(
        now: Instant,
        id: ReaderId,
        track: TrackId,
        plan: ReaderPlan,
        place: Option<(u64, u64)>,
    ) -> Self {
        let next = if let Pace::Every(pause) = plan.pace { Some(now + pause) } else { None };
        Self {
            id,
            track,
            plan,
            position: None,
            place,
            least: place.unwrap_or_default(),
            offset: 0,
            next,
            readable: true,
            over: false,
            steps: 0,
            read: 0,
            evicted: 0,
            held: None,
        }
    }

    /// Where it stands, where that is known.
    pub(super) const fn place(&self) -> Option<(u64, u64)> {
        self.place
    }

    /// Takes what was read in one step; whether there may be more at once.
    pub(super) fn take(&mut self, answer: &Answer, book: &Book) -> ControlFlow<()> {
        self.steps += 1;
        match answer {
            Answer::Frame(next) => self.next(next, book, Self::frame),
            Answer::Chunk(next) => self.next(next, book, Self::chunk),
            Answer::Run(next) => self.next(next, book, Self::run),
            other => panic!("{other:?} to a reader's step"),
        }
    }

    fn next<T>(
        &mut self,
        next: &Next<T>,
        book: &Book,
        held: impl FnOnce(&mut Self, &T, &Book),
    ) -> ControlFlow<()> {
        match *next {
            Next::Held(ref what) => held(self, what, book),
            Next::Missing { group, first, count, why } => {
                self.come_to(group, first, book);
                book.check_missing(group, first, count, why);
                self.go_to(group, first + count);
            }
            Next::GroupEnd { group, frames } => {
                self.come_to(group, frames, book);
                book.check_end(group, frames);
                self.go_to(group + 1, 0);
            }
            Next::Aborted { group, code } => {
                let known = code == TOO_LARGE || code == DROPPED;
                assert!(known, "group {group} is aborted with {code:#x}");
                self.pass_to(group, book);
                self.go_to(group + 1, 0);
            }
            Next::Evicted { group, frame, next } => {
                self.evicted += 1;
                self.pass_to(group, book);
                // The same place in a group that was created again is one to go on from.
                assert!(next.is_none_or(|next| next >= (group, frame)), "{next:?} was evicted too");
                assert!((group, frame) >= self.least, "group {group}, frame {frame} again");
                self.place = next;
                self.least = next.unwrap_or((group, frame));
                self.offset = 0;
            }
            Next::TrackEnd => {
                assert!(book.end.is_some(), "the track did not end");
                self.end(book);
                return ControlFlow::Break(());
            }
            Next::TrackAborted { code } => {
                assert!(book.left && code == DROPPED, "nobody aborted the track with {code:#x}");
                self.end(book);
                return ControlFlow::Break(());
            }
            Next::Pending => {
                self.readable = false;
                return ControlFlow::Break(());
            }
            Next::Parts { .. } | Next::Skipped { .. } => panic!("no grouping does this"),
        }
        ControlFlow::Continue(())
    }

    fn frame(&mut self, frame: &Frame<Bytes>, book: &Book) {
        let &Frame { group, index, ref bytes } = frame;
        self.come_to(group, index, book);
        book.check_held(group, index, bytes);
        self.hold(bytes);
        self.finish_frame(group, index);
    }

    fn chunk(&mut self, chunk: &Chunk<Bytes>, book: &Book) {
        let &Chunk { group, index, size, offset, ref bytes } = chunk;
        self.come_to(group, index, book);
        assert_eq!(offset, self.offset as u64, "a chunk from elsewhere");
        book.check_part(group, index, self.offset, bytes);
        self.offset += bytes.len();
        self.hold(bytes);
        if self.offset as u64 == size {
            self.finish_frame(group, index);
        }
    }

    fn run(&mut self, run: &Run, book: &Book) {
        let mut frames = 0;
        for (index, bytes) in run.iter() {
            self.come_to(run.group, index, book);
            book.check_held(run.group, index, bytes);
            self.finish_frame(run.group, index);
            frames += 1;
        }
        assert!(frames > 0 && frames == run.frames, "{run:?} has {frames} frames");
        self.hold(&run.bytes);
    }

    fn hold(&mut self, bytes: &Bytes) {
        if self.plan.holds {
            self.held = Some(bytes.clone());
        }
    }

    fn finish_frame(&mut self, group: u64, index: u64) {
        self.read += 1;
        self.go_to(group, index + 1);
    }

    fn go_to(&mut self, group: u64, index: u64) {
        assert!((group, index) >= self.least, "back to frame {index} of group {group}");
        self.place = Some((group, index));
        self.least = (group, index);
        self.offset = 0;
    }

    /// Something of this frame comes: it must be the next one, or the first of a later group where
    /// nothing lies between.
    fn come_to(&mut self, group: u64, index: u64, book: &Book) {
        self.pass_to(group, book);
        if let Some(place) = self.place {
            assert_eq!((group, index), place, "another frame than the next");
        }
        assert!((group, index) >= self.least, "frame {index} of group {group} again");
    }

    /// Something of this group comes: what lies before it was never there.
    fn pass_to(&mut self, group: u64, book: &Book) {
        if let Some(place) = self.place.filter(|&(at, _)| at != group) {
            assert!(group > place.0, "group {group} after {place:?}");
            assert_eq!(place.1, 0, "group {group} in the midst of group {}", place.0);
            book.check_silence(place, (group, 0));
            self.go_to(group, 0);
        }
    }

    fn end(&mut self, book: &Book) {
        assert!(!self.over, "the end is reported twice");
        if let Some(place) = self.place {
            book.check_rest(place);
        }
        self.over = true;
        self.readable = false;
        self.held = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gapless_core::Machine;
    use gapless_core::cache::{Cache, Config, Limits, Missing};

    use crate::sim::{message, session};

    const SIZE: u32 = 4;

    /// A reader at the front of a track, and the book of one that was given messages 1 to 6.
    fn reader() -> (Reader, Book) {
        let mut cache = Cache::new(Config::new(1 << 20)).unwrap();
        let track = cache.create_track(Instant::ZERO, b"track", 0, Limits::default()).unwrap();
        let id = cache.open_reader(track, Start::Oldest).unwrap();
        let plan = ReaderPlan {
            joins: Duration::ZERO,
            start: Start::Oldest,
            by: ReadUnit::Frame,
            positioned: None,
            pace: Pace::Eager,
            holds: false,
            clones_after: 0,
        };
        let mut book = Book::new(session("CHECKED"), SIZE);
        (1..=6).for_each(|sequence| book.publish(sequence));
        (Reader::new(Instant::ZERO, id, track, plan, Some((0, 0))), book)
    }

    fn read(steps: impl IntoIterator<Item = Next<Frame<Bytes>>>) -> Reader {
        let (mut reader, mut book) = reader();
        book.end = Some(7);
        for next in steps {
            let _ = reader.take(&Answer::Frame(next), &book);
        }
        reader
    }

    fn frame(group: u64, index: u64) -> Next<Frame<Bytes>> {
        says(group, index, group * u64::from(SIZE) + index + 1)
    }

    fn says(group: u64, index: u64, sequence: u64) -> Next<Frame<Bytes>> {
        let bytes = Bytes::copy_from_slice(&message(session("CHECKED"), sequence));
        Next::Held(Frame { group, index, bytes })
    }

    fn first_group() -> Vec<Next<Frame<Bytes>>> {
        let mut steps: Vec<_> = (0..4).map(|index| frame(0, index)).collect();
        steps.push(Next::GroupEnd { group: 0, frames: 4 });
        steps
    }

    #[test]
    fn everything_in_order_is_a_reading() {
        let mut steps = first_group();
        steps.extend([frame(1, 0), frame(1, 1), Next::GroupEnd { group: 1, frames: 2 }]);
        steps.push(Next::TrackEnd);
        let reader = read(steps);
        assert!(reader.over);
        assert_eq!(reader.read, 6);
    }

    #[test]
    #[should_panic(expected = "another frame than the next")]
    fn a_message_read_twice_is_noticed() {
        read([frame(0, 0), frame(0, 0)]);
    }

    #[test]
    #[should_panic(expected = "another frame than the next")]
    fn a_message_left_out_is_noticed() {
        read([frame(0, 0), frame(0, 2)]);
    }

    #[test]
    #[should_panic(expected = "is another message")]
    fn a_message_in_the_place_of_another_is_noticed() {
        read([says(0, 0, 2)]);
    }

    #[test]
    #[should_panic(expected = "is reported as Absent")]
    fn a_given_message_reported_as_missing_is_noticed() {
        read([Next::Missing { group: 0, first: 0, count: 1, why: Missing::Absent }]);
    }

    #[test]
    #[should_panic(expected = "passed over in silence")]
    fn a_group_left_out_is_noticed() {
        read([frame(1, 0)]);
    }

    #[test]
    #[should_panic(expected = "ends with 3 frames")]
    fn a_group_that_ends_short_is_noticed() {
        let mut steps = first_group();
        steps.truncate(3);
        steps.push(Next::GroupEnd { group: 0, frames: 3 });
        read(steps);
    }

    #[test]
    #[should_panic(expected = "the track is over at")]
    fn a_track_that_ends_early_is_noticed() {
        let mut steps = first_group();
        steps.push(Next::TrackEnd);
        read(steps);
    }

    #[test]
    fn frames_reported_as_evicted_are_named() {
        let evicted = Next::Evicted { group: 0, frame: 0, next: Some((1, 1)) };
        let steps = [evicted, frame(1, 1), Next::GroupEnd { group: 1, frames: 2 }, Next::TrackEnd];
        assert_eq!(read(steps).evicted, 1);
    }
}
