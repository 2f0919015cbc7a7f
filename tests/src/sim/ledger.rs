//! What a receiver delivered, checked as it comes: every message once, as it was sent, and in ordered
//! delivery in order; what is lost is named, and nothing is silent.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use gapless_core::receiver::{Batch, Command, Delivery, SessionEnd};
use gapless_core::{Instant, Session};

use super::program::message;

/// How many of the last commands a failure shows.
const SHOWN: usize = 40;

/// What was delivered of one session.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Number of the first message that it should have.
    pub first: u64,
    /// Everything before this is settled: delivered, lost, or not wanted.
    pub next: u64,
    /// How many messages were delivered.
    pub delivered: u64,
    /// What was lost, in the order in which it was told.
    pub lost: Vec<(u64, u64)>,
    /// Settled ahead of `next`: first and last.
    ahead: BTreeMap<u64, u64>,
    /// How it ended: one past the last number, and why.
    pub ended: Option<(u64, SessionEnd)>,
}

impl Account {
    fn settle(&mut self, first: u64, last: u64) {
        let before = self.ahead.range(..=last).next_back().map(|(_, &last)| last);
        assert!(
            first >= self.next && before.is_none_or(|before| before < first),
            "{first}..={last} were settled before (next is {})",
            self.next
        );
        self.ahead.insert(first, last);
        while let Some(entry) = self.ahead.first_entry().filter(|entry| *entry.key() == self.next) {
            self.next = entry.remove() + 1;
        }
    }
}

/// The checked account of everything that a receiver said.
#[derive(Clone, Debug)]
pub struct Ledger {
    delivery: Delivery,
    /// By session.
    pub accounts: BTreeMap<Session, Account>,
    /// Open gaps: session and first number, with the last number.
    pub gaps: BTreeMap<(Session, u64), u64>,
    resuming: Option<Session>,
    digest: DefaultHasher,
    shown: VecDeque<String>,
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the last commands:");
            self.shown.iter().for_each(|line| eprintln!("  {line}"));
        }
    }
}

impl Ledger {
    /// An empty account of this kind of delivery.
    #[must_use]
    pub fn new(delivery: Delivery) -> Self {
        Self {
            delivery,
            accounts: BTreeMap::new(),
            gaps: BTreeMap::new(),
            resuming: None,
            digest: DefaultHasher::new(),
            shown: VecDeque::new(),
        }
    }

    /// A digest of everything said so far, times included.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// The account of a session.
    ///
    /// # Panics
    /// When it did not start.
    pub fn account(&mut self, session: Session) -> &mut Account {
        self.accounts.get_mut(&session).unwrap_or_else(|| panic!("{session} did not start"))
    }

    /// Whether a session ended.
    #[must_use]
    pub fn ended(&self, session: Session) -> bool {
        self.accounts.get(&session).is_some_and(|account| account.ended.is_some())
    }

    /// One past what is settled of a session without a hole.
    #[must_use]
    pub fn next(&self, session: Session) -> u64 {
        self.accounts.get(&session).map_or(0, |account| account.next)
    }

    /// A new receiver goes on with a session, from its checkpoint.
    pub fn resumes(&mut self, session: Session) {
        self.account(session).ahead.clear();
        self.gaps.clear();
        self.resuming = Some(session);
    }

    /// The embedding program no longer wants what lies before a number.
    pub fn advances(&mut self, session: Session, next: u64) {
        let account = self.account(session);
        account.next = account.next.max(next);
        account.ahead.retain(|&first, _| first >= next);
        self.gaps.retain(|&(of, _), &mut last| of != session || last >= next);
    }

    /// Takes messages that were delivered.
    ///
    /// # Panics
    /// When they were delivered before, say something else, or are not next in order.
    pub fn batch<B: AsRef<[u8]>>(&mut self, now: Instant, batch: &Batch<B>) {
        self.show(now, &format_args!("{batch:?}"));
        let ordered = self.delivery == Delivery::Ordered;
        let account = self.account(batch.session);
        assert!(account.ended.is_none(), "{batch:?} after the end");
        assert!(
            !ordered || batch.first == account.next,
            "{batch:?} where {} is next",
            account.next
        );
        account.settle(batch.first, batch.last());
        account.delivered += u64::from(batch.count);
        let mut count = 0;
        for (number, bytes) in batch.messages() {
            assert_eq!(*bytes, *message(batch.session, number), "message {number} differs");
            count += 1;
        }
        assert_eq!(batch.count, count, "{batch:?} holds another number of messages");
        assert!(batch.arrival <= now, "{batch:?} arrives later");
    }

    /// Takes a command.
    ///
    /// # Panics
    /// When it contradicts what was said before.
    pub fn command(&mut self, now: Instant, command: &Command) {
        if let Command::Batch(batch) = command {
            return self.batch(now, batch);
        }
        self.show(now, &format_args!("{command:?}"));
        match *command {
            Command::SessionStarted { session, next } if self.resuming == Some(session) => {
                self.resuming = None;
                assert_eq!(self.account(session).next, next, "{session} goes on elsewhere");
            }
            Command::SessionStarted { session, next } => {
                let account = Account { first: next, next, ..Account::default() };
                let known = self.accounts.insert(session, account);
                assert!(known.is_none(), "{session} started twice");
            }
            Command::SessionEnded { session, next, reason } => {
                let account = self.account(session);
                assert_eq!(account.next, next, "{session} ended before everything was settled");
                assert!(account.ended.replace((next, reason)).is_none(), "{session} ended twice");
                self.gaps.retain(|(of, _), _| *of != session);
            }
            Command::Lost { session, first, last } => {
                let ordered = self.delivery == Delivery::Ordered;
                let account = self.account(session);
                assert!(first <= last && account.ended.is_none());
                assert!(!ordered || first == account.next, "lost out of order");
                account.settle(first, last);
                account.lost.push((first, last));
            }
            Command::GapOpened { session, first, last } => {
                assert!(first <= last && !self.ended(session));
                assert!(first >= self.next(session), "a gap before what is next");
                self.gaps.insert((session, first), last);
            }
            Command::GapFilled { session, first, last, by_lines, by_answers, .. } => {
                let opened = self.gaps.remove(&(session, first));
                assert!(opened.is_some_and(|opened| opened >= last), "filled, never opened");
                // What was put off for want of memory was brought too, and dropped.
                assert!(by_lines + by_answers > last - first, "filled by whom?");
            }
            _ => {}
        }
    }

    fn show(&mut self, now: Instant, what: &std::fmt::Arguments<'_>) {
        let line = format!("{now:?} {what}");
        line.hash(&mut self.digest);
        if self.shown.len() == SHOWN {
            self.shown.pop_front();
        }
        self.shown.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gapless_core::receiver::{LineId, Origin};
    use gapless_core::wire::mold::HEADER_LEN;

    use crate::sim::{program::packet, setup::session};

    fn started() -> Ledger {
        let mut ledger = Ledger::new(Delivery::Ordered);
        let session = session("LEDGER");
        ledger.command(Instant::ZERO, &Command::SessionStarted { session, next: 1 });
        ledger
    }

    fn batch(first: u64, count: u16) -> Batch<bytes::Bytes> {
        let session = session("LEDGER");
        Batch {
            session,
            first,
            count,
            bytes: packet(session, first, count.into(), 1400),
            offset: HEADER_LEN,
            arrival: Instant::ZERO,
            origin: Origin::Line(LineId(0)),
            repaired: false,
        }
    }

    #[test]
    fn what_is_delivered_or_lost_moves_the_account_on() {
        let mut ledger = started();
        ledger.batch(Instant::ZERO, &batch(1, 3));
        let session = session("LEDGER");
        ledger.command(Instant::ZERO, &Command::Lost { session, first: 4, last: 6 });
        ledger.batch(Instant::ZERO, &batch(7, 1));
        let account = ledger.account(session);
        assert_eq!((account.next, account.delivered, &account.lost[..]), (8, 4, &[(4, 6)][..]));
    }

    #[test]
    #[should_panic(expected = "where 4 is next")]
    fn a_message_delivered_twice_is_noticed() {
        let mut ledger = started();
        ledger.batch(Instant::ZERO, &batch(1, 3));
        ledger.batch(Instant::ZERO, &batch(3, 1));
    }

    #[test]
    #[should_panic(expected = "where 1 is next")]
    fn a_message_left_out_is_noticed() {
        started().batch(Instant::ZERO, &batch(2, 1));
    }

    #[test]
    #[should_panic(expected = "message 1 differs")]
    fn another_message_under_a_number_is_noticed() {
        let other = batch(9, 1).bytes;
        started().batch(Instant::ZERO, &Batch { bytes: other, ..batch(1, 1) });
    }

    #[test]
    #[should_panic(expected = "settled before")]
    fn a_second_delivery_on_arrival_is_noticed() {
        let mut ledger = started();
        ledger.delivery = Delivery::Arrival;
        ledger.batch(Instant::ZERO, &batch(5, 3));
        ledger.batch(Instant::ZERO, &batch(7, 1));
    }
}
