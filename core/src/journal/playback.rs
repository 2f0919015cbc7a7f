//! One machine in a replay: takes its records, one after the other.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::Journaled;
use super::block::{Block, FULL, MAX_PAYLOAD};
use super::digest::Digest;
use super::field::{self, Decoder, Encoder, Field, Nested};
use super::observer::{Difference, Fault, Observer, Place, ReplayStep, Replayed, Step, Watcher};
use super::record::{self, EventDigest, Kind, Record};
use crate::Instant;

/// How many commands are shown after a difference, at most.
const SHOWN: u64 = 100;

/// A machine of any kind.
pub(super) trait Play {
    fn record(&mut self, record: Record<'_>, observer: &mut dyn Observer) -> Result<(), Fault>;

    /// The machine was made.
    fn made(&self, observer: &mut dyn Observer);

    /// Takes what the machine still has to give.
    fn drain(&mut self, observer: &mut dyn Observer);

    /// A difference that was not returned yet, because the journal has more of its event.
    fn differs(&self) -> Option<Fault>;

    fn replayed(&self) -> Replayed<'_>;
}

/// A machine and how far it was played.
pub(super) struct Playback<'o, M: Journaled> {
    machine: M,
    watcher: Watcher<'o, M>,
    id: u16,
    /// Differences are faults.
    verifies: bool,
    version: u16,
    nested: Rc<[Nested]>,
    digest: Digest,
    event: u64,
    now: Instant,
    first: Option<Instant>,
    commands: u64,
    /// Commands taken since the last event, and whether it is settled.
    taken: u64,
    settled: bool,
    /// How it differs since the last event: the first difference of several.
    difference: Option<Difference>,
    /// The digest that stands for the answer of the last call, until it is compared.
    answer: Option<Digest>,
    /// How the last command or answer is written.
    scratch: Vec<u8>,
}

impl<'o, M: Journaled> Playback<'o, M> {
    /// The bytes that a machine may take beside its own limit: a record that it was given and has not passed on,
    /// and how it is played.
    const BESIDE: usize = MAX_PAYLOAD + FULL + (16 << 10);

    /// Makes a machine from its header in a block, of which the name was read, beside others that may take so
    /// many bytes; with what all may take.
    pub(super) fn make(
        header: &mut Decoder<'_>,
        block: &Block<'_>,
        verifies: bool,
        taken: usize,
        most: usize,
        watcher: Watcher<'o, M>,
    ) -> Result<(Box<dyn Play + 'o>, usize), Fault> {
        let version = u16::decode(header)?;
        is_known(M::NAME, version, M::VERSION)?;
        let count = if block.version >= 2 { u8::decode(header)? } else { 0 };
        let nested: Rc<[Nested]> =
            (0..count).map(|_| Field::decode(header)).collect::<Result<_, _>>()?;
        for &(name, known) in M::NESTED {
            is_known(name, field::version_in(&nested, name).unwrap_or(known), known)?;
        }
        let mut input = Decoder::new(header.rest(), version).with_nested(&nested);
        let config = M::Config::decode(&mut input)?;
        input.finish()?;
        let bytes = M::memory_limit(&config).saturating_add(Self::BESIDE).saturating_add(taken);
        if bytes > most {
            return Err(Fault::TooLarge { bytes, most });
        }
        let mut machine = M::new(config).map_err(|error| Fault::Refused(error.to_string()))?;
        machine.keep_checksums();
        let playback = Self {
            machine,
            watcher,
            id: block.machine,
            verifies,
            version,
            nested,
            digest: Digest::new(),
            event: 0,
            now: Instant::ZERO,
            first: None,
            commands: 0,
            taken: 0,
            settled: false,
            difference: None,
            answer: None,
            scratch: Vec::new(),
        };
        Ok((Box::new(playback), bytes))
    }

    /// Hands a step to somebody's own code, and to whoever sees all machines.
    fn watch(&self, step: Step<'_, '_, M>, observer: &mut dyn Observer) {
        let printable = step.printable();
        (self.watcher.borrow_mut())(self.place(), &self.machine, step);
        if let Some(step) = printable {
            observer.happens(self.place(), step);
        }
    }

    const fn place(&self) -> Place {
        Place { machine: self.id, name: M::NAME, event: self.event, now: self.now }
    }

    fn begin(&mut self, now: Instant) {
        self.event += 1;
        self.now = now;
        self.first.get_or_insert(now);
        self.taken = 0;
        self.settled = false;
        self.answer = None;
    }

    /// The next command, if there is one, taken into the digest; how it is written is in `scratch`.
    fn command(&mut self, observer: &mut dyn Observer) -> bool {
        let Some(command) = self.machine.poll_command() else { return false };
        self.give(&command);
        self.taken += 1;
        self.commands += 1;
        self.watch(Step::Command(&command), observer);
        true
    }

    /// Takes something that the machine gave into the digest, and leaves in `scratch` how it is recorded.
    fn give<'a>(&mut self, given: &impl Field<'a>) {
        let Self { scratch, version, nested, .. } = self;
        scratch.clear();
        given.encode(&mut Encoder::in_version(scratch, *version).with_nested(nested).digesting());
        self.digest.update(scratch);
        scratch.clear();
        given.encode(&mut Encoder::in_version(scratch, *version).with_nested(nested));
    }

    /// Shows what is recorded where the replay gives something else.
    fn show<'a, T: Field<'a> + core::fmt::Debug>(
        &self,
        mut recorded: Decoder<'a>,
        observer: &mut dyn Observer,
    ) {
        // A value that is retired differs, and cannot be shown.
        if let Ok(value) = T::decode(&mut recorded) {
            observer.happens(self.place(), ReplayStep::Recorded(&value));
        }
    }

    /// Shows what else the replay gives.
    fn show_rest(&mut self, observer: &mut dyn Observer) {
        for _ in 0..SHOWN {
            if !self.command(observer) {
                break;
            }
        }
    }

    fn settle(
        &mut self,
        settled: EventDigest,
        observer: &mut dyn Observer,
    ) -> Result<(), Difference> {
        while (self.taken < settled.commands || settled.drained && !self.verifies)
            && self.command(observer)
        {}
        let taken = self.taken;
        if self.verifies && settled.drained {
            self.show_rest(observer);
        }
        let timeout = self.machine.poll_timeout();
        let recorded = settled.digest;
        let replayed = record::settle(&mut self.digest, settled.drained, timeout);
        self.settled = true;
        observer.happens(self.place(), ReplayStep::EventDigest { recorded, replayed, timeout });
        self.watch(Step::Done, observer);
        if taken < settled.commands {
            Err(Difference::Fewer { recorded: settled.commands, replayed: taken })
        } else if self.taken > settled.commands {
            Err(Difference::More { recorded: settled.commands })
        } else if replayed != recorded {
            Err(Difference::Digest { recorded, replayed })
        } else {
            Ok(())
        }
    }
}

impl<M: Journaled> Play for Playback<'_, M> {
    fn record(
        &mut self,
        Record { kind, body }: Record<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), Fault> {
        let nested = Rc::clone(&self.nested);
        let mut input = Decoder::new(body, self.version).with_nested(&nested);
        let misplaced = Err(Fault::Misplaced { kind: kind.name() });
        let happens = matches!(kind, Kind::Event | Kind::Timeout | Kind::Call);
        if happens != self.settled {
            return misplaced;
        }
        let outcome = match kind {
            Kind::Machine => return misplaced,
            Kind::Event => {
                self.begin(Instant::decode(&mut input)?);
                let event = M::Event::decode(&mut input)?;
                input.finish()?;
                self.watch(Step::Event(&event), observer);
                let refused = |error: M::Error| Difference::Refused(error.to_string());
                self.machine.apply(self.now, event).map_err(refused)
            }
            Kind::Timeout => {
                self.begin(Instant::decode(&mut input)?);
                input.finish()?;
                self.watch(Step::Timeout, observer);
                self.machine.expire(self.now);
                Ok(())
            }
            Kind::Call => {
                self.begin(Instant::decode(&mut input)?);
                let call = M::Call::decode(&mut input)?;
                input.finish()?;
                self.watch(Step::Call(&call), observer);
                let answer = self.machine.call(self.now, call);
                self.give(&answer);
                self.answer = Some(Digest::of(&self.scratch));
                self.watch(Step::Answer(&answer), observer);
                Ok(())
            }
            Kind::Answer => {
                let Some(answer) = self.answer.take() else { return misplaced };
                if answer == Digest::of(body) {
                    Ok(())
                } else {
                    self.show::<M::Answer<'_>>(input, observer);
                    Err(Difference::Command { index: 0 })
                }
            }
            Kind::Command => {
                let index = self.taken;
                let given = self.command(observer);
                if given && self.scratch == body {
                    Ok(())
                } else {
                    self.show::<M::Command>(input, observer);
                    Err(Difference::Command { index })
                }
            }
            Kind::EventDigest => {
                let settled = EventDigest::decode(&mut input)?;
                input.finish()?;
                self.settle(settled, observer)
            }
        };
        // A large one is not kept for as long as the machine.
        self.scratch.clear();
        self.scratch.shrink_to(FULL);
        if self.verifies && self.difference.is_none() {
            self.difference = outcome.err();
        }
        // Whoever looks on is shown all that followed from the event before.
        self.differs().filter(|_| self.settled).map_or(Ok(()), Err)
    }

    fn made(&self, observer: &mut dyn Observer) {
        self.watch(Step::Made, observer);
    }

    fn drain(&mut self, observer: &mut dyn Observer) {
        while self.command(observer) {}
    }

    fn differs(&self) -> Option<Fault> {
        let difference = self.difference.clone()?;
        Some(Fault::Differs { place: self.place(), difference })
    }

    fn replayed(&self) -> Replayed<'_> {
        Replayed {
            place: self.place(),
            events: self.event,
            commands: self.commands,
            first: self.first,
            digest: self.digest.value(),
            machine: &self.machine,
        }
    }
}

/// Checks that a version of an encoding can be read.
fn is_known(name: &'static str, version: u16, known: u16) -> Result<(), Fault> {
    if version == 0 || version > known {
        return Err(Fault::Version { name, version, known });
    }
    Ok(())
}
