//! The program of a feed, messages and times: planned before the simulation starts, so that every node can
//! know what exists at any time, and what every message says.

use bytes::Bytes;
use gapless_core::wire::mold::PacketWriter;
use gapless_core::{Duration, Instant, Session};

use super::path::Chance;
use super::random::{Random, mix};

/// How a session ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// End-of-session packets replace heartbeats.
    Announced,
    /// Heartbeats go on, until the next session begins.
    Silent,
}

/// One session of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionPlan {
    /// Its id.
    pub session: Session,
    /// When its first packet is sent, at the earliest.
    pub begins: Instant,
    /// How many messages it has.
    pub messages: u64,
    /// The most messages in a packet.
    pub per_packet: u64,
    /// The longest time between packets.
    pub interval: Duration,
    /// Packets after which nothing is sent for `pause`.
    pub pauses: Chance,
    /// How long nothing is sent then.
    pub pause: Duration,
    /// How it ends.
    pub ending: Ending,
}

impl SessionPlan {
    /// Some two thousand messages within a second or so, with a pause now and then.
    pub fn new(random: &mut Random, session: Session) -> Self {
        Self {
            session,
            begins: Instant::from_millis(10),
            messages: random.within(1..=4000),
            per_packet: random.one_of(&[1, 4, 20]),
            interval: random.span(Duration::from_micros(10)..=Duration::from_millis(2)),
            pauses: random.one_of(&[Chance::NEVER, Chance::percent(1)]),
            pause: random.span(Duration::from_millis(1)..=Duration::from_millis(1500)),
            ending: Ending::Announced,
        }
    }
}

/// A packet of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Planned {
    pub(super) at: Instant,
    pub(super) first: u64,
    pub(super) count: u64,
}

/// When a session's packets are sent.
#[derive(Clone, Debug)]
pub(super) struct Timetable {
    pub(super) session: Session,
    pub(super) begins: Instant,
    pub(super) ending: Ending,
    pub(super) packets: Vec<Planned>,
}

impl Timetable {
    fn new(random: &mut Random, plan: &SessionPlan) -> Self {
        let mut packets = Vec::new();
        let (mut at, mut first) = (plan.begins, 1);
        while first <= plan.messages {
            let count = random.within(1..=plan.per_packet).min(plan.messages - first + 1);
            packets.push(Planned { at, first, count });
            first += count;
            at += random.span(Duration::ZERO..=plan.interval);
            if random.happens(plan.pauses) {
                at += plan.pause;
            }
        }
        Self { session: plan.session, begins: plan.begins, ending: plan.ending, packets }
    }

    /// One past the last number of the session.
    pub(super) fn end(&self) -> u64 {
        self.packets.last().map_or(1, |packet| packet.first + packet.count)
    }

    /// When its last packet is sent.
    pub(super) fn last_packet(&self) -> Instant {
        self.packets.last().map_or(self.begins, |packet| packet.at)
    }
}

/// All that a feed sends.
#[derive(Clone, Debug)]
pub struct Program {
    pub(super) timetables: Vec<Timetable>,
}

impl Program {
    /// A program of these sessions, one after the other.
    pub fn new(random: &mut Random, plans: &[SessionPlan]) -> Self {
        Self { timetables: plans.iter().map(|plan| Timetable::new(random, plan)).collect() }
    }

    /// Its sessions in order, each with one past its last number.
    pub fn sessions(&self) -> impl Iterator<Item = (Session, u64)> + '_ {
        self.timetables.iter().map(|timetable| (timetable.session, timetable.end()))
    }

    /// One past the highest number that was sent by then; 1 when there was none.
    #[must_use]
    pub fn edge(&self, session: Session, now: Instant) -> u64 {
        let timetable = self.timetables.iter().find(|timetable| timetable.session == session);
        timetable.map_or(1, |timetable| {
            let sent = timetable.packets.partition_point(|packet| packet.at <= now);
            timetable.packets[..sent].last().map_or(1, |packet| packet.first + packet.count)
        })
    }

    /// When the last packet with messages is sent.
    #[must_use]
    pub fn last_packet(&self) -> Instant {
        self.timetables.last().map_or(Instant::ZERO, Timetable::last_packet)
    }
}

/// A message's payload.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    bytes: [u8; Self::MAX_LEN],
    len: usize,
}

impl Message {
    /// The longest there is.
    pub const MAX_LEN: usize = 56;
}

impl std::ops::Deref for Message {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The payload of message `number` of a session: 0 to [`Message::MAX_LEN`] bytes that no other message
/// says.
#[must_use]
pub fn message(session: Session, number: u64) -> Message {
    let seed = session.as_bytes().iter().fold(number, |seed, &byte| mix(seed ^ u64::from(byte)));
    let mut bytes = [0; Message::MAX_LEN];
    for (index, chunk) in (1_u64..).zip(bytes.chunks_exact_mut(8)) {
        chunk.copy_from_slice(&mix(seed.wrapping_add(index)).to_be_bytes());
    }
    let len = usize::try_from(mix(seed) % (Message::MAX_LEN as u64 + 1)).expect("at most 56");
    Message { bytes, len }
}

/// A data packet: as many of `count` messages as fit `mtu` bytes.
pub(super) fn packet(session: Session, first: u64, count: u64, mtu: usize) -> Bytes {
    let mut buffer = vec![0; mtu];
    let mut writer = PacketWriter::new(&mut buffer, session, first).expect("room for a header");
    for number in first..first.saturating_add(count) {
        if !writer.push(&message(session, number)) {
            break;
        }
    }
    let len = writer.as_bytes().len();
    buffer.truncate(len);
    Bytes::from(buffer)
}
