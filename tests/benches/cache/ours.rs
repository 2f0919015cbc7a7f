//! The cache, at its budget.

use std::hint::black_box;

use gapless_core::cache::{
    Cache, Command, Config, GroupId, Limits, Next, ReaderId, Start, TrackId,
};
use gapless_core::{Instant, Machine};

use crate::rounds::Way;
use crate::{EDGE, FRAMES, HOT, SIZE};

const PAYLOAD: [u8; SIZE] = [7; SIZE];
const NOW: Instant = Instant::from_millis(1);

/// A cache that evicts whenever it takes more.
struct Warm {
    cache: Cache,
    track: TrackId,
}

impl Warm {
    fn new(max_bytes: usize) -> Self {
        let mut cache = Cache::new(Config::new(max_bytes)).unwrap();
        let track = cache.create_track(NOW, b"bench", 0, Limits::default()).unwrap();
        let mut warm = Self { cache, track };
        let mut groups = 0;
        // Twice around, for every table to have grown.
        while warm.cache.stats().evicted.by_bytes <= groups {
            let group = warm.create();
            warm.fill(group);
            groups += u64::from(warm.cache.stats().evicted.by_bytes == 0);
        }
        warm
    }

    fn create(&mut self) -> GroupId {
        let group = self.cache.append_group(NOW, self.track).unwrap();
        drain(&mut self.cache);
        group
    }

    /// Appends all frames of a group and finishes it.
    fn fill(&mut self, group: GroupId) {
        for _ in 0..FRAMES {
            append(&mut self.cache, group);
        }
        self.finish(group);
    }

    fn finish(&mut self, group: GroupId) {
        self.cache.finish_group(group).unwrap();
        drain(&mut self.cache);
    }

    fn readers(&mut self, count: usize, start: Start) -> Vec<ReaderId> {
        (0..count).map(|_| self.cache.open_reader(self.track, start).unwrap()).collect()
    }
}

#[inline(always)]
fn append(cache: &mut Cache, group: GroupId) {
    cache.append(group, black_box(&PAYLOAD)).unwrap();
    drain(cache);
}

#[inline(always)]
fn drain(cache: &mut Cache) {
    while let Some(command) = cache.poll_command() {
        black_box(command);
    }
}

/// 512 frames into an empty group.
pub(crate) struct Write {
    warm: Warm,
    group: GroupId,
}

impl Write {
    pub(crate) fn new(max_bytes: usize) -> Self {
        let mut warm = Warm::new(max_bytes);
        let group = warm.create();
        Self { warm, group }
    }
}

impl Way for Write {
    fn prepare(&mut self) {
        self.warm.finish(self.group);
        self.group = self.warm.create();
    }

    fn pass(&mut self) {
        for _ in 0..FRAMES {
            append(&mut self.warm.cache, self.group);
        }
    }
}

/// 512 frames into a group that is created and finished, too.
pub(crate) struct WriteGroups(Warm);

impl WriteGroups {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self(Warm::new(max_bytes))
    }
}

impl Way for WriteGroups {
    fn prepare(&mut self) {}

    fn pass(&mut self) {
        let group = self.0.create();
        self.0.fill(group);
    }
}

/// All of a finished group, by each of some readers.
pub(crate) struct Read {
    warm: Warm,
    start: Start,
    readers: Vec<ReaderId>,
    read: fn(&mut Cache, ReaderId),
}

impl Read {
    pub(crate) fn new(readers: usize, read: fn(&mut Cache, ReaderId)) -> Self {
        Self::in_cache(Warm::new(HOT), readers, read)
    }

    /// The same of a group that a reader followed by runs while it was written.
    pub(crate) fn followed(readers: usize, read: fn(&mut Cache, ReaderId)) -> Self {
        let mut warm = Warm::new(HOT);
        let group = warm.create();
        let follower = warm.readers(1, Start::Live)[0];
        for _ in 0..FRAMES {
            append(&mut warm.cache, group);
            let run = warm.cache.next_run(follower).unwrap().held().expect("it was written");
            assert_eq!(run.frames, 1);
        }
        warm.finish(group);
        Self::in_cache(warm, readers, read)
    }

    fn in_cache(mut warm: Warm, readers: usize, read: fn(&mut Cache, ReaderId)) -> Self {
        let newest = warm.cache.newest(warm.track).unwrap();
        let start = Start::At { group: newest, frame: 0 };
        let readers = warm.readers(readers, start);
        Self { warm, start, readers, read }
    }
}

impl Way for Read {
    fn prepare(&mut self) {
        for reader in &self.readers {
            self.warm.cache.seek(*reader, self.start).unwrap();
        }
    }

    fn pass(&mut self) {
        for reader in &self.readers {
            (self.read)(&mut self.warm.cache, *reader);
        }
    }
}

/// Every frame, borrowed.
pub(crate) fn frames(cache: &mut Cache, reader: ReaderId) {
    for _ in 0..FRAMES {
        frame(cache, reader);
    }
}

/// Every frame, owned.
pub(crate) fn shared_frames(cache: &mut Cache, reader: ReaderId) {
    for _ in 0..FRAMES {
        shared_frame(cache, reader);
    }
}

/// Every run.
pub(crate) fn runs(cache: &mut Cache, reader: ReaderId) {
    let mut left = FRAMES;
    while left > 0 {
        let run = cache.next_run(reader).unwrap().held().expect("the group is full");
        left -= run.frames as usize;
        black_box(run);
    }
}

/// Every run, and where each of its frames lies.
pub(crate) fn walked_runs(cache: &mut Cache, reader: ReaderId) {
    let mut left = FRAMES;
    while left > 0 {
        let run = cache.next_run(reader).unwrap().held().expect("the group is full");
        for frame in run.iter() {
            black_box(frame);
            left -= 1;
        }
        black_box(run);
    }
}

/// Every frame, owned, out of runs.
pub(crate) fn frames_of_runs(cache: &mut Cache, reader: ReaderId) {
    let mut left = FRAMES;
    while left > 0 {
        let run = cache.next_run(reader).unwrap().held().expect("the group is full");
        for (index, payload) in run.iter() {
            black_box((index, run.bytes.slice_ref(payload)));
            left -= 1;
        }
    }
}

/// The next frame, borrowed.
#[inline(always)]
pub(crate) fn frame(cache: &mut Cache, reader: ReaderId) {
    match cache.next_frame(reader) {
        Ok(Next::Held(frame)) => drop(black_box(frame)),
        other => panic!("no frame but {other:?}"),
    }
}

/// The next frame, owned.
#[inline(always)]
pub(crate) fn shared_frame(cache: &mut Cache, reader: ReaderId) {
    match cache.next_shared(reader) {
        Ok(Next::Held(frame)) => drop(black_box(frame)),
        other => panic!("no frame but {other:?}"),
    }
}

/// Each frame by each of eight readers as soon as it is there.
pub(crate) struct Edge<R> {
    warm: Warm,
    group: GroupId,
    readers: Vec<ReaderId>,
    read: R,
}

impl<R: Fn(&mut Cache, ReaderId)> Edge<R> {
    pub(crate) fn new(read: R) -> Self {
        let mut warm = Warm::new(HOT);
        let group = warm.create();
        let readers = warm.readers(EDGE, Start::Live);
        Self { warm, group, readers, read }
    }
}

impl<R: Fn(&mut Cache, ReaderId)> Way for Edge<R> {
    fn prepare(&mut self) {
        self.warm.finish(self.group);
        self.group = self.warm.create();
        for reader in &self.readers {
            self.warm.cache.seek(*reader, Start::Live).unwrap();
        }
    }

    #[inline]
    fn pass(&mut self) {
        for _ in 0..FRAMES {
            append(&mut self.warm.cache, self.group);
            for reader in &self.readers {
                (self.read)(&mut self.warm.cache, *reader);
            }
        }
    }
}

/// The same with readers that wait, are told, and read until there is nothing more.
pub(crate) struct Waiting {
    warm: Warm,
    group: GroupId,
    readers: Vec<ReaderId>,
    woken: Vec<ReaderId>,
}

impl Waiting {
    pub(crate) fn new() -> Self {
        let mut warm = Warm::new(HOT);
        let group = warm.create();
        let readers = warm.readers(EDGE, Start::Live);
        Self { warm, group, readers, woken: Vec::with_capacity(EDGE) }
    }
}

impl Way for Waiting {
    fn prepare(&mut self) {
        self.warm.finish(self.group);
        self.group = self.warm.create();
        for reader in &self.readers {
            self.warm.cache.seek(*reader, Start::Live).unwrap();
            assert_eq!(self.warm.cache.next_frame(*reader), Ok(Next::Pending));
        }
    }

    fn pass(&mut self) {
        let cache = &mut self.warm.cache;
        for _ in 0..FRAMES {
            cache.append(self.group, black_box(&PAYLOAD)).unwrap();
            while let Some(command) = cache.poll_command() {
                if let Command::Readable(reader) = command {
                    self.woken.push(reader);
                }
            }
            assert_eq!(self.woken.len(), EDGE, "every reader is notified");
            for reader in self.woken.drain(..) {
                frame(cache, reader);
                assert!(matches!(black_box(cache.next_frame(reader)), Ok(Next::Pending)));
            }
        }
    }
}
