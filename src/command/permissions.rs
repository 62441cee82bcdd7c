//! May a user run a request? Takes a request apart into command, keys, channels and databases, as
//! its row says, and asks the user's selectors.
//!
//! The keys are those of COMMAND GETKEYSANDFLAGS ([`key_uses`]). A request whose keys cannot be found
//! gets its error from its handler, before that touches any.

use super::args::Args;
use super::client_line::{Running, describe};
use super::context::Ctx;
use super::error::CmdError;
use super::keys::{KeyUse, key_uses};
use super::spec::{Channels, Command, Databases, Flags};
use super::table::{CommandTable, Registered};
use crate::acl::{Access, Context, Denial, Reason, Selector, User};
use crate::base::number;
use crate::keyspace::Keyspace;
use crate::resp::Argv;
use crate::server::{Client, ClientFlags, ClientHandle, Server};

/// A command line that somebody wants to run.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    /// The command.
    pub registered: &'a Registered,
    /// All of the line.
    pub argv: Argv<'a>,
    /// The database in which it would run.
    pub db: usize,
    /// The keyspace.
    pub keyspace: &'a Keyspace,
}

/// What a user lacks for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What kind of permission.
    pub reason: Reason,
    /// Which argument it is about; 0 is the command.
    pub at: usize,
}

impl Lack {
    /// Of what several selectors lack, the most special is told, and of that the last argument.
    fn rank(self) -> (u8, usize) {
        let special = match self.reason {
            Reason::Auth | Reason::Database => 0,
            Reason::Command => 1,
            Reason::Key => 2,
            Reason::Channel => 3,
        };
        (special, self.at)
    }

    /// The name of what is lacking, for the log and DRYRUN.
    fn object<'a>(self, server: &'a Server, wish: Wish<'a>) -> &'a [u8] {
        let name = || server.acl.catalog().name(wish.registered.id).as_bytes();
        match self.reason {
            Reason::Database if self.at == 0 => name(),
            Reason::Key | Reason::Channel | Reason::Database => wish.argv.arg(self.at),
            Reason::Command | Reason::Auth => name(),
        }
    }

    /// The error of a request that a client sent.
    pub fn error(self, server: &Server, registered: &Registered) -> CmdError {
        match self.reason {
            Reason::Key => CmdError::NoPermKey,
            Reason::Channel => CmdError::NoPermChannel,
            Reason::Database => CmdError::NoPermDatabase,
            Reason::Command | Reason::Auth => {
                CmdError::NoPermCommand(server.acl.catalog().name(registered.id).to_owned())
            }
        }
    }

    /// The error of a request that was queued when it was still allowed.
    pub fn error_in_exec(self) -> CmdError {
        CmdError::NoPermAnyMore(match self.reason {
            Reason::Key => "no permission to touch the specified keys",
            Reason::Channel => "no permission to access one of the channels used as arguments",
            Reason::Database => "no permission to access the database",
            Reason::Command | Reason::Auth => "no permission to execute the command or subcommand",
        })
    }

    /// The error of a request of a script.
    pub fn error_in_script(self, server: &Server, registered: &Registered) -> CmdError {
        let text = self.error(server, registered).to_string();
        CmdError::NoPermInScript(text.strip_prefix("NOPERM ").unwrap_or(&text).to_owned())
    }

    /// What DRYRUN answers.
    pub fn answer(self, server: &Server, wish: Wish<'_>) -> Vec<u8> {
        let object = self.object(server, wish);
        let (before, after): (&str, &str) = match self.reason {
            Reason::Key => ("This user has no permissions to access the '", "' key"),
            Reason::Channel => ("This user has no permissions to access the '", "' channel"),
            Reason::Database => ("This user has no permissions to access database ", ""),
            Reason::Command | Reason::Auth => {
                ("This user has no permissions to run the '", "' command")
            }
        };
        [before.as_bytes(), object, after.as_bytes()].concat()
    }
}

/// What `user` lacks to run `wish`.
pub(super) fn check(user: &User, wish: Wish<'_>) -> Result<(), Lack> {
    if user.may_all() {
        return Ok(());
    }
    let (mut keys, mut worst) = (None, None::<Lack>);
    for selector in user.all_selectors() {
        match fits(selector, wish, &mut keys) {
            Ok(()) => return Ok(()),
            Err(lack) if worst.is_none_or(|worst| lack.rank() > worst.rank()) => worst = Some(lack),
            Err(_) => {}
        }
    }
    Err(worst.expect("a user has a selector"))
}

/// Whether the caller may read any key with the command that runs.
pub(super) fn reads_any_key(ctx: &Ctx<'_>, args: &Args<'_>) -> bool {
    let user = ctx.client.user().filter(|_| ctx.client.flags.has(ClientFlags::RESTRICTED));
    let Some((user, registered)) = user.zip(ctx.commands.get(args.get(0))) else { return true };
    let wish =
        Wish { registered, argv: args.argv(), db: ctx.client.db, keyspace: &ctx.server.keyspace };
    let mut keys = None;
    user.all_selectors()
        .any(|one| one.allows_any_key(Access::READ) && fits(one, wish, &mut keys).is_ok())
}

/// What one selector lacks; the keys are looked for once for all of them.
fn fits(selector: &Selector, wish: Wish<'_>, keys: &mut Option<Vec<KeyUse>>) -> Result<(), Lack> {
    let (command, argv) = (wish.registered.command, wish.argv);
    let lack = |reason, at| Err(Lack { reason, at });
    if let Some(at) = forbidden_database(selector, wish) {
        return lack(Reason::Database, at);
    }
    let first_arg = (argv.len() > 1).then(|| argv.arg(1));
    let free = command.flags.has(Flags::NO_AUTH);
    if !free && !selector.allows_command(wish.registered.id, first_arg) {
        return lack(Reason::Command, 0);
    }
    if !selector.allows_all_keys() && command.has_keys() {
        let keys = keys.get_or_insert_with(|| keys_of_wish(wish));
        let forbidden =
            |key: &&KeyUse| !selector.allows_key(argv.arg(key.index), access_of(key.uses));
        if let Some(key) = keys.iter().find(forbidden) {
            return lack(Reason::Key, key.index);
        }
    }
    let (first, last) = match command.channels {
        Channels::None => (1, 0),
        Channels::First => (1, 1),
        Channels::All | Channels::Patterns => (1, argv.len() - 1),
    };
    let is_pattern = command.channels == Channels::Patterns;
    let forbidden = |at: &usize| !selector.allows_channel(argv.arg(*at), is_pattern);
    match (first..=last.min(argv.len() - 1)).find(forbidden) {
        Some(at) => lack(Reason::Channel, at),
        None => Ok(()),
    }
}

fn keys_of_wish(wish: Wish<'_>) -> Vec<KeyUse> {
    let command = wish.registered.command;
    if !command.accepts(wish.argv.len()) {
        return Vec::new();
    }
    key_uses(command, &Args::new(wish.argv, &[], wish.keyspace)).unwrap_or_default()
}

fn access_of(uses: &[&str]) -> Access {
    uses.iter().fold(Access::NONE, |all, one| {
        all.with(if *one == "access" { Access::READ } else { Access::WRITE })
    })
}

/// The argument by which a request uses a database that it may not; 0 is the current one.
fn forbidden_database(selector: &Selector, wish: Wish<'_>) -> Option<usize> {
    if selector.allows_all_databases() {
        return None;
    }
    let (command, databases) = (wish.registered.command, wish.keyspace.databases());
    let forbidden = |db: usize| !selector.allows_database(db);
    match command.databases {
        Databases::All => (0..databases).any(forbidden).then_some(0),
        Databases::Current => (uses_database(command) && forbidden(wish.db)).then_some(0),
        Databases::Args(args) => {
            // What is no database is refused by the handler.
            let named = |at: &usize| {
                let db =
                    number::parse_i64(wish.argv.arg(*at)).and_then(|n| usize::try_from(n).ok());
                db.is_some_and(|db| db < databases && forbidden(db))
            };
            let named = args(wish.argv).into_iter().filter(|at| *at < wish.argv.len()).find(named);
            named.or_else(|| (command.has_keys() && forbidden(wish.db)).then_some(0))
        }
    }
}

fn uses_database(command: &Command) -> bool {
    command.flags.has(Flags::KEYSPACE.with(Flags::READONLY).with(Flags::WRITE))
        || command.has_keys()
}

/// What the user of `client` lacks to run a command line, if anything; `db` is where it would run.
pub fn check_client(
    server: &Server,
    client: &Client,
    (registered, argv): (&Registered, Argv<'_>),
    db: usize,
) -> Result<(), Lack> {
    if !client.flags.has(ClientFlags::RESTRICTED) {
        return Ok(());
    }
    let wish = Wish { registered, argv, db, keyspace: &server.keyspace };
    client.user().map_or(Ok(()), |user| check(user, wish))
}

/// The same for a client of another event loop, or one whose state is of earlier; a user that is gone
/// lacks everything.
pub fn check_handle(
    server: &Server,
    handle: &ClientHandle,
    (registered, argv): (&Registered, Argv<'_>),
    db: usize,
) -> Result<(), Lack> {
    let Some(user) = handle.user() else { return Ok(()) };
    let wish = Wish { registered, argv, db, keyspace: &server.keyspace };
    let gone = Lack { reason: Reason::Command, at: 0 };
    server.acl.current(&user).map_or(Err(gone), |user| check(&user, wish))
}

/// Counts and logs that a client was refused.
pub fn note_lack(
    (server, commands): (&Server, &CommandTable),
    handle: &ClientHandle,
    lack: Lack,
    (registered, argv): (&Registered, Argv<'_>),
    context: Context,
) {
    let wish = Wish { registered, argv, db: 0, keyspace: &server.keyspace };
    let username = handle.user().map_or(Vec::new(), |user| user.name().to_vec());
    let object = lack.object(server, wish).to_vec();
    let denial = Denial { reason: lack.reason, context, object, username };
    let now_ms = server.now_ms();
    let running = Running { name: &registered.name, argv };
    let line = describe(commands, handle, Some(running), now_ms);
    server.acl.deny(denial, now_ms, line);
}

/// The context of what a client sends.
pub(super) fn context_of(client: &Client) -> Context {
    if client.flags.has(ClientFlags::MULTI) { Context::Multi } else { Context::TopLevel }
}
