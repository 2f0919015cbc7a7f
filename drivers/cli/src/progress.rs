//! How far it is, on a terminal only; and words on standard error that do not tear it apart.

use std::borrow::Cow;
use std::fmt;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::io::patience::say;

/// Says so when the system gives a smaller receive buffer than was asked for.
pub(crate) fn report_buffer(asked: Option<u32>, granted: Option<usize>, progress: &Progress) {
    let (Some(asked), Some(granted)) = (asked, granted) else { return };
    // The kernel counts in pairs of bytes.
    if granted < asked as usize / 2 * 2 {
        progress.report(format_args!(
            "warning: --receive-buffer {asked}: the system gives {granted} bytes; to have more, raise \
             net.core.rmem_max, as by `sysctl -w net.core.rmem_max={asked}`"
        ));
    }
}

/// A period: something is due every so often, or never.
#[derive(Clone, Debug)]
pub(crate) struct Every {
    period: Option<Duration>,
    last: Instant,
}

impl Every {
    /// First due after a period from now; never without one.
    pub(crate) fn new(period: Option<Duration>) -> Self {
        Self { period, last: Instant::now() }
    }

    /// Whether it is due; if so, the next time a period later.
    pub(crate) fn is_due(&mut self) -> bool {
        let is_due = self.period.is_some_and(|period| self.last.elapsed() >= period);
        if is_due {
            self.last = Instant::now();
        }
        is_due
    }
}

/// A line on standard error that changes; nothing where standard error is no terminal. A clone is the same line.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
    drawn: Option<Instant>,
}

impl Progress {
    /// How often it is drawn.
    const PERIOD: Duration = Duration::from_millis(100);

    /// Towards `total`, or without an end in sight.
    pub(crate) fn new(total: Option<u64>) -> Self {
        Self::with_template(
            total,
            match total {
                Some(_) => "{bar:30} {human_pos} of {human_len} {msg}",
                None => "{spinner} {human_pos} {msg}",
            },
        )
    }

    /// As [`new`](Self::new), of bytes.
    pub(crate) fn of_bytes(total: Option<u64>) -> Self {
        Self::with_template(
            total,
            match total {
                Some(_) => "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec} {msg}",
                None => "{spinner} {bytes}, {bytes_per_sec} {msg}",
            },
        )
    }

    /// As [`of_bytes`](Self::of_bytes), unless the bytes of standard output go to the same terminal: a line
    /// that changes would wipe out the last of them.
    pub(crate) fn beside_bytes(total: Option<u64>, to_standard_output: bool) -> Self {
        match to_standard_output && std::io::stdout().is_terminal() {
            true => Self::hidden(),
            false => Self::of_bytes(total),
        }
    }

    fn with_template(total: Option<u64>, template: &str) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr())
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, drawn: None }
    }

    /// One that is never seen.
    pub(crate) fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), drawn: None }
    }

    /// Shows where it is, not more often than is of use.
    pub(crate) fn show<T: Into<Cow<'static, str>>>(
        &mut self,
        position: u64,
        message: impl FnOnce() -> T,
    ) {
        let due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= Self::PERIOD);
        if due && !self.bar.is_hidden() {
            self.drawn = Some(Instant::now());
            self.bar.set_position(position);
            self.bar.set_message(message());
        }
    }

    /// Says something on standard error.
    pub(crate) fn report(&self, line: impl fmt::Display) {
        self.bar.suspend(|| say(&line));
    }

    /// Does what would tear the line apart.
    pub(crate) fn suspended<T>(&self, work: impl FnOnce() -> T) -> T {
        self.bar.suspend(work)
    }

    /// Makes room for what stays, for good.
    pub(crate) fn hide(&self) {
        self.bar.finish_and_clear();
        self.bar.set_draw_target(ProgressDrawTarget::hidden());
    }

    /// Makes room for the result.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
