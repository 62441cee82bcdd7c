//! HIMPORT: many hashes with the same fields, whose names are sent once.
//!
//! A fieldset belongs to the connection that prepared it, until it discards it, resets or closes.
//! The hashes are ordinary ones; they propagate as HSET.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::introspect::help;
use super::spec::{Command, Flags, Group, KeySpec};
use crate::base::limits::FIELDSETS_BYTES_MAX;
use crate::keyspace::Event;
use crate::server::{Fieldset, Fieldsets};
use crate::value::Hash;

pub(super) static COMMANDS: &[Command] =
    &[Command::new("himport", -2, help).group(Group::Hash).subcommands(&[
        Command::new("prepare", -4, prepare)
            .flags(Flags::DENYOOM)
            .group(Group::Hash)
            .tips(&["request_policy:all_shards"]),
        Command::new("set", -5, set).grow().group(Group::Hash).keys(&[KeySpec::at(
            2,
            "OW",
            &["update"],
        )]),
        Command::new("discard", 3, discard).group(Group::Hash).tips(&["request_policy:all_shards"]),
        Command::new("discardall", 2, discardall)
            .group(Group::Hash)
            .tips(&["request_policy:all_shards"]),
    ])];

fn prepare(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let mut fields: Vec<(Box<[u8]>, u32)> = (0..).zip(args.rest(3)).map(named).collect();
    fields.sort_unstable();
    if fields.windows(2).any(|two| two[0].0 == two[1].0) {
        return Err(CmdError::FieldsetDuplicate);
    }
    let sets = ctx.client.fieldsets.get_or_insert_default();
    if !sets.prepare(args.get(2), Fieldset::from(fields)) {
        return Err(CmdError::FieldsetMemory(FIELDSETS_BYTES_MAX));
    }
    ctx.out.ok();
    Ok(Flow::Done)
}

fn named((number, name): (u32, &[u8])) -> (Box<[u8]>, u32) {
    (name.into(), number)
}

fn set(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    const FIRST_VALUE: usize = 4;
    let key = args.key(2);
    let exists = ctx.db.peek::<Hash>(key)?.is_some();
    let sets = ctx.client.fieldsets.as_deref();
    let fieldset = sets.and_then(|sets| sets.get(args.get(3))).ok_or(CmdError::NoSuchFieldset)?;
    if fieldset.len() != args.len() - FIRST_VALUE {
        return Err(CmdError::FieldsetValues);
    }
    if exists {
        // The old hash and its deadline go; the event of the new one covers that.
        let _ = ctx.db.remove(key);
        ctx.effects.propagate_as(&[b"DEL", key.bytes]);
    }
    let fields = fieldset
        .iter()
        .map(|(name, number)| (&**name, args.field_value(FIRST_VALUE + *number as usize)));
    let mut hash = ctx.db.write_or_create::<Hash>(key)?;
    hash.edit().set_all(fields.clone());
    hash.changed_by(fieldset.len(), Event::HSET);
    drop(hash);
    let mut argv: Vec<&[u8]> = vec![b"HSET", key.bytes];
    argv.extend(fields.flat_map(|(name, value)| [name, value.bytes()]));
    ctx.effects.propagate_as(&argv);
    ctx.out.ok();
    Ok(Flow::Done)
}

fn discard(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let sets = ctx.client.fieldsets.as_deref_mut();
    let removed = sets.is_some_and(|sets| sets.discard(args.get(2)));
    ctx.out.integer(i64::from(removed));
    Ok(Flow::Done)
}

fn discardall(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let removed =
        ctx.client.fieldsets.take().map_or(0, |mut sets| Fieldsets::discard_all(&mut sets));
    ctx.out.count(removed);
    Ok(Flow::Done)
}
