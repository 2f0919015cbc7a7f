//! How ids and reasons print.

/// Implements [`Display`](core::fmt::Display): for each form its words, with what it holds.
macro_rules! display {
    ($($type:ty { $($form:pat => $words:literal),* $(,)? })*) => {$(
        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self {
                    $($form => write!(f, $words),)*
                }
            }
        }
    )*};
}
pub(crate) use display;
