//! Standard input, output and error as the world has them: closed, full, without a reader, non-blocking.

use std::fs::File;
use std::io::{Read, Write, pipe};
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::program::{Ended, Files, Port, Program, gapless, publisher};
use crate::tagged::Listener;

/// How long somebody who is slow does nothing.
const PAUSE: Duration = Duration::from_millis(300);

/// Runs it with a standard stream that a shell has redirected.
fn redirected(redirection: &str, line: &str) -> Ended {
    Program::start_in(&[], &format!("exec \"$@\" {redirection}"), line).wait()
}

/// A standard stream that does not block, and its other end.
fn non_blocking() -> (OwnedFd, UnixStream) {
    let (theirs, ours) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    (theirs.into(), ours)
}

/// Reads all, after a time that is long enough for whoever writes to fill what lies between.
fn slowly(mut from: impl Read) -> Vec<u8> {
    thread::sleep(PAUSE);
    let mut all = Vec::new();
    from.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn a_closed_standard_output_is_an_error_before_anything_is_taken() {
    let files = Files::new();
    let (output, journal) = (files.path("out"), files.path("journal"));
    let feed = files.feed("feed.bin", 10);
    for line in [
        "--help",
        "--version",
        "stream send --help",
        "demo",
        &format!("receive --line 127.0.0.1:0 --timeout 1 --output {output} --journal {journal}"),
        "receive --line 127.0.0.1:0 --timeout 1 --output -",
        &format!("publish --input {feed} --to 127.0.0.1:9 --requests 127.0.0.1:0 --session S"),
        "replay -",
        "stream listen --listen 127.0.0.1:0 --tag x",
        "stream send quic://127.0.0.1:9 --tag x --insecure",
    ] {
        for redirection in [">&-", "1</dev/null"] {
            let ended = redirected(redirection, line);
            assert_eq!(ended.code, Some(4), "{line} {redirection}: {}", ended.errors);
            let words = "cannot write to standard output: Bad file descriptor";
            assert!(ended.errors.contains(words), "{line} {redirection}: {}", ended.errors);
        }
    }
    assert_eq!(files.names(""), ["feed.bin"]);
}

#[test]
fn a_closed_standard_input_is_an_error_and_no_empty_input() {
    for line in [
        "publish --input - --to 127.0.0.1:9 --requests 127.0.0.1:0 --session S --linger 0",
        "replay -",
        "stream send quic://127.0.0.1:9 --tag x --insecure",
    ] {
        for redirection in ["<&-", "0>/dev/null"] {
            let ended = redirected(redirection, line);
            assert_eq!(ended.code, Some(4), "{line} {redirection}: {}", ended.errors);
            assert!(ended.errors.contains("standard input"), "{line}: {}", ended.errors);
            assert!(ended.errors.contains("Bad file descriptor"), "{line}: {}", ended.errors);
        }
    }
}

#[test]
fn a_closed_stream_is_an_error_by_its_path_too() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 10);
    let publish = "publish --to 127.0.0.1:9 --requests 127.0.0.1:0 --session S --linger 0";
    let send = "stream send quic://127.0.0.1:9 --tag x --insecure";
    for (redirection, line) in [
        ("<&-", format!("{publish} --input /dev/stdin")),
        ("<&-", format!("{publish} --input /proc/self/fd/0 --format pcap")),
        ("<&-", format!("{send} --input /dev/fd/0")),
        ("<&-", "replay /dev/stdin".into()),
        ("2>&-", "receive --line 127.0.0.1:0 --timeout 1 --output /dev/stderr --json".into()),
        ("2>&-", format!("{publish} --input {feed} --journal /dev/fd/2 --json")),
        ("2>&-", format!("{send} --input {feed} --answer /dev/stderr --json")),
    ] {
        let ended = redirected(redirection, &line);
        assert_eq!(ended.code, Some(4), "{line} {redirection}: {}", ended.errors);
        let said = ended.errors + str::from_utf8(&ended.output).unwrap();
        assert!(said.contains("Bad file descriptor"), "{line} {redirection}: {said}");
    }
    let open = format!("{publish} --input /dev/stdin --format lines");
    redirected("</dev/null", &open).assert_code(0);
}

#[test]
fn a_standard_output_that_was_meant_to_go_nowhere_does() {
    for redirection in [">/dev/null", "1<>/dev/null"] {
        redirected(redirection, "--help").assert_code(0);
        redirected(redirection, "demo --messages 100").assert_code(0);
    }
    // Lines that are written there are lost, and nobody misses them.
    redirected("2>&-", "demo --messages 100").assert_code(0);
}

#[test]
fn a_help_that_cannot_be_written_is_an_error() {
    for line in ["--help", "--version", "receive --help", "help publish"] {
        let ended = redirected(">/dev/full", line);
        ended.assert_code(4);
        assert!(ended.errors.contains("cannot write to standard output: No space"), "{line}");
    }
}

#[test]
fn a_reader_that_has_gone_ends_every_command_without_a_word() {
    let files = Files::new();
    let journal = files.path("journal");
    gapless(&format!("demo --messages 5000 --journal {journal}")).assert_code(0);
    for line in [
        "--help",
        "demo --messages 100",
        "demo --messages 100 --json",
        "receive --line 127.0.0.1:0 --timeout 0.1 --json",
        &format!("replay {journal}"),
        &format!("replay {journal} --print"),
    ] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let ended = Program::start_into(writer, line.split_whitespace()).wait();
        ended.assert_code(141);
        assert!(!ended.errors.contains("error"), "{line}: {}", ended.errors);
    }
}

#[test]
fn whoever_reads_the_beginning_of_a_feed_ends_its_receiver() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 30_000);
    let (mut reader, writer) = pipe().unwrap();
    let line = "receive --line 127.0.0.1:0 --from start --output -";
    let mut receive = Program::start_into(writer, line.split_whitespace());
    let to = [receive.address("line A on")];
    let publish = publisher(&to, Port::new().free(), &format!("--input {feed} --session FEED"));
    let mut beginning = [0; 10];
    reader.read_exact(&mut beginning).unwrap();
    drop(reader);
    let ended = receive.wait();
    ended.assert_code(141);
    assert!(!ended.errors.contains("error"), "{}", ended.errors);
    assert!(files.read("feed.bin").starts_with(&beginning));
    drop(publish);
}

#[test]
fn a_non_blocking_standard_output_is_waited_for() {
    let files = Files::new();
    let (feed, requests) = (files.feed("feed.bin", 30_000), Port::new());
    let (theirs, ours) = non_blocking();
    let line = format!(
        "receive --line 127.0.0.1:0 --from start --requests {} --output -",
        requests.address()
    );
    let mut receive = Program::start_into(theirs, line.split_whitespace());
    let to = [receive.address("line A on")];
    let publish =
        publisher(&to, requests.free(), &format!("--input {feed} --session FEED --rate 30000"));
    let received = slowly(ours);
    receive.wait().assert_code(0);
    assert!(received == files.read("feed.bin"));
    drop(publish);
}

#[test]
fn a_non_blocking_standard_input_is_waited_for() {
    let (theirs, mut ours) = non_blocking();
    let to = Port::new();
    let line = format!(
        "publish --input - --format lines --to {} --requests 127.0.0.1:0 --session S --linger 0 \
         --json",
        to.address()
    );
    let publish = Program::start_from(theirs, line.split_whitespace());
    for _ in 0..3 {
        thread::sleep(PAUSE);
        ours.write_all(b"line\n").unwrap();
    }
    drop(ours);
    let published = publish.wait();
    published.assert_code(0);
    assert_eq!(published.json()["messages"], 3);
}

#[test]
fn a_file_behind_standard_input_that_is_cut_short_is_an_error() {
    let files = Files::new();
    let feed = files.path("feed.txt");
    std::fs::write(&feed, "nineteen characters\n".repeat(500_000)).unwrap();
    let line = "publish --input - --format lines --to 127.0.0.1:9 --requests 127.0.0.1:0 --session S \
                --linger 0 --rate 20000 --json";
    let mut publish = Program::start_from(File::open(&feed).unwrap(), line.split_whitespace());
    publish.reported("requests on");
    File::options().write(true).open(feed).unwrap().set_len(0).unwrap();
    let ended = publish.wait();
    ended.assert_code(4);
    let words = "it had 10000000 bytes and was cut to 0 while it was read";
    assert!(ended.errors.contains(words), "{}", ended.errors);
    assert!(ended.json()["error"].as_str().unwrap().contains(words), "{}", ended.errors);
}

#[test]
fn what_is_printed_of_a_replay_waits_for_a_non_blocking_reader() {
    let files = Files::new();
    let journal = files.path("journal");
    gapless(&format!("demo --messages 20000 --journal {journal}")).assert_code(0);
    let whole = gapless(&format!("replay {journal} --print"));
    whole.assert_code(0);
    let events = |printed: &[u8]| {
        printed.split(|byte| *byte == b'\n').filter(|line| line.contains(&b'#')).count()
    };

    let (theirs, ours) = non_blocking();
    let line = format!("replay {journal} --print");
    let replay = Program::start_into(theirs, line.split_whitespace());
    let printed = slowly(ours);
    replay.wait().assert_code(0);
    assert!(printed.len() > 1 << 20, "it fits what lies between: {}", printed.len());
    assert_eq!(events(&printed), events(&whole.output));

    let (theirs, ours) = non_blocking();
    let mut replay = Command::new(env!("CARGO_BIN_EXE_gapless"))
        .args(format!("{line} --json").split_whitespace())
        .stdout(Stdio::null())
        .stderr(theirs)
        .spawn()
        .unwrap();
    assert_eq!(events(&slowly(ours)), events(&whole.output));
    assert!(replay.wait().unwrap().success());
}

#[test]
fn a_stream_waits_for_non_blocking_ends_on_both_sides() {
    let files = Files::new();
    let input = files.noise("input", 5_000_000);
    let (theirs, ours) = non_blocking();
    let listener = Listener::into(theirs, &files, "--tag x --once");
    let reader = thread::spawn(|| slowly(ours));
    let (theirs, mut ours) = non_blocking();
    let sender = listener.sender_from(theirs, "--tag x");
    thread::sleep(PAUSE);
    ours.write_all(&std::fs::read(input).unwrap()).unwrap();
    drop(ours);
    sender.wait().assert_code(0);
    listener.program.wait().assert_code(0);
    assert!(reader.join().unwrap() == files.read("input"));
}

/// A standard stream that takes no byte, and who does not read it.
fn full() -> (OwnedFd, UnixStream) {
    let (mut theirs, ours) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    while theirs.write(&[b'x'; 1 << 10]).is_ok() {}
    while theirs.write(b"x").is_ok() {}
    theirs.set_nonblocking(false).unwrap();
    (theirs.into(), ours)
}

#[test]
fn a_receiver_whose_output_nobody_reads_heeds_the_first_signal_and_names_its_losses() {
    let files = Files::new();
    let pipe = crate::program::fifo(&files, "pipe");
    for output in ["-", pipe.as_str()] {
        let (theirs, _ours) = full();
        let line = format!(
            "receive --line 127.0.0.1:0 --from start --give-up 0.1 --output {output} --json"
        );
        let mut receive = Program::start_into(theirs, line.split_whitespace());
        // A reader that has it open and does not read.
        let _reader = (output != "-").then(|| std::fs::File::open(&pipe).unwrap());
        let to = receive.address("line A on");
        let feed = crate::reports::Feed::new(to, b"UNREAD    ");
        feed.heartbeats(1);
        let message = "x".repeat(1_000);
        for number in 1..=100 {
            feed.send(number, &[&message]);
        }
        thread::sleep(PAUSE);
        receive.signal("INT");
        let ended = receive.wait();
        assert!(matches!(ended.code, Some(1 | 130)), "{:?}: {}", ended.code, ended.errors);
        assert!(ended.errors.contains("interrupted: "), "{}", ended.errors);
        assert!(ended.errors.contains("takes no more"), "{}", ended.errors);
        if output == "-" {
            assert!(ended.errors.contains("\"end\":\"interrupted\""), "{}", ended.errors);
        }
    }
}

#[test]
fn a_receiver_whose_output_nobody_reads_ends_when_its_time_is_over() {
    let (theirs, _ours) = full();
    let line = "receive --line 127.0.0.1:0 --from start --max-time 2 --output -";
    let mut receive = Program::start_into(theirs, line.split_whitespace());
    let feed = crate::reports::Feed::new(receive.address("line A on"), b"UNREAD    ");
    (0..3).for_each(|_| feed.send(1, &["one"]));
    let ended = receive.wait();
    ended.assert_code(3);
    assert!(ended.errors.contains("takes no more"), "{}", ended.errors);
    assert!(ended.errors.contains("end          timed out"), "{}", ended.errors);
}

#[test]
fn a_result_that_nobody_reads_keeps_nobody_from_the_end() {
    let (theirs, _ours) = full();
    let line = "receive --line 127.0.0.1:0 --json --stats 0.1";
    let mut receive = Program::start_into(theirs, line.split_whitespace());
    receive.reported("line A on");
    thread::sleep(PAUSE);
    receive.signal("INT");
    receive.wait().assert_code(130);
}

#[test]
fn statistics_that_nobody_reads_keep_no_feed_waiting() {
    let files = Files::new();
    let feed = files.feed("feed.bin", 100_000);
    let line = UdpSocket::bind("127.0.0.1:0").unwrap();
    line.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (theirs, _ours) = full();
    let publish = format!(
        "publish --input {feed} --to {} --requests 127.0.0.1:0 --session S --rate 50 --stats 0.1 --json",
        line.local_addr().unwrap()
    );
    let publish = Program::start_into(theirs, publish.split_whitespace());
    let mut packet = [0; 2048];
    while packet[10..18] < 100_u64.to_be_bytes()[..] {
        line.recv(&mut packet).unwrap();
    }
    publish.signal("INT");
    let ended = publish.wait();
    ended.assert_code(130);
    assert!(ended.errors.contains("standard output takes no more"), "{}", ended.errors);

    let (theirs, _ours) = full();
    let receive = "receive --line 127.0.0.1:0 --from start --stats 0.1 --json --output";
    let receive = format!("{receive} {}", files.path("copy"));
    let mut receive = Program::start_into(theirs, receive.split_whitespace());
    let feed = crate::reports::Feed::new(receive.address("line A on"), b"UNREAD    ");
    for number in 1..=20 {
        feed.send(number, &["one"]);
        thread::sleep(Duration::from_millis(20));
    }
    files.wait_for_length("copy", 20 * 5);
    receive.signal("INT");
    receive.wait().assert_code(130);
}

#[test]
fn no_command_waits_for_who_reads_its_result_when_a_signal_comes() {
    let files = Files::new();
    let (feed, journal) = (files.feed("feed.bin", 10), files.path("journal"));
    gapless(&format!("demo --messages 100 --journal {journal}")).assert_code(0);
    let listener = Listener::exec(&files, "--tag x", "cat > /dev/null");
    for line in [
        "demo --messages 10".to_owned(),
        format!("replay {journal}"),
        format!(
            "publish --input {feed} --to 127.0.0.1:9 --requests 127.0.0.1:0 --session S --linger 0"
        ),
        listener.sending(&format!("--tag x --input {feed} --unidirectional")),
    ] {
        let (theirs, _ours) = full();
        let program = Program::start_into(theirs, line.split_whitespace());
        program.wait_for_handler();
        thread::sleep(5 * PAUSE);
        program.signal("INT");
        let ended = program.wait();
        assert_eq!(ended.code, Some(130), "{line}: {}", ended.errors);
        assert!(ended.errors.contains("interrupted"), "{line}: {}", ended.errors);
    }
}

#[test]
fn a_replay_that_nobody_reads_heeds_the_first_signal() {
    let files = Files::new();
    let journal = files.path("journal");
    gapless(&format!("demo --messages 5000 --journal {journal}")).assert_code(0);
    let (theirs, _ours) = full();
    let line = format!("replay {journal} --print");
    let replay = Program::start_into(theirs, line.split_whitespace());
    replay.wait_for_handler();
    thread::sleep(PAUSE);
    replay.signal("INT");
    let ended = replay.wait();
    ended.assert_code(130);
    assert!(ended.errors.contains("nobody reads what is printed"), "{}", ended.errors);
}

#[test]
fn words_that_nobody_reads_keep_nobody_from_the_end() {
    let (theirs, _ours) = full();
    let mut receive = Command::new(env!("CARGO_BIN_EXE_gapless"))
        .args("receive --line 127.0.0.1:0 --max-time 0.5".split_whitespace())
        .stdout(Stdio::null())
        .stderr(theirs)
        .spawn()
        .unwrap();
    let mut code = None;
    for _ in 0..600 {
        code = receive.try_wait().unwrap();
        if code.is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    let _ = receive.kill();
    assert_eq!(code.and_then(|status| status.code()), Some(3));
}
