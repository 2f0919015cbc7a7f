//! A server and its clients in the simulated network, with what must hold at the end of every plan.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use gapless_core::Duration;
use gapless_quic::{Limits, Reason, Transport};
use gapless_tests::sim::{Bandwidth, Chance, NodeId, Outbox, Path, Random, World};

use super::book::Book;
use super::checker::Counts;
use super::host::{Desk, Host, Program, Recipe};
use super::null;
use super::traffic::{Manners, Traffic};

pub(crate) const PROTOCOL: &[u8] = b"gapless/1";
/// Longer than any plan needs.
const PATIENCE: Duration = Duration::from_secs(600);
/// Handshakes that may get stuck, in all plans of a process together.
const STUCK: usize = 50;
/// Those that have.
static STUCK_SO_FAR: AtomicUsize = AtomicUsize::new(0);
/// Addresses of a client: more than one, so that it can move.
const ADDRESSES: u8 = 3;

pub(crate) fn server_address() -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, 1), 443).into()
}

pub(crate) fn client_address(client: usize, address: u8) -> SocketAddr {
    let [high, low] = u16::try_from(client + 1).expect("few clients").to_be_bytes();
    (Ipv4Addr::new(10, 1 + address, high, low), 5000).into()
}

pub(crate) const fn server_identity() -> null::Identity {
    [7; 32]
}

/// A testbed as a value.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    pub(crate) server: Recipe,
    pub(crate) client: Recipe,
    pub(crate) serving: Manners,
    pub(crate) asking: Manners,
    /// Most that is lost, and whether anything else goes wrong.
    pub(crate) loss: Option<Chance>,
    pub(crate) bandwidth: Option<Bandwidth>,
}

/// A client of the server, whatever their handshake's sizes are.
pub(crate) fn client(random: &mut Random) -> null::Client {
    null::Client {
        identity: None,
        trusts: server_identity(),
        protocols: vec![PROTOCOL],
        hello_len: random.one_of(&[400, 1100, 2000]),
    }
}

impl Plan {
    pub(crate) fn new(random: &mut Random) -> Self {
        let server = null::Server {
            identity: server_identity(),
            protocols: vec![PROTOCOL],
            certificate_len: random.one_of(&[600, 2000, 5000]),
        };
        let client = client(random);
        let recipe = |random: &mut Random, server| Recipe {
            limits: Limits::default(),
            transport: Transport {
                max_udp_payload: random.one_of(&[1200, 1452]),
                min_send_buffer: random.one_of(&[2000, 64 << 10]),
                stream_window: random.one_of(&[3000, 20_000, 1 << 20]),
                connection_window: random.one_of(&[10_000, 50_000, 8 << 20]),
                max_bidirectional: random.one_of(&[1, 3, 100]),
                max_unidirectional: random.one_of(&[1, 3, 100]),
                // One in some thousand takes longer where a tenth is lost.
                handshake_timeout: std::time::Duration::ZERO,
                ..Transport::default()
            },
            server,
            reset_key: random.any(),
            turn: random.one_of(&[1, 50, 1000].map(Duration::from_micros)),
            segments: random.one_of(&[1, 2, 10]),
            corrupts: Chance::NEVER,
        };
        Self {
            clients: 1,
            server: recipe(random, Some(server)),
            client: recipe(random, None),
            serving: Manners::default(),
            asking: Manners { server: Some((server_address(), client)), ..Manners::default() },
            loss: None,
            bandwidth: None,
        }
    }

    pub(crate) fn build(&self, random: &mut Random) -> Testbed {
        let mut world = World::new(random.fork());
        let book = Book::default();
        let address = server_address();
        let traffic = Traffic::new(self.serving.clone(), random.fork());
        let server = Host::new(self.server.clone(), vec![address], &book, random.fork(), traffic);
        let server = world.add(server, &[address]);
        let mut testbed = Testbed { world, server, clients: Vec::new(), book };
        for _ in 0..self.clients {
            testbed.add_client(self, &self.asking, random);
        }
        testbed
    }

    pub(crate) fn path(&self, random: &mut Random) -> Path {
        let path = match self.loss {
            Some(most) => Path::lossy(random, most),
            None => Path { delay: Duration::from_millis(5), ..Path::default() },
        };
        Path { bandwidth: self.bandwidth, ..path }
    }
}

/// A running testbed.
pub(crate) struct Testbed {
    pub(crate) world: World,
    pub(crate) server: NodeId,
    pub(crate) clients: Vec<NodeId>,
    pub(crate) book: Book,
}

impl Testbed {
    pub(crate) fn host(&self, id: NodeId) -> &Host {
        self.world.node(id)
    }

    pub(crate) fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.clients.iter().chain([&self.server]).map(|&id| self.host(id))
    }

    /// Adds a client that behaves in its own way.
    pub(crate) fn add_client(
        &mut self,
        plan: &Plan,
        manners: &Manners,
        random: &mut Random,
    ) -> NodeId {
        let index = self.clients.len();
        let addresses: Vec<_> =
            (0..ADDRESSES).map(|address| client_address(index, address)).collect();
        let traffic = Traffic::new(manners.clone(), random.fork());
        let book = &self.book;
        let host = Host::new(plan.client.clone(), addresses.clone(), book, random.fork(), traffic);
        let id = self.world.add(host, &addresses);
        self.world.set_path(id, server_address(), self.server, plan.path(random));
        let back = plan.path(random);
        for to in addresses {
            self.world.set_path(self.server, to, id, back.clone());
        }
        self.clients.push(id);
        id
    }

    /// Does something on a host, now.
    pub(crate) fn act<P: Program>(&mut self, id: NodeId, act: impl FnOnce(&mut P, &mut Desk<'_>)) {
        self.world.call(id, |host: &mut Host, now, out: &mut Outbox| host.act(now, out, act));
    }

    /// Lets so much time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.world.now() + time;
        self.world.run(until, |_| false);
    }

    /// Runs until something holds.
    ///
    /// # Panics
    /// When it never does.
    pub(crate) fn run(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let until = self.world.now() + PATIENCE;
        // Looking at everything after every event would take longer than the events.
        while !holds(self) {
            if self.world.now() >= until {
                for host in self.hosts() {
                    eprintln!(
                        "{:?} {:?} {:?}",
                        host.endpoint, host.checker.counts, host.checker.reasons
                    );
                }
                panic!("{what}: not within {PATIENCE:?}");
            }
            let step = self.world.now() + Duration::from_millis(20);
            self.world.run(step, |_| false);
        }
    }

    /// Whether a client has done what it wanted, and no stream of it is left.
    pub(crate) fn is_client_done(&self, id: NodeId) -> bool {
        is_done(self.host(id))
    }

    /// Runs until all programs have done what they wanted, and no stream is left; the server's too, which may
    /// learn last that a handshake is over.
    pub(crate) fn run_to_the_end(&mut self) {
        self.run("everything is done", |testbed| {
            let known = testbed.host(testbed.server).checker.labels();
            let is_known = |&id: &NodeId| testbed.host(id).checker.labels().is_subset(&known);
            testbed.hosts().all(is_done) && testbed.clients.iter().all(is_known)
        });
    }

    /// Whether a handshake got stuck and both sides gave it up, which happens to one in some thousand where a
    /// tenth is lost: when the client's last packet of it is lost and what it sent behind that fills its
    /// congestion window, quinn-proto's probes are only for what the server cannot read yet.
    ///
    /// # Panics
    /// When it happens often.
    pub(crate) fn is_stuck(&self) -> bool {
        let is_stuck = |&id: &NodeId| {
            let Counts { cut, opened, fins, resets, stops, finished, .. } =
                self.host(id).checker.counts;
            cut > 0 && [opened, fins, resets, stops, finished] == [0; 5]
        };
        let is_one = self.clients.iter().any(is_stuck);
        let before = STUCK_SO_FAR.fetch_add(is_one.into(), Ordering::Relaxed);
        assert!(before < STUCK, "too many handshakes got stuck");
        is_one
    }

    /// Everything that was written has arrived, unless a handshake got stuck.
    pub(crate) fn assert_all_arrived(&self) {
        if !self.is_stuck() {
            self.book.assert_all_arrived();
        }
    }

    /// The clients close their connections, and nothing is left anywhere.
    pub(crate) fn close(&mut self) {
        for client in self.clients.clone() {
            self.act::<Traffic>(client, |traffic, desk| traffic.close(desk, 5));
        }
        self.assert_drains();
    }

    /// Nothing is left anywhere after a while.
    pub(crate) fn assert_drains(&mut self) {
        let empty = |host: &Host| {
            host.endpoint.connections() == 0 && host.endpoint.poll_timeout().is_none()
        };
        self.run("connections go", |testbed| testbed.hosts().all(empty));
        self.hosts().for_each(Host::assert_empty);
    }

    /// Why connections of a host ended, in order.
    pub(crate) fn reasons(&self, id: NodeId) -> &[Reason] {
        &self.host(id).checker.reasons
    }

    /// A digest of what everybody sent.
    pub(crate) fn transcript(&self) -> Vec<u64> {
        self.hosts().map(Host::transcript).collect()
    }
}

fn is_done(host: &Host) -> bool {
    host.program::<Traffic>().is_done()
        && host.checker.streams() == 0
        && host.checker.counts.connected > 0
}
