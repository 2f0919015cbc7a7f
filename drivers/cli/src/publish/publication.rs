//! A feed that is being published: its messages, its end, and the answers to whoever misses something.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gapless_core::rate::Rate;
use gapless_core::wire::mold::{Kind, Packet};
use gapless_core::{Machine, publisher, retransmitter, transmitter};
use gapless_mio::{Address, PublisherConfig, PublisherDriver};

use super::notices::{Driver, Notices};
use super::published::{Published, PublishedLine, SendError, Unanswered};
use crate::failure::{Failure, Outcome};
use crate::impair::Odds;
use crate::input::flow::Recording;
use crate::input::pcap::Datagram;
use crate::input::{Messages, Next};
use crate::io::patience::{Patience, Patient, say};
use crate::io::standard;
use crate::journal::{Journal, Kept};
use crate::pace::Pace;
use crate::progress::{self, Every, Progress};
use crate::stop::Stop;
use crate::summary::End;
use crate::tap::BadNetwork;

/// The longest that nothing is looked at: Ctrl-C.
const TICK: Duration = Duration::from_millis(50);
/// How long to wait for an input that has nothing yet.
const INPUT_TICK: Duration = Duration::from_millis(1);
/// The most messages between two looks at the sockets.
const MOST_AT_ONCE: u64 = 4096;
/// Messages a second when nothing is said.
const MESSAGES_EACH_SECOND: u64 = 500_000;
/// Packets a second when nothing is said: more overruns a receiver that is busy otherwise.
const PACKETS_EACH_SECOND: u64 = 40_000;
/// The bytes that one address may be answered with at once, where its rate is given.
const ANSWER_BURST: u64 = 64 << 10;
/// How many times the rate of one address all together have, where that is said.
const TIMES_ONE: u64 = 10;
/// How far ends of session are apart, at first less.
const END_INTERVAL: Duration = Duration::from_millis(250);
/// How often an end is sent at least, however short the linger: a receiver believes the third.
const ENDS_SENT: u64 = 3;
/// Longer than anybody lingers.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Where a feed goes, and how bad the way is.
pub(crate) struct Network {
    /// The lines.
    pub(crate) to: Vec<Address>,
    /// Where requests are answered.
    pub(crate) requests: SocketAddr,
    /// How many hops the lines may travel, if that is said.
    pub(crate) ttl: Option<u8>,
    /// The receive buffer of requests, in bytes, if that is said.
    pub(crate) receive_buffer: Option<u32>,
    /// The largest payload.
    pub(crate) mtu: usize,
    /// The most memory for messages that may be asked for, in bytes.
    pub(crate) keep: usize,
    /// Bytes a second that one address is answered with, if that is said.
    pub(crate) answer_rate: Option<u64>,
    /// How likely packets on the lines are lost, delayed and doubled.
    pub(crate) odds: Odds,
    /// The share of answers that get lost.
    pub(crate) answer_loss: f64,
    /// Seeds the dice.
    pub(crate) seed: u64,
    /// Where it is recorded.
    pub(crate) journal: Journal,
    /// As which machine.
    pub(crate) id: u16,
}

/// How fast messages leave: never more than so many messages, nor so many packets a second.
pub(crate) struct Pacing {
    origin: Instant,
    messages: Pace,
    packets: Option<Pace>,
}

impl Pacing {
    /// `rate` messages a second, or what a receiver on the same machine keeps up with.
    pub(crate) fn new(rate: Option<u64>) -> Self {
        let start = Duration::ZERO;
        let packets = match rate {
            Some(_) => None,
            None => Some(Pace::new(PACKETS_EACH_SECOND, start)),
        };
        let messages = Pace::new(rate.unwrap_or(MESSAGES_EACH_SECOND), start);
        Self { origin: Instant::now(), messages, packets }
    }

    /// How many messages may leave now, if they take no more than this many packets.
    fn due(&mut self) -> (u64, u64) {
        let now = self.origin.elapsed();
        let packets = self.packets.as_mut().map_or(u64::MAX, |packets| packets.due(now));
        (self.messages.due(now), packets)
    }

    fn take(&mut self, messages: u64, packets: u64) {
        self.messages.take(messages);
        if let Some(pace) = &mut self.packets {
            pace.take(packets);
        }
    }

    fn wait(&self) -> Duration {
        let now = self.origin.elapsed();
        let packets = self.packets.map_or(Duration::ZERO, |packets| packets.wait(now));
        self.messages.wait(now).max(packets)
    }
}

/// Publishing, under way.
pub(crate) struct Publication<'a> {
    pub(super) driver: Driver,
    pub(super) journal: Journal,
    stop: &'a Stop,
    pub(super) progress: Progress,
    notices: Notices,
    /// When it is printed how it stands, and whether as JSON.
    stats: (Every, bool),
    /// Where that is printed.
    pub(super) output: Patient<standard::Output>,
    port_chosen: bool,
    started: Instant,
    pub(super) messages: u64,
    /// Whether the input came to its end.
    is_over: bool,
    /// Why the input breaks off, if it does.
    pub(crate) broken: Option<Failure>,
    /// The end of session that a capture ends with: it is sent over and over, as one of our own
    /// would be, for those who missed it or come later.
    captured_end: Option<Bytes>,
}

impl<'a> Publication<'a> {
    /// A feed with a session of its own, or one that republishes `sessions` others.
    ///
    /// # Errors
    /// A socket cannot be had, or the configuration leaves its ranges.
    pub(crate) fn new(
        network: Network,
        own: Option<transmitter::Config>,
        sessions: usize,
        stop: &'a Stop,
    ) -> Result<Self, Failure> {
        let mtu = network.mtu;
        let publisher = publisher::Config {
            transmitter: own.map(|own| transmitter::Config {
                mtu,
                end_interval: END_INTERVAL,
                end_linger: FOR_EVER,
                ..own
            }),
            retransmitter: retransmitter::Config {
                mtu,
                max_sessions: sessions.clamp(1, 255),
                history_bytes: network.keep,
                ..answering(network.answer_rate)
            },
            end_linger: FOR_EVER,
        };
        let Network {
            to, requests, ttl, receive_buffer, odds, answer_loss, seed, journal, id, ..
        } = network;
        let tap = BadNetwork::new(to.len(), odds, answer_loss, seed);
        let requests = Some(requests);
        let default = PublisherConfig::new(publisher);
        let config = PublisherConfig {
            lines: to,
            requests,
            multicast_hops: ttl.map_or(default.multicast_hops, u32::from),
            unicast_hops: ttl.map(u32::from),
            receive_buffer: receive_buffer.map_or(default.receive_buffer, |bytes| bytes as usize),
            ..default
        };
        let driver = PublisherDriver::with_machine(config, tap, None, journal.machine(id))?;
        journal.open(&Patience::new(stop))?;
        let progress = Progress::new(None);
        progress::report_buffer(receive_buffer, driver.requests_buffer(), &progress);
        Ok(Self {
            driver,
            journal,
            stop,
            progress,
            notices: Notices::new(),
            stats: (Every::new(None), false),
            output: Patient::new(standard::Output::Standard, Patience::new(stop)),
            port_chosen: requests.is_some_and(|requests| requests.port() == 0),
            started: Instant::now(),
            messages: 0,
            is_over: false,
            broken: None,
            captured_end: None,
        })
    }

    /// Leaves the terminal to somebody else's progress.
    pub(crate) fn hide_progress(&mut self) {
        self.progress = Progress::hidden();
    }

    /// Gives the driver a turn, and the journal what is its.
    fn turn(&mut self, timeout: Duration) -> Result<(), Failure> {
        self.driver.turn(Some(timeout))?;
        self.driver.machine_mut().keep(&self.progress);
        self.notices.check(&mut self.driver, &self.progress);
        self.print_running()
    }

    /// Says what happened last, and hands the rest of the journal to the system.
    pub(crate) fn close(&mut self) {
        self.notices.check_now(&mut self.driver, &self.progress);
        self.driver.machine_mut().close(&self.progress);
    }

    /// Where requests are answered.
    pub(crate) fn requests_address(&self) -> Option<SocketAddr> {
        self.driver.requests_address()
    }

    /// Says where requests are answered when the system chose the port.
    pub(super) fn report_port(&self) {
        if let (true, Some(local)) = (self.port_chosen, self.requests_address()) {
            self.progress.report(format_args!("requests on {local}"));
        }
    }

    /// Says, if the input breaks off, where, and what becomes of what came before. Receivers must not wait
    /// for what will never come: the session ends there.
    ///
    /// # Errors
    /// The input breaks off before anything has left.
    pub(super) fn report_broken(&mut self) -> Result<(), Failure> {
        let publisher = self.driver.publisher();
        let (nothing, ends) = (
            self.messages == 0 && publisher.stats().sent == 0,
            if publisher.transmitter().is_some() { ", and the session ends with them" } else { "" },
        );
        if nothing && let Some(failure) = self.broken.take() {
            return Err(failure);
        }
        if let Some(failure) = &self.broken {
            let count = self.messages;
            self.progress.report(failure);
            self.progress.report(format_args!("{count} messages before that are published{ends}"));
        }
        Ok(())
    }

    /// Publishes messages until there are no more, somebody wants an end, or one cannot be read or fits no
    /// packet: then the input is [broken](Self::broken).
    ///
    /// # Errors
    /// A socket failed.
    pub(crate) fn messages(
        &mut self,
        source: &mut dyn Messages,
        pacing: &mut Pacing,
    ) -> Result<(), Failure> {
        let mut message = Vec::new();
        self.is_over = false;
        while !self.stop.is_asked() && self.broken.is_none() {
            let (messages, packets) = pacing.due();
            let sent = self.driver.publisher().stats().sent;
            let (mut taken, mut wait) = (0, None);
            while taken < messages.min(MOST_AT_ONCE)
                && self.driver.publisher().stats().sent - sent < packets
            {
                match source.next(&mut message) {
                    Ok(Next::Message) => self.publish(&message)?,
                    Ok(Next::NotYet) => {
                        wait = Some(INPUT_TICK);
                        break;
                    }
                    Ok(Next::End) => self.is_over = true,
                    Err(failure) => self.broken = Some(failure),
                }
                if self.is_over || self.broken.is_some() {
                    break;
                }
                taken += 1;
            }
            pacing.take(taken, self.driver.publisher().stats().sent - sent);
            if self.is_over {
                break;
            }
            self.turn(wait.unwrap_or_else(|| pacing.wait()).min(TICK))?;
            self.progress.show(self.messages, || "messages published");
        }
        Ok(())
    }

    fn publish(&mut self, message: &[u8]) -> Result<(), Failure> {
        loop {
            match self.driver.publish(message) {
                Ok(()) => {
                    self.messages += 1;
                    return Ok(());
                }
                Err(error) if error.is_full() => {
                    self.turn(INPUT_TICK)?;
                }
                Err(gapless_mio::Error::Publisher(publisher::Error::Transmitter(
                    transmitter::Error::TooLarge { len, max },
                ))) => {
                    let what = format!(
                        "message {} of the input has {len} bytes, the largest that fits a packet \
                         has {max}",
                        self.messages + 1
                    );
                    let advice = "raise --mtu, at most to 65507; or see --format";
                    self.broken = Some(Failure::content(what).advise(advice));
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Republishes the packets of a capture that went to `to`: so many messages a second, or as
    /// they were captured.
    pub(super) fn capture(
        &mut self,
        recording: &Recording,
        to: SocketAddr,
        rate: Option<u64>,
    ) -> Result<(), Failure> {
        let mut capture = recording.read()?;
        let mut pace = rate.map(|rate| Pace::new(rate, self.started.elapsed()));
        let mut datagram = Datagram::default();
        let mut began = None;
        self.is_over = false;
        while !self.stop.is_asked() {
            match capture.next(&mut datagram) {
                Ok(true) => {}
                Ok(false) => {
                    self.is_over = true;
                    break;
                }
                Err(failure) => {
                    self.broken = Some(failure);
                    break;
                }
            }
            let Ok(packet) = Packet::new_checked(&datagram.payload) else { continue };
            if datagram.to != to {
                continue;
            }
            let messages = u64::from(packet.header().messages());
            let is_end = packet.header().kind() == Kind::EndOfSession;
            match &mut pace {
                Some(pace) => {
                    self.wait_for(pace)?;
                    pace.take(messages);
                }
                None => {
                    let (origin, first) = *began.get_or_insert((Instant::now(), datagram.time));
                    self.wait_until(after(origin, datagram.time.saturating_sub(first)))?;
                }
            }
            let bytes = Bytes::from(std::mem::take(&mut datagram.payload));
            self.captured_end = is_end.then(|| bytes.clone());
            self.driver.republish(bytes)?;
            self.messages += messages;
            self.progress.show(self.messages, || "messages published");
        }
        Ok(())
    }

    fn wait_for(&mut self, pace: &mut Pace) -> Result<(), Failure> {
        while pace.due(self.started.elapsed()) == 0 && !self.stop.is_asked() {
            self.turn(pace.wait(self.started.elapsed()).min(TICK))?;
        }
        Ok(())
    }

    fn wait_until(&mut self, time: Instant) -> Result<(), Failure> {
        while !self.stop.is_asked() {
            let left = time.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.turn(left.min(TICK))?;
        }
        Ok(())
    }

    /// Sends what is collected, and no end of session: it may go on.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        if self.driver.publisher().transmitter().is_some() {
            self.driver.flush()?;
        }
        self.turn(Duration::ZERO)
    }

    /// The outcome of the program; lines that never sent a packet are reported.
    pub(super) fn outcome(&self) -> Outcome {
        let dead = Notices::dead_lines(&self.driver);
        for line in &dead {
            say(format_args!("error: {line}"));
        }
        match () {
            () if !dead.is_empty() || self.broken.is_some() => Outcome::Io,
            () if self.is_interrupted() => self.stop.outcome(),
            () => Outcome::Complete,
        }
    }

    /// Whether somebody wanted an end before the input came to its own.
    pub(super) const fn is_interrupted(&self) -> bool {
        !self.is_over && self.broken.is_none()
    }

    /// Ends the session, then answers requests until none came for `linger` that deserved an answer, or
    /// somebody wants an end.
    ///
    /// # Errors
    /// A socket failed.
    pub(crate) fn end(&mut self, linger: Duration) -> Result<(), Failure> {
        self.driver.end()?;
        let (mut deserving, mut last) = (self.deserving(), Instant::now());
        let mut sent_at = Instant::now();
        loop {
            let left = linger.saturating_sub(last.elapsed());
            let leaves = left.is_zero() || self.stop.is_asked();
            if leaves && self.has_sent_ends() {
                return Ok(());
            }
            let left = if leaves { INPUT_TICK } else { left };
            if let Some(end) =
                self.captured_end.as_ref().filter(|_| sent_at.elapsed() >= END_INTERVAL)
            {
                self.driver.republish(end.clone())?;
                sent_at = Instant::now();
            }
            self.turn(left.min(TICK))?;
            if self.deserving() != deserving {
                (deserving, last) = (self.deserving(), Instant::now());
            }
            self.progress.show(self.messages, || {
                format!("messages published; answering requests, {deserving} so far")
            });
        }
    }

    /// Whether the end was sent as often as it takes to be believed.
    fn has_sent_ends(&self) -> bool {
        let own = self.driver.publisher().transmitter();
        own.is_none_or(|own| own.stats().ends >= ENDS_SENT)
    }

    /// Requests that were answered, or would have been, had the rates allowed it.
    fn deserving(&self) -> u64 {
        let stats = self.driver.publisher().retransmitter().stats();
        stats.answered + stats.over_address_rate + stats.over_total_rate
    }

    /// Prints how it stands every so often from now on, as tables or as JSON.
    pub(super) fn print_every(&mut self, period: Option<Duration>, json: bool) {
        self.stats = (Every::new(period), json);
    }

    /// Prints how it stands, if that is due and keeps nobody waiting.
    pub(super) fn print_running(&mut self) -> Result<(), Failure> {
        let (every, json) = &mut self.stats;
        if !every.is_due() {
            return Ok(());
        }
        let json = *json;
        for published in self.published().into_iter().map(Published::running) {
            let output = &mut self.output;
            self.progress.suspended(|| output.print_running(&published.text(json)))?;
        }
        Ok(())
    }

    /// The summary of each session. Requests and failures of sending are those of all.
    pub(crate) fn published(&mut self) -> Vec<Published> {
        let (dropped, read) = (self.driver.requests_dropped(), self.driver.requests_read());
        let answered = self.driver.publisher().retransmitter().stats();
        let network = self.driver.tap();
        let lines = self.driver.lines();
        let sessions = network.sessions().iter();
        sessions
            .map(|(session, book)| Published {
                session: session.to_string(),
                first_sequence: book.first(),
                next_sequence: book.next,
                messages: book.numbers.messages(),
                packets: book.packets,
                lines: network
                    .lines(*session)
                    .into_iter()
                    .zip(&lines)
                    .enumerate()
                    .map(|(number, (book, line))| {
                        PublishedLine::new(book, line, self.notices.interface_losses(number))
                    })
                    .collect(),
                requests: answered.requests,
                answered_messages: answered.answered_messages,
                answers_dropped: network.answers_dropped(),
                answer_send_failures: self.driver.answers_sent().dropped(),
                answer_send_errors: SendError::all(self.driver.answer_failures()),
                requests_kernel_drops: dropped,
                requests_cut: read.cut,
                requests_read_errors: read.errors,
                unanswered: Unanswered::new(answered),
                forgotten_messages: answered.evicted_messages,
                end: if self.is_interrupted() { End::Interrupted } else { End::Ended },
                error: self.broken.as_ref().map(|failure| failure.what().to_owned()),
                elapsed_seconds: self.started.elapsed().as_secs_f64(),
            })
            .collect()
    }
}

/// How requests are answered.
fn answering(rate: Option<u64>) -> retransmitter::Config {
    let default = retransmitter::Config::default();
    let Some(rate) = rate else { return default };
    let times = |times: u64| Rate {
        bytes_per_second: rate.saturating_mul(times),
        burst: ANSWER_BURST.saturating_mul(times),
    };
    retransmitter::Config {
        address_rate: times(1),
        total_rate: times(TIMES_ONE),
        remote: None,
        ..default
    }
}

/// The moment so long after another; what a capture says of its times may be any number.
fn after(origin: Instant, pause: Duration) -> Instant {
    /// Longer than anybody waits, and short enough for every clock.
    const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    origin + pause.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_may_claim_any_time_without_a_panic() {
        let now = Instant::now();
        assert!(after(now, Duration::MAX) > now);
        assert_eq!(after(now, Duration::from_secs(1)), now + Duration::from_secs(1));
    }
}
