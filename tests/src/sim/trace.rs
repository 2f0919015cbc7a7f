//! The input and output of a node, as facts in words that fit every machine that receives numbered
//! messages. A node translates its machine's events and commands; checkers judge the facts.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use gapless_core::{Instant, Session};

use super::check::Checker;
use super::ledger::Ledger;

/// How many of the last facts a failure shows.
const SHOWN: usize = 40;

/// Something that a node took, gave, or was told. Ranges of numbers include both ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fact {
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
        /// Whether somebody answered: what lies apart from what was asked proves nothing then.
        answer: bool,
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
        /// The first number that will be delivered or reported as lost.
        next: u64,
    },
    /// A session is over.
    Ended {
        /// The session.
        session: Session,
        /// One past its last number.
        next: u64,
    },
    /// Messages were delivered ([`Trace::deliver`] takes what they say).
    Delivered {
        /// Their session.
        session: Session,
        /// The first number.
        first: u64,
        /// The last number.
        last: u64,
        /// When their datagram arrived.
        arrival: Instant,
    },
    /// Messages were reported as lost.
    Lost {
        /// Their session.
        session: Session,
        /// The first number.
        first: u64,
        /// The last number.
        last: u64,
    },
    /// The embedder no longer wants messages before a number.
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
    Requested {
        /// The number of the server.
        server: u8,
        /// The session.
        session: Session,
        /// The first number.
        first: u64,
        /// How many messages.
        count: u16,
    },
    /// The memory of the machine, while nobody holds a slice of it.
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
    /// The ledger of the node's output.
    pub ledger: Ledger,
    checkers: Vec<Box<dyn Checker>>,
    digest: DefaultHasher,
    shown: VecDeque<(Instant, Fact)>,
}

impl Drop for Trace {
    fn drop(&mut self) {
        let shows = !self.shown.is_empty() && !super::runner::is_muted();
        if shows && std::thread::panicking() {
            eprintln!("the last facts:");
            self.shown.iter().for_each(|(at, fact)| eprintln!("  {at:?} {fact:?}"));
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
    pub fn record(&mut self, now: Instant, fact: Fact) {
        (now, fact).hash(&mut self.digest);
        if !matches!(fact, Fact::Memory { .. }) {
            if self.shown.len() == SHOWN {
                self.shown.pop_front();
            }
            self.shown.push_back((now, fact));
        }
        for checker in &mut self.checkers {
            checker.check(now, &fact, &self.ledger);
        }
        self.ledger.take(&fact);
    }

    /// Takes the fact that messages were delivered, and what each of them says.
    ///
    /// # Panics
    /// As [`Trace::record`].
    pub fn deliver<'a>(
        &mut self,
        now: Instant,
        session: Session,
        messages: impl Iterator<Item = (u64, &'a [u8])>,
        arrival: Instant,
    ) {
        let mut range: Option<(u64, u64)> = None;
        for (number, message) in messages {
            range = Some((range.map_or(number, |(first, _)| first), number));
            for checker in &mut self.checkers {
                checker.check_message(session, number, message);
            }
        }
        let (first, last) = range.expect("one message at least");
        self.record(now, Fact::Delivered { session, first, last, arrival });
    }

    /// A digest of every fact so far and its time.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }
}
