//! The process's allocator: jemalloc with size classes of 8 bytes, and its exact figures.
//!
//! `.cargo/config.toml` has jemalloc built with a quantum of 8 bytes, which saves an entry up to 8
//! bytes. Such a jemalloc aligns small classes only to 8, so unlike the stock wrapper crate this one
//! always asks for a larger alignment explicitly; it is correct with any quantum.

#![expect(unsafe_code, reason = "an allocator is unsafe by nature")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};

use tikv_jemalloc_sys as ffi;

/// The alignment every jemalloc class has, whatever its quantum.
const QUANTUM: usize = 8;

/// jemalloc.
pub struct Jemalloc;

fn flags(layout: Layout) -> c_int {
    if layout.align() <= QUANTUM { 0 } else { ffi::MALLOCX_ALIGN(layout.align()) }
}

// SAFETY: each function passes size and alignment on to the jemalloc function of the same contract;
// sizes are never zero, because GlobalAlloc's callers promise so.
unsafe impl GlobalAlloc for Jemalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the size is not zero.
        unsafe { ffi::mallocx(layout.size(), flags(layout)).cast() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the size is not zero.
        unsafe { ffi::mallocx(layout.size(), flags(layout) | ffi::MALLOCX_ZERO).cast() }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` with the same layout.
        unsafe { ffi::sdallocx(ptr.cast(), layout.size(), flags(layout)) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the pointer came from `alloc` with `layout`; the new size is not zero.
        unsafe { ffi::rallocx(ptr.cast(), new_size, flags(layout)).cast() }
    }
}

/// What jemalloc says of itself, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// In allocations of the program, without what threads keep for their next ones.
    pub allocated: usize,
    /// In pages that hold allocations.
    pub active: usize,
    /// In pages that are mapped and may hold data.
    pub resident: usize,
}

/// The figures as they are now; to be asked for seldom: jemalloc gathers them from all arenas.
pub fn figures() -> Figures {
    let mut epoch: u64 = 1;
    // SAFETY: the name ends in NUL, and the value is as wide as jemalloc says `epoch` is.
    unsafe {
        ffi::mallctl(
            c"epoch".as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            (&raw mut epoch).cast(),
            size_of::<u64>(),
        );
    }
    // Over all arenas, which jemalloc calls number 4096.
    let cached = read(c"stats.arenas.4096.tcache_bytes");
    Figures {
        allocated: read(c"stats.allocated").saturating_sub(cached),
        active: read(c"stats.active"),
        resident: read(c"stats.resident"),
    }
}

/// Gives pages that hold nothing back to the system; `false` when jemalloc refuses.
pub fn purge() -> bool {
    // 4096 stands for all arenas (MALLCTL_ARENAS_ALL).
    let name = c"arena.4096.purge";
    let null = std::ptr::null_mut;
    // SAFETY: the name ends in NUL, and `purge` takes and returns nothing.
    unsafe { ffi::mallctl(name.as_ptr(), null(), std::ptr::null_mut(), null(), 0) == 0 }
}

/// What jemalloc's own report says, in its own form.
pub fn report() -> String {
    unsafe extern "C" fn append(text: *mut c_void, piece: *const std::ffi::c_char) {
        // SAFETY: jemalloc hands back the pointer it was given, which outlives the call, and a text
        // that ends in NUL.
        let (text, piece) = unsafe { (&mut *text.cast::<String>(), CStr::from_ptr(piece)) };
        text.push_str(&piece.to_string_lossy());
    }
    let mut text = String::new();
    // SAFETY: `append` has the type that jemalloc calls, and gets a pointer to a `String`.
    unsafe {
        ffi::malloc_stats_print(Some(append), (&raw mut text).cast(), std::ptr::null());
    }
    text
}

thread_local! {
    /// Where jemalloc counts what this thread has allocated and freed.
    static COUNTERS: Cell<[*const u64; 2]> = const { Cell::new([std::ptr::null(); 2]) };
}

/// Bytes that the calling thread has ever allocated, less those it freed; about 1 ns.
///
/// Only differences mean something: what one thread allocates another may free.
#[inline]
pub fn thread_net() -> i64 {
    let [allocated, freed] = COUNTERS.with(|cell| {
        if cell.get()[0].is_null() {
            cell.set([pointer(c"thread.allocatedp"), pointer(c"thread.deallocatedp")]);
        }
        cell.get()
    });
    // SAFETY: jemalloc keeps the counters as long as the thread lives, which alone writes them.
    let (allocated, freed) = unsafe { (allocated.read(), freed.read()) };
    allocated.wrapping_sub(freed) as i64
}

/// A counter that jemalloc has for the calling thread.
#[cold]
fn pointer(name: &CStr) -> *const u64 {
    let (mut value, mut len) = (std::ptr::null::<u64>(), size_of::<*const u64>());
    // SAFETY: the name ends in NUL, and all names read here are of pointers to 64 bits.
    let status = unsafe {
        ffi::mallctl(
            name.as_ptr(),
            (&raw mut value).cast::<c_void>(),
            &raw mut len,
            std::ptr::null_mut(),
            0,
        )
    };
    assert!(status == 0 && !value.is_null(), "jemalloc is built with statistics");
    value
}

/// The size class quantum jemalloc was built with.
pub fn quantum() -> usize {
    read(c"arenas.quantum")
}

/// The version jemalloc was built from, as INFO's `mem_allocator` shows it.
pub fn version() -> String {
    let mut text: *const std::ffi::c_char = std::ptr::null();
    let mut len = size_of::<*const std::ffi::c_char>();
    // SAFETY: the name ends in NUL, and `version` is a pointer to a constant text.
    let text = unsafe {
        ffi::mallctl(
            c"version".as_ptr(),
            (&raw mut text).cast::<c_void>(),
            &raw mut len,
            std::ptr::null_mut(),
            0,
        );
        if text.is_null() { c"unknown" } else { CStr::from_ptr(text) }
    };
    let text = text.to_string_lossy();
    format!("jemalloc-{}", text.split('-').next().unwrap_or_default())
}

fn read(name: &CStr) -> usize {
    let (mut value, mut len) = (0usize, size_of::<usize>());
    // SAFETY: the name ends in NUL, and all names read here are of size_t.
    unsafe {
        ffi::mallctl(
            name.as_ptr(),
            (&raw mut value).cast::<c_void>(),
            &raw mut len,
            std::ptr::null_mut(),
            0,
        );
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alignment_is_kept() {
        for align in [1, 8, 16, 64, 4096] {
            for size in [1, 24, 56, 100, 5000] {
                let layout = Layout::from_size_align(size, align).expect("valid");
                // SAFETY: the size is not zero.
                let ptr = unsafe { Jemalloc.alloc(layout) };
                assert_eq!(ptr.addr() % align, 0, "size {size} align {align}");
                // SAFETY: just allocated with this layout.
                unsafe { Jemalloc.dealloc(ptr, layout) };
            }
        }
    }

    #[test]
    fn it_reports_and_purges() {
        assert!(report().contains("jemalloc statistics") && purge());
    }

    #[test]
    #[cfg(not(feature = "system-allocator"))]
    fn a_thread_knows_what_it_holds() {
        let before = thread_net();
        let some = vec![0u8; 100_000];
        let held = thread_net() - before;
        assert!((100_000..130_000).contains(&held), "{held}");
        drop(some);
        assert_eq!(thread_net(), before);
    }

    #[test]
    fn small_classes_are_8_bytes_apart() {
        assert_eq!(quantum(), 8, "see .cargo/config.toml");
        assert!(version().starts_with("jemalloc-5"));
    }
}
