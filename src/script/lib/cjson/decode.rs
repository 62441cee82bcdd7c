//! From JSON to Lua values.
//!
//! C reads the text up to its zero byte, so a zero byte inside ends the document. Tables are filled
//! from a stack of open ones, without recursion.

use bstr::BStr;
use mlua::{IntoLua, Lua, Table, Value};

use super::super::super::raise::Raised;
use super::super::{C_STACK_SLOTS_MAX, TABLES_OPEN_MAX};
use super::token::{Lexer, Token};
use super::{NULL, Values};

/// The value that a JSON text stands for.
pub(super) fn decode(lua: &Lua, text: &[u8], settings: &Values) -> Result<Value, Raised> {
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(Raised::error("JSON parser does not support UTF-16 or UTF-32"));
    }
    let lexer = Lexer::new(text, settings.decode_invalid);
    let mut decoder = Decoder {
        lua,
        lexer,
        depth_max: settings.decode_max_depth as usize,
        slots: 1,
        open: Vec::new(),
        key: Vec::new(),
    };
    let value = decoder.document()?;
    let (token, index) = decoder.lexer.next();
    match token {
        Token::End => Ok(value),
        other => Err(unexpected("the end", &other, index)),
    }
}

fn unexpected(wanted: &str, found: &Token, index: usize) -> Raised {
    let found = found.name();
    Raised::error(format!("Expected {wanted} but found {found} at character {}", index + 1))
}

/// A table that is being filled.
struct Open {
    table: Table,
    /// The index of the next element; 0 for objects.
    next: usize,
}

struct Decoder<'a> {
    lua: &'a Lua,
    lexer: Lexer<'a>,
    depth_max: usize,
    /// Slots in use on C's stack.
    slots: usize,
    open: Vec<Open>,
    /// The key of the value that is being read, unless it stands in the text.
    key: Vec<u8>,
}

/// Where the key of a value stands.
#[derive(Clone, Copy)]
enum Key {
    None,
    Plain(usize, usize),
    Unescaped,
}

impl Decoder<'_> {
    /// Reads one value with all that is in it.
    fn document(&mut self) -> Result<Value, Raised> {
        let (token, index) = self.lexer.next();
        let Some(root) = self.begin(&token)? else { return self.plain(token, index) };
        self.enter(root.clone(), &token);
        let mut first = true;
        while let Some(open) = self.open.last() {
            let is_object = open.next == 0;
            let (token, index) = self.lexer.next();
            let opened = match (&token, is_object) {
                (Token::ObjectEnd, true) | (Token::ArrayEnd, false) => {
                    self.leave();
                    false
                }
                (_, _) if first => self.element(token, index, is_object)?,
                (Token::Comma, _) => {
                    let (token, index) = self.lexer.next();
                    self.element(token, index, is_object)?
                }
                (other, true) => return Err(unexpected("comma or object end", other, index)),
                (other, false) => return Err(unexpected("comma or array end", other, index)),
            };
            first = opened;
        }
        Ok(Value::Table(root))
    }

    /// Reads an element of the open table, or a key and its value, from this token on. Tells
    /// whether the value is a table, which is open then.
    fn element(&mut self, token: Token, index: usize, is_object: bool) -> Result<bool, Raised> {
        let (key, token, index) =
            if is_object { self.key(token, index)? } else { (Key::None, token, index) };
        if let Some(table) = self.begin(&token)? {
            self.put(key, &table)?;
            self.enter(table, &token);
            return Ok(true);
        }
        match token {
            Token::Plain(start, end) => {
                let text = self.lexer.text;
                self.put_text(key, &text[start..end])?;
            }
            Token::Unescaped => {
                let text = std::mem::take(&mut self.lexer.unescaped);
                self.put_text(key, &text)?;
                self.lexer.unescaped = text;
            }
            Token::Number(number) => self.put(key, number)?,
            Token::Boolean(boolean) => self.put(key, boolean)?,
            Token::Null => self.put(key, NULL)?,
            other => return Err(unexpected("value", &other, index)),
        }
        Ok(false)
    }

    /// Reads a key and its colon, and the first token of its value.
    fn key(&mut self, token: Token, index: usize) -> Result<(Key, Token, usize), Raised> {
        let key = match token {
            Token::Plain(start, end) => Key::Plain(start, end),
            Token::Unescaped => {
                std::mem::swap(&mut self.key, &mut self.lexer.unescaped);
                Key::Unescaped
            }
            other => return Err(unexpected("object key string", &other, index)),
        };
        match self.lexer.next() {
            (Token::Colon, _) => {}
            (other, index) => return Err(unexpected("colon", &other, index)),
        }
        let (token, index) = self.lexer.next();
        Ok((key, token, index))
    }

    /// A new table, if that is what the token begins.
    fn begin(&self, token: &Token) -> Result<Option<Table>, Raised> {
        let needed = match token {
            Token::ObjectBegin => 3,
            Token::ArrayBegin => 2,
            _ => return Ok(None),
        };
        let depth = self.open.len() + 1;
        let too_deep = depth > self.depth_max || depth > TABLES_OPEN_MAX;
        if too_deep || self.slots + needed > C_STACK_SLOTS_MAX {
            let at = self.lexer.at;
            return Err(Raised::error(format!(
                "Found too many nested data structures ({depth}) at character {at}"
            )));
        }
        Ok(Some(self.lua.create_table()?))
    }

    fn enter(&mut self, table: Table, token: &Token) {
        let is_array = matches!(token, Token::ArrayBegin);
        self.slots += if is_array { 1 } else { 2 };
        self.open.push(Open { table, next: usize::from(is_array) });
    }

    fn leave(&mut self) {
        let is_array = self.open.pop().is_some_and(|open| open.next > 0);
        self.slots -= if is_array { 1 } else { 2 };
    }

    /// Puts a value into the open table.
    fn put(&mut self, key: Key, value: impl IntoLua) -> Result<(), Raised> {
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        match key {
            Key::None => {
                open.table.raw_seti(open.next, value)?;
                open.next += 1;
            }
            Key::Plain(start, end) => set(&open.table, &self.lexer.text[start..end], value)?,
            Key::Unescaped => set(&open.table, &self.key, value)?,
        }
        Ok(())
    }

    /// Puts a string into the open table.
    fn put_text(&mut self, key: Key, text: &[u8]) -> Result<(), Raised> {
        match std::str::from_utf8(text) {
            Ok(text) => self.put(key, text),
            Err(_) => self.put(key, BStr::new(text)),
        }
    }

    /// A value at the top that is not a table.
    fn plain(&self, token: Token, index: usize) -> Result<Value, Raised> {
        Ok(match token {
            Token::Plain(start, end) => {
                Value::String(self.lua.create_string(&self.lexer.text[start..end])?)
            }
            Token::Unescaped => Value::String(self.lua.create_string(&self.lexer.unescaped)?),
            Token::Number(number) => Value::Number(number),
            Token::Boolean(boolean) => Value::Boolean(boolean),
            Token::Null => NULL,
            other => return Err(unexpected("value", &other, index)),
        })
    }
}

/// Sets a field. mlua has a short way for texts that are UTF-8, which nearly all are.
fn set(table: &Table, key: &[u8], value: impl IntoLua) -> mlua::Result<()> {
    match std::str::from_utf8(key) {
        Ok(key) => table.raw_set(key, value),
        Err(_) => table.raw_set(BStr::new(key), value),
    }
}
