//! Plays journals again: makes the machines that they name, gives them what was recorded, and
//! compares.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt::{self, Debug};

use super::Journaled;
use super::block::{Block, Blocks, End, Source};
use super::field::{Decoder, Field};
use super::playback::{Play, Playback};
use super::record::{Kind, Record};

use super::observer::Watcher;
pub use super::observer::{Difference, Fault, Observer, Place, ReplayStep, Replayed, Step};

/// The most bytes that all machines of a replay may take, by default.
pub(super) const MOST_MACHINE_BYTES: usize =
    if usize::BITS > 32 { (4_u64 << 30) as usize } else { 1 << 30 };

/// Replays journals.
///
/// Holds one block and the machines. A journal may come from anybody: it is refused before a machine
/// is made whose configuration asks for more memory than [`Replayer::at_most`] allows.
pub struct Replayer<'o> {
    verifies: bool,
    kinds: Vec<(&'static str, Box<Make<'o>>)>,
    machines: BTreeMap<u16, Member<'o>>,
    most_bytes: usize,
    bytes: usize,
}

/// [`Playback::make`] of a kind of machine.
type Make<'o> = dyn Fn(
        &mut Decoder<'_>,
        &Block<'_>,
        bool,
        usize,
        usize,
    ) -> Result<(Box<dyn Play + 'o>, usize), Fault>
    + 'o;

struct Member<'o> {
    play: Box<dyn Play + 'o>,
    blocks: u32,
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
        /// The offset of the block or the record.
        offset: u64,
        /// The fault.
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

impl<'o> Replayer<'o> {
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
    pub fn knowing<M: Journaled>(self) -> Self {
        self.watching::<M>(|_, _, _| {})
    }

    /// Knows this kind of machine too, and hands every step of each to `watcher`: events, calls, answers and commands
    /// as they are, with the machine as it stands there. What it is given next is not applied yet; what it gave is.
    ///
    /// ```
    /// # use gapless_core::journal::{Recorder, Replayer, recorder};
    /// # use gapless_core::publisher::{Command, Config, Publisher};
    /// # use gapless_core::transmitter::Event;
    /// # use gapless_core::{Instant, Machine, Session};
    /// use gapless_core::journal::replayer::Step;
    /// # let mut journal = Vec::new();
    /// # let machine = Config::small(Session::from_name(b"FEED").unwrap());
    /// # let config = recorder::Config { machine, id: 0, sink: Some(&mut journal), commands: false };
    /// # let mut publisher = Recorder::<Publisher, _>::new(config)?;
    /// # publisher.handle(Instant::from_millis(1), Event::Message(b"first").into())?;
    /// # publisher.poll_command();
    /// # publisher.handle_timeout(publisher.poll_timeout().unwrap()).unwrap_or_default();
    /// # while publisher.poll_command().is_some() {}
    /// # publisher.handle(Instant::from_millis(9), Event::Flush.into())?;
    /// # while publisher.poll_command().is_some() {}
    /// # drop(publisher);
    /// let mut bytes = 0;
    /// let replayer = Replayer::verifying().watching::<Publisher>(|place, publisher, step| {
    ///     if let Step::Command(Command::Send { bytes: packet }) = step {
    ///         bytes += packet.len();
    ///         println!("{place}: packet {} of {} bytes", publisher.stats().sent, packet.len());
    ///     }
    /// });
    /// { replayer }.replay(&journal[..], &mut ()).expect("it does the same again");
    /// assert_eq!(bytes, 27);
    /// # Ok::<(), gapless_core::publisher::Error>(())
    /// ```
    #[must_use]
    pub fn watching<M: Journaled>(
        mut self,
        watcher: impl FnMut(Place, &M, Step<'_, '_, M>) + 'o,
    ) -> Self {
        let watcher: Watcher<'o, M> = Rc::new(RefCell::new(watcher));
        let make: Box<Make<'o>> = Box::new(move |header, block, verifies, taken, most| {
            Playback::<M>::make(header, block, verifies, taken, most, Rc::clone(&watcher))
        });
        self.kinds.push((M::NAME, make));
        self
    }

    /// Lets all machines together take so many bytes; 4 GiB by default, and 1 GiB on 32-bit. Of each counts what its
    /// configuration allows and a block more, for what it was given last.
    #[must_use]
    pub const fn at_most(mut self, bytes: usize) -> Self {
        self.most_bytes = bytes;
        self
    }

    /// Replays a journal to its end. Another one goes on with the same machines.
    ///
    /// # Errors
    /// The first fault. The records that were whole before it have been replayed.
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
                Err(End::Torn(torn)) => return self.end(Ending { bytes: offset, torn }),
                Err(End::Damaged(damage)) => {
                    return Err(Error::At { offset, fault: damage.into() });
                }
                Err(End::Source(error)) => return Err(Error::Source(error)),
            }
        }
    }

    /// Takes what each machine still has to give after its last event: more than the journal says, where the program
    /// panicked or was killed in the middle of a drain. Here the machine panics again.
    pub fn drain(&mut self, observer: &mut dyn Observer) {
        self.machines.values_mut().for_each(|member| member.play.drain(observer));
    }

    /// The journal may end before it states all that followed from an event that differs.
    fn end<E>(&self, ending: Ending) -> Result<Ending, Error<E>> {
        let differs = self.machines.values().find_map(|member| member.play.differs());
        differs.map_or(Ok(ending), |fault| Err(Error::At { offset: ending.bytes, fault }))
    }

    /// The machines, by their ids.
    pub fn machines(&self) -> impl Iterator<Item = Replayed<'_>> {
        self.machines.values().map(|member| member.play.replayed())
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
            self.record(block, record, observer).map_err(|fault| (offset, fault))?;
            rest = behind;
        }
        if let Some(member) = self.machines.get_mut(&block.machine) {
            member.blocks = expected.wrapping_add(1);
        }
        Ok(())
    }

    fn record(
        &mut self,
        block: &Block<'_>,
        record: Record<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), Fault> {
        let id = block.machine;
        match (self.machines.get_mut(&id), record.kind) {
            (None, Kind::Machine) => {
                let play = self.make(block, record.body)?;
                play.made(observer);
                self.machines.insert(id, Member { play, blocks: 0 });
                Ok(())
            }
            (None, kind) | (Some(_), kind @ Kind::Machine) => {
                Err(Fault::Misplaced { kind: kind.name() })
            }
            (Some(member), _) => member.play.record(record, observer),
        }
    }

    fn make(&mut self, block: &Block<'_>, header: &[u8]) -> Result<Box<dyn Play + 'o>, Fault> {
        let mut input = Decoder::new(header, 0);
        let name = <&[u8]>::decode(&mut input)?;
        let known = self.kinds.iter().find(|(known, _)| known.as_bytes() == name);
        let Some((_, make)) = known else {
            return Err(Fault::Unknown { name: String::from_utf8_lossy(name).into_owned() });
        };
        let (play, bytes) = make(&mut input, block, self.verifies, self.bytes, self.most_bytes)?;
        self.bytes = bytes;
        Ok(play)
    }
}

impl Debug for Replayer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<Place> = self.machines().map(|machine| machine.place).collect();
        f.debug_struct("Replayer")
            .field("verifies", &self.verifies)
            .field("machines", &places)
            .finish_non_exhaustive()
    }
}
