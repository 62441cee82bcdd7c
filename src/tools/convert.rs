//! `redstart convert`: data from one kind of file into another, and what there is in it.
//!
//! The data passes through the memory of a server without sockets, loaded as the server loads it at
//! its start and written as it writes a snapshot.

mod bar;
mod report;
mod source;
mod stats;
mod target;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use parking_lot::Mutex;

use crate::command::CommandTable;
use crate::config::{Config, Invocation};
use crate::exec;
use crate::keyspace::Removed;
use crate::persist::rdb::{Format, Formats, Version};
use crate::persist::snapshot::Accesses;
use crate::server::Server;
use bar::Unit;
use source::{Done, Found, Source};
use target::{Shape, Target};

const ABOUT: &str = "Convert between RDB files and append-only files, or say what is in them";

const NOTES: &str = "\
IN is an RDB file of any version up to 15 or of Valkey, an append-only file of one piece, the manifest
of one in several, or the folder that the manifest is in. It is never changed. All data has to fit into
memory. Function libraries are carried over; keys that have expired are too, with their deadlines,
unless --drop-expired is given. Idle times and access counters of an RDB file are carried over only
with --usage.

Without --rdb-version, RDB files are of version 10, which Redis 7.0 and later and every Valkey load, or
of version 12 where fields of hashes have deadlines. With it, they are of that version or not written,
unless --field-deadline-version names another for deadlines of fields.

OUT appears when it is whole. The sizes that --stats gives are those in an RDB file without
compression.";

/// Runs it with its arguments, its own name first; says whether it did what was asked for.
pub(super) fn run(args: &[OsString]) -> bool {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            // Where nobody reads the text, nothing can be said about it.
            let _ = error.print();
            return error.exit_code() == 0;
        }
    };
    match convert(&matches) {
        Ok(()) => true,
        Err(reason) => {
            eprintln!("{reason}");
            false
        }
    }
}

fn command() -> Command {
    let flag =
        |name: &'static str, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let choice = |name: &'static str, values: &[&'static str], help| {
        let values = PossibleValuesParser::new(values.iter().copied());
        Arg::new(name).long(name).value_parser(values).help(help)
    };
    let number = |name: &'static str, default, max: u64, help| {
        let parser = value_parser!(u64).range(1..=max);
        Arg::new(name)
            .long(name)
            .value_name("N")
            .default_value(default)
            .value_parser(parser)
            .help(help)
    };
    let path = |name: &'static str| Arg::new(name).value_parser(value_parser!(PathBuf));
    Command::new("redstart convert")
        .bin_name("redstart convert")
        .about(ABOUT)
        .after_help(NOTES)
        .disable_version_flag(true)
        .arg(path("IN").required(true).help("What is read"))
        .arg(path("OUT").required_unless_present("stats").help("What is written"))
        .arg(choice("to", &["rdb", "aof", "aofdir"], "What OUT is; else by its name, .rdb or .aof"))
        .arg(choice("rdb-version", &["10", "11", "12", "80"], "The version; 80 is Valkey's"))
        .arg(choice(
            "field-deadline-version",
            &["12", "80", "refuse"],
            "The version where fields of hashes have deadlines",
        ))
        .arg(flag("no-compress", "Write long strings as they are"))
        .arg(flag("force", "Replace OUT if it is a file"))
        .arg(flag("drop-expired", "Leave out what has expired"))
        .arg(choice("usage", &["lru", "lfu"], "Carry over idle times, or access counters"))
        .arg(number("databases", "1024", 1 << 20, "How many databases there may be"))
        .arg(flag("stats", "Say what is in IN"))
        .arg(flag("json", "Say it as JSON").requires("stats"))
        .arg(number("top", "10", 10_000, "How many of the biggest keys to name").requires("stats"))
}

fn convert(matches: &ArgMatches) -> Result<(), String> {
    let path = |name| matches.get_one::<PathBuf>(name);
    let target = path("OUT").map(|out| target(matches, out)).transpose()?;
    let source = Source::find(path("IN").map_or(Path::new(""), PathBuf::as_path))?;
    if let Some(target) = &target {
        target.check(&source)?;
    }
    let server = server(matches)?;
    // The program ends afterwards; to free every value before would only take time.
    std::mem::forget(Arc::clone(&server));
    let found = load(&source, &server)?;
    if matches.get_flag("drop-expired") {
        drop_expired(&server);
    }
    if let Some(target) = target {
        // Between what is asked and what is told, somebody may have made it.
        target.check(&source)?;
        write(&target, &server)?;
    }
    if matches.get_flag("stats") {
        let top = matches.get_one::<u64>("top").copied().unwrap_or(0);
        let top = usize::try_from(top).unwrap_or(usize::MAX);
        say_stats(&server, &source, found, top, matches.get_flag("json"))?;
    }
    Ok(())
}

/// What is to be written, as the flags and the name say.
fn target(matches: &ArgMatches, out: &Path) -> Result<Target, String> {
    let word = |name| matches.get_one::<String>(name).map(String::as_str);
    let extension = out.extension().map(|extension| extension.to_ascii_lowercase());
    let shape = match (word("to"), extension.as_deref().and_then(std::ffi::OsStr::to_str)) {
        (Some("rdb"), _) | (None, Some("rdb")) => Shape::Rdb,
        (Some("aof"), _) | (None, Some("aof")) => Shape::Commands,
        (Some(_), _) => Shape::Folder,
        (None, _) => {
            let path = out.display();
            return Err(format!("{path}: say by --to whether it is to be rdb, aof or aofdir"));
        }
    };
    let compress = !matches.get_flag("no-compress");
    let format = |word| Format { version: version(word), compress };
    let usual = format(word("rdb-version").unwrap_or("10"));
    let deadlines = match (word("rdb-version"), word("field-deadline-version")) {
        _ if usual.version.has_field_deadlines() => Some(usual),
        (_, Some("refuse")) | (Some(_), None) => None,
        (_, other) => Some(format(other.unwrap_or("12"))),
    };
    let accesses = match word("usage") {
        Some("lru") => Accesses::Recency,
        Some(_) => Accesses::Frequency,
        None => Accesses::Unused,
    };
    let (formats, replaces) = (Formats { usual, deadlines }, matches.get_flag("force"));
    Ok(Target { path: out.to_owned(), shape, formats, accesses, replaces })
}

fn version(word: &str) -> Version {
    match word {
        "11" => Version::V11,
        "12" => Version::V12,
        "80" => Version::V80,
        _ => Version::V10,
    }
}

/// A server without sockets.
fn server(matches: &ArgMatches) -> Result<Arc<Server>, String> {
    let databases = matches.get_one::<u64>("databases").copied().unwrap_or(1);
    let policy = match matches.get_one::<String>("usage").map(String::as_str) {
        Some("lru") => "allkeys-lru",
        Some("lfu") => "allkeys-lfu",
        _ => "noeviction",
    };
    let options = format!(
        "databases {databases}\nmaxmemory-policy {policy}\nlfu-decay-time 0\nappendonly no\n"
    );
    let invocation = Invocation { options: options.into_bytes(), ..Invocation::default() };
    let config = Config::load(&invocation).map_err(|error| error.to_string())?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(Server::new(config, threads, CommandTable::catalog(), None))
}

fn load(source: &Source, server: &Arc<Server>) -> Result<Found, String> {
    let (done, total) = (Done::default(), source.bytes());
    server.begin_loading();
    let figures = || (done.bytes(), total);
    let found = bar::show("Loading", Unit::Bytes, figures, || {
        source.load(server, exec::RUNNER(server), &done)
    });
    server.end_loading();
    found
}

/// Removes what has expired, keys and fields.
fn drop_expired(server: &Server) {
    let now_ms = server.now_ms();
    for number in 0..server.keyspace.shard_count() {
        let mut shard = server.keyspace.lock(number);
        let mut more = true;
        while more {
            let mut removed = Removed::default();
            more = shard.expire_some(now_ms, now_ms, server.keyspace.hasher(), &mut removed);
        }
    }
}

fn write(target: &Target, server: &Server) -> Result<(), String> {
    let current = Mutex::default();
    let figures = || {
        let progress: Arc<crate::persist::snapshot::Progress> = Arc::clone(&current.lock());
        (progress.written.load(Relaxed), progress.keys.load(Relaxed))
    };
    let written = bar::show("Writing", Unit::Keys, figures, || target.write(server, &current))?;
    let version = match written.version {
        Some(version) => format!(", RDB version {}", version.number()),
        None => String::new(),
    };
    let (path, keys, bytes) = (target.path.display(), written.keys, written.bytes);
    eprintln!("{path}: {keys} keys, {bytes} bytes{version}");
    Ok(())
}

fn keys(server: &Server) -> u64 {
    let mut keys = 0;
    for number in 0..server.keyspace.shard_count() {
        let shard = server.keyspace.lock(number);
        let tables = (0..server.keyspace.databases()).filter_map(|db| shard.db(db));
        keys += tables.map(|table| table.len() as u64).sum::<u64>();
    }
    keys
}

fn say_stats(
    server: &Server,
    source: &Source,
    found: Found,
    top: usize,
    json: bool,
) -> Result<(), String> {
    let (seen, total) = (AtomicU64::new(0), keys(server));
    let figures = || (seen.load(Relaxed), total);
    let stats = bar::show("Counting", Unit::Keys, figures, || {
        stats::collect(server, source, found, top, &mut |keys| seen.store(keys, Relaxed))
    });
    let text = if json {
        let text = serde_json::to_string_pretty(&stats).map_err(|error| error.to_string())?;
        text + "\n"
    } else {
        report::text(&stats)
    };
    io::stdout().write_all(text.as_bytes()).map_err(|error| format!("standard output: {error}"))
}
