//! The listpack: hostile bytes are refused or readable in every way, and entries that are written,
//! inserted and removed are what a vector of texts says.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use redstart::encoding::listpack::{self, Item, Listpack};

#[derive(Arbitrary, Debug)]
enum Op {
    Insert(u8, Vec<u8>),
    InsertInt(u8, i64),
    InsertLong(u8, u16),
    Remove(u8, u8),
    Find(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
struct Input {
    /// As they are, and as a body with a header made for it.
    any: Vec<u8>,
    ops: Vec<Op>,
}

fn read(list: Listpack<'_>, count: usize) -> Vec<Vec<u8>> {
    let forward: Vec<_> = list.iter().collect();
    let mut backward: Vec<_> = list.iter().rev().collect();
    backward.reverse();
    assert_eq!(forward, backward);
    assert_eq!((forward.len(), list.count()), (count, count));
    for (index, (at, item)) in forward.iter().enumerate() {
        assert_eq!(list.seek(index as isize), Some(*at));
        assert_eq!(list.seek_counted(index, count), Some(*at));
        assert_eq!(list.next(*at), forward.get(index + 1).map(|(at, _)| *at));
        assert!(item.is(&item.to_vec()));
    }
    assert_eq!(list.last(), forward.last().map(|(at, _)| *at));
    forward.iter().map(|(_, item)| item.to_vec()).collect()
}

fn hostile(bytes: &[u8]) {
    let header = listpack::header(bytes, usize::MAX);
    let framed = [&header[..], bytes, &[listpack::END]].concat();
    for whole in [bytes, &framed] {
        if let Ok((body, count)) = listpack::check(whole) {
            read(Listpack::new(body), count);
        }
    }
}

fn insert(body: &mut Vec<u8>, model: &mut Vec<Vec<u8>>, index: u8, text: Vec<u8>) {
    let index = usize::from(index) % (model.len() + 1);
    let at = Listpack::new(body).skip(0, index).expect("the index is not above the count");
    let mut entry = Vec::new();
    listpack::encode(&text, &mut entry);
    assert_eq!(entry.len(), listpack::encoded_len(&text));
    body.splice(at..at, entry);
    model.insert(index, text);
}

fuzz_target!(|input: Input| {
    hostile(&input.any);
    let (mut body, mut model) = (Vec::new(), Vec::new());
    for op in input.ops {
        match op {
            Op::Insert(index, text) => insert(&mut body, &mut model, index, text),
            Op::InsertInt(index, value) => {
                insert(&mut body, &mut model, index, value.to_string().into_bytes());
                let mut entry = Vec::new();
                listpack::encode_int(value, &mut entry);
                assert_eq!(Listpack::new(&entry).get(0), Item::Int(value));
            }
            Op::InsertLong(index, len) => {
                insert(&mut body, &mut model, index, vec![b'7'; len.into()]);
            }
            Op::Remove(index, count) => {
                let first = usize::from(index) % (model.len() + 1);
                let count = usize::from(count).min(model.len() - first);
                let list = Listpack::new(&body);
                let from = list.skip(0, first).expect("the index is not above the count");
                let to = list.skip(from, count).expect("so many follow");
                body.drain(from..to);
                model.drain(first..first + count);
            }
            Op::Find(text) => {
                let list = Listpack::new(&body);
                let expected = model.iter().position(|other| *other == text);
                let expected = expected.and_then(|index| list.seek(index as isize));
                assert_eq!(list.find(&text, 1), expected);
            }
        }
        assert_eq!(read(Listpack::new(&body), model.len()), model);
    }
    let header = listpack::header(&body, model.len());
    let whole = [&header[..], &body, &[listpack::END]].concat();
    assert_eq!(listpack::check(&whole), Ok((&body[..], model.len())));
});
