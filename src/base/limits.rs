//! Every bound with its unit and, where users can move it, its directive.

use std::time::Duration;

/// Longest inline request, and longest `*` or `$` header line, in bytes (Redis: PROTO_INLINE_MAX_SIZE).
pub const INLINE_LEN_MAX: usize = 64 * 1024;

/// Most arguments of one request (Redis: INT_MAX).
pub const ARGS_MAX: i64 = i32::MAX as i64;

/// Most arguments of a request before authentication.
pub const UNAUTHENTICATED_ARGS_MAX: i64 = 10;

/// Longest argument before authentication, in bytes.
pub const UNAUTHENTICATED_BULK_MAX: i64 = 16_384;

/// Most unparsed input of one client before authentication, in bytes.
pub const UNAUTHENTICATED_QUERY_MAX: usize = 1024 * 1024;

/// From this size on an argument is read straight into the buffer it is stored in, in bytes
/// (Redis: PROTO_MBULK_BIG_ARG).
pub const BIG_ARG_LEN: usize = 32 * 1024;

/// From this size on a value is referenced by a reply instead of copied into it, in bytes.
pub const SHARED_REPLY_LEN: usize = 16 * 1024;

/// Longest value stored inside its entry, in bytes; longer ones have a buffer of their own.
pub const INLINE_VALUE_MAX: usize = 1024;

/// Most requests of one client that are parsed and looked up ahead before the first one runs.
pub const BATCH_COMMANDS_MAX: usize = 64;

/// Bytes read from a socket at once; also the most one client gets per turn.
pub const READ_LEN: usize = 64 * 1024;

/// Longest TLS handshake; a connection that takes longer is closed.
pub const TLS_HANDSHAKE_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// Ciphertext read at once, in bytes: what rustls takes at a time.
pub const TLS_READ_LEN: usize = 4096;

/// Reply buffers up to this capacity are kept for reuse, in bytes.
pub const POOLED_REPLY_MAX: usize = 64 * 1024;

/// Reply buffers that one event loop keeps for reuse.
pub const POOLED_REPLIES_MAX: usize = 64;

/// Bytes of all those buffers together.
pub const POOLED_BYTES_MAX: usize = 512 * 1024;

/// Bytes of one argument that a client gets read per turn, beyond [`READ_LEN`]: they are not looked at.
pub const BIG_READ_LEN: usize = 1024 * 1024;

/// Longest string value, in bytes, unless `proto-max-bulk-len` says otherwise.
pub const STRING_LEN_MAX: i64 = 512 * 1024 * 1024;

/// Longest argument and largest query buffer whatever the directives say, in bytes: offsets into
/// buffers and lengths of keys have 32 bits.
pub const BUFFER_MAX: i64 = 3 << 30;

/// Most of one argument that an error message repeats, in bytes.
pub const ERROR_PREVIEW_MAX: usize = 128;

/// Longest stretch of work on behalf of nobody (expiry) between two looks at the sockets.
pub const BACKGROUND_SLICE: std::time::Duration = std::time::Duration::from_micros(500);

/// Least that `maxmemory-clients` allows, in bytes, so that a mistaken value can be corrected (Redis).
pub const CLIENTS_MEMORY_MIN: usize = 128 * 1024;

/// Candidates for eviction that an event loop remembers (Redis: EVPOOL_SIZE).
pub const EVICTION_POOL_LEN: usize = 16;

/// Databases, from 0 on, that can have a memory limit and an eviction policy of their own.
pub const DB_LIMITS_MAX: usize = 1024;

/// Fields of hashes that are removed at a time because their deadlines have passed.
pub const EXPIRE_FIELDS_MAX: usize = 1024;

/// Collections with more elements are replied in steps, between which other clients are served.
pub const WHOLE_REPLY_MAX: usize = 4096;

/// Most elements that a command which may choose the same one again replies with.
pub const RANDOM_REPEATS_MAX: usize = 1024 * 1024;

/// Most memory of the fieldsets that one connection prepares for HIMPORT, in bytes.
pub const FIELDSETS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most memory of the Lua interpreter while a script runs, in bytes.
pub const SCRIPT_MEMORY_MAX: usize = 1 << 30;

/// Instructions of a script between two looks at whether it is to end (Redis: 100000).
pub const SCRIPT_TICK: u32 = 100_000;

/// Longest source of a script, library or `loadstring`, in bytes.
pub const SCRIPT_SOURCE_MAX: usize = 512 * 1024 * 1024;

/// Longest name that `loadstring` gives a chunk, in bytes; messages show 60 of them.
pub const SCRIPT_CHUNK_NAME_MAX: usize = 128;

/// Longest pattern of `string.find` and its kin, in bytes: matching recurses for each item of it.
pub const SCRIPT_PATTERN_MAX: usize = 4096;

/// Steps that one call of `string.find` and its kin may take, besides some for each byte of the text.
pub const SCRIPT_PATTERN_STEPS_MAX: u64 = 20_000_000;

/// Longest result of `string.rep`, in bytes.
pub const SCRIPT_STRING_MAX: usize = 512 * 1024 * 1024;

/// Native stack that a script may use before callbacks and coroutines are refused, in bytes.
pub const SCRIPT_STACK_MAX: usize = 512 * 1024;

/// Deepest nesting in what a script returns; the levels below are an error.
pub const SCRIPT_REPLY_DEPTH_MAX: usize = 1000;

/// Longest reply of a script, in bytes.
pub const SCRIPT_REPLY_MAX: usize = 512 * 1024 * 1024;

/// Deepest nesting of a command's reply that a script gets.
pub const REPLY_DEPTH_MAX: usize = 128;

/// Runs of scripts between two steps of collecting garbage (Redis: LUA_GC_CYCLE_PERIOD).
pub const SCRIPT_COLLECT_RUNS: u32 = 50;

/// Scripts that EVAL leaves in the cache (Redis: LRU_LIST_LENGTH).
pub const EVAL_SCRIPTS_MAX: usize = 500;

/// From so many cached scripts on, MEMORY DOCTOR finds them worth a word.
pub const MANY_SCRIPTS: usize = 1000;

/// Connections to `http-port` at once; one more takes the place of the oldest.
pub const HTTP_CONNECTIONS_MAX: usize = 64;

/// Longest head of a request to `http-port`, in bytes.
pub const HTTP_HEAD_MAX: usize = 16 * 1024;

/// Most headers of a request to `http-port`.
pub const HTTP_HEADERS_MAX: usize = 64;

/// How long a connection to `http-port` may take until the head of its next request is there.
pub const HTTP_HEAD_WAIT: std::time::Duration = std::time::Duration::from_secs(10);

/// Longest name of a key or client that the console shows, in bytes.
pub const CONSOLE_NAME_MAX: usize = 200;

/// Clients that the console shows.
pub const CONSOLE_CLIENTS_MAX: usize = 200;

/// Prefixes of keys that the console tells apart; the rest is one group.
pub const CONSOLE_PREFIXES_MAX: usize = 1000;

/// Longest such prefix, in bytes.
pub const CONSOLE_PREFIX_LEN_MAX: usize = 128;

/// Largest keys that the console shows.
pub const CONSOLE_KEYS_MAX: usize = 50;

/// Entries of the slow log that the console shows.
pub const CONSOLE_SLOW_MAX: usize = 100;

/// How long a client that writes waits for the writer of a snapshot to catch up.
pub const PRESSED_MAX: Duration = Duration::from_millis(500);
