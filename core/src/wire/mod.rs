//! Byte formats, without state: views over borrowed bytes, and writers. Nothing here allocates.

pub mod mold;
