//! A snapshot against a copy made at the same instant, while threads change everything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::base::hash::KeyHasher;
use crate::base::random::Random;
use crate::encoding::End;
use crate::encoding::field::{FieldView, NewFieldValue};
use crate::keyspace::{Changes, DbView, Deadline, Event, LockSet, Lookup};
use crate::value::stream::{NodeLimits, Pending, Stream, StreamId};
use crate::value::{FieldTtl, List, ListView, Set, ValueView, zset::ZSet};

const DATABASES: usize = 2;
const KEYS: u64 = 300;
const ITEMS: u64 = 900;

/// Writes lines: `key type`, then for what is written whole, each item.
struct Lines;

fn line(out: &mut Vec<u8>, words: &[&[u8]]) {
    for word in words {
        out.extend_from_slice(word);
        out.push(b' ');
    }
    out.push(b'\n');
}

impl ItemEncoder for Lines {
    fn member(&self, member: &[u8], out: &mut Vec<u8>) {
        line(out, &[b"member", member]);
    }

    fn field(&self, field: FieldView<'_>, out: &mut Vec<u8>) {
        line(out, &[b"field", field.name(), field.value()]);
    }

    fn scored(&self, member: &[u8], score: f64, out: &mut Vec<u8>) {
        line(out, &[b"scored", member, score.to_string().as_bytes()]);
    }
}

impl EntryEncoder for Lines {
    fn entry(&self, entry: EntryView<'_>, out: &mut Vec<u8>) {
        let mut items = Vec::new();
        items_of(entry.value(), &mut items);
        write_entry(out, entry.key(), &items);
    }

    fn items(&self, _: &[u8], _: Option<i64>) -> Arc<dyn ItemEncoder> {
        Arc::new(Self)
    }
}

/// An entry is the number of its items' bytes, its key and a newline, then the items.
fn write_entry(out: &mut Vec<u8>, key: &[u8], items: &[u8]) {
    out.extend_from_slice(format!("{} {}\n", items.len(), key.escape_ascii()).as_bytes());
    out.extend_from_slice(items);
}

fn items_of(value: ValueView<'_>, out: &mut Vec<u8>) {
    if let Ok(text) = value.of::<crate::value::Str>() {
        line(out, &[b"text", &text.to_vec()]);
    } else if let Ok(list) = value.of::<List>() {
        list_items(&list, out);
    } else if let Ok(set) = value.of::<Set>() {
        set.iter().for_each(|item| Lines.member(item.bytes(&mut [0; 20]), out));
    } else if let Ok(set) = value.of::<ZSet>() {
        set.iter().for_each(|(item, score)| Lines.scored(item.bytes(&mut [0; 20]), score, out));
    } else if let Ok(stream) = value.of::<Stream>() {
        stream_items(stream, out);
    } else if let Ok(hash) = value.of::<crate::value::Hash>() {
        hash.for_each(0, |name, value| {
            let (name, value) =
                (name.bytes(&mut [0; 20]).to_vec(), value.bytes(&mut [0; 20]).to_vec());
            line(out, &[b"field", &name, &value]);
        });
    }
}

fn list_items(list: &ListView<'_>, out: &mut Vec<u8>) {
    list.walk(0..list.len(), End::Head, |item| {
        line(out, &[b"item", item.bytes(&mut [0; 20])]);
        true
    });
}

fn stream_items(stream: &Stream, out: &mut Vec<u8>) {
    for entry in stream.iter() {
        let pairs = entry.pairs().count();
        line(out, &[b"entry", format!("{:?} {pairs}", entry.id).as_bytes()]);
    }
    for (name, group) in stream.groups() {
        line(out, &[b"group", name, format!("{:?}", group.pending()).as_bytes()]);
    }
}

/// Database and key to the sorted lines of the value.
type Content = BTreeMap<(usize, String), Vec<String>>;

fn add(content: &mut Content, db: usize, key: String, items: &[u8]) {
    let mut lines: Vec<String> =
        String::from_utf8_lossy(items).lines().map(ToOwned::to_owned).collect();
    lines.sort_unstable();
    let before = content.insert((db, key.clone()), lines);
    assert!(before.is_none(), "{key} is there twice");
}

fn parse(content: &mut Content, db: usize, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let head = bytes.iter().position(|byte| *byte == b'\n').expect("a head");
        let text = std::str::from_utf8(&bytes[..head]).expect("text");
        let (len, key) = text.split_once(' ').expect("a length and a key");
        let end = head + 1 + len.parse::<usize>().expect("a length");
        add(content, db, key.to_owned(), &bytes[head + 1..end]);
        bytes = &bytes[end..];
    }
}

fn change(keyspace: &Keyspace, random: &mut Random) {
    let name = |random: &mut Random| format!("key:{}", random.below(KEYS)).into_bytes();
    let (one, other) = (name(random), name(random));
    let [one, other] = [&one, &other].map(|bytes| Key { bytes, hash: keyspace.hash(bytes) });
    let mut changes = Changes::default();
    let (db, action) = (random.below(DATABASES as u64) as usize, random.below(2_000));
    let locks = [one.hash, other.hash];
    let set = if action < 2 { LockSet::All } else { LockSet::Hashes(&locks) };
    let access = Access::take(keyspace, set);
    let mut view = DbView::new(keyspace, access, &mut changes, db, 0);
    match action {
        0 => drop(view.flush(db)),
        1 => view.swap(0, 1),
        2..=60 => drop(view.remove(one).map(|written| written.changed(Event::DEL))),
        61..=100 if one.bytes != other.bytes => {
            if let Some(mut entry) = view.take(one) {
                if let Some(object) = entry.object_mut() {
                    object.note_moved(other.bytes);
                }
                view.put(other, entry).changed(Event::RENAME_TO);
            }
        }
        _ => grow(&mut view, one, random),
    }
}

fn grow_stream(view: &mut DbView<'_>, key: Key<'_>, removes: bool, random: &mut Random) {
    let Ok(mut stream) = view.write_or_create::<Stream>(key) else { return };
    let edit = stream.edit();
    let id = edit.next_id(0).expect("there are ids left");
    let pairs = [(&b"field"[..], &[b'v'; 50][..])];
    edit.append(id, pairs.into_iter(), NodeLimits { bytes: 0, entries: 4 });
    if removes {
        edit.delete(StreamId::new(0, random.below(id.seq + 1)));
    }
    edit.create_group(b"g", StreamId::MIN, None);
    let group = edit.group_mut(b"g").expect("it was created");
    group.set_pending(id, Pending { delivered_at_ms: 1, deliveries: 1, consumer: None });
    stream.changed(Event::SET);
}

/// Adds, changes or removes items of the key, whose number says its type.
fn grow(view: &mut DbView<'_>, key: Key<'_>, random: &mut Random) {
    let item = format!("item-{}", random.below(ITEMS));
    let (item, removes) = (item.as_bytes(), random.below(3) == 0);
    match key.hash % 6 {
        0 => {
            let text = vec![item[item.len() - 1]; random.below(40_000) as usize];
            view.set_bytes(key, text, Deadline::Clear).changed(Event::SET);
        }
        1 => {
            let Ok(mut list) = view.write_or_create::<List>(key) else { return };
            let texts = vec![item; 40];
            list.edit().push(End::Tail, texts.iter().copied());
            if removes {
                let len = list.view().len();
                list.edit().remove(0..len / 2);
            }
            list.changed(Event::SET);
        }
        5 => grow_stream(view, key, removes, random),
        2 => {
            let Ok(mut set) = view.write_or_create::<Set>(key) else { return };
            let _ = if removes { set.edit().remove(item) } else { set.edit().insert(item) };
            set.changed(Event::SET);
        }
        3 => {
            let Ok(mut set) = view.write_or_create::<ZSet>(key) else { return };
            let score = random.below(1_000) as f64;
            if removes {
                set.edit().remove(item);
            } else {
                set.edit().update(item, |_| Some(score));
            }
            set.changed(Event::SET);
        }
        _ => {
            let Ok(mut hash) = view.write_or_create::<crate::value::Hash>(key) else { return };
            let value = random.below(1_000).to_string();
            let value = NewFieldValue::Bytes(value.as_bytes());
            if removes {
                hash.edit().remove(item);
            } else {
                hash.edit().set(item, value, FieldTtl::Clear);
            }
            hash.changed(Event::SET);
        }
    }
    let _ = view.lookup(key, Lookup::Read);
}

/// All entries, read with every shard locked.
fn content_of(access: &Access<'_>, keyspace: &Keyspace) -> Content {
    let mut content = Content::new();
    for shard in 0..keyspace.shard_count() {
        for db in 0..DATABASES {
            if let Some(table) = access.held(shard).db(db) {
                table.for_each(|entry| {
                    let mut items = Vec::new();
                    items_of(entry.value(), &mut items);
                    add(&mut content, db, entry.key().escape_ascii().to_string(), &items);
                });
            }
        }
    }
    content
}

fn read_large(keyspace: &Keyspace, snapshot: &Snapshot, content: &mut Content) {
    while let Some(mut large) = snapshot.take_large() {
        let (mut items, key) = (Vec::new(), large.key.escape_ascii().to_string());
        match &large.value {
            LargeValue::Str(text) => line(&mut items, &[b"text", text]),
            LargeValue::List(list) => list_items(&ListView::Large(list), &mut items),
            LargeValue::Stream(stream) => stream_items(stream, &mut items),
            LargeValue::Items { reading, .. } => {
                let reading = reading.clone();
                while snapshot.read_items(keyspace, &mut large, 20) {
                    items.extend(reading.take_bytes());
                }
                items.extend(reading.take_bytes());
            }
        }
        add(content, large.db, key, &items);
    }
}

fn round(keyspace: &Keyspace, random: &mut Random) {
    let mut access = Access::take(keyspace, LockSet::All);
    let expected = content_of(&access, keyspace);
    let snapshot = keyspace.begin_snapshot(&mut access, Arc::new(Lines), usize::MAX);
    drop(access);
    let mut found = Content::new();
    for part in 0..snapshot.parts() {
        loop {
            if random.below(4) == 0 {
                let ahead = random.below(snapshot.parts() as u64) as usize;
                let piece = snapshot.take_ahead(ahead);
                parse(&mut found, piece.db, &piece.bytes);
            }
            let piece = snapshot.read(keyspace, part, 3);
            parse(&mut found, piece.db, &piece.bytes);
            read_large(keyspace, &snapshot, &mut found);
            if piece.last {
                break;
            }
        }
    }
    read_large(keyspace, &snapshot, &mut found);
    assert_eq!(snapshot.held(), 0);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (key, lines) in &expected {
        assert_eq!(&found[key], lines, "{key:?}");
    }
    let sizes: usize = snapshot.sizes().iter().map(|size| size.keys).sum();
    assert_eq!(sizes, expected.len());
}

#[test]
fn a_snapshot_is_the_keyspace_at_one_instant() {
    let keyspace = Keyspace::new(DATABASES, 4, KeyHasher::seeded(3));
    let mut random = Random::seeded(7);
    (0..40_000).for_each(|_| change(&keyspace, &mut random));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (keyspace, stop) = (&keyspace, &stop);
            scope.spawn(move || {
                let mut random = Random::seeded(100 + thread);
                while !stop.load(Ordering::Relaxed) {
                    change(keyspace, &mut random);
                }
            });
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..60).for_each(|_| round(&keyspace, &mut random));
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}
