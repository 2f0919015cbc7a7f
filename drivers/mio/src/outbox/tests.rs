//! Sending over loopback, and what happens where it fails.

use std::net::UdpSocket;
use std::process::Command;

use gapless_tests::in_namespace;

use super::*;
use crate::Address;

const NONE: Duration = Duration::ZERO;

fn receiver() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn sender() -> Socket {
    Socket::to_line(&"127.0.0.1:1".parse::<Address>().unwrap(), None).unwrap()
}

/// Sends each to its destination by one flush.
fn send(socket: &Socket, datagrams: &[(usize, SocketAddr)]) -> SendStats {
    let mut outbox = Outbox::default();
    for &(length, to) in datagrams {
        outbox.push(vec![0_u8; length], to);
    }
    outbox.flush(socket, &mut SendBatch::new(), NONE);
    assert!(outbox.is_empty());
    outbox.stats
}

/// The lengths of what has come.
fn received(socket: &UdpSocket) -> Vec<usize> {
    let mut buffer = [0; 1024];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok()).collect()
}

#[test]
fn datagrams_leave_64_by_a_system_call_in_order() {
    let (socket, to) = receiver();
    let datagrams: Vec<_> = (0..130).map(|length| (length, to)).collect();
    let stats = send(&sender(), &datagrams);
    assert_eq!((stats.writes, stats.datagrams, stats.dropped()), (3, 130, 0));
    assert_eq!(received(&socket), (0..130).collect::<Vec<_>>());
}

#[test]
fn a_datagram_that_is_too_large_is_counted_and_the_others_are_sent() {
    let (socket, to) = receiver();
    let stats = send(&sender(), &[(1, to), (65_508, to), (2, to)]);
    assert_eq!((stats.datagrams, stats.too_large, stats.dropped()), (2, 1, 1));
    assert_eq!(received(&socket), [1, 2]);
}

#[test]
fn a_destination_without_a_way_is_counted_and_the_others_are_sent_to() {
    in_namespace!();
    let (socket, to) = receiver();
    let nowhere = "192.0.2.1:5000".parse().unwrap();
    let stats = send(&sender(), &[(1, to), (9, nowhere), (9, nowhere), (2, to)]);
    assert_eq!((stats.datagrams, stats.unreachable, stats.dropped()), (2, 2, 2));
    assert_eq!(received(&socket), [1, 2]);
}

#[test]
fn each_reason_is_reported_once_and_counted() {
    let (_socket, to) = receiver();
    let other = "[::1]:5000".parse().unwrap();
    let (sender, mut outbox) = (sender(), Outbox::default());
    let mut flush = |datagrams: &[(usize, SocketAddr)]| {
        for &(length, to) in datagrams {
            outbox.push(vec![0_u8; length], to);
        }
        outbox.flush(&sender, &mut SendBatch::new(), NONE);
        std::iter::from_fn(|| outbox.next_failure()).collect::<Vec<_>>()
    };
    let failure = |code, datagrams| SendFailure { code, datagrams };
    assert_eq!(flush(&[(1, to), (65_508, to), (65_508, to)]), [failure(libc::EMSGSIZE, 2)]);
    assert_eq!(flush(&[(65_508, to), (1, other)]), [failure(libc::EAFNOSUPPORT, 1)]);
    assert_eq!(flush(&[(1, other), (65_508, to)]), []);
    let all = [failure(libc::EMSGSIZE, 4), failure(libc::EAFNOSUPPORT, 2)];
    assert_eq!((outbox.failures(), outbox.stats.dropped()), (&all[..], 6));
}

#[test]
fn a_broadcast_is_sent_and_arrives() {
    in_namespace!();
    let socket = UdpSocket::bind("127.255.255.255:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let to = socket.local_addr().unwrap();
    let stats = send(&sender(), &[(3, to)]);
    assert_eq!((stats.datagrams, stats.dropped()), (1, 0));
    assert_eq!(received(&socket), [3]);
}

#[test]
fn nobody_listening_is_no_error() {
    let (socket, to) = receiver();
    drop(socket);
    let stats = send(&sender(), &[(1, to); 100]);
    assert_eq!((stats.datagrams, stats.dropped()), (100, 0));
}

#[test]
fn a_refusal_that_is_reported_stops_nothing() {
    let (gone, to) = receiver();
    drop(gone);
    let (socket, alive) = receiver();
    // A connected socket reports the errors that came back for its datagrams.
    let sender = sender();
    socket2::SockRef::from(&sender).connect(&to.into()).unwrap();
    let is_reported = (0..50).any(|_| {
        assert_eq!(send(&sender, &[(1, to)]).refused, 0);
        let stats = send(&sender, &[(2, alive), (3, alive)]);
        assert_eq!((stats.datagrams, stats.dropped()), (2, 0));
        assert_eq!(received(&socket), [2, 3]);
        // What other tests do may have taken up the kernel's room for ICMP for a moment.
        std::thread::sleep(Duration::from_millis(20 * (1 - stats.refused)));
        stats.refused == 1
    });
    assert!(is_reported || !kernel_reports_refusals());
}

/// Whether a plain socket reports that nobody listens. Not where the kernel's room for ICMP, which all
/// namespaces share, is taken up.
fn kernel_reports_refusals() -> bool {
    let (gone, to) = receiver();
    drop(gone);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    socket.send(&[0]).unwrap();
    socket.send(&[0]).is_err()
}

/// A link so slow that nothing leaves while a test runs.
struct SlowLink;

impl SlowLink {
    fn new() -> Option<Self> {
        let slow = "tc qdisc add dev lo root tbf rate 8bit burst 2k limit 100m";
        let made = Command::new("sh").args(["-c", slow]).status();
        if !made.is_ok_and(|status| status.success()) {
            gapless_tests::skip::skip(format_args!("no slow link: {slow}"));
            return None;
        }
        Some(Self)
    }
}

impl Drop for SlowLink {
    /// Throws away what waits. It would keep its sockets, and they the namespace, for hours after the
    /// test, and what it runs into meanwhile uses up the kernel's room for ICMP, for everybody.
    fn drop(&mut self) {
        let removed = Command::new("tc").args(["qdisc", "del", "dev", "lo", "root"]).status();
        assert!(removed.is_ok_and(|status| status.success()), "the link stays slow");
    }
}

#[test]
fn what_a_full_send_buffer_does_not_take_is_dropped_and_counted() {
    in_namespace!();
    let Some(_slow) = SlowLink::new() else { return };
    let (_socket, to) = receiver();
    let stats = send(&sender(), &[(1000, to); 1000]);
    assert!(stats.buffer_full > 0);
    assert_eq!(stats.datagrams + stats.buffer_full, 1000);
    assert_eq!(stats.dropped(), stats.buffer_full);
}
