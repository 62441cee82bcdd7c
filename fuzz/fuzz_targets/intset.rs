//! The intset: hostile bytes are refused or an ascending sequence, and what is added and removed is
//! what a `BTreeSet` says.

#![no_main]

use std::collections::BTreeSet;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use redstart::encoding::intset::{self, Ints, Width};

#[derive(Arbitrary, Debug)]
enum Op {
    Insert { value: i64, bits: u8 },
    Remove { value: i64, bits: u8 },
    RemoveAt(u8),
}

#[derive(Arbitrary, Debug)]
struct Input {
    any: Vec<u8>,
    ops: Vec<Op>,
}

fn read(ints: Ints<'_>) -> Vec<i64> {
    let values: Vec<i64> = ints.iter().collect();
    assert_eq!(values.len(), ints.len());
    assert!(values.is_sorted_by(|one, next| one < next));
    for (index, value) in values.iter().enumerate() {
        assert_eq!(ints.find(*value), Ok(index));
        assert_eq!(ints.get(index), Some(*value));
    }
    values
}

fn remove(body: &mut Vec<u8>, width: Width, index: usize) {
    let at = index * width.bytes();
    body.drain(at..at + width.bytes());
}

fuzz_target!(|input: Input| {
    if let Ok(ints) = intset::check(&input.any) {
        read(ints);
        assert_eq!([&intset::header(ints), ints.body()].concat(), input.any);
    }
    let (mut body, mut width, mut model) = (Vec::new(), Width::W16, BTreeSet::new());
    for op in input.ops {
        match op {
            Op::Insert { value, bits } => {
                let value = value >> (bits % 64);
                if Width::of(value) > width {
                    body = Ints::new(&body, width).widened(Width::of(value));
                    width = Width::of(value);
                }
                let found = Ints::new(&body, width).find(value);
                assert_eq!(found.is_err(), model.insert(value));
                if let Err(index) = found {
                    let at = index * width.bytes();
                    body.splice(at..at, intset::encode(value, width, &mut [0; 8]).iter().copied());
                }
            }
            Op::Remove { value, bits } => {
                let value = value >> (bits % 64);
                let ints = Ints::new(&body, width);
                assert_eq!(ints.contains(value), model.remove(&value));
                if let Ok(index) = ints.find(value) {
                    remove(&mut body, width, index);
                }
            }
            Op::RemoveAt(index) => {
                if let Some(value) = Ints::new(&body, width).get(index.into()) {
                    assert!(model.remove(&value));
                    remove(&mut body, width, index.into());
                }
            }
        }
        assert!(read(Ints::new(&body, width)).into_iter().eq(model.iter().copied()));
    }
});
