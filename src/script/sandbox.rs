//! The interpreter and its fences: limits, errors, and compiling. What scripts see is built by
//! `prelude.lua`.
//!
//! - Memory: while a script's own code runs, the interpreter may have
//!   [`SCRIPT_MEMORY_MAX`] bytes, and so have the replies that it gets; other functions of the engine
//!   are not limited.
//! - Time: a hook asks the host every [`SCRIPT_TICK`] instructions whether to go on.
//! - Sources are text: compiled code is not loaded, as it can break the interpreter.

use std::ops::Range;

use mlua::chunk::ChunkMode;
use mlua::{Function, HookTriggers, Lua, LuaOptions, StdLib, Table, Value, VmState};

use super::error::Raise;
use super::run::RUN;
use super::unit::Unit;
use super::{api, intern, lib, pattern, raw};
use crate::base::limits::{
    SCRIPT_CHUNK_NAME_MAX, SCRIPT_MEMORY_MAX, SCRIPT_PATTERN_MAX, SCRIPT_SOURCE_MAX,
    SCRIPT_STRING_MAX, SCRIPT_TICK,
};
use crate::resp::Argv;

/// The name of the prelude's chunk; frames of its functions are passed over in messages.
const PRELUDE: &str = "=(sandbox)";
const PRELUDE_PLACE: &[u8] = b"(sandbox):";

/// The interpreter with the entries that the prelude returns.
pub(super) struct Sandbox {
    lua: Lua,
    report: Function,
    library: Function,
    script_globals: Table,
    /// Where the globals of scripts are, `KEYS` and `ARGV` among them.
    script_contents: Table,
    library_globals: Table,
    /// Those of `cjson`, of scripts and of functions.
    settings: [lib::Settings; 2],
}

/// Whose globals a chunk gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Script,
    Library,
}

impl Sandbox {
    /// An interpreter whose scripts are told `version` as that of the server.
    pub(super) fn new(version: &str) -> mlua::Result<Self> {
        intern::link();
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
        let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(false))?;
        let settings = lib::install(&lua)?;
        let number = version
            .split('.')
            .fold(0, |number: i64, part| number << 8 | part.parse::<i64>().unwrap_or(0));
        let prelude = lua.load(include_str!("prelude.lua")).set_name(PRELUDE).into_function()?;
        let limits = (SCRIPT_PATTERN_MAX, SCRIPT_STRING_MAX);
        let functions = api::functions(&lua)?;
        let entry: Table = prelude.call((&functions, version, number, limits.0, limits.1))?;
        let triggers = HookTriggers::new().every_nth_instruction(SCRIPT_TICK);
        lua.set_global_hook(triggers, |_, _| tick())?;
        Ok(Self {
            report: functions.raw_get("report")?,
            library: entry.raw_get("library")?,
            script_globals: entry.raw_get("script_globals")?,
            script_contents: entry.raw_get("script_contents")?,
            library_globals: entry.raw_get("library_globals")?,
            settings,
            lua,
        })
    }

    pub(super) fn lua(&self) -> &Lua {
        &self.lua
    }

    /// Forgets what scripts, or functions, set that outlasts them.
    pub(super) fn reset(&self, scope: Scope) {
        self.settings[scope as usize].reset();
    }

    /// Compiles a source; the error is Lua's message.
    pub(super) fn compile(&self, code: &[u8], scope: Scope) -> Result<Function, String> {
        let (name, globals) = match scope {
            Scope::Script => ("@user_script", &self.script_globals),
            Scope::Library => ("@user_function", &self.library_globals),
        };
        limited(&self.lua, || compile(&self.lua, code, name, globals))
    }

    /// Runs a script or function: whether it returned, and what, or what `report` made of its error.
    pub(super) fn run(
        &self,
        unit: &Unit,
        argv: Argv<'_>,
        (keys, args): (Range<usize>, Range<usize>),
    ) -> mlua::Result<(bool, Value)> {
        let (code, report) = (&unit.code, &self.report);
        let globals = (!unit.is_function).then_some(&self.script_contents);
        let result = raw::run(&self.lua, &raw::Entry { code, report, argv, keys, args, globals });
        self.lua.set_memory_limit(0)?;
        result
    }

    /// Lets go of the arguments of the script that ran last.
    pub(super) fn forget_arguments(&self) {
        for name in ["KEYS", "ARGV"] {
            _ = self.script_contents.raw_set(name, mlua::Nil);
        }
    }

    /// Runs a library's code, which registers its functions.
    pub(super) fn load(&self, code: &Function) -> mlua::Result<(bool, Value)> {
        limited(&self.lua, || self.library.call(code))
    }
}

/// The hook; whoever works for a script without Lua asks it too.
pub(super) fn tick() -> mlua::Result<VmState> {
    if !RUN.is_set() {
        return Ok(VmState::Continue);
    }
    match RUN.with(|mut run| run.tick()) {
        Some(text) => Err(Raise::Stop(text).into_lua()),
        None => Ok(VmState::Continue),
    }
}

/// Runs `f` with the script's limit of memory.
fn limited<R>(lua: &Lua, f: impl FnOnce() -> R) -> R {
    _ = lua.set_memory_limit(SCRIPT_MEMORY_MAX);
    let result = f();
    _ = lua.set_memory_limit(0);
    result
}

/// Runs a function of the engine without it.
pub(super) fn unlimited<R>(lua: &Lua, f: impl FnOnce() -> R) -> R {
    _ = lua.set_memory_limit(0);
    let result = f();
    _ = lua.set_memory_limit(SCRIPT_MEMORY_MAX);
    result
}

/// Adds the functions that only the prelude uses.
pub(super) fn add_functions(lua: &Lua, table: &Table) -> mlua::Result<()> {
    table.raw_set("settle", lua.create_function(settle)?)?;
    table.raw_set("report", lua.create_function(report)?)?;
    table.raw_set("compile", lua.create_function(load_string)?)?;
    pattern::add_functions(lua, table)
}

fn compile(lua: &Lua, code: &[u8], name: &str, globals: &Table) -> Result<Function, String> {
    if code.first() == Some(&0x1b) {
        let shown = match name.strip_prefix(['@', '=']) {
            Some(name) => name.to_owned(),
            None => format!("[string \"{}\"]", name.lines().next().unwrap_or_default()),
        };
        return Err(format!("{shown}:1: unexpected symbol near 'char(27)'"));
    }
    if code.len() > SCRIPT_SOURCE_MAX {
        return Err("source is too long".to_owned());
    }
    // The parser of Lua 5.1 does not hold on to the name while it runs, and the collector may free it.
    // Equal strings are one, so this one keeps it.
    let anchor = lua.create_string(name).map_err(|error| message(&error))?;
    let chunk = lua.load(code).set_name(name).set_mode(ChunkMode::Text);
    let compiled = chunk.set_environment(globals.clone()).into_function();
    drop(anchor);
    compiled.map_err(|error| message(&error))
}

/// `loadstring` with the globals of the chunk: the function, or nil and why not.
fn load_string(
    lua: &Lua,
    (globals, text, name): (Table, Value, Option<mlua::LuaString>),
) -> mlua::Result<(Option<Function>, Option<String>)> {
    let got = text.type_name();
    let Some(text) = lua.coerce_string(text)? else {
        let text = format!("bad argument #1 to 'loadstring' (string expected, got {got})");
        return Err(mlua::Error::runtime(text));
    };
    let code = text.as_bytes();
    let name = match &name {
        Some(name) => chunk_name(&name.as_bytes()),
        None => chunk_name(&code),
    };
    Ok(match compile(lua, &code, &name, &globals) {
        Ok(function) => (Some(function), None),
        Err(message) => (None, Some(message)),
    })
}

/// A chunk's name no longer than messages show of it.
fn chunk_name(name: &[u8]) -> String {
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(&name[..name.len().min(SCRIPT_CHUNK_NAME_MAX)]).into_owned()
}

/// What Lua says of an error.
pub(super) fn message(error: &mlua::Error) -> String {
    match error {
        mlua::Error::SyntaxError { message, .. } | mlua::Error::RuntimeError(message) => {
            let end = message.find("\nstack traceback:").unwrap_or(message.len());
            message[..end].to_owned()
        }
        mlua::Error::MemoryError(_) => "not enough memory".to_owned(),
        mlua::Error::CallbackError { cause, .. } => message(cause),
        other => other.to_string(),
    }
}

/// What stands for a caught error: a plain value of Lua, and whether it cannot be caught at all.
fn settle(lua: &Lua, failure: Value) -> mlua::Result<(Value, bool)> {
    unlimited(lua, || match &failure {
        Value::Error(error) => settled(lua, error),
        Value::String(text) => match own_place(&text.as_bytes()) {
            Some(rest) => Ok((Value::String(lua.create_string(rest)?), false)),
            None => Ok((failure, false)),
        },
        _ => Ok((failure, false)),
    })
}

fn settled(lua: &Lua, error: &mlua::Error) -> mlua::Result<(Value, bool)> {
    let (mut cause, mut trace) = (error, "");
    while let mlua::Error::CallbackError { cause: inner, traceback } = cause {
        (cause, trace) = (&**inner, traceback);
    }
    let raise = match cause {
        mlua::Error::ExternalError(error) => error.downcast_ref::<Raise>(),
        _ => None,
    };
    Ok(match raise {
        Some(Raise::Reply { text, counted }) => {
            (Value::Table(super::value::error_table(lua, text, *counted)?), false)
        }
        Some(Raise::Stop(text)) => {
            (Value::Table(super::value::error_table(lua, text.as_bytes(), false)?), true)
        }
        None => {
            let text = format!("{}{}", place(trace), message(cause));
            (Value::String(lua.create_string(text)?), false)
        }
    })
}

/// What follows the place in a message that names a place in the prelude.
fn own_place(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(PRELUDE_PLACE)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    rest[digits..].strip_prefix(b": ")
}

/// The place of whoever called the function that raised, as messages begin with it, from the trace
/// that the interpreter keeps of errors; nothing if that is no code of a script.
fn place(trace: &str) -> String {
    let frames = trace.lines().map(str::trim_start).skip_while(|line| !line.starts_with("[C]"));
    let own = |frame: &&str| frame.starts_with("(sandbox):");
    match frames.skip(1).find(|frame| !own(frame)).and_then(|frame| frame.split_once(": in ")) {
        Some((place, _)) if !place.starts_with("[C]") => format!("{place}: "),
        _ => String::new(),
    }
}

/// The handler of errors that nobody catches: a table of the text (`err`) and of the place (`source`,
/// `line`) where it was raised, or where the function that raised it was called.
fn report(lua: &Lua, failure: Value) -> mlua::Result<Table> {
    let (failure, _) = match failure {
        Value::Error(_) => settle(lua, failure)?,
        other => (other, false),
    };
    let place = raised_at(lua);
    unlimited(lua, || {
        let table = lua.create_table_with_capacity(0, 4)?;
        match &failure {
            Value::Table(error) => {
                for field in ["err", "ignore_error_stats_update"] {
                    table.raw_set(field, error.raw_get::<Value>(field)?)?;
                }
            }
            Value::String(text) => {
                let text = text.as_bytes();
                let mut full = b"ERR ".to_vec();
                let rest = own_place(&text);
                // None if the call was the last thing that the script did, and its frame is gone.
                if let (Some(_), Some((source, line))) = (rest, &place) {
                    let shown = source.trim_start_matches(['@', '=']);
                    full.extend_from_slice(format!("{shown}:{line}: ").as_bytes());
                }
                full.extend_from_slice(rest.unwrap_or(&text));
                table.raw_set("err", lua.create_string(full)?)?;
            }
            other => table.raw_set("err", format!("ERR {}", other.to_string()?))?,
        }
        if let Some((source, line)) = place {
            table.raw_set("source", source)?;
            table.raw_set("line", line)?;
        }
        Ok(table)
    })
}

/// Source and line of the function of a script that raised the error being handled, or that called
/// the native function that did.
fn raised_at(lua: &Lua) -> Option<(String, i64)> {
    for level in 0.. {
        let (what, source, line) = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let line = frame.current_line().map_or(-1, |line| line as i64);
            (source.what, source.source.unwrap_or_default().into_owned(), line)
        })?;
        if !matches!(what, "C" | "tail") && source != PRELUDE {
            return Some((source, line));
        }
    }
    None
}
