//! Shared by the examples, so that each shows nothing but a receiver: a lossy feed to receive, and
//! the program that its messages are for.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gapless_core::receiver::{Batch, Command};
use gapless_core::wire::mold::{Kind, Packet};
use gapless_core::{Session, publisher, transmitter};
use gapless_mio::{Address, Error, PublisherConfig, PublisherDriver, Tap};

/// How long an example may take: some hundred times as long as it does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How many messages the feed has.
const MESSAGES: u64 = 10_000;
/// Messages that are published in a row, before a pause of at least a millisecond.
const AT_ONCE: u64 = 50;
/// Every so many data packets one is lost.
const LOST_EVERY: u64 = 8;

fn message(number: u64) -> String {
    format!("this is message {number}")
}

/// A feed that is published on a thread of its own, to one line. Every eighth data packet of it is
/// lost, and every eighth answer.
pub(crate) struct Feed {
    /// Where to ask for what was lost.
    pub(crate) requests: SocketAddr,
    stop: Arc<AtomicBool>,
    publishing: Option<JoinHandle<Result<(), Error>>>,
}

impl Feed {
    /// Publishes to the socket at `line`, until the feed is dropped.
    pub(crate) fn start(line: SocketAddr) -> Result<Self, Box<dyn std::error::Error>> {
        let session = Session::new(*b"EXAMPLE   ");
        let mut config = publisher::Config::new(session);
        let end_interval = Duration::from_millis(50);
        config.transmitter = Some(transmitter::Config {
            mtu: 256,
            end_interval,
            end_linger: PATIENCE,
            ..transmitter::Config::new(session)
        });
        let config = PublisherConfig {
            lines: vec![Address::unicast(line)?],
            requests: Some((Ipv4Addr::LOCALHOST, 0).into()),
            ..PublisherConfig::new(config)
        };
        let driver = PublisherDriver::with_tap(config, Lossy::default())?;
        let requests = driver.requests_address().ok_or("a publisher without requests")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let publishing = thread::spawn(move || publish(driver, &stopped));
        Ok(Self { requests, stop, publishing: Some(publishing) })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Ok(Err(error))) = self.publishing.take().map(JoinHandle::join) {
            eprintln!("the feed failed: {error}");
        }
    }
}

fn publish(mut driver: PublisherDriver<Lossy>, stop: &AtomicBool) -> Result<(), Error> {
    for number in 1..=MESSAGES {
        driver.publish(message(number).as_bytes())?;
        if number.is_multiple_of(AT_ONCE) {
            thread::sleep(Duration::from_millis(1));
            driver.turn(Some(Duration::ZERO))?;
        }
    }
    driver.end()?;
    let until = Instant::now() + PATIENCE;
    driver.run(|_| stop.load(Ordering::Relaxed) || Instant::now() > until)
}

/// Loses packets, always the same ones.
#[derive(Default)]
struct Lossy {
    packets: u64,
    answers: u64,
}

impl Tap for Lossy {
    fn line(&mut self, _line: usize, packet: Bytes, mut send: impl FnMut(Bytes)) {
        let is_data = Packet::new_checked(&packet).is_ok_and(|p| p.header().kind() == Kind::Data);
        self.packets += u64::from(is_data);
        if !is_data || !self.packets.is_multiple_of(LOST_EVERY) {
            send(packet);
        }
    }

    fn answer(&mut self, _to: SocketAddr, _packet: &[u8]) -> bool {
        self.answers += 1;
        !self.answers.is_multiple_of(LOST_EVERY)
    }
}

/// The consumer of a feed: this one checks that it misses nothing.
#[derive(Debug, Default)]
pub(crate) struct Consumer {
    received: u64,
    repaired: u64,
    /// Messages that are not what was published, or not in order.
    wrong: u64,
    lost: u64,
    ended: bool,
}

impl Consumer {
    /// Takes messages.
    pub(crate) fn batch<B: AsRef<[u8]>>(&mut self, batch: &Batch<B>) {
        for (number, bytes) in batch.messages() {
            let in_order = number == self.received + 1;
            self.wrong += u64::from(!in_order || bytes != message(number).as_bytes());
            self.received += 1;
        }
        self.repaired += if batch.repaired { u64::from(batch.count) } else { 0 };
    }

    /// Takes everything else that a receiver reports.
    pub(crate) fn notice(&mut self, notice: &Command) {
        match notice {
            Command::Lost { first, last, .. } => self.lost += last - first + 1,
            Command::SessionEnded { .. } => self.ended = true,
            _ => {}
        }
    }

    /// Whether the session has ended: nothing more will come.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Prints what was received; success when that is all there was.
    pub(crate) fn verdict(&self) -> ExitCode {
        println!("{self}");
        let complete = self.ended && self.received == MESSAGES && self.wrong + self.lost == 0;
        if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received, repaired, wrong, lost, ended } = self;
        write!(
            f,
            "received {received} of {MESSAGES} messages: {repaired} repaired, {lost} lost, "
        )?;
        write!(f, "{wrong} wrong, {}", if *ended { "session ended" } else { "session not ended" })
    }
}
