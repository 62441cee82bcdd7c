//! The log: one line an event, in Redis's form, logfmt or JSON.
//!
//! Events come from `tracing`'s macros: this crate's at any level, warnings from libraries.
//! The four levels of Redis stand on tracing's five:
//!
//! ```text
//! trace!          debug    .      1:M 18 Sep 2026 12:34:56.789 . message
//! debug!          verbose  -      pid:role, local time, level, message
//! info!           notice   *
//! warn!, error!   warning  #
//! ```
//!
//! The legacy line follows `serverLogRaw` in Redis's server.c, the rest Valkey's. Settings may
//! change at any time. A log file is opened anew for every line, so that logrotate needs no signal.
//! A line that cannot be written is lost: there is no place left to report it.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Local};
use parking_lot::RwLock;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::base::clock;
use crate::base::os_error;
use crate::config::Config;

/// The least level that is logged, `loglevel`.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// Everything.
    Debug,
    /// Rarely useful detail, such as each client that comes and goes.
    Verbose,
    /// What operators want to see.
    #[default]
    Notice,
    /// What needs attention.
    Warning,
    /// Nothing at all.
    Nothing,
}

impl Level {
    fn of(metadata: &Metadata<'_>) -> Self {
        match *metadata.level() {
            tracing::Level::TRACE => Self::Debug,
            tracing::Level::DEBUG => Self::Verbose,
            tracing::Level::INFO => Self::Notice,
            tracing::Level::WARN | tracing::Level::ERROR => Self::Warning,
        }
    }

    fn filter(self) -> LevelFilter {
        match self {
            Self::Debug => LevelFilter::TRACE,
            Self::Verbose => LevelFilter::DEBUG,
            Self::Notice => LevelFilter::INFO,
            Self::Warning => LevelFilter::WARN,
            Self::Nothing => LevelFilter::OFF,
        }
    }

    /// The sign in legacy lines.
    fn sign(self) -> char {
        match self {
            Self::Debug => '.',
            Self::Verbose => '-',
            Self::Notice => '*',
            Self::Warning | Self::Nothing => '#',
        }
    }

    /// The name in logfmt and JSON, where Valkey calls verbose `info`.
    fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Verbose => "info",
            Self::Notice => "notice",
            Self::Warning | Self::Nothing => "warning",
        }
    }
}

/// The form of a line, `log-format`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// `1:M 18 Sep 2026 12:34:56.789 * message`, the message as it is.
    #[default]
    Legacy,
    /// `pid=1 role=master timestamp="..." level=notice message="..."`.
    Logfmt,
    /// One JSON object with the keys of logfmt.
    Json,
}

/// The form of times, `log-timestamp-format`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Timestamp {
    /// `18 Sep 2026 12:34:56.789`, local time.
    #[default]
    Legacy,
    /// `2026-09-18T12:34:56.789+02:00`, local time and its offset.
    Iso8601,
    /// Unix milliseconds.
    Milliseconds,
}

/// What the log writes, how and where.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LogSettings {
    /// Least level that is logged.
    pub level: Level,
    /// Form of lines.
    pub format: Format,
    /// Form of times.
    pub timestamp: Timestamp,
    /// The file that lines are appended to; standard output if absent.
    pub file: Option<PathBuf>,
    /// The system's log, which gets each message too.
    pub syslog: Option<Syslog>,
}

/// Where the system's log listens.
const SYSLOG_PATH: &str = "/dev/log";

/// How messages appear in the system's log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Syslog {
    /// `syslog-ident`.
    pub ident: String,
    /// Number of `syslog-facility` (RFC 3164).
    pub facility: u8,
}

impl Syslog {
    fn from_config(config: &Config) -> Option<Self> {
        let facility = match config.text("syslog-facility") {
            "user" => 1,
            // local0 to local7.
            local => 16 + local.bytes().last().map_or(0, |digit| digit.wrapping_sub(b'0') & 7),
        };
        let ident = config.text("syslog-ident").to_owned();
        config.flag("syslog-enabled").then_some(Self { ident, facility })
    }

    /// The message as syslog's socket takes it.
    fn line(&self, level: Level, pid: u32, at_ms: i64, message: &str) -> String {
        let severity = match level {
            Level::Debug => 7,
            Level::Verbose => 6,
            Level::Notice => 5,
            Level::Warning | Level::Nothing => 4,
        };
        let priority = self.facility * 8 + severity;
        let local = DateTime::from_timestamp_millis(at_ms).map(|utc| utc.with_timezone(&Local));
        let time = local.map_or_else(String::new, |time| time.format("%b %e %H:%M:%S").to_string());
        format!("<{priority}>{time} {}[{pid}]: {message}", self.ident)
    }

    /// Sends one message; lost if nobody listens, as with C's `syslog`.
    fn send(&self, path: &str, line: &str) {
        if let Ok(socket) = UnixDatagram::unbound() {
            // A log that is full must not stop the server.
            _ = socket.set_nonblocking(true).and_then(|()| socket.send_to(line.as_bytes(), path));
        }
    }
}

impl LogSettings {
    /// The settings that the directives `loglevel`, `log-format`, `log-timestamp-format`, `logfile` and
    /// `syslog-*` hold.
    pub fn from_config(config: &Config) -> Self {
        let file = config.text("logfile");
        Self {
            level: match config.text("loglevel") {
                "debug" => Level::Debug,
                "verbose" => Level::Verbose,
                "warning" => Level::Warning,
                "nothing" => Level::Nothing,
                _ => Level::Notice,
            },
            format: match config.text("log-format") {
                "logfmt" => Format::Logfmt,
                "json" => Format::Json,
                _ => Format::Legacy,
            },
            timestamp: match config.text("log-timestamp-format") {
                "iso8601" => Timestamp::Iso8601,
                "milliseconds" => Timestamp::Milliseconds,
                _ => Timestamp::Legacy,
            },
            file: (!file.is_empty()).then(|| PathBuf::from(file)),
            syslog: Syslog::from_config(config),
        }
    }
}

/// Whom this server follows, as shown in each line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Nobody: `M`, `master`.
    Primary,
    /// Another server: `S`, `replica`.
    Replica,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file cannot be appended to; worded as Redis words it.
    #[error("Can't open the log file: {}", os_error::text(.0))]
    Open(#[source] io::Error),
    /// The process has another receiver of events already.
    #[error("the log is set up already")]
    Installed,
}

/// Sends all events of the process to a log; fails if its file cannot be opened or there is one.
pub fn init(settings: LogSettings) -> Result<LogHandle, LogError> {
    if let Some(path) = &settings.file {
        open(path).map_err(LogError::Open)?;
    }
    let handle = LogHandle::new(settings);
    tracing::subscriber::set_global_default(handle.subscriber())
        .map_err(|_| LogError::Installed)?;
    Ok(handle)
}

/// Changes a log while it runs.
#[derive(Clone)]
pub struct LogHandle {
    log: Arc<Log>,
}

impl LogHandle {
    fn new(settings: LogSettings) -> Self {
        let log = Log { settings: RwLock::new(settings), replica: AtomicBool::new(false) };
        Self { log: Arc::new(log) }
    }

    fn subscriber(&self) -> impl Subscriber + Send + Sync + use<> {
        tracing_subscriber::registry().with(LogLayer { log: Arc::clone(&self.log) })
    }

    /// Takes other settings for all lines from now on.
    pub fn apply(&self, settings: &LogSettings) {
        settings.clone_into(&mut self.log.settings.write());
        // Each place that logs remembers whether it is wanted.
        tracing::callsite::rebuild_interest_cache();
    }

    /// Shows another role in all lines from now on.
    pub fn set_role(&self, role: Role) {
        self.log.replica.store(role == Role::Replica, Ordering::Relaxed);
    }
}

struct Log {
    settings: RwLock<LogSettings>,
    replica: AtomicBool,
}

impl Log {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let level = Level::of(metadata);
        level >= self.settings.read().level && (level == Level::Warning || is_own(metadata))
    }

    fn write(&self, level: Level, message: &str) {
        let settings = self.settings.read();
        let entry = Entry {
            pid: std::process::id(),
            replica: self.replica.load(Ordering::Relaxed),
            at_ms: clock::now_ms(),
            level,
            message,
        };
        let line = entry.line(settings.format, settings.timestamp);
        if let Some(syslog) = &settings.syslog {
            syslog.send(SYSLOG_PATH, &syslog.line(level, entry.pid, entry.at_ms, message));
        }
        // Standard output may be closed on purpose.
        _ = match &settings.file {
            Some(path) => open(path).and_then(|mut file| file.write_all(line.as_bytes())),
            None => io::stdout().lock().write_all(line.as_bytes()),
        };
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Whether an event comes from this crate.
fn is_own(metadata: &Metadata<'_>) -> bool {
    let rest = metadata.target().strip_prefix(env!("CARGO_CRATE_NAME"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// One line to be.
struct Entry<'a> {
    pid: u32,
    replica: bool,
    at_ms: i64,
    level: Level,
    message: &'a str,
}

impl Entry<'_> {
    fn line(&self, format: Format, timestamp: Timestamp) -> String {
        let (pid, message) = (self.pid, Escaped(self.message));
        let (sign, level) = (self.level.sign(), self.level.name());
        let (role, role_name) = if self.replica { ('S', "replica") } else { ('M', "master") };
        let time = time(self.at_ms, timestamp);
        match format {
            Format::Legacy => format!("{pid}:{role} {time} {sign} {}\n", self.message),
            Format::Logfmt => format!(
                "pid={pid} role={role_name} timestamp=\"{time}\" level={level} \
                 message=\"{message}\"\n"
            ),
            Format::Json => format!(
                "{{\"pid\":{pid},\"role\":\"{role_name}\",\"timestamp\":\"{time}\",\
                 \"level\":\"{level}\",\"message\":\"{message}\"}}\n"
            ),
        }
    }
}

/// A Unix time in milliseconds as `timestamp` asks for; a time outside of chrono's years as it is.
fn time(at_ms: i64, timestamp: Timestamp) -> String {
    let format = match timestamp {
        Timestamp::Legacy => "%d %b %Y %H:%M:%S%.3f",
        Timestamp::Iso8601 => "%Y-%m-%dT%H:%M:%S%.3f%:z",
        Timestamp::Milliseconds => return at_ms.to_string(),
    };
    match DateTime::from_timestamp_millis(at_ms) {
        Some(utc) => utc.with_timezone(&Local).format(format).to_string(),
        None => at_ms.to_string(),
    }
}

/// Text for the inside of a quoted string, by JSON's rules, which logfmt readers share.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The receiver of events. Stands directly on a registry, so that its level reaches every caller.
struct LogLayer {
    log: Arc<Log>,
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.log.wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.log.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.log.settings.read().level.filter())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.log.write(Level::of(event.metadata()), &(text.message + &text.fields));
    }
}

/// An event's message, and its other fields as ` name=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn record(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let written = match field.name() {
            "message" => self.message.write_fmt(value),
            name => write!(self.fields, " {name}={value}"),
        };
        written.expect("a string takes every write");
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record(field, format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ENTRY: Entry<'_> = Entry {
        pid: 12,
        replica: false,
        at_ms: 1_789_734_896_789,
        level: Level::Notice,
        message: "a \"b\"\n\\c\u{1}",
    };

    /// A file of its own for one test, removed with it.
    struct LogFile(PathBuf);

    impl LogFile {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("log-{name}-{}", std::process::id()));
            _ = fs::remove_file(&path);
            Self(path)
        }

        fn settings(&self, level: Level) -> LogSettings {
            LogSettings { level, file: Some(self.0.clone()), ..LogSettings::default() }
        }

        fn messages(&self) -> Vec<String> {
            let text = fs::read_to_string(&self.0).unwrap_or_default();
            text.lines().map(|line| line.splitn(6, ' ').last().unwrap().to_owned()).collect()
        }
    }

    impl Drop for LogFile {
        fn drop(&mut self) {
            _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn syslog_gets_messages_with_their_priority() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let listener = UnixDatagram::bind(&path).unwrap();
        let config = |facility: &str| {
            let text = format!("syslog-enabled yes\nsyslog-ident me\nsyslog-facility {facility}");
            let options = crate::config::Invocation { options: text.into(), ..Default::default() };
            Config::load(&options).unwrap()
        };
        for (facility, level, priority) in [
            ("user", Level::Warning, 12),
            ("local0", Level::Notice, 133),
            ("LOCAL7", Level::Debug, 191),
        ] {
            let syslog = LogSettings::from_config(&config(facility)).syslog.expect("it is enabled");
            syslog.send(path.to_str().unwrap(), &syslog.line(level, 12, ENTRY.at_ms, "hello"));
            let mut buffer = [0; 100];
            let length = listener.recv(&mut buffer).unwrap();
            let got = str::from_utf8(&buffer[..length]).unwrap();
            assert!(got.starts_with(&format!("<{priority}>Sep ")), "{got}");
            assert!(got.ends_with(" me[12]: hello"), "{got}");
        }
        assert_eq!(LogSettings::from_config(&Config::new()).syslog, None);
    }

    #[test]
    fn a_legacy_line_reads_like_one_of_redis() {
        let entry = Entry { message: "Server initialized", replica: true, ..ENTRY };
        let line = entry.line(Format::Legacy, Timestamp::Legacy);
        let words: Vec<&str> = line.trim_end().splitn(7, ' ').collect();
        assert_eq!([words[0], words[2], words[3]], ["12:S", "Sep", "2026"]);
        assert!(matches!(words[1], "17" | "18" | "19"), "{line}");
        assert!(words[4].ends_with(".789") && words[4].len() == 12, "{line}");
        assert_eq!(words[5..], ["*", "Server initialized"]);
    }

    #[test]
    fn logfmt_and_json_escape_the_message() {
        assert_eq!(
            ENTRY.line(Format::Logfmt, Timestamp::Milliseconds),
            "pid=12 role=master timestamp=\"1789734896789\" level=notice \
             message=\"a \\\"b\\\"\\n\\\\c\\u0001\"\n"
        );
        assert_eq!(
            ENTRY.line(Format::Json, Timestamp::Milliseconds),
            "{\"pid\":12,\"role\":\"master\",\"timestamp\":\"1789734896789\",\
             \"level\":\"notice\",\"message\":\"a \\\"b\\\"\\n\\\\c\\u0001\"}\n"
        );
    }

    #[test]
    fn iso_times_name_their_offset() {
        let text = time(ENTRY.at_ms, Timestamp::Iso8601);
        let parsed = DateTime::parse_from_rfc3339(&text).unwrap();
        assert_eq!(parsed.timestamp_millis(), ENTRY.at_ms);
        assert_eq!(time(i64::MAX, Timestamp::Iso8601), i64::MAX.to_string());
    }

    #[test]
    fn each_level_shows_itself_and_all_above() {
        let file = LogFile::new("levels");
        let handle = LogHandle::new(file.settings(Level::Debug));
        tracing::subscriber::with_default(handle.subscriber(), || {
            use Level::{Debug, Nothing, Notice, Verbose, Warning};
            for level in [Debug, Verbose, Notice, Warning, Nothing] {
                handle.apply(&file.settings(level));
                tracing::trace!("t");
                tracing::debug!("d");
                tracing::info!("i");
                tracing::warn!("w");
                tracing::error!("e");
            }
        });
        let expected = ". t,- d,* i,# w,# e,- d,* i,# w,# e,* i,# w,# e,# w,# e";
        assert_eq!(file.messages().join(","), expected);
    }

    #[test]
    fn libraries_are_heard_only_when_they_warn() {
        let file = LogFile::new("libraries");
        let handle = LogHandle::new(file.settings(Level::Debug));
        tracing::subscriber::with_default(handle.subscriber(), || {
            tracing::info!(target: "library", "quiet");
            tracing::warn!(target: "library::part", size = 7, name = "x", "loud");
            tracing::info!("own");
        });
        assert_eq!(file.messages(), ["# loud size=7 name=x", "* own"]);
    }

    #[test]
    fn a_moved_file_is_made_anew_and_the_role_changes() {
        let file = LogFile::new("moved");
        let handle = LogHandle::new(file.settings(Level::Notice));
        tracing::subscriber::with_default(handle.subscriber(), || {
            tracing::info!("one");
            fs::remove_file(&file.0).unwrap();
            handle.set_role(Role::Replica);
            tracing::info!("two");
        });
        assert_eq!(file.messages(), ["* two"]);
        assert!(fs::read_to_string(&file.0).unwrap().contains(":S "));
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_refused_in_the_words_of_redis() {
        let settings =
            LogSettings { file: Some("/nowhere/x.log".into()), ..LogSettings::default() };
        let error = init(settings).err().unwrap();
        assert_eq!(error.to_string(), "Can't open the log file: No such file or directory");
    }
}
