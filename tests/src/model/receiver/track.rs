//! The oracle's state of one session: the messages that came, the output for them, and the open gaps.

use gapless_core::Instant;
use gapless_core::receiver::LineId;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::numbers::Numbers;

/// The state of one session.
#[derive(Debug, Default)]
pub(super) struct Track {
    /// The first number to deliver, once the session was started.
    pub(super) start: Option<u64>,
    pub(super) ended: bool,
    pub(super) delivered: Numbers,
    pub(super) lost: Numbers,
    /// Delivered, lost, or advanced over.
    pub(super) settled: Numbers,
    /// Came in some well-formed packet.
    pub(super) given: Numbers,
    /// Came as the feed has it.
    pub(super) plain: Numbers,
    /// Came otherwise, and how.
    pub(super) altered: BTreeMap<u64, Vec<u8>>,
    /// Came, and there is no reason not to have kept it.
    pub(super) held: Numbers,
    /// The part that the latest step adds.
    pub(super) arrives: Option<(u64, u64)>,
    /// The highest number that anything spoke of.
    pub(super) evidence: u64,
    /// The highest number that is believed to exist, as far as can be told from outside.
    pub(super) highest_known: u64,
    /// The highest number that data brought which was believed.
    pub(super) brought: u64,
    /// The last numbers that packets spoke of: what may be asked for to confirm a candidate.
    pub(super) spoken: BTreeSet<u64>,
    /// The packets of lines in the order of their coming: the line, and the last number that it spoke of.
    pub(super) packets: Vec<(LineId, u64)>,
    pub(super) gaps: Vec<Gap>,
    /// The lowest number that an end was reported after.
    pub(super) ends: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct Gap {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) opened: Instant,
    /// How many datagrams of lines came from behind it.
    pub(super) confirmed: u32,
    /// How many of these were data, but for the one that opened it.
    pub(super) brought: u32,
    pub(super) lost: bool,
    /// Its far end was withdrawn: the rest may have been filled long ago.
    pub(super) shortened: bool,
    /// Partly advanced over, or put off: only the safe half of the rules holds.
    pub(super) cut: bool,
}

/// A number of a gap that neither came nor was settled.
pub(super) fn missing(gap: &Gap, given: &Numbers, settled: &Numbers) -> Option<u64> {
    let mut number = gap.first;
    loop {
        let next = settled.first_missing(given.first_missing(number)?)?;
        if next > gap.last {
            return None;
        }
        if next == number {
            return Some(number);
        }
        number = next;
    }
}
