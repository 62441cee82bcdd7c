//! Golden scripts: commands, `---`, and the replies a real Redis gives to them.
//!
//! ```text
//! # Comment. Blocks are separated by blank lines; keys live on from block to block.
//! SET k "a\x00b"
//! @3 GET missing
//! ---
//! OK
//! (null)
//! ```
//!
//! **Commands**, quoted as in redis-cli. `@name` picks a connection, opened at its first use; one
//! whose name starts with 3 speaks RESP3. Substituted in commands and replies: `${now}`,
//! `${now_ms}` (the server's clock, `+n` and `-n` may follow), `${pid}`, `${port}`, and for a
//! connection `${b.id}`, `${b.addr}`, `${b.laddr}`. Instead of a command:
//! `!send COMMAND` (no reply is read), `!read` (one reply or push), `!raw "bytes"` (one reply),
//! `!until COMMAND` (repeated until the expected reply comes).
//!
//! **Replies**, one per command, elements indented by two spaces:
//! `OK` status (`(status) " x"` if it starts oddly), `"x"` bulk, `(integer) 1`, `(error) ERR text`,
//! `(nil)` null bulk, `(nil array)`, `(array)`; RESP3: `(null)`, `(true)`, `(double) 1.5`,
//! `(big number) 1`, `(blob error) x`, `(verbatim) "txt:x"`, `(map)` of `"key": value`, `(set)`,
//! `(push)`, `(attribute)`; `(closed)` when the server hung up, `(timeout)` when nothing came.
//!
//! **Matchers**: `<any>`, `<bulk>`, `<integer>`, `<error>`, `<array>`... (any of that type);
//! `(integer) ~1..5` (either end may be missing); `~"a*"`, `(error) ~ERR *` (`*` is any run);
//! `(bulk lines)`, `(verbatim lines)` with one text line per element;
//! after the word of a group `unordered` (any order) or `contains` (at least these).
//!
//! **Directives**, for their block, or for the file in a block without commands:
//! `!manual` replies are written by hand, only our server is asked; `!since redis 8.4 valkey 9.1`
//! other servers are asked from these versions on, those not named never; `!server --option value`
//! starts a server of its own (file only).
//!
//! `RECORD=1`, with `REDSTART_TEST_SERVER` naming a real server, completes the blocks that lack
//! replies, or have a `?` in the place of one or of the elements of a group; matchers that hold
//! stay.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use crate::harness::{Conn, Reply, Server, server_program, wait_for};
use crate::notation::{Node, arguments, parse_nodes};

/// How long `!until` repeats its command.
const UNTIL_DEADLINE: Duration = Duration::from_secs(5);

/// Runs the file on `shared`, or on a server of its own if it asks for one. Returns one text per
/// difference.
pub(crate) fn run_file(path: &Path, label: &str, shared: &Server) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a script is readable UTF-8");
    let script = Script::parse(&text);
    if let Some(problem) = script.problem {
        return vec![format!("{label}:{problem}")];
    }
    let args: Vec<&str> = script.server_args.iter().map(String::as_str).collect();
    let own = (!args.is_empty()).then(|| Server::start(&args));
    let server = own.as_ref().unwrap_or(shared);
    if let Err(error) = empty(server) {
        return vec![format!("{label}: the server cannot be emptied: {error}")];
    }
    let mut run = Run { server, label, conns: BTreeMap::new(), failures: Vec::new() };
    let mut recorded = Vec::new();
    for block in script.blocks.iter().filter(|block| block.applies()) {
        let failures_before = run.failures.len();
        let replies = run.block(block);
        if *RECORDING && block.is_incomplete() {
            run.failures.truncate(failures_before);
            recorded.push((block.replies.clone(), replies));
        }
    }
    if !recorded.is_empty() {
        record(path, &text, recorded);
    }
    run.failures
}

/// Runs the commands of the file on `shared`, whatever they are answered; `before` gets each of them
/// first. A file that asks for a server of its own is left out.
pub(crate) fn replay_file(path: &Path, shared: &Server, before: &mut dyn FnMut(&[Vec<u8>])) {
    let text = fs::read_to_string(path).expect("a script is readable UTF-8");
    let script = Script::parse(&text);
    if !script.server_args.is_empty() {
        return;
    }
    empty(shared).expect("the server can be emptied");
    let conns = BTreeMap::new();
    let mut run = Run { server: shared, label: "", conns, failures: Vec::new() };
    for step in script.blocks.iter().flat_map(|block| &block.steps) {
        let Ok(args) = run.substitute(&step.text).and_then(|text| arguments(&text)) else {
            continue;
        };
        if matches!(step.action, Action::Call | Action::Send | Action::Until) && !args.is_empty() {
            before(&args);
        }
        let _ = run.exchange(step, &args);
    }
}

/// A server that asks for a password is a fresh one, and refuses this.
fn empty(server: &Server) -> io::Result<Reply> {
    let mut conn = Conn::open(server.addr())?;
    conn.send(&["FLUSHALL"])?;
    conn.read()
}

static RECORDING: LazyLock<bool> = LazyLock::new(|| {
    let wanted = std::env::var_os("RECORD").is_some();
    assert!(!wanted || FOREIGN.is_some(), "RECORD needs REDSTART_TEST_SERVER: a real server");
    wanted
});

/// Name and version of the server under test when it is not ours, as in `redis`, [7, 0, 15].
static FOREIGN: LazyLock<Option<(String, Vec<u32>)>> = LazyLock::new(|| {
    std::env::var_os("REDSTART_TEST_SERVER")?;
    let output = Command::new(server_program()).arg("--version").output().ok()?;
    let line = String::from_utf8_lossy(&output.stdout).to_ascii_lowercase();
    let version = line.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
    let name = ["redis", "valkey"].into_iter().find(|name| line.starts_with(name))?;
    (!line.contains("redstart")).then(|| (name.to_owned(), version_numbers(version)))
});

fn version_numbers(text: &str) -> Vec<u32> {
    text.split('.').map_while(|number| number.parse().ok()).collect()
}

/// A parsed file. `problem` is the first thing that is not a script.
#[derive(Default)]
struct Script {
    blocks: Vec<Block>,
    server_args: Vec<String>,
    problem: Option<String>,
}

#[derive(Clone, Default)]
struct Block {
    steps: Vec<Step>,
    expected: Vec<Node>,
    /// The lines of the file that hold `expected`, counted from 0.
    replies: Range<usize>,
    manual: bool,
    since: Vec<(String, Vec<u32>)>,
}

#[derive(Clone)]
struct Step {
    line: usize,
    conn: String,
    action: Action,
    /// The command, unsubstituted.
    text: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Action {
    Call,
    Send,
    Read,
    Raw,
    Until,
}

impl Script {
    fn parse(text: &str) -> Script {
        let mut script = Script::default();
        let lines: Vec<&str> = text.lines().collect();
        let mut defaults = Block::default();
        let mut start = 0;
        while start < lines.len() {
            let length = lines[start..].iter().take_while(|line| !line.is_empty()).count();
            match script.parse_block(&lines[start..start + length], start, &defaults) {
                Ok(block) if block.steps.is_empty() => defaults = block,
                Ok(block) => script.blocks.push(block),
                Err((line, why)) => script.problem = Some(format!("{}: {why}", line + 1)),
            }
            start += length + 1;
        }
        if script.blocks.is_empty() {
            script.problem.get_or_insert("1: no commands".into());
        }
        script
    }

    fn parse_block(
        &mut self,
        lines: &[&str],
        start: usize,
        defaults: &Block,
    ) -> Result<Block, (usize, String)> {
        let mut block = defaults.clone();
        let divider = lines.iter().position(|line| *line == "---");
        for (number, &line) in (start..).zip(&lines[..divider.unwrap_or(lines.len())]) {
            if line.starts_with('#') {
                continue;
            }
            match line.split_once(' ').unwrap_or((line, "")) {
                ("!manual", _) => block.manual = true,
                ("!since", servers) => block.since = parse_servers(servers),
                ("!server", args) => {
                    let args = arguments(args).map_err(|why| (number, why))?;
                    let text = |arg: &Vec<u8>| String::from_utf8_lossy(arg).into_owned();
                    self.server_args = args.iter().map(text).collect();
                }
                _ => block.steps.push(Step::parse(line, number)),
            }
        }
        let end = start + lines.len();
        let replies = start + divider.map_or(lines.len(), |divider| divider + 1);
        if divider.is_none() && !block.steps.is_empty() {
            return Err((start, "a block without `---`".into()));
        }
        block.replies = replies..end;
        block.expected = parse_nodes(&lines[replies - start..], 0, false)
            .map_err(|(offset, why)| (replies + offset, why))?;
        Ok(block)
    }
}

impl Block {
    /// Whether replies are missing, so that recording writes them.
    fn is_incomplete(&self) -> bool {
        let replies = self.steps.iter().filter(|step| step.action != Action::Send).count();
        self.expected.len() < replies || self.expected.iter().any(Node::is_incomplete)
    }

    /// Whether the server under test is one these replies are for.
    fn applies(&self) -> bool {
        let Some((name, version)) = FOREIGN.as_ref() else { return true };
        let new_enough = |(wanted, since): &(String, Vec<u32>)| wanted == name && version >= since;
        !self.manual && (self.since.is_empty() || self.since.iter().any(new_enough))
    }
}

fn parse_servers(text: &str) -> Vec<(String, Vec<u32>)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.chunks_exact(2).map(|pair| (pair[0].to_owned(), version_numbers(pair[1]))).collect()
}

impl Step {
    fn parse(line: &str, number: usize) -> Step {
        let (conn, rest) = match line.strip_prefix('@') {
            Some(rest) => rest.split_once(' ').unwrap_or((rest, "")),
            None => ("", line),
        };
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        let (action, text) = match word {
            "!send" => (Action::Send, after),
            "!read" => (Action::Read, after),
            "!raw" => (Action::Raw, after),
            "!until" => (Action::Until, after),
            _ => (Action::Call, rest),
        };
        Step { line: number + 1, conn: conn.to_owned(), action, text: text.to_owned() }
    }
}

/// One pass over a file.
struct Run<'a> {
    server: &'a Server,
    label: &'a str,
    conns: BTreeMap<String, Conn>,
    failures: Vec<String>,
}

impl Run<'_> {
    /// Runs all steps of a block and returns what the file should say about them.
    fn block(&mut self, block: &Block) -> Vec<Node> {
        let mut expected = block.expected.iter();
        let mut replies = Vec::new();
        for step in &block.steps {
            let wanted = if step.action == Action::Send { None } else { expected.next() };
            let outcome = self.step(step, wanted);
            if step.action == Action::Send {
                continue;
            }
            let reply = outcome.unwrap_or_else(|why| Node { head: why, ..Node::default() });
            replies.push(self.judge(step, wanted, reply));
        }
        if let (Some(extra), Some(step)) = (expected.next(), block.steps.last()) {
            self.fail(step, &format!("  a reply too many is expected: {}", extra.head));
        }
        replies
    }

    fn judge(&mut self, step: &Step, wanted: Option<&Node>, reply: Node) -> Node {
        let Some(wanted) = wanted else {
            self.fail(step, &format!("  no reply is expected, got:\n{}", reply.indented()));
            return reply;
        };
        let pattern = match self.substitute_node(wanted) {
            Ok(pattern) => pattern,
            Err(why) => {
                self.fail(step, &format!("  {why}"));
                return wanted.clone();
            }
        };
        if pattern.matches(&reply) {
            return wanted.clone();
        }
        let (expected, got) = (pattern.indented(), reply.indented());
        self.fail(step, &format!("  expected:\n{expected}  got:\n{got}"));
        wanted.merged(&pattern, reply)
    }

    fn fail(&mut self, step: &Step, text: &str) {
        let conn = if step.conn.is_empty() { String::new() } else { format!("@{} ", step.conn) };
        let text = text.trim_end();
        self.failures.push(format!("{}:{}: {conn}{}\n{text}", self.label, step.line, step.text));
    }

    fn step(&mut self, step: &Step, wanted: Option<&Node>) -> Result<Node, String> {
        let text = self.substitute(&step.text)?;
        let args = arguments(&text)?;
        if step.action != Action::Until {
            return self.exchange(step, &args);
        }
        let pattern = wanted.map(|wanted| self.substitute_node(wanted)).transpose()?;
        let mut outcome = Err("(timeout)".to_owned());
        wait_for(UNTIL_DEADLINE, || {
            outcome = self.exchange(step, &args);
            let Some(pattern) = &pattern else { return true };
            outcome.as_ref().is_ok_and(|reply| pattern.matches(reply))
        });
        outcome
    }

    fn exchange(&mut self, step: &Step, args: &[Vec<u8>]) -> Result<Node, String> {
        let conn = self.conn(&step.conn)?;
        let sent = match step.action {
            Action::Read => Ok(()),
            Action::Raw => conn.send_raw(&args.concat()),
            _ => conn.send(args),
        };
        let outcome = match (sent, step.action) {
            (Ok(()), Action::Send) => return Ok(Node::default()),
            (Ok(()), _) => conn.read(),
            (Err(error), _) => Err(error),
        };
        outcome.map(|reply| Node::from_reply(&reply)).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                // What comes later would be taken for the next reply.
                self.conns.remove(&step.conn);
                "(timeout)".into()
            }
            ErrorKind::InvalidData => format!("(broken reply) {error}"),
            _ => "(closed)".into(),
        })
    }

    fn conn(&mut self, name: &str) -> Result<&mut Conn, String> {
        if !self.conns.contains_key(name) {
            let mut conn = Conn::open(self.server.addr()).map_err(|error| error.to_string())?;
            if name.starts_with('3') {
                conn.send(&["HELLO", "3"]).and_then(|()| conn.read()).map_err(|e| e.to_string())?;
            }
            self.conns.insert(name.to_owned(), conn);
        }
        Ok(self.conns.get_mut(name).expect("present or just inserted"))
    }

    fn substitute_node(&mut self, node: &Node) -> Result<Node, String> {
        let items: Result<Vec<Node>, String> =
            node.items.iter().map(|item| self.substitute_node(item)).collect();
        let key = node.key.as_ref().map(|key| self.substitute(key)).transpose()?;
        Ok(Node { key, head: self.substitute(&node.head)?, items: items? })
    }

    fn substitute(&mut self, text: &str) -> Result<String, String> {
        let Some((before, after)) = text.split_once("${") else { return Ok(text.to_owned()) };
        let (name, after) = after.split_once('}').ok_or("`${` without `}`")?;
        let value = self.variable(name)?;
        Ok(format!("{before}{value}{}", self.substitute(after)?))
    }

    fn variable(&mut self, name: &str) -> Result<String, String> {
        if let Some((conn, field)) = name.rsplit_once('.') {
            let conn = self.conn(conn)?;
            return match field {
                "addr" => {
                    // Once it has answered, the server knows the connection, not only the kernel.
                    conn.call(&["PING"]);
                    Ok(conn.local_addr().to_string())
                }
                "laddr" => Ok(self.server.addr().to_string()),
                "id" => match conn.call(&["CLIENT", "ID"]) {
                    Reply::Integer(id) => Ok(id.to_string()),
                    other => Err(format!("CLIENT ID replies {other:?}")),
                },
                _ => Err(format!("unknown variable ${{{name}}}")),
            };
        }
        let (base, offset) = name.split_at(name.find(['+', '-']).unwrap_or(name.len()));
        let base: i64 = match base {
            "pid" => self.server.pid().into(),
            "port" => self.server.addr().port().into(),
            "now" => self.server_time_us()? / 1_000_000,
            "now_ms" => self.server_time_us()? / 1_000,
            _ => return Err(format!("unknown variable ${{{name}}}")),
        };
        let offset: i64 = if offset.is_empty() { 0 } else { offset.parse().map_err(|_| offset)? };
        Ok((base + offset).to_string())
    }

    fn server_time_us(&self) -> Result<i64, String> {
        let number = |reply: &Reply| match reply {
            Reply::Bulk(text) => str::from_utf8(text).ok()?.parse::<i64>().ok(),
            _ => None,
        };
        let reply = self.server.connect().call(&["TIME"]);
        if let Reply::Array(items) = &reply
            && let [Some(s), Some(us)] = items.iter().map(number).collect::<Vec<_>>()[..]
        {
            return Ok(s * 1_000_000 + us);
        }
        Err(format!("TIME replies {reply:?}"))
    }
}

/// Replaces the reply lines of the blocks that ran, from the last to the first.
fn record(path: &Path, text: &str, recorded: Vec<(Range<usize>, Vec<Node>)>) {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (range, replies) in recorded.into_iter().rev() {
        let mut block = String::new();
        for reply in &replies {
            reply.write(0, &mut block);
        }
        lines.splice(range, block.lines().map(str::to_owned));
    }
    let new = lines.join("\n") + "\n";
    fs::write(path, new).expect("a script can be rewritten");
}

#[test]
fn a_file_that_is_no_script_is_a_problem() {
    let problem = |text| Script::parse(text).problem;
    assert_eq!(problem("GET k\n---\n(nil)\n"), None);
    assert_eq!(problem("# nothing\n").as_deref(), Some("1: no commands"));
    assert_eq!(problem("\nGET k\n").as_deref(), Some("2: a block without `---`"));
    assert_eq!(problem("GET k\n---\n(array)\n   x\n").as_deref(), Some("4: wrong indentation"));
}
