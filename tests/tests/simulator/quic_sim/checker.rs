//! Properties of everything that an endpoint reports, whatever the network does: a model of its
//! connections and streams that is compared with every event, and with what the other side wrote.

use std::collections::{BTreeMap, BTreeSet};

use gapless_quic::{ConnectionId, Direction, Endpoint, Event, Reason, StreamId};

use super::book::{Book, End, Entry, Flow};
use super::null::MALICIOUS;

/// A stream as it must be.
#[derive(Clone, Debug, Default)]
struct Stream {
    owner: u64,
    offset: u64,
    receives: bool,
    sends: bool,
    is_paused: bool,
    is_finishing: bool,
}

#[derive(Debug)]
struct Connection {
    /// Its label in the book; a server learns it with the client's identity.
    label: Option<u64>,
    /// The bytes that it sends are in no book: only the order of its events can be checked.
    is_malicious: bool,
    is_client: bool,
    is_open: bool,
    streams: BTreeMap<u64, Stream>,
    /// The next number of each kind that the peer opens.
    next: [u64; 2],
    /// Kinds of which one more was wanted than the peer allowed.
    wants: [bool; 2],
}

impl Connection {
    fn flow(&self, number: u64, is_own: bool) -> Flow {
        let label = self.label.expect("known since the handshake");
        Flow { label, number, by_client: self.is_client == is_own }
    }
}

/// The statistics since a host runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) connected: u64,
    pub(crate) disconnected: u64,
    pub(crate) opened: u64,
    pub(crate) fins: u64,
    pub(crate) resets: u64,
    pub(crate) stops: u64,
    pub(crate) finished: u64,
    pub(crate) closed: u64,
    pub(crate) openable: u64,
    pub(crate) bytes: u64,
    /// Streams that ended with their connection.
    pub(crate) cut: u64,
}

/// Watches over one host.
#[derive(Debug)]
pub(crate) struct Checker {
    book: Book,
    connections: BTreeMap<ConnectionId, Connection>,
    over: BTreeSet<ConnectionId>,
    /// Whether all peers may be malicious, not only those that say so.
    pub(crate) distrusts: bool,
    pub(crate) counts: Counts,
    /// Why connections ended, in order.
    pub(crate) reasons: Vec<Reason>,
}

const fn kind(direction: Direction) -> usize {
    match direction {
        Direction::Bidirectional => 0,
        Direction::Unidirectional => 1,
    }
}

impl Checker {
    pub(crate) fn new(book: Book) -> Self {
        Self {
            book,
            connections: BTreeMap::new(),
            over: BTreeSet::new(),
            distrusts: false,
            counts: Counts::default(),
            reasons: Vec::new(),
        }
    }

    /// The host was killed, and knows of nothing any more.
    pub(crate) fn forget(&mut self) {
        self.counts = Counts::default();
        self.connections.clear();
        self.over.clear();
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.connections.iter().filter(|(_, it)| it.is_open).map(|(&id, _)| id)
    }

    /// The labels of the open ones in the book.
    pub(crate) fn labels(&self) -> BTreeSet<u64> {
        self.connections.values().filter(|it| it.is_open).filter_map(|it| it.label).collect()
    }

    /// Streams that the peer sends on.
    pub(crate) fn receiving(&self) -> Vec<StreamId> {
        let streams = self.connections.iter().flat_map(|(&connection, known)| {
            let receiving = known.streams.iter().filter(|(_, stream)| stream.receives);
            receiving.map(move |(&number, _)| StreamId { connection, number })
        });
        streams.collect()
    }

    /// Streams that are not closed.
    pub(crate) fn streams(&self) -> usize {
        self.connections.values().map(|it| it.streams.len()).sum()
    }

    /// Writes down what became of a direction, unless the peer is malicious.
    fn note(&self, id: StreamId, is_own: bool, note: impl FnOnce(&mut Entry)) {
        if !self.connections[&id.connection].is_malicious {
            self.book.note(self.flow(id, is_own), note);
        }
    }

    /// The direction of a stream that this side writes to, or that the peer does.
    pub(crate) fn flow(&self, stream: StreamId, is_own: bool) -> Flow {
        self.connections[&stream.connection].flow(stream.number, is_own)
    }

    pub(crate) fn connects(&mut self, id: ConnectionId, label: u64) {
        let label = Some(label);
        self.add(id, Connection { label, is_malicious: self.distrusts, ..fresh(true) });
    }

    fn add(&mut self, id: ConnectionId, connection: Connection) {
        assert!(!self.over.contains(&id), "{id} is over");
        let before = self.connections.insert(id, connection);
        assert!(before.is_none(), "{id} is reported twice");
    }

    pub(crate) fn opens(&mut self, id: ConnectionId, direction: Direction, is: Option<StreamId>) {
        let connection = self.connections.get_mut(&id).expect("known");
        let Some(stream) = is else {
            connection.wants[kind(direction)] = true;
            return;
        };
        assert_eq!(stream.direction(), direction);
        assert_eq!(stream.number & 1 == 0, connection.is_client, "{stream} is the peer's to open");
        let receives = direction == Direction::Bidirectional;
        let fresh = Stream { receives, sends: true, ..Stream::default() };
        assert!(connection.streams.insert(stream.number, fresh).is_none(), "{stream} again");
        self.note(stream, true, |_| ());
    }

    fn stream(&mut self, id: StreamId) -> &mut Stream {
        let connection = self.connections.get_mut(&id.connection).expect("a known connection");
        assert!(connection.is_open, "{id} is reported before the handshake is over");
        connection.streams.get_mut(&id.number).unwrap_or_else(|| panic!("{id} is not open"))
    }

    pub(crate) fn owns(&mut self, id: StreamId, owner: u64) {
        self.stream(id).owner = owner;
    }

    pub(crate) fn pauses(&mut self, id: StreamId, is_paused: bool) {
        self.stream(id).is_paused = is_paused;
    }

    pub(crate) fn wrote(&mut self, id: StreamId, written: usize) {
        let stream = self.stream(id);
        assert!(stream.sends && !stream.is_finishing || written == 0, "{id} takes no more");
        self.note(id, true, |entry| entry.written += written as u64);
    }

    pub(crate) fn finishes(&mut self, id: StreamId) {
        self.stream(id).is_finishing = true;
        self.note(id, true, |entry| entry.ends.push(End::Fin));
    }

    pub(crate) fn resets(&mut self, id: StreamId, code: u64) {
        self.stream(id).sends = false;
        self.note(id, true, |entry| entry.ends.push(End::Reset(code)));
    }

    pub(crate) fn stops(&mut self, id: StreamId, code: u64) {
        self.stream(id).receives = false;
        self.note(id, false, |entry| entry.stopped = Some(code));
    }

    /// Compares an event with the model.
    ///
    /// # Panics
    /// When it must not be told.
    pub(crate) fn event(&mut self, endpoint: &Endpoint, event: &Event) {
        match *event {
            Event::Connected { connection } => self.connected(endpoint, connection),
            Event::Disconnected { connection, ref reason } => {
                // A client that never was connected is told of for the first time.
                let known = self.connections.remove(&connection);
                assert!(self.over.insert(connection), "{connection} is over twice");
                self.counts.disconnected += 1;
                self.counts.cut += known.map_or(0, |known| known.streams.len()) as u64;
                self.reasons.push(reason.clone());
            }
            Event::SendFailed { .. } => panic!("the network does not say why it loses anything"),
            Event::Opened { stream } => {
                let connection = self.connections.get_mut(&stream.connection).expect("known");
                assert!(connection.is_open);
                let initiator = u64::from(connection.is_client);
                let next = &mut connection.next[kind(stream.direction())];
                let bits =
                    initiator | if stream.direction() == Direction::Unidirectional { 2 } else { 0 };
                assert_eq!(stream.number, *next << 2 | bits, "streams are opened in order");
                *next += 1;
                let sends = stream.direction() == Direction::Bidirectional;
                let fresh = Stream { receives: true, sends, ..Stream::default() };
                assert!(connection.streams.insert(stream.number, fresh).is_none());
                self.counts.opened += 1;
            }
            Event::Openable { connection, direction } => {
                let connection = self.connections.get_mut(&connection).expect("known");
                let wanted = std::mem::take(&mut connection.wants[kind(direction)]);
                assert!(wanted, "nobody asked for more streams");
                self.counts.openable += 1;
            }
            Event::Data { stream, owner, offset, ref bytes, fin } => {
                self.data(stream, owner, offset, bytes, fin);
            }
            Event::Reset { stream, owner, code } => {
                let model = self.stream(stream);
                assert_eq!(model.owner, owner);
                assert!(model.receives, "{stream} was over before it was reset");
                model.receives = false;
                let end = End::Reset(code);
                self.note(stream, false, |entry| {
                    assert!(entry.ends.contains(&end), "nobody reset {stream} with {code}");
                    entry.reported = Some(end);
                });
                self.counts.resets += 1;
            }
            Event::Stopped { stream, owner, code } => {
                let model = self.stream(stream);
                assert_eq!(model.owner, owner);
                assert!(model.sends, "{stream} was over before it was stopped");
                model.sends = false;
                self.note(stream, true, |entry| {
                    assert_eq!(entry.stopped, Some(code), "{stream}");
                });
                self.counts.stops += 1;
            }
            Event::Writable { stream, owner } => {
                let model = self.stream(stream);
                assert_eq!(model.owner, owner);
                assert!(model.sends, "{stream} takes no more");
            }
            Event::Finished { stream, owner } => {
                let model = self.stream(stream);
                assert_eq!(model.owner, owner);
                assert!(model.sends && model.is_finishing, "{stream} was not finished");
                model.sends = false;
                self.counts.finished += 1;
            }
            Event::Closed { stream, owner } => {
                let model = self.stream(stream);
                assert_eq!(model.owner, owner);
                assert!(!model.receives && !model.sends, "{stream} is open");
                let connection = self.connections.get_mut(&stream.connection).expect("known");
                connection.streams.remove(&stream.number);
                self.counts.closed += 1;
            }
            Event::Datagram { connection, .. } | Event::DatagramsWritable { connection } => {
                assert!(self.connections.contains_key(&connection));
            }
        }
    }

    fn connected(&mut self, endpoint: &Endpoint, id: ConnectionId) {
        let peer = endpoint.peer(id).expect("it was connected just now");
        if peer.is_client {
            let identity = peer.fingerprint.expect("clients have identities here");
            let label = u64::from_le_bytes(identity[..8].try_into().expect("eight bytes"));
            let is_malicious = self.distrusts || identity[31] == MALICIOUS;
            self.add(id, Connection { label: Some(label), is_malicious, ..fresh(false) });
        }
        let connection = self.connections.get_mut(&id).expect("known");
        assert!(!connection.is_open, "{id} is connected twice");
        assert_eq!(peer.is_client, !connection.is_client);
        assert!(peer.protocol.is_some());
        connection.is_open = true;
        self.counts.connected += 1;
    }

    fn data(&mut self, stream: StreamId, owner: u64, offset: u64, bytes: &[u8], fin: bool) {
        let model = self.stream(stream);
        assert_eq!(model.owner, owner);
        assert!(model.receives, "{stream} was over before");
        assert!(!model.is_paused, "{stream} is paused");
        assert_eq!(model.offset, offset, "{stream}");
        assert!(fin || !bytes.is_empty(), "nothing is reported of {stream}");
        model.offset += bytes.len() as u64;
        model.receives = !fin;
        let end = model.offset;
        let contents = self.flow(stream, false).contents(offset, bytes.len());
        self.note(stream, false, |entry| {
            assert!(contents == bytes, "{stream} at {offset}");
            assert!(end <= entry.written, "{stream}: {end} of {} bytes", entry.written);
            entry.read = end;
            if fin {
                assert_eq!((end, entry.ends.first()), (entry.written, Some(&End::Fin)));
                entry.reported = Some(End::Fin);
            }
        });
        self.counts.bytes += bytes.len() as u64;
        self.counts.fins += u64::from(fin);
    }

    /// Everything was reported: the endpoint knows the same streams, and none that is over.
    pub(crate) fn settled(&self, endpoint: &Endpoint) {
        for (id, connection) in &self.connections {
            for (number, stream) in &connection.streams {
                let is_over = !stream.receives && !stream.sends;
                assert!(!is_over, "stream {number} of {id} was never closed");
            }
        }
        assert_eq!(endpoint.streams(), self.streams());
    }
}

const fn fresh(is_client: bool) -> Connection {
    Connection {
        label: None,
        is_malicious: false,
        is_client,
        is_open: false,
        streams: BTreeMap::new(),
        next: [0; 2],
        wants: [false; 2],
    }
}
