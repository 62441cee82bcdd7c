//! `struct`: values packed into C structures, as the library struct 0.3 does on a 64-bit machine,
//! with the checks Redis added.
//!
//! A format is a sequence of options: `b B h H l L T i[n] I[n]` integers, `f d` floats, `c[n]` and
//! `s` strings, `x` padding, `< > !n` byte order and alignment, and spaces. It ends at a zero byte.

use mlua::{BString, Lua, MultiValue, Table, Value};

use super::super::raise::Raised;
use super::args::{Args, to_number};
use super::{C_STACK_SLOTS_MAX, LEN_MAX, add, number};

/// The widest integer in bytes.
const INTEGER_SIZE_MAX: usize = 32;

/// What `!` without a number aligns to.
const ALIGN_DEFAULT: usize = 8;

/// The library's table.
pub(super) fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    add(lua, &table, "pack", pack)?;
    add(lua, &table, "unpack", unpack)?;
    add(lua, &table, "size", size)?;
    Ok(table)
}

/// One option of a format with its size in bytes; 0 where the data decides or there is none.
struct Field {
    option: u8,
    size: usize,
}

/// A format on its way through, with what its options have set.
struct Format<'a> {
    text: &'a [u8],
    big_endian: bool,
    align: usize,
}

impl<'a> Format<'a> {
    fn new(text: &'a [u8]) -> Format<'a> {
        let len = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        Format { text: &text[..len], big_endian: cfg!(target_endian = "big"), align: 1 }
    }

    fn next(&mut self) -> Result<Option<Field>, Raised> {
        let Some((&option, rest)) = self.text.split_first() else { return Ok(None) };
        self.text = rest;
        let size = match option {
            b'b' | b'B' | b'x' => 1,
            b'h' | b'H' => 2,
            b'f' => 4,
            b'l' | b'L' | b'T' | b'd' => 8,
            b'c' => self.count(1)?,
            b'i' | b'I' => {
                let size = self.count(4)?;
                if size > INTEGER_SIZE_MAX {
                    let limit = INTEGER_SIZE_MAX;
                    let text = format!("integral size {size} is larger than limit of {limit}");
                    return Err(Raised::error(text));
                }
                size
            }
            _ => 0,
        };
        Ok(Some(Field { option, size }))
    }

    /// The number that follows, at most the largest C `int`.
    fn count(&mut self, default: usize) -> Result<usize, Raised> {
        let digits = self.text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(default);
        }
        let mut count = 0_usize;
        for &digit in &self.text[..digits] {
            count = count * 10 + usize::from(digit - b'0');
            if count > i32::MAX as usize {
                return Err(Raised::error("integral size overflow"));
            }
        }
        self.text = &self.text[digits..];
        Ok(count)
    }

    /// Bytes of padding in front of a field that would begin at `position`.
    fn padding(&self, position: usize, field: &Field) -> usize {
        if field.size == 0 || field.option == b'c' {
            return 0;
        }
        let size = field.size.min(self.align);
        (size - (position & (size - 1))) & (size - 1)
    }

    /// Applies an option that stands for no data.
    fn control(&mut self, option: u8) -> Result<(), Raised> {
        match option {
            b' ' => {}
            b'>' => self.big_endian = true,
            b'<' => self.big_endian = false,
            b'!' => {
                let align = self.count(ALIGN_DEFAULT)?;
                if !align.is_power_of_two() {
                    let text = format!("alignment {align} is not a power of 2");
                    return Err(Raised::error(text));
                }
                self.align = align;
            }
            other => {
                let mut text = b"invalid format option '".to_vec();
                text.extend_from_slice(&[other, b'\'']);
                return Err(Raised::argument(1, text));
            }
        }
        Ok(())
    }

    /// Bytes in the order of the format, which were or shall become little-endian.
    fn order<const N: usize>(&self, mut bytes: [u8; N]) -> [u8; N] {
        if self.big_endian {
            bytes.reverse();
        }
        bytes
    }
}

/// The values of a call to pack, in order. C ends them with a nil of its own.
struct Packed<'a> {
    args: &'a Args<'a>,
    next: usize,
}

impl Packed<'_> {
    fn advance(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    /// Names the nil behind the last value where `position` is beyond it.
    fn missing(&self, position: usize, wanted: &str) -> Result<(), Raised> {
        if position <= self.args.len() {
            return Ok(());
        }
        Err(Raised::argument(position as i32, format!("{wanted} expected, got nil")))
    }

    fn number(&mut self) -> Result<f64, Raised> {
        let position = self.advance();
        self.missing(position, "number")?;
        self.args.number(position)
    }

    fn string(&mut self) -> Result<mlua::LuaString, Raised> {
        let position = self.advance();
        self.missing(position, "string")?;
        self.args.string(position)
    }
}

fn pack(args: &Args) -> Result<BString, Raised> {
    let format = args.string(1)?;
    let format = format.as_bytes();
    let mut format = Format::new(&format);
    let mut values = Packed { args, next: 2 };
    let mut out = Vec::new();
    while let Some(field) = format.next()? {
        out.resize(out.len() + format.padding(out.len(), &field), 0);
        match field.option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let value = values.number()?;
                append_integer(&mut out, value, &format, field.size);
            }
            b'x' => out.push(0),
            b'f' => out.extend(format.order((values.number()? as f32).to_le_bytes())),
            b'd' => out.extend(format.order(values.number()?.to_le_bytes())),
            b'c' | b's' => append_string(&mut out, &mut values, &field)?,
            option => format.control(option)?,
        }
        if out.len() > LEN_MAX {
            return Err(Raised::out_of_memory());
        }
    }
    Ok(out.into())
}

/// The low bytes of an integer; bytes beyond its 64 bits are zero whatever its sign.
fn append_integer(out: &mut Vec<u8>, value: f64, format: &Format, size: usize) {
    let value = if value < 0.0 { number::to_i64(value) as u64 } else { number::to_u64(value) };
    let mut bytes = [0; INTEGER_SIZE_MAX];
    bytes[..8].copy_from_slice(&value.to_le_bytes());
    let bytes = &mut bytes[..size];
    if format.big_endian {
        bytes.reverse();
    }
    out.extend_from_slice(bytes);
}

fn append_string(out: &mut Vec<u8>, values: &mut Packed, field: &Field) -> Result<(), Raised> {
    let text = values.string()?;
    let text = text.as_bytes();
    let size = if field.size == 0 { text.len() } else { field.size };
    if text.len() < size {
        // C names the argument behind the short one.
        return Err(Raised::argument(values.next as i32, "string too short"));
    }
    out.extend_from_slice(&text[..size]);
    if field.option == b's' {
        out.push(0);
    }
    Ok(())
}

fn unpack(args: &Args) -> Result<MultiValue, Raised> {
    let format = args.string(1)?;
    let format = format.as_bytes();
    let data = args.string(2)?;
    let data = data.as_bytes();
    let start = args.integer_or(3, 1)?;
    if start == 0 {
        return Err(Raised::argument(3, "offset must be 1 or greater"));
    }
    // A negative start is a very large one, which no data reaches.
    let mut position = (start as usize).wrapping_sub(1);
    let mut format = Format::new(&format);
    let mut results: Vec<Value> = Vec::new();
    let slots = C_STACK_SLOTS_MAX - args.len().max(2);
    while let Some(mut field) = format.next()? {
        position = position.wrapping_add(format.padding(position, &field));
        check_rest(&data, position, field.size)?;
        if results.len() + 2 > slots {
            return Err(Raised::error("stack overflow (too many results)"));
        }
        if field.option == b'c' && field.size == 0 {
            field.size = previous_size(args.lua, &mut results)?;
            check_rest(&data, position, field.size)?;
        }
        let rest = &data[position..];
        let bytes = &rest[..field.size];
        match field.option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                results.push(Value::Number(read_integer(bytes, &format, field.option)));
            }
            b'x' => {}
            b'f' => {
                results.push(Value::Number(f64::from(f32::from_le_bytes(array(bytes, &format)))))
            }
            b'd' => results.push(Value::Number(f64::from_le_bytes(array(bytes, &format)))),
            b'c' => results.push(Value::String(args.lua.create_string(bytes)?)),
            b's' => {
                let Some(len) = rest.iter().position(|&byte| byte == 0) else {
                    return Err(Raised::error("unfinished string in data"));
                };
                results.push(Value::String(args.lua.create_string(&rest[..len])?));
                field.size = len + 1;
            }
            option => format.control(option)?,
        }
        position += field.size;
    }
    results.push(Value::Integer(position.wrapping_add(1) as i64));
    Ok(MultiValue::from_vec(results))
}

fn check_rest(data: &[u8], position: usize, size: usize) -> Result<(), Raised> {
    if size <= data.len() && position <= data.len() - size {
        return Ok(());
    }
    Err(Raised::argument(2, "data string too short"))
}

/// Takes the last result back as the size of a `c0`.
fn previous_size(lua: &Lua, results: &mut Vec<Value>) -> Result<usize, Raised> {
    let size = results.pop().and_then(|value| to_number(lua, &value));
    let size = size.ok_or_else(|| Raised::error("format 'c0' needs a previous size"))?;
    Ok(number::to_u64(size) as usize)
}

fn array<const N: usize>(bytes: &[u8], format: &Format) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    format.order(array)
}

/// An integer of any width, modulo 2^64. Small letters stand for signed ones.
fn read_integer(bytes: &[u8], format: &Format, option: u8) -> f64 {
    let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    let value = if format.big_endian {
        bytes.iter().fold(0, join)
    } else {
        bytes.iter().rev().fold(0, join)
    };
    if option.is_ascii_uppercase() {
        return value as f64;
    }
    // For widths beyond 8 the sign bit is where x86 puts it, which takes the shift modulo 64.
    let mask = u64::MAX.wrapping_shl((bytes.len() as u32).wrapping_mul(8).wrapping_sub(1));
    (if value & mask != 0 { value | mask } else { value }) as i64 as f64
}

fn size(args: &Args) -> Result<i64, Raised> {
    let format = args.string(1)?;
    let format = format.as_bytes();
    let mut format = Format::new(&format);
    let mut position = 0_usize;
    while let Some(field) = format.next()? {
        position += format.padding(position, &field);
        match field.option {
            b's' => return Err(Raised::argument(1, "option 's' has no fixed size")),
            b'c' if field.size == 0 => {
                return Err(Raised::argument(1, "option 'c0' has no fixed size"));
            }
            option if !option.is_ascii_alphanumeric() => format.control(option)?,
            _ => {}
        }
        position += field.size;
    }
    Ok(position as i64)
}
