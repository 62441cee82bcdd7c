//! DEBUG: what test suites need to look inside.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::args::Args;
use super::background::Background;
use super::client::reply_help;
use super::config::rewritten;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::spec::{Command, Flags, Group, Locks};
use crate::base::limits::{ERROR_PREVIEW_MAX, STRING_LEN_MAX};
use crate::base::{bytes, number};
use crate::keyspace::{Deadline, Lookup};
use crate::persist::rdb::payload;
use crate::resp::Protocol;
use crate::server::Server;
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
    "CONFIG-REWRITE-FORCE-ALL",
    "    Write all directives into the configuration file, defaults too.",
    "DIGEST",
    "    Show a number for all that the databases hold.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Show a number for the value of each <key>.",
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
    match bytes::lower(args.get(1)).as_str() {
        "help" if len == 2 => reply_help(ctx.out, "DEBUG", HELP),
        "sleep" if len == 3 => return sleep(ctx, args),
        "segfault" if len == 2 => segfault(ctx),
        "panic" if len == 2 => panic!("called by DEBUG PANIC"),
        "reload" => return reload(args),
        "aof-flush-sleep" if len == 3 => {
            let us = u64::try_from(args.integer(2)?).map_err(|_| CmdError::NotPositive)?;
            if let Some(writer) = ctx.server.propagation.writer() {
                writer.set_flush_delay(us);
            }
            ctx.out.ok();
        }
        "loadaof" if len == 2 => return Ok(load_append_only()),
        "set-active-expire" if len == 3 => {
            ctx.server.active_expire.store(args.get(2) != b"0", Relaxed);
            ctx.out.ok();
        }
        "set-disable-deny-scripts" if len == 3 => {
            ctx.server.scripts_may_all.store(args.get(2) != b"0", Relaxed);
            ctx.out.ok();
        }
        "set-skip-checksum-validation" if len == 3 => {
            ctx.server.settings.skip_checksums.store(args.get(2) != b"0", Relaxed);
            ctx.out.ok();
        }
        "pause-cron" if len == 3 => {
            ctx.server.cron_paused.store(args.get(2) != b"0", Relaxed);
            ctx.out.ok();
        }
        // A client has a reply buffer only while a reply waits, so there is none to resize.
        "replybuffer" if len == 4 && args.is(2, "resizing") => ctx.out.ok(),
        "log" if len == 3 => {
            tracing::warn!("DEBUG LOG: {}", bytes::preview(args.get(2), ERROR_PREVIEW_MAX));
            ctx.out.ok();
        }
        "digest" if len == 2 => super::digest::digest(ctx),
        "digest-value" if len > 2 => super::digest::digest_value(ctx, args)?,
        "config-rewrite-force-all" if len == 2 => {
            rewritten(ctx.server.rewrite_config(true))?;
            ctx.out.ok();
        }
        "object" if len >= 3 => object(ctx, args)?,
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

/// Ends the process as by an invalid access to memory.
fn segfault(ctx: &Ctx<'_>) {
    match ctx.server.crash.get() {
        Some(crash) => crash(),
        None => std::process::abort(),
    }
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

fn object(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), CmdError> {
    let (key, policy, now_ms) = (args.key(2), ctx.db.policy(), ctx.now_ms);
    let formats = ctx.server.settings.formats();
    let entry = ctx.db.lookup(key, Lookup::Silent).ok_or(CmdError::NoSuchKey)?;
    let value = entry.value();
    let serialized_len = payload::body_len(value, &formats);
    let access = entry.access();
    let idle = if policy.lfu { 0 } else { policy.idle_ms(access, now_ms) / 1000 };
    let text = format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{} lru:{access} \
         lru_seconds_idle:{idle}",
        entry.address(),
        value.encoding(),
        serialized_len,
    );
    ctx.out.simple(&text);
    Ok(())
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
