//! A warm `Receiver` allocates nothing, whatever it does: deliver, hold, open gaps, ask, time out.

use bytes::Bytes;
use gapless_core::receiver::{
    Command, Config, Datagram, Delivery, Event, LineId, Receiver, ServerId, Source,
};
use gapless_core::wire::mold::Request;
use gapless_core::{Duration, Instant, Machine, Session};
use gapless_tests::alloc;
use gapless_tests::model::receiver::feed::packet;
use std::net::{Ipv4Addr, SocketAddr};

const SESSION: Session = Session::new(*b"WARM      ");
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9_000);
const LINES: [LineId; 2] = [LineId(0), LineId(1)];
/// Messages in a packet.
const COUNT: u64 = 10;

/// How datagrams get in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// As events, in buffers of their own.
    Own,
    /// As events, in slots of 64 KiB: whatever is held is copied.
    Pooled,
    /// As direct calls.
    Call,
}

/// A receiver under a count of its allocations.
struct Counted {
    receiver: Receiver,
    way: Way,
    now: Instant,
    allocations: u64,
    delivered: u64,
    asked: Vec<Request>,
    next: u64,
}

impl Counted {
    fn new(delivery: Delivery, way: Way) -> Self {
        let config = Config {
            delivery,
            session: Some(SESSION),
            lines: LINES.to_vec(),
            servers: vec![(ServerId(0), SERVER)],
            max_held_bytes: 1 << 20,
            max_held_packets: 256,
            max_gaps: 64,
            ..Config::default()
        };
        Self {
            receiver: Receiver::new(config).unwrap(),
            way,
            now: Instant::from_millis(1),
            allocations: 0,
            delivered: 0,
            asked: Vec::with_capacity(1 << 14),
            next: 1,
        }
    }

    fn counted<T>(&mut self, work: impl FnOnce(&mut Receiver) -> T) -> T {
        let before = alloc::allocations();
        let result = work(&mut self.receiver);
        self.allocations += alloc::allocations() - before;
        result
    }

    fn datagram(&mut self, source: Source, bytes: &[u8]) {
        let now = self.now;
        if self.way == Way::Call {
            let batch = self
                .counted(|receiver| receiver.receive(now, source, bytes).map(|batch| batch.count));
            self.delivered += u64::from(batch.unwrap_or(0));
            return self.drain();
        }
        let pinned = if self.way == Way::Own { bytes.len() } else { 1 << 16 };
        let mut buffer = vec![0; pinned];
        buffer[..bytes.len()].copy_from_slice(bytes);
        // A slice, as drivers give it: its count of references is there already.
        let whole = Bytes::from(buffer);
        let bytes = whole.slice(..bytes.len());
        drop(whole);
        let event = Event::Datagram(Datagram { source, bytes, pinned, arrival: now });
        self.counted(|receiver| receiver.handle(now, event)).unwrap();
        self.drain();
    }

    fn line(&mut self, line: LineId, first: u64) {
        self.datagram(Source::Line(line), &packet(SESSION, first, COUNT, false));
    }

    fn drain(&mut self) {
        while let Some(command) = self.counted(Receiver::poll_command) {
            match &command {
                Command::Batch(batch) => self.delivered += u64::from(batch.count),
                Command::Request { request, .. } => self.asked.push(*request),
                Command::Lost { .. } => panic!("nothing is lost here"),
                _ => {}
            }
        }
    }

    fn wait(&mut self, duration: Duration) {
        let until = self.now + duration;
        for _ in 0..10_000 {
            let Some(timeout) = self.receiver.poll_timeout().filter(|timeout| *timeout <= until)
            else {
                self.now = until;
                return;
            };
            self.now = self.now.max(timeout);
            let now = self.now;
            self.counted(|receiver| receiver.handle_timeout(now)).unwrap();
            self.drain();
        }
        panic!("it spins");
    }

    fn answer_all(&mut self) {
        for _ in 0..10_000 {
            let Some(request) = self.asked.pop() else { return };
            // A probe for what comes next has no answer.
            let count = self.next.saturating_sub(request.sequence).min(request.count.into());
            if count > 0 {
                let answer = packet(SESSION, request.sequence, count.min(20), false);
                self.datagram(Source::Peer(SERVER), &answer);
            }
        }
        panic!("it asks without end");
    }

    /// Everything once: in order on both lines, gaps held and filled by the other line, gaps asked
    /// for in vain and then answered, and 50 gaps at once.
    fn pass(&mut self) {
        let first = self.next;
        let at = |packet: u64| first + packet * COUNT;
        for number in 0..50 {
            self.line(LINES[0], at(number));
            self.line(LINES[1], at(number));
        }
        for number in 51..60 {
            self.line(LINES[0], at(number));
        }
        self.line(LINES[1], at(50));
        for number in (61..160).step_by(2) {
            self.line(LINES[0], at(number));
        }
        self.next = at(160);
        self.wait(Duration::from_millis(600));
        assert!(!self.asked.is_empty(), "gaps are asked for");
        self.asked.clear();
        self.wait(Duration::from_secs(2));
        self.answer_all();
        self.wait(Duration::from_secs(2));
        self.answer_all();
        assert_eq!(self.delivered, self.next - 1, "everything arrived");
    }
}

fn a_second_pass_allocates_nothing(delivery: Delivery, way: Way) {
    let mut counted = Counted::new(delivery, way);
    counted.pass();
    counted.allocations = 0;
    counted.pass();
    let stats = counted.receiver.stats();
    assert!(stats.gaps > 100 && stats.requests_timed_out > 0, "{stats:?}");
    assert_eq!(counted.allocations, 0, "{delivery:?}, {way:?}: {stats:?}");
}

#[test]
fn a_warm_receiver_of_owned_datagrams_allocates_nothing() {
    a_second_pass_allocates_nothing(Delivery::Ordered, Way::Own);
    a_second_pass_allocates_nothing(Delivery::Arrival, Way::Own);
}

#[test]
fn a_warm_receiver_of_datagrams_in_large_slots_allocates_nothing() {
    a_second_pass_allocates_nothing(Delivery::Ordered, Way::Pooled);
    a_second_pass_allocates_nothing(Delivery::Arrival, Way::Pooled);
}

#[test]
fn a_warm_receiver_of_borrowed_datagrams_allocates_nothing() {
    a_second_pass_allocates_nothing(Delivery::Ordered, Way::Call);
    a_second_pass_allocates_nothing(Delivery::Arrival, Way::Call);
}
