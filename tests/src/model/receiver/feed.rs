//! The sender's side of a random case: sessions whose payloads follow from session and number, and
//! the packets that carry them.

use gapless_core::Session;
use gapless_core::wire::mold;

/// How many sessions a case knows.
pub(super) const SESSIONS: usize = 3;

/// Their ids; the last is not ASCII.
pub(super) const IDS: [Session; SESSIONS] =
    [Session::new(*b"FIRST     "), Session::new(*b"SECOND    "), Session::new(*b"TH\xffRD\0    ")];

/// The messages that were published.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    /// The number of each session's first message.
    bases: [u64; SESSIONS],
    /// How many messages each session has so far.
    published: [u64; SESSIONS],
    ended: [bool; SESSIONS],
    large: bool,
}

impl Feed {
    /// The first session begins at `base`, the others at 1. `large` messages fill a packet each.
    pub(super) fn new(base: u64, large: bool) -> Self {
        Self { bases: [base, 1, 1], published: [0; SESSIONS], ended: [false; SESSIONS], large }
    }

    /// Publishes up to `count` more messages, as many as there are numbers; none after the end.
    pub(super) fn publish(&mut self, session: usize, count: u64) {
        if !self.ended[session] {
            let left = (u64::MAX - self.bases[session]).saturating_add(1) - self.published[session];
            self.published[session] += count.min(left);
        }
    }

    /// Ends a session, unless it has the last number there can be: no end could speak of that.
    pub(super) fn end(&mut self, session: usize) {
        self.ended[session] = self.last(session) != Some(u64::MAX);
    }

    pub(super) fn has_ended(&self, session: usize) -> bool {
        self.ended[session]
    }

    /// The number of the first message.
    pub(super) fn base(&self, session: usize) -> u64 {
        self.bases[session]
    }

    /// The last message there is.
    pub(super) fn last(&self, session: usize) -> Option<u64> {
        self.published[session].checked_sub(1).map(|index| self.bases[session] + index)
    }

    /// The number in heartbeats: the next one, or the last there can be.
    pub(super) fn next(&self, session: usize) -> u64 {
        self.last(session).map_or(self.bases[session], |last| last.saturating_add(1))
    }

    /// A packet of the published messages of `first..first + count`; `None` when there are none.
    pub(super) fn packet(&self, session: usize, first: u64, count: u64) -> Option<Vec<u8>> {
        let first = first.max(self.bases[session]);
        let last = self.last(session)?.min(first.checked_add(count.checked_sub(1)?)?);
        (first <= last).then(|| packet(IDS[session], first, last - first + 1, self.large))
    }

    /// The payload of a message, published or not.
    pub(super) fn payload(&self, session: Session, sequence: u64) -> Vec<u8> {
        payload(session, sequence, self.large)
    }

    /// A well-formed packet of messages, published or not, that fits a datagram.
    pub(super) fn forged(&self, session: Session, first: u64, count: u64) -> Vec<u8> {
        let count = count.min((u64::MAX - first).saturating_add(1));
        packet(session, first, count, self.large)
    }
}

/// A packet without messages: a heartbeat or an end.
#[must_use]
pub fn bare(session: Session, sequence: u64, count: u16) -> Vec<u8> {
    mold::Header { session, sequence, count }.to_bytes().to_vec()
}

/// A packet of as many of the messages as fit a datagram.
#[must_use]
pub fn packet(session: Session, first: u64, count: u64, large: bool) -> Vec<u8> {
    let mut bytes = bare(session, first, 0);
    let mut written = 0_u16;
    for sequence in (first..=u64::MAX).take(count as usize) {
        let payload = payload(session, sequence, large);
        if bytes.len() + mold::LENGTH_LEN + payload.len() > mold::MAX_DATAGRAM {
            break;
        }
        bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&payload);
        written += 1;
    }
    bytes[18..20].copy_from_slice(&written.to_be_bytes());
    bytes
}

/// The payload of a message: follows from session and number. `large` ones have 1,000 bytes and more, the
/// others fewer than 20.
#[must_use]
pub fn payload(session: Session, sequence: u64, large: bool) -> Vec<u8> {
    let id =
        session.as_bytes().iter().fold(7_u64, |id, byte| id.wrapping_mul(31) + u64::from(*byte));
    let mut hash = (id ^ sequence).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    hash ^= hash >> 29;
    let len = if large { 1_000 + hash % 3_000 } else { hash % 20 };
    // Not byte by byte: fuzzers watch every step of a loop, and payloads are most of what is made.
    let mut payload = hash.to_le_bytes().repeat(len.div_ceil(8) as usize);
    payload.truncate(len as usize);
    payload
}
