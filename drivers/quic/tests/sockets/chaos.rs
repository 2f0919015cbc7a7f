//! Two programs that do anything at any time, on a path that loses: every stream and connection ends, is
//! told of in order, and nothing is left.

use std::time::{Duration, Instant};

use gapless_quic::{Direction, Driver, Limits, StreamId, Transport};

use crate::certified::PROTOCOL;
use crate::crafted::Random;
use crate::pair::{NOW, PAUSE, Pair};
use crate::path::Path;
use crate::peer::{Habit, TestPeer};

const SEEDS: u64 = 8;
const STEPS: usize = 250;

fn any_stream(peer: &TestPeer, random: &mut Random) -> Option<StreamId> {
    let open: Vec<_> = peer.streams.iter().filter(|(_, known)| !known.is_closed).collect();
    let at = random.below(open.len().max(1) as u64) as usize;
    open.get(at).map(|(stream, _)| **stream)
}

/// Does anything, as often with what is over as with what is not.
fn act(driver: &mut Driver, peer: &mut TestPeer, random: &mut Random) {
    let endpoint = driver.endpoint();
    let connections = peer.connected.len().max(1) as u64;
    let connection = peer.connected.get(random.below(connections) as usize).copied();
    let code = random.below(5);
    let what = random.below(100);
    if what < 30 {
        let direction = [Direction::Bidirectional, Direction::Unidirectional][what as usize % 2];
        if let Some(connection) = connection
            && endpoint.peer(connection).is_some()
        {
            peer.send(endpoint, connection, direction, random.below(60_000));
        }
    } else if what == 99 {
        if let Some(connection) = connection {
            let _ = endpoint.close(Instant::now(), connection, code, b"so");
        }
    } else if let Some(stream) = any_stream(peer, random) {
        let _ = match what % 6 {
            0 => endpoint.reset(stream, code),
            1 => endpoint.stop(stream, code),
            2 => endpoint.finish(stream),
            3 => endpoint.pause(stream),
            _ => endpoint.resume(stream),
        };
    }
    peer.habit = [Habit::Read, Habit::Answer(random.below(40_000)), Habit::Pause]
        [random.below(8).min(2) as usize];
}

#[test]
fn whatever_both_sides_do_everything_ends_and_nothing_is_left() {
    let transport = Transport {
        idle_timeout: Duration::from_millis(300),
        max_bidirectional: 12,
        max_unidirectional: 7,
        stream_window: 20_000,
        connection_window: 50_000,
        min_send_buffer: 16_000,
        ..Transport::default()
    };
    let (mut streams, mut closed) = (0, 0);
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let limits = Limits { retry_above: random.below(3) as usize, ..Limits::default() };
        let mut pair = Pair::new(limits, transport);
        let mut path = Path::new(pair.server.address());
        let loss = 1 + random.below(30);
        for step in 0..STEPS {
            if step % 60 == 0 {
                let (config, to) = (pair.certified.client(PROTOCOL), path.address());
                let endpoint = pair.client.endpoint();
                endpoint.connect(Instant::now(), config, to, "localhost").unwrap();
            }
            if random.below(100) == 0 {
                path.move_client();
            }
            act(&mut pair.client, &mut pair.at_client, &mut random);
            act(&mut pair.server, &mut pair.at_server, &mut random);
            path.pump(|_, _| random.below(loss) != 1);
            pair.client.turn(if step % 4 == 0 { PAUSE } else { NOW }, &mut pair.at_client).unwrap();
            pair.server.turn(NOW, &mut pair.at_server).unwrap();
        }
        println!("seed {seed}: {:?}", pair.server.endpoint().stats());
        // The path goes dead: whoever did not close waits until nothing came for too long.
        pair.assert_nothing_is_left();
        streams += pair.at_client.streams.len() + pair.at_server.streams.len();
        closed += pair.at_client.streams.values().filter(|known| known.is_closed).count();
    }
    println!("{streams} streams, {closed} of them closed before their connection");
    assert!(streams > 300 && closed > 50);
}
