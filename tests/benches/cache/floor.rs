//! The least that anybody does: a queue of shared slices.

use std::collections::VecDeque;
use std::hint::black_box;

use bytes::Bytes;

use crate::rounds::Way;
use crate::{EDGE, FRAMES, SIZE};

/// A payload whose reference count exists: the first clone of a `Bytes` makes it.
pub(crate) fn payload() -> Bytes {
    let payload = Bytes::from(vec![7; SIZE]);
    drop(payload.clone());
    payload
}

/// 512 frames onto an empty queue.
pub(crate) struct Write {
    payload: Bytes,
    queue: VecDeque<Bytes>,
}

impl Write {
    pub(crate) fn new() -> Self {
        Self { payload: payload(), queue: VecDeque::with_capacity(FRAMES) }
    }
}

impl Way for Write {
    fn prepare(&mut self) {
        self.queue.clear();
    }

    fn pass(&mut self) {
        let Self { payload, queue } = black_box(self);
        for _ in 0..FRAMES {
            queue.push_back(payload.clone());
        }
    }
}

/// All of a full queue, by each of some readers.
pub(crate) struct Read {
    readers: usize,
    queue: VecDeque<Bytes>,
}

impl Read {
    pub(crate) fn new(readers: usize) -> Self {
        Self { readers, queue: vec![payload(); FRAMES].into() }
    }
}

impl Way for Read {
    fn prepare(&mut self) {}

    #[expect(clippy::needless_range_loop, reason = "by index is how the floor reads")]
    fn pass(&mut self) {
        for _ in 0..self.readers {
            let queue = black_box(&self.queue);
            for index in 0..FRAMES {
                black_box(queue[index].clone());
            }
        }
    }
}

/// Each frame by each of eight readers as soon as it is there.
pub(crate) struct Edge(Write);

impl Edge {
    pub(crate) fn new() -> Self {
        Self(Write::new())
    }
}

impl Way for Edge {
    fn prepare(&mut self) {
        self.0.prepare();
    }

    fn pass(&mut self) {
        let Write { payload, queue } = black_box(&mut self.0);
        for index in 0..FRAMES {
            queue.push_back(payload.clone());
            for _ in 0..EDGE {
                black_box(queue[index].clone());
            }
        }
    }
}
