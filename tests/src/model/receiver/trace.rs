//! The input and output of a receiver: enough to do it again, and to compare.

use bytes::Bytes;
use gapless_core::receiver::{Batch, Call, Command, Datagram, Event, Receiver, Source};
use gapless_core::wire::mold;
use gapless_core::{Duration, Instant, Machine};
use std::fmt;

use crate::alloc;
use crate::model::recorded::Played;

/// One thing done to a receiver.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A datagram, in a buffer of `pinned` bytes.
    Datagram { source: Source, bytes: Vec<u8>, pinned: usize },
    /// Any other event.
    Change(Event),
    /// `handle_timeout`, perhaps with a time that went back.
    Timeout { back: bool },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Datagram { source, bytes, pinned } = self else { return write!(f, "{self:?}") };
        match mold::Header::read(bytes) {
            Some(header) => write!(f, "{header:?}")?,
            None => write!(f, "{bytes:?}")?,
        }
        write!(f, " of {} bytes in {pinned} from {source:?}", bytes.len())
    }
}

/// The output of a receiver for one step. Batches are cut out of their datagrams, one message each, so
/// that both ways in compare.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Said {
    pub(super) commands: Vec<Command>,
    pub(super) timeout: Option<Instant>,
}

/// The bytes that a receiver, and what was handed to it, have allocated.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ledger(isize);

impl Ledger {
    pub(super) fn allocated(self) -> usize {
        self.0.max(0) as usize
    }

    pub(super) fn during<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = alloc::live();
        let result = work();
        self.0 += alloc::live() - before;
        result
    }
}

/// When the kernel is said to have taken a datagram that is handled at `now`.
pub(super) fn arrival(now: Instant) -> Instant {
    now - Duration::from_micros(7)
}

/// How datagrams are given to a receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// As owned events.
    Events,
    /// By calls on borrowed bytes.
    Calls,
}

impl Way {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Events => Self::Calls,
            Self::Calls => Self::Events,
        }
    }

    /// Takes a step, and drains.
    pub(super) fn take(
        self,
        receiver: &mut Played<Receiver>,
        ledger: &mut Ledger,
        now: Instant,
        step: &Step,
    ) -> Said {
        match (self, step) {
            (Self::Calls, Step::Datagram { source, bytes, .. }) => {
                by_call(receiver, ledger, now, *source, bytes)
            }
            _ => by_event(receiver, ledger, now, step),
        }
    }
}

fn by_event(
    receiver: &mut Played<Receiver>,
    ledger: &mut Ledger,
    now: Instant,
    step: &Step,
) -> Said {
    let taken = ledger.during(|| match step {
        Step::Datagram { source, bytes, pinned } => {
            let bytes = buffer(bytes, *pinned);
            let arrival = arrival(now);
            let (source, pinned) = (*source, *pinned);
            receiver.handle(now, Event::Datagram(Datagram { source, bytes, pinned, arrival }))
        }
        Step::Change(event) => receiver.handle(now, event.clone()),
        Step::Timeout { back: false } => receiver.handle_timeout(now),
        Step::Timeout { back: true } => receiver.handle_timeout(now - Duration::from_secs(1)),
    });
    assert_eq!(taken, Ok(()), "{step:?}");
    drain(receiver, ledger)
}

fn by_call(
    receiver: &mut Played<Receiver>,
    ledger: &mut Ledger,
    now: Instant,
    source: Source,
    bytes: &[u8],
) -> Said {
    let call = Call { arrival: arrival(now), source, datagram: bytes };
    let batch = ledger.during(|| receiver.call(now, call));
    let mut direct = Vec::new();
    if let Some(batch) = batch {
        let Batch { session, first, count, offset, arrival, origin, repaired, .. } = batch;
        let bytes = Bytes::copy_from_slice(batch.bytes);
        let owned = Batch { session, first, count, bytes, offset, arrival, origin, repaired };
        cut(&Command::Batch(owned), &mut direct);
    }
    let mut said = drain(receiver, ledger);
    // A batch that is returned at once comes before the events of the gaps that it closes.
    let of_gaps = |command: &&Command| {
        matches!(
            command,
            Command::GapOpened { .. }
                | Command::GapFilled { .. }
                | Command::LineUp(_)
                | Command::LineDown(_)
        )
    };
    let at = said.commands.iter().take_while(of_gaps).count();
    said.commands.splice(at..at, direct);
    said
}

fn drain(receiver: &mut Played<Receiver>, ledger: &mut Ledger) -> Said {
    let mut commands = Vec::new();
    while let Some(command) = ledger.during(|| receiver.poll_command()) {
        cut(&command, &mut commands);
        ledger.during(|| drop(command));
        assert!(commands.len() < 1_000_000, "a drain has an end");
    }
    assert!(!receiver.has_commands(), "a drained receiver has commands");
    Said { commands, timeout: receiver.poll_timeout() }
}

fn buffer(bytes: &[u8], pinned: usize) -> Bytes {
    if pinned <= bytes.len() {
        return Bytes::copy_from_slice(bytes);
    }
    let mut buffer = vec![0; pinned];
    let offset = (pinned - bytes.len()).min(100);
    buffer[offset..offset + bytes.len()].copy_from_slice(bytes);
    Bytes::from(buffer).slice(offset..offset + bytes.len())
}

/// Notes a command; batches message by message, with nothing but its block for bytes.
fn cut(command: &Command, commands: &mut Vec<Command>) {
    let Command::Batch(batch) = command else {
        commands.push(command.clone());
        return;
    };
    let mut numbers = 0;
    for (sequence, message) in batch.messages() {
        assert_eq!(sequence, batch.first + numbers, "a batch is consecutive");
        numbers += 1;
        let bytes = Bytes::copy_from_slice(message);
        commands.push(Command::Batch(Batch {
            first: sequence,
            count: 1,
            bytes,
            offset: 0,
            ..*batch
        }));
    }
    assert_eq!(numbers, u64::from(batch.count), "a batch has the messages that it counts");
    assert!(numbers > 0, "a batch has messages");
}
