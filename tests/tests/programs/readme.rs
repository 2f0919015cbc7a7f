//! The README: its length, and its commands as a new user types them, in two terminals.
//!
//! Its Rust examples are compiled as doc tests of the core; `demo` and `cargo test` are what `.ci/run` calls.

use std::path::Path;
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gapless_tests::{in_namespace, program};

const README: &str = include_str!("../../../README.md");

/// A command at a prompt, and the lines that it prints.
#[derive(Debug, PartialEq)]
struct Typed {
    command: String,
    output: Vec<String>,
}

/// The console blocks of a section, each what is typed in one terminal.
fn terminals(section: &str) -> Vec<Vec<Typed>> {
    let rest = README.split_once(&format!("\n## {section}\n")).expect("the section is there").1;
    let text = rest.split_once("\n## ").map_or(rest, |(text, _)| text);
    let blocks = text.split("```console\n").skip(1);
    let typed = |block: &str| {
        let mut lines: Vec<Typed> = Vec::new();
        for line in block.split("```").next().unwrap_or_default().lines() {
            match (line.strip_prefix("$ "), lines.last_mut()) {
                (Some(command), _) => {
                    lines.push(Typed { command: command.to_owned(), output: Vec::new() });
                }
                (None, Some(last)) => last.output.push(line.to_owned()),
                (None, None) => panic!("output before a command: {line}"),
            }
        }
        lines
    };
    blocks.map(typed).collect()
}

/// Types the commands of one terminal in `folder`, with `gapless` on the path.
fn terminal(folder: &Path, lines: Vec<Typed>) -> JoinHandle<()> {
    let folder = folder.to_owned();
    let programs = program::path().parent().expect("a program lies in a folder").to_owned();
    thread::spawn(move || {
        let path = std::env::var("PATH").unwrap_or_default();
        for Typed { command, output } in lines {
            let ended = Command::new("timeout")
                .args(["60", "bash", "-c", &command])
                .current_dir(&folder)
                .env("PATH", format!("{}:{path}", programs.display()))
                .output()
                .expect("bash starts");
            let errors = String::from_utf8_lossy(&ended.stderr);
            assert!(ended.status.success(), "{command}: {}: {errors}", ended.status);
            if !output.is_empty() {
                let printed = String::from_utf8_lossy(&ended.stdout);
                assert_eq!(printed.lines().collect::<Vec<_>>(), output, "{command}: {errors}");
            }
        }
    })
}

#[test]
fn the_readme_is_read_in_five_minutes() {
    let words = README.split_whitespace().count();
    assert!(words <= 1600, "{words} words");
}

#[test]
fn the_programs_section_works_as_typed_in_two_terminals() {
    in_namespace!();
    let folder = tempfile::tempdir().unwrap();
    let mut terminals = terminals("The program").into_iter();
    let install = terminals.next().expect("how it is installed");
    assert_eq!(install[0].command, "cargo install --locked --path drivers/cli");
    let receiver = terminal(folder.path(), terminals.next().expect("a receiver"));
    // A person types the second command after the first one has begun to listen.
    let deadline = Instant::now() + Duration::from_secs(30);
    while std::fs::read_to_string("/proc/net/udp").unwrap().lines().count() < 2 {
        assert!(Instant::now() < deadline, "nobody listens");
        thread::sleep(Duration::from_millis(10));
    }
    let publisher = terminal(folder.path(), terminals.next().expect("a feed"));
    publisher.join().unwrap();
    receiver.join().unwrap();
    assert!(terminals.next().is_none(), "every terminal was used");
}
