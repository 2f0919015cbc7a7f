//! Sockets read over loopback, and multicast in a network of the test's own.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use gapless_core::Instant;
use gapless_tests::in_namespace;

use super::*;
use crate::Clock;
use crate::clock::WallClock;
use crate::sys::SendBatch;

const WISHES: Wishes =
    Wishes { receive_buffer: 1 << 20, arrivals: Arrivals::KernelEach, busy_poll: None };

fn line(address: &str) -> Inbound {
    lines(&[address])
}

/// Lines numbered from 0, on one socket.
fn lines(addresses: &[&str]) -> Inbound {
    let lines = (0..).map(LineId).zip(addresses.iter().map(|a| a.parse().unwrap())).collect();
    let mut sockets = by_socket(lines, true).unwrap();
    assert_eq!(sockets.len(), 1);
    Inbound::for_lines(&sockets.remove(0), WISHES).unwrap()
}

fn sender(address: &str) -> UdpSocket {
    UdpSocket::bind(address).unwrap()
}

/// All that has come, read as drivers read: with the line, or the peer, of each. On loopback a
/// datagram has arrived when the call that sends it returns.
fn read_all(inbound: &mut Inbound) -> Vec<(Source, Vec<u8>)> {
    let mut slots = ReceiveBatch::new(matches!(inbound.role, Role::Peers));
    let mut datagrams = Vec::new();
    inbound.ready = true;
    while inbound.ready {
        let count = inbound.receive(&mut slots).unwrap();
        for datagram in (0..count).map(|index| slots.get(index)) {
            if let Some(source) = inbound.source(&datagram) {
                datagrams.push((source, datagram.bytes.to_vec()));
            }
        }
    }
    datagrams
}

fn contents(inbound: &mut Inbound) -> Vec<Vec<u8>> {
    read_all(inbound).into_iter().map(|(_, bytes)| bytes).collect()
}

/// 150 datagrams of all kinds of sizes, the first empty.
fn assorted() -> Vec<Vec<u8>> {
    (0..150_usize).map(|i| vec![i as u8; i * i % 1473]).collect()
}

#[test]
fn datagrams_of_any_size_come_through_in_order_over_ipv4_and_ipv6() {
    for (bound, from) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")] {
        let mut inbound = line(bound);
        let sender = sender(from);
        for datagram in assorted() {
            sender.send_to(&datagram, inbound.socket.local()).unwrap();
        }
        assert_eq!(contents(&mut inbound), assorted());
    }
}

#[test]
fn one_system_call_moves_up_to_64_datagrams_each_way() {
    let mut inbound = line("127.0.0.1:0");
    let sender = sender("127.0.0.1:0");
    let (datagrams, to) = (assorted(), inbound.socket.local());
    let mut batch = SendBatch::new();
    let mut sent = Vec::new();
    for datagrams in datagrams.chunks(64) {
        let datagrams = datagrams.iter().map(|datagram| (datagram.as_slice(), to));
        sent.push(batch.send(sender.as_fd(), datagrams).unwrap());
    }
    assert_eq!(sent, [64, 64, 22]);
    assert_eq!(contents(&mut inbound), datagrams);
    assert_eq!(inbound.stats.reads, 3);
    assert_eq!(inbound.stats.datagrams, 150);
    assert_eq!(inbound.stats.bytes, datagrams.iter().map(|d| d.len() as u64).sum::<u64>());
}

#[test]
fn the_largest_datagrams_are_received_whole() {
    let mut inbound = line("127.0.0.1:0");
    let sender = sender("127.0.0.1:0");
    let datagrams: Vec<Vec<u8>> = (0..4).map(|i| vec![i; 65_507]).collect();
    for datagram in &datagrams {
        sender.send_to(datagram, inbound.socket.local()).unwrap();
    }
    assert_eq!(contents(&mut inbound), datagrams);
    assert_eq!(inbound.stats.cut, 0);
}

#[test]
fn a_datagram_that_is_longer_than_its_slot_is_dropped_and_counted() {
    // No UDP datagram is, but for jumbograms.
    let (sender, receiver) = UnixDatagram::pair().unwrap();
    let mut slots = ReceiveBatch::new(false);
    for length in [70_000, 3] {
        sender.send(&vec![7; length]).unwrap();
    }
    assert_eq!(slots.receive(receiver.as_fd()).unwrap(), 2);
    let mut inbound = line("127.0.0.1:0");
    assert_eq!(inbound.source(&slots.get(0)), None);
    assert_eq!(inbound.source(&slots.get(1)), Some(Source::Line(LineId(0))));
    assert_eq!(inbound.stats.cut, 1);
    assert_eq!(slots.get(1).bytes, [7; 3]);
}

#[test]
fn what_the_network_says_of_datagrams_that_were_sent_does_not_come_up_in_reading() {
    for any in ["127.0.0.1:0", "[::1]:0"] {
        let mut inbound = Inbound::for_peers(any.parse().unwrap(), WISHES).unwrap();
        let nobody = sender(any).local_addr().unwrap();
        let somebody = sender(any);
        for number in 0..=2 * MOST_ERRORS {
            let datagrams = std::iter::once((&b"request"[..], nobody));
            // Each is answered by an ICMP message, which the next call may report.
            let _ = SendBatch::new().send(inbound.socket.as_fd(), datagrams);
            somebody.send_to(&number.to_be_bytes(), inbound.socket.local()).unwrap();
            assert_eq!(contents(&mut inbound), [number.to_be_bytes()]);
        }
        assert_eq!(inbound.stats.errors, 0);
    }
}

#[test]
fn slots_are_used_again_without_a_trace_of_what_was_in_them() {
    let mut inbound = line("127.0.0.1:0");
    let sender = sender("127.0.0.1:0");
    let mut slots = ReceiveBatch::new(false);
    for datagram in [vec![1; 2000], vec![2; 3], vec![]] {
        sender.send_to(&datagram, inbound.socket.local()).unwrap();
        assert_eq!(inbound.receive(&mut slots).unwrap(), 1);
        assert_eq!(slots.get(0).bytes, datagram);
    }
}

#[test]
fn an_empty_socket_is_no_error_and_no_longer_ready() {
    let mut inbound = line("127.0.0.1:0");
    assert_eq!(read_all(&mut inbound), []);
    assert_eq!((inbound.stats.reads, inbound.stats.errors), (1, 0));
}

#[test]
fn the_kernel_reports_arrivals_between_sending_and_reading() {
    let mut inbound = line("127.0.0.1:0");
    let sender = sender("127.0.0.1:0");
    let mut slots = ReceiveBatch::new(false);
    let clock = Clock::new();
    let wall = WallClock::new(clock);
    // The two clocks are read one after the other, so their distance is known to within a task
    // switch or so.
    let slack = std::time::Duration::from_millis(100);
    let before = clock.now();
    for _ in 0..3 {
        sender.send_to(b"datagram", inbound.socket.local()).unwrap();
    }
    let count = inbound.receive(&mut slots).unwrap();
    let after = clock.now();
    assert_eq!(count, 3);
    let arrivals: Vec<Instant> = (0..count)
        .map(|index| wall.to_core(slots.get(index).wall_nanos.unwrap(), Instant::MAX))
        .collect();
    assert!(arrivals.is_sorted());
    assert!(arrivals[0] + slack >= before, "{arrivals:?} before {before:?}");
    assert!(arrivals[2] <= after + slack, "{arrivals:?} after {after:?}");
}

#[test]
fn in_a_backlog_the_last_of_a_batch_stands_for_the_batch() {
    let address: Address = "127.0.0.1:0".parse().unwrap();
    let wishes = Wishes { arrivals: Arrivals::Kernel, ..WISHES };
    let mut inbound = Inbound::for_lines(&[(LineId(0), address)], wishes).unwrap();
    let sender = sender("127.0.0.1:0");
    let mut slots = ReceiveBatch::new(false);
    for _ in 0..2 {
        for _ in 0..2 * BATCH + 1 {
            sender.send_to(b"datagram", inbound.socket.local()).unwrap();
        }
        let mut arrivals = Vec::new();
        for (whole, each) in [(BATCH, true), (BATCH, false), (1, false)] {
            let count = inbound.receive(&mut slots).unwrap();
            assert_eq!(count, whole);
            for index in 0..count {
                let datagram = slots.get(index);
                assert_eq!(datagram.wall_nanos.is_some(), each);
                arrivals.push(inbound.arrival(&datagram).unwrap());
            }
        }
        // Of two neighbours the later may bear the earlier time, when the sender moves to another core.
        assert!(arrivals[0] < arrivals[BATCH - 1]);
        assert!(arrivals[BATCH - 1] < arrivals[BATCH]);
        assert!(arrivals[BATCH..2 * BATCH].iter().all(|arrival| *arrival == arrivals[BATCH]));
        assert!(arrivals[BATCH] < arrivals[2 * BATCH]);
    }
    assert_eq!(inbound.stats.clock_calls, 2 * 4);
}

#[test]
fn peers_are_distinguished_by_their_address() {
    for any in ["127.0.0.1:0", "[::1]:0"] {
        let mut inbound = Inbound::for_peers(any.parse().unwrap(), WISHES).unwrap();
        let (first, second) = (sender(any), sender(any));
        first.send_to(b"first", inbound.socket.local()).unwrap();
        second.send_to(b"second", inbound.socket.local()).unwrap();
        assert_eq!(
            read_all(&mut inbound),
            [
                (Source::Peer(first.local_addr().unwrap()), b"first".to_vec()),
                (Source::Peer(second.local_addr().unwrap()), b"second".to_vec()),
            ]
        );
    }
}

#[test]
fn what_the_kernel_dropped_is_counted() {
    let tiny = Wishes { receive_buffer: 8192, ..WISHES };
    let address: Address = "127.0.0.1:0".parse().unwrap();
    let mut inbound = Inbound::for_lines(&[(LineId(0), address)], tiny).unwrap();
    let sender = sender("127.0.0.1:0");
    assert_eq!(inbound.socket.kernel_drops(), 0);
    let mut received = 0;
    for _ in 0..2 {
        for _ in 0..500 {
            sender.send_to(&[0; 1000], inbound.socket.local()).unwrap();
        }
        received += read_all(&mut inbound).len() as u64;
        assert!(inbound.socket.kernel_drops() > 0);
    }
    assert_eq!(received + inbound.socket.kernel_drops(), 1000);
}

#[test]
fn the_receive_buffer_that_was_granted_is_reported() {
    let granted = |receive_buffer| {
        let socket = Socket::for_requests(
            "127.0.0.1:0".parse().unwrap(),
            Wishes { receive_buffer, ..WISHES },
        );
        socket.unwrap().receive_buffer()
    };
    // 64 KiB is below the limit of every Linux system.
    assert_eq!(granted(1 << 16), 1 << 16);
    assert!(granted(0) > 0);
    // More than there can be is not an error, and the size that came of it is reported.
    assert!(granted(usize::MAX) < usize::MAX);
}

#[test]
fn an_unknown_interface_is_an_error_that_names_step_and_line() {
    let address: Address = "239.1.1.1:5000@no-such-if".parse().unwrap();
    let error = Inbound::for_lines(&[(LineId(0), address)], WISHES).err().unwrap();
    let message = error.to_string();
    assert!(
        message.starts_with("cannot find the interface of 239.1.1.1:5000@no-such-if: "),
        "{message}"
    );
}

#[test]
fn an_address_given_twice_is_refused() {
    let twice = vec![
        (LineId(0), "127.0.0.1:5000".parse().unwrap()),
        (LineId(1), "127.0.0.1:5000".parse().unwrap()),
    ];
    assert!(matches!(by_socket(twice, false), Err(Error::LineTwice { .. })));
}

#[test]
fn only_groups_of_one_port_and_family_and_of_any_sender_share_a_socket() {
    let addresses = [
        "239.1.1.1:5000@1",
        "239.1.1.2:5000@1",
        "239.1.1.1:5000@2",
        "239.1.1.1:5001@1",
        "127.0.0.7/232.1.1.1:5000@1",
        "[ff02::1]:5000@1",
        "127.0.0.1:5000",
    ];
    let lines = || (0..).map(LineId).zip(addresses.map(|a| a.parse().unwrap())).collect();
    let numbers = |share| {
        let sockets = by_socket(lines(), share).unwrap().into_iter();
        sockets.map(|lines| lines.iter().map(|(line, _)| line.0).collect()).collect::<Vec<Vec<_>>>()
    };
    assert_eq!(numbers(true), [vec![0, 1, 2], vec![3], vec![4], vec![5], vec![6]]);
    assert!(numbers(false).iter().all(|lines| lines.len() == 1));
}

/// A sender of multicast over loopback, from `address`.
fn group_sender(address: &str) -> UdpSocket {
    let sender = socket2::Socket::from(UdpSocket::bind((address, 0)).unwrap());
    sender.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    sender.into()
}

#[test]
fn two_feeds_on_one_port_are_kept_apart() {
    in_namespace!();
    let mut first = line("239.1.1.1:5000@lo");
    let mut second = line("239.1.1.2:5000@127.0.0.1");
    let sender = group_sender("127.0.0.1");
    sender.send_to(b"first", "239.1.1.1:5000").unwrap();
    sender.send_to(b"second", "239.1.1.2:5000").unwrap();
    assert_eq!(contents(&mut first), [b"first"]);
    assert_eq!(contents(&mut second), [b"second"]);
}

#[test]
fn two_receivers_of_one_group_both_get_it() {
    in_namespace!();
    let mut receivers = [line("239.1.1.1:5000@lo"), line("239.1.1.1:5000@lo")];
    group_sender("127.0.0.1").send_to(b"datagram", "239.1.1.1:5000").unwrap();
    for receiver in &mut receivers {
        assert_eq!(contents(receiver), [b"datagram"]);
    }
}

#[test]
fn lines_that_share_a_socket_are_distinguished_by_their_groups() {
    in_namespace!();
    let mut inbound = lines(&["239.1.1.1:5000@lo", "239.1.1.2:5000@lo"]);
    // Joined by another socket of this machine, on the same port.
    let other = line("239.1.1.3:5000@lo");
    let sender = group_sender("127.0.0.1");
    sender.send_to(b"B", "239.1.1.2:5000").unwrap();
    sender.send_to(b"neither", "239.1.1.3:5000").unwrap();
    sender.send_to(b"to the port", "127.0.0.1:5000").unwrap();
    sender.send_to(b"A", "239.1.1.1:5000").unwrap();
    assert_eq!(
        read_all(&mut inbound),
        [(Source::Line(LineId(1)), b"B".to_vec()), (Source::Line(LineId(0)), b"A".to_vec())]
    );
    assert_eq!(inbound.stats.stray, 1);
    drop(other);
}

#[test]
fn a_source_specific_line_hears_its_source_only() {
    in_namespace!();
    let mut only_first = line("127.0.0.1/232.1.1.1:5000@lo");
    let mut only_second = line("127.0.0.2/232.1.1.1:5000@lo");
    group_sender("127.0.0.1").send_to(b"first", "232.1.1.1:5000").unwrap();
    group_sender("127.0.0.2").send_to(b"second", "232.1.1.1:5000").unwrap();
    group_sender("127.0.0.3").send_to(b"third", "232.1.1.1:5000").unwrap();
    assert_eq!(contents(&mut only_first), [b"first"]);
    assert_eq!(contents(&mut only_second), [b"second"]);
}

/// Runs a command in the namespace.
fn run(command: &str) {
    let status = Command::new("sh").args(["-ec", command]).status().unwrap();
    assert!(status.success(), "{command}");
}

#[test]
fn one_group_on_two_interfaces_is_two_lines() {
    in_namespace!();
    run("ip link add left type veth peer name right; ip link set left up; ip link set right up
         ip addr add 10.9.9.1/24 dev left");
    let addresses = ["239.1.1.1:5000@lo", "239.1.1.1:5000@10.9.9.1"];
    let mut apart = addresses.map(line);
    let mut shared = lines(&addresses);
    for (address, datagram) in addresses.iter().zip([b"on lo  ", b"on left"]) {
        let address: Address = address.parse().unwrap();
        let sender = Socket::to_line(&address, Some(1)).unwrap();
        let datagram = std::iter::once((&datagram[..], address.destination()));
        assert_eq!(SendBatch::new().send(sender.as_fd(), datagram).unwrap(), 1);
    }
    assert_eq!(contents(&mut apart[0]), [b"on lo  "]);
    assert_eq!(contents(&mut apart[1]), [b"on left"]);
    assert_eq!(
        read_all(&mut shared),
        [
            (Source::Line(LineId(0)), b"on lo  ".to_vec()),
            (Source::Line(LineId(1)), b"on left".to_vec())
        ]
    );
}

/// An interface that carries multicast of IPv6, which loopback does not.
fn ipv6_interface(name: &str, addresses: &[&str]) {
    run(&format!("ip link add {name} type veth peer name {name}-peer"));
    run(&format!("ip link set {name} up; ip link set {name}-peer up"));
    for address in addresses {
        run(&format!("ip -6 addr add {address}/64 dev {name} nodad"));
    }
}

#[test]
fn groups_of_ipv6_are_kept_apart_by_group_and_by_interface() {
    in_namespace!();
    ipv6_interface("left", &["fd00::1"]);
    ipv6_interface("right", &["fd01::1"]);
    for group in ["ff02", "ff15"] {
        let addresses = [
            format!("[{group}::11]:5000@left"),
            format!("[{group}::12]:5000@fd00::1"),
            format!("[{group}::11]:5000@right"),
        ];
        let addresses = [&*addresses[0], &addresses[1], &addresses[2]];
        let mut apart = addresses.map(line);
        let mut shared = lines(&addresses);
        // Joined by another socket of this machine, on the same port.
        let other = format!("[{group}::13]:5000@left");
        let _other = line(&other);
        for (number, address) in addresses.iter().chain([&&*other]).enumerate() {
            let address: Address = address.parse().unwrap();
            let sender = Socket::to_line(&address, Some(1)).unwrap();
            let datagram = [number as u8];
            let datagram = std::iter::once((&datagram[..], address.destination()));
            assert_eq!(SendBatch::new().send(sender.as_fd(), datagram).unwrap(), 1);
        }
        for (number, inbound) in apart.iter_mut().enumerate() {
            assert_eq!(contents(inbound), [[number as u8]]);
        }
        let expected: Vec<_> = (0..3).map(|n| (Source::Line(LineId(n)), vec![n])).collect();
        assert_eq!(read_all(&mut shared), expected);
        assert_eq!(shared.stats.stray, 0);
    }
}

#[test]
fn an_address_that_every_link_has_names_an_interface_only_where_one_has_it() {
    in_namespace!();
    ipv6_interface("left", &["fe80::77"]);
    let address: Address = "[ff15::11]:5000@fe80::77".parse().unwrap();
    let lines = [(LineId(0), address)];
    Inbound::for_lines(&lines, WISHES).unwrap();
    ipv6_interface("right", &["fe80::77"]);
    let error = Inbound::for_lines(&lines, WISHES).err().unwrap().to_string();
    assert!(error.ends_with("several interfaces have this address"), "{error}");
    line("[ff15::11]:5000@fe80::77%right");
}

#[test]
fn a_source_specific_line_of_ipv6_hears_its_source_only() {
    in_namespace!();
    ipv6_interface("left", &["fd00::1", "fd00::2"]);
    let mut inbound = line("fd00::1/[ff3e::11]:5000@left");
    for source in ["fd00::2", "fd00::1"] {
        let sender = UdpSocket::bind((source, 0)).unwrap();
        let left = crate::sys::interface_named("left").unwrap();
        socket2::SockRef::from(&sender).set_multicast_if_v6(left).unwrap();
        sender.send_to(source.as_bytes(), "[ff3e::11]:5000").unwrap();
    }
    assert_eq!(contents(&mut inbound), [b"fd00::1"]);
}

#[test]
fn a_group_is_sent_from_the_interfaces_own_address_where_that_is_given() {
    in_namespace!();
    let address: Address = "239.1.1.1:5000@127.0.0.1".parse().unwrap();
    let group = UdpSocket::bind("239.1.1.1:5000").unwrap();
    group.join_multicast_v4(&Ipv4Addr::new(239, 1, 1, 1), &Ipv4Addr::LOCALHOST).unwrap();
    let sender = Socket::to_line(&address, Some(1)).unwrap();
    let datagram = std::iter::once((&b"datagram"[..], address.destination()));
    assert_eq!(SendBatch::new().send(sender.as_fd(), datagram).unwrap(), 1);
    let (_, from) = group.recv_from(&mut [0; 16]).unwrap();
    assert_eq!(from.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
}

#[test]
fn packets_of_a_line_travel_as_many_hops_as_it_is_said() {
    in_namespace!();
    ipv6_interface("left", &["fd00::1"]);
    let to = |line: &str, hops| Socket::to_line(&line.parse().unwrap(), hops).unwrap();
    let of = |socket: &Socket| {
        let socket = socket2::SockRef::from(socket);
        [socket.ttl_v4(), socket.multicast_ttl_v4()].map(Result::unwrap)
    };
    let of_v6 = |socket: &Socket| {
        let socket = socket2::SockRef::from(socket);
        [socket.unicast_hops_v6(), socket.multicast_hops_v6()].map(Result::unwrap)
    };
    assert_eq!(of(&to("127.0.0.1:1", None)), [64, 1]);
    assert_eq!(of(&to("127.0.0.1:1", Some(7))), [7, 1]);
    assert_eq!(of(&to("239.1.1.1:1@lo", Some(0))), [64, 0]);
    assert_eq!(of_v6(&to("[::1]:1", Some(7))), [7, 1]);
    assert_eq!(of_v6(&to("[ff15::1]:1@left", Some(255))), [64, 255]);
    // No unicast can stay at home.
    assert_eq!(
        Socket::to_line(&"127.0.0.1:1".parse().unwrap(), Some(0)).err().unwrap().0,
        "limit the hops to"
    );
}
