//! The memory that malicious peers can make a server hold: whatever they send in the windows and on the
//! streams that they were given, it is within what the endpoint counts as promised, and that is within its
//! memory.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use gapless_quic::{ConnectionId, Direction, Endpoint, Event, Limits, StreamId, Transport};
use gapless_tests::alloc;
use gapless_tests::sim::{Chance, Random};
use quinn_proto::ClientConfig;

use super::clock::{Wall, standard};
use super::malicious_peer::{self, Script, Tampering, put};
use super::null;
use super::testbed::{Plan, client};

/// Where everybody is.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 443);
/// Rounds of a plan at most.
const ROUNDS: usize = 20_000;

/// A server that reads nothing, or everything, and its clients.
struct Hoard {
    server: Endpoint,
    clients: Endpoint,
    connections: Vec<(ConnectionId, Arc<Tampering>)>,
    random: Random,
    now: Instant,
    reads: bool,
    /// Bytes that the server has allocated and not freed, and the most that was.
    live: isize,
    peak: isize,
    /// The most that it had promised.
    promised: u64,
    closed: usize,
}

impl Hoard {
    fn new(limits: Limits, transport: Transport) -> Self {
        let mut random = Random::new(1);
        let mut plan = Plan::new(&mut random);
        plan.server.limits =
            Limits { max_connections_per_address: 4096, retry_above: 4096, ..limits };
        (plan.server.transport, plan.client.transport) = (transport, Transport::default());
        let [server, clients] = [&plan.server, &plan.client]
            .map(|recipe| recipe.endpoint(&mut random, &Wall::default()));
        Self {
            server,
            clients,
            connections: Vec::new(),
            random,
            now: standard(gapless_core::Instant::from_millis(1)),
            reads: false,
            live: 0,
            peak: 0,
            promised: 0,
            closed: 0,
        }
    }

    /// Lets the server do something, and sees what it holds.
    fn server<T>(&mut self, act: impl FnOnce(&mut Endpoint) -> T) -> T {
        let (result, measured) = alloc::measure(|| act(&mut self.server));
        self.peak = self.peak.max(self.live + measured.peak);
        self.live += measured.growth;
        self.promised = self.promised.max(self.server.promised());
        result
    }

    /// Lets everybody send, and take, what there is; how many datagrams the clients sent.
    fn round(&mut self) -> usize {
        self.now += Duration::from_millis(1);
        let now = self.now;
        let mut buffer = Vec::with_capacity(4096);
        let mut count = 0;
        self.server(|server| server.begin_turn(now));
        while self.clients.poll_transmit(now, 1, &mut buffer).is_some() {
            count += 1;
            let take = |server: &mut Endpoint| {
                server.datagram(now, ANYWHERE, None, None, BytesMut::from(&buffer[..]));
            };
            self.server(take);
            buffer.clear();
        }
        let reads = self.reads;
        self.closed += self.server(|server| {
            let mut closed = 0;
            while let Some(event) = server.poll_event(now) {
                match event {
                    Event::Opened { stream } if !reads => server.pause(stream).expect("it is open"),
                    Event::Disconnected { .. } => closed += 1,
                    _ => {}
                }
            }
            server.handle_timeout(now);
            closed
        });
        while self.server(|server| server.poll_transmit(now, 1, &mut buffer)).is_some() {
            self.clients.datagram(now, ANYWHERE, None, None, BytesMut::from(&buffer[..]));
            buffer.clear();
        }
        while self.clients.poll_event(now).is_some() {}
        self.clients.handle_timeout(now);
        count
    }

    fn rounds(&mut self, count: usize) {
        for _ in 0..count {
            self.round();
        }
    }

    /// Connects so many clients, each with a script of its own.
    fn connect(&mut self, count: usize) {
        for _ in 0..count {
            let tampering = Tampering::new(self.random.fork(), Chance::NEVER);
            let client = null::Client { hello_len: 400, ..client(&mut self.random) };
            let session = malicious_peer::Client { client, tampering: Arc::clone(&tampering) };
            let config = ClientConfig::new(Arc::new(session));
            let connection = self.clients.connect(self.now, config, ANYWHERE, "peer");
            self.connections.push((connection.expect("an address"), tampering));
            self.rounds(5);
        }
    }

    fn open(&mut self, connection: ConnectionId) -> Option<StreamId> {
        self.clients.open(connection, Direction::Bidirectional).ok().flatten()
    }

    /// Writes so much to a stream of each connection, in pieces that are sent one by one, so that there are
    /// packets to tamper with.
    fn send(&mut self, bytes: usize, piece: usize) {
        let connections: Vec<_> = self.connections.iter().map(|(id, _)| *id).collect();
        let streams: Vec<_> = connections.iter().filter_map(|&id| self.open(id)).collect();
        let mut left = vec![bytes; streams.len()];
        let mut quiet = 0;
        for _ in 0..ROUNDS {
            for (&stream, left) in streams.iter().zip(&mut left) {
                let mut bytes = Bytes::from(vec![0; piece.min(*left)]);
                if let Ok(written) = self.clients.write(stream, &mut bytes) {
                    *left -= written;
                }
            }
            quiet = if self.round() == 0 { quiet + 1 } else { 0 };
            if quiet == 100 {
                return;
            }
        }
        panic!("it never comes to an end");
    }

    /// Sees that what is held is what was promised at most, and says how much of it.
    #[track_caller]
    fn assert_within(&self, what: &str) {
        let (live, peak, promised) = (self.live, self.peak, self.promised);
        println!("{what}: {live} held, {peak} at most, {promised} promised");
        assert!(peak <= promised as isize, "{what}: {peak} of {promised}");
    }
}

/// The numbers of the first streams of a client, as many of each kind.
fn streams(count: u64) -> Vec<u64> {
    (0..count).flat_map(|index| [4 * index, 4 * index + 2]).collect()
}

/// The number that stands for the handshake instead of a stream's.
const HANDSHAKE: u64 = u64::MAX;

/// A frame with one byte of a stream, or of the handshake.
fn byte_at(stream: u64, offset: u64) -> Vec<u8> {
    let mut frame = vec![if stream == HANDSHAKE { 0x06 } else { 0x0E }];
    if stream != HANDSHAKE {
        put(&mut frame, stream);
    }
    // Two bytes are as good as eight.
    frame.extend_from_slice(&(offset as u16 | 1 << 14).to_be_bytes());
    frame.extend_from_slice(&[1, 7]);
    frame
}

/// Every other byte of each stream in turn, as long as the window lasts, so many in a packet.
fn every_other_byte(
    streams: Vec<u64>,
    window: u64,
    in_packet: usize,
) -> impl FnMut(&mut [u8]) + Send {
    let mut next = (0..).map(move |n: u64| {
        let stream = streams[(n % streams.len() as u64) as usize];
        (stream, 1 + 2 * (n / streams.len() as u64), streams.len() as u64)
    });
    move |payload| {
        let mut at = 0;
        payload.fill(0);
        payload[0] = 1;
        for _ in 0..in_packet {
            let Some((stream, offset, streams)) = next.next() else { return };
            // The part of the window up to a stream's last byte counts as used.
            if (offset + 1) * streams > window || offset > 1900 {
                return;
            }
            let frame = byte_at(stream, offset);
            let Some(room) = payload[at..].get_mut(..frame.len()) else { return };
            room.copy_from_slice(&frame);
            at += frame.len();
        }
    }
}

/// The same byte of each stream in turn, in packets with little else.
fn one_byte_again(streams: Vec<u64>) -> impl FnMut(&mut [u8]) + Send {
    let mut next = streams.into_iter().cycle();
    move |payload| {
        let frame = byte_at(next.next().expect("they go round"), 1);
        payload.fill(0);
        payload[0] = 1;
        if let Some(room) = payload.get_mut(..frame.len()) {
            room.copy_from_slice(&frame);
        }
    }
}

/// Lets two malicious peers send what the script says, in pieces of so many bytes, and checks the memory of
/// the server.
fn attack(
    what: &str,
    transport: Transport,
    script: &dyn Fn() -> Script,
    bytes: usize,
    piece: usize,
) {
    for reads in [false, true] {
        let mut hoard = Hoard::new(Limits::default(), transport);
        hoard.reads = reads;
        hoard.connect(2);
        hoard.connections.iter().for_each(|(_, tampering)| tampering.say(script()));
        hoard.send(bytes, piece);
        hoard.assert_within(&format!("{what}, {reads}"));
        assert_eq!(hoard.closed, 0, "{what}: the server bears it");
    }
}

#[test]
fn whatever_malicious_peers_send_in_their_windows_is_within_what_they_were_promised() {
    // A frame of one byte fits into as many bytes of a packet.
    const SMALL: usize = 6;
    const PIECES: usize = 2100;
    for (first_streams, window) in [(1, 4 << 10), (2, 64 << 10), (16, 64 << 10), (2, 1 << 20)] {
        let transport = Transport {
            first_streams,
            max_bidirectional: first_streams,
            max_unidirectional: first_streams,
            connection_window: window,
            first_window: window,
            ..Transport::default()
        };
        let all = || streams(first_streams.into());
        let window = u64::from(window);
        for (in_packet, bytes, piece) in
            [(999, 1 << 20, 1 << 20), (1, 1 << 20, 1 << 20), (1, PIECES * SMALL, SMALL)]
        {
            let what =
                format!("every other byte, {window}, {first_streams}, {in_packet} of {piece}");
            let script = || Box::new(every_other_byte(all(), window, in_packet)) as Box<_>;
            attack(&what, transport, &script, bytes, piece);
        }
        let what = format!("every other byte of the handshake, {window}, {first_streams}");
        let script = || Box::new(every_other_byte(vec![HANDSHAKE], 16 << 10, 999)) as Box<_>;
        attack(&what, transport, &script, 1 << 20, 1 << 20);
    }
}

#[test]
fn a_byte_that_malicious_peers_send_again_and_again_is_within_what_they_were_promised() {
    let transport =
        Transport { max_bidirectional: 2, max_unidirectional: 1, ..Transport::default() };
    for number in [0, 4, 2, HANDSHAKE] {
        // More often than quinn-proto takes before it looks.
        let script = || Box::new(one_byte_again(vec![number])) as Box<_>;
        attack(&format!("one byte of {number}"), transport, &script, 2200 * 6, 6);
    }
}
