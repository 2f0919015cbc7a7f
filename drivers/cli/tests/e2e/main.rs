//! The program end to end: `gapless` in processes of their own, over loopback.
//!
//! Ports are taken from the system. Nothing is measured; every wait has a bound far beyond what is
//! needed.

mod capture;
mod demo;
mod endings;
mod failures;
mod files;
mod journal;
mod program;
mod publishing;
mod repair;
mod reports;
mod reports_bounds;
mod sessions;
mod signals;
mod sockets;
mod standard_streams;
mod streams;
mod tagged;
mod tagged_answers;
mod tagged_broken;
mod tagged_drain;
mod tagged_ends;
mod tagged_identity;
mod tagged_refused;
mod tagged_turns;
mod tagged_waits;
mod waiting;
