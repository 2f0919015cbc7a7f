//! Drivers over real loopback sockets: turns, transfers, endings, limits and hostile peers.

mod certified;
mod crafted;
mod pair;
mod path;
mod peer;

mod abuse;
mod chaos;
mod endings;
mod hostile;
mod limits;
mod memory;
mod preambles;
mod transfer;
mod turns;
mod undelivered;

#[global_allocator]
static ALLOCATOR: gapless_tests::alloc::Counting = gapless_tests::alloc::Counting;
