//! Error replies as Lua values.

use mlua::{Lua, Table};

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
    let (code, message) = error_parts(text);
    [code, b" ", message].concat()
}

/// Code and message of [`error_text`].
pub(super) fn error_parts(text: &[u8]) -> (&[u8], &[u8]) {
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
    (code, message)
}
