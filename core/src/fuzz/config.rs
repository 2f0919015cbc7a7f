//! Configurations: valid ones, whose limits are so small that a fuzzer reaches them, and that no machine takes more
//! than some megabytes.

use arbitrary::{Arbitrary, Result, Unstructured};

use crate::receiver::{LineId, ServerId};
use crate::{
    Duration, Session, cache, demux, grouping, publisher, receiver, retransmitter, transmitter,
};

/// Some nanoseconds, microseconds, or milliseconds, and up to a quarter of a second: never zero.
fn duration(u: &mut Unstructured<'_>) -> Result<Duration> {
    let unit = *u.choose(&[1, 1_000, 1_000_000])?;
    Ok(Duration::from_nanos(unit * u64::from(u.int_in_range(1..=250_u8)?)))
}

/// The same, or zero.
fn pause(u: &mut Unstructured<'_>) -> Result<Duration> {
    if u.ratio(1, 4)? { Ok(Duration::ZERO) } else { duration(u) }
}

fn maybe<T>(
    u: &mut Unstructured<'_>,
    draw: impl FnOnce(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Option<T>> {
    if u.arbitrary()? { draw(u).map(Some) } else { Ok(None) }
}

/// Up to two quotas, and as many uses of them, by few servers; windows up to a quarter of a second.
fn quotas(
    u: &mut Unstructured<'_>,
) -> Result<(alloc::vec::Vec<receiver::Quota>, alloc::vec::Vec<receiver::QuotaUse>)> {
    let quotas = (0..u.int_in_range(0..=2)?).map(|_| {
        let most = u.int_in_range(1..=1_000)?;
        Ok(receiver::Quota { unit: u.arbitrary()?, most, window: duration(u)? })
    });
    let quotas = quotas.collect::<Result<alloc::vec::Vec<_>>>()?;
    let used = quotas.iter().map(|&receiver::Quota { unit, window, .. }| {
        let server = ServerId(u.int_in_range(0..=3)?);
        let count = u.int_in_range(0..=1_000)?;
        Ok(receiver::QuotaUse { server, unit, window, count, age: pause(u)? })
    });
    let used = used.collect::<Result<_>>()?;
    Ok((quotas, used))
}

/// Up to four lines and four servers on the loopback address; quotas now and then; any rules, with timeouts up to a second; 128 to 384 KiB
/// held.
impl<'a> Arbitrary<'a> for receiver::Config {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let reorder_delay = duration(u)?;
        let (quotas, used) = if u.ratio(1, 4)? { quotas(u)? } else { Default::default() };
        let min_request_timeout = duration(u)?;
        let initial_request_timeout = min_request_timeout + pause(u)?;
        let server = |id: u8| (ServerId(id), ([127, 0, 0, 1], 9_000 + u16::from(id)).into());
        Ok(Self {
            session: u.arbitrary()?,
            follow: u.arbitrary()?,
            start: if u.arbitrary()? {
                receiver::Start::Live
            } else {
                receiver::Start::At(u.int_in_range(1..=u64::MAX)?)
            },
            delivery: u.arbitrary()?,
            on_loss: u.arbitrary()?,
            lines: (0..u.int_in_range(0..=4)?).map(LineId).collect(),
            servers: (0..u.int_in_range(0..=4)?).map(server).collect(),
            accept_answers: u.arbitrary()?,
            reorder_packets: u.int_in_range(1..=64)?,
            reorder_delay,
            max_reorder_delay: reorder_delay + pause(u)?,
            line_timeout: duration(u)?,
            quotas,
            used,
            max_request: u.int_in_range(1..=crate::wire::mold::MAX_COUNT)?,
            max_in_flight: u.int_in_range(1..=64)?,
            initial_request_timeout,
            min_request_timeout,
            max_request_timeout: initial_request_timeout + pause(u)?,
            max_backoff: duration(u)?,
            give_up: maybe(u, duration)?,
            max_attempts: u.int_in_range(1..=u8::MAX)?,
            max_stall: maybe(u, duration)?,
            max_held_bytes: u.int_in_range(1 << 17..=3 << 17)?,
            max_held_packets: u.int_in_range(16..=256)?,
            max_gaps: u.int_in_range(16..=256)?,
            max_jump: u.int_in_range(1..=1 << 20)?,
            believe_after: u.int_in_range(1..=8)?,
            quiet: duration(u)?,
            session_grace: duration(u)?,
            probe_after: duration(u)?,
            seed: u.arbitrary()?,
        })
    }
}

/// A ring of 2 to 16 packets of up to 2,000 bytes.
impl<'a> Arbitrary<'a> for transmitter::Config {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            first_sequence: u.int_in_range(1..=u64::MAX)?,
            mtu: u.int_in_range(64..=2_000)?,
            flush_delay: pause(u)?,
            heartbeat_interval: duration(u)?,
            end_interval: duration(u)?,
            end_linger: pause(u)?,
            pace: u.arbitrary()?,
            ring: u.int_in_range(2..=16)?,
            ..Self::small(Session::arbitrary(u)?)
        })
    }
}

impl<'a> Arbitrary<'a> for retransmitter::Remote {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let least = u.int_in_range(1..=1 << 30)?;
        Ok(Self { least, times_line: u.int_in_range(0..=8)?, burst: u.arbitrary()? })
    }
}

/// 256 to 512 KiB of history, answers of up to 2,000 bytes, and up to 16 of everything else.
impl<'a> Arbitrary<'a> for retransmitter::Config {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            session: u.arbitrary()?,
            sent_before: u.arbitrary()?,
            max_sessions: u.int_in_range(2..=16)?,
            mtu: u.int_in_range(64..=2_000)?,
            history_bytes: u.int_in_range(256 << 10..=512 << 10)?,
            archive: u.arbitrary()?,
            max_look_ups: u.int_in_range(1..=16)?,
            max_waiting: u.int_in_range(1..=16)?,
            look_up_timeout: duration(u)?,
            address_rate: u.arbitrary()?,
            total_rate: u.arbitrary()?,
            remote: u.arbitrary()?,
            max_addresses: u.int_in_range(1..=16)?,
            ring: u.int_in_range(1..=16)?,
        })
    }
}

impl<'a> Arbitrary<'a> for publisher::Config {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            transmitter: u.arbitrary()?,
            retransmitter: u.arbitrary()?,
            end_linger: pause(u)?,
        })
    }
}

/// 256 KiB to a megabyte, frames up to 64 KiB.
impl<'a> Arbitrary<'a> for cache::Config {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            max_bytes: u.int_in_range(256 << 10..=1 << 20)?,
            max_frame: u.int_in_range(1..=64 << 10)?,
            window: u.int_in_range(0..=1 << 20)?,
            max_unfinished: u.int_in_range(1..=128 << 10)?,
            max_publishers: u.int_in_range(0..=4)?,
            reserve: u.int_in_range(3 << 10..=16 << 10)?,
        })
    }
}

/// None, or such as a track of some kilobytes reaches.
impl<'a> Arbitrary<'a> for cache::Limits {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            max_age: pause(u)?,
            max_groups: u.int_in_range(0..=16)?,
            max_group_bytes: u.int_in_range(0..=16 << 10)?,
            max_group_frames: u.int_in_range(0..=64)?,
            first_group: u.arbitrary()?,
        })
    }
}

/// Up to 16 of everything, and 64 KiB of payload held.
impl<'a> Arbitrary<'a> for demux::Config {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            max_pending: u.int_in_range(1..=16)?,
            max_pending_per_peer: u.int_in_range(1..=16)?,
            preamble_timeout: duration(u)?,
            hold: pause(u)?,
            max_held: u.int_in_range(0..=16)?,
            max_held_per_acceptor: u.int_in_range(0..=16)?,
            max_held_bytes: u.int_in_range(0..=64 << 10)?,
            max_registrations: u.int_in_range(1..=16)?,
        })
    }
}

/// Groups of up to 16 messages of up to 2,000 bytes, and tracks without limits.
impl<'a> Arbitrary<'a> for grouping::Config {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            epoch: u.arbitrary()?,
            group_size: u.int_in_range(1..=16)?,
            max_message: u.int_in_range(1..=2_000)?,
            publisher: u.arbitrary()?,
            ..Self::small("fuzzed")
        })
    }
}
