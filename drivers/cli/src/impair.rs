//! A bad network, made on purpose: each line loses, delays and doubles packets by its own dice.
//!
//! All dice come from one seed, and every packet throws all of them, so that the same seed gives the
//! same losses whatever the other probabilities are.

use std::collections::VecDeque;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// How likely what is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Odds {
    /// A packet is not sent at all.
    pub(crate) loss: f64,
    /// A packet is sent after the next few packets.
    pub(crate) reorder: f64,
    /// A packet is sent twice.
    pub(crate) duplicate: f64,
}

/// The dice of one line, and the packets that they hold back.
#[derive(Debug)]
pub(crate) struct Dice<P> {
    odds: Odds,
    rng: Pcg64Mcg,
    held: VecDeque<Held<P>>,
}

#[derive(Debug)]
struct Held<P> {
    packet: P,
    /// Packets to let pass first.
    behind: u8,
}

impl<P: Clone> Dice<P> {
    /// A packet is held back behind at most this many others.
    const MAX_BEHIND: u8 = 4;

    /// The dice of stream number `stream`: a line, or the answers.
    pub(crate) fn new(odds: Odds, seed: u64, stream: u64) -> Self {
        let seed = seed.wrapping_add(stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { odds, rng: Pcg64Mcg::seed_from_u64(seed), held: VecDeque::new() }
    }

    /// Throws for one packet and sends what is to be sent now: the packet, its copy, and what was
    /// held back behind it. `false` when the packet is dropped.
    pub(crate) fn throw(&mut self, packet: P, mut send: impl FnMut(P)) -> bool {
        let lost = self.rng.random_bool(self.odds.loss);
        let delayed = self.rng.random_bool(self.odds.reorder);
        let doubled = self.rng.random_bool(self.odds.duplicate);
        let behind = self.rng.random_range(1..=Self::MAX_BEHIND);
        if lost {
            return false;
        }
        if doubled {
            send(packet.clone());
        }
        let delayed = if delayed {
            Some(Held { packet, behind })
        } else {
            send(packet);
            None
        };
        for held in &mut self.held {
            held.behind -= 1;
        }
        while let Some(at) = self.held.iter().position(|held| held.behind == 0) {
            if let Some(held) = self.held.remove(at) {
                send(held.packet);
            }
        }
        self.held.extend(delayed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The packets that come out of `0..count`, and those that were dropped.
    fn thrown(odds: Odds, seed: u64, stream: u64, count: u32) -> (Vec<u32>, Vec<u32>) {
        let mut dice = Dice::new(odds, seed, stream);
        let (mut sent, mut dropped) = (Vec::new(), Vec::new());
        for packet in 0..count {
            if !dice.throw(packet, |packet| sent.push(packet)) {
                dropped.push(packet);
            }
        }
        // The packets that are held back at the end go out behind packets that nothing happens to.
        dice.odds = Odds::default();
        for packet in count..count + u32::from(Dice::<u32>::MAX_BEHIND) {
            dice.throw(packet, |packet| sent.push(packet));
        }
        sent.retain(|&packet| packet < count);
        (sent, dropped)
    }

    const BAD: Odds = Odds { loss: 0.1, reorder: 0.1, duplicate: 0.1 };

    #[test]
    fn without_odds_every_packet_passes_in_order() {
        let (sent, dropped) = thrown(Odds::default(), 1, 0, 100);
        assert_eq!(sent, (0..100).collect::<Vec<_>>());
        assert!(dropped.is_empty());
    }

    #[test]
    fn every_packet_is_either_sent_or_dropped() {
        let (sent, dropped) = thrown(BAD, 1, 0, 10_000);
        for packet in 0..10_000 {
            assert_ne!(sent.contains(&packet), dropped.binary_search(&packet).is_ok());
        }
    }

    #[test]
    fn about_as_many_are_lost_as_the_odds_say() {
        let (_, dropped) = thrown(BAD, 1, 0, 10_000);
        assert!((800..1_200).contains(&dropped.len()), "{}", dropped.len());
    }

    #[test]
    fn a_delayed_packet_follows_at_most_a_few_later_ones() {
        let (sent, _) = thrown(Odds { reorder: 0.2, ..Odds::default() }, 1, 0, 10_000);
        let mut newest = 0;
        let mut late = 0;
        for &packet in &sent {
            newest = newest.max(packet);
            late += u32::from(packet < newest);
            // Packets behind which it is held may be held themselves.
            assert!(newest - packet < 40);
        }
        assert!((1_500..2_500).contains(&late), "{late}");
    }

    #[test]
    fn where_every_packet_is_delayed_all_of_them_still_come() {
        let (mut sent, _) = thrown(Odds { reorder: 1.0, ..Odds::default() }, 1, 0, 1_000);
        assert!(!sent.is_sorted());
        sent.sort_unstable();
        assert_eq!(sent, (0..1_000).collect::<Vec<_>>());
    }

    #[test]
    fn the_same_seed_throws_the_same() {
        assert_eq!(thrown(BAD, 7, 1, 1_000), thrown(BAD, 7, 1, 1_000));
    }

    #[test]
    fn each_line_and_each_seed_has_its_own_dice() {
        let one = thrown(BAD, 7, 0, 1_000);
        assert_ne!(one, thrown(BAD, 7, 1, 1_000));
        assert_ne!(one, thrown(BAD, 8, 0, 1_000));
    }

    #[test]
    fn losses_do_not_depend_on_the_other_odds() {
        let only_loss = thrown(Odds { loss: 0.1, ..Odds::default() }, 7, 0, 1_000);
        assert_eq!(only_loss.1, thrown(BAD, 7, 0, 1_000).1);
    }
}
