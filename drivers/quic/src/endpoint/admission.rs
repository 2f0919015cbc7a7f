//! Admission of connections: how many there are in all and from one network, how many handshakes go on,
//! and how many this turn may begin.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::config::Limits;

/// The network that connections are counted by: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Network(u64);

impl Network {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            // No IPv6 network in use begins with 32 zero bits.
            IpAddr::V4(address) => Self(u32::from(address).into()),
            IpAddr::V6(address) => Self((u128::from(address) >> 64) as u64),
        }
    }
}

/// The decision on an attempt to connect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Its handshake begins.
    Accept,
    /// Its address must be shown to be its own first.
    Retry,
    /// It waits for a later turn.
    Wait,
    /// It is refused with an answer.
    Refuse,
    /// It is dropped without an answer.
    Ignore,
}

/// Memory for who wants to connect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Memory {
    /// For anybody.
    Ample,
    /// For those whose address was shown to be their own.
    Scarce,
    /// For nobody.
    None,
}

#[derive(Debug)]
pub(super) struct Admission {
    limits: Limits,
    connections: usize,
    of_network: BTreeMap<Network, usize>,
    /// Connections to us whose handshake goes on.
    pub(super) handshakes: usize,
    /// Handshakes that this turn may still begin.
    left: usize,
}

impl Admission {
    pub(super) fn new(mut limits: Limits) -> Self {
        // Those that wait would wait for ever.
        limits.handshakes_per_turn = limits.handshakes_per_turn.max(1);
        Self {
            limits,
            connections: 0,
            of_network: BTreeMap::new(),
            handshakes: 0,
            left: limits.handshakes_per_turn,
        }
    }

    pub(super) const fn begin_turn(&mut self) {
        self.left = self.limits.handshakes_per_turn;
    }

    pub(super) const fn connections(&self) -> usize {
        self.connections
    }

    pub(super) const fn may_begin(&self) -> bool {
        self.left > 0
    }

    /// Judges who wants to connect, while so many wait.
    pub(super) fn judge(
        &self,
        network: Network,
        is_validated: bool,
        waiting: usize,
        memory: Memory,
    ) -> Verdict {
        let of_network = self.of_network.get(&network).copied().unwrap_or(0);
        let are_many = self.handshakes + waiting >= self.limits.retry_above;
        // An address that is only claimed takes no more than half of what it may have: who claims another's
        // does not shut it out.
        let is_used = of_network >= self.limits.max_connections_per_address / 2;
        let is_scarce = memory != Memory::Ample;
        if !is_validated && (are_many || is_used || is_scarce) {
            Verdict::Retry
        } else if memory == Memory::None
            || self.connections >= self.limits.max_connections
            || of_network >= self.limits.max_connections_per_address
        {
            Verdict::Refuse
        } else if self.may_begin() {
            Verdict::Accept
        } else if waiting < self.limits.max_waiting {
            Verdict::Wait
        } else {
            Verdict::Ignore
        }
    }

    pub(super) fn begin(&mut self, network: Network) {
        self.add(network);
        self.handshakes += 1;
        self.left = self.left.saturating_sub(1);
    }

    pub(super) fn add(&mut self, network: Network) {
        self.connections += 1;
        *self.of_network.entry(network).or_default() += 1;
    }

    pub(super) fn remove(&mut self, network: Network) {
        self.connections -= 1;
        if let Some(count) = self.of_network.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.of_network.remove(&network);
            }
        }
    }
}
