//! A server and a client on loopback, turned alternately.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gapless_quic::{ConnectionId, Driver, Limits, Transport};

use super::certified::{Certified, PROTOCOL, client};
use super::peer::TestPeer;

/// Rounds of turns that a test waits at most.
pub(crate) const ROUNDS: usize = 20_000;
pub(crate) const NOW: Option<Duration> = Some(Duration::ZERO);
/// The longest sleep of an idle round.
pub(crate) const PAUSE: Option<Duration> = Some(Duration::from_millis(2));

pub(crate) struct Pair {
    pub(crate) certified: Certified,
    pub(crate) server: Driver,
    pub(crate) client: Driver,
    pub(crate) at_server: TestPeer,
    pub(crate) at_client: TestPeer,
}

impl Pair {
    pub(crate) fn new(limits: Limits, transport: Transport) -> Self {
        let certified = Certified::new();
        Self {
            server: Driver::new(certified.server(limits, transport)).unwrap(),
            client: Driver::new(client(transport)).unwrap(),
            at_server: TestPeer::reading(),
            at_client: TestPeer::reading(),
            certified,
        }
    }

    pub(crate) fn with(transport: Transport, at_server: TestPeer, at_client: TestPeer) -> Self {
        Self { at_server, at_client, ..Self::new(Limits::default(), transport) }
    }

    /// Connects the client to `address`, or to the server.
    pub(crate) fn connect_to(&mut self, address: SocketAddr) -> ConnectionId {
        let config = self.certified.client(PROTOCOL);
        self.client.endpoint().connect(Instant::now(), config, address, "localhost").unwrap()
    }

    pub(crate) fn connect(&mut self) -> ConnectionId {
        self.connect_to(self.server.address())
    }

    /// Connects, and turns until both sides know.
    pub(crate) fn connected(&mut self) -> ConnectionId {
        let connection = self.connect();
        self.until(|pair| pair.at_client.connected.len() + pair.at_server.connected.len() >= 2);
        connection
    }

    pub(crate) fn round(&mut self) {
        self.client.turn(PAUSE, &mut self.at_client).unwrap();
        self.server.turn(NOW, &mut self.at_server).unwrap();
    }

    /// Turns both until it is so.
    #[track_caller]
    pub(crate) fn until(&mut self, mut is_so: impl FnMut(&mut Self) -> bool) {
        for _ in 0..ROUNDS {
            if is_so(self) {
                return;
            }
            self.round();
        }
        panic!(
            "it never came to it: server {:?} {:?}, client {:?} {:?}",
            self.server, self.at_server.gone, self.client, self.at_client.gone
        );
    }

    /// Turns both so often.
    pub(crate) fn rounds(&mut self, count: usize) {
        for _ in 0..count {
            self.round();
        }
    }

    /// Turns both until no connection is left, and sees that nothing else is.
    #[track_caller]
    pub(crate) fn assert_nothing_is_left(&mut self) {
        self.until(|pair| {
            pair.server.endpoint().connections() + pair.client.endpoint().connections() == 0
        });
        assert_clean(&mut self.server, &self.at_server);
        assert_clean(&mut self.client, &self.at_client);
    }
}

/// Sees that an end without connections holds nothing, and that every stream ended and was told of in
/// order.
#[track_caller]
pub(crate) fn assert_clean(driver: &mut Driver, peer: &TestPeer) {
    assert_eq!(driver.endpoint().connections(), 0);
    assert_eq!(driver.endpoint().streams(), 0);
    assert_eq!(driver.endpoint().send_buffers(), 0);
    assert_eq!(driver.endpoint().poll_timeout(), None);
    assert!(!driver.endpoint().has_work());
    assert_eq!(peer.without_end(), []);
    assert_eq!(peer.strays, []);
}
