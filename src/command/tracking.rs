//! CLIENT TRACKING and its kin: what a client caches, and where it hears that it is out of date.

use std::sync::atomic::Ordering::Relaxed;

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use crate::base::bytes;
use crate::server::{ClientFlags, gate};

/// Options of CLIENT TRACKING.
#[derive(Default)]
struct Options<'a> {
    flags: ClientFlags,
    redirect: u64,
    prefixes: Vec<&'a [u8]>,
}

pub(super) fn tracking(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let options = parse(ctx, args)?;
    match () {
        () if args.is(2, "on") => {
            check(ctx, &options)?;
            begin(ctx, &options);
        }
        () if args.is(2, "off") => end_tracking(ctx),
        () => return Err(CmdError::Syntax),
    }
    ctx.out.ok();
    Ok(Flow::Done)
}

fn parse<'a>(ctx: &Ctx<'_>, args: &Args<'a>) -> Result<Options<'a>, CmdError> {
    let (mut parsed, mut options) = (Options::default(), args.options(3));
    while let Some(word) = options.word() {
        let has_value = options.left() > 0;
        match () {
            () if bytes::is_word(word, "redirect") && has_value => {
                if parsed.redirect != 0 {
                    return Err(CmdError::TrackingRedirects);
                }
                let id = u64::try_from(options.integer()?).ok();
                let id = id.filter(|id| ctx.server.clients.get(*id).is_some());
                parsed.redirect = id.ok_or(CmdError::TrackingRedirect)?;
            }
            () if bytes::is_word(word, "prefix") && has_value => {
                parsed.prefixes.push(options.value()?);
            }
            () if bytes::is_word(word, "bcast") => parsed.flags.set(ClientFlags::BCAST, true),
            () if bytes::is_word(word, "optin") => parsed.flags.set(ClientFlags::OPTIN, true),
            () if bytes::is_word(word, "optout") => parsed.flags.set(ClientFlags::OPTOUT, true),
            () if bytes::is_word(word, "noloop") => parsed.flags.set(ClientFlags::NOLOOP, true),
            () => return Err(CmdError::Syntax),
        }
    }
    Ok(parsed)
}

/// Refuses options that do not go together, or with what the client said before.
fn check(ctx: &Ctx<'_>, options: &Options<'_>) -> Result<(), CmdError> {
    let (new, old) = (options.flags, ctx.client.flags);
    let broadcast = new.has(ClientFlags::BCAST);
    if !broadcast && !options.prefixes.is_empty() {
        return Err(CmdError::TrackingPrefix);
    }
    if old.has(ClientFlags::TRACKING) && old.has(ClientFlags::BCAST) != broadcast {
        return Err(CmdError::TrackingBroadcast);
    }
    let (optin, optout) = (new.has(ClientFlags::OPTIN), new.has(ClientFlags::OPTOUT));
    if broadcast && (optin || optout) {
        return Err(CmdError::TrackingOptBroadcast);
    }
    if optin && optout {
        return Err(CmdError::TrackingOptBoth);
    }
    if optin && old.has(ClientFlags::OPTOUT) || optout && old.has(ClientFlags::OPTIN) {
        return Err(CmdError::TrackingOptSwitch);
    }
    check_prefixes(ctx, &options.prefixes)
}

/// No key may have two prefixes of one client.
fn check_prefixes(ctx: &Ctx<'_>, prefixes: &[&[u8]]) -> Result<(), CmdError> {
    let overlap = |one: &[u8], other: &[u8]| one.starts_with(other) || other.starts_with(one);
    let text = |prefix: &[u8]| bytes::preview(prefix, usize::MAX);
    for (at, prefix) in prefixes.iter().enumerate() {
        if let Some(known) = ctx.client.prefixes().find(|known| overlap(known, prefix)) {
            return Err(CmdError::TrackingPrefixKnown(text(prefix), text(known)));
        }
        if let Some(other) = prefixes[at + 1..].iter().find(|other| overlap(other, prefix)) {
            return Err(CmdError::TrackingPrefixGiven(text(prefix), text(other)));
        }
    }
    Ok(())
}

fn begin(ctx: &mut Ctx<'_>, options: &Options<'_>) {
    let (server, flags) = (ctx.server, ctx.client.flags);
    ctx.client.begin_tracking(server, options.flags.0, options.redirect);
    // What follows in the same transaction is tracked already.
    ctx.effects.audience |= gate::TRACKING;
    if !options.flags.has(ClientFlags::BCAST) {
        return;
    }
    if options.prefixes.is_empty() {
        ctx.client.add_prefix(server, b"");
    }
    for prefix in &options.prefixes {
        ctx.client.add_prefix(server, prefix);
    }
    if !flags.has(ClientFlags::BCAST) {
        ctx.db.fold((), |(), shard| shard.mind_every());
    }
}

/// Ends the tracking of the client; shards are held or locked one after the other.
pub fn end_tracking(ctx: &mut Ctx<'_>) {
    if ctx.client.end_tracking(ctx.server) {
        ctx.db.fold((), |(), shard| shard.unmind_every());
    }
}

/// Tells all who track that everything may have changed, and forgets what they read; all shards are
/// held.
pub(super) fn invalidate_all(ctx: &mut Ctx<'_>) {
    let server = ctx.server;
    if server.tracking.clients() > 0 {
        server.invalidate_all();
    }
    if server.tracking.keys() > 0 {
        for number in 0..server.keyspace.shard_count() {
            let forgotten = server.tracking.take_all(number);
            ctx.db.visit(number, |shard| forgotten.iter().for_each(|hash| shard.unmind(*hash)));
        }
    }
}

pub(super) fn caching(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let flags = ctx.client.flags;
    if !flags.has(ClientFlags::TRACKING) {
        return Err(CmdError::CachingUntracked);
    }
    match () {
        () if args.is(2, "yes") && flags.has(ClientFlags::OPTIN) => {}
        () if args.is(2, "yes") => return Err(CmdError::CachingYes),
        () if args.is(2, "no") && flags.has(ClientFlags::OPTOUT) => {}
        () if args.is(2, "no") => return Err(CmdError::CachingNo),
        () => return Err(CmdError::Syntax),
    }
    ctx.client.set_flags(ClientFlags::CACHING, true);
    ctx.out.ok();
    Ok(Flow::Done)
}

/// The client to which invalidations go: 0 is the client itself, -1 is none.
pub(super) fn redirect_of(handle: &crate::server::ClientHandle) -> i64 {
    let flags = ClientFlags(handle.flags.load(Relaxed));
    if flags.has(ClientFlags::TRACKING) { handle.redirect.load(Relaxed) as i64 } else { -1 }
}

pub(super) fn getredir(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    ctx.out.integer(redirect_of(&ctx.client.handle));
    Ok(Flow::Done)
}

pub(super) fn trackinginfo(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let (flags, handle) = (ctx.client.flags, &ctx.client.handle);
    let caching = flags.has(ClientFlags::CACHING);
    let (optin, optout) = (flags.has(ClientFlags::OPTIN), flags.has(ClientFlags::OPTOUT));
    let words = [
        (flags.has(ClientFlags::TRACKING), "on"),
        (!flags.has(ClientFlags::TRACKING), "off"),
        (flags.has(ClientFlags::BCAST), "bcast"),
        (optin, "optin"),
        (optin && caching, "caching-yes"),
        (optout, "optout"),
        (optout && caching, "caching-no"),
        (flags.has(ClientFlags::NOLOOP), "noloop"),
        (handle.redirect_broken.load(Relaxed), "broken_redirect"),
    ];
    ctx.out.map(3);
    ctx.out.text("flags");
    ctx.out.set(words.iter().filter(|(holds, _)| *holds).count());
    words.iter().filter(|(holds, _)| *holds).for_each(|(_, word)| ctx.out.text(word));
    ctx.out.text("redirect");
    ctx.out.integer(redirect_of(handle));
    ctx.out.text("prefixes");
    ctx.out.array(ctx.client.prefixes().count());
    ctx.client.prefixes().for_each(|prefix| ctx.out.bulk(prefix));
    Ok(Flow::Done)
}
