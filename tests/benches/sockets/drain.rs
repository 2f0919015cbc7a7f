//! The rounds, and their table.

use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use gapless_core::receiver::{self, Batch, Command, Start};
use gapless_core::wire::mold::Packet;
use gapless_mio::{Arrivals, ReceiverConfig, ReceiverDriver, Sink};

use crate::bare::BareLoop;
use crate::feed::{SESSION, Tally, feed};

/// The bound: the median of the ratios.
const MAX_RATIO: f64 = 1.15;
const ROUNDS: usize = 50;
/// Rounds before those, for caches, page faults, and a receiver that knows its line.
const WARM_UP: usize = 5;
/// The most datagrams of a round; fewer where the receive buffer takes fewer.
const MOST_PACKETS: u64 = 2_000;
/// The receive buffer asked for.
const BUFFER: usize = 16 << 20;

/// How many ways of draining a socket are compared, and which of them the goal is for.
const WAYS: usize = 5;
const DRIVER: usize = 2;

/// One way of draining a socket.
trait Drain {
    fn address(&mut self) -> SocketAddr;
    /// Reads once, without waiting. Returns how many datagrams that were.
    fn turn(&mut self) -> usize;
    fn tally(&mut self) -> &mut Tally;
}

struct Bare(BareLoop, Tally);

impl Bare {
    fn new(receive_buffer: usize, kernel_times: bool) -> Self {
        let bare = BareLoop::new(bare_socket(receive_buffer), kernel_times);
        Self(bare, Tally::default())
    }
}

impl Drain for Bare {
    fn address(&mut self) -> SocketAddr {
        self.0.socket.local_addr().unwrap()
    }

    fn turn(&mut self) -> usize {
        self.0.turn(&mut self.1)
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.1
    }
}

struct Driver(ReceiverDriver, Tally);

impl Drain for Driver {
    fn address(&mut self) -> SocketAddr {
        self.0.lines()[0].local
    }

    fn turn(&mut self) -> usize {
        self.0.turn(Some(Duration::ZERO), &mut self.1).unwrap().datagrams
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.1
    }
}

impl Sink for Tally {
    #[inline]
    fn batch(&mut self, _now: gapless_core::Instant, batch: Batch<&[u8]>) {
        self.add(batch.messages());
    }

    fn notice(&mut self, _now: gapless_core::Instant, _: Command) {}
}

impl Driver {
    fn new(arrivals: Arrivals) -> Self {
        let config = ReceiverConfig {
            receiver: receiver::Config {
                session: Some(SESSION),
                start: Start::At(1),
                ..receiver::Config::default()
            },
            lines: vec!["127.0.0.1:0".parse().unwrap()],
            receive_buffer: BUFFER,
            arrivals,
            ..ReceiverConfig::default()
        };
        Self(ReceiverDriver::new(config).unwrap(), Tally::default())
    }

    fn receive_buffer(&mut self) -> usize {
        self.0.lines()[0].receive_buffer
    }
}

/// Median nanoseconds a packet, and the median of the ratios to the bare loop.
struct Outcome {
    nanos: f64,
    ratio: f64,
}

pub(crate) fn table() -> ExitCode {
    println!("{:<36}{:>10}{:>13}", "nanoseconds a packet, median", "1 message", "35 messages");
    let columns = [measure(1), measure(35)];
    let names = [
        "bare loop",
        "bare loop, kernel times",
        "gapless-mio and receiver",
        "gapless-mio, kernel times of each",
        "gapless-mio, no kernel times",
    ];
    for (row, name) in names.iter().enumerate() {
        let [one, many] = [&columns[0][row], &columns[1][row]];
        println!("{name:<36}{:>10.0}{:>13.0}", one.nanos, many.nanos);
        if row > 0 {
            println!("{:<36}{:>10.3}{:>13.3}", "  × the bare loop", one.ratio, many.ratio);
        }
    }
    let reached = columns.iter().all(|column| column[DRIVER].ratio <= MAX_RATIO);
    let verdict = if reached { "reached" } else { "MISSED" };
    println!("goal: gapless-mio and receiver ≤ {MAX_RATIO} × the bare loop: {verdict}");
    if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays all rounds at so many messages a packet: the bare loop without and with the kernel's arrival
/// times, and the driver as it is by default, with the times of each datagram, and without.
fn measure(messages: u16) -> [Outcome; WAYS] {
    let mut driver = Driver::new(Arrivals::Kernel);
    let mut each = Driver::new(Arrivals::KernelEach);
    let mut plain = Driver::new(Arrivals::Read);
    let buffer = driver.receive_buffer();
    let mut bare = Bare::new(buffer, false);
    let mut timed = Bare::new(buffer, true);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let packets = packets_that_fit(&sender, &mut bare, messages);

    let mut times: [Vec<f64>; WAYS] = Default::default();
    for round in 0..(WARM_UP + ROUNDS) as u64 {
        let feed = feed(1 + round * packets * u64::from(messages), packets, messages);
        // Each goes first as often as the others.
        for turn in 0..WAYS {
            let which = (round as usize + turn) % WAYS;
            let drain: &mut dyn Drain = match which {
                0 => &mut bare,
                1 => &mut timed,
                DRIVER => &mut driver,
                3 => &mut each,
                _ => &mut plain,
            };
            times[which].push(drained_in(drain, &sender, &feed).as_nanos() as f64);
        }
    }
    let times = times.map(|times| times[WARM_UP..].to_vec());
    [0, 1, DRIVER, 3, 4].map(|which| Outcome {
        nanos: median(times[which].clone()) / packets as f64,
        ratio: median(times[which].iter().zip(&times[0]).map(|(a, b)| a / b).collect()),
    })
}

/// Fills the socket, then times the draining.
///
/// # Panics
/// When not every message comes out.
fn drained_in(drain: &mut dyn Drain, sender: &UdpSocket, feed: &[Vec<u8>]) -> Duration {
    *drain.tally() = Tally::default();
    fill(sender, drain.address(), feed);
    let start = Instant::now();
    let mut left = feed.len();
    while left > 0 {
        let datagrams = drain.turn();
        assert!(datagrams > 0, "{left} datagrams are missing");
        left -= datagrams;
    }
    let time = start.elapsed();
    let mut expected = Tally::default();
    for datagram in feed {
        expected.add(Packet::new_checked(datagram).unwrap().messages());
    }
    assert_eq!(*drain.tally(), expected, "not every message came out");
    time
}

/// Sends over loopback, where a datagram lies in the other's buffer when the call returns.
fn fill(sender: &UdpSocket, to: SocketAddr, feed: &[Vec<u8>]) {
    for datagram in feed {
        sender.send_to(datagram, to).unwrap();
    }
}

/// How many datagrams of a round surely fit the receive buffer: nine tenths of what did once.
fn packets_that_fit(sender: &UdpSocket, bare: &mut Bare, messages: u16) -> u64 {
    fill(sender, bare.address(), &feed(1, MOST_PACKETS, messages));
    let mut packets = 0;
    loop {
        match bare.turn() {
            0 => break,
            datagrams => packets += datagrams as u64,
        }
    }
    if packets == MOST_PACKETS { packets } else { packets * 9 / 10 }
}

/// A socket with the receive buffer that the driver's was granted.
fn bare_socket(receive_buffer: usize) -> UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.set_recv_buffer_size(receive_buffer).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.into()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
