//! The way every script takes, through Lua's C API: into the script with its arguments, and out of it
//! to commands and back with their replies.
//!
//! mlua's own functions would do it all, but look each string and table up in a list of references
//! and take a lock for each step, which costs more than most commands do.
//!
//! An error leaves a C function by a long jump, and whatever allocates in Lua may raise one. So the
//! functions here come in two kinds: those that own something, which call nothing that raises, and
//! those that may raise, which own nothing. A reply stays in the state of the run while the
//! second kind makes values of it.

// Lua's stack has no safe form that would not hold references.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlua::{Function, Lua, Table, Value, ffi};

use super::arguments::{Argument, Arguments, OUTSIDE};
use super::error::Raise;
use super::run::{KILLED, Kind, RUN, Run};
use super::value::error_parts;
use crate::base::limits::{REPLY_DEPTH_MAX, SCRIPT_MEMORY_MAX};
use crate::base::number;
use crate::resp::{Argv, ReplyBuf};

/// What a script is run with.
pub(super) struct Entry<'a> {
    pub(super) code: &'a Function,
    /// The handler of errors that nobody catches.
    pub(super) report: &'a Function,
    /// The request, and which of its arguments are keys and which are not.
    pub(super) argv: Argv<'a>,
    pub(super) keys: Range<usize>,
    pub(super) args: Range<usize>,
    /// Where scripts find `KEYS` and `ARGV`; functions get them as arguments.
    pub(super) globals: Option<&'a Table>,
}

/// Runs a script with its limit of memory, which stays set: whether it returned, and what, or what
/// the handler made of its error.
pub(super) fn run(lua: &Lua, entry: &Entry<'_>) -> mlua::Result<(bool, Value)> {
    let values = (entry.report, entry.code, entry.globals);
    // SAFETY: the closure owns nothing, and `enter` gets the three values that were pushed.
    unsafe { lua.exec_raw(values, |state| enter(state, lua, entry)) }
}

/// Calls the function at 2 with the handler at 1 and the globals at 3, and leaves two results.
///
/// # Safety
///
/// The stack must hold these three alone, and errors must be caught above.
unsafe fn enter(state: *mut ffi::lua_State, lua: &Lua, entry: &Entry<'_>) {
    // SAFETY: a C function has room for 20 values, and not more than 7 are here at any time.
    unsafe {
        if entry.globals.is_some() {
            push(state, b"KEYS");
            push_list(state, entry.argv, &entry.keys);
            ffi::lua_rawset(state, 3);
            push(state, b"ARGV");
            push_list(state, entry.argv, &entry.args);
            ffi::lua_rawset(state, 3);
            ffi::lua_settop(state, 2);
        } else {
            ffi::lua_settop(state, 2);
            push_list(state, entry.argv, &entry.keys);
            push_list(state, entry.argv, &entry.args);
        }
        _ = lua.set_memory_limit(SCRIPT_MEMORY_MAX);
        let status = ffi::lua_pcall(state, ffi::lua_gettop(state) - 2, 1, 1);
        ffi::lua_pushboolean(state, c_int::from(status == ffi::LUA_OK));
        ffi::lua_replace(state, 1);
    }
}

/// # Safety
///
/// There must be room for two values, and errors must be caught above.
unsafe fn push_list(state: *mut ffi::lua_State, argv: Argv<'_>, items: &Range<usize>) {
    // SAFETY: as promised.
    unsafe {
        ffi::lua_createtable(state, count(items.len()), 0);
        for (at, item) in items.clone().enumerate() {
            push(state, argv.arg(item));
            ffi::lua_rawseti(state, -2, at as ffi::lua_Integer + 1);
        }
    }
}

/// `redis.call` and `redis.pcall`.
pub(super) fn functions(lua: &Lua) -> mlua::Result<(Function, Function)> {
    let function = |body: ffi::lua_CFunction| -> mlua::Result<Function> {
        let stop = lua.create_function(|_, ()| Err::<(), _>(Raise::Stop(KILLED).into_lua()))?;
        // SAFETY: the closure takes the one value that was pushed and leaves one.
        unsafe { lua.exec_raw(stop, |state| ffi::lua_pushcclosure(state, body, 1)) }
    };
    Ok((function(call)?, function(pcall)?))
}

unsafe extern "C-unwind" fn call(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls it, as a closure over the function that stops.
    unsafe { command(state, true) }
}

unsafe extern "C-unwind" fn pcall(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as above.
    unsafe { command(state, false) }
}

/// What there is to do after a command, none of which owns anything.
enum Next {
    /// There is a reply. It is in the state of the run, and stays as it is until the next command.
    Value(*const [u8]),
    /// The arguments are not those of a command.
    Refuse(&'static str),
    /// Nothing runs that may call commands.
    Outside,
    /// The script has to end.
    Stop,
}

/// Runs the command whose words are the arguments; `raise` says whether an error is raised.
///
/// # Safety
///
/// To be called by Lua alone, with the function that stops a script as upvalue 1.
unsafe fn command(state: *mut ffi::lua_State, raise: bool) -> c_int {
    // Lua's own frames must not be unwound.
    // SAFETY: Lua gives a valid state.
    let next = catch_unwind(AssertUnwindSafe(|| unsafe { carry_out(state) }))
        .unwrap_or_else(|_| std::process::abort());
    // SAFETY: nothing is owned here, so errors may leave. The arguments are no longer needed, which
    // leaves room for 20 values. What a reply points to is not changed before the next command,
    // and collecting garbage runs none.
    unsafe {
        ffi::lua_settop(state, 0);
        match next {
            Next::Value(reply) => match (*reply).strip_prefix(b"-") {
                None => return push_reply(state, &*reply),
                Some(text) => push_error(state, error_parts(text), true),
            },
            Next::Refuse(text) => push_error(state, (b"ERR", text.as_bytes()), false),
            Next::Outside => {
                push_error(state, (b"ERR", OUTSIDE.as_bytes()), false);
                ffi::lua_error(state)
            }
            Next::Stop => {
                ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
                ffi::lua_call(state, 0, 0);
            }
        }
        if raise { ffi::lua_error(state) } else { 1 }
    }
}

/// Runs the command whose words are on the stack; raises nothing.
///
/// # Safety
///
/// The state must be valid.
unsafe fn carry_out(state: *mut ffi::lua_State) -> Next {
    RUN.with(|run| {
        let Run { kind: Kind::Call(_, host), state: run } = run else { return Next::Outside };
        // SAFETY: the state is valid.
        if let Err(text) = unsafe { collect(state, &mut run.arguments) } {
            return Next::Refuse(text);
        }
        let room = run.reply.take_room();
        run.reply = ReplyBuf::with_room(room, run.protocol);
        host.call(run.arguments.as_argv(), &mut run.reply);
        if run.shared.is_killed() {
            return Next::Stop;
        }
        Next::Value(match run.reply.plain() {
            Some(reply) => reply,
            None => run.arguments.replace(&run.reply),
        })
    })
}

/// # Safety
///
/// The state must be valid.
unsafe fn collect(
    state: *mut ffi::lua_State,
    arguments: &mut Arguments,
) -> Result<(), &'static str> {
    // SAFETY: the indexes are those of values. Neither function allocates or raises, since strings
    // are only looked at where there is a string.
    unsafe {
        let count = ffi::lua_gettop(state);
        arguments.begin(count as usize)?;
        for index in 1..=count {
            arguments.add(match ffi::lua_type(state, index) {
                ffi::LUA_TSTRING => {
                    let mut len = 0;
                    let text = ffi::lua_tolstring(state, index, &mut len);
                    Argument::Text(std::slice::from_raw_parts(text.cast(), len))
                }
                ffi::LUA_TNUMBER => Argument::Number(ffi::lua_tonumber(state, index)),
                _ => Argument::Other,
            })?;
        }
    }
    Ok(())
}

/// A size as Lua takes it.
fn count(count: usize) -> c_int {
    c_int::try_from(count).unwrap_or(c_int::MAX)
}

/// # Safety
///
/// There must be room for a value, and errors must be caught above.
unsafe fn push(state: *mut ffi::lua_State, text: &[u8]) {
    // SAFETY: as promised; Lua copies the text.
    unsafe {
        ffi::lua_pushlstring(state, text.as_ptr().cast::<c_char>(), text.len());
    }
}

/// Pushes the table of an error, whose text is a code and a message.
///
/// # Safety
///
/// There must be room for five values, and errors must be caught above.
unsafe fn push_error(state: *mut ffi::lua_State, (code, text): (&[u8], &[u8]), counted: bool) {
    // SAFETY: as promised.
    unsafe {
        ffi::lua_createtable(state, 0, 1 + c_int::from(counted));
        push(state, b"err");
        push(state, code);
        push(state, b" ");
        push(state, text);
        ffi::lua_concat(state, 3);
        ffi::lua_rawset(state, -3);
        if counted {
            push(state, b"ignore_error_stats_update");
            ffi::lua_pushboolean(state, 1);
            ffi::lua_rawset(state, -3);
        }
    }
}

/// Pushes the value of an encoded reply on an empty stack; broken or too deep ones are false.
///
/// # Safety
///
/// Errors must be caught above.
unsafe fn push_reply(state: *mut ffi::lua_State, reply: &[u8]) -> c_int {
    // SAFETY: as promised.
    unsafe {
        if (Reader { state, rest: reply }).value(0).is_none() {
            ffi::lua_settop(state, 0);
            ffi::lua_pushboolean(state, 0);
        }
    }
    1
}

/// Makes values of a reply; owns nothing.
struct Reader<'a> {
    state: *mut ffi::lua_State,
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

    /// Pushes a table with room for one field, whose name is pushed, too.
    ///
    /// # Safety
    ///
    /// There must be room for two values, and errors must be caught above; [`Self::set`] must follow.
    unsafe fn begin(&self, name: &[u8]) {
        // SAFETY: as promised.
        unsafe {
            ffi::lua_createtable(self.state, 0, 1);
            push(self.state, name);
        }
    }

    /// Sets the field whose name and value are on top of their table.
    ///
    /// # Safety
    ///
    /// They must be there, the name neither nil nor NaN.
    unsafe fn set(&self) -> Option<()> {
        // SAFETY: as promised.
        unsafe { ffi::lua_rawset(self.state, -3) };
        Some(())
    }

    /// Pushes the next value; `None` where the reply is broken, with anything on the stack.
    ///
    /// # Safety
    ///
    /// There must be room for ten values, and errors must be caught above.
    unsafe fn value(&mut self, depth: usize) -> Option<()> {
        let (&kind, rest) = self.rest.split_first()?;
        self.rest = rest;
        let (state, line) = (self.state, self.line()?);
        // SAFETY: as promised, of which room for five values is used here.
        unsafe {
            match kind {
                b'$' | b':' => {}
                b'+' => return self.text(b"ok", line),
                b'-' => {
                    push_error(state, error_parts(line), true);
                    return Some(());
                }
                b'_' => {
                    ffi::lua_pushnil(state);
                    return Some(());
                }
                b'#' => {
                    ffi::lua_pushboolean(state, c_int::from(line == b"t"));
                    return Some(());
                }
                b',' => {
                    self.begin(b"double");
                    let value = number::parse_f64(line).unwrap_or(f64::NAN);
                    ffi::lua_pushnumber(state, value);
                    return self.set();
                }
                b'(' => return self.text(b"big_number", line),
                _ => {}
            }
            let count = number::parse_i64(line)?;
            if kind == b':' {
                ffi::lua_pushnumber(state, count as f64);
                return Some(());
            }
            let Ok(count) = usize::try_from(count) else {
                ffi::lua_pushboolean(state, 0);
                return Some(());
            };
            match kind {
                b'$' => {
                    push(state, self.bytes(count)?);
                    Some(())
                }
                b'=' => {
                    let bytes = self.bytes(count)?;
                    self.verbatim(bytes)
                }
                _ => self.nested(kind, count, depth),
            }
        }
    }

    /// # Safety
    ///
    /// As of [`Self::value`].
    unsafe fn text(&self, name: &[u8], text: &[u8]) -> Option<()> {
        // SAFETY: as promised.
        unsafe {
            self.begin(name);
            push(self.state, text);
            self.set()
        }
    }

    /// # Safety
    ///
    /// As of [`Self::value`].
    unsafe fn verbatim(&self, bytes: &[u8]) -> Option<()> {
        let (format, text) = bytes.split_at_checked(4)?;
        // SAFETY: as promised.
        unsafe {
            self.begin(b"verbatim_string");
            ffi::lua_createtable(self.state, 0, 2);
            for (name, value) in [(b"format", &format[..3]), (b"string", text)] {
                push(self.state, name);
                push(self.state, value);
                self.set();
            }
            self.set()
        }
    }

    /// A value of `count` others.
    ///
    /// # Safety
    ///
    /// As of [`Self::value`].
    unsafe fn nested(&mut self, kind: u8, count: usize, depth: usize) -> Option<()> {
        /// What one level and the value in it need.
        const ROOM: c_int = 16;
        // SAFETY: as promised; there is room for what is inside, too.
        unsafe {
            if depth == REPLY_DEPTH_MAX || ffi::lua_checkstack(self.state, ROOM) == 0 {
                return None;
            }
            match kind {
                b'*' | b'>' => self.array(count, depth + 1),
                b'%' => self.map(count, depth + 1),
                b'~' => self.members(count, depth + 1),
                b'|' => {
                    // Attributes are not shown to scripts.
                    for _ in 0..count.checked_mul(2)? {
                        self.value(depth + 1)?;
                        ffi::lua_settop(self.state, -2);
                    }
                    self.value(depth + 1)
                }
                _ => None,
            }
        }
    }

    /// # Safety
    ///
    /// As of [`Self::value`].
    unsafe fn array(&mut self, len: usize, depth: usize) -> Option<()> {
        // SAFETY: as promised.
        unsafe {
            ffi::lua_createtable(self.state, count(len.min(self.rest.len() / 3)), 0);
            for index in 1..=len {
                self.value(depth)?;
                ffi::lua_rawseti(self.state, -2, index as ffi::lua_Integer);
            }
        }
        Some(())
    }

    /// # Safety
    ///
    /// As of [`Self::value`].
    unsafe fn map(&mut self, len: usize, depth: usize) -> Option<()> {
        // SAFETY: as promised; a key is nothing that a table refuses, since it is no NaN.
        unsafe {
            self.begin(b"map");
            ffi::lua_createtable(self.state, 0, count(len.min(self.rest.len() / 6)));
            for _ in 0..len {
                self.value(depth)?;
                self.value(depth)?;
                if ffi::lua_type(self.state, -2) == ffi::LUA_TNIL {
                    ffi::lua_settop(self.state, -3);
                } else {
                    self.set();
                }
            }
            self.set()
        }
    }

    /// # Safety
    ///
    /// As of [`Self::value`].
    unsafe fn members(&mut self, len: usize, depth: usize) -> Option<()> {
        // SAFETY: as of maps.
        unsafe {
            self.begin(b"set");
            ffi::lua_createtable(self.state, 0, count(len.min(self.rest.len() / 3)));
            for _ in 0..len {
                self.value(depth)?;
                if ffi::lua_type(self.state, -1) == ffi::LUA_TNIL {
                    ffi::lua_settop(self.state, -2);
                } else {
                    ffi::lua_pushboolean(self.state, 1);
                    self.set();
                }
            }
            self.set()
        }
    }
}
