//! Command lines that are taken, and those that are refused.

use std::time::Duration;

use super::*;
use crate::values::Begin;
use clap::CommandFactory;
use clap::error::ErrorKind;

fn parse(line: &str) -> Result<Command, clap::Error> {
    Cli::try_parse_from(line.split(' ')).map(|cli| cli.command)
}

fn publish(more: &str) -> Result<(), Failure> {
    let line = "gapless publish --to 127.0.0.1:1 --requests 127.0.0.1:0 --input";
    match parse(&format!("{line} {more}")) {
        Ok(Command::Publish(publish)) => publish.check(),
        other => panic!("{other:?}"),
    }
}

fn receive(more: &str) -> Receive {
    match parse(&format!("gapless receive --line 127.0.0.1:0{more}")) {
        Ok(Command::Receive(receive)) => receive,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_flag_of_publish_is_taken() {
    parse(
        "gapless publish --input - --format lines --to 127.0.0.1:1 --to 239.1.1.1:2@lo \
         --requests 127.0.0.1:0 --ttl 1 --receive-buffer 9000 --session S --first-sequence 7 --repeat 2 --rate 100 --mtu 500 \
         --loss 5% --reorder 0.05 --duplicate 1% --answer-loss 20% --seed 3 --linger 2.5 \
         --journal j --journal-commands --force --json",
    )
    .unwrap();
}

#[test]
fn every_flag_of_receive_is_taken() {
    let flags = " --line 239.1.1.1:2@lo --requests 127.0.0.1:9 --requests 127.0.0.2:9 \
                 --quota 100/1h,50000msg/1d --max-request 500 --source 127.0.0.1 --accept-answers any --receive-buffer 9000 \
                 --session S --from 7 --follow --output - --format lines --delivery ordered --timeout 1 \
                 --max-time 2 --give-up 0.5 --on-loss halt --resume state \
                 --journal j --journal-commands --force --json";
    receive(flags).check().unwrap();
}

#[test]
fn every_flag_of_demo_is_taken() {
    parse(
        "gapless demo --input f --messages 5 --loss 5% --reorder 5% --duplicate 5% --seed 7 \
         --journal j --journal-commands --force --json",
    )
    .unwrap();
}

#[test]
fn receiving_begins_at_the_start_only_where_somebody_can_be_asked() {
    assert_eq!(receive("").begin(), Begin::Live);
    assert_eq!(receive(" --requests 127.0.0.1:9").begin(), Begin::Start);
    assert_eq!(receive(" --requests 127.0.0.1:9 --from live").begin(), Begin::Live);
}

#[test]
fn less_is_waited_where_nobody_can_be_asked() {
    assert_eq!(receive("").give_up, None);
    assert_eq!(receive(" --give-up 0.25").give_up, Some(Duration::from_millis(250)));
}

#[test]
fn a_start_in_the_middle_needs_a_session() {
    assert!(receive(" --from 2").check().is_err());
    receive(" --from 2 --session S").check().unwrap();
    receive(" --from 1").check().unwrap();
}

#[test]
fn contradictions_of_receive_are_refused() {
    for more in [
        " --requests 127.0.0.1:9 --requests 127.0.0.1:9",
        " --requests 239.1.1.1:9",
        " --requests 127.0.0.1:0",
        " --requests 0.0.0.0:9",
        " --requests [::]:9",
        " --requests 127.0.0.1:9 --source ::1",
        " --requests 127.0.0.1:9 --source 239.1.1.1",
        " --resume state --delivery arrival",
        " --resume same --output same",
    ] {
        assert!(receive(more).check().is_err(), "{more}");
    }
}

#[test]
fn contradictions_of_publish_are_refused() {
    publish("feed.bin --session S").unwrap();
    publish("feed.pcap").unwrap();
    for more in [
        "feed.bin",
        "feed.bin --session S --flow 127.0.0.1:1",
        "feed.pcap --first-sequence 2",
        "feed.pcap --repeat 2",
        "- --session S --repeat 2",
        "feed.bin --session S --to 127.0.0.1:0",
        "feed.bin --session S --to 0.0.0.0:9",
        "feed.bin --session S --ttl 0",
    ] {
        assert!(publish(more).is_err(), "{more}");
    }
}

#[test]
fn a_session_name_that_is_too_long_is_a_usage_error() {
    let error = parse("gapless receive --line 127.0.0.1:0 --session ELEVEN-LONG").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ValueValidation);
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn what_is_no_address_is_refused_in_the_same_words_by_every_flag() {
    let publish = "gapless publish --input f";
    let form = "`nowhere` is no address: write HOST:PORT (localhost:5000, 127.0.0.1:5000, \
                [::1]:5000, [fe80::1%eth0]:5000)";
    for line in [
        "gapless receive --line nowhere".to_owned(),
        "gapless receive --line 127.0.0.1:0 --requests nowhere".to_owned(),
        format!("{publish} --requests 127.0.0.1:0 --to nowhere"),
        format!("{publish} --to 127.0.0.1:1 --requests nowhere"),
        format!("{publish} --to 127.0.0.1:1 --requests 127.0.0.1:0 --flow nowhere"),
        "gapless stream listen --tag t --listen nowhere".to_owned(),
    ] {
        let error = parse(&line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(form), "{error}");
    }
}

#[test]
fn a_receive_buffer_is_as_large_as_there_may_be() {
    assert_eq!(receive(" --receive-buffer 1073741823").receive_buffer, Some(1_073_741_823));
    for bytes in ["0", "-1", "1073741824", "99999999999", "8M"] {
        let line = format!("gapless receive --line 127.0.0.1:0 --receive-buffer={bytes}");
        assert_eq!(parse(&line).unwrap_err().exit_code(), 2, "{bytes}");
    }
}

#[test]
fn every_flag_of_replay_is_taken() {
    parse("gapless replay j --verify --print --from 3 --to 4 --json").unwrap();
    parse("gapless replay -").unwrap();
}

#[test]
fn what_is_printed_is_limited_only_where_something_is_printed() {
    for line in ["gapless replay j --from 3", "gapless replay j --to 3", "gapless replay"] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn what_is_printed_ends_no_earlier_than_it_begins() {
    let check = |line: &str| match parse(line).unwrap() {
        Command::Replay(replay) => replay.check(),
        other => panic!("{other:?}"),
    };
    check("gapless replay j --print --from 4 --to 4").unwrap();
    assert!(check("gapless replay j --print --from 5 --to 4").is_err());
}

#[test]
fn a_journal_is_a_file_of_its_own() {
    receive(" --journal j --output o --resume r").check().unwrap();
    for more in [" --journal -", " --journal o --output o", " --journal r --resume r"] {
        assert!(receive(more).check().is_err(), "{more}");
    }
    for input in ["feed.bin", "./feed.bin", "Cargo.toml", "../cli/Cargo.toml"] {
        let name = input.rsplit('/').next().unwrap();
        assert!(publish(&format!("{name} --session S --journal {input}")).is_err(), "{input}");
    }
    publish("Cargo.toml --session S --journal src/Cargo.toml").unwrap();
    assert!(receive(" --resume same --output src/../same").check().is_err());
    assert!(parse("gapless demo --journal-commands").is_err());
}

#[test]
fn every_flag_of_stream_is_taken() {
    for line in [
        "gapless stream listen --listen [::]:4433 --tag a --tag b --prefix c --output d --count 3 \
         --parallel 5 --max-bytes 9 --max-connections 7 --identity i --name host --name 10.0.0.1 \
         --client-ca f --idle-timeout 5 --json",
        "gapless stream listen --listen 127.0.0.1:0 --tag a --exec cat --once --cert c --key k \
         --exec-timeout 60 --stream-timeout 5 --drain 0",
        "gapless stream listen --listen 127.0.0.1:0 --tag a --output d --keep-parts 0",
        "gapless stream send quic://host:1 --tag a --input f --answer g --ca c --client-cert d \
         --client-key e --connect-timeout 1 --idle-timeout 500ms --json",
        "gapless stream send quic://[::1]:1 --tag a --unidirectional --insecure",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn contradictions_of_stream_are_refused() {
    let pin = "00".repeat(32);
    for line in [
        "gapless stream listen --listen 127.0.0.1:0 --tag a --output d --exec c".into(),
        "gapless stream listen --listen 127.0.0.1:0 --tag a --once --count 2".into(),
        "gapless stream listen --listen 127.0.0.1:0 --tag a --output d --exec-timeout 1".into(),
        "gapless stream listen --listen 127.0.0.1:0 --tag a --exec c --keep-parts 1".into(),
        "gapless stream listen --listen 127.0.0.1:0 --tag a --cert c".into(),
        "gapless stream listen --listen 127.0.0.1:0 --tag a --cert c --key k --identity d".into(),
        "gapless stream send quic://host:1".into(),
        "gapless stream send quic://host:1 --tag gapless:x".into(),
        format!("gapless stream send quic://host:1 --tag {}", "x".repeat(256)),
        format!("gapless stream send quic://host:1 --tag a --insecure --pin {pin}"),
        "gapless stream send quic://host:1 --tag a --pin 00".into(),
        "gapless stream send quic://host:1 --tag a --unidirectional --answer f".into(),
    ] {
        assert_eq!(parse(&line).unwrap_err().exit_code(), 2, "{line}");
    }
    let check_at = |address: &str, more: &str| {
        let line = format!("gapless stream listen --listen {address}{more}");
        match parse(&line).unwrap() {
            Command::Stream(Stream::Listen(listen)) => listen.check(),
            other => panic!("{other:?}"),
        }
    };
    let check = |more: &str| check_at("127.0.0.1:0", more);
    assert!(check_at("239.1.1.1:1", " --tag a").is_err());
    check(" --tag a").unwrap();
    check(" --tag a --tag b --output d").unwrap();
    for more in
        ["", " --tag a --tag b", " --prefix a", " --tag a --parallel 2", " --tag a --output -"]
    {
        assert!(check(more).is_err(), "{more}");
    }
}

#[test]
fn the_help_says_what_a_timeout_means_while_sessions_are_followed() {
    let mut command = Cli::command();
    let receive = command.find_subcommand_mut("receive").unwrap();
    let help = receive.render_long_help().to_string();
    let help: Vec<_> = help.split_whitespace().collect();
    assert!(help.join(" ").contains("with --follow, 0 if no session was under way"));
}

#[test]
fn the_form_of_a_report_is_found_without_parsing() {
    let form = |line: &str| form_of(line.split(' ').map(Into::into));
    assert_eq!(form("gapless receive --output -"), Form::Words);
    assert_eq!(form("gapless publish --input - --json"), Form::Json);
    for output in ["--output -", "--output=-", "--output /dev/stdout", "--output=/dev/stdout"] {
        assert_eq!(form(&format!("gapless receive --json {output}")), Form::JsonAside);
    }
    let stream = |line: &str| form(&format!("gapless stream {line} --json"));
    for line in ["send", "send --answer=-", "send --answer /dev/stdout", "listen --tag x"] {
        assert_eq!(stream(line), Form::JsonAside, "{line}");
    }
    for line in
        ["send --answer to", "send --unidirectional", "listen --output to", "listen --exec=a"]
    {
        assert_eq!(stream(line), Form::Json, "{line}");
    }
    assert_eq!(form("gapless replay -- --json"), Form::Words);
}

#[test]
fn what_is_wrong_with_a_command_line_is_reported_without_advice() {
    let what = |line: &str| what(&parse(line).unwrap_err().render().to_string()).to_owned();
    assert_eq!(what("gapless receive --bogus"), "unexpected argument '--bogus' found");
    let missing = "the following required arguments were not provided:\n  --line <ADDR>";
    assert_eq!(what("gapless receive"), missing);
    let loss = what("gapless demo --loss 200%");
    assert!(loss.starts_with("invalid value '200%' for '--loss <P>': "), "{loss}");
}
