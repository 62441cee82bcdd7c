//! The arguments of a call, read and refused as the functions of Lua's auxiliary library do.

use mlua::{Lua, LuaString, MultiValue, Value};

use super::super::raise::Raised;
use super::number;

/// The arguments of one call, numbered from 1.
pub(super) struct Args<'a> {
    /// The interpreter that calls.
    pub(super) lua: &'a Lua,
    values: MultiValue,
}

impl<'a> Args<'a> {
    pub(super) fn new(lua: &'a Lua, values: MultiValue) -> Args<'a> {
        Args { lua, values }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The argument of this number, if it was given.
    pub(super) fn get(&self, number: usize) -> Option<&Value> {
        self.values.get(number - 1)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Value> {
        self.values.iter()
    }

    /// Whether the argument is missing or nil.
    pub(super) fn is_nil(&self, number: usize) -> bool {
        self.get(number).is_none_or(Value::is_nil)
    }

    /// A string, or a number turned into one.
    pub(super) fn string(&self, number: usize) -> Result<LuaString, Raised> {
        match self.get(number) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value @ (Value::Integer(_) | Value::Number(_))) => {
                let text = self.lua.coerce_string(value.clone())?;
                text.ok_or_else(|| self.mismatch(number, "string"))
            }
            _ => Err(self.mismatch(number, "string")),
        }
    }

    /// A number, or a string that reads as one.
    pub(super) fn number(&self, number: usize) -> Result<f64, Raised> {
        let value = self.get(number).and_then(|value| to_number(self.lua, value));
        value.ok_or_else(|| self.mismatch(number, "number"))
    }

    /// A number cut to an integer.
    pub(super) fn integer(&self, number: usize) -> Result<i64, Raised> {
        self.number(number).map(number::to_i64)
    }

    /// A number cut to an integer, or `default` where there is none.
    pub(super) fn integer_or(&self, number: usize, default: i64) -> Result<i64, Raised> {
        if self.is_nil(number) { Ok(default) } else { self.integer(number) }
    }

    /// The error for an argument that has not the type wanted.
    pub(super) fn mismatch(&self, number: usize, wanted: &str) -> Raised {
        let found = self.get(number).map_or("no value", type_name);
        Raised::argument(number as i32, format!("{wanted} expected, got {found}"))
    }
}

/// The number that a value is or, for a string, reads as.
pub(super) fn to_number(lua: &Lua, value: &Value) -> Option<f64> {
    match value {
        Value::Integer(integer) => Some(*integer as f64),
        Value::Number(number) => Some(*number),
        Value::String(_) => lua.coerce_number(value.clone()).ok().flatten(),
        _ => None,
    }
}

/// The name Lua has for the type of a value.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Boolean(_) => "boolean",
        Value::Integer(_) | Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Table(_) => "table",
        Value::Function(_) => "function",
        Value::Thread(_) => "thread",
        _ => "userdata",
    }
}
