//! The statistics of the drivers: system calls, datagrams, and what went wrong on the way.

use std::io;
use std::ops::AddAssign;

/// The statistics of reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReadStats {
    /// System calls that read, those that found nothing included.
    pub reads: u64,
    /// System calls about arrival times.
    pub clock_calls: u64,
    /// Datagrams read.
    pub datagrams: u64,
    /// Bytes of those datagrams.
    pub bytes: u64,
    /// Datagrams longer than UDP allows (jumbograms), dropped because their end is missing.
    pub cut: u64,
    /// Datagrams to a group that no line of the socket asked for.
    pub stray: u64,
    /// Reads that failed for another reason than that there was nothing.
    pub errors: u64,
}

impl AddAssign for ReadStats {
    fn add_assign(&mut self, other: Self) {
        self.reads += other.reads;
        self.clock_calls += other.clock_calls;
        self.datagrams += other.datagrams;
        self.bytes += other.bytes;
        self.cut += other.cut;
        self.stray += other.stray;
        self.errors += other.errors;
    }
}

/// The statistics of sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SendStats {
    /// System calls that write.
    pub writes: u64,
    /// Datagrams that the system took.
    pub datagrams: u64,
    /// Datagrams dropped because the send buffer stayed full.
    pub buffer_full: u64,
    /// Datagrams dropped because they are larger than the socket or the path takes.
    pub too_large: u64,
    /// Datagrams dropped because there is no way to their destination.
    pub unreachable: u64,
    /// Times that a destination answered that nobody listens there. The datagram that got this answer is
    /// gone; the one that was to be sent is sent all the same.
    pub refused: u64,
    /// Datagrams dropped for other reasons.
    pub other_errors: u64,
}

impl AddAssign for SendStats {
    fn add_assign(&mut self, other: Self) {
        self.writes += other.writes;
        self.datagrams += other.datagrams;
        self.buffer_full += other.buffer_full;
        self.too_large += other.too_large;
        self.unreachable += other.unreachable;
        self.refused += other.refused;
        self.other_errors += other.other_errors;
    }
}

impl SendStats {
    /// Datagrams that were to be sent and were not.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.buffer_full + self.too_large + self.unreachable + self.other_errors
    }
}

/// Datagrams that the system did not take, for one reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SendFailure {
    /// The system's number of the reason (`errno`). That of a send buffer that stayed full is `EAGAIN`.
    pub code: i32,
    /// How many were dropped for it so far.
    pub datagrams: u64,
}

impl SendFailure {
    /// The reason, in the system's words.
    #[must_use]
    pub fn error(&self) -> io::Error {
        io::Error::from_raw_os_error(self.code)
    }
}
