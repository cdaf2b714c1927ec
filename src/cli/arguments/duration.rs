//! Durations as people type them: digits and one unit.

use std::time::Duration;

/// Reads `10s`, `5m`, `2h`, `1d` or `1w`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        let shown: String = text.chars().take(40).collect();
        format!("cannot read the duration {shown:?}: write digits and one of s, m, h, d, w, such as 10m")
    };
    let text = text.trim();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds_per_unit: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(wrong()),
    };
    let digits = &text[..text.len() - unit.len_utf8()];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    count.checked_mul(seconds_per_unit).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_digits_with_one_unit_and_nothing_else() {
        for (text, seconds) in [("10s", 10), ("5m", 300), ("2h", 7200), ("1d", 86_400), ("1w", 604_800), ("0s", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "10", "s", "1.5h", "-1s", "1ms", "10 m", "99999999999999999999w", "1é", "+1s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
