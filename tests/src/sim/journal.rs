//! Journals of nodes, kept in memory: a machine in the network is recorded where somebody wants to
//! play its run again.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use gapless_core::Machine;
use gapless_core::journal::{Journaled, Sink, recorder};

/// The journal of a node: clones share it, and it outlives the node.
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
pub(super) type Recorder<M> = gapless_core::journal::Recorder<M, Journal>;

/// A machine; the so-manieth in the journal of its node.
///
/// # Panics
/// When the configuration is refused.
pub(super) fn recorder_of<M: Journaled>(
    machine: M::Config,
    journal: Option<&(Journal, u16)>,
) -> Recorder<M> {
    let id = journal.map_or(0, |(_, id)| *id);
    let sink = journal.map(|(journal, _)| journal.clone());
    Recorder::new(recorder::Config { machine, id, sink, commands: true })
        .unwrap_or_else(|error| panic!("a plan's configuration is valid: {error}"))
}
