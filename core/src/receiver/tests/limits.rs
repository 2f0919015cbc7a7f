//! What is kept and what goes when a limit is reached, and what is lost when nobody can be asked.

use super::*;

/// One line and nobody to ask.
fn alone() -> Config {
    Config { lines: vec![A], servers: vec![], ..config() }
}

#[test]
fn one_line_without_a_server_gives_up_what_a_reordering_would_have_brought_by_now() {
    let mut bench = Bench::new(alone());
    bench.line(0, A, data(1, 1));
    for number in 3..8 {
        bench.line(10, A, data(number, number));
    }
    bench.pass(29);
    assert_eq!(bench.told(|c| matches!(c, Command::Lost { .. })), 0);
    bench.pass(30);
    assert!(bench.told.contains(&lost(2, 2, LossReason::GivenUp)));
    assert_eq!(bench.delivered, numbers(&[(1, 1), (3, 7)]));
}

#[test]
fn an_explicit_time_to_give_up_wins() {
    let mut bench = Bench::new(Config { give_up: Some(Duration::from_secs(1)), ..alone() });
    bench.line(0, A, data(1, 1));
    for number in 3..8 {
        bench.line(10, A, data(number, number));
    }
    bench.pass(1009);
    assert_eq!(bench.told(|c| matches!(c, Command::Lost { .. })), 0);
    bench.pass(1010);
    assert!(bench.told.contains(&lost(2, 2, LossReason::GivenUp)));
}

#[test]
fn another_line_or_a_server_is_waited_for_as_soon_as_there_is_one() {
    for event in [Event::AddLine(B), Event::AddServer(SERVER, address(1))] {
        let mut bench = Bench::new(alone());
        bench.line(0, A, data(1, 1));
        for number in 3..8 {
            bench.line(10, A, data(number, number));
        }
        bench.receiver.handle(at(20), event).unwrap();
        bench.drain();
        bench.pass(5009);
        assert_eq!(bench.told(|c| matches!(c, Command::Lost { .. })), 0);
        bench.pass(5010);
        assert!(bench.told.contains(&lost(2, 2, LossReason::GivenUp)));
    }
}
