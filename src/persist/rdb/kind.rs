//! The bytes that tell what follows: kinds of values (below 240) and marks.

/// A string.
pub const STRING: u8 = 0;
/// A list, item by item.
pub const LIST: u8 = 1;
/// A set, member by member.
pub const SET: u8 = 2;
/// A sorted set with scores as decimal text.
pub const ZSET: u8 = 3;
/// A hash, field by field.
pub const HASH: u8 = 4;
/// A sorted set with scores as eight bytes.
pub const ZSET_2: u8 = 5;
/// A module's value of the first form, which nobody can skip.
pub const MODULE_PRE_GA: u8 = 6;
/// A module's value.
pub const MODULE_2: u8 = 7;
/// A hash as a zipmap.
pub const HASH_ZIPMAP: u8 = 9;
/// A list as a ziplist.
pub const LIST_ZIPLIST: u8 = 10;
/// A set as an intset.
pub const SET_INTSET: u8 = 11;
/// A sorted set as a ziplist.
pub const ZSET_ZIPLIST: u8 = 12;
/// A hash as a ziplist.
pub const HASH_ZIPLIST: u8 = 13;
/// A list as a quicklist of ziplists.
pub const LIST_QUICKLIST: u8 = 14;
/// A stream of Redis 5.
pub const STREAM_LISTPACKS: u8 = 15;
/// A hash as a listpack.
pub const HASH_LISTPACK: u8 = 16;
/// A sorted set as a listpack.
pub const ZSET_LISTPACK: u8 = 17;
/// A list as a quicklist of listpacks and plain nodes.
pub const LIST_QUICKLIST_2: u8 = 18;
/// A stream of Redis 7.0.
pub const STREAM_LISTPACKS_2: u8 = 19;
/// A set as a listpack (version 11).
pub const SET_LISTPACK: u8 = 20;
/// A stream of Redis 7.2 (version 11).
pub const STREAM_LISTPACKS_3: u8 = 21;
/// A hash whose fields have deadlines, field by field, as a release candidate of Redis 7.4 wrote it;
/// in version 80 of Valkey a hash of which some fields have deadlines.
pub const HASH_METADATA_PRE_GA: u8 = 22;
/// See [`HASH_METADATA_PRE_GA`].
pub const VALKEY_HASH_2: u8 = 22;
/// A hash with deadlines as a listpack, of the same release candidate.
pub const HASH_LISTPACK_EX_PRE_GA: u8 = 23;
/// A hash whose fields have deadlines, field by field (version 12).
pub const HASH_METADATA: u8 = 24;
/// A hash with deadlines as a listpack (version 12).
pub const HASH_LISTPACK_EX: u8 = 25;
/// A stream of Redis 8.6 (version 13).
pub const STREAM_LISTPACKS_4: u8 = 26;
/// A stream of Redis 8.8 (version 14).
pub const STREAM_LISTPACKS_5: u8 = 27;

/// Valkey 9.1 and Redis 8.2 on: which slot the keys that follow are of, and how many they are.
pub const SLOT_INFO: u8 = 244;
/// A function library.
pub const FUNCTION: u8 = 245;
/// A function library of a release candidate of Redis 7.0.
pub const FUNCTION_PRE_GA: u8 = 246;
/// What a module wrote beside the keys.
pub const MODULE_AUX: u8 = 247;
/// Seconds since the next key's last access.
pub const IDLE: u8 = 248;
/// The next key's access counter.
pub const FREQUENCY: u8 = 249;
/// A fact about the file: two strings.
pub const AUX: u8 = 250;
/// How many keys, and how many with deadlines, the database has.
pub const RESIZE_DB: u8 = 251;
/// The next key's deadline, in Unix milliseconds.
pub const EXPIRE_AT_MS: u8 = 252;
/// The next key's deadline, in Unix seconds.
pub const EXPIRE_AT: u8 = 253;
/// The database of the keys that follow.
pub const SELECT_DB: u8 = 254;
/// The end.
pub const END: u8 = 255;
