//! Errors of sending: they are reported of a peer that has not answered yet, at once, and of
//! no other.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use gapless_quic::{ConnectionId, Driver, Limits, Reason, Transport};

use crate::certified::client;
use crate::pair::Pair;
use crate::path::socket;

const EACCES: i32 = 13;
const EMSGSIZE: i32 = 90;
const ENETUNREACH: i32 = 101;
const ECONNREFUSED: i32 = 111;
const EHOSTUNREACH: i32 = 113;

fn pair() -> Pair {
    Pair::new(Limits::default(), Transport::default())
}

/// An address of loopback where nobody listens: of this process alone, and of the test with this number. One
/// that the system chose could be another test's a moment later.
fn nobody(test: u16) -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 64 | high & 63, middle, low), 4400 + test))
}

/// Turns until something was told of sending, which must be this.
#[track_caller]
fn assert_reported(pair: &mut Pair, connection: ConnectionId, os_error: i32) {
    pair.until(|pair| !pair.at_client.send_failures.is_empty());
    pair.rounds(20);
    assert_eq!(pair.at_client.send_failures, [(connection, os_error)]);
    // It goes on trying.
    assert_eq!(pair.at_client.gone, []);
    pair.at_client.send_failures.clear();
}

/// Runs `ip` with these arguments, in the namespace of the test.
fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_refused_port_is_reported_at_once() {
    let mut pair = pair();
    let connection = pair.connect_to(nobody(1));
    assert_reported(&mut pair, connection, ECONNREFUSED);
}

#[cfg(target_os = "linux")]
#[test]
fn each_connection_gets_errors_of_its_own_address_only() {
    let mut pair = pair();
    let silent = socket();
    pair.connect_to(silent.local_addr().unwrap());
    let refused = pair.connect_to(nobody(2));
    let connected = pair.connect();
    pair.until(|pair| !pair.at_client.connected.is_empty());
    assert_reported(&mut pair, refused, ECONNREFUSED);
    assert_eq!(pair.at_client.connected, [connected]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_peer_that_is_there_a_moment_after_it_refused_is_connected_to() {
    let mut pair = pair();
    let address = nobody(3);
    let connection = pair.connect_to(address);
    assert_reported(&mut pair, connection, ECONNREFUSED);
    let mut server = pair.certified.server(Limits::default(), Transport::default());
    server.bind = address;
    pair.server = Driver::new(server).unwrap();
    pair.until(|pair| pair.at_client.connected == [connection]);
}

#[test]
fn reports_of_a_peer_that_has_answered_are_ignored() {
    let mut pair = pair();
    let connection = pair.connected();
    let address = pair.server.address();
    pair.client.endpoint().send_failed(address, ECONNREFUSED);
    pair.rounds(20);
    assert_eq!((&pair.at_client.send_failures[..], &pair.at_client.gone[..]), (&[][..], &[][..]));
    assert!(pair.client.endpoint().peer(connection).is_some());
}

#[cfg(target_os = "linux")]
#[test]
fn that_a_peer_that_has_answered_is_gone_is_found_out_by_silence_only() {
    let after = std::time::Duration::from_secs(3);
    let transport = Transport { idle_timeout: after, ..Transport::default() };
    let mut pair = Pair::new(Limits::default(), transport);
    pair.connected();
    // From now on its port is closed, and says so.
    pair.server = Driver::new(client(transport)).unwrap();
    let connection = pair.at_client.connected[0];
    let Pair { client, at_client, .. } = &mut pair;
    at_client.send(client.endpoint(), connection, gapless_quic::Direction::Unidirectional, 5000);
    pair.until(|pair| !pair.at_client.gone.is_empty());
    assert_eq!(pair.at_client.reason(), Some(&Reason::IdleTimedOut { after }));
    assert_eq!(pair.at_client.send_failures, []);
}

#[test]
fn a_server_gets_no_errors_of_those_that_connect_to_it() {
    let mut pair = pair();
    pair.connected();
    let address = pair.client.address();
    pair.server.endpoint().send_failed(address, ECONNREFUSED);
    pair.rounds(20);
    assert_eq!(pair.at_server.send_failures, []);
}

#[cfg(target_os = "linux")]
#[test]
fn an_unreachable_forbidden_or_too_large_datagram_is_reported_with_the_systems_reason() {
    gapless_tests::in_namespace!();
    ip("route add unreachable 10.1.0.0/16");
    ip("route add prohibit 10.2.0.0/16");
    ip("link set lo mtu 1100");
    let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    for (remote, os_error) in [
        ("10.1.2.3:9", EHOSTUNREACH),
        ("10.2.2.3:9", EACCES),
        ("10.3.2.3:9", ENETUNREACH),
        // A broadcast address.
        ("127.255.255.255:9", EACCES),
        ("127.0.0.1:9", EMSGSIZE),
    ] {
        let mut pair = pair();
        let mut config = client(Transport::default());
        config.bind = all;
        pair.client = Driver::new(config).unwrap();
        let connection = pair.connect_to(remote.parse().unwrap());
        assert_reported(&mut pair, connection, os_error);
    }
}
