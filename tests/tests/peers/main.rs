//! Programs and crates by others that speak the same protocols.

mod peer_aioquic;
mod peer_moldudp;
mod peer_quinn;
mod peer_tshark;
