//! The intset against literal bytes, a model, and every truncation.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn whole(ints: Ints<'_>) -> Vec<u8> {
    [&header(ints)[..], ints.body()].concat()
}

/// Adds `value` as a set does: widens if need be, and keeps the order.
fn insert(body: &mut Vec<u8>, width: &mut Width, value: i64) {
    if Width::of(value) > *width {
        let wider = Width::of(value);
        *body = Ints::new(body, *width).widened(wider);
        *width = wider;
    }
    if let Err(index) = Ints::new(body, *width).find(value) {
        let at = index * width.bytes();
        body.splice(at..at, encode(value, *width, &mut [0; 8]).iter().copied());
    }
}

/// What Redis 7.0 dumps for one set to which one integer after the other was added.
#[test]
fn a_set_is_written_as_redis_writes_it() {
    let steps: [(&[i64], &[u8]); 3] = [
        (&[1, -1, 300], b"\x02\0\0\0\x03\0\0\0\xff\xff\x01\0\x2c\x01"),
        (&[-40000], b"\x04\0\0\0\x04\0\0\0\xc0c\xff\xff\xff\xff\xff\xff\x01\0\0\0\x2c\x01\0\0"),
        (
            &[1 << 40],
            b"\x08\0\0\0\x05\0\0\0\xc0c\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\
            \x01\0\0\0\0\0\0\0\x2c\x01\0\0\0\0\0\0\0\0\0\0\0\x01\0\0",
        ),
    ];
    let (mut body, mut width) = (Vec::new(), Width::W16);
    for (values, expected) in steps {
        for value in values {
            insert(&mut body, &mut width, *value);
        }
        assert_eq!(whole(Ints::new(&body, width)), expected);
        assert_eq!(check(expected).map(|ints| ints.body().to_vec()), Ok(body.clone()));
    }
}

#[test]
fn widths_end_where_the_types_end() {
    for (value, width) in [
        (i16::MAX.into(), Width::W16),
        (i16::MIN.into(), Width::W16),
        (i64::from(i16::MAX) + 1, Width::W32),
        (i64::from(i16::MIN) - 1, Width::W32),
        (i32::MAX.into(), Width::W32),
        (i32::MIN.into(), Width::W32),
        (i64::from(i32::MAX) + 1, Width::W64),
        (i64::from(i32::MIN) - 1, Width::W64),
    ] {
        assert_eq!(Width::of(value), width, "{value}");
    }
}

#[test]
fn what_redis_would_not_write_is_refused() {
    let good = b"\x02\0\0\0\x02\0\0\0\x01\0\x02\0";
    assert!(check(good).is_ok());
    for len in 0..good.len() {
        assert!(check(&good[..len]).is_err(), "{len}");
    }
    for bad in [
        &b"\x02\0\0\0\0\0\0\0"[..],
        b"\x03\0\0\0\x02\0\0\0\x01\0\0\x02\0\0",
        b"\x02\0\0\x01\x02\0\0\0\x01\0\x02\0",
        b"\x02\0\0\0\x01\0\0\0\x01\0\x02\0",
        b"\x02\0\0\0\x02\0\0\x01\x01\0\x02\0",
        b"\x02\0\0\0\x02\0\0\0\x02\0\x02\0",
        b"\x02\0\0\0\x02\0\0\0\x02\0\x01\0",
        b"\x02\0\0\0\x02\0\0\0\x01\0\x02\0\0",
    ] {
        assert!(check(bad).is_err(), "{bad:?}");
    }
}

fn value() -> impl Strategy<Value = i64> {
    (any::<i64>(), 0..64u32).prop_map(|(value, bits)| value >> bits)
}

proptest! {
    #[test]
    fn a_set_of_integers_is_a_set(
        values in prop::collection::vec(value(), 0..200),
        others in prop::collection::vec(value(), 0..20),
    ) {
        let mut model = BTreeSet::new();
        let (mut body, mut width) = (Vec::new(), Width::W16);
        for value in &values {
            model.insert(*value);
            insert(&mut body, &mut width, *value);
        }
        let ints = Ints::new(&body, width);
        prop_assert_eq!(ints.len(), model.len());
        prop_assert_eq!(ints.is_empty(), model.is_empty());
        prop_assert!(ints.iter().eq(model.iter().copied()));
        prop_assert!(ints.iter().rev().eq(model.iter().rev().copied()));
        prop_assert_eq!((ints.first(), ints.last()), (model.first().copied(), model.last().copied()));
        prop_assert_eq!(ints.get(model.len()), None);
        for value in values.iter().chain(&others) {
            prop_assert_eq!(ints.contains(*value), model.contains(value));
            let index = model.range(..value).count();
            let expected = if model.contains(value) { Ok(index) } else { Err(index) };
            prop_assert_eq!(ints.find(*value), expected);
        }
        if let Ok(checked) = check(&whole(ints)) {
            prop_assert_eq!((checked.body(), checked.width()), (&body[..], width));
        } else {
            prop_assert!(model.is_empty());
        }
    }
}
