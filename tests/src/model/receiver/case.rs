//! Random cases: a small configuration, and what happens to a receiver that has it. One generator
//! serves proptest and the fuzzer.

use arbitrary::{Arbitrary, Result, Unstructured};
use gapless_core::Duration;
use gapless_core::receiver::{
    AcceptAnswers, Config, Delivery, LineId, OnLoss, Quota, QuotaUnit, ServerId, Start,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::feed::IDS;
use super::trace::Way;

/// Bytes that no case of small messages fills.
pub(super) const ROOMY: usize = 1 << 20;

/// The participants of a case, and so the properties of its outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum World {
    /// One session, packets lost, doubled, late, repacked and broken, but none forged, and patience
    /// without end: nothing may be lost, and once loss stops everything must arrive.
    Patient,
    /// The same, but what stays missing is given up.
    Impatient,
    /// Several sessions, and packets forged at will.
    Hostile,
}

/// A configuration and what happens.
#[derive(Clone, Debug)]
pub struct Case {
    /// The participants.
    pub world: World,
    /// The receiver's configuration.
    pub config: Config,
    pub(super) base: u64,
    pub(super) history: u16,
    pub(super) large: bool,
    pub(super) way: Way,
    pub(super) ops: Vec<Op>,
}

/// One thing that happens.
#[derive(Clone, Debug, Arbitrary)]
pub(super) enum Op {
    /// A line brings a packet of `count` messages, the first of which is `back` before the next new
    /// one (after `lost` more were published that it does not bring).
    Data(Data),
    /// A line brings `teeth` packets of one message, each after `hole` that it does not bring.
    Comb {
        line: u8,
        teeth: u8,
        hole: u8,
    },
    /// A line brings so many packets of one message, the next ones, one every 200 µs. Cases drawn have none.
    Orderly {
        line: u8,
        packets: u32,
    },
    /// A line brings a heartbeat that is `back` messages behind.
    Heartbeat {
        session: u8,
        line: u8,
        back: u8,
    },
    /// A session ends and a line says so.
    End {
        session: u8,
        line: u8,
    },
    /// A server answers one of the last requests.
    Answer {
        nth: u8,
        shape: Shape,
        from: From,
    },
    /// A well-formed packet that no sender sent, so often.
    Forged {
        session: u8,
        line: u8,
        place: Place,
        kind: Kind,
        times: u8,
    },
    /// Bytes that are no packet.
    Garbage {
        line: u8,
        peer: bool,
        bytes: [u8; 7],
        long: bool,
    },
    Advance {
        by: i8,
    },
    AddLine(u8),
    RemoveLine(u8),
    AddServer {
        server: u8,
        port: u8,
    },
    RemoveServer(u8),
    /// Time goes by and nobody calls.
    Wait(Wait),
    /// Time goes by to where the receiver wants to be called, and it is.
    Timeout,
    /// The receiver is called before it wants to be, perhaps with a time that went back.
    EarlyTimeout {
        back: bool,
    },
    /// The embedding program does what it must not.
    Misuse(Misuse),
}

#[derive(Clone, Copy, Debug, Arbitrary)]
pub(super) struct Data {
    pub(super) session: u8,
    pub(super) line: u8,
    pub(super) back: u8,
    pub(super) count: u8,
    pub(super) lost: u8,
    pub(super) wrap: Wrap,
}

/// How a packet lies in its buffer.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub(super) enum Wrap {
    Exact,
    /// A slice of a buffer of 64 KiB.
    Slice,
    /// With bytes behind the last block.
    Padded(u16),
    /// Without the last byte.
    Truncated,
    /// With another last message than the feed has.
    Altered,
    /// From the sender's address, on a socket that requests are sent from.
    Shared,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Arbitrary)]
pub(super) enum Shape {
    /// The messages that were requested, as many as fit.
    Right,
    /// Only the first few.
    Short,
    /// From before what was asked, and on beyond.
    Repacked,
    /// Not the first, but some of the others.
    Late,
    /// A heartbeat.
    Empty,
    /// The messages that were requested, of another session.
    Foreign,
    /// Without the last byte.
    Truncated,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Arbitrary)]
pub(super) enum From {
    /// The server that was asked.
    Requested,
    /// The same, to the socket of a line.
    RequestedOnLine,
    /// Another server.
    Other,
    /// An address that nobody configured.
    Unknown,
}

#[derive(Clone, Copy, Debug, Arbitrary)]
pub(super) enum Place {
    Near(i8),
    Far(u16),
    Fixed(u64),
    First,
    Last(u8),
}

#[derive(Clone, Copy, Debug, Arbitrary)]
pub(super) enum Kind {
    Data(u8),
    Heartbeat,
    End,
}

#[derive(Clone, Copy, Debug, Arbitrary)]
pub(super) enum Wait {
    Micros(u8),
    Millis(u8),
    Tenths(u8),
    Long,
}

impl Wait {
    pub(super) fn duration(self) -> Duration {
        match self {
            Self::Micros(micros) => Duration::from_micros(micros.into()),
            Self::Millis(millis) => Duration::from_millis((millis % 32).into()),
            Self::Tenths(tenths) => Duration::from_millis(u64::from(tenths % 16) * 100),
            Self::Long => Duration::from_secs(7),
        }
    }
}

#[derive(Clone, Copy, Debug, Arbitrary)]
pub(super) enum Misuse {
    Line,
    Server,
    Address,
    Zero,
}

/// The address of a server, or of anybody, on port 9000 + `port`.
pub(super) fn address(port: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9_000 + u16::from(port))
}

impl Case {
    /// Whether no limit of memory is ever near.
    pub(super) fn is_roomy(&self) -> bool {
        let Config { max_held_bytes, max_held_packets, max_gaps, .. } = self.config;
        max_held_bytes == ROOMY && max_held_packets >= 4_096 && max_gaps >= 4_096 && !self.large
    }
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let world = *u.choose(&[World::Patient, World::Impatient, World::Hostile])?;
        let large = u.ratio(1, 6)?;
        let base = *u.choose(&[1, 1, 1, 1 << 40, u64::MAX - 150])?;
        let history = *u.choose(&[0, 0, 10, 400])?;
        let way = *u.choose(&[Way::Events, Way::Calls])?;
        let config = config(u, world, base, large)?;
        let mut ops = Vec::new();
        while !u.is_empty() && ops.len() < 250 {
            let op = op(u, world, large)?;
            ops.push(op);
        }
        Ok(Self { world, config, base, history, large, way, ops })
    }
}

fn give_up(u: &mut Unstructured<'_>, patient: bool) -> Result<Option<Duration>> {
    let millis = |ms| Some(Duration::from_millis(ms));
    let choice = [millis(5_000), millis(10), millis(200), None];
    Ok(if patient { Some(Duration::from_secs(1 << 24)) } else { *u.choose(&choice)? })
}

fn config(u: &mut Unstructured<'_>, world: World, base: u64, large: bool) -> Result<Config> {
    let millis = |u: &mut Unstructured<'_>, choice: &[u64]| {
        u.choose(choice).map(|ms| Duration::from_millis(*ms))
    };
    let patient = world == World::Patient;
    let reorder_delay = millis(u, &[1, 2, 20])?;
    let min_request_timeout = millis(u, &[1, 10])?;
    let start = match u.int_in_range(0..=5)? {
        0 | 1 => Start::Live,
        2 => Start::At(base.saturating_add(30)),
        3 if world == World::Hostile => Start::At(1),
        _ => Start::At(base),
    };
    Ok(Config {
        session: u.ratio(1, 2)?.then_some(IDS[0]),
        follow: u.arbitrary()?,
        start,
        delivery: if u.arbitrary()? { Delivery::Arrival } else { Delivery::Ordered },
        on_loss: if u.ratio(1, 4)? { OnLoss::Halt } else { OnLoss::Skip },
        lines: (0..u.int_in_range(0..=2)?).map(LineId).collect(),
        servers: (0..u.int_in_range(0..=2)?).map(|id| (ServerId(id), address(id))).collect(),
        accept_answers: if u.ratio(1, 4)? { AcceptAnswers::Any } else { AcceptAnswers::Configured },
        reorder_packets: u.int_in_range(1..=4)?,
        reorder_delay,
        max_reorder_delay: reorder_delay + millis(u, &[0, 5, 50])?,
        line_timeout: millis(u, &[50, 3_000])?,
        quotas: if patient || u.ratio(2, 3)? { Vec::new() } else { quotas(u)? },
        used: Vec::new(),
        max_request: *u.choose(&[65_534, 1, 3, 64])?,
        max_in_flight: *u.choose(&[16, 1, 2, 64])?,
        initial_request_timeout: min_request_timeout + millis(u, &[0, 40, 90])?,
        min_request_timeout,
        max_request_timeout: min_request_timeout + millis(u, &[90, 490])?,
        max_backoff: millis(u, &[1_000, 20, 100])?,
        give_up: give_up(u, patient)?,
        max_attempts: if patient { 255 } else { *u.choose(&[255, 8, 1])? },
        max_stall: if patient || u.ratio(2, 3)? { None } else { Some(millis(u, &[100, 1_000])?) },
        max_held_bytes: if large { 131_072 } else { *u.choose(&[131_072, ROOMY])? },
        max_held_packets: *u.choose(&[16, 64, 4_096])?,
        max_gaps: *u.choose(&[16, 64, 4_096])?,
        max_jump: *u.choose(&[1 << 20, 64, 4])?,
        believe_after: *u.choose(&[3, 1, 2, 8])?,
        quiet: millis(u, &[50, 1, 5])?,
        session_grace: millis(u, &[5_000, 10, 200])?,
        probe_after: millis(u, &[3_000, 100, 10])?,
        seed: u.arbitrary::<u8>()?.into(),
    })
}

/// Some that are used up soon.
fn quotas(u: &mut Unstructured<'_>) -> Result<Vec<Quota>> {
    let quota = |u: &mut Unstructured<'_>| {
        let unit = *u.choose(&[QuotaUnit::Requests, QuotaUnit::Messages])?;
        let most = u.int_in_range(1..=if unit == QuotaUnit::Requests { 8 } else { 60 })?;
        let window = Duration::from_millis(*u.choose(&[1, 30, 400, 10_000])?);
        Ok(Quota { unit, most, window })
    };
    (0..u.int_in_range(1..=3)?).map(|_| quota(u)).collect()
}

/// Frequent steps are drawn often: data and answers, and time that goes by.
fn op(u: &mut Unstructured<'_>, world: World, large: bool) -> Result<Op> {
    let hostile = world == World::Hostile;
    let session = |u: &mut Unstructured<'_>| -> Result<u8> {
        if hostile && u.ratio(1, 4)? { u.int_in_range(0..=2) } else { Ok(0) }
    };
    let line = |u: &mut Unstructured<'_>| u.int_in_range(0..=1);
    Ok(match u.int_in_range(0..=99)? {
        0..=36 => Op::Data(Data {
            session: session(u)?,
            line: line(u)?,
            back: if u.ratio(1, 4)? { u.int_in_range(0..=40)? } else { 0 },
            count: u.int_in_range(1..=if large { 4 } else { 12 })?,
            lost: if u.ratio(1, 3)? { u.int_in_range(1..=20)? } else { 0 },
            wrap: if u.ratio(1, 4)? { u.arbitrary()? } else { Wrap::Exact },
        }),
        37..=39 => Op::Comb {
            line: line(u)?,
            teeth: u.int_in_range(1..=24)?,
            hole: u.int_in_range(1..=3)?,
        },
        40..=44 => Op::Heartbeat {
            session: session(u)?,
            line: line(u)?,
            back: if u.ratio(1, 4)? { u.arbitrary()? } else { 0 },
        },
        45 if u.ratio(1, 3)? => Op::End { session: session(u)?, line: line(u)? },
        45..=64 => Op::Answer {
            nth: u.int_in_range(0..=5)?,
            shape: if u.ratio(1, 2)? { u.arbitrary()? } else { Shape::Right },
            from: if u.ratio(1, 5)? { u.arbitrary()? } else { From::Requested },
        },
        65..=69 if hostile => Op::Forged {
            session: session(u)?,
            line: line(u)?,
            place: u.arbitrary()?,
            kind: u.arbitrary()?,
            times: if u.ratio(1, 3)? { u.int_in_range(2..=4)? } else { 1 },
        },
        65..=66 => Op::Garbage {
            line: line(u)?,
            peer: u.arbitrary()?,
            bytes: u.arbitrary()?,
            long: u.arbitrary()?,
        },
        67 if world != World::Patient => Op::Advance { by: u.arbitrary()? },
        70 => Op::AddLine(line(u)?),
        71 => Op::RemoveLine(line(u)?),
        72 => Op::AddServer { server: line(u)?, port: u.int_in_range(0..=3)? },
        73 => Op::RemoveServer(line(u)?),
        74 => Op::Misuse(u.arbitrary()?),
        75 => Op::EarlyTimeout { back: u.arbitrary()? },
        76..=85 => Op::Wait(u.arbitrary()?),
        _ => Op::Timeout,
    })
}
