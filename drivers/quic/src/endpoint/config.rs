//! The configuration of an endpoint: its limits, what connections may use, and its cryptography.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use quinn_proto::coding::Codec;
use quinn_proto::crypto::{self, HandshakeTokenKey, HmacKey};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{
    ConnectionIdGenerator, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig,
    TimeSource, TransportConfig, VarInt,
};

/// The largest payload that is taken at least: that of an Ethernet frame.
const PAYLOAD: u16 = 1472;
/// The bytes of packets that may wait of a connection whose handshake has not begun.
const WAITING_BYTES: u64 = 8 << 10;

/// The largest payload that there is (RFC 9000 §18.2).
const LARGEST: u16 = 65_527;
/// An interval that nobody sees the end of, and that a clock can still be advanced by.
const NEVER: Duration = Duration::from_secs(1 << 32);

/// Makes the generators of connection ids.
pub type ConnectionIds = Arc<dyn Fn() -> Box<dyn ConnectionIdGenerator> + Send + Sync>;

/// Limits on those that connect to an endpoint, so that a flood harms nobody else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections at the same time, those included that are being set up or closing, from 1 (0 refuses all).
    /// Further ones are refused. By default 4096.
    pub max_connections: usize,
    /// Of these, from one address: one IPv4 address, or one IPv6 network of 64 bits. From 1 (0 refuses all);
    /// by default 64.
    ///
    /// A connection counts for the address that it came from (or was made to) first, as long as it is
    /// there. It may move (RFC 9000 §9), but the count does not: whoever moves away makes no room where it
    /// was, and until the new address is validated it is only claimed, perhaps one of somebody else, who
    /// would be shut out.
    pub max_connections_per_address: usize,
    /// From how many unfinished handshakes on an address must be validated (RFC 9000 §8.1.2): clients
    /// are sent a Retry packet, which costs no memory. 0 validates always. One that has half of its
    /// connections must be validated in any case, and so must all that would be promised more than half of
    /// the memory. By default 64.
    pub retry_above: usize,
    /// Handshakes that a turn begins at most: they cost a signature each. The others wait. From 1, as which 0
    /// counts; by default 16.
    pub handshakes_per_turn: usize,
    /// Bytes of memory that all connections may hold together, of either side; 0 for no limit. By default
    /// 512 MiB.
    ///
    /// Everything that peers are promised counts, at what it costs if they use it badly, until the
    /// connection is forgotten: a connection with its handshake 448 KiB; a stream that the peer may send on
    /// 370 KiB, for the same bytes again and again in small packets, and nine packets of the largest payload;
    /// a byte of a receive window 3, for pieces out of order; a byte of a send buffer 1.25; unreliable
    /// datagrams by the packets that they hold; a client that waits 144 KiB; the endpoint itself 1 MiB. Good
    /// peers take far less. There are worse ways to use it (see [the memory of an endpoint](crate#memory)).
    ///
    /// First promises are small ([`first_window`](field@Transport::first_window),
    /// [`first_streams`](field@Transport::first_streams): 2.2 MiB a connection by default, so that there are
    /// about 230 connections at the default) and grow with use, as long as a quarter of it is left; new
    /// clients are refused when it has no room for their first promises
    /// ([`Stats::refused_for_memory`](super::Stats::refused_for_memory)). Connections and streams that are
    /// opened here count, and are not refused. What the program holds of what it was given, and what is
    /// behind the bytes that it writes, is its own.
    pub max_memory: u64,
    /// Bytes of it that those from one address may hold together, where an address is what it is for
    /// [`max_connections_per_address`](Self::max_connections_per_address); as many as one connection is
    /// promised at first in any case. Connections that are made here have no such limit. 0, the default: a
    /// quarter of `max_memory`.
    pub max_memory_per_address: u64,
    /// How many wait at most, from 0; further ones are ignored, and come again by themselves. By default 256.
    pub max_waiting: usize,
}

impl Default for Limits {
    /// 4096 connections, 64 from one address, validation from 64 handshakes on, 16 handshakes a turn, 512 MiB
    /// of which one address has a quarter, 256 that wait.
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_connections_per_address: 64,
            retry_above: 64,
            handshakes_per_turn: 16,
            max_memory: 512 << 20,
            max_memory_per_address: 0,
            max_waiting: 256,
        }
    }
}

/// The resources that a connection may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transport {
    /// A handshake that takes longer is given up ([`Reason::HandshakeTimedOut`](super::Reason)), whether we
    /// connect or are connected to, counted from where it begins here. The idle timeout may be over before.
    /// Zero: it may take as long as the idle timeout lets it. By default 10 s.
    pub handshake_timeout: Duration,
    /// A connection is over when nothing came for so long, in whole milliseconds, rounded up (RFC 9000
    /// §10.1); the first packet that is sent after what came last, such as one of `keep_alive`, begins it
    /// anew. The smaller one of both sides' rules. Zero: never, if the peer has none either. By default 30 s.
    pub idle_timeout: Duration,
    /// Something is sent when nothing was for so long, so that an idle connection stays. Zero: nothing
    /// is. Keep it below half of the peer's idle timeout. By default zero.
    pub keep_alive: Duration,
    /// Bidirectional streams that the peer may have open at the same time, from 0. By default 100.
    pub max_bidirectional: u32,
    /// Unidirectional streams that the peer may have open at the same time, from 0. By default 100.
    pub max_unidirectional: u32,
    /// Streams of each kind that a peer may have open at first, from 1 (0 counts as that); the number doubles
    /// as the peer comes to half of it, up to `max_bidirectional` or `max_unidirectional`, while the
    /// endpoint's memory has room ([`Limits::max_memory`]). By default 2.
    pub first_streams: u32,
    /// Bytes of a stream that may wait to be read here, from 1. By default 1 MiB.
    pub stream_window: u32,
    /// Bytes of all streams of a connection that may wait to be read here, from 1. By default 8 MiB.
    pub connection_window: u32,
    /// Bytes of these that a peer may send at first, from 1; the window doubles as the peer uses it up, while
    /// the endpoint's memory has room. More than `connection_window` counts as that. By default 64 KiB.
    pub first_window: u32,
    /// Bytes of a connection that wait to be acknowledged: at least so many may be written. From 1; by
    /// default 64 KiB.
    pub min_send_buffer: u64,
    /// And at most so many, when the congestion window has grown: the buffer is about twice of it, so that
    /// what is given late is not queued early. Less than `min_send_buffer` counts as that. By default 1 MiB.
    pub max_send_buffer: u64,
    /// The largest UDP payload that is tried, from 1200 to 65527 bytes; less and
    /// more count as those. Payloads of up to so many bytes, and
    /// of up to 1472 in any case, are taken; larger ones are dropped. By default 1452.
    pub max_udp_payload: u16,
    /// Bytes of unreliable datagrams (RFC 9221) that wait, each way, where each counts for 32 more: at
    /// least as many as the largest one takes. Of those that come the oldest are dropped when it is more, and
    /// counted ([`Stats::datagrams_dropped`](super::Stats)); those that go are refused
    /// ([`Refusal::Blocked`](super::Refusal)). Zero, the default: there are none.
    pub datagrams: usize,
}

impl Default for Transport {
    /// 10 s for the handshake, 30 s idle, no keep-alive, 2 to 100 streams of each kind, windows of 1 MiB a
    /// stream and 64 KiB to 8 MiB a connection, 64 KiB to 1 MiB to be acknowledged, payloads of up to 1452
    /// bytes, no datagrams.
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            keep_alive: Duration::ZERO,
            max_bidirectional: 100,
            max_unidirectional: 100,
            first_streams: 2,
            stream_window: 1 << 20,
            connection_window: 8 << 20,
            first_window: 64 << 10,
            min_send_buffer: 64 << 10,
            max_send_buffer: 1 << 20,
            max_udp_payload: 1452,
            datagrams: 0,
        }
    }
}

impl Transport {
    /// The largest UDP payload that is taken, in bytes: peers are informed of it.
    pub(super) fn max_datagram(&self) -> u16 {
        self.max_udp_payload.clamp(PAYLOAD, LARGEST)
    }

    /// Bytes of datagrams that wait, and what each is charged with; `None` if there are none. For a peer that
    /// sends one that does not fit in, as it may by that, quinn-proto ends the connection.
    pub(super) fn datagram_buffer(&self) -> Option<usize> {
        let largest = usize::from(self.max_datagram()) + size_of::<Bytes>();
        (self.datagrams > 0).then(|| self.datagrams.max(largest))
    }

    /// Bytes that a peer may send at first.
    pub(super) fn first_window(&self) -> u32 {
        self.first_window.clamp(1, self.connection_window.max(1))
    }

    /// Streams that a peer may open, at most.
    pub(super) const fn max_streams(&self) -> [u32; 2] {
        [self.max_bidirectional, self.max_unidirectional]
    }

    /// Streams that a peer may open at first.
    pub(super) fn first_streams(&self) -> [u32; 2] {
        self.max_streams().map(|most| self.first_streams.max(1).min(most))
    }

    /// The idle timeout in whole milliseconds, of which a short time is none: that would be never.
    fn idle_millis(&self) -> u64 {
        u64::try_from(self.idle_timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// The idle timeout that rules with a peer of these parameters.
    pub(super) fn ruling_idle_timeout(&self, peer: Option<&TransportParameters>) -> Duration {
        let of_peer = peer.map_or(0, max_idle_timeout);
        let both = [self.idle_millis(), of_peer].into_iter().filter(|&millis| millis > 0);
        Duration::from_millis(both.min().unwrap_or(0))
    }

    /// As quinn-proto takes it, for the beginning of a connection: an [`Endpoint`](super::Endpoint) lets
    /// windows and streams grow from there.
    #[must_use]
    pub fn to_quinn(&self) -> TransportConfig {
        let [bidirectional, unidirectional] = self.first_streams();
        let mut config = TransportConfig::default();
        let idle = VarInt::from_u64(self.idle_millis()).ok();
        let idle = idle.filter(|idle| idle.into_inner() > 0).map(IdleTimeout::from);
        let mut mtu = MtuDiscoveryConfig::default();
        mtu.upper_bound(self.max_udp_payload.clamp(1200, LARGEST));
        config
            .max_idle_timeout(idle)
            .keep_alive_interval(Some(self.keep_alive.min(NEVER)).filter(|every| !every.is_zero()))
            .max_concurrent_bidi_streams(bidirectional.into())
            .max_concurrent_uni_streams(unidirectional.into())
            .stream_receive_window(self.stream_window.into())
            .receive_window(self.first_window().into())
            .send_window(self.min_send_buffer)
            .mtu_discovery_config(Some(mtu))
            .datagram_receive_buffer_size(self.datagram_buffer())
            .datagram_send_buffer_size(self.datagram_buffer().unwrap_or(0));
        config
    }
}

/// The idle timeout among a peer's parameters, in milliseconds, 0 for none (RFC 9000 §18.2). quinn-proto lets
/// nobody read them but by writing them down.
fn max_idle_timeout(parameters: &TransportParameters) -> u64 {
    const MAX_IDLE_TIMEOUT: u64 = 1;
    let mut written = Vec::new();
    parameters.write(&mut written);
    let mut left = &written[..];
    let next = |left: &mut &[u8]| VarInt::decode(left).map(VarInt::into_inner).ok();
    while let (Some(id), Some(length)) = (next(&mut left), next(&mut left)) {
        if id == MAX_IDLE_TIMEOUT {
            return next(&mut left).unwrap_or(0);
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        left.advance(length.min(left.len()));
    }
    0
}

/// The identity of the peer, by a finished handshake.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Handshake {
    /// The protocol that was agreed on (ALPN); `None`, the default, if there is none.
    pub protocol: Option<Bytes>,
    /// The SHA-256 of the peer's certificate (the leaf, DER); `None`, the default, if it showed none.
    pub fingerprint: Option<[u8; 32]>,
}

/// The configuration of a server. It has no defaults: [`endpoint_config`](crate::tls::endpoint_config)
/// makes one.
#[derive(Clone)]
pub struct Server {
    /// The TLS session's configuration: of [`server_config`](crate::tls::server_config).
    pub crypto: Arc<dyn crypto::ServerConfig>,
    /// Seals the tokens of Retry packets: of [`Keys`](crate::tls::Keys).
    pub token_key: Arc<dyn HandshakeTokenKey>,
    /// The wall clock of tokens; `None`, as `endpoint_config` has it, takes the system's.
    pub time_source: Option<Arc<dyn TimeSource>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// The configuration of an [`Endpoint`](super::Endpoint). [`endpoint_config`](crate::tls::endpoint_config)
/// makes one, with the defaults that are named here.
#[derive(Clone)]
pub struct Config {
    /// The limits on those that connect to it; [`Limits::default`].
    pub limits: Limits,
    /// The resources of connections; [`Transport::default`].
    pub transport: Transport,
    /// The key of stateless resets (RFC 9000 §10.3): kept with the certificate, so that clients of a
    /// server that was restarted learn it at their next packet.
    pub reset_key: Arc<dyn HmacKey>,
    /// Makes connection ids: by default such that are known again after a restart with the same keys. `None`
    /// for random ones, which are not: the endpoint sends no stateless resets for them then.
    pub connection_ids: Option<ConnectionIds>,
    /// The seed of all randomness, 32 bytes that nobody may know; `None`, the default, for the system's.
    pub seed: Option<[u8; 32]>,
    /// The server's part; `None` if nobody may connect.
    pub server: Option<Server>,
    /// Reads the peer's identity out of the session's state; by default
    /// [`tls::inspect`](crate::tls::inspect), for rustls.
    pub inspect: fn(&dyn crypto::Session) -> Handshake,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("limits", &self.limits)
            .field("transport", &self.transport)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Config {
    pub(super) fn endpoint(&self) -> EndpointConfig {
        let mut config = EndpointConfig::new(Arc::clone(&self.reset_key));
        if let Some(ids) = self.connection_ids.clone() {
            config.cid_generator(move || ids());
        }
        config.rng_seed(self.seed);
        // It refuses a size below 1200, and one that there is not.
        config.max_udp_payload_size(self.transport.max_datagram()).map(|_| ()).unwrap_or_default();
        config
    }

    pub(super) fn server(&self, transport: &Arc<TransportConfig>) -> Option<ServerConfig> {
        let server = self.server.as_ref()?;
        let mut config =
            ServerConfig::new(Arc::clone(&server.crypto), Arc::clone(&server.token_key));
        config
            .transport_config(Arc::clone(transport))
            .max_incoming(self.limits.max_waiting.saturating_add(1));
        let waiting = self.limits.max_waiting as u64;
        config.incoming_buffer_size(WAITING_BYTES);
        config.incoming_buffer_size_total(WAITING_BYTES.saturating_mul(waiting));
        if let Some(source) = server.time_source.clone() {
            config.time_source(source);
        }
        Some(config)
    }
}
