//! Log lines on stderr: `YYYY-MM-DD HH:MM:SS LEVEL text key=value ...`, the format that people's log pipelines know.
//!
//! Commands log errors only, as the original does: a script reads their stdout, and a person wants no talk. The service
//! and the worker log at INFO unless told otherwise: who leads, what was reloaded and when the backend was away is what
//! their log is for, and at ERROR it would stay empty through all of it.

use std::backtrace::Backtrace;
use std::fmt::{self, Write as _};
use std::io;

use time::{OffsetDateTime, UtcOffset};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::arguments::Flags;

/// Our own crates: libraries are only heard when something is wrong, or at `--debug`.
const OURS: [&str; 10] =
    ["cli", "service", "jobs", "operations", "store", "queue", "mysql", "config", "harness", "orchestrator"];

/// How this process writes its log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Logging {
    /// The zone of the time stamps.
    pub(crate) offset: UtcOffset,
}

impl Logging {
    /// Call it before any thread is started: the zone cannot be read safely afterwards. It is the zone of that moment;
    /// a change to or from summer time shows after a restart.
    pub(crate) fn of_this_process() -> Self {
        Self { offset: UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC) }
    }

    /// Sends everything that is logged from now on to stderr.
    pub(crate) fn install(self, level: LevelFilter, stack: bool) {
        let libraries = if level >= LevelFilter::DEBUG { LevelFilter::INFO } else { level.min(LevelFilter::WARN) };
        let filter = Targets::new().with_default(libraries).with_targets(OURS.map(|name| (name, level)));
        let lines =
            tracing_subscriber::fmt::layer().event_format(Lines { offset: self.offset, stack }).with_writer(io::stderr);
        // Somebody else's subscriber is already there in tests only.
        let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    }
}

/// The threshold that flags and configuration ask for.
pub(crate) fn level(flags: &Flags, is_service: bool, debug_configured: bool) -> LevelFilter {
    if flags.is_on("quiet") {
        LevelFilter::ERROR
    } else if flags.is_on("debug") || debug_configured {
        LevelFilter::DEBUG
    } else if flags.is_on("verbose") || is_service {
        LevelFilter::INFO
    } else {
        LevelFilter::ERROR
    }
}

/// One line as [`Logging`] writes it, for errors that end the process.
pub(crate) fn fatal_line(offset: UtcOffset, text: &str) -> String {
    line(offset, "FATAL", text)
}

/// The same, for errors that do not.
pub(crate) fn error_line(offset: UtcOffset, text: &str) -> String {
    line(offset, "ERROR", text)
}

fn line(offset: UtcOffset, level: &str, text: &str) -> String {
    // Lines after the first are indented: none of them can pass for a line of the log.
    let lines: Vec<String> = text.trim_end().lines().map(one_line).collect();
    format!("{} {level} {}\n", stamp(offset), lines.join("\n  "))
}

fn stamp(offset: UtcOffset) -> String {
    #[expect(clippy::disallowed_methods, reason = "log lines carry this process's own time; nothing compares it")]
    let now = OffsetDateTime::now_utc().to_offset(offset);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second()
    )
}

/// A text from elsewhere must not be able to forge a line of the log.
pub(crate) fn one_line(text: &str) -> String {
    text.trim_end().chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect()
}

struct Lines {
    offset: UtcOffset,
    stack: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        let mut text = Text::default();
        event.record(&mut text);
        writeln!(writer, "{} {} {}{}", stamp(self.offset), word(level), one_line(&text.message), text.fields)?;
        if self.stack && level == Level::ERROR {
            writeln!(writer, "{}", Backtrace::force_capture())?;
        }
        Ok(())
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

/// The message, then the fields in order.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn add(&mut self, name: &str, value: &str) {
        let value = one_line(value);
        // Quoted where a reader could not tell where the value ends.
        let _ = if value.is_empty() || value.contains([' ', '"', '=', '\t']) {
            write!(self.fields, " {name}={value:?}")
        } else {
            write!(self.fields, " {name}={value}")
        };
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.add(name, value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            // What `log` records carry about their origin.
            name if name.starts_with("log.") => {}
            name => self.add(name, &format!("{value:?}")),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field.name(), &value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic while writing").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_time_level_text_and_fields_and_cannot_be_forged() {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Lines { offset: UtcOffset::UTC, stack: false })
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(job.id = 7, reason = "a b", "it broke\n2026-01-01 00:00:00 FATAL forged");
        });
        let text = String::from_utf8(sink.0.lock().expect("written").clone()).expect("UTF-8");
        let (stamp, rest) = text.split_at(19);
        assert!(stamp.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte == b' ',
            13 | 16 => byte == b':',
            _ => byte.is_ascii_digit(),
        }));
        assert_eq!(rest, " WARNING it broke 2026-01-01 00:00:00 FATAL forged job.id=7 reason=\"a b\"\n");
    }

    #[test]
    fn quiet_wins_and_a_service_talks() {
        let level = |line: &str, service, debug| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            level(&crate::arguments::parse(&words).expect("readable"), service, debug)
        };
        assert_eq!(level("", false, false), LevelFilter::ERROR);
        assert_eq!(level("", true, false), LevelFilter::INFO);
        assert_eq!(level("-verbose", false, false), LevelFilter::INFO);
        assert_eq!(level("-verbose -debug", false, false), LevelFilter::DEBUG);
        assert_eq!(level("", false, true), LevelFilter::DEBUG);
        assert_eq!(level("-quiet -debug", true, true), LevelFilter::ERROR);
    }
}
