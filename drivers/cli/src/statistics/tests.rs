//! The counters of sessions, and when delivery stops.

use super::*;

const SESSION: Session = Session::new(*b"S         ");
const NOW: gapless_core::Instant = gapless_core::Instant::ZERO;

#[derive(Default)]
struct Taken(Vec<u64>);

impl Consumer for Taken {
    fn begin(&mut self, _session: Session, _next: u64) -> Result<(), Failure> {
        Ok(())
    }

    fn take(&mut self, batch: &Batch<&[u8]>) -> Result<(), Failure> {
        self.0.push(batch.first);
        match batch.first {
            13 => Err(Failure::content("thirteen")),
            _ => Ok(()),
        }
    }
}

fn batch(first: u64, count: u16) -> Batch<&'static [u8]> {
    Batch {
        session: SESSION,
        first,
        count,
        bytes: &[],
        offset: 0,
        arrival: NOW,
        origin: Origin::Line(LineId(0)),
        repaired: false,
    }
}

fn ledger(on_loss: bool) -> Ledger<Taken> {
    let mut ledger = Ledger::new(Taken::default(), Stops { on_loss, on_regress: true });
    ledger.notice(NOW, Command::SessionStarted { session: SESSION, next: 1 });
    ledger
}

fn filled(first: u64, last: u64, by_answers: u64) -> Command {
    let after = Duration::from_millis(2);
    Command::GapFilled { session: SESSION, first, last, by_lines: 1, by_answers, after }
}

fn lost(first: u64, last: u64) -> Command {
    Command::Lost { session: SESSION, first, last, reason: LossReason::GivenUp }
}

#[test]
fn gaps_are_distinguished_by_who_filled_them() {
    let mut ledger = ledger(false);
    for first in [5, 10, 15] {
        ledger.notice(NOW, Command::GapOpened { session: SESSION, first, last: first + 1 });
    }
    ledger.notice(NOW, filled(5, 6, 0));
    ledger.notice(NOW, filled(10, 11, 2));
    let stats = ledger.oldest().unwrap();
    assert_eq!((stats.gaps_filled_by_line, stats.gaps_filled_by_request), (1, 1));
    assert_eq!((stats.gaps, stats.missing().as_slice()), (3, &[(15, 16)][..]));
    assert_eq!(stats.repair_time.max(), 2_000);
}

#[test]
fn what_came_of_a_gap_is_not_missing_any_more() {
    let mut ledger = ledger(false);
    for (first, last) in [(5, 8), (9, 12), (20, 21)] {
        ledger.notice(NOW, Command::GapOpened { session: SESSION, first, last });
    }
    ledger.batch(NOW, Batch { repaired: true, ..batch(7, 4) });
    assert_eq!(ledger.oldest().unwrap().missing().as_slice(), [(5, 6), (11, 12), (20, 21)]);
}

#[test]
fn what_is_lost_of_a_gap_is_not_missing_any_more() {
    let mut ledger = ledger(false);
    ledger.notice(NOW, Command::GapOpened { session: SESSION, first: 5, last: 20 });
    ledger.notice(NOW, lost(8, 10));
    assert_eq!(ledger.oldest().unwrap().missing().as_slice(), [(5, 7), (11, 20)]);
}

#[test]
fn what_was_withdrawn_is_not_missing() {
    let mut ledger = ledger(false);
    ledger.notice(NOW, Command::GapOpened { session: SESSION, first: 5, last: 20 });
    ledger.notice(NOW, Command::Withdrawn { session: SESSION, first: 8, last: 20 });
    let stats = ledger.oldest().unwrap();
    assert_eq!((stats.missing().as_slice(), stats.claims_withdrawn), (&[(5, 7)][..], 1));
}

#[test]
fn a_range_that_is_stalled_again_is_not_said_again() {
    let mut ledger = ledger(false);
    let stalls = |ledger: &mut Ledger<Taken>, last| {
        ledger.notice(NOW, Command::Stalled { session: SESSION, first: 5, last });
        ledger.sessions_mut().next().unwrap().take_stalled()
    };
    assert_eq!(stalls(&mut ledger, 9), Some((5, 9)));
    assert_eq!(stalls(&mut ledger, 9), None);
    assert_eq!(stalls(&mut ledger, 12), Some((5, 12)));
    assert_eq!(ledger.oldest().unwrap().stalls, 2);
}

#[test]
fn messages_with_two_contents_are_counted_and_the_last_is_named() {
    let mut ledger = ledger(false);
    let [first, dropped] = [0, 1].map(|line| Origin::Line(LineId(line)));
    for (sequence, held) in [(7, Some(first)), (8, None), (9, Some(first))] {
        let session = SESSION;
        ledger.notice(NOW, Command::Contradiction { session, sequence, held, dropped });
    }
    let stats = ledger.oldest().unwrap();
    assert_eq!(stats.contradictions, 3);
    assert_eq!(
        stats.contradicted.unwrap().words(SESSION),
        "message 9 of session S came again with other bytes: those of line A are kept, those of \
         line B are not"
    );
}

#[test]
fn nothing_is_missing_behind_the_end() {
    let mut ledger = ledger(false);
    ledger.notice(NOW, Command::GapOpened { session: SESSION, first: 5, last: 20 });
    let reason = SessionEnd::Ended;
    ledger.notice(NOW, Command::SessionEnded { session: SESSION, next: 5, reason });
    assert!(ledger.oldest().unwrap().missing().is_empty());
}

#[test]
fn the_next_number_lies_behind_what_was_delivered_or_lost() {
    let mut ledger = ledger(false);
    ledger.batch(NOW, batch(1, 4));
    ledger.notice(NOW, lost(5, 9));
    let stats = ledger.oldest().unwrap();
    assert_eq!((stats.next, stats.delivered, stats.lost.messages()), (10, 4, 5));
}

#[test]
fn after_a_halt_the_next_number_is_the_first_one_lost() {
    let mut ledger = ledger(true);
    ledger.batch(NOW, batch(1, 4));
    ledger.notice(NOW, lost(5, 9));
    ledger.notice(NOW, Command::Halted { session: SESSION, next: 10 });
    assert!(ledger.halted);
    assert_eq!(ledger.oldest().unwrap().next, 5);
}

#[test]
fn nothing_is_handed_on_after_a_failure() {
    let mut ledger = ledger(false);
    for first in [12, 13, 14] {
        ledger.batch(NOW, batch(first, 1));
    }
    assert!(ledger.take_failure().is_some());
    assert_eq!(ledger.consumer.0, [12, 13]);
}

#[test]
fn nothing_is_handed_on_after_a_sender_started_over() {
    let mut ledger = ledger(false);
    ledger.batch(NOW, batch(1, 4));
    let line = LineId(0);
    ledger.notice(NOW, Command::SequenceRegressed { line, session: SESSION, highest: 4, seen: 1 });
    ledger.batch(NOW, batch(5, 1));
    assert!(ledger.stopped);
    assert_eq!(ledger.consumer.0, [1]);
    let stats = ledger.oldest().unwrap();
    assert_eq!((stats.next, stats.regressions), (5, 1));
}

#[test]
fn losses_are_counted_by_their_reasons() {
    let mut ledger = ledger(false);
    ledger.notice(NOW, lost(5, 6));
    assert_eq!(ledger.oldest().unwrap().reasons(), "given up");
    let reason = LossReason::Unanswered;
    ledger.notice(NOW, Command::Lost { session: SESSION, first: 9, last: 9, reason });
    assert_eq!(ledger.oldest().unwrap().reasons(), "2 given up, 1 unanswered");
}

#[test]
fn sessions_are_taken_out_as_they_end() {
    let mut ledger = ledger(false);
    assert!(!ledger.oldest_ended());
    let reason = SessionEnd::Ended;
    ledger.notice(NOW, Command::SessionEnded { session: SESSION, next: 1, reason });
    assert!(ledger.oldest_ended());
    assert_eq!(ledger.take_oldest().unwrap().end, Some(reason));
    assert!(ledger.oldest().is_none());
}

#[test]
fn lines_are_letters_as_far_as_letters_go() {
    assert_eq!([0, 25, 26, 31].map(line_name), ["A", "Z", "27", "32"]);
}
