//! From Lua values to JSON.
//!
//! C walks tables with a cursor it can leave and come back to; mlua's fast walk must be finished
//! first. So a table is written in one go to a scratch text in which the tables inside it are left
//! out, with a note of where each belongs and under which key. The notes are then worked off: text
//! up to the note moves to the output, then the table in question is treated alike, on a stack of
//! open tables that needs no recursion. An error inside a table waits at its place in the same way,
//! so that it is the first error in reading order that is raised.

use mlua::{BString, Table, Value};

use super::super::super::raise::Raised;
use super::super::args::type_name;
use super::super::number::{append_general, to_i32};
use super::super::{C_STACK_SLOTS_MAX, LEN_MAX, TABLES_OPEN_MAX};
use super::{Invalid, Values};

/// The JSON text of a value.
pub(super) fn encode(value: &Value, settings: &Values) -> Result<BString, Raised> {
    let mut encoder = Encoder {
        settings,
        out: Vec::new(),
        scratch: Vec::new(),
        notes: Vec::new(),
        keys: Vec::new(),
        open: Vec::new(),
    };
    if let Value::Table(table) = value {
        encoder.open(table.clone(), 1)?;
        encoder.drain()?;
    } else {
        append_plain(&mut encoder.out, value, settings)?;
    }
    Ok(encoder.out.into())
}

/// Where a table that was left out belongs.
struct Note {
    /// Position in the scratch text.
    at: usize,
    key: Key,
}

/// The key of a table that was left out, in a form that needs no reference.
enum Key {
    Index(i64),
    Number(f64),
    /// Where it begins and ends in `Encoder::keys`.
    Text(usize, usize),
}

/// A table whose notes are being worked off. Its parts of the shared buffers begin at `*_start`.
struct Open {
    table: Table,
    is_array: bool,
    /// Slots of C's stack that are in use while this table is on top.
    slots: usize,
    text_start: usize,
    text_next: usize,
    note_start: usize,
    note_next: usize,
    key_start: usize,
    /// What ends the text of this table instead of its bracket.
    error: Option<Raised>,
}

struct Encoder<'a> {
    settings: &'a Values,
    out: Vec<u8>,
    scratch: Vec<u8>,
    notes: Vec<Note>,
    keys: Vec<u8>,
    open: Vec<Open>,
}

/// What a table has turned out to be on the walk through it.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// Nothing so far.
    Empty,
    /// Keys from 1 to this, in order.
    Sequence(i32),
    /// Any keys.
    Object,
    /// Indices in another order or with holes, or an index first and other keys later.
    Unknown,
}

impl Encoder<'_> {
    /// Works off all notes.
    fn drain(&mut self) -> Result<(), Raised> {
        while let Some(open) = self.open.last_mut() {
            let Some(note) = self.notes.get(open.note_next) else {
                self.out.extend_from_slice(&self.scratch[open.text_next..]);
                self.scratch.truncate(open.text_start);
                self.notes.truncate(open.note_start);
                self.keys.truncate(open.key_start);
                match self.open.pop().and_then(|open| open.error) {
                    Some(error) => return Err(error),
                    None => continue,
                }
            };
            self.out.extend_from_slice(&self.scratch[open.text_next..note.at]);
            open.text_next = note.at;
            open.note_next += 1;
            if self.out.len() > LEN_MAX {
                return Err(Raised::out_of_memory());
            }
            let table: Table = match note.key {
                Key::Index(index) => open.table.raw_get(index)?,
                Key::Number(number) => open.table.raw_get(number)?,
                Key::Text(start, end) => {
                    open.table.raw_get(bstr::BStr::new(&self.keys[start..end]))?
                }
            };
            let slots = open.slots + if open.is_array { 1 } else { 2 };
            self.open(table, slots)?;
        }
        Ok(())
    }

    /// Writes a table to the scratch text and puts it on the stack.
    fn open(&mut self, table: Table, slots: usize) -> Result<(), Raised> {
        let depth = self.open.len() + 1;
        let too_deep = depth > self.settings.encode_max_depth as usize || depth > TABLES_OPEN_MAX;
        if too_deep || slots + 3 > C_STACK_SLOTS_MAX {
            let text = format!("Cannot serialise, excessive nesting ({depth})");
            return Err(Raised::error(text));
        }
        let text_start = self.scratch.len();
        let mut open = Open {
            table,
            is_array: false,
            slots,
            text_start,
            text_next: text_start,
            note_start: self.notes.len(),
            note_next: self.notes.len(),
            key_start: self.keys.len(),
            error: None,
        };
        open.error = self.scan(&mut open).err();
        self.open.push(open);
        Ok(())
    }

    /// Writes a table in one walk if its keys are in order or it is an object, else in two.
    fn scan(&mut self, open: &mut Open) -> Result<(), Raised> {
        let (shape, error) = self.walk(&open.table, Shape::Empty)?;
        match shape {
            Shape::Sequence(count) if self.is_array(count, count)? => {
                open.is_array = true;
                error.map_or(Ok(()), Err)?;
                self.close(b']');
            }
            Shape::Sequence(_) | Shape::Unknown => {
                self.scratch.truncate(open.text_start);
                self.notes.truncate(open.note_start);
                self.keys.truncate(open.key_start);
                if let Some(len) = self.measure(&open.table)? {
                    open.is_array = true;
                    return self.array(&open.table, len);
                }
                self.scratch.push(b'{');
                let (_, error) = self.walk(&open.table, Shape::Object)?;
                error.map_or(Ok(()), Err)?;
                self.close(b'}');
            }
            Shape::Object => {
                error.map_or(Ok(()), Err)?;
                self.close(b'}');
            }
            Shape::Empty => self.scratch.extend_from_slice(b"{}"),
        }
        Ok(())
    }

    /// Writes entries as long as their keys agree with the shape, and a comma behind each. Returns
    /// what the table is and the first error; a sequence is looked at to its end even so.
    fn walk(&mut self, table: &Table, start: Shape) -> mlua::Result<(Shape, Option<Raised>)> {
        let mut shape = start;
        let mut error = None;
        let mut stopped = false;
        let walked = table.for_each(|key: Value, value: Value| {
            let before = shape;
            shape = match (before, &key) {
                (Shape::Object, _) => Shape::Object,
                (Shape::Empty, Value::Integer(1)) => Shape::Sequence(1),
                (Shape::Empty, key) if index(key).is_none() => Shape::Object,
                (Shape::Sequence(last), Value::Integer(next)) if *next == i64::from(last) + 1 => {
                    Shape::Sequence(last + 1)
                }
                _ => Shape::Unknown,
            };
            if before == Shape::Empty {
                self.scratch.push(if shape == Shape::Object { b'{' } else { b'[' });
            }
            if error.is_none() && shape != Shape::Unknown {
                error = self.entry(shape, &key, &value).err();
            }
            stopped = shape == Shape::Unknown || (error.is_some() && shape == Shape::Object);
            if stopped { Err(mlua::Error::StackError) } else { Ok(()) }
        });
        if !stopped {
            walked?;
        }
        Ok((shape, error))
    }

    fn entry(&mut self, shape: Shape, key: &Value, value: &Value) -> Result<(), Raised> {
        if shape == Shape::Object {
            match key {
                Value::String(text) => append_string(&mut self.scratch, &text.as_bytes())?,
                Value::Integer(_) | Value::Number(_) => {
                    self.scratch.push(b'"');
                    append_plain(&mut self.scratch, key, self.settings)?;
                    self.scratch.push(b'"');
                }
                other => return Err(refused(other, "table key must be a number or string")),
            }
            self.scratch.push(b':');
        }
        if let Value::Table(_) = value {
            let key = match key {
                Value::Integer(index) => Key::Index(*index),
                Value::Number(number) => Key::Number(*number),
                Value::String(text) => {
                    let start = self.keys.len();
                    self.keys.extend_from_slice(&text.as_bytes());
                    Key::Text(start, self.keys.len())
                }
                other => return Err(refused(other, "table key must be a number or string")),
            };
            self.notes.push(Note { at: self.scratch.len(), key });
        } else {
            append_plain(&mut self.scratch, value, self.settings)?;
        }
        self.scratch.push(b',');
        if self.scratch.len() > LEN_MAX { Err(Raised::out_of_memory()) } else { Ok(()) }
    }

    /// Puts a bracket in the place of the last comma.
    fn close(&mut self, bracket: u8) {
        match self.scratch.last_mut() {
            Some(last) if *last == b',' => *last = bracket,
            _ => self.scratch.push(bracket),
        }
    }

    /// The length of the array that a table is, with holes counted; nothing for an object.
    fn measure(&self, table: &Table) -> Result<Option<i32>, Raised> {
        let mut max = 0_i32;
        let mut items = 0_i32;
        let mut indices = true;
        let walked = table.for_each(|key: Value, _: Value| match index(&key) {
            Some(index) => {
                // C keeps the largest index in an int, whatever becomes of it there.
                if index > f64::from(max) {
                    max = to_i32(index);
                }
                items = items.wrapping_add(1);
                Ok(())
            }
            None => {
                indices = false;
                Err(mlua::Error::StackError)
            }
        });
        if !indices {
            return Ok(None);
        }
        walked?;
        let is_array = self.is_array(max, items)? && max > 0;
        Ok(is_array.then_some(max))
    }

    /// Whether indices up to `max` make an array, as the settings for sparse ones have it.
    fn is_array(&self, max: i32, items: i32) -> Result<bool, Raised> {
        let ratio = self.settings.sparse_ratio;
        let limit = items.wrapping_mul(ratio);
        if ratio == 0 || max <= limit || max <= self.settings.sparse_safe {
            return Ok(true);
        }
        if self.settings.sparse_convert {
            return Ok(false);
        }
        Err(Raised::error("Cannot serialise table: excessively sparse array"))
    }

    fn array(&mut self, table: &Table, len: i32) -> Result<(), Raised> {
        self.scratch.push(b'[');
        for index in 1..=i64::from(len) {
            let value: Value = table.raw_get(index)?;
            self.entry(Shape::Sequence(len), &Value::Integer(index), &value)?;
        }
        self.close(b']');
        Ok(())
    }
}

/// The number that a key is if it can be an index.
fn index(key: &Value) -> Option<f64> {
    match key {
        Value::Integer(index) if *index >= 1 => Some(*index as f64),
        Value::Number(number) if *number >= 1.0 && number.floor() == *number => Some(*number),
        _ => None,
    }
}

fn refused(value: &Value, reason: &str) -> Raised {
    Raised::error(format!("Cannot serialise {}: {reason}", type_name(value)))
}

/// Appends a value that is not a table.
fn append_plain(out: &mut Vec<u8>, value: &Value, settings: &Values) -> Result<(), Raised> {
    match value {
        Value::String(text) => append_string(out, &text.as_bytes())?,
        Value::Integer(integer) => append_number(out, *integer as f64, settings)?,
        Value::Number(number) => append_number(out, *number, settings)?,
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Nil => out.extend_from_slice(b"null"),
        Value::LightUserData(pointer) if pointer.0.is_null() => out.extend_from_slice(b"null"),
        other => return Err(refused(other, "type not supported")),
    }
    Ok(())
}

fn append_number(out: &mut Vec<u8>, number: f64, settings: &Values) -> Result<(), Raised> {
    match settings.encode_invalid {
        Invalid::Refuse if !number.is_finite() => {
            return Err(Raised::error("Cannot serialise number: must not be NaN or Inf"));
        }
        Invalid::Write if number.is_nan() => out.extend_from_slice(b"nan"),
        Invalid::Null if !number.is_finite() => out.extend_from_slice(b"null"),
        _ => append_general(out, number, settings.encode_precision as usize),
    }
    Ok(())
}

/// How each byte is written: 0 as it is, `u` as four hexadecimal digits, else behind a backslash.
static ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        escapes[byte] = b'u';
        byte += 1;
    }
    escapes[0x7f] = b'u';
    escapes[0x08] = b'b';
    escapes[b'\t' as usize] = b't';
    escapes[b'\n' as usize] = b'n';
    escapes[0x0c] = b'f';
    escapes[b'\r' as usize] = b'r';
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes[b'/' as usize] = b'/';
    escapes
};

/// Appends a string with its quotes; bytes that are no UTF-8 pass.
fn append_string(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Raised> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text;
    while let Some(plain) = rest.iter().position(|&byte| ESCAPES[usize::from(byte)] != 0) {
        let byte = rest[plain];
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain + 1..];
        match ESCAPES[usize::from(byte)] {
            b'u' => {
                let low = HEX[usize::from(byte & 0xf)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], low]);
            }
            letter => out.extend_from_slice(&[b'\\', letter]),
        }
        // Escapes can make a text six times as long.
        if out.len() > LEN_MAX {
            return Err(Raised::out_of_memory());
        }
    }
    out.extend_from_slice(rest);
    out.push(b'"');
    Ok(())
}
