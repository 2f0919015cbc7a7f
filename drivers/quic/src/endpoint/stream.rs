//! A stream as the endpoint knows it: whose it is, which directions are open, and what was read of it and
//! not reported yet.

use std::collections::VecDeque;

use bytes::Bytes;
use quinn_proto::{Connection, ReadError, ReadableError};

use super::credit::Ticket;

/// Chunks that are read from a stream at once, and bytes: they are held here though the peer may send as many
/// more.
pub(super) const CHUNKS: usize = 8;
const BYTES: usize = 16 << 10;

/// Chunks of less than so many bytes are copied: what they are cut out of can be as much as quinn-proto
/// copied together of the stream.
const SMALL: usize = 1 << 10;

/// How the receiving direction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Fin,
    Reset(u64),
}

#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The program's number for its owner.
    pub(super) owner: u64,
    /// Bytes that were reported.
    pub(super) offset: u64,
    /// Read and not reported: chunks, and the end if it was seen.
    chunks: VecDeque<Bytes>,
    end: Option<End>,
    /// Whether the directions are open as far as the program knows.
    pub(super) receives: bool,
    pub(super) sends: bool,
    /// Since when it waits to be written to.
    pub(super) ticket: Ticket,
    /// Whether the program paused it.
    pub(super) is_paused: bool,
    /// Whether nothing is reported for its owner's sake: it pauses, or there is none yet.
    pub(super) is_held: bool,
    /// Whether it stays known when it is over, since somebody is still to become its owner.
    pub(super) is_kept: bool,
    /// The bytes that must be written before anything else, as far as it was not taken yet.
    pub(super) head: Bytes,
    /// Whether it is to be finished once the head is written.
    pub(super) finishes: bool,
    /// Whether it stands in the queue of those to be read.
    pub(super) is_queued: bool,
    /// Whether the transport may have something to be read.
    pub(super) is_readable: bool,
}

/// The next event of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notification {
    Data { bytes: Bytes, fin: bool },
    Reset(u64),
    Nothing,
}

impl Stream {
    pub(super) fn new(receives: bool, sends: bool) -> Self {
        Self { receives, sends, ..Self::default() }
    }

    /// Whether both directions are over.
    pub(super) const fn is_over(&self) -> bool {
        !self.receives && !self.sends
    }

    /// Whether it may have an event; that it was broken off always is one.
    pub(super) fn is_ready(&self) -> bool {
        let has_something = self.is_readable || self.end.is_some() || !self.chunks.is_empty();
        self.receives && (matches!(self.end, Some(End::Reset(_))) || !self.waits() && has_something)
    }

    /// Whether what comes of it waits.
    const fn waits(&self) -> bool {
        self.is_paused || self.is_held
    }

    /// Its next event, read from the transport if nothing is left over.
    pub(super) fn next(
        &mut self,
        connection: &mut Connection,
        id: quinn_proto::StreamId,
    ) -> Notification {
        if self.chunks.len() < 2 && self.is_readable && self.end.is_none() {
            self.read(connection, id);
        }
        match (self.chunks.pop_front(), self.end) {
            // A stream that was broken off is over at once: bytes before it are of no use.
            (_, Some(End::Reset(code))) => {
                self.chunks.clear();
                self.receives = false;
                Notification::Reset(code)
            }
            (bytes, Some(End::Fin)) if self.chunks.is_empty() => {
                self.receives = false;
                Notification::Data { bytes: bytes.unwrap_or_default(), fin: true }
            }
            (Some(bytes), _) => Notification::Data { bytes, fin: false },
            (None, _) => Notification::Nothing,
        }
    }

    /// Writes what goes before anything else; whether all of it is written.
    pub(super) fn write_head(
        &mut self,
        connection: &mut Connection,
        id: quinn_proto::StreamId,
    ) -> bool {
        while !self.head.is_empty() {
            let mut stream = connection.send_stream(id);
            if stream.write_chunks(std::slice::from_mut(&mut self.head)).is_err() {
                return false;
            }
        }
        if self.finishes {
            // It is refused only where the peer stopped it, which is reported.
            let _ = connection.send_stream(id).finish();
        }
        true
    }

    fn read(&mut self, connection: &mut Connection, id: quinn_proto::StreamId) {
        let mut stream = connection.recv_stream(id);
        let mut chunks = match stream.read(true) {
            Ok(chunks) => chunks,
            Err(ReadableError::ClosedStream | ReadableError::IllegalOrderedRead) => {
                self.is_readable = false;
                return;
            }
        };
        let mut left = BYTES;
        while self.chunks.len() < CHUNKS && left > 0 {
            match chunks.next(left) {
                Ok(Some(chunk)) => {
                    left -= chunk.bytes.len();
                    let is_small = chunk.bytes.len() < SMALL;
                    self.chunks.push_back(if is_small {
                        Bytes::copy_from_slice(&chunk.bytes)
                    } else {
                        chunk.bytes
                    });
                }
                Ok(None) => {
                    self.end = Some(End::Fin);
                    break;
                }
                Err(ReadError::Blocked) => {
                    self.is_readable = false;
                    break;
                }
                Err(ReadError::Reset(code)) => {
                    self.end = Some(End::Reset(code.into_inner()));
                    break;
                }
            }
        }
        // Whether credit is to be sent is found by polling the connection for transmits, which is always
        // done after events.
        let _ = chunks.finalize();
    }

    /// Sees whether the peer broke it off, where nothing is read of it that would say so.
    pub(super) fn look_for_reset(
        &mut self,
        connection: &mut Connection,
        id: quinn_proto::StreamId,
    ) {
        if self.waits()
            && self.receives
            && let Ok(Some(code)) = connection.recv_stream(id).received_reset()
        {
            self.end = Some(End::Reset(code.into_inner()));
        }
    }

    /// Holds what was read and not reported by itself, since that may take long now: chunks keep what they
    /// were cut out of alive, which may be as much as fits into a window.
    pub(super) fn hold_by_itself(&mut self) {
        for chunk in &mut self.chunks {
            *chunk = Bytes::copy_from_slice(chunk);
        }
    }

    /// Forgets what was read and not reported.
    pub(super) fn stop_receiving(&mut self) {
        self.receives = false;
        self.chunks = VecDeque::new();
        self.end = None;
    }
}
