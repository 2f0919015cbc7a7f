//! The demo: complete, and seen to be.

use crate::program::{Files, gapless, shared};

#[test]
fn the_demo_is_complete_and_shows_a_table() {
    let ended = gapless("demo --messages 20000");
    ended.assert_code(0);
    let table = String::from_utf8(ended.output).unwrap();
    for words in ["20000 of 20000 delivered: complete", "line A", "line B", "gaps", "requests"] {
        assert!(table.contains(words), "{table}");
    }
}

#[test]
fn the_demo_reports_as_json_what_receiving_reports() {
    let ended = gapless("demo --messages 20000 --loss 5% --reorder 5% --duplicate 5% --json");
    ended.assert_code(0);
    let json = ended.json();
    assert_eq!(json["complete"], true);
    assert_eq!(json["delivered"], 20_000);
    for field in [
        "session",
        "first_sequence",
        "next_sequence",
        "lost",
        "lost_ranges",
        "gaps",
        "gaps_filled_by_line",
        "gaps_filled_by_request",
        "requests",
        "requested_messages",
        "elapsed_seconds",
    ] {
        assert!(!json[field].is_null(), "{field}");
    }
    for field in ["packets", "messages_first", "duplicates", "malformed", "kernel_drops"] {
        assert!(json["lines"][1][field].is_u64(), "{field}");
    }
}

#[test]
fn real_messages_on_bad_lines_are_complete_for_several_seeds() {
    let Some(sample) = shared("itch50-sample.bin") else { return };
    for seed in 1..=5 {
        let ended = gapless(&format!(
            "demo --input {} --loss 5% --reorder 5% --duplicate 5% --seed {seed} --json",
            sample.display()
        ));
        ended.assert_code(0);
        assert_eq!(ended.json()["delivered"], 12_012);
    }
}

#[test]
fn the_demo_takes_no_more_of_a_file_than_asked_for() {
    let files = Files::new();
    let ended = gapless(&format!("demo --input {} --messages 70", files.feed("feed.bin", 100)));
    ended.assert_code(0);
    assert!(String::from_utf8(ended.output).unwrap().contains("70 of 70 delivered"));
}

#[test]
fn a_torn_input_ends_the_demo_with_4() {
    let files = Files::new();
    let path = files.path("torn.bin");
    std::fs::write(&path, b"\0\x01A\0\x09torn").unwrap();
    let ended = gapless(&format!("demo --input {path}"));
    ended.assert_code(4);
    assert!(ended.errors.contains("offset 3"), "{}", ended.errors);
}
