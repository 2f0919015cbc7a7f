//! Containers that know no protocol: where machines keep what they hold, within bounds.
//!
//! [`slab`] gives a thing a number, and [`table`] does where all places are there from the start; [`tree`] keeps
//! numbered things sorted and [`list`] in rows, [`counts`] says how often a key is there, [`ranges`] keeps numbers
//! that have a meaning in common, [`blocks`] takes payload in and [`ring`] gives it out, and [`in_flight`] keeps
//! what was asked until it is answered. [`charge`] says what of it limits are about. They know no machine, no clock and
//! no format of bytes.

pub(crate) mod blocks;
pub(crate) mod charge;
pub(crate) mod counts;
pub(crate) mod in_flight;
pub(crate) mod list;
pub(crate) mod ranges;
pub(crate) mod ring;
pub(crate) mod slab;
pub(crate) mod table;
pub(crate) mod tree;
