//! The program's use of its sockets: names, where requests come from, whose answers count, how far packets
//! travel, how much the kernel keeps.

use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use gapless_tests::in_namespace;

use crate::program::{Ended, Files, Port, Program, gapless, receiver};

/// A packet of session FEED: so many messages of one byte from a number on.
fn packet(sequence: u64, count: u16) -> Vec<u8> {
    let mut packet = b"FEED      ".to_vec();
    packet.extend(sequence.to_be_bytes());
    packet.extend(count.to_be_bytes());
    packet.extend([0, 1, b'x'].repeat(usize::from(count) % 0xffff));
    packet
}

/// A socket whose reads end.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket
}

#[test]
fn names_are_taken_where_addresses_are() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 500);
    let copy = files.path("copy.bin");
    let requests = Port::new().free().port();
    let line = format!(
        "receive --json --line localhost:0 --requests localhost:{requests} --source localhost --output {copy}"
    );
    let mut receiver = Program::start(line.split_whitespace());
    let to = receiver.address("line A on").port();
    let line = format!(
        "publish --input {feed} --to localhost:{to} --requests localhost:{requests} --session S \
         --loss 20% --linger 1"
    );
    gapless(&line).assert_code(0);
    receiver.wait().assert_code(0);
    files.assert_same("feed.bin", "copy.bin");

    let identity = files.path("identity");
    let line = format!("stream listen --listen localhost:0 --tag t --once --identity {identity}");
    let mut listener = Program::start(line.split_whitespace());
    let port = listener.address("listening on").port();
    let line = format!("stream send quic://localhost:{port} --tag t --input {feed} --insecure");
    gapless(&line).assert_code(0);
    let taken = listener.wait();
    taken.assert_code(0);
    assert_eq!(taken.output, files.read("feed.bin"));
}

#[test]
fn a_name_that_nobody_has_ends_with_4_and_is_named() {
    for line in [
        "receive --line nobody.invalid:5000",
        "publish --input f --to 127.0.0.1:1 --requests nobody.invalid:1",
        "stream listen --tag t --listen nobody.invalid:1",
    ] {
        let ended = gapless(line);
        ended.assert_code(4);
        assert!(ended.errors.contains("cannot find `nobody.invalid`: "), "{}", ended.errors);
    }
}

/// Has a receiver ask a server for message 2, and returns where it asked from and the server.
fn asked(arguments: &str) -> (Program, SocketAddr, UdpSocket) {
    let server = socket();
    let requests = server.local_addr().unwrap();
    let arguments = format!("--session FEED --from start --requests {requests} {arguments}");
    let (receiver, lines) = receiver(1, &arguments);
    let sender = socket();
    for packet in
        [packet(1, 1), packet(3, 1), packet(4, 0xffff), packet(4, 0xffff), packet(4, 0xffff)]
    {
        sender.send_to(&packet, lines[0]).unwrap();
    }
    let (_, from) = server.recv_from(&mut [0; 64]).unwrap();
    (receiver, from, server)
}

#[test]
fn requests_are_sent_from_the_source_that_was_given() {
    let port = Port::new().free().port();
    for (source, port) in
        [("127.0.0.2".to_owned(), None), (format!("127.0.0.1:{port}"), Some(port))]
    {
        let (receiver, from, server) = asked(&format!("--source {source}"));
        assert!(source.starts_with(&from.ip().to_string()), "{from}");
        assert!(port.is_none_or(|port| from.port() == port), "{from}");
        server.send_to(&packet(2, 1), from).unwrap();
        receiver.wait().assert_code(0);
    }
}

#[test]
fn a_source_that_is_not_here_ends_with_4_and_is_named() {
    let ended = gapless("receive --line 127.0.0.1:0 --requests 127.0.0.1:9 --source 192.0.2.1");
    ended.assert_code(4);
    assert!(ended.errors.contains("192.0.2.1"), "{}", ended.errors);
}

#[test]
fn answers_of_anybody_count_only_where_that_is_said() {
    for (arguments, code) in [("--accept-answers any", 0), ("--give-up 0.5", 1)] {
        let (receiver, from, _server) = asked(arguments);
        let elsewhere = socket();
        elsewhere.send_to(&packet(2, 1), from).unwrap();
        receiver.wait().assert_code(code);
    }
}

#[test]
fn a_smaller_receive_buffer_than_was_asked_for_is_reported_with_the_setting_to_raise() {
    // The right to ask for more than the system allows is that of the first user namespace.
    let apart = Command::new("unshare").args(["-r", "true"]).status();
    let surroundings: &[&str] = match apart.is_ok_and(|status| status.success()) {
        true => &["unshare", "-r"],
        false => &[],
    };
    for line in [
        "receive --line 127.0.0.1:0 --max-time 0.1 --receive-buffer 1073741823",
        "publish --input /dev/null --format lines --session S --to 127.0.0.1:9 --requests 127.0.0.1:0 \
         --linger 0 --receive-buffer 1073741823",
    ] {
        let ended = Program::start_in(surroundings, "exec \"$@\"", line).wait();
        let reported = "warning: --receive-buffer 1073741823: the system gives ";
        assert!(ended.errors.contains(reported), "{}", ended.errors);
        assert!(ended.errors.contains("net.core.rmem_max=1073741823"), "{}", ended.errors);
    }
    let ended = gapless("receive --line 127.0.0.1:0 --max-time 0.1 --receive-buffer 65536");
    assert!(!ended.errors.contains("--receive-buffer"), "{}", ended.errors);
}

#[test]
fn packets_of_lines_travel_as_many_hops_as_the_command_line_says() {
    in_namespace!();
    let files = Files::new();
    let feed = files.feed("feed.bin", 1);
    // Sees packets with their headers.
    let raw = socket2::Socket::new(
        socket2::Domain::IPV4,
        socket2::Type::RAW,
        Some(socket2::Protocol::UDP),
    )
    .unwrap();
    raw.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let group = "239.1.1.1".parse().unwrap();
    raw.join_multicast_v4(&group, &"127.0.0.1".parse().unwrap()).unwrap();
    // Nobody hears that nobody listens.
    let here = UdpSocket::bind("127.0.0.1:5000").unwrap();
    for (ttl, expected) in [("--ttl 7", [7, 7]), ("--ttl 255", [255, 255]), ("", [64, 1])] {
        let line = format!(
            "publish --input {feed} --session S --to 127.0.0.1:5000 --to 239.1.1.1:5000@lo \
             --requests 127.0.0.1:0 --linger 0 {ttl}"
        );
        gapless(&line).assert_code(0);
        let mut hops = [None; 2];
        while hops.contains(&None) {
            let mut bytes = [0; 2048];
            let length = (&raw).read(&mut bytes).unwrap();
            let bytes = &bytes[..length];
            // Time to live, and the first byte of the destination.
            hops[usize::from(bytes[16] == 239)] = Some(bytes[8]);
        }
        assert_eq!(hops, expected.map(Some), "{ttl}");
        raw.set_nonblocking(true).unwrap();
        while (&raw).read(&mut [0; 2048]).is_ok() {}
        raw.set_nonblocking(false).unwrap();
    }
    drop(here);
}

/// Runs a command in the namespace.
fn run(command: &str) {
    let status = Command::new("sh").args(["-ec", command]).status().unwrap();
    assert!(status.success(), "{command}");
}

#[test]
fn an_interface_that_goes_away_and_comes_back_is_reported_and_used_again() {
    in_namespace!();
    let make =
        "ip link add left type veth peer name right; ip link set left up; ip link set right up
                ip addr add 10.9.9.1/24 dev left; ip -6 addr add fe80::77/64 dev left nodad";
    run(make);
    let files = Files::new();
    let copy = files.path("copy.bin");
    let lines = ["239.1.1.1:5000@left", "[ff02::11%left]:5000"];
    let requests = Port::new().free();
    let line = format!(
        "receive --json --line {} --line {} --requests {requests} --output {copy}",
        lines[0], lines[1]
    );
    let mut receiver = Program::start(line.split_whitespace());
    receiver.wait_for_handler();
    let line = format!(
        "publish --json --input - --format lines --to {} --to {} --requests {requests} --session S \
         --linger 1",
        lines[0], lines[1]
    );
    let mut publisher = Program::start(line.split_whitespace());
    publisher.write(b"before\n");
    files.wait_for_length("copy.bin", 8);
    run("ip link del left");
    for program in [&mut receiver, &mut publisher] {
        program.reported("warning: line A: the interface of 239.1.1.1:5000@left is gone");
        program.reported("warning: line B: the interface of [ff02::11]:5000@left is gone");
    }
    run(make);
    for program in [&mut receiver, &mut publisher] {
        program.reported("line A: the interface of 239.1.1.1:5000@left is back");
        program.reported("line B: the interface of [ff02::11]:5000@left is back");
    }
    publisher.write(b"after\n");
    publisher.end_input();
    let (received, published) = (receiver.wait(), publisher.wait());
    assert_eq!(files.read("copy.bin"), b"\0\x06before\0\x05after");
    for ended in [received, published] {
        ended.assert_code(0);
        let json = ended.json();
        let losses = json["lines"].as_array().unwrap().iter().map(|line| &line["interface_losses"]);
        assert!(losses.eq([1, 1].iter()), "{json}");
    }
}

/// Asserts that a program says what failed, and what to do.
#[track_caller]
fn assert_advised(ended: &Ended, failed: &str, advice: &str) {
    ended.assert_code(4);
    assert!(ended.errors.contains(failed), "{}", ended.errors);
    assert!(ended.errors.contains(advice), "{}", ended.errors);
}

#[test]
fn a_limit_of_memberships_is_named_with_the_setting_to_raise() {
    in_namespace!();
    run("echo 0 > /proc/sys/net/ipv4/igmp_max_memberships");
    let ended = gapless("receive --line 239.1.1.1:5000@lo");
    assert_advised(&ended, "cannot join 239.1.1.1:5000@lo: ", "net.ipv4.igmp_max_memberships");
    let ended = gapless("receive --line 127.0.0.1/232.1.1.1:5000@lo");
    assert_advised(&ended, "cannot join 127.0.0.1/232", "net.ipv4.igmp_max_memberships");
    // Before Linux 6.8 it is no setting of a namespace.
    if std::fs::write("/proc/sys/net/core/optmem_max", "1").is_ok() {
        for line in ["[ff15::11]:5000@lo", "::1/[ff3e::11]:5000@lo"] {
            let ended = gapless(&format!("receive --line {line}"));
            assert_advised(&ended, &format!("cannot join {line}: "), "net.core.optmem_max");
        }
    }
}

#[test]
fn a_socket_that_cannot_be_had_is_reported_with_what_to_do() {
    in_namespace!();
    let held = UdpSocket::bind("127.0.0.1:5000").unwrap();
    for (line, failed, advice) in [
        (
            "receive --line 127.0.0.1:5000",
            "cannot bind 127.0.0.1:5000: ",
            "another program has that port",
        ),
        ("receive --line 192.0.2.1:5000", "cannot bind 192.0.2.1:5000: ", "ip address"),
        ("receive --line [fd00::1]:5000", "cannot bind [fd00::1]:5000: ", "ip address"),
        (
            "receive --line 239.1.1.1:5000@eth7",
            "cannot find the interface of 239",
            "name an interface",
        ),
        (
            "receive --line 239.1.1.1:5000@10.1.1.1",
            "cannot find the interface",
            "name an interface",
        ),
        ("receive --line 239.1.1.1:5000@77", "cannot find the interface", "name an interface"),
        (
            "stream listen --tag t --listen 127.0.0.1:5000 --identity /tmp",
            "127.0.0.1:5000: ",
            "that port",
        ),
    ] {
        assert_advised(&gapless(line), failed, advice);
    }
    drop(held);
    let line = "receive --line 127.0.0.1:0 --requests 127.0.0.1:9";
    let ended =
        Program::start_in(&["sh", "-c", "ulimit -n 8; exec \"$@\"", "sh"], "exec \"$@\"", line)
            .wait();
    assert_advised(&ended, "open files", "ulimit -n");
}

#[test]
fn a_line_that_is_given_twice_under_two_names_is_refused() {
    in_namespace!();
    for [one, other] in [
        ["127.0.0.1:5000", "[::ffff:127.0.0.1]:5000"],
        ["239.1.1.1:5000@lo", "239.1.1.1:5000@127.0.0.1"],
        ["[ff02::1%lo]:5000", "[ff02::1]:5000@lo"],
    ] {
        let ended = gapless(&format!("receive --line {one} --line {other}"));
        ended.assert_code(2);
        assert!(ended.errors.contains("is given twice"), "{}", ended.errors);
    }
}

#[test]
fn lines_of_one_family_and_servers_of_the_other_go_together() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 500);
    for (line, server) in [("127.0.0.1:0", "[::1]"), ("[::1]:0", "127.0.0.1")] {
        let held = UdpSocket::bind(format!("{server}:0")).unwrap();
        let requests = held.local_addr().unwrap();
        drop(held);
        let copy = files.path("copy.bin");
        let arguments = format!(
            "receive --line {line} --requests {requests} --output {copy} --source {server}"
        );
        let mut receiver = Program::start(arguments.split_whitespace());
        let to = receiver.address("line A on");
        let arguments = format!(
            "publish --input {feed} --to {to} --requests {requests} --session S --loss 20% --linger 1"
        );
        gapless(&arguments).assert_code(0);
        receiver.wait().assert_code(0);
        files.assert_same("feed.bin", "copy.bin");
        std::fs::remove_file(copy).unwrap();
    }
}

#[test]
fn an_address_of_a_link_is_taken_by_lines_requests_and_streams() {
    in_namespace!();
    run("ip link add left type veth peer name right; ip link set left up; ip link set right up
         ip -6 addr add fe80::77/64 dev left nodad");
    let files = Files::new();
    let feed = files.feed("feed.bin", 500);
    let copy = files.path("copy.bin");
    let at = |port: u16| format!("[fe80::77%left]:{port}");
    let line = format!(
        "receive --line {} --requests {} --source fe80::77%left --output {copy}",
        at(5000),
        at(5002)
    );
    let receiver = Program::start(line.split_whitespace());
    receiver.wait_for_handler();
    std::thread::sleep(Duration::from_millis(200));
    let line = format!(
        "publish --input {feed} --to {} --requests {} --session S --loss 20% --linger 1",
        at(5000),
        at(5002)
    );
    gapless(&line).assert_code(0);
    receiver.wait().assert_code(0);
    files.assert_same("feed.bin", "copy.bin");

    let identity = files.path("identity");
    let line = format!("stream listen --listen {} --tag t --once --identity {identity}", at(4433));
    let mut listener = Program::start(line.split_whitespace());
    listener.reported("listening on");
    let line = format!("stream send quic://{} --tag t --input {feed} --insecure", at(4433));
    gapless(&line).assert_code(0);
    let taken = listener.wait();
    taken.assert_code(0);
    assert_eq!(taken.output, files.read("feed.bin"));
}
