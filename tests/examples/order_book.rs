//! Somebody else's code over a production journal: an order book is built from what a recorded receiver delivered,
//! message by message, and must equal the book that missed nothing.
//!
//! Without the name of a journal it records some: a receiver behind a simulated network that loses, doubles and reorders
//! packets. Time is virtual and one seed decides everything, so a run that fails can be repeated.
//!
//! ```console
//! $ cargo run -p gapless-tests --example order_book [JOURNAL]
//! 20 books of 2000 messages are equal, after 2854 gaps
//! ```

#[path = "shared/book.rs"]
mod book;
#[path = "shared/exchange.rs"]
mod exchange;

use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::net::SocketAddr;

use book::Book;
use bytes::Bytes;
use exchange::{EXCHANGE, Exchange, LINE, MESSAGES, address};
use gapless_core::journal::replayer::Step;
use gapless_core::journal::{Io, Recorder, Replayer, recorder};
use gapless_core::receiver::{Command, Config, LineId, Receiver, ServerId, Source, Stats};
use gapless_core::{Instant, Machine};
use gapless_tests::sim::{Chance, Node, Outbox, Path, Random, World};

/// Where requests are sent from.
const TRADER: SocketAddr = address(3);
/// Simulated time that a run may take.
const PATIENCE: Instant = Instant::from_millis(60_000);
const SEEDS: u64 = 20;

/// The order book of a journal, replayed: whatever was delivered, by direct calls and by commands.
fn book(journal: impl std::io::Read) -> Result<Book, Box<dyn Error>> {
    let mut book = Book::default();
    let mut replayer = Replayer::verifying().watching::<Receiver>(|_, _, step| match step {
        Step::Answer(Some(batch)) => {
            batch.messages().for_each(|(_, message)| book.apply(message));
        }
        Step::Command(Command::Batch(batch)) => {
            batch.messages().for_each(|(_, message)| book.apply(message));
        }
        _ => {}
    });
    replayer.replay(Io(journal), &mut ())?;
    drop(replayer);
    Ok(book)
}

/// A node of the simulated network: what a driver does, with the network in the sockets' place.
struct Trader {
    receiver: Recorder<Receiver, Vec<u8>>,
    ended: bool,
}

impl Trader {
    fn new(seed: u64) -> Self {
        let lines = vec![LineId(0)];
        let servers = vec![(ServerId(0), EXCHANGE)];
        let config = Config { lines, servers, seed, ..Config::default() };
        let sink = Some(Vec::new());
        let config = recorder::Config { machine: config, id: 0, sink, commands: false };
        let receiver = Recorder::new(config).expect("a valid configuration");
        Self { receiver, ended: false }
    }

    fn drain(&mut self, out: &mut Outbox) {
        while let Some(command) = self.receiver.poll_command() {
            match command {
                Command::Request { to, request, .. } => {
                    out.send(TRADER, to, Bytes::copy_from_slice(&request.to_bytes()));
                }
                Command::SessionEnded { .. } => self.ended = true,
                lost @ Command::Lost { .. } => panic!("{lost:?}"),
                _ => {}
            }
        }
        if self.ended {
            self.receiver.flush().expect("memory takes everything");
        }
    }
}

impl Node for Trader {
    fn arrive(
        &mut self,
        now: Instant,
        at: SocketAddr,
        from: SocketAddr,
        datagram: &Bytes,
        out: &mut Outbox,
    ) {
        let source = if at == LINE { Source::Line(LineId(0)) } else { Source::Peer(from) };
        self.receiver.receive(now, source, datagram);
        self.drain(out);
    }

    fn wake(&mut self, now: Instant, out: &mut Outbox) {
        self.receiver.handle_timeout(now).expect("it was drained");
        self.drain(out);
    }

    fn next_wake(&self) -> Option<Instant> {
        self.receiver.poll_timeout()
    }
}

/// One trading day over bad lines; when it ended, and what was counted.
fn trading_day(seed: u64) -> Result<(Instant, Stats), Box<dyn Error>> {
    let mut random = Random::new(seed);
    let mut world = World::new(random.fork());
    let exchange = world.add(Exchange::new(random.fork()), &[EXCHANGE]);
    let trader = world.add(Trader::new(random.any()), &[LINE, TRADER]);
    for (from, to, member) in
        [(exchange, LINE, trader), (exchange, TRADER, trader), (trader, EXCHANGE, exchange)]
    {
        world.set_path(from, to, member, Path::lossy(&mut random, Chance::percent(20)));
    }
    let ended = world.run(PATIENCE, |world| world.node::<Trader>(trader).ended);
    assert!(ended, "seed {seed}: the session has not ended at {:?}", world.now());
    let right = world.node::<Exchange>(exchange).book.clone();
    let receiver = &world.node::<Trader>(trader).receiver;
    let journal = receiver.sink().map_or(&[][..], Vec::as_slice);
    assert_eq!(book(journal)?, right, "seed {seed}: the books differ");
    assert_eq!(receiver.stats().delivered, u64::from(MESSAGES), "seed {seed}");
    let stats = receiver.stats().clone();
    Ok((world.now(), stats))
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(journal) = std::env::args_os().nth(1) {
        println!("{:#?}", book(BufReader::new(File::open(journal)?))?);
        return Ok(());
    }
    let mut gaps = 0;
    for seed in 0..SEEDS {
        let day = trading_day(seed)?;
        assert_eq!(day, trading_day(seed)?, "seed {seed}: a second run is the same run");
        gaps += day.1.gaps;
    }
    println!("{SEEDS} books of {MESSAGES} messages are equal, after {gaps} gaps");
    Ok(())
}
