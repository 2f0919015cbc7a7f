//! Demultiplexers in virtual time: a crowd of peers opens streams, some as they should, some a byte at a
//! time, some never to the end, some all at once; acceptors come, go, pause and fail.
//!
//! A [`Crowd`] is the plan. Its `Doorman` is the driver: what comes of a stream is given to the
//! demultiplexer, its commands are done, and the streams are judged by what their peers wrote. Every
//! refusal must have its cause, and come when it should.

mod draw;
mod driver;
mod load;

pub use load::{AcceptorPlan, Crowd, Sends, Totals};
