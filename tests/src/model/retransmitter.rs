//! A naive retransmitter: lists of what was stored, asked and answered, walked through each time.
//!
//! Which messages the history still holds is asked of the machine itself, and held against the
//! rules: nothing that was not stored, the oldest go first, and none goes before it must.

mod case;
mod play;
mod runs;

pub use case::{Case, Op};

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

use gapless_core::rate::Rate;
use gapless_core::retransmitter::{Config, LookUpId, Stats};
use gapless_core::wire::mold::{HEADER_LEN, LENGTH_LEN, MAX_COUNT, MAX_DATAGRAM};
use gapless_core::{Duration, Instant, Session};

use super::numbers::Numbers;
use case::SESSIONS;

/// Plays a case.
///
/// # Panics
/// The retransmitter differs from the model.
pub fn check(case: &Case) {
    play::Play::new(case).run(&case.ops);
}

/// The length and the bytes of message `sequence` of a session: always the same.
fn message(session: Session, sequence: u64, largest: usize) -> (usize, u8) {
    let seed = sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(session.as_bytes()[0]);
    ((seed >> 32) as usize % (largest + 1), seed as u8)
}

/// A downstream packet.
fn packet(session: Session, first: u64, count: u64, largest: usize) -> Vec<u8> {
    let mut packet = [&session.as_bytes()[..], &first.to_be_bytes()].concat();
    packet.extend((count as u16).to_be_bytes());
    for number in (first..=u64::MAX).take(count as usize) {
        let (len, byte) = message(session, number, largest);
        packet.extend((len as u16).to_be_bytes());
        packet.resize(packet.len() + len, byte);
    }
    packet
}

/// What is held of each session.
#[derive(Clone, Default, Debug)]
struct Held([Numbers; SESSIONS.len()]);

impl Held {
    fn of(&self, session: Session) -> &Numbers {
        &self.0[place(session)]
    }

    fn count(&self) -> u64 {
        self.0.iter().map(Numbers::count).sum()
    }
}

/// Which of the sessions one is.
fn place(session: Session) -> usize {
    SESSIONS.iter().position(|known| *known == session).expect("a session that occurs")
}

/// What a request wants, or a look-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Wanted {
    session: Session,
    first: u64,
    count: u16,
}

/// What must become of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Fate {
    /// It is answered with so many messages.
    Answered(u64),
    /// The archive is asked.
    LookUp(LookUpId, Wanted),
    /// Nothing is said.
    Silence,
}

/// A session that is known.
#[derive(Clone, Copy, Debug)]
struct Known {
    session: Session,
    pinned: bool,
    newest: u64,
}

/// A look-up under way.
#[derive(Clone, Debug)]
struct LookUp {
    id: LookUpId,
    wanted: Wanted,
    deadline: Instant,
    waiting: Vec<SocketAddr>,
}

/// What a retransmitter must know, kept without any economy.
struct Model {
    config: Config,
    /// Bytes of the largest message.
    largest: usize,
    now: Instant,
    /// The one stored into least lately first.
    sessions: Vec<Known>,
    /// What is held, by what the machine says.
    held: Held,
    look_ups: Vec<LookUp>,
    next_id: u64,
    /// Answers with their time and bytes: in all, and by address.
    total: Vec<(Instant, usize)>,
    addresses: BTreeMap<IpAddr, Vec<(Instant, usize)>>,
    stats: Stats,
}

impl Model {
    fn new(case: &Case) -> Self {
        let config = case.config.clone();
        let (pinned, newest) = (true, config.sent_before);
        Self {
            largest: case.largest,
            now: Instant::ZERO,
            sessions: config
                .session
                .map(|session| Known { session, pinned, newest })
                .into_iter()
                .collect(),
            held: Held::default(),
            look_ups: Vec::new(),
            next_id: 0,
            total: Vec::new(),
            addresses: BTreeMap::new(),
            stats: Stats::default(),
            config,
        }
    }

    fn time_passes(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let (overdue, under_way) =
            self.look_ups.drain(..).partition::<Vec<_>, _>(|look_up| look_up.deadline <= self.now);
        self.look_ups = under_way;
        let waited: usize = overdue.iter().map(|look_up| look_up.waiting.len()).sum();
        self.stats.look_ups_timed_out += waited as u64;
    }

    /// A data packet is stored: the session that must be forgotten for it, if any, and whether its
    /// own found a place.
    fn stored(&mut self, session: Session, last: u64) -> (Option<Session>, bool) {
        let mut forgotten = None;
        let mut known = Known { session, pinned: false, newest: 0 };
        if let Some(at) = self.sessions.iter().position(|known| known.session == session) {
            known = self.sessions.remove(at);
        } else if self.sessions.len() == self.config.max_sessions {
            let Some(at) = self.sessions.iter().position(|known| !known.pinned) else {
                return (None, false);
            };
            forgotten = Some(self.sessions.remove(at).session);
        }
        known.newest = known.newest.max(last);
        self.sessions.push(known);
        (forgotten, true)
    }

    /// A request of 20 bytes, for numbers that there are.
    fn asked(&mut self, to: SocketAddr, mut wanted: Wanted) -> Fate {
        let Wanted { session, first, .. } = wanted;
        let Some(known) = self.sessions.iter().find(|known| known.session == session) else {
            self.stats.other_session += 1;
            return Fate::Silence;
        };
        if first > known.newest {
            self.stats.out_of_range += 1;
            return Fate::Silence;
        }
        if !self.admits(to) {
            return Fate::Silence;
        }
        if self.held.of(session).covers(first, first) {
            let last = self.held.of(session).first_missing(first).map_or(u64::MAX, |next| next - 1);
            let count = self.fitting(wanted, last);
            self.answered(to, wanted, count);
            self.stats.answered += 1;
            return Fate::Answered(count);
        }
        if !self.config.archive {
            self.stats.declined += 1;
            return Fate::Silence;
        }
        let until = self.held.of(session).first_there(first).map_or(u64::MAX, |next| next - 1);
        let missing = (until - first).saturating_add(1);
        wanted.count = missing.min(wanted.count.min(MAX_COUNT).into()) as u16;
        let waiting: usize = self.look_ups.iter().map(|look_up| look_up.waiting.len()).sum();
        let full = waiting == self.config.max_waiting;
        let no_more = full || self.look_ups.len() == self.config.max_look_ups;
        match self.look_ups.iter_mut().find(|look_up| look_up.wanted == wanted) {
            Some(same) if same.waiting.contains(&to) => self.stats.repeated += 1,
            Some(_) if full => self.stats.look_ups_full += 1,
            Some(same) => same.waiting.push(to),
            None if no_more => self.stats.look_ups_full += 1,
            None => {
                let (id, waiting) = (LookUpId(self.next_id), vec![to]);
                let deadline = self.now + self.config.look_up_timeout;
                self.look_ups.push(LookUp { id, wanted, deadline, waiting });
                self.next_id += 1;
                self.stats.look_ups += 1;
                return Fate::LookUp(id, wanted);
            }
        }
        Fate::Silence
    }

    /// How many wanted messages, of those up to `last`, fit one answer.
    fn fitting(&self, wanted: Wanted, last: u64) -> u64 {
        let Wanted { session, first, count } = wanted;
        let mut size = HEADER_LEN;
        let numbers = (first..=last).take(count.min(MAX_COUNT).into());
        let fitting = numbers.take_while(|&number| {
            size += LENGTH_LEN + message(session, number, self.largest).0;
            size <= self.config.mtu || (number == first && size <= MAX_DATAGRAM)
        });
        fitting.count() as u64
    }

    /// The bytes of an answer.
    fn packet(&self, wanted: Wanted, count: u64) -> Vec<u8> {
        packet(wanted.session, wanted.first, count, self.largest)
    }

    fn answered(&mut self, to: SocketAddr, wanted: Wanted, count: u64) {
        let len = |number| LENGTH_LEN + message(wanted.session, number, self.largest).0;
        let numbers = (wanted.first..=u64::MAX).take(count as usize);
        let bytes = HEADER_LEN + numbers.map(len).sum::<usize>();
        self.stats.answered_messages += count;
        self.stats.answered_bytes += bytes as u64;
        self.total.push((self.now, bytes));
        let ip = to.ip().to_canonical();
        if !self.addresses.contains_key(&ip) && self.addresses.len() == self.config.max_addresses {
            let rate = self.config.address_rate;
            let rested = self.addresses.iter().map(|(&of, sent)| (rested(rate, sent), of)).min();
            self.addresses.remove(&rested.unwrap().1);
            self.stats.evicted_addresses += 1;
        }
        self.addresses.entry(ip).or_default().push((self.now, bytes));
    }

    /// Whether the rates allow an answer; counted when not.
    fn admits(&mut self, to: SocketAddr) -> bool {
        let ip = to.ip().to_canonical();
        let address = self.addresses.get(&ip);
        if address.is_some_and(|sent| !within(self.now, self.config.address_rate, sent)) {
            self.stats.over_address_rate += 1;
            return false;
        }
        if !within(self.now, self.config.total_rate, &self.total) {
            self.stats.over_total_rate += 1;
            return false;
        }
        true
    }

    fn timeout(&self) -> Option<Instant> {
        self.look_ups.iter().map(|look_up| look_up.deadline).min()
    }
}

/// When as much time has passed as all that was sent takes.
fn rested(rate: Rate, sent: &[(Instant, usize)]) -> Instant {
    let time =
        |bytes: usize| Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate.bytes_per_second);
    sent.iter().fold(Instant::ZERO, |rested, &(at, bytes)| rested.max(at) + time(bytes))
}

/// Whether no stretch of time up to now saw more bytes than a rate allows.
fn within(now: Instant, rate: Rate, sent: &[(Instant, usize)]) -> bool {
    let time = |bytes: u64| Duration::from_nanos(bytes * 1_000_000_000 / rate.bytes_per_second);
    let mut bytes = 0;
    sent.iter().rev().all(|&(at, len)| {
        bytes += len as u64;
        at + time(bytes) <= now + time(rate.burst)
    })
}
