//! An entry: one allocation that holds a key, its deadline, its access bits and its value.
//!
//! ```text
//!  0      1       2            4         5            8          16         20
//!  | form | count | payload len | key len | access 24b | deadline | key len  | key ... | payload ... |
//!  | flags| u8    | u16         | u8      |            | i64, if  | u32, if
//!                                                      | VOLATILE | LONG_KEY
//! payload: Int 8 bytes; Heap 8 bytes, the pointer of a Box<Value>; else `payload len` bytes
//! ```
//!
//! Entries are thin (8 bytes to own one) because the table packs them into slots. An entry is
//! allocated in the size classes of [`size_class`]; a value whose entry stays in its class is
//! overwritten in place, which is what most writes do. A small collection lies in its entry as a
//! string does, and is changed there by [`Entry::splice`]; `count` is its number of items. Where nothing
//! is to be counted, that byte holds what makes the access bits finer (`recency`).
//!
//! Invariant: the layout that `form`, `flags` and the lengths describe is the one that was allocated.
//! Only this module writes those fields.

#![expect(unsafe_code, reason = "56 instead of 80 bytes for a 16-byte key and a 32-byte value")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::{self, NonNull};

use super::Db;
use super::recency::FINER_UNKNOWN;
use crate::encoding::size_class::size_class;
use crate::encoding::table::{Position, Thin};
use crate::value::packed::{PACKED_COUNT_MAX, PACKED_LEN_MAX, Packed, PackedForm};
use crate::value::{NewStr, StrView, Type, Value, ValueView};

const HEAD_LEN: usize = 8;
const DEADLINE_LEN: usize = 8;
const LONG_KEY_LEN: usize = 4;
const WORD_LEN: usize = 8;

/// The bits of the first byte that are the form; the others are flags.
const FORM_MASK: u8 = 0x0f;
/// The entry has a deadline.
const VOLATILE: u8 = 0x10;
/// The key's length did not fit into a byte.
const LONG_KEY: u8 = 0x20;
/// An inline string that OBJECT ENCODING calls `raw`.
const RAW: u8 = 0x40;

/// `count` of a packed collection with more items.
const UNCOUNTED: u8 = u8::MAX;

const _: () = assert!(PACKED_COUNT_MAX == UNCOUNTED as usize - 1);
const _: () = assert!(PACKED_LEN_MAX <= u16::MAX as usize);

/// What the payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Int,
    Heap,
    Inline,
    Packed(PackedForm),
}

/// The forms of packed collections by their number in an entry, which begins at 3.
const PACKED_FORMS: [PackedForm; 7] = [
    PackedForm::List,
    PackedForm::Hash,
    PackedForm::Set,
    PackedForm::ZSet,
    PackedForm::Ints16,
    PackedForm::Ints32,
    PackedForm::Ints64,
];

impl Form {
    const FIRST_PACKED: u8 = 3;

    #[inline]
    const fn bits(self) -> u8 {
        match self {
            Self::Int => 0,
            Self::Heap => 1,
            Self::Inline => 2,
            Self::Packed(form) => Self::FIRST_PACKED + form as u8,
        }
    }

    #[inline]
    fn of(tag: u8) -> Self {
        match tag & FORM_MASK {
            0 => Self::Int,
            1 => Self::Heap,
            2 => Self::Inline,
            packed => Self::Packed(PACKED_FORMS[usize::from(packed - Self::FIRST_PACKED)]),
        }
    }

    /// Whether the payload is one word.
    #[inline]
    fn is_word(self) -> bool {
        matches!(self, Self::Int | Self::Heap)
    }
}

/// The fixed part of an entry.
#[repr(C)]
#[derive(Clone, Copy)]
struct Head {
    /// Form and flags.
    tag: u8,
    count: u8,
    payload_len: u16,
    key_len: u8,
    access: [u8; 3],
}

impl Head {
    #[inline]
    fn form(self) -> Form {
        Form::of(self.tag)
    }

    #[inline]
    fn has(self, flag: u8) -> bool {
        self.tag & flag != 0
    }

    #[inline]
    fn is_packed(self) -> bool {
        self.tag & FORM_MASK >= Form::FIRST_PACKED
    }

    #[inline]
    fn access(self) -> u32 {
        let [low, middle, high] = self.access;
        let finer = if self.is_packed() { FINER_UNKNOWN as u8 } else { self.count };
        u32::from_le_bytes([finer, low, middle, high])
    }

    #[inline]
    fn set_access(&mut self, access: u32) {
        let [finer, low, middle, high] = access.to_le_bytes();
        self.access = [low, middle, high];
        if !self.is_packed() {
            self.count = finer;
        }
    }
}

/// The tag of an entry without flags that holds bytes, and of one that holds an integer.
const PLAIN_INLINE: u8 = Form::Inline.bits();
const PLAIN_INT: u8 = Form::Int.bits();

/// What is to be stored in an entry.
#[derive(Debug)]
pub enum NewValue<'a> {
    /// A string.
    Str(NewStr<'a>),
    /// A small collection.
    Packed(Packed<'a>),
    /// A value of any other type, or a long string.
    Object(Box<Value>),
}

impl<'a> NewValue<'a> {
    /// The same value, for storing it under another key; an object is copied whole.
    pub fn copy_of(value: ValueView<'a>) -> Self {
        match value {
            ValueView::Str(value) => Self::Str(value.to_new()),
            ValueView::Packed(packed) => Self::Packed(packed),
            ValueView::Object(object) => Self::Object(Box::new(object.clone())),
        }
    }
}

/// An owned entry.
pub struct Entry {
    raw: NonNull<u8>,
}

// SAFETY: an entry owns its bytes and its boxed value, which is Send, and nothing else.
unsafe impl Send for Entry {}

/// A shared view of an entry.
#[derive(Clone, Copy)]
pub struct EntryView<'a> {
    raw: NonNull<u8>,
    lifetime: PhantomData<&'a u8>,
}

/// The payload of a new entry, ready to be laid out.
enum Payload<'a> {
    Int(i64),
    Inline { bytes: &'a [u8], raw: bool },
    Packed(Packed<'a>),
    Heap(Box<Value>),
}

impl<'a> From<NewValue<'a>> for Payload<'a> {
    fn from(value: NewValue<'a>) -> Self {
        match value {
            NewValue::Str(NewStr::Int(value)) => Self::Int(value),
            NewValue::Str(NewStr::Bytes { bytes, raw }) => Self::Inline { bytes, raw },
            NewValue::Str(NewStr::Shared(bytes)) => Self::Heap(Box::new(Value::Str(bytes))),
            NewValue::Packed(packed) => Self::Packed(packed),
            NewValue::Object(value) => Self::Heap(value),
        }
    }
}

impl Payload<'_> {
    fn form(&self) -> Form {
        match self {
            Self::Int(_) => Form::Int,
            Self::Inline { .. } => Form::Inline,
            Self::Packed(packed) => Form::Packed(packed.form),
            Self::Heap(_) => Form::Heap,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Int(_) | Self::Heap(_) => WORD_LEN,
            Self::Inline { bytes, .. } => bytes.len(),
            Self::Packed(packed) => packed.body.len(),
        }
    }

    /// The head's fields that describe the payload, given its other flags.
    fn describe(&self, head: &mut Head) {
        if head.is_packed() {
            head.count = FINER_UNKNOWN as u8;
        }
        head.tag = head.tag & !(FORM_MASK | RAW) | self.form().bits();
        head.payload_len = 0;
        match self {
            Self::Int(_) | Self::Heap(_) => {}
            Self::Inline { bytes, raw } => {
                head.tag |= if *raw { RAW } else { 0 };
                head.payload_len = payload_len(bytes.len());
            }
            Self::Packed(packed) => {
                head.count = packed.count.map_or(UNCOUNTED, stored_count);
                head.payload_len = payload_len(packed.body.len());
            }
        }
    }

    /// Writes the payload to `at`.
    ///
    /// # Safety
    /// `len()` bytes at `at` are writable and hold nothing that needs dropping.
    unsafe fn write(self, at: *mut u8) {
        let (word, bytes);
        let from: &[u8] = match self {
            Self::Int(value) => {
                word = value.to_ne_bytes();
                &word
            }
            Self::Heap(value) => {
                word = (Box::into_raw(value).expose_provenance() as i64).to_ne_bytes();
                &word
            }
            Self::Inline { bytes: inline, .. } => {
                bytes = inline;
                bytes
            }
            Self::Packed(packed) => {
                bytes = packed.body;
                bytes
            }
        };
        // SAFETY: the caller's promise; a payload never borrows from the entry it is written to.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), at, from.len()) }
    }
}

impl Entry {
    /// An entry of `key` and `value`.
    pub fn new(key: &[u8], value: NewValue<'_>, deadline: Option<i64>, access: u32) -> Self {
        let payload = Payload::from(value);
        let long_key = key.len() > usize::from(u8::MAX);
        let mut head = Head {
            tag: 0,
            count: 0,
            payload_len: 0,
            key_len: if long_key { 0 } else { key.len() as u8 },
            access: [0; 3],
        };
        head.set_access(access);
        head.tag |= if deadline.is_some() { VOLATILE } else { 0 };
        head.tag |= if long_key { LONG_KEY } else { 0 };
        payload.describe(&mut head);
        let key_at = key_offset(head.tag);
        let layout = layout(key_at + key.len() + payload.len());
        // SAFETY: the layout is at least HEAD_LEN bytes long.
        let Some(raw) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        // SAFETY: a Head fits and the allocation is aligned to 8.
        unsafe { raw.cast::<Head>().write(head) };
        if let Some(at_ms) = deadline {
            // SAFETY: VOLATILE reserves 8 bytes behind the head.
            unsafe { raw.add(HEAD_LEN).cast::<i64>().write(at_ms) };
        }
        if long_key {
            let len = u32::try_from(key.len()).expect("keys are shorter than 4 GiB");
            // SAFETY: LONG_KEY reserves 4 bytes before the key.
            unsafe { raw.add(key_at - LONG_KEY_LEN).cast::<u32>().write_unaligned(len) };
        }
        // SAFETY: the allocation holds the key at key_at, and is not the caller's slice.
        unsafe { ptr::copy_nonoverlapping(key.as_ptr(), raw.as_ptr().add(key_at), key.len()) };
        // SAFETY: the payload follows the key within the allocation, and the bytes are fresh.
        unsafe { payload.write(raw.as_ptr().add(key_at + key.len())) };
        Self { raw }
    }

    /// A view of the entry.
    #[inline]
    pub fn view(&self) -> EntryView<'_> {
        EntryView { raw: self.raw, lifetime: PhantomData }
    }

    /// Stores `value`, in place where the entry stays in its size class.
    #[inline]
    pub fn set_value(&mut self, value: NewValue<'_>) {
        let view = self.view();
        let (key_len, payload) = (view.key().len(), Payload::from(value));
        let payload_at = key_offset(view.head().tag) + key_len;
        if view.head().form() == Form::Heap
            || size_class(payload_at + payload.len()) != size_class(view.len())
        {
            return self.rebuild(view.deadline(), Some(payload));
        }
        let mut head = view.head();
        payload.describe(&mut head);
        // SAFETY: the entry is exclusively borrowed, and the layout's class stays the same.
        unsafe { self.raw.cast::<Head>().write(head) };
        // SAFETY: the class holds the payload at its place; the old one needs no drop.
        unsafe { payload.write(self.raw.as_ptr().add(payload_at)) };
    }

    /// Stores `value` in the place of one of the same form, if nothing but that changes: the entry has
    /// no deadline and stays in its size class. `false`, and nothing is done, if it is not so.
    #[inline]
    pub fn overwrite(&mut self, value: &NewStr<'_>, access: u32) -> bool {
        let mut head = self.view().head();
        let payload_at = HEAD_LEN + usize::from(head.key_len);
        let word;
        let bytes = match (value, head.tag & !RAW) {
            (NewStr::Bytes { bytes, raw }, PLAIN_INLINE) => {
                let (old, new) = (usize::from(head.payload_len), bytes.len());
                if old != new && size_class(payload_at + old) != size_class(payload_at + new) {
                    return false;
                }
                head.tag = if *raw { PLAIN_INLINE | RAW } else { PLAIN_INLINE };
                head.payload_len = payload_len(new);
                bytes
            }
            (NewStr::Int(value), PLAIN_INT) => {
                word = value.to_ne_bytes();
                &word[..]
            }
            _ => return false,
        };
        head.set_access(access);
        // SAFETY: the entry is exclusively borrowed, and the layout's class stays the same.
        unsafe { self.raw.cast::<Head>().write(head) };
        // SAFETY: without a deadline and a long key the payload lies there, the class holds it, the
        // old one needs no drop, and the new one is not part of the entry.
        unsafe {
            ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.raw.as_ptr().add(payload_at),
                bytes.len(),
            );
        }
        true
    }

    /// Replaces the bytes `at` of a packed collection by `with`; it has `count` items afterwards.
    ///
    /// # Panics
    /// If the value is not packed, `at` lies outside its body, or the body gets too long.
    pub fn splice(&mut self, at: Range<usize>, with: &[u8], count: usize) {
        let ValueView::Packed(packed) = self.view().value() else { panic!("nothing is packed") };
        let (body, whole) = (packed.body.len(), self.view().len());
        assert!(at.start <= at.end && at.end <= body, "the range lies in the body");
        let tail = body - at.end;
        let body_after = at.start + with.len() + tail;
        let whole_after = whole - body + body_after;
        let mut head = self.view().head();
        head.payload_len = payload_len(body_after);
        head.count = stored_count(count);
        let (cut, resume) = (whole - body + at.start, whole - tail);
        let before = self.raw;
        let grown = size_class(whole_after) != size_class(whole);
        if grown {
            let layout = layout(whole_after);
            // SAFETY: the layout is at least HEAD_LEN bytes long.
            let Some(raw) = NonNull::new(unsafe { alloc(layout) }) else {
                handle_alloc_error(layout)
            };
            // SAFETY: both hold at least the first `cut` bytes, and they are different allocations.
            unsafe { ptr::copy_nonoverlapping(before.as_ptr(), raw.as_ptr(), cut) };
            self.raw = raw;
        }
        // SAFETY: `resume` is at most the old length.
        let from = unsafe { before.as_ptr().add(resume) };
        // SAFETY: the new length, and so the class allocated, reaches beyond `cut`.
        let gap = unsafe { self.raw.as_ptr().add(cut) };
        // SAFETY: the tail ends where the new length does; within one allocation it may overlap.
        unsafe { ptr::copy(from, gap.add(with.len()), tail) };
        // SAFETY: the gap is `with.len()` bytes long, and `with` is not part of the entry, which is
        // exclusively borrowed.
        unsafe { ptr::copy_nonoverlapping(with.as_ptr(), gap, with.len()) };
        // SAFETY: a Head fits, and describes what was just written.
        unsafe { self.raw.cast::<Head>().write(head) };
        if grown {
            // SAFETY: it was allocated for the old length and nothing refers to it any more.
            unsafe { dealloc(before.as_ptr(), self::layout(whole)) };
        }
    }

    /// Sets or removes the deadline, in Unix milliseconds.
    pub fn set_deadline(&mut self, deadline: Option<i64>) {
        match (self.view().deadline(), deadline) {
            (None, None) => {}
            (Some(_), Some(at_ms)) => {
                // SAFETY: the entry is VOLATILE, so the deadline lies behind the head.
                unsafe { self.raw.add(HEAD_LEN).cast::<i64>().write(at_ms) };
            }
            _ => self.rebuild(deadline, None),
        }
    }

    /// Sets the access bits; a packed collection does not keep the lowest 8.
    #[inline]
    pub fn set_access(&mut self, access: u32) {
        let mut head = self.view().head();
        head.set_access(access);
        // SAFETY: only the access bits change.
        unsafe { self.raw.cast::<Head>().write(head) };
    }

    /// The boxed value, for changing it in place.
    pub fn object_mut(&mut self) -> Option<&mut Value> {
        let raw = self.view().boxed()?;
        // SAFETY: the entry owns the box and is exclusively borrowed.
        Some(unsafe { &mut *raw })
    }

    /// The bytes of a string that lies in the entry, for changing them in place; it is `raw` then.
    pub fn inline_mut(&mut self) -> Option<&mut [u8]> {
        let view = self.view();
        let mut head = view.head();
        if head.form() != Form::Inline {
            return None;
        }
        head.tag |= RAW;
        let (at, len) = (view.payload_at(), usize::from(head.payload_len));
        // SAFETY: only the RAW flag changes, which the layout does not depend on.
        unsafe { self.raw.cast::<Head>().write(head) };
        // SAFETY: an Inline payload has that length, and the entry is exclusively borrowed.
        Some(unsafe { std::slice::from_raw_parts_mut(self.raw.as_ptr().add(at), len) })
    }

    /// Lays the entry out anew with `deadline` and, if given, another payload.
    #[cold]
    fn rebuild(&mut self, deadline: Option<i64>, payload: Option<Payload<'_>>) {
        let view = self.view();
        let access = view.access();
        let value = match payload {
            Some(Payload::Int(value)) => NewValue::Str(NewStr::Int(value)),
            Some(Payload::Inline { bytes, raw }) => NewValue::Str(NewStr::Bytes { bytes, raw }),
            Some(Payload::Packed(packed)) => NewValue::Packed(packed),
            Some(Payload::Heap(value)) => NewValue::Object(value),
            None => match view.value() {
                ValueView::Packed(packed) => NewValue::Packed(packed),
                ValueView::Str(value) if view.boxed().is_none() => NewValue::Str(value.to_new()),
                _ => NewValue::Object(self.take_boxed().expect("the form is Heap")),
            },
        };
        let new = Self::new(self.view().key(), value, deadline, access);
        *self = new;
    }

    /// Takes the boxed value out; the entry holds the integer 0 afterwards.
    pub fn take_boxed(&mut self) -> Option<Box<Value>> {
        let view = self.view();
        let raw = view.boxed()?;
        let payload_at = key_offset(view.head().tag) + view.key().len();
        let mut head = view.head();
        Payload::Int(0).describe(&mut head);
        // SAFETY: the payload's length stays that of a word.
        unsafe { self.raw.cast::<Head>().write(head) };
        // SAFETY: an Int payload is as long as a Heap one, whose box is owned by `raw` from here on.
        unsafe { Payload::Int(0).write(self.raw.as_ptr().add(payload_at)) };
        // SAFETY: the pointer came from Box::into_raw and is not in the entry any more.
        Some(unsafe { Box::from_raw(raw) })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        drop(self.take_boxed());
        let layout = layout(self.view().len());
        // SAFETY: the entry was allocated with this layout (its class never changes in place).
        unsafe { dealloc(self.raw.as_ptr(), layout) };
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let view = self.view();
        write!(
            out,
            "{} = {:?} until {:?}",
            view.key().escape_ascii(),
            view.value(),
            view.deadline()
        )
    }
}

impl<'a> EntryView<'a> {
    #[inline]
    fn head(self) -> Head {
        // SAFETY: every entry starts with a Head, which nobody changes during 'a.
        unsafe { self.raw.cast::<Head>().read() }
    }

    /// `len` bytes of the entry from `at` on.
    ///
    /// # Safety
    /// They lie within the entry and are initialized.
    #[inline]
    unsafe fn slice(self, at: usize, len: usize) -> &'a [u8] {
        // SAFETY: the caller's promise, and nobody changes the entry during 'a.
        unsafe { std::slice::from_raw_parts(self.raw.as_ptr().add(at), len) }
    }

    /// The key.
    #[inline]
    pub fn key(self) -> &'a [u8] {
        let head = self.head();
        let at = key_offset(head.tag);
        let len = if !head.has(LONG_KEY) {
            usize::from(head.key_len)
        } else {
            // SAFETY: LONG_KEY reserves 4 bytes before the key.
            unsafe { self.raw.add(at - LONG_KEY_LEN).cast::<u32>().read_unaligned() as usize }
        };
        // SAFETY: the key lies there.
        unsafe { self.slice(at, len) }
    }

    /// When the entry expires, in Unix milliseconds.
    #[inline]
    pub fn deadline(self) -> Option<i64> {
        if !self.head().has(VOLATILE) {
            return None;
        }
        // SAFETY: the entry is VOLATILE, so the deadline lies behind the head.
        Some(unsafe { self.raw.add(HEAD_LEN).cast::<i64>().read() })
    }

    /// Whether the entry has not expired at `now_ms`.
    #[inline]
    pub fn is_live(self, now_ms: i64) -> bool {
        self.deadline().is_none_or(|at_ms| at_ms > now_ms)
    }

    /// The access bits.
    #[inline]
    pub fn access(self) -> u32 {
        self.head().access()
    }

    /// Whether [`Entry::set_access`] would change anything.
    #[inline]
    pub fn is_changed_by(self, access: u32) -> bool {
        let mut head = self.head();
        head.set_access(access);
        head.access() != self.access()
    }

    /// The value.
    #[inline(always)]
    pub fn value(self) -> ValueView<'a> {
        let head = self.head();
        match head.form() {
            Form::Int => ValueView::Str(StrView::Int(self.word())),
            Form::Inline => {
                ValueView::Str(StrView::Bytes { bytes: self.payload(), raw: head.has(RAW) })
            }
            Form::Packed(form) => {
                let count = (head.count != UNCOUNTED).then_some(usize::from(head.count));
                ValueView::Packed(Packed { form, count, body: self.payload() })
            }
            Form::Heap => self.object().expect("the form is Heap").view(),
        }
    }

    /// The value's type.
    pub fn type_of(self) -> Type {
        self.value().type_of()
    }

    /// The boxed value, where there is one.
    pub fn object(self) -> Option<&'a Value> {
        // SAFETY: the entry owns the box, and nobody changes it during 'a.
        self.boxed().map(|raw| unsafe { &*raw })
    }

    /// An entry of its own with the same content.
    pub fn to_entry(self) -> Entry {
        Entry::new(self.key(), NewValue::copy_of(self.value()), self.deadline(), self.access())
    }

    /// Where the entry is, as DEBUG OBJECT shows it.
    pub fn address(self) -> *const u8 {
        self.raw.as_ptr()
    }

    /// Bytes of memory behind the entry's pointer, its value included.
    pub fn memory(self) -> usize {
        size_class(self.len()) + self.object().map_or(0, Value::memory)
    }

    /// Like [`Self::memory`], with its share of the table; see [`Value::weight`].
    pub fn weight(self) -> usize {
        /// A slot and its share of those that are empty.
        const SLOT_LEN: usize = 13;
        SLOT_LEN + size_class(self.len()) + self.object().map_or(0, Value::weight)
    }

    #[inline]
    fn payload_at(self) -> usize {
        key_offset(self.head().tag) + self.key().len()
    }

    /// Bytes that the entry's parts take.
    fn len(self) -> usize {
        let head = self.head();
        let payload = if head.form().is_word() { WORD_LEN } else { usize::from(head.payload_len) };
        self.payload_at() + payload
    }

    #[inline]
    fn word(self) -> i64 {
        // SAFETY: the forms Int and Heap have a payload of 8 bytes; callers have checked the form.
        unsafe { self.raw.add(self.payload_at()).cast::<i64>().read_unaligned() }
    }

    #[inline]
    fn boxed(self) -> Option<*mut Value> {
        let heap = self.head().form() == Form::Heap;
        heap.then(|| ptr::with_exposed_provenance_mut(self.word() as usize))
    }

    /// The payload of an entry whose payload is not a word.
    #[inline]
    fn payload(self) -> &'a [u8] {
        // SAFETY: such a payload is payload_len bytes long.
        unsafe { self.slice(self.payload_at(), usize::from(self.head().payload_len)) }
    }
}

// SAFETY: an entry is its pointer; views read through it and end before it changes.
unsafe impl Thin for Entry {
    type View<'a> = EntryView<'a>;

    fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).raw
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Self { raw }
    }

    #[inline]
    unsafe fn view<'a>(raw: NonNull<u8>) -> EntryView<'a> {
        EntryView { raw, lifetime: PhantomData }
    }

    fn as_view(&self) -> EntryView<'_> {
        self.view()
    }

    #[inline]
    fn key<'a>(view: Self::View<'a>) -> &'a [u8] {
        view.key()
    }

    #[inline]
    fn expire_at_ms(view: EntryView<'_>) -> Option<i64> {
        view.deadline()
    }

    fn weight(view: EntryView<'_>) -> usize {
        view.weight()
    }

    #[inline]
    fn due_at_ms(view: EntryView<'_>) -> Option<i64> {
        let (deadline, part) = (view.deadline(), view.object().and_then(Value::due_at_ms));
        match (deadline, part) {
            (Some(deadline), Some(part)) => Some(deadline.min(part)),
            _ => deadline.or(part),
        }
    }
}

/// The boxed value of the entry at `position`, for what does not change it, or where the table was
/// told that it will change.
pub(super) fn object_mut(table: &mut Db, position: Position) -> Option<&mut Value> {
    let raw = table.view(position).boxed()?;
    // SAFETY: the entry owns the box, and both are in the table, which is exclusively borrowed.
    Some(unsafe { &mut *raw })
}

#[inline]
fn key_offset(tag: u8) -> usize {
    let deadline = if tag & VOLATILE == 0 { 0 } else { DEADLINE_LEN };
    HEAD_LEN + deadline + if tag & LONG_KEY == 0 { 0 } else { LONG_KEY_LEN }
}

/// The stored length of a payload that is no word.
fn payload_len(len: usize) -> u16 {
    u16::try_from(len).expect("payloads inside an entry are shorter than 64 KiB")
}

/// The stored number of items of a packed collection.
fn stored_count(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(UNCOUNTED)
}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(size_class(len), 8).expect("an entry is shorter than isize::MAX")
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
