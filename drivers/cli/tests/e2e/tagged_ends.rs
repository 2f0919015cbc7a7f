//! How a stream of `gapless stream` ends where one side has more to say than the other: commands that have had
//! enough or fail, and files that change while they are sent.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};

use crate::program::{Ended, Files, wait_until};
use crate::tagged::Listener;

#[test]
fn a_command_may_have_enough_of_a_stream_that_goes_one_way() {
    let files = Files::new();
    let input = files.noise("input", 64 << 20);
    let copy = files.path("copy");
    let listener = Listener::exec(&files, "--tag x --once", &format!("head -c 1000 > {copy}"));
    let sent = listener.send(&format!("--tag x --input {input} --unidirectional --json"));
    sent.assert_code(0);
    assert_eq!(sent.json()["end"], "enough");
    let taken = listener.program.wait();
    taken.assert_code(0);
    assert_eq!(taken.json()["end"], "enough");
    assert_eq!(files.read("copy"), files.read("input")[..1000]);
}

#[test]
fn a_command_that_reads_little_and_fails_is_no_success_at_either_end() {
    for direction in ["--answer /dev/null", "--unidirectional"] {
        let files = Files::new();
        let input = files.noise("input", 64 << 20);
        let command = "head -c 1000 > /dev/null; exec < /dev/null; sleep 1; exit 3";
        let listener = Listener::exec(&files, "--tag x --once", command);
        let sent = listener.send(&format!("--tag x --input {input} {direction}"));
        sent.assert_code(1);
        assert!(sent.errors.contains("its command failed"), "{}", sent.errors);
        listener.program.wait().assert_code(9);
    }
}

#[test]
fn the_answer_of_a_command_that_fails_is_not_lost() {
    for bytes in [1, 5_000_000] {
        let files = Files::new();
        let answer = files.noise("whole", bytes);
        let command = format!("cat {answer}; exit 3");
        let listener = Listener::exec(&files, "--tag x --count 2", &command);
        let sent = listener.send("--tag x --input /dev/null");
        sent.assert_code(1);
        assert!(sent.errors.contains("its command failed"), "{}", sent.errors);
        assert_eq!(sent.output.len(), bytes);
        assert!(sent.output == files.read("whole"));
        let to = files.path("answer");
        listener.send(&format!("--tag x --input /dev/null --answer {to}")).assert_code(1);
        files.assert_same("whole", "answer.part");
        listener.program.wait().assert_code(9);
    }
}

/// A file that something is done to when a part of it was sent, by its name or through standard input: how
/// the sender and the listener end.
fn changed(files: &Files, is_named: bool, change: impl FnOnce(&str)) -> (Ended, Ended) {
    let input = files.noise("input", 50_000_000);
    let (got, go, copy) = (files.path("got"), files.path("go"), files.path("copy"));
    // Nothing is read before the change but what lies in buffers.
    let command = format!(
        "head -c 1 > {got}; until [ -e {go} ]; do sleep 0.1; done; cat >> {got}; mv {got} {copy}"
    );
    let listener = Listener::exec(files, "--tag x --once", &command);
    let sender = match is_named {
        true => listener.sender(&format!("--tag x --input {input} --json")),
        false => listener.sender_from(File::open(&input).unwrap(), "--tag x --json"),
    };
    wait_until(|| fs::metadata(&got).is_ok_and(|got| got.len() == 1));
    change(&input);
    fs::write(go, "").unwrap();
    (sender.wait(), listener.program.wait())
}

#[test]
fn a_file_that_is_cut_short_while_it_is_sent_is_not_complete() {
    for is_named in [true, false] {
        let files = Files::new();
        let (sent, taken) = changed(&files, is_named, |input| {
            OpenOptions::new().write(true).open(input).unwrap().set_len(40_000_000).unwrap();
        });
        sent.assert_code(4);
        let words = "it had 50000000 bytes and was cut to 40000000 while it was read";
        assert!(sent.errors.contains(words), "{}", sent.errors);
        taken.assert_code(1);
        assert!(taken.errors.contains("it cannot read what it was sending"), "{}", taken.errors);
        assert!(!fs::exists(files.path("copy")).unwrap());
    }
}

#[test]
fn a_file_behind_standard_input_is_sent_from_where_it_stands() {
    let files = Files::new();
    let mut input = File::open(files.noise("input", 3_000_000)).unwrap();
    input.seek(SeekFrom::Start(1_000_000)).unwrap();
    let listener = Listener::start(&files, "--tag x --once");
    let sent = listener.sender_from(input, "--tag x --json --answer /dev/null").wait();
    sent.assert_code(0);
    assert_eq!(sent.json()["bytes"], 2_000_000);
    assert!(listener.program.wait().output == files.read("input")[1_000_000..]);
}

#[test]
fn what_is_added_to_a_file_while_it_is_sent_is_sent_too() {
    let files = Files::new();
    let (sent, taken) = changed(&files, true, |input| {
        OpenOptions::new().append(true).open(input).unwrap().write_all(b"more").unwrap();
    });
    sent.assert_code(0);
    taken.assert_code(0);
    files.assert_same("input", "copy");
}

#[test]
fn a_file_that_is_shorter_than_its_system_says_is_complete() {
    let Ok(there) = fs::read("/sys/kernel/mm/transparent_hugepage/enabled") else { return };
    let files = Files::new();
    let listener = Listener::start(&files, "--tag x --once");
    let input = "/sys/kernel/mm/transparent_hugepage/enabled";
    listener.send(&format!("--tag x --input {input}")).assert_code(0);
    assert_eq!(listener.program.wait().output, there);
}
