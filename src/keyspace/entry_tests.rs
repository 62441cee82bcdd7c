//! Entries hold what they are given, in every layout.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn text(entry: &Entry) -> Vec<u8> {
    match entry.view().value() {
        ValueView::Str(value) => value.to_vec(),
        other => panic!("{other:?} is no string"),
    }
}

fn new_str(bytes: &[u8]) -> NewValue<'_> {
    NewValue::Str(NewStr::from_bytes(bytes))
}

#[test]
fn a_typical_entry_takes_56_bytes() {
    let entry = Entry::new(&[b'k'; 16], new_str(&[b'v'; 32]), None, 0);
    assert_eq!(entry.view().memory(), 56);
    let volatile = Entry::new(&[b'k'; 16], new_str(&[b'v'; 32]), Some(1), 0);
    assert_eq!(volatile.view().memory(), 64);
}

#[test]
fn overwriting_within_the_class_stays_in_place() {
    let mut entry = Entry::new(b"key", new_str(b"five5"), None, 7);
    let before = entry.raw;
    entry.set_value(new_str(b"four"));
    assert_eq!((entry.raw, text(&entry)), (before, b"four".to_vec()));
    entry.set_value(new_str(&[b'x'; 200]));
    assert_eq!(text(&entry), vec![b'x'; 200]);
    assert_eq!(entry.view().access(), 7);
}

#[test]
fn long_values_are_shared_and_freed() {
    let long = Arc::new(vec![b'l'; 5000]);
    let mut entry = Entry::new(b"key", NewValue::Str(NewStr::Shared(Arc::clone(&long))), None, 0);
    entry.set_deadline(Some(9));
    assert_eq!((Arc::strong_count(&long), entry.view().deadline()), (2, Some(9)));
    entry.set_value(new_str(b"short"));
    assert_eq!((Arc::strong_count(&long), text(&entry)), (1, b"short".to_vec()));
}

#[test]
fn inline_strings_change_in_place() {
    let mut entry = Entry::new(b"key", new_str(b"abc"), Some(5), 3);
    entry.inline_mut().expect("short strings are inline")[1] = b'x';
    assert_eq!((text(&entry), entry.view().deadline()), (b"axc".to_vec(), Some(5)));
    assert_eq!(entry.view().value().encoding(), "raw");
    entry.set_value(new_str(b"12"));
    assert!(entry.inline_mut().is_none());
}

/// Bytes and numbers, some as long as others.
fn a_string() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        prop::collection::vec(any::<u8>(), 1_000..6_000),
        (1i64..1000).prop_map(|number| number.to_string().into_bytes()),
    ]
}

proptest! {
    #[test]
    fn overwriting_stores_or_does_nothing(
        key in prop_oneof![Just(vec![b'k'; 16]), prop::collection::vec(any::<u8>(), 0..300)],
        (before, after) in (a_string(), a_string()),
        raw in any::<bool>(),
        deadline in prop_oneof![3 => Just(None), 1 => any::<i64>().prop_map(Some)],
    ) {
        let value = || if raw { NewStr::modified(&after) } else { NewStr::from_bytes(&after) };
        let mut entry = Entry::new(&key, new_str(&before), deadline, 7);
        let mut stored = entry.view().to_entry();
        stored.set_value(NewValue::Str(value()));
        let (at, memory) = (entry.raw, entry.view().memory());
        if entry.overwrite(&value(), 0x1234_5678) {
            prop_assert_eq!(text(&entry), after);
            prop_assert_eq!(entry.view().value().encoding(), stored.view().value().encoding());
            prop_assert_eq!(entry.view().access(), 0x1234_5678);
            prop_assert_eq!((entry.raw, entry.view().memory()), (at, stored.view().memory()));
            prop_assert_eq!(deadline, None);
        } else {
            let forms = [&entry, &stored].map(|entry| entry.view().head().tag & FORM_MASK);
            let alike = forms[0] == forms[1] && forms[0] != Form::Heap.bits();
            let fits = memory == stored.view().memory();
            prop_assert!(deadline.is_some() || key.len() > 255 || !alike || !fits);
            prop_assert_eq!(text(&entry), before);
            prop_assert_eq!((entry.view().access(), entry.raw), (7, at));
        }
        prop_assert_eq!(entry.view().key(), &key[..]);
        prop_assert_eq!(entry.view().deadline(), deadline);
    }
}

fn packed(entry: &Entry) -> (Option<usize>, Vec<u8>) {
    match entry.view().value() {
        ValueView::Packed(packed) => (packed.count, packed.body.to_vec()),
        other => panic!("{other:?} is not packed"),
    }
}

proptest! {
    #[test]
    fn packed_bodies_are_spliced_like_vectors(
        key in prop::collection::vec(any::<u8>(), 0..300),
        deadline in prop::option::of(any::<i64>()),
        steps in prop::collection::vec(
            (any::<u16>(), any::<u16>(), prop::collection::vec(any::<u8>(), 0..300), 0usize..400),
            1..20,
        ),
    ) {
        let empty = Packed { form: PackedForm::ZSet, count: Some(0), body: &[] };
        let mut entry = Entry::new(&key, NewValue::Packed(empty), deadline, 77);
        let mut model = Vec::new();
        for (start, len, with, count) in steps {
            let start = usize::from(start) % (model.len() + 1);
            let end = (start + usize::from(len) % 64).min(model.len());
            entry.splice(start..end, &with, count);
            model.splice(start..end, with);
            let counted = (count <= PACKED_COUNT_MAX).then_some(count);
            prop_assert_eq!(packed(&entry), (counted, model.clone()));
            prop_assert_eq!(entry.view().key(), &key[..]);
            prop_assert_eq!(entry.view().deadline(), deadline);
        }
        entry.set_deadline(Some(5));
        entry.set_access(0x1234_5678);
        prop_assert_eq!(packed(&entry).1, model);
        prop_assert_eq!(entry.view().access(), 0x1234_5680);
        prop_assert_eq!(entry.view().type_of(), Type::ZSet);
    }

    #[test]
    fn entries_hold_what_they_are_given(
        key in prop::collection::vec(any::<u8>(), 0..600),
        steps in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..2000), prop::option::of(any::<i64>()), any::<bool>()),
            1..12,
        ),
    ) {
        let mut entry = Entry::new(&key, NewValue::Str(NewStr::Int(-1)), None, 0xabc_def12);
        for (value, deadline, value_first) in steps {
            if value_first {
                entry.set_value(new_str(&value));
                entry.set_deadline(deadline);
            } else {
                entry.set_deadline(deadline);
                entry.set_value(new_str(&value));
            }
            prop_assert_eq!(text(&entry), value);
            prop_assert_eq!(entry.view().key(), &key[..]);
            prop_assert_eq!(entry.view().deadline(), deadline);
            prop_assert_eq!(entry.view().access(), 0xabc_def12);
        }
    }
}
