//! What a retransmitter is made from, and how it can be misused.

use super::history;
use super::limits::Limits;
use super::look_ups::LookUps;
use crate::limits::{OutOfRange, positive, within};
use crate::rate::Rate;
use crate::ring::{Ring, SHARED};
use crate::time::nanos;
use crate::wire::mold::MAX_DATAGRAM;
use crate::{Duration, Session};

/// The configuration of a [`Retransmitter`](super::Retransmitter).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// A session that is known before anything of it is stored, and stays known.
    pub session: Option<Session>,
    /// Messages of `session` up to this number were sent before, though the history begins without
    /// them: requests for them may be looked up. Zero: there were none.
    pub sent_before: u64,
    /// The most sessions known at once; one more takes the place of the one that was stored into
    /// least lately: 1 to 255.
    pub max_sessions: usize,
    /// The largest answer, as [`transmitter::Config::mtu`](crate::transmitter::Config::mtu): 64 to
    /// 65,507. A first wanted message that does not fit is answered alone in a larger one.
    pub mtu: usize,
    /// The most bytes that the history of all sessions takes, its index included: 262,144 to 2^47.
    /// Blocks of 64 KiB are allocated as they are needed, the index (3%) at once. What was stored
    /// first goes first, a block at a time; sessions that are stored in turn fill blocks of their own, or
    /// parts of blocks where there are few. Messages stored out of order take more of the index, of
    /// which there is one entry for each KiB.
    pub history_bytes: usize,
    /// Whether an archive answers [`Command::LookUp`](super::Command::LookUp). Otherwise requests for
    /// what the history does not hold are declined.
    pub archive: bool,
    /// The most look-ups under way: 1 to 65,536.
    pub max_look_ups: usize,
    /// The most requesters that wait for look-ups, in all: 1 to 65,536.
    pub max_waiting: usize,
    /// A look-up that was not answered for this long is given up. Positive.
    pub look_up_timeout: Duration,
    /// How fast one IP address is answered.
    pub address_rate: Rate,
    /// How fast all together are answered.
    pub total_rate: Rate,
    /// The most addresses whose rate is remembered: 1 to 65,536. For one more, the one that would have
    /// its whole burst again first is forgotten, and starts afresh.
    pub max_addresses: usize,
    /// Recycled answers, of `mtu` bytes each: 1 to 65,536. When all are held outside, further
    /// ones are allocated and counted.
    pub ring: usize,
}

impl Default for Config {
    /// 64 MiB of history (1.5 million messages of 40 bytes), no archive, packets for a 1500-byte link,
    /// and rates that let a receiver on the same host catch up at full speed: 512 MiB/s for each
    /// address and 1 GiB/s in all, after bursts of an eighth of a second's worth. On an open network
    /// set them to what the link bears.
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
            max_addresses: 1024,
            ring: 256,
        }
    }
}

impl Config {
    /// The most bytes that a retransmitter with this configuration ever takes, bookkeeping included.
    #[must_use]
    pub const fn memory_limit(&self) -> usize {
        let largest_answer = MAX_DATAGRAM + SHARED;
        self.history_bytes
            .saturating_add(Ring::bytes(self.ring, self.mtu))
            .saturating_add(largest_answer)
            .saturating_add(Limits::bytes(self.max_addresses))
            .saturating_add(LookUps::bytes(self.max_look_ups, self.max_waiting))
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
        few("max_addresses", self.max_addresses)?;
        few("ring", self.ring)
    }
}

/// How an embedding program can misuse a retransmitter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// An event before the commands of the last one were drained.
    #[error("commands of the last event are not drained yet")]
    Undrained,
    /// A configured value leaves its range.
    #[error(transparent)]
    Config(#[from] OutOfRange),
}
