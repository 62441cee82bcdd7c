//! What a command sees of the keyspace, and the only way to change it.
//!
//! A [`DbView`] holds the locks of one command and one database number. Lookups expire lazily, count
//! hits and misses and remember accesses; changes are announced by [`Written::changed`] and collected
//! in [`Changes`], which the executor applies in one place while the locks are still held.

use std::sync::Arc;

use super::changes::{Changes, Expired, Key, Trash, Written};
use super::entry::{self, Entry, EntryView, NewValue};
use super::event::Event;
use super::guard::{EntryPlace, Guard};
use super::{Access, AccessPolicy, Db, Keyspace, Shard, Stats};
use crate::base::limits::INLINE_VALUE_MAX;
use crate::base::random::Random;
use crate::encoding::table::Position;
use crate::value::packed::Packed;
use crate::value::{Collection, Fresh, Kind, NewStr, Str, StrView, Value, ValueView, WrongType};

/// What a lookup leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// A read: counts a hit or miss and remembers the access.
    Read,
    /// TOUCH: a read that remembers the access even for clients whose reads leave none.
    Touch,
    /// A question about the key (TTL, TYPE, EXISTS): counts, but is no access.
    Ask,
    /// Part of a write: an access, but neither hit nor miss.
    Write,
    /// Introspection: no trace.
    Silent,
}

impl Lookup {
    /// Whether it counts as a hit or a miss.
    #[inline]
    fn counts(self) -> bool {
        matches!(self, Self::Read | Self::Ask | Self::Touch)
    }
}

/// Whether a key is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is not.
    Missing,
    /// It is, but its deadline has passed.
    Expired,
    /// It is.
    Live,
}

/// What becomes of a key's deadline when its value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// It stays.
    Keep,
    /// It is removed.
    Clear,
    /// It becomes this, in Unix milliseconds.
    At(i64),
}

/// The keyspace as one command sees it. See the module's documentation.
pub struct DbView<'a> {
    keyspace: &'a Keyspace,
    access: Access<'a>,
    changes: &'a mut Changes,
    db: usize,
    /// What deadlines are compared with.
    now_ms: i64,
    /// What accesses are remembered with.
    clock_ms: i64,
    policy: AccessPolicy,
    /// Whether reads remember their access (CLIENT NO-TOUCH).
    touches: bool,
    /// Whether expired keys are removed; if not, they are only passed over (CLIENT PAUSE).
    expires: bool,
}

impl<'a> DbView<'a> {
    /// A view of database `db` through `access` at time `now_ms`.
    #[inline]
    pub fn new(
        keyspace: &'a Keyspace,
        access: Access<'a>,
        changes: &'a mut Changes,
        db: usize,
        now_ms: i64,
    ) -> Self {
        let policy = keyspace.policy_of(db);
        Self {
            keyspace,
            access,
            changes,
            db,
            now_ms,
            clock_ms: now_ms,
            policy,
            touches: true,
            expires: true,
        }
    }

    /// Says what time it is where the view's own is long ago, so that nothing has expired: what was
    /// not expired when a command first ran is not when it is run again.
    pub fn set_clock(&mut self, clock_ms: i64) {
        self.clock_ms = clock_ms;
    }

    /// What time it is, in Unix milliseconds: relative deadlines count from it.
    pub fn clock_ms(&self) -> i64 {
        self.clock_ms
    }

    /// Whether the command runs again as it ran before, from a file.
    pub fn is_replay(&self) -> bool {
        self.now_ms != self.clock_ms
    }

    /// Leaves expired keys where they are, unseen.
    pub fn no_expire(&mut self) {
        self.expires = false;
    }

    /// Says whether reads leave an access behind.
    pub fn set_touching(&mut self, touches: bool) {
        self.touches = touches;
    }

    /// The database number.
    pub fn db(&self) -> usize {
        self.db
    }

    /// Continues in database `db`.
    pub fn select(&mut self, db: usize) {
        debug_assert!(db < self.keyspace.databases());
        self.db = db;
        self.policy = self.keyspace.policy_of(db);
    }

    /// Whether what has expired is removed when it is found.
    pub fn expires(&self) -> bool {
        self.expires
    }

    /// The time at which the command runs, in Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// What has been changed so far.
    pub fn changes(&mut self) -> &mut Changes {
        self.changes
    }

    /// How accesses are remembered.
    pub fn policy(&self) -> AccessPolicy {
        self.policy
    }

    #[inline]
    fn shard(&mut self, hash: u64) -> &mut Shard {
        self.access.shard(self.keyspace.shard_of(hash))
    }

    /// Where the key is, unless it has expired; then it is removed.
    #[inline(always)]
    fn find(&mut self, key: Key<'_>) -> Option<Position> {
        let (db, now_ms) = (self.db, self.now_ms);
        let table = self.shard(key.hash).db(db)?;
        let (position, entry) = table.find_item(key.hash, key.bytes)?;
        if entry.is_live(now_ms) {
            return Some(position);
        }
        self.expire(key, position);
        None
    }

    /// Removes what has expired, if that is wanted now.
    #[cold]
    fn expire(&mut self, key: Key<'_>, position: Position) {
        if !self.expires {
            return;
        }
        let (db, hasher) = (self.db, self.keyspace.hasher());
        let shard = self.access.shard(self.keyspace.shard_of(key.hash));
        let minded = shard.is_minded(key.hash);
        let (table, stats, _) = shard.parts(db);
        let entry = table.remove(key.hash, position, hasher);
        stats.expired += 1;
        self.changes.discard(entry);
        if self.changes.streamed {
            self.changes.expired.push(Expired::Key(db, key.bytes.into()));
        }
        self.changes.note_also((db, key, minded), Event::EXPIRED);
    }

    /// The entry of `key`.
    pub fn lookup(&mut self, key: Key<'_>, lookup: Lookup) -> Option<EntryView<'_>> {
        let (db, policy, clock_ms) = (self.db, self.policy, self.clock_ms);
        let Some(position) = self.find(key) else {
            self.miss(key, lookup);
            return None;
        };
        let touches = match lookup {
            Lookup::Touch => true,
            Lookup::Read | Lookup::Write => self.touches,
            Lookup::Ask | Lookup::Silent => false,
        } && !policy.lrm;
        let shard = self.access.shard(self.keyspace.shard_of(key.hash));
        let (table, stats, random) = shard.parts(db);
        stats.hits += u64::from(lookup.counts());
        if touches {
            let entry = table.view(position);
            let after = policy.touched(entry.access(), clock_ms, random);
            if entry.is_changed_by(after) {
                table.touch(position, |entry| entry.set_access(after));
            }
        }
        Some(table.view(position))
    }

    /// What a lookup leaves behind that found nothing.
    #[cold]
    fn miss(&mut self, key: Key<'_>, lookup: Lookup) {
        if lookup.counts() {
            let db = self.db;
            self.shard(key.hash).stats.misses += 1;
            if self.changes.attentive {
                self.changes.note_event(db, key, Event::MISS);
            }
        }
    }

    /// Reads the value of `key` as type `K`.
    #[inline]
    pub fn read<K: Kind>(&mut self, key: Key<'_>) -> Result<Option<K::View<'_>>, WrongType> {
        self.typed::<K>(key, Lookup::Read)
    }

    /// Reads the values of several keys as type `K`, to be looked at side by side.
    pub fn read_many<'s, K: Kind>(
        &'s mut self,
        keys: impl Iterator<Item = Key<'s>> + Clone,
    ) -> Result<Vec<Option<K::View<'s>>>, WrongType> {
        for key in keys.clone() {
            self.read::<K>(key)?;
        }
        let this: &'s Self = self;
        keys.map(|key| this.glance(key).map(ValueView::of::<K>).transpose()).collect()
    }

    /// The value of `key` without a trace, while others are looked at.
    fn glance(&self, key: Key<'_>) -> Option<ValueView<'_>> {
        let table = self.access.held(self.keyspace.shard_of(key.hash)).db(self.db)?;
        let entry = table.view(table.find(key.hash, key.bytes)?);
        entry.is_live(self.now_ms).then(|| entry.value())
    }

    /// Looks at the value of `key` as type `K` on the way to changing it.
    #[inline]
    pub fn peek<K: Kind>(&mut self, key: Key<'_>) -> Result<Option<K::View<'_>>, WrongType> {
        self.typed::<K>(key, Lookup::Write)
    }

    #[inline]
    fn typed<K: Kind>(
        &mut self,
        key: Key<'_>,
        lookup: Lookup,
    ) -> Result<Option<K::View<'_>>, WrongType> {
        match self.lookup(key, lookup) {
            Some(entry) => entry.value().of::<K>().map(Some),
            None => Ok(None),
        }
    }

    /// Whether `key` is there or waits to be removed; leaves no trace.
    pub fn presence(&self, key: Key<'_>) -> Presence {
        let table = self.access.held(self.keyspace.shard_of(key.hash)).db(self.db);
        let deadline = |table: &Db| {
            table.find(key.hash, key.bytes).map(|position| table.view(position).deadline())
        };
        match table.and_then(deadline) {
            None => Presence::Missing,
            Some(Some(at_ms)) if at_ms <= self.now_ms => Presence::Expired,
            Some(_) => Presence::Live,
        }
    }

    /// Whether `key` is there.
    pub fn contains(&mut self, key: Key<'_>) -> bool {
        self.find(key).is_some()
    }

    /// Sets `key` to a string, whatever it held.
    #[inline]
    pub fn set_string<'s>(
        &'s mut self,
        key: Key<'s>,
        value: NewStr<'_>,
        deadline: Deadline,
    ) -> Written<'s> {
        self.set(key, NewValue::Str(value), deadline)
    }

    /// Sets `key` to bytes that a command made, whatever it held; long ones are not copied.
    pub fn set_bytes<'s>(
        &'s mut self,
        key: Key<'s>,
        bytes: Vec<u8>,
        deadline: Deadline,
    ) -> Written<'s> {
        if bytes.len() > INLINE_VALUE_MAX {
            return self.set_string(key, NewStr::Shared(Arc::new(bytes)), deadline);
        }
        self.set_string(key, NewStr::modified(&bytes), deadline)
    }

    /// Sets `key` to a value, whatever it held.
    #[inline]
    pub fn set<'s>(
        &'s mut self,
        key: Key<'s>,
        value: NewValue<'_>,
        deadline: Deadline,
    ) -> Written<'s> {
        let minded = self.store(key, value, deadline, None);
        Written { changes: self.changes, what: (self.db, key, minded) }
    }

    /// Stores a value; its access bits are `access`, or those of an access now. Returns whether
    /// clients mind changes of the key.
    #[inline]
    fn store(
        &mut self,
        key: Key<'_>,
        value: NewValue<'_>,
        deadline: Deadline,
        access: Option<u32>,
    ) -> bool {
        let (db, clock_ms, policy) = (self.db, self.clock_ms, self.policy);
        let (now_ms, hasher) = (self.now_ms, self.keyspace.hasher());
        let shard = self.access.shard(self.keyspace.shard_of(key.hash));
        let minded = shard.is_minded(key.hash);
        let (table, _, random) = shard.parts(db);
        let mut in_place = None;
        if let Some((position, entry)) = table.find_item(key.hash, key.bytes) {
            if entry.is_live(now_ms) {
                let touched =
                    access.unwrap_or_else(|| policy.touched(entry.access(), clock_ms, random));
                let old = overwrite(table, position, value, deadline, touched);
                self.changes.trash.extend(old.map(Trash::Value));
                return minded;
            }
            self.expire(key, position);
            // Where nothing expires, what has is still there.
            in_place = (!self.expires).then_some(position);
        }
        let at_ms = if let Deadline::At(at_ms) = deadline { Some(at_ms) } else { None };
        let access = access.unwrap_or_else(|| policy.fresh(clock_ms));
        let entry = Entry::new(key.bytes, value, at_ms, access);
        let table = self.shard(key.hash).db_mut(db);
        match in_place {
            Some(position) => {
                let old = table.replace(position, entry);
                self.changes.discard(old);
            }
            None => drop(table.insert(key.hash, entry, hasher)),
        }
        if self.changes.attentive {
            self.changes.note_event(db, key, Event::NEW);
        }
        minded
    }

    /// The collection at `key`, for changing it in place.
    #[inline]
    pub fn write<'s, K: Collection>(
        &'s mut self,
        key: Key<'s>,
    ) -> Result<Option<Guard<'s, K>>, WrongType> {
        let Some(entry) = self.lookup(key, Lookup::Write) else { return Ok(None) };
        entry.value().of::<K>()?;
        Ok(Some(self.guard(key)))
    }

    /// The collection at `key`, for changing it in place; a new one where there is none.
    #[inline]
    pub fn write_or_create<'s, K: Collection>(
        &'s mut self,
        key: Key<'s>,
    ) -> Result<Guard<'s, K>, WrongType> {
        match self.lookup(key, Lookup::Write) {
            Some(entry) => drop(entry.value().of::<K>()?),
            None => {
                let empty = match K::FRESH {
                    Fresh::Packed(form) => {
                        NewValue::Packed(Packed { form, count: Some(0), body: &[] })
                    }
                    Fresh::Object(new) => NewValue::Object(Box::new(new())),
                };
                self.store(key, empty, Deadline::Clear, None);
            }
        }
        Ok(self.guard(key))
    }

    #[inline]
    fn guard<'s, K: Collection>(&'s mut self, key: Key<'s>) -> Guard<'s, K> {
        let (db, now_ms, keyspace) = (self.db, self.now_ms, self.keyspace);
        let access = self.access_of_change();
        let shard = self.access.shard(keyspace.shard_of(key.hash));
        let minded = shard.is_minded(key.hash);
        let (table, stats, _) = shard.parts(db);
        let position = table.find(key.hash, key.bytes).expect("it was just looked up");
        let place = EntryPlace::new(table, position, access);
        Guard::new(place, (self.changes, stats), keyspace, now_ms, (db, key, minded))
    }

    /// The access bits of an entry that is changed now, where only changes count.
    #[inline]
    fn access_of_change(&self) -> Option<u32> {
        self.policy.lrm.then(|| self.policy.fresh(self.clock_ms))
    }

    /// Lets changes of `key` be noticed on behalf of a client that waits for it, watches or tracks it.
    pub fn mind(&mut self, key: Key<'_>) {
        self.shard(key.hash).mind(key.hash);
    }

    /// Ends what [`Self::mind`] began.
    pub fn unmind(&mut self, key: Key<'_>) {
        self.shard(key.hash).unmind(key.hash);
    }

    /// Whether the shard of a key of `hash` is held.
    pub fn holds(&self, hash: u64) -> bool {
        self.access.holds(self.keyspace.shard_of(hash))
    }

    /// Takes the shard of a key of `hash` too; only a script may, see [`Access::acquire`].
    pub fn acquire(&mut self, hash: u64) {
        self.access.acquire(self.keyspace, self.keyspace.shard_of(hash));
    }

    /// Takes all shards; only a script may, see [`Access::acquire`].
    pub fn acquire_all(&mut self) {
        self.access.acquire_all(self.keyspace);
    }

    /// Runs `visit` on one shard, which is held or locked for the visit.
    pub fn visit<R>(&mut self, shard: usize, visit: impl FnOnce(&mut Shard) -> R) -> R {
        self.access.visit(self.keyspace, shard, visit)
    }

    /// As [`Self::visit`]; `false` if somebody else has the shard at the moment.
    pub fn visit_if_free(&mut self, shard: usize, visit: impl FnOnce(&mut Shard)) -> bool {
        self.access.visit_if_free(self.keyspace, shard, visit)
    }

    /// The sum of the shards' statistics.
    pub fn stats(&mut self) -> Stats {
        self.fold(Stats::default(), |mut sum, shard| {
            sum.add(shard.stats());
            sum
        })
    }

    /// The string at `key`, for changing it in place.
    pub fn string_mut<'s>(&'s mut self, key: Key<'s>) -> Result<Option<StrMut<'s>>, WrongType> {
        let Some(entry) = self.lookup(key, Lookup::Write) else { return Ok(None) };
        entry.value().of::<Str>()?;
        let (db, access) = (self.db, self.access_of_change());
        let shard = self.access.shard(self.keyspace.shard_of(key.hash));
        let minded = shard.is_minded(key.hash);
        let table = shard.db_mut(db);
        let position = table.find(key.hash, key.bytes).expect("it was just looked up");
        let written = Written { changes: self.changes, what: (db, key, minded) };
        if let Some(access) = access {
            table.touch(position, |entry| entry.set_access(access));
        }
        Ok(Some(StrMut { table, position, written }))
    }

    /// Sets the access bits of `key`, if it is there.
    pub fn set_access(&mut self, key: Key<'_>, access: u32) {
        if let Some(position) = self.find(key) {
            let db = self.db;
            let table = self.access.shard(self.keyspace.shard_of(key.hash)).db_mut(db);
            table.touch(position, |entry| entry.set_access(access));
        }
    }

    /// Changes the deadline of `key`, which must be there.
    pub fn set_deadline<'s>(&'s mut self, key: Key<'s>, at_ms: Option<i64>) -> Option<Written<'s>> {
        let position = self.find(key)?;
        let (db, access) = (self.db, self.access_of_change());
        let shard = self.access.shard(self.keyspace.shard_of(key.hash));
        let minded = shard.is_minded(key.hash);
        shard.db_mut(db).update(position, |entry| {
            entry.set_deadline(at_ms);
            access.into_iter().for_each(|access| entry.set_access(access));
        });
        Some(Written { changes: self.changes, what: (db, key, minded) })
    }

    /// Removes `key`; `None` when it is not there.
    pub fn remove<'s>(&'s mut self, key: Key<'s>) -> Option<Written<'s>> {
        let entry = self.take(key)?;
        self.changes.discard(entry);
        Some(self.written(key))
    }

    /// Takes the entry of `key` out, to be put elsewhere.
    pub fn take(&mut self, key: Key<'_>) -> Option<Entry> {
        let position = self.find(key)?;
        let (db, hasher) = (self.db, self.keyspace.hasher());
        let table = self.access.shard(self.keyspace.shard_of(key.hash)).db_mut(db);
        Some(table.remove(key.hash, position, hasher))
    }

    /// The object at `key`, if it holds one, for what does not change it.
    pub fn object_mut(&mut self, key: Key<'_>) -> Option<&mut Value> {
        let position = self.find(key)?;
        let db = self.db;
        let table = self.access.shard(self.keyspace.shard_of(key.hash)).db_mut(db);
        entry::object_mut(table, position)
    }

    /// How many databases there are.
    pub fn databases(&self) -> usize {
        self.keyspace.databases()
    }

    /// Puts the value and deadline of `entry` under `key`, which is a new key then also if there was one.
    pub fn put<'s>(&'s mut self, key: Key<'s>, mut entry: Entry) -> Written<'s> {
        // That what was there goes is not announced.
        let _ = self.remove(key);
        let deadline = entry.view().deadline().map_or(Deadline::Clear, Deadline::At);
        let access = Some(entry.view().access());
        let minded = match entry.take_boxed() {
            Some(value) => self.store(key, NewValue::Object(value), deadline, access),
            None => self.store(key, NewValue::copy_of(entry.view().value()), deadline, access),
        };
        Written { changes: self.changes, what: (self.db, key, minded) }
    }

    /// Announces changes of `key` beyond the one its guard announced.
    pub fn written<'s>(&'s mut self, key: Key<'s>) -> Written<'s> {
        let minded = self.shard(key.hash).is_minded(key.hash);
        Written { changes: self.changes, what: (self.db, key, minded) }
    }

    /// Number of keys in the database.
    #[expect(clippy::len_without_is_empty, reason = "counting visits all shards either way")]
    pub fn len(&mut self) -> usize {
        let db = self.db;
        self.fold(0, |sum, shard| sum + shard.db(db).map_or(0, Db::len))
    }

    /// Goes over all shards in order.
    pub fn fold<R>(&mut self, init: R, mut each: impl FnMut(R, &mut Shard) -> R) -> R {
        let keyspace = self.keyspace;
        (0..keyspace.shard_count())
            .fold(init, |sum, shard| self.access.visit(keyspace, shard, |part| each(sum, part)))
    }

    /// One call of SCAN: see [`Keyspace::scan`]; expired entries are passed over.
    pub fn scan(&mut self, cursor: u64, count: usize, mut visit: impl FnMut(EntryView<'_>)) -> u64 {
        let now_ms = self.now_ms;
        self.keyspace.scan(&mut self.access, self.db, cursor, count, |entry| {
            if entry.is_live(now_ms) {
                visit(entry);
            }
        })
    }

    /// A generator of chance for one command on `key`.
    pub fn random(&mut self, key: Key<'_>) -> Random {
        Random::seeded(self.shard(key.hash).random.next_u64())
    }

    /// A key chosen with equal chance among those that have not expired.
    pub fn random_key(&mut self) -> Option<Vec<u8>> {
        /// Tries before an expired key is returned for want of a better one, as in Redis.
        const TRIES: usize = 100;
        let (db, now_ms) = (self.db, self.now_ms);
        let mut last = None;
        for _ in 0..TRIES {
            let len = self.len() as u64;
            if len == 0 {
                return None;
            }
            let mut index = self.access.visit(self.keyspace, 0, |shard| shard.random.below(len));
            let found = self.fold(None, |found, shard| {
                let shard_len = shard.db(db).map_or(0, Db::len) as u64;
                if found.is_some() || index >= shard_len {
                    index = index.wrapping_sub(if found.is_some() { 0 } else { shard_len });
                    return found;
                }
                let (table, _, random) = shard.parts(db);
                let entry = table.random(random)?;
                Some((entry.key().to_vec(), entry.deadline().is_some_and(|at| at <= now_ms)))
            });
            match found {
                Some((key, false)) => return Some(key),
                Some((key, true)) if self.expires => {
                    self.find(Key { bytes: &key, hash: self.keyspace.hash(&key) });
                }
                Some((key, true)) => last = Some(key),
                None => {}
            }
        }
        last
    }

    /// Empties database `db`; returns how many keys it held.
    pub fn flush(&mut self, db: usize) -> usize {
        let taken: Vec<Db> = self.fold(Vec::new(), |mut taken, shard| {
            taken.extend(shard.take_db(db));
            taken
        });
        let keys = taken.iter().map(Db::len).sum();
        self.changes.trash.extend(taken.into_iter().filter(|t| !t.is_empty()).map(Trash::Db));
        keys
    }

    /// Exchanges two databases.
    pub fn swap(&mut self, one: usize, other: usize) {
        self.fold((), |(), shard| shard.swap(one, other));
    }
}

/// A string in place, to be changed.
pub struct StrMut<'a> {
    table: &'a mut Db,
    position: Position,
    written: Written<'a>,
}

impl<'a> StrMut<'a> {
    /// The value as it is.
    pub fn view(&self) -> StrView<'_> {
        string_of(self.table.view(self.position))
    }

    /// Makes the value an integer.
    pub fn set_integer(&mut self, value: i64) {
        self.table
            .update(self.position, |entry| entry.set_value(NewValue::Str(NewStr::Int(value))));
    }

    /// Changes the bytes; a value that replies still reference is copied first.
    pub fn edit(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        self.table.update(self.position, |entry| {
            if let Some(Value::Str(bytes)) = entry.object_mut() {
                return change(Arc::make_mut(bytes));
            }
            let mut bytes = string_of(entry.view()).to_vec();
            change(&mut bytes);
            let new = if bytes.len() > INLINE_VALUE_MAX {
                NewStr::Shared(Arc::new(bytes))
            } else {
                return entry.set_value(NewValue::Str(NewStr::modified(&bytes)));
            };
            entry.set_value(NewValue::Str(new));
        });
    }

    /// Changes the bytes in place after zero bytes have lengthened them to `len_min`.
    ///
    /// Copies the value only where it outgrows its place, is an integer, or a reply references it.
    pub fn patch<R>(&mut self, len_min: usize, change: impl FnOnce(&mut [u8]) -> R) -> R {
        self.table.update(self.position, |entry| {
            if let Some(Value::Str(bytes)) = entry.object_mut() {
                let bytes = Arc::make_mut(bytes);
                if bytes.len() < len_min {
                    bytes.resize(len_min, 0);
                }
                return change(bytes);
            }
            if let Some(bytes) = entry.inline_mut()
                && bytes.len() >= len_min
            {
                return change(bytes);
            }
            let value = string_of(entry.view());
            let mut digits = [0; 20];
            let old = value.bytes(&mut digits);
            let len = old.len().max(len_min);
            if len > INLINE_VALUE_MAX {
                let mut bytes = vec![0; len];
                bytes[..old.len()].copy_from_slice(old);
                let result = change(&mut bytes);
                entry.set_value(NewValue::Str(NewStr::Shared(Arc::new(bytes))));
                return result;
            }
            let mut bytes = [0; INLINE_VALUE_MAX];
            bytes[..old.len()].copy_from_slice(old);
            let result = change(&mut bytes[..len]);
            entry.set_value(NewValue::Str(NewStr::modified(&bytes[..len])));
            result
        })
    }

    /// Ends the change.
    pub fn finish(self) -> Written<'a> {
        self.written
    }
}

/// Puts a value in the place of the one at `position`; returns what is costly to free of that.
#[inline]
fn overwrite(
    table: &mut Db,
    position: Position,
    value: NewValue<'_>,
    deadline: Deadline,
    access: u32,
) -> Option<Box<Value>> {
    if let NewValue::Str(value @ (NewStr::Bytes { .. } | NewStr::Int(_))) = &value
        && !matches!(deadline, Deadline::At(_))
    {
        table.before_change_at(position);
        if table.touch(position, |entry| entry.overwrite(value, access)) {
            return None;
        }
    }
    table.update(position, |entry| {
        let old = entry.take_boxed();
        entry.set_value(value);
        match deadline {
            Deadline::Keep => {}
            Deadline::Clear => entry.set_deadline(None),
            Deadline::At(at_ms) => entry.set_deadline(Some(at_ms)),
        }
        entry.set_access(access);
        old
    })
}

/// The string of an entry that is known to hold one.
fn string_of(entry: EntryView<'_>) -> StrView<'_> {
    entry.value().of::<Str>().unwrap_or_else(|_| panic!("a string stays one while it is edited"))
}
