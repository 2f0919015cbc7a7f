//! The configuration of a grouping, its refusals, and the names and facts of its tracks.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use crate::Session;
use crate::cache::{Limits, MAX_NAME};
use crate::limits::{OutOfRange, positive, within};

/// The most bytes that a session and an epoch add to a track's name: a slash, ten bytes in three characters
/// each, a dot and 20 digits.
pub(super) const MOST_ADDED: usize = 1 + 3 * Session::LEN + 1 + 20;

/// The configuration of a [`Grouping`](super::Grouping).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The feed's name, with which the names of its tracks begin. 1 to 972 bytes; there is no
    /// default.
    pub feed: String,
    /// Tells numberings apart where a venue uses session ids again; any number. `None` by default.
    pub epoch: Option<u64>,
    /// Messages in a group. 1 to 2^32-2, as many frames as a group can have; 512 by default. Never changed
    /// within a session: it decides what every number means.
    pub group_size: u32,
    /// The longest message in bytes. From 1; 65,535 by default. A longer one is not published: its frame is
    /// [`Absent`](crate::cache::Missing::Absent).
    pub max_message: u16,
    /// The publisher of the tracks, for the cache. Any number; 0 by default.
    pub publisher: u64,
    /// The limits of each track. A group of the longest messages must fit them. Where a track
    /// begins follows from its session, whatever `first_group` says. None by default.
    pub limits: Limits,
}

impl Config {
    /// A feed without an epoch: 512 messages a group, of any length, and tracks without limits.
    #[must_use]
    pub fn new(feed: impl Into<String>) -> Self {
        Self {
            feed: feed.into(),
            epoch: None,
            group_size: 512,
            max_message: u16::MAX,
            publisher: 0,
            limits: Limits::default(),
        }
    }

    /// The same with four messages of up to 1,024 bytes a group, as small caches hold them: for tests and fuzzers.
    #[must_use]
    pub fn small(feed: impl Into<String>) -> Self {
        Self { group_size: 4, max_message: 1024, ..Self::new(feed) }
    }

    /// The name of a session's track: `FEED/SESSION`, or `FEED/SESSION.EPOCH`.
    ///
    /// The session's name loses the spaces at its end; of the rest every byte that is no ASCII letter
    /// or digit, `-`, `_` or `~` is percent-encoded (RFC 3986 § 2.1), so that no two sessions share a
    /// name.
    #[must_use]
    pub fn track_name(&self, session: Session) -> String {
        let mut name = String::new();
        self.write_name(session, &mut name);
        name
    }

    /// As [`Config::track_name`], into a buffer.
    pub(super) fn write_name(&self, session: Session, name: &mut String) {
        name.clear();
        name.push_str(&self.feed);
        name.push('/');
        let bytes = session.as_bytes();
        // Only spaces: an id that ends with another blank is another id.
        let len = bytes.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
        for &byte in &bytes[..len] {
            if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
                name.push(byte.into());
            } else {
                // Writing into a string does not fail.
                let _ = write!(name, "%{byte:02X}");
            }
        }
        if let Some(epoch) = self.epoch {
            let _ = write!(name, ".{epoch}");
        }
    }

    /// The numbers that whoever reads its tracks must agree with.
    #[must_use]
    pub const fn info(&self) -> Info {
        Info { group_size: self.group_size, epoch: self.epoch, first: 1 }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let most = (MAX_NAME - MOST_ADDED) as u64;
        within("the length of feed", self.feed.len() as u64, 1..=most, "1 to 972 bytes")?;
        let most = u64::from(u32::MAX) - 1;
        within("group_size", self.group_size.into(), 1..=most, "1 to 2^32-2")?;
        positive("max_message", self.max_message.into())?;
        let Limits { max_group_bytes, max_group_frames, .. } = self.limits;
        let (messages, longest) = (self.group_size, self.max_message);
        let bytes = u64::from(messages) * u64::from(longest);
        if max_group_bytes > 0 && bytes > max_group_bytes {
            return Err(Error::GroupBytes { messages, longest, limit: max_group_bytes });
        }
        if max_group_frames > 0 && messages > max_group_frames {
            return Err(Error::GroupFrames { messages, limit: max_group_frames });
        }
        Ok(())
    }
}

/// The numbers that decide which message every group and index of a track stands for. Whoever carries a track on,
/// or reads one, compares them first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Info {
    /// Messages in a group.
    pub group_size: u32,
    /// The epoch, if the track has one.
    pub epoch: Option<u64>,
    /// The number of the message that is frame 0 of group 0: 1 of every MoldUDP64 session.
    pub first: u64,
}

impl Info {
    /// Checks that these numbers mean the same as those of another track info.
    ///
    /// # Errors
    /// They do not; in words, with both values.
    pub fn agrees_with(&self, theirs: &Self) -> Result<(), Mismatch> {
        if self == theirs { Ok(()) } else { Err(Mismatch { ours: *self, theirs: *theirs }) }
    }
}

/// Two sides number a track in different ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", self.in_words())]
pub struct Mismatch {
    /// The numbers here.
    pub ours: Info,
    /// The numbers there.
    pub theirs: Info,
}

impl Mismatch {
    /// Says the first difference, with both values.
    fn in_words(&self) -> String {
        let Self { ours, theirs } = self;
        let epoch = |info: &Info| match info.epoch {
            Some(epoch) => format!("epoch {epoch}"),
            None => "a track without an epoch".into(),
        };
        if ours.group_size != theirs.group_size {
            format!("groups have {} messages here and {} there", ours.group_size, theirs.group_size)
        } else if ours.first != theirs.first {
            format!("the first message is number {} here and {} there", ours.first, theirs.first)
        } else {
            format!("this is {}, that is {}", epoch(ours), epoch(theirs))
        }
    }
}

/// How an embedding program can misuse a grouping.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// A configured value leaves its range.
    #[error(transparent)]
    Config(#[from] OutOfRange),
    /// A group of the longest messages is larger than the track's limit.
    #[error("{messages} messages of up to {longest} bytes are more than a group's {limit} bytes")]
    GroupBytes {
        /// Messages in a group.
        messages: u32,
        /// The longest message, in bytes.
        longest: u16,
        /// The bytes that a group may have.
        limit: u64,
    },
    /// A group has more messages than the track's limit.
    #[error("{messages} messages are more than a group's {limit} frames")]
    GroupFrames {
        /// Messages in a group.
        messages: u32,
        /// The frames that a group may have.
        limit: u32,
    },
    /// Something of a session that did not start, or that two others have followed.
    #[error("session {0} did not start")]
    NotStarted(Session),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grouping::Grouping;
    use alloc::string::ToString;

    fn session(name: &str) -> Session {
        Session::from_name(name.as_bytes()).unwrap()
    }

    fn made(config: Config) -> Result<Grouping, Error> {
        Grouping::new(config)
    }

    #[test]
    fn names_say_feed_session_and_epoch_and_no_two_sessions_share_one() {
        let mut config = Config::new("venue/itch");
        assert_eq!(config.track_name(session("MONDAY")), "venue/itch/MONDAY");
        assert_eq!(config.track_name(session(" A.B/C% ")), "venue/itch/%20A%2EB%2FC%25");
        assert_eq!(config.track_name(session("A_b-c~9")), "venue/itch/A_b-c~9");
        assert_eq!(config.track_name(Session::new([0xFF; 10])).len(), 11 + 30);
        assert_eq!(config.track_name(Session::new(*b"TAB\t      ")), "venue/itch/TAB%09");
        assert_eq!(config.track_name(session("")), "venue/itch/");
        config.epoch = Some(u64::MAX);
        assert_eq!(config.track_name(session("MONDAY")), "venue/itch/MONDAY.18446744073709551615");
        assert_eq!(config.track_name(Session::new([0; 10])).len(), config.feed.len() + MOST_ADDED);
    }

    #[test]
    fn a_group_that_exceeds_the_limits_of_its_track_is_refused_in_words() {
        let limits = Limits { max_group_bytes: 1 << 20, ..Limits::default() };
        let config = Config { max_message: 2049, limits, ..Config::new("itch") };
        let refused = made(config.clone()).unwrap_err();
        let words = "512 messages of up to 2049 bytes are more than a group's 1048576 bytes";
        assert_eq!(refused.to_string(), words);
        assert!(made(Config { max_message: 2048, ..config }).is_ok());
        let limits = Limits { max_group_frames: 511, ..Limits::default() };
        let refused = made(Config { limits, ..Config::new("itch") }).unwrap_err();
        assert_eq!(refused.to_string(), "512 messages are more than a group's 511 frames");
    }

    #[test]
    fn values_that_leave_their_range_are_refused() {
        let config = Config::new("itch");
        for bad in [
            Config { group_size: 0, ..config.clone() },
            Config { group_size: u32::MAX, ..config.clone() },
            Config { max_message: 0, ..config.clone() },
            Config::new(""),
            Config::new("x".repeat(973)),
        ] {
            assert!(matches!(made(bad), Err(Error::Config(_))));
        }
        assert!(made(Config::new("x".repeat(972))).is_ok());
        assert!(made(Config { group_size: u32::MAX - 1, ..config }).is_ok());
    }

    #[test]
    fn infos_that_number_messages_in_other_ways_are_refused_in_words() {
        let ours = Config::new("itch").info();
        assert_eq!(ours.agrees_with(&ours), Ok(()));
        let words = |theirs: Info| ours.agrees_with(&theirs).unwrap_err().to_string();
        let size = words(Info { group_size: 256, ..ours });
        assert_eq!(size, "groups have 512 messages here and 256 there");
        let first = words(Info { first: 0, ..ours });
        assert_eq!(first, "the first message is number 1 here and 0 there");
        let epoch = words(Info { epoch: Some(3), ..ours });
        assert_eq!(epoch, "this is a track without an epoch, that is epoch 3");
    }
}
