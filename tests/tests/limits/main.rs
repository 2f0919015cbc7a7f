//! Bounds: what machines keep allocated, by a counting allocator, and what attackers who send whatever they
//! like can do to a machine or to a program.

mod cache_memory;
mod cache_scale;
mod demux_memory;
mod hostile_processes;
mod hostile_publisher;
mod hostile_receiver;
mod memory_receiver;
mod publisher_memory;
mod receiver_memory;

use gapless_tests::alloc::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
