//! The base of an append-only file as commands that make the data anew (`aof-use-rdb-preamble no`).
//!
//! ```text
//! SET key value | RPUSH key item... | SADD key member... | ZADD key score member... | HMSET key field value...
//! HPEXPIREAT key at FIELDS 1 field      where a field has a deadline
//! PEXPIREAT key at                      where the key has one
//! ```

use std::sync::Arc;

use crate::base::number;
use crate::encoding::End;
use crate::encoding::field::FieldView;
use crate::encoding::quicklist::{NodeView, Quicklist};
use crate::keyspace::EntryView;
use crate::persist::unit::Unit;
use crate::value::zset::ZSet;
use crate::value::{Hash, ItemEncoder, List, Set, Str};

/// Most items of one command (Redis: AOF_REWRITE_ITEMS_PER_CMD).
const ITEMS_MAX: usize = 64;

/// Writes an entry.
pub fn entry(entry: EntryView<'_>, out: &mut Vec<u8>) {
    let (key, value) = (entry.key(), entry.value());
    if let Ok(text) = value.of::<Str>() {
        push(out, &[b"SET", key, text.bytes(&mut [0; 20])]);
    } else if let Ok(list) = value.of::<List>() {
        let mut items = Items::new(b"RPUSH", key);
        list.walk(0..list.len(), End::Head, |item| {
            items.add(&[item.bytes(&mut [0; 20])], out);
            true
        });
        items.finish(out);
    } else if let Ok(set) = value.of::<Set>() {
        let mut items = Items::new(b"SADD", key);
        set.iter().for_each(|item| items.add(&[item.bytes(&mut [0; 20])], out));
        items.finish(out);
    } else if let Ok(set) = value.of::<ZSet>() {
        let mut items = Items::new(b"ZADD", key);
        set.iter().for_each(|(item, score)| {
            let mut digits = Vec::new();
            number::write_f64(&mut digits, score);
            items.add(&[&digits, item.bytes(&mut [0; 20])], out);
        });
        items.finish(out);
    } else if let Ok(hash) = value.of::<Hash>() {
        let (mut items, mut deadlines) = (Items::new(b"HMSET", key), Vec::new());
        hash.for_each(i64::MIN, |name, value| {
            let (mut digits, mut more) = ([0; 20], [0; 20]);
            let name = name.bytes(&mut digits);
            items.add(&[name, value.bytes(&mut more)], out);
            if let Some(at_ms) = value.deadline() {
                push_field_deadline(&mut deadlines, key, name, at_ms);
            }
        });
        items.finish(out);
        out.append(&mut deadlines);
    }
    deadline(key, entry.deadline(), out);
}

/// Writes a deadline of a key, if it has one.
pub fn deadline(key: &[u8], at_ms: Option<i64>, out: &mut Vec<u8>) {
    if let Some(at_ms) = at_ms {
        push(out, &[b"PEXPIREAT", key, at_ms.to_string().as_bytes()]);
    }
}

/// Writes a long string.
pub fn text(key: &[u8], text: &[u8], out: &mut Vec<u8>) {
    push(out, &[b"SET", key, text]);
}

/// Writes a long list; what is in `out` is taken by `flush` now and then.
pub fn list<E>(
    key: &[u8],
    list: &Quicklist,
    mut flush: impl FnMut(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let (mut items, mut out, mut result) = (Items::new(b"RPUSH", key), Vec::new(), Ok(()));
    list.for_each_node(|node| {
        if result.is_err() {
            return;
        }
        match node {
            NodeView::Plain(text) => items.add(&[text], &mut out),
            NodeView::Packed { body, .. } => {
                for (_, item) in crate::encoding::listpack::Listpack::new(body).iter() {
                    items.add(&[item.bytes(&mut [0; 20])], &mut out);
                }
            }
        }
        result = flush(&mut out);
    });
    result?;
    items.finish(&mut out);
    flush(&mut out)
}

/// What writes the items of a large collection at `key`, each as a command.
pub fn items(key: &[u8]) -> Arc<dyn ItemEncoder> {
    Arc::new(Single { key: key.into() })
}

struct Single {
    key: Box<[u8]>,
}

impl ItemEncoder for Single {
    fn member(&self, member: &[u8], out: &mut Vec<u8>) {
        push(out, &[b"SADD", &self.key, member]);
    }

    fn field(&self, field: FieldView<'_>, out: &mut Vec<u8>) {
        push(out, &[b"HSET", &self.key, field.name(), field.value()]);
        if let Some(at_ms) = field.deadline() {
            push_field_deadline(out, &self.key, field.name(), at_ms);
        }
    }

    fn scored(&self, member: &[u8], score: f64, out: &mut Vec<u8>) {
        let mut digits = Vec::new();
        number::write_f64(&mut digits, score);
        push(out, &[b"ZADD", &self.key, &digits, member]);
    }
}

/// Commands that add items to one key, some at a time.
struct Items<'k> {
    name: &'static [u8],
    key: &'k [u8],
    args: Vec<Vec<u8>>,
    count: usize,
}

impl<'k> Items<'k> {
    fn new(name: &'static [u8], key: &'k [u8]) -> Self {
        Self { name, key, args: Vec::new(), count: 0 }
    }

    fn add(&mut self, args: &[&[u8]], out: &mut Vec<u8>) {
        self.args.extend(args.iter().map(|arg| arg.to_vec()));
        self.count += 1;
        if self.count == ITEMS_MAX {
            self.finish(out);
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.count > 0 {
            let args = [self.name, self.key].into_iter().chain(self.args.iter().map(Vec::as_slice));
            push(out, &args.collect::<Vec<_>>());
            self.args.clear();
            self.count = 0;
        }
    }
}

fn push_field_deadline(out: &mut Vec<u8>, key: &[u8], field: &[u8], at_ms: i64) {
    let at_ms = at_ms.to_string();
    push(out, &[b"HPEXPIREAT", key, at_ms.as_bytes(), b"FIELDS", b"1", field]);
}

/// Writes a command.
pub fn push(out: &mut Vec<u8>, argv: &[&[u8]]) {
    let mut unit = Unit::default();
    unit.push(0, argv.iter().copied());
    out.extend_from_slice(unit.body());
}
