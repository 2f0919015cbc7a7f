//! Every input that is kept for the fuzzers, played as their targets play it: what a fuzzer once found
//! stays tested by every compiler, and no input is kept that means nothing any more.

use std::fs;
use std::path::PathBuf;

use arbitrary::{Arbitrary, Unstructured};
use gapless_tests::model::{
    cache, contract, demux, journal, mold, publisher, receiver, retransmitter, transmitter,
};

fn fuzz(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(folder)
}

/// Names of what lies in a folder, in order.
fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(fuzz(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Plays the seeds of a target. The last name that a failing test prints is that of the input.
fn each_seed(target: &str, play: impl Fn(&[u8])) {
    let folder = format!("seeds/{target}");
    let names = names(&folder);
    assert!(!names.is_empty(), "{folder} is empty");
    for name in names {
        println!("{folder}/{name}");
        play(&fs::read(fuzz(&folder).join(name)).unwrap());
    }
}

/// Plays the seeds of a target that takes cases, made of bytes as `fuzz_target!` makes them.
fn each_case<C: for<'a> Arbitrary<'a>>(target: &str, play: impl Fn(&C)) {
    each_seed(target, |bytes| {
        play(&C::arbitrary_take_rest(Unstructured::new(bytes)).expect("any bytes make a case"));
    });
}

#[test]
fn every_fuzz_target_has_seeds_that_are_played_here() {
    let targets: Vec<_> =
        names("fuzz_targets").iter().map(|name| name.replace(".rs", "")).collect();
    let played = [
        "cache",
        "contract",
        "demux",
        "journal",
        "mold_wire",
        "publisher",
        "receiver",
        "retransmitter",
        "tag_wire",
        "transmitter",
    ];
    assert_eq!(targets, played);
    assert_eq!(names("seeds"), played);
}

#[test]
fn kept_cases_of_caches_pass() {
    each_case("cache", cache::check);
}

#[test]
fn every_machine_keeps_the_contract_in_what_is_kept() {
    each_seed("contract", contract::check);
}

#[test]
fn kept_cases_of_demultiplexers_pass() {
    each_case("demux", demux::check);
}

#[test]
fn kept_journals_replay_or_are_refused() {
    each_seed("journal", journal::check);
}

#[test]
fn kept_datagrams_are_read_as_a_naive_reader_reads_them() {
    each_seed("mold_wire", mold::check);
}

#[test]
fn kept_cases_of_publishers_pass() {
    each_case("publisher", publisher::check);
}

#[test]
fn kept_cases_of_receivers_pass() {
    each_case("receiver", |case| receiver::play(case, true));
}

#[test]
fn kept_cases_of_retransmitters_pass() {
    each_case("retransmitter", retransmitter::check);
}

#[test]
fn kept_preambles_are_read_as_a_naive_reader_reads_them() {
    each_seed("tag_wire", demux::check_wire);
}

#[test]
fn kept_cases_of_transmitters_pass() {
    each_case("transmitter", transmitter::check);
}
