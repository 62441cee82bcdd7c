//! FUNCTION and FCALL: libraries of functions that stay until they are deleted.

use std::sync::atomic::Ordering::Relaxed;

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::introspect::help;
use super::scripting::{call, engine, is_flush_mode, run};
use super::spec::{Command, Flags, Group, Handler, KeySpec, Locks};
use crate::base::limits::ERROR_PREVIEW_MAX;
use crate::base::{bytes, glob};
use crate::persist::rdb::payload;
use crate::resp::ReplyBuf;
use crate::script::{Function, Library, RestorePolicy, Running, ScriptError, What};

const ALL_SHARDS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

pub(super) static COMMANDS: &[Command] = &[
    call("fcall", fcall).flags(Flags::MAY_REPLICATE).keys(&[KeySpec::counted(
        2,
        1,
        "RW",
        &["access", "update"],
    )
    .notes("any of them may be read or changed, that is up to the function")]),
    call("fcall_ro", fcall)
        .read()
        .keys(&[KeySpec::counted(2, 1, "RO", &["access"]).notes("any of them may be read")]),
    Command::new("function", -2, help).group(Group::Scripting).subcommands(&[
        function("delete", 3, delete).write().tips(ALL_SHARDS),
        function("dump", 2, dump),
        function("flush", -2, flush).write().tips(ALL_SHARDS),
        Command::new("help", 2, help)
            .group(Group::Scripting)
            .flags(Flags::LOADING.with(Flags::STALE))
            .help(HELP),
        row("kill", 2, kill)
            .flags(Flags::ALLOW_BUSY)
            .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
        function("list", -2, list).tips(&["nondeterministic_output_order"]),
        function("load", -3, load).grow().tips(ALL_SHARDS),
        function("restore", -3, restore).grow().tips(ALL_SHARDS),
        row("stats", 2, stats).flags(Flags::ALLOW_BUSY).tips(&[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ]),
    ]),
];

const HELP: &[&str] = &[
    "DELETE <library-name>",
    "    Delete a library and its functions.",
    "DUMP",
    "    Return all libraries as one text that RESTORE takes.",
    "FLUSH [ASYNC|SYNC]",
    "    Delete all libraries.",
    "KILL",
    "    End the function that is running, if it has written nothing.",
    "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
    "    Show the libraries, those whose name matches the pattern, with their functions and,",
    "    if asked for, their sources.",
    "LOAD [REPLACE] <function-code>",
    "    Load a library, in place of one of the same name if REPLACE is given.",
    "RESTORE <serialized-value> [FLUSH|APPEND|REPLACE]",
    "    Load the libraries of a dump: after deleting all others (FLUSH), beside them (APPEND,",
    "    the default), or in place of those of the same name (REPLACE).",
    "STATS",
    "    Show the function that is running and how many libraries and functions there are.",
];

const fn row(name: &'static str, arity: i32, handler: Handler) -> Command {
    Command::new(name, arity, handler).group(Group::Scripting).flags(Flags::NOSCRIPT)
}

/// A row of a command on the engine.
const fn function(name: &'static str, arity: i32, handler: Handler) -> Command {
    row(name, arity, handler).locks(Locks::Script)
}

fn fcall(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    run(ctx, args, What::Function, CmdError::KeyCount).map_err(|error| {
        // An unknown function comes before wrong numbers.
        let known = engine(&mut ctx.engine).has_function(args.get(1));
        if known { error } else { ScriptError::FunctionNotFound.into() }
    })
}

/// Replies that the libraries have changed.
fn changed(ctx: &mut Ctx<'_>) -> Result<Flow, CmdError> {
    ctx.db.changes().dirty += 1;
    ctx.out.ok();
    Ok(Flow::Done)
}

fn delete(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    engine(&mut ctx.engine).delete_library(args.get(2))?;
    changed(ctx)
}

fn dump(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let formats = ctx.server.settings.formats();
    let libraries = engine(&mut ctx.engine).libraries();
    ctx.out.bulk(&payload::of_functions(libraries.map(Library::source), &formats));
    Ok(Flow::Done)
}

fn flush(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    if args.len() > 3 {
        return Err(misused(args));
    }
    if !is_flush_mode(args) {
        return Err(CmdError::FunctionFlush);
    }
    engine(&mut ctx.engine).flush_libraries();
    changed(ctx)
}

fn misused(args: &Args<'_>) -> CmdError {
    let subcommand = bytes::preview(args.get(1), ERROR_PREVIEW_MAX);
    CmdError::UnknownSubcommandOrArity { subcommand, container: "FUNCTION" }
}

fn kill(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    ctx.server.scripts.kill(true)?;
    ctx.out.ok();
    Ok(Flow::Done)
}

fn list(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (mut pattern, mut with_code) = (None, false);
    let mut options = args.options(2);
    while let Some(word) = options.word() {
        if !with_code && bytes::is_word(word, "withcode") {
            with_code = true;
        } else if pattern.is_none() && bytes::is_word(word, "libraryname") {
            pattern = Some(options.value().map_err(|_| CmdError::LibraryNameMissing)?);
        } else {
            return Err(CmdError::FunctionListOption(bytes::preview(word, ERROR_PREVIEW_MAX)));
        }
    }
    let engine = engine(&mut ctx.engine);
    let matches = |name: &str| pattern.is_none_or(|p| glob::matches(p, name.as_bytes(), true));
    let libraries: Vec<_> = engine.libraries().filter(|library| matches(library.name())).collect();
    ctx.out.array(libraries.len());
    for library in libraries {
        ctx.out.map(3 + usize::from(with_code));
        ctx.out.text("library_name");
        ctx.out.text(library.name());
        ctx.out.text("engine");
        ctx.out.text("LUA");
        ctx.out.text("functions");
        ctx.out.array(library.functions().len());
        library.functions().iter().for_each(|function| reply_function(ctx.out, function));
        if with_code {
            ctx.out.text("library_code");
            ctx.out.bulk(library.source());
        }
    }
    Ok(Flow::Done)
}

fn reply_function(out: &mut ReplyBuf, function: &Function) {
    out.map(3);
    out.text("name");
    out.text(function.name());
    out.text("description");
    match function.description() {
        Some(description) => out.bulk(description),
        None => out.null(),
    }
    out.text("flags");
    out.set(function.flags().names().count());
    function.flags().names().for_each(|name| out.simple(name));
}

fn load(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let code = args.len() - 1;
    for option in 2..code {
        if !args.is(option, "replace") {
            let word = args.get(option);
            return Err(CmdError::FunctionLoadOption(bytes::preview(word, ERROR_PREVIEW_MAX)));
        }
    }
    let engine = engine(&mut ctx.engine);
    let name = engine.load_library(args.get(code), code > 2, true)?;
    ctx.db.changes().dirty += 1;
    ctx.out.text(&name);
    Ok(Flow::Done)
}

fn restore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    if args.len() > 4 {
        return Err(misused(args));
    }
    let policy = match args.len() {
        3 => RestorePolicy::default(),
        _ if args.is(3, "append") => RestorePolicy::Append,
        _ if args.is(3, "replace") => RestorePolicy::Replace,
        _ if args.is(3, "flush") => RestorePolicy::Flush,
        _ => return Err(CmdError::RestorePolicy),
    };
    let check = !ctx.server.settings.skip_checksums.load(Relaxed);
    let sources = payload::functions(args.get(2), check)?;
    engine(&mut ctx.engine).restore_libraries(sources.iter().map(Vec::as_slice), policy)?;
    changed(ctx)
}

fn stats(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let running = ctx.server.scripts.running();
    if running.as_ref().is_some_and(|running| !running.is_function) {
        return Err(ScriptError::BusyScript.into());
    }
    ctx.out.map(2);
    ctx.out.text("running_script");
    match running {
        Some(running) => reply_running(ctx.out, &running),
        None => ctx.out.null(),
    }
    ctx.out.text("engines");
    ctx.out.map(1);
    ctx.out.text("LUA");
    ctx.out.map(2);
    let (libraries, functions) = ctx.server.scripts.library_counts();
    ctx.out.text("libraries_count");
    ctx.out.count(libraries);
    ctx.out.text("functions_count");
    ctx.out.count(functions);
    Ok(Flow::Done)
}

fn reply_running(out: &mut ReplyBuf, running: &Running) {
    out.map(3);
    out.text("name");
    out.text(&running.name);
    out.text("command");
    let command = running.command.as_argv();
    out.array(command.len());
    command.iter().for_each(|arg| out.bulk(arg));
    out.text("duration_ms");
    out.count(running.started.elapsed().as_millis() as usize);
}
