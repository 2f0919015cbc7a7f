//! How results are written: tables, JSON objects, and counts in words.

use serde::Serialize;

/// Lines of a name and a text.
#[derive(Default)]
pub(crate) struct Table(String);

impl Table {
    /// One more line.
    pub(crate) fn row(&mut self, name: &str, text: String) {
        self.0.push_str(&format!("{name:<12} {text}\n"));
    }

    /// All lines.
    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// `1 packet`, `2 packets`.
pub(crate) fn plural(count: u64, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}

/// Messages a second.
pub(crate) fn speed(messages: u64, seconds: f64) -> String {
    let each_second = if seconds > 0.0 { messages as f64 / seconds } else { 0.0 };
    format!("{each_second:.0} messages/s over {seconds:.2} s")
}

/// One JSON object on a line of its own.
pub(crate) fn json(object: &impl Serialize) -> String {
    let mut line = serde_json::to_string(object).expect("plain numbers and strings are JSON");
    line.push('\n');
    line
}
