//! Allocations of a receiver: none once it is warm, recorded or not, and what it says it uses is
//! what it uses.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use gapless_core::journal::Driven;
use gapless_core::journal::{Recorder, Sink, recorder};
use gapless_core::receiver::{
    Call, Command, Config, Datagram, Delivery, Event, LineId, Quota, QuotaUnit, Receiver, ServerId,
    Source,
};
use gapless_core::wire::mold::PacketWriter;
use gapless_core::{Duration, Instant, Machine, Session};
use gapless_tests::alloc::measure;
use gapless_tests::sim::session;

const LINES: [LineId; 2] = [LineId(0), LineId(1)];
const PER_PACKET: u64 = 4;
/// Packets of one round: more than are held at most.
const ROUND: u64 = 2000;

fn server() -> SocketAddr {
    (Ipv4Addr::new(127, 0, 1, 1), 8000).into()
}

fn config(session: Session) -> Config {
    let (most, window) = (1 << 40, Duration::from_secs(1));
    let quota = Quota { unit: QuotaUnit::Requests, most, window };
    Config {
        session: Some(session),
        lines: LINES.to_vec(),
        servers: vec![(ServerId(0), server())],
        max_held_bytes: 131_072,
        max_held_packets: 512,
        max_gaps: 64,
        quotas: vec![quota],
        ..Config::default()
    }
}

fn packet(session: Session, first: u64) -> Bytes {
    let mut buffer = [0; 400];
    let mut writer = PacketWriter::new(&mut buffer, session, first).unwrap();
    for number in first..first + PER_PACKET {
        assert!(writer.push(&[number as u8; 36]));
    }
    let len = writer.as_bytes().len();
    let bytes = Bytes::copy_from_slice(&buffer[..len]);
    // The first clone allocates a count of its holders: that is not the receiver's.
    drop(bytes.clone());
    bytes
}

/// How datagrams are handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Borrowed,
    Owned,
}

/// A receiver and the feed that it is given: packets made before anything is measured.
struct Bench<M = Receiver> {
    receiver: M,
    way: Way,
    now: Instant,
    packets: Vec<Bytes>,
    /// Numbers asked for and not answered yet.
    asked: Vec<u64>,
    delivered: u64,
    requests: u64,
}

impl Bench {
    fn new(config: Config, way: Way, packets: u64) -> Self {
        let session = config.session.unwrap();
        Self::around(Receiver::new(config).unwrap(), session, way, packets)
    }
}

impl<M: Driven<Receiver>> Bench<M> {
    fn around(receiver: M, session: Session, way: Way, packets: u64) -> Self {
        let packets = (0..packets).map(|index| packet(session, index * PER_PACKET + 1)).collect();
        let asked = Vec::with_capacity(10_000);
        let now = Instant::from_millis(1);
        let mut bench = Self { receiver, way, now, packets, asked, delivered: 0, requests: 0 };
        bench.drain();
        bench
    }

    fn drain(&mut self) {
        while let Some(command) = self.receiver.poll_command() {
            match command {
                Command::Batch(batch) => self.delivered += batch.messages().count() as u64,
                Command::Request { request, .. } => {
                    self.requests += 1;
                    self.asked.push(request.sequence);
                }
                Command::Lost { .. } => panic!("{command:?}"),
                _ => {}
            }
        }
    }

    fn give(&mut self, source: Source, index: u64) {
        let bytes = self.packets[index as usize].clone();
        match self.way {
            Way::Borrowed => {
                if let Some(batch) = self
                    .receiver
                    .call(self.now, Call { arrival: self.now, source, datagram: &bytes })
                {
                    self.delivered += batch.messages().count() as u64;
                }
            }
            Way::Owned => {
                let pinned = bytes.len();
                let datagram = Datagram { source, bytes, pinned, arrival: self.now };
                self.receiver.feed(self.now, Event::Datagram(datagram)).unwrap();
            }
        }
        self.drain();
    }

    /// Lets time pass, timeouts included.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(timeout) = self.receiver.poll_timeout().filter(|&timeout| timeout <= until) {
            self.now = self.now.max(timeout);
            self.receiver.handle_timeout(self.now).unwrap();
            self.drain();
        }
        self.now = until;
    }

    /// One round of everything: in order, copies, gaps that a line fills, gaps that answers fill,
    /// requests that time out, and more held than the limits allow.
    fn round(&mut self, round: u64) {
        let base = round * ROUND;
        let [a, b] = LINES.map(Source::Line);
        for index in 0..200 {
            self.give(a, base + index);
            self.give(b, base + index);
            self.pass(Duration::from_micros(10));
        }
        // Line A lacks every fourth packet, B brings it a little later.
        for index in 200..400 {
            if index % 4 != 0 {
                self.give(a, base + index);
            }
            if index >= 210 {
                self.give(b, base + index - 10);
            }
            self.pass(Duration::from_micros(10));
        }
        (390..400).for_each(|index| self.give(b, base + index));
        // Both lack every fifth: more gaps and more packets than may be held. The server is silent
        // at first.
        for index in 401..ROUND {
            if index % 5 != 0 {
                self.give(a, base + index);
                self.give(b, base + index);
            }
            self.pass(Duration::from_micros(10));
        }
        self.pass(Duration::from_millis(300));
        self.asked.clear();
        let end = (base + ROUND) * PER_PACKET;
        for _ in 0..100_000 {
            if self.delivered == end {
                return;
            }
            self.pass(Duration::from_millis(1));
            while let Some(sequence) = self.asked.pop() {
                self.give(Source::Peer(server()), (sequence - 1) / PER_PACKET);
            }
        }
        panic!("{} of {end} delivered", self.delivered);
    }
}

#[test]
fn a_warm_receiver_allocates_nothing_for_borrowed_datagrams() {
    let mut bench = Bench::new(config(session("WARM")), Way::Borrowed, ROUND * 4);
    bench.round(0);
    bench.round(1);
    let requests = bench.requests;
    let ((), measured) = measure(|| (2..4).for_each(|round| bench.round(round)));
    assert_eq!(measured.allocations, 0, "{measured:?}");
    let stats = bench.receiver.stats();
    assert!(bench.requests > requests + 100, "{stats:?}");
    assert!(stats.gaps_filled_by_line > 0 && stats.requests_timed_out > 0, "{stats:?}");
    assert!(stats.put_off_for_memory + stats.put_off_for_gaps > 0, "{stats:?}");
}

/// Counts blocks, and keeps none.
#[derive(Default)]
struct Dropped {
    blocks: u64,
}

impl Sink for Dropped {
    type Error = Infallible;

    fn write(&mut self, _block: &[u8]) -> Result<(), Infallible> {
        self.blocks += 1;
        Ok(())
    }
}

#[test]
fn a_warm_recorder_allocates_nothing_beside_its_receiver() {
    for (way, commands) in [(Way::Borrowed, false), (Way::Owned, true)] {
        let mut journal = Dropped::default();
        let machine = config(session("WARM"));
        let config = recorder::Config { machine, id: 0, sink: Some(&mut journal), commands };
        let recorder = Recorder::<Receiver, _>::new(config).unwrap();
        let mut bench = Bench::around(recorder, session("WARM"), way, ROUND * 4);
        bench.round(0);
        bench.round(1);
        let ((), measured) = measure(|| (2..4).for_each(|round| bench.round(round)));
        assert_eq!(measured.allocations, 0, "{measured:?} {way:?}");
        let used = bench.receiver.memory_used() - bench.receiver.machine().memory_used();
        assert!((1 << 16..1 << 18).contains(&used), "{used}");
        drop(bench);
        assert!(journal.blocks > 20, "{}", journal.blocks);
    }
}

#[test]
fn a_warm_receiver_allocates_nothing_for_owned_datagrams() {
    let mut bench = Bench::new(config(session("WARM")), Way::Owned, ROUND * 4);
    bench.round(0);
    bench.round(1);
    let ((), measured) = measure(|| (2..4).for_each(|round| bench.round(round)));
    assert_eq!(measured.allocations, 0, "{measured:?}");
}

#[test]
fn a_warm_receiver_allocates_nothing_on_arrival_delivery() {
    let config = Config { delivery: Delivery::Arrival, ..config(session("WARM")) };
    let mut bench = Bench::new(config, Way::Borrowed, ROUND * 4);
    bench.round(0);
    bench.round(1);
    let ((), measured) = measure(|| (2..4).for_each(|round| bench.round(round)));
    assert_eq!(measured.allocations, 0, "{measured:?}");
}
