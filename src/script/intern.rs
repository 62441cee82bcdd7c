//! Finds Lua's strings, in place of the interpreter's own function (`luaS_newlstr`).
//!
//! Lua keeps one copy of each string, in chains by a hash which has no key and which, of texts of 32
//! bytes and more, passes over most. Whoever chooses the arguments of a script could so put all of
//! them into one chain, or make one chain of the keys of a table. Here, what does not find room in a
//! chain of bounded length goes by a keyed hash of all its bytes.
//!
//! Other strings have Lua's own hash: it decides in which order `pairs` and `cjson.encode` walk a
//! table, which is to be as in Redis.
//!
//! The linker puts the function in place of the other (`build.rs`). The layout is that of Lua 5.1.5, the
//! last of its line.

// The strings are the interpreter's.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::ptr::{null_mut, slice_from_raw_parts};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use mlua::ffi::{LUA_TSTRING, lua_State};

use crate::base::hash::KeyHasher;

/// So many strings are in a chain before others go by the keyed hash. Chains have one on average.
const CHAIN_LEN_MAX: usize = 32;

/// Bits of a mark that say in which of two colours it was made; what has the other one is garbage.
const WHITE: u8 = 0b11;

/// Whether any string of the process went by the keyed hash, so that any may have.
static KEYED: AtomicBool = AtomicBool::new(false);

/// A string; its bytes and a zero follow.
#[repr(C)]
struct Text {
    next: *mut Text,
    kind: u8,
    mark: u8,
    reserved: u8,
    hash: u32,
    len: usize,
}

/// The bytes of a string.
///
/// # Safety
///
/// `text` must be one of the interpreter's.
unsafe fn bytes_of(text: *const Text) -> *const [u8] {
    // SAFETY: they follow the head.
    unsafe { slice_from_raw_parts(text.add(1).cast(), (*text).len) }
}

/// All strings of an interpreter.
#[repr(C)]
struct Strings {
    chains: *mut *mut Text,
    len: u32,
    /// How many chains, a power of two.
    chain_count: c_int,
}

impl Strings {
    /// # Safety
    ///
    /// `self` must be the interpreter's.
    unsafe fn chain(&self, hash: u32) -> *mut *mut Text {
        let at = hash as usize & (self.chain_count as usize - 1);
        // SAFETY: there are that many chains.
        unsafe { self.chains.add(at) }
    }
}

/// The head of what all coroutines share.
#[repr(C)]
struct Shared {
    strings: Strings,
    allocate: *const c_void,
    allocator: *mut c_void,
    white: u8,
}

/// The head of a `lua_State`.
#[repr(C)]
struct State {
    next: *mut c_void,
    kind: u8,
    mark: u8,
    status: u8,
    top: *mut c_void,
    base: *mut c_void,
    shared: *mut Shared,
}

unsafe extern "C-unwind" {
    #[link_name = "luaM_realloc_"]
    fn reallocate(
        state: *mut lua_State,
        block: *mut c_void,
        old_len: usize,
        len: usize,
    ) -> *mut c_void;
    #[link_name = "luaM_toobig"]
    fn refuse(state: *mut lua_State) -> *mut c_void;
    #[link_name = "luaS_resize"]
    fn resize(state: *mut lua_State, chain_count: c_int);
}

/// The hash with a key. The key is drawn before it is needed, when drawing it could fail.
static HASHER: LazyLock<KeyHasher> = LazyLock::new(KeyHasher::random);

/// Keeps the function from being left out by the linker, which knows of it only by its name.
pub(super) fn link() {
    LazyLock::force(&HASHER);
    std::hint::black_box(find_or_make as *const c_void);
}

/// The interpreter's one copy of a text.
///
/// # Safety
///
/// To be called by Lua alone. Errors leave it by a long jump; it owns nothing.
#[unsafe(export_name = "__wrap_luaS_newlstr")]
unsafe extern "C-unwind" fn find_or_make(
    state: *mut lua_State,
    bytes: *const u8,
    len: usize,
) -> *mut c_void {
    // SAFETY: Lua gives a valid state, and `len` bytes.
    unsafe {
        let shared = (*state.cast::<State>()).shared;
        let text = if len == 0 { &[] } else { &*slice_from_raw_parts(bytes, len) };
        let mut hash = plain_hash(text);
        let (mut found, met) = find(shared, hash, text);
        if found.is_null() && (met >= CHAIN_LEN_MAX || KEYED.load(Relaxed)) {
            let keyed = keyed_hash(text);
            (found, _) = find(shared, keyed, text);
            if met >= CHAIN_LEN_MAX {
                KEYED.store(true, Relaxed);
                hash = keyed;
            }
        }
        if found.is_null() { make(state, shared, hash, text).cast() } else { found.cast() }
    }
}

/// Lua's own hash: every byte, of longer texts every second, third and so on, from the end.
fn plain_hash(text: &[u8]) -> u32 {
    let step = (text.len() >> 5) + 1;
    let (mut hash, mut end) = (text.len() as u32, text.len());
    while end >= step {
        let byte = u32::from(text[end - 1]);
        hash ^= (hash << 5).wrapping_add(hash >> 2).wrapping_add(byte);
        end -= step;
    }
    hash
}

#[cold]
fn keyed_hash(text: &[u8]) -> u32 {
    HASHER.hash(text) as u32
}

/// The string in the chain of `hash`, which is no garbage then, and how many were looked at.
///
/// # Safety
///
/// `shared` must be an interpreter's that nobody else uses.
unsafe fn find(shared: *mut Shared, hash: u32, text: &[u8]) -> (*mut Text, usize) {
    let mut met = 0;
    // SAFETY: as promised.
    unsafe {
        let mut at = *(*shared).strings.chain(hash);
        while !at.is_null() {
            if (*at).hash == hash && (*at).len == text.len() && &*bytes_of(at) == text {
                if (*at).mark & WHITE & !(*shared).white != 0 {
                    (*at).mark ^= WHITE;
                }
                return (at, met);
            }
            met += 1;
            at = (*at).next;
        }
    }
    (null_mut(), met)
}

/// Adds a string to the chain of `hash`.
///
/// # Safety
///
/// As for [`find_or_make`]; the string must not be there.
unsafe fn make(state: *mut lua_State, shared: *mut Shared, hash: u32, text: &[u8]) -> *mut Text {
    // SAFETY: as promised; `reallocate` and `refuse` do not return without memory.
    unsafe {
        if text.len() > isize::MAX as usize - size_of::<Text>() - 1 {
            refuse(state);
        }
        let block = reallocate(state, null_mut(), 0, size_of::<Text>() + text.len() + 1);
        let new: *mut Text = block.cast();
        let strings = &raw mut (*shared).strings;
        let chain = (*strings).chain(hash);
        let (next, mark) = (*chain, (*shared).white & WHITE);
        let kind = LUA_TSTRING as u8;
        new.write(Text { next, kind, mark, reserved: 0, hash, len: text.len() });
        let bytes: *mut u8 = new.add(1).cast();
        bytes.copy_from_nonoverlapping(text.as_ptr(), text.len());
        bytes.add(text.len()).write(0);
        *chain = new;
        (*strings).len += 1;
        let chain_count = (*strings).chain_count;
        if (*strings).len > chain_count as u32 && chain_count <= c_int::MAX / 2 {
            resize(state, chain_count * 2);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use mlua::{Lua, Table};

    use super::*;

    /// The longest chain of an interpreter, and the strings of all.
    fn chains(lua: &Lua) -> (usize, usize) {
        let lens = std::sync::Mutex::new((0, 0));
        // SAFETY: the closure only reads, and nobody else uses the interpreter.
        let read = unsafe {
            lua.exec_raw::<()>((), |state| {
                let strings = &(*(*state.cast::<State>()).shared).strings;
                for chain in 0..strings.chain_count as u32 {
                    let (mut len, mut at) = (0, *strings.chain(chain));
                    while !at.is_null() {
                        (len, at) = (len + 1, (*at).next);
                    }
                    let mut lens = lens.lock().expect("unbroken");
                    *lens = (lens.0.max(len), lens.1 + len);
                }
                assert_eq!(lens.lock().expect("unbroken").1, strings.len as usize);
            })
        };
        read.expect("reading raises nothing");
        lens.into_inner().expect("unbroken")
    }

    /// 64 bytes, of which Lua's hash looks at every third from the end.
    fn colliding(number: usize) -> Vec<u8> {
        let mut text = vec![b'-'; 64];
        for digit in 0..6 {
            text[3 * digit + 1] = b'0' + (number / 10_usize.pow(digit as u32) % 10) as u8;
        }
        text
    }

    #[test]
    fn the_hash_is_that_of_lua() {
        assert_eq!(plain_hash(b""), 0);
        assert_eq!(plain_hash(b"a"), 1 ^ (32 + 97));
        assert_eq!(plain_hash(&colliding(1)), plain_hash(&colliding(654_321)));
        assert_ne!(plain_hash(&[b'x'; 31]), plain_hash(&[b'x'; 32]));
    }

    #[test]
    fn texts_made_to_collide_do_not() {
        link();
        let lua = Lua::new();
        let table = lua.create_table().expect("memory");
        for number in 0..20_000 {
            let text = lua.create_string(colliding(number)).expect("memory");
            table.set(text, number).expect("memory");
        }
        let (longest, all) = chains(&lua);
        assert!(all > 20_000 && longest < 2 * CHAIN_LEN_MAX, "{longest} of {all} in one chain");
        for number in (0..20_000).step_by(7) {
            let text = lua.create_string(colliding(number)).expect("memory");
            assert_eq!(table.get::<usize>(text).expect("it is there"), number);
        }
        assert_eq!(chains(&lua).1, all, "a text is there once");
    }

    #[test]
    fn texts_are_found_while_chains_come_and_go() {
        link();
        let lua = Lua::new();
        let kept: Table = lua.create_table().expect("memory");
        for round in 0..20 {
            for number in 0..3_000 {
                let text = lua.create_string(colliding(number)).expect("memory");
                if number % 20 == round {
                    kept.set(text, number).expect("memory");
                }
            }
            lua.gc_collect().expect("no finalizer fails");
            for number in (0..3_000).filter(|number| number % 20 <= round) {
                let text = lua.create_string(colliding(number)).expect("memory");
                assert_eq!(kept.get::<usize>(text).expect("it is there"), number);
            }
        }
    }
}
