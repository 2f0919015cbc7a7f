//! Tagged streams between drivers on loopback.

mod dribble;
mod pair;
mod talk;
