//! DEBUG's looks at how values and databases are laid out in memory.
//!
//! The words are those of Redis where a figure means the same. Tables differ from its: they grow by
//! small segments, so nothing ever is rehashed, and deadlines are in the entries, so there is no
//! second table for them.

use std::fmt::Write;

use super::args::Args;
use super::context::Ctx;
use super::error::CmdError;
use crate::base::bytes;
use crate::base::limits::ERROR_PREVIEW_MAX;
use crate::encoding::listpack::{Item, Listpack};
use crate::encoding::quicklist::{NodeView, Quicklist};
use crate::encoding::table::Shape;
use crate::keyspace::Lookup;
use crate::persist::rdb::payload;
use crate::value::{Value, ValueView};

/// DEBUG OBJECT.
pub(super) fn object(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), CmdError> {
    let (key, policy, now_ms) = (args.key(2), ctx.db.policy(), ctx.now_ms);
    let formats = ctx.server.settings.formats();
    let entry = ctx.db.lookup(key, Lookup::Silent).ok_or(CmdError::NoSuchKey)?;
    let value = entry.value();
    let serialized_len = payload::body_len(value, &formats);
    let access = entry.access();
    let idle = if policy.lfu { 0 } else { policy.idle_ms(access, now_ms) / 1000 };
    let text = format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{} lru:{} \
         lru_seconds_idle:{idle}{}",
        entry.address(),
        value.encoding(),
        serialized_len,
        access >> 8,
        quicklist_of(value).map_or_else(|_| String::new(), nodes),
    );
    ctx.out.simple(&text);
    Ok(())
}

/// The value at the second argument.
fn value_at<'v>(ctx: &'v mut Ctx<'_>, args: &Args<'_>) -> Result<ValueView<'v>, CmdError> {
    let entry = ctx.db.lookup(args.key(2), Lookup::Silent).ok_or(CmdError::NoSuchKey)?;
    Ok(entry.value())
}

fn quicklist_of(value: ValueView<'_>) -> Result<&Quicklist, CmdError> {
    match value {
        ValueView::Object(Value::List(items)) if value.encoding() == "quicklist" => Ok(items),
        _ => Err(CmdError::NoQuicklist),
    }
}

/// What DEBUG OBJECT says of a long list.
fn nodes(list: &Quicklist) -> String {
    let (nodes, compressed) = (list.node_count(), u8::from(list.depth() != 0));
    format!(
        " ql_nodes:{nodes} ql_avg_node:{:.2} ql_listpack_max:{} ql_compressed:{compressed} \
         ql_uncompressed_size:{}",
        list.len() as f64 / nodes as f64,
        list.fill().as_directive(),
        list.open_len(),
    )
}

/// DEBUG HTSTATS.
pub(super) fn htstats(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), CmdError> {
    let db = args.integer(2)?;
    let last = ctx.server.keyspace.databases() - 1;
    let db = usize::try_from(db).ok().filter(|db| *db <= last).ok_or(CmdError::DebugDb)?;
    let full = args.len() > 3 && args.is(3, "full");
    let all = ctx.db.fold(Shape::default(), |mut sum, shard| {
        shard.db(db).into_iter().for_each(|table| sum.add(&table.shape(full)));
        sum
    });
    let text = format!("[Dictionary HT]\n{}[Expires HT]\n", describe(&all, full));
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// DEBUG HTSTATS-KEY.
pub(super) fn htstats_key(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), CmdError> {
    let full = args.len() > 3 && args.is(3, "full");
    let shape = match value_at(ctx, args)? {
        ValueView::Object(Value::Hash(table)) => table.shape(full),
        ValueView::Object(Value::Set(table)) => table.shape(full),
        ValueView::Object(Value::ZSet(set)) => Some(set.shape(full)),
        _ => None,
    };
    let text = describe(&shape.ok_or(CmdError::NoHashTable)?, full);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

fn describe(shape: &Shape, full: bool) -> String {
    let Shape { slots, items, volatile, segments, directory, fills } = shape;
    if *slots == 0 {
        return String::new();
    }
    let mut text = format!(
        "Hash table 0 stats (main hash table):\n table size: {slots}\n number of elements: {items}\n \
         elements with a deadline: {volatile}\n segments: {segments}\n directory size: {directory}\n"
    );
    if full {
        text.push_str(" Bucket fill distribution:\n");
        let all = fills.iter().sum::<usize>().max(1) as f64;
        for (len, count) in fills.iter().enumerate() {
            let percent = *count as f64 * 100.0 / all;
            writeln!(text, "   {len}: {count} ({percent:.2}%)").expect("writing to memory");
        }
    }
    text
}

/// DEBUG LISTPACK.
pub(super) fn listpack(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), CmdError> {
    let value = value_at(ctx, args)?;
    let body = match value {
        _ if value.encoding() != "listpack" => None,
        ValueView::Packed(packed) => Some(packed.body),
        ValueView::Object(Value::List(items)) => items.as_listpack(),
        _ => None,
    };
    let list = Listpack::new(body.ok_or(CmdError::NoListpack)?);
    tracing::warn!("{{listpack of {} bytes}}", list.body().len());
    log_entries(&list);
    ctx.out.simple("Listpack structure written to the log");
    Ok(())
}

fn log_entries(list: &Listpack<'_>) {
    let mut at = list.first();
    while let Some(place) = at {
        let len = list.entry_len(place);
        match list.get(place) {
            Item::Int(number) => tracing::warn!("{{at {place}, {len} bytes}} {number}"),
            Item::Bytes(text) => {
                let shown = bytes::preview(text, ERROR_PREVIEW_MAX);
                tracing::warn!("{{at {place}, {len} bytes, text of {}}} {shown:?}", text.len());
            }
        }
        at = list.next(place);
    }
}

/// DEBUG QUICKLIST.
pub(super) fn quicklist(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), CmdError> {
    let full = args.len() > 3 && args.integer(3)? != 0;
    let list = quicklist_of(value_at(ctx, args)?)?;
    tracing::warn!("{{quicklist of {} items}}{}", list.len(), nodes(list));
    let mut number = 0;
    list.for_each_node(|node| {
        match node {
            NodeView::Packed { body, count } => {
                tracing::warn!("{{node {number}: {count} items, {} bytes}}", body.len());
                if full {
                    log_entries(&Listpack::new(body));
                }
            }
            NodeView::Plain(text) => {
                tracing::warn!("{{node {number}: one plain item, {} bytes}}", text.len());
            }
        }
        number += 1;
    });
    ctx.out.simple("Quicklist structure written to the log");
    Ok(())
}
