//! How a command reports that it failed: in words, and as a JSON object.

use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::io::patience::{say, write_words};
use crate::io::standard;
use crate::text::json;

/// In which form a command reports how it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// In words, on standard error.
    Words,
    /// As a JSON object on standard output too.
    Json,
    /// As a JSON object on standard error too: standard output has something else.
    JsonAside,
}

impl Form {
    /// Of a command with this `--json`, whose standard output has something else or not.
    pub(crate) const fn new(json: bool, aside: bool) -> Self {
        match (json, aside) {
            (false, _) => Self::Words,
            (true, false) => Self::Json,
            (true, true) => Self::JsonAside,
        }
    }
}

/// The JSON object of a failure that is in no other.
#[derive(Debug, Serialize)]
struct Failed<'a> {
    end: &'static str,
    exit_code: u8,
    error: &'a str,
}

/// Reports a failure, in the end. That nobody reads any more is not worth a word.
pub(crate) fn report(failure: &Failure, form: Form) {
    if failure.outcome == Outcome::ReaderGone {
        return;
    }
    say(failure);
    if !failure.is_in_json {
        report_object(failure, form);
    }
}

/// Reports a failure as an object, where there is to be one; its words are said already.
pub(crate) fn report_object(failure: &Failure, form: Form) {
    let outcome = failure.outcome;
    let (end, exit_code, error) = (outcome.name(), outcome.code(), failure.what());
    let object = || json(&Failed { end, exit_code, error });
    match form {
        Form::Words => {}
        // That standard output takes nothing may be what is wrong.
        Form::Json => drop(write_words(standard::Output::Standard, object().as_bytes())),
        Form::JsonAside => say(object().trim_end()),
    }
}
