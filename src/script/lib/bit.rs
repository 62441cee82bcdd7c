//! `bit`: operations on the 32 bits of a number, as Lua BitOp 1.0.2 defines them.

use mlua::{Lua, LuaString, Table};

use super::super::raise::Raised;
use super::add;
use super::args::Args;

/// 2^52 + 2^51: adding it leaves the integer part, modulo 2^32, in the low bits of a double.
const SHIFT: f64 = 6_755_399_441_055_744.0;

/// The library's table.
pub(super) fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    add(lua, &table, "tobit", |args| Ok(number(bits(args, 1)?)))?;
    add(lua, &table, "bnot", |args| Ok(number(!bits(args, 1)?)))?;
    add(lua, &table, "bswap", |args| Ok(number(bits(args, 1)?.swap_bytes())))?;
    add(lua, &table, "band", |args| fold(args, |a, b| a & b))?;
    add(lua, &table, "bor", |args| fold(args, |a, b| a | b))?;
    add(lua, &table, "bxor", |args| fold(args, |a, b| a ^ b))?;
    add(lua, &table, "lshift", |args| shift(args, |bits, by| bits << by))?;
    add(lua, &table, "rshift", |args| shift(args, |bits, by| bits >> by))?;
    add(lua, &table, "arshift", |args| shift(args, |bits, by| (bits as i32 >> by) as u32))?;
    add(lua, &table, "rol", |args| shift(args, u32::rotate_left))?;
    add(lua, &table, "ror", |args| shift(args, u32::rotate_right))?;
    add(lua, &table, "tohex", tohex)?;
    Ok(table)
}

/// The low 32 bits of an argument.
fn bits(args: &Args, position: usize) -> Result<u32, Raised> {
    Ok((args.number(position)? + SHIFT).to_bits() as u32)
}

/// Results are signed.
fn number(bits: u32) -> i32 {
    bits as i32
}

/// All arguments taken together. The first is read first, then from the last to the second, which
/// decides which of several bad ones is named.
fn fold(args: &Args, operation: fn(u32, u32) -> u32) -> Result<i32, Raised> {
    let mut sum = bits(args, 1)?;
    for position in (2..=args.len()).rev() {
        sum = operation(sum, bits(args, position)?);
    }
    Ok(number(sum))
}

fn shift(args: &Args, operation: fn(u32, u32) -> u32) -> Result<i32, Raised> {
    let value = bits(args, 1)?;
    Ok(number(operation(value, bits(args, 2)? & 31)))
}

/// The lowest digits in hexadecimal; a negative count asks for capital letters.
fn tohex(args: &Args) -> Result<LuaString, Raised> {
    let value = bits(args, 1)?;
    let digits = if args.len() < 2 { 8 } else { bits(args, 2)? as i32 };
    let text = if digits < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    let shown = digits.unsigned_abs().min(8) as usize;
    Ok(args.lua.create_string(&text[8 - shown..])?)
}
