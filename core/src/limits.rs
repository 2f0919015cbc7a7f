//! The ranges that configured values must lie in, and the error that says which one does not.

use core::ops::RangeInclusive;

/// A configured value leaves its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field} is {value}; it must be {range}")]
pub struct OutOfRange {
    /// The field of the configuration.
    pub field: &'static str,
    /// Its value; durations in nanoseconds.
    pub value: u64,
    /// The range that it must be in.
    pub range: &'static str,
}

/// Checks that a configured value lies within its limits, which `range` says in words.
pub(crate) fn within(
    field: &'static str,
    value: u64,
    limits: RangeInclusive<u64>,
    range: &'static str,
) -> Result<(), OutOfRange> {
    if limits.contains(&value) { Ok(()) } else { Err(OutOfRange { field, value, range }) }
}

/// Checks that a configured value is not zero.
pub(crate) fn positive(field: &'static str, value: u64) -> Result<(), OutOfRange> {
    within(field, value, 1..=u64::MAX, "positive")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{self, Cache};
    use crate::demux::{self, Demux};
    use crate::receiver::{self, LineId, Receiver};
    use crate::retransmitter::{self, Retransmitter};
    use crate::transmitter::{self, Transmitter};
    use crate::{Instant, Machine, Session, grouping, publisher};
    use alloc::string::{String, ToString};
    use bytes::Bytes;

    /// A small machine: what it takes when it is made, and at most.
    fn taken<M: Machine>(config: M::Config) -> (usize, usize) {
        let limit = M::memory_limit(&config);
        (M::new(config).unwrap().memory_used(), limit)
    }

    #[test]
    fn small_machines_take_some_kilobytes_when_they_are_made() {
        let session = Session::new(*b"SMALL     ");
        let taken = [
            taken::<receiver::Receiver>(receiver::Config::small()),
            taken::<transmitter::Transmitter>(transmitter::Config::small(session)),
            taken::<retransmitter::Retransmitter>(retransmitter::Config::small()),
            taken::<publisher::Publisher>(publisher::Config::small(session)),
            taken::<cache::Cache>(cache::Config::small()),
            taken::<demux::Demux>(demux::Config::small()),
        ];
        for (made, most) in taken {
            assert!(made <= 128 << 10 && most <= 1 << 20, "{taken:?}");
        }
        assert!(grouping::Grouping::new(grouping::Config::small("feed")).is_ok());
    }

    #[test]
    fn both_ends_of_a_range_lie_in_it() {
        assert!([2, 5].iter().all(|&value| within("ring", value, 2..=5, "2 to 5").is_ok()));
        assert!([1, 6].iter().all(|&value| within("ring", value, 2..=5, "2 to 5").is_err()));
        assert!(positive("end_interval", u64::MAX).is_ok());
    }

    #[test]
    fn a_value_outside_its_range_is_reported_with_the_range() {
        let refused = within("ring", 6, 2..=5, "2 to 5").unwrap_err();
        assert_eq!(refused.to_string(), "ring is 6; it must be 2 to 5");
        let refused = positive("end_interval", 0).unwrap_err();
        assert_eq!(refused.to_string(), "end_interval is 0; it must be positive");
    }
    /// A table of one kind of things, of which there are 1 to 64.
    const fn page(thing: usize) -> usize {
        64 * thing + 4 * 84
    }

    /// By the numbers of the configurations' documentation: whoever changes one changes what machines do at their limits.
    #[test]
    fn what_is_charged_is_what_the_documentation_says_on_every_target() {
        let config = cache::Config::new(1 << 20);
        let mut cache = Cache::new(config).unwrap();
        let mut charged = 1024 * 16 + 128 * 200;
        assert_eq!(cache.charged(), charged);
        let track = cache.create_track(Instant::ZERO, b"track", 0, cache::Limits::default());
        charged += page(288) + 5 + page(32);
        assert_eq!(cache.charged(), charged);
        let group = cache.append_group(Instant::ZERO, track.unwrap()).unwrap();
        charged += page(184);
        assert_eq!(cache.charged(), charged);
        cache.append(group, b"frame").unwrap();
        charged += page(112) + page(48) + 128 + 40;
        assert_eq!(cache.charged(), charged);
        cache.append_shared(group, Bytes::from_static(&[0; 5000]), 6000).unwrap();
        charged += 6000 + 40;
        assert_eq!(cache.charged(), charged);
        cache.open_reader(track.unwrap(), cache::Start::Oldest).unwrap();
        assert_eq!(cache.charged(), charged + page(80));

        let mut config =
            receiver::Config { lines: [LineId(0)].into(), ..receiver::Config::default() };
        let servers = 32 * (752 + 216) + 1 + 32 * 16 * 64;
        let tables = 1024 * 72 + (1 << 17) * 96 + (1 << 14) * (208 + 96) + 48 + servers;
        assert_eq!(Receiver::memory_limit(&config), (64 << 20) + tables);
        assert_eq!(Receiver::new(config.clone()).unwrap().charged(), tables);
        config.follow = true;
        let again = (1 << 14) * (208 + 96) + 48;
        assert_eq!(Receiver::memory_limit(&config), (64 << 20) + tables + again);

        let config = transmitter::Config::new(Session::new([0; 10]));
        assert_eq!(Transmitter::memory_limit(&config), 1024 * (1472 + 104) + 496);
        let config = retransmitter::Config::default();
        let beside = 256 * (1472 + 104) + 1024 * 32 + (64 + 1024) * 40;
        let index = (64 << 10) * 32 + 4 * 64;
        let blocks = ((64 << 20) - index) / (65_536 + 32);
        assert_eq!(Retransmitter::memory_limit(&config), (64 << 20) + beside + 65_507 + 40);
        let retransmitter = Retransmitter::new(config).unwrap();
        assert_eq!(retransmitter.charged(), index + blocks * 32 + beside);

        let mut demux = Demux::new(demux::Config::default()).unwrap();
        let (acceptor, tag) = (demux::AcceptorId(1), demux::Pattern::Exact(b"tag"));
        demux.register(Instant::ZERO, acceptor, tag, demux::Registrant::Application).unwrap();
        assert_eq!(demux.charged(), page(336));
        demux.pause(Instant::ZERO, acceptor);
        assert_eq!(demux.charged(), page(336) + page(40));
    }

    #[test]
    fn every_configured_field_says_its_default() {
        let sources = [
            include_str!("cache/config.rs"),
            include_str!("demux/config.rs"),
            include_str!("grouping/config.rs"),
            include_str!("publisher/config.rs"),
            include_str!("receiver/config.rs"),
            include_str!("retransmitter/config.rs"),
            include_str!("transmitter/config.rs"),
        ];
        for source in sources {
            let (_, fields) = source.split_once("pub struct Config {").expect("a configuration");
            let (fields, _) = fields.split_once("\n}\n").expect("its end");
            let mut docs = String::new();
            for line in fields.lines().map(str::trim) {
                match line.strip_prefix("///") {
                    Some(doc) => docs.push_str(doc),
                    None if line.starts_with("pub ") => {
                        assert!(
                            docs.contains("default"),
                            "{line} does not say its default: {docs}"
                        );
                        docs.clear();
                    }
                    None => {}
                }
            }
        }
    }
}
