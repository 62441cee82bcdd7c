//! MONITOR, and how a command looks to those who see it: quoted, and without secrets.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::spec::{Command, Flags, Group, Locks};
use crate::base::{bytes, quote};
use crate::config::is_sensitive;
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
pub fn show_to_monitors(server: &Server, client: &Client, argv: Argv<'_>) {
    let origin = match &client.handle.peer {
        _ if client.flags.has(ClientFlags::SCRIPT) => "lua".to_owned(),
        Peer::Tcp(..) => client.handle.peer.addr(),
        Peer::Unix(path) => format!("unix:{}", path.display()),
    };
    server.feed_monitors(client.db, &origin, &quoted(argv));
}

/// The arguments as one line, secrets left out.
fn quoted(argv: Argv<'_>) -> Vec<u8> {
    let mut secrets = secrets_of(argv).into_iter().peekable();
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

/// The arguments that are names and passwords by which somebody logs in, ascending.
pub fn secrets_of(argv: Argv<'_>) -> Vec<usize> {
    let is = |at: usize, word| bytes::is_word(argv.arg(at), word);
    let mut secrets = Vec::new();
    if is(0, "auth") && argv.len() <= 3 {
        secrets.extend(1..argv.len());
    }
    if is(0, "acl") {
        secrets.extend(super::permissions::secrets_of(argv));
    }
    if is(0, "migrate") {
        secrets.extend(super::migrate::secrets_of(argv));
    }
    if is(0, "acl") && argv.len() > 2 && ["setuser", "getuser", "deluser"].iter().any(|w| is(1, w))
    {
        let last = if is(1, "getuser") { 3 } else { argv.len() };
        secrets.extend(2..last);
    }
    if is(0, "config") && argv.len() > 3 && is(1, "set") {
        secrets.extend((3..argv.len()).step_by(2).filter(|at| is_sensitive(argv.arg(at - 1))));
    }
    if is(0, "hello") {
        let mut at = 2;
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
    }
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::ArgRange;

    fn shown(request: &str) -> String {
        let mut ranges = Vec::new();
        let mut start = 0;
        for word in request.split(' ') {
            ranges.push(ArgRange::bytes(start, word.len()));
            start += word.len() + 1;
        }
        let line = quoted(Argv::new(request.as_bytes(), &ranges, &[]));
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
            ("ACL LIST", "ACL LIST"),
            ("CONFIG SET requirepass p port 1", "CONFIG SET requirepass (redacted) port 1"),
        ];
        for (request, expected) in cases {
            assert_eq!(shown(request), expected);
        }
    }
}
