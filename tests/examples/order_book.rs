//! The receiver inside a deterministic test of somebody else's code: an order book is fed through a
//! simulated network that loses, doubles and reorders packets, and must equal the book that missed
//! nothing. Time is virtual and one seed decides everything, so a run that fails can be repeated.
//!
//! ```console
//! $ cargo run -p gapless-tests --example order_book
//! 20 books of 2000 messages are equal, after 2854 gaps
//! ```

#[path = "shared/book.rs"]
mod book;
#[path = "shared/exchange.rs"]
mod exchange;

use std::net::SocketAddr;

use book::Book;
use bytes::Bytes;
use exchange::{EXCHANGE, Exchange, LINE, MESSAGES, address};
use gapless_core::receiver::{Command, Config, LineId, Receiver, ServerId, Source, Stats};
use gapless_core::{Instant, Machine};
use gapless_tests::sim::{Chance, Node, Outbox, Path, Random, World};

/// Where requests are sent from.
const TRADER: SocketAddr = address(3);
/// Simulated time that a run may take.
const PATIENCE: Instant = Instant::from_millis(60_000);
const SEEDS: u64 = 20;

/// A node of the simulated network: what a driver does, with the network in the sockets' place.
struct Trader {
    receiver: Receiver,
    book: Book,
    ended: bool,
}

impl Trader {
    fn new(seed: u64) -> Self {
        let lines = vec![LineId(0)];
        let servers = vec![(ServerId(0), EXCHANGE)];
        let config = Config { lines, servers, seed, ..Config::default() };
        let receiver = Receiver::new(config).expect("a valid configuration");
        Self { receiver, book: Book::default(), ended: false }
    }

    fn drain(&mut self, out: &mut Outbox) {
        while let Some(command) = self.receiver.poll_command() {
            match command {
                Command::Batch(batch) => {
                    batch.messages().for_each(|(_, message)| self.book.apply(message));
                }
                Command::Request { to, request, .. } => {
                    out.send(TRADER, to, Bytes::copy_from_slice(&request.to_bytes()));
                }
                Command::SessionEnded { .. } => self.ended = true,
                lost @ Command::Lost { .. } => panic!("{lost:?}"),
                _ => {}
            }
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
        if let Some(batch) = self.receiver.receive(now, source, datagram) {
            batch.messages().for_each(|(_, message)| self.book.apply(message));
        }
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
fn trading_day(seed: u64) -> (Instant, Stats) {
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
    let (right, traded) = (world.node::<Exchange>(exchange), world.node::<Trader>(trader));
    assert_eq!(traded.book, right.book, "seed {seed}: the books differ");
    assert_eq!(traded.receiver.stats().delivered, u64::from(MESSAGES), "seed {seed}");
    (world.now(), traded.receiver.stats().clone())
}

fn main() {
    let mut gaps = 0;
    for seed in 0..SEEDS {
        let day = trading_day(seed);
        assert_eq!(day, trading_day(seed), "seed {seed}: a second run is the same run");
        gaps += day.1.gaps;
    }
    println!("{SEEDS} books of {MESSAGES} messages are equal, after {gaps} gaps");
}
