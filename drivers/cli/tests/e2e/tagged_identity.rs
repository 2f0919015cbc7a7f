//! The identity of a listener of `gapless stream`: files that are no files, and keys that others can read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::SystemTime;

use gapless_quic::tls::Identity;

use crate::program::{Files, Program, fifo, gapless};
use crate::tagged::Listener;

/// An identity in a folder.
fn identity(files: &Files, name: &str) -> (Identity, String) {
    let folder = files.path(name);
    let identity = Identity::kept_in(folder.as_ref(), &["localhost"], SystemTime::now()).unwrap();
    (identity, folder)
}

fn chmod(path: &str, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_key_that_others_can_read_is_warned_of_on_both_sides() {
    let files = Files::new();
    let (_, folder) = identity(&files, "identity");
    let key = format!("{folder}/identity.pem");
    chmod(&key, 0o644);
    chmod(&folder, 0o777);
    let line = format!("stream listen --listen 127.0.0.1:0 --tag x --identity {folder}");
    let mut listener = Program::start(line.split_whitespace());
    let reported = listener.reported("warning:");
    assert!(reported.contains("identity.pem (its mode is 0644): chmod 600"), "{reported}");
    let reported = listener.reported("warning:");
    assert!(reported.contains("(its mode is 0777): chmod 700"), "{reported}");
    listener.reported("listening on");
    listener.stop().assert_code(0);
    let line = "stream send quic://127.0.0.1:9 --tag x --insecure --connect-timeout 0.1";
    let sent = gapless(&format!("{line} --client-cert {key} --client-key {key}"));
    for mode in ["0644", "0777"] {
        assert!(sent.errors.contains(&format!("its mode is {mode}")), "{}", sent.errors);
    }
}

#[test]
fn an_identity_that_is_no_file_is_refused_at_once() {
    let files = Files::new();
    fs::create_dir(files.path("identity")).unwrap();
    fifo(&files, "identity/identity.pem");
    let folder = files.path("identity");
    for line in [
        format!("--identity {folder}"),
        "--cert /dev/zero --key /dev/zero".into(),
        format!("--identity {} --client-ca /dev/zero", files.path("other")),
    ] {
        let ended = gapless(&format!("stream listen --listen 127.0.0.1:0 --tag x {line}"));
        ended.assert_code(4);
        let words = ["it is no regular file", "it has more than 16 MiB"];
        assert!(words.iter().any(|words| ended.errors.contains(words)), "{}", ended.errors);
    }
}

#[test]
fn a_certificate_and_authorities_may_come_through_pipes() {
    let files = Files::new();
    let (own, folder) = identity(&files, "own");
    let names = ["cert", "key", "ca"].map(|name| fifo(&files, name));
    let mut writers = names.clone().map(|pipe| {
        let mut writer = Command::new("sh");
        let script = format!("cat {folder}/identity.pem > {pipe}");
        writer.args(["-c", &script]).spawn().unwrap()
    });
    let [cert, key, ca] = names;
    let line = format!(
        "stream listen --listen 127.0.0.1:0 --tag x --once --cert {cert} --key {key} --client-ca {ca}"
    );
    let mut listener = Program::start(line.split_whitespace());
    let address = listener.address("listening on");
    let pem = format!("{folder}/identity.pem");
    let pin = own.fingerprint();
    let line = format!("stream send quic://{address} --tag x --pin {pin} --input /dev/null");
    gapless(&format!("{line} --client-cert {pem} --client-key {pem}")).assert_code(0);
    listener.wait().assert_code(0);
    for writer in &mut writers {
        assert!(writer.wait().unwrap().success());
    }
}

#[test]
fn of_broken_streams_so_many_are_kept_as_was_said() {
    let files = Files::new();
    let inbox = files.path("inbox");
    let arguments = format!("--tag x --output {inbox} --count 3 --keep-parts 1");
    let mut listener = Listener::start(&files, &arguments);
    for number in 1..=3 {
        let mut sender = listener.sender("--tag x");
        sender.write(b"half");
        files.wait_for_length(&format!("inbox/x.{number:06}.part"), 4);
        sender.interrupt();
        sender.reported("error: interrupted");
        sender.wait().assert_code(130);
        let reported = listener.program.reported("x from");
        assert!(reported.ends_with(&format!("x.{number:06}.part")), "{reported}");
    }
    let taken = listener.program.wait();
    taken.assert_code(1);
    assert!(taken.errors.contains("removed 1 .part: --keep-parts 1"), "{}", taken.errors);
    assert_eq!(files.names("inbox"), ["x.000003.part"]);
}
