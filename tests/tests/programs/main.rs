//! The program `gapless` as its README says, and the examples of embedding, in processes of their own.

mod examples;
mod multicast_feeds;
mod readme;
mod stream_unreachable;
