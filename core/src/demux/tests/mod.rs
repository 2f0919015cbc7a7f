//! The behaviour of a demultiplexer, one sentence each.

mod acceptors;
mod applied;
mod asserted;
mod blame;
mod draining;
mod encoding;
mod holding;
mod preambles;

use alloc::vec::Vec;

use bytes::Bytes;

use super::*;

/// Streams and their peers, in tests: the peer of a stream is its number divided by a thousand.
fn stream(number: u64) -> StreamId {
    StreamId { peer: PeerId(number / 1000), number: number % 1000 * 4 }
}

const A: AcceptorId = AcceptorId(1);
const B: AcceptorId = AcceptorId(2);

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// A demultiplexer whose commands are drained after every event, at a time that stands still unless it is
/// said to pass.
struct Bench {
    demux: Demux,
    now: Instant,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self { demux: Demux::new(config).unwrap(), now: Instant::ZERO }
    }

    fn give(&mut self, event: Event<'_>) -> Vec<Command> {
        self.demux.handle(self.now, event).unwrap();
        self.drain()
    }

    fn drain(&mut self) -> Vec<Command> {
        core::iter::from_fn(|| self.demux.poll_command()).collect()
    }

    /// The commands after a registration, but for its answer.
    #[track_caller]
    fn register(&mut self, acceptor: AcceptorId, pattern: Pattern<'_>) -> Vec<Command> {
        self.register_by(acceptor, pattern, Registrant::Application)
    }

    #[track_caller]
    fn register_by(
        &mut self,
        acceptor: AcceptorId,
        pattern: Pattern<'_>,
        by: Registrant,
    ) -> Vec<Command> {
        self.answered(Event::Register { acceptor, pattern, by })
    }

    /// The commands after an event that is answered with success, but for that.
    #[track_caller]
    fn answered(&mut self, event: Event<'_>) -> Vec<Command> {
        let mut commands = self.give(event);
        assert_eq!(commands.remove(0), Command::Answer(Ok(())));
        commands
    }

    /// Why an event is refused; nothing else follows from it.
    #[track_caller]
    fn refused(&mut self, event: Event<'_>) -> Refusal {
        let commands = self.give(event);
        let [Command::Answer(Err(refusal))] = commands[..] else { panic!("{commands:?}") };
        refusal
    }

    fn data(&mut self, number: u64, offset: u64, bytes: &'static [u8]) -> Vec<Command> {
        self.piece(number, offset, bytes, false)
    }

    fn last(&mut self, number: u64, offset: u64, bytes: &'static [u8]) -> Vec<Command> {
        self.piece(number, offset, bytes, true)
    }

    fn piece(&mut self, number: u64, offset: u64, bytes: &'static [u8], fin: bool) -> Vec<Command> {
        let (bytes, pinned) = (Bytes::from_static(bytes), bytes.len());
        self.give(Event::Data { stream: stream(number), offset, bytes, pinned, fin })
    }

    fn at(&mut self, now: Instant) -> Vec<Command> {
        self.now = now;
        self.demux.handle_timeout(now).unwrap();
        let commands = self.drain();
        assert!(self.demux.poll_timeout().is_none_or(|timeout| timeout > now), "it spins");
        commands
    }

    fn stats(&self) -> Stats {
        *self.demux.stats()
    }
}

fn dispatch(number: u64, acceptor: AcceptorId, tag: &[u8]) -> Command {
    Command::Dispatch { stream: stream(number), acceptor, tag: Tag::new(tag).unwrap() }
}

fn payload(number: u64, acceptor: AcceptorId, bytes: &'static [u8], fin: bool) -> Command {
    Command::Data { stream: stream(number), acceptor, bytes: Bytes::from_static(bytes), fin }
}

fn hold(number: u64) -> Command {
    Command::Hold { stream: stream(number) }
}

fn refuse(number: u64, code: u64) -> Command {
    Command::Refuse { stream: stream(number), code }
}

/// With one acceptor for the tag `foo`.
fn for_foo() -> Bench {
    with(Config::default())
}

/// The same, of a configuration.
fn with(config: Config) -> Bench {
    let mut bench = Bench::new(config);
    assert_eq!(bench.register(A, Pattern::Exact(b"foo")), []);
    bench
}
