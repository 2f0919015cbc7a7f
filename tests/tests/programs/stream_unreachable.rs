//! `gapless stream send` to where the system sends nothing: its reason is said at once, in words.
#![cfg(target_os = "linux")]

use std::process::Command;

use gapless_tests::program::Program;

#[test]
fn what_the_system_does_not_send_is_said_at_once_in_its_words() {
    gapless_tests::in_namespace!();
    for line in [
        "route add unreachable 10.1.0.0/16",
        "route add prohibit 10.2.0.0/16",
        "link set lo mtu 1100",
    ] {
        assert!(Command::new("ip").args(line.split(' ')).status().unwrap().success(), "{line}");
    }
    for (to, words) in [
        ("10.1.2.3:9", "No route to host"),
        ("10.2.2.3:9", "Permission denied"),
        ("10.3.2.3:9", "Network is unreachable"),
        // A broadcast address.
        ("127.255.255.255:9", "Permission denied"),
        ("127.0.0.1:9", "Message too long"),
    ] {
        // It is waited for longer than a program may run here.
        let line = format!("stream send quic://{to} --tag x --insecure --connect-timeout 600");
        let ended = Program::start(&line.split(' ').collect::<Vec<_>>()).wait();
        assert_eq!(ended.code, Some(5), "{}", ended.errors);
        let words = format!("cannot reach {to}: {words}");
        assert!(ended.errors.contains(&words), "no `{words}` in: {}", ended.errors);
    }
}
