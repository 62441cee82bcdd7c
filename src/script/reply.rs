//! Lua values as replies.

use mlua::{Table, Value};

use crate::base::limits::{SCRIPT_REPLY_DEPTH_MAX, SCRIPT_REPLY_MAX};
use crate::resp::{Protocol, ReplyBuf, write_head};

/// What a reply turned out to be, for statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The reply is an error.
    pub failed: bool,
    /// It is one that no statistics know yet.
    pub uncounted: bool,
}

/// Appends `value` to `out` in the client's protocol; `script` is the one that the script speaks.
pub(super) fn write(out: &mut ReplyBuf, value: &Value, script: Protocol) -> mlua::Result<Outcome> {
    Writer { out, script }.value(value, 0)
}

/// Appends an error line: `text` up to its first NUL byte, on one line.
pub(super) fn write_error(out: &mut ReplyBuf, text: &[u8]) {
    let text = c_text(text);
    let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |at| at + 1);
    write_line(out, b'-', &text[..end]);
}

fn c_text(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn write_line(out: &mut ReplyBuf, kind: u8, text: &[u8]) {
    let mut line = Vec::with_capacity(text.len() + 3);
    line.push(kind);
    line.extend(text.iter().map(|&b| if matches!(b, b'\r' | b'\n') { b' ' } else { b }));
    line.extend_from_slice(b"\r\n");
    out.raw(&line);
}

/// A number cut to an integer as the processors do that Redis runs on.
fn truncated(number: f64) -> i64 {
    const END: f64 = 9_223_372_036_854_775_808.0;
    if (-END..END).contains(&number) { number as i64 } else { i64::MIN }
}

struct Writer<'a> {
    out: &'a mut ReplyBuf,
    script: Protocol,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> mlua::Result<Outcome> {
        if depth > SCRIPT_REPLY_DEPTH_MAX {
            write_error(self.out, b"ERR reached lua stack limit");
            return Ok(Outcome::default());
        }
        match value {
            Value::String(text) => self.out.bulk(&text.as_bytes()),
            Value::Integer(number) => self.out.integer(*number),
            Value::Number(number) => self.out.integer(truncated(*number)),
            Value::Boolean(value) => self.boolean(*value),
            Value::Table(table) => return self.table(table, depth),
            _ => self.out.null(),
        }
        Ok(Outcome::default())
    }

    fn boolean(&mut self, value: bool) {
        match (self.script, value) {
            (Protocol::Resp3, _) => self.out.boolean(value),
            (Protocol::Resp2, true) => self.out.integer(1),
            (Protocol::Resp2, false) => self.out.null(),
        }
    }

    fn table(&mut self, table: &Table, depth: usize) -> mlua::Result<Outcome> {
        if let Value::String(text) = table.raw_get("err")? {
            write_error(self.out, &text.as_bytes());
            let counted =
                matches!(table.raw_get("ignore_error_stats_update")?, Value::Boolean(true));
            return Ok(Outcome { failed: depth == 0, uncounted: !counted });
        }
        if !self.typed(table, depth)? {
            return self.array(table, depth);
        }
        Ok(Outcome::default())
    }

    /// A table that stands for a reply of a certain type, if it is one.
    fn typed(&mut self, table: &Table, depth: usize) -> mlua::Result<bool> {
        if let Value::String(text) = table.raw_get("ok")? {
            write_line(self.out, b'+', c_text(&text.as_bytes()));
        } else if let Some(number) = as_double(&table.raw_get("double")?) {
            self.out.double(number);
        } else if let Value::String(text) = table.raw_get("big_number")? {
            self.big_number(&text.as_bytes());
        } else if let Some((format, text)) = verbatim_of(table)? {
            self.verbatim(&format.as_bytes(), &text.as_bytes());
        } else if let Value::Table(map) = table.raw_get("map")? {
            self.map(&map, depth)?;
        } else if let Value::Table(set) = table.raw_get("set")? {
            self.set(&set, depth)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn big_number(&mut self, digits: &[u8]) {
        if self.out.is_resp3() {
            return write_line(self.out, b'(', digits);
        }
        let line: Vec<u8> = digits
            .iter()
            .map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte })
            .collect();
        self.out.bulk(&line);
    }

    fn verbatim(&mut self, format: &[u8], text: &[u8]) {
        if !self.out.is_resp3() {
            return self.out.bulk(text);
        }
        let format = c_text(format);
        let mut head = Vec::new();
        write_head(&mut head, b'=', text.len() as i64 + 4);
        head.extend((0..3).map(|at| format.get(at).copied().unwrap_or(b' ')));
        head.push(b':');
        self.out.raw(&head);
        self.out.raw(text);
        self.out.raw(b"\r\n");
    }

    fn map(&mut self, map: &Table, depth: usize) -> mlua::Result<()> {
        let pairs = entries(map)?;
        self.out.map(pairs.len());
        for (key, value) in &pairs {
            self.value(key, depth + 1)?;
            self.value(value, depth + 1)?;
        }
        Ok(())
    }

    fn set(&mut self, set: &Table, depth: usize) -> mlua::Result<()> {
        let members = entries(set)?;
        self.out.set(members.len());
        for (member, _) in &members {
            self.value(member, depth + 1)?;
        }
        Ok(())
    }

    /// A list up to its first nil.
    fn array(&mut self, table: &Table, depth: usize) -> mlua::Result<Outcome> {
        let mark = self.out.mark();
        let mut outcome = Outcome::default();
        let mut len = 0;
        loop {
            let value: Value = table.raw_get(len + 1)?;
            if value.is_nil() {
                break;
            }
            if self.out.len() > SCRIPT_REPLY_MAX {
                return Err(mlua::Error::runtime("the reply is too long"));
            }
            outcome.uncounted |= self.value(&value, depth + 1)?.uncounted;
            len += 1;
        }
        self.out.array_at(mark, len);
        Ok(outcome)
    }
}

fn as_double(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => Some(*number),
        Value::Integer(number) => Some(*number as f64),
        _ => None,
    }
}

/// Format and text of a table that stands for a verbatim string.
fn verbatim_of(table: &Table) -> mlua::Result<Option<(mlua::LuaString, mlua::LuaString)>> {
    let Value::Table(inner) = table.raw_get("verbatim_string")? else { return Ok(None) };
    let (Value::String(format), Value::String(text)) =
        (inner.raw_get("format")?, inner.raw_get("string")?)
    else {
        return Ok(None);
    };
    Ok(Some((format, text)))
}

fn entries(table: &Table) -> mlua::Result<Vec<(Value, Value)>> {
    let mut entries = Vec::new();
    table.for_each(|key: Value, value: Value| {
        entries.push((key, value));
        Ok(())
    })?;
    Ok(entries)
}
