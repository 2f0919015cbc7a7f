//! A node that belongs to nobody: it sends what it is told to send, with a sender of its choice.

use std::net::SocketAddr;

use bytes::Bytes;
use gapless_core::Instant;

use super::world::{Node, NodeId, Outbox, World};

/// Someone who can send to a feed's addresses.
#[derive(Clone, Copy, Debug)]
pub struct Attacker;

impl Attacker {
    /// Adds an attacker to the world.
    pub fn enter(world: &mut World) -> NodeId {
        world.add(Self, &[])
    }

    /// Sends these datagrams at a time, one after the other.
    pub fn sends(
        world: &mut World,
        attacker: NodeId,
        at: Instant,
        from: SocketAddr,
        to: SocketAddr,
        datagrams: Vec<Bytes>,
    ) {
        world.at(at, move |world| {
            world.call::<Self>(attacker, |_, _, out| {
                datagrams.into_iter().for_each(|bytes| out.send(from, to, bytes));
            });
        });
    }
}

impl Node for Attacker {
    fn arrive(&mut self, _: Instant, _: SocketAddr, _: SocketAddr, _: &Bytes, _: &mut Outbox) {}

    fn wake(&mut self, _: Instant, _: &mut Outbox) {}

    fn next_wake(&self) -> Option<Instant> {
        None
    }
}
