//! The configuration of a receiver, and the errors of making one.

use core::net::SocketAddr;

use super::event::{LineId, ServerId};
use super::quota::{Quota, QuotaUse};
use crate::limits::{OutOfRange, within};
use crate::machine::Undrained;
use crate::time::nanos;
use crate::wire::mold::MAX_COUNT;
use crate::{Duration, Session};

/// [`Config::give_up`] where another line or a server may bring what is missing.
const GIVE_UP: Duration = Duration::from_secs(5);

/// The number at which delivery begins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Start {
    /// At this number, from 1. Messages that went by before the first packet are asked for.
    At(u64),
    /// At the first packet that is believed.
    Live,
}

/// In which order messages are delivered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Delivery {
    /// In sequence, exactly once; what arrives ahead of a gap is held.
    Ordered,
    /// At once, exactly once; gaps are emitted as they open and close.
    Arrival,
}

/// The behaviour after a loss.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum OnLoss {
    /// Delivery goes on behind it.
    Skip,
    /// Delivery stops until [`Event::Advance`](super::Event::Advance).
    Halt,
}

/// The servers whose answers are taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum AcceptAnswers {
    /// Those that come from the address of a configured server.
    Configured,
    /// Any, for servers that answer from another address than they are asked at. Only what is being
    /// asked for is taken out of them.
    Any,
}

/// The configuration of a [`Receiver`](super::Receiver). All durations are positive.
///
/// # What is proved, and what is only claimed
/// Messages are lost by the rules of `give_up`, `max_attempts` and `max_stall` once data of `believe_after`
/// packets that lies behind them came, or any data and a server speak of them. Other cases have rules of their
/// own, by a claim timeout: `give_up`, but not less than `line_timeout` or three seconds, whichever is less. A
/// feed that has nothing to send says so by heartbeats meanwhile.
///
/// - Of what no data speaks, only heartbeats and ends, `believe_after` packets below it withdraw the claim,
///   less those that support it meanwhile: later than `max_reorder_delay` after it was made or grew, and
///   some of each line that is up ([`Command::Withdrawn`](super::Command::Withdrawn)). Numbers that no packet
///   contradicts for the claim timeout are lost ([`LossReason::ClaimedOnly`](super::LossReason::ClaimedOnly)).
/// - Where `believe_after` packets are not all data, the claim timeout takes the place of `give_up`.
/// - Numbers that data of fewer than `believe_after` packets speaks of are lost when all lines are silent for the
///   claim timeout, up to 1,024 ahead; those that reach further, or have no data, are stalled
///   ([`Command::Stalled`](super::Command::Stalled)).
///
/// An end is believed after `believe_after` ends and `quiet`. A heartbeat past it takes one of them off, and
/// `believe_after` of them revoke it once it is believed; data past it revokes it at once. Ends below what was
/// delivered, or what the data of `believe_after` packets reached, are believed after the claim timeout without any
/// packet past them: the session then ends behind all data, and a regression is emitted.
///
/// # What is charged
///
/// The same on every target ([`Machine::charged`](crate::Machine::charged)), all but payload from the beginning:
///
/// | what | bytes |
/// |---|---|
/// | payload: a block of 65,536 bytes, or what a buffer from outside pins | 40 more for a block |
/// | each 65,536 of `max_held_bytes`: a block's places | 72 |
/// | each of `max_held_packets` | 96 |
/// | each of `max_gaps` | 208, and 96 where delivery is ordered, which takes 48 more in all |
/// | the same again where sessions are followed | |
/// | 32 lines, and 32 servers | 24,064 and 6,912; and 1 and 36 for each that is configured |
/// | each of `max_in_flight`, 32 times | 64 |
/// | each of `quotas`, and each of `used` | 17,952, and 48 |
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The session to receive; `None` takes the first that is believed. `None` by default.
    pub session: Option<Session>,
    /// Other sessions are followed when they take the place of the current one. Otherwise
    /// they are dropped and counted. `false` by default.
    pub follow: bool,
    /// The number at which delivery begins in the first session. Sessions that are followed begin at 1. `At(1)`
    /// by default.
    pub start: Start,
    /// In which order messages are delivered. `Ordered` by default.
    pub delivery: Delivery,
    /// The behaviour after a loss. `Skip` by default.
    pub on_loss: OnLoss,
    /// The lines that exist from the start, each once. At most 32; none by default.
    pub lines: alloc::vec::Vec<LineId>,
    /// The servers that exist from the start, each once, and each at an address of its own. At most
    /// 32; none by default.
    pub servers: alloc::vec::Vec<(ServerId, SocketAddr)>,
    /// The servers whose answers are taken. `Configured` by default.
    pub accept_answers: AcceptAnswers,

    /// A gap is asked for when every line that is up brought this many packets, of any kind, from the first
    /// that passed it on. 1 to 64; 3 by default.
    ///
    /// By that first packet it is asked for, whatever stands here and in `reorder_delay`, while one line is up that
    /// brought 65,536 packets, over 10 s, none of them later than a packet behind it. The first that is late ends that.
    pub reorder_packets: u8,
    /// A gap is asked for at the latest this long after it opened. Positive; 2 ms by default.
    pub reorder_delay: Duration,
    /// How far the measured lag between lines may raise `reorder_delay`; not less than it. 20 ms by
    /// default.
    pub max_reorder_delay: Duration,
    /// A line is down after this long without a packet. Positive; 3 s by default.
    pub line_timeout: Duration,

    /// The quotas of each server, by its number, wherever it is: whatever happens, no more is asked of it within any
    /// window. What a quota holds back waits, or goes to another server, or is lost by the rules below
    /// ([`LossReason::Quota`](super::LossReason::Quota)). At most 4; none by default.
    pub quotas: alloc::vec::Vec<Quota>,
    /// The use of the quotas before this receiver: see [`Checkpoint`]. At most 8,192; nothing by default.
    pub used: alloc::vec::Vec<QuotaUse>,
    /// The most messages that one request asks for. 1 to 65,534, which is the default.
    pub max_request: u16,
    /// The most requests under way to one server. 1 to 64; 16 by default.
    pub max_in_flight: u8,
    /// How long the first requests to a server wait for an answer, before round trips are measured.
    /// Not less than `min_request_timeout`; 50 ms by default.
    pub initial_request_timeout: Duration,
    /// The least that a request waits for an answer. Positive; 10 ms by default.
    pub min_request_timeout: Duration,
    /// The longest that a request waits for an answer. Not less than `initial_request_timeout`; 500
    /// ms by default.
    pub max_request_timeout: Duration,
    /// The longest rest after unanswered requests; eight request timeouts where that is less.
    /// Positive; 1 s by default.
    pub max_backoff: Duration,

    /// A range is lost, by a timeout, when neither its opening, nor the packet of a line that last brought what
    /// lay beside it in its gap, nor the last useful answer in its session is younger than this; positive.
    /// `None`: as long as `max_reorder_delay` while there is one line and no server, so that nobody else can
    /// bring it, and 5 s otherwise. `None` by default.
    pub give_up: Option<Duration>,
    /// A range is lost when it went unanswered this often by servers that answered other ranges. 1 to 255;
    /// 24 by default.
    pub max_attempts: u8,
    /// A range is lost this long after its opening, whatever happens. Positive. `None`, the
    /// default: never.
    pub max_stall: Option<Duration>,

    /// The most bytes kept ahead of a gap, charged by what they keep alive. From 131,072; 64 MiB by
    /// default.
    pub max_held_bytes: usize,
    /// The most pieces of packets kept ahead of a gap. 16 to 2^24; 2^17 by default.
    pub max_held_packets: usize,
    /// The most gaps open at once. 16 to 2^20; 2^14 by default.
    pub max_gaps: usize,

    /// A packet further than this beyond the highest believed number must be confirmed. From 1; 2^20 by
    /// default.
    pub max_jump: u64,
    /// How many consistent packets confirm a candidate. 1 to 8; 3 by default.
    pub believe_after: u8,
    /// How long the old place must bring no progress before a candidate takes its place. Positive;
    /// 50 ms by default.
    pub quiet: Duration,
    /// How long a session is repaired after another took its place. Positive; 5 s by default.
    pub session_grace: Duration,
    /// When all lines were silent this long, a server is asked for what comes next. Positive; 3 s
    /// by default.
    pub probe_after: Duration,

    /// Seeds the jitter of backoffs. Any number; 0 by default.
    pub seed: u64,
}

impl Default for Config {
    /// Ordered delivery of the first session from message 1, without lines or servers.
    fn default() -> Self {
        Self {
            session: None,
            follow: false,
            start: Start::At(1),
            delivery: Delivery::Ordered,
            on_loss: OnLoss::Skip,
            lines: alloc::vec::Vec::new(),
            servers: alloc::vec::Vec::new(),
            accept_answers: AcceptAnswers::Configured,
            reorder_packets: 3,
            reorder_delay: Duration::from_millis(2),
            max_reorder_delay: Duration::from_millis(20),
            line_timeout: Duration::from_secs(3),
            quotas: alloc::vec::Vec::new(),
            used: alloc::vec::Vec::new(),
            max_request: MAX_COUNT,
            max_in_flight: 16,
            initial_request_timeout: Duration::from_millis(50),
            min_request_timeout: Duration::from_millis(10),
            max_request_timeout: Duration::from_millis(500),
            max_backoff: Duration::from_secs(1),
            give_up: None,
            max_attempts: 24,
            max_stall: None,
            max_held_bytes: 64 << 20,
            max_held_packets: 1 << 17,
            max_gaps: 1 << 14,
            max_jump: 1 << 20,
            believe_after: 3,
            quiet: Duration::from_millis(50),
            session_grace: Duration::from_secs(5),
            probe_after: Duration::from_secs(3),
            seed: 0,
        }
    }
}

impl Config {
    /// The default with the least limits: 128 KiB, 64 packets and 64 gaps held. For tests and fuzzers, which make many
    /// receivers: one takes some KiB where one of the default takes 16 MB.
    #[must_use]
    pub fn small() -> Self {
        Self { max_held_bytes: 1 << 17, max_held_packets: 64, max_gaps: 64, ..Self::default() }
    }
}

/// The place of a receiver: what it takes to go on from there with another one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Checkpoint {
    /// The current session.
    pub session: Session,
    /// The next number to deliver (2^64-1 stands for 2^64 too).
    pub next: u64,
    /// The use of the quotas. Whoever keeps it for some time adds that to the ages; otherwise the next receiver
    /// asks for less than it might. Empty without quotas.
    pub used: alloc::vec::Vec<QuotaUse>,
}

impl Config {
    /// Checks that every value lies in its range.
    pub(super) fn check(&self) -> Result<(), Error> {
        let start = if let Start::At(number) = self.start { number } else { 1 };
        within("start", start, 1..=u64::MAX, "from 1")?;
        within("reorder_packets", self.reorder_packets.into(), 1..=64, "1 to 64")?;
        within("max_request", self.max_request.into(), 1..=MAX_COUNT.into(), "1 to 65,534")?;
        within("max_in_flight", self.max_in_flight.into(), 1..=64, "1 to 64")?;
        within("max_attempts", self.max_attempts.into(), 1..=255, "1 to 255")?;
        let held = self.max_held_bytes as u64;
        within("max_held_bytes", held, 1 << 17..=u64::MAX >> 8, "from 131,072")?;
        within("max_held_packets", self.max_held_packets as u64, 16..=1 << 24, "16 to 2^24")?;
        within("max_gaps", self.max_gaps as u64, 16..=1 << 20, "16 to 2^20")?;
        within("max_jump", self.max_jump, 1..=u64::MAX, "from 1")?;
        within("believe_after", self.believe_after.into(), 1..=8, "1 to 8")?;
        let durations = [
            ("reorder_delay", self.reorder_delay, Duration::from_nanos(1)),
            ("max_reorder_delay", self.max_reorder_delay, self.reorder_delay),
            ("line_timeout", self.line_timeout, Duration::from_nanos(1)),
            ("min_request_timeout", self.min_request_timeout, Duration::from_nanos(1)),
            ("initial_request_timeout", self.initial_request_timeout, self.min_request_timeout),
            ("max_request_timeout", self.max_request_timeout, self.initial_request_timeout),
            ("max_backoff", self.max_backoff, Duration::from_nanos(1)),
            ("give_up", self.give_up.unwrap_or(Duration::MAX), Duration::from_nanos(1)),
            ("max_stall", self.max_stall.unwrap_or(Duration::MAX), Duration::from_nanos(1)),
            ("quiet", self.quiet, Duration::from_nanos(1)),
            ("session_grace", self.session_grace, Duration::from_nanos(1)),
            ("probe_after", self.probe_after, Duration::from_nanos(1)),
        ];
        for (field, duration, least) in durations {
            let range = "positive, and not less than what it bounds from above";
            within(field, nanos(duration), nanos(least)..=u64::MAX, range)?;
        }
        self.check_quotas()?;
        // So few that they may be compared with one another.
        within("lines", self.lines.len() as u64, 0..=32, "at most 32")?;
        within("servers", self.servers.len() as u64, 0..=32, "at most 32")?;
        for (index, &line) in self.lines.iter().enumerate() {
            line.check()?;
            if self.lines.iter().take(index).any(|other| *other == line) {
                return Err(Error::DuplicateLine(line));
            }
        }
        for (index, &(server, address)) in self.servers.iter().enumerate() {
            server.check()?;
            let mut others = self.servers.iter().take(index);
            if others.clone().any(|(other, _)| *other == server) {
                return Err(Error::DuplicateServer(server));
            }
            if let Some(&(server, _)) = others.find(|(_, other)| *other == address) {
                return Err(Error::AddressTaken { server, address });
            }
        }
        Ok(())
    }

    /// `give_up`, or its default with so many lines and servers.
    pub(super) fn give_up(&self, lines: usize, servers: usize) -> Duration {
        let alone = lines <= 1 && servers == 0;
        self.give_up.unwrap_or(if alone { self.max_reorder_delay } else { GIVE_UP })
    }

    /// It without its lines, servers and quotas, for the parts of a receiver that go by it.
    pub(super) fn rules(&self) -> Self {
        let (lines, servers, quotas, used) = Default::default();
        Self { lines, servers, quotas, used, ..self.clone() }
    }

    /// This configuration, going on from a checkpoint.
    #[must_use]
    pub fn resume(mut self, checkpoint: Checkpoint) -> Self {
        self.session = Some(checkpoint.session);
        self.start = Start::At(checkpoint.next);
        self.used = checkpoint.used;
        self
    }
}

/// How an embedding program can misuse a receiver.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// An event before the commands of the last one were drained.
    #[error(transparent)]
    Undrained(#[from] Undrained),
    /// A configured value leaves its range.
    #[error(transparent)]
    Config(#[from] OutOfRange),
    /// A number past [`LineId::MAX`].
    #[error("line {} does not exist; the last is {}", .0.0, LineId::MAX.0)]
    Line(LineId),
    /// A number past [`ServerId::MAX`].
    #[error("server {} does not exist; the last is {}", .0.0, ServerId::MAX.0)]
    Server(ServerId),
    /// A configuration names a line twice.
    #[error("line {} is there twice", .0.0)]
    DuplicateLine(LineId),
    /// A configuration names a server twice.
    #[error("server {} is there twice", .0.0)]
    DuplicateServer(ServerId),
    /// Two servers cannot have one address: answers are distinguished by it.
    #[error("server {} has the address {address} already", .server.0)]
    AddressTaken {
        /// The server that has it.
        server: ServerId,
        /// The address.
        address: SocketAddr,
    },
    /// Message numbers start at 1.
    #[error("message numbers start at 1")]
    SequenceZero,
}

impl LineId {
    pub(super) const fn check(self) -> Result<(), Error> {
        if self.0 <= Self::MAX.0 { Ok(()) } else { Err(Error::Line(self)) }
    }
}

impl ServerId {
    pub(super) const fn check(self) -> Result<(), Error> {
        if self.0 <= Self::MAX.0 { Ok(()) } else { Err(Error::Server(self)) }
    }
}
