//! Tests that need what a machine may not have say so, and fail where nothing may be skipped.

use std::fmt;

/// Prints why a test is skipped.
///
/// # Panics
/// Under `GAPLESS_NO_SKIP=1`.
pub fn skip(why: fmt::Arguments<'_>) {
    let refused = std::env::var_os("GAPLESS_NO_SKIP").is_some_and(|value| value == "1");
    assert!(!refused, "would be skipped: {why}");
    eprintln!("skipped: {why}");
}

/// Prints a message and returns from the test; panics under `GAPLESS_NO_SKIP=1`.
#[macro_export]
macro_rules! skip {
    ($($why:tt)+) => {{
        $crate::skip::skip(::std::format_args!($($why)+));
        return;
    }};
}
