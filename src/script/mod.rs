//! Lua scripts: what raises errors inside of them.

// Nothing makes an interpreter yet.
#![allow(dead_code)]

mod raise;
