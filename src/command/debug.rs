//! DEBUG: what test suites need to look inside.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::args::Args;
use super::background::Background;
use super::client::reply_help;
use super::config::rewritten;
use super::context::{Ctx, Flow};
use super::debug_layout;
use super::error::CmdError;
use super::spec::{Command, Flags, Group, Locks};
use crate::base::limits::{ERROR_PREVIEW_MAX, STRING_LEN_MAX};
use crate::base::{bytes, number};
use crate::keyspace::Deadline;
use crate::resp::Protocol;
use crate::server::{ClientFlags, Server};
use crate::value::NewStr;

/// Longest DEBUG SLEEP, in seconds.
const SLEEP_MAX: f64 = 86_400.0;

pub(super) static COMMANDS: &[Command] = &[Command::new("debug", -2, debug)
    .group(Group::Server)
    .flags(Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::LOADING).with(Flags::STALE))
    .flags(Flags::PROTECTED)
    .locks(Locks::All)];

const HELP: &[&str] = &[
    "AOF-FLUSH-SLEEP <microseconds>",
    "    Let every write to the append-only file wait first.",
    "ASSERT",
    "    End the process as by an assertion that does not hold.",
    "CLIENT-EVICTION",
    "    Show how many clients take how much memory, while maxmemory-clients limits it.",
    "CONFIG-REWRITE-FORCE-ALL",
    "    Write all directives into the configuration file, defaults too.",
    "DIGEST",
    "    Show a number for all that the databases hold.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Show a number for the value of each <key>.",
    "ERROR <message>",
    "    Answer with <message> as an error, whose first word is its kind.",
    "HTSTATS <db> [FULL]",
    "    Show how the hash tables of a database are filled.",
    "HTSTATS-KEY <key> [FULL]",
    "    Show how the hash table of the value of <key> is filled.",
    "LEAK <string>",
    "    Lose the memory of a copy of <string>.",
    "LISTPACK <key>",
    "    Write the entries of the listpack at <key> to the log.",
    "LOG <message>",
    "    Write <message> to the log.",
    "OBJECT <key>",
    "    Show low-level properties of <key> and its value.",
    "PAUSE-CRON <0|1>",
    "    Stop the work that the server does on its own, or let it go on.",
    "PANIC",
    "    End the process as by a broken invariant.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Store <count> strings under <prefix>:0, <prefix>:1 and so on, where there is no such key.",
    "PROTOCOL <type>",
    "    Answer with a value of that type of the protocol.",
    "QUICKLIST <key> [<0|1>]",
    "    Write the nodes of the long list at <key> to the log, with 1 their entries too.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Give elements of <size> and more nodes of their own in long lists. 0 is the default.",
    "LOADAOF",
    "    Forget all data and load the append-only file.",
    "RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
    "    Save, forget all data and load it again; or leave one of that out.",
    "SEGFAULT",
    "    End the process as by an invalid access to memory.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Switch the background removal of expired keys off or on.",
    "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
    "    Take payloads whatever their checksum says, or refuse damaged ones.",
    "SLEEP <seconds>",
    "    Let this client wait. Decimals are allowed.",
    "REPLYBUFFER RESIZING <0 or 1>",
    "    For tests of Redis: nothing has to be resized, as idle clients have no reply buffer.",
    "STRINGMATCH-LEN <length> <pattern>",
    "    Match <pattern> against <length> letters a.",
];

fn debug(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let len = args.len();
    let name = bytes::lower(args.get(1));
    if let (Some(switch), 3) = (switch(ctx.server, &name), len) {
        switch.store(args.get(2) != b"0", Relaxed);
        ctx.out.ok();
        return Ok(Flow::Done);
    }
    match name.as_str() {
        "help" if len == 2 => reply_help(ctx.out, "DEBUG", HELP),
        "sleep" if len == 3 => return sleep(ctx, args),
        "segfault" if len == 2 => segfault(ctx),
        "panic" if len == 2 => panic!("called by DEBUG PANIC"),
        "assert" if len == 2 => panic!("assertion failed: called by DEBUG ASSERT"),
        "reload" => return reload(args),
        "aof-flush-sleep" if len == 3 => {
            let us = u64::try_from(args.integer(2)?).map_err(|_| CmdError::NotPositive)?;
            if let Some(writer) = ctx.server.propagation.writer() {
                writer.set_flush_delay(us);
            }
            ctx.out.ok();
        }
        "loadaof" if len == 2 => return Ok(load_append_only()),
        // A client has a reply buffer only while a reply waits, so there is none to resize.
        "replybuffer" if len == 4 && args.is(2, "resizing") => ctx.out.ok(),
        "log" if len == 3 => {
            let line = bytes::one_line(args.get(2), ERROR_PREVIEW_MAX);
            tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(&line));
            ctx.out.ok();
        }
        "digest" if len == 2 => super::digest::digest(ctx),
        "digest-value" if len >= 2 => super::digest::digest_value(ctx, args)?,
        "config-rewrite-force-all" if len == 2 => {
            rewritten(ctx.server.rewrite_config(true))?;
            ctx.out.ok();
        }
        "object" if len >= 3 => debug_layout::object(ctx, args)?,
        "htstats" if len >= 3 => debug_layout::htstats(ctx, args)?,
        "htstats-key" if len >= 3 => debug_layout::htstats_key(ctx, args)?,
        "listpack" if len == 3 => debug_layout::listpack(ctx, args)?,
        "quicklist" if len == 3 || len == 4 => debug_layout::quicklist(ctx, args)?,
        "client-eviction" if len == 2 => client_eviction(ctx)?,
        "error" if len == 3 => error(ctx, args),
        "leak" if len == 3 => {
            Box::leak(args.get(2).to_vec().into_boxed_slice());
            ctx.out.ok();
        }
        "quicklist-packed-threshold" if len == 3 => packed_threshold(ctx, args)?,
        "populate" if (3..=5).contains(&len) => populate(ctx, args)?,
        "protocol" if len == 3 => protocol(ctx, args)?,
        "stringmatch-len" if len == 4 => {
            let text = vec![b'a'; args.count(2)?.min(1 << 20)];
            let matches = crate::base::glob::matches(args.get(3), &text, false);
            ctx.out.integer(i64::from(matches));
        }
        _ => {
            return Err(CmdError::UnknownSubcommandOrArity {
                subcommand: bytes::preview(args.get(1), ERROR_PREVIEW_MAX),
                container: "DEBUG",
            });
        }
    }
    Ok(Flow::Done)
}

/// What a subcommand that takes 0 or 1 switches.
fn switch<'s>(server: &'s Server, name: &str) -> Option<&'s AtomicBool> {
    Some(match name {
        "set-active-expire" => &server.active_expire,
        "set-disable-deny-scripts" => &server.scripts_may_all,
        "set-skip-checksum-validation" => &server.settings.skip_checksums,
        "pause-cron" => &server.cron_paused,
        _ => return None,
    })
}

/// Ends the process as by an invalid access to memory.
fn segfault(ctx: &Ctx<'_>) {
    match ctx.server.crash.get() {
        Some(crash) => crash(),
        None => std::process::abort(),
    }
}

/// A simple error with the given text; line ends become spaces.
fn error(ctx: &mut Ctx<'_>, args: &Args<'_>) {
    let flat = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
    let line: Vec<u8> = args.get(2).iter().map(flat).collect();
    ctx.out.raw(&[b"-", &line[..], b"\r\n"].concat());
}

/// Least and most size of the classes that are shown, as powers of two.
const CLIENT_CLASSES: std::ops::RangeInclusive<u32> = 15..=33;

/// How many clients that may be closed take how much memory, by powers of two.
fn client_eviction(ctx: &mut Ctx<'_>) -> Result<(), CmdError> {
    if !ctx.server.limits_client_memory() {
        return Err(CmdError::NoClientLimit);
    }
    let (least, most) = (*CLIENT_CLASSES.start(), *CLIENT_CLASSES.end());
    let mut classes = vec![(0, 0); (most - least + 1) as usize];
    for handle in ctx.server.clients.all() {
        if !ClientFlags(handle.flags.load(Relaxed)).has(ClientFlags::NO_EVICT) {
            let bytes = handle.memory();
            let power = (bytes.max(1).ilog2() + 1).clamp(least, most);
            let (sum, count) = &mut classes[(power - least) as usize];
            (*sum, *count) = (*sum + bytes, *count + 1);
        }
    }
    let mut text = String::new();
    for (power, (bytes, clients)) in (least..).zip(classes) {
        let from = if power == least { 0 } else { 1_u64 << (power - 1) };
        let range = match power == most {
            true => format!("{from:10}+            "),
            false => format!("{from:10} - {:10}", (1_u64 << power) - 1),
        };
        text.push_str(&format!("bucket {range}: tot-mem: {bytes:10}, clients: {clients}\n"));
    }
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

fn reload(args: &Args<'_>) -> Result<Flow, CmdError> {
    let (mut save, mut forget, mut replaces) = (true, true, false);
    for word in args.rest(2) {
        match () {
            () if bytes::is_word(word, "nosave") => save = false,
            () if bytes::is_word(word, "noflush") => forget = false,
            () if bytes::is_word(word, "merge") => replaces = true,
            () => return Err(CmdError::DebugReload),
        }
    }
    Ok(apart_loading(move |server| {
        server
            .reload(save, forget, replaces)
            .inspect(|()| tracing::warn!("DB reloaded by DEBUG RELOAD"))
    }))
}

fn load_append_only() -> Flow {
    apart_loading(|server| {
        server
            .reload_append_only()
            .inspect(|()| tracing::warn!("Append Only File loaded by DEBUG LOADAOF"))
    })
}

/// Does `work` on a thread of its own; the log says why it failed.
fn apart_loading(work: impl FnOnce(&Arc<Server>) -> Result<(), String> + Send + 'static) -> Flow {
    Flow::Background(Background::on_thread("reload", |server| {
        let result = work(server).inspect_err(|reason| tracing::warn!("{reason}"));
        result.map_err(|_| CmdError::LoadFailed)
    }))
}

fn sleep(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let seconds = number::parse_f64(args.get(2)).unwrap_or(0.0).clamp(0.0, SLEEP_MAX);
    ctx.out.ok();
    Ok(Flow::Sleep((seconds * 1000.0).ceil() as u64))
}

/// The size from which elements of lists have nodes of their own.
fn packed_threshold(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), CmdError> {
    let size = std::str::from_utf8(args.get(2)).ok().and_then(crate::config::parse_memory);
    let size = size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size < 4 << 30);
    let len = match size.ok_or(CmdError::PackedThreshold)? {
        0 => usize::MAX,
        size => size,
    };
    ctx.server.keyspace.limits().set_list_plain_len(len);
    ctx.out.ok();
    Ok(())
}

/// Neither counted as changes nor propagated, as in Redis.
fn populate(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), CmdError> {
    let positive = |at| args.count(at);
    let (count, prefix) = (positive(2)?, if args.len() > 3 { args.get(3) } else { b"key" });
    let size = if args.len() > 4 { positive(4)?.min(STRING_LEN_MAX as usize) } else { 0 };
    for number in 0..count {
        let name = [prefix, format!(":{number}").as_bytes()].concat();
        let key = args.key_of(&name);
        if ctx.db.contains(key) {
            continue;
        }
        let mut value = format!("value:{number}").into_bytes();
        if size > 0 {
            value.resize(size, 0);
        }
        drop(ctx.db.set_string(key, NewStr::text(&value), Deadline::Clear));
    }
    ctx.out.ok();
    Ok(())
}

fn protocol(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), CmdError> {
    let resp3 = ctx.out.protocol() == Protocol::Resp3;
    let out = &mut *ctx.out;
    match bytes::lower(args.get(2)).as_str() {
        "string" => out.bulk(b"Hello World"),
        "integer" => out.integer(12345),
        "double" => out.double_text(b"3.141"),
        "null" => out.null(),
        "array" => reply_numbers(out, |out| out.array(3)),
        "set" => reply_numbers(out, |out| out.set(3)),
        "map" => {
            out.map(3);
            for number in 0..3 {
                out.integer(number);
                out.boolean(number == 1);
            }
        }
        "attrib" => {
            if resp3 {
                out.raw(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n");
            }
            out.bulk(b"Some real reply following the attribute");
        }
        "push" => {
            out.push(2);
            out.bulk(b"server-cpu-usage");
            out.integer(42);
        }
        "bignum" if resp3 => out.raw(b"(1234567999999999999999999999999999999\r\n"),
        "bignum" => out.bulk(b"1234567999999999999999999999999999999"),
        "true" => out.boolean(true),
        "false" => out.boolean(false),
        "verbatim" => out.verbatim("txt", b"This is a verbatim\nstring"),
        _ => return Err(CmdError::DebugProtocol),
    }
    Ok(())
}

fn reply_numbers(out: &mut crate::resp::ReplyBuf, head: impl Fn(&mut crate::resp::ReplyBuf)) {
    head(out);
    (0..3).for_each(|number| out.integer(number));
}
