//! A sink that may make its writer wait, a pipe or a terminal: a thread writes, and a bounded queue is before it.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use bytes::Bytes;

use super::file::{SLICES, write_all};
use super::signals::Signals;

/// Chunks that wait for a sink at most; a chunk is what came in one packet.
const CHUNKS: usize = 512;

/// The state that the loop and the thread of a sink share.
#[derive(Default)]
struct Shared {
    /// Chunks and bytes that wait.
    chunks: AtomicUsize,
    bytes: AtomicUsize,
    /// Bytes that find room though the chunks are too many.
    spare: usize,
    /// Whether the loop waits for room.
    is_waited_for: AtomicBool,
    /// How it ended.
    result: OnceLock<io::Result<()>>,
}

impl Shared {
    fn has_room(&self) -> bool {
        // A sink that is gone takes everything: its result says why.
        self.chunks.load(Ordering::SeqCst) <= CHUNKS
            || self.bytes.load(Ordering::SeqCst) <= self.spare
            || self.result.get().is_some()
    }

    /// Writes what comes until there is nothing more.
    fn write(
        &self,
        mut sink: impl Write,
        chunks: &Receiver<Bytes>,
        signal: impl Fn(),
    ) -> io::Result<()> {
        let mut batch = Vec::with_capacity(SLICES);
        while let Ok(first) = chunks.recv() {
            batch.push(first);
            batch.extend(chunks.try_iter().take(SLICES - 1));
            self.bytes.fetch_sub(batch.iter().map(Bytes::len).sum(), Ordering::SeqCst);
            self.chunks.fetch_sub(batch.len(), Ordering::SeqCst);
            if self.has_room() && self.is_waited_for.swap(false, Ordering::SeqCst) {
                signal();
            }
            write_all(&mut sink, &batch)?;
            batch.clear();
        }
        sink.flush()
    }
}

/// A sink behind a thread.
pub(crate) struct Writer {
    queue: Option<Sender<Bytes>>,
    shared: Arc<Shared>,
}

impl Writer {
    /// Begins to write to what `open` gives, which may take its time: that of a named pipe waits for who
    /// reads it. `key` is raised when there is room again, and in the end. Beside the queue there is room for
    /// `spare` bytes.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn new<W: Write>(
        open: impl FnOnce() -> io::Result<W> + Send + 'static,
        spare: usize,
        key: u64,
        signals: Signals,
    ) -> io::Result<Self> {
        let (queue, chunks) = channel();
        let shared = Arc::new(Shared { spare, ..Shared::default() });
        let own = Arc::clone(&shared);
        thread::Builder::new().spawn(move || {
            let result = open().and_then(|sink| own.write(sink, &chunks, || signals.raise(key)));
            // It is set once, here.
            let _ = own.result.set(result);
            signals.raise(key);
        })?;
        Ok(Self { queue: Some(queue), shared })
    }

    /// Gives the next bytes; whether there is room for more.
    pub(crate) fn push(&mut self, bytes: Bytes) -> bool {
        debug_assert!(self.shared.has_room(), "more than there was room for");
        if let Some(queue) = &self.queue {
            self.shared.chunks.fetch_add(1, Ordering::SeqCst);
            self.shared.bytes.fetch_add(bytes.len(), Ordering::SeqCst);
            // Bytes for a sink that is gone are dropped.
            let _ = queue.send(bytes);
        }
        self.has_room()
    }

    /// Whether there is room for more; if not, `key` is raised when there is.
    pub(crate) fn has_room(&self) -> bool {
        // Room that is made after the flag is set cannot be missed by the thread.
        self.shared.has_room() || {
            self.shared.is_waited_for.store(true, Ordering::SeqCst);
            self.shared.has_room()
        }
    }

    /// Nothing comes after what was pushed.
    pub(crate) fn end(&mut self) {
        self.queue = None;
    }

    /// How it ended, if it has: everything is written and the sink closed, or it failed.
    pub(crate) fn result(&self) -> Option<&io::Result<()>> {
        self.shared.result.get()
    }
}

#[cfg(test)]
mod tests {
    use super::super::signals::tests::{signals, wait};
    use super::*;
    use std::io::{Read, pipe};

    #[test]
    fn a_sink_that_is_full_says_so_and_when_it_has_room() {
        let (mut poll, signals) = signals();
        let (mut read, write) = pipe().unwrap();
        let mut writer = Writer::new(|| Ok(write), 0, 7, signals.clone()).unwrap();
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
        assert!(writer.has_room());
        writer.end();
        assert_eq!(reader.join().unwrap(), pushed * chunk.len());
        wait(&mut poll, &signals, 7);
        assert!(matches!(writer.result(), Some(Ok(()))));
    }

    #[test]
    fn a_sink_that_is_gone_takes_everything_and_says_why() {
        let (mut poll, signals) = signals();
        let (read, write) = pipe().unwrap();
        let mut writer = Writer::new(|| Ok(write), 0, 1, signals.clone()).unwrap();
        drop(read);
        assert!(writer.push(Bytes::from_static(b"nobody reads this")));
        wait(&mut poll, &signals, 1);
        let Some(Err(error)) = writer.result() else { panic!("it was written") };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(writer.push(Bytes::from_static(b"nor this")));
    }

    #[test]
    fn a_sink_with_spare_room_takes_so_many_bytes_beside_the_queue() {
        let (mut poll, signals) = signals();
        let (give, wanted) = std::sync::mpsc::channel::<io::Sink>();
        let open = move || wanted.recv().map_err(io::Error::other);
        let mut writer = Writer::new(open, 10 * CHUNKS, 1, signals.clone()).unwrap();
        let mut pushed = 1;
        while writer.push(Bytes::from_static(b"12345")) {
            pushed += 1;
        }
        assert_eq!(pushed, 2 * CHUNKS + 1);
        give.send(io::sink()).unwrap();
        wait(&mut poll, &signals, 1);
        assert!(writer.has_room());
    }
}
