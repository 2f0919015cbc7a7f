//! The accounts of a node's output, session by session. The ledger only keeps accounts; whether they are as
//! they should be is for the checkers to say.

use std::collections::{BTreeMap, BTreeSet};

use gapless_core::Session;

use super::trace::Fact;

/// The numbers that were delivered of one session.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Number of the first message that it should have.
    pub first: u64,
    /// Everything before this is settled: delivered, lost, or not wanted.
    pub next: u64,
    /// How many messages were delivered.
    pub delivered: u64,
    /// The losses, in the order in which they were reported.
    pub lost: Vec<(u64, u64)>,
    /// How it ended: one past the last number.
    pub ended: Option<u64>,
    /// Open gaps: the first number, with the last.
    pub gaps: BTreeMap<u64, u64>,
    /// Settled ahead of `next`: first and last.
    ahead: BTreeMap<u64, u64>,
}

impl Account {
    /// Whether any message of a range is settled.
    #[must_use]
    pub fn is_settled(&self, first: u64, last: u64) -> bool {
        let before = self.ahead.range(..=last).next_back();
        first < self.next || before.is_some_and(|(_, &before)| before >= first)
    }

    fn settle(&mut self, first: u64, last: u64) {
        self.ahead.insert(first, last);
        self.join();
    }

    /// Numbers that are settled right behind `next` become part of it.
    fn join(&mut self) {
        while let Some(entry) = self.ahead.first_entry().filter(|entry| *entry.key() <= self.next) {
            self.next = self.next.max(entry.remove() + 1);
        }
    }

    fn advance(&mut self, next: u64) {
        self.next = self.next.max(next);
        self.join();
        self.gaps.retain(|_, &mut last| last >= next);
    }
}

/// The accounts of everything that a node heard and said.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By session.
    pub accounts: BTreeMap<Session, Account>,
    /// A machine was made that is to go on with this session.
    pub resuming: Option<Session>,
    /// The numbers of each session that arrived at this machine, by whatever way.
    heard: BTreeMap<Session, BTreeSet<u64>>,
    /// The highest number of each session that arrived other than as an answer.
    known: BTreeMap<Session, u64>,
}

impl Ledger {
    /// Whether a session ended.
    #[must_use]
    pub fn ended(&self, session: Session) -> bool {
        self.accounts.get(&session).is_some_and(|account| account.ended.is_some())
    }

    /// One past what is settled of a session without a hole; zero when it did not start.
    #[must_use]
    pub fn next(&self, session: Session) -> u64 {
        self.accounts.get(&session).map_or(0, |account| account.next)
    }

    /// Whether a message arrived, by whatever way.
    #[must_use]
    pub fn heard(&self, session: Session, number: u64) -> bool {
        self.heard.get(&session).is_some_and(|numbers| numbers.contains(&number))
    }

    /// The highest number of a session that arrived other than as an answer; zero when none did.
    #[must_use]
    pub fn highest_known(&self, session: Session) -> u64 {
        self.known.get(&session).copied().unwrap_or(0)
    }

    /// Puts a fact on the accounts.
    pub(super) fn take(&mut self, fact: &Fact) {
        match *fact {
            Fact::Born { resumes: None } => *self = Self::default(),
            Fact::Born { resumes: Some((session, _)) } => {
                self.resuming = Some(session);
                self.heard.clear();
                self.known.clear();
                // A checkpoint says nothing of a session that was to follow.
                self.accounts.retain(|&of, account| of == session || account.ended.is_some());
                self.of(session, |account| {
                    // A checkpoint says nothing of what lies ahead: it comes again.
                    let ahead = account.ahead.iter().map(|(first, last)| last - first + 1);
                    account.delivered -= ahead.sum::<u64>();
                    account.ahead.clear();
                    account.gaps.clear();
                    account.ended = None;
                });
            }
            Fact::Heard { session, first, last, answer } => {
                let known = self.known.entry(session).or_default();
                *known = if answer { *known } else { last.max(*known) };
                self.heard.entry(session).or_default().extend(first..=last);
            }
            Fact::Started { session, next } => {
                if self.resuming.take() != Some(session) {
                    let account = Account { first: next, next, ..Account::default() };
                    self.accounts.insert(session, account);
                }
            }
            Fact::Ended { session, next } => {
                self.of(session, |account| {
                    account.ended = Some(next);
                    account.gaps.clear();
                });
            }
            Fact::Delivered { session, first, last, .. } => self.of(session, |account| {
                account.settle(first, last);
                account.delivered += last - first + 1;
            }),
            Fact::Lost { session, first, last } => self.of(session, |account| {
                account.settle(first, last);
                account.lost.push((first, last));
            }),
            Fact::Advanced { session, next } => self.of(session, |account| account.advance(next)),
            Fact::GapOpened { session, first, last } => {
                self.of(session, |account| _ = account.gaps.insert(first, last));
            }
            Fact::GapFilled { session, first, .. } => {
                self.of(session, |account| _ = account.gaps.remove(&first));
            }
            Fact::Revealed { .. }
            | Fact::Useful
            | Fact::Requested { .. }
            | Fact::Memory { .. }
            | Fact::Mended
            | Fact::Over => {}
        }
    }

    fn of(&mut self, session: Session, change: impl FnOnce(&mut Account)) {
        if let Some(account) = self.accounts.get_mut(&session) {
            change(account);
        }
    }
}
