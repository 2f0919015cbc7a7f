//! Preambles of tagged streams that are broken off, over real connections.

use std::time::Instant;

use bytes::Bytes;
use gapless_core::demux;
use gapless_quic::tagged::{Notice, Opened, PROTOCOL, Streams};
use gapless_quic::{Acceptors, Direction, Driver, Limits, Tagged, Transport};

use crate::certified::{Certified, client};
use crate::pair::{NOW, PAUSE, ROUNDS};
use crate::peer::TestPeer;

/// Nobody takes a stream.
struct Nobody;

impl Acceptors for Nobody {
    fn opened(&mut self, _: &mut Streams<'_>, _: Opened) -> bool {
        panic!("no preamble was whole")
    }

    fn notice(&mut self, _: &mut Streams<'_>, _: Notice) {}
}

struct Scene {
    server: Driver,
    tagged: Tagged<Nobody>,
    client: Driver,
    peer: TestPeer,
}

impl Scene {
    fn new(transport: Transport) -> Self {
        let certified = Certified::new();
        let server = certified.server_of(PROTOCOL, Limits::default(), transport);
        let mut scene = Self {
            server: Driver::new(server).unwrap(),
            tagged: Tagged::new(demux::Config::default(), Instant::now(), Nobody).unwrap(),
            client: Driver::new(client(Transport::default())).unwrap(),
            peer: TestPeer::reading(),
        };
        let (config, address) = (certified.client(PROTOCOL), scene.server.address());
        scene.client.endpoint().connect(Instant::now(), config, address, "localhost").unwrap();
        scene
    }

    #[track_caller]
    fn until(&mut self, mut is_so: impl FnMut(&mut Self) -> bool) {
        for _ in 0..ROUNDS {
            if is_so(self) {
                return;
            }
            self.client.turn(PAUSE, &mut self.peer).unwrap();
            self.server.turn(NOW, &mut self.tagged).unwrap();
        }
        panic!("it never came to it: {:?}", self.tagged.demux());
    }
}

#[test]
fn a_preamble_that_is_broken_off_costs_the_peer_no_stream_for_good() {
    let mut scene = Scene::new(Transport { max_bidirectional: 2, ..Transport::default() });
    scene.until(|scene| !scene.peer.connected.is_empty());
    let connection = scene.peer.connected[0];
    for _ in 0..6 {
        let mut opened = None;
        scene.until(|scene| {
            let endpoint = scene.client.endpoint();
            opened = endpoint.open(connection, Direction::Bidirectional).unwrap();
            opened.is_some()
        });
        let (stream, mut part) = (opened.unwrap(), Bytes::from_static(b"\x09h"));
        scene.peer.streams.insert(stream, crate::peer::StreamLog::default());
        scene.client.endpoint().write(stream, &mut part).unwrap();
        scene.until(|scene| scene.tagged.demux().pending() == 1);
        scene.client.endpoint().reset(stream, 5).unwrap();
        scene.until(|scene| scene.tagged.demux().pending() == 0);
    }
    scene.until(|scene| {
        scene.peer.without_end().is_empty() && scene.server.endpoint().streams() == 0
    });
}
