//! One slot of a bucket: an owned thin pointer packed with bits of its key's hash.
//!
//! ```text
//! 63          49 48 47                                   0
//! | fingerprint |D |           pointer                   |     0 = empty
//! ```
//!
//! `D` (displaced) says that the item's home is the bucket before the one it is in. User-space
//! addresses have 47 bits on x86-64 and 48 on AArch64 unless a program asks the kernel for more, which
//! this one never does; packing checks it.

#![expect(unsafe_code, reason = "8 bytes a slot instead of 16; measured in benches/hot.rs")]

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

const POINTER_BITS: u32 = 48;
const POINTER_MASK: u64 = (1 << POINTER_BITS) - 1;
const DISPLACED: u64 = 1 << POINTER_BITS;
const FINGERPRINT_SHIFT: u32 = POINTER_BITS + 1;

/// An owning pointer of one word to an item that carries its own key.
///
/// # Safety
/// `into_raw` and `from_raw` must be inverse, `view` must stay valid for as long as the item is
/// neither changed nor taken back by `from_raw`, and no item may depend on the address of the
/// pointer itself.
pub unsafe trait Thin: Sized {
    /// A shared view of an item in place.
    type View<'a>: Copy;

    /// Gives up ownership of the item.
    fn into_raw(self) -> NonNull<u8>;

    /// Takes ownership back.
    ///
    /// # Safety
    /// `raw` comes from `into_raw` and is not used again.
    unsafe fn from_raw(raw: NonNull<u8>) -> Self;

    /// Looks at an item whose ownership was given up.
    ///
    /// # Safety
    /// `raw` comes from `into_raw`, and nothing changes or frees the item during `'a`.
    unsafe fn view<'a>(raw: NonNull<u8>) -> Self::View<'a>;

    /// Looks at an item one owns.
    fn as_view(&self) -> Self::View<'_>;

    /// The key the item is found by.
    fn key<'a>(view: Self::View<'a>) -> &'a [u8];

    /// When the item expires, in Unix milliseconds.
    fn expire_at_ms(view: Self::View<'_>) -> Option<i64>;

    /// Bytes that the item takes, as far as that can be told at once; the same for the same content.
    fn weight(_view: Self::View<'_>) -> usize {
        0
    }

    /// When the item expires or a part of it does; a bound that may be too early.
    #[inline]
    fn due_at_ms(view: Self::View<'_>) -> Option<i64> {
        Self::expire_at_ms(view)
    }
}

/// An item or nothing.
pub(super) struct Slot<T: Thin> {
    word: u64,
    owned: PhantomData<T>,
}

impl<T: Thin> Slot<T> {
    pub(super) const EMPTY: Self = Self { word: 0, owned: PhantomData };

    pub(super) fn new(item: T, hash: u64, displaced: bool) -> Self {
        let word = pack(item.into_raw()) | fingerprint(hash) << FINGERPRINT_SHIFT;
        Self { word: if displaced { word | DISPLACED } else { word }, owned: PhantomData }
    }

    /// The same for another place: the bucket after the item's home if `displaced`.
    pub(super) fn moved(mut self, displaced: bool) -> Self {
        let word = std::mem::take(&mut self.word) & !DISPLACED;
        Self { word: if displaced { word | DISPLACED } else { word }, owned: PhantomData }
    }

    /// Whether the slot may hold an item of `hash`: 15 bits of it agree.
    #[inline]
    pub(super) fn suits(&self, hash: u64) -> bool {
        self.word >> FINGERPRINT_SHIFT == fingerprint(hash)
    }

    pub(super) fn is_displaced(&self) -> bool {
        self.word & DISPLACED != 0
    }

    #[inline]
    fn raw(&self) -> Option<NonNull<u8>> {
        NonNull::new(std::ptr::with_exposed_provenance_mut((self.word & POINTER_MASK) as usize))
    }

    #[inline]
    pub(super) fn view(&self) -> Option<T::View<'_>> {
        // SAFETY: a slot owns its item, and the view borrows the slot.
        self.raw().map(|raw| unsafe { T::view(raw) })
    }

    /// Lends the item out for changing; `None` when the slot is empty.
    pub(super) fn lend(&mut self) -> Option<Lent<'_, T>> {
        // SAFETY: the item's ownership moves into the `Lent`, which gives it back when it drops and
        // borrows the slot until then, so nobody sees the slot in between.
        let item = self.raw().map(|raw| unsafe { T::from_raw(raw) })?;
        Some(Lent { slot: self, item: ManuallyDrop::new(item) })
    }

    pub(super) fn take(&mut self) -> Option<T> {
        let raw = self.raw()?;
        self.word = 0;
        // SAFETY: the slot has just given the pointer up.
        Some(unsafe { T::from_raw(raw) })
    }

    /// The address to prefetch before the item is looked at.
    #[inline]
    pub(super) fn address(&self) -> *const u8 {
        std::ptr::without_provenance((self.word & POINTER_MASK) as usize)
    }
}

impl<T: Thin> Drop for Slot<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

fn pack(raw: NonNull<u8>) -> u64 {
    let address = raw.as_ptr().expose_provenance() as u64;
    assert_eq!(address & !POINTER_MASK, 0, "addresses have at most 48 bits");
    address
}

/// Bits 8 to 22 of the hash; bits 0 to 7 are the bucket's tag.
#[inline]
fn fingerprint(hash: u64) -> u64 {
    (hash >> 8) & 0x7fff
}

/// An item lent out by its slot: changes, even a move to another allocation, go back on drop.
pub struct Lent<'a, T: Thin> {
    slot: &'a mut Slot<T>,
    item: ManuallyDrop<T>,
}

impl<T: Thin> Deref for Lent<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T: Thin> DerefMut for Lent<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.item
    }
}

impl<T: Thin> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        // SAFETY: `item` is not used after this.
        let item = unsafe { ManuallyDrop::take(&mut self.item) };
        self.slot.word = self.slot.word & !POINTER_MASK | pack(item.into_raw());
    }
}

/// Asks the processor to load the cache line at `address`, which may be any value.
#[inline]
pub(super) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint; it reads nothing and never faults.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
