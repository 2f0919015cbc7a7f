//! A client and a server of quinn-proto that meet in memory, in virtual time: what both come to
//! know, and how it ends if it does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use gapless_quic::tls::{
    self, ClientAuth, Fingerprint, Identity, Keys, TlsFailure, Trust, client_config, server_config,
};
use quinn_proto::crypto::rustls::HandshakeData;
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Endpoint,
    EndpointConfig, Event, HashedConnectionIdGenerator, ServerConfig, Transmit,
};

/// More turns than any handshake here takes.
const TURNS: usize = 100;
const TURN: Duration = Duration::from_millis(10);

/// The configuration of a server and a client; the defaults believe each other.
pub(crate) struct Setting {
    pub(crate) server: Identity,
    pub(crate) clients: ClientAuth,
    pub(crate) served: &'static [u8],
    pub(crate) trust: Trust,
    pub(crate) client: Option<Identity>,
    pub(crate) offered: &'static [u8],
    pub(crate) name: &'static str,
}

impl Setting {
    pub(crate) fn new(server: Identity) -> Self {
        Self {
            trust: Trust::Pinned(server.fingerprint()),
            server,
            clients: ClientAuth::None,
            served: b"gapless/1",
            client: None,
            offered: b"gapless/1",
            name: "localhost",
        }
    }

    /// Lets both meet, until nothing happens any more.
    pub(crate) fn meet(&self) -> Pair {
        let mut pair =
            Pair { server: End::server(self), client: End::client(), now: Instant::now() };
        let crypto = client_config(&self.trust, &[self.offered], self.client.as_ref()).unwrap();
        pair.connect(ClientConfig::new(crypto), self.name);
        pair.run();
        pair
    }
}

/// One endpoint with its connection.
pub(crate) struct End {
    endpoint: Endpoint,
    address: SocketAddr,
    connection: Option<(ConnectionHandle, Connection)>,
    outbound: Vec<Vec<u8>>,
    pub(crate) connected: bool,
    pub(crate) end: Option<ConnectionError>,
}

impl End {
    fn new(keys: &Keys, server: Option<ServerConfig>, address: &str) -> Self {
        let mut config = EndpointConfig::new(keys.reset.clone());
        let key = keys.connection_id;
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(key)));
        Self {
            endpoint: Endpoint::new(Arc::new(config), server.map(Arc::new), false, None),
            address: address.parse().unwrap(),
            connection: None,
            outbound: Vec::new(),
            connected: false,
            end: None,
        }
    }

    pub(crate) fn server(setting: &Setting) -> Self {
        let identity = &setting.server;
        let crypto = server_config(identity, &[setting.served], &setting.clients).unwrap();
        let address = "127.0.0.1:4433";
        let keys = identity.keys(address);
        let config = ServerConfig::new(crypto, keys.token.clone());
        Self::new(&keys, Some(config), address)
    }

    fn client() -> Self {
        Self::new(&Keys::random().unwrap(), None, "127.0.0.1:9999")
    }

    fn take(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let mut buffer = Vec::new();
        let data = BytesMut::from(datagram);
        match self.endpoint.handle(now, from, None, None, data, &mut buffer) {
            None => {}
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                let (_, connection) = self.connection.as_mut().expect("a connection");
                connection.handle_event(event);
            }
            Some(DatagramEvent::Response(transmit)) => self.sent(&transmit, &buffer),
            Some(DatagramEvent::NewConnection(incoming)) => {
                match self.endpoint.accept(incoming, now, &mut buffer, None) {
                    Ok(accepted) => self.connection = Some(accepted),
                    Err(refused) => {
                        if let Some(transmit) = refused.response {
                            self.sent(&transmit, &buffer);
                        }
                        self.end = Some(refused.cause);
                    }
                }
            }
        }
    }

    fn sent(&mut self, transmit: &Transmit, buffer: &[u8]) {
        let bytes = &buffer[..transmit.size];
        let segment = transmit.segment_size.unwrap_or(bytes.len());
        self.outbound.extend(bytes.chunks(segment).map(<[u8]>::to_vec));
    }

    fn turn(&mut self, now: Instant) {
        let Some((handle, mut connection)) = self.connection.take() else { return };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(handle, event) {
                connection.handle_event(event);
            }
        }
        let mut buffer = Vec::new();
        while let Some(transmit) = connection.poll_transmit(now, 1, &mut buffer) {
            self.sent(&transmit, &buffer);
            buffer.clear();
        }
        // Last: without latency, a closing connection's time is over before the next turn.
        if connection.poll_timeout().is_some_and(|at| at <= now) {
            connection.handle_timeout(now);
        }
        while let Some(event) = connection.poll() {
            match event {
                Event::Connected => self.connected = true,
                Event::ConnectionLost { reason } => self.end = Some(reason),
                _ => {}
            }
        }
        self.connection = Some((handle, connection));
    }

    pub(crate) fn peer(&self) -> Option<Fingerprint> {
        tls::peer_fingerprint(self.connection().crypto_session())
    }

    pub(crate) fn protocol(&self) -> Option<Vec<u8>> {
        let data = self.connection().crypto_session().handshake_data()?;
        data.downcast::<HandshakeData>().ok()?.protocol
    }

    fn connection(&self) -> &Connection {
        &self.connection.as_ref().expect("a connection").1
    }

    /// Why TLS ended the connection.
    pub(crate) fn failure(&self) -> Option<TlsFailure> {
        tls::explain(self.end.as_ref()?)
    }
}

/// Both ends.
pub(crate) struct Pair {
    pub(crate) server: End,
    pub(crate) client: End,
    now: Instant,
}

impl Pair {
    fn connect(&mut self, config: ClientConfig, name: &str) {
        let to = self.server.address;
        let connection = self.client.endpoint.connect(self.now, config, to, name).unwrap();
        self.client.connection = Some(connection);
    }

    pub(crate) fn run(&mut self) {
        for _ in 0..TURNS {
            self.now += TURN;
            self.client.turn(self.now);
            for datagram in std::mem::take(&mut self.client.outbound) {
                self.server.take(self.now, self.client.address, &datagram);
            }
            self.server.turn(self.now);
            for datagram in std::mem::take(&mut self.server.outbound) {
                self.client.take(self.now, self.server.address, &datagram);
            }
        }
    }

    /// The client says something.
    pub(crate) fn ping(&mut self) {
        self.client.connection.as_mut().expect("a connection").1.ping();
    }

    /// Whether both are connected, and nobody has refused the other since.
    pub(crate) fn is_up(&self) -> bool {
        let up = |end: &End| end.connected && end.end.is_none();
        up(&self.server) && up(&self.client)
    }
}
