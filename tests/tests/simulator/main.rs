//! Machines in the simulated network: one test per plan, each run with many seeds (`GAPLESS_SEEDS` says how
//! many).

mod quic_sim;
mod sim_cache;
mod sim_demux;
mod sim_hostile;
mod sim_journal;
mod sim_publisher;
mod sim_receiver;
mod sim_swarm;

use gapless_tests::alloc::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
