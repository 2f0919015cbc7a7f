//! The configuration of a retransmitter, and the errors of its misuse.

use super::history;
use crate::limits::{OutOfRange, positive, within};
use crate::machine::Undrained;
use crate::rate::Rate;
use crate::time::nanos;
use crate::wire::mold::MAX_DATAGRAM;
use crate::{Duration, Session};

/// The configuration of a [`Retransmitter`](super::Retransmitter).
///
/// # What is charged
///
/// The same on every target ([`Machine::charged`](crate::Machine::charged)), all but blocks from the beginning:
///
/// | what | bytes |
/// |---|---|
/// | within `history_bytes`: each KiB of it, for the index | 32 |
/// | a block of 65,536 bytes | 32 |
/// | each of `max_sessions` | 64 |
/// | beside it: each of `ring` | `mtu` and 104 |
/// | each of `max_addresses` | 32 |
/// | each of `max_look_ups`, and of `max_waiting` | 40 |
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// A session that is known before anything of it is stored, and stays known. `None` by default.
    pub session: Option<Session>,
    /// Messages of `session` up to this number were sent before, though the history begins without
    /// them: requests for them may be looked up. Zero: there were none. Zero by default.
    pub sent_before: u64,
    /// The most sessions known at once; one more takes the place of the one that was stored into
    /// least lately, and the event that brings it takes time for each entry of the index that the other
    /// one has: at most one for each KiB of `history_bytes`. 1 to 255; 4 by default.
    pub max_sessions: usize,
    /// The largest answer in bytes, as
    /// [`transmitter::Config::mtu`](crate::transmitter::Config::mtu). 64 to 65,507; 1472 by
    /// default. A first wanted message that does not fit is answered alone in a larger one.
    pub mtu: usize,
    /// The most bytes that the history of all sessions takes, its index included. 262,144 to 2^47;
    /// 64 MiB by default. Blocks of 64 KiB are allocated as they are needed, the index (3%) at once.
    /// The messages stored first go first, a block at a time; sessions that are stored in turn fill
    /// blocks of their own, or parts of blocks where there are few. Messages stored out of order take
    /// more of the index, of which there is one entry for each KiB.
    pub history_bytes: usize,
    /// An archive answers [`Command::LookUp`](super::Command::LookUp). Otherwise requests for
    /// what the history does not hold are declined. `false` by default.
    pub archive: bool,
    /// The most look-ups under way. 1 to 65,536; 64 by default.
    pub max_look_ups: usize,
    /// The most requesters that wait for look-ups, in all. 1 to 65,536; 1024 by default.
    pub max_waiting: usize,
    /// A look-up that was not answered for this long is given up. Positive; 5 s by default.
    pub look_up_timeout: Duration,
    /// How fast one IP address is answered, wherever it is. 512 MiB/s by default, after a burst of
    /// 64 MiB.
    pub address_rate: Rate,
    /// How fast all together are answered. 1 GiB/s by default, after a burst of 128 MiB.
    pub total_rate: Rate,
    /// How fast addresses beyond this machine are answered, where that is slower. `None`: as those of
    /// this machine. By default [`Remote::default`].
    pub remote: Option<Remote>,
    /// The most addresses whose rate is remembered. 1 to 65,536; 1024 by default. For one more, the
    /// one that would have its whole burst again first is forgotten, and starts afresh.
    pub max_addresses: usize,
    /// Recycled answers, of `mtu` bytes each. 1 to 65,536; 256 by default. When all are held
    /// outside, further ones are allocated and counted.
    pub ring: usize,
}

/// How fast addresses are answered that are no loopback addresses, so that nobody is flooded who did not
/// ask: whoever forges a requester's address gets no more sent to it than the lines would bring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remote {
    /// Bytes a second that one address may have at least: from 1. All together may have ten times as
    /// much as one, burst included.
    pub least: u64,
    /// One address may have so many times the bytes that were sent on the lines in one second
    /// ([`Event::Sent`](super::Event::Sent)), if that is more: in the second that had most of the present
    /// minute and of the one before, so a burst counts for one to two minutes. 0: the lines do not count.
    pub times_line: u32,
    /// Bytes that one address may have at once after a rest.
    pub burst: u64,
}

/// How many times the rate of one address all may have that are beyond this machine.
const TIMES_ONE: u64 = 10;

impl Default for Remote {
    /// 1 MB/s, or three times a line's rate, in bursts of 64 KiB.
    fn default() -> Self {
        Self { least: 1_000_000, times_line: 3, burst: 64 << 10 }
    }
}

impl Remote {
    /// The rate of one address, and that of all, when so many bytes were sent on the lines in one second.
    pub(super) fn rates(self, line: u64) -> [Rate; 2] {
        let least = self.least.max(line.saturating_mul(self.times_line.into()));
        [1, TIMES_ONE].map(|times| Rate {
            bytes_per_second: least.saturating_mul(times),
            burst: self.burst.saturating_mul(times),
        })
    }
}

impl Default for Config {
    /// 64 MiB of history (1.5 million messages of 40 bytes), no archive, packets for a 1500-byte link,
    /// and rates that let a receiver on the same host catch up at full speed: 512 MiB/s for each
    /// address and 1 GiB/s in all, after bursts of an eighth of a second's worth. Others have a
    /// [`Remote`]'s defaults.
    fn default() -> Self {
        Self {
            session: None,
            sent_before: 0,
            max_sessions: 4,
            mtu: 1472,
            history_bytes: 64 << 20,
            archive: false,
            max_look_ups: 64,
            max_waiting: 1024,
            look_up_timeout: Duration::from_secs(5),
            address_rate: Rate { bytes_per_second: 512 << 20, burst: 64 << 20 },
            total_rate: Rate { bytes_per_second: 1 << 30, burst: 128 << 20 },
            remote: Some(Remote::default()),
            max_addresses: 1024,
            ring: 256,
        }
    }
}

impl Config {
    /// The default with small limits, for tests and fuzzers: 256 KiB of history, answers of 256 bytes in a ring of
    /// four, and four look-ups, requesters that wait, and addresses.
    #[must_use]
    pub fn small() -> Self {
        Self {
            mtu: 256,
            history_bytes: history::LEAST_BYTES,
            max_look_ups: 4,
            max_waiting: 4,
            max_addresses: 4,
            ring: 4,
            ..Self::default()
        }
    }

    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        let few = |field, value: usize| within(field, value as u64, 1..=65_536, "1 to 65,536");
        let history = history::LEAST_BYTES as u64..=history::MOST_BYTES;
        within("max_sessions", self.max_sessions as u64, 1..=255, "1 to 255")?;
        within("mtu", self.mtu as u64, 64..=MAX_DATAGRAM as u64, "64 to 65,507")?;
        within("history_bytes", self.history_bytes as u64, history, "262,144 to 2^47")?;
        few("max_look_ups", self.max_look_ups)?;
        few("max_waiting", self.max_waiting)?;
        positive("look_up_timeout", nanos(self.look_up_timeout))?;
        positive("address_rate.bytes_per_second", self.address_rate.bytes_per_second)?;
        positive("total_rate.bytes_per_second", self.total_rate.bytes_per_second)?;
        if let Some(remote) = &self.remote {
            positive("remote.least", remote.least)?;
        }
        few("max_addresses", self.max_addresses)?;
        few("ring", self.ring)
    }
}

/// How an embedding program can misuse a retransmitter.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// An event before the commands of the last one were drained.
    #[error(transparent)]
    Undrained(#[from] Undrained),
    /// A configured value leaves its range.
    #[error(transparent)]
    Config(#[from] OutOfRange),
}
