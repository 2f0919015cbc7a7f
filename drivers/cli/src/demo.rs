//! `gapless demo`: a feed on two bad lines over loopback, received complete and compared byte by
//! byte.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use gapless_core::receiver::{self, Batch, Event, Receiver, ServerId};
use gapless_core::{Session, transmitter};
use gapless_mio::{Address, ReceiverConfig, ReceiverDriver};
use serde::Serialize;

use crate::address::line_name;
use crate::args::{Demo, KEEP};
use crate::failure::{Failure, Outcome};
use crate::feed::Feed;
use crate::input::{self, First, Messages, Next};
use crate::io::patience::{Patience, Patient, say};
use crate::io::{place, standard};
use crate::journal::{Journal, Kept, Recorder};
use crate::progress::Progress;
use crate::publish::{Network, Pacing, Publication, Published};
use crate::statistics::{Consumer, Ledger, Stops};
use crate::stop::Stop;
use crate::summary::{Counters, End, Received};
use crate::text::{self, Table};
use crate::watch::Watch;

/// Messages of the feed that is made on the spot.
const MESSAGES: u64 = 200_000;
/// How long nothing may come before it is called off.
const IDLE: Duration = Duration::from_secs(15);
const TICK: Duration = Duration::from_millis(20);
/// The session's name.
const SESSION: &[u8] = b"DEMO";
/// Packets fit a link of 1500 bytes.
const MTU: usize = 1472;

/// Shows it.
///
/// # Errors
/// A file or a socket failed.
pub(crate) fn run(args: &Demo, stop: &Stop) -> Result<Outcome, Failure> {
    args.check()?;
    let mut published_messages = messages(args)?;
    let comparison = Comparison::new(messages(args)?);
    let journal = Journal::prepare(&args.journaling)?;
    let session = Session::from_name(SESSION).unwrap_or(Session::new([b' '; Session::LEN]));

    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let line = Address::unicast(any_port).map_err(|error| Failure::usage(error.to_string()))?;
    let receiver =
        receiver::Config { session: Some(session), seed: args.seed, ..receiver::Config::default() };
    let lines = vec![line; 2];
    let config = ReceiverConfig { receiver, lines, ..ReceiverConfig::default() };
    let mut driver = ReceiverDriver::with_machine(config, None, journal.machine(0))?;
    let to =
        driver.lines().iter().map(|line| Address::unicast(line.local)).collect::<Result<_, _>>();
    let network = Network {
        to: to.map_err(|error| Failure::usage(error.to_string()))?,
        requests: any_port,
        ttl: None,
        receive_buffer: None,
        mtu: MTU,
        keep: KEEP,
        answer_rate: None,
        odds: args.odds(),
        answer_loss: 0.0,
        seed: args.seed,
        journal: journal.clone(),
        id: 1,
    };
    // The publisher stays until everything is received.
    let done = Stop::default();
    let own = transmitter::Config::new(session);
    let mut publication = Publication::new(network, Some(own), 1, &done)?;
    publication.hide_progress();
    let mut ledger = Ledger::new(comparison, Stops::default());
    let servers: Vec<_> = publication.requests_address().into_iter().collect();
    for &server in &servers {
        driver.handle(Event::AddServer(ServerId(0), server), &mut ledger)?;
    }
    let started = Instant::now();
    let (end, published) = thread::scope(|scope| {
        let publishing = scope.spawn(move || {
            publication.messages(&mut *published_messages, &mut Pacing::new(None))?;
            if let Some(failure) = publication.broken.take() {
                return Err(failure);
            }
            publication.end(Duration::MAX)?;
            publication.close();
            Ok::<_, Failure>(publication.published().pop())
        });
        let watch = Watch::new(Some(session), &servers);
        let end = receive(args, &mut driver, &mut ledger, watch, stop, &publishing);
        done.ask();
        let published = publishing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok::<_, Failure>((end?, published?))
    })?;

    let elapsed = started.elapsed();
    let now = Counters::new(&mut driver, &ledger, &servers);
    let before = Counters::default();
    let received = Received::new(ledger.oldest(), end, elapsed, now, &before);
    let shown = Shown {
        complete: ledger.consumer.different.is_none()
            && published.as_ref().is_some_and(|published| {
                end == End::Ended && received.delivered == published.messages
            }),
        first_difference: ledger.consumer.different,
        received,
        published,
    };
    for complaint in shown.complaints() {
        say(complaint);
    }
    let is_lost = shown.received.lacks() || shown.first_difference.is_some();
    let outcome = journal.outcome(match (shown.complete, end) {
        (true, _) => Outcome::Complete,
        _ if is_lost => Outcome::Lost,
        (false, End::TimedOut) => Outcome::TimedOut,
        (false, End::Interrupted) => stop.outcome(),
        (false, _) => Outcome::Lost,
    });
    let result = if args.json { text::json(&shown) } else { shown.table() };
    Patient::new(standard::Output::Standard, Patience::new(stop)).conclude(&result, outcome)
}

/// The messages that are published, from the beginning.
fn messages(args: &Demo) -> Result<Box<dyn Messages>, Failure> {
    let Some(path) = &args.input else {
        return Ok(Box::new(Feed::new(args.seed, args.messages.unwrap_or(MESSAGES))));
    };
    let of = file(path)?;
    Ok(match args.messages {
        Some(left) => Box::new(First { left, of }),
        None => of,
    })
}

fn file(path: &Path) -> Result<Box<dyn Messages>, Failure> {
    if path.exists() && !path.is_file() || place::is_standard(path) {
        return Err(Failure::usage(format!("--input {}: is read twice", path.display()))
            .advise("put it into a file first"));
    }
    input::binaryfile(path)
}

/// Receives until the session ends, or the publisher does.
fn receive<T>(
    args: &Demo,
    driver: &mut ReceiverDriver<Recorder<Receiver>>,
    ledger: &mut Ledger<Comparison>,
    mut watch: Watch,
    stop: &Stop,
    publishing: &ScopedJoinHandle<'_, T>,
) -> Result<End, Failure> {
    let total = args.input.is_none().then(|| args.messages.unwrap_or(MESSAGES));
    let mut progress = Progress::new(total);
    let mut last_heard = Instant::now();
    let end = loop {
        let turn = driver.turn(Some(TICK), ledger)?;
        driver.machine_mut().keep(&progress);
        if let Some(failure) = ledger.take_failure() {
            return Err(failure);
        }
        if turn.datagrams > 0 {
            last_heard = Instant::now();
        }
        watch.check(driver, ledger, &progress);
        if ledger.oldest_ended() {
            break End::Ended;
        }
        // Before it is asked to end, the publisher only ends when it fails.
        if stop.is_asked() || publishing.is_finished() {
            break End::Interrupted;
        }
        if last_heard.elapsed() > IDLE {
            break End::TimedOut;
        }
        if let Some(stats) = ledger.oldest() {
            progress.show(stats.delivered, || format!("messages, {} gaps", stats.gaps));
        }
    };
    // The last events are reported before they are summed up.
    watch.check_now(driver, ledger, &progress);
    progress.clear();
    driver.machine_mut().close(&progress);
    Ok(end)
}

/// Compares what is delivered with what was published.
struct Comparison {
    expected: Box<dyn Messages>,
    /// The number of the message in `message`; 0 before the first.
    number: u64,
    message: Vec<u8>,
    /// The first message that is not what was published.
    different: Option<u64>,
}

impl Comparison {
    fn new(expected: Box<dyn Messages>) -> Self {
        Self { expected, number: 0, message: Vec::new(), different: None }
    }

    /// Whether message `number` is `message`. Numbers only grow; what is left out is skipped.
    fn is_same(&mut self, number: u64, message: &[u8]) -> Result<bool, Failure> {
        while self.number < number {
            if self.expected.next(&mut self.message)? != Next::Message {
                return Ok(false);
            }
            self.number += 1;
        }
        Ok(self.number == number && self.message == message)
    }
}

impl Consumer for Comparison {
    fn begin(&mut self, _session: Session, _next: u64) -> Result<(), Failure> {
        Ok(())
    }

    fn take(&mut self, batch: &Batch<&[u8]>) -> Result<(), Failure> {
        for (number, message) in batch.messages() {
            if !self.is_same(number, message)? {
                self.different.get_or_insert(number);
            }
        }
        Ok(())
    }
}

/// The result of the demo.
#[derive(Serialize)]
struct Shown {
    /// Whether every message came, as it was published.
    complete: bool,
    /// The first message that came otherwise.
    first_difference: Option<u64>,
    #[serde(flatten)]
    received: Received,
    published: Option<Published>,
}

impl Shown {
    /// Why not everything came.
    fn reason(&self) -> String {
        let sent = self.published.as_ref().map_or(0, |published| published.messages);
        let lines = self.published.iter().flat_map(|published| &published.lines);
        let all_dropped = lines.clone().count() > 0 && lines.clone().all(|line| line.sent == 0);
        let Received { delivered, end, .. } = self.received;
        match end {
            _ if self.first_difference.is_some() => "messages came otherwise".into(),
            End::TimedOut if all_dropped => {
                format!("the lines lost every packet (--loss), so nothing of {sent} messages came")
            }
            End::TimedOut => {
                let seconds = IDLE.as_secs();
                format!("nothing came for {seconds} s after {delivered} of {sent} messages")
            }
            End::Interrupted => format!("interrupted after {delivered} of {sent} messages"),
            _ => format!("{delivered} of {sent} messages came"),
        }
    }

    fn complaints(&self) -> Vec<String> {
        let mut complaints = self.received.complaints();
        if !self.complete {
            complaints.push(format!("not complete: {}", self.reason()));
        }
        if let Some(number) = self.first_difference {
            complaints.push(format!("different: message {number} is not what was published"));
        }
        complaints
    }

    fn table(&self) -> String {
        let mut table = Table::default();
        let Self { received, .. } = self;
        let sent = self.published.as_ref().map_or(0, |published| published.messages);
        let verdict = match self.complete {
            true => "complete, every byte equal".into(),
            false => format!("NOT complete: {}", self.reason()),
        };
        table.row("messages", format!("{} of {sent} delivered: {verdict}", received.delivered));
        let published = self.published.iter().flat_map(|published| &published.lines);
        for (number, (sent, came)) in published.zip(&received.lines).enumerate() {
            let mut words = sent.words();
            if came.kernel_drops > 0 {
                words.push_str(&format!(", {} dropped by the kernel", came.kernel_drops));
            }
            table.row(&format!("line {}", line_name(number)), words);
        }
        table.row("end", received.end.words().into());
        received.repair_rows(&mut table);
        table.row("speed", text::speed(received.delivered, received.elapsed_seconds));
        table.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison() -> Comparison {
        Comparison::new(Box::new(Feed::new(1, 10)))
    }

    fn message(number: usize) -> Vec<u8> {
        let (mut feed, mut message) = (Feed::new(1, 10), Vec::new());
        for _ in 0..number {
            feed.next(&mut message).unwrap();
        }
        message
    }

    #[test]
    fn what_was_published_is_the_same() {
        let mut comparison = comparison();
        assert!(
            (1..=10).all(|number| comparison.is_same(number, &message(number as usize)).unwrap())
        );
    }

    #[test]
    fn what_is_left_out_is_skipped() {
        let mut comparison = comparison();
        assert!(comparison.is_same(4, &message(4)).unwrap());
        assert!(comparison.is_same(9, &message(9)).unwrap());
    }

    #[test]
    fn another_message_a_repeated_one_or_one_too_many_is_different() {
        let mut comparison = comparison();
        assert!(!comparison.is_same(2, &message(3)).unwrap());
        assert!(!comparison.is_same(1, &message(1)).unwrap());
        assert!(!comparison.is_same(11, &message(10)).unwrap());
    }
}
