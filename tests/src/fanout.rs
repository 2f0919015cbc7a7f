//! A composite for tests and benchmarks: a cache of one track, of which each event gives many runs.

use gapless_core::cache::{self, Cache, GroupId, Limits, Next, Position, Run, TrackId};
use gapless_core::journal::{Journaled, fields, nested, vocabulary};
use gapless_core::machine::{Context, Undrained};
use gapless_core::{Instant, Machine};

/// What a [`Fanout`] is made from.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The budget of its cache.
    pub max_bytes: usize,
    /// How many get each run.
    pub subscribers: u64,
}

fields!(Config { max_bytes, subscribers });

vocabulary! {
    "event of a fan-out";
    /// What a [`Fanout`] takes.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub enum Event<'a> {
        /// A frame is appended.
        0 => Append(frame: &'a [u8]),
        /// What was appended is sealed, and everybody gets it.
        1 => Give,
    }
}

vocabulary! {
    "command of a fan-out";
    /// What a [`Fanout`] gives.
    #[derive(Clone, PartialEq, Eq)]
    pub enum Command {
        /// The next run of a subscriber.
        0 => Send {
            /// Whose.
            subscriber: u64,
            /// The run.
            run: Run,
        },
    }
}

/// The machine.
#[derive(Debug)]
pub struct Fanout {
    cache: Cache,
    track: TrackId,
    group: GroupId,
    context: Context,
    subscribers: u64,
    /// Who is next, and where everybody and that one are.
    next: u64,
    behind: Position,
    at: Position,
}

impl Machine for Fanout {
    type Config = Config;
    type Event<'a> = Event<'a>;
    type Command = Command;
    type Stats = cache::Stats;
    type Error = Undrained;

    /// # Panics
    /// The cache cannot hold a group.
    fn new(Config { max_bytes, subscribers }: Config) -> Result<Self, Undrained> {
        let mut cache = Cache::new(cache::Config::new(max_bytes)).expect("a valid configuration");
        let limits = Limits::default();
        let track = cache.create_track(Instant::ZERO, b"track", 0, limits).expect("a new name");
        let group = cache.append_group(Instant::ZERO, track).expect("room for a group");
        let (behind, at) = (Position::new(0, 0), Position::new(0, 0));
        let context = Context::default();
        Ok(Self { cache, track, group, context, subscribers, next: subscribers, behind, at })
    }

    fn memory_limit(config: &Config) -> usize {
        config.max_bytes + size_of::<Self>()
    }

    fn apply(&mut self, now: Instant, event: Event<'_>) -> Result<(), Undrained> {
        self.context.event(now);
        match event {
            Event::Append(frame) => _ = self.cache.append(self.group, frame),
            Event::Give => {
                let _ = self.cache.seal(self.track);
                (self.next, self.at) = (0, self.behind);
            }
        }
        Ok(())
    }

    /// All runs of one subscriber, then those of the next.
    #[inline]
    fn next_command(&mut self) -> Option<Command> {
        while self.next < self.subscribers {
            match self.cache.run_at(self.track, &mut self.at, usize::MAX) {
                Ok(Next::Held(run)) => {
                    return Some(Command::Send { subscriber: self.next, run });
                }
                _ => {
                    self.next += 1;
                    let end = core::mem::replace(&mut self.at, self.behind);
                    if self.next == self.subscribers {
                        self.behind = end;
                    }
                }
            }
        }
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn expire(&mut self, now: Instant) {
        self.context.advance(now);
    }

    fn stats(&self) -> &cache::Stats {
        self.cache.stats()
    }

    fn memory_used(&self) -> usize {
        self.cache.memory_used()
    }

    fn lent(&self) -> usize {
        self.cache.lent()
    }

    fn context(&self) -> &Context {
        &self.context
    }

    fn context_mut(&mut self) -> &mut Context {
        &mut self.context
    }
}

impl Journaled for Fanout {
    const NAME: &'static str = "test fan-out";
    const VERSION: u16 = 1;
    const NESTED: &'static [(&'static str, u16)] = &[nested::<Cache>()];

    gapless_core::no_direct_calls!();

    fn keep_checksums(&mut self) {
        self.cache.keep_checksums();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gapless_core::journal::{Encoder, Field, Recorder, Replayer, recorder};

    #[test]
    fn a_composite_that_was_recorded_verifies_and_its_payload_is_not_recorded() {
        for commands in [false, true] {
            let mut journal = Vec::new();
            let machine = Config { max_bytes: 1 << 20, subscribers: 100 };
            let sink = Some(&mut journal);
            let config = recorder::Config { machine, id: 0, sink, commands };
            let mut fanout = Recorder::<Fanout, _>::new(config).unwrap();
            let mut given = 0;
            for number in 0..20_u8 {
                for _ in 0..10 {
                    fanout.handle(Instant::ZERO, Event::Append(&[number; 1000])).unwrap();
                    assert_eq!(fanout.poll_command(), None);
                }
                fanout.handle(Instant::ZERO, Event::Give).unwrap();
                while let Some(Command::Send { run, .. }) = fanout.poll_command() {
                    given += run.iter().map(|(_, frame)| frame.len()).sum::<usize>();
                }
            }
            assert_eq!(given, 20 * 10_000 * 100);
            drop(fanout);
            assert_eq!(journal.len() > given, commands);
            let mut replayer = Replayer::verifying().knowing::<Fanout>();
            replayer.replay(&journal[..], &mut ()).unwrap();
        }
    }

    #[test]
    fn a_run_within_a_composite_is_digested_in_the_version_of_the_cache() {
        let mut fanout = Fanout::new(Config { max_bytes: 1 << 20, subscribers: 1 }).unwrap();
        fanout.apply(Instant::ZERO, Event::Append(b"payload")).unwrap();
        fanout.apply(Instant::ZERO, Event::Give).unwrap();
        let command = fanout.poll_command().unwrap();
        let (mut digested, mut written) = (Vec::new(), Vec::new());
        command.encode(&mut Encoder::in_version(&mut digested, Fanout::VERSION).digesting());
        command.encode(&mut Encoder::in_version(&mut written, Fanout::VERSION));
        // Where nothing is said of the cache, its version is that of the composite.
        assert_eq!(digested, written);
    }
}
