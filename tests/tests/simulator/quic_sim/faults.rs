//! Paths that break, hosts that vanish, restart or move, and connections that are closed: every stream ends
//! with a reason on both sides, and nothing is left of it.

use gapless_core::{Duration, Instant};
use gapless_quic::Reason;
use gapless_tests::sim::{Random, State, seeds};
use quinn_proto::{ApplicationClose, ConnectionError};

use super::host::Host;
use super::testbed::{Plan, Testbed, client_address};
use super::traffic::{Manners, Traffic};

const IDLE: Duration = Duration::from_secs(10);

/// Streams that take a few seconds, on paths where nothing else goes wrong.
fn slow(random: &mut Random) -> Plan {
    let mut plan = Plan::new(random);
    plan.clients = random.within(1..=3) as usize;
    plan.server.transport.idle_timeout = IDLE;
    plan.client.transport.idle_timeout = IDLE;
    // Those that are done wait for the others.
    plan.client.transport.keep_alive = IDLE / 4;
    for manners in [&mut plan.asking, &mut plan.serving] {
        *manners = Manners {
            streams: 1..=3,
            bytes: 5000..=20_000,
            chunk: 500,
            pace: Duration::from_millis(200),
            ..manners.clone()
        };
    }
    plan
}

fn in_the_middle(random: &mut Random) -> Duration {
    random.span(Duration::from_millis(20)..=Duration::from_millis(1500))
}

fn timed_out(reason: &Reason) -> bool {
    matches!(reason, Reason::IdleTimedOut { .. })
}

/// Cuts the server off in the middle.
fn cut(testbed: &mut Testbed, random: &mut Random, time: Duration) {
    let from = Instant::ZERO + in_the_middle(random);
    let server = testbed.server;
    testbed.world.partition(vec![server], from..from + time);
}

#[test]
fn a_partition_shorter_than_the_idle_timeout_heals() {
    seeds(|random| {
        let mut testbed = slow(random).build(random);
        let time = random.span(Duration::from_millis(10)..=IDLE / 4);
        cut(&mut testbed, random, time);
        testbed.run_to_the_end();
        testbed.book.assert_all_arrived();
        testbed.close();
        for host in testbed.hosts() {
            assert_eq!(host.checker.counts.connected, host.checker.counts.disconnected);
            assert!(!host.checker.reasons.iter().any(timed_out));
        }
    });
}

#[test]
fn a_partition_longer_than_the_idle_timeout_ends_every_stream_on_both_sides() {
    seeds(|random| {
        let mut testbed = slow(random).build(random);
        // Everybody is connected before.
        testbed.run("all are connected", |testbed| {
            testbed.clients.iter().all(|&id| testbed.host(id).checker.counts.connected > 0)
        });
        let from = testbed.world.now() + in_the_middle(random);
        let server = testbed.server;
        testbed.world.partition(vec![server], from..from + IDLE * 3);
        testbed.assert_drains();
        for host in testbed.hosts() {
            assert!(host.checker.reasons.iter().all(timed_out), "{:?}", host.checker.reasons);
            assert_eq!(host.checker.streams(), 0);
        }
        assert_eq!(testbed.reasons(server).len(), testbed.clients.len());
    });
}

#[test]
fn a_peer_that_vanishes_is_forgotten_after_the_idle_timeout() {
    seeds(|random| {
        let mut testbed = slow(random).build(random);
        testbed.pass(in_the_middle(random));
        let vanished = random.one_of(&[testbed.server, testbed.clients[0]]);
        testbed.world.stop(vanished);
        let others: Vec<_> = if vanished == testbed.server {
            testbed.clients.clone()
        } else {
            // The other clients are served to the end.
            let others = testbed.clients[1..].to_vec();
            testbed.run("the others are done", |testbed| {
                others.iter().all(|&id| testbed.is_client_done(id))
            });
            for id in others {
                testbed.act(id, |traffic: &mut Traffic, desk| traffic.close(desk, 5));
            }
            vec![testbed.server]
        };
        testbed.run("the connections go", |testbed| {
            others.iter().all(|&id| testbed.host(id).endpoint.connections() == 0)
        });
        testbed.pass(Duration::from_secs(5));
        for id in others {
            testbed.host(id).assert_empty();
            assert_eq!(testbed.reasons(id).iter().filter(|reason| timed_out(reason)).count(), 1);
        }
    });
}

#[test]
fn clients_of_a_restarted_server_learn_it_at_their_next_packet() {
    seeds(|random| {
        let mut plan = slow(random);
        plan.asking.reconnects = true;
        plan.asking.streams = 2..=3;
        let mut testbed = plan.build(random);
        // A client that its server has not confirmed yet sends what nobody resets.
        testbed.run("the server knows them all", |testbed| {
            testbed.host(testbed.server).checker.counts.connected == testbed.clients.len() as u64
        });
        testbed.pass(Duration::from_millis(100));
        testbed.pass(random.span(Duration::ZERO..=Duration::from_millis(1000)));
        let server = testbed.server;
        let down = random.span(Duration::ZERO..=Duration::from_millis(500));
        testbed.world.stop(server);
        testbed.pass(down);
        testbed.world.restart(server, State::Lost);
        let is_reset = |reason: &Reason| *reason == Reason::Lost(ConnectionError::Reset);
        let restarted = testbed.world.now();
        testbed.run("they know", |testbed| {
            testbed.clients.iter().all(|&id| testbed.reasons(id).iter().any(is_reset))
        });
        let took = testbed.world.now().since(restarted);
        assert!(took < Duration::from_secs(3), "they only learnt it after {took:?}");
        testbed.run("all are connected again", |testbed| {
            testbed.clients.iter().all(|&id| testbed.host(id).checker.counts.connected == 2)
        });
        testbed.run_to_the_end();
        assert!(testbed.clients.iter().all(|&id| testbed.reasons(id).len() == 1));
        testbed.close();
    });
}

#[test]
fn a_close_tells_the_peer_its_code_and_reason() {
    seeds(|random| {
        let mut testbed = slow(random).build(random);
        testbed.run("all are connected", |testbed| {
            testbed.clients.iter().all(|&id| testbed.host(id).checker.counts.connected > 0)
        });
        testbed.pass(in_the_middle(random));
        let code = random.within(0..=(1 << 62) - 1);
        let (closing, closed) = if random.any() % 2 == 0 {
            (vec![testbed.server], testbed.clients.clone())
        } else {
            (testbed.clients.clone(), vec![testbed.server])
        };
        for id in closing.clone() {
            testbed.act(id, |traffic: &mut Traffic, desk| traffic.close(desk, code));
        }
        testbed.assert_drains();
        for id in closing {
            assert!(testbed.reasons(id).iter().all(|reason| *reason == Reason::Closed { code }));
        }
        for id in closed {
            for reason in testbed.reasons(id) {
                let Reason::Lost(ConnectionError::ApplicationClosed(close)) = reason else {
                    panic!("{reason:?}");
                };
                let ApplicationClose { error_code, reason } = close;
                assert_eq!((error_code.into_inner(), &reason[..]), (code, &b"enough"[..]));
            }
            assert!(!testbed.reasons(id).is_empty());
        }
    });
}

#[test]
fn a_client_whose_address_changes_keeps_its_streams() {
    seeds(|random| {
        let mut testbed = slow(random).build(random);
        testbed.run("all are connected", |testbed| {
            testbed.clients.iter().all(|&id| testbed.host(id).checker.counts.connected > 0)
        });
        let moving = testbed.clients[0];
        for address in 1..=2 {
            testbed.pass(random.span(Duration::from_millis(10)..=Duration::from_millis(900)));
            let moves = |host: &mut Host, _, _: &mut _| host.moves_to(address);
            testbed.world.call(moving, moves);
        }
        testbed.pass(Duration::from_secs(1));
        let server = testbed.host(testbed.server);
        let is_there = |id| {
            let peer = server.endpoint.peer(id).expect("it is open");
            peer.address == client_address(0, 2)
        };
        assert!(server.checker.open().any(is_there), "the server did not follow");
        testbed.run_to_the_end();
        testbed.book.assert_all_arrived();
        testbed.close();
    });
}
