//! What the program reads and writes: files, pipes and standard streams.

pub(crate) mod blocking;
pub(crate) mod file;
pub(crate) mod patience;
pub(crate) mod pipes;
pub(crate) mod place;
pub(crate) mod sink;
pub(crate) mod standard;
