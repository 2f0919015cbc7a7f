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
use gapless_core::retransmitter::{Config, LookUpId, Remote, Stats};
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

/// The messages that are held of each session.
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

/// The messages that a request wants, or a look-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Wanted {
    session: Session,
    first: u64,
    count: u16,
}

/// The expected fate of a request.
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
struct KnownSession {
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

/// The naive model of a retransmitter.
struct Model {
    config: Config,
    /// Bytes of the largest message.
    largest: usize,
    now: Instant,
    /// The one stored into least lately first.
    sessions: Vec<KnownSession>,
    /// The messages that are held, according to the machine.
    held: Held,
    look_ups: Vec<LookUp>,
    next_id: u64,
    /// Answers, and how long each takes: in all, to other machines, and by address.
    total: Vec<(Instant, Duration)>,
    all_remote: Vec<(Instant, Duration)>,
    addresses: BTreeMap<IpAddr, Vec<(Instant, Duration)>>,
    /// Packets that were sent on the lines, and their bytes.
    sent: Vec<(Instant, usize)>,
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
                .map(|session| KnownSession { session, pinned, newest })
                .into_iter()
                .collect(),
            held: Held::default(),
            look_ups: Vec::new(),
            next_id: 0,
            total: Vec::new(),
            all_remote: Vec::new(),
            sent: Vec::new(),
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
        let mut known = KnownSession { session, pinned: false, newest: 0 };
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
    fn on_request(&mut self, to: SocketAddr, mut wanted: Wanted) -> Fate {
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
        let ip = to.ip().to_canonical();
        let time = |rate| (self.now, time(rate, bytes as u64));
        let (in_all, to_one) = (time(self.config.total_rate), time(self.rate_of(ip)));
        self.total.push(in_all);
        if let Some(rate) = self.remote_of(ip).map(|remote| self.all_remote(remote)) {
            self.all_remote.push((self.now, self::time(rate, bytes as u64)));
        }
        if !self.addresses.contains_key(&ip) && self.addresses.len() == self.config.max_addresses {
            let rested = self.addresses.iter().map(|(&of, sent)| (rested(sent), of)).min();
            self.addresses.remove(&rested.unwrap().1);
            self.stats.evicted_addresses += 1;
        }
        self.addresses.entry(ip).or_default().push(to_one);
    }

    /// Whether the rates allow an answer; counted when not.
    fn admits(&mut self, to: SocketAddr) -> bool {
        let ip = to.ip().to_canonical();
        let address = self.addresses.get(&ip);
        if address.is_some_and(|sent| !within(self.now, self.rate_of(ip), sent)) {
            self.stats.over_address_rate += 1;
            return false;
        }
        let remote = self.remote_of(ip).map(|remote| self.all_remote(remote));
        if !within(self.now, self.config.total_rate, &self.total)
            || remote.is_some_and(|rate| !within(self.now, rate, &self.all_remote))
        {
            self.stats.over_total_rate += 1;
            return false;
        }
        true
    }

    /// The limit of an address of another machine.
    fn remote_of(&self, ip: IpAddr) -> Option<Remote> {
        self.config.remote.filter(|_| !ip.is_loopback())
    }

    /// How fast an address is answered.
    fn rate_of(&self, ip: IpAddr) -> Rate {
        let any = self.config.address_rate;
        self.remote_of(ip).map_or(any, |remote| Rate {
            bytes_per_second: any.bytes_per_second.min(self.one_remote(remote)),
            burst: any.burst.min(remote.burst),
        })
    }

    /// Bytes a second for one address of another machine.
    fn one_remote(&self, remote: Remote) -> u64 {
        let (mut second, mut bytes, mut most) = (Instant::ZERO, 0, 0);
        let minute = |at: Instant| at.as_nanos() / 60_000_000_000;
        for &(at, len) in &self.sent {
            if at.since(second) >= Duration::from_secs(1) {
                (second, bytes) = (at, 0);
            }
            bytes += len as u64;
            if minute(at) + 1 >= minute(self.now) {
                most = most.max(bytes);
            }
        }
        remote.least.max(most * u64::from(remote.times_line))
    }

    /// How fast all addresses of other machines are answered.
    fn all_remote(&self, remote: Remote) -> Rate {
        let bytes_per_second = self.one_remote(remote) * 10;
        Rate { bytes_per_second, burst: remote.burst * 10 }
    }

    fn timeout(&self) -> Option<Instant> {
        self.look_ups.iter().map(|look_up| look_up.deadline).min()
    }
}

/// How long so many bytes take.
fn time(rate: Rate, bytes: u64) -> Duration {
    Duration::from_nanos((bytes * 1_000_000_000).div_ceil(rate.bytes_per_second))
}

/// When as much time has passed as all that was sent takes.
fn rested(sent: &[(Instant, Duration)]) -> Instant {
    sent.iter().fold(Instant::ZERO, |rested, &(at, time)| rested.max(at) + time)
}

/// Whether no stretch of time up to now saw more than a rate allows.
fn within(now: Instant, rate: Rate, sent: &[(Instant, Duration)]) -> bool {
    let mut taken = Duration::ZERO;
    sent.iter().rev().all(|&(at, time)| {
        taken += time;
        at + taken <= now + self::time(rate, rate.burst)
    })
}
