//! Simpler swarms: fewer nodes, fewer faults, shorter.

use gapless_core::Instant;
use gapless_core::receiver::{Config, Start};

use super::{Swarm, Who};
use crate::sim::listener::Way;
use crate::sim::path::{Chance, Path};
use crate::sim::server::ServerPlan;

/// Swarms that are simpler by one thing each, the largest steps first.
pub(super) fn candidates(swarm: &Swarm) -> Vec<Swarm> {
    let mut simpler = Vec::new();
    fewer_nodes(swarm, &mut simpler);
    fewer_faults(swarm, &mut simpler);
    shorter(swarm, &mut simpler);
    better_paths(swarm, &mut simpler);
    plainer(swarm, &mut simpler);
    simpler.retain(|simpler| simpler != swarm);
    simpler
}

/// This swarm with a change.
fn with(swarm: &Swarm, change: impl FnOnce(&mut Swarm)) -> Swarm {
    let mut swarm = swarm.clone();
    change(&mut swarm);
    swarm
}

fn fewer_nodes(swarm: &Swarm, simpler: &mut Vec<Swarm>) {
    let setup = &swarm.setup;
    for index in 1..setup.sessions.len() {
        simpler.push(with(swarm, |swarm| _ = swarm.setup.sessions.remove(index - 1)));
    }
    // The first line is the one that always sends.
    for index in 1..setup.lines.len() {
        simpler.push(with(swarm, |swarm| _ = swarm.setup.lines.remove(index)));
    }
    for (server, index) in (0..).zip(0..setup.servers.len()) {
        simpler.push(with(swarm, |swarm| {
            swarm.setup.servers.remove(index);
            swarm
                .faults
                .retain_mut(|fault| fault.nodes().iter().all(|node| **node != Who::Server(server)));
            for node in swarm.faults.iter_mut().flat_map(super::Fault::nodes) {
                match node {
                    Who::Server(other) if *other > server => *other -= 1,
                    _ => {}
                }
            }
        }));
    }
}

fn fewer_faults(swarm: &Swarm, simpler: &mut Vec<Swarm>) {
    simpler.push(with(swarm, |swarm| swarm.faults.clear()));
    for index in 0..swarm.faults.len() {
        simpler.push(with(swarm, |swarm| _ = swarm.faults.remove(index)));
    }
}

fn shorter(swarm: &Swarm, simpler: &mut Vec<Swarm>) {
    for index in 0..swarm.setup.sessions.len() {
        for part in [2, 10] {
            simpler.push(with(swarm, |swarm| {
                let messages = &mut swarm.setup.sessions[index].messages;
                *messages = (*messages - *messages / part).max(1);
            }));
        }
    }
    simpler.push(with(swarm, |swarm| swarm.setup.joins = Instant::ZERO));
    let last_fault = swarm.faults.iter().map(|fault| fault.times.end).max();
    let earliest = last_fault.unwrap_or_default().max(swarm.setup.joins);
    simpler.push(with(swarm, |swarm| swarm.mends = earliest));
    simpler.push(with(swarm, |swarm| {
        swarm.mends = earliest + swarm.mends.since(earliest) / 2;
    }));
}

/// Everything that can be wrong with a path, set right.
const MENDINGS: [fn(&mut Path); 9] = [
    |path| *path = path.mended(),
    |path| path.loss = Chance::NEVER,
    |path| path.burst = Chance::NEVER,
    |path| path.duplicate = Chance::NEVER,
    |path| path.reorder = Chance::NEVER,
    |path| path.mtu = usize::MAX,
    |path| path.bandwidth = None,
    |path| path.jitter = Path::default().jitter,
    |path| path.delay = Path::default().delay,
];

fn better_paths(swarm: &Swarm, simpler: &mut Vec<Swarm>) {
    for mend in MENDINGS {
        simpler.push(with(swarm, |swarm| {
            let lines = swarm.setup.lines.iter_mut().map(|(path, _)| path);
            lines.for_each(mend);
            for (there, back, _) in &mut swarm.setup.servers {
                mend(there);
                mend(back);
            }
        }));
    }
    for mend in MENDINGS {
        for index in 0..swarm.setup.lines.len() {
            simpler.push(with(swarm, |swarm| mend(&mut swarm.setup.lines[index].0)));
        }
        for index in 0..swarm.setup.servers.len() {
            simpler.push(with(swarm, |swarm| mend(&mut swarm.setup.servers[index].0)));
            simpler.push(with(swarm, |swarm| mend(&mut swarm.setup.servers[index].1)));
        }
    }
}

/// Everything that the receiver may be configured to do otherwise, set to its default.
const DEFAULTS: [fn(&mut Config, Config); 17] = [
    |config, default| config.quotas = default.quotas,
    |config, default| config.start = default.start,
    |config, default| config.delivery = default.delivery,
    |config, default| config.on_loss = default.on_loss,
    |config, default| config.accept_answers = default.accept_answers,
    |config, default| config.reorder_packets = default.reorder_packets,
    |config, default| {
        config.reorder_delay = default.reorder_delay;
        config.max_reorder_delay = default.max_reorder_delay;
    },
    |config, default| config.line_timeout = default.line_timeout,
    |config, default| config.max_request = default.max_request,
    |config, default| config.max_in_flight = default.max_in_flight,
    |config, default| {
        config.min_request_timeout = default.min_request_timeout;
        config.initial_request_timeout = default.initial_request_timeout;
        config.max_request_timeout = default.max_request_timeout;
    },
    |config, default| config.max_backoff = default.max_backoff,
    |config, default| {
        config.max_held_bytes = default.max_held_bytes;
        config.max_held_packets = default.max_held_packets;
        config.max_gaps = default.max_gaps;
    },
    |config, default| config.max_jump = default.max_jump,
    |config, default| config.believe_after = default.believe_after,
    |config, default| config.quiet = default.quiet,
    |config, default| {
        config.session_grace = default.session_grace;
        config.probe_after = default.probe_after;
    },
];

fn plainer(swarm: &Swarm, simpler: &mut Vec<Swarm>) {
    for index in 0..swarm.setup.servers.len() {
        simpler.push(with(swarm, |swarm| {
            swarm.setup.servers[index].2 = ServerPlan::default();
        }));
    }
    for index in 0..swarm.setup.lines.len() {
        simpler.push(with(swarm, |swarm| {
            swarm.setup.lines[index].1 = Instant::ZERO..Instant::MAX;
        }));
    }
    for index in 0..swarm.setup.sessions.len() {
        simpler.push(with(swarm, |swarm| {
            let session = &mut swarm.setup.sessions[index];
            (session.per_packet, session.pauses) = (1, Chance::NEVER);
        }));
    }
    simpler.push(with(swarm, |swarm| swarm.setup.way = Way::Owned));
    let single = swarm.setup.sessions.len() == 1;
    simpler.push(with(swarm, |swarm| swarm.setup.config.follow &= !single));
    simpler.push(with(swarm, |swarm| swarm.setup.config.session = None));
    simpler.push(with(swarm, |swarm| swarm.setup.config.start = Start::At(1)));
    for default in DEFAULTS {
        simpler.push(with(swarm, |swarm| default(&mut swarm.setup.config, Config::default())));
    }
}
