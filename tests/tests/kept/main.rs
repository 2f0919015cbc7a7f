//! Files that are kept in the repository: vectors, journals, inputs of the fuzzers and the table of what
//! repair costs. Every build reads them, and comes to the same.

mod corpora;
mod journal_cache;
mod journal_demux;
mod journal_replay;
mod netsim;
mod vectors_mold;
mod vectors_tags;

use gapless_tests::alloc::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
