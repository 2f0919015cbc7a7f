//! The view of a replay: where it stands, what happens, what is wrong, and how a machine is left.

use alloc::rc::Rc;
use alloc::string::String;
use core::any::Any;
use core::cell::RefCell;
use core::fmt::Debug;

use super::Journaled;
use super::block::Damage;
use super::field::Malformed;
use crate::Instant;
use crate::display::display;

/// One thing that happened, or is different.
#[derive(Clone, Copy, Debug)]
pub enum ReplayStep<'a> {
    /// The machine was made. Event number 0.
    Made,
    /// It was given an event.
    Event(&'a dyn Debug),
    /// It was given a timeout.
    Timeout,
    /// It was called directly.
    Call(&'a dyn Debug),
    /// The result of the call, in the replay.
    Answer(&'a dyn Debug),
    /// It gave a command, in the replay.
    Command(&'a dyn Debug),
    /// The journal has another answer or command at this place, or one more.
    Recorded(&'a dyn Debug),
    /// Everything that followed from the making, event, timeout or call has been given.
    EventDigest {
        /// The digest of all until here, as the journal has it.
        recorded: u32,
        /// The same of the replay.
        replayed: u32,
        /// The machine's next timeout in the replay, which is in the digest too.
        timeout: Option<Instant>,
    },
}

/// One thing that happens to a machine of kind `M`, as it is: for [`Replayer::watching`](super::Replayer::watching).
pub enum Step<'s, 'a, M: Journaled> {
    /// It was made.
    Made,
    /// It is given an event next.
    Event(&'s M::Event<'a>),
    /// It is given a timeout next.
    Timeout,
    /// It is called directly next.
    Call(&'s M::Call<'a>),
    /// The result of the call.
    Answer(&'s M::Answer<'a>),
    /// It gave a command.
    Command(&'s M::Command),
    /// Everything that followed from the making, event, timeout or call has been given.
    Done,
}

impl<'s, M: Journaled> Step<'s, '_, M> {
    /// It for those who see machines of all kinds, but for the end, of which they see more.
    pub(super) fn printable(&self) -> Option<ReplayStep<'s>> {
        match *self {
            Self::Made => Some(ReplayStep::Made),
            Self::Event(event) => Some(ReplayStep::Event(event)),
            Self::Timeout => Some(ReplayStep::Timeout),
            Self::Call(call) => Some(ReplayStep::Call(call)),
            Self::Answer(answer) => Some(ReplayStep::Answer(answer)),
            Self::Command(command) => Some(ReplayStep::Command(command)),
            Self::Done => None,
        }
    }
}

/// Somebody's own code, which is handed every step of the machines of a kind.
pub(super) type Watcher<'o, M> = Rc<RefCell<dyn FnMut(Place, &M, Step<'_, '_, M>) + 'o>>;

/// A place in a journal: which machine, which of its events, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The machine's id.
    pub machine: u16,
    /// Its name.
    pub name: &'static str,
    /// Which of its events, timeouts and calls, counted from 1; 0 is its making.
    pub event: u64,
    /// The time that came with it.
    pub now: Instant,
}

/// Sees everything that happens in a replay.
pub trait Observer {
    /// This happens now.
    fn happens(&mut self, place: Place, step: ReplayStep<'_>);
}

/// Looks away.
impl Observer for () {
    fn happens(&mut self, _place: Place, _happening: ReplayStep<'_>) {}
}

/// Why a replay ended before its journal.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// A block is damaged.
    #[error(transparent)]
    Block(#[from] Damage),
    /// A block is missing or out of place.
    #[error("block {found} of machine {machine} where block {expected} is next")]
    OutOfOrder {
        /// The machine.
        machine: u16,
        /// The number that its next block should have had.
        expected: u32,
        /// The number that this one has.
        found: u32,
    },
    /// A block's records are no records.
    #[error("a record that is none: {0}")]
    Record(#[from] Malformed),
    /// A record stands where it must not.
    #[error("a record of a {kind} does not belong here")]
    Misplaced {
        /// The kind of record.
        kind: &'static str,
    },
    /// A machine that this replayer does not know.
    #[error("no machine is called {name:?}")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// A later version of a machine's encoding.
    #[error("version {version} of {name}; this program knows 1 to {known}")]
    Version {
        /// The machine.
        name: &'static str,
        /// The version.
        version: u16,
        /// The last that is known.
        known: u16,
    },
    /// A configuration that its machine refuses.
    #[error("a configuration that is refused: {0}")]
    Refused(String),
    /// Machines that take more memory than was allowed.
    #[error("machines that may take {bytes} bytes where {most} are allowed")]
    TooLarge {
        /// The bytes that all would take.
        bytes: usize,
        /// The bytes that they may take.
        most: usize,
    },
    /// After this event, the machine does something else than was recorded.
    #[error("{place}: {difference}")]
    Differs {
        /// After which event of which machine.
        place: Place,
        /// How.
        difference: Difference,
    },
}

/// How a replay differs.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Difference {
    /// The digests differ.
    #[error("digest {recorded:08x} is recorded, the replay gives {replayed:08x}")]
    Digest {
        /// The value in the journal.
        recorded: u32,
        /// The value in the replay.
        replayed: u32,
    },
    /// Another command, or another answer to a call: the `index`th, from 0.
    #[error("command {index} is another than recorded")]
    Command {
        /// Which.
        index: u64,
    },
    /// Fewer commands.
    #[error("{recorded} commands are recorded, the replay gives {replayed}")]
    Fewer {
        /// How many the journal says.
        recorded: u64,
        /// How many there are.
        replayed: u64,
    },
    /// More commands than the journal says.
    #[error("{recorded} commands are recorded, the replay gives more")]
    More {
        /// How many it says.
        recorded: u64,
    },
    /// The machine refuses the event.
    #[error("the event was taken, the replay refuses it: {0}")]
    Refused(String),
}

/// A machine as a replay left it.
#[derive(Clone, Copy, Debug)]
pub struct Replayed<'a> {
    /// Its place in the journal.
    pub place: Place,
    /// Events, timeouts and calls.
    pub events: u64,
    /// Commands; answers to calls are not among them.
    pub commands: u64,
    /// The time of the first event.
    pub first: Option<Instant>,
    /// The digest of all that it gave.
    pub digest: u32,
    pub(super) machine: &'a dyn Any,
}

impl<'a> Replayed<'a> {
    /// The machine as what it is.
    #[must_use]
    pub fn machine<M: Journaled>(&self) -> Option<&'a M> {
        self.machine.downcast_ref()
    }
}

display! {
    Place { Self { machine, name, event, now } => "event {event} of {name} {machine} at {now}" }
}
