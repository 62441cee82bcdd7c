//! From Lua values to MessagePack.

use mlua::{BString, Table, Value};

use super::super::super::raise::Raised;
use super::super::args::Args;
use super::super::{LEN_MAX, number};

/// Tables deeper than this are packed as nil.
const NESTING_MAX: usize = 16;

/// Packs all arguments, one behind the other.
pub(super) fn pack(args: &Args) -> Result<BString, Raised> {
    if args.len() == 0 {
        return Err(Raised::argument(0, "MessagePack pack needs input."));
    }
    let mut out = Vec::new();
    for value in args.iter() {
        append_value(&mut out, value, 0)?;
    }
    Ok(out.into())
}

fn append_value(out: &mut Vec<u8>, value: &Value, level: usize) -> Result<(), Raised> {
    if out.len() > LEN_MAX {
        return Err(Raised::out_of_memory());
    }
    match value {
        Value::Boolean(false) => out.push(0xc2),
        Value::Boolean(true) => out.push(0xc3),
        Value::Integer(integer) => append_integer(out, *integer),
        Value::Number(number) => append_number(out, *number),
        Value::String(text) => append_string(out, &text.as_bytes()),
        Value::Table(table) if level < NESTING_MAX => append_table(out, table, level)?,
        _ => out.push(0xc0),
    }
    Ok(())
}

fn append_integer(out: &mut Vec<u8>, integer: i64) {
    match integer {
        -32..=127 => out.push(integer as u8),
        -128..=-33 => out.extend([0xd0, integer as u8]),
        128..=0xff => out.extend([0xcc, integer as u8]),
        -0x8000..=-129 => append_word(out, 0xd1, integer as u16),
        0x100..=0xffff => append_word(out, 0xcd, integer as u16),
        -0x8000_0000..=-0x8001 => append_long(out, 0xd2, integer as u32),
        0x1_0000..=0xffff_ffff => append_long(out, 0xce, integer as u32),
        _ => {
            out.push(if integer < 0 { 0xd3 } else { 0xcf });
            out.extend(integer.to_be_bytes());
        }
    }
}

fn append_word(out: &mut Vec<u8>, mark: u8, value: u16) {
    out.push(mark);
    out.extend(value.to_be_bytes());
}

fn append_long(out: &mut Vec<u8>, mark: u8, value: u32) {
    out.push(mark);
    out.extend(value.to_be_bytes());
}

fn append_number(out: &mut Vec<u8>, value: f64) {
    let integer = number::to_i64(value);
    let short = value as f32;
    if value.is_finite() && integer as f64 == value {
        append_integer(out, integer);
    } else if f64::from(short) == value {
        append_long(out, 0xca, short.to_bits());
    } else {
        out.push(0xcb);
        out.extend(value.to_bits().to_be_bytes());
    }
}

fn append_string(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        len @ 0..32 => out.push(0xa0 | len as u8),
        len @ 32..=0xff => out.extend([0xd9, len as u8]),
        len @ 0x100..=0xffff => append_word(out, 0xda, len as u16),
        len => append_long(out, 0xdb, len as u32),
    }
    out.extend_from_slice(text);
}

/// The head of an array or a map: the marks for up to 15 elements, 16 and 32 bits.
fn append_head(out: &mut Vec<u8>, marks: [u8; 3], len: usize) {
    match len {
        0..=15 => out.push(marks[0] | len as u8),
        16..=0xffff => append_word(out, marks[1], len as u16),
        _ => append_long(out, marks[2], len as u32),
    }
}

/// What a walk through a table has found it to be.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// Nothing so far.
    Empty,
    /// Keys from 1 to this, in order.
    Array(usize),
    /// This many entries, the first of which has no index for a key.
    Map(usize),
    /// An index first, other keys or another order later: needs a walk that only looks at keys.
    Unknown,
}

/// Appends a table, in one walk where its keys tell at once what it is.
fn append_table(out: &mut Vec<u8>, table: &Table, level: usize) -> Result<(), Raised> {
    let start = out.len();
    match walk(out, table, level, Shape::Empty)? {
        Shape::Empty => out.push(0x90),
        Shape::Array(count) => insert_head(out, start, [0x90, 0xdc, 0xdd], count),
        Shape::Map(count) => insert_head(out, start, [0x80, 0xde, 0xdf], count),
        Shape::Unknown => {
            out.truncate(start);
            if let Some(count) = array_len(table)? {
                for index in 1..=count {
                    append_value(out, &table.raw_get(index)?, level + 1)?;
                }
                insert_head(out, start, [0x90, 0xdc, 0xdd], count);
            } else if let Shape::Map(count) = walk(out, table, level, Shape::Map(0))? {
                insert_head(out, start, [0x80, 0xde, 0xdf], count);
            }
        }
    }
    Ok(())
}

/// Appends the elements or entries of a table as long as they agree with the shape.
fn walk(out: &mut Vec<u8>, table: &Table, level: usize, start: Shape) -> Result<Shape, Raised> {
    let mut shape = start;
    let mut raised = None;
    let walked = table.for_each(|key: Value, value: Value| {
        shape = match (shape, &key) {
            (Shape::Map(count), _) => Shape::Map(count + 1),
            (Shape::Empty, Value::Integer(1)) => Shape::Array(1),
            (Shape::Empty, key) if index(key).is_none() => Shape::Map(1),
            (Shape::Array(last), key) if index(key) == Some(last + 1) => Shape::Array(last + 1),
            _ => Shape::Unknown,
        };
        let entry = match shape {
            Shape::Map(_) => append_value(out, &key, level + 1)
                .and_then(|()| append_value(out, &value, level + 1)),
            Shape::Array(_) => append_value(out, &value, level + 1),
            Shape::Empty | Shape::Unknown => return Err(mlua::Error::StackError),
        };
        entry.map_err(|error| {
            raised = Some(error);
            mlua::Error::StackError
        })
    });
    match raised {
        Some(error) => Err(error),
        None if shape == Shape::Unknown => Ok(shape),
        None => Ok(walked.map(|()| shape)?),
    }
}

/// The index that a key is: a positive C `int`.
fn index(key: &Value) -> Option<usize> {
    match key {
        Value::Integer(index @ 1..=0x7fff_ffff) => Some(*index as usize),
        _ => None,
    }
}

/// How many elements a table has if their indices are 1 to that, in any order.
fn array_len(table: &Table) -> mlua::Result<Option<usize>> {
    let mut count = 0_usize;
    let mut max = Some(0);
    let walked = table.for_each(|key: Value, _: Value| {
        count += 1;
        max = index(&key).max(max).filter(|_| index(&key).is_some());
        if max.is_none() { Err(mlua::Error::StackError) } else { Ok(()) }
    });
    if max.is_some() {
        walked?;
    }
    Ok(max.filter(|max| *max == count))
}

/// Puts the head of an array or a map in front of what begins at `start`.
fn insert_head(out: &mut Vec<u8>, start: usize, marks: [u8; 3], len: usize) {
    let mut head = Vec::with_capacity(5);
    append_head(&mut head, marks, len);
    out.splice(start..start, head);
}
