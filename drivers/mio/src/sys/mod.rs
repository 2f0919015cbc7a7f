//! System calls beyond those of the safe crates: batches of datagrams by one system call,
//! kernel times, drop counters, joins by interface. The only place with `unsafe`.
//!
//! Linux has all of it. Elsewhere datagrams go one by one, and what there is no portable way to
//! (kernel times, drop counters, source-specific joins by index) is absent or refused.

#![allow(unsafe_code)]

mod batch;
mod interface;
pub(crate) use batch::{BATCH, Destination, Received};
pub(crate) use interface::{interface_named, interface_numbered, interface_with};

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::*;
