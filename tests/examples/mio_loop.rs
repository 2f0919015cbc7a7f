//! A receiver in a mio loop of one's own. `gapless-mio` brings the sockets, the batched reading and the
//! clock: it registers its sockets with the loop's registry, and gets a `turn` when they are ready
//! or its time has come.
//!
//! ```console
//! $ cargo run -p gapless-tests --example mio_loop
//! received 10000 of 10000 messages: 1252 repaired, 0 lost, 0 wrong, session ended
//! ```

mod shared;

use std::error::Error;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use gapless_core::receiver::{Batch, Command, Event, ServerId};
use gapless_mio::{ReceiverConfig, ReceiverDriver, Sink};
use mio::{Events, Poll, Token, Waker};
use shared::{Consumer, Feed, PATIENCE};

/// The events that the loop waits for beside the feed. Tokens below the receiver's are the loop's own.
const OTHER_WORK: Token = Token(0);
const RECEIVER: Token = Token(1);

/// The longest that the loop waits, so that it looks whether to go on.
const TICK: Duration = Duration::from_millis(100);

/// Where the driver delivers: the consumer of all examples.
struct Deliver(Consumer);

impl Sink for Deliver {
    fn batch(&mut self, _now: gapless_core::Instant, batch: Batch<&[u8]>) {
        self.0.batch(&batch);
    }

    fn notice(&mut self, _now: gapless_core::Instant, notice: Command) {
        self.0.notice(&notice);
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(64);
    let waker = Waker::new(poll.registry(), OTHER_WORK)?;

    let config = ReceiverConfig { lines: vec!["127.0.0.1:0".parse()?], ..Default::default() };
    let mut driver = ReceiverDriver::with_registry(config, poll.registry(), RECEIVER)?;
    let mut sink = Deliver(Consumer::default());

    // The feed wants to know where the line's socket is, and the receiver whom to ask: servers can
    // be added at any time.
    let feed = Feed::start(driver.lines()[0].local)?;
    driver.handle(Event::AddServer(ServerId(0), feed.requests), &mut sink)?;

    let mut other_work = 0;
    waker.wake()?;
    let until = Instant::now() + PATIENCE;
    while !sink.0.has_ended() && Instant::now() < until {
        let wait = driver.timeout().map_or(TICK, |timeout| timeout.min(TICK));
        match poll.poll(&mut events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            match event.token() {
                OTHER_WORK => other_work += 1,
                // One of the driver's sockets: it remembers which until its turn.
                token => assert!(driver.ready(token), "nobody else has registered"),
            }
        }
        // Reads what has come, lets timers run out, sends requests. Never waits.
        driver.turn(None, &mut sink)?;
    }
    assert_eq!(other_work, 1, "the loop's own events come through too");
    Ok(sink.0.verdict())
}
