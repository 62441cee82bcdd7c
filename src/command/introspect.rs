//! COMMAND: the command table as clients see it, and the HELP of all containers.

use super::args::Args;
use super::client::reply_help;
use super::context::{Ctx, Flow};
use super::docs::{self, Arg, Docs};
use super::error::CmdError;
use super::keys::{KeyUse, key_uses};
use super::spec::{Command, FindKeys, Flags, Group, KeySpec, WIRE_FLAGS};
use super::table::{CommandTable, Registered};
use crate::base::{bytes, glob};
use crate::resp::ReplyBuf;

const COMMON: Flags = Flags::LOADING.with(Flags::STALE).with(Flags::CONNECTION);

const fn row(name: &'static str, arity: i32, handler: super::spec::Handler) -> Command {
    Command::new(name, arity, handler).group(Group::Server).flags(COMMON)
}

pub(super) static COMMANDS: &[Command] =
    &[row("command", -1, command).tips(&["nondeterministic_output_order"]).subcommands(&[
        row("count", 2, count),
        row("info", -2, info).tips(&["nondeterministic_output_order"]),
        row("docs", -2, docs_of).tips(&["nondeterministic_output_order"]),
        row("list", -2, list).tips(&["nondeterministic_output_order"]),
        row("getkeys", -3, getkeys),
        row("getkeysandflags", -3, getkeysandflags),
        row("help", 2, help).help(&[
            "(no subcommand)",
            "    Show what INFO shows of every command.",
            "COUNT",
            "    Show how many commands there are.",
            "DOCS [<command-name> ...]",
            "    Show the documentation of commands, of all by default.",
            "GETKEYS <full-command>",
            "    Show the keys of a command line.",
            "GETKEYSANDFLAGS <full-command>",
            "    Show the keys of a command line and how each is used.",
            "INFO [<command-name> ...]",
            "    Show the properties of commands, of all by default.",
            "LIST",
            "    Show the names of commands.",
        ]),
    ])];

/// The HELP subcommand of any container, and what a container without subcommand runs.
pub(super) fn help(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let container = bytes::lower(args.get(0)).to_ascii_uppercase();
    reply_help(ctx.out, &container, ctx.command.help);
    Ok(Flow::Done)
}

fn command(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    ctx.out.array(ctx.commands.count());
    ctx.commands.iter().for_each(|registered| reply_info(ctx.out, registered));
    Ok(Flow::Done)
}

fn count(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    ctx.out.count(ctx.commands.count());
    Ok(Flow::Done)
}

fn info(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    if args.len() == 2 {
        return command(ctx, args);
    }
    ctx.out.array(args.len() - 2);
    for name in args.rest(2) {
        match ctx.commands.by_full_name(name) {
            Some(registered) => reply_info(ctx.out, registered),
            None => ctx.out.null(),
        }
    }
    Ok(Flow::Done)
}

fn reply_info(out: &mut ReplyBuf, registered: &Registered) {
    let command = registered.command;
    let (first, last, step) = legacy_range(command);
    let flags: Vec<&str> = WIRE_FLAGS
        .iter()
        .filter(|(flag, _)| command.flags.has(*flag))
        .map(|(_, name)| *name)
        .collect();
    out.array(10);
    out.text(&registered.name);
    out.integer(i64::from(command.arity));
    reply_words(out, &flags);
    out.integer(first);
    out.integer(last);
    out.integer(step);
    let categories: Vec<String> =
        command.categories().into_iter().map(|name| format!("@{name}")).collect();
    out.set(categories.len());
    categories.iter().for_each(|name| out.simple(name));
    out.set(command.tips.len());
    command.tips.iter().for_each(|tip| out.text(tip));
    out.set(command.keys.len());
    command.keys.iter().for_each(|spec| reply_key_spec(out, spec));
    out.set(registered.subcommands.len());
    registered.subcommands.iter().for_each(|sub| reply_info(out, sub));
}

fn reply_words(out: &mut ReplyBuf, words: &[&str]) {
    out.set(words.len());
    words.iter().for_each(|word| out.simple(word));
}

/// First key, last key and step as they were told before key specs: of one range, or the widest.
fn legacy_range(command: &Command) -> (i64, i64, i64) {
    let ranges = command.keys.iter().filter_map(|spec| match spec.find {
        FindKeys::Range { first, last, step } => Some((first as i64, i64::from(last), step as i64)),
        FindKeys::Channels { first, last } => Some((first as i64, i64::from(last), 1)),
        FindKeys::Count { .. }
        | FindKeys::After { .. }
        | FindKeys::Rest { .. }
        | FindKeys::Half { .. }
        | FindKeys::Unknown => None,
    });
    ranges.reduce(|(first, _, step), (_, last, _)| (first, last, step)).unwrap_or((0, 0, 0))
}

fn reply_key_spec(out: &mut ReplyBuf, spec: &KeySpec) {
    out.map(3 + usize::from(spec.notes.is_some()));
    if let Some(notes) = spec.notes {
        out.text("notes");
        out.text(notes);
    }
    let mut words = vec![spec.access];
    words.extend(spec.uses);
    words.extend(spec.variable.then_some("variable_flags"));
    words.extend(spec.incomplete.then_some("incomplete"));
    out.text("flags");
    reply_words(out, &words);
    let one = [("lastkey", 0), ("keystep", 1), ("limit", 0)];
    let range = |first: usize, last: i32, step: usize| {
        let last = if last < 0 { i64::from(last) } else { i64::from(last) - first as i64 };
        (first as i64, "range", [("lastkey", last), ("keystep", step as i64), ("limit", 0)])
    };
    let (begin, kind, fields) = match spec.find {
        FindKeys::Range { first, last, step } => range(first, last, step),
        FindKeys::Channels { first, last } => range(first, last, 1),
        FindKeys::Count { count_at, step } => (
            count_at as i64,
            "keynum",
            [("keynumidx", 0), ("firstkey", 1), ("keystep", step as i64)],
        ),
        FindKeys::After { from, .. } => (from as i64, "range", one),
        // From the last argument but one back to where the word stands.
        FindKeys::Rest { .. } => (-2, "range", [("lastkey", -1), ("keystep", 1), ("limit", 0)]),
        FindKeys::Half { from, .. } => {
            (from as i64, "range", [("lastkey", -1), ("keystep", 1), ("limit", 2)])
        }
        FindKeys::Unknown => (0, "unknown", one),
    };
    out.text("begin_search");
    match spec.find {
        FindKeys::After { word, .. }
        | FindKeys::Rest { word, .. }
        | FindKeys::Half { word, .. } => {
            reply_search_head(out, "keyword", 2);
            out.text("keyword");
            out.text(word);
            out.text("startfrom");
            out.integer(begin);
        }
        FindKeys::Unknown => reply_search(out, kind, &[]),
        _ => reply_search(out, "index", &[("index", begin)]),
    }
    out.text("find_keys");
    reply_search(out, kind, if spec.find == FindKeys::Unknown { &[] } else { &fields });
}

fn reply_search_head(out: &mut ReplyBuf, kind: &str, fields: usize) {
    out.map(2);
    out.text("type");
    out.text(kind);
    out.text("spec");
    out.map(fields);
}

fn reply_search(out: &mut ReplyBuf, kind: &str, fields: &[(&str, i64)]) {
    reply_search_head(out, kind, fields.len());
    for (name, value) in fields {
        out.text(name);
        out.integer(*value);
    }
}

fn docs_of(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let found: Vec<&Registered> = if args.len() == 2 {
        ctx.commands.iter().collect()
    } else {
        args.rest(2).filter_map(|name| ctx.commands.by_full_name(name)).collect()
    };
    ctx.out.map(found.len());
    for registered in found {
        ctx.out.text(&registered.name);
        reply_docs(ctx.out, registered, ctx.commands);
    }
    Ok(Flow::Done)
}

/// The documentation of a command; a row without one cannot exist (a test of the table).
fn reply_docs(out: &mut ReplyBuf, registered: &Registered, commands: &CommandTable) {
    let name = documented_name(registered, commands);
    let Some(docs) = docs::find(&name) else { return out.map(0) };
    let mut flags: Vec<&str> = docs.deprecated.map(|_| "deprecated").into_iter().collect();
    flags.extend(docs.syscmd.then_some("syscmd"));
    let fields = 3
        + usize::from(!docs.complexity.is_empty())
        + usize::from(!docs.history.is_empty())
        + usize::from(!flags.is_empty())
        + 2 * usize::from(docs.deprecated.is_some())
        + usize::from(!docs.arguments.is_empty())
        + usize::from(!registered.subcommands.is_empty());
    out.map(fields);
    let texts = [("summary", docs.summary), ("since", docs.since), ("group", docs.group)];
    texts.iter().for_each(|(name, text)| reply_text(out, name, text));
    if !docs.complexity.is_empty() {
        reply_text(out, "complexity", docs.complexity);
    }
    reply_history(out, docs);
    if !flags.is_empty() {
        out.text("doc_flags");
        reply_words(out, &flags);
    }
    if let Some((since, by)) = docs.deprecated {
        reply_text(out, "deprecated_since", since);
        reply_text(out, "replaced_by", by);
    }
    if !docs.arguments.is_empty() {
        out.text("arguments");
        reply_arguments(out, docs.arguments);
    }
    if !registered.subcommands.is_empty() {
        out.text("subcommands");
        out.map(registered.subcommands.len());
        for sub in &registered.subcommands {
            out.text(&sub.name);
            reply_docs(out, sub, commands);
        }
    }
}

/// The name under which the command is documented: its own, whatever it was renamed to.
fn documented_name(registered: &Registered, commands: &CommandTable) -> String {
    let container = commands
        .iter()
        .find(|c| c.subcommands.iter().any(|sub| std::ptr::eq(sub.command, registered.command)));
    match container {
        Some(container) => format!("{}|{}", container.command.name, registered.command.name),
        None => registered.command.name.to_owned(),
    }
}

fn reply_text(out: &mut ReplyBuf, name: &str, text: &str) {
    out.text(name);
    out.text(text);
}

fn reply_history(out: &mut ReplyBuf, docs: &Docs) {
    if docs.history.is_empty() {
        return;
    }
    out.text("history");
    out.set(docs.history.len());
    for (since, change) in docs.history {
        out.array(2);
        out.text(since);
        out.text(change);
    }
}

fn reply_arguments(out: &mut ReplyBuf, arguments: &[Arg]) {
    out.array(arguments.len());
    for arg in arguments {
        let texts = [
            ("display_text", arg.display_text()),
            ("token", arg.token),
            ("summary", arg.summary),
            ("since", arg.since),
            ("deprecated_since", arg.deprecated_since),
        ];
        let flags: Vec<&str> = [
            (arg.optional, "optional"),
            (arg.multiple, "multiple"),
            (arg.multiple_token, "multiple_token"),
        ]
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| *name)
        .collect();
        out.map(
            2 + texts.iter().filter(|(_, text)| text.is_some()).count()
                + usize::from(arg.key_spec.is_some())
                + usize::from(!flags.is_empty())
                + usize::from(!arg.arguments.is_empty()),
        );
        reply_text(out, "name", arg.name);
        reply_text(out, "type", arg.kind.as_str());
        for (at, (name, text)) in texts.iter().enumerate() {
            if let Some(text) = text {
                reply_text(out, name, text);
            }
            // The key spec's place is behind the display text.
            if at == 0
                && let Some(spec) = arg.key_spec
            {
                out.text("key_spec_index");
                out.integer(i64::from(spec));
            }
        }
        if !flags.is_empty() {
            out.text("flags");
            reply_words(out, &flags);
        }
        if !arg.arguments.is_empty() {
            out.text("arguments");
            reply_arguments(out, arg.arguments);
        }
    }
}

fn list(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let all = ctx.commands.iter().flat_map(|c| std::iter::once(c).chain(&c.subcommands));
    let names: Vec<&str> = match args.len() {
        2 => all.map(|c| c.name.as_str()).collect(),
        5 if args.is(2, "filterby") => {
            let value = args.get(4);
            let selected: Box<dyn Fn(&Registered) -> bool> = match () {
                () if args.is(3, "module") => Box::new(|_| false),
                () if args.is(3, "aclcat") => Box::new(move |c| {
                    c.command.categories().iter().any(|name| bytes::is_word(value, name))
                }),
                () if args.is(3, "pattern") => {
                    Box::new(move |c| glob::matches(value, c.name.as_bytes(), true))
                }
                () => return Err(CmdError::Syntax),
            };
            all.filter(|c| selected(c)).map(|c| c.name.as_str()).collect()
        }
        _ => return Err(CmdError::Syntax),
    };
    ctx.out.array(names.len());
    names.iter().for_each(|name| ctx.out.text(name));
    Ok(Flow::Done)
}

fn getkeys(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let uses = inner_keys(ctx, args)?;
    ctx.out.array(uses.len());
    uses.iter().for_each(|key| ctx.out.bulk(args.get(key.index + 2)));
    Ok(Flow::Done)
}

fn getkeysandflags(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let uses = inner_keys(ctx, args)?;
    ctx.out.array(uses.len());
    for key in uses {
        ctx.out.array(2);
        ctx.out.bulk(args.get(key.index + 2));
        let mut words = vec![key.access];
        words.extend(key.uses);
        reply_words(ctx.out, &words);
    }
    Ok(Flow::Done)
}

/// The keys of the command line that follows `COMMAND GETKEYS`.
fn inner_keys(ctx: &Ctx<'_>, args: &Args<'_>) -> Result<Vec<KeyUse>, CmdError> {
    let inner = args.argv().skip(2);
    let registered = ctx.commands.resolve(inner).map_err(|_| CmdError::InvalidCommand)?;
    let command = registered.command;
    if command.keys.iter().all(|spec| matches!(spec.find, FindKeys::Channels { .. })) {
        return Err(CmdError::NoKeyArguments);
    }
    if !command.accepts(inner.len()) {
        return Err(CmdError::InvalidArgumentCount);
    }
    let inner = Args::new(inner, &[], &ctx.server.keyspace);
    let uses = key_uses(command, &inner).unwrap_or_default();
    if uses.is_empty() && !command.flags.has(Flags::NO_MANDATORY_KEYS) {
        return Err(CmdError::InvalidArguments);
    }
    Ok(uses)
}
