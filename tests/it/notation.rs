//! The notation of replies and commands in golden scripts, and when a reply is what one describes.
//!
//! Owns `Node`, which is a reply or the pattern of one, its text in a file, and the matchers; and how
//! a command line splits into arguments. `script` describes the notation to those who write it.
//! Must not know blocks, servers or connections.

use std::fmt::Write as _;

use crate::harness::Reply;

/// A reply or the expectation of one, in the notation of the scripts: a head and its elements.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Node {
    pub(crate) key: Option<String>,
    pub(crate) head: String,
    pub(crate) items: Vec<Node>,
}

/// Parses the lines at `depth` and, below them, their elements.
pub(crate) fn parse_nodes(
    lines: &[&str],
    depth: usize,
    keyed: bool,
) -> Result<Vec<Node>, (usize, String)> {
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
pub(crate) fn arguments(line: &str) -> Result<Vec<Vec<u8>>, String> {
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

impl Node {
    pub(crate) fn from_reply(reply: &Reply) -> Node {
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

    pub(crate) fn is_incomplete(&self) -> bool {
        self.head == "?" || self.items.iter().any(Node::is_incomplete)
    }

    /// Whether `reply`, which holds no matchers, is what this node describes.
    pub(crate) fn matches(&self, reply: &Node) -> bool {
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
    pub(crate) fn merged(&self, pattern: &Node, reply: Node) -> Node {
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

    pub(crate) fn write(&self, depth: usize, out: &mut String) {
        let key = self.key.as_ref().map(|key| format!("{key}: ")).unwrap_or_default();
        writeln!(out, "{:1$}{key}{2}", "", 2 * depth, self.head).expect("a String takes all");
        for item in &self.items {
            item.write(depth + 1, out);
        }
    }

    pub(crate) fn indented(&self) -> String {
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
