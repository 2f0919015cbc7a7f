//! The sockets and the clock around a [`Publisher`]: sends its packets on every line and its answers
//! to whom they are for, takes requests, keeps its time.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use gapless_core::journal::Driven;
use gapless_core::publisher::{self, Command, Event, Publisher};
use gapless_core::receiver::Source;
use gapless_core::retransmitter;
use gapless_core::transmitter;
use gapless_core::{Instant, Machine};
use mio::{Registry, Token};

use crate::attachment::{Attachment, CHECK_EVERY};
use crate::clock::Arrivals;
use crate::inbound::Inbound;
use crate::outbox::Outbox;
use crate::readiness::{Readiness, shorter};
use crate::socket::{Socket, Wishes, of};
use crate::stats::{ReadStats, SendFailure, SendStats};
use crate::sys::{ReceiveBatch, SendBatch};
use crate::turn::{TICK, Turn};
use crate::{Address, Clock, Error, InterfaceEvent};

/// How many batches of 64 requests a turn takes at most.
const ROUNDS: usize = 16;

/// How many sockets are waited for: that for requests.
const SOCKETS: usize = 1;

/// The most lines that a feed is sent on.
const MOST_LINES: usize = 32;

/// The configuration of a [`PublisherDriver`].
#[derive(Clone, Debug)]
pub struct PublisherConfig {
    /// The machine. There is no default.
    pub publisher: publisher::Config,
    /// The lines: every packet goes to each. At most 32; none by default.
    pub lines: Vec<Address>,
    /// Where requests are taken; port 0 lets the system choose. `None`: nowhere. `None` by default.
    pub requests: Option<SocketAddr>,
    /// The receive buffer asked for, of the socket for requests, in bytes. 1 MiB by default; zero leaves
    /// the system's default.
    pub receive_buffer: usize,
    /// How many hops multicast may travel: 0 stays on this machine, 1 on the local network. 1 by
    /// default.
    pub multicast_hops: u32,
    /// How many hops unicast lines may travel, from 1 to 255. `None` leaves the system's default.
    /// `None` by default.
    pub unicast_hops: Option<u32>,
    /// How long a packet for a line waits for room in the send buffer before it is dropped and
    /// counted: receivers ask for it again. Answers do not wait: who misses one asks again. 5 ms by
    /// default.
    pub send_patience: Duration,
    /// The clock; copies of one clock make the times of several drivers comparable. A new one by
    /// default.
    pub clock: Clock,
}

impl PublisherConfig {
    /// No lines, no requests, 1 MiB of receive buffer, one hop of multicast, 5 ms of patience.
    #[must_use]
    pub fn new(publisher: publisher::Config) -> Self {
        Self {
            publisher,
            lines: Vec::new(),
            requests: None,
            receive_buffer: 1 << 20,
            multicast_hops: 1,
            unicast_hops: None,
            send_patience: Duration::from_millis(5),
            clock: Clock::new(),
        }
    }
}

/// Stands between the machine and the sockets: sees every packet, and may drop it, hold it back,
/// or double it. For trying out loss; the default, [`PassThrough`], lets everything pass.
pub trait Tap {
    /// A packet is to be sent on line number `line`. Whatever is given to `send`, in that order,
    /// is sent in its place. What is held back goes out with a later packet: there are heartbeats
    /// when nothing else is sent.
    fn line(&mut self, line: usize, packet: Bytes, send: impl FnMut(Bytes));

    /// Whether an answer is sent.
    fn answer(&mut self, to: SocketAddr, packet: &[u8]) -> bool;
}

/// Lets everything pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PassThrough;

impl Tap for PassThrough {
    #[inline]
    fn line(&mut self, _line: usize, packet: Bytes, mut send: impl FnMut(Bytes)) {
        send(packet);
    }

    #[inline]
    fn answer(&mut self, _to: SocketAddr, _packet: &[u8]) -> bool {
        true
    }
}

/// A line as the driver sees it.
#[derive(Clone, Debug)]
pub struct SentLine {
    /// Where it goes.
    pub address: Address,
    /// The address that its socket is bound to.
    pub local: SocketAddr,
    /// The statistics of what was sent on it.
    pub stats: SendStats,
    /// The datagrams that the system did not take, by reason, in the order in which the reasons came up.
    pub failures: Vec<SendFailure>,
}

/// A feed's source on sockets: lines and re-request server in one.
///
/// Packets are collected and sent 64 by a system call: when so many are there, and at every
/// [`turn`](Self::turn). So publish what there is, then give the driver a turn; with a turn after
/// every message, none waits for another.
///
/// `M` is a [`Publisher`], or what stands around one, such as a
/// [`Recorder`](gapless_core::journal::Recorder): see [`with_machine`](Self::with_machine).
pub struct PublisherDriver<T = PassThrough, M = Publisher> {
    machine: M,
    clock: Clock,
    tap: T,
    readiness: Readiness,
    requests: Option<Requests>,
    out: Outgoing,
    /// When the interfaces of groups are looked at next.
    next_check: Instant,
}

/// The sending side.
struct Outgoing {
    lines: Vec<Line>,
    answers: Outbox<Bytes>,
    look_ups: VecDeque<Command>,
    max_look_ups: usize,
    batch: SendBatch,
    patience: Duration,
}

struct Line {
    address: Address,
    socket: Socket,
    outbox: Outbox<Bytes>,
    /// Of a group.
    attachment: Option<Attachment>,
}

/// The socket that requests come to and answers leave from.
struct Requests {
    inbound: Inbound,
    slots: ReceiveBatch,
}

impl PublisherDriver {
    /// Opens the sockets, and waits by a poll of its own.
    ///
    /// # Errors
    /// A socket cannot be had as it is asked for, or the configuration contradicts itself.
    pub fn new(config: PublisherConfig) -> Result<Self, Error> {
        Self::with_tap(config, PassThrough)
    }
}

impl<T: Tap> PublisherDriver<T> {
    /// How many tokens a driver uses, from the first one given to
    /// [`with_registry`](Self::with_registry).
    pub const TOKENS: usize = SOCKETS;

    /// As [`new`](PublisherDriver::new), with a tap.
    ///
    /// # Errors
    /// As `new`.
    pub fn with_tap(config: PublisherConfig, tap: T) -> Result<Self, Error> {
        Self::with_machine(config, tap, None, Machine::new)
    }

    /// As [`with_tap`](Self::with_tap), in somebody's own loop: sockets are registered for
    /// [`TOKENS`](Self::TOKENS) tokens from `first`, and turns never wait.
    ///
    /// # Errors
    /// As `with_tap`.
    pub fn with_registry(
        config: PublisherConfig,
        tap: T,
        registry: &Registry,
        first: Token,
    ) -> Result<Self, Error> {
        Self::with_machine(config, tap, Some((registry, first)), Machine::new)
    }
}

impl<T: Tap, M: Driven<Publisher>> PublisherDriver<T, M> {
    /// As [`with_tap`](PublisherDriver::with_tap), or with a registry as
    /// [`with_registry`](PublisherDriver::with_registry), around a machine that is made otherwise, such
    /// as one that is recorded: see
    /// [`ReceiverDriver::with_machine`](crate::ReceiverDriver::with_machine).
    ///
    /// # Errors
    /// As `with_tap`, or what `make` returns.
    pub fn with_machine(
        config: PublisherConfig,
        tap: T,
        registry: Option<(&Registry, Token)>,
        make: impl FnOnce(publisher::Config) -> Result<M, publisher::Error>,
    ) -> Result<Self, Error> {
        let readiness = Readiness::new(registry).map_err(Error::Poll)?;
        if config.lines.len() > MOST_LINES {
            let given = config.lines.len();
            return Err(Error::TooMany { what: "lines", given, most: MOST_LINES });
        }
        let mut lines: Vec<Line> = Vec::with_capacity(config.lines.len());
        for address in config.lines {
            let hops = match address.interface() {
                Some(_) => Some(config.multicast_hops),
                None => config.unicast_hops,
            };
            let socket = Socket::to_line(&address, hops).map_err(of(&address))?;
            let attachment = Attachment::new(&address);
            lines.push(Line { address, socket, outbox: Outbox::default(), attachment });
        }
        let wishes = Wishes {
            receive_buffer: config.receive_buffer,
            arrivals: Arrivals::Read,
            busy_poll: None,
        };
        let requests = match config.requests {
            Some(local) => {
                let inbound = Inbound::for_peers(local, wishes)?;
                readiness.register(&inbound.socket, 0).map_err(Error::Poll)?;
                Some(Requests { inbound, slots: ReceiveBatch::new(true) })
            }
            None => None,
        };
        Ok(Self {
            out: Outgoing {
                lines,
                answers: Outbox::default(),
                look_ups: VecDeque::new(),
                max_look_ups: config.publisher.retransmitter.max_look_ups,
                batch: SendBatch::new(),
                patience: config.send_patience,
            },
            machine: make(config.publisher)?,
            next_check: config.clock.now() + CHECK_EVERY,
            clock: config.clock,
            tap,
            readiness,
            requests,
        })
    }

    /// Takes the next message of the session.
    ///
    /// # Errors
    /// The machine refuses the message. When that is only for now ([`Error::is_full`]), packets are
    /// held back by the pace or by the tap: give the driver a turn, then try again.
    pub fn publish(&mut self, message: &[u8]) -> Result<(), Error> {
        match self.handle(Event::Transmit(transmitter::Event::Message(message))) {
            // Packets that wait here hold places of the ring.
            Err(error) if error.is_full() => {
                self.send();
                self.handle(Event::Transmit(transmitter::Event::Message(message)))
            }
            result => result,
        }
    }

    /// Sends what there is, in packets that are full or not.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.handle(Event::Transmit(transmitter::Event::Flush))?;
        self.send();
        Ok(())
    }

    /// Ends the session: sends what there is, then says for a while, turn by turn, that it ended.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn end(&mut self) -> Result<(), Error> {
        self.handle(Event::Transmit(transmitter::Event::End))?;
        self.send();
        Ok(())
    }

    /// Sends a captured packet as it is, in its own session and under its own numbers.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn republish(&mut self, packet: Bytes) -> Result<(), Error> {
        self.handle(Event::Republish(packet))
    }

    /// Lets the messages of a captured packet serve requests; nothing is sent.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn store(&mut self, packet: &[u8]) -> Result<(), Error> {
        self.handle(Event::Retransmit(retransmitter::Event::Store { packet }))
    }

    /// Hands the machine an event.
    ///
    /// # Errors
    /// The machine refuses it.
    pub fn handle(&mut self, event: Event<'_>) -> Result<(), Error> {
        self.machine.feed(self.clock.now(), event)?;
        self.drain();
        Ok(())
    }

    /// Gives sockets, timers and machine their turn: sends what is collected, waits at most
    /// `timeout` (`None`: as long as it takes) for the first request or timer, answers the requests
    /// that have come, up to a thousand.
    ///
    /// # Errors
    /// Waiting or reading fails for good. Single failures are counted.
    pub fn turn(&mut self, timeout: Option<Duration>) -> Result<Turn, Error> {
        self.check_interfaces();
        self.expire()?;
        self.send();
        let timeout = shorter(timeout, self.timeout());
        let Self { readiness, requests, .. } = self;
        let mark = |index| mark_ready(requests, index);
        readiness.wait(timeout, mark).map_err(Error::Poll)?;
        let mut turn = Turn::default();
        for _ in 0..ROUNDS {
            if !self.has_requests() {
                break;
            }
            turn.datagrams += self.read()?;
            self.send();
        }
        self.expire()?;
        self.send();
        turn.more = self.has_requests();
        Ok(turn)
    }

    /// Turns until `until` says so, which is asked after every turn and at least ten times a second.
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub fn run(&mut self, mut until: impl FnMut(&mut Self) -> bool) -> Result<(), Error> {
        while !until(self) {
            self.turn(Some(TICK))?;
        }
        Ok(())
    }

    /// How long the driver may be left alone if its socket does not become ready: zero when there is
    /// something to do, `None` for ever.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        if self.has_requests() || self.out.has_packets() {
            return Some(Duration::ZERO);
        }
        self.machine.poll_timeout().map(|at| at.since(self.now()))
    }

    /// Notes an event of somebody's own loop; whether it was the driver's.
    pub fn ready(&mut self, token: Token) -> bool {
        let index = self.readiness.index(token);
        mark_ready(&mut self.requests, index.unwrap_or(usize::MAX));
        index.is_some_and(|index| index < SOCKETS)
    }

    /// The next look-up for an archive, whose answer goes to [`handle`](Self::handle). There are
    /// none unless the machine is configured with an archive. Of those that nobody takes the oldest
    /// are dropped: the machine gives them up by itself.
    pub fn next_look_up(&mut self) -> Option<Command> {
        self.out.look_ups.pop_front()
    }

    /// The next line whose interface went away, or came back, and which of both. Only lines of groups have
    /// one. That of a line that came back is joined to its group by itself; who does not ask misses nothing
    /// but the words.
    pub fn next_interface_event(&mut self) -> Option<(usize, InterfaceEvent)> {
        let mut lines = self.out.lines.iter_mut().enumerate();
        lines.find_map(|(number, line)| Some((number, line.attachment.as_mut()?.take_event()?)))
    }

    /// A reason for which the system does not take packets, once for each line and reason: the line's
    /// place among the configured ones, or `None` for answers.
    pub fn next_send_failure(&mut self) -> Option<(Option<usize>, SendFailure)> {
        let Outgoing { lines, answers, .. } = &mut self.out;
        let mut of_lines = lines.iter_mut().enumerate();
        let next = of_lines.find_map(|(number, line)| {
            line.outbox.next_failure().map(|failure| (Some(number), failure))
        });
        next.or_else(|| answers.next_failure().map(|failure| (None, failure)))
    }

    /// The publisher.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        self.machine.machine()
    }

    /// The machine, with what stands around the publisher. Events are given by
    /// [`handle`](Self::handle), which does what they command.
    pub const fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// The tap.
    #[must_use]
    pub const fn tap(&self) -> &T {
        &self.tap
    }

    /// The time that the machine is given.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The lines, in configured order.
    #[must_use]
    pub fn lines(&self) -> Vec<SentLine> {
        let report = |line: &Line| SentLine {
            address: line.address.clone(),
            local: line.socket.local(),
            stats: line.outbox.stats,
            failures: line.outbox.failures().to_vec(),
        };
        self.out.lines.iter().map(report).collect()
    }

    /// Where requests are taken: with the port that the system chose.
    #[must_use]
    pub fn requests_address(&self) -> Option<SocketAddr> {
        self.requests.as_ref().map(|requests| requests.inbound.socket.local())
    }

    /// The receive buffer that was granted for requests, in bytes as they were asked for.
    #[must_use]
    pub fn requests_buffer(&self) -> Option<usize> {
        self.requests.as_ref().map(|requests| requests.inbound.socket.receive_buffer())
    }

    /// The statistics of reading requests.
    #[must_use]
    pub fn requests_read(&self) -> ReadStats {
        self.requests.as_ref().map(|requests| requests.inbound.stats).unwrap_or_default()
    }

    /// The statistics of sending answers.
    #[must_use]
    pub fn answers_sent(&self) -> SendStats {
        self.out.answers.stats
    }

    /// The answers that the system did not take, by reason, in the order in which the reasons came up.
    #[must_use]
    pub fn answer_failures(&self) -> &[SendFailure] {
        self.out.answers.failures()
    }

    /// Requests that the kernel dropped because the receive buffer was full.
    pub fn requests_dropped(&mut self) -> u64 {
        self.requests.as_mut().map_or(0, |requests| requests.inbound.socket.kernel_drops())
    }

    fn has_requests(&self) -> bool {
        self.requests.as_ref().is_some_and(|requests| requests.inbound.ready)
    }

    /// Reads the socket for requests once, and lets the machine answer.
    fn read(&mut self) -> Result<usize, Error> {
        let Self { machine, clock, tap, requests, out, .. } = self;
        let Some(Requests { inbound, slots }) = requests else { return Ok(0) };
        let count = inbound.receive(slots)?;
        let now = clock.now();
        for datagram in (0..count).map(|index| slots.get(index)) {
            if let Some(Source::Peer(from)) = inbound.source(&datagram) {
                machine.feed(
                    now,
                    Event::Retransmit(retransmitter::Event::Request {
                        from,
                        datagram: datagram.bytes,
                    }),
                )?;
                out.drain(machine, tap);
            }
        }
        Ok(count)
    }

    fn drain(&mut self) {
        self.out.drain(&mut self.machine, &mut self.tap);
        if self.out.answers.is_full_batch() {
            self.send();
        }
    }

    /// Sends what is collected.
    fn send(&mut self) {
        let Outgoing { lines, answers, batch, patience, .. } = &mut self.out;
        for line in lines {
            line.outbox.flush(&line.socket, batch, *patience);
        }
        match &self.requests {
            Some(Requests { inbound, .. }) => {
                answers.flush(&inbound.socket, batch, Duration::ZERO);
            }
            None => answers.discard(),
        }
    }

    /// Looks, if it is time to, whether the interfaces of groups are still there.
    fn check_interfaces(&mut self) {
        let now = self.clock.now();
        if now < self.next_check {
            return;
        }
        self.next_check = now + CHECK_EVERY;
        for Line { address, socket, attachment, .. } in &mut self.out.lines {
            if let Some(attachment) = attachment {
                attachment.check(|_, index| socket.send_on(address, index));
            }
        }
    }

    /// Lets the machine's timers run out that are due.
    fn expire(&mut self) -> Result<(), Error> {
        let Some(at) = self.machine.poll_timeout() else { return Ok(()) };
        let now = self.now();
        if at <= now {
            self.machine.handle_timeout(now)?;
            self.drain();
        }
        Ok(())
    }
}

impl Outgoing {
    /// Whether anything waits to be sent.
    fn has_packets(&self) -> bool {
        !self.answers.is_empty() || self.lines.iter().any(|line| !line.outbox.is_empty())
    }

    /// Takes the machine's commands until there are none; a line's packets leave when they fill a
    /// system call.
    fn drain(&mut self, machine: &mut impl Driven<Publisher>, tap: &mut impl Tap) {
        while let Some(command) = machine.poll_command() {
            match command {
                Command::Send { bytes } => self.send_on_lines(&bytes, tap),
                Command::Retransmit(retransmitter::Command::Answer { to, bytes }) => {
                    if tap.answer(to, &bytes) {
                        self.answers.push(bytes, to);
                    }
                }
                look_up @ Command::Retransmit(retransmitter::Command::LookUp { .. }) => {
                    if self.look_ups.len() >= self.max_look_ups {
                        self.look_ups.pop_front();
                    }
                    self.look_ups.push_back(look_up);
                }
            }
        }
    }

    fn send_on_lines(&mut self, packet: &Bytes, tap: &mut impl Tap) {
        for (number, Line { address, socket, outbox, .. }) in self.lines.iter_mut().enumerate() {
            let to = address.destination();
            tap.line(number, packet.clone(), |packet| outbox.push(packet, to));
            if outbox.is_full_batch() {
                outbox.flush(socket, &mut self.batch, self.patience);
            }
        }
    }
}

fn mark_ready(requests: &mut Option<Requests>, index: usize) {
    if let (Some(requests), 0) = (requests, index) {
        requests.inbound.ready = true;
    }
}

impl<T: fmt::Debug, M: fmt::Debug> fmt::Debug for PublisherDriver<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublisherDriver")
            .field("machine", &self.machine)
            .field("tap", &self.tap)
            .finish_non_exhaustive()
    }
}
