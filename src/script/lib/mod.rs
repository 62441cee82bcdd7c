//! The libraries that scripts find beside Lua's own: `cjson`, `cmsgpack`, `struct` and `bit`.
//!
//! They do what the C libraries of Redis 7.0 do, to the byte and to the wording of errors, which
//! includes how C converts numbers and how many stack slots a C function may use. They know
//! nothing of the server. Work on hostile input is iterative or bounded by a constant depth, and
//! what is built is bounded by [`LEN_MAX`].

mod args;
mod bit;
mod cjson;
mod cmsgpack;
mod number;
mod structs;
#[cfg(test)]
mod tests;

use mlua::{IntoLuaMulti, Lua, MultiValue, Table};

use super::raise::{self, Raised};
use args::Args;
pub(super) use cjson::Settings;

/// The longest string a library builds, which is the longest a value of the server can be.
const LEN_MAX: usize = 512 << 20;

/// Stack slots a C function may use in Lua 5.1; the depth that C code reaches follows from it.
const C_STACK_SLOTS_MAX: usize = 8000;

/// Tables that are kept in hand at once. mlua keeps them in a stack of the same size, which other
/// values of the server need too.
const TABLES_OPEN_MAX: usize = C_STACK_SLOTS_MAX - 256;

/// Creates the tables `cjson`, `cmsgpack`, `struct` and `bit` in the globals, and the `cjson` of functions,
/// whose settings are not those of scripts. Returns the settings of both.
pub(super) fn install(lua: &Lua) -> mlua::Result<[Settings; 2]> {
    let (globals, settings) = (lua.globals(), [Settings::default(), Settings::default()]);
    globals.raw_set("cjson", cjson::table(lua, &settings[0])?)?;
    globals.raw_set("function_cjson", cjson::table(lua, &settings[1])?)?;
    globals.raw_set("cmsgpack", cmsgpack::table(lua)?)?;
    globals.raw_set("struct", structs::table(lua)?)?;
    globals.raw_set("bit", bit::table(lua)?)?;
    Ok(settings)
}

/// Puts a function into the table of a library.
fn add<R, F>(lua: &Lua, table: &Table, name: &str, body: F) -> mlua::Result<()>
where
    R: IntoLuaMulti,
    F: Fn(&Args) -> Result<R, Raised> + Send + 'static,
{
    let body = move |lua: &Lua, values: MultiValue| body(&Args::new(lua, values));
    table.raw_set(name, raise::function(lua, body)?)
}
