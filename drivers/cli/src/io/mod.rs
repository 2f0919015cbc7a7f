//! Program I/O: files, pipes and standard streams.
//!
//! A [file](mod@file) keeps nobody waiting and is read and written at once. Anything else may: where an event loop must go on,
//! threads read it [`ahead`] and [write](writer) it; where none must, it is written with [`patience`], and other work that
//! may take for ever is [`blocking`].

pub(crate) mod ahead;
pub(crate) mod blocking;
pub(crate) mod file;
pub(crate) mod input;
pub(crate) mod patience;
pub(crate) mod place;
pub(crate) mod signals;
pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod standard;
pub(crate) mod writer;
