//! Lua scripts: the interpreter and the libraries they may use.

// Nothing makes an interpreter yet.
#![allow(dead_code)]

mod lib;
mod raise;
