//! Attackers in the simulated network: they forge packets of the feed, alone and in pairs, or send
//! whatever they like. The honest feed goes on complete, and every datagram of theirs is counted.

use std::net::SocketAddr;

use bytes::Bytes;
use gapless_core::receiver::{Config, LineStats};
use gapless_core::wire::mold::{END_OF_SESSION, HEARTBEAT, Header, PacketWriter};
use gapless_core::{Duration, Instant, Machine, Session};
use gapless_tests::sim::{
    Attacker, Chance, Path, Random, ServerPlan, Setup, Stage, feed_address, line_address,
    listener_address, seeds, server_address, session,
};

const THE_LINE: u8 = 0;

fn header(session: Session, sequence: u64, count: u16) -> Bytes {
    Bytes::copy_from_slice(&Header { session, sequence, count }.to_bytes())
}

fn data(session: Session, sequence: u64) -> Bytes {
    let mut buffer = [0; 64];
    let mut writer = PacketWriter::new(&mut buffer, session, sequence).unwrap();
    assert!(writer.push(b"forged"));
    let len = writer.as_bytes().len();
    Bytes::copy_from_slice(&buffer[..len])
}

/// A feed that sends without a pause for at least two seconds, over one line and one server.
fn honest(random: &mut Random, path: Path) -> Setup {
    let mut setup = Setup::new(random).line(path);
    setup.config.max_attempts = 64;
    let plan = &mut setup.sessions[0];
    (plan.messages, plan.per_packet, plan.pauses) = (4000, 1, Chance::NEVER);
    plan.interval = Duration::from_millis(1);
    setup.server(Path::sound(random), ServerPlan::default())
}

/// Sends one or two forged packets at a time while the honest feed is sending; `next` is a number
/// close to what the feed sends then.
fn forge(
    stage: &mut Stage,
    random: &mut Random,
    mut packets: impl FnMut(&mut Random, u64) -> [Bytes; 2],
) {
    forge_many(stage, random, |random, next| {
        let mut packets = packets(random, next).to_vec();
        packets.truncate(random.within(1..=2) as usize);
        packets
    });
}

/// The same with any number of packets at a time.
fn forge_many(
    stage: &mut Stage,
    random: &mut Random,
    mut packets: impl FnMut(&mut Random, u64) -> Vec<Bytes>,
) {
    let session = stage.program.sessions().next().unwrap().0;
    let attacker = Attacker::enter(&mut stage.world);
    let mut at = Instant::from_millis(100);
    let until = Instant::from_millis(1500);
    while at < until {
        let packets = packets(random, stage.program.edge(session, at));
        send(stage, attacker, at, line_address(THE_LINE), packets);
        at += random.span(Duration::from_millis(30)..=Duration::from_millis(300));
    }
}

fn send(
    stage: &mut Stage,
    attacker: gapless_tests::sim::NodeId,
    at: Instant,
    to: SocketAddr,
    packets: Vec<Bytes>,
) {
    Attacker::sends(&mut stage.world, attacker, at, feed_address(), to, packets);
}

fn line(stage: &Stage) -> LineStats {
    stage.listener().receiver().line(gapless_core::receiver::LineId(THE_LINE)).unwrap()
}

fn runs_complete(stage: &mut Stage) {
    stage.run_to_the_end();
    stage.assert_complete();
}

#[test]
fn forged_jumps_open_no_gap() {
    seeds(|random| {
        let path = Path::lossy(random, Chance::percent(10));
        let mut stage = honest(random, path).stage(random);
        let session = stage.program.sessions().next().unwrap().0;
        forge(&mut stage, random, |random, next| {
            let beyond = Config::default().max_jump + 10_000;
            let far = next + random.within(beyond..=1 << 60);
            let kinds = [data(session, far), header(session, far, HEARTBEAT)];
            [random.one_of(&kinds), data(session, far + 1)]
        });
        runs_complete(&mut stage);
        let stats = stage.listener().receiver().stats();
        assert!(stats.unbelieved > 0, "{stats:?}");
    });
}

#[test]
fn forged_ends_end_nothing() {
    seeds(|random| {
        let path = Path::lossy(random, Chance::percent(10));
        let mut stage = honest(random, path).stage(random);
        let session = stage.program.sessions().next().unwrap().0;
        forge(&mut stage, random, |random, next| {
            let around = random.within(next.saturating_sub(100).max(1)..=next + 100);
            [around, around].map(|at| header(session, at, END_OF_SESSION))
        });
        runs_complete(&mut stage);
    });
}

#[test]
fn forged_heartbeats_and_ends_ahead_are_withdrawn_however_many() {
    seeds(|random| {
        let path = Path::lossy(random, Chance::percent(10));
        let mut stage = honest(random, path).stage(random);
        let session = stage.program.sessions().next().unwrap().0;
        forge_many(&mut stage, random, |random, next| {
            let ahead = next + random.within(10_000..=Config::default().max_jump / 2);
            let kind = random.one_of(&[HEARTBEAT, END_OF_SESSION]);
            (0..random.within(1..=10)).map(|_| header(session, ahead, kind)).collect()
        });
        runs_complete(&mut stage);
        let stats = stage.listener().receiver().stats();
        assert!(stats.claims_withdrawn > 0, "{stats:?}");
    });
}

#[test]
fn forged_sessions_displace_none() {
    seeds(|random| {
        let path = Path::lossy(random, Chance::percent(10));
        let mut setup = honest(random, path);
        setup.config.follow = random.happens(Chance::percent(50));
        let mut stage = setup.stage(random);
        let forged = session("FORGED");
        forge(&mut stage, random, |random, _| {
            let number = random.one_of(&[1, 2, 1000, u64::MAX - 1]);
            let kinds = [data(forged, number), header(forged, number, END_OF_SESSION)];
            [random.one_of(&kinds), data(forged, number)]
        });
        runs_complete(&mut stage);
        assert_eq!(stage.listener().ledger().accounts.len(), 1);
    });
}

#[test]
fn a_forged_first_packet_is_not_where_a_feed_starts() {
    seeds(|random| {
        let path = Path { reorder: Chance::NEVER, ..Path::sound(random) };
        let mut setup = honest(random, path);
        if random.happens(Chance::percent(50)) {
            setup.config.start = gapless_core::receiver::Start::Live;
        }
        let mut stage = setup.stage(random);
        let (honest, end) = stage.program.sessions().next().unwrap();
        let attacker = Attacker::enter(&mut stage.world);
        let number = random.within(1 << 30..=1 << 60);
        let of = random.one_of(&[honest, session("FORGED")]);
        let mut packets = vec![data(of, number), data(of, number + 1)];
        packets.truncate(random.within(1..=2) as usize);
        send(&mut stage, attacker, Instant::ZERO, line_address(THE_LINE), packets);
        runs_complete(&mut stage);
        let account = &stage.listener().ledger().accounts[&honest];
        assert!(account.first < end, "{account:?}");
    });
}

#[test]
fn what_comes_from_an_unknown_peer_is_counted_and_changes_nothing() {
    seeds(|random| {
        let path = Path::lossy(random, Chance::percent(20));
        let mut stage = honest(random, path).stage(random);
        let session = stage.program.sessions().next().unwrap().0;
        let attacker = Attacker::enter(&mut stage.world);
        for _ in 0..50 {
            let at = Instant::ZERO + random.span(Duration::ZERO..=Duration::from_secs(1));
            let noise: Vec<u8> = (0..random.within(0..=200)).map(|_| random.any() as u8).collect();
            let kinds = [Bytes::from(noise), data(session, random.within(1..=4000))];
            let bytes = random.one_of(&kinds);
            let (from, to) = (server_address(99), listener_address());
            Attacker::sends(&mut stage.world, attacker, at, from, to, vec![bytes]);
        }
        runs_complete(&mut stage);
        assert_eq!(stage.listener().receiver().stats().unknown_peer, 50);
    });
}

#[test]
fn noise_on_a_line_is_counted_and_dropped_whole() {
    seeds(|random| {
        let path = Path::lossy(random, Chance::percent(20));
        let mut stage = honest(random, path).stage(random);
        let session = stage.program.sessions().next().unwrap().0;
        let attacker = Attacker::enter(&mut stage.world);
        for _ in 0..50 {
            let at = Instant::ZERO + random.span(Duration::ZERO..=Duration::from_secs(1));
            // Cut within its header or its block, and not a copy of what is there already.
            let whole = data(session, random.within(4001..=5000));
            let cut = whole.slice(..random.within(0..=whole.len() as u64 - 1) as usize);
            send(&mut stage, attacker, at, line_address(THE_LINE), vec![cut]);
        }
        runs_complete(&mut stage);
        assert_eq!(line(&stage).malformed, 50);
    });
}
