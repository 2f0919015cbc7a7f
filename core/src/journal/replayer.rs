//! Plays journals again: makes the machines that they tell of, gives them what was recorded, and
//! compares.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt::{self, Debug};

use super::Journaled;
use super::block::{Block, Blocks, Damage, End, Source};
use super::field::{Decoder, Field, Malformed};
use super::playback::{Play, Playback};
use super::record::{Kind, Record};
use crate::Instant;

/// The most bytes that all machines of a replay may take, unless told.
const MOST_MACHINE_BYTES: usize = 4 << 30;

/// Replays journals.
///
/// Holds one block and the machines. A journal may come from anybody: it is refused before a machine
/// is made whose configuration asks for more memory than [`Replayer::at_most`] allows.
pub struct Replayer {
    verifies: bool,
    kinds: Vec<(&'static str, Make)>,
    machines: BTreeMap<u16, Member>,
    most_bytes: usize,
    bytes: usize,
}

/// Makes a machine from its header, within so many bytes; what it may take.
type Make = fn(&mut Decoder<'_>, usize) -> Result<(Box<dyn Play>, usize), Fault>;

struct Member {
    play: Box<dyn Play>,
    blocks: u32,
}

/// One thing that happened, or is different.
#[derive(Clone, Copy, Debug)]
pub enum Happening<'a> {
    /// The machine was made. Event number 0.
    Made,
    /// It was given an event.
    Event(&'a dyn Debug),
    /// It was given a timeout.
    Timeout,
    /// It was called directly.
    Call(&'a dyn Debug),
    /// What the call returned, in the replay.
    Answer(&'a dyn Debug),
    /// It gave a command, in the replay.
    Command(&'a dyn Debug),
    /// The journal has another answer or command at this place, or one more.
    Recorded(&'a dyn Debug),
    /// Everything that followed from the making, event, timeout or call has been given.
    Settled {
        /// The digest of all until here, as the journal has it.
        recorded: u32,
        /// The same of the replay.
        replayed: u32,
        /// The machine's next timeout in the replay, which is in the digest too.
        timeout: Option<Instant>,
    },
}

/// Where a journal stands: which machine, which of its events, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The machine's id.
    pub machine: u16,
    /// What it is called.
    pub name: &'static str,
    /// Which of its events, timeouts and calls, counted from 1; 0 is its making.
    pub event: u64,
    /// The time that came with it.
    pub now: Instant,
}

/// Sees everything that happens in a replay.
pub trait Observer {
    /// This happens now.
    fn happens(&mut self, place: Place, happening: Happening<'_>);
}

/// Looks away.
impl Observer for () {
    fn happens(&mut self, _place: Place, _happening: Happening<'_>) {}
}

/// Why a replay ended before its journal.
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
        /// What kind of record.
        kind: &'static str,
    },
    /// A machine that this replayer does not know.
    Unknown {
        /// What it is called.
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
        /// What all would take.
        bytes: usize,
        /// What they may take.
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Difference {
    /// The digests differ.
    Digest {
        /// What the journal says.
        recorded: u32,
        /// What the replay gives.
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

/// A fault and where it lies.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error<E> {
    /// The journal cannot be read.
    #[error("{0}")]
    Source(E),
    /// It is not as it should be, or the replay differs.
    #[error("at byte {offset}: {fault}")]
    At {
        /// Where the block or the record begins.
        offset: u64,
        /// What it is.
        fault: Fault,
    },
}

/// How a journal ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ending {
    /// Bytes of whole blocks.
    pub bytes: u64,
    /// Bytes behind them: the front of a block that was not written whole.
    pub torn: usize,
}

/// A machine as a replay left it.
#[derive(Clone, Copy)]
pub struct Replayed<'a> {
    /// Where it stands.
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

impl Replayer {
    /// Replays and compares; ends after the first event that differs.
    #[must_use]
    pub const fn verifying() -> Self {
        Self::new(true)
    }

    /// Replays whatever the machines do now, to look at them.
    #[must_use]
    pub const fn lenient() -> Self {
        Self::new(false)
    }

    const fn new(verifies: bool) -> Self {
        Self {
            verifies,
            kinds: Vec::new(),
            machines: BTreeMap::new(),
            most_bytes: MOST_MACHINE_BYTES,
            bytes: 0,
        }
    }

    /// Knows this kind of machine too.
    #[must_use]
    pub fn knowing<M: Journaled>(mut self) -> Self {
        self.kinds.push((M::NAME, |config, most| Playback::<M>::make(config, most)));
        self
    }

    /// Lets all machines together take so many bytes; 4 GiB unless told. Of each counts what its
    /// configuration allows and a block more, for what it was given last.
    #[must_use]
    pub const fn at_most(mut self, bytes: usize) -> Self {
        self.most_bytes = bytes;
        self
    }

    /// Replays a journal to its end. Another one goes on with the same machines.
    ///
    /// # Errors
    /// The first fault. What was whole before it has been replayed.
    pub fn replay<R: Source>(
        &mut self,
        source: R,
        observer: &mut dyn Observer,
    ) -> Result<Ending, Error<R::Error>> {
        let mut blocks = Blocks::new(source);
        loop {
            let offset = blocks.offset;
            match blocks.next() {
                Ok(block) => self
                    .block(&block, observer)
                    .map_err(|(offset, fault)| Error::At { offset, fault })?,
                Err(End::Whole) => return self.end(Ending { bytes: offset, torn: 0 }),
                Err(End::Torn(torn)) => return self.end(Ending { bytes: offset, torn }),
                Err(End::Damaged(damage)) => {
                    return Err(Error::At { offset, fault: Fault::Block(damage) });
                }
                Err(End::Source(error)) => return Err(Error::Source(error)),
            }
        }
    }

    /// The journal may end before it tells all that followed from an event that differs.
    fn end<E>(&self, ending: Ending) -> Result<Ending, Error<E>> {
        let differs = self.machines.iter().find_map(|(&id, member)| member.play.differs(id));
        match differs {
            Some(fault) => Err(Error::At { offset: ending.bytes, fault }),
            None => Ok(ending),
        }
    }

    /// The machines, by their ids.
    pub fn machines(&self) -> impl Iterator<Item = Replayed<'_>> {
        self.machines.iter().map(|(&id, member)| member.play.replayed(id))
    }

    fn block(
        &mut self,
        block: &Block<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), (u64, Fault)> {
        let header = block.offset - super::HEADER_LEN as u64;
        let expected = self.machines.get(&block.machine).map_or(0, |member| member.blocks);
        if block.number != expected {
            let (machine, found) = (block.machine, block.number);
            return Err((header, Fault::OutOfOrder { machine, expected, found }));
        }
        let mut rest = block.records;
        while !rest.is_empty() {
            let offset = block.offset + (block.records.len() - rest.len()) as u64;
            let (record, behind) =
                Record::split(rest).map_err(|malformed| (offset, malformed.into()))?;
            self.record(block.machine, record, observer).map_err(|fault| (offset, fault))?;
            rest = behind;
        }
        if let Some(member) = self.machines.get_mut(&block.machine) {
            member.blocks = expected.wrapping_add(1);
        }
        Ok(())
    }

    fn record(
        &mut self,
        id: u16,
        record: Record<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), Fault> {
        match (self.machines.get_mut(&id), record.kind) {
            (None, Kind::Machine) => {
                let member = Member { play: self.make(record.body)?, blocks: 0 };
                let place = member.play.replayed(id).place;
                self.machines.insert(id, member);
                observer.happens(place, Happening::Made);
                Ok(())
            }
            (None, kind) | (Some(_), kind @ Kind::Machine) => {
                Err(Fault::Misplaced { kind: kind.name() })
            }
            (Some(member), _) => member.play.record(id, record, self.verifies, observer),
        }
    }

    fn make(&mut self, header: &[u8]) -> Result<Box<dyn Play>, Fault> {
        let mut input = Decoder::new(header, 0);
        let name = <&[u8]>::decode(&mut input)?;
        let known = self.kinds.iter().find(|(known, _)| known.as_bytes() == name);
        let Some((_, make)) = known else {
            return Err(Fault::Unknown { name: String::from_utf8_lossy(name).into_owned() });
        };
        let (play, bytes) =
            make(&mut input, self.most_bytes.saturating_sub(self.bytes)).map_err(|fault| {
                match fault {
                    Fault::TooLarge { bytes, .. } => Fault::TooLarge {
                        bytes: self.bytes.saturating_add(bytes),
                        most: self.most_bytes,
                    },
                    fault => fault,
                }
            })?;
        self.bytes += bytes;
        Ok(play)
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

impl Debug for Replayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<Place> = self.machines().map(|machine| machine.place).collect();
        f.debug_struct("Replayer")
            .field("verifies", &self.verifies)
            .field("machines", &places)
            .finish_non_exhaustive()
    }
}
