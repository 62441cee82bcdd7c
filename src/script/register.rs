//! `redis.register_function`: what a library does while it loads.

use mlua::{Function, Lua, MultiValue, Table, Value};

use super::error::Raise;
use super::run::{Kind, RUN};
use super::shebang;
use super::unit::ScriptFlags;

/// A function that a library registers.
pub(super) struct Registered {
    pub(super) name: String,
    pub(super) description: Option<Vec<u8>>,
    pub(super) flags: ScriptFlags,
    pub(super) code: Function,
}

/// What a library has registered so far.
#[derive(Default)]
pub(super) struct Registration(pub(super) Vec<Registered>);

/// The arguments of `redis.register_function`, as far as they were given.
#[derive(Default)]
struct Arguments {
    name: Option<Vec<u8>>,
    description: Option<Vec<u8>>,
    flags: ScriptFlags,
    code: Option<Function>,
}

pub(super) fn register_function(lua: &Lua, args: MultiValue) -> mlua::Result<()> {
    let loading = RUN.with(|run| matches!(run.kind, Kind::Load));
    if !loading {
        return Err(Raise::err(
            "redis.register_function can only be called on FUNCTION LOAD command",
        ));
    }
    let arguments = match args.len() {
        1 => named(lua, args.front()),
        2 => positional(lua, &args),
        _ => Err("wrong number of arguments to redis.register_function"),
    };
    RUN.with(|run| {
        let registered = &mut run.state.registration.0;
        arguments.and_then(|arguments| add(registered, arguments)).map_err(Raise::err)
    })
}

fn add(registered: &mut Vec<Registered>, arguments: Arguments) -> Result<(), &'static str> {
    let name = arguments.name.ok_or("redis.register_function must get a function name argument")?;
    let code = arguments.code.ok_or("redis.register_function must get a callback argument")?;
    let name = String::from_utf8(name).ok().filter(|name| shebang::is_name(name.as_bytes()));
    let name = name.ok_or(
        "Library names can only contain letters, numbers, or underscores(_) and must be at least \
         one character long",
    )?;
    if registered.iter().any(|known| known.name == name) {
        return Err("Function already exists in the library");
    }
    let (description, flags) = (arguments.description, arguments.flags);
    registered.push(Registered { name, description, flags, code });
    Ok(())
}

/// A text, or a number as text.
fn as_text(lua: &Lua, value: Value) -> Option<Vec<u8>> {
    lua.coerce_string(value).ok().flatten().map(|text| text.as_bytes().to_vec())
}

fn positional(lua: &Lua, args: &MultiValue) -> Result<Arguments, &'static str> {
    let mut args = args.iter().cloned();
    let name = args.next().and_then(|name| as_text(lua, name));
    let name = name.ok_or("first argument to redis.register_function must be a string")?;
    let Some(Value::Function(code)) = args.next() else {
        return Err("second argument to redis.register_function must be a function");
    };
    Ok(Arguments { name: Some(name), code: Some(code), ..Arguments::default() })
}

fn named(lua: &Lua, arg: Option<&Value>) -> Result<Arguments, &'static str> {
    let Some(Value::Table(table)) = arg else {
        return Err(
            "calling redis.register_function with a single argument is only applicable to Lua \
             table (representing named arguments).",
        );
    };
    let mut entries = Vec::new();
    let listed = table.for_each(|key: Value, value: Value| {
        entries.push((key, value));
        Ok(())
    });
    listed.map_err(|_| "named arguments cannot be read")?;
    let mut arguments = Arguments::default();
    for (key, value) in entries {
        let key = as_text(lua, key);
        let key =
            key.ok_or("named argument key given to redis.register_function is not a string")?;
        set(lua, &mut arguments, &key.to_ascii_lowercase(), value)?;
    }
    Ok(arguments)
}

fn set(lua: &Lua, arguments: &mut Arguments, key: &[u8], value: Value) -> Result<(), &'static str> {
    match key {
        b"function_name" => {
            let name = as_text(lua, value);
            arguments.name = Some(name.ok_or(
                "function_name argument given to redis.register_function must be a string",
            )?);
        }
        b"description" => {
            let description = as_text(lua, value);
            arguments.description =
                Some(description.ok_or(
                    "description argument given to redis.register_function must be a string",
                )?);
        }
        b"callback" => match value {
            Value::Function(code) => arguments.code = Some(code),
            _ => {
                return Err(
                    "callback argument given to redis.register_function must be a function",
                );
            }
        },
        b"flags" => match value {
            Value::Table(list) => {
                arguments.flags = flags(lua, &list).ok_or("unknown flag given")?;
            }
            _ => {
                return Err(
                    "flags argument to redis.register_function must be a table representing \
                            function flags",
                );
            }
        },
        _ => return Err("unknown argument given to redis.register_function"),
    }
    Ok(())
}

fn flags(lua: &Lua, list: &Table) -> Option<ScriptFlags> {
    let mut flags = ScriptFlags::NONE;
    for index in 1.. {
        let value: Value = list.raw_get(index).ok()?;
        if value.is_nil() {
            break;
        }
        let name = as_text(lua, value)?;
        let known = ScriptFlags::NAMED
            .iter()
            .find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(&name));
        flags = flags.with(known?.0);
    }
    Some(flags)
}
