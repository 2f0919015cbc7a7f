//! How ids and reasons print.

/// Implements [`Display`](core::fmt::Display): for each form its words, with what it holds.
macro_rules! display {
    ($($type:ty { $($form:pat => $words:literal),* $(,)? })*) => {$(
        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self {
                    $($form => write!(f, $words),)*
                }
            }
        }
    )*};
}
pub(crate) use display;

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use crate::demux::{AcceptorId, Direction, PeerId, StreamId};
    use crate::receiver::{LineId, LossReason, Origin, ServerId, Source};
    use crate::retransmitter::LookUpId;
    use crate::wire::mold::Kind;

    #[test]
    fn ids_print_as_a_word_and_a_number_and_reasons_in_words() {
        let from = "127.0.0.1:9".parse().unwrap();
        let stream = StreamId { peer: PeerId(7), number: 4 };
        let printed = [
            LineId(0).to_string(),
            ServerId(31).to_string(),
            AcceptorId(u64::MAX).to_string(),
            stream.to_string(),
            LookUpId(3).to_string(),
            Source::LineFrom(LineId(1), from).to_string(),
            Origin::Server(ServerId(2)).to_string(),
            LossReason::NobodyToAsk.to_string(),
            Kind::EndOfSession.to_string(),
            Direction::Unidirectional.to_string(),
        ];
        let expected = [
            "line 0",
            "server 31",
            "acceptor 18446744073709551615",
            "stream 4 of peer 7",
            "look-up 3",
            "line 1 from 127.0.0.1:9",
            "server 2",
            "nobody to ask",
            "end of session",
            "unidirectional",
        ];
        assert_eq!(printed, expected);
    }
}
