//! Commands on the connection itself.

use smallvec::smallvec;

use super::args::Args;
use super::client::{check_name, set_name};
use super::client_line::{Running, describe};
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::key::database;
use super::permissions::context_of;
use super::spec::{Command, Databases, Flags, Group, Locks};
use super::tracking::end_tracking;
use super::transaction::forget_watched;
use crate::acl::{DEFAULT_USER, Denial, Reason};
use crate::base::limits::ERROR_PREVIEW_MAX;
use crate::base::{bytes, number};
use crate::config::REDIS_VERSION;
use crate::resp::{Argv, Protocol};
use crate::server::ClientFlags;

/// Commands that every state of the server and client allows.
const ALWAYS: Flags = Flags::LOADING
    .with(Flags::STALE)
    .with(Flags::NOSCRIPT)
    .with(Flags::FAST)
    .with(Flags::NO_AUTH)
    .with(Flags::ALLOW_BUSY);

const fn row(name: &'static str, arity: i32, handler: super::spec::Handler) -> Command {
    Command::new(name, arity, handler).group(Group::Connection)
}

pub(super) static COMMANDS: &[Command] = &[
    row("ping", -1, ping)
        .fast()
        .flags(Flags::SUBSCRIBER)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    row("echo", 2, echo).fast().flags(Flags::LOADING.with(Flags::STALE)),
    row("select", 2, select)
        .fast()
        .flags(Flags::LOADING.with(Flags::STALE))
        .databases(Databases::Args(|_| smallvec![1])),
    row("auth", -2, auth).flags(ALWAYS).secrets_fn(secrets_of_auth),
    row("hello", -1, hello).flags(ALWAYS).secrets_fn(secrets_of_hello),
    row("quit", -1, quit).flags(ALWAYS.with(Flags::NOT_QUEUED).with(Flags::SUBSCRIBER)),
    row("reset", 1, reset)
        .flags(ALWAYS.with(Flags::NOT_QUEUED).with(Flags::SUBSCRIBER))
        .locks(Locks::Each),
];

fn secrets_of_auth(argv: Argv<'_>) -> Vec<usize> {
    if argv.len() <= 3 { (1..argv.len()).collect() } else { Vec::new() }
}

fn secrets_of_hello(argv: Argv<'_>) -> Vec<usize> {
    let is = |at: usize, word| bytes::is_word(argv.arg(at), word);
    let (mut at, mut secrets) = (2, Vec::new());
    while at < argv.len() {
        if is(at, "auth") && at + 2 < argv.len() {
            secrets.extend([at + 1, at + 2]);
            at += 3;
        } else if is(at, "setname") {
            at += 2;
        } else {
            break;
        }
    }
    secrets
}

fn ping(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    if args.len() > 2 {
        return Err(CmdError::Arity("ping".to_owned()));
    }
    if ctx.client.flags.has(ClientFlags::PUBSUB) && !ctx.out.is_resp3() {
        // Among messages it has to look like one.
        ctx.out.array(2);
        ctx.out.text("pong");
        ctx.out.bulk(if args.len() == 2 { args.get(1) } else { b"" });
        return Ok(Flow::Done);
    }
    match args.len() {
        1 => ctx.out.simple("PONG"),
        _ => ctx.out.bulk(args.get(1)),
    }
    Ok(Flow::Done)
}

fn echo(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    match args.shared(1) {
        Some(text) => ctx.out.bulk_shared(text),
        None => ctx.out.bulk(args.get(1)),
    }
    Ok(Flow::Done)
}

fn select(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let db = database(ctx, args.integer(1)?)?;
    ctx.client.select(db);
    ctx.out.ok();
    Ok(Flow::Done)
}

fn auth(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (user, password) = match args.len() {
        2 => (DEFAULT_USER, args.get(1)),
        3 => (args.get(1), args.get(2)),
        _ => return Err(CmdError::Syntax),
    };
    if args.len() == 2 && ctx.server.acl.takes_any_password() {
        return Err(CmdError::NoPassword);
    }
    authenticate(ctx, args, user, password)?;
    ctx.out.ok();
    Ok(Flow::Done)
}

/// Makes the client `user`; what fails is logged.
fn authenticate(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    user: &[u8],
    password: &[u8],
) -> Result<(), CmdError> {
    let from = ctx.client.handle.peer.ip();
    let may_try = from.is_none_or(|from| ctx.server.acl.may_try(from, ctx.now_ms));
    if may_try && ctx.server.authenticate(ctx.client, user, password) {
        return Ok(());
    }
    if let Some(from) = from.filter(|_| may_try) {
        ctx.server.acl.note_failure(from, ctx.now_ms);
    }
    let name = ctx.commands.full_name(ctx.command);
    let running = name.as_deref().map(|name| Running { name, argv: args.argv() });
    let line = describe(ctx.commands, &ctx.client.handle, running, ctx.now_ms);
    let denial = Denial {
        reason: Reason::Auth,
        context: context_of(ctx.client),
        object: args.get(0).to_vec(),
        username: user.to_vec(),
    };
    ctx.server.acl.deny(denial, ctx.now_ms, line);
    Err(if may_try { CmdError::WrongPass } else { CmdError::TooManyFailures })
}

fn hello(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let mut protocol = None;
    if args.len() > 1 {
        protocol = Some(match number::parse_i64(args.get(1)).ok_or(CmdError::ProtoNotInteger)? {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err(CmdError::NoProto),
        });
    }
    let (mut login, mut name, mut options) = (None, None, args.options(2));
    while let Some(word) = options.word() {
        if bytes::is_word(word, "auth") && options.left() >= 2 {
            login = Some((options.value()?, options.value()?));
        } else if bytes::is_word(word, "setname") && options.left() >= 1 {
            let value = options.value()?;
            check_name(value)?;
            name = Some(value);
        } else {
            return Err(CmdError::HelloOption(bytes::preview(word, ERROR_PREVIEW_MAX)));
        }
    }
    if let Some((user, password)) = login {
        authenticate(ctx, args, user, password)?;
    }
    let guarded = !ctx.server.acl.is_open();
    if guarded && ctx.client.flags.has(ClientFlags::UNAUTHENTICATED) {
        return Err(CmdError::HelloNoAuth);
    }
    if let Some(name) = name {
        set_name(ctx, name);
    }
    if let Some(protocol) = protocol {
        speak(ctx, protocol);
    }
    reply_greeting(ctx);
    Ok(Flow::Done)
}

fn speak(ctx: &mut Ctx<'_>, protocol: Protocol) {
    ctx.out.set_protocol(protocol);
    ctx.client.set_flags(ClientFlags::RESP3, protocol == Protocol::Resp3);
}

fn reply_greeting(ctx: &mut Ctx<'_>) {
    let id = ctx.client.handle.id;
    let out = &mut *ctx.out;
    out.map(7);
    out.text("server");
    out.text("redis");
    out.text("version");
    out.text(REDIS_VERSION);
    out.text("proto");
    out.integer(if out.is_resp3() { 3 } else { 2 });
    out.text("id");
    out.integer(id as i64);
    out.text("mode");
    out.text("standalone");
    out.text("role");
    out.text("master");
    out.text("modules");
    out.array(0);
}

fn quit(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    ctx.out.ok();
    Ok(Flow::Close)
}

/// Brings the connection back to how it was accepted.
fn reset(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    ctx.client.end_transaction();
    forget_watched(ctx);
    end_tracking(ctx);
    ctx.server.end_monitoring(ctx.client);
    ctx.client.unsubscribe_all(&ctx.server.pubsub);
    ctx.client.select(0);
    speak(ctx, Protocol::Resp2);
    let cleared = ClientFlags::REPLY
        | ClientFlags::NO_TOUCH
        | ClientFlags::NO_EVICT
        | ClientFlags::CAPA_REDIRECT;
    ctx.client.set_flags(cleared, false);
    ctx.client.log_out(ctx.server);
    ctx.client.handle.identify(|identity| identity.name.clear());
    ctx.client.fieldsets = None;
    ctx.out.simple("RESET");
    Ok(Flow::Done)
}
