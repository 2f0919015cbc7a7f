//! Advice when a socket cannot be had: the words behind the system's own.

use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;

const NO_INTERFACE: &str = "name an interface that is there, by its name, one of its addresses, or its index; see `ip address`";

/// Advice when `action` failed on the way to a socket at `address`.
pub(crate) fn on_socket(
    action: &str,
    address: SocketAddr,
    error: &io::Error,
) -> Option<&'static str> {
    let is_group = address.ip().is_multicast();
    Some(match Errno::from_io_error(error) {
        None | Some(Errno::NODEV | Errno::NXIO) if action == "find the interface of" => {
            NO_INTERFACE
        }
        Some(Errno::NODEV | Errno::NXIO) => {
            "that interface does not speak the address's version of IP; see `ip address`"
        }
        Some(Errno::MFILE) => "too many files are open: raise the limit, as by `ulimit -n`",
        Some(Errno::NFILE) => "the whole system has too many open files: raise fs.file-max",
        Some(Errno::ADDRINUSE) if is_group => {
            "another program has that port for itself: end it, or have it share the port (SO_REUSEADDR)"
        }
        Some(Errno::ADDRINUSE) => {
            "another program has that port, or this one by another address: choose another, or 0"
        }
        Some(Errno::ADDRNOTAVAIL) => {
            "no interface of this machine has that address; see `ip address`"
        }
        Some(Errno::ACCESS | Errno::PERM) if matches!(address.port(), 1..1024) => {
            "ports below 1024 are for privileged programs: choose another, or lower \
             net.ipv4.ip_unprivileged_port_start"
        }
        Some(Errno::ACCESS | Errno::PERM) => {
            "something on this system forbids it: a container, a policy"
        }
        Some(Errno::NOBUFS | Errno::NOMEM) if is_group && address.is_ipv4() => {
            "the system's limit of groups is reached: raise net.ipv4.igmp_max_memberships, the groups that \
             a socket may join, or net.core.optmem_max, the memory for them"
        }
        Some(Errno::NOBUFS | Errno::NOMEM) if is_group => {
            "the system's limit of groups is reached: raise net.core.optmem_max, the memory for those that \
             a socket joins, or net.ipv6.mld_max_msf, the senders of one"
        }
        Some(Errno::NOBUFS | Errno::NOMEM) => "the system has no memory left for it",
        Some(Errno::AFNOSUPPORT) if address.is_ipv6() => {
            "this system does not speak IPv6: use an IPv4 address"
        }
        Some(Errno::NETUNREACH | Errno::HOSTUNREACH) => {
            "there is no route to that address; see `ip route`"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(action: &str, address: &str, errno: Errno) -> Option<&'static str> {
        on_socket(action, address.parse().unwrap(), &errno.into())
    }

    #[test]
    fn a_limit_that_was_reached_is_named() {
        for (action, address, errno, setting) in [
            ("join", "239.1.1.1:5000", Errno::NOBUFS, "net.ipv4.igmp_max_memberships"),
            ("join", "[ff15::1]:5000", Errno::NOMEM, "net.core.optmem_max"),
            ("join", "[ff3e::1]:5000", Errno::NOBUFS, "net.ipv6.mld_max_msf"),
            ("open a socket for", "127.0.0.1:5000", Errno::MFILE, "ulimit -n"),
            ("open a socket for", "127.0.0.1:5000", Errno::NFILE, "fs.file-max"),
            ("bind", "127.0.0.1:80", Errno::ACCESS, "net.ipv4.ip_unprivileged_port_start"),
        ] {
            let advice = advice(action, address, errno).unwrap();
            assert!(advice.contains(setting), "{action} {address}: {advice}");
        }
    }

    #[test]
    fn an_interface_that_is_not_there_is_not_one_that_speaks_another_language() {
        let group = "239.1.1.1:5000";
        assert_eq!(advice("find the interface of", group, Errno::NODEV), Some(NO_INTERFACE));
        assert_ne!(advice("join", group, Errno::NODEV), Some(NO_INTERFACE));
        let unknown = io::Error::new(io::ErrorKind::NotFound, "no interface has this address");
        let address = group.parse().unwrap();
        assert_eq!(on_socket("find the interface of", address, &unknown), Some(NO_INTERFACE));
        assert_eq!(on_socket("join", address, &unknown), None);
    }

    #[test]
    fn a_port_that_anybody_may_take_is_not_called_privileged() {
        let privileged =
            |address| advice("bind", address, Errno::ACCESS).unwrap().contains("privileged");
        assert!(privileged("127.0.0.1:1023"));
        assert!(!privileged("127.0.0.1:1024"));
        assert!(!privileged("127.0.0.1:0"));
    }
}
