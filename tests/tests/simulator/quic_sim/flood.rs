//! A flood of first packets, unknown versions and garbage from addresses that are not the sender's own:
//! it costs bounded memory, and nobody honest is kept from being served.
//!
//! `GAPLESS_DATAGRAMS` says how many datagrams (10,000 by default).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use gapless_core::{Duration, Instant};
use gapless_quic::Endpoint;
use gapless_quic::endpoint::Config;
use gapless_tests::alloc;
use gapless_tests::sim::{Chance, Node, Outbox, Random};
use quinn_proto::ClientConfig;

use super::clock::{Ids, standard};
use super::null;
use super::testbed::{Plan, client, client_address, server_address};
use super::traffic::{Manners, Traffic};

/// Datagrams that are sent at once.
const BATCH: u64 = 100;
/// How long the flood lasts.
const FLOOD: Duration = Duration::from_secs(5);
/// The bytes that the server may hold more than before: 64 handshakes that never end, and what waits.
const MEMORY: isize = 4 << 20;

/// Sends whatever a server may find hard to bear.
struct Attacker {
    random: Random,
    left: u64,
    every: Duration,
    next: Instant,
}

impl Attacker {
    fn endpoint(&mut self) -> Endpoint {
        let ids = self.random.fork();
        Endpoint::new(Config {
            limits: gapless_quic::Limits::default(),
            transport: gapless_quic::Transport::default(),
            reset_key: Arc::new(null::ResetKey(0)),
            connection_ids: Some(Arc::new(move || Box::new(Ids(ids.clone())))),
            seed: Some([0; 32]),
            server: None,
            inspect: null::inspect,
        })
    }

    /// The first packet of a real client.
    fn first(&mut self, endpoint: &mut Endpoint, now: Instant) -> Vec<u8> {
        let client = null::Client { hello_len: 400, ..client(&mut self.random) };
        let mut config = ClientConfig::new(Arc::new(client));
        let id = self.random.any().to_le_bytes();
        config.initial_dst_cid_provider(Arc::new(move || quinn_proto::ConnectionId::new(&id)));
        let now = standard(now);
        endpoint.connect(now, config, server_address(), "peer").expect("an address");
        while endpoint.poll_event(now).is_some() {}
        let mut packet = Vec::new();
        let _ = endpoint.poll_transmit(now, 1, &mut packet).expect("a first packet");
        packet
    }

    fn garbage(&mut self) -> Vec<u8> {
        let len = self.random.within(1..=1500);
        let mut bytes: Vec<u8> =
            (0..len.div_ceil(8)).flat_map(|_| self.random.any().to_le_bytes()).collect();
        bytes.truncate(len as usize);
        bytes
    }

    fn datagram(&mut self, endpoint: &mut Endpoint, now: Instant) -> Vec<u8> {
        match self.random.within(0..=5) {
            0 | 1 => self.first(endpoint, now),
            2 => {
                let mut packet = self.first(endpoint, now);
                let at = self.random.within(0..=packet.len() as u64 - 1) as usize;
                packet[at] ^= 1 << self.random.within(0..=7);
                packet
            }
            3 => {
                let mut packet = self.first(endpoint, now);
                // An unknown version: the server names those that it knows.
                packet[1..5].copy_from_slice(&(self.random.any() as u32).to_be_bytes());
                packet
            }
            4 => {
                let mut packet = self.garbage();
                // A short header of a connection that nobody knows.
                packet[0] = 0x40 | packet[0] & 0x3F;
                packet
            }
            _ => self.garbage(),
        }
    }

    fn source(&mut self) -> SocketAddr {
        let any = Ipv4Addr::from_bits(self.random.any() as u32 | 1 << 31);
        let address = if self.random.happens(Chance::percent(20)) {
            // As if it came from an honest one.
            client_address(0, 0)
        } else {
            (IpAddr::V4(any), 4433).into()
        };
        let port = self.random.within(1024..=65_535) as u16;
        if self.random.happens(Chance::percent(50)) { (address.ip(), port).into() } else { address }
    }
}

impl Node for Attacker {
    fn arrive(&mut self, _: Instant, _: SocketAddr, _: SocketAddr, _: &Bytes, _: &mut Outbox) {}

    fn wake(&mut self, now: Instant, out: &mut Outbox) {
        let mut endpoint = self.endpoint();
        for _ in 0..BATCH.min(self.left) {
            let datagram = self.datagram(&mut endpoint, now);
            out.send(self.source(), server_address(), datagram.into());
        }
        self.left = self.left.saturating_sub(BATCH);
        self.next = now + self.every;
    }

    fn next_wake(&self) -> Option<Instant> {
        (self.left > 0).then_some(self.next)
    }
}

fn datagrams() -> u64 {
    std::env::var("GAPLESS_DATAGRAMS").map_or(10_000, |number| number.parse().expect("a number"))
}

#[test]
fn a_flood_costs_bounded_memory_and_honest_clients_are_served_meanwhile() {
    let mut random = Random::new(1);
    let mut plan = Plan::new(&mut random);
    plan.clients = 1;
    plan.server.turn = Duration::from_micros(50);
    for manners in [&mut plan.asking, &mut plan.serving] {
        *manners = Manners {
            streams: 2..=4,
            bytes: 3000..=10_000,
            chunk: 500,
            pace: Duration::from_millis(20),
            ..manners.clone()
        };
    }
    let mut testbed = plan.build(&mut random);
    testbed.run("the first is connected", |testbed| {
        testbed.host(testbed.server).checker.counts.connected == 1
    });
    let before = alloc::live();
    let left = datagrams();
    let every = FLOOD / u32::try_from(left.div_ceil(BATCH)).expect("few batches");
    let attacker = Attacker { random: random.fork(), left, every, next: testbed.world.now() };
    let attacker = testbed.world.add(attacker, &[]);
    testbed.pass(Duration::from_millis(200));
    // Another one comes in the middle of it.
    testbed.add_client(&plan, &plan.asking, &mut random);
    let mut most = 0;
    while testbed.world.node::<Attacker>(attacker).left > 0 {
        testbed.pass(Duration::from_millis(5));
        most = most.max(alloc::live() - before);
    }
    let stats = *testbed.host(testbed.server).endpoint.stats();
    println!("at most {most} bytes more; {stats:?}");
    assert!(most < MEMORY, "{most} bytes");
    let served = testbed.clients.iter().filter(|&&id| testbed.is_client_done(id)).count();
    assert_eq!(served, 2, "the honest clients had to wait");
    testbed.run_to_the_end();
    testbed.book.assert_all_arrived();
    for id in testbed.clients.clone() {
        testbed.act(id, |traffic: &mut Traffic, desk| traffic.close(desk, 5));
    }
    testbed.assert_drains();
    let after = alloc::live() - before;
    assert!(after < MEMORY / 4, "{after} bytes are left");
}
