//! Peers that dribble preambles, over real connections: they keep nobody else out.

use std::collections::BTreeMap;
use std::time::Duration;

use gapless_core::Machine;
use gapless_core::demux::{
    self, AcceptorId, DEADLINE, Direction, Pattern, TOO_MANY, TOO_MANY_OF_PEER,
};
use gapless_quic::tagged::{Notice, Opened, Streams};
use gapless_quic::{Acceptors, Limits, StreamId};

use crate::pair::Pair;

const DRIBBLERS: usize = 200;
/// Streams that each of them opens.
const STREAMS: usize = 6;
const PER_PEER: usize = 4;
const PENDING: usize = 600;
const TAKER: AcceptorId = AcceptorId(1);

#[derive(Default)]
struct Taken(BTreeMap<StreamId, (usize, bool)>);

impl Acceptors for Taken {
    fn opened(&mut self, _: &mut Streams<'_>, opened: Opened) -> bool {
        self.0.insert(opened.stream, (0, false));
        true
    }

    fn notice(&mut self, _: &mut Streams<'_>, notice: Notice) {
        if let Notice::Data { stream, bytes, fin, .. } = notice {
            let taken = self.0.get_mut(&stream).expect("a stream that was opened");
            taken.0 += bytes.len();
            taken.1 |= fin;
        }
    }
}

#[test]
fn two_hundred_peers_that_dribble_preambles_keep_nobody_out() {
    let config = demux::Config {
        max_pending: PENDING,
        max_pending_per_peer: PER_PEER,
        preamble_timeout: Duration::from_millis(1_500),
        ..demux::Config::default()
    };
    let bound = <gapless_core::demux::Demux as gapless_core::Machine>::memory_limit(&config);
    let limits = Limits {
        max_connections_per_address: DRIBBLERS + 1,
        retry_above: DRIBBLERS + 1,
        ..Limits::default()
    };
    let mut pair = Pair::new(config, limits, Taken::default());
    pair.connect(DRIBBLERS + 1);
    pair.register(TAKER, Pattern::Exact(b"honest"));
    let mut dribbled = Vec::new();
    for peer in 0..DRIBBLERS {
        for _ in 0..STREAMS {
            let stream = pair.open_bare(peer, Direction::Unidirectional);
            pair.write(stream, b"\x06");
            dribbled.push(stream);
        }
    }
    // One byte more of each preamble, but the last, as long as they are there; and an honest stream.
    let mut honest = Vec::new();
    for step in 0..5 {
        for &stream in &dribbled {
            if pair.fate(stream).stopped.is_none() && step < 4 {
                pair.write(stream, b"h");
            }
        }
        for _ in 0..20 {
            pair.turn();
            let demux = pair.theirs.demux();
            assert!(demux.pending() <= PENDING);
            assert!(demux.memory_used() <= bound);
        }
        let stream = pair.open(DRIBBLERS, Direction::Unidirectional, b"honest");
        pair.write(stream, b"payload");
        pair.finish(stream);
        honest.push(stream);
    }
    pair.turn_until(|pair| pair.theirs.acceptors().0.values().filter(|taken| taken.1).count() == 5);
    assert!(pair.theirs.acceptors().0.values().all(|taken| *taken == (7, true)));
    pair.turn_until(|pair| dribbled.iter().all(|&stream| pair.fate(stream).stopped.is_some()));
    let mut codes = BTreeMap::<u64, usize>::new();
    for &stream in &dribbled {
        *codes.entry(pair.fate(stream).stopped.unwrap()).or_default() += 1;
    }
    let (late, of_peer) = (codes[&DEADLINE], codes[&TOO_MANY_OF_PEER]);
    let others = codes.get(&TOO_MANY).copied().unwrap_or(0);
    assert_eq!(late + of_peer + others, DRIBBLERS * STREAMS, "{codes:?}");
    assert!((PENDING / 2..=PENDING).contains(&late), "{codes:?}");
    assert!(of_peer >= DRIBBLERS / 2, "{codes:?}");
    assert_eq!(pair.theirs.demux().pending(), 0);
    assert!(pair.ours.acceptors().gone.is_empty(), "nobody was thrown out");
    for stream in honest {
        assert_eq!(pair.fate(stream).stopped, None);
    }
}
