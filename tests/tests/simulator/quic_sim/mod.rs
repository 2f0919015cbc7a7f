//! QUIC endpoints in the simulated network: quinn-proto under gapless-quic's mapping, in virtual time, with
//! cryptography of fixed length ([`null`]), so that a seed decides every byte. One test per plan, each run
//! with many seeds (`GAPLESS_SEEDS` says how many); the model of [`checker`] watches over all of them.

mod abuser;
mod admission;
mod backpressure;
mod book;
mod checker;
mod clock;
mod datagrams;
mod faults;
mod flood;
mod host;
mod malicious_peer;
mod memory;
mod null;
mod streams;
mod tags;
mod tampering;
mod testbed;
mod traffic;
