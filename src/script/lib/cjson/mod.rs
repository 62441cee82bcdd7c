//! `cjson`: JSON, as the lua-cjson 2.1.0 of Redis 7.0 reads and writes it.
//!
//! Here are the library's table and its settings: scripts and functions have a table each, and `new`
//! makes more. Settings last as long as the table, or until all scripts or functions are removed.

mod decode;
mod encode;
mod token;

use std::sync::Arc;

use mlua::{LightUserData, Lua, MultiValue, Table, Value};
use parking_lot::Mutex;

use super::super::raise::Raised;
use super::add;
use super::args::Args;

/// What `null` is in Lua, where tables cannot hold nil.
const NULL: Value = Value::LightUserData(LightUserData(std::ptr::null_mut()));

/// What to do with numbers that JSON has no form for.
#[derive(Clone, Copy, PartialEq)]
enum Invalid {
    Refuse,
    Write,
    Null,
}

/// The settings of one table of the library.
#[derive(Clone, Copy)]
struct Values {
    sparse_convert: bool,
    sparse_ratio: i32,
    sparse_safe: i32,
    encode_max_depth: i32,
    encode_invalid: Invalid,
    encode_precision: i32,
    encode_keep_buffer: bool,
    decode_invalid: bool,
    decode_max_depth: i32,
}

impl Values {
    const DEFAULT: Values = Values {
        sparse_convert: false,
        sparse_ratio: 2,
        sparse_safe: 10,
        encode_max_depth: 1000,
        encode_invalid: Invalid::Refuse,
        encode_precision: 14,
        encode_keep_buffer: true,
        decode_invalid: true,
        decode_max_depth: 1000,
    };
}

/// The settings that the functions of one table share.
#[derive(Clone)]
pub(in super::super) struct Settings(Arc<Mutex<Values>>);

impl Default for Settings {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Values::DEFAULT)))
    }
}

impl Settings {
    /// Back to what they are at first.
    pub(in super::super) fn reset(&self) {
        *self.0.lock() = Values::DEFAULT;
    }
}

/// The library's table, whose settings are `shared`.
pub(super) fn table(lua: &Lua, shared: &Settings) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let settings = shared.clone();
    add(lua, &table, "encode", move |args| {
        expect_one(args)?;
        let settings = *settings.0.lock();
        encode::encode(args.get(1).unwrap_or(&Value::Nil), &settings)
    })?;
    let settings = shared.clone();
    add(lua, &table, "decode", move |args| {
        expect_one(args)?;
        let settings = *settings.0.lock();
        let text = args.string(1)?;
        decode::decode(args.lua, &text.as_bytes(), &settings)
    })?;
    add_settings(lua, &table, shared)?;
    add(lua, &table, "new", |args| Ok(self::table(args.lua, &Settings::default())?))?;
    table.raw_set("null", NULL)?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    Ok(table)
}

fn expect_one(args: &Args) -> Result<(), Raised> {
    if args.len() == 1 { Ok(()) } else { Err(Raised::argument(1, "expected 1 argument")) }
}

/// Adds a function that changes settings and returns what they are then.
fn add_setting<F>(
    lua: &Lua,
    table: &Table,
    name: &str,
    shared: &Settings,
    body: F,
) -> mlua::Result<()>
where
    F: Fn(&Args, &mut Values) -> Result<Vec<Value>, Raised> + Send + 'static,
{
    let shared = shared.clone();
    add(lua, table, name, move |args| {
        // Not locked meanwhile: making a value may run a finalizer, and that may call us.
        let mut settings = *shared.0.lock();
        let results = body(args, &mut settings);
        *shared.0.lock() = settings;
        Ok(MultiValue::from_vec(results?))
    })
}

fn add_settings(lua: &Lua, table: &Table, shared: &Settings) -> mlua::Result<()> {
    add_setting(lua, table, "encode_sparse_array", shared, |args, settings| {
        at_most(args, 3)?;
        let convert = switch(args, 1, &mut settings.sparse_convert)?;
        let ratio = integer(args, 2, &mut settings.sparse_ratio, 0, i32::MAX)?;
        let safe = integer(args, 3, &mut settings.sparse_safe, 0, i32::MAX)?;
        Ok(vec![convert, ratio, safe])
    })?;
    add_setting(lua, table, "encode_max_depth", shared, |args, settings| {
        at_most(args, 1)?;
        Ok(vec![integer(args, 1, &mut settings.encode_max_depth, 1, i32::MAX)?])
    })?;
    add_setting(lua, table, "decode_max_depth", shared, |args, settings| {
        at_most(args, 1)?;
        Ok(vec![integer(args, 1, &mut settings.decode_max_depth, 1, i32::MAX)?])
    })?;
    add_setting(lua, table, "encode_number_precision", shared, |args, settings| {
        at_most(args, 1)?;
        Ok(vec![integer(args, 1, &mut settings.encode_precision, 1, 14)?])
    })?;
    add_setting(lua, table, "encode_keep_buffer", shared, |args, settings| {
        at_most(args, 1)?;
        Ok(vec![switch(args, 1, &mut settings.encode_keep_buffer)?])
    })?;
    add_setting(lua, table, "encode_invalid_numbers", shared, |args, settings| {
        at_most(args, 1)?;
        Ok(vec![invalid(args, &mut settings.encode_invalid)?])
    })?;
    add_setting(lua, table, "decode_invalid_numbers", shared, |args, settings| {
        at_most(args, 1)?;
        Ok(vec![switch(args, 1, &mut settings.decode_invalid)?])
    })
}

fn at_most(args: &Args, count: usize) -> Result<(), Raised> {
    if args.len() <= count {
        return Ok(());
    }
    Err(Raised::argument(count as i32 + 1, "found too many arguments"))
}

/// An integer setting. C names argument 1 whichever is out of range.
fn integer(
    args: &Args,
    position: usize,
    setting: &mut i32,
    min: i32,
    max: i32,
) -> Result<Value, Raised> {
    if !args.is_nil(position) {
        let value = args.integer(position)? as i32;
        if value < min || value > max {
            let text = format!("expected integer between {min} and {max}");
            return Err(Raised::argument(1, text));
        }
        *setting = value;
    }
    Ok(Value::Integer(i64::from(*setting)))
}

/// The place of the word that an argument is, among those allowed.
fn word(args: &Args, position: usize, words: &[&str]) -> Result<usize, Raised> {
    let given = args.string(position)?;
    let given = given.as_bytes();
    let end = given.iter().position(|&byte| byte == 0).unwrap_or(given.len());
    words.iter().position(|word| word.as_bytes() == &given[..end]).ok_or_else(|| {
        let text = [b"invalid option '", &given[..end], b"'"].concat();
        Raised::argument(position as i32, text)
    })
}

fn switch(args: &Args, position: usize, setting: &mut bool) -> Result<Value, Raised> {
    match args.get(position) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(on)) => *setting = *on,
        Some(_) => *setting = word(args, position, &["off", "on"])? == 1,
    }
    Ok(Value::Boolean(*setting))
}

fn invalid(args: &Args, setting: &mut Invalid) -> Result<Value, Raised> {
    match args.get(1) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(on)) => *setting = if *on { Invalid::Write } else { Invalid::Refuse },
        Some(_) => {
            *setting = match word(args, 1, &["off", "on", "null"])? {
                0 => Invalid::Refuse,
                1 => Invalid::Write,
                _ => Invalid::Null,
            }
        }
    }
    match setting {
        Invalid::Null => Ok(Value::String(args.lua.create_string("null")?)),
        other => Ok(Value::Boolean(*other == Invalid::Write)),
    }
}
