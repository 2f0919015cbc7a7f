//! Where a stream is sent to: `quic://HOST:PORT`.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use gapless_mio::AddressError;

use crate::failure::Failure;

/// The scheme, before the host.
const SCHEME: &str = "quic://";

/// A server: its name or address, and its port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Url {
    /// A DNS name or an IP address, without brackets, of which one of a link has its zone.
    pub(crate) host: String,
    /// The UDP port.
    pub(crate) port: u16,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            format!(
                "`{text}` is no address: write quic://HOST:PORT (quic://localhost:4433, \
                 quic://127.0.0.1:4433, quic://[::1]:4433, quic://[fe80::1%eth0]:4433)"
            )
        };
        let rest = text.strip_prefix(SCHEME).ok_or_else(form)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = rest.rsplit_once(':').ok_or_else(form)?;
        let port = match port.parse() {
            // Text in brackets, or in a path, is no port.
            _ if port.contains([']', '/']) => return Err(form()),
            Ok(0) => return Err("nobody can be reached at port 0".into()),
            Ok(port) if port_is_plain(rest) => port,
            _ => return Err(format!("`{port}` is no port: 1 to 65535")),
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(host) if is_ipv6(host) => host,
            None if !host.is_empty()
                && !host.contains([':', '/', '@', '[', ']', '?', '#', '%']) =>
            {
                host
            }
            _ => return Err(form()),
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

/// Whether it is an address that stands in brackets, with or without a zone.
fn is_ipv6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').unwrap_or((host, "none"));
    address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty()
}

/// Whether a port is written with digits only.
fn port_is_plain(rest: &str) -> bool {
    rest.rsplit(':').next().is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "{SCHEME}[{}]:{}", self.host, self.port),
            false => write!(f, "{SCHEME}{}:{}", self.host, self.port),
        }
    }
}

impl Url {
    /// The name that its certificate must be good for.
    pub(crate) fn name(&self) -> &str {
        self.host.split('%').next().unwrap_or_default()
    }

    /// Its addresses, each once, in the system's order.
    ///
    /// # Errors
    /// The name is not known.
    pub(crate) fn resolve(&self) -> Result<Vec<SocketAddr>, Failure> {
        let found = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| self.unknown(error.to_string()))?;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in found {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(self.unknown("it has no address".to_owned()));
        }
        Ok(addresses)
    }

    /// The name is not known, in the words of all other addresses.
    pub(crate) fn unknown(&self, reason: String) -> Failure {
        let unknown = AddressError::Unknown { name: self.host.clone(), reason };
        Failure::unreachable(unknown.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: &str, port: u16) -> Url {
        Url { host: host.to_owned(), port }
    }

    #[test]
    fn a_url_names_a_host_and_a_port() {
        assert_eq!("quic://example.org:4433".parse(), Ok(url("example.org", 4433)));
        assert_eq!("quic://127.0.0.1:1/".parse(), Ok(url("127.0.0.1", 1)));
        assert_eq!("quic://[::1]:65535".parse(), Ok(url("::1", 65535)));
        assert_eq!(url("::1", 7).to_string(), "quic://[::1]:7");
        let link = "quic://[fe80::1%lo]:1";
        assert_eq!(link.parse(), Ok(url("fe80::1%lo", 1)));
        assert_eq!(url("fe80::1%lo", 1).to_string(), link);
        assert_eq!((url("fe80::1%lo", 1).name(), url("host", 1).name()), ("fe80::1", "host"));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "",
            "localhost:1",
            "https://localhost:1",
            "quic://localhost",
            "quic://[::1]",
            "quic://[fe80::1%lo]/",
            "quic://:1",
            "quic://localhost:1/path",
            "quic://::1:1",
            "quic://[localhost]:1",
            "quic://[::1%]:1",
            "quic://[%lo]:1",
            "quic://host%lo:1",
            "quic://user@host:1",
        ] {
            let why = text.parse::<Url>().unwrap_err();
            let words = format!("`{text}` is no address: write quic://HOST:PORT (");
            assert!(why.starts_with(&words), "{text}: {why}");
        }
        for port in ["0", "65536", "+1", ""] {
            let why = format!("quic://localhost:{port}").parse::<Url>().unwrap_err();
            assert!(why.contains("port"), "{port}: {why}");
        }
    }

    #[test]
    fn an_address_needs_no_looking_up() {
        let [address] = url("::1", 9).resolve().unwrap()[..] else { panic!("one address") };
        assert_eq!(address, "[::1]:9".parse().unwrap());
    }
}
