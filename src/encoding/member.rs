//! A member of a large set: one allocation that holds its length and its bytes.
//!
//! ```text
//!  0      1                      0      1            5
//!  | len  | bytes ... |          | 0xff | len: u32   | bytes ... |
//!    up to 254                     from 255 on
//! ```
//!
//! Members are thin (8 bytes to own one) because the table packs them into slots, and never change,
//! so an allocation is exactly as long as what is in it: 16 bytes for a member of 15.
//!
//! Invariant: the head describes the allocation. It is written once, by `Member::new`.

#![expect(unsafe_code, reason = "16 instead of 40 bytes for a boxed slice of 15 behind a thin box")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use super::table::Thin;

/// The first byte of a member whose length stands in the four bytes behind it.
const LONG: u8 = 0xff;
const SHORT_HEAD_LEN: usize = 1;
const LONG_HEAD_LEN: usize = 5;

/// An owned member.
pub struct Member {
    raw: NonNull<u8>,
}

// SAFETY: a member owns its bytes and nothing else.
unsafe impl Send for Member {}
// SAFETY: nothing behind a shared member can change.
unsafe impl Sync for Member {}

/// A member in place.
#[derive(Clone, Copy)]
pub struct MemberView<'a> {
    raw: NonNull<u8>,
    lifetime: PhantomData<&'a u8>,
}

impl Member {
    /// A member of `bytes`, of which there must be fewer than 4 GiB.
    pub fn new(bytes: &[u8]) -> Self {
        let layout = layout(bytes.len());
        // SAFETY: a layout has room for a head, so it is not empty.
        let Some(raw) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        if bytes.len() < usize::from(LONG) {
            // SAFETY: the head is within the allocation.
            unsafe { raw.write(bytes.len() as u8) };
        } else {
            let len = u32::try_from(bytes.len()).expect("members are shorter than 4 GiB");
            // SAFETY: the head is within the allocation.
            unsafe { raw.write(LONG) };
            // SAFETY: a long head has four more bytes.
            unsafe { raw.add(SHORT_HEAD_LEN).cast::<u32>().write_unaligned(len) };
        }
        let at = head_len(bytes.len());
        // SAFETY: the allocation has room for the bytes behind the head, and is not the caller's.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), raw.as_ptr().add(at), bytes.len()) };
        Self { raw }
    }

    /// The member's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.as_view().bytes()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let layout = layout(self.bytes().len());
        // SAFETY: the member was allocated with the layout of its length, which never changes.
        unsafe { dealloc(self.raw.as_ptr(), layout) };
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{}\"", self.bytes().escape_ascii())
    }
}

impl<'a> MemberView<'a> {
    /// The member's bytes.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        // SAFETY: every member starts with a byte of head.
        let short = unsafe { self.raw.read() };
        let len = if short == LONG {
            // SAFETY: a head that starts with LONG has four more bytes.
            unsafe { self.raw.add(SHORT_HEAD_LEN).cast::<u32>().read_unaligned() as usize }
        } else {
            usize::from(short)
        };
        // SAFETY: the head is followed by that many initialized bytes, which stay during 'a.
        unsafe { std::slice::from_raw_parts(self.raw.as_ptr().add(head_len(len)), len) }
    }

    /// Bytes of memory the member takes.
    pub fn memory(self) -> usize {
        layout(self.bytes().len()).size().next_multiple_of(8)
    }
}

// SAFETY: a member is its pointer; views read through it, and nothing behind it ever changes.
unsafe impl Thin for Member {
    type View<'a> = MemberView<'a>;

    fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).raw
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Self { raw }
    }

    #[inline]
    unsafe fn view<'a>(raw: NonNull<u8>) -> MemberView<'a> {
        MemberView { raw, lifetime: PhantomData }
    }

    #[inline]
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

#[inline]
fn head_len(len: usize) -> usize {
    if len < usize::from(LONG) { SHORT_HEAD_LEN } else { LONG_HEAD_LEN }
}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(head_len(len) + len, 1).expect("a member is shorter than isize::MAX")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fifteen_bytes_take_sixteen() {
        assert_eq!(Member::new(&[b'm'; 15]).as_view().memory(), 16);
        assert_eq!(Member::new(b"").as_view().memory(), 8);
        assert_eq!(Member::new(&[b'm'; 255]).as_view().memory(), 264);
    }

    #[test]
    fn members_of_every_length_keep_their_bytes() {
        for len in (0..300).chain([65_535, 65_536, 1 << 20]) {
            let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            assert_eq!(Member::new(&bytes).bytes(), bytes, "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn giving_up_and_taking_back_keeps_the_bytes(
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..20),
        ) {
            let raws: Vec<_> = texts.iter().map(|text| Member::new(text).into_raw()).collect();
            for (raw, text) in raws.into_iter().zip(&texts) {
                // SAFETY: `into_raw` gave the pointer, and nothing changes the member.
                let view = unsafe { Member::view(raw) };
                prop_assert_eq!(view.bytes(), &text[..]);
                // SAFETY: the pointer is not used again.
                let member = unsafe { Member::from_raw(raw) };
                prop_assert_eq!(Member::key(member.as_view()), &text[..]);
            }
        }
    }
}
