//! ACL: users, what they may do, and what they were refused.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::introspect::help;
use super::permissions::{Wish, check};
use super::spec::{Command, Flags, Group, Handler};
use crate::acl::{CATEGORIES, Catalog, DEFAULT_USER, Selector, User};
use crate::base::limits::ERROR_PREVIEW_MAX;
use crate::base::{bytes, number, random};
use crate::resp::{Argv, ReplyBuf};

/// Most bits of a generated password.
const GENPASS_BITS_MAX: i64 = 4096;
/// Bits of a generated password where none are asked for.
const GENPASS_BITS: i64 = 256;
/// Entries of the log that are shown where no number is asked for.
const LOG_ENTRIES: i64 = 10;

const COMMON: Flags = Flags::NOSCRIPT.with(Flags::LOADING).with(Flags::STALE);
const ADMIN: Flags = COMMON.with(Flags::ADMIN);

const fn row(name: &'static str, arity: i32, handler: Handler) -> Command {
    Command::new(name, arity, handler).group(Group::Server)
}

pub(super) static COMMANDS: &[Command] = &[row("acl", -2, help).subcommands(&[
    row("cat", -2, cat).flags(COMMON),
    row("deluser", -3, deluser).flags(ADMIN).tips(ALL_NODES).secrets_fn(names_and_rules),
    row("dryrun", -4, dryrun).flags(ADMIN),
    row("genpass", -2, genpass).flags(COMMON),
    row("getuser", 3, getuser).flags(ADMIN).secrets_fn(names_and_rules),
    row("list", 2, list).flags(ADMIN),
    row("load", 2, load).flags(ADMIN),
    row("log", -2, log).flags(ADMIN),
    row("save", 2, save).flags(ADMIN).tips(ALL_NODES),
    row("setuser", -3, setuser).flags(ADMIN).tips(ALL_NODES).secrets_fn(names_and_rules),
    row("users", 2, users).flags(ADMIN),
    row("whoami", 2, whoami).flags(COMMON),
    row("help", 2, help).flags(Flags::LOADING.with(Flags::STALE)).help(&[
        "CAT [<category>]",
        "    Show the categories of commands, or the commands of one.",
        "DELUSER <username> [<username> ...]",
        "    Remove users and close their connections.",
        "DRYRUN <username> <command> [<arg> ...]",
        "    Tell whether the user may run the command, without running it.",
        "GENPASS [<bits>]",
        "    Make a password of 256 random bits, or of so many.",
        "GETUSER <username>",
        "    Show what a user may do.",
        "LIST",
        "    Show all users as lines of a file of users.",
        "LOAD",
        "    Take the users from the file of users.",
        "LOG [<count> | RESET]",
        "    Show what was refused lately, or forget it.",
        "SAVE",
        "    Write the users into the file of users.",
        "SETUSER <username> <rule> [<rule> ...]",
        "    Make a user, or change what it may do.",
        "USERS",
        "    Show the names of all users.",
        "WHOAMI",
        "    Show the user of this connection.",
    ]),
])];

const ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

fn names_and_rules(argv: Argv<'_>) -> Vec<usize> {
    (2..argv.len()).collect()
}

fn misused(args: &Args<'_>) -> CmdError {
    let subcommand = bytes::preview(args.get(1), ERROR_PREVIEW_MAX);
    CmdError::UnknownSubcommandOrArity { subcommand, container: "ACL" }
}

fn cat(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    match args.len() {
        2 => {
            ctx.out.array(CATEGORIES.len());
            CATEGORIES.iter().for_each(|name| ctx.out.text(name));
        }
        3 => {
            let name = args.get(2);
            let unknown = || CmdError::AclCategory(bytes::preview(name, ERROR_PREVIEW_MAX));
            let category = Catalog::category(name).ok_or_else(unknown)?;
            let catalog = ctx.server.acl.catalog();
            ctx.out.array(catalog.members(category).count());
            catalog.members(category).for_each(|id| ctx.out.text(catalog.name(id)));
        }
        _ => return Err(misused(args)),
    }
    Ok(Flow::Done)
}

/// Looks up what the caller may do after a change; a caller that is gone itself is closed once it
/// has its reply.
fn after_change(ctx: &mut Ctx<'_>) -> Flow {
    if ctx.client.catch_up_with_user(ctx.server) { Flow::Done } else { Flow::Close }
}

fn setuser(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let applied = ctx.server.acl.set_user(args.get(2), args.rest(3)).map_err(CmdError::Acl)?;
    ctx.server.end_listening(&applied, ctx.client.handle.id);
    ctx.out.ok();
    Ok(after_change(ctx))
}

fn deluser(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    if args.rest(2).any(|name| name == DEFAULT_USER) {
        return Err(CmdError::AclDefaultUser);
    }
    let mut gone = 0;
    for name in args.rest(2) {
        if let Some(user) = ctx.server.acl.delete_user(name) {
            ctx.server.close_clients_of(&user, ctx.client.handle.id);
            gone += 1;
        }
    }
    ctx.out.count(gone);
    Ok(after_change(ctx))
}

fn getuser(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let Some(user) = ctx.server.acl.user(args.get(2)) else {
        ctx.out.null();
        return Ok(Flow::Done);
    };
    let out = &mut *ctx.out;
    out.map(7);
    out.text("flags");
    let flags = user.flag_words();
    out.set(flags.len());
    flags.iter().for_each(|word| out.text(word));
    out.text("passwords");
    out.array(user.password_hashes().len());
    user.password_hashes().for_each(|hash| out.text(&hash));
    reply_selector(out, user.root());
    out.text("selectors");
    out.array(user.selectors().len());
    for selector in user.selectors() {
        out.map(4);
        reply_selector(out, selector);
    }
    Ok(Flow::Done)
}

/// Four pairs: what a selector allows.
fn reply_selector(out: &mut ReplyBuf, selector: &Selector) {
    out.text("commands");
    out.bulk(&selector.print_commands());
    out.text("keys");
    out.bulk(&selector.print_keys());
    out.text("channels");
    out.bulk(&selector.print_channels());
    out.text("databases");
    out.bulk(&selector.print_databases());
}

fn list(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    reply_users(ctx, User::print_line);
    Ok(Flow::Done)
}

fn users(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    reply_users(ctx, |user| user.name().to_vec());
    Ok(Flow::Done)
}

fn reply_users(ctx: &mut Ctx<'_>, text: impl Fn(&User) -> Vec<u8>) {
    let users = ctx.server.acl.users();
    ctx.out.array(users.len());
    users.iter().for_each(|user| ctx.out.bulk(&text(user)));
}

fn whoami(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    match ctx.client.user() {
        Some(user) => ctx.out.bulk(user.name()),
        None => ctx.out.null(),
    }
    Ok(Flow::Done)
}

/// Where the file of users is.
fn file(ctx: &Ctx<'_>) -> Result<String, CmdError> {
    let file = ctx.server.config.read().text("aclfile").to_owned();
    if file.is_empty() { Err(CmdError::AclNoFile) } else { Ok(file) }
}

fn load(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let users = ctx.server.acl.load(&file(ctx)?).map_err(CmdError::AclFile)?;
    let own = ctx.client.handle.id;
    for (before, after) in users {
        match after {
            Some(after) => ctx.server.end_listening_of(&before, &after, own),
            None => ctx.server.close_clients_of(&before, own),
        }
    }
    ctx.out.ok();
    Ok(after_change(ctx))
}

fn save(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let file = file(ctx)?;
    if let Err(error) = ctx.server.acl.save(&file) {
        tracing::warn!("Writing ACL file for ACL SAVE: {error}");
        return Err(CmdError::AclSave);
    }
    ctx.out.ok();
    Ok(Flow::Done)
}

fn genpass(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let bits = match args.len() {
        2 => GENPASS_BITS,
        3 => args.integer(2)?,
        _ => return Err(misused(args)),
    };
    if !(1..=GENPASS_BITS_MAX).contains(&bits) {
        return Err(CmdError::AclGenpass);
    }
    let digits = bits.unsigned_abs().div_ceil(4) as usize;
    ctx.out.text(&random::hex(digits));
    Ok(Flow::Done)
}

fn log(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let count = match args.len() {
        2 => LOG_ENTRIES,
        3 if args.is(2, "reset") => {
            ctx.server.acl.reset_log();
            ctx.out.ok();
            return Ok(Flow::Done);
        }
        3 => number::parse_i64(args.get(2)).ok_or(CmdError::NotInteger)?,
        _ => return Err(misused(args)),
    };
    let entries = ctx.server.acl.log(usize::try_from(count).unwrap_or(0));
    ctx.out.array(entries.len());
    for entry in entries {
        let out = &mut *ctx.out;
        out.map(10);
        out.text("count");
        out.integer(entry.count as i64);
        out.text("reason");
        out.text(entry.denial.reason.word());
        out.text("context");
        out.text(entry.denial.context.word());
        out.text("object");
        out.bulk(&entry.denial.object);
        out.text("username");
        out.bulk(&entry.denial.username);
        out.text("age-seconds");
        out.double((ctx.now_ms - entry.updated_at_ms) as f64 / 1000.0);
        out.text("client-info");
        out.text(&entry.client);
        out.text("entry-id");
        out.integer(entry.id as i64);
        out.text("timestamp-created");
        out.integer(entry.created_at_ms);
        out.text("timestamp-last-updated");
        out.integer(entry.updated_at_ms);
    }
    Ok(Flow::Done)
}

fn dryrun(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let shown = |at: usize| bytes::preview(args.get(at), ERROR_PREVIEW_MAX);
    let user = ctx.server.acl.user(args.get(2)).ok_or_else(|| CmdError::AclNoUser(shown(2)))?;
    let argv = args.argv().skip(3);
    let registered = ctx.commands.resolve(argv).map_err(|_| CmdError::AclNoCommand(shown(3)))?;
    if !registered.command.accepts(argv.len()) {
        return Err(CmdError::Arity(registered.name.clone()));
    }
    let db = ctx.client.db;
    let wish = Wish { registered, argv, db, keyspace: &ctx.server.keyspace };
    match check(&user, wish) {
        Ok(()) => ctx.out.ok(),
        Err(lack) => ctx.out.bulk(&lack.answer(ctx.server, wish)),
    }
    Ok(Flow::Done)
}
