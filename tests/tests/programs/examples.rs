//! The examples of embedding: each runs as a program of its own over loopback, to its end.

use gapless_tests::program::{Ended, Program};

/// The lines that the examples over sockets print when they miss nothing, around how much was repaired.
const COMPLETE: (&str, &str) =
    ("received 10000 of 10000 messages: ", " repaired, 0 lost, 0 wrong, session ended\n");

fn run(example: &str) -> Ended {
    let ended = Program::example(example).wait();
    assert_eq!(ended.code, Some(0), "{example}: {ended:?}");
    ended
}

/// Checks that everything was received, and some of it repaired: the feed loses every eighth packet.
fn assert_complete(output: &str) {
    let repaired = output.strip_prefix(COMPLETE.0).and_then(|rest| rest.strip_suffix(COMPLETE.1));
    let repaired: u64 = repaired.and_then(|count| count.parse().ok()).expect(output);
    assert!(repaired >= 1000, "{output}");
}

#[test]
fn a_plain_blocking_loop_receives_everything() {
    assert_complete(&run("blocking_loop").output);
}

#[test]
fn a_mio_loop_of_ones_own_receives_everything() {
    assert_complete(&run("mio_loop").output);
}

#[test]
fn a_tokio_task_receives_everything() {
    assert_complete(&run("tokio_loop").output);
}

#[test]
fn an_io_uring_loop_receives_everything_or_says_that_there_is_none() {
    let output = run("io_uring_loop").output;
    if output != "skipped: this kernel allows no io_uring, or none with timeouts\n" {
        assert_complete(&output);
    }
}

#[test]
fn an_order_book_behind_a_bad_network_equals_the_one_that_missed_nothing() {
    let output = run("order_book").output;
    let rest = output.strip_prefix("20 books of 2000 messages are equal, after ");
    let gaps = rest.and_then(|rest| rest.strip_suffix(" gaps\n"));
    let gaps: u64 = gaps.and_then(|count| count.parse().ok()).expect(&output);
    assert!(gaps >= 1000, "{output}");
}
