//! Where a line lives: a unicast address, or a multicast group on an interface, of any sender or of
//! one source only. Parsing, looking up names, and printing; nothing here touches a socket.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::str::FromStr;

use crate::sys;

/// Where a line is sent to and received from.
///
/// | written | meaning |
/// |---|---|
/// | `127.0.0.1:5000`, `[::1]:5000` | unicast: received on this address, sent to it |
/// | `[fe80::1%eth0]:5000` | unicast, on an address of a link, with the interface to that |
/// | `239.1.1.1:5000@eth0`, `[ff02::1%eth0]:5000` | a multicast group, joined and sent on an interface |
/// | `127.0.0.7/232.1.1.1:5000@eth0` | source-specific: of the group, only what `127.0.0.7` sends |
///
/// The interface is a name (`eth0`), one of its own addresses (`127.0.0.1`, `fe80::1`, `fe80::1%eth0`), or
/// its index (`2`). [`resolve`](Self::resolve) takes names of hosts, too. A group without an interface is
/// refused, so that a feed never depends on the routing table's choice.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    destination: SocketAddr,
    multicast: Option<Multicast>,
}

/// The interface and the source of a group, beside its address.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Multicast {
    pub(crate) interface: Interface,
    pub(crate) source: Option<IpAddr>,
}

/// A network interface, as somebody named it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Interface {
    /// By its name, of 1 to 15 bytes.
    Name(String),
    /// By one of its addresses.
    Address(IpAddr),
    /// By its index, from 1.
    Index(u32),
}

/// Why an address is refused.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// It is not written like the address of a line.
    #[error(
        "{}, or GROUP:PORT@INTERFACE for multicast (239.1.1.1:5000@eth0)",
        Self::HostAndPort(.0.clone())
    )]
    Syntax(String),
    /// It is not written like an address.
    #[error(
        "`{0}` is no address: write HOST:PORT (localhost:5000, 127.0.0.1:5000, [::1]:5000, \
         [fe80::1%eth0]:5000)"
    )]
    HostAndPort(String),
    /// A name, where only numbers are taken.
    #[error("`{0}` is a name, which is not looked up here: write an IP address")]
    Name(String),
    /// A name that could not be looked up.
    #[error(
        "cannot find `{name}`: {reason}; see that the name is right and the name server answers, \
         or write an IP address"
    )]
    Unknown {
        /// The name.
        name: String,
        /// The system's error.
        reason: String,
    },
    /// The text behind the `%` is no interface.
    #[error("`{0}` is no interface of this machine: write its name or its index behind `%`")]
    Zone(String),
    /// A zone behind an address that is the same on every link.
    #[error("{0} is no address of a link: leave out what stands behind `%`")]
    ZoneForGlobal(Ipv6Addr),
    /// An address that every link has its own of, without a link.
    #[error("{} is an address of a link: say on which interface, as in [{}%eth0]:{}",
            .0.ip(), .0.ip(), .0.port())]
    ZoneMissing(SocketAddr),
    /// A group whose interface is named behind `%` and behind `@`.
    #[error("`{0}` names an interface twice: leave out what stands behind `%`")]
    InterfaceTwice(String),
    /// A group without an interface.
    #[error("{0} is a multicast group: say on which interface, as in {0}@eth0")]
    InterfaceMissing(SocketAddr),
    /// An interface without a group.
    #[error("{0} is no multicast group: leave out the interface behind `@`")]
    InterfaceForUnicast(SocketAddr),
    /// A source without a group.
    #[error("{0} is no multicast group: leave out the source before `/`")]
    SourceForUnicast(SocketAddr),
    /// The text behind the `@` is no interface.
    #[error("`{0}` is no interface: write its name, its address, or its index from 1")]
    Interface(String),
    /// The text before the `/` is not the address of one sender.
    #[error("`{0}` is no source: write the sender's IP address before `/`")]
    Source(String),
    /// The source of an IPv4 group is IPv6, or the other way round.
    #[error("source {source_address} and group {group} are not of one address family")]
    Family {
        /// The source.
        source_address: IpAddr,
        /// The group.
        group: SocketAddr,
    },
    /// A group with port 0.
    #[error("a multicast group needs a port from 1")]
    PortZero,
}

impl Address {
    /// A unicast address. Port 0 lets the system choose when it is received on.
    ///
    /// # Errors
    /// It is a multicast group, or an address of a link without a link.
    pub fn unicast(address: SocketAddr) -> Result<Self, AddressError> {
        if address.ip().is_multicast() {
            return Err(AddressError::InterfaceMissing(address));
        }
        check_zone(address)?;
        Ok(Self { destination: address, multicast: None })
    }

    /// A multicast group on an interface.
    ///
    /// # Errors
    /// It is no multicast group, or its port is 0.
    pub fn multicast(mut group: SocketAddr, interface: Interface) -> Result<Self, AddressError> {
        if !group.ip().is_multicast() {
            return Err(AddressError::InterfaceForUnicast(group));
        }
        if group.port() == 0 {
            return Err(AddressError::PortZero);
        }
        if let SocketAddr::V6(group) = &mut group {
            group.set_scope_id(0);
        }
        Ok(Self { destination: group, multicast: Some(Multicast { interface, source: None }) })
    }

    /// The same group, but only what `source` sends to it.
    ///
    /// # Errors
    /// This is no multicast group, or the two are not of one address family, or the source is not
    /// the address of one sender.
    pub fn with_source(mut self, source: IpAddr) -> Result<Self, AddressError> {
        let group = self.destination;
        let Some(multicast) = &mut self.multicast else {
            return Err(AddressError::SourceForUnicast(group));
        };
        if source.is_multicast() || source.is_unspecified() {
            return Err(AddressError::Source(source.to_string()));
        }
        if source.is_ipv4() != group.is_ipv4() {
            return Err(AddressError::Family { source_address: source, group });
        }
        multicast.source = Some(source);
        Ok(self)
    }

    /// As it is parsed, but hosts may be names, too, which the system looks up, however long that takes.
    /// Of several addresses of a name the first of IPv4 is taken, or else the first.
    ///
    /// # Errors
    /// It is no address, or no host has that name.
    pub fn resolve(written: &str) -> Result<Self, AddressError> {
        Self::parse(written, look_up)
    }

    fn parse(written: &str, host: Host) -> Result<Self, AddressError> {
        let (rest, interface) = match written.rsplit_once('@') {
            Some((rest, interface)) => (rest, Some(interface)),
            None => (written, None),
        };
        let (source, destination) = match rest.split_once('/') {
            Some((source, destination)) => (Some(source), destination),
            None => (None, rest),
        };
        let zone = destination.split_once('%').and_then(|(_, zone)| zone.split_once(']'));
        let destination = host_and_port(destination, host).map_err(|error| match error {
            AddressError::HostAndPort(_) => AddressError::Syntax(written.to_owned()),
            error => error,
        })?;
        // The zone of a group is its interface.
        let zone = zone.map(|(zone, _)| zone).filter(|_| destination.ip().is_multicast());
        let address = match (interface, zone) {
            (Some(_), Some(_)) => return Err(AddressError::InterfaceTwice(written.to_owned())),
            (Some(interface), None) | (None, Some(interface)) => {
                Self::multicast(destination, interface.parse()?)?
            }
            (None, None) => Self::unicast(destination)?,
        };
        let Some(source) = source else { return Ok(address) };
        let is_source = |error| match error {
            AddressError::HostAndPort(_) | AddressError::Name(_) => {
                AddressError::Source(source.to_owned())
            }
            error => error,
        };
        address.with_source(match source.parse() {
            Ok(ip) => ip,
            Err(_) => host_and_port(&format!("{source}:0"), host).map_err(is_source)?.ip(),
        })
    }

    /// The unicast address, or the group, with its port.
    #[must_use]
    pub const fn destination(&self) -> SocketAddr {
        self.destination
    }

    /// The interface of a group; `None` for unicast.
    #[must_use]
    pub fn interface(&self) -> Option<&Interface> {
        self.multicast.as_ref().map(|multicast| &multicast.interface)
    }

    /// The only sender that is listened to; `None` for unicast, and for groups of any sender.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        self.multicast.as_ref().and_then(|multicast| multicast.source)
    }

    pub(crate) const fn group(&self) -> Option<&Multicast> {
        self.multicast.as_ref()
    }
}

/// The address that is written `HOST:PORT`, where the host is a number, or a name, which the system looks
/// up, however long that takes. Of several addresses of a name the first of IPv4 is taken, or else the first.
///
/// | written | meaning |
/// |---|---|
/// | `127.0.0.1:5000`, `[::1]:5000` | an address |
/// | `[fe80::1%eth0]:5000`, `[fe80::1%2]:5000` | one of a link, with the interface to that |
/// | `localhost:5000` | a name |
///
/// # Errors
/// It is no address, no host has that name, or it is an address of a link that is not said.
pub fn resolve(written: &str) -> Result<SocketAddr, AddressError> {
    let address = host_and_port(written, look_up)?;
    check_zone(address)?;
    Ok(address)
}

/// Makes an address of a host, that is no IPv6 address, and a port.
type Host = fn(&str, u16) -> Result<SocketAddr, AddressError>;

fn host_and_port(written: &str, host: Host) -> Result<SocketAddr, AddressError> {
    let refused = || AddressError::HostAndPort(written.to_owned());
    let (name, port) = written.rsplit_once(':').ok_or_else(refused)?;
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused());
    }
    let port = port.parse().map_err(|_| refused())?;
    let address = if let Some(ip) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        let (ip, zone) = match ip.split_once('%') {
            Some((ip, zone)) => (ip, zone_index(zone)?),
            None => (ip, 0),
        };
        let ip: Ipv6Addr = ip.parse().map_err(|_| refused())?;
        if zone > 0 && !ip.is_unicast_link_local() && !ip.is_multicast() {
            return Err(AddressError::ZoneForGlobal(ip));
        }
        SocketAddrV6::new(ip, port, 0, zone).into()
    } else if let Ok(ip) = name.parse::<Ipv4Addr>() {
        SocketAddr::new(ip.into(), port)
    } else if is_name(name) {
        host(name, port)?
    } else {
        return Err(refused());
    };
    Ok(match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, port),
        IpAddr::V6(_) => address,
    })
}

/// Whether somebody could be called so. What ends in a number is a mistyped IPv4 address.
fn is_name(name: &str) -> bool {
    let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let has_letters = last.contains(|c: char| !c.is_ascii_digit());
    let is_punctuated = |c: char| c.is_ascii_punctuation() && !"-._".contains(c);
    has_letters && !name.contains(|c: char| c.is_whitespace() || c.is_control() || is_punctuated(c))
}

/// Knows no names.
fn number(name: &str, _port: u16) -> Result<SocketAddr, AddressError> {
    Err(AddressError::Name(name.to_owned()))
}

/// Has the system look up a name.
fn look_up(name: &str, port: u16) -> Result<SocketAddr, AddressError> {
    let unknown = |reason| AddressError::Unknown { name: name.to_owned(), reason };
    let found = (name, port).to_socket_addrs().map_err(|error| unknown(error.to_string()))?;
    let found: Vec<SocketAddr> = found.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| unknown("it has no address".to_owned()))
}

/// The index of the interface that a zone names.
fn zone_index(zone: &str) -> Result<u32, AddressError> {
    match zone.parse() {
        Ok(index @ 1..) => Ok(index),
        _ => sys::interface_named(zone).map_err(|_| AddressError::Zone(zone.to_owned())),
    }
}

/// Refuses an address that every link has its own of, without a link.
fn check_zone(address: SocketAddr) -> Result<(), AddressError> {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 => {
            Err(AddressError::ZoneMissing(address))
        }
        _ => Ok(()),
    }
}

impl FromStr for Interface {
    type Err = AddressError;

    fn from_str(written: &str) -> Result<Self, AddressError> {
        if let Ok(address) = written.parse() {
            return Ok(Self::Address(address));
        }
        if let Some((address, zone)) = written.split_once('%') {
            // Which of the interfaces with this address it is, the zone says.
            return match address.parse() {
                Ok(IpAddr::V6(_)) => zone.parse(),
                _ => Err(AddressError::Interface(written.to_owned())),
            };
        }
        if let Ok(index) = written.parse() {
            return match index {
                0 => Err(AddressError::Interface(written.to_owned())),
                _ => Ok(Self::Index(index)),
            };
        }
        // IFNAMSIZ is 16, with the terminating zero.
        let is_name = (1..=15).contains(&written.len())
            && !written.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
        if !is_name {
            return Err(AddressError::Interface(written.to_owned()));
        }
        Ok(Self::Name(written.to_owned()))
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
            Self::Index(index) => index.fmt(f),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Takes numbers only: see [`resolve`](Self::resolve).
    fn from_str(written: &str) -> Result<Self, AddressError> {
        Self::parse(written, number)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.multicast {
            None => write!(f, "{}", self.destination),
            Some(Multicast { interface, source: None }) => {
                write!(f, "{}@{interface}", self.destination)
            }
            Some(Multicast { interface, source: Some(source) }) => {
                write!(f, "{source}/{}@{interface}", self.destination)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(written: &str) -> Result<Address, AddressError> {
        written.parse()
    }

    #[test]
    fn every_form_is_printed_as_it_was_written() {
        for written in [
            "127.0.0.1:5000",
            "[::1]:0",
            "239.1.1.1:5000@eth0",
            "239.1.1.1:5000@127.0.0.1",
            "239.1.1.1:5000@3",
            "[ff02::1]:5000@eth0",
            "[ff02::1]:5000@fe80::1",
            "127.0.0.7/232.1.1.1:5000@eth0",
            "fd00::7/[ff3e::1]:5000@2",
        ] {
            assert_eq!(parse(written).unwrap().to_string(), written);
        }
    }

    #[test]
    fn an_interface_is_an_address_an_index_or_a_name() {
        let interface = |written| parse(written).unwrap().interface().cloned();
        assert_eq!(
            interface("239.1.1.1:5000@127.0.0.1"),
            Some(Interface::Address("127.0.0.1".parse().unwrap()))
        );
        assert_eq!(interface("239.1.1.1:5000@2"), Some(Interface::Index(2)));
        assert_eq!(interface("239.1.1.1:5000@2a"), Some(Interface::Name("2a".to_owned())));
        assert_eq!(interface("127.0.0.1:5000"), None);
    }

    #[test]
    fn a_group_without_an_interface_is_refused() {
        let group = "239.1.1.1:5000".parse().unwrap();
        assert_eq!(parse("239.1.1.1:5000"), Err(AddressError::InterfaceMissing(group)));
        assert_eq!(
            parse("239.1.1.1:5000").unwrap_err().to_string(),
            "239.1.1.1:5000 is a multicast group: say on which interface, as in 239.1.1.1:5000@eth0"
        );
    }

    #[test]
    fn an_interface_or_a_source_without_a_group_is_refused() {
        let unicast = "127.0.0.1:5000".parse().unwrap();
        assert_eq!(parse("127.0.0.1:5000@eth0"), Err(AddressError::InterfaceForUnicast(unicast)));
        assert_eq!(parse("127.0.0.7/127.0.0.1:5000"), Err(AddressError::SourceForUnicast(unicast)));
    }

    #[test]
    fn what_is_no_address_no_interface_or_no_source_is_refused_by_name() {
        for written in [
            "",
            "eth0",
            "127.0.0.1",
            "::1:5000x",
            "::1:5000",
            "127.0.0.1:70000",
            "127.0.0.1:+5",
            "239.1.1.1@eth0",
            "300.1.1.1:5000",
            "1.2.3:5000",
            "a host:5000",
            ":5000",
            "[localhost]:5000",
        ] {
            assert_eq!(parse(written), Err(AddressError::Syntax(written.to_owned())));
        }
        for interface in ["", "0", "a name", "a-name-of-16-bytes"] {
            assert_eq!(
                parse(&format!("239.1.1.1:5000@{interface}")),
                Err(AddressError::Interface(interface.to_owned()))
            );
        }
        for source in ["", "eth0", "239.9.9.9", "0.0.0.0"] {
            assert_eq!(
                parse(&format!("{source}/232.1.1.1:5000@eth0")),
                Err(AddressError::Source(source.to_owned()))
            );
        }
        assert_eq!(parse("239.1.1.1:0@eth0"), Err(AddressError::PortZero));
    }

    #[test]
    fn a_source_of_the_other_address_family_is_refused() {
        assert!(matches!(parse("::7/232.1.1.1:5000@eth0"), Err(AddressError::Family { .. })));
    }

    #[test]
    fn a_name_is_looked_up_where_that_is_asked_for() {
        let name = AddressError::Name("localhost".to_owned());
        assert_eq!(parse("localhost:5000"), Err(name));
        let found = Address::resolve("localhost:5000").unwrap();
        assert!(found.destination().ip().is_loopback());
        assert_eq!(resolve("localhost:5000"), Ok(found.destination()));
        for written in ["127.0.0.1:1", "[::1]:1", "239.1.1.1:5000@eth0"] {
            assert_eq!(Address::resolve(written), parse(written));
        }
    }

    #[test]
    fn a_name_that_nobody_has_is_an_error_that_names_it() {
        // Reserved by RFC 6761: no name server knows it.
        for written in ["nobody.invalid:5000", "nobody.invalid/232.1.1.1:5000@lo"] {
            let error = Address::resolve(written).unwrap_err();
            assert!(
                matches!(&error, AddressError::Unknown { name, .. } if name == "nobody.invalid")
            );
            assert!(error.to_string().starts_with("cannot find `nobody.invalid`: "), "{error}");
        }
    }

    #[test]
    fn an_address_of_a_link_has_its_interface_by_name_or_by_index() {
        let lo = crate::sys::interface_named("lo").unwrap();
        for zone in ["lo".to_owned(), lo.to_string()] {
            let address = parse(&format!("[fe80::1%{zone}]:5000")).unwrap();
            assert_eq!(address.to_string(), format!("[fe80::1%{lo}]:5000"));
            let group = parse(&format!("[ff02::1%{zone}]:5000")).unwrap();
            assert_eq!(group.to_string(), format!("[ff02::1]:5000@{zone}"));
            let group = parse(&format!("[ff02::1]:5000@fe80::1%{zone}")).unwrap();
            assert_eq!(group.to_string(), format!("[ff02::1]:5000@{zone}"));
        }
    }

    #[test]
    fn an_address_of_a_link_without_a_link_is_refused() {
        let error = parse("[fe80::1]:5000").unwrap_err();
        assert_eq!(Err(error.clone()), resolve("[fe80::1]:5000"));
        assert_eq!(
            error.to_string(),
            "fe80::1 is an address of a link: say on which interface, as in [fe80::1%eth0]:5000"
        );
        assert_eq!(
            parse("[fe80::1%no-such-if]:5000"),
            Err(AddressError::Zone("no-such-if".to_owned()))
        );
        let global = AddressError::ZoneForGlobal("fd00::1".parse().unwrap());
        assert_eq!(parse("[fd00::1%lo]:5000"), Err(global));
        assert!(matches!(parse("[ff02::1%lo]:5000@lo"), Err(AddressError::InterfaceTwice(_))));
    }

    #[test]
    fn an_ipv4_address_in_the_clothes_of_ipv6_is_one() {
        assert_eq!(parse("[::ffff:127.0.0.1]:5000"), parse("127.0.0.1:5000"));
        assert_eq!(parse("[::ffff:239.1.1.1]:5000@lo"), parse("239.1.1.1:5000@lo"));
    }

    #[test]
    fn what_is_no_address_is_refused_in_the_same_words_everywhere() {
        let common = "`nowhere` is no address: write HOST:PORT (localhost:5000, 127.0.0.1:5000, \
                      [::1]:5000, [fe80::1%eth0]:5000)";
        assert_eq!(resolve("nowhere").unwrap_err().to_string(), common);
        let of_line = Address::resolve("nowhere").unwrap_err().to_string();
        assert!(of_line.starts_with(common), "{of_line}");
    }

    #[test]
    fn whatever_is_written_is_refused_or_printed_so_that_it_means_the_same() {
        const PIECES: [&str; 20] = [
            "127.0.0.1",
            "239.1.1.1",
            "[::1]",
            "[fe80::1",
            "[ff02::1",
            "::ffff:1.2.3.4",
            "%",
            "lo",
            "1",
            "]",
            "[",
            ":",
            ":5000",
            ":0",
            "@",
            "/",
            ".",
            "-",
            "\u{e9}",
            " ",
        ];
        let mut state = 1_u64;
        let mut draw = |most: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from((state >> 33) % most).unwrap()
        };
        let mut taken = 0;
        for _ in 0..50_000 {
            let pieces: Vec<&str> = (0..=draw(6)).map(|_| PIECES[draw(20)]).collect();
            let written = pieces.concat();
            let Ok(address) = parse(&written) else { continue };
            taken += 1;
            assert_eq!(parse(&address.to_string()), Ok(address), "{written}");
        }
        assert!(taken > 50, "{taken}");
    }
}
