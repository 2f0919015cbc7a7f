//! A path between a client and a server that the test pumps: it loses what it is told to, and can move
//! the client to another port.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

pub(crate) struct Path {
    /// The address that the client sends to.
    front: UdpSocket,
    /// The address that the server sees.
    back: UdpSocket,
    server: SocketAddr,
    client: Option<SocketAddr>,
    pub(crate) passed: [u64; 2],
}

/// Which way a datagram goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

pub(crate) fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

impl Path {
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self { front: socket(), back: socket(), server, client: None, passed: [0; 2] }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.front.local_addr().unwrap()
    }

    /// Lets through what waits and `passes`; how many datagrams came.
    pub(crate) fn pump(&mut self, mut passes: impl FnMut(Way, &[u8]) -> bool) -> usize {
        let mut buffer = [0; 2048];
        let mut count = 0;
        while let Ok((length, from)) = self.front.recv_from(&mut buffer) {
            self.client = Some(from);
            count += 1;
            if passes(Way::ToServer, &buffer[..length]) {
                self.passed[0] += 1;
                let _ = self.back.send_to(&buffer[..length], self.server);
            }
        }
        while let Ok((length, _)) = self.back.recv_from(&mut buffer) {
            count += 1;
            if passes(Way::ToClient, &buffer[..length])
                && let Some(client) = self.client
            {
                self.passed[1] += 1;
                let _ = self.front.send_to(&buffer[..length], client);
            }
        }
        count
    }

    /// Sends something to the client as if the server had.
    pub(crate) fn to_client(&self, bytes: &[u8]) {
        self.front.send_to(bytes, self.client.unwrap()).unwrap();
    }

    /// Gives the client another port, as the server sees it.
    pub(crate) fn move_client(&mut self) {
        self.back = socket();
    }

    /// Tells the server of congestion with every datagram (RFC 3168 §5).
    pub(crate) fn mark_congestion(&mut self) {
        socket2::SockRef::from(&self.back).set_tos_v4(0b11).unwrap();
    }

    /// The server goes on elsewhere.
    pub(crate) fn move_server(&mut self, to: SocketAddr) {
        self.server = to;
    }
}
