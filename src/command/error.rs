//! Every error a command can answer; the Display is the exact wire text with its prefix.

use crate::acl::{FileError, UserError};
use thiserror::Error;

use crate::config::{RewriteError, SetError};
use crate::persist::rdb::Inexpressible;
use crate::persist::rdb::payload::FunctionsError;
use crate::script::ScriptError;
use crate::value::WrongType;

/// Why a command was refused.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant's text says what it means")]
pub enum CmdError {
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR the command was given up")]
    Unanswered,
    #[error("ERR This command is not allowed inside of a transaction or a script")]
    NotInside,
    #[error("ERR Background save already in progress")]
    SaveInProgress,
    #[error(
        "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in \
         order to schedule a BGSAVE whenever possible."
    )]
    SaveBesideRewrite,
    #[error("ERR Background append only file rewriting already in progress")]
    RewriteInProgress,
    #[error(
        "ERR Can't execute an AOF background rewriting. Please check the server logs for more information."
    )]
    RewriteFailed,
    #[error("ERR {0}")]
    SaveFailed(String),
    #[error("ERR hotkey tracking session already in progress")]
    HotKeysRunning,
    #[error("ERR hotkey tracking session in progress, stop tracking first")]
    HotKeysActive,
    #[error("ERR METRICS parameter is required")]
    HotKeysMetrics,
    #[error("ERR METRICS count must be > 0 and <= 2")]
    HotKeysMetricsCount,
    #[error("ERR METRICS {0} defined more than once!")]
    HotKeysTwice(&'static str),
    #[error("ERR METRICS count does not match number of metric types provided")]
    HotKeysMetricsMissing,
    #[error("ERR METRICS no valid metrics passed. Supported: CPU|NET")]
    HotKeysNoMetric,
    #[error("ERR COUNT must be between 1 and 64")]
    HotKeysCount,
    #[error("ERR DURATION must be between 1 and 1000000")]
    HotKeysDuration,
    #[error("ERR SAMPLE ratio must be positive")]
    HotKeysSample,
    #[error("ERR SLOTS parameter cannot be used in non-cluster mode")]
    HotKeysSlots,
    #[error("ERR Error purging dirty pages")]
    PurgeFailed,
    #[error("ERR count should be greater than or equal to -1")]
    LogCount,
    #[error("ERR type should be one of the following: slow, large-request, large-reply")]
    LogKind,
    #[error("ERR No samples available for event '{0}'")]
    NoLatencySamples(String),
    #[error("ERR Background saving is currently not in progress or scheduled")]
    NoSave,
    #[error("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")]
    DebugReload,
    #[error("ERR Error trying to load the RDB dump, check server logs")]
    LoadFailed,
    #[error("OOM command not allowed when used memory > 'maxmemory'.")]
    OutOfMemory,
    #[error(
        "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'"
    )]
    ScriptOutOfMemory,
    #[error("{0}")]
    Misconf(String),
    #[error("LOADING Redis is loading the dataset in memory")]
    Loading,
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    #[error("ERR value is out of range, value must between {} and {}", i32::MIN, i32::MAX)]
    NotInt32,
    #[error("ERR value is out of range, value must between {0} and {1}")]
    NotInRange(i64, i64),
    #[error("ERR numkeys should be greater than 0")]
    NumkeysNotPositive,
    #[error("ERR Number of keys can't be greater than number of args")]
    TooManyKeys,
    #[error("ERR Number of keys can't be negative")]
    KeysNegative,
    #[error("ERR Bad number of keys provided")]
    KeyCount,
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The command did not begin: a script has what it needs, and runs for too long.
    #[error(transparent)]
    Busy(ScriptError),
    #[error("ERR Use SCRIPT DEBUG YES/SYNC/NO")]
    ScriptDebug,
    #[error("ERR the debugger of scripts is not supported")]
    NoDebugger,
    #[error("ERR SCRIPT FLUSH only support SYNC|ASYNC option")]
    ScriptFlush,
    #[error("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")]
    FunctionFlush,
    #[error("ERR Unknown option given: {0}")]
    FunctionLoadOption(String),
    #[error("ERR Unknown argument {0}")]
    FunctionListOption(String),
    #[error("ERR library name argument was not given")]
    LibraryNameMissing,
    #[error("ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.")]
    RestorePolicy,
    #[error("ERR LIMIT can't be negative")]
    LimitNegative,
    #[error("ERR value is out of range")]
    OutOfRange,
    #[error("ERR value is not a valid float")]
    NotFloat,
    #[error("ERR value is out of range, must be positive")]
    NotPositive,
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(String),
    #[error("ERR unknown command '{name}', with args beginning with: {args}")]
    UnknownCommand { name: String, args: String },
    #[error("ERR unknown subcommand '{subcommand}'. Try {container} HELP.")]
    UnknownSubcommand { subcommand: String, container: String },
    #[error(
        "ERR unknown subcommand or wrong number of arguments for '{subcommand}'. Try {container} \
         HELP."
    )]
    UnknownSubcommandOrArity { subcommand: String, container: &'static str },
    #[error("ERR count should be greater than 0")]
    CountNotPositive,
    #[error("ERR index out of range")]
    IndexOutOfRange,
    #[error("ERR {0} can't be negative")]
    NegativeOption(&'static str),
    #[error(
        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
         negative to start from the end of the list"
    )]
    RankZero,
    #[error("ERR no such key")]
    NoSuchKey,
    #[error("ERR {0}")]
    Inexpressible(#[from] Inexpressible),
    #[error("BUSYKEY Target key name already exists.")]
    BusyKey,
    #[error("ERR Invalid TTL value, must be >= 0")]
    RestoreTtl,
    #[error("ERR Invalid IDLETIME value, must be >= 0")]
    RestoreIdleTime,
    #[error("ERR Invalid FREQ value, must be >= 0 and <= 255")]
    RestoreFrequency,
    #[error("ERR DUMP payload version or checksum are wrong")]
    Payload,
    #[error("ERR {0}")]
    Functions(#[from] FunctionsError),
    #[error("ERR Bad data format")]
    BadData,
    #[error("ERR When using MIGRATE KEYS option, the key argument must be set to the empty string")]
    MigrateKeyAndKeys,
    #[error("ERR MIGRATE is not allowed in transactions and scripts")]
    MigrateInside,
    #[error("IOERR error or timeout {0}")]
    MigrateBroken(&'static str),
    #[error("IOERR keys may be on both instances: {0} while they are sent")]
    MigrateLeft(&'static str),
    #[error("ERR Target instance replied with error: {0}")]
    MigrateTarget(String),
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpire(&'static str),
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    #[error("ERR increment would produce NaN or Infinity")]
    NanOrInfinity,
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    #[error("ERR offset is out of range")]
    OffsetOutOfRange,
    #[error("ERR DB index is out of range")]
    DbOutOfRange,
    #[error("ERR invalid DB index")]
    InvalidDb,
    #[error("ERR invalid first DB index")]
    InvalidFirstDb,
    #[error("ERR invalid second DB index")]
    InvalidSecondDb,
    #[error("ERR source and destination objects are the same")]
    SameObject,
    #[error("ERR NOVALUES option can only be used in HSCAN")]
    NoValues,
    #[error("ERR invalid cursor")]
    InvalidCursor,
    #[error("ERR NX and XX, GT or LT options at the same time are not compatible")]
    ExpireNxWithOthers,
    #[error("ERR GT and LT options at the same time are not compatible")]
    ExpireGtWithLt,
    #[error("ERR Unsupported option {0}")]
    UnsupportedOption(String),
    #[error("ERR If you want both the length and indexes, please just use IDX.")]
    LcsLenAndIdx,
    #[error("ERR The specified keys must contain string values")]
    LcsType,
    #[error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")]
    LcsMemory,
    #[error("ERR must be exactly 16 hexadecimal characters")]
    DigestLength,
    #[error("ERR Key should be of string type if conditions are specified")]
    DelexType,
    #[error("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE")]
    DelexCondition,
    #[error("ERR invalid numkeys value")]
    MsetexCount,
    #[error("ERR wrong number of key-value pairs")]
    MsetexPairs,
    #[error("ERR hash value is not an integer")]
    HashNotInteger,
    #[error("ERR hash value is not a float")]
    HashNotFloat,
    #[error("ERR value is NaN or Infinity")]
    IsNanOrInfinity,
    #[error("ERR Mandatory argument FIELDS is missing or not at the right position")]
    FieldsMissing,
    #[error("ERR Number of fields must be a positive integer")]
    FieldsNotPositive,
    #[error("ERR Parameter `numFields` should be greater than 0")]
    HexpireFields,
    #[error("ERR invalid number of fields")]
    HsetexFields,
    #[error("ERR The `numfields` parameter must match the number of arguments")]
    FieldsMismatch,
    #[error("ERR invalid expire time, must be >= 0")]
    NegativeExpire,
    #[error("ERR missing expire time")]
    MissingExpire,
    #[error("ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified")]
    HsetexExpiry,
    #[error("ERR Only one of FXX or FNX arguments can be specified")]
    HsetexCondition,
    #[error("ERR unknown argument: {0}")]
    UnknownArgument(String),
    #[error("ERR no such fieldset")]
    NoSuchFieldset,
    #[error("ERR duplicate field name in fieldset")]
    FieldsetDuplicate,
    #[error("ERR value count does not match fieldset field count")]
    FieldsetValues,
    #[error("ERR fieldsets of one connection are limited to {0} bytes")]
    FieldsetMemory(usize),
    #[error("ERR ENX flag requires an expiration")]
    IncrexEnx,

    #[error("ERR {0} is not a valid float")]
    IncrexFloat(&'static str),
    #[error("ERR LBOUND can't be greater than UBOUND")]
    IncrexBounds,
    #[error("ERR applied increment would overflow")]
    IncrexOverflow,
    #[error("ERR applied increment would be Infinity")]
    IncrexInfinity,
    #[error("ERR bit offset is not an integer or out of range")]
    BitOffset,
    #[error("ERR bit is not an integer or out of range")]
    BitValue,
    #[error("ERR The bit argument must be 1 or 0.")]
    BitArgument,
    #[error("ERR BITOP NOT must be called with a single source key.")]
    BitopNot,
    #[error("ERR BITOP {0} must be called with at least two source keys.")]
    BitopSources(String),
    #[error(
        "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but \
         i64 is."
    )]
    BitfieldType,
    #[error("ERR Invalid OVERFLOW type specified")]
    BitfieldOverflow,
    #[error("ERR BITFIELD_RO only supports the GET subcommand")]
    BitfieldReadOnly,
    #[error("WRONGTYPE Key is not a valid HyperLogLog string value.")]
    NotHll,
    #[error("INVALIDOBJ Corrupted HLL object detected")]
    CorruptHll,
    #[error("ERR The specified key does not exist")]
    PfdebugNoKey,
    #[error("ERR HLL encoding is not sparse")]
    PfdebugDense,
    #[error("ERR Argument must be ON or OFF")]
    PfdebugSimd,
    #[error("ERR Unknown PFDEBUG subcommand '{0}'")]
    UnknownPfdebug(String),
    #[error("ERR TESTFAILED {0}")]
    PfselftestFailed(String),
    #[error("ERR resulting score is not a number (NaN)")]
    ScoreNan,
    #[error("ERR XX and NX options at the same time are not compatible")]
    ZaddNxXx,
    #[error("ERR GT, LT, and/or NX options at the same time are not compatible")]
    ZaddGtLtNx,
    #[error("ERR INCR option supports a single increment-element pair")]
    ZaddIncrPairs,
    #[error("ERR min or max is not a float")]
    RangeNotFloat,
    #[error("ERR min or max not valid string range item")]
    RangeNotLex,
    #[error(
        "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
    )]
    ZrangeLimit,
    #[error("ERR syntax error, WITHSCORES not supported in combination with BYLEX")]
    ZrangeLexScores,
    #[error("ERR at least 1 input key is needed for '{0}' command")]
    InputKeys(&'static str),
    #[error("ERR weight value is not a float")]
    WeightNotFloat,
    #[error("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}")]
    InvalidPosition { longitude: f64, latitude: f64 },
    #[error("ERR unsupported unit provided. please use M, KM, FT, MI")]
    GeoUnit,
    #[error("ERR could not decode requested zset member")]
    GeoMember,
    #[error("ERR need numeric radius")]
    GeoRadius,
    #[error("ERR radius cannot be negative")]
    GeoRadiusNegative,
    #[error("ERR need numeric width")]
    GeoWidth,
    #[error("ERR need numeric height")]
    GeoHeight,
    #[error("ERR height or width cannot be negative")]
    GeoBoxNegative,
    #[error("ERR invalid number of vertices")]
    GeoCornerCount,
    #[error("ERR GEOSEARCH BYPOLYGON must have at least 3 vertices")]
    GeoCorners,
    #[error("ERR COUNT must be > 0")]
    GeoCount,
    #[error("ERR the ANY argument requires COUNT argument")]
    GeoAny,
    #[error("ERR {0} is not compatible with WITHDIST, WITHHASH and WITHCOORD options")]
    GeoStoreWith(&'static str),
    #[error("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {0}")]
    GeoFrom(String),
    #[error("ERR exactly one of BYRADIUS and BYBOX can be specified for {0}")]
    GeoBy(String),
    #[error("ERR Invalid stream ID specified as stream command argument")]
    StreamId,
    #[error("ERR invalid {0} ID for the interval")]
    StreamInterval(&'static str),
    #[error("ERR The ID specified in XADD must be greater than 0-0")]
    StreamIdZero,
    #[error("ERR The ID specified in XADD is equal or smaller than the target stream top item")]
    StreamIdPast,
    #[error("ERR The stream has exhausted the last possible ID, unable to add more items")]
    StreamExhausted,
    #[error("ERR Elements are too large to be stored")]
    StreamElements,
    #[error("ERR syntax error, MAXLEN and MINID options at the same time are not compatible")]
    TrimTwice,
    #[error("ERR The {0} argument must be >= 0.")]
    TrimNegative(&'static str),
    #[error("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")]
    TrimLimitAlone,
    #[error("ERR syntax error, XTRIM must be called with a trimming strategy")]
    TrimMissing,
    #[error("ERR syntax error, LIMIT cannot be used without the special ~ option")]
    TrimLimitExact,
    #[error("ERR syntax error, IDMP/IDMPAUTO specified multiple times")]
    IdmpTwice,
    #[error("ERR syntax error, {0} requires a non-empty {1} ID")]
    IdmpEmpty(&'static str, &'static str),
    #[error("ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs")]
    IdmpId,
    #[error("ERR {0} specified multiple times")]
    IdmpOptionTwice(&'static str),
    #[error("ERR IDMP-DURATION must be between 1 and {0} seconds")]
    IdmpDuration(i64),
    #[error("ERR IDMP-MAXSIZE must be between 1 and {0} entries")]
    IdmpMaxsize(i64),
    #[error("ERR At least one parameter must be specified")]
    XcfgsetNothing,
    #[error("ERR {0} ID must be non-empty")]
    XidmprecordEmpty(&'static str),
    #[error("ERR No such message in stream")]
    XidmprecordMissing,
    #[error("ERR IID already exists for this producer with a different stream ID")]
    XidmprecordOther,
    #[error("ERR Number of IDs must be a positive integer")]
    IdsNotPositive,
    #[error("ERR The `numids` parameter must match the number of arguments")]
    IdsMismatch,
    #[error("ERR IDS option is required")]
    IdsMissing,
    #[error("ERR mode must be SILENT, FAIL, or FATAL")]
    XnackMode,
    #[error("ERR numids must be a positive integer")]
    XnackCount,
    #[error("ERR number of IDs doesn't match numids")]
    XnackIds,
    #[error("ERR Invalid RETRYCOUNT value, must be >= 0")]
    XnackRetryCount,
    #[error("ERR Unrecognized XNACK option '{0}'")]
    XnackOption(String),
    #[error("ERR syntax error, expected IDS keyword")]
    XnackIdsMissing,
    #[error("NOGROUP No such key '{key}' or consumer group '{group}'{place}")]
    NoGroup { key: String, group: String, place: &'static str },
    #[error("NOGROUP No such consumer group '{group}' for key name '{key}'")]
    NoGroupOf { key: String, group: String },
    #[error("BUSYGROUP Consumer Group name already exists")]
    BusyGroup,
    #[error(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to \
         use the MKSTREAM option to create an empty stream automatically."
    )]
    XgroupNoKey,
    #[error("ERR value for ENTRIESREAD must be positive or -1")]
    EntriesRead,
    #[error("ERR entries_added must be positive")]
    EntriesAdded,
    #[error("ERR The {0}")]
    Xsetid(&'static str),
    #[error("ERR Invalid {option} argument for {command}")]
    ClaimArgument { option: &'static str, command: &'static str },
    #[error("ERR Unrecognized XCLAIM option '{0}'")]
    XclaimOption(String),
    #[error("ERR COUNT must be > 0")]
    XautoclaimCount,
    #[error(
        "ERR Unbalanced '{command}' list of streams: for each stream key an {ids} must be specified."
    )]
    StreamsUnbalanced { command: String, ids: &'static str },
    #[error("ERR The {0} option is only supported by XREADGROUP. You called XREAD instead.")]
    OnlyXreadgroup(&'static str),
    #[error("ERR Missing GROUP option for XREADGROUP")]
    XreadgroupGroup,
    #[error(
        "ERR The {0} ID is meaningless in the context of XREADGROUP: you want to read the history of \
         this consumer by specifying a proper ID, or use the > ID to get new messages. The {0} ID \
         would just return an empty result set."
    )]
    XreadgroupId(&'static str),
    #[error(
        "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
         <consumer> option."
    )]
    XreadId,
    #[error("ERR {0} must be a positive integer")]
    ReadBound(&'static str),
    #[error("ERR min-idle-time {0}")]
    MinIdleTime(&'static str),
    #[error("UNBLOCKED the stream key no longer exists")]
    StreamGone,
    #[error("ERR One or more scores can't be converted into double")]
    SortScore,
    #[error(
        "ERR Can't execute '{0}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
         allowed in this context"
    )]
    SubscriberContext(String),
    #[error("ERR {0} isn't allowed for a DENY BLOCKING client")]
    DenyBlocking(&'static str),
    #[error("ERR MONITOR isn't allowed for DENY BLOCKING client")]
    MonitorDenied,
    #[error("ERR Replica can't interact with the keyspace")]
    NoKeyspace,
    #[error("NOPERM this user has no permissions to run the '{0}' command")]
    NoPermCommand(String),
    #[error("NOPERM this user has no permissions to access one of the keys used as arguments")]
    NoPermKey,
    #[error("NOPERM this user has no permissions to access one of the channels used as arguments")]
    NoPermChannel,
    #[error("NOPERM No permissions to access database")]
    NoPermDatabase,
    #[error(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC \
         call. This command is no longer allowed for the following reason: {0}"
    )]
    NoPermAnyMore(&'static str),
    #[error("NOPERM ACL failure in script: {0}")]
    NoPermInScript(String),
    #[error("ERR {0} option of SORT denied due to insufficient ACL permissions.")]
    NoPermSort(&'static str),
    #[error("ERR Unknown category '{0}'")]
    AclCategory(String),
    #[error("ERR The 'default' user cannot be removed")]
    AclDefaultUser,
    #[error("ERR User '{0}' not found")]
    AclNoUser(String),
    #[error("ERR Command '{0}' not found")]
    AclNoCommand(String),
    #[error(
        "ERR ACL GENPASS argument must be the number of bits for the output password, a positive \
         number up to 4096"
    )]
    AclGenpass,
    #[error("ERR {0}")]
    Acl(UserError),
    #[error("ERR {0}")]
    AclFile(FileError),
    #[error(
        "ERR This Redis instance is not configured to use an ACL file. You may want to specify users \
         via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis \
         configuration file set) in order to store users in the Redis configuration."
    )]
    AclNoFile,
    #[error(
        "ERR There was an error trying to save the ACLs. Please check the server logs for more \
         information"
    )]
    AclSave,
    #[error("NOAUTH Authentication required.")]
    NoAuth,
    #[error(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
         HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
         select the RESP protocol version at the same time"
    )]
    HelloNoAuth,
    #[error("WRONGPASS too many failed attempts from this address, try again in a minute")]
    TooManyFailures,
    #[error("WRONGPASS invalid username-password pair or user is disabled.")]
    WrongPass,
    #[error(
        "ERR AUTH <password> called without any password configured for the default user. \
         Are you sure your configuration is correct?"
    )]
    NoPassword,
    #[error("NOPROTO unsupported protocol version")]
    NoProto,
    #[error("ERR Protocol version is not an integer or out of range")]
    ProtoNotInteger,
    #[error("ERR Syntax error in HELLO option '{0}'")]
    HelloOption(String),
    #[error("ERR Client names cannot contain spaces, newlines or special characters.")]
    ClientName,
    #[error("ERR {0} cannot contain spaces, newlines or special characters.")]
    ClientInfoText(&'static str),
    #[error("ERR Unrecognized option '{0}'")]
    ClientInfoOption(String),
    #[error("ERR No such client")]
    NoSuchClient,
    #[error("ERR client-id should be greater than 0")]
    ClientId,
    #[error("ERR Invalid client ID")]
    InvalidClientId,
    #[error("ERR Unknown client type '{0}'")]
    ClientType(String),
    #[error("ERR No such user '{0}'")]
    NoSuchUser(String),
    #[error("ERR {0} should be greater than 0")]
    ClientAge(&'static str),
    #[error("ERR Unknown flags found in the {place}: {letters}")]
    ClientFlags { place: &'static str, letters: String },
    #[error("ERR Unknown capa found in the {place}: {letters}")]
    ClientCapa { place: &'static str, letters: String },
    #[error("ERR {0} is not an integer or out of range")]
    NotANumber(&'static str),
    #[error("ERR {0} number should be between 0 and {1}")]
    ClientDb(&'static str, usize),
    #[error("ERR timeout is not an integer or out of range")]
    TimeoutNotInteger,
    #[error("ERR timeout is negative")]
    TimeoutNegative,
    #[error("ERR timeout is out of range")]
    TimeoutRange,
    #[error("ERR CLIENT PAUSE mode must be WRITE or ALL")]
    PauseMode,
    #[error("ERR timeout is not a float or out of range")]
    TimeoutNotFloat,
    #[error("ERR Out of range database")]
    DebugDb,
    #[error("ERR The value stored at the specified key is not represented using an hash table")]
    NoHashTable,
    #[error("ERR Not a listpack encoded object.")]
    NoListpack,
    #[error("ERR Not a quicklist encoded object.")]
    NoQuicklist,
    #[error("ERR maxmemory-clients is disabled.")]
    NoClientLimit,
    #[error("ERR argument must be a memory value bigger than 1 and smaller than 4gb")]
    PackedThreshold,
    #[error("ERR Unknown Redis command called from script")]
    ScriptUnknown,
    #[error("ERR Wrong number of args calling Redis command from script")]
    ScriptArity,
    #[error("ERR This Redis command is not allowed from script")]
    ScriptNotAllowed,
    #[error("ERR Write commands are not allowed from read-only scripts.")]
    ScriptReadOnly,
    #[error("ERR Script killed by user with SCRIPT KILL...")]
    ScriptKilled,
    #[error("ERR MULTI calls can not be nested")]
    NestedMulti,
    #[error("ERR EXEC without MULTI")]
    ExecWithoutMulti,
    #[error("ERR DISCARD without MULTI")]
    DiscardWithoutMulti,
    #[error("ERR WATCH inside MULTI is not allowed")]
    WatchInsideMulti,
    #[error("ERR Command not allowed inside a transaction")]
    NotInTransaction,
    #[error("EXECABORT Transaction discarded because of previous errors.")]
    ExecAborted,
    #[error("EXECABORT Transaction discarded because of: {0}")]
    ExecRejected(String),
    #[error("UNBLOCKED client unblocked via CLIENT UNBLOCK")]
    Unblocked,
    #[error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")]
    UnblockReason,
    #[error("ERR A client can only redirect to a single other client")]
    TrackingRedirects,
    #[error("ERR The client ID you want redirect to does not exist")]
    TrackingRedirect,
    #[error("ERR PREFIX option requires BCAST mode to be enabled")]
    TrackingPrefix,
    #[error(
        "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then \
         re-enabling it with a different mode."
    )]
    TrackingBroadcast,
    #[error("ERR OPTIN and OPTOUT are not compatible with BCAST")]
    TrackingOptBroadcast,
    #[error("ERR You can't specify both OPTIN mode and OPTOUT mode")]
    TrackingOptBoth,
    #[error(
        "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
         re-enabling it with a different mode."
    )]
    TrackingOptSwitch,
    #[error(
        "ERR Prefix '{0}' overlaps with an existing prefix '{1}'. Prefixes for a single client must \
         not overlap."
    )]
    TrackingPrefixKnown(String, String),
    #[error(
        "ERR Prefix '{0}' overlaps with another provided prefix '{1}'. Prefixes for a single client \
         must not overlap."
    )]
    TrackingPrefixGiven(String, String),
    #[error(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or \
         OPTOUT mode enabled"
    )]
    CachingUntracked,
    #[error("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")]
    CachingYes,
    #[error("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")]
    CachingNo,
    #[error("ERR Invalid command specified")]
    InvalidCommand,
    #[error("ERR The command has no key arguments")]
    NoKeyArguments,
    #[error("ERR Invalid number of arguments specified for command")]
    InvalidArgumentCount,
    #[error("ERR Invalid arguments specified for command")]
    InvalidArguments,
    #[error("ERR {0}")]
    Config(SetError),
    #[error("ERR {0}")]
    ConfigRewrite(RewriteError),
    #[error(
        "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when \
         switching between policies at runtime LRU and LFU data will take some time to adjust."
    )]
    IdleTimeUnderLfu,
    #[error(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note \
         that when switching between policies at runtime LRU and LFU data will take some time to \
         adjust."
    )]
    FrequencyWithoutLfu,
    #[error(
        "ERR {0} command not allowed. If the {1} option is set to \"local\", you can run it from a \
         local connection, otherwise you need to set this option in the configuration file, and \
         then restart the server."
    )]
    Protected(&'static str, &'static str),
    #[error("ERR Errors trying to SHUTDOWN. Check logs.")]
    ShutdownFailed,
    #[error("ERR No shutdown in progress.")]
    NoShutdown,
    #[error(
        "ERR Wrong protocol type name. Please use one of the following: string|integer|double|null|\
         array|set|map|attrib|push|verbatim|true|false"
    )]
    DebugProtocol,
}

impl From<WrongType> for CmdError {
    fn from(_: WrongType) -> Self {
        Self::WrongType
    }
}
