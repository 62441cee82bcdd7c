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
use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use crate::harness::{Conn, Reply, Server, server_program, wait_for};

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

/// A reply or the expectation of one, in the notation of the scripts: a head and its elements.
#[derive(Clone, Debug, Default, PartialEq)]
struct Node {
    key: Option<String>,
    head: String,
    items: Vec<Node>,
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

/// Parses the lines at `depth` and, below them, their elements.
fn parse_nodes(lines: &[&str], depth: usize, keyed: bool) -> Result<Vec<Node>, (usize, String)> {
    let mut nodes = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let text = lines[at].get(2 * depth..).filter(|_| indent(lines[at]) == 2 * depth);
        let text = text.ok_or((at, "wrong indentation".to_owned()))?;
        let (key, head) = if keyed { split_key(text) } else { (None, text) };
        let below = &lines[at + 1..];
        let length = below.iter().take_while(|line| indent(line) > 2 * depth).count();
        let pairs = head.starts_with("(map") || head.starts_with("(attribute");
        let items = parse_nodes(&below[..length], depth + 1, pairs)
            .map_err(|(offset, why)| (at + 1 + offset, why))?;
        nodes.push(Node { key: key.map(str::to_owned), head: head.to_owned(), items });
        at += 1 + length;
    }
    Ok(nodes)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// `"key": value`; a colon inside the quotes is part of the key.
fn split_key(text: &str) -> (Option<&str>, &str) {
    let divider = if text.starts_with('"') || text.starts_with("~\"") { "\": " } else { ": " };
    match text.find(divider) {
        Some(at) => {
            let end = at + divider.len() - 2;
            (Some(&text[..end]), &text[end + 2..])
        }
        None => (None, text),
    }
}

/// Arguments as bytes, split and unescaped as redis-cli does.
fn arguments(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut args = Vec::new();
    let mut rest = line.trim_start_matches(' ').as_bytes();
    while !rest.is_empty() {
        let mut arg = Vec::new();
        rest = match rest[0] {
            b'"' => quoted(&rest[1..], b'"', &mut arg)?,
            b'\'' => quoted(&rest[1..], b'\'', &mut arg)?,
            _ => {
                let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
                arg.extend(&rest[..end]);
                &rest[end..]
            }
        };
        args.push(arg);
        rest = rest.trim_ascii_start();
    }
    Ok(args)
}

fn quoted<'a>(mut rest: &'a [u8], quote: u8, arg: &mut Vec<u8>) -> Result<&'a [u8], String> {
    loop {
        rest = match rest {
            [byte, after @ ..] if *byte == quote => return Ok(after),
            [b'\\', b'\'', after @ ..] if quote == b'\'' => {
                arg.push(b'\'');
                after
            }
            [b'\\', b'x', high, low, after @ ..] if quote == b'"' => {
                let digits = [*high, *low];
                let digits = str::from_utf8(&digits).map_err(|error| error.to_string())?;
                arg.push(u8::from_str_radix(digits, 16).map_err(|error| error.to_string())?);
                after
            }
            [b'\\', byte, after @ ..] if quote == b'"' => {
                arg.push(unescaped(*byte));
                after
            }
            [byte, after @ ..] => {
                arg.push(*byte);
                after
            }
            [] => return Err("unbalanced quotes".into()),
        };
    }
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
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

impl Node {
    fn from_reply(reply: &Reply) -> Node {
        let leaf = |head: String| Node { head, ..Node::default() };
        let group = |head: &str, items: &[Reply]| Node {
            head: head.to_owned(),
            items: items.iter().map(Node::from_reply).collect(),
            ..Node::default()
        };
        let pairs = |head: &str, pairs: &[(Reply, Reply)]| Node {
            head: head.to_owned(),
            items: pairs.iter().map(Node::from_pair).collect(),
            ..Node::default()
        };
        match reply {
            Reply::Simple(text) => leaf(status(text)),
            Reply::Error(text) => leaf(format!("(error) {}", error_text(text))),
            Reply::Integer(number) => leaf(format!("(integer) {number}")),
            Reply::Bulk(text) => leaf(format!("\"{}\"", escaped(text))),
            Reply::NilBulk => leaf("(nil)".into()),
            Reply::NilArray => leaf("(nil array)".into()),
            Reply::Array(items) => group("(array)", items),
            Reply::Null => leaf("(null)".into()),
            Reply::Bool(value) => leaf(format!("({value})")),
            Reply::Double(text) => leaf(format!("(double) {text}")),
            Reply::BigNumber(text) => leaf(format!("(big number) {text}")),
            Reply::BlobError(text) => leaf(format!("(blob error) {}", escaped(text))),
            Reply::Verbatim(text) => leaf(format!("(verbatim) \"{}\"", escaped(text))),
            Reply::Map(entries) => pairs("(map)", entries),
            Reply::Set(items) => group("(set)", items),
            Reply::Push(items) => group("(push)", items),
            Reply::Attribute(entries) => pairs("(attribute)", entries),
        }
    }

    fn from_pair((key, value): &(Reply, Reply)) -> Node {
        Node { key: Some(Node::from_reply(key).head), ..Node::from_reply(value) }
    }

    fn is_incomplete(&self) -> bool {
        self.head == "?" || self.items.iter().any(Node::is_incomplete)
    }

    /// Whether `reply`, which holds no matchers, is what this node describes.
    fn matches(&self, reply: &Node) -> bool {
        let keys_match = match (&self.key, &reply.key) {
            (Some(pattern), Some(key)) => head_matches(pattern, key),
            (None, None) => true,
            _ => false,
        };
        if !keys_match {
            return false;
        }
        let (kind, order) = self.group();
        if kind == "bulk lines" || kind == "verbatim lines" {
            let lines = reply.text_lines(kind);
            return lines.is_some_and(|lines| items_match(&self.items, &lines, order));
        }
        if !self.head.starts_with('(') || self.items.is_empty() && reply.items.is_empty() {
            return head_matches(&self.head, &reply.head)
                || order != Order::Same && reply.head == format!("({kind})");
        }
        reply.head == format!("({kind})") && items_match(&self.items, &reply.items, order)
    }

    /// `(array unordered)` is ("array", Any).
    fn group(&self) -> (&str, Order) {
        let text = self.head.strip_prefix('(').and_then(|head| head.strip_suffix(')'));
        match text.unwrap_or_default() {
            "set" => ("set", Order::Any),
            text => match text.rsplit_once(' ') {
                Some((kind, "unordered")) => (kind, Order::Any),
                Some((kind, "contains")) => (kind, Order::Subset),
                _ => (text, Order::Same),
            },
        }
    }

    /// The lines of a text reply, without the empty one after its last line break.
    fn text_lines(&self, kind: &str) -> Option<Vec<Node>> {
        let text = match kind {
            "bulk lines" => self.head.strip_prefix('"')?,
            _ => self.head.strip_prefix("(verbatim) \"txt:")?,
        };
        let text = text.strip_suffix('"')?.replace("\\r\\n", "\\n");
        let text = text.strip_suffix("\\n").unwrap_or(&text);
        Some(text.split("\\n").map(|line| Node { head: line.into(), ..Node::default() }).collect())
    }

    /// `reply` as the file should spell it: matchers of this node that hold are kept.
    fn merged(&self, pattern: &Node, reply: Node) -> Node {
        let (kind, order) = pattern.group();
        if pattern.matches(&reply) {
            return self.clone();
        }
        if kind.is_empty() || reply.head != format!("({kind})") {
            return reply;
        }
        let same_shape = order == Order::Same && self.items.len() == reply.items.len();
        let items = if same_shape {
            let olds = self.items.iter().zip(&pattern.items);
            olds.zip(reply.items).map(|((old, pattern), new)| old.merged(pattern, new)).collect()
        } else {
            reply.items
        };
        Node { key: reply.key, head: self.head.clone(), items }
    }

    fn write(&self, depth: usize, out: &mut String) {
        let key = self.key.as_ref().map(|key| format!("{key}: ")).unwrap_or_default();
        writeln!(out, "{:1$}{key}{2}", "", 2 * depth, self.head).expect("a String takes all");
        for item in &self.items {
            item.write(depth + 1, out);
        }
    }

    fn indented(&self) -> String {
        let mut text = String::new();
        self.write(2, &mut text);
        text
    }
}

/// How the elements of a group are compared.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Same,
    Any,
    Subset,
}

/// Without an order each pattern takes the first element it fits, so narrow patterns stand first.
fn items_match(patterns: &[Node], items: &[Node], order: Order) -> bool {
    if order != Order::Subset && patterns.len() != items.len() {
        return false;
    }
    if order == Order::Same {
        return patterns.iter().zip(items).all(|(pattern, item)| pattern.matches(item));
    }
    let mut left: Vec<&Node> = items.iter().collect();
    patterns.iter().all(|pattern| {
        let at = left.iter().position(|item| pattern.matches(item));
        at.map(|at| left.remove(at)).is_some()
    })
}

fn head_matches(pattern: &str, head: &str) -> bool {
    if let Some(kind) = pattern.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
        return match kind {
            "any" => true,
            "bulk" => head.starts_with('"'),
            _ => head.starts_with(&format!("({kind})")),
        };
    }
    let (kind, text) = match pattern.split_once(") ~") {
        Some((kind, text)) if kind.starts_with('(') => (format!("{kind}) "), text),
        _ => match pattern.strip_prefix('~') {
            Some(text) => (String::new(), text),
            None => return pattern == head,
        },
    };
    let Some(head) = head.strip_prefix(&kind) else { return false };
    match text.split_once("..") {
        Some((low, high)) if kind == "(integer) " => in_range(low, high, head),
        _ => glob_matches(text, head),
    }
}

fn in_range(low: &str, high: &str, number: &str) -> bool {
    let Ok(number) = number.parse::<i64>() else { return false };
    let bound = |text: &str, open: i64| if text.is_empty() { Ok(open) } else { text.parse() };
    let (Ok(low), Ok(high)) = (bound(low, i64::MIN), bound(high, i64::MAX)) else { return false };
    (low..=high).contains(&number)
}

/// `*` stands for any run of characters, nothing else is special.
fn glob_matches(pattern: &str, text: &str) -> bool {
    let Some((prefix, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(prefix) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let suffix = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(suffix)
}

/// A status bare where that cannot be taken for something else, as in `OK`.
fn status(text: &[u8]) -> String {
    let starts_plain = |first: &u8| first.is_ascii_alphanumeric() || *first == b'@';
    let bare = text.first().is_some_and(starts_plain) && !text.ends_with(b" ");
    if bare { escaped(text) } else { format!("(status) \"{}\"", escaped(text)) }
}

/// Quoted where editors would cut off its end.
fn error_text(text: &[u8]) -> String {
    let bare = !text.ends_with(b" ");
    if bare { escaped(text) } else { format!("\"{}\"", escaped(text)) }
}

/// As redis-cli prints bytes between quotes.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => text.extend(['\\', byte.into()]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            7 => text.push_str("\\a"),
            8 => text.push_str("\\b"),
            b' '..=b'~' => text.push(byte.into()),
            _ => write!(text, "\\x{byte:02x}").expect("a String takes all"),
        }
    }
    text
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
fn commands_are_split_as_in_redis_cli() {
    let args = arguments(r#"SET  'it\'s' "\x00\"\n" "" a\b"#).expect("a well-formed line");
    assert_eq!(args, [&b"SET"[..], b"it's", b"\0\"\n", b"", b"a\\b"]);
    assert!(arguments("GET \"open").is_err() && arguments("GET \"\\xzz\"").is_err());
}

#[test]
fn matchers_take_what_they_name_and_nothing_else() {
    for (pattern, head, holds) in [
        ("<any>", "(nil)", true),
        ("<bulk>", "\"x\"", true),
        ("<bulk>", "x", false),
        ("<integer>", "(integer) 1", true),
        ("<integer>", "\"1\"", false),
        ("(integer) ~1..3", "(integer) 3", true),
        ("(integer) ~1..3", "(integer) 4", false),
        ("(integer) ~..3", "(integer) -9", true),
        ("(error) ~ERR *x", "(error) ERR a x", true),
        ("(error) ~ERR *x", "ERR a x", false),
        ("~\"a*b*\"", "\"a-b\"", true),
        ("~\"a*b*\"", "\"ba\"", false),
        ("~\"a*a\"", "\"a\"", false),
        ("(nil)", "(nil array)", false),
    ] {
        assert_eq!(head_matches(pattern, head), holds, "{pattern} and {head}");
    }
}

#[test]
fn groups_are_compared_in_the_order_they_ask_for() {
    let items = [b"a", b"b", b"c"].map(|text| Reply::Bulk(text.to_vec()));
    let reply = Node::from_reply(&Reply::Array(items.to_vec()));
    let holds = |text: &str| {
        let lines: Vec<&str> = text.lines().collect();
        parse_nodes(&lines, 0, false).expect("well-formed")[0].matches(&reply)
    };
    assert!(holds("(array)\n  \"a\"\n  <any>\n  \"c\""));
    assert!(!holds("(array)\n  \"b\"\n  \"a\"\n  \"c\"") && !holds("(array)"));
    assert!(!holds("(set)\n  \"a\"\n  \"b\"\n  \"c\""));
    assert!(holds("(array unordered)\n  \"b\"\n  \"c\"\n  \"a\""));
    assert!(!holds("(array unordered)\n  \"b\"\n  \"a\""));
    assert!(holds("(array contains)\n  \"c\"\n  \"a\""));
    assert!(!holds("(array contains)\n  \"a\"\n  \"a\""));
}

#[test]
fn a_file_that_is_no_script_is_a_problem() {
    let problem = |text| Script::parse(text).problem;
    assert_eq!(problem("GET k\n---\n(nil)\n"), None);
    assert_eq!(problem("# nothing\n").as_deref(), Some("1: no commands"));
    assert_eq!(problem("\nGET k\n").as_deref(), Some("2: a block without `---`"));
    assert_eq!(problem("GET k\n---\n(array)\n   x\n").as_deref(), Some("4: wrong indentation"));
}
