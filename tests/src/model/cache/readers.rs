//! The next frame of a reader of the naive cache, and the check that it was given that.

use gapless_core::cache::{
    Answer, CallError, Chunk, Frame, Misuse, Next, ReadUnit, ReaderId, Run, TrackId,
};

use super::oracle::{Life, Model, Slot, State, Track};
use super::play::Said;

/// The most frames of a run.
const RUN_FRAMES: u64 = 256;
/// The largest frame that lies among others.
pub(super) const SMALL: u64 = 4096;

/// The position that a reader waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waits {
    /// More of its group, taken this way.
    More(ReadUnit),
    /// A group.
    Group,
}

/// A place in a track.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reader {
    pub(super) track: TrackId,
    /// The group that it has entered, by its place in the order of creation.
    entered: Option<u64>,
    /// Its number, or that of the group that is to be entered.
    group: u64,
    frame: u64,
    /// Bytes of the frame that were read.
    within: u64,
    pub(super) waits: Option<Waits>,
}

/// The result of a read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found<'a> {
    /// No bytes.
    Says(Next<()>),
    /// A frame of this size, of which there are these bytes; whether it lies in parts.
    Bytes { size: u64, bytes: &'a [u8], in_parts: bool },
    /// It is within a frame, which can only be read on by chunks.
    WithinFrame,
}

impl Reader {
    pub(super) const fn new(track: TrackId, group: u64, frame: u64) -> Self {
        Self { track, entered: None, group, frame, within: 0, waits: None }
    }

    /// The same, with so many bytes of the frame read.
    pub(super) const fn with_offset(self, within: u64) -> Self {
        Self { within, ..self }
    }

    /// Its group, frame, and how many bytes of that were read.
    pub(super) const fn place(&self) -> (u64, u64, u64) {
        (self.group, self.frame, self.within)
    }

    pub(super) const fn at_the_same_place(self) -> Self {
        Self { waits: None, ..self }
    }

    const fn go(&mut self, group: u64, frame: u64) {
        (self.entered, self.group, self.frame, self.within) = (None, group, frame, 0);
    }

    const fn stand_at(&mut self, frame: u64) {
        (self.frame, self.within) = (frame, 0);
    }
}

/// The result behind the last group that there is.
fn ends(track: &Track, wanted: u64) -> Next<()> {
    match track.life {
        Life::Aborted { code } => Next::TrackAborted { code },
        Life::Finished { closed: true, .. } | Life::Finished { end: None, .. } => Next::TrackEnd,
        Life::Finished { end: Some(end), .. } if wanted > end => Next::TrackEnd,
        Life::Live | Life::Finished { .. } => Next::Pending,
    }
}

/// The cache has passed a reader, which goes on where something is left.
fn passed(track: &Track, reader: &mut Reader) -> Next<()> {
    let (group, frame) = (reader.group, reader.frame);
    let next = track.groups.range(group..).next();
    let next = next.map(|(&number, held)| {
        (number, if number == group { held.floor.max(frame) } else { held.floor })
    });
    let edge = track.newest.map_or(0, |newest| newest + 1);
    let (to, at) = next.unwrap_or((edge, 0));
    reader.go(to, at);
    Next::Evicted { group, frame, next }
}

impl Model {
    /// The group of a reader is gone, or the one that it would have entered.
    fn gone(&self, reader: &mut Reader) -> Next<()> {
        let (group, frame) = (reader.group, reader.frame);
        let next = match self.past(reader.track, group) {
            Some(None) => Next::Skipped { group },
            Some(Some(frames)) if frame >= frames => Next::GroupEnd { group, frames },
            _ => return passed(&self.tracks[&reader.track], reader),
        };
        reader.go(group + 1, 0);
        next
    }

    /// The result of a read in this way. It is brought there, and behind what is told
    /// without bytes.
    fn find(&self, reader: &mut Reader, by: ReadUnit) -> Found<'_> {
        let track = &self.tracks[&reader.track];
        if reader.entered.is_none() {
            let wanted = reader.group;
            match track.groups.range(wanted..).next() {
                Some((&number, group)) if number == wanted || wanted >= track.evicted_end => {
                    if number > wanted {
                        reader.go(number, 0);
                    }
                    reader.entered = Some(group.order);
                }
                None if wanted >= track.evicted_end => return Found::Says(ends(track, wanted)),
                _ => return Found::Says(self.gone(reader)),
            }
        }
        let number = reader.group;
        let group = track.groups.get(&number).filter(|group| reader.entered == Some(group.order));
        let Some(group) = group else { return Found::Says(self.gone(reader)) };
        match group.state {
            State::Aborted { code, finished } if !finished || reader.frame < group.next => {
                reader.go(number + 1, 0);
                return Found::Says(Next::Aborted { group: number, code });
            }
            State::Skipped => {
                reader.go(number + 1, 0);
                return Found::Says(Next::Skipped { group: number });
            }
            _ if reader.frame < group.floor => return Found::Says(passed(track, reader)),
            _ => {}
        }
        let open = group.open.as_ref().filter(|_| reader.frame == group.next);
        let size = match group.slot(reader.frame) {
            Some((_, Slot::Held { bytes, .. })) => bytes.len() as u64,
            _ => open.map_or(0, |open| open.size),
        };
        let slot = group.slot(reader.frame);
        let is_missing = matches!(slot, Some((_, Slot::Missing { .. })));
        if reader.within > 0
            && !is_missing
            && (by == ReadUnit::Frame || by == ReadUnit::Run && size <= SMALL)
        {
            return Found::WithinFrame;
        }
        match slot {
            Some((_, Slot::Held { bytes, in_parts })) => {
                return Found::Bytes { size, bytes, in_parts: *in_parts };
            }
            Some((begin, &Slot::Missing { count, why })) => {
                let first = reader.frame;
                reader.stand_at(begin + count);
                let count = begin + count - first;
                return Found::Says(Next::Missing { group: number, first, count, why });
            }
            None => {}
        }
        if let Some(open) = open {
            let is_more = open.bytes.len() as u64 > reader.within;
            if is_more && (by == ReadUnit::Chunk || by == ReadUnit::Run && open.size > SMALL) {
                let in_parts = open.size > SMALL;
                return Found::Bytes { size: open.size, bytes: &open.bytes, in_parts };
            }
        }
        if group.state == State::Open {
            return Found::Says(Next::Pending);
        }
        reader.go(number + 1, 0);
        Found::Says(Next::GroupEnd { group: number, frames: group.next })
    }

    /// Whether there is something for a reader that waits, and whether it may be told so.
    pub(super) fn wakes(&self, mut reader: Reader, waits: Waits) -> (bool, bool) {
        let track = &self.tracks[&reader.track];
        let (by, may) = match waits {
            // It is told of a group that has no frames yet.
            Waits::Group => (ReadUnit::Chunk, track.groups.range(reader.group..).next().is_some()),
            Waits::More(by) => (by, false),
        };
        let must = self.find(&mut reader, by) != Found::Says(Next::Pending);
        (must, must || may)
    }

    /// Judges what a reader was given; whether it goes on.
    pub(super) fn judge_read(&mut self, id: ReaderId, by: ReadUnit, said: &Said) -> bool {
        let Some(&known) = self.readers.get(&id) else {
            assert_eq!(said.answer, Err(Misuse::UnknownReader.into()));
            return false;
        };
        assert!(said.commands.is_empty(), "reading says {:?}", said.commands);
        let mut reader = known;
        let found = self.find(&mut reader, by);
        let given = said.answer.as_ref();
        let goes_on = match (&found, given) {
            (Found::Says(next), Ok(answer)) => {
                assert_eq!(says(answer), Some(*next), "to {id:?} at {known:?}");
                *next != Next::Pending
                    && !matches!(next, Next::TrackEnd | Next::TrackAborted { .. })
            }
            (Found::Bytes { size, bytes, in_parts }, _) => {
                self.judge_bytes(&mut reader, by, (*size, bytes, *in_parts), given)
            }
            (Found::WithinFrame, Err(CallError::Misuse(Misuse::WithinFrame))) => return false,
            (found, given) => panic!("{given:?} where {found:?} is found, to {id:?} at {known:?}"),
        };
        reader.waits = None;
        if found == Found::Says(Next::Pending) {
            let is_within = reader.entered.is_some();
            reader.waits = Some(if is_within { Waits::More(by) } else { Waits::Group });
        }
        self.readers.insert(id, reader);
        goes_on
    }

    /// Judges what was given at a position, where the model has a reader that waits for nothing; whether it
    /// goes on.
    pub(super) fn judge_run_at(
        &self,
        reader: &mut Reader,
        given: &Result<Next<Run>, Misuse>,
        max_bytes: usize,
    ) -> bool {
        if self.track(reader.track).is_err() {
            assert_eq!(*given, Err(Misuse::UnknownTrack));
            return false;
        }
        // A position of a group that is gone is as one that never entered it.
        let group = self.tracks[&reader.track].groups.get(&reader.group);
        reader.entered = reader.entered.filter(|&of| group.is_some_and(|group| group.order == of));
        let known = *reader;
        match (self.find(reader, ReadUnit::Run), given) {
            (Found::Says(next), Ok(given)) => {
                assert_eq!(given.clone().map(|_| ()), next, "at {known:?}");
                !matches!(next, Next::Pending | Next::TrackEnd | Next::TrackAborted { .. })
            }
            (Found::Bytes { size, bytes, .. }, Ok(Next::Held(run))) => {
                let is_least = if size > SMALL { run.bytes.len() == 1 } else { run.frames == 1 };
                assert!(run.len() <= max_bytes || is_least, "{run:?} of {max_bytes} bytes");
                self.judge_run(reader, (size, bytes), run);
                true
            }
            // It is complete, but not sealed.
            (Found::Bytes { size, .. }, Ok(Next::Pending)) => {
                let group = &self.tracks[&reader.track].groups[&reader.group];
                assert!(size <= SMALL && reader.frame >= group.sealed, "at {known:?}");
                false
            }
            (Found::Bytes { size, .. }, Err(Misuse::WithinFrame)) => {
                assert!(reader.within >= size, "at {known:?}");
                false
            }
            (Found::WithinFrame, Err(Misuse::WithinFrame)) => false,
            (found, given) => panic!("{given:?} where {found:?} is found, at {known:?}"),
        }
    }

    /// Judges bytes; whether the reader goes on.
    fn judge_bytes(
        &self,
        reader: &mut Reader,
        by: ReadUnit,
        (size, bytes, in_parts): (u64, &[u8], bool),
        given: Result<&Answer, &CallError>,
    ) -> bool {
        let Reader { group, frame: index, within, .. } = *reader;
        match (by, given) {
            (ReadUnit::Frame, Ok(Answer::Frame(Next::Parts { group: g, index: i, size: s }))) => {
                assert_eq!((*g, *i, *s), (group, index, size));
                assert!(in_parts, "frame {index} lies together");
                false
            }
            (ReadUnit::Frame, Ok(Answer::Frame(Next::Held(frame)))) => {
                assert!(!in_parts, "frame {index} came in parts");
                let Frame { group: g, index: i, bytes: b } = frame;
                assert_eq!((*g, *i, b.len() as u64), (group, index, size));
                assert!(b == bytes, "other bytes than were written are frame {index}");
                reader.stand_at(index + 1);
                true
            }
            (ReadUnit::Chunk, Ok(Answer::Chunk(Next::Held(chunk)))) => {
                let Chunk { group: g, index: i, size: s, offset, bytes: b } = chunk;
                assert_eq!((*g, *i, *s, *offset), (group, index, size, within));
                let rest = &bytes[within as usize..];
                assert!(rest.starts_with(b), "other bytes than were written are in frame {index}");
                assert!(!b.is_empty() || size == 0);
                assert!(b.len() == rest.len() || size > SMALL, "a part of a small frame");
                reader.read_on(size, b.len() as u64);
                true
            }
            (ReadUnit::Run, Ok(Answer::Run(Next::Held(run)))) => {
                self.judge_run(reader, (size, bytes), run);
                true
            }
            (by, given) => panic!("by {by:?} {given:?} where frame {index} is, {size} bytes"),
        }
    }

    /// Judges a run that begins with a frame of `size` bytes, of which there are these.
    fn judge_run(&self, reader: &mut Reader, (size, bytes): (u64, &[u8]), run: &Run) {
        let Reader { group, frame: first, within, .. } = *reader;
        assert_eq!((run.group, run.first, run.offset), (group, first, within));
        assert_eq!(run.len(), run.head().len() + run.bytes.len());
        assert!(!run.is_empty());
        if size > SMALL {
            let head = if within == 0 { varint(size) } else { Vec::new() };
            assert_eq!(run.head()[..], head[..]);
            let rest = &bytes[within as usize..];
            assert!(rest.starts_with(&run.bytes), "other bytes than were written are in {run:?}");
            assert!(!run.bytes.is_empty());
            let ends = within + run.bytes.len() as u64 == size;
            assert_eq!(run.frames, u64::from(ends));
            let whole = ends && within == 0;
            assert!(run.iter().eq(whole.then_some((first, bytes))));
            return reader.read_on(size, run.bytes.len() as u64);
        }
        assert!((1..=RUN_FRAMES).contains(&run.frames) && run.head().is_empty(), "{run:?}");
        let held = &self.tracks[&reader.track].groups[&group];
        let mut rest = &run.bytes[..];
        let mut frames = run.iter();
        for index in first..first + run.frames {
            let Some((_, Slot::Held { bytes, .. })) = held.slot(index) else {
                panic!("{run:?}, and there is no frame {index}")
            };
            for part in [&varint(bytes.len() as u64), &bytes[..]] {
                rest = rest.strip_prefix(part).unwrap_or_else(|| panic!("other bytes in {run:?}"));
            }
            assert!(bytes.len() as u64 <= SMALL, "a large frame among others");
            assert!(frames.next() == Some((index, &bytes[..])));
        }
        assert!(rest.is_empty() && frames.next().is_none(), "{run:?} has more");
        reader.stand_at(first + run.frames);
    }
}

impl Reader {
    /// Goes on by so many bytes of a frame.
    const fn read_on(&mut self, size: u64, len: u64) {
        self.within += len;
        if self.within == size {
            self.stand_at(self.frame + 1);
        }
    }
}

/// The result without its bytes.
fn says(answer: &Answer) -> Option<Next<()>> {
    let next = match answer.clone() {
        Answer::Frame(next) => next.map(|_| ()),
        Answer::Chunk(next) => next.map(|_| ()),
        Answer::Run(next) => next.map(|_| ()),
        _ => return None,
    };
    (!matches!(next, Next::Held(()))).then_some(next)
}

/// A size as it goes on the wire.
fn varint(size: u64) -> Vec<u8> {
    match size {
        0..0x40 => vec![size as u8],
        0x40..0x4000 => (size as u16 | 0x4000).to_be_bytes().into(),
        0x4000..0x4000_0000 => (size as u32 | 0x8000_0000).to_be_bytes().into(),
        _ => (size | 0xC000_0000_0000_0000).to_be_bytes().into(),
    }
}
