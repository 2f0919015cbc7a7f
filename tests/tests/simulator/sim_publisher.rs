//! A publisher and a receiver in the simulated network: the two sides of a feed, over bad lines and
//! with what the other side thinks of as hostile.

use gapless_core::publisher::Config;
use gapless_core::rate::Rate;
use gapless_core::{Duration, Session};
use gapless_tests::sim::{Broadcast, Chance, Random, plans, session};

fn session_id() -> Session {
    session("STATION")
}

fn broadcast(random: &mut Random, config: Config) -> Broadcast {
    Broadcast::draw(random, session_id(), config, Chance::percent(10))
}

#[test]
fn what_a_publisher_sends_over_two_bad_lines_arrives_complete() {
    plans(|random| {
        Broadcast::draw(random, session_id(), Config::new(session_id()), Chance::percent(20))
    });
}

#[test]
fn a_paced_publisher_with_a_small_ring_arrives_complete() {
    plans(|random| {
        let mut config = Config::new(session_id());
        let transmitter = config.transmitter.as_mut().unwrap();
        transmitter.ring = 2;
        let bytes_per_second = random.within(50_000..=1_000_000);
        transmitter.pace = Some(Rate { bytes_per_second, burst: random.within(0..=5000) });
        transmitter.flush_delay = random.span(Duration::ZERO..=Duration::from_millis(5));
        broadcast(random, config)
    });
}

#[test]
fn answers_at_a_low_rate_repair_everything_in_the_end() {
    plans(|random| {
        let mut config = Config::new(session_id());
        let bytes_per_second = random.within(20_000..=100_000);
        config.retransmitter.address_rate = Rate { bytes_per_second, burst: 3000 };
        broadcast(random, config)
    });
}

#[test]
fn small_packets_arrive_complete() {
    plans(|random| {
        let mut config = Config::new(session_id());
        config.transmitter.as_mut().unwrap().mtu = 80;
        config.retransmitter.mtu = 80;
        broadcast(random, config)
    });
}

#[test]
fn publishers_and_receivers_that_stop_starve_or_are_cut_off_go_on() {
    plans(|random| {
        let mut config = Config::new(session_id());
        // A receiver that comes late, or anew, still hears of the end.
        config.transmitter.as_mut().unwrap().end_linger = Duration::from_secs(300);
        broadcast(random, config).with_faults(random)
    });
}
