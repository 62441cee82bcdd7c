//! HyperLogLog commands: strings that estimate how many different elements were added to them.

use smallvec::SmallVec;

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::spec::{Command, Flags, Group, KeySpec};
use crate::base::bytes;
use crate::base::limits::ERROR_PREVIEW_MAX;
use crate::base::random::Random;
use crate::encoding::hyperloglog::{self, BadRuns, Encoding, Hll, REGISTERS, Register};
use crate::keyspace::{Deadline, Event, Key};
use crate::value::{Str, StrView};

const ADDED: Event = Event::string("pfadd");

pub(super) static COMMANDS: &[Command] = &[
    Command::new("pfadd", -2, pfadd)
        .grow()
        .fast()
        .group(Group::HyperLogLog)
        .keys(&[KeySpec::one("RW", &["insert"])]),
    Command::new("pfcount", -2, pfcount)
        .read()
        .flags(Flags::MAY_REPLICATE)
        .group(Group::HyperLogLog)
        .keys(&[KeySpec::all(1, "RW", &["access"])
            .notes("writes the cardinality into the key, and so to replicas")]),
    Command::new("pfmerge", -2, pfmerge)
        .grow()
        .group(Group::HyperLogLog)
        .keys(&[KeySpec::one("RW", &["access", "insert"]), KeySpec::from(2, "RO", &["access"])]),
    Command::new("pfdebug", 3, pfdebug)
        .grow()
        .flags(Flags::ADMIN)
        .group(Group::HyperLogLog)
        .keys(&[KeySpec::at(2, "RW", &["access"])]),
    Command::new("pfselftest", 1, pfselftest).flags(Flags::ADMIN).group(Group::HyperLogLog),
];

impl From<BadRuns> for CmdError {
    fn from(_: BadRuns) -> Self {
        Self::CorruptHll
    }
}

/// Reads a string as a HyperLogLog; an integer is none, so its digits are not needed.
fn parse<'a>(value: StrView<'a>) -> Result<Hll<'a>, CmdError> {
    let bytes = match value {
        StrView::Int(_) => b"",
        StrView::Bytes { bytes, .. } => bytes,
        StrView::Shared(bytes) => &bytes[..],
    };
    Hll::parse(bytes).ok_or(CmdError::NotHll)
}

fn sparse_max(ctx: &Ctx<'_>) -> usize {
    ctx.server.keyspace.limits().hll_sparse_max_bytes()
}

/// Adds elements; returns how many raised their register.
fn raise(bytes: &mut Vec<u8>, elements: &[Register], sparse_max: usize) -> Result<usize, CmdError> {
    elements.iter().try_fold(0, |raised, element| {
        Ok(raised + usize::from(hyperloglog::raise(bytes, *element, sparse_max)?))
    })
}

fn pfadd(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, sparse_max) = (args.key(1), sparse_max(ctx));
    let elements: SmallVec<[Register; 4]> = args.rest(2).map(Register::of).collect();
    let Some(mut value) = ctx.db.string_mut(key)? else {
        let mut bytes = hyperloglog::empty();
        let raised = raise(&mut bytes, &elements, sparse_max)?;
        hyperloglog::invalidate(&mut bytes);
        ctx.db.set_bytes(key, bytes, Deadline::Clear).changed(ADDED);
        ctx.db.changes().dirty += raised as u64;
        ctx.out.integer(1);
        return Ok(Flow::Done);
    };
    let changes = parse(value.view())?.raised_by(&elements, sparse_max)?;
    if changes {
        let mut raised = Ok(0);
        value.edit(|bytes| raised = raise(bytes, &elements, sparse_max));
        value.finish().changed(ADDED);
        ctx.db.changes().dirty += raised?.saturating_sub(1) as u64;
    }
    ctx.out.integer(i64::from(changes));
    Ok(Flow::Done)
}

fn pfcount(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let count = if args.len() == 2 { count_one(ctx, args.key(1))? } else { count_all(ctx, args)? };
    ctx.out.integer(count as i64);
    Ok(Flow::Done)
}

/// The cardinality of one key, which remembers it.
fn count_one(ctx: &mut Ctx<'_>, key: Key<'_>) -> Result<u64, CmdError> {
    let Some(value) = ctx.db.read::<Str>(key)? else { return Ok(0) };
    let hll = parse(value)?;
    if let Some(count) = hll.cached() {
        return Ok(count);
    }
    let count = hll.count()?;
    if let Some(mut value) = ctx.db.string_mut(key)? {
        value.patch(0, |bytes| hyperloglog::cache(bytes, count));
        value.finish().changed(Event::UNANNOUNCED);
    }
    Ok(count)
}

/// The cardinality of the union of all keys.
fn count_all(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<u64, CmdError> {
    let mut registers = [0; REGISTERS];
    for index in 1..args.len() {
        if let Some(value) = ctx.db.read::<Str>(args.key(index))? {
            parse(value)?.merge_into(&mut registers)?;
        }
    }
    Ok(hyperloglog::count_registers(&registers))
}

fn pfmerge(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, sparse_max) = (args.key(1), sparse_max(ctx));
    let (mut registers, mut dense) = ([0; REGISTERS], false);
    for index in 1..args.len() {
        if let Some(value) = ctx.db.read::<Str>(args.key(index))? {
            let hll = parse(value)?;
            hll.merge_into(&mut registers)?;
            dense |= hll.encoding() == Encoding::Dense;
        }
    }
    match ctx.db.string_mut(key)? {
        Some(mut value) => {
            let mut merged = Ok(());
            value.edit(|bytes| {
                merged = hyperloglog::raise_all(bytes, &registers, dense, sparse_max);
            });
            value.finish().changed(ADDED);
            merged?;
        }
        None => {
            let mut bytes = hyperloglog::empty();
            hyperloglog::raise_all(&mut bytes, &registers, dense, sparse_max)?;
            ctx.db.set_bytes(key, bytes, Deadline::Clear).changed(ADDED);
        }
    }
    ctx.out.ok();
    Ok(Flow::Done)
}

fn pfdebug(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let key = args.key(2);
    if args.is(1, "simd") {
        if !args.is(2, "on") && !args.is(2, "off") {
            return Err(CmdError::PfdebugSimd);
        }
        // There is but one way in which registers are merged here, and it needs no such switch.
        ctx.out.simple("disabled");
        return Ok(Flow::Done);
    }
    let value = ctx.db.peek::<Str>(key)?.ok_or(CmdError::PfdebugNoKey)?;
    let hll = parse(value)?;
    match () {
        () if args.is(1, "getreg") => {
            let registers = hyperloglog::registers(hll)?;
            make_dense(ctx, key)?;
            ctx.out.array(REGISTERS);
            registers.iter().for_each(|register| ctx.out.integer(i64::from(*register)));
        }
        () if args.is(1, "decode") => {
            if hll.encoding() == Encoding::Dense {
                return Err(CmdError::PfdebugDense);
            }
            ctx.out.text(&hll.describe());
        }
        () if args.is(1, "encoding") => ctx.out.simple(match hll.encoding() {
            Encoding::Dense => "dense",
            Encoding::Sparse => "sparse",
        }),
        () if args.is(1, "todense") => {
            let converted = make_dense(ctx, key)?;
            ctx.out.integer(i64::from(converted));
        }
        () => {
            let name = bytes::preview(args.get(1), ERROR_PREVIEW_MAX);
            return Err(CmdError::UnknownPfdebug(name));
        }
    }
    Ok(Flow::Done)
}

/// Makes the HyperLogLog at `key` dense; whether it was not.
fn make_dense(ctx: &mut Ctx<'_>, key: Key<'_>) -> Result<bool, CmdError> {
    let Some(mut value) = ctx.db.string_mut(key)? else { return Ok(false) };
    let hll = parse(value.view())?;
    if hll.encoding() == Encoding::Dense {
        return Ok(false);
    }
    hll.count()?;
    let mut made = Ok(());
    value.edit(|bytes| made = hyperloglog::make_dense(bytes));
    value.finish().changed(Event::UNANNOUNCED);
    made?;
    Ok(true)
}

fn pfselftest(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let mut random = Random::from_os();
    if let Some(problem) = hyperloglog::self_test(random.next_u64(), sparse_max(ctx)) {
        return Err(CmdError::PfselftestFailed(problem));
    }
    ctx.out.ok();
    Ok(Flow::Done)
}
