//! Sources and sinks that may make whoever uses them wait: standard input and output, and those of
//! commands. Each has a thread and a bounded queue; the loop only looks at the queue.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use bytes::{Bytes, BytesMut};
use mio::Waker;

use super::file::{SLICES, write_all};

/// Chunks that wait for a sink at most; a chunk is what came in one packet.
const CHUNKS: usize = 512;
/// Blocks that are read ahead at most.
const BLOCKS: usize = 4;
/// Bytes of a block.
pub(crate) const BLOCK: usize = 256 << 10;
/// A block that has less room than this left is not read into any more.
const LEAST: usize = 16 << 10;

/// Who has something to tell to the loop: the threads wake it.
#[derive(Clone)]
pub(crate) struct Signals(Arc<(Waker, Mutex<BTreeSet<u64>>)>);

impl Signals {
    pub(crate) fn new(waker: Waker) -> Self {
        Self(Arc::new((waker, Mutex::default())))
    }

    /// Tells the loop that something happened to `key`.
    fn raise(&self, key: u64) {
        let (waker, raised) = &*self.0;
        let mut raised = raised.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = raised.is_empty();
        if raised.insert(key) && is_first {
            // The loop looks by itself some times a second.
            let _ = waker.wake();
        }
    }

    /// Everybody to whom something happened, once.
    pub(crate) fn take(&self) -> BTreeSet<u64> {
        let raised = &self.0.1;
        std::mem::take(&mut raised.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the loop and the thread of a sink both know.
#[derive(Default)]
struct Shared {
    /// Whether the loop waits for room.
    is_waited_for: AtomicBool,
    /// How it ended.
    result: OnceLock<io::Result<()>>,
}

/// A sink behind a thread.
pub(crate) struct Writer {
    queue: Option<SyncSender<Bytes>>,
    /// What found no room in the queue, and its bytes.
    pending: VecDeque<Bytes>,
    pending_bytes: usize,
    /// So many bytes find room besides.
    spare: usize,
    is_ended: bool,
    shared: Arc<Shared>,
}

impl Writer {
    /// Begins to write to what `open` gives, which may take its time: that of a named pipe waits for who
    /// reads it. `key` is told to the loop when there is room again, and in the end.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn new<W: Write>(
        open: impl FnOnce() -> io::Result<W> + Send + 'static,
        key: u64,
        signals: Signals,
    ) -> io::Result<Self> {
        let (queue, chunks) = sync_channel(CHUNKS);
        let shared = Arc::new(Shared::default());
        let told = Arc::clone(&shared);
        thread::Builder::new().spawn(move || {
            let has_room = || {
                if told.is_waited_for.swap(false, Ordering::AcqRel) {
                    signals.raise(key);
                }
            };
            let result = open().and_then(|sink| write_on(sink, chunks, has_room));
            // It is set once, here.
            let _ = told.result.set(result);
            signals.raise(key);
        })?;
        let pending = VecDeque::new();
        Ok(Self {
            queue: Some(queue),
            pending,
            pending_bytes: 0,
            spare: 0,
            is_ended: false,
            shared,
        })
    }

    /// The same, with room for so many bytes beside the queue.
    pub(crate) const fn with_spare(mut self, bytes: usize) -> Self {
        self.spare = bytes;
        self
    }

    /// Gives the next bytes; whether there is room for more.
    pub(crate) fn push(&mut self, bytes: Bytes) -> bool {
        debug_assert!(self.pending_bytes <= self.spare, "more than there was room for");
        self.pending_bytes += bytes.len();
        self.pending.push_back(bytes);
        self.go_on()
    }

    /// Tries again what found no room; whether there is room for more.
    pub(crate) fn go_on(&mut self) -> bool {
        // What is tried after the flag is set cannot be missed by the thread.
        let is_queued = self.offer() || {
            self.shared.is_waited_for.store(true, Ordering::Release);
            self.offer()
        };
        if is_queued && self.is_ended {
            self.queue = None;
        }
        self.pending_bytes <= self.spare
    }

    /// Queues what it can; whether that is all.
    fn offer(&mut self) -> bool {
        let Some(queue) = &self.queue else { return true };
        while let Some(bytes) = self.pending.pop_front() {
            let length = bytes.len();
            match queue.try_send(bytes) {
                Err(TrySendError::Full(bytes)) => {
                    self.pending.push_front(bytes);
                    return false;
                }
                // A sink that is gone takes everything: its result says why.
                Ok(()) | Err(TrySendError::Disconnected(_)) => self.pending_bytes -= length,
            }
        }
        true
    }

    /// Nothing comes after what was pushed.
    pub(crate) fn end(&mut self) {
        self.is_ended = true;
        self.go_on();
    }

    /// How it ended, if it has: everything is written and the sink closed, or it failed.
    pub(crate) fn result(&self) -> Option<&io::Result<()>> {
        self.shared.result.get()
    }
}

/// Writes what comes until there is nothing more.
fn write_on(
    mut sink: impl Write,
    chunks: Receiver<Bytes>,
    mut has_room: impl FnMut(),
) -> io::Result<()> {
    let mut batch = Vec::with_capacity(SLICES);
    while let Ok(first) = chunks.recv() {
        batch.push(first);
        batch.extend(chunks.try_iter().take(SLICES - 1));
        has_room();
        write_all(&mut sink, &batch)?;
        batch.clear();
    }
    sink.flush()
}

/// What a source has.
#[derive(Debug)]
pub(crate) enum Next {
    /// The next bytes.
    Bytes(Bytes),
    /// Nothing yet: the loop will be told.
    NotYet,
    /// Nothing more.
    End,
    /// It cannot be read.
    Failed(io::Error),
}

/// A source behind a thread, which ends when its source does or when nobody wants more.
pub(crate) struct Reader {
    read: Receiver<io::Result<Bytes>>,
}

impl Reader {
    /// Begins to read from what `open` gives, which may take its time: that of a named pipe waits for who
    /// writes to it. `key` is told to the loop whenever there is something to be taken.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn new<R: Read>(
        open: impl FnOnce() -> io::Result<R> + Send + 'static,
        key: u64,
        signals: Signals,
    ) -> io::Result<Self> {
        let (queue, read) = sync_channel(BLOCKS);
        thread::Builder::new().spawn(move || {
            match open() {
                Ok(source) => read_on(source, &queue, || signals.raise(key)),
                // Nobody may want it any more.
                Err(error) => drop(queue.send(Err(error))),
            }
            // What the loop finds is that nobody is there any more.
            drop(queue);
            signals.raise(key);
        })?;
        Ok(Self { read })
    }

    /// What comes next.
    pub(crate) fn next(&self) -> Next {
        match self.read.try_recv() {
            Ok(Ok(bytes)) => Next::Bytes(bytes),
            Ok(Err(error)) => Next::Failed(error),
            Err(TryRecvError::Empty) => Next::NotYet,
            Err(TryRecvError::Disconnected) => Next::End,
        }
    }
}

/// Reads what there is until there is nothing more, or nobody wants more.
fn read_on(
    mut source: impl Read,
    queue: &SyncSender<io::Result<Bytes>>,
    mut has_more: impl FnMut(),
) {
    let mut block = BytesMut::new();
    loop {
        if block.len() < LEAST {
            block = BytesMut::zeroed(BLOCK);
        }
        let next = match source.read(&mut block) {
            Ok(0) => return,
            Ok(read) => Ok(block.split_to(read).freeze()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let is_over = next.is_err();
        if queue.send(next).is_err() || is_over {
            return;
        }
        has_more();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::pipe;
    use std::time::{Duration, Instant};

    fn signals() -> (mio::Poll, Signals) {
        let poll = mio::Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), mio::Token(0)).unwrap();
        (poll, Signals::new(waker))
    }

    /// Waits until the loop is told of `key`.
    fn wait(poll: &mut mio::Poll, signals: &Signals, key: u64) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !signals.take().contains(&key) {
            assert!(Instant::now() < deadline, "nothing was told of {key}");
            poll.poll(&mut mio::Events::with_capacity(4), Some(Duration::from_millis(100)))
                .unwrap();
        }
    }

    #[test]
    fn a_sink_that_is_full_says_so_and_when_it_has_room() {
        let (mut poll, signals) = signals();
        let (mut read, write) = pipe().unwrap();
        let mut writer = Writer::new(|| Ok(write), 7, signals.clone()).unwrap();
        let chunk = Bytes::from(vec![1; 64 << 10]);
        let mut pushed = 1;
        while writer.push(chunk.clone()) {
            pushed += 1;
            assert!(pushed <= 2 * CHUNKS + SLICES, "a queue without an end");
        }
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            read.read_to_end(&mut bytes).unwrap();
            bytes.len()
        });
        wait(&mut poll, &signals, 7);
        assert!(writer.go_on());
        writer.end();
        assert_eq!(reader.join().unwrap(), pushed * chunk.len());
        wait(&mut poll, &signals, 7);
        assert!(matches!(writer.result(), Some(Ok(()))));
    }

    #[test]
    fn a_sink_that_is_gone_takes_everything_and_says_why() {
        let (mut poll, signals) = signals();
        let (read, write) = pipe().unwrap();
        let mut writer = Writer::new(|| Ok(write), 1, signals.clone()).unwrap();
        drop(read);
        assert!(writer.push(Bytes::from_static(b"nobody reads this")));
        wait(&mut poll, &signals, 1);
        let Some(Err(error)) = writer.result() else { panic!("it was written") };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(writer.push(Bytes::from_static(b"nor this")));
    }

    #[test]
    fn an_open_pipe_keeps_nobody_waiting() {
        let (mut poll, signals) = signals();
        let (read, mut write) = pipe().unwrap();
        let reader = Reader::new(|| Ok(read), 3, signals.clone()).unwrap();
        assert!(matches!(reader.next(), Next::NotYet));
        write.write_all(b"here").unwrap();
        wait(&mut poll, &signals, 3);
        let Next::Bytes(bytes) = reader.next() else { panic!("nothing came") };
        assert_eq!(bytes, b"here"[..]);
        drop(write);
        wait(&mut poll, &signals, 3);
        assert!(matches!(reader.next(), Next::End));
    }

    #[test]
    fn what_is_read_ahead_is_bounded() {
        let (mut poll, signals) = signals();
        let reader = Reader::new(|| Ok(io::repeat(5)), 1, signals.clone()).unwrap();
        wait(&mut poll, &signals, 1);
        let mut last = 0;
        for _ in 0..3 * BLOCKS {
            if let Next::Bytes(bytes) = reader.next() {
                assert!(bytes.len() <= BLOCK);
                last = bytes.len();
            }
        }
        assert!(last > 0);
        drop(reader);
    }
}
