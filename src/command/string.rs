//! String commands that set and get whole values.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::keys::KeyUse;
use super::options::{
    Condition, Expiry, ExpiryOption, ExpiryWords, decimal, delete_as_expired, digest,
};
use super::spec::{Command, Group, KeySpec};
use crate::base::bytes;
use crate::base::number;
use crate::keyspace::{Deadline, Event, Key, Lookup};
use crate::value::{Str, ValueView};

const READ: &[KeySpec] = &[KeySpec::one("RO", &["access"])];
const OVERWRITE: &[KeySpec] = &[KeySpec::one("OW", &["update"])];
const INSERT: &[KeySpec] = &[KeySpec::one("OW", &["insert"])];
const READ_UPDATE: &[KeySpec] = &[KeySpec::one("RW", &["access", "update"])];
const TAKE: &[KeySpec] = &[KeySpec::one("RW", &["access", "delete"])];
const ALL_SHARDS: &[&str] = &["request_policy:multi_shard", "response_policy:all_succeeded"];

pub(super) static COMMANDS: &[Command] = &[
    Command::new("get", 2, get).read().fast().group(Group::String).keys(READ),
    Command::new("set", -3, set)
        .grow()
        .group(Group::String)
        .keys(&[KeySpec::one("RW", &["access", "update"])
            .variable()
            .notes("read only when GET is given")])
        .keys_fn(set_keys),
    Command::new("setnx", 3, setnx).grow().fast().group(Group::String).keys(INSERT),
    Command::new("setex", 4, setex).grow().group(Group::String).keys(OVERWRITE),
    Command::new("psetex", 4, psetex).grow().group(Group::String).keys(OVERWRITE),
    Command::new("getset", 3, getset).grow().fast().group(Group::String).keys(READ_UPDATE),
    Command::new("getdel", 2, getdel).write().fast().group(Group::String).keys(TAKE),
    Command::new("getex", -2, getex).write().fast().group(Group::String).keys(&[KeySpec::one(
        "RW",
        &["access", "update"],
    )
    .notes("written to only in its time to live")]),
    Command::new("mget", -2, mget)
        .read()
        .fast()
        .group(Group::String)
        .keys(&[KeySpec::all(1, "RO", &["access"])])
        .tips(&["request_policy:multi_shard"]),
    Command::new("mset", -3, mset)
        .grow()
        .group(Group::String)
        .keys(&[KeySpec::all(2, "OW", &["update"])])
        .tips(ALL_SHARDS),
    Command::new("msetnx", -3, msetnx).grow().group(Group::String).keys(&[KeySpec::all(
        2,
        "OW",
        &["insert"],
    )]),
    Command::new("msetex", -4, msetex)
        .grow()
        .flags(super::spec::Flags::MOVABLEKEYS)
        .group(Group::String)
        .keys(&[KeySpec::counted(1, 2, "OW", &["update"])])
        .tips(ALL_SHARDS),
    Command::new("digest", 2, digest_of).read().fast().group(Group::String).keys(READ),
    Command::new("delex", -2, delex)
        .write()
        .fast()
        .group(Group::String)
        .keys(&[KeySpec::one("RW", &["delete"]).variable()])
        .keys_fn(delex_keys),
    Command::new("delifeq", 3, delifeq)
        .write()
        .fast()
        .group(Group::String)
        .keys(&[KeySpec::one("RM", &["access", "delete"])]),
];

fn get(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_value(ctx, args.key(1))?;
    Ok(Flow::Done)
}

/// Replies the string at `key` or null; `false` when it is not there.
#[inline(always)]
fn reply_value(ctx: &mut Ctx<'_>, key: Key<'_>) -> Result<bool, CmdError> {
    match ctx.db.read::<Str>(key)? {
        Some(value) => {
            value.reply(ctx.out);
            Ok(true)
        }
        None => {
            ctx.out.null();
            Ok(false)
        }
    }
}

/// The options of SET.
#[derive(Default)]
struct SetOptions<'a> {
    condition: Option<Condition<'a>>,
    expiry: ExpiryOption,
    get: bool,
}

impl<'a> SetOptions<'a> {
    fn parse(args: &Args<'a>) -> Result<Self, CmdError> {
        let (mut parsed, mut options) = (Self::default(), args.options(3));
        while let Some(word) = options.word() {
            if parsed.expiry.read(word, ExpiryWords::KeepTtl, &mut options)? {
                continue;
            }
            match () {
                () if bytes::is_word(word, "get") => parsed.get = true,
                () if bytes::is_word(word, "nx") => parsed.require(Condition::Absent)?,
                () if bytes::is_word(word, "xx") => parsed.require(Condition::Present)?,
                () => {
                    Condition::on_value(word, b"").ok_or(CmdError::Syntax)?;
                    let condition = Condition::on_value(word, options.value()?);
                    parsed.require(condition.ok_or(CmdError::Syntax)?)?;
                }
            }
        }
        Ok(parsed)
    }

    /// Two different conditions do not agree; the same one may be repeated.
    fn require(&mut self, condition: Condition<'a>) -> Result<(), CmdError> {
        let differs = |before: Condition<'_>| {
            std::mem::discriminant(&before) != std::mem::discriminant(&condition)
        };
        if self.condition.is_some_and(differs) {
            return Err(CmdError::Syntax);
        }
        self.condition = Some(condition);
        Ok(())
    }

    fn reads(&self) -> bool {
        self.get || !matches!(self.condition, None | Some(Condition::Absent | Condition::Present))
    }
}

fn set(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    if args.len() == 3 {
        ctx.db.set_string(args.key(1), args.new_str(2), Deadline::Clear).changed(Event::SET);
        ctx.out.ok();
        return Ok(Flow::Done);
    }
    let key = args.key(1);
    let options = SetOptions::parse(args)?;
    let expiry = options.expiry.resolve(args, "set", ctx.db.clock_ms())?;
    if options.get {
        reply_value(ctx, key)?;
    }
    if let Some(condition) = options.condition
        && !condition_holds(ctx, key, condition)?
    {
        if !options.get {
            ctx.out.null();
        }
        return Ok(Flow::Done);
    }
    store(ctx, args, 2, key, expiry);
    if options.condition.is_some() || options.get {
        propagate_set(ctx, key, args.get(2), expiry);
    }
    if !options.get {
        ctx.out.ok();
    }
    Ok(Flow::Done)
}

fn condition_holds(
    ctx: &mut Ctx<'_>,
    key: Key<'_>,
    condition: Condition<'_>,
) -> Result<bool, CmdError> {
    match condition {
        Condition::Absent => Ok(!ctx.db.contains(key)),
        Condition::Present => Ok(ctx.db.contains(key)),
        _ => condition.holds(ctx.db.peek::<Str>(key)?),
    }
}

/// Sets `key` to the argument at `value_at`; a relative expiry travels as an absolute one.
fn store(ctx: &mut Ctx<'_>, args: &Args<'_>, value_at: usize, key: Key<'_>, expiry: Expiry) {
    ctx.db.set_string(key, args.new_str(value_at), expiry.deadline()).changed(Event::SET);
    if let Expiry::At(_) = expiry {
        ctx.db.written(key).also(Event::EXPIRE);
        propagate_set(ctx, key, args.get(value_at), expiry);
    }
}

/// Propagates a plain SET in the place of the command as it came.
fn propagate_set(ctx: &mut Ctx<'_>, key: Key<'_>, value: &[u8], expiry: Expiry) {
    ctx.effects.restart();
    match expiry {
        Expiry::At(at_ms) => {
            ctx.effects.propagate_as(&[b"SET", key.bytes, value, b"PXAT", &decimal(at_ms)]);
        }
        Expiry::Keep => ctx.effects.propagate_as(&[b"SET", key.bytes, value, b"KEEPTTL"]),
        Expiry::Unsaid | Expiry::Persist => {
            ctx.effects.propagate_as(&[b"SET", key.bytes, value]);
        }
    }
}

fn set_keys(args: &Args<'_>, out: &mut Vec<KeyUse>) -> Result<(), CmdError> {
    // As in Redis the word counts wherever it stands, also where it makes no sense.
    let says_get = args.rest(3).any(|word| bytes::is_word(word, "get"));
    let reads = says_get || SetOptions::parse(args).is_ok_and(|options| options.reads());
    let (access, uses): (_, &[&str]) =
        if reads { ("RW", &["access", "update"]) } else { ("OW", &["update"]) };
    out.push(KeyUse { index: 1, access, uses });
    Ok(())
}

fn setnx(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let key = args.key(1);
    if ctx.db.contains(key) {
        ctx.out.integer(0);
        return Ok(Flow::Done);
    }
    ctx.db.set_string(key, args.new_str(2), Deadline::Clear).changed(Event::SET);
    ctx.out.integer(1);
    Ok(Flow::Done)
}

fn setex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    set_for(ctx, args, true, "setex")
}

fn psetex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    set_for(ctx, args, false, "psetex")
}

fn set_for(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    seconds: bool,
    command: &'static str,
) -> Result<Flow, CmdError> {
    let span = args.integer(2)?;
    let at_ms = super::options::deadline(span, seconds, Some(ctx.db.clock_ms()))
        .filter(|_| span > 0)
        .ok_or(CmdError::InvalidExpire(command))?;
    store(ctx, args, 3, args.key(1), Expiry::At(at_ms));
    ctx.out.ok();
    Ok(Flow::Done)
}

fn getset(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let key = args.key(1);
    reply_value(ctx, key)?;
    ctx.db.set_string(key, args.new_str(2), Deadline::Clear).changed(Event::SET);
    propagate_set(ctx, key, args.get(2), Expiry::Unsaid);
    Ok(Flow::Done)
}

fn getdel(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let key = args.key(1);
    if reply_value(ctx, key)?
        && let Some(written) = ctx.db.remove(key)
    {
        written.changed(Event::DEL);
        ctx.effects.propagate_as(&[b"DEL", key.bytes]);
    }
    Ok(Flow::Done)
}

fn getex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, mut options, mut expiry) = (args.key(1), args.options(2), ExpiryOption::default());
    while let Some(word) = options.word() {
        if !expiry.read(word, ExpiryWords::Persist, &mut options)? {
            return Err(CmdError::Syntax);
        }
    }
    if !reply_value(ctx, key)? {
        return Ok(Flow::Done);
    }
    match expiry.resolve(args, "getex", ctx.db.clock_ms())? {
        Expiry::At(at_ms) if at_ms <= ctx.now_ms => delete_as_expired(ctx, key),
        Expiry::At(at_ms) => {
            if let Some(written) = ctx.db.set_deadline(key, Some(at_ms)) {
                written.changed(Event::EXPIRE);
            }
            ctx.effects.propagate_as(&[b"PEXPIREAT", key.bytes, &decimal(at_ms)]);
        }
        Expiry::Persist => {
            let volatile =
                ctx.db.lookup(key, Lookup::Silent).is_some_and(|e| e.deadline().is_some());
            if volatile && let Some(written) = ctx.db.set_deadline(key, None) {
                written.changed(Event::PERSIST);
                ctx.effects.propagate_as(&[b"PERSIST", key.bytes]);
            }
        }
        Expiry::Unsaid | Expiry::Keep => {}
    }
    Ok(Flow::Done)
}

fn mget(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    ctx.out.array(args.len() - 1);
    for index in 1..args.len() {
        match ctx.db.lookup(args.key(index), Lookup::Read).map(|entry| entry.value()) {
            Some(ValueView::Str(value)) => value.reply(ctx.out),
            _ => ctx.out.null(),
        }
    }
    Ok(Flow::Done)
}

fn mset(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    check_pairs(args, "mset")?;
    set_pairs(ctx, args, 1, Deadline::Clear);
    ctx.out.ok();
    Ok(Flow::Done)
}

fn msetnx(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    check_pairs(args, "msetnx")?;
    if (1..args.len()).step_by(2).any(|at| ctx.db.contains(args.key(at))) {
        ctx.out.integer(0);
        return Ok(Flow::Done);
    }
    set_pairs(ctx, args, 1, Deadline::Clear);
    ctx.out.integer(1);
    Ok(Flow::Done)
}

fn check_pairs(args: &Args<'_>, command: &str) -> Result<(), CmdError> {
    if args.len() % 2 == 1 { Ok(()) } else { Err(CmdError::Arity(command.to_owned())) }
}

/// Sets all keys and values from `first` on.
fn set_pairs(ctx: &mut Ctx<'_>, args: &Args<'_>, first: usize, deadline: Deadline) {
    set_some_pairs(ctx, args, first..args.len(), deadline);
}

fn set_some_pairs(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    range: std::ops::Range<usize>,
    deadline: Deadline,
) {
    for at in range.step_by(2) {
        ctx.db.set_string(args.key(at), args.new_str(at + 1), deadline).changed(Event::SET);
        if let Deadline::At(_) = deadline {
            ctx.db.written(args.key(at)).also(Event::EXPIRE);
        }
    }
}

fn msetex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let count = number::parse_i64(args.get(1))
        .filter(|count| (1..=i64::from(i32::MAX)).contains(count))
        .ok_or(CmdError::MsetexCount)? as usize;
    let pairs = 2..2 + 2 * count;
    if args.len() < pairs.end {
        return Err(CmdError::MsetexPairs);
    }
    let (mut expiry, mut condition) = (ExpiryOption::default(), None);
    let mut options = args.options(pairs.end);
    while let Some(word) = options.word() {
        if expiry.read(word, ExpiryWords::KeepTtl, &mut options)? {
            continue;
        }
        let present = bytes::is_word(word, "xx");
        if !present && !bytes::is_word(word, "nx") || condition.is_some_and(|c| c != present) {
            return Err(CmdError::Syntax);
        }
        condition = Some(present);
    }
    let expiry = expiry.resolve(args, "msetex", ctx.db.clock_ms())?;
    let keys = pairs.clone().step_by(2);
    if let Some(present) = condition
        && keys.clone().any(|at| ctx.db.contains(args.key(at)) != present)
    {
        ctx.out.integer(0);
        return Ok(Flow::Done);
    }
    set_some_pairs(ctx, args, pairs.clone(), expiry.deadline());
    if let Expiry::At(at_ms) = expiry {
        let at_text = decimal(at_ms);
        let mut argv: Vec<&[u8]> = vec![b"MSETEX", args.get(1)];
        argv.extend(pairs.map(|at| args.get(at)));
        argv.extend([b"PXAT".as_slice(), &at_text]);
        ctx.effects.propagate_as(&argv);
    }
    ctx.out.integer(1);
    Ok(Flow::Done)
}

fn digest_of(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    match ctx.db.read::<Str>(args.key(1))? {
        Some(value) => ctx.out.text(&digest(value.bytes(&mut [0; 20]))),
        None => ctx.out.null(),
    }
    Ok(Flow::Done)
}

fn delex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let key = args.key(1);
    if args.len() != 2 {
        if args.len() != 4 {
            return Err(CmdError::Arity("delex".to_owned()));
        }
        if !ctx.db.contains(key) {
            ctx.out.integer(0);
            return Ok(Flow::Done);
        }
        let value = ctx.db.peek::<Str>(key).map_err(|_| CmdError::DelexType)?;
        let condition =
            Condition::on_value(args.get(2), args.get(3)).ok_or(CmdError::DelexCondition)?;
        if !condition.holds(value)? {
            ctx.out.integer(0);
            return Ok(Flow::Done);
        }
    }
    delete_and_count(ctx, key);
    Ok(Flow::Done)
}

/// Deletes `key` and replies whether it was there; travels as DEL.
fn delete_and_count(ctx: &mut Ctx<'_>, key: Key<'_>) {
    let removed = ctx.db.remove(key).map(|written| written.changed(Event::DEL)).is_some();
    if removed {
        ctx.effects.propagate_as(&[b"DEL", key.bytes]);
    }
    ctx.out.integer(i64::from(removed));
}

fn delex_keys(args: &Args<'_>, out: &mut Vec<KeyUse>) -> Result<(), CmdError> {
    let (access, uses): (_, &[&str]) =
        if args.len() == 2 { ("RM", &["delete"]) } else { ("RW", &["access", "delete"]) };
    out.push(KeyUse { index: 1, access, uses });
    Ok(())
}

fn delifeq(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let key = args.key(1);
    let equal = match ctx.db.peek::<Str>(key)? {
        Some(value) => value.bytes(&mut [0; 20]) == args.get(2),
        None => false,
    };
    if equal {
        delete_and_count(ctx, key);
    } else {
        ctx.out.integer(0);
    }
    Ok(Flow::Done)
}
