//! Journals of nodes, kept in memory: a machine in the network is recorded where somebody wants to
//! play its run again.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use gapless_core::journal::{Journaled, Recorder, Sink, recorder};
use gapless_core::{Instant, Machine};

/// What a node took and gave: clones share it, and it outlives the node.
#[derive(Clone, Debug, Default)]
pub struct Journal(Rc<RefCell<Vec<u8>>>);

impl Journal {
    /// Everything that was written. The last block is there when its node is gone.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.0.borrow().clone()
    }
}

impl Sink for Journal {
    type Error = Infallible;

    fn write(&mut self, block: &[u8]) -> Result<(), Infallible> {
        self.0.borrow_mut().write(block)
    }
}

/// The journals of a run, by the name of the node.
pub type Journals = Vec<(&'static str, Journal)>;

thread_local! {
    /// The journals of the run of this thread that is recorded, if it is.
    static RECORDED: RefCell<Option<Journals>> = const { RefCell::new(None) };
}

/// Runs something with every machine recorded that nodes make meanwhile, on this thread. Journals are
/// whole once their nodes are gone.
pub fn recorded<T>(run: impl FnOnce() -> T) -> (T, Journals) {
    RECORDED.set(Some(Journals::new()));
    let result = run();
    (result, RECORDED.take().unwrap_or_default())
}

/// A journal for a node that is being made, if the run is recorded.
pub(super) fn journal_of(node: &'static str) -> Option<Journal> {
    RECORDED.with_borrow_mut(|journals| {
        let journal = Journal::default();
        journals.as_mut()?.push((node, journal.clone()));
        Some(journal)
    })
}

/// A machine that is recorded, or not.
#[derive(Debug)]
pub(super) enum Recordable<M: Journaled> {
    Plain(M),
    Recorded(Recorder<M, Journal>),
}

impl<M: Journaled> Recordable<M> {
    /// A machine; the so-manieth in the journal of its node.
    ///
    /// # Panics
    /// When the configuration is refused.
    pub(super) fn new(machine: M::Config, journal: Option<&(Journal, u16)>) -> Self {
        let made = match journal {
            None => M::new(machine).map(Self::Plain),
            Some((journal, id)) => {
                let sink = journal.clone();
                let config = recorder::Config { machine, id: *id, sink, commands: true };
                Recorder::new(config).map(Self::Recorded)
            }
        };
        made.unwrap_or_else(|error| panic!("a plan's configuration is valid: {error}"))
    }

    pub(super) const fn machine(&self) -> &M {
        match self {
            Self::Plain(machine) => machine,
            Self::Recorded(recorder) => recorder.machine(),
        }
    }

    pub(super) fn handle(&mut self, now: Instant, event: M::Event<'_>) -> Result<(), M::Error> {
        match self {
            Self::Plain(machine) => machine.handle(now, event),
            Self::Recorded(recorder) => recorder.handle(now, event),
        }
    }

    pub(super) fn call<'a>(&mut self, now: Instant, call: M::Call<'a>) -> M::Answer<'a> {
        match self {
            Self::Plain(machine) => machine.call(now, call),
            Self::Recorded(recorder) => recorder.call(now, call),
        }
    }

    pub(super) fn poll_command(&mut self) -> Option<M::Command> {
        match self {
            Self::Plain(machine) => machine.poll_command(),
            Self::Recorded(recorder) => recorder.poll_command(),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), M::Error> {
        match self {
            Self::Plain(machine) => machine.handle_timeout(now),
            Self::Recorded(recorder) => recorder.handle_timeout(now),
        }
    }
}
