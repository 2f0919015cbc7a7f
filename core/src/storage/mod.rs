//! Containers that know no protocol: where machines keep what they hold, within bounds.
//!
//! [`slab`] gives a thing a number, [`tree`] keeps numbered things sorted and [`list`] in rows, [`counts`] says how
//! often a key is there, [`ranges`] keeps numbers that have a meaning in common, [`blocks`] takes payload in and
//! [`ring`] gives it out. They know no machine, no clock and no format of bytes.

pub(crate) mod blocks;
pub(crate) mod counts;
pub(crate) mod list;
pub mod ranges;
pub(crate) mod ring;
pub(crate) mod slab;
pub(crate) mod tree;
