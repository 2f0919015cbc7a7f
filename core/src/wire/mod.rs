//! Byte formats, without state: views over borrowed bytes, and writers. Nothing here allocates.

pub(crate) mod brief;
pub mod mold;
pub mod tag;
pub mod varint;
