//! Shared by tests, fuzz targets and benchmarks: models, a simulated network, a counting allocator,
//! and ways to find shared data or a network of one's own.

#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "an allocator is unsafe by its nature")]
pub mod alloc;
pub mod data;
pub mod fanout;
pub mod model;
pub mod namespace;
pub mod program;
pub mod python;
pub mod quotas;
pub mod sim;
pub mod skip;

#[cfg(test)]
#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

/// The examples of the README are compiled and run as documentation tests. They live here since the crates
/// that are published do not hold the README of the workspace.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// As the README, so the example of a machine.
#[cfg(doctest)]
#[doc = include_str!("../../CONTRIBUTING.md")]
pub struct Contributing;
