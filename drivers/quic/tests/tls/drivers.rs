//! Drivers over real sockets that are made from identities.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use gapless_quic::tls::{
    ClientAuth, ClientTrust, Identity, Keys, Trust, client_config, endpoint_config, server_config,
};
use gapless_quic::{
    Config, ConnectionId, Direction, Driver, Endpoint, Event, Handler, Peer, Reason,
};
use quinn_proto::{ClientConfig, ConnectionError};
use tempfile::TempDir;

use crate::{NAMES, identity};

const TURNS: usize = 500;
const WAIT: Option<Duration> = Some(Duration::from_millis(5));
const PROTOCOLS: [&str; 1] = ["gapless/1"];

/// The events that an end has seen of its one connection.
#[derive(Default)]
struct Seen {
    connection: Option<ConnectionId>,
    peer: Option<Peer>,
    gone: Option<Reason>,
}

impl Handler for Seen {
    fn event(&mut self, endpoint: &mut Endpoint, _: Instant, event: Event) {
        match event {
            Event::Connected { connection } => {
                self.connection = Some(connection);
                self.peer = endpoint.peer(connection);
            }
            Event::Disconnected { reason, .. } => self.gone = Some(reason),
            _ => {}
        }
    }
}

fn server(identity: &Identity, clients: &ClientAuth, bind: SocketAddr) -> Driver {
    let tls = server_config(identity, &PROTOCOLS, clients).unwrap();
    let endpoint = endpoint_config(&identity.keys("the server"), Some(tls));
    Driver::new(Config::new(bind, endpoint)).unwrap()
}

/// A client that is about to connect to a server that it has pinned.
fn client(to: &Driver, pinned: &Identity, own: Option<&Identity>) -> Driver {
    let endpoint = endpoint_config(&Keys::random().unwrap(), None);
    let mut client = Driver::new(Config::new(any(), endpoint)).unwrap();
    let tls = client_config(&Trust::Pinned(pinned.fingerprint()), &PROTOCOLS, own).unwrap();
    let config = ClientConfig::new(tls);
    client.endpoint().connect(Instant::now(), config, to.address(), "localhost").unwrap();
    client
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Turns both until one of them says that it is enough.
fn until(ends: [(&mut Driver, &mut Seen); 2], mut enough: impl FnMut(&Seen, &Seen) -> bool) {
    let [(one, seen), (other, seen_by_other)] = ends;
    for _ in 0..TURNS {
        one.turn(WAIT, seen).unwrap();
        other.turn(WAIT, seen_by_other).unwrap();
        if enough(seen, seen_by_other) {
            return;
        }
    }
    panic!("it takes too long");
}

#[test]
fn both_ends_know_the_other_s_fingerprint_and_the_protocol() {
    let (ours, theirs) = (identity(), identity());
    let clients = ClientAuth::Required(ClientTrust::Pinned(vec![theirs.fingerprint()]));
    let mut server = server(&ours, &clients, any());
    let mut client = client(&server, &ours, Some(&theirs));
    let (mut by_server, mut by_client) = (Seen::default(), Seen::default());
    until([(&mut server, &mut by_server), (&mut client, &mut by_client)], |one, other| {
        one.peer.is_some() && other.peer.is_some()
    });
    for (seen, expected) in [(by_client, &ours), (by_server, &theirs)] {
        let peer = seen.peer.unwrap();
        assert_eq!(peer.fingerprint, Some(expected.fingerprint().0));
        assert_eq!(peer.protocol.as_deref(), Some(PROTOCOLS[0].as_bytes()));
    }
}

#[test]
fn a_client_learns_that_its_server_was_restarted_from_its_folder() {
    let folder = TempDir::new().unwrap();
    let kept = |folder: &Path| Identity::kept_in(folder, &NAMES, SystemTime::now()).unwrap();
    let identity = kept(folder.path());
    let mut first = server(&identity, &ClientAuth::None, any());
    let mut client = client(&first, &identity, None);
    let (mut by_server, mut by_client) = (Seen::default(), Seen::default());
    until([(&mut first, &mut by_server), (&mut client, &mut by_client)], |one, other| {
        one.peer.is_some() && other.peer.is_some()
    });

    let address = first.address();
    drop(first);
    let mut second = server(&kept(folder.path()), &ClientAuth::None, address);
    let connection = by_client.connection.unwrap();
    let endpoint = client.endpoint();
    let stream = endpoint.open(connection, Direction::Unidirectional).unwrap().unwrap();
    endpoint.write(stream, &mut Bytes::from_static(b"are you there?")).unwrap();
    until([(&mut second, &mut Seen::default()), (&mut client, &mut by_client)], |_, client| {
        client.gone.is_some()
    });
    assert_eq!(by_client.gone, Some(Reason::Lost(ConnectionError::Reset)));
}
