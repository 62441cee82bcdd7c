//! MONITOR, and how a command looks to those who see it: quoted, and without secrets.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::spec::{Command, Flags, Group, Locks};
use crate::base::quote;
use crate::resp::Argv;
use crate::server::{Client, ClientFlags, Peer, Server};

pub(super) static COMMANDS: &[Command] = &[Command::new("monitor", 1, monitor)
    .group(Group::Server)
    .flags(Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::LOADING).with(Flags::STALE))];

/// What stands in the place of a secret.
const REDACTED: &[u8] = b"(redacted)";

/// A client that monitors already gets no answer, as in Redis.
fn monitor(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    if ctx.client.flags.has(ClientFlags::DENY_BLOCKING) {
        return Err(CmdError::MonitorDenied);
    }
    if ctx.server.begin_monitoring(ctx.client) {
        ctx.out.ok();
    }
    Ok(Flow::Done)
}

/// Whether all monitors may see a command. What runs a script counts as skipped, but it is shown
/// all the same: before what the script calls.
pub fn is_shown(command: &Command) -> bool {
    let skipped = command.flags.has(Flags::SKIP_MONITOR) && command.locks != Locks::Script;
    !command.flags.has(Flags::ADMIN) && !skipped
}

/// Shows a command of `client` to all monitors.
pub fn show_to_monitors(server: &Server, client: &Client, command: &Command, argv: Argv<'_>) {
    let origin = match &client.handle.peer {
        _ if client.flags.has(ClientFlags::SCRIPT) => "lua".to_owned(),
        Peer::Tcp(..) => client.handle.peer.addr(),
        Peer::Unix(path) => format!("unix:{}", path.display()),
    };
    server.feed_monitors(client.db, &origin, &quoted(command, argv));
}

/// The arguments as one line, secrets left out.
fn quoted(command: &Command, argv: Argv<'_>) -> Vec<u8> {
    let mut secrets = command.secrets(argv).into_iter().peekable();
    let mut line = Vec::new();
    for (at, arg) in argv.iter().enumerate() {
        if at > 0 {
            line.push(b' ');
        }
        let is_secret = secrets.next_if_eq(&at).is_some();
        quote::escape(if is_secret { REDACTED } else { arg }, &mut line);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::table::CommandTable;
    use super::*;
    use crate::resp::ArgRange;

    fn shown(request: &str) -> String {
        let mut ranges = Vec::new();
        let mut start = 0;
        for word in request.split(' ') {
            ranges.push(ArgRange::bytes(start, word.len()));
            start += word.len() + 1;
        }
        let argv = Argv::new(request.as_bytes(), &ranges, &[]);
        let renames = [("migrate".to_owned(), "move-away".to_owned())];
        let table = CommandTable::new(&renames).expect("a free name");
        let Ok(found) = table.resolve(argv) else { panic!("unknown: {request}") };
        let line = quoted(found.command, argv);
        String::from_utf8_lossy(&line).replace('"', "")
    }

    #[test]
    fn secrets_are_not_shown() {
        let cases = [
            ("AUTH secret", "AUTH (redacted)"),
            ("auth name secret", "auth (redacted) (redacted)"),
            ("HELLO", "HELLO"),
            ("HELLO 3 AUTH a b", "HELLO 3 AUTH (redacted) (redacted)"),
            ("hello 3 setname auth auth auth b", "hello 3 setname auth auth (redacted) (redacted)"),
            ("HELLO 3 AUTH AUTH b SETNAME c", "HELLO 3 AUTH (redacted) (redacted) SETNAME c"),
            ("HELLO 3 AUTH a", "HELLO 3 AUTH a"),
            ("SET auth secret", "SET auth secret"),
            ("ACL SETUSER u >p", "ACL SETUSER (redacted) (redacted)"),
            ("ACL SETUSER u >p >q", "ACL SETUSER (redacted) (redacted) (redacted)"),
            ("ACL LIST", "ACL LIST"),
            ("MOVE-AWAY h 1 k 0 9 AUTH p", "MOVE-AWAY h 1 k 0 9 AUTH (redacted)"),
            ("CONFIG SET requirepass p port 1", "CONFIG SET requirepass (redacted) port 1"),
        ];
        for (request, expected) in cases {
            assert_eq!(shown(request), expected);
        }
    }
}
