//! Which streams are admitted, and whose turn it is: the limits of a listener in number, in time and in what
//! the system has.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use gapless_core::demux::TOO_MANY;

use super::ended::End;
use super::queue::{Client, Queue};
use super::scarcity::Scarcity;

/// Streams that wait until others have ended, at most.
const WAITING: usize = 1024;
/// How often the time that a stream may be idle it may have its turn, if its client has too many and another
/// one has none.
const TURN: u32 = 10;

/// The limits of a listener.
pub(super) struct Limits {
    /// How many streams to take, if not all.
    pub(super) count: Option<u64>,
    /// Streams that are taken at the same time.
    pub(super) parallel: usize,
    /// How long a client may let a stream wait while others wait for its turn.
    pub(super) stream_timeout: Duration,
}

/// A stream that has its turn, and whose client lets it wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    pub(super) key: u64,
    pub(super) client: Client,
    /// When its turn came.
    pub(super) turn: Instant,
    /// Since when its client lets it wait.
    pub(super) since: Instant,
}

/// Admits streams, and gives them their turns.
pub(super) struct Admission {
    limits: Limits,
    /// Streams whose turn has not come, and who has turns.
    queue: Queue,
    scarcity: Scarcity,
    admitted: u64,
    last_key: u64,
    /// Whether somebody wants an end: no more streams are taken.
    is_draining: bool,
    /// Whether no more may begin: what they go to takes nothing more.
    is_closed: bool,
    /// Whether nobody reads now how streams ended: no more begin.
    pub(super) report_queue_full: bool,
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            queue: Queue::default(),
            scarcity: Scarcity::default(),
            admitted: 0,
            last_key: 0,
            is_draining: false,
            is_closed: false,
            report_queue_full: false,
        }
    }

    /// Takes no more streams; those that were taken go on.
    pub(super) const fn drain(&mut self) {
        self.is_draining = true;
    }

    /// Whether somebody wants an end.
    pub(super) const fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Lets no more streams begin.
    pub(super) const fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether as many streams were taken as should be.
    pub(super) fn reached_count(&self) -> bool {
        self.limits.count.is_some_and(|count| self.admitted >= count)
    }

    /// Streams that were taken.
    #[cfg(test)]
    pub(super) const fn admitted(&self) -> u64 {
        self.admitted
    }

    /// Streams that have their turn, and those that wait.
    #[cfg(test)]
    pub(super) const fn active_and_waiting(&self) -> (usize, usize) {
        (self.queue.active(), self.queue.len())
    }

    /// Makes room for one more stream of a client, where `unreported` ones have ended: the stream that gives
    /// way to it, if one has to.
    ///
    /// # Errors
    /// There is no room; the code to refuse it with.
    pub(super) fn room_for(&self, client: Client, unreported: usize) -> Result<Option<u64>, u64> {
        // Streams that ended while they waited are to be reported, too.
        let unreported = if self.report_queue_full { unreported } else { 0 };
        if self.queue.len() + unreported < WAITING {
            return Ok(None);
        }
        let displaced = self.queue.displaced_by(client.network).filter(|_| unreported == 0);
        displaced.map(Some).ok_or(TOO_MANY)
    }

    /// Admits a stream, which waits for its turn: its key.
    pub(super) fn admit(&mut self, client: Client, is_ready: bool) -> u64 {
        self.admitted += 1;
        self.last_key += 1;
        self.queue.push(self.last_key, client, is_ready);
        self.last_key
    }

    /// A stream that waits can make use of a turn.
    pub(super) fn ready(&mut self, key: u64) {
        self.queue.ready(key);
    }

    /// The stream whose turn comes now.
    pub(super) fn next(&mut self, now: Instant) -> Option<u64> {
        let has_turns = self.queue.active() < self.limits.parallel && self.lets_begin();
        if has_turns && !self.scarcity.is_now(now) { self.queue.next() } else { None }
    }

    const fn lets_begin(&self) -> bool {
        !self.is_closed && !self.report_queue_full
    }

    /// A stream whose turn came could not begin. If what it needs is only used up it waits on, and words for
    /// that are returned now and then.
    ///
    /// # Errors
    /// The error again: it cannot begin later either.
    pub(super) fn put_back(
        &mut self,
        key: u64,
        client: Client,
        error: io::Error,
        now: Instant,
    ) -> io::Result<Option<String>> {
        self.queue.put_back(key, client);
        self.scarcity.note(error, now)
    }

    /// A stream is over that waited or, if it `was_active`, had its turn.
    pub(super) fn remove(&mut self, key: u64, client: Client, was_active: bool) {
        self.queue.remove(key, client, was_active);
    }

    /// A stream that waited is refused after all.
    pub(super) fn dismiss(&mut self, key: u64, client: Client) {
        self.queue.remove(key, client, false);
        self.admitted -= 1;
    }

    /// The stream of these that is to give its turn to one that waits, and as what it ends. It is to be
    /// ended.
    pub(super) fn give_way(
        &mut self,
        now: Instant,
        idle: impl Iterator<Item = Idle>,
    ) -> Option<(u64, End)> {
        let are_out = self.queue.active() >= self.limits.parallel || self.scarcity.is_now(now);
        if !are_out || !self.lets_begin() || !self.queue.is_wanted() {
            return None;
        }
        let mut idle: Vec<Idle> = idle.collect();
        let found = match self.longest_idle(now, &mut idle) {
            Some(key) => (key, End::Idle),
            None => (self.longest_of_too_many(now, &idle)?, End::TurnOver),
        };
        self.scarcity.clear();
        Some(found)
    }

    /// The stream whose client has let it wait for longest, too long, and should rather give its turn to one
    /// that waits.
    fn longest_idle(&self, now: Instant, idle: &mut [Idle]) -> Option<u64> {
        idle.sort_unstable_by_key(|idle| (idle.since, idle.key));
        let mut wanted = BTreeMap::new();
        let is_long =
            |since: Instant| now.saturating_duration_since(since) >= self.limits.stream_timeout;
        let mut long = idle.iter().take_while(|idle| is_long(idle.since));
        let found = long.find(|Idle { client, .. }| {
            *wanted.entry(client.connection).or_insert_with(|| self.queue.is_wanted_of(*client))
        });
        found.map(|idle| idle.key)
    }

    /// The stream that is waited for and has had its turn for longest, too long, of a client that has too
    /// many.
    fn longest_of_too_many(&self, now: Instant, idle: &[Idle]) -> Option<u64> {
        let limit = self.limits.stream_timeout.saturating_mul(TURN);
        let long = idle.iter().filter(|idle| {
            now.saturating_duration_since(idle.turn) >= limit
                && self.queue.has_too_many(idle.client)
        });
        long.min_by_key(|idle| (idle.turn, idle.key)).map(|idle| idle.key)
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::Network;
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn client(network: u8, connection: u64) -> Client {
        Client { network: Network::of([10, 0, 0, network].into()), connection }
    }

    fn admission(count: Option<u64>, parallel: usize) -> Admission {
        Admission::new(Limits { count, parallel, stream_timeout: TIMEOUT })
    }

    #[test]
    fn as_many_are_admitted_as_should_be_and_one_that_is_dismissed_does_not_count() {
        let mut admission = admission(Some(2), 1);
        let first = admission.admit(client(1, 1), true);
        assert!(!admission.reached_count());
        let second = admission.admit(client(1, 1), true);
        assert!(first != second && admission.reached_count());
        admission.dismiss(second, client(1, 1));
        assert!(!admission.reached_count());
    }

    #[test]
    fn turns_are_given_up_to_a_number_and_none_while_reports_wait() {
        let (mut admission, now) = (admission(None, 1), Instant::now());
        let keys = [0; 2].map(|_| admission.admit(client(1, 1), true));
        admission.report_queue_full = true;
        assert_eq!(admission.next(now), None);
        admission.report_queue_full = false;
        assert_eq!([admission.next(now), admission.next(now)], [Some(keys[0]), None]);
        admission.remove(keys[0], client(1, 1), true);
        assert_eq!(admission.next(now), Some(keys[1]));
    }

    #[test]
    fn a_full_queue_refuses_who_has_most_and_lets_others_displace_one_unless_reports_wait() {
        let mut admission = admission(None, 1);
        let keys = [0; WAITING].map(|_| admission.admit(client(1, 1), true));
        assert_eq!(admission.room_for(client(1, 2), 0), Err(TOO_MANY));
        assert_eq!(admission.room_for(client(2, 2), 1), Ok(Some(keys[WAITING - 1])));
        admission.report_queue_full = true;
        assert_eq!(admission.room_for(client(2, 2), 1), Err(TOO_MANY));
    }

    #[test]
    fn who_is_idle_for_too_long_gives_way_only_while_somebody_waits() {
        let (mut admission, now) = (admission(None, 1), Instant::now());
        let key = admission.admit(client(1, 1), true);
        assert_eq!(admission.next(now), Some(key));
        let idle = [Idle { key, client: client(1, 1), turn: now, since: now }];
        let late = now + TIMEOUT;
        assert!(admission.give_way(late, idle.into_iter()).is_none());
        admission.admit(client(2, 2), true);
        assert!(admission.give_way(now, idle.into_iter()).is_none());
        let way = admission.give_way(late, idle.into_iter());
        assert!(matches!(way, Some((given, End::Idle)) if given == key), "{way:?}");
    }

    #[test]
    fn what_is_used_up_is_reported_and_ends_no_stream() {
        use rustix::io::Errno;
        let (mut admission, now) = (admission(None, 2), Instant::now());
        let key = admission.admit(client(1, 1), true);
        admission.next(now);
        let words = admission.put_back(key, client(1, 1), Errno::MFILE.into(), now).unwrap();
        assert!(words.is_some_and(|words| words.contains("ulimit -n")));
        assert_eq!(admission.next(now), None);
        let later = now + TIMEOUT;
        assert_eq!(admission.next(later), Some(key));
        assert!(admission.put_back(key, client(1, 1), Errno::NOENT.into(), later).is_err());
    }
}
