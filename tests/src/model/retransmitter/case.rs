//! Random cases: configurations, and what happens.

use arbitrary::{Arbitrary, Result, Unstructured};
use gapless_core::rate::Rate;
use gapless_core::retransmitter::{Config, Remote};
use gapless_core::{Duration, Session};

/// The most that happens in a case: the model looks back at all of it each time.
const MOST_OPS: usize = 300;

/// The sessions that occur.
pub(super) const SESSIONS: [Session; 3] =
    [Session::new(*b"A         "), Session::new(*b"B         "), Session::new(*b"C         ")];

/// One thing that happens. Sessions, peers and look-ups are counted from 0, numbers from the first
/// of the case.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// So many packets of so many messages behind what was stored last, as they are sent.
    Feed {
        /// The session.
        session: u8,
        /// How many packets.
        packets: u8,
        /// Messages in each.
        count: u8,
    },
    /// So many packets of so many messages, of all sessions in turn.
    InTurn {
        /// How many packets of each.
        packets: u8,
        /// Messages in each.
        count: u8,
    },
    /// A packet anywhere.
    Store {
        /// The session.
        session: u8,
        /// Its first number.
        first: u16,
        /// Its messages.
        count: u8,
    },
    /// So many packets of one message each, with a hole behind each.
    Strays {
        /// The session.
        session: u8,
        /// The first number.
        first: u16,
        /// How many.
        packets: u8,
    },
    /// A packet of no messages, a truncated one, or one larger than UDP carries.
    StoreNothing(u8),
    /// A request.
    Request {
        /// The requester.
        peer: u8,
        /// The session.
        session: u8,
        /// The first wanted message.
        first: u16,
        /// How many are wanted.
        count: u16,
    },
    /// A request for what was stored last, going back so many.
    RequestBack {
        /// The requester.
        peer: u8,
        /// The session.
        session: u8,
        /// How far back.
        back: u16,
        /// How many are wanted.
        count: u16,
    },
    /// A datagram of so many bytes that is no request, or asks for nothing.
    Nonsense(u8),
    /// The archive answers a look-up, from so many messages before the wanted one on.
    Found {
        /// Which look-up of those under way.
        nth: u8,
        /// How many messages before the wanted one.
        before: u8,
        /// How many in all.
        count: u8,
    },
    /// The archive has nothing.
    NotFound(u8),
    /// So many microseconds pass.
    Wait(u32),
    /// The next timeout comes.
    Timeout,
    /// From now on answers are held outside, or no longer are.
    Hold(bool),
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        // The first session is the busiest.
        let session = u.int_in_range(0..=8)? / 3 % 3;
        let session = if u.ratio(1, 2)? { 0 } else { session };
        let peer = u.int_in_range(0..=4)?;
        let first = u.int_in_range(0..=600)?;
        let count = if u.ratio(1, 8)? { u.arbitrary()? } else { u.int_in_range(1..=200)? };
        Ok(match u.int_in_range(0..=43)? {
            0..=8 => Self::Feed {
                session,
                packets: u.int_in_range(1..=12)?,
                count: u.int_in_range(1..=60)?,
            },
            9 => Self::Strays { session, first, packets: u.int_in_range(1..=120)? },
            10..=13 => Self::Store { session, first, count: u.int_in_range(1..=80)? },
            14 => Self::StoreNothing(u.int_in_range(0..=2)?),
            15..=19 => Self::Request { peer, session, first, count },
            20..=27 => Self::RequestBack { peer, session, back: first, count },
            28 => Self::Nonsense(u.int_in_range(0..=24)?),
            29..=32 => Self::Found {
                nth: u.int_in_range(0..=4)?,
                before: u.int_in_range(0..=5)?,
                count: u.int_in_range(1..=60)?,
            },
            33..=34 => Self::NotFound(u.int_in_range(0..=4)?),
            35 if u.ratio(1, 4)? => Self::Wait(u.int_in_range(1..=130)? * 1_000_000),
            35..=36 => Self::Wait(u.int_in_range(0..=20_000)?),
            37..=38 => Self::Timeout,
            39 => Self::Hold(true),
            41..=43 => Self::InTurn {
                packets: u.int_in_range(1..=20)?,
                count: *u.choose(&[1, 1, 2, 10, 50])?,
            },
            _ => Self::Hold(false),
        })
    }
}

/// A random case: a configuration, the numbers and sizes of messages, and what happens.
#[derive(Clone, Debug)]
pub struct Case {
    pub(super) config: Config,
    /// The number that numbers are counted from.
    pub(super) base: u64,
    /// Bytes of the largest message.
    pub(super) largest: usize,
    pub(super) ops: Vec<Op>,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let plenty = Rate { bytes_per_second: 1_000_000_000, burst: 1 << 30 };
        let scarce = Rate { bytes_per_second: 1_000_000, burst: 4_000 };
        let slow = Remote { least: 500_000, times_line: 0, burst: 2_000 };
        let as_lines = Remote { least: 10_000, times_line: 3, burst: 3_000 };
        let pinned = u.arbitrary()?;
        let config = Config {
            session: if pinned { Some(SESSIONS[0]) } else { None },
            sent_before: if pinned { *u.choose(&[0, 300])? } else { 0 },
            max_sessions: *u.choose(&[1, 2, 3])?,
            mtu: *u.choose(&[64, 1472, 65_507])?,
            history_bytes: 256 << 10,
            archive: u.arbitrary()?,
            max_look_ups: *u.choose(&[1, 3])?,
            max_waiting: *u.choose(&[1, 5])?,
            look_up_timeout: Duration::from_millis(5),
            address_rate: *u.choose(&[plenty, plenty, scarce])?,
            total_rate: *u.choose(&[plenty, plenty, scarce])?,
            max_addresses: *u.choose(&[1, 2, 10])?,
            ring: *u.choose(&[1, 4])?,
            remote: *u.choose(&[None, Some(slow), Some(as_lines)])?,
        };
        let base = if config.sent_before > 0 { 1 } else { *u.choose(&[1, u64::MAX - 4_000])? };
        let largest = *u.choose(&[0, 10, 60, 1_000])?;
        // Not a `Vec` by `arbitrary`, which would end at every second byte of random input.
        let ops = std::iter::from_fn(|| (!u.is_empty()).then(|| Op::arbitrary(u)));
        let ops = ops.take(MOST_OPS).collect::<Result<_>>()?;
        Ok(Self { config, base, largest, ops })
    }
}
