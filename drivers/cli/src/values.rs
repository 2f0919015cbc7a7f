//! Values of the command line that the standard library does not parse: probabilities, durations
//! and where to begin.

use std::str::FromStr;
use std::time::Duration;

use clap::builder::RangedI64ValueParser;
use gapless_core::Session;
use gapless_core::receiver::{Quota, QuotaUnit};

/// A probability, written `0.05` or `5%`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Probability(f64);

impl Probability {
    /// As a number from 0 to 1.
    pub(crate) const fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Probability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.trim().parse::<f64>().ok();
        let value = match text.strip_suffix('%') {
            Some(percent) => number(percent).map(|percent| percent / 100.0),
            None => number(text),
        };
        match value {
            Some(value) if (0.0..=1.0).contains(&value) => Ok(Self(value)),
            Some(_) => Err("a probability lies between 0 and 1, or 0% and 100%".into()),
            None => Err("a probability is written 0.05 or 5%".into()),
        }
    }
}

/// Nobody waits longer, and clocks still count it: a hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// Seconds, with a fraction (`0.5`) or a unit (`500ms`, `90s`, `5m`, `1h`, `1d`).
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "us" => 1e-6,
        "ms" => 1e-3,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        unit => return Err(format!("`{unit}` is no unit of time; use us, ms, s, m, h or d")),
    };
    let seconds = digits.parse::<f64>().map_err(|_| {
        "a duration is seconds (1.5) or a number with a unit (500ms, 5m)".to_owned()
    })?;
    Duration::try_from_secs_f64(seconds * unit)
        .ok()
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| "a duration is neither negative nor endless".to_owned())
}

/// [`duration`], but not zero.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than nothing".into()),
        duration => Ok(duration),
    }
}

/// A quota: requests (`100/1h`) or messages (`50000msg/1d`) in a window.
pub(crate) fn quota(text: &str) -> Result<Quota, String> {
    let form = "a quota is requests (100/1h) or messages (50000msg/1d) in a time";
    let (count, window) = text.split_once('/').ok_or(form)?;
    let (count, unit) = match count.strip_suffix("msg") {
        Some(count) => (count, QuotaUnit::Messages),
        None => (count, QuotaUnit::Requests),
    };
    match count.parse() {
        Ok(0) => Err("a quota allows 1 at least; leave out --requests to ask for nothing".into()),
        Ok(most) => Ok(Quota { unit, most, window: positive_duration(window)? }),
        Err(_) => Err(form.into()),
    }
}

/// The largest buffer that Linux, which doubles it, counts in a C `int`.
const MOST_RECEIVE_BUFFER: i64 = i32::MAX as i64 / 2;

/// Bytes of a receive buffer, as many as there may be.
pub(crate) fn receive_buffer() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=MOST_RECEIVE_BUFFER)
}

/// A session name of one to ten bytes; `\xNN` is a byte that cannot be typed, and `\\` a backslash.
pub(crate) fn session(text: &str) -> Result<Session, String> {
    if text.is_empty() {
        return Err("a session has a name".into());
    }
    let name = unescaped(text)
        .ok_or(r"behind a backslash comes xNN, two hexadecimal digits, or another")?;
    Session::from_name(&name).ok_or_else(|| {
        format!("a session name has at most {} bytes, this has {}", Session::LEN, name.len())
    })
}

/// The bytes of a text in which those that cannot be typed are escaped.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let (byte, behind) = match (byte, behind) {
            (b'\\', [b'\\', behind @ ..]) => (b'\\', behind),
            (b'\\', [b'x', high, low, behind @ ..]) => {
                let digit = |digit: &u8| char::from(*digit).to_digit(16);
                ((digit(high)? << 4 | digit(low)?) as u8, behind)
            }
            (b'\\', _) => return None,
            (byte, behind) => (byte, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    Some(bytes)
}

/// Where to begin: `--from N|start|live`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begin {
    /// At this message, from 1.
    Number(u64),
    /// At message 1.
    Start,
    /// With the next message that comes.
    Live,
}

impl FromStr for Begin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "start" => Ok(Self::Start),
            "live" => Ok(Self::Live),
            number => match number.parse() {
                Ok(0) => Err("message numbers start at 1".into()),
                Ok(number) => Ok(Self::Number(number)),
                Err(_) => Err("begin at a message number, `start` or `live`".into()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_is_a_fraction_or_a_percentage() {
        assert_eq!("0.05".parse(), Ok(Probability(0.05)));
        assert_eq!("5%".parse(), Ok(Probability(0.05)));
        assert_eq!("100%".parse(), Ok(Probability(1.0)));
        assert_eq!("0".parse(), Ok(Probability(0.0)));
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        for text in ["1.5", "101%", "-1%", "NaN", "five", ""] {
            assert!(text.parse::<Probability>().is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_of_a_session_that_cannot_be_typed_are_escaped() {
        let padded = Session::new(*b"FEED\0\0\0\0\0\0");
        assert_eq!(session(r"FEED\x00\x00\x00\x00\x00\x00"), Ok(padded));
        assert_eq!(session(r"A\\B"), Ok(Session::new(*b"A\\B       ")));
        for text in [r"A\", r"A\x0", r"A\0", r"\xgg"] {
            assert!(session(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_is_seconds_unless_a_unit_is_named() {
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["-1", "inf", "1e19", "5w", "soon", "", "NaN"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(positive_duration("0").is_err());
    }

    #[test]
    fn a_session_name_has_one_to_ten_bytes() {
        assert_eq!(session("ITCH").unwrap().as_bytes(), b"ITCH      ");
        assert!(session("").is_err());
        assert!(session("ELEVEN-LONG").is_err());
    }

    #[test]
    fn receiving_begins_at_a_number_at_the_start_or_live() {
        assert_eq!("7".parse(), Ok(Begin::Number(7)));
        assert_eq!("start".parse(), Ok(Begin::Start));
        assert_eq!("live".parse(), Ok(Begin::Live));
        assert!("0".parse::<Begin>().is_err());
        assert!("now".parse::<Begin>().is_err());
    }

    #[test]
    fn a_quota_is_a_number_of_requests_or_messages_in_a_time() {
        let hour =
            Quota { unit: QuotaUnit::Requests, most: 100, window: Duration::from_secs(3600) };
        assert_eq!(quota("100/1h"), Ok(hour));
        let day =
            Quota { unit: QuotaUnit::Messages, most: 50_000, window: Duration::from_secs(86_400) };
        assert_eq!(quota("50000msg/1d"), Ok(day));
        for refused in ["100", "/1h", "0/1h", "100/0", "-1/1h", "100/h", "5kb/1h"] {
            assert!(quota(refused).is_err(), "{refused}");
        }
    }
}
