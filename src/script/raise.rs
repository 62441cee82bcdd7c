//! Lua functions written in Rust that raise errors as functions of Lua's C API do.
//!
//! An error that a Rust function returns through mlua reaches the script as a userdata. Scripts
//! expect what `luaL_error` and `luaL_argerror` give: a string that names the calling line, or the
//! argument and the name under which the function was called. Both depend on the call frame of a
//! C function, so a wrapper written in Lua cannot stand in for it: `return f(x)` is a tail call and
//! would take the calling line off the stack.
//!
//! A raising function is therefore two functions. The outer one, [`trampoline`], is a C closure
//! over the inner one, which is an ordinary mlua callback and never fails. The inner function
//! returns its results, or three values: a marker no script can hold, how to raise, and the text.
//!
//! ```text
//! script -> trampoline -> mlua callback -> Rust
//!                      <- marker, kind, text
//!           luaL_error
//! ```

// The outer function has to leave through `lua_error`, which has no safe form.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use mlua::{Function, IntoLuaMulti, LightUserData, Lua, MultiValue, Value, ffi};

/// What a function raises instead of returning.
#[derive(Debug)]
pub(in crate::script) enum Raised {
    /// A text that begins with the position of the calling line, as of `luaL_error`.
    Error(Vec<u8>),
    /// What is wrong with the argument of this number, as of `luaL_argerror`.
    Argument(i32, Vec<u8>),
    /// A text that says nothing of the caller.
    Text(Vec<u8>),
}

impl Raised {
    /// An error with the position of the calling line.
    pub(in crate::script) fn error(text: impl Into<Vec<u8>>) -> Raised {
        Raised::Error(text.into())
    }

    /// An error about one argument.
    pub(in crate::script) fn argument(number: i32, text: impl Into<Vec<u8>>) -> Raised {
        Raised::Argument(number, text.into())
    }

    /// What Lua says when an allocation fails.
    pub(in crate::script) fn out_of_memory() -> Raised {
        Raised::Text(b"not enough memory".to_vec())
    }
}

impl From<mlua::Error> for Raised {
    fn from(error: mlua::Error) -> Raised {
        match error {
            mlua::Error::MemoryError(_) => Raised::out_of_memory(),
            mlua::Error::StackError => Raised::error("stack overflow"),
            mlua::Error::RuntimeError(text) => Raised::Text(text.into_bytes()),
            other => Raised::Text(other.to_string().into_bytes()),
        }
    }
}

/// Raised as it is.
const AS_IS: i64 = -1;
/// Raised behind the position of the calling line. Kinds from 0 up are numbers of arguments.
const WITH_POSITION: i64 = -2;

static MARKER: u8 = 0;

fn marker() -> *mut c_void {
    std::ptr::from_ref(&MARKER).cast_mut().cast()
}

/// A Lua function that runs `body` and raises what it raises.
pub(in crate::script) fn function<R, F>(lua: &Lua, body: F) -> mlua::Result<Function>
where
    R: IntoLuaMulti,
    F: Fn(&Lua, MultiValue) -> Result<R, Raised> + Send + 'static,
{
    let inner = lua.create_function(move |lua, arguments: MultiValue| {
        let (kind, value) = match body(lua, arguments) {
            Ok(results) => return results.into_lua_multi(lua),
            Err(Raised::Error(text)) => (WITH_POSITION, string(lua, &text)?),
            Err(Raised::Argument(number, text)) => (i64::from(number), string(lua, &text)?),
            Err(Raised::Text(text)) => (AS_IS, string(lua, &text)?),
        };
        (LightUserData(marker()), kind, value).into_lua_multi(lua)
    })?;
    // SAFETY: the closure pushes one function over the one value `exec_raw` has pushed.
    unsafe { lua.exec_raw(inner, |state| ffi::lua_pushcclosure(state, trampoline, 1)) }
}

fn string(lua: &Lua, text: &[u8]) -> mlua::Result<Value> {
    lua.create_string(text).map(Value::String)
}

/// Calls the function in upvalue 1 with its own arguments, and raises what that asks for.
unsafe extern "C-unwind" fn trampoline(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls this with a valid state, at least LUA_MINSTACK free slots and the inner
    // function in upvalue 1. Only slots that exist are read: 2 and 3 once there are three results.
    // The frame owns nothing, so errors may leave it by a long jump.
    unsafe {
        let arguments = ffi::lua_gettop(state);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        ffi::lua_call(state, arguments, ffi::LUA_MULTRET);
        let results = ffi::lua_gettop(state);
        if results != 3 || ffi::lua_touserdata(state, 1) != marker() {
            return results;
        }
        match ffi::lua_tointeger(state, 2) as i64 {
            AS_IS => {}
            WITH_POSITION => {
                ffi::luaL_where(state, 1);
                ffi::lua_insert(state, 3);
                ffi::lua_concat(state, 2);
            }
            number => {
                let text = ffi::lua_tostring(state, 3);
                return ffi::luaL_argerror(state, number as c_int, text);
            }
        }
        ffi::lua_error(state)
    }
}
