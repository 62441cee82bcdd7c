//! Bitmap commands: single bits, counts and searches, combinations, and integers within strings.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::keys::KeyUse;
use super::spec::{Command, Group, KeySpec};
use crate::base::{bytes, number};
use crate::keyspace::{Deadline, Event};
use crate::resp::ReplyBuf;
use crate::value::Str;
use crate::value::bitmap::{self, BitOp, Combination, Field, Overflow};

const READ: &[KeySpec] = &[KeySpec::one("RO", &["access"])];

pub(super) static COMMANDS: &[Command] = &[
    Command::new("setbit", 4, setbit)
        .grow()
        .group(Group::Bitmap)
        .keys(&[KeySpec::one("RW", &["access", "update"])]),
    Command::new("getbit", 3, getbit).read().fast().group(Group::Bitmap).keys(READ),
    Command::new("bitcount", -2, bitcount).read().group(Group::Bitmap).keys(READ),
    Command::new("bitpos", -3, bitpos).read().group(Group::Bitmap).keys(READ),
    Command::new("bitop", -4, bitop)
        .grow()
        .group(Group::Bitmap)
        .keys(&[KeySpec::at(2, "OW", &["update"]), KeySpec::from(3, "RO", &["access"])]),
    Command::new("bitfield", -2, bitfield)
        .grow()
        .group(Group::Bitmap)
        .keys(&[KeySpec::one("RW", &["access", "update"])
            .variable()
            .notes("read only when all it is told are GETs")])
        .keys_fn(bitfield_keys),
    Command::new("bitfield_ro", -2, bitfield_ro).read().fast().group(Group::Bitmap).keys(READ),
];

/// A bit's offset; with `width`, `#n` means the nth field of that width.
fn offset(ctx: &Ctx<'_>, text: &[u8], width: Option<u32>) -> Result<u64, CmdError> {
    let offset = match (width, text.strip_prefix(b"#")) {
        (Some(width), Some(index)) => {
            number::parse_i64(index).and_then(|index| index.checked_mul(i64::from(width)))
        }
        _ => number::parse_i64(text),
    };
    let bulk_max = ctx.server.settings.bulk_max();
    let offset = offset.filter(|offset| *offset >= 0 && offset >> 3 < bulk_max);
    offset.map(|offset| offset as u64).ok_or(CmdError::BitOffset)
}

/// Length of the string that has the bits up to `end`.
fn len_for(end: u64) -> usize {
    end.div_ceil(8) as usize
}

fn setbit(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, offset) = (args.key(1), offset(ctx, args.get(2), None)?);
    let on = match number::parse_i64(args.get(3)) {
        Some(bit @ (0 | 1)) => bit == 1,
        _ => return Err(CmdError::BitValue),
    };
    let len = len_for(offset + 1);
    let was = match ctx.db.string_mut(key)? {
        Some(mut value) => {
            let grows = value.view().len() < len;
            let was = value.patch(len, |bytes| {
                let was = bitmap::get(bytes, offset);
                bitmap::set(bytes, offset, on);
                was
            });
            if grows || was != on {
                value.finish().changed(Event::SETBIT);
            }
            was
        }
        None => {
            let mut bytes = vec![0; len];
            bitmap::set(&mut bytes, offset, on);
            ctx.db.set_bytes(key, bytes, Deadline::Clear).changed(Event::SETBIT);
            false
        }
    };
    ctx.out.integer(i64::from(was));
    Ok(Flow::Done)
}

fn getbit(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let offset = offset(ctx, args.get(2), None)?;
    let value = ctx.db.read::<Str>(args.key(1))?;
    let on = value.is_some_and(|value| bitmap::get(value.bytes(&mut [0; 20]), offset));
    ctx.out.integer(i64::from(on));
    Ok(Flow::Done)
}

/// A range as clients give it: both ends included, negative ones counted from the end.
#[derive(Clone, Copy)]
struct Span {
    start: i64,
    end: i64,
    /// Bits in a unit: 8 or 1.
    unit: u64,
}

impl Span {
    /// The range within `len` bytes, in bits; `None` when it is empty.
    fn resolve(self, len: usize) -> Option<std::ops::Range<u64>> {
        let total = len as i64 * 8 / self.unit as i64;
        let from_end = |at: i64| if at < 0 { (at + total).max(0) } else { at };
        let (start, end) = (from_end(self.start), from_end(self.end).min(total - 1));
        (start <= end).then(|| start as u64 * self.unit..(end as u64 + 1) * self.unit)
    }
}

/// Bits in the unit that the argument at `index` names, if it is there.
fn unit(args: &Args<'_>, index: usize) -> Result<u64, CmdError> {
    match () {
        () if args.len() <= index || args.is(index, "byte") => Ok(8),
        () if args.is(index, "bit") => Ok(1),
        () => Err(CmdError::Syntax),
    }
}

fn bitcount(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let span = match args.len() {
        2 => Span { start: 0, end: -1, unit: 8 },
        4 | 5 => Span { start: args.integer(2)?, end: args.integer(3)?, unit: unit(args, 4)? },
        _ => return Err(CmdError::Syntax),
    };
    let value = ctx.db.read::<Str>(args.key(1))?;
    // Two ends before the beginning are the same place only if they are in order.
    let reversed = span.start < 0 && span.end < 0 && span.start > span.end;
    let mut digits = [0; 20];
    let count = value.filter(|_| !reversed).map_or(0, |value| {
        let bytes = value.bytes(&mut digits);
        span.resolve(bytes.len()).map_or(0, |bits| bitmap::count_range(bytes, bits))
    });
    ctx.out.integer(count as i64);
    Ok(Flow::Done)
}

fn bitpos(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let bit = match args.integer(2)? {
        bit @ (0 | 1) => bit == 1,
        _ => return Err(CmdError::BitArgument),
    };
    if args.len() > 6 {
        return Err(CmdError::Syntax);
    }
    let mut span = Span { start: 0, end: -1, unit: 8 };
    let ends = args.len() > 4;
    if args.len() > 3 {
        span.start = args.integer(3)?;
        span.unit = unit(args, 5)?;
    }
    if ends {
        span.end = args.integer(4)?;
    }
    let mut digits = [0; 20];
    let position = match ctx.db.read::<Str>(args.key(1))? {
        None if bit => -1,
        None => 0,
        Some(value) => {
            let bytes = value.bytes(&mut digits);
            match span.resolve(bytes.len()) {
                None => -1,
                Some(bits) => match bitmap::position(bytes, bit, bits.clone()) {
                    Some(position) => position as i64,
                    // Without an end, zeros follow the last byte.
                    None if !bit && !ends => bits.end as i64,
                    None => -1,
                },
            }
        }
    };
    ctx.out.integer(position);
    Ok(Flow::Done)
}

fn bitop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    const OPS: [(&str, BitOp); 8] = [
        ("and", BitOp::And),
        ("or", BitOp::Or),
        ("xor", BitOp::Xor),
        ("not", BitOp::Not),
        ("diff", BitOp::Diff),
        ("diff1", BitOp::Diff1),
        ("andor", BitOp::AndOr),
        ("one", BitOp::One),
    ];
    let (_, op) = OPS.into_iter().find(|(word, _)| args.is(1, word)).ok_or(CmdError::Syntax)?;
    if op == BitOp::Not && args.len() != 4 {
        return Err(CmdError::BitopNot);
    }
    if op.adds_first_last() && args.len() < 5 {
        let name = args.get(1).to_ascii_uppercase();
        return Err(CmdError::BitopSources(bytes::text(&name)));
    }
    let mut combination = Combination::new(op);
    let (mut digits, first) = ([0; 20], 3 + usize::from(op.adds_first_last()));
    if op.adds_first_last() {
        ctx.db.peek::<Str>(args.key(3))?;
    }
    for index in first..args.len() {
        let value = ctx.db.read::<Str>(args.key(index))?;
        combination.add(value.as_ref().map_or(b"", |value| value.bytes(&mut digits)));
    }
    let result = if op.adds_first_last() {
        let value = ctx.db.read::<Str>(args.key(3))?;
        combination.finish(value.as_ref().map_or(b"", |value| value.bytes(&mut digits)))
    } else {
        combination.finish(b"")
    };
    ctx.out.count(result.len());
    let target = args.key(2);
    if !result.is_empty() {
        ctx.db.set_bytes(target, result, Deadline::Clear).changed(Event::SET);
    } else if let Some(written) = ctx.db.remove(target) {
        written.changed(Event::DEL);
    }
    Ok(Flow::Done)
}

/// What BITFIELD does with one field.
#[derive(Clone, Copy)]
enum FieldAction {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

/// One step of BITFIELD.
#[derive(Clone, Copy)]
struct FieldStep {
    field: Field,
    offset: u64,
    action: FieldAction,
}

impl FieldStep {
    /// Changes the field; replies its old or new value, or nothing when it does not fit.
    fn run(self, bytes: &mut [u8]) -> (Option<i64>, bool) {
        let old = self.field.read(bytes, self.offset);
        let (new, adds) = match self.action {
            FieldAction::Get => return (Some(old), false),
            FieldAction::Set(value, overflow) => {
                (self.field.fit(self.field.wanted(value), overflow), false)
            }
            FieldAction::Add(value, overflow) => {
                (self.field.fit(i128::from(old) + i128::from(value), overflow), true)
            }
        };
        let Some(new) = new else { return (None, false) };
        self.field.write(bytes, self.offset, new);
        (Some(if adds { new } else { old }), new != old)
    }

    fn end(self) -> u64 {
        self.offset + u64::from(self.field.width)
    }

    fn writes(self) -> bool {
        !matches!(self.action, FieldAction::Get)
    }
}

/// Reads the steps of BITFIELD, ready to be run.
fn field_steps(ctx: &Ctx<'_>, args: &Args<'_>) -> Result<Vec<FieldStep>, CmdError> {
    let (mut steps, mut overflow) = (Vec::new(), Overflow::Wrap);
    let mut options = args.options(2);
    while let Some(word) = options.word() {
        let left = options.left();
        let is = |name: &str, values: usize| left >= values && bytes::is_word(word, name);
        if is("overflow", 1) {
            let word = options.value()?;
            overflow = match () {
                () if bytes::is_word(word, "wrap") => Overflow::Wrap,
                () if bytes::is_word(word, "sat") => Overflow::Saturate,
                () if bytes::is_word(word, "fail") => Overflow::Fail,
                () => return Err(CmdError::BitfieldOverflow),
            };
            continue;
        }
        let (gets, sets) = (is("get", 2), is("set", 3));
        if !gets && !sets && !is("incrby", 3) {
            return Err(CmdError::Syntax);
        }
        let field = Field::parse(options.value()?).ok_or(CmdError::BitfieldType)?;
        let offset = offset(ctx, options.value()?, Some(field.width))?;
        let action = match () {
            () if gets => FieldAction::Get,
            () if sets => FieldAction::Set(options.integer()?, overflow),
            () => FieldAction::Add(options.integer()?, overflow),
        };
        steps.push(FieldStep { field, offset, action });
    }
    Ok(steps)
}

fn bitfield(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, steps) = (args.key(1), field_steps(ctx, args)?);
    let Some(end) = steps.iter().filter(|step| step.writes()).map(|step| step.end()).max() else {
        return reply_fields(ctx, args, &steps);
    };
    let len = len_for(end);
    ctx.out.array(steps.len());
    let changes = match ctx.db.string_mut(key)? {
        Some(mut value) => {
            let grows = value.view().len() < len;
            let changes = value.patch(len, |bytes| run_fields(&steps, bytes, ctx.out));
            if grows || changes > 0 {
                value.finish().changed(Event::SETBIT);
            }
            changes
        }
        None => {
            let mut bytes = vec![0; len];
            let changes = run_fields(&steps, &mut bytes, ctx.out);
            ctx.db.set_bytes(key, bytes, Deadline::Clear).changed(Event::SETBIT);
            changes
        }
    };
    ctx.db.changes().dirty += changes.saturating_sub(1);
    Ok(Flow::Done)
}

/// Runs the steps and replies to each; returns how many changed something.
fn run_fields(steps: &[FieldStep], bytes: &mut [u8], out: &mut ReplyBuf) -> u64 {
    let mut changes = 0;
    for step in steps {
        let (reply, changed) = step.run(bytes);
        changes += u64::from(changed);
        match reply {
            Some(value) => out.integer(value),
            None => out.null(),
        }
    }
    changes
}

fn bitfield_ro(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let steps = field_steps(ctx, args)?;
    if steps.iter().any(|step| step.writes()) {
        return Err(CmdError::BitfieldReadOnly);
    }
    reply_fields(ctx, args, &steps)
}

/// Replies the fields that `steps` get.
fn reply_fields(ctx: &mut Ctx<'_>, args: &Args<'_>, steps: &[FieldStep]) -> Result<Flow, CmdError> {
    let (value, mut digits) = (ctx.db.read::<Str>(args.key(1))?, [0; 20]);
    let bytes = value.as_ref().map_or(b"".as_slice(), |value| value.bytes(&mut digits));
    ctx.out.array(steps.len());
    for step in steps {
        ctx.out.integer(step.field.read(bytes, step.offset));
    }
    Ok(Flow::Done)
}

fn bitfield_keys(args: &Args<'_>, out: &mut Vec<KeyUse>) -> Result<(), CmdError> {
    let (mut options, mut reads) = (args.options(2), true);
    while let Some(word) = options.word() {
        let values = match () {
            () if bytes::is_word(word, "get") => 2,
            () if bytes::is_word(word, "overflow") => 1,
            () => usize::MAX,
        };
        if options.left() < values {
            reads = false;
            break;
        }
        (0..values).for_each(|_| _ = options.word());
    }
    let (access, uses): (_, &[&str]) =
        if reads { ("RO", &["access"]) } else { ("RW", &["access", "update"]) };
    out.push(KeyUse { index: 1, access, uses });
    Ok(())
}
