//! What went in and out of a node, as facts in words that fit every machine that receives numbered
//! messages. A node translates its machine's events and commands; checkers judge the facts.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use gapless_core::{Instant, Session};

use super::check::Checker;
use super::ledger::Ledger;

/// How many of the last facts a failure shows.
const SHOWN: usize = 40;

/// Consecutive messages that were handed on.
#[derive(Clone, Copy, Hash)]
pub struct Delivered<'a> {
    /// Their session.
    pub session: Session,
    /// Number of the first.
    pub first: u64,
    /// What they say; one at least.
    pub messages: &'a [&'a [u8]],
    /// When their datagram arrived.
    pub arrival: Instant,
}

impl Delivered<'_> {
    /// Number of the last.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.first + (self.messages.len() as u64 - 1)
    }
}

impl fmt::Debug for Delivered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, first, arrival, .. } = self;
        write!(f, "{session:?} {first}..={} of {arrival:?}", self.last())
    }
}

/// Something that a node took, gave, or was told. Ranges of numbers include both ends.
#[derive(Clone, Copy, Hash, Debug)]
pub enum Fact<'a> {
    /// A machine was made: a new one, or one that goes on with a session at a number.
    Born {
        /// Where an earlier machine stood.
        resumes: Option<(Session, u64)>,
    },
    /// Messages arrived, by whatever way.
    Heard {
        /// Their session.
        session: Session,
        /// The first number.
        first: u64,
        /// The last number.
        last: u64,
    },
    /// A packet without messages said that these exist.
    Revealed {
        /// Their session.
        session: Session,
        /// The last number there is.
        last: u64,
    },
    /// An answer brought something new.
    Useful,
    /// A session began.
    Started {
        /// The session.
        session: Session,
        /// The first number that will be delivered or told as lost.
        next: u64,
    },
    /// A session is over.
    Ended {
        /// The session.
        session: Session,
        /// One past its last number.
        next: u64,
    },
    /// Messages were delivered.
    Delivered(Delivered<'a>),
    /// Messages were told as lost.
    Lost {
        /// Their session.
        session: Session,
        /// The first number.
        first: u64,
        /// The last number.
        last: u64,
    },
    /// Whoever embeds the machine no longer wants what lies before a number.
    Advanced {
        /// The session.
        session: Session,
        /// The number.
        next: u64,
    },
    /// Messages are missing.
    GapOpened {
        /// Their session.
        session: Session,
        /// The first number.
        first: u64,
        /// The last number.
        last: u64,
    },
    /// Messages are missing no more, and were not lost.
    GapFilled {
        /// Their session.
        session: Session,
        /// The first number, as when the gap opened.
        first: u64,
        /// The last number, or less where the far end was put off.
        last: u64,
        /// How many messages arrived for it.
        brought: u64,
    },
    /// Something was asked for.
    Asked {
        /// The session.
        session: Session,
        /// The first number.
        first: u64,
        /// How many messages.
        count: u16,
    },
    /// What the machine uses, while nobody holds a slice of it.
    Memory {
        /// The bytes that it tells.
        used: usize,
        /// The bytes that its configuration allows.
        bound: usize,
        /// The bytes that it allocated or was given and did not free, where that is known.
        allocated: Option<usize>,
    },
    /// Nothing goes wrong in the network and at the other nodes from now on.
    Mended,
    /// The run is over.
    Over,
}

/// The facts of one node so far: judged, counted, and the last of them kept to be shown.
#[derive(Debug)]
pub struct Trace {
    /// What the node said, added up.
    pub ledger: Ledger,
    checkers: Vec<Box<dyn Checker>>,
    digest: DefaultHasher,
    shown: VecDeque<String>,
}

impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() && !super::runner::is_muted() {
            eprintln!("the last facts:");
            self.shown.iter().for_each(|line| eprintln!("  {line}"));
        }
    }
}

impl Trace {
    /// A trace that these watch.
    #[must_use]
    pub fn new(checkers: Vec<Box<dyn Checker>>) -> Self {
        let (ledger, digest) = (Ledger::default(), DefaultHasher::new());
        Self { ledger, checkers, digest, shown: VecDeque::new() }
    }

    /// Another one watches from now on.
    pub fn watch(&mut self, checker: impl Checker + 'static) {
        self.checkers.push(Box::new(checker));
    }

    /// Takes a fact.
    ///
    /// # Panics
    /// When it breaks what one of the checkers watches over.
    pub fn tell(&mut self, now: Instant, fact: &Fact<'_>) {
        (now, fact).hash(&mut self.digest);
        if !matches!(fact, Fact::Memory { .. }) {
            if self.shown.len() == SHOWN {
                self.shown.pop_front();
            }
            self.shown.push_back(format!("{now:?} {fact:?}"));
        }
        for checker in &mut self.checkers {
            checker.check(now, fact, &self.ledger);
        }
        self.ledger.take(fact);
    }

    /// A digest of every fact so far and its time.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }
}
