//! The codes with which streams are refused.

/// The code of streams that nobody takes: the tag is not registered, or empty, or the hand-off failed.
pub const NO_ACCEPTOR: u64 = 0x100;
/// The code of streams whose preamble was not whole in time.
pub const DEADLINE: u64 = 0x101;
/// The code of streams that would be too many to wait, in all or for one acceptor.
pub const TOO_MANY: u64 = 0x102;
/// The code of streams that would be too many of one peer to wait.
pub const TOO_MANY_OF_PEER: u64 = 0x103;
/// The code of streams with a reserved tag that no protocol registered.
pub const RESERVED: u64 = 0x104;
/// The code of streams that ended before their preamble was whole.
pub const FIN_IN_PREAMBLE: u64 = 0x105;
