//! Spans of time as people write them: digits and one unit.

use std::time::Duration;

use super::Error;

/// Longest span accepted: ten years are as good as for ever, and far from where date arithmetic ends.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Reads digits followed by `s`, `m`, `h`, `d` or `w`.
pub fn parse(text: &str) -> Result<Duration, Error> {
    let trimmed = text.trim();
    let fail = || {
        let shown: String = trimmed.chars().take(40).collect();
        Error::Invalid(format!("cannot read duration {shown:?}; write digits and one of s, m, h, d, w"))
    };
    let unit = trimmed.chars().last().ok_or_else(fail)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        'w' => 7 * 24 * 3600,
        _ => return Err(fail()),
    };
    let digits = trimmed.strip_suffix(unit).unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fail());
    }
    let count: u64 = digits.parse().map_err(|_| fail())?;
    checked(Duration::from_secs(count.saturating_mul(seconds)))
}

/// The span itself, if people can mean it.
pub(super) fn checked(span: Duration) -> Result<Duration, Error> {
    if span.is_zero() || span > LONGEST {
        let seconds = span.as_secs();
        return Err(Error::Invalid(format!("a duration of {seconds} s is out of range: 1 second to ten years")));
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit_and_refuses_the_rest() {
        for (text, seconds) in
            [("10s", 10), ("2m", 120), ("3h", 10_800), ("1d", 86_400), ("2w", 1_209_600), (" 5s\n", 5)]
        {
            assert_eq!(parse(text).expect(text).as_secs(), seconds, "{text}");
        }
        for text in ["", "s", "10", "ten s", "-1s", "1.5h", "1y", "0s", "99999999999999999999s", "99999999w", "10ß"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
