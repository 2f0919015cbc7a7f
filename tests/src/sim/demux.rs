//! Demultiplexers in virtual time: many peers open streams, some as they should, some a byte at a
//! time, some never to the end, some all at once; acceptors come, go, pause and fail.
//!
//! A [`Load`] is the plan, and a `DemuxDriver` carries it out: what comes of a stream is given to the
//! demultiplexer, its commands are done, and the streams are judged by what their peers wrote. Every
//! refusal must have its cause, and come when it should.

mod draw;
mod driver;
mod load;

pub use load::{AcceptorPlan, Load, Sends, Totals};
