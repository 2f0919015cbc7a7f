//! The configuration of a transmitter, and the errors of its misuse.

use crate::limits::{OutOfRange, positive, within};
use crate::machine::Undrained;
use crate::rate::Rate;
use crate::time::nanos;
use crate::wire::mold::{HEADER_LEN, LENGTH_LEN, MAX_DATAGRAM};
use crate::{Duration, Session};

/// The configuration of a [`Transmitter`](super::Transmitter).
///
/// It is charged ([`Machine::charged`](crate::Machine::charged)) `mtu` and 104 bytes for each packet of the ring, and
/// 496 for heartbeats and ends, from the beginning.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The session that messages are numbered in. There is no default.
    pub session: Session,
    /// Number of the first message. From 1, which is the default.
    pub first_sequence: u64,
    /// The largest UDP payload in bytes, headers of IP and UDP not counted. 64 to 65,507; 1472 by default,
    /// which fits an unfragmented packet on a 1500-byte IPv4 link.
    pub mtu: usize,
    /// How long a packet that is not full waits for further messages. Zero: every drain sends what
    /// there is, so that each message travels at once and alone. 1 ms by default.
    pub flush_delay: Duration,
    /// A heartbeat is sent when no packet of any kind was for this long (MoldUDP64 § heartbeats:
    /// about a second). Positive; 1 s by default.
    pub heartbeat_interval: Duration,
    /// How far end-of-session packets are apart when they have settled; the first follow one
    /// another at a sixteenth of it, and each pause doubles. Positive; 1 s by default.
    pub end_interval: Duration,
    /// How long end-of-session packets are repeated after the first. Zero: there is only one. 30 s
    /// by default.
    pub end_linger: Duration,
    /// How fast packets leave, of every line the bytes of one; `None` as fast as they are taken.
    /// Heartbeats and ends are not held back. Its burst may be zero: then no packet leaves before the
    /// one ahead of it has used up its time. `None` by default.
    pub pace: Option<Rate>,
    /// Packets that are being built, held back by `pace`, or held outside. 2 to 65,536; 1024 by default.
    /// Each takes `mtu` bytes, allocated at construction.
    pub ring: usize,
}

impl Config {
    /// A session from message 1 on: packets for a 1500-byte link, flushed after a millisecond,
    /// heartbeats each second, ends for half a minute, no pacing, a ring of 1024 packets.
    #[must_use]
    pub const fn new(session: Session) -> Self {
        Self {
            session,
            first_sequence: 1,
            mtu: 1472,
            flush_delay: Duration::from_millis(1),
            heartbeat_interval: Duration::from_secs(1),
            end_interval: Duration::from_secs(1),
            end_linger: Duration::from_secs(30),
            pace: None,
            ring: 1024,
        }
    }

    /// As [`new`](Self::new), with a ring of four packets of 256 bytes: for tests and fuzzers.
    #[must_use]
    pub const fn small(session: Session) -> Self {
        Self { mtu: 256, ring: 4, ..Self::new(session) }
    }

    /// The largest message that fits a packet.
    #[must_use]
    pub const fn max_message(&self) -> usize {
        self.mtu.saturating_sub(HEADER_LEN + LENGTH_LEN)
    }

    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        within("first_sequence", self.first_sequence, 1..=u64::MAX, "1 to 2^64-1")?;
        within("mtu", self.mtu as u64, 64..=MAX_DATAGRAM as u64, "64 to 65,507")?;
        positive("heartbeat_interval", nanos(self.heartbeat_interval))?;
        positive("end_interval", nanos(self.end_interval))?;
        positive("pace.bytes_per_second", self.pace.map_or(1, |pace| pace.bytes_per_second))?;
        within("ring", self.ring as u64, 2..=65_536, "2 to 65,536")
    }
}

/// How an embedding program can misuse a transmitter. The message of a refused event was not taken.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// An event before the commands of the last one were drained.
    #[error(transparent)]
    Undrained(#[from] Undrained),
    /// A configured value leaves its range.
    #[error(transparent)]
    Config(#[from] OutOfRange),
    /// The message fits no packet.
    #[error("a message of {len} bytes fits no packet; the largest has {max}")]
    TooLarge {
        /// Bytes of the message.
        len: usize,
        /// Bytes of the largest that fits ([`Config::max_message`]).
        max: usize,
    },
    /// Every packet of the ring is held back by the pace, or held outside. Try again after
    /// [`poll_timeout`](crate::Machine::poll_timeout), or when packets sent before were dropped.
    #[error("all {ring} packets of the ring are in use: {waiting} wait to be sent")]
    Full {
        /// Packets of the ring.
        ring: usize,
        /// How many of them the pace holds back; the others are held outside.
        waiting: usize,
    },
    /// The session has ended: no message may be added to it.
    #[error("the session has ended before message {next}")]
    Ended {
        /// The number that the message would have had (2^64-1 stands for 2^64 too).
        next: u64,
    },
    /// The last message had number 2^64-1: there is no number left in this session.
    #[error("the session's numbers are used up: the last message was number 2^64-1")]
    UsedUp,
}
