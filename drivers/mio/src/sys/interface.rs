//! Network interfaces: the index behind a name or an address.

use std::ffi::CString;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::ptr;

use libc::c_int;
use socket2::{SockAddr, SockAddrStorage};

/// The index of the interface of this name.
pub(crate) fn interface_named(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: a C string that lives longer than the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// The index of the interface of this index, which is there.
pub(crate) fn interface_numbered(index: u32) -> io::Result<u32> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: there is room for a name of any length.
    match unsafe { libc::if_indextoname(index, name.as_mut_ptr()) }.is_null() {
        true => Err(io::Error::last_os_error()),
        false => Ok(index),
    }
}

/// The index of the interface that has this address. Several may have one of a link, each on its own: then
/// it is none's.
pub(crate) fn interface_with(address: IpAddr) -> io::Result<u32> {
    let mut list = ptr::null_mut();
    // SAFETY: `list` is a place for a pointer, which the call fills on success.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let is_of_link = matches!(address, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let (mut index, mut is_ambiguous) = (0, false);
    let mut next = list.cast_const();
    // SAFETY: until it is freed here, the list is a chain of valid entries that ends with a null
    // pointer; an address in it is null, or as long as its family says; names are C strings.
    unsafe {
        while let Some(entry) = next.as_ref() {
            if ip_address(entry.ifa_addr) == Some(address) {
                let found = libc::if_nametoindex(entry.ifa_name);
                is_ambiguous |= index != 0 && index != found;
                index = found;
                if !is_of_link {
                    break;
                }
            }
            next = entry.ifa_next;
        }
        libc::freeifaddrs(list);
    }
    let none = |why| Err(io::Error::new(io::ErrorKind::NotFound, why));
    match index {
        0 => none("no interface has this address"),
        _ if is_ambiguous => none("several interfaces have this address"),
        index => Ok(index),
    }
}

/// The IP address behind a pointer out of `getifaddrs`.
///
/// # Safety
/// The pointer is null, or points to a socket address as long as its family says.
unsafe fn ip_address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: by the contract.
    let length = match c_int::from(unsafe { address.as_ref() }?.sa_family) {
        libc::AF_INET => mem::size_of::<libc::sockaddr_in>(),
        libc::AF_INET6 => mem::size_of::<libc::sockaddr_in6>(),
        _ => return None,
    };
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: by the contract `length` bytes lie there, and the storage has room for any address;
    // after the copy it holds a valid address of that length.
    let address = unsafe {
        ptr::copy_nonoverlapping(address.cast::<u8>(), (&raw mut storage).cast::<u8>(), length);
        SockAddr::new(storage, length as libc::socklen_t)
    };
    address.as_socket().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found_by_its_address_and_its_index() {
        let index = interface_with("127.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(interface_numbered(index).unwrap(), index);
    }

    #[test]
    fn what_no_interface_is_called_or_has_is_an_error() {
        assert!(interface_named("no-such-if").is_err());
        assert!(interface_numbered(u32::MAX).is_err());
        assert!(interface_named("with\0zero").is_err());
        assert!(interface_with("192.0.2.1".parse().unwrap()).is_err());
    }
}
