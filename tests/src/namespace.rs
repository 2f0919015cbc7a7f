//! A network of a test's own: the test runs again inside a network namespace in which loopback
//! carries multicast, so that no packet reaches another interface.

use std::process::{Command, Stdio};

const INSIDE: &str = "GAPLESS_INSIDE_NAMESPACE";

/// Returns from the test unless it runs in a network namespace of its own; runs it there once, and
/// fails with it.
///
/// Inside, `lo` is up and has the route to 224.0.0.0/4, and nothing else exists.
#[macro_export]
macro_rules! in_namespace {
    () => {{
        fn here() {}
        if !$crate::namespace::inside(::std::any::type_name_of_val(&here)) {
            return;
        }
    }};
}

/// Whether this process runs in a namespace made by this function. If not, runs the test that holds
/// the function called `here` in one.
///
/// # Panics
/// When the test fails there. When no namespace can be had, under `GAPLESS_NO_SKIP=1`.
#[must_use]
pub fn inside(here: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let Some(flags) = ["-n", "-rn"].into_iter().find(|flags| can_unshare(flags)) else {
        crate::skip::skip(format_args!("no network namespace: unshare -n and unshare -rn fail"));
        return false;
    };
    let test = here.trim_end_matches("::here").split_once("::").map_or(here, |(_, test)| test);
    let output = Command::new("unshare")
        .args([flags, "sh", "-c"])
        .arg("ip link set lo up && ip route add 224.0.0.0/4 dev lo && exec \"$0\" \"$@\"")
        .arg(std::env::current_exe().expect("a test binary has a path"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("unshare ran a moment ago");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    print!("{stdout}");
    eprint!("{stderr}");
    assert!(output.status.success(), "{test} fails in its namespace");
    assert!(stdout.contains("1 passed"), "{test} was not found in its namespace");
    false
}

fn can_unshare(flags: &str) -> bool {
    Command::new("unshare")
        .args([flags, "ip", "link", "set", "lo", "up"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    #[test]
    fn multicast_on_loopback_arrives_inside() {
        crate::in_namespace!();
        let group = Ipv4Addr::new(239, 1, 2, 3);
        let receiver = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        receiver.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
        receiver.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sender.send_to(b"hello", (group, receiver.local_addr().unwrap().port())).unwrap();
        let mut bytes = [0; 16];
        assert_eq!(receiver.recv(&mut bytes).unwrap(), 5);
    }
}
