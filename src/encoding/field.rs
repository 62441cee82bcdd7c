//! A field of a large hash: one allocation that holds its name, its deadline and its value.
//!
//! ```text
//!  0      1         2          4          12         16
//!  | flags| name len| value len| deadline | name len | name ... | value ... |
//!           u8        u16        i64, if    u32, if
//!                                VOLATILE   LONG_NAME
//! value: `value len` bytes, or with SHARED 8 bytes, the pointer of an Arc<Vec<u8>>
//! ```
//!
//! Fields are thin (8 bytes to own one), because the table packs them into slots, and their head has
//! 4 bytes, so that a 14-byte name with a 14-byte value takes 32. They are allocated in the size
//! classes of [`size_class`]; a value that leaves its field in its class is overwritten in place. A
//! long value has a buffer of its own, which replies share.
//!
//! Invariant: the layout that the flags and lengths describe is the one that was allocated. Only this
//! module writes them. Nothing behind the head is aligned.

#![expect(unsafe_code, reason = "32 instead of 56 bytes for a 14-byte name and a 14-byte value")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::size_class::size_class;
use super::table::Thin;
use crate::base::limits::INLINE_VALUE_MAX;

const HEAD_LEN: usize = 4;
const DEADLINE_LEN: usize = 8;
const LONG_NAME_LEN: usize = 4;
const POINTER_LEN: usize = 8;
const ALIGN: usize = 8;

/// The field has a deadline.
const VOLATILE: u8 = 1;
/// The name's length did not fit into a byte.
const LONG_NAME: u8 = 2;
/// The value is a pointer to a shared buffer.
const SHARED: u8 = 4;

/// The fixed part of a field.
#[repr(C)]
#[derive(Clone, Copy)]
struct Head {
    flags: u8,
    name_len: u8,
    value_len: u16,
}

/// A value to be stored in a field.
#[derive(Clone, Copy, Debug)]
pub enum NewFieldValue<'a> {
    /// Bytes to be copied.
    Bytes(&'a [u8]),
    /// A buffer that may be kept as it is.
    Shared(&'a Arc<Vec<u8>>),
}

impl<'a> NewFieldValue<'a> {
    /// The bytes.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// A value as it is laid out.
enum Payload<'a> {
    Inline(&'a [u8]),
    Shared(Arc<Vec<u8>>),
}

impl<'a> From<NewFieldValue<'a>> for Payload<'a> {
    fn from(value: NewFieldValue<'a>) -> Self {
        match value {
            NewFieldValue::Bytes(bytes) if bytes.len() <= INLINE_VALUE_MAX => Self::Inline(bytes),
            NewFieldValue::Shared(bytes) if bytes.len() <= INLINE_VALUE_MAX => Self::Inline(bytes),
            NewFieldValue::Bytes(bytes) => Self::Shared(Arc::new(bytes.to_vec())),
            NewFieldValue::Shared(bytes) => Self::Shared(Arc::clone(bytes)),
        }
    }
}

impl Payload<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Shared(_) => POINTER_LEN,
        }
    }

    /// Sets the parts of `head` that describe the value.
    fn describe(&self, head: &mut Head) {
        (head.flags, head.value_len) = match self {
            Self::Inline(bytes) => (head.flags & !SHARED, bytes.len() as u16),
            Self::Shared(_) => (head.flags | SHARED, 0),
        };
    }

    /// Writes the value to `at`; the ownership of a shared buffer goes with it.
    ///
    /// # Safety
    /// `self.len()` bytes from `at` on may be written and are not what `self` borrows.
    unsafe fn write(self, at: *mut u8) {
        match self {
            // SAFETY: the caller's promise.
            Self::Inline(bytes) => unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
            },
            Self::Shared(bytes) => {
                let word = Arc::into_raw(bytes).expose_provenance();
                // SAFETY: the caller's promise.
                unsafe { at.cast::<usize>().write_unaligned(word) };
            }
        }
    }
}

/// An owned field.
pub struct Field {
    raw: NonNull<u8>,
}

// SAFETY: a field owns its bytes and its share of a buffer that is Send and Sync, and nothing else.
unsafe impl Send for Field {}

/// A shared view of a field.
#[derive(Clone, Copy)]
pub struct FieldView<'a> {
    raw: NonNull<u8>,
    lifetime: PhantomData<&'a u8>,
}

impl Field {
    /// A field of `name` and `value`.
    pub fn new(name: &[u8], value: NewFieldValue<'_>, deadline: Option<i64>) -> Self {
        Self::lay_out(name, value.into(), deadline)
    }

    fn lay_out(name: &[u8], payload: Payload<'_>, deadline: Option<i64>) -> Self {
        let long_name = name.len() > usize::from(u8::MAX);
        let name_len = if long_name { 0 } else { name.len() as u8 };
        let mut head = Head { flags: 0, name_len, value_len: 0 };
        head.flags |= if deadline.is_some() { VOLATILE } else { 0 };
        head.flags |= if long_name { LONG_NAME } else { 0 };
        payload.describe(&mut head);
        let name_at = name_offset(head.flags);
        let layout = layout(name_at + name.len() + payload.len());
        // SAFETY: the layout is at least HEAD_LEN bytes long.
        let Some(raw) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        // SAFETY: a Head fits and the allocation is aligned to 8.
        unsafe { raw.cast::<Head>().write(head) };
        if let Some(at_ms) = deadline {
            // SAFETY: VOLATILE reserves 8 bytes behind the head.
            unsafe { raw.add(HEAD_LEN).cast::<i64>().write_unaligned(at_ms) };
        }
        if long_name {
            let len = u32::try_from(name.len()).expect("arguments are shorter than 4 GiB");
            // SAFETY: LONG_NAME reserves 4 bytes before the name.
            unsafe { raw.add(name_at - LONG_NAME_LEN).cast::<u32>().write_unaligned(len) };
        }
        // SAFETY: the allocation holds the name at name_at, and is not the caller's slice.
        unsafe { ptr::copy_nonoverlapping(name.as_ptr(), raw.as_ptr().add(name_at), name.len()) };
        // SAFETY: the value follows the name within the allocation, and the bytes are fresh.
        unsafe { payload.write(raw.as_ptr().add(name_at + name.len())) };
        Self { raw }
    }

    /// A view of the field.
    #[inline]
    pub fn view(&self) -> FieldView<'_> {
        FieldView { raw: self.raw, lifetime: PhantomData }
    }

    /// Stores `value`, in place where the field stays in its size class; the deadline stays.
    #[inline]
    pub fn set_value(&mut self, value: NewFieldValue<'_>) {
        let payload = Payload::from(value);
        let view = self.view();
        if size_class(view.value_at() + payload.len()) != size_class(view.len()) {
            *self = Self::lay_out(view.name(), payload, view.deadline());
            return;
        }
        drop(self.take_shared());
        self.put(payload);
    }

    /// Sets or removes the deadline, in Unix milliseconds.
    pub fn set_deadline(&mut self, deadline: Option<i64>) {
        match (self.view().deadline(), deadline) {
            (None, None) => {}
            (Some(_), Some(at_ms)) => {
                // SAFETY: the field is VOLATILE, so the deadline lies behind the head.
                unsafe { self.raw.add(HEAD_LEN).cast::<i64>().write_unaligned(at_ms) };
            }
            _ => {
                let shared = self.take_shared();
                let view = self.view();
                let payload = shared.map_or(Payload::Inline(view.value()), Payload::Shared);
                *self = Self::lay_out(view.name(), payload, deadline);
            }
        }
    }

    /// Writes a value that leaves the field in its size class over one that owns nothing.
    #[inline]
    fn put(&mut self, payload: Payload<'_>) {
        let view = self.view();
        let (mut head, value_at) = (view.head(), view.value_at());
        payload.describe(&mut head);
        // SAFETY: the field is exclusively borrowed, and the layout's class stays the same.
        unsafe { self.raw.cast::<Head>().write(head) };
        // SAFETY: the class holds the value at its place, and nobody borrows the old one.
        unsafe { payload.write(self.raw.as_ptr().add(value_at)) };
    }

    /// Takes the shared buffer out; the value is 8 zeros afterwards.
    #[inline]
    fn take_shared(&mut self) -> Option<Arc<Vec<u8>>> {
        let pointer = self.view().pointer()?;
        self.put(Payload::Inline(&[0; POINTER_LEN]));
        // SAFETY: `Payload::write` got the pointer from Arc::into_raw, and the field has just given
        // up its share.
        Some(unsafe { Arc::from_raw(pointer) })
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        drop(self.take_shared());
        let layout = layout(self.view().len());
        // SAFETY: the field was allocated with this layout (its class never changes in place).
        unsafe { dealloc(self.raw.as_ptr(), layout) };
    }
}

impl std::fmt::Debug for Field {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let view = self.view();
        let (name, value) = (view.name().escape_ascii(), view.value().escape_ascii());
        write!(out, "{name} = {value} until {:?}", view.deadline())
    }
}

impl<'a> FieldView<'a> {
    #[inline]
    fn head(self) -> Head {
        // SAFETY: every field starts with a Head, which nobody changes during 'a.
        unsafe { self.raw.cast::<Head>().read() }
    }

    /// `len` bytes of the field from `at` on.
    ///
    /// # Safety
    /// They lie within the field and are initialized.
    #[inline]
    unsafe fn slice(self, at: usize, len: usize) -> &'a [u8] {
        // SAFETY: the caller's promise, and nobody changes the field during 'a.
        unsafe { std::slice::from_raw_parts(self.raw.as_ptr().add(at), len) }
    }

    /// The name.
    #[inline]
    pub fn name(self) -> &'a [u8] {
        let head = self.head();
        let at = name_offset(head.flags);
        let len = if head.flags & LONG_NAME == 0 {
            usize::from(head.name_len)
        } else {
            // SAFETY: LONG_NAME reserves 4 bytes before the name.
            unsafe { self.raw.add(at - LONG_NAME_LEN).cast::<u32>().read_unaligned() as usize }
        };
        // SAFETY: the name lies there.
        unsafe { self.slice(at, len) }
    }

    /// When the field expires, in Unix milliseconds.
    #[inline]
    pub fn deadline(self) -> Option<i64> {
        if self.head().flags & VOLATILE == 0 {
            return None;
        }
        // SAFETY: the field is VOLATILE, so the deadline lies behind the head.
        Some(unsafe { self.raw.add(HEAD_LEN).cast::<i64>().read_unaligned() })
    }

    /// The value.
    #[inline]
    pub fn value(self) -> &'a [u8] {
        if let Some(pointer) = self.pointer() {
            // SAFETY: the field has a share of the buffer, which nobody takes away during 'a.
            return unsafe { &*pointer };
        }
        // SAFETY: an inline value is value_len bytes long.
        unsafe { self.slice(self.value_at(), usize::from(self.head().value_len)) }
    }

    /// A share of the value's own buffer, if it has one.
    pub fn shared(self) -> Option<Arc<Vec<u8>>> {
        let pointer = self.pointer()?;
        // SAFETY: the pointer came from Arc::into_raw, and the field's share is alive.
        unsafe { Arc::increment_strong_count(pointer) };
        // SAFETY: the share just added is the one taken here.
        Some(unsafe { Arc::from_raw(pointer) })
    }

    /// A field of its own with the same content; a long value is shared.
    pub fn to_field(self) -> Field {
        let payload = self.shared().map_or(Payload::Inline(self.value()), Payload::Shared);
        Field::lay_out(self.name(), payload, self.deadline())
    }

    /// Bytes of memory behind the field's pointer, its value included.
    pub fn memory(self) -> usize {
        /// Two counters and the three words of a `Vec`.
        const SHARED_HEAD: usize = 40;
        let shared = self.pointer().map_or(0, |_| SHARED_HEAD + size_class(self.value().len()));
        size_class(self.len()) + shared
    }

    #[inline]
    fn value_at(self) -> usize {
        name_offset(self.head().flags) + self.name().len()
    }

    /// Bytes that the field's parts take.
    #[inline]
    fn len(self) -> usize {
        let head = self.head();
        let shared = head.flags & SHARED != 0;
        self.value_at() + if shared { POINTER_LEN } else { usize::from(head.value_len) }
    }

    #[inline]
    fn pointer(self) -> Option<*const Vec<u8>> {
        if self.head().flags & SHARED == 0 {
            return None;
        }
        // SAFETY: a SHARED value has 8 bytes, the address of a buffer.
        let word = unsafe { self.raw.add(self.value_at()).cast::<usize>().read_unaligned() };
        Some(ptr::with_exposed_provenance(word))
    }
}

// SAFETY: a field is its pointer; views read through it and end before it changes.
unsafe impl Thin for Field {
    type View<'a> = FieldView<'a>;

    fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).raw
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Self { raw }
    }

    #[inline]
    unsafe fn view<'a>(raw: NonNull<u8>) -> FieldView<'a> {
        FieldView { raw, lifetime: PhantomData }
    }

    fn as_view(&self) -> FieldView<'_> {
        self.view()
    }

    #[inline]
    fn key<'a>(view: Self::View<'a>) -> &'a [u8] {
        view.name()
    }

    #[inline]
    fn expire_at_ms(view: FieldView<'_>) -> Option<i64> {
        view.deadline()
    }
}

#[inline]
fn name_offset(flags: u8) -> usize {
    let deadline = if flags & VOLATILE == 0 { 0 } else { DEADLINE_LEN };
    HEAD_LEN + deadline + if flags & LONG_NAME == 0 { 0 } else { LONG_NAME_LEN }
}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(size_class(len), ALIGN).expect("a field is shorter than isize::MAX")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn new(name: &[u8], value: &[u8], deadline: Option<i64>) -> Field {
        Field::new(name, NewFieldValue::Bytes(value), deadline)
    }

    #[test]
    fn fourteen_and_fourteen_bytes_take_32() {
        assert_eq!(new(&[b'f'; 14], &[b'v'; 14], None).view().memory(), 32);
        assert_eq!(new(&[b'f'; 14], &[b'v'; 14], Some(1)).view().memory(), 40);
        assert_eq!(new(b"", b"", None).view().memory(), 8);
    }

    #[test]
    fn overwriting_within_the_class_stays_in_place() {
        let mut field = new(b"name", b"five5", Some(3));
        let before = field.raw;
        field.set_value(NewFieldValue::Bytes(b"four"));
        assert_eq!((field.raw, field.view().value()), (before, &b"four"[..]));
        field.set_value(NewFieldValue::Bytes(&[b'x'; 200]));
        assert_eq!((field.view().value(), field.view().deadline()), (&[b'x'; 200][..], Some(3)));
    }

    #[test]
    fn long_values_are_shared_and_freed() {
        let long = Arc::new(vec![b'l'; 5000]);
        let mut field = Field::new(b"name", NewFieldValue::Shared(&long), None);
        field.set_deadline(Some(9));
        let share = field.view().shared().expect("the value is long");
        assert!(Arc::ptr_eq(&share, &long));
        drop(share);
        assert_eq!((Arc::strong_count(&long), field.view().deadline()), (2, Some(9)));
        field.set_value(NewFieldValue::Bytes(b"12345678"));
        assert_eq!((Arc::strong_count(&long), field.view().value()), (1, &b"12345678"[..]));
        field.set_value(NewFieldValue::Shared(&long));
        drop(field);
        assert_eq!(Arc::strong_count(&long), 1);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Value(Vec<u8>, bool),
        Deadline(Option<i64>),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (prop::collection::vec(any::<u8>(), 0..2000), any::<bool>())
                .prop_map(|(value, shared)| Step::Value(value, shared)),
            (prop::collection::vec(any::<u8>(), 0..40), any::<bool>())
                .prop_map(|(value, shared)| Step::Value(value, shared)),
            prop::option::of(any::<i64>()).prop_map(Step::Deadline),
        ];
        prop::collection::vec(step, 1..20)
    }

    proptest! {
        #[test]
        fn fields_hold_what_they_are_given(
            name in prop::collection::vec(any::<u8>(), 0..600),
            steps in steps(),
        ) {
            let mut field = new(&name, b"", None);
            let (mut value, mut deadline) = (Vec::new(), None);
            for step in steps {
                match step {
                    Step::Value(bytes, false) => {
                        field.set_value(NewFieldValue::Bytes(&bytes));
                        value = bytes;
                    }
                    Step::Value(bytes, true) => {
                        field.set_value(NewFieldValue::Shared(&Arc::new(bytes.clone())));
                        value = bytes;
                    }
                    Step::Deadline(at_ms) => {
                        field.set_deadline(at_ms);
                        deadline = at_ms;
                    }
                }
                let view = field.view();
                prop_assert_eq!(view.name(), &name[..]);
                prop_assert_eq!(view.value(), &value[..]);
                prop_assert_eq!(view.deadline(), deadline);
                prop_assert_eq!(view.shared().is_some(), value.len() > INLINE_VALUE_MAX);
            }
        }
    }
}
