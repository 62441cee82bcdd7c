//! The title of the process, as `ps` shows it: `set-proc-title` and `proc-title-template`.
//!
//! Linux shows the memory in which the program's arguments were handed over. The title is written over
//! them through `/proc/self/mem`, at the place that `/proc/self/stat` names. Nothing refers to that
//! memory but the C library's list of arguments, which is read once, at the beginning of `main`. A title
//! that is longer than the arguments needs room: the program executes itself once more with one
//! argument of blanks behind the others, before anything is opened; [`without_room`] takes it away.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::base::os_error;
use crate::config::Config;

/// Longest title for which there is room, in bytes.
const ROOM: usize = 512;

/// The arguments without the one that makes room, and whether it was there.
pub fn without_room(mut args: Vec<OsString>) -> (Vec<OsString>, bool) {
    let is_room =
        |arg: &OsString| arg.len() == ROOM && arg.as_encoded_bytes().iter().all(|b| *b == b' ');
    let has = args.len() > 1 && args.last().is_some_and(is_room);
    if has {
        args.pop();
    }
    (args, has)
}

/// Executes the program anew with room for a title. Returns only if that is not possible, and then the
/// title is cut off at the length of the arguments.
pub(super) fn make_room(args: &[OsString]) {
    let Some((name, rest)) = args.split_first() else { return };
    let Ok(program) = std::env::current_exe() else { return };
    let error = Command::new(program).arg0(name).args(rest).arg(" ".repeat(ROOM)).exec();
    tracing::debug!("No room for the title of the process: {}", os_error::text(&error));
}

/// Writes the title.
pub(super) struct Title {
    /// Name under which the program was called.
    name: String,
    /// Where the arguments begin and end.
    place: Option<(u64, u64)>,
}

impl Title {
    /// The place of the title of a program that was called by `name`; none where `set-proc-title` is off.
    pub(super) fn new(config: &Config, name: &OsStr) -> Self {
        let place = if config.flag("set-proc-title") { place() } else { None };
        Self { name: name.to_string_lossy().into_owned(), place }
    }

    /// Shows what `proc-title-template` and the other directives say now.
    pub(super) fn show(&self, config: &Config) {
        let Some((start, end)) = self.place else { return };
        let title = expand(config.text("proc-title-template"), &self.name, config);
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
        let Some(room) = bytes.len().checked_sub(2) else { return };
        let length = title.len().min(room);
        bytes[..length].copy_from_slice(&title.as_bytes()[..length]);
        // The kernel takes this for the sign of a title that ends where the text does.
        *bytes.last_mut().expect("there are two at least") = b'.';
        let written = write_at(start, &bytes);
        if let Err(error) = written {
            tracing::debug!("The title of the process stays: {}", os_error::text(&error));
        }
    }
}

fn write_at(start: u64, bytes: &[u8]) -> io::Result<()> {
    let memory: File = OpenOptions::new().write(true).open("/proc/self/mem")?;
    memory.write_all_at(bytes, start)
}

/// Where the arguments are: fields 48 and 49 of `/proc/self/stat` (proc(5)).
fn place() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in brackets, may hold spaces; fields are counted behind it, from the third.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(45);
    let mut next = || fields.next()?.parse::<u64>().ok();
    let (start, end) = (next()?, next()?);
    (start > 0 && end > start).then_some((start, end))
}

/// The title that a template describes.
fn expand(template: &str, name: &str, config: &Config) -> String {
    let number = |directive| config.int(directive).to_string();
    let value = |variable: &str| match variable {
        "title" => name.to_owned(),
        "listen-addr" => address(config),
        "port" => number("port"),
        "tls-port" => number("tls-port"),
        "unixsocket" => config.text("unixsocket").to_owned(),
        "config-file" => config.path().map_or(String::new(), |path| path.display().to_string()),
        // "server-mode": neither a cluster nor a sentinel.
        _ => String::new(),
    };
    let mut parts = template.split('{');
    let mut title = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').unwrap_or((part, ""));
        title.push_str(&value(variable));
        title.push_str(rest);
    }
    title.trim().to_owned()
}

/// The address by which clients reach the server, best known first.
fn address(config: &Config) -> String {
    let port = match config.int("port") {
        0 => config.int("tls-port"),
        port => port,
    };
    match config.words("bind").first() {
        Some(bind) if port != 0 => format!("{bind}:{port}"),
        None if port != 0 => format!("*:{port}"),
        _ => format!("unixsocket:{}", config.text("unixsocket")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_expanded() {
        let mut config = Config::new();
        assert_eq!(expand("{title} {listen-addr} {server-mode}", "a/b", &config), "a/b *:6379");
        let pairs: [(&[u8], &[u8]); 2] = [(b"port", b"0"), (b"tls-port", b"7")];
        config.set(&pairs).expect("both can be set");
        assert_eq!(expand("X{port}{tls-port}-{config-file}", "", &config), "X07-");
        assert_eq!(address(&config), "*:7");
    }

    #[test]
    fn room_is_taken_away() {
        let args = |last: &str| vec![OsString::from("a"), OsString::from(last)];
        assert_eq!(without_room(args(&" ".repeat(ROOM))), (vec!["a".into()], true));
        assert_eq!(without_room(args("b")), (args("b"), false));
    }

    #[test]
    fn the_arguments_have_a_place() {
        assert!(place().is_some());
    }
}
