//! Replies as Lua values.

use mlua::{Lua, Table, Value};

use crate::base::limits::REPLY_DEPTH_MAX;
use crate::base::number;

/// The Lua value of an encoded reply; broken or too deep ones are false.
pub(super) fn from_reply(lua: &Lua, reply: &[u8]) -> mlua::Result<Value> {
    let mut reader = Reader { lua, rest: reply };
    Ok(reader.value(0)?.unwrap_or(Value::Boolean(false)))
}

/// The table of an error reply, whose text comes without its sign.
pub(super) fn error_table(lua: &Lua, text: &[u8], counted: bool) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, if counted { 2 } else { 1 })?;
    table.raw_set("err", lua.create_string(text)?)?;
    if counted {
        table.raw_set("ignore_error_stats_update", true)?;
    }
    Ok(table)
}

/// The text of an error reply, code first; one without a code gets `ERR`. A leading sign is dropped.
pub(super) fn error_text(text: &[u8]) -> Vec<u8> {
    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (code, mut message) = match text.iter().position(|&byte| byte == b' ') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (b"ERR".as_slice(), text),
    };
    while message.first().is_some_and(is_line_end) {
        message = &message[1..];
    }
    while message.last().is_some_and(is_line_end) {
        message = &message[..message.len() - 1];
    }
    [code, b" ", message].concat()
}

struct Reader<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The bytes up to the next line end, which is passed.
    fn line(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|&byte| byte == b'\r')?;
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 2..)?;
        Some(line)
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let bytes = self.rest.get(..len)?;
        self.rest = self.rest.get(len + 2..)?;
        Some(bytes)
    }

    fn string(&self, bytes: &[u8]) -> mlua::Result<Option<Value>> {
        Ok(Some(Value::String(self.lua.create_string(bytes)?)))
    }

    /// A table with one field.
    fn wrapped(&self, name: &str, value: Value) -> mlua::Result<Option<Value>> {
        let table = self.lua.create_table_with_capacity(0, 1)?;
        table.raw_set(name, value)?;
        Ok(Some(Value::Table(table)))
    }

    /// The next value; `None` where the reply is broken.
    fn value(&mut self, depth: usize) -> mlua::Result<Option<Value>> {
        let Some((&kind, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        let Some(line) = self.line() else { return Ok(None) };
        match kind {
            b'+' => {
                let text = Value::String(self.lua.create_string(line)?);
                return self.wrapped("ok", text);
            }
            b'-' => {
                let table = error_table(self.lua, &error_text(line), true)?;
                return Ok(Some(Value::Table(table)));
            }
            b'_' => return Ok(Some(Value::Nil)),
            b'#' => return Ok(Some(Value::Boolean(line == b"t"))),
            b',' => {
                let value = number::parse_f64(line).unwrap_or(f64::NAN);
                return self.wrapped("double", Value::Number(value));
            }
            b'(' => {
                let text = Value::String(self.lua.create_string(line)?);
                return self.wrapped("big_number", text);
            }
            _ => {}
        }
        let Some(count) = number::parse_i64(line) else { return Ok(None) };
        if kind == b':' {
            return Ok(Some(Value::Number(count as f64)));
        }
        let Ok(count) = usize::try_from(count) else { return Ok(Some(Value::Boolean(false))) };
        match kind {
            b'$' | b'=' => {
                let Some(bytes) = self.bytes(count) else { return Ok(None) };
                if kind == b'$' { self.string(bytes) } else { self.verbatim(bytes) }
            }
            _ if depth == REPLY_DEPTH_MAX => Ok(None),
            b'*' | b'>' => self.array(count, depth + 1),
            b'%' => self.map(count, depth + 1),
            b'~' => self.set(count, depth + 1),
            b'|' => {
                // Attributes are not shown to scripts.
                for _ in 0..2 * count {
                    if self.value(depth + 1)?.is_none() {
                        return Ok(None);
                    }
                }
                self.value(depth + 1)
            }
            _ => Ok(None),
        }
    }

    fn verbatim(&mut self, bytes: &[u8]) -> mlua::Result<Option<Value>> {
        let Some((format, text)) = bytes.split_at_checked(4) else { return Ok(None) };
        let table = self.lua.create_table_with_capacity(0, 2)?;
        table.raw_set("format", self.lua.create_string(&format[..3])?)?;
        table.raw_set("string", self.lua.create_string(text)?)?;
        self.wrapped("verbatim_string", Value::Table(table))
    }

    fn array(&mut self, count: usize, depth: usize) -> mlua::Result<Option<Value>> {
        let table = self.lua.create_table_with_capacity(count.min(self.rest.len() / 3), 0)?;
        for index in 1..=count {
            let Some(value) = self.value(depth)? else { return Ok(None) };
            table.raw_seti(index, value)?;
        }
        Ok(Some(Value::Table(table)))
    }

    fn map(&mut self, count: usize, depth: usize) -> mlua::Result<Option<Value>> {
        let table = self.lua.create_table_with_capacity(0, count.min(self.rest.len() / 6))?;
        for _ in 0..count {
            let Some(key) = self.value(depth)? else { return Ok(None) };
            let Some(value) = self.value(depth)? else { return Ok(None) };
            if !key.is_nil() {
                table.raw_set(key, value)?;
            }
        }
        self.wrapped("map", Value::Table(table))
    }

    fn set(&mut self, count: usize, depth: usize) -> mlua::Result<Option<Value>> {
        let table = self.lua.create_table_with_capacity(0, count.min(self.rest.len() / 3))?;
        for _ in 0..count {
            let Some(member) = self.value(depth)? else { return Ok(None) };
            if !member.is_nil() {
                table.raw_set(member, true)?;
            }
        }
        self.wrapped("set", Value::Table(table))
    }
}
