//! The base of an append-only file as commands that make the data anew (`aof-use-rdb-preamble no`).
//!
//! ```text
//! SET key value | RPUSH key item... | SADD key member... | ZADD key score member... | HMSET key field value...
//! HPEXPIREAT key at FIELDS 1 field      where a field has a deadline
//! XADD key id field value...            entry by entry, then what a stream remembers and its groups:
//! XSETID | XGROUP CREATE | XGROUP CREATECONSUMER | XCLAIM | XNACK | XCFGSET | XIDMPRECORD
//! PEXPIREAT key at                      where the key has one
//! ```

use std::convert::Infallible;
use std::sync::Arc;

use crate::base::number;
use crate::encoding::End;
use crate::encoding::field::FieldView;
use crate::encoding::quicklist::{NodeView, Quicklist};
use crate::keyspace::EntryView;
use crate::resp::{write_bulk, write_head};
use crate::value::stream::{
    Group, ID_LEN_MAX, Idempotence, IdempotenceLimits, Pending, Stream, StreamId,
};
use crate::value::zset::ZSet;
use crate::value::{Hash, ItemEncoder, List, Set, Str};

/// Most items of one command (Redis: AOF_REWRITE_ITEMS_PER_CMD).
const ITEMS_MAX: usize = 64;

/// Commands are handed on when they are so long together, in bytes.
const FLUSH_LEN: usize = 64 * 1024;

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
    } else if let Ok(entries) = value.of::<Stream>() {
        let result: Result<(), Infallible> = stream(key, entries, out, |_| Ok(()));
        let Ok(()) = result;
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

/// Writes a stream; what is in `out` is taken by `flush` now and then.
pub fn stream<E>(
    key: &[u8],
    stream: &Stream,
    out: &mut Vec<u8>,
    mut flush: impl FnMut(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    for entry in stream.iter() {
        let mut args = vec![b"XADD".to_vec(), key.to_vec(), spelled(entry.id)];
        entry.pairs().for_each(|(name, value)| args.extend([name.to_vec(), value.to_vec()]));
        push(out, &args.iter().map(Vec::as_slice).collect::<Vec<_>>());
        if out.len() > FLUSH_LEN {
            flush(out)?;
        }
    }
    if stream.is_empty() {
        // An entry that is gone at once leaves an empty stream.
        push(out, &[b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
    }
    let (ids, [last, deleted]) = (stream.ids(), [stream.ids().last, stream.ids().max_deleted]);
    let added = ids.added.to_string();
    let (last, deleted) = (spelled(last), spelled(deleted));
    let counts: [&[u8]; 4] = [b"ENTRIESADDED", added.as_bytes(), b"MAXDELETEDID", &deleted];
    push(out, &[&[b"XSETID", key, &last][..], &counts].concat());
    for (name, group) in stream.groups() {
        group_of(key, name, group, out, &mut flush)?;
    }
    if let Some(known) = stream.idempotence() {
        idempotence(key, stream, known, out);
    }
    flush(out)
}

/// What producers may send again. Ids of entries that were deleted cannot be told.
fn idempotence(key: &[u8], stream: &Stream, known: &Idempotence, out: &mut Vec<u8>) {
    let IdempotenceLimits { duration_s, entries } = known.limits();
    let (seconds, count) = (duration_s.to_string(), entries.to_string());
    let limits: [&[u8]; 4] =
        [b"IDMP-DURATION", seconds.as_bytes(), b"IDMP-MAXSIZE", count.as_bytes()];
    push(out, &[&[b"XCFGSET", key][..], &limits].concat());
    for (producer, name, id) in known.iter().filter(|(.., id)| stream.contains(*id)) {
        push(out, &[b"XIDMPRECORD", key, producer, name, &spelled(id)]);
    }
}

fn group_of<E>(
    key: &[u8],
    name: &[u8],
    group: &Group,
    out: &mut Vec<u8>,
    flush: &mut impl FnMut(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let read = group.entries_read.map_or_else(|| "-1".to_owned(), |read| read.to_string());
    let last = spelled(group.last_id);
    push(out, &[b"XGROUP", b"CREATE", key, name, &last, b"ENTRIESREAD", read.as_bytes()]);
    for (_, consumer) in group.consumers() {
        push(out, &[b"XGROUP", b"CREATECONSUMER", key, name, consumer.name()]);
    }
    for (id, entry) in group.pending() {
        match entry.consumer {
            Some(owner) => claim(out, (key, name, group.consumer(owner).name()), *id, entry),
            None => release(out, (key, name), *id, entry),
        }
        if out.len() > FLUSH_LEN {
            flush(out)?;
        }
    }
    Ok(())
}

fn claim(
    out: &mut Vec<u8>,
    (key, group, consumer): (&[u8], &[u8], &[u8]),
    id: StreamId,
    entry: &Pending,
) {
    let (at_ms, count) = (entry.delivered_at_ms.to_string(), entry.deliveries.to_string());
    let state: [&[u8]; 4] = [b"TIME", at_ms.as_bytes(), b"RETRYCOUNT", count.as_bytes()];
    let head: [&[u8]; 6] = [b"XCLAIM", key, group, consumer, b"0", &spelled(id)];
    push(out, &[&head[..], &state, &[b"JUSTID", b"FORCE"]].concat());
}

/// Makes an entry pending that is of nobody (Redis 8.8).
fn release(out: &mut Vec<u8>, (key, group): (&[u8], &[u8]), id: StreamId, entry: &Pending) {
    let count = entry.deliveries.to_string();
    let state: [&[u8]; 3] = [b"RETRYCOUNT", count.as_bytes(), b"FORCE"];
    let head: [&[u8]; 7] = [b"XNACK", key, group, b"FAIL", b"IDS", b"1", &spelled(id)];
    push(out, &[&head[..], &state].concat());
}

fn spelled(id: StreamId) -> Vec<u8> {
    id.format(&mut [0; ID_LEN_MAX]).to_vec()
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
    write_head(out, b'*', argv.len() as i64);
    argv.iter().for_each(|arg| write_bulk(out, arg));
}
