//! Publishing, subscribing, and PUBSUB, which tells who listens.
//!
//! Subscribing is answered by one push for each name. Messages come between replies only; what was
//! posted before a name is given up comes before that is confirmed.

use std::sync::Arc;

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::introspect::help;
use super::spec::{Channels, Command, Flags, Group, Handler, KeySpec};
use crate::base::bytes;
use crate::base::limits::ERROR_PREVIEW_MAX;
use crate::pubsub::Kind;
use crate::server::ClientFlags;

const COMMON: Flags = Flags::PUBSUB.with(Flags::LOADING).with(Flags::STALE);
const SUBSCRIBING: Flags = COMMON.with(Flags::NOSCRIPT).with(Flags::SUBSCRIBER).with(Flags::PUSHES);
const PUBLISHING: Flags = COMMON.with(Flags::FAST).with(Flags::MAY_REPLICATE);

const ALL: &[KeySpec] = &[KeySpec::channels(-1)];
const FIRST: &[KeySpec] = &[KeySpec::channels(1)];

const fn row(name: &'static str, arity: i32, handler: Handler) -> Command {
    Command::new(name, arity, handler).group(Group::PubSub)
}

pub(super) static COMMANDS: &[Command] = &[
    row("subscribe", -2, subscribe).flags(SUBSCRIBING).channels(Channels::All),
    row("unsubscribe", -1, unsubscribe).flags(SUBSCRIBING),
    row("psubscribe", -2, psubscribe).flags(SUBSCRIBING).channels(Channels::Patterns),
    row("punsubscribe", -1, punsubscribe).flags(SUBSCRIBING),
    row("ssubscribe", -2, ssubscribe).flags(SUBSCRIBING).keys(ALL).channels(Channels::All),
    row("sunsubscribe", -1, sunsubscribe).flags(SUBSCRIBING).keys(ALL),
    row("publish", 3, publish).flags(PUBLISHING).channels(Channels::First),
    row("spublish", 3, spublish).flags(PUBLISHING).keys(FIRST).channels(Channels::First),
    row("pubsub", -2, help).subcommands(&[
        row("channels", -2, channels).flags(COMMON),
        row("numpat", 2, numpat).flags(COMMON),
        row("numsub", -2, numsub).flags(COMMON),
        row("shardchannels", -2, shardchannels).flags(COMMON),
        row("shardnumsub", -2, shardnumsub).flags(COMMON),
        row("help", 2, help).flags(Flags::LOADING.with(Flags::STALE)).help(&[
            "CHANNELS [<pattern>]",
            "    Show the channels that somebody listens to, or those that match.",
            "NUMPAT",
            "    Show to how many different patterns somebody listens.",
            "NUMSUB [<channel> ...]",
            "    Show how many listen to each channel by its name.",
            "SHARDCHANNELS [<pattern>]",
            "    Show the shard channels that somebody listens to, or those that match.",
            "SHARDNUMSUB [<shardchannel> ...]",
            "    Show how many listen to each shard channel.",
        ]),
    ]),
];

fn subscribe(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    begin(ctx, args, Kind::Channel, "subscribe")
}

fn unsubscribe(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    end(ctx, args, Kind::Channel, "unsubscribe")
}

fn psubscribe(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    begin(ctx, args, Kind::Pattern, "psubscribe")
}

fn punsubscribe(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    end(ctx, args, Kind::Pattern, "punsubscribe")
}

/// Unlike its kin it is refused in a transaction, where each of its replies would count as one of
/// the transaction's.
fn ssubscribe(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    if ctx.client.flags.has(ClientFlags::DENY_BLOCKING) {
        return Err(CmdError::DenyBlocking("SSUBSCRIBE"));
    }
    begin(ctx, args, Kind::Shard, "ssubscribe")
}

fn sunsubscribe(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    end(ctx, args, Kind::Shard, "sunsubscribe")
}

fn begin(ctx: &mut Ctx<'_>, args: &Args<'_>, kind: Kind, word: &str) -> Result<Flow, CmdError> {
    for name in args.rest(1) {
        ctx.client.subscribe(&ctx.server.pubsub, kind, name);
        confirm(ctx, kind, word, Some(name));
    }
    // Who was to lose these channels when they were not there yet loses them now.
    let may_stay = !ctx.client.is_outdated(ctx.server) || ctx.client.catch_up_with_user(ctx.server);
    Ok(if may_stay { Flow::Done } else { Flow::Close })
}

fn end(ctx: &mut Ctx<'_>, args: &Args<'_>, kind: Kind, word: &str) -> Result<Flow, CmdError> {
    let all = if args.len() == 1 { ctx.client.subscribed(kind) } else { Vec::new() };
    let names = args.rest(1).chain(all.iter().map(AsRef::as_ref));
    let mut none = true;
    for name in names {
        none = false;
        ctx.client.unsubscribe(&ctx.server.pubsub, kind, name);
        deliver(ctx);
        confirm(ctx, kind, word, Some(name));
    }
    if none {
        confirm(ctx, kind, word, None);
    }
    Ok(Flow::Done)
}

/// Sends what was posted until now, which nobody expects after the confirmation.
fn deliver(ctx: &mut Ctx<'_>) {
    let inside_reply = ctx.client.flags.has(ClientFlags::DENY_BLOCKING);
    let mailbox = &ctx.client.handle.mailbox;
    if mailbox.has_mail() && !inside_reply {
        mailbox.take_into(ctx.out);
    }
}

/// Tells the client that it listens to `name`, or no longer does, and to how many it listens now.
fn confirm(ctx: &mut Ctx<'_>, kind: Kind, word: &str, name: Option<&[u8]>) {
    let mailbox = &ctx.client.handle.mailbox;
    let count = match kind {
        Kind::Shard => mailbox.count(Kind::Shard),
        Kind::Channel | Kind::Pattern => {
            mailbox.count(Kind::Channel) + mailbox.count(Kind::Pattern)
        }
    };
    ctx.out.push(3);
    ctx.out.text(word);
    match name {
        Some(name) => ctx.out.bulk(name),
        None => ctx.out.null(),
    }
    ctx.out.integer(i64::from(count));
}

fn publish(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let receivers = ctx.server.publish(args.get(1), args.get(2));
    ctx.out.count(receivers);
    Ok(Flow::Done)
}

fn spublish(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let receivers = ctx.server.publish_in_shard(args.get(1), args.get(2));
    ctx.out.count(receivers);
    Ok(Flow::Done)
}

fn channels(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_names(ctx, args, Kind::Channel)
}

fn shardchannels(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_names(ctx, args, Kind::Shard)
}

fn reply_names(ctx: &mut Ctx<'_>, args: &Args<'_>, kind: Kind) -> Result<Flow, CmdError> {
    if args.len() > 3 {
        return Err(CmdError::UnknownSubcommandOrArity {
            subcommand: bytes::preview(args.get(1), ERROR_PREVIEW_MAX),
            container: "PUBSUB",
        });
    }
    let pattern = (args.len() == 3).then(|| args.get(2));
    let names: Vec<Arc<[u8]>> = ctx.server.pubsub.names(kind, pattern);
    ctx.out.array(names.len());
    names.iter().for_each(|name| ctx.out.bulk(name));
    Ok(Flow::Done)
}

fn numpat(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    ctx.out.count(ctx.server.pubsub.len(Kind::Pattern));
    Ok(Flow::Done)
}

fn numsub(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_counts(ctx, args, Kind::Channel)
}

fn shardnumsub(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_counts(ctx, args, Kind::Shard)
}

fn reply_counts(ctx: &mut Ctx<'_>, args: &Args<'_>, kind: Kind) -> Result<Flow, CmdError> {
    ctx.out.array(2 * (args.len() - 2));
    for name in args.rest(2) {
        ctx.out.bulk(name);
        ctx.out.count(ctx.server.pubsub.subscribers(kind, name));
    }
    Ok(Flow::Done)
}
