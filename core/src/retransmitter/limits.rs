//! How fast answers may go: one bucket for each of a bounded number of addresses, and one for all.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::Config;
use crate::Instant;
use crate::rate::{Bucket, Rate};

/// Whose rate is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Over {
    Address,
    Total,
}

#[derive(Debug)]
struct Address {
    ip: IpAddr,
    bucket: Bucket,
}

/// The buckets.
#[derive(Debug)]
pub(super) struct Limits {
    address_rate: Rate,
    total_rate: Rate,
    total: Bucket,
    /// By address.
    addresses: Vec<Address>,
    max_addresses: usize,
    /// Addresses forgotten to make room for others.
    pub(super) evicted: u64,
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            address_rate: config.address_rate,
            total_rate: config.total_rate,
            total: Bucket::default(),
            addresses: Vec::with_capacity(config.max_addresses),
            max_addresses: config.max_addresses,
            evicted: 0,
        }
    }

    /// The bytes that buckets for so many addresses take.
    pub(super) const fn bytes(max_addresses: usize) -> usize {
        max_addresses.saturating_mul(size_of::<Address>())
    }

    pub(super) const fn memory_used(&self) -> usize {
        Self::bytes(self.addresses.capacity())
    }

    /// Whether an answer may go to an address now.
    pub(super) fn admit(&self, now: Instant, ip: IpAddr) -> Result<(), Over> {
        let bucket = self.place(ip).map_or(Bucket::default(), |at| self.addresses[at].bucket);
        if bucket.opens(self.address_rate) > now {
            return Err(Over::Address);
        }
        if self.total.opens(self.total_rate) > now {
            return Err(Over::Total);
        }
        Ok(())
    }

    /// An answer of `bytes` goes to an address.
    pub(super) fn charge(&mut self, now: Instant, ip: IpAddr, bytes: usize) {
        self.total.take(now, self.total_rate, bytes);
        let at = match self.place(ip) {
            Ok(at) => at,
            Err(at) if self.addresses.len() < self.max_addresses => self.add(at, ip),
            Err(_) => {
                self.forget_most_rested();
                self.add(self.place(ip).unwrap_or_else(|at| at), ip)
            }
        };
        self.addresses[at].bucket.take(now, self.address_rate, bytes);
    }

    fn place(&self, ip: IpAddr) -> Result<usize, usize> {
        self.addresses.binary_search_by_key(&ip.to_canonical(), |address| address.ip)
    }

    fn add(&mut self, at: usize, ip: IpAddr) -> usize {
        let (ip, bucket) = (ip.to_canonical(), Bucket::default());
        self.addresses.insert(at, Address { ip, bucket });
        at
    }

    /// Forgets the address whose bucket is full again first, which forgives the least: a crowd of
    /// others pushes none out that was answered more than they.
    fn forget_most_rested(&mut self) {
        let full = |(at, address): (usize, &Address)| (address.bucket.full(), at);
        if let Some((_, at)) = self.addresses.iter().enumerate().map(full).min() {
            self.addresses.remove(at);
            self.evicted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    const NOW: Instant = Instant::from_millis(1);

    fn ip(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    fn limits() -> Limits {
        Limits::new(&Config {
            address_rate: Rate { bytes_per_second: 1000, burst: 100 },
            total_rate: Rate { bytes_per_second: 10_000, burst: 1000 },
            max_addresses: 3,
            ..Config::default()
        })
    }

    #[test]
    fn one_address_over_its_rate_leaves_the_others_theirs() {
        let mut limits = limits();
        limits.charge(NOW, ip(1), 200);
        assert_eq!(limits.admit(NOW, ip(1)), Err(Over::Address));
        assert_eq!(limits.admit(NOW, ip(2)), Ok(()));
    }

    #[test]
    fn many_addresses_together_stay_under_the_rate_of_all() {
        let mut limits = limits();
        for last in 0..11 {
            assert_eq!(limits.admit(NOW, ip(last)), Ok(()));
            limits.charge(NOW, ip(last), 100);
        }
        assert_eq!(limits.admit(NOW, ip(99)), Err(Over::Total));
    }

    #[test]
    fn the_address_that_is_rested_first_is_forgotten() {
        let mut limits = limits();
        for last in [1, 2, 3, 1] {
            limits.charge(NOW, ip(last), 110);
        }
        limits.charge(NOW, ip(4), 110);
        assert_eq!(limits.admit(NOW, ip(1)), Err(Over::Address));
        assert_eq!(limits.admit(NOW, ip(2)), Ok(()));
        assert_eq!((limits.evicted, limits.addresses.len()), (1, 3));
    }

    #[test]
    fn a_crowd_of_addresses_does_not_make_one_over_its_rate_forgotten() {
        let mut limits = limits();
        limits.charge(NOW, ip(1), 200);
        for last in 2..=50 {
            limits.charge(NOW, ip(last), 10);
        }
        assert_eq!(limits.admit(NOW, ip(1)), Err(Over::Address));
        assert_eq!(limits.evicted, 47);
    }

    #[test]
    fn an_ipv4_address_mapped_into_ipv6_is_the_same_address() {
        let mut limits = limits();
        limits.charge(NOW, ip(1), 200);
        let mapped = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().into();
        assert_eq!(limits.admit(NOW, mapped), Err(Over::Address));
    }
}
