//! A composite of one's own: a receiver, and an alarm when the feed is silent. It has a bug.

use std::mem::size_of;

use gapless_core::fuzz::{Arbitrary, Feed, Result, Sequence, Unstructured, play};
use gapless_core::journal::{Journaled, Recorder, Sink, nested, recorder};
use gapless_core::machine::{Context, Undrained};
use gapless_core::receiver::{self, Receiver};
use gapless_core::{
    Duration, Instant, Machine, fields, no_direct_calls, stats_and_context, vocabulary,
};

/// The configuration of a [`Watch`].
#[derive(Clone, Debug, Arbitrary)]
pub struct Config {
    /// The receiver.
    pub receiver: receiver::Config,
    /// An alarm is raised when nothing came for this long.
    pub patience: Duration,
}

fields!(Config { receiver, patience });

vocabulary! {
    "event of a watch";
    /// What a watch is given.
    #[derive(Clone)]
    pub enum Event {
        /// Something for the receiver.
        0 => Feed(event: receiver::Event),
    }
}

vocabulary! {
    "command of a watch";
    /// What a watch gives.
    #[derive(Clone, PartialEq, Eq)]
    pub enum Command {
        /// A command of the receiver.
        0 => Feed(command: receiver::Command),
        /// The feed is silent.
        1 => Alarm {
            /// Since when.
            since: Instant,
        },
    }
}

/// A receiver, and an alarm.
pub struct Watch {
    context: Context,
    receiver: Receiver,
    patience: Duration,
    /// When something came last, until an alarm was raised for it.
    last: Option<Instant>,
    alarm: Option<Instant>,
    /// The gaps that were seen. There will never be more than eight, the stranger thinks.
    gaps: [u64; 8],
    stats: u64,
}

impl Watch {
    fn due(&self) -> Option<Instant> {
        Some(self.last? + self.patience).filter(|&at| at < Instant::MAX)
    }
}

impl Machine for Watch {
    type Config = Config;
    type Event<'a> = Event;
    type Command = Command;
    type Stats = u64;
    type Error = receiver::Error;

    fn new(config: Config) -> std::result::Result<Self, receiver::Error> {
        Ok(Self {
            context: Context::default(),
            receiver: Receiver::new(config.receiver)?,
            patience: config.patience.max(Duration::from_nanos(1)),
            last: None,
            alarm: None,
            gaps: [0; 8],
            stats: 0,
        })
    }

    fn apply(
        &mut self,
        now: Instant,
        Event::Feed(event): Event,
    ) -> std::result::Result<(), receiver::Error> {
        // Misuse changes nothing: the child says first.
        self.receiver.apply(now, event)?;
        self.context.event(now);
        self.last = Some(self.context.now());
        Ok(())
    }

    fn expire(&mut self, now: Instant) {
        self.context.timeout(now);
        self.receiver.expire(now);
        if self.due().is_some_and(|at| at <= self.context.now()) {
            self.alarm = self.last.take();
        }
    }

    /// The receiver's first.
    fn next_command(&mut self) -> Option<Command> {
        if let Some(command) = self.receiver.poll_command() {
            if let receiver::Command::GapOpened { first, .. } = command {
                self.gaps[self.stats as usize] = first;
                self.stats += 1;
            }
            return Some(Command::Feed(command));
        }
        self.alarm.take().map(|since| Command::Alarm { since })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due().into_iter().chain(self.receiver.poll_timeout()).min()
    }

    fn memory_limit(config: &Config) -> usize {
        Receiver::memory_limit(&config.receiver).saturating_add(size_of::<Self>())
    }

    fn memory_used(&self) -> usize {
        self.receiver.memory_used()
    }

    fn lent(&self) -> usize {
        self.receiver.lent()
    }

    stats_and_context!();
}

impl Journaled for Watch {
    const NAME: &'static str = "watch";
    const VERSION: u16 = 1;
    const NESTED: &'static [(&'static str, u16)] = &[nested::<Receiver>()];

    no_direct_calls!();
}

/// A feed, wrapped.
struct Wrapped(Feed);

impl Sequence<Watch> for Wrapped {
    fn next<'s, 'u: 's>(&'s mut self, u: &mut Unstructured<'u>) -> Result<Event> {
        self.0.next(u).map(Event::Feed)
    }

    fn note(&mut self, command: &Command) {
        if let Command::Feed(command) = command {
            self.0.note(command);
        }
    }
}

/// Plays what a fuzzer found, recorded where there is a `sink`.
///
/// # Errors
/// The input is used up.
///
/// # Panics
/// The watch has a bug.
pub fn check(input: &[u8], sink: Option<impl Sink>) -> Result<()> {
    let mut u = Unstructured::new(input);
    let machine = Config::arbitrary(&mut u)?;
    let (limit, feed) = (Watch::memory_limit(&machine), Feed::new(&machine.receiver));
    let config = recorder::Config { machine, id: 0, sink, commands: false };
    let mut watch = Recorder::<Watch, _>::new(config).expect("a drawn configuration is valid");
    play::<Watch>(&mut watch, limit, &mut Wrapped(feed), &mut u, |watch, _| {
        assert!(*watch.stats() <= watch.receiver.stats().gaps, "more gaps than there are");
    });
    Ok(())
}

/// Errors of this machine are the receiver's, and an event before a drain is one of them.
const _: fn(Undrained) -> receiver::Error = receiver::Error::from;
