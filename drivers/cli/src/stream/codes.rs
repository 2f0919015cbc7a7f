//! The codes that streams are refused and broken off with, in words: the core's, and those of this program.

use gapless_core::demux::{
    DEADLINE, FIN_IN_PREAMBLE, NO_ACCEPTOR, RESERVED, TOO_MANY, TOO_MANY_OF_PEER,
};

use crate::failure::Outcome;

/// Nothing is wrong.
pub(super) const FINE: u64 = 0;
/// The side that took the stream cannot write it.
pub(super) const CANNOT_STORE: u64 = 0x200;
/// The stream's command failed.
pub(super) const COMMAND_FAILED: u64 = 0x201;
/// The stream is longer than it may be.
pub(super) const TOO_LONG: u64 = 0x202;
/// The receiver of the stream needs no more of it.
pub(super) const ENOUGH: u64 = 0x203;
/// Somebody ended the program.
pub(super) const INTERRUPTED: u64 = 0x204;
/// The input that is being sent cannot be read.
pub(super) const CANNOT_READ: u64 = 0x205;
/// The other direction was broken off.
pub(super) const BROKEN_OFF: u64 = 0x206;
/// Next to nothing came of the stream for too long, while others waited.
pub(super) const IDLE: u64 = 0x207;
/// The stream's command took too long.
pub(super) const COMMAND_TOO_SLOW: u64 = 0x208;
/// The stream's command could not be started.
pub(super) const CANNOT_START: u64 = 0x209;
/// The stream's turn took too long, its client had too many, and others had none.
pub(super) const TURN_OVER: u64 = 0x20a;

/// The outcome of the program for a code that a stream was refused with, and the words for it.
pub(super) fn refusal(code: u64, tag: &str) -> (Outcome, String) {
    let why = match code {
        NO_ACCEPTOR => format!("nobody takes the tag {tag}"),
        DEADLINE => "its tag took too long to arrive".into(),
        TOO_MANY => "too many streams wait there".into(),
        TOO_MANY_OF_PEER => "too many streams of this client wait there".into(),
        RESERVED => format!("the tag {tag} is reserved for a protocol"),
        FIN_IN_PREAMBLE => "it ended before its tag was whole".into(),
        code => {
            let why = words(code).map_or_else(|| format!("code {code:#x}"), str::to_owned);
            return (Outcome::Lost, format!("the peer broke the stream off: {why}"));
        }
    };
    (Outcome::RefusedTag, format!("the peer refused the stream: {why}"))
}

/// The words for a code of this program, said of the side that gave it.
pub(super) const fn words(code: u64) -> Option<&'static str> {
    Some(match code {
        CANNOT_STORE => "it cannot write what came",
        COMMAND_FAILED => "its command failed",
        TOO_LONG => "the stream is longer than it allows",
        ENOUGH => "it needs no more of it",
        INTERRUPTED => "somebody ended the program there",
        CANNOT_READ => "it cannot read what it was sending",
        BROKEN_OFF => "the stream was broken off",
        IDLE => "next to nothing came for too long, and others waited",
        TURN_OVER => "its turn took too long, and others had none",
        COMMAND_TOO_SLOW => "its command took too long",
        CANNOT_START => "it cannot start its command",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_core_is_a_refusal_with_words_of_its_own() {
        let codes = [NO_ACCEPTOR, DEADLINE, TOO_MANY, TOO_MANY_OF_PEER, RESERVED, FIN_IN_PREAMBLE];
        let mut said: Vec<String> = Vec::new();
        for code in codes {
            let (outcome, words) = refusal(code, "logs");
            assert_eq!(outcome, Outcome::RefusedTag, "{words}");
            assert!(!said.contains(&words), "{words}");
            said.push(words);
        }
    }

    #[test]
    fn a_code_that_is_not_known_is_reported_as_a_number() {
        let (outcome, words) = refusal(0xbeef, "logs");
        assert_eq!(outcome, Outcome::Lost);
        assert!(words.ends_with("code 0xbeef"), "{words}");
    }
}
