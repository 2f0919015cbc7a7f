//! The view of a replay: where it stands, what happens, what is wrong, and how a machine is left.

use alloc::string::String;
use core::any::Any;
use core::fmt::{self, Debug};

use super::Journaled;
use super::block::Damage;
use super::field::Malformed;
use crate::Instant;

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
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A block is damaged.
    Block(Damage),
    /// A block is missing or out of place.
    OutOfOrder {
        /// The machine.
        machine: u16,
        /// The number that its next block should have had.
        expected: u32,
        /// The number that this one has.
        found: u32,
    },
    /// A block's records are no records.
    Record(Malformed),
    /// A record stands where it must not.
    Misplaced {
        /// The kind of record.
        kind: &'static str,
    },
    /// A machine that this replayer does not know.
    Unknown {
        /// Its name.
        name: String,
    },
    /// A later version of a machine's encoding.
    Version {
        /// The machine.
        name: &'static str,
        /// The version.
        version: u16,
        /// The last that is known.
        known: u16,
    },
    /// A configuration that its machine refuses.
    Refused(String),
    /// Machines that take more memory than was allowed.
    TooLarge {
        /// The bytes that all would take.
        bytes: usize,
        /// The bytes that they may take.
        most: usize,
    },
    /// After this event, the machine does something else than was recorded.
    Differs {
        /// After which event of which machine.
        place: Place,
        /// How.
        difference: Difference,
    },
}

/// How a replay differs.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Difference {
    /// The digests differ.
    Digest {
        /// The value in the journal.
        recorded: u32,
        /// The value in the replay.
        replayed: u32,
    },
    /// Another command, or another answer to a call: the `index`th, from 0.
    Command {
        /// Which.
        index: u64,
    },
    /// Fewer commands.
    Fewer {
        /// How many the journal says.
        recorded: u64,
        /// How many there are.
        replayed: u64,
    },
    /// More commands than the journal says.
    More {
        /// How many it says.
        recorded: u64,
    },
    /// The machine refuses the event.
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

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Record(malformed)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(damage) => write!(f, "{damage}"),
            Self::OutOfOrder { machine, expected, found } => {
                write!(f, "block {found} of machine {machine} where block {expected} is next")
            }
            Self::Record(malformed) => write!(f, "a record that is none: {malformed}"),
            Self::Misplaced { kind } => write!(f, "a record of a {kind} does not belong here"),
            Self::Unknown { name } => write!(f, "no machine is called {name:?}"),
            Self::Version { name, version, known } => {
                write!(f, "version {version} of {name}; this program knows 1 to {known}")
            }
            Self::Refused(error) => write!(f, "a configuration that is refused: {error}"),
            Self::TooLarge { bytes, most } => {
                write!(f, "machines that may take {bytes} bytes where {most} are allowed")
            }
            Self::Differs { place, difference } => write!(f, "{place}: {difference}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, name, event, now } = self;
        write!(f, "event {event} of {name} {machine} at {now:?}")
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest { recorded, replayed } => {
                write!(f, "digest {recorded:08x} is recorded, the replay gives {replayed:08x}")
            }
            Self::Command { index } => write!(f, "command {index} is another than recorded"),
            Self::Fewer { recorded, replayed } => {
                write!(f, "{recorded} commands are recorded, the replay gives {replayed}")
            }
            Self::More { recorded } => {
                write!(f, "{recorded} commands are recorded, the replay gives more")
            }
            Self::Refused(error) => {
                write!(f, "the event was taken, the replay refuses it: {error}")
            }
        }
    }
}
