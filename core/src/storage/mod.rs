//! Containers that know no protocol: where machines keep what they hold, within bounds.
//!
//! [`slab`] gives a thing a number, [`tree`] keeps numbered things sorted, [`ranges`] keeps numbers that have a
//! meaning in common, [`blocks`] takes payload in and [`ring`] gives it out. They know no machine, no clock and
//! no format of bytes.

pub(crate) mod blocks;
pub(crate) mod counts;
pub mod ranges;
pub(crate) mod ring;
pub(crate) mod slab;
pub(crate) mod tree;
