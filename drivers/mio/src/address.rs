//! Where a line lives: a unicast address, or a multicast group on an interface, of any sender or of
//! one source only. Parsing and printing; nothing here touches a socket.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Where a line is sent to and received from.
///
/// | written | meaning |
/// |---|---|
/// | `127.0.0.1:5000`, `[::1]:5000` | unicast: received on this address, sent to it |
/// | `239.1.1.1:5000@eth0` | a multicast group, joined and sent on an interface |
/// | `127.0.0.7/232.1.1.1:5000@eth0` | source-specific: of the group, only what `127.0.0.7` sends |
///
/// The interface is a name (`eth0`), one of its own addresses (`127.0.0.1`, `fe80::1`), or its index
/// (`2`). A group without an interface is refused, so that a feed never depends on the routing
/// table's choice.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    destination: SocketAddr,
    multicast: Option<Multicast>,
}

/// What a group needs beside its address.
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
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// It is not written like an address.
    #[error(
        "`{0}` is no address: write IP:PORT, or GROUP:PORT@INTERFACE for multicast \
         (127.0.0.1:5000, [::1]:5000, 239.1.1.1:5000@eth0)"
    )]
    Syntax(String),
    /// A group without an interface.
    #[error("{0} is a multicast group: say on which interface, as in {0}@eth0")]
    InterfaceMissing(SocketAddr),
    /// An interface without a group.
    #[error("{0} is no multicast group: leave out the interface behind `@`")]
    InterfaceForUnicast(SocketAddr),
    /// A source without a group.
    #[error("{0} is no multicast group: leave out the source before `/`")]
    SourceForUnicast(SocketAddr),
    /// What stands behind the `@` is no interface.
    #[error("`{0}` is no interface: write its name, its address, or its index from 1")]
    Interface(String),
    /// What stands before the `/` is not the address of one sender.
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
    /// It is a multicast group.
    pub fn unicast(address: SocketAddr) -> Result<Self, AddressError> {
        if address.ip().is_multicast() {
            return Err(AddressError::InterfaceMissing(address));
        }
        Ok(Self { destination: address, multicast: None })
    }

    /// A multicast group on an interface.
    ///
    /// # Errors
    /// It is no multicast group, or its port is 0.
    pub fn multicast(group: SocketAddr, interface: Interface) -> Result<Self, AddressError> {
        if !group.ip().is_multicast() {
            return Err(AddressError::InterfaceForUnicast(group));
        }
        if group.port() == 0 {
            return Err(AddressError::PortZero);
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

impl FromStr for Interface {
    type Err = AddressError;

    fn from_str(written: &str) -> Result<Self, AddressError> {
        if let Ok(address) = written.parse() {
            return Ok(Self::Address(address));
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

    fn from_str(written: &str) -> Result<Self, AddressError> {
        let (rest, interface) = match written.rsplit_once('@') {
            Some((rest, interface)) => (rest, Some(interface)),
            None => (written, None),
        };
        let (source, destination) = match rest.split_once('/') {
            Some((source, destination)) => (Some(source), destination),
            None => (None, rest),
        };
        let destination: SocketAddr =
            destination.parse().map_err(|_| AddressError::Syntax(written.to_owned()))?;
        let address = match interface {
            Some(interface) if destination.ip().is_multicast() => {
                Self::multicast(destination, interface.parse()?)?
            }
            Some(_) => return Err(AddressError::InterfaceForUnicast(destination)),
            None => Self::unicast(destination)?,
        };
        match source {
            Some(source) => address
                .with_source(source.parse().map_err(|_| AddressError::Source(source.to_owned()))?),
            None => Ok(address),
        }
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
        for written in ["", "eth0", "127.0.0.1", "::1:5000x", "127.0.0.1:70000", "239.1.1.1@eth0"] {
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
}
