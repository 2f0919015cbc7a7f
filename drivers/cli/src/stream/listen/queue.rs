//! Streams that wait for their turn, and who has turns now. Turns go round by client, so that nobody who opens
//! many streams keeps others waiting: first by network, and then by connection.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where clients come from: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Network(IpAddr);

impl Network {
    /// That of an address.
    pub(super) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                IpAddr::V6(network.into())
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// The owner of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Client {
    /// Where it came from when the stream was opened.
    pub(super) network: Network,
    /// The number of its connection.
    pub(super) connection: u64,
}

/// A stream that waits, by the number that threads call it.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    key: u64,
    client: Client,
    /// Whether it can make use of a turn.
    is_ready: bool,
}

/// The share of a network or a connection in the turns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
struct Share {
    /// Turns that it has now.
    active: usize,
    /// When it last got one, as a number that grows; 0: not yet.
    served: u64,
    /// Streams of it that wait.
    waiting: usize,
}

/// Streams that wait, in the order in which they came.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Vec<Waiting>,
    networks: BTreeMap<Network, Share>,
    connections: BTreeMap<u64, Share>,
    last: u64,
    active: usize,
    /// How many of those that wait could make use of a turn.
    ready: usize,
}

impl Queue {
    /// How many wait.
    pub(super) const fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many have their turn.
    pub(super) const fn active(&self) -> usize {
        self.active
    }

    /// Whether a stream waits that could make use of a turn.
    pub(super) const fn is_wanted(&self) -> bool {
        self.ready > 0
    }

    /// One more waits.
    pub(super) fn push(&mut self, key: u64, client: Client, is_ready: bool) {
        self.waiting.push(Waiting { key, client, is_ready });
        self.ready += usize::from(is_ready);
        self.shares(client, |share| share.waiting += 1);
    }

    /// A stream that waits can make use of a turn.
    pub(super) fn ready(&mut self, key: u64) {
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.key == key)
            && !waiting.is_ready
        {
            waiting.is_ready = true;
            self.ready += 1;
        }
    }

    /// The stream that came last of the network with the most that wait, if `newcomer` has fewer: it gives way
    /// when there is no more room.
    pub(super) fn displaced_by(&self, newcomer: Network) -> Option<u64> {
        let waiting =
            |network: Network| self.networks.get(&network).map_or(0, |share| share.waiting);
        let last = self.waiting.iter().max_by_key(|other| waiting(other.client.network))?;
        (waiting(last.client.network) > waiting(newcomer) + 1).then_some(last.key)
    }

    /// The stream whose turn is next: of the network with the fewest turns, and of that, of the connection with
    /// the fewest; among equals, of the one that has not had one for longest.
    pub(super) fn next(&mut self) -> Option<u64> {
        // It is asked for at every event.
        if self.ready == 0 {
            return None;
        }
        let ready = self.waiting.iter().enumerate().filter(|(_, waiting)| waiting.is_ready);
        let (at, _) = ready.min_by_key(|(_, waiting)| {
            let (network, connection) = self.of(waiting.client);
            ((network.active, network.served), (connection.active, connection.served))
        })?;
        let Waiting { key, client, .. } = self.waiting.remove(at);
        self.ready -= 1;
        self.active += 1;
        self.last += 1;
        let last = self.last;
        self.shares(client, |share| {
            share.waiting -= 1;
            share.active += 1;
            share.served = last;
        });
        Some(key)
    }

    /// A stream whose turn it was could not begin: it is the first of its connection again.
    pub(super) fn put_back(&mut self, key: u64, client: Client) {
        self.waiting.insert(0, Waiting { key, client, is_ready: true });
        self.ready += 1;
        self.active -= 1;
        self.shares(client, |share| {
            share.waiting += 1;
            share.active -= 1;
            // It waits on as the one that waited longest.
            share.served = 0;
        });
    }

    /// A stream is over that waited or, if it `was_active`, had its turn.
    pub(super) fn remove(&mut self, key: u64, client: Client, was_active: bool) {
        if was_active {
            self.active -= 1;
            self.shares(client, |share| share.active -= 1);
        } else if let Some(at) = self.waiting.iter().position(|other| other.key == key) {
            self.ready -= usize::from(self.waiting.remove(at).is_ready);
            self.shares(client, |share| share.waiting -= 1);
        }
    }

    /// Whether a stream waits that should rather have one of this client's turns, if that is idle: of a network
    /// with fewer, of a connection of the same network with fewer, or of the same connection, whose window
    /// what comes of it may have used up.
    pub(super) fn is_wanted_of(&self, holder: Client) -> bool {
        let (network, connection) = self.of(holder);
        self.waiting.iter().filter(|waiting| waiting.is_ready).any(|waiting| {
            let (its_network, its_connection) = self.of(waiting.client);
            its_network.active < network.active
                || waiting.client.network == holder.network
                    && its_connection.active < connection.active
                || waiting.client.connection == holder.connection
        })
    }

    /// Whether a client's network has more than an equal part of the turns, while a stream of a network waits
    /// that has none.
    pub(super) fn has_too_many(&self, holder: Client) -> bool {
        let part = self.active.div_ceil(self.networks.len().max(1));
        let has_none =
            |waiting: &Waiting| waiting.is_ready && self.of(waiting.client).0.active == 0;
        self.of(holder).0.active > part && self.waiting.iter().any(has_none)
    }

    fn of(&self, client: Client) -> (Share, Share) {
        let network = self.networks.get(&client.network).copied().unwrap_or_default();
        let connection = self.connections.get(&client.connection).copied().unwrap_or_default();
        (network, connection)
    }

    /// Changes both shares of a client, and forgets those of who has no streams.
    fn shares(&mut self, client: Client, change: impl Fn(&mut Share)) {
        let is_over = |share: &Share| share.active == 0 && share.waiting == 0;
        let network = self.networks.entry(client.network).or_default();
        change(network);
        if is_over(network) {
            self.networks.remove(&client.network);
        }
        let connection = self.connections.entry(client.connection).or_default();
        change(connection);
        if is_over(connection) {
            self.connections.remove(&client.connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(network: u8, connection: u64) -> Client {
        Client { network: Network::of([10, 0, 0, network].into()), connection }
    }

    /// A queue in which streams of these clients wait; their keys are their places.
    fn queue(clients: &[Client]) -> Queue {
        let mut queue = Queue::default();
        for (key, client) in (0..).zip(clients) {
            queue.push(key, *client, true);
        }
        queue
    }

    #[test]
    fn turns_go_round_by_network_and_then_by_connection() {
        let clients = [client(1, 1), client(1, 1), client(1, 1), client(1, 2), client(2, 3)];
        let mut waiting = queue(&clients);
        let order: Vec<u64> = std::iter::from_fn(|| waiting.next()).collect();
        assert_eq!(order, [0, 4, 3, 1, 2]);
        // The same if each turn is over before the next begins.
        let mut waiting = queue(&clients);
        let one_by_one = std::iter::from_fn(|| {
            let key = waiting.next()?;
            waiting.remove(key, clients[key as usize], true);
            Some(key)
        });
        assert_eq!(one_by_one.collect::<Vec<u64>>(), [0, 4, 3, 1, 2]);
        assert!(waiting.networks.is_empty() && waiting.connections.is_empty());
    }

    #[test]
    fn a_stream_that_has_nothing_yet_gets_no_turn() {
        let mut waiting = Queue::default();
        waiting.push(7, client(1, 1), false);
        assert_eq!((waiting.next(), waiting.is_wanted()), (None, false));
        waiting.ready(7);
        waiting.ready(7);
        assert_eq!((waiting.is_wanted(), waiting.next()), (true, Some(7)));
        assert!(!waiting.is_wanted());
    }

    #[test]
    fn who_has_more_turns_than_who_waits_is_to_give_one() {
        let (many, other, beside) = (client(1, 1), client(2, 2), client(1, 3));
        let mut waiting = queue(&[many, many]);
        assert_eq!([waiting.next(), waiting.next()], [Some(0), Some(1)]);
        assert!(!waiting.is_wanted_of(many));
        waiting.push(3, beside, true);
        assert!(waiting.is_wanted_of(many));
        waiting.remove(3, beside, false);
        waiting.push(4, other, true);
        assert!(waiting.is_wanted_of(many) && !waiting.is_wanted_of(client(3, 3)));
    }

    #[test]
    fn a_stream_that_waits_may_want_the_turn_of_another_one_of_its_connection() {
        let own = client(1, 1);
        let mut waiting = queue(&[own, own]);
        waiting.next();
        assert!(waiting.is_wanted_of(own));
    }

    #[test]
    fn a_network_has_too_many_turns_only_beyond_an_equal_part_and_while_another_has_none() {
        let (many, other, third) = (client(1, 1), client(2, 2), client(3, 3));
        let mut waiting = queue(&[many, many]);
        waiting.next();
        waiting.push(2, other, true);
        // The only turn is no more than its part.
        assert!(!waiting.has_too_many(many));
        assert_eq!([waiting.next(), waiting.next()], [Some(2), Some(1)]);
        assert!(!waiting.has_too_many(many));
        waiting.push(3, third, true);
        assert!(waiting.has_too_many(many) && !waiting.has_too_many(other));
    }

    #[test]
    fn who_has_most_streams_that_wait_gives_way_to_others() {
        let (many, other) = (client(1, 1), client(2, 2));
        let waiting = queue(&[many, many, other]);
        assert_eq!(waiting.displaced_by(client(3, 3).network), Some(1));
        assert_eq!(waiting.displaced_by(other.network), None);
        assert_eq!(waiting.displaced_by(many.network), None);
    }

    #[test]
    fn a_stream_that_could_not_begin_is_the_next() {
        let (one, other) = (client(1, 1), client(2, 2));
        let mut waiting = queue(&[one, other]);
        let key = waiting.next().unwrap();
        waiting.put_back(key, one);
        assert_eq!((waiting.next(), waiting.active()), (Some(key), 1));
    }

    #[test]
    fn an_ipv6_network_has_64_bits_and_a_mapped_address_is_an_ipv4_one() {
        let of = |text: &str| Network::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
