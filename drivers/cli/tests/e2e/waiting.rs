//! A receiver without a session says what it waits for, where, and what comes instead.

use crate::program::receiver;
use crate::reports::Feed;

#[test]
fn a_receiver_without_a_session_says_where_it_waits_for_one() {
    let (mut receive, to) = receiver(2, "");
    let places = receive.reported("waiting for a session on ");
    assert_eq!(places, format!("line A ({}), line B ({})", to[0], to[1]));
    Feed::new(to[0], b"FEED      ").heartbeats(1);
    receive.reported("session FEED came");
    receive.stop().assert_code(130);
}

#[test]
fn a_receiver_of_a_certain_session_says_which_it_waits_for() {
    let (mut receive, _) = receiver(1, "--session FEED --from start");
    receive.reported("waiting for session FEED on line A");
    receive.stop().assert_code(130);
}

#[test]
fn a_wrong_session_over_a_live_feed_says_which_came_with_their_padding() {
    let (mut receive, to) = receiver(1, "--session FEED --from start");
    let padded = Feed::new(to[0], b"FEED\0\0\0\0\0\0");
    padded.send(1, &["one"]);
    let other = receive.reported("1 packet of other sessions: ");
    assert_eq!(other, r#""FEED\x00\x00\x00\x00\x00\x00" (1); wanted is "FEED      ""#);
    Feed::new(to[0], b"OTHER     ").heartbeats(1);
    padded.heartbeats(2);
    let ended = receive.stop();
    let json = ended.json();
    let sessions: Vec<_> = json["foreign_sessions"].as_array().unwrap().iter().collect();
    assert_eq!(sessions.len(), 2, "{json}");
    assert!(sessions.iter().any(|kept| kept["session"] == r"FEED\x00\x00\x00\x00\x00\x00"));
    assert_eq!(json["lines"][0]["foreign"], 7);
}

#[test]
fn a_session_whose_padding_is_no_space_can_be_named() {
    let (receive, to) = receiver(1, r"--session FEED\x00\x00\x00\x00\x00\x00 --from start");
    let feed = Feed::new(to[0], b"FEED\0\0\0\0\0\0");
    feed.send(1, &["one"]);
    feed.end(2);
    let ended = receive.wait();
    ended.assert_code(0);
    assert_eq!(ended.json()["delivered"], 1);
}
