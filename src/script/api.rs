//! The functions that scripts find in `redis` and `math`, and those that the prelude is built on.
//!
//! They reach the running script through [`RUN`]. An error is a plain text, to which whoever catches
//! it adds the place where it was raised, or a [`Raise`].

use mlua::{Lua, MultiValue, Table, Value, Variadic};
use sha1::{Digest, Sha1};

use super::arguments::{Argument, Arguments};
use super::error::Raise;
use super::run::{Kind, RUN, Run, stack_address};
use super::sandbox;
use super::value::{error_table, error_text};
use super::{raw, register};
use crate::base::limits::SCRIPT_STACK_MAX;
use crate::resp::Protocol;

/// A table of all functions of the engine.
pub(super) fn functions(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let set = |name, function| table.raw_set(name, function);
    let (call, pcall) = raw::functions(lua)?;
    set("call", call)?;
    set("pcall", pcall)?;
    set("sha1hex", lua.create_function(sha1hex)?)?;
    set("error_reply", lua.create_function(error_reply)?)?;
    set("status_reply", lua.create_function(status_reply)?)?;
    set("log", lua.create_function(log)?)?;
    set("setresp", lua.create_function(setresp)?)?;
    set("set_repl", lua.create_function(set_repl)?)?;
    set("acl_check_cmd", lua.create_function(acl_check_cmd)?)?;
    set("random", lua.create_function(random)?)?;
    set("randomseed", lua.create_function(randomseed)?)?;
    set("deep", lua.create_function(deep)?)?;
    set("register_function", lua.create_function(register::register_function)?)?;
    sandbox::add_functions(lua, &table)?;
    Ok(table)
}

/// The words of a command that is given by its arguments.
fn collect(args: &MultiValue, arguments: &mut Arguments) -> Result<(), &'static str> {
    arguments.begin(args.len())?;
    args.iter().try_for_each(|arg| match arg {
        Value::String(text) => arguments.add(Argument::Text(&text.as_bytes())),
        Value::Integer(value) => arguments.add(Argument::Number(*value as f64)),
        Value::Number(value) => arguments.add(Argument::Number(*value)),
        _ => arguments.add(Argument::Other),
    })
}

fn sha1hex(lua: &Lua, args: MultiValue) -> mlua::Result<String> {
    if args.len() != 1 {
        return Err(Raise::err("wrong number of arguments"));
    }
    let text = args.front().cloned().map(|value| lua.coerce_string(value)).transpose()?.flatten();
    Ok(hex_digest(text.as_ref().map(mlua::LuaString::as_bytes).as_deref().unwrap_or_default()))
}

/// The SHA-1 of `text` in lower-case hexadecimal digits.
pub(super) fn hex_digest(text: &[u8]) -> String {
    hex(&Sha1::digest(text).into())
}

/// The digits of a digest.
pub(super) fn hex(digest: &[u8; 20]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// The only argument, if it is a string.
fn only_string(args: &MultiValue) -> Option<&mlua::LuaString> {
    match args.front() {
        Some(Value::String(text)) if args.len() == 1 => Some(text),
        _ => None,
    }
}

const WRONG_ARGUMENTS: &[u8] = b"ERR wrong number or type of arguments";

fn error_reply(lua: &Lua, args: MultiValue) -> mlua::Result<Table> {
    match only_string(&args) {
        Some(text) => error_table(lua, &error_text(&text.as_bytes()), false),
        None => error_table(lua, WRONG_ARGUMENTS, false),
    }
}

fn status_reply(lua: &Lua, args: MultiValue) -> mlua::Result<Table> {
    let Some(text) = only_string(&args) else {
        return error_table(lua, WRONG_ARGUMENTS, false);
    };
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set("ok", text)?;
    Ok(table)
}

/// A number, or a text that is one, as Lua's own functions take them.
fn as_number(lua: &Lua, value: Option<&Value>) -> Option<f64> {
    lua.coerce_number(value.cloned()?).ok().flatten()
}

fn log(lua: &Lua, args: MultiValue) -> mlua::Result<()> {
    if args.len() < 2 {
        return Err(Raise::err("redis.log() requires two arguments or more."));
    }
    let level = as_number(lua, args.front());
    let level = level.ok_or_else(|| Raise::err("First argument must be a number (log level)."))?;
    if !(0.0..4.0).contains(&level) {
        return Err(Raise::err("Invalid debug level."));
    }
    let mut text = Vec::new();
    for (index, value) in args.iter().skip(1).enumerate() {
        let Some(part) = lua.coerce_string(value.clone())? else { continue };
        if index > 0 {
            text.push(b' ');
        }
        text.extend_from_slice(&part.as_bytes());
    }
    RUN.with(|run| match run.kind {
        Kind::Call(_, host) => host.log(level as u8, &text),
        Kind::Load => super::run::log(level as u8, &text),
    });
    Ok(())
}

fn setresp(lua: &Lua, args: MultiValue) -> mlua::Result<()> {
    RUN.with(|run| {
        if matches!(run.kind, Kind::Load) {
            return Err(Raise::err("redis.setresp can only be called inside a script invocation"));
        }
        if args.len() != 1 {
            return Err(Raise::err("redis.setresp() requires one argument."));
        }
        run.state.protocol = match as_number(lua, args.front()).unwrap_or(0.0) as i64 {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err(Raise::err("RESP version must be 2 or 3.")),
        };
        Ok(())
    })
}

fn set_repl(lua: &Lua, args: MultiValue) -> mlua::Result<()> {
    RUN.with(|run| {
        let Kind::Call(_, host) = run.kind else {
            return Err(Raise::err("redis.set_repl can only be called inside a script invocation"));
        };
        if args.len() != 1 {
            return Err(Raise::err("redis.set_repl() requires two arguments."));
        }
        match as_number(lua, args.front()).unwrap_or(0.0) as i64 {
            mask @ 0..=3 => host.set_repl(mask as u8),
            _ => {
                return Err(Raise::err(
                    "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
                ));
            }
        }
        Ok(())
    })
}

fn acl_check_cmd(_: &Lua, args: MultiValue) -> mlua::Result<bool> {
    RUN.with(|run| {
        let Run { kind: Kind::Call(_, host), state } = run else {
            return Err(Raise::err(
                "redis.acl_check_cmd can only be called inside a script invocation",
            ));
        };
        collect(&args, &mut state.arguments).map_err(Raise::err)?;
        let allowed = host.acl_check(state.arguments.as_argv());
        allowed.map_err(|text| Raise::err(&text))
    })
}

/// The number at `index` as C's `luaL_checkint` takes it.
fn check_int(lua: &Lua, args: &[Value], index: usize, name: &str) -> mlua::Result<i64> {
    let value = args.get(index);
    as_number(lua, value).map(|number| i64::from(number as i32)).ok_or_else(|| {
        let got = value.map_or("no value", Value::type_name);
        let at = index + 1;
        mlua::Error::runtime(format!("bad argument #{at} to '{name}' (number expected, got {got})"))
    })
}

fn random(lua: &Lua, args: Variadic<Value>) -> mlua::Result<Value> {
    let fraction = RUN.with(|run| match run.kind {
        Kind::Call(..) => Ok(run.state.random.next_fraction()),
        Kind::Load => {
            Err(mlua::Error::runtime("math.random can only be called inside a script invocation"))
        }
    })?;
    let (low, high) = match args.len() {
        0 => return Ok(Value::Number(fraction)),
        1 => (1, check_int(lua, &args, 0, "random")?),
        2 => (check_int(lua, &args, 0, "random")?, check_int(lua, &args, 1, "random")?),
        _ => return Err(mlua::Error::runtime("wrong number of arguments")),
    };
    if low > high {
        let text = format!("bad argument #{} to 'random' (interval is empty)", args.len());
        return Err(mlua::Error::runtime(text));
    }
    let span = (high - low + 1) as f64;
    Ok(Value::Number((fraction * span).floor() + low as f64))
}

fn randomseed(lua: &Lua, args: Variadic<Value>) -> mlua::Result<()> {
    let seed = check_int(lua, &args, 0, "randomseed")?;
    RUN.with(|run| run.state.random.seed(seed as i32));
    Ok(())
}

/// Refuses to go deeper where the native stack may end.
fn deep(_: &Lua, (): ()) -> mlua::Result<()> {
    let used = RUN.with(|run| run.state.stack.abs_diff(stack_address()));
    if used > SCRIPT_STACK_MAX {
        return Err(mlua::Error::runtime("C stack overflow"));
    }
    Ok(())
}
