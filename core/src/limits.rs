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
    use crate::{
        Machine, Session, cache, demux, grouping, publisher, receiver, retransmitter, transmitter,
    };
    use alloc::string::{String, ToString};

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
