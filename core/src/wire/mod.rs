//! Byte formats, without state: views over borrowed bytes, and writers. Nothing here allocates.

pub mod brief;
pub mod mold;
pub mod tag;
pub mod varint;
