//! Datagrams on their way out of one socket, sent many by one system call. A datagram that the
//! system does not take is counted by reason and dropped: whoever misses it asks again. Each reason is
//! reported once.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::socket::Socket;
use crate::stats::{SendFailure, SendStats};
use crate::sys::{BATCH, SendBatch};

/// How often one datagram is offered again after errors that are not its own.
const RETRIES: u32 = 3;

/// A queue in front of a socket.
#[derive(Debug)]
pub(crate) struct Outbox<B> {
    queue: VecDeque<(B, SocketAddr)>,
    pub(crate) stats: SendStats,
    /// By reason, in the order in which they came up.
    failures: Vec<SendFailure>,
    /// How many of those were reported.
    reported: usize,
}

impl<B> Default for Outbox<B> {
    fn default() -> Self {
        let (queue, stats) = (VecDeque::with_capacity(BATCH), SendStats::default());
        Self { queue, stats, failures: Vec::new(), reported: 0 }
    }
}

impl<B: AsRef<[u8]>> Outbox<B> {
    pub(crate) fn push(&mut self, bytes: B, to: SocketAddr) {
        self.queue.push_back((bytes, to));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether there is enough to fill a system call.
    pub(crate) fn is_full_batch(&self) -> bool {
        self.queue.len() >= BATCH
    }

    /// The datagrams that the system did not take, by reason.
    pub(crate) fn failures(&self) -> &[SendFailure] {
        &self.failures
    }

    /// The next reason that was not reported yet.
    pub(crate) fn next_failure(&mut self) -> Option<SendFailure> {
        let failure = self.failures.get(self.reported).copied()?;
        self.reported += 1;
        Some(failure)
    }

    /// Drops what there is: no socket leads to its destinations.
    pub(crate) fn discard(&mut self) {
        self.stats.unreachable += self.queue.len() as u64;
        self.queue.clear();
    }

    /// Sends what there is. Waits for a full socket at most `patience` in all, and then drops the
    /// rest; with zero it does not wait.
    pub(crate) fn flush(&mut self, socket: &Socket, batch: &mut SendBatch, patience: Duration) {
        let mut deadline = None;
        let mut retries = 0;
        while !self.queue.is_empty() {
            let datagrams = self.queue.iter().map(|(bytes, to)| (bytes.as_ref(), *to));
            self.stats.writes += 1;
            match batch.send(socket.as_fd(), datagrams) {
                Ok(sent) => {
                    self.stats.datagrams += sent as u64;
                    self.queue.drain(..sent);
                    retries = 0;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + patience);
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() || !socket.wait_writable(left) {
                        self.stats.buffer_full += self.queue.len() as u64;
                        self.fail(libc::EAGAIN, self.queue.len());
                        self.queue.clear();
                    }
                }
                Err(error) => {
                    let own = self.count(&error);
                    retries += 1;
                    if own || retries > RETRIES {
                        self.stats.other_errors += u64::from(!own);
                        self.fail(error.raw_os_error().unwrap_or(0), 1);
                        self.queue.pop_front();
                        retries = 0;
                    }
                }
            }
        }
    }

    /// So many datagrams are dropped for a reason.
    fn fail(&mut self, code: i32, datagrams: usize) {
        let datagrams = datagrams as u64;
        match self.failures.iter_mut().find(|failure| failure.code == code) {
            Some(failure) => failure.datagrams += datagrams,
            None => self.failures.push(SendFailure { code, datagrams }),
        }
    }

    /// Counts an error; whether it concerns the first datagram, rather than an earlier one that an
    /// ICMP message came back for, or the call.
    fn count(&mut self, error: &io::Error) -> bool {
        match error.kind() {
            ErrorKind::Interrupted => return false,
            ErrorKind::ConnectionRefused => {
                self.stats.refused += 1;
                return false;
            }
            ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::AddrNotAvailable => self.stats.unreachable += 1,
            _ => match error.raw_os_error() {
                Some(libc::EMSGSIZE) => self.stats.too_large += 1,
                Some(libc::ENOBUFS) => self.stats.buffer_full += 1,
                _ => self.stats.other_errors += 1,
            },
        }
        true
    }
}

#[cfg(test)]
mod tests;
