//! Times as text. Two forms leave the house: the backend's plain `YYYY-MM-DD HH:MM:SS` (compatibility API) and
//! RFC 3339 (everywhere else). Both are UTC.

use domain::instance::DbMicros;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, Time};
use utoipa::ToSchema;

/// RFC 3339 text of "no time at all", as the compatibility API writes it.
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

const NANOS_PER_MICRO: i128 = 1_000;

/// A moment on the database's clock; RFC 3339 in UTC on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-11-22T14:16:09.5Z")]
pub struct Timestamp(pub DbMicros);

/// `YYYY-MM-DD HH:MM:SS` in UTC; empty for "never" and for what no calendar can show.
pub fn backend_text(at: Option<DbMicros>) -> String {
    let Some(at) = at.and_then(calendar) else { return String::new() };
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// RFC 3339 in UTC, with as many fraction digits as needed; [`ZERO_TIME`] for "never".
pub fn rfc3339(at: Option<DbMicros>) -> String {
    at.and_then(calendar).and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| ZERO_TIME.to_owned())
}

/// Only years 0 to 9999 have a text that every reader can read.
fn calendar(at: DbMicros) -> Option<OffsetDateTime> {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * NANOS_PER_MICRO).ok()?;
    (0..=9999).contains(&at.year()).then_some(at)
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(Some(self.0)))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at = OffsetDateTime::parse(&text, &Rfc3339)
            .map_err(|_| de::Error::invalid_value(de::Unexpected::Str(&text), &"a time as in RFC 3339"))?;
        let micros = at.unix_timestamp_nanos().div_euclid(NANOS_PER_MICRO);
        i64::try_from(micros).map(Self).map_err(|_| de::Error::custom("time out of range"))
    }
}

/// Reads `YYYY-MM-DD HH:MM:SS` back: for clients and tests.
pub fn parse_backend_text(text: &str) -> Option<DbMicros> {
    let (date, clock) = text.split_once(' ')?;
    let mut date = date.splitn(3, '-').map(str::parse::<u16>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut clock = clock.splitn(3, ':').map(str::parse::<u8>);
    let (hour, minute, second) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?);
    let month = time::Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::from(year), month, u8::try_from(day).ok()?).ok()?;
    let at = date.with_time(Time::from_hms(hour, minute, second).ok()?).assume_utc();
    i64::try_from(at.unix_timestamp_nanos() / NANOS_PER_MICRO).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOMENT: DbMicros = 1_795_356_969_000_000;

    #[test]
    fn writes_both_forms() {
        assert_eq!(backend_text(Some(MOMENT)), "2026-11-22 14:16:09");
        assert_eq!(backend_text(Some(MOMENT + 999_999)), "2026-11-22 14:16:09");
        assert_eq!(backend_text(None), "");
        assert_eq!(rfc3339(Some(MOMENT + 120_000)), "2026-11-22T14:16:09.12Z");
        assert_eq!(rfc3339(Some(MOMENT)), "2026-11-22T14:16:09Z");
        assert_eq!(rfc3339(None), ZERO_TIME);
    }

    #[test]
    fn survives_times_out_of_any_calendar() {
        for at in [i64::MIN, i64::MAX] {
            assert_eq!(backend_text(Some(at)), "");
            assert_eq!(rfc3339(Some(at)), ZERO_TIME);
        }
    }

    #[test]
    fn a_wrong_text_is_an_error() {
        for text in ["", "2026-11-22", "2026-13-01 00:00:00", "2026-11-22 25:00:00", "x-y-z a:b:c", "1-1-1 1:1"] {
            assert_eq!(parse_backend_text(text), None, "{text}");
        }
        assert!(serde_json::from_str::<Timestamp>("\"yesterday\"").is_err());
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(at in 0_i64..253_402_300_799_999_999) {
            let json = serde_json::to_string(&Timestamp(at)).expect("plain string");
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).expect("own text"), Timestamp(at));
            prop_assert_eq!(parse_backend_text(&backend_text(Some(at))), Some(at / 1_000_000 * 1_000_000));
        }
    }
}
