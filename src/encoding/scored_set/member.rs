//! A member of a large sorted set: one allocation with its score and its bytes.
//!
//! ```text
//!  0        8     9
//!  | score  | len | bytes ...            up to 254 bytes
//!  | score  | 255 | len, u32 | bytes ... longer ones
//! ```
//!
//! The table owns the member ([`Member`]); the tree refers to it ([`Handle`]). Only the score is ever
//! changed in place.

#![expect(
    unsafe_code,
    reason = "63 instead of 90 bytes a member: the order shares the table's item"
)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use crate::encoding::rank_tree;
use crate::encoding::table::Thin;

const SCORE_LEN: usize = size_of::<f64>();
const LEN_AT: usize = SCORE_LEN;
const SHORT_AT: usize = LEN_AT + 1;
const LONG_AT: usize = SHORT_AT + size_of::<u32>();

/// The length byte of members whose length does not fit into it.
const LONG: u8 = u8::MAX;

/// An owned member.
pub struct Member {
    raw: NonNull<u8>,
}

// SAFETY: a member owns its bytes and nothing else.
unsafe impl Send for Member {}

/// A shared view of a member.
#[derive(Clone, Copy)]
pub struct MemberView<'a> {
    raw: NonNull<u8>,
    lifetime: PhantomData<&'a u8>,
}

/// A member that somebody else owns.
///
/// Invariant: the member is alive for as long as anybody asks the handle for its bytes, which
/// [`MemberView::handle`] makes its caller promise.
#[derive(Clone, Copy)]
pub(super) struct Handle {
    raw: NonNull<u8>,
}

// SAFETY: a handle only reads bytes that nobody changes.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl rank_tree::Member for Handle {
    #[inline]
    fn bytes(&self) -> &[u8] {
        MemberView { raw: self.raw, lifetime: PhantomData }.bytes()
    }
}

impl Member {
    /// A member of these bytes.
    pub(super) fn new(bytes: &[u8], score: f64) -> Self {
        let short = bytes.len() < usize::from(LONG);
        let bytes_at = if short { SHORT_AT } else { LONG_AT };
        let layout = layout(bytes_at + bytes.len());
        // SAFETY: the layout is at least SHORT_AT bytes long.
        let Some(raw) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        // SAFETY: the allocation starts with the score and is aligned for it.
        unsafe { raw.cast::<f64>().write(score) };
        // SAFETY: the length byte follows.
        unsafe { raw.add(LEN_AT).write(if short { bytes.len() as u8 } else { LONG }) };
        if !short {
            let len = u32::try_from(bytes.len()).expect("members are shorter than 4 GiB");
            // SAFETY: LONG reserves 4 bytes before the member's.
            unsafe { raw.add(SHORT_AT).cast::<u32>().write_unaligned(len) };
        }
        // SAFETY: the allocation is fresh and ends with room for the bytes.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), raw.as_ptr().add(bytes_at), bytes.len())
        };
        Self { raw }
    }

    /// Changes the score.
    pub(super) fn set_score(&mut self, score: f64) {
        // SAFETY: the member is exclusively borrowed, and handles never read the score.
        unsafe { self.raw.cast::<f64>().write(score) };
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let layout = layout(self.as_view().len());
        // SAFETY: the member was allocated with this layout, and its length never changes.
        unsafe { dealloc(self.raw.as_ptr(), layout) };
    }
}

impl<'a> MemberView<'a> {
    /// The score.
    #[inline]
    pub(super) fn score(self) -> f64 {
        // SAFETY: a member starts with its score, which nobody changes during 'a.
        unsafe { self.raw.cast::<f64>().read() }
    }

    /// The member's bytes.
    #[inline]
    pub(super) fn bytes(self) -> &'a [u8] {
        // SAFETY: the length byte follows the score.
        let short = unsafe { self.raw.add(LEN_AT).read() };
        let (at, len) = if short == LONG {
            // SAFETY: LONG says that the length follows in 4 bytes.
            let long = unsafe { self.raw.add(SHORT_AT).cast::<u32>().read_unaligned() };
            (LONG_AT, long as usize)
        } else {
            (SHORT_AT, usize::from(short))
        };
        // SAFETY: so many bytes lie there, and nobody ever changes them.
        unsafe { std::slice::from_raw_parts(self.raw.as_ptr().add(at), len) }
    }

    /// Bytes of the member's allocation.
    pub(super) fn len(self) -> usize {
        let len = self.bytes().len();
        len + if len < usize::from(LONG) { SHORT_AT } else { LONG_AT }
    }

    /// A handle of the member.
    ///
    /// # Safety
    /// Nobody asks the handle, or a copy of it, for the bytes once the member is freed.
    pub(super) unsafe fn handle(self) -> Handle {
        Handle { raw: self.raw }
    }
}

impl Handle {
    /// The bytes for as long as the caller knows the member to live.
    ///
    /// # Safety
    /// The member is not freed during `'a`.
    pub(super) unsafe fn bytes_for<'a>(self) -> &'a [u8] {
        MemberView { raw: self.raw, lifetime: PhantomData }.bytes()
    }
}

// SAFETY: a member is its pointer; views read through it and end before it changes.
unsafe impl Thin for Member {
    type View<'a> = MemberView<'a>;

    fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).raw
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Self { raw }
    }

    #[inline]
    unsafe fn view<'a>(raw: NonNull<u8>) -> MemberView<'a> {
        MemberView { raw, lifetime: PhantomData }
    }

    fn as_view(&self) -> MemberView<'_> {
        MemberView { raw: self.raw, lifetime: PhantomData }
    }

    #[inline]
    fn key<'a>(view: Self::View<'a>) -> &'a [u8] {
        view.bytes()
    }

    #[inline]
    fn expire_at_ms(_: MemberView<'_>) -> Option<i64> {
        None
    }
}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(len, 8).expect("a member is shorter than isize::MAX")
}
