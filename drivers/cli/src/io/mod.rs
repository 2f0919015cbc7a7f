//! What the program reads and writes: files, pipes and standard streams.
//!
//! Who may wait waits for what nobody else has to wait for: a [file](file) is read and written at once; anything else
//! is read [ahead] and [written](writer) by threads where an event loop must go on, written with
//! [patience] where it need not, and work that may take for ever is [apart](blocking).

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
