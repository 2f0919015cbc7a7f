//! Addresses of the command line that are neither lines nor somebody to send to: where to send from, and
//! where a capture's packets went. Of all others `gapless_mio` knows how they are written. And what lines are
//! called, and what is said when the interface of one goes away.

use std::net::{Ipv6Addr, SocketAddr};

use gapless_mio::{Address, AddressError, InterfaceEvent};

/// An event of the interface of line `number`, in words.
pub(crate) fn interface_event(number: usize, line: &Address, event: InterfaceEvent) -> String {
    let name = line_name(number);
    match event {
        InterfaceEvent::Gone => {
            format!(
                "warning: line {name}: the interface of {line} is gone; waiting for it to come back"
            )
        }
        InterfaceEvent::Back => {
            format!("line {name}: the interface of {line} is back, and in use again")
        }
    }
}

/// A local address, whose port may be left out: the system chooses it then.
pub(crate) fn local(text: &str) -> Result<SocketAddr, AddressError> {
    let ip = text.split('%').next().unwrap_or_default();
    let whole = match text.contains(':') {
        true if ip.parse::<Ipv6Addr>().is_ok() => format!("[{text}]:0"),
        true if !text.ends_with(']') => text.to_owned(),
        _ => format!("{text}:0"),
    };
    gapless_mio::resolve(&whole).map_err(|error| match error {
        AddressError::HostAndPort(_) => AddressError::HostAndPort(text.to_owned()),
        error => error,
    })
}

/// Where packets of a capture went, perhaps on a link that this machine does not have.
pub(crate) fn captured(text: &str) -> Result<SocketAddr, AddressError> {
    text.parse().or_else(|_| gapless_mio::resolve(text))
}

/// A, B, … Z, and numbers behind that.
pub(crate) fn line_name(number: usize) -> String {
    match u8::try_from(number) {
        Ok(number @ 0..26) => char::from(b'A' + number).to_string(),
        _ => (number + 1).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_local_address_may_be_left_out() {
        for (text, address) in [
            ("127.0.0.1", "127.0.0.1:0"),
            ("127.0.0.1:7", "127.0.0.1:7"),
            ("::1", "[::1]:0"),
            ("[::1]", "[::1]:0"),
            ("[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(local(text), Ok(address.parse().unwrap()), "{text}");
        }
        assert!(local("localhost").unwrap().ip().is_loopback());
        assert!(local("fe80::1%lo").unwrap().is_ipv6());
    }

    #[test]
    fn what_is_no_local_address_is_refused_as_it_was_written() {
        for text in ["", "1.2.3", "a host", ":::", "fe80::1%no-such-if", "fe80::1"] {
            assert!(local(text).is_err(), "{text}");
        }
        assert_eq!(local("1.2.3"), Err(AddressError::HostAndPort("1.2.3".to_owned())));
    }

    #[test]
    fn a_captured_address_may_be_of_a_link_that_is_not_here() {
        assert_eq!(captured("[fe80::1]:7"), Ok("[fe80::1]:7".parse().unwrap()));
        assert!(captured("nowhere").is_err());
    }
}
