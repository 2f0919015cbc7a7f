//! Tagged streams between drivers on loopback.

mod cuts;
mod dribble;
mod exchange;
mod held;
mod pair;
mod pauses;
mod random_acceptor;
