//! Tagged streams between drivers on loopback.

mod cuts;
mod dribble;
mod fickle;
mod held;
mod pair;
mod pauses;
mod talk;
