//! The quicklist against a `VecDeque`, and LZF on hostile bytes.

#![no_main]

use std::collections::VecDeque;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use redstart::encoding::End;
use redstart::encoding::lzf;
use redstart::encoding::quicklist::{Fill, Quicklist};

#[derive(Arbitrary, Debug)]
enum Op {
    Push { head: bool, text: Vec<u8> },
    PushMany { head: bool, count: u8, number: i32 },
    PushLong { head: bool, len: u16 },
    Insert { index: u16, after: bool, text: Vec<u8> },
    InsertLong { index: u16, after: bool, len: u16 },
    Set { index: u16, text: Vec<u8> },
    SetLong { index: u16, len: u16 },
    Remove { index: u16, count: u16 },
    RemoveEqual { index: u16, limit: u8, head: bool },
    Share,
}

#[derive(Arbitrary, Debug)]
struct Input {
    fill: i8,
    depth: u8,
    ops: Vec<Op>,
    compressed: Vec<u8>,
    len: u16,
}

struct Lists {
    list: Quicklist,
    model: VecDeque<Vec<u8>>,
}

fn end(head: bool) -> End {
    if head { End::Head } else { End::Tail }
}

fn long(len: u16) -> Vec<u8> {
    (0..len).map(|at| if at % 7 == 0 { (at >> 3) as u8 } else { b'-' }).collect()
}

impl Lists {
    fn push(&mut self, head: bool, text: Vec<u8>) {
        self.list.push(end(head), &text);
        if head {
            self.model.push_front(text);
        } else {
            self.model.push_back(text);
        }
    }

    fn insert(&mut self, index: u16, after: bool, text: Vec<u8>) {
        if let Some(index) = usize::from(index).checked_rem(self.model.len()) {
            self.list.insert(index, end(!after), &text);
            self.model.insert(index + usize::from(after), text);
        }
    }

    fn set(&mut self, index: u16, text: Vec<u8>) {
        if let Some(index) = usize::from(index).checked_rem(self.model.len()) {
            self.list.set(index, &text);
            self.model[index] = text;
        }
    }

    fn remove_equal(&mut self, index: u16, limit: u8, end: End) {
        let Some(index) = usize::from(index).checked_rem(self.model.len()) else { return };
        let text = self.model[index].clone();
        let limit = usize::from(limit) + 1;
        let mut places: Vec<_> =
            (0..self.model.len()).filter(|at| self.model[*at] == text).collect();
        if end == End::Tail {
            places.reverse();
        }
        places.truncate(limit);
        places.sort_unstable();
        assert_eq!(self.list.remove_equal(&text, limit, end), places.len());
        for at in places.into_iter().rev() {
            self.model.remove(at);
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Push { head, text } => self.push(head, text),
            Op::PushMany { head, count, number } => {
                for at in 0..i32::from(count) {
                    self.push(head, number.wrapping_add(at).to_string().into_bytes());
                }
            }
            Op::PushLong { head, len } => self.push(head, long(len)),
            Op::Insert { index, after, text } => self.insert(index, after, text),
            Op::InsertLong { index, after, len } => self.insert(index, after, long(len)),
            Op::Set { index, text } => self.set(index, text),
            Op::SetLong { index, len } => self.set(index, long(len)),
            Op::Remove { index, count } => {
                let start = usize::from(index) % (self.model.len() + 1);
                let range = start..(start + usize::from(count)).min(self.model.len());
                self.list.remove(range.clone());
                self.model.drain(range);
            }
            Op::RemoveEqual { index, limit, head } => self.remove_equal(index, limit, end(head)),
            Op::Share => self.list = self.list.clone(),
        }
    }

    fn check(&self) {
        assert_eq!(self.list.len(), self.model.len());
        for end in [End::Head, End::Tail] {
            let mut at = 0;
            self.list.walk(0..self.model.len(), end, |item| {
                let place = if end == End::Head { at } else { self.model.len() - 1 - at };
                assert!(item.is(&self.model[place]));
                at += 1;
                true
            });
            assert_eq!(at, self.model.len());
        }
    }
}

fuzz_target!(|input: Input| {
    let mut text = Vec::new();
    if lzf::decompress(&input.compressed, input.len.into(), &mut text).is_ok() {
        assert_eq!(text.len(), usize::from(input.len));
        if let Some(packed) = lzf::compress(&text, text.len()) {
            let mut again = Vec::new();
            assert!(lzf::decompress(&packed, text.len(), &mut again).is_ok());
            assert_eq!(again, text);
        }
    }
    let list =
        Quicklist::new(Fill::from_directive(input.fill.into()), usize::from(input.depth % 4));
    let mut lists = Lists { list, model: VecDeque::new() };
    for op in input.ops {
        let shared = Lists { list: lists.list.clone(), model: lists.model.clone() };
        lists.apply(op);
        lists.check();
        shared.check();
    }
});
