//! Machines against their naive models, on random cases; `GAPLESS_CASES` says how many of each.

mod cache_model;
mod contract;
mod demux_model;
mod grouping;
mod mold_model;
mod publisher_model;
mod receiver_hostile_model;
mod receiver_model;
mod receiver_model_regressions;
mod receiver_model_repair;
mod retransmitter_model;
mod transmitter_model;

use gapless_tests::alloc::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
