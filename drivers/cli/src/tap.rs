//! Between the publisher and its sockets: throws each line's dice, and keeps book of what every line
//! sent and dropped, by session.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use gapless_core::Session;
use gapless_core::wire::mold::{Header, Kind};
use gapless_mio::Tap;

use crate::impair::{Dice, Odds};
use crate::ranges::Ranges;

/// The packets of one session on one line.
#[derive(Clone, Default, Debug)]
pub(crate) struct LineBook {
    /// Packets sent, duplicates, heartbeats and ends included.
    pub(crate) sent: u64,
    /// Packets dropped by the dice.
    pub(crate) dropped_packets: u64,
    /// The messages in them.
    pub(crate) dropped: Ranges,
}

/// The packets of a session that were given to the lines, each once however many lines there are.
#[derive(Clone, Default, Debug)]
pub(crate) struct SessionBook {
    /// Packets, heartbeats and ends included.
    pub(crate) packets: u64,
    /// Numbers of the messages.
    pub(crate) numbers: Ranges,
    /// The highest number that is known to come next.
    pub(crate) next: u64,
}

/// Lines that lose, delay and double, and answers that get lost.
#[derive(Debug)]
pub(crate) struct BadNetwork {
    sessions: BTreeMap<Session, SessionBook>,
    lines: Vec<Line>,
    answers: Dice<()>,
    answers_dropped: u64,
}

#[derive(Debug)]
struct Line {
    dice: Dice<Bytes>,
    book: BTreeMap<Session, LineBook>,
}

/// The dice of answers, apart from those of any line.
const ANSWERS: u64 = u64::MAX;

impl BadNetwork {
    /// `lines` lines of the same odds, each with its own dice.
    pub(crate) fn new(lines: usize, odds: Odds, answer_loss: f64, seed: u64) -> Self {
        let line = |number| Line { dice: Dice::new(odds, seed, number), book: BTreeMap::new() };
        let answers = Odds { loss: answer_loss, ..Odds::default() };
        Self {
            sessions: BTreeMap::new(),
            lines: (0..lines as u64).map(line).collect(),
            answers: Dice::new(answers, seed, ANSWERS),
            answers_dropped: 0,
        }
    }

    /// The sessions that were given to the lines.
    pub(crate) fn sessions(&self) -> &BTreeMap<Session, SessionBook> {
        &self.sessions
    }

    /// The packets of `session` on each line.
    pub(crate) fn lines(&self, session: Session) -> Vec<LineBook> {
        let book = |line: &Line| line.book.get(&session).cloned().unwrap_or_default();
        self.lines.iter().map(book).collect()
    }

    /// Answers that got lost.
    pub(crate) fn answers_dropped(&self) -> u64 {
        self.answers_dropped
    }
}

impl Tap for BadNetwork {
    fn line(&mut self, number: usize, packet: Bytes, mut send: impl FnMut(Bytes)) {
        let Some(Line { dice, book }) = self.lines.get_mut(number) else { return };
        let Some(header) = Header::read(&packet) else { return };
        if number == 0 {
            self.sessions.entry(header.session).or_default().add(header);
        }
        let book = book.entry(header.session).or_default();
        if !dice.throw(packet, |packet| {
            book.sent += 1;
            send(packet);
        }) {
            book.dropped_packets += 1;
            if let Some((first, last)) = numbers(header) {
                book.dropped.insert(first, last);
            }
        }
    }

    fn answer(&mut self, _to: SocketAddr, _packet: &[u8]) -> bool {
        let passes = self.answers.throw((), |()| {});
        self.answers_dropped += u64::from(!passes);
        passes
    }
}

impl SessionBook {
    fn add(&mut self, header: Header) {
        self.packets += 1;
        let next = match numbers(header) {
            Some((first, last)) => {
                self.numbers.insert(first, last);
                last.saturating_add(1)
            }
            None => header.sequence,
        };
        self.next = self.next.max(next);
    }

    /// Number of the first message, or of the one that would have been.
    pub(crate) fn first(&self) -> u64 {
        self.numbers.as_slice().first().map_or(self.next, |&(first, _)| first)
    }
}

/// First and last number in a packet; `None` in heartbeats and ends.
fn numbers(header: Header) -> Option<(u64, u64)> {
    let last = header.sequence.saturating_add(u64::from(header.count).saturating_sub(1));
    (header.kind() == Kind::Data).then_some((header.sequence, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Session = Session::new(*b"S         ");

    fn packet(sequence: u64, count: u16) -> Bytes {
        Bytes::copy_from_slice(&Header { session: SESSION, sequence, count }.to_bytes())
    }

    fn network(loss: f64) -> BadNetwork {
        BadNetwork::new(2, Odds { loss, ..Odds::default() }, loss, 1)
    }

    #[test]
    fn what_a_line_drops_is_named() {
        let mut network = network(1.0);
        network.line(1, packet(1, 3), |_| panic!("sent"));
        network.line(1, packet(4, 2), |_| panic!("sent"));
        network.line(1, packet(6, 0xFFFF), |_| panic!("sent"));
        let [a, b] = &network.lines(SESSION)[..] else { panic!() };
        assert!(a.dropped.is_empty());
        assert_eq!(b.dropped.as_slice(), [(1, 5)]);
        assert_eq!((b.sent, b.dropped_packets), (0, 3));
    }

    #[test]
    fn a_session_is_reported_once_however_many_lines_there_are() {
        let mut network = network(0.5);
        for line in 0..2 {
            network.line(line, packet(3, 2), drop);
            network.line(line, packet(5, 0), drop);
        }
        let book = &network.sessions()[&SESSION];
        assert_eq!((book.packets, book.numbers.messages()), (2, 2));
        assert_eq!((book.first(), book.next), (3, 5));
    }

    #[test]
    fn what_is_sent_twice_counts_twice() {
        let odds = Odds { duplicate: 1.0, ..Odds::default() };
        let mut network = BadNetwork::new(1, odds, 0.0, 1);
        network.line(0, packet(1, 3), drop);
        assert_eq!(network.lines(SESSION)[0].sent, 2);
    }

    #[test]
    fn answers_are_lost_by_their_own_odds_only() {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        assert!(!network(1.0).answer(nobody, &[]));
        let mut lossy_lines = BadNetwork::new(1, Odds { loss: 1.0, ..Odds::default() }, 0.0, 1);
        assert!(lossy_lines.answer(nobody, &[]));
        assert_eq!(lossy_lines.answers_dropped(), 0);
    }
}
