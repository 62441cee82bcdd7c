//! From MessagePack to Lua values.

use mlua::{Lua, MultiValue, Table, Value};

use super::super::super::raise::Raised;
use super::super::args::Args;
use super::super::{C_STACK_SLOTS_MAX, TABLES_OPEN_MAX};

/// Reads at most `limit` values from `offset` on and returns where it stopped in front of them; all
/// values and nothing else if both are zero.
pub(super) fn unpack(args: &Args, limit: i64, offset: i64) -> Result<MultiValue, Raised> {
    let text = args.string(1)?;
    let text = text.as_bytes();
    let len = text.len();
    if offset < 0 || limit < 0 {
        return Err(Raised::error(format!(
            "Invalid request to unpack with offset of {} and limit of {}.",
            offset as i32, len as i32
        )));
    }
    if offset as usize > len {
        return Err(Raised::error(format!(
            "Start offset {} greater than input length {}.",
            offset as i32, len as i32
        )));
    }
    let all = limit == 0 && offset == 0;
    let limit = if all { i64::from(i32::MAX) } else { limit };
    let mut reader = Reader { lua: args.lua, rest: &text[offset as usize..], open: Vec::new() };
    let mut results = MultiValue::new();
    while !reader.rest.is_empty() && (results.len() as i64) < limit {
        // C's stack holds the text, all other arguments of unpack, and the values so far.
        let slots = results.len() + if all { args.len() } else { 1 };
        if slots > TABLES_OPEN_MAX {
            return Err(too_many_values());
        }
        results.push_back(reader.value(slots)?);
    }
    if !all {
        let stopped = if reader.rest.is_empty() { -1 } else { (len - reader.rest.len()) as i64 };
        results.push_front(Value::Integer(stopped));
    }
    Ok(results)
}

fn too_many_values() -> Raised {
    Raised::error(
        "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)",
    )
}

fn missing_bytes() -> Raised {
    Raised::error("Missing bytes in input.")
}

/// What stands at the front of the input.
enum Item {
    Value(Value),
    Array(usize),
    Map(usize),
}

/// A table that is being filled, and how many elements or entries are still to come.
struct Open {
    table: Table,
    left: usize,
    place: Place,
}

/// Where the next value of an open table goes.
enum Place {
    Index(usize),
    Key,
    ValueOf(Value),
}

impl Place {
    /// Slots of C's stack that are in use while the value for this place is read.
    fn slots(&self) -> usize {
        if matches!(self, Place::Key) { 1 } else { 2 }
    }
}

impl Open {
    /// Puts a value where the next one belongs.
    fn put(&mut self, value: Value) -> Result<(), Raised> {
        self.place = match std::mem::replace(&mut self.place, Place::Key) {
            Place::Index(index) => {
                self.table.raw_seti(index, value)?;
                self.left -= 1;
                Place::Index(index + 1)
            }
            Place::Key => Place::ValueOf(value),
            Place::ValueOf(Value::Nil) => return Err(Raised::Text(b"table index is nil".to_vec())),
            Place::ValueOf(Value::Number(key)) if key.is_nan() => {
                return Err(Raised::Text(b"table index is NaN".to_vec()));
            }
            Place::ValueOf(key) => {
                self.table.raw_set(key, value)?;
                self.left -= 1;
                Place::Key
            }
        };
        Ok(())
    }
}

/// Reads values from a text, of any depth without recursion.
struct Reader<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
    open: Vec<Open>,
}

impl Reader<'_> {
    /// Reads one value with all that is in it; `slots` are in use on C's stack.
    fn value(&mut self, mut slots: usize) -> Result<Value, Raised> {
        loop {
            let item = self.item(slots)?;
            let mut done = match item {
                Item::Value(value) => value,
                Item::Array(_) if slots + 2 > C_STACK_SLOTS_MAX => {
                    let text = "stack overflow (in function mp_decode_to_lua_array)";
                    return Err(Raised::error(text));
                }
                Item::Array(0) | Item::Map(0) => Value::Table(self.lua.create_table()?),
                Item::Array(left) => {
                    slots += self.begin(left, Place::Index(1))?;
                    continue;
                }
                Item::Map(left) => {
                    slots += self.begin(left, Place::Key)?;
                    continue;
                }
            };
            // A value may be the last of its table, which may be the last of the next.
            loop {
                let Some(open) = self.open.last_mut() else { return Ok(done) };
                slots -= open.place.slots();
                open.put(done)?;
                if open.left > 0 {
                    slots += open.place.slots();
                    break;
                }
                let Some(full) = self.open.pop() else { return Err(missing_bytes()) };
                done = Value::Table(full.table);
            }
        }
    }

    /// Opens a table and returns the slots it uses.
    fn begin(&mut self, left: usize, place: Place) -> Result<usize, Raised> {
        if self.open.len() >= TABLES_OPEN_MAX {
            return Err(too_many_values());
        }
        let slots = place.slots();
        self.open.push(Open { table: self.lua.create_table()?, left, place });
        Ok(slots)
    }

    /// Takes bytes off the input.
    fn take(&mut self, len: usize) -> Result<&[u8], Raised> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(missing_bytes)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes the bytes of a number, the first of which is the highest.
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Raised> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    fn len_16(&mut self) -> Result<usize, Raised> {
        Ok(usize::from(u16::from_be_bytes(self.bytes()?)))
    }

    fn len_32(&mut self) -> Result<usize, Raised> {
        Ok(u32::from_be_bytes(self.bytes()?) as usize)
    }

    fn string(&mut self, len: usize) -> Result<Item, Raised> {
        let (text, rest) = self.rest.split_at_checked(len).ok_or_else(missing_bytes)?;
        self.rest = rest;
        Ok(Item::Value(Value::String(self.lua.create_string(text)?)))
    }

    /// Reads a value, or the head of a table.
    fn item(&mut self, slots: usize) -> Result<Item, Raised> {
        let mark = self.take(1)?[0];
        if slots + 1 > C_STACK_SLOTS_MAX {
            return Err(too_many_values());
        }
        let value = match mark {
            0x00..=0x7f => Value::Integer(i64::from(mark)),
            0xe0..=0xff => Value::Integer(i64::from(mark as i8)),
            0x80..=0x8f => return Ok(Item::Map(usize::from(mark & 0xf))),
            0x90..=0x9f => return Ok(Item::Array(usize::from(mark & 0xf))),
            0xa0..=0xbf => return self.string(usize::from(mark & 0x1f)),
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xca => Value::Number(f64::from(f32::from_be_bytes(self.bytes()?))),
            0xcb => Value::Number(f64::from_be_bytes(self.bytes()?)),
            0xcc => Value::Integer(i64::from(u8::from_be_bytes(self.bytes()?))),
            0xcd => Value::Integer(i64::from(u16::from_be_bytes(self.bytes()?))),
            0xce => Value::Integer(i64::from(u32::from_be_bytes(self.bytes()?))),
            0xd0 => Value::Integer(i64::from(i8::from_be_bytes(self.bytes()?))),
            0xd1 => Value::Integer(i64::from(i16::from_be_bytes(self.bytes()?))),
            0xd2 => Value::Integer(i64::from(i32::from_be_bytes(self.bytes()?))),
            // Unsigned ones of 64 bits pass through a signed integer in C.
            0xcf | 0xd3 => Value::Integer(i64::from_be_bytes(self.bytes()?)),
            0xd9 => {
                let len = usize::from(u8::from_be_bytes(self.bytes()?));
                return self.string(len);
            }
            0xda => {
                let len = self.len_16()?;
                return self.string(len);
            }
            0xdb => {
                let len = self.len_32()?;
                return self.string(len);
            }
            0xdc => return Ok(Item::Array(self.len_16()?)),
            0xdd => return Ok(Item::Array(self.len_32()?)),
            0xde => return Ok(Item::Map(self.len_16()?)),
            0xdf => return Ok(Item::Map(self.len_32()?)),
            0xc1 | 0xc4..=0xc9 | 0xd4..=0xd8 => {
                return Err(Raised::error("Bad data format in input."));
            }
        };
        Ok(Item::Value(value))
    }
}
