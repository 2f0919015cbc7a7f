//! Reading ahead: a thread does it, up to a bound, so that nobody else waits for its source.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

/// Blocks that are read ahead at most.
const BLOCKS: usize = 4;
/// Bytes of a block.
pub(crate) const BLOCK: usize = 256 << 10;
/// A block that has less room than this left is not read into any more.
const LEAST: usize = 16 << 10;

/// The state of a source.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Next<T> {
    /// The next of it.
    Item(T),
    /// Nothing yet.
    NotYet,
    /// Nothing more.
    End,
}

/// The thread panicked, and said so: what it read is not all.
#[derive(Debug, thiserror::Error)]
#[error("its thread failed")]
pub(crate) struct Died;

impl From<Died> for io::Error {
    fn from(died: Died) -> Self {
        Self::other(died)
    }
}

/// A source behind a thread, which ends when its source does or when nobody wants more.
pub(crate) struct Ahead<T, E> {
    read: Receiver<Result<Option<T>, E>>,
    is_over: bool,
}

impl<T: Send + 'static, E: From<Died> + Send + 'static> Ahead<T, E> {
    /// Begins to read, at most `bound` items ahead: `read` gives the next one, and may take its time. `signal` is
    /// called whenever there is something to be taken, and at the end.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn new(
        bound: usize,
        mut read: impl FnMut() -> Result<Option<T>, E> + Send + 'static,
        mut signal: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, items) = sync_channel(bound);
        thread::Builder::new().spawn(move || {
            loop {
                let next = read();
                let is_last = !matches!(next, Ok(Some(_)));
                let is_wanted = queue.send(next).is_ok();
                signal();
                if is_last || !is_wanted {
                    return;
                }
            }
        })?;
        Ok(Self { read: items, is_over: false })
    }

    /// The next item, without a wait.
    ///
    /// # Errors
    /// The source failed; behind that is its end.
    pub(crate) fn next(&mut self) -> Result<Next<T>, E> {
        self.wait(Duration::ZERO)
    }

    /// The next item, waited for no longer than this.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub(crate) fn wait(&mut self, within: Duration) -> Result<Next<T>, E> {
        if self.is_over {
            return Ok(Next::End);
        }
        let read = match self.read.recv_timeout(within) {
            Err(RecvTimeoutError::Timeout) => return Ok(Next::NotYet),
            Err(RecvTimeoutError::Disconnected) => Err(Died.into()),
            Ok(read) => read,
        };
        self.is_over = !matches!(read, Ok(Some(_)));
        read.map(|item| item.map_or(Next::End, Next::Item))
    }
}

/// Reads bytes ahead, as [`Ahead::new`].
///
/// # Errors
/// There is no thread to be had.
pub(crate) fn bytes(
    mut source: impl Read + Send + 'static,
    signal: impl FnMut() + Send + 'static,
) -> io::Result<Ahead<Bytes, io::Error>> {
    let mut block = BytesMut::new();
    let read = move || {
        loop {
            if block.len() < LEAST {
                block = BytesMut::zeroed(BLOCK);
            }
            match source.read(&mut block) {
                Ok(0) => return Ok(None),
                Ok(read) => return Ok(Some(block.split_to(read).freeze())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    };
    Ahead::new(BLOCKS, read, signal)
}

#[cfg(test)]
mod tests {
    use super::super::signals::tests::{signals, wait};
    use super::*;
    use std::io::{Write, pipe};

    #[test]
    fn an_open_pipe_keeps_nobody_waiting() {
        let (mut poll, signals) = signals();
        let (read, mut write) = pipe().unwrap();
        let raised = signals.clone();
        let mut reader = bytes(read, move || raised.raise(3)).unwrap();
        assert!(matches!(reader.next(), Ok(Next::NotYet)));
        write.write_all(b"here").unwrap();
        wait(&mut poll, &signals, 3);
        let Ok(Next::Item(bytes)) = reader.next() else { panic!("nothing came") };
        assert_eq!(bytes, b"here"[..]);
        drop(write);
        wait(&mut poll, &signals, 3);
        assert!(matches!(reader.next(), Ok(Next::End)));
    }

    #[test]
    fn what_is_read_ahead_is_bounded() {
        let (mut poll, signals) = signals();
        let raised = signals.clone();
        let mut reader = bytes(io::repeat(5), move || raised.raise(1)).unwrap();
        wait(&mut poll, &signals, 1);
        let mut last = 0;
        for _ in 0..3 * BLOCKS {
            if let Ok(Next::Item(bytes)) = reader.next() {
                assert!(bytes.len() <= BLOCK);
                last = bytes.len();
            }
        }
        assert!(last > 0);
        drop(reader);
    }
}
