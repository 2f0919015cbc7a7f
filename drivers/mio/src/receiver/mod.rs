//! The sockets and the clock around a [`Receiver`]: reads lines and answers in batches, feeds the
//! machine by direct calls on the slots they lie in, sends its requests, keeps its time.

mod config;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use gapless_core::journal::Driven;
use gapless_core::receiver::{self, Batch, Call, Command, Event, LineId, Receiver, ServerId};
use gapless_core::wire::mold;
use gapless_core::{Instant, Machine};
use mio::{Registry, Token};

pub use config::{LineReport, ReceiverConfig, Sink};

use crate::attachment::{Attachment, CHECK_EVERY};
use crate::clock::WallClock;
use crate::inbound::{self, Inbound, Role};
use crate::outbox::Outbox;
use crate::readiness::{Readiness, shorter};
use crate::socket::{Socket, unspecified};
use crate::stats::{ReadStats, SendFailure, SendStats};
use crate::sys::{ReceiveBatch, SendBatch};
use crate::turn::{TICK, Turn};
use crate::{Address, Error, InterfaceEvent};

/// How often a turn goes around the sockets that have more: with 64 datagrams each time, at most
/// 1024 of each socket.
const ROUNDS: usize = 16;

/// How many rounds of reading a due timer waits at most: with 64 datagrams each, enough to empty a
/// receive buffer of 48 MiB.
const MAX_DEFERRED: u32 = 1024;

/// The first index of lines; below are the sockets for requests, IPv4 and IPv6.
const FIRST_LINE: usize = 2;

/// How many sockets there can be.
const SOCKETS: usize = FIRST_LINE + LineId::MAX.0 as usize + 1;

/// A feed's receiving side on sockets.
///
/// Call [`turn`](Self::turn) over and over, or [`run`](Self::run). In a mio loop of one's own, make
/// it [`with_registry`](Self::with_registry), hand it its events by [`ready`](Self::ready), wait no
/// longer than [`timeout`](Self::timeout), and call `turn`, which then never waits.
///
/// `M` is a [`Receiver`], or what stands around one, such as a
/// [`Recorder`](gapless_core::journal::Recorder): see [`with_machine`](Self::with_machine).
pub struct ReceiverDriver<M = Receiver> {
    machine: M,
    config: ReceiverConfig,
    wall: WallClock,
    readiness: Readiness,
    /// By token: requests over IPv4, over IPv6, then lines by number.
    sockets: Vec<Option<Inbound>>,
    lines: Vec<Line>,
    line_slots: ReceiveBatch,
    answer_slots: ReceiveBatch,
    requests: Requests,
    /// For how many rounds a due timer has waited.
    deferred: u32,
    /// When the interfaces of groups are looked at next, if there are any.
    next_check: Option<Instant>,
}

struct Line {
    id: LineId,
    address: Address,
    /// Index of its socket.
    socket: usize,
    /// Of a group.
    attachment: Option<Attachment>,
}

/// Requests on their way out, by family.
struct Requests {
    outboxes: [Outbox<[u8; mold::HEADER_LEN]>; 2],
    batch: SendBatch,
}

impl ReceiverDriver {
    /// How many tokens a driver uses, from the first one given to
    /// [`with_registry`](Self::with_registry).
    pub const TOKENS: usize = SOCKETS;

    /// Opens the sockets, joins the groups, and waits by a poll of its own.
    ///
    /// # Errors
    /// A socket cannot be had as it is asked for, or the configuration contradicts itself.
    pub fn new(config: ReceiverConfig) -> Result<Self, Error> {
        Self::with_machine(config, None, Machine::new)
    }

    /// As [`new`](Self::new), in somebody's own loop: sockets are registered for
    /// [`TOKENS`](Self::TOKENS) tokens from `first`.
    ///
    /// # Errors
    /// As `new`.
    pub fn with_registry(
        config: ReceiverConfig,
        registry: &Registry,
        first: Token,
    ) -> Result<Self, Error> {
        Self::with_machine(config, Some((registry, first)), Machine::new)
    }
}

impl<M: Driven<Receiver>> ReceiverDriver<M> {
    /// As [`new`](ReceiverDriver::new), or with a registry as
    /// [`with_registry`](ReceiverDriver::with_registry), around a machine that is made otherwise. This
    /// one leaves a journal:
    ///
    /// ```no_run
    /// use gapless_core::Machine;
    /// use gapless_core::journal::{Recorder, recorder};
    /// use gapless_mio::{JournalFile, ReceiverConfig, ReceiverDriver};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let sink = JournalFile::create_new("feed.journal")?;
    /// let config = ReceiverConfig { lines: vec!["127.0.0.1:5000".parse()?], ..Default::default() };
    /// let mut driver = ReceiverDriver::with_machine(config, None, |machine| {
    ///     Recorder::new(recorder::Config { machine, id: 0, sink: Some(sink), commands: false })
    /// })?;
    /// // … turn by turn; and now and then, for whoever wants to lose little when the program dies:
    /// if let Err(failure) = driver.machine_mut().flush() {
    ///     eprintln!("no more is recorded: {failure}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As `new`, or what `make` returns.
    pub fn with_machine(
        mut config: ReceiverConfig,
        registry: Option<(&Registry, Token)>,
        make: impl FnOnce(receiver::Config) -> Result<M, receiver::Error>,
    ) -> Result<Self, Error> {
        let readiness = Readiness::new(registry).map_err(Error::Poll)?;
        let lines = ids("lines", config.lines.len(), LineId::MAX.0)?.map(LineId);
        let servers = ids("servers", config.servers.len(), ServerId::MAX.0)?.map(ServerId);
        config.receiver.lines = lines.clone().collect();
        config.receiver.servers = servers.zip(config.servers.iter().copied()).collect();
        let mut driver = Self {
            machine: make(config.receiver.clone())?,
            wall: WallClock::new(config.clock),
            readiness,
            sockets: Vec::new(),
            lines: Vec::new(),
            line_slots: ReceiveBatch::new(false),
            answer_slots: ReceiveBatch::new(true),
            requests: Requests { outboxes: Default::default(), batch: SendBatch::new() },
            deferred: 0,
            next_check: None,
            config,
        };
        driver.sockets.resize_with(SOCKETS, || None);
        let lines = lines.zip(driver.config.lines.iter().cloned()).collect();
        for lines in inbound::by_socket(lines, driver.config.share_sockets)? {
            driver.open_lines(lines)?;
        }
        for server in driver.config.servers.clone() {
            driver.open_requests(server)?;
        }
        Ok(driver)
    }

    /// Gives sockets, timers and machine their turn: waits at most `timeout` (`None`: as long as it
    /// takes) for the first datagram or timer, takes what has come, up to some thousand datagrams,
    /// and sends what the machine asks.
    ///
    /// # Errors
    /// Waiting or reading fails for good. Single failures are counted.
    pub fn turn(&mut self, timeout: Option<Duration>, sink: &mut impl Sink) -> Result<Turn, Error> {
        if self.machine.has_commands() {
            self.drain(sink);
        }
        let mut turn = Turn::default();
        if let Some(time) = self.config.busy_poll {
            turn.datagrams = self.spin(timeout.map_or(time, |timeout| timeout.min(time)), sink)?;
        }
        let timeout = match turn.datagrams {
            0 => shorter(timeout, self.timeout()),
            _ => Some(Duration::ZERO),
        };
        self.wait(timeout)?;
        let looked = self.now();
        if self.is_due(looked) {
            self.wait(Some(Duration::ZERO))?;
        }
        for _ in 0..ROUNDS {
            self.expire(looked, sink)?;
            if !self.has_ready_sockets() {
                break;
            }
            for index in 0..self.sockets.len() {
                if self.sockets[index].as_ref().is_some_and(|inbound| inbound.ready) {
                    turn.datagrams += self.read(index, sink)?;
                }
            }
        }
        if self.next_check.is_some_and(|at| at <= looked) {
            self.check_interfaces(looked);
        }
        turn.more = self.has_ready_sockets();
        Ok(turn)
    }

    /// Turns until `until` says so, which is asked after every turn and at least ten times a second.
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub fn run<S: Sink>(
        &mut self,
        sink: &mut S,
        mut until: impl FnMut(&mut Self, &mut S) -> bool,
    ) -> Result<(), Error> {
        while !until(self, sink) {
            self.turn(Some(TICK), sink)?;
        }
        Ok(())
    }

    /// How long the driver may be left alone if no socket becomes ready: zero when there is
    /// something to do, `None` for ever.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        if self.has_ready_sockets() {
            return Some(Duration::ZERO);
        }
        let look = self.next_check;
        let next =
            self.machine.poll_timeout().map_or(look, |at| Some(look.map_or(at, |l| l.min(at))));
        next.map(|at| at.since(self.now()))
    }

    /// Notes an event of somebody's own loop; whether it was one of the driver's.
    pub fn ready(&mut self, token: Token) -> bool {
        match self.readiness.index(token) {
            Some(index) if index < SOCKETS => {
                mark_ready(&mut self.sockets, index);
                true
            }
            _ => false,
        }
    }

    /// Hands the machine an event that did not come from a socket. Lines are added by
    /// [`add_line`](Self::add_line).
    ///
    /// # Errors
    /// The machine refuses it, or a new server's address family has no socket yet and gets none.
    pub fn handle(&mut self, event: Event, sink: &mut impl Sink) -> Result<(), Error> {
        if let Event::AddServer(_, address) = event {
            self.open_requests(address)?;
        }
        // A new machine has a session to report, where it was configured with one.
        self.drain(sink);
        self.machine.feed(self.now(), event)?;
        self.drain(sink);
        self.send_requests();
        Ok(())
    }

    /// Receives from one line more, on a socket of its own.
    ///
    /// # Errors
    /// The number is taken, the address is another line's, or the socket cannot be had. Nothing has
    /// changed then.
    pub fn add_line(
        &mut self,
        line: LineId,
        address: Address,
        sink: &mut impl Sink,
    ) -> Result<(), Error> {
        if self.lines.iter().any(|known| known.id == line) {
            return Err(Error::LineExists(line));
        }
        if self.lines.iter().any(|known| inbound::is_same_line(&known.address, &address)) {
            return Err(Error::LineTwice { address });
        }
        self.handle(Event::AddLine(line), sink)?;
        let opened = self.open_lines(vec![(line, address)]);
        if opened.is_err() {
            self.handle(Event::RemoveLine(line), sink)?;
        }
        opened
    }

    /// Receives from a line no more. Unknown: nothing happens. A group that shares its socket with
    /// others is left when the last of them is removed; until then it is counted as stray.
    ///
    /// # Errors
    /// The machine refuses the number.
    pub fn remove_line(&mut self, line: LineId, sink: &mut impl Sink) -> Result<(), Error> {
        if let Some(at) = self.lines.iter().position(|known| known.id == line) {
            let Line { socket: index, .. } = self.lines.swap_remove(at);
            if self.lines.iter().all(|other| other.socket != index) {
                if let Some(inbound) = self.sockets[index].take() {
                    // Closing it would do the same; an error here changes nothing.
                    let _ = self.readiness.deregister(&inbound.socket);
                }
            } else if let Some(Inbound { role: Role::Groups(groups), .. }) =
                &mut self.sockets[index]
            {
                groups.retain(|(_, of)| *of != line);
            }
        }
        self.handle(Event::RemoveLine(line), sink)
    }

    /// The next line whose interface went away, or came back, and which of both. Only lines of groups have
    /// one. A group is joined again by itself; who does not ask misses nothing but the words.
    pub fn next_interface_event(&mut self) -> Option<(LineId, InterfaceEvent)> {
        let mut lines = self.lines.iter_mut();
        lines.find_map(|line| Some((line.id, line.attachment.as_mut()?.take_event()?)))
    }

    /// The receiver.
    #[must_use]
    pub fn receiver(&self) -> &Receiver {
        self.machine.machine()
    }

    /// The machine, with what stands around the receiver. Events are given by
    /// [`handle`](Self::handle), which does what they command.
    pub const fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// The time that the machine is given.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.config.clock.now()
    }

    /// The lines, in the order of their adding. Asks the kernel for its counters.
    pub fn lines(&mut self) -> Vec<LineReport> {
        let Self { machine, sockets, lines, .. } = self;
        let mut reports = Vec::with_capacity(lines.len());
        for line in lines {
            let Some(inbound) = &mut sockets[line.socket] else { continue };
            reports.push(LineReport {
                line: line.id,
                address: line.address.clone(),
                local: inbound.socket.local(),
                stats: machine.machine().line(line.id).unwrap_or_default(),
                read: inbound.stats,
                kernel_drops: inbound.socket.kernel_drops(),
                receive_buffer: inbound.socket.receive_buffer(),
            });
        }
        reports
    }

    /// The statistics of the sockets that answers come to.
    #[must_use]
    pub fn answers_read(&self) -> ReadStats {
        let mut sum = ReadStats::default();
        for inbound in self.sockets[..FIRST_LINE].iter().flatten() {
            sum += inbound.stats;
        }
        sum
    }

    /// Answers that the kernel dropped because the receive buffer was full.
    pub fn answers_dropped(&mut self) -> u64 {
        let sockets = self.sockets[..FIRST_LINE].iter_mut().flatten();
        sockets.map(|inbound| inbound.socket.kernel_drops()).sum()
    }

    /// A reason for which the system does not take requests, once for each address family and reason.
    pub fn next_send_failure(&mut self) -> Option<SendFailure> {
        self.requests.outboxes.iter_mut().find_map(Outbox::next_failure)
    }

    /// The statistics of what was sent to servers.
    #[must_use]
    pub fn requests_sent(&self) -> SendStats {
        let [mut sum, ipv6] =
            [&self.requests.outboxes[0], &self.requests.outboxes[1]].map(|o| o.stats);
        sum += ipv6;
        sum
    }

    /// The local addresses that requests are sent from, one for each address family in use.
    pub fn requests_from(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets[..FIRST_LINE].iter().flatten().map(|inbound| inbound.socket.local())
    }

    /// Reads one socket once, and hands on what came.
    fn read(&mut self, index: usize, sink: &mut impl Sink) -> Result<usize, Error> {
        let Self { machine, config, wall, sockets, line_slots, answer_slots, requests, .. } = self;
        let Some(inbound) = &mut sockets[index] else { return Ok(0) };
        let slots = match inbound.role {
            Role::Peers => answer_slots,
            Role::Line(_) | Role::Groups(_) => line_slots,
        };
        let count = inbound.receive(slots)?;
        let now = config.clock.now();
        wall.refresh(now);
        for datagram in (0..count).map(|index| slots.get(index)) {
            let Some(source) = inbound.source(&datagram) else { continue };
            let arrival = match inbound.arrival(&datagram) {
                Some(time) => {
                    let arrival = wall.to_core(time, now);
                    inbound.read_up_to = arrival;
                    arrival
                }
                None => now,
            };
            if let Some(batch) =
                machine.call(now, Call { arrival, source, datagram: datagram.bytes })
            {
                sink.batch(now, batch);
            }
            if machine.has_commands() {
                drain(machine, requests, sink);
            }
        }
        self.send_requests();
        Ok(count)
    }

    /// Reads all sockets over and over, until something comes, a timer is due, or `time` is over.
    fn spin(&mut self, time: Duration, sink: &mut impl Sink) -> Result<usize, Error> {
        let until = self.now() + time;
        loop {
            let mut datagrams = 0;
            for index in 0..self.sockets.len() {
                datagrams += self.read(index, sink)?;
            }
            let now = self.now();
            if datagrams > 0 || self.is_due(now) || now >= until {
                return Ok(datagrams);
            }
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        let Self { readiness, sockets, .. } = self;
        readiness.wait(timeout, |index| mark_ready(sockets, index)).map_err(Error::Poll)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.machine.poll_timeout().is_some_and(|at| at <= now)
    }

    /// Lets the machine's timers run out that were due when the sockets were `looked` at, once
    /// everything is read that came before: a program that was held up must not give up what waits
    /// in its sockets. Under a load that never ends timers are late, but not for ever.
    fn expire(&mut self, looked: Instant, sink: &mut impl Sink) -> Result<(), Error> {
        let due = self.machine.poll_timeout().filter(|at| *at <= looked);
        let Some(at) = due else { return Ok(()) };
        let is_read = |inbound: &Inbound| !inbound.ready || inbound.read_up_to >= at;
        if !self.sockets.iter().flatten().all(is_read) && self.deferred < MAX_DEFERRED {
            self.deferred += 1;
            return Ok(());
        }
        self.deferred = 0;
        self.machine.handle_timeout(self.now())?;
        self.drain(sink);
        self.send_requests();
        Ok(())
    }

    fn drain(&mut self, sink: &mut impl Sink) {
        drain(&mut self.machine, &mut self.requests, sink);
    }

    fn send_requests(&mut self) {
        let Requests { outboxes, batch } = &mut self.requests;
        for (outbox, inbound) in outboxes.iter_mut().zip(&self.sockets) {
            if outbox.is_empty() {
                continue;
            }
            match inbound {
                // A request that is dropped is asked again: no patience.
                Some(inbound) => outbox.flush(&inbound.socket, batch, Duration::ZERO),
                None => outbox.discard(),
            }
        }
    }

    fn has_ready_sockets(&self) -> bool {
        self.sockets.iter().flatten().any(|inbound| inbound.ready)
    }

    /// Opens the socket that these lines, one or several, come in on.
    fn open_lines(&mut self, lines: Vec<(LineId, Address)>) -> Result<(), Error> {
        // There are as many places as numbers of lines.
        let free = (FIRST_LINE..SOCKETS).find(|&index| self.sockets[index].is_none());
        let index = free.unwrap_or(SOCKETS - 1);
        let inbound = Inbound::for_lines(&lines, self.config.wishes())?;
        self.register(inbound, index)?;
        for (id, address) in lines {
            let attachment = Attachment::new(&address);
            if attachment.is_some() && self.next_check.is_none() {
                self.next_check = Some(self.now() + CHECK_EVERY);
            }
            self.lines.push(Line { id, address, socket: index, attachment });
        }
        Ok(())
    }

    /// Looks whether the interfaces of groups are still there, and has groups joined again on those that came
    /// back.
    fn check_interfaces(&mut self, now: Instant) {
        let wishes = self.config.wishes();
        let Self { readiness, sockets, lines, .. } = self;
        let mut has_groups = false;
        for Line { id, address, socket: index, attachment } in lines {
            let (Some(attachment), Some(inbound)) = (attachment, &mut sockets[*index]) else {
                continue;
            };
            has_groups = true;
            attachment.check(|from, to| {
                let register = |socket: &Socket| readiness.register(socket, *index);
                inbound.join_again((*id, address), (from, to), wishes, register)
            });
        }
        self.next_check = has_groups.then(|| now + CHECK_EVERY);
    }

    /// Opens the socket that a server's address family is asked from, unless it is there.
    fn open_requests(&mut self, server: SocketAddr) -> Result<(), Error> {
        let index = usize::from(server.is_ipv6());
        if self.sockets[index].is_some() {
            return Ok(());
        }
        let local = match self.config.requests_from {
            Some(local) if local.is_ipv4() == server.is_ipv4() => local,
            _ => unspecified(server.is_ipv4(), 0),
        };
        let inbound = Inbound::for_peers(local, self.config.wishes())?;
        self.register(inbound, index)
    }

    fn register(&mut self, inbound: Inbound, index: usize) -> Result<(), Error> {
        self.readiness.register(&inbound.socket, index).map_err(Error::Poll)?;
        self.sockets[index] = Some(inbound);
        Ok(())
    }
}

impl<M: fmt::Debug> fmt::Debug for ReceiverDriver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiverDriver")
            .field("config", &self.config)
            .field("machine", &self.machine)
            .finish_non_exhaustive()
    }
}

/// Takes the machine's commands until there are none.
fn drain(machine: &mut impl Driven<Receiver>, requests: &mut Requests, sink: &mut impl Sink) {
    let now = machine.context().now();
    while let Some(command) = machine.poll_command() {
        match command {
            Command::Batch(batch) => {
                let Batch { session, first, count, offset, arrival, origin, repaired, .. } = batch;
                let bytes = &*batch.bytes;
                let batch =
                    Batch { session, first, count, bytes, offset, arrival, origin, repaired };
                sink.batch(now, batch);
            }
            Command::Request { to, request, .. } => {
                requests.outboxes[usize::from(to.is_ipv6())].push(request.to_bytes(), to);
            }
            notice => sink.notice(now, notice),
        }
    }
}

fn mark_ready(sockets: &mut [Option<Inbound>], index: usize) {
    if let Some(Some(inbound)) = sockets.get_mut(index) {
        inbound.ready = true;
    }
}

/// `given` numbers from 0, where there may be as many.
fn ids(
    what: &'static str,
    given: usize,
    last: u8,
) -> Result<impl Iterator<Item = u8> + Clone, Error> {
    let most = usize::from(last) + 1;
    match given <= most {
        true => Ok((0..=last).take(given)),
        false => Err(Error::TooMany { what, given, most }),
    }
}
