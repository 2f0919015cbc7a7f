//! `gapless stream`: what is sent is what is taken, by files, commands and pipes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::program::{Ended, Files, Program, skip, wait_until};

/// A running listener.
pub(crate) struct Listener {
    pub(crate) program: Program,
    /// Where it listens, as a URL.
    pub(crate) url: String,
    pub(crate) fingerprint: String,
}

impl Listener {
    /// Starts one on a port of the system's choice.
    pub(crate) fn start(files: &Files, arguments: &str) -> Self {
        Self::with(files, arguments.split_whitespace().map(str::to_owned).collect())
    }

    /// One that runs a command for each stream.
    pub(crate) fn exec(files: &Files, arguments: &str, command: &str) -> Self {
        let mut all: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        all.extend(["--exec".to_owned(), command.to_owned()]);
        Self::with(files, all)
    }

    fn with(files: &Files, arguments: Vec<String>) -> Self {
        Self::at("127.0.0.1:0", files, arguments)
    }

    /// Starts one at an address.
    pub(crate) fn at(address: &str, files: &Files, arguments: Vec<String>) -> Self {
        Self::of(Program::start(Self::line(address, files, arguments)))
    }

    /// Starts one with a standard output that is read by somebody else, or by nobody.
    pub(crate) fn into(output: impl Into<Stdio>, files: &Files, arguments: &str) -> Self {
        let arguments = arguments.split_whitespace().map(str::to_owned).collect();
        Self::of(Program::start_into(output, Self::line("127.0.0.1:0", files, arguments)))
    }

    fn line(address: &str, files: &Files, arguments: Vec<String>) -> Vec<String> {
        let identity = files.path("identity");
        let first = ["stream", "listen", "--json", "--listen", address, "--identity", &identity];
        first.into_iter().map(str::to_owned).chain(arguments).collect()
    }

    fn of(mut program: Program) -> Self {
        let url = format!("quic://{}", program.address("listening on"));
        let fingerprint = program.reported("fingerprint");
        Self { program, url, fingerprint }
    }

    /// Starts somebody who sends to it.
    pub(crate) fn sender(&self, arguments: &str) -> Program {
        Program::start(self.sending(arguments).split_whitespace())
    }

    /// Starts somebody who sends what is given to them on standard input.
    pub(crate) fn sender_from(&self, input: impl Into<Stdio>, arguments: &str) -> Program {
        Program::start_from(input, self.sending(arguments).split_whitespace())
    }

    /// The command line of somebody who sends to it.
    pub(crate) fn sending(&self, arguments: &str) -> String {
        format!("stream send {} --pin {} {arguments}", self.url, self.fingerprint)
    }

    /// Sends to it.
    pub(crate) fn send(&self, arguments: &str) -> Ended {
        self.sender(arguments).wait()
    }
}

#[test]
fn streams_of_any_length_arrive_as_they_are() {
    let files = Files::new();
    let inbox = files.path("inbox");
    let listener = Listener::start(&files, &format!("--tag size --output {inbox} --count 6"));
    let sizes = [0, 1, 1_199, 65_536, 1_000_003, 100 << 20];
    for (size, number) in sizes.into_iter().zip(1..) {
        let input = files.noise("input", size);
        let sent = listener.send(&format!("--tag size --input {input} --json --answer /dev/null"));
        sent.assert_code(0);
        let sent = sent.json();
        assert_eq!((&sent["bytes"], &sent["end"]), (&size.into(), &"complete".into()));
        assert_eq!(sent["fingerprint"], listener.fingerprint);
        // After the report that it is complete it is complete.
        files.assert_same("input", &format!("inbox/size.{number:06}"));
    }
    let taken = listener.program.wait();
    taken.assert_code(0);
    let taken = taken.objects();
    let bytes: Vec<u64> = taken.iter().map(|stream| stream["bytes"].as_u64().unwrap()).collect();
    assert_eq!(bytes, sizes.map(|size| size as u64));
    assert!(taken.iter().all(|stream| stream["end"] == "complete"));
}

#[test]
fn a_stream_that_goes_one_way_arrives_too() {
    let files = Files::new();
    let inbox = files.path("inbox");
    let listener = Listener::start(&files, &format!("--tag logs --output {inbox} --once"));
    let input = files.noise("input", 3_000_000);
    let sent = listener.send(&format!("--tag logs --input {input} --unidirectional --json"));
    sent.assert_code(0);
    assert_eq!(sent.json()["bytes"], 3_000_000);
    listener.program.wait().assert_code(0);
    files.assert_same("input", "inbox/logs.000001");
}

#[test]
fn a_command_that_has_everything_goes_on_without_its_sender() {
    let files = Files::new();
    let (input, copy) = (files.noise("input", 1000), files.path("copy"));
    let (sent, taken) = (files.path("sent"), files.path("taken"));
    // It has not ended before the sender has.
    let command = format!("cat > {copy}; touch {taken}; until [ -e {sent} ]; do sleep 0.1; done");
    let listener = Listener::exec(&files, "--tag job --once", &command);
    let one_way = listener.send(&format!("--tag job --input {input} --unidirectional"));
    one_way.assert_code(0);
    wait_until(|| std::fs::exists(&taken).unwrap());
    std::fs::write(sent, "").unwrap();
    let ended = listener.program.wait();
    ended.assert_code(0);
    assert_eq!(ended.json()["end"], "complete");
    files.assert_same("input", "copy");
}

#[test]
fn several_senders_at_once_have_a_file_each() {
    let files = Files::new();
    let inbox = files.path("inbox");
    let listener = Listener::start(&files, &format!("--tag a --tag b --output {inbox} --count 8"));
    let input = files.noise("input", 2_000_000);
    let senders: Vec<Program> = ["a", "b", "a", "b", "a", "b", "a", "b"]
        .map(|tag| listener.sender(&format!("--tag {tag} --input {input}")))
        .into();
    for sender in senders {
        sender.wait().assert_code(0);
    }
    listener.program.wait().assert_code(0);
    let names = files.names("inbox");
    assert_eq!(names.iter().filter(|name| name.starts_with("a.")).count(), 4);
    assert_eq!(names.iter().filter(|name| name.starts_with("b.")).count(), 4);
    for name in names {
        files.assert_same("input", &format!("inbox/{name}"));
    }
}

#[test]
fn a_pipe_at_both_ends_carries_a_stream() {
    let files = Files::new();
    let listener = Listener::start(&files, "--tag pipe --once");
    let mut sender = listener.sender("--tag pipe");
    sender.write(b"first ");
    sender.write(b"second");
    sender.wait().assert_code(0);
    let taken = listener.program.wait();
    taken.assert_code(0);
    assert_eq!(taken.output, b"first second");
    assert!(taken.errors.contains(r#""bytes":12,"end":"complete""#), "{}", taken.errors);
}

#[test]
fn streams_to_standard_output_come_one_after_the_other() {
    let files = Files::new();
    let listener = Listener::start(&files, "--tag line --count 3");
    let mut senders: Vec<Program> = (0..3).map(|_| listener.sender("--tag line")).collect();
    // They are taken in whatever order they come, but never into each other.
    for part in [b"begin,", b"go on,", b"--end;"] {
        senders.iter_mut().for_each(|sender| sender.write(part));
    }
    senders.iter_mut().for_each(Program::end_input);
    for sender in senders {
        sender.wait().assert_code(0);
    }
    assert_eq!(listener.program.wait().output, b"begin,go on,--end;".repeat(3));
}

#[test]
fn a_command_answers_with_what_it_writes() {
    let files = Files::new();
    let listener = Listener::exec(&files, "--tag echo --count 2", "cat");
    for size in [0, 20 << 20] {
        let input = files.noise("input", size);
        let answer = files.path("answer");
        let sent = listener.send(&format!("--tag echo --input {input} --answer {answer} --json"));
        sent.assert_code(0);
        assert_eq!(sent.json()["answer_bytes"], size);
        files.assert_same("input", "answer");
    }
    listener.program.wait().assert_code(0);
}

#[test]
fn the_answer_goes_to_standard_output() {
    let files = Files::new();
    let input = files.noise("input", 5_000_000);
    let listener = Listener::exec(&files, "--tag sum --once", "sha256sum");
    let sent = listener.send(&format!("--tag sum --input {input}"));
    sent.assert_code(0);
    let direct = std::process::Command::new("sha256sum").arg(&input).output().unwrap();
    assert_eq!(sent.output[..64], direct.stdout[..64]);
    listener.program.wait().assert_code(0);
}

/// The output to a terminal of a send to a command; `None` where there is no program to make a
/// terminal.
fn on_a_terminal(files: &Files, command: &str, input: &str) -> Option<String> {
    let listener = Listener::exec(files, "--tag say", command);
    let sender = format!(
        "{} stream send {} --pin {} --tag say --input {input}",
        env!("CARGO_BIN_EXE_gapless"),
        listener.url,
        listener.fingerprint
    );
    let mut terminal = std::process::Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &sender, "/dev/null"]);
    let Ok(terminal) = terminal.output() else {
        skip("there is no program `script`: Debian has it in bsdutils");
        return None;
    };
    let shown = String::from_utf8(terminal.stdout).unwrap();
    assert!(terminal.status.success(), "{shown}");
    listener.program.stop().assert_code(0);
    Some(shown)
}

#[test]
fn an_answer_on_a_terminal_is_not_drawn_over() {
    let files = Files::new();
    // The beginning of a line stands there for several periods of the progress.
    let command = "printf begin,; sleep 1; echo end";
    let Some(shown) = on_a_terminal(&files, command, "/dev/null") else { return };
    assert!(shown.contains("begin,end"), "{shown:?}");
}

#[test]
fn a_terminal_shows_the_progress_until_there_is_an_answer() {
    let files = Files::new();
    let input = files.noise("input", 1000);
    let command = "cat > /dev/null; sleep 1; printf begin,; sleep 1; echo end";
    let Some(shown) = on_a_terminal(&files, command, &input) else { return };
    let (before, _) = shown.split_once("begin,end").unwrap_or_else(|| panic!("{shown:?}"));
    assert!(before.contains("1000 B of 1000 B"), "{shown:?}");
}

#[test]
fn a_command_knows_the_tag_and_the_peer() {
    let files = Files::new();
    let reported = "cat; printf '%s %s %s' $GAPLESS_TAG $GAPLESS_TAG_HEX $GAPLESS_PEER";
    let listener = Listener::exec(&files, "--tag a/b;x --once", reported);
    let sent = listener.send("--tag a/b;x");
    sent.assert_code(0);
    let answer = String::from_utf8(sent.output).unwrap();
    assert!(answer.starts_with("a%2Fb%3Bx 612f623b78 127.0.0.1:"), "{answer}");
}

#[test]
fn no_more_commands_run_than_allowed_and_all_get_their_turn() {
    let files = Files::new();
    let (lock, clash) = (files.path("lock"), files.path("clash"));
    // Two at once could not both make the folder.
    let command = format!("mkdir {lock} || touch {clash}; cat; rmdir {lock}");
    let listener = Listener::exec(&files, "--tag one --count 5 --parallel 1", &command);
    let input = files.noise("input", 300_000);
    let senders: Vec<Program> = (0..5)
        .map(|_| listener.sender(&format!("--tag one --input {input} --answer /dev/null --json")))
        .collect();
    for sender in senders {
        let sent = sender.wait();
        sent.assert_code(0);
        assert_eq!(sent.json()["answer_bytes"], 300_000);
    }
    listener.program.wait().assert_code(0);
    assert!(!std::fs::exists(clash).unwrap(), "two commands ran at once");
}

#[test]
fn a_command_that_reads_nothing_holds_its_sender_back() {
    let files = Files::new();
    let input = files.noise("input", 64 << 20);
    let pid = files.path("pid");
    let command = format!("echo $$ > {pid}.new; mv {pid}.new {pid}; sleep 1000 & wait");
    let mut listener = Listener::exec(&files, "--tag slow --once", &command);
    let sender = listener.sender(&format!("--tag slow --input {input} --answer /dev/null --json"));
    wait_until(|| std::fs::exists(&pid).unwrap());
    // As long as it would take to send all of it, several times.
    thread::sleep(Duration::from_secs(4));
    let sent = sender.stop();
    sent.assert_code(130);
    let bytes = sent.json()["bytes"].as_u64().unwrap();
    assert!((64 << 10..16 << 20).contains(&bytes), "{bytes} bytes went to nobody");
    // The command and what it started are killed: neither may take what came for the whole.
    let group = String::from_utf8(files.read("pid")).unwrap().trim().to_owned();
    wait_until(|| is_gone(&group));
    let reported = listener.program.reported("slow from");
    assert!(reported.contains("somebody ended the program there"), "{reported}");
    listener.program.wait().assert_code(1);
}

/// Whether a process group has no process that runs.
pub(crate) fn is_gone(group: &str) -> bool {
    let alive = |stat: &str| {
        let mut fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let state = fields.next().unwrap_or("Z");
        fields.nth(1) == Some(group) && state != "Z"
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    !processes
        .filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok())
        .any(|stat| alive(&stat))
}

#[test]
fn a_command_may_have_enough_of_a_stream() {
    let files = Files::new();
    let input = files.noise("input", 64 << 20);
    let listener = Listener::exec(&files, "--tag head --once", "head -c 1000");
    let sent = listener.send(&format!("--tag head --input {input} --json"));
    sent.assert_code(0);
    assert_eq!(sent.output[..], files.read("input")[..1000]);
    assert!(sent.errors.contains(r#""end":"enough""#), "{}", sent.errors);
    let taken = listener.program.wait();
    taken.assert_code(0);
    assert_eq!(taken.json()["end"], "enough");
}

#[test]
fn a_command_that_fails_is_no_success_at_either_end() {
    let files = Files::new();
    let listener = Listener::exec(&files, "--tag job --once", "cat; exit 3");
    let sent = listener.send("--tag job --input /dev/null");
    sent.assert_code(1);
    assert!(sent.errors.contains("its command failed"), "{}", sent.errors);
    let taken = listener.program.wait();
    taken.assert_code(9);
    assert_eq!(taken.json()["end"], "command_failed");
    assert!(taken.errors.contains("exit status: 3"), "{}", taken.errors);
}

#[test]
fn no_tag_leads_out_of_the_folder() {
    let files = Files::new();
    let inbox = files.path("place/inbox");
    let listener = Listener::with(
        &files,
        ["--prefix", "", "--output", &inbox, "--count", "8"].map(str::to_owned).into(),
    );
    let tags: [&[u8]; 8] =
        [b"../x", b"a/b", b"..", b".hidden", &[0xff; 255], b"a\nb", b"-", b"x.part"];
    for tag in tags {
        let arguments = ["stream", "send", &listener.url, "--pin", &listener.fingerprint];
        let tag = [OsStr::new("--input=/dev/null"), OsStr::new("--tag"), OsStr::from_bytes(tag)];
        Program::start(arguments.map(OsStr::new).into_iter().chain(tag)).wait().assert_code(0);
    }
    listener.program.wait().assert_code(0);
    assert_eq!(files.names("place"), ["inbox"]);
    let names = files.names("place/inbox");
    assert_eq!(names.len(), 8, "{names:?}");
    for name in ["%2E.%2Fx.000001", "a%2Fb.000002", "%2E..000003", "%2Ehidden.000004", "%2D.000007"]
    {
        assert!(names.contains(&name.to_owned()), "no {name} in {names:?}");
    }
}

#[test]
fn files_that_are_there_stay_as_they_are() {
    let files = Files::new();
    let inbox = files.path("inbox");
    for content in ["one", "two"] {
        let listener = Listener::start(&files, &format!("--tag x --output {inbox} --once"));
        let mut sender = listener.sender("--tag x");
        sender.write(content.as_bytes());
        sender.wait().assert_code(0);
        listener.program.wait().assert_code(0);
    }
    assert_eq!(files.names("inbox"), ["x.000001", "x.000002"]);
    assert_eq!(
        (files.read("inbox/x.000001"), files.read("inbox/x.000002")),
        (b"one".into(), b"two".into())
    );
}

#[test]
fn a_quiet_input_keeps_its_connection() {
    let files = Files::new();
    let listener = Listener::start(&files, "--tag quiet --once --idle-timeout 2");
    let mut sender = listener.sender("--tag quiet --idle-timeout 2");
    sender.write(b"before ");
    // Twice as long as a connection lives on which nothing comes.
    thread::sleep(Duration::from_secs(4));
    sender.write(b"after");
    sender.wait().assert_code(0);
    assert_eq!(listener.program.wait().output, b"before after");
}

#[test]
fn a_sender_may_come_by_name_and_believe_a_file() {
    let files = Files::new();
    let inbox = files.path("inbox");
    let listener = Listener::start(&files, &format!("--tag x --output {inbox} --once"));
    let url = listener.url.replace("127.0.0.1", "localhost");
    let ca = files.path("identity/identity.pem");
    let line = format!("stream send {url} --tag x --ca {ca} --input /dev/null");
    Program::start(line.split_whitespace()).wait().assert_code(0);
    listener.program.wait().assert_code(0);
}
