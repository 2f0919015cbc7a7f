//! Both drivers over real sockets: turns, other people's loops, and a feed that arrives complete.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use bytes::Bytes;
use gapless_core::receiver::{self, Batch, Command, Event, LineId, ServerId};
use gapless_core::retransmitter;
use gapless_core::retransmitter::LookUpId;
use gapless_core::wire::mold::{HEARTBEAT, Header, PacketWriter, Request};
use gapless_core::{Instant, Machine, Session, publisher, transmitter};
use gapless_mio::{
    Address, Arrivals, Error, PublisherConfig, PublisherDriver, ReceiverConfig, ReceiverDriver,
    Sink, Tap,
};
use gapless_tests::in_namespace;
use mio::{Events, Poll, Token};

const MILLISECOND: Duration = Duration::from_millis(1);
const NONE: Option<Duration> = Some(Duration::ZERO);

/// Remembers all that it is given, and that time did not go back meanwhile.
#[derive(Default)]
struct Collected {
    now: Instant,
    messages: Vec<(u64, Vec<u8>)>,
    notices: Vec<Command>,
}

impl Sink for Collected {
    fn batch(&mut self, now: Instant, batch: Batch<&[u8]>) {
        self.pass(now);
        let messages = batch.messages().map(|(number, message)| (number, message.to_vec()));
        self.messages.extend(messages);
    }

    fn notice(&mut self, now: Instant, notice: Command) {
        self.pass(now);
        self.notices.push(notice);
    }
}

impl Collected {
    fn pass(&mut self, now: Instant) {
        assert!(now >= self.now && now > Instant::ZERO, "{now} after {}", self.now);
        self.now = now;
    }

    fn has_ended(&self) -> bool {
        self.notices.iter().any(|notice| matches!(notice, Command::SessionEnded { .. }))
    }
}

fn session() -> Session {
    Session::from_name(b"TEST").unwrap()
}

fn address(written: &str) -> Address {
    written.parse().unwrap()
}

fn receiving(lines: &[&str]) -> ReceiverConfig {
    ReceiverConfig {
        lines: lines.iter().map(|line| address(line)).collect(),
        ..ReceiverConfig::default()
    }
}

fn publishing(lines: impl IntoIterator<Item = Address>) -> PublisherConfig {
    PublisherConfig {
        lines: lines.into_iter().collect(),
        requests: Some("127.0.0.1:0".parse().unwrap()),
        ..PublisherConfig::new(publisher::Config::new(session()))
    }
}

/// Where a publisher sends to reach each of a receiver's lines.
fn lines_of(receiver: &mut ReceiverDriver) -> Vec<Address> {
    let to = |line: gapless_mio::LineReport| Address::unicast(line.local).unwrap();
    receiver.lines().into_iter().map(to).collect()
}

fn message(number: u64) -> Vec<u8> {
    let length = usize::try_from(number % 61).unwrap();
    number.to_be_bytes().into_iter().cycle().take(length).collect()
}

/// A heartbeat, which every receiver takes at any time.
fn heartbeat() -> [u8; 20] {
    Header { session: session(), sequence: 1, count: HEARTBEAT }.to_bytes()
}

/// Publishes messages 1 to `count` and the end, and receives until the end has come through.
fn pass_through<T: Tap>(
    publisher: &mut PublisherDriver<T>,
    receiver: &mut ReceiverDriver,
    count: u64,
) -> Collected {
    let server = publisher.requests_address().unwrap();
    let mut collected = Collected::default();
    receiver.handle(Event::AddServer(ServerId(0), server), &mut collected).unwrap();
    for number in 1..=count {
        publisher.publish(&message(number)).unwrap();
        if number % 256 == 0 {
            publisher.turn(NONE).unwrap();
            receiver.turn(NONE, &mut collected).unwrap();
        }
    }
    publisher.end().unwrap();
    for _ in 0..20_000 {
        if collected.has_ended() {
            break;
        }
        publisher.turn(NONE).unwrap();
        receiver.turn(Some(MILLISECOND), &mut collected).unwrap();
    }
    collected
}

fn assert_complete(collected: &Collected, count: u64) {
    assert!(collected.has_ended(), "{} of {count} messages", collected.messages.len());
    let all: Vec<_> = (1..=count).map(|number| (number, message(number))).collect();
    assert!(collected.messages == all);
}

#[test]
fn a_feed_arrives_complete_over_ipv4_and_ipv6() {
    for line in ["127.0.0.1:0", "[::1]:0"] {
        let mut receiver = ReceiverDriver::new(receiving(&[line])).unwrap();
        let mut publisher = PublisherDriver::new(PublisherConfig {
            requests: Some(line.parse().unwrap()),
            ..publishing(lines_of(&mut receiver))
        });
        let publisher = publisher.as_mut().unwrap();
        let collected = pass_through(publisher, &mut receiver, 5_000);
        assert_complete(&collected, 5_000);
        let sent = publisher.lines()[0].stats;
        assert_eq!(sent.dropped(), 0);
        assert!(sent.writes < sent.datagrams / 2, "{sent:?}");
    }
}

/// Drops every n-th packet of a line, every n-th answer, and keeps some packets back.
struct Lossy {
    every: [u64; 2],
    seen: [u64; 2],
    held: [Option<Bytes>; 2],
    answers: u64,
}

impl Tap for Lossy {
    fn line(&mut self, line: usize, packet: Bytes, mut send: impl FnMut(Bytes)) {
        self.seen[line] += 1;
        match self.seen[line] % self.every[line] {
            0 => {}
            1 if self.held[line].is_none() => self.held[line] = Some(packet),
            2 => {
                send(packet.clone());
                send(packet);
            }
            _ => {
                send(packet);
                self.held[line].take().into_iter().for_each(send);
            }
        }
    }

    fn answer(&mut self, _to: SocketAddr, _packet: &[u8]) -> bool {
        self.answers += 1;
        !self.answers.is_multiple_of(3)
    }
}

#[test]
fn a_feed_arrives_complete_over_two_lossy_lines_with_lossy_answers() {
    let mut receiver = ReceiverDriver::new(receiving(&["127.0.0.1:0", "127.0.0.1:0"])).unwrap();
    let tap = Lossy { every: [5, 7], seen: [0; 2], held: [None, None], answers: 0 };
    let config = publishing(lines_of(&mut receiver));
    let mut publisher = PublisherDriver::with_tap(config, tap).unwrap();
    let collected = pass_through(&mut publisher, &mut receiver, 50_000);
    assert_complete(&collected, 50_000);
    assert!(publisher.tap().answers > 0);
    assert!(receiver.receiver().stats().gaps_filled_by_request > 0);
    let [first, second] = receiver.lines().try_into().unwrap();
    assert!(first.stats.messages_first > 0 && second.stats.messages_first > 0);
    assert_eq!(publisher.requests_read().datagrams, receiver.requests_sent().datagrams);
    assert_eq!(publisher.answers_sent().datagrams, receiver.answers_read().datagrams);
}

#[test]
fn a_feed_arrives_complete_over_two_groups_on_one_port_and_one_socket() {
    in_namespace!();
    let lines = ["239.1.1.1:5000@lo", "239.1.1.2:5000@127.0.0.1"];
    for share_sockets in [false, true] {
        let config = ReceiverConfig { share_sockets, ..receiving(&lines) };
        let mut receiver = ReceiverDriver::new(config).unwrap();
        let tap = Lossy { every: [5, 7], seen: [0; 2], held: [None, None], answers: 0 };
        let mut publisher = PublisherDriver::with_tap(publishing(lines.map(address)), tap).unwrap();
        let collected = pass_through(&mut publisher, &mut receiver, 10_000);
        assert_complete(&collected, 10_000);
        for line in receiver.lines() {
            assert!(line.stats.messages_first > 0 && line.stats.duplicates > 0);
        }
    }
}

#[test]
fn a_turn_that_may_not_wait_ends_with_nothing_read() {
    let mut receiver = ReceiverDriver::new(receiving(&["127.0.0.1:0"])).unwrap();
    let turn = receiver.turn(NONE, &mut Collected::default()).unwrap();
    assert_eq!((turn.datagrams, turn.more), (0, false));
    let mut publisher = PublisherDriver::new(publishing([])).unwrap();
    let turn = publisher.turn(NONE).unwrap();
    assert_eq!((turn.datagrams, turn.more), (0, false));
}

#[test]
fn a_turn_waits_for_the_first_datagram() {
    let busy = ReceiverConfig { busy_poll: Some(MILLISECOND), ..receiving(&["127.0.0.1:0"]) };
    for config in [receiving(&["127.0.0.1:0"]), busy] {
        let mut receiver = ReceiverDriver::new(config).unwrap();
        let to = receiver.lines()[0].local;
        let sender = std::thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.send_to(&heartbeat(), to).unwrap();
        });
        let turn = receiver.turn(None, &mut Collected::default()).unwrap();
        assert_eq!(turn.datagrams, 1);
        sender.join().unwrap();
    }
}

/// Does nothing when the signal comes, but what waits then is interrupted.
fn interrupt_by(signal: libc::c_int) {
    extern "C" fn nothing(_signal: libc::c_int) {}
    let handler: extern "C" fn(libc::c_int) = nothing;
    // SAFETY: a zeroed action is a valid one, without flags; the handler touches nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
    }
}

#[test]
fn a_signal_ends_no_driver() {
    interrupt_by(libc::SIGUSR1);
    let mut receiver = ReceiverDriver::new(receiving(&["127.0.0.1:0"])).unwrap();
    let mut publisher = PublisherDriver::new(publishing([])).unwrap();
    let to = receiver.lines()[0].local;
    let requests = publisher.requests_address().unwrap();
    // SAFETY: asks for the calling thread.
    let waiting = unsafe { libc::pthread_self() } as usize;
    let sender = std::thread::spawn(move || {
        for _ in 0..20 {
            std::thread::sleep(5 * MILLISECOND);
            // SAFETY: the thread waits for this one to end.
            unsafe { libc::pthread_kill(waiting as libc::pthread_t, libc::SIGUSR1) };
        }
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&heartbeat(), to).unwrap();
        socket.send_to(&Request { session: session(), sequence: 1, count: 1 }.to_bytes(), requests)
    });
    let mut collected = Collected::default();
    let patience = 10_000 * MILLISECOND;
    let mut turns = 0..100;
    assert!(turns.any(|_| receiver.turn(Some(patience), &mut collected).unwrap().datagrams > 0));
    assert!(turns.any(|_| publisher.turn(Some(patience)).unwrap().datagrams > 0));
    sender.join().unwrap().unwrap();
    assert_eq!(receiver.lines()[0].read.errors, 0);
    assert_eq!(publisher.requests_read().errors, 0);
}

#[test]
fn a_turn_ends_when_a_timer_of_the_machine_is_due() {
    let mut config = receiving(&["127.0.0.1:0"]);
    config.receiver.line_timeout = MILLISECOND;
    let mut receiver = ReceiverDriver::new(config).unwrap();
    let to = receiver.lines()[0].local;
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&heartbeat(), to).unwrap();
    let mut collected = Collected::default();
    for _ in 0..100 {
        if collected.notices.contains(&Command::LineDown(LineId(0))) {
            break;
        }
        // For ever, if it were not for the timer.
        receiver.turn(None, &mut collected).unwrap();
    }
    assert!(collected.notices.contains(&Command::LineUp(LineId(0))));
    assert!(collected.notices.contains(&Command::LineDown(LineId(0))));
}

#[test]
fn the_work_of_a_turn_is_bounded_and_the_rest_is_taken_by_the_next_turns() {
    let mut receiver = ReceiverDriver::new(receiving(&["127.0.0.1:0"])).unwrap();
    let to = receiver.lines()[0].local;
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..2500 {
        sender.send_to(&heartbeat(), to).unwrap();
    }
    let mut collected = Collected::default();
    let mut turns = Vec::new();
    loop {
        let turn = receiver.turn(NONE, &mut collected).unwrap();
        turns.push(turn.datagrams);
        if !turn.more {
            break;
        }
        assert_eq!(receiver.timeout(), NONE);
    }
    assert_eq!(turns, [1024, 1024, 452]);
    let line = &receiver.lines()[0];
    assert_eq!(line.stats.packets, 2500);
    assert_eq!((line.read.datagrams, line.read.bytes), (2500, 2500 * 20));
    assert_eq!(line.read.reads, 40);
}

#[test]
fn what_the_kernel_drops_is_reported_of_the_line_it_happens_to() {
    let config =
        ReceiverConfig { receive_buffer: 8192, ..receiving(&["127.0.0.1:0", "127.0.0.1:0"]) };
    let mut receiver = ReceiverDriver::new(config).unwrap();
    let to = receiver.lines()[1].local;
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..1000 {
        sender.send_to(&heartbeat(), to).unwrap();
    }
    receiver.turn(NONE, &mut Collected::default()).unwrap();
    let [first, second] = receiver.lines().try_into().unwrap();
    assert_eq!(first.kernel_drops, 0);
    assert!(second.kernel_drops > 0);
    assert_eq!(second.kernel_drops + second.read.datagrams, 1000);
    assert_eq!(second.receive_buffer, 8192);
}

#[test]
fn both_drivers_live_in_somebody_elses_loop() {
    let mut poll = Poll::new().unwrap();
    let (in_first, out_first) = (Token(100), Token(200));
    let mut receiver =
        ReceiverDriver::with_registry(receiving(&["127.0.0.1:0"]), poll.registry(), in_first)
            .unwrap();
    let config = publishing(lines_of(&mut receiver));
    let tap = Lossy { every: [3, 3], seen: [0; 2], held: [None, None], answers: 0 };
    let mut publisher =
        PublisherDriver::with_registry(config, tap, poll.registry(), out_first).unwrap();
    let mut collected = Collected::default();
    let server = publisher.requests_address().unwrap();
    receiver.handle(Event::AddServer(ServerId(0), server), &mut collected).unwrap();
    for number in 1..=1000 {
        publisher.publish(&message(number)).unwrap();
    }
    publisher.end().unwrap();
    let mut events = Events::with_capacity(8);
    for _ in 0..20_000 {
        if collected.has_ended() {
            break;
        }
        publisher.turn(None).unwrap();
        receiver.turn(None, &mut collected).unwrap();
        let wait = [receiver.timeout(), publisher.timeout(), Some(MILLISECOND)];
        poll.poll(&mut events, wait.into_iter().flatten().min()).unwrap();
        for event in &events {
            let token = event.token();
            assert!(receiver.ready(token) != publisher.ready(token), "{token:?}");
        }
    }
    assert_complete(&collected, 1000);
    assert!(!receiver.ready(Token(99)) && !publisher.ready(Token(201)));
}

#[test]
fn a_server_that_nobody_is_stops_nothing() {
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = receiving(&["127.0.0.1:0"]);
    config.servers = vec![nobody];
    config.receiver.give_up = Some(20 * MILLISECOND);
    let mut receiver = ReceiverDriver::new(config).unwrap();
    let config = publishing(lines_of(&mut receiver));
    let tap = Lossy { every: [4, 4], seen: [0; 2], held: [None, None], answers: 0 };
    let mut publisher = PublisherDriver::with_tap(config, tap).unwrap();
    let mut collected = Collected::default();
    for number in 1..=2000 {
        publisher.publish(&message(number)).unwrap();
    }
    publisher.end().unwrap();
    for _ in 0..20_000 {
        if collected.has_ended() {
            break;
        }
        publisher.turn(NONE).unwrap();
        receiver.turn(Some(MILLISECOND), &mut collected).unwrap();
    }
    let lost = receiver.receiver().stats().lost;
    assert!(collected.has_ended() && lost > 0);
    assert_eq!(collected.messages.len() as u64 + lost, 2000);
    assert!(receiver.requests_sent().datagrams > 0);
}

#[test]
fn lines_are_added_and_removed_while_running() {
    let mut receiver = ReceiverDriver::new(receiving(&[])).unwrap();
    let mut collected = Collected::default();
    let line = LineId(5);
    receiver.add_line(line, address("127.0.0.1:0"), &mut collected).unwrap();
    let twice = receiver.add_line(line, address("127.0.0.1:0"), &mut collected);
    assert!(matches!(twice, Err(Error::LineExists(LineId(5)))));

    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(&heartbeat(), receiver.lines()[0].local).unwrap();
    assert_eq!(receiver.turn(NONE, &mut collected).unwrap().datagrams, 1);
    assert_eq!(receiver.lines()[0].stats.packets, 1);
    assert!(collected.notices.contains(&Command::LineUp(line)));

    receiver.remove_line(line, &mut collected).unwrap();
    assert!(receiver.lines().is_empty());
    assert_eq!(receiver.receiver().line(line), None);
    receiver.add_line(line, address("127.0.0.1:0"), &mut collected).unwrap();
    assert_eq!(receiver.lines().len(), 1);
}

#[test]
fn a_line_that_cannot_be_had_is_not_added() {
    let mut receiver = ReceiverDriver::new(receiving(&[])).unwrap();
    let mut collected = Collected::default();
    let nowhere = address("239.1.1.1:5000@no-such-if");
    let failed = receiver.add_line(LineId(1), nowhere, &mut collected);
    assert!(matches!(failed, Err(Error::Line { .. })));
    assert_eq!(receiver.receiver().line(LineId(1)), None);
    assert!(receiver.lines().is_empty());
}

#[test]
fn lines_that_share_a_socket_come_and_go_one_by_one() {
    in_namespace!();
    let lines = ["239.1.1.1:5000@lo", "239.1.1.2:5000@lo"];
    let config = ReceiverConfig { share_sockets: true, ..receiving(&lines) };
    let mut receiver = ReceiverDriver::new(config).unwrap();
    let mut collected = Collected::default();
    let twice = receiver.add_line(LineId(2), address(lines[1]), &mut collected);
    assert!(matches!(twice, Err(Error::LineTwice { .. })));
    receiver.remove_line(LineId(0), &mut collected).unwrap();
    // Takes the number that the shared socket was opened for.
    receiver.add_line(LineId(0), address("239.1.1.3:5000@lo"), &mut collected).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for group in ["239.1.1.1", "239.1.1.2", "239.1.1.3"] {
        sender.send_to(&heartbeat(), (group, 5000)).unwrap();
    }
    receiver.turn(NONE, &mut collected).unwrap();
    let [second, first] = receiver.lines().try_into().unwrap();
    assert_eq!((second.line, second.stats.packets, second.read.stray), (LineId(1), 1, 1));
    assert_eq!((first.line, first.stats.packets, first.read.stray), (LineId(0), 1, 0));
}

/// A packet of one message.
fn packet(number: u64) -> Vec<u8> {
    let mut buffer = [0; 64];
    let mut writer = PacketWriter::new(&mut buffer, session(), number).unwrap();
    assert!(writer.push(&message(number % 32)));
    let length = writer.as_bytes().len();
    buffer[..length].to_vec()
}

#[test]
fn what_waits_in_a_socket_is_read_before_it_is_given_up() {
    for arrivals in [Arrivals::Read, Arrivals::Kernel, Arrivals::KernelEach] {
        let mut config = ReceiverConfig { arrivals, ..receiving(&["127.0.0.1:0"]) };
        config.receiver.session = Some(session());
        config.receiver.give_up = Some(MILLISECOND);
        let mut receiver = ReceiverDriver::new(config).unwrap();
        let mut collected = Collected::default();
        let to = receiver.lines()[0].local;
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let send = |number| sender.send_to(&packet(number), to).unwrap();
        // More than a turn reads, all before the deadline, but for the kernel's clock;
        // and what is missing comes last.
        for number in (1..=1).chain(3..=1500) {
            send(number);
        }
        send(2);
        receiver.turn(NONE, &mut collected).unwrap();
        assert_eq!(collected.messages.len(), 1);
        std::thread::sleep(2 * MILLISECOND);
        while receiver.turn(NONE, &mut collected).unwrap().more {}
        receiver.turn(NONE, &mut collected).unwrap();
        assert_eq!(receiver.receiver().stats().lost, 0, "{arrivals:?}");
        assert_eq!(collected.messages.len(), 1500);
    }
}

#[test]
fn run_goes_on_until_it_is_told_to_stop() {
    let mut receiver = ReceiverDriver::new(receiving(&["127.0.0.1:0"])).unwrap();
    let mut publisher = PublisherDriver::new(publishing(lines_of(&mut receiver))).unwrap();
    publisher.publish(b"the only message").unwrap();
    publisher.end().unwrap();
    let mut collected = Collected::default();
    receiver
        .run(&mut collected, |_, collected| {
            publisher.turn(NONE).unwrap();
            collected.has_ended()
        })
        .unwrap();
    assert_eq!(collected.messages, [(1, b"the only message".to_vec())]);
    let mut asked = 0;
    publisher
        .run(|_| {
            asked += 1;
            asked == 3
        })
        .unwrap();
    assert_eq!(asked, 3);
}

#[test]
fn a_message_that_the_pace_holds_back_is_refused_for_now() {
    let mut config = publishing([]);
    let pace = gapless_core::rate::Rate { bytes_per_second: 1, burst: 0 };
    config.publisher.transmitter = Some(transmitter::Config {
        ring: 2,
        flush_delay: Duration::ZERO,
        pace: Some(pace),
        ..transmitter::Config::new(session())
    });
    let mut publisher = PublisherDriver::new(config).unwrap();
    let error = (0..10_000).find_map(|_| publisher.publish(&[0; 1000]).err()).unwrap();
    assert!(error.is_full(), "{error}");
    let too_large = publisher.publish(&[0; 2000]).unwrap_err();
    assert!(!too_large.is_full(), "{too_large}");
}

/// A publisher of three messages, which has an archive for what came before them.
fn with_archive(requests: Option<SocketAddr>, first_sequence: u64) -> PublisherDriver {
    let mut config = publishing([]);
    config.requests = requests;
    let transmitter = transmitter::Config { first_sequence, ..transmitter::Config::new(session()) };
    config.publisher.transmitter = Some(transmitter);
    config.publisher.retransmitter.archive = true;
    config.publisher.retransmitter.max_look_ups = 4;
    let mut publisher = PublisherDriver::new(config).unwrap();
    for _ in 0..3 {
        publisher.publish(b"message").unwrap();
    }
    publisher.flush().unwrap();
    publisher
}

fn ask(publisher: &mut PublisherDriver, from: SocketAddr, sequence: u64) {
    let datagram = &Request { session: session(), sequence, count: 1 }.to_bytes()[..];
    publisher
        .handle(publisher::Event::Retransmit(retransmitter::Event::Request { from, datagram }))
        .unwrap();
}

#[test]
fn an_answer_that_waits_to_be_sent_wants_a_turn_at_once() {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut publisher = with_archive(Some("127.0.0.1:0".parse().unwrap()), 1);
    assert_ne!(publisher.timeout(), NONE);
    ask(&mut publisher, client.local_addr().unwrap(), 2);
    assert_eq!(publisher.timeout(), NONE);
    publisher.turn(NONE).unwrap();
    assert_ne!(publisher.timeout(), NONE);
    assert_eq!(publisher.answers_sent().datagrams, 1);
}

#[test]
fn requests_handed_over_without_a_turn_are_answered_all_the_same() {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut publisher = with_archive(Some("127.0.0.1:0".parse().unwrap()), 1);
    for _ in 0..100 {
        ask(&mut publisher, client.local_addr().unwrap(), 2);
    }
    assert_eq!(publisher.answers_sent().datagrams, 64);
}

#[test]
fn answers_that_no_socket_leads_to_are_dropped_and_counted() {
    let mut publisher = with_archive(None, 1);
    for _ in 0..100 {
        ask(&mut publisher, "127.0.0.1:9".parse().unwrap(), 2);
    }
    publisher.turn(NONE).unwrap();
    assert_eq!(publisher.answers_sent().unreachable, 100);
    assert_ne!(publisher.timeout(), NONE);
}

#[test]
fn look_ups_that_nobody_takes_do_not_pile_up() {
    let mut publisher = with_archive(None, 1000);
    for sequence in 1..=100 {
        ask(&mut publisher, "127.0.0.1:9".parse().unwrap(), sequence);
        let id = LookUpId(sequence - 1);
        publisher
            .handle(publisher::Event::Retransmit(retransmitter::Event::NotFound { id }))
            .unwrap();
    }
    let left = std::iter::from_fn(|| publisher.next_look_up());
    let left: Vec<u64> = left
        .map(|look_up| match look_up {
            publisher::Command::Retransmit(retransmitter::Command::LookUp { first, .. }) => first,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(left, [97, 98, 99, 100]);
}

#[test]
fn more_lines_than_there_are_numbers_for_are_refused() {
    let error = ReceiverDriver::new(receiving(&["127.0.0.1:0"; 33])).unwrap_err();
    assert_eq!(error.to_string(), "33 lines are too many: the most are 32");
    let error = PublisherDriver::new(publishing(vec![address("127.0.0.1:9"); 33])).unwrap_err();
    assert!(matches!(error, Error::TooMany { given: 33, most: 32, .. }));
}

#[test]
fn a_configuration_that_a_machine_refuses_is_refused() {
    let config = ReceiverConfig {
        receiver: receiver::Config { max_attempts: 0, ..receiver::Config::default() },
        ..receiving(&[])
    };
    assert!(matches!(ReceiverDriver::new(config), Err(Error::Receiver(_))));
}
