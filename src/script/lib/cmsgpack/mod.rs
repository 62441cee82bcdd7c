//! `cmsgpack`: MessagePack, as lua-cmsgpack 0.4.0 writes and reads it.
//!
//! Numbers that are integers are packed as such, others as the shortest float that holds them.
//! Tables whose keys are 1 to n are arrays, all others maps; values that have no form are nil.

mod pack;
mod unpack;

use mlua::{Lua, Table};

use super::add;
use pack::pack;
use unpack::unpack;

/// The library's table.
pub(super) fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    add(lua, &table, "pack", pack)?;
    add(lua, &table, "unpack", |args| unpack(args, 0, 0))?;
    add(lua, &table, "unpack_one", |args| unpack(args, 1, args.integer_or(2, 0)?))?;
    add(lua, &table, "unpack_limit", |args| {
        let limit = args.integer(2)?;
        unpack(args, limit, args.integer_or(3, 0)?)
    })?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(table)
}
