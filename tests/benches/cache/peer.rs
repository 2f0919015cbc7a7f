//! The model of the crate `moq-net`, built as its own benchmark builds it.

use std::cell::Cell;
use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use moq_net::{Timestamp, broadcast, cache, frame, group, track};

use crate::rounds::Way;
use crate::{EDGE, FRAMES, floor};

/// Frames of a batch.
const BATCH: usize = 32;

/// A track, and the broadcast that keeps it.
pub(crate) struct Track {
    pub(crate) track: track::Producer,
    _broadcast: broadcast::Producer,
}

impl Track {
    pub(crate) fn new(capacity: Option<usize>) -> Self {
        let mut info = broadcast::Info::default();
        if let Some(capacity) = capacity {
            info.pool = cache::Pool::new(cache::Config::default().with_capacity(capacity as u64));
        }
        let broadcast = broadcast::Producer::new(info);
        let track = broadcast.create_track("bench", track::Info::default()).unwrap();
        Self { track, _broadcast: broadcast }
    }
}

/// A group, and the track that keeps it.
struct Group {
    group: group::Producer,
    _track: Track,
}

impl Group {
    fn new() -> Self {
        let track = Track::new(None);
        Self { group: track.track.append_group().unwrap(), _track: track }
    }

    fn full() -> Self {
        let mut group = Self::new();
        let payload = floor::payload();
        for _ in 0..FRAMES {
            write(&mut group.group, &payload);
        }
        group.group.finish().unwrap();
        group
    }
}

#[inline(always)]
fn write(group: &mut group::Producer, payload: &Bytes) {
    group.write_frame(Timestamp::ZERO, black_box(payload).clone()).unwrap();
}

/// The output of a future that need not wait.
#[inline(always)]
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("there is nothing to read"),
    }
}

/// 512 frames into an empty group, one by one.
pub(crate) struct Write {
    group: Group,
    payload: Bytes,
}

impl Write {
    pub(crate) fn new() -> Self {
        Self { group: Group::new(), payload: floor::payload() }
    }
}

impl Way for Write {
    fn prepare(&mut self) {
        self.group = Group::new();
    }

    fn pass(&mut self) {
        for _ in 0..FRAMES {
            write(&mut self.group.group, &self.payload);
        }
    }
}

/// 512 frames into an empty group, in batches.
pub(crate) struct WriteBatches {
    write: Write,
    batch: frame::Buffer<BATCH>,
}

impl WriteBatches {
    pub(crate) fn new() -> Self {
        Self { write: Write::new(), batch: frame::Buffer::new() }
    }
}

impl Way for WriteBatches {
    fn prepare(&mut self) {
        self.write.prepare();
    }

    fn pass(&mut self) {
        for _ in 0..FRAMES / BATCH {
            for _ in 0..BATCH {
                let payload = black_box(&self.write.payload).clone();
                let frame = frame::Frame { timestamp: Timestamp::ZERO, payload };
                self.batch.push(frame).expect("a batch has room for all its frames");
            }
            self.write.group.group.write_frames(&mut self.batch).unwrap();
        }
    }
}

/// 512 frames into a group that is created and finished, too, of a track at its capacity.
pub(crate) struct WriteGroups {
    track: Track,
    payload: Bytes,
}

impl WriteGroups {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { track: Track::new(Some(capacity)), payload: floor::payload() }
    }
}

impl Way for WriteGroups {
    fn prepare(&mut self) {}

    fn pass(&mut self) {
        let mut group = self.track.track.append_group().unwrap();
        for _ in 0..FRAMES {
            write(&mut group, &self.payload);
        }
        group.finish().unwrap();
    }
}

/// All of a finished group, by each of some readers.
pub(crate) struct Read {
    group: Group,
    readers: Vec<group::Consumer>,
    read: fn(&mut group::Consumer),
}

impl Read {
    pub(crate) fn new(readers: usize, read: fn(&mut group::Consumer)) -> Self {
        let group = Group::full();
        let readers = (0..readers).map(|_| group.group.consume()).collect();
        Self { group, readers, read }
    }
}

impl Way for Read {
    fn prepare(&mut self) {
        for reader in &mut self.readers {
            *reader = self.group.group.consume();
        }
    }

    fn pass(&mut self) {
        for reader in &mut self.readers {
            (self.read)(reader);
        }
    }
}

/// Every frame, one by one.
pub(crate) fn frames(reader: &mut group::Consumer) {
    for _ in 0..FRAMES {
        black_box(ready(reader.read_frame()).unwrap().expect("the group is full"));
    }
}

/// Every frame, in batches.
pub(crate) fn batches(reader: &mut group::Consumer) {
    let mut batch = frame::Buffer::<BATCH>::new();
    let mut left = FRAMES;
    while left > 0 {
        let frames = ready(reader.read_frames(&mut batch)).unwrap();
        left -= frames.len();
        for frame in frames.iter() {
            black_box(frame);
        }
    }
}

/// Each frame by each of eight readers as soon as it is there.
pub(crate) struct Edge {
    write: Write,
    readers: Vec<group::Consumer>,
}

impl Edge {
    pub(crate) fn new() -> Self {
        Self { write: Write::new(), readers: Vec::with_capacity(EDGE) }
    }
}

impl Way for Edge {
    fn prepare(&mut self) {
        self.write.prepare();
        self.readers.clear();
        self.readers.extend((0..EDGE).map(|_| self.write.group.group.consume()));
    }

    fn pass(&mut self) {
        for _ in 0..FRAMES {
            write(&mut self.write.group.group, &self.write.payload);
            for reader in &mut self.readers {
                black_box(ready(reader.read_frame()).unwrap().expect("it was written"));
            }
        }
    }
}

/// The same with readers that wait: tasks that are polled when they were woken.
pub(crate) struct Waiting {
    write: Write,
    tasks: Vec<Task>,
    read: Rc<Cell<usize>>,
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Woken>,
    waker: Waker,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Task {
    fn new(mut reader: group::Consumer, read: Rc<Cell<usize>>) -> Self {
        let woken = Arc::new(Woken::default());
        let mut task = Self {
            future: Box::pin(async move {
                while let Ok(Some(frame)) = reader.read_frame().await {
                    black_box(frame);
                    read.set(read.get() + 1);
                }
            }),
            waker: Waker::from(Arc::clone(&woken)),
            woken,
        };
        task.poll();
        task
    }

    fn poll(&mut self) {
        let polled = self.future.as_mut().poll(&mut Context::from_waker(&self.waker));
        assert!(polled.is_pending(), "the group has not ended");
    }
}

impl Waiting {
    pub(crate) fn new() -> Self {
        Self { write: Write::new(), tasks: Vec::with_capacity(EDGE), read: Rc::default() }
    }
}

impl Way for Waiting {
    fn prepare(&mut self) {
        self.tasks.clear();
        self.write.prepare();
        let group = &self.write.group.group;
        self.tasks.extend((0..EDGE).map(|_| Task::new(group.consume(), Rc::clone(&self.read))));
        self.read.set(0);
    }

    fn pass(&mut self) {
        for _ in 0..FRAMES {
            write(&mut self.write.group.group, &self.write.payload);
            for task in &mut self.tasks {
                if task.woken.0.swap(false, Ordering::Relaxed) {
                    task.poll();
                }
            }
        }
        assert_eq!(self.read.get(), FRAMES * EDGE, "every reader was woken for every frame");
    }
}
